"""Functions of rho as piecewise Chebyshev interpolants, built only where they are asked for.

Everything that a spatial likelihood needs of W - log-determinant, traces of G = W (I - rho W)^-1, forms in G - is
analytic in rho with its singularities at the inverse eigenvalues, none nearer than 1/radius. Segments shrink in
proportion to the distance from there, so that twelve nodes give some 1e-13 everywhere (Trefethen 2013, theorem 8.2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sim.threads import one_thread

Floats = NDArray[np.float64]

NODES = 12
WIDTH = 0.25  # of a segment in -ln(1 - |rho| radius); singularities stay 8 half-widths from its centre
_ANGLES = (np.arange(NODES) + 0.5) * np.pi / NODES
_POINTS = np.cos(_ANGLES)  # Chebyshev points of the first kind on [-1, 1]
_BARYCENTRIC = np.where(np.arange(NODES) % 2, -1.0, 1.0) * np.sin(_ANGLES)


class PiecewiseChebyshev:
    """An interpolant of `function(rho) -> (E,)` on (-1/radius, 1/radius).

    Each row of a batch is computed by itself (no BLAS), so that its bits do not depend on the batch.
    """

    def __init__(self, function: Callable[[float], Floats], radius: float) -> None:
        self._function = function
        self._radius = radius
        self._segments: dict[int, tuple[Floats, Floats]] = {}

    def __call__(self, rho: Floats) -> Floats:
        """Values at rho (R,) -> (R, E); NaN where rho is NaN or outside the interval."""
        inside = np.abs(rho) * self._radius < 1.0
        safe = np.where(inside, rho, 0.0)
        segments = np.floor(self._stretch(safe)).astype(np.intp)
        out: Floats | None = None
        for segment in np.unique(segments).tolist():
            nodes, values = self._segment(segment)
            rows = np.flatnonzero(segments == segment)
            difference = safe[rows, None] - nodes
            hit = difference == 0.0
            with np.errstate(divide="ignore", invalid="ignore"):
                terms = _BARYCENTRIC / difference
            terms[hit.any(axis=1)] = 0.0
            terms[hit] = 1.0
            terms /= terms.sum(axis=1, keepdims=True)
            found = np.einsum("rn,ne->re", terms, values)
            if rows.size == rho.size:
                out = found
            else:
                out = np.empty((rho.size, found.shape[1])) if out is None else out
                out[rows] = found
        assert out is not None
        out[~inside] = np.nan
        return out

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
        low, high = self._edge(segment), self._edge(segment + 1)
        nodes = (low + high) / 2 + (high - low) / 2 * _POINTS
        return nodes, np.stack([self._function(float(node)) for node in nodes])
