"""Published calibrated simulations of women's wages with matrix completion, 500 replications of each of seven rows.

Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021): bias and root mean squared error of 1,000 replications. Needs
their table of wages by state and year, which is not part of the repository: the variable WAGES names the file. Without
it the campaign says so and is passed over.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from published_rows import COMPLETION, ROWS, compared, fitted

REPLICATIONS, NEAR = 500, 3.0
ESTIMATOR = {"kind": COMPLETION, "errors": ["placebo:unit"], "draws": 20}


def main() -> bool:
    """All rows within 3 combined Monte Carlo errors; those published are scaled from ours to their replications."""
    panel = Path(os.environ.get("WAGES", "cps_wages.csv"))
    if not panel.is_file():
        print(f"  passed over: there is no file {panel}; set WAGES to the table of wages by state and year")
        return True
    holds = True
    with tempfile.TemporaryDirectory() as folder:
        design = fitted(panel, Path(folder))
        for row in ROWS:
            for each in compared(design, row, REPLICATIONS, [ESTIMATOR]):
                print(f"  {each}", flush=True)
                holds &= each.distance < NEAR
    return holds
