"""How many digits a table shows, of an estimate as of its error; what "none" means in the table of weights."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import docx
import numpy as np
import pytest
from documents import FACTS, cells, full_document, record, statistics
from rich.console import Console

from estimators.staggered.dcdh import coefficient_weights
from experiments.tables.adoption_checks import _add_weights
from experiments.tables.ledger import Ledger, journal_tables
from results.tables.html_tables import html_tables
from results.tables.journal_table import JournalTable, coefficient_rows
from results.tables.latex import latex_tables
from results.tables.records import Document, Fit, Record
from results.tables.terminal_tables import print_estimates
from results.tables.typography import digits, split_stars
from results.tables.word import word_tables
from sim import Panel, Roles

FIT = Fit(("2", 5), "did")
LARGE = (1.2345678e12, 3.6878866e11)  # an estimate and its error
NONE_ALIKE, NONE_NEGATIVE = "(none: all weights are equal", "(none: no weight is negative)"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0157, "0.0157"), (0.0, "0.0000"), (0.00067, "0.00067"), (0.000999, "0.0010"), (-0.00001, "-0.000010"),
     (1.23e-7, "1.230e-7"), (31.5, "31.5000"), (123456.78, "123,456.8"), (9876543.21, "9,876,543.2"),
     (-1.23456e7, "-1.235e7"), (839339345772.5, "8.393e11"), (None, "")],
)  # fmt: skip
def test_digits(value: float | None, text: str) -> None:
    assert digits(value) == text


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
    value, below = coefficient_rows("x", [record(FIT, "x", estimate, error, "iid", pvalue=0.5)])
    assert (*value.cells, below.cells[0].strip("()")) == written


@pytest.mark.parametrize("power", [*range(-30, -6), *range(7, 30)])
def test_t_can_be_computed_from_what_is_printed(power: int) -> None:
    estimate, error = 7.3456 * 10.0**power, 2.2222 * 10.0**power
    value, below = coefficient_rows("x", [record(FIT, "x", estimate, error, "iid")])
    shown = float(split_stars(value.cells[0])[0]), float(below.cells[0].strip("()"))
    assert shown[0] / shown[1] == pytest.approx(estimate / error, rel=5e-4)
    assert {text.count("e") for text in (*value.cells, *below.cells)} == {1}


def test_a_row_is_written_alike_as_far_as_its_numbers_are_of_a_size() -> None:
    found = [record(FIT, "x", *pair, "iid", pvalue=0.5) for pair in ((1.2e12, 3e11), (8.1e6, 2e6), (0.5, 0.25))]
    value, below = coefficient_rows("x", found)
    assert value.cells == ("1.200e12", "8.100e6", "0.5000")
    assert below.cells == ("(3.000e11)", "(2.000e6)", "(0.2500)")
    usual = [record(FIT, "x", *pair, "iid", pvalue=0.5) for pair in ((0.00033, 0.00096), (-0.0406, 0.0386))]
    assert coefficient_rows("x", usual)[0].cells == ("0.00033", "-0.0406")


def test_an_interval_and_a_variable_are_written_alike() -> None:
    wild = record(FIT, "x", 2e7, None, "wild:unit", pvalue=0.5, lower=-5e5, upper=4e7)
    assert coefficient_rows("x", [wild])[1].cells == ("[-5.000e5, 4.000e7]",)
    values = {"mean": 1.04e13, "sd": 1.4e12, "min": 0.0, "max": 3e13, "nobs": 400.0, "sd_within": 839339345772.5}
    (table,) = journal_tables(document([], statistics(Fit(("1", 0), "descriptive"), "icr", **values)))
    assert [row.cells for row in table.rows] == [
        ("1.040e13", "1.400e12", "0.0000", "3.000e13", "400"), ("", "8.393e11", "", "", ""),
    ]  # fmt: skip


def test_every_format_writes_large_numbers_alike() -> None:
    shown = document([record(FIT, "did", *LARGE, "iid")])
    tables = journal_tables(shown)
    out = io.StringIO()
    console = Console(file=out, width=100, color_system=None, highlight=False)
    print_estimates(shown, tables, console, shown=("all",))
    word = docx.Document(io.BytesIO(word_tables(shown, tables))).tables[0]
    written = (out.getvalue(), html_tables(shown, tables), latex_tables(shown, tables),
               " ".join(cell.text for row in word.rows for cell in row.cells))  # fmt: skip
    for text in written:
        assert re.search(r"\b1\.235e12", text)
        assert re.search(r"\(3\.688e11", text)
        assert "368,788" not in text


def test_behind_the_tables_numbers_are_written_alike_too() -> None:
    found = [replace(record(FIT, "did", LARGE[0], error, kind), lower=9e11, upper=1.5e12)
             for error, kind in ((LARGE[1], "iid"), (9.1e6, "hc1"))]  # fmt: skip
    appendix = next(table for table in journal_tables(document(found)) if table.appendix)
    assert appendix.rows[0].label.endswith("eip 1.235e12")
    assert [(row.cells[0], *row.cells[3:]) for row in appendix.rows[1:]] == [
        ("3.688e11", "9.000e11", "1.500e12"), ("9.100e6", "9.000e11", "1.500e12"),
    ]  # fmt: skip


def test_tables_of_the_usual_numbers_have_no_exponents() -> None:
    texts = [cell for table in journal_tables(full_document()) for row in table.rows for cell in row.cells]
    assert not [text for text in texts if re.search(r"\de-?\d", text)]


def test_none_is_explained_for_either_row_of_the_weights() -> None:
    table = weights_table(sensitivity=None, reversal=None)
    assert cells(table, "SD of effects, mean may be 0") == cells(table, "SD of effects, all reversed") == ("none",)
    mean, others = table.notes[0].split("mean could be zero ")[1].split("all effects could have the other sign ")
    assert mean.startswith(NONE_ALIKE)
    assert others.startswith(NONE_NEGATIVE)


def test_weights_in_large_units_are_written_alike() -> None:
    table = weights_table(coefficient=1.2e7, sensitivity=9e6, reversal=2.5e8, negative_share=0.05)
    assert [cells(table, label)[0] for label in ("Two-way coefficient", "SD of effects, mean may be 0",
            "SD of effects, all reversed", "Share with a negative weight")] == [
        "1.200e7", "9.000e6", "2.500e8", "0.0500"]  # fmt: skip


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


def document(found: list[Record], said: list[Record] | None = None) -> Document:
    return Document(FACTS, tuple(found), tuple(said or ()))


def weights_table(**values: float | None) -> JournalTable:
    given = {"coefficient": 0.9, "cells": 4.0, "negative_share": 0.0, "negative_sum": 0.0, "sensitivity": 0.3,
             "reversal": 0.4, **values}  # fmt: skip
    said = statistics(Fit(("S2", 2), "dcdh-weights"), None, **given)
    return next(table for table in journal_tables(document([], said)) if table.title.startswith("Weights"))
