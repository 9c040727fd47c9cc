"""The units of a panel that is kept, with all else that other parts keep of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.arrays import Floats
from sim.designs.parts.geography import Geography
from sim.designs.parts.ground import Places, standard
from sim.designs.parts.part import Outline, fault
from sim.errors import Problem, one_of
from sim.panel import Panel
from sim.panel.text import panel_from
from sim.streams import Streams


@dataclass(frozen=True, slots=True, repr=False)
class Kept(Geography):
    """The units of a real panel; parts of the kinds kept, fitted and residuals take their numbers from it too.

    panel: a Parquet file beside the study file, as `panelproof twin` writes it; a store holds the panel itself, as a
    text. groups: an attribute of the units whose values group them; "" is one group. prosperity: a variable or a
    numeric attribute whose mean of each unit is its prosperity; "" is none.
    """

    kind: ClassVar[str] = "kept"
    files: ClassVar[tuple[str, ...]] = ("panel",)

    panel: str = ""
    groups: str = ""
    prosperity: str = ""

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """No panel, other periods, names that the panel lacks."""
        if not self.panel:
            yield fault("panel is missing", "a file panel.parquet beside the study file", "write one with: panelproof "
                        "twin PANEL")  # fmt: skip
            return
        held = self.held
        if len(held.periods) != len(outline.periods):
            what = f"periods = {len(outline.periods)}, but the panel that is kept has {len(held.periods)}"
            yield fault(what, f"{len(held.periods)}", "correct periods")
        if self.groups and self.groups not in held.attributes:
            yield fault(f"groups = {self.groups!r}", one_of(held.attributes), "name an attribute of the units")
        known = [*held.variables, *(name for name, x in held.attributes.items() if x.dtype.kind in "fiub")]
        if self.prosperity and self.prosperity not in known:
            yield fault(f"prosperity = {self.prosperity!r}", one_of(known), "name a variable of the panel")

    def __repr__(self) -> str:
        held = self.held if self.panel else None
        return f"Kept(panel={held!r}, groups={self.groups!r}, prosperity={self.prosperity!r})"

    @property
    def held(self) -> Panel:
        """The panel; raises BadInput where the text is none."""
        return panel_from(self.panel, "[design.geography] panel", "name a file beside the study file")

    @property
    def attributes(self) -> tuple[str, ...]:
        """Those of the panel."""
        return tuple(self.held.attributes) if self.panel else ()

    @property
    def group_count(self) -> int:
        """Different values of the attribute."""
        named = self.held.attributes.get(self.groups) if self.panel else None
        return 1 if named is None else len(np.unique(named))

    @property
    def fixed_units(self) -> int | None:
        """N of the panel."""
        return len(self.held.units) if self.panel else None

    @property
    def draws(self) -> bool:
        """Nothing is drawn."""
        return False

    def places(self, streams: Streams, units: int) -> Places:
        """The units with their facts; those without coordinates lie at the origin."""
        held = self.held
        origin = np.zeros(units)
        longitude, latitude = (
            np.asarray(held.attributes.get(name, origin), dtype=np.float64) for name in ("longitude", "latitude")
        )
        group = np.zeros(units, dtype=np.intp)
        if self.groups:
            group = np.unique(held.attributes[self.groups], return_inverse=True)[1].astype(np.intp)
        return Places(held.units, longitude, latitude, group, self._prosperity(held), dict(held.attributes), kept=held)

    def _prosperity(self, held: Panel) -> Floats:
        if self.prosperity in held.variables:
            return standard(held.variables[self.prosperity][0].mean(axis=0))
        if self.prosperity:
            return standard(np.asarray(held.attributes[self.prosperity], dtype=np.float64))
        return np.zeros(len(held.units))
