"""Panels: what they hold, and how they are read from files and data frames."""

from sim.panel.panel import Panel
from sim.panel.schema import Roles, Schema

__all__ = ["Panel", "Roles", "Schema"]
