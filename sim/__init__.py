"""Worlds: panels, weights, random streams and designs with known truth."""

from sim.design import Design, Draw, Wanted, World, find_design
from sim.errors import BadInput, Problem
from sim.panel import Panel
from sim.schema import Roles, Schema
from sim.streams import Streams
from sim.weights import Weights

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
