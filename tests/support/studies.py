"""Small studies that tests run."""

from __future__ import annotations

from estimators import SpatialPanel, TwoWayDID
from experiments.study.study import Study
from sim.designs.paper import Paper


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
