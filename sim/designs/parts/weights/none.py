"""No W."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.designs.parts.ground import Places
from sim.designs.parts.weights import WeightsPart


@dataclass(frozen=True, slots=True)
class NoWeights(WeightsPart):
    """A world in which nobody has neighbours: no part may use W.

    name: not used.
    """

    kind: ClassVar[str] = "none"
    exists: ClassVar[bool] = False

    name: str = ""

    @property
    def label(self) -> str:
        """None."""
        return self.name or "none"

    def build(self, places: Places) -> None:
        """There is none."""
        return
