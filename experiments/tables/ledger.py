"""What the fits of all tables share: where they are kept, their error types, and what is said of them.

A ledger holds the records, fit statistics, notes for the reader and failed fits of one panel.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from inspect import isfunction
from string import ascii_lowercase
from types import ModuleType
from typing import Any

import numpy as np

from estimators.core.error_types import error_label, groups_of, kind_of, served, without_se
from estimators.core.estimator import Estimates, Estimator, Status, TermCovariance, outcome_of, usual_error
from estimators.core.hypotheses import HypothesisTest, combine, hypothesis_test, parse_hypothesis
from estimators.core.regression import check_fixed
from estimators.core.tile import without_singletons
from estimators.linear.covariances import FEWEST_PERIODS, cells_of, count_clusters, equal_to
from estimators.linear.did import TwoWayDID
from estimators.linear.few_clusters import ADJUSTED, PLACEBOS, treated_and_never
from experiments.panel_spec.prepared import index_facts
from experiments.panel_spec.sections import Spec
from experiments.panel_spec.spec import RealPanel
from experiments.plugin_contracts import asking
from experiments.run.blocks import fit_panel
from results.plots.specification_curve import NAME as CURVE
from results.plots.specification_curve import curve_figure
from results.tables.chinese import in_language
from results.tables.journal_table import JournalTable, TableSetting, named_tables, shown_errors
from results.tables.records import (
    CROSS_CHECK,
    Document,
    Figure,
    Fit,
    Record,
    Specification,
    clusters_of,
    records_of,
    statistic_of,
    statistics_of,
)
from results.text import joined
from sim.arrays import Flags, Floats
from sim.errors import BadInput, amount, bad, listed, naming, one_of
from sim.panel import Panel, seen_in, seen_part
from sim.registry import modules_in
from sim.schema import TREATMENT

CLUSTERED = ("cluster", *ADJUSTED)  # kinds of error types whose tables say how many clusters there are


@dataclass(frozen=True, eq=False, slots=True)
class FittedColumn:
    """An estimator on a panel and what it said, for whoever wants to ask another program the same."""

    panel: Panel
    estimator: Estimator
    fit: Fit
    estimates: Estimates

    def test(self, text: str, error: str | None, where: str, treatment: str) -> HypothesisTest:
        """The test of a hypothesis on its terms under an error type (None: the usual one).

        An error type that tests 0 itself, as draws do, has its own p value and interval. Raises BadInput for what is no
        hypothesis, for another number under such a type, and for several terms of an estimator that has variances
        alone. treatment: what the file calls did.
        """
        found = self.estimates
        hypothesis = parse_hypothesis(text, found.terms, where, treatment)
        kind, k = usual_error(found.errors, error), hypothesis.alone
        row = found.errors.index(kind)
        with naming(where):
            if k is None:
                return hypothesis_test(hypothesis, found.estimate[0], self.estimator.covariance(self.panel, kind))
            se, dof = found.se[0, row], float(found.dof[0, row, k])
            if found.pvalue is None or found.lower is None or found.upper is None or np.isnan(found.pvalue[0, row, k]):
                own = TermCovariance(found.terms, np.diag(np.square(se))[None], dof)
                return hypothesis_test(hypothesis, found.estimate[0], own)
            if hypothesis.kind != "combination" or hypothesis.null[0]:
                raise bad(f"errors of type {kind} test 0 alone", where="test", allowed=f"{found.terms[k]} = 0",
                          remedy="test that, or choose another error type in Python (with_errors)")  # fmt: skip
            times, estimate = float(hypothesis.weights[0, k]), float(found.estimate[0, k])
            low, high = sorted(times * float(ends[0, row, k]) for ends in (found.lower, found.upper))
            return HypothesisTest(hypothesis.text, "combination", np.sign(times) * estimate / float(se[k]),
                                  float(found.pvalue[0, row, k]), dof, 1, times * estimate, abs(times) * float(se[k]),
                                  low, high)  # fmt: skip


@dataclass(eq=False, slots=True)
class Ledger:
    """Grows table by table. `seed` is that of everything that is drawn: bootstraps, permutations, simulations.

    names: labels by variable.
    """

    seed: int
    names: Mapping[str, str] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    statistics: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    fitted: list[FittedColumn] = field(default_factory=list)
    specifications: list[Specification] = field(default_factory=list)
    left_out: dict[tuple[str, tuple[str, ...]], list[Fit]] = field(default_factory=dict)

    def name(self, variable: object) -> str:
        """A variable as notes and figures call it: by its label where it has one."""
        return self.names.get(str(variable), str(variable))

    @property
    def treatment(self) -> str:
        """What notes call the treatment."""
        return self.name(TREATMENT)

    def fit(self, panel: Panel, fits: Mapping[Estimator, Fit]) -> dict[Estimator, Estimates]:
        """Fit estimators (of distinct names) on one panel as a study does and keep what they say.

        Returns the estimates of those that succeeded; one that did not is a failure in words, and no column; one that
        refuses the panel is a note that says why, and so are observations alone in a level of an effect.
        """
        fitted = fit_panel(panel, fits, self.seed)
        found = {}
        for estimator, fit in fits.items():
            estimates = fitted[estimator.name]
            if estimates.status[0] == Status.REFUSED:
                self.note(f"No column {estimator.name}: {_refusal(estimator, panel)}.")
            elif self.succeeded(estimator.name, estimates):
                used = estimator.used(panel)
                self.keep(used, fit, estimates)
                alone = panel.nobs - int(estimates.statistics.get("nobs", [panel.nobs])[0])
                if alone and used.nobs < panel.nobs:  # differences, too, are fewer than the rows
                    table, column = fit.place
                    self.note(f"Table {table}, column {column} leaves out {alone} singleton observations. Each is the "
                              "only observation of a unit, a period or a group in a period, and the effects fit it "
                              "exactly.")  # fmt: skip
                self.fitted.append(FittedColumn(panel, estimator, fit, estimates))
                found[estimator] = estimates
        return found

    def succeeded(self, name: str, estimates: Estimates) -> bool:
        """Whether a fit has estimates; one that has none is a failure in words."""
        status = Status(int(estimates.status[0]))
        if status is not Status.OK:
            self.failures.append(f"No column {name}: {why_failed(estimates)}.")
        return status is Status.OK

    def keep(self, panel: Panel, fit: Fit, estimates: Estimates, nobs: int | None = None) -> None:
        """Keep estimates and how many clusters there are but those of units.

        panel: the part that the estimates rest on. nobs: the rows of the regression where they are not that panel's.
        """
        seen = seen_in(panel)
        units, periods = int(seen.any(axis=0).sum()), int(seen.any(axis=1).sum())
        self.records += records_of(fit, estimates, panel.nobs if nobs is None else nobs, units, periods)
        self.statistics += statistics_of(fit, estimates)
        for error in estimates.errors:
            names = groups_of(error, tuple(panel.attributes)) if kind_of(error) in CLUSTERED else ()
            if names not in ((), ("unit",)):
                fewest = min(count_clusters(cells_of(name, panel), panel) for name in names)
                self.value(fit, clusters_of(error), float(fewest))

    def combine(self, fitted: FittedColumn, terms: Mapping[str, Floats]) -> None:
        """Keep combinations of a fit's terms, weights (K,) by name, under the error types that have covariances."""
        found, weights = fitted.estimates, np.array(list(terms.values()))
        kept = [error for error in found.errors if not without_se(error) and kind_of(error) != "cr2"]
        estimate, se, dof = weights @ found.estimate[0], [], []
        for error in kept:
            covariance = fitted.estimator.covariance(fitted.panel, error)
            own = combine(found.estimate[0], covariance, weights)[1]
            se.append(np.where(own > 0, own, np.nan))
            dof.append(np.full(len(terms), covariance.dof))
        made = Estimates(tuple(terms), tuple(kept), estimate[None], np.array([se]), np.array([dof]), found.status)
        first = next(record for record in self.records if Fit(**record.identity) == fitted.fit)
        self.records += records_of(fitted.fit, made, first.nobs, first.units, first.periods)

    def value(self, fit: Fit, name: str, value: float | None, term: str | None = None) -> None:
        """Keep one more statistic of a fit, of one of its terms or of all."""
        self.statistics.append(statistic_of(fit, name, value, term))

    def values(self, fit: Fit, found: Mapping[str, float | None], term: str | None = None) -> None:
        """Keep several statistics of a fit, or of one of its terms, by name."""
        for name, value in found.items():
            self.value(fit, name, value, term)

    def draw[**P](self, make: Callable[P, Figure], *arguments: P.args, **choices: P.kwargs) -> None:
        """Keep a figure, and name the file of `make` when drawing it raises; raises BadInput for what is no figure, for
        a name that another one has, and for one that is no name of a file."""
        made = make(*arguments, **choices)
        if not isinstance(made, Figure):
            raise bad(f"a figure is {made!r:.40}", where=f"{make.__module__}.{make.__name__}", allowed="a Figure",
                      remedy="end the function with return figure(...)")  # fmt: skip
        if not re.fullmatch(r"[a-zA-Z0-9_-]+", made.name):  # it begins the ids of its parts, too
            raise bad(f"a figure is called {made.name!r}", where=f"{make.__module__}.{make.__name__}",
                      allowed="letters from a to z, digits, - and _", remedy="rename it")  # fmt: skip
        if any(figure.name == made.name for figure in self.figures) or (made.name == CURVE and make != curve_figure):
            raise bad(f"two figures are called {made.name!r}", where=f"{make.__module__}.{make.__name__}",
                      allowed="a name of its own for each", remedy="rename one")  # fmt: skip
        drawn = asking(make, f"figure {made.name}")(made.drawn)
        self.figures.append(replace(made, drawn=drawn))

    def note(self, text: str) -> None:
        """Tell the reader something, once."""
        if text not in self.notes:
            self.notes.append(text)


def _left_out(fits: Sequence[Fit], errors: tuple[str, ...], need: str) -> str:
    if not fits:
        return ""
    columns = joined([f"{fit.column} ({fit.sample})" for fit in fits], len(fits))
    many, have = ("s", "have") if len(fits) > 1 else ("", "has")
    kinds = joined(errors, len(errors))
    return f"Table {fits[0].table}, column{many} {columns} {have} no {kinds} errors: they need {need}."


def reasons(error: BadInput) -> str:
    """What is wrong, in words."""
    return listed(problem.what for problem in error.problems)


def _refusal(estimator: Estimator, panel: Panel) -> str:
    """Why an estimator refuses a panel: the runner keeps that it does."""
    try:
        estimator(panel)
    except BadInput as error:
        return reasons(error)
    return Status.REFUSED.meaning


def why_failed(estimates: Estimates) -> str:
    """Why the fit of one panel gave no estimate, in a clause, with the place where a search for rho or lambda ended."""
    status = Status(int(estimates.status[0]))
    if status is Status.OK:
        return "nothing of the panel tells of its effect"
    for name in ("rho", "lambda"):
        if status is Status.NOT_CONVERGED and name in estimates.terms:
            at = estimates.estimate[0, estimates.terms.index(name)]
            return f"the likelihood rises to the edge of the interval, {name} = {at:.4f}"
    return status.meaning


# Columns of linear models: their error types, warnings where clusters are few, and the two-way column on a part.


UNIT_AND_PERIOD = ("unit", "period")
ALONE = "what they average or compare with rests on one cluster, or on cohorts of one unit each"
ROUNDING = "it is zero up to rounding"
_WHY = {
    "cv3": "without one of the clusters there is no such coefficient",
    "cr2": "without one of the clusters there is no such coefficient",
    "conley-taber": "no unit that is never treated has its cells",
    "ferman-pinto": "no unit that is never treated has its cells",
}
FEW_TREATED = 10  # MacKinnon and Webb (2018)
FEW_CLUSTERS = 30
TOO_FEW_FOR_WILD = 6
TWO_UNITS = ("With two units and period effects, coefficients have no errors clustered by unit or by groups of units, "
             "and no stars, because the scores of both units are zero.")  # fmt: skip
TOO_SMALL = "clustered errors tend to be too small with so few"


def main_cluster(spec: Spec) -> str:
    """The error type clustered as the spec says, by unit when it says nothing."""
    cluster = spec.panel.cluster
    return "cluster:unit" if cluster in (None, spec.panel.unit) else f"cluster:{cluster}"


def error_types(spec: Spec) -> tuple[str, ...]:
    """Error types of every column: iid, HC1, the main cluster, and what [inference] asks for beside them."""
    return tuple(dict.fromkeys(("iid", "hc1", main_cluster(spec), *spec.inference.errors)))


def least_squares_errors(spec: Spec) -> tuple[str, ...]:
    """Those of them that estimators other than the regression of `did` have too."""
    return tuple(error for error in error_types(spec) if served(error, tuple(spec.attributes), "least-squares"))


def regression(
    spec: Spec,
    label: str,
    regressors: tuple[str, ...] | None = None,
    *,
    outcome: str | None = None,
    effects: tuple[str, ...] = UNIT_AND_PERIOD,
    errors: tuple[str, ...] | None = None,
) -> TwoWayDID:
    """The linear regression of every column, with the settings of the spec: the estimator that studies run.

    Error types by placebos are of a treatment beside two-way effects; other columns do not have them.
    """
    treated = spec.panel.treatment is not None or spec.panel.first_treated is not None
    placebos = set(effects) == set(UNIT_AND_PERIOD) and treated and (regressors is None or TREATMENT in regressors)
    wanted = error_types(spec) if errors is None else errors
    kept = tuple(error for error in wanted if placebos or kind_of(error) not in PLACEBOS)
    return TwoWayDID(
        outcome, regressors, kept, label=label, effects=effects,
        constant=True, draws=spec.inference.draws, cluster_k=spec.inference.cluster_k,
    )  # fmt: skip


def two_way(real: RealPanel, ledger: Ledger, part: Panel, fit: Fit, regressors: tuple[str, ...] | None = None) -> bool:
    """Column 5 of table 2 on a part of the panel, and whether there is one; a note says why there is none."""
    names = part.roles.regressors if regressors is None else regressors
    table, column = fit.place
    why = unfit(part, names)
    if why:
        ledger.note(f"Table {table} has no column {column} ({fit.sample}): {why}.")
        return False
    kept = without_singletons(part, UNIT_AND_PERIOD)
    errors = clustered_enough(kept, error_types(real.spec))
    say_what_is_left_out(ledger, fit, error_types(real.spec), kept)
    estimator = regression(real.spec, f"table-{table}-column-{column}", names, errors=errors)
    estimates = ledger.fit(part, {estimator: fit}).get(estimator)
    if estimates is not None:
        say_what_has_no_error(ledger, fit, part, estimates)
    return estimates is not None


def say_what_is_left_out(ledger: Ledger, fit: Fit, wanted: Iterable[str], panel: Panel) -> None:
    """A note, one for all columns of a table, on error types that are wanted of a column and for which its panel lacks
    something."""
    lacking: dict[str, list[str]] = {}
    for error in wanted:
        lacking.setdefault(need_of(panel, error), []).append(error)
    for need in filter(None, lacking):
        errors = tuple(lacking[need])
        fits = ledger.left_out.setdefault((fit.table, errors), [])
        before = _left_out(fits, errors, need)
        fits.append(fit)
        if before in ledger.notes:
            ledger.notes[ledger.notes.index(before)] = _left_out(fits, errors, need)
        else:
            ledger.note(_left_out(fits, errors, need))


def say_what_has_no_error(
    ledger: Ledger, fit: Fit, part: Panel, estimates: Estimates, why: Callable[[str], str] = lambda error: ROUNDING
) -> None:
    """A note for every error type that is missing of some terms; why: in words, why an error type is."""
    names = [ledger.treatment if term == part.roles.treatment else term for term in estimates.terms]
    for row, error in enumerate(estimates.errors):
        tested = estimates.pvalue if without_se(error) else estimates.se
        assert tested is not None
        lacking = [name for name, value in zip(names, tested[0, row], strict=True) if np.isnan(value)]
        if kind_of(error) in PLACEBOS:
            lacking = [name for name in lacking if name == ledger.treatment]  # it is a test of the treatment alone
        if kind_of(error) in ADJUSTED:
            lacking = [name for name in lacking if name != "constant"]  # without a cluster its effects are unknown
        if lacking:
            ledger.note(f"{fit.where} has no {error} error of {listed(lacking)}: {why_no_error(error, why(error))}.")


def why_no_error(error: str, otherwise: str = ROUNDING) -> str:
    """Why an error type is missing of a term, in a clause; otherwise: where the error type alone does not say it."""
    return _WHY.get(kind_of(error), otherwise)


def known_terms(estimates: Estimates) -> tuple[str, ...]:
    """Terms of one panel that have an estimate, without reference periods, which are zero and have no error."""
    estimate, se = estimates.estimate[0], estimates.se[0]
    known = np.isfinite(estimate) & ~((estimate == 0) & ~np.isfinite(se).any(axis=0))
    return tuple(term for term, here in zip(estimates.terms, known, strict=True) if here)


def unfit(panel: Panel, regressors: tuple[str, ...]) -> str | None:
    """In words, why a two-way regression on this panel is none, or None when it is one.

    An outcome in the span of regressors and effects counts, as of a panel with fewer observations than parameters.
    """
    try:
        check_fixed(panel, (*regressors, outcome_of(None, panel.schema, "")), "")
    except BadInput as error:
        return reasons(error)
    return None


def clustered_enough(panel: Panel, errors: tuple[str, ...]) -> tuple[str, ...]:
    """The error types for which this panel has what they need."""
    return tuple(error for error in errors if not need_of(panel, error))


def need_of(panel: Panel, error: str) -> str:
    """What an error type needs and a panel lacks, in words: two clusters by every attribute that it names, periods
    whose scores may be summed, units for placebos; "" for nothing. Unknown names are left to the estimator to refuse.
    """
    names = groups_of(error, tuple(panel.attributes))
    known = [name for name in names if name in ("unit", "period", *panel.attributes)]
    if any(count_clusters(cells_of(name, panel), panel) < 2 for name in known):
        return "2 clusters"
    summed = kind_of(error) == "driscoll-kraay" or "period" in names
    if summed and count_clusters(cells_of("period", panel), panel) < FEWEST_PERIODS:
        return f"{FEWEST_PERIODS} periods"
    return "2 units that are never treated" if kind_of(error) in PLACEBOS and never_treated(panel) < 2 else ""


def never_treated(panel: Panel) -> int:
    """How many units placebos can come from; 0 of a panel without a treatment."""
    treatment = panel.roles.treatment
    seen = seen_in(panel)
    if treatment is None:
        return 0
    return int(treated_and_never(np.where(seen, panel.variables[treatment][0], 0.0), seen.astype(np.float64))[1].sum())


def treated_units(panel: Panel) -> Flags:
    """Units that are treated in an observed period, (N,); of a treatment of any strength, those whose own changes."""
    path = panel.variables[panel.roles.treatment or "did"][0]
    if panel.roles.continuous:
        seen = seen_in(panel)
        return np.asarray(np.where(seen, path, np.inf).min(axis=0) < np.where(seen, path, -np.inf).max(axis=0))
    did = path > 0
    return np.asarray((did & seen_in(panel)).any(axis=0))


def fewest_clusters(panel: Panel, error: str) -> int:
    """How many clusters of an error type hold units that are treated at some time, or units that never are: the fewer
    of both, of those that there are."""
    treated, name = treated_units(panel), error.partition(":")[2]
    labels = np.asarray(panel.attributes.get(name, panel.units)).astype(str)
    return min(len(np.unique(labels[some])) for some in (treated, ~treated) if some.any())


def few_treated(panel: Panel, spec: Spec) -> str | None:
    """In words, how many treated units a panel has, and in how many clusters, where either are few; None elsewhere.

    Clusters that are all treated are no fewer than the clusters themselves, of which `few_clusters` speaks.
    """
    treated, name = treated_units(panel), main_cluster(spec).removeprefix("cluster:")
    count = int(treated.sum())
    words = amount(count, "treated unit")
    if name == "unit":
        return words if count < FEW_TREATED else None
    codes = cells_of(name, panel)[0]
    groups, held = len(np.unique(codes)), len(np.unique(codes[treated]))
    if count >= FEW_TREATED and (held >= FEW_TREATED or held == groups):
        return None
    return f"{words} in {amount(held, 'cluster')} by {name}"


def few_clusters(real: RealPanel) -> Iterator[str]:
    """A sentence for every cluster of the spec's errors that has few, with the remedy, and one for two units."""
    asked = error_types(real.spec)
    paired = int(seen_in(without_singletons(real.panel, ("unit", "period"))).any(axis=0).sum()) <= 2
    if paired:
        yield TWO_UNITS
    for error in clustered_enough(real.panel, asked):
        if (same := equal_to(error, real.panel)) is not None:
            yield (
                f"Errors {error_label(error)} equal those {error_label(same)}: the groups of one lie within "
                "those of the other."
            )
            continue
        names = groups_of(error, tuple(real.panel.attributes)) if error.startswith("cluster:") else ()
        counts = {name: count_clusters(cells_of(name, real.panel), real.panel) for name in names}
        if not counts or min(counts.values()) >= FEW_CLUSTERS:
            continue
        name = min(counts, key=lambda name: counts[name])
        said = (
            f"Errors clustered by {' and '.join(names)} rest on {amount(counts[name], 'cluster')}: below about "
            f"{FEW_CLUSTERS} they tend to be too small."
        )
        if name != "period" and not paired:  # what the wild cluster bootstrap can do and what not
            wild = f"wild:{name}"
            how = "is among the errors" if wild in asked else f'is the remedy (errors = ["{wild}"] in [inference])'
            said += (
                f" The wild cluster bootstrap {how}; below about {TOO_FEW_FOR_WILD} clusters even this is not "
                "reliable. With 5 clusters, its 5% test rejects 7% of true null hypotheses where regressor and errors "
                "share shocks in clusters."
            )
        yield said


# Tables that need every unit in every period.


def balanced_for(real: RealPanel, ledger: Ledger, table: str) -> Panel | None:
    """The panel's balanced part; None, and a note that there is no such table, where the spec allows none."""
    try:
        return real.balanced()
    except BadInput as refusal:
        ledger.note(f"No table {table}, which needs a balanced panel: {reasons(refusal)}. Set balance in [panel].")
        return None


def undated(real: RealPanel, ledger: Ledger, lacking: str) -> bool:
    """Whether the treatment has no dates of adoption; a note then says what is lacking."""
    if real.undated:
        ledger.note(f"{lacking}: {real.undated}.")
    return bool(real.undated)


def say_balanced(ledger: Ledger, panel: Panel, tables: Sequence[str]) -> None:
    """Name those of some tables that there are of the balanced part."""
    made = {record.table for record in ledger.records} | {statistic.table for statistic in ledger.statistics}
    names = [name for name in tables if name in made]
    if names:
        some = f"Tables {', '.join(names[:-1])} and {names[-1]} are" if names[1:] else f"Table {names[0]} is"
        ledger.note(f"{some} of the balanced part: {len(panel.units)} units, {len(panel.periods)} periods.")


def with_further(real: RealPanel, names: tuple[str, ...], asked_by: str = "[robustness]") -> tuple[Panel, str]:
    """The panel with further variables where they are all there, and in words what that leaves out."""
    panel = replace(real.panel, weights={})
    further = {name: real.further[name] for name in names if name not in panel.variables}
    before = seen_in(panel)
    seen = before & np.all([np.isfinite(array[0]) for array in further.values()], axis=0) if further else before
    whole = replace(panel, variables={**panel.variables, **further}, observed=seen[None].copy())
    if not seen.any():
        raise bad(f"no row has {listed(names)}", where=f"{real.spec.file}, {asked_by}",
                  allowed="columns with values in the panel's rows", remedy="fill these columns, or remove them "
                                                                            "from the spec")  # fmt: skip
    lost = int(before.sum() - seen.sum())
    said = f"{amount(lost, 'row')} with a missing value {'are' if lost != 1 else 'is'} left out"
    return seen_part(whole, seen), said if lost else ""


# Facts of a panel.


def facts_of(real: RealPanel) -> dict[str, Any]:
    """Facts of a panel and its spec, as estimates.json holds them."""
    panel, section = real.panel, real.spec.index
    robustness = real.spec.robustness
    cuts = robustness.staggered or robustness.synthetic is not None
    cut = panel.weights or (cuts and real.spec.panel.balance != "error")
    balanced = real.balanced() if cut and not panel.balanced else None
    part = {} if balanced is None else {"balanced_part": _size(balanced)}
    dated = {"first_treated": real.spec.panel.first_treated} if real.spec.panel.first_treated else {}
    index = {} if section is None or real.index is None else {"index": index_facts(section, real.index)}
    return {
        "digest": panel.digest,
        **_size(panel),
        "balanced": panel.balanced,
        "cluster_k": real.spec.inference.cluster_k,
        "synthetic": real.spec.panel.synthetic,
        "unit": real.spec.panel.unit,
        "period": real.spec.panel.period,
        "outcome": panel.roles.outcome,
        "treatment": panel.roles.treatment,
        "treatment_column": real.spec.panel.treatment or real.spec.panel.first_treated,
        **({"treatment_kind": real.treatment_kind} if panel.roles.continuous else {}),
        "controls": list(panel.roles.controls),
        **({} if panel.roles.weight is None else {"weight": panel.roles.weight}),
        "weights": {name: {"digest": w.digest, "standardize": w.standardize} for name, w in panel.weights.items()},
        **dated,
        **part,
        **index,
    }


def _size(panel: Panel) -> dict[str, int]:
    return {
        "units": len(panel.units),
        "periods": len(panel.periods),
        "first_period": panel.periods[0],
        "last_period": panel.periods[-1],
        "nobs": panel.nobs,
    }


# The tables: the modules of experiments/tables, found by being there, in the order of the paper.


Layout = Callable[[TableSetting], list[JournalTable]]
LAST = 1000  # of what has a figure alone


@cache
def table_modules() -> tuple[ModuleType, ...]:
    """Every module with LAYOUTS, layouts by their places in the paper, and TABLES, the numbers of what they show; both
    are empty where it has a figure alone.

    Its `add(real, ledger)`, if it has one, estimates what they show.
    """
    found = [module for module in modules_in("experiments.tables") if hasattr(module, "LAYOUTS")]
    for module in found:
        tables, placed = getattr(module, "TABLES", None), module.LAYOUTS
        if not (isinstance(tables, tuple) and all(isinstance(name, str) for name in tables)
                and isinstance(placed, Mapping) and all(isinstance(place, int) for place in placed)
                and all(isfunction(layout) for layout in placed.values())):  # fmt: skip
            raise bad(f"TABLES = {tables!r:.40} and LAYOUTS = {placed!r:.60}", where=str(module.__file__),
                      allowed='TABLES: a tuple of texts, as ("21",); LAYOUTS: a dict of functions by whole numbers',
                      remedy="correct them")  # fmt: skip
    places = [place for module in found for place in module.LAYOUTS]
    if twice := [place for place in places if places.count(place) > 1]:
        raise bad(f"two tables have the place {twice[0]}", where="experiments/tables, LAYOUTS",
                  allowed="a place of its own for each", remedy="give one another place")  # fmt: skip
    return tuple(sorted(found, key=lambda module: min(module.LAYOUTS, default=LAST)))


@cache
def layouts() -> Mapping[Layout, frozenset[str]]:
    """The layouts of all tables by their places, with the numbers of the tables that their modules show."""
    placed = {place: (layout, frozenset(module.TABLES)) for module in table_modules()
              for place, layout in module.LAYOUTS.items()}  # fmt: skip
    return dict(placed[place] for place in sorted(placed))


def journal_tables(document: Document, errors: str | None = None) -> tuple[JournalTable, ...]:
    """The tables of a document that its style asks for, those of one number as 7a, 7b, ..., the appendix last

    errors: the error type to show where a fit has it (default: clustered);
    raises BadInput when no fit has it.
    """
    known = shown_errors(document)
    if errors is not None and errors not in known:
        raise bad(f"error type {errors!r}", where="--errors", allowed=one_of(known),
                  remedy="choose one that the tables have, or add it to errors in [inference]")  # fmt: skip
    setting = TableSetting(document, errors)
    present = {item.table for item in (*document.records, *document.statistics)}
    present |= {CROSS_CHECK} if document.cross_check else set()
    style = document.style
    made: list[JournalTable] = []
    for layout in (layout for layout, shown in layouts().items() if present & shown):
        with asking(layout, layout.__name__):
            given = tuple(layout(setting))
            if not all(isinstance(table, JournalTable) for table in given):
                raise TypeError(f"it returned {given!r:.40}, no list of JournalTables")
            made += [table.styled(style) for table in given]

    shared = Counter(table.name for table in made if not table.appendix)
    seen = Counter[str]()
    numbered: list[JournalTable] = []
    behind: list[JournalTable] = []
    for table in made:
        if table.appendix:
            behind.append(replace(table, name=f"A{len(behind) + 1}"))
            continue
        letter = ascii_lowercase[seen[table.name] % 26] if shared[table.name] > 1 else ""
        seen[table.name] += 1
        numbered.append(replace(table, name=f"{table.name}{letter}"))
    every = (*numbered, *behind)
    asked = named_tables(every, style.tables) if style.tables else every
    return asked if style.language == "en" else tuple(in_language(table, document) for table in asked)
