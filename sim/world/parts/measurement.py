"""How what is seen differs from what is."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sim.arrays import Floats
from sim.world.context import NOT_NEGATIVE, Part


class MeasurementPart(Part):
    """Errors of what is seen of outcome and covariates; truths are those of the true values."""

    default: ClassVar[str] = "classical"

    outcome_sd: float
    covariate_sd: float

    @abstractmethod
    def seen(self, values: Floats, error: Floats | None, sd: float) -> Floats:
        """What is seen of values (R, T, N) with standard errors of measurement, None where sd is 0."""


# Classical errors of measurement, and rounding.


@dataclass(frozen=True, slots=True)
class Classical(MeasurementPart):
    """Independent normal errors on what is seen; the outcome itself, effects and coefficients stay the true ones.

    outcome_sd: standard deviation of the error of the outcome, drawn in every replication. covariate_sd: that of every
    covariate, drawn once a world unless redraw names "covariates". rounding: step to which the outcome and covariates
    are rounded; 0 leaves all digits.
    """

    kind: ClassVar[str] = "classical"
    ranges: ClassVar = {"outcome_sd": NOT_NEGATIVE, "covariate_sd": NOT_NEGATIVE, "rounding": NOT_NEGATIVE}

    outcome_sd: float = 0.0
    covariate_sd: float = 0.0
    rounding: float = 0.0

    def seen(self, values: Floats, error: Floats | None, sd: float) -> Floats:
        """Values and errors, rounded."""
        noisy = values if error is None else values + sd * error
        return np.asarray(np.round(noisy / self.rounding) * self.rounding) if self.rounding else noisy
