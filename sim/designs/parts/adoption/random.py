"""Units that adopt at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.arrays import Floats
from sim.designs.parts.adoption import Absorbing, adopting, date_problems, one_date, treated_problems
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import SHARE, Outline, fault
from sim.errors import Problem


@dataclass(frozen=True, slots=True)
class Random(Absorbing):
    """A number of units, chosen at random, adopt at one date.

    treated: how many units adopt. share: of units that adopt, where treated is not set. independent: whether each unit
    adopts with probability share on its own, so that their number is random. most: with independent, the largest number
    that adopt; others, chosen at random, are left out, and where nobody adopts so many units do. date: the first
    treated period; by default the one after the middle. last_periods: number of treated periods, in place of date.
    dates: first and last period between which the common date is drawn, in place of date.
    """

    kind: ClassVar[str] = "random"
    ranges: ClassVar = {"share": SHARE}

    treated: int | None = None
    share: float = 0.5
    independent: bool = False
    most: int | None = None
    date: int | None = None
    last_periods: int | None = None
    dates: tuple[int, int] | None = None

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Numbers of units and dates that the panel does not have."""
        yield from treated_problems(self.treated, outline)
        yield from date_problems(self.date, self.last_periods, outline)
        if self.treated is None and not self.independent and not 1 <= round(self.share * outline.units) < outline.units:
            what = f"share = {self.share:g} of {outline.units} units"
            yield fault(what, "a share of 1 unit to all but 1", "correct share")
        if self.most is not None and not 1 <= self.most < outline.units:
            yield fault(f"most = {self.most} of {outline.units} units", f"1 to {outline.units - 1}", "correct most")
        if self.dates is not None:
            low, high = self.dates
            if not (outline.periods[0] < low <= high <= outline.periods[-1]):
                allowed = f"two periods after the first, in order, up to {outline.periods[-1]}"
                yield fault(f"dates = [{low}, {high}]", allowed, "correct dates")

    def first(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """One draw of who adopts and when."""
        date = one_date(self.date, self.last_periods, ground)
        if self.dates is not None:
            date = float(rng.integers(self.dates[0], self.dates[1] + 1))
        if self.independent:
            return adopting(ground.units, drawn(np.full(ground.units, self.share), self.most, rng), date)
        count = self.treated if self.treated is not None else round(self.share * ground.units)
        return adopting(ground.units, rng.permutation(ground.units)[:count], date)


def drawn(chances: Floats, most: int | None, rng: np.random.Generator) -> np.ndarray:
    """Units that adopt with probabilities (N,), each on its own: at most `most` of them, so many where nobody does."""
    chosen = np.flatnonzero(rng.random(chances.size) < chances)
    if most is None:
        return chosen
    if not chosen.size:
        return rng.permutation(chances.size)[:most]
    return rng.permutation(chosen)[:most]
