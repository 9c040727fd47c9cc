"""Published calibrated simulations of women's wages: 4,000 replications of each of seven rows, and their coverage.

Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021): bias and root mean squared error of 1,000 replications, and
coverage of 400. Needs their table of wages by state and year, which is not part of the repository: the variable WAGES
names the file. Without it the campaign says so and is passed over.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from published_rows import COVERAGE, COVERAGE_REPLICATIONS, KINDS, ROWS, Compared, compared, covered, fitted

REPLICATIONS, NEAR = 4000, 3.0


def main() -> bool:
    """All rows within 3 combined Monte Carlo errors; those published are scaled from ours to their replications."""
    panel = Path(os.environ.get("WAGES", "cps_wages.csv"))
    if not panel.is_file():
        print(f"  passed over: there is no file {panel}; set WAGES to the table of wages by state and year")
        return True
    with tempfile.TemporaryDirectory() as folder:
        design = fitted(panel, Path(folder))
        estimators = [{"kind": kind, "refit": False} for kind in KINDS]
        found = [said(each) for row in ROWS for each in compared(design, row, REPLICATIONS, estimators)]
        found += [
            said(each)
            for row, errors in COVERAGE.items()
            for error in errors
            for each in covered(design, row, error, COVERAGE_REPLICATIONS)
        ]
    return all(each.distance < NEAR for each in found)


def said(each: Compared) -> Compared:
    """The same, printed as soon as it is there."""
    print(f"  {each}", flush=True)
    return each
