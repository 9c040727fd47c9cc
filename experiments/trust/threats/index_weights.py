"""The construction of an index: the claim with equal weights, and without each indicator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.trust.threats import TOWARDS_ZERO, Case, Threat
from sim.arrays import Floats
from sim.panel import Panel
from sim.panel.index import min_max, panel_index, weighted_score
from sim.panel.panel import seen_in

NAME = "construction of the index"


def threat(case: Case) -> Threat | None:
    """Needed: the change that takes the significance away; found: the largest one towards zero by another index."""
    index = case.claim.real.spec.index
    panel = case.claim.panel
    if index is None or panel.roles.outcome != index.name:
        return None
    own = spread(panel, panel.variables[index.name])
    found: dict[str, tuple[float, float]] = {}
    for what, score in others(panel, tuple(index.positive), tuple(index.negative)):
        record = case.claim.on(panel.with_variables({index.name: score}))[case.recommended]
        if record.estimate is not None and record.se is not None:
            scale = own / spread(panel, score)
            found[what] = record.estimate * scale, record.se * scale
    if not found:
        return None
    worst = max(found, key=lambda what: case.towards_zero(found[what][0]))
    lost = [what for what, (estimate, se) in found.items() if case.overturned(estimate, se)]
    shown = worst if worst in lost or not lost else lost[0]
    estimate, se = found[shown]
    said = (f"Of {len(found)} other indices, brought to the same standard deviation, the one {shown} gives an estimate "
            f"of {estimate:.4g} (s.e. {se:.2g}): {case.words(shown in lost)}.")  # fmt: skip
    return Threat(NAME, case.margin(), case.towards_zero(estimate), TOWARDS_ZERO, bool(lost), said,
                  {"indices": float(len(found)), "estimate": estimate, "se": se})  # fmt: skip


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


def spread(panel: Panel, values: Floats) -> float:
    """Standard deviation over the observed cells."""
    return float(values[0][seen_in(panel)].std())
