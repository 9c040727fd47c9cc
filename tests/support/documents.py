"""A document with records for every table, several W, transforms and error types, as `estimate` makes them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from known_tables import CONTROLS, LINEAR, known_document
from known_tables import FACTS as KNOWN

from experiments.tables.ledger import journal_tables
from results.tables.journal_table import JournalTable
from results.tables.records import Document, Figure, Fit, Record

FACTS: Mapping[str, Any] = {
    "digest": "5f3c", "units": 285, "periods": 18, "first_period": 2006, "last_period": 2023, "nobs": 5130,
    "balanced": True, "outcome": "icr", "treatment": "did", "treatment_column": "eip", "unit": "city", "period": "year",
    "controls": list(CONTROLS), "weights": KNOWN["weights"],
}  # fmt: skip
POINT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="  # of a png
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle cx="5" cy="5" r="4"/></svg>'


def record(fit: Fit, term: str, estimate: float, se: float | None, kind: str, **other: Any) -> Record:
    """A record with the normal distribution's statistic and interval; `other` replaces fields."""
    t = None if se is None or term == "sigma2" else estimate / se
    p = None if t is None else 0.001 if abs(t) > 2.58 else 0.04 if abs(t) > 1.96 else 0.08 if abs(t) > 1.645 else 0.4
    fields: dict[str, Any] = {
        "term": term, "estimate": estimate, "se": se, "se_type": kind, "statistic": t,
        "pvalue": p, "lower": None if se is None else estimate - 1.96 * se,
        "upper": None if se is None else estimate + 1.96 * se, "nobs": 5130, "units": 285, "periods": 18,
        "effects_method": "delta" if ":" in term else None,
    }  # fmt: skip
    return Record(**{**fit.identity, **fields, **other})


def records(fit: Fit, estimates: Mapping[str, float], kinds: Iterable[str] = LINEAR, **other: Any) -> list[Record]:
    """All terms under all error types; standard errors are .002 in the first type, .001 more in each other."""
    return [record(fit, term, value, 0.002 + 0.001 * number, kind, **other)
            for number, kind in enumerate(kinds) for term, value in estimates.items()]  # fmt: skip


def statistics(fit: Fit, term: str | None = None, **values: float | None) -> list[Record]:
    return [Record(**fit.identity, term=term, name=name, estimate=value) for name, value in values.items()]


def _drawn(form: str) -> bytes:
    """The picture, or one point of it as a png."""
    return SVG.encode() if form == "svg" else base64.b64decode(POINT)


def full_document(facts: Mapping[str, Any] = FACTS) -> Document:
    """Every table, with a note and a figure."""
    figures = (Figure("figure-2", "Moran scatter plot", "Standardised icr against its lag.", _drawn),)
    notes = ("A note & a <b>caution</b> for the reader: 50% of a_b.",)
    return replace(known_document(facts, notes), figures=figures, cross_check=())


def only(name: str, errors: str | None = None, document: Document | None = None) -> JournalTable:
    """The first table of a number, which a letter follows where several share it."""
    tables = journal_tables(document or full_document(), errors)
    return next(table for table in tables if number_of(table) == name)


def number_of(table: JournalTable) -> str:
    """A table's name without the letter that tells it from others of its number."""
    return table.name.rstrip("abcdefghijklmnopqrstuvwxyz")


def cells(table: JournalTable, label: str, below: int = 0) -> tuple[str, ...]:
    """Cells of the row of a label, or of a row below it."""
    return table.rows[[row.label for row in table.rows].index(label) + below].cells
