"""Parts of a panel: some of its units and periods, or of its unit-periods."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.panel import Panel

Flags = NDArray[np.bool_]


def part(panel: Panel, units: Flags, periods: Flags) -> Panel:
    """Some units (N,) and periods (T,) of a panel, without weights."""
    seen = None if panel.observed is None else panel.observed[:, periods][:, :, units]
    return Panel(
        units=tuple(unit for unit, keep in zip(panel.units, units, strict=True) if keep),
        periods=tuple(period for period, keep in zip(panel.periods, periods, strict=True) if keep),
        variables={name: array[:, periods][:, :, units] for name, array in panel.variables.items()},
        roles=panel.roles,
        attributes={name: values[units] for name, values in panel.attributes.items()},
        observed=None if seen is None or seen.all() else seen,
    )


def seen_part(panel: Panel, seen: Flags) -> Panel:
    """Some unit-periods (T, N) of a panel, without weights; units and periods of which nothing is left go."""
    return part(replace(panel, observed=seen[None].copy(), weights={}), seen.any(axis=0), seen.any(axis=1))


def seen_in(panel: Panel) -> Flags:
    """Which unit-periods are observed, (T, N)."""
    if panel.observed is None:
        return np.ones((len(panel.periods), len(panel.units)), dtype=bool)
    return panel.observed[0]
