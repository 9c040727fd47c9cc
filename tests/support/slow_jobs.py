"""Jobs for tests of clusters, importable by workers in other processes."""

from __future__ import annotations

import time


def double_slowly(x: int) -> int:
    """Twice x, after a while."""
    time.sleep(0.2)
    return 2 * x
