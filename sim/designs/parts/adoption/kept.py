"""The treatment of the panel that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.arrays import Floats
from sim.designs.parts.adoption import Absorbing
from sim.designs.parts.ground import Ground


@dataclass(frozen=True, slots=True)
class Kept(Absorbing):
    """The real calendar: who is treated when, as in the panel of the geography "kept".

    variable: the treatment there.
    """

    kind: ClassVar[str] = "kept"

    variable: str = "did"

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Nothing is drawn."""
        return ()

    def first(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """The first treated period of each unit."""
        treated = ground.places.variable(self.variable, "[design.adoption] variable") > 0
        return np.where(treated.any(axis=0), ground.years[treated.argmax(axis=0)], np.inf)
