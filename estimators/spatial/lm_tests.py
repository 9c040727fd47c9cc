"""Lagrange multiplier tests for a spatial lag or spatial errors in the residuals of a panel regression.

With e the residuals of y on X and effects, s2 = e'e/m, d_lag = e'Wy/s2, d_err = e'We/s2, J = |M W f|^2/s2 + T tw and
tw = tr(A^2 + A'A), f the fitted values,

    lm_lag = d_lag^2 / J                        rlm_lag = (d_lag - d_err)^2 / (J - T tw)
    lm_err = d_err^2 / (T tw)                   rlm_err = (d_err - (T tw/J) d_lag)^2 / (T tw (1 - T tw/J))

each chi-square(1) under no spatial dependence (Anselin, Le Gallo and Jayet 2008; Debarsy and Ertur 2010). Effects move
the scores: e lies in the space Q that they leave, so that E d = T tr(A), A = Q_N W Q_N with time effects and W without;
with a row-stochastic W and time effects tr(A) = -1. The exact form centres by it, has T - 1 for T with unit effects and
m = the rank of Q. Elhorst's (2014, chapter 3) has A = W, all T and m = N T: with time effects it rejects too often.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.special import chdtrc

from estimators.core import regression as ols
from estimators.core.estimator import (
    Estimates,
    Estimator,
    Layout,
    Moments,
    Reduction,
    RegressionEstimator,
    WeightUse,
    check_names,
    weights_of,
)
from estimators.core.tile import Tile, spread, without_effects
from estimators.spatial.cross_products import (
    SpatialCrossProducts,
    SpatialMoments,
    SpatialPlan,
    regressors,
)
from estimators.spatial.spectrum import FLAT, own_information
from sim.arrays import Floats
from sim.design import Design
from sim.errors import bad, one_of
from sim.panel import Panel, check_balanced
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams
from sim.weights import Weights

Effect = Literal["unit", "period"]
Form = Literal["exact", "elhorst", "elhorst-wq"]
EFFECTS: tuple[Effect, ...] = ("unit", "period")
FORMS: tuple[Form, ...] = ("exact", "elhorst", "elhorst-wq")
NULLS = {"lm_lag": "dependence", "lm_err": "dependence", "rlm_lag": "rho", "rlm_err": "lambda"}
CHI_SQUARE = "chi-square"  # the error type of statistics whose p values come from this distribution


@dataclass(frozen=True, slots=True)
class LMTests(RegressionEstimator):
    """LM tests for a spatial lag and for spatial errors, and the two made robust to each other.

    form: exact | elhorst (his constants, effects taken out after the spatial lag) | elhorst-wq (before it, which his
    printed tables have). effects: any of unit, period; none = a constant alone. outcome, regressors: names of
    variables; None = the panel's own roles. weights: name of the panel's W; None = its first. keep_arrays: with both
    effects also serve a W whose rows do not sum to one (slower). label: its name in tables, by default lm-FORM.
    """

    kind: ClassVar[str] = "lm"
    weight_use: ClassVar[WeightUse] = "ignored"
    gaps: ClassVar[bool] = False

    form: Form = "exact"
    effects: tuple[Effect, ...] = EFFECTS
    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    weights: str | None = None
    keep_arrays: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        Estimator.__post_init__(self)
        if len(set(self.effects)) < len(self.effects):
            raise bad(f"effects = {list(self.effects)}", where="LM tests", allowed=f"each once: {one_of(EFFECTS)}",
                      remedy='set effects = ["unit", "period"]')  # fmt: skip

    @property
    def name(self) -> str:
        """Its label, or e.g. lm-exact."""
        return self.label or f"lm-{self.form}"

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design without spillovers; no term estimates anything."""
        return Paper(), ()

    def layout(self, schema: Schema) -> Layout:
        """Four chi-square statistics with their p values; the target of each is what its null hypothesis sets to 0.

        The simple tests take the other parameter for 0 and reject for it too: their null is no dependence of either
        kind. The robust ones allow for a small other parameter.
        """
        weights_of(self.weights, schema, self.name)
        check_names(schema, *self.names(schema), self.name)
        return Layout(tuple(NULLS), (CHI_SQUARE,), (), NULLS, ("pvalue",), tests=True)

    @property
    def _lags_first(self) -> bool:
        return self.form != "elhorst-wq" or "period" not in self.effects

    def reduction(self, schema: Schema) -> Reduction:
        """With both effects the cross products of the spatial models, else four sums of its own."""
        (outcome, names), weights = self.names(schema), weights_of(self.weights, schema, self.name)
        if set(self.effects) == set(EFFECTS):
            return SpatialCrossProducts(outcome, names, weights, self.keep_arrays)
        return ScoreSums(outcome, names, weights, tuple(sorted(self.effects)), self._lags_first)

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """The statistics; se is NaN and dof 1, that of the chi-square distribution."""
        sums, weights, periods = self._sums(plan, moments)
        if "period" in self.effects and own_information(weights) < FLAT:
            raise bad("W links all units equally: a lag is then the sum of a time effect and a multiple of the "
                      "unit's own value",
                      where=f"{self.name}, weights {weights.name}", allowed="weights that differ between near and "
                                                                            "far units",
                      remedy="choose fewer neighbours")  # fmt: skip
        statistic = chi_squares(sums, Constants.of(weights, periods, self.effects, exact=self.form == "exact"))
        se = np.full((len(statistic), 1, len(NULLS)), np.nan)
        pvalue = chdtrc(1.0, statistic)[:, None, :]
        return Estimates.of(self.layout(schema), statistic, se, np.ones(se.shape), {}, pvalue=pvalue)

    def _sums(self, plan: Any, moments: Any) -> tuple[ScoreMoments, Weights, int]:
        """Sums (R,), W and T from whichever reduction made the moments."""
        if isinstance(moments, ScoreMoments):
            return moments, *plan
        assert isinstance(plan, SpatialPlan)
        assert isinstance(moments, SpatialMoments)
        weights = plan.spectrum.weights
        if weights.row_stochastic:
            return from_cross_products(plan, moments, self._lags_first), weights, plan.periods
        if moments.y is None or moments.x is None:
            raise bad("its rows do not sum to one", where=f"{self.name}, weights {weights.name}",
                      allowed='standardize = "row"', remedy="or set keep_arrays = true")  # fmt: skip
        x = moments.x[:, : len(plan.names)]
        return score_moments(moments.y, x, weights, EFFECTS, self._lags_first), weights, plan.periods


@dataclass(frozen=True, eq=False, slots=True)
class Constants:
    """What the statistics need of the design: T (or T - 1), m, tr(A) and tr(A^2 + A'A)."""

    periods: int
    nobs: int
    trace: float
    tw: float

    @classmethod
    def of(cls, weights: Weights, periods: int, effects: Collection[str], *, exact: bool) -> Constants:
        """Those of the exact form, or Elhorst's."""
        w = weights.dense
        n = len(w)
        if not exact:
            return cls(periods, n * periods, 0.0, _squares(w))
        periods -= "unit" in effects
        if "period" not in effects:
            return cls(periods, n * periods, 0.0, _squares(w))
        a = w - w.mean(axis=0) - w.mean(axis=1)[:, None] + w.mean()
        return cls(periods, (n - 1) * periods, float(np.trace(a)), _squares(a))


def _squares(a: Floats) -> float:
    """tr(A^2 + A'A)."""
    return float((a * a.T).sum() + np.square(a).sum())


@dataclass(frozen=True, eq=False, slots=True)
class ScoreMoments(Moments):
    """e'e, e'Wy, e'We and |M W f|^2 of R panels, (R,) each."""

    ssr: Floats
    lag: Floats
    error: Floats
    signal: Floats


def chi_squares(sums: ScoreMoments, constants: Constants) -> Floats:
    """lm_lag, lm_err, rlm_lag, rlm_err, (R, 4); no robust ones, NaN, where W f lies in the space of X and effects."""
    sigma2 = sums.ssr / constants.nobs
    centre, noise = constants.periods * constants.trace, constants.periods * constants.tw
    lag, error = sums.lag / sigma2 - centre, sums.error / sigma2 - centre
    signal = sums.signal / sigma2
    both, own = signal + noise, np.where(signal == 0, np.nan, signal)
    return np.stack([
        lag**2 / both,
        error**2 / noise,
        (lag - error) ** 2 / own,
        (error - noise / both * lag) ** 2 / (noise * own / both),
    ], axis=1)  # fmt: skip


def from_cross_products(plan: SpatialPlan, m: SpatialMoments, lags_first: bool = True) -> ScoreMoments:
    """The sums with both effects for a row-stochastic W, where QWe = QWy - QWXb.

    Unless `lags_first` the effects are taken out before the lag: W(QXb) has the cross-section means c_t, which QW(Xb)
    has not, and |M W f|^2 grows by N sum c_t^2 (the products with e do not change).
    """
    k = len(plan.names)
    gram = plan.gram if m.gram is None else m.gram
    bread, _ = ols.invert(gram[:, :k, :k])
    b = np.matvec(bread, m.zy[:, :k])
    cross, fitted_lag = np.matvec(gram[:, :k, k:], b), np.matvec(gram[:, k:, k:], b)  # X'WXb, (WX)'WXb
    lag = m.ywy - (b * m.zwy[:, :k]).sum(axis=1)
    signal = (b * fitted_lag).sum(axis=1)
    if not lags_first:
        columns = plan.spectrum.weights.dense.sum(axis=0) - 1.0
        means = np.matmul(b[:, None, :], regressors(plan, m)[:, :k] @ columns / plan.units)[:, 0]
        signal = signal + plan.units * np.square(means).sum(axis=1)
    return ScoreMoments(
        ssr=m.yy - (b * m.zy[:, :k]).sum(axis=1),
        lag=lag,
        error=lag - (b * m.zy[:, k:]).sum(axis=1) + (b * cross).sum(axis=1),
        signal=_unexplained(signal, (cross * np.matvec(bread, cross)).sum(axis=1)),
    )


def score_moments(
    y: Floats, x: Floats, weights: Weights, effects: Collection[str], lags_first: bool = True
) -> ScoreMoments:
    """The sums from y (R, T, N) and x (1 or R, K, T, N) for any effects and any W: W f = Wy - We."""
    qy, qx = without_effects(y, effects), without_effects(x, effects)
    gram = ols.gram(qx)
    spread, total = (np.square(values).sum(axis=(2, 3)) for values in (without_effects(x, ()), x))
    absorbed = ols.absorbed(np.diagonal(gram, axis1=1, axis2=2), spread, total)
    bread, _ = ols.invert(np.where(absorbed.any(axis=1)[:, None, None], np.nan, gram))
    e = ols.residual(qy, qx, np.matvec(bread, ols.inner(qx, qy)))
    if lags_first:
        wy, we = without_effects(weights.lag(y), effects), without_effects(weights.lag(e), effects)
    else:
        wy, we = weights.lag(qy), weights.lag(e)
    signal = wy - we
    explained = ols.inner(qx, signal)
    return ScoreMoments(
        ssr=ols.sum_of_squares(e),
        lag=ols.dot(e, wy),
        error=ols.dot(e, we),
        signal=_unexplained(ols.sum_of_squares(signal), (explained * np.matvec(bread, explained)).sum(axis=1)),
    )


@dataclass(frozen=True, slots=True)
class ScoreSums(Reduction):
    """The sums that the tests need when not both effects are in the regression."""

    outcome: str
    names: tuple[str, ...]
    weights: str
    effects: tuple[str, ...]
    lags_first: bool

    def prepare(self, panel: Panel) -> tuple[Weights, int]:
        """W and T. Raises BadInput for an unbalanced panel."""
        check_balanced(panel, f"LM tests of {self.outcome}")
        return panel.weights[self.weights], len(panel.periods)

    def reduce(self, plan: tuple[Weights, int], tile: Tile) -> ScoreMoments:
        """One tile's sums."""
        y = spread(tile.raw(self.outcome), tile.panel.replications)
        x = ols.stack([tile.raw(name) for name in self.names])
        return score_moments(y, x, plan[0], self.effects, self.lags_first)


def _unexplained(total: Floats, explained: Floats) -> Floats:
    """Sums of squares that regressors leave, 0 where that is nothing but rounding."""
    left = total - explained
    return np.where(left <= ols.ABSORBED * total, 0.0, left)
