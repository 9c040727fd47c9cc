"""Tests within the Durbin model and information criteria (Elhorst 2014, chapter 2; Burnham and Anderson 2002)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from estimators.spatial.likelihood import Sizes

Floats = NDArray[np.float64]

CRITERIA = ("aic", "bic")
WALD = ("wald_sar", "wald_sar_p", "wald_sem", "wald_sem_p")


def information_criteria(loglik: Floats, parameters: int, sizes: Sizes) -> dict[str, Floats]:
    """AIC = -2 lnL + 2 k and BIC = -2 lnL + k ln n, (R,) each.

    k counts slopes, spatial parameters and sigma2, not the effects, of which every model has as many; n is the
    transform's: NT, or (N-1)(T-1) under Lee and Yu. They compare models of one panel, W aside, within one transform.
    """
    return {"aic": -2 * loglik + 2 * parameters, "bic": -2 * loglik + parameters * np.log(sizes.nobs)}


def wald_tests(parameters: Floats, covariance: Floats) -> dict[str, Floats]:
    """Whether the Durbin model, (R, 2 K + 2) with covariance (R, 2 K + 2, 2 K + 2), may be a lag or an error model.

    SAR: t = 0. SEM: t + rho b = 0, by the delta method. Chi-square with K degrees of freedom, (R,) each.
    """
    k = parameters.shape[1] // 2 - 1
    b, t, rho = parameters[:, :k], parameters[:, k : 2 * k], parameters[:, 2 * k]
    derivatives = np.zeros((len(parameters), k, 2 * k + 2))
    at = np.arange(k)
    derivatives[:, at, at + k] = 1.0
    lag = _wald(t, derivatives, covariance)
    derivatives[:, at, at] = rho[:, None]
    derivatives[:, :, 2 * k] = b
    error = _wald(t + rho[:, None] * b, derivatives, covariance)
    return {"wald_sar": lag, "wald_sar_p": chdtrc(k, lag), "wald_sem": error, "wald_sem_p": chdtrc(k, error)}


def _wald(values: Floats, jacobian: Floats, covariance: Floats) -> Floats:
    """g'(J V J')^-1 g, (R,); NaN where V is."""
    variance = np.matmul(np.matmul(jacobian, covariance), jacobian.transpose(0, 2, 1))
    sound = np.isfinite(variance).all(axis=(1, 2)) & np.isfinite(values).all(axis=1)
    variance = np.where(sound[:, None, None], variance, np.eye(values.shape[1]))
    solved = np.matmul(np.linalg.pinv(variance, hermitian=True), values[:, :, None])[:, :, 0]
    return np.where(sound, np.vecdot(values, solved), np.nan)
