"""Tables I and I2 and [iv] of a spec: numbers are those of the estimators, words are plain, careless specs one line."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import panelproof as pp
from estimators import Mediation, PanelIV, TwoWayDID
from experiments.checks import two_stages, weak_instruments
from experiments.checks.case import Case
from experiments.panel_spec.spec import RealPanel
from experiments.tables import iv_table
from experiments.tables.cross_check import cross_check
from experiments.tables.iv_table import written_set
from experiments.tables.ledger import Ledger, facts_of, journal_tables
from results.tables.journal_table import JournalTable
from results.tables.records import Document

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
    return {item.name: item.estimate for item in document.statistics if item.place == place}


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
        records = [record for record in document.records if record.place == ("I", column)]
        assert {record.term for record in records} == set(found.terms)
        for record in records:
            k, e = found.terms.index(str(record.term)), found.errors.index(record.se_type)
            assert record.estimate == pytest.approx(found.estimate[0, k], rel=1e-12)
            assert record.se == pytest.approx(found.se[0, e, k], rel=1e-12)
    tests = own[2](whole).statistics
    printed = statistics(document, ("I", 2))
    assert {name: values[0] for name, values in tests.items()} == pytest.approx(
        {name: printed[name] for name in tests}, rel=1e-10
    )


def test_the_table_reads_as_it_should(document: Document) -> None:
    table = tables_of(document)["I"]
    assert table.title == "Instrumental variables: y on inv"
    assert [heading.label for heading in table.columns] == ["OLS", "2SLS", "First stage", "Reduced form"]
    rows = {row.label: row.cells for row in table.rows if row.label}
    assert list(rows)[:6] == ["park", "z1", "z2", "inv", "road", "Constant"]
    assert rows["z1"][:2] == ("", "")
    assert rows["inv"][2:] == ("", "")
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
    records = [record for record in found.records if record.table == "I"]
    assert {record.nobs for record in records} == {len(frame) - 2}
    assert {record.term for record in records if record.column == 2} == {"did", "inv", "road"}
    assert "Table I: 2 rows with a missing value are left out." in found.notes
    named = estimate(real_of(frame, iv={"instruments": ["z1"], "endogenous": "park"}))
    assert [record for record in named.records if record.table == "I"] == records
    assert tables_of(found)["I"].title == "Instrumental variables: y on park"


def test_an_endogenous_column_that_is_no_control_is_added() -> None:
    found = estimate(real_of(cities(), iv={"instruments": ["zm"], "endogenous": "m"}))
    terms = [record.term for record in found.records if record.place == ("I", 2) and record.se_type == "iid"]
    assert terms == ["m", "did", "inv", "road"]
    b = next(record for record in found.records if record.place == ("I", 2) and record.term == "m")
    assert b.estimate == pytest.approx(0.6, abs=0.2)


def test_other_programs_find_the_same() -> None:
    found = estimate(real_of(cities()))
    asked = [item for item in found.cross_check if item.table == "I"]
    assert {item.what for item in asked} == {"estimates", "errors iid", "errors hc1", "errors cluster:unit"}
    assert all(item.compared == 17 if item.what == "estimates" else item.compared >= 14 for item in asked)
    assert max(item.largest for item in asked) < 1e-8


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
    panel = {**SPEC["panel"], "mediators": ["m"]}
    return estimate(
        real_of(cities(), panel=panel, iv={"mediator": ["zm"]}, inference={"draws": 99, "cluster_k": "all"})
    )


def test_an_instrumented_mediator_stands_beside_the_plain_one(mediated: Document) -> None:
    assert "I" not in {record.table for record in mediated.records}
    panel = real_of(cities(), panel={**SPEC["panel"], "mediators": ["m"]}, iv={"mediator": ["zm"]})
    whole = replace(panel.panel, variables={**panel.panel.variables, **panel.further})
    for column, names in ((1, ()), (2, ("zm",))):
        own = Mediation("m", errors=("delta",), instruments=names, cluster_k="all")(whole)
        found = {record.term: record for record in mediated.records
                 if record.place == ("I2", column) and record.se_type == "delta"}  # fmt: skip
        assert set(found) == set(own.terms)
        for term, record in found.items():
            assert record.estimate == pytest.approx(own.estimate[0, own.terms.index(str(term))], rel=1e-10)
            assert record.se == pytest.approx(own.se[0, 0, own.terms.index(str(term))], rel=1e-10)
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
])  # fmt: skip
def test_careless_specs_are_one_line(iv: dict[str, Any], words: str) -> None:
    with pytest.raises(pp.BadInput) as caught:
        real_of(cities(), iv=iv)
    said = [problem for problem in caught.value.problems if words in problem.what]
    assert said, [problem.what for problem in caught.value.problems]
    assert said[0].where.startswith("spec") or "iv" in said[0].where
    assert "\n" not in said[0].what


@pytest.mark.parametrize(("column", "words"), [
    ("place", "instrument 'place' is absorbed by the unit and time effects"),
    ("copy", "instruments and controls fit the endogenous regressor 'inv' exactly"),
    ("made", "instrument 'made' is collinear with did, road and the effects"),
])  # fmt: skip
def test_useless_instruments_are_a_note_in_place_of_the_table(column: str, words: str) -> None:
    frame = cities().copy()
    frame["place"] = frame["city"].str[1:].astype(float)
    frame["copy"], frame["made"] = 2 * frame["inv"], 3 * frame["road"] + 1
    found = estimate(real_of(frame, iv={"instruments": [column], "endogenous": "inv"}))
    assert not [record for record in found.records if record.table == "I"]
    assert f"No table I: {words}." in found.notes


def test_instruments_of_a_mediator_are_of_one_alone() -> None:
    with pytest.raises(pp.BadInput, match=r"mediators = \['m', 'zm'\]"):
        real_of(cities(), panel={**SPEC["panel"], "mediators": ["m", "zm"]}, iv={"mediator": ["z1"]})


@pytest.mark.parametrize("key", ["instruments", "mediator"])
def test_a_mediator_is_no_instrument(key: str) -> None:
    with pytest.raises(pp.BadInput, match=f"{key} names 'm', which is a mediator"):
        real_of(cities(), panel={**SPEC["panel"], "mediators": ["m"]}, iv={key: ["m"]})


def test_text_in_an_instrument_is_refused_by_cell() -> None:
    frame = cities().copy()
    frame["z1"] = frame["z1"].astype(object)
    frame.loc[4, "z1"] = "high"
    with pytest.raises(pp.BadInput, match="high"):
        real_of(frame)
