"""pyfixest's feols with unit and time effects, every error type with its small-sample correction written out.

`k_fixef` counts the effects' parameters in (n-1)/(n-k): none = our "slopes", nonnested = our "nonnested", full = our
"all". iid and heteroskedastic errors use k_fixef = full; both then match n - k - (N + T - 1) degrees of freedom.
"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

from experiments.references.reference import ReferenceFit, long_frame
from sim import Panel

K_FIXEF = {"slopes": "none", "nonnested": "nonnested", "all": "full"}


def twoway_did(
    panel: Panel,
    *,
    outcome: str | None = None,
    regressors: tuple[str, ...] | None = None,
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit"),
    cluster_k: Literal["slopes", "nonnested", "all"] = "nonnested",
) -> ReferenceFit:
    """The two-way within regression of one real panel, balanced or not; errors as TwoWayDID names them."""
    import pyfixest

    y = outcome or panel.roles.outcome
    names = panel.roles.regressors if regressors is None else regressors
    assert y is not None
    frame = long_frame(panel, (y, *names))
    formula = f"{y} ~ {' + '.join(names)} | unit + period"
    se = {}
    for error in errors:
        clustered = error.startswith("cluster:")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses what pandas has deprecated
            fit = pyfixest.feols(
                formula,
                data=frame,
                vcov={"CRV1": error.removeprefix("cluster:")} if clustered else {"iid": "iid", "hc1": "HC1"}[error],
                ssc=pyfixest.ssc(k_adj=True, k_fixef=K_FIXEF[cluster_k] if clustered else "full", G_adj=True),
                fixef_rm="none",
                demeaner=pyfixest.MapDemeaner(fixef_tol=1e-13, fixef_maxiter=100_000),
            )
        se[error] = fit.se().loc[list(names)].to_numpy()
    return ReferenceFit(
        program="pyfixest",
        terms=tuple(names),
        estimate=np.asarray(fit.coef().loc[list(names)]),
        se=se,
    )
