"""Two-way effects, and errors that last, spread over neighbours and differ in size, by indirect inference.

Parameters at which the statistics of simulated panels are those of the real one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from experiments.twins.laws import Calibration, ErrorsLaw, LevelsLaw, few_of
from experiments.twins.methods import NEARBY, MethodFit, kept_levels, kept_variables, parameters_with_errors
from experiments.twins.real import Real
from sim.arrays import Floats

KIND = "parametric"
WALKS = (
    "The errors cannot be told from a random walk (level 5%): the fit has the AR coefficients {}, and coefficients at "
    "the edge of stationarity bring such residuals too."
)
APART = (
    "Stationary errors that last so long would set units further apart than they are, so the errors of the twin are "
    "deviations from units' means. Estimates with unit effects do not depend on this."
)
ONE_EFFECT = (
    "The treatment does not last once it has begun, is no 0 or 1, or has one unit a cohort: errors are fitted to "
    "residuals of one constant effect, so that an effect that differs between unit-periods counts as noise."
)
ENDED = "The fit of {} did not reach the panel's statistics within their Monte Carlo errors: {}."


def fit(real: Real) -> MethodFit:
    """Errors first, by the residuals, on which levels have no influence; then levels, by their means."""
    law, found = ErrorsLaw.of(real).fit()
    notes = []
    if law.is_walk(found):
        notes.append(WALKS.format(", ".join(f"{value:.3f}" for value in law.part(found.values).ar)))
    notes += _unmatched("errors", law.names, law.target, found)
    notes += [ONE_EFFECT] if real.policy is not None and real.regression.cohorts is None else []
    if "levels" in real.section.keep:
        errors_by, kept = law.nearby(found), kept_levels(KIND)
        drawn = np.array([[*law.named(own).values()] for own in errors_by])
        statistics = [*zip(law.names, law.target.tolist(), strict=True)]
        parameters, covariance = parameters_with_errors(law.named(found.values), statistics, drawn)
        return MethodFit(
            kept,
            law.table(found.values),
            parameters,
            kept_variables(KIND, real.additive),
            notes=tuple(notes),
            covariance=covariance,
            nearby=tuple((kept, law.table(own)) for own in few_of(errors_by, NEARBY, *law.ends)),
        )
    levels = LevelsLaw(real, law, law.part(found.values))
    effects = levels.fitted()
    if effects.values[0] <= 0.0 and effects.statistics[0] > levels.target[0] + effects.mcse[0]:
        # the errors alone set the means of units further apart than those of the panel are
        notes.append(APART)
        law = replace(law, unit_means=0.0)
        levels = LevelsLaw(real, law, law.part(found.values))
        effects = levels.fitted()
    notes += _unmatched("levels", levels.names, levels.target, effects)
    errors_by, levels_by = law.nearby(found), levels.nearby(effects)
    words = zip((*law.names, *levels.names), (*law.target.tolist(), *levels.target.tolist()), strict=True)
    draws = [
        [*law.named(own).values(), *levels.named(of).values()] for own, of in zip(errors_by, levels_by, strict=True)
    ]
    parameters, covariance = parameters_with_errors(
        law.named(found.values) | levels.named(effects.values), [*words], np.array(draws)
    )

    def table(values: Floats) -> dict[str, Any]:
        return {"kind": "effects", "mean": real.mean, **levels.table(values)}

    ends = zip(levels.ends, law.ends, strict=True)
    drawn = few_of(np.hstack([levels_by, errors_by]), NEARBY, *map(np.concatenate, ends))
    of, own = np.split(drawn, [levels_by.shape[1]], axis=1)
    nearby = tuple((table(a), law.table(b)) for a, b in zip(of, own, strict=True))
    return MethodFit(table(effects.values), law.table(found.values), parameters, notes=tuple(notes),
               covariance=covariance, nearby=nearby)  # fmt: skip


def _unmatched(what: str, names: tuple[str, ...], target: Floats, found: Calibration) -> list[str]:
    if found.matched:
        return []
    off = (np.abs(target - found.statistics) > found.mcse) & ~found.edge
    said = [
        f"{name} {there:.4g} in the twin, {real:.4g} in the panel"
        for name, there, real, far in zip(names, found.statistics, target, off, strict=True)
        if far
    ]
    return [ENDED.format(what, "; ".join(said))] if said else []
