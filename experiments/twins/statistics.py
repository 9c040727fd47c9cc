"""What a panel and its twins are compared by, for R panels at once: arrays are (R, T, N), results (R,) unless said.

A leading 1 of a regressor says that it is the same in every panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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
    rows = max(len(x) for x in regressors)
    products = [[np.broadcast_to(_inner(a, b), (rows,)) for b in regressors] for a in regressors]
    gram = np.stack([np.stack(row, -1) for row in products], -2)
    moments = np.stack([_inner(x, y) for x in regressors], -1)
    scale = np.sqrt(np.maximum(np.einsum("rkk->rk", gram), 0.0))
    scale[scale == 0] = 1.0
    inverse = np.linalg.pinv(gram / (scale[:, :, None] * scale[:, None, :]), rcond=1e-10, hermitian=True)
    slopes = np.asarray((inverse @ (moments / scale)[..., None])[..., 0] / scale)
    return slopes, without(y, slopes, regressors)


def without(y: Floats, slopes: Floats, regressors: Sequence[Floats]) -> Floats:
    """y less what the first coefficients make of as many regressors."""
    if not regressors:
        return y
    total = slopes[:, 0, None, None] * regressors[0]
    for k, x in enumerate(regressors[1:], 1):
        total = total + slopes[:, k, None, None] * x
    return y - total


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
    """Variance over units of the logarithm of their mean squares, within groups of units by code (N,) if there are.

    Units of which no panel has a residual are left out, such as one that is always treated and alone in that.
    """
    squares = np.square(e).mean(axis=1)
    floor = TINY * squares.mean(axis=1, keepdims=True)
    if (told := (squares > floor).any(axis=0)).any():
        squares, group = squares[:, told], None if group is None else group[told]
    logs = np.log(np.maximum(squares, np.maximum(floor, TINIEST)))
    if group is not None:
        member = (group[:, None] == np.arange(group.max() + 1)).astype(np.float64)
        logs = logs - (logs @ (member / np.maximum(member.sum(axis=0), 1.0))) @ member.T
    return np.asarray(logs.var(axis=1))


@dataclass(frozen=True, eq=False)
class TreatmentStatus:
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
    def of(cls, treated: NDArray[np.bool_], freedom: Floats) -> TreatmentStatus:
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
        """Logarithms of mean squares of the periods' untreated unit-periods, (R, T); nothing is told by one of them,
        of which the period's effect leaves rounding."""
        sums = np.einsum("rtn,rtn->rt", np.square(e), np.broadcast_to(self.untreated, e.shape))
        counts = self.untreated.sum(axis=2)
        means = np.where(counts > 1, sums / np.maximum(counts, 1.0), 0.0)
        return np.asarray(np.log(np.maximum(means, TINIEST)))

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


# Regressions with unit and period effects and an effect of each cohort in each treated period.
#
# So effects that grow, fade or differ by cohort leave the residuals. Equal to imputing treated unit-periods by
# cohort (Borusyak, Jaravel and Spiess 2024, section 4; Wooldridge 2021). The regression falls into two parts that
# are orthogonal: deviations from the means of cohorts, which are free of the effects and know the units' effects
# alone, and the means of cohorts, of which the untreated ones alone decide on period effects.


TINY_SHARE = 1e-10  # share of the largest eigenvalue below which one counts as zero


@dataclass(frozen=True, eq=False)
class CohortMeans:
    """Cohorts of a calendar, or of R calendars: members (1 or R, G, N), 1 where a unit belongs to a cohort; untreated
    (1 or R, G, T), 1 where a cohort is not treated yet."""

    members: Floats
    untreated: Floats

    @classmethod
    def of(cls, treatment: Floats | None) -> CohortMeans | None:
        """The cohorts of a treatment (1 or R, T, N) of 0 and 1 that lasts; None for another one, or where one
        calendar has no cohort of two units, so that no residual of a treated unit-period is left."""
        if treatment is None or not np.isin(treatment, (0.0, 1.0)).all() or (np.diff(treatment, axis=1) < 0).any():
            return None
        periods = treatment.shape[1]
        first = periods - treatment.sum(axis=1).astype(np.intp)  # T where a unit is never treated
        dates = np.unique(first) if len(first) == 1 else np.arange(periods + 1)
        members = (first[:, None, :] == dates[:, None]).astype(np.float64)
        treated = (dates > 0) & (dates < periods)
        if len(first) == 1 and members[0][treated].sum(axis=1).max(initial=0.0) < 2:
            return None
        untreated = (np.arange(periods) < dates[:, None]).astype(np.float64)
        return cls(members, np.broadcast_to(untreated, (len(members), *untreated.shape)))

    @cached_property
    def sizes(self) -> Floats:
        """Units of each cohort, (1 or R, G)."""
        return np.asarray(self.members.sum(axis=2))

    @cached_property
    def spans(self) -> Floats:
        """Untreated periods of each cohort, at least 1, (1 or R, G)."""
        return np.maximum(self.untreated.sum(axis=2), 1.0)

    @cached_property
    def solver(self) -> Floats:
        """Inverse of the normal equations of the period effects after the cohorts' means are out, (1 or R, T, T)."""
        weight = self.sizes[:, :, None] * self.untreated
        normal = -np.einsum("rgt,rgs->rts", weight / self.spans[:, :, None], self.untreated)
        at = np.arange(normal.shape[1])
        normal[:, at, at] += weight.sum(axis=1)
        return np.asarray(np.linalg.pinv(normal, rcond=TINY_SHARE, hermitian=True))

    def means(self, y: Floats) -> Floats:
        """Means of the cohorts of (R, T, N), (R, G, T); 0 for a cohort without units."""
        sums = np.matmul(y, self.members.transpose(0, 2, 1)).transpose(0, 2, 1)
        return np.asarray(sums / np.maximum(self.sizes, 1.0)[:, :, None])

    def levels(self, means: Floats) -> tuple[Floats, Floats]:
        """Effects of cohorts (R, G) and of periods (R, T) by the untreated means (R, G, T).

        A period in which all are treated, and a cohort that always is, are taken as untreated: their effect is 0.
        """
        own = (means * self.untreated).sum(axis=2) / self.spans
        sums = (self.sizes[:, :, None] * self.untreated * (means - own[:, :, None])).sum(axis=1)
        period = np.matmul(self.solver, sums[:, :, None])[:, :, 0]
        cohort = own - (self.untreated * period[:, None, :]).sum(axis=2) / self.spans
        begun = self.untreated.any(axis=2)
        weight = self.sizes * begun
        later = (weight[:, :, None] * (means - cohort[:, :, None])).sum(axis=1) / weight.sum(axis=1, keepdims=True)
        seen = (weight[:, :, None] * self.untreated).any(axis=1)
        period = np.where(seen, period, later)
        return np.where(begun, cohort, (means - period[:, None, :]).mean(axis=2)), period

    def residuals(self, y: Floats) -> Floats:
        """What the regression leaves of (R, T, N); differences from the first period, so that a level costs no
        digits."""
        y = y - y[:, :1]
        means = self.means(y)
        cohort, period = self.levels(means)
        between = self.untreated * (means - cohort[:, :, None] - period[:, None, :])
        shift = between - means + means.mean(axis=2, keepdims=True)
        out = np.matmul(shift.transpose(0, 2, 1), self.members)
        out += y
        out -= y.mean(axis=1, keepdims=True)
        return out

    def effects(self, y: Floats) -> tuple[Floats, Floats]:
        """Effects of units (R, N) and of periods (R, T), without their means."""
        means = self.means(y)
        cohort, period = self.levels(means)
        unit = y.mean(axis=1) + np.matmul((cohort - means.mean(axis=2))[:, None, :], self.members)[:, 0]
        return unit - unit.mean(axis=1, keepdims=True), period - period.mean(axis=1, keepdims=True)

    @cached_property
    def freedom(self) -> Floats:
        """Share of an independent error's variance that is left in each unit-period of one calendar, (1, T, N): 1
        less its leverage."""
        groups, periods = self.untreated.shape[1:]
        alone = np.eye(groups * periods).reshape(-1, groups, periods)
        cohort, period = self.levels(alone)
        left = self.untreated * (alone - cohort[:, :, None] - period[:, None, :])
        between = np.einsum("kk->k", left.reshape(len(alone), -1)).reshape(groups, periods)
        size = np.maximum(self.sizes[0], 1.0)[:, None]
        share = (1 - 1 / size) * (1 - 1 / periods) + between / size
        return np.asarray((share.T @ self.members[0])[None])


@dataclass(frozen=True, eq=False)
class CohortRegression:
    """What an outcome is regressed on beside unit and period effects.

    regressors: (1 or R, T, N) each; effects are free of the first `removed`. cohorts: with effects of cohorts in each
    treated period, in which case the treatment is no regressor.
    """

    regressors: tuple[Floats, ...]
    removed: int
    cohorts: CohortMeans | None = None

    @classmethod
    def of(
        cls, treatment: Floats | None, controls: Sequence[Floats], *, controls_out: bool, by_cohort: bool = True
    ) -> CohortRegression:
        """That of a treatment and controls; controls_out: whether effects are free of the controls too. by_cohort:
        whether there are effects of cohorts where the treatment allows it."""
        cohorts = CohortMeans.of(treatment) if by_cohort else None
        policy = () if treatment is None or cohorts is not None else (treatment,)
        return cls((*policy, *controls), len(policy) + (len(controls) if controls_out else 0), cohorts)

    def __call__(self, y: Floats, further: Sequence[Floats] = ()) -> Split:
        """The regression of R outcomes (R, T, N), with further regressors, (1 or R, T, N) each."""
        regressors = (*self.regressors, *further)
        if self.cohorts is None:
            return split(y, regressors, self.removed)
        moved = []  # what is left of each regressor; nothing but rounding is nothing
        for x in regressors:
            left = self.cohorts.residuals(x)
            kept = np.square(left).sum(axis=(1, 2)) > TINY_SHARE**2 * np.square(x).sum(axis=(1, 2))
            moved.append(left * kept[:, None, None])
        slopes, residuals = least_squares(self.cohorts.residuals(y), moved)
        return Split(slopes, residuals, *self.cohorts.effects(without(y, slopes, regressors[: self.removed])))

    @property
    def count(self) -> Floats:
        """Coefficients besides unit and period effects, (1 or R,); those of a cohort that always is treated hold its
        level, and those of a period in which all are treated the period's effect."""
        if self.cohorts is None:
            return np.array([float(len(self.regressors))])
        filled = (self.cohorts.sizes > 0)[:, :, None]
        treated, untreated = filled & (self.cohorts.untreated == 0), filled & (self.cohorts.untreated > 0)
        held = (filled[:, :, 0] & ~untreated.any(axis=2)).sum(axis=1) + (~untreated.any(axis=1)).sum(axis=1)
        return np.asarray(treated.sum(axis=(1, 2)) - held + float(len(self.regressors)))


def pretrend_f(y: Floats, regression: CohortRegression, treatment: Floats, leads: int) -> Floats:
    """F of the leads of adoption, (R,): whether treated units move apart 2 to leads + 1 periods before they are
    treated.

    y (R, T, N); treatment (1 or R, T, N): units that stay treated. NaN where nobody has such a period.
    """
    dummies = [x for x in lead_dummies(treatment, leads) if x.any()]
    rows, periods, units = y.shape
    if not dummies:
        return np.full(rows, np.nan)
    before, after = (np.square(regression(y, further).residuals).sum(axis=(1, 2)) for further in ((), dummies))
    free = periods * units - periods - units + 1 - regression.count - len(dummies)
    return ratio((before - after) / len(dummies), after / np.maximum(free, 1))
