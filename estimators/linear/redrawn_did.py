"""Two-way DID of one panel under thousands of treatments: controls fixed, D differs, one outcome or many.

With M the projection off effects and controls (Frisch and Waugh 1933; Lovell 1963), y~ = My and D~ = MD,
b = D~'y~ / D~'D~, and the variance clustered by units or groups of them is sum_g s_g^2 / (D~'D~)^2 before its factor,
s_i = u_i - b v_i, u_i = sum_t D~_it y~_it, v_i = sum_t D~_it^2. For an absorbing treatment D~_it = 1[t >= a_i] - g_i -
m_t - c'P_it: g_i the unit's share of treated periods, m the centred share of treated units, P an orthonormal basis of
the demeaned controls, c = PD. So u_i is a tail of y~_i less (m, c) times fixed columns, and v_i a polynomial of degree
two in (m, c) with fixed coefficients and a tail: products of small matrices for all units, look-ups for the treated
alone. The same holds of any other paths p_i in place of 1[t >= a_i], with sums p_i'y~_i in place of tails. D~'y~ alone,
of many outcomes, is one sparse product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Status
from estimators.core.tile import LinearlyAssigned, ShiftedFits, TreatmentFits, TreatmentKernel, product
from estimators.core.treatments import (
    Fields,
    Given,
    PathCodes,
    Paths,
    Projection,
    Treatments,
    outcomes,
    sound,
    tiles,
    treatments,
)
from estimators.linear.covariances import DEGENERATE, membership
from sim.arrays import Codes, Floats


@dataclass(frozen=True, eq=False)
class DIDKernel(TreatmentKernel):
    """The regression of `TwoWayDID` with the treatment left open: effects, fixed controls, clusters of units.

    controls: the projection's basis. clusters: of each clustered error type, codes (N,). factor: of the last one.
    """

    terms: tuple[str, ...]
    projection: Projection
    controls: Fields
    clusters: tuple[Codes, ...]
    factor: float = 1.0

    def assign(self, given: Given) -> AssignedDID:
        """B treatments, ready for any outcome, as `treatments` takes them."""
        drawn = treatments(given, self.projection, "did of redrawn treatments")
        within, c = drawn.square(), drawn.meet(self.controls)
        squares = within - np.vecdot(c, c)
        return AssignedDID(self, drawn, c, np.where(sound(squares, within, drawn), squares, np.nan))

    @cached_property
    def columns(self) -> Floats:
        """What v's polynomial in (m, c) has for coefficients: P, its products, 1, (K T + K (K + 1) / 2 + 1, N)."""
        basis = self.projection.basis
        k, periods, units = basis.shape
        first, second = np.triu_indices(k)
        pairs = np.einsum("ptn,ptn->pn", basis[first], basis[second])
        return np.concatenate([basis.reshape(k * periods, units), pairs, np.ones((1, units))])


@dataclass(frozen=True, eq=False)
class AssignedDID(LinearlyAssigned):
    """B treatments: products c (B, K) with the controls' basis; squares (B,) = D~'D~, NaN where D is used up."""

    kernel: DIDKernel
    drawn: Treatments
    c: Floats
    squares: Floats

    @cached_property
    def scores(self) -> _Scores:
        """Sums over each unit's periods, for errors."""
        if isinstance(self.drawn, PathCodes):
            return _tabled(self.kernel, self.drawn, self.c)
        return _whole(self.kernel, self.drawn)

    def estimates(self, y: Floats) -> Floats:
        """b, (R, B, 1), of raw outcomes (R, T, N)."""
        return self.coefficients(self.kernel.projection(y))[:, :, None]

    def coefficients(self, y: Floats) -> Floats:
        """b, (R, B), of projected outcomes (R, T, N)."""
        return np.ascontiguousarray((self.drawn.sums(y) / self.squares[:, None]).T)

    def fit(self, y: Floats) -> TreatmentFits:
        """b and its error of the last type, of raw outcomes (R, T, N)."""
        project = self.kernel.projection
        fits = [self.variances(project(one)[0]) for one in outcomes(y, project, "did of redrawn treatments")]
        beta = np.stack([b for b, _ in fits])[:, :, None]
        se = np.sqrt(self.kernel.factor * np.stack([variance[:, -1:] for _, variance in fits]))
        status = np.where(np.isfinite(beta[:, :, 0]), Status.OK, Status.SINGULAR).astype(np.uint8)
        return TreatmentFits(self.kernel.terms, beta, se, status)

    def variances(self, y: Floats) -> tuple[Floats, Floats]:
        """b (B,) and its variances before their factors, (B, M), of one projected outcome (T, N)."""
        if not self.kernel.clusters:
            return self.coefficients(y[None])[0], np.empty((len(self.squares), 0))
        u = self.scores(y)
        beta = u.sum(axis=1) / self.squares
        u -= beta[:, None] * self.scores.own
        sums = [_by_cluster(u, codes) for codes in self.kernel.clusters]
        return beta, np.stack([np.vecdot(s, s) for s in sums], axis=1) / self.squares[:, None] ** 2

    def shifted(self, y: Floats, real: Floats) -> ShiftedFits:
        """Coefficients and clustered variances of y - c D; the variance is quadratic in c."""
        y, real = self.kernel.projection(y), self.kernel.projection(real)
        b, slope = self.coefficients(y), self.coefficients(real)
        x, squares = self._residual_sums(real[0], slope[0]), self.squares**2
        v0, v1 = np.empty_like(b), np.empty_like(b)
        for row in range(len(y)):
            e = self._residual_sums(y[row], b[row])
            v0[row], v1[row] = np.vecdot(e, e) / squares, -2.0 * np.vecdot(e, x) / squares
        return ShiftedFits(b, slope, v0, v1, (np.vecdot(x, x) / squares)[None])

    def _residual_sums(self, y: Floats, b: Floats) -> Floats:
        """Scores of residuals by cluster of the last error type, (B, G)."""
        scores = self.scores(y)
        scores -= b[:, None] * self.scores.own
        return _by_cluster(scores, self.kernel.clusters[-1])


@dataclass(frozen=True, eq=False, slots=True)
class RedrawnRegression:
    """One outcome (T, N), projected, whose treatment is redrawn: its sums of squares, projected, within and total."""

    kernel: DIDKernel
    y: Floats
    squares: float
    within: float
    total: float

    @property
    def size(self) -> int:
        """Columns of `fit`."""
        return 3 + len(self.kernel.clusters)

    def fit(self, given: NDArray[Any]) -> Floats:
        """b, e'e, 1/D~'D~, and variances before their factors, NaN where they are rounding, (B, 3 + M)."""
        drawn = self.kernel.assign(given)
        b, variance = drawn.variances(self.y)
        ssr, own = self.squares - b**2 * drawn.squares, 1 / drawn.squares
        scale = (own * ssr / self.y.size)[:, None]
        return np.column_stack([b, ssr, own, np.where(variance > DEGENERATE * scale, variance, np.nan)])


@dataclass(frozen=True, eq=False, slots=True)
class _Tabled:
    """Scores from tables by path: columns (B, T + K) = -(m, c); own (B, N) = v."""

    coded: PathCodes
    basis: Floats
    columns: Floats
    own: Floats

    def __call__(self, y: Floats) -> Floats:
        """u (B, N) of one projected outcome (T, N)."""
        u = product(self.columns, np.concatenate([y, (self.basis * y).sum(axis=1)]))
        _add_treated(u, self.coded, (self.coded.paths @ y).take(self.coded.entries))
        return u


@dataclass(frozen=True, eq=False, slots=True)
class _Whole:
    """Scores of any treatments: x (B, T, N) = D~, own (B, N) = v."""

    x: Floats
    own: Floats

    def __call__(self, y: Floats) -> Floats:
        """u (B, N) of one projected outcome (T, N)."""
        u = np.empty_like(self.own)
        for rows in tiles(len(u)):
            u[rows] = np.einsum("btn,tn->bn", self.x[rows], y)
        return u


_Scores = _Tabled | _Whole


def _tabled(kernel: DIDKernel, drawn: PathCodes, c: Floats) -> _Tabled:
    basis = kernel.projection.basis
    k, periods, units = basis.shape
    rows, _, codes = drawn.treated
    m = drawn.by_period / units
    first, second = np.triu_indices(k)
    doubled = np.where(first == second, 1.0, 2.0)
    quadratic = np.concatenate(
        [2 * (c[:, :, None] * m[:, None, :]).reshape(drawn.draws, k * periods), doubled * c[:, first] * c[:, second],
         np.vecdot(m, m)[:, None]], axis=1,
    )  # fmt: skip
    own = product(quadratic, kernel.columns)
    linear = product(m, drawn.paths.T)[rows, codes]
    for column, field in zip(c.T, kernel.controls.by_path(drawn.paths), strict=True):
        linear += column[rows] * field.take(drawn.entries)
    _add_treated(own, drawn, np.diagonal(drawn.kappa)[codes] - 2 * linear)
    return _Tabled(drawn, basis, -np.concatenate([m, c], axis=1), own)


def _whole(kernel: DIDKernel, drawn: Paths) -> _Whole:
    own, x = np.empty((drawn.draws, drawn.values.shape[2])), np.empty_like(drawn.values)
    for rows in tiles(drawn.draws):
        x[rows] = part = kernel.projection(drawn.values[rows])
        own[rows] = np.einsum("btn,btn->bn", part, part)
    return _Whole(x, own)


def _by_cluster(u: Floats, codes: Codes) -> Floats:
    """Units' scores (B, N) summed within clusters, (B, G)."""
    if codes[0] == 0 and (np.diff(codes) == 1).all():  # every unit is its own
        return u
    return product(u, membership(codes))


def _add_treated(out: Floats, drawn: PathCodes, values: Floats) -> None:
    """Add a value to the cell (draw, unit) of everyone who is treated; out (B, N), contiguous."""
    out.reshape(-1)[drawn.cells] += values
