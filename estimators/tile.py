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

    def total_sum_of_squares(self, name: str) -> Floats:
        """Sum of squares around the grand mean over observed cells, (R,)."""
        return self._remember(("total", name))

    def _remember(self, key: tuple[str, ...]) -> Floats:
        if key not in self._memo:
            match key:
                case ("lag", name, weights):
                    self._memo[key] = self.panel.weights[weights].lag(self.raw(name))
                case ("within", name):
                    self._memo[key] = self.transform(self.raw(name))
                case ("total", name):
                    self._memo[key] = _centred_squares(self.raw(name), self.panel.observed)
                case (_, name, weights):
                    self._memo[key] = self._within_lag(name, weights)
        return self._memo[key]

    def _within_lag(self, name: str, weights: str) -> Floats:
        """Q W x; for a row-stochastic W and a balanced panel Q W x = Q_N W Q x, which needs one demeaning less."""
        w = self.panel.weights[weights]
        if not w.row_stochastic or self.transform.mask is not None:
            return self.transform(self.lag(name, weights))
        return w.lag(self.within(name), centred=True)


def spread(array: Floats, rows: int) -> Floats:
    """The same for every one of `rows` replications when the leading axis is 1: (1 or R, ...) -> (R, ...)."""
    return array if array.shape[0] == rows else np.broadcast_to(array, (rows, *array.shape[1:]))


def _centred_squares(x: Floats, observed: NDArray[np.bool_] | None) -> Floats:
    """sum (x - xbar)^2, (R,)."""
    flat = x.reshape(x.shape[0], -1) if observed is None else x[:, observed[0]]
    total, mean = np.vecdot(flat, flat), flat.sum(axis=1) / flat.shape[1]
    centred = total - flat.shape[1] * mean**2
    if (centred > 1e-4 * total).all():  # else the difference would lose digits
        return centred
    return np.square(flat - mean[:, None]).sum(axis=1)
