"""Searches on studies whose answer is known by formula, and what the commands say, keep and refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm, t

from cluster import Serial
from cluster.executor import Outcome
from experiments.cli import run_command
from experiments.search.searches import needed, replications_for
from experiments.search.solve import BLOCK, Search, breakdown, dial_of, evaluator_of, frontier, solve
from experiments.study import Study
from references import known_breakdowns as known
from sim.errors import BadInput

SE = math.sqrt((1 / known.TREATED + 1 / (known.UNITS - known.TREATED)) * (1 / 4 + 1 / 4))  # of DID with iid errors

STUDY = """
seed = 3
worlds = 1
[design]
kind = "panel"
units = 40
periods = 8
[design.effect]
size = 0.5
[[estimators]]
kind = "did"
errors = ["iid", "cluster:unit"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path / "study.toml"


def test_the_effect_of_known_power() -> None:
    """Within 2% of (z_.8 + z_.975) se, the minimum detectable effect of a normal test with known variance."""
    freedom = (known.UNITS - 1) * (known.PERIODS - 1) - 1
    exact = (t.ppf(0.8, freedom) + t.ppf(0.975, freedom)) * SE
    assert exact == pytest.approx((norm.ppf(0.8) + norm.ppf(0.975)) * SE, rel=2e-3)
    (answer,) = solve(evaluator_of(known.study(20), "power:0.8", None), "effect.size", Search(precision=0.01))
    assert answer.state == "found"
    assert abs(answer.value / exact - 1) < 0.02
    assert answer.lower <= exact <= answer.upper


def test_a_search_to_an_end_begins_beside_no_effect() -> None:
    (answer,) = solve(evaluator_of(known.study(20), "type_s:0.1", None), "effect.size", Search(high=1.0, precision=0.2))
    assert answer.state == "found"


def test_the_number_of_units_of_known_power() -> None:
    """The units at which .25 is the minimum detectable effect."""
    exact = 4 * 0.5 * ((norm.ppf(0.8) + norm.ppf(0.975)) / 0.25) ** 2
    (answer,) = solve(evaluator_of(known.study(21, 0.25), "power:0.8", None), "units", Search(precision=0.05))
    assert answer.lower <= exact <= answer.upper
    assert answer.whole == math.ceil(answer.value)
    assert all(isinstance(point.dials["units"], int) for point in answer.points)


@pytest.mark.long
def test_breakdowns_by_formula_lie_in_the_interval() -> None:
    """Of 4 searches at least 3 intervals hold the autocorrelation at which the size is 10% (fewer of 99% ones: odds of
    1 in 1,700). `python tests/campaigns/run.py searches` has 100, and as many of a trend gap's bias."""
    truth, hits = known.serial_of_size(0.10), 0
    for seed in range(4):
        (answer,) = breakdown(evaluator_of(known.study(500 + seed, 0.0), "size:0.10", None), "errors.serial",
                              Search(precision=0.25))  # fmt: skip
        assert answer.state == "found"
        assert abs(answer.value / truth - 1) < 3 * 0.25
        hits += answer.lower <= truth <= answer.upper
    assert hits >= 3


def test_a_frontier_is_the_line_that_two_biases_make() -> None:
    """A trend gap g and a jump j bias DID by 4 g + j: a quarter of an effect of .5 is passed at g = (.125 - j) / 4."""
    evaluator = evaluator_of(known.study(40, 0.5), "bias:25%", None)
    answers = frontier(evaluator, "effect.trend_gap", "effect.jump", Search(precision=0.15))
    assert len(answers) == 6
    *along, alone = answers
    assert (alone.dial, alone.setting) == ("effect.jump", {})
    assert abs(alone.value / 0.125 - 1) < 0.2
    for item in along:
        truth = (0.125 - item.setting["effect.jump"]) / 4
        wide = (item.upper - item.lower) / 2
        assert abs(item.value - truth) < 2.1 * wide, item.sentence  # 4 standard errors


def test_a_second_dial_ends_where_it_is_told_to_and_has_a_map(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.parent / "out"
    dials = ["--dial", "effect.trend_gap", "--dial2", "effect.jump", "--to2", "0.1", "--measure", "bias:50%"]
    assert run_here("breakdown", str(file), *dials, "--out", str(out), "--precision", "0.3") == 0
    said = "the absolute bias of did by did rises above 50% of the effect at effect.trend_gap"
    assert capsys.readouterr().out.count(said) == 6
    answers = json.loads((out / "answer.json").read_text(encoding="utf-8"))["answers"]
    assert [item["setting"]["effect.jump"] for item in answers] == [0.0, 0.02, 0.04, 0.06, 0.08, 0.1]
    assert {item["dial"] for item in answers} == {"effect.trend_gap"}
    assert "effect.jump" in (out / "frontier.svg").read_text(encoding="utf-8")
    evaluator = evaluator_of(Study.from_toml(file), "bias:50%", None)
    (alone,) = frontier(evaluator, "effect.trend_gap", "errors.serial", Search(precision=0.3))
    assert (alone.dial, alone.state) == ("errors.serial", "not reached")
    assert alone.sentence.endswith("Say with --to2 where the frontier ends.")


@pytest.mark.parametrize("measure", ["coverage", "bias"])
def test_replications_of_a_monte_carlo_error(measure: str) -> None:
    target = {"coverage": 0.004, "bias": 0.002}[measure]
    (answer,) = replications_for(evaluator_of(known.study(50), f"{measure}:0.5", None), target, 100_000)
    assert answer.state == "found"
    exact = {"coverage": 0.95 * 0.05, "bias": SE**2}[measure] / target**2
    assert answer.lower <= exact <= answer.upper
    assert answer.whole is not None
    evaluator = evaluator_of(known.study(50), f"{measure}:0.5", None)
    attained = evaluator.measure({}, -(-answer.whole // BLOCK) * BLOCK).mcse
    assert abs(attained / target - 1) < 0.1


def test_worlds_that_are_too_few_for_a_monte_carlo_error() -> None:
    """8 worlds of 32 fits with correlation .5: no replications bring the error below that of 8 world means."""
    alone = 1.0 / 256
    mcse = math.sqrt(alone * (1 + 31 * 0.5))
    floor = math.sqrt(0.5 / 8)
    assert math.isinf(needed(mcse, alone, 256, 8, 0.99 * floor))
    exact = 0.5 / (floor**2 * (1.005**2 - 1))  # .5 / n is what lies within worlds
    assert needed(mcse, alone, 256, 8, 1.005 * floor) == pytest.approx(exact, rel=1e-6)
    assert needed(math.sqrt(alone), alone, 256, 1, 0.01) == pytest.approx(10_000, rel=1e-6)


class Stops(Serial):
    """An executor that is interrupted after some blocks."""

    def __init__(self, after: int) -> None:
        self.left = after

    def run(
        self, function: Callable[[Any], Any], jobs: Iterable[Any], careful: Callable[..., Any] | None = None
    ) -> Iterator[Outcome]:
        for outcome in super().run(function, jobs, careful):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            yield outcome


def test_a_search_that_is_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    def answer(folder: Path, after: int = -1) -> Any:
        evaluator = evaluator_of(known.study(70), "power:0.8", folder, executor=Stops(after))
        return solve(evaluator, "effect.size", Search(precision=0.1))

    straight = answer(tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        answer(tmp_path / "x", after=5)
    assert answer(tmp_path / "x") == straight
    assert answer(tmp_path / "x", after=0) == straight  # nothing is computed again


def run_here(*arguments: str) -> int:
    return run_command([*arguments, "--cluster", "serial"])


def test_solve_prints_and_keeps_its_answer(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.parent / "out"
    command = ["solve", "power:0.8", str(file), "--for", "effect", "--error", "cluster:unit", "--out", str(out)]
    assert run_here(*command, "--precision", "0.1") == 0
    printed = capsys.readouterr().out
    kept = json.loads((out / "answer.json").read_text(encoding="utf-8"))
    (answer,) = kept["answers"]
    assert answer["sentence"] in " ".join(printed.split())
    assert answer["sentence"].startswith("The power of did by did (cluster:unit errors) reaches 80% at effect.size = ")
    assert answer["lower"] < answer["value"] < answer["upper"]
    for point in answer["points"]:
        assert (out / point["store"]).is_dir()
    assert run_here(*command, "--precision", "0.1", "--json") == 0
    assert json.loads(capsys.readouterr().out) == kept


def test_a_grid_has_an_answer_in_each_of_its_cells(file: Path) -> None:
    file.write_text(STUDY.replace("units = 40\n", "") + '[grid]\nunits = [40, 160]\n"effect.trend_gap" = [0.0, 0.5]\n')
    evaluator = evaluator_of(Study.from_toml(file), "bias:50%", None)
    answers = breakdown(evaluator, "effect.trend_gap", Search(precision=0.2))
    assert [item.setting for item in answers] == [{"units": 40}, {"units": 160}]
    assert all(abs(item.value / 0.0625 - 1) < 0.6 for item in answers)


def test_what_is_passed_already_or_never(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    out = str(file.parent / "out")
    command = ["breakdown", str(file), "--out", out, "--dial", "errors.serial"]
    assert run_here(*command, "--measure", "coverage:0.99") == 1
    assert "falls below 99% already at errors.serial = 0" in capsys.readouterr().out
    assert run_here("breakdown", str(file), "--dial", "effect.trend_gap", "--measure", "bias:50%", "--to", "0.02") == 1
    assert "nowhere up to effect.trend_gap = 0.02" in capsys.readouterr().out
    assert run_here("solve", "power:0.9999", str(file), "--for", "treated") == 1
    assert "nowhere up to adoption.treated = 20" in capsys.readouterr().out
    for verb in ("breakdown", "solve"):  # neither answer takes the place of the other
        assert (file.parent / "runs" / f"{verb}-{file.stem}" / "answer.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["solve", "pwer:0.8", "--for", "effect"], "measure 'pwer'"),
        (["solve", "power:80", "--for", "effect"], "level '80'"),
        (["solve", "power:x", "--for", "effect"], "level 'x'"),
        (["solve", "power", "--for", "effect"], "level ''"),
        (["solve", "bias:-1", "--for", "effect"], "level '-1'"),
        (["solve", "power:0.8", "--for", "effects"], "no dial 'effects'"),
        (["solve", "power:0.8", "--for", "replications"], "goal 'power:0.8' --for replications"),
        (["solve", "mcse:coverage=0.003", "--for", "units"], "goal 'mcse:coverage=0.003' --for units"),
        (["solve", "mcse:coverage", "--for", "replications"], "goal 'mcse:coverage'"),
        (["solve", "mcse:covrage=0.1", "--for", "replications"], "measure 'covrage'"),
        (["solve", "power:0.8", "--for", "effect", "--estimator", "sdm"], "estimator 'sdm'"),
        (["solve", "power:0.8", "--for", "effect", "--term", "rho"], "term 'rho'"),
        (["solve", "power:0.8", "--for", "effect", "--error", "hc1"], "error type 'hc1'"),
        (["solve", "power:0.8", "--for", "units", "--to", "20.5"], "--to; units = 20.5; allowed: a whole number"),
        (["solve", "power:0.8", "--for", "units", "--from", "nan"], "--from; units = nan; allowed: a whole number"),
        (["solve", "power:0.8", "--for", "units", "--to", "1"], "units = 1"),
        (["solve", "power:1", "--for", "effect"], "level '1'"),
        (["solve", "power:120%", "--for", "effect"], "level '120%'"),
        (["solve", "size:0.1", "--for", "effect"], "the truth of did is 0.5; allowed: size where the truth is 0"),
        (["solve", "power:0.8", "--for", "units", "--from", "40", "--to", "40"], "begins at units = 40 too"),
        (["breakdown", "--dial", "errors.serial", "--to", "0"], "--to; the search begins at errors.serial = 0 too"),
        (["breakdown", "--dial", "errors.serial", "--measure", "bias:25%", "--error", "hc1"], "error type 'hc1'"),
        (["solve", "power:0.8", "--for", "effect", "--precision", "0"], "precision 0"),
        (["breakdown", "--dial", "errors.serial", "--measure", "size:0.10"], "the truth of did is 0.5"),
        (["breakdown", "--dial", "errors.serial", "--dial2", "errors.serial"], "named twice"),
    ],
)
def test_bad_input(arguments: list[str], said: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.parent / "out"
    assert run_here(arguments[0], *([arguments[1], str(file)] if arguments[0] == "solve" else [str(file)]),
                    *arguments[2 if arguments[0] == "solve" else 1 :], "--out", str(out)) == 2  # fmt: skip
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_dials_by_their_short_names(file: Path) -> None:
    study = Study.from_toml(file)
    names = {name: dial_of(study, name, "--for") for name in ("effect", "units", "periods", "treated", "errors.serial")}
    assert names == {"effect": "effect.size", "units": "units", "periods": "periods", "treated": "adoption.treated",
                     "errors.serial": "errors.serial"}  # fmt: skip
    paper = Study.from_settings({"design": {"kind": "paper"}, "estimators": [{"kind": "did"}]})
    assert dial_of(paper, "effect", "--for") == "effect"
    with pytest.raises(BadInput, match="no dial 'units'"):
        dial_of(paper, "units", "--for")


def test_points_of_different_values_are_drawn_independently() -> None:
    evaluator = evaluator_of(known.study(80), "power:0.5", None)
    for value in (0.0, 0.1):
        evaluator.measure({"effect.size": value}, 256)
    estimates = [
        evaluator.store_at({"effect.size": value}).sound(0, 0).estimates["did"].estimate for value in (0.0, 0.1)
    ]
    assert abs(np.corrcoef(*(each[:, 0] for each in estimates))[0, 1]) < 4 / math.sqrt(256)
