"""The tables of a twin's study: a `panel` design, what of it is kept real, and the estimators of the claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from estimators.core.error_types import without_se
from estimators.core.regression import logit_or_firth
from experiments.settings import build
from experiments.tables.ledger import clustered_enough, error_types, main_cluster
from experiments.twins.methods import MethodFit
from experiments.twins.real import Real
from experiments.twins.statistics import autoregression, within
from sim.arrays import Floats
from sim.errors import bad
from sim.panel import Panel
from sim.schema import Roles, period_step
from sim.streams import Streams
from sim.world.context import LevelParts, Places, WorldContext
from sim.world.parts.adoption import Propensity, scores
from sim.world.parts.levels import FittedLevels

# Who is treated in a twin: as in the real panel, by a fitted propensity, or as the spec says.


GIVEN = ("coefficients", "intercept", "strength")  # dials that a spec may set instead of having them fitted
DATED = ("date", "last_periods", "date_weights")


def adoption_table(real: Real, fit: MethodFit, held: Panel, labels: tuple[int, ...]) -> dict[str, Any]:
    """The table [design.adoption]; raises BadInput where a propensity cannot be fitted.

    held: the panel that is kept. labels: the periods of the design.
    """
    asked = real.section.own_adoption
    if asked.get("kind") == "propensity":
        return _propensity(real, fit, held, labels)
    if asked:
        return dict(asked)
    kept = "calendar" in real.section.keep
    if real.panel.roles.continuous:
        return {"kind": "kept-paths", "variable": real.treatment} | ({} if kept else {"permuted": True})
    if kept:
        return {"kind": "kept", "variable": real.treatment}
    return {"kind": "calendar", "dates": [[year, count] for year, count in dates_of(real, labels)]}


def dates_of(real: Real, labels: tuple[int, ...]) -> list[tuple[int, int]]:
    """First treated periods after the first, each with its number of units."""
    if real.policy is None:
        return []
    treated = real.policy[0] > 0
    first = treated.argmax(axis=0)[treated.any(axis=0)]
    return [(labels[t], int((first == t).sum())) for t in np.unique(first) if t > 0]


def _propensity(real: Real, fit: MethodFit, held: Panel, labels: tuple[int, ...]) -> dict[str, Any]:
    table = dict(real.section.own_adoption)
    part = build(Propensity, {key: value for key, value in table.items() if key != "kind"}, "[twin.adoption]")
    if not any(name in table for name in GIVEN):
        table |= _fitted(real, fit, held, part)
    if not any(name in table for name in DATED) and (dates := dates_of(real, labels)):
        table |= (
            {"date": dates[0][0]} if len(dates) == 1 else {"date_weights": [[year, count] for year, count in dates]}
        )
    return table | {"independent": part.independent}


def _fitted(real: Real, fit: MethodFit, held: Panel, part: Propensity) -> dict[str, Any]:
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
    found = logit_or_firth(x, real.indicator > 0)
    if not found.converged:
        raise bad(f"the logit on {part.on} has no maximum", where=where,
                  allowed="scores that are not collinear", remedy="choose a lower rank, or another on")  # fmt: skip
    intercept, *slopes = found.coefficient.tolist()
    return {"intercept": intercept, "coefficients": slopes}


def _ground(real: Real, fit: MethodFit, held: Panel) -> WorldContext:
    """The real panel as a world in the making, with the fitted levels or, where they are drawn, the real ones."""
    origin = np.zeros(len(held.units))
    places = Places(held.units, origin, origin, real.group, origin, kept=held)
    covariates = {name: values[0] for name, values in real.covariates.items()}
    context = WorldContext(places, real.panel.periods, real.weights, None, covariates)
    if fit.levels["kind"] == "fitted":
        levels = FittedLevels(method=fit.levels["method"]).settle(context, Streams(0))
    else:
        time = np.arange(len(held.periods)) - (len(held.periods) - 1) / 2
        slopes = time @ (real.rest - real.rest.mean(axis=1, keepdims=True)) / (time @ time)
        parts = real.parts
        levels = LevelParts(parts.units[0], parts.periods[0], slopes, np.zeros((len(origin), 0)), real.rest)
    return WorldContext(places, real.panel.periods, real.weights, levels, covariates)


FILE = "panel.parquet"
QUESTION = "How do the estimators of the claim do on twins of the real panel?"
LASTING, POINTS = 0.99, 199  # largest autocorrelation of a covariate, and coefficients that are tabulated
NOISE = 1e-9  # variance share of a covariate's changes below which it counts as constant


def held_panel(real: Real, fits: Mapping[str, MethodFit]) -> Panel:
    """What is kept: treatment, controls, facts of the units and W, with what the methods fitted."""
    names = [*([real.panel.roles.treatment] if real.panel.roles.treatment else []), *real.panel.roles.controls]
    variables = {name: real.panel.variables[name] for name in names}
    attributes = {name: x.astype(str) if x.dtype.kind == "O" else x for name, x in real.panel.attributes.items()}
    for fit in fits.values():
        variables |= {name: np.ascontiguousarray(values[None]) for name, values in fit.variables.items()}
        attributes |= dict(fit.attributes)
    if not variables:
        variables = {real.outcome: real.y}
    return replace(real.panel, variables=variables, attributes=attributes, roles=Roles())


def study_table(real: Real, method: str, fit: MethodFit, held: Panel, panel: str = FILE) -> dict[str, Any]:
    """The study as a file has it; panel: the name of the file that holds what is kept, or its text."""
    return {
        "name": f"twin-{method}",
        "question": QUESTION,
        "replications": real.section.replications,
        "seed": real.spec.inference.seed,
        "design": design_table(real, fit, held, panel),
        "estimators": estimator_tables(real),
    }


def design_table(real: Real, fit: MethodFit, held: Panel, panel: str) -> dict[str, Any]:
    """The table [design]."""
    periods = real.panel.periods
    labels = tuple(range(periods[0], periods[0] + len(periods)))
    adoption = adoption_table(real, fit, held, labels)
    geography = {"kind": "kept", "panel": panel}
    geography |= {"groups": real.grouping} if real.grouping else {}
    geography |= {"prosperity": real.treatment} if "on_prosperity" in fit.levels else {}
    main, *others = weights_tables(real)
    return {
        "kind": "panel",
        "periods": len(periods),
        "first_period": periods[0],
        "outcome": real.outcome,
        "treatment": real.treatment,
        **({"redraw": ["adoption"]} if real.redraws_adoption else {}),
        "geography": geography,
        "weights": main,
        **({"other_weights": others} if others else {}),
        "levels": dict(fit.levels),
        **({"covariates": covariate_tables(real, fit.levels["kind"] == "effects")} if real.covariates else {}),
        "errors": dict(fit.errors),
        "adoption": adoption,
        "effect": {"size": real.effect},
    }


def weights_tables(real: Real) -> list[dict[str, Any]]:
    """The main W and the others: as they are, or the nearest units, as many as W has neighbours on average."""
    if not real.panel.weights:
        return [{"kind": "none"}]
    if "weights" in real.section.keep:
        return [{"kind": "kept", "name": name} for name in real.panel.weights]
    if not {"longitude", "latitude"} <= set(real.panel.attributes):
        raise bad("keep leaves out weights, but the panel has no coordinates", where=f"{real.spec.file}, [twin] keep",
                  allowed="longitude and latitude in [panel]", remedy="name the columns, or keep weights")  # fmt: skip
    most = len(real.panel.units) - 1
    tables = []
    for name, weights in real.panel.weights.items():
        tables.append({"kind": "knn", "k": int(np.clip(round(weights.matrix.nnz / (most + 1)), 1, most)), "name": name})
    return tables


def covariate_tables(real: Real, within_alone: bool) -> list[dict[str, Any]]:
    """Controls as they are, or normal ones with the same mean, standard deviation, share of units and persistence.

    within_alone: the levels hold what real controls do to the means of units and periods.
    """
    kept = "covariates" in real.section.keep
    process = {} if kept else {name: normal_covariate(values) for name, values in real.covariates.items()}
    return [
        {"kind": "kept" if kept else "normal", "name": name, "effect": slope, **process.get(name, {})}
        | ({"within": True} if kept and within_alone else {})
        for name, slope in real.slopes.items()
    ]


def normal_covariate(x: Floats) -> dict[str, float]:
    """Moments of a covariate (1, T, N), such that panels of this law have its autocorrelation within units and periods
    and its share of the variance of units' means: what changes over periods adds to both in a short panel."""
    found = {"mean": float(x.mean()), "sd": float(x.std())}
    share, moved = float(x.mean(axis=1).var() / x.var()), within(x)
    if np.square(moved).mean() <= NOISE * x.var():
        return found | {"between": min(share, 1.0)}
    coefficients, raw, means = short_panel_moments(x.shape[1])
    at = float(np.interp(autoregression(moved, 1)[0, 0], raw, np.arange(len(raw))))
    serial, own = (float(np.interp(at, np.arange(len(raw)), values)) for values in (coefficients, means))
    return found | {"between": float(np.clip((share - own) / (1 - own), 0.0, 1.0)), "serial": serial}


def short_panel_moments(periods: int) -> tuple[Floats, Floats, Floats]:
    """AR(1) coefficients (K,), and what a unit's periods of variance 1 then show, (K,) each (Nickell 1981).

    These are expected products of deviations from the unit's mean with their lags over expected squares, and the
    variance of that mean.
    """
    coefficients, at = np.linspace(-LASTING, LASTING, POINTS), np.arange(periods)
    covariance = coefficients[:, None, None] ** np.abs(at[:, None] - at)
    centred = np.eye(periods) - 1 / periods
    left = centred @ covariance @ centred
    products = np.trace(left[:, 1:, :-1], axis1=1, axis2=2)
    squares = np.trace(left[:, :-1, :-1], axis1=1, axis2=2)
    return coefficients, products / squares, covariance.mean(axis=(1, 2))


def estimator_tables(real: Real) -> list[dict[str, Any]]:
    """DID with the error types of the spec, and with a W the SDM, by Lee and Yu where W allows it."""
    errors = [error for error in error_types(real.spec) if not without_se(error)]
    did: dict[str, Any] = {"kind": "did", "errors": [*clustered_enough(real.panel, tuple(errors))]}
    if real.spec.inference.cluster_k != "nonnested":
        did["cluster_k"] = real.spec.inference.cluster_k
    if real.weights is None:
        return [did]
    transform = "lee-yu" if real.weights.row_stochastic else "direct"
    clustered = [*clustered_enough(real.panel, (main_cluster(real.spec),))]
    return [did, {"kind": "spatial", "model": "sdm", "transform": transform, "errors": ["information", *clustered]}]


def consecutive(real: Real) -> bool:
    """Whether the panel's periods follow one another in steps of one, as those of a design do."""
    periods = real.panel.periods
    return period_step(np.array(periods)) == 1 and periods[-1] - periods[0] == len(periods) - 1
