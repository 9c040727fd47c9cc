"""Failed fits, missing numbers, unknown truths and mixed code are said before the verdict, on both pages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import Sample, made_up
from reports import printed

from estimators import TwoWayDID
from estimators.core.estimator import Status
from experiments.run.reporting import facts_of
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.diagnose import Diagnosis, diagnose
from results.report.grids import ReportFacts
from results.report.html import html_report
from results.store.zarr_store import ZarrStore
from results.verdict.answer import Failed, answer, failed_fits, failure_notice, notices
from results.verdict.verdicts import Grade, bias_table, failures
from sim.presets import Paper

COLLINEAR = Status.SINGULAR.meaning


def lines_of(diagnosis: Diagnosis, full: bool = True, **facts: Any) -> list[str]:
    return printed(diagnosis, facts=ReportFacts("toy", **facts), full=full).splitlines()


def sample(fits: int, terms: int = 1, errors: int = 2, status: Any = None) -> Any:
    rng = np.random.default_rng(5)
    theta = np.ones((fits, terms))
    return Sample(theta, theta + rng.standard_normal(theta.shape), np.ones((fits, errors, terms)), status=status)


def value(diagnosis: Diagnosis, measure: str, name: str = "ols") -> float:
    rows = diagnosis.frame[(diagnosis.frame["measure"] == measure) & (diagnosis.frame["estimator"] == name)]
    return float(rows["value"].iloc[0])


@pytest.fixture
def partly_failed() -> Diagnosis:
    """64 fits of each of two estimators in each of two cells; 35 of one failed."""
    statuses = [np.where(np.arange(64) < failed, Status.SINGULAR, Status.OK) for failed in (30, 5)]
    cells = [({"n": n}, {"sound": sample(64), "ols": sample(64, status=status)})
             for n, status in enumerate(statuses)]  # fmt: skip
    return diagnose(made_up(cells))


def test_failures_are_the_first_words_of_the_verdict(partly_failed: Diagnosis) -> None:
    (ols,) = failed_fits(partly_failed)
    assert (ols.estimator, ols.count, ols.attempted, ols.share, ols.grade) == ("ols", 35, 128, 30 / 64, Grade.FAILS)
    assert 0.3 < ols.lower < ols.share < ols.upper < 0.6
    said = f"Failed fits: ols failed in 35 of 128 fits (27%): {COLLINEAR} (35)."
    assert failure_notice([ols]).startswith(said)
    for full in (True, False):
        assert lines_of(partly_failed, full=full, seed=1)[2].startswith(f"- {said}")
    assert f'<p class="lead">{said} ' in html_report(partly_failed, ReportFacts("toy"))


def test_eight_items_are_listed_and_nine_where_one_alone_would_be_counted() -> None:
    found = [Failed(f"e{n}", 100, Counter({"it": 1}), Grade.HARMLESS, "", 0.01, 0.01, 0.0, 0.05) for n in range(10)]
    nine = failure_notice(found[:9])
    assert nine.count("failed in 1 of 100 fits") == 9
    assert nine.endswith("e8 failed in 1 of 100 fits (1%): it (1).")
    assert failure_notice(found).endswith("e7 failed in 1 of 100 fits (1%): it (1); 2 more.")


def test_one_fit_in_a_thousand_that_failed_is_said_and_harmless() -> None:
    status = np.where(np.arange(2000) < 2, Status.SINGULAR, Status.OK)
    diagnosis = diagnose(made_up([({}, {"ols": sample(2000, status=status)})]))
    (ols,) = failed_fits(diagnosis)
    assert (ols.count, ols.grade) == (2, Grade.HARMLESS)
    found = answer(diagnosis)
    assert found.sentences[0].startswith("Failed fits: ols failed in 2 of 2,000 fits (0.1%)")
    assert found.claims[0].grade is Grade.HOLDS


def test_without_failures_the_verdict_comes_first() -> None:
    diagnosis = diagnose(made_up([({}, {"ols": sample(64)})]))
    assert failed_fits(diagnosis) == []
    assert failure_notice([]) == ""
    assert lines_of(diagnosis)[2].startswith("- Bias of t0: ")


def test_a_status_alone_makes_no_usable_fit() -> None:
    """Four fits are called OK and have no finite estimate."""
    fits = sample(64)
    fits.estimate[[3, 4, 5]], fits.estimate[6] = np.nan, np.inf
    diagnosis = diagnose(made_up([({}, {"ols": fits})]))
    assert value(diagnosis, "convergence") == 60 / 64
    assert value(diagnosis, "status:ok") == 60
    assert failures(diagnosis) == [(0, "ols", 4, 64, "no estimate is finite (4)")]
    lines = lines_of(diagnosis)
    assert lines[2].startswith("- Failed fits: ols failed in 4 of 64 fits (6.2%): no estimate is finite (4).")
    assert "all usable" not in "".join(lines)


def test_one_error_that_is_missing_is_left_out_and_counted() -> None:
    fits = sample(64)
    fits.se[:, 0, 0] = np.linspace(0.5, 1.5, 64)
    fits.se[7, 0, 0] = np.nan
    diagnosis = diagnose(made_up([({}, {"ols": fits})]))
    row = diagnosis.frame[(diagnosis.frame["measure"] == "mean_se") & (diagnosis.frame["error"] == "one")].iloc[0]
    assert row["value"] == pytest.approx(np.nanmean(fits.se[:, 0, 0]))
    assert row["n"] == 63
    table = bias_table(diagnosis)
    assert list(table["n_error"]) == [63, 64]
    assert notices(table) == ["Missing in usable fits: one errors of ols (1 of 64)."]
    text = lines_of(diagnosis)
    assert "- Missing in usable fits: one errors of ols (1 of 64)." in text[:7]  # after how much is judged at once
    assert "all usable" not in "".join(text)


def harmed(terms: int = 2, **slots: Any) -> Any:
    """Fits of which standard errors (fits, error types, terms) or estimates (fits, terms) in some slots are missing."""
    fits = sample(64, terms=terms)
    for name, places in slots.items():
        for place in places:
            getattr(fits, name)[place] = np.nan
    return fits


ALL, FIVE, THREE = slice(None), slice(5), slice(3)


@pytest.mark.parametrize(
    ("slots", "said"),
    [({"se": [(ALL, 0), (ALL, 1, 1)]}, "one errors of ols (64 of 64)"),  # t1 alone has no errors two by its nature
     ({"se": [(FIVE, 0, 0), (THREE, 0, 1)]}, "one errors of ols (5 of 64)"),
     ({"estimate": [(THREE, 1)], "se": [(THREE, ALL, 1)]}, "the estimate of t1 by ols (3 of 64)")],
)  # fmt: skip
def test_of_an_error_type_the_fits_that_lack_it_for_some_term_are_missing(slots: dict[str, Any], said: str) -> None:
    diagnosis = diagnose(made_up([({}, {"ols": harmed(**slots)})]))
    assert notices(bias_table(diagnosis)) == [f"Missing in usable fits: {said}."]
    assert value(diagnosis, "convergence") == 1.0


def test_an_error_type_that_has_intervals_alone_is_not_missing() -> None:
    fits = harmed(terms=1, se=[(ALL, 0)])
    stored = {"lower": np.full(fits.se.shape, -9.0), "upper": np.full(fits.se.shape, 9.0)}
    table = bias_table(diagnose(made_up([({}, {"ols": replace(fits, stored=stored)})])))
    assert list(table["n_error"]) == [64, 64]
    assert notices(table) == []


def test_terms_without_a_truth_are_named() -> None:
    cells = []
    for n in range(2):
        fits = sample(64, terms=3)
        fits.theta[:, 1] = np.nan
        fits.theta[:, 2] = np.nan if n else 1.0
        cells.append(({"n": n}, {"ols": fits}))
    diagnosis = diagnose(made_up(cells))
    said = "No truth in this design: t1, t2 (in 1 of 2 cells) of ols."
    assert notices(bias_table(diagnosis)) == [said]
    assert f"- {said}" in lines_of(diagnosis)
    assert said in html_report(diagnosis, ReportFacts("toy"))


def test_mixed_code_is_said() -> None:
    diagnosis = diagnose(made_up([({}, {"ols": sample(64)})]))
    said = "the blocks come from 2 environments: code a | code b"
    assert said in lines_of(diagnosis, environments=("code a", "code b"))
    assert said in html_report(diagnosis, ReportFacts("toy", environments=("code a", "code b")))
    assert not any("environments" in line for line in lines_of(diagnosis, environments=("code a",)))


@dataclass(frozen=True)
class Named:
    """What a store names of an environment."""

    text: str
    differs: tuple[str, ...] = ()


def test_environments_are_those_that_the_store_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study("toy", Paper(controls="none"), (TwoWayDID(),), replications=64, block=64)
    store = run(study, store=tmp_path / "x.zarr")
    assert isinstance(store, ZarrStore)
    assert len(facts_of(store).environments) == 1
    assert facts_of(store).mixed == ""
    named = (Named("numpy 2.3"), Named("numpy 2.4", ("another numpy",)))
    monkeypatch.setattr(ZarrStore, "environments", named, raising=False)
    assert facts_of(store).environments == ("numpy 2.3", "numpy 2.4 (another numpy)")
    assert facts_of(store).mixed.endswith("numpy 2.3 | numpy 2.4 (another numpy)")
