"""A treatment that switches on and off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.arrays import Floats
from sim.designs.parts.adoption import Adoption
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import SHARE, Outline, fault
from sim.errors import Problem


@dataclass(frozen=True, slots=True)
class Switching(Adoption):
    """A dummy of some units that comes and goes; nobody is treated in the first period.

    on: probability that an untreated unit is treated in the next period. off: probability that a treated one is not.
    share: of units that may be treated at all, chosen at random. Where nobody ever is, one of them is in the last
    period.
    """

    kind: ClassVar[str] = "switching"
    ranges: ClassVar = {"on": SHARE, "off": SHARE, "share": SHARE}

    on: float = 0.2
    off: float = 0.3
    share: float = 1.0

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Nobody who may be treated, or a panel of one period."""
        if len(outline.periods) < 2:
            yield fault("a treatment that switches on needs an earlier period", "periods of 2 or more", "set periods")
        if round(self.share * outline.units) < 1:
            yield fault(f"share = {self.share:g} of {outline.units} units", "a share of 1 unit or more",
                        "correct share")  # fmt: skip

    def path(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """A chain of two states a unit."""
        (periods, units), out = ground.shape, np.zeros(ground.shape)
        may = rng.permutation(units)[: round(self.share * units)]
        moves = rng.random((periods, len(may)))
        for t in range(1, periods):
            treated = out[t - 1, may] > 0
            out[t, may] = np.where(treated, moves[t] >= self.off, moves[t] < self.on)
        if not out.any():
            out[-1, may[0]] = 1.0
        return out
