"""Table R: the referee's menu, a column a check: other effects, samples, lags, outcomes, policies, and DID on samples
matched on propensity scores, with how alike the groups became.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from estimators.core.estimator import Status
from estimators.core.tile import without_singletons
from estimators.matching import LEAST_CLUSTERS, Matched, PsmDID
from estimators.matching import balance as balance_of
from experiments.panel_spec.sections import PsmSection, value_label
from experiments.panel_spec.spec import RealPanel, kept_units
from experiments.tables.ledger import (
    ROUNDING,
    UNIT_AND_PERIOD,
    Ledger,
    clustered_enough,
    error_types,
    least_squares_errors,
    reasons,
    regression,
    say_what_has_no_error,
    say_what_is_left_out,
    undated,
    unfit,
    with_further,
)
from results.tables.journal_table import Heading, JournalTable, TableSetting, fit_columns, number_rows, regressions
from results.tables.records import ROBUSTNESS, Fit
from sim.errors import BadInput, amount, bad, listed
from sim.panel import Panel, part, seen_in, seen_part
from sim.schema import period_step


@dataclass(frozen=True, eq=False, slots=True)
class RobustnessCheck:
    """One column: what it is in words, its panel, and what differs from column 5 of table 2."""

    sample: str
    panel: Panel
    further: tuple[str, ...] = ()  # regressors after the treatment
    outcome: str | None = None
    effects: tuple[str, ...] = UNIT_AND_PERIOD
    note: str = ""


def add(real: RealPanel, ledger: Ledger) -> None:
    """One column a check, in the order of the menu; those on matched samples last. Other W stand in table 7."""
    if not real.panel.roles.regressors:
        return
    column = 0
    for column, check in enumerate(checks(real), start=1):
        _fit(real, ledger, check, Fit((ROBUSTNESS, column), "did", sample=check.sample))
    _add_matched(real, ledger, first_column=column + 1)


def checks(real: RealPanel) -> Iterator[RobustnessCheck]:
    """The checks that the spec asks for, but those on matched samples."""
    section, panel = real.spec.robustness, replace(real.panel, weights={})
    if section.region_by_period:
        group = section.region_by_period
        yield RobustnessCheck(
            f"{group}-by-{real.spec.panel.period} effects", panel, effects=("unit", f"{group}-by-period")
        )
    if section.unit_trends:
        yield RobustnessCheck(
            f"{real.spec.panel.unit}-specific linear trends", panel, effects=(*UNIT_AND_PERIOD, "unit-trend")
        )
    if section.lag:
        yield lagged(panel, section.lag)
    if section.winsorize:
        name = str(panel.roles.outcome)
        values = panel.variables[name]
        low, high = np.quantile(values[0][seen_in(panel)], section.winsorize)  # linear between order statistics
        cut = panel.with_variables({name: np.clip(values, low, high)})
        words = f"outcome winsorised at {section.winsorize[0]:g} and {section.winsorize[1]:g}"
        yield RobustnessCheck(words, cut, note=f"{name} is cut at {low:.6g} and {high:.6g}")
    for first, last in section.windows:
        inside = (np.asarray(panel.periods) >= first) & (np.asarray(panel.periods) <= last)
        yield RobustnessCheck(f"{first}-{last}", seen_part(panel, seen_in(panel) & inside[:, None]))
    for name, excluded in section.exclude.items():
        left = kept_units(real.spec, panel, name)
        if left.sum() < 2:  # of the sample of a claim; the spec is refused where the whole panel has no others
            continue
        kept = part(panel, left, np.ones(len(panel.periods), dtype=bool))
        yield RobustnessCheck(f"without {name} {listed(map(value_label, excluded))}", kept)
    policies: list[tuple[str, ...]] = [(name,) for name in section.policies]
    policies += [section.policies] if len(section.policies) > 1 else []
    for names in policies:
        beside, note = with_further(real, names)
        words = f"with {names[0]}" if len(names) == 1 else "with all other policies"
        yield RobustnessCheck(words, beside, further=names, note=note)
    for name in section.outcomes:
        other, note = with_further(real, (name,))
        yield RobustnessCheck(f"outcome {name}", other, outcome=name, note=note)


def lagged(panel: Panel, lag: int) -> RobustnessCheck:
    """Treatment and controls of `lag` periods before, by the calendar; periods without such a one go."""
    periods, distance = np.asarray(panel.periods), lag * period_step(panel.periods)
    kept = np.isin(periods - distance, periods)
    source = np.searchsorted(periods, periods[kept] - distance)
    variables = {name: array[:, kept] for name, array in panel.variables.items()}
    variables |= {name: panel.variables[name][:, source] for name in panel.roles.regressors}
    seen = seen_in(panel)[kept] & seen_in(panel)[source]
    later = replace(panel, periods=tuple(periods[kept].tolist()), variables=variables, observed=seen[None])
    words = f"treatment and controls lagged by {amount(lag, 'period')}"
    left_out = f"{listed(periods[~kept], 12)} {'are' if (~kept).sum() > 1 else 'is'} left out"
    note = f"{left_out}, because the lags have no value there"
    if lost := int((seen_in(panel)[kept] & ~seen).sum()):
        note += (
            f"; {amount(lost, 'row')} of later periods {'are' if lost > 1 else 'is'} left out too, because "
            f"their unit is not observed {amount(lag, 'period')} before"
        )
    return RobustnessCheck(words, seen_part(later, seen), note=note)


def _fit(real: RealPanel, ledger: Ledger, check: RobustnessCheck, fit: Fit) -> None:
    """Fit a check, or say why there is no such column."""
    table, column = fit.place
    treatment, roles = real.panel.roles.treatment, real.panel.roles
    regressors = (*((treatment,) if treatment else ()), *check.further, *roles.controls)
    wanted = error_types(real.spec)
    kept = without_singletons(check.panel, check.effects)
    errors = clustered_enough(kept, wanted)
    label = f"table-{table}-column-{column}"
    estimator = regression(
        real.spec, label, regressors, outcome=check.outcome, effects=check.effects, errors=errors
    )  # fmt: skip
    try:
        replace(estimator, errors=("iid",))(check.panel)  # a trial: the runner would keep the status, not the reason
        estimates = ledger.fit(check.panel, {estimator: fit}).get(estimator)
    except BadInput as refusal:
        ledger.note(f"{fit.where} is empty: {reasons(refusal)}.")
        return
    if estimates is not None:
        say_what_has_no_error(ledger, fit, check.panel, estimates)
    if check.note:
        ledger.note(f"{fit.where}: {check.note}.")
    say_what_is_left_out(ledger, fit, wanted, kept)


# DID on samples matched on propensity scores: a column a method, with how alike the groups became.


def _add_matched(real: RealPanel, ledger: Ledger, first_column: int) -> None:
    """A column a method; one without a matched sample is a note that says why."""
    section = real.spec.robustness.psm
    if section is None or undated(real, ledger, f"Table {ROBUSTNESS} has no PSM columns"):
        return
    try:
        panel, without = _with_covariates(real, section)
    except BadInput as refusal:
        ledger.note(f"Table {ROBUSTNESS} has no PSM columns: {_in_words(refusal)}.")
        return
    if without:
        ledger.note(f"PSM leaves out units without covariates in the years of matching: {listed(without, 12)}.")
    made = []
    for column, method in enumerate(section.methods, start=first_column):
        estimator = PsmDID(
            covariates=section.covariates, method=method, neighbours=section.neighbours, caliper=section.caliper,
            replacement=section.replacement, bandwidth=section.bandwidth, years=section.years,
            errors=least_squares_errors(real.spec), label=f"psm-{method}",
        )  # fmt: skip
        made.append(_column(ledger, panel, estimator, column))
    if not any(made):
        return
    lacking = [error for error in error_types(real.spec) if error not in least_squares_errors(real.spec)]
    if lacking:
        ledger.note(f"PSM columns have no {listed(lacking)} errors: they cannot use weights.")
    ledger.note(
        "Standard errors of the PSM columns take the matching weights as given; they ignore the error of the score."
    )


def _in_words(refusal: BadInput) -> str:
    """What is wrong and what to do, of every problem."""
    return "; ".join(f"{problem.what}; {problem.remedy}" for problem in refusal.problems)


def _words(estimator: PsmDID) -> str:
    match estimator.method:
        case "nearest":
            which = amount(estimator.neighbours, "nearest neighbour")
            within = f", caliper {estimator.caliper:g}" if np.isfinite(estimator.caliper) else ""
            return f"PSM, {which}{within}{'' if estimator.replacement else ', without replacement'}"
        case "radius":
            return f"PSM, radius {estimator.caliper:g}"
        case "kernel":
            return f"PSM, kernel, bandwidth {estimator.bandwidth:g}"


def _with_covariates(real: RealPanel, section: PsmSection) -> tuple[Panel, list[str]]:
    """The panel with covariates that only matching uses, as unit means over its years, and the units that have none.

    Raises BadInput when there are no such years, or no unit has its covariates in them.
    """
    panel = replace(real.panel, weights={})
    names = [name for name in section.covariates or () if name not in panel.variables]
    inside = seen_in(panel) & PsmDID(years=section.years).window(panel)[:, None]
    kept, means = inside.any(axis=0), {}
    for name in names:
        counted = inside & np.isfinite(real.further[name][0])
        total = np.where(counted, real.further[name][0], 0.0).sum(axis=0)
        mean = total / np.maximum(counted.sum(axis=0), 1)
        means[name] = np.broadcast_to(mean, (1, len(panel.periods), len(panel.units))).copy()
        kept &= counted.any(axis=0)
    if not kept.any():
        raise bad("no unit has its covariates in the years of matching", where=f"{real.spec.file}, [robustness.psm]",
                  allowed="years with covariates", remedy="choose other years or covariates")  # fmt: skip
    every = np.ones(len(panel.periods), dtype=bool)
    without = [unit for unit, keep in zip(panel.units, kept, strict=True) if not keep]
    return part(panel.with_variables(means), kept, every), without


def _why_not(estimator: PsmDID, found: Matched, panel: Panel) -> str | None:
    """Why there is no matched sample, or no regression on it, and what to do."""
    treated, controls = (int((found.candidates & group).sum()) for group in (found.treated, ~found.treated))
    if not treated or not controls:
        return (f"matching needs treated and control units, and there are {treated} and {controls}; choose other years "
                "or covariates")  # fmt: skip
    if estimator.method == "nearest" and estimator.neighbours > controls:
        return f"neighbours = {estimator.neighbours}, but there are {controls} control units; ask for 1 to {controls}"
    if found.status is Status.SINGULAR:
        return ("the propensity score cannot be estimated; choose covariates that are not collinear and do not "
                "separate treated from control units perfectly")  # fmt: skip
    if not found.supported.any():
        return ("there is no common support: no treated unit has a score in the range of the controls; choose other "
                "covariates")  # fmt: skip
    if not found.units.any():
        return "no treated unit has a control within the caliper or bandwidth; choose a wider one"
    return unfit(part(panel, found.units, np.ones(len(panel.periods), dtype=bool)), panel.roles.regressors)


def _column(ledger: Ledger, panel: Panel, estimator: PsmDID, column: int) -> bool:
    """The regression on a matched sample, and its balance; whether there is one."""
    fit = Fit((ROBUSTNESS, column), "did", sample=_words(estimator))
    try:
        found = estimator.match(panel)
        why = _why_not(estimator, found, panel)
    except BadInput as refusal:
        why = _in_words(refusal)
    if why is not None:
        ledger.note(f"{fit.where} is empty: {why}.")
        return False
    matched = part(panel, found.units, np.ones(len(panel.periods), dtype=bool))
    kept = without_singletons(matched, UNIT_AND_PERIOD)
    errors = clustered_enough(kept, estimator.errors)
    say_what_is_left_out(ledger, fit, estimator.errors, kept)
    estimator = replace(estimator, errors=errors)
    estimates = estimator.fit(panel, found)
    if not ledger.succeeded(f"{column} of table {ROBUSTNESS} ({fit.sample})", estimates):
        return False
    ledger.keep(kept, fit, estimates)
    say_what_has_no_error(ledger, fit, panel, estimates, partial(_why_no_error, panel=panel, found=found))
    if singletons := matched.nobs - kept.nobs:
        ledger.note(f"{fit.where} leaves out {singletons} singleton observations.")
    alone = int((found.supported & ~found.units).sum())
    if alone:
        spent = estimator.method == "nearest" and not estimator.replacement
        ledger.note(f"{fit.sample}: {alone} treated units on the common support are left out, because no "
                    f"{'unused control' if spent else 'control'} is near enough."
                    )  # fmt: skip
    years = [period for period, inside in zip(panel.periods, estimator.window(panel), strict=True) if inside]
    off = int((found.treated & found.candidates & ~found.supported).sum())
    ledger.note(f"PSM matches units on covariates' means over {years[0]}-{years[-1]}; {off} of "
                f"{int(found.treated.sum())} treated units are off the common support.")  # fmt: skip

    # Sizes, the score's logit, and for every covariate how alike the groups are before and after.
    matching = replace(fit, model="psm")
    names = panel.roles.controls if estimator.covariates is None else estimator.covariates
    alike = balance_of(found.x, found.treated, found.weights, before=found.candidates)
    ledger.values(matching, {
        "treated": float((found.treated & found.candidates).sum()),
        "controls": float((~found.treated & found.candidates).sum()),
        "treated_on_support": float(found.supported.sum()),
        "treated_matched": float((found.treated & found.units).sum()),
        "controls_matched": float((~found.treated & found.units).sum()),
        "pseudo_r2": found.logit.pseudo_r2,
        "mean_bias_before": float(np.abs(alike["bias_before"]).mean()),
        "mean_bias_after": float(np.abs(alike["bias_after"]).mean()),
    })  # fmt: skip
    for k, term in enumerate(("constant", *names)):
        of_term = {"logit_coefficient": found.logit.coefficient[k], "logit_se": found.logit.se[k]}
        ledger.values(matching, of_term, term)
    for k, term in enumerate(names):
        ledger.values(matching, {name: values[k] for name, values in alike.items()}, term)
    return True


def _why_no_error(error: str, panel: Panel, found: Matched) -> str:
    """Too few clusters of matched units, or errors that are rounding."""
    clusters = found.clusters(error, panel)
    if clusters is None or min(clusters) >= LEAST_CLUSTERS:
        return ROUNDING
    return (f"the regression needs {LEAST_CLUSTERS} or more clusters of matched treated units and as many of matched "
            f"controls, and there are {clusters[0]} and {clusters[1]}")  # fmt: skip


# How it is arranged: the records of a document as a table.


_WHEN = {"before": "Before matching", "after": "After matching", "": "Logit of treatment"}


def robustness(setting: TableSetting) -> list[JournalTable]:
    """Table R: a column a robustness check."""
    columns = [column for column in fit_columns(setting.document, ROBUSTNESS) if column.records]
    heads = [Heading(column.sample, f"({column.column})") for column in columns]
    note = "Every column has unit and period effects and the controls, unless its heading says otherwise."
    title = f"Robustness checks, one per column: {setting.about}"
    return regressions(setting, ROBUSTNESS, title, columns, heads, [], note)


def balance(setting: TableSetting) -> list[JournalTable]:
    """How matching balances the covariates, a table a method."""
    tables = []
    for column in fit_columns(setting.document, ROBUSTNESS, ("psm",)):
        names = list(dict.fromkeys(name for name, _ in column.by_term))
        names.sort(key=lambda name: [*_WHEN].index(_when(name)))  # stable
        heads = tuple(Heading(name.removesuffix(f"_{_when(name)}").replace("_", " "), "", _WHEN[_when(name)])
                      for name in names)  # fmt: skip
        rows = number_rows({setting.label(term): [column.by_term.get((name, term)) for name in names]
                            for term in dict.fromkeys(term for _, term in column.by_term)})  # fmt: skip
        counts = ", ".join(f"{name.replace('_', ' ')} {value:,.6g}" for name, value in column.statistics.items())
        notes = (f"{counts}.", setting.data) if counts else (setting.data,)
        title = f"Balance of covariates: {column.sample}"
        tables.append(JournalTable("A", title, heads, rows, notes, appendix=True))
    return [table for table in tables if table.rows]


def _when(name: str) -> str:
    return next((when for when in _WHEN if when and name.endswith(f"_{when}")), "")


TABLES = (ROBUSTNESS,)
LAYOUTS = {20: robustness, 106: balance}
