"""Warnings that clustered errors rest on few treated units, few treated clusters or few clusters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from estimators.core.error_types import error_label, groups_of
from estimators.core.within import without_singletons
from estimators.linear.covariances import cells_of, count_clusters, equal_to
from experiments.application.spec.spec import RealPanel, Spec
from experiments.application.tables.columns import clustered_enough, error_types, main_cluster
from sim.arrays import Flags
from sim.panel import Panel
from sim.panel.panel import seen_in

FEW_TREATED = 10  # MacKinnon and Webb (2018)
FEW_CLUSTERS = 30
TOO_FEW_FOR_WILD = 6
TWO_UNITS = ("With two units and period effects, coefficients have no errors clustered by unit or by groups of units, "
             "and no stars, because the scores of both units are zero.")  # fmt: skip
TOO_SMALL = "clustered errors tend to be too small with so few"


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
