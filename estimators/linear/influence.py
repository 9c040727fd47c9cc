"""What each residual moves each coefficient by, and the variances that follow under every error type.

A coefficient that is linear in the outcome has b - beta = sum_it psi_it e_it. Variances are sums of products of
psi_it e_it: `ScoreSum` says over which pairs. Where the regressors are the same in all replications, what they allow to
be computed once is kept; sums within units or periods are then small matrix products of a whole tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from estimators.core import regression as ols
from estimators.core.regression import flat, gram
from estimators.linear.covariances import DEGENERATE, ScoreSum, bartlett_sum, sums_within
from sim.arrays import Codes, Flags, Floats

# Two-way within regressions of groups of units, for many assignments of units to groups at once.
#
# The fully interacted model, with every slope and every period effect free in every group, is one regression a
# group. All that an assignment changes are sums over the units of a group: of their cross products and of their
# rows. So a tile of D assignments costs a few matrix products (groups V, units N, periods T, columns P = K
# regressors and the outcome).


@dataclass(frozen=True, eq=False, slots=True)
class UnitRows:
    """What every unit brings to its group, whichever that is.

    rows (N, T, P): regressors and, last, the outcome, without unit means, zero where unobserved; products (N, P, P), a
    unit's cross products; mask (N, T), None = balanced; overlap (N, T, T) = m_i m_i' / T_i of the observed periods m_i.

    With weights rows are times their root r, mask is r^2 and overlap r_i^2 r_i^2' / sum r_i^2; pulled (N, T, P) are
    rows times the root once more, whose sums over units the period effects solve for.
    """

    rows: Floats
    products: Floats
    mask: Floats | None = None
    overlap: Floats | None = None
    pulled: Floats | None = None

    @classmethod
    def of(cls, columns: Floats, mask: Floats | None = None, root: Floats | None = None) -> UnitRows:
        """From columns (P, T, N) without unit means and the mask of observed cells (T, N), None = balanced; root (T,
        N): of weights, which the columns are times, in place of the mask."""
        rows = np.ascontiguousarray(columns.transpose(2, 1, 0))
        products = rows.transpose(0, 2, 1) @ rows
        if root is not None:
            weights, total = np.ascontiguousarray(np.square(root).T), np.square(root).sum(axis=0)[:, None]
            overlap = weights[:, :, None] * (weights / np.where(total > 0, total, 1.0))[:, None, :]
            return cls(rows, products, weights, overlap, rows * root.T[:, :, None])
        if mask is None:
            return cls(rows, products)
        seen = np.ascontiguousarray(mask.T)
        overlap = seen[:, :, None] * (seen / np.maximum(seen.sum(axis=1, keepdims=True), 1.0))[:, None, :]
        return cls(rows, products, seen, overlap)


@dataclass(frozen=True, eq=False, slots=True)
class GroupFits:
    """Regressions of D assignments: slopes (D, V, K), inverse cross products (D, V, K, K), period effects (D, V, T, P).

    Slopes of a group whose regressors are absorbed or collinear are NaN.
    """

    units: UnitRows
    codes: Codes
    slopes: Floats
    bread: Floats
    periods: Floats

    @classmethod
    def of(cls, units: UnitRows, codes: Codes, groups: int) -> GroupFits:
        """Fit every assignment `codes` (D, N) of units to `groups` groups.

        Period effects solve (diag(n_t) - sum_i m_i m_i' / T_i) l = sum_i x_i over the units i of the group (Wansbeek
        and Kapteyn 1989); in a balanced panel they are the group's means.
        """
        members = (codes[:, None, :] == np.arange(groups)[:, None]).astype(np.float64).reshape(-1, codes.shape[1])
        n, t, p = units.rows.shape
        own = (members @ units.products.reshape(n, -1)).reshape(-1, p, p)
        summed = units.rows if units.pulled is None else units.pulled
        totals = (members @ summed.reshape(n, -1)).reshape(-1, t, p)
        if units.mask is None or units.overlap is None:
            periods = totals / np.maximum(members.sum(axis=1), 1.0)[:, None, None]
        else:
            normal = -(members @ units.overlap.reshape(n, -1)).reshape(-1, t, t)
            normal[:, np.arange(t), np.arange(t)] += members @ units.mask
            periods = np.linalg.pinv(normal, rcond=1e-10, hermitian=True) @ totals
        cross = own - totals.transpose(0, 2, 1) @ periods
        among = cross[:, :-1, :-1]
        left, before = (np.diagonal(x, axis1=1, axis2=2) for x in (among, own[:, :-1, :-1]))
        kept = (left > ols.ABSORBED * before).astype(np.float64)  # 0 for regressors of which next to nothing is left
        bread, _ = ols.invert(among * kept[:, :, None] * kept[:, None, :])
        slopes = (bread @ cross[:, :-1, -1:])[:, :, 0]
        shape = (len(codes), groups)
        return cls(
            units,
            codes,
            slopes.reshape(*shape, p - 1),
            bread.reshape(*shape, p - 1, p - 1),
            periods.reshape(*shape, t, p),
        )

    def residuals(self) -> Floats:
        """What the regressions leave of the outcome, (D, N, T); zero where unobserved."""
        ones = np.ones((*self.slopes.shape[:2], 1))
        return self._combine(np.concatenate([-self.slopes, ones], axis=2))

    def partialled(self, regressor: int) -> Floats:
        """A regressor without the others and the effects, over its sum of squares, (D, N, T) (Frisch and Waugh 1933).

        Its inner product with the outcome over the units of a group is the group's slope.
        """
        row = self.bread[:, :, regressor]
        return self._combine(np.concatenate([row, np.zeros((*row.shape[:2], 1))], axis=2))

    def _combine(self, weights: Floats) -> Floats:
        """The demeaned columns of every unit with the weights (D, V, P) of its group, summed: (D, N, T)."""
        draws = np.arange(len(self.codes))[:, None]
        own = weights[draws, self.codes]
        out = (self.units.rows @ own.transpose(1, 2, 0)).transpose(2, 0, 1)
        periods = (self.periods @ weights[:, :, :, None])[:, :, :, 0][draws, self.codes]
        mask = self.units.mask
        if mask is not None and self.units.pulled is not None:
            root, total = np.sqrt(mask), mask.sum(axis=1)
            out = out - root * periods
            return out - root * ((out * root).sum(axis=2) / np.where(total > 0, total, 1.0))[:, :, None]
        out = out - periods
        if mask is None:
            return out
        seen = np.maximum(mask.sum(axis=1), 1.0)
        return (out - ((out * mask).sum(axis=2) / seen)[:, :, None]) * mask


def group_sums(scores: Floats, codes: Codes, groups: int, clusters: Codes | None) -> Floats:
    """Sums of unit scores (D, N) by cluster and group, (D, C, V); clusters (N,), None = every unit its own."""
    by_group = scores[:, :, None] * (codes[:, :, None] == np.arange(groups))
    if clusters is None:
        return by_group
    return np.moveaxis(sums_within(np.moveaxis(by_group, 1, 2), clusters), 2, 1)


CELLS = 2**16  # of a regressor times residuals, whose sums are made together
# kinds whose sums within units or periods are computed here; others by ScoreSum
SUMMED = ("cluster", "cv3", "cr2", "driscoll-kraay")


@dataclass(frozen=True, eq=False, slots=True)
class Influence:
    """psi of K coefficients, and what is kept of it.

    psi (1 or R, K, T, N): 1 where regressors are fixed. own (1 or R, K): sum of squares of psi, the variance of
    independent errors with variance one. squares (K, T N), by_unit (N, K, T), by_period (T, K, N): of fixed ones.
    """

    psi: Floats
    own: Floats
    squares: Floats | None = None
    by_unit: Floats | None = None
    by_period: Floats | None = None

    @classmethod
    def of(cls, psi: Floats, own: Floats) -> Influence:
        """From psi and its sums of squares, (X'X)^-1's diagonal for slopes."""
        if len(psi) > 1:
            return cls(psi, own)
        first = psi[0]
        return cls(psi, own, np.square(flat(first)), np.ascontiguousarray(first.transpose(2, 0, 1)),
                   np.ascontiguousarray(first.transpose(1, 0, 2)))  # fmt: skip

    def variances(self, total: ScoreSum, e: Floats, ssr: Floats) -> tuple[Floats, Flags]:
        """Variances before the factor (R, K), NaN where they are rounding, and whether they were floored, (R,).

        e (R, T, N): residuals, zero where unobserved; ssr (R,): their sum of squares.
        """
        if total.floors or (total.kind != "hc1" and total.kind not in SUMMED):
            matrix, floored = total.matrix(self.psi, e)
            return np.diagonal(matrix, axis1=1, axis2=2), floored
        none = np.zeros(len(e), dtype=bool)
        if total.kind != "hc1":
            sums = self._sums(total, e)
            if total.lag == 0:
                variance = np.einsum("gkr,gkr->rk", sums, sums)
            else:  # the diagonal of the Bartlett sum
                rows = np.ascontiguousarray(sums.transpose(2, 1, 0)).reshape(-1, 1, len(sums))
                variance = bartlett_sum(rows, total.lag, total.absent)[:, 0, 0].reshape(sums.shape[2], sums.shape[1])
        elif self.psi.shape[1] == 0:
            variance = np.zeros((len(e), 0))
        elif self.squares is None:  # sum_it (psi_it e_it)^2 (White 1980)
            variance = np.matmul(np.square(flat(self.psi)), flat(e * e)[:, :, None])[:, :, 0]
        else:
            variance = (self.squares @ flat(e * e).T).T
        scale = self.own * ssr[:, None] / e[0].size  # a sum of scores that cancel is 1e-30 of it, a sound one near 1
        return np.where(variance > DEGENERATE * scale, variance, np.nan), none

    def _sums(self, total: ScoreSum, e: Floats) -> Floats:
        """Scores summed within each cluster or period, (G, K, R)."""
        if total.unit_codes is None:
            if self.by_period is None:
                return np.einsum("rktn,rtn->tkr", self.psi, e)
            return np.matmul(self.by_period, np.ascontiguousarray(e.transpose(1, 2, 0)))
        if self.by_unit is None:
            sums = np.einsum("rktn,rtn->nkr", self.psi, e)
        else:  # one small product a unit: (K, T) by (T, R)
            sums = np.matmul(self.by_unit, np.ascontiguousarray(e.transpose(2, 1, 0)))
        return np.asarray(sums) if total.membership is None else np.tensordot(total.membership, sums, axes=1)


@dataclass(frozen=True, eq=False)
class RedrawnInfluence:
    """That of slopes whose regressors x (R, K, T, N) differ between replications, bread (R, K, K) = (X'X)^-1.

    psi = bread x is made for error types that need it alone: for the others a sum of scores x e has K x K products, and
    V = bread M bread.
    """

    x: Floats
    bread: Floats

    @property
    def own(self) -> Floats:
        """Sums of squares of psi, (R, K)."""
        return np.diagonal(self.bread, axis1=1, axis2=2)

    @cached_property
    def psi(self) -> Floats:
        """What each residual moves each slope by, (R, K, T, N)."""
        return ols.influences(self.bread, self.x)

    def variances(self, total: ScoreSum, e: Floats, ssr: Floats) -> tuple[Floats, Flags]:
        """As `Influence.variances`."""
        if total.floors or (total.kind != "hc1" and total.kind not in SUMMED):
            return Influence(self.psi, self.own).variances(total, e, ssr)
        sums, step = np.empty_like(self.bread), max(1, CELLS // e[0].size)
        for start in range(0, len(e), step):
            rows = slice(start, start + step)
            sums[rows] = meat(total, self.x[rows] * e[rows, None])
        variance, none = np.vecdot(np.matmul(self.bread, sums), self.bread), np.zeros(len(e), dtype=bool)
        scale = self.own * ssr[:, None] / e[0].size
        return np.where(variance > DEGENERATE * scale, variance, np.nan), none


def meat(total: ScoreSum, scores: Floats) -> Floats:
    """Sums of products of scores (R, K, T, N) without floors, (R, K, K), of hc1 and of the kinds in `SUMMED`."""
    if total.kind == "hc1":
        return gram(scores)
    if total.unit_codes is None:
        return bartlett_sum(scores.sum(axis=3), total.lag, total.absent)
    sums = np.matmul(np.ones(scores.shape[2]), scores)
    if total.membership is not None:
        sums = np.matmul(sums, total.membership.T)
    return bartlett_sum(sums, 0)
