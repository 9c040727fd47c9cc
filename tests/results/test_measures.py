"""Every measure, its Monte Carlo error and the detectable effect: by brute force and against simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from made_records import Sample, made_up, measured, to_the_spread, two_passes, value_of
from scipy import optimize, stats

from estimators.core.estimator import Status
from results.diagnosis import measures
from results.diagnosis.diagnose import diagnose
from results.diagnosis.power import Exceedances, UpperTail, adjusted, detectable, fitted_curve, power, told_effect
from sim.arrays import Floats

Arrays = dict[str, np.ndarray]


def draw(rng: np.random.Generator, shape: tuple[int, ...], dof: float = 7.0) -> Arrays:
    """Heavy-tailed errors whose reported variance moves with them, and a truth that varies."""
    theta = 1.0 + 0.2 * rng.standard_normal(shape)
    scale = np.sqrt(rng.gamma(6.0, 1 / 6.0, shape))
    error = 0.1 + 0.5 * scale * rng.standard_t(dof, shape)
    return {"theta": theta, "estimate": theta + error, "se": 0.6 * scale}


def jackknife(statistic: Callable[..., float], *columns: np.ndarray) -> float:
    n = len(columns[0])
    values = np.array([statistic(*(np.delete(column, i) for column in columns)) for i in range(n)])
    return float(np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum()))


def brute(theta: np.ndarray, estimate: np.ndarray, se: np.ndarray, dof: float) -> dict[str, tuple[float, float]]:
    """The table of docs/measures.md, one line after another."""
    e, v, n = estimate - theta, se**2, len(theta)
    critical = stats.t.ppf(0.975, dof)
    s = e.std(ddof=1)
    kurtosis = n * ((e - e.mean()) ** 4).sum() / ((e - e.mean()) ** 2).sum() ** 2
    mod = np.sqrt(v.mean())
    mse = (e**2).mean()
    mse_mcse = np.sqrt((((e**2) - mse) ** 2).sum() / (n * (n - 1)))

    def share(hits: np.ndarray) -> tuple[float, float]:
        p, cases = hits.mean(), len(hits)
        if p not in {0.0, 1.0}:
            return p, np.sqrt(p * (1 - p) / cases)
        z = stats.norm.ppf(0.975)
        agresti = (hits.sum() + z**2 / 2) / (cases + z**2)
        return p, np.sqrt(agresti * (1 - agresti) / (cases + z**2))

    def se_error(e: np.ndarray, v: np.ndarray) -> float:
        return 100 * (np.sqrt(v.mean()) / e.std(ddof=1) - 1)

    def ratio(e: np.ndarray, theta: np.ndarray) -> float:
        return e.mean() / theta.mean()

    def exaggeration(est: np.ndarray, theta: np.ndarray) -> float:
        return np.abs(est).sum() / np.abs(theta).sum()

    low, high = estimate - critical * se, estimate + critical * se
    p = 2 * stats.t.sf(np.abs(estimate / se), dof)
    sig = p <= 0.05
    return {
        "truth": (theta.mean(), theta.std(ddof=1) / np.sqrt(n)),
        "mean_estimate": (estimate.mean(), estimate.std(ddof=1) / np.sqrt(n)), "bias": (e.mean(), s / np.sqrt(n)),
        "relative_bias": ((e / theta).mean(), (e / theta).std(ddof=1) / np.sqrt(n)),
        "relative_bias_ratio": (ratio(e, theta), jackknife(ratio, e, theta)),
        "empirical_se": (s, s * np.sqrt((kurtosis - 1) / (4 * n))), "mse": (mse, mse_mcse),
        "rmse": (np.sqrt(mse), mse_mcse / (2 * np.sqrt(mse))), "mean_se": (se.mean(), se.std(ddof=1) / np.sqrt(n)),
        "model_se": (mod, np.sqrt(v.var(ddof=1) / (4 * n * mod**2))),
        "se_error": (se_error(e, v), jackknife(se_error, e, v)), "coverage": share((low <= theta) & (theta <= high)),
        "bias_eliminated_coverage": moved_coverage(low - theta, high - theta, e), "rejection": share(sig),
        "type_s": share(np.sign(estimate[sig]) != np.sign(theta[sig])),
        "type_m": (exaggeration(estimate[sig], theta[sig]), jackknife(exaggeration, estimate[sig], theta[sig])),
    }  # fmt: skip


def moved_coverage(low: np.ndarray, high: np.ndarray, e: np.ndarray) -> tuple[float, float]:
    """Coverage of moved intervals; its error is the mean square of the influences, the slope a difference quotient."""
    n, bias = len(e), e.mean()
    half = 0.5 * e.std(ddof=1) * n**-0.2
    covers = [(low <= move) & (move <= high) for move in (bias - half, bias, bias + half)]
    share = covers[1].mean()
    slope = (covers[2].mean() - covers[0].mean()) / (2 * half)
    scatter = share * (1 - share) + 2 * slope * np.mean(covers[1] * (e - bias)) + slope**2 * e.var(ddof=1)
    return share, np.sqrt(scatter / n)


def test_measures_of_a_negative_truth_mirror_those_of_a_positive_one() -> None:
    """Negative truths: signs are wrong where estimates are positive; sizes are compared in absolute value."""
    x = draw(np.random.default_rng(6), (600, 1))
    x["estimate"] = x["theta"] + 3 * (x["estimate"] - x["theta"])  # some significant estimates have the wrong sign
    status = np.where(np.isin(np.arange(600), [3, 90, 150]), Status.SINGULAR, Status.OK)
    samples = [Sample(sign * x["theta"], sign * x["estimate"], x["se"][:, None, :], 9.0, status) for sign in (1, -1)]
    frames = [diagnose(made_up([({}, {"a": sample})], block=50)) for sample in samples]
    ok = status == Status.OK
    expected = brute(-x["theta"][ok, 0], -x["estimate"][ok, 0], x["se"][ok, 0], 9.0)
    for name, (value, mcse) in expected.items():
        row = value_of(frames[1].frame, name, sample="own")
        np.testing.assert_allclose([row["value"], row["mcse"]], [value, mcse], rtol=1e-9, err_msg=name)
        assert (row["attempted"], row["n"]) == (600, 597 if name not in {"type_s", "type_m"} else row["n"])
    positive, negative = (value_of(item.frame, "type_s")["value"] for item in frames)
    assert positive == negative
    assert 0.02 < negative < 0.5
    for name in ("type_m", "coverage", "rejection", "relative_bias"):
        both = [value_of(item.frame, name)["value"] for item in frames]
        assert both[0] == pytest.approx(both[1], rel=1e-12), name
    assert value_of(frames[0].frame, "bias")["value"] == pytest.approx(-value_of(frames[1].frame, "bias")["value"])


def test_normal_inference_when_dof_is_infinite() -> None:
    x = draw(np.random.default_rng(1), (200, 1))
    sample = Sample(x["theta"], x["estimate"], x["se"][:, None, :], np.inf)
    frame = diagnose(made_up([({}, {"a": sample})]), alpha=0.1).frame
    rejected = np.abs(x["estimate"] / x["se"]) >= stats.norm.ppf(0.95)
    assert value_of(frame, "rejection")["value"] == pytest.approx(rejected.mean())


def test_relative_bias_where_the_truth_is_zero_or_near_it() -> None:
    rng = np.random.default_rng(2)
    theta = np.stack([np.zeros(90), rng.normal(0.3, 1.0, 90), np.full(90, 2.0)], axis=1)
    sample = Sample(theta, theta + rng.normal(size=theta.shape), np.ones((90, 1, 3)))
    frame = diagnose(made_up([({}, {"a": sample})])).frame
    assert np.isnan(value_of(frame, "relative_bias", term="t0")["value"])
    assert np.isnan(value_of(frame, "relative_bias", term="t1")["value"])
    assert np.isfinite(value_of(frame, "relative_bias_ratio", term="t1")[["value", "mcse"]].astype(float)).all()
    assert np.isfinite(value_of(frame, "relative_bias", term="t2")["value"])
    assert not (frame[frame["term"] != "t1"]["measure"] == "relative_bias_ratio").any()
    assert value_of(frame, "truth", term="t2")["mcse"] == 0


SIMULATED = ("bias", "relative_bias_ratio", "empirical_se", "mse", "rmse", "mean_se", "model_se", "se_error",
             "coverage", "bias_eliminated_coverage", "rejection", "type_m")  # fmt: skip


@pytest.fixture(scope="module")
def outer() -> dict[str, measures.Measured]:
    """Measures of 2,000 studies of 400 replications at once: a study is a term."""
    return measured(two_passes(draw(np.random.default_rng(20240711), (400, 2000), dof=9.0), 2.0))


@pytest.mark.parametrize("name", SIMULATED)
def test_monte_carlo_error_is_the_spread_over_studies(outer: dict[str, measures.Measured], name: str) -> None:
    ratio, own_error = to_the_spread(*outer[name][:2])
    assert ratio == pytest.approx(1.0, abs=4 * own_error)


def skewed(rng: np.random.Generator, shape: tuple[int, int]) -> Arrays:
    """Exponential errors with one standard error, as of an estimator whose bias is large."""
    return {"theta": np.zeros(shape), "estimate": 1.0 + rng.exponential(1.0, shape), "se": np.ones(shape)}


def variances(rng: np.random.Generator, shape: tuple[int, int]) -> Arrays:
    """Sample variances of twelve normal values, whose standard errors are in proportion to them."""
    estimate = rng.chisquare(11, shape) / 11
    return {"theta": np.ones(shape), "estimate": estimate, "se": estimate * np.sqrt(2 / 11)}


@pytest.mark.parametrize("world", [skewed, variances])
def test_coverage_of_moved_intervals_allows_for_an_estimated_bias(world: Callable[..., Arrays]) -> None:
    """sqrt(B (1 - B) / R) is 17% too large here: a draw that moves the bias moves intervals that cover with it."""
    found = measured(two_passes(world(np.random.default_rng(20240712), (400, 2000)), 2.0))["bias_eliminated_coverage"]
    ratio, own_error = to_the_spread(*found[:2])
    assert ratio == pytest.approx(1.0, abs=4 * own_error)
    share = found.value
    assert np.sqrt((share * (1 - share) / 400).mean()) > 1.1 * share.std(ddof=1)


@pytest.mark.parametrize("hits", [0, 20])
def test_a_share_of_nothing_or_all_is_not_exact(hits: int) -> None:
    """Agresti and Coull (1998): two more hits and two more misses, with z^2 = 3.84 in place of 4."""
    cases = 20 + stats.norm.ppf(0.975) ** 2
    share = (hits + stats.norm.ppf(0.975) ** 2 / 2) / cases
    measured = measures.proportion(np.array([float(hits)]), np.array([20.0]))
    assert measured.value[0] == hits / 20
    assert measured.mcse[0] == pytest.approx(np.sqrt(share * (1 - share) / cases))
    assert np.isnan(measures.proportion(np.array([0.0]), np.array([0.0])).mcse[0])
    covered, errors, usable = measures.Tally((1,)), measures.RunningMoments((1,)), np.ones((20, 1), dtype=bool)
    covered.add(np.full((20, 1), hits == 20), usable)
    errors.add(np.arange(20.0)[:, None], usable)
    moved = measures.bias_eliminated_coverage(covered, np.zeros(1), np.zeros(1), errors)
    assert (moved.value[0], moved.mcse[0]) == (hits / 20, measured.mcse[0])


def test_a_spread_has_an_error_from_three_fits_on() -> None:
    """1 and 3 have the kurtosis 1, as any two values: an error of 0. That of 1, 3 and 2 is 1.5."""
    moments = measures.RunningMoments((2,), 4)
    moments.add(np.array([[1.0, 1.0], [3.0, 3.0], [9.0, 2.0]]), np.array([[True, True], [True, True], [False, True]]))
    found = measures.empirical_se(moments)
    np.testing.assert_allclose(found.value, [np.sqrt(2.0), 1.0])
    np.testing.assert_allclose(found.mcse, [np.nan, np.sqrt(0.5 / 12)])


def test_the_interval_of_a_share_follows_its_error() -> None:
    """Half the error is that of four times the cases. Of .15 of them fewer than ten are too few for a normal one."""
    value, n = np.array([0.95, 0.15]), np.array([400.0, 16.0])
    narrow = measures.interval(measures.Measured(value, np.sqrt(value * (1 - value) / n) / 2, n), True)
    np.testing.assert_allclose(np.array(narrow), np.array(measures.wilson(value, 4 * n)), rtol=1e-12)
    ends = np.array(measures.wilson(np.array([0.0, 0.95, 1.0]), np.full(3, 100.0)))
    expected = [stats.binomtest(k, 100).proportion_ci(method="wilson") for k in (0, 95, 100)]
    np.testing.assert_allclose(ends, np.array([(ci.low, ci.high) for ci in expected]).T, atol=1e-12)
    assert np.isnan(measures.proportion(np.array([0.0]), np.array([0.0])).value).all()


def test_moments_by_hand_and_of_large_means_and_empty_blocks() -> None:
    x = 1e8 + np.random.default_rng(3).standard_normal((500, 2)) ** 3
    usable = np.ones(x.shape, dtype=bool)
    usable[:100, 1] = False
    moments = measures.RunningMoments((2,), 4)
    for rows in np.array_split(np.arange(500), [1, 90, 100, 100, 333]):
        moments.add(x[rows], usable[rows])
    for k in range(2):
        column = x[usable[:, k], k]
        assert (moments.n[k], moments.variance[k]) == (len(column), pytest.approx(column.var(ddof=1), rel=1e-9))
        assert moments.kurtosis[k] == pytest.approx(stats.kurtosis(column, fisher=False), rel=1e-9)
    # of 1, 2 and 4: of 2 and 4, of 1 and 4, of 1 and 2. Without one of two values there is no variance
    x = np.array([[1.0], [2.0], [4.0]])
    three, two = measures.RunningMoments((1,)), measures.RunningMoments((1,))
    three.add(x, np.ones((3, 1), dtype=bool))
    two.add(x[:2], np.ones((2, 1), dtype=bool))
    np.testing.assert_allclose(measures.mean_without(x, three)[:, 0], [3.0, 2.5, 1.5])
    np.testing.assert_allclose(measures.variance_without(x, three)[:, 0], [2.0, 4.5, 0.5])
    np.testing.assert_allclose(measures.mean_without(x[:2], two)[:, 0], [2.0, 1.0])
    assert np.isnan(measures.variance_without(x[:2], two)).all()


def test_near_zero_is_less_than_a_tenth_of_the_middle() -> None:
    ends = np.array([[0.09, 0.11, -1.91, -1.89, -1.0], [1.91, 1.89, -0.09, -0.11, 5.0]])
    extremes = measures.Extremes((5,))
    extremes.add(ends, np.ones(ends.shape, dtype=bool))
    assert extremes.near_zero.tolist() == [True, False, True, False, True]
    nothing = measures.Extremes((1,))
    nothing.add(np.empty((0, 1)), np.empty((0, 1), dtype=bool))
    assert not nothing.constant.any()
    assert not nothing.zero.any()


def power_by_hand(null: np.ndarray, other: np.ndarray, alpha: float) -> float:
    rank = int(np.floor(alpha * (len(null) + 1)))
    return float((other >= np.sort(null)[-rank]).mean())


def test_size_adjusted_power_and_its_bootstrap() -> None:
    rng = np.random.default_rng(8)
    null, other = np.abs(rng.standard_t(5, (2000, 1, 1))), np.abs(1.5 + rng.standard_t(5, (1500, 1, 1)))
    tail = UpperTail(np.full((1, 1), 2000.0), 0.05)
    for rows in np.array_split(null, 40):
        tail.add(rows)
    above = Exceedances(tail.values)
    for rows in np.array_split(other, 7):
        above.add(rows)
    power = adjusted(tail, above, 0.05)
    assert power.value[0, 0] == power_by_hand(null[:, 0, 0], other[:, 0, 0], 0.05)
    resampled = [
        power_by_hand(rng.choice(null[:, 0, 0], 2000), rng.choice(other[:, 0, 0], 1500), 0.05) for _ in range(2000)
    ]
    assert power.mcse[0, 0] == pytest.approx(np.std(resampled), rel=4 * np.sqrt(1 / 4000 + 1 / 4000))


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


@pytest.mark.parametrize(("effects", "rejected", "n"), [
    ([0.0, 1.2], [14.0, 150.0], 300.0), ([0.0, 1.0, 2.0], [3.0, 20.0, 46.0], 50.0),
])  # fmt: skip
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


def test_effects_that_are_always_or_hardly_found_have_one_end() -> None:
    """All of 64 panels at an effect of 2: what is detected may be any smaller effect, and hardly a larger one."""
    effects, counts = np.array([0.0, 2.0]), np.full(2, 64.0)
    found = detectable(fitted_curve(effects, np.array([3.0, 64.0]), counts, 0.5))
    assert found.lower == 0.0
    assert 0.5 < found.upper < 2.0
    effects, counts = np.array([0.0, 0.1]), np.full(2, 64.0)
    found = detectable(fitted_curve(effects, np.array([3.0, 4.0]), counts, 0.5))
    assert found.upper == math.inf
    assert found.lower > 0.1
    effects, rejected, counts = np.array([0.0, 1.0]), np.array([90.0, 95.0]), np.full(2, 100.0)
    found = detectable(fitted_curve(effects, rejected, counts, 0.5))
    assert (found.value, found.lower, found.upper) == (0.0, 0.0, 0.0)
    assert told_effect(effects, rejected / counts, counts, 0.5) is None


def test_scale_and_sign_of_effects_do_not_matter() -> None:
    effects, rejected, counts = np.array([0.0, 0.8, 1.6]), np.array([15.0, 100.0, 240.0]), np.full(3, 300.0)
    one = detectable(fitted_curve(effects, rejected, counts, 0.5))
    for factor in (-1.0, 1e-4, 1e3):
        other = detectable(fitted_curve(factor * effects, rejected, counts, 0.5 * abs(factor)))
        for name in ("value", "lower", "upper"):
            assert getattr(other, name) == pytest.approx(abs(factor) * getattr(one, name), rel=1e-5), name


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
