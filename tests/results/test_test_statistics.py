"""Terms that are test statistics: rejections are judged against what the null sets to 0, and nothing else is."""

from __future__ import annotations

import pytest

from estimators.spatial.lm_tests import LagrangeMultiplier
from experiments.builtin import builtin
from experiments.runner import run
from experiments.study import Study
from results.diagnosis import Diagnosis, diagnose
from results.report.bias_table import bias_table
from results.report.verdicts import verdicts
from sim.paper import Paper


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    forms = (LagrangeMultiplier("exact"), LagrangeMultiplier("elhorst"))
    design = Paper(effect=0.0, controls="none")
    study = Study("lm", design, forms, grid=(("rho", (0.0, 0.1)),), replications=1536, seed=5)
    return diagnose(run(study))


def measures(diagnosis: Diagnosis, rho: float, estimator: str, term: str) -> dict[str, tuple[float, float, float]]:
    """(value, MCSE, fits) of a term in a cell, by measure."""
    frame = diagnosis.frame
    chosen = (frame["rho"] == rho) & (frame["estimator"] == estimator) & (frame["term"] == term)
    rows = frame[chosen & (frame["sample"] == "own")]
    return {str(row["measure"]): (float(row["value"]), float(row["mcse"]), float(row["n"]))
            for row in rows.to_dict("records")}  # fmt: skip


def test_rejections_are_reported_and_no_bias(diagnosis: Diagnosis) -> None:
    null = measures(diagnosis, 0.0, "lm-exact", "lm_lag")
    assert set(null) == {"truth", "mean_estimate", "empirical_se", "mean_se", "model_se", "rejection"}
    assert null["truth"][:2] == (0.0, 0.0)
    for name, expected in (("mean_estimate", 1.0), ("rejection", 0.05)):
        value, mcse, _ = null[name]
        assert value == pytest.approx(expected, abs=4 * mcse)
    power, _, fits = measures(diagnosis, 0.1, "lm-exact", "lm_lag")["rejection"]
    assert power > 0.8
    assert fits == 1536


def test_a_wrong_size_is_called_one(diagnosis: Diagnosis) -> None:
    found = {verdict.estimator: verdict for verdict in verdicts(diagnosis, bias_table(diagnosis))}
    assert found["lm-elhorst"].departs
    assert not found["lm-exact"].departs


def test_the_built_in_study_compares_both_forms() -> None:
    study = builtin("lm-size")
    assert [estimator.name for estimator in study.estimators] == ["lm-exact", "lm-elhorst"]
    cells = [dict(cell.parameters) for cell in study.cells]
    assert {"rho": 0.0, "spatial_error": 0.0} in cells
    assert any(cell["rho"] > 0 and cell["spatial_error"] == 0 for cell in cells)
    assert any(cell["rho"] == 0 and cell["spatial_error"] > 0 for cell in cells)
