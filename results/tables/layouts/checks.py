"""Table 3: another sample, another policy."""

from __future__ import annotations

from results.tables.columns import FitColumn, fit_columns
from results.tables.journal_table import Heading, JournalTable, Row
from results.tables.regressions import regressions
from results.tables.setting import TableSetting
from results.tables.typography import digits

_CORRELATIONS = {"correlation": "Correlation with DID", "correlation_within": "  net of the effects"}


def checks(setting: TableSetting) -> list[JournalTable]:
    """Table 3: without capitals, and with another policy."""
    columns = fit_columns(setting.document, "3", ("did",))
    heads = []
    for column in columns:
        others = [term for term in column.terms if term not in (setting.treatment, "constant", *setting.controls)]
        words = column.sample if column.sample != "all" else f"with {', '.join(others)}"
        heads.append(Heading(words, f"({column.column})"))
    together = [Row(label, tuple(_of_any_term(column, name) for column in columns))
                for name, label in _CORRELATIONS.items()]  # fmt: skip
    rows = [row for row in together if any(row.cells)]
    title = f"Other sample, other policy: {setting.about}"
    return [*regressions(setting, "3", title, columns, heads, None, rows=rows)]


def _of_any_term(column: FitColumn, name: str) -> str:
    """A statistic that one term alone has."""
    return next((digits(value) for (found, _), value in column.by_term.items() if found == name), "")


TABLES = ("3",)
LAYOUTS = {3: checks}
