"""Table 7: spatial models by maximum likelihood and their tests; in the appendix, how they predict, and the treatment's
coefficient under all error types, of table 2 too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from estimators.core.error_types import error_label
from estimators.spatial.spatial_panel import choose_model, wald_names
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
    in_order,
    shown_numbers,
    size_rows,
    value_rows,
)
from results.tables.records import BASELINE, EFFECTS, Record
from results.tables.typography import PREDICTIONS, decimals, digits, model_label, p_value, probability, short_p

TRANSFORMS = {None: "", "direct": "direct maximum likelihood", "lee-yu": "Lee and Yu's transformed likelihood"}
_CONVENTIONS = {
    "direct": "Direct: the likelihood with dummies for units and periods; period effects are taken out after the lag.",
    "lee-yu": "Lee-Yu: the likelihood of the data after the transformation of Lee and Yu (2010), (N - 1)(T - 1) "
    "observations.",
}
_FIT_NOTES = {
    "r2": "R²: one minus the ratio of residual to total sum of squares; unit and period effects count as explained.",
    "r2_within": "R² within: the same for the outcome net of unit and period effects.",
    "r2_corr": "R² squared correlation: between the outcome net of both effects and its reduced-form prediction by the "
    "regressors alone (Elhorst's corrected R²).",
    "aic": "AIC = -2 ln L + 2k and BIC = -2 ln L + k ln n; k counts slopes, ρ, λ and σ², not the effects; n is the "
    "likelihood's, {n}.",
}
_OBSERVATIONS = {"direct": "NT", "lee-yu": "(N - 1)(T - 1)"}
_TESTS = {
    "lr_sar": "LR against SAR, χ²",
    "lr_sem": "LR against SEM, χ²",
    "wald_sar": "Wald against SAR, χ²",
    "wald_sem": "Wald against SEM, χ²",
}
LIKELIHOOD_RATIOS = {"sar": "lr_sar", "sem": "lr_sem"}
_HEADS = tuple(Heading(label) for label in ("SE", "t or z", "p", "95% from", "to"))
_LM = {"lm_lag": "LM lag", "lm_err": "LM error", "rlm_lag": "Robust LM lag", "rlm_err": "Robust LM error"}


def spatial_models(setting: TableSetting) -> list[JournalTable]:
    """Table 7: for every W the direct likelihood, then Lee and Yu's; then the LM tests."""
    setting, columns = setting.balanced_part, fit_columns(setting.document, "7", LIKELIHOOD)
    panels = dict.fromkeys((column.weights, column.transform) for column in columns)
    order = list(dict.fromkeys(weights for weights, _ in panels))
    ranked = sorted(panels, key=lambda panel: (order.index(panel[0]), list(TRANSFORMS).index(panel[1])))
    tables = [_models(setting, weights, transform,
                      [column for column in columns if (column.weights, column.transform) == (weights, transform)])
              for weights, transform in ranked]  # fmt: skip
    return tables + _lagrange(setting)


def _models(
    setting: TableSetting, weights: str | None, transform: str | None, columns: Sequence[FitColumn]
) -> JournalTable:
    terms = in_order((term for column in columns for term in column.terms), setting.document)
    rows: list[Row] = []
    for term in (term for term in terms if term.partition(":")[0] not in EFFECTS):
        rows += coefficient_rows(setting.label(term), [setting.shown(column, term) for column in columns])
    rows += size_rows(columns, setting.units, setting.periods)
    rows += fit_rows(columns) + setting.error_row(columns)
    for effect in EFFECTS:
        found: list[Row] = []
        for term in (term for term in terms if term.startswith(f"{effect}:")):
            found += coefficient_rows(setting.label(term), [setting.shown(column, term) for column in columns])
        rows += [Row(f"{effect.capitalize()} effects", kind="head"), *found] if found else []
    rows += _chosen([_with_printed_tests(setting, column) for column in columns])
    heads = tuple(Heading(model_label(column.model), f"({column.column})") for column in columns)
    title = f"Spatial models of {setting.outcome}, W {weights}, {TRANSFORMS.get(transform) or 'least squares'}"
    said = (_CONVENTIONS.get(str(transform), ""), _effects_note(setting, columns), *_choices(setting, columns))
    notes = setting.notes(columns, *said, *_fit_notes(columns, str(transform)))
    return JournalTable("7", title, heads, tuple(rows), notes)


def _fit_notes(columns: Sequence[FitColumn], transform: str) -> list[str]:
    """What the measures of fit are, those that the columns have."""
    size = _OBSERVATIONS.get(transform, "the number of observations")
    return [text.format(n=size) for name, text in _FIT_NOTES.items()
            if any(name in column.statistics for column in columns)]  # fmt: skip


def predictions(setting: TableSetting) -> list[JournalTable]:
    """How the spatial models predict without the fixed effects, a table for every W."""
    setting, columns = setting.balanced_part, fit_columns(setting.document, "7", LIKELIHOOD)
    note = ("Squared correlations of the outcome with its prediction by regressors and their lags, without fixed "
            "effects. Reduced form: the prediction does not use the outcome. Naive: the prediction contains ρ times "
            "the observed lag of the outcome. Within: of deviations from unit means; between: of unit means; overall: "
            "of all values.")  # fmt: skip
    tables = []
    for weights in dict.fromkeys(column.weights for column in columns):
        found = sorted((column for column in columns if column.weights == weights),
                       key=lambda column: list(TRANSFORMS).index(column.transform))  # fmt: skip
        heads = tuple(Heading(model_label(column.model), f"({column.column})", TRANSFORMS[column.transform])
                      for column in found)  # fmt: skip
        title = f"Predictions of {setting.outcome} by the spatial models, W {weights}"
        rows = tuple(value_rows(found, PREDICTIONS))
        tables.append(JournalTable("A", title, heads, rows, (note, setting.data), appendix=True))
    return [table for table in tables if table.rows]


def _effects_note(setting: TableSetting, columns: Sequence[FitColumn]) -> str:
    shown = (setting.shown(column, term) for column in columns for term in column.terms)
    methods = dict.fromkeys(record.effects_method for record in shown if record is not None and record.effects_method)
    if not methods:
        return ""
    how = ", ".join(error_label(str(method)) for method in methods)
    return f"Direct, indirect and total effects are means over units; their standard errors are computed {how}."


def _tested_by(setting: TableSetting, column: FitColumn) -> str:
    """The error type whose covariance a column's Wald tests have: that of the printed errors where it has them."""
    shown = column.shown_error(setting.asked)
    return shown if set(wald_names(shown).values()) & set(column.statistics) else "information"


def _with_printed_tests(setting: TableSetting, column: FitColumn) -> FitColumn:
    """The column, its Wald tests those of the printed error type under their plain names."""
    plain, own = wald_names("information"), wald_names(_tested_by(setting, column))
    named = {f"{plain[model]}{end}": column.statistics.get(f"{own[model]}{end}") for model in own for end in ("", "_p")}
    return replace(column, statistics=column.statistics | {k: v for k, v in named.items() if v is not None})


def _choices(setting: TableSetting, columns: Sequence[FitColumn]) -> list[str]:
    """What the Wald tests have for a covariance, and what they and the exact LM tests of that W choose."""
    notes = []
    for column in columns:
        error = _tested_by(setting, column)
        names = wald_names(error)
        if not set(names.values()) & set(column.statistics):
            continue
        of = f"standard errors {error_label(error)}"
        notes.append(f"Wald tests use the covariance of {of}. LR tests assume independent errors with one variance.")
        lagrange = next((other.statistics for other in fit_columns(setting.document, "7", ("lm",))
                         if other.weights == column.weights), {})  # fmt: skip
        if {"lm_lag", "lm_lag_p", "lm_err", "lm_err_p"} <= set(lagrange):
            notes.append(conclusion(column.statistics, lagrange, names, f"Wald tests with {of}"))
    return notes


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


def _chosen(columns: Sequence[FitColumn]) -> list[Row]:
    """The tests that choose between models, in the column of the model that nests the others."""
    rows: list[Row] = []
    for name, label in _TESTS.items():
        for row in value_rows(columns, {name: label}, decimals):
            rows += [row, *(replace(below, kind="error")
                            for below in value_rows(columns, {f"{name}_p": ""}, p_value))]  # fmt: skip
    return [Row("Tests of the restrictions", kind="head"), *rows] if rows else []


def _lagrange(setting: TableSetting) -> list[JournalTable]:
    columns = [column for column in fit_columns(setting.document, "7", ("lm",)) if column.statistics]
    heads: list[Heading] = []
    cells: dict[str, list[str]] = {name: [] for name in _LM}
    for column in columns:
        for ending, form in (("", "exact"), ("_elhorst", "Elhorst's form")):
            if f"lm_lag{ending}" not in column.statistics:
                continue
            group = f"W {column.weights}, {form}"
            heads += [Heading("χ²(1)", "", group), Heading("p", "", group)]
            for name, found in cells.items():
                found.append(decimals(column.statistics.get(f"{name}{ending}")))
                found.append(probability(_p_value(column, name, ending)))
    if not heads:
        return []
    rows = tuple(Row(label, tuple(cells[name])) for name, label in _LM.items())
    note = ("Tests on the residuals of the model with unit and period effects. Exact form: the scores are centred and "
            "scaled for the effects that were taken out. Elhorst's form: they are not.")  # fmt: skip
    return [JournalTable("7", "Lagrange multiplier tests", tuple(heads), rows, (note, setting.data))]


def _p_value(column: FitColumn, name: str, ending: str) -> float | None:
    return column.statistics.get(f"{name}{ending}_p", column.statistics.get(f"{name}_p{ending}"))


def every_error(setting: TableSetting) -> list[JournalTable]:
    """The treatment's coefficient (the first control's without one) under all error types: table 2, then table 7."""
    main = setting.treatment or next(iter(setting.controls), None)
    if main is None:
        return []
    place = BASELINE["controls, units, periods"]
    baseline = [column for column in fit_columns(setting.document, place[0], ("did",)) if column.column == place[1]]
    tables = [_errors(setting, "two-way fixed effects", [(column, main) for column in baseline])]
    spatial = fit_columns(setting.document, "7", LIKELIHOOD)
    for weights, transform in dict.fromkeys((column.weights, column.transform) for column in spatial):
        fits = [column for column in spatial if (column.weights, column.transform) == (weights, transform)]
        shown = [(column, term) for column in fits for term in _terms(column, main)]
        method = TRANSFORMS.get(transform) or "least squares"
        tables.append(_errors(setting.balanced_part, f"spatial models, W {weights}, {method}", shown))
    return [table for table in tables if table.rows]


def _terms(column: FitColumn, main: str) -> list[str]:
    """The coefficient, its lag, and its effects as far as they are not those two again."""
    effects = ("direct", "indirect", "total") if "rho" in column.terms else ("total",)
    lagged = "rho" in column.terms or f"w_{main}" in column.terms
    wanted = (main, f"w_{main}", *(f"{effect}:{main}" for effect in effects if lagged))
    return [term for term in wanted if term in column.terms]


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
        rows += [Row(_method(record), _inference(record, every)) for record in records]
    title = f"The same coefficient under every standard error: {where}"
    return JournalTable("A", title, _HEADS, tuple(rows), (setting.data,), appendix=True)


def _method(record: Record) -> str:
    simulated = record.effects_method == "simulation" and record.se_type != "simulation"
    return f"{error_label(record.se_type)}{', effects by simulation' if simulated else ''}"


def _inference(record: Record, every: Sequence[float | None]) -> tuple[str, ...]:
    """Error, test and interval; every: all numbers under the same heading."""
    tested = decimals(record.statistic), probability(record.pvalue)
    beside, ends = shown_numbers([record]), (record.lower, record.upper)
    interval = (digits(end, (*beside, *ends), every) for end in ends)
    return (digits(record.se, beside, every), *tested, *interval)


TABLES = ("2", "7")
LAYOUTS = {7: spatial_models, 101: every_error, 102: predictions}
