"""Records of a ledger by their fields."""

from __future__ import annotations

from experiments.tables.ledger import Ledger
from results.tables.records import Record


def records(ledger: Ledger, **fields: object) -> list[Record]:
    return [record for record in ledger.records if all(getattr(record, key) == value for key, value in fields.items())]


def one(ledger: Ledger, **fields: object) -> Record:
    (found,) = records(ledger, **fields)
    return found
