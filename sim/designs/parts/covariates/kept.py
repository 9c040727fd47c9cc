"""A covariate of the panel that is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sim.arrays import Floats
from sim.designs.parts.covariates import Covariate
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import Outline, fault
from sim.errors import Problem
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class Kept(Covariate):
    """A variable that the panel of the geography "kept" holds, the same in every replication.

    name: of the variable. effect: its coefficient in the outcome. lag_effect: coefficient of its spatial lag.
    bad_control: whether the treatment moves it. moved: by how much, where it does. within: whether the coefficients act
    on deviations from the means of units and periods alone, so that levels hold all that lies between them.
    """

    kind: ClassVar[str] = "kept"

    within: bool = False

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Nothing is drawn."""
        return ()

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """What every covariate may have wrong, and a treatment that moves the levels too."""
        yield from Covariate.faults(self, outline)
        if self.within and self.bad_control:
            yield fault("within = true of a covariate that the treatment moves", "one of the two",
                        "leave within or bad_control out")  # fmt: skip

    def acting(self, values: Floats) -> Floats:
        """The values, or their deviations."""
        if not self.within:
            return values
        means = values.mean(axis=1, keepdims=True) + values.mean(axis=2, keepdims=True)
        return values - means + values.mean(axis=(1, 2), keepdims=True)

    def settle(self, ground: Ground, streams: Streams) -> KeptValues:
        """The values; raises BadInput where the panel lacks the variable."""
        return KeptValues(ground.places.variable(self.name, f"[[design.covariates]] {self.name}")[None])


@dataclass(frozen=True, eq=False, slots=True)
class KeptValues:
    """A settled kept covariate: (1, T, N)."""

    kept: Floats

    def values(self, streams: Streams | None) -> Floats:
        """They do not change."""
        return self.kept
