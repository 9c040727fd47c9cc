"""A normal covariate, or a function of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from scipy.special import ndtr

from sim.arrays import Floats
from sim.designs.parts.covariates import Covariate
from sim.designs.parts.ground import Ground, smooth
from sim.designs.parts.part import FINITE, INSIDE, NOT_NEGATIVE, SHARE, Outline, fault
from sim.designs.parts.scores import persistent
from sim.errors import Problem
from sim.streams import Streams
from sim.weights.filters import SpatialFilter

Distribution = Literal["normal", "uniform", "lognormal", "binary"]


@dataclass(frozen=True, slots=True)
class Normal(Covariate):
    """A covariate with a part of units, a part of groups and a part that changes over periods.

    name: of the variable. effect: its coefficient in the outcome. lag_effect: coefficient of its spatial lag.
    bad_control: whether the treatment moves it. moved: by how much, where it does. mean, sd: of its values, over all
    units where they differ by their places in W. between: share of its variance between units. group_share: share of
    its variance that units of a group have in common in a period. serial: first-order autocorrelation of what changes
    over periods. spatial: spatial coefficient over W, of both parts. on_prosperity: correlation of the units' part with
    prosperity. distribution: of its values: normal | uniform | lognormal | binary (1 where the score is above 0; mean
    and sd are then not used).
    """

    kind: ClassVar[str] = "normal"
    ranges: ClassVar = {
        "mean": FINITE, "sd": NOT_NEGATIVE, "between": SHARE, "group_share": SHARE, "serial": INSIDE,
        "spatial": INSIDE, "on_prosperity": INSIDE,
    }  # fmt: skip

    mean: float = 0.0
    sd: float = 1.0
    between: float = 0.5
    group_share: float = 0.0
    serial: float = 0.0
    spatial: float = 0.0
    on_prosperity: float = 0.0
    distribution: Distribution = "normal"

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """What every covariate may have wrong, and shares above one."""
        yield from Covariate.faults(self, outline)
        if max(self.between, self.group_share) <= 1 < self.between + self.group_share:
            yield fault("between and group_share sum to more than 1", "a sum up to 1", "correct one of them")

    @property
    def has_unit_part(self) -> bool:
        """With a share between units."""
        return self.between > 0

    def settle(self, ground: Ground, streams: Streams) -> NormalValues:
        """The units' part, and values that do not change between replications."""
        rng = streams.fixed(f"covariate {self.name}")
        own = np.sqrt(1 - self.on_prosperity**2) * rng.standard_normal(ground.units)
        unit = smooth(ground, self.on_prosperity * ground.places.prosperity + own, self.spatial)
        groups = int(ground.places.group.max()) + 1
        shocks = rng.standard_normal((1, *ground.shape)), rng.standard_normal((1, len(ground.periods), groups))
        spatial = ground.spatial(self.spatial)
        world = NormalValues(self, ground, unit, spatial, self._shrinkage(spatial, ground))
        return replace(world, fixed=world.made(*shocks))

    def _shrinkage(self, spatial: SpatialFilter | None, ground: Ground) -> float:
        """What brings the mean variance of the part that changes, spread over space, back to its share; 1 without."""
        changing = max(1.0 - self.between, 0.0)
        if spatial is None or not changing:
            return 1.0
        groups = np.equal.outer(ground.places.group, np.unique(ground.places.group)).astype(np.float64)
        own = max(changing - self.group_share, 0.0) * np.square(spatial.multiplier).sum()
        shared = self.group_share * np.square(spatial.multiplier @ groups).sum()
        return float(np.sqrt(changing * ground.units / (own + shared)))


@dataclass(frozen=True, eq=False, slots=True)
class NormalValues:
    """A settled normal covariate: unit (N,) is the units' part, `fixed` (1, T, N) the values without redraws; what is
    filtered is multiplied by `shrinkage`."""

    part: Normal
    ground: Ground
    unit: Floats
    filter: SpatialFilter | None
    shrinkage: float = 1.0
    fixed: Floats | None = None

    def values(self, streams: Streams | None) -> Floats:
        """Fixed values, or those of each replication; the units' part stays."""
        if streams is None:
            assert self.fixed is not None
            return self.fixed
        name, groups = self.part.name, int(self.ground.places.group.max()) + 1
        own = streams.normals(f"covariate {name}", *self.ground.shape)
        shared = streams.normals(f"covariate {name} of groups", len(self.ground.periods), groups if self._shares else 0)
        return self.made(own, shared)

    @property
    def _shares(self) -> bool:
        return self.part.group_share > 0

    def made(self, own: Floats, shared: Floats) -> Floats:
        """Values of shocks of units (R, T, N) and of groups (R, T, G)."""
        part = self.part
        within = max(1.0 - part.between - part.group_share, 0.0)  # -1e-17 where rounding sums shares to more than 1
        score = np.sqrt(within) * own
        if self._shares:
            score += np.sqrt(part.group_share) * shared[:, :, self.ground.places.group]
        score = persistent(score, part.serial)
        if self.filter is not None:
            score = self.shrinkage * self.filter.apply(score)
        return _CURVES[part.distribution](score + np.sqrt(part.between) * self.unit, part.mean, part.sd)


def _normal(score: Floats, mean: float, sd: float) -> Floats:
    return mean + sd * score


def _uniform(score: Floats, mean: float, sd: float) -> Floats:
    return np.asarray(mean + sd * np.sqrt(12) * (ndtr(score) - 0.5))


def _lognormal(score: Floats, mean: float, sd: float) -> Floats:
    """exp(score) moved to the mean and stretched to the standard deviation of a standard score."""
    return np.asarray(mean + sd * (np.exp(score) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e))


def _binary(score: Floats, mean: float, sd: float) -> Floats:
    return (score > 0).astype(np.float64)


_CURVES: dict[Distribution, Callable[[Floats, float, float], Floats]] = {
    "normal": _normal, "uniform": _uniform, "lognormal": _lognormal, "binary": _binary,
}  # fmt: skip
