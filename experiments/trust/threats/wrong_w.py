"""Wrong W: the claim of a spatial model under the other W of the spec."""

from __future__ import annotations

from dataclasses import replace

from estimators.spatial.spatial_panel import SpatialPanel
from experiments.running.runner import run
from experiments.study.study import Study
from experiments.trust.threats import TOWARDS_ZERO, Case, Threat
from sim.designs.observed import Observed

NAME = "another W"


def threat(case: Case) -> Threat | None:
    """Needed: the change that takes the significance away; found: the largest change under another W."""
    own, panel = case.claim.estimator, case.claim.panel
    if not isinstance(own, SpatialPanel):
        return None
    first = own.weights or next(iter(panel.weights))
    others = [name for name, w in panel.weights.items()
              if name != first and (w.row_stochastic or own.transform == "direct")]  # fmt: skip
    if not others:
        return None
    fits = [replace(own, weights=name, label=f"other-{k}", errors=(case.recommended,))
            for k, name in enumerate(others)]  # fmt: skip
    block = next(iter(run(Study("w", Observed(panel), tuple(fits), replications=1, block=64, seed=1)).blocks(0)))
    found = {}
    for name, fit in zip(others, fits, strict=True):
        answer = block.estimates[fit.name]
        found[name] = float(answer.estimate[0, 0]), float(answer.se[0, 0, 0])
    lost = [name for name, (estimate, se) in found.items() if case.overturned(estimate, se)]
    far = max(found, key=lambda name: case.towards_zero(found[name][0]))
    said = (f"With W {far} the estimate is {found[far][0]:.4g} (s.e. {found[far][1]:.2g}): "
            f"{case.words(case.overturned(*found[far]))}.")  # fmt: skip
    return Threat(NAME, case.margin(), case.towards_zero(found[far][0]), TOWARDS_ZERO, bool(lost), said,
                  {"estimate": found[far][0], "se": found[far][1]})  # fmt: skip
