"""Sensitivity to omitted confounders, to selection, to single groups, and dependence that residuals show.

How strong an omitted confounder must be to overturn a coefficient, in partial R2 (Cinelli and Hazlett 2020).

All follows from t statistics with classical errors and their degrees of freedom: the partial R2 of a regressor is
t^2 / (t^2 + dof), whatever errors are printed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import stdtrit

from estimators.core.estimator import Moments
from estimators.core.tile import balanced_split
from estimators.linear.covariances import ClusterK, absent_before, counted_parameters, sums_within
from estimators.linear.influence import GroupFits, UnitRows, group_sums
from sim.arrays import Codes, Flags, Floats
from sim.errors import bad


def partial_r2(t: float, dof: float) -> float:
    """Share of the outcome's residual variance that a regressor explains."""
    return t * t / (t * t + dof)


def robustness_value(t: float, dof: float, q: float = 1.0, alpha: float = 1.0) -> float:
    """The share of residual variance, of treatment and outcome alike, at which a confounder takes q of the estimate.

    alpha < 1: at which the estimate less q is no longer significant at alpha; alpha = 1: at which it is zero. Their
    section 4.2, with the case of a treatment that explains more than the critical value allows.
    """
    taken = q * abs(t) / math.sqrt(dof)
    critical = 0.0 if alpha >= 1.0 else -float(stdtrit(dof - 1, alpha / 2.0)) / math.sqrt(dof - 1)
    left = taken - critical
    if left <= 0.0:
        return 0.0
    if critical and taken > 1.0 / critical:
        return (taken**2 - critical**2) / (1.0 + taken**2)
    return 0.5 * (math.sqrt(left**4 + 4.0 * left**2) - left**2)


def adjusted(estimate: float, se: float, dof: float, r2_treatment: float, r2_outcome: float) -> float:
    """The estimate without the bias of a confounder with these partial R2 that works against it; se classical."""
    bias = se * math.sqrt(dof * r2_outcome * r2_treatment / (1.0 - r2_treatment))
    return math.copysign(1.0, estimate) * (abs(estimate) - bias)


def benchmark(
    estimate: float, se: float, dof: float, t_treatment: float, t_outcome: float, times: float = 1.0
) -> tuple[float, float, float] | None:
    """A confounder `times` as strong as an observed control; None where that would explain all of something.

    The shares that it explains of what the regressors leave of treatment and of outcome, and the coefficient of the
    treatment beside it, if it works against the estimate.

    t_treatment: of the control in the regression of the treatment on all controls, which has dof + 1 degrees of
    freedom; t_outcome: in that of the outcome on treatment and controls. Their section 4.4 and appendix B.1.
    """
    own, outcome = partial_r2(t_treatment, dof + 1.0), partial_r2(t_outcome, dof)
    explained = times * own / (1.0 - own)
    if explained >= 1.0 or times * own >= 1.0:
        return None
    both = times * own**2 / ((1.0 - times * own) * (1.0 - own))
    if both >= 1.0:
        return None
    share = ((math.sqrt(times) + math.sqrt(both)) / math.sqrt(1.0 - both)) ** 2 * outcome / (1.0 - outcome)
    share = min(share, 1.0)
    return explained, share, adjusted(estimate, se, dof, explained, share)


# How strong selection on unobservables must be to remove an effect (Oster 2019, propositions 2 and 3).
#
# The outcome is y = b d + w1 + w2 + e with an index w1 of observed controls and one w2 of unobserved ones that are
# uncorrelated; selection is proportional, delta cov(w1, d) / var(w1) = cov(w2, d) / var(w2); a regression on all
# three has R2 `r2_max`. Variables are without the effects of units and periods, so that R2 are within them.


SHARE = 1.3  # r2_max over the R2 with controls, Oster's (2019) choice
REAL = 1e-8  # imaginary part, relative to its size, up to which a root counts as real


@dataclass(frozen=True, slots=True)
class ShortAndLong:
    """What adding controls did: coefficients of d and R2 without (short) and with them (long), and three variances.

    outcome, treatment: variances of y and of d; left: variance of what the controls leave of d.
    """

    short: float
    long: float
    r2_short: float
    r2_long: float
    outcome: float
    treatment: float
    left: float

    @classmethod
    def of(cls, y: Floats, d: Floats, x: Floats) -> Self:
        """From demeaned outcome and treatment (T, N) and controls (K, T, N); raises BadInput for collinear controls."""
        n, columns = y.size, np.vstack([d.ravel(), x.reshape(len(x), y.size)])
        gram = columns @ columns.T
        scale = np.sqrt(np.diagonal(gram))
        if not len(x) or np.linalg.eigvalsh(gram / np.outer(scale, scale))[0] < 1e-9:
            raise bad("the treatment has no controls, or they are collinear", where="selection on unobservables",
                      allowed="sound controls", remedy="name others")  # fmt: skip
        cross, total = columns @ y.ravel(), float(y.ravel() @ y.ravel())
        slopes, inverse = np.linalg.solve(gram, cross), np.linalg.inv(gram)
        short = float(cross[0] / gram[0, 0])
        return cls(short, float(slopes[0]), short * float(cross[0]) / total, float(slopes @ cross) / total,
                   total / n, float(gram[0, 0]) / n, 1.0 / float(inverse[0, 0]) / n)  # fmt: skip

    def most(self, share: float = SHARE) -> float:
        """`r2_max`: `share` of the R2 with controls, at most 1."""
        return min(share * self.r2_long, 1.0)

    def delta(self, r2_max: float, target: float = 0.0) -> float:
        """The strength of selection on unobservables, relative to that on controls, at which the effect is `target`.

        NaN where r2_max is not above the R2 with controls. A negative one says that unobservables would have to be
        selected the other way.
        """
        if r2_max <= self.r2_long:
            return float("nan")
        numerator, denominator = (np.polyval(one, self.long - target) for one in self._sides(r2_max))
        return float(numerator / denominator) if denominator else float("inf")

    def effect(self, r2_max: float, delta: float = 1.0) -> float:
        """The effect when selection on unobservables is `delta` times as strong: the solution nearest to the long one.

        NaN where no real effect solves it.
        """
        numerator, denominator = self._sides(r2_max)
        roots = np.roots(np.trim_zeros(numerator - delta * denominator, "f"))
        real = roots.real[np.abs(roots.imag) <= REAL * (1.0 + np.abs(roots))]
        return self.long - float(real[np.abs(real).argmin()]) if real.size else float("nan")

    def _sides(self, r2_max: float) -> tuple[Floats, Floats]:
        """Numerator and denominator of delta as polynomials in v = long - target, highest power first.

        Of a treatment that is unrelated to the controls (left = treatment) no cubic term is left.
        """
        moved, gained = self.short - self.long, (r2_max - self.r2_long) * self.outcome
        square, cube = self.left * moved * self.treatment, self.left * (self.treatment - self.left)
        linear = (self.r2_long - self.r2_short) * self.outcome * self.left + self.treatment * self.left * moved**2
        return (
            np.array([cube, 2.0 * square, linear, 0.0]),
            np.array([cube, square, gained * (self.treatment - self.left), gained * moved * self.treatment]),
        )


# The two-way coefficient of the treatment without each group of units in turn, by updated sums instead of refits.


CELLS = 2**20  # of the panels that are made together


@dataclass(frozen=True, eq=False, slots=True)
class LeftOut(Moments):
    """Without each of G groups: estimate and its clustered error (G,) each, and the clusters that are left, (G,)."""

    estimate: Floats
    se: Floats
    clusters: Floats


@np.errstate(divide="ignore", invalid="ignore")  # slopes of what is left out may not exist: they are NaN
def leave_one_out(
    columns: Floats,
    left_out: Codes,
    clusters: Codes,
    mask: Floats | None = None,
    *,
    counted: int = 0,
    cluster_k: ClusterK = "nonnested",
) -> LeftOut:
    """Coefficients of the first column without the units of each group; NaN where nothing is left to estimate.

    columns (P, T, N): treatment, controls and, last, the outcome, without unit means and zero where unobserved; mask
    (T, N) of observed cells, None = balanced. left_out (N,): group of every unit; clusters (N,) of the errors, which
    nest units and whose factor is G/(G - 1) (n - 1)/(n - k), k = `counted` slopes and those effects of the units and
    periods that are left which `cluster_k` counts.
    """
    units, groups = UnitRows.of(columns, mask), int(left_out.max()) + 1
    seen = np.ones(units.rows.shape[:2]) if units.mask is None else units.mask  # (N, T)
    step, parts = max(1, CELLS // columns[0].size), []
    for start in range(0, groups, step):
        gone = left_out == np.arange(start, min(start + step, groups))[:, None]  # (D, N)
        codes = gone.astype(np.intp)  # 0 what is kept, 1 what is left out
        fits = GroupFits.of(units, codes, 2)
        kept = codes == 0
        scores = np.where(kept, (fits.residuals() * fits.partialled(0)).sum(axis=2), 0.0)
        by_cluster = group_sums(scores, codes, 2, clusters)[:, :, 0]
        rows = kept @ seen.sum(axis=1)
        periods = (kept @ seen > 0).sum(axis=1).astype(np.float64)
        observed = (kept & (seen.sum(axis=1) > 0)).astype(np.float64)
        count = (sums_within(observed, clusters) > 0).sum(axis=1).astype(np.float64)
        nested = observed.sum(axis=1) - 1.0
        parameters = counted_parameters(counted, nested + periods, nested, cluster_k)
        factor = count / (count - 1.0) * (rows - 1.0) / (rows - parameters)
        se = np.sqrt(factor * np.square(by_cluster).sum(axis=1))
        parts.append(LeftOut(fits.slopes[:, 0, 0], se, count))
    return LeftOut.join(parts)


# p values of several hypotheses that hold together: the step-down of Romano and Wolf (2005), by random signs.
#
# Statistics under the null are drawn by giving the scores of every cluster, in all regressions alike, one random
# sign: the dependence between hypotheses is kept.


def stepdown(statistics: Floats, drawn: Floats) -> Floats:
    """Adjusted p values (H,) of two-sided tests; statistics (H,), drawn (B, H) under the null hypotheses.

    The largest statistic is held to the draws' largest of all, the next to the largest of the others, and so on; no p
    value is below that of a larger statistic (Romano and Wolf 2005, section 4, and 2016 for p values).
    """
    order = np.argsort(-np.abs(statistics), kind="stable")
    sizes = np.abs(drawn[:, order])
    largest = np.maximum.accumulate(sizes[:, ::-1], axis=1)[:, ::-1]
    reached = (largest >= np.abs(statistics)[order]).sum(axis=0)
    adjusted = np.empty(len(statistics))
    adjusted[order] = np.maximum.accumulate((1.0 + reached) / (1.0 + len(drawn)))
    return adjusted


def signed_statistics(scores: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """t statistics under the null, (draws, H), from scores (G, H) of clusters: Rademacher signs (Liu 1988).

    The sum of squares of signed scores is that of the scores, so that the error of every draw is the same.
    """
    signs = rng.integers(0, 2, size=(draws, len(scores))) * 2.0 - 1.0
    return np.asarray(signs @ scores / np.sqrt(np.square(scores).sum(axis=0)))


# What is left in the residuals of a panel regression: correlation in time, between units, within groups of units.
#
# Residuals e are (T, N), without unit effects and zero where unobserved; mask (T, N): observed cells, None = all.


NEARLY_ONE = 1.0 - 1e-6


def on_calendar(values: Floats, periods: tuple[int, ...]) -> Floats:
    """With rows of zeros for periods that a panel lacks, so that those on both sides are no neighbours, (T', N)."""
    return np.insert(values, absent_before(periods, len(periods)), 0.0, axis=0)


def serial_correlation(e: Floats, mask: Floats | None = None) -> float:
    """Least squares of each residual on the unit's last one, over all pairs of neighbouring observed periods.

    It is biased towards zero and below, by about -(1 + a) / T for the true a (Nickell 1981).
    """
    pairs = np.ones_like(e[1:]) if mask is None else mask[1:] * mask[:-1]
    squares = float((np.square(e[:-1]) * pairs).sum())
    return float((e[1:] * e[:-1] * pairs).sum()) / squares if squares > 0 else float("nan")


def expected_serial(a: float, seen: Flags) -> float:
    """What `serial_correlation` tends to as units grow many, when errors are a stationary AR(1) with coefficient a.

    seen (P, T) patterns of observation, a row a unit or one that stands for all. Unit means leave the covariance
    M R M of errors with correlations R_st = a^|s-t|, M = I - 11'/T, and its first off-diagonal over its diagonal is the
    limit; period means change neither. a = 1 is the limit, a random walk.
    """
    observed = np.asarray(seen, dtype=np.float64)
    distance = np.abs(np.subtract.outer(np.arange(observed.shape[1]), np.arange(observed.shape[1])))
    correlation = -distance.astype(np.float64) if a >= 1.0 else np.power(a, distance)
    counts = np.maximum(observed.sum(axis=1), 1.0)
    means = (observed @ correlation) / counts[:, None]  # covariance of a unit's mean with each of its errors, (P, T)
    whole = (means * observed).sum(axis=1) / counts
    near = np.diagonal(correlation, 1) - means[:, 1:] - means[:, :-1] + whole[:, None]
    own = np.diagonal(correlation)[:-1] - 2.0 * means[:, :-1] + whole[:, None]
    pairs = observed[:, 1:] * observed[:, :-1]
    return float((near * pairs).sum()) / float((own * pairs).sum())


def bias_corrected(raw: float, seen: Flags) -> float:
    """The a whose expected serial correlation is `raw`; 1 where no stationary one is as high, NaN where raw is."""
    from scipy.optimize import brentq  # a tenth of a second that most runs do without

    if not np.isfinite(raw) or not seen[:, 1:].any() or raw <= expected_serial(-NEARLY_ONE, seen):
        return float("nan")
    if raw >= expected_serial(NEARLY_ONE, seen):
        return 1.0
    return float(brentq(lambda a: expected_serial(a, seen) - raw, -NEARLY_ONE, NEARLY_ONE, xtol=1e-10))


def standardised(e: Floats, mask: Floats | None = None) -> Floats:
    """Each unit's residuals around their mean, of length one over its periods, (T, N); zero for a unit of zeros."""
    centred = e - e.mean(axis=0) if mask is None else (e - e.sum(axis=0) / np.maximum(mask.sum(axis=0), 1.0)) * mask
    length = np.sqrt(np.square(centred).sum(axis=0))
    return np.asarray(centred / np.where(length > 0, length, np.inf))


def pesaran_cd(e: Floats) -> float:
    """Pesaran's (2004) CD of residuals without gaps: sqrt(2 T / (N (N - 1))) times the sum of pairwise correlations.

    Standard normal for independent errors without period effects. Period effects take the mean over units out of each
    period, which correlates what is left (Juodis and Reese 2022), and serial correlation widens it: `simulated_cd`.
    """
    t, n = e.shape
    z = standardised(e)
    pairs = (np.square(z.sum(axis=1)).sum() - np.square(z).sum()) / 2.0
    return float(np.sqrt(2.0 * t / (n * (n - 1.0))) * pairs)


def error_deviations(e: Floats) -> Floats:
    """Standard deviations of the units' errors, (N,), up to a common factor, from two-way residuals (T, N).

    Of independent errors with variances s_i, N residual variances v_i = (1 - 2 / N) s_i + mean(s) / N, and
    sum(v) = (N - 1) mean(s); negative solutions are zero.
    """
    n = e.shape[1]
    variances = np.square(e).mean(axis=0)
    return np.asarray(np.sqrt(np.maximum(variances - variances.sum() / (n * (n - 1.0)), 0.0) / (1.0 - 2.0 / n)))


def simulated_cd(deviations: Floats, a: float, periods: int, draws: int, rng: np.random.Generator) -> Floats:
    """CD of two-way residuals of independent normal AR(1) errors with these deviations (N,), (draws,).

    a: their coefficient, within (-1, 1). Regressors are left out of the simulated residuals.
    """
    found = np.empty(draws)
    for draw in range(draws):
        errors = rng.standard_normal((periods, len(deviations)))
        errors[1:] *= np.sqrt(1.0 - a * a)  # variance one in every period
        for period in range(1, periods):
            errors[period] += a * errors[period - 1]
        found[draw] = pesaran_cd(balanced_split((errors * deviations)[None])[0][0])
    return found


def group_correlation(e: Floats, codes: Codes, mask: Floats | None = None) -> float:
    """Mean correlation of the residuals of two units of one group, codes (N,); NaN where no group has two units."""
    return float(_group_means(standardised(e, mask), codes[None])[0])


def permuted_group_correlation(
    e: Floats, codes: Codes, draws: int, rng: np.random.Generator, mask: Floats | None = None
) -> Floats:
    """The same when units exchange their groups, and keep their whole histories, (draws,)."""
    return _group_means(standardised(e, mask), rng.permuted(np.tile(codes, (draws, 1)), axis=1))


def _group_means(z: Floats, codes: Codes) -> Floats:
    """Mean correlation within groups of D assignments (D, N) of units with standardised residuals (T, N), (D,)."""
    found, sizes = np.empty(len(codes)), np.bincount(codes[0])
    pairs = float((sizes * (sizes - 1)).sum())
    own = float(np.square(z).sum())
    for draw, groups in enumerate(codes):
        order = np.argsort(groups, kind="stable")
        starts = np.r_[0, np.cumsum(np.bincount(groups))[:-1]]
        found[draw] = np.square(np.add.reduceat(z[:, order], starts, axis=1)).sum() - own
    return found / pairs if pairs else np.full(len(codes), np.nan)
