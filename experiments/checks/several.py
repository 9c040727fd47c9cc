"""Tests of several outcomes and mechanisms at once: p values that hold together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from estimators.core.estimator import p_values
from estimators.core.regression import check_fixed
from estimators.core.tile import Tile, observed_mask
from estimators.sensitivity.sensitivity import signed_statistics, stepdown
from experiments.checks.case import SIGNIFICANT, Case, without
from experiments.tables.ledger import with_further
from results.tables.records import INFORMS, SILENT, WEAKENS, Check
from results.tables.typography import short_p
from sim.arrays import Codes, Floats
from sim.errors import BadInput
from sim.panel import Panel

NAME = "several outcomes"
ORDER = 80
DRAWS = 999


def check(case: Case) -> Iterator[Check]:
    """One record, where the treatment is tested on more than one outcome or mediator."""
    roles = case.panel.roles
    if case.effect is None or not case.headline or not (case.real.spec.robustness.outcomes or roles.mediators):
        return

    # By outcome or mediator: scores by cluster (G,) and the treatment's coefficient; a sample of its own each.
    scores = {str(roles.outcome): _of(case.panel, str(roles.outcome), case.clusters)}
    place = dict(zip(case.panel.units, case.clusters.tolist(), strict=True))
    others = [(name, case.panel) for name in roles.mediators]
    others += [(name, with_further(case.real, (name,))[0]) for name in case.real.spec.robustness.outcomes]
    for name, panel in others:
        try:
            check_fixed(panel, (*panel.roles.regressors, name), "warnings")
        except BadInput:
            continue
        codes = np.array([place[unit] for unit in panel.units])
        scores[name] = _of(panel, name, codes, int(case.clusters.max()) + 1)
    if len(scores) < 2:
        return
    names = tuple(scores)
    table = np.stack([scores[name][0] for name in names], axis=1)
    clustered = np.sqrt(np.square(table).sum(axis=0))
    statistics = np.array([scores[name][1] for name in names]) / clustered
    drawn = signed_statistics(table, DRAWS, case.random("romano-wolf"))
    together = stepdown(statistics, drawn)
    alone = np.asarray(p_values(statistics, np.full(len(names), len(table) - 1.0)))

    numbers = {f"{what}:{name}": float(value) for what, values in (("alone", alone), ("together", together))
               for name, value in zip(names, values, strict=True)}  # fmt: skip
    lost = [name for name, one, all_of_them in zip(names, alone, together, strict=True)
            if one <= SIGNIFICANT < all_of_them]  # fmt: skip
    listed = ", ".join(
        f"{name} {short_p(float(adjusted)).removeprefix('= ')} (alone {short_p(float(one)).removeprefix('= ')})"
        for name, one, adjusted in zip(names, alone, together, strict=True)
    )  # fmt: skip
    severity = SILENT if not lost else WEAKENS if str(roles.outcome) in lost else INFORMS
    said = f"Tested together (Romano and Wolf), the effects on {len(names)} outcomes and mediators have p: {listed}."
    yield Check.fact("romano-wolf", severity, said, "", numbers)


def _of(panel: Panel, name: str, clusters: Codes, count: int = 0) -> tuple[Floats, float]:
    """Sums of influence by cluster, with the factor of their errors, and the coefficient, of a two-way regression."""
    tile, mask = Tile(panel, weighted=True), observed_mask(panel)
    y, d, *x = (np.asarray(tile.within(one)[0]) for one in (name, *panel.roles.regressors))
    others = np.stack(x) if x else np.empty((0, *mask.shape))
    left = without(d, others)
    square = float(np.square(left).sum())
    slope = float((left * y).sum()) / square
    e = without(y, np.concatenate([d[None], others]))
    sums = np.bincount(clusters, (left * e).sum(axis=0) / square, minlength=count)
    groups, counted = len(np.unique(clusters)), 1 + len(others) + len(panel.periods)
    factor = groups / (groups - 1.0) * (panel.nobs - 1.0) / (panel.nobs - counted)
    return np.sqrt(factor) * sums, slope
