"""The `panel` design: a world made of parts, each with its own dials.

    y = a_i + l_t + (trend, factors) + confounding + S (X b + W X c + tau_i dose + spillover + sum_m b_m m + S_l e)

with S = (I - rho W)^-1 and S_l = (I - lambda W)^-1. Every part is a table of the design, may be left out, and is one of
the kinds in its slot's package under `sim/designs/parts`. The truth of every estimand follows from the potential
outcomes of the drawn world (`panel_truths`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.design import World
from sim.designs.panel_dials import PanelDials
from sim.designs.panel_world import settle
from sim.streams import Streams


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
