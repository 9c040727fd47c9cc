"""linearmodels' panel regressions.

PanelOLS' clustered errors carry G/(G-1) (n-1)/n by `group_debias` and n/(n-k) by `debiased`, together our
G/(G-1) (n-1)/(n-k). With effects k counts the regressors and all effects (cluster_k = "all"), or the regressors alone
when `count_effects` is off (cluster_k = "slopes"). It has no count for effects nested in the clusters. A constant among
the regressors makes it add grand means back, as Stata does. It judges ranks in the units of the data, so variables
reach it around their means and in units of their standard deviations; a regression without constant and effects keeps
their levels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from experiments.references.reference import ReferenceFit, long_frame, scaled
from sim.arrays import Floats
from sim.panel import Panel

KINDS = {"iid": "unadjusted", "hc1": "robust"}


def least_squares(
    panel: Panel,
    *,
    outcome: str | None = None,
    regressors: tuple[str, ...] | None = None,
    effects: tuple[str, ...] = ("unit", "period"),
    constant: bool = False,
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit"),
    cluster_k: Literal["slopes", "all"] = "all",
) -> ReferenceFit:
    """Least squares of one real panel, balanced or not, with unit effects, period effects, both or none; errors as
    TwoWayDID names them. The panel's weights are the regression's."""
    from linearmodels.panel import PanelOLS

    data = _Regression.of(panel, outcome, regressors, constant=constant, centred=constant or bool(effects))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of roots of variances that are rounding
        model = PanelOLS(data.y, data.x, entity_effects="unit" in effects, time_effects="period" in effects,
                         weights=data.weights)  # fmt: skip
        counted = {"group_debias": True, "auto_df": False, "count_effects": cluster_k == "all"}
        fits = {error: model.fit(**_covariance(error, data.frame, **counted)) for error in errors}
        fit = next(iter(fits.values()))
        return ReferenceFit(
            program="linearmodels",
            terms=data.terms,
            estimate=data.estimate(fit),
            se={error: data.errors(each) for error, each in fits.items()},
            statistics={"r2_within": float(fit.rsquared), "ssr": float(fit.resid_ss) * data.outcome_unit**2},
        )


def random_effects(
    panel: Panel, *, outcome: str | None = None, regressors: tuple[str, ...] | None = None
) -> ReferenceFit:
    """Swamy-Arora random effects of one real panel with a constant, homoskedastic errors."""
    from linearmodels.panel import RandomEffects

    data = _Regression.of(panel, outcome, regressors, constant=True, centred=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        fit = RandomEffects(data.y, data.x).fit(cov_type="unadjusted", debiased=True)
        return ReferenceFit("linearmodels", data.terms, data.estimate(fit), {"iid": data.errors(fit)})


def two_stages(
    panel: Panel,
    *,
    outcome: str | None,
    regressors: tuple[str, ...],
    endogenous: tuple[str, ...],
    instruments: tuple[str, ...],
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit"),
) -> ReferenceFit:
    """2SLS of one real panel, balanced or not, with dummies of units and periods, all counted in k; statistics: Sargan
    and Wu-Hausman tests. Endogenous regressors come first among the terms. The panel's weights are the regression's."""
    from linearmodels.iv import IV2SLS

    y = outcome or panel.roles.outcome
    assert y is not None
    terms = (*endogenous, *(name for name in regressors if name not in endogenous))
    weight = panel.roles.weight
    frame = long_frame(panel, tuple(dict.fromkeys((y, *terms, *instruments, *((weight,) if weight else ())))))
    columns, _, unit = scaled(frame[[y, *terms, *instruments]].to_numpy(), centred=True)
    data = pd.DataFrame(columns, frame.index, [y, *terms, *instruments])
    dummies = pd.get_dummies(frame[["unit", "period"]].astype(str), dtype=float)
    dummies = dummies.drop(columns=next(name for name in dummies if str(name).startswith("period")))
    exogenous = pd.concat([data[[name for name in terms if name not in endogenous]], dummies], axis=1)
    model = IV2SLS(data[y], exogenous, data[list(endogenous)], data[list(instruments)],
                   weights=frame[weight] if weight else None)  # fmt: skip
    fits = {error: model.fit(**_covariance(error, frame)) for error in errors}
    fit, units = next(iter(fits.values())), unit[0] / unit[1 : len(terms) + 1]
    hausman = fit.wu_hausman()
    statistics = {"endogeneity_f": float(hausman.stat), "endogeneity_p": float(hausman.pval)}
    if len(instruments) > len(endogenous):
        statistics |= {"sargan": float(fit.sargan.stat), "sargan_p": float(fit.sargan.pval)}
    return ReferenceFit(
        program="linearmodels",
        terms=terms,
        estimate=fit.params.loc[list(terms)].to_numpy() * units,
        se={error: each.std_errors.loc[list(terms)].to_numpy() * units for error, each in fits.items()},
        statistics=statistics,
    )


def _covariance(error: str, frame: pd.DataFrame, **of_clusters: bool) -> dict[str, Any]:
    """Arguments of `fit` for an error type; of_clusters: further ones of clustered errors."""
    if error in KINDS:
        return {"cov_type": KINDS[error], "debiased": True}
    clusters = frame[error.removeprefix("cluster:")].astype("category").cat.codes
    return {"cov_type": "clustered", "debiased": True, "clusters": clusters, **of_clusters}


@dataclass(frozen=True, slots=True, eq=False)
class _Regression:
    """Rows of a panel with the outcome y and regressors x, scaled; what is estimated of them is offset + back b.

    frame: unit, period and attributes of the rows; offset (K,), back (K, K): of the terms, the constant last.
    """

    frame: pd.DataFrame
    y: pd.DataFrame
    x: pd.DataFrame
    offset: Floats
    back: Floats
    outcome_unit: float
    weights: pd.Series[float] | None = None

    @classmethod
    def of(
        cls, panel: Panel, outcome: str | None, regressors: tuple[str, ...] | None, *, constant: bool, centred: bool
    ) -> _Regression:
        """With y = m + s y*, x_k = m_k + s_k x_k*: b_k = (s/s_k) b_k*, the constant m + s b* - sum m_k b_k."""
        y = outcome or panel.roles.outcome
        names = panel.roles.regressors if regressors is None else regressors
        assert y is not None
        weight = panel.roles.weight
        needed = (y, *names, *((weight,) if weight else ()))
        frame = long_frame(panel, tuple(dict.fromkeys(needed))).set_index(["unit", "period"], drop=False)
        columns, centre, unit = scaled(frame[[y, *names]].to_numpy(), centred=centred)
        back = np.diag(unit[0] / unit[1:])
        offset = np.zeros(len(names))
        x = pd.DataFrame(columns[:, 1:], frame.index, list(names))
        if constant:
            x["constant"] = 1.0
            last = np.append(-centre[1:] @ back, unit[0])
            back = np.vstack([np.column_stack([back, offset]), last])
            offset = np.append(offset, centre[0])
        outcomes = pd.DataFrame(columns[:, :1], frame.index, [y])
        return cls(frame, outcomes, x, offset, back, float(unit[0]), frame[weight] if weight else None)

    @property
    def terms(self) -> tuple[str, ...]:
        """The regressors, and the constant where there is one."""
        return tuple(self.x.columns)

    def estimate(self, fit: Any) -> Floats:
        """Coefficients in the units of the data, (K,)."""
        return self.offset + self.back @ fit.params[list(self.terms)].to_numpy()

    def errors(self, fit: Any) -> Floats:
        """Standard errors in the units of the data, (K,); of a variance that rounding made negative, zero."""
        matrix = fit.cov.loc[list(self.terms), list(self.terms)].to_numpy()
        return np.sqrt(np.maximum(np.diagonal(self.back @ matrix @ self.back.T), 0.0))
