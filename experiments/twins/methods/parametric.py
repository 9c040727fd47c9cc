"""Two-way effects, and errors that last, spread over neighbours and differ in size, by indirect inference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from experiments.twins.calibrate import Calibration
from experiments.twins.errors_law import ErrorsLaw
from experiments.twins.levels_law import LevelsLaw
from experiments.twins.methods import Fit, Method, additive_part, kept_levels
from experiments.twins.real import Real

Floats = NDArray[np.float64]

WALKS = (
    "The errors cannot be told from a random walk (level 5%): the fit has the AR coefficients {}, and coefficients at "
    "the edge of stationarity bring such residuals too."
)
APART = (
    "Stationary errors that last so long would set units further apart than they are, so the errors of the twin are "
    "deviations from units' means. Estimates with unit effects do not depend on this."
)
ENDED = "The fit of {} did not reach the panel's statistics within their Monte Carlo errors: {}."


@dataclass(frozen=True, slots=True)
class Parametric(Method):
    """Parameters at which the statistics of simulated panels are those of the real one."""

    kind: ClassVar[str] = "parametric"

    def fit(self, real: Real) -> Fit:
        """Errors first, by the two-way residuals, on which levels have no influence; then levels, by their means."""
        law = ErrorsLaw.of(real).with_order()
        law, found = law.with_distribution()
        part = law.part(found.values)
        notes = [*_edges(law, found, part.ar)]
        if "levels" in real.section.keep:
            return self._kept(real, law, found, notes)
        levels = LevelsLaw(real, law, part)
        effects = levels.fitted()
        if levels.units_are_apart(effects):
            notes.append(APART)
            law = replace(law, unit_means=0.0)
            levels = LevelsLaw(real, law, law.part(found.values))
            effects = levels.fitted()
        notes += _unmatched("levels", levels.names, levels.target, effects)
        table = {"kind": "effects", "mean": real.mean, **levels.table(effects.values)}
        parameters = (*law.parameters(found), *levels.parameters(effects))
        return Fit(table, law.table(found.values), parameters, notes=tuple(notes))

    def _kept(self, real: Real, law: ErrorsLaw, found: Calibration, notes: list[str]) -> Fit:
        additive = additive_part(real.rest)
        variables = {f"{self.kind}.additive": additive, f"{self.kind}.interactive": np.zeros_like(additive)}
        return Fit(
            kept_levels(self.kind), law.table(found.values), law.parameters(found), variables, notes=tuple(notes)
        )


def _edges(law: ErrorsLaw, found: Calibration, ar: tuple[float, ...]) -> list[str]:
    """What a reader should know of parameters at an end of their range."""
    notes = []
    if law.is_walk(found):
        notes.append(WALKS.format(_numbers(ar)))
    if not found.matched:
        notes += _unmatched("errors", law.names, law.target, found)
    return notes


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


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)
