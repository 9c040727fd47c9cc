"""The k nearest units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sim.designs.geography import cities, city_weights
from sim.designs.parts.ground import Places
from sim.designs.parts.part import Outline, fault, whole_from
from sim.designs.parts.weights import WeightsPart
from sim.errors import Problem
from sim.weights import Weights
from sim.weights.neighbours import knn


@dataclass(frozen=True, slots=True)
class Knn(WeightsPart):
    """Each unit's k nearest units by great-circle distance, row-standardised.

    k: how many neighbours. name: what the panel calls W; "" is knn-K.
    """

    kind: ClassVar[str] = "knn"
    ranges: ClassVar = {"k": whole_from(1)}

    k: int = 6
    name: str = ""

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """More neighbours than other units."""
        if self.k >= outline.units:
            yield fault(
                f"k = {self.k} of {outline.units} units", f"1 to {outline.units - 1}", "choose fewer neighbours"
            )

    @property
    def label(self) -> str:
        """E.g. knn-6."""
        return self.name or f"knn-{self.k}"

    def build(self, places: Places) -> Weights:
        """W of the places; that of the embedded cities is built once."""
        if places.names == cities().names and not self.name:
            return city_weights(self.k)
        return knn(places.names, places.longitude, places.latitude, k=self.k, name=self.label)
