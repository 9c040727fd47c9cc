"""The statistics of twins against plain loops, and the bands that real values are held to."""

from __future__ import annotations

import made_cities
import numpy as np
import pytest

from experiments.twins.fidelity import _row
from experiments.twins.statistics import (
    autoregression,
    correlation,
    group_correlation,
    kurtosis,
    lead_dummies,
    moran_by_period,
    moran_curve,
    pretrend_f,
    split,
    unequal_variances,
    variance_shares,
)

R, T, N = 4, 7, 12


@pytest.fixture
def y() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((R, T, N)).cumsum(axis=1)


def calendar(rows: int = 1) -> np.ndarray:
    """Units of which some adopt in the fourth or fifth period, others in each row."""
    out = np.zeros((rows, T, N))
    for r in range(rows):
        out[r, 4:, r : r + 3] = 1
        out[r, 5:, r + 3 : r + 5] = 1
    return out


def dummies(regressors: list[np.ndarray]) -> np.ndarray:
    """Regressors (T, N) beside dummies of units and periods, (T N, K)."""
    units = np.tile(np.eye(N), (T, 1))
    periods = np.repeat(np.eye(T), N, axis=0)[:, 1:]
    return np.column_stack([*(x.ravel() for x in regressors), units, periods])


@pytest.mark.parametrize("rows", [1, R])
def test_a_two_way_regression_is_that_with_dummies(y: np.ndarray, rows: int) -> None:
    x = np.random.default_rng(5).standard_normal((1, T, N))
    d = calendar(rows)
    found, part = split(y, [d, x]), split(y, [d, x], removed=1)
    for r in range(R):
        own = [d[r % rows], x[0]]
        z = dummies(own)
        b = np.linalg.lstsq(z, y[r].ravel(), rcond=None)[0]
        np.testing.assert_allclose(found.slopes[r], b[:2], atol=1e-10)
        np.testing.assert_allclose(found.residuals[r].ravel(), y[r].ravel() - z @ b, atol=1e-10)
        for one, left in ((found, y[r] - b[0] * own[0] - b[1] * own[1]), (part, y[r] - b[0] * own[0])):
            np.testing.assert_allclose(one.units[r], left.mean(axis=0) - left.mean(), atol=1e-10)
            np.testing.assert_allclose(one.periods[r], left.mean(axis=1) - left.mean(), atol=1e-10)


def test_a_regressor_that_effects_absorb_has_no_slope(y: np.ndarray) -> None:
    constant = np.broadcast_to(np.arange(N, dtype=float), (1, T, N))
    found = split(y, [calendar(), constant])
    np.testing.assert_allclose(found.slopes[:, 1], 0, atol=1e-8)
    np.testing.assert_allclose(found.residuals, split(y, [calendar()]).residuals, atol=1e-8)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_pooled_autoregressions(y: np.ndarray, order: int) -> None:
    for r, got in enumerate(autoregression(y, order)):
        x = np.array([[y[r, t - k, i] for k in range(1, order + 1)] for t in range(order, T) for i in range(N)])
        target = np.array([y[r, t, i] for t in range(order, T) for i in range(N)])
        np.testing.assert_allclose(got, np.linalg.lstsq(x, target, rcond=None)[0], atol=1e-10)


def test_moran_is_its_double_sum() -> None:
    w = made_cities.neighbours()
    e = np.random.default_rng(4).standard_normal((2, 3, 36))
    for r in range(2):
        for t in range(3):
            z = e[r, t] - e[r, t].mean()
            sums = sum(w.dense[i, j] * z[i] * z[j] for i in range(36) for j in range(36))
            assert moran_by_period(e, w)[r, t] == pytest.approx(36 / w.dense.sum() * sums / (z**2).sum())


def test_the_curve_of_moran_is_what_spatial_maps_have() -> None:
    """Ratios of means of 4,000 maps (I - rho W)^-1 e, within 4 Monte Carlo errors and some; it grows, 0 is near 0."""
    w = made_cities.neighbours()
    rho, means = moran_curve(w)
    assert (np.diff(means) >= 0).all()
    assert means[len(rho) // 2] == pytest.approx(0, abs=1e-12)
    at = int(np.argmin(np.abs(rho - 0.5)))
    e = np.random.default_rng(9).standard_normal((4000, 36))
    maps = np.linalg.solve(np.eye(36) - rho[at] * w.dense, e.T).T
    products, squares = (maps * (maps @ w.dense.T)).sum(axis=1), np.square(maps).sum(axis=1)
    error = (products - means[at] * squares).std() / squares.mean() / np.sqrt(4000)
    assert abs(products.mean() / squares.mean() - means[at]) < 4 * error


def test_group_correlations_are_means_over_pairs(y: np.ndarray) -> None:
    group = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 4])
    pairs = [(i, j) for i in range(N) for j in range(N) if i != j and group[i] == group[j]]
    for r, got in enumerate(group_correlation(y, group)):
        products = np.mean([y[r, t, i] * y[r, t, j] for i, j in pairs for t in range(T)])
        assert got == pytest.approx(products / np.square(y[r]).mean())


def test_moments(y: np.ndarray) -> None:
    for r in range(R):
        z = y[r] - y[r].mean()
        assert kurtosis(y)[r] == pytest.approx((y[r] ** 4).mean() / (y[r] ** 2).mean() ** 2)
        assert unequal_variances(y)[r] == pytest.approx(np.var(np.log((y[r] ** 2).mean(axis=0))))
        shares = [z.mean(axis=0).var() / z.var(), z.mean(axis=1).var() / z.var()]
        np.testing.assert_allclose(variance_shares(y)[r], [*shares, 1 - sum(shares)])
    a, b = y[:, 0], y[:1, 1]
    np.testing.assert_allclose(correlation(a, b), [np.corrcoef(a[r], b[0])[0, 1] for r in range(R)])


@pytest.mark.parametrize("rows", [1, R])
def test_leads_have_the_f_of_two_regressions(y: np.ndarray, rows: int) -> None:
    d = calendar(rows)
    for r, got in enumerate(pretrend_f(y, d, [], 2)):
        own = d[r % rows]
        first = np.where(own.any(axis=0), own.argmax(axis=0), 99)
        leads = [np.array([[float(t == first[i] - k) for i in range(N)] for t in range(T)]) for k in (2, 3)]
        rss = [np.linalg.lstsq(z, y[r].ravel(), rcond=None)[1][0] for z in (dummies([own]), dummies([own, *leads]))]
        free = T * N - T - N + 1 - 3
        assert got == pytest.approx((rss[0] - rss[1]) / 2 / (rss[1] / free))
    assert [x.sum() for x in lead_dummies(calendar(), 3)] == [5, 5, 5]


def test_a_panel_without_a_period_before_has_no_f(y: np.ndarray) -> None:
    d = np.zeros((1, T, N))
    d[:, 1:, :4] = 1
    assert np.isnan(pretrend_f(y, d, [], 2)).all()


@pytest.mark.parametrize(("real", "inside"), [(0.5, True), (-0.1, False), (1.1, False), (0.025, True)])
def test_bands_hold_95_percent_on_both_sides(real: float, inside: bool) -> None:
    row = _row("factor", "kurtosis of residuals", real, np.linspace(0, 1, 1001))
    assert row is not None
    assert (row.lower, row.upper) == (pytest.approx(0.025), pytest.approx(0.975))
    assert row.inside == inside


def test_features_that_are_the_same_in_all_twins_are_inside_up_to_rounding() -> None:
    row = _row("factor", "AR(1) of residuals", 0.3 + 1e-13, np.full(100, 0.3))
    assert row is not None
    assert row.inside
    assert _row("factor", "pre-trend F", 1.0, np.full(100, np.nan)) is None
