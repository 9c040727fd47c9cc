"""The real 285 Chinese cities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from sim.arrays import Codes
from sim.designs.geography import cities
from sim.designs.parts.geography import Geography
from sim.designs.parts.ground import Places, standard
from sim.streams import Streams

RICHES = {"east": 1.0, "central": 0.2, "west": 0.0}
FACTS = ("province", "region", "capital", "longitude", "latitude")


@dataclass(frozen=True, slots=True)
class Cities(Geography):
    """The 285 Chinese cities of the embedded table; groups are provinces; eastern cities and capitals are richer."""

    kind: ClassVar[str] = "cities"

    @property
    def attributes(self) -> tuple[str, ...]:
        """Province, region, capital and where the city is."""
        return FACTS

    @property
    def group_count(self) -> int:
        """Provinces."""
        return int(_province_codes().max()) + 1

    @property
    def fixed_units(self) -> int:
        """285."""
        return len(cities().names)

    @property
    def draws(self) -> bool:
        """Places are facts; only prosperity is drawn."""
        return False

    def places(self, streams: Streams, units: int) -> Places:
        """The table, with a prosperity of facts and a draw."""
        table = cities()
        noise = streams.fixed("cities").standard_normal(units)
        riches = np.vectorize(RICHES.get)(table.region) + 1.0 * table.capital + 0.5 * noise
        group = _province_codes()
        facts = {name: getattr(table, name) for name in FACTS}
        return Places(table.names, table.longitude, table.latitude, group, standard(riches), facts)


@cache
def _province_codes() -> Codes:
    """The codes 0, 1, ... of the cities' provinces, (N,)."""
    return np.unique(cities().province, return_inverse=True)[1].astype(np.intp)
