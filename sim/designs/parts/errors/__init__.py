"""The outcome's errors."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Protocol

from sim.arrays import Floats
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import Part
from sim.streams import Streams


class ErrorProcess(Protocol):
    """The errors of one world."""

    def draw(self, streams: Streams) -> Floats:
        """Errors before they spread over space, (R, T, N); the caller may overwrite them."""
        ...

    def mixed(self, shocks: Floats, streams: Streams, purpose: str) -> Floats:
        """Standard shocks (R, T, N) with what units have in common as in the errors, made of normal ones of units."""
        ...

    def spread(self, errors: Floats) -> Floats:
        """Errors spread over neighbours; the argument itself where they do not spread."""
        ...


class Errors(Part):
    """The law of the outcome's errors."""

    default: ClassVar[str] = "process"

    @property
    @abstractmethod
    def lam(self) -> float:
        """The spatial autoregressive coefficient of the errors, NaN where they follow another spatial process."""

    @property
    @abstractmethod
    def dependence(self) -> float:
        """How large their spatial coefficient is, whatever its kind; NaN where units depend on each other otherwise."""

    @property
    @abstractmethod
    def sigma2(self) -> float:
        """Their variance where they are independent and alike, NaN where estimators with unit effects find another."""

    @property
    @abstractmethod
    def size(self) -> float:
        """The standard deviation that is dialled; 0 where there are none."""

    def period_sd(self, periods: int) -> float:
        """Their standard deviation in a period of so many, before they spread over space and without unit_means."""
        return self.size

    @abstractmethod
    def settle(self, ground: Ground, streams: Streams) -> ErrorProcess:
        """Draw what the world holds fixed of them."""

    def cells(self, treatment: Floats) -> Floats | None:
        """Sizes of the errors of unit-periods, relative to one another, that follow treatment (1 or R, T, N): arrays
        like it, by which errors are multiplied after they spread; None where errors do not follow it."""
        return None

    def like(self, shocks: Floats) -> Floats:
        """Standard normal shocks (R, T, N) made as persistent over periods as the errors, in place where possible."""
        return shocks
