"""What a test of pre-trends can and cannot see: its power, and the bias that remains after passing (Roth 2022).

Event-study estimates are ordered in time, K = pre + post of them, without the reference period, which lies between the
two; consecutive ones are one period apart, so that a linear trend of slope s is s (-pre, ..., -1, 1, ..., post). They
are normal with covariance sigma. The test is passed when no estimate before the reference is significant by itself
("individual", the paper's main case), or when their Wald statistic is below its critical value ("joint"): of
chi-square or, where the covariance is itself an estimate from some clusters of treated units, of Hotelling's T^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtri, chndtr, fdtri, ncfdtr, ndtr, ndtri

from sim.arrays import Floats
from sim.errors import bad, one_of

PreTest = Literal["individual", "joint"]

POINTS = 15  # log2 of the points of the integration: probabilities are good to about 1e-5, of one estimate exact


@dataclass(frozen=True, eq=False, slots=True)
class AfterPassing:
    """What a hypothesised difference in trends does to a study whose pre-trends are tested first.

    trend (K,): the difference in trends, with the bias of the untested estimates after the reference period; power: the
    probability that the test finds it; expected (K,): means of the estimates given that it does not, when there is no
    effect (after the reference period: the bias). bayes_factor: probability of passing under the trend over that under
    parallel trends.
    """

    trend: Floats
    power: float
    expected: Floats
    bayes_factor: float


@dataclass(frozen=True, eq=False, slots=True)
class PreTrendPower:
    """A study's pre-trend test: its size, and for each power the linear trend that it finds so often.

    size: probability of rejecting parallel trends; slopes (P,): a period's change of the difference in trends (a
    falling one is found as often); after: what those trends do. likelihood_ratio (P,): of the estimates before the
    reference period, under the trend (of the sign that suits them better) against parallel trends.
    """

    size: float
    slopes: Floats
    after: tuple[AfterPassing, ...]
    likelihood_ratio: Floats


def linear_trend(pre: int, post: int, slope: float = 1.0) -> Floats:
    """A linear difference in trends that is zero at the reference period, (K,)."""
    return slope * np.r_[np.arange(-pre, 0), np.arange(1, post + 1)]


def power(
    sigma: Floats, pre: int, trend: Floats, test: PreTest = "individual", level: float = 0.05, treated: float = np.inf
) -> float:
    """Probability that the test rejects when the difference in trends is `trend` (K,) and the covariance sigma (K, K).

    treated: clusters that hold treated units, for a joint test by Hotelling's T^2; inf where sigma is known. Raises
    BadInput for shapes that do not fit, a covariance that is not positive definite, too few clusters and an unknown
    test.
    """
    _check(sigma, pre, trend, test, level, treated)
    return 1.0 - _passing(sigma[:pre, :pre], trend[:pre], test, level, treated)[0]


def slope_found(
    sigma: Floats, pre: int, share: float, test: PreTest = "individual", level: float = 0.05, treated: float = np.inf
) -> float:
    """The slope a period of the linear trend that the test finds with probability `share`; raises BadInput.

    share lies above the test's size and below one. treated: see `power`.
    """
    unit = linear_trend(pre, len(sigma) - pre)
    size = power(sigma, pre, 0.0 * unit, test, level, treated)
    if not size < share < 1.0:
        raise bad(f"power = {share}", where="pre-trend test", allowed=f"above the test's size of {size:.4f}, below 1",
                  remedy="ask for another power")  # fmt: skip
    high = float(np.sqrt(sigma.diagonal()[:pre]).min())
    while power(sigma, pre, high * unit, test, level, treated) < share:
        high *= 2.0
    found = brentq(lambda slope: power(sigma, pre, slope * unit, test, level, treated) - share, 0.0, high, xtol=1e-14)
    return float(found)


def after_passing(
    sigma: Floats, pre: int, trend: Floats, test: PreTest = "individual", level: float = 0.05, treated: float = np.inf
) -> AfterPassing:
    """Means of all estimates given that the test is passed (Roth 2022, proposition 1); raises BadInput.

    After the reference period the mean is trend_post + sigma_21 sigma_11^-1 (E[estimate_pre | passed] - trend_pre).
    treated: see `power`.
    """
    _check(sigma, pre, trend, test, level, treated)
    own = sigma[:pre, :pre]
    probability, mean = _passing(own, trend[:pre], test, level, treated)
    parallel = _passing(own, np.zeros(pre), test, level, treated)[0]
    later = trend[pre:] + sigma[pre:, :pre] @ np.linalg.solve(own, mean - trend[:pre])
    return AfterPassing(trend, 1.0 - probability, np.r_[mean, later], probability / parallel)


def pretrend_power(
    beta: Floats,
    sigma: Floats,
    pre: int,
    powers: tuple[float, ...] = (0.5, 0.8),
    test: PreTest = "individual",
    level: float = 0.05,
    treated: float = np.inf,
) -> PreTrendPower:
    """The report on estimates beta (K,) with covariance sigma (K, K), the first `pre` of them before the reference.

    treated: see `power`. Raises BadInput for shapes that do not fit, a covariance that is not positive definite, too
    few clusters and an unknown test.
    """
    _check(sigma, pre, beta, test, level, treated)
    slopes = np.array([slope_found(sigma, pre, share, test, level, treated) for share in powers])
    unit = linear_trend(pre, len(beta) - pre)
    precision = np.linalg.solve(sigma[:pre, :pre], np.column_stack([beta[:pre], unit[:pre]]))
    size = power(sigma, pre, 0.0 * unit, test, level, treated)
    ratio = np.exp(np.abs(slopes * (unit[:pre] @ precision[:, 0])) - slopes**2 * (unit[:pre] @ precision[:, 1]) / 2)
    after = tuple(after_passing(sigma, pre, slope * unit, test, level, treated) for slope in slopes)
    return PreTrendPower(size, slopes, after, ratio)


def _check(sigma: Floats, pre: int, values: Floats, test: str, level: float, treated: float) -> None:
    k = len(values)
    faults = {
        f"sigma has shape {sigma.shape}, the estimates {values.shape}": sigma.shape != (k, k) or values.ndim != 1,
        f"pre = {pre}": not 1 <= pre <= k,
        f"test = {test!r}": test not in get_args(PreTest),
        f"level = {level}": not 0 < level < 1,
        f"{treated} clusters of treated units": not treated > pre,
    }
    for fault, present in faults.items():
        if present:
            raise bad(fault, where="pre-trend test", remedy="correct it",
                      allowed=f"sigma (K, K), 1 <= pre <= K, pre < clusters, {one_of(get_args(PreTest))}")  # fmt: skip
    try:
        np.linalg.cholesky(sigma[:pre, :pre])
    except np.linalg.LinAlgError:
        raise bad("the covariance of the estimates is not positive definite", where="pre-trend test",
                  allowed="more clusters than estimates",
                  remedy="shorten the window of event times") from None  # fmt: skip


def _passing(sigma: Floats, mean: Floats, test: PreTest, level: float, treated: float) -> tuple[float, Floats]:
    """Probability that normal estimates (P,) pass, and their means given that they do, (P,).

    T^2 / (treated - 1) is the ratio of b' sigma^-1 b to an independent chi-square with treated - P degrees of freedom.
    """
    if test == "joint":
        k, rest, far = len(mean), treated - len(mean), float(mean @ np.linalg.solve(sigma, mean))
        if np.isfinite(rest):
            limit = float(fdtri(k, rest, 1.0 - level))
            probability = float(ncfdtr(k, rest, far, limit))
            return probability, mean * ncfdtr(k + 2, rest, far, limit * k / (k + 2)) / probability
        limit = float(chdtri(k, level))
        probability = float(chndtr(limit, k, far))
        return probability, mean * chndtr(limit, k + 2, far) / probability
    half = ndtri(1.0 - level / 2.0) * np.sqrt(sigma.diagonal())
    return _in_box(np.linalg.cholesky(sigma), mean, -half - mean, half - mean)


def _in_box(root: Floats, mean: Floats, low: Floats, high: Floats) -> tuple[float, Floats]:
    """Probability that root z, z standard normal, lies between low and high, and the mean of mean + root z if it does.

    One coordinate after the other is drawn within its bounds, given those before (Genz 1992), from the same
    quasi-random points whatever the arguments; the last one is integrated exactly.
    """
    k = len(mean)
    points = _points(k - 1)
    z = np.zeros((len(points), k))
    weight = np.ones(len(points))
    for j in range(k):
        given = z[:, :j] @ root[j, :j]
        lower, upper = (low[j] - given) / root[j, j], (high[j] - given) / root[j, j]
        mirrored = lower + upper > 0  # work in the tail where probabilities keep their digits
        lower, upper = np.where(mirrored, -upper, lower), np.where(mirrored, -lower, upper)
        start, end = ndtr(lower), ndtr(upper)
        inside = np.maximum(end - start, 1e-300)
        if j < k - 1:
            draw = ndtri(np.maximum(start + points[:, j] * inside, 1e-300))
        else:
            draw = (np.exp(-np.square(lower) / 2) - np.exp(-np.square(upper) / 2)) / np.sqrt(2 * np.pi) / inside
        z[:, j] = np.where(mirrored, -draw, draw)
        weight *= inside
    return float(weight.mean()), mean + root @ (weight @ z / weight.sum())


@cache
def _points(axes: int) -> Floats:
    """Points of the unit cube, (M, axes): Sobol's, scrambled once and for all."""
    if axes == 0:
        return np.zeros((1, 0))
    from scipy.stats import qmc  # half a second of imports that nothing else needs

    return np.asarray(qmc.Sobol(axes, scramble=True, rng=1).random_base2(POINTS))
