"""DID on samples matched on propensity scores: one robustness column a method, with how alike the groups became."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from estimators.core.estimator import Status
from estimators.matching.psm_did import LEAST_CLUSTERS, Matched, PsmDID, balance
from experiments.panel_spec.sections import PsmSection
from experiments.panel_spec.spec import RealPanel
from experiments.tables.columns import (
    ROUNDING,
    clustered_enough,
    error_types,
    least_squares_errors,
    say_what_has_no_error,
    say_what_is_left_out,
    unfit,
)
from experiments.tables.ledger import Ledger
from results.tables.records import ROBUSTNESS, Fit
from sim.errors import BadInput, bad, listed
from sim.panel import Panel, part, seen_in


def add(real: RealPanel, ledger: Ledger, first_column: int) -> None:
    """A column a method; one without a matched sample is a note that says why."""
    section = real.spec.robustness.psm
    if section is None:
        return
    try:
        panel, without = _with_covariates(real, section)
    except BadInput as refusal:
        ledger.note(f"Table {ROBUSTNESS} has no PSM columns: {_in_words(refusal)}.")
        return
    if without:
        ledger.note(f"PSM leaves out units without covariates in the years of matching: {listed(without, 12)}.")
    made = [
        _column(ledger, panel, estimator, column)
        for column, estimator in enumerate(_estimators(real, section), start=first_column)
    ]
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


def _estimators(real: RealPanel, section: PsmSection) -> list[PsmDID]:
    errors = least_squares_errors(real.spec)
    return [
        PsmDID(
            covariates=section.covariates, method=method, neighbours=section.neighbours, caliper=section.caliper,
            replacement=section.replacement, bandwidth=section.bandwidth, years=section.years, errors=errors,
            label=f"psm-{method}",
        )
        for method in section.methods
    ]  # fmt: skip


def _words(estimator: PsmDID) -> str:
    match estimator.method:
        case "nearest":
            several = f"{estimator.neighbours} nearest neighbour{'s' * (estimator.neighbours > 1)}"
            within = f", caliper {estimator.caliper:g}" if np.isfinite(estimator.caliper) else ""
            return f"PSM, {several}{within}{'' if estimator.replacement else ', without replacement'}"
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
    return unfit(_sample(found, panel), panel.roles.regressors)


def _sample(found: Matched, panel: Panel) -> Panel:
    return part(panel, found.units, np.ones(len(panel.periods), dtype=bool))


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
    kept = _sample(found, panel)
    errors = clustered_enough(kept, estimator.errors)
    say_what_is_left_out(ledger, fit, estimator.errors, errors)
    estimator = replace(estimator, errors=errors)
    estimates = estimator.fit(panel, found)
    if not ledger.succeeded(f"{column} of table {ROBUSTNESS} ({fit.sample})", estimates):
        return False
    ledger.keep(kept, fit, estimates)
    say_what_has_no_error(ledger, fit, panel, estimates, partial(_why_no_error, panel=panel, found=found))
    _say_sample(ledger, fit, panel, estimator, found)
    _keep_balance(ledger, replace(fit, model="psm"), panel, estimator, found)
    return True


def _why_no_error(error: str, panel: Panel, found: Matched) -> str:
    """Too few clusters of matched units, or errors that are rounding."""
    clusters = found.clusters(error, panel)
    if clusters is None or min(clusters) >= LEAST_CLUSTERS:
        return ROUNDING
    return (f"the regression needs {LEAST_CLUSTERS} or more clusters of matched treated units and as many of matched "
            f"controls, and there are {clusters[0]} and {clusters[1]}")  # fmt: skip


def _say_sample(ledger: Ledger, fit: Fit, panel: Panel, estimator: PsmDID, found: Matched) -> None:
    """The years of matching, and the treated units that are off the common support or have no match."""
    years = [period for period, inside in zip(panel.periods, estimator.window(panel), strict=True) if inside]
    off = int((found.treated & found.candidates & ~found.supported).sum())
    alone = int((found.supported & ~found.units).sum())
    if alone:
        spent = estimator.method == "nearest" and not estimator.replacement
        ledger.note(f"{fit.sample}: {alone} treated units on the common support are left out, because no "
                    f"{'unused control' if spent else 'control'} is near enough."
                    )  # fmt: skip
    ledger.note(f"PSM matches units on covariates' means over {years[0]}-{years[-1]}; {off} of "
                f"{int(found.treated.sum())} treated units are off the common support.")  # fmt: skip


def _keep_balance(ledger: Ledger, fit: Fit, panel: Panel, estimator: PsmDID, found: Matched) -> None:
    """Statistics of a matching: sizes, the score's logit, and for every covariate the groups before and after."""
    names = panel.roles.controls if estimator.covariates is None else estimator.covariates
    alike = balance(found.x, found.treated, found.weights, before=found.candidates)
    ledger.values(fit, {
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
        ledger.values(fit, of_term, term)
    for k, term in enumerate(names):
        ledger.values(fit, {name: values[k] for name, values in alike.items()}, term)
