"""Spatial autocorrelation: Moran's I, Geary's C and local Moran, with the null distributions that give them errors.

Notation: z = y - mean(y), S0 = sum w_ij, S1 = sum (w_ij + w_ji)^2 / 2, S2 = sum_i (w_i. + w_.i)^2. W may be any
matrix of weights with a zero diagonal, symmetric or not, row-stochastic or not. Values are (..., N): leading axes
are replications and periods, each cross-section by itself. A constant cross-section is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.errors import bad
from sim.weights import Weights

Index = Literal["moran", "geary"]

SMALLEST = 4  # units: the moments under randomisation divide by (N - 1)(N - 2)(N - 3)
NO_VARIANCE = 1e-14  # of Moran's I, below which it is a constant and rounding
AT_MEAN = 1e-12  # of the largest deviation, up to which a value is the mean and rounding
AT_ONCE = 2**21  # numbers of simulated cross-sections held at a time
QUADRANTS = {1: "HH", 2: "LH", 3: "LL", 4: "HL"}  # own value first, then the neighbours': High or Low


@dataclass(frozen=True, slots=True)
class LinkSums:
    """N, S0, S1 and S2 of a W."""

    n: int
    s0: float
    s1: float
    s2: float

    @classmethod
    def of(cls, weights: Weights) -> LinkSums:
        """The sums of W; raises BadInput for fewer than four units."""
        w = weights.matrix
        if w.shape[0] < SMALLEST:
            raise bad(f"{w.shape[0]} units", where=f"autocorrelation under weights {weights.name}",
                      allowed=f"{SMALLEST} units or more", remedy="use a panel of more units")  # fmt: skip
        both = w + w.T
        margins = w.sum(axis=0) + w.sum(axis=1)
        return cls(w.shape[0], float(w.sum()), float(both.multiply(both).sum()) / 2, float(margins @ margins))

    @property
    def uniform(self) -> bool:
        """Whether W links all pairs alike: Moran's I is then -1/(N - 1) and Geary's C 1 whatever the values are."""
        return float(null_moments("moran", self)[1]) < NO_VARIANCE


def moran(y: Floats, weights: Weights) -> Floats:
    """Moran's I, (..., N) -> (...): (N/S0) z'Wz / z'z (Cliff and Ord 1981)."""
    return both_indices(y, weights)[0]


def geary(y: Floats, weights: Weights) -> Floats:
    """Geary's C, (..., N) -> (...): (N - 1) sum w_ij (z_i - z_j)^2 / (2 S0 z'z); below 1 where neighbours are alike."""
    return both_indices(y, weights)[1]


def both_indices(y: Floats, weights: Weights) -> Floats:
    """Moran's I and Geary's C from one spatial lag, (..., N) -> (2, ...)."""
    return _of_deviations(deviations(y), weights)


def _of_deviations(z: Floats, weights: Weights) -> Floats:
    n, s0 = z.shape[-1], weights.matrix.sum()
    margins = weights.matrix.sum(axis=0) + weights.matrix.sum(axis=1)
    cross, scale = np.vecdot(z, weights.lag(z)), 1.0 / np.vecdot(z, z)
    return np.stack([n / s0 * cross * scale, (n - 1) / (2 * s0) * (np.square(z) @ margins - 2 * cross) * scale])


def deviations(y: Floats) -> Floats:
    """z over its largest absolute value, (..., N) -> (..., N), NaN where y is constant.

    Nothing here depends on the scale of y, and powers of these numbers neither overflow nor vanish.
    """
    z = y - y.mean(axis=-1, keepdims=True)
    return np.asarray(z / np.where(constant(y), np.nan, np.abs(z).max(axis=-1))[..., None])


def constant(y: Floats) -> NDArray[np.bool_]:
    """Whether a cross-section holds one value, up to rounding, (..., N) -> (...)."""
    return np.ptp(y, axis=-1) <= 1e-12 * np.abs(y).max(axis=-1)


def kurtosis(y: Floats) -> Floats:
    """Fourth central moment over the squared second, (..., N) -> (...)."""
    squares = np.square(deviations(y))
    return np.asarray(np.square(squares).mean(axis=-1) / np.square(squares.mean(axis=-1)))


def null_moments(index: Index, sums: LinkSums, k: Floats | None = None) -> tuple[float, Floats]:
    """Mean and variance of an index without autocorrelation (Cliff and Ord 1981, ch. 2).

    k = None: under normality, variance (); k = kurtosis (...): under randomisation, every assignment of the values to
    units equally likely, variance (...).
    """
    n, s0, s1, s2 = sums.n, sums.s0, sums.s1, sums.s2
    if index == "moran":
        mean = -1.0 / (n - 1)
        if k is None:
            return mean, np.asarray((n * n * s1 - n * s2 + 3 * s0**2) / ((n * n - 1) * s0**2) - mean**2)
        plain = n * ((n * n - 3 * n + 3) * s1 - n * s2 + 3 * s0**2)
        tails = k * ((n * n - n) * s1 - 2 * n * s2 + 6 * s0**2)
        return mean, (plain - tails) / ((n - 1) * (n - 2) * (n - 3) * s0**2) - mean**2
    if k is None:
        return 1.0, np.asarray(((2 * s1 + s2) * (n - 1) - 4 * s0**2) / (2 * (n + 1) * s0**2))
    by_links = (n - 1) * s1 * (n * n - 3 * n + 3 - (n - 1) * k)
    by_margins = (n - 1) * s2 * (n * n + 3 * n - 6 - (n * n - n + 2) * k) / 4
    by_total = s0**2 * (n * n - 3 - (n - 1) ** 2 * k)
    return 1.0, (by_links - by_margins + by_total) / (n * (n - 2) * (n - 3) * s0**2)


def permuted_indices(y: Floats, weights: Weights, draws: int, rng: np.random.Generator) -> Floats:
    """Moran's I and Geary's C of values assigned to units at random, (..., N) -> (2, draws, ...).

    One permutation of the units serves all leading axes of a draw, so that what years share stays together.
    """
    n, z = y.shape[-1], deviations(y)
    out = np.empty((2, draws, *y.shape[:-1]))
    for rows in pieces(draws, y.size):
        orders = rng.permuted(np.tile(np.arange(n), (rows.stop - rows.start, 1)), axis=1)
        out[:, rows] = np.moveaxis(_of_deviations(z[..., orders], weights), -1, 1)
    return out


def folded_p_values(simulated: Floats, observed: Floats) -> Floats:
    """Two-sided p-values, (B, ...) against (...): min(1, 2 (1 + c) / (B + 1)), c of B draws in the rarer tail.

    Draws that equal the observed value up to rounding count in both tails.
    """
    return _folded(*_tails(simulated, observed), len(simulated))


def _tails(simulated: Floats, observed: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many draws are at least and at most as large as the observed value."""
    slack = 1e-12 * (1.0 + np.abs(observed))
    return (simulated >= observed - slack).sum(axis=0), (simulated <= observed + slack).sum(axis=0)


def _folded(above: NDArray[np.int64], below: NDArray[np.int64], draws: int) -> Floats:
    return np.minimum(1.0, 2.0 * (1.0 + np.minimum(above, below)) / (draws + 1.0))


def false_discovery_rate(pvalues: Floats) -> Floats:
    """p-values of M tests adjusted for the share of false ones among the rejected (Benjamini-Hochberg 1995), (M,)."""
    order = np.argsort(pvalues, kind="stable")
    steps = pvalues[order] * len(pvalues) / np.arange(1, len(pvalues) + 1)
    out = np.empty(len(pvalues))
    out[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return out


def local_moran(y: Floats, weights: Weights) -> Floats:
    """Local Moran I_i = (N - 1) z_i (Wz)_i / z'z, (..., N) -> (..., N) (Anselin 1995, in esda's scale).

    Their sum is I times S0 (N - 1)/N.
    """
    z = deviations(y)
    return np.asarray((y.shape[-1] - 1) * z * weights.lag(z) / np.vecdot(z, z)[..., None])


def quadrants(y: Floats, weights: Weights) -> NDArray[np.int64]:
    """Where a unit stands in the Moran scatter plot, by the codes of QUADRANTS, (..., N) -> (..., N).

    A value, or neighbours, at the mean up to rounding count as low.
    """
    z = deviations(y)
    lagged = weights.lag(z)
    high, among_high = z > AT_MEAN, lagged > AT_MEAN * weights.matrix.sum(axis=1)
    return np.where(high, np.where(among_high, 1, 4), np.where(among_high, 2, 3))


def local_p_values(y: Floats, weights: Weights, draws: int, rng: np.random.Generator) -> Floats:
    """Two-sided p-values of local Moran by conditional permutation, (N,) -> (N,): see `folded_p_values`.

    A unit keeps its value and all others exchange theirs (Anselin 1995). All units use the same permutations: where one
    moves a unit, its value and the one that took its place change places again, which leaves every order of the others
    equally likely.
    """
    z = deviations(y)
    own, n, lag = np.arange(len(z)), len(z), weights.lag(z)
    above, below = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for rows in pieces(draws, n):
        orders = rng.permuted(np.tile(own, (rows.stop - rows.start, 1)), axis=1)
        moved = z[orders]
        back = weights.dense[own, np.argsort(orders, axis=1)] * (moved - z)
        tails = _tails(z * (weights.lag(moved) + back), z * lag)
        above, below = above + tails[0], below + tails[1]
    return _folded(above, below, draws)


def pieces(draws: int, size: int) -> list[slice]:
    """Slices of the draws that keep to `AT_ONCE` numbers, a draw having `size`."""
    step = max(1, AT_ONCE // size)
    return [slice(start, min(start + step, draws)) for start in range(0, draws, step)]
