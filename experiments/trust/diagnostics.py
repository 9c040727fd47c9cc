"""How residuals of the two-way regression depend on one another, in numbers."""

from __future__ import annotations

from estimators.sensitivity.residual_dependence import pesaran_cd
from experiments.trust.trust import Trust
from experiments.twins.real import Real
from experiments.twins.statistics import autoregression, moran_by_period


def diagnostics(found: Trust) -> dict[str, float | None]:
    """AR(1) raw and as fitted to the twin, Moran's I (mean over periods, with the first W) and Pesaran's CD."""
    real = Real.of(found.claim.real)
    residuals = real.parts.residuals
    fitted = next((item.value for item in found.twin.parameters if item.dial.startswith("errors.serial")), None)
    moran = None if real.weights is None else float(moran_by_period(residuals, real.weights).mean())
    return {"ar1_raw": float(autoregression(residuals, 1)[0, 0]), "ar1": fitted, "moran": moran,
            "pesaran_cd": pesaran_cd(residuals[0])}  # fmt: skip
