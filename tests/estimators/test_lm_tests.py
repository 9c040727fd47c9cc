"""LM tests, Moran's I, Geary's C and local Moran: printed numbers, spreg, esda, dense matrices, size."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import esda
import libpysal
import numpy as np
import pytest
from covering import covered
from numpy.typing import NDArray
from published_panels import cigarette_panel
from refusals import refuses
from statsmodels.stats.multitest import multipletests

from estimators import Status, Tile
from estimators.core.estimator import holm
from estimators.spatial import lm_tests as ac
from references.brute_force import dummies as dense_effects
from references.small_panels import CONTROLS, Kind, bare, changed, small_panel, small_weights, unseen
from sim import Panel, Roles, Streams, Weights

Floats = NDArray[np.float64]
UNIT, PERIOD, BOTH = ("unit",), ("period",), ("unit", "period")
EFFECTS: tuple[tuple[str, ...], ...] = ((), UNIT, PERIOD, BOTH)

# lm_lag, lm_err, rlm_lag, rlm_err on Elhorst's cigarette panel
CIGARETTES = {
    ("exact", ()): (66.47, 153.04, 58.26, 144.84),
    ("exact", UNIT): (131.88, 247.19, 28.53, 143.84),
    ("exact", PERIOD): (59.47, 85.25, 0.33, 26.11),
    ("exact", BOTH): (60.33, 72.92, 1.11, 13.70),
    ("elhorst", ()): (66.47, 153.04, 58.26, 144.84),
    ("elhorst", UNIT): (136.43, 255.715, 29.51, 148.80),
    ("elhorst", PERIOD): (44.11, 62.86, 0.33, 19.09),
    ("elhorst", BOTH): (47.07, 54.65, 1.17, 8.75),
    ("elhorst-wq", UNIT): (136.43, 255.715, 29.51, 148.80),
    ("elhorst-wq", PERIOD): (44.04, 62.86, 0.33, 19.15),
    ("elhorst-wq", BOTH): (46.90, 54.65, 1.16, 8.91),
}


def statistics(panel: Panel, form: str = "exact", effects: tuple[str, ...] = BOTH, **settings: Any) -> Floats:
    """The four statistics of every replication, (R, 4)."""
    estimator = ac.LMTests(form, effects, keep_arrays=True, **settings)
    return np.asarray(estimator(panel).estimate)


def test_cigarettes(shared_data: Path) -> None:
    panel = cigarette_panel(shared_data)
    for (form, effects), printed in CIGARETTES.items():
        got = statistics(panel, form, effects)[0]
        np.testing.assert_allclose(got, printed, rtol=0, atol=0.0051, err_msg=f"{form} {effects}")


def panel_of(weights: Kind = "knn", *, redrawn: bool = False) -> Panel:
    return small_panel(12, 5, seed=5, replications=3, redrawn=redrawn, weights=weights, rho=0.2)


def main_weights(panel: Panel) -> Weights:
    return next(iter(panel.weights.values()))


def dummies(n: int, t: int, effects: tuple[str, ...]) -> Floats:
    """What spans a constant and the effects, (T N, D), rows time-major."""
    return dense_effects(n, t, {(): "none", BOTH: "two-way"}.get(effects, effects[0] if effects else "none"))


def brute_force(panel: Panel, replication: int, effects: tuple[str, ...]) -> tuple[float, ...]:
    """The exact form from (T N) x (T N) matrices: variance of the score of residuals that lie in the space of Q."""
    n, t = len(panel.units), len(panel.periods)
    one = panel.replication(replication)
    y, *x = (one.variables[name][0].ravel() for name in ("y", *panel.roles.regressors))
    d = dummies(n, t, effects)
    z = np.column_stack([*x, d])
    q = np.eye(n * t) - (d @ np.linalg.pinv(d, rcond=1e-10) if effects else 0.0)
    m = np.eye(n * t) - z @ np.linalg.pinv(z, rcond=1e-10)
    lag = np.kron(np.eye(t), main_weights(panel).dense)
    a = q @ lag @ q
    noise, centre = np.trace(a @ a + a.T @ a), np.trace(a)
    e = m @ y
    s2 = e @ e / round(np.trace(q))
    moved = m @ lag @ (y - e)
    both = moved @ moved / s2 + noise
    score_lag, score_err = e @ lag @ y / s2 - centre, e @ lag @ e / s2 - centre
    share = noise / both
    return (
        score_lag**2 / both,
        score_err**2 / noise,
        (score_lag - score_err) ** 2 / (both - noise),
        (score_err - share * score_lag) ** 2 / (noise * (1 - share)),
    )


@covered(redrawn=[False, True], weights=["knn", "uneven"], effects=EFFECTS)
def test_dense_matrices(effects: tuple[str, ...], weights: Kind, redrawn: bool) -> None:
    panel = panel_of(weights, redrawn=redrawn)
    expected = [brute_force(panel, r, effects) for r in range(3)]
    np.testing.assert_allclose(statistics(panel, "exact", effects), expected, rtol=1e-9)


@pytest.mark.parametrize("weights", ["knn", "uneven"])
@pytest.mark.parametrize("effects", [(), UNIT])
def test_without_period_effects_the_order_of_lag_and_effects_does_not_matter(
    effects: tuple[str, ...], weights: Kind
) -> None:
    one, other = (statistics(panel_of(weights), form, effects) for form in ("elhorst", "elhorst-wq"))
    np.testing.assert_allclose(other, one, rtol=1e-9)


@covered(weights=["knn", "uneven"], effects=EFFECTS)
def test_spreg_on_stacked_data_with_dummies(effects: tuple[str, ...], weights: Kind) -> None:
    """Its tests for a cross-section, with T N rows and a block-diagonal W, are Elhorst's form, lags demeaned last."""
    from scipy.sparse import csr_matrix, kron
    from spreg.diagnostics_sp import lmErr, lmLag, rlmErr, rlmLag, spDcache

    panel = panel_of(weights)
    n, t = len(panel.units), len(panel.periods)
    y, *x = (panel.variables[name][0].reshape(-1, 1) for name in ("y", *panel.roles.regressors))
    x = np.hstack([dummies(n, t, effects), *x])
    betas = np.linalg.lstsq(x, y)[0]
    u = y - x @ betas
    w = SimpleNamespace(sparse=csr_matrix(kron(np.eye(t), main_weights(panel).matrix)), n=n * t)
    regression = SimpleNamespace(
        x=x, y=y, u=u, betas=betas, predy=x @ betas, n=n * t, k=x.shape[1], xtxi=np.linalg.inv(x.T @ x),
        utu=(u * u).sum(), sig2n=(u * u).sum() / (n * t), sig2=(u * u).sum() / (n * t),
    )  # fmt: skip
    cache = spDcache(regression, w)
    expected = [lmLag(regression, w, cache), lmErr(regression, w, cache), rlmLag(regression, w, cache),
                rlmErr(regression, w, cache)]  # fmt: skip
    estimates = ac.LMTests("elhorst", effects, keep_arrays=True)(panel)
    np.testing.assert_allclose(estimates.estimate[0], [np.squeeze(pair[0]) for pair in expected], rtol=1e-9)
    np.testing.assert_allclose(estimates.pvalue[0, 0], [np.squeeze(pair[1]) for pair in expected], rtol=1e-7)


@covered(form=ac.FORMS, redrawn=[False, True])
def test_cross_products_give_what_arrays_give(form: str, redrawn: bool) -> None:
    panel = panel_of(redrawn=redrawn)
    shared = ac.LMTests(form)
    sums = ac.ScoreSums("y", panel.roles.regressors, "knn", BOTH, form != "elhorst-wq")
    plan = sums.prepare(panel)
    direct = shared.solve(plan, sums.reduce(plan, Tile(panel)), panel.schema, Streams(0))
    np.testing.assert_allclose(shared(panel).estimate, direct.estimate, rtol=1e-10)


@pytest.mark.usefixtures("rounding")
@pytest.mark.parametrize("redrawn", [False, True])
def test_weights_that_link_all_alike_are_bad_input_beside_time_effects(redrawn: bool) -> None:
    """With all others as neighbours Q W = -Q/(N - 1): nothing tells a lag from an error, nor either from none."""
    panel = panel_of(redrawn=redrawn)
    full = replace(panel, weights={"w": Weights.of(panel.units, 1.0 - np.eye(len(panel.units)))})
    for form, effects in itertools.product(ac.FORMS, EFFECTS):
        estimator = ac.LMTests(form, effects)
        if "period" in effects:
            refuses("W links all units equally", lambda estimator=estimator: estimator(full))
        else:
            assert (estimator(full).status == Status.OK).all()


@pytest.mark.usefixtures("rounding")
def test_no_robust_tests_where_the_lag_of_the_fit_is_the_fit() -> None:
    """Units in pairs, each the other's neighbour, and a regressor that both share: its lag is itself."""
    panel = panel_of()
    raw = np.kron(np.eye(6), 1.0 - np.eye(2))
    shared = np.repeat(panel.variables["inv"][:, :, ::2], 2, axis=2)
    pairs = bare({"y": panel.variables["y"], "inv": shared}, Roles("y", None, ("inv",)),
                 weights={"w": Weights.of(panel.units, raw)})  # fmt: skip
    for form in ac.FORMS:
        got = ac.LMTests(form)(pairs)
        assert np.isnan(got.estimate[:, 2:]).all()
        assert np.isfinite(got.estimate[:, :2]).all()
        assert (got.status == Status.SINGULAR).all()


@pytest.mark.parametrize("effects", EFFECTS)
def test_a_draw_that_effects_absorb_is_singular(effects: tuple[str, ...]) -> None:
    panel = panel_of(redrawn=True)
    x = np.array(panel.variables["inv"])
    x[1] = (x[1, :1] if "unit" in effects else 0.1) + (x[1, :, :1] if "period" in effects else 0.2)
    got = ac.LMTests(effects=effects)(panel.with_variables({"inv": x}))
    assert got.status.tolist() == [Status.OK, Status.SINGULAR, Status.OK]


@pytest.mark.parametrize(("settings", "message"), [
    ({"form": "exct"}, "did you mean 'exact'"), ({"effects": ("unit", "unit")}, "effects = "),
    ({"effects": ("city",)}, "effects = "),
])  # fmt: skip
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    refuses(message, lambda: ac.LMTests(**settings))


def test_bad_panels() -> None:
    panel = panel_of()
    refuses("rows do not sum to one", lambda: ac.LMTests()(panel_of("uneven")))
    refuses("no weights 'v'", lambda: ac.LMTests(weights="v")(panel))
    gaps = unseen(panel, (0, 0))
    for effects in EFFECTS:
        refuses("1 unit-period is missing", lambda effects=effects: statistics(gaps, effects=effects))
    refuses("3 units; allowed: 4 units or more", lambda: ac.LinkSums.of(Weights.of(tuple("abc"), 1.0 - np.eye(3))))
    panel = small_panel(14, 5, missing=3)
    refuses("autocorrelation of residuals; 3 unit-periods are missing", lambda: ac.ResidualMaker.of(panel, ("inv",)))
    refuses("autocorrelation of moran; 3 unit-periods are missing", lambda: ac.MoranTest()(panel))


@covered(weights=["knn", "uneven"], effects=EFFECTS)
def test_size(effects: tuple[str, ...], weights: Kind) -> None:
    rng = np.random.default_rng(11)
    n, t, r = 46, 8, 4000
    w, x = small_weights(n, weights), rng.standard_normal((1, t, n))
    effect = ("unit" in effects) * rng.standard_normal(n) + ("period" in effects) * rng.standard_normal((t, 1))
    y = x + effect + rng.standard_normal((r, t, n))
    panel = Panel(w.units, tuple(range(t)), {"y": y, "x": x}, Roles("y", None, ("x",)), weights={"w": w})
    for form in ("exact", "elhorst")[: 1 + ("period" in effects and weights == "knn")]:
        found = ac.LMTests(form, effects, keep_arrays=True)(panel)
        assert (found.status == Status.OK).all()
        rejected = (found.pvalue[:, 0] < 0.05).mean(axis=0)
        if form == "exact":
            np.testing.assert_allclose(rejected, 0.05, atol=4 * np.sqrt(0.05 * 0.95 / r) + 0.005)
        else:
            assert (rejected[:2] > 0.075).all()


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


def in_pysal(weights: Weights) -> libpysal.weights.W:
    return libpysal.weights.full2W(weights.dense, silence_warnings=True)


@pytest.mark.parametrize(("year", "index"), GOLDEN)
def test_indices_of_cigarettes(shared_data: Path, year: int, index: ac.Index) -> None:
    cigarettes = cigarette_panel(shared_data)
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


def test_definitions_by_sums_over_pairs() -> None:
    w, y = small_weights(12, "uneven"), values(12)
    z, s0 = y - y.mean(), w.dense.sum()
    gaps = (w.dense * np.subtract.outer(z, z) ** 2).sum()
    np.testing.assert_allclose(ac.moran(y, w), 12 / s0 * (z @ w.dense @ z) / (z @ z), rtol=1e-12)
    np.testing.assert_allclose(ac.both_indices(y, w)[1], 11 * gaps / (2 * s0 * (z @ z)), rtol=1e-12)


def test_a_constant_and_weights_that_link_all_alike_have_no_index() -> None:
    w, y = small_weights(25, "knn"), values(2, 25)
    y[1] = 0.1
    assert np.isnan(ac.both_indices(y, w)).tolist() == [[False, True]] * 2
    assert np.isnan(ac.kurtosis(y)).tolist() == [False, True]
    w = Weights.of(tuple("abcdefgh"), 1.0 - np.eye(8))
    assert ac.LinkSums.of(w).uniform
    assert not ac.LinkSums.of(small_weights(40, "inverse-distance")).uniform
    np.testing.assert_allclose(ac.both_indices(values(5, 8), w), np.outer((-1 / 7, 1.0), np.ones(5)), rtol=1e-12)
    panel = small_panel(14, 5)
    panel = replace(panel, weights={"all": Weights.of(panel.units, 1.0 - np.eye(14))})
    refuses("moran, weights all; W links all units equally", lambda: ac.MoranTest()(panel))


def test_folded_p_values_count_the_rarer_tail_twice_and_ties_in_both() -> None:
    simulated = np.array([[0.0], [1.0], [2.0], [3.0]])
    for observed, wanted in ((9.0, 2 / 5), (-9.0, 2 / 5), (2.5, 4 / 5), (3.0, 4 / 5), (3.0 + 1e-15, 4 / 5), (1.5, 1.0)):
        assert ac.folded_p_values(simulated, np.array([observed])).tolist() == [wanted]


def test_histories_of_residuals_move_as_a_whole() -> None:
    """Every draw is I of one of the 24 orders of 4 units, the same in all periods, and all orders come."""
    w, e = small_weights(4, "inverse-distance"), values(3, 4)
    orders = [ac.pooled_moran(e[:, list(order)], w) for order in itertools.permutations(range(4))]
    drawn = ac.permuted_pooled_moran(e, w, 400, np.random.default_rng(1))
    gaps = np.abs(np.subtract.outer(drawn, orders))
    assert gaps.min(axis=1).max() < 1e-12
    assert gaps.min(axis=0).max() < 1e-12


def test_pieces_hold_every_draw_once() -> None:
    for size in (1, 1000, ac.AT_ONCE // 2, ac.AT_ONCE + 1):  # a draw may be larger than what is held at a time
        assert [draw for some in ac.pieces(5, size) for draw in range(some.start, some.stop)] == [0, 1, 2, 3, 4]


def test_adjusted_p_values_are_those_of_statsmodels() -> None:
    p = np.random.default_rng(4).random(20) ** 3
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12)
    np.testing.assert_allclose(ac.false_discovery_rate(p), multipletests(p, method="fdr_bh")[1], rtol=1e-12)


def dense_residual_maker(panel: Panel, regressors: tuple[str, ...]) -> np.ndarray:
    """I - Z (Z'Z)^- Z' with all dummies, (TN, TN)."""
    n, t = len(panel.units), len(panel.periods)
    z = np.column_stack([dummies(n, t, BOTH), *(panel.variables[name][0].ravel() for name in regressors)])
    return np.asarray(np.eye(n * t) - z @ np.linalg.pinv(z, rcond=1e-10))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regressors", [(), ("did", *CONTROLS)])
def test_residual_moments_by_dense_matrices(kind: Kind, regressors: tuple[str, ...]) -> None:
    panel = small_panel(14, 5, weights=kind)
    w = panel.weights[kind]
    maker, m = ac.ResidualMaker.of(panel, regressors), dense_residual_maker(panel, regressors)
    y = panel.variables["y"]
    e = (m @ y[0].ravel()).reshape(y.shape)
    np.testing.assert_allclose(maker(y), e, atol=1e-12)
    wide = np.kron(np.eye(5), w.dense)
    index = 70 / wide.sum() * (e.ravel() @ wide @ e.ravel()) / (e**2).sum()
    np.testing.assert_allclose(ac.pooled_moran(e, w)[0], index, rtol=1e-11)
    a, rank, scale = m @ (wide + wide.T) / 2 @ m, round(np.trace(m)), 70 / wide.sum()
    mean = scale * np.trace(a) / rank
    second = scale**2 * (2 * np.trace(a @ a) + np.trace(a) ** 2) / (rank * (rank + 2))
    np.testing.assert_allclose(maker.moments(w), (mean, second - mean**2), rtol=1e-10)


def test_absorbed_and_collinear_regressors_add_nothing() -> None:
    panel = small_panel(14, 5)
    trend = np.arange(5.0)[None, :, None] + np.zeros((1, 1, 14))
    twice = panel.with_variables({"trend": trend, "twice": 2 * panel.variables["inv"] + trend})
    plain = ac.ResidualMaker.of(panel, ("inv",))
    again = ac.ResidualMaker.of(twice, ("inv", "trend", "twice"))
    assert len(again.basis) == 1
    np.testing.assert_allclose(again(panel.variables["y"]), plain(panel.variables["y"]), atol=1e-12)
    small = panel.with_variables({"road": 1e-9 * panel.variables["road"]})  # other units of measure
    one, other = (ac.ResidualMaker.of(each, CONTROLS)(panel.variables["y"]) for each in (panel, small))
    np.testing.assert_allclose(other, one, atol=1e-11)


@pytest.mark.parametrize("redrawn", [False, True])
def test_the_estimator_is_the_pure_functions(redrawn: bool) -> None:
    panel = small_panel(20, 6, replications=3, redrawn=redrawn)
    w, got = panel.weights["knn"], ac.MoranTest()(panel)
    for r in range(3):
        one = panel.replication(r)
        maker = ac.ResidualMaker.of(one, one.roles.regressors)
        mean, variance = maker.moments(w)
        index = ac.pooled_moran(maker(one.variables["y"]), w)[0]
        own = (got.estimate[r, 0], got.se[r, 0, 0], got.statistics["index"][r], got.statistics["expected"][r])
        np.testing.assert_allclose(own, (index - mean, np.sqrt(variance), index, mean), rtol=1e-9)


def test_an_outcome_that_the_regressors_fit_has_no_residuals() -> None:
    panel = small_panel(20, 6, replications=2)
    got = ac.MoranTest()(changed(panel, "y", 1, 2.0 * panel.variables["inv"][0] + 3.0))
    assert got.status.tolist() == [Status.OK, Status.SINGULAR]


def test_simulated_moran_of_single_periods_follows_the_pooled_moments() -> None:
    panel = small_panel(30, 6)
    w, maker = panel.weights["knn"], ac.ResidualMaker.of(panel, panel.roles.regressors)
    errors = maker(np.random.default_rng(5).standard_normal((4000, 6, 30)))
    mean, variance = maker.moments(w)
    found = ac.pooled_moran(errors, w)
    np.testing.assert_allclose(found.mean(), mean, atol=4 * np.sqrt(variance / 4000))
    np.testing.assert_allclose(found.var(), variance, rtol=0.1)
    singles = maker.simulated(w, 4000, np.random.default_rng(5))
    np.testing.assert_allclose(singles, ac.moran(errors, w), rtol=1e-9)


@pytest.mark.long
def test_sizes_at_five_percent() -> None:
    rows, panel = 800, small_panel(60, 12)
    w, maker = panel.weights["knn"], ac.ResidualMaker.of(panel, panel.roles.regressors)
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
        found = ac.pooled_moran(e, w)
        rejected[name, "projection"] = (np.abs(found - mean) > 1.96 * np.sqrt(variance)).mean()
        pvalues = [ac.folded_p_values(ac.permuted_pooled_moran(row, w, 199, rng), x)
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
    w = small_weights(30)
    y = values(3, w.dense.shape[0])
    drawn = [ac.permuted_indices(one, w, 20, np.random.default_rng(1)) for one in (y, scale * y)]
    for one, other in (
        (ac.both_indices(y, w), ac.both_indices(scale * y, w)),
        (ac.kurtosis(y), ac.kurtosis(scale * y)),
        (ac.local_moran(y, w), ac.local_moran(scale * y, w)),
        (ac.pooled_moran(y, w), ac.pooled_moran(scale * y, w)),
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


@pytest.mark.parametrize("moved", [-3, 0, 3])
def test_neighbours_at_the_mean_are_low_however_they_are_rounded(moved: int) -> None:
    """Of a ring of 4, units 1 and 3 have 0 and 2 for neighbours, whose values cancel."""
    w = Weights.of(tuple("abcd"), np.roll(np.eye(4), 1, axis=1) + np.roll(np.eye(4), -1, axis=1))
    y = np.array([0.3, 0.9, -0.3 + moved * np.spacing(0.3), -0.9])
    assert ac.quadrants(y, w)[[1, 3]].tolist() == [4, 3]
