"""Sensitivity of an estimate: Oster, Cinelli-Hazlett, Romano-Wolf, honest intervals, pre-trend tests, refits."""

from __future__ import annotations

import itertools
from dataclasses import replace
from itertools import combinations
from typing import get_args

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

from estimators.core.estimator import Status
from estimators.core.tile import balanced_split
from estimators.linear.covariances import ClusterK
from estimators.linear.did import TwoWayDID
from estimators.sensitivity import sensitivity as leaving
from estimators.staggered import honest
from estimators.staggered import trend_evidence as trends
from estimators.staggered.callaway_santanna import CallawaySantAnna
from references.small_panels import bare, unseen
from sim import Panel, Roles
from sim.panel import part, seen_in

Floats = NDArray[np.float64]


def orthonormal(columns: int, rows: int = 60) -> Floats:
    """Columns of mean zero and length sqrt(rows), uncorrelated to rounding, (columns, rows)."""
    draws = np.random.default_rng(3).standard_normal((rows, columns + 1))
    draws[:, 0] = 1.0
    return np.linalg.qr(draws)[0][:, 1:].T * np.sqrt(rows)


def least_squares(y: Floats, *columns: Floats) -> tuple[Floats, float, float]:
    """Slopes, classical error of the first, R2 of a regression of centred variables."""
    x = np.column_stack(columns)
    slopes = np.linalg.lstsq(x, y)[0]
    e = y - x @ slopes
    se = np.sqrt(e @ e / (len(y) - x.shape[1]) * np.linalg.inv(x.T @ x)[0, 0])
    return slopes, float(se), float(1 - e @ e / (y @ y))


@covered(effect=[0.6, 0.0, -0.3], delta=[0.4, 1.0, 1.7, -0.5])
def test_selection_of_a_known_strength_is_found(delta: float, effect: float) -> None:
    """Two observed controls make the index w1; true effect and true R2 give back delta, and delta the effect."""
    c1, c2, w2, u, e = orthonormal(5)
    w1 = 0.8 * c1 - 0.5 * c2
    loading = 0.35
    d = loading * w1 + delta * loading * 0.7 * w2 + u  # cov(w2, d) / var(w2) = delta cov(w1, d) / var(w1)
    y = effect * d + w1 + 0.7 * w2 + 0.5 * e
    found = leaving.ShortAndLong.of(y[None], d[None], np.stack([c1, c2])[:, None])
    r2 = least_squares(y, d, w1, w2)[2]
    assert found.short == pytest.approx(least_squares(y, d)[0][0])
    assert found.long == pytest.approx(least_squares(y, d, c1, c2)[0][0])
    assert found.r2_long == pytest.approx(least_squares(y, d, c1, c2)[2])
    assert found.delta(r2, effect) == pytest.approx(delta, rel=1e-8)
    assert found.effect(r2, delta) == pytest.approx(effect, rel=1e-8, abs=1e-10)


def test_selection_without_controls_or_room() -> None:
    y, d, c = orthonormal(3)
    refuses("collinear", lambda: leaving.ShortAndLong.of(y[None], d[None], np.empty((0, 1, 60))))
    refuses("collinear", lambda: leaving.ShortAndLong.of(y[None], d[None], np.stack([c, 2 * c])[:, None]))
    found = leaving.ShortAndLong.of((y + d + c)[None], (d + 0.2 * c)[None], c[None, None])
    assert np.isnan(found.delta(found.r2_long))
    assert (found.most(), replace(found, r2_long=0.9).most()) == (pytest.approx(1.3 * found.r2_long), 1.0)


def test_darfur() -> None:
    """Cinelli and Hazlett (2020), table 1 and section 5: directly harmed, t = 4.18 with 783 degrees of freedom."""
    t, dof = 0.09731582 / 0.02325654, 783
    assert leaving.partial_r2(t, dof) == pytest.approx(0.022, abs=5e-4)
    assert leaving.robustness_value(t, dof) == pytest.approx(0.139, abs=5e-4)
    assert leaving.robustness_value(t, dof, alpha=0.05) == pytest.approx(0.076, abs=5e-4)
    assert leaving.adjusted(0.09731582, 0.02325654, dof, 0.0092, 0.1246) == pytest.approx(0.075, abs=5e-4)
    assert leaving.adjusted(-0.09731582, 0.02325654, dof, 0.0092, 0.1246) == pytest.approx(-0.075, abs=5e-4)


def smallest_share(t: float, dof: float, alpha: float) -> float:
    """By bisection: the share r of both residual variances, the outcome's up to r, that leaves no significance."""
    quantile = stats.t.ppf(1 - alpha / 2, dof - 1) if alpha < 1 else 0.0

    def enough(r: float) -> bool:
        outcome = np.linspace(0.0, r, 4001)
        left = abs(t) - np.sqrt(dof * outcome * r / (1 - r))
        error = np.sqrt((1 - outcome) / (1 - r) * dof / (dof - 1))
        return bool((left <= quantile * error).any())

    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@pytest.mark.parametrize(("t", "dof"), [(4.18, 783), (-2.2, 50), (1.0, 200), (30.0, 12), (6.0, 8)])
@pytest.mark.parametrize("alpha", [1.0, 0.05, 0.1])
def test_robustness_values_are_the_smallest_shares(t: float, dof: float, alpha: float) -> None:
    assert leaving.robustness_value(t, dof, alpha=alpha) == pytest.approx(smallest_share(t, dof, alpha), abs=2e-4)
    assert leaving.robustness_value(t, dof, q=0.5) == pytest.approx(leaving.robustness_value(t / 2, dof))


def test_a_confounder_as_strong_as_a_control_is_what_it_would_be() -> None:
    """x is observed and z is not; both are alike, so that the bound holds with equality."""
    x, z, u, e = orthonormal(4)
    d = 0.4 * x + 0.4 * z + u
    y = 0.5 * d + 0.6 * x + 0.6 * z + e
    dof = len(y) - 2
    slopes, se, _ = least_squares(y, d, x)
    own, own_se, _ = least_squares(d, x)
    on_y, on_y_se, _ = least_squares(y, x, d)
    found = leaving.benchmark(slopes[0], se, dof, own[0] / own_se, on_y[0] / on_y_se)
    assert found is not None
    r2_treatment, r2_outcome, estimate = found
    with_z, with_z_se, _ = least_squares(d, z, x)
    outcome, outcome_se, _ = least_squares(y, z, d, x)
    assert r2_treatment == pytest.approx(leaving.partial_r2(with_z[0] / with_z_se, dof))
    assert r2_outcome == pytest.approx(leaving.partial_r2(outcome[0] / outcome_se, dof - 1))
    assert estimate == pytest.approx(0.5)
    assert leaving.benchmark(1.0, 1.0, 10, 30.0, 1.0) is None


def test_step_down_is_that_of_pyfixest() -> None:
    multcomp = pytest.importorskip("pyfixest.estimation.post_estimation.multcomp")
    rng = np.random.default_rng(8)
    drawn = rng.standard_normal((499, 5)) + rng.standard_normal((499, 1))
    for t in (np.array([3.1, -0.2, 2.4, -2.6, 1.1]), rng.standard_normal(5)):
        np.testing.assert_allclose(leaving.stepdown(t, drawn), multcomp._get_rwolf_pval(t, drawn.copy()), rtol=1e-12)


def test_step_down_by_hand() -> None:
    drawn = np.array([[1.0, 0.0], [0.0, 3.0], [2.5, -0.5]])
    np.testing.assert_allclose(leaving.stepdown(np.array([2.0, -1.0]), drawn), [3 / 4, 3 / 4])
    np.testing.assert_allclose(leaving.stepdown(np.array([4.0, -1.0]), drawn), [1 / 4, 2 / 4])


def test_some_true_hypothesis_is_rejected_as_often_as_the_level_says() -> None:
    rng, wrong, samples = np.random.default_rng(41), 0, 800
    for _ in range(samples):
        scores = rng.standard_normal((80, 4)) + rng.standard_normal((80, 1))
        statistics = scores.sum(axis=0) / np.sqrt(np.square(scores).sum(axis=0)) + np.array([0, 0, 0, 6.0])
        adjusted_p = leaving.stepdown(statistics, leaving.signed_statistics(scores, 199, rng))
        wrong += bool((adjusted_p[:3] <= 0.05).any())
    assert abs(wrong / samples - 0.05) < 4 * np.sqrt(0.05 * 0.95 / samples)


def without_means(panel: Panel, names: tuple[str, ...]) -> tuple[Floats, Floats]:
    """Columns (P, T, N) around unit means, and the mask."""
    mask = seen_in(panel).astype(float)
    raw = np.stack([np.where(mask > 0, panel.variables[name][0], 0.0) for name in names])
    return (raw - raw.sum(axis=1, keepdims=True) / mask.sum(axis=0)) * mask, mask


@covered(gaps=[False, True], by=["province", "unit"], cluster_k=get_args(ClusterK))
def test_each_group_left_out_is_a_refit(cluster_k: ClusterK, by: str, gaps: bool) -> None:
    panel = made_cities.panel()
    if gaps:
        panel = replace(unseen(panel, ([1, 4, 7, 8], [3, 3, 20, 11])), weights={})
    names = (*panel.roles.regressors, "y")
    columns, mask = without_means(panel, names)
    units = np.arange(len(panel.units))
    frame = made_cities.frame().drop_duplicates("city").set_index("city").loc[list(panel.units)]
    province = np.unique(frame["province"].to_numpy(str), return_inverse=True)[1]
    groups = province if by == "province" else units
    for clusters, error in ((units, "cluster:unit"), (province, "cluster:province")):
        k = len(panel.roles.regressors)
        found = leaving.leave_one_out(columns, groups, clusters, mask if gaps else None, counted=k, cluster_k=cluster_k)
        assert isinstance(found, leaving.LeftOut)
        with_province = replace(panel, attributes={"province": province}, weights={})
        for group in range(groups.max() + 1):
            kept = part(with_province, groups != group, np.ones(len(panel.periods), dtype=bool))
            fit = TwoWayDID(errors=(error,), cluster_k=cluster_k)(kept)
            assert found.estimate[group] == pytest.approx(fit.estimate[0, 0], rel=1e-9)
            assert found.se[group] == pytest.approx(fit.se[0, 0, 0], rel=1e-9)
            assert found.clusters[group] == len(np.unique(clusters[groups != group]))


def test_a_group_that_holds_all_treated_units_leaves_nothing() -> None:
    panel = made_cities.panel()
    treated = panel.variables["did"][0].any(axis=0).astype(int)
    columns, _ = without_means(panel, ("did", "road", "y"))
    found = leaving.leave_one_out(columns, treated, np.arange(len(treated)))
    assert np.isfinite(found.estimate[0]) == bool(len(np.unique(panel.variables["did"][0][:, treated == 1].sum(0))) > 1)
    assert np.isnan(found.estimate[1])


def test_groups_left_out_a_few_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    columns, _ = without_means(made_cities.panel(), ("did", "road", "y"))
    units = np.arange(36)
    together = leaving.leave_one_out(columns, units, units, counted=2)
    monkeypatch.setattr(leaving, "CELLS", 5 * columns[0].size)
    apart = leaving.leave_one_out(columns, units, units, counted=2)
    np.testing.assert_allclose(apart.estimate, together.estimate, rtol=1e-12)
    np.testing.assert_allclose(apart.se, together.se, rtol=1e-12)


def autoregressive(rng: np.random.Generator, a: float, t: int, n: int) -> Floats:
    """Stationary AR(1) errors, (T, N)."""
    e = np.empty((t, n))
    e[0] = rng.standard_normal(n) / np.sqrt(1 - a * a)
    for period in range(1, t):
        e[period] = a * e[period - 1] + rng.standard_normal(n)
    return e


def test_the_raw_coefficient_is_a_regression_on_the_last_residual() -> None:
    e = np.random.default_rng(1).standard_normal((7, 5))
    now, last = e[1:].ravel(), e[:-1].ravel()
    assert leaving.serial_correlation(e) == pytest.approx((now @ last) / (last @ last))
    mask = np.ones_like(e)
    mask[3, 1] = mask[0, 4] = 0
    pairs = [(e[t, i], e[t - 1, i]) for t in range(1, 7) for i in range(5) if mask[t, i] * mask[t - 1, i]]
    later, earlier = np.array(pairs).T
    assert leaving.serial_correlation(e * mask, mask) == pytest.approx((later @ earlier) / (earlier @ earlier))


@pytest.mark.parametrize("a", [-0.4, 0.0, 0.5, 0.95])
def test_what_unit_means_leave_is_that_of_the_whole_matrices(a: float) -> None:
    seen = np.ones((3, 6), dtype=bool)
    seen[1, 4], seen[2, 0] = False, False
    products = squares = 0.0
    for row in seen:
        at = np.flatnonzero(row)
        maker = np.eye(6)[:, at] @ (np.eye(len(at)) - 1 / len(at))
        left = maker @ np.array([[a ** abs(s - t) for t in at] for s in at]) @ maker.T
        for t in range(1, 6):
            if row[t] and row[t - 1]:
                products, squares = products + left[t, t - 1], squares + left[t - 1, t - 1]
    assert leaving.expected_serial(a, seen) == pytest.approx(products / squares, rel=1e-9)
    assert leaving.bias_corrected(leaving.expected_serial(a, seen), seen) == pytest.approx(a, abs=1e-7)


def test_a_random_walk_is_the_limit() -> None:
    seen = np.ones((1, 9), dtype=bool)
    assert leaving.expected_serial(1.0, seen) == pytest.approx(leaving.expected_serial(1 - 1e-7, seen), abs=1e-5)
    assert leaving.bias_corrected(leaving.expected_serial(1.0, seen) + 0.01, seen) == 1.0
    assert np.isnan(leaving.bias_corrected(-1.0, seen))
    assert np.isnan(leaving.bias_corrected(float("nan"), seen))


def test_cd_is_the_sum_over_pairs() -> None:
    e = np.random.default_rng(2).standard_normal((9, 6))
    pairs = sum(np.corrcoef(e[:, i], e[:, j])[0, 1] for i, j in combinations(range(6), 2))
    assert leaving.pesaran_cd(e) == pytest.approx(np.sqrt(2 * 9 / (6 * 5)) * pairs)


def test_the_deviations_of_errors_from_two_way_residuals() -> None:
    rng, sd = np.random.default_rng(9), np.linspace(0.2, 2.0, 12)
    residuals = balanced_split(rng.standard_normal((300, 30, 12)) * sd)[0]
    pooled = residuals.transpose(1, 0, 2).reshape(-1, 12)
    np.testing.assert_allclose(leaving.error_deviations(pooled), sd * np.sqrt(29 / 30), rtol=0.03, atol=0.02)


@pytest.mark.parametrize("a", [0.0, 0.7])
def test_cd_of_independent_units_is_as_simulated(a: float) -> None:
    rng, sd = np.random.default_rng(5), np.exp(np.linspace(-1, 1, 40))
    drawn = leaving.simulated_cd(sd, a, 12, 1999, rng)
    low, high = np.quantile(drawn, [0.025, 0.975])
    panels = (balanced_split((autoregressive(rng, a, 12, 40) * sd)[None])[0][0] for _ in range(400))
    found = np.array([leaving.pesaran_cd(e) for e in panels])
    outside = ((found < low) | (found > high)).mean()
    assert abs(outside - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 400)


def test_correlation_within_groups_by_pairs_and_by_permutation() -> None:
    rng = np.random.default_rng(6)
    codes = np.repeat(np.arange(5), [4, 3, 1, 6, 2])
    e = rng.standard_normal((11, 16)) + 1.5 * rng.standard_normal((11, 5))[:, codes]
    pairs = [np.corrcoef(e[:, i], e[:, j])[0, 1] for i, j in combinations(range(16), 2) if codes[i] == codes[j]]
    assert leaving.group_correlation(e, codes) == pytest.approx(np.mean(pairs))
    drawn = leaving.permuted_group_correlation(e, codes, 199, rng)
    assert (drawn >= np.mean(pairs)).mean() < 0.01
    every = [np.corrcoef(e[:, i], e[:, j])[0, 1] for i, j in combinations(range(16), 2)]
    assert abs(drawn.mean() - np.mean(every)) < 4 * drawn.std() / np.sqrt(199)
    assert np.isnan(leaving.group_correlation(e, np.arange(16)))


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
CITED = honest.BoundsQuestion(BETA, SIGMA, 4)


def question(pre: int, post: int, seed: int, weights: Floats | None = None) -> honest.BoundsQuestion:
    """Seed 0: independent estimates of one variance, under which several kinks enter at one penalty."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((pre + post, 2 * (pre + post))) / 4
    sigma = root @ root.T + 0.5 + 0.1 * np.eye(pre + post) if seed else np.eye(pre + post)
    return honest.BoundsQuestion(rng.standard_normal(pre + post), sigma, pre, weights)


def test_intervals_of_the_authors_program() -> None:
    """R HonestDiD on Benzarti and Carloni; its quantiles of |N(b, 1)| are simulated, good to about 1e-4 here."""
    np.testing.assert_allclose(CITED.original, (0.15877494280765, 0.233147292681241), rtol=0, atol=1e-9)
    printed = {0.0: (0.131411316, 0.2161696482), 0.1: (0.1194440001, 0.4185082143), 0.2: (0.01944400015, 0.5185082143)}
    for m, ends in printed.items():
        np.testing.assert_allclose(honest.smoothness(CITED, m), ends, rtol=0, atol=6e-5)
    optimal, _ = honest.smoothness_estimator(CITED, 0.1)
    np.testing.assert_allclose(optimal, [0, 0, 0, 1, 1, 0, 0, 0], atol=1e-10)


def test_conditional_test_of_the_authors_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """R HonestDiD, Mbar = 1, without a first stage: ends of the accepted points of its grid of 200."""
    monkeypatch.setattr(honest, "FIRST_STAGE", 0.0)
    tests = honest.Vertices.of(CITED, 1.0)
    grid = np.linspace(-20, 20, 200) * np.sqrt(SIGMA[4, 4])
    accepted = grid[tests.accept(grid, 0.05, np.full(8, np.inf))]
    np.testing.assert_allclose(accepted[[0, -1]], (0.07055244362, 0.3184394077), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("pre", "post", "seed"), [(1, 1, 1), (2, 3, 2), (4, 2, 3), (6, 3, 4), (9, 1, 5), (5, 1, 0), (8, 5, 0)]
)
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
    np.testing.assert_allclose(honest.smoothness(asked, 0.0), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("m", "pre", "post", "seed"),
    [(0.01, 4, 2, 2), (0.1, 2, 2, 1), (0.3, 6, 3, 3), (1.0, 4, 2, 2), (5.0, 2, 2, 1), (0.1, 5, 1, 0)],
)
def test_no_other_linear_estimator_is_shorter(pre: int, post: int, seed: int, m: float) -> None:
    asked = question(pre, post, seed, np.ones(post) / post)
    weights, half_length = honest.smoothness_estimator(asked, m)
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
    weights, half_length = honest.smoothness_estimator(asked, m)

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


def enumerated(asked: honest.BoundsQuestion, mbar: float, largest: Floats) -> tuple[Floats, Floats, Floats]:
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
    tests = honest.Vertices.of(asked, 0.7)
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
    tests = honest.Vertices.of(question(3, 4, 2, np.array([0.1, 0.2, 0.3, 0.4])), mbar)
    for rows, covariance, limit in zip(tests.rows, tests.covariance, tests.least_favourable(size), strict=True):
        assert abs(share_below(limit, rows, covariance) - (1 - size)) < 1e-9


def hybrid(tests: honest.Vertices, c: int, theta: float, limit: float) -> tuple[float, float]:
    """The largest moment of a candidate and what it may be: its quantile given that it is the largest and below the
    limit (Andrews, Roth and Pakes 2023), by a line along which the other moments move with it."""
    moments, covariance = tests.rows[c] @ (tests.point[c] - [theta, 0.0]), tests.rows[c] @ tests.covariance[c]
    covariance = covariance @ tests.rows[c].T
    best = int(np.argmax(moments))
    low, high, sd = -np.inf, limit, np.sqrt(covariance[best, best])
    for other in set(range(len(moments))) - {best}:
        pace = covariance[best, other] / sd**2
        if pace != 1.0:
            meeting = moments[best] - (moments[best] - moments[other]) / (1 - pace)
            low, high = (max(low, meeting), high) if pace < 1 else (low, min(high, meeting))
    size = 0.9 * 0.05 / (1 - 0.1 * 0.05)
    quantile = sd * stats.norm.isf((1 - size) * stats.norm.sf(high / sd) + size * stats.norm.sf(low / sd))
    return moments[best], min(limit, max(quantile, 0.0))


@pytest.mark.parametrize("limit", [0.3, 2.0, 30.0])
def test_both_stages_of_the_hybrid_test_by_loops(limit: float) -> None:
    """Of any moments of the form that candidates have: slopes in theta of both signs, then none."""
    rng, count = np.random.default_rng(5), 150
    rows = rng.standard_normal((count, 5, 2))
    rows[:, 0, 0], rows[:, 1, 0], rows[:, 2:, 0] = abs(rows[:, 0, 0]), -abs(rows[:, 1, 0]), 0.0
    root, grid = rng.standard_normal((count, 2, 3)), np.linspace(-4, 4, 17)
    whole = honest.Vertices(rows, 1.5 * rng.standard_normal((count, 2)), root @ root.swapaxes(1, 2))
    for c in range(count):
        one = honest.Vertices(rows[c : c + 1], whole.point[c : c + 1], whole.covariance[c : c + 1])
        wanted = [bool(value <= most) for value, most in (hybrid(one, 0, theta, limit) for theta in grid)]
        assert one.accept(grid, 0.05, np.full(1, limit)).tolist() == wanted

        # the first stage: every moment is at most the limit
        value, d = one.point[0]
        low, high = (value - (limit - slope * d) / a for a, slope in rows[c, :2])
        accepts = low <= high and all(rows[c, 2:, 1] * d <= limit)
        got = one.first_stage(np.full(1, limit))
        np.testing.assert_allclose(got, (low, high) if accepts else (np.inf, -np.inf), rtol=1e-12)


def test_ends_are_where_the_test_turns() -> None:
    low, high = honest.relative_magnitudes(CITED, 1.0)
    tests = honest.Vertices.of(CITED, 1.0)
    critical = tests.least_favourable(0.005)
    around = np.array([low - 1e-8, low + 1e-8, high - 1e-8, high + 1e-8])
    assert tests.accept(around, 0.05, critical).tolist() == [False, True, True, False]


@pytest.mark.parametrize("mbar", [0.5, 1.0])
def test_coverage_under_simulation(mbar: float) -> None:
    base = question(3, 2, 9, np.array([0.5, 0.5]))
    critical = honest.Vertices.of(base, mbar).least_favourable(0.005)
    rng, theta, rates = np.random.default_rng(17), 1.0, []
    for worst in (0.0, 1.0, 5.0):
        path = np.r_[0.0, worst, 0.0, 0.3 * worst]  # three early periods and the reference
        delta = np.r_[path[:3] - path[3], mbar * worst * np.array([1.0, 2.0]) + theta]
        draws = rng.multivariate_normal(delta, base.sigma, 1500)
        tests = [honest.Vertices.of(honest.BoundsQuestion(beta, base.sigma, 3, base.weights), mbar) for beta in draws]
        rates.append(np.mean([one.accept(np.array([theta]), 0.05, critical)[0] for one in tests]))
    assert 0.95 - 4 * np.sqrt(0.95 * 0.05 / 1500) < min(rates) < 0.999


@pytest.mark.parametrize("restriction", ["smoothness", "relative magnitudes"])
def test_intervals_widen_with_the_bound_up_to_the_breakdown_value(restriction: honest.Restriction) -> None:
    bounds = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
    got = honest.sensitivity(CITED, restriction, bounds)
    assert (np.diff(got.upper - got.lower) > 0).all()
    assert got.original == CITED.original
    interval = honest.INTERVALS[restriction]
    assert interval(CITED, got.breakdown)[0] <= 0 < interval(CITED, got.breakdown * (1 - 1e-6))[0]
    if restriction == "relative magnitudes":
        assert (np.diff(got.lower) < 0).all()
        assert (np.diff(got.upper) > 0).all()


def test_breakdowns_are_zero_of_what_was_never_significant_and_at_most_the_largest(panel: Panel) -> None:
    weak = honest.BoundsQuestion(0.01 * BETA, SIGMA, 4)
    assert honest.breakdown(weak, "smoothness") == honest.breakdown(weak, "relative magnitudes") == 0.0
    null = weak.original[1] + 0.1  # of another null hypothesis it is not
    assert honest.sensitivity(weak, "smoothness", np.empty(0), null).breakdown > 0
    assert honest.breakdown(CITED, "smoothness", null=0.19) == 0.0
    assert honest.breakdown(CITED, "relative magnitudes", null=0.19) == 0.0
    quiet = panel.with_variables({"y": 1e-3 * panel.variables["y"] + 6.0 * panel.variables["did"]})
    assert trends.TrendEvidence(bounds=True)(quiet).estimate[0, 1:].tolist() == [trends.MOST, trends.MOST]


@pytest.mark.parametrize("restriction", ["smoothness", "relative magnitudes"])
def test_scale_sign_and_linear_trends(restriction: honest.Restriction) -> None:
    interval = honest.INTERVALS[restriction]
    low, high = interval(CITED, 0.3)
    scaled = interval(honest.BoundsQuestion(10 * BETA, 100 * SIGMA, 4), 3.0 if restriction == "smoothness" else 0.3)
    np.testing.assert_allclose(scaled, (10 * low, 10 * high), rtol=1e-7)
    np.testing.assert_allclose(interval(honest.BoundsQuestion(-BETA, SIGMA, 4), 0.3), (-high, -low), rtol=1e-7)
    if restriction == "smoothness":
        line = 0.7 * np.r_[np.arange(-4, 0), np.arange(1, 5)]
        np.testing.assert_allclose(interval(honest.BoundsQuestion(BETA + line, SIGMA, 4), 0.3), (low, high), rtol=1e-9)


def test_bad_input_is_said_in_one_line() -> None:
    refuses(r"sigma has shape \(7, 7\)", lambda: honest.BoundsQuestion(BETA, SIGMA[:7, :7], 4))
    for pre in (0, 8):
        refuses(f"pre = {pre} of 8 estimates", lambda pre=pre: honest.BoundsQuestion(BETA, SIGMA, pre))
    for sigma in (-SIGMA, np.outer(BETA, BETA) + 1e-16 * np.eye(8)):
        refuses("sigma is not positive definite", lambda sigma=sigma: honest.BoundsQuestion(BETA, sigma, 4))
    refuses(r"weights have shape \(3,\)", lambda: honest.BoundsQuestion(BETA, SIGMA, 4, np.ones(3)))
    refuses("or are zero", lambda: honest.BoundsQuestion(BETA, SIGMA, 4, np.zeros(4)))
    for level in (95, 0.05):
        refuses(f"level = {level}", lambda level=level: honest.BoundsQuestion(BETA, SIGMA, 4, level=level))
    for bound in (-1.0, np.inf):
        refuses(f"bound = {bound}", lambda bound=bound: honest.smoothness(CITED, bound))
    refuses("restriction = 'smooth'; did you mean 'smoothness'", honest.breakdown, CITED, "smooth")
    refuses("restriction = 'smooth'; did you mean 'smoothness'", honest.sensitivity, CITED, "smooth", np.ones(1))


@pytest.fixture(scope="module")
def panel() -> Panel:
    return replace(made_cities.panel(), weights={})


def test_the_test_is_that_of_the_path(panel: Panel) -> None:
    found = trends.TrendEvidence()(panel)
    path = trends.EventTimes.of(CallawaySantAnna(base="universal"), panel)
    covariance = path.covariance[: path.pre, : path.pre]
    wald = float(path.estimate[: path.pre] @ np.linalg.solve(covariance, path.estimate[: path.pre]))
    q, m = path.pre, path.fewest
    pvalue = stats.f.sf(wald * (m - q) / (q * (m - 1)), q, m - q)
    assert 2 * stats.norm.sf(found.estimate[0, 0]) == pytest.approx(pvalue, rel=1e-6)
    assert found.pvalues["pre-trend"] == pytest.approx(pvalue, rel=1e-6)
    group, ever = np.arange(36) // 6, panel.variables[str(panel.roles.treatment)][0].any(axis=0)
    grouped = replace(panel, attributes={"group": group})
    clusters = trends.EventTimes.of(CallawaySantAnna(base="universal", errors=("cluster:group",)), grouped).fewest
    assert clusters == len(set(group[ever])) < m == ever.sum()


@pytest.mark.parametrize(("treated", "cover", "parallel"), [(5, 0.57, 0.86), (10, 0.82, 0.89), (20, 0.94, 0.95)])
def test_a_covariance_of_few_treated_units_makes_the_shortest_interval_too_short(
    treated: int, cover: float, parallel: float
) -> None:
    """Parallel trends without an effect: shares of intervals for the mean effect that hold zero."""
    rows, n, t = 200, treated + 60, 8
    d = (np.arange(t)[:, None] >= 5) * (np.arange(n) < treated) * 1.0
    y = np.random.default_rng(4).standard_normal((rows, t, n))
    drawn = Panel(tuple(f"u{i}" for i in range(n)), tuple(range(t)), {"y": y, "d": d[None]}, Roles("y", "d"))
    held = []
    for path in trends.EventTimes.each(CallawaySantAnna(base="universal"), drawn):
        asked = honest.BoundsQuestion(path.estimate, path.covariance, path.pre, np.full(3, 1 / 3))
        first, second = honest.smoothness(asked, 0.0), honest.relative_magnitudes(asked, 1.0)
        third = honest.sensitivity(asked, "smoothness", np.zeros(1)).original
        held.append([end[0] <= 0 <= end[1] for end in (first, second, third)])
    found = np.mean(held, axis=0)
    for share, expected in ((found[0], cover), (found[2], parallel)):
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / rows)
    assert found[1] > 0.95


def test_breakdowns_are_where_the_bounds_reach_zero(panel: Panel) -> None:
    """A drift-free panel with a large effect: at the value the interval's end is 0, below it it is not."""
    large = panel.with_variables({"y": panel.variables["y"] + 6.0 * panel.variables["did"]})
    path = trends.EventTimes.of(CallawaySantAnna(base="universal"), large)
    first, mean = trends.breakdowns(path)
    post = len(path.events) - path.pre
    for value, weights in ((first, np.eye(1, post)[0]), (mean, np.full(post, 1 / post))):
        assert 0 < value < trends.MOST
        question = honest.BoundsQuestion(path.estimate, path.covariance, path.pre, weights)
        assert honest.relative_magnitudes(question, 0.99 * value)[0] > 0
        assert honest.relative_magnitudes(question, 1.01 * value)[0] <= 0
        assert value == pytest.approx(honest.breakdown(question, "relative magnitudes"))
    assert first > mean
    found = trends.TrendEvidence(bounds=True)(large)
    assert found.terms == ("pre-trend", "breakdown:first", "breakdown:mean")
    assert found.estimate[0, 1:].tolist() == pytest.approx([first, mean])
    assert np.isnan(found.se[0, 0, 1:]).all()


def test_fewer_treated_units_than_event_times_before_have_breakdown_values_and_no_joint_test() -> None:
    d = (np.arange(8)[:, None] >= 5) * (np.arange(30) < 2) * 1.0
    noise = np.random.default_rng(6).standard_normal((1, 8, 30))
    found = trends.TrendEvidence(bounds=True)(bare({"y": noise + 3 * d, "did": d}))
    assert found.status.tolist() == [Status.OK]
    assert np.isnan(found.estimate[0, 0])
    assert np.isfinite(found.estimate[0, 1:]).all()
    alone = trends.TrendEvidence()(bare({"y": noise + 3 * d, "did": d}))
    assert alone.status.tolist() != [Status.OK]


def test_a_batch_is_its_panels_one_by_one(panel: Panel) -> None:
    y = panel.variables["y"]
    many = panel.with_variables({"y": y + np.random.default_rng(2).standard_normal((3, *y.shape[1:]))})
    assert_batch_is_its_panels(trends.TrendEvidence(bounds=True), many, rtol=0.0, atol=0.0)


def test_the_test_has_its_size() -> None:
    rng, rows, n, t = np.random.default_rng(20250403), 400, 60, 8
    d = (np.arange(t)[:, None] >= 4) * (np.arange(n) < 30) * 1.0
    y = rng.standard_normal((rows, t, n)) + d
    found = trends.TrendEvidence()(bare({"y": y, "did": d}))
    assert abs((found.estimate[:, 0] > Z).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / rows) + 0.01


Z = norm.ppf(0.975)


def covariance(k: int, seed: int = 1) -> Floats:
    """Of event-study estimates: a common reference period and noise of its own."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((k, 2 * k)) * 0.1 / np.sqrt(2 * k)
    return 0.01 * np.ones((k, k)) + np.asarray(root @ root.T) + 0.002 * np.eye(k)


def test_one_estimate_is_exact() -> None:
    sigma = np.array([[0.04, 0.01], [0.01, 0.05]])
    got = trends.after_passing(sigma, 1, trends.linear_trend(1, 1, 0.3))
    low, high = (-Z * 0.2 + 0.3) / 0.2, (Z * 0.2 + 0.3) / 0.2
    assert got.power == pytest.approx(1 - (norm.cdf(high) - norm.cdf(low)), abs=1e-14)
    before = -0.3 + 0.2 * truncnorm.mean(low, high)
    np.testing.assert_allclose(got.expected, [before, 0.3 + 0.01 / 0.04 * (before + 0.3)], rtol=1e-12)
    slope = trends.slope_found(sigma, 1, 0.8)
    assert norm.cdf(-Z + slope / 0.2) + norm.cdf(-Z - slope / 0.2) == pytest.approx(0.8, abs=1e-12)


@pytest.mark.parametrize(("pre", "tolerance"), [(3, 5e-6), (4, 1e-5), (5, 1e-5)])
def test_power_equals_scipy_s_integration(pre: int, tolerance: float) -> None:
    sigma = covariance(pre + 2)
    trend = trends.linear_trend(pre, 2, 0.03)
    half = Z * np.sqrt(np.diag(sigma)[:pre])
    inside = multivariate_normal.cdf(half, trend[:pre], sigma[:pre, :pre], lower_limit=-half, abseps=1e-6, releps=1e-6,
                                     maxpts=200_000, rng=np.random.default_rng(1))  # fmt: skip
    assert trends.power(sigma, pre, trend) == pytest.approx(1 - inside, abs=tolerance)


@pytest.mark.parametrize(("test", "treated"), [("individual", np.inf), ("joint", np.inf), ("joint", 12.0)])
def test_power_and_bias_are_those_of_draws(test: str, treated: float) -> None:
    """400,000 studies: rejection rate and mean of those that pass, within 4 Monte Carlo errors."""
    pre, post = 4, 3
    sigma = covariance(pre + post, 3)
    trend = trends.linear_trend(pre, post, 0.06)
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
    got = trends.after_passing(sigma, pre, trend, test, treated=treated)
    assert 0.1 < got.power < 0.95
    assert abs((~passed).mean() - got.power) < 4 * np.sqrt(got.power * (1 - got.power) / len(draws))
    kept = draws[passed]
    errors = np.abs(kept.mean(axis=0) - got.expected) / (kept.std(axis=0) / np.sqrt(len(kept)))
    assert errors.max() < 4


def test_joint_test_is_noncentral_chi_square() -> None:
    sigma = covariance(6)
    trend = trends.linear_trend(4, 2, 0.05)
    far = trend[:4] @ np.linalg.solve(sigma[:4, :4], trend[:4])
    assert trends.power(sigma, 4, trend, "joint") == pytest.approx(ncx2.sf(chi2.ppf(0.95, 4), 4, far), abs=1e-12)
    assert trends.power(sigma, 4, 0 * trend, "joint", 0.1) == pytest.approx(0.1, abs=1e-12)


def test_slopes_have_their_power_and_scale_with_the_errors() -> None:
    sigma = covariance(7)
    got = trends.pretrend_power(np.zeros(7), sigma, 4)
    assert got.slopes[1] > got.slopes[0] > 0
    for slope, share, after in zip(got.slopes, (0.5, 0.8), got.after, strict=True):
        assert trends.power(sigma, 4, trends.linear_trend(4, 3, slope)) == pytest.approx(share, abs=1e-10)
        assert trends.power(sigma, 4, trends.linear_trend(4, 3, -slope)) == pytest.approx(share, abs=1e-5)
        assert after.power == pytest.approx(share, abs=1e-10)
        assert after.bayes_factor == pytest.approx((1 - share) / (1 - got.size), abs=1e-10)
    np.testing.assert_allclose(trends.pretrend_power(np.zeros(7), 9 * sigma, 4).slopes, 3 * got.slopes, rtol=1e-10)
    assert 0.05 < got.size < 1 - 0.95**4


@pytest.mark.parametrize("treated", [30.0, np.inf])
def test_slopes_of_estimates_that_move_together_are_found_without_a_warning(treated: float) -> None:
    sigma = np.ones((5, 5)) + 1e-4 * np.eye(5)  # the search begins where no study passes
    slope = trends.slope_found(sigma, 3, 0.5, "joint", treated=treated)
    trend = trends.linear_trend(3, 2, slope)
    assert trends.power(sigma, 3, trend, "joint", treated=treated) == pytest.approx(0.5, abs=1e-10)
    assert np.isfinite(trends.after_passing(sigma, 3, trend, "joint", treated=treated).expected).all()
    assert np.isnan(trends.after_passing(sigma, 3, 1e3 * trend, "joint", treated=treated).expected[:3]).all()


def test_likelihood_ratio_is_that_of_normal_densities() -> None:
    sigma = covariance(7)
    beta = np.random.default_rng(4).multivariate_normal(trends.linear_trend(4, 3, -0.05), sigma)
    got = trends.pretrend_power(beta, sigma, 4)
    for slope, ratio in zip(got.slopes, got.likelihood_ratio, strict=True):
        densities = [
            multivariate_normal.pdf(beta[:4], s * trends.linear_trend(4, 3)[:4], sigma[:4, :4]) for s in (slope, -slope)
        ]
        assert ratio == pytest.approx(max(densities) / multivariate_normal.pdf(beta[:4], np.zeros(4), sigma[:4, :4]))


def test_bad_input_of_powers_is_said_in_one_line(panel: Panel) -> None:
    sigma = covariance(5)
    refuses(r"sigma has shape \(4, 4\)", lambda: trends.power(sigma[:4, :4], 3, np.zeros(5)))
    refuses("pre = 0", lambda: trends.power(sigma, 0, np.zeros(5)))
    refuses("test = 'wald'", lambda: trends.power(sigma, 3, np.zeros(5), "wald"))
    refuses("3 clusters of treated units; allowed: .*pre < clusters",
            lambda: trends.power(sigma, 3, np.zeros(5), "joint", treated=3))  # fmt: skip
    refuses("not positive definite", lambda: trends.power(np.ones((5, 5)), 3, np.zeros(5)))
    refuses(r"power = 0.01; allowed: above the test's size", lambda: trends.slope_found(sigma, 3, 0.01))
    refuses("becomes treated", lambda: trends.TrendEvidence()(panel.with_variables({"did": np.zeros((1, 9, 36))})))
    refuses("no variable", lambda: trends.TrendEvidence(outcome="nothing")(panel))
