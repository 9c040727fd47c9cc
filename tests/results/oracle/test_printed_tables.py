"""Every table in every format: printed from distinct known numbers, read back, every cell held to what it must be."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import pkgutil
from functools import cache
from typing import get_type_hints

import pytest
from rich.console import Console
from table_oracle.book import Book, document_of, plain_records
from table_oracle.cases import ASKED, CASES, facts_of, sheets_of, whole_book
from table_oracle.parsers import from_html, from_latex, from_terminal, from_word
from table_oracle.sheets import CONTINUED, Printed, Sheet, check
from table_oracle.wording import Asked, stars

import experiments.tables
from experiments.tables.ledger import journal_tables, layouts
from results.tables.html_tables import html_tables
from results.tables.journal_table import JournalTable
from results.tables.latex import latex_tables
from results.tables.terminal_tables import print_estimates
from results.tables.word import word_tables

FORMATS = ("terminal", "narrow terminal", "html", "latex", "word")
WIDTHS = {"terminal": 2000, "narrow terminal": 100}
PLAIN = ("terminal", "html")  # in every way of asking; the other formats in those that change columns and notes most
PRINTED = [pytest.param(asked, kind, id=f"{asked.name}-{kind}") for asked in ASKED for kind in FORMATS
           if kind in PLAIN or asked.name in ("usual", "wild", "unbalanced")]  # fmt: skip
LABEL_ROOM = 30  # letters of a row's label in a terminal
NOTES = ("The first note of the document: 5% of a_b.", "The second note.")


@cache
def book() -> Book:
    return whole_book()


@cache
def printed(kind: str, asked: Asked) -> tuple[Printed, ...]:
    document = document_of(book(), facts_of(asked), NOTES)
    if kind in WIDTHS:
        raw = io.BytesIO()
        file = io.TextIOWrapper(raw, encoding="utf-8")
        console = Console(file=file, width=WIDTHS[kind], color_system=None, highlight=False)
        print_estimates(document, journal_tables(document, asked.error), console)
        file.flush()
        text = raw.getvalue().decode()
        assert all(note in text for note in NOTES)
        return tuple(from_terminal(text))
    tables = journal_tables(document, asked.error)
    if kind == "html":
        return tuple(from_html(html_tables(document, tables)))
    if kind == "latex":
        return tuple(from_latex(latex_tables(document, tables)))
    return tuple(from_word(word_tables(document, tables)))


@cache
def expected(asked: Asked) -> dict[str, list[Sheet]]:
    return sheets_of(book(), asked)


@pytest.mark.parametrize(("asked", "kind"), PRINTED)
@pytest.mark.parametrize("layout", CASES)
def test_every_cell_of_a_table(layout: str, asked: Asked, kind: str) -> None:
    for sheet in expected(asked)[layout]:
        if sheet.appendix and kind in WIDTHS:
            continue
        parts = [part for part in printed(kind, asked) if part.caption.removesuffix(CONTINUED) == sheet.caption]
        assert parts, f"{sheet.caption} is not printed"
        assert [part.caption.endswith(CONTINUED) for part in parts] == [False, *[True] * (len(parts) - 1)]
        check(sheet, parts, LABEL_ROOM if kind in WIDTHS else None)


@pytest.mark.parametrize(("asked", "kind"), PRINTED)
def test_tables_stand_in_order_and_there_are_no_others(asked: Asked, kind: str) -> None:
    sheets = [sheet for found in expected(asked).values() for sheet in found]
    wanted = [sheet.caption for sheet in sheets if not sheet.appendix]
    wanted += [] if kind in WIDTHS else [sheet.caption for sheet in sheets if sheet.appendix]
    assert list(dict.fromkeys(part.caption.removesuffix(CONTINUED) for part in printed(kind, asked))) == wanted


def layouts_of_the_package() -> dict[str, object]:
    """Public functions of results.tables that make tables of a document."""
    found = {}
    for module in pkgutil.walk_packages(experiments.tables.__path__, "experiments.tables."):
        for name, function in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction):
            if function.__module__ != module.name or name.startswith("_"):
                continue
            if name != "regressions" and get_type_hints(function).get("return") == list[JournalTable]:
                found[name] = function
    return found


def test_every_table_of_the_package_has_a_case() -> None:
    names = [layout.__name__ for layout in layouts()]
    assert names == list(CASES), "give the new table a case in tests/support/table_oracle/cases.py"
    assert layouts_of_the_package() == {layout.__name__: layout for layout in layouts()}


def test_every_case_prints_of_its_own_numbers_alone() -> None:
    """Whatever other tables there are."""
    for layout in layouts():
        assert expected(ASKED[0])[layout.__name__], layout.__name__
    empty = document_of(Book(), facts_of(ASKED[0]))
    assert journal_tables(empty) == ()


def test_json_holds_every_number_under_its_name() -> None:
    document = json.loads(document_of(book(), facts_of(ASKED[0]), NOTES).to_json())
    assert document["records"] == plain_records(book())
    assert [(item["name"], item["term"], item["value"]) for item in document["statistics"]] == [
        (item.name, item.term, item.value) for item in book().said
    ]
    assert document["notes"] == list(NOTES)
    assert [(item["table"], item["compared"], item["largest"]) for item in document["cross_check"]] == [
        (item.table, item.count, item.largest) for item in book().compared
    ]


def test_known_numbers_tell_records_apart() -> None:
    """Else an exchange of two numbers would not be seen."""
    errors = [item.se for item in book().known if item.se is not None]
    estimates = {(item.where, item.term): abs(item.estimate) for item in book().known}
    values = [abs(item.value) for item in book().said if item.value is not None and item.name not in REPEATED]
    assert len(set(errors)) == len(errors)
    assert len(set(estimates.values())) == len(estimates)
    assert len(set(values)) == len(values) - sum(name in ("original_lower", "original_upper") for name in
                                                 (item.name for item in book().said)) // 2  # fmt: skip
    marks = {}
    for item in book().known:
        marks.setdefault((item.where, item.term), []).append(stars(item.p))
    assert all(len(set(found)) > 1 for (where, _), found in marks.items() if where.table not in ("6", "R"))


REPEATED = frozenset(
    {"clusters:unit", "floored:hc1", "quadrant", "fdr_p", "scale", "wald_p", "lr_sem_p", "before", "after"}
)
