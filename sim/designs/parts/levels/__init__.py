"""What units and periods bring along: effects, trends, common factors."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from sim.designs.parts.ground import Ground, LevelParts
from sim.designs.parts.part import Part
from sim.streams import Streams

LEVELS = ("levels of units and periods",)  # what a world holds fixed of them, in words


class Levels(Part):
    """Unit and period effects; holds_mean: whether their mean is that of the outcome, fixed covariates included."""

    default: ClassVar[str] = "effects"

    holds_mean: ClassVar[bool] = False

    @property
    def interacts(self) -> bool:
        """Whether units differ in how they move over periods."""
        return False

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """The levels."""
        return LEVELS

    @abstractmethod
    def settle(self, ground: Ground, streams: Streams) -> LevelParts:
        """Draw them, from `streams.fixed(...)`."""
