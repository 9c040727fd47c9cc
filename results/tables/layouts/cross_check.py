"""How far other programs' numbers are from ours."""

from __future__ import annotations

from itertools import groupby

from results.tables.journal_table import Heading, JournalTable, Row, TableSetting
from results.tables.records import CROSS_CHECK


def agreement(setting: TableSetting) -> list[JournalTable]:
    """How far other programs' numbers are from ours, where they were asked."""
    heads = tuple(Heading(label) for label in ("numbers", "largest difference"))
    asked = setting.document.cross_check
    rows = [row for table, found in groupby((item for item in asked if item.compared), lambda item: item.table)
            for row in (Row(f"Table {table}", kind="head"),
                        *(Row(f"{item.program}: {item.what}", (f"{item.compared:,}", f"{item.largest:.1e}"))
                          for item in found))]  # fmt: skip
    silent = tuple(f"Table {item.table}, {item.program}: {item.what}." for item in asked if not item.compared)
    notes = (
        "Largest relative difference between this program's numbers and the other's, on this panel.",
        "The other programs do not recompute Lee and Yu's likelihood, SLX, SDEM, SAC, direct, indirect, total and "
        "mediated effects, other errors than those named, tests of equal effects, permutations, bootstraps, matching "
        "and tables S.",
        *silent,
    )
    return [JournalTable("", "Agreement with other programs", heads, tuple(rows), notes)] if asked else []


TABLES = (CROSS_CHECK,)
LAYOUTS = {30: agreement}
