"""Where units are and how they group."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from sim.designs.parts.ground import Places
from sim.designs.parts.part import Part
from sim.streams import Streams


class Geography(Part):
    """Where units are and how they group."""

    default: ClassVar[str] = "uniform"

    @property
    @abstractmethod
    def attributes(self) -> tuple[str, ...]:
        """Names of the facts that its places have."""

    @property
    def group_count(self) -> int:
        """How many groups there are."""
        return 1

    @property
    def fixed_units(self) -> int | None:
        """N where the geography decides it, None where any number is possible."""
        return None

    @property
    def draws(self) -> bool:
        """Whether places are drawn, so that they differ between worlds."""
        return True

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Places with the W that follows from them, where they are drawn."""
        return ("places and W",) if self.draws else ()

    @abstractmethod
    def places(self, streams: Streams, units: int) -> Places:
        """Places of N units."""
