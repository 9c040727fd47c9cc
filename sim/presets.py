"""Presets: designs with few dials of their own that are worlds of parts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np

from sim.design import Design, World
from sim.errors import bad, choice_problems, refuse
from sim.schema import Schema
from sim.streams import Streams
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Calendar, Never, Random, sizes_of
from sim.world.parts.covariates import BoundedCovariate, Normal
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.geography import Cities, Nowhere
from sim.world.parts.levels import BoundedLevels, Effects
from sim.world.parts.mediators import Linear
from sim.world.parts.spillover import Neighbours
from sim.world.parts.weights import NoWeights


class Preset(Design):
    """A world of parts behind a few dials."""

    known: ClassVar[Mapping[str, float]] = {}  # truths that the parts do not know by themselves

    @property
    @abstractmethod
    def parts(self) -> PanelDesign:
        """The same world as a design of parts."""

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
        return replace(self.parts.settle(streams), known=dict(self.known))


# What the study of eco-industrial parks printed: sizes, calendar, moments and coefficients of its tables.


PUBLISHED_EFFECT = 0.0157  # table 2, column 5
FIRST_YEAR, LAST_YEAR = 2006, 2023
CITIES = 285
SINGLE_DATE = 2016
# Cities by year of their first park: 48 cities and 396 treated city-years, the first in 2008 (dummy mean .0772).
COHORTS = dict(zip(range(2008, 2021), (1, 1, 3, 3, 3, 4, 4, 3, 3, 4, 2, 5, 12), strict=True))
TREATED = sum(COHORTS.values())
CONTROLS = ("inv", "road", "book", "tech")
# Table 5: policy -> mediator, mediator -> outcome; table 1: mean; residual sd from table 5's R2 (.944, .949); the last
# scales the outcome's levels so that the mediator has table 1's sd (.8004, .4880).
MEDIATION = {"gpat": (0.0925, 0.0072, 1.6339, 0.19, 7.6), "ent": (-0.0478, -0.0148, 2.7999, 0.11, 4.6)}


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Published coefficients of one column: policy, its spatial lag, controls, their lags, spatial parameters."""

    did: float
    w_did: float
    controls: tuple[float, ...]
    w_controls: tuple[float, ...]
    rho: float
    lam: float


_NO_LAGS = (0.0,) * len(CONTROLS)
PUBLISHED = {
    "none": Coefficients(0.0157, 0.0, (0.0763, -0.0027, 0.0072, -0.0025), _NO_LAGS, 0.0, 0.0),  # table 2 column 5
    "error": Coefficients(0.0150, 0.0, (0.0750, 0.0010, 0.0076, -0.0029), _NO_LAGS, 0.0, 0.1657),  # table 7 column 1
    "lag": Coefficients(0.0152, 0.0, (0.0755, -0.0007, 0.0073, -0.0029), _NO_LAGS, 0.1680, 0.0),  # table 7 column 2
    "paper": Coefficients(  # table 7 column 3
        0.0128, 0.0124, (0.0774, 0.0027, 0.0069, -0.0033), (0.0425, -0.0740, -0.0108, 0.0048), 0.1492, 0.0
    ),
}
# Table 1 of the controls: mean, sd, min, max.
CONTROL_MOMENTS = {
    "inv": (0.0960, 0.0670, 0.0079, 0.3619),
    "road": (1.1284, 0.2081, 0.5635, 1.5337),
    "book": (3.0924, 0.4413, 2.1958, 4.4392),
    "tech": (1.5602, 1.1484, 0.2432, 6.6502),
}


# The dials of the `paper` design, what they allow, and the coefficients and panels that they imply.


LARGEST = 1e6  # of a dial: the outcome lies between 0 and 1


@dataclass(frozen=True, slots=True)
class PaperDials(Preset):
    """Settings of the `paper` design; the defaults are the published claim without spillovers.

    effect: the policy's effect; scales did and w_did together (0 is the sharp null, rho stays).
    spillover: none | paper (Durbin) | lag (rho only) | error (lambda only), with table 7's coefficients.
    rho, spatial_error: override the preset's rho and lambda.
    shape: of the effect over years since adoption: constant | growing (full in the fifth year) | fading (.8^k).
    heterogeneity: sd of cities' effects as a share of the effect, redrawn in every replication.
    anticipation: years before adoption in which half of the effect is already felt.
    trend_gap: extra growth of treated cities a year, with or without the policy.
    serial: first-order autocorrelation of the errors (their variance stays). sigma: sd of the errors.
    calendar: staggered (2008-2020) | single (the same cities, one date).
    controls: paper (those of table 2) | none.
    assignment: of the policy, rich (the richer a city the likelier, so that treatment clusters in space) | random.
    treated: number of treated cities, 1 to 284; cohorts keep their proportions.
    redraw: what changes between replications besides the errors: "calendar", "controls".
    mediator: gpat | ent, the channel of table 5 (absent with spatial errors, or without errors). confounding:
    correlation of the mediator's error with the outcome's.
    """

    effect: float = PUBLISHED_EFFECT
    spillover: Literal["none", "paper", "lag", "error"] = "none"
    rho: float | None = None
    spatial_error: float | None = None
    shape: Literal["constant", "growing", "fading"] = "constant"
    heterogeneity: float = 0.0
    anticipation: int = 0
    trend_gap: float = 0.0
    serial: float = 0.0
    sigma: float = 0.029
    calendar: Literal["staggered", "single"] = "staggered"
    controls: Literal["paper", "none"] = "paper"
    redraw: tuple[Literal["calendar", "controls"], ...] = ()
    mediator: Literal["gpat", "ent"] = "gpat"
    confounding: float = 0.0
    assignment: Literal["rich", "random"] = "rich"
    treated: int = TREATED

    def __post_init__(self) -> None:
        refuse(choice_problems(self, "design paper"))
        large = [item.name for item in fields(self) if isinstance(value := getattr(self, item.name), float | int)
                 and not abs(value) <= LARGEST]  # fmt: skip
        if large:
            raise bad(f"{large[0]} = {getattr(self, large[0])}", where="design paper",
                      allowed=f"a finite number up to {LARGEST:g}", remedy="correct the dial")  # fmt: skip
        shares = ("serial", "rho", "spatial_error", "confounding")
        ranges = {name: (-1 < value < 1, "more than -1, less than 1") for name in shares
                  if (value := getattr(self, name)) is not None}  # fmt: skip
        ranges |= {name: (getattr(self, name) >= 0, "0 or more") for name in ("sigma", "heterogeneity")}
        most, others = LAST_YEAR - FIRST_YEAR, CITIES - 1
        ranges["anticipation"] = (0 <= self.anticipation <= most, f"0 to {most}")
        ranges["treated"] = (1 <= self.treated <= others, f"1 to {others}")
        for name, (sound, allowed) in ranges.items():
            if not sound:
                raise bad(f"{name} = {getattr(self, name)}", where="design paper", allowed=allowed,
                          remedy="correct the dial")  # fmt: skip

    @property
    def coefficients(self) -> Coefficients:
        """The world's true coefficients after the dials."""
        published = PUBLISHED[self.spillover]
        scale = self.effect / PUBLISHED_EFFECT
        with_controls = self.controls == "paper"
        return Coefficients(
            did=published.did * scale,
            w_did=published.w_did * scale,
            controls=published.controls if with_controls else (),
            w_controls=published.w_controls if with_controls else (),
            rho=published.rho if self.rho is None else self.rho,
            lam=published.lam if self.spatial_error is None else self.spatial_error,
        )

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """What a world draws once: city levels, and calendar and controls or what is behind redrawn ones."""
        calendar: tuple[str, ...] = ("calendar",)
        if "calendar" in self.redraw:
            calendar = ("cities' chances of treatment",) if self.assignment == "rich" else ()
        controls: tuple[str, ...] = ("controls",) if self.controls == "paper" else ()
        if controls and "controls" in self.redraw:
            controls = ("city means of controls",)
        return (*calendar, *controls, "city levels")


# The `paper` design: eco-industrial parks in 285 Chinese cities as published, with a dial for every departure.
#
# A preset of the `panel` design: geography, calendar sizes, moments and coefficients are the published ones (tables
# 1, 2, 5 and 7 of the study); every number drawn is synthetic. The outcome is
#
#     y = a_i + l_t + g t treated_i + S (X b + WX c + v + S_lambda e),   v = tau_i dose_it + theta (W dose)_it
#
# with S = (I - rho W)^-1, S_lambda = (I - lambda W)^-1 and dose = shape(years since adoption). The effect of the
# policy is Y(d) - Y(0) = S v.


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
    @lru_cache(maxsize=256)  # noqa: B019  (settings are small, and made anew wherever they are read)
    def parts(self) -> PanelDesign:
        """The same world as a design of parts."""
        coefficients = self.coefficients
        controls = tuple(
            BoundedCovariate(name, own, lagged, mean=mean, sd=sd, low=low, high=high)
            for name, own, lagged, (mean, sd, low, high) in zip(
                CONTROLS, coefficients.controls, coefficients.w_controls, CONTROL_MOMENTS.values(), strict=False
            )
        )
        sizes = sizes_of(np.array(list(COHORTS.values())) / TREATED, self.treated)  # in the published proportions
        dates = tuple((year, int(size)) for year, size in zip(COHORTS, sizes, strict=True) if size)
        mediators: tuple[Linear, ...] = ()
        to_mediator, to_outcome, mean, sd, stretch = MEDIATION[self.mediator]
        if self.sigma > abs(to_outcome) * sd and not coefficients.lam:
            # the channel of table 5, whose errors b u fit into sigma; its part of effect and errors is the outcome's
            scale = self.effect / PUBLISHED_EFFECT
            mediators = (Linear(self.mediator, to_mediator * scale, to_outcome, sd, self.confounding, mean=mean,
                                levels=stretch, within=True),)  # fmt: skip
        return PanelDesign(
            periods=LAST_YEAR - FIRST_YEAR + 1,
            first_period=FIRST_YEAR,
            outcome="icr",
            geography=Cities(),
            levels=LEVELS,
            covariates=controls,
            errors=Process(sd=self.sigma, serial=self.serial, spatial=coefficients.lam),
            adoption=Calendar(
                dates=dates if self.calendar == "staggered" else ((SINGLE_DATE, self.treated),),
                on_prosperity=RICH if self.assignment == "rich" else 0.0,
            ),
            effect=Effect(
                size=coefficients.did, shape=self.shape, unit_sd=self.heterogeneity,
                anticipation=self.anticipation, trend_gap=self.trend_gap,
            ),
            spillover=Neighbours(rho=coefficients.rho, w_effect=coefficients.w_did),
            mediators=mediators,
            redraw=tuple(PARTS[name] for name in self.redraw),  # type: ignore[misc]
        )  # fmt: skip


# The `bdm` design: a placebo law in a panel with serially correlated errors (Bertrand, Duflo and Mullainathan
# 2004).
#
#     y_it = e_it,   e_it = serial e_it-1 + u_it,   e stationary with variance 1
#
# 50 units over 1979-1999. Half of them, drawn anew in every replication, get a law of no effect, all in one year
# that is uniform over 1985-1995. It is a preset of the `panel` design. `PUBLISHED` is how often two-way DID with
# plain standard errors rejects at |t| > 1.96 in the paper's simulated panels (panel B, about 400 replications
# each).


UNITS = 50
YEARS = tuple(range(1979, 2000))
LAWS = (1985, 1995)
PUBLISHED_SIZES = {-0.4: 0.008, 0.0: 0.053, 0.2: 0.123, 0.4: 0.19, 0.6: 0.333, 0.8: 0.373}  # serial -> rejection rate
PUBLISHED_DRAWS = 400


@dataclass(frozen=True, slots=True)
class BertrandDufloMullainathan(Preset):
    """The panel of Bertrand, Duflo and Mullainathan: serially correlated outcomes, a placebo law, no effect.

    serial: first-order autocorrelation of the errors, between -1 and 1; their variance stays 1.
    """

    kind: ClassVar[str] = "bdm"

    known: ClassVar[Mapping[str, float]] = {"sigma2": 1.0}  # whatever the autocorrelation of the errors

    serial: float = 0.8

    def __post_init__(self) -> None:
        if not -1 < self.serial < 1:
            raise bad(f"serial = {self.serial}", where="design bdm", allowed="between -1 and 1",
                      remedy="correct the dial")  # fmt: skip

    @property
    @lru_cache(maxsize=64)  # noqa: B019  (settings are small, and made anew wherever they are read)
    def parts(self) -> PanelDesign:
        """The same world as a design of parts."""
        return PanelDesign(
            units=UNITS,
            periods=len(YEARS),
            first_period=YEARS[0],
            geography=Nowhere(),
            weights=NoWeights(),
            levels=Effects(unit_sd=0.0, period_sd=0.0),
            errors=Process(serial=self.serial),
            adoption=Random(share=0.5, dates=LAWS),
            redraw=("adoption",),
        )


# The `clustered` design: regressor and error share shocks within few groups (Cameron, Gelbach and Miller 2008).
#
#     y_ig = effect x_ig + e_g + e_ig,   x_ig = z_g + z_ig
#
# with all shocks independent standard normal, 30 units a group and one period; groups are the attribute "group".
# Half of the variance of x and of the errors is common to a group, so that plain errors are far too small, and with
# few groups clustered ones are too. It is a preset of the `panel` design.


PERIOD = 1
VARIANCE = 2.0  # of x and of the errors: a shock of the group and one of the unit


@dataclass(frozen=True, slots=True)
class Clustered(Preset):
    """A cross-section in which regressor and error share shocks within few groups.

    groups: how many, 2 or more. size: units a group. effect: the coefficient of x.
    """

    kind: ClassVar[str] = "clustered"

    known: ClassVar[Mapping[str, float]] = {"sigma2": VARIANCE}

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
    @lru_cache(maxsize=64)  # noqa: B019  (settings are small, and made anew wherever they are read)
    def parts(self) -> PanelDesign:
        """The same world as a design of parts."""
        sd = float(np.sqrt(VARIANCE))
        return PanelDesign(
            units=self.groups * self.size,
            periods=1,
            first_period=PERIOD,
            geography=Nowhere(groups=self.groups),
            weights=NoWeights(),
            levels=Effects(unit_sd=0.0, period_sd=0.0),
            covariates=(Normal("x", self.effect, sd=sd, between=0.0, group_share=0.5),),
            errors=Process(sd=sd, group_share=0.5),
            adoption=Never(),
            redraw=("covariates",),
        )
