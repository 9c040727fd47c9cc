"""What each fit adds to each measure: its influence, from the totals of the first pass (docs/measures.md).

Every function gives influences (R, *shape) of values of that shape. Over the fits that a measure uses their mean is 0,
and their mean square over n is the squared MCSE of independent fits, up to n / (n - 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from results.diagnosis import measures
from results.diagnosis.moments import RunningMoments, Tally

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def of_mean(x: Floats, m: RunningMoments) -> Floats:
    """On a mean: x - mean."""
    return x - m.mean


def of_root(x: Floats, m: RunningMoments) -> Floats:
    """On the root of a mean: (x - mean) / (2 sqrt(mean))."""
    return measures.ratio(x - m.mean, 2 * np.sqrt(m.mean))


def of_spread(x: Floats, m: RunningMoments) -> Floats:
    """On a standard deviation S: ((x - mean)^2 - S^2) / (2 S)."""
    variance = m.second / np.maximum(m.n, 1.0)
    return measures.ratio(np.square(x - m.mean) - variance, 2 * np.sqrt(variance))


def of_ratio(x: Floats, y: Floats, over: RunningMoments, under: RunningMoments) -> Floats:
    """On a ratio g of means: (x - g y) / mean y."""
    return measures.ratio(x - measures.ratio(over.mean, under.mean) * y, under.mean)


def of_se_error(variance: Floats, error: Floats, v: RunningMoments, e: RunningMoments) -> Floats:
    """On 100 (sqrt(mean V) / S_e - 1), by the delta method over both."""
    model, spread = np.sqrt(v.mean), np.sqrt(e.second / np.maximum(e.n, 1.0))
    of_model, of_empirical = measures.ratio(of_root(variance, v), spread), of_spread(error, e)
    return 100 * (of_model - measures.ratio(model * of_empirical, np.square(spread)))


def of_precision(a: Floats, b: Floats, of_a: RunningMoments, of_b: RunningMoments) -> Floats:
    """On the gain in precision 100 (S_a^2 / S_b^2 - 1)."""
    var_a, var_b = (m.second / np.maximum(m.n, 1.0) for m in (of_a, of_b))
    part_a, part_b = np.square(a - of_a.mean) - var_a, np.square(b - of_b.mean) - var_b
    return 100 * measures.ratio(part_a - measures.ratio(var_a, var_b) * part_b, var_b)


def of_share(hit: Flags, tally: Tally) -> Floats:
    """On a share: 1[hit] - share."""
    return hit - tally.hits / np.maximum(tally.n, 1.0)
