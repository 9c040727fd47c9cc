"""One influential group or cohort: the estimate without each in turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.trust.threats import TOWARDS_ZERO, Case, Threat
from experiments.trust.threats.group_shocks import grouping
from results.tables.records import Record
from sim.arrays import Flags
from sim.errors import BadInput
from sim.panel.panel import part

NAME = "one influential group or cohort"


@dataclass(frozen=True, slots=True)
class Without:
    """The estimate without some units: what was left out in words, estimate and standard error."""

    what: str
    estimate: float
    se: float


def threat(case: Case) -> Threat | None:
    """Needed: the change that takes the significance away; found: the largest one towards zero without a group."""
    found = list(without_each(case))
    if not found:
        return None
    largest = max(found, key=lambda one: case.towards_zero(one.estimate))
    lost = [one for one in found if case.overturned(one.estimate, one.se)]
    ends = min(one.estimate for one in found), max(one.estimate for one in found)
    said = (f"Leaving out one group or cohort at a time, the estimate lies between {ends[0]:.4g} and {ends[1]:.4g}; "
            f"it is nearest to zero without {largest.what}. ")  # fmt: skip
    said += (f"Without {lost[0].what} it is not significant ({lost[0].estimate:.4g}, s.e. {lost[0].se:.2g})."
             if lost else f"Each time, {case.words(over=False)}.")  # fmt: skip
    numbers = {"lowest": ends[0], "highest": ends[1]}
    numbers |= {"lost_estimate": lost[0].estimate, "lost_se": lost[0].se} if lost else {}
    return Threat(NAME, case.margin(), case.towards_zero(largest.estimate), TOWARDS_ZERO, bool(lost), said, numbers)


def without_each(case: Case) -> Iterator[Without]:
    """The claim on the panel without each group of units, and without each cohort of adopters."""
    for what, units in _parts(case):
        try:
            record = _fit(case, ~units)
        except BadInput:
            continue
        if record.estimate is not None and record.se is not None:
            yield Without(what, record.estimate, record.se)


def _fit(case: Case, units: Flags) -> Record:
    claim = case.claim
    panel = claim.panel
    if panel.weights:
        whole = dict(zip(panel.units, units, strict=True))
        kept = np.array([whole.get(unit, False) for unit in claim.real.panel.units])
        panel = claim.real.subset(kept)
    else:
        panel = part(panel, units, np.ones(len(panel.periods), dtype=bool))
    return claim.on(panel)[case.recommended]


def _parts(case: Case) -> Iterator[tuple[str, Flags]]:
    """Units of each group and of each cohort, in words and as (N,)."""
    panel = case.claim.panel
    name = grouping(case)
    if name:
        codes: NDArray[np.str_] = panel.attributes[name].astype(str)
        for label in np.unique(codes):
            yield f"{name} {label}", codes == label
    treated = panel.variables[str(panel.roles.treatment)][0] > 0
    first = np.where(treated.any(axis=0), treated.argmax(axis=0), -1)
    dates = np.unique(first[first >= 0])
    if len(dates) > 1:
        for date in dates:
            yield f"the cohort of {panel.periods[int(date)]}", first == date
