"""Indicators of which the outcome is made."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from sim.arrays import Floats
from sim.designs.parts.part import Part
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class IndicatorsPart(Part):
    """What an outcome that is an index is made of; without names the outcome is what the world draws."""

    default: ClassVar[str] = "entropy"

    names: tuple[str, ...] = ()

    @abstractmethod
    def errors(self, shape: tuple[int, int], streams: Streams) -> dict[str, Floats]:
        """What each indicator has of its own, (R, T, N), of a panel's shape (T, N)."""

    @abstractmethod
    def values(self, outcome: Floats, untreated: Floats, errors: dict[str, Floats]) -> dict[str, Floats]:
        """The indicators where the outcome is `outcome` (R, T, N) and would be `untreated` without treatment."""

    @abstractmethod
    def index(self, indicators: dict[str, Floats], observed: Floats | None) -> Floats:
        """The index of the indicators over the observed unit-periods (1, T, N), (R, T, N)."""
