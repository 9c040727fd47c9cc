"""Presets: designs with few dials of their own that are worlds of parts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace

from sim.design import Design, World
from sim.designs.panel import PanelDesign
from sim.designs.panel_world import settle
from sim.panel import Schema
from sim.streams import Streams


class Preset(Design):
    """A world of parts behind a few dials."""

    @property
    @abstractmethod
    def parts(self) -> PanelDesign:
        """The same world as a design of parts."""

    @property
    def known(self) -> Mapping[str, float]:
        """Truths that the parts do not know by themselves."""
        return {}

    @property
    def schema(self) -> Schema:
        """That of the parts."""
        return self.parts.schema

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """What the parts hold fixed."""
        return self.parts.held_fixed

    @property
    def noiseless(self) -> bool:
        """Whether the parts draw neither errors nor effects."""
        return self.parts.noiseless

    def settle(self, streams: Streams) -> World:
        """Draw what the parts hold fixed."""
        return replace(settle(self.parts, streams), known=dict(self.known))
