"""Running moments of many numbers at once, merged piece by piece so that memory does not grow with replications.

Where replications share worlds, sums by world are kept beside them: one number a world, whatever the replications.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.diagnosis.grouping import Grouping
from sim.arrays import Flags, Floats


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """What the usable values of some fits add to running moments: their count, mean and central sums, (*shape).

    third, fourth: None below order 4. rows, by_world: counts, sums of x - mean and of (x - mean)^2 by world, each
    (G, *shape) or one that broadcasts to it; None where worlds are not told apart.
    """

    n: Floats
    mean: Floats
    second: Floats
    third: Floats | None = None
    fourth: Floats | None = None
    rows: Grouping | None = None
    by_world: tuple[Floats, Floats, Floats] | None = None

    @classmethod
    def of(cls, values: Floats, usable: Flags, rows: Grouping | None = None, order: int = 2) -> Piece:
        """From values (R, *shape) where usable (R, *shape); rows: by world, None = worlds are not told apart."""
        if usable.all():  # as a rule; then nothing need be left out, which takes as long as the sums
            n = np.full(values.shape[1:], float(len(values)))
            mean = values.sum(axis=0) / np.maximum(n, 1.0)
            deviation = values - mean
        else:
            n = np.count_nonzero(usable, axis=0).astype(np.float64)
            mean = _kept(values, usable).sum(axis=0) / np.maximum(n, 1.0)
            deviation = _kept(values - mean, usable)
        square, third, fourth = deviation * deviation, None, None
        second = square.sum(axis=0)
        by_world = None if rows is None else (rows.counted(usable), rows.sums(deviation), rows.sums(square))
        if order == 4:
            deviation *= square
            square *= square
            third, fourth = deviation.sum(axis=0), square.sum(axis=0)
        return cls(n, mean, second, third, fourth, rows, by_world)

    @property
    def by_error(self) -> Piece:
        """The same of every error type, (K,) as (1, K), up to order 2."""
        of_world = None
        if self.by_world is not None:
            n, total, square = (part[:, None] for part in self.by_world)
            of_world = n, total, square
        return Piece(self.n[None], self.mean[None], self.second[None], rows=self.rows, by_world=of_world)


def _kept(values: Floats, usable: Flags) -> Floats:
    """Values with 0 where they are not usable; a product takes a third of the time, but makes NaN of what is none."""
    with np.errstate(invalid="ignore", over="ignore"):
        finite = np.isfinite(values.sum())
    return values * usable if finite else np.where(usable, values, 0.0)


class RunningMoments:
    """Count, mean and central sums up to `order` (2 or 4) of each element of a shape, and sums by world.

    Every piece is centred on its own mean and merged by the pairwise formulas of Pebay (2008, SAND2008-6212), which
    lose no digits to a mean that is large beside the spread, nor to an outlier in the first piece. Sums by world are
    kept about the mean of the first piece, which is as near to the mean as its spread says.
    """

    __slots__ = ("_by_world", "_centre", "fourth", "mean", "n", "order", "second", "third")

    def __init__(self, shape: tuple[int, ...], order: int = 2, worlds: int = 1) -> None:
        self.order = order
        self.n = np.zeros(shape)
        self.mean = np.zeros(shape)
        self.second = np.zeros(shape)  # sum (x - mean)^2
        self.third = np.zeros(shape)
        self.fourth = np.zeros(shape)
        self._centre = np.zeros(shape)
        self._by_world = np.zeros((3, worlds if worlds > 1 else 0, *shape))

    def add(self, values: Floats, usable: Flags, rows: Grouping | None = None) -> None:
        """Take in values (R, *shape) where usable (R, *shape); rows: by world where sums by world are kept."""
        self.merge(Piece.of(values, usable, rows, self.order))

    def merge(self, b: Piece) -> None:
        """Take in a piece."""
        if b.rows is not None and b.by_world is not None:
            self._merge_by_world(b.rows, b.mean, b.by_world)
        na, nb = self.n, b.n
        n = na + nb
        safe = np.maximum(n, 1.0)
        delta = b.mean - self.mean
        step = delta / safe
        if b.third is not None and b.fourth is not None:
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

    def _merge_by_world(self, rows: Grouping, mean: Floats, sums: tuple[Floats, Floats, Floats]) -> None:
        """Take in sums by world about the mean of a piece."""
        self._centre = np.where(self.n > 0, self._centre, mean)
        n, total, square = sums
        at, move = rows.places(self._by_world.shape[1]), mean - self._centre
        moved = n * move
        self._by_world[0, at] += n
        self._by_world[1, at] += total + moved
        moved += total
        moved += total
        moved *= move
        self._by_world[2, at] += square + moved

    @property
    def counts(self) -> Floats:
        """Counts by world, (W, *shape)."""
        return self._by_world[0]

    @property
    def totals(self) -> Floats:
        """Sums of x - mean by world, (W, *shape)."""
        n, total, _ = self._by_world
        return np.asarray(total - n * (self.mean - self._centre))

    @property
    def squares(self) -> Floats:
        """Sums of (x - mean)^2 by world, (W, *shape)."""
        n, total, square = self._by_world
        move = self.mean - self._centre
        return np.asarray(square - (2 * total - n * move) * move)

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
    """Counts of trials and hits, each of some shape, and by world (W, *shape)."""

    __slots__ = ("counts", "hits", "hits_by_world", "n")

    def __init__(self, shape: tuple[int, ...], worlds: int = 1) -> None:
        self.n = np.zeros(shape)
        self.hits = np.zeros(shape)
        self.counts = np.zeros((worlds if worlds > 1 else 0, *shape))
        self.hits_by_world = np.zeros_like(self.counts)

    def add(self, hit: Flags, usable: Flags, rows: Grouping | None = None) -> None:
        """Take in hits (R, *shape) where usable (R, *shape); rows: by world where counts by world are kept."""
        if not usable.all():
            hit = hit & usable
        if rows is None:
            self.n += np.count_nonzero(usable, axis=0)
            self.hits += np.count_nonzero(hit, axis=0)
            return
        at, counts, hits = rows.places(len(self.counts)), rows.counted(usable), rows.sums(hit)
        self.counts[at] += counts
        self.hits_by_world[at] += hits
        self.n += counts.sum(axis=0)
        self.hits += hits.sum(axis=0)


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
