"""Unit effects within bounds, high where prosperity is, and a common linear path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.designs.parts.ground import Ground, LevelParts, smooth, standard
from sim.designs.parts.levels import Levels
from sim.designs.parts.part import FINITE, INSIDE, NOT_NEGATIVE, POSITIVE, Outline, fault
from sim.designs.parts.scores import beta_variates
from sim.errors import Problem
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class Bounded(Levels):
    """Beta-distributed unit effects around the mean of an outcome that is an index between 0 and 1.

    mean: of the outcome, fixed covariates included. unit_sd, low, high: standard deviation and bounds of unit effects
    around it. period_sd: standard deviation of the common linear path. unit_spatial: spatial coefficient of the smooth
    part of their score. on_prosperity, noise: weights of prosperity and of noise beside one of the smooth part.
    """

    kind: ClassVar[str] = "bounded"
    ranges: ClassVar = {
        "mean": FINITE, "unit_sd": POSITIVE, "low": FINITE, "high": FINITE, "period_sd": NOT_NEGATIVE,
        "unit_spatial": INSIDE, "on_prosperity": FINITE, "noise": NOT_NEGATIVE,
    }  # fmt: skip
    holds_mean: ClassVar[bool] = True

    mean: float = 0.5
    unit_sd: float = 0.1
    low: float = -0.25
    high: float = 0.25
    period_sd: float = 0.03
    unit_spatial: float = 0.85
    on_prosperity: float = 0.6
    noise: float = 0.8

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Bounds that do not hold the mean or the standard deviation."""
        if not self.low < 0 < self.high:
            yield fault(f"low = {self.low:g}, high = {self.high:g}", "low < 0 < high", "correct them")
        elif self.unit_sd**2 >= -self.low * self.high:
            allowed = f"less than {np.sqrt(-self.low * self.high):.4g} between these bounds"
            yield fault(f"unit_sd = {self.unit_sd:g}", allowed, "correct unit_sd")

    def settle(self, ground: Ground, streams: Streams) -> LevelParts:
        """Unit effects at the normal scores of a smooth part, prosperity and noise."""
        rng, units = streams.fixed("levels"), ground.units
        smoothed = standard(smooth(ground, rng.standard_normal(units), self.unit_spatial))
        score = standard(
            smoothed + self.on_prosperity * ground.places.prosperity + self.noise * rng.standard_normal(units)
        )
        unit = beta_variates(score, 0.0, self.unit_sd, self.low, self.high)
        period = standard(np.arange(len(ground.periods), dtype=np.float64)) * self.period_sd
        none = np.zeros(units)
        return LevelParts(unit, period, none, np.zeros((units, 0)), self.mean + unit + period[:, None])
