"""pyfixest's feols with unit and time effects, every error type with its small-sample correction written out.

`k_fixef` counts the effects' parameters in (n-1)/(n-k): none = our "slopes", nonnested = our "nonnested", full = our
"all". iid and heteroskedastic errors use k_fixef = full; both then match n - k - (N + T - 1) degrees of freedom.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import pandas as pd

from experiments.references.reference import ReferenceFit, long_frame
from sim import Panel

K_FIXEF = {"slopes": "none", "nonnested": "nonnested", "all": "full"}


def feols(formula: str, frame: pd.DataFrame, vcov: Any, counted: str = "nonnested", **settings: Any) -> Any:
    """A fit of pyfixest to its last digits, singletons kept unless told otherwise; counted: the effects in k."""
    import pyfixest

    own = {"fixef_rm": "none", "ssc": pyfixest.ssc(k_adj=True, k_fixef=counted, G_adj=True),
           "demeaner": pyfixest.MapDemeaner(fixef_tol=1e-13, fixef_maxiter=100_000)}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what pandas has deprecated
        return pyfixest.feols(formula, data=frame, vcov=vcov, **(own | settings))


def twoway_did(
    panel: Panel,
    *,
    outcome: str | None = None,
    regressors: tuple[str, ...] | None = None,
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit"),
    cluster_k: Literal["slopes", "nonnested", "all"] = "nonnested",
) -> ReferenceFit:
    """The two-way within regression of one real panel, balanced or not; errors as TwoWayDID names them."""
    y = outcome or panel.roles.outcome
    names = panel.roles.regressors if regressors is None else regressors
    assert y is not None
    frame = long_frame(panel, (y, *names))
    formula = f"{y} ~ {' + '.join(names)} | unit + period"
    se = {}
    for error in errors:
        clustered = error.startswith("cluster:")
        kind = {"CRV1": error.removeprefix("cluster:")} if clustered else {"iid": "iid", "hc1": "HC1"}[error]
        fit = feols(formula, frame, kind, K_FIXEF[cluster_k] if clustered else "full")
        se[error] = fit.se().loc[list(names)].to_numpy()
    return ReferenceFit(
        program="pyfixest",
        terms=tuple(names),
        estimate=np.asarray(fit.coef().loc[list(names)]),
        se=se,
    )
