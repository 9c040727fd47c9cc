"""Uniform confidence bands: one critical value for many terms, by a multiplier bootstrap of units' influence."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sim.arrays import Floats

Multipliers = Literal["rademacher", "mammen"]

MAMMEN_HIGH = (1 + np.sqrt(5)) / 2
MAMMEN_SHARE = (np.sqrt(5) + 1) / (2 * np.sqrt(5))  # probability of the low value


def multipliers(kind: Multipliers, draws: int, count: int, generator: np.random.Generator) -> Floats:
    """Independent multipliers of mean 0 and variance 1, (B, count).

    rademacher: -1 or 1, equally likely. mammen: (1 - sqrt 5)/2 with probability (sqrt 5 + 1)/(2 sqrt 5), else
    (1 + sqrt 5)/2, whose third moment is 1 (Mammen 1993).
    """
    if kind == "rademacher":
        words = generator.bytes(-(-draws * count // 8))
        bits = np.unpackbits(np.frombuffer(words, dtype=np.uint8), count=draws * count)
        return np.asarray(2.0 * bits.reshape(draws, count) - 1.0, dtype=np.float64)
    low = generator.random((draws, count), dtype=np.float32) < np.float32(MAMMEN_SHARE)
    return np.asarray(MAMMEN_HIGH - np.sqrt(5) * low, dtype=np.float64)


def largest_t(influence: Floats, drawn: Floats) -> Floats:
    """max over terms of |sum_i v_i psi_ki| / se_k in every bootstrap draw, (R, B).

    influence (R, K, N) with se_k^2 = sum_i psi_ki^2; drawn (B, N), or (R, B, N) for multipliers of each replication's
    own. Terms without variation are left out; NaN where no term has any.
    """
    se = np.sqrt(np.vecdot(influence, influence))
    moves = se > 0
    scaled = np.where(moves[:, :, None], influence, 0.0) / np.where(moves, se, 1.0)[:, :, None]
    largest = np.abs(drawn @ scaled.swapaxes(1, 2)).max(axis=2)
    return np.where(moves.any(axis=1)[:, None], largest, np.nan)


def simultaneous_critical_values(influence: Floats, drawn: Floats, alpha: float) -> Floats:
    """Critical values of bands estimate +- c se that cover all terms at once with probability 1 - alpha, (R,).

    The smallest c that at least a share 1 - alpha of the bootstrap draws does not exceed, of `largest_t` (Callaway and
    Sant'Anna 2021, algorithm 1, with the analytic standard error in place of an interquartile range of the draws).
    """
    largest = largest_t(influence, drawn)
    found = np.full(len(largest), np.nan)
    sound = np.isfinite(largest).all(axis=1)
    if sound.any():
        found[sound] = np.quantile(largest[sound], 1 - alpha, axis=1, method="inverted_cdf")
    return found
