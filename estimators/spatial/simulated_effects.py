"""Standard errors and intervals of effects by simulation (LeSage and Pace 2009, chapter 5).

Parameters are drawn from the normal distribution around the estimate with its covariance; the effects of each draw give
a standard deviation and quantiles. A draw whose rho or lambda lies outside the interval that the likelihood is defined
on is rejected and counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimators.spatial.effects import effects_of
from estimators.spatial.form import SpatialForm
from estimators.spatial.spectrum import Spectrum

Floats = NDArray[np.float64]

LEVEL = 0.05  # of the intervals


@dataclass(frozen=True, eq=False, slots=True)
class Simulated:
    """se, lower, upper (R, K) of parameters and effects; rejected (R,) draws."""

    se: Floats
    lower: Floats
    upper: Floats
    rejected: Floats


def simulate(
    parameters: Floats, covariance: Floats, normals: Floats, form: SpatialForm, spectrum: Spectrum
) -> Simulated:
    """From parameters (R, P + S + 1), their covariance and standard normals (draws, P + S + 1), used in every row."""
    rows = [
        _row(point, variance, normals, form, spectrum) for point, variance in zip(parameters, covariance, strict=True)
    ]
    se, lower, upper, rejected = (np.array(part) for part in zip(*rows, strict=True))
    return Simulated(se, lower, upper, rejected)


def _row(
    point: Floats, covariance: Floats, normals: Floats, form: SpatialForm, spectrum: Spectrum
) -> tuple[Floats, Floats, Floats, float]:
    s = len(form.parameters)
    p, kinds = len(point) - s - 1, len(form.effect_kinds)
    size = len(point) + kinds * (p // 2 if form.durbin else p)
    if not (np.isfinite(point).all() and np.isfinite(covariance).all()):
        nothing = np.full(size, np.nan)
        return nothing, nothing, nothing, np.nan
    draws = point + normals @ _root(covariance).T
    inside = (np.abs(draws[:, p : p + s]) * spectrum.weights.radius < 1).all(axis=1)
    kept = draws[inside]
    if len(kept) < 2:
        nothing = np.full(size, np.nan)
        return nothing, nothing, nothing, float(len(draws) - len(kept))
    rho = np.ascontiguousarray(kept[:, p]) if form.lag else np.zeros(len(kept))
    effects = effects_of(kept[:, :p], rho, spectrum.traces(rho, "direct"), len(spectrum.weights.units), form)
    values = np.concatenate([kept, effects], axis=1)
    lower, upper = np.quantile(values, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return values.std(axis=0, ddof=1), lower, upper, float(len(draws) - len(kept))


def _root(covariance: Floats) -> Floats:
    """R with RR' = V, through the correlation matrix; negative eigenvalues count as zero."""
    scale = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    safe = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(safe, safe))
    return np.asarray(scale[:, None] * vectors * np.sqrt(np.maximum(values, 0.0)))
