"""Published calibrated simulations of women's wages: seven rows with five estimators, and the coverage of three errors.

Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021): bias and root mean squared error of 1,000 replications, and
coverage of 400. Ours: 4,000 replications a row, 500 of matrix completion. Needs their table of wages by state and year,
which is not part of the repository: the variable WAGES names the file. Without it the campaign says so and is passed
over.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from published_rows import COMPLETION, COVERAGE, COVERAGE_REPLICATIONS, KINDS, ROWS, Compared, compared, covered, fitted

NEAR = 3.0
ASKED = (  # replications, estimators
    (4000, [{"kind": kind, "refit": False} for kind in KINDS]),
    (500, [{"kind": COMPLETION, "errors": ["placebo:unit"], "draws": 20}]),
)


def main() -> bool:
    """All rows within 3 combined Monte Carlo errors; those published are scaled from ours to their replications."""
    panel, holds = Path(os.environ.get("WAGES", "cps_wages.csv")), True
    if not panel.is_file():
        print(f"  passed over: there is no file {panel}; set WAGES to the table of wages by state and year")
        return True
    with tempfile.TemporaryDirectory() as folder:
        for each in _rows(fitted(panel, Path(folder))):
            print(f"  {each}", flush=True)
            holds &= each.distance < NEAR
    return holds


def _rows(design: Path) -> Iterator[Compared]:
    for replications, estimators in ASKED:
        for row in ROWS:
            yield from compared(design, row, replications, estimators)
    for row, errors in COVERAGE.items():
        for error in errors:
            yield from covered(design, row, error, COVERAGE_REPLICATIONS)
