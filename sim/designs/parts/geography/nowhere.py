"""Units without places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.designs.parts.geography import Geography
from sim.designs.parts.ground import Places, standard
from sim.designs.parts.part import Outline, fault, whole_from
from sim.errors import Problem
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class Nowhere(Geography):
    """Units that are nowhere, for worlds without W; with groups, they are consecutive units, as equal as can be.

    groups: how many groups; with more than one, the attribute `group` holds their numbers.
    """

    kind: ClassVar[str] = "nowhere"
    ranges: ClassVar = {"groups": whole_from(1)}

    groups: int = 1

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """More groups than units."""
        if self.groups > outline.units:
            yield fault(f"groups = {self.groups} of {outline.units} units", f"1 to {outline.units}", "correct groups")

    @property
    def attributes(self) -> tuple[str, ...]:
        """The group, if there are several."""
        return ("group",) if self.groups > 1 else ()

    @property
    def group_count(self) -> int:
        """As dialled."""
        return self.groups

    @property
    def draws(self) -> bool:
        """Only prosperity is drawn."""
        return False

    def places(self, streams: Streams, units: int) -> Places:
        """All units at the origin."""
        group = np.arange(units) * self.groups // units
        names = tuple(f"unit {i + 1:0{len(str(units))}d}" for i in range(units))
        prosperity = standard(streams.fixed("places").standard_normal(units))
        facts = {"group": group} if self.groups > 1 else {}
        return Places(names, np.zeros(units), np.zeros(units), group.astype(np.intp), prosperity, facts)
