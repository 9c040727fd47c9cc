"""tr F(a)'F(b) of a matrix function at two points, interpolated in both: what rho and lambda together need of W."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from estimators.spatial.interpolation import PiecewiseChebyshev
from sim.threads import one_thread

Floats = NDArray[np.float64]

MOST_SEGMENTS = 6  # whose matrices are kept, twelve of N x N each


class MatrixProducts:
    """Interpolant of tr F(a)'F(b) and (F(a)'1)'(F(b)'1)/N for `function(a) -> (N, N)` on (-1/radius, 1/radius).

    F(a) is a sum of its values at the nodes of a's segment, so that one table of products of the nodes' matrices, small
    for a pair of segments, serves all points in them. Each row of a batch is computed by itself.
    """

    def __init__(self, function: Callable[[float], Floats], radius: float) -> None:
        self._function = function
        self._radius = radius
        self._segments = PiecewiseChebyshev(lambda _: np.empty(0), radius)
        self._matrices: OrderedDict[int, Floats] = OrderedDict()
        self._tables: dict[tuple[int, int], Floats] = {}

    def __call__(self, a: Floats, b: Floats) -> Floats:
        """Both forms, (R, 2), at a, b (R,); NaN where either is NaN or outside the interval."""
        inside = (np.abs(a) * self._radius < 1.0) & (np.abs(b) * self._radius < 1.0)
        out = np.full((a.size, 2), np.nan)
        sound = np.flatnonzero(inside)
        for first, rows, left in self._segments.parts(a[sound]):
            for second, among, right in self._segments.parts(b[sound[rows]]):
                table = self._table(first, second)
                values = np.matmul(np.ascontiguousarray(left.T[among])[:, None, None, :], table)
                out[sound[rows[among]]] = np.vecdot(values[:, :, 0], np.ascontiguousarray(right.T)[:, None, :])
        return out

    def _table(self, first: int, second: int) -> Floats:
        """Products of the matrices at the nodes of two segments, (2, NODES, NODES)."""
        if (first, second) not in self._tables:
            self._tables[first, second] = self._products(first, second)
        return self._tables[first, second]

    @one_thread
    def _products(self, first: int, second: int) -> Floats:
        left, right = self._at_nodes(first), self._at_nodes(second)
        columns = [part.sum(axis=1) for part in (left, right)]
        traces = left.reshape(len(left), -1) @ right.reshape(len(right), -1).T
        return np.stack([traces, columns[0] @ columns[1].T / left.shape[-1]])

    def _at_nodes(self, segment: int) -> Floats:
        """F at the nodes of a segment, (NODES, N, N)."""
        if segment not in self._matrices:
            while len(self._matrices) >= MOST_SEGMENTS:
                self._matrices.popitem(last=False)
            self._matrices[segment] = np.stack([self._function(float(a)) for a in self._segments.nodes(segment)])
        self._matrices.move_to_end(segment)
        return self._matrices[segment]
