"""Which cohorts are compared with whom, and the linear maps from outcomes to averages and units' influences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from estimators.staggered.aggregation import Aggregation, CohortPeriods
from estimators.staggered.cohorts import Cohorts
from estimators.staggered.two_groups import Adjustment, LinearContrast, contrast
from sim.arrays import Codes, Flags, Floats

Controls = Literal["never", "not-yet"]
Base = Literal["varying", "universal"]


@dataclass(frozen=True, eq=False, slots=True)
class Comparisons:
    """Cohort-periods (C,) with their base periods (C,) and the cohorts that serve as controls.

    groups (N,): position in `Cohorts.firsts`, G for never treated, -1 for units treated throughout, which serve
    nowhere. sizes (G + 1,): units of each. controls (C, G + 1): whose units are the controls of a cell.
    """

    cohorts: Cohorts
    cells: CohortPeriods
    base: Codes
    groups: Codes
    sizes: Floats
    controls: Flags

    @classmethod
    def of(cls, cohorts: Cohorts, controls: Controls, base: Base, anticipation: int) -> Comparisons:
        """Every cell that has a base period and controls, of cohorts that have such a treated cell.

        A cell of cohort g from g - anticipation on has the base g - anticipation - 1; before, the period before it
        (varying) or the same (universal). Controls of cell (g, t) with base b are the units never treated, or those
        treated after max(t, b) + anticipation.
        """
        firsts, periods = np.array(cohorts.firsts), len(cohorts.periods)
        cohort = np.repeat(np.arange(len(firsts)), periods)
        period = np.tile(np.arange(periods), len(firsts))
        from_on = firsts[cohort] - anticipation
        before = period < from_on if base == "varying" else np.zeros_like(period, dtype=bool)
        chosen = np.where(before, period - 1, from_on - 1)
        adopted = np.append(firsts, periods)
        if controls == "never":
            serves = np.tile(adopted == periods, (len(cohort), 1))
        else:
            serves = adopted > np.maximum(period, chosen)[:, None] + anticipation
            serves |= adopted == periods
        serves &= np.arange(len(adopted)) != cohort[:, None]
        position = np.searchsorted(adopted, cohorts.first)
        groups = np.where(cohorts.first == 0, -1, position).astype(np.intp)
        sizes = np.bincount(groups[groups >= 0], minlength=len(adopted)).astype(np.float64)
        possible = (chosen >= 0) & (serves @ sizes > 0)
        lasting = np.isin(cohort, cohort[possible & (period >= firsts[cohort])])
        return cls(cohorts, CohortPeriods(cohort, period), chosen, groups, sizes, serves).take(possible & lasting)

    @property
    def treated(self) -> Flags:
        """Which cells are of treated units, (C,)."""
        return np.asarray(self.cells.period >= np.array(self.cohorts.firsts)[self.cells.cohort])

    @property
    def change(self) -> Floats:
        """1 in a cell's period, -1 in its base, (C, T); zero in a cell that is its own base."""
        rows, out = np.arange(len(self.base)), np.zeros((len(self.base), len(self.cohorts.periods)))
        out[rows, self.cells.period] += 1.0
        out[rows, self.base] -= 1.0
        return out

    def used_by(self, terms: tuple[str, ...]) -> Comparisons:
        """Those that some term averages."""
        aggregation = Aggregation.of(terms, self.cells, self.cohorts)
        return self.take((aggregation.weights != 0).any(axis=0))

    def take(self, chosen: Flags) -> Comparisons:
        """Some of them."""
        cells, controls = self.cells.take(chosen), self.controls[chosen]
        return Comparisons(self.cohorts, cells, self.base[chosen], self.groups, self.sizes, controls)


@dataclass(frozen=True, eq=False, slots=True)
class CohortEstimates:
    """Averages (R, K), influences of units on them (R, K, N)."""

    estimate: Floats
    influence: Floats


@dataclass(frozen=True, eq=False, slots=True)
class MeansMap:
    """Without covariates: all follows from cohorts' means and each unit's own path, for units in order of cohort.

    order (N',): the units that serve; edges (G + 2,): where each group begins in it; averaging (N', G + 1): from paths
    to group means. estimates (T (G + 1), K) and offsets (T (G + 1), K (G + 1)) act on means by period and group, own
    (G + 1, K, T) on the path of a unit of each group, whose influence is the sum of own and offset. units: N.
    """

    order: Codes
    edges: Codes
    averaging: Floats
    estimates: Floats
    own: Floats
    offsets: Floats
    units: int

    @classmethod
    def of(cls, found: Comparisons, aggregation: Aggregation) -> MeansMap:
        """The map of comparisons and averages of them."""
        cells, change = found.cells, found.change
        count, groups, periods = len(cells.cohort), len(found.sizes), change.shape[1]
        treated = np.zeros((count, groups))
        treated[np.arange(count), cells.cohort] = 1.0
        control_sizes = found.controls * found.sizes
        control = control_sizes / control_sizes.sum(axis=1, keepdims=True)
        per_unit = treated / found.sizes[cells.cohort][:, None] - found.controls / control_sizes.sum(axis=1)[:, None]
        weights = aggregation.weights
        own = np.einsum("kc,ch,ct->hkt", weights, per_unit, change, optimize=True)
        treated_mean = (change[:, :, None] * treated[:, None, :]).reshape(count, -1)
        control_mean = (change[:, :, None] * control[:, None, :]).reshape(count, -1)
        shares = np.concatenate([aggregation.slopes, np.zeros((len(weights), 1, count))], axis=1)
        of_treated = -weights[:, None, :] * (treated / found.sizes[cells.cohort][:, None]).T
        of_control = weights[:, None, :] * (found.controls / control_sizes.sum(axis=1)[:, None]).T
        offsets = (of_treated + shares) @ treated_mean + (of_control - shares) @ control_mean  # (K, G + 1, T (G + 1))
        order = np.argsort(found.groups, kind="stable")
        order = order[found.groups[order] >= 0]
        edges = np.append(0, np.cumsum(found.sizes)).astype(np.intp)
        member = found.groups[order][:, None] == np.arange(groups)
        return cls(
            order=order,
            edges=edges,
            averaging=member / np.maximum(found.sizes, 1.0),
            estimates=(weights @ (treated_mean - control_mean)).T,
            own=own,
            offsets=offsets.reshape(-1, periods * groups).T,
            units=len(found.groups),
        )

    def __call__(self, y: Floats) -> CohortEstimates:
        """Averages and influences of outcomes (R, T, N)."""
        r, (groups, k, _) = len(y), self.own.shape
        paths = y[:, :, self.order]
        paths -= paths.mean(axis=1, keepdims=True)
        means = (paths @ self.averaging).reshape(r, -1)
        offsets = (means @ self.offsets).reshape(r, k, groups)
        influence = np.zeros((r, k, self.units))
        sorted_influence = np.empty((r, k, len(self.order)))
        for h, (start, stop) in enumerate(zip(self.edges[:-1], self.edges[1:], strict=True)):
            sorted_influence[:, :, start:stop] = self.own[h] @ paths[:, :, start:stop] + offsets[:, :, h, None]
        influence[:, :, self.order] = sorted_influence
        return CohortEstimates(means @ self.estimates, influence)


@dataclass(frozen=True, eq=False, slots=True)
class CovariateMap:
    """With covariates: one fixed linear contrast for each set of cells that share cohort, base and controls.

    A unit's influence on a term is its own path times `own` (N, K, T), plus coefficients of all contrasts' columns,
    which depend on the outcomes, times the rows of `right` (sum r, N).
    """

    parts: tuple[_Part, ...]
    own: Floats
    right: Floats
    aggregation: Aggregation
    cohort: Codes

    @classmethod
    def of(
        cls, found: Comparisons, terms: tuple[str, ...], covariates: Floats, method: Adjustment
    ) -> tuple[CovariateMap, Comparisons]:
        """The map for covariates (T, N, p), read in the base period, and the comparisons that they identify."""
        keys = np.column_stack([found.cells.cohort, found.base, found.controls])
        _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        contrasts = [_contrast(found, int(cell), covariates, method) for cell in first]
        kept = np.array([each is not None for each in contrasts], dtype=bool)[which.ravel()]
        left, which = found.take(kept), which.ravel()[kept]
        aggregation = Aggregation.of(terms, left.cells, left.cohorts)
        linear = [each for each in contrasts if each is not None]
        cells = [np.flatnonzero(which == at) for at, each in enumerate(contrasts) if each is not None]
        parts, begin = [], 0
        for one, chosen in zip(linear, cells, strict=True):
            parts.append(_Part.of(one, chosen, left.change[chosen], aggregation.weights[:, chosen], begin))
            begin += len(one.right)
        averaged = np.array([aggregation.weights[:, chosen] @ left.change[chosen] for chosen in cells])
        n, k, t = len(left.groups), len(terms), covariates.shape[0]
        on_path = np.array([one.a for one in linear]).reshape(-1, n).T @ averaged.reshape(len(linear), k * t)
        right = np.concatenate([np.empty((0, n)), *(one.right for one in linear)])
        cohort = np.where(left.groups == len(left.cohorts.firsts), -1, left.groups)
        return cls(tuple(parts), on_path.reshape(n, k, t), right, aggregation, cohort), left

    def __call__(self, y: Floats) -> CohortEstimates:
        """Averages and influences of outcomes (R, T, N)."""
        y = y - y.mean(axis=1, keepdims=True)
        r, k = len(y), len(self.aggregation.terms)
        att = np.empty((r, self.aggregation.weights.shape[1]))
        coefficients = np.zeros((r, k, len(self.right)))
        for part in self.parts:
            att[:, part.cells], coefficients[:, part.terms, part.columns] = part(y)
        influence = (coefficients.reshape(r * k, -1) @ self.right).reshape(r, k, -1)
        influence += (self.own @ np.ascontiguousarray(y.transpose(2, 1, 0))).transpose(2, 1, 0)
        influence += self.aggregation.of_shares(att, self.cohort)
        return CohortEstimates(self.aggregation.estimate(att), influence)


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """What one contrast needs of the outcomes: in its `periods` (P,), their products with `left` (N, r + 1), a last.

    cells (C',) get `change` (C', P) times the last product; coefficients of the columns `columns` in `terms` are
    `averaged` (K', P) times the others.
    """

    left: Floats
    periods: Codes
    cells: Codes
    change: Floats
    terms: slice
    averaged: Floats
    columns: slice

    @classmethod
    def of(cls, linear: LinearContrast, cells: Codes, change: Floats, weights: Floats, begin: int) -> _Part:
        """The part of cells (C',) with changes (C', T) and weights (K, C'); its columns begin at `begin`."""
        periods = np.flatnonzero((change != 0).any(axis=0))
        active = np.flatnonzero((weights != 0).any(axis=1))
        terms = slice(int(active[0]), int(active[-1]) + 1)
        return cls(
            left=np.column_stack([linear.left, linear.a]),
            periods=periods,
            cells=cells,
            change=change[:, periods],
            terms=terms,
            averaged=weights[terms] @ change[:, periods],
            columns=slice(begin, begin + len(linear.right)),
        )

    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Effects (R, C') and coefficients (R, K', r)."""
        products = y[:, self.periods] @ self.left
        return products[:, :, -1] @ self.change.T, self.averaged @ products[:, :, :-1]


def _contrast(found: Comparisons, cell: int, covariates: Floats, method: Adjustment) -> LinearContrast | None:
    treated = found.groups == found.cells.cohort[cell]
    control = np.isin(found.groups, np.flatnonzero(found.controls[cell]))
    units = np.flatnonzero(treated | control)
    linear = contrast(treated[units], covariates[found.base[cell], units], method)
    return None if linear is None else linear.embedded(units, len(found.groups))
