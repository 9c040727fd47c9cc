"""What the treatment does to the outcome."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from sim.arrays import Floats
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import Part
from sim.streams import Streams


class EffectPart(Part):
    """The treatment's own effect on a unit, before spillovers and mediators."""

    default: ClassVar[str] = "effect"

    @property
    @abstractmethod
    def coefficient(self) -> float:
        """Its coefficient where the effect is one number times the treatment, NaN elsewhere."""

    @property
    @abstractmethod
    def size_of_units(self) -> float:
        """The effect at a dose of one, before units differ."""

    @property
    @abstractmethod
    def varies(self) -> bool:
        """Whether effects are drawn in every replication."""

    @abstractmethod
    def dose(self, ground: Ground, treatment: Floats) -> Floats:
        """How strongly each unit-period is treated, (R, T, N), of a treatment (R, T, N)."""

    @property
    @abstractmethod
    def covariate(self) -> str:
        """The covariate that effects follow, "" where they follow none."""

    @abstractmethod
    def sizes(self, ground: Ground, treatment: Floats, covariate: Floats | None, streams: Streams) -> Floats:
        """Units' effects of a dose of one, (1 or R, 1, N or 1); the covariate they follow is (1 or R, T, N)."""

    @abstractmethod
    def confounding(self, ground: Ground, treatment: Floats) -> Floats | None:
        """What sets treated units apart with or without the treatment, (R, T, N); None where nothing does."""
