"""All units within a distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from sim.designs.parts.ground import Places
from sim.designs.parts.part import POSITIVE
from sim.designs.parts.weights import WeightsPart
from sim.weights import Weights
from sim.weights.neighbours import band


@dataclass(frozen=True, slots=True)
class Band(WeightsPart):
    """Neighbours are all units within a great-circle distance, with equal weights, row-standardised.

    km: the distance. islands: what becomes of a unit that has no neighbour: nearest (it gets its nearest unit) | error
    (the world is refused). name: what the panel calls W; "" is band-KM.
    """

    kind: ClassVar[str] = "band"
    ranges: ClassVar = {"km": POSITIVE}

    km: float = 300.0
    islands: Literal["nearest", "error"] = "nearest"
    name: str = ""

    @property
    def label(self) -> str:
        """E.g. band-300."""
        return self.name or f"band-{self.km:g}"

    def build(self, places: Places) -> Weights:
        """W of the places."""
        return band(places.names, places.longitude, places.latitude, km=self.km, islands=self.islands, name=self.label)
