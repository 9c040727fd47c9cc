"""The nearer, the stronger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from sim.designs.parts.ground import Places
from sim.designs.parts.part import POSITIVE
from sim.designs.parts.weights import WeightsPart
from sim.weights import Standardize, Weights
from sim.weights.neighbours import inverse_distance


@dataclass(frozen=True, slots=True)
class InverseDistance(WeightsPart):
    """Weights are a negative power of the great-circle distance.

    power: of the distance. cutoff_km: distance beyond which weights are 0; none leaves all. standardize: row (rows sum
    to one) | spectral (the largest eigenvalue is one) | none. islands: what becomes of a unit with no other within the
    cutoff: nearest (it gets its nearest unit) | error (the world is refused). name: what the panel calls W; "" is
    inverse-distance.
    """

    kind: ClassVar[str] = "inverse-distance"
    ranges: ClassVar = {"power": POSITIVE, "cutoff_km": POSITIVE}

    power: float = 1.0
    cutoff_km: float | None = None
    standardize: Standardize = "row"
    islands: Literal["nearest", "error"] = "nearest"
    name: str = ""

    @property
    def label(self) -> str:
        """inverse-distance."""
        return self.name or "inverse-distance"

    def build(self, places: Places) -> Weights:
        """W of the places."""
        return inverse_distance(places.names, places.longitude, places.latitude, power=self.power,
                                cutoff_km=self.cutoff_km, standardize=self.standardize, islands=self.islands,
                                name=self.label)  # fmt: skip
