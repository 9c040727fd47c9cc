"""Monte Carlo errors where replications share worlds: sums of influences by world, and the sandwich over worlds.

The influence of a fit on a measure m is what it adds to n (m - its expectation), up to terms that vanish. Fits of one
world share what the world holds fixed, so that the sums S_w of the influences of G worlds, not the influences, are
independent (Liang and Zeger 1986; Cameron, Gelbach and Miller 2011):

    MCSE^2 = G / (G - 1) sum_w S_w^2 / n^2

Memory is one number a world, whatever the number of replications.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri, fdtri

from results.diagnosis import measures
from results.diagnosis.measures import Measured
from results.diagnosis.moments import RunningMoments, Tally
from sim.arrays import Flags, Floats


def clustered(total: Floats, n: Floats) -> Floats:
    """The MCSE of the module's formula from sums of influences and counts, (W, *shape); NaN below two worlds."""
    groups, fits = (n > 0).sum(axis=0), n.sum(axis=0)
    factor = np.where(groups > 1, groups / np.maximum(groups - 1.0, 1.0), np.nan)
    return np.sqrt(factor * np.square(total).sum(axis=0)) / np.maximum(fits, 1.0)


def widened(measured: Measured, by_world: Floats) -> Measured:
    """A measure whose MCSE is the clustered one, but no less than that of independent fits.

    Given its world a fit is independent of the others of it, so that influences within a world cannot be negatively
    correlated: a clustered MCSE below that of independent fits is noise, of which few worlds give much. Where nothing
    varies (0) or no two worlds are there (NaN) the MCSE stays as it is.
    """
    mcse = np.where(measured.mcse > 0, np.fmax(measured.mcse, by_world), measured.mcse)
    return measured._replace(mcse=mcse)


def bound_factor(worlds: Floats) -> Floats:
    """How many times a clustered MCSE its upper 97.5% confidence bound is, from the numbers of worlds behind it.

    sqrt((G - 1) / q) with q the 2.5% point of chi-squared with G - 1 degrees of freedom, exact for normal worlds; 1 for
    a lone world, whose fits are independent and many.
    """
    freedom = np.maximum(np.asarray(worlds, dtype=np.float64) - 1, 1.0)
    return np.where(np.asarray(worlds) > 1, np.sqrt(freedom / chdtri(freedom, 0.975)), 1.0)


def variance_inflation(hits: Tally) -> Floats:
    """The clustered variance of a share over that of independent fits, 1 or more; 1 where it cannot be told."""
    share = hits.hits / np.maximum(hits.n, 1.0)
    alone = share * (1 - share) / np.maximum(hits.n, 1.0)
    together = clustered(hits.hits_by_world - hits.counts * share, hits.counts) ** 2
    return np.where(alone > 0, np.fmax(together / np.where(alone > 0, alone, 1.0), 1.0), 1.0)


class _Parts(NamedTuple):
    """Mean squares of a one-way analysis of variance by world, with their degrees of freedom, each (K,).

    size: n_0, the fits of a world (their effective number where worlds differ). few: where there are not two worlds
    with more fits than worlds; all else is then without meaning.
    """

    between: Floats
    within: Floats
    df_between: Floats
    df_within: Floats
    size: Floats
    few: Flags


def _parts(moments: RunningMoments) -> _Parts:
    """The mean squares of x, from moments that keep sums by world."""
    counts = moments.counts
    groups, n = (counts > 0).sum(axis=0).astype(np.float64), counts.sum(axis=0)
    between = (np.square(moments.totals) / np.maximum(counts, 1.0)).sum(axis=0)
    few = (groups < 2) | (n <= groups)
    df_b, df_w = np.where(few, 1.0, groups - 1), np.where(few, 1.0, n - groups)
    size = np.where(few, 1.0, (n - np.square(counts).sum(axis=0) / np.maximum(n, 1.0)) / df_b)
    return _Parts(between / df_b, np.maximum(moments.second - between, 0.0) / df_w, df_b, df_w, size, few)


def variance_over_worlds(moments: RunningMoments) -> Floats:
    """The variance of x over all that is drawn, sigma_b^2 + sigma_w^2, without bias however few the worlds are, (K,).

    The sample variance leaves out a part sigma_b^2 / G of it: G worlds lie about their own mean. Here it is
    MSB / n_0 + (1 - 1 / n_0) MSW, whose expectation is the sum of both components for worlds of any size (Searle 1971,
    Linear Models, 10.1). The sample variance where worlds are not told apart, or there are not two.
    """
    if not len(moments.counts):
        return moments.variance
    parts = _parts(moments)
    both = parts.between / parts.size + (1 - 1 / parts.size) * parts.within
    return np.where(parts.few, moments.variance, both)


def spread_over_worlds(moments: RunningMoments) -> Measured:
    """The standard deviation of x over all that is drawn, from moments of order 4 that keep sums by world, (K,).

    Its MCSE is that of independent fits, or where it is larger that of normal worlds: the variance of the sum above is
    2 (MSB / n_0)^2 / (G + 1) + 2 ((1 - 1 / n_0) MSW)^2 / (n - G + 2), unbiased for normal x. The kurtosis of a few
    worlds cannot be seen in their own spread, so that a sandwich alone is too small by sqrt((G - 2) / (G - 1)).
    """
    alone = measures.empirical_se(moments)
    if not len(moments.counts):
        return alone
    value, parts = np.sqrt(variance_over_worlds(moments)), _parts(moments)
    of_between = np.square(parts.between / parts.size) / (parts.df_between + 2)
    of_within = np.square((1 - 1 / parts.size) * parts.within) / (parts.df_within + 2)
    normal = measures.ratio(np.sqrt(2 * (of_between + of_within)), 2 * value)
    mcse = np.where(parts.few | ~(alone.mcse > 0), alone.mcse, np.fmax(alone.mcse, normal))
    return Measured(value, mcse, alone.n)


@dataclass(frozen=True, slots=True)
class Between:
    """The share of a variance that lies between worlds, with its MCSE, 95% interval and number of fits, each (K,)."""

    measured: Measured
    lower: Floats
    upper: Floats


def between_worlds(moments: RunningMoments) -> Between:
    """One-way analysis of variance of x, from moments that keep sums by world.

    sigma_b^2 / (sigma_b^2 + sigma_w^2) with sigma_b^2 = (MSB - MSW) / n_0, clipped to [0, 1]; its MCSE is that of
    Swiger et al. (1964, Biometrics 20:818), its interval Searle's (1971, Linear Models, 9.6) from F = MSB / MSW, exact
    for normal x and worlds of one size.
    """
    msb, msw, df_b, df_w, size, few = _parts(moments)
    n = moments.counts.sum(axis=0)
    few |= (msb <= 0) & (msw <= 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = msb / msw

        def share(of: Floats) -> Floats:
            return np.where(few, np.nan, np.where(np.isinf(of), 1.0, np.clip((of - 1) / (of - 1 + size), 0.0, 1.0)))

        value = share(ratio)
        lower, upper = (share(ratio / fdtri(df_b, df_w, p)) for p in (0.975, 0.025))
        spread = 2 * (n - 1) * np.square((1 - value) * (1 + (size - 1) * value)) / (np.square(size) * df_w * df_b)
    return Between(Measured(value, np.where(few, np.nan, np.sqrt(spread)), n), lower, upper)
