"""Performance measures of estimators and their Monte Carlo standard errors (MCSE), as functions of arrays.

Errors e = estimate - truth of that draw; V = se^2; n usable fits. Sources: Morris, White and Crowther (2019, Statistics
in Medicine 38:2074, table 6); Boos and Zhang (2000); Gelman and Carlin (2014) for type S and M; Wilson (1927); Agresti
and Coull (1998, The American Statistician 52:119) for the MCSE of shares of 0 and 1. Every function takes arrays of any
one shape and returns value and MCSE of that shape, NaN where too few fits are usable.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from results.diagnosis.moments import RunningMoments, Tally
from sim.arrays import Floats

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
