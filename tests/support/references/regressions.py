"""The linear regression with its constant reported, as the tables print it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from estimators.linear.did import TwoWayDID
from experiments.references.reference import long_frame
from sim import Panel

EFFECTS: dict[str, tuple[str, ...]] = {  # of tests that hold for all of them
    "pooled": (),
    "unit": ("unit",),
    "period": ("period",),
    "two-way": ("unit", "period"),
    "province-by-period": ("unit", "province-by-period"),
    "province-by-period alone": ("province-by-period",),
    "trend": ("unit", "unit-trend"),
    "two-way with trend": ("unit", "period", "unit-trend"),
    "province-by-period with trend": ("unit", "unit-trend", "province-by-period"),
}


def panel_ols(
    outcome: str | None = None,
    regressors: tuple[str, ...] | None = None,
    effects: tuple[str, ...] = ("unit", "period"),
    **settings: Any,
) -> TwoWayDID:
    """`TwoWayDID` of other effects, with a constant unless `constant = False`."""
    return TwoWayDID(outcome, regressors, effects=effects, **{"constant": True, **settings})


def linearmodels_of(panel: Panel, effects: tuple[str, ...]) -> tuple[Any, pd.DataFrame]:
    """Its regression of y on the regressors and a constant beside some effects, and the rows."""
    from linearmodels.panel import PanelOLS, PooledOLS

    names = list(panel.roles.regressors)
    frame = long_frame(panel, ("y", *names)).assign(constant=1.0).set_index(["unit", "period"], drop=False)
    x = frame[[*names, "constant"]]
    if not effects:
        return PooledOLS(frame["y"], x), frame
    return PanelOLS(frame["y"], x, entity_effects="unit" in effects, time_effects="period" in effects), frame


def dummies_of(frame: pd.DataFrame, effects: tuple[str, ...]) -> np.ndarray:
    """A constant, and a column for every level of every effect of long rows."""
    unit = pd.get_dummies(frame["unit"]).to_numpy(float)
    columns = [np.ones((len(frame), 1))]
    for effect in effects:
        if effect == "unit-trend":
            columns.append(unit * (frame["period"].to_numpy(float) - 2004.0)[:, None])
            continue
        name = effect.removesuffix("-by-period")
        codes = frame[name] if name == effect else frame[name].astype(str) + frame["period"].astype(str)
        columns.append(pd.get_dummies(codes).to_numpy(float))
    return np.hstack(columns)
