"""The `bdm` design: a placebo law in a panel with serially correlated errors (Bertrand, Duflo and Mullainathan 2004).

    y_it = e_it,   e_it = serial e_it-1 + u_it,   e stationary with variance 1

50 units over 1979-1999. Half of them, drawn anew in every replication, get a law of no effect, all in one year that is
uniform over 1985-1995. `PUBLISHED` is how often two-way DID with plain standard errors rejects at |t| > 1.96 in the
paper's simulated panels (panel B, about 400 replications each).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sim.design import Design, Draw, Wanted, World
from sim.designs.policy_truths import POLICY_MEANS, Adoption
from sim.errors import bad
from sim.estimands import Estimand
from sim.panel import Panel, Roles, Schema
from sim.streams import Streams

Floats = NDArray[np.float64]

UNITS = 50
YEARS = tuple(range(1979, 2000))
LAWS = (1985, 1995)
PUBLISHED = {-0.4: 0.008, 0.0: 0.053, 0.2: 0.123, 0.4: 0.19, 0.6: 0.333, 0.8: 0.373}  # serial -> rejection rate
PUBLISHED_REPLICATIONS = 400


@dataclass(frozen=True, slots=True)
class BertrandDufloMullainathan(Design):
    """The panel of Bertrand, Duflo and Mullainathan: serially correlated outcomes, a placebo law, no effect.

    serial: first-order autocorrelation of the errors, between -1 and 1; their variance stays 1.
    """

    kind: ClassVar[str] = "bdm"

    serial: float = 0.8

    def __post_init__(self) -> None:
        if not -1 < self.serial < 1:
            raise bad(f"serial = {self.serial}", where="design bdm", allowed="between -1 and 1",
                      remedy="correct the dial")  # fmt: skip

    @property
    def schema(self) -> Schema:
        """50 units x 21 years: y and did."""
        return Schema(UNITS, len(YEARS), ("y", "did"), (), (), Roles("y", "did"))

    def settle(self, streams: Streams) -> World:
        """A world that holds nothing fixed."""
        return PlaceboLaws(self.serial)


@dataclass(frozen=True, eq=False)
class PlaceboLaws:
    """The settled design: laws and errors are drawn in every replication."""

    serial: float

    @cached_property
    def _frame(self) -> Panel:
        return Panel(tuple(f"state {i + 1:02d}" for i in range(UNITS)), YEARS, {}, Roles("y", "did"))

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        """R panels; every effect is zero."""
        did = np.zeros((streams.replications, len(YEARS), UNITS))
        for row, generator in zip(did, streams.each("law"), strict=True):
            first = int(generator.integers(LAWS[0], LAWS[1] + 1)) - YEARS[0]
            row[first:, generator.permutation(UNITS)[: UNITS // 2]] = 1.0
        errors = streams.normals("errors", len(YEARS), UNITS)
        for t in range(1, len(YEARS)):
            errors[:, t] *= np.sqrt(1 - self.serial**2)
            errors[:, t] += self.serial * errors[:, t - 1]
        truth = {name: _truth(Estimand.parse(name), did) for name in wanted.estimands}
        return Draw(self._frame.with_variables({"y": errors, "did": did}), truth)


def _truth(ask: Estimand, did: Floats) -> Floats:
    """Zero, for each replication, where there is something to estimate."""
    if ask.kind in POLICY_MEANS:
        return Adoption(did, np.array(YEARS, dtype=np.float64)).mean_effect(np.zeros_like(did), ask)
    known = {Estimand("beta", ("did",)): 0.0, Estimand("sigma2", ()): 1.0}
    return np.full(len(did), known.get(ask, np.nan))
