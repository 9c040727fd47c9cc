"""Made-up fits of several worlds."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
RUN = 32
DOF = 9.0


def draw(rng: np.random.Generator, rows: int, columns: int, worlds: int, share: float = 0.3) -> Arrays:
    """Errors, truths and standard errors of which a part is common to a world: whole runs of 32 go round the worlds."""
    world = np.arange(rows) // RUN % worlds
    common = rng.standard_normal((3, worlds, columns))[:, world]
    own = rng.standard_normal((3, rows, columns))
    z = np.sqrt(share) * common + np.sqrt(1 - share) * own
    theta, scale = 1.0 + 0.2 * z[0], np.exp(0.3 * z[1])
    return {"theta": theta, "estimate": theta + 0.1 + 0.5 * scale * z[2], "se": 0.45 * scale, "world": world}


def value_of(frame: Any, measure: str, **where: Any) -> Any:
    for key, wanted in where.items():
        frame = frame[frame[key] == wanted]
    rows = frame[frame["measure"] == measure]
    assert len(rows) == 1, (measure, where, len(rows))
    return rows.iloc[0]
