"""One tile of panels with its demeaned and lagged variables, each computed once whoever asks."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from estimators.within import WithinTransform
from sim.panel import Panel

Floats = NDArray[np.float64]


class Tile:
    """A view of a panel that remembers what estimators derive from it. Arrays are (1 or R, T, N)."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._memo: dict[tuple[str, ...], Floats] = {}

    @cached_property
    def transform(self) -> WithinTransform:
        """The two-way within transformation of this panel's pattern of observations."""
        return WithinTransform.of(self.panel)

    def raw(self, name: str) -> Floats:
        """A variable as it is in the panel."""
        return self.panel.variables[name]

    def lag(self, name: str, weights: str) -> Floats:
        """The spatial lag W x."""
        return self._remember(("lag", name, weights))

    def within(self, name: str) -> Floats:
        """The variable without unit and time effects, Q x."""
        return self._remember(("within", name))

    def within_lag(self, name: str, weights: str) -> Floats:
        """Q (W x): lagged first, then demeaned (equal to time dummies)."""
        return self._remember(("within lag", name, weights))

    def _remember(self, key: tuple[str, ...]) -> Floats:
        if key not in self._memo:
            match key:
                case ("lag", name, weights):
                    self._memo[key] = self.panel.weights[weights].lag(self.raw(name))
                case ("within", name):
                    self._memo[key] = self.transform(self.raw(name))
                case (_, name, weights):
                    self._memo[key] = self.transform(self.lag(name, weights))
        return self._memo[key]
