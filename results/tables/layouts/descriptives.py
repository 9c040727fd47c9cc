"""Table 1: mean, spread and range of every variable, overall, between units and within them."""

from __future__ import annotations

from results.tables.journal_table import Heading, JournalTable, Row, TableSetting, fit_columns
from results.tables.typography import digits

_PARTS = (("overall", ""), ("between", "_between"), ("within", "_within"))  # as xtsum


def descriptives(setting: TableSetting) -> list[JournalTable]:
    """Table 1: three rows a variable, overall, between and within units."""
    columns = fit_columns(setting.document, "1", ("descriptive",))
    values = {key: value for column in columns for key, value in column.by_term.items()}
    rows = []
    for term in dict.fromkeys(term for _, term in values):
        every = [value for (name, of), value in values.items() if of == term and name != "nobs"]
        for part, ending in _PARTS:
            cells = [digits(values.get((f"{name}{ending if name != 'mean' else ''}", term)), row=every)
                     for name in ("mean", "sd", "min", "max")]  # fmt: skip
            count = values.get(("nobs", term))
            first = part == "overall"
            shown = (cells[0] if first else "", *cells[1:], f"{count:,.0f}" if first and count is not None else "")
            if any(shown):
                rows.append(Row(setting.label(term) if first else f"  {part}", shown))
    heads = tuple(Heading(label) for label in ("Mean", "SD", "Min", "Max", "N"))
    notes = (
        "Between: of the units' means. Within: of the deviations from the units' means, plus the grand mean.",
        setting.data,
    )
    return [JournalTable("1", "Descriptive statistics", heads, tuple(rows), notes)] if rows else []


TABLES = ("1",)
LAYOUTS = {1: descriptives}
