"""The linear regression with its constant reported, as the tables print it."""

from __future__ import annotations

from typing import Any

from estimators.linear.did import TwoWayDID


def panel_ols(
    outcome: str | None = None,
    regressors: tuple[str, ...] | None = None,
    effects: tuple[str, ...] = ("unit", "period"),
    **settings: Any,
) -> TwoWayDID:
    """`TwoWayDID` of other effects, with a constant unless `constant = False`."""
    return TwoWayDID(outcome, regressors, effects=effects, **{"constant": True, **settings})
