"""An effect that may grow, fade, differ between units and begin early."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from sim.arrays import Floats
from sim.errors import Problem
from sim.schema import period_step
from sim.streams import LATER, Streams
from sim.world.context import (
    FINITE,
    NOT_NEGATIVE,
    DesignSummary,
    Part,
    WorldContext,
    fault,
    first_treated,
    standard,
    unknown_covariate,
    whole_from,
)

# What the treatment does to the outcome.


class EffectPart(Part):
    """The treatment's own effect on a unit, before spillovers and mediators."""

    default: ClassVar[str] = "effect"

    @property
    @abstractmethod
    def size_of_units(self) -> float:
        """The effect at a dose of one, before units differ."""

    @property
    @abstractmethod
    def varies(self) -> bool:
        """Whether effects are drawn in every replication."""

    @abstractmethod
    def dose(self, context: WorldContext, treatment: Floats) -> Floats:
        """How strongly each unit-period is treated, (R, T, N), of a treatment (R, T, N)."""

    @property
    @abstractmethod
    def covariate(self) -> str:
        """The covariate that effects follow, "" where they follow none."""

    @abstractmethod
    def sizes(self, context: WorldContext, treatment: Floats, covariate: Floats | None, streams: Streams) -> Floats:
        """Units' effects of a dose of one, (1 or R, 1, N or 1); the covariate they follow is (1 or R, T, N)."""

    @abstractmethod
    def confounding(self, context: WorldContext, treatment: Floats) -> Floats | None:
        """What sets treated units apart with or without the treatment, (R, T, N); None where nothing does."""


FULL_AFTER = 5  # periods until a growing effect is whole
FADING = 0.8  # what is left of a fading effect a period later
EARLY = 0.5  # share of the effect that is felt before adoption


@dataclass(frozen=True, slots=True)
class Effect(EffectPart):
    """The effect of the treatment on its own unit.

    size: effect of a treatment of 1. shape: over periods since adoption: constant | growing (whole in the fifth period)
    | fading (.8 of it is left a period later). path: shares of size by periods since adoption, the last one from then
    on, in place of a shape. unit_sd: standard deviation of units' effects as a share of size, drawn
    in every replication. by_cohort: change of the effect with each period of later adoption, as a share of size.
    by_covariate: a covariate that scales the effect: times 1 + covariate_slope z, z its standardised mean of a unit.
    covariate_slope: see by_covariate. anticipation: periods before adoption in which half of the effect is already
    felt. trend_gap: extra growth of treated units a period, with or without the treatment. jump: shift of treated units
    from their adoption on that the treatment does not cause.
    """

    kind: ClassVar[str] = "effect"
    ranges: ClassVar = {
        "size": FINITE, "unit_sd": NOT_NEGATIVE, "by_cohort": FINITE, "covariate_slope": FINITE,
        "anticipation": whole_from(0), "trend_gap": FINITE, "jump": FINITE,
    }  # fmt: skip

    size: float = 0.0
    shape: Literal["constant", "growing", "fading"] = "constant"
    path: tuple[float, ...] = field(default=(), metadata={LATER: True})
    unit_sd: float = 0.0
    by_cohort: float = 0.0
    by_covariate: str = ""
    covariate_slope: float = 0.5
    anticipation: int = 0
    trend_gap: float = 0.0
    jump: float = 0.0

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Numbers out of range, a covariate that is not there, dials that need units which stay treated."""
        if self.anticipation >= len(summary.periods):
            yield fault(f"anticipation = {self.anticipation}", f"0 to {len(summary.periods) - 1}", "correct it")
        if self.by_covariate and self.by_covariate not in summary.covariates:
            yield unknown_covariate("by_covariate", self.by_covariate, summary)
        if self.path and self.shape != "constant":
            yield fault(f"a path and shape = {self.shape!r}", "one of the two", "leave one out")
        if not np.isfinite(self.path).all():
            yield fault(f"path = {list(self.path)}", "finite numbers", "correct it")
        if self.by_covariate in summary.moved:
            yield fault(f"by_covariate = {self.by_covariate!r}, which the treatment moves", "another covariate",
                        "name another covariate, or set its bad_control = false")  # fmt: skip
        if not summary.absorbing:
            needs = {"shape": self.shape != "constant", "path": self.path, "by_cohort": self.by_cohort,
                     "anticipation": self.anticipation, "jump": self.jump}  # fmt: skip
            for dial in (name for name, used in needs.items() if used):
                yield fault(f"{dial} = {getattr(self, dial)} where units do not stay treated", "an absorbing adoption",
                            f"leave {dial} out")  # fmt: skip

    @property
    def size_of_units(self) -> float:
        """size."""
        return self.size

    @property
    def varies(self) -> bool:
        """With unit_sd."""
        return self.unit_sd > 0

    def dose(self, context: WorldContext, treatment: Floats) -> Floats:
        """The treatment itself, or the shape of an absorbing one."""
        if self.shape == "constant" and not self.path and not self.anticipation:
            return treatment
        since = context.years[:, None] - first_treated(context.years, treatment > 0)[:, None, :]
        since = since / period_step(context.periods)
        treated = treatment > 0
        years = np.where(treated, since, 0.0)
        if self.path:
            shaped = np.array(self.path)[np.minimum(years.astype(int), len(self.path) - 1)]
        elif self.shape == "constant":
            shaped = np.ones_like(years)
        else:
            shaped = np.minimum((years + 1) / FULL_AFTER, 1.0) if self.shape == "growing" else FADING**years
        early = (since >= -self.anticipation) & ~treated
        return np.where(treated, shaped, EARLY * early)

    @property
    def covariate(self) -> str:
        """by_covariate."""
        return self.by_covariate

    def sizes(self, context: WorldContext, treatment: Floats, covariate: Floats | None, streams: Streams) -> Floats:
        """size times what makes units differ."""
        out = np.full((1, 1, 1), self.size)
        if self.unit_sd:
            out = out * (1.0 + self.unit_sd * streams.normals("heterogeneity", context.units)[:, None, :])
        if self.by_cohort:
            first = first_treated(context.years, treatment > 0)
            steps = np.where(np.isfinite(first), first - context.years[0], 0.0) / period_step(context.periods)
            out = out * (1.0 + self.by_cohort * steps[:, None, :])
        if covariate is not None:
            z = np.array([standard(values.mean(axis=0)) for values in covariate])
            out = out * (1.0 + self.covariate_slope * z[:, None, :])
        return out

    def confounding(self, context: WorldContext, treatment: Floats) -> Floats | None:
        """The trend of units that are ever treated, and the jump at adoption."""
        if not self.trend_gap and not self.jump:
            return None
        out = np.zeros((1, 1, 1))
        if self.trend_gap:
            ever = (treatment != 0).any(axis=1, keepdims=True)
            out = out + self.trend_gap * ever * context.time[:, None]
        return out + self.jump * (treatment > 0) if self.jump else out
