"""A real panel in a few lines: sizes, variables, who is treated when, weights."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from sim.panel import Panel
from sim.panel.panel import seen_in


def describe_panel(panel: Panel, console: Console) -> None:
    """Print what a panel holds, as a user would check it before estimating."""
    missing = len(panel.units) * len(panel.periods) - panel.nobs
    balance = "balanced" if not missing else f"{missing} unit-periods missing"
    span = f"{panel.periods[0]}-{panel.periods[-1]}"
    console.print(
        f"{len(panel.units)} units x {len(panel.periods)} periods ({span}), {panel.nobs:,} observations, {balance}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("variable", "role", "mean", "sd", "min", "max"):
        table.add_column(heading, justify="left" if heading in {"variable", "role"} else "right")
    roles: dict[str | None, str] = {panel.roles.outcome: "outcome", panel.roles.treatment: "treatment"}
    roles |= dict.fromkeys(panel.roles.controls, "control")
    roles |= dict.fromkeys(panel.roles.mediators, "mediator")
    for name, array in panel.variables.items():
        values = array[0][seen_in(panel)]
        numbers = (values.mean(), values.std(ddof=1), values.min(), values.max())
        table.add_row(name, roles.get(name, ""), *(f"{number:.4g}" for number in numbers))
    console.print(table)
    if panel.roles.treatment:
        treated = np.nan_to_num(panel.variables[panel.roles.treatment][0])
        ever = treated.any(axis=0)
        starts, counts = np.unique(np.array(panel.periods)[treated.argmax(axis=0)[ever]], return_counts=True)
        cohorts = ", ".join(f"{start} ({count})" for start, count in zip(starts, counts, strict=True))
        console.print(
            f"treated: {int(ever.sum())} units, {int(treated.sum())} unit-periods; first treated (units): {cohorts}"
        )
    for name, weights in panel.weights.items():
        links = weights.matrix.nnz / len(panel.units)
        console.print(
            f"weights {name}: {links:.1f} neighbours a unit, standardised by {weights.standardize}", markup=False
        )
    console.print(f"sha256 {panel.digest}")
