"""One tile of panels with its demeaned and lagged variables, each computed once whoever asks."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from estimators.core.within import WithinTransform, balanced_split
from sim.arrays import Floats
from sim.panel import Panel

UNDATED = -1  # in place of dates: the treatment is not absorbing


class Tile:
    """A view of a panel that remembers what estimators derive from it. Arrays are (1 or R, T, N)."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._memo: dict[tuple[str, ...], Floats] = {}
        self._adoptions: dict[str, NDArray[np.int16] | None] = {}

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

    def first_treated(self, name: str) -> NDArray[np.int16] | None:
        """As `first_treated`, of a variable of a balanced panel; None where cells are missing."""
        if name not in self._adoptions:
            balanced = self.transform.mask is None
            self._adoptions[name] = first_treated(self.raw(name)) if balanced else None
        return self._adoptions[name]

    def raw_sum_of_squares(self, name: str) -> Floats:
        """Sum of squares over observed cells, (1 or R,)."""
        return self._remember(("raw squares", name))

    def within_sum_of_squares(self, name: str) -> Floats:
        """Sum of squares of Q x, (1 or R,)."""
        return self._remember(("within squares", name))

    def total_sum_of_squares(self, name: str) -> Floats:
        """Sum of squares around the grand mean over observed cells, (R,)."""
        return self._remember(("total", name))

    def _remember(self, key: tuple[str, ...]) -> Floats:
        if key not in self._memo:
            match key:
                case ("lag", name, weights):
                    self._memo[key] = self.panel.weights[weights].lag(self.raw(name))
                case ("within", name) if self.transform.mask is None:
                    self._memo[key], self._memo["between squares", name] = balanced_split(self.raw(name))
                case ("within", name):
                    self._memo[key] = self.transform(self.raw(name))
                case ("within squares", name):
                    self._memo[key] = _squares(self.within(name).reshape(-1, self.raw(name)[0].size))
                case ("raw squares", name):
                    self._memo[key] = _squares(self._observed(name))
                case ("total", name):
                    self._memo[key] = self._total(name)
                case (_, name, weights):
                    self._memo[key] = self._within_lag(name, weights)
        return self._memo[key]

    def _total(self, name: str) -> Floats:
        """sum (x - xbar)^2: what is left within, and between units and periods."""
        if self.transform.mask is None:
            return self.within_sum_of_squares(name) + self._memo["between squares", name]
        seen = self._observed(name)
        return np.asarray(np.square(seen - seen.mean(axis=1, keepdims=True)).sum(axis=1))

    def _observed(self, name: str) -> Floats:
        """Values of observed cells, (1 or R, cells)."""
        x, mask = self.raw(name), self.transform.mask
        return x.reshape(x.shape[0], -1) if mask is None else x[:, mask > 0]

    def _within_lag(self, name: str, weights: str) -> Floats:
        """Q W x; for a row-stochastic W and a balanced panel Q W x = Q_N W Q x, which needs one demeaning less."""
        w = self.panel.weights[weights]
        if not w.row_stochastic or self.transform.mask is not None:
            return self.transform(self.lag(name, weights))
        return w.lag(self.within(name), centred=True)


def _squares(flat: Floats) -> Floats:
    """Sums of squares over the last axis."""
    return np.asarray(np.vecdot(flat, flat))


def first_treated(d: Floats) -> NDArray[np.int16] | None:
    """First treated periods (B, N), T = never, of treatments d (B, T, N); None unless all are 0/1 and absorbing."""
    first = dates_of(d)
    return None if (first == UNDATED).any() else first


def dates_of(d: Floats) -> NDArray[np.int16]:
    """The same with UNDATED in the rows of treatments that are not."""
    absorbing = ((d == 0) | (d == 1)).all(axis=(1, 2)) & (d[:, 1:] >= d[:, :-1]).all(axis=(1, 2))
    return np.where(absorbing[:, None], d.shape[1] - d.sum(axis=1), UNDATED).astype(np.int16)


def spread(array: Floats, rows: int) -> Floats:
    """The same for every one of `rows` replications when the leading axis is 1: (1 or R, ...) -> (R, ...)."""
    return array if array.shape[0] == rows else np.broadcast_to(array, (rows, *array.shape[1:]))
