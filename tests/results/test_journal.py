"""Tables beyond the approved ones: what is asked of them, errors and stars of columns, digits, notes, breaks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from documents import FACTS, cells, full_document, only, record, records, statistics
from known_tables import ASKED, known_document
from refusals import refuses
from rich.console import Console
from table_parsers import Printed, from_html

import experiments.tables
from estimators.staggered.dcdh import coefficient_weights
from experiments.estimation import check_tables
from experiments.tables.adoption_checks import _add_weights
from experiments.tables.ledger import Ledger, journal_tables, layouts, table_modules
from results.plots.specification_curve import effect_chart
from results.tables import journal_table as journal
from results.tables import records as rec
from results.tables import typography as typo
from results.tables.html_tables import html_tables
from results.tables.terminal_tables import print_estimates
from sim import Panel, Roles


def test_table_5_names_the_bootstrap_by_its_cluster() -> None:
    document = full_document()
    renamed = [replace(record, se_type=record.se_type.replace(":unit", ":province")) for record in document.records]
    table = only("5", document=replace(document, records=tuple(renamed)))
    assert "  province bootstrap" in [row.label for row in table.rows]
    assert any("Effects through the mediator: clustered by province; " in note for note in table.notes)


def test_effects_by_simulation_stand_beside_those_by_the_delta_method() -> None:
    fit = rec.Fit(rec.SPATIAL["sdm"], "sdm", "direct", weights="knn-6")
    found = records(fit, {"did": 0.01, "rho": 0.1, "indirect:did": 0.02}, ("information",))
    found += records(fit, {"indirect:did": 0.02}, ("simulation",), effects_method="simulation")
    document = rec.Document(FACTS, tuple(found), ())
    assert cells(only("7", document=document), "eip", 1) == ("(0.0020)",)
    behind = next(table for table in journal_tables(document) if table.appendix)
    assert [row.label for row in behind.rows][-1].startswith("by simulation")
    asked = only("7", "simulation", document)
    assert any("by simulation" in note for note in asked.notes)


def test_a_document_with_a_single_fit_and_no_treatment_or_with_nothing() -> None:
    facts = {**FACTS, "treatment": None, "treatment_column": None}
    first, behind = journal_tables(
        rec.Document(facts, tuple(records(WHOLE, {"rain": 0.07})), tuple(statistics(WHOLE, r2=None)))
    )
    assert first.caption == "Table 2. Regressions of icr on its regressors"
    assert [column.number for column in first.columns] == ["(5)"]
    assert "eip" not in " ".join([row.label for row in first.rows] + list(first.notes))
    assert behind.rows[0].label == "Fixed effects: rain 0.0700"
    fit = rec.Fit((rec.ROBUSTNESS, 1), "did", sample="nothing came of it")
    assert journal_tables(rec.Document(FACTS, (), tuple(statistics(fit, r2=0.5)))) == journal_tables(document([])) == ()


def test_a_treatment_is_said_to_be_1_from_the_period_on_that_a_column_holds() -> None:
    document = full_document({**FACTS, "first_treated": "eip"})
    for name in ("2", "5", "7"):
        assert only(name, document=document).notes[0] == "eip is 1 from the period in column eip on."
        assert not only(name).notes[0].startswith("eip")


def test_p_values_stars_and_minus_signs() -> None:
    """And names of terms, where controls keep theirs whatever they look like, and of errors."""
    assert (typo.probability(0.0001), typo.probability(0.00001), typo.probability(None)) == ("0.0001", "<0.0001", "")
    assert typo.split_stars("-0.01***") == ("-0.01", "***")
    assert (typo.figures(0.0512, places=2), typo.short_p(0.001)) == ("0.051", "= .001")
    assert typo.with_minus("[-0.1, -2] 2006-2023 knn-6 1e-7 -0.00008") == "[−0.1, −2] 2006-2023 knn-6 1e−7 −0.00008"
    for term, controls, label in (("w_did", ("inv", "road_pc"), "W × eip"), ("w_rain", ("w_rain",), "w_rain"),
                                  ("w_w_rain", ("w_rain",), "W × w_rain"), ("lambda", (), "λ"),
                                  ("indirect:did", (), "eip"), ("long_indirect:did", (), "eip")):  # fmt: skip
        assert typo.term_label(term, controls, lambda name: {"did": "eip"}.get(name, name)) == label
    assert typo.term_label("long_run:did") == "long_run:did"
    assert typo.error_label("cluster:unit+period") == "clustered by unit and period"
    assert typo.error_label("conley:200") == "Conley, 200 km"
    assert typo.error_label("conley:200:bartlett") == "Conley, 200 km, Bartlett weights"
    for error, likelihood, said in (("iid", False, "n - k"), ("wild:province", False, "inverted"),
                                    ("cluster:unit", True, "no small-sample factor")):  # fmt: skip
        assert said in typo.error_note(error, likelihood=likelihood)
    for error, but in (("cluster:unit", True), ("hessian", False)):  # of an SLX, which stands in table 7
        assert ("no small-sample factor but in SLX: G/(G - 1)" in " ".join(only("7", error).notes)) is but, error


def test_wide_tables_break_between_groups_and_keep_every_column() -> None:
    heads = tuple(journal.Heading(str(j), f"({j})", "ab"[j // 3]) for j in range(6))
    rows = (
        journal.Row("x", tuple("123456")),
        journal.Row("only late", ("",) * 5 + ("9",)),
        journal.Row("empty", kind="head"),
    )
    table = journal.JournalTable("2", "Wide", heads, rows, ("note",))
    parts = table.blocks(lambda part: len(part.columns) <= 4)
    assert ([len(part.columns) for part in parts], [len(part.rows) for part in parts]) == ([3, 3], [1, 2])
    assert ([part.notes for part in parts], parts[1].caption) == ([(), ("note",)], "Table 2. Wide (continued)")
    single = replace(table, columns=tuple(replace(column, group="") for column in heads))
    assert [len(part.columns) for part in single.blocks(lambda part: len(part.columns) <= 4)] == [3, 3]
    assert [len(part.columns) for part in table.blocks(lambda part: len(part.columns) <= 2)] == [2, 2, 2]
    head, second = journal.Row("h", kind="head"), journal.Row("h2", kind="head")
    labels = (journal.Row("a"), head, journal.Row("b"), journal.Row("c"), second, journal.Row("d"))
    pages = journal.JournalTable("7", "Long", (), labels, ("note",)).pages(4)
    assert [[row.label for row in part.rows] for part in pages] == [["a", "h", "b", "c"], ["h2", "d"]]
    assert pages[0].notes == (), "long tables break above headings"


def test_every_table_is_found_and_no_two_share_a_place() -> None:
    places = [place for module in table_modules() for place in module.LAYOUTS]
    assert len(places) == len(set(places))
    files = {file.stem for file in Path(experiments.tables.__path__[0]).glob("*.py")}
    assert {module.__name__.rpartition(".")[2] for module in table_modules()} == files - {"__init__", "ledger"}
    assert {layout for module in table_modules() for layout in module.LAYOUTS.values()} == set(layouts())
    assert [layout.__name__ for layout in layouts()][:3] == ["descriptives", "baseline", "checks"]


WHOLE = rec.Fit(rec.BASELINE["controls, units, periods"], "did")
BRACKETS = "rackets hold 95% intervals, not standard errors"


def wild_fit(lower: float | None, upper: float | None, *, pvalue: float) -> rec.Document:
    """A fit that is clear of zero with errors clustered by unit, and not by the wild bootstrap."""
    wild = record(WHOLE, "did", 1.5749, None, "wild:region", pvalue=pvalue, lower=lower, upper=upper)
    return rec.Document(FACTS, (*records(WHOLE, {"did": 1.5749}), wild), ())


@pytest.mark.parametrize(("lower", "upper"), [(None, None), (0.2, None), (None, 3.0)])
def test_a_test_without_a_bounded_interval_lends_no_other_errors(lower: float | None, upper: float | None) -> None:
    document = wild_fit(lower, upper, pvalue=0.21)
    table = only("2", "wild:region", document)
    assert (cells(table, "eip"), cells(table, "eip", 1)) == (("1.5749",), (journal.UNBOUNDED,))
    assert journal.UNBOUNDED_NOTE in table.notes
    assert cells(only("2", "cluster:unit", document), "eip", 1) == ("(0.0040)",)
    assert journal.UNBOUNDED_NOTE not in only("2", "cluster:unit", document).notes


@pytest.mark.parametrize(
    "kinds", [("hc1", "information", "hessian"), ("information", "qmle"), ("hessian", "information")]
)
def test_without_clusters_a_likelihood_shows_the_information_matrix(kinds: tuple[str, ...]) -> None:
    fit = rec.Fit(rec.SPATIAL["sar"], "sar", "direct", weights="knn-6")
    column = journal.FitColumn(**fit.identity, records=[record(fit, "rho", 0.3, 0.1, kind) for kind in kinds])
    assert (column.shown_error(None), column.shown_error(kinds[0])) == ("information", kinds[0])
    assert column.shown_error("cluster:unit") == "information"


def test_its_stars_are_by_its_own_p_value() -> None:
    assert cells(only("2", "wild:region", wild_fit(None, None, pvalue=0.03)), "eip") == ("1.5749**",)
    bounded = only("2", "wild:region", wild_fit(0.2, 3.0, pvalue=0.03))
    assert cells(bounded, "eip", 1) == ("[0.2000, 3.0000]",)
    assert journal.UNBOUNDED_NOTE not in bounded.notes


def test_notes_on_several_error_types_say_of_which_columns_they_are() -> None:
    pooled, random = rec.Fit(("2", 1), "pooled"), rec.Fit(("2", 1), "random")
    drawn = {"se_type": "wild:region", "se": None, "lower": 0.1, "upper": 0.9}
    found = [item for fit in (pooled, random, WHOLE) for item in records(fit, {"did": 0.5})]
    found += [replace(record(fit, "did", 0.5, None, "wild:region"), **drawn) for fit in (pooled, WHOLE)]  # type: ignore[arg-type]
    notes = only("2", "wild:region", rec.Document(FACTS, tuple(found), ())).notes
    assert any(note.startswith(f"Pooled OLS (1), Fixed effects (5): b{BRACKETS}") for note in notes)
    assert any(note.startswith("Random effects (1): standard errors in brackets, clustered by unit") for note in notes)
    alone = only("2", "cluster:unit", rec.Document(FACTS, tuple(found), ())).notes
    assert any(note.startswith("Standard errors in brackets, clustered by unit") for note in alone)
    fits = [rec.Fit((rec.ROBUSTNESS, number), "did", sample=str(number)) for number in (1, 2, 3, 5, 6)]
    found = [item for fit in fits for item in records(fit, {"did": 0.5})]
    found += [record(fit, "did", 0.5, None, "wild:unit", lower=0.1, upper=0.9) for fit in fits[:4]]
    notes = only(rec.ROBUSTNESS, "wild:unit", rec.Document(FACTS, tuple(found), ())).notes
    assert any(note.startswith(f"Columns (1) to (3), (5): b{BRACKETS}") for note in notes)
    assert any(note.startswith("Column (6): standard errors in brackets") for note in notes)


@pytest.mark.parametrize("name", [rec.ROBUSTNESS, "S", "S4"])
def test_columns_are_numbered_as_in_the_document(name: str) -> None:
    """A column that could not be leaves its number out, which notes may name."""
    kind = {rec.ROBUSTNESS: "did", "S": "imputation", "S4": "spatial-did"}[name]
    found = [
        item for number in (1, 3) for item in records(rec.Fit((name, number), kind, sample=str(number)), {"did": 1.0})
    ]
    table = only(name, document=rec.Document(FACTS, tuple(found), ()))
    assert [column.number for column in table.columns] == ["(1)", "(3)"]


@pytest.mark.parametrize(("failed", "largest", "code"), [(0, 0.0, 0), (2, 0.0, 3), (0, 0.1, 1), (2, 0.1, 1)])
def test_the_exit_code_of_a_document(failed: int, largest: float, code: int) -> None:
    agreement = rec.Agreement("2", "linearmodels", "estimates", 36, largest)
    assert replace(full_document(), failed=failed, cross_check=(agreement,)).exit_code == code


def test_a_floored_test_of_equal_effects_says_so() -> None:
    """The matrix of the interacted model can have negative eigenvalues where those of the subsamples have none."""
    document = full_document()
    test = next(found for found in document.statistics if found.model == "interaction")
    floored = replace(test, name="floored:cluster:unit", estimate=1.0)
    said = only("4", document=replace(document, statistics=(*document.statistics, floored))).notes
    assert sum(note.startswith(journal.FLOORED) for note in said) == 1
    assert not any(note.startswith(journal.FLOORED) for note in only("4").notes)


def fragile(fit: rec.Fit, pvalues: dict[str, float], term: str = "did") -> list[str]:
    """The sentences on stars under the table of one fit, whose term has these p values by error type."""
    found = [record(fit, term, 0.01, 0.004, kind, pvalue=p) for kind, p in pvalues.items()]
    table = only(fit.table, document=rec.Document(FACTS, tuple(found)))
    return [note for note in table.notes if note.startswith(journal.FRAGILE)]


def test_stars_that_depend_on_the_error_type_are_said_of_effects_by_the_durbin_model() -> None:
    fit = rec.Fit(rec.BASELINE["controls, units, periods"], "did")
    assert fragile(fit, {"iid": 0.004, "hc1": 0.03, "cluster:unit": 0.2, "conley:100": 0.009}) == [
        "The stars of eip depend on the error type: column (5) *** (homoskedastic / Conley, 100 km) ** "
        "(heteroskedasticity-robust (HC1)) none (clustered by unit)."
    ]
    assert fragile(fit, {"iid": 0.004, "hc1": 0.009}) == []
    assert fragile(fit, {"iid": 0.004, "hc1": 0.2}, term="inv") == []
    pvalues = {"information": 0.004, "cluster:unit": 0.2}
    sdm, sar = (rec.Fit(rec.SPATIAL[model], model, "direct", weights="knn-6") for model in ("sdm", "sar"))
    assert fragile(sdm, pvalues, term="indirect:did") == [
        "The stars of the indirect effect of eip depend on the error type: column (3) *** (from the information "
        "matrix) none (clustered by unit)."
    ]
    assert fragile(sar, pvalues, term="indirect:did") == []


def test_a_test_of_equal_effects_is_no_column_of_the_table() -> None:
    """The fit behind it has the effect in the first group once more, under the number 0, which no column has."""
    pvalues = {"iid": 0.004, "cluster:unit": 0.2}
    fits = (
        rec.Fit(("4", 1), "did", sample="region = east"),
        rec.Fit(rec.EQUAL_EFFECTS, "interaction", sample="region"),
    )
    found = [record(fit, "did", 0.01, 0.004, kind, pvalue=p) for fit in fits for kind, p in pvalues.items()]
    document = rec.Document(FACTS, tuple(found), tuple(statistics(fits[1], wald=3.0, wald_p=0.1)))
    notes = only("4", document=document).notes
    assert [note for note in notes if note.startswith(journal.FRAGILE)] == [
        "The stars of eip depend on the error type: column (1) *** (homoskedastic) none (clustered by unit)."
    ]
    assert not any("(0)" in note for note in notes)
    hc1 = record(fits[1], "did", 0.01, 0.004, "hc1")
    mixed = replace(document, records=(*(one for one in found if one.model == "did"), hc1))
    assert any(note.startswith("Test of equal effects: standard errors") for note in only("4", document=mixed).notes)


FIT = rec.Fit(("2", 5), "did")
NONE_ALIKE, NONE_NEGATIVE = "(none: all weights are equal", "(none: no weight is negative)"


@pytest.mark.parametrize(("value", "text"), [
    (0.0157, "0.0157"), (0.0, "0.0000"), (0.00067, "0.00067"), (0.000999, "0.0010"), (-0.00001, "-0.000010"),
    (1.23e-7, "1.230e-7"), (31.5, "31.5000"), (9999.9999, "9999.9999"),
    (-9999.99999, "-10,000.0"), (123456.78, "123,456.8"), (9876543.21, "9,876,543.2"),
    (-1.23456e7, "-1.235e7"), (839339345772.5, "8.393e11"), (None, ""), (float("nan"), ""), (float("-inf"), ""),
])  # fmt: skip
def test_digits(value: float | None, text: str) -> None:
    assert typo.digits(value) == text
    if not text:
        assert (typo.decimals(value), typo.probability(value)) == ("", "")


@pytest.mark.parametrize(
    ("estimate", "error", "written"),
    [(1.2345678e12, 3.6878866e11, ("1.235e12", "3.688e11")),
     (1.2e7, 3.7e6, ("1.200e7", "3.700e6")),
     (9.9e6, 3.7e6, ("9,900,000.0", "3,700,000.0")),
     (2.34e-5, 3.21e-6, ("2.340e-5", "3.210e-6")),
     (0.00067, 0.00021, ("0.00067", "0.00021")),
     (0.0123, 4e-6, ("1.230e-2", "4.000e-6")),  # four decimals show three digits of the estimate
     (0.5, 1.5e-15, ("0.5000", "1.500e-15")),
     (8e-6, 0.25, ("8.000e-6", "0.2500")),
     (0.0157, 0.00067, ("0.0157", "0.00067"))],
)  # fmt: skip
def test_an_estimate_and_its_error_are_written_alike(estimate: float, error: float, written: tuple[str, str]) -> None:
    value, below = journal.coefficient_rows("x", [record(FIT, "x", estimate, error, "iid", pvalue=0.5)])
    assert (*value.cells, below.cells[0].strip("()")) == written


def test_numbers_of_a_row_an_interval_a_variable_and_the_appendix_are_written_alike() -> None:
    """As far as they are of a size."""
    found = [record(FIT, "x", *pair, "iid", pvalue=0.5) for pair in ((1.2e12, 3e11), (8.1e6, 2e6), (0.5, 0.25))]
    assert [row.cells for row in journal.coefficient_rows("x", found)] == [
        ("1.200e12", "8.100e6", "0.5000"), ("(3.000e11)", "(2.000e6)", "(0.2500)")]  # fmt: skip
    usual = [record(FIT, "x", *pair, "iid", pvalue=0.5) for pair in ((0.00033, 0.00096), (-0.0406, 0.0386))]
    assert journal.coefficient_rows("x", usual)[0].cells == ("0.00033", "-0.0406")
    wild = record(FIT, "x", 2e7, None, "wild:unit", pvalue=0.5, lower=-5e5, upper=4e7)
    assert journal.coefficient_rows("x", [wild])[1].cells == ("[-5.000e5, 4.000e7]",)
    values = {"mean": 1.04e13, "sd": 1.4e12, "min": 0.0, "max": 3e13, "nobs": 400.0, "sd_within": 839339345772.5}
    (table,) = journal_tables(document([], statistics(rec.Fit(("1", 0), "descriptive"), "icr", **values)))
    assert [row.cells for row in table.rows] == [
        ("1.040e13", "1.400e12", "0.0000", "3.000e13", "400"), ("", "8.393e11", "", "", ""),
    ]  # fmt: skip
    large = [replace(record(FIT, "did", 1.2345678e12, error, kind), lower=9e11, upper=1.5e12)
             for error, kind in ((3.6878866e11, "iid"), (9.1e6, "hc1"))]  # fmt: skip
    appendix = next(table for table in journal_tables(document(large)) if table.appendix)
    assert appendix.rows[0].label.endswith("eip 1.235e12")
    assert [(row.cells[0], *row.cells[3:]) for row in appendix.rows[1:]] == [
        ("3.688e11", "9.000e11", "1.500e12"), ("9.100e6", "9.000e11", "1.500e12"),
    ]  # fmt: skip


def test_none_is_explained_for_either_row_of_the_weights() -> None:
    table = weights_table(sensitivity=None, reversal=None)
    assert cells(table, "SD of effects, mean may be 0") == cells(table, "SD of effects, all reversed") == ("none",)
    mean, others = table.notes[0].split("mean could be zero ")[1].split("all effects could have the other sign ")
    assert mean.startswith(NONE_ALIKE)
    assert others.startswith(NONE_NEGATIVE)
    table = weights_table(coefficient=1.2e7, sensitivity=9e6, reversal=2.5e8, negative_share=0.05)
    assert [cells(table, label)[0] for label in ("Two-way coefficient", "SD of effects, mean may be 0",
            "SD of effects, all reversed", "Share with a negative weight")] == [
        "1.200e7", "9.000e6", "2.500e8", "0.0500"]  # fmt: skip
    fit = rec.Fit(("S3", 1), "honest", "smoothness", "event(0)")
    said = statistics(fit, original_lower=0.004, original_upper=0.027, scale=0.5, breakdown=None)
    table = only("S3", document=document([], [*said, *statistics(fit, "0.5", lower=-0.01, upper=None)]))
    assert [row.cells for row in table.rows if "breakdown" in row.label] == [("none",)]


@pytest.mark.parametrize(("units", "periods", "treated", "date"), [(5, 4, 3, 1), (5, 17, 1, 3), (5, 17, 3, 3)])
def test_equal_weights_have_no_spread_whatever_the_rounding(units: int, periods: int, treated: int, date: int) -> None:
    """In these designs the weights' standard deviation is 1e-16, and the ratio to it would be printed as a number."""
    did = np.zeros((1, periods, units))
    did[0, date:, :treated] = 1.0
    y = np.random.default_rng(1).standard_normal(did.shape)
    panel = Panel(tuple("abcde"), tuple(range(periods)), {"y": y, "did": did}, Roles(outcome="y", treatment="did"))
    found, ledger = coefficient_weights(panel), Ledger(seed=1)
    assert np.ptp(found.weights[found.treated]) < 1e-12
    _add_weights(panel, ledger, 1, ())
    values = {item.name: item.value for item in ledger.statistics}
    assert values["sensitivity"] is None
    assert values["reversal"] is None
    assert values["coefficient"] == pytest.approx(float(found.coefficient[0]))


def document(found: list[rec.Record], said: list[rec.Record] | None = None) -> rec.Document:
    return rec.Document(FACTS, tuple(found), tuple(said or ()))


def weights_table(**values: float | None) -> journal.JournalTable:
    given = {"coefficient": 0.9, "cells": 4.0, "negative_share": 0.0, "negative_sum": 0.0, "sensitivity": 0.3,
             "reversal": 0.4, **values}  # fmt: skip
    said = statistics(rec.Fit(("S2", 2), "dcdh-weights"), None, **given)
    return next(table for table in journal_tables(document([], said)) if table.title.startswith("Weights"))


STYLES = {
    "t": rec.Style(brackets="t"), "p": rec.Style(brackets="p", stars=()), "ci": rec.Style(brackets="ci", digits=2),
    "levels": rec.Style(stars=(0.05, 0.01), digits=6),
}  # fmt: skip
LABELS = {"park": "Eco-park", "growth": "GDP", "rain": "Rainfall", "fdi": "Foreign capital", "income": "Wealth"}


@cache
def known() -> rec.Document:
    return known_document(ASKED["usual"][1])


def tables_in(style: rec.Style) -> tuple[journal.JournalTable, ...]:
    return journal_tables(replace(known(), style=style))


def by_texts() -> dict[tuple[str, str], rec.Record]:
    """Records by the estimate and the standard error that a table prints in the usual style."""
    return {(f"{one.estimate:.4f}", f"({one.se:.4f})"): one for one in known().records
            if one.estimate is not None and one.se is not None}  # fmt: skip


def with_below(table: Printed) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Labelled rows, each with the cells of the row without a label under it."""
    lines = [(label, texts) for label, texts in table.lines if texts is not None]
    return [(label, texts, under if not below_label else ("",) * len(texts))
            for (label, texts), (below_label, under) in pairwise([*lines, ("end", ())]) if label]  # fmt: skip


def below(record: rec.Record, style: rec.Style) -> str:
    """What stands in brackets, from the record alone."""
    if style.brackets == "ci":
        return f"[{record.lower:.{style.digits}f}, {record.upper:.{style.digits}f}]"
    if record.term == "proportion" and style.brackets != "se":
        return ""
    if style.brackets == "p":
        p = record.pvalue
        return "" if p is None else "(<0.0001)" if p < 0.00005 else f"({p:.4f})"
    if style.brackets == "t":
        return "" if record.statistic is None else f"({record.statistic:,.3f})"
    return f"({record.se:.{style.digits}f})"


def marks(record: rec.Record, style: rec.Style) -> str:
    if record.pvalue is None or record.term in ("sigma2", "proportion"):
        return ""
    return "*" * sum(record.pvalue < level for level in style.stars)


@pytest.mark.parametrize("name", STYLES)
def test_every_estimate_has_the_brackets_digits_and_stars_that_are_asked_for(name: str) -> None:
    """Read back from the page, beside the record that the usual table shows in the same place."""
    style, records, seen = STYLES[name], by_texts(), 0
    usual = from_html(html_tables(known(), tables_in(rec.PLAIN)))
    asked = from_html(html_tables(replace(known(), style=style), tables_in(style)))
    for one, other in zip(usual, asked, strict=True):
        for (label, texts, under), (own, written, beneath) in zip(with_below(one), with_below(other), strict=True):
            assert (one.caption, label) == (other.caption, own)
            for cell, error, text, bracket in zip(texts, under, written, beneath, strict=True):
                record = records.get((cell.rstrip("*"), error))
                if record is not None:
                    seen += 1
                    starred = "" if one.caption.startswith("Table T.") else marks(record, style)
                    assert text == f"{record.estimate:.{style.digits}f}{starred}", (label, record)
                    assert bracket == below(record, style), (label, record)
    assert seen > 400


def test_notes_say_what_brackets_and_stars_are() -> None:
    said = {
        name: " ".join(note for table in tables_in(style) for note in table.notes) for name, style in STYLES.items()
    }
    assert "t statistics in brackets; standard errors clustered by unit" in said["t"]
    assert "p values in brackets" in said["p"]
    assert "95% intervals in brackets" in said["ci"]
    assert not any("Standard errors in brackets" in said[name] for name in ("t", "p", "ci"))
    assert "** p < 0.01, * p < 0.05." in said["levels"]
    assert "***" not in said["levels"]
    assert "* p <" not in said["p"]
    assert "stars of park depend" not in said["p"]
    names = [table.name for table in tables_in(rec.Style(tables=("7", "1")))]
    assert names == ["1", *(f"7{letter}" for letter in "abcdefgh")], "only the tables of the style are made"


def test_labels_stand_in_place_of_names_everywhere() -> None:
    tables = tables_in(rec.Style(labels=LABELS))
    for table, usual in zip(tables, tables_in(rec.PLAIN), strict=True):
        said = [table.title, *(text for one in table.columns for text in (one.group, one.label)),
                *(row.label for row in table.rows if table.name != "T"), *table.notes]  # fmt: skip
        words = {word.strip(".,:;()") for text in said for word in text.split()}
        assert not words & {"park", "growth", "rain", "fdi", "DID,"}, table.caption
        assert [row.cells for row in table.rows] == [row.cells for row in usual.rows]
    assert (
        "Effect of Eco-park on GDP" in journal.TableSetting(replace(known(), style=rec.Style(labels=LABELS))).headline
    )
    assert tables_in(rec.Style(labels={"did": "Eco-park"}))[1].title == "Regressions of growth on Eco-park"


def test_the_effect_in_a_sentence_is_that_of_table_2() -> None:
    one = next(r for r in known().records
               if (r.place, r.model, r.term, r.se_type) == (("2", 5), "did", "did", "cluster:unit"))  # fmt: skip
    said = journal.TableSetting(known()).headline
    ends = f"{one.lower:.4f} to {one.upper:.4f}"
    assert said == (f"Effect of park on growth: {one.estimate:.4f}, 95% interval {ends}, "
                    f"p = {one.pvalue:.4f} (two-way fixed effects with controls; errors: "
                    "clustered by unit).")  # fmt: skip
    other = journal.TableSetting(known(), "hc1").headline
    assert "errors: heteroskedasticity-robust (HC1)" in other
    chart = effect_chart(known())
    (filled,) = [point for point in chart.panels[0].points if point.clear]
    assert (filled.value, filled.low, filled.high) == (one.estimate, one.lower, one.upper)
    assert [text for _, text in chart.places.ticks][-1] == "(5) controls, both effects"
    assert journal.TableSetting(rec.Document({**known().panel, "treatment": None}, known().records)).headline == ""


def shown(document: rec.Document, tables: Sequence[journal.JournalTable], names: Sequence[str] = ()) -> str:
    file = io.StringIO()
    console = Console(file=file, width=80, color_system=None, highlight=False)
    print_estimates(document, tables, console, None, names)
    return " ".join(file.getvalue().split())


def test_a_terminal_shows_the_effect_then_the_tables_that_are_asked_for() -> None:
    document = replace(known(), notes=("Table 5: of interest.", "For all."))
    text = shown(document, tables_in(rec.PLAIN))
    assert text.startswith("Effect of park on growth: ")
    there = ("Table 2. Regressions", "Table T.", "more tables: 1, 3, 4, 5, 6a", "Agreement with other programs",
             "For all.")  # fmt: skip
    assert [words for words in there if words not in text] == []
    assert [words for words in ("Table 7a", "Table 5: of interest.", "Neither panel", ", ,") if words in text] == []
    text = shown(document, tables_in(rec.PLAIN), ["7", "A1", "9", "11"])
    there = ("Neither panel nor spec gives a table 9, 11.", "Table 7a.", "Table 7h.", "Table A1.")
    assert [words for words in there if words not in text] == []
    assert "Table 2." not in text
    assert "Table 7b." not in shown(document, tables_in(rec.PLAIN), ["7A"])
    assert "Table 1." in shown(document, [table for table in tables_in(rec.PLAIN) if table.name == "1"])


def test_tables_and_error_types_that_are_not_there_are_refused_by_name() -> None:
    assert check_tables("2, 7b,a3,S2") == ("2", "7b", "a3", "S2")
    assert check_tables("C2,c3") == ("C2", "c3")  # weights beside table C
    assert check_tables(None) == ()
    for text in ("9", "two", "", "Q2"):
        refuses("--tables", check_tables, text)
    refuses(r"hc9.*cluster:unit", lambda: journal_tables(full_document(), "hc9"))
