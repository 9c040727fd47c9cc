"""Intervals of mediated effects by draws: resampling by hand, p values and intervals that agree."""

from __future__ import annotations

import numpy as np
import pytest
from mediation_panels import panel_of, paths_by_hand, term
from numpy.typing import NDArray

from estimators import Status
from estimators.mediation.mediation import TERMS, MediatedEffects, Mediation, root_of, weighted_paths
from sim import Streams

Floats = NDArray[np.float64]


@pytest.mark.parametrize("missing", [0, 14])
def test_weighted_paths_are_regressions_on_relabelled_copies(missing: int) -> None:
    panel = panel_of(12, 5, missing=missing)
    fit = Mediation().fitted(panel)
    rng = np.random.default_rng(7)
    counts = np.stack([np.bincount(rng.integers(0, 12, 12), minlength=12) for _ in range(12)])
    counts[0] = 1
    counts[1] *= 2  # more units than there are
    got = weighted_paths(fit.system.replication(0), counts.astype(float), fit.mask)
    wanted = np.array([paths_by_hand(panel, count) for count in counts])
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(got[0], Mediation()(panel).estimate[0, :3], rtol=1e-10)


def test_bootstrap_of_whole_provinces_by_hand() -> None:
    """The estimator's own draws again, province by province, through regressions on relabelled copies."""
    panel = panel_of(14, 5)
    streams = Streams(5)
    got = Mediation(errors=("bootstrap:province",), draws=99)(panel, streams)
    provinces = np.unique(panel.attributes["province"], return_inverse=True)[1]
    picks = next(streams.each("bootstrap")).integers(0, 7, size=(99, 7))
    counts = np.stack([np.bincount(row, minlength=7) for row in picks])[:, provinces]
    a, b, nde = np.array([paths_by_hand(panel, count) for count in counts]).T
    np.testing.assert_allclose(term(got, "nie", "bootstrap:province")[0], (a * b).std(ddof=1), rtol=1e-9)
    assert got.lower is not None
    assert got.upper is not None
    share = TERMS.index("proportion")
    ordered = np.sort(a * b / (nde + a * b))  # of 99 draws the second from either end, for .025 (B + 1) = 2.5
    np.testing.assert_allclose([got.lower[0, 0, share], got.upper[0, 0, share]], ordered[[1, -2]], rtol=1e-9)


def test_samples_without_a_treated_unit_are_left_out() -> None:
    panel = panel_of(8, 5)
    did = np.zeros((1, 5, 8))
    did[:, 2:, 3] = 1.0
    got = Mediation(errors=("bootstrap:unit",))(panel.with_variables({"did": did}), Streams(1))
    assert got.status[0] == Status.OK
    assert np.isfinite(got.se).all()
    assert got.lower is not None
    assert np.isfinite(got.lower).all()


def test_intervals_and_p_values_of_draws_agree() -> None:
    """The 95% interval excludes zero exactly where p <= .05, and its ends are the 25th draws of 999 from both sides."""
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((400, 999, 3)) + 4.0 * rng.random((400, 1, 3))
    got = MediatedEffects.from_draws(draws)
    ordered = np.sort(draws, axis=1)
    np.testing.assert_array_equal(got.lower[:, :3], ordered[:, 24])
    np.testing.assert_array_equal(got.upper[:, :3], ordered[:, -25])
    excludes = (got.lower > 0) | (got.upper < 0)
    np.testing.assert_array_equal(got.pvalue <= 0.05, excludes)
    assert 0.2 < excludes.mean() < 0.9
    draws[0, :500] = np.nan
    np.testing.assert_allclose(
        MediatedEffects.from_draws(draws).se[0], MediatedEffects.from_draws(draws[:1, 500:]).se[0], rtol=1e-12
    )


@pytest.mark.parametrize("count", [1, 38, 39, 40, 99, 100, 498, 998, 1000, 1999])
def test_intervals_and_p_values_agree_however_many_draws_are_kept(count: int) -> None:
    """Ends lie outward where .025 (B + 1) is not whole; too few draws to reject leave the interval endless."""
    rng = np.random.default_rng(2)
    draws = np.full((600, 1999, 3), np.nan)
    draws[:, :count] = rng.standard_normal((600, count, 3)) + 4.0 * rng.random((600, 1, 3))
    with np.errstate(invalid="ignore"):  # one draw has no standard deviation
        got = MediatedEffects.from_draws(draws)
    np.testing.assert_array_equal(got.pvalue <= 0.05, (got.lower > 0) | (got.upper < 0))
    assert np.isinf(got.lower).all() == np.isinf(got.upper).all() == (count < 39)
    assert (got.pvalue <= 0.05).any() == (count >= 39)


def test_without_draws_there_is_no_interval() -> None:
    with np.errstate(invalid="ignore", divide="ignore"):
        got = MediatedEffects.from_draws(np.full((2, 99, 3), np.nan))
    assert np.isnan([got.se, got.lower, got.upper, got.pvalue]).all()


def test_monte_carlo_draws_have_the_covariance_asked_for() -> None:
    rng = np.random.default_rng(2)
    factors = rng.standard_normal((50, 3, 3)) * np.array([1.0, 1e-4, 1e5])[:, None]
    covariance = factors @ factors.transpose(0, 2, 1)
    covariance[1, 1] = covariance[1, :, 1] = 0.0
    covariance[2] = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    root = root_of(covariance)
    got = root.transpose(0, 2, 1) @ root
    scale = np.sqrt(np.einsum("rii->ri", covariance))
    assert (np.abs(got - covariance) <= 1e-12 * scale[:, :, None] * scale[:, None]).all()
    panel = panel_of(60, 8)
    got = Mediation(errors=("delta", "monte-carlo"), draws=20000)(panel, Streams(3))
    for name in ("a", "b", "nde"):
        assert term(got, name, "monte-carlo")[0] == pytest.approx(term(got, name, "delta")[0], rel=0.03)


# invariances
