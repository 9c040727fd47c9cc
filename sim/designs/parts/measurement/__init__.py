"""How what is seen differs from what is."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from sim.arrays import Floats
from sim.designs.parts.part import Part


class MeasurementPart(Part):
    """Errors of what is seen of outcome and covariates; truths are those of the true values."""

    default: ClassVar[str] = "classical"

    outcome_sd: float
    covariate_sd: float

    @abstractmethod
    def seen(self, values: Floats, error: Floats | None, sd: float) -> Floats:
        """What is seen of values (R, T, N) with standard errors of measurement, None where sd is 0."""
