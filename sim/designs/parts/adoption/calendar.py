"""A given calendar: so many units at each date."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from sim.arrays import Floats
from sim.designs.parts.adoption import Absorbing, adopting
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import FINITE, Outline, fault
from sim.errors import Problem


@dataclass(frozen=True, slots=True)
class Calendar(Absorbing):
    """Given numbers of units adopt at given dates; who does is drawn.

    dates: pairs of a period and the number of units that adopt in it. on_prosperity: how much likelier prosperous units
    adopt: the weight of prosperity beside a Gumbel draw in the score by which units are ranked; 0 is at random.
    """

    kind: ClassVar[str] = "calendar"
    ranges: ClassVar = {"on_prosperity": FINITE}

    dates: tuple[tuple[int, int], ...] = ()
    on_prosperity: float = 0.0

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Dates that are no periods, more units than there are."""
        first, last = outline.periods[0], outline.periods[-1]
        for year, count in self.dates:
            if year not in outline.periods[1:]:
                yield fault(f"dates: {year}", f"periods after the first, {first} to {last}", "correct dates")
            if count < 0:
                yield fault(f"dates: {count} units in {year}", "0 or more", "correct dates")
        total = sum(count for _, count in self.dates)
        if not 1 <= total < outline.units:
            what = f"dates treat {total} of {outline.units} units"
            yield fault(what, f"1 to {outline.units - 1}", "give pairs such as [2010, 12]")

    def first(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """Units by their score (Gumbel top-k), dates among them at random."""
        dates, several = _in_order(self.dates)
        score = self.on_prosperity * ground.places.prosperity + rng.gumbel(size=ground.units)
        chosen = (-score).argsort()[: dates.size]
        return adopting(ground.units, chosen, rng.permutation(dates) if several else dates)


@lru_cache(maxsize=256)
def _in_order(dates: tuple[tuple[int, int], ...]) -> tuple[Floats, bool]:
    """The date of every unit that adopts, and whether they differ."""
    whole = np.repeat([year for year, _ in dates], [count for _, count in dates]).astype(np.float64)
    return whole, bool(np.ptp(whole))
