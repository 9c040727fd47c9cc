"""What stands under and behind the tables: which sample, which test, which measure of fit; what no number becomes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from documents import FACTS, behind, cells, full_document, number_of, only, record, records, statistics

from experiments.tables.ledger import journal_tables
from results.tables.journal_table import FLOORED, FRAGILE
from results.tables.records import BASELINE, EQUAL_EFFECTS, SPATIAL, Agreement, Document, Fit
from results.tables.typography import decimals, digits, probability


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_an_empty_cell(value: float) -> None:
    assert (digits(value), decimals(value), probability(value)) == ("", "", "")


def test_tables_of_space_describe_the_balanced_part() -> None:
    part = {"units": 280, "periods": 17, "first_period": 2007, "last_period": 2023, "nobs": 4760}
    tables = journal_tables(full_document({**FACTS, "balanced": False, "balanced_part": part}))
    square = "Data: the user's panel, 280 units × 17 periods, 2007-2023, its balanced part."
    for table in (table for table in tables if table.name in {"1", "2", "3", "4", "5", "R"}):
        assert table.notes[-1] == "Data: the user's panel, 285 units × 18 periods, 2006-2023, unbalanced."
    of_space = [table for table in tables if number_of(table) in {"6", "7"} or "W knn" in table.title or "W queen" in
                table.title]  # fmt: skip
    assert len(of_space) > 10
    assert {table.notes[-1] for table in of_space} == {square}


def test_measures_of_fit_are_defined_once_and_the_others_are_behind() -> None:
    table = only("7")
    assert sum(note.startswith(("R²", "AIC")) for note in table.notes) == 2
    assert [note for note in table.notes if note.startswith("AIC") and "not the effects; n is the likelihood's, NT" in
            note]  # fmt: skip
    lee_yu = next(t for t in journal_tables(full_document()) if number_of(t) == "7" and "Lee and Yu" in t.title)
    assert any("likelihood's, (N - 1)(T - 1)" in note for note in lee_yu.notes)
    assert "Naive, overall" not in [row.label for row in table.rows]
    further = behind("Predictions of icr by the spatial models, W knn-6")
    assert further.groups == (("direct maximum likelihood", 6), ("Lee and Yu's transformed likelihood", 6))
    assert cells(further, "Naive, overall") == ("0.1330",) * 12
    assert sum(note.startswith("R²") for note in only("2").notes) == 2
    assert not any(note.startswith("R²") for note in only("4").notes)


def test_table_6_says_which_rows_are_tested_how() -> None:
    fit = Fit(("6", 3), "moran-residuals", weights="knn-6")
    found = [*records(replace(fit, year=2006), {"moran": 0.1}, ("simulation",)),
             *records(fit, {"moran": 0.05}, ("projection", "permutation"))]  # fmt: skip
    said = only("6", document=Document(FACTS, tuple(found), ())).notes[0]
    assert 'Moran\'s I of residuals by permutation (row "All periods")' in said
    assert "by simulation of projected normal errors (single periods)" in said


@pytest.mark.parametrize(("failed", "largest", "code"), [(0, 0.0, 0), (2, 0.0, 3), (0, 0.1, 1), (2, 0.1, 1)])
def test_the_exit_code_of_a_document(failed: int, largest: float, code: int) -> None:
    agreement = Agreement("2", "linearmodels", "estimates", 36, largest)
    assert replace(full_document(), failed=failed, cross_check=(agreement,)).exit_code == code


def test_a_floored_test_of_equal_effects_says_so() -> None:
    """The matrix of the interacted model can have negative eigenvalues where those of the subsamples have none."""
    document = full_document()
    test = next(found for found in document.statistics if found.model == "interaction")
    floored = replace(test, name="floored:cluster:unit", estimate=1.0)
    said = only("4", document=replace(document, statistics=(*document.statistics, floored))).notes
    assert sum(note.startswith(FLOORED) for note in said) == 1
    assert not any(note.startswith(FLOORED) for note in only("4").notes)


def fragile(fit: Fit, pvalues: dict[str, float], term: str = "did") -> list[str]:
    """The sentences on stars under the table of one fit, whose term has these p values by error type."""
    found = [record(fit, term, 0.01, 0.004, kind, pvalue=p) for kind, p in pvalues.items()]
    table = only(fit.table, document=Document(FACTS, tuple(found)))
    return [note for note in table.notes if note.startswith(FRAGILE)]


def test_stars_that_depend_on_the_error_type_are_said() -> None:
    fit = Fit(BASELINE["controls, units, periods"], "did")
    assert fragile(fit, {"iid": 0.004, "hc1": 0.03, "cluster:unit": 0.2, "conley:100": 0.009}) == [
        "The stars of eip depend on the error type: column (5) *** (homoskedastic / Conley, 100 km) ** "
        "(heteroskedasticity-robust (HC1)) none (clustered by unit)."
    ]
    assert fragile(fit, {"iid": 0.004, "hc1": 0.009}) == []
    assert fragile(fit, {"iid": 0.004, "hc1": 0.2}, term="inv") == []


def test_a_test_of_equal_effects_is_no_column_of_the_table() -> None:
    """The fit behind it has the effect in the first group once more, under the number 0, which no column has."""
    pvalues = {"iid": 0.004, "cluster:unit": 0.2}
    fits = (Fit(("4", 1), "did", sample="region = east"), Fit(EQUAL_EFFECTS, "interaction", sample="region"))
    found = [record(fit, "did", 0.01, 0.004, kind, pvalue=p) for fit in fits for kind, p in pvalues.items()]
    document = Document(FACTS, tuple(found), tuple(statistics(fits[1], wald=3.0, wald_p=0.1)))
    notes = only("4", document=document).notes
    assert [note for note in notes if note.startswith(FRAGILE)] == [
        "The stars of eip depend on the error type: column (1) *** (homoskedastic) none (clustered by unit)."
    ]
    assert not any("(0)" in note for note in notes)
    hc1 = record(fits[1], "did", 0.01, 0.004, "hc1")
    mixed = replace(document, records=(*(one for one in found if one.model == "did"), hc1))
    assert any(note.startswith("Test of equal effects: standard errors") for note in only("4", document=mixed).notes)


def test_stars_of_effects_are_those_of_the_durbin_model() -> None:
    pvalues = {"information": 0.004, "cluster:unit": 0.2}
    sdm, sar = (Fit(SPATIAL[model], model, "direct", weights="knn-6") for model in ("sdm", "sar"))
    assert fragile(sdm, pvalues, term="indirect:did") == [
        "The stars of the indirect effect of eip depend on the error type: column (3) *** (from the information "
        "matrix) none (clustered by unit)."
    ]
    assert fragile(sar, pvalues, term="indirect:did") == []
