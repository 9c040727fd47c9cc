"""Two-way effects as they are, and whole residual paths with random signs.

Levels are the fitted two-way effects; errors are the residuals, whole paths of units or of blocks of neighbours.

Each path keeps its unit and gets a random sign, which blocks of neighbours share: errors have the mean zero in
every unit-period, so that no estimate is moved by the panel's own noise, and each unit-period keeps its variance.
Residuals are larger by what the regression took of them: of never treated units, and of the others before and under
treatment.
"""

from __future__ import annotations

import numpy as np

from experiments.twins.methods import MethodFit, Parameter, kept_levels, kept_variables
from experiments.twins.real import Real
from experiments.twins.statistics import root_mean_square
from sim.arrays import Floats

KIND = "residual"
BLOCK = 8  # neighbours that are drawn together where there is a W
FEWEST_BLOCKS = 12  # whose signs give thousands of different panels
FEW = "Residual twins have {} block{} of neighbours with a sign each, too few for a null: they have no vote."
FEWEST_APART = 4  # units treated otherwise than most: the noise of one is in its effect, two have four pairs of signs
APART = "All units but {} are treated alike, so that few signs move an estimate on residual twins: they have no vote."


def fit(real: Real) -> MethodFit:
    """Effects and residuals of the regression."""
    residuals = real.parts.residuals[0]
    raw = float(root_mean_square(residuals[None])[0])
    paths = residuals * restored(real)
    sd = float(root_mean_square(paths[None])[0])
    block = real.section.block or (min(BLOCK, len(paths[0]) // 2) if real.weights is not None else 1)
    blocks = len(paths[0]) // block
    few: tuple[str, ...] = () if blocks >= FEWEST_BLOCKS else (FEW.format(blocks, "" if blocks == 1 else "s"),)
    if real.policy is not None and not real.redraws_adoption and real.section.paths == "flipped":
        alike = np.unique(real.policy[0], axis=1, return_counts=True)[1]
        apart = int(alike.sum() - alike.max())
        few += (APART.format(apart),) if 0 < apart < FEWEST_APART else ()
    errors = {"kind": "residuals", "variable": f"{KIND}.residual", "draw": real.section.paths, "block": block}
    return MethodFit(
        levels=kept_levels(KIND),
        errors=errors | {"sd": sd, "scale": 1.0},
        parameters=(Parameter("errors.sd", sd, "root mean square of the residuals", raw),),
        variables=kept_variables(KIND, real.additive) | {f"{KIND}.residual": paths},
        null=not few,
        notes=few,
    )


def restored(real: Real) -> Floats:
    """Factors that bring residuals to the size that errors without unit means have, by status of treatment, (T, N).

    The root of 1 - 1/T over the mean share of variance that residuals keep (HC2 by groups of unit-periods): unit means
    of paths are 0, and a regression takes nothing of them again.
    """
    treated = ~real.policy_off
    ever = np.broadcast_to(treated.any(axis=0), treated.shape)
    out = np.ones(treated.shape)
    for group in (~ever, ever & ~treated, treated):
        if group.any():
            out[group] = np.sqrt((1 - 1 / len(treated)) / real.freedom[group].mean())
    return out
