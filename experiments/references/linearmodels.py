"""linearmodels' panel regressions.

PanelOLS' clustered errors carry G/(G-1) (n-1)/n by `group_debias` and n/(n-k) by `debiased`, together our
G/(G-1) (n-1)/(n-k). With effects k counts the regressors and all effects (cluster_k = "all"), or the regressors alone
when `count_effects` is off (cluster_k = "slopes"). It has no count for effects nested in the clusters. A constant among
the regressors makes it add grand means back, as Stata does.
"""

from __future__ import annotations

from typing import Any, Literal

from experiments.references.reference import Reference, long_frame
from sim.panel import Panel

KINDS = {"iid": "unadjusted", "hc1": "robust"}


def twoway_did(
    panel: Panel,
    *,
    outcome: str | None = None,
    regressors: tuple[str, ...] | None = None,
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit"),
    cluster_k: Literal["slopes", "all"] = "all",
) -> Reference:
    """The two-way within regression of one real panel, balanced or not; errors as TwoWayDID names them."""
    return least_squares(panel, outcome=outcome, regressors=regressors, errors=errors, cluster_k=cluster_k)


def least_squares(
    panel: Panel,
    *,
    outcome: str | None = None,
    regressors: tuple[str, ...] | None = None,
    effects: tuple[str, ...] = ("unit", "period"),
    constant: bool = False,
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit"),
    cluster_k: Literal["slopes", "all"] = "all",
) -> Reference:
    """Least squares of one real panel with unit effects, period effects, both or none."""
    from linearmodels.panel import PanelOLS

    frame, y, names = _frame(panel, outcome, regressors, constant)
    model = PanelOLS(
        frame[y], frame[list(names)], entity_effects="unit" in effects, time_effects="period" in effects
    )  # fmt: skip
    se = {}
    for error in errors:
        if error in KINDS:
            fit = model.fit(cov_type=KINDS[error], debiased=True)
        else:
            fit = model.fit(
                cov_type="clustered",
                clusters=frame[error.removeprefix("cluster:")].astype("category").cat.codes,
                group_debias=True,
                debiased=True,
                auto_df=False,
                count_effects=cluster_k == "all",
            )
        se[error] = fit.std_errors[list(names)].to_numpy()
    return Reference(
        program="linearmodels",
        terms=tuple(names),
        estimate=fit.params[list(names)].to_numpy(),
        se=se,
        statistics={"r2_within": float(fit.rsquared), "ssr": float(fit.resid_ss)},
    )


def random_effects(panel: Panel, *, outcome: str | None = None, regressors: tuple[str, ...] | None = None) -> Reference:
    """Swamy-Arora random effects of one real panel with a constant, homoskedastic errors."""
    from linearmodels.panel import RandomEffects

    frame, y, names = _frame(panel, outcome, regressors, constant=True)
    fit = RandomEffects(frame[y], frame[list(names)]).fit(cov_type="unadjusted", debiased=True)
    return Reference(
        program="linearmodels",
        terms=names,
        estimate=fit.params[list(names)].to_numpy(),
        se={"iid": fit.std_errors[list(names)].to_numpy()},
    )


def _frame(
    panel: Panel, outcome: str | None, regressors: tuple[str, ...] | None, constant: bool
) -> tuple[Any, str, tuple[str, ...]]:
    y = outcome or panel.roles.outcome
    names = panel.roles.regressors if regressors is None else regressors
    assert y is not None
    frame = long_frame(panel, (y, *names)).set_index(["unit", "period"], drop=False)
    if constant:
        frame["constant"] = 1.0
        names = (*names, "constant")
    return frame, y, tuple(names)
