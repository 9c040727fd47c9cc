"""Who is treated in a twin: as in the real panel, by a fitted propensity, or as the spec says."""

from __future__ import annotations

from typing import Any

import numpy as np

from estimators.core.regression import logit
from experiments.settings import build
from experiments.twins.methods import Fit
from experiments.twins.real import Real
from sim.errors import bad
from sim.panel import Panel
from sim.streams import Streams
from sim.world.context import Ground, LevelParts, Places
from sim.world.parts.adoption import Propensity, scores
from sim.world.parts.levels import Fitted

GIVEN = ("coefficients", "intercept", "strength")  # dials that a spec may set instead of having them fitted
DATED = ("date", "last_periods", "date_weights")


def adoption_table(real: Real, fit: Fit, held: Panel, labels: tuple[int, ...]) -> dict[str, Any]:
    """The table [design.adoption]; raises BadInput where a propensity cannot be fitted.

    held: the panel that is kept. labels: the periods of the design.
    """
    asked = real.section.own_adoption
    if asked.get("kind") == "propensity":
        return _propensity(real, fit, held, labels)
    if asked:
        return dict(asked)
    if "calendar" in real.section.keep:
        return {"kind": "kept", "variable": real.treatment}
    return {"kind": "calendar", "dates": [[year, count] for year, count in dates_of(real, labels)]}


def dates_of(real: Real, labels: tuple[int, ...]) -> list[tuple[int, int]]:
    """First treated periods after the first, each with its number of units."""
    if real.policy is None:
        return []
    treated = real.policy[0] > 0
    first = treated.argmax(axis=0)[treated.any(axis=0)]
    return [(labels[t], int((first == t).sum())) for t in np.unique(first) if t > 0]


def _propensity(real: Real, fit: Fit, held: Panel, labels: tuple[int, ...]) -> dict[str, Any]:
    table = dict(real.section.own_adoption)
    part = build(Propensity, {key: value for key, value in table.items() if key != "kind"}, "[twin.adoption]")
    if not any(name in table for name in GIVEN):
        table |= _fitted(real, fit, held, part)
    if not any(name in table for name in DATED) and (dates := dates_of(real, labels)):
        table |= (
            {"date": dates[0][0]} if len(dates) == 1 else {"date_weights": [[year, count] for year, count in dates]}
        )
    return table | {"independent": part.independent}


def _fitted(real: Real, fit: Fit, held: Panel, part: Propensity) -> dict[str, Any]:
    """Coefficients and intercept of the logit of the indicator on the units' scores."""
    where = f"{real.spec.file}, [twin.adoption]"
    if real.indicator is None:
        raise bad("the panel has no treatment, and there is no indicator", where=where,
                  allowed="indicator = a column of 0 and 1", remedy="add indicator")  # fmt: skip
    for name in part.covariates:
        if name not in real.covariates:
            raise bad(f"covariates names no control: {name!r}", where=where, allowed="controls of [panel]",
                      remedy="add it to controls")  # fmt: skip
    x = scores(_ground(real, fit, held), part.on, part.covariates)
    if not x.shape[1]:
        raise bad('on = "factors" needs loadings', where=where, allowed='[twin] method = "factor"',
                  remedy="choose that method, or another on")  # fmt: skip
    found = logit(x, real.indicator > 0)
    if not found.converged:
        raise bad(f"the logit on {part.on} has no maximum: they separate the treated units from the others",
                  where=where, allowed="scores on which treated and other units overlap",
                  remedy="choose a lower rank, or another on")  # fmt: skip
    intercept, *slopes = found.coefficient.tolist()
    return {"intercept": intercept, "coefficients": slopes}


def _ground(real: Real, fit: Fit, held: Panel) -> Ground:
    """The real panel as a world in the making, with the fitted levels or, where they are drawn, the real ones."""
    origin = np.zeros(len(held.units))
    places = Places(held.units, origin, origin, real.group, origin, kept=held)
    covariates = {name: values[0] for name, values in real.covariates.items()}
    ground = Ground(places, real.panel.periods, real.weights, None, covariates)
    if fit.levels["kind"] == "fitted":
        levels = Fitted(method=fit.levels["method"]).settle(ground, Streams(0))
    else:
        time = np.arange(len(held.periods)) - (len(held.periods) - 1) / 2
        slopes = time @ (real.rest - real.rest.mean(axis=1, keepdims=True)) / (time @ time)
        parts = real.parts
        levels = LevelParts(parts.units[0], parts.periods[0], slopes, np.zeros((len(origin), 0)), real.rest)
    return Ground(places, real.panel.periods, real.weights, levels, covariates)
