"""The race: measures by hand, the model confidence set by a slow program, and worlds where the answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from verdict_worlds import SPEC, World

import panelproof as pp
from experiments import cli
from experiments.panel_spec.spec import RealPanel, read_spec
from experiments.trust.claim import claim_of
from experiments.trust.race import (
    SELECTION,
    RaceResult,
    chosen,
    confidence_set,
    contestants,
    race,
    with_confidence,
    worlds_of,
)
from results.text import bracketed, fixed
from sim import BadInput


def test_measures_are_those_of_the_same_fits_by_hand() -> None:
    """Of 128 twins, fitted once more and looked at in plain numpy."""
    real, effect = pp.example_panel(30), 0.05
    found = race(real, replications=128, kinds=("imputation",), effect=effect)
    world = found.worlds[0]
    design = worlds_of(found.claim.sample)[0][world]
    fitted = pp.Imputation()
    study = pp.Study("by hand", design, (fitted,), grid=(("effect.size", (effect,)),), replications=128, block=256,
                     seed=real.spec.inference.seed)  # fmt: skip
    (block,) = pp.run(study).blocks(0)
    fits = block.estimates["imputation"]
    k, e = fits.terms.index("overall"), fits.errors.index("cluster:unit")
    missed, se, dof = fits.estimate[:, k] - effect, fits.se[:, e, k], fits.dof[:, e, k]
    width = stats.t.ppf(0.975, dof) * se
    one = found.result(world, "imputation")
    assert one.n == 128
    assert one.failures == 0
    assert one.bias == pytest.approx(missed.mean())
    assert one.rmse == pytest.approx(np.sqrt((missed**2).mean()))
    assert one.spread == pytest.approx(missed.std(ddof=1), rel=0.02)  # as worlds have it
    assert one.coverage == pytest.approx((np.abs(missed) <= width).mean())
    assert one.width == pytest.approx(2 * width.mean())
    assert one.power == pytest.approx((np.abs(fits.estimate[:, k]) > width).mean())
    assert one.bias_mcse == pytest.approx(missed.std(ddof=1) / np.sqrt(128), rel=0.7)  # clustered by worlds


@pytest.mark.parametrize(("changes", "valid"), [
    ({}, True),
    ({"bias": 0.6}, True),  # .6 less two errors of .06 is below half of 1
    ({"bias": -0.63}, False),
    ({"coverage": 0.87}, True),  # .87 and two errors of .02 reach .90
    ({"coverage": 0.85}, False),
    ({"bias": float("nan")}, False),
    ({"coverage": float("nan")}, False),
])  # fmt: skip
def test_bias_and_coverage_decide_who_is_valid(changes: dict[str, float], valid: bool) -> None:
    sound = RaceResult("w", "a", "iid", bias=0.0, bias_mcse=0.06, spread=1.0, coverage=0.95, coverage_mcse=0.02)
    assert replace(sound, **changes).valid is valid


def test_the_confidence_set_is_among_the_valid() -> None:
    rng = np.random.default_rng(3)
    good = rng.standard_normal(400)
    fits = {"good": good, "same": good + 1e-3, "far": 3 * good, "odd": 0 * good}
    found = with_confidence([result("w", name, 1.0, valid=name != "odd") for name in fits], fits, 0.0, 1)
    confidence = {one.estimator: one.confidence for one in found}
    assert confidence["far"] < 0.01
    assert max(confidence["good"], confidence["same"]) == 1.0
    assert np.isnan(confidence["odd"])
    (alone,) = with_confidence([result("w", "good", 1.0)], fits, 0.0, 1)
    assert alone.confidence == 1.0


def slow_set(losses: np.ndarray, rng: np.random.Generator, samples: int) -> list[float]:
    """Hansen, Lunde and Nason (2011), section 3.1.2, one model and one sample at a time."""
    rows, models = losses.shape
    counts = rng.multinomial(rows, np.full(rows, 1 / rows), size=samples)
    left, p, so_far = list(range(models)), [1.0] * models, 0.0
    while len(left) > 1:
        apart = [losses[:, i].mean() - np.mean([losses[:, j].mean() for j in left]) for i in left]
        moved = np.array([[(c @ losses[:, i]) / rows - np.mean([(c @ losses[:, j]) / rows for j in left]) - apart[k]
                           for k, i in enumerate(left)] for c in counts])  # fmt: skip
        scale = [np.sqrt(np.mean(moved[:, k] ** 2)) for k in range(len(left))]
        t = [a / s for a, s in zip(apart, scale, strict=True)]
        so_far = max(
            so_far, float(np.mean([max(m / s for m, s in zip(row, scale, strict=True)) >= max(t) for row in moved]))
        )
        worst = int(np.argmax(t))
        p[left[worst]] = so_far
        del left[worst]
    return p


def test_the_confidence_set_equals_a_slow_program() -> None:
    rng = np.random.default_rng(8)
    losses = rng.standard_normal((60, 4)) ** 2 * np.array([1.0, 1.05, 1.3, 2.0])
    fast = confidence_set(losses, np.random.default_rng(2), samples=99)
    np.testing.assert_allclose(fast, slow_set(losses, np.random.default_rng(2), 99))
    assert fast[3] == fast.min()


def test_the_best_model_stays_in_the_set_as_often_as_it_should() -> None:
    """At level 10% the best of four stays in at least 90% of races, and one that misses twice as much goes."""
    scale, stayed, went = np.array([1.0, 1.02, 1.05, 1.5]), 0, 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        common = rng.standard_normal((400, 1))
        losses = (scale * (0.8 * common + 0.6 * rng.standard_normal((400, 4)))) ** 2
        p = confidence_set(losses, rng, samples=199)
        stayed += p[0] > 0.1
        went += p[3] <= 0.1
    assert stayed >= 0.9 * 200 - 2 * np.sqrt(200 * 0.9 * 0.1)
    assert went >= 0.95 * 200


def test_models_with_the_same_losses_all_stay() -> None:
    losses = np.repeat(np.random.default_rng(1).standard_normal((50, 1)) ** 2, 3, axis=1)
    assert confidence_set(losses, np.random.default_rng(1)).tolist() == [1.0] * 3


def result(world: str, name: str, rmse: float, confidence: float = 1.0, *, valid: bool = True) -> RaceResult:
    return RaceResult(world, name, "iid", bias=0.0, bias_mcse=0.01, rmse=rmse, spread=rmse,
                      coverage=0.95 if valid else 0.5, coverage_mcse=0.01, confidence=confidence)  # fmt: skip


@pytest.mark.parametrize(("results", "best", "agree"), [
    ([result("a", "did", 1.0), result("a", "x", 0.9)], "did", True),  # x is not clearly better
    ([result("a", "did", 1.0, 0.01), result("a", "x", 0.9)], "x", True),
    ([result("a", "did", 1.01, 0.01), result("a", "x", 1.0)], "did", True),  # by 1%: not worth it
    ([result("a", "did", 1.0, valid=False), result("a", "x", 1.5)], "x", True),
    ([result("a", "did", 1.0), result("a", "x", 2.0, 0.0), result("b", "did", 2.0, 0.0), result("b", "x", 1.0)],
     "did", False),  # equal ratios: the first
    ([result("a", "did", 1.0), result("a", "x", 1.2, 0.0), result("b", "did", 2.0, 0.0), result("b", "x", 1.0)],
     "x", False),
    ([result("a", "did", 1.0, valid=False), result("a", "x", 1.0, valid=False)], "did", False),
])  # fmt: skip
def test_whom_to_use(results: list[RaceResult], best: str, agree: bool) -> None:
    assert chosen(results, "did") == (best, agree)


@pytest.fixture(scope="module")
def factors(tmp_path_factory: pytest.TempPathFactory) -> RealPanel:
    """60 x 14, the effect is 1, units that are treated load more on a factor that is a random walk."""
    world = World("race", units=60, dates=((7, 15),))
    rng = np.random.default_rng([1, 77])
    noise, walk = world.noise(rng, 1), rng.standard_normal(14).cumsum()
    loadings = rng.standard_normal(60) + 1.0 * (world.first < 14)
    y = world.outcome(noise + walk[None, :, None] * loadings, 1.0)
    spec = tmp_path_factory.mktemp("race") / "spec.toml"
    spec.write_text(SPEC.format(groups="", seed=3), encoding="utf-8")
    return RealPanel(world.panel(y), read_spec(spec), world.panel(y).units, ())


def test_a_did_that_factors_bias_gives_way_to_synthetic_did(factors: RealPanel) -> None:
    """Where adoption follows the factors DID is biased and synthetic DID is not; elsewhere both are valid."""
    found = race(factors, replications=256, effect=1.0, kinds=("synthetic-did", "imputation"))
    here, other = found.result(SELECTION, "did"), found.result(SELECTION, "synthetic-did")
    assert abs(here.bias) > 5 * here.bias_mcse
    assert not here.valid
    assert other.valid
    assert other.rmse < 0.8 * here.rmse
    assert all(found.result(world, "did").valid for world in found.worlds if world != SELECTION)
    assert found.best == "synthetic-did"
    ours = pp.SyntheticDID()(factors.panel)
    said = (
        f"Use synthetic-did with errors jackknife:unit: {ours.params.iloc[0]:.4g}, error {ours.std_errors.iloc[0]:.3g}"
    )
    assert said in found.answer
    assert f"your did by {here.rmse:.3g} (bias {here.bias:.3g})" in found.answer


def test_a_sound_did_stays_and_its_panel_is_shown_beside_the_others(tmp_path: Path) -> None:
    real = pp.example_panel(30)
    found = race(real, replications=128, kinds=("imputation", "unit-trends"))
    assert found.own == found.best == "did"
    assert "no estimator is clearly better than your did" in found.answer
    own = pp.TwoWayDID(errors=("cluster:unit",))(real.panel)
    shown = {one.estimator: one for one in found.panel}
    assert shown["did"].estimate == pytest.approx(own.params["did"])
    assert shown["did"].se == pytest.approx(own.std_errors["did"])
    other = pp.Imputation()(real.panel)
    assert shown["imputation"].estimate == pytest.approx(other.params["overall"])
    assert set(found.frame["world"]) == set(found.worlds)
    assert (found.frame["n"] == 128).all()


def test_all_race_on_the_same_draws() -> None:
    """An estimator that is there twice misses by the same."""
    found = race(pp.example_panel(30), replications=64, kinds=("did",))
    assert {one.estimator for one in found.panel} == {"did"}
    again = race(pp.example_panel(30), replications=64, kinds=("two-stage", "imputation"))
    world = again.worlds[0]
    one, other = again.result(world, "two-stage"), again.result(world, "imputation")
    assert one.rmse == pytest.approx(other.rmse, rel=1e-6)  # equal by arithmetic where both are two-way
    assert found.result(world, "did").rmse == again.result(world, "did").rmse


def test_with_one_treated_unit_synthetic_estimators_take_placebos(tmp_path: Path) -> None:
    world = World("alone", units=20, periods=10, dates=((6, 1),))
    y = world.outcome(world.noise(np.random.default_rng(1), 1), 1.0)
    (tmp_path / "spec.toml").write_text(SPEC.format(groups="", seed=3), encoding="utf-8")
    real = RealPanel(world.panel(y), read_spec(tmp_path / "spec.toml"), world.panel(y).units, ())
    field, panel = contestants(claim_of(real), ("synthetic-did", "imputation"))
    assert field["synthetic-did"][2] == "placebo:unit"
    assert np.isfinite(next(one.se for one in panel if one.estimator == "synthetic-did"))


@pytest.mark.parametrize(("asked", "said"), [
    ({"effect": float("nan")}, "effect nan"),
    ({"kinds": ("synth",)}, "no estimator 'synth'"),
    ({"claim": "indirect:did"}, "effect"),
])  # fmt: skip
def test_what_cannot_race_is_refused_in_one_line(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as error:
        race(pp.example_panel(30), replications=64, **asked)
    assert said in str(error.value)


def test_the_command_prints_and_keeps_the_same_numbers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["panel", "example", str(tmp_path)]
    with pytest.raises(SystemExit):
        cli.main(arguments)
    capfd.readouterr()
    asked = ["race", str(tmp_path / "panel.csv"), "--spec", str(tmp_path / "spec.toml"), "--replications", "64",
             "--estimator", "imputation", "--out", str(tmp_path / "race.json")]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        cli.main(asked)
    assert ended.value.code in (0, None)
    printed = capfd.readouterr().out
    held = json.loads((tmp_path / "race.json").read_text())
    assert held["answer"].split(".")[0].replace(" ", "") in printed.replace(" ", "").replace("\n", "")
    row = next(one for one in held["worlds"] if one["estimator"] == "did")
    assert bracketed(row["rmse"], row["rmse_mcse"], fixed([row["rmse"]], row["rmse_mcse"])) in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if not line.startswith("wrote "))
