"""The construction of an index: the effect on one with equal weights, and on one without each indicator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.checks.case import Case
from results.tables.records import Check
from sim.arrays import Floats
from sim.index import min_max, panel_index, weighted_score
from sim.panel import Panel, seen_in

NAME = "construction of the index"
ORDER = 74
HEAD = "index "  # of the names of the variables


def others(panel: Panel, positive: tuple[str, ...], negative: tuple[str, ...]) -> Iterator[tuple[str, Floats]]:
    """Other indices of the same indicators, in words and as (1, T, N)."""
    seen = seen_in(panel)[None]
    names = (*positive, *negative)
    if len(names) < 2:
        return
    scaled = [min_max(panel.variables[name], seen, negative=name in negative) for name in names]
    yield "with equal weights", np.where(seen, weighted_score(scaled, np.full((1, len(names)), 1 / len(names))), np.nan)
    for name in names:
        rest = [tuple(other for other in side if other != name) for side in (positive, negative)]
        yield f"without {name}", panel_index(panel, *rest).score


def variables(case: Case) -> dict[str, Floats]:
    """The other indices by the name of a variable, where the claim is on an index."""
    index = case.real.spec.index
    if index is None or case.effect is None or case.outcome_name != index.name:
        return {}
    return {f"{HEAD}{what}": score for what, score in others(case.panel, tuple(index.positive), tuple(index.negative))}


def alternatives(case: Case) -> Iterator[str]:
    """Another index as the outcome."""
    yield from (f"outcome:{name}" for name in variables(case))


def check(case: Case) -> Iterator[Check]:
    """The other index that speaks most against the claim, brought to the standard deviation of the claim's."""
    words = {f"outcome:{name}": f"of the index {name.removeprefix(HEAD)}" for name in variables(case)}
    found = case.judged("index-weights", tuple(words), words, remedy="show the effect on each indicator")
    if found is not None:
        yield found
