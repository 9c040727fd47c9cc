"""Honest intervals against the authors' program, other optimisers, enumerated vertices, and truth under simulation."""

from __future__ import annotations

import itertools
from dataclasses import replace

import made_cities
import numpy as np
import pytest
from agreement import assert_batch_is_its_panels
from covering import covered
from numpy.typing import NDArray
from refusals import refuses
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import ndtr
from scipy.stats import chi2, f, multivariate_normal, ncx2, norm, truncnorm, wishart

from estimators.staggered import honest
from estimators.staggered.callaway_santanna import CallawaySantAnna
from estimators.staggered.honest import (
    BoundsQuestion,
    Vertices,
    breakdown,
    relative_magnitudes,
    sensitivity,
    smoothness,
    smoothness_estimator,
)
from estimators.staggered.trend_evidence import (
    MOST,
    EventTimes,
    TrendEvidence,
    after_passing,
    breakdowns,
    linear_trend,
    power,
    pretrend_power,
    slope_found,
)
from sim import BadInput, Panel, Roles

Floats = NDArray[np.float64]

# Benzarti and Carloni (2019), 4 estimates before and 4 after the reference year, as the R package HonestDiD ships them.
BETA = np.array([0.006696351804, 0.02934503369, -0.006472972222, 0.0730149895,
                 0.1959611177, 0.3120639026, 0.2395415455, 0.1260425001])  # fmt: skip
UPPER = [
    [8.428358124e-4, 4.768686777e-4, 2.618051076e-4, 2.354220342e-4, 1.676371467e-4, 1.128707663e-4, 1.992816215e-5,
     -1.368265366e-4],
    [6.425420288e-4, 3.987425007e-4, 2.435515198e-4, 2.201960306e-4, 1.804591157e-4, 3.84376508e-5, -2.960421989e-5],
    [5.229949602e-4, 2.11768609e-4, 1.840722252e-4, 1.45852784e-4, 7.005197403e-5, 5.952994979e-5],
    [3.089595411e-4, 1.197866077e-4, 1.334081317e-4, 1.016335009e-4, 1.079051726e-4],
    [3.59970436e-4, 2.478818642e-4, 1.749579242e-4, 1.654256921e-4],
    [4.263949813e-4, 2.171437809e-4, 2.892747871e-4],
    [4.886697861e-4, 3.805322049e-4],
    [7.61739444e-4],
]  # fmt: skip
SIGMA = np.zeros((8, 8))
SIGMA[np.triu_indices(8)] = np.concatenate(UPPER)
SIGMA = SIGMA + np.triu(SIGMA, 1).T
CITED = BoundsQuestion(BETA, SIGMA, 4)


def question(pre: int, post: int, seed: int, weights: Floats | None = None) -> BoundsQuestion:
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((pre + post, 2 * (pre + post))) / 4
    sigma = root @ root.T + 0.5 + 0.1 * np.eye(pre + post)
    return BoundsQuestion(rng.standard_normal(pre + post), sigma, pre, weights)


# published numbers


def test_intervals_of_the_authors_program() -> None:
    """R HonestDiD on Benzarti and Carloni; its quantiles of |N(b, 1)| are simulated, good to about 1e-4 here."""
    np.testing.assert_allclose(CITED.original, (0.15877494280765, 0.233147292681241), rtol=0, atol=1e-9)
    printed = {0.0: (0.131411316, 0.2161696482), 0.1: (0.1194440001, 0.4185082143), 0.2: (0.01944400015, 0.5185082143)}
    for m, ends in printed.items():
        np.testing.assert_allclose(smoothness(CITED, m), ends, rtol=0, atol=6e-5)
    optimal, _ = smoothness_estimator(CITED, 0.1)
    np.testing.assert_allclose(optimal, [0, 0, 0, 1, 1, 0, 0, 0], atol=1e-10)


def test_conditional_test_of_the_authors_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """R HonestDiD, Mbar = 1, without a first stage: ends of the accepted points of its grid of 200."""
    monkeypatch.setattr(honest, "FIRST_STAGE", 0.0)
    tests = Vertices.of(CITED, 1.0)
    grid = np.linspace(-20, 20, 200) * np.sqrt(SIGMA[4, 4])
    accepted = grid[tests.accept(grid, 0.05, np.full(8, np.inf))]
    np.testing.assert_allclose(accepted[[0, -1]], (0.07055244362, 0.3184394077), rtol=0, atol=1e-9)


# smoothness


@pytest.mark.parametrize(("pre", "post", "seed"), [(1, 1, 1), (2, 3, 2), (4, 2, 3), (6, 3, 4), (9, 1, 5)])
def test_linear_extrapolation_when_trends_are_linear(pre: int, post: int, seed: int) -> None:
    """M = 0: the generalised least-squares line through the early estimates, and the normal interval."""
    weights = np.linspace(1, 2, post) / post
    asked = question(pre, post, seed, weights)
    k = pre + post
    time = np.r_[np.arange(-pre, 0), np.arange(1, post + 1)].astype(float)
    x = np.column_stack([time, np.eye(k)[:, pre:]])  # a slope, and a free effect in each later period
    inverse = np.linalg.inv(asked.sigma)
    bread = np.linalg.inv(x.T @ inverse @ x)
    effect = (bread @ x.T @ inverse @ asked.beta)[1:] @ weights
    se = np.sqrt(weights @ bread[1:, 1:] @ weights)
    expected = effect + norm.ppf(0.975) * se * np.array([-1, 1])
    np.testing.assert_allclose(smoothness(asked, 0.0), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("m", "pre", "post", "seed"), [(0.01, 4, 2, 2), (0.1, 2, 2, 1), (0.3, 6, 3, 3), (1.0, 4, 2, 2), (5.0, 2, 2, 1)]
)
def test_no_other_linear_estimator_is_shorter(pre: int, post: int, seed: int, m: float) -> None:
    asked = question(pre, post, seed, np.ones(post) / post)
    weights, half_length = smoothness_estimator(asked, m)
    time = np.r_[np.arange(-pre, 0), np.arange(1, post + 1)]
    assert weights @ time == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(weights[pre:], asked.later)
    ramps = np.array([np.delete(np.maximum(np.abs(s - pre) * (np.sign(s - pre) * (np.arange(pre + post + 1) - s) > 0)
                      * np.abs(np.arange(pre + post + 1) - s) / max(abs(s - pre), 1), 0), pre)
                      for s in range(1, pre + post)])  # fmt: skip
    middle = np.delete(np.maximum(pre - np.arange(pre + post + 1), 0), pre)
    ramps[pre - 1] = middle

    def half(free: Floats) -> float:
        early = np.r_[free, 0.0]
        early[-1] = early[:-1] @ time[: pre - 1] + asked.later @ time[pre:]  # no bias under linear trends
        v = np.r_[early, asked.later]
        bias, se = m * np.abs(ramps @ v).sum(), np.sqrt(v @ asked.sigma @ v)
        return float(se * np.sqrt(ncx2.ppf(0.95, 1, (bias / se) ** 2))) if bias / se < 30 else bias + 1.6448536 * se

    assert half(weights[: pre - 1]) == pytest.approx(half_length, rel=1e-6)
    rng = np.random.default_rng(seed)
    for start in (weights[: pre - 1], np.zeros(pre - 1), rng.standard_normal(pre - 1)):
        found = minimize(half, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 2000})
        assert half_length <= found.fun * (1 + 1e-7)


def test_coverage_at_the_worst_trend_is_nominal_without_simulation() -> None:
    """A linear estimator is normal, so its coverage is exact: 95% at the worst trend, more at all others."""
    asked, m = question(5, 3, 8, np.array([0.2, 0.3, 0.5])), 0.2
    weights, half_length = smoothness_estimator(asked, m)

    def coverage(second: Floats) -> float:
        """Of the difference in trends with these second differences, flat in its first period."""
        path = np.r_[0.0, 0.0, second.cumsum().cumsum()]
        bias, se = weights @ np.delete(path - path[5], 5), np.sqrt(weights @ asked.sigma @ weights)
        return float(ncx2.cdf((half_length / se) ** 2, 1, (bias / se) ** 2))

    corners = [coverage(m * np.array(signs)) for signs in itertools.product((-1.0, 1.0), repeat=7)]
    assert min(corners) == pytest.approx(0.95, abs=1e-10)
    rng = np.random.default_rng(1)
    assert min(coverage(m * rng.uniform(-1, 1, 7)) for _ in range(500)) > 0.95
    assert coverage(2 * m * np.ones(7)) < 0.95


# relative magnitudes


def enumerated(asked: BoundsQuestion, mbar: float, largest: Floats) -> tuple[Floats, Floats, Floats]:
    """Vertices of the dual by trying every basis: their weights of beta (V, K), slopes of theta (V,), covariance."""
    pre, k = asked.pre, len(asked.beta)
    post = k - pre
    change = np.eye(k)[pre:] - np.eye(k, k=-1)[pre:] * (np.arange(post) > 0)[:, None]
    a = np.vstack([change - mbar * largest, -change - mbar * largest])
    at = int(np.flatnonzero(asked.later)[0])
    rotate = np.linalg.inv(np.vstack([asked.later, np.delete(np.eye(post), at, axis=0)]))
    effects = a[:, pre:] @ rotate
    sides = np.column_stack([np.sqrt(np.diag(a @ asked.sigma @ a.T)), effects[:, 1:]])
    found = []
    for basis in map(list, itertools.combinations(range(len(a)), post)):
        if np.linalg.cond(sides[basis]) > 1e9:
            continue
        weights = np.linalg.solve(sides[basis].T, np.eye(post)[0])
        if weights.min() > -1e-9:
            found.append(np.zeros(len(a)))
            found[-1][basis] = np.maximum(weights, 0.0)
    dual = np.unique(np.round(found, 12), axis=0)
    return dual @ a, -dual @ effects[:, 0], dual @ a @ asked.sigma @ a.T @ dual.T


@pytest.mark.parametrize(("post", "weights"), [(1, [1.0]), (3, [1.0, 0, 0]), (3, [0, 1.0, 0]), (3, [1.0, -2.0, 0.5]),
                                               (4, [0.25] * 4)])  # fmt: skip
def test_closed_form_vertices_are_those_of_the_programme(post: int, weights: list[float]) -> None:
    asked = question(3, post, 12, np.array(weights))
    tests = Vertices.of(asked, 0.7)
    early = np.diff(np.r_[np.eye(3, 3 + post), np.zeros((1, 3 + post))], axis=0)
    for c, largest in enumerate([*early, *-early]):
        of_beta, of_theta, covariance = enumerated(asked, 0.7, largest)
        assert tests.point[c, 1] == pytest.approx(largest @ asked.beta, abs=1e-12)
        for theta in (-3.0, -0.4, 0.2, 1.0, 4.0):
            theirs = of_beta @ asked.beta + of_theta * theta
            ours = tests.rows[c] @ (tests.point[c] - [theta, 0.0])
            assert ours.max() == pytest.approx(theirs.max(), abs=1e-9)
        variances = np.diag(tests.rows[c] @ tests.covariance[c] @ tests.rows[c].T)
        for value, variance in zip(theirs, np.diag(covariance), strict=True):
            assert np.hypot(ours - value, variances - variance).min() < 1e-8


def share_below(limit: float, rows: Floats, covariance: Floats) -> float:
    """Probability that every moment is below a limit: each as it stands, conditional on D."""
    sd = np.sqrt(covariance[1, 1])
    slope, rest = covariance[0, 1] / sd**2, np.sqrt(covariance[0, 0] - covariance[0, 1] ** 2 / sd**2)

    def density(d: float) -> float:
        upper, lower = ((limit - b * d) / a for a, b in rows[:2])
        if (rows[2:, 1] * d > limit).any() or upper < lower:
            return 0.0
        inside = ndtr((upper - slope * d) / rest) - ndtr((lower - slope * d) / rest)
        return float(inside * np.exp(-((d / sd) ** 2) / 2) / np.sqrt(2 * np.pi) / sd)

    # where the integrand begins: the bounds on later differences, or the first d that leaves no effect
    least, gap = rows[2:, 1].min(), rows[0, 1] / rows[0, 0] - rows[1, 1] / rows[1, 0]
    starts = [limit / least if least else -np.inf]
    starts.append(limit * (1 / rows[0, 0] - 1 / rows[1, 0]) / gap if gap else -np.inf)
    return float(quad(density, max(-10 * sd, *starts), 10 * sd, points=[0.0], epsabs=1e-13, epsrel=1e-13, limit=400)[0])


@covered(size=[0.3, 0.005, 1e-4], mbar=[0.0, 0.5, 3.0, 1e4])
def test_first_stage_quantiles_by_adaptive_quadrature(mbar: float, size: float) -> None:
    tests = Vertices.of(question(3, 4, 2, np.array([0.1, 0.2, 0.3, 0.4])), mbar)
    for rows, covariance, limit in zip(tests.rows, tests.covariance, tests.least_favourable(size), strict=True):
        assert abs(share_below(limit, rows, covariance) - (1 - size)) < 1e-9


def test_ends_are_where_the_test_turns() -> None:
    low, high = relative_magnitudes(CITED, 1.0)
    tests = Vertices.of(CITED, 1.0)
    critical = tests.least_favourable(0.005)
    around = np.array([low - 1e-8, low + 1e-8, high - 1e-8, high + 1e-8])
    assert tests.accept(around, 0.05, critical).tolist() == [False, True, True, False]


@pytest.mark.parametrize("mbar", [0.5, 1.0])
def test_coverage_under_simulation(mbar: float) -> None:
    """Trends at the restriction's edge: the interval covers in 95% of draws at least, within 4 Monte Carlo errors."""
    base = question(3, 2, 9, np.array([0.5, 0.5]))
    critical = Vertices.of(base, mbar).least_favourable(0.005)
    rng, theta, rates = np.random.default_rng(17), 1.0, []
    for worst in (0.0, 1.0, 5.0):
        path = np.r_[0.0, worst, 0.0, 0.3 * worst]  # three early periods and the reference
        delta = np.r_[path[:3] - path[3], mbar * worst * np.array([1.0, 2.0]) + theta]
        draws = rng.multivariate_normal(delta, base.sigma, 1500)
        tests = [Vertices.of(BoundsQuestion(beta, base.sigma, 3, base.weights), mbar) for beta in draws]
        rates.append(np.mean([one.accept(np.array([theta]), 0.05, critical)[0] for one in tests]))
    assert 0.95 - 4 * np.sqrt(0.95 * 0.05 / 1500) < min(rates) < 0.999


# both


@pytest.mark.parametrize("restriction", ["smoothness", "relative magnitudes"])
def test_intervals_widen_with_the_bound_up_to_the_breakdown_value(restriction: honest.Restriction) -> None:
    bounds = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
    got = sensitivity(CITED, restriction, bounds)
    assert (np.diff(got.upper - got.lower) > 0).all()
    assert got.original == CITED.original
    interval = honest.INTERVALS[restriction]
    assert interval(CITED, got.breakdown)[0] <= 0 < interval(CITED, got.breakdown * (1 - 1e-6))[0]
    if restriction == "relative magnitudes":
        assert (np.diff(got.lower) < 0).all()
        assert (np.diff(got.upper) > 0).all()


def test_breakdown_of_what_was_never_significant_is_zero() -> None:
    weak = BoundsQuestion(0.01 * BETA, SIGMA, 4)
    assert breakdown(weak, "smoothness") == breakdown(weak, "relative magnitudes") == 0.0
    null = weak.original[1] + 0.1  # of another null hypothesis it is not
    assert sensitivity(weak, "smoothness", np.empty(0), null).breakdown > 0
    assert breakdown(CITED, "smoothness", null=0.19) == 0.0


@pytest.mark.parametrize("restriction", ["smoothness", "relative magnitudes"])
def test_scale_sign_and_linear_trends(restriction: honest.Restriction) -> None:
    interval = honest.INTERVALS[restriction]
    low, high = interval(CITED, 0.3)
    scaled = interval(BoundsQuestion(10 * BETA, 100 * SIGMA, 4), 3.0 if restriction == "smoothness" else 0.3)
    np.testing.assert_allclose(scaled, (10 * low, 10 * high), rtol=1e-7)
    np.testing.assert_allclose(interval(BoundsQuestion(-BETA, SIGMA, 4), 0.3), (-high, -low), rtol=1e-7)
    if restriction == "smoothness":
        line = 0.7 * np.r_[np.arange(-4, 0), np.arange(1, 5)]
        np.testing.assert_allclose(interval(BoundsQuestion(BETA + line, SIGMA, 4), 0.3), (low, high), rtol=1e-9)


def test_bad_input_is_said_in_one_line() -> None:
    refuses(r"sigma has shape \(7, 7\)", lambda: BoundsQuestion(BETA, SIGMA[:7, :7], 4))
    refuses("pre = 8 of 8 estimates", lambda: BoundsQuestion(BETA, SIGMA, 8))
    refuses("sigma is not positive definite", lambda: BoundsQuestion(BETA, -SIGMA, 4))
    refuses(r"weights have shape \(3,\)", lambda: BoundsQuestion(BETA, SIGMA, 4, np.ones(3)))
    refuses("level = 95", lambda: BoundsQuestion(BETA, SIGMA, 4, level=95))
    refuses("bound = -1", lambda: smoothness(CITED, -1.0))


def test_a_restriction_that_does_not_exist_is_bad_input() -> None:
    question = honest.BoundsQuestion(np.array([0.1, 0.2]), np.eye(2), 1)
    for ask in (honest.breakdown, lambda *given: honest.sensitivity(*given, np.ones(1))):
        with pytest.raises(BadInput, match="restriction = 'smooth'; did you mean 'smoothness'"):
            ask(question, "smooth")


# Numbers on parallel trends: the pre-trend test and breakdown values, held to the tests of the path itself.


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
    refuses("becomes treated", lambda: TrendEvidence()(panel.with_variables({"did": np.zeros((1, 9, 36))})))
    refuses("no variable", lambda: TrendEvidence(outcome="nothing")(panel))


def test_the_test_has_its_size() -> None:
    """60 x 8, 30 treated at one date, trends parallel: 5% at 5%, 400 panels, 4 Monte Carlo errors."""
    rng, rows, n, t = np.random.default_rng(20250403), 400, 60, 8
    d = (np.arange(t)[:, None] >= 4) * (np.arange(n) < 30) * 1.0
    y = rng.standard_normal((rows, t, n)) + d
    units = tuple(f"u{i}" for i in range(n))
    found = TrendEvidence()(Panel(units, tuple(range(t)), {"y": y, "d": d[None]}, Roles("y", "d")))
    assert abs((found.estimate[:, 0] > Z).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / rows) + 0.01


# Power of pre-trend tests against closed forms, another integration, draws, and what Roth's paper proves.


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
    got = after_passing(sigma, pre, trend, test, treated=treated)
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


def test_likelihood_ratio_is_that_of_normal_densities() -> None:
    sigma = covariance(7)
    beta = np.random.default_rng(4).multivariate_normal(linear_trend(4, 3, -0.05), sigma)
    got = pretrend_power(beta, sigma, 4)
    for slope, ratio in zip(got.slopes, got.likelihood_ratio, strict=True):
        densities = [
            multivariate_normal.pdf(beta[:4], s * linear_trend(4, 3)[:4], sigma[:4, :4]) for s in (slope, -slope)
        ]
        assert ratio == pytest.approx(max(densities) / multivariate_normal.pdf(beta[:4], np.zeros(4), sigma[:4, :4]))


def test_bad_input_of_powers_is_said_in_one_line() -> None:
    sigma = covariance(5)
    refuses(r"sigma has shape \(4, 4\)", lambda: power(sigma[:4, :4], 3, np.zeros(5)))
    refuses("pre = 0", lambda: power(sigma, 0, np.zeros(5)))
    refuses("test = 'wald'", lambda: power(sigma, 3, np.zeros(5), "wald"))
    with pytest.raises(BadInput, match=r"3 clusters of treated units; allowed: .*pre < clusters"):
        power(sigma, 3, np.zeros(5), "joint", treated=3)
    refuses("not positive definite", lambda: power(np.ones((5, 5)), 3, np.zeros(5)))
    refuses(r"power = 0.01; allowed: above the test's size", lambda: slope_found(sigma, 3, 0.01))
