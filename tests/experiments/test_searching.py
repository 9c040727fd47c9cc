"""Searches whose answer is known by formula: which way they go, where they begin, what commands say and refuse."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import commands
import numpy as np
import pandas as pd
import pytest
from refusals import refuses, refuses_all
from scipy.stats import norm, t

from cluster import Serial
from cluster.executor import Outcome
from estimators import TwoWayDID
from estimators.core.estimator import Layout
from experiments.run.runner import run
from experiments.run.tasks import runner_of
from experiments.search import searches
from experiments.search import solve as points
from experiments.search.root import Found, Limits, SearchPoint, _bracket, fitted, narrow, search
from experiments.search.searches import breaking, needed, replications_for, solving, spread_of
from experiments.search.solve import (
    BLOCK,
    Search,
    SearchAnswer,
    SearchQuestion,
    breakdown,
    dial_of,
    evaluator_of,
    frontier,
    question_of,
    solve,
)
from experiments.study import Study
from references import known_breakdowns as known
from results.diagnosis.diagnose import diagnose
from sim.errors import BadInput, bad

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


@pytest.mark.parametrize(("seed", "effect", "precision", "within"), [(20, 0.5, 0.01, 0.02), (22, -0.5, 0.03, 0.05)])
def test_the_effect_of_known_power(seed: int, effect: float, precision: float, within: float) -> None:
    """The minimum detectable effect (z_.8 + z_.975) se of a normal test with known variance, on the effect's side."""
    freedom = (known.UNITS - 1) * (known.PERIODS - 1) - 1
    exact = math.copysign((t.ppf(0.8, freedom) + t.ppf(0.975, freedom)) * SE, effect)
    assert abs(exact) == pytest.approx((norm.ppf(0.8) + norm.ppf(0.975)) * SE, rel=2e-3)
    evaluator = evaluator_of(known.study(seed, effect), "power:0.8", None)
    (answer,) = solve(evaluator, "effect.size", Search(precision=precision))
    assert answer.state == "found"
    assert abs(answer.value / exact - 1) < within
    assert answer.lower <= exact <= answer.upper


def test_a_departure_is_found_in_any_unit_of_the_outcome() -> None:
    """A jump that moves DID by a quarter of the effect, of outcomes around 1 and around 1e6."""
    found = []
    for unit in (1.0, 1e6):
        dials = {"errors": {"sd": unit}, "levels": {"unit_sd": unit, "period_sd": unit}, "effect": {"size": 0.5 * unit}}
        held = tomllib.loads(STUDY)
        study = Study.from_settings({**held, "design": held["design"] | dials}, "test")
        asked = Search(precision=0.2, budget=8000)
        (answer,) = breakdown(evaluator_of(study, "bias:25%", None), "effect.jump", asked)
        assert answer.state == "found"
        found.append((answer.lower / unit, answer.upper / unit))
    (low, high), (other_low, other_high) = found
    assert max(low, other_low) < min(high, other_high)


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


def test_a_second_dial_ends_where_it_is_told_to_and_has_a_map(file: Path) -> None:
    out = file.parent / "out"
    dials = ["--dial", "effect.trend_gap", "--dial2", "effect.jump", "--to2", "0.1", "--measure", "bias:50%"]
    said = "the absolute bias of did by did rises above 50% of the effect at effect.trend_gap"
    assert asked("breakdown", file, *dials, "--out", out, "--precision", "0.3").out.count(said) == 6
    answers = json.loads((out / "answer.json").read_text(encoding="utf-8"))["answers"]
    assert [item["setting"]["effect.jump"] for item in answers] == [0.0, 0.02, 0.04, 0.06, 0.08, 0.1]
    assert {item["dial"] for item in answers} == {"effect.trend_gap"}
    svg = (out / "frontier.svg").read_text(encoding="utf-8")
    assert "bars are 99% intervals" in svg
    assert svg.count("at effect.jump ") == 6
    evaluator = evaluator_of(Study.from_toml(file), "bias:50%", None)
    (alone,) = frontier(evaluator, "effect.trend_gap", "errors.serial", Search(precision=0.3))
    assert (alone.dial, alone.state) == ("errors.serial", "not reached")
    assert alone.sentence.endswith("Say with --to2 where the frontier ends.")


def test_a_search_on_one_side_says_so(file: Path) -> None:
    evaluator = evaluator_of(Study.from_toml(file), "bias:90%", None)
    few = Search(precision=0.3, budget=512)
    (up,) = breakdown(evaluator, "errors.serial", few)
    assert up.state == "not reached"
    assert up.sentence.endswith(" Values below 0 were not tried: a --to below it leads there.")
    for none_below in (("levels.period_sd", replace(few, low=0.0)), ("errors.serial", replace(few, high=0.5))):
        (other,) = breakdown(evaluator, *none_below)
        assert other.state == "not reached"
        assert "not tried" not in other.sentence


def test_a_map_ends_where_the_first_dial_stands(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = SearchAnswer("", "effect.jump", {}, "found", 0.1, 0.09, 0.11, None, 512)
    monkeypatch.setattr(searches, "frontier", lambda *_: [alone])
    file.write_text(STUDY.replace("size = 0.5", "size = 0.5\ntrend_gap = 0.02"))
    breaking(Study.from_toml(file), "bias:50%", "effect.trend_gap", "effect.jump", file.parent, Search())[1]()
    said = "effect.jump 0.1 (0.09 to 0.11) at effect.trend_gap 0.02."
    assert said in (file.parent / "frontier.svg").read_text(encoding="utf-8")


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
    mcse, floor = math.sqrt(alone * (1 + 31 * 0.5)), math.sqrt(0.5 / 8)
    assert math.isinf(needed(mcse, alone, 256, 8, 0.99 * floor))
    exact = 0.5 / (floor**2 * (1.005**2 - 1))  # .5 / n is what lies within worlds
    assert needed(mcse, alone, 256, 8, 1.005 * floor) == pytest.approx(exact, rel=1e-6)


class Stops(Serial):
    """An executor that is interrupted after some blocks."""

    def __init__(self, after: int) -> None:
        self.left = after

    def run(self, *given: Any) -> Iterator[Outcome]:
        for outcome in super().run(*given):
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


def asked(*arguments: object, code: int = 0) -> commands.Said:
    return commands.here(*arguments, "--cluster", "serial", code=code)


def test_solve_prints_and_keeps_its_answer(file: Path) -> None:
    out = file.parent / "out"
    command = ["solve", "power:0.8", file, "--for", "effect", "--error", "cluster:unit", "--out", out]
    command += ["--precision", 0.1]
    printed = asked(*command).out
    kept = json.loads((out / "answer.json").read_text(encoding="utf-8"))
    (answer,) = kept["answers"]
    assert answer["sentence"] in commands.words(printed)
    assert answer["sentence"].startswith("The power of did by did (cluster:unit errors) reaches 80% at effect.size = ")
    assert answer["lower"] < answer["value"] < answer["upper"]
    assert all((out / point["store"]).is_dir() for point in answer["points"])
    assert json.loads(asked(*command, "--json").out) == kept


def test_a_grid_has_an_answer_in_each_of_its_cells(file: Path) -> None:
    file.write_text(STUDY.replace("units = 40\n", "") + '[grid]\nunits = [40, 160]\n"effect.trend_gap" = [0.0, 0.5]\n')
    evaluator = evaluator_of(Study.from_toml(file), "bias:50%", None)
    answers = breakdown(evaluator, "effect.trend_gap", Search(precision=0.2))
    assert [item.setting for item in answers] == [{"units": 40}, {"units": 160}]
    assert all(abs(item.value / 0.0625 - 1) < 0.6 for item in answers)


def test_what_is_passed_already_or_never(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    for said, *words in (
        ("falls below 99% already at errors.serial = 0", "breakdown", file, "--out", "out", "--dial", "errors.serial",
         "--measure", "coverage:0.99"),
        ("nowhere up to effect.trend_gap = 0.02 from 0 on, ", "breakdown", file, "--dial", "effect.trend_gap",
         "--to", 0.02, "--measure", "bias:50%"),
        ("nowhere up to adoption.treated = 20, ", "solve", "power:0.9999", file, "--for", "treated"),
    ):  # fmt: skip
        assert said in asked(*words, code=1).out
    for verb in ("breakdown", "solve"):  # neither answer takes the place of the other
        assert (file.parent / "runs" / f"{verb}-{file.stem}" / "answer.json").is_file()


@pytest.mark.parametrize(("arguments", "said"), [
    ("solve pwer:0.8 FILE --for effect", "measure 'pwer'"),
    ("solve power:x FILE --for effect", "level 'x'"),
    ("solve power FILE --for effect", "level ''"),
    ("solve bias:-1 FILE --for effect", "level '-1'"),
    ("solve power:0.8 FILE --for effects", "no dial 'effects'"),
    ("solve power:0.8 FILE --for replications", "goal 'power:0.8' --for replications"),
    ("solve mcse:coverage=0.003 FILE --for units", "goal 'mcse:coverage=0.003' --for units"),
    ("solve mcse:coverage FILE --for replications", "goal 'mcse:coverage'"),
    ("solve mcse:covrage=0.1 FILE --for replications", "measure 'covrage'"),
    ("solve power:0.8 FILE --for effect --estimator sdm", "estimator 'sdm'"),
    ("solve power:0.8 FILE --for effect --term rho", "term 'rho'"),
    ("solve power:0.8 FILE --for effect --error hc1", "error type 'hc1'"),
    ("solve power:0.8 FILE --for units --to 20.5", "--to; units = 20.5; allowed: a whole number"),
    ("solve power:0.8 FILE --for units --from nan", "--from; units = nan; allowed: a whole number"),
    ("solve power:0.8 FILE --for units --to 1", "units = 1"),
    ("solve power:1 FILE --for effect", "level '1'"),
    ("solve power:120% FILE --for effect", "level '120%'"),
    ("breakdown FILE --dial errors.serial --to 0", "--to; the search begins at errors.serial = 0 too"),
    ("breakdown FILE --dial errors.serial --measure bias:25% --error hc1", "error type 'hc1'"),
    ("solve power:0.8 FILE --for effect --precision 0", "precision 0"),
    ("breakdown FILE --dial errors.serial --dial2 errors.serial", "named twice"),
])  # fmt: skip
def test_bad_input(arguments: str, said: str, file: Path) -> None:
    words = [file if word == "FILE" else word for word in arguments.split()]
    assert said in commands.refusal(*words, "--out", file.parent / "out", "--cluster", "serial")


def test_dials_by_their_short_names(file: Path) -> None:
    study = Study.from_toml(file)
    names = {name: dial_of(study, name, "--for") for name in ("effect", "units", "periods", "treated", "errors.serial")}
    assert names == {"effect": "effect.size", "units": "units", "periods": "periods", "treated": "adoption.treated",
                     "errors.serial": "errors.serial"}  # fmt: skip
    paper = Study.from_settings({"design": {"kind": "paper"}, "estimators": [{"kind": "did"}]})
    assert dial_of(paper, "effect", "--for") == "effect"
    refuses("no dial 'units'", lambda: dial_of(paper, "units", "--for"))


def test_points_of_different_values_are_drawn_independently() -> None:
    evaluator = evaluator_of(known.study(80), "power:0.5", None)
    for value in (0.0, 0.1):
        evaluator.measure({"effect.size": value}, 256)
    estimates = [
        evaluator.store_at({"effect.size": value}).sound(0, 0).estimates["did"].estimate for value in (0.0, 0.1)
    ]
    assert abs(np.corrcoef(*(each[:, 0] for each in estimates))[0, 1]) < 4 / math.sqrt(256)


# Which way a search goes, where it begins, what it says at its start, where the answer is known.


NOISE = 1.5  # of one replication
LAYOUTS = {"did": Layout(("did",), ("iid", "cluster:unit"), (), {"did": "att"}),
           "lm": Layout(("lm_lag",), ("chi2",), (), {"lm_lag": "dependence"}, tests=True),
           "bare": Layout(("constant",), (), (), {})}  # fmt: skip


def noisy(
    function: Callable[[float], float], seed: int, *, start: Sequence[float] = (), least: float = -math.inf,
    most: float = math.inf,
) -> Callable[[float, int], SearchPoint]:  # fmt: skip
    """A measure whose noise at one x is that of a sum over its replications, as in a store that grows; start: what the
    first measurements are."""
    left = [*start]

    def measure(x: float, n: int) -> SearchPoint:
        if not least <= x <= most:
            raise bad(f"x = {x}", where="test", allowed="inside", remedy="move it")
        rng = np.random.default_rng([seed, abs(hash(x)) % 2**32])
        noise = NOISE * rng.standard_normal(n).mean()
        return SearchPoint(x, left.pop(0) if left else function(x) + noise, NOISE / math.sqrt(n), n)

    return measure


def test_noise_that_puts_the_start_beyond_the_level_is_measured_away() -> None:
    """y(0) = .05 is well; the first 512 replications say -.06, less than a standard error beyond."""
    found = search(noisy(lambda x: 0.05 - x, 1, start=(-0.06,)), Limits(0.0, 0.5, least=0.0, budget=400_000), 1)
    assert found.state == "found"
    assert found.lower <= 0.05 <= found.upper
    assert [(item.x, item.n) for item in found.points[:2]] == [(0.0, 512), (0.0, 2048)]


def test_a_start_at_the_level_is_a_tie() -> None:
    exact = search(lambda x, n: SearchPoint(x, -x, 0.0, n), Limits(0.0, 0.5, least=0.0), 1)
    assert (exact.state, exact.value) == ("tied", 0.0)
    noise = search(noisy(lambda x: -x, 3, start=(-0.01, -0.01, -0.01)), Limits(0.0, 0.5, budget=8 * 512 * 16), 1)
    assert (noise.state, [item.n for item in noise.points]) == ("tied", [512, 2048, 8192])
    either = search(noisy(lambda x: x, 3, start=(0.01,)), Limits(0.0, 0.5, budget=8 * 512), 0)
    assert either.state == "tied"


@pytest.mark.parametrize("way", [1.0, -1.0])
def test_no_answer_lies_before_the_start(way: float) -> None:
    limits = Limits(1.0 * way, 0.5 * way, least=-5.0, most=5.0, budget=100_000)
    moved = 0
    for seed in range(40):
        found = search(noisy(lambda x: 2.0 * (1.0 - abs(x)) + 0.01, seed, start=(0.1,)), limits, 1)
        if found.state == "found":
            assert min(way * item for item in (found.value, found.lower, found.upper)) >= 1.0
            assert way * found.lower == 1.0 or way * found.upper == 1.0 or way * found.value > 1.0
            moved += way * found.value == 1.0
        else:
            assert found.state == "passed"
    assert moved > 0


@pytest.mark.parametrize("start", [3.0, -3.0])
def test_a_search_goes_down_where_it_is_told_to(start: float) -> None:
    """From 3 down to -5 the root 1 of x - 1 is met, from -3 the step of 8 goes up to it."""
    limits = Limits(start, -start / 3, least=-5.0, most=5.0)
    for seed in range(20):
        found = search(noisy(lambda x: x - 1.0, seed), limits, 0)
        assert found.state == "found"
        assert found.lower <= found.value <= found.upper
        assert abs(found.value - 1.0) < 1.6 * (found.upper - found.lower) / 2  # 4 standard errors


def test_a_crossing_without_a_fit_lies_between_the_points_that_are_sure() -> None:
    """y jumps at .4 without noise: no local fit, and the interval is the bracket."""
    found = search(lambda x, n: SearchPoint(x, 1.0 if x < 0.4 else -1.0, 0.0, n), Limits(0.0, 0.1, least=0.0), 1)
    assert found.state == "found"
    assert 0.0 <= found.lower <= 0.4 <= found.upper <= 1.0


def test_how_far_a_point_lies_from_the_level_is_believed_as_its_question_has_it() -> None:
    assert SearchPoint(0.0, 1.0, 0.2, 64).clear
    assert not SearchPoint(0.0, 1.0, 0.4, 64).clear
    assert not SearchPoint(0.0, 1.0, 0.2, 64, apart=2.0).clear
    assert SearchPoint(0.0, 1.0, 0.4, 64, apart=4.0).clear


def test_a_crossing_that_noise_may_have_made_ends_no_bracket() -> None:
    """At 1 y is -.05 with an error of .1; it crosses between 4 and 16."""
    y = {1.0: -0.05, 4.0: 0.8, 16.0: -1.0}
    points = [SearchPoint(0.0, 1.0, 0.1, 512)]
    found = _bracket(lambda x, n: SearchPoint(x, y[x], 0.1, n), Limits(0.0, 1.0), points, 1)
    assert found == (points[2], points[3])
    assert [point.x for point in points] == [0.0, 1.0, 4.0, 16.0]


def test_a_bracket_whose_ends_noise_puts_on_one_side_is_not_shrunk() -> None:
    """At 1 y is -.05, measured as +.05: the root lies beyond, and no search goes from there towards the far end."""
    points = [SearchPoint(0.0, -2.0, 0.1, 512), SearchPoint(1.0, 0.05, 0.1, 512), SearchPoint(2.0, 1.9, 0.1, 512)]
    narrow(lambda x, n: SearchPoint(x, -0.05, 0.05, n), Limits(0.0, 1.0), points, points[1], points[2])
    assert [(item.x, item.n) for item in points[3:]] == [(1.0, 2048)]


def test_a_budget_that_ends_a_search_is_said() -> None:
    limits = Limits(0.0, 0.5, budget=3000, precision=0.0001)
    assert not search(noisy(lambda x: x - 1, 2), limits, 0).short
    assert search(noisy(lambda x: x - 1, 2), replace(limits, budget=200_000, precision=0.05), 0).short


def test_the_interval_of_a_power_by_hand_from_counts() -> None:
    """Power 400 of 1,000 at .2 and 700 of 1,000 at .4, level 50%: a line in probits, by the delta method."""
    question = SearchQuestion("power", 0.5, False, "did", "did", "iid")
    counts, n = {0.2: 400, 0.4: 700}, 1000
    measured, z, se = [], {}, {}
    for x, count in counts.items():
        p = count / n
        mcse = math.sqrt(p * (1 - p) / n)
        z[x] = norm.ppf((count + 0.5) / (n + 1))
        se[x] = mcse / norm.pdf(z[x])
        measured.append(SearchPoint(x, *question.distance(p, mcse, n), n))
    slope = (z[0.4] - z[0.2]) / 0.2
    root = 0.2 - z[0.2] / slope
    weight = (root - 0.2) / 0.2  # of the upper point
    error = math.hypot((1 - weight) * se[0.2], weight * se[0.4]) / slope
    fit = fitted(measured, 0.3, 0.1)
    assert (fit.root, fit.se) == pytest.approx((root, error), rel=1e-9)


def test_the_side_of_a_share_is_judged_with_the_error_at_the_level() -> None:
    """512 of 512 against 80%: (1 - .8) / sqrt(.8 .2 / 512) = 11.3 errors; the probit scale would give 2.7."""
    question = SearchQuestion("power", 0.8, False, "did", "did", "iid")
    assert question.apart(1.0, 0.0027, 512) == pytest.approx(0.2 / math.sqrt(0.16 / 512))
    y, se = question.distance(1.0, 0.0027, 512)
    assert y / se < 3.0
    assert question.apart(0.7, 0.05, 512) == pytest.approx(2.0)  # worlds widen the error
    assert replace(question, measure="bias", level=0.1).apart(-0.2, 0.05, 512) == pytest.approx(2.0)


def test_type_s_counts_the_significant_fits_alone() -> None:
    """3 of 30 significant fits of 512 have the wrong sign: inner (3 + .5) / 31, not (51.2 + .5) / 513."""
    question = SearchQuestion("type_s", 0.05, False, "did", "did", "iid")
    row = {"cell": 0, "estimator": "did", "term": "did", "error": "iid", "sample": "own", "measure": "type_s",
           "value": 0.1, "mcse": 0.055, "n": 30}  # fmt: skip
    truth = row | {"error": "", "measure": "truth", "value": 0.5, "n": 512}
    found = question.value(pd.DataFrame([row, truth]))
    assert found == (0.1, 0.055, 30)
    assert question.distance(*found)[0] == pytest.approx(norm.ppf(3.5 / 31) - norm.ppf(0.05))


@pytest.mark.parametrize(
    ("measure", "y", "up"),
    [("power", -1.0, True), ("power", 1.0, False), ("coverage", -1.0, True), ("type_s", 1.0, True),
     ("type_s", -1.0, False), ("rejection", 1.0, True), ("bias", -1.0, False), ("bias", 1.0, True)],
)  # fmt: skip
def test_more_units_are_tried_where_they_are_too_few(
    monkeypatch: pytest.MonkeyPatch, measure: str, y: float, up: bool
) -> None:
    """Along a dial that counts, where y at its start is known for sure."""
    evaluator = evaluator_of(known.study(1, 0.5), f"{measure}:0.5", None)
    monkeypatch.setattr(points.Evaluator, "along", lambda *_: lambda x, n: SearchPoint(x, y, 0.001, n))
    limits = points._limits(evaluator, "units", {}, Search(), True)
    assert (limits.step > 0) == up
    assert (limits.least, limits.most) == (4, 50 * limits.start)


@pytest.mark.parametrize(
    ("value", "rising", "step", "reached", "whole"),
    [(37.2, True, -20.0, True, 38), (37.2, True, 20.0, True, 38), (37.2, False, 20.0, True, 37),
     (37.2, True, -20.0, False, 37), (37.2, False, 20.0, False, 38), (37.0, True, 20.0, True, 37),
     (37.0, True, -20.0, False, 37)],
)  # fmt: skip
def test_the_whole_value_beyond_a_crossing(value: float, rising: bool, step: float, reached: bool, whole: int) -> None:
    """Power of 80% with 37.2 units takes 38, whichever way the search came; a breakdown on the way down is at 37."""
    found = Found("found", value, value - 1, value + 1, rising, (SearchPoint(40.0, 1.0, 0.1, 1),))
    assert points._first_whole(found, Limits(40.0, step), reached) == whole


@pytest.mark.parametrize(
    ("measure", "start", "step", "sign"),
    [("power", 0.0, 1.0, -1), ("power", 0.0, -1.0, -1), ("power", 2.0, -0.25, 0), ("power", -2.0, 0.25, 0),
     ("type_s", 0.1, 1.0, 1), ("type_s", 2.0, -0.5, 0), ("coverage", 0.0, 1.0, 0)],
)  # fmt: skip
def test_along_an_effect_power_rises_and_wrong_signs_fall(measure: str, start: float, step: float, sign: int) -> None:
    assert points._sign_at_start(measure, "effect.size", Limits(start, step)) == sign
    assert points._sign_at_start(measure, "errors.serial", Limits(start, step)) == 0


@pytest.mark.parametrize(("own", "way"), [(0.5, 1.0), (-0.5, -1.0), (0.0, 1.0)])
def test_a_search_along_an_effect_goes_to_its_own_side(own: float, way: float) -> None:
    evaluator = evaluator_of(known.study(1, own), "power:0.8", None)
    limits = points._limits(evaluator, "effect.size", {}, Search(), False)
    exact = 3 * math.sqrt((1 / 100 + 1 / 100) / 2)  # standard deviations of DID with 100 and 100 units, 4 periods each
    assert limits.step == pytest.approx(way * exact, rel=0.12)  # 4 standard errors of one from 512
    ends = sorted((0.0, limits.step / 3 * 100))
    assert (limits.start, limits.least, limits.most) == pytest.approx((0.0, *ends))


def test_an_end_below_the_start_is_looked_for_downwards() -> None:
    evaluator = evaluator_of(known.study(1, 0.5), "coverage:0.9", None)
    limits = points._limits(evaluator, "errors.serial", {}, Search(high=-0.8), False)
    assert (limits.start, limits.step, limits.least, limits.most) == (0.0, -0.1, -0.8, 0.0)
    whole = points._limits(evaluator, "units", {}, Search(high=196), True)
    assert (whole.start, whole.step, whole.least, whole.most) == (200.0, -1.0, 196.0, 200.0)


def test_the_size_above_the_target_power_ends_a_search_at_once() -> None:
    """Under AR(.9) iid errors reject a true null in 22%: no effect has a power of 10%."""
    size = known.size_under_serial_correlation(0.9)
    study = known.study(3, 0.5)
    design = replace(study.design, errors=replace(study.design.errors, serial=0.9))  # type: ignore[attr-defined,call-arg]
    evaluator = evaluator_of(replace(study, design=design), "power:0.1", None)
    (answer,) = solve(evaluator, "effect.size", Search())
    assert (answer.state, answer.value, answer.replications) == ("passed", 0.0, 512)
    (point,) = answer.points
    assert abs(point.value - size) < 4 * math.sqrt(size * (1 - size) / 512)
    assert f" There it is the size of the test: {100 * point.value:.3g}%" in answer.sentence


def test_what_cannot_be_is_refused_before_anything_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "run", lambda *_, **__: pytest.fail("a fit"))
    effect, none = known.study(1, 0.5), known.study(1, 0.0)
    for study, measure, dial, options, said in (
        (effect, "size:0.1", "errors.serial", Search(), "the truth of did is 0.5"),
        (none, "size:0.1", "effect.size", Search(), "the truth of did is 1"),
        (none, "power:0.8", "units", Search(), "the truth of did is 0; allowed: power where the truth is not 0"),
        (none, "bias:25%", "errors.serial", Search(), "the truth of did is 0"),
        (none, "type_s:0.1", "units", Search(), "the truth of did is 0; allowed: type s where the truth is not 0"),
        (effect, "power:0.8", "effect.size", Search(low=1.0, high=1.0), "begins at effect.size = 1 too"),
        (effect, "size:0.1", "effect.size", Search(high=0.0), "begins at effect.size = 0 too"),
        (effect, "coverage:0.9", "errors.serial", Search(high=1.5), "serial"),
        (effect, "coverage:0.9", "units", Search(high=2.5), "units = 2.5"),
        (effect, "coverage:0.9", "effect.shape", Search(), "effect.shape = 'constant' is no number"),
    ):
        refuses_all([said, "allowed: "], breakdown, evaluator_of(study, measure, None), dial, options, count=1)
    effect_is_the_dial = evaluator_of(none, "power:0.8", None)
    points.check_possible(effect_is_the_dial, "effect.size", [{}], Search())


@pytest.mark.parametrize(
    ("first", "second", "options", "said"),
    [("errors.serial", "effect.shape", Search(), "effect.shape = 'constant' is no number"),
     ("effect.shape", "errors.serial", Search(), "effect.shape = 'constant' is no number"),
     ("errors.serial", "units", Search(second=20.5), "--to2; units = 20.5"),
     ("errors.serial", "effect.jump", Search(second=0.0), "--to2; the search begins at effect.jump = 0 too"),
     ("units", "errors.serial", Search(low=math.nan), "--from; units = nan")],
)  # fmt: skip
def test_what_names_and_settings_say_is_refused_before_the_first_draw(
    first: str, second: str, options: Search, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "runner_of", lambda *_: pytest.fail("a draw"))
    monkeypatch.setattr(points, "run", lambda *_, **__: pytest.fail("a fit"))
    refuses(re.escape(said), lambda: breaking(known.study(1, 0.5), "coverage:0.9", first, second, None, options))


def test_a_measure_without_a_truth_is_refused_before_a_cluster_starts() -> None:
    study = replace(known.study(1, 0.5), replications=64)
    refuses(r"the truth of did is 0\.5", lambda: solving(study, "mcse:size=0.01", "replications", None, Search()))


def test_a_truth_is_drawn_without_preparing_the_estimators_that_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[tuple[str, ...]] = []

    def runner_of_one(study: Study, cell: int) -> Any:
        prepared.append(tuple(item.name for item in study.estimators))
        return runner_of(study, cell)

    monkeypatch.setattr(points, "runner_of", runner_of_one)
    study = known.study(1, 0.5)
    other = TwoWayDID(errors=("iid",), label="other")
    evaluator = evaluator_of(
        replace(study, estimators=(*study.estimators, other)), "coverage:0.9", None, estimator="other"
    )
    target, truth = evaluator.truth({"errors.serial": 0.0})
    assert (target, set(truth.tolist()), prepared) == ("att", {0.5}, [("other",)])


@pytest.mark.parametrize(
    ("measure", "estimator", "said"),
    [("coverage:0.9", "lm", "lm tests and estimates nothing: it has no coverage; allowed: size, power, rejection"),
     ("bias:0.1", "lm", "it has no bias"), ("power:0.8", "bare", "constant of bare has no truth"),
     ("rejection:0.8", "bare", "bare has no error type, so that it has no rejection")],
)  # fmt: skip
def test_measures_that_an_estimator_never_has(measure: str, estimator: str, said: str) -> None:
    refuses(re.escape(said), lambda: question_of(measure, LAYOUTS, estimator, None, None, "GOAL"))


def test_fits_that_lack_a_measure_are_found_on_one_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def frame_without_coverage(store: Any) -> Any:
        sizes.append(store.replications)
        found = diagnose(store)
        return replace(found, frame=found.frame[found.frame["measure"] != "coverage"])

    monkeypatch.setattr(points, "diagnose", frame_without_coverage)
    with pytest.raises(BadInput, match=r"there is no coverage of did \(iid errors\)"):
        breakdown(evaluator_of(known.study(1, 0.5), "coverage:0.9", None), "errors.serial", Search())
    assert sizes == [32]


@pytest.mark.parametrize(
    ("errors", "main"),
    [(("iid", "hc1", "cluster:unit"), "cluster:unit"), (("iid", "cluster:city", "cluster:unit"), "cluster:city"),
     (("information",), "information"), ((), ""), (("wild:unit", "iid"), "wild:unit")],
)  # fmt: skip
def test_the_error_type_that_answers_are_about(errors: tuple[str, ...], main: str) -> None:
    assert points.main_error(errors) == main


def test_answers_say_their_error_type() -> None:
    question = question_of("power:0.8", LAYOUTS, "did", None, None, "GOAL")
    assert question.error == "cluster:unit"
    assert "power of did by did (cluster:unit errors)" in question.whole_measure
    assert question_of("power:0.8", LAYOUTS, "did", None, "iid", "GOAL").error == "iid"
    assert question_of("bias:0.1", LAYOUTS, "did", None, None, "GOAL").words == (
        "the absolute bias of did by did rises above 0.1")  # fmt: skip


def test_a_part_of_a_block_is_measured_as_a_whole_one() -> None:
    evaluator = evaluator_of(known.study(1), "rejection:0.5", None)
    part, whole = evaluator.measure({}, 300), evaluator.measure({}, 2 * BLOCK)
    assert part == whole
    assert (part.n, part.fits, len(evaluator.evaluations)) == (512, 512, 1)
    records = run(replace(known.study(1), replications=512, block=BLOCK, common_random_numbers=False))
    t = [fits.estimate[:, 0] / fits.se[:, 0, 0] for fits in (block.estimates["did"] for block in records.blocks(0))]
    rejected = np.abs(np.concatenate(t)) > 1.9617  # the quantile of t with 1,392 degrees of freedom
    assert len(rejected) == 512
    assert abs(part.value - rejected.mean()) <= 1 / 512


def test_a_point_is_read_from_its_first_replications(tmp_path: Path) -> None:
    first = evaluator_of(known.study(1), "rejection:0.5", None).measure({}, BLOCK)
    more = evaluator_of(known.study(1), "rejection:0.5", tmp_path).measure({}, 4 * BLOCK)
    again = evaluator_of(known.study(1), "rejection:0.5", tmp_path).measure({}, BLOCK)
    assert replace(again, store="") == first
    assert more.value != first.value


def test_an_effect_that_moves_nothing_is_refused_and_names_no_size() -> None:
    study = Study.from_settings({
        "name": "covariate", "worlds": 1, "seed": 1, "replications": 512,
        "design": {"kind": "panel", "units": 20, "periods": 6, "covariates": [{"name": "x", "effect": 0.3}]},
        "estimators": [{"kind": "did", "errors": ["iid"]}],
    })  # fmt: skip
    evaluator = evaluator_of(study, "power:0.5", None, term="x")
    with pytest.raises(BadInput, match=r"effect\.size does not move the truth of beta\(x\), 0\.3; allowed: "):
        solve(evaluator, "effect.size", Search())
    found = Found("passed", 0.0, math.nan, math.nan, False, (SearchPoint(0.0, 1.0, 0.1, 512),))
    taken = (points.Evaluation({"effect.size": 0.0}, 0.9, 0.01, 512, "", 512),)
    said = points._note(found, evaluator, "effect.size", {}, Limits(0.0, 0.1), taken)
    assert said == " There it is 90% (Monte Carlo error 1%)."


def test_replications_of_a_share_by_hand() -> None:
    """p = .3 of 1,000: the error .0145 falls to .005 with .21 / .005^2 = 8,400 replications."""
    for target, exact in ((0.005, 8400), (0.02, 525)):
        assert needed(math.sqrt(0.21 / 1000), 0.21 / 1000, 1000, 1, target) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("worlds", [1, 8])
def test_replications_of_a_share_are_uncertain_on_both_sides(worlds: int) -> None:
    """The variance of independent fits is estimated too: p (1 - p) of the pilot's p."""
    study = Study.from_settings({
        "name": "share", "worlds": worlds, "seed": 2, "replications": 64,
        "design": {"kind": "panel", "units": 20, "periods": 6}, "estimators": [{"kind": "did", "errors": ["iid"]}],
    })  # fmt: skip
    _, search = solving(study, "mcse:coverage=0.02", "replications", None, Search())
    (found,) = search()
    assert found.lower < 0.99 * found.value
    assert found.upper > 1.01 * found.value
    assert found.lower / found.value == pytest.approx(found.value / found.upper, rel=1e-6)


def test_independent_fits_of_a_share_are_those_of_its_error_type() -> None:
    """Of type S those that reject, of which each error type has its own."""
    question = SearchQuestion("type_s", 0.1, False, "did", "did", "cluster:unit")
    rows = [{"estimator": "did", "term": "did", "sample": "own", "measure": "type_s", "error": error, "value": 0.2,
             "mcse": 0.1, "n": n} for error, n in (("iid", 900), ("cluster:unit", 100))]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searches, "diagnose", lambda _: SimpleNamespace(frame=pd.DataFrame(rows)))
        assert searches._mcse(cast(Any, SimpleNamespace(only=lambda *_: None)), [0], question) == (
            0.1,
            pytest.approx(0.16 / 100),
        )


def test_independent_fits_of_a_bias_have_the_spread_of_its_own_estimator_and_term() -> None:
    question = SearchQuestion("bias", 0.1, False, "did", "did", "")
    row = {"estimator": "did", "term": "did", "sample": "own", "error": "", "mcse": 0.1, "n": 100}
    spread = {**row, "measure": "empirical_se", "value": 3.0}
    rows = [{**spread, "term": "w_did", "value": 5.0}, {**spread, "estimator": "sdm", "value": 7.0},
            spread, {**row, "measure": "bias", "value": 0.2}]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searches, "diagnose", lambda _: SimpleNamespace(frame=pd.DataFrame(rows)))
        found = searches._mcse(cast(Any, SimpleNamespace(only=lambda *_: None)), [0], question)
    assert found == (0.1, pytest.approx(9.0 / 100))


@pytest.mark.parametrize(("worlds", "se"), [(1, 0.0), (2, 0.75 / math.sqrt(2)), (8, 0.75 / math.sqrt(14))])
def test_the_spread_of_few_worlds_is_known_as_their_number_says(
    worlds: int, se: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "_mcse", lambda *_: (0.1, 0.0025))
    store: Any = SimpleNamespace(worlds=worlds)
    assert spread_of(store, 4096, cast(SearchQuestion, None)) == (0.1, 0.0025, pytest.approx(se))
    monkeypatch.setattr(searches, "_mcse", lambda _, blocks, __: (math.e if min(blocks) else 1.0, 0.0))
    assert spread_of(store, 4096, cast(SearchQuestion, None))[2] == pytest.approx(7 / 8)  # one of 8 logs is 1


def test_answers_that_are_none_say_where_the_search_was() -> None:
    answer = points.SearchAnswer("the size of did by did (iid errors) rises above 5%", "errors.serial", {}, "tied", 0.0,
                          math.nan, math.nan, None, 8192, (), " There it is 5.1%.")  # fmt: skip
    assert answer.sentence == (
        "The size of did by did (iid errors) rises above 5% at errors.serial = 0, where the search begins, or so near "
        "to it that it cannot be told, from 8,192 replications. There it is 5.1%.")  # fmt: skip
    assert answer.plain["lower"] is None


# The stochastic root search on functions whose root is known, measured with noise of known size.


CASES = {
    "a line": (lambda x: 2.8 * x - 2.8, Limits(0.0, 0.1, factor=2.0), 1.0),
    "a small slope": (lambda x: 0.8 * x - 0.8, Limits(0.0, 0.05), 1.0),
    "a parabola": (lambda x: 1.5 * (x * x - 1), Limits(0.0, 0.1), 1.0),
    "concave": (lambda x: 3 * (math.sqrt(x + 0.01) - math.sqrt(1.01)), Limits(0.0, 0.3, least=0.0), 1.0),
    "falling": (lambda x: 1.3 - 1.3 * x, Limits(0.0, 0.02, factor=3.0), 1.0),
    "far away": (lambda x: x / 500 - 2, Limits(0.0, 0.5, factor=4.0), 1000.0),
    "downwards": (lambda x: 2 * math.log(x / 30), Limits(200.0, -100.0, factor=1.5, least=4.0, precision=0.05), 30.0),
    "whole numbers": (lambda x: 2 * math.log(x / 116.4),
                      Limits(50.0, 50.0, factor=2.0, least=4.0, whole=True, precision=0.05), 116.4),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_root_in_95_of_100_searches(name: str) -> None:
    function, limits, root = CASES[name]
    found = [search(noisy(function, seed), limits, 0) for seed in range(200)]
    assert {item.state for item in found} == {"found"}
    hits = [item.lower <= root <= item.upper for item in found]
    assert abs(np.mean(hits) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 200), np.mean(hits)
    half = [(item.upper - item.lower) / 2 for item in found]
    assert np.median(half) <= limits.precision * root
    assert all(item.replications <= 1.5 * limits.budget for item in found)
    assert not limits.whole or all(float(point.x).is_integer() for item in found for point in item.points)


def test_a_level_that_is_never_reached() -> None:
    found = search(noisy(lambda x: -1.0, 1), Limits(0.0, 0.1, most=5.0), -1)
    assert (found.state, found.value) == ("not reached", 5.0)


def test_a_level_that_few_replications_cannot_tell_from_all_is_reached() -> None:
    """A power of 100% in 512 panels lies 2 errors above 99%, one in 2,048 lies 4 above it."""

    def measure(x: float, n: int) -> SearchPoint:
        y = min(x - 1.0, 0.5)
        return SearchPoint(x, y, 0.05 * math.sqrt(512 / n), n, abs(y) / 0.25 * math.sqrt(n / 512))

    found = search(measure, Limits(0.0, 0.3, most=30.0, factor=2.0), -1)
    assert (found.state, found.value) == ("found", pytest.approx(1.0, abs=0.02))
    assert found.lower <= 1.0 <= found.upper
    few = search(measure, Limits(0.0, 0.3, most=30.0, factor=2.0, budget=8 * 512), -1)
    assert (few.state, few.value) == ("not reached", 30.0), "the budget does not tell"


def test_an_interval_is_as_short_as_asked_in_any_unit_of_the_dial() -> None:
    """The root is 1e-7, the first step .01: a hundred thousand times as far."""
    limits = Limits(0.0, 0.01, precision=0.05)
    found = search(noisy(lambda x: 1e7 * x - 1.0, 3), limits, 0)
    assert found.short
    assert (found.upper - found.lower) / 2 <= 0.05 * found.value == pytest.approx(5e-9, rel=0.2)
    assert not search(noisy(lambda x: 1e7 * x - 1.0, 3), replace(limits, budget=2000), 0).short


def test_values_that_are_not_allowed_are_gone_around() -> None:
    """From 0 by steps of .3 and 1.2: 1.2 is not allowed, the root at .9 lies between."""
    found = search(noisy(lambda x: 5 * (x - 0.9), 4, most=0.999), Limits(0.0, 0.3, factor=4.0), 0)
    assert found.state == "found"
    assert found.lower <= 0.9 <= found.upper
    assert max(point.x for point in found.points) < 1


def test_a_window_that_reaches_beyond_what_is_allowed() -> None:
    """The root lies at the edge: the far end of its window, 1 and more, is left out."""
    found = [search(noisy(lambda x: 20 * (x - 0.98), seed, most=0.9999), Limits(0.0, 0.3, precision=0.05), 0)
             for seed in range(100)]  # fmt: skip
    assert {item.state for item in found} == {"found"}
    assert np.mean([item.lower <= 0.98 <= item.upper for item in found]) > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 100)


def test_a_fit_that_does_not_hold_has_a_wider_interval() -> None:
    def points(jag: float) -> list[SearchPoint]:
        return [SearchPoint(x, x - 1 + jag * (-1) ** i, 0.01, 100) for i, x in enumerate(np.linspace(0.7, 1.3, 7))]

    smooth, jagged = fitted(points(0.0), 1.0, 0.4), fitted(points(0.05), 1.0, 0.4)
    assert smooth.root == pytest.approx(1.0)
    assert jagged.se > 3 * smooth.se
