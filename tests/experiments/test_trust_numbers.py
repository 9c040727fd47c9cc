"""The numbers behind `panelproof trust`: power curves, budgets, error types, calibrated p values, verdicts."""

from __future__ import annotations

from pathlib import Path

import made_twins
import numpy as np
import pytest
from made_twins import ALONE, SERIAL
from scipy import stats

from estimators.linear.did import TwoWayDID
from experiments.trust.budget import LEAST, MOST, Cost, seconds_of, shared_out, timed
from experiments.trust.document import document
from experiments.trust.recommend import advice
from experiments.trust.studies import Measure, calibrated, effects_of
from experiments.trust.trust import Trust, trust
from experiments.trust.verdict import verdict
from results.diagnosis.power_curve import detectable, fitted_curve, power
from sim.errors import BadInput

CLUSTERED = made_twins.SPEC.replace('method = "parametric"', 'method = "parametric"\ndraws = 100')


# Power


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


@pytest.mark.parametrize("count", [64.0, 1000.0, 20000.0])
def test_effects_that_are_found_always_or_never_give_an_upper_end_alone(count: float) -> None:
    """The likelihood has no maximum there: the fit passes through the shares and says nothing of the curve between.

    An effect that is always found is not below the detectable one, so that the interval has an upper end and no lower.
    """
    effects = np.array([0.0, 0.0157])
    curve = fitted_curve(effects, np.array([0.0, count]), np.full(2, count), 0.0028)
    assert curve.at(effects) == pytest.approx([0.0, 1.0], abs=1e-6)
    found = detectable(curve)
    assert found.lower == 0.0
    assert found.value < found.upper <= 0.0157 * (1 + 1e-3)


# Budget


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("2m", 120), ("1h", 3600), ("7", 7), ("1.5 min", 90)])
def test_budgets_are_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["0", "0s", "-3s", "soon", "", "5d"])
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="budget"):
        seconds_of(text)


def test_a_budget_is_shared_out_within_its_bounds() -> None:
    costs = {"a": Cost(9, 1e-3), "b": Cost(2, 1e-3), "c": Cost(2, 1.0)}
    counts = shared_out(costs, 60.0)
    assert counts == {"a": 3968, "b": 5952, "c": LEAST}
    assert all(count % 64 == 0 for count in shared_out(costs, 1e6).values())
    assert shared_out(costs, 1e6)["b"] <= MOST
    assert shared_out(costs, 60.0, workers=2)["a"] > counts["a"]


def test_the_pilot_is_timed_after_a_first_round() -> None:
    asked: list[int] = []
    assert timed(asked.append, 128) >= 0
    assert asked == [64, 128]


# Error types


def test_the_printed_error_type_stays_where_its_size_is_right() -> None:
    sizes = {"iid": Measure(0.30, 0.01), "hc1": Measure(0.05, 0.004), "cluster:unit": Measure(0.058, 0.005)}
    assert advice(sizes, "cluster:unit", {}).error == "cluster:unit"
    assert advice(sizes, "iid", {}).error == "hc1"
    assert advice(sizes, "cluster:unit", {"cluster:unit": "few clusters"}).error == "hc1"


def test_too_many_false_findings_count_double() -> None:
    """Beyond 1% and two Monte Carlo errors: .018 twice, and .023 once."""
    sizes = {"a": Measure(0.20, 0.001), "b": Measure(0.080, 0.001), "c": Measure(0.015, 0.001)}
    assert advice(sizes, "a", {}).error == "c"
    assert advice(sizes | {"nan": Measure(float("nan"), float("nan"))}, "a", {}).error == "c"


def test_a_calibrated_p_value_counts_statistics_as_large() -> None:
    null = np.array([-3.0, -1.0, 0.5, 2.0, np.nan])
    found = calibrated(-2.0, null)
    assert found.pvalue == (1 + 3) / 6  # 3, 2 and the fit that failed
    assert found.mcse == pytest.approx(np.sqrt(found.pvalue * (1 - found.pvalue) / 5))


# A whole page on panels of known worlds


@pytest.fixture(scope="module")
def spatial(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """60 units with W, 6 groups, an effect of 1 and spillovers on neighbours."""
    dials = made_twins.KNOWN | {"units": 60, "geography": {"groups": 6}, "effect": {"size": 1.0},
                                "spillover": {"w_effect": 0.8}}  # fmt: skip
    real = made_twins.drawn_panel(tmp_path_factory.mktemp("spatial"), 2, dials, CLUSTERED)
    return trust(real, replications=256)


def test_effects_of_the_grid(spatial: Trust) -> None:
    effects = effects_of(spatial.claim, 0.1)
    assert effects[0] == 0
    assert list(effects) == sorted(effects)
    assert {0.5 * spatial.claim.estimate, spatial.claim.estimate, 2 * spatial.claim.estimate} <= set(effects)


def test_a_large_effect_without_threats_is_supported(spatial: Trust) -> None:
    judged = verdict(spatial)
    assert judged.answer == "supported"
    assert "none of 7 other estimates contradicts it" in judged.reason
    assert "significant at 1%" in judged.sentences[0]
    assert "parallel trends" in judged.sentences[-1]
    rates = spatial.evidence.rates
    assert rates.supported_without_effect is not None
    assert rates.supported_at_effect is not None
    assert rates.supported_without_effect <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 256) < 0.5 < rates.supported_at_effect


def test_without_an_effect_there_is_no_claim(tmp_path: Path) -> None:
    none = trust(made_twins.drawn_panel(tmp_path, 1, SERIAL | {"effect": {"size": 0.0}}, ALONE), replications=128,
                 alone=True)  # fmt: skip
    assert verdict(none).answer == "no claim"


def test_unequal_trends_contradict_and_are_told_of_first(tmp_path: Path) -> None:
    """No effect, and a trend of the treated, which a twin cannot represent."""
    gap = SERIAL | {"effect": {"size": 0.0, "trend_gap": 0.4}, "errors": {"sd": 0.3, "serial": 0.2}}
    found = trust(made_twins.drawn_panel(tmp_path, 1, gap, ALONE), replications=128, benchmarks=0)
    judged = verdict(found)
    assert judged.answer == "contradicted"
    assert "unequal linear trends" in judged.reason
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
    """Twelve panels of AR(.8) without an effect; the mean of p within 4 standard errors of .5, sizes near 5%."""
    p, sizes = [], []
    for number in range(12):
        real = made_twins.drawn_panel(tmp_path, 100 + number, SERIAL | {"effect": {"size": 0.0}}, ALONE)
        found = trust(real, replications=128, alone=True)
        p.append(found.calibrated().pvalue)
        sizes.append(found.main.size(found.recommended).value)
        assert found.main.size("iid").value > 0.15
    assert abs(np.mean(p) - 0.5) < 4 * np.sqrt(1 / 12 / 12)
    assert 0.03 <= np.mean(sizes) <= 0.07


def test_the_very_estimator_is_studied(spatial: Trust) -> None:
    own, studied = spatial.claim.fitted.estimator, spatial.main.study.estimators[0]
    assert isinstance(own, TwoWayDID)
    assert isinstance(studied, TwoWayDID)
    assert (own.regressors, own.effects, own.cluster_k) == (studied.regressors, studied.effects, studied.cluster_k)
    assert document(spatial)["claim"]["estimate"] == spatial.claim.estimate
