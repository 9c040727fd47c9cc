"""Measures of a user's own: their values, Monte Carlo errors, faults, and where they are shown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from refusals import refuses
from scipy import stats

from estimators import Mediation, TwoWayDID
from experiments.cli import run_command
from experiments.run.runner import run
from experiments.study import Study, load_measures
from results.diagnosis.diagnose import diagnose
from results.diagnosis.own_measures import Equivalence, RejectionAt
from results.report.grids import ReportFacts
from results.report.html import html_report
from results.store import ZarrStore
from sim.presets import Paper
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.effect import Effect
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


def spread(estimate: Floats, truth: Floats) -> float:
    return float(np.std(estimate - truth, ddof=1))


def rows(frame: Any, measure: str) -> list[dict[str, Any]]:
    return list(frame[(frame["measure"] == measure) & (frame["term"] == "did")].to_dict("records"))


def test_one_value_a_fit_is_a_mean() -> None:
    """Shares have the values of the built-in measures, and MCSEs that differ as n and n - 1 do."""
    frame = diagnose(run(quick_study(1024)), measures={"covers": covers}).frame
    mine, theirs = rows(frame, "covers"), rows(frame, "coverage")
    assert [(row["cell"], row["error"]) for row in mine] == [(row["cell"], row["error"]) for row in theirs]
    assert len(mine) == 6
    for a, b in zip(mine, theirs, strict=True):
        assert a["value"] == b["value"]
        assert (a["n"], a["attempted"], a["estimand"]) == (b["n"], b["attempted"], b["estimand"])
        if 0 < a["value"] < 1:
            assert a["mcse"] == pytest.approx(b["mcse"] * math.sqrt(1024 / 1023))


@pytest.fixture(scope="module")
def records() -> Any:
    return run(quick_study(128, grid=()))


def test_the_jackknife_over_runs_by_hand(records: Any) -> None:
    own = rows(diagnose(records, measures={"spread": spread}).frame, "spread")[0]
    blocks = list(records.blocks(0))
    estimate, truth = (np.concatenate(parts) for parts in zip(
        *((block.estimates["did"].estimate[:, 0], block.truth["att"]) for block in blocks), strict=True))  # fmt: skip
    error = estimate - truth
    left = np.array([np.std(np.delete(error, slice(4 * g, 4 * g + 4)), ddof=1) for g in range(32)])
    assert own["mcse"] == pytest.approx(math.sqrt(31 / 32 * np.square(left - left.mean()).sum()))
    sorting = diagnose(records, measures={"sorts": lambda estimate: estimate.sort() or spread(estimate, 0 * estimate)})
    assert rows(sorting.frame, "sorts")[0]["mcse"] == pytest.approx(own["mcse"])  # what it does to its array is lost


def test_worlds_widen_the_errors_of_own_measures() -> None:
    """A mean has the spread of the worlds' means, a statistic the jackknife over worlds where that is the larger."""
    records = run(quick_study(2048, worlds=16, grid=()))
    wave = np.sin(np.arange(16.0))

    def shared(estimate: Floats) -> Floats:
        return np.asarray(wave[np.arange(len(estimate)) // 32 % 16])

    def range_of_estimates(estimate: Floats) -> float:
        return float(np.ptp(estimate))

    own = {"shared": shared, "reach": range_of_estimates, "inside": lambda estimate: np.arange(len(estimate)) % 2.0}
    frame = diagnose(records, measures=own).frame
    assert rows(frame, "inside")[0]["mcse"] == pytest.approx(0.5 / math.sqrt(2047))  # no world differs from another
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
    def mean_error(estimate: Floats, truth: Floats) -> float:
        return float(np.mean(estimate - truth))

    def of_two_worlds(estimate: Floats) -> Floats:
        return np.where(np.arange(len(estimate)) < 64, estimate, np.nan)

    own = {"mean_error": mean_error, "of_two_worlds": of_two_worlds}
    found = diagnose(run(quick_study(128, worlds=16, grid=())), measures=own)
    for name, worlds, point in (("mean_error", 4, 3.182446), ("of_two_worlds", 2, 12.706205)):  # of t
        (row,) = rows(found.frame, name)
        assert row["worlds"] == worlds
        assert row["upper"] - row["value"] == pytest.approx(point * row["mcse"], rel=1e-6)


def test_a_function_may_give_its_own_error_and_values_that_do_not_count_are_left_out(records: Any) -> None:
    def first_half(estimate: Floats) -> Floats:
        return np.where(np.arange(len(estimate)) < 64, 1.0, np.nan)

    asked: dict[str, Any] = {"half": lambda estimate: (0.5, 0.125), "first_half": first_half, "spread": spread}
    found = diagnose(records, measures=asked)
    for name, wanted in (("half", (0.5, 0.125, 128)), ("first_half", (1.0, 0.0, 64))):
        (row,) = rows(found.frame, name)
        assert (row["value"], row["mcse"], row["n"]) == wanted
    assert "<td>0.5 (0.1)</td>" in html_report(found, ReportFacts("x"))
    terms = [set(found.frame[found.frame["measure"] == name]["term"]) for name in ("spread", "bias")]
    assert terms[0] == terms[1], "a term without a truth has no measure of the truth"


FAULTS: dict[str, tuple[Callable[..., Any], str]] = {
    "raises": (lambda estimate: estimate[10_000], "it raises IndexError"),
    "shape": (lambda estimate: estimate[:3], "an array of shape (3,) for 128 fits"),
    "text": (lambda estimate: "high", "it returns a str"),
    "infinite": (lambda estimate: np.full_like(estimate, np.inf), "it returns an infinite number"),
    "infinite_pair": (lambda estimate: (1.0, np.inf), "it returns an infinite number"),
    "triple": (lambda estimate: (1.0, 2.0, 3.0), "a tuple of 3"),
    "unknown": (lambda estimates: 1.0, "arguments (estimates)"),
    "nothing": (lambda: 1.0, "arguments ()"),
    "bias": (lambda estimate: 1.0, "name 'bias'"),
    "not a name": (lambda estimate: 1.0, "name 'not a name'"),
    "number": (3.0, "float is no function"),  # type: ignore[dict-item]
    "mcse": (lambda estimate: 1.0, "name 'mcse'"),
    "built_in": (max, "arguments ()"),
    "complex": (lambda estimate: estimate * 1j, "it returns complex numbers"),
    "negative": (lambda estimate: (1.0, -1.0), "it returns a Monte Carlo error below 0"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_own_measures(records: Any, name: str) -> None:
    function, said = FAULTS[name]
    assert said in str(refuses(f"measure {name}", diagnose, records, measures={name: function}))


def test_what_a_measure_masks_does_not_count(records: Any) -> None:
    measures = {"masked": lambda estimate: np.ma.masked_less(estimate, np.median(estimate)),
                "plain": lambda estimate: np.where(estimate < np.median(estimate), np.nan, estimate)}  # fmt: skip
    masked, plain = (rows(diagnose(records, measures=measures).frame, name)[0] for name in measures)
    assert (masked["value"], masked["n"]) == (plain["value"], plain["n"])
    assert masked["n"] < 128
    refuses("measures is of the type list; allowed: a dict", diagnose, records, measures=[len])


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


def test_measures_change_no_result(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(folder) == 0
    digest = ZarrStore.open(folder / "x.zarr").content_hash()
    (folder / "study.toml").write_text(STUDY.partition("\n")[2])
    assert run_here(folder) == 0
    assert ZarrStore.open(folder / "x.zarr").content_hash() == digest
    plain = Study.from_toml(folder / "study.toml")
    (folder / "study.toml").write_text(STUDY)
    study = Study.from_toml(folder / "study.toml")
    assert (study.fingerprint, Study.from_settings(study.settings)) == (plain.fingerprint, study)
    (folder / "measures.py").unlink()
    capsys.readouterr()
    assert run_command(["report", str(folder / "x.zarr")]) == 0
    assert "median_error" not in capsys.readouterr().out, "a store without its measures is still reported"


@pytest.mark.parametrize(("text", "said"), [
    ("measures.py:worst", "has no function 'worst'"), ("measures.py:np", "has no function 'np'"),
    ("broken.py:worst", "broken.py cannot be imported: SyntaxError"), ("none.py:worst", "no file"),
    ("median_error", "measure 'median_error'"), ("no.such.module:worst", "no.such.module cannot be imported"),
])  # fmt: skip
def test_measures_that_cannot_be_loaded(folder: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    (folder / "broken.py").write_text("def worst(:\n")
    (folder / "study.toml").write_text(STUDY.replace("measures.py:median_error", text))
    assert run_here(folder) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


EFFECT = 0.5


@pytest.fixture(scope="module")
def nulls() -> Any:
    """Few units, so that t and the normal distribution differ."""
    design = PanelDesign(units=12, periods=6, adoption=Random(treated=6), effect=Effect(size=EFFECT))
    fitted = TwoWayDID(errors=("cluster:unit", "wild:unit"), draws=99)
    return run(Study("nulls", design, (fitted,), replications=256))


def by_error(nulls: Any, measure: str, **choices: Any) -> dict[str, dict[str, Any]]:
    frame = diagnose(nulls, **choices).frame
    found = frame[(frame["measure"] == measure) & (frame["term"] == "did")]
    return {row["error"]: row for row in found.to_dict("records")}


def arrays(nulls: Any) -> Any:
    found = [block.estimates["did"] for block in nulls.blocks(0)]
    return (np.concatenate([getattr(one, name)[..., 0] for one in found]) for name in ("estimate", "se", "dof"))


def test_rejection_at_a_null_is_that_of_t(nulls: Any) -> None:
    estimate, se, dof = arrays(nulls)
    for null in (0.0, EFFECT, 0.8):
        found = by_error(nulls, "rejects", measures={"rejects": RejectionAt({"did": null})})
        wanted = np.abs(estimate - null) / se[:, 0] >= stats.t.ppf(0.975, dof[:, 0])
        assert (found["cluster:unit"]["value"], found["cluster:unit"]["n"]) == (wanted.mean(), 256)
        if null == EFFECT:  # of stored intervals too, which invert the bootstrap's test
            assert found["wild:unit"]["value"] == pytest.approx(1 - by_error(nulls, "coverage")["wild:unit"]["value"])
    found, theirs = by_error(nulls, "p", measures={"p": lambda pvalue: pvalue <= 0.05}), by_error(nulls, "rejection")
    assert all(found[error]["value"] == theirs[error]["value"] for error in ("cluster:unit", "wild:unit"))
    measures = {"rejects": RejectionAt({"dit": 0.0})}
    refuses(r"no estimator has the term 'dit'.*did you mean 'did'", diagnose, nulls, measures=measures)


def test_equivalence_is_two_one_sided_tests(nulls: Any) -> None:
    estimate, se, dof = arrays(nulls)
    found = by_error(nulls, "same", measures={"same": Equivalence({"did": (-0.2, 1.2)})})
    both = [stats.t.sf((estimate + 0.2) / se[:, 0], dof[:, 0]), stats.t.sf((1.2 - estimate) / se[:, 0], dof[:, 0])]
    assert found["cluster:unit"]["value"] == (np.maximum(*both) < 0.05).mean()
    assert "wild:unit" not in found  # it has no standard error
    stricter = by_error(nulls, "same", alpha=0.01, measures={"same": Equivalence({"did": (-0.2, 1.2)})})
    assert stricter["cluster:unit"]["value"] == (np.maximum(*both) < 0.01).mean()


def test_errors_that_are_drawn_have_no_equivalence() -> None:
    """The bootstrap of an indirect effect has standard errors, but not the normal law."""
    fitted = Mediation(errors=("delta", "bootstrap:unit"), draws=99)
    store = run(Study("drawn", Paper(controls="none"), (fitted,), replications=8))
    frame = diagnose(store, measures={"same": Equivalence({"nie": (-1.0, 1.0)})}).frame
    assert set(frame[frame["measure"] == "same"]["error"]) == {"delta"}
    assert {"delta", "bootstrap:unit"} <= set(frame[frame["term"] == "nie"]["error"])


def test_the_normal_distribution_rejects_more_often_and_leaves_what_is_stored(nulls: Any) -> None:
    estimate, se, _ = arrays(nulls)
    usual, normal = by_error(nulls, "rejection"), by_error(nulls, "rejection", normal=True)
    assert normal["cluster:unit"]["value"] == (np.abs(estimate) / se[:, 0] >= stats.norm.ppf(0.975)).mean()
    assert normal["wild:unit"]["value"] == usual["wild:unit"]["value"]
    coverage = by_error(nulls, "coverage", normal=True)["cluster:unit"]["value"]
    assert coverage == (np.abs(estimate - EFFECT) <= stats.norm.ppf(0.975) * se[:, 0]).mean()
    assert coverage < by_error(nulls, "coverage")["cluster:unit"]["value"]


@pytest.mark.parametrize(
    ("text", "said"),
    [*((text, "write it so") for text in ("null:did", "null:=0", "null:did=x", "null:did=inf", "equivalence:did<0.1",
                                          "equivalence:0.1<did<x")),
     ("equivalence:0.1<did<0.1", "the lower bound is not below the upper"),
     ("equivalence:0.1<did<-0.1", "the lower bound is not below the upper"), ("nul:did=0", "nul cannot be imported")],
)  # fmt: skip
def test_null_and_equivalence_written_wrong_are_one_line(text: str, said: str) -> None:
    assert len(refuses(said, load_measures, [text], "--measure").problems) == 1


def test_the_command_line_and_a_study_take_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(tmp_path / "s.zarr")
    study = replace(quick_study(128, grid=()), measures=("null:did=0.0157",))
    run(study, store=tmp_path / "s.zarr")
    words = ["report", store, "--json", "--normal", "--measure", "equivalence:-1<did<1"]
    assert run_command(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["study"]["critical_values"] == "normal"
    found = {(row["measure"], row["term"]): row["value"] for row in document["measures"]
             if row["measure"] in ("rejection_at_null", "equivalence")}  # fmt: skip
    assert found["equivalence", "did"] == 1.0
    assert set(found) == {("equivalence", "did"), ("rejection_at_null", "did")}
    assert run_command(["report", store, "--measure", "null:dit=0"]) == 2
    capsys.readouterr()
    assert run_command(["report", store, "--by", "error", "--measure", "null:did=0.0157"]) == 0
    assert capsys.readouterr().out.startswith("rejection_at_null for did")  # and no table of the bias
