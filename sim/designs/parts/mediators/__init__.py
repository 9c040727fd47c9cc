"""Channels through which the treatment reaches the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.designs.parts.part import Part


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
