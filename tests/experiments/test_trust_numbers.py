"""The numbers behind `panelproof trust`: power curves, budgets, statistics and p values, and pages of known worlds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest import mock

import made_cities
import made_twins
import numpy as np
import pytest
from made_twins import ALONE, SERIAL
from scipy import stats

from estimators.core.estimator import Estimates
from estimators.linear.did import TwoWayDID
from experiments.trust.document import document, rules, verdict
from experiments.trust.evidence import (
    LEAST,
    MOST,
    MeasureWithError,
    SimulatedStudy,
    TermFits,
    calibrated,
    effects_of,
    fits_of,
    rejections,
    seconds_of,
    shared_out,
    statistic_of,
    timed,
)
from experiments.trust.trust import Trust, trust
from results.diagnosis.power import detectable, fitted_curve, power
from results.store import Store
from sim.arrays import Floats
from sim.errors import BadInput
from studies import quick_study

CLUSTERED = made_twins.SPEC.replace('method = "parametric"', 'method = "parametric"\ndraws = 100')


def test_a_curve_through_exact_powers_is_found_again() -> None:
    effects = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    counts = np.full(5, 1000.0)
    curve = fitted_curve(effects, counts * power(effects, 0.6, 2.1), counts, 0.5)
    assert (curve.sd, curve.critical) == pytest.approx((0.6, 2.1), rel=1e-5)
    found = detectable(curve)
    assert found.value == pytest.approx(0.6 * (2.1 + stats.norm.ppf(0.8)), rel=1e-4)
    assert power(np.array([found.value]), 0.6, 2.1)[0] == pytest.approx(0.8, abs=1e-4)
    assert power(np.array([0.0]), 0.6, 2.1)[0] == pytest.approx(2 * stats.norm.sf(2.1))


def test_the_interval_of_the_detectable_effect_covers_it() -> None:
    """95% of 400 fits to binomial draws, within 4 standard errors."""
    rng, effects, counts = np.random.default_rng(20250301), np.linspace(0, 2, 7), np.full(7, 300.0)
    truth = 0.6 * (1.96 + stats.norm.ppf(0.8))
    hits = 0
    for _ in range(400):
        found = detectable(
            fitted_curve(effects, rng.binomial(300, power(effects, 0.6, 1.96)).astype(float), counts, 0.5)
        )
        hits += found.lower <= truth <= found.upper
    assert abs(hits / 400 - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 400)


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("2m", 120), ("1h", 3600), ("7", 7), ("1.5 min", 90)])
def test_budgets_are_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["0", "0s", "-3s", "soon", "", "5d"])
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="budget"):
        seconds_of(text)


def test_a_budget_is_shared_out_within_its_bounds() -> None:
    costs = {"a": (9, 1e-3), "b": (2, 1e-3), "c": (2, 1.0)}
    counts = shared_out(costs, 60.0)
    assert counts == {"a": 3968, "b": 5952, "c": LEAST}
    assert all(count % 64 == 0 for count in shared_out(costs, 1e6).values())
    assert shared_out(costs, 1e6)["b"] <= MOST
    assert shared_out(costs, 60.0, workers=2)["a"] > counts["a"]


def test_the_pilot_is_timed_after_a_first_round() -> None:
    with mock.patch("experiments.trust.evidence.run") as made:
        assert timed(quick_study(1024), 128) >= 0
    assert [call.args[0].replications for call in made.call_args_list] == [64, 128]


def test_a_calibrated_p_value_counts_statistics_as_large() -> None:
    null = np.array([-3.0, -1.0, 0.5, 2.0, np.nan])
    found = calibrated(-2.0, null)
    assert found.value == (1 + 3) / 6  # 3, 2 and the fit that failed
    assert found.mcse == pytest.approx(np.sqrt(found.value * (1 - found.value) / 5))


def test_errors_of_pages_allow_for_the_worlds_of_twins() -> None:
    world = np.repeat(np.arange(8), 32)
    found = calibrated(2.0, np.where(world < 3, 3.0, 0.0), world)
    assert found.mcse == pytest.approx(np.sqrt(3 / 8 * 5 / 8 / 7), rel=0.01)
    shares = [MeasureWithError(0.05, 0.02, 1000), MeasureWithError(0.5, np.sqrt(0.25 / 1000), 1000)]
    study = SimpleNamespace(effects=(0.0, 1.0), measure=lambda name, error, cell: shares[cell])
    _, rejected, counts = rejections(cast(SimulatedStudy, study), "iid")
    np.testing.assert_allclose(counts, 1000 / ((0.02**2 / (0.05 * 0.95 / 1000) + 1) / 2))
    np.testing.assert_allclose(rejected / counts, [0.05, 0.5])


def test_a_statistic_is_t_or_what_p_says() -> None:
    """-1 with p = .05 and no error: -1.96; half of p lies in each tail."""
    estimate, se = np.array([3.0, -1.0, 1.0, 2.0]), np.array([2.0, np.nan, np.nan, np.nan])
    found = statistic_of(estimate, se, np.array([0.9, 0.05, 0.3173105, np.nan]))
    assert found[:3] == pytest.approx([1.5, -1.959964, 1.0], abs=1e-5)
    assert np.isnan(found[3])


def fits(estimate: Floats, se: Floats, dof: float, pvalue: Floats) -> TermFits:
    return TermFits(estimate, se, np.full(len(estimate), dof), pvalue)


def test_fits_of_a_store_by_hand() -> None:
    estimate = np.array([[0.0, 2.0], [0.0, -1.0], [0.0, 5.0]])
    se = np.array([[[9.0, 1.0], [9.0, np.nan]]] * 3)
    dof = np.array([[[9.0, 4.0], [9.0, 60.0]]] * 3)
    p = np.array([[[9.0, np.nan], [9.0, 0.2]], [[9.0, np.nan], [9.0, 0.4]], [[9.0, 0.5], [9.0, 0.6]]])
    status = np.array([1, 1, 3], dtype=np.uint8)
    rows = [slice(0, 2), slice(2, 3)]
    blocks = [SimpleNamespace(estimates={"did": Estimates(("x", "did"), ("hc1", "permutation"), estimate[one], se[one],
                                                          dof[one], status[one], pvalue=p[one])})
              for one in rows]  # fmt: skip
    store = cast(Store, SimpleNamespace(blocks=lambda cell: blocks if cell == 4 else []))
    own = fits_of(store, 4, "did", "did", "hc1")
    assert own.estimate[:2].tolist() == [2.0, -1.0]
    assert own.se[:2].tolist() == [1.0, 1.0]
    assert own.pvalue[:2] == pytest.approx([2 * stats.t.sf(2.0, 4), 2 * stats.t.sf(1.0, 4)])
    drawn = fits_of(store, 4, "did", "did", "permutation")
    assert drawn.pvalue[:2].tolist() == [0.2, 0.4]
    assert drawn.statistic[:2] == pytest.approx([stats.norm.isf(0.1), -stats.norm.isf(0.2)])
    assert all(np.isnan(getattr(one, name)[2]) for one in (own, drawn) for name in ("estimate", "se", "dof", "pvalue"))
    without = [SimpleNamespace(estimates={"did": Estimates(("x", "did"), ("hc1", "iid"), estimate, se, dof, status)})]
    plain = fits_of(cast(Store, SimpleNamespace(blocks=lambda cell: without)), 0, "did", "did", "hc1")
    assert plain.pvalue[:2] == pytest.approx(own.pvalue[:2])


def test_effects_of_a_negative_claim_are_negative() -> None:
    """Half, once, twice the estimate, the effect asked for in its direction, and five around 2.8 sd; one that lies
    within 2% of another is left out."""
    claim = SimpleNamespace(estimate=-1.0)
    found = effects_of(claim, 0.1, 0.3)  # type: ignore[arg-type]
    around = [share * 0.28 for share in (0.6, 0.8, 1.0, 1.2, 1.5)]
    assert found == pytest.approx((0.0, *(-x for x in sorted([0.5, 1.0, 2.0, 0.3, *around]))))
    near = effects_of(claim, 0.99 * 0.5 / 2.8)  # type: ignore[arg-type]
    assert near == pytest.approx((0.0, *(-x for x in (0.297, 0.396, 0.5, 0.594, 0.7425, 1.0, 2.0))))  # no .495
    near = effects_of(claim, 0.97 * 0.5 / 2.8)  # type: ignore[arg-type]
    assert len(near) == 1 + 3 + 5
    assert effects_of(SimpleNamespace(estimate=1.0), 0.1, -0.3) == tuple(-x for x in found)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def spatial(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """60 units with W, 6 groups, an effect of 1 and spillovers on neighbours."""
    dials = made_twins.KNOWN | {"units": 60, "geography": {"groups": 6}, "effect": {"size": 1.0},
                                "spillover": {"w_effect": 0.8}}  # fmt: skip
    real = made_twins.drawn_panel(tmp_path_factory.mktemp("spatial"), 2, dials, CLUSTERED)
    return trust(real, replications=128, benchmarks=32, race=False)


def test_effects_of_the_grid(spatial: Trust) -> None:
    effects = effects_of(spatial.claim, 0.1)
    assert effects[0] == 0
    assert list(effects) == sorted(effects)
    assert {0.5 * spatial.claim.estimate, spatial.claim.estimate, 2 * spatial.claim.estimate} <= set(effects)


def did(y: Floats, dose: Floats) -> float:
    inner = [x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean() for x in (y, dose)]
    return float((inner[0] * inner[1]).sum() / np.square(inner[1]).sum())


@pytest.mark.parametrize("errors", ["cluster:unit", "cr2:province"])
def test_the_claim_needs_what_its_interval_leaves(tmp_path: Path, errors: str) -> None:
    """Towards zero, with the errors and degrees of freedom that the page recommends: of 9 provinces, those of CR2 are
    few."""
    text = f'{made_cities.PANEL}groups = ["province"]\n[twin]\nmethod = "parametric"\ndraws = 100\n'
    found = trust(made_cities.real_panel(tmp_path, text), errors=errors, replications=64, benchmarks=0,
                  race=False)  # fmt: skip
    assert found.recommended.startswith("cr2:province") or errors == "cluster:unit"
    lower = found.advised.lower or 0.0
    assert lower > 0
    needs = [one.needed for one in found.checks if one.difference is not None]
    assert needs == pytest.approx([-lower] * len(needs))
    assert len(needs) >= 5


def test_the_fitted_world_is_among_those_nearby(spatial: Trust) -> None:
    """The same draws as the main study, as far as they go; 30 other worlds; intervals that hold the value."""
    error = spatial.recommended
    own, main = spatial.nearby.fitted[error], spatial.main.fits(error)
    np.testing.assert_array_equal(own.estimate, main.estimate[: len(own.estimate)])
    assert len(spatial.nearby.others) == 30
    assert all(len(world[error].estimate) == len(own.estimate) for world in spatial.nearby.others)
    mde = spatial.mde
    assert mde.lower < spatial.simulated_mde.lower < mde.value < spatial.simulated_mde.upper < mde.upper
    p = spatial.calibrated()
    lower, upper = spatial.calibrated_interval
    assert lower < p.value < upper


def test_a_large_effect_without_threats_is_supported(spatial: Trust) -> None:
    judged = verdict(spatial)
    assert judged.answer == "supported"
    assert "significant at 1%" in judged.sentences[0]
    assert [*rules(spatial)] == []
    assert "parallel trends" in judged.sentences[-1]


def test_without_an_effect_none_is_claimed_and_a_drift_is_named(tmp_path: Path) -> None:
    none = trust(made_twins.drawn_panel(tmp_path, 1, SERIAL | {"effect": {"size": 0.0}}, ALONE), replications=128,
                 alone=True)  # fmt: skip
    assert verdict(none).answer == "no claim"
    gap = SERIAL | {"effect": {"size": 0.0, "trend_gap": 0.4}, "errors": {"sd": 0.3, "serial": 0.2}}
    found = trust(made_twins.drawn_panel(tmp_path, 1, gap, ALONE), replications=64, benchmarks=0,
                  race=False)  # fmt: skip
    judged = verdict(found)
    assert judged.answer == "contradicted"
    assert judged.reason.startswith("Less the bias of unequal linear trends")
    assert "parallel trends" in judged.sentences[-1]


def test_the_detectable_effect_is_that_of_arithmetic(tmp_path: Path) -> None:
    """(t(.8) + t(.975)) times the estimate's clustered error, on average over four panels of AR(.8): within 10%."""
    ratios = []
    for number in range(4):
        real = made_twins.drawn_panel(tmp_path, number, SERIAL | {"effect": {"size": 0.6}}, ALONE)
        found = trust(real, errors="cluster:unit", replications=256, alone=True)
        dof = 59
        quantiles = stats.t.ppf(0.8, dof) + stats.t.ppf(0.975, dof)
        ratios.append(found.mde.value / (quantiles * float(found.shown["cluster:unit"].se or 0)))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)


def test_calibrated_p_values_are_uniform_and_the_recommended_test_has_its_size(tmp_path: Path) -> None:
    """Eight panels of AR(.8) without an effect; the mean of p within 4 standard errors of .5, sizes near 5%."""
    p, sizes = [], []
    for number in range(8):
        real = made_twins.drawn_panel(tmp_path, 100 + number, SERIAL | {"effect": {"size": 0.0}}, ALONE)
        found = trust(real, replications=192, alone=True)
        p.append(found.calibrated().value)
        sizes.append(found.main.size(found.recommended).value)
        assert found.main.size("iid").value > 0.15
    assert abs(np.mean(p) - 0.5) < 4 * np.sqrt(1 / 12 / 8)
    assert 0.03 <= np.mean(sizes) <= 0.07


def test_the_very_estimator_is_studied(spatial: Trust) -> None:
    own, studied = spatial.claim.fitted.estimator, spatial.main.study.estimators[0]
    assert isinstance(own, TwoWayDID)
    assert isinstance(studied, TwoWayDID)
    assert (own.regressors, own.effects, own.cluster_k) == (studied.regressors, studied.effects, studied.cluster_k)
    assert document(spatial)["claim"]["estimate"] == spatial.claim.estimate
