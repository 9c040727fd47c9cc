"""Table 1: mean, spread and range of every variable, overall, between units and within them."""

from __future__ import annotations

import numpy as np

from experiments.panel_spec.spec import RealPanel
from experiments.tables.ledger import Ledger
from results.tables.journal_table import Heading, JournalTable, Row, TableSetting, fit_columns
from results.tables.records import Fit
from results.tables.typography import count, digits
from sim.arrays import Flags, Floats
from sim.index import ROUNDING


def add(real: RealPanel, ledger: Ledger) -> None:
    """Outcome, treatment, controls, mediators and the other policy."""
    panel, roles = real.panel, real.panel.roles
    fit = Fit(("1", 1), "descriptive")
    single = (roles.outcome, *roles.regressors, *roles.mediators, real.spec.panel.other_policy)
    for name in dict.fromkeys(name for name in single if name):
        ledger.values(fit, describe(panel.variables[name][0], panel.observed), term=name)


def describe(x: Floats, observed: Flags | None = None) -> dict[str, float | None]:
    """Descriptive statistics of a variable (T, N), observed (1, T, N) or everywhere (None).

    Between: of the unit means xbar_i, each unit once. Within: of x_it - xbar_i + xbar, xbar the mean of all x_it, so
    that it is on the variable's own scale. Every sd divides by its count less one (Stata: summarize, xtsum), and is 0
    where values differ by no more than the rounding of T sums.
    """
    seen = np.ones(x.shape, dtype=bool) if observed is None else observed[0]
    units = seen.any(axis=0)
    values = np.where(seen, x, 0.0)
    means = values.sum(axis=0)[units] / seen.sum(axis=0)[units]
    overall = x[seen]
    within = (x[:, units] - means + overall.mean())[seen[:, units]]
    rounding = ROUNDING * len(x) * np.abs(overall).max()
    out: dict[str, float | None] = {"mean": float(overall.mean()), "nobs": float(overall.size)}
    for part, found in (("", overall), ("_between", means), ("_within", within)):
        spread = float(found.std(ddof=1)) if np.ptp(found) > rounding else 0.0
        out[f"sd{part}"] = spread if found.size > 1 else None
        out[f"min{part}"], out[f"max{part}"] = float(found.min()), float(found.max())
    return out


# How it is arranged: the records of a document as a table.


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
            first = part == "overall"
            shown = (cells[0] if first else "", *cells[1:], count(values.get(("nobs", term))) if first else "")
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
