"""The built-in study `mediation`: every cell has a truth, every fit an answer, and confounding shows."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import Status
from experiments.run.runner import run
from experiments.study import builtin_study


@pytest.mark.long
def test_cells_have_truths_and_confounding_shows() -> None:
    study = builtin_study("mediation").resized(replications=64)
    records = run(study)
    assert len(study.cells) == 9
    misses = {}
    for cell in study.cells:
        (block,) = records.blocks(cell.index)
        estimates = block.estimates["mediation"]
        assert (estimates.status == Status.OK).all()
        assert all(np.isfinite(truth).all() for truth in block.truth.values())
        miss = estimates.estimate[:, estimates.terms.index("nie")] - block.truth["nie"]
        misses[cell.parameters["effect"], cell.parameters["confounding"]] = miss.mean() / (miss.std() / 8)
    for (effect, confounding), t in misses.items():
        assert (t > 4) == (effect > 0 and confounding > 0), (effect, confounding, t)
