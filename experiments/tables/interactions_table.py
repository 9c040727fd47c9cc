"""Tables M and D: the effect by moderators, with a figure of each, and triple differences between groups of units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from estimators.core.error_types import error_label, kind_of, without_se
from estimators.core.estimator import Estimates, critical_values, usual_error
from estimators.core.hypotheses import combine
from estimators.linear.derived import Moderation, TripleDifference, observed_mean
from estimators.linear.few_clusters import PLACEBOS
from experiments.panel_spec.spec import RealPanel
from experiments.tables.ledger import (
    FittedColumn,
    Ledger,
    clustered_enough,
    error_types,
    reasons,
    say_what_has_no_error,
    say_what_is_left_out,
    unfit,
    with_further,
)
from results.plots.marginal_plot import MarginalPlot, marginal_figure
from results.tables.journal_table import (
    Heading,
    JournalTable,
    Row,
    TableSetting,
    coefficient_rows,
    fit_columns,
    fit_rows,
    number_rows,
    size_rows,
)
from results.tables.records import LEVEL, MODERATION, TRIPLE_DIFFERENCE, Fit
from sim.errors import BadInput
from sim.panel import Panel, group_labels, seen_in

QUANTILES = (10, 50, 90)
POINTS = 61  # of the line in a figure


def add(real: RealPanel, ledger: Ledger) -> None:
    """Table M, a column a moderator, and table D, as far as the spec asks for them."""
    if real.panel.roles.treatment is None:
        return
    for column, name in enumerate(() if real.spec.moderation is None else real.spec.moderation.by, start=1):
        _moderate(real, ledger, name, column)
    if real.spec.ddd is not None:
        _compare_groups(real, ledger, real.spec.ddd.group)


def _moderate(real: RealPanel, ledger: Ledger, name: str, column: int) -> None:
    """One column: D x M, D at the mean of M, effects at its quantiles, and the figure; or a note why there is none."""
    fit = Fit((MODERATION, column), "moderation", sample=f"by {name}")
    try:
        held = name in real.panel.variables
        panel, lost = (real.panel, "") if held else with_further(real, (name,), "[moderation]")
        errors = _errors(real, panel, fit, ledger)
        estimator = moderation_of(real, panel, name, errors, f"table-{MODERATION}-column-{column}")
        made = estimator.derived(panel)
    except BadInput as refusal:
        ledger.note(f"Table {MODERATION} has no column {column} ({fit.sample}): {reasons(refusal)}.")
        return
    values = panel.variables[name][0]
    treated = (panel.variables[str(panel.roles.treatment)][0] != 0) & seen_in(panel)
    why = unfit(made, estimator.regression(panel.schema).regressors or ())
    if np.ptp(values[treated]) == 0:
        why = f"{name} does not vary among treated unit-periods"
    if why:
        ledger.note(f"Table {MODERATION} has no column {column} ({fit.sample}): {why}.")
        return
    if not estimator.main:
        ledger.note(f"Table {MODERATION}, column {column}: {name} does not change within units but by what period "
                    "effects take, so that the effects absorb its own coefficient.")  # fmt: skip
    if lost:
        ledger.note(f"Table {MODERATION}, column {column}: {lost}.")
    estimates = ledger.fit(panel, {estimator: fit}).get(estimator)
    if estimates is None:
        return
    say_what_has_no_error(ledger, fit, panel, estimates)
    observed, mean = values[seen_in(panel)], float(observed_mean(panel, name)[0, 0, 0])
    ledger.value(fit, "moderator_mean", mean, term=name)
    fitted = FittedColumn(panel, estimator, fit, estimates)
    places = np.percentile(observed, QUANTILES)
    at = {f"p{share}": _at(estimates, place - mean) for share, place in zip(QUANTILES, places, strict=True)}
    ledger.combine(fitted, {f"{estimates.terms[0]} at {share}": weights for share, weights in at.items()})
    for share, place in zip(QUANTILES, places.tolist(), strict=True):
        ledger.value(fit, f"moderator_p{share}", place, term=name)

    # The effect over the range of the moderator, with the errors that tables print.
    error = usual_error([error for error in estimates.errors if not without_se(error) and kind_of(error) != "cr2"])
    points = np.linspace(observed.min(), observed.max(), POINTS)
    covariance = estimator.covariance(panel, error)
    weights = np.array([_at(estimates, point - mean) for point in points])
    effect, se = combine(estimates.estimate[0], covariance, weights)
    margin = critical_values(np.full(POINTS, covariance.dof), LEVEL) * np.where(se > 0, se, np.nan)
    ledger.draw(marginal_figure, MarginalPlot(
        ledger.name(name), ledger.name(panel.roles.outcome), points, effect, effect - margin, effect + margin,
        tuple(places.tolist()), error_label(error), column,
    ))  # fmt: skip


def moderation_of(real: RealPanel, panel: Panel, name: str, errors: tuple[str, ...], label: str) -> Moderation:
    """The estimator of a column, with the moderator's own coefficient where the effects leave it one."""
    return Moderation(
        name, unfit(replace(panel, weights={}), (name,)) is None, errors=errors, draws=real.spec.inference.draws,
        cluster_k=real.spec.inference.cluster_k, label=label,
    )  # fmt: skip


def triple_difference_of(
    real: RealPanel, panel: Panel, group: str, errors: tuple[str, ...], label: str
) -> TripleDifference:
    """The estimator of table D: the second value of a group less the first, numbers by size."""
    attribute = panel.attributes[group]
    first, second = dict.fromkeys(group_labels(attribute)[np.argsort(attribute, kind="stable")].tolist())
    return TripleDifference(
        group, (first, second), errors=errors, draws=real.spec.inference.draws,
        cluster_k=real.spec.inference.cluster_k, label=label,
    )  # fmt: skip


def _errors(real: RealPanel, panel: Panel, fit: Fit, ledger: Ledger) -> tuple[str, ...]:
    """The error types of the spec but placebos, which are of a treatment alone."""
    wanted = tuple(error for error in error_types(real.spec) if kind_of(error) not in PLACEBOS)
    say_what_is_left_out(ledger, fit, wanted, panel)
    return clustered_enough(panel, wanted)


def _at(estimates: Estimates, distance: float) -> np.ndarray:
    """Weights (K,) of the effect at a distance of the moderator from its mean."""
    return np.array([1.0, distance, *(0.0 for _ in estimates.terms[2:])])


def _compare_groups(real: RealPanel, ledger: Ledger, group: str) -> None:
    """The DID of both groups and their difference, or a note why there is none."""
    panel = replace(real.panel, weights={})
    if len(set(group_labels(panel.attributes[group]))) < 2:  # the sample of a claim
        ledger.note(f"No table {TRIPLE_DIFFERENCE}: all units of this sample have one value of {group}.")
        return
    label = f"table-{TRIPLE_DIFFERENCE}-column-1"
    estimator = triple_difference_of(real, panel, group, (), label)
    first, second = estimator.values
    fit = Fit((TRIPLE_DIFFERENCE, 1), "triple-difference", sample=f"{group} = {second} less {first}")
    estimator = replace(estimator, errors=_errors(real, panel, fit, ledger))
    try:
        why = unfit(estimator.derived(panel), estimator.names(panel.schema)[2])
        estimates = None if why else ledger.fit(panel, {estimator: fit}).get(estimator)
    except BadInput as refusal:
        why = reasons(refusal)
    if why:
        ledger.note(f"No table {TRIPLE_DIFFERENCE} ({fit.sample}): {why}.")
        return
    if estimates is None:
        return
    say_what_has_no_error(ledger, fit, panel, estimates)
    together = np.array([1.0, 1.0, *(0.0 for _ in estimates.terms[2:])])
    fitted = FittedColumn(panel, estimator, fit, estimates)
    ledger.combine(fitted, {f"{estimates.terms[0]} in {second}": together})


# How they are arranged: the records of a document as a table.


_MODERATION_NOTE = (
    "Each column adds the product of the treatment and a moderator less its mean over observed unit-periods, and the "
    "moderator itself where the effects leave it a coefficient. {name} is the effect at that mean."
)
_WEIGHTED_NOTE = "The mean of a moderator is by weight; its quantiles count unit-periods alike."
_TRIPLE_NOTE = (
    "One regression with unit effects and period effects of each group; controls have one slope. The triple difference "
    "is the DID of the second group less that of the first."
)


def moderation(setting: TableSetting) -> list[JournalTable]:
    """Table M: a column a moderator; effects at its mean and quantiles, the product, its own coefficient, controls."""
    columns = fit_columns(setting.document, MODERATION)
    columns = [column for column in columns if column.records]
    if not columns:
        return []
    names = [column.sample.removeprefix("by ") for column in columns]
    treatment, name = str(setting.treatment), setting.treatment_name
    shares = [f"{treatment} at p{share}" for share in QUANTILES]
    products = [f"{treatment} x {name}" for name in names]

    def row(label: str, terms: list[str]) -> list[Row]:
        return coefficient_rows(
            label, [setting.shown_record(column, term) for column, term in zip(columns, terms, strict=True)]
        )

    rows = row(f"{name}, at the moderator's mean", [treatment] * len(columns))
    rows += row(f"{name} × moderator", products)
    for share, term in zip(QUANTILES, shares, strict=True):
        rows += row(f"{name} at the {share}% quantile", [term] * len(columns))
    own = dict.fromkeys(term for column in columns for term in column.terms
                        if term not in (treatment, *shares, *products))  # fmt: skip
    for term in own:
        rows += row(setting.label(term), [term] * len(columns))
    of_moderator = {"moderator_mean": "Moderator: mean"}
    of_moderator |= {f"moderator_p{share}": f"  {share}% quantile" for share in QUANTILES}
    pairs = list(zip(columns, names, strict=True))
    values = {label: [column.by_term.get((statistic, moderator)) for column, moderator in pairs]
              for statistic, label in of_moderator.items()}  # fmt: skip
    rows += number_rows(values)
    rows += size_rows(columns, setting.units, setting.periods) + fit_rows(columns) + setting.error_row(columns)
    heads = tuple(Heading(setting.name(by), f"({column.column})", "by")
                  for by, column in zip(names, columns, strict=True))  # fmt: skip
    by_weight = _WEIGHTED_NOTE if "weight" in setting.document.panel else ""
    notes = setting.notes(columns, _MODERATION_NOTE.format(name=name), by_weight)
    return [JournalTable(MODERATION, f"Moderation: {setting.about}", heads, tuple(rows), notes)]


def triple_difference(setting: TableSetting) -> list[JournalTable]:
    """Table D: both groups' DID, the triple difference, controls."""
    columns = [column for column in fit_columns(setting.document, TRIPLE_DIFFERENCE) if column.records]
    if not columns:
        return []
    (column,) = columns
    group, _, values = column.sample.partition(" = ")
    second, _, first = values.rpartition(" less ")
    treatment, own = str(setting.treatment), setting.treatment_name
    labels = {treatment: f"{own}, {group} = {first}", f"{treatment} in {second}": f"{own}, {group} = {second}",
              f"{treatment} x {second}": "Triple difference"}  # fmt: skip
    rows: list[Row] = []
    for term, label in {**labels, **{term: setting.label(term) for term in column.terms if term not in labels}}.items():
        rows += coefficient_rows(label, [setting.shown_record(column, term)])
    rows += size_rows(columns, setting.units, setting.periods) + fit_rows(columns)
    notes = setting.notes(columns, _TRIPLE_NOTE)
    return [JournalTable(TRIPLE_DIFFERENCE, f"Triple difference by {group}: {setting.about}",
                         (Heading(column.sample, "(1)"),), tuple(rows), notes)]  # fmt: skip


TABLES = (MODERATION, TRIPLE_DIFFERENCE)
LAYOUTS = {8: moderation, 9: triple_difference}
