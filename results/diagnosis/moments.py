"""Running moments of many numbers at once, merged block by block so that memory does not grow with replications."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class RunningMoments:
    """Count, mean and central sums up to `order` (2 or 4) of each element of a shape.

    Every block is centred on its own mean and merged by the pairwise formulas of Pebay (2008, SAND2008-6212), which
    lose no digits to a mean that is large beside the spread, nor to an outlier in the first block.
    """

    __slots__ = ("fourth", "mean", "n", "order", "second", "third")

    def __init__(self, shape: tuple[int, ...], order: int = 2) -> None:
        self.order = order
        self.n = np.zeros(shape)
        self.mean = np.zeros(shape)
        self.second = np.zeros(shape)  # sum (x - mean)^2
        self.third = np.zeros(shape)
        self.fourth = np.zeros(shape)

    def add(self, values: Floats, usable: Flags) -> None:
        """Take in values (R, *shape) where usable (R, *shape)."""
        other = RunningMoments(self.n.shape, self.order)
        whole = bool(usable.all())  # as a rule; then nothing need be left out, which takes as long as the sums
        other.n = np.full(self.n.shape, float(len(values))) if whole else usable.sum(axis=0).astype(np.float64)
        count = np.maximum(other.n, 1.0)
        other.mean = (values if whole else np.where(usable, values, 0.0)).sum(axis=0) / count
        deviation = (values if whole else np.where(usable, values, other.mean)) - other.mean
        square = deviation * deviation
        other.second = square.sum(axis=0)
        if self.order == 4:
            other.third = (square * deviation).sum(axis=0)
            other.fourth = (square * square).sum(axis=0)
        self._merge(other)

    def _merge(self, b: RunningMoments) -> None:
        na, nb = self.n, b.n
        n = na + nb
        safe = np.maximum(n, 1.0)
        delta = b.mean - self.mean
        step = delta / safe
        if self.order == 4:
            self.fourth += (
                b.fourth
                + delta * step**3 * na * nb * (na * na - na * nb + nb * nb)
                + 6 * step**2 * (na * na * b.second + nb * nb * self.second)
                + 4 * step * (na * b.third - nb * self.third)
            )
            self.third += (
                b.third + delta * step**2 * na * nb * (na - nb) + 3 * step * (na * b.second - nb * self.second)
            )
        self.second += b.second + delta * step * na * nb
        self.mean = self.mean + step * nb
        self.n = n

    @property
    def average(self) -> Floats:
        """The mean, NaN where nothing was counted."""
        return np.where(self.n > 0, self.mean, np.nan)

    @property
    def variance(self) -> Floats:
        """The sample variance (n - 1), NaN below two values."""
        return np.where(self.n > 1, self.second, np.nan) / np.maximum(self.n - 1, 1.0)

    @property
    def kurtosis(self) -> Floats:
        """n sum (x - mean)^4 / (sum (x - mean)^2)^2; 3 for the normal distribution, 1 where nothing varies."""
        varies = self.second > 0
        return np.where(varies, self.n * self.fourth / np.where(varies, self.second, 1.0) ** 2, 1.0)


class Tally:
    """Counts of trials and hits, each of some shape."""

    __slots__ = ("hits", "n")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.n = np.zeros(shape)
        self.hits = np.zeros(shape)

    def add(self, hit: Flags, usable: Flags) -> None:
        """Take in hits (R, *shape) where usable (R, *shape)."""
        if usable.all():
            self.n += len(hit)
            self.hits += np.count_nonzero(hit, axis=0)
            return
        self.n += np.count_nonzero(usable, axis=0)
        self.hits += np.count_nonzero(hit & usable, axis=0)


class Extremes:
    """Smallest and largest value of each element of a shape; infinite where nothing was counted."""

    __slots__ = ("high", "low")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.low = np.full(shape, np.inf)
        self.high = np.full(shape, -np.inf)

    def add(self, values: Floats, usable: Flags) -> None:
        """Take in values (R, *shape) where usable (R, *shape)."""
        if not len(values):
            return
        whole = bool(usable.all())
        self.low = np.minimum(self.low, (values if whole else np.where(usable, values, np.inf)).min(axis=0))
        self.high = np.maximum(self.high, (values if whole else np.where(usable, values, -np.inf)).max(axis=0))

    @property
    def constant(self) -> Flags:
        """Where all values were the same."""
        return self.low == self.high

    @property
    def zero(self) -> Flags:
        """Where all values were exactly 0."""
        return (self.low == 0) & (self.high == 0)

    @property
    def near_zero(self) -> Flags:
        """Where values come within a tenth of their mid-range of 0 or change sign."""
        smallest = np.where(self.low > 0, self.low, np.where(self.high < 0, -self.high, 0.0))
        middle = np.where(self.low <= self.high, self.low, 0.0) + np.where(self.low <= self.high, self.high, 0.0)
        return smallest < 0.05 * np.abs(middle)
