"""Normal unit effects, a common path, trends of units and interactive effects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.designs.parts.ground import Ground, LevelParts, smooth, standard
from sim.designs.parts.levels import LEVELS, Levels
from sim.designs.parts.part import FINITE, INSIDE, NOT_NEGATIVE, Outline, fault, whole_from
from sim.errors import Problem
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class Effects(Levels):
    """Unit effects, period effects, trends and factors, all normal.

    mean: of the outcome. unit_sd, period_sd: standard deviations of unit and period effects. unit_spatial: spatial
    coefficient of unit effects over W, so that neighbours are alike. on_prosperity: correlation of unit effects with
    prosperity before they are spread over neighbours. trends_sd: standard deviation of units' own linear trends, a
    period. factors: number of common factors with a loading of each unit (interactive effects). factor_share: variance
    of the interactive part as a share of unit_sd^2.
    """

    kind: ClassVar[str] = "effects"
    ranges: ClassVar = {
        "mean": FINITE, "unit_sd": NOT_NEGATIVE, "period_sd": NOT_NEGATIVE, "trends_sd": NOT_NEGATIVE,
        "unit_spatial": INSIDE, "on_prosperity": INSIDE, "factors": whole_from(0), "factor_share": NOT_NEGATIVE,
    }  # fmt: skip

    mean: float = 0.0
    unit_sd: float = 1.0
    period_sd: float = 0.5
    unit_spatial: float = 0.0
    on_prosperity: float = 0.0
    trends_sd: float = 0.0
    factors: int = 0
    factor_share: float = 0.5

    @property
    def interacts(self) -> bool:
        """With trends or factors."""
        return self.trends_sd > 0 or (self.factors > 0 and self.factor_share * self.unit_sd > 0)

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """More factors than units or periods."""
        most = min(outline.units, len(outline.periods))
        if self.factors > most:
            what = f"factors = {self.factors} of {outline.units} units and {len(outline.periods)} periods"
            yield fault(what, f"0 to {most}", "choose fewer factors")

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """The levels, where they differ at all."""
        spreads = self.unit_sd, self.period_sd, self.trends_sd
        return LEVELS if any(spreads) else ()

    def settle(self, ground: Ground, streams: Streams) -> LevelParts:
        """Unit effects have the standard deviation asked for in the draw itself; so have the others on average."""
        rng, (periods, units) = streams.fixed("levels"), ground.shape
        own = np.sqrt(1 - self.on_prosperity**2) * rng.standard_normal(units)
        unit = self.unit_sd * smooth(ground, self.on_prosperity * ground.places.prosperity + own, self.unit_spatial)
        period = self.period_sd * rng.standard_normal(periods)
        trend = self.trends_sd * rng.standard_normal(units)
        loadings = rng.standard_normal((units, self.factors))
        paths = np.array([standard(np.cumsum(rng.standard_normal(periods))) for _ in range(self.factors)])
        total = self.mean + unit + period[:, None] + trend * centred_time(ground)[:, None]
        if self.factors:
            scale = self.unit_sd * np.sqrt(self.factor_share / self.factors)
            total = total + scale * paths.T @ loadings.T
        return LevelParts(unit, period, trend, loadings, total)


def centred_time(ground: Ground) -> np.ndarray:
    """Periods since the middle of the panel, in steps of one period, (T,)."""
    at = np.arange(len(ground.periods), dtype=np.float64)
    return at - at.mean()
