"""The two-way coefficient of the treatment without each group of units in turn, by updated sums instead of refits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estimators.linear.grouped import GroupFits, UnitRows, group_sums
from sim.arrays import Codes, Floats


@dataclass(frozen=True, eq=False, slots=True)
class LeftOut:
    """Without each of G groups: estimate and its clustered error (G,) each, and the clusters that are left, (G,)."""

    estimate: Floats
    se: Floats
    clusters: Floats


@np.errstate(divide="ignore", invalid="ignore")  # slopes of what is left out may not exist: they are NaN
def leave_one_out(
    columns: Floats, left_out: Codes, clusters: Codes, mask: Floats | None = None, *, counted: int = 0
) -> LeftOut:
    """Coefficients of the first column without the units of each group; NaN where nothing is left to estimate.

    columns (P, T, N): treatment, controls and, last, the outcome, without unit means and zero where unobserved; mask
    (T, N) of observed cells, None = balanced. left_out (N,): group of every unit; clusters (N,) of the errors, whose
    factor is G/(G - 1) (n - 1)/(n - k), k = `counted` and the free period effects.
    """
    groups = int(left_out.max()) + 1
    codes = (left_out == np.arange(groups)[:, None]).astype(left_out.dtype)  # 0 what is kept, 1 what is left out
    fits = GroupFits.of(UnitRows.of(columns, mask), codes, 2)
    kept = codes == 0
    scores = np.where(kept, (fits.residuals() * fits.partialled(0)).sum(axis=2), 0.0)
    by_cluster = group_sums(scores, codes, 2, clusters)[:, :, 0]
    seen = np.ones(columns.shape[1:]) if mask is None else mask
    rows = kept @ seen.sum(axis=0)
    periods = (kept @ seen.T > 0).sum(axis=1)
    count = ((kept[:, :, None] & (seen.sum(axis=0) > 0)[:, None]) * _members(clusters)).any(axis=1).sum(axis=1)
    factor = count / (count - 1.0) * (rows - 1.0) / (rows - counted - periods)
    se = np.sqrt(factor * np.square(by_cluster).sum(axis=1))
    return LeftOut(fits.slopes[:, 0, 0], se, count)


def _members(codes: Codes) -> Floats:
    return np.asarray(codes[:, None] == np.arange(int(codes.max()) + 1))
