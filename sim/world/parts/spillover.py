"""What the treatment of a unit does to others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.errors import Problem
from sim.world.context import FINITE, INSIDE, POSITIVE, Ground, Outline, Part, fault


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


# Spillovers over W or within a radius, and outcomes that depend on neighbours' outcomes.


@dataclass(frozen=True, slots=True)
class Neighbours(SpilloverPart):
    """A spatial Durbin world: y = rho W y + ... + w_effect (what reaches a unit of its neighbours' doses).

    rho: coefficient of neighbours' outcomes (W y). w_effect: effect of neighbours' doses: of their W-weighted mean, or
    with a radius of the largest dose within it. radius: km within which a treated unit reaches others, in place of W.
    on: whom neighbours' doses reach: all | treated (unit-periods with a dose of their own) | controls (those without).
    """

    kind: ClassVar[str] = "neighbours"
    ranges: ClassVar = {"rho": INSIDE, "w_effect": FINITE, "radius": POSITIVE}

    rho: float = 0.0
    w_effect: float = 0.0
    radius: float | None = None
    on: Literal["treated", "controls", "all"] = "all"

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Numbers out of range, a radius without an effect, or of doses that may be below 0."""
        if self.radius is not None and not self.w_effect:
            yield fault(f"radius = {self.radius:g} without w_effect", "a w_effect other than 0", "set w_effect")
        if self.radius is not None and outline.signed:
            yield fault(f"radius = {self.radius:g} of the largest dose, and doses may be below 0", "doses over W",
                        "leave radius out")  # fmt: skip

    @property
    def lag(self) -> float:
        """w_effect, if it reaches all over W."""
        return self.w_effect if not self.w_effect or (self.radius is None and self.on == "all") else float("nan")

    @property
    def reaches(self) -> bool:
        """With w_effect."""
        return self.w_effect != 0

    def added(self, ground: Ground, dose: Floats) -> Floats:
        """w_effect times the exposure of those that are reached."""
        exposure = ground.main_weights.lag(dose) if self.radius is None else self._within(ground, dose)
        if self.on != "all":
            exposure = exposure * ((dose != 0) == (self.on == "treated"))
        return self.w_effect * exposure

    def alone(self, ground: Ground) -> Floats:
        """w_effect over W or within the radius, for all but those who need a dose of their own."""
        if self.on == "treated":
            return np.zeros((ground.units, ground.units))
        reach = ground.main_weights.dense if self.radius is None else self._near(ground).astype(np.float64)
        return self.w_effect * reach

    def _near(self, ground: Ground) -> NDArray[np.bool_]:
        """Whether units are within the radius of each other, (N, N)."""
        near = ground.distances <= (self.radius or 0.0)
        np.fill_diagonal(near, val=False)
        return near

    def _within(self, ground: Ground, dose: Floats) -> Floats:
        """The largest dose among other units within the radius; 0 where there is none."""
        near = self._near(ground)
        out = np.zeros_like(dose)
        for i in np.flatnonzero(near.any(axis=1)):
            out[:, :, i] = dose[:, :, near[i]].max(axis=2)
        return out
