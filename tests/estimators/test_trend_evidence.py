"""Numbers on parallel trends: the pre-trend test and breakdown values, held to the tests of the path itself."""

from __future__ import annotations

from dataclasses import replace

import made_cities
import numpy as np
import pytest
from agreement import assert_batch_is_its_panels
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import chi2, f, multivariate_normal, ncx2, norm, truncnorm, wishart

from estimators.staggered.callaway_santanna import CallawaySantAnna
from estimators.staggered.honest import BoundsQuestion, breakdown, relative_magnitudes
from estimators.staggered.trend_evidence import (
    MOST,
    AfterPassing,
    EventTimes,
    TrendEvidence,
    after_passing,
    breakdowns,
    linear_trend,
    power,
    pretrend_power,
    slope_found,
)
from sim import BadInput, Panel


@pytest.fixture(scope="module")
def panel() -> Panel:
    return replace(made_cities.panel(), weights={})


def test_the_test_is_that_of_the_path(panel: Panel) -> None:
    found = TrendEvidence()(panel)
    path = EventTimes.of(CallawaySantAnna(base="universal"), panel)
    covariance = path.covariance[: path.pre, : path.pre]
    wald = float(path.estimate[: path.pre] @ np.linalg.solve(covariance, path.estimate[: path.pre]))
    q, m = path.pre, path.fewest
    pvalue = stats.f.sf(wald * (m - q) / (q * (m - 1)), q, m - q)
    assert 2 * stats.norm.sf(found.estimate[0, 0]) == pytest.approx(pvalue, rel=1e-6)
    assert found.pvalues["pre-trend"] == pytest.approx(pvalue, rel=1e-6)
    group, ever = np.arange(36) // 6, panel.variables[str(panel.roles.treatment)][0].any(axis=0)
    grouped = replace(panel, attributes={"group": group})
    clusters = EventTimes.of(CallawaySantAnna(base="universal", errors=("cluster:group",)), grouped).fewest
    assert clusters == len(set(group[ever])) < m == ever.sum()


def test_breakdowns_are_where_the_bounds_reach_zero(panel: Panel) -> None:
    """A drift-free panel with a large effect: at the value the interval's end is 0, below it it is not."""
    large = panel.with_variables({"y": panel.variables["y"] + 6.0 * panel.variables["did"]})
    path = EventTimes.of(CallawaySantAnna(base="universal"), large)
    first, mean = breakdowns(path)
    post = len(path.events) - path.pre
    for value, weights in ((first, np.eye(1, post)[0]), (mean, np.full(post, 1 / post))):
        assert 0 < value < MOST
        question = BoundsQuestion(path.estimate, path.covariance, path.pre, weights)
        assert relative_magnitudes(question, 0.99 * value)[0] > 0
        assert relative_magnitudes(question, 1.01 * value)[0] <= 0
        assert value == pytest.approx(breakdown(question, "relative magnitudes"))
    assert first > mean
    found = TrendEvidence(bounds=True)(large)
    assert found.terms == ("pre-trend", "breakdown:first", "breakdown:mean")
    assert found.estimate[0, 1:].tolist() == pytest.approx([first, mean])
    assert np.isnan(found.se[0, 0, 1:]).all()


def test_a_value_that_no_trend_reaches_is_the_largest(panel: Panel) -> None:
    quiet = panel.with_variables({"y": 1e-3 * panel.variables["y"] + 6.0 * panel.variables["did"]})
    assert TrendEvidence(bounds=True)(quiet).estimate[0, 1:].tolist() == [MOST, MOST]


def test_a_batch_is_its_panels_one_by_one(panel: Panel) -> None:
    y = panel.variables["y"]
    many = panel.with_variables({"y": y + np.random.default_rng(2).standard_normal((3, *y.shape[1:]))})
    assert_batch_is_its_panels(TrendEvidence(bounds=True), many, rtol=0.0, atol=0.0)


def test_panels_that_cannot_serve(panel: Panel) -> None:
    with pytest.raises(BadInput, match="becomes treated"):
        TrendEvidence()(panel.with_variables({"did": np.zeros((1, 9, 36))}))
    with pytest.raises(BadInput, match="no variable"):
        TrendEvidence(outcome="nothing")(panel)


# Power of pre-trend tests against closed forms, another integration, draws, and what Roth's paper proves.


Floats = NDArray[np.float64]
Z = norm.ppf(0.975)


def covariance(k: int, seed: int = 1) -> Floats:
    """Of event-study estimates: a common reference period and noise of its own."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((k, 2 * k)) * 0.1 / np.sqrt(2 * k)
    return 0.01 * np.ones((k, k)) + np.asarray(root @ root.T) + 0.002 * np.eye(k)


def test_one_estimate_is_exact() -> None:
    sigma = np.array([[0.04, 0.01], [0.01, 0.05]])
    got = after_passing(sigma, 1, linear_trend(1, 1, 0.3))
    low, high = (-Z * 0.2 + 0.3) / 0.2, (Z * 0.2 + 0.3) / 0.2
    assert got.power == pytest.approx(1 - (norm.cdf(high) - norm.cdf(low)), abs=1e-14)
    before = -0.3 + 0.2 * truncnorm.mean(low, high)
    np.testing.assert_allclose(got.expected, [before, 0.3 + 0.01 / 0.04 * (before + 0.3)], rtol=1e-12)
    slope = slope_found(sigma, 1, 0.8)
    assert norm.cdf(-Z + slope / 0.2) + norm.cdf(-Z - slope / 0.2) == pytest.approx(0.8, abs=1e-12)


@pytest.mark.parametrize(("pre", "tolerance"), [(3, 5e-6), (4, 1e-5), (5, 1e-5)])
def test_power_equals_scipy_s_integration(pre: int, tolerance: float) -> None:
    sigma = covariance(pre + 2)
    trend = linear_trend(pre, 2, 0.03)
    half = Z * np.sqrt(np.diag(sigma)[:pre])
    inside = multivariate_normal.cdf(half, trend[:pre], sigma[:pre, :pre], lower_limit=-half, abseps=1e-6, releps=1e-6,
                                     maxpts=200_000, rng=np.random.default_rng(1))  # fmt: skip
    assert power(sigma, pre, trend) == pytest.approx(1 - inside, abs=tolerance)


@pytest.mark.parametrize(("test", "treated"), [("individual", np.inf), ("joint", np.inf), ("joint", 12.0)])
def test_power_and_bias_are_those_of_draws(test: str, treated: float) -> None:
    """400,000 studies: rejection rate and mean of those that pass, within 4 Monte Carlo errors."""
    pre, post = 4, 3
    sigma = covariance(pre + post, 3)
    trend = linear_trend(pre, post, 0.06)
    rng = np.random.default_rng(11)
    draws = rng.multivariate_normal(trend, sigma, 400_000, method="cholesky")
    own = draws[:, :pre]
    if test == "individual":
        passed = (np.abs(own) <= Z * np.sqrt(np.diag(sigma)[:pre])).all(axis=1)
    elif np.isinf(treated):
        passed = np.vecdot(own, np.linalg.solve(sigma[:pre, :pre], own.T).T) <= chi2.ppf(0.95, pre)
    else:  # each study has a covariance of its own, of so many clusters
        nu = treated - 1
        covariances = wishart.rvs(nu, sigma[:pre, :pre] / nu, len(draws), rng)
        squared = np.vecdot(own, np.linalg.solve(covariances, own[:, :, None])[:, :, 0])
        passed = squared * (treated - pre) / (pre * nu) <= f.ppf(0.95, pre, treated - pre)
    got = after_passing(sigma, pre, trend, test, treated=treated)  # type: ignore[arg-type]
    assert 0.1 < got.power < 0.95
    assert abs((~passed).mean() - got.power) < 4 * np.sqrt(got.power * (1 - got.power) / len(draws))
    kept = draws[passed]
    errors = np.abs(kept.mean(axis=0) - got.expected) / (kept.std(axis=0) / np.sqrt(len(kept)))
    assert errors.max() < 4


def test_joint_test_is_noncentral_chi_square() -> None:
    sigma = covariance(6)
    trend = linear_trend(4, 2, 0.05)
    far = trend[:4] @ np.linalg.solve(sigma[:4, :4], trend[:4])
    assert power(sigma, 4, trend, "joint") == pytest.approx(ncx2.sf(chi2.ppf(0.95, 4), 4, far), abs=1e-12)
    assert power(sigma, 4, 0 * trend, "joint", 0.1) == pytest.approx(0.1, abs=1e-12)


def test_slopes_have_their_power_and_scale_with_the_errors() -> None:
    sigma = covariance(7)
    got = pretrend_power(np.zeros(7), sigma, 4)
    assert got.slopes[1] > got.slopes[0] > 0
    for slope, share, after in zip(got.slopes, (0.5, 0.8), got.after, strict=True):
        assert power(sigma, 4, linear_trend(4, 3, slope)) == pytest.approx(share, abs=1e-10)
        assert power(sigma, 4, linear_trend(4, 3, -slope)) == pytest.approx(share, abs=1e-5)
        assert after.power == pytest.approx(share, abs=1e-10)
        assert after.bayes_factor == pytest.approx((1 - share) / (1 - got.size), abs=1e-10)
    np.testing.assert_allclose(pretrend_power(np.zeros(7), 9 * sigma, 4).slopes, 3 * got.slopes, rtol=1e-10)
    assert 0.05 < got.size < 1 - 0.95**4


def test_passing_makes_the_bias_worse_when_errors_are_homoskedastic() -> None:
    """Roth (2022, proposition 2): a common reference period and a monotone trend."""
    sigma = 0.01 * (np.ones((6, 6)) + np.eye(6))
    got: AfterPassing = after_passing(sigma, 3, linear_trend(3, 3, 0.08))
    assert (got.expected[3:] > got.trend[3:]).all()
    parallel = after_passing(sigma, 3, np.zeros(6))
    np.testing.assert_allclose(parallel.expected, 0.0, atol=2e-6)
    assert parallel.bayes_factor == 1


def test_likelihood_ratio_is_that_of_normal_densities() -> None:
    sigma = covariance(7)
    beta = np.random.default_rng(4).multivariate_normal(linear_trend(4, 3, -0.05), sigma)
    got = pretrend_power(beta, sigma, 4)
    for slope, ratio in zip(got.slopes, got.likelihood_ratio, strict=True):
        densities = [
            multivariate_normal.pdf(beta[:4], s * linear_trend(4, 3)[:4], sigma[:4, :4]) for s in (slope, -slope)
        ]
        assert ratio == pytest.approx(max(densities) / multivariate_normal.pdf(beta[:4], np.zeros(4), sigma[:4, :4]))


def test_bad_input_is_said_in_one_line() -> None:
    sigma = covariance(5)
    with pytest.raises(BadInput, match=r"sigma has shape \(4, 4\)"):
        power(sigma[:4, :4], 3, np.zeros(5))
    with pytest.raises(BadInput, match="pre = 0"):
        power(sigma, 0, np.zeros(5))
    with pytest.raises(BadInput, match="test = 'wald'"):
        power(sigma, 3, np.zeros(5), "wald")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"3 clusters of treated units; allowed: .*pre < clusters"):
        power(sigma, 3, np.zeros(5), "joint", treated=3)
    with pytest.raises(BadInput, match="not positive definite"):
        power(np.ones((5, 5)), 3, np.zeros(5))
    with pytest.raises(BadInput, match=r"power = 0.01; allowed: above the test's size"):
        slope_found(sigma, 3, 0.01)
