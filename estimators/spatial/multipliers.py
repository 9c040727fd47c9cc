"""G = W (I - rho W)^-1 of one W: its products with arrays, G itself, its norms, and G interpolated between nodes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import SuperLU, splu

from estimators.spatial.interpolation import PiecewiseChebyshev
from sim.arrays import Floats, one_thread
from sim.weights import Weights

SPARSE_FROM = 500  # units, above which a sparse factorisation of I - rho W is looked at
MOST_FILL = 0.1  # share of entries that its factors may have: with more the dense solution is the faster one
COLUMNS = 64  # of G at a time, where not all are kept
INTERPOLATED_UP_TO = 1200  # units: the nodes of one segment are twelve N x N matrices, 138 MB here
MOST_SEGMENTS = 6  # whose matrices are kept
MOST_BYTES = 2**29  # of the matrices that are kept


class Multiplier:
    """G at any rho: by sparse factors where W is large and sparse, else by dense ones.

    The choice depends on W alone, so that every rho has the same sums in the same order.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    @cached_property
    def sparse(self) -> bool:
        """Whether it works by sparse factors."""
        units, links = len(self.weights.units), self.weights.matrix.nnz
        if units < SPARSE_FROM or links > MOST_FILL * units**2:
            return False
        return bool(self._factors(0.5 / self.weights.radius).nnz <= MOST_FILL * units**2)

    def log_determinant(self, rho: float) -> float:
        """ln|I - rho W| from the factors."""
        factors = self._factors(rho)
        return float(np.log(np.abs(factors.U.diagonal())).sum() + np.log(np.abs(factors.L.diagonal())).sum())

    def _factors(self, rho: float) -> SuperLU:
        system = sp.eye_array(len(self.weights.units)) - rho * self.weights.matrix
        return splu(sp.csc_array(system))

    def _system(self, rho: float) -> Floats:
        return np.eye(len(self.weights.units)) - rho * self.weights.dense

    def __call__(self, rho: float) -> Floats:
        """G, (N, N)."""
        if self.sparse:
            return np.ascontiguousarray(np.concatenate(list(self._columns(rho)), axis=1))
        return np.asarray(np.linalg.solve(self._system(rho), self.weights.dense))

    def apply(self, rho: float, x: Floats) -> Floats:
        """G x over the last axis, (..., N) -> (..., N); NaN without a finite rho."""
        if not np.isfinite(rho):
            return np.full_like(x, np.nan)
        n = x.shape[-1]
        if not self.sparse and x.size > n**2:
            return np.asarray(x @ self(rho).T)
        lagged = np.ascontiguousarray(self.weights.lag(x).reshape(-1, n).T)
        solved = self._factors(rho).solve(lagged) if self.sparse else np.linalg.solve(self._system(rho), lagged)
        return np.ascontiguousarray(solved.T).reshape(x.shape)

    def norms(self, rho: float) -> Floats:
        """tr G'G, |G'1|^2 / N, 1'G1 / N and 1'G^2 1 / N."""
        n = len(self.weights.units)
        squares, rows, columns = 0.0, np.zeros(n), []
        for part in self._columns(rho) if self.sparse else [self(rho)]:
            squares += float(np.vdot(part, part))
            rows += part.sum(axis=1)
            columns.append(part.sum(axis=0))
        by_column = np.concatenate(columns)
        return np.array([squares, np.vdot(by_column, by_column) / n, rows.sum() / n, np.vdot(by_column, rows) / n])

    def row_sums(self, rho: float) -> Floats:
        """G1, (N,)."""
        return self.apply(rho, np.ones(len(self.weights.units)))

    def _columns(self, rho: float) -> Iterator[Floats]:
        """G, some columns at a time, from sparse factors."""
        factors, links = self._factors(rho), sp.csc_array(self.weights.matrix)
        for start in range(0, links.shape[1], COLUMNS):
            yield factors.solve(links[:, start : start + COLUMNS].toarray())


class NodeMatrices:
    """`function(a) -> (N, N)` on (-1/radius, 1/radius), kept at the nodes of the segments that were last asked for."""

    def __init__(self, function: Callable[[float], Floats], radius: float, units: int) -> None:
        self._function = function
        self.segments = PiecewiseChebyshev(lambda _: np.empty(0), radius)
        self._kept: OrderedDict[int, Floats] = OrderedDict()
        self.large = units > INTERPOLATED_UP_TO

    def __call__(self, a: float) -> Floats:
        """The function at a, (N, N): interpolated, from a dozen matrices that serve every a nearby, or computed.

        The same for any batch: which of the two depends on N alone.
        """
        if self.large:
            return self._function(a)
        ((segment, _, shares),) = self.segments.parts(np.array([a]))
        stack = self.at_nodes(segment)
        return np.reshape(shares[:, 0] @ stack.reshape(len(stack), -1), stack.shape[1:])

    def at_nodes(self, segment: int) -> Floats:
        """The function at the nodes of a segment, (NODES, N, N)."""
        if segment not in self._kept:
            self._keep(segment)
        self._kept.move_to_end(segment)
        return self._kept[segment]

    @one_thread
    def _keep(self, segment: int) -> None:
        stack = np.ascontiguousarray([self._function(float(a)) for a in self.segments.nodes(segment)])
        most = max(2, min(MOST_SEGMENTS, MOST_BYTES // stack.nbytes))
        while len(self._kept) >= most:
            self._kept.popitem(last=False)
        self._kept[segment] = stack


class MatrixProducts:
    """tr F(a)'F(b) and (F(a)'1)'(F(b)'1)/N: what rho and lambda together need of W.

    F(a) is a sum of its values at the nodes of a's segment, so that one table of products of the nodes' matrices, small
    for a pair of segments, serves all points in them. Each row of a batch is computed by itself.
    """

    def __init__(self, matrices: NodeMatrices) -> None:
        self._matrices = matrices
        self._tables: dict[tuple[int, int], Floats] = {}

    def __call__(self, a: Floats, b: Floats) -> Floats:
        """Both forms, (R, 2), at a, b (R,) inside the interval, NaN elsewhere."""
        inside = self._matrices.segments.inside(a) & self._matrices.segments.inside(b)
        out = np.full((a.size, 2), np.nan)
        sound = np.flatnonzero(inside)
        if self._matrices.large:
            for row in sound:
                left, right = (self._matrices(float(value))[None] for value in (a[row], b[row]))
                out[row] = _products(left, right)[:, 0, 0]
            return out
        for first, rows, left in self._matrices.segments.parts(a[sound]):
            for second, among, right in self._matrices.segments.parts(b[sound[rows]]):
                table = self._table(first, second)
                values = np.matmul(np.ascontiguousarray(left.T[among])[:, None, None, :], table)
                out[sound[rows[among]]] = np.vecdot(values[:, :, 0], np.ascontiguousarray(right.T)[:, None, :])
        return out

    def _table(self, first: int, second: int) -> Floats:
        """Products of the matrices at the nodes of two segments, (2, NODES, NODES)."""
        if (first, second) not in self._tables:
            self._tables[first, second] = _products(*(self._matrices.at_nodes(part) for part in (first, second)))
        return self._tables[first, second]


@one_thread
def _products(left: Floats, right: Floats) -> Floats:
    """tr A'B and (A'1)'(B'1)/N of every pair of matrices (I, N, N) and (J, N, N), (2, I, J)."""
    columns = [part.sum(axis=1) for part in (left, right)]
    traces = left.reshape(len(left), -1) @ right.reshape(len(right), -1).T
    return np.stack([traces, columns[0] @ columns[1].T / left.shape[-1]])
