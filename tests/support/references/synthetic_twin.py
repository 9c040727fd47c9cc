"""Synthetic DID and its relatives from their definitions, one panel and one sample at a time, weights by scipy.

Written apart from `estimators.synthetic`: outcomes stand as units by periods, controls first, intercepts are columns of
the regressions, and the simplex is Haskell and Hanson's heavy row (1981, Mathematical Programming 21:98) for
`scipy.optimize.nnls`, or SLSQP.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]
HEAVY = 1e5  # of the row of the constraint, relative to the data


def simplex_by_nnls(a: Floats, b: Floats, penalty: float, *, intercept: bool) -> Floats:
    """argmin over the simplex of |a w + c - b|^2 + penalty |w|^2, c free with an intercept; a (m, n), b (m,)."""
    if intercept:
        a, b = a - a.mean(axis=0), b - b.mean()
    scale = np.sqrt(np.square(a - b[:, None]).sum(axis=0).mean()) or 1.0
    n = a.shape[1]
    rows = np.vstack([(a - b[:, None]) / scale, np.sqrt(penalty) / scale * np.eye(n), HEAVY * np.ones((1, n))])
    target = np.zeros(len(rows))
    target[-1] = HEAVY
    w, _ = nnls(rows, target, maxiter=100 * n)
    return np.asarray(w / w.sum())


@dataclass(frozen=True)
class Kind:
    """Which weights are fitted: of units with or without an intercept, of periods; the penalty of synthetic DID."""

    unit_intercept: bool | None  # None: equal weights
    periods: bool | None  # None: equal weights; False: none
    penalised: bool = False


KINDS = {
    "equally-weighted-did": Kind(None, None),
    "synthetic-control": Kind(False, False),
    "synthetic-did": Kind(True, True, penalised=True),
    "demeaned-synthetic-control": Kind(True, None),
    "synthetic-control-reg": Kind(False, False, penalised=True),
    "demeaned-synthetic-control-reg": Kind(True, None, penalised=True),
}


def sigma(y: Floats, controls: int, before: int) -> float:
    """Standard deviation of first differences of the first rows (N, T) before adoption."""
    return float(np.diff(y[:controls, :before], axis=1).std())


def one_date(y: Floats, controls: int, before: int, kind: Kind, zetas: tuple[float, float] | None = None) -> float:
    """The estimate of units by periods (N, T), controls first."""
    estimate, _, _ = one_date_weights(y, controls, before, kind, zetas)
    return estimate


def zetas_of(y: Floats, controls: int, before: int, kind: Kind) -> tuple[float, float]:
    """zeta of units and of periods."""
    level, cells = sigma(y, controls, before), (len(y) - controls) * (y.shape[1] - before)
    return (cells**0.25 * level if kind.penalised else 1e-6 * level), 1e-6 * level


def one_date_weights(
    y: Floats, controls: int, before: int, kind: Kind, zetas: tuple[float, float] | None = None
) -> tuple[float, Floats, Floats]:
    """The estimate, weights of controls and of periods before adoption."""
    zeta, zeta_periods = zetas or zetas_of(y, controls, before, kind)
    co, tr = y[:controls], y[controls:].mean(axis=0)
    omega = np.full(controls, 1 / controls)
    if kind.unit_intercept is not None:
        omega = simplex_by_nnls(co[:, :before].T, tr[:before], zeta**2 * before, intercept=kind.unit_intercept)
    lam = np.full(before, 1 / before) if kind.periods is None else np.zeros(before)
    if kind.periods:
        lam = simplex_by_nnls(co[:, :before], co[:, before:].mean(axis=1), zeta_periods**2 * controls, intercept=True)
    gap = tr - omega @ co
    return float(gap[before:].mean() - lam @ gap[:before]), omega, lam


def staggered(y: Floats, first: NDArray[np.intp], kind: Kind, zetas: dict[int, tuple[float, float]] | None = None
              ) -> float:  # fmt: skip
    """Estimates of dates averaged by treated cells; units by periods (N, T), first treated periods (N,), T = never."""
    periods, total, cells = y.shape[1], 0.0, 0
    for date in sorted({int(each) for each in first if 0 < each < periods}):
        rows = np.concatenate([np.flatnonzero(first == periods), np.flatnonzero(first == date)])
        controls, own = int((first == periods).sum()), int((first == date).sum()) * (periods - date)
        total += own * one_date(y[rows], controls, date, kind, zetas and zetas[date])
        cells += own
    return total / cells


def zetas_by_date(y: Floats, first: NDArray[np.intp], kind: Kind) -> dict[int, tuple[float, float]]:
    """Those of each date of a whole sample."""
    found = {}
    for date in {int(each) for each in first if 0 < each < y.shape[1]}:
        rows = np.concatenate([np.flatnonzero(first == y.shape[1]), np.flatnonzero(first == date)])
        found[date] = zetas_of(y[rows], int((first == y.shape[1]).sum()), date, kind)
    return found


def jackknife_error(y: Floats, first: NDArray[np.intp], kind: Kind) -> float:
    """sqrt((n - 1)/n sum (tau_i - mean)^2) of estimates without each unit, weights fitted anew, zetas of the whole."""
    zetas, n = zetas_by_date(y, first, kind), len(y)
    taus = np.array([staggered(np.delete(y, i, axis=0), np.delete(first, i), kind, zetas) for i in range(n)])
    return float(np.sqrt((n - 1) / n * np.square(taus - taus.mean()).sum()))


def renormalised_error(y: Floats, controls: int, before: int, kind: Kind) -> float:
    """The same for one date with the weights of the whole, those of the units that are left divided by their sum."""
    _, omega, lam = one_date_weights(y, controls, before, kind)
    weights, taus = np.concatenate([-omega, np.full(len(y) - controls, 1 / (len(y) - controls))]), []
    for i in range(len(y)):
        left = np.delete(np.arange(len(y)), i)
        own = weights[left].copy()
        mine = left < controls
        own[mine] /= -own[mine].sum()
        own[~mine] /= own[~mine].sum()
        gap = own @ y[left]
        taus.append(gap[before:].mean() - lam @ gap[:before])
    n = len(y)
    return float(np.sqrt((n - 1) / n * np.square(np.array(taus) - np.mean(taus)).sum()))
