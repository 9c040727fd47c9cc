"""Terms that are test statistics: rejections are judged against what the null sets to 0, and nothing else is."""

from __future__ import annotations

import re

import pytest
from reports import printed

from estimators import LMTests, MoranTest
from experiments.run.runner import run
from experiments.study import Study, builtin_study
from results.diagnosis.diagnose import Diagnosis, diagnose
from results.report.html import ReportFacts, html_report
from results.verdict.verdicts import bias_table, verdicts
from sim.presets import Paper

LMS = ("lm_lag", "lm_err", "rlm_lag", "rlm_err")


@pytest.fixture(scope="module")
def dependent() -> Diagnosis:
    """Errors that depend on one another across space, and no spatial lag."""
    grid = (("spatial_error", (0.0, 0.15)),)
    design = Paper(effect=0.0, controls="none", rho=0.0)
    return diagnose(run(Study("lm", design, (LMTests("exact"),), grid=grid, replications=128, seed=5)))


def test_the_plain_test_of_a_lag_may_find_dependent_errors(dependent: Diagnosis) -> None:
    """Its null is no dependence of either kind; that of the robust test is no lag alone."""
    table = bias_table(dependent)
    truths = {(row["cell"], row["term"]): row["truth"] for row in table.to_dict("records")}
    assert [truths[1, term] for term in LMS] == [pytest.approx(value) for value in (0.15, 0.15, 0.0, 0.15)]
    assert all(truths[0, term] == 0.0 for term in LMS)
    lag = table[(table["cell"] == 1) & (table["term"] == "lm_lag")].iloc[0]
    assert lag["rejection"] > 0.8
    rows = dependent.frame[(dependent.frame["cell"] == 0) & (dependent.frame["term"] == "lm_lag")]
    assert set(rows["measure"]) == {
        "truth", "mean_estimate", "empirical_se", "between_worlds", "mean_se", "model_se", "rejection"
    }  # fmt: skip
    found = verdicts(dependent, table)
    assert {verdict.measure for verdict in found} == {"size", "power"}
    size, power = ([verdict for verdict in found if (verdict.measure, verdict.term) == (measure, "lm_lag")]
                   for measure in ("size", "power"))  # fmt: skip
    assert [item.cell for item in size[0].cells] == [0]
    assert [item.cell for item in power[0].told] == [1]


def test_reports_say_what_a_statistic_tests(dependent: Diagnosis) -> None:
    text = printed(dependent, 200)
    rows = [line.split() for line in text.splitlines() if "chi-square" in line]
    shown = [next(word for word in row if word in {"0", "not"}) for row in rows]
    assert shown == ["0"] * 4 + ["not", "not", "0", "not"]
    assert "lm_lag tests rho = lambda = 0" in text
    assert "rlm_err tests lambda = 0" in text
    html = html_report(dependent, ReportFacts("lm"))
    assert "tests rho = lambda = 0" in html
    assert "estimates rho" not in html
    assert "0.1500" not in text + re.sub(r"<svg.*?</svg>", "", html, flags=re.S)


def test_the_built_in_study_compares_both_forms() -> None:
    study = builtin_study("lm-size")
    assert [estimator.name for estimator in study.estimators] == ["lm-exact", "lm-elhorst"]
    cells = [dict(cell.parameters) for cell in study.cells]
    assert {"rho": 0.0, "spatial_error": 0.0} in cells
    assert any(cell["rho"] > 0 and cell["spatial_error"] == 0 for cell in cells)
    assert any(cell["rho"] == 0 and cell["spatial_error"] > 0 for cell in cells)


def test_the_moran_of_residuals_is_a_test_too() -> None:
    study = Study("moran", Paper(effect=0.0, spatial_error=0.15), (MoranTest(),), replications=64, seed=5)
    found = diagnose(run(study))
    (verdict,) = verdicts(found)
    assert verdict.measure == "power"
    assert "bias" not in set(found.frame["measure"])
