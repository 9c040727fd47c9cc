"""Columns of linear models: their error types, warnings where clusters are few, and the two-way column on a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from estimators.core.error_types import error_label, groups_of, kind_of, served, without_se
from estimators.core.estimator import Estimates, outcome_of
from estimators.core.regression import check_fixed
from estimators.core.tile import without_singletons
from estimators.linear.covariances import cells_of, count_clusters, equal_to
from estimators.linear.did import TwoWayDID
from estimators.linear.few_clusters import ADJUSTED, PLACEBOS, treated_and_never
from experiments.panel_spec.sections import Spec
from experiments.panel_spec.spec import RealPanel
from experiments.tables.ledger import Ledger, reasons
from results.tables.records import Fit
from sim.arrays import Flags
from sim.errors import BadInput, listed
from sim.panel import Panel, seen_in
from sim.panel_files import TREATMENT

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
    errors = clustered_enough(part, error_types(real.spec))
    say_what_is_left_out(ledger, fit, error_types(real.spec), errors)
    estimator = regression(real.spec, f"table-{table}-column-{column}", names, errors=errors)
    estimates = ledger.fit(part, {estimator: fit}).get(estimator)
    if estimates is not None:
        say_what_has_no_error(ledger, fit, part, estimates)
    return estimates is not None


def say_what_is_left_out(ledger: Ledger, fit: Fit, wanted: Iterable[str], errors: Sequence[str]) -> None:
    """A note on error types that are wanted of a column, and not among its errors for want of clusters."""
    lacking = tuple(error for error in wanted if error not in errors)
    if lacking:
        ledger.leave_out(fit, lacking)


def say_what_has_no_error(
    ledger: Ledger, fit: Fit, part: Panel, estimates: Estimates, why: Callable[[str], str] = lambda error: ROUNDING
) -> None:
    """A note for every error type that is missing of some terms; why: in words, why an error type is."""
    names = ["DID" if term == part.roles.treatment else term for term in estimates.terms]
    for row, error in enumerate(estimates.errors):
        tested = estimates.pvalue if without_se(error) else estimates.se
        assert tested is not None
        lacking = [name for name, value in zip(names, tested[0, row], strict=True) if np.isnan(value)]
        if kind_of(error) in PLACEBOS:
            lacking = [name for name in lacking if name == "DID"]  # it is a test of the treatment alone
        if kind_of(error) in ADJUSTED:
            lacking = [name for name in lacking if name != "constant"]  # without a cluster its effects are unknown
        if lacking:
            ledger.note(
                f"{fit.where} has no {error} error of {listed(lacking)}: {_WHY.get(kind_of(error)) or why(error)}."
            )


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
    """The error types whose clusters, by every attribute that they name, are two or more on this panel; those by
    placebos where as many units are never treated."""
    return tuple(
        error
        for error in errors
        if all(_clusters(panel, name) > 1 for name in groups_of(error, tuple(panel.attributes)))
        and (kind_of(error) not in PLACEBOS or never_treated(panel) > 1)
    )


def never_treated(panel: Panel) -> int:
    """How many units placebos can come from; 0 of a panel without a treatment."""
    treatment = panel.roles.treatment
    seen = seen_in(panel)
    if treatment is None:
        return 0
    return int(treated_and_never(np.where(seen, panel.variables[treatment][0], 0.0), seen.astype(np.float64))[1].sum())


def _clusters(panel: Panel, name: str) -> int:
    """How many clusters an attribute makes; unknown names are left to the estimator to refuse."""
    sizes = {"unit": len(panel.units), "period": len(panel.periods)}
    attribute = panel.attributes.get(name)
    return sizes.get(name, 2) if attribute is None else len(np.unique(attribute))


def treated_units(panel: Panel) -> Flags:
    """Units that are treated in an observed period, (N,)."""
    did = panel.variables[panel.roles.treatment or "did"][0] > 0
    return np.asarray((did & seen_in(panel)).any(axis=0))


def few_treated(panel: Panel, spec: Spec) -> str | None:
    """In words, how many treated units a panel has, and in how many clusters, where either are few; None elsewhere.

    Clusters that are all treated are no fewer than the clusters themselves, of which `few_clusters` speaks.
    """
    treated, name = treated_units(panel), main_cluster(spec).removeprefix("cluster:")
    count = int(treated.sum())
    words = f"{count} treated unit{'s' * (count != 1)}"
    if name == "unit":
        return words if count < FEW_TREATED else None
    codes = cells_of(name, panel)[0]
    groups, held = len(np.unique(codes)), len(np.unique(codes[treated]))
    if count >= FEW_TREATED and (held >= FEW_TREATED or held == groups):
        return None
    return f"{words} in {held} cluster{'s' * (held != 1)} by {name}"


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
            f"Errors clustered by {' and '.join(names)} rest on {counts[name]} clusters: below about {FEW_CLUSTERS} "
            "they tend to be too small."
        )
        yield said if name == "period" or paired else f"{said} {_remedy(f'wild:{name}', asked)}"


def _remedy(wild: str, asked: tuple[str, ...]) -> str:
    """What the wild cluster bootstrap can do and what not (`linear.wild`)."""
    how = "is among the errors" if wild in asked else f'is the remedy (errors = ["{wild}"] in [inference])'
    return (
        f"The wild cluster bootstrap {how}; below about {TOO_FEW_FOR_WILD} clusters even this is not reliable. With 5 "
        "clusters, its 5% test rejects 7% of true null hypotheses where regressor and errors share shocks in clusters."
    )
