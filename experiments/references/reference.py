"""What a reference program says about one real panel, in the names that our own estimates use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from estimators import Estimates
from sim import Panel
from sim.arrays import Floats


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceFit:
    """Another program's answer on one panel: estimate (K,) of the terms, se (K,) by error type, fit statistics."""

    program: str
    terms: tuple[str, ...]
    estimate: Floats
    se: Mapping[str, Floats]
    statistics: Mapping[str, float] = field(default_factory=dict)

    def ours(self, estimates: Estimates) -> Floats:
        """Our estimates of the same terms, (K,)."""
        return estimates.estimate[0, self._columns(estimates)]

    def our_se(self, estimates: Estimates, error: str) -> Floats:
        """Our standard errors of the same terms and error type, (K,)."""
        return estimates.se[0, estimates.errors.index(error), self._columns(estimates)]

    def _columns(self, estimates: Estimates) -> list[int]:
        return [estimates.terms.index(term) for term in self.terms]


def scaled(values: Floats, *, centred: bool) -> tuple[Floats, Floats, Floats]:
    """Columns (rows, K) as another program can invert them, centre and unit (K,): values = centre + unit columns.

    They are around their means where that changes the constant alone (centred). Units are the powers of two next to
    the standard deviations, so that they cost no digits.
    """
    first = values[0] if centred else np.zeros(values.shape[1])
    mean = (values - first).mean(axis=0)  # of differences: a level costs no digits
    centre = first + mean if centred else first
    spread = np.sqrt(np.square(values - first - mean).mean(axis=0))
    unit = np.exp2(np.rint(np.log2(np.where(spread > 0, spread, 1.0))))
    return (values - centre) / unit, centre, unit


def long_frame(panel: Panel, names: tuple[str, ...]) -> pd.DataFrame:
    """The observed rows of a real panel, time-major: unit and period as numbers, the variables, the attributes."""
    t, n = len(panel.periods), len(panel.units)
    columns = {
        "unit": np.tile(np.arange(n), t),
        "period": np.repeat(np.array(panel.periods), n),
        **{name: panel.variables[name][0].ravel() for name in names},
        **{name: np.tile(values, t) for name, values in panel.attributes.items()},
    }
    frame = pd.DataFrame(columns)
    return frame if panel.observed is None else frame[panel.observed[0].ravel()].reset_index(drop=True)
