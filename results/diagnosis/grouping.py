"""The rows of some consecutive fits by the world in which they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Flags, Floats


@dataclass(frozen=True, eq=False, slots=True)
class Grouping:
    """Rows by world: they lie in runs of one world each.

    starts: where runs begin. order: runs by world, which begin at `firsts` there. ids, counts: worlds and their rows.
    """

    starts: NDArray[np.intp]
    order: NDArray[np.intp]
    firsts: NDArray[np.intp]
    ids: NDArray[np.intp]
    counts: Floats

    @classmethod
    def of(cls, world: NDArray[np.intp]) -> Grouping:
        """From the world of each row, (R,)."""
        starts = np.flatnonzero(np.diff(world, prepend=-1))
        order = np.argsort(world[starts], kind="stable")
        ids, firsts = np.unique(world[starts][order], return_index=True)
        return cls(starts, order, firsts, ids, np.bincount(world)[ids].astype(np.float64))

    def sums(self, values: Floats | Flags) -> Floats:
        """Sums over the rows of each world, (len(ids), *shape)."""
        if not len(self.ids):
            return np.zeros((0, *values.shape[1:]))
        runs = np.add.reduceat(values, self.starts, axis=0, dtype=np.float64)
        return np.asarray(np.add.reduceat(runs[self.order], self.firsts, axis=0))

    def counted(self, usable: Flags) -> Floats:
        """Usable rows of each world, (len(ids), *shape); of one number each where all are usable."""
        if not usable.all():
            return self.sums(usable)
        return self.counts.reshape(-1, *(1 for _ in usable.shape[1:]))  # as a rule; sums of flags take long

    def places(self, worlds: int) -> slice | NDArray[np.intp]:
        """Where the worlds of these rows stand among all."""
        return slice(None) if len(self.ids) == worlds else self.ids
