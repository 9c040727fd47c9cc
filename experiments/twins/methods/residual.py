"""Two-way effects as they are, and whole residual paths drawn again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from experiments.twins.methods import Fit, Method, Parameter, additive_part, kept_levels
from experiments.twins.real import Real
from experiments.twins.statistics import root_mean_square

Floats = NDArray[np.float64]

BLOCK = 8  # neighbours that are drawn together where there is a W


@dataclass(frozen=True, slots=True)
class Residual(Method):
    """Levels are the fitted two-way effects; errors are the two-way residuals, whole paths of units or of blocks of
    neighbours, at the size at which residuals of twins are as large as those of the panel."""

    kind: ClassVar[str] = "residual"

    def fit(self, real: Real) -> Fit:
        """Effects and residuals of the two-way regression."""
        residuals = real.parts.residuals
        raw = float(root_mean_square(residuals)[0])
        _, periods, units = residuals.shape
        free = periods * (units - 1) - len(real.regressors)  # unit means of paths are 0, and take nothing again
        sd = raw * float(np.sqrt(periods * units / max(free, 1)))
        block = real.section.block or (min(BLOCK, units // 2) if real.weights is not None else 1)
        additive = additive_part(real.rest)
        return Fit(
            levels=kept_levels(self.kind),
            errors={"kind": "residuals", "variable": f"{self.kind}.residual", "block": block, "sd": sd, "scale": 1.0},
            parameters=(Parameter("errors.sd", sd, "root mean square of the residuals", raw),),
            variables={
                f"{self.kind}.additive": additive,
                f"{self.kind}.interactive": np.zeros_like(additive),
                f"{self.kind}.residual": residuals[0],
            },
        )
