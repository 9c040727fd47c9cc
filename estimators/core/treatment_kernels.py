"""What an estimator offers when many treatments of one panel are asked for: all else computed once, no fit of each.

Studies of placebo designs and permutation tests find it through the estimator: `Estimator.treatment_kernel`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats

ROWS = 24  # of every product of small matrices: always as many, so that a draw's bits do not depend on the batch


@dataclass(frozen=True, eq=False, slots=True)
class TreatmentFits:
    """R outcomes under B treatments: estimate, se (R, B, K), NaN where there is none; status (R, B)."""

    terms: tuple[str, ...]
    estimate: Floats
    se: Floats
    status: NDArray[np.uint8]

    def of(self, term: str) -> tuple[Floats, Floats]:
        """Estimates and standard errors of a term, (R, B) each."""
        k = self.terms.index(term)
        return self.estimate[:, :, k], self.se[:, :, k]


@dataclass(frozen=True, eq=False, slots=True)
class ShiftedFits:
    """A coefficient and its variance up to a factor when the outcome is y - c D with the real treatment D.

    b (R, B) and slope (1, B): coefficients of y and of D; the variance is v0 + c v1 + c^2 v2, v0 and v1 (R, B), v2
    (1, B).
    """

    b: Floats
    slope: Floats
    v0: Floats
    v1: Floats
    v2: Floats

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN
    def t(self, c: Floats) -> Floats:
        """t statistics up to a factor, (R, B), at c (R,)."""
        at = c[:, None]
        return (self.b - at * self.slope) / np.sqrt(np.maximum(self.v0 + at * self.v1 + at**2 * self.v2, 0.0))


class AssignedTreatments(ABC):
    """B treatments of a panel, ready for any outcome; outcomes y (R, T, N) are raw."""

    @abstractmethod
    def estimates(self, y: Floats) -> Floats:
        """Estimates alone, (R, B, K), NaN where a fit fails."""

    @abstractmethod
    def fit(self, y: Floats) -> TreatmentFits:
        """Estimates and standard errors."""


class LinearlyAssigned(AssignedTreatments):
    """The same of an estimator with one term that is linear in the outcome: its tests have intervals by inversion."""

    @abstractmethod
    def shifted(self, y: Floats, real: Floats) -> ShiftedFits:
        """The fits of y - c D, D = real (1, T, N), as functions of c."""


class TreatmentKernel(ABC):
    """An estimator on a panel whose treatment is left open: what outcome-free numbers follow from all else."""

    terms: tuple[str, ...]

    @abstractmethod
    def assign(self, given: Any) -> AssignedTreatments:
        """B treatments: first treated periods (B, N), T = never; D (B, T, N); or `treatments.PathCodes`."""


def product(left: Floats, right: Floats) -> Floats:
    """left @ right by blocks of ROWS rows, the last one filled with zeros."""
    padded = -(-len(left) // ROWS) * ROWS
    full = left
    if padded > len(left):
        full = np.zeros((padded, left.shape[1]))
        full[: len(left)] = left
    return np.matmul(full.reshape(-1, ROWS, left.shape[1]), right).reshape(padded, -1)[: len(left)]
