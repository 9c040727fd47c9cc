"""A linear mediator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sim.designs.parts.mediators import MediatorPart
from sim.designs.parts.part import FINITE, INSIDE, NOT_NEGATIVE, Outline, fault
from sim.errors import Problem


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

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Numbers out of range; what a total cannot hold."""
        if not self.name:
            yield fault("name is empty", "a name", "name the mediator")
        for dial in ("interaction", "spatial"):
            if self.within and getattr(self, dial):
                yield fault(
                    f"{dial} = {getattr(self, dial):g} with within = true", "0", f"set within = false, or {dial} = 0"
                )
