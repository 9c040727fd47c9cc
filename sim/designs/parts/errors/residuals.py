"""Errors that are the residuals of the panel that is kept, whole paths of units at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.designs.parts.errors import Errors
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import NOT_NEGATIVE, Outline, fault, whole_from
from sim.errors import Problem
from sim.schemes.connected import compact_blocks
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class Residuals(Errors):
    """Whole residual paths of a real panel, drawn again with replacement or with another sign.

    variable: the residuals in the panel of the geography "kept". draw: resampled (each unit, or block of neighbours,
    gets the path of one that is drawn) | flipped (each keeps its own path, with a random sign). block: most units of
    a block of neighbours in W that are drawn together; 1 draws units alone. sd: the standard deviation that residuals
    are brought to. scale: factor of all errors; 0 leaves none.
    """

    kind: ClassVar[str] = "residuals"
    ranges: ClassVar = {"block": whole_from(1), "sd": NOT_NEGATIVE, "scale": NOT_NEGATIVE}

    variable: str = "residual.residual"
    draw: Literal["resampled", "flipped"] = "resampled"
    block: int = 1
    sd: float = 1.0
    scale: float = 1.0

    @property
    def lam(self) -> float:
        """They follow no spatial process that is known."""
        return float("nan")

    @property
    def dependence(self) -> float:
        """Nor is it known how units depend on each other."""
        return float("nan")

    @property
    def sigma2(self) -> float:
        """Nor one variance."""
        return float("nan")

    @property
    def size(self) -> float:
        """sd times scale."""
        return self.sd * self.scale

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Blocks of more than half of the units."""
        if not 1 <= self.block <= outline.units // 2:
            yield fault(f"block = {self.block} of {outline.units} units", f"1 to {outline.units // 2}", "correct block")

    def settle(self, ground: Ground, streams: Streams) -> SettledResiduals:
        """Residuals at their size, and the blocks of neighbours."""
        paths = ground.places.variable(self.variable, "[design.errors] variable")
        rms = float(np.sqrt(np.square(paths).mean()))
        return SettledResiduals(self, paths * (self.size / rms if rms > 0 else 0.0), blocks(ground, self.block))


@dataclass(frozen=True, eq=False, slots=True)
class SettledResiduals:
    """The errors of one world: paths (T, N); members (B, size) of the blocks, the largest first, -1 where not full."""

    part: Residuals
    paths: Floats
    members: NDArray[np.intp]

    def draw(self, streams: Streams) -> Floats:
        """Paths of each replication, (R, T, N)."""
        drawn = (self._one(rng) for rng in streams.each("residuals"))
        return np.stack([*drawn])

    def mixed(self, shocks: Floats, streams: Streams, purpose: str) -> Floats:
        """Paths drawn once more, at a standard deviation of 1; the shocks where there are no errors."""
        if not self.part.size:
            return shocks
        return np.stack([self._one(rng) for rng in streams.each(purpose)]) / self.part.size

    def spread(self, errors: Floats) -> Floats:
        """They are spread already."""
        return errors

    def _one(self, rng: np.random.Generator) -> Floats:
        inside = self.members >= 0
        if self.part.draw == "flipped":
            signs = np.broadcast_to(rng.choice([-1.0, 1.0], len(inside))[:, None], inside.shape)
            flips = np.empty(self.paths.shape[1])
            flips[self.members[inside]] = signs[inside]
            return self.paths * flips
        sizes = inside.sum(axis=1)
        large_enough = np.searchsorted(-sizes, -sizes, side="right")  # blocks that have as many units, or more
        donors = self.members[rng.integers(large_enough)]
        out = np.empty_like(self.paths)
        out[:, self.members[inside]] = self.paths[:, donors[inside]]
        return out


def blocks(ground: Ground, size: int) -> NDArray[np.intp]:
    """Compact blocks of up to `size` units that are neighbours in W, (B, size), the largest first, filled with -1.

    Units of a block stand in the order in which it grew, so that those in the same place of two blocks are alike in how
    they lie to the others. Blocks of one unit need no W.
    """
    if size == 1:
        return np.arange(ground.units, dtype=np.intp)[:, None]
    linked = ground.main_weights.dense > 0
    found = sorted(compact_blocks(linked | linked.T, size), key=len, reverse=True)
    return np.array([np.r_[block, np.full(size - len(block), -1)] for block in found], dtype=np.intp)
