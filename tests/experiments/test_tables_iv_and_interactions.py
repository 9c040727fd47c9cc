"""Tables I, I2, M, D and T: numbers are those of the estimators, words are plain, careless specs one line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import here
from ledgers import by_term, facts, filled, records
from refusals import refuses

import panelproof as pp
from estimators import Mediation, Moderation, PanelIV, TripleDifference, TwoWayDID
from estimators.core.hypotheses import parse_hypothesis
from experiments.checks import two_stages, weak_instruments
from experiments.checks.case import Case
from experiments.panel_spec.first_spec import EXAMPLE_SPEC, example_frame
from experiments.panel_spec.spec import RealPanel
from experiments.tables import interactions_table, iv_table
from experiments.tables.cross_check import cross_check
from experiments.tables.iv_table import written_set
from experiments.tables.ledger import Ledger, facts_of, journal_tables
from results.tables.journal_table import JournalTable
from results.tables.records import Document
from results.text import number
from sim.panel import group_labels

MEDIATED = {"unit": "city", "period": "year", "outcome": "y", "treatment": "park", "controls": ["inv", "road"],
            "missing": "drop", "mediators": ["m"]}  # fmt: skip
SPEC: dict[str, Any] = {
    "panel": {"unit": "city", "period": "year", "outcome": "y", "treatment": "park", "controls": ["inv", "road"],
              "missing": "drop"},
    "inference": {"draws": 99},
    "iv": {"instruments": ["z1", "z2"], "endogenous": "inv"},
}  # fmt: skip


@cache
def cities(strength: float = 0.7, own: float = 0.0) -> pd.DataFrame:
    """40 cities over 8 years; inv follows z1, z2 and the outcome's errors; z2 has an effect of its own."""
    rng, n, t = np.random.default_rng(3), 40, 8
    first = np.where(rng.random(n) < 0.5, rng.integers(2004, 2008, n), 9999)
    unit, year = np.repeat(np.arange(n), t), np.tile(np.arange(2001, 2001 + t), n)
    z1, z2, zm, u, um, road = rng.standard_normal((6, n * t))
    park = (year >= first[unit]).astype(float)
    inv = strength * z1 + 0.7 * strength * z2 + 0.6 * u + rng.standard_normal(n * t)
    m = 0.8 * park + 0.9 * zm + um
    y = rng.standard_normal(n)[unit] + 0.5 * park + inv + own * z2 + 0.6 * m + u + 0.8 * um
    return pd.DataFrame({"city": [f"c{i:02}" for i in unit], "year": year, "y": y, "park": park, "inv": inv,
                         "road": road, "m": m, "z1": z1, "z2": z2, "zm": zm})  # fmt: skip


def spec(**sections: Any) -> dict[str, Any]:
    return {**SPEC, **sections}


def real_of(frame: pd.DataFrame, **sections: Any) -> RealPanel:
    return pp.read_panel(frame.copy(), spec(**sections))


def tables_of(document: Document, errors: str | None = None) -> dict[str, JournalTable]:
    return {table.name: table for table in journal_tables(document, errors)}


@pytest.fixture(scope="module")
def document() -> Document:
    return estimate(real_of(cities()))


def estimate(panel: RealPanel) -> Document:
    """The tables of [iv] alone."""
    ledger = Ledger(panel.spec.inference.seed)
    iv_table.add(panel, ledger)
    case = Case(panel, ledger, panel.panel, None)
    checks = (*weak_instruments.check(case), *two_stages.check(case))
    return Document(
        facts_of(panel), tuple(ledger.records), tuple(ledger.statistics), tuple(ledger.notes), warnings=checks,
        cross_check=cross_check(ledger.fitted, ledger.records, None),
    )  # fmt: skip


def statistics(document: Document, place: tuple[str, int]) -> dict[str, float | None]:
    return facts(document, place=place)


def test_columns_are_those_of_the_estimators(document: Document) -> None:
    panel = real_of(cities())
    whole = replace(panel.panel, variables={**panel.panel.variables, **panel.further})
    names = ("z1", "z2")
    own = {
        1: TwoWayDID(regressors=("inv", "did", "road"), constant=True),
        2: PanelIV(endogenous=("inv",), instruments=names),
        3: TwoWayDID(outcome="inv", regressors=(*names, "did", "road"), constant=True),
        4: TwoWayDID(regressors=(*names, "did", "road"), constant=True),
    }
    for column, estimator in own.items():
        found = estimator(whole)
        shown = records(document, place=("I", column))
        assert {record.term for record in shown} == set(found.terms)
        for record in shown:
            k, e = found.terms.index(str(record.term)), found.errors.index(record.se_type)
            wanted = (found.estimate[0, k], found.se[0, e, k])
            assert (record.estimate, record.se) == pytest.approx(wanted, rel=1e-12)
    tests = {name: value[0] for name, value in own[2](whole).statistics.items()}
    printed = statistics(document, ("I", 2))
    assert {name: printed[name] for name in tests} == pytest.approx(tests, rel=1e-10)


def test_the_table_reads_as_it_should(document: Document) -> None:
    table = tables_of(document)["I"]
    assert table.title == "Instrumental variables: y on inv"
    assert [heading.label for heading in table.columns] == ["OLS", "2SLS", "First stage", "Reduced form"]
    rows = {row.label: row.cells for row in table.rows if row.label}
    assert list(rows)[:6] == ["park", "z1", "z2", "inv", "road", "Constant"]
    assert (rows["z1"][:2], rows["inv"][2:]) == (("", ""), ("", ""))
    for label in ("First-stage F, iid", "Kleibergen-Paap F", "Effective F", "  critical, bias 10%", "Sargan p",
                  "Hansen J p", "Endogeneity p", "Anderson-Rubin p, no effect", "Anderson-Rubin 95%"):  # fmt: skip
        assert [bool(cell) for cell in rows[label]] == [False, True, False, False], label
    assert rows["Anderson-Rubin 95%"][1].startswith("[")
    assert "Instruments of inv: z1, z2." in table.notes
    assert any("Kleibergen-Paap, effective F" in note and "clustered by unit" in note for note in table.notes)


@pytest.mark.parametrize(("found", "words"), [
    ({"ar_shape": 1.0, "ar_lower": 0.5, "ar_upper": 2.0}, "[0.5000, 2.0000]"),
    ({"ar_shape": 2.0, "ar_lower": -1.0, "ar_upper": 2.0}, "up to -1.0000, from 2.0000"),
    ({"ar_shape": 3.0}, "all values"), ({"ar_shape": 0.0}, "empty"), ({}, ""),
])  # fmt: skip
def test_sets_are_written_out(found: dict[str, float], words: str) -> None:
    assert written_set(found) == words


def checks(frame: pd.DataFrame, **sections: Any) -> dict[str, Any]:
    return {check.name: check for check in estimate(real_of(frame, **sections)).warnings}


def test_strong_instruments_that_agree_are_silent() -> None:
    found = checks(cities())
    assert found["weak-instruments"].severity == found["instruments-disagree"].severity == 0
    assert "strong" in found["weak-instruments"].sentence


def test_weak_instruments_are_a_warning_that_names_the_set() -> None:
    found = checks(cities(strength=0.05))["weak-instruments"]
    assert found.severity == 1
    assert found.numbers["effective_f"] < found.numbers["critical"]
    assert "Use the Anderson-Rubin interval of table I" in found.sentence
    assert "use the Anderson-Rubin interval" in found.remedy


def test_instruments_of_unknown_strength_are_a_warning_and_no_error() -> None:
    frame, rng = cities().copy(), np.random.default_rng(1)
    frame["zone"] = np.where(frame["city"] < "c20", "north", "south")
    shock = {key: rng.standard_normal() for key, _ in frame.groupby(["zone", "year"])}
    frame["shared"] = [shock[key] for key in zip(frame["zone"], frame["year"], strict=True)]
    frame["dose"] = frame["inv"] + frame["shared"]
    panel = {**SPEC["panel"], "treatment": "dose", "controls": [], "cluster": "zone"}
    found = estimate(real_of(frame, panel=panel, iv={"instruments": ["shared"]}))
    assert statistics(found, ("I", 2))["effective_f"] is None  # of two zones, each one's scores sum to zero
    unknown = {check.name: check for check in found.warnings}["weak-instruments"]
    assert unknown.severity == 1
    assert unknown.sentence.startswith("It is not known how strong the instruments of")


def test_instruments_that_contradict_one_another_are_a_warning() -> None:
    every = checks(cities(own=1.0))
    found = every["instruments-disagree"]
    assert found.severity == every["ols-and-2sls"].severity == 1  # p = .037, although the set, empty, leaves none out
    assert "at least one of them" in found.sentence


def test_a_spec_without_iv_has_neither_table_nor_checks() -> None:
    plain = {key: value for key, value in SPEC.items() if key != "iv"}
    found = estimate(pp.read_panel(cities().copy(), plain))
    assert found.records == found.statistics == found.notes == found.warnings == ()


def test_the_tables_and_the_checks_stand_among_the_others() -> None:
    found = pp.estimate(cities().copy(), spec())
    assert {"2", "I"} <= {record.table for record in found.records}
    assert {"weak-instruments", "instruments-disagree"} <= {check.name for check in found.warnings}


def test_the_treatment_is_the_default_and_rows_without_instruments_are_left_out() -> None:
    frame = cities().copy()
    frame.loc[[3, 77], "z1"] = np.nan
    found = estimate(real_of(frame, iv={"instruments": ["z1"]}))
    shown = records(found, table="I")
    assert {record.nobs for record in shown} == {len(frame) - 2}
    assert {record.term for record in shown if record.column == 2} == {"did", "inv", "road"}
    assert "Table I: 2 rows with a missing value are left out." in found.notes
    named = estimate(real_of(frame, iv={"instruments": ["z1"], "endogenous": "park"}))
    assert records(named, table="I") == shown
    assert tables_of(found)["I"].title == "Instrumental variables: y on park"


def test_an_endogenous_column_that_is_no_control_is_added() -> None:
    found = estimate(real_of(cities(), iv={"instruments": ["zm"], "endogenous": "m"}))
    shown = by_term(found, place=("I", 2), se_type="iid")
    assert list(shown) == ["m", "did", "inv", "road"]
    assert shown["m"].estimate == pytest.approx(0.6, abs=0.2)


def test_errors_that_2sls_lacks_are_named() -> None:
    found = estimate(real_of(cities(), inference={"draws": 99, "errors": ["driscoll-kraay", "wild:unit"]}))
    kinds = {record.se_type for record in found.records if record.table == "I"}
    assert kinds == {"iid", "hc1", "cluster:unit", "driscoll-kraay"}
    assert "Table I has no wild:unit errors: 2SLS does not offer them." in found.notes
    assert not any("they need" in note for note in found.notes)  # there are clusters enough
    shown = tables_of(found, "driscoll-kraay")["I"]
    assert any("Driscoll-Kraay" in note for note in shown.notes)


@pytest.fixture(scope="module")
def mediated() -> Document:
    inference = {"draws": 99, "cluster_k": "all"}
    return estimate(real_of(cities(), panel=MEDIATED, iv={"mediator": ["zm"]}, inference=inference))


def test_an_instrumented_mediator_stands_beside_the_plain_one(mediated: Document) -> None:
    assert "I" not in {record.table for record in mediated.records}
    panel = real_of(cities(), panel=MEDIATED, iv={"mediator": ["zm"]})
    whole = replace(panel.panel, variables={**panel.panel.variables, **panel.further})
    for column, names in ((1, ()), (2, ("zm",))):
        own = Mediation("m", errors=("delta",), instruments=names, cluster_k="all")(whole)
        found = by_term(mediated, place=("I2", column), se_type="delta")
        assert set(found) == set(own.terms)
        for term, record in found.items():
            k = own.terms.index(str(term))
            assert (record.estimate, record.se) == pytest.approx((own.estimate[0, k], own.se[0, 0, k]), rel=1e-10)
    table = tables_of(mediated)["I2"]
    assert [heading.label for heading in table.columns] == ["OLS", "2SLS"]
    rows = {row.label: row.cells for row in table.rows if row.label}
    assert list(rows)[:6] == ["a", "b", "nie", "nde", "total", "proportion"]
    assert rows["Effective F"][0] == ""
    assert any("by the delta method" in note for note in table.notes)
    assert {check.name for check in mediated.warnings} >= {"weak-mediator-instruments"}


def test_the_bootstrap_of_table_i2_can_be_shown(mediated: Document) -> None:
    notes = " ".join(tables_of(mediated, "bootstrap:unit")["I2"].notes)
    assert "by bootstrap of units" in notes


@pytest.mark.parametrize(("iv", "words"), [
    ({}, "there is no instrument"),
    ({"instruments": []}, "there is no instrument"),
    ({"endogenous": "inv"}, "there is no instrument"),
    ({"instruments": ["z9"]}, "no column 'z9'"),
    ({"instruments": ["z1", "z1"]}, "instruments names 'z1' twice"),
    ({"instruments": ["y"]}, "instruments names 'y', which is the outcome"),
    ({"instruments": ["park"]}, "instruments names 'park', which is the treatment"),
    ({"instruments": ["road"], "endogenous": "inv"}, "instruments names 'road', which is a control"),
    ({"instruments": ["inv"], "endogenous": "inv"}, "instruments names 'inv', the endogenous regressor itself"),
    ({"instruments": ["city"]}, "instruments names 'city', which is the unit"),
    ({"instruments": ["z1"], "endogenous": "y"}, "endogenous names 'y', which is the outcome"),
    ({"instruments": ["z1"], "endogenous": "nix"}, "no column 'nix'"),
    ({"instruments": "z1"}, "instruments"),
    ({"instrument": ["z1"]}, "instrument"),
    ({"mediator": ["zm"]}, "mediators = []"),
    ({"mediator": ["zm"], "endogenous": "inv"}, "endogenous = 'inv' without instruments"),
    ({"mediator": ["z1"], "of": ["m", "zm"]}, "mediators = ['m', 'zm']"),
    ({"mediator": ["m"], "of": ["m"]}, "mediator names 'm', which is a mediator"),
    ({"instruments": ["m"], "of": ["m"]}, "instruments names 'm', which is a mediator"),
])  # fmt: skip
def test_careless_specs_are_one_line(iv: dict[str, Any], words: str) -> None:
    mediators = iv.get("of", [])
    own = {k: iv[k] for k in iv if k != "of"}
    caught = refuses("", lambda: real_of(cities(), panel={**SPEC["panel"], "mediators": mediators}, iv=own))
    said = [problem for problem in caught.problems if words in problem.what]
    assert said, [problem.what for problem in caught.problems]
    assert said[0].where.startswith("spec") or "iv" in said[0].where
    assert "\n" not in said[0].what


def test_a_useless_instrument_is_a_note_in_place_of_the_table() -> None:
    frame = cities().assign(place=lambda rows: rows["city"].str[1:].astype(float))
    found = estimate(real_of(frame, iv={"instruments": ["place"], "endogenous": "inv"}))
    assert not [record for record in found.records if record.table == "I"]
    assert "No table I: instrument 'place' is absorbed by the unit and time effects." in found.notes


def test_text_in_an_instrument_is_refused_by_cell() -> None:
    frame = cities().copy()
    frame["z1"] = frame["z1"].astype(object)
    frame.loc[4, "z1"] = "high"
    refuses("high", lambda: real_of(frame))


# Tables M, D and T: moderators, triple differences and the user's own tests, on the example panel.


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
def interactions() -> Any:
    return pp.estimate(read(moderation={"by": ["inv", "gpat", "still"]}, ddd={"group": "rich"},
                            inference={"tests": list(TESTS)}))  # fmt: skip


def rows(name: str, of: Document | None = None) -> dict[str, tuple[str, ...]]:
    (table,) = (table for table in journal_tables(of or interactions()) if table.name == name)
    return {row.label: row.cells for row in table.rows if row.label}


def records_of(place: tuple[str, int]) -> Mapping[str, Any]:
    return by_term(interactions(), place=place, se_type="cluster:unit")


def test_a_column_is_the_estimator_that_studies_prove() -> None:
    real = read(moderation={"by": ["inv"]})
    found = Moderation("inv")(real.panel)
    shown = records_of(("M", 1))
    for term in found.terms:
        assert (shown[term].estimate, shown[term].se) == (found.params[term], found.std_errors[term])
    triple = TripleDifference("rich", ("1", "2"))(read(ddd={"group": "rich"}).panel)
    shown = records_of(("D", 1))["did x 2"]
    assert (shown.estimate, shown.se) == (triple.params["did x 2"], triple.std_errors["did x 2"])


@pytest.mark.parametrize(("share", "term"), [(10, "did at p10"), (50, "did at p50"), (90, "did at p90")])
def test_effects_at_quantiles_are_those_of_a_moderator_centred_there(share: int, term: str) -> None:
    panel = read(moderation={"by": ["inv"]}).panel
    moved = Moderation("inv", at=float(np.percentile(panel.variables["inv"], share)))(panel)
    shown = records_of(("M", 1))[term]
    wanted = [moved.params["did"], moved.std_errors["did"], moved.pvalues["did"]]
    np.testing.assert_allclose([shown.estimate, shown.se, shown.pvalue], wanted, rtol=1e-8)


def test_the_second_group_is_the_first_of_the_other_order() -> None:
    panel = read(ddd={"group": "rich"}).panel
    other = TripleDifference("rich", ("2", "1"))(panel)
    shown = records_of(("D", 1))["did in 2"]
    np.testing.assert_allclose([shown.estimate, shown.se], [other.params["did"], other.std_errors["did"]], rtol=1e-8)


def test_tables_say_what_they_hold() -> None:
    table = rows("M")
    assert list(table)[:5] == ["eip, at the moderator's mean", "eip × moderator", "eip at the 10% quantile",
                               "eip at the 50% quantile", "eip at the 90% quantile"]  # fmt: skip
    assert table["gpat"][1]
    assert not table["gpat"][0]
    assert "still" not in table  # absorbed
    assert any("column 3: still does not change within units" in note for note in interactions().notes)
    assert list(rows("D"))[:3] == ["eip, rich = 1", "eip, rich = 2", "Triple difference"]
    assert any(note.startswith("rich groups units by road in 2006: 1 up to") for note in interactions().notes)


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
    found = {record.sample + ": " + record.term: record for record in interactions().records if record.table == "T"}
    assert tuple(found) == TESTS
    by_hand = interactions()["2", 5].test("did = 0.02")
    shown = found["2.5: did = 0.02"]
    assert (shown.estimate, shown.se, shown.pvalue) == (by_hand.estimate, by_hand.se, by_hand.pvalue)
    assert (shown.nobs, shown.units, shown.periods) == (60 * 18, 60, 18)
    assert found["2.5: did = 0, inv = 0"].estimate is None
    assert facts(interactions(), table="T", column=2) == {"dof": 59.0, "restrictions": 2.0}
    table = rows("T")
    assert table["2.5: did = 0.02"][0] == rows("2")["eip"][-1].rstrip("*")
    assert len(table["M.1: -0.1 < did x inv < 0.1"]) == 4


def test_errors_that_are_drawn_have_their_own_test_of_zero_and_no_other() -> None:
    asked = {"errors": ["wild:unit"], "draws": 199, "tests": ["5.2 mediation: -2 * nie = 0"]}
    own = spec_of(inference=asked)["panel"] | {"mediators": ["gpat"]}
    tables = pp.estimate(pp.read_panel(example_frame().iloc[: 60 * 18], {"panel": own, "inference": asked}))
    nie = next(one for one in tables.records if (one.term, one.se_type) == ("nie", "bootstrap:unit"))
    (test,) = (one for one in tables.records if one.table == "T")
    assert (test.se_type, test.pvalue, test.statistic) == (nie.se_type, nie.pvalue, -nie.statistic)
    assert (test.lower, test.upper, test.se) == (-2 * nie.upper, -2 * nie.lower, 2 * nie.se)
    wild = tables["2", 5].with_errors("wild:unit")
    assert wild.test("did = 0").pvalue == wild.pvalues["did"]
    assert wild.test("did").lower == wild.conf_int().loc["did", "lower"]
    for text in ("did = 0.1", "-1 < did < 1"):
        refuses("errors of type wild:unit test 0 alone; allowed: did = 0", lambda text=text: wild.test(text), count=1)
    assert tables["5", 2].with_errors("delta").test("nie = 0.1", model="mediation").dof == 59


def test_tests_and_interactions_change_no_other_number() -> None:
    plain = pp.estimate(read())
    kept = [record for record in interactions().records if record.table not in ("M", "D", "T")]
    assert list(plain.records) == kept


def test_in_python_one_column_is_chosen() -> None:
    whole, pair = interactions()["2", 5], interactions()["2", 2]
    assert whole.lincom("did + inv").estimate == pytest.approx(whole.params[["did", "inv"]].sum(), rel=1e-12)
    robust = whole.with_errors("hc1")
    assert robust.lincom("did").se == pytest.approx(robust.std_errors["did"])
    assert pair.lincom("did", model="pooled").estimate != pair.lincom("did", model="random").estimate
    for call, said in (
        (lambda: interactions()["2"].lincom("did"), "several columns"),
        (lambda: whole.lincom("did = 0, inv = 0"), "no single combination"),
        (lambda: pair.lincom("did"), 'one of pooled, random; say which, such as model="pooled"'),
        (lambda: interactions()["2", 2, "random"], "is no table and column"),  # type: ignore[index]
        (lambda: interactions()["2", "two"], "is no table and column"),  # type: ignore[index]
        (lambda: whole.lincom("did", model="pooled"), "is not pooled; allowed: did"),
        (lambda: pair.lincom("did", model="pooled", sample="random"), "has 0 fits with pooled random"),
        (lambda: pair.lincom("did - inv", model="random"), "has no covariance of its terms"),
    ):
        refuses(said, call, count=1)


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
    spec = {**spec_of(**changes), "transform": {}}
    refuses(said, lambda: pp.estimate(pp.read_panel(example_frame().assign(one=1), spec)), count=1)


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
    found = interactions()["2", 5]
    assert (one := found.test("eip = 0.02")).pvalue == found.test("did = 0.02").pvalue
    assert one.hypothesis == "eip = 0.02"
    own = pp.estimate(read(moderation={"by": ["inv"]}, inference={"tests": ["2.5: eip = 0", "M.1: eip x inv"]}))
    tests = [record for record in own.records if record.table == "T"]
    assert [record.term for record in tests] == ["eip = 0", "eip x inv"]
    assert tests[0].estimate == found.params["did"]
    terms = ("eip", "w_did", "did", "direct:did")
    read_ = [parse_hypothesis(text, terms, treatment="eip").alone for text in ("eip", "did", "direct:eip")]
    assert read_ == [0, 2, 3], "a term of that name is itself"


def test_the_command_takes_tests(tmp_path: Path) -> None:
    example_frame(40).to_csv(tmp_path / "panel.csv", index=False)
    (tmp_path / "spec.toml").write_text('[panel]\nunit = "city"\nperiod = "year"\noutcome = "icr"\ntreatment = "eip"\n')
    asked = ("estimate", tmp_path / "panel.csv", "--spec", tmp_path / "spec.toml", "--json")
    found = json.loads(here(*asked, "--test", "2.5: did = 0.02", "--test", "2.5: -1 < did < 1").out)
    tests = [record for record in found["records"] if record["table"] == "T"]
    assert [record["model"] for record in tests] == ["combination", "equivalence"]
    assert tests[1]["pvalue"] < 1e-10
    here(*asked, "--test", "2.5: gdp", code=2)


def test_a_second_group_that_is_fitted_without_error_has_no_error() -> None:
    """What is exactly 0 of its variance, or rounding, is no error of its effect."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame([(f"c{i}", year) for i in range(10) for year in range(2001, 2005)], columns=["city", "year"])
    number = frame["city"].str[1:].astype(int)
    frame["late"] = (number >= 5).astype(int)
    frame["d"] = ((number % 2 == 1) & (frame["year"] >= 2003)).astype(float)
    frame["y"] = 2.0 * frame["d"] + rng.standard_normal(len(frame)) * (number < 5)
    spec = {"panel": {"unit": "city", "period": "year", "outcome": "y", "treatment": "d"}, "ddd": {"group": "late"}}
    ledger = filled(interactions_table.add, pp.read_panel(frame, spec))
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
    ledger = filled(interactions_table.add, sample)
    assert ledger.notes == ["No table D: all units of this sample have one value of rich."]
    assert not ledger.records
