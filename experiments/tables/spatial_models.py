"""Table 7: spatial panel models by maximum likelihood, and the tests that choose between them.

For every W and every choice of effects the direct transform and Lee and Yu's beside it, and LM tests on the residuals
of the regression with these effects. A fit with other effects than those of units and periods names them in its
transform: "direct, unit effects".
In the appendix, how the models predict, and the treatment's coefficient under all error types, of table 2 too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np

from estimators.core.error_types import KINDS, error_label, served
from estimators.core.error_types import SPATIAL as SPATIAL_FAMILIES
from estimators.core.estimator import Estimates, Estimator
from estimators.core.tile import TAKEN_OUT, PanelEffects, Tile
from estimators.spatial.likelihood import Model
from estimators.spatial.lm_tests import Form, LMTests
from estimators.spatial.spatial_panel import (
    LEVEL,
    NESTED,
    SpatialPanel,
    choose_model,
    likelihood_ratio,
    variance_inflation,
    wald_names,
)
from estimators.spatial.spectrum import Transform
from experiments.panel_spec.sections import Spec
from experiments.panel_spec.spec import RealPanel
from experiments.study import NAME
from experiments.tables.ledger import Ledger, clustered_enough, main_cluster, reasons
from results.tables.journal_table import (
    LIKELIHOOD,
    FitColumn,
    Heading,
    JournalTable,
    Row,
    TableSetting,
    coefficient_rows,
    fit_columns,
    fit_rows,
    grouped,
    in_order,
    shown_numbers,
    size_rows,
    value_rows,
)
from results.tables.records import BASELINE, EFFECTS, SPATIAL, Fit
from results.tables.typography import PREDICTIONS, decimals, digits, model_label, p_value, probability, short_p
from sim.errors import BadInput, listed
from sim.panel import Panel
from sim.weights import Weights

MODELS: tuple[Model, ...] = ("sem", "sar", "sdm", "slx", "sdem", "sac")
SIMULATION = "simulation"
NEAR_MODE = 2.0  # difference in log-likelihood up to which another maximum fits almost as well
INFLATED = 10.0  # variance inflation factor from which the lag of the treatment counts as collinear


def add(real: RealPanel, ledger: Ledger) -> None:
    """The models on the balanced part of the panel; nothing without weights or regressors."""
    if not real.panel.weights or not real.panel.roles.regressors:
        return
    balanced = real.balanced()
    units = [unit for unit in real.panel.units if unit not in set(balanced.units)]
    periods = [period for period in real.panel.periods if period not in set(balanced.periods)]
    lost = [f"{what} {listed(items)}" for what, items in (("units", units), ("periods", periods)) if items]
    if lost:
        ledger.note(f"The spatial models need a balanced panel and leave out {' and '.join(lost)}; the DID columns "
                    "keep them.")  # fmt: skip
    for name, kept in balanced.weights.items():
        if kept.attached != real.panel.weights[name].attached:
            links = listed((f"{unit} to {nearest}" for unit, nearest in kept.attached), 12) or "none"
            ledger.note(f"Weights {name}, of the units that are kept: links to the nearest unit of those without "
                        f"neighbours are {links}.")  # fmt: skip

    found = _fit_models(real.spec, balanced, ledger)
    compared = False
    for name, effects in product(balanced.weights, real.spec.spatial.effects):
        lagrange = _add_lagrange(balanced, name, effects, ledger)
        for transform in transforms_of(balanced.weights[name], effects):
            named = with_effects(transform, effects)
            ratios = _likelihood_ratios(found, Fit(SPATIAL["sdm"], "sdm", named, weights=name), ledger)
            compared |= bool(ratios)
            if ratios and lagrange:
                ledger.note(f"Weights {name}, {named}: {conclusion(ratios, lagrange)}")
        _warn(balanced, name, effects, found, ledger)

    for fit, estimates in found.items():
        gap = float(estimates.statistics["mode_gap"][0]) if "mode_gap" in estimates.statistics else np.inf
        if gap < NEAR_MODE:
            ledger.note(f"Weights {fit.weights}, {fit.transform}: another maximum of the SAC's likelihood is only "
                        f"{gap:.2f} lower, so the data hardly distinguish rho from lambda.")  # fmt: skip
    # LR tests of each model's effects against fewer: direct likelihoods, of the same data. N - 1 degrees of
    # freedom for unit effects, T - 1 for period effects (Elhorst 2014, chapter 3).
    free = {"unit": len(balanced.units) - 1, "period": len(balanced.periods) - 1}
    direct = {(fit.model, fit.weights, effects_of(fit.transform)): (fit, estimates)
              for fit, estimates in found.items() if likelihood_of(fit.transform) == "direct"}  # fmt: skip
    for (model, weights, effects), (fit, larger) in direct.items():
        for fewer, taken in TAKEN_OUT.items():
            smaller = direct.get((model, weights, fewer))
            if smaller is None or not set(taken) < set(TAKEN_OUT[effects]):
                continue
            df = sum(free[name] for name in TAKEN_OUT[effects] if name not in taken)
            high, low = (float(one.statistics["loglik"][0]) for one in (larger, smaller[1]))
            statistic, pvalue = likelihood_ratio(high, low, df)
            ledger.values(fit, {f"lr_{fewer}": statistic, f"lr_{fewer}_df": float(df), f"lr_{fewer}_p": pvalue})
    if compared:
        ledger.note("LR statistics compare log-likelihoods of one W and one transform; direct and Lee-Yu columns have "
                    "likelihoods of different data. LR and LM statistics assume independent errors. The notes under "
                    "table 7 give the choice by Wald tests with the printed standard errors.")  # fmt: skip


def error_types(spec: Spec) -> tuple[str, ...]:
    """Those of every column, the main cluster, and those of [inference] that likelihoods have too."""
    own = (kind for kind, entry in KINDS.items() if entry.families == SPATIAL_FAMILIES and entry.argument == "none")
    asked = (error for error in spec.inference.errors if served(error, tuple(spec.attributes), "spatial"))
    return tuple(dict.fromkeys(("information", *own, main_cluster(spec), *asked)))


def transforms_of(weights: Weights, effects: PanelEffects) -> tuple[Transform, ...]:
    """Which likelihoods there are: a constant needs no transformation, unit effects none of W."""
    able = weights.row_stochastic if "period" in TAKEN_OUT[effects] else effects == "unit"
    return get_args(Transform) if able else ("direct",)


def with_effects(transform: str, effects: PanelEffects) -> str:
    """The transform of a fit by its effects, which are named unless they are those of units and periods."""
    return ", ".join(filter(None, (transform, EFFECTS_SAID[effects])))


def likelihood_of(transform: str | None) -> str:
    """direct or lee-yu, whatever the effects; "" of neither."""
    return str(transform or "").partition(", ")[0]


def effects_of(transform: str | None) -> PanelEffects:
    """The effects that a fit's transform names."""
    said = str(transform or "").rpartition(", ")[2]
    return next((effects for effects, words in EFFECTS_SAID.items() if words == said), "two-way")


def _fit_models(spec: Spec, balanced: Panel, ledger: Ledger) -> dict[Fit, Estimates]:
    """All columns that could be fitted; effects whose errors are simulated say so."""
    fits: dict[Estimator, Fit] = {}
    errors = clustered_enough(balanced, error_types(spec))
    for (at, (name, weights)), effects in product(enumerate(balanced.weights.items(), start=1), spec.spatial.effects):
        if not weights.row_stochastic and "period" in TAKEN_OUT[effects]:
            ledger.note(
                f"Weights {name}: there are no Lee-Yu columns, because the transformation needs rows that sum to one. "
                "In SEM, SDEM and SAC the period effects stand outside of the filter I - λW; unit effects alone with "
                "dummies of periods as controls stand inside."
            )
        for transform in transforms_of(weights, effects):
            named = with_effects(transform, effects)
            ending = f"{named.replace(', ', '-').replace(' ', '-')}-{name if NAME.fullmatch(name) else f'W+{at}'}"
            for model in MODELS:
                estimator = SpatialPanel(
                    model, transform, weights=name, full_fit=True, errors=errors, effects=effects,
                    simulate=spec.inference.draws, label=f"{model}-{ending}",
                )  # fmt: skip
                fits[estimator] = Fit(SPATIAL[model], model, named, weights=name)
    before = len(ledger.records)
    found = ledger.fit(balanced, fits)
    ledger.records[before:] = [
        replace(record, effects_method=SIMULATION) if record.se_type == SIMULATION else record
        for record in ledger.records[before:]
        if record.se_type != SIMULATION or str(record.term).partition(":")[0] in EFFECTS
    ]
    return {fits[estimator]: estimates for estimator, estimates in found.items()}


def _likelihood_ratios(found: Mapping[Fit, Estimates], sdm: Fit, ledger: Ledger) -> dict[str, float]:
    """LR tests of the SDM, the column that nests SAR and SEM, against these two, with as many degrees of freedom as
    there are regressors."""
    fitted = {fit.model: estimates for fit, estimates in found.items()
              if (fit.transform, fit.weights) == (sdm.transform, sdm.weights)}  # fmt: skip
    tests: dict[str, float] = {}
    for smaller in NESTED:
        if smaller in fitted and "sdm" in fitted:
            larger, less = (float(fitted[model].statistics["loglik"][0]) for model in ("sdm", smaller))
            df = sum(term.startswith("direct:") for term in fitted["sdm"].terms)
            statistic, pvalue = likelihood_ratio(larger, less, df)
            tests |= {f"lr_{smaller}": statistic, f"lr_{smaller}_p": pvalue}
    ledger.values(sdm, tests)
    return tests


def _add_lagrange(balanced: Panel, weights: str, effects: PanelEffects, ledger: Ledger) -> dict[str, float]:
    """Both forms of the LM tests, Elhorst's under names that say so; returns the exact ones, none under a useless W."""
    place = Fit(("7", 0), "lm", EFFECTS_SAID[effects] or None, weights=weights)
    forms: tuple[Form, ...] = ("exact", "elhorst")
    exact: dict[str, float] = {}
    elhorst: dict[str, float] = {}
    try:
        for form, tests in zip(forms, (exact, elhorst), strict=True):
            got = LMTests(form, TAKEN_OUT[effects], weights=weights, keep_arrays=True)(balanced)  # type: ignore[arg-type]
            assert got.pvalue is not None
            for term, statistic, pvalue in zip(got.terms, got.estimate[0], got.pvalue[0, 0], strict=True):
                tests[term], tests[f"{term}_p"] = float(statistic), float(pvalue)
    except BadInput as error:
        ledger.note(f"Weights {weights}: there are no LM tests and no choice between models: {reasons(error)}.")
        return {}
    for tests, ending in ((exact, ""), (elhorst, "_elhorst")):
        for name, value in tests.items():
            term, p, _ = name.partition("_p")
            ledger.value(place, f"{term}{ending}{p}", value if np.isfinite(value) else None)
    differ = [name for name in exact if name.endswith("_p") and (exact[name] < LEVEL) != (elhorst[name] < LEVEL)]
    if differ and "period" in TAKEN_OUT[effects]:
        names = listed(name.removesuffix("_p") for name in differ)
        ledger.note(f"Weights {weights}: with period effects, Elhorst's form of the LM tests is not centred. At 5%, "
                    f"its decision on {names} differs from that of the exact form, which the conclusions "
                    "use.")  # fmt: skip
    return exact


def _warn(balanced: Panel, weights: str, effects: PanelEffects, found: Mapping[Fit, Estimates], ledger: Ledger) -> None:
    """What makes the effect of the neighbours' treatment hard to tell: collinearity, no units far from all treated."""
    treatment = balanced.roles.treatment
    if treatment is None:
        return
    tile, names = Tile(balanced), balanced.roles.regressors
    inflation = float(variance_inflation(tile, names, weights, effects)[len(names) + names.index(treatment)])
    for transform in transforms_of(balanced.weights[weights], effects):
        sdm = Fit(SPATIAL["sdm"], "sdm", with_effects(transform, effects), weights=weights)
        if sdm in found:
            ledger.value(sdm, "vif", inflation if np.isfinite(inflation) else None, term=f"w_{treatment}")
    if inflation > INFLATED:
        ledger.note(f"Weights {weights}: the lag of the treatment is collinear with the other regressors (variance "
                    f"inflation {inflation:.1f}), as when treatment clusters in space or W is dense. The data "
                    f"determine w_{treatment} and indirect effects badly.")  # fmt: skip
    if balanced.roles.continuous:
        return
    near = (tile.raw(treatment) != 0) | (tile.lag(treatment, weights) != 0)
    if near.any(axis=1).all():
        ledger.note(f"Weights {weights}: every unit is treated or has a treated neighbour at some time. Without units "
                    "far from the policy, only the functional form identifies spillovers.")  # fmt: skip


# How it is arranged: the records of a document as a table.


EFFECTS_SAID: dict[PanelEffects, str] = {
    "two-way": "", "unit": "unit effects", "period": "period effects", "none": "no effects",
}  # fmt: skip
TRANSFORMS = {"": "", "direct": "direct maximum likelihood", "lee-yu": "Lee and Yu's transformed likelihood"}
_CONVENTIONS = {
    "direct": "Direct: the likelihood with {dummies}.",
    "lee-yu": "Lee-Yu: the likelihood of the data after the transformation of Lee and Yu (2010), {n} observations.",
}
_DUMMIES: dict[PanelEffects, str] = {
    "two-way": "dummies for units and periods; period effects are taken out after the lag",
    "unit": "dummies for units",
    "period": "dummies for periods; they are taken out after the lag",
    "none": "a constant",
}
EFFECTS_GIVEN: dict[PanelEffects, tuple[str, str]] = {
    "two-way": ("unit and period effects", "both effects"), "unit": ("unit effects", "unit effects"),
    "period": ("period effects", "period effects"), "none": ("the constant", "the constant"),
}  # fmt: skip
_FIT_NOTES = {
    "r2": "R²: one minus the ratio of residual to total sum of squares; {effects} count{s} as explained.",
    "r2_within": "R² within: the same for the outcome net of {effects}.",
    "r2_corr": "R² squared correlation: between the outcome net of {both} and its reduced-form prediction by the "
    "regressors alone (Elhorst's corrected R²).",
    "aic": "AIC = -2 ln L + 2k and BIC = -2 ln L + k ln n; k counts slopes, ρ, λ and σ², not the effects; n is the "
    "likelihood's, {n}.",
}
_OBSERVATIONS: dict[tuple[str, PanelEffects], str] = {
    ("lee-yu", "two-way"): "(N - 1)(T - 1)", ("lee-yu", "unit"): "N(T - 1)", ("lee-yu", "period"): "(N - 1)T",
    **{("direct", effects): "NT" for effects in EFFECTS_SAID},
}  # fmt: skip
_TESTS = {
    "lr_sar": "LR against SAR, χ²",
    "lr_sem": "LR against SEM, χ²",
    "wald_sar": "Wald against SAR, χ²",
    "wald_sem": "Wald against SEM, χ²",
    "lr_unit": "LR against unit effects alone, χ²",
    "lr_period": "LR against period effects alone, χ²",
    "lr_none": "LR against no effects, χ²",
}
LIKELIHOOD_RATIOS = {"sar": "lr_sar", "sem": "lr_sem"}
_HEADS = tuple(Heading(label) for label in ("SE", "t or z", "p", "95% from", "to"))
_LM = {"lm_lag": "LM lag", "lm_err": "LM error", "rlm_lag": "Robust LM lag", "rlm_err": "Robust LM error"}


def spatial_models(setting: TableSetting) -> list[JournalTable]:
    """Table 7: for every W the direct likelihood, then Lee and Yu's; one model under every W; then the LM tests."""
    setting, columns = setting.balanced_part, fit_columns(setting.document, "7", LIKELIHOOD)
    ranked = [column for of_weights in grouped(columns, "weights").values() for column in _ranked(of_weights)]
    panels = grouped(ranked, "weights", "transform").items()
    tables = [_models(setting, weights, transform, found) for (weights, transform), found in panels]
    return tables + _under_every_w(setting, ranked) + _lagrange(setting)


def _under_every_w(setting: TableSetting, columns: Sequence[FitColumn]) -> list[JournalTable]:
    """SLX and SDM under each of several W beside the two-way DID: how far an answer hangs on W."""
    main = setting.treatment or next(iter(setting.controls), None)
    by_w = grouped(columns, "weights")
    if main is None or len(by_w) < 2:
        return []
    place = BASELINE["controls, units, periods"]
    found = [column for column in fit_columns(setting.document, place[0], ("did",)) if column.column == place[1]]
    heads = [Heading("DID", "", "no W") for _ in found]
    for (weights,), of_weights in by_w.items():
        for model in ("slx", "sdm"):
            for column in [each for each in of_weights if each.model == model][:1]:
                found.append(column)
                under = with_effects(f"W {weights}", effects_of(column.transform))  # the DID has two-way effects
                heads.append(Heading(model_label(model), "", under))
    rows = main_rows(setting, found, main)
    note = ("Controls and their lags are in every model. The lag W × D of SLX is that of the table of its W; log-"
            "likelihoods of one transform can be compared between W.")  # fmt: skip
    title = f"One model under every W: {setting.about}"
    return [JournalTable("7", title, tuple(heads), tuple(rows), setting.notes(found, note))]


def main_rows(setting: TableSetting, columns: Sequence[FitColumn], main: str) -> list[Row]:
    """What models say of one regressor side by side: its coefficient, its lag, rho and effects; sizes and fit."""
    rows: list[Row] = []
    for term in (main, f"w_{main}", "rho", *(f"{effect}:{main}" for effect in EFFECTS)):
        shown = setting.shown_records(columns, term)
        if any(record is not None for record in shown):
            label = setting.full_label(term)
            rows += coefficient_rows(label if ":" not in term else label[:1].upper() + label[1:], shown)
    rows += value_rows(columns, {"neighbours": "Neighbours a unit"}, decimals)
    rows += size_rows(columns, setting.units, setting.periods)
    return rows + value_rows(columns, {"loglik": "Log-likelihood", "aic": "AIC"}, decimals) + setting.error_row(columns)


def _ranked(columns: Sequence[FitColumn]) -> list[FitColumn]:
    """By effects in the order of the specification; least squares, then the direct likelihood, then Lee and Yu's."""
    found = list(dict.fromkeys(effects_of(column.transform) for column in columns))
    likelihoods = list(TRANSFORMS)
    return sorted(columns, key=lambda column: (found.index(effects_of(column.transform)),
                                               likelihoods.index(likelihood_of(column.transform))))  # fmt: skip


def _method_of(transform: str | None) -> str:
    """The likelihood, and the effects unless they are those of units and periods; "" of a fit without a transform."""
    return with_effects(TRANSFORMS[likelihood_of(transform)], effects_of(transform))


def _models(
    setting: TableSetting, weights: str | None, transform: str | None, columns: Sequence[FitColumn]
) -> JournalTable:
    terms = in_order((term for column in columns for term in column.terms), setting.document)
    rows: list[Row] = []
    for term in (term for term in terms if term.partition(":")[0] not in EFFECTS):
        rows += coefficient_rows(setting.label(term), setting.shown_records(columns, term))
    rows += size_rows(columns, setting.units, setting.periods)
    rows += fit_rows(columns) + setting.error_row(columns)
    for effect in EFFECTS:
        found: list[Row] = []
        for term in (term for term in terms if term.startswith(f"{effect}:")):
            found += coefficient_rows(setting.label(term), setting.shown_records(columns, term))
        rows += [Row(f"{effect.capitalize()} effects", kind="head"), *found] if found else []
    rows += _chosen(setting, columns)
    heads = tuple(Heading(model_label(column.model), f"({column.column})") for column in columns)
    title = f"Spatial models of {setting.outcome}, W {weights}, {_method_of(transform) or 'least squares'}"

    # The notes: what the likelihood is, the errors of effects, the choice between models, the measures of fit.
    likelihood, effects = likelihood_of(transform), effects_of(transform)
    size = _OBSERVATIONS.get((likelihood, effects), "the number of observations")
    convention = _CONVENTIONS.get(likelihood, "").format(dummies=_DUMMIES[effects], n=size)
    every, both = EFFECTS_GIVEN[effects]
    words = {"n": size, "effects": every, "both": both, "s": "s" if effects == "none" else ""}
    fit = [text.format(**words) for name, text in _FIT_NOTES.items()
           if any(name in column.statistics for column in columns)]  # fmt: skip
    shown = [setting.shown_record(column, term) for column in columns for term in column.terms]
    methods = dict.fromkeys(record.effects_method for record in shown if record is not None and record.effects_method)
    how = ", ".join(error_label(str(method)) for method in methods)
    computed = f"Direct, indirect and total effects are means over units; their standard errors are computed {how}."
    choices = []
    for column in columns:
        error = _tested_by(setting, column)
        names = wald_names(error)
        if not set(names.values()) & set(column.statistics):
            continue
        of = f"standard errors {error_label(error)}"
        sums = "periods" if error == "driscoll-kraay" else "clusters" if error.startswith("cluster:") else ""
        counted = (f"; the p values of Wald tests are by F, as Hotelling's T squared, which allows for the number of "
                   f"{sums}" if sums else "")  # fmt: skip
        choices.append(f"Wald tests use the covariance of {of}{counted}. LR tests assume independent errors with one "
                       "variance.")  # fmt: skip
        lagrange = next((other.statistics for other in fit_columns(setting.document, "7", ("lm",))
                         if (other.weights, effects_of(other.transform))
                         == (column.weights, effects_of(column.transform))), {})  # fmt: skip
        if {"lm_lag", "lm_lag_p", "lm_err", "lm_err_p"} <= set(lagrange):
            choices.append(conclusion(column.statistics, lagrange, names, f"Wald tests with {of}"))
    said = (convention, computed if methods else "", *choices, *fit)
    return JournalTable("7", title, heads, tuple(rows), setting.notes(columns, *said))


def predictions(setting: TableSetting) -> list[JournalTable]:
    """How the spatial models predict without the fixed effects, a table for every W."""
    setting, columns = setting.balanced_part, fit_columns(setting.document, "7", LIKELIHOOD)
    note = ("Squared correlations of the outcome with its prediction by regressors and their lags, without fixed "
            "effects. Reduced form: the prediction does not use the outcome. Naive: the prediction contains ρ times "
            "the observed lag of the outcome. Within: of deviations from unit means; between: of unit means; overall: "
            "of all values.")  # fmt: skip
    tables = []
    for (weights,), of_weights in grouped(columns, "weights").items():
        found = _ranked(of_weights)
        heads = tuple(Heading(model_label(column.model), f"({column.column})", _method_of(column.transform))
                      for column in found)  # fmt: skip
        title = f"Predictions of {setting.outcome} by the spatial models, W {weights}"
        rows = tuple(value_rows(found, PREDICTIONS))
        tables.append(JournalTable("A", title, heads, rows, (note, setting.data), appendix=True))
    return [table for table in tables if table.rows]


def _tested_by(setting: TableSetting, column: FitColumn) -> str:
    """The error type whose covariance a column's Wald tests have: that of the printed errors where it has them."""
    shown = column.shown_error(setting.asked)
    return shown if set(wald_names(shown).values()) & set(column.statistics) else "information"


def conclusion(
    tests: Mapping[str, float], lagrange: Mapping[str, float],
    names: Mapping[str, str] = LIKELIHOOD_RATIOS, said_of: str = "LR tests",
) -> str:  # fmt: skip
    """What tests of the SDM and LM tests choose, in a sentence; names: those of the statistics by nested model."""
    pvalues = {model: tests[f"{name}_p"] for model, name in names.items() if f"{name}_p" in tests}
    if any(math.isnan(p) for p in pvalues.values()):
        return f"{said_of} choose no model: a restriction has no test under these standard errors."
    choice = choose_model(pvalues, {"rlm_lag": float("nan"), "rlm_err": float("nan"), **lagrange})
    verbs = {model: "do not reject" if model in choice.kept else "reject" for model in pvalues}
    said = " and ".join(
        f"{verb + ' ' if model == next(iter(verbs)) or len(set(verbs.values())) > 1 else ''}{model.upper()} "
        f"({tests[names[model]]:.2f}, p {short_p(pvalues[model])})"
        for model, verb in verbs.items()
    )
    look = (f"the LM tests point to {choice.pointed.upper()}" if choice.pointed
            else "the LM tests find no spatial dependence")  # fmt: skip
    if not choice.kept:
        return f"{said_of} {said}: they choose the SDM."
    if choice.chosen is None:
        return f"{said_of} {said}, and {look}: they choose the model without spatial terms."
    if choice.chosen == "sdm":
        return f"{said_of} {said}, but {look}: they choose the SDM, which nests both."
    return f"{said_of} {said}, and {look}: they choose the {choice.chosen.upper()}."


def _chosen(setting: TableSetting, columns: Sequence[FitColumn]) -> list[Row]:
    """The tests that choose between models, in the column of the model that nests the others; Wald tests are those of
    the printed error type."""
    printed, plain = [], wald_names("information")
    for column in columns:
        tests, own = dict(column.statistics), wald_names(_tested_by(setting, column))
        for model, end in product(own, ("", "_p")):
            if (value := column.statistics.get(f"{own[model]}{end}")) is not None:
                tests[f"{plain[model]}{end}"] = value
        printed.append(replace(column, statistics=tests))
    rows: list[Row] = []
    for name, label in _TESTS.items():
        for row in value_rows(printed, {name: label}, decimals):
            rows += [row, *(replace(below, kind="error")
                            for below in value_rows(printed, {f"{name}_p": ""}, p_value))]  # fmt: skip
    return [Row("Tests of the restrictions", kind="head"), *rows] if rows else []


def _lagrange(setting: TableSetting) -> list[JournalTable]:
    columns = [column for column in fit_columns(setting.document, "7", ("lm",)) if column.statistics]
    heads: list[Heading] = []
    cells: dict[str, list[str]] = {name: [] for name in _LM}
    for column in columns:
        for ending, form in (("", "exact"), ("_elhorst", "Elhorst's form")):
            if f"lm_lag{ending}" not in column.statistics:
                continue
            group = ", ".join(filter(None, (f"W {column.weights}", column.transform, form)))
            heads += [Heading("χ²(1)", "", group), Heading("p", "", group)]
            for name, found in cells.items():
                found.append(decimals(column.statistics.get(f"{name}{ending}")))
                pvalue = column.statistics.get(f"{name}{ending}_p", column.statistics.get(f"{name}_p{ending}"))
                found.append(probability(pvalue))
    if not heads:
        return []
    rows = tuple(Row(label, tuple(cells[name])) for name, label in _LM.items())
    fixed = any(column.transform is not None for column in columns)
    model = "each model with its effects" if fixed else "the model with unit and period effects"
    note = (f"Tests on the residuals of {model}. Exact form: the scores are centred and "
            "scaled for the effects that were taken out. Elhorst's form: they are not.")  # fmt: skip
    return [JournalTable("7", "Lagrange multiplier tests", tuple(heads), rows, (note, setting.data))]


def every_error(setting: TableSetting) -> list[JournalTable]:
    """The treatment's coefficient (the first control's without one) under all error types: table 2, then table 7."""
    main = setting.treatment or next(iter(setting.controls), None)
    if main is None:
        return []
    place = BASELINE["controls, units, periods"]
    baseline = [column for column in fit_columns(setting.document, place[0], ("did",)) if column.column == place[1]]
    tables = [_errors(setting, "two-way fixed effects", [(column, main) for column in baseline])]
    spatial = fit_columns(setting.document, "7", LIKELIHOOD)
    for (weights, transform), fits in grouped(spatial, "weights", "transform").items():
        shown = []
        for column in fits:  # its effects as far as they are not its coefficients again
            spills = "rho" in column.terms
            effects = ("direct", "indirect", "total") if spills else ("total",) if f"w_{main}" in column.terms else ()
            terms = (main, f"w_{main}", *(f"{effect}:{main}" for effect in effects))
            shown += [(column, term) for term in terms if term in column.terms]
        method = _method_of(transform) or "least squares"
        tables.append(_errors(setting.balanced_part, f"spatial models, W {weights}, {method}", shown))
    return [table for table in tables if table.rows]


def _errors(setting: TableSetting, where: str, shown: Sequence[tuple[FitColumn, str]]) -> JournalTable:
    rows: list[Row] = []
    for column, term in shown:
        records = [record for record in column.records if record.term == term]
        if not records:
            continue
        kind, _, name = term.partition(":")
        label = f"{kind} effect of {setting.label(name)}" if name else setting.label(term)
        every = shown_numbers(records)
        estimate = digits(records[0].estimate, shown_numbers(records[:1]), every)
        rows.append(Row(f"{model_label(column.model)}: {label} {estimate}", kind="head"))
        for record in records:
            simulated = record.effects_method == "simulation" and record.se_type != "simulation"
            method = f"{error_label(record.se_type)}{', effects by simulation' if simulated else ''}"
            beside, ends = shown_numbers([record]), (record.lower, record.upper)
            interval = (digits(end, (*beside, *ends), every) for end in ends)
            tested = decimals(record.statistic), probability(record.pvalue)
            rows.append(Row(method, (digits(record.se, beside, every), *tested, *interval)))
    title = f"The same coefficient under every standard error: {where}"
    return JournalTable("A", title, _HEADS, tuple(rows), (setting.data,), appendix=True)


TABLES = ("2", "7")
LAYOUTS = {7: spatial_models, 101: every_error, 102: predictions}
