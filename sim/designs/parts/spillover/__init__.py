"""What the treatment of a unit does to others."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from sim.arrays import Floats
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import Part


class SpilloverPart(Part):
    """How the treatment reaches others: through their neighbours' dose, and through neighbours' outcomes (rho)."""

    default: ClassVar[str] = "neighbours"

    rho: float

    @property
    @abstractmethod
    def lag(self) -> float:
        """The coefficient of W D where spillovers are a multiple of neighbours' doses, NaN where they are not."""

    @property
    @abstractmethod
    def reaches(self) -> bool:
        """Whether a neighbour's dose adds anything."""

    @abstractmethod
    def added(self, ground: Ground, dose: Floats) -> Floats:
        """What neighbours' doses (R, T, N) add, (R, T, N)."""

    @abstractmethod
    def alone(self, ground: Ground) -> Floats:
        """What a dose of one of unit j adds to unit i where no other unit has a dose, (N, N)."""
