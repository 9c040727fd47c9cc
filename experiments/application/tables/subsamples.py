"""Table 4: column 5 of table 2 in every group of units, and whether the effect is the same in all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from estimators.linear.equal_effects import InteractionTest, group_labels
from experiments.application.spec.spec import RealPanel, Spec
from experiments.application.tables.columns import clustered_enough, error_types, main_cluster, two_way, unfit
from experiments.application.tables.few_clusters import TOO_SMALL, few_treated, treated_units
from experiments.application.tables.ledger import Ledger
from results.tables.places import EQUAL_EFFECTS, subsample
from results.tables.records import Fit
from sim.errors import listed
from sim.panel import Panel

MOST_COLUMNS = 8  # of one group of units
LEAST_UNITS = 3  # the scores of two cancel, and leave no clustered variance


def add(real: RealPanel, ledger: Ledger) -> None:
    """One column a value of each of the spec's groups, then the group's test of equal effects."""
    treatment, groups = real.panel.roles.treatment, real.spec.panel.groups
    if groups and treatment is None:
        ledger.note(
            "There is no table 4: it compares the treatment's effect between groups, and the spec names no treatment."
        )
        return
    position = 0
    for group in groups:
        labels, values = _values(real, group)
        if len(values) <= MOST_COLUMNS:
            for value in values:
                fit = Fit(subsample(position), "did", sample=f"{group} = {value}")
                part = real.subset(labels == value, weights=False)
                if two_way(real, ledger, part, fit):
                    _count_treated(part, real.spec, ledger, fit)
                position += 1
        _equal_effects(real, ledger, group, labels, values)


def _values(real: RealPanel, group: str) -> tuple[NDArray[np.str_], list[str]]:
    """The value of each unit as text, and the distinct values in their own order (numbers by size)."""
    attribute = real.panel.attributes[group]
    labels = group_labels(attribute)
    order = np.argsort(attribute, kind="stable")
    return labels, list(dict.fromkeys(labels[order].tolist()))


def _count_treated(part: Panel, spec: Spec, ledger: Ledger, fit: Fit) -> None:
    """How many units are treated in an observed period, and a warning where they are few (MacKinnon and Webb 2018)."""
    ledger.value(fit, "treated_units", float(treated_units(part).sum()))
    if few := few_treated(part, spec):
        ledger.note(f"{fit.sample} has {few}: {TOO_SMALL}.")


def _equal_effects(real: RealPanel, ledger: Ledger, group: str, labels: NDArray[np.str_], values: list[str]) -> None:
    """The test between the values with an estimate and a clustered variance, under errors that all of them can have."""
    kept: list[str] = []
    errors = tuple(error for error in error_types(real.spec) if not error.startswith("wild:"))
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
