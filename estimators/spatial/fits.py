"""Each spatial model at the maximum of its likelihood: parameters, effects and the inverse information matrix.

All take the shared cross products and give a `SpatialFit`. Models with one spatial parameter have a closed partitioned
inverse, so that variances need no K x K matrix; the whole covariance is made only for those who ask for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.tile import demeaned
from estimators.spatial.cross_products import (
    AbsorbingForms,
    SpatialRegression,
    TimeEffects,
    lagged_gram,
    redrawn_forms,
    regressors,
)
from estimators.spatial.likelihood import CombinedModel, ErrorModel, SpatialForm, maximise_lag
from estimators.spatial.spectrum import Spectrum, Traces
from sim.arrays import Floats

# Average direct, indirect and total effects of S (b I + t W) (LeSage and Pace 2009).
#
# With D = b tr S/N + t tr G/N and T = b 1'S1/N + t 1'G1/N, S = I + rho G, dG/drho = G^2. Without a lag of the
# outcome (SLX, SDEM) they hold at rho = 0: b, t 1'W1/N and their sum; in the error model both effects are b. Errors
# come from the delta method, or from simulation (chapter 5 there): parameters are drawn from the normal
# distribution around the estimate with its covariance, and the effects of each draw give a standard deviation and
# quantiles. A draw whose rho or lambda lies outside the interval that the likelihood is defined on is rejected and
# counted.


LEVEL = 0.05  # of the intervals


@dataclass(frozen=True, eq=False, slots=True)
class Slopes:
    """What effects are made of: slopes (R, P), sigma2, rho, its variance (R,), bread and tilt as in SlopeCovariance.

    In the error models rho is 0, and lambda, with which slopes may be correlated, has its variance and tilt.
    """

    slopes: Floats
    sigma2: Floats
    rho: Floats
    rho_variance: Floats
    bread: Floats
    tilt: Floats


def impacts(own: Slopes, traces: Traces, units: int, form: SpatialForm) -> tuple[Floats, Floats]:
    """Effects and variances (R, 3 K): direct, indirect and total of each regressor (SEM: direct and total, both b).

    A gradient (g_b, g_t, g_r) has variance s2 g'(Z'Z)^-1 g + var(rho) (g_r - g_b tilt_b - g_t tilt_t)^2.
    """
    if len(form.effect_kinds) == 2:
        variances = own.sigma2[:, None] * np.diagonal(own.bread, axis1=1, axis2=2)
        variances = variances + own.rho_variance[:, None] * own.tilt**2
        return np.tile(own.slopes, (1, 2)), np.tile(variances, (1, 2))
    b, t = _pairs(own.slopes, form)
    k, bread, effects, spreads = b.shape[1], own.bread, [], []
    index = np.arange(k)
    for by_b, by_t, by_rho in _gradients(b, t, own.rho, traces, units):
        effects.append(by_b * b + by_t * t)
        quadratic = by_b**2 * bread[:, index, index]
        along = (by_rho if form.lag else 0.0) - by_b * own.tilt[:, :k]
        if form.durbin:
            quadratic = quadratic + 2 * by_b * by_t * bread[:, index, index + k]
            quadratic = quadratic + by_t**2 * bread[:, index + k, index + k]
            along = along - by_t * own.tilt[:, k:]
        spreads.append(own.sigma2[:, None] * quadratic + own.rho_variance[:, None] * along**2)
    return np.concatenate(effects, axis=1), np.concatenate(spreads, axis=1)


def effects_of(slopes: Floats, rho: Floats, traces: Traces, units: int, form: SpatialForm) -> Floats:
    """The effects alone, (R, 3 K), or (R, 2 K) of SEM, at slopes (R, P) and rho (R,), traces those of rho."""
    if len(form.effect_kinds) == 2:
        return np.tile(slopes, (1, 2))
    b, t = _pairs(slopes, form)
    gradients = _gradients(b, t, rho, traces, units)
    return np.concatenate([by_b * b + by_t * t for by_b, by_t, _ in gradients], axis=1)


def jacobian(slopes: Floats, rho: Floats, traces: Traces, units: int, form: SpatialForm) -> Floats:
    """Derivatives of the effects by slopes, spatial parameters and sigma2, (R, 3 K or 2 K, P + S + 1)."""
    rows, p = slopes.shape
    b, t = _pairs(slopes, form)
    k = b.shape[1]
    out = np.zeros((rows, len(form.effect_kinds), k, p + len(form.parameters) + 1))
    at = np.arange(k)
    if len(form.effect_kinds) == 2:
        out[:, :, at, at] = 1.0
        return out.reshape(rows, -1, out.shape[-1])
    for kind, (by_b, by_t, by_rho) in enumerate(_gradients(b, t, rho, traces, units)):
        out[:, kind, at, at] = by_b
        if form.durbin:
            out[:, kind, at, at + k] = by_t
        if form.lag:
            out[:, kind, at, p] = by_rho
    return out.reshape(rows, -1, out.shape[-1])


def _pairs(slopes: Floats, form: SpatialForm) -> tuple[Floats, Floats]:
    """Slopes of X and of WX, zero where the model has none, (R, K) each."""
    k = slopes.shape[1] // 2 if form.durbin else slopes.shape[1]
    return slopes[:, :k], slopes[:, k:] if form.durbin else np.zeros_like(slopes)


def _gradients(
    b: Floats, t: Floats, rho: Floats, traces: Traces, units: int
) -> tuple[tuple[Floats, Floats, Floats], ...]:
    """Derivatives of direct, indirect and total effects by b, t (R, 1) and rho (R, K)."""
    g, gg = (traces.g / units)[:, None], (traces.gg / units)[:, None]
    sum_g, sum_gg, rho = traces.sum_g[:, None], traces.sum_gg[:, None], rho[:, None]
    direct = (1 + rho * g, g, b * (g + rho * gg) + t * gg)
    total = (1 + rho * sum_g, sum_g, b * (sum_g + rho * sum_gg) + t * sum_gg)
    indirect = (total[0] - direct[0], total[1] - direct[1], total[2] - direct[2])
    return direct, indirect, total


def simulate(
    parameters: Floats, covariance: Floats, normals: Floats, form: SpatialForm, spectrum: Spectrum
) -> tuple[Floats, Floats, Floats, Floats]:
    """se, lower and upper ends (R, K) of parameters and effects, and how many draws are rejected, (R,); NaN without.

    From parameters (R, P + S + 1), their covariance and standard normals (draws, P + S + 1), used in every row.
    """
    rows, s = len(parameters), len(form.parameters)
    p = parameters.shape[1] - s - 1
    size = parameters.shape[1] + len(form.effect_kinds) * (p // 2 if form.durbin else p)
    se, lower, upper = np.full((3, rows, size), np.nan)
    rejected = np.full(rows, np.nan)
    for row, (point, variance) in enumerate(zip(parameters, covariance, strict=True)):
        if not (np.isfinite(point).all() and np.isfinite(variance).all()):
            continue
        # R with RR' = V, through the correlation matrix; negative eigenvalues count as zero
        scale = np.sqrt(np.maximum(np.diagonal(variance), 0.0))
        safe = np.where(scale > 0, scale, 1.0)
        values, vectors = np.linalg.eigh(variance / np.outer(safe, safe))
        root = scale[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
        draws = point + normals @ root.T
        kept = draws[(np.abs(draws[:, p : p + s]) * spectrum.weights.radius < 1).all(axis=1)]
        rejected[row] = len(draws) - len(kept)
        if len(kept) < 2:
            continue
        rho = np.ascontiguousarray(kept[:, p]) if form.lag else np.zeros(len(kept))
        effects = effects_of(kept[:, :p], rho, spectrum.traces(rho, "direct"), len(spectrum.weights.units), form)
        values = np.concatenate([kept, effects], axis=1)
        se[row] = values.std(axis=0, ddof=1)
        lower[row], upper[row] = np.quantile(values, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return se, lower, upper, rejected


FIT_STATISTICS = (
    "r2_corr",
    "r2_reduced_within", "r2_reduced_between", "r2_reduced_overall",
    "r2_naive_within", "r2_naive_between", "r2_naive_overall",
)  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class SpatialFit:
    """R panels at their maxima; parameters are slopes, spatial parameters, sigma2, in this order.

    slopes (R, P), spatial (R, S), sigma2, ssr, log_det (R,), converged (R,); effects (R, F); variance
    (R, P + S + 1 + F) from the information matrix, of parameters and effects; traces at rho (at 0 without a lag of y);
    covariance() (R, P + S + 1, P + S + 1) of the parameters. mode_gap (R,), of SAC: how much lower lnL is at its next
    best maximum, NaN where it has one only.
    """

    slopes: Floats
    spatial: Floats
    sigma2: Floats
    ssr: Floats
    log_det: Floats
    converged: NDArray[np.bool_]
    effects: Floats
    variance: Floats
    traces: Traces
    covariance: Callable[[], Floats]
    mode_gap: Floats | None = None

    @property
    def parameters(self) -> Floats:
        """Slopes, spatial parameters, sigma2, (R, P + S + 1)."""
        return np.concatenate([self.slopes, self.spatial, self.sigma2[:, None]], axis=1)

    @property
    def estimate(self) -> Floats:
        """Parameters and effects, (R, P + S + 1 + F)."""
        return np.concatenate([self.parameters, self.effects], axis=1)

    def rho(self, form: SpatialForm) -> Floats:
        """rho (R,), zero in a model without a lag of the outcome."""
        return self.spatial[:, 0] if form.lag else np.zeros_like(self.sigma2)


def fit_model(model: SpatialRegression) -> SpatialFit:
    """The maximum-likelihood fit of a model on R panels."""
    form, sizes = model.form, model.sizes
    if form.lag and form.error:
        return _combined(model)
    if not form.lag and not form.error:
        return _least_squares(model)
    maximise = _lag_fit if form.lag else _error_fit
    slopes, ssr, rho, converged, covariance = maximise(model)
    traces = model.plan.spectrum.traces(rho, model.determinant)
    sigma2 = ssr / sizes.nobs
    spread = sizes.periods * (traces.hh + traces.hth) - 2 * (sizes.periods * traces.h) ** 2 / sizes.nobs
    rho_variance = 1.0 / (spread + covariance.left / sigma2)
    sigma2_variance = (
        2 * sigma2**2 / sizes.nobs + (2 * sigma2 * sizes.periods * traces.h / sizes.nobs) ** 2 * rho_variance
    )
    diagonal = np.diagonal(covariance.bread, axis1=1, axis2=2)
    variances = sigma2[:, None] * diagonal + rho_variance[:, None] * covariance.tilt**2
    lag = rho if form.lag else np.zeros_like(rho)
    at = traces if form.lag else model.plan.spectrum.traces(lag, model.determinant)
    own = Slopes(slopes, sigma2, lag, rho_variance, covariance.bread, covariance.tilt)
    effects, effect_variances = impacts(own, at, model.plan.units, form)
    variance = np.concatenate([variances, rho_variance[:, None], sigma2_variance[:, None], effect_variances], axis=1)
    pull = 2 * sigma2 * sizes.periods * traces.h / sizes.nobs
    whole = partial(covariance.whole, sigma2, rho_variance, sigma2_variance, pull)
    return SpatialFit(slopes, rho[:, None], sigma2, ssr, traces.log_det, converged, effects, variance, at, whole)


@dataclass(frozen=True, eq=False, slots=True)
class SlopeCovariance:
    """The slopes' part of the partitioned inverse information.

    bread (1 or R, P, P) = (Z'Z)^-1; tilt (R, P) = (Z'Z)^-1 Z'GZb, so that cov(b, rho) = -tilt var(rho) and var(b_k) =
    s2 (Z'Z)^-1_kk + tilt_k^2 var(rho); left (R,) = what of |QGZb|^2 the regressors do not explain. In the error models
    lambda stands for rho, Q(Z - lambda WZ) for Z and the time effects, which a row-stochastic W does not let through,
    for Zb.
    """

    bread: Floats
    tilt: Floats
    left: Floats

    def whole(self, sigma2: Floats, rho_variance: Floats, sigma2_variance: Floats, pull: Floats) -> Floats:
        """Slopes, rho, sigma2 (R, P + 2, P + 2); pull (R,) is how far sigma2's estimate falls when rho's rises."""
        rows, p = self.tilt.shape
        along = np.concatenate([-self.tilt, np.ones((rows, 1)), -pull[:, None]], axis=1)
        out = rho_variance[:, None, None] * along[:, :, None] * along[:, None, :]
        out[:, :p, :p] += sigma2[:, None, None] * self.bread
        out[:, -1, -1] = sigma2_variance
        return np.asarray(out)


Maximised = tuple[Floats, Floats, Floats, NDArray[np.bool_], SlopeCovariance]


def _lag_fit(model: SpatialRegression) -> Maximised:
    """SAR and SDM: slopes (R, P), e'e, rho, whether converged, and the slopes' covariance."""
    p, m = model.slopes, model.moments
    bread, _ = ols.invert(model.gram[:, :p, :p])
    zy, zwy = m.zy[:, :p], m.zwy[:, :p]
    b0, b1 = np.matvec(bread, zy), np.matvec(bread, zwy)
    a = m.yy - (zy * b0).sum(axis=1)
    b = m.ywy - (zy * b1).sum(axis=1)
    c = m.wyy - (zwy * b1).sum(axis=1)
    rho, converged = maximise_lag(a, b, c, model.plan.spectrum, model.sizes, model.determinant)
    slopes = b0 - rho[:, None] * b1
    drift = None if m.drift is None else m.drift[:, 0] - rho[:, None] * m.drift[:, 1]
    zgzb, quadratic = _forms(model, p, rho, slopes, drift)
    tilt = np.matvec(bread, zgzb)
    left = quadratic - (zgzb * tilt).sum(axis=1)
    ssr = a - 2 * rho * b + rho**2 * c
    return slopes, ssr, rho, converged, SlopeCovariance(bread, tilt, left)


def _forms(
    model: SpatialRegression, p: int, rho: Floats, slopes: Floats, drift: Floats | None
) -> tuple[Floats, Floats]:
    """Z'GZb (R, P) and |QGZb|^2 (R,) of the first P regressors."""
    plan, m = model.plan, model.moments
    if plan.forms is not None:
        return plan.forms[p](rho, slopes, drift)
    assert m.z is not None
    by_dates = None if m.dates is None or plan.beside is None else AbsorbingForms(m.dates, plan.beside, m.met)
    return redrawn_forms(m.z, plan.spectrum, plan.columns, rho, slopes, drift, m.dates, by_dates)


def _error_fit(model: SpatialRegression) -> Maximised:
    """SEM and SDEM: slopes (R, P), e'e, lambda, whether converged, and the slopes' covariance.

    The regressors' lags stand K columns after them: [X, WX, WWX].
    """
    m, k, p = model.moments, len(model.plan.names), model.slopes
    z, wz = slice(0, p), slice(k, k + p)
    last = np.ascontiguousarray(np.moveaxis(model.gram, 0, -1))
    zy, zwy = np.ascontiguousarray(m.zy.T), np.ascontiguousarray(m.zwy.T)
    products = ErrorModel(
        xx=last[z, z], xw=last[z, wz], ww=last[wz, wz],
        xy=zy[z], xwy=zwy[z], wxy=zy[wz], wxwy=zwy[wz], yy=m.yy, ywy=m.ywy, wyy=m.wyy,
    )  # fmt: skip
    lam, converged = products.maximise(model.plan.spectrum, model.sizes, model.determinant)
    pair = products if lam.size > 1 else products.take(np.zeros(2, dtype=np.intp))  # sums are then made alike
    beta, ssr, at_lambda = (values[..., : lam.size] for values in pair.fit(np.resize(lam, max(lam.size, 2))))
    slopes = np.ascontiguousarray(beta.T)
    at_lambda = np.ascontiguousarray(np.moveaxis(at_lambda, -1, 0))
    bread, sound = ols.invert(at_lambda)
    slopes, ssr = np.where(sound[:, None], slopes, np.nan), np.where(sound, ssr, np.nan)
    lam = np.where(sound, lam, np.nan)
    if m.drift is None:
        covariance = SlopeCovariance(bread, np.zeros_like(slopes), np.zeros_like(ssr))
    else:
        through = TimeEffects.of(m.drift, model.form, np.zeros_like(lam), lam, slopes, model.plan.spectrum)
        cross = through.across(regressors(model.plan, m), k, p)
        tilt = np.matvec(bread, cross)
        covariance = SlopeCovariance(bread, tilt, through.squared_norm() - (cross * tilt).sum(axis=1))
    return slopes, ssr, lam, converged & sound, covariance


def _least_squares(model: SpatialRegression) -> SpatialFit:
    """SLX: least squares on X and WX; variances are those of the likelihood, s2 (Z'Z)^-1 with s2 = e'e/n."""
    m, p, sizes = model.moments, model.slopes, model.sizes
    bread, _ = ols.invert(model.gram[:, :p, :p])
    zy = m.zy[:, :p]
    slopes = np.matvec(bread, zy)
    ssr = m.yy - (zy * slopes).sum(axis=1)
    sigma2 = ssr / sizes.nobs
    none = np.zeros_like(sigma2)  # effects do not depend on rho
    traces = model.plan.spectrum.traces(none, model.determinant)
    own = Slopes(slopes, sigma2, none, none, bread, np.zeros_like(slopes))
    effects, effect_variances = impacts(own, traces, model.plan.units, model.form)
    diagonal = sigma2[:, None] * np.diagonal(bread, axis1=1, axis2=2)
    variance = np.concatenate([diagonal, (2 * sigma2**2 / sizes.nobs)[:, None], effect_variances], axis=1)
    converged = np.ones(ssr.size, dtype=bool)

    def whole() -> Floats:
        out = np.zeros((ssr.size, p + 1, p + 1))
        out[:, :p, :p] = sigma2[:, None, None] * bread
        out[:, -1, -1] = 2 * sigma2**2 / sizes.nobs
        return out

    return SpatialFit(
        slopes, np.empty((ssr.size, 0)), sigma2, ssr, np.zeros_like(ssr), converged, effects, variance, traces, whole
    )


def _combined(model: SpatialRegression) -> SpatialFit:
    """SAC: rho and lambda together, from y, Wy, WWy, X and WX."""
    size, spectrum, units = 3 + 2 * len(model.plan.names), model.plan.spectrum, model.plan.units
    columns = np.ascontiguousarray(np.moveaxis(lagged_gram(model)[:, :size, :size], 0, -1))
    combined = CombinedModel(columns, spectrum, model.sizes, model.determinant)
    rho, lam, ssr, slopes, converged, gap = combined.maximise()
    sound = ols.invert(model.gram[:, : model.slopes, : model.slopes])[1]
    rho, lam = np.where(sound, rho, np.nan), np.where(sound, lam, np.nan)
    sigma2 = ssr / model.sizes.nobs
    covariance = _combined_covariance(model, rho, lam, slopes, sigma2)
    traces = spectrum.traces(rho, model.determinant)
    log_det = traces.log_det + spectrum.slopes(lam, model.determinant)[0]
    effects = effects_of(slopes, rho, traces, units, model.form)
    moved = jacobian(slopes, rho, traces, units, model.form)
    variance = np.concatenate([np.diagonal(covariance, axis1=1, axis2=2), effect_variances(moved, covariance)], axis=1)
    spatial = np.stack([rho, lam], axis=1)
    return SpatialFit(slopes, spatial, sigma2, ssr, log_det, converged, effects, variance, traces, lambda: covariance,
                      gap)  # fmt: skip


def effect_variances(jacobian: Floats, covariance: Floats) -> Floats:
    """The delta method: diagonal of J V J', (R, F)."""
    return np.asarray(np.vecdot(np.matmul(jacobian, covariance), jacobian))


def _combined_covariance(model: SpatialRegression, rho: Floats, lam: Floats, slopes: Floats, sigma2: Floats) -> Floats:
    """Inverse information of slopes, rho, lambda, sigma2, (R, K + 3, K + 3): X* = Q(X - lambda WX) stands for X.

    A W that is not row-stochastic lets time effects through, which adds to what lambda meets.
    """
    m, spectrum, sizes, transform = model.moments, model.plan.spectrum, model.sizes, model.determinant
    k, t = len(model.plan.names), sizes.periods
    filtered = np.concatenate([slopes, -lam[:, None] * slopes], axis=1)
    drift = None
    if m.drift is not None:
        drift = m.drift[:, 0] - (rho + lam)[:, None] * m.drift[:, 1] + (rho * lam)[:, None] * m.drift[:, 2]
    cross, quadratic = _forms(model, 2 * k, rho, filtered, drift)
    gram = model.gram[:, : 2 * k, : 2 * k]
    xx, xw, ww = gram[:, :k, :k], gram[:, :k, k:], gram[:, k:, k:]
    at = lam[:, None, None]
    own, other = spectrum.traces(rho, transform), spectrum.traces(lam, transform)
    gh, gth = spectrum.joint(rho, lam, transform)
    out = np.zeros((rho.size, k + 3, k + 3))
    at_rho, at_lam, at_s2 = k, k + 1, k + 2
    s2 = sigma2[:, None]
    out[:, :k, :k] = (xx - at * (xw + xw.swapaxes(1, 2)) + at**2 * ww) / s2[:, None]
    out[:, :k, at_rho] = out[:, at_rho, :k] = (cross[:, :k] - lam[:, None] * cross[:, k:]) / s2
    out[:, at_rho, at_rho] = quadratic / sigma2 + t * (own.hh + own.hth)
    out[:, at_lam, at_lam] = t * (other.hh + other.hth)
    out[:, at_rho, at_lam] = out[:, at_lam, at_rho] = t * (gh + gth)
    out[:, at_rho, at_s2] = out[:, at_s2, at_rho] = t * own.h / sigma2
    out[:, at_lam, at_s2] = out[:, at_s2, at_lam] = t * other.h / sigma2
    out[:, at_s2, at_s2] = sizes.nobs / (2 * sigma2**2)
    if drift is not None and m.drift is not None:
        through, z = TimeEffects.of(m.drift, model.form, rho, lam, slopes, spectrum), regressors(model.plan, m)
        out[:, :k, at_lam] = out[:, at_lam, :k] = through.across(z, k, k) / s2
        out[:, at_lam, at_lam] += through.squared_norm() / sigma2
        out[:, at_rho, at_lam] += through.along(z, filtered, drift, rho, spectrum) / sigma2
        out[:, at_lam, at_rho] = out[:, at_rho, at_lam]
    return ols.invert(out)[0]


def fit_statistics(model: SpatialRegression, slopes: Floats, rho: Floats) -> dict[str, Floats]:
    """Squared correlations, each (R,).

    r2_corr: of Qy with S QZb (Elhorst's "corrected" R2). The others: of y with its prediction without fixed effects, of
    demeaned values (within), unit means (between) or all values (overall); prediction in reduced form, S (Xb + WXt), or
    naive, rho Wy + Xb + WXt. Without a lag of the outcome both are Xb + WXt.
    """
    y, x = model.raw
    signal = np.einsum("rp,rptn->rtn", slopes, x)
    within = demeaned(signal, model.effects)
    if not model.form.lag:
        reduced, naive, corrected = signal, signal, within
    else:
        reduced, corrected = np.empty_like(y), np.empty_like(y)
        for row, value in enumerate(rho):  # S x = x + rho G x
            both = np.stack([signal[row], within[row]])
            reduced[row], corrected[row] = both + value * model.plan.spectrum.multiplier.apply(float(value), both)
        naive = signal + rho[:, None, None] * model.plan.spectrum.weights.lag(y)
    out = {"r2_corr": ols.squared_correlation(demeaned(y, model.effects), corrected)}
    for name, prediction in (("reduced", reduced), ("naive", naive)):
        changes = [values - values.mean(axis=1, keepdims=True) for values in (y, prediction)]
        out[f"r2_{name}_within"] = ols.squared_correlation(*changes)
        out[f"r2_{name}_between"] = ols.squared_correlation(y.mean(axis=1), prediction.mean(axis=1))
        out[f"r2_{name}_overall"] = ols.squared_correlation(y, prediction)
    return {name: out[name] for name in FIT_STATISTICS}
