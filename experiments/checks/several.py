"""Tests of several outcomes and mechanisms at once: p values that hold together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from estimators.core.estimator import holm, p_values
from estimators.core.regression import check_fixed
from estimators.core.tile import Tile, observed_mask, without_singletons
from estimators.linear.covariances import Sample, ScoreSum, cancelled
from estimators.sensitivity.sensitivity import signed_statistics, stepdown
from experiments.checks.case import SIGNIFICANT, Case, without
from experiments.tables.ledger import FEW_TREATED, UNIT_AND_PERIOD, with_further
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

    # By outcome or mediator: scores by cluster (G,), the treatment's coefficient and dof; a sample of its own each.
    scores = {str(roles.outcome): _of(case, case.panel, str(roles.outcome), case.clusters)}
    place = dict(zip(case.panel.units, case.clusters.tolist(), strict=True))
    others = [(name, case.panel) for name in roles.mediators]
    others += [(name, with_further(case.real, (name,))[0]) for name in case.real.spec.robustness.outcomes]
    for name, panel in others:
        try:
            check_fixed(panel, (*panel.roles.regressors, name), "warnings")
            scores[name] = _of(case, panel, name, np.array([place[unit] for unit in panel.units]))
        except BadInput:
            continue
    names = tuple(name for name, (sums, _, _) in scores.items() if np.isfinite(sums).all())
    if len(names) < 2:
        return
    table = np.stack([scores[name][0] for name in names], axis=1)
    clustered = np.sqrt(np.square(table).sum(axis=0))
    statistics = np.array([scores[name][1] for name in names]) / clustered
    alone = np.asarray(p_values(statistics, np.array([scores[name][2] for name in names])))
    together, method = holm(alone), "Holm, for few clusters"  # of which random signs say too little
    if len(table) >= FEW_TREATED:
        drawn = signed_statistics(table, DRAWS, case.random("romano-wolf"))
        together, method = np.maximum(stepdown(statistics, drawn), alone), "Romano and Wolf"

    numbers = {f"{what}:{name}": float(value) for what, values in (("alone", alone), ("together", together))
               for name, value in zip(names, values, strict=True)}  # fmt: skip
    lost = [name for name, one, all_of_them in zip(names, alone, together, strict=True)
            if one <= SIGNIFICANT < all_of_them]  # fmt: skip
    listed = ", ".join(
        f"{name} {short_p(float(adjusted)).removeprefix('= ')} (alone {short_p(float(one)).removeprefix('= ')})"
        for name, one, adjusted in zip(names, alone, together, strict=True)
    )  # fmt: skip
    severity = SILENT if not lost else WEAKENS if str(roles.outcome) in lost else INFORMS
    said = f"Tested together ({method}), the effects on {len(names)} outcomes and mediators have p: {listed}."
    yield Check.fact("romano-wolf", severity, said, "", numbers)


def _of(case: Case, panel: Panel, name: str, clusters: Codes) -> tuple[Floats, float, float]:
    """Sums of influence by cluster, with the factor of their errors, the coefficient and the degrees of freedom of its
    t, of a two-way regression as tables have it; clusters: those of the panel's units, coded as the case's. NaN for
    sums that are rounding."""
    panel, regressors = without_singletons(panel, UNIT_AND_PERIOD), panel.roles.regressors
    tile, error = Tile(panel, weighted=True), case.main_error
    y, d, *x = (np.asarray(tile.within(one)[0]) for one in (name, *regressors))
    others = np.stack(x) if x else np.empty((0, *observed_mask(panel).shape))
    left = without(d, others)
    square = float(np.square(left).sum())
    slope = float((left * y).sum()) / square
    e = without(y, np.concatenate([d[None], others]))
    u = left * e / square
    sums = np.bincount(clusters, u.sum(axis=0), minlength=int(case.clusters.max()) + 1)
    sums[cancelled(np.square(sums).sum(), u, np.square(e).mean() / square)] = np.nan
    sample = Sample.of(panel, (error,), len(regressors), tile.transform.effects, UNIT_AND_PERIOD,
                       case.real.spec.inference.cluster_k)  # fmt: skip
    factor, dof = ScoreSum.of(error, panel).factor(sample.nobs, sample.free, sample.clustered[error])
    return np.sqrt(factor) * sums, slope, dof
