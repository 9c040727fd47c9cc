"""The `bdm` design: a placebo law in a panel with serially correlated errors (Bertrand, Duflo and Mullainathan 2004).

    y_it = e_it,   e_it = serial e_it-1 + u_it,   e stationary with variance 1

50 units over 1979-1999. Half of them, drawn anew in every replication, get a law of no effect, all in one year that is
uniform over 1985-1995. It is a preset of the `panel` design. `PUBLISHED` is how often two-way DID with plain standard
errors rejects at |t| > 1.96 in the paper's simulated panels (panel B, about 400 replications each).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from sim.designs.panel import PanelDesign
from sim.designs.parts.adoption.random import Random
from sim.designs.parts.errors.process import Process
from sim.designs.parts.geography.nowhere import Nowhere
from sim.designs.parts.levels.effects import Effects
from sim.designs.parts.weights.none import NoWeights
from sim.designs.preset import Preset
from sim.errors import bad

UNITS = 50
YEARS = tuple(range(1979, 2000))
LAWS = (1985, 1995)
PUBLISHED = {-0.4: 0.008, 0.0: 0.053, 0.2: 0.123, 0.4: 0.19, 0.6: 0.333, 0.8: 0.373}  # serial -> rejection rate
PUBLISHED_REPLICATIONS = 400


@dataclass(frozen=True, slots=True)
class BertrandDufloMullainathan(Preset):
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
    def parts(self) -> PanelDesign:
        """The same world as a design of parts."""
        return _parts(self.serial)

    @property
    def known(self) -> Mapping[str, float]:
        """The variance of the errors, whatever their autocorrelation."""
        return {"sigma2": 1.0}


@lru_cache(maxsize=64)
def _parts(serial: float) -> PanelDesign:
    return PanelDesign(
        units=UNITS,
        periods=len(YEARS),
        first_period=YEARS[0],
        geography=Nowhere(),
        weights=NoWeights(),
        levels=Effects(unit_sd=0.0, period_sd=0.0),
        errors=Process(serial=serial),
        adoption=Random(share=0.5, dates=LAWS),
        redraw=("adoption",),
    )
