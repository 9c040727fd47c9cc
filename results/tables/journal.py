"""A document as the tables of a paper: every layout that there is, in the order of the paper."""

from __future__ import annotations

import pkgutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from string import ascii_lowercase

from results.tables import layouts
from results.tables.journal_table import JournalTable
from results.tables.places import CROSS_CHECK
from results.tables.records import Document
from results.tables.setting import TableSetting, error_types
from sim.errors import bad, one_of

Layout = Callable[[TableSetting], list[JournalTable]]


def _found() -> tuple[Layout, ...]:
    """All layouts of all modules of `layouts`, by the places that their LAYOUTS give them."""
    modules = (import_module(f"{layouts.__name__}.{module.name}") for module in pkgutil.iter_modules(layouts.__path__))
    placed: list[tuple[int, Layout]] = [pair for module in modules for pair in module.LAYOUTS.items()]
    return tuple(layout for _, layout in sorted(placed, key=lambda pair: pair[0]))


LAYOUTS = _found()


def _tables_of(layout: Layout) -> set[str]:
    """The numbers of the tables that a layout reads, as its module's TABLES says."""
    return set(import_module(layout.__module__).TABLES)


def journal_tables(document: Document, errors: str | None = None) -> tuple[JournalTable, ...]:
    """All tables of a document, those of the appendix last and numbered A1, A2, ...; of one number 7a, 7b, ...

    errors: the error type to show where a fit has it (default: clustered);
    raises BadInput when no fit has it.
    """
    known = error_types(document)
    if errors is not None and errors not in known:
        raise bad(f"error type {errors!r}", where="--errors", allowed=one_of(known),
                  remedy="choose one that the tables have, or add it to errors in [inference]")  # fmt: skip
    setting = TableSetting(document, errors)
    present = {item.table for item in (*document.records, *document.statistics)}
    present |= {CROSS_CHECK} if document.cross_check else set()
    tables = [table for layout in LAYOUTS if present & _tables_of(layout) for table in layout(setting)]
    behind = [table for table in tables if table.appendix]
    return (
        *_lettered([table for table in tables if not table.appendix]),
        *(replace(table, name=f"A{number}") for number, table in enumerate(behind, start=1)),
    )


def _lettered(tables: Sequence[JournalTable]) -> Iterator[JournalTable]:
    """Tables that share a number told apart by a letter."""
    shared, seen = Counter(table.name for table in tables), Counter[str]()
    for table in tables:
        letter = ascii_lowercase[seen[table.name] % 26] if shared[table.name] > 1 else ""
        seen[table.name] += 1
        yield replace(table, name=f"{table.name}{letter}")
