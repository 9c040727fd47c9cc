"""Channels through which the treatment reaches the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.designs.parts.part import Part, fault
from sim.errors import Problem


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
