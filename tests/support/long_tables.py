"""Panels of files in tests, without what is said besides."""

from __future__ import annotations

from pathlib import Path

from experiments.panel_spec.sections import Spec
from experiments.panel_spec.spec import read_real_panel
from sim import Panel


def load_panel(path: str | Path, spec: Spec) -> Panel:
    """The panel of a file with roles, attributes and weights as the spec says."""
    return read_real_panel(path, spec).panel
