"""How residuals of the two-way regression depend on one another, in numbers."""

from __future__ import annotations

import numpy as np

from estimators.sensitivity.residual_dependence import bias_corrected, pesaran_cd, serial_correlation
from experiments.trust.trust import Trust
from experiments.twins.real import Real
from experiments.twins.statistics import moran_by_period


def diagnostics(found: Trust) -> dict[str, float | None]:
    """AR(1), raw and corrected for few periods, Moran's I (mean of periods, first W) and Pesaran's CD."""
    real = Real.of(found.claim.sample)
    residuals = real.parts.residuals
    raw = serial_correlation(residuals[0])
    corrected = bias_corrected(raw, np.ones((1, len(residuals[0])), dtype=bool))
    moran = None if real.weights is None else float(moran_by_period(residuals, real.weights).mean())
    return {"ar1_raw": raw, "ar1": corrected, "moran": moran, "pesaran_cd": pesaran_cd(residuals[0])}
