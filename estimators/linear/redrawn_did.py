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
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Status
from estimators.core.tile import AssignedTreatments, ShiftedFits, TreatmentFits, TreatmentKernel, product
from estimators.core.treatments import (
    Fields,
    Given,
    PathCodes,
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
class AssignedDID(AssignedTreatments):
    """B treatments: products c (B, K) with the controls' basis; squares (B,) = D~'D~, NaN where D is used up."""

    linear: ClassVar[bool] = True

    kernel: DIDKernel
    drawn: Treatments
    c: Floats
    squares: Floats

    @cached_property
    def prepared(self) -> tuple[Floats, Floats]:
        """v (B, N), and what u is made of: of treatments by paths the columns -(m, c) of their tables (B, T + K), of
        others D~ (B, T, N)."""
        drawn, projection = self.drawn, self.kernel.projection
        if not isinstance(drawn, PathCodes):
            own, x = np.empty((len(drawn.values), drawn.values.shape[2])), np.empty_like(drawn.values)
            for some in tiles(len(drawn.values)):
                x[some] = part = projection(drawn.values[some])
                own[some] = np.einsum("btn,btn->bn", part, part)
            return own, x

        k, periods, units = projection.basis.shape
        rows, _, codes = drawn.treated
        m, c = drawn.by_period / units, self.c
        first, second = np.triu_indices(k)
        doubled = np.where(first == second, 1.0, 2.0)
        quadratic = np.concatenate(
            [2 * (c[:, :, None] * m[:, None, :]).reshape(len(c), k * periods),
             doubled * c[:, first] * c[:, second], np.vecdot(m, m)[:, None]], axis=1,
        )  # fmt: skip
        own = product(quadratic, self.kernel.columns)
        linear = product(m, drawn.paths.T)[rows, codes]
        for column, field in zip(c.T, self.kernel.controls.tables(drawn.paths)[0], strict=True):
            linear += column[rows] * field.take(drawn.entries)
        own.reshape(-1)[drawn.cells] += np.diagonal(drawn.kappa)[codes] - 2 * linear
        return own, -np.concatenate([m, c], axis=1)

    def scores(self, y: Floats) -> Floats:
        """u (B, N), sums over each unit's periods, of one projected outcome (T, N)."""
        drawn, (own, made_of) = self.drawn, self.prepared
        if isinstance(drawn, PathCodes):
            basis = self.kernel.projection.basis
            u = product(made_of, np.concatenate([y, (basis * y).sum(axis=1)]))
            u.reshape(-1)[drawn.cells] += (drawn.paths @ y).take(drawn.entries)
            return u
        u = np.empty_like(own)
        for some in tiles(len(u)):
            u[some] = np.einsum("btn,tn->bn", made_of[some], y)
        return u

    def estimates(self, y: Floats) -> Floats:
        """b, (R, B, 1), of raw outcomes (R, T, N)."""
        return self.coefficients(self.kernel.projection(y))[:, :, None]

    def coefficients(self, y: Floats) -> Floats:
        """b, (R, B), of projected outcomes (R, T, N)."""
        return np.ascontiguousarray((self.drawn.meet(Fields(y)) / self.squares[:, None]).T)

    def fit(self, y: Floats) -> TreatmentFits:
        """b and its error of the last type, of raw outcomes (R, T, N)."""
        project = self.kernel.projection
        fits = [self.variances(project(one)[0]) for one in outcomes(y, project, "did of redrawn treatments")]
        beta = np.stack([b for b, _ in fits])[:, :, None]
        se = np.sqrt(self.kernel.factor * np.stack([variance[:, -1:] for _, variance in fits]))
        status = np.where(np.isfinite(beta[:, :, 0]), Status.OK, Status.SINGULAR).astype(np.uint8)
        return TreatmentFits(self.kernel.terms, beta, se, status)

    def variances(self, y: Floats) -> tuple[Floats, Floats]:
        """b (B,) and its variances before their factors, (B, M), NaN where they are rounding, of one projected outcome
        (T, N)."""
        if not self.kernel.clusters:
            return self.coefficients(y[None])[0], np.empty((len(self.squares), 0))
        u = self.scores(y)
        beta = u.sum(axis=1) / self.squares
        u -= beta[:, None] * self.prepared[0]
        sums = [_by_cluster(u, codes) for codes in self.kernel.clusters]
        variance = np.stack([np.vecdot(s, s) for s in sums], axis=1) / self.squares[:, None] ** 2
        rounding = DEGENERATE * (np.vdot(y, y) - beta**2 * self.squares) / (self.squares * y.size)
        return beta, np.where(variance > rounding[:, None], variance, np.nan)

    def shifted(self, y: Floats, real: Floats) -> ShiftedFits:
        """Coefficients and clustered variances of y - c D; the variance is quadratic in c."""
        y, real = self.kernel.projection(y), self.kernel.projection(real)
        b, slope = self.coefficients(y), self.coefficients(real)
        x, squares = self._residual_sums(real[0], slope[0]), self.squares**2
        v0, v1 = np.empty_like(b), np.empty_like(b)
        for row in range(len(y)):
            e = self._residual_sums(y[row], b[row])
            v0[row], v1[row] = np.vecdot(e, e) / squares, -2.0 * np.vecdot(e, x) / squares
        flat, d, least = y.reshape(len(y), -1), real.ravel(), DEGENERATE / (self.squares * real.size)
        taken = slope * self.squares
        rounding = (
            least * (np.vecdot(flat, flat)[:, None] - b**2 * self.squares),
            -2.0 * least * ((flat @ d)[:, None] - b * taken),
            least * (d @ d - slope * taken),
        )
        return ShiftedFits(b, slope, v0, v1, (np.vecdot(x, x) / squares)[None], rounding)

    def _residual_sums(self, y: Floats, b: Floats) -> Floats:
        """Scores of residuals by cluster of the last error type, (B, G)."""
        scores = self.scores(y)
        scores -= b[:, None] * self.prepared[0]
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
        return np.column_stack([b, self.squares - b**2 * drawn.squares, 1 / drawn.squares, variance])


def _by_cluster(u: Floats, codes: Codes) -> Floats:
    """Units' scores (B, N) summed within clusters, (B, G)."""
    if codes[0] == 0 and (np.diff(codes) == 1).all():  # every unit is its own
        return u
    return product(u, membership(codes))
