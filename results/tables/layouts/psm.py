"""How matching balances the covariates of robustness checks on matched samples."""

from __future__ import annotations

from results.tables.columns import fit_columns
from results.tables.journal_table import Heading, JournalTable, Row
from results.tables.places import ROBUSTNESS
from results.tables.setting import TableSetting
from results.tables.typography import digits

_WHEN = {"before": "Before matching", "after": "After matching", "": "Logit of treatment"}


def balance(setting: TableSetting) -> list[JournalTable]:
    """How matching balances the covariates, a table a method."""
    tables = []
    for column in fit_columns(setting.document, ROBUSTNESS, ("psm",)):
        names = list(dict.fromkeys(name for name, _ in column.by_term))
        names.sort(key=lambda name: [*_WHEN].index(_when(name)))  # stable
        terms = dict.fromkeys(term for _, term in column.by_term)
        heads = tuple(
            Heading(name.removesuffix(f"_{_when(name)}").replace("_", " "), "", _WHEN[_when(name)]) for name in names
        )
        values = {term: [column.by_term.get((name, term)) for name in names] for term in terms}
        rows = tuple(Row(setting.label(term), tuple(digits(value, row=found) for value in found))
                     for term, found in values.items())  # fmt: skip
        counts = ", ".join(f"{name.replace('_', ' ')} {value:,.6g}" for name, value in column.statistics.items())
        title = f"Balance of covariates: {column.sample}"
        tables.append(JournalTable("A", title, heads, rows, tuple(filter(None, (f"{counts}." if counts else "",
                                   setting.data))), appendix=True))  # fmt: skip
    return [table for table in tables if table.rows]


def _when(name: str) -> str:
    return next((when for when in _WHEN if when and name.endswith(f"_{when}")), "")


TABLES = (ROBUSTNESS,)
LAYOUTS = {106: balance}
