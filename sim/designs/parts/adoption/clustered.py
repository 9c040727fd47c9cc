"""Whole groups that adopt together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.arrays import Floats
from sim.designs.parts.adoption import Absorbing, adopting, date_problems, one_date
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import SHARE, Outline, fault
from sim.errors import Problem


@dataclass(frozen=True, slots=True)
class Clustered(Absorbing):
    """All units of some groups of the geography, chosen at random, adopt at one date.

    treated: how many groups adopt. share: of groups that adopt, where treated is not set. date: the first treated
    period; by default the one after the middle. last_periods: number of treated periods, in place of date.
    """

    kind: ClassVar[str] = "clustered"
    ranges: ClassVar = {"share": SHARE}

    treated: int | None = None
    share: float = 0.5
    date: int | None = None
    last_periods: int | None = None

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Numbers of groups and dates that the panel does not have."""
        yield from date_problems(self.date, self.last_periods, outline)
        if outline.groups < 2:
            yield fault(f"whole groups adopt, but the geography has {outline.groups}", "2 groups or more",
                        "set groups in [design.geography]")  # fmt: skip
        elif not 1 <= self._count(outline.groups) < outline.groups:
            dial, value = ("share", self.share) if self.treated is None else ("treated", self.treated)
            yield fault(f"{dial} = {value:g} of {outline.groups} groups", f"1 to {outline.groups - 1} groups",
                        f"correct {dial}")  # fmt: skip

    def _count(self, groups: int) -> int:
        return round(self.share * groups) if self.treated is None else self.treated

    def first(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """One draw of the groups."""
        codes = ground.places.group
        present = np.unique(codes)
        chosen = rng.permutation(present)[: self._count(len(present))]
        date = one_date(self.date, self.last_periods, ground)
        return adopting(ground.units, np.flatnonzero(np.isin(codes, chosen)), date)
