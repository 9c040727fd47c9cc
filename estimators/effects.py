"""Average direct, indirect and total effects of S (b I + t W), with delta-method variances (LeSage and Pace 2009)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimators.spectrum import Traces

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Slopes:
    """What effects are made of: slopes (R, P), sigma2, rho, its variance (R,), bread and tilt as in Covariance."""

    slopes: Floats
    sigma2: Floats
    rho: Floats
    rho_variance: Floats
    bread: Floats
    tilt: Floats


def impacts(own: Slopes, traces: Traces, units: int, model: str) -> tuple[Floats, Floats]:
    """Effects and variances (R, 3 K): direct, indirect and total of each regressor (SEM: direct and total, both b).

    With D = b tr S/N + t tr G/N and T = b 1'S1/N + t 1'G1/N, S = I + rho G, dG/drho = G^2; a gradient (g_b, g_t, g_r)
    has variance s2 g'(Z'Z)^-1 g + var(rho) (g_r - g_b tilt_b - g_t tilt_t)^2.
    """
    if model == "sem":
        variances = own.sigma2[:, None] * np.diagonal(own.bread, axis1=1, axis2=2)
        return np.tile(own.slopes, (1, 2)), np.tile(variances, (1, 2))
    durbin = model == "sdm"
    k = own.slopes.shape[1] // 2 if durbin else own.slopes.shape[1]
    b, t = own.slopes[:, :k], own.slopes[:, k:] if durbin else np.zeros_like(own.slopes)
    g, gg = (traces.g / units)[:, None], (traces.gg / units)[:, None]
    sum_g, sum_gg, rho = traces.sum_g[:, None], traces.sum_gg[:, None], own.rho[:, None]
    direct = _Gradient(1 + rho * g, g, b * (g + rho * gg) + t * gg)
    total = _Gradient(1 + rho * sum_g, sum_g, b * (sum_g + rho * sum_gg) + t * sum_gg)
    indirect = _Gradient(total.own - direct.own, total.lagged - direct.lagged, total.rho - direct.rho)
    gradients = (direct, indirect, total)
    effects = [gradient.own * b + gradient.lagged * t for gradient in gradients]
    return np.concatenate(effects, axis=1), np.concatenate([g.variance(own, k, durbin) for g in gradients], axis=1)


@dataclass(frozen=True, eq=False, slots=True)
class _Gradient:
    """Derivatives of an effect by b, t (R, 1) and rho (R, K)."""

    own: Floats
    lagged: Floats
    rho: Floats

    def variance(self, at: Slopes, k: int, durbin: bool) -> Floats:
        bread = at.bread
        index = np.arange(k)
        form = self.own**2 * bread[:, index, index]
        along = self.rho - self.own * at.tilt[:, :k]
        if durbin:
            form = form + 2 * self.own * self.lagged * bread[:, index, index + k]
            form = form + self.lagged**2 * bread[:, index + k, index + k]
            along = along - self.lagged * at.tilt[:, k:]
        return np.asarray(at.sigma2[:, None] * form + at.rho_variance[:, None] * along**2)
