"""A low-rank signal and autoregressive errors (Arkhangelsky, Athey, Hirshberg, Imbens and Wager 2021, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from experiments.twins.methods import Fit, Method, Parameter, additive_part, kept_levels
from experiments.twins.real import Real
from experiments.twins.statistics import autoregression
from sim.designs.parts.scores import is_stationary
from sim.errors import bad

Floats = NDArray[np.float64]

RANK, ORDER = 2, 1  # where the spec says nothing


@dataclass(frozen=True, eq=False, slots=True)
class LowRank:
    """The first terms of a singular value decomposition: signal (T, N), loadings (N, r) = sqrt(N) times the vectors of
    units, each with a positive sum, rest (T, N)."""

    signal: Floats
    loadings: Floats
    rest: Floats


def low_rank(values: Floats, rank: int) -> LowRank:
    """The decomposition of (T, N)."""
    left, sizes, right = np.linalg.svd(values, full_matrices=False)
    signal = (left[:, :rank] * sizes[:rank]) @ right[:rank]
    vectors = right[:rank].T * np.where(right[:rank].sum(axis=1) < 0, -1.0, 1.0)
    return LowRank(signal, np.sqrt(values.shape[1]) * vectors, values - signal)


@dataclass(frozen=True, slots=True)
class Factor(Method):
    """Levels are the first singular terms of the outcome, kept as they are; errors are an autoregression of the rest.

    A unit's errors have the covariance s R: R holds the correlations of an AR(p) with the coefficients of pooled least
    squares, and s makes the Frobenius norm that of the empirical covariance.
    """

    kind: ClassVar[str] = "factor"

    def fit(self, real: Real) -> Fit:
        """The decomposition of what the effect and the controls leave of the outcome."""
        order, rank = real.section.ar or ORDER, real.section.rank or min(RANK, min(real.y.shape[1:]) - 1)
        parts = low_rank(real.rest, rank)
        raw = autoregression(parts.rest[None], order)[0]
        digits = real.section.round
        coefficients = raw if digits is None else np.round(raw, digits)
        if not is_stationary(tuple(coefficients)):
            raise bad(f"the residuals of rank {rank} follow no stationary AR({order})",
                      where=f"{real.spec.file}, [twin] method = factor", allowed="a stationary autoregression",
                      remedy="choose another rank or ar")  # fmt: skip
        periods, units = parts.rest.shape
        sd = float(np.sqrt(np.linalg.norm(parts.rest @ parts.rest.T / units) / np.sqrt(periods)))
        serial = [float(value) for value in coefficients]
        additive = additive_part(parts.signal)
        return Fit(
            levels=kept_levels(self.kind),
            errors={"kind": "process", "sd": sd, "serial": serial, "keeps": "norm", "scale": 1.0},
            parameters=(
                Parameter(
                    "errors.sd", sd, "root mean square of the rest", float(np.sqrt(np.square(parts.rest).mean()))
                ),
                *(
                    Parameter(f"errors.serial {k}", value, f"coefficient of lag {k}", float(own))
                    for k, (value, own) in enumerate(zip(serial, raw, strict=True), 1)
                ),
            ),
            variables={f"{self.kind}.additive": additive, f"{self.kind}.interactive": parts.signal - additive},
            attributes={f"{self.kind}.factor{k}": column for k, column in enumerate(parts.loadings.T, 1)},
        )
