"""DID on samples matched on propensity scores: one robustness column a method, with how alike the groups became."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from estimators.estimator import Status
from estimators.matching.matching import balance
from estimators.matching.psm_did import Matched, PsmDID
from experiments.specs.robustness import PsmSection
from experiments.specs.spec import RealPanel
from experiments.specs.subpanels import part, seen_in
from experiments.tables.columns import clustered_enough, error_types, unfit
from experiments.tables.ledger import Ledger
from results.tables.places import ROBUSTNESS
from results.tables.records import Fit
from sim.errors import BadInput, Problem, listed
from sim.panel import Panel


def add(real: RealPanel, ledger: Ledger, first_column: int) -> None:
    """A column a method; raises BadInput when a method finds no matched sample."""
    section = real.spec.robustness.psm
    if section is None:
        return
    panel, without = _with_covariates(real, section)
    if without:
        ledger.note(f"PSM leaves out units without covariates in the years of matching: {listed(without, 12)}.")
    matchings = {estimator: estimator.match(panel) for estimator in _estimators(real, section)}
    problems = [
        Problem(why, f"{real.spec.file}, [robustness.psm], {_words(estimator)}", allowed, remedy)
        for estimator, found in matchings.items()
        for why, allowed, remedy in _why_not(estimator, found)
    ]
    if problems:
        raise BadInput(*dict.fromkeys(problems))
    lacking = [error for error in error_types(real.spec) if error.startswith("wild:")]
    if lacking:
        ledger.note(f"PSM columns have no {listed(lacking)} errors: the bootstrap has no weights.")
    ledger.note("Errors of the PSM columns take the matching weights as given: the score's own error is left out.")
    for column, (estimator, found) in enumerate(matchings.items(), start=first_column):
        _column(ledger, panel, estimator, found, column)


def _estimators(real: RealPanel, section: PsmSection) -> list[PsmDID]:
    errors = tuple(error for error in error_types(real.spec) if not error.startswith("wild:"))
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
    """The panel with covariates that only matching uses, as unit means over its years, and the units that have none."""
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
    every = np.ones(len(panel.periods), dtype=bool)
    without = [unit for unit, keep in zip(panel.units, kept, strict=True) if not keep]
    return part(panel.with_variables(means), kept, every), without


def _why_not(estimator: PsmDID, found: Matched) -> list[tuple[str, str, str]]:
    """What is wrong, what is allowed and what to do when there is no matched sample, or too few controls for one."""
    controls = int((found.candidates & ~found.treated).sum())
    if estimator.method == "nearest" and estimator.neighbours > controls:
        return [(f"neighbours = {estimator.neighbours}, but there are {controls} control units", f"1 to {controls}",
                 "ask for fewer")]  # fmt: skip
    if found.status is Status.SINGULAR:
        return [("the propensity score cannot be estimated", "covariates that neither are collinear nor tell treated "
                 "from control units for certain", "choose other covariates")]  # fmt: skip
    if not found.supported.any():
        return [("there is no common support: no treated unit's score lies in the range of the controls'",
                 "groups that overlap", "choose other covariates")]  # fmt: skip
    if not found.units.any():
        return [("no treated unit has a control near enough", "a caliper or bandwidth that reaches some",
                 "choose a wider one")]  # fmt: skip
    return []


def _column(ledger: Ledger, panel: Panel, estimator: PsmDID, found: Matched, column: int) -> None:
    """The regression on a matched sample, and its balance."""
    kept = part(panel, found.units, np.ones(len(panel.periods), dtype=bool))
    fit = Fit((ROBUSTNESS, column), "did", sample=_words(estimator))
    why = unfit(kept, panel.roles.regressors)
    if why is not None:
        ledger.note(f"Table {ROBUSTNESS}, column {column} ({fit.sample}) is empty: {why}.")
        return
    estimator = replace(estimator, errors=clustered_enough(kept, estimator.errors))
    estimates = estimator(panel)
    if not ledger.succeeded(f"{column} of table {ROBUSTNESS} ({fit.sample})", estimates):
        return
    ledger.keep(kept, fit, estimates)
    years = [period for period, inside in zip(panel.periods, estimator.window(panel), strict=True) if inside]
    off = int((found.treated & found.candidates & ~found.supported).sum())
    alone = int((found.supported & ~found.units).sum())
    if alone:
        spent = estimator.method == "nearest" and not estimator.replacement
        ledger.note(f"{fit.sample}: {alone} treated units on the common support have no match and are left out, for "
                    f"want of a control {'near enough that no other unit has taken' if spent else 'near enough'}."
                    )  # fmt: skip
    ledger.note(f"PSM matches units on covariates' means over {years[0]}-{years[-1]}; {off} of "
                f"{int(found.treated.sum())} treated units are off the common support.")  # fmt: skip
    _keep_balance(ledger, replace(fit, model="psm"), panel, estimator, found)


def _keep_balance(ledger: Ledger, fit: Fit, panel: Panel, estimator: PsmDID, found: Matched) -> None:
    """Statistics of a matching: sizes, the score's logit, and for every covariate the groups before and after."""
    names = panel.roles.controls if estimator.covariates is None else estimator.covariates
    alike = balance(found.x, found.treated, found.weights, before=found.candidates)
    sizes: Mapping[str, float] = {
        "treated": float((found.treated & found.candidates).sum()),
        "controls": float((~found.treated & found.candidates).sum()),
        "treated_on_support": float(found.supported.sum()),
        "treated_matched": float((found.treated & found.units).sum()),
        "controls_matched": float((~found.treated & found.units).sum()),
        "pseudo_r2": found.logit.pseudo_r2,
        "mean_bias_before": float(np.abs(alike["bias_before"]).mean()),
        "mean_bias_after": float(np.abs(alike["bias_after"]).mean()),
    }
    for name, value in sizes.items():
        ledger.value(fit, name, value)
    for k, term in enumerate(("constant", *names)):
        ledger.value(fit, "logit_coefficient", float(found.logit.coefficient[k]), term)
        ledger.value(fit, "logit_se", float(found.logit.se[k]), term)
    for name, values in alike.items():
        for term, value in zip(names, values, strict=True):
            ledger.value(fit, name, float(value) if np.isfinite(value) else None, term)
