"""A settled `panel` design: it draws tiles of replications with their truths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from sim.arrays import Floats
from sim.design import Draw, Wanted
from sim.designs.panel_dials import PanelDials
from sim.designs.panel_drawn import Drawn
from sim.designs.panel_seen import indexed, measured_covariates, measured_outcome
from sim.designs.panel_settled import Settled, settled
from sim.designs.panel_truths import truths
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
        names = [part.name for part in design.mediators if part.name in wanted.variables]
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
        return _shown({**treatment, **measured_covariates(tile)}, tile.seen)

    if not tile.fixed("missing") and tile.seen is not None:
        whole = regressors() | _shown(drawn, tile.seen)
        return replace(world.frame, observed=tile.seen > 0, variables=whole)
    if tile.fixed("adoption", "covariates"):
        frame = world.once("panel", lambda: world.frame.with_variables(regressors()))
        return frame.with_variables(_shown(drawn, tile.seen))
    return world.frame.with_variables(regressors() | _shown(drawn, tile.seen))


def _shown(values: Mapping[str, Floats], seen: Floats | None) -> dict[str, Floats]:
    """Variables that are NaN where unit-periods (1 or R, T, N) are not observed."""
    return dict(values) if seen is None else {name: np.where(seen > 0, x, np.nan) for name, x in values.items()}


def settle(design: PanelDials, streams: Streams) -> PanelWorld:
    """Draw what a world holds fixed."""
    return PanelWorld(settled(design, streams))
