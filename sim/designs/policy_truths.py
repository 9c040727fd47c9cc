"""Truths of staggered policies: every estimand is a weighted mean of unit-periods' effects Y(d) - Y(0).

The weights are those of Callaway and Sant'Anna (2021, section 3) with the draw's own cohort sizes:

    att             treated unit-periods alike
    att(G,T)        units first treated in G, in period T
    event(K)        units that are observed K periods after adoption (0 is its own), in that period
    cohort(G)       unit-periods of cohort G from G on;       calendar(T)    units treated in T
    att_event       mean of event(K) over K >= 0;             att_calendar   mean of calendar(T) over T
    att_cohort      mean of cohort(G) by cohort size

Effects before adoption are no part of any of them: att(G,T) with T < G and event(K) with K < 0 are NaN. Where some
unit-periods are not observed, all of these are means over those that are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.estimands import Estimand
from sim.panel.periods import period_step

POLICY_MEANS = frozenset({"att", "event", "cohort", "calendar", "att_event", "att_cohort", "att_calendar"})


@dataclass(frozen=True, eq=False)
class Adoption:
    """An absorbing policy: the dummy `did` (1 or R, T, N) and the periods' labels `years` (T,).

    seen: 1 where unit-periods are observed, (1 or R, T, N); None where all are.
    """

    did: Floats
    years: Floats
    seen: Floats | None = None
    _weights: dict[Estimand, Floats] = field(default_factory=dict)
    _cells: dict[Estimand, tuple[NDArray[np.intp], Floats]] = field(default_factory=dict)

    def mean_effect(self, gain: Floats, ask: Estimand) -> Floats:
        """The estimand of effects `gain` (1 or R, T, N), (1 or R,); NaN where no unit-period has such an effect.

        Many draws of one calendar are summed over the few unit-periods that have a weight.
        """
        weights = self._weights_of(ask)
        if weights.shape[0] > 1 or gain.shape[0] == 1:
            return _ratio((gain * weights).sum(axis=(1, 2)), weights.sum(axis=(1, 2)))
        if ask not in self._cells:
            flat = weights.ravel()
            self._cells[ask] = (cells := np.flatnonzero(flat)), flat[cells]
        cells, weight = self._cells[ask]
        effects = gain.reshape(gain.shape[0], -1).take(cells, axis=1)
        return _ratio(np.vecdot(effects, weight), np.full(1, weight.sum()))

    def contrast(self, gain: Floats) -> Floats:
        """What two-way DID estimates with one date: the effect's change at it, treated minus untreated units."""
        after, ever = self.did.any(axis=2), self.did.any(axis=1)
        before = ~after
        effect = (gain * after[:, :, None]).sum(axis=1) / after.sum(axis=1, keepdims=True)
        effect = effect - (gain * before[:, :, None]).sum(axis=1) / before.sum(axis=1, keepdims=True)
        treated = (effect * ever).sum(axis=1) / ever.sum(axis=1)
        return treated - (effect * ~ever).sum(axis=1) / (~ever).sum(axis=1)

    def _weights_of(self, ask: Estimand) -> Floats:
        if ask not in self._weights:
            self._weights[ask] = self._compute_weights(ask)
        return self._weights[ask]

    def _compute_weights(self, ask: Estimand) -> Floats:
        """Weights up to scale, (1 or R, T, N); all zero when the world has no such estimand."""
        try:
            numbers = tuple(map(int, ask.arguments))
        except ValueError:
            return np.zeros_like(self.did)
        match ask.kind, numbers:
            case "att", ():
                return self._on
            case "att", (cohort, year):
                return self._on * (self._first == cohort)[:, None, :] * (self.years == year)[:, None]
            case "event", (since,):
                return self._on * (self._since == since)
            case "cohort", (cohort,):
                return self._on * (self._first == cohort)[:, None, :]
            case "calendar", (year,):
                return self._on * (self.years == year)[:, None]
            case "att_event", ():
                return self._shared_by_event()
            case "att_cohort", ():
                return self._shared_by_cohort()
            case "att_calendar", ():
                return _ratio(self._on, self._on.sum(axis=2, keepdims=True), 0.0)
            case _:
                return np.zeros_like(self.did)

    @property
    def _on(self) -> Floats:
        """The dummy where it is observed."""
        return self.did if self.seen is None else self.did * self.seen

    @property
    def _first(self) -> Floats:
        """First treated period, (1 or R, N), inf = never."""
        return np.where(self.did.any(axis=1), self.years[self.did.argmax(axis=1)], np.inf)

    @property
    def _since(self) -> Floats:
        """Periods since adoption, (1 or R, T, N), -inf = never."""
        return (self.years[:, None] - self._first[:, None, :]) / period_step(self.years.astype(np.int64))

    def _shared_by_cohort(self) -> Floats:
        """Weights of cohorts by their units that are observed under treatment, shared by their unit-periods."""
        on = self._on
        if self.seen is None:  # the lives of a cohort's units are of one length
            return _ratio(on, on.sum(axis=1, keepdims=True), 0.0)
        weights, lives = np.zeros_like(on), on.any(axis=1)
        for cohort in np.unique(self._first[np.isfinite(self._first)]):
            among = on * (self._first == cohort)[:, None, :]
            size = (lives * (self._first == cohort)).sum(axis=1)[:, None, None]
            weights += size * _ratio(among, among.sum(axis=(1, 2), keepdims=True), 0.0)
        return weights

    def _shared_by_event(self) -> Floats:
        """Equal weight of every K >= 0, shared by the units that are observed at K."""
        since, on = self._since, self._on
        weights = np.zeros_like(on)
        for k in range(self.years.size):
            among = (since == k) * on
            weights += _ratio(among, among.sum(axis=(1, 2), keepdims=True), 0.0)
        return weights


def _ratio(numerator: Floats, denominator: Floats, empty: float = np.nan) -> Floats:
    """numerator / denominator, `empty` where the denominator is 0."""
    shape = np.broadcast(numerator, denominator).shape
    return np.divide(numerator, denominator, out=np.full(shape, empty), where=denominator > 0)
