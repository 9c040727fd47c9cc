"""Levels that were fitted to the panel that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.designs.parts.ground import Ground, LevelParts
from sim.designs.parts.levels import Levels
from sim.designs.parts.levels.effects import centred_time
from sim.designs.parts.part import FINITE
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class Fitted(Levels):
    """Unit and period effects and an interactive part, as they were fitted to a real panel.

    method: what fitted them: they are the variables METHOD.additive and METHOD.interactive of the panel of the
    geography "kept", and attributes METHOD.factor1, ... of its units are the loadings. additive: factor of unit and
    period effects, the mean among them; 0 leaves them out. interactive: factor of what is not additive; 0 leaves it
    out.
    """

    kind: ClassVar[str] = "fitted"
    ranges: ClassVar = {"additive": FINITE, "interactive": FINITE}

    method: str = "factor"
    additive: float = 1.0
    interactive: float = 1.0

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Nothing is drawn."""
        return ()

    @property
    def interacts(self) -> bool:
        """With an interactive part."""
        return self.interactive != 0

    def settle(self, ground: Ground, streams: Streams) -> LevelParts:
        """The fitted parts times their factors; a unit's trend is the slope of its level over periods."""
        places, where = ground.places, "[design.levels] method"
        additive = self.additive * places.variable(f"{self.method}.additive", where)
        total = additive + self.interactive * places.variable(f"{self.method}.interactive", where)
        mean, time = total.mean(), centred_time(ground)
        unit, period = total.mean(axis=0) - mean, total.mean(axis=1) - mean
        slopes = time @ total / max(float(time @ time), 1.0)
        facts = places.held(where).attributes
        names = [name for name in facts if name.startswith(f"{self.method}.factor")]
        loadings = np.column_stack([facts[name] for name in names]) if names else np.zeros((ground.units, 0))
        return LevelParts(unit, period, slopes - slopes.mean(), loadings, total)
