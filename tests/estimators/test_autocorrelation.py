"""Moran's I, Geary's C and local Moran against esda, full enumeration, dense matrices and simulation."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import esda
import libpysal
import numpy as np
import pytest
from published_panels import cigarette_panel
from refusals import refuses
from statsmodels.stats.multitest import multipletests

from estimators.core.estimator import Status, holm
from estimators.spatial import lm_tests as ac
from estimators.spatial.lm_tests import MoranTest, ResidualMaker, permuted_pooled_moran, pooled_moran
from references.small_panels import CONTROLS, Kind, small_panel, small_weights
from sim import Panel, Weights

KINDS: tuple[Kind, ...] = ("knn", "inverse-distance", "contiguity", "spectral", "uneven")
INDICES: tuple[ac.Index, ...] = ("moran", "geary")
GOLDEN = {  # cigarettes: I or C, z under normality, variance and z under randomisation
    (1963, "moran"): (0.26243674, 2.699608, 0.01068903, 2.753314),
    (1963, "geary"): (0.69647921, -2.724629, 0.01351183, -2.611147),
    (1992, "moran"): (0.34257575, 3.459619, 0.01095239, 3.485764),
    (1992, "geary"): (0.66512406, -3.006097, 0.01283609, -2.955749),
}


def values(*shape: int, seed: int = 5) -> np.ndarray:
    """Skewed values with fat tails."""
    return np.random.default_rng(seed).standard_normal(shape) ** 3 + 2.0


def main_weights(panel: Panel) -> Weights:
    return next(iter(panel.weights.values()))


def in_pysal(weights: Weights) -> libpysal.weights.W:
    return libpysal.weights.full2W(weights.dense, silence_warnings=True)


@pytest.fixture(scope="module")
def cigarettes(shared_data: Path) -> Panel:
    return cigarette_panel(shared_data)


@pytest.mark.parametrize(("year", "index"), GOLDEN)
def test_cigarettes(cigarettes: Panel, year: int, index: ac.Index) -> None:
    w = cigarettes.weights["w46"]
    y = cigarettes.variables["logc"][0, cigarettes.periods.index(year)]
    sums = ac.LinkSums.of(w)
    found = ac.both_indices(y, w)[INDICES.index(index)]
    mean, normal = ac.null_moments(index, sums)
    _, randomised = ac.null_moments(index, sums, ac.kurtosis(y))
    z = [(found - mean) / np.sqrt(v) for v in (normal, randomised)]
    np.testing.assert_allclose((found, z[0], randomised, z[1]), GOLDEN[year, index], atol=6e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_indices_and_moments_are_those_of_esda(kind: Kind) -> None:
    w, y = small_weights(40, kind), values(40)
    sums, k = ac.LinkSums.of(w), ac.kurtosis(y)
    one = esda.Moran(y, in_pysal(w), transformation="O", permutations=0)
    other = esda.Geary(y, in_pysal(w), transformation="O", permutations=0)
    for index, wanted in (
        ("moran", (one.I, one.EI, one.VI_norm, one.VI_rand)),
        ("geary", (other.C, other.EC, other.VC_norm, other.VC_rand)),
    ):
        found = ac.moran(y, w) if index == "moran" else ac.both_indices(y, w)[1]
        mean, normal = ac.null_moments(index, sums)
        got = (found, mean, normal, ac.null_moments(index, sums, k)[1])
        np.testing.assert_allclose(got, wanted, rtol=1e-10)
        np.testing.assert_allclose((found - mean) / np.sqrt(normal), one.z_norm if index == "moran" else other.z_norm,
                                   rtol=1e-10)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_local_moran_is_that_of_esda(kind: Kind) -> None:
    w, y = small_weights(40, kind), values(40)
    wanted = esda.Moran_Local(y, in_pysal(w), transformation="O", permutations=0)
    np.testing.assert_allclose(ac.local_moran(y, w), wanted.Is, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(ac.quadrants(y, w), wanted.q)
    np.testing.assert_allclose(ac.local_moran(y, w).sum() * 40 / 39, ac.moran(y, w) * w.matrix.sum(), rtol=1e-12)


def test_local_p_values_are_those_of_esda_within_simulation_error() -> None:
    w, y = small_weights(40, "knn"), values(40)
    wanted = esda.Moran_Local(y, in_pysal(w), transformation="O", permutations=9999, seed=1,
                              alternative="directed").p_sim  # fmt: skip
    got = ac.local_p_values(y, w, 9999, np.random.default_rng(1))
    np.testing.assert_allclose(got, np.minimum(1.0, 2 * wanted), atol=6 * np.sqrt(2) * np.sqrt(0.25 / 9999))


def test_permutations_follow_the_randomisation_moments() -> None:
    w, y = small_weights(30, "knn"), values(3, 30)
    drawn = ac.permuted_indices(y, w, 4000, np.random.default_rng(3))
    assert drawn.shape == (2, 4000, 3)
    for index, found in zip(INDICES, drawn, strict=True):
        mean, variance = ac.null_moments(index, ac.LinkSums.of(w), ac.kurtosis(y))
        np.testing.assert_allclose(found.mean(axis=0), mean, atol=4 * np.sqrt(variance.max() / 4000))
        np.testing.assert_allclose(found.var(axis=0), variance, rtol=0.15)


def test_definitions_by_loops() -> None:
    w, y = small_weights(12, "uneven"), values(12)
    pairs = list(itertools.product(range(12), repeat=2))
    z, s0 = y - y.mean(), sum(w.dense[i, j] for i, j in pairs)
    cross = sum(w.dense[i, j] * z[i] * z[j] for i, j in pairs)
    gaps = sum(w.dense[i, j] * (z[i] - z[j]) ** 2 for i, j in pairs)
    np.testing.assert_allclose(ac.moran(y, w), 12 / s0 * cross / (z @ z), rtol=1e-12)
    np.testing.assert_allclose(ac.both_indices(y, w)[1], 11 * gaps / (2 * s0 * (z @ z)), rtol=1e-12)


def test_invariances() -> None:
    w, y = small_weights(25, "knn"), values(25)
    both = ac.both_indices(y, w)
    np.testing.assert_allclose(ac.both_indices(7.0 - 3e3 * y, w), both, rtol=1e-9)
    np.testing.assert_allclose(ac.both_indices(y, Weights.of(w.units, 5.0 * w.dense, "none")), both, rtol=1e-12)
    order = np.random.default_rng(1).permutation(25)
    moved = w.reordered(tuple(w.units[i] for i in order))
    np.testing.assert_allclose(ac.both_indices(y[order], moved), both, rtol=1e-12)
    np.testing.assert_allclose(ac.local_moran(y[order], moved), ac.local_moran(y, w)[order], rtol=1e-11)


def test_a_constant_cross_section_has_no_index() -> None:
    w, y = small_weights(25, "knn"), values(2, 25)
    y[1] = 0.1
    assert np.isnan(ac.both_indices(y, w)).tolist() == [[False, True]] * 2
    assert np.isnan(ac.kurtosis(y)).tolist() == [False, True]


def test_three_units_are_too_few() -> None:
    refuses("3 units; allowed: 4 units or more", lambda: ac.LinkSums.of(Weights.of(tuple("abc"), 1.0 - np.eye(3))))


def test_weights_that_link_all_alike_say_nothing() -> None:
    w = Weights.of(tuple("abcdefgh"), 1.0 - np.eye(8))
    assert ac.LinkSums.of(w).uniform
    assert not ac.LinkSums.of(small_weights(40, "inverse-distance")).uniform
    np.testing.assert_allclose(ac.both_indices(values(5, 8), w), np.outer((-1 / 7, 1.0), np.ones(5)), rtol=1e-12)
    panel = small_panel(14, 5)
    panel = replace(panel, weights={"all": Weights.of(panel.units, 1.0 - np.eye(14))})
    refuses("moran, weights all; W links all units equally", lambda: MoranTest()(panel))


def test_folded_p_values_count_the_rarer_tail_twice_and_ties_in_both() -> None:
    simulated = np.array([[0.0], [1.0], [2.0], [3.0]])
    for observed, wanted in ((9.0, 2 / 5), (-9.0, 2 / 5), (2.5, 4 / 5), (3.0, 4 / 5), (1.5, 1.0)):
        assert ac.folded_p_values(simulated, np.array([observed])).tolist() == [wanted]


def test_adjusted_p_values_are_those_of_statsmodels() -> None:
    p = np.random.default_rng(4).random(20) ** 3
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12)
    np.testing.assert_allclose(ac.false_discovery_rate(p), multipletests(p, method="fdr_bh")[1], rtol=1e-12)


def dense_residual_maker(panel: Panel, regressors: tuple[str, ...]) -> np.ndarray:
    """I - Z (Z'Z)^- Z' with all dummies, (TN, TN)."""
    n, t = len(panel.units), len(panel.periods)
    dummies = np.hstack([np.kron(np.ones((t, 1)), np.eye(n)), np.kron(np.eye(t), np.ones((n, 1)))])
    z = np.column_stack([dummies, *(panel.variables[name][0].ravel() for name in regressors)])
    return np.asarray(np.eye(n * t) - z @ np.linalg.pinv(z, rcond=1e-10))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regressors", [(), ("did", *CONTROLS)])
def test_residual_moments_by_dense_matrices(kind: Kind, regressors: tuple[str, ...]) -> None:
    panel = small_panel(14, 5, weights=kind)
    w = main_weights(panel)
    maker, m = ResidualMaker.of(panel, regressors), dense_residual_maker(panel, regressors)
    y = panel.variables["y"]
    e = (m @ y[0].ravel()).reshape(y.shape)
    np.testing.assert_allclose(maker(y), e, atol=1e-12)
    wide = np.kron(np.eye(5), w.dense)
    np.testing.assert_allclose(
        pooled_moran(e, w)[0], 70 / wide.sum() * (e.ravel() @ wide @ e.ravel()) / (e**2).sum(), rtol=1e-11
    )
    a, rank, scale = m @ (wide + wide.T) / 2 @ m, round(np.trace(m)), 70 / wide.sum()
    mean = scale * np.trace(a) / rank
    second = scale**2 * (2 * np.trace(a @ a) + np.trace(a) ** 2) / (rank * (rank + 2))
    np.testing.assert_allclose(maker.moments(w), (mean, second - mean**2), rtol=1e-10)


def test_absorbed_and_collinear_regressors_add_nothing() -> None:
    panel = small_panel(14, 5)
    trend = np.arange(5.0)[None, :, None] + np.zeros((1, 1, 14))
    twice = panel.with_variables({"trend": trend, "twice": 2 * panel.variables["inv"] + trend})
    plain = ResidualMaker.of(panel, ("inv",))
    again = ResidualMaker.of(twice, ("inv", "trend", "twice"))
    assert len(again.basis) == 1
    np.testing.assert_allclose(again(panel.variables["y"]), plain(panel.variables["y"]), atol=1e-12)


def test_gaps_are_bad_input() -> None:
    panel = small_panel(14, 5, missing=3)
    refuses("autocorrelation of residuals; 3 unit-periods are missing", lambda: ResidualMaker.of(panel, ("inv",)))
    refuses("autocorrelation of moran; 3 unit-periods are missing", lambda: MoranTest()(panel))


@pytest.mark.parametrize("redrawn", [False, True])
def test_the_estimator_is_the_pure_functions(redrawn: bool) -> None:
    panel = small_panel(20, 6, replications=3, redrawn=redrawn)
    w, got = main_weights(panel), MoranTest()(panel)
    for r in range(3):
        one = panel.replication(r)
        maker = ResidualMaker.of(one, one.roles.regressors)
        mean, variance = maker.moments(w)
        index = pooled_moran(maker(one.variables["y"]), w)[0]
        np.testing.assert_allclose(
            (got.estimate[r, 0], got.se[r, 0, 0], got.statistics["index"][r], got.statistics["expected"][r]),
            (index - mean, np.sqrt(variance), index, mean),
            rtol=1e-9,
        )


def test_an_outcome_that_the_regressors_fit_has_no_residuals() -> None:
    panel = small_panel(20, 6, replications=2)
    y = np.array(panel.variables["y"])
    y[1] = 2.0 * panel.variables["inv"][0] + 3.0
    got = MoranTest()(panel.with_variables({"y": y}))
    assert got.status.tolist() == [Status.OK, Status.SINGULAR]


def test_simulated_moran_of_single_periods_follows_the_pooled_moments() -> None:
    panel = small_panel(30, 6)
    w, maker = main_weights(panel), ResidualMaker.of(panel, panel.roles.regressors)
    errors = maker(np.random.default_rng(5).standard_normal((4000, 6, 30)))
    mean, variance = maker.moments(w)
    found = pooled_moran(errors, w)
    np.testing.assert_allclose(found.mean(), mean, atol=4 * np.sqrt(variance / 4000))
    np.testing.assert_allclose(found.var(), variance, rtol=0.1)
    singles = maker.simulated(w, 4000, np.random.default_rng(5))
    np.testing.assert_allclose(singles, ac.moran(errors, w), rtol=1e-9)


@pytest.mark.long
def test_sizes_at_five_percent() -> None:
    """Every p-value of table 6 rejects a true null in 5% of panels; independent errors are no harmless assumption.

    Under errors that follow an AR(1) of .8 within units, the moments of independent errors reject far too often, and
    the exchange of whole histories does not.
    """
    rows, panel = 800, small_panel(60, 12)
    w, maker = main_weights(panel), ResidualMaker.of(panel, panel.roles.regressors)
    rng = np.random.default_rng(6)
    fresh = rng.standard_normal((rows, 12, 60))
    serial = fresh.copy()
    for period in range(1, 12):
        serial[:, period] = 0.8 * serial[:, period - 1] + 0.6 * fresh[:, period]
    margin = 4 * np.sqrt(0.05 * 0.95 / rows)
    for index, found in zip(INDICES, ac.both_indices(fresh[:, 0], w), strict=True):
        for k in (None, ac.kurtosis(fresh[:, 0])):
            mean, variance = ac.null_moments(index, ac.LinkSums.of(w), k)
            assert abs((np.abs(found - mean) > 1.96 * np.sqrt(variance)).mean() - 0.05) < margin, index
    mean, variance = maker.moments(w)
    rejected = {}
    for name, errors in (("independent", fresh), ("serial", serial)):
        e = maker(errors)
        found = pooled_moran(e, w)
        rejected[name, "projection"] = (np.abs(found - mean) > 1.96 * np.sqrt(variance)).mean()
        pvalues = [ac.folded_p_values(permuted_pooled_moran(row, w, 199, rng), x)
                   for row, x in zip(e, found, strict=True)]  # fmt: skip
        rejected[name, "permutation"] = (np.array(pvalues) <= 0.05).mean()
        singles = maker.simulated(w, 999, rng)
        by_year = np.stack([ac.folded_p_values(singles, x) for x in ac.moran(e, w)])
        rejected[name, "simulation"] = (by_year <= 0.05).mean()
    assert rejected.pop(("serial", "projection")) > 0.15
    for test, share in rejected.items():
        assert abs(share - 0.05) < margin, (test, share)


@pytest.mark.parametrize("scale", [2.0**-900, 2.0**900])
def test_no_scale_of_the_values_is_too_small_or_large(scale: float) -> None:
    w = main_weights(small_panel())
    y = values(3, w.dense.shape[0])
    drawn = [ac.permuted_indices(one, w, 20, np.random.default_rng(1)) for one in (y, scale * y)]
    for one, other in (
        (ac.both_indices(y, w), ac.both_indices(scale * y, w)),
        (ac.kurtosis(y), ac.kurtosis(scale * y)),
        (ac.local_moran(y, w), ac.local_moran(scale * y, w)),
        (pooled_moran(y, w), pooled_moran(scale * y, w)),
        drawn,
    ):
        np.testing.assert_array_equal(one, other)  # a power of two changes no bit
    found = [ac.local_p_values(one[0], w, 99, np.random.default_rng(2)) for one in (y, scale * y)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("moved", [-3, 0, 3])
def test_a_value_at_the_mean_stands_in_one_quadrant_however_it_is_rounded(moved: int) -> None:
    w = small_weights(12)
    y = np.random.default_rng(3).standard_normal(12)
    y[4] = 0.0
    y[:4] -= y.sum() / 4  # the mean is 0 up to rounding
    y[4] = moved * np.spacing(1.0)
    assert np.isin(ac.quadrants(y, w)[4], (2, 3))  # low itself
