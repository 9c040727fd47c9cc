"""Brackets, stars and column numbers: of the error type and the column that the table and its notes name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from documents import FACTS, cells, full_document, only, record, records

from experiments.tables.ledger import journal_tables
from results.tables.journal_table import UNBOUNDED, UNBOUNDED_NOTE, FitColumn
from results.tables.records import BASELINE, ROBUSTNESS, SPATIAL, Document, Fit

WHOLE = Fit(BASELINE["controls, units, periods"], "did")
BRACKETS = "rackets hold 95% intervals, not standard errors"


def wild_fit(lower: float | None, upper: float | None, *, pvalue: float) -> Document:
    """A fit that is clear of zero with errors clustered by unit, and not by the wild bootstrap."""
    wild = record(WHOLE, "did", 1.5749, None, "wild:region", pvalue=pvalue, lower=lower, upper=upper)
    return Document(FACTS, (*records(WHOLE, {"did": 1.5749}), wild), ())


@pytest.mark.parametrize(("lower", "upper"), [(None, None), (0.2, None), (None, 3.0)])
def test_a_test_without_a_bounded_interval_lends_no_other_errors(lower: float | None, upper: float | None) -> None:
    document = wild_fit(lower, upper, pvalue=0.21)
    table = only("2", "wild:region", document)
    assert cells(table, "eip") == ("1.5749",)
    assert cells(table, "eip", 1) == (UNBOUNDED,)
    assert UNBOUNDED_NOTE in table.notes
    assert cells(only("2", "cluster:unit", document), "eip", 1) == ("(0.0040)",)
    assert UNBOUNDED_NOTE not in only("2", "cluster:unit", document).notes


@pytest.mark.parametrize(
    "kinds", [("hc1", "information", "hessian"), ("information", "qmle"), ("hessian", "information")]
)
def test_without_clusters_a_likelihood_shows_the_information_matrix(kinds: tuple[str, ...]) -> None:
    fit = Fit(SPATIAL["sar"], "sar", "direct", weights="knn-6")
    column = FitColumn(**fit.identity, records=[record(fit, "rho", 0.3, 0.1, kind) for kind in kinds])
    assert column.shown_error(None) == "information"
    assert column.shown_error(kinds[0]) == kinds[0]
    assert column.shown_error("cluster:unit") == "information"


def test_its_stars_are_by_its_own_p_value() -> None:
    assert cells(only("2", "wild:region", wild_fit(None, None, pvalue=0.03)), "eip") == ("1.5749**",)
    bounded = only("2", "wild:region", wild_fit(0.2, 3.0, pvalue=0.03))
    assert cells(bounded, "eip", 1) == ("[0.2000, 3.0000]",)
    assert UNBOUNDED_NOTE not in bounded.notes


def test_notes_on_several_error_types_say_of_which_columns_they_are() -> None:
    pooled, random = Fit(("2", 1), "pooled"), Fit(("2", 1), "random")
    drawn = {"se_type": "wild:region", "se": None, "lower": 0.1, "upper": 0.9}
    found = [item for fit in (pooled, random, WHOLE) for item in records(fit, {"did": 0.5})]
    found += [replace(record(fit, "did", 0.5, None, "wild:region"), **drawn) for fit in (pooled, WHOLE)]  # type: ignore[arg-type]
    notes = only("2", "wild:region", Document(FACTS, tuple(found), ())).notes
    assert any(note.startswith(f"Pooled OLS (1), Fixed effects (5): b{BRACKETS}") for note in notes)
    assert any(note.startswith("Random effects (1): standard errors in brackets, clustered by unit") for note in notes)
    alone = only("2", "cluster:unit", Document(FACTS, tuple(found), ())).notes
    assert any(note.startswith("Standard errors in brackets, clustered by unit") for note in alone)


def test_columns_of_a_note_are_named_by_number_where_numbers_are_their_own() -> None:
    fits = [Fit((ROBUSTNESS, number), "did", sample=str(number)) for number in (1, 2, 3, 5, 6)]
    found = [item for fit in fits for item in records(fit, {"did": 0.5})]
    found += [record(fit, "did", 0.5, None, "wild:unit", lower=0.1, upper=0.9) for fit in fits[:4]]
    notes = only(ROBUSTNESS, "wild:unit", Document(FACTS, tuple(found), ())).notes
    assert any(note.startswith(f"Columns (1) to (3), (5): b{BRACKETS}") for note in notes)
    assert any(note.startswith("Column (6): standard errors in brackets") for note in notes)


def test_the_test_of_equal_effects_is_named_where_its_errors_are_others() -> None:
    east, test = Fit(("4", 1), "did", sample="region = east"), Fit(("4", 1), "interaction", sample="region")
    found = [*records(east, {"did": 0.5}), *records(test, {"did x west": 0.1})]
    found.append(record(east, "did", 0.5, None, "wild:unit", lower=0.1, upper=0.9))
    notes = only("4", "wild:unit", Document(FACTS, tuple(found), ())).notes
    assert any(note.startswith("Test of equal effects: standard errors in brackets") for note in notes)


def test_terms_of_which_the_error_type_says_nothing_are_confessed() -> None:
    """The bootstrap of the document is of the treatment alone, and the controls keep their clustered errors."""
    said = "Where the column's error type gives no error of a term, brackets hold the standard error clustered by unit."
    assert said in only("2", "wild:unit").notes
    assert not any(note.startswith("Where the column's") for note in only("2").notes)


@pytest.mark.parametrize("name", [ROBUSTNESS, "S", "S4"])
def test_columns_are_numbered_as_in_the_document(name: str) -> None:
    """A column that could not be leaves its number out, which notes may name."""
    kind = {ROBUSTNESS: "did", "S": "imputation", "S4": "spatial-did"}[name]
    found = [item for number in (1, 3) for item in records(Fit((name, number), kind, sample=str(number)), {"did": 1.0})]
    table = only(name, document=Document(FACTS, tuple(found), ()))
    assert [column.number for column in table.columns] == ["(1)", "(3)"]


def test_robustness_checks_are_called_table_r_as_notes_call_them() -> None:
    (table,) = (table for table in journal_tables(full_document()) if table.name == ROBUSTNESS)
    assert table.caption.startswith("Table R. Robustness checks, one per column: ")
