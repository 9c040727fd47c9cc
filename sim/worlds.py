"""Which world a replication lies in: what a cell holds fixed is drawn in K worlds, and whole tiles go round them.

Nothing here depends on how many replications a run asks for, so that a study can be resumed and extended.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]

TILE = 32  # replications drawn and reduced together: enough to spread calls and fixed arrays over, few for memory
WORLDS = 32  # of a design that draws what its cells hold fixed: errors clustered by so many are good to an eighth


def world_of(replication: Indices | int, worlds: int) -> Indices:
    """The world (0 to `worlds` - 1) of absolute replications: a whole tile a world, one tile after the other."""
    return np.asarray(replication) // TILE % worlds


def replications_from(start: int, count: int, worlds: int) -> Indices:
    """The first `count` replications from `start` on, `start` included, that lie in its world, (count,)."""
    within = start % TILE + np.arange(count)
    return start - start % TILE + within // TILE * (TILE * worlds) + within % TILE


def worlds_reached(replications: int, worlds: int) -> int:
    """How many of the worlds so many replications a cell reach."""
    return min(worlds, -(-replications // TILE))
