"""Tables M, D and T: moderators, triple differences and the user's own tests, on the example panel."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import panelproof as pp
from estimators import Moderation, TripleDifference
from estimators.core.hypotheses import parse_hypothesis
from experiments.panel_spec.first_spec import EXAMPLE_SPEC, example_frame
from experiments.tables import interactions_table
from experiments.tables.ledger import Ledger, journal_tables
from results.tables.records import Document
from results.text import number
from sim.errors import BadInput
from sim.panel import group_labels

TESTS = ("2.5: did = 0.02", "2.5: did = 0, inv = 0", "M.1: -0.1 < did x inv < 0.1", "2.2 pooled: did - inv", "D.1: did")


def spec_of(**changes: Any) -> dict[str, Any]:
    """The example without weights and groups."""
    spec = tomllib.loads(EXAMPLE_SPEC)
    names = ("unit", "period", "outcome", "treatment", "controls", "synthetic")
    made = {"rich": {"quantiles": ["road", 2, 2006]}, "still": {"scale": ["latitude", 1]}}
    return {"panel": {name: spec["panel"][name] for name in names}, "transform": made, **changes}


def read(**changes: Any) -> Any:
    frame = example_frame().iloc[: 60 * 18].rename(columns={"lat": "latitude"})
    return pp.read_panel(frame, spec_of(**changes))


@cache
def document() -> Any:
    return pp.estimate(read(moderation={"by": ["inv", "gpat", "still"]}, ddd={"group": "rich"},
                            inference={"tests": list(TESTS)}))  # fmt: skip


def rows(name: str, of: Document | None = None) -> dict[str, tuple[str, ...]]:
    (table,) = (table for table in journal_tables(of or document()) if table.name == name)
    return {row.label: row.cells for row in table.rows if row.label}


def records(place: tuple[str, int]) -> Mapping[str, Any]:
    return {record.term: record for record in document().records if record.place == place
            and record.se_type == "cluster:unit"}  # fmt: skip


def test_a_column_is_the_estimator_that_studies_prove() -> None:
    real = read(moderation={"by": ["inv"]})
    found = Moderation("inv")(real.panel)
    shown = records(("M", 1))
    for term in found.terms:
        assert shown[term].estimate == found.params[term]
        assert shown[term].se == found.std_errors[term]
    triple = TripleDifference("rich", ("1", "2"))(read(ddd={"group": "rich"}).panel)
    assert records(("D", 1))["did x 2"].estimate == triple.params["did x 2"]
    assert records(("D", 1))["did x 2"].se == triple.std_errors["did x 2"]


@pytest.mark.parametrize(("share", "term"), [(10, "did at p10"), (50, "did at p50"), (90, "did at p90")])
def test_effects_at_quantiles_are_those_of_a_moderator_centred_there(share: int, term: str) -> None:
    panel = read(moderation={"by": ["inv"]}).panel
    moved = Moderation("inv", at=float(np.percentile(panel.variables["inv"], share)))(panel)
    shown = records(("M", 1))[term]
    wanted = [moved.params["did"], moved.std_errors["did"], moved.pvalues["did"]]
    np.testing.assert_allclose([shown.estimate, shown.se, shown.pvalue], wanted, rtol=1e-8)


def test_the_second_group_is_the_first_of_the_other_order() -> None:
    panel = read(ddd={"group": "rich"}).panel
    other = TripleDifference("rich", ("2", "1"))(panel)
    shown = records(("D", 1))["did in 2"]
    np.testing.assert_allclose([shown.estimate, shown.se], [other.params["did"], other.std_errors["did"]], rtol=1e-8)


def test_tables_say_what_they_hold() -> None:
    table = rows("M")
    assert list(table)[:5] == ["eip, at the moderator's mean", "eip × moderator", "eip at the 10% quantile",
                               "eip at the 50% quantile", "eip at the 90% quantile"]  # fmt: skip
    assert table["gpat"][1]
    assert not table["gpat"][0]
    assert "still" not in table  # absorbed
    assert any("column 3: still does not change within units" in note for note in document().notes)
    assert list(rows("D"))[:3] == ["eip, rich = 1", "eip, rich = 2", "Triple difference"]
    assert any(note.startswith("rich groups units by road in 2006: 1 up to") for note in document().notes)


def test_figures_hold_the_line_and_its_band() -> None:
    figures = {figure.name: figure for figure in document().figures}
    assert {"marginal-effect-1", "marginal-effect-2", "marginal-effect-3"} <= set(figures)
    figure = figures["marginal-effect-1"]
    assert figure.svg.startswith("<svg")
    assert "pointwise 95% intervals, errors clustered by unit" in figure.caption
    again = pp.estimate(read(moderation={"by": ["inv"]}))
    assert {one.name: one.svg for one in again.figures}["marginal-effect-1"] == figure.svg


def test_few_cities_with_gaps() -> None:
    frame = example_frame().iloc[: 12 * 18].drop(index=range(0, 200, 7))
    real, ledger = pp.read_panel(frame, spec_of(moderation={"by": ["inv"]}, transform={})), Ledger(1)
    interactions_table.add(real, ledger)
    found = {one.name: one.value for one in ledger.statistics}
    assert found["moderator_p90"] == np.percentile(frame["inv"], 90)
    most = frame["inv"].max()
    at = Moderation("inv", at=most)(real.panel)
    said = [number(float(one), 3) for one in (most, at.params["did"], *at.conf_int().loc["did"])]
    assert "{}: {} [{}, {}].".format(*said) in ledger.figures[0].svg


def test_table_t_holds_the_users_tests() -> None:
    found = {record.sample + ": " + record.term: record for record in document().records if record.table == "T"}
    assert tuple(found) == TESTS
    by_hand = document()["2", 5].test("did = 0.02")
    shown = found["2.5: did = 0.02"]
    assert (shown.estimate, shown.se, shown.pvalue) == (by_hand.estimate, by_hand.se, by_hand.pvalue)
    assert (shown.nobs, shown.units, shown.periods) == (60 * 18, 60, 18)
    assert found["2.5: did = 0, inv = 0"].estimate is None
    table = rows("T")
    assert table["2.5: did = 0.02"][0] == rows("2")["eip"][-1].rstrip("*")
    assert len(table["M.1: -0.1 < did x inv < 0.1"]) == 4


def test_tests_and_interactions_change_no_other_number() -> None:
    plain = pp.estimate(read())
    kept = [record for record in document().records if record.table not in ("M", "D", "T")]
    assert list(plain.records) == kept


def test_in_python_one_column_is_chosen() -> None:
    tables = document()
    sum_of = tables["2", 5].lincom("did + inv")
    assert sum_of.estimate == pytest.approx(tables["2", 5].params[["did", "inv"]].sum(), rel=1e-12)
    robust = tables["2", 5].with_errors("hc1").lincom("did")
    assert robust.se == pytest.approx(tables["2", 5].with_errors("hc1").std_errors["did"])
    assert (
        tables["2", 2].lincom("did", model="pooled").estimate != tables["2", 2].lincom("did", model="random").estimate
    )
    for call, said in (
        (lambda: tables["2"].lincom("did"), "several columns"),
        (lambda: tables["2", 5].lincom("did = 0, inv = 0"), "no single combination"),
        (lambda: tables["2", 2].lincom("did"), "has 2 fits; allowed: one of pooled, random"),
        (lambda: tables["2", 5].lincom("did", model="pooled"), "is not pooled; allowed: did"),
        (lambda: tables["2", 2].lincom("did", model="pooled", sample="random"), "has 0 fits with pooled random"),
        (lambda: tables["2", 2].lincom("did - inv", model="random"), "has no covariance of its terms"),
    ):
        with pytest.raises(BadInput, match=said) as caught:
            call()
        assert len(str(caught.value).splitlines()) == 1


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no column": ({"inference": {"tests": ["did = 0"]}}, "does not say of which column"),
    "a column that is not there": ({"inference": {"tests": ["2.9: did = 0"]}}, "no fit in table 2, column 9"),
    "a table that is not there": ({"inference": {"tests": ["X.1: did = 0"]}}, "no fit in table X, column 1"),
    "two fits": ({"inference": {"tests": ["2.2: did = 0"]}}, "has 2 fits; allowed: one of pooled, random"),
    "a term that is not there": ({"inference": {"tests": ["2.5: gdp = 0"]}}, "no term 'gdp'"),
    "bounds reversed": ({"inference": {"tests": ["2.5: 1 < did < -1"]}}, "the lower bound is not below the upper"),
    "a test twice": ({"inference": {"tests": ["2.5: did", "2.5: did"]}}, "names '2.5: did' twice"),
    "no moderator": ({"moderation": {"by": []}}, "by = \\[\\]"),
    "moderation without by": ({"moderation": {}}, "the key 'by' is missing"),
    "a moderator twice": ({"moderation": {"by": ["inv", "inv"]}}, "by names 'inv' twice"),
    "the outcome moderates": ({"moderation": {"by": ["icr"]}}, "by names 'icr', which is the outcome"),
    "the treatment moderates": ({"moderation": {"by": ["eip"]}}, "by names 'eip', which is the treatment"),
    "no such moderator": ({"moderation": {"by": ["lnfin"]}}, "no column 'lnfin'"),
    "no such group": ({"ddd": {"group": "polluting"}}, "no column 'polluting'"),
    "the unit as group": ({"ddd": {"group": "city"}}, "group names 'city', which is the unit"),
    "three groups": ({"ddd": {"group": "region"}}, "has 3 values: east, central, west|has 3 values"),
    "a constant group": ({"ddd": {"group": "one"}}, "has 1 value: 1"),
    "a group that changes": ({"ddd": {"group": "inv"}}, "varies within the unit"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(case: str) -> None:
    changes, said = MISTAKES[case]
    frame = example_frame().assign(one=1)
    with pytest.raises(BadInput, match=said) as caught:
        pp.estimate(pp.read_panel(frame, replace_transform(spec_of(**changes))))
    assert len(caught.value.problems) == 1


def replace_transform(spec: dict[str, Any]) -> dict[str, Any]:
    return {**spec, "transform": {}}


def test_what_a_column_cannot_have_is_a_note() -> None:
    frame = example_frame()
    treated = frame.groupby("city")["eip"].transform("max")
    frame = frame.assign(none=frame["gpat"] * (1 - treated), half=(treated > 0).astype(int))
    tables = pp.estimate(pp.read_panel(frame, {**spec_of(moderation={"by": ["none"]}, ddd={"group": "half"}),
                                               "transform": {}}))  # fmt: skip
    assert "Table M has no column 1 (by none): none does not vary among treated unit-periods." in tables.notes
    said = "No table D (half = 1 less 0): the treatment does not differ within half = 0."
    assert said in tables.notes
    assert replace(tables, place=()).records


def test_the_column_of_the_treatment_stands_for_did() -> None:
    found = document()["2", 5]
    assert (one := found.test("eip = 0.02")).pvalue == found.test("did = 0.02").pvalue
    assert one.hypothesis == "eip = 0.02"
    own = pp.estimate(read(moderation={"by": ["inv"]}, inference={"tests": ["2.5: eip = 0", "M.1: eip x inv"]}))
    tests = [record for record in own.records if record.table == "T"]
    assert [record.term for record in tests] == ["eip = 0", "eip x inv"]
    assert tests[0].estimate == found.params["did"]
    terms = ("eip", "w_did", "did", "direct:did")
    read_ = [parse_hypothesis(text, terms, treatment="eip").alone for text in ("eip", "did", "direct:eip")]
    assert read_ == [0, 2, 3], "a term of that name is itself"


def test_the_command_takes_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from experiments.cli import run_command

    frame = example_frame(40)
    frame.to_csv(tmp_path / "panel.csv", index=False)
    (tmp_path / "spec.toml").write_text('[panel]\nunit = "city"\nperiod = "year"\noutcome = "icr"\ntreatment = "eip"\n')
    words = ["estimate", str(tmp_path / "panel.csv"), "--spec", str(tmp_path / "spec.toml"), "--json"]
    assert run_command([*words, "--test", "2.5: did = 0.02", "--test", "2.5: -1 < did < 1"]) == 0
    found = json.loads(capsys.readouterr().out)
    tests = [record for record in found["records"] if record["table"] == "T"]
    assert [record["model"] for record in tests] == ["combination", "equivalence"]
    assert tests[1]["pvalue"] < 1e-10
    assert run_command([*words, "--test", "2.5: gdp"]) == 2


def test_a_second_group_that_is_fitted_without_error_has_no_error() -> None:
    """What is exactly 0 of its variance, or rounding, is no error of its effect."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame([(f"c{i}", year) for i in range(10) for year in range(2001, 2005)], columns=["city", "year"])
    number = frame["city"].str[1:].astype(int)
    frame["late"] = (number >= 5).astype(int)
    frame["d"] = ((number % 2 == 1) & (frame["year"] >= 2003)).astype(float)
    frame["y"] = 2.0 * frame["d"] + rng.standard_normal(len(frame)) * (number < 5)
    spec = {"panel": {"unit": "city", "period": "year", "outcome": "y", "treatment": "d"}, "ddd": {"group": "late"}}
    ledger = Ledger(1)
    interactions_table.add(pp.read_panel(frame, spec), ledger)
    found = {(record.term, record.se_type): record for record in ledger.records}
    assert found["did in 1", "cluster:unit"].estimate == pytest.approx(2.0, abs=1e-8)
    assert found["did", "cluster:unit"].se > 0.01
    assert found["did in 1", "cluster:unit"].se is found["did in 1", "cluster:unit"].pvalue is None


def test_a_control_that_the_effects_of_groups_absorb_is_a_note_in_place_of_table_d() -> None:
    frame = example_frame().iloc[: 60 * 18].rename(columns={"lat": "latitude"})
    frame["late"] = (frame["latitude"] > frame["latitude"].median()).astype(int)
    frame["road"] = frame["late"] * (frame["year"] - 2006.0) ** 2
    plain = spec_of(transform={}, ddd={"group": "late"})
    found = pp.estimate(frame, plain)
    assert "2" in {record.table for record in found.records}
    assert "D" not in {record.table for record in found.records}
    assert any(note.startswith("No table D (late = 1 less 0): variable 'road' is absorbed") for note in found.notes)


def test_a_sample_of_one_group_has_no_triple_difference() -> None:
    real = read(ddd={"group": "rich"})
    sample = replace(real, panel=real.subset(group_labels(real.panel.attributes["rich"]) == "1", weights=False))
    ledger = Ledger(seed=1)
    interactions_table.add(sample, ledger)
    assert ledger.notes == ["No table D: all units of this sample have one value of rich."]
    assert not ledger.records
