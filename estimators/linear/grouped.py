"""Two-way within regressions of groups of units, for many assignments of units to groups at once.

The fully interacted model, with every slope and every period effect free in every group, is one regression a group. All
that an assignment changes are sums over the units of a group: of their cross products and of their rows. So a tile of D
assignments costs a few matrix products (groups V, units N, periods T, columns P = K regressors and the outcome).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estimators.core import regression as ols
from estimators.linear.covariances import membership
from sim.arrays import Codes, Floats


@dataclass(frozen=True, eq=False, slots=True)
class UnitRows:
    """What every unit brings to its group, whichever that is.

    rows (N, T, P): regressors and, last, the outcome, without unit means, zero where unobserved; products (N, P, P), a
    unit's cross products; mask (N, T), None = balanced; overlap (N, T, T) = m_i m_i' / T_i of the observed periods m_i.
    """

    rows: Floats
    products: Floats
    mask: Floats | None = None
    overlap: Floats | None = None

    @classmethod
    def of(cls, columns: Floats, mask: Floats | None = None) -> UnitRows:
        """From columns (P, T, N) without unit means and the mask of observed cells (T, N), None = balanced."""
        rows = np.ascontiguousarray(columns.transpose(2, 1, 0))
        products = rows.transpose(0, 2, 1) @ rows
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
        totals = (members @ units.rows.reshape(n, -1)).reshape(-1, t, p)
        if units.mask is None or units.overlap is None:
            periods = totals / np.maximum(members.sum(axis=1), 1.0)[:, None, None]
        else:
            normal = -(members @ units.overlap.reshape(n, -1)).reshape(-1, t, t)
            normal[:, np.arange(t), np.arange(t)] += members @ units.mask
            periods = np.linalg.pinv(normal, rcond=1e-10, hermitian=True) @ totals
        cross = own - totals.transpose(0, 2, 1) @ periods
        bread, _ = ols.invert(_without_absorbed(cross[:, :-1, :-1], own[:, :-1, :-1]))
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
        out = out - (self.periods @ weights[:, :, :, None])[:, :, :, 0][draws, self.codes]
        mask = self.units.mask
        if mask is None:
            return out
        seen = np.maximum(mask.sum(axis=1), 1.0)
        return (out - ((out * mask).sum(axis=2) / seen)[:, :, None]) * mask


def group_sums(scores: Floats, codes: Codes, groups: int, clusters: Codes | None) -> Floats:
    """Sums of unit scores (D, N) by cluster and group, (D, C, V); clusters (N,), None = every unit its own."""
    by_group = scores[:, :, None] * (codes[:, :, None] == np.arange(groups))
    if clusters is None:
        return by_group
    return membership(clusters).T @ by_group


def _without_absorbed(cross: Floats, own: Floats) -> Floats:
    """Cross products (G, K, K) with zeros for regressors of which next to nothing is left of their own (G, K, K)."""
    left, before = (np.diagonal(x, axis1=1, axis2=2) for x in (cross, own))
    kept = (left > ols.ABSORBED * before).astype(np.float64)
    return cross * kept[:, :, None] * kept[:, None, :]
