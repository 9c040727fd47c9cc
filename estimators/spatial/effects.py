"""Average direct, indirect and total effects of S (b I + t W) (LeSage and Pace 2009).

With D = b tr S/N + t tr G/N and T = b 1'S1/N + t 1'G1/N, S = I + rho G, dG/drho = G^2. Without a lag of the outcome
(SLX, SDEM) they hold at rho = 0: b, t 1'W1/N and their sum; in the error model both effects are b. Errors come from
the delta method, or from simulation (chapter 5 there): parameters are drawn from the normal distribution around the
estimate with its covariance, and the effects of each draw give a standard deviation and quantiles. A draw whose rho or
lambda lies outside the interval that the likelihood is defined on is rejected and counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estimators.spatial.form import SpatialForm
from estimators.spatial.spectrum import Spectrum, Traces
from sim.arrays import Floats

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
    gradients = _gradients(b, t, own.rho, traces, units)
    effects = [gradient.own * b + gradient.lagged * t for gradient in gradients]
    spreads = [gradient.variance(own, b.shape[1], form) for gradient in gradients]
    return np.concatenate(effects, axis=1), np.concatenate(spreads, axis=1)


def effects_of(slopes: Floats, rho: Floats, traces: Traces, units: int, form: SpatialForm) -> Floats:
    """The effects alone, (R, 3 K), or (R, 2 K) of SEM, at slopes (R, P) and rho (R,), traces those of rho."""
    if len(form.effect_kinds) == 2:
        return np.tile(slopes, (1, 2))
    b, t = _pairs(slopes, form)
    gradients = _gradients(b, t, rho, traces, units)
    return np.concatenate([gradient.own * b + gradient.lagged * t for gradient in gradients], axis=1)


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
    for kind, gradient in enumerate(_gradients(b, t, rho, traces, units)):
        out[:, kind, at, at] = gradient.own
        if form.durbin:
            out[:, kind, at, at + k] = gradient.lagged
        if form.lag:
            out[:, kind, at, p] = gradient.rho
    return out.reshape(rows, -1, out.shape[-1])


def _pairs(slopes: Floats, form: SpatialForm) -> tuple[Floats, Floats]:
    """Slopes of X and of WX, zero where the model has none, (R, K) each."""
    k = slopes.shape[1] // 2 if form.durbin else slopes.shape[1]
    return slopes[:, :k], slopes[:, k:] if form.durbin else np.zeros_like(slopes)


def _gradients(b: Floats, t: Floats, rho: Floats, traces: Traces, units: int) -> tuple[_Gradient, ...]:
    """Of direct, indirect and total effects."""
    g, gg = (traces.g / units)[:, None], (traces.gg / units)[:, None]
    sum_g, sum_gg, rho = traces.sum_g[:, None], traces.sum_gg[:, None], rho[:, None]
    direct = _Gradient(1 + rho * g, g, b * (g + rho * gg) + t * gg)
    total = _Gradient(1 + rho * sum_g, sum_g, b * (sum_g + rho * sum_gg) + t * sum_gg)
    return direct, _Gradient(total.own - direct.own, total.lagged - direct.lagged, total.rho - direct.rho), total


@dataclass(frozen=True, eq=False, slots=True)
class _Gradient:
    """Derivatives of an effect by b, t (R, 1) and rho (R, K)."""

    own: Floats
    lagged: Floats
    rho: Floats

    def variance(self, at: Slopes, k: int, form: SpatialForm) -> Floats:
        bread = at.bread
        index = np.arange(k)
        quadratic = self.own**2 * bread[:, index, index]
        along = (self.rho if form.lag else 0.0) - self.own * at.tilt[:, :k]
        if form.durbin:
            quadratic = quadratic + 2 * self.own * self.lagged * bread[:, index, index + k]
            quadratic = quadratic + self.lagged**2 * bread[:, index + k, index + k]
            along = along - self.lagged * at.tilt[:, k:]
        return np.asarray(at.sigma2[:, None] * quadratic + at.rho_variance[:, None] * along**2)


@dataclass(frozen=True, eq=False, slots=True)
class Simulated:
    """se, lower, upper (R, K) of parameters and effects; rejected (R,) draws."""

    se: Floats
    lower: Floats
    upper: Floats
    rejected: Floats


def simulate(
    parameters: Floats, covariance: Floats, normals: Floats, form: SpatialForm, spectrum: Spectrum
) -> Simulated:
    """From parameters (R, P + S + 1), their covariance and standard normals (draws, P + S + 1), used in every row."""
    rows = [
        _simulated_row(point, variance, normals, form, spectrum)
        for point, variance in zip(parameters, covariance, strict=True)
    ]
    se, lower, upper, rejected = (np.array(part) for part in zip(*rows, strict=True))
    return Simulated(se, lower, upper, rejected)


def _simulated_row(
    point: Floats, covariance: Floats, normals: Floats, form: SpatialForm, spectrum: Spectrum
) -> tuple[Floats, Floats, Floats, float]:
    s = len(form.parameters)
    p, kinds = len(point) - s - 1, len(form.effect_kinds)
    size = len(point) + kinds * (p // 2 if form.durbin else p)
    if not (np.isfinite(point).all() and np.isfinite(covariance).all()):
        nothing = np.full(size, np.nan)
        return nothing, nothing, nothing, np.nan
    draws = point + normals @ _root(covariance).T
    inside = (np.abs(draws[:, p : p + s]) * spectrum.weights.radius < 1).all(axis=1)
    kept = draws[inside]
    if len(kept) < 2:
        nothing = np.full(size, np.nan)
        return nothing, nothing, nothing, float(len(draws) - len(kept))
    rho = np.ascontiguousarray(kept[:, p]) if form.lag else np.zeros(len(kept))
    effects = effects_of(kept[:, :p], rho, spectrum.traces(rho, "direct"), len(spectrum.weights.units), form)
    values = np.concatenate([kept, effects], axis=1)
    lower, upper = np.quantile(values, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return values.std(axis=0, ddof=1), lower, upper, float(len(draws) - len(kept))


def _root(covariance: Floats) -> Floats:
    """R with RR' = V, through the correlation matrix; negative eigenvalues count as zero."""
    scale = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    safe = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(safe, safe))
    return np.asarray(scale[:, None] * vectors * np.sqrt(np.maximum(values, 0.0)))
