"""Records and statistics of a ledger, or of a document, by their fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.panel_spec.spec import RealPanel
from experiments.tables.ledger import Ledger
from results.tables.records import Document, Record


def filled(add: Callable[[RealPanel, Ledger], object], real: RealPanel, seed: int = 1) -> Ledger:
    """A ledger that holds what one function of a table adds to it."""
    ledger = Ledger(seed)
    add(real, ledger)
    return ledger


def _has(record: Record, fields: dict[str, object]) -> bool:
    return all(getattr(record, key) == value for key, value in fields.items())


def records(of: Ledger | Document, **fields: object) -> list[Record]:
    return [record for record in of.records if _has(record, fields)]


def one(of: Ledger | Document, **fields: object) -> Record:
    (found,) = records(of, **fields)
    return found


def by_term(of: Ledger | Document, **fields: object) -> dict[Any, Record]:
    return {record.term: record for record in records(of, **fields)}


def facts(of: Ledger | Document, **fields: object) -> dict[str, Any]:
    """Values of statistics by name: those of whole columns unless a term is among the fields."""
    return {item.name: item.value for item in of.statistics if _has(item, {"term": None} | fields)}


def fact(of: Ledger | Document, **fields: object) -> Any:
    """The value of the one statistic with these fields."""
    (found,) = (item.value for item in of.statistics if _has(item, {"term": None} | fields))
    return found
