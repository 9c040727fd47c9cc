"""Goodness of fit that needs predictions: squared correlations with and without the fixed effects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from estimators.spatial.cross_products import SpatialMoments
from estimators.spatial.form import SpatialForm
from estimators.spatial.spectrum import Spectrum

Floats = NDArray[np.float64]

FIT_STATISTICS = (
    "r2_corr",
    "r2_reduced_within", "r2_reduced_between", "r2_reduced_overall",
    "r2_naive_within", "r2_naive_between", "r2_naive_overall",
)  # fmt: skip


def fit_statistics(
    form: SpatialForm, slopes: Floats, rho: Floats, moments: SpatialMoments, spectrum: Spectrum
) -> dict[str, Floats]:
    """Squared correlations, each (R,).

    r2_corr: of Qy with S QZb (Elhorst's "corrected" R2). The others: of y with its prediction without fixed effects, of
    demeaned values (within), unit means (between) or all values (overall); prediction in reduced form, S (Xb + WXt), or
    naive, rho Wy + Xb + WXt. Without a lag of the outcome both are Xb + WXt.
    """
    assert moments.y is not None
    assert moments.x is not None
    y, x = moments.y, moments.x[:, : slopes.shape[1]]
    signal = np.einsum("rp,rptn->rtn", slopes, x)
    within = _demean(signal)
    if not form.lag:
        reduced, naive, corrected = signal, signal, within
    else:
        reduced, corrected = np.empty_like(y), np.empty_like(y)
        for row, value in enumerate(rho):  # S x = x + rho G x
            both = np.stack([signal[row], within[row]])
            reduced[row], corrected[row] = both + value * spectrum.multiplier.apply(float(value), both)
        naive = signal + rho[:, None, None] * spectrum.weights.lag(y)
    out = {"r2_corr": _squared_correlation(_demean(y), corrected)}
    for name, prediction in (("reduced", reduced), ("naive", naive)):
        changes = [values - values.mean(axis=1, keepdims=True) for values in (y, prediction)]
        out[f"r2_{name}_within"] = _squared_correlation(*changes)
        out[f"r2_{name}_between"] = _squared_correlation(y.mean(axis=1), prediction.mean(axis=1))
        out[f"r2_{name}_overall"] = _squared_correlation(y, prediction)
    return {name: out[name] for name in FIT_STATISTICS}


def _demean(x: Floats) -> Floats:
    out = x - x.mean(axis=1, keepdims=True)
    return np.asarray(out - out.mean(axis=2, keepdims=True))


def _squared_correlation(x: Floats, y: Floats) -> Floats:
    x, y = x.reshape(x.shape[0], -1), y.reshape(y.shape[0], -1)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.vecdot(x, y) ** 2 / (np.vecdot(x, x) * np.vecdot(y, y)))
