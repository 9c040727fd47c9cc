"""Panels from long tables in tests, without what is said besides."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sim import Panel
from sim.panel.long_table import read_table


def panel_from_frame(frame: pd.DataFrame, **keys: Any) -> Panel:
    """The panel that `read_table` reads."""
    return Panel(**read_table(frame, **keys).parts)
