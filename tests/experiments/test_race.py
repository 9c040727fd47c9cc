"""The race: measures by hand, the model confidence set by a slow program, and worlds where the answer is known."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from dataclasses import replace
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats
from verdict_worlds import SPEC, World, by_method, walks

import panelproof as pp
from cluster import Serial
from estimators.core.estimator import Estimates
from estimators.core.regression import logit
from estimators.linear.did import TwoWayDID
from estimators.staggered.spatial_did import SpatialDID
from estimators.synthetic.synthetic_did import SyntheticDID
from experiments import cli
from experiments.panel_spec.spec import RealPanel, read_spec
from experiments.run.blocks import CellRunner
from experiments.study import Study
from experiments.tables.ledger import treated_units
from experiments.trust import race as race_module
from experiments.trust.claim import claim_of
from experiments.trust.document import document
from experiments.trust.evidence import RunContext
from experiments.trust.race import RaceResult, race
from experiments.trust.race_worlds import SELECTION, departures_of, effects_that_differ, loadings_before, worlds_of
from experiments.trust.trust import trust
from experiments.twins.real import Real
from results.report.panel_pages import trust_page
from results.text import bracketed, fixed
from sim import BadInput, Panel, Streams


@cache
def example(*method: str) -> RealPanel:
    """30 cities of the example."""
    return by_method(pp.example_panel(30), *(method or ("parametric",)))


def test_measures_are_those_of_the_same_fits_by_hand() -> None:
    """Of 128 twins, fitted once more and looked at in plain numpy."""
    real, effect = example(), 0.05
    found = race(real, replications=128, kinds=("imputation",), effect=effect)
    world = found.worlds[0]
    design = worlds_of(found.claim.sample, departures_of(found.claim)[0], effect)[0][world]
    fitted = pp.Imputation()
    study = pp.Study("by hand", design, (fitted,), grid=(("effect.size", (effect,)),), replications=128, block=256,
                     seed=real.spec.inference.seed)  # fmt: skip
    (block,) = pp.run(study).blocks(0)
    fits = block.estimates["imputation"]
    k, e = fits.terms.index("overall"), fits.errors.index("cluster:unit")
    missed, se, dof = fits.estimate[:, k] - effect, fits.se[:, e, k], fits.dof[:, e, k]
    width = stats.t.ppf(0.975, dof) * se
    one = found.result(world, "imputation")
    assert (one.n, one.failures) == (128, 0)
    assert one.bias == pytest.approx(missed.mean())
    assert one.rmse == pytest.approx(np.sqrt((missed**2).mean()))
    assert one.spread == pytest.approx(missed.std(ddof=1), rel=0.02)  # as worlds have it
    assert one.coverage == pytest.approx((np.abs(missed) <= width).mean())
    assert one.width == pytest.approx(2 * width.mean())
    assert one.power == pytest.approx((np.abs(fits.estimate[:, k]) > width).mean())
    assert one.bias_mcse == pytest.approx(missed.std(ddof=1) / np.sqrt(128), rel=0.7)  # clustered by worlds


@pp.estimator(terms=["did"])
def now_and_then(panel: Panel, rng: np.random.Generator) -> Any:
    """The two-way regression of about half of the panels."""
    fit = TwoWayDID(errors=("cluster:unit",))(panel)
    at = fit.terms.index("did")
    return None if rng.random() > 0.5 else (fit.estimate[0, at], fit.se[0, 0, at], fit.dof[0, 0, at])


def test_who_fails_on_a_part_of_the_panels_is_named() -> None:
    found = race(example(), replications=64, kinds=(now_and_then(),))
    parts = [one.failures for one in found.results if one.estimator == "now-and-then"]
    assert 0.2 < max(parts) < 0.8
    (said,) = [note for note in found.notes if "failed on" in note]
    assert said.startswith(f"now-and-then failed on {max(parts):.1%} of the panels of a world")


@pytest.mark.parametrize(("changes", "valid"), [
    ({}, True),
    ({"bias": -0.49}, True),
    ({"bias": 0.51}, False),  # within two errors of .06, which no sound estimator needs
    ({"coverage": 0.87}, True),  # .87 and two errors of .02 reach .90
    ({"coverage": 0.85}, False),
    ({"failures": 0.03}, True),
    ({"failures": 0.48}, False),  # who answers half of the panels covers half of them
    ({"bias": float("nan")}, False),
    ({"coverage": float("nan")}, False),
    ({"coverage": 0.6, "coverage_mcse": 0.5, "n": 64}, False),  # few worlds are no excuse
    ({"coverage": 0.8, "coverage_mcse": 0.5, "n": 64}, True),  # two errors of 64 independent panels
    ({"coverage_mcse": 0.5, "n": 64, "bias": 1.0, "bias_mcse": 0.9}, False),
])  # fmt: skip
def test_bias_and_coverage_decide_who_is_valid(changes: dict[str, float], valid: bool) -> None:
    sound = RaceResult("w", "a", "iid", bias=0.0, bias_mcse=0.06, spread=1.0, coverage=0.95, coverage_mcse=0.02, n=128)
    assert replace(sound, **changes).valid is valid


def test_the_confidence_set_is_among_the_valid() -> None:
    rng = np.random.default_rng(3)
    good = rng.standard_normal(400)
    fits = {"good": good, "same": good + 1e-3, "far": 3 * good, "odd": 0 * good}
    losses = {name: np.square(values) for name, values in fits.items()}
    found = race_module.with_confidence([result("w", name, 1.0, valid=name != "odd") for name in fits], losses, 1)
    confidence = {one.estimator: one.confidence for one in found}
    assert confidence["far"] < 0.01
    assert max(confidence["good"], confidence["same"]) == 1.0
    assert np.isnan(confidence["odd"])
    (alone,) = race_module.with_confidence([result("w", "good", 1.0)], losses, 1)
    assert alone.confidence == 1.0


def test_who_ran_on_few_panels_costs_the_others_no_power() -> None:
    rng = np.random.default_rng(4)
    good = rng.standard_normal(400)
    losses = {"good": good**2, "worse": (1.3 * good) ** 2, "slow": rng.standard_normal(16) ** 2}
    results = [result("w", name, 1.0) for name in losses]
    found = {one.estimator: one.confidence for one in race_module.with_confidence(results, losses, 1)}
    without = {one.estimator: one.confidence for one in race_module.with_confidence(results[:2], losses, 1)}
    assert {name: found[name] for name in without} == without
    assert found["worse"] < 0.01
    assert 0 <= found["slow"] <= 1


def test_quick_ones_are_told_from_a_slow_one_that_misses_less() -> None:
    good = np.random.default_rng(4).standard_normal(600)
    losses = {"did": (1.4 * good) ** 2, "same": (1.4 * good[:500] + 1e-3) ** 2, "slow": good[:200] ** 2}
    found = race_module.with_confidence([result("w", name, 1.0) for name in losses], losses, 1)
    assert [one.confidence > race_module.LEVEL for one in found] == [False, False, True]


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
    for worst in (2.0, 1e14):  # beside which the losses of the others are alike, but no longer once it has gone
        losses = rng.standard_normal((60, 4)) ** 2 * np.array([1.0, 1.05, 1.3, worst])
        fast = race_module.confidence_set(losses, np.random.default_rng(2), samples=99)
        np.testing.assert_allclose(fast, slow_set(losses, np.random.default_rng(2), 99))
        assert fast[3] == fast.min()


def test_the_best_model_stays_in_the_set_as_often_as_it_should() -> None:
    """At level 10% the best of four stays in at least 90% of races, and one that misses twice as much goes."""
    scale, stayed, went = np.array([1.0, 1.02, 1.05, 1.5]), 0, 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        common = rng.standard_normal((400, 1))
        losses = (scale * (0.8 * common + 0.6 * rng.standard_normal((400, 4)))) ** 2
        p = race_module.confidence_set(losses, rng, samples=199)
        stayed += p[0] > 0.1
        went += p[3] <= 0.1
    assert stayed >= 0.9 * 200 - 2 * np.sqrt(200 * 0.9 * 0.1)
    assert went >= 0.95 * 200


def test_models_with_the_same_losses_all_stay() -> None:
    losses = np.repeat(np.random.default_rng(1).standard_normal((50, 1)) ** 2, 3, axis=1)
    assert race_module.confidence_set(losses, np.random.default_rng(1)).tolist() == [1.0] * 3


def result(
    world: str, name: str, rmse: float, confidence: float = 1.0, *, valid: bool = True, n: int = 128
) -> RaceResult:
    return RaceResult(world, name, "iid", bias=0.0, bias_mcse=0.01, rmse=rmse, spread=rmse,
                      coverage=0.95 if valid else 0.5, coverage_mcse=0.01, confidence=confidence, n=n)  # fmt: skip


@pytest.mark.parametrize(("results", "best", "agree"), [
    ([result("a", "did", 1.0), result("a", "x", 0.9)], "did", True),  # x is not clearly better
    ([result("a", "did", 1.0, 0.01), result("a", "x", 0.9)], "x", True),
    ([result("a", "did", 1.04, 0.01), result("a", "x", 1.0)], "did", True),  # by 4%: not worth it
    ([result("a", "did", 2.0, 0.01), result("a", "x", 1.0, n=16)], "did", True),  # x ran on too few
    ([result("a", "did", 1.0, valid=False), result("a", "x", 1.5)], "x", True),
    ([result("a", "did", 1.0), result("a", "x", 2.0, 0.0), result("b", "did", 2.0, 0.0), result("b", "x", 1.0)],
     "did", False),  # equal ratios: the first
    ([result("a", "did", 1.0), result("a", "x", 1.2, 0.0), result("b", "did", 2.0, 0.0), result("b", "x", 1.0)],
     "x", False),
    ([result("a", "did", 1.0, valid=False), result("a", "x", 1.0, valid=False)], "did", False),
    ([result("a", "did", float("nan")), result("a", "x", 1.0, valid=False)], "x", False),  # did is not judged
])  # fmt: skip
def test_whom_to_use(results: list[RaceResult], best: str, agree: bool) -> None:
    assert race_module.chosen(results, "did") == (best, agree)
    own_valid = all(one.valid for one in results if one.estimator == "did")
    assert race_module.chosen(results, "did", ["x"]) == (("did", True) if own_valid else (best, agree))
    assert race_module.chosen(results, "did", ["x", "did"]) == (best, agree), "neither has safe errors"


@pytest.mark.parametrize(("costs", "seconds", "counts"), [
    ({"did": 1e-6, "x": 1e-6}, 10.0, {"did": 2048, "x": 2048}),
    ({"did": 1e-6, "x": 0.1}, 10.0, {"did": 2048, "x": 96}),  # 99 rounded to 96
    ({"did": 1e-6, "x": 0.2, "y": 0.5, "z": 5.0}, 30.0, {"did": 2048, "x": 32, "y": 32}),  # z has no room
    ({"did": 1e-6, "x": 0.2, "y": 0.5, "z": 5.0}, 182.5, {"did": 2048, "x": 32, "y": 32, "z": 32}),
    ({"did": 9.0, "x": 0.1}, 10.0, {"did": 32}),  # the claim's own always runs
])  # fmt: skip
def test_time_is_shared_out(costs: dict[str, float], seconds: float, counts: dict[str, int]) -> None:
    assert race_module.shared(costs, seconds, "did") == counts


class Slow(pp.TwoWayDID):
    """Its fits take nearly a second for the first panel, and a twentieth for each."""

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        time.sleep(0.9 + 0.05 * panel.replications)
        return super().__call__(panel, streams)


def test_a_pilot_of_slow_fits_is_short_and_leaves_out_what_the_first_one_costs() -> None:
    slow, quick = (Study("pilot", pp.Paper(), (one,), replications=64, block=64) for one in (Slow(), pp.TwoWayDID()))
    with mock.patch.object(CellRunner, "run", side_effect=AssertionError("a whole tile is fitted")):
        assert 0.04 < race_module.cost_of(slow) < 0.3
    assert race_module.cost_of(quick) < 0.02
    with mock.patch.object(race_module, "LONG", 0.5), mock.patch.object(Slow, "__call__", autospec=True) as fitted:
        fitted.side_effect = lambda *asked: time.sleep(0.6)
        assert 0.6 <= race_module.cost_of(slow) < 5.0
    assert fitted.call_count == 1, "one fit of many seconds tells enough"


LOADED = World("race", units=60, dates=((7, 15),))  # units that are treated load more on a factor


def factor_panels(count: int, rng: np.random.Generator, more: float = 1.0) -> Panel:
    """60 x 14, the effect is 1; treated units load `more` on a random walk, the same in all panels."""
    noise = LOADED.noise(rng, count)
    walk = np.random.default_rng(6).standard_normal(14).cumsum()
    loadings = rng.standard_normal((count, 1, 60)) + more * (LOADED.first < 14)
    return LOADED.panel(LOADED.outcome(noise + walk[:, None] * loadings, 1.0))


def as_real(panel: Panel, folder: Path) -> RealPanel:
    spec = folder / "spec.toml"
    spec.write_text(SPEC.format(groups="", seed=3), encoding="utf-8")
    return RealPanel(panel, read_spec(spec), panel.units, ())


@pytest.fixture(scope="module")
def factors(tmp_path_factory: pytest.TempPathFactory) -> RealPanel:
    """One of them."""
    return as_real(factor_panels(1, np.random.default_rng(4)), tmp_path_factory.mktemp("race"))


def test_a_world_with_selection_on_factors_has_the_biases_of_the_real_one(factors: RealPanel) -> None:
    kinds = ("synthetic-did", "interactive-effects")
    found = race(factors, replications=128, effect=1.0, kinds=kinds)
    real = factor_panels(200, np.random.default_rng(5))
    bias = {name: float((make()(real).estimate[:, 0] - 1.0).mean())
            for name, make in (("did", TwoWayDID), ("synthetic-did", SyntheticDID))}  # fmt: skip
    here = {name: found.result(SELECTION, name) for name in ("did", *kinds)}
    for name, value in bias.items():
        assert 0.5 < here[name].bias / value < 1.5, name
        assert abs(here[name].bias) > 5 * here[name].bias_mcse
        assert not here[name].valid
    assert abs(bias["did"]) > 1.5 * abs(bias["synthetic-did"])
    assert here["interactive-effects"].valid
    assert here["interactive-effects"].rmse < 0.5 * here["did"].rmse
    assert found.best == "interactive-effects"
    assert not found.agree
    assert found.answer.startswith(f"On panels like yours (world {found.decisive}) interactive-effects misses")
    behind = any(found.result(one, "did").rmse < found.result(one, found.best).rmse for one in found.worlds)
    assert replace(found, agree=True).reason.startswith("On panels like yours (") == behind


def test_factors_that_separate_the_treated_are_seen(tmp_path: Path) -> None:
    real = as_real(factor_panels(1, np.random.default_rng(2), 8.0), tmp_path)
    loadings = loadings_before(Real.of(real), treated_units(real.panel), 1)
    assert loadings is not None
    assert not logit(loadings, treated_units(real.panel)).converged
    found = race(real, replications=64, effect=1.0, kinds=("unit-trends", "interactive-effects"))
    assert not found.result(SELECTION, "did").valid
    assert found.best == "interactive-effects"
    shown = next(one for one in found.panel if one.estimator == found.best)
    assert abs(shown.estimate - 1.0) < 4 * shown.se


def with_gaps(real: RealPanel, units: list[int]) -> RealPanel:
    """Without a period of some units, which are dropped where there may be no gaps."""
    seen = np.ones(real.panel.variables["y"].shape, dtype=bool)
    seen[:, 3, units] = False
    hidden = {name: np.where(seen, values, np.nan) for name, values in real.panel.variables.items()}
    asked = real.spec.panel.model_copy(update={"balance": "drop-units"})
    return replace(real, panel=replace(real.panel, observed=seen, variables=hidden),
                   spec=real.spec.model_copy(update={"panel": asked}))  # fmt: skip


def test_units_with_gaps_are_left_out_where_selection_on_factors_is_looked_for(tmp_path: Path) -> None:
    gaps = with_gaps(as_real(factor_panels(1, np.random.default_rng(2), 8.0), tmp_path), [0, 7, 40])
    found = race(gaps, replications=64, effect=1.0, kinds=("interactive-effects",))
    assert not found.result(SELECTION, "did").valid


def test_departures_of_a_panel_with_gaps_are_those_of_its_balanced_part(tmp_path: Path) -> None:
    gaps = with_gaps(panel_of(replace(STAGGERED, ramp=True, ring=False), tmp_path, effect=8.0), [41])
    claim, size = claim_of(gaps), 5.0
    of_part, found = (departures_of(claim_of(real))[0] for real in (replace(gaps, panel=gaps.balanced()), gaps))
    assert found["cohorts"].size == of_part["cohorts"].size != 0.0
    worlds, _, said = worlds_of(by_method(claim.sample, "residual"), found, size)
    assert worlds["residual"].effect.path
    assert any(line.startswith("Effects differ by time since adoption and date") for line in said)


def test_all_race_on_the_same_draws() -> None:
    found = race(example(), replications=64, kinds=("did",))
    assert {one.estimator for one in found.panel} == {"did"}
    assert found.answer == "No other estimator raced beside your did, which is valid in every world."
    again = race(example(), replications=64, kinds=("two-stage", "imputation"))
    world = again.worlds[0]
    one, other = again.result(world, "two-stage"), again.result(world, "imputation")
    assert one.rmse == pytest.approx(other.rmse, rel=1e-6)  # equal by arithmetic where both are two-way
    assert found.result(world, "did").rmse == again.result(world, "did").rmse


def test_with_one_treated_unit_synthetic_estimators_take_placebos(tmp_path: Path) -> None:
    world = World("alone", units=20, periods=10, dates=((6, 1),))
    y = world.outcome(world.noise(np.random.default_rng(1), 1), 1.0)
    (tmp_path / "spec.toml").write_text(SPEC.format(groups="", seed=3), encoding="utf-8")
    real = RealPanel(world.panel(y), read_spec(tmp_path / "spec.toml"), world.panel(y).units, ())
    field, _ = race_module.contestants(claim_of(real), ("synthetic-did", "imputation"))
    assert field["synthetic-did"].printed == "placebo:unit"
    assert np.isfinite(field["synthetic-did"].on_panel("placebo:unit").se)


# What the panel shows beside one effect under parallel trends.


STAGGERED = World("departures", units=60, dates=((6, 8), (8, 8), (10, 8)), ring=True)


def panel_of(world: World, folder: Path, number: int = 3, effect: float = 1.0, drift: float = 0.0) -> RealPanel:
    return world.real(folder, number, effect, drift)


def test_a_trend_of_the_treated_is_its_regression_by_hand(tmp_path: Path) -> None:
    real = panel_of(STAGGERED, tmp_path, drift=0.25)
    found = departures_of(claim_of(real))[0]["trend"]
    y, d = real.panel.variables["y"][0], real.panel.variables["did"][0]
    cells = d == 0
    t, i = np.nonzero(cells)
    x = np.column_stack([np.eye(60)[i], np.eye(14)[t][:, 1:], t * d.any(axis=0)[i]])
    slope = np.linalg.lstsq(x, y[cells], rcond=None)[0][-1]
    assert found.size == pytest.approx(slope, rel=1e-6)
    assert found.pvalue < 0.01


def test_a_departure_is_told_beside_those_that_were_found(tmp_path: Path) -> None:
    real = panel_of(replace(STAGGERED, spill=0.9), tmp_path, effect=2.0, drift=0.4)
    found = departures_of(claim_of(real))[0]
    assert set(found) == {"trend", "neighbours"}
    without = real.panel.variables["y"] - found["trend"].size * found["trend"].change
    own = pp.SpatialDID()(real.panel.with_variables({"y": without}))
    assert found["neighbours"].size == pytest.approx(own.params["w_did"], rel=1e-6)


@pytest.mark.parametrize("number", [10, 29])
def test_what_effects_on_neighbours_do_is_no_trend(tmp_path: Path, number: int) -> None:
    real = panel_of(replace(STAGGERED, spill=0.9), tmp_path, number, effect=2.0)
    assert "trend" in departures_of(claim_of(replace(real, panel=replace(real.panel, weights={}))))[0]
    assert set(departures_of(claim_of(real))[0]) == {"neighbours"}


def test_sound_panels_show_few_departures(tmp_path: Path) -> None:
    """Each of three tests fires in about 5% of sound panels."""
    count = sum(len(departures_of(claim_of(panel_of(STAGGERED, tmp_path, number)))[0]) for number in range(40))
    assert count <= 3 * 40 * 0.05 + 2 * np.sqrt(3 * 40 * 0.05)


class Two(Serial):
    """An executor with two workers."""

    workers = 2


def test_a_did_that_weights_effects_wrongly_gives_way_to_imputation(tmp_path: Path) -> None:
    real = panel_of(replace(STAGGERED, ramp=True, ring=False), tmp_path, effect=8.0)
    found = race(real, replications=64, kinds=("imputation",))
    assert found.best == "imputation"
    assert found.better
    assert found.nearby[1] == 8
    assert found.nearby[0] >= 7
    assert f"in {found.nearby[0]} of 8 worlds near the world parametric." in found.answer, "residual has none"
    assert any("Effects differ by time since adoption" in note for note in found.notes)
    lineup = race_module.Lineup.of(claim_of(real), ("imputation",))
    hurried = lineup.run(dict.fromkeys(lineup.field, 64), RunContext(executor=Two()), until=0.0)
    pd.testing.assert_frame_equal(hurried.frame, found.frame)
    assert hurried.nearby == (2, 2), "one world for each worker, whatever the time"


@pytest.mark.parametrize(("method", "around"), [("factor", "factor"), ("residual", "parametric")])
def test_worlds_nearby_are_those_of_the_world_that_decides(tmp_path: Path, method: str, around: str) -> None:
    real = panel_of(replace(STAGGERED, ramp=True, ring=False), tmp_path, effect=9.0)
    found = race(by_method(real, "parametric", method), replications=64, kinds=("imputation",))
    assert (found.decisive, found.around, found.nearby[1]) == (method, around, 8)


@pytest.mark.parametrize("safe", [False, True])
def test_an_estimator_without_safe_errors_displaces_none_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, safe: bool
) -> None:
    monkeypatch.setattr(race_module, "MOST_BIAS", 9.0)  # so that the two-way DID is valid, and misses more
    unsafe = {} if safe else {"cluster:unit": "too few"}
    monkeypatch.setattr(race_module, "forbidden_of",
                        lambda errors, _: {error: unsafe[error] for error in errors if error in unsafe})  # fmt: skip
    real = panel_of(replace(STAGGERED, ramp=True, ring=False), tmp_path, effect=1.0)
    found = race(by_method(real, "parametric"), replications=64, kinds=("imputation",))
    assert (found.best, found.passed_over) == (("imputation", "") if safe else ("did", "imputation"))
    assert safe or found.answer == (
        "On panels like yours no estimator with safe errors is clearly better than your did, which is valid there. "
        "imputation misses less, but its errors are not safe on this panel."
    )


@pytest.mark.parametrize("ramp", [False, True])
def test_who_has_no_truth_is_said_not_to_be_judged(tmp_path: Path, *, ramp: bool) -> None:
    found = race(panel_of(replace(STAGGERED, ramp=ramp), tmp_path, effect=8.0), replications=64, kinds="spatial")
    assert np.isnan(found.result(found.decisive, "sdm-direct").bias) == ramp
    assert any(note.startswith("sdm-direct is not judged: ") for note in found.notes) == ramp
    assert found.best == "did"


def test_a_claim_without_a_truth_is_said_not_to_be_judged(tmp_path: Path) -> None:
    real = by_method(panel_of(replace(STAGGERED, ramp=True), tmp_path, effect=8.0), "parametric")
    found = race(real, "sdm:did", replications=64, kinds="imputation")
    assert ", your spatial is not judged. Use imputation" in found.answer
    assert found.nearby == (0, 0)


def test_the_term_that_races_is_the_effect_on_the_treated() -> None:
    schema = pp.example_panel().panel.schema
    layout = SpatialDID().layout(schema)
    assert layout.targets["did"] == "beta(did)"
    assert race_module._effect(layout, SpatialDID(), "did") == "att"
    assert race_module._effect(TwoWayDID().layout(schema), TwoWayDID(), "did") == "did"
    alone = replace(layout, targets={"did": "beta(did)"})
    assert race_module._effect(alone, SpatialDID(), "did") == "did"
    with pytest.raises(BadInput, match="average effect on the treated"):
        race_module._effect(replace(layout, targets={"inv": "beta(inv)"}), SpatialDID(), "did")


@pytest.mark.parametrize("size", [0.1, -0.4, 3.0])
def test_effects_that_differ_keep_their_differences_at_any_mean(tmp_path: Path, size: float) -> None:
    real = panel_of(replace(STAGGERED, ramp=True, ring=False), tmp_path, effect=1.5)
    found, d = departures_of(claim_of(real))[0], real.panel.variables["did"][0]
    dials = effects_that_differ(real.panel, found, size)
    first = np.where(d.any(axis=0), d.argmax(axis=0), 0)
    since = np.maximum(np.arange(14)[:, None] - first, 0)
    effects = size * np.array(dials["path"])[np.minimum(since, len(dials["path"]) - 1)]
    effects = effects * (1 + dials["by_cohort"] * first) * d
    assert effects[d > 0].mean() == pytest.approx(size, rel=1e-9)
    two_way = pp.TwoWayDID(errors=("iid",))
    missed = size - two_way(real.panel.with_variables({"y": effects[None]})).params["did"]
    here = pp.Imputation()(real.panel).params["overall"] - two_way(real.panel).params["did"]
    assert missed == pytest.approx(here, rel=0.25)


def test_effects_that_differ_are_planted_at_no_mean_that_cannot_hold_them(tmp_path: Path) -> None:
    real = panel_of(replace(STAGGERED, ramp=True, ring=False), tmp_path, effect=1.5)
    found = departures_of(claim_of(real))[0]
    assert effects_that_differ(real.panel, found, 1e-9) == {}
    always = real.panel.with_variables({"did": np.ones_like(real.panel.variables["did"])})
    assert effects_that_differ(always, {}, 1.0) == {}
    dose = replace(real.panel, roles=replace(real.panel.roles, continuous=True))
    assert departures_of(claim_of(replace(real, panel=dose))) == ({}, ())


def test_worlds_of_no_effect_hold_no_effects_that_differ(tmp_path: Path) -> None:
    real = panel_of(replace(STAGGERED, ramp=True, ring=False), tmp_path, effect=8.0)
    claim = claim_of(real)
    worlds, _, notes = worlds_of(claim.sample, departures_of(claim)[0], 0.0)
    assert all(not design.effect.path for design in worlds.values())
    assert any("cannot hold" in note for note in notes)
    assert not any("in every world" in note for note in notes)


def test_what_a_panel_cannot_tell_of_is_said(tmp_path: Path) -> None:
    real = panel_of(STAGGERED, tmp_path)
    uneven = replace(real.panel, periods=(*range(2001, 2009), *range(2011, 2017)))
    said = departures_of(claim_of(replace(real, panel=uneven)))[1]
    assert len(said) == 1
    assert "Whether effects differ by time since adoption and date cannot be told: periods are not evenly" in said[0]
    assert departures_of(claim_of(real))[1] == ()
    once = panel_of(World("one date", units=60, dates=((6, 24),), ramp=True), tmp_path, effect=8.0)
    assert "cohorts" not in departures_of(claim_of(once))[0]


def test_the_cost_of_selection_is_that_of_the_campaign() -> None:
    page = (Path(__file__).parents[2] / "docs/studies/races.md").read_text(encoding="utf-8")
    races = [int(count) for count in re.findall(r"^\| [a-z ]+ \| (\d+) \| [a-z-]+ \d", page, flags=re.M)]
    covered, fixed = re.findall(r"^\| all \| ([\d.]+)% .*?\| ([\d.]+)% ", page, flags=re.M)[0]
    assert sum(races) == race_module.RACES
    assert f"covered the effect in {covered}%" in race_module.COST
    assert f"fixed beforehand, in {fixed}%" in race_module.COST


SELECTED = World("factors that select", units=60, periods=24, dates=((16, 15),), factor=1.0, selected=1.0,
                 calendar=tuple(walks(np.random.default_rng(2), 1, 24)[0].tolist()))  # fmt: skip


def first_screen(page: str) -> str:
    """What stands above the first section, without tags."""
    return re.sub(r"<[^>]+>|\s+", " ", page[page.index("<h1") : page.index("<section")])


def test_the_page_of_a_did_that_factors_bias_names_the_better_estimator_first(tmp_path: Path) -> None:
    found = trust(by_method(SELECTED.real(tmp_path, 4, 2.0), "factor"), replications=64, benchmarks=0)
    held = document(found)
    assert found.race.better
    assert held["instead"]["best"] == "synthetic-did"
    assert not found.race.result(SELECTION, "did").valid
    seen = first_screen(trust_page(held))
    assert "Use synthetic-did instead." in seen
    assert found.race.reason in unescape(seen).replace("  ", " ")
    assert found.race.advice in held["verdict"]["sentences"]
    rows = {row["estimator"]: row for row in held["race"]}
    assert [name for name, row in rows.items() if row["best"]] == ["synthetic-did"]
    one, own = found.race.result(SELECTION, "synthetic-did"), pp.SyntheticDID()(found.claim.panel)
    shown = rows["synthetic-did"]
    assert (shown["world"], shown["errors"], shown["bias"], shown["rmse"], shown["width"]) == (
        SELECTION, one.error, one.bias, one.rmse, one.width)  # fmt: skip
    assert shown["mcse"] == {"bias": one.bias_mcse, "rmse": one.rmse_mcse, "coverage": one.coverage_mcse}
    assert shown["estimate"] == pytest.approx(own.params.iloc[0])
    assert shown["se"] == pytest.approx(own.std_errors.iloc[0])


def test_the_page_of_a_sound_did_names_no_other(tmp_path: Path) -> None:
    world = World("sound", units=60, periods=14, dates=((7, 25),))
    found = trust(by_method(world.real(tmp_path, 1, 1.0), "parametric"), replications=64, benchmarks=0)
    held = document(found)
    assert held["instead"]["better"] is False
    assert "instead" not in first_screen(trust_page(held))
    assert not any("Use " in sentence for sentence in held["verdict"]["sentences"])
    assert "no estimator is clearly better than your did" in held["instead"]["answer"]


def test_where_no_estimator_is_valid_the_page_says_so(tmp_path: Path) -> None:
    real = panel_of(replace(STAGGERED, ramp=True, spill=0.9), tmp_path, effect=8.0)
    found = trust(by_method(real, "parametric"), replications=64, benchmarks=0)
    assert (found.race.better, found.race.valid("did")) == (False, False)
    assert found.race.answer in document(found)["verdict"]["sentences"]
    assert race_module.COST not in found.race.notes


@pytest.mark.parametrize(("selected", "seen"), [(0.0, False), (1.5, True)])
def test_adoption_at_random_is_no_selection_on_factors(tmp_path: Path, selected: float, seen: bool) -> None:
    real = replace(SELECTED, selected=selected).real(tmp_path, 2, 1.0)
    claim = claim_of(real)
    assert (SELECTION in worlds_of(claim.sample, {}, 1.0)[0]) is seen


def test_an_error_whose_interval_has_no_end_is_not_recommended(tmp_path: Path) -> None:
    few = pp.TwoWayDID(errors=("conley-taber", "cluster:unit"), label="few")
    found = race(panel_of(World("tiny", units=5, dates=((7, 2),)), tmp_path, effect=4.0), replications=64,
                 kinds=("imputation", few))  # fmt: skip
    own, other = (next(one for one in found.panel if one.estimator == name) for name in ("did", "few"))
    assert np.isfinite([own.lower, own.upper, other.lower, other.upper]).all()
    field = race_module.contestants(found.claim, ("imputation", few))[0]
    assert "conley-taber" not in field["did"].found.errors
    assert set(field["few"].endless) == {"conley-taber"}
    assert other.error == "cluster:unit"


TALKER = """
import panelproof as pp
print("it is loaded")


@pp.estimator(terms=["did"])
def gap(icr, did):
    print("it fits")
    return icr[did > 0].mean() - icr[did == 0].mean(), 0.1
"""


@pytest.fixture
def beside(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """A panel of 40 cities, its spec, and a module beside it that prints: what a command is asked for."""
    assert run_command(["panel", "example", str(tmp_path)]) == 0
    frame = pd.read_csv(tmp_path / "panel.csv")
    frame[frame["city"].isin(frame["city"].unique()[::7])].to_csv(tmp_path / "panel.csv", index=False)
    with (tmp_path / "spec.toml").open("a", encoding="utf-8") as spec:
        spec.write('[twin]\nmethod = "parametric"\ndraws = 100\n')
    (tmp_path / "talker.py").write_text(TALKER, encoding="utf-8")
    capfd.readouterr()
    return [str(tmp_path / "panel.csv"), "--spec", str(tmp_path / "spec.toml")]


def run_command(words: list[str]) -> Any:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    return ended.value.code or 0


@pytest.mark.parametrize("words", [["race", "--replications", "64"], ["estimate"]], ids=["race", "estimate"])
def test_a_module_beside_the_spec_is_found_and_what_it_prints_is_no_json(
    beside: list[str], capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    sys.modules.pop("talker", None)
    command, *more = words
    assert run_command([command, *beside, *more, "--estimator", "talker:gap", "--json"]) == 0
    printed = capfd.readouterr()
    rows = json.loads(printed.out)["panel" if command == "race" else "records"]
    assert "gap" in {row["estimator" if command == "race" else "model"] for row in rows}
    assert {"it is loaded", "it fits"} <= set(printed.err.splitlines())


@pytest.mark.parametrize("name", ["panel.csv", "no/folder.txt"])
def test_the_numbers_of_a_race_take_no_other_files_place(
    beside: list[str], capfd: pytest.CaptureFixture[str], name: str
) -> None:
    before = {file: file.read_bytes() for file in Path(beside[0]).parent.iterdir()}
    out = str(Path(beside[0]).parent / name)
    assert run_command(["race", *beside, "--replications", "64", "--out", out]) == 2
    assert "does not end in .json" in capfd.readouterr().err
    assert before == {file: file.read_bytes() for file in Path(beside[0]).parent.iterdir()}


@pytest.mark.parametrize(("asked", "said"), [
    ({"effect": float("nan")}, "effect nan"),
    ({"kinds": ("synth",)}, "no estimator 'synth'"),
    ({"claim": "indirect:did"}, "effect"),
    ({"claim": "total:did"}, "the claim 'total:did' is no average effect on the treated, which others estimate"),
    ({"claim": "S:2:event(1)"}, "the claim 'S:2:event(1)' is no average effect on the treated"),
])  # fmt: skip
def test_what_cannot_race_is_refused_in_one_line(asked: dict[str, Any], said: str) -> None:
    real = example()
    staggered = real.spec.robustness.model_copy(update={"staggered": True})
    with pytest.raises(BadInput) as error:
        race(replace(real, spec=real.spec.model_copy(update={"robustness": staggered})), replications=64, **asked)
    assert said in str(error.value)


def test_the_command_prints_and_keeps_the_same_numbers(
    beside: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["--replications", "64", "--estimator", "imputation", "--out", str(tmp_path / "race.json")]
    assert run_command(["race", *beside, *asked]) == 0
    printed = capfd.readouterr().out
    held = json.loads((tmp_path / "race.json").read_text())
    assert held["answer"].split(".")[0].replace(" ", "") in printed.replace(" ", "").replace("\n", "")
    row = next(one for one in held["worlds"] if one["estimator"] == "did")
    assert bracketed(row["rmse"], row["rmse_mcse"], fixed([row["rmse"]], row["rmse_mcse"])) in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if not line.startswith("wrote "))


def test_who_leads_a_world_is_valid_there() -> None:
    results = (result("a", "did", 2.0), result("a", "x", 1.0), result("a", "z", 0.5, valid=False),
               result("b", "did", 1.0), result("b", "x", 1.2), result("b", "z", 2.0))  # fmt: skip
    panel = (race_module.OnPanel("x", "iid", 0.1, 0.01, 0.08, 0.12),)
    found = race_module.Race(claim_of(example()), "did", 0.1, results, panel, "x", agree=False)
    assert found.answer.endswith(
        "The worlds disagree: the least miss is that of x in the world a and did in the world b."
    )
    assert "disagree" not in replace(found, agree=True).answer
    assert found.advice == "Use x with errors homoskedastic: 0.1, error 0.01, interval 0.08 to 0.12."
    nearby = replace(found, nearby=(0, 8), around="b")
    assert nearby.advice.endswith(" It misses less than did in 0 of 8 worlds near the world b.")
    assert replace(nearby, agree=True).advice.endswith("in 0 of 8 worlds near the world b.")
    assert replace(nearby, agree=True, around="a").advice.endswith("in 0 of 8 worlds near the fitted one.")
    assert replace(found, agree=True).reason.startswith("On panels like yours (world a) x misses"), "less in a alone"
    unsafe = replace(found, panel=(replace(panel[0], error="cluster:unit"),)).advice
    assert "not safe on this panel: 8 clusters have treated units, and these errors need 20." in unsafe
    over = " z misses less, but its errors are not safe on this panel."
    assert f"interval 0.08 to 0.12.{over} The worlds" in replace(found, passed_over="z").answer
    stays = replace(found, best="did").answer
    assert "clearly better than your did in every world" in stays
    assert "The worlds disagree" in stays


def test_who_is_valid_on_few_panels_is_not_said_to_be_none() -> None:
    results = (result("a", "did", 2.0, valid=False), result("a", "x", 1.0, n=32))
    best, agree = race_module.chosen(results, "did")
    said = race_module.Race(mock.Mock(), "did", 0.1, results, (), best, agree).answer
    assert "no estimator that raced on 64 panels or more is valid in every world; your did is not in a." in said
    assert said.endswith(" On fewer panels x is: give more time.")


def test_no_name_is_cut_at_80_columns() -> None:
    """The longest names, with the widest numbers that stand beside them."""
    names = ("did", *race_module.CONTESTANTS)
    results = tuple(RaceResult("factor", name, "jackknife:unit", -0.0123, 0.0012, 0.0345, 0.0021, 0.03, 0.954, 0.01,
                               0.2, 0.832, 0.0, 512) for name in names)  # fmt: skip
    panel = tuple(race_module.OnPanel(name, "jackknife:unit", -0.0123, 0.00123, -0.0223, 0.0123) for name in names)
    found = race_module.Race(claim_of(example()), "did", 0.0157, results, panel, "did", agree=True)
    console = Console(width=80, record=True, file=io.StringIO())
    race_module.print_race(found, console)
    said = console.export_text()
    assert "demeaned-synthetic-" in said
    assert "In the set: the p value" in said
    assert "by more than 2 Monte Carlo errors." in " ".join(said.split())
    assert "\u2026" not in said
    assert max(map(len, said.splitlines())) <= 80


def test_an_estimator_without_fits_stands_last_in_the_terminal() -> None:
    none = RaceResult("a", "stacked", "cluster:unit")
    results = (none, result("a", "did", 2.0), result("a", "imputation", 1.0))
    found = race_module.Race(mock.Mock(), "did", 0.1, results, (), "did", agree=True)
    for held in (found, replace(found, results=(results[1], none, results[2]))):
        console = Console(width=80, record=True, file=io.StringIO())
        race_module.print_race(held, console)
        names = re.findall(r"^(did|stacked|imputation) ", console.export_text(), re.MULTILINE)
        assert names == ["imputation", "did", "stacked"]
