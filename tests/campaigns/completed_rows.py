"""Published calibrated simulations of women's wages with matrix completion, 500 replications of each of seven rows.

Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021): bias and root mean squared error of 1,000 replications. Needs
their table of wages by state and year, which is not part of the repository: the variable WAGES names the file. Without
it the campaign says so and is passed over.
"""

from __future__ import annotations

import copy
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from experiments.cli import run_command
from experiments.run.runner import run
from experiments.study import Study
from experiments.toml_files import read_toml
from results.diagnosis import diagnose

REPLICATIONS, PUBLISHED_REPLICATIONS = 500, 1_000
SPEC = """
[panel]
unit = "state"
period = "year"
outcome = "log_wage"
[twin]
method = "factor"
rank = 4
ar = 2
round = 2
standardize = true
[twin.adoption]
kind = "propensity"
on = "factors"
indicator = "min_wage"
most = 10
last_periods = 10
"""
# Dials of the row, then the published RMSE and bias.
ROWS: dict[str, tuple[dict[str, dict[str, Any]], float, float]] = {
    "baseline": ({}, 0.0346, 0.0153),
    "no correlation": ({"errors": {"serial": 0}}, 0.0348, 0.0154),
    "no M": ({"levels": {"interactive": 0}}, 0.0136, 0.0008),
    "no F": ({"levels": {"additive": 0}}, 0.0346, 0.0153),
    "only noise": ({"levels": {"interactive": 0, "additive": 0}}, 0.0136, 0.0008),
    "no noise": ({"errors": {"scale": 0}}, 0.0036, 0.0001),
    "random": ({}, 0.0307, 0.0008),
}
ESTIMATOR = {"kind": "matrix-completion", "errors": ["placebo:unit"], "draws": 20}


def row_of(tables: dict[str, Any], folder: Path, name: str) -> tuple[float, float, float, float]:
    """RMSE and bias with their Monte Carlo errors."""
    tables = copy.deepcopy(tables) | {"estimators": [ESTIMATOR]}
    for part, dials in ROWS[name][0].items():
        tables["design"][part] |= dials
    if name == "random":
        tables["grid"] = {"adoption.kind": ["random"], "adoption.share": [0.5]}
    file = folder / "row.toml"
    file.write_text(tomli_w.dumps(tables), encoding="utf-8")
    found = diagnose(run(Study.from_toml(file).resized(replications=REPLICATIONS))).frame
    own = found[(found["term"] == "overall") & found["measure"].isin(["rmse", "bias"])].set_index("measure")
    rmse, bias = ((float(own.loc[key, "value"]), float(own.loc[key, "mcse"])) for key in ("rmse", "bias"))
    return *rmse, *bias


def main() -> bool:
    """All rows within 3 combined Monte Carlo errors; those published are scaled from ours to their replications."""
    panel = Path(os.environ.get("WAGES", "cps_wages.csv"))
    if not panel.is_file():
        print(f"  passed over: there is no file {panel}; set WAGES to the table of wages by state and year")
        return True
    both, holds = np.sqrt(1 + REPLICATIONS / PUBLISHED_REPLICATIONS), True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.toml").write_text(SPEC, encoding="utf-8")
        made = ["twin", str(panel), "--spec", str(folder / "spec.toml"), "--out", str(folder / "twin")]
        if run_command(made) != 0:
            return False
        tables = read_toml(folder / "twin" / "design.toml", "a study")
        for row, (_, rmse, bias) in ROWS.items():
            got, error, mean, mean_error = row_of(tables, folder / "twin", row)
            away = (got - rmse) / (both * error), (mean - bias) / (both * mean_error)
            print(f"  {row}: RMSE {got:.4f} ({error:.4f}), published {rmse}, {away[0]:.1f} errors away; "
                  f"bias {mean:.4f} ({mean_error:.4f}), published {bias}, {away[1]:.1f}", flush=True)  # fmt: skip
            holds &= max(map(abs, away)) < 3
    return holds
