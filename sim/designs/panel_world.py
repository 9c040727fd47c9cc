"""A settled `panel` design: it draws tiles of replications with their truths."""

from __future__ import annotations

from dataclasses import dataclass

from sim.design import Draw, Wanted
from sim.designs.panel_dials import PanelDials
from sim.designs.panel_drawn import Drawn
from sim.designs.panel_settled import Settled, settled
from sim.designs.panel_truths import truths
from sim.designs.parts.ground import Floats
from sim.streams import Streams


@dataclass(frozen=True, eq=False, slots=True)
class PanelWorld:
    """A world of parts with all that it holds fixed."""

    settled: Settled

    @property
    def levels(self) -> Floats:
        """All that units and periods bring along, (T, N)."""
        return self.settled.levels

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        """One tile; the outcome is always drawn, a mediator when wanted or when the outcome depends on it."""
        world, design = self.settled, self.settled.design
        tile = Drawn(world, streams)
        names = [name for name in design.schema.roles.mediators if name in wanted.variables]
        drawn = {name: tile.mediators[name] for name in names} | {design.outcome: tile.outcome(names)}
        regressors = {design.treatment: tile.did, **tile.covariates}
        if tile.fixed("adoption", "covariates"):
            panel = world.once("panel", lambda: world.frame.with_variables(regressors)).with_variables(drawn)
        else:
            panel = world.frame.with_variables(regressors | drawn)
        return Draw(panel, truths(tile, wanted.estimands))


def settle(design: PanelDials, streams: Streams) -> PanelWorld:
    """Draw what a world holds fixed."""
    return PanelWorld(settled(design, streams))
