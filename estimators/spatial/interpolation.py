"""Functions of rho as piecewise Chebyshev interpolants, built only where they are asked for.

Everything that a spatial likelihood needs of W - log-determinant, traces of G = W (I - rho W)^-1, forms in G - is
analytic in rho with its singularities at the inverse eigenvalues, none nearer than 1/radius. Segments shrink in
proportion to the distance from there, so that twelve nodes give some 1e-13 everywhere (Trefethen 2013, theorem 8.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from sim.arrays import Floats, one_thread

NODES = 12
WIDTH = 0.25  # of a segment in -ln(1 - |rho| radius); singularities stay 8 half-widths from its centre
_ANGLES = (np.arange(NODES) + 0.5) * np.pi / NODES
_POINTS = np.cos(_ANGLES)  # Chebyshev points of the first kind on [-1, 1]
_BARYCENTRIC = (np.where(np.arange(NODES) % 2, -1.0, 1.0) * np.sin(_ANGLES))[:, None]
FEW = 8  # values up to which rows are the inner loop
ROWS = 512  # up to which one call for all nodes is faster than one a node
BEYOND, FITTED = 1.5, 18  # of a fit whose derivatives are asked for: its length in segments, its points


class PiecewiseChebyshev:
    """An interpolant of `function(rho) -> (E,)` on (-1/radius, 1/radius).

    Each row of a batch is computed by itself (no BLAS, sums over nodes one by one), so that its bits do not depend on
    the batch.
    """

    def __init__(self, function: Callable[[float], Floats], radius: float) -> None:
        self._function = function
        self._radius = radius
        self._segments: dict[int, tuple[Floats, Floats]] = {}

    def __call__(self, rho: Floats) -> Floats:
        """Values at rho (R,) -> (R, E); NaN where rho is NaN or outside the interval."""
        inside = self.inside(rho)
        safe = np.where(inside, rho, 0.0)
        if rho.size > 1 and (safe == safe[0]).all():  # where every search starts
            out = np.repeat(self._values(safe[:1]), rho.size, axis=0)
        else:
            out = self._values(safe)
        out[~inside] = np.nan
        return out

    def inside(self, rho: Floats) -> NDArray[np.bool_]:
        """Whether rho (R,) lies inside the interval, NaN not."""
        return np.asarray(np.abs(rho) * self._radius < 1.0)

    def _values(self, rho: Floats) -> Floats:
        """The same for rho inside the interval."""
        segments = np.floor(self._stretch(rho)).astype(np.intp)
        first, last = int(segments.min()), int(segments.max())
        if first == last:
            return self._in_segment(first, rho)
        out = np.empty((rho.size, self._segment(first)[1].shape[1]))
        for segment in range(first, last + 1):
            rows = np.flatnonzero(segments == segment)
            if rows.size:
                out[rows] = self._in_segment(segment, rho[rows])
        return out

    def parts(self, rho: Floats) -> Iterator[tuple[int, NDArray[np.intp], Floats]]:
        """Segments that hold rho (R,), inside the interval: their number, which rows, shares of the nodes there."""
        segments = np.floor(self._stretch(rho)).astype(np.intp)
        for segment in np.unique(segments):
            rows = np.flatnonzero(segments == segment)
            yield int(segment), rows, shares(rho[rows], self.nodes(int(segment)))

    def nodes(self, segment: int) -> Floats:
        """The points of a segment between which it interpolates, (NODES,)."""
        low, high = self._edge(segment), self._edge(segment + 1)
        return (low + high) / 2 + (high - low) / 2 * _POINTS

    def _in_segment(self, segment: int, rho: Floats) -> Floats:
        nodes, values = self._segment(segment)
        weights = shares(rho, nodes)
        if values.shape[1] > FEW:
            return np.asarray(np.einsum("nr,ne->re", weights, values))
        if rho.size <= ROWS:
            return _by_node(values[:, :, None] * weights[:, None]).T
        return reduce(np.add, (value[:, None] * share for value, share in zip(values, weights, strict=True))).T

    def _stretch(self, rho: Floats) -> Floats:
        return -np.sign(rho) * np.log1p(-np.abs(rho) * self._radius) / WIDTH

    def _edge(self, segment: int) -> float:
        return float(-np.sign(segment) * np.expm1(-abs(segment) * WIDTH) / self._radius)

    def _segment(self, segment: int) -> tuple[Floats, Floats]:
        """Nodes (NODES,) and the function there (NODES, E), computed when first asked for."""
        if segment not in self._segments:
            self._segments[segment] = self._build(segment)
        return self._segments[segment]

    @one_thread
    def _build(self, segment: int) -> tuple[Floats, Floats]:
        nodes = self.nodes(segment)
        return nodes, np.stack([self._function(float(node)) for node in nodes])


class WithSlopes(PiecewiseChebyshev):
    """An interpolant of f, -f' and -f'' of a scalar function f, which alone is computed.

    f is fitted on an interval half as long again as the segment, away from whose ends derivatives lose few digits: from
    log-determinants of 285 and 1,000 units the first has relative errors up to 1e-12, the second up to 2e-10.
    """

    @one_thread
    def _build(self, segment: int) -> tuple[Floats, Floats]:
        low, high = self._edge(segment), self._edge(segment + 1)
        centre, half = (low + high) / 2, BEYOND * (high - low) / 2
        points = chebyshev.chebpts1(FITTED)
        values = np.array([float(self._function(float(centre + half * point))[0]) for point in points])
        fit = chebyshev.chebfit(points, values, FITTED - 1)
        nodes = self.nodes(segment)
        at = (nodes - centre) / half
        slopes = [-chebyshev.chebval(at, chebyshev.chebder(fit, order)) / half**order for order in (1, 2)]
        return nodes, np.stack([chebyshev.chebval(at, fit), *slopes], axis=1)


def shares(at: Floats, nodes: Floats) -> Floats:
    """What the value at each node contributes, (NODES, R): the barycentric formula (Berrut and Trefethen 2004)."""
    difference = at - nodes[:, None]
    hit = difference == 0.0
    anywhere = bool(hit.any())
    if anywhere:
        difference[:, hit.any(axis=0)] = np.inf
        difference[hit] = 1.0
    terms = _BARYCENTRIC / difference
    if anywhere:
        terms[hit] = 1.0
    terms /= _by_node(terms)
    return np.asarray(terms)


def _by_node(terms: Floats) -> Floats:
    """The sum over nodes, (NODES, ...) -> (...), one node after the other."""
    if terms.shape[-1] == 1:  # numpy would add a single column in another order
        return np.add.reduce(terms.repeat(2, axis=-1))[..., :1]
    return np.asarray(np.add.reduce(terms))
