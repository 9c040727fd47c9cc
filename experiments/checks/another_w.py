"""Another W: the claim of a spatial model under the other W of the spec, and with links that go both ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from estimators.core.estimator import critical_values
from estimators.spatial.spatial_panel import SpatialPanel
from experiments.checks.case import Case, Move
from experiments.checks.check import LEVEL, answer_of
from results.tables.records import ANSWERS, Check
from sim.errors import BadInput
from sim.weights import Weights

NAME = "another W"
ORDER = 73
BOTH_WAYS = "links both ways"


def check(case: Case) -> Iterator[Check]:
    """The other W that speaks most against the claim, all of them held to one critical value."""
    own = case.estimator
    if not isinstance(own, SpatialPanel) or case.effect is None or not case.panel.weights:
        return
    name = own.weights or next(iter(case.panel.weights))
    tried = {f"with W {other}": case.panel.weights[other] for other in case.panel.weights if other != name}
    linked = case.panel.weights[name].dense != 0
    if (linked != linked.T).any():
        tried[f"with the links of W {name} both ways"] = both_ways(case.panel.weights[name])

    whole = replace(own, weights=name, terms=None)
    at = whole.layout(case.panel.schema).terms.index(case.term)
    estimates, influence = whole.influence(case.panel, case.main_error)
    claim, psi = float(estimates[at]), influence[at]  # what clusters and pairs of them add to its error, (M,)
    found = {}
    for words, weights in tried.items():
        panel = replace(case.panel, weights={BOTH_WAYS: weights})
        try:
            estimates, influence = replace(whole, weights=BOTH_WAYS).influence(panel, case.main_error)
        except BadInput:
            continue
        found[words] = float(estimates[at]), influence[at]
    if not found:
        return

    stack = np.stack([phi - psi for _, phi in found.values()])
    critical = case.critical_of(stack[None], float("inf"))
    single = float(critical_values(np.array([np.inf]), case.level or LEVEL)[0])
    moves = []
    for words, (estimate, phi) in found.items():
        d, se, error = estimate - claim, *(float(np.sqrt(np.square(x).sum())) for x in (phi - psi, phi))
        supports = case.sign * estimate > single * error
        answer = str(answer_of(np.array(d), np.array(se), critical, case.needed, case.sign, supports))
        moves.append(Move(words, d, se, estimate, error, ANSWERS[ANSWERS.index(answer)]))
    yield replace(
        case.most_serious("another-w", moves, critical, float("inf")), remedy="say why this W is the right one"
    )


def both_ways(weights: Weights) -> Weights:
    """W with the reverse of every link, a link that has two the larger weight, standardised as W is."""
    own = weights.dense
    alike = np.isclose(own, own.max(axis=1, keepdims=True)) | (own == 0)
    raw = own if not alike.all() else (own > 0).astype(np.float64)  # of neighbours on a map or the nearest ones
    raw = np.maximum(raw, raw.T)
    return Weights.of(weights.units, raw, name=BOTH_WAYS, standardize=weights.standardize)
