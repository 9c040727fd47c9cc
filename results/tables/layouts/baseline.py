"""Table 2: the outcome on the treatment, with more beside it from column to column."""

from __future__ import annotations

from results.tables.columns import fit_columns
from results.tables.journal_table import Heading, JournalTable
from results.tables.places import BASELINE
from results.tables.regressions import regressions
from results.tables.setting import TableSetting
from results.tables.typography import model_label

_IN_TABLE_2 = ("pooled", "random", "did")
_FIT = {
    "did": "R² counts the column's effects as explained; R² within is that of the outcome net of these "
    "effects (in a pooled column, of period effects alone).",
    "random": "R² within, between and overall of random effects are squared correlations of the outcome with x'b, for "
    "deviations from unit means, for unit means, and for all values.",
}


def baseline(setting: TableSetting) -> list[JournalTable]:
    """Table 2: columns 1 to 3 as pooled OLS and as random effects side by side, the fixed effects, then the estimators
    that the user named."""
    found = fit_columns(setting.document, "2")
    further = [column for column in found if column.place not in BASELINE.values()]
    columns = [column for column in found if column.place in BASELINE.values()]
    columns.sort(key=lambda column: _IN_TABLE_2.index(column.model))  # stable: by number within a model
    heads = [Heading("", f"({column.column})", model_label(column.model)) for column in columns]
    heads += [Heading("", f"({column.column})", column.model) for column in further]
    twice = len({column.model for column in columns} & {"pooled", "random"}) == 2
    note = ("Columns 1 to 3 are estimated twice, by pooled least squares and by random effects (Swamy-Arora). "
            "These are "
            "different estimators, and a table should name the one that it prints.")  # fmt: skip
    effects = {place: names for names, place in BASELINE.items()}
    given = [effects[column.place] + "random" * (column.model == "random") for column in columns]
    given += ["-"] * len(further)
    fit = [text for model, text in _FIT.items() if any(column.model == model for column in columns)]
    title = f"Regressions of {setting.about}"
    return [*regressions(setting, "2", title, [*columns, *further], heads, given, note if twice else "", *fit)]


TABLES = ("2",)
LAYOUTS = {2: baseline}
