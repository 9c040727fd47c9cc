"""Performance measures of estimators and their Monte Carlo standard errors (MCSE), as functions of arrays.

Errors e = estimate - truth of that draw; V = se^2; n usable fits. Sources: Morris, White and Crowther (2019, Statistics
in Medicine 38:2074, table 6); Boos and Zhang (2000); Gelman and Carlin (2014) for type S and M; Wilson (1927); Agresti
and Coull (1998, The American Statistician 52:119) for the MCSE of shares of 0 and 1. Every function takes arrays of any
one shape and returns value and MCSE of that shape, NaN where too few fits are usable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from sim.arrays import Flags, Floats

# The rows of some consecutive fits by the world in which they lie.


@dataclass(frozen=True, eq=False, slots=True)
class Grouping:
    """Rows by world: they lie in runs of one world each.

    starts: where runs begin. order: runs by world, which begin at `firsts` there. ids, counts: worlds and their rows.
    """

    starts: NDArray[np.intp]
    order: NDArray[np.intp]
    firsts: NDArray[np.intp]
    ids: NDArray[np.intp]
    counts: Floats

    @classmethod
    def of(cls, world: NDArray[np.intp]) -> Grouping:
        """From the world of each row, (R,)."""
        starts = np.flatnonzero(np.diff(world, prepend=-1))
        order = np.argsort(world[starts], kind="stable")
        ids, firsts = np.unique(world[starts][order], return_index=True)
        return cls(starts, order, firsts, ids, np.bincount(world)[ids].astype(np.float64))

    def sums(self, values: Floats | Flags) -> Floats:
        """Sums over the rows of each world, (len(ids), *shape)."""
        if not len(self.ids):
            return np.zeros((0, *values.shape[1:]))
        runs = np.add.reduceat(values, self.starts, axis=0, dtype=np.float64)
        return np.asarray(np.add.reduceat(runs[self.order], self.firsts, axis=0))

    def counted(self, usable: Flags) -> Floats:
        """Usable rows of each world, (len(ids), *shape); of one number each where all are usable."""
        if not usable.all():
            return self.sums(usable)
        return self.counts.reshape(-1, *(1 for _ in usable.shape[1:]))  # as a rule; sums of flags take long

    def places(self, worlds: int) -> slice | NDArray[np.intp]:
        """Where the worlds of these rows stand among all."""
        return slice(None) if len(self.ids) == worlds else self.ids


# Running moments of many numbers at once, merged piece by piece so that memory does not grow with replications.
#
# Where replications share worlds, sums by world are kept beside them: one number a world, whatever the
# replications.


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """What the usable values of some fits add to running moments: their count, mean and central sums, (*shape).

    third, fourth: None below order 4. rows, by_world: counts, sums of x - mean and of (x - mean)^2 by world, each
    (G, *shape) or one that broadcasts to it; None where worlds are not told apart.
    """

    n: Floats
    mean: Floats
    second: Floats
    third: Floats | None = None
    fourth: Floats | None = None
    rows: Grouping | None = None
    by_world: tuple[Floats, Floats, Floats] | None = None

    @classmethod
    def of(cls, values: Floats, usable: Flags, rows: Grouping | None = None, order: int = 2) -> Piece:
        """From values (R, *shape) where usable (R, *shape); rows: by world, None = worlds are not told apart."""
        if usable.all():  # as a rule; then nothing need be left out, which takes as long as the sums
            n = np.full(values.shape[1:], float(len(values)))
            mean = values.sum(axis=0) / np.maximum(n, 1.0)
            deviation = values - mean
        else:
            n = np.count_nonzero(usable, axis=0).astype(np.float64)
            mean = _kept(values, usable).sum(axis=0) / np.maximum(n, 1.0)
            deviation = _kept(values - mean, usable)
        square, third, fourth = deviation * deviation, None, None
        second = square.sum(axis=0)
        by_world = None if rows is None else (rows.counted(usable), rows.sums(deviation), rows.sums(square))
        if order == 4:
            deviation *= square
            square *= square
            third, fourth = deviation.sum(axis=0), square.sum(axis=0)
        return cls(n, mean, second, third, fourth, rows, by_world)

    @property
    def by_error(self) -> Piece:
        """The same of every error type, (K,) as (1, K), up to order 2."""
        of_world = None
        if self.by_world is not None:
            n, total, square = (part[:, None] for part in self.by_world)
            of_world = n, total, square
        return Piece(self.n[None], self.mean[None], self.second[None], rows=self.rows, by_world=of_world)


def _kept(values: Floats, usable: Flags) -> Floats:
    """Values with 0 where they are not usable; a product takes a third of the time, but makes NaN of what is none."""
    with np.errstate(invalid="ignore", over="ignore"):
        finite = np.isfinite(values.sum())
    return values * usable if finite else np.where(usable, values, 0.0)


class RunningMoments:
    """Count, mean and central sums up to `order` (2 or 4) of each element of a shape, and sums by world.

    Every piece is centred on its own mean and merged by the pairwise formulas of Pebay (2008, SAND2008-6212), which
    lose no digits to a mean that is large beside the spread, nor to an outlier in the first piece. Sums by world are
    kept about the mean of the first piece, which is as near to the mean as its spread says.
    """

    __slots__ = ("_by_world", "_centre", "fourth", "mean", "n", "order", "second", "third")

    def __init__(self, shape: tuple[int, ...], order: int = 2, worlds: int = 1) -> None:
        self.order = order
        self.n = np.zeros(shape)
        self.mean = np.zeros(shape)
        self.second = np.zeros(shape)  # sum (x - mean)^2
        self.third = np.zeros(shape)
        self.fourth = np.zeros(shape)
        self._centre = np.zeros(shape)
        self._by_world = np.zeros((3, worlds if worlds > 1 else 0, *shape))

    def add(self, values: Floats, usable: Flags, rows: Grouping | None = None) -> None:
        """Take in values (R, *shape) where usable (R, *shape); rows: by world where sums by world are kept."""
        self.merge(Piece.of(values, usable, rows, self.order))

    def merge(self, b: Piece) -> None:
        """Take in a piece."""
        if b.rows is not None and b.by_world is not None:
            self._centre = np.where(self.n > 0, self._centre, b.mean)
            counts, total, square = b.by_world
            at, move = b.rows.places(self._by_world.shape[1]), b.mean - self._centre
            moved = counts * move
            self._by_world[0, at] += counts
            self._by_world[1, at] += total + moved
            moved += total
            moved += total
            moved *= move
            self._by_world[2, at] += square + moved
        na, nb = self.n, b.n
        n = na + nb
        safe = np.maximum(n, 1.0)
        delta = b.mean - self.mean
        step = delta / safe
        if b.third is not None and b.fourth is not None:
            self.fourth += (
                b.fourth
                + delta * step**3 * na * nb * (na * na - na * nb + nb * nb)
                + 6 * step**2 * (na * na * b.second + nb * nb * self.second)
                + 4 * step * (na * b.third - nb * self.third)
            )
            self.third += (
                b.third + delta * step**2 * na * nb * (na - nb) + 3 * step * (na * b.second - nb * self.second)
            )
        self.second += b.second + delta * step * na * nb
        self.mean = self.mean + step * nb
        self.n = n

    @property
    def counts(self) -> Floats:
        """Counts by world, (W, *shape)."""
        return self._by_world[0]

    @property
    def totals(self) -> Floats:
        """Sums of x - mean by world, (W, *shape)."""
        n, total, _ = self._by_world
        return np.asarray(total - n * (self.mean - self._centre))

    @property
    def squares(self) -> Floats:
        """Sums of (x - mean)^2 by world, (W, *shape)."""
        n, total, square = self._by_world
        move = self.mean - self._centre
        return np.asarray(square - (2 * total - n * move) * move)

    @property
    def average(self) -> Floats:
        """The mean, NaN where nothing was counted."""
        return np.where(self.n > 0, self.mean, np.nan)

    @property
    def variance(self) -> Floats:
        """The sample variance (n - 1), NaN below two values."""
        return np.where(self.n > 1, self.second, np.nan) / np.maximum(self.n - 1, 1.0)

    @property
    def kurtosis(self) -> Floats:
        """n sum (x - mean)^4 / (sum (x - mean)^2)^2; 3 for the normal distribution, 1 where nothing varies."""
        varies = self.second > 0
        return np.where(varies, self.n * self.fourth / np.where(varies, self.second, 1.0) ** 2, 1.0)


class Tally:
    """Counts of trials and hits, each of some shape, and by world (W, *shape)."""

    __slots__ = ("counts", "hits", "hits_by_world", "n")

    def __init__(self, shape: tuple[int, ...], worlds: int = 1) -> None:
        self.n = np.zeros(shape)
        self.hits = np.zeros(shape)
        self.counts = np.zeros((worlds if worlds > 1 else 0, *shape))
        self.hits_by_world = np.zeros_like(self.counts)

    def add(self, hit: Flags, usable: Flags, rows: Grouping | None = None) -> None:
        """Take in hits (R, *shape) where usable (R, *shape); rows: by world where counts by world are kept."""
        if not usable.all():
            hit = hit & usable
        if rows is None:
            self.n += np.count_nonzero(usable, axis=0)
            self.hits += np.count_nonzero(hit, axis=0)
            return
        at, counts, hits = rows.places(len(self.counts)), rows.counted(usable), rows.sums(hit)
        self.counts[at] += counts
        self.hits_by_world[at] += hits
        self.n += counts.sum(axis=0)
        self.hits += hits.sum(axis=0)


class Extremes:
    """Smallest and largest value of each element of a shape; infinite where nothing was counted."""

    __slots__ = ("high", "low")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.low = np.full(shape, np.inf)
        self.high = np.full(shape, -np.inf)

    def add(self, values: Floats, usable: Flags) -> None:
        """Take in values (R, *shape) where usable (R, *shape)."""
        if not len(values):
            return
        whole = bool(usable.all())
        self.low = np.minimum(self.low, (values if whole else np.where(usable, values, np.inf)).min(axis=0))
        self.high = np.maximum(self.high, (values if whole else np.where(usable, values, -np.inf)).max(axis=0))

    @property
    def constant(self) -> Flags:
        """Where all values were the same."""
        return self.low == self.high

    @property
    def zero(self) -> Flags:
        """Where all values were exactly 0."""
        return (self.low == 0) & (self.high == 0)

    @property
    def near_zero(self) -> Flags:
        """Where values come within a tenth of their mid-range of 0 or change sign."""
        smallest = np.where(self.low > 0, self.low, np.where(self.high < 0, -self.high, 0.0))
        middle = np.where(self.low <= self.high, self.low, 0.0) + np.where(self.low <= self.high, self.high, 0.0)
        return smallest < 0.05 * np.abs(middle)


Z95 = 1.959963984540054  # two-sided 95% point of the normal distribution

MEANINGS = {  # of every measure that a diagnosis holds
    "truth": "mean of the truth over draws",
    "mean_estimate": "mean estimate",
    "bias": "mean of estimate less truth",
    "relative_bias": "mean of (estimate less truth) / truth",
    "relative_bias_ratio": "bias / mean truth, where the truth varies",
    "empirical_se": "standard deviation of estimate less truth",
    "between_worlds": "share of the variance of estimate less truth that lies between worlds",
    "mse": "mean of (estimate less truth) squared",
    "rmse": "square root of the mse",
    "mean_se": "mean standard error",
    "model_se": "root of the mean squared standard error",
    "se_error": "100 (model_se / empirical_se - 1): percentage by which standard errors are too large",
    "coverage": "share of 95% intervals that contain the truth",
    "bias_eliminated_coverage": "share of 95% intervals that contain the truth after a shift by the bias",
    "rejection": "share of tests that reject: size where the truth is 0, power elsewhere",
    "size_adjusted_power": "rejection at the critical value that gives the test its size in the null cell",
    "type_s": "share of significant estimates with the wrong sign",
    "type_m": "factor by which significant estimates exaggerate the truth",
    "convergence": "share of fits that succeeded",
}


class Measured(NamedTuple):
    """A measure, its MCSE and the number of fits behind it, all of one shape."""

    value: Floats
    mcse: Floats
    n: Floats


def mean(m: RunningMoments) -> Measured:
    """Mean of x with S_x / sqrt(n): bias, mean estimate, mean SE, MSE and every paired contrast."""
    return Measured(m.average, np.sqrt(m.variance / np.maximum(m.n, 1.0)), m.n)


def empirical_se(m: RunningMoments) -> Measured:
    """S_e with EmpSE sqrt((k - 1) / 4n), k = kurtosis of e (`m` has order 4), right without normality."""
    value = np.sqrt(m.variance)
    mcse = value * np.sqrt(np.maximum(m.kurtosis - 1, 0.0) / (4 * np.maximum(m.n, 1.0)))
    return Measured(value, np.where(m.n > 2, mcse, np.nan), m.n)  # the kurtosis of two values is 1 whatever they are


def root_mean(m: RunningMoments) -> Measured:
    """sqrt(mean x) with MCSE(mean x) / (2 sqrt(mean x)): model SE from V, RMSE from e^2."""
    square = mean(m)
    value = np.sqrt(square.value)
    return Measured(value, np.where(value > 0, square.mcse / (2 * np.where(value > 0, value, 1.0)), square.mcse), m.n)


def proportion(hits: Floats, n: Floats) -> Measured:
    """Share of hits with sqrt(p (1 - p) / n): coverage, rejection, type S, convergence.

    Where nothing or everything was hit, p of the MCSE is Agresti and Coull's (hits + z^2/2) / (n + z^2), n + z^2 its n:
    a share of 0 is not known exactly.
    """
    value = np.where(n > 0, hits, np.nan) / np.maximum(n, 1.0)
    extreme = (hits == 0) | (hits == n)
    cases = np.where(extreme, n + Z95**2, np.maximum(n, 1.0))
    share = np.where(extreme & (n > 0), (hits + Z95**2 / 2) / cases, value)
    return Measured(value, np.sqrt(share * (1 - share) / cases), n)


def not_exact(gap: Measured) -> Measured:
    """The mean of paired differences of two shares: all of one and none of the other are not known exactly."""
    return gap._replace(mcse=np.where(abs(gap.value) == 1, proportion(gap.n, gap.n).mcse, gap.mcse))


def window(error: RunningMoments) -> Floats:
    """Half the width of the window in which densities of estimates' errors are counted: S_e n^(-1/5) / 2."""
    return 0.5 * np.sqrt(error.variance) * np.maximum(error.n, 1.0) ** -0.2


def bias_eliminated_coverage(covered: Tally, slope: Floats, product: Floats, error: RunningMoments) -> Measured:
    """Share B of intervals that cover once moved by the bias, which itself is estimated.

    With h = 1 where a moved interval covers, B(b) is the share that covers when moved by b, and the mean of e moves
    with the draws. The delta method gives the influence h - B + B'(b) (e - b), thus the MCSE
    sqrt((B (1 - B) + 2 B' mean(h (e - b)) + B'^2 S_e^2) / n). slope: B', the difference of the densities of the two
    interval ends at b; product: the sum of h (e - b). At 0 and 1 no less than the MCSE of a known bias.
    """
    known = proportion(covered.hits, covered.n)
    average = product / np.maximum(covered.n, 1.0)
    spread = known.value * (1 - known.value) + 2 * slope * average + slope**2 * error.variance
    mcse = np.sqrt(np.maximum(spread, 0.0) / np.maximum(covered.n, 1.0))
    extreme = (known.value == 0) | (known.value == 1)
    return known._replace(mcse=np.where(extreme, np.fmax(mcse, known.mcse), mcse))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """numerator / denominator, NaN where the denominator is 0 or either is NaN."""
    zero = denominator == 0
    if not zero.any():
        return np.asarray(numerator / denominator)
    return np.where(zero, np.nan, numerator / np.where(zero, 1.0, denominator))


def se_error(mean_variance: Floats, error_variance: Floats) -> Floats:
    """Relative error of the SE, %: 100 (sqrt(mean V) / S_e - 1)."""
    return 100 * (ratio(np.sqrt(mean_variance), np.sqrt(error_variance)) - 1)


def relative_precision(variance_a: Floats, variance_b: Floats) -> Floats:
    """Gain in precision of B over A, %: 100 ((EmpSE_A / EmpSE_B)^2 - 1)."""
    return 100 * (ratio(variance_a, variance_b) - 1)


def mean_without(x: Floats, m: RunningMoments) -> Floats:
    """Mean of the other n - 1 values for each x (R, *shape)."""
    rest = x - m.mean
    rest /= -np.maximum(m.n - 1, 1.0)
    rest += m.mean
    return rest


def variance_without(x: Floats, m: RunningMoments) -> Floats:
    """Sample variance of the other n - 1 values for each x (R, *shape); NaN below three values."""
    rest = x - m.mean
    rest *= rest
    rest *= -m.n / np.maximum(m.n - 1, 1.0)
    rest += m.second
    np.maximum(rest, 0.0, out=rest)
    rest /= np.where(m.n > 2, m.n - 2, np.nan)
    return rest


def jackknifed(value: Floats, without: RunningMoments) -> Measured:
    """A value with the jackknife's MCSE: sqrt((n - 1) / n sum (g_(j) - mean g)^2) over leave-one-out values g_(j)."""
    n = without.n
    spread = np.sqrt(without.second * (n - 1) / np.maximum(n, 1.0), where=n > 1, out=np.full(n.shape, np.nan))
    return Measured(value, spread, n)


def wilson(value: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Wilson's 95% interval of a proportion."""
    n = np.where(n > 0, n, np.nan)
    shrink = 1 + Z95**2 / n
    centre = (value + Z95**2 / (2 * n)) / shrink
    half = Z95 / shrink * np.sqrt(value * (1 - value) / n + Z95**2 / (4 * n**2))
    return np.where(value == 0, 0.0, centre - half), np.where(value == 1, 1.0, centre + half)


def interval(measured: Measured, is_proportion: bool, groups: Floats | None = None) -> tuple[Floats, Floats]:
    """95% Monte Carlo interval: value +- 1.96 MCSE, Wilson's for proportions outside .1 to .9 or with few cases.

    groups: worlds whose spread gives the MCSE, where there are several; 1.96 is then the point of t with one degree of
    freedom less. Wilson's n is the one that gives the MCSE, value (1 - value) / mcse^2, times (1.96 / that point)^2
    (Korn and Graubard 1998), except at 0 and 1.
    """
    value, mcse, n = measured
    point = np.full(value.shape, Z95)
    if groups is not None:
        point = np.where(groups > 1, stdtrit(np.maximum(groups - 1, 1.0), 0.975), Z95)
    low, high = value - point * mcse, value + point * mcse
    if not is_proportion:
        return low, high
    rare = np.minimum(value, 1 - value)
    wide = mcse * point / Z95
    n = np.where((rare > 0) & (mcse > 0), value * (1 - value) / np.where(mcse > 0, wide, 1.0) ** 2, n)
    edge = (rare < 0.1) | (n * rare < 10)
    wilson_low, wilson_high = wilson(value, n)
    return np.where(edge, wilson_low, low), np.where(edge, wilson_high, high)


# What the fits of each world add to each measure: sums of their influences (docs/measures.md).
#
# Every function gives sums (W, *shape) from running moments, or counts, that keep sums by world. Over the fits that
# a measure uses influences have the mean 0, and their mean square over n is the squared MCSE of independent fits,
# up to n / (n - 1).


def of_mean(m: RunningMoments) -> Floats:
    """On a mean: x - mean."""
    return m.totals


def of_root(m: RunningMoments) -> Floats:
    """On the root of a mean: (x - mean) / (2 sqrt(mean))."""
    return ratio(m.totals, 2 * np.sqrt(m.mean))


def of_spread(m: RunningMoments) -> Floats:
    """On a standard deviation S: ((x - mean)^2 - S^2) / (2 S)."""
    variance = m.second / np.maximum(m.n, 1.0)
    return ratio(m.squares - m.counts * variance, 2 * np.sqrt(variance))


def of_ratio(over: RunningMoments, under: RunningMoments) -> Floats:
    """On a ratio g of means: (x - g y) / mean y, in which x and y may stand for x - mean and y - mean."""
    return ratio(over.totals - ratio(over.mean, under.mean) * under.totals, under.mean)


def of_se_error(v: RunningMoments, e: RunningMoments) -> Floats:
    """On 100 (sqrt(mean V) / S_e - 1), by the delta method over both."""
    model, spread = np.sqrt(v.mean), np.sqrt(e.second / np.maximum(e.n, 1.0))
    of_model, of_empirical = ratio(of_root(v), spread), of_spread(e)
    return 100 * (of_model - ratio(model * of_empirical, np.square(spread)))


def of_precision(a: RunningMoments, b: RunningMoments) -> Floats:
    """On the gain in precision 100 (S_a^2 / S_b^2 - 1)."""
    var_a, var_b = (m.second / np.maximum(m.n, 1.0) for m in (a, b))
    part_a, part_b = a.squares - a.counts * var_a, b.squares - b.counts * var_b
    return 100 * ratio(part_a - ratio(var_a, var_b) * part_b, var_b)


def of_share(tally: Tally) -> Floats:
    """On a share: 1[hit] - share."""
    return np.asarray(tally.hits_by_world - tally.counts * (tally.hits / np.maximum(tally.n, 1.0)))
