"""Twenty mistakes of economists in a spec: each is one line that refuses it, or one sentence that says it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import panelproof as pp
from sim.errors import BadInput

UNITS, PERIODS = 30, 8


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    city, year = (part.ravel() for part in np.meshgrid(np.arange(UNITS), np.arange(PERIODS), indexing="ij"))
    first, size = rng.choice([3, 5, 99], UNITS), city.size
    d = (year >= first[city]).astype(int)
    z, u, x = (rng.normal(size=size) for _ in range(3))
    fi = 2 + z + 0.5 * u + 0.3 * year + rng.normal(size=UNITS)[city]
    y = rng.normal(size=UNITS)[city] + 0.1 * year + 0.5 * d + 0.2 * fi + 0.3 * x + 0.4 * u
    made = {"y": y, "d": d, "fi": fi, "x": x, "z": z, "weak": rng.normal(size=size), "zero": 0.0, "less": -1.0,
            "fixed": rng.normal(size=UNITS)[city], "x2": 2 * x, "polluting": city % 3 == 0, "name": "text",
            "coded": np.where(rng.random(size) < 0.02, -99.0, x), "again": 3 * y + rng.normal(size=size) / 9,
            }  # fmt: skip
    table = pd.DataFrame({"city": [f"c{i:02d}" for i in city], "year": 2000 + year, **made})
    table = table.assign(twice=2 * y + 1, about5=(fi - 5) ** 2, strong=z + rng.normal(size=size) / 3)
    places = rng.uniform(size=(2, UNITS)) * 10
    return table.assign(polluting=table["polluting"].astype(int), lon=100 + places[0][city], lat=30 + places[1][city],
                        long=5 + places[0][city], metres=1e5 * (100 + places[0][city]))  # fmt: skip


def spec(treatment: str = "fi", controls: tuple[str, ...] = ("x",), **tables: Any) -> dict[str, Any]:
    panel = {"unit": "city", "period": "year", "outcome": "y", "treatment": treatment, "controls": list(controls)}
    return {**tables, "panel": panel | tables.get("panel", {})}


PLACED = {"longitude": "lon", "latitude": "lat"}
REFUSED = {
    "instrument equal to the treatment": (spec(iv={"instruments": ["fi"]}), "instruments names 'fi'"),
    "instrument that is a control": (spec(iv={"instruments": ["x"]}), "instruments names 'x', which is a control"),
    "instrument that is the outcome": (spec(iv={"instruments": ["y"]}), "instruments names 'y'"),
    "instrument twice": (spec(iv={"instruments": ["z", "z"]}), "instruments names 'z' twice"),
    "weights of 0": (spec(panel={"weight": "zero"}), "the weight is 0"),
    "weights below 0": (spec(panel={"weight": "less"}), "the weight is -1"),
    "weights of text": (spec(panel={"weight": "name"}), "allowed: numbers"),
    "weight that is the outcome": (spec(panel={"weight": "y"}), "weight = 'y' is outcome"),
    "dose that never changes": (spec("zero", panel={"treatment_kind": "continuous"}), "the treatment is 0 everywhere"),
    "moderation by the treatment": (spec(moderation={"by": ["fi"]}), "by names 'fi', which is the treatment"),
    "groups that are the units": (spec("d", ddd={"group": "city"}), "group names 'city', which is the unit"),
    "product with a column that is not there": (
        spec(transform={"p": {"product": ["d", "q"]}}, controls=("p",)), "there is no column 'q'"),
    "transforms in a circle": (
        spec(transform={"a": {"product": ["b", "x"]}, "b": {"centre": "a"}}, controls=("a",)), "a circle"),
    "effects of spatial models without W": (spec(spatial={"effects": ["unit"]}), "effects without spatial weights"),
    "effects that no model has": (spec(spatial={"effects": ["both"]}), "two-way"),
    "cut-offs without places": (spec(spatial={"cutoffs": [100.0, 200.0]}), "cutoffs need coordinates"),
    "places exchanged, with errors by distance alone": (
        spec("d", panel={"longitude": "lat", "latitude": "lon"}, inference={"errors": ["conley:200"]}),
        'if they are exchanged, say longitude = "lon", latitude = "lat"'),
    "places of text": (spec("d", panel=PLACED | {"latitude": "name"}), "the latitude of 30 units is not on the globe"),
    "places in metres": (
        spec("d", panel=PLACED | {"longitude": "metres"}), "give degrees as numbers, such as 116.4 and 39.9"),
    "one column for both places": (spec("d", panel=PLACED | {"longitude": "lat"}), "are both 'lat'"),
}  # fmt: skip
SAID = {
    "places whose names are exchanged": (
        spec("d", panel={"longitude": "lat", "latitude": "long"}), "their names say the opposite"),
    "instrument that does not move": (spec(iv={"instruments": ["fixed"]}), "absorbed by the unit and time effects"),
    "weak instrument": (spec(iv={"instruments": ["weak"]}), "may be weak"),
    "weights that are all equal": (
        spec(transform={"w": {"ratio": ["lon", "lon"]}}, panel={"weight": "w"}),
        "is the same in all rows"),
    "moderator that does not vary": (spec("d", moderation={"by": ["zero"]}), "zero does not vary"),
    "moderator without its own coefficient": (spec("d", moderation={"by": ["fixed"]}), "absorb its own coefficient"),
    "a code that is taken for a number": (spec("d", controls=("coded",)), "coded is -99"),
    "the outcome again as a control": (spec("d", controls=("again", "x")), "is the outcome in another form"),
    "tables that need dates, of a dose": (spec(robustness={"staggered": True}), "fi has no dates of adoption"),
    "the outcome again as an instrument": (spec(iv={"instruments": ["twice"]}), "is the outcome in another form"),
    "the outcome again as a mediator": (spec(panel={"mediators": ["twice"]}), "is the outcome in another form"),
    "the outcome again as a moderator": (spec(moderation={"by": ["twice"]}), "is the outcome in another form"),
    "the treatment again as an instrument": (
        spec(transform={"z2": {"square": "fi"}}, iv={"instruments": ["z2"]}), "regressor fi in another form"),
    "a product without a part": (
        spec(controls=("p",), transform={"p": {"product": ["fi", "x"]}}), "x is no regressor"),
    "a product of the treatment in its place": (
        spec("p", controls=("x",), transform={"p": {"product": ["fi", "x"]}}), "fi is no regressor"),
    "a square without its part": (spec(controls=("s",), transform={"s": {"square": "x"}}), "x is no regressor"),
    "the square of the treatment": (
        spec(controls=("x", "s"), transform={"s": {"square": "fi"}}), "slope of its effect where fi is 0"),
    "the square of a file about the mean of a dose": (
        spec(controls=("x", "about5")), "slope of its effect where fi is 5"),
    "OLS and 2SLS apart": (spec(iv={"instruments": ["strong"]}), "OLS and 2SLS disagree"),
    "a 0/1 policy as a dose": (spec("d", panel={"treatment_kind": "continuous"}), "declares it a dose"),
    "a 0/1 policy as a dose, and dates": (
        spec("d", panel={"treatment_kind": "continuous"}, robustness={"staggered": True}),
        'd has no dates of adoption, for it is declared a dose'),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_that_cannot_be_meant_is_one_line(mistake: str) -> None:
    settings, said = REFUSED[mistake]
    with pytest.raises(BadInput) as error:
        pp.estimate(frame(), settings)
    lines = str(error.value).splitlines()
    assert any(said in line for line in lines), lines
    assert len(lines) == len(error.value.problems)


@pytest.mark.parametrize("mistake", SAID)
def test_a_mistake_that_may_be_meant_is_said(mistake: str) -> None:
    settings, said = SAID[mistake]
    tables = pp.estimate(frame(), settings)
    sentences = [*tables.notes, *(check.sentence for check in tables.warnings if check.severity)]
    assert any(said in sentence for sentence in sentences), sentences


FINE = {
    "a product with all its parts": spec(controls=("x", "z", "p"), transform={"p": {"product": ["x", "z"]}}),
    "a product with what the effects absorb": spec(controls=("x", "p"), transform={"p": {"product": ["x", "fixed"]}}),
    "parts centred and in another unit": spec(
        controls=("x", "p"), transform={"c": {"centre": "x"}, "k": {"scale": ["c", 3]}, "p": {"square": "k"}}),
    "places by their names": spec("d", panel={"longitude": "long", "latitude": "lat"}),
    "an instrument of its own": spec(iv={"instruments": ["z"]}),
}  # fmt: skip
SPOKEN = ("interaction-parts:", "square-of-treatment:", "outcome-again:", "endogenous-again:", "exchanged-coordinates")


@pytest.mark.parametrize("case", FINE)
def test_what_is_no_mistake_is_not_warned_of(case: str) -> None:
    found = [check for check in pp.estimate(frame(), FINE[case]).warnings if check.name.startswith(SPOKEN)]
    assert found
    assert not [check.sentence for check in found if check.severity]


def test_a_declared_dose_is_asked_nothing_that_needs_dates() -> None:
    names = {check.name for check in pp.estimate(frame(), spec("d")).warnings}
    dose = pp.estimate(frame(), spec("d", panel={"treatment_kind": "continuous"})).warnings
    dated = {"cohort-wise", "placebo-in-time", "pre-trend", "leave-out:cohort"}
    assert dated <= names
    assert not dated & {check.name for check in dose}
    (why,) = [check.sentence for check in dose if check.name == "unequal-trends"]
    assert "declared a dose" in why


def test_a_range_of_a_dose_has_the_digits_that_tell_its_ends_apart() -> None:
    (said,) = [note for note in pp.estimate(frame().assign(fi=lambda t: 1e6 + t["fi"] / 1e3), spec()).notes
               if "any strength" in note]  # fmt: skip
    low, _, high = said.partition("values, ")[2].partition(")")[0].partition(" to ")
    assert float(low) < float(high)


def test_a_regression_that_fits_exactly_has_no_errors() -> None:
    tables = pp.estimate(frame(), spec(iv={"instruments": ["twice"]})).frame
    reduced = tables[(tables["table"] == "I") & (tables["column"] == 4)]
    assert len(reduced)
    assert reduced["se"].isna().all()
    assert reduced["pvalue"].isna().all()


def test_a_test_of_a_term_that_is_not_there_names_those_that_are() -> None:
    column = pp.estimate(frame(), spec())["2", 5]
    with pytest.raises(BadInput, match="no term 'foo'; allowed: did, x"):
        column.lincom("foo - did")
    with pytest.raises(BadInput):
        column.test("0.5 < did < 0.1")
