"""What units and periods bring along: effects, trends, common factors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from sim.arrays import beta_variates
from sim.errors import Problem
from sim.streams import LATER, Streams
from sim.world.context import (
    FINITE,
    INSIDE,
    NOT_NEGATIVE,
    POSITIVE,
    SPATIAL,
    DesignSummary,
    LevelParts,
    Part,
    WorldContext,
    fault,
    smooth,
    standard,
    whole_from,
)

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
    def settle(self, context: WorldContext, streams: Streams) -> LevelParts:
        """Draw them, from `streams.fixed(...)`."""


# Normal unit effects, a common path, trends of units and interactive effects.


@dataclass(frozen=True, slots=True)
class Effects(Levels):
    """Unit effects, period effects, trends and factors, all normal.

    mean: of the outcome. unit_sd, period_sd: standard deviations of unit and period effects. unit_spatial: spatial
    coefficient of unit effects over W, so that neighbours are alike. on_prosperity: correlation of unit effects with
    prosperity before they are spread over neighbours. trends_sd: standard deviation of units' own linear trends, a
    period. factors: number of common factors with a loading of each unit (interactive effects), random walks over
    periods that are standardised. factor_share: variance of the interactive part as a share of unit_sd^2. factor_drift:
    mean step of those walks in standard deviations of a step; above 0, units with larger loadings grow faster.
    """

    kind: ClassVar[str] = "effects"
    ranges: ClassVar = {
        "mean": FINITE, "unit_sd": NOT_NEGATIVE, "period_sd": NOT_NEGATIVE, "trends_sd": NOT_NEGATIVE,
        "unit_spatial": SPATIAL, "on_prosperity": INSIDE, "factors": whole_from(0), "factor_share": NOT_NEGATIVE,
        "factor_drift": FINITE,
    }  # fmt: skip

    mean: float = 0.0
    unit_sd: float = 1.0
    period_sd: float = 0.5
    unit_spatial: float = 0.0
    on_prosperity: float = 0.0
    trends_sd: float = 0.0
    factors: int = 0
    factor_share: float = 0.5
    factor_drift: float = field(default=0.0, metadata={LATER: True})

    @property
    def interacts(self) -> bool:
        """With trends or factors."""
        return self.trends_sd > 0 or (self.factors > 0 and self.factor_share * self.unit_sd > 0)

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """More factors than units or periods."""
        most = min(summary.units, len(summary.periods))
        if self.factors > most:
            what = f"factors = {self.factors} of {summary.units} units and {len(summary.periods)} periods"
            yield fault(what, f"0 to {most}", "choose fewer factors")

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """The levels, where they differ at all."""
        spreads = self.unit_sd, self.period_sd, self.trends_sd
        return LEVELS if any(spreads) else ()

    def settle(self, context: WorldContext, streams: Streams) -> LevelParts:
        """Unit effects have the standard deviation asked for in the draw itself; so have the others on average."""
        rng, (periods, units) = streams.fixed("levels"), context.shape
        own = np.sqrt(1 - self.on_prosperity**2) * rng.standard_normal(units)
        unit = self.unit_sd * smooth(context, self.on_prosperity * context.places.prosperity + own, self.unit_spatial)
        period = self.period_sd * rng.standard_normal(periods)
        trend = self.trends_sd * rng.standard_normal(units)
        loadings = rng.standard_normal((units, self.factors))
        steps = (rng.standard_normal(periods) + self.factor_drift for _ in range(self.factors))
        paths = np.array([standard(np.cumsum(step)) for step in steps])
        total = self.mean + unit + period[:, None] + trend * context.time[:, None]
        if self.factors:
            scale = self.unit_sd * np.sqrt(self.factor_share / self.factors)
            total = total + scale * paths.T @ loadings.T
        return LevelParts(unit, period, trend, loadings, total)


# Unit effects within bounds, high where prosperity is, and a common linear path.


@dataclass(frozen=True, slots=True)
class BoundedLevels(Levels):
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

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Bounds that do not hold the mean or the standard deviation."""
        if not self.low < 0 < self.high:
            yield fault(f"low = {self.low:g}, high = {self.high:g}", "low < 0 < high", "correct them")
        elif self.unit_sd**2 >= -self.low * self.high:
            allowed = f"less than {np.sqrt(-self.low * self.high):.4g} between these bounds"
            yield fault(f"unit_sd = {self.unit_sd:g}", allowed, "correct unit_sd")

    def settle(self, context: WorldContext, streams: Streams) -> LevelParts:
        """Unit effects at the normal scores of a smooth part, prosperity and noise."""
        rng, units = streams.fixed("levels"), context.units
        smoothed = standard(smooth(context, rng.standard_normal(units), self.unit_spatial))
        score = standard(
            smoothed + self.on_prosperity * context.places.prosperity + self.noise * rng.standard_normal(units)
        )
        unit = beta_variates(score, 0.0, self.unit_sd, self.low, self.high)
        period = standard(np.arange(len(context.periods), dtype=np.float64)) * self.period_sd
        none = np.zeros(units)
        return LevelParts(unit, period, none, np.zeros((units, 0)), self.mean + unit + period[:, None])


# Levels that were fitted to the panel that is kept.


@dataclass(frozen=True, slots=True)
class FittedLevels(Levels):
    """Unit and period effects and an interactive part, as they were fitted to a real panel.

    method: what fitted them: they are the variables METHOD.additive and METHOD.interactive of the panel of the
    geography "kept", and attributes METHOD.factor1, ... of its units are the loadings. additive: factor of unit and
    period effects, the mean among them; 0 leaves them out. interactive: factor of what is not additive; 0 leaves it
    out.
    """

    kind: ClassVar[str] = "fitted"
    held_fixed: ClassVar[tuple[str, ...]] = ()
    ranges: ClassVar = {"additive": FINITE, "interactive": FINITE}

    method: str = "factor"
    additive: float = 1.0
    interactive: float = 1.0

    @property
    def interacts(self) -> bool:
        """With an interactive part."""
        return self.interactive != 0

    def settle(self, context: WorldContext, streams: Streams) -> LevelParts:
        """The fitted parts times their factors; a unit's trend is the slope of its level over periods."""
        places, where = context.places, "[design.levels] method"
        additive = self.additive * places.variable(f"{self.method}.additive", where)
        total = additive + self.interactive * places.variable(f"{self.method}.interactive", where)
        mean, time = total.mean(), context.time
        unit, period = total.mean(axis=0) - mean, total.mean(axis=1) - mean
        slopes = time @ total / max(float(time @ time), 1.0)
        facts = places.held(where).attributes
        names = [name for name in facts if name.startswith(f"{self.method}.factor")]
        loadings = np.column_stack([facts[name] for name in names]) if names else np.zeros((context.units, 0))
        return LevelParts(unit, period, slopes - slopes.mean(), loadings, total)
