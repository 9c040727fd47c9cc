"""A settled `panel` design: it draws tiles of replications with their truths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from sim.design import Draw, Wanted
from sim.designs.panel_dials import PanelDials
from sim.designs.panel_drawn import Drawn
from sim.designs.panel_seen import hidden, indexed, measured_covariates, measured_outcome
from sim.designs.panel_settled import Settled, settled
from sim.designs.panel_truths import truths
from sim.designs.parts.ground import Floats
from sim.panel import Panel
from sim.streams import Streams


@dataclass(frozen=True, eq=False, slots=True)
class PanelWorld:
    """A world of parts with all that it holds fixed; known: truths that a preset states itself, by name."""

    settled: Settled
    known: Mapping[str, float] = field(default_factory=dict)

    @property
    def levels(self) -> Floats:
        """All that units and periods bring along, (T, N)."""
        return self.settled.levels

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        """One tile; the outcome is always drawn, a mediator when wanted or when the outcome depends on it."""
        world, design = self.settled, self.settled.design
        tile = Drawn(world, streams)
        names = [name for name in design.schema.roles.mediators if name in wanted.variables]
        drawn = {name: tile.mediators[name] for name in names}
        outcome, index = tile.outcome(names), None
        if design.indicators.names:
            index = indexed(tile, outcome)
            outcome = index.score
            drawn |= {name: x for name, x in index.indicators.items() if name in wanted.variables}
        drawn[design.outcome] = measured_outcome(tile, outcome)
        if design.missing.follows_outcome:
            tile.seen = design.missing.drawn(drawn[design.outcome], streams)
        found = truths(tile, wanted.estimands, None if index is None else index.gain)
        stated = {name: np.full(streams.replications, x) for name, x in self.known.items() if name in found}
        return Draw(_panel(tile, drawn), {**found, **stated})


def _panel(tile: Drawn, drawn: Mapping[str, Floats]) -> Panel:
    """The panel of a tile with what was drawn besides treatment and covariates, hidden where nothing is observed."""
    world, design = tile.world, tile.design

    def regressors() -> dict[str, Floats]:
        treatment = {design.treatment: tile.did} if design.adoption.treats else {}
        return {**treatment, **measured_covariates(tile)}

    if not tile.fixed("missing"):
        assert tile.seen is not None
        return replace(world.frame, observed=tile.seen > 0, variables=hidden(regressors() | drawn, tile.seen))
    shown = drawn if tile.seen is None else hidden(drawn, tile.seen)
    if tile.fixed("adoption", "covariates"):
        made = regressors if tile.seen is None else lambda: hidden(regressors(), cast(Floats, tile.seen))
        return world.once("panel", lambda: world.frame.with_variables(made())).with_variables(shown)
    others = regressors()
    return world.frame.with_variables((others if tile.seen is None else hidden(others, tile.seen)) | shown)


def settle(design: PanelDials, streams: Streams) -> PanelWorld:
    """Draw what a world holds fixed."""
    return PanelWorld(settled(design, streams))
