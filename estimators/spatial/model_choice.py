"""Tests between nested spatial models, what they choose, and information criteria.

The Durbin model becomes SAR under t = 0 and SEM under t + rho b = 0 (Elhorst 2014, chapter 2; LeSage and Pace 2009).
LR tests hold for independent, homoskedastic, normal errors alone; Wald tests hold under whatever the covariance that
they are given allows for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, fdtrc

from estimators.core import regression as ols
from estimators.core.tile import Tile
from estimators.spatial.likelihood import Sizes
from sim.arrays import Floats

NESTED = ("sar", "sem")  # in the SDM
CRITERIA = ("aic", "bic")
LEVEL = 0.05  # of the tests that choose a model


def information_criteria(loglik: Floats, parameters: int, sizes: Sizes) -> dict[str, Floats]:
    """AIC = -2 lnL + 2 k and BIC = -2 lnL + k ln n, (R,) each (Burnham and Anderson 2002).

    k counts slopes, spatial parameters and sigma2, not the effects, of which every model has as many; n is the
    transform's: NT, or (N-1)(T-1) under Lee and Yu. They compare models of one panel, W aside, within one transform.
    """
    return {"aic": -2 * loglik + 2 * parameters, "bic": -2 * loglik + parameters * np.log(sizes.nobs)}


def wald_names(error: str) -> dict[str, str]:
    """By nested model, the statistic of the Wald test with the covariance of an error type; its p value ends in _p."""
    ending = "" if error == "information" else f":{error}"
    return {model: f"wald_{model}{ending}" for model in NESTED}


def wald_tests(
    parameters: Floats, covariance: Floats, error: str = "information", sums: float = np.inf
) -> dict[str, Floats]:
    """Whether the Durbin model, (R, 2 K + 2) with covariance (R, 2 K + 2, 2 K + 2), may be a lag or an error model.

    g'(J V J')^-1 g of g = t for SAR and g = t + rho b for SEM, whose J comes from the delta method: dg_k/db_k = rho,
    dg_k/dt_k = 1, dg_k/drho = b_k. (R,) each, named by `wald_names`; NaN where J V J' is singular.

    sums: m, the sums of scores that V is made of: clusters, or periods under Driscoll and Kraay. V has rank m - 1 at
    most, and its estimate moves the statistic: (m - K) / (K (m - 1)) times it is compared with F(K, m - K), which is
    Hotelling's (1931) T squared of m sums; there is no test for m <= K. Without m: chi-square, K degrees of freedom.
    """
    k = parameters.shape[1] // 2 - 1
    b, t, rho = parameters[:, :k], parameters[:, k : 2 * k], parameters[:, 2 * k]
    of_lag = np.zeros((len(parameters), k, 2 * k + 2))
    at = np.arange(k)
    of_lag[:, at, at + k] = 1.0
    of_error = of_lag.copy()
    of_error[:, at, at] = rho[:, None]
    of_error[:, :, 2 * k] = b
    names = wald_names(error)
    out: dict[str, Floats] = {}
    for model, g, jacobian in (("sar", t, of_lag), ("sem", t + rho[:, None] * b, of_error)):
        statistic = _quadratic(g, np.matmul(np.matmul(jacobian, covariance), jacobian.transpose(0, 2, 1)))
        if np.isinf(sums):
            pvalue = chdtrc(k, statistic)
        elif sums > k:
            pvalue = fdtrc(k, sums - k, statistic * (sums - k) / (k * (sums - 1)))
        else:
            statistic = pvalue = np.full_like(statistic, np.nan)
        out |= {names[model]: statistic, f"{names[model]}_p": pvalue}
    return out


def _quadratic(g: Floats, variance: Floats) -> Floats:
    """g'V^-1 g, (R,); NaN where V has no sound inverse."""
    inverse, _ = ols.invert(variance)
    return np.asarray(np.vecdot(np.matmul(inverse, g[:, :, None])[:, :, 0], g))


def likelihood_ratio(larger: float, smaller: float, df: int) -> tuple[float, float]:
    """2 (lnL - lnL0), not below 0, and its p value by the chi-square distribution with df degrees of freedom."""
    statistic = max(2.0 * (larger - smaller), 0.0)
    return statistic, float(chdtrc(df, statistic))


def variance_inflation(tile: Tile, names: tuple[str, ...], weights: str) -> Floats:
    """Variance inflation factors (2 K,) of [QX, QWX] of the first replication: 1 / (1 - R2) of each on the others.

    The diagonal of X'X times that of its inverse (Belsley, Kuh and Welsch 1980), infinite where they are collinear.
    """
    parts = [tile.within(name)[:1] for name in names] + [tile.within_lag(name, weights)[:1] for name in names]
    gram = ols.gram(ols.stack(parts))
    inverse, sound = ols.invert(gram)
    return np.where(sound[0], np.diagonal(gram[0]) * np.diagonal(inverse[0]), np.inf)


def pointed_to(lagrange: Mapping[str, float]) -> str | None:
    """sar or sem, by the larger of the robust LM statistics; None when neither of the simple ones rejects at 5%.

    The simple ones decide where there are no robust ones, for WXb lies in the space of X.
    """
    if min(lagrange["lm_lag_p"], lagrange["lm_err_p"]) >= LEVEL:
        return None
    robust = "r" if np.isfinite(lagrange["rlm_lag"]) else ""
    return "sar" if lagrange[f"{robust}lm_lag"] >= lagrange[f"{robust}lm_err"] else "sem"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The nested models that the tests do not reject, the one that LM tests point to, and the model chosen.

    chosen: sdm | sar | sem, or None for the model without spatial terms.
    """

    kept: tuple[str, ...]
    pointed: str | None
    chosen: str | None


def choose_model(pvalues: Mapping[str, float], lagrange: Mapping[str, float]) -> ModelChoice:
    """What tests of the SDM against nested models, p values by model, and LM tests choose at 5% (Elhorst 2010).

    Both restrictions of the SDM rejected: the SDM. One of them not rejected: that model if the LM tests point to it,
    else the SDM, which nests both. Neither rejected: what the LM tests point to, if anything. A restriction that has no
    p value counts as rejected.
    """
    kept = tuple(model for model in NESTED if pvalues.get(model, 0.0) >= LEVEL)
    pointed = pointed_to(lagrange)
    if pointed in kept:
        return ModelChoice(kept, pointed, pointed)
    return ModelChoice(kept, pointed, None if pointed is None and len(kept) == len(NESTED) else "sdm")
