"""Tables 2 to 4: the outcome on the treatment with more and more beside it, in other samples, in groups of units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Estimator
from estimators.core.tile import Tile
from estimators.linear.equal_effects import InteractionTest
from estimators.linear.random_effects import RandomEffects
from experiments.panel_spec.spec import RealPanel
from experiments.tables.ledger import (
    ALONE,
    TOO_SMALL,
    Ledger,
    clustered_enough,
    error_types,
    few_clusters,
    few_treated,
    known_terms,
    least_squares_errors,
    main_cluster,
    reasons,
    regression,
    say_what_has_no_error,
    treated_units,
    two_way,
    unfit,
)
from results.tables.journal_table import (
    FitColumn,
    Heading,
    JournalTable,
    Row,
    TableSetting,
    coefficient_rows,
    fit_columns,
    regressions,
)
from results.tables.records import (
    BASELINE,
    EQUAL_EFFECTS,
    Fit,
)
from results.tables.typography import decimals, digits, legend, model_label, probability
from sim.errors import BadInput, listed
from sim.panel import Panel, group_labels, seen_in

EFFECTS: dict[str, tuple[str, ...]] = {  # of a column of `BASELINE`
    "alone": (),
    "controls": (),
    "controls, periods": ("period",),
    "controls, units": ("unit",),
    "controls, units, periods": ("unit", "period"),
}
WEIGHTED = (
    "Least squares, 2SLS, mediation, matching and staggered estimators are weighted by {name}, the last by that of "
    "each unit in the first period. Random effects, which take no weights, are left out of table 2. Spatial models, "
    "tests of spatial correlation and descriptive statistics are not weighted."
)
MOST_COLUMNS = 8  # of one group of units
LEAST_UNITS = 3  # the scores of two cancel, and leave no clustered variance


def add(real: RealPanel, ledger: Ledger) -> None:
    """Table 2, and tables 3 and 4 as far as the spec names capitals, another policy, groups of units."""
    add_baseline(real, ledger)
    if real.panel.roles.regressors:
        _add_checks(real, ledger)
    add_subsamples(real, ledger)


def add_baseline(real: RealPanel, ledger: Ledger) -> None:
    """Table 2; columns without unit effects by pooled OLS and by random effects, for the paper does not say which."""
    roles = real.panel.roles
    if not roles.regressors:
        ledger.note("No table 2: the spec names neither a treatment nor controls.")
        return
    if roles.treatment is None:
        ledger.note("The spec names no treatment: the coefficients are those of the controls.")
    if roles.treatment is not None and not roles.controls:
        ledger.note("Table 2 has no column 2: this column adds controls, and the spec names none.")
    lacking = [error for error in error_types(real.spec) if error not in least_squares_errors(real.spec)]
    if roles.weight is not None:
        ledger.note(WEIGHTED.format(name=roles.weight))
    elif lacking:
        ledger.note(f"Random effects have no {listed(lacking)} errors; their columns show the other error types.")
    if roles.treatment is not None and (few := few_treated(real.panel, real.spec)):
        ledger.note(f"The panel has {few}: {TOO_SMALL} (tables 2, 3 and R; table S, column 1). The wild cluster "
                    "bootstrap then rejects too rarely. A permutation test of the treatment keeps its level: see "
                    "panelproof placebo.")  # fmt: skip
    for sentence in few_clusters(real):
        ledger.note(sentence)

    fits: dict[Estimator, Fit] = {}
    for title in EFFECTS:
        regressors = (roles.treatment,) if title == "alone" else roles.regressors
        if None in regressors or (title == "controls" and not roles.controls):
            continue
        names = tuple(name for name in regressors if name)
        place, effects = BASELINE[title], EFFECTS[title]
        model = "did" if "unit" in effects else "pooled"
        label = f"table-{place[0]}-column-{place[1]}"
        fits[regression(real.spec, f"{label}-{model}", names, effects=effects)] = Fit(place, model)
        if model == "pooled" and real.spec.panel.weight is None:
            random = RandomEffects(
                regressors=names, periods="period" in effects, errors=least_squares_errors(real.spec),
                label=f"{label}-random", tests=True,
            )  # fmt: skip
            fits[random] = Fit(place, "random")
    for estimator, estimates in ledger.fit(real.panel, fits).items():
        say_what_has_no_error(ledger, fits[estimator], real.panel, estimates)


def add_chosen(ledger: Ledger, chosen: Mapping[Estimator, Panel]) -> None:
    """Further columns of table 2: estimators that the user named, each on its panel; a note where one cannot serve, and
    on what has no error."""
    from estimators.staggered.adoption_effects import AdoptionEffects  # not needed otherwise, and slow to import
    from estimators.staggered.callaway_santanna import CallawaySantAnna

    for column, (estimator, panel) in enumerate(chosen.items(), start=len(BASELINE) + 1):
        place = ("2", column)
        try:
            fit = Fit(place, estimator.name)
            estimates = ledger.fit(panel, {estimator: fit}).get(estimator)
            if estimates is not None and isinstance(estimator, AdoptionEffects | CallawaySantAnna):
                known = estimates.only(known_terms(estimates))
                say_what_has_no_error(ledger, fit, panel, known, lambda _: ALONE)
        except BadInput as error:
            ledger.note(f"Table {place[0]} has no column {place[1]} ({estimator.name}): {reasons(error)}.")


def _add_checks(real: RealPanel, ledger: Ledger) -> None:
    """Table 3: without capitals; beside another policy, with the correlation of the two dummies over unit-periods, as
    they are and without unit and period effects."""
    if real.spec.panel.capital:
        capital = real.panel.attributes["capital"].astype(bool)
        fit = Fit(("3", 1), "did", sample="without capitals")
        if not capital.any() or capital.all():
            which = "every" if capital.all() else "no"
            ledger.note(f"Table 3 has no column 1: {which} unit is a capital ({real.spec.panel.capital}).")
        elif two_way(real, ledger, real.subset(~capital, weights=False), fit):
            ledger.value(fit, "units_left_out", float(capital.sum()))

    other, treatment = real.spec.panel.other_policy, real.panel.roles.treatment
    if not other:
        return
    if treatment is None:
        ledger.note(f"Table 3 has no column 2: {other} is added to a treatment, and the spec names no treatment.")
        return
    fit = Fit(("3", 2), "did")
    regressors = (treatment, other, *real.panel.roles.controls)
    if not two_way(real, ledger, real.panel, fit, regressors):
        return
    tile = Tile(real.panel)
    seen = seen_in(real.panel)[None]
    for name, view in (("correlation", tile.raw), ("correlation_within", tile.within)):
        ledger.value(fit, name, float(np.corrcoef(view(treatment)[seen], view(other)[seen])[0, 1]), term=other)


def add_subsamples(real: RealPanel, ledger: Ledger) -> None:
    """Table 4: a column a value of each of the spec's groups, then the group's test of equal effects."""
    treatment, groups = real.panel.roles.treatment, real.spec.panel.groups
    if groups and treatment is None:
        ledger.note(
            "There is no table 4: it compares the treatment's effect between groups, and the spec names no treatment."
        )
        return
    position = 0
    for group in groups:
        attribute = real.panel.attributes[group]
        labels = group_labels(attribute)  # of units; their distinct values in their own order, numbers by size:
        values = list(dict.fromkeys(labels[np.argsort(attribute, kind="stable")].tolist()))
        if len(values) <= MOST_COLUMNS:
            for value in values:
                fit = Fit(("4", position + 1), "did", sample=f"{group} = {value}")
                part = real.subset(labels == value, weights=False)
                position += 1
                if not two_way(real, ledger, part, fit):
                    continue
                if not part.roles.continuous:
                    ledger.value(fit, "treated_units", float(treated_units(part).sum()))
                if few := few_treated(part, real.spec):  # MacKinnon and Webb (2018)
                    ledger.note(f"{fit.sample} has {few}: {TOO_SMALL}.")
        _test_equal_effects(real, ledger, group, labels, values)


def _test_equal_effects(
    real: RealPanel, ledger: Ledger, group: str, labels: NDArray[np.str_], values: list[str]
) -> None:
    """The test between the values with an estimate and a clustered variance, under errors that all of them can have."""
    kept: list[str] = []
    errors = least_squares_errors(real.spec)
    for value in values:
        part = real.subset(labels == value, weights=False)
        if len(part.units) >= LEAST_UNITS and unfit(part, real.panel.roles.regressors) is None:
            kept.append(value)
            errors = clustered_enough(part, errors)
    if len(values) > MOST_COLUMNS:
        ledger.note(f"Table 4 has no columns by {group}, which has {len(values)} values; {_tested(values, kept)}.")
    elif len(kept) < 2:
        ledger.note(f"No test of equal effects by {group}: it needs two values with an estimate.")
    if len(kept) < 2:
        return
    main = main_cluster(real.spec)
    if main not in errors:
        ledger.note(f"The test of equal effects by {group} clusters by unit: {main} has one cluster for some value.")
    estimator = InteractionTest(
        group, tuple(kept), errors=errors, test=main if main in errors else "cluster:unit",
        cluster_k=real.spec.inference.cluster_k, draws=real.spec.inference.draws,
        label=f"table-4-test-{real.spec.panel.groups.index(group) + 1}",
    )  # fmt: skip
    ledger.fit(real.subset(np.isin(labels, kept), weights=False),
               {estimator: Fit(EQUAL_EFFECTS, "interaction", sample=group)})  # fmt: skip


def _tested(values: list[str], kept: list[str]) -> str:
    """In words, which of many values the test of equal effects is between."""
    left = [value for value in values if value not in kept]
    if len(kept) < 2:
        count = "one of them has" if kept else "none of them has"
        return f"there is no test of equal effects: {count} an estimate with a clustered error, and the test needs two"
    if not left:
        return "the test of equal effects compares all of them"
    return f"the test of equal effects leaves out those without an estimate or a clustered error: {listed(left, 12)}"


# How it is arranged: the records of a document as a table.


_IN_TABLE_2 = ("pooled", "random", "did")
_FIT = {
    "did": "R² counts the column's effects as explained; R² within is that of the outcome net of these "
    "effects (in a pooled column, of period effects alone).",
    "random": "R² within, between and overall of random effects are squared correlations of the outcome with x'b, for "
    "deviations from unit means, for unit means, and for all values.",
}
_CORRELATIONS = {"correlation": "Correlation with {treatment}", "correlation_within": "  net of the effects"}


def baseline(setting: TableSetting) -> list[JournalTable]:
    """Table 2: columns 1 to 3 as pooled OLS and as random effects side by side, the fixed effects, then the estimators
    that the user named."""
    found = fit_columns(setting.document, "2")
    further = [column for column in found if column.place not in BASELINE.values()]
    columns = [column for column in found if column.place in BASELINE.values()]
    columns.sort(key=lambda column: _IN_TABLE_2.index(column.model))  # stable: by number within a model
    heads = [Heading("", f"({column.column})", model_label(column.model)) for column in columns]
    heads += [Heading("", f"({column.column})", column.model) for column in further]
    twice = len({column.model for column in columns} & {"pooled", "random"}) == 2
    note = ("Columns 1 to 3 are estimated twice, by pooled least squares and by random effects (Swamy-Arora). These "
            "are different estimators, and a table should name the one that it prints.")  # fmt: skip
    effects = {place: names for names, place in BASELINE.items()}
    given = [effects[column.place] + "random" * (column.model == "random") for column in columns]
    given += ["-"] * len(further)
    fit = [text for model, text in _FIT.items() if any(column.model == model for column in columns)]
    title = f"Regressions of {setting.about}"
    said = (note if twice else "", *fit, legend(term for column in further for term in column.terms))
    return regressions(setting, "2", title, [*columns, *further], heads, given, *said)


def checks(setting: TableSetting) -> list[JournalTable]:
    """Table 3: without capitals, and with another policy."""
    columns = fit_columns(setting.document, "3", ("did",))
    heads = []
    for column in columns:
        others = [term for term in column.terms if term not in (setting.treatment, "constant", *setting.controls)]
        words = column.sample if column.sample != "all" else f"with {', '.join(map(setting.name, others))}"
        heads.append(Heading(words, f"({column.column})"))
    labels = {name: label.format(treatment=setting.treatment_name) for name, label in _CORRELATIONS.items()}
    found = [{name: digits(value) for (name, _), value in column.by_term.items()} for column in columns]  # of one term
    together = [Row(label, tuple(own.get(name, "") for own in found)) for name, label in labels.items()]
    rows = [row for row in together if any(row.cells)]
    title = f"Other sample, other policy: {setting.about}"
    return regressions(setting, "3", title, columns, heads, None, rows=rows)


def subsamples(setting: TableSetting) -> list[JournalTable]:
    """Table 4: a column a subsample, the test of equal effects under the columns of its group."""
    columns = fit_columns(setting.document, "4", ("did",))
    tests = fit_columns(setting.document, "4", ("interaction",))
    heads = []
    for column in columns:
        group, _, value = column.sample.partition(" = ")
        heads.append(Heading(value or group, f"({column.column})", group if value else ""))
    alone = [test for test in tests if test.sample not in {head.group for head in heads}]
    heads += [Heading("test alone", "", test.sample) for test in alone]
    columns += [FitColumn(EQUAL_EFFECTS, "interaction", sample=test.sample) for test in alone]
    rows = _equal_effects(setting, heads, tests)
    dose = "treatment_kind" in setting.document.panel
    within = "units whose treatment is not always 0 and among the others" if dose else \
             "treated units and among untreated units"  # fmt: skip
    note = ("The test of equal effects is that of the fully interacted regression. For its p value by permutation, "
            f"group labels are permuted among {within}.")  # fmt: skip
    title, said = f"Subsamples: {setting.about}", note if rows else ""
    heads = [replace(head, group=setting.name(head.group) if head.group else "") for head in heads]
    return regressions(setting, "4", title, columns, heads, None, said, rows=rows, tests=tests)


def _equal_effects(setting: TableSetting, heads: Sequence[Heading], tests: Sequence[FitColumn]) -> list[Row]:
    """Differences to the first value under the values, then Wald and permutation tests under the first of a group."""
    by_group = {test.sample: test for test in tests}
    firsts = [j == 0 or head.group != heads[j - 1].group for j, head in enumerate(heads)]
    treatment = setting.treatment or "did"
    differences = []
    for head in heads:
        test = by_group.get(head.group)
        differences.append(None if test is None else setting.shown_record(test, f"{treatment} x {head.label}"))
    rows = coefficient_rows("Difference to the first", differences) if any(differences) else []
    in_first = [by_group.get(head.group) if first else None for head, first in zip(heads, firsts, strict=True)]
    for name, label, form in (
        ("wald", "Wald χ²", decimals), ("wald_p", "p (F)", probability),
        ("permutation_p", "p by permutation", probability), ("permutation_p_mcse", "its Monte Carlo error", digits),
    ):  # fmt: skip
        cells = tuple("" if test is None else form(test.statistics.get(name)) for test in in_first)
        if any(cells):
            rows.append(Row(label, cells, "error" if name.endswith("mcse") else "value"))
    return [Row("Test of equal effects", kind="head"), *rows] if rows else []


TABLES = ("2", "3", "4")
LAYOUTS = {2: baseline, 3: checks, 4: subsamples}
