"""Places drawn uniformly over a square of the globe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.designs.parts.geography import Geography
from sim.designs.parts.ground import Places, standard
from sim.designs.parts.part import Range, whole_from
from sim.streams import Streams

CENTRE = (110.0, 32.0)  # longitude and latitude of the square's middle, degrees


@dataclass(frozen=True, slots=True)
class InGroups(Geography):
    """Places in compact groups, as many as dialled."""

    groups: int = 8

    @property
    def attributes(self) -> tuple[str, ...]:
        """The group and where the unit is."""
        return ("group", "longitude", "latitude")

    @property
    def group_count(self) -> int:
        """As dialled."""
        return self.groups


@dataclass(frozen=True, slots=True)
class Uniform(InGroups):
    """Units at random places of a square; groups are compact: a grid of blocks over the square.

    groups: how many groups, such as provinces. width: of the square in degrees.
    """

    kind: ClassVar[str] = "uniform"
    ranges: ClassVar = {"groups": whole_from(1), "width": Range(0.0, 60.0, "more than 0, less than 60", open=True)}

    width: float = 20.0

    def places(self, streams: Streams, units: int) -> Places:
        """Uniform coordinates around the centre."""
        rng = streams.fixed("places")
        longitude, latitude = rng.uniform(-0.5, 0.5, (2, units)) * self.width + np.array(CENTRE)[:, None]
        return placed(longitude, latitude, self.groups, rng)


def placed(longitude: Floats, latitude: Floats, groups: int, rng: np.random.Generator) -> Places:
    """Places with compact groups of nearly equal size and a random prosperity."""
    group = compact_groups(longitude, latitude, groups)
    names = tuple(f"unit {i + 1:0{len(str(len(group)))}d}" for i in range(len(group)))
    facts = {"group": np.array([f"group {g + 1}" for g in group]), "longitude": longitude, "latitude": latitude}
    return Places(names, longitude, latitude, group, standard(rng.standard_normal(len(group))), facts)


def compact_groups(longitude: Floats, latitude: Floats, groups: int) -> NDArray[np.intp]:
    """Codes of G groups of neighbours, as equal in size as can be: columns of about sqrt(G) blocks each, (N,)."""
    columns = max(round(np.sqrt(groups)), 1)
    blocks = np.diff(np.linspace(0, groups, columns + 1).astype(int))  # blocks a column
    cuts = np.cumsum(blocks)[:-1] * len(longitude) // groups
    group = np.empty(len(longitude), dtype=np.intp)
    first = 0
    for column, count in zip(np.split(np.argsort(longitude, kind="stable"), cuts), blocks, strict=True):
        upwards = column[np.argsort(latitude[column], kind="stable")]
        for block in np.array_split(upwards, count):
            group[block] = first
            first += 1
    return group
