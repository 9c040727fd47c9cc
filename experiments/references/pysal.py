"""spreg's maximum-likelihood panels with unit effects, with or without time dummies (ML_LagFE, ML_ErrorFE).

Data are stacked time-major, as spreg takes a long panel without asking. Time dummies among the regressors make it the
likelihood with both effects, and make its information matrix the one with demeaned GZb. Its own impacts are not used
(their direct effect is beta). Variables reach it around their means and in units of their standard deviations, which
unit effects allow, W with a spectral radius of one, for rho is looked for between -1 and 1. `epsilon` is the tolerance
of this search: much below its default of 1e-7.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from experiments.references.reference import ReferenceFit, scaled
from sim import Panel
from sim.arrays import Floats
from sim.weights import Weights

EPSILON = 1e-10


def spatial_panel(
    panel: Panel,
    model: Literal["sar", "sem", "sdm"],
    *,
    outcome: str | None = None,
    regressors: tuple[str, ...] | None = None,
    weights: str | None = None,
    effects: Literal["two-way", "unit"] = "two-way",
) -> ReferenceFit:
    """SAR, SEM or SDM of one real balanced panel by the `direct` likelihood; errors from the information matrix."""
    from spreg import ML_ErrorFE, ML_LagFE

    y = outcome or panel.roles.outcome
    names = panel.roles.regressors if regressors is None else regressors
    assert y is not None
    w = panel.weights[weights or next(iter(panel.weights))]
    x = [panel.variables[name][0] for name in names]
    terms = tuple(names)
    if model == "sdm":
        x += [w.lag(values) for values in x]
        terms += tuple(f"w_{name}" for name in names)
    values = np.column_stack([values.ravel() for values in (panel.variables[y][0], *x)])
    columns, _, units = scaled(values, centred=True)
    dependent, stacked = columns[:, :1], columns[:, 1:]
    options: dict[str, Any] = {} if model == "sem" else {"spat_impacts": None}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # spreg prints the name of its class
        warnings.simplefilter("ignore")  # spreg and scipy.sparse warn about formats
        fit = (ML_ErrorFE if model == "sem" else ML_LagFE)(
            dependent,
            stacked,
            as_libpysal(replace(w, matrix=w.matrix / w.radius)),
            time_effects=effects == "two-way",
            epsilon=EPSILON,
            **options,
        )
    coefficients = np.asarray(fit.betas, dtype=np.float64).ravel()
    slopes, unit = len(terms), units[0]
    errors = np.sqrt(np.diag(np.asarray(fit.vm, dtype=np.float64)))
    variance = float(np.asarray(fit.vm1)[-1, -1])  # of sigma2
    back = np.array([*(unit / units[1:]), 1.0 / w.radius, unit**2])
    return ReferenceFit(
        program="spreg",
        terms=(*terms, "lambda" if model == "sem" else "rho", "sigma2"),
        estimate=back * np.array([*coefficients[:slopes], coefficients[-1], float(np.squeeze(fit.sig2))]),
        se={"information": back * np.array([*errors[:slopes], errors[-1], np.sqrt(variance)])},
        statistics={"loglik": float(np.squeeze(fit.logll)) - dependent.size * float(np.log(unit))},
    )


def as_libpysal(weights: Weights) -> Any:
    """Our W as a libpysal W that keeps its entries as they are."""
    from libpysal.weights import WSP
    from scipy.sparse import csr_matrix

    return WSP(csr_matrix(weights.matrix)).to_W(silence_warnings=True)


# esda's global autocorrelation of one cross-section, moments under normality and randomisation.


def autocorrelation(values: Floats, weights: Weights, what: Literal["moran", "geary"]) -> ReferenceFit:
    """Moran's I or Geary's C of values (N,) with W as it is; se are the sd of both kinds of moments."""
    from esda import Geary, Moran

    w = as_libpysal(weights)
    w.transform = "O"
    if what == "moran":
        found = Moran(values, w, transformation="O", permutations=0)
        estimate, spread = found.I, (found.VI_norm, found.VI_rand)
    else:
        found = Geary(values, w, transformation="O", permutations=0)
        estimate, spread = found.C, (found.VC_norm, found.VC_rand)
    return ReferenceFit(
        program="esda",
        terms=(what,),
        estimate=np.array([estimate]),
        se={name: np.sqrt([value]) for name, value in zip(("normality", "randomisation"), spread, strict=True)},
    )
