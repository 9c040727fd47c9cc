"""The statistics of twins against plain loops, and the bands that real values are held to."""

from __future__ import annotations

import made_cities
import numpy as np
import pytest

from experiments.twins.statistics import (
    CohortMeans,
    CohortRegression,
    TreatmentStatus,
    autoregression,
    correlation,
    eigenvalue_shares,
    group_correlation,
    kurtosis,
    lead_dummies,
    moran_by_period,
    moran_curve,
    pretrend_f,
    split,
    tails,
    unequal_variances,
    variance_shares,
)
from experiments.twins.twin import _row, joint_test, largest_deviation

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


def of_cohorts(treatment: np.ndarray) -> list[np.ndarray]:
    """A dummy (T, N) of each cohort in each of its treated periods."""
    first = T - treatment.sum(axis=0).astype(int)
    cells = [(g, t) for g in np.unique(first) for t in range(g, T)]
    return [np.outer(np.arange(T) == t, first == g).astype(float) for g, t in cells]


@pytest.mark.parametrize("rows", [1, R])
def test_effects_of_cohorts_and_periods_are_dummies(y: np.ndarray, rows: int) -> None:
    x = np.random.default_rng(5).standard_normal((1, T, N))
    d = calendar(rows)
    d[:, :, 10:] = 1
    regression = CohortRegression.of(d, [x], controls_out=True)
    found = regression(y)
    assert regression.cohorts is not None
    for r in range(R):
        own = of_cohorts(d[r % rows])
        z = dummies([x[0], *own])
        b = np.linalg.lstsq(z, y[r].ravel(), rcond=None)[0]
        np.testing.assert_allclose(found.slopes[r], b[:1], atol=1e-10)
        np.testing.assert_allclose(found.residuals[r].ravel(), y[r].ravel() - z @ b, atol=1e-10)
        assert regression.count[r % rows] == len(own) + 1
        if r + rows == 1:
            left = np.eye(T * N) - z[:, 1:] @ np.linalg.pinv(z[:, 1:])
            np.testing.assert_allclose(regression.cohorts.freedom[0].ravel(), np.diag(left), atol=1e-10)


def test_unit_and_period_effects_are_those_of_imputation(y: np.ndarray) -> None:
    d = calendar()
    found = CohortRegression.of(d, [], controls_out=True)(y)
    moved = y + d * np.linspace(1.0, 9.0, T)[:, None] * (1 + d[0, 4])
    again = CohortRegression.of(d, [], controls_out=True)(moved)
    for name in ("residuals", "units", "periods"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), atol=1e-9)
    single = np.zeros((1, T, N))
    single[0, 3:, 0] = single[0, 5:, 1] = single[0, 6:, 2] = 1
    free = single[0].ravel() == 0
    effects = CohortMeans(np.eye(N)[None], (1 - single).transpose(0, 2, 1)).effects(y)
    for r in range(R):
        units, periods = np.tile(np.eye(N), (T, 1)), np.repeat(np.eye(T), N, axis=0)
        z = np.column_stack([units, periods[:, 1:]])[free]
        b = np.linalg.lstsq(z, y[r].ravel()[free], rcond=None)[0]
        unit, period = b[:N], np.r_[0.0, b[N:]]
        np.testing.assert_allclose(effects[0][r], unit - unit.mean(), atol=1e-9)
        np.testing.assert_allclose(effects[1][r], period - period.mean(), atol=1e-9)


def test_one_effect_is_taken_where_there_are_no_cohorts_to_tell() -> None:
    switching, single = calendar(), np.zeros((1, T, N))
    switching[0, 6, 0] = 0
    single[0, 4:, 0] = 1
    for treatment in (switching, single, 0.5 * calendar()):
        assert CohortMeans.of(treatment) is None
        assert len(CohortRegression.of(treatment, [], controls_out=True).regressors) == 1
    assert CohortMeans.of(calendar()) is not None


@pytest.mark.parametrize("rows", [1, R])
def test_leads_have_the_f_of_two_regressions(y: np.ndarray, rows: int) -> None:
    d = calendar(rows)
    for r, got in enumerate(pretrend_f(y, CohortRegression.of(d, [], controls_out=True), d, 2)):
        own = d[r % rows]
        first = np.where(own.any(axis=0), own.argmax(axis=0), 99)
        leads = [np.array([[float(t == first[i] - k) for i in range(N)] for t in range(T)]) for k in (2, 3)]
        cells = of_cohorts(own)
        rss = [np.square(y[r].ravel() - z @ np.linalg.lstsq(z, y[r].ravel(), rcond=None)[0]).sum()
               for z in (dummies(cells), dummies([*cells, *leads]))]  # fmt: skip
        free = T * N - T - N + 1 - 2 - len(cells)
        assert got == pytest.approx((rss[0] - rss[1]) / 2 / (rss[1] / free))
    assert [x.sum() for x in lead_dummies(calendar(), 3)] == [5, 5, 5]


def test_a_panel_without_a_period_before_has_no_f(y: np.ndarray) -> None:
    d = np.zeros((1, T, N))
    d[:, 1:, :4] = 1
    assert np.isnan(pretrend_f(y, CohortRegression.of(d, [], controls_out=True), d, 2)).all()


@pytest.mark.parametrize("rows", [1, R])
def test_variances_by_status_are_means_of_squares(y: np.ndarray, rows: int) -> None:
    d = calendar(rows) > 0
    status = TreatmentStatus.of(d, np.ones((T, N)))
    found, groups, by_period = status.ratios(y), status.by_group(y), status.by_period(y)
    for r in range(R):
        own = d[r % rows]
        ever = np.broadcast_to(own.any(axis=0), own.shape)
        means = [np.log(np.square(y[r][mask]).mean()) for mask in (~ever, ever & ~own, own)]
        periods = [np.log(np.square(y[r][t][~own[t]]).mean()) for t in range(T)]
        np.testing.assert_allclose(groups[r], means)
        np.testing.assert_allclose(by_period[r], periods)
        slope = np.polyfit(np.arange(T), periods, 1)[0]
        np.testing.assert_allclose(found[r], [means[1] - means[0], means[2] - means[1], slope], atol=1e-10)


def test_what_is_too_little_to_compare_is_not() -> None:
    few = np.zeros((1, T, N), dtype=bool)
    few[0, 5:, :2] = True
    status = TreatmentStatus.of(few, np.ones((T, N)))
    assert (status.compares_units, status.compares_cells, status.compares_periods) == (False, False, True)
    most = np.zeros((1, T, N), dtype=bool)
    most[0, 3:] = True
    status = TreatmentStatus.of(most, np.ones((T, N)))
    assert (status.compares_units, status.compares_cells, status.compares_periods) == (False, True, False)


def test_unequal_variances_within_groups(y: np.ndarray) -> None:
    group = np.repeat([0, 1], [5, 7])
    for r, got in enumerate(unequal_variances(y, group)):
        logs = np.log(np.square(y[r]).mean(axis=0))
        assert got == pytest.approx((5 * logs[:5].var() + 7 * logs[5:].var()) / 12)


def test_eigenvalues_and_quantiles(y: np.ndarray) -> None:
    for r in range(R):
        sizes = np.square(np.linalg.svd(y[r], compute_uv=False))
        np.testing.assert_allclose(eigenvalue_shares(y, 3)[r], sizes[:3] / sizes.sum())
        np.testing.assert_allclose(tails(y, 0.1)[r], np.quantile(y[r], [0.1, 0.9]) / np.sqrt((y[r] ** 2).mean()))


def test_the_largest_deviation_is_that_from_the_other_twins() -> None:
    rng = np.random.default_rng(8)
    twins = rng.standard_normal((30, 4)) * [1, 5, 0.1, 2] + 3
    twins[2, 1] = np.nan
    real = np.array([[3.5, 20.0, 3.0, 3.0]])
    own, among = largest_deviation(real, twins)

    def far(value: np.ndarray, others: np.ndarray) -> float:
        return float(np.nanmax(np.abs(value - np.nanmean(others, axis=0)) / np.nanstd(others, axis=0, ddof=1)))

    assert own[0] == pytest.approx(far(real[0], twins))
    np.testing.assert_allclose(among, [far(twins[k], np.delete(twins, k, axis=0)) for k in range(30)])
    assert joint_test(real[0], twins) == pytest.approx((1 + (among >= own[0]).sum()) / 31)


def test_the_joint_test_has_its_size() -> None:
    """Panels that are twins themselves are rejected at 5%, up to 3 Monte Carlo errors, with features that are skewed
    and correlated; and p values do not depend on units of features."""
    rng = np.random.default_rng(17)
    mix = rng.standard_normal((5, 5))
    draw = lambda rows: np.exp(0.5 * rng.standard_normal((rows, 5)) @ mix)  # noqa: E731
    p = np.array([joint_test(draw(1)[0], draw(99)) for _ in range(1000)])
    assert abs((p <= 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 1000)
    real, twins = draw(1)[0], draw(99)
    units = np.array([1.0, 1e6, 1e-3, 5.0, -2.0])
    assert joint_test(real * units, twins * units) == joint_test(real, twins)


@pytest.mark.parametrize(("real", "inside"), [(0.5, True), (-0.1, False), (1.1, False), (0.025, True)])
def test_bands_hold_95_percent_on_both_sides(real: float, inside: bool) -> None:
    row = _row("factor", "kurtosis of residuals", real, np.linspace(0, 1, 1001))
    assert (row.lower, row.upper) == (pytest.approx(0.025), pytest.approx(0.975))
    assert row.inside == inside


def test_features_that_are_the_same_in_all_twins_are_inside_up_to_rounding() -> None:
    row = _row("factor", "AR(1) of residuals", 0.3 + 1e-13, np.full(100, 0.3))
    assert row.inside
