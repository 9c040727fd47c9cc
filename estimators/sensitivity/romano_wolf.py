"""p values of several hypotheses that hold together: the step-down of Romano and Wolf (2005), by random signs.

Statistics under the null are drawn by giving the scores of every cluster, in all regressions alike, one random sign:
the dependence between hypotheses is kept.
"""

from __future__ import annotations

import numpy as np

from sim.arrays import Floats


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
