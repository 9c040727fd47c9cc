"""Synthetic estimators in the published calibrated simulations.

Full sizes take minutes: `REPLICATIONS=4000 DRAWN_ANEW=400 pytest tests/experiments/test_synthetic_published.py`, with
the timeout of pytest off (`--timeout 0`), or `python tests/campaigns/run.py synthetic`.
"""

from __future__ import annotations

import os
from pathlib import Path

import made_twins
import numpy as np
import pytest
from published_rows import COVERAGE, KINDS, ROWS, compared, covered, fitted

from sim import Panel, Roles

REPLICATIONS = int(os.environ.get("REPLICATIONS", "1000"))  # of RMSE and bias; the promise is of 4,000
DRAWN_ANEW = int(os.environ.get("DRAWN_ANEW", "40"))  # of coverage by samples drawn anew; 400 as published
NEAR = 3.0


@pytest.fixture(scope="module")
def design(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(shared_data / "cps_wages.csv", tmp_path_factory.mktemp("wages"))


@pytest.mark.parametrize("row", ROWS)
def test_published_rows(design: Path, row: str) -> None:
    """RMSE and bias of four estimators at `REPLICATIONS` replications, within 3 combined Monte Carlo errors."""
    estimators = [{"kind": kind, "refit": False} for kind in KINDS]
    far = [str(each) for each in compared(design, row, REPLICATIONS, estimators) if each.distance > NEAR]
    assert not far


@pytest.mark.parametrize("row", COVERAGE)
def test_published_coverage_of_the_jackknife(design: Path, row: str) -> None:
    """At 400 replications, within 3 combined Monte Carlo errors."""
    far = [str(each) for each in covered(design, row, "jackknife", 400) if each.distance > NEAR]
    assert not far


@pytest.mark.long
@pytest.mark.parametrize("error", ["bootstrap", "placebo"])
@pytest.mark.parametrize("row", COVERAGE)
def test_published_coverage_of_samples_drawn_anew(design: Path, row: str, error: str) -> None:
    """The same of 200 samples a panel, at `DRAWN_ANEW` replications."""
    far = [str(each) for each in covered(design, row, error, DRAWN_ANEW) if each.distance > NEAR]
    assert not far


@pytest.fixture(scope="module")
def made() -> tuple[Panel, list[tuple[np.ndarray, np.ndarray]]]:
    """Panels of the five steps fitted to a made-up panel, and the same as units by periods with treated units."""
    steps = made_twins.FiveSteps.of(made_twins.low_rank_table(), rank=3, order=2, digits=2, most=6, last=5)
    rng, count = np.random.default_rng(4), 30
    t, n = steps.additive.shape
    root = np.linalg.cholesky(steps.covariance)
    y, did = np.empty((count, t, n)), np.zeros((count, t, n))
    plain = []
    for k in range(count):
        y[k] = steps.additive + steps.interactive + root @ rng.standard_normal((t, n))
        chosen = np.flatnonzero(rng.random(n) < steps.chances)
        chosen = rng.permutation(chosen if chosen.size else n)[: steps.most]
        did[k, -steps.last :, chosen] = 1.0
        plain.append((y[k].T, np.isin(np.arange(n), chosen)))
    panel = Panel(tuple(f"u{i:02d}" for i in range(n)), tuple(range(t)), {"y": y, "did": did}, Roles("y", "did"))
    return panel, plain
