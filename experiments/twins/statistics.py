"""What a panel and its twins are compared by, for R panels at once: arrays are (R, T, N), results (R,) unless said.

A leading 1 of a regressor says that it is the same in every panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimators.core.within import balanced_split
from sim.weights import Weights

Floats = NDArray[np.float64]
FARTHEST, POINTS = 0.95, 39  # of the grid of spatial coefficients, in units of the inverse spectral radius
TINY = 1e-12  # of a sum of squares, relative to another, below which nothing is left of a variable


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """Two-way regressions: coefficients (R, K), residuals (R, T, N), unit (R, N) and period (R, T) effects."""

    slopes: Floats
    residuals: Floats
    units: Floats
    periods: Floats


def within(x: Floats) -> Floats:
    """Without unit and period means."""
    return balanced_split(x)[0]


def split(y: Floats, regressors: Sequence[Floats] = (), removed: int | None = None) -> Split:
    """y (R, T, N) on regressors, each (1 or R, T, N), with unit and period effects.

    A regressor of which nothing is left within units and periods has the slope 0. removed: how many of the regressors,
    the first ones, the effects are free of; None = all.
    """
    inner, left, slopes = within(y), y, np.zeros((len(y), 0))
    if regressors:
        moved = [within(x) for x in regressors]
        slopes = _slopes(inner, moved)
        inner = inner - _fitted(slopes, moved)
    if out := regressors[:removed]:
        left = y - _fitted(slopes, out)
    units, periods = left.mean(axis=1), left.mean(axis=2)
    grand = units.mean(axis=1, keepdims=True)
    return Split(slopes, inner, units - grand, periods - grand)


def _fitted(slopes: Floats, regressors: Sequence[Floats]) -> Floats:
    total = slopes[:, 0, None, None] * regressors[0]
    for k, x in enumerate(regressors[1:], 1):
        total = total + slopes[:, k, None, None] * x
    return total


def _slopes(y: Floats, regressors: Sequence[Floats]) -> Floats:
    """Least squares of demeaned variables, (R, K); what is absorbed gets 0."""
    rows = max(len(x) for x in regressors)
    products = [[np.broadcast_to(_inner(a, b), (rows,)) for b in regressors] for a in regressors]
    gram = np.stack([np.stack(row, -1) for row in products], -2)
    moments = np.stack([_inner(x, y) for x in regressors], -1)
    scale = np.sqrt(np.maximum(np.einsum("rkk->rk", gram), 0.0))
    scale[scale == 0] = 1.0
    inverse = np.linalg.pinv(gram / (scale[:, :, None] * scale[:, None, :]), rcond=1e-10, hermitian=True)
    return np.asarray((inverse @ (moments / scale)[..., None])[..., 0] / scale)


def _inner(a: Floats, b: Floats) -> Floats:
    return np.einsum("rtn,rtn->r", *np.broadcast_arrays(a, b), optimize=True)


def autoregression(e: Floats, order: int) -> Floats:
    """Pooled least squares of e_t on e_{t-1}, ..., e_{t-order} without a constant, (R, order)."""
    periods = e.shape[1]
    lags = [e[:, order - k : periods - k] for k in range(1, order + 1)]
    gram = np.stack([np.stack([_inner(a, b) for b in lags], -1) for a in lags], -2)
    moments = np.stack([_inner(e[:, order:], lag) for lag in lags], -1)
    singular = np.einsum("rkk->rk", gram).min(axis=1) <= 0
    gram[singular] = np.eye(order)
    return np.asarray(np.linalg.solve(gram, moments[..., None])[..., 0])


def moran_by_period(e: Floats, weights: Weights) -> Floats:
    """Moran's I of each period, (R, T): N / S0 times z'Wz / z'z of deviations from the period's mean."""
    z = e - e.mean(axis=2, keepdims=True)
    scale = e.shape[2] / weights.matrix.sum()
    return ratio(scale * np.einsum("rtn,rtn->rt", z, weights.lag(z)), np.square(z).sum(axis=2))


def moran_of_thirds(parts: Split, weights: Weights) -> Floats:
    """Bivariate Moran's I of units' means over the first and the last third of the periods, (R,).

    N / S0 times a'Wb / a'b, W made symmetric. The unit effects are the same in both thirds, and errors that fade have
    little in common there: they add to this statistic less than to the Moran's I of means over all periods.
    """
    count = max(parts.residuals.shape[1] // 3, 1)
    a, b = (parts.units + parts.residuals[:, part].mean(axis=1) for part in (slice(count), slice(-count, None)))
    a, b = (z - z.mean(axis=1, keepdims=True) for z in (a, b))
    lagged = [weights.lag(z[:, None])[:, 0] for z in (a, b)]
    scale = a.shape[1] / weights.matrix.sum()
    both = (b * lagged[0]).sum(axis=1) + (a * lagged[1]).sum(axis=1)
    return ratio(scale * both / 2, (a * b).sum(axis=1))


def moran_curve(weights: Weights) -> tuple[Floats, Floats]:
    """Spatial coefficients rho over their range, and the mean of Moran's I over maps (I - rho W)^-1 e at each.

    tr(S'WS) / tr(S'S) times N / S0; it grows with rho, so that it turns an I into the coefficient that it speaks of.
    """
    rho = np.linspace(-FARTHEST, FARTHEST, POINTS) / weights.radius
    dense, n = weights.dense, len(weights.units)
    scale = n / weights.matrix.sum()
    maps = (np.linalg.inv(np.eye(n) - value * dense) for value in rho)
    means = np.array([scale * np.vdot(s, dense @ s) / np.vdot(s, s) for s in maps])
    return rho, np.maximum.accumulate(means)


def group_correlation(e: Floats, group: NDArray[np.intp]) -> Floats:
    """Mean product of two units of a group in a period, over the mean square."""
    sizes = np.bincount(group)
    member = (group[:, None] == np.arange(len(sizes))).astype(np.float64)
    together = np.square(e @ member).sum(axis=(1, 2)) - np.square(e).sum(axis=(1, 2))
    pairs = float((sizes * (sizes - 1)).sum()) * e.shape[1]
    return ratio(together / max(pairs, 1.0), np.square(e).mean(axis=(1, 2)))


def unequal_variances(e: Floats) -> Floats:
    """Variance over units of the logarithm of their mean squares."""
    squares = np.square(e).mean(axis=1)
    floor = TINY * squares.mean(axis=1, keepdims=True)
    return np.asarray(np.log(np.maximum(squares, np.maximum(floor, 1e-300))).var(axis=1))


def kurtosis(e: Floats) -> Floats:
    """Fourth moment over the squared second."""
    return ratio(np.square(np.square(e)).mean(axis=(1, 2)), np.square(np.square(e).mean(axis=(1, 2))))


def root_mean_square(e: Floats) -> Floats:
    """Root of the mean square."""
    return np.asarray(np.sqrt(np.square(e).mean(axis=(1, 2))))


def correlation(a: Floats, b: Floats) -> Floats:
    """Correlation over units of (R, N) and (1 or R, N); NaN where one does not vary."""
    x, y = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    product = np.sqrt(np.square(x).sum(axis=1) * np.square(y).sum(axis=1))
    return ratio((x * y).sum(axis=1), np.asarray(product))


def variance_shares(y: Floats) -> Floats:
    """Shares of units, of periods and of the rest in the variance, (R, 3)."""
    z = y - y.mean(axis=(1, 2), keepdims=True)
    total = np.square(z).mean(axis=(1, 2))
    parts = np.stack([np.square(z.mean(axis=1)).mean(axis=1), np.square(z.mean(axis=2)).mean(axis=1)], -1)
    shares = ratio(parts, total[:, None])
    return np.concatenate([shares, 1.0 - shares.sum(axis=1, keepdims=True)], axis=1)


def pretrend_f(y: Floats, treatment: Floats, regressors: Sequence[Floats], leads: int) -> Floats:
    """F of the leads of adoption: whether treated units move apart 2 to leads + 1 periods before they are treated.

    treatment (1 or R, T, N): units that stay treated. NaN where nobody has such a period.
    """
    dummies = [x for x in lead_dummies(treatment, leads) if x.any()]
    rows, periods, units = y.shape
    if not dummies:
        return np.full(rows, np.nan)
    short, long = split(y, [treatment, *regressors]), split(y, [treatment, *regressors, *dummies])
    before, after = (np.square(one.residuals).sum(axis=(1, 2)) for one in (short, long))
    free = periods * units - periods - units + 1 - long.slopes.shape[1]
    return ratio((before - after) / len(dummies), after / max(free, 1))


def lead_dummies(treatment: Floats, leads: int) -> list[Floats]:
    """1 in the period that lies k periods before a unit's first treated one, for k = 2, ..., leads + 1."""
    treated = treatment > 0
    first = np.where(treated.any(axis=1), treated.argmax(axis=1), -1)[:, None, :]
    at = np.arange(treatment.shape[1])[:, None]
    return [((at == first - k) & (first > 0)).astype(np.float64) for k in range(2, leads + 2)]


def ratio(a: Floats, b: Floats) -> Floats:
    """a / b, NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=np.broadcast_to(b, a.shape) > 0)
