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
    places = rng.uniform(size=(2, UNITS)) * 10
    return table.assign(polluting=table["polluting"].astype(int), lon=100 + places[0][city], lat=30 + places[1][city])


def spec(treatment: str = "fi", controls: tuple[str, ...] = ("x",), **tables: Any) -> dict[str, Any]:
    panel = {"unit": "city", "period": "year", "outcome": "y", "treatment": treatment, "controls": list(controls)}
    return {**tables, "panel": panel | tables.get("panel", {})}


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
    "effects that no model has": (spec(spatial={"effects": ["both"]}), "two-way"),
    "cut-offs without places": (spec(spatial={"cutoffs": [100.0, 200.0]}), "cutoffs need coordinates"),
}  # fmt: skip
SAID = {
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
    "weights and instruments": (spec(iv={"instruments": ["z"]}, panel={"weight": "lon"}), "cannot take weights"),
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


def test_a_test_of_a_term_that_is_not_there_names_those_that_are() -> None:
    column = pp.estimate(frame(), spec())["2", 5]
    with pytest.raises(BadInput, match="no term 'foo'; allowed: did, x"):
        column.lincom("foo - did")
    with pytest.raises(BadInput):
        column.test("0.5 < did < 0.1")
