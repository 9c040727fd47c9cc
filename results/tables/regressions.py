"""A table of regressions: coefficients, effects and controls, sizes, fit."""

from __future__ import annotations

from collections.abc import Sequence

from results.tables.columns import FitColumn, coefficient_rows, fit_rows, in_order, size_rows
from results.tables.journal_table import Heading, JournalTable, Row
from results.tables.setting import TableSetting


def regressions(
    setting: TableSetting, name: str, title: str, columns: Sequence[FitColumn], heads: Sequence[Heading],
    effects: Sequence[str] | None, *notes: str, rows: Sequence[Row] = (), tests: Sequence[FitColumn] = (),
) -> tuple[JournalTable, ...]:  # fmt: skip
    """A table of fits, if any: coefficients, effects and controls, sizes, fit, then `rows`, which `tests` gave.

    effects: what is in each column (as in places.BASELINE); None: everything in all; empty: rows left out.
    """
    if not columns:
        return ()
    terms = in_order((term for column in columns for term in column.terms if column.model != "interaction"),
                     setting.document)  # fmt: skip
    body: list[Row] = []
    for term in terms:
        body += coefficient_rows(setting.full_label(term), [setting.shown(column, term) for column in columns])
    everything = ["controls, units, periods" if column.records else "-" for column in columns]
    body += _effects(setting, everything if effects is None else effects)
    body += size_rows(columns, setting.units, setting.periods)
    body += fit_rows(columns) + setting.error_row(columns) + list(rows)
    return (JournalTable(name, title, tuple(heads), tuple(body), setting.notes([*columns, *tests], *notes)),)


def _effects(setting: TableSetting, given: Sequence[str]) -> list[Row]:
    words = (("controls", "Controls"), ("units", "Unit effects"), ("periods", "Period effects"))
    rows = []
    for part, label in words[0 if setting.controls else 1 :] if given else ():
        rows.append(Row(label, tuple(_given(part, names) for names in given)))
    return [Row(row.label, row.cells, rule=number == 0) for number, row in enumerate(rows)]


def _given(part: str, names: str) -> str:
    if names == "-":
        return ""
    return "yes" if part in names else "random" if part == "units" and "random" in names else "no"
