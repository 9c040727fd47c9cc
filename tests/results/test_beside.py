"""Tests beside the terms, and estimates that pass them, against the records themselves."""

from __future__ import annotations

import numpy as np
import pytest
from reports import printed

from estimators import EventStudy, InteractionTest, TwoWayDID
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.diagnose import Diagnosis, diagnose
from results.report.grids import NOT_JUDGED, passing_fits, side_tests
from results.report.html import ReportFacts, html_report
from results.store.block import Records
from sim.presets import Paper

NAME = "event-study"


@pytest.fixture(scope="module")
def records() -> Records:
    design = Paper(controls="none", trend_gap=0.002)
    estimators = EventStudy(uniform_draws=0), InteractionTest(), TwoWayDID()
    return run(Study("beside", design, estimators, replications=192, seed=4))


@pytest.fixture(scope="module")
def diagnosis(records: Records) -> Diagnosis:
    return diagnose(records)


def value(diagnosis: Diagnosis, measure: str, term: str, sample: str = "own", name: str = NAME) -> tuple[float, int]:
    frame = diagnosis.frame
    row = frame[(frame["estimator"] == name) & (frame["measure"] == measure) & (frame["term"] == term)
                & (frame["sample"] == sample)]  # fmt: skip
    assert len(row) == 1
    return float(row["value"].iloc[0]), int(row["n"].iloc[0])


def test_rejections_and_bias_of_passing_fits_are_those_of_the_records(records: Records, diagnosis: Diagnosis) -> None:
    block = list(records.blocks(0))
    statistics = {
        key: np.concatenate([part.estimates[NAME].statistics[key] for part in block])
        for key in ("pretrend_p", "pretrend_hotelling_p")
    }
    for key, pvalue in statistics.items():
        assert value(diagnosis, f"rejection:{key}", "") == (pytest.approx((pvalue <= 0.05).mean()), 192)
    layout = records.layouts[NAME]
    k = layout.terms.index("overall")
    estimate = np.concatenate([part.estimates[NAME].estimate[:, k] for part in block])
    truth = np.concatenate([part.truth[layout.targets["overall"]] for part in block])
    passed = statistics["pretrend_hotelling_p"] > 0.05
    assert 0 < passed.sum() < 192
    bias, fits = value(diagnosis, "bias", "overall", "passing")
    assert bias == pytest.approx((estimate - truth)[passed].mean())
    assert fits == passed.sum()
    assert bias > value(diagnosis, "bias", "overall")[0]  # Roth (2022): what passes is further off


def test_estimators_without_a_screen_have_no_passing_fits(diagnosis: Diagnosis) -> None:
    assert {name for _, name, _ in passing_fits(diagnosis)} == {NAME}
    assert set(diagnosis.frame[diagnosis.frame["sample"] == "passing"]["estimator"]) == {NAME}
    assert [(name, test) for _, name, test, _ in side_tests(diagnosis)] == [
        (NAME, "pretrend"), (NAME, "pretrend_hotelling"), ("interaction", "wald"),
    ]  # fmt: skip


def test_reports_say_so(diagnosis: Diagnosis) -> None:
    _, _, sentence = next(passing_fits(diagnosis))
    text = printed(diagnosis)
    assert f"{NAME}: {sentence}" in text
    assert f"{NAME}: rejects % (MCSE) by pretrend " in text
    html = html_report(diagnosis, ReportFacts("beside"))
    assert "Tests beside the terms" in html
    assert "Fits that pass" in html
    assert NOT_JUDGED in text
    assert NOT_JUDGED in html
