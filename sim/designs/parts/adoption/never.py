"""No unit adopts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.arrays import Floats
from sim.designs.parts.adoption import Absorbing
from sim.designs.parts.ground import Ground


@dataclass(frozen=True, slots=True)
class Never(Absorbing):
    """A panel without a treatment variable, as for models of covariates alone."""

    kind: ClassVar[str] = "never"

    @property
    def treats(self) -> bool:
        """Nobody."""
        return False

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def first(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """Never, for all."""
        return np.full(ground.units, np.inf)
