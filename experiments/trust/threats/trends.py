"""Unequal trends: bounds of Rambachan and Roth (2023) on the cohort-wise estimates around adoption."""

from __future__ import annotations

import numpy as np

from estimators.staggered.honest import BoundsQuestion, breakdown
from estimators.staggered.trend_evidence import EventTimes
from experiments.trust.adoption import cohort_wise, core_of
from experiments.trust.claim import EFFECT
from experiments.trust.threats import Case, Threat

NAME = "unequal trends"
LARGEST = 1.0  # a change of trends as large as the largest one before adoption


def threat(case: Case) -> Threat | None:
    """Needed: the smallest multiple of the largest pre-trend change whose bounds cover zero; found: 1, that change."""
    if case.claim.dial != EFFECT:
        return None
    core = core_of(case.claim)
    path = EventTimes.of(cohort_wise(case.claim, core), core)
    if not path.pre or path.pre == len(path.events):
        return Threat(NAME, None, None, "times the largest change of trends before adoption", False,
                      f"Unequal trends could not be judged: {path.lacking}.")  # fmt: skip
    later = np.full(len(path.events) - path.pre, 1.0 / (len(path.events) - path.pre))
    question = BoundsQuestion(path.estimate, path.covariance, path.pre, later)
    needed = breakdown(question, "relative magnitudes")
    if needed == 0.0:
        said = "The cohort-wise estimates after adoption are not significant even where trends are parallel."
    elif not np.isfinite(needed):
        said = "No change of trends that was tried takes the effect away."
    else:
        said = (f"The effect vanishes when trends change after adoption by {needed:.2f} times the largest change "
                "before it.")  # fmt: skip
    return Threat(NAME, float(needed) if np.isfinite(needed) else None, LARGEST,
                  "times the largest change of trends before adoption", needed < LARGEST, said)  # fmt: skip
