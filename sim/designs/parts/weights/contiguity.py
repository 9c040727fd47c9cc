"""Units whose regions touch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sim.designs.parts.ground import Places
from sim.designs.parts.part import Outline, fault
from sim.designs.parts.weights import WeightsPart
from sim.errors import Problem
from sim.weights import Weights
from sim.weights.neighbours import touching_cells

FEWEST = 4  # units of which regions can be drawn


@dataclass(frozen=True, slots=True)
class Contiguity(WeightsPart):
    """Neighbours are units whose regions touch, with equal weights, row-standardised.

    On the geography `grid` the regions are its squares. Elsewhere they are Voronoi cells within the rectangle around
    all units: every place belongs to the unit that is nearest to it. Real borders come from a file of weights.

    rule: queen (a common corner is enough) | rook (a common edge). name: what the panel calls W; "" is the rule.
    """

    kind: ClassVar[str] = "contiguity"

    rule: Literal["queen", "rook"] = "queen"
    name: str = ""

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Too few units for regions."""
        if outline.units < FEWEST:
            yield fault(f"regions of {outline.units} units", f"{FEWEST} units or more", "add units, or use knn")

    @property
    def label(self) -> str:
        """queen or rook."""
        return self.name or self.rule

    def build(self, places: Places) -> Weights:
        """W of the places."""
        if places.lattice is None:
            return touching_cells(places.names, places.longitude, places.latitude, rule=self.rule, name=self.label)
        steps = np.abs(places.lattice[:, None] - places.lattice)
        near = steps.sum(axis=2) == 1 if self.rule == "rook" else steps.max(axis=2) == 1
        return Weights.of(places.names, near.astype(np.float64), "row", self.label)
