"""Small panels with a mediator, and how their estimates are read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from estimators import Estimates
from references.small_panels import small_panel
from sim import Panel

Floats = NDArray[np.float64]
ALL = ("delta", "sobel", "monte-carlo", "bootstrap:unit")
SEED = 2026


def panel_of(n: int = 24, t: int = 6, *, seed: int = 3, replications: int = 1, missing: int = 0) -> Panel:
    """A small panel whose mediator m passes on part of the effect; m is drawn anew in each replication."""
    base = small_panel(n, t, seed=seed, replications=replications, model="none", missing=missing)
    rng = np.random.default_rng(seed + 100)
    did, inv, y = (base.variables[name] for name in ("did", "inv", "y"))
    m = 0.8 * did + 0.3 * inv + rng.standard_normal(y.shape) + 2.0 * rng.standard_normal((1, 1, n))
    return replace(base, roles=replace(base.roles, mediators=("m",))).with_variables({"m": m, "y": y + 0.5 * m})


def term(estimates: Estimates, name: str, error: str | None = None) -> Floats:
    """Estimates of a term, (R,), or its standard errors of one type."""
    column = estimates.terms.index(name)
    if error is None:
        return estimates.estimate[:, column]
    return estimates.se[:, estimates.errors.index(error), column]


def stacked(panel: Panel, counts: NDArray[np.intp] | None = None) -> tuple[Floats, Floats, Floats, Floats]:
    """did and controls, m, y and dummies of the observed rows, units repeated as often as counted under new labels."""
    n, t = len(panel.units), len(panel.periods)
    seen = np.ones((t, n), dtype=bool) if panel.observed is None else panel.observed[0]
    columns = np.repeat(np.arange(n), np.ones(n, dtype=int) if counts is None else counts)
    rows = [(i, copy, at) for copy, i in enumerate(columns) for at in range(t) if seen[at, i]]
    unit, copy, period = np.array(rows).T
    x = np.column_stack([panel.variables[name][0, period, unit] for name in panel.roles.regressors])
    m, y = (panel.variables[name][0, period, unit] for name in ("m", "y"))
    dummies = np.hstack([np.eye(len(columns))[copy], np.eye(t)[period]])
    return x, m, y, dummies


def paths_by_hand(panel: Panel, counts: NDArray[np.intp]) -> tuple[float, float, float]:
    x, m, y, dummies = stacked(panel, counts)
    first = np.linalg.lstsq(np.column_stack([x, dummies]), m)[0]
    second = np.linalg.lstsq(np.column_stack([x, m, dummies]), y)[0]
    return first[0], second[x.shape[1]], second[0]


# separate regressions
