"""esda's global autocorrelation of one cross-section, moments under normality and randomisation."""

from __future__ import annotations

from typing import Literal

import numpy as np

from experiments.application.references.reference import Reference
from experiments.application.references.spreg import as_libpysal
from sim.arrays import Floats
from sim.weights import Weights


def autocorrelation(values: Floats, weights: Weights, what: Literal["moran", "geary"]) -> Reference:
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
    return Reference(
        program="esda",
        terms=(what,),
        estimate=np.array([estimate]),
        se={name: np.sqrt([value]) for name, value in zip(("normality", "randomisation"), spread, strict=True)},
    )
