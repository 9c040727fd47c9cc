"""Many draws of small worlds of parts, and what means over them are held to."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.settings import build
from sim import Panel, Streams, Wanted
from sim.world.panel_design import PanelDesign

SEED = 77
SILENT: dict[str, Any] = {"levels": {"unit_sd": 0.0, "period_sd": 0.0}, "adoption": {"kind": "never"}}
UNITS, PERIODS = 40, 8


def design_of(**settings: Any) -> PanelDesign:
    """40 units in 8 periods unless said otherwise."""
    return build(PanelDesign, {"units": UNITS, "periods": PERIODS, **settings}, "worlds.toml [design]")


def panel_of(replications: int = 400, *, scope: str = "", **settings: Any) -> Panel:
    """All variables of so many draws of one world."""
    design, streams = design_of(**settings), Streams(SEED, scope)
    wanted = Wanted(frozenset(design.schema.variables), ())
    return design.settle(streams).draw(streams.tile(0, replications), wanted).panel


def truth_of(name: str, **settings: Any) -> float:
    """The truth of one draw."""
    design, streams = design_of(**settings), Streams(SEED)
    (value,) = design.settle(streams).draw(streams.tile(0, 1), Wanted(frozenset({"y"}), (name,))).truth[name]
    return float(value)


def assert_close(statistic: Any, expected: float) -> None:
    """A mean over replications, or worlds, within 4 Monte Carlo errors."""
    values = np.asarray(statistic, dtype=np.float64)
    mcse = values.std(ddof=1) / np.sqrt(len(values))
    print(f"{values.mean():.5f} of {expected:.5f}, {(values.mean() - expected) / mcse:+.2f} errors")
    assert abs(values.mean() - expected) <= 4 * mcse
