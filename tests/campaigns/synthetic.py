"""Published rows of synthetic DID and its relatives: RMSE, bias, and coverage of three inferences.

Needs the wages of the published simulations (`PANELPROOF_DATA`, by default ../shared/data).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from wage_rows import COVERAGE, ROWS, Compared, compared, covered, fitted

REPLICATIONS, COVERED = 4000, 400
NEAR = 3.0


def main() -> bool:
    """Every number within three combined Monte Carlo errors of the published one."""
    data = Path(os.environ.get("PANELPROOF_DATA", "../shared/data")) / "cps_wages.csv"
    found = []
    with tempfile.TemporaryDirectory() as folder:
        design = fitted(data, Path(folder))
        for row in ROWS:
            found += _said(compared(design, row, REPLICATIONS))
        for row, errors in COVERAGE.items():
            for error in errors:
                found += _said(covered(design, row, error, COVERED))
    print(f"  {len(found)} numbers, the farthest {max(each.distance for each in found):.1f} Monte Carlo errors apart")
    return all(each.distance <= NEAR for each in found)


def _said(some: list[Compared]) -> list[Compared]:
    for each in some:
        print(f"  {each}", flush=True)
    return some
