"""Uniform bands: moments of the multipliers, the Gaussian limit, and how often they cover every term at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from estimators.staggered.aggregation import largest_t, multipliers, simultaneous_critical_values


@pytest.mark.parametrize(("kind", "third"), [("rademacher", 0.0), ("mammen", 1.0)])
def test_multipliers_have_mean_zero_variance_one_and_their_third_moment(kind: Any, third: float) -> None:
    drawn = multipliers(kind, 400, 1003, np.random.default_rng(1))
    assert drawn.shape == (400, 1003)
    assert len(np.unique(drawn)) == 2
    for power, wanted in ((1, 0.0), (2, 1.0), (3, third)):
        assert (drawn**power).mean() == pytest.approx(
            wanted, abs=5 * (drawn**power).std() / np.sqrt(drawn.size) + 1e-12
        )


def test_largest_t_by_loops() -> None:
    rng = np.random.default_rng(2)
    influence, drawn = rng.standard_normal((3, 4, 20)), multipliers("mammen", 7, 20, rng)
    influence[1, 2] = 0.0
    got = largest_t(influence, drawn)
    for r in range(3):
        for b in range(7):
            ts = [abs(drawn[b] @ psi) / np.sqrt(psi @ psi) for psi in influence[r] if psi.any()]
            assert got[r, b] == pytest.approx(max(ts), rel=1e-13)
    assert np.isnan(largest_t(np.zeros((1, 2, 20)), drawn)).all()


@pytest.mark.parametrize("kind", ["rademacher", "mammen"])
def test_critical_values_of_independent_terms_are_those_of_the_largest_of_normals(kind: Any) -> None:
    """P(max |z_k| <= c) = (2 Phi(c) - 1)^K for K independent terms."""
    rng = np.random.default_rng(3)
    influence = np.zeros((1, 5, 2000))
    for k in range(5):
        influence[0, k, 400 * k : 400 * (k + 1)] = rng.standard_normal(400)
    drawn = multipliers(kind, 8000, 2000, rng)
    for count in (1, 5):
        wanted = norm.ppf((1 + 0.95 ** (1 / count)) / 2)
        got = simultaneous_critical_values(influence[:, :count], drawn, 0.05)[0]
        assert got == pytest.approx(wanted, abs=0.08)


def test_terms_that_move_together_need_no_wider_band() -> None:
    rng = np.random.default_rng(4)
    one = rng.standard_normal((1, 1, 300))
    drawn = multipliers("rademacher", 999, 300, rng)
    alone = simultaneous_critical_values(one, drawn, 0.05)
    together = simultaneous_critical_values(one * np.array([1.0, -3.0, 0.0])[:, None], drawn, 0.05)
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    assert np.isnan(simultaneous_critical_values(0 * one, drawn, 0.05)).all()


def test_bands_cover_all_terms_at_once() -> None:
    """Means of correlated terms of 200 units: 95% within 4 Monte Carlo errors, single intervals far less."""
    rng = np.random.default_rng(5)
    mixing, reps = rng.standard_normal((6, 6)), 600
    x = rng.standard_normal((reps, 200, 6)) @ mixing
    mean = x.mean(axis=1)
    influence = (x - mean[:, None]).swapaxes(1, 2) / 200
    t = np.abs(mean) / np.sqrt(np.vecdot(influence, influence))
    critical = simultaneous_critical_values(influence, multipliers("rademacher", 999, 200, rng), 0.05)
    covered = (t.max(axis=1) <= critical).mean()
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / reps)
    assert (t.max(axis=1) <= 1.96).mean() < 0.87
