"""What is left in the residuals of a panel regression: correlation in time, between units, within groups of units.

Residuals e are (T, N), without unit effects and zero where unobserved; mask (T, N): observed cells, None = all.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from estimators.core.tile import balanced_split
from sim.arrays import Codes, Flags, Floats

NEARLY_ONE = 1.0 - 1e-6


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
    products, squares = _expected_sums(a, np.asarray(seen, dtype=np.float64))
    return products / squares


def bias_corrected(raw: float, seen: Flags) -> float:
    """The a whose expected serial correlation is `raw`; 1 where no stationary one is as high, NaN where raw is."""
    if not np.isfinite(raw) or not seen[:, 1:].any() or raw <= expected_serial(-NEARLY_ONE, seen):
        return float("nan")
    if raw >= expected_serial(NEARLY_ONE, seen):
        return 1.0
    return float(brentq(lambda a: expected_serial(a, seen) - raw, -NEARLY_ONE, NEARLY_ONE, xtol=1e-10))


def _expected_sums(a: float, seen: Floats) -> tuple[float, float]:
    """Expected sums of products of neighbours and of squares of the earlier one, over patterns (P, T)."""
    distance = np.abs(np.subtract.outer(np.arange(seen.shape[1]), np.arange(seen.shape[1])))
    correlation = -distance.astype(np.float64) if a >= 1.0 else np.power(a, distance)
    counts = np.maximum(seen.sum(axis=1), 1.0)
    means = (seen @ correlation) / counts[:, None]  # covariance of a unit's mean with each of its errors, (P, T)
    whole = (means * seen).sum(axis=1) / counts
    near = np.diagonal(correlation, 1) - means[:, 1:] - means[:, :-1] + whole[:, None]
    own = np.diagonal(correlation)[:-1] - 2.0 * means[:, :-1] + whole[:, None]
    pairs = seen[:, 1:] * seen[:, :-1]
    return float((near * pairs).sum()), float((own * pairs).sum())


def standardised(e: Floats) -> Floats:
    """Each unit's residuals around their mean, of length one over its periods, (T, N); zero for a unit of zeros."""
    centred = e - e.mean(axis=0)
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


def group_correlation(e: Floats, codes: Codes) -> float:
    """Mean correlation of the residuals of two units of one group, codes (N,); NaN where no group has two units."""
    return float(_group_means(standardised(e), codes[None])[0])


def permuted_group_correlation(e: Floats, codes: Codes, draws: int, rng: np.random.Generator) -> Floats:
    """The same when units exchange their groups, and keep their whole histories, (draws,)."""
    return _group_means(standardised(e), rng.permuted(np.tile(codes, (draws, 1)), axis=1))


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
