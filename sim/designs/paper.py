"""The `paper` design: eco-industrial parks in 285 Chinese cities as published, with a dial for every departure.

A preset of the `panel` design: geography, calendar sizes, moments and coefficients are the published ones (tables 1, 2,
5 and 7 of the study); every number drawn is synthetic. The outcome is

    y = a_i + l_t + g t treated_i + S (X b + WX c + v + S_lambda e),   v = tau_i dose_it + theta (W dose)_it

with S = (I - rho W)^-1, S_lambda = (I - lambda W)^-1 and dose = shape(years since adoption). The effect of the policy
is Y(d) - Y(0) = S v.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sim.designs.panel import PanelDesign
from sim.designs.paper_dials import PaperDials
from sim.designs.paper_facts import (
    COHORTS,
    CONTROL_MOMENTS,
    CONTROLS,
    FIRST_YEAR,
    LAST_YEAR,
    MEDIATION,
    PUBLISHED_EFFECT,
    SINGLE_DATE,
    TREATED,
)
from sim.designs.parts.adoption.calendar import Calendar
from sim.designs.parts.covariates.bounded import Bounded
from sim.designs.parts.effect.effect import Effect
from sim.designs.parts.errors.process import Process
from sim.designs.parts.geography.cities import Cities
from sim.designs.parts.levels.bounded import Bounded as BoundedLevels
from sim.designs.parts.mediators.linear import Linear
from sim.designs.parts.spillover.neighbours import Neighbours

# The outcome's mean and years' trend, and cities' levels around it (sd, low, high; cf. table 1: .2003 to .8402).
LEVELS = BoundedLevels(mean=0.4402, unit_sd=0.098, low=-0.20, high=0.34, period_sd=0.030)
RICH = 1.5  # weight of prosperity in who adopts
PARTS = {"calendar": "adoption", "controls": "covariates"}  # what `redraw` names, as parts


@dataclass(frozen=True, slots=True)
class Paper(PaperDials):
    """Eco-industrial parks in 285 Chinese cities as published; see `PaperDials` for what can be changed.

    >>> import panelproof as pp
    >>> design = pp.Paper(effect=0.02)
    >>> design.schema.units, design.schema.periods
    (285, 18)
    """

    kind: ClassVar[str] = "paper"

    @property
    def parts(self) -> PanelDesign:
        """The same world as a design of parts."""
        return _parts(self)


@lru_cache(maxsize=256)
def _parts(dials: PaperDials) -> PanelDesign:
    coefficients = dials.coefficients
    controls = tuple(
        Bounded(name, own, lagged, mean=mean, sd=sd, low=low, high=high)
        for name, own, lagged, (mean, sd, low, high) in zip(
            CONTROLS, coefficients.controls, coefficients.w_controls, CONTROL_MOMENTS.values(), strict=False
        )
    )
    sizes = cohort_sizes(dials.treated)
    dates = tuple((year, int(size)) for year, size in zip(COHORTS, sizes, strict=True) if size)
    return PanelDesign(
        periods=LAST_YEAR - FIRST_YEAR + 1,
        first_period=FIRST_YEAR,
        outcome="icr",
        geography=Cities(),
        levels=LEVELS,
        covariates=controls,
        errors=Process(sd=dials.sigma, serial=dials.serial, spatial=coefficients.lam),
        adoption=Calendar(
            dates=dates if dials.calendar == "staggered" else ((SINGLE_DATE, dials.treated),),
            on_prosperity=RICH if dials.assignment == "rich" else 0.0,
        ),
        effect=Effect(
            size=coefficients.did, shape=dials.shape, unit_sd=dials.heterogeneity,
            anticipation=dials.anticipation, trend_gap=dials.trend_gap,
        ),
        spillover=Neighbours(rho=coefficients.rho, w_effect=coefficients.w_did),
        mediators=_mediators(dials),
        redraw=tuple(PARTS[name] for name in dials.redraw),  # type: ignore[misc]
    )  # fmt: skip


def _mediators(dials: PaperDials) -> tuple[Linear, ...]:
    """The channel of table 5, whose part of effect and errors is within the outcome's."""
    if not dials.has_mediator:
        return ()
    to_mediator, to_outcome, mean, sd, stretch = MEDIATION[dials.mediator]
    scale = dials.effect / PUBLISHED_EFFECT
    return (Linear(dials.mediator, to_mediator * scale, to_outcome, sd, dials.confounding, mean=mean, levels=stretch,
                   within=True),)  # fmt: skip


def cohort_sizes(treated: int) -> NDArray[np.intp]:
    """The published cohorts' sizes in proportion to `treated` cities, by largest remainders (ties: the earlier)."""
    exact = np.array(list(COHORTS.values())) * treated
    sizes, remainders = exact // TREATED, exact % TREATED
    sizes[np.argsort(-remainders, kind="stable")[: treated - sizes.sum()]] += 1
    return sizes.astype(np.intp)
