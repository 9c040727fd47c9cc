"""A real panel in a few lines: sizes, variables, who is treated when, weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from sim.panel import Panel, seen_in


def description(panel: Panel) -> dict[str, Any]:
    """What a panel holds, as a user would check it before estimating, as plain data."""
    roles: dict[str | None, str] = {panel.roles.outcome: "outcome", panel.roles.treatment: "treatment"}
    roles |= dict.fromkeys(panel.roles.controls, "control")
    roles |= dict.fromkeys(panel.roles.mediators, "mediator")
    variables = []
    for name, array in panel.variables.items():
        values = array[0][seen_in(panel)]
        numbers = {"mean": values.mean(), "sd": values.std(ddof=1), "min": values.min(), "max": values.max()}
        variables.append({"variable": name, "role": roles.get(name, ""), **{k: float(x) for k, x in numbers.items()}})
    return {
        "units": len(panel.units),
        "periods": list(panel.periods),
        "observations": panel.nobs,
        "missing": len(panel.units) * len(panel.periods) - panel.nobs,
        "variables": variables,
        "treated": _treated(panel),
        "weights": [{"name": name, "neighbours": weights.matrix.nnz / len(panel.units),
                     "standardize": weights.standardize} for name, weights in panel.weights.items()],
        "sha256": panel.digest,
    }  # fmt: skip


def _treated(panel: Panel) -> dict[str, Any] | None:
    """How many units and unit-periods are treated, and how many units first in each period."""
    if not panel.roles.treatment:
        return None
    treated = np.nan_to_num(panel.variables[panel.roles.treatment][0])
    ever = treated.any(axis=0)
    starts, counts = np.unique(np.array(panel.periods)[treated.argmax(axis=0)[ever]], return_counts=True)
    cohorts = [{"period": start, "units": count} for start, count in zip(starts.tolist(), counts.tolist(), strict=True)]
    return {"units": int(ever.sum()), "unit_periods": int(treated.sum()), "first_treated": cohorts}


def print_description(found: dict[str, Any], console: Console) -> None:
    """Print what `description` found."""
    balance = f"{found['missing']} unit-periods missing" if found["missing"] else "balanced"
    span = f"{found['periods'][0]}-{found['periods'][-1]}"
    console.print(f"{found['units']} units x {len(found['periods'])} periods ({span}), {found['observations']:,} "
                  f"observations, {balance}")  # fmt: skip
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("variable", "role", "mean", "sd", "min", "max"):
        table.add_column(heading, justify="left" if heading in {"variable", "role"} else "right")
    for row in found["variables"]:
        table.add_row(row["variable"], row["role"], *(f"{row[name]:.4g}" for name in ("mean", "sd", "min", "max")))
    console.print(table)
    if treated := found["treated"]:
        cohorts = ", ".join(f"{item['period']} ({item['units']})" for item in treated["first_treated"])
        console.print(f"treated: {treated['units']} units, {treated['unit_periods']} unit-periods; first treated "
                      f"(units): {cohorts}")  # fmt: skip
    for item in found["weights"]:
        console.print(f"weights {item['name']}: {item['neighbours']:.1f} neighbours a unit, standardised by "
                      f"{item['standardize']}", markup=False)  # fmt: skip
    console.print(f"sha256 {found['sha256']}")
