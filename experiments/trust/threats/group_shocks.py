"""Shocks that units of a group share: the estimate with effects of groups by periods."""

from __future__ import annotations

from dataclasses import replace

from estimators.linear.did import TwoWayDID
from experiments.trust.claim import EFFECT
from experiments.trust.threats import TOWARDS_ZERO, Case, Threat
from experiments.twins.real import Real
from sim.streams import Streams

NAME = "shocks shared within groups"


def threat(case: Case) -> Threat | None:
    """Needed: the change of the estimate that takes its significance away; found: its change with such effects."""
    own = case.claim.fitted.estimator
    if not isinstance(own, TwoWayDID) or own.effects != ("unit", "period") or case.claim.dial != EFFECT:
        return None
    group = grouping(case)
    if not group:
        return None
    estimator = replace(own, effects=("unit", f"{group}-by-period"), errors=(case.recommended,), label="within-groups",
                        constant=False, terms=(case.claim.term,))  # fmt: skip
    found = estimator(case.claim.panel, Streams(case.main.study.seed))
    estimate, se = float(found.estimate[0, 0]), float(found.se[0, 0, 0])
    over = case.overturned(estimate, se)
    said = (f"With {group}-by-period effects the estimate is {estimate:.4g} (s.e. {se:.2g}): "
            f"{case.words(over)}.")  # fmt: skip
    return Threat(NAME, case.margin(), case.towards_zero(estimate), TOWARDS_ZERO, over, said,
                  {"estimate": estimate, "se": se})  # fmt: skip


def grouping(case: Case) -> str:
    """The attribute whose units may share shocks; "" = none."""
    return Real.of(case.claim.real).grouping
