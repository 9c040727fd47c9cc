"""Log-determinant and traces of a spatial weights matrix as functions of the spatial coefficient.

Ord (1975) for the eigenvalue form. Where W is large and sparse, eigenvalues would take N^3 operations: the
log-determinant of sparse factors and its derivatives, tr G and tr G^2, take their place. Lee and Yu (2010, JoE 154:165)
for the transformed traces, with H = Q_N G.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from estimators.spatial.interpolation import PiecewiseChebyshev, WithSlopes
from estimators.spatial.multipliers import MatrixProducts, Multiplier, NodeMatrices
from estimators.spatial.series import Series
from sim.arrays import Floats
from sim.weights import Weights

Transform = Literal["direct", "lee-yu"]

FLAT = 1e-4  # share of rho's information from W below which it is told from sigma2 by next to nothing


@dataclass(frozen=True, slots=True)
class Traces:
    """ln|I - rho W| and traces of G = W (I - rho W)^-1, all (R,).

    Likelihoods use those of the chosen transform (h: tr H, hh: tr H^2, hth: tr H'H; H = G under `direct`), effects the
    plain ones (g: tr G, gg: tr G^2) and the sums over all pairs (sum_g: 1'G1/N, sum_gg: 1'G^2 1/N).
    """

    log_det: Floats
    h: Floats
    hh: Floats
    hth: Floats
    g: Floats
    gg: Floats
    sum_g: Floats
    sum_gg: Floats


class Spectrum:
    """Functions of rho that depend on W alone, interpolated; one a weights matrix and process.

    multiplier(rho): G itself, and multiplier.apply(rho, x) its products; near_multiplier(rho): G from matrices kept at
    nodes, which pays where many rho's are near each other. series.apply(rho, x): products of rows at their own rho.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.multiplier = Multiplier(weights)
        self.series = Series(self.multiplier)
        self.near_multiplier = NodeMatrices(self.multiplier, weights.radius, len(weights.units))
        self._sums = self._sums_of(weights)
        self._norms = PiecewiseChebyshev(self.multiplier.norms, weights.radius)
        self._row_sums = PiecewiseChebyshev(self.multiplier.row_sums, weights.radius)
        self._products = MatrixProducts(self.near_multiplier)

    def _sums_of(self, weights: Weights) -> PiecewiseChebyshev:
        """ln|I - rho W|, tr G and tr G^2."""
        if self.multiplier.sparse:
            return WithSlopes(lambda rho: np.array([self.multiplier.log_determinant(rho)]), weights.radius)
        return PiecewiseChebyshev(self._eigenvalue_sums, weights.radius)

    @cached_property
    def own_information(self) -> float:
        """See `own_information`."""
        return own_information(self.weights)

    def is_flat(self, transform: Transform) -> bool:
        """Whether the likelihood of a row-stochastic W hardly depends on rho or lambda, whatever the data are.

        The direct likelihood always does: there tr W = 0 stands for tr A.
        """
        return transform == "lee-yu" and self.own_information < FLAT

    def slopes(self, rho: Floats, transform: Transform) -> tuple[Floats, ...]:
        """ln|I - rho W|, tr G and tr G^2 of the transform at rho (R,)."""
        log_det, g, gg = self._sums(rho).T
        return _transformed(log_det, g, gg, rho, transform)

    def traces(self, rho: Floats, transform: Transform) -> Traces:
        """All of them at rho (R,)."""
        log_det, g, gg = self._sums(rho).T
        log_det, h, hh = _transformed(log_det, g, gg, rho, transform)
        hth, columns, sum_g, sum_gg = self._norms(rho).T
        if transform == "lee-yu":
            hth = hth - columns
        return Traces(log_det, h, hh, hth, g, gg, sum_g, sum_gg)

    def joint(self, rho: Floats, lam: Floats, transform: Transform) -> tuple[Floats, Floats]:
        """tr GH and tr G'H of the transform, (R,) each: G at rho, H at lambda."""
        eigenvalues = self.weights.eigenvalues
        at_rho, at_lam = (1.0 - value[:, None] * eigenvalues for value in (rho, lam))
        gh = (eigenvalues / at_rho * (eigenvalues / at_lam)).real.sum(axis=1)
        gth, columns = self._products(rho, lam).T
        if transform == "direct":
            return gh, gth
        return gh - 1 / ((1 - rho) * (1 - lam)), gth - columns

    def row_sums(self, rho: Floats) -> Floats:
        """G1 at rho (R,), (R, N)."""
        return self._row_sums(rho)

    def _eigenvalue_sums(self, rho: float) -> Floats:
        eigenvalues = self.weights.eigenvalues
        left = 1.0 - rho * eigenvalues
        ratio = eigenvalues / left
        return np.array([np.log(np.abs(left)).sum(), ratio.real.sum(), (ratio**2).real.sum()])


def own_information(weights: Weights) -> float:
    """What sigma2 leaves of W's part of the information about rho = 0 or lambda = 0 with time effects, from 0 to 1.

    1 - 2 (tr A)^2 / ((N - 1) tr(A^2 + A'A)), A = Q_N W Q_N: one minus the squared correlation of the scores of rho and
    sigma2 (Lee and Yu 2010). 0 for the uniform W: A is then -Q_N/(N - 1), a lag is a multiple of the variable itself,
    and the transformed likelihood is the same for every rho. An ordinary W has shares above .1, one whose entries
    differ from the uniform ones by a hundredth of them about FLAT.
    """
    w, n = weights.matrix, len(weights.units)
    columns, rows, mean = w.sum(axis=0), w.sum(axis=1), float(w.sum()) / n
    squares = float(w.multiply(w.T).sum() + w.multiply(w).sum()) + 2 * mean**2
    squares -= float(2 * columns @ rows + columns @ columns + rows @ rows) / n
    return 1.0 - 2.0 * mean**2 / ((n - 1) * squares)


def _transformed(log_det: Floats, g: Floats, gg: Floats, rho: Floats, transform: Transform) -> tuple[Floats, ...]:
    """Under Lee and Yu without the eigenvalue of W that the time effects take out, 1."""
    if transform == "direct":
        return log_det, g, gg
    return log_det - np.log1p(-rho), g - 1 / (1 - rho), gg - 1 / (1 - rho) ** 2


_KEPT: OrderedDict[str, Spectrum] = OrderedDict()
_MOST = 16


def spectrum_of(weights: Weights) -> Spectrum:
    """The (cached) spectrum of a weights matrix; a worker keeps the last sixteen."""
    key = weights.digest
    if key not in _KEPT:
        _KEPT[key] = Spectrum(weights)
        while len(_KEPT) > _MOST:
            _KEPT.popitem(last=False)
    _KEPT.move_to_end(key)
    return _KEPT[key]
