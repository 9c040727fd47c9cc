"""What a panel and its twins are compared by, for R panels at once: arrays are (R, T, N), results (R,) unless said.

A leading 1 of a regressor says that it is the same in every panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimators.core.tile import balanced_split
from sim.arrays import Floats
from sim.weights import Weights

FARTHEST, POINTS = 0.95, 39  # of the grid of spatial coefficients, in units of the inverse spectral radius
FEWEST_UNITS, FEWEST_CELLS, FEWEST_PERIODS = 3, 10, 4  # whose variances are compared
TINIEST = 1e-300  # mean square of which a logarithm is taken
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
    slopes, residuals = least_squares(within(y), [within(x) for x in regressors])
    left = without(y, slopes, regressors[:removed])
    units, periods = left.mean(axis=1), left.mean(axis=2)
    grand = units.mean(axis=1, keepdims=True)
    return Split(slopes, residuals, units - grand, periods - grand)


def least_squares(y: Floats, regressors: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Coefficients (R, K) and residuals of y on regressors of which effects are out; what is absorbed gets 0."""
    if not regressors:
        return np.zeros((len(y), 0)), y
    slopes = _slopes(y, regressors)
    return slopes, y - _fitted(slopes, regressors)


def without(y: Floats, slopes: Floats, regressors: Sequence[Floats]) -> Floats:
    """y less what the first coefficients make of as many regressors."""
    return y - _fitted(slopes, regressors) if regressors else y


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


def unequal_variances(e: Floats, group: NDArray[np.intp] | None = None) -> Floats:
    """Variance over units of the logarithm of their mean squares, within groups of units by code (N,) if there are."""
    squares = np.square(e).mean(axis=1)
    floor = TINY * squares.mean(axis=1, keepdims=True)
    logs = np.log(np.maximum(squares, np.maximum(floor, TINIEST)))
    if group is not None:
        member = (group[:, None] == np.arange(group.max() + 1)).astype(np.float64)
        logs = logs - (logs @ (member / np.maximum(member.sum(axis=0), 1.0))) @ member.T
    return np.asarray(logs.var(axis=1))


@dataclass(frozen=True, eq=False)
class Status:
    """Which unit-periods are treated, and which units ever are: what variances are compared by, for 1 or R calendars.

    ever (1 or R, N). groups (1 or R, T N, 3): weights of the mean squares of never treated units, of untreated and of
    treated unit-periods of the others. untreated (1 or R, T, N). trend (T,): weights of the periods' log mean squares
    in their slope. compares_units, compares_cells, compares_periods: whether there is enough to compare.
    """

    ever: NDArray[np.bool_]
    groups: Floats
    untreated: Floats
    trend: Floats
    compares_units: bool
    compares_cells: bool
    compares_periods: bool

    @classmethod
    def of(cls, treated: NDArray[np.bool_], freedom: Floats) -> Status:
        """That of treated unit-periods (1 or R, T, N), of which the first calendar says what is compared.

        freedom (T, N): share of the errors' variance that residuals keep.
        """
        rows, periods, _ = treated.shape
        ever = treated.any(axis=1)
        before = ~treated & ever[:, None, :]
        never = ~treated & ~ever[:, None, :]
        masks = np.stack([never, before, treated], axis=-1).reshape(rows, -1, 3)
        free = masks[0].T @ freedom.ravel()
        known = ((~treated[0]) * freedom).sum(axis=1) >= FEWEST_UNITS
        time = np.where(known, np.arange(periods) - np.arange(periods)[known].mean() if known.any() else 0.0, 0.0)
        units = min(int((~ever[0]).sum()), int(before[0].any(axis=0).sum()))
        return cls(
            ever=ever,
            groups=masks / np.maximum(masks.sum(axis=1, keepdims=True), 1.0),
            untreated=(~treated).astype(np.float64),
            trend=time / max(float(time @ time), 1.0),
            compares_units=units >= FEWEST_UNITS and bool(free[1] >= FEWEST_CELLS),
            compares_cells=bool(min(free[1], free[2]) >= FEWEST_CELLS),
            compares_periods=int(known.sum()) >= FEWEST_PERIODS,
        )

    def by_group(self, e: Floats) -> Floats:
        """Logarithms of mean squares of the three groups, (R, 3)."""
        squares = np.square(e).reshape(len(e), 1, -1)
        return np.asarray(np.log(np.maximum(np.matmul(squares, self.groups)[:, 0], TINIEST)))

    def by_period(self, e: Floats) -> Floats:
        """Logarithms of mean squares of the periods' untreated unit-periods, (R, T)."""
        sums = np.einsum("rtn,rtn->rt", np.square(e), np.broadcast_to(self.untreated, e.shape))
        counts = np.maximum(self.untreated.sum(axis=2), 1.0)
        return np.asarray(np.log(np.maximum(sums / counts, TINIEST)))

    def ratios(self, e: Floats) -> Floats:
        """Ever treated units before treatment against never treated ones, treated unit-periods against untreated ones
        of the same units, both as log ratios of mean squares, and their slope over periods, (R, 3)."""
        logs = self.by_group(e)
        both = [logs[:, 1] - logs[:, 0], logs[:, 2] - logs[:, 1]]
        return np.stack([*both, self.by_period(e) @ self.trend], axis=1)


def eigenvalue_shares(e: Floats, count: int) -> Floats:
    """Shares of the largest eigenvalues of the covariance over periods, (R, count)."""
    moments = np.matmul(e, e.transpose(0, 2, 1))
    values = np.asarray(np.linalg.eigvalsh(moments)[:, ::-1], dtype=np.float64)
    return ratio(values[:, :count], values.sum(axis=1, keepdims=True))


def tails(e: Floats, share: float) -> Floats:
    """The lower and the upper quantile of residuals over their root mean square, (R, 2)."""
    cut = np.quantile(e.reshape(len(e), -1), [share, 1 - share], axis=1).T
    sizes = np.broadcast_to(root_mean_square(e)[:, None], cut.shape)
    return ratio(np.asarray(cut, dtype=np.float64), sizes)


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


def lead_dummies(treatment: Floats, leads: int) -> list[Floats]:
    """1 in the period that lies k periods before a unit's first treated one, for k = 2, ..., leads + 1."""
    treated = treatment > 0
    first = np.where(treated.any(axis=1), treated.argmax(axis=1), -1)[:, None, :]
    at = np.arange(treatment.shape[1])[:, None]
    return [((at == first - k) & (first > 0)).astype(np.float64) for k in range(2, leads + 2)]


def ratio(a: Floats, b: Floats) -> Floats:
    """a / b, NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=np.broadcast_to(b, a.shape) > 0)
