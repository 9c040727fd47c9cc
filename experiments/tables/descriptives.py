"""Table 1: mean, spread and range of every variable, overall, between units and within them."""

from __future__ import annotations

import numpy as np

from experiments.panel_spec.spec import RealPanel
from experiments.tables.ledger import Ledger
from results.tables.records import DESCRIPTIVE, Fit
from sim.arrays import Flags, Floats


def add(real: RealPanel, ledger: Ledger) -> None:
    """Outcome, treatment, controls, mediators and the other policy."""
    panel, roles = real.panel, real.panel.roles
    fit = Fit(DESCRIPTIVE, "descriptive")
    single = (roles.outcome, *roles.regressors, *roles.mediators, real.spec.panel.other_policy)
    for name in dict.fromkeys(name for name in single if name):
        ledger.values(fit, describe(panel.variables[name][0], panel.observed), term=name)


def describe(x: Floats, observed: Flags | None = None) -> dict[str, float | None]:
    """Descriptive statistics of a variable (T, N), observed (1, T, N) or everywhere (None).

    Between: of the unit means xbar_i, each unit once. Within: of x_it - xbar_i + xbar, xbar the mean of all x_it, so
    that it is on the variable's own scale. Every sd divides by its count less one (Stata: summarize, xtsum).
    """
    seen = np.ones(x.shape, dtype=bool) if observed is None else observed[0]
    units = seen.any(axis=0)
    values = np.where(seen, x, 0.0)
    means = values.sum(axis=0)[units] / seen.sum(axis=0)[units]
    overall = x[seen]
    within = (x[:, units] - means + overall.mean())[seen[:, units]]
    out: dict[str, float | None] = {"mean": float(overall.mean()), "nobs": float(overall.size)}
    for part, found in (("", overall), ("_between", means), ("_within", within)):
        out[f"sd{part}"] = float(found.std(ddof=1)) if found.size > 1 else None
        out[f"min{part}"], out[f"max{part}"] = float(found.min()), float(found.max())
    return out
