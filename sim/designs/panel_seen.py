"""What is seen of a tile: the index of indicators, errors of measurement, unit-periods that are observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.arrays import Floats
from sim.designs.panel_drawn import Drawn


@dataclass(frozen=True, eq=False, slots=True)
class Indexed:
    """Indicators by name, their index and what the treatment adds to it, (R, T, N)."""

    indicators: Mapping[str, Floats]
    score: Floats
    gain: Floats


def indexed(tile: Drawn, outcome: Floats) -> Indexed:
    """The index of indicators of an outcome, and H(Y(d)) - H(Y(0)): each index is scaled and weighted on its own."""
    part, observed = tile.design.indicators, tile.world.observed
    untreated = outcome - tile.gain
    errors = part.errors(tile.ground.shape, tile.streams)
    indicators = part.values(outcome, untreated, errors)
    score = part.index(indicators, observed)
    without = part.index(part.values(untreated, untreated, errors), observed)
    return Indexed(indicators, np.nan_to_num(score), np.nan_to_num(score - without))  # no score where not observed


def measured_outcome(tile: Drawn, outcome: Floats) -> Floats:
    """The outcome as it is seen."""
    part, shape = tile.design.measurement, tile.ground.shape
    error = tile.streams.normals("measurement of the outcome", *shape) if part.outcome_sd else None
    return part.seen(outcome, error, part.outcome_sd)


def measured_covariates(tile: Drawn) -> Mapping[str, Floats]:
    """Covariates as they are seen; their errors are fixed in the world unless covariates are drawn anew."""
    part, anew = tile.design.measurement, "covariates" in tile.design.redraw

    def compute() -> dict[str, Floats]:
        seen = {}
        for name, values in tile.covariates.items():
            error = _error_of(tile, f"measurement of {name}", anew=anew) if part.covariate_sd else None
            seen[name] = part.seen(values, error, part.covariate_sd)
        return seen

    if tile.fixed("adoption", "covariates"):
        return tile.world.once("measured covariates", compute)
    return compute()


def _error_of(tile: Drawn, purpose: str, *, anew: bool) -> Floats:
    """Standard normals of a covariate's measurement, (1 or R, T, N)."""
    if anew:
        return tile.streams.normals(purpose, *tile.ground.shape)
    settled = tile.world.streams
    return tile.world.once(purpose, lambda: settled.fixed(purpose).standard_normal((1, *tile.ground.shape)))
