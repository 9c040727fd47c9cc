"""Oster, Cinelli-Hazlett, Romano-Wolf and leave-one-out: worlds with known answers, other programs, slow programs."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import get_args

import made_cities
import numpy as np
import pytest
from covering import covered
from numpy.typing import NDArray
from refusals import refuses
from scipy import stats

from estimators.core.tile import WithinTransform, balanced_split
from estimators.linear.covariances import ClusterK
from estimators.linear.did import TwoWayDID
from estimators.sensitivity import sensitivity as leaving
from estimators.sensitivity.sensitivity import (
    LeftOut,
    ShortAndLong,
    adjusted,
    benchmark,
    bias_corrected,
    error_deviations,
    expected_serial,
    group_correlation,
    leave_one_out,
    partial_r2,
    permuted_group_correlation,
    pesaran_cd,
    robustness_value,
    serial_correlation,
    signed_statistics,
    simulated_cd,
    stepdown,
)
from sim import Panel
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
    found = ShortAndLong.of(y[None], d[None], np.stack([c1, c2])[:, None])
    r2 = least_squares(y, d, w1, w2)[2]
    assert found.short == pytest.approx(least_squares(y, d)[0][0])
    assert found.long == pytest.approx(least_squares(y, d, c1, c2)[0][0])
    assert found.r2_long == pytest.approx(least_squares(y, d, c1, c2)[2])
    assert found.delta(r2, effect) == pytest.approx(delta, rel=1e-8)
    assert found.effect(r2, delta) == pytest.approx(effect, rel=1e-8, abs=1e-10)


def test_selection_without_controls_or_room() -> None:
    y, d, c = orthonormal(3)
    refuses("collinear", lambda: ShortAndLong.of(y[None], d[None], np.empty((0, 1, 60))))
    refuses("collinear", lambda: ShortAndLong.of(y[None], d[None], np.stack([c, 2 * c])[:, None]))
    found = ShortAndLong.of((y + d + c)[None], (d + 0.2 * c)[None], c[None, None])
    assert np.isnan(found.delta(found.r2_long))
    assert found.most() == pytest.approx(1.3 * found.r2_long)
    assert replace(found, r2_long=0.9).most() == 1.0


def test_darfur() -> None:
    """Cinelli and Hazlett (2020), table 1 and section 5: directly harmed, t = 4.18 with 783 degrees of freedom."""
    t, dof = 0.09731582 / 0.02325654, 783
    assert partial_r2(t, dof) == pytest.approx(0.022, abs=5e-4)
    assert robustness_value(t, dof) == pytest.approx(0.139, abs=5e-4)
    assert robustness_value(t, dof, alpha=0.05) == pytest.approx(0.076, abs=5e-4)
    assert adjusted(0.09731582, 0.02325654, dof, 0.0092, 0.1246) == pytest.approx(0.075, abs=5e-4)
    assert adjusted(-0.09731582, 0.02325654, dof, 0.0092, 0.1246) == pytest.approx(-0.075, abs=5e-4)


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
    assert robustness_value(t, dof, alpha=alpha) == pytest.approx(smallest_share(t, dof, alpha), abs=2e-4)
    assert robustness_value(t, dof, q=0.5) == pytest.approx(robustness_value(t / 2, dof))


def test_a_confounder_as_strong_as_a_control_is_what_it_would_be() -> None:
    """x is observed and z is not; both are alike, so that the bound holds with equality."""
    x, z, u, e = orthonormal(4)
    d = 0.4 * x + 0.4 * z + u
    y = 0.5 * d + 0.6 * x + 0.6 * z + e
    dof = len(y) - 2
    slopes, se, _ = least_squares(y, d, x)
    own, own_se, _ = least_squares(d, x)
    on_y, on_y_se, _ = least_squares(y, x, d)
    found = benchmark(slopes[0], se, dof, own[0] / own_se, on_y[0] / on_y_se)
    assert found is not None
    r2_treatment, r2_outcome, estimate = found
    with_z, with_z_se, _ = least_squares(d, z, x)
    outcome, outcome_se, _ = least_squares(y, z, d, x)
    assert r2_treatment == pytest.approx(partial_r2(with_z[0] / with_z_se, dof))
    assert r2_outcome == pytest.approx(partial_r2(outcome[0] / outcome_se, dof - 1))
    assert estimate == pytest.approx(0.5)
    assert benchmark(1.0, 1.0, 10, 30.0, 1.0) is None


def test_step_down_is_that_of_pyfixest() -> None:
    multcomp = pytest.importorskip("pyfixest.estimation.post_estimation.multcomp")
    rng = np.random.default_rng(8)
    drawn = rng.standard_normal((499, 5)) + rng.standard_normal((499, 1))
    for t in (np.array([3.1, -0.2, 2.4, -2.6, 1.1]), rng.standard_normal(5)):
        np.testing.assert_allclose(stepdown(t, drawn), multcomp._get_rwolf_pval(t, drawn.copy()), rtol=1e-12)


def test_step_down_by_hand() -> None:
    drawn = np.array([[1.0, 0.0], [0.0, 3.0], [2.5, -0.5]])
    np.testing.assert_allclose(stepdown(np.array([2.0, -1.0]), drawn), [3 / 4, 3 / 4])
    np.testing.assert_allclose(stepdown(np.array([4.0, -1.0]), drawn), [1 / 4, 2 / 4])


def test_some_true_hypothesis_is_rejected_as_often_as_the_level_says() -> None:
    """Three true hypotheses that depend on one another beside a false one; 800 samples of 80 clusters, seed 41."""
    rng, wrong, samples = np.random.default_rng(41), 0, 800
    for _ in range(samples):
        scores = rng.standard_normal((80, 4)) + rng.standard_normal((80, 1))
        statistics = scores.sum(axis=0) / np.sqrt(np.square(scores).sum(axis=0)) + np.array([0, 0, 0, 6.0])
        adjusted_p = stepdown(statistics, signed_statistics(scores, 199, rng))
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
        seen = np.ones((1, len(panel.periods), len(panel.units)), dtype=bool)
        seen[0, [1, 4, 7, 8], [3, 3, 20, 11]] = False
        panel = replace(panel, observed=seen, weights={})
    names = (*panel.roles.regressors, "y")
    columns, mask = without_means(panel, names)
    units = np.arange(len(panel.units))
    frame = made_cities.frame().drop_duplicates("city").set_index("city").loc[list(panel.units)]
    province = np.unique(frame["province"].to_numpy(str), return_inverse=True)[1]
    groups = province if by == "province" else units
    for clusters, error in ((units, "cluster:unit"), (province, "cluster:province")):
        k = len(panel.roles.regressors)
        found = leave_one_out(columns, groups, clusters, mask if gaps else None, counted=k, cluster_k=cluster_k)
        assert isinstance(found, LeftOut)
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
    found = leave_one_out(columns, treated, np.arange(len(treated)))
    assert np.isfinite(found.estimate[0]) == bool(len(np.unique(panel.variables["did"][0][:, treated == 1].sum(0))) > 1)
    assert np.isnan(found.estimate[1])


def test_the_selection_of_a_panel_is_within_effects() -> None:
    panel = made_cities.panel()
    q = WithinTransform.of(panel)
    y, d, *x = (q(panel.variables[name])[0] for name in ("y", "did", "road", "book"))
    found = ShortAndLong.of(y, d, np.stack(x))
    for regressors, coefficient, r2 in ((("did",), found.short, found.r2_short), (None, found.long, found.r2_long)):
        fit = TwoWayDID(regressors=regressors, errors=("iid",))(panel)
        assert coefficient == pytest.approx(fit.estimate[0, 0], rel=1e-9)
        assert r2 == pytest.approx(fit.statistics["r2_within"][0], rel=1e-9)


def test_groups_left_out_a_few_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    columns, _ = without_means(made_cities.panel(), ("did", "road", "y"))
    units = np.arange(36)
    together = leave_one_out(columns, units, units, counted=2)
    monkeypatch.setattr(leaving, "CELLS", 5 * columns[0].size)
    apart = leave_one_out(columns, units, units, counted=2)
    np.testing.assert_allclose(apart.estimate, together.estimate, rtol=1e-12)
    np.testing.assert_allclose(apart.se, together.se, rtol=1e-12)


# Correlation left in residuals: slow programs, worlds whose correlation is known, and what effects do to it.


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
    assert serial_correlation(e) == pytest.approx((now @ last) / (last @ last))
    mask = np.ones_like(e)
    mask[3, 1] = mask[0, 4] = 0
    pairs = [(e[t, i], e[t - 1, i]) for t in range(1, 7) for i in range(5) if mask[t, i] * mask[t - 1, i]]
    later, earlier = np.array(pairs).T
    assert serial_correlation(e * mask, mask) == pytest.approx((later @ earlier) / (earlier @ earlier))


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
    assert expected_serial(a, seen) == pytest.approx(products / squares, rel=1e-9)
    assert bias_corrected(expected_serial(a, seen), seen) == pytest.approx(a, abs=1e-7)


@pytest.mark.parametrize("a", [0.0, 0.5, 0.8])
def test_long_panels_have_nickells_bias(a: float) -> None:
    assert (expected_serial(a, np.ones((1, 400), dtype=bool)) - a) * 400 == pytest.approx(-(1 + a), rel=0.02)


def test_a_random_walk_is_the_limit() -> None:
    seen = np.ones((1, 9), dtype=bool)
    assert expected_serial(1.0, seen) == pytest.approx(expected_serial(1 - 1e-7, seen), abs=1e-5)
    assert bias_corrected(expected_serial(1.0, seen) + 0.01, seen) == 1.0
    assert np.isnan(bias_corrected(-1.0, seen))
    assert np.isnan(bias_corrected(float("nan"), seen))


def test_cd_is_the_sum_over_pairs() -> None:
    e = np.random.default_rng(2).standard_normal((9, 6))
    pairs = sum(np.corrcoef(e[:, i], e[:, j])[0, 1] for i, j in combinations(range(6), 2))
    assert pesaran_cd(e) == pytest.approx(np.sqrt(2 * 9 / (6 * 5)) * pairs)


def test_the_deviations_of_errors_from_two_way_residuals() -> None:
    """Means over 300 panels, seed 9: residual variances of independent errors give back the errors' own."""
    rng, sd = np.random.default_rng(9), np.linspace(0.2, 2.0, 12)
    residuals = balanced_split(rng.standard_normal((300, 30, 12)) * sd)[0]
    pooled = residuals.transpose(1, 0, 2).reshape(-1, 12)
    np.testing.assert_allclose(error_deviations(pooled), sd * np.sqrt(29 / 30), rtol=0.03, atol=0.02)


@pytest.mark.parametrize("a", [0.0, 0.7])
def test_cd_of_independent_units_is_as_simulated(a: float) -> None:
    """Two-way residuals of 400 panels, units with unequal variances, seed 5: CD is rejected at 5% as often."""
    rng, sd = np.random.default_rng(5), np.exp(np.linspace(-1, 1, 40))
    drawn = simulated_cd(sd, a, 12, 1999, rng)
    low, high = np.quantile(drawn, [0.025, 0.975])
    panels = (balanced_split((autoregressive(rng, a, 12, 40) * sd)[None])[0][0] for _ in range(400))
    found = np.array([pesaran_cd(e) for e in panels])
    outside = ((found < low) | (found > high)).mean()
    assert abs(outside - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 400)


def test_correlation_within_groups_by_pairs_and_by_permutation() -> None:
    rng = np.random.default_rng(6)
    codes = np.repeat(np.arange(5), [4, 3, 1, 6, 2])
    e = rng.standard_normal((11, 16)) + 1.5 * rng.standard_normal((11, 5))[:, codes]
    pairs = [np.corrcoef(e[:, i], e[:, j])[0, 1] for i, j in combinations(range(16), 2) if codes[i] == codes[j]]
    assert group_correlation(e, codes) == pytest.approx(np.mean(pairs))
    drawn = permuted_group_correlation(e, codes, 199, rng)
    assert (drawn >= np.mean(pairs)).mean() < 0.01
    every = [np.corrcoef(e[:, i], e[:, j])[0, 1] for i, j in combinations(range(16), 2)]
    assert abs(drawn.mean() - np.mean(every)) < 4 * drawn.std() / np.sqrt(199)
    assert np.isnan(group_correlation(e, np.arange(16)))
