"""Moran's I of two-way regression residuals: a test of spatially independent errors with its own moments.

Residuals are correlated by construction, so that the moments of a raw variable's I do not hold for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from estimators.core import regression as ols
from estimators.core.estimator import Estimates, Estimator, Layout, Moments, Reduction, Status
from estimators.core.names import check_names, outcome_of, weights_of
from estimators.core.tile import Tile, spread
from estimators.core.within import WithinTransform
from estimators.spatial.autocorrelation import LinkSums, moran, pieces
from sim.arrays import Floats
from sim.design import Design
from sim.errors import bad
from sim.panel import Panel
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams
from sim.weights import Weights

EXACT_FIT = 1e-20  # share of the outcome's sum of squares below which residuals are rounding errors


def pooled_moran(e: Floats, weights: Weights) -> Floats:
    """Moran's I over all periods, (..., T, N) -> (...): (N/S0) sum_t e_t'W e_t / sum_t e_t'e_t, e as it is."""
    scale, largest = e.shape[-1] / weights.matrix.sum(), np.abs(e).max(axis=(-2, -1), keepdims=True)
    e = e / np.where(largest > 0, largest, np.nan)
    return scale * np.vecdot(e, weights.lag(e)).sum(axis=-1) / np.square(e).sum(axis=(-2, -1))


def pooled_moments(x: Floats, bread: Floats, weights: Weights) -> tuple[Floats, Floats]:
    """Mean and variance, (R,) each, of I of the residuals e = M y of a balanced panel, for independent normal errors.

    x: demeaned regressors (R, K, T, N); bread: (X'X)^-1, (R, K, K). With W~ the symmetric part of I_T x W and
    d = (T - 1)(N - 1) - K the rank of M (Cliff and Ord 1981, 8.3): E = (N/S0) tr(M W~)/d and
    E(I^2) = (N/S0)^2 (2 tr(M W~ M W~) + tr(M W~)^2) / (d (d + 2)). M = Q_T x Q_N - X (X'X)^-1 X' splits the traces
    into ones of N x N and K x K matrices.
    """
    w, (rows, k, t, n) = weights.matrix, x.shape
    s0, symmetric, rank = float(w.sum()), (w + w.T) / 2, (t - 1) * (n - 1) - k
    lagged = np.reshape((symmetric @ x.reshape(-1, n).T).T, x.shape)
    inner = bread @ _cross(x, lagged)
    left = ols.gram(_within(lagged.reshape(-1, t, n)).reshape(x.shape)) if k else np.zeros((rows, 0, 0))
    margins = symmetric.sum(axis=1)
    squares = symmetric.multiply(symmetric).sum() - 2 * (margins @ margins) / n + (s0 / n) ** 2  # tr((Q_N W~)^2)
    trace = -(t - 1) * s0 / n - _trace(inner)
    square = (t - 1) * squares - 2 * _trace(bread @ left) + _trace(inner @ inner)
    mean = n / s0 * trace / rank
    return mean, (n / s0) ** 2 * (2 * square + trace**2) / (rank * (rank + 2)) - mean**2


@dataclass(frozen=True, eq=False, slots=True)
class ResidualMaker:
    """M of a regression with unit and time effects on a balanced panel: M y are its residuals.

    basis: an orthonormal basis of the demeaned regressors, (K, T, N); what the effects or other regressors absorb adds
    nothing to it.
    """

    basis: Floats

    @classmethod
    def of(cls, panel: Panel, regressors: tuple[str, ...]) -> ResidualMaker:
        """M of the first replication; raises BadInput for an unbalanced panel."""
        check_balance(panel, "residuals")
        shape = (len(panel.periods), len(panel.units))
        kept = []
        for name in regressors:
            raw = panel.variables[name][:1]
            within = _within(raw)
            left = float(np.square(within).sum())
            if left > ols.ABSORBED * float(np.square(raw - raw.mean()).sum()):
                kept.append(within.ravel() / np.sqrt(left))
        if not kept:
            return cls(np.empty((0, *shape)))
        _, singular, right = np.linalg.svd(np.stack(kept), full_matrices=False)
        return cls(right[np.square(singular) > ols.COLLINEAR].reshape(-1, *shape))

    @property
    def rank(self) -> int:
        """The rank of M, (T - 1)(N - 1) - K: the residual degrees of freedom."""
        k, t, n = self.basis.shape
        return (t - 1) * (n - 1) - k

    def __call__(self, y: Floats) -> Floats:
        """M y, (R, T, N) -> (R, T, N)."""
        out = _within(y)
        loadings = np.tensordot(out, self.basis, axes=([1, 2], [1, 2]))
        return out - np.tensordot(loadings, self.basis, axes=1)

    def moments(self, weights: Weights) -> tuple[float, float]:
        """Mean and variance of the residuals' I over all periods; see `pooled_moments`."""
        mean, variance = pooled_moments(self.basis[None], np.eye(len(self.basis))[None], weights)
        return float(mean[0]), float(variance[0])

    def simulated(self, weights: Weights, draws: int, rng: np.random.Generator) -> Floats:
        """I of each period's residuals when the errors are independent normals, (draws, T)."""
        periods, n = self.basis.shape[1:]
        errors = (rng.standard_normal((rows.stop - rows.start, periods, n)) for rows in pieces(draws, periods * n))
        return np.concatenate([moran(self(e), weights) for e in errors])


def permuted_pooled_moran(e: Floats, weights: Weights, draws: int, rng: np.random.Generator) -> Floats:
    """I over all periods when units exchange their whole histories of residuals, (T, N) -> (draws,).

    It keeps the serial correlation that the moments of independent errors deny, at the price of treating residuals,
    which share K estimated coefficients, as exchangeable between units.
    """
    n, found = e.shape[-1], []
    for rows in pieces(draws, e.size):
        orders = rng.permuted(np.tile(np.arange(n), (rows.stop - rows.start, 1)), axis=1)
        found.append(pooled_moran(np.moveaxis(e[:, orders], 1, 0), weights))
    return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class MoranTest(Estimator):
    """Moran's I of the residuals of the two-way regression, over all periods, less its mean under the null.

    A test of lambda = 0, not an estimate of it.
    outcome, regressors: names of variables; None = the panel's own roles. weights: name of the panel's W; None = its
    first. label: its name in tables.
    """

    kind: ClassVar[str] = "moran"

    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    weights: str | None = None
    label: str = "moran"

    @property
    def name(self) -> str:
        """Its label."""
        return self.label

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design without spillovers, whose errors are independent."""
        return Paper(), ("moran",)

    def _names(self, schema: Schema) -> tuple[str, tuple[str, ...], str]:
        outcome = outcome_of(self.outcome, schema, self.label)
        regressors = schema.roles.regressors if self.regressors is None else self.regressors
        check_names(schema, outcome, regressors, self.label)
        weights = weights_of(self.weights, schema, self.label)
        return outcome, regressors, weights

    def layout(self, schema: Schema) -> Layout:
        """One term, I - E(I), and as statistics I and E(I)."""
        self._names(schema)
        return Layout(("moran",), ("projection",), ("index", "expected"), {"moran": "lambda"}, tests=True)

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome and regressors."""
        outcome, regressors, _ = self._names(schema)
        return frozenset((outcome, *regressors))

    def reduction(self, schema: Schema) -> Reduction:
        """The index and its moments."""
        return ResidualIndex(*self._names(schema), self.label)

    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """The excess of I over its mean, with its exact standard deviation."""
        assert isinstance(moments, IndexMoments)
        sound = np.isfinite(moments.index) & np.isfinite(moments.variance)
        se = np.sqrt(moments.variance)[:, None, None]
        return Estimates(
            terms=("moran",),
            errors=("projection",),
            estimate=(moments.index - moments.mean)[:, None],
            se=se,
            dof=np.full_like(se, np.inf),
            status=np.where(sound, Status.OK, Status.SINGULAR).astype(np.uint8),
            statistics={"index": moments.index, "expected": moments.mean},
        )


@dataclass(frozen=True, eq=False, slots=True)
class IndexMoments(Moments):
    """I and its mean and variance under the null, (R,) each."""

    index: Floats
    mean: Floats
    variance: Floats


@dataclass(frozen=True, eq=False, slots=True)
class MoranPlan:
    """Demeaned regressors (1 or R, K, T, N), their bread, and the mean and variance of I, (1 or R,)."""

    x: Floats
    bread: Floats
    mean: Floats
    variance: Floats


@dataclass(frozen=True, slots=True)
class ResidualIndex(Reduction):
    """Moran's I of the residuals of a two-way within regression."""

    outcome: str
    regressors: tuple[str, ...]
    weights: str
    asked_by: str = field(compare=False)

    def prepare(self, panel: Panel) -> MoranPlan | None:
        """What the regressors give, None when they are redrawn; raises BadInput where the moments do not hold."""
        check_balance(panel, self.asked_by)
        if LinkSums.of(panel.weights[self.weights]).uniform:
            raise bad("W links all units equally: Moran's I is then the same for all values", where=f"{self.asked_by}, "
                      f"weights {self.weights}", allowed="weights that differ between near and far units",
                      remedy="choose fewer neighbours")  # fmt: skip
        ols.check_fixed(panel, self.regressors, self.asked_by)
        if any(panel.variables[name].shape[0] > 1 for name in self.regressors):
            return None
        return self._regressors(Tile(panel))

    def reduce(self, plan: Any, tile: Tile) -> IndexMoments:
        """I of each replication's residuals."""
        found = self._regressors(tile) if plan is None else plan
        assert isinstance(found, MoranPlan)
        rows = tile.panel.replications
        y = spread(tile.within(self.outcome), rows)
        beta = np.matmul(found.bread, ols.inner(found.x, y)[:, :, None])[:, :, 0]
        e = ols.residual(y, found.x, beta)
        empty = ols.sum_of_squares(e) <= EXACT_FIT * ols.sum_of_squares(tile.raw(self.outcome))
        with np.errstate(divide="ignore", invalid="ignore"):
            index = np.where(empty, np.nan, pooled_moran(e, tile.panel.weights[self.weights]))
        return IndexMoments(index, spread(found.mean, rows), spread(found.variance, rows))

    def _regressors(self, tile: Tile) -> MoranPlan:
        x = ols.stack([tile.within(name) for name in self.regressors])
        gram = ols.gram(x)
        gram[ols.any_absorbed(tile, self.regressors, np.diagonal(gram, axis1=1, axis2=2))] = np.nan
        bread, _ = ols.invert(gram)
        return MoranPlan(x, bread, *pooled_moments(x, bread, tile.panel.weights[self.weights]))


def check_balance(panel: Panel, asked_by: str) -> None:
    """Raise BadInput for a panel with gaps."""
    if not panel.balanced:
        raise bad("unit-periods are missing", where=f"autocorrelation of {asked_by}", allowed="a balanced panel",
                  remedy='set balance = "drop-units" or "drop-periods" in [panel]')  # fmt: skip


def _within(y: Floats) -> Floats:
    """Q y of a balanced panel, (R, T, N) -> (R, T, N)."""
    return WithinTransform(effects=y.shape[1] + y.shape[2] - 1)(y)


def _cross(x: Floats, y: Floats) -> Floats:
    """X'Y, (R, K, T, N) each -> (R, K, K)."""
    rows, k = x.shape[:2]
    return x.reshape(rows, k, -1) @ y.reshape(rows, k, -1).transpose(0, 2, 1) if k else np.zeros((rows, 0, 0))


def _trace(matrices: Floats) -> Floats:
    return np.trace(matrices, axis1=1, axis2=2)
