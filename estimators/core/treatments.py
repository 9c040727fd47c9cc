"""Many treatments of one panel at once, and the sums over unit-periods in which estimators meet them.

Where each unit has one of P paths p_a, such as that of an absorbing treatment from period a on, its inner product with
a field x is one look-up a treated unit in the table of p_a'x_i. Products of a treatment with itself and its spatial lag
need kappa(a, b) = sum_t (p_at - mean)(p_bt - mean): D'(Q_T x A)D = sum_ij A_ij kappa(a_i, a_j), of which time effects
take d'Q_T d/N for D'QD, d the sum over units in each period.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.estimator import Moments
from estimators.core.tile import UNDATED, Tile, WithinTransform, first_treated, product
from sim.arrays import Floats
from sim.errors import bad
from sim.schemes import absorbing_paths
from sim.weights import Weights

PAIRS_AT_ONCE = 16_000  # of treated units: what the cache holds of their look-ups
TILE = 8  # whole treatments at once
DRAWS_AT_ONCE = 480  # absorbing treatments that tables serve together: enough to spread the calls, whole blocks of ROWS


def adjoint_lag(x: Floats, weights: Weights) -> Floats:
    """W'x over the last axis, (..., N) -> (..., N), so that (W d)'x = d'(W'x)."""
    return np.asarray((x.reshape(-1, x.shape[-1]) @ weights.operator).reshape(x.shape))


@dataclass(frozen=True, eq=False, slots=True)
class Fields:
    """Demeaned fields (K, T, N) and what every batch of treatments with the same paths needs of them."""

    values: Floats
    _tables: dict[int, tuple[Floats, Floats, Floats]] = field(default_factory=dict, init=False, repr=False)

    def tables(self, paths: Floats) -> tuple[Floats, Floats]:
        """Sums over the periods by paths (P, T), (K, P, N), and those of each path and unit side by side, (P N, K)."""
        if id(paths) not in self._tables:
            table = np.matmul(paths, self.values)
            cells = np.ascontiguousarray(table.reshape(len(table), len(paths) * table.shape[2]).T)
            self._tables[id(paths)] = table, cells, paths  # kept with them, so that the key stays theirs
        return self._tables[id(paths)][:2]


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
        within = self.transform(x)
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
class PathCodes:
    """B treatments of N units, each unit on one of P paths.

    paths (P, T): the last is zero. codes (B, N): which path each unit has.
    """

    paths: Floats
    codes: NDArray[np.intp]

    @cached_property
    def cells(self) -> NDArray[np.intp]:
        """Where those who are ever treated stand in an array (B, N), flat, draw by draw."""
        return np.flatnonzero((self.paths != 0).any(axis=1)[self.codes])

    @cached_property
    def treated(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Draw, unit and path of each of them."""
        rows, units = np.divmod(self.cells, self.codes.shape[1])
        return rows, units, self.codes.ravel()[self.cells]

    @cached_property
    def entries(self) -> NDArray[np.intp]:
        """Where each treated unit stands in a table (P, N), flat."""
        _, units, codes = self.treated
        return np.asarray(codes * self.codes.shape[1] + units)

    @cached_property
    def counts(self) -> Floats:
        """Treated units on each path, (B, P)."""
        return self._by_path(None)

    @cached_property
    def kappa(self) -> Floats:
        """The table of kappa(a, b), (P, P); zero for the last, never."""
        paths = centred(self.paths)
        return np.asarray(paths @ paths.T)

    @property
    def total(self) -> Floats:
        """D'D, (B,)."""
        return np.asarray(self.counts @ np.square(self.paths).sum(axis=1))

    @property
    def around(self) -> Floats:
        """The same around the mean, (B,)."""
        return self.total - (self.counts @ self.paths.sum(axis=1)) ** 2 / (self.paths.shape[1] * self.codes.shape[1])

    @cached_property
    def by_period(self) -> Floats:
        """Sums over units in each period less their mean over time, (B, T)."""
        return centred(product(self.counts, self.paths))

    @cached_property
    def chosen(self) -> sp.csr_array:
        """1 where a treated unit stands in a table (P N), (B, P N)."""
        starts = np.searchsorted(self.treated[0], np.arange(len(self.codes) + 1))
        shape = (len(self.codes), len(self.paths) * self.codes.shape[1])
        return sp.csr_array((np.ones(self.entries.size), self.entries, starts), shape=shape)

    def meet(self, fields: Fields) -> Floats:
        """D'x of demeaned fields x (K, T, N), (B, K); each draw's sum is made by itself, unit after unit."""
        return np.asarray(self.chosen @ fields.tables(self.paths)[1])

    def square(self) -> Floats:
        """D'QD, (B,)."""
        own = product(self.counts, np.diagonal(self.kappa)[:, None])[:, 0]
        return np.asarray(own - np.vecdot(self.by_period, self.by_period) / self.codes.shape[1])

    def lagged_squares(self, forms: WeightForms) -> tuple[Floats, Floats]:
        """D'QWD and (WD)'QWD, (B,) each."""
        pulled = self._by_path(forms.columns[self.treated[1]])
        lagged = centred(product(pulled, self.paths))
        # sum_ij A_ij kappa(a_i, a_j) of both parts of the table, (B, 2): draws with as many treated units go together,
        # so that each has the sums of its own units alone
        rows, units, codes = self.treated
        sizes = np.bincount(rows, minlength=len(self.codes))
        starts, pairs = np.cumsum(sizes) - sizes, np.empty((len(self.codes), 2))
        flat, kappa = forms.pairs.ravel(), self.kappa.ravel()
        for size in np.unique(sizes):
            alike = np.flatnonzero(sizes == size)
            left, right = np.triu_indices(size)  # both factors are symmetric
            doubled = np.where(left == right, 1.0, 2.0)
            step = max(1, PAIRS_AT_ONCE // max(left.size, 1))
            for start in range(0, alike.size, step):
                some = alike[start : start + step]
                members = starts[some][:, None] + np.arange(size)
                unit, path = units[members], codes[members]
                at = (unit * len(forms.pairs)).take(left, axis=1) + unit.take(right, axis=1)
                both_paths = (path * len(self.kappa)).take(left, axis=1) + path.take(right, axis=1)
                both = flat.take(at).view(np.float64).reshape(len(unit), left.size, 2)
                pairs[some] = np.matmul((kappa.take(both_paths) * doubled)[:, None, :], both)[:, 0]
        count = self.codes.shape[1]
        across = pairs[:, 0] - np.vecdot(self.by_period, lagged) / count
        return across, pairs[:, 1] - np.vecdot(lagged, lagged) / count

    def _by_path(self, weights: Floats | None) -> Floats:
        """Sums of weights of the treated, or their numbers, by path, (B, P)."""
        rows, _, codes = self.treated
        size = len(self.codes) * len(self.paths)
        cells = np.bincount(rows * len(self.paths) + codes, weights, minlength=size)
        return cells.reshape(len(self.codes), len(self.paths)).astype(np.float64)

    def whole(self) -> Floats:
        """The treatments themselves, (B, T, N)."""
        return np.ascontiguousarray(self.paths.T[:, self.codes].transpose(1, 0, 2))


@dataclass(frozen=True, eq=False, slots=True)
class TreatmentMoments(Moments):
    """Numbers (R, E) that a kernel makes of redrawn treatments; of absorbing ones, until `complete`, their dates alone.

    first (R, N): first treated periods, T = never, UNDATED where the numbers are there. Tables serve hundreds of
    draws at a third of the cost of a tile's.
    """

    first: NDArray[np.int16]
    numbers: Floats

    @classmethod
    def of(cls, tile: Tile, name: str, size: int, kernel: Callable[[NDArray[Any]], Floats]) -> TreatmentMoments:
        """One tile of a treatment: dates, or what the kernel makes of treatments that are not absorbing, E = size."""
        first = tile.first_treated(name)
        if first is not None:
            return cls(first, np.full((len(first), size), np.nan))
        d = tile.raw(name)
        return cls(np.full((len(d), d.shape[2]), UNDATED, dtype=np.int16), kernel(d))

    def complete(self, kernel: Callable[[NDArray[Any]], Floats]) -> Floats:
        """All numbers, (R, E)."""
        waiting, out = np.flatnonzero(self.first[:, 0] != UNDATED), self.numbers.copy()
        for start in range(0, waiting.size, DRAWS_AT_ONCE):
            rows = waiting[start : start + DRAWS_AT_ONCE]
            out[rows] = kernel(self.first[rows])
        return out


@dataclass(frozen=True, eq=False, slots=True)
class Paths:
    """B treatments of any form, 0/1 or real: values (B, T, N), zero where unobserved, under a within transformation.

    coded: the same treatments by paths, if known, for sums over fields that are zero where unobserved.
    """

    values: Floats
    transform: WithinTransform
    coded: PathCodes | None = None

    @property
    def total(self) -> Floats:
        """D'D, (B,)."""
        return ols.sum_of_squares(self.values)

    @property
    def around(self) -> Floats:
        """The same around the mean of observed cells, (B,)."""
        cells = self.values[0].size if self.transform.mask is None else self.transform.mask.sum()
        return self.total - self.values.sum(axis=(1, 2)) ** 2 / cells

    def meet(self, fields: Fields) -> Floats:
        """D'x of demeaned fields x (K, T, N), (B, K)."""
        if self.coded is not None:
            return self.coded.meet(fields)
        x = fields.values
        cells = x.shape[1] * x.shape[2]
        return np.matmul(x.reshape(len(x), cells), self.values.reshape(-1, cells, 1))[:, :, 0]

    def square(self) -> Floats:
        """D'QD, (B,)."""
        parts = (self.values[rows] for rows in tiles(len(self.values)))
        return np.concatenate([ols.sum_of_squares(self.transform(d)) for d in parts])

    def lagged_squares(self, forms: WeightForms) -> tuple[Floats, Floats]:
        """D'QWD and (WD)'QWD, (B,) each."""
        across, own = [], []
        for rows in tiles(len(self.values)):
            d = self.values[rows]
            lagged = self.transform(forms.weights.lag(d))
            across.append(ols.dot(d, lagged))
            own.append(ols.sum_of_squares(lagged))
        return np.concatenate(across), np.concatenate(own)


Treatments = PathCodes | Paths
Given = NDArray[Any] | PathCodes


def treatments(given: Given, projection: Projection, asked_by: str) -> Treatments:
    """First treated periods (B, N) of integers, treatments (B, T, N), or codes of paths, as what the kernels work with.

    Absorbing treatments (B, T, N) are known by their first treated periods too.

    Raises BadInput for another shape or kind, dates outside 0..T and values that are not finite.
    """
    _, periods, units = projection.basis.shape
    if isinstance(given, PathCodes):
        return _coded(given, projection.transform)
    if given.ndim == 2 and given.dtype.kind in "iu" and given.shape[1] == units and len(given):
        if given.min() < 0 or given.max() > periods:
            raise bad(f"first treated periods from {given.min()} to {given.max()}", where=asked_by,
                      allowed=f"0 to {periods - 1}, {periods} = never", remedy="give indices, not years")  # fmt: skip
        return _coded(PathCodes(absorbing_paths(periods), given.astype(np.intp, copy=False)), projection.transform)
    if given.ndim != 3 or given.shape[1:] != (periods, units) or given.dtype.kind not in "biuf" or not len(given):
        raise bad(f"treatments have shape {given.shape} and type {given.dtype}", where=asked_by,
                  allowed=f"first treated periods, integers (B, {units}), or treatments (B, {periods}, {units})",
                  remedy="put one treatment after the other along the first axis")  # fmt: skip
    values, mask = given.astype(np.float64, copy=False), projection.transform.mask
    values = np.ascontiguousarray(values if mask is None else np.where(mask > 0, values, 0.0))
    if not np.isfinite(values).all():
        raise bad("treatments hold values that are not finite", where=asked_by, allowed="finite numbers",
                  remedy="fill or drop those cells")  # fmt: skip
    first = first_treated(values) if mask is None else None
    if first is None:
        return Paths(values, projection.transform)
    return PathCodes(absorbing_paths(periods), first.astype(np.intp))


def _coded(given: PathCodes, transform: WithinTransform) -> Treatments:
    """Themselves in a balanced panel."""
    return given if transform.mask is None else Paths(given.whole() * transform.mask, transform, given)


def sound(squares: Floats, within: Floats, drawn: PathCodes | Paths) -> NDArray[np.bool_]:
    """Whether enough of D is left for a slope, (B,), from D~'D~ and D'QD; thresholds as for any regressor."""
    left = ~ols.absorbed(within, np.maximum(drawn.around, 0.0), drawn.total)
    return np.asarray(left & (squares > ols.COLLINEAR * within))


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


def centred(series: Floats) -> Floats:
    """Without the mean over the last axis."""
    return np.asarray(series - series.mean(axis=-1, keepdims=True))
