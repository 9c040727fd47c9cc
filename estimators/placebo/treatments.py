"""Many treatments of one panel at once, and the sums over unit-periods in which estimators meet them.

An absorbing treatment is known by each unit's first treated period a_i: its inner product with a field x is a sum of
tails, sum_i sum_{t >= a_i} x_it, one look-up a treated unit. Its products with itself and its spatial lag need
kappa(a, b) = sum_t (1[t >= a] - g_a)(1[t >= b] - g_b) = T min(g_a, g_b) - T g_a g_b, g_a = (T - a)/T:
D'(Q_T x A)D = sum_ij A_ij kappa(a_i, a_j), of which time effects take d'Q_T d/N for D'QD, d the treated in each period.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.within import WithinTransform
from sim.errors import bad
from sim.weights import Weights

Floats = NDArray[np.float64]

PAIRS_AT_ONCE = 16_000  # of treated units: what the cache holds of their look-ups
TILE = 8  # whole treatments at once


def tails(x: Floats) -> Floats:
    """sum_{s >= t} x_s over the last but one axis, (..., T, N) -> (..., T, N)."""
    return np.asarray(x[..., ::-1, :].cumsum(axis=-2)[..., ::-1, :])


def adjoint_lag(x: Floats, weights: Weights) -> Floats:
    """W'x over the last axis, (..., N) -> (..., N), so that (W d)'x = d'(W'x)."""
    return np.asarray((x.reshape(-1, x.shape[-1]) @ weights.operator).reshape(x.shape))


@dataclass(frozen=True, eq=False)
class Fields:
    """Demeaned fields (K, T, N) and what every batch of treatments needs of them."""

    values: Floats

    @cached_property
    def tails(self) -> Floats:
        """Sums to the last period, (K, T, N)."""
        return tails(self.values)

    @cached_property
    def by_cell(self) -> Floats:
        """Those of each unit-period side by side, (T N, K)."""
        k, periods, units = self.values.shape
        return np.ascontiguousarray(self.tails.reshape(k, periods * units).T)


@dataclass(frozen=True, eq=False, slots=True)
class Projection:
    """M: takes out unit and time effects and then a basis (K, T, N), orthonormal and itself without effects."""

    transform: WithinTransform
    basis: Floats

    @classmethod
    def of(cls, transform: WithinTransform, x: Floats) -> Projection:
        """Off demeaned regressors x (K, T, N)."""
        flat = x.reshape(len(x), x.shape[1] * x.shape[2])
        return cls(transform, np.ascontiguousarray(np.linalg.qr(flat.T)[0].T).reshape(x.shape))

    def __call__(self, x: Floats) -> Floats:
        """M x, (R, T, N) -> (R, T, N)."""
        return self.partial(self.transform(x))

    def partial(self, within: Floats) -> Floats:
        """What the basis leaves of a demeaned x, (R, T, N) -> (R, T, N)."""
        flat = self.basis.reshape(len(self.basis), within.shape[1] * within.shape[2])
        fitted = np.reshape(within.reshape(len(within), -1) @ flat.T @ flat, within.shape)
        return np.subtract(within, fitted, out=fitted)


@dataclass(frozen=True, eq=False, slots=True)
class WeightForms:
    """W as products of treatments meet it.

    columns (N,): 1'W; pairs (N, N): (W + W')/2 as the real, W'W as the imaginary part, so that one look-up finds both.
    """

    weights: Weights
    columns: Floats
    pairs: NDArray[np.complex128]

    @classmethod
    def of(cls, weights: Weights) -> WeightForms:
        """The forms of a weights matrix."""
        w = weights.dense
        return cls(weights, w.sum(axis=0), (w + w.T) / 2 + 1j * (weights.matrix.T @ weights.matrix).toarray())


@dataclass(frozen=True, eq=False)
class Adoptions:
    """B absorbing treatments of N units over T periods. first (B, N): index of the first treated period, T = never."""

    first: NDArray[np.intp]
    periods: int

    @property
    def draws(self) -> int:
        """B."""
        return len(self.first)

    @cached_property
    def cells(self) -> NDArray[np.intp]:
        """Where those who are ever treated stand in an array (B, N), flat, draw by draw."""
        return np.flatnonzero(self.first < self.periods)

    @cached_property
    def treated(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Draw, unit and first period of each of them."""
        rows, units = np.divmod(self.cells, self.first.shape[1])
        return rows, units, self.first.ravel()[self.cells]

    @cached_property
    def entries(self) -> NDArray[np.intp]:
        """Where each treated unit's tail stands in a field (T, N), flat."""
        _, units, dates = self.treated
        return np.asarray(dates * self.first.shape[1] + units)

    @cached_property
    def counts(self) -> Floats:
        """Units that adopt in each period, (B, T)."""
        rows, _, dates = self.treated
        cells = np.bincount(rows * self.periods + dates, minlength=self.draws * self.periods)
        return cells.reshape(self.draws, self.periods).astype(np.float64)

    @cached_property
    def kappa(self) -> Floats:
        """The table of kappa(a, b), (T + 1, T + 1); zero for a = T, never."""
        spell = self.periods - np.arange(self.periods + 1.0)
        return np.asarray(np.minimum.outer(spell, spell) - np.multiply.outer(spell, spell) / self.periods)

    @property
    def total(self) -> Floats:
        """D'D, the treated unit-periods, (B,)."""
        return np.asarray((self.counts * (self.periods - np.arange(self.periods))).sum(axis=1))

    @cached_property
    def by_period(self) -> Floats:
        """Treated units in each period less their mean over time, (B, T)."""
        return _centred(self.counts.cumsum(axis=1))

    @cached_property
    def chosen(self) -> sp.csr_array:
        """1 where the tail of a treated unit stands in a field (T N), (B, T N)."""
        starts = np.searchsorted(self.treated[0], np.arange(self.draws + 1))
        shape = (self.draws, self.periods * self.first.shape[1])
        return sp.csr_array((np.ones(self.entries.size), self.entries, starts), shape=shape)

    def sums(self, fields: Floats) -> Floats:
        """D'x of demeaned fields x (K, T, N), (B, K); each draw's sum is made by itself, unit after unit."""
        return self.meet(Fields(fields))

    def meet(self, fields: Fields) -> Floats:
        """The same of fields that many batches meet."""
        return np.asarray(self.chosen @ fields.by_cell)

    def square(self) -> Floats:
        """D'QD, (B,)."""
        own = (self.counts * np.diagonal(self.kappa)[:-1]).sum(axis=1)
        return np.asarray(own - np.vecdot(self.by_period, self.by_period) / self.first.shape[1])

    def lagged_squares(self, forms: WeightForms) -> tuple[Floats, Floats]:
        """D'QWD and (WD)'QWD, (B,) each."""
        rows, members, dates = self.treated
        pulled = np.bincount(rows * self.periods + dates, forms.columns[members], self.draws * self.periods)
        lagged = _centred(pulled.reshape(self.draws, self.periods).cumsum(axis=1))
        pairs, units = self._pairs(forms.pairs), self.first.shape[1]
        across = pairs[:, 0] - np.vecdot(self.by_period, lagged) / units
        return across, pairs[:, 1] - np.vecdot(lagged, lagged) / units

    def _pairs(self, table: NDArray[np.complex128]) -> Floats:
        """sum_ij A_ij kappa(a_i, a_j) of both parts of the table, (B, 2)."""
        members, dates = self._members()
        draws, most = members.shape
        out = np.empty((draws, 2))
        left, right = np.triu_indices(most)  # both factors are symmetric
        step = max(1, PAIRS_AT_ONCE // max(left.size, 1))
        flat, kappa = table.ravel(), self.kappa.ravel()
        doubled = np.where(left == right, 1.0, 2.0)
        for start in range(0, draws, step):
            unit, date = members[start : start + step], dates[start : start + step]
            at = (unit * len(table)).take(left, axis=1) + unit.take(right, axis=1)
            when = (date * len(self.kappa)).take(left, axis=1) + date.take(right, axis=1)
            both = flat.take(at).view(np.float64).reshape(len(unit), left.size, 2)
            out[start : start + step] = np.matmul((kappa.take(when) * doubled)[:, None, :], both)[:, 0]
        return out

    def _members(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Treated units and their dates, (B, M); draws with fewer are filled with units that never adopt."""
        rows, units, dates = self.treated
        sizes = np.bincount(rows, minlength=self.draws)
        most = int(sizes.max(initial=0))
        if sizes.size and (sizes == most).all():
            return units.reshape(self.draws, most), dates.reshape(self.draws, most)
        place = np.arange(rows.size) - (np.cumsum(sizes) - sizes)[rows]
        members = np.zeros((self.draws, most), dtype=np.intp)
        when = np.full((self.draws, most), self.periods, dtype=np.intp)
        members[rows, place], when[rows, place] = units, dates
        return members, when

    def paths(self) -> Floats:
        """The treatments themselves, (B, T, N)."""
        return (np.arange(self.periods)[:, None] >= self.first[:, None, :]).astype(np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class Paths:
    """B treatments of any form, 0/1 or real: values (B, T, N), zero where unobserved, under a within transformation."""

    values: Floats
    transform: WithinTransform

    @property
    def draws(self) -> int:
        """B."""
        return len(self.values)

    @property
    def total(self) -> Floats:
        """D'D, (B,)."""
        return ols.sum_of_squares(self.values)

    def sums(self, fields: Floats) -> Floats:
        """D'x of demeaned fields x (K, T, N), (B, K)."""
        cells = fields.shape[1] * fields.shape[2]
        return np.matmul(fields.reshape(len(fields), cells), self.values.reshape(-1, cells, 1))[:, :, 0]

    def meet(self, fields: Fields) -> Floats:
        """The same of fields that many batches meet."""
        return self.sums(fields.values)

    def square(self) -> Floats:
        """D'QD, (B,)."""
        return self._over_tiles(lambda d: [ols.sum_of_squares(self.transform(d))])[0]

    def lagged_squares(self, forms: WeightForms) -> tuple[Floats, Floats]:
        """D'QWD and (WD)'QWD, (B,) each."""

        def both(d: Floats) -> list[Floats]:
            lagged = self.transform(forms.weights.lag(d))
            return [ols.dot(d, lagged), ols.sum_of_squares(lagged)]

        across, own = self._over_tiles(both)
        return across, own

    def _over_tiles(self, forms: Callable[[Floats], list[Floats]]) -> list[Floats]:
        parts = [forms(self.values[rows]) for rows in tiles(self.draws)]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]


Treatments = Adoptions | Paths


def treatments(given: NDArray[Any], projection: Projection, asked_by: str) -> Treatments:
    """First treated periods (B, N) of integers, or treatments (B, T, N), as what the kernels work with.

    Raises BadInput for another shape or kind, dates outside 0..T and values that are not finite.
    """
    _, periods, units = projection.basis.shape
    mask = projection.transform.mask
    if given.ndim == 2 and given.dtype.kind in "iu" and given.shape[1] == units and len(given):
        if given.min() < 0 or given.max() > periods:
            raise bad(f"first treated periods from {given.min()} to {given.max()}", where=asked_by,
                      allowed=f"0 to {periods - 1}, {periods} = never", remedy="give indices, not years")  # fmt: skip
        adoptions = Adoptions(given.astype(np.intp, copy=False), periods)
        return adoptions if mask is None else Paths(adoptions.paths() * mask, projection.transform)
    if given.ndim != 3 or given.shape[1:] != (periods, units) or given.dtype.kind not in "biuf" or not len(given):
        raise bad(f"treatments have shape {given.shape} and type {given.dtype}", where=asked_by,
                  allowed=f"first treated periods, integers (B, {units}), or treatments (B, {periods}, {units})",
                  remedy="put one treatment after the other along the first axis")  # fmt: skip
    values = given.astype(np.float64, copy=False)
    values = np.ascontiguousarray(values if mask is None else np.where(mask > 0, values, 0.0))
    if not np.isfinite(values).all():
        raise bad("treatments hold values that are not finite", where=asked_by, allowed="finite numbers",
                  remedy="fill or drop those cells")  # fmt: skip
    return Paths(values, projection.transform)


def first_treated(d: Floats) -> NDArray[np.intp] | None:
    """First treated periods (B, N), T = never, of treatments d (B, T, N); None unless all are 0/1 and absorbing."""
    if ((d != 0) & (d != 1)).any() or (d[:, 1:] < d[:, :-1]).any():
        return None
    return np.asarray((d.shape[1] - d.sum(axis=1)).astype(np.intp))


def outcomes(y: Floats, projection: Projection, asked_by: str) -> Iterator[Floats]:
    """Outcomes (R, T, N), one at a time, (1, T, N); raises BadInput for another shape."""
    if y.ndim != 3 or y.shape[1:] != projection.basis.shape[1:] or not len(y):
        periods, units = projection.basis.shape[1:]
        raise bad(f"outcomes have shape {y.shape}", where=asked_by, allowed=f"(R, {periods}, {units})",
                  remedy="give outcomes, periods, units")  # fmt: skip
    return (y[row : row + 1] for row in range(len(y)))


def tiles(draws: int) -> Iterator[slice]:
    """Draws whose whole treatments the cache holds together."""
    return (slice(start, start + TILE) for start in range(0, draws, TILE))


def _centred(series: Floats) -> Floats:
    return np.asarray(series - series.mean(axis=-1, keepdims=True))
