"""Channels through which the treatment reaches the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.errors import Problem
from sim.world.context import FINITE, INSIDE, NOT_NEGATIVE, DesignSummary, Part, fault


@dataclass(frozen=True, slots=True)
class MediatorPart(Part):
    """A variable that the treatment moves by `a` and that moves the outcome by `b`.

    within: whether the treatment's effect and the errors of the outcome are given as totals that include what goes
    through the mediator; a mediator is then drawn only when an estimator reads it.
    """

    default: ClassVar[str] = "linear"

    name: str = "m"
    a: float = 0.0
    b: float = 0.0
    sd: float = 1.0
    confounding: float = 0.0
    interaction: float = 0.0
    spatial: float = 0.0
    mean: float = 0.0
    levels: float = 1.0
    within: bool = False


def structural_sd(parts: Sequence[MediatorPart], total: float) -> float:
    """sd of e_y in total^2 = sd_y^2 + 2 sd_y sum b kappa sd_m + sum b^2 sd_m^2; below 0 or NaN where there is none."""
    half = sum(part.b * part.confounding * part.sd for part in parts)
    square = half**2 + total**2 - sum((part.b * part.sd) ** 2 for part in parts)
    return float(np.sqrt(square)) - half if square >= 0 else float("nan")


def total_problems(parts: Sequence[MediatorPart], total: float) -> Iterator[Problem]:
    """What mediators within an outcome's error of sd `total`, independent of each other, ask for and cannot have."""
    if not parts or not total:
        return
    if not structural_sd(parts, total) >= 0:
        moved = float(np.sqrt(sum((part.b * part.sd) ** 2 for part in parts)))
        yield fault(f"within = true, but b times sd moves the outcome with sd {moved:.4g}, its errors with "
                    f"{total:.4g} in all", f"b sd up to {total:.4g}, as a root of the sum of squares",
                    "lower b or sd, raise errors.sd, or set within = false")  # fmt: skip
    shared = float(sum(part.confounding**2 for part in parts))
    if shared > 1:
        yield fault(f"squares of confounding with within = true sum to {shared:.4g}", "a sum up to 1",
                    "lower confounding")  # fmt: skip


# A linear mediator.


@dataclass(frozen=True, slots=True)
class Linear(MediatorPart):
    """m = mean + levels (unit and period effects) + a D + u; the outcome has b m + interaction D m.

    name: of the variable. a: effect of the treatment on it. b: its effect on the outcome. sd: standard deviation of its
    own error u before it spreads over space. confounding: correlation of u with the outcome's error, both before they
    spread. interaction: effect of the product of treatment and mediator on the outcome. spatial: spatial coefficient of
    u over W. mean: of the mediator. levels: factor of the
    outcome's unit and period effects in it. within: whether effect.size and errors.sd are totals, what goes through
    the mediator included; it is then drawn only when an estimator reads it, its error lasts and spreads as the
    outcome's does, and b sd must fit into errors.sd.
    """

    kind: ClassVar[str] = "linear"
    ranges: ClassVar = {
        "a": FINITE, "b": FINITE, "sd": NOT_NEGATIVE, "confounding": INSIDE, "interaction": FINITE, "spatial": INSIDE,
        "mean": FINITE, "levels": FINITE,
    }  # fmt: skip

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Numbers out of range; what a total cannot hold."""
        if not self.name:
            yield fault("name is empty", "a name", "name the mediator")
        for dial in ("interaction", "spatial"):
            if self.within and getattr(self, dial):
                yield fault(
                    f"{dial} = {getattr(self, dial):g} with within = true", "0", f"set within = false, or {dial} = 0"
                )
