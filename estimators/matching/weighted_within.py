"""Two-way regressions with weights: the weighted within transformation and weighted least squares after it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from estimators.core import regression as ols
from estimators.core.error_types import may_be_floored
from estimators.core.estimator import Estimates, Status
from estimators.core.tile import spread
from estimators.linear.covariances import Covariance, Sample, counted_by_cluster, covariance
from sim.arrays import Floats
from sim.panel import Panel


@dataclass(frozen=True, eq=False, slots=True)
class WeightedWithin:
    """What is left of a variable after a weighted projection on unit and time effects.

    weights (T, N), 0 or more, 0 = left out; a balanced or an unbalanced panel with unit weights are special cases.
    The time effects solve (diag(sum_i w_it) - W diag(1 / sum_t w_it) W') l = sum_i w_it (x_it - xbar_i), xbar_i the
    weighted mean of a unit: the normal equations of least squares with dummies after unit effects are solved for.
    `effects` is the number of free unit and time effects; cells left out come out as zero.
    """

    weights: Floats
    solver: Floats
    effects: int

    @classmethod
    def of(cls, weights: Floats) -> WeightedWithin:
        """The transformation of weights (T, N); their scale does not matter."""
        per_unit = _at_least_one_cell(weights)
        normal = np.diag(weights.sum(axis=1)) - (weights / per_unit) @ weights.T
        scale = float(weights.sum(axis=1).max())
        solver = np.linalg.pinv(normal / scale, rcond=1e-10, hermitian=True) / scale
        rank = int(np.linalg.matrix_rank(normal / scale, tol=1e-10 * len(weights), hermitian=True))
        return cls(weights, solver, int((weights.sum(axis=0) > 0).sum()) + rank)

    def __call__(self, x: Floats) -> Floats:
        """(R, T, N) -> (R, T, N)."""
        per_unit = _at_least_one_cell(self.weights)
        seen = self.weights > 0
        x = np.where(seen, x, 0.0)
        unit = (self.weights * x).sum(axis=1, keepdims=True) / per_unit
        time = (self.weights * (x - unit)).sum(axis=2) @ self.solver
        x = x - time[:, :, None]
        return np.where(seen, x - (self.weights * x).sum(axis=1, keepdims=True) / per_unit, 0.0)


def _at_least_one_cell(weights: Floats) -> Floats:
    """Each unit's sum of weights, 1 for a unit without any, (N,)."""
    total = weights.sum(axis=0)
    return np.asarray(np.where(total > 0, total, 1.0))


@np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
def weighted_two_way(
    panel: Panel, outcome: str, regressors: tuple[str, ...], errors: tuple[str, ...], weights: Floats
) -> Estimates:
    """A two-way regression of R panels in which unit i has weight w_i, (N,); units of weight 0 are left out.

    Coefficients minimise the weighted sum of squares; the constant, the last term, is ybar - xbar'b in weighted means.
    errors: of `linear.covariances`, with weights as inverse variances under iid and in the scores w x e of all
    others; the factor of clusters counts regressors and the effects that are not nested in a cluster. Weights are
    rescaled to sum to n, which changes sigma2 alone. r2 are shares of weighted sums of squares; floored:ERROR is 1
    where negative eigenvalues of the slopes' matrix were set to zero. A variance that is zero up to rounding, as that
    of two units' scores, which cancel, is NaN. A panel with a regressor that the effects absorb, or that is collinear,
    among the units that are left, or whose outcome is fitted without error, is SINGULAR.
    """
    data = _Weighted.of(panel, outcome, regressors, weights)
    beta, psi, e = _least_squares(data)
    r, k = beta.shape[0], len(regressors)
    counted = counted_by_cluster(errors, k, data.effects, ("unit", "period"), data.used, "nonnested")
    sample = Sample(data.used, data.used.nobs, k + data.effects, counted)
    found = [covariance(error, psi[:, :-1], e, sample) for error in errors]
    ssr, rounding = ols.sum_of_squares(e), ols.ROUNDING * ols.sum_of_squares(data.root * data.raw_y)
    variances = _variances(errors, psi, e, sample, found, rounding)
    sound = np.isfinite(beta).all(axis=1) & (ssr > rounding)
    floored = {
        f"floored:{error}": spread(one.floored.astype(np.float64), r)
        for error, one in zip(errors, found, strict=True)
        if may_be_floored(error, tuple(panel.attributes))
    }
    return Estimates(
        terms=(*regressors, "constant"),
        errors=errors,
        estimate=beta,
        se=np.sqrt(np.stack(variances, axis=1)),
        dof=np.stack([np.full((r, k + 1), float(one.dof)) for one in found], axis=1),
        status=np.where(sound, Status.OK, Status.SINGULAR).astype(np.uint8),
        statistics=_fit_statistics(data, ssr, sample) | floored,
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Weighted:
    """Cells with a weight: cells, root (T, N), weights that sum to n and their roots; used, the panel of them.

    raw_y (R, T, N), raw_x (1 or R, K, T, N), zero elsewhere; y, x: within transformed, times root. effects: those that
    were taken out.
    """

    used: Panel
    cells: Floats
    root: Floats
    raw_y: Floats
    raw_x: Floats
    y: Floats
    x: Floats
    effects: int

    @classmethod
    def of(cls, panel: Panel, outcome: str, regressors: tuple[str, ...], weights: Floats) -> _Weighted:
        cells = np.broadcast_to(weights, (len(panel.periods), len(panel.units)))
        if panel.observed is not None:
            cells = cells * panel.observed[0]
        cells = cells * ((cells > 0).sum() / cells.sum())
        within, root, used = WeightedWithin.of(cells), np.sqrt(cells), replace(panel, observed=(cells > 0)[None])
        raw_x = ols.stack([_visible(panel.variables[name], cells) for name in regressors])
        raw_y = spread(_visible(panel.variables[outcome], cells), panel.replications)
        x = root * within(raw_x.reshape(-1, *cells.shape)).reshape(raw_x.shape)
        return cls(used, cells, root, raw_y, raw_x, root * within(raw_y), x, within.effects)

    def means(self, values: Floats) -> Floats:
        """Weighted means of the cells, (..., T, N) -> (...)."""
        return np.asarray((self.cells * values).sum(axis=(-2, -1)) / self.cells.sum())

    @property
    def total_sum_of_squares(self) -> Floats:
        """Of the outcome around its weighted mean, (R,)."""
        centred = self.raw_y - self.means(self.raw_y)[:, None, None]
        return np.asarray((self.cells * np.square(centred)).sum(axis=(1, 2)))


def _least_squares(data: _Weighted) -> tuple[Floats, Floats, Floats]:
    """Coefficients (R, K + 1), the constant last, their weights psi (1 or R, K + 1, T, N) and residuals (R, T, N)."""
    x, xbar = data.x, data.means(data.raw_x)
    gram, around = ols.gram(x), (data.cells * np.square(data.raw_x - xbar[:, :, None, None])).sum(axis=(2, 3))
    gram[(np.diagonal(gram, axis1=1, axis2=2) <= ols.ABSORBED * around).any(axis=1)] = np.nan
    bread, _ = ols.invert(gram)
    beta = np.matmul(bread, ols.inner(x, data.y)[:, :, None])[:, :, 0]
    psi = np.reshape(bread @ x.reshape(*x.shape[:2], -1), x.shape)
    constant = data.root / data.cells.sum() - np.einsum("rk,rktn->rtn", xbar, psi)
    level = data.means(data.raw_y) - np.vecdot(beta, np.broadcast_to(xbar, beta.shape))
    whole = np.concatenate([psi, constant[:, None]], axis=1)
    return np.column_stack([beta, level]), whole, ols.residual(data.y, x, beta)


def _fit_statistics(data: _Weighted, ssr: Floats, sample: Sample) -> dict[str, Floats]:
    r2 = 1.0 - ssr / data.total_sum_of_squares
    return {
        "r2": r2,
        "r2_within": 1.0 - ssr / ols.sum_of_squares(data.y),
        "r2_adjusted": 1.0 - (1.0 - r2) * (sample.nobs - 1) / sample.free,
        "sigma2": ssr / sample.free,
    }


def _variances(
    errors: tuple[str, ...], psi: Floats, e: Floats, sample: Sample, slopes: list[Covariance], rounding: Floats
) -> list[Floats]:
    """Variances of all terms (R, K + 1) by error type, NaN where they are no more than the least that is told from
    rounding: the slopes' from their own matrix, the constant's from all."""
    last = [covariance(error, psi, e, sample).matrix[:, -1, -1] for error in errors]
    least = np.square(psi).sum(axis=(2, 3)) * rounding[:, None]
    both = zip(slopes, last, strict=True)
    found = [np.column_stack([np.diagonal(own.matrix, axis1=1, axis2=2), constant]) for own, constant in both]
    return [np.where(variance > least, variance, np.nan) for variance in found]


def _visible(x: Floats, cells: Floats) -> Floats:
    return np.where(cells > 0, x, 0.0)
