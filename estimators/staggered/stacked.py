"""Stacked difference-in-differences (Cengiz, Dube, Lindner and Zipperer 2019), on R panels at once.

One stack a cohort: its units and clean controls, over the event window. In stacked data, with event dummies D_k, unit
by stack and period by stack effects, y_ist = sum_k b_k D_k,ist + x_it'c + a_is + l_st + e_ist by (weighted) least
squares.

A stack's periods and units are rectangular, so that what is left of a variable after its effects is a difference of
means, and with psi_ist = (Z~'W Z~)^-1 w z~_ist the sum of psi e over a unit's stacked rows needs the outcome only
through sum_s psi_ist on y_it and through the weighted means of y over a stack's units in each period.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from estimators.core import regression as ols
from estimators.core.estimator import Home, WeightUse
from estimators.staggered.adoption_effects import AdoptionEffects, Cohorts, LinearFit, event_averages
from estimators.staggered.dummy_regression import invert_partialled, sums_by_unit, units_first
from sim.arrays import Codes, Flags, Floats
from sim.errors import bad
from sim.panel import Panel
from sim.presets import Paper
from sim.schema import Schema

Weighting = Literal["variance", "corrective"]


@dataclass(frozen=True, slots=True)
class Stacked(AdoptionEffects):
    """Event-study regression on one stack a cohort, period -1 the reference.

    The window (first and last event time) is each stack's; its controls are clean: never treated, or not before the
    window ends. complete: only cohorts whose whole window lies in the panel, so that every event time is of the same
    cohorts; False keeps the others with the part that is seen. weighting: "variance", least squares, under which
    event(K) weights a cohort's effect by N1 N0 / (N1 + N0) of its stack (Cengiz et al. 2019; Gardner 2022), or
    "corrective", weights (N1_s / N1) / (N0_s / N0) of controls, under which it weights it by its treated units (Wing,
    Freedman and Hollingsworth 2024); both exactly so for complete windows without controls x. Either way event(K) and
    `overall`, its mean over treated unit-periods of the stacks with K >= 0, are averages of the cohorts and event times
    that have a stack, not of all treated.
    Their targets, averages over all treated, are met where effects are the same.

    Errors are clustered by unit over all its copies, with the factor G/(G-1) (n-1)/(n-k), n stacked rows, k counting
    slopes and period by stack effects, and t of G - 1.

    >>> import panelproof as pp
    >>> found = pp.Stacked()(pp.example_panel().panel)
    >>> print(f"{found.params['event(0)']:.3f} ({found.std_errors['event(0)']:.3f})")
    0.015 (0.026)
    """

    kind: ClassVar[str] = "stacked"
    weight_use: ClassVar[WeightUse] = "used"
    # home: the `paper` design: effects are the same in all cohorts and event times
    home: ClassVar[Home] = (Paper(), ("overall", "overall:event", "event(0)", "event(3)"))

    weighting: Weighting = "variance"
    complete: bool = True

    def check(self, schema: Schema) -> None:
        """Raise BadInput for a whole window that is wider than the panel too: no cohort would have a stack."""
        AdoptionEffects.check(self, schema)
        low, high = self._reach
        if self.complete and high - low >= schema.periods:
            raise bad(f"no cohort has clean controls over the window {list(self.window)}: {high - low + 1} event times "
                      f"in {schema.periods} periods",
                      where=self.name, allowed="a window within the panel, the period before adoption in it",
                      remedy="shorten the window, or set complete = false")  # fmt: skip

    def fit(self, panel: Panel) -> StackedFit:
        """The stacked regression; raises BadInput when no cohort has a stack."""
        _, treatment, controls = self.names(panel.schema)
        cohorts = Cohorts.of(panel, treatment, self.name)
        stacks = [stack for stack in self._stacks(cohorts) if stack.whole or not self.complete]
        if not stacks:
            raise bad(f"no cohort has clean controls over the window {list(self.window)}", where=self.name,
                      allowed="a window within the panel, and units untreated to its end",
                      remedy="shorten the window, or set complete = false")  # fmt: skip
        since = np.unique(np.concatenate([stack.since for stack in stacks]))
        events = [int(k) for k in since if k != -1]
        raw = np.stack([panel.variables[name][0] for name in controls]) if controls else np.empty((0, 1, 1))
        weights = self._weights(stacks, cohorts)
        t, n = len(cohorts.periods), len(cohorts.first)
        columns = [stack.regressors(events, raw) for stack in stacks]
        left = []  # after unit effects and period effects
        for x, w in zip(columns, weights, strict=True):
            around = x - x.mean(axis=1, keepdims=True)
            left.append(around - (around @ w / w.sum())[:, :, None])
        solution, sound = invert_partialled(_joined(columns, weights), _joined(left, weights))
        masses = [stack.masses(cohorts)[0] for stack in stacks]
        present = [
            [(stack.since == k).any() * mass for k in events] for stack, mass in zip(stacks, masses, strict=True)
        ]
        combine = event_averages(self.terms(), events, np.sum(present, axis=0).astype(np.float64))
        padded = np.column_stack([np.nan_to_num(combine), np.zeros((len(combine), len(raw)))])
        slopes_of, shared, explained = _influences(padded, solution, stacks, left, weights, (t, n))
        places = [[stack.periods, np.full(len(stack.periods), row)] for row, stack in enumerate(stacks)]
        averaging, clean = np.zeros((len(stacks), n)), np.zeros(n, dtype=bool)
        adopters = np.zeros((len(events), n), dtype=bool)  # by the event times at which their stack holds them
        for row, (stack, w) in enumerate(zip(stacks, weights, strict=True)):
            averaging[row, stack.units] = w / w.sum()
            adopters[np.ix_(np.isin(events, stack.since), stack.units[: stack.treated])] = True
            clean[stack.units[stack.treated :]] = True
        rows = sum(stack.rows for stack in stacks)
        identified = np.isfinite(combine).all(axis=1)
        return StackedFit(
            identified=identified,
            certain=identified,
            used=averaging.any(axis=0),
            compared=clean,
            averaged=(np.nan_to_num(combine) != 0) @ adopters,
            treated=adopters.any(axis=0),
            sample=(rows, len(solution) + sum(len(stack.periods) for stack in stacks)),
            sound=sound,
            slopes_of=slopes_of,
            combine=padded,
            own=units_first(np.tensordot(padded, slopes_of, axes=1)),
            shared=shared,
            averaging=averaging,
            places=np.concatenate(places, axis=1),
            explained=explained,
        )

    def sample(self, panel: Panel) -> StackedSample:
        """Which cohorts, units and periods the stacks of a panel hold; raises BadInput when it has no cohorts."""
        cohorts = Cohorts.of(panel, self.names(panel.schema)[1], self.name)
        every = list(self._stacks(cohorts))
        stacks = [stack for stack in every if stack.whole or not self.complete]
        units, periods = (np.zeros(size, dtype=bool) for size in (len(cohorts.first), len(cohorts.periods)))
        for stack in stacks:
            units[stack.units] = periods[stack.periods] = True
        return StackedSample(
            cohorts=tuple(stack.adoption(cohorts) for stack in stacks),
            cut=tuple(stack.adoption(cohorts) for stack in every if not stack.whole),
            units=units,
            periods=periods,
            treated=sum(stack.treated for stack in stacks),
            rows=sum(stack.rows for stack in stacks),
        )

    def _stacks(self, cohorts: Cohorts) -> Iterator[Stack]:
        """Every cohort that has clean controls, with these, over what the panel holds of the window."""
        low, high = self._reach
        for first in cohorts.firsts:
            periods = np.arange(max(first + low, 0), min(first + high, len(cohorts.periods) - 1) + 1)
            treated = np.flatnonzero(cohorts.first == first)
            clean = np.flatnonzero(cohorts.first > periods[-1])
            if clean.size:
                units, whole = np.concatenate([treated, clean]), len(periods) == high - low + 1
                yield Stack(periods, periods - first, units, len(treated), whole)

    @property
    def _reach(self) -> tuple[int, int]:
        """First and last event time of a stack: the window with the reference period."""
        return min(self.window[0], -1), self.window[1]

    def _weights(self, stacks: list[Stack], cohorts: Cohorts) -> list[Floats]:
        masses = [stack.masses(cohorts) for stack in stacks]
        treated, clean = (sum(each) for each in zip(*masses, strict=True))
        corrected = [(own / treated) / (others / clean) for own, others in masses]
        weights = [
            np.where(np.arange(len(stack.units)) < stack.treated, 1.0, q if self.weighting == "corrective" else 1.0)
            for stack, q in zip(stacks, corrected, strict=True)
        ]
        if cohorts.weights is None:
            return weights
        return [w * cohorts.weights[stack.units] for w, stack in zip(weights, stacks, strict=True)]


@dataclass(frozen=True, eq=False, slots=True)
class Stack:
    """Indices of periods (T',), their distance from adoption, indices of units (N',), the treated ones first; whether
    the panel holds its window from end to end."""

    periods: Codes
    since: Codes
    units: Codes
    treated: int
    whole: bool

    @property
    def rows(self) -> int:
        """Unit-periods."""
        return len(self.periods) * len(self.units)

    def masses(self, cohorts: Cohorts) -> tuple[float, float]:
        """Treated and control units, or the sums of their weights."""
        if cohorts.weights is None:
            return self.treated, len(self.units) - self.treated
        own = cohorts.weights[self.units]
        return float(own[: self.treated].sum()), float(own[self.treated :].sum())

    def adoption(self, cohorts: Cohorts) -> int:
        """The first treated period of the stack's cohort as the panel names it."""
        return cohorts.periods[int(self.periods[0] - self.since[0])]

    def regressors(self, events: list[int], controls: Floats) -> Floats:
        """Event dummies and controls, (P, T', N')."""
        dummies = np.zeros((len(events), len(self.periods), len(self.units)))
        dummies[:, :, : self.treated] = (np.array(events)[:, None] == self.since)[:, :, None]
        if not len(controls):
            return dummies
        return np.concatenate([dummies, controls[:, self.periods[:, None], self.units]])


@dataclass(frozen=True, eq=False, slots=True)
class StackedSample:
    """What stacks hold. cohorts: labels of those with a stack; cut: of those with clean controls, in a stack or not,
    whose window the panel holds in part; units (N,) and periods (T,): those in a stack; treated: units that adopt;
    rows: unit-periods, one in several stacks counted in each."""

    cohorts: tuple[int, ...]
    cut: tuple[int, ...]
    units: Flags
    periods: Flags
    treated: int
    rows: int


@dataclass(frozen=True, eq=False, slots=True)
class StackedFit(LinearFit):
    """slopes_of (P, T, N): b = slopes_of'y; combine (K, P).

    Contributions of a unit are what `own` (N, T, K) makes of its outcomes, less what `shared` (M, K, N) makes of the M
    means of stacks by period (averaging (S, N), places (2, M): period, stack) and `explained` (P, K, N) of the slopes.
    """

    slopes_of: Floats
    combine: Floats
    own: Floats
    shared: Floats
    averaging: Floats
    places: Codes
    explained: Floats

    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Terms (R, K) and contributions (R, K, N)."""
        slopes = ols.inner(self.slopes_of[None], y)
        means = (y @ self.averaging.T)[:, self.places[0], self.places[1]]
        contributions = sums_by_unit(y, self.own)
        contributions = contributions - np.tensordot(means, self.shared, axes=1)
        contributions -= np.tensordot(slopes, self.explained, axes=1)
        return slopes @ self.combine.T, contributions


def _influences(
    padded: Floats, solution: Floats, stacks: list[Stack], left: list[Floats], weights: list[Floats],
    shape: tuple[int, int],
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """What each unit-period moves the slopes by (P, T, N), each stack's period means move the terms by (rows, K, N),
    and what the regressors of a unit explain of that (P, K, N)."""
    t, n = shape
    slopes_of = np.zeros((len(solution), t, n))
    explained = np.zeros((len(solution), len(padded), n))
    shared = []
    for stack, x, w in zip(stacks, left, weights, strict=True):
        psi = np.reshape(solution @ (w * x).reshape(len(x), -1), x.shape)
        slopes_of[:, stack.periods[:, None], stack.units] += psi
        terms_psi = np.tensordot(padded, psi, axes=1)
        on_means = np.zeros((len(stack.periods), len(padded), n))
        on_means[:, :, stack.units] = terms_psi.transpose(1, 0, 2)
        shared.append(on_means)
        explained[:, :, stack.units] += np.einsum("ktn,ptn->pkn", terms_psi, x)
    return slopes_of, np.concatenate(shared), explained


def _joined(parts: list[Floats], weights: list[Floats]) -> Floats:
    """Stacks' arrays (P, T', N') times the roots of their units' weights as one, (P, cells)."""
    weighted = [np.sqrt(w) * part for part, w in zip(parts, weights, strict=True)]
    return np.concatenate([part.reshape(len(part), -1) for part in weighted], axis=1)
