"""The `paper` design: eco-industrial parks in 285 Chinese cities as published, with a dial for every departure.

Geography, calendar sizes, moments and coefficients are the published ones (tables 1, 2, 5 and 7 of the study); every
number drawn is synthetic. The outcome is

    y = a_i + l_t + g t treated_i + S (X b + WX c + v + S_lambda e),   v = tau_i dose_it + theta (W dose)_it

with S = (I - rho W)^-1, S_lambda = (I - lambda W)^-1 and dose = shape(years since adoption). The effect of the policy
is Y(d) - Y(0) = S v.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.design import World
from sim.designs.paper_dials import PaperDials
from sim.designs.paper_world import settle
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class Paper(PaperDials):
    """Eco-industrial parks in 285 Chinese cities as published; see `PaperDials` for what can be changed."""

    kind: ClassVar[str] = "paper"

    def settle(self, streams: Streams) -> World:
        """Draw geography-bound city levels, calendar and controls; see `sim.designs.paper_world`."""
        return settle(self, streams)
