"""What the treatment of a unit does to others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.errors import Problem
from sim.streams import LATER
from sim.weights import within_km
from sim.world.context import FINITE, INSIDE, PLACED, POSITIVE, DesignSummary, Part, WorldContext, fault


class SpilloverPart(Part):
    """How the treatment reaches others: through their neighbours' dose, and through neighbours' outcomes (rho)."""

    default: ClassVar[str] = "neighbours"

    rho: float

    @property
    def past(self) -> tuple[float, float]:
        """gamma and eta, coefficients of a unit's own and of its neighbours' outcomes a period before."""
        return 0.0, 0.0

    @property
    @abstractmethod
    def lag(self) -> float:
        """The coefficient of W D where spillovers are a multiple of neighbours' doses, NaN where they are not."""

    @property
    @abstractmethod
    def reaches(self) -> bool:
        """Whether a neighbour's dose adds anything."""

    @abstractmethod
    def added(self, context: WorldContext, dose: Floats) -> Floats:
        """What neighbours' doses (R, T, N) add, (R, T, N)."""

    @abstractmethod
    def alone(self, context: WorldContext) -> Floats:
        """What a dose of one of unit j adds to unit i where no other unit has a dose, (N, N)."""

    def felt(self, dose: Floats) -> Floats:
        """What of a unit's dose others feel where it is the only one, as a dose."""
        return dose


# Spillovers over W or within a radius, and outcomes that depend on neighbours' outcomes.


@dataclass(frozen=True, slots=True)
class Neighbours(SpilloverPart):
    """A spatial Durbin world: y = rho W y + ... + w_effect (what reaches a unit of its neighbours' doses).

    With gamma or eta it is a dynamic one: y_t = rho W y_t + gamma y_t-1 + eta W y_t-1 + ..., started from what
    the first period's covariates and treatment make of it in the long run, and from errors of as many periods before.

    rho: coefficient of neighbours' outcomes (W y). w_effect: effect of neighbours' doses: of their W-weighted mean, or
    with a radius of the largest dose above 0 within it. radius: km within which a treated unit reaches others, in place
    of W. on: whom neighbours' doses reach: all | treated (unit-periods with a dose of their own) | controls (those
    without). gamma, eta: coefficients of a unit's own and of its neighbours' outcomes a period before, net of levels.
    """

    kind: ClassVar[str] = "neighbours"
    ranges: ClassVar = {"rho": INSIDE, "w_effect": FINITE, "radius": POSITIVE, "gamma": INSIDE, "eta": INSIDE}

    rho: float = 0.0
    w_effect: float = 0.0
    radius: float | None = None
    on: Literal["treated", "controls", "all"] = "all"
    gamma: float = field(default=0.0, metadata={LATER: True})
    eta: float = field(default=0.0, metadata={LATER: True})

    @property
    def past(self) -> tuple[float, float]:
        """gamma and eta."""
        return self.gamma, self.eta

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Numbers out of range, a radius without an effect."""
        if self.radius is not None and not self.w_effect:
            yield fault(f"radius = {self.radius:g} without w_effect", "a w_effect other than 0", "set w_effect")
        if self.radius is not None and not summary.placed:
            yield fault(f"radius = {self.radius:g} among units without coordinates", *PLACED)

    @property
    def lag(self) -> float:
        """w_effect, if it reaches all over W."""
        return self.w_effect if not self.w_effect or (self.radius is None and self.on == "all") else float("nan")

    @property
    def reaches(self) -> bool:
        """With w_effect."""
        return self.w_effect != 0

    def added(self, context: WorldContext, dose: Floats) -> Floats:
        """w_effect times the exposure of those that are reached."""
        if self.radius is None:
            exposure = context.main_weights.lag(dose)
        else:  # the largest dose above 0 among other units within the radius; 0 where there is none
            near, exposure = self._near(context), np.zeros_like(dose)
            for i in np.flatnonzero(near.any(axis=1)):
                exposure[:, :, i] = dose[:, :, near[i]].max(axis=2, initial=0.0)
        if self.on != "all":
            exposure = exposure * ((dose != 0) == (self.on == "treated"))
        return self.w_effect * exposure

    def alone(self, context: WorldContext) -> Floats:
        """w_effect over W or within the radius, for all but those who need a dose of their own."""
        if self.on == "treated":
            return np.zeros((context.units, context.units))
        reach = context.main_weights.dense if self.radius is None else self._near(context).astype(np.float64)
        return self.w_effect * reach

    def felt(self, dose: Floats) -> Floats:
        """All of it; within a radius, where the largest dose counts, nothing of a negative one."""
        return dose if self.radius is None else np.maximum(dose, 0.0)

    def _near(self, context: WorldContext) -> NDArray[np.bool_]:
        """Whether units are within the radius of each other, (N, N)."""
        near = within_km(context.distances, self.radius or 0.0)
        np.fill_diagonal(near, val=False)
        return near
