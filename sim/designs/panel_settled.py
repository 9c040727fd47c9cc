"""What a world of parts holds fixed: places, levels, covariates, who is treated when."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from sim.arrays import Floats
from sim.designs.panel_dials import PanelDials
from sim.designs.parts.covariates import SettledCovariate
from sim.designs.parts.errors import ErrorProcess
from sim.designs.parts.ground import Ground
from sim.panel import Panel
from sim.streams import Streams
from sim.weights.filters import SpatialFilter

IN_CACHE = 4  # replications of a panel of 285 units and 18 periods


@dataclass(frozen=True, eq=False)
class Settled:
    """What a world of parts holds fixed.

    levels: all that units and periods bring along, (T, N). treatment: the fixed one, (1, T, N). frame: units, periods,
    attributes and weights without variables. multiplier: S, None where outcomes do not depend on those of neighbours.
    observed: 1 where unit-periods are seen, (1, T, N), None where all are or where that differs between replications.
    streams: those that the world was drawn from.
    """

    design: PanelDials
    ground: Ground
    frame: Panel
    levels: Floats
    covariates: Mapping[str, SettledCovariate]
    errors: ErrorProcess
    multiplier: SpatialFilter | None
    mediator_filters: Mapping[str, SpatialFilter | None]
    treatment: Floats
    observed: Floats | None
    streams: Streams
    _kept: dict[Hashable, Any] = field(default_factory=dict)

    def once[T](self, name: Hashable, compute: Callable[[], T]) -> T:
        """What is computed once in a world."""
        if name not in self._kept:
            self._kept[name] = compute()
        return cast(T, self._kept[name])

    def spread(self, values: Floats, *, overwrite: bool = False) -> Floats:
        """S over the last axis; `overwrite` allows the array to become the result."""
        return values if self.multiplier is None else self.multiplier.apply(values, overwrite=overwrite)

    def lag(self, values: Floats) -> Floats:
        """W over the last axis."""
        return self.ground.main_weights.lag(values)

    def covariate_signal(self, covariates: Mapping[str, Floats]) -> Floats:
        """X b + W X c, (1 or R, T, N)."""
        parts, shape = self.design.covariates, self.ground.shape
        acting = [part.acting(covariates[part.name]) for part in parts]
        signal = _weighted([(part.effect, x) for part, x in zip(parts, acting, strict=True) if part.effect], shape)
        lags = [(part.lag_effect, x) for part, x in zip(parts, acting, strict=True) if part.lag_effect]
        return signal + self.lag(_weighted(lags, shape)) if lags else signal


def _weighted(terms: list[tuple[float, Floats]], shape: tuple[int, int]) -> Floats:
    """A weighted sum of arrays (1 or R, T, N); a few replications at a time stay in the processor's cache."""
    rows = max((len(x) for _, x in terms), default=1)
    out = np.zeros((rows, *shape))
    for start in range(0, rows, IN_CACHE):
        some = slice(start, start + IN_CACHE)
        for factor, x in terms:
            out[some] += factor * (x if len(x) < rows else x[some])
    return out


def settled(design: PanelDials, streams: Streams) -> Settled:
    """Draw what a world holds fixed: places, levels, covariates, who is treated when."""
    places = design.geography.places(streams, design.size)
    built = {item.label: item.build(places) for item in (design.weights, *design.other_weights)}
    ground = Ground(places, design.labels, built[design.weights.label])
    weights = {name: w for name, w in built.items() if w is not None}
    levels = design.levels.settle(ground, streams)
    covariates = {item.name: item.settle(ground, streams) for item in design.covariates}
    ground = replace(ground, levels=levels, covariates={name: x.values(None)[0] for name, x in covariates.items()})
    gaps = design.missing.some and not design.missing.follows_outcome
    observed = design.missing.fixed(ground, streams.fixed("missing"))[None] if gaps else None
    frame = Panel(places.names, design.labels, {}, design.schema.roles,
                  {name: places.attributes[name] for name in design.schema.attributes},
                  None if observed is None else observed > 0, weights)  # fmt: skip
    world = Settled(
        design=design,
        ground=ground,
        frame=frame,
        levels=levels.total,
        covariates=covariates,
        errors=design.errors.settle(ground, streams),
        multiplier=ground.spatial(design.spillover.rho),
        mediator_filters={item.name: ground.spatial(item.spatial) for item in design.mediators},
        treatment=design.adoption.path(ground, streams.fixed("adoption"))[None],
        observed=observed,
        streams=streams,
    )
    if not design.levels.holds_mean:
        return world
    fixed = {name: values[None] for name, values in ground.covariates.items()}
    return replace(world, levels=levels.total - world.spread(world.covariate_signal(fixed)).mean())
