"""Errors of many small worlds on common random numbers, by the part of the design that draws them in studies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sim.arrays import Floats
from sim.streams import Streams
from sim.world.context import Ground
from sim.world.parts.errors import Process, SettledProcess


@dataclass(frozen=True, slots=True)
class CommonStreams(Streams):
    """Streams that remember their normals, so that they are drawn once for all parameters."""

    drawn: dict[Any, Floats] = field(default_factory=dict, compare=False, repr=False)

    def normals(self, purpose: str, *shape: int) -> Floats:
        """A copy of the same numbers whenever they are asked for, (R, *shape)."""
        key = (purpose, shape)
        if key not in self.drawn:
            self.drawn[key] = Streams.normals(self, purpose, *shape)
        return self.drawn[key].copy()


def simulated_errors(part: Process, ground: Ground, streams: CommonStreams, treatment: Floats | None = None) -> Floats:
    """Errors (R, T, N) of R worlds under a treatment (1, T, N), each with scales of its own for the units."""
    scales = np.ones((streams.replications, 1, 1))
    if part.unit_heteroskedastic:
        logs = part.unit_heteroskedastic * streams.normals("scales of units", ground.units)
        scales = (np.exp(logs) / np.sqrt(np.square(np.exp(logs)).mean(axis=1, keepdims=True)))[:, None, :]
    spatial = ground.spatial(part.spatial)
    loadings = np.zeros((0, ground.units))
    process = SettledProcess(part, ground, loadings, part.size * scales, True, spatial, None)
    errors = process.spread(process.draw(streams))
    cells = part.cells(np.zeros((1, *ground.shape)) if treatment is None else treatment)
    return errors if cells is None else errors * cells
