"""The dials of the `paper` design, what they allow, and the coefficients and panels that they imply."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from sim.designs.paper_facts import (
    CITIES,
    FIRST_YEAR,
    LAST_YEAR,
    MEDIATION,
    PUBLISHED,
    PUBLISHED_EFFECT,
    TREATED,
    Coefficients,
)
from sim.designs.preset import Preset
from sim.errors import bad, choice_problems, refuse

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
    def has_mediator(self) -> bool:
        """Whether this world has one: its own errors b u must fit into sigma, and errors must not spill over."""
        _, to_outcome, _, sd, _ = MEDIATION[self.mediator]
        return self.sigma > abs(to_outcome) * sd and not self.coefficients.lam

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
