"""linearmodels' PanelOLS with unit and time effects.

Its clustered errors carry G/(G-1) (n-1)/n by `group_debias` and n/(n-k) by `debiased`, together our
G/(G-1) (n-1)/(n-k). With two effects k counts the regressors and all N + T - 1 effects (cluster_k = "all"), or the
regressors alone when `count_effects` is off (cluster_k = "slopes"). It has no count for effects nested in the clusters.
"""

from __future__ import annotations

from typing import Literal

from references.reference import Reference, long_frame
from sim import Panel


def twoway_did(
    panel: Panel,
    *,
    outcome: str | None = None,
    regressors: tuple[str, ...] | None = None,
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit"),
    cluster_k: Literal["slopes", "all"] = "all",
) -> Reference:
    """The two-way within regression of one real panel, balanced or not; errors as TwoWayDID names them."""
    from linearmodels.panel import PanelOLS

    y = outcome or panel.roles.outcome
    names = panel.roles.regressors if regressors is None else regressors
    assert y is not None
    frame = long_frame(panel, (y, *names)).set_index(["unit", "period"], drop=False)
    model = PanelOLS(frame[y], frame[list(names)], entity_effects=True, time_effects=True)
    kinds = {"iid": "unadjusted", "hc1": "robust"}
    se = {}
    for error in errors:
        if error in kinds:
            fit = model.fit(cov_type=kinds[error], debiased=True)
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
