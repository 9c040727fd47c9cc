"""What the fits of each world add to each measure: sums of their influences (docs/measures.md).

Every function gives sums (W, *shape) from running moments, or counts, that keep sums by world. Over the fits that a
measure uses influences have the mean 0, and their mean square over n is the squared MCSE of independent fits, up to
n / (n - 1).
"""

from __future__ import annotations

import numpy as np

from results.diagnosis import measures
from results.diagnosis.moments import RunningMoments, Tally
from sim.arrays import Floats


def of_mean(m: RunningMoments) -> Floats:
    """On a mean: x - mean."""
    return m.totals


def of_root(m: RunningMoments) -> Floats:
    """On the root of a mean: (x - mean) / (2 sqrt(mean))."""
    return measures.ratio(m.totals, 2 * np.sqrt(m.mean))


def of_spread(m: RunningMoments) -> Floats:
    """On a standard deviation S: ((x - mean)^2 - S^2) / (2 S)."""
    variance = m.second / np.maximum(m.n, 1.0)
    return measures.ratio(m.squares - m.counts * variance, 2 * np.sqrt(variance))


def of_ratio(over: RunningMoments, under: RunningMoments) -> Floats:
    """On a ratio g of means: (x - g y) / mean y, in which x and y may stand for x - mean and y - mean."""
    return measures.ratio(over.totals - measures.ratio(over.mean, under.mean) * under.totals, under.mean)


def of_se_error(v: RunningMoments, e: RunningMoments) -> Floats:
    """On 100 (sqrt(mean V) / S_e - 1), by the delta method over both."""
    model, spread = np.sqrt(v.mean), np.sqrt(e.second / np.maximum(e.n, 1.0))
    of_model, of_empirical = measures.ratio(of_root(v), spread), of_spread(e)
    return 100 * (of_model - measures.ratio(model * of_empirical, np.square(spread)))


def of_precision(a: RunningMoments, b: RunningMoments) -> Floats:
    """On the gain in precision 100 (S_a^2 / S_b^2 - 1)."""
    var_a, var_b = (m.second / np.maximum(m.n, 1.0) for m in (a, b))
    part_a, part_b = a.squares - a.counts * var_a, b.squares - b.counts * var_b
    return 100 * measures.ratio(part_a - measures.ratio(var_a, var_b) * part_b, var_b)


def of_share(tally: Tally) -> Floats:
    """On a share: 1[hit] - share."""
    return np.asarray(tally.hits_by_world - tally.counts * (tally.hits / np.maximum(tally.n, 1.0)))
