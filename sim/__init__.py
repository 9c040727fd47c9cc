"""Worlds: panels, weights, random streams and designs with known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.registry import lazy

if TYPE_CHECKING:
    from sim.design import Design, Draw, Wanted, World, find_design
    from sim.errors import BadInput, Problem
    from sim.panel import Panel
    from sim.schema import Roles, Schema
    from sim.streams import Streams
    from sim.weights import Weights
else:
    __getattr__ = lazy(
        __name__,
        {
            "sim.design": "Design Draw Wanted World find_design",
            "sim.errors": "BadInput Problem",
            "sim.panel": "Panel",
            "sim.schema": "Roles Schema",
            "sim.streams": "Streams",
            "sim.weights": "Weights",
        },
    )

__all__ = [
    "BadInput",
    "Design",
    "Draw",
    "Panel",
    "Problem",
    "Roles",
    "Schema",
    "Streams",
    "Wanted",
    "Weights",
    "World",
    "find_design",
]
