"""A covariate of the panel that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sim.designs.parts.covariates import Covariate
from sim.designs.parts.ground import Floats, Ground
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class Kept(Covariate):
    """A variable that the panel of the geography "kept" holds, the same in every replication.

    name: of the variable. effect: its coefficient in the outcome. lag_effect: coefficient of its spatial lag.
    bad_control: whether the treatment moves it. moved: by how much, where it does.
    """

    kind: ClassVar[str] = "kept"

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
