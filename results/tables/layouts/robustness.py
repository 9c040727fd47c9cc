"""Table R: a column a robustness check."""

from __future__ import annotations

from results.tables.columns import fit_columns
from results.tables.journal_table import Heading, JournalTable
from results.tables.places import ROBUSTNESS
from results.tables.regressions import regressions
from results.tables.setting import TableSetting


def robustness(setting: TableSetting) -> list[JournalTable]:
    """One column a check, and how matching balances the covariates."""
    columns = [column for column in fit_columns(setting.document, ROBUSTNESS) if column.records]
    heads = [Heading(column.sample, f"({column.column})") for column in columns]
    note = "Every column has unit and period effects and the controls, unless its heading says otherwise."
    title = f"Robustness checks, one per column: {setting.about}"
    return [*regressions(setting, ROBUSTNESS, title, columns, heads, [], note)]


TABLES = (ROBUSTNESS,)
LAYOUTS = {20: robustness}
