"""A twin of a real panel: a `panel` design whose parts are fitted to it, and how like it is.

Its study has that design, what of the panel is kept real, and the estimators of the claim. How like it is: each feature
of the panel beside the band of the twins.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from rich.console import Console
from rich.table import Table
from rich.text import Text

from estimators.core.error_types import without_se
from estimators.core.regression import logit_or_firth
from experiments.panel_spec.sections import TwinSection
from experiments.panel_spec.spec import RealPanel
from experiments.settings import build, validated
from experiments.study import Study
from experiments.tables.ledger import clustered_enough, error_types, main_cluster
from experiments.twins.methods import MethodFit, Parameter, fit_by
from experiments.twins.real import Real, section_of
from experiments.twins.statistics import (
    CohortRegression,
    TreatmentStatus,
    autoregression,
    correlation,
    eigenvalue_shares,
    kurtosis,
    lead_dummies,
    moran_by_period,
    pretrend_f,
    tails,
    variance_shares,
    within,
)
from results.report.panel_pages import fidelity_page
from results.store.disk import check_folder, write_whole
from sim.arrays import Floats
from sim.design import Wanted
from sim.errors import BadInput, bad, refuse, type_problems
from sim.panel import Panel
from sim.panel_sidecars import panel_text, write_beside
from sim.schema import Roles
from sim.streams import Streams
from sim.world.context import LevelParts, slots_of
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Propensity, scores
from sim.world.parts.levels import FittedLevels

WORLDS = 50  # among which the twins are spread where a world draws what it holds fixed
NUMBERS = 1_000_000  # of unit-periods that are drawn at once
LEADS = 3
BAND, LEVEL = (0.025, 0.975), 0.05
EIGENVALUES, TAIL = 3, 0.01
MORAN = "Moran's I of residuals"
MORAN_BY_PERIOD = "Moran's I by period (largest deviation)"
VARIANCE_BY_PERIOD = "log variances by period (largest deviation)"
JOINT = "joint test (p)"
OF_LEVELS = (
    "variance share",
    "correlation of unit effects",
)  # features that estimators with two-way effects do not see
ROUNDING = 1e-9  # by which a feature that is the same in all twins may differ from the panel's

# What it means that the panel's feature lies below, or above, those of the twins.
MEANINGS = {
    "variance share of units": ("units differ less", "units differ more"),
    "variance share of periods": ("periods differ less", "periods differ more"),
    "variance share of the rest": ("changes within units are smaller", "changes within units are larger"),
    "AR(1)": ("residuals last less", "residuals last longer"),
    "AR(2)": ("residuals depend less on those two periods before", "residuals depend more on those two periods before"),
    "Moran's I by period": ("periods differ less", "periods differ more"),
    "log variances by period": ("periods differ less", "periods differ more"),
    "log variance of units before treatment": ("units that will be treated vary less, beside the others,",
                                               "units that will be treated vary more, beside the others,"),
    "log variance under treatment": ("treated units vary less, beside their time before,",
                                     "treated units vary more, beside their time before,"),
    "eigenvalue share": ("residuals share less movement over periods", "residuals share more movement over periods"),
    "1% quantile": ("the lowest residuals lie farther out", "the lowest residuals lie nearer"),
    "99% quantile": ("the highest residuals lie nearer", "the highest residuals lie farther out"),
    "joint test": ("fewer than 5% of twins lie as far from the other twins as the panel does", ""),
    "Moran's I": ("neighbours' residuals are less alike", "neighbours' residuals are more alike"),
    "kurtosis": ("extreme residuals are rarer", "extreme residuals are more frequent"),
    "pre-trend F": ("treated units keep closer to the others before adoption",
                    "treated units move further apart from the others before adoption"),
    "correlation of unit effects with": ("the correlation is lower", "the correlation is higher"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FidelityRow:
    """A feature of the panel and the band that 95% of the twins lie in."""

    method: str
    feature: str
    real: float
    lower: float
    upper: float
    inside: bool


def misses(rows: tuple[FidelityRow, ...]) -> tuple[str, ...]:
    """In plain words, what twins miss."""
    said = []
    for row in (row for row in rows if not row.inside):
        below, above = next(words for name, words in MEANINGS.items() if row.feature.startswith(name))
        differs = below if row.real < row.lower else above
        if row.feature == JOINT:
            said.append(f"The features of the residuals together: {differs} (p = {row.real:.3g}).")
        else:
            said.append(f"{row.feature}: {differs} in the panel than in its twins ({row.real:.3g}; 95% of twins lie "
                        f"between {row.lower:.3g} and {row.upper:.3g}).")  # fmt: skip
    return tuple(said)


def fidelity(real: Real, method: str, design: PanelDesign) -> tuple[tuple[FidelityRow, ...], float]:
    """Every feature of the panel beside those of `draws` twins, and the p value of the residuals' features together."""
    own = features(real, real.panel, real.y)
    found = [features(real, panel, panel.variables[real.outcome]) for panel in drawn(real, design)]
    twins = {name: np.concatenate([tile[name] for tile in found]) for name in own}
    for name in (MORAN_BY_PERIOD, VARIANCE_BY_PERIOD):
        if name in own:
            own[name], twins[name] = largest_deviation(own[name], twins[name])
    known = {name: values for name, values in twins.items()  # of the panel, and of half of its twins
             if np.isfinite(own[name][0]) and np.isfinite(values).mean() >= 0.5}  # fmt: skip
    rows = [_row(method, name, float(own[name][0]), values) for name, values in known.items()]
    judged = [name for name in known if not name.startswith(OF_LEVELS)]
    p = joint_test(np.array([own[name][0] for name in judged]), np.stack([known[name] for name in judged], axis=1))
    return (*rows, FidelityRow(method, JOINT, p, LEVEL, 1.0, p >= LEVEL)), p


def joint_test(real: Floats, twins: Floats) -> float:
    """p value of the largest standardised difference between a panel's features (F,) and those of the twins (R, F).

    The panel's is compared with that of every twin among the others (max-t): (1 + number as large) / (1 + R). Features
    that are the same in all twins are left out.
    """
    largest, among = largest_deviation(real[None], twins)
    return float((1 + (among >= largest[0]).sum()) / (1 + len(among)))


def largest_deviation(real: Floats, twins: Floats) -> tuple[Floats, Floats]:
    """Largest |value - mean| / sd over columns: of the panel (1, K) among the twins (R, K), and of each twin among the
    others, (1,) and (R,). NaN where a value is missing is no deviation."""
    spread = np.nanstd(twins, axis=0)
    used = spread > ROUNDING * np.maximum(np.abs(np.nanmean(twins, axis=0)), ROUNDING)
    if not used.any():
        return np.zeros(1), np.zeros(len(twins))
    real, twins = real[:, used], twins[:, used]
    count = np.isfinite(twins).sum(axis=0)
    apart = twins - np.nanmean(twins, axis=0)
    squares = np.nansum(np.square(apart), axis=0)
    without = squares - np.square(apart) * count / (count - 1)  # sum of squares around the mean of the others
    among = np.abs(apart) * count / (count - 1) / np.sqrt(np.maximum(without, ROUNDING * squares) / (count - 2))
    own = np.abs(real - np.nanmean(twins, axis=0)) / np.sqrt(squares / (count - 1))
    return np.nanmax(own, axis=1), np.nanmax(np.nan_to_num(among), axis=1)


def drawn(real: Real, design: PanelDesign) -> Iterator[Panel]:
    """`draws` twins in tiles: of fifty worlds, of one where all that a world holds fixed is kept real."""
    draws, schema = real.section.draws, design.schema
    worlds = WORLDS if design.held_fixed else 1
    wanted = Wanted(frozenset(schema.variables), ())
    tile = max(NUMBERS // (schema.units * schema.periods), 1)
    for number, part in enumerate(np.array_split(np.arange(draws), worlds)):
        streams = Streams(real.spec.inference.seed, f"twin {number}")
        world = design.settle(streams)
        for start in range(0, len(part), tile):
            stop = min(start + tile, len(part))
            yield world.draw(streams.tile(start, stop), wanted).panel


def features(real: Real, panel: Panel, y: Floats) -> dict[str, Floats]:
    """Each feature of R panels, (R,), by name, those by period (R, T); y (R, T, N): their outcome."""
    policy = None if real.policy is None else panel.variables[real.treatment]
    controls = [panel.variables[name] for name in real.covariates]
    cohorts = real.regression.cohorts is not None
    regression = CohortRegression.of(policy, controls, controls_out=real.controls_out, by_cohort=cohorts)
    parts = regression(y)
    shares = variance_shares(y)
    out = {f"variance share of {what}": shares[:, k] for k, what in enumerate(("units", "periods", "the rest"))}

    e = parts.residuals
    out |= {"AR(1) of residuals": autoregression(e, 1)[:, 0], "AR(2) of residuals": autoregression(e, 2)[:, 1]}
    if real.weights is not None:
        by_period = moran_by_period(e, panel.weights[next(iter(real.panel.weights))])
        out |= {MORAN: by_period.mean(axis=1), MORAN_BY_PERIOD: by_period}
    plain = policy is None or real.panel.roles.continuous
    treated = np.zeros((1, *e.shape[1:]), dtype=bool) if plain else np.asarray(policy) != 0
    status = TreatmentStatus.of(treated, real.freedom)
    groups = status.by_group(e)
    if real.status.compares_units:
        out["log variance of units before treatment"] = groups[:, 1] - groups[:, 0]
    if real.status.compares_cells:
        out["log variance under treatment"] = groups[:, 2] - groups[:, 1]
    out[VARIANCE_BY_PERIOD] = status.by_period(e)
    out |= {f"eigenvalue share {k}": share for k, share in enumerate(eigenvalue_shares(e, EIGENVALUES).T, 1)}
    out["kurtosis of residuals"] = kurtosis(e)
    out |= dict(zip(("1% quantile", "99% quantile"), tails(e, TAIL).T, strict=True))

    if policy is not None and not real.panel.roles.continuous:
        leads = max(sum(x.any() for x in lead_dummies(panel.variables[real.treatment][:1], LEADS)), 1)
        out["pre-trend F"] = pretrend_f(y, regression, policy, int(leads))
    if policy is not None:
        out["correlation of unit effects with treatment"] = correlation(parts.units, policy.mean(axis=1))
    return out | {
        f"correlation of unit effects with {name}": correlation(parts.units, panel.variables[name].mean(axis=1))
        for name in real.covariates
    }


def _row(method: str, feature: str, real: float, twins: Floats) -> FidelityRow:
    """The band of the twins that have the feature; a largest deviation has no lower end."""
    known = twins[np.isfinite(twins)]
    band = (0.0, 1 - LEVEL) if feature in {MORAN_BY_PERIOD, VARIANCE_BY_PERIOD} else BAND
    lower, upper = np.quantile(known, band).tolist()
    lower = lower if band == BAND else 0.0
    slack = ROUNDING * max(abs(lower), abs(upper), 1.0)
    return FidelityRow(method, feature, real, lower, upper, lower - slack <= real <= upper + slack)


# Who is treated in a twin: as in the real panel, by a fitted propensity, or as the spec says.


GIVEN = ("coefficients", "intercept", "strength")  # dials that a spec may set instead of having them fitted
DATED = ("date", "last_periods", "date_weights")


def adoption_table(real: Real, fit: MethodFit, held: Panel, labels: tuple[int, ...]) -> dict[str, Any]:
    """The table [design.adoption]; raises BadInput where a propensity cannot be fitted.

    held: the panel that is kept. labels: the periods of the design.
    """
    asked = real.section.own_adoption
    if asked.get("kind") == "propensity":
        part = build(Propensity, {key: value for key, value in asked.items() if key != "kind"}, "[twin.adoption]")
        table = dict(asked)
        if not any(name in asked for name in GIVEN):
            table |= _propensity(real, fit, held, part)
        dates = [one for one in dates_of(real, labels) if one[0] > labels[0]]
        if dates and not any(name in asked for name in DATED):
            several = {"date_weights": [[year, count] for year, count in dates]}
            table |= {"date": dates[0][0]} if len(dates) == 1 else several
        return table | {"independent": part.independent}
    if asked:
        return dict(asked)
    kept = "calendar" in real.section.keep
    if real.panel.roles.continuous:
        return {"kind": "kept-paths", "variable": real.treatment} | ({} if kept else {"permuted": True})
    if kept:
        return {"kind": "kept", "variable": real.treatment}
    return {"kind": "calendar", "dates": [[year, count] for year, count in dates_of(real, labels)]}


def dates_of(real: Real, labels: tuple[int, ...]) -> list[tuple[int, int]]:
    """First treated periods, each with its number of units."""
    if real.policy is None:
        return []
    treated = real.policy[0] > 0
    first = treated.argmax(axis=0)[treated.any(axis=0)]
    return [(labels[t], int((first == t).sum())) for t in np.unique(first)]


def _propensity(real: Real, fit: MethodFit, held: Panel, part: Propensity) -> dict[str, Any]:
    """Coefficients and intercept of the logit of the indicator on the units' scores."""
    where = f"{real.spec.file}, [twin.adoption]"
    if real.indicator is None:
        raise bad("the panel has no treatment, and there is no indicator", where=where,
                  allowed="indicator = a column of 0 and 1", remedy="add indicator")  # fmt: skip
    for name in part.covariates:
        if name not in real.covariates:
            raise bad(f"covariates names no control: {name!r}", where=where, allowed="controls of [panel]",
                      remedy="add it to controls")  # fmt: skip

    # the real panel as a world in the making, with the fitted levels or, where they are drawn, the real ones
    context = replace(real.ground, places=replace(real.ground.places, kept=held),
                      covariates={name: values[0] for name, values in real.covariates.items()})  # fmt: skip
    if fit.levels["kind"] == "fitted":
        levels = FittedLevels(method=fit.levels["method"]).settle(context, Streams(0))
    else:
        time = np.arange(len(held.periods)) - (len(held.periods) - 1) / 2
        slopes = time @ (real.rest - real.rest.mean(axis=1, keepdims=True)) / (time @ time)
        none = np.zeros((len(held.units), 0))
        levels = LevelParts(real.parts.units[0], real.parts.periods[0], slopes, none, real.rest)
    x = scores(replace(context, levels=levels), part.on, part.covariates)
    if not x.shape[1]:
        raise bad('on = "factors" needs loadings', where=where, allowed='[twin] method = "factor"',
                  remedy="choose that method, or another on")  # fmt: skip
    found = logit_or_firth(x, real.indicator > 0)
    if not found.converged:
        raise bad(f"the logit on {part.on} has no maximum", where=where,
                  allowed="scores that are not collinear", remedy="choose a lower rank, or another on")  # fmt: skip
    intercept, *coefficients = found.coefficient.tolist()
    return {"intercept": intercept, "coefficients": coefficients}


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
    """The study as a file has it: DID with the error types of the spec, and with a W the SDM, by Lee and Yu where W
    allows it.

    panel: the name of the file that holds what is kept, or its text.
    """
    periods = real.panel.periods
    labels = tuple(range(periods[0], periods[0] + len(periods)))
    adoption = adoption_table(real, fit, held, labels)
    geography = {"kind": "kept", "panel": panel}
    geography |= {"groups": real.grouping} if real.grouping else {}
    geography |= {"prosperity": real.treatment} if "on_prosperity" in fit.levels else {}
    main, *others = weights_tables(real)

    # controls as they are, or normal ones with the same mean, standard deviation, share of units and persistence
    kept, covariates = "covariates" in real.section.keep, []
    for name, values in real.covariates.items():
        table = {"kind": "kept" if kept else "normal", "name": name, "effect": real.slopes[name]}
        table |= {} if kept else normal_covariate(values)
        if kept and fit.levels["kind"] == "effects":  # these hold what real controls do to means of units and periods
            table["within"] = True
        covariates.append(table)
    design = {
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
        **({"covariates": covariates} if covariates else {}),
        "errors": dict(fit.errors),
        "adoption": adoption,
        "effect": {"size": real.effect},
    }
    errors = [error for error in error_types(real.spec) if not without_se(error)]
    did: dict[str, Any] = {"kind": "did", "errors": [*clustered_enough(real.panel, tuple(errors))]}
    if real.spec.inference.cluster_k != "nonnested":
        did["cluster_k"] = real.spec.inference.cluster_k
    estimators = [did]
    if real.weights is not None:
        transform = "lee-yu" if real.weights.row_stochastic else "direct"
        clustered = [*clustered_enough(real.panel, (main_cluster(real.spec),))]
        estimators.append(
            {"kind": "spatial", "model": "sdm", "transform": transform, "errors": ["information", *clustered]}
        )
    return {
        "name": f"twin-{method}",
        "question": QUESTION,
        "replications": real.section.replications,
        "seed": real.spec.inference.seed,
        "design": design,
        "estimators": estimators,
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


GAPS = "Twins are of the part of the panel without gaps: {} of {} units, {} of {} periods."
STEPS = "The periods used are not consecutive; those of the twin are numbered from {} in steps of one."


@dataclass(frozen=True, eq=False)
class Twin:
    """A twin by one method.

    parameters: what was fitted, each beside the panel's own statistic. tables: the study as design.toml has it. held:
    what is kept real. fidelity: features of the panel beside the twins'. joint: p value of the test that the panel's
    residuals are like those of its twins. null: whether the twin can serve as a world without an effect; one whose
    signal and calendar are both kept cannot, and has no vote. covariance (P, P): of the parameters over panels of the
    fitted world, None where a method has none. variations: levels and errors as such panels would give them. notes:
    what a reader should know. others: the twins by further methods, of the same panel.
    """

    method: str
    parameters: tuple[Parameter, ...]
    tables: dict[str, Any]
    held: Panel
    fidelity: tuple[FidelityRow, ...]
    notes: tuple[str, ...]
    joint: float
    null: bool = True
    covariance: Floats | None = None
    variations: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()
    others: tuple[Twin, ...] = ()

    def __repr__(self) -> str:
        others = "".join(f", beside {other.method}" for other in self.others)
        return f"Twin({self.method} of {len(self.held.units)} units x {len(self.held.periods)} periods{others})"

    @cached_property
    def study(self) -> Study:
        """The study of design.toml with the panel in it."""
        return study_with(self.tables, self.held)

    @property
    def design(self) -> PanelDesign:
        """The fitted design."""
        assert isinstance(self.study.design, PanelDesign)
        return self.study.design

    @cached_property
    def nearby(self) -> tuple[PanelDesign, ...]:
        """Worlds that panels of the fitted world would give: its uncertainty; () where nothing is fitted anew."""
        slots, worlds = slots_of(PanelDesign), []
        for tables in self.variations:
            parts: dict[str, Any] = {}
            for name, table in zip(("levels", "errors"), tables, strict=True):
                cls = slots[name].find(str(table.get("kind", slots[name].base.default)), "twin")
                parts[name] = build(cls, {key: value for key, value in table.items() if key != "kind"}, "twin")
            worlds.append(replace(self.design, **parts))
        return tuple(worlds)

    def _repr_html_(self) -> str:
        from experiments.study import twin_card  # for notebooks alone

        return twin_card(self)

    @property
    def all(self) -> tuple[Twin, ...]:
        """This twin and the others."""
        return (self, *self.others)


def twin(real: RealPanel, method: str | Sequence[str] | None = None) -> Twin:
    """The twin of a panel as its spec says, by the first of its methods, with those by the others.

    method: one or more, in place of the spec's. Raises BadInput.
    """
    if method is not None:
        refuse(type_problems(method, (str, list, tuple), "method", where="twin", allowed="a method, or several"))
        written = section_of(real.spec).model_dump(exclude_unset=True)
        written |= {"method": [method] if isinstance(method, str) else list(method)}
        section, problems = validated(TwinSection, written, "twin")
        if section is None or problems:
            raise BadInput(*problems)
        real = replace(real, spec=real.spec.model_copy(update={"twin": section}))
    panel = Real.of(real)
    fits: dict[str, MethodFit] = {name: fit_by(name, panel) for name in panel.section.method}
    held = held_panel(panel, fits)

    periods, twins = panel.panel.periods, []
    consecutive = periods == tuple(range(periods[0], periods[0] + len(periods)))  # as those of a design are
    said = () if consecutive else (STEPS.format(periods[0]),)
    if not real.panel.balanced:
        part, whole = panel.panel, real.panel
        counts = len(part.units), len(whole.units), len(part.periods), len(whole.periods)
        said = (GAPS.format(*counts), *said)
    for name, fit in fits.items():
        tables = study_table(panel, name, fit, held)
        design = study_with(tables, held).design
        assert isinstance(design, PanelDesign)
        rows, joint = fidelity(panel, name, design)
        twins.append(Twin(name, fit.parameters, tables, held, rows, (*fit.notes, *said), joint, fit.null,
                          fit.covariance, fit.nearby))  # fmt: skip
    return replace(twins[0], others=tuple(twins[1:]))


def study_with(tables: dict[str, Any], held: Panel) -> Study:
    """The study of tables that name the file of the panel, with the panel itself."""
    design = tables["design"]
    geography = design["geography"] | {"panel": panel_text(held)}
    return Study.from_settings(tables | {"design": design | {"geography": geography}}, "twin")


# What `panelproof twin` prints and writes.


CAUTION = (
    "A twin shows how estimators perform in the world that was fitted. Its adoption is as good as the fitted one. Its "
    "trends are parallel unless a trend gap is set. Rankings of estimators can mislead where the fitted "
    "model is wrong, so compare methods and read what each twin misses."
)


def document(found: Twin) -> dict[str, Any]:
    """Every number that is shown, as plain data."""
    return {
        "twins": [
            {
                "method": twin.method,
                "parameters": [
                    {
                        "dial": item.dial,
                        "value": item.value,
                        "se": item.se if np.isfinite(item.se) else None,
                        "statistic": item.what,
                        "raw": item.raw,
                    }
                    for item in twin.parameters
                ],
                "effect": twin.tables["design"]["effect"]["size"],
                "joint": twin.joint,
                "null": twin.null,
                "notes": list(twin.notes),
                "misses": list(misses(twin.fidelity)),
            }
            for twin in found.all
        ],
        "fidelity": [asdict(row) for twin in found.all for row in twin.fidelity],
    }


def print_twin(found: Twin, console: Console) -> None:
    """Fitted parameters beside the panel's own statistics, and what each twin misses."""
    for twin in found.all:
        console.print(Text(f"Twin by the method {twin.method}", style="bold"))
        table = Table("dial", "fitted", "standard error", "panel's own", "statistic", box=None, pad_edge=False)
        for item in twin.parameters:
            error = f"{item.se:.2g}" if np.isfinite(item.se) else ""
            table.add_row(item.dial, f"{item.value:.4g}", error, f"{item.raw:.4g}", item.what)
        console.print(table)
        console.print(Text(f"effect in the twin: {twin.tables['design']['effect']['size']:.4g}"))
        inside = sum(row.inside for row in twin.fidelity)
        console.print(Text(f"{inside} of {len(twin.fidelity)} features of the panel lie within the band of its twins."))
        console.print(Text(f"Joint test of the residuals' features: p = {twin.joint:.3g}."))
        for sentence in misses(twin.fidelity):
            console.print(Text(f"It misses: {sentence}", style="yellow"))
        for note in twin.notes:
            console.print(Text(note, style="yellow"))
        console.print()
    console.print(Text(CAUTION))


def write_twin(found: Twin, folder: str | Path) -> list[Path]:
    """Write design.toml (design-METHOD.toml for further methods), panel.parquet, fidelity.json and fidelity.html.

    Raises BadInput, before anything is written, where the folder cannot be.
    """
    refuse([*type_problems(found, Twin, "the twin", where="write_twin", allowed="what twin returned"),
            *type_problems(folder, (str, Path), "folder", where="write_twin", allowed="a path")])  # fmt: skip
    folder = Path(folder)
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    held = document(found)
    write_beside(found.held, table := io.BytesIO())
    files: dict[str, str | bytes] = {FILE: table.getvalue()}
    for twin in found.all:
        name = "design.toml" if twin is found.all[0] else f"design-{twin.method}.toml"
        files[name] = tomli_w.dumps(twin.tables)
    files["fidelity.json"] = json.dumps(held["fidelity"], indent=1, ensure_ascii=False) + "\n"
    files["fidelity.html"] = fidelity_page(held, CAUTION)
    return write_whole(folder, files)
