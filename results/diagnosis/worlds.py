"""Monte Carlo errors where replications share worlds: sums of influences by world, and the sandwich over worlds.

The influence of a fit on a measure m is what it adds to n (m - its expectation), up to terms that vanish. Fits of one
world share what the world holds fixed, so that the sums S_w of the influences of G worlds, not the influences, are
independent (Liang and Zeger 1986; Cameron, Gelbach and Miller 2011):

    MCSE^2 = G / (G - 1) sum_w S_w^2 / n^2

Memory is one number a world, whatever the number of replications.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from results.diagnosis.measures import Measured
from results.diagnosis.moments import RunningMoments, Tally

Floats = NDArray[np.float64]


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


def variance_inflation(hits: Tally) -> Floats:
    """The clustered variance of a share over that of independent fits, 1 or more; 1 where it cannot be told."""
    share = hits.hits / np.maximum(hits.n, 1.0)
    alone = share * (1 - share) / np.maximum(hits.n, 1.0)
    together = clustered(hits.hits_by_world - hits.counts * share, hits.counts) ** 2
    return np.where(alone > 0, np.fmax(together / np.where(alone > 0, alone, 1.0), 1.0), 1.0)


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
    counts = moments.counts
    groups, n = (counts > 0).sum(axis=0).astype(np.float64), counts.sum(axis=0)
    between = (np.square(moments.totals) / np.maximum(counts, 1.0)).sum(axis=0)
    few = (groups < 2) | (n <= groups)
    df_b, df_w = np.where(few, 1.0, groups - 1), np.where(few, 1.0, n - groups)
    size = np.where(few, 1.0, (n - np.square(counts).sum(axis=0) / np.maximum(n, 1.0)) / df_b)
    msb, msw = between / df_b, np.maximum(moments.second - between, 0.0) / df_w
    few |= (msb <= 0) & (msw <= 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = msb / msw

        def share(of: Floats) -> Floats:
            return np.where(few, np.nan, np.where(np.isinf(of), 1.0, np.clip((of - 1) / (of - 1 + size), 0.0, 1.0)))

        value = share(ratio)
        lower, upper = (share(ratio / fdtri(df_b, df_w, p)) for p in (0.975, 0.025))
        spread = 2 * (n - 1) * np.square((1 - value) * (1 + (size - 1) * value)) / (np.square(size) * df_w * df_b)
    return Between(Measured(value, np.where(few, np.nan, np.sqrt(spread)), n), lower, upper)
