"""What parts see of the world that is being made: places, periods, W, and what was settled before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.errors import bad, closest, one_of
from sim.panel import Panel
from sim.weights import Weights
from sim.weights.distances import great_circle_km
from sim.weights.filters import SpatialFilter


@dataclass(frozen=True, eq=False, slots=True)
class Places:
    """Where the units are.

    longitude, latitude: degrees, (N,). attributes: facts of units by name, (N,). group: the codes 0, 1, ... of the
    groups that share shocks or adopt together, (N,). prosperity: a standardised score of how developed units are, (N,);
    levels, covariates and adoption may follow it. kept: the real panel that other parts keep things of.
    lattice: row and column of each unit on a square lattice, (N, 2), None elsewhere.
    """

    names: tuple[str, ...]
    longitude: Floats
    latitude: Floats
    group: NDArray[np.intp]
    prosperity: Floats
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    kept: Panel | None = None
    lattice: NDArray[np.intp] | None = None

    def held(self, where: str) -> Panel:
        """The panel that is kept; raises BadInput, for what stands at `where`, in a world without one."""
        if self.kept is None:
            raise bad("no panel is kept", where=where, allowed='[design.geography] kind = "kept" with a panel',
                      remedy="name a panel there")  # fmt: skip
        return self.kept

    def variable(self, name: str, where: str) -> Floats:
        """A variable of the panel that is kept, (T, N); raises BadInput where it has none of this name."""
        held = self.held(where).variables
        if name not in held:
            raise bad(f"the panel that is kept has no variable {name!r}", where=where, allowed=one_of(held),
                      remedy=closest(name, held))  # fmt: skip
        return held[name][0]


@dataclass(frozen=True, eq=False, slots=True)
class LevelParts:
    """What units and periods bring along: unit (N,), period (T,), trend (N,) a period, factors (N, r), paths (T, r).

    `total` (T, N) is the sum of all, the interactive part included.
    """

    unit: Floats
    period: Floats
    trend: Floats
    loadings: Floats
    total: Floats


@dataclass(frozen=True, eq=False)
class Ground:
    """A world in the making; levels and covariates (name -> fixed values (T, N)) are there for the parts after them."""

    places: Places
    periods: tuple[int, ...]
    weights: Weights | None
    levels: LevelParts | None = None
    covariates: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """N."""
        return len(self.places.names)

    @property
    def shape(self) -> tuple[int, int]:
        """T and N."""
        return len(self.periods), self.units

    @cached_property
    def years(self) -> Floats:
        """The periods' labels as numbers, (T,)."""
        return np.array(self.periods, dtype=np.float64)

    @cached_property
    def distances(self) -> Floats:
        """Great-circle km between all pairs of units, (N, N)."""
        return great_circle_km(self.places.longitude, self.places.latitude)

    def spatial(self, rho: float) -> SpatialFilter | None:
        """(I - rho W)^-1, None at rho = 0; raises BadInput for a rho outside its range."""
        return SpatialFilter.of(self.main_weights, rho) if rho else None

    @property
    def main_weights(self) -> Weights:
        """The true W; raises BadInput where the world has none."""
        if self.weights is None:
            raise bad("the world has no weights", where="[design.weights]", allowed="a table [design.weights]",
                      remedy="add it")  # fmt: skip
        return self.weights


def standard(values: Floats) -> Floats:
    """Values with mean 0 and variance 1; zeros where they do not vary."""
    centred = values - values.mean()
    spread = np.sqrt(np.square(centred).mean())
    return np.asarray(centred / spread if spread > 0 else np.zeros_like(centred))


def smooth(ground: Ground, values: Floats, rho: float) -> Floats:
    """Standardised values (N,) spread over neighbours by (I - rho W)^-1; values themselves at rho = 0."""
    if not rho:
        return values
    return standard(SpatialFilter.of(ground.main_weights, rho).apply(values[None, None].copy())[0, 0])
