"""Small studies that tests run."""

from __future__ import annotations

from estimators import SpatialPanel, TwoWayDID
from experiments.study import Study
from sim.presets import Paper

SHORT = """
replications = 128
block = 64
seed = 5
[design]
kind = "paper"
controls = "none"
"""  # the head of a study file; its estimators follow


def small_study(replications: int = 200, block: int = 64, **changes: object) -> Study:
    """Two cells, three estimators, a few blocks."""
    settings: dict[str, object] = {
        "name": "small",
        "design": Paper(),
        "grid": (("spillover", ("none", "paper")),),
        "estimators": (TwoWayDID(), SpatialPanel("sar", "lee-yu"), SpatialPanel("sdm", "direct")),
        "replications": replications,
        "block": block,
        "seed": 7,
    }
    return Study(**(settings | changes))  # type: ignore[arg-type]


UNTIL = "rejection:cluster:unit:0.009,bias:did:0.001"  # ends the cells of `quick_study` in different places


def quick_study(replications: int = 1600, block: int = 64, **changes: object) -> Study:
    """Two cells of one fast estimator: a true null hypothesis, and one that is always rejected."""
    changed: dict[str, object] = {"name": "quick", "design": Paper(controls="none"), "grid": (("effect", (0.0, 0.02)),)}
    changed |= {"estimators": (TwoWayDID(),), "seed": 11, "worlds": 1}
    return small_study(replications, block, **(changed | changes))
