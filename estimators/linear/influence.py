"""What each residual moves each coefficient by, and the variances that follow under every error type.

A coefficient that is linear in the outcome has b - beta = sum_it psi_it e_it. Variances are sums of products of
psi_it e_it: `ScoreSum` says over which pairs. Where the regressors are the same in all replications, what they allow to
be computed once is kept; sums within units or periods are then small matrix products of a whole tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from estimators.core.regression import flat, gram
from estimators.linear.covariances import DEGENERATE, ScoreSum, bartlett_sum
from sim.arrays import Flags, Floats

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

    @classmethod
    def of_fixed(cls, x: Floats, bread: Floats) -> Influence:
        """Of slopes, from demeaned regressors (1, K, T, N) and (X'X)^-1."""
        psi = np.reshape(np.matmul(bread, flat(x)), x.shape)
        return cls.of(psi, np.diagonal(bread, axis1=1, axis2=2))

    def variances(self, total: ScoreSum, e: Floats, ssr: Floats) -> tuple[Floats, Flags]:
        """Variances before the factor (R, K), NaN where they are rounding, and whether they were floored, (R,).

        e (R, T, N): residuals, zero where unobserved; ssr (R,): their sum of squares.
        """
        none = np.zeros(len(e), dtype=bool)
        if total.kind == "hc1":
            return self._heteroskedastic(e), none
        if total.floors or total.kind not in SUMMED:
            matrix, floored = total.matrix(self.psi, e)
            return np.diagonal(matrix, axis1=1, axis2=2), floored
        sums = self._sums(total, e)
        variance = np.einsum("gkr,gkr->rk", sums, sums) if total.lag == 0 else _bartlett(sums, total.lag)
        scale = self.own * ssr[:, None] / e[0].size  # a sum of scores that cancel is 1e-30 of it, a sound one near 1
        return np.where(variance > DEGENERATE * scale, variance, np.nan), none

    def _heteroskedastic(self, e: Floats) -> Floats:
        """sum_it (psi_it e_it)^2, (R, K): the diagonal of White's (1980) sandwich."""
        if self.psi.shape[1] == 0:
            return np.zeros((e.shape[0], 0))
        if self.squares is None:
            return np.matmul(np.square(flat(self.psi)), flat(e * e)[:, :, None])[:, :, 0]
        return (self.squares @ flat(e * e).T).T

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
        return np.reshape(np.matmul(self.bread, flat(self.x)), self.x.shape)

    def variances(self, total: ScoreSum, e: Floats, ssr: Floats) -> tuple[Floats, Flags]:
        """As `Influence.variances`."""
        if total.floors or (total.kind != "hc1" and total.kind not in SUMMED):
            return Influence(self.psi, self.own).variances(total, e, ssr)
        meat, step = np.empty_like(self.bread), max(1, CELLS // e[0].size)
        for start in range(0, len(e), step):
            rows = slice(start, start + step)
            meat[rows] = self._meat(total, self.x[rows] * e[rows, None])
        variance, none = np.vecdot(np.matmul(self.bread, meat), self.bread), np.zeros(len(e), dtype=bool)
        if total.kind == "hc1":
            return variance, none
        scale = self.own * ssr[:, None] / e[0].size
        return np.where(variance > DEGENERATE * scale, variance, np.nan), none

    def _meat(self, total: ScoreSum, scores: Floats) -> Floats:
        """Sums of products of scores (R, K, T, N), (R, K, K)."""
        if total.kind == "hc1":
            return gram(scores)
        if total.unit_codes is None:
            return bartlett_sum(scores.sum(axis=3), total.lag)
        sums = np.matmul(np.ones(scores.shape[2]), scores)
        if total.membership is not None:
            sums = np.matmul(sums, total.membership.T)
        return bartlett_sum(sums, 0)


def _bartlett(sums: Floats, lag: int) -> Floats:
    """Diagonal of the Bartlett sum of period scores (T, K, R), (R, K)."""
    rows = np.ascontiguousarray(sums.transpose(2, 1, 0)).reshape(-1, 1, len(sums))
    return bartlett_sum(rows, lag)[:, 0, 0].reshape(sums.shape[2], sums.shape[1])
