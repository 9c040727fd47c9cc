"""The two-way coefficient of the treatment without each group of units in turn, by updated sums instead of refits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estimators.linear.covariances import ClusterK, counted_parameters, membership
from estimators.linear.grouped import GroupFits, UnitRows, group_sums
from sim.arrays import Codes, Flags, Floats

CELLS = 2**20  # of the panels that are made together


@dataclass(frozen=True, eq=False, slots=True)
class LeftOut:
    """Without each of G groups: estimate and its clustered error (G,) each, and the clusters that are left, (G,)."""

    estimate: Floats
    se: Floats
    clusters: Floats


@np.errstate(divide="ignore", invalid="ignore")  # slopes of what is left out may not exist: they are NaN
def leave_one_out(
    columns: Floats,
    left_out: Codes,
    clusters: Codes,
    mask: Floats | None = None,
    *,
    counted: int = 0,
    cluster_k: ClusterK = "nonnested",
) -> LeftOut:
    """Coefficients of the first column without the units of each group; NaN where nothing is left to estimate.

    columns (P, T, N): treatment, controls and, last, the outcome, without unit means and zero where unobserved; mask
    (T, N) of observed cells, None = balanced. left_out (N,): group of every unit; clusters (N,) of the errors, which
    nest units and whose factor is G/(G - 1) (n - 1)/(n - k), k = `counted` slopes and those effects of the units and
    periods that are left which `cluster_k` counts.
    """
    units, groups = UnitRows.of(columns, mask), int(left_out.max()) + 1
    step = max(1, CELLS // columns[0].size)
    parts = [
        _without(units, left_out == np.arange(start, min(start + step, groups))[:, None], clusters, counted, cluster_k)
        for start in range(0, groups, step)
    ]
    return LeftOut(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _without(
    units: UnitRows, gone: Flags, clusters: Codes, counted: int, cluster_k: ClusterK
) -> tuple[Floats, Floats, Floats]:
    """Estimates, errors and clusters (D,) each without some sets of units, gone (D, N)."""
    codes = gone.astype(np.intp)  # 0 what is kept, 1 what is left out
    fits = GroupFits.of(units, codes, 2)
    kept = codes == 0
    scores = np.where(kept, (fits.residuals() * fits.partialled(0)).sum(axis=2), 0.0)
    by_cluster = group_sums(scores, codes, 2, clusters)[:, :, 0]
    seen = np.ones(units.rows.shape[:2]) if units.mask is None else units.mask  # (N, T)
    rows = kept @ seen.sum(axis=1)
    periods = (kept @ seen > 0).sum(axis=1).astype(np.float64)
    observed = (kept & (seen.sum(axis=1) > 0)).astype(np.float64)
    count = (observed @ membership(clusters) > 0).sum(axis=1).astype(np.float64)
    nested = observed.sum(axis=1) - 1.0
    factor = (
        count / (count - 1.0) * (rows - 1.0) / (rows - counted_parameters(counted, nested + periods, nested, cluster_k))
    )
    se = np.sqrt(factor * np.square(by_cluster).sum(axis=1))
    return fits.slopes[:, 0, 0], se, count
