"""The `clustered` design: regressor and error share shocks within few groups (Cameron, Gelbach and Miller 2008).

    y_ig = effect x_ig + e_g + e_ig,   x_ig = z_g + z_ig

with all shocks independent standard normal, 30 units a group and one period; groups are the attribute "group". Half of
the variance of x and of the errors is common to a group, so that plain errors are far too small, and with few groups
clustered ones are too. It is a preset of the `panel` design.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from sim.designs.panel import PanelDesign
from sim.designs.parts.adoption.never import Never
from sim.designs.parts.covariates.normal import Normal
from sim.designs.parts.errors.process import Process
from sim.designs.parts.geography.nowhere import Nowhere
from sim.designs.parts.levels.effects import Effects
from sim.designs.parts.weights.none import NoWeights
from sim.designs.preset import Preset
from sim.errors import bad

PERIOD = 1
VARIANCE = 2.0  # of x and of the errors: a shock of the group and one of the unit


@dataclass(frozen=True, slots=True)
class Clustered(Preset):
    """A cross-section in which regressor and error share shocks within few groups.

    groups: how many, 2 or more. size: units a group. effect: the coefficient of x.
    """

    kind: ClassVar[str] = "clustered"

    groups: int = 10
    size: int = 30
    effect: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("groups", 2), ("size", 1)):
            if getattr(self, name) < least:
                raise bad(f"{name} = {getattr(self, name)}", where="design clustered", allowed=f"{least} or more",
                          remedy="correct the dial")  # fmt: skip
        if not np.isfinite(self.effect):
            raise bad(f"effect = {self.effect}", where="design clustered", allowed="a finite number",
                      remedy="correct the dial")  # fmt: skip

    @property
    def parts(self) -> PanelDesign:
        """The same world as a design of parts."""
        return _parts(self)

    @property
    def known(self) -> Mapping[str, float]:
        """The variance of both shocks."""
        return {"sigma2": VARIANCE}


@lru_cache(maxsize=64)
def _parts(dials: Clustered) -> PanelDesign:
    sd = float(np.sqrt(VARIANCE))
    return PanelDesign(
        units=dials.groups * dials.size,
        periods=1,
        first_period=PERIOD,
        geography=Nowhere(groups=dials.groups),
        weights=NoWeights(),
        levels=Effects(unit_sd=0.0, period_sd=0.0),
        covariates=(Normal("x", dials.effect, sd=sd, between=0.0, group_share=0.5),),
        errors=Process(sd=sd, group_share=0.5),
        adoption=Never(),
        redraw=("covariates",),
    )
