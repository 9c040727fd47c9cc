"""Panels from long tables in tests, without what a reading says besides."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sim import Panel
from sim.panel.frames import read_long


def panel_from_frame(frame: pd.DataFrame, **keys: Any) -> Panel:
    """The panel that `read_long` reads."""
    return read_long(frame, **keys).panel
