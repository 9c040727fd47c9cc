"""Places on a square lattice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from sim.designs.parts.geography.uniform import CENTRE, InGroups, placed
from sim.designs.parts.ground import Places
from sim.designs.parts.part import POSITIVE, whole_from
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class Grid(InGroups):
    """Units on a square lattice, row by row, the last row perhaps not full.

    groups: how many compact groups. step: degrees between neighbours.
    """

    kind: ClassVar[str] = "grid"
    ranges: ClassVar = {"groups": whole_from(1), "step": POSITIVE}

    step: float = 0.5

    def places(self, streams: Streams, units: int) -> Places:
        """Rows of ceil(sqrt(N)) units around the centre."""
        side = int(np.ceil(np.sqrt(units)))
        row, column = np.divmod(np.arange(units), side)
        middle = (side - 1) / 2
        longitude, latitude = CENTRE[0] + self.step * (column - middle), CENTRE[1] + self.step * (row - middle)
        places = placed(longitude, latitude, self.groups, streams.fixed("places"))
        return replace(places, lattice=np.stack([row, column], axis=1))
