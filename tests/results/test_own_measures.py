"""Measures of a user's own: their values, Monte Carlo errors, faults, and where they are shown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.cli import run_command
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from results.report.grids import ReportFacts
from results.report.html import html_report
from results.store import ZarrStore
from sim.errors import BadInput
from studies import quick_study

Floats = NDArray[np.float64]

MEASURES = """
import numpy as np

def median_error(estimate, truth):
    return float(np.median(estimate - truth))

def covers(lower, upper, truth):
    return (lower <= truth) & (truth <= upper)

def wide(lower, upper):
    return upper - lower > 0.009
"""


def covers(lower: Floats, upper: Floats, truth: Floats) -> Any:
    return (lower <= truth) & (truth <= upper)


def rejects(pvalue: Floats) -> Any:
    return pvalue <= 0.05


def spread(estimate: Floats, truth: Floats) -> float:
    return float(np.std(estimate - truth, ddof=1))


def mean_error(estimate: Floats, truth: Floats) -> float:
    return float(np.mean(estimate - truth))


@pytest.fixture(scope="module")
def frame() -> Any:
    records = run(quick_study(1024))
    functions = {"covers": covers, "rejects": rejects, "spread": spread, "mean_error": mean_error}
    return diagnose(records, measures=functions).frame


def rows(frame: Any, measure: str) -> list[dict[str, Any]]:
    return list(frame[(frame["measure"] == measure) & (frame["term"] == "did")].to_dict("records"))


@pytest.mark.parametrize(("own", "built"), [("covers", "coverage"), ("rejects", "rejection")])
def test_one_value_a_fit_is_a_mean(frame: Any, own: str, built: str) -> None:
    """Shares have the values of the built-in measures, and MCSEs that differ as n and n - 1 do."""
    mine, theirs = rows(frame, own), rows(frame, built)
    assert [(row["cell"], row["error"]) for row in mine] == [(row["cell"], row["error"]) for row in theirs]
    assert len(mine) == 6
    for a, b in zip(mine, theirs, strict=True):
        assert a["value"] == b["value"]
        assert (a["n"], a["attempted"], a["estimand"]) == (b["n"], b["attempted"], b["estimand"])
        if 0 < a["value"] < 1:
            assert a["mcse"] == pytest.approx(b["mcse"] * math.sqrt(1024 / 1023))


def test_a_statistic_has_the_jackknifes_error(frame: Any) -> None:
    """The jackknife over 32 runs of a mean and of a standard deviation, against their formulas: 4 of its own errors."""
    for own, built in (("mean_error", "bias"), ("spread", "empirical_se")):
        for mine, theirs in zip(rows(frame, own), rows(frame, built), strict=True):
            assert mine["error"] == ""
            assert mine["value"] == pytest.approx(theirs["value"], abs=1e-15)
            assert abs(mine["mcse"] / theirs["mcse"] - 1) < 4 / math.sqrt(2 * 31)
            assert mine["lower"] < mine["value"] < mine["upper"]


def test_the_jackknife_over_runs_by_hand() -> None:
    records = run(quick_study(128, grid=()))
    own = rows(diagnose(records, measures={"spread": spread}).frame, "spread")[0]
    (first, second) = records.blocks(0)
    estimate = np.concatenate([block.estimates["did"].estimate[:, 0] for block in (first, second)])
    error = estimate - np.concatenate([block.truth["att"] for block in (first, second)])
    left = np.array([np.std(np.delete(error, slice(4 * g, 4 * g + 4)), ddof=1) for g in range(32)])
    assert own["mcse"] == pytest.approx(math.sqrt(31 / 32 * np.square(left - left.mean()).sum()))


def test_worlds_widen_the_errors_of_own_measures() -> None:
    """A mean has the spread of the worlds' means, a statistic the jackknife over worlds where that is the larger."""
    records = run(quick_study(2048, worlds=16, grid=()))
    wave = np.sin(np.arange(16.0))

    def shared(estimate: Floats) -> Floats:
        return np.asarray(wave[np.arange(len(estimate)) // 32 % 16])

    def range_of_estimates(estimate: Floats) -> float:
        return float(np.ptp(estimate))

    frame = diagnose(records, measures={"shared": shared, "reach": range_of_estimates}).frame
    (mean,), (reach,) = rows(frame, "shared"), rows(frame, "reach")
    assert mean["worlds"] == reach["worlds"] == 16
    assert mean["mcse"] == pytest.approx(np.std(wave, ddof=1) / 4)
    estimate = np.concatenate([block.estimates["did"].estimate[:, 0] for block in records.blocks(0)])
    found = []
    for group in (np.arange(2048) // 32 % 16, np.arange(2048) // 64):
        left = np.array([np.ptp(estimate[group != one]) for one in np.unique(group)])
        found.append(math.sqrt((1 - 1 / len(left)) * np.square(left - left.mean()).sum()))
    assert reach["mcse"] == pytest.approx(max(found))


def test_intervals_count_the_worlds_that_were_reached() -> None:
    records = run(quick_study(128, worlds=16, grid=()))
    (row,) = rows(diagnose(records, measures={"mean_error": mean_error}).frame, "mean_error")
    assert row["worlds"] == 4
    assert row["upper"] - row["value"] == pytest.approx(3.182446 * row["mcse"], rel=1e-6)  # t of 3 degrees of freedom


def test_a_function_may_give_its_own_error() -> None:
    records = run(quick_study(128, grid=()))
    (row,) = rows(diagnose(records, measures={"half": lambda estimate: (0.5, 0.125)}).frame, "half")
    assert (row["value"], row["mcse"], row["n"]) == (0.5, 0.125, 128)


def test_values_that_do_not_count_are_left_out() -> None:
    records = run(quick_study(128, grid=()))

    def first_half(estimate: Floats) -> Floats:
        return np.where(np.arange(len(estimate)) < 64, 1.0, np.nan)

    (row,) = rows(diagnose(records, measures={"first_half": first_half}).frame, "first_half")
    assert (row["value"], row["mcse"], row["n"]) == (1.0, 0.0, 64)


def test_a_term_without_a_truth_has_no_measure_of_the_truth() -> None:
    records = run(quick_study(64, grid=()))
    frame = diagnose(records, measures={"spread": spread, "middle": lambda estimate: float(np.median(estimate))}).frame
    known = set(frame[frame["measure"] == "bias"]["term"])
    assert set(frame[frame["measure"] == "spread"]["term"]) == known


FAULTS: dict[str, tuple[Callable[..., Any], str]] = {
    "raises": (lambda estimate: estimate[10_000], "it raises IndexError"),
    "shape": (lambda estimate: estimate[:3], "an array of shape (3,) for 64 fits"),
    "text": (lambda estimate: "high", "it returns a str"),
    "triple": (lambda estimate: (1.0, 2.0, 3.0), "a tuple of 3"),
    "unknown": (lambda estimates: 1.0, "arguments (estimates)"),
    "nothing": (lambda: 1.0, "arguments ()"),
    "bias": (lambda estimate: 1.0, "name 'bias'"),
    "not a name": (lambda estimate: 1.0, "name 'not a name'"),
    "number": (3.0, "float is no function"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_own_measures(name: str) -> None:
    function, said = FAULTS[name]
    records = run(quick_study(64, grid=()))
    with pytest.raises(BadInput, match=f"measure {name}") as caught:
        diagnose(records, measures={name: function})
    assert said in str(caught.value)


STUDY = 'measures = ["measures.py:median_error", "measures.py:covers"]\nreplications = 128\nblock = 64\n\n[design]\n'
STUDY += 'kind = "paper"\ncontrols = "none"\n[[estimators]]\nkind = "did"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "measures.py").write_text(MEASURES)
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def run_here(folder: Path, *options: str) -> int:
    command = ["run", str(folder / "study.toml"), "--cluster", "serial", "--store", str(folder / "x.zarr")]
    return run_command([*command, *options])


def test_measures_of_a_study_file_are_shown_everywhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = folder / "x.html"
    assert run_here(folder, "--html", str(page)) == 0
    printed = capsys.readouterr().out
    assert "median_error (MCSE)" in printed
    assert "covers (MCSE)" in printed
    text = page.read_text(encoding="utf-8")
    assert '<th scope="col">median_error (MCSE)</th>' in text
    extra = ["--measure", str(folder / "measures.py") + ":wide"]
    assert run_command(["report", str(folder / "x.zarr"), "--json", "--load-code", *extra]) == 0
    measures = json.loads(capsys.readouterr().out)["measures"]
    by_name = {name: [row for row in measures if row["measure"] == name] for name in ("median_error", "covers", "wide")}
    assert [len(found) for found in by_name.values()] == [1, 3, 3]
    assert all(row["mcse"] >= 0 for found in by_name.values() for row in found)
    coverage = [row["value"] for row in measures if row["measure"] == "coverage" and row["term"] == "did"]
    assert [row["value"] for row in by_name["covers"]] == coverage
    assert run_command(["report", str(folder / "x.zarr"), *extra]) == 0
    assert "wide (MCSE)" in capsys.readouterr().out


def test_numbers_on_the_page_are_those_of_the_measure(folder: Path) -> None:
    records = run(quick_study(128, grid=()))
    diagnosis = diagnose(records, measures={"half": lambda estimate: (0.5, 0.125)})
    assert "<td>0.5 (0.1)</td>" in html_report(diagnosis, ReportFacts("x"))


def test_measures_change_no_result(folder: Path) -> None:
    assert run_here(folder) == 0
    digest = ZarrStore.open(folder / "x.zarr").content_hash()
    (folder / "study.toml").write_text(STUDY.partition("\n")[2])
    assert run_here(folder) == 0
    assert ZarrStore.open(folder / "x.zarr").content_hash() == digest
    plain = Study.from_toml(folder / "study.toml")
    (folder / "study.toml").write_text(STUDY)
    study = Study.from_toml(folder / "study.toml")
    assert study.fingerprint == plain.fingerprint
    assert Study.from_settings(study.settings) == study


def test_a_store_without_its_measures_is_still_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(folder) == 0
    (folder / "measures.py").unlink()
    capsys.readouterr()
    assert run_command(["report", str(folder / "x.zarr")]) == 0
    assert "median_error" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("measures.py:worst", "has no function 'worst'"),
        ("none.py:worst", "no file"),
        ("broken.py:worst", "broken.py cannot be imported: SyntaxError"),
        ("median_error", "measure 'median_error'"),
        ("no.such.module:worst", "no.such.module cannot be imported"),
        ("measures.py:np", "has no function 'np'"),
    ],
)
def test_measures_that_cannot_be_loaded(folder: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    (folder / "broken.py").write_text("def worst(:\n")
    (folder / "study.toml").write_text(STUDY.replace("measures.py:median_error", text))
    assert run_here(folder) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
