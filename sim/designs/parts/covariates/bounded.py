"""A covariate within bounds, with published moments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.arrays import Floats
from sim.designs.parts.covariates import Covariate
from sim.designs.parts.ground import Ground, standard
from sim.designs.parts.part import FINITE, POSITIVE, SHARE, Outline, fault
from sim.designs.parts.scores import beta_variates
from sim.errors import Problem
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class Bounded(Covariate):
    """A covariate with a given mean, standard deviation, smallest and largest value: a scaled beta variate.

    name: of the variable. effect: its coefficient in the outcome. lag_effect: coefficient of its spatial lag.
    bad_control: whether the treatment moves it. moved: by how much, where it does. mean, sd, low, high: of its values,
    as in a table of descriptive statistics. between: share of the variance of its score between units. trend_share:
    share of a common linear trend. on_prosperity: weight of prosperity beside one unit of noise in the units' part.
    """

    kind: ClassVar[str] = "bounded"
    ranges: ClassVar = {
        "mean": FINITE, "sd": POSITIVE, "low": FINITE, "high": FINITE, "between": SHARE, "trend_share": SHARE,
        "on_prosperity": FINITE,
    }  # fmt: skip

    mean: float = 0.5
    sd: float = 0.2
    low: float = 0.0
    high: float = 1.0
    between: float = 0.7
    trend_share: float = 0.1
    on_prosperity: float = 0.5

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Moments that no variable between the bounds has, shares above one."""
        yield from Covariate.faults(self, outline)
        if not self.low < self.mean < self.high:
            yield fault(f"mean = {self.mean:g} outside {self.low:g} to {self.high:g}", "low < mean < high",
                        "correct mean, low or high")  # fmt: skip
        elif self.sd**2 >= (most := (self.mean - self.low) * (self.high - self.mean)):
            yield fault(f"sd = {self.sd:g} is too large for its bounds", f"less than {np.sqrt(most):.4g}", "correct sd")
        if self.between + self.trend_share > 1:
            yield fault("between and trend_share sum to more than 1", "a sum up to 1", "correct one of them")

    def settle(self, ground: Ground, streams: Streams) -> BoundedValues:
        """The units' part, and values that do not change between replications."""
        rng = streams.fixed(f"covariate {self.name}")
        unit = standard(self.on_prosperity * ground.places.prosperity + rng.standard_normal(ground.units))
        made = BoundedValues(self, ground, unit)
        return BoundedValues(self, ground, unit, made.made(rng.standard_normal((1, *ground.shape))))


@dataclass(frozen=True, eq=False, slots=True)
class BoundedValues:
    """A settled bounded covariate: unit (N,) is the units' part, `fixed` (1, T, N) the values without redraws."""

    part: Bounded
    ground: Ground
    unit: Floats
    fixed: Floats | None = None

    def values(self, streams: Streams | None) -> Floats:
        """Fixed values, or those of each replication; the units' part stays."""
        if streams is None:
            assert self.fixed is not None
            return self.fixed
        return self.made(streams.normals(f"covariate {self.part.name}", *self.ground.shape))

    def made(self, noise: Floats) -> Floats:
        """Values of standard normal noise (R, T, N)."""
        part = self.part
        trend = standard(np.arange(len(self.ground.periods), dtype=np.float64))[:, None]
        own = np.sqrt(1.0 - part.between - part.trend_share)
        base = np.sqrt(part.between) * self.unit + np.sqrt(part.trend_share) * trend
        return beta_variates(noise, part.mean, part.sd, part.low, part.high, base=base, scale=own)
