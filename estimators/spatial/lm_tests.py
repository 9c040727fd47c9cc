"""Lagrange multiplier tests for a spatial lag or spatial errors in the residuals of a panel regression.

With e the residuals of y on X and effects, s2 = e'e/m, d_lag = e'Wy/s2, d_err = e'We/s2, J = |M W f|^2/s2 + T tw and
tw = tr(A^2 + A'A), f the fitted values,

    lm_lag = d_lag^2 / J                        rlm_lag = (d_lag - d_err)^2 / (J - T tw)
    lm_err = d_err^2 / (T tw)                   rlm_err = (d_err - (T tw/J) d_lag)^2 / (T tw (1 - T tw/J))

each chi-square(1) under no spatial dependence (Anselin, Le Gallo and Jayet 2008; Debarsy and Ertur 2010). Effects move
the scores: e lies in the space Q that they leave, so that E d = T tr(A), A = Q_N W Q_N with time effects and W without;
with a row-stochastic W and time effects tr(A) = -1. The exact form centres by it, has T - 1 for T with unit effects and
m = the rank of Q. Elhorst's (2014, chapter 3) has A = W, all T and m = N T: with time effects it rejects too often.

Moran's I of two-way regression residuals: a test of spatially independent errors with its own moments.

Residuals are correlated by construction, so that the moments of a raw variable's I do not hold for them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from estimators.core import regression as ols
from estimators.core.estimator import (
    Estimates,
    Estimator,
    Home,
    Layout,
    Moments,
    Reduction,
    RegressionEstimator,
    TileEstimator,
    WeightUse,
    check_names,
    status_where,
    weights_of,
)
from estimators.core.tile import Tile, balanced_split, spread, without_effects
from estimators.spatial.cross_products import SpatialCrossProducts, SpatialMoments, SpatialPlan, regressors
from estimators.spatial.spectrum import FLAT, own_information
from sim.arrays import Floats
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
    # home: the `paper` design without spillovers; no term estimates anything
    home: ClassVar[Home] = (Paper(), ())

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
        if isinstance(moments, ScoreMoments):
            sums, (weights, periods) = moments, plan
        else:
            assert isinstance(plan, SpatialPlan)
            assert isinstance(moments, SpatialMoments)
            weights, periods = plan.spectrum.weights, plan.periods
            if weights.row_stochastic:
                sums = from_cross_products(plan, moments, self._lags_first)
            elif moments.y is None or moments.x is None:
                raise bad("its rows do not sum to one", where=f"{self.name}, weights {weights.name}",
                          allowed='standardize = "row"', remedy="or set keep_arrays = true")  # fmt: skip
            else:
                x = moments.x[:, : len(plan.names)]
                sums = score_moments(moments.y, x, weights, EFFECTS, self._lags_first)

        if "period" in self.effects and own_information(weights) < FLAT:
            raise bad("W links all units equally: a lag is then the sum of a time effect and a multiple of the "
                      "unit's own value",
                      where=f"{self.name}, weights {weights.name}", allowed="weights that differ between near and "
                                                                            "far units",
                      remedy="choose fewer neighbours")  # fmt: skip
        statistic = chi_squares(sums, weights, periods, self.effects, exact=self.form == "exact")
        se = np.full((len(statistic), 1, len(NULLS)), np.nan)
        pvalue = chdtrc(1.0, statistic)[:, None, :]
        return Estimates.of(self.layout(schema), statistic, se, np.ones(se.shape), {}, pvalue=pvalue)


@dataclass(frozen=True, eq=False, slots=True)
class ScoreMoments(Moments):
    """e'e, e'Wy, e'We and |M W f|^2 of R panels, (R,) each."""

    ssr: Floats
    lag: Floats
    error: Floats
    signal: Floats


def chi_squares(sums: ScoreMoments, weights: Weights, periods: int, effects: Collection[str], *, exact: bool) -> Floats:
    """lm_lag, lm_err, rlm_lag, rlm_err, (R, 4); no robust ones, NaN, where W f lies in the space of X and effects.

    exact: with the constants of the exact form, else with Elhorst's.
    """
    a, units, trace = weights.dense, len(weights.units), 0.0
    if exact:
        periods -= "unit" in effects
    if exact and "period" in effects:
        a = a - a.mean(axis=0) - a.mean(axis=1)[:, None] + a.mean()
        units, trace = units - 1, float(np.trace(a))
    tw = float((a * a.T).sum() + np.square(a).sum())  # tr(A^2 + A'A)

    sigma2, centre, noise = sums.ssr / (units * periods), periods * trace, periods * tw
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


# Spatial autocorrelation: Moran's I, Geary's C and local Moran, with the null distributions that give them errors.
#
# Notation: z = y - mean(y), S0 = sum w_ij, S1 = sum (w_ij + w_ji)^2 / 2, S2 = sum_i (w_i. + w_.i)^2. W may be any
# matrix of weights with a zero diagonal, symmetric or not, row-stochastic or not. Values are (..., N): leading axes
# are replications and periods, each cross-section by itself. A constant cross-section is NaN.


Index = Literal["moran", "geary"]

SMALLEST = 4  # units: the moments under randomisation divide by (N - 1)(N - 2)(N - 3)
NO_VARIANCE = 1e-14  # of Moran's I, below which it is a constant and rounding
AT_MEAN = 1e-12  # of the largest deviation, up to which a value is the mean and rounding
AT_ONCE = 2**21  # numbers of simulated cross-sections held at a time
QUADRANTS = {1: "HH", 2: "LH", 3: "LL", 4: "HL"}  # own value first, then the neighbours': High or Low


@dataclass(frozen=True, slots=True)
class LinkSums:
    """N, S0, S1 and S2 of a W."""

    n: int
    s0: float
    s1: float
    s2: float

    @classmethod
    def of(cls, weights: Weights) -> LinkSums:
        """The sums of W; raises BadInput for fewer than four units."""
        w = weights.matrix
        if w.shape[0] < SMALLEST:
            raise bad(f"{w.shape[0]} units", where=f"autocorrelation under weights {weights.name}",
                      allowed=f"{SMALLEST} units or more", remedy="use a panel of more units")  # fmt: skip
        both = w + w.T
        margins = w.sum(axis=0) + w.sum(axis=1)
        return cls(w.shape[0], float(w.sum()), float(both.multiply(both).sum()) / 2, float(margins @ margins))

    @property
    def uniform(self) -> bool:
        """Whether W links all pairs alike: Moran's I is then -1/(N - 1) and Geary's C 1 whatever the values are."""
        return float(null_moments("moran", self)[1]) < NO_VARIANCE


def moran(y: Floats, weights: Weights) -> Floats:
    """Moran's I, (..., N) -> (...): (N/S0) z'Wz / z'z (Cliff and Ord 1981)."""
    return both_indices(y, weights)[0]


def both_indices(y: Floats, weights: Weights) -> Floats:
    """Moran's I and Geary's C from one spatial lag, (..., N) -> (2, ...)."""
    return _of_deviations(deviations(y), weights)


def _of_deviations(z: Floats, weights: Weights) -> Floats:
    n, s0 = z.shape[-1], weights.matrix.sum()
    margins = weights.matrix.sum(axis=0) + weights.matrix.sum(axis=1)
    cross, scale = np.vecdot(z, weights.lag(z)), 1.0 / np.vecdot(z, z)
    return np.stack([n / s0 * cross * scale, (n - 1) / (2 * s0) * (np.square(z) @ margins - 2 * cross) * scale])


def deviations(y: Floats) -> Floats:
    """z over its largest absolute value, (..., N) -> (..., N), NaN where y is constant.

    Nothing here depends on the scale of y, and powers of these numbers neither overflow nor vanish.
    """
    z = y - y.mean(axis=-1, keepdims=True)
    return np.asarray(z / np.where(constant(y), np.nan, np.abs(z).max(axis=-1))[..., None])


def constant(y: Floats) -> NDArray[np.bool_]:
    """Whether a cross-section holds one value, up to rounding, (..., N) -> (...)."""
    return np.ptp(y, axis=-1) <= 1e-12 * np.abs(y).max(axis=-1)


def kurtosis(y: Floats) -> Floats:
    """Fourth central moment over the squared second, (..., N) -> (...)."""
    squares = np.square(deviations(y))
    return np.asarray(np.square(squares).mean(axis=-1) / np.square(squares.mean(axis=-1)))


def null_moments(index: Index, sums: LinkSums, k: Floats | None = None) -> tuple[float, Floats]:
    """Mean and variance of an index without autocorrelation (Cliff and Ord 1981, ch. 2).

    k = None: under normality, variance (); k = kurtosis (...): under randomisation, every assignment of the values to
    units equally likely, variance (...).
    """
    n, s0, s1, s2 = sums.n, sums.s0, sums.s1, sums.s2
    if index == "moran":
        mean = -1.0 / (n - 1)
        if k is None:
            return mean, np.asarray((n * n * s1 - n * s2 + 3 * s0**2) / ((n * n - 1) * s0**2) - mean**2)
        plain = n * ((n * n - 3 * n + 3) * s1 - n * s2 + 3 * s0**2)
        tails = k * ((n * n - n) * s1 - 2 * n * s2 + 6 * s0**2)
        return mean, (plain - tails) / ((n - 1) * (n - 2) * (n - 3) * s0**2) - mean**2
    if k is None:
        return 1.0, np.asarray(((2 * s1 + s2) * (n - 1) - 4 * s0**2) / (2 * (n + 1) * s0**2))
    by_links = (n - 1) * s1 * (n * n - 3 * n + 3 - (n - 1) * k)
    by_margins = (n - 1) * s2 * (n * n + 3 * n - 6 - (n * n - n + 2) * k) / 4
    by_total = s0**2 * (n * n - 3 - (n - 1) ** 2 * k)
    return 1.0, (by_links - by_margins + by_total) / (n * (n - 2) * (n - 3) * s0**2)


def permuted_indices(y: Floats, weights: Weights, draws: int, rng: np.random.Generator) -> Floats:
    """Moran's I and Geary's C of values assigned to units at random, (..., N) -> (2, draws, ...).

    One permutation of the units serves all leading axes of a draw, so that what years share stays together.
    """
    n, z = y.shape[-1], deviations(y)
    out = np.empty((2, draws, *y.shape[:-1]))
    for rows in pieces(draws, y.size):
        orders = rng.permuted(np.tile(np.arange(n), (rows.stop - rows.start, 1)), axis=1)
        out[:, rows] = np.moveaxis(_of_deviations(z[..., orders], weights), -1, 1)
    return out


def folded_p_values(simulated: Floats, observed: Floats) -> Floats:
    """Two-sided p-values, (B, ...) against (...): min(1, 2 (1 + c) / (B + 1)), c of B draws in the rarer tail.

    Draws that equal the observed value up to rounding count in both tails.
    """
    return _folded(*_tails(simulated, observed), len(simulated))


def _tails(simulated: Floats, observed: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many draws are at least and at most as large as the observed value."""
    slack = 1e-12 * (1.0 + np.abs(observed))
    return (simulated >= observed - slack).sum(axis=0), (simulated <= observed + slack).sum(axis=0)


def _folded(above: NDArray[np.int64], below: NDArray[np.int64], draws: int) -> Floats:
    return np.minimum(1.0, 2.0 * (1.0 + np.minimum(above, below)) / (draws + 1.0))


def false_discovery_rate(pvalues: Floats) -> Floats:
    """p-values of M tests adjusted for the share of false ones among the rejected (Benjamini-Hochberg 1995), (M,)."""
    order = np.argsort(pvalues, kind="stable")
    steps = pvalues[order] * len(pvalues) / np.arange(1, len(pvalues) + 1)
    out = np.empty(len(pvalues))
    out[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return out


def local_moran(y: Floats, weights: Weights) -> Floats:
    """Local Moran I_i = (N - 1) z_i (Wz)_i / z'z, (..., N) -> (..., N) (Anselin 1995, in esda's scale).

    Their sum is I times S0 (N - 1)/N.
    """
    z = deviations(y)
    return np.asarray((y.shape[-1] - 1) * z * weights.lag(z) / np.vecdot(z, z)[..., None])


def quadrants(y: Floats, weights: Weights) -> NDArray[np.int64]:
    """Where a unit stands in the Moran scatter plot, by the codes of QUADRANTS, (..., N) -> (..., N).

    A value, or neighbours, at the mean up to rounding count as low.
    """
    z = deviations(y)
    lagged = weights.lag(z)
    high, among_high = z > AT_MEAN, lagged > AT_MEAN * weights.matrix.sum(axis=1)
    return np.where(high, np.where(among_high, 1, 4), np.where(among_high, 2, 3))


def local_p_values(y: Floats, weights: Weights, draws: int, rng: np.random.Generator) -> Floats:
    """Two-sided p-values of local Moran by conditional permutation, (N,) -> (N,): see `folded_p_values`.

    A unit keeps its value and all others exchange theirs (Anselin 1995). All units use the same permutations: where one
    moves a unit, its value and the one that took its place change places again, which leaves every order of the others
    equally likely.
    """
    z = deviations(y)
    own, n, lag = np.arange(len(z)), len(z), weights.lag(z)
    above, below = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for rows in pieces(draws, n):
        orders = rng.permuted(np.tile(own, (rows.stop - rows.start, 1)), axis=1)
        moved = z[orders]
        back = weights.dense[own, np.argsort(orders, axis=1)] * (moved - z)
        tails = _tails(z * (weights.lag(moved) + back), z * lag)
        above, below = above + tails[0], below + tails[1]
    return _folded(above, below, draws)


def pieces(draws: int, size: int) -> list[slice]:
    """Slices of the draws that keep to `AT_ONCE` numbers, a draw having `size`."""
    step = max(1, AT_ONCE // size)
    return [slice(start, min(start + step, draws)) for start in range(0, draws, step)]


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
    inner = bread @ (x.reshape(rows, k, t * n) @ lagged.reshape(rows, k, t * n).transpose(0, 2, 1))
    left = ols.gram(balanced_split(lagged.reshape(-1, t, n))[0].reshape(x.shape)) if k else np.zeros((rows, 0, 0))
    margins = symmetric.sum(axis=1)
    squares = symmetric.multiply(symmetric).sum() - 2 * (margins @ margins) / n + (s0 / n) ** 2  # tr((Q_N W~)^2)
    one, two, three = (np.trace(each, axis1=1, axis2=2) for each in (inner, bread @ left, inner @ inner))
    trace, square = -(t - 1) * s0 / n - one, (t - 1) * squares - 2 * two + three
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
        check_balanced(panel, "autocorrelation of residuals")
        shape = (len(panel.periods), len(panel.units))
        kept = []
        for name in regressors:
            raw = panel.variables[name][:1]
            within = balanced_split(raw)[0]
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
        out = balanced_split(y)[0]
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
class MoranTest(RegressionEstimator, TileEstimator):
    """Moran's I of the residuals of the two-way regression, over all periods, less its mean under the null.

    A test of lambda = 0, not an estimate of it.
    outcome, regressors: names of variables; None = the panel's own roles. weights: name of the panel's W; None = its
    first. label: its name in tables.
    """

    kind: ClassVar[str] = "moran"
    weight_use: ClassVar[WeightUse] = "ignored"
    gaps: ClassVar[bool] = False
    # home: the `paper` design without spillovers, whose errors are independent
    home: ClassVar[Home] = (Paper(), ("moran",))

    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    weights: str | None = None
    label: str = "moran"

    def layout(self, schema: Schema) -> Layout:
        """One term, I - E(I), and as statistics I and E(I)."""
        check_names(schema, *self.names(schema), self.label)
        weights_of(self.weights, schema, self.label)
        return Layout(("moran",), ("projection",), ("index", "expected"), {"moran": "lambda"}, tests=True)

    def prepare(self, panel: Panel) -> Regressors | None:
        """What the regressors give, None when they are redrawn; raises BadInput where the moments do not hold."""
        regressors, weights = self.names(panel.schema)[1], weights_of(self.weights, panel.schema, self.label)
        check_balanced(panel, f"autocorrelation of {self.label}")
        if LinkSums.of(panel.weights[weights]).uniform:
            raise bad("W links all units equally: Moran's I is then the same for all values", where=f"{self.label}, "
                      f"weights {weights}", allowed="weights that differ between near and far units",
                      remedy="choose fewer neighbours")  # fmt: skip
        ols.check_fixed(panel, regressors, self.label)
        if any(panel.variables[name].shape[0] > 1 for name in regressors):
            return None
        return self._regressors(Tile(panel))

    def reduce(self, plan: Regressors | None, tile: Tile) -> Estimates:
        """The excess of I over its mean, with its exact standard deviation."""
        x, bread, mean, variance = plan or self._regressors(tile)
        outcome, rows, schema = self.names(tile.panel.schema)[0], tile.panel.replications, tile.panel.schema
        y = spread(tile.within(outcome), rows)
        e = ols.residual(y, x, ols.solved(bread, x, y))
        empty = ols.sum_of_squares(e) <= EXACT_FIT * ols.sum_of_squares(tile.raw(outcome))
        w = tile.panel.weights[weights_of(self.weights, schema, self.label)]
        with np.errstate(divide="ignore", invalid="ignore"):
            index = np.where(empty, np.nan, pooled_moran(e, w))
        mean, variance = spread(mean, rows), spread(variance, rows)
        se = np.sqrt(variance)[:, None, None]
        return Estimates.of(
            self.layout(schema), (index - mean)[:, None], se, np.full_like(se, np.inf),
            {"index": index, "expected": mean}, status=status_where(np.isfinite(index) & np.isfinite(variance)),
        )  # fmt: skip

    def _regressors(self, tile: Tile) -> Regressors:
        names, weights = self.names(tile.panel.schema)[1], weights_of(self.weights, tile.panel.schema, self.label)
        x = ols.stack([tile.within(name) for name in names])
        gram = ols.gram(x)
        gram[ols.any_absorbed(tile, names, np.diagonal(gram, axis1=1, axis2=2))] = np.nan
        bread, _ = ols.invert(gram)
        return x, bread, *pooled_moments(x, bread, tile.panel.weights[weights])


# Demeaned regressors (1 or R, K, T, N), their bread (1 or R, K, K), and the mean and variance of I, (1 or R,).
Regressors = tuple[Floats, Floats, Floats, Floats]
