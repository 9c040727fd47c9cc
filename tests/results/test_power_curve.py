"""The minimum detectable effect and its interval: a slow program, coverage where effects are few, closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from results.diagnosis.power import detectable, fitted_curve, power, told_effect
from sim.arrays import Floats

SD, CRITICAL = 0.6, 1.96
TRUTH = SD * (CRITICAL + stats.norm.ppf(0.8))


def slow_interval(effects: Floats, rejected: Floats, counts: Floats) -> tuple[float, float]:
    """Ends of the likelihood ratio interval by scipy's root and minimum searches over (log m, c), one at a time."""

    def loss(effect: float, c: float) -> float:
        u = optimize.brentq(lambda x: stats.norm.cdf(x - c) + stats.norm.cdf(-x - c) - 0.8, 0.0, 30.0)
        p = 1e-12 + (1 - 2e-12) * np.array(
            [stats.norm.cdf(d * u / effect - c) + stats.norm.cdf(-d * u / effect - c) for d in effects]
        )
        return -float(stats.binom.logpmf(rejected, counts, p).sum())

    def least(effect: float) -> float:
        found = optimize.minimize_scalar(lambda c: loss(effect, c), bounds=(0.3, 4.0), method="bounded",
                                         options={"xatol": 1e-7})  # fmt: skip
        return float(found.fun)

    best = optimize.minimize_scalar(lambda log: least(math.exp(log)), bounds=(-1.5, 2.0), method="bounded",
                                    options={"xatol": 1e-7})  # fmt: skip
    distance = lambda log: least(math.exp(log)) - best.fun - stats.chi2.ppf(0.95, 1) / 2  # noqa: E731
    return (math.exp(optimize.brentq(distance, best.x - 1.5, best.x, xtol=1e-6)),
            math.exp(optimize.brentq(distance, best.x, best.x + 1.5, xtol=1e-6)))  # fmt: skip


@pytest.mark.parametrize(
    ("effects", "rejected", "n"),
    [([0.0, 1.2], [14.0, 150.0], 300.0), ([0.0, 1.0, 2.0], [3.0, 20.0, 46.0], 50.0)],
)
def test_the_interval_is_that_of_a_slow_program(effects: list[float], rejected: list[float], n: float) -> None:
    data = np.array(effects), np.array(rejected), np.full(len(effects), n)
    found = detectable(fitted_curve(*data, 0.5))
    lower, upper = slow_interval(*data)
    assert (found.lower, found.upper) == pytest.approx((lower, upper), rel=2e-4)
    assert lower < found.value < upper


@pytest.mark.parametrize(("effects", "n"), [([0.0, 2.5], 50), ([0.0, 3.0, 4.0], 300), ([0.0, 0.5], 50)])
def test_intervals_of_few_effects_hold_the_truth(effects: list[float], n: int) -> None:
    """At least 95% of 200, within 4 standard errors; those of the delta method hold it in 50%, 23% and 87%."""
    rng, at, counts = np.random.default_rng(20250401), np.array(effects), np.full(len(effects), float(n))
    hits = 0
    for _ in range(200):
        rejected = rng.binomial(n, power(at, SD, CRITICAL)).astype(float)
        found = detectable(fitted_curve(at, rejected, counts, 0.5))
        hits += found.lower <= TRUTH <= found.upper
    assert hits / 200 > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 200)


def test_an_effect_that_is_always_found_gives_an_upper_end_alone() -> None:
    """All of 64 panels at an effect of 2: what is detected may be any smaller effect, and hardly a larger one."""
    effects, counts = np.array([0.0, 2.0]), np.full(2, 64.0)
    found = detectable(fitted_curve(effects, np.array([3.0, 64.0]), counts, 0.5))
    assert found.lower == 0.0
    assert 0.5 < found.upper < 2.0


def test_effects_that_are_hardly_found_give_a_lower_end_alone() -> None:
    effects, counts = np.array([0.0, 0.1]), np.full(2, 64.0)
    found = detectable(fitted_curve(effects, np.array([3.0, 4.0]), counts, 0.5))
    assert found.upper == math.inf
    assert found.lower > 0.1


def test_scale_and_sign_of_effects_do_not_matter() -> None:
    effects, rejected, counts = np.array([0.0, 0.8, 1.6]), np.array([15.0, 100.0, 240.0]), np.full(3, 300.0)
    one = detectable(fitted_curve(effects, rejected, counts, 0.5))
    for factor in (-1.0, 1e-4, 1e3):
        other = detectable(fitted_curve(factor * effects, rejected, counts, 0.5 * abs(factor)))
        for name in ("value", "lower", "upper"):
            assert getattr(other, name) == pytest.approx(abs(factor) * getattr(one, name), rel=1e-5), name


def test_a_test_that_rejects_without_an_effect_detects_every_effect() -> None:
    effects, rejected, counts = np.array([0.0, 1.0]), np.array([90.0, 95.0]), np.full(2, 100.0)
    found = detectable(fitted_curve(effects, rejected, counts, 0.5))
    assert (found.value, found.lower, found.upper) == (0.0, 0.0, 0.0)
    assert told_effect(effects, rejected / counts, counts, 0.5) is None


def test_what_simulated_effects_tell_of_the_detectable_one() -> None:
    counts = np.full(3, 1000.0)

    def told(effects: list[float], shares: list[float]) -> float | None:
        found = told_effect(np.array(effects), np.array(shares), counts, 0.5)
        return None if found is None else found.value

    exact = power(np.array([0.0, 1.0, 2.0]), SD, CRITICAL)
    assert told([0.0, 1.0, 2.0], list(exact)) == pytest.approx(TRUTH, rel=1e-3)
    assert told([0.0, 0.1, 0.2], list(power(np.array([0.0, 0.1, 0.2]), SD, CRITICAL))) == math.inf
    assert told([0.0, 1.0, 2.0], [0.05, 1.0, 1.0]) is None  # found always: an upper end alone
    assert told([0.0, 0.0, 0.0], [0.05, 0.06, 0.04]) is None
    assert told([2.0, 3.0, 4.0], [0.97, 0.99, 1.0]) is None  # all beyond it
