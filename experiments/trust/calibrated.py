"""A p value from the twin: where the claim's t statistic stands among those of panels without an effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estimators.core.inversion import p_value_errors, p_values
from sim.arrays import Floats


@dataclass(frozen=True, slots=True)
class Calibrated:
    """(1 + number of |t*| >= |t|) / (B + 1) and its Monte Carlo error; panels without a t count as extreme."""

    pvalue: float
    mcse: float


def calibrated(statistic: float, null: Floats) -> Calibrated:
    """statistic: the claim's t; null (B,): those of twins with a zero effect."""
    p = p_values(np.array([statistic]), null[None])
    return Calibrated(float(p[0]), float(p_value_errors(p, len(null))[0]))
