"""W of the panel that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.designs.parts.ground import Places
from sim.designs.parts.weights import WeightsPart
from sim.errors import bad, one_of
from sim.weights import Weights


@dataclass(frozen=True, slots=True)
class Kept(WeightsPart):
    """A matrix that the panel of the geography "kept" holds.

    name: of the matrix there, and in the panels that are drawn.
    """

    kind: ClassVar[str] = "kept"

    name: str = "w"

    @property
    def label(self) -> str:
        """Its name."""
        return self.name

    def build(self, places: Places) -> Weights:
        """The matrix; raises BadInput where the panel has none of this name."""
        held = places.held("[design.weights]").weights
        if self.name not in held:
            raise bad(f"the panel that is kept has no weights {self.name!r}", where="[design.weights] name",
                      allowed=one_of(held), remedy="correct name")  # fmt: skip
        return held[self.name]
