"""Cohorts that adopt one after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.designs.parts.adoption import Absorbing, adopting
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import NOT_NEGATIVE, SHARE, Outline, fault
from sim.errors import Problem


@dataclass(frozen=True, slots=True)
class Staggered(Absorbing):
    """Cohorts of units, chosen at random, adopt at their own dates; the others never do.

    cohorts: how many there are, evenly spaced over the periods, or a list of their first treated periods. never: share
    of units that are never treated; 0 treats all. shares: of the units that adopt, those of each cohort in order; by
    default equal ones. Sizes are rounded by largest remainders.
    """

    kind: ClassVar[str] = "staggered"
    ranges: ClassVar = {"never": SHARE, "shares": NOT_NEGATIVE}

    cohorts: int | tuple[int, ...] = 3
    never: float = 0.4
    shares: tuple[float, ...] = ()

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Dates that are no periods, more cohorts than there is room for, shares that do not fit."""
        periods, first, last = outline.periods, outline.periods[0], outline.periods[-1]
        if isinstance(self.cohorts, tuple):
            if wrong := [date for date in self.cohorts if date not in periods[1:]]:
                yield fault(f"cohorts: {wrong[0]}", f"periods after the first, {first} to {last}", "correct cohorts")
            if not self.cohorts or len(set(self.cohorts)) < len(self.cohorts):
                yield fault(f"cohorts = {[*self.cohorts]}", "one period or more, each once", "correct cohorts")
        elif not 1 <= self.cohorts < len(periods):
            what = f"cohorts = {self.cohorts} in {len(periods)} periods"
            yield fault(what, f"1 to {len(periods) - 1}", "choose fewer cohorts")
        if self.shares and (len(self.shares) != self.count or abs(sum(self.shares) - 1) > 1e-9):
            what = f"shares: {len(self.shares)} that sum to {sum(self.shares):g}"
            yield fault(what, f"{self.count} shares that sum to 1", "correct shares")
        if not 1 <= self.treated(outline.units) <= outline.units:
            yield fault(f"never = {self.never:g} of {outline.units} units", "a share that leaves a unit to adopt",
                        "correct never")  # fmt: skip

    @property
    def count(self) -> int:
        """How many cohorts."""
        return len(self.cohorts) if isinstance(self.cohorts, tuple) else self.cohorts

    def treated(self, units: int) -> int:
        """How many units adopt."""
        return units - round(self.never * units)

    def dates(self, periods: tuple[int, ...]) -> Floats:
        """First treated periods of the cohorts."""
        if isinstance(self.cohorts, tuple):
            return np.array(self.cohorts, dtype=np.float64)
        at = [number * len(periods) // (self.cohorts + 1) for number in range(1, self.cohorts + 1)]
        return np.array([periods[max(index, 1)] for index in at], dtype=np.float64)

    def first(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """Units in a random order fill one cohort after the other."""
        count = self.treated(ground.units)
        shares = np.array(self.shares) if self.shares else np.full(self.count, 1 / self.count)
        dates = np.repeat(self.dates(ground.periods), sizes_of(shares, count))
        return adopting(ground.units, rng.permutation(ground.units)[:count], dates)


def sizes_of(shares: Floats, total: int) -> NDArray[np.intp]:
    """Whole numbers in these shares that sum to a total, by largest remainders (ties: the earlier)."""
    exact = np.round(shares * total, 9)
    sizes = np.floor(exact)
    sizes[np.argsort(-(exact - sizes), kind="stable")[: total - int(sizes.sum())]] += 1
    return sizes.astype(np.intp)
