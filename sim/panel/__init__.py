"""Panels: what they hold, and how they are read from files and data frames."""

from sim.panel.panel import Panel, Roles, Schema

__all__ = ["Panel", "Roles", "Schema"]
