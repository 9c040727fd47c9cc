"""A settled `panel` design: it draws tiles of replications with their truths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from sim.arrays import Floats
from sim.design import Draw, Wanted, World
from sim.panel import Panel
from sim.streams import Streams
from sim.world.dials import PanelDials
from sim.world.draw import DrawnWorld, Settled, indexed, measured_covariates, measured_outcome, settled
from sim.world.truths import truths


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
        tile = DrawnWorld(world, streams)
        names = [part.name for part in design.mediators if part.name in wanted.variables]
        drawn = {name: tile.mediators[name] for name in names}
        outcome, gain = tile.outcome(names), None
        if design.indicators.names:
            indicators, outcome, gain = indexed(tile, outcome)
            drawn |= {name: x for name, x in indicators.items() if name in wanted.variables}
        drawn[design.outcome] = measured_outcome(tile, outcome)
        if design.missing.follows_outcome:
            tile.seen = design.missing.drawn(drawn[design.outcome], streams)
        found = truths(tile, wanted.estimands, gain)
        stated = {name: np.full(streams.replications, x) for name, x in self.known.items() if name in found}
        return Draw(_panel(tile, drawn), {**found, **stated})


def _panel(tile: DrawnWorld, drawn: Mapping[str, Floats]) -> Panel:
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


# The `panel` design: a world made of parts, each with its own dials.
#
#     y = a_i + l_t + (trend, factors) + confounding + S (X b + W X c + tau_i dose + spillover + sum_m b_m m + S_l e)
#
# with S = (I - rho W)^-1 and S_l = (I - lambda W)^-1. Every part is a table of the design, may be left out, and is
# one of the kinds in its slot, a module of `sim/world/parts`. The truth of every estimand follows from the
# potential outcomes of the drawn world (`panel_truths`).


@dataclass(frozen=True, slots=True)
class PanelDesign(PanelDials):
    """A world of your own, made of parts.

    units: N; 100 unless the geography decides it. periods: T. first_period: the label of the first one. outcome,
    treatment: names of these variables. geography: where units are and how they group. weights: the true W.
    other_weights: further W that estimators may assume by name. levels: unit and period effects. covariates: what else
    moves the outcome. errors: the law of its errors. adoption: who is treated, when. effect: what the treatment does to
    its own unit. spillover: what it does to others. mediators: channels of the effect. indicators: what the outcome is
    made of, if it is an index. missing: unit-periods that are not observed. measurement: errors of what is seen.
    redraw: what changes between replications besides the errors: "adoption", "covariates".
    """

    kind: ClassVar[str] = "panel"

    def settle(self, streams: Streams) -> World:
        """Draw places, levels, covariates and the calendar of one world."""
        return settle(self, streams)
