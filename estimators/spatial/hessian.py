"""The observed Hessian of a spatial likelihood from cross products, for all panels of a batch at once.

With A = I - rho W, B = I - lambda W, e = QB(Ay - Zb) and Z* = QBZ, minus the Hessian times s2 has Z*'Z* for the slopes;
Z*'m_s, and (QWZ)'e more for lambda, for slopes by spatial parameters; m_s'm_u for these, with s2 T tr G^2 (s2 T tr H^2)
more on the diagonal and (QWWy)'e more for rho by lambda; m_s'e / s2 for them by s2; n / (2 s2) for s2. m = -de by the
parameter: QBWy for rho, QW(Ay - Zb) for lambda. All are linear in y, X and their lags (Lee and Yu 2010, JoE 154:165).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estimators.core import regression as ols
from estimators.spatial.cross_products import SpatialMoments, SpatialPlan, lagged_gram
from estimators.spatial.form import SpatialForm
from estimators.spatial.likelihood import Sizes
from estimators.spatial.spectrum import Transform
from sim.arrays import Floats


@dataclass(frozen=True, eq=False, slots=True)
class LagSpace:
    """Combinations of y, Wy ... X, WX ..., as coefficients (..., M), and their inner products by gram (R, M, M).

    orders: how often each stands, y once and X with its K columns an order.
    """

    gram: Floats
    orders: int

    @property
    def regressors(self) -> int:
        """K."""
        return self.gram.shape[-1] // self.orders - 1

    def unit(self, *columns: int) -> Floats:
        """The columns themselves, (1, C, M)."""
        return np.eye(self.gram.shape[-1])[None, columns]

    def lag(self, v: Floats) -> Floats:
        """W times a combination that has no columns of the highest order."""
        out = np.zeros_like(v)
        out[..., 1 : self.orders] = v[..., : self.orders - 1]
        out[..., self.orders + self.regressors :] = v[..., self.orders : v.shape[-1] - self.regressors]
        return out

    def inner(self, u: Floats, v: Floats) -> Floats:
        """u'v, (R, A, M) by (R, B, M) -> (R, A, B)."""
        return np.asarray(np.matmul(np.matmul(u, self.gram), v.swapaxes(1, 2)))


def observed_information(
    form: SpatialForm, plan: SpatialPlan, m: SpatialMoments, sizes: Sizes, transform: Transform, parameters: Floats
) -> Floats:
    """Minus the Hessian at slopes, spatial parameters, sigma2 (R, K) -> (R, K, K)."""
    space = LagSpace(lagged_gram(plan, m), form.lags + 1)
    p, s2 = form.slopes(len(plan.names)), parameters[:, -1, None, None]
    spatial = dict(zip(form.parameters, parameters.T[p:-1, :, None, None], strict=True))
    rho, lam = (spatial.get(name, np.zeros_like(s2)) for name in ("rho", "lambda"))

    def filtered(v: Floats) -> Floats:
        return v - lam * space.lag(v) if form.error else v

    y, z = space.unit(0), space.unit(*range(space.orders, space.orders + p))
    wy = space.lag(y)
    unexplained = y - rho * wy - np.matmul(parameters[:, None, :p], z)
    e = filtered(unexplained)
    moved = {"rho": filtered(wy) + np.zeros_like(e), "lambda": space.lag(unexplained)}
    by_spatial = np.concatenate([e[:, :0], *(moved[name] for name in form.parameters)], axis=1)
    own = filtered(z)

    out = np.zeros((len(parameters), *2 * (parameters.shape[1],)))
    slopes, both, last = slice(0, p), slice(p, -1), -1
    out[:, slopes, slopes] = space.inner(own, own) / s2
    across = space.inner(own, by_spatial)
    square = space.inner(by_spatial, by_spatial)
    if form.error:
        across[:, :, -1:] += space.inner(space.lag(z), e)
    if form.error and form.lag:
        square += space.inner(space.lag(wy), e) * (1.0 - np.eye(2))
    out[:, slopes, both] = across / s2
    out[:, both, slopes] = out[:, slopes, both].swapaxes(1, 2)
    out[:, both, both] = square / s2
    for at, name in enumerate(form.parameters, start=p):
        out[:, at, at] += sizes.periods * plan.spectrum.slopes(spatial[name][:, 0, 0], transform)[2]
    out[:, both, last] = out[:, last, both] = (space.inner(by_spatial, e) / s2**2)[:, :, 0]
    out[:, last, last] = sizes.nobs / (2 * s2[:, 0, 0] ** 2)
    return out


def inverse_at_maximum(information: Floats) -> Floats:
    """The inverses of minus Hessians (R, K, K), NaN where one is not positive definite: no maximum is there."""
    scale = np.sqrt(np.abs(np.diagonal(information, axis1=1, axis2=2)))
    scaled = information / (scale[:, :, None] * scale[:, None, :])
    finite = np.isfinite(scaled).all(axis=(1, 2))
    lowest = np.linalg.eigvalsh(np.where(finite[:, None, None], scaled, np.eye(scale.shape[1])))[:, 0]
    return ols.invert(np.where((finite & (lowest > 0))[:, None, None], information, np.nan))[0]
