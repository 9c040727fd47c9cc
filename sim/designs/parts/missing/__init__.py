"""Unit-periods that are not observed."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from sim.arrays import Floats
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import Part
from sim.streams import Streams


class MissingPart(Part):
    """Which unit-periods are observed."""

    default: ClassVar[str] = "pattern"

    @property
    @abstractmethod
    def some(self) -> bool:
        """Whether any is missing."""

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """The pattern, unless it follows the outcome."""
        return ("unit-periods that are missing",) if self.some and not self.follows_outcome else ()

    @property
    @abstractmethod
    def follows_outcome(self) -> bool:
        """Whether it depends on the outcome, so that it differs between replications."""

    @abstractmethod
    def fixed(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """1 where observed, 0 elsewhere, (T, N), of a pattern that does not depend on the outcome."""

    @abstractmethod
    def drawn(self, outcome: Floats, streams: Streams) -> Floats:
        """The same of a pattern that depends on the outcome (R, T, N), (R, T, N)."""
