"""Correlation left in residuals: slow programs, worlds whose correlation is known, and what effects do to it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from estimators.core.tile import balanced_split
from estimators.sensitivity.sensitivity import (
    bias_corrected,
    error_deviations,
    expected_serial,
    group_correlation,
    permuted_group_correlation,
    pesaran_cd,
    serial_correlation,
    simulated_cd,
)

Floats = NDArray[np.float64]


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


def test_long_panels_have_nickells_bias() -> None:
    for a in (0.0, 0.5, 0.8):
        seen = np.ones((1, 400), dtype=bool)
        assert (expected_serial(a, seen) - a) * 400 == pytest.approx(-(1 + a), rel=0.02)


def test_a_random_walk_is_the_limit() -> None:
    seen = np.ones((1, 9), dtype=bool)
    assert expected_serial(1.0, seen) == pytest.approx(expected_serial(1 - 1e-7, seen), abs=1e-5)
    assert bias_corrected(expected_serial(1.0, seen) + 0.01, seen) == 1.0
    assert np.isnan(bias_corrected(-1.0, seen))
    assert np.isnan(bias_corrected(float("nan"), seen))


@pytest.mark.parametrize(("a", "t"), [(0.8, 18), (0.3, 8), (0.0, 6)])
def test_the_corrected_coefficient_is_the_true_one(a: float, t: int) -> None:
    """Two-way residuals of 200 panels of 100 units, seed 77: mean within 4 Monte Carlo errors of the truth."""
    rng, seen = np.random.default_rng(77), np.ones((1, t), dtype=bool)
    raw = [serial_correlation(balanced_split(autoregressive(rng, a, t, 100)[None])[0][0]) for _ in range(200)]
    found = np.array([bias_corrected(value, seen) for value in raw])
    assert abs(found.mean() - a) < 4 * found.std(ddof=1) / np.sqrt(len(found)) + 0.02 * (1 - a) * a
    assert np.mean(raw) < a - 0.8 / t


def test_cd_is_the_sum_over_pairs() -> None:
    e = np.random.default_rng(2).standard_normal((9, 6))
    pairs = sum(np.corrcoef(e[:, i], e[:, j])[0, 1] for i, j in combinations(range(6), 2))
    assert pesaran_cd(e) == pytest.approx(np.sqrt(2 * 9 / (6 * 5)) * pairs)


def test_cd_is_standard_normal_without_period_effects() -> None:
    """400 panels of independent errors, 40 units and 12 periods, seed 5."""
    rng = np.random.default_rng(5)
    panels = rng.standard_normal((400, 12, 40))
    plain = np.array([pesaran_cd(e) for e in panels])
    assert abs(plain.mean()) < 4 / np.sqrt(400)
    assert abs(plain.var(ddof=1) - 1) < 4 * np.sqrt(2 / 400) + 0.05


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
