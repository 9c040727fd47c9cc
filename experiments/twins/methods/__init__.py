"""Methods by which a twin is fitted: one module each, whose function `fit` makes a `MethodFit` of a panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from experiments.twins.real import Real
from sim.arrays import Floats

NEARBY = 30  # worlds that panels of the fitted world would give


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a twin. dial: of the design; raw: the panel's own statistic (what: in words); value: as fitted;
    se: its standard error over panels of the fitted world, NaN where the parameter is at an end of its range or
    chosen."""

    dial: str
    value: float
    what: str
    raw: float
    se: float = float("nan")


@dataclass(frozen=True, eq=False, slots=True)
class MethodFit:
    """What a method made of a panel.

    levels, errors: tables of the design. variables (T, N), attributes (N,): what these tables read of the panel that is
    kept. parameters: what was fitted. notes: in words, what a reader should know of the fit. covariance (P, P): of the
    parameters over panels of the fitted world. nearby: levels and errors as panels of the fitted world would give them,
    () where a method has no parameters to fit again. null: whether the twin can serve as a world without an effect.
    """

    levels: Mapping[str, Any]
    errors: Mapping[str, Any]
    parameters: tuple[Parameter, ...]
    variables: Mapping[str, Floats] = field(default_factory=dict)
    attributes: Mapping[str, Floats] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    covariance: Floats | None = None
    nearby: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()
    null: bool = True


def parameters_with_errors(
    values: Mapping[str, float], words: Sequence[tuple[str, float]], draws: Floats
) -> tuple[tuple[Parameter, ...], Floats]:
    """Parameters by dial beside their statistics, with standard errors and covariance of draws (R, P) of the
    parameters."""
    covariance = np.atleast_2d(np.cov(draws, rowvar=False))
    errors = np.sqrt(np.diag(covariance))
    listed = zip(values.items(), words, errors.tolist(), strict=True)
    made = tuple(Parameter(dial, value, *word, se or float("nan")) for (dial, value), word, se in listed)
    return made, covariance


def fit_by(method: str, real: Real) -> MethodFit:
    """Levels and errors of a panel by the method of a name; raises BadInput where the panel does not allow it."""
    found: MethodFit = import_module(f"{__name__}.{method}").fit(real)
    return found


def kept_levels(method: str) -> dict[str, Any]:
    """The table [design.levels] of fitted levels, with its dials at 1 to be set to 0."""
    return {"kind": "fitted", "method": method, "additive": 1.0, "interactive": 1.0}


def kept_variables(method: str, additive: Floats, interactive: Floats | None = None) -> dict[str, Floats]:
    """Fitted levels as the variables that `kept_levels` reads, (T, N) each; without an interactive part it is 0."""
    return {
        f"{method}.additive": additive,
        f"{method}.interactive": additive * 0 if interactive is None else interactive,
    }
