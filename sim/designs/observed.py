"""The real panel as a design: one draw, truth unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from sim.design import Design, Draw, Wanted, World
from sim.panel import Panel, Schema
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class Observed(Design):
    """A panel that was observed, not drawn: every draw is the panel itself, and every truth is NaN.

    panel: the observed panel, R = 1.
    """

    kind: ClassVar[str] = "observed"

    panel: Panel = field(repr=False)

    @property
    def schema(self) -> Schema:
        """The panel's own."""
        return self.panel.schema

    @property
    def identity(self) -> Mapping[str, Any]:
        """The panel's digest."""
        return {"panel": self.panel.digest}

    @property
    def default_worlds(self) -> int:
        """One: nothing of an observed panel is drawn."""
        return 1

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Nothing: the panel is a fact."""
        return ()

    def settle(self, streams: Streams) -> World:
        """There is nothing to settle."""
        return self

    def draw(self, streams: Streams, wanted: Wanted | None = None) -> Draw:
        """The panel, once."""
        estimands = wanted.estimands if wanted else ()
        return Draw(self.panel, {name: np.full(1, np.nan) for name in estimands})
