"""Panels from long tables in tests, without what is said besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from experiments.panel_spec.sections import Spec
from experiments.panel_spec.spec import read_real_panel
from sim import Panel
from sim.panel_files import read_table


def panel_from_frame(frame: pd.DataFrame, **keys: Any) -> Panel:
    """The panel that `read_table` reads."""
    return Panel(**read_table(frame, **keys).parts)


def load_panel(path: str | Path, spec: Spec) -> Panel:
    """The panel of a file with roles, attributes and weights as the spec says."""
    return read_real_panel(path, spec).panel
