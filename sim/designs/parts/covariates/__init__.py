"""Covariates: what else moves the outcome."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from sim.arrays import Floats
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import FINITE, Outline, Part, fault
from sim.errors import Problem
from sim.streams import Streams


class SettledCovariate(Protocol):
    """A covariate of one world."""

    def values(self, streams: Streams | None) -> Floats:
        """Values without treatment: fixed ones (1, T, N), or drawn ones (R, T, N) where streams are given."""
        ...


@dataclass(frozen=True, slots=True)
class Covariate(Part):
    """A covariate and what it does to the outcome."""

    default: ClassVar[str] = "normal"

    name: str = "x"
    effect: float = 0.0
    lag_effect: float = 0.0
    bad_control: bool = False
    moved: float = 1.0

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Numbers out of range, a lag without W."""
        for dial in ("effect", "lag_effect", "moved"):
            if not FINITE.holds(getattr(self, dial)):
                yield fault(f"{dial} = {getattr(self, dial)}", FINITE.words, f"correct {dial}")
        if not self.name:
            yield fault("name is empty", "a name", "name the covariate")

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Its values, unless the design draws them anew."""
        return ("covariates",)

    @property
    def has_unit_part(self) -> bool:
        """Whether units differ in what stays where the covariate is drawn anew in every replication."""
        return True

    @property
    def shift(self) -> float:
        """What the treatment adds to the covariate."""
        return self.moved if self.bad_control else 0.0

    def acting(self, values: Floats) -> Floats:
        """What the coefficients multiply, of values (1 or R, T, N)."""
        return values

    @abstractmethod
    def settle(self, ground: Ground, streams: Streams) -> SettledCovariate:
        """Draw what the world holds fixed of it."""
