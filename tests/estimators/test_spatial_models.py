"""Spatial models of panels: spreg, dense programs, least squares, printed numbers, choices, effects by simulation."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from agreement import assert_agree, assert_batch_is_its_panels
from covering import covered, covering_rows
from published_panels import cigarette_panel
from refusals import refuses

from estimators import Estimates, Estimator, SpatialPanel, Status, Tile, TwoWayDID
from estimators.core.tile import TAKEN_OUT, PanelEffects
from estimators.spatial.cross_products import SpatialRegression
from estimators.spatial.fits import fit_model, simulate
from estimators.spatial.likelihood import FORMS, maximise
from estimators.spatial.spatial_panel import ModelChoice, choose_model
from estimators.spatial.spectrum import FLAT, own_information, spectrum_of
from experiments.references import pysal
from references import brute_force
from references.small_panels import bare, names, small_panel, small_weights
from sim import Panel, Roles, Streams, Weights

NEW = ("slx", "sdem", "sac")
MODELS = ("sar", "sem", "sdm", *NEW)
TRANSFORMS = ("direct", "lee-yu")


def generated(model: str, n: int = 20, t: int = 5, **options: object) -> Panel:
    """A small panel in which the model's spatial terms are at work."""
    return small_panel(n, t, model={"slx": "sdm", "sdem": "sem", "sac": "sar"}.get(model, model), **options)


@covered(model=MODELS, size=[1e-6, 1e6])
def test_the_size_of_w_is_taken_up_by_its_coefficients(model: str, size: float) -> None:
    panel = generated(model, seed=5, rho=0.4, weights="uneven")
    own = next(iter(panel.weights.values()))
    other = Weights.of(own.units, own.dense * size, name=own.name, standardize="none")
    same = Weights.of(own.units, own.dense, name=own.name, standardize="none")
    small, large = (SpatialPanel(model=model)(replace(panel, weights={own.name: one})) for one in (same, other))
    assert large.status.tolist() == [Status.OK]
    times = np.array([size if term in {"rho", "lambda"} or term.startswith("w_") else 1.0 for term in small.terms])
    np.testing.assert_allclose(large.estimate[0] * times, small.estimate[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(large.se[0, 0] * times, small.se[0, 0], rtol=1e-6)


@pytest.mark.parametrize(("height", "wanted", "converged"), [
    (lambda r: np.exp(-np.square((r - 0.1) / 0.2)) + 3 * np.exp(-np.square((r - 0.82) / 0.05)), 0.82, True),
    (lambda r: -np.square(r), 0.0, True), (lambda r: 3 * r**4 - np.square(r), 0.0, False),
    # a narrow peak near the grid's highest point, 0.8, is missed for a flat one at 0.93 that is lower than that
    (lambda r: 3 * np.exp(-np.square((r - 0.82) / 0.01)) + 0.03 * np.exp(-np.square((r - 0.93) / 0.03)), 0.82, False),
])  # fmt: skip
def test_a_higher_maximum_elsewhere_is_found_and_one_at_the_edge_is_none(
    height: Callable[[np.ndarray], np.ndarray], wanted: float, converged: bool
) -> None:
    step = 1e-5

    def slopes(r: np.ndarray, rows: object) -> tuple[np.ndarray, np.ndarray]:
        above, at, below = height(r + step), height(r), height(r - step)
        return (above - below) / (2 * step), (above - 2 * at + below) / step**2

    def heights(r: np.ndarray, rows: object) -> np.ndarray:
        return np.broadcast_to(height(r), 3) if r.size == 1 else height(r)

    found, settled = maximise(slopes, heights, 3, 1.0)
    assert settled.tolist() == [converged] * 3
    if converged:
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_maximum_far_from_zero_is_found_in_a_small_error_model() -> None:
    """lambda = -.87 is higher than the nearer maximum at -.02; heights by hand."""
    rng = np.random.default_rng(9359)
    n, t = int(rng.integers(8, 13)), int(rng.integers(2, 4))
    places = rng.random((n, 2))
    squares = np.square(places[:, None] - places).sum(axis=2)
    w = Weights.of(names(n), 1 / np.where(np.eye(n) > 0, np.inf, squares))
    d = np.outer(np.arange(t) >= t // 2, np.arange(n) % 3 == 0) * 1.0
    x = rng.standard_normal((t, n))
    y = d + x + rng.standard_normal((t, n))
    panel = bare({"y": y, "d": d, "x": x}, Roles("y", "d", ("x",)), weights={"w": w})
    found = SpatialPanel(model="sdem")(panel)
    raw = [y, d, x, d @ w.dense.T, x @ w.dense.T]

    def log_likelihood(at: float) -> float:
        filtered = [one - at * one @ w.dense.T for one in raw]
        left, *right = (one - one.mean(axis=0) - one.mean(axis=1, keepdims=True) + one.mean() for one in filtered)
        columns = np.stack([one.ravel() for one in right], axis=1)
        e = left.ravel() - columns @ np.linalg.lstsq(columns, left.ravel(), rcond=None)[0]
        size = n * t
        return float(t * np.linalg.slogdet(np.eye(n) - at * w.dense)[1]
                     - size / 2 * (np.log(2 * np.pi * np.square(e).mean()) + 1))  # fmt: skip

    assert found.statistics["loglik"][0] >= max(map(log_likelihood, np.linspace(-0.98, 0.98, 99)))
    assert found.params["lambda"] == pytest.approx(-0.87, abs=0.01)


@pytest.mark.parametrize("model", ["slx", "sdem", "sdm"])
def test_as_many_slopes_as_observations_are_refused(model: str) -> None:
    rng = np.random.default_rng(0)
    w = Weights.of(names(7), np.roll(np.eye(7), 1, axis=1) + np.roll(np.eye(7), 2, axis=1))
    values = {name: rng.standard_normal((2, 7)) for name in ("y", "x", "z")}
    values["d"] = np.outer([0.0, 1.0], np.arange(7) < 3)
    panel = bare(values, Roles("y", "d", ("x", "z")), weights={"w": w})
    refuses("6 observations beside the effects for 6 slopes", lambda: SpatialPanel(model=model)(panel))
    refuses("simulate = 1", lambda: SpatialPanel(simulate=1))
    fewer = replace(panel, roles=Roles("y", "d", ("x",)))
    assert np.isfinite(SpatialPanel(model=model)(fewer).estimate[0, 0])


@pytest.mark.parametrize("model", MODELS)
def test_an_outcome_that_regressors_explain_exactly_is_singular(model: str) -> None:
    panel = generated(model, n=15, seed=2)
    own, *others = (panel.variables[name] for name in panel.roles.regressors)
    found = SpatialPanel(model=model)(panel.with_variables({"y": own + 2.0 * others[0] + 3.0}))
    assert found.status[0] != Status.OK


def test_mode_gap_is_the_distance_to_the_next_maximum() -> None:
    """Without regressors that matter rho and lambda may be exchanged: two maxima, almost as high."""
    rng = np.random.default_rng(3)
    panel = small_panel(30, 6, seed=1)
    w = panel.weights["knn"].dense
    filters = [np.linalg.inv(np.eye(30) - value * w) for value in (0.6, -0.4)]
    y = rng.standard_normal((1, 6, 30)) @ (filters[0] @ filters[1]).T
    panel = replace(panel, roles=Roles("y", None, ("inv",))).with_variables({"y": y})
    got = SpatialPanel("sac", full_fit=True)(panel)
    grid = np.linspace(-0.9, 0.9, 46)
    surface = brute_force.profile(panel, "sac", "direct", grid)
    best, other = surface[grid > 0][:, grid < 0].max(), surface[grid < 0][:, grid > 0].max()
    assert got.statistics["loglik"][0] == pytest.approx(max(best, other), abs=0.05)
    assert got.statistics["mode_gap"][0] == pytest.approx(abs(best - other), abs=0.05)


@pytest.mark.parametrize(("seed", "n", "weights"), [(1306, 9, "inverse-distance"), (60, 8, "knn"), (304, 12, "knn")])
def test_only_maxima_inside_are_maxima(seed: int, n: int, weights: Any) -> None:
    """Of lag and error together, where the search from some signs ends at an edge; by a slow program from a grid."""
    rng, w = np.random.default_rng(seed), small_weights(n, weights, seed)
    one, other = (np.linalg.inv(np.eye(n) - value * w.dense) for value in rng.uniform(-0.95, 0.95, 2))
    x, e = rng.standard_normal((2, 4, n))
    panel = bare({"y": e @ other.T @ one.T, "x": x}, Roles("y", None, ("x",)), weights={"w": w})
    height, inside = brute_force.height_of(panel, "sac", "direct"), []
    for start in itertools.product(np.linspace(-0.9, 0.9, 5), repeat=2):
        end = scipy.optimize.minimize(lambda at: -height(*at), start, bounds=[(-0.9999, 0.9999)] * 2, tol=1e-13)
        inside += [(-end.fun, *end.x)] if np.abs(end.x).max() < 0.9998 else []
    best = max(inside)
    apart = [end for end in inside if np.abs(np.subtract(best, end)).max() > 0.02]
    assert not apart, (best, apart)
    found = SpatialPanel("sac", full_fit=True)(panel)
    assert found.status.tolist() == [Status.OK]
    got = found.statistics["loglik"][0], found.params["rho"], found.params["lambda"]
    np.testing.assert_allclose(got, best, atol=2e-3)
    assert np.isnan(found.statistics["mode_gap"][0])


def test_a_likelihood_of_one_maximum_has_no_gap() -> None:
    panel = small_panel(30, 6, seed=1, model="sar", sigma=0.01)
    assert np.isnan(SpatialPanel("sac", full_fit=True)(panel).statistics["mode_gap"]).all()


@pytest.mark.parametrize("effects", ["two-way", "unit", "period", "none"])
def test_slx_is_least_squares_on_regressors_and_their_lags(effects: PanelEffects) -> None:
    panel, taken = small_panel(30, 6, seed=4), TAKEN_OUT[effects]
    w = panel.weights["knn"]
    names = panel.roles.regressors
    lagged = {f"w_{name}": w.lag(panel.variables[name]) for name in names}
    terms = (*names, *lagged)
    errors = ("hc1", "cluster:unit", "cluster:province")
    did = TwoWayDID(regressors=terms, errors=errors, effects=taken, constant=not taken)
    wanted = did(panel.with_variables(lagged))
    got = SpatialPanel(model="slx", errors=errors, effects=effects)(panel)
    np.testing.assert_allclose(got.estimate[0, : len(terms)], wanted.estimate[0, : len(terms)], rtol=1e-10)
    np.testing.assert_allclose(got.se[0, :, : len(terms)], wanted.se[0, :, : len(terms)], rtol=1e-9)
    assert got.statistics["r2"][0] == pytest.approx(wanted.statistics["r2"][0], abs=1e-12)


@pytest.mark.parametrize("rho", [-0.3, 0.6])
def test_sdem_equals_spreg_with_lagged_regressors(rho: float) -> None:
    panel = small_panel(30, 6, seed=2, rho=rho, model="sem")
    lagged = {f"w_{name}": panel.weights["knn"].lag(panel.variables[name]) for name in panel.roles.regressors}
    terms = (*panel.roles.regressors, *lagged)
    theirs = pysal.spatial_panel(panel.with_variables(lagged), "sem", regressors=terms)
    got = SpatialPanel("sdem")(panel)
    np.testing.assert_allclose(theirs.ours(got), theirs.estimate, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(theirs.our_se(got, "information"), theirs.se["information"], rtol=1e-6)
    assert got.statistics["loglik"][0] == pytest.approx(theirs.statistics["loglik"], rel=1e-9)


def lagrange(lag_p: float, error_p: float, lag: float, error: float, robust: tuple[float, float]) -> dict[str, float]:
    return {"lm_lag_p": lag_p, "lm_err_p": error_p, "lm_lag": lag, "lm_err": error,
            "rlm_lag": robust[0], "rlm_err": robust[1]}  # fmt: skip


NO = (np.nan, np.nan)  # robust statistics where WXb lies in the space of X
BOTH = {"sar": 0.05, "sem": 0.05}  # p values of 5% keep a model
LAG, ERROR = {"sar": 0.05, "sem": 0.049}, {"sar": 0.049, "sem": 0.05}


@pytest.mark.parametrize(("pvalues", "tests", "kept", "pointed", "chosen"), [
    (BOTH, lagrange(0.05, 0.3, 3.8, 1.1, (2.0, 1.0)), ("sar", "sem"), None, None),
    (BOTH, lagrange(0.04, 0.3, 4.2, 1.1, (2.0, 1.0)), ("sar", "sem"), "sar", "sar"),
    (BOTH, lagrange(0.3, 0.04, 1.1, 4.2, (2.0, 1.0)), ("sar", "sem"), "sar", "sar"),
    (BOTH, lagrange(0.01, 0.04, 6.6, 4.2, (0.4, 0.5)), ("sar", "sem"), "sem", "sem"),
    (BOTH, lagrange(0.01, 0.04, 6.6, 4.2, NO), ("sar", "sem"), "sar", "sar"),
    (LAG, lagrange(0.01, 0.04, 6.6, 4.2, NO), ("sar",), "sar", "sar"),
    (ERROR, lagrange(0.3, 0.04, 1.1, 4.2, NO), ("sem",), "sem", "sem"),
    (ERROR, lagrange(0.01, 0.04, 6.6, 4.2, NO), ("sem",), "sar", "sdm"),
    ({"sar": 0.049, "sem": 0.049}, lagrange(0.01, 0.04, 6.6, 4.2, (0.1, 9.0)), (), "sem", "sdm"),
    (ERROR, lagrange(0.4, 0.3, 0.7, 1.1, (0.1, 0.1)), ("sem",), None, "sdm"),
    ({"sem": 0.01}, lagrange(0.003, 0.03, 9.0, 4.5, (5.0, 0.5)), (), "sar", "sdm"),  # one without a p value is rejected
    ({"sar": 0.5}, lagrange(0.2, 0.3, 9.0, 4.5, (5.0, 0.5)), ("sar",), None, "sdm"),
])  # fmt: skip
def test_tests_choose_the_model_that_is_kept_and_pointed_to(
    pvalues: dict[str, float], tests: dict[str, float], kept: tuple[str, ...], pointed: str | None, chosen: str | None
) -> None:
    """LM tests point somewhere once one of the simple ones is below 5%."""
    assert choose_model(pvalues, tests) == ModelChoice(kept, pointed, chosen)


@covered(transform=TRANSFORMS, model=MODELS)
def test_information_criteria_count_slopes_spatial_parameters_and_sigma2(model: str, transform: str) -> None:
    panel = generated(model, seed=2)
    got = SpatialPanel(model=model, transform=transform, full_fit=True)(panel).statistics
    k = {"sar": 5, "sem": 5, "sdm": 8, "slx": 7, "sdem": 8, "sac": 6}[model]
    n = 100 if transform == "direct" else 19 * 4
    assert got["aic"][0] == pytest.approx(2 * k - 2 * got["loglik"][0], rel=1e-13)
    assert got["bic"][0] == pytest.approx(k * np.log(n) - 2 * got["loglik"][0], rel=1e-13)


def test_cigarettes_wald_tests_of_lee_yu(shared_data: Path) -> None:
    got = SpatialPanel(transform="lee-yu", full_fit=True)(cigarette_panel(shared_data)).statistics
    assert got["wald_sar"][0] == pytest.approx(17.6332, abs=1e-4)
    assert got["wald_sem"][0] == pytest.approx(7.4376, abs=1e-4)
    assert got["wald_sar_p"][0] == pytest.approx(np.exp(-17.6332 / 2), rel=1e-4)  # chi-square with 2 df
    assert got["wald_sem_p"][0] == pytest.approx(np.exp(-7.4376 / 2), rel=1e-4)


@pytest.mark.parametrize("model", NEW)
def test_lee_yu_refuses_weights_whose_rows_do_not_sum_to_one(model: str) -> None:
    panel = small_panel(24, 7, weights="spectral")
    refuses("row-stochastic", lambda: SpatialPanel(model=model, transform="lee-yu")(panel))


def thirds(replications: int = 1, others: tuple[int, ...] = (1, 2, 3)) -> Panel:
    """Twelve units in a ring, every third treated: each has one treated unit among the next three, up to rounding."""
    rng, n, t = np.random.default_rng(0), 12, 8
    ring = Weights.of(names(n), sum(np.roll(np.eye(n), gap, axis=1) for gap in others))
    did = np.outer(np.arange(t) >= t // 2, np.arange(n) % 3 == 0)
    values = {"y": rng.standard_normal((replications, t, n)), "did": did, "x": rng.standard_normal((1, t, n))}
    return bare(values, Roles("y", "did", ("x",)), weights={"w": ring})


@pytest.mark.parametrize("model", ["sdm", "slx", "sdem"])
@pytest.mark.usefixtures("rounding")
def test_a_lag_of_the_treatment_that_effects_absorb_is_bad_input(model: str) -> None:
    refuses("the spatial lag of 'did' is absorbed by the unit and time effects", lambda: SpatialPanel(model)(thirds()))
    everyone = thirds(others=tuple(range(1, 12)))
    refuses("the spatial lag of 'did' is collinear with did, x and the effects.*; choose other weights",
            lambda: SpatialPanel(model)(everyone))  # fmt: skip


@pytest.mark.parametrize("model", ["sar", "sem", "sac"])
@pytest.mark.usefixtures("rounding")
def test_models_without_lags_of_regressors_do_not_mind(model: str) -> None:
    assert SpatialPanel(model)(thirds()).status[0] != Status.SINGULAR


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.usefixtures("rounding")
def test_a_draw_that_effects_absorb_is_singular(model: str) -> None:
    """Rounding is no variation: of the redrawn variable itself, and where its lag is a regressor of that too."""
    panel = thirds(3)
    did = np.repeat(panel.variables["did"], 3, axis=0)
    did[0, 4:, 0], did[2, 4:, 1] = 0.0, 1.0
    got = SpatialPanel(model)(panel.with_variables({"did": did}))
    durbin = model in {"sdm", "slx", "sdem"}
    assert (got.status == Status.SINGULAR).tolist() == [False, durbin, False]
    x = np.random.default_rng(1).standard_normal((3, 8, 12))
    x[1] = x[1, :1] + x[1, :, :1]
    did = did.copy()  # a panel's arrays are read-only
    did[1] = did[0]
    got = SpatialPanel(model)(panel.with_variables({"did": did, "x": x}))
    assert (got.status == Status.SINGULAR).tolist() == [False, True, False]
    assert np.isnan(got.estimate[1, :2]).all()


WITH_PARAMETERS = ("sar", "sem", "sdm", "sdem", "sac")


def nearly_uniform(n: int, distance: float, seed: int = 0) -> Weights:
    """Row-stochastic, every entry within `distance` of 1/(N - 1), relatively."""
    noise = np.random.default_rng(seed).uniform(-1, 1, (n, n))
    raw = 1.0 + distance * noise
    np.fill_diagonal(raw, 0.0)
    return Weights.of(tuple(f"u{i:03d}" for i in range(n)), raw)


def inverse_distance(n: int, seed: int = 0) -> Weights:
    places = np.random.default_rng(seed).random((n, 2))
    apart = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    return Weights.of(tuple(f"u{i:03d}" for i in range(n)), 1 / apart)


def on(weights: Weights) -> Panel:
    rng = np.random.default_rng(1)
    n, t = len(weights.units), 8
    x = rng.standard_normal((1, t, n))
    variables = {"x": x, "y": x + rng.standard_normal((1, t, n))}
    return Panel(weights.units, tuple(range(t)), variables, Roles("y", None, ("x",)), weights={"w": weights})


@covered(model=WITH_PARAMETERS, distance=[0.0, 1e-8, 1e-4])
def test_uniform_weights_are_refused_under_lee_yu(model: str, distance: float) -> None:
    panel = on(nearly_uniform(30, distance))
    refuses("links all units equally|collinear", lambda: SpatialPanel(model, "lee-yu")(panel))


@covered(model=["sar", "sem"], distance=[0.0, 1e-8, 1e-4])
def test_the_direct_likelihood_rises_to_its_edge_there(model: str, distance: float) -> None:
    got = SpatialPanel(model, "direct")(on(nearly_uniform(30, distance)))
    assert got.status[0] == Status.NOT_CONVERGED


@pytest.mark.parametrize(("model", "n"), [*((model, 30) for model in WITH_PARAMETERS), ("sdm", 285)])
def test_ordinary_dense_weights_work(model: str, n: int) -> None:
    got = SpatialPanel(model, "lee-yu")(on(inverse_distance(n)))
    assert got.status[0] == Status.OK
    spatial = [got.terms.index(name) for name in ("rho", "lambda") if name in got.terms]
    assert (got.se[0, 0, spatial] < 1).all()
    slx = SpatialPanel("slx", "lee-yu")(on(nearly_uniform(n, 0.05)))  # needs no information about rho
    assert slx.status[0] == Status.OK


@pytest.mark.parametrize("n", [12, 30, 285])
def test_share_of_information_is_that_of_the_information_matrix(n: int) -> None:
    """Rho's information net of sigma2's, over rho's, both from H = Q_N W."""
    for weights in (inverse_distance(n), nearly_uniform(n, 0.5)):
        h = weights.dense - weights.dense.mean(axis=0)
        own = np.trace(h @ h) + np.trace(h.T @ h)
        net = own - 2 * np.trace(h) ** 2 / (n - 1)  # I_rs^2 / I_ss = (T tr H / s2)^2 2 s2^2 / (T (N - 1)), over T
        share = own_information(weights)
        assert share == pytest.approx(net / own, rel=1e-9)
        assert share > 100 * FLAT
    assert own_information(nearly_uniform(n, 1e-4)) < FLAT / 100


DRAWS = 4000


def errors_of(got: Estimates, kind: str) -> np.ndarray:
    return got.se[0, got.errors.index(kind)]


@pytest.mark.parametrize(("model", "transform"), [*((model, "direct") for model in MODELS), ("sdm", "lee-yu")])
def test_parameters_have_the_errors_that_they_are_drawn_with(model: str, transform: str) -> None:
    panel = small_panel(60, 8, seed=3, rho=0.2)
    got = SpatialPanel(model=model, transform=transform, simulate=DRAWS)(panel, Streams(3))
    assert got.errors == ("information", "simulation")
    last = got.terms.index("sigma2") + 1
    ratio = errors_of(got, "simulation") / errors_of(got, "information")
    np.testing.assert_allclose(ratio[:last], 1.0, atol=5 / np.sqrt(2 * DRAWS))
    assert np.abs(ratio - 1.0).max() < (0.35 if model == "sac" else 0.1)
    assert (got.lower[0, 1] < got.estimate[0]).all()
    assert (got.estimate[0] < got.upper[0, 1]).all()
    assert np.isnan(got.lower[0, 0]).all()
    assert got.statistics["rejected_draws"][0] == 0


def test_effects_are_those_of_each_draw_from_dense_matrices() -> None:
    panel = small_panel(20, 6, seed=4)
    estimator = SpatialPanel("sdm", simulate=50)
    got, streams = estimator(panel, Streams(9)), Streams(9)
    whole = SpatialPanel("sdm", errors=("hessian", "information"))(panel)
    np.testing.assert_array_equal(got.estimate, whole.estimate)
    reduction = estimator.reduction(panel.schema)
    plan = reduction.prepare(panel)
    moments = reduction.reduce(plan, Tile(panel))
    fit = fit_model(SpatialRegression(estimator.form, estimator.transform, plan, moments))
    normals = streams.fixed("simulated effects").standard_normal((50, 8))
    scale = np.sqrt(np.diag(fit.covariance()[0]))
    values, vectors = np.linalg.eigh(fit.covariance()[0] / np.outer(scale, scale))
    draws = fit.parameters[0] + normals @ (scale[:, None] * vectors * np.sqrt(values)).T
    w = panel.weights["knn"].dense
    totals = []
    for draw in draws:
        effect = np.linalg.solve(np.eye(20) - draw[6] * w, draw[0] * np.eye(20) + draw[3] * w)
        totals.append((np.trace(effect) / 20, effect.sum() / 20 - np.trace(effect) / 20, effect.sum() / 20))
    at = [got.terms.index(f"{kind}:did") for kind in ("direct", "indirect", "total")]
    np.testing.assert_allclose(errors_of(got, "simulation")[at], np.std(totals, axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(got.lower[0, 1, at], np.quantile(totals, 0.025, axis=0), rtol=1e-9)
    np.testing.assert_allclose(got.upper[0, 1, at], np.quantile(totals, 0.975, axis=0), rtol=1e-9)


def test_draws_beyond_the_interval_of_a_w_of_another_radius_are_rejected() -> None:
    """A ring as it is has the radius 2: of draws of rho from -1 to 1 those between -.5 and .5 are kept."""
    ring = Weights.of(names(12), np.abs(np.subtract.outer(np.arange(12), np.arange(12))) % 10 == 1, "none")
    draws = np.column_stack([np.zeros(41), np.linspace(-1, 1, 41), np.zeros(41)])
    se, _, _, rejected = simulate(np.zeros((1, 3)), np.eye(3)[None], draws, FORMS["sar"], spectrum_of(ring))
    assert (ring.radius, rejected[0]) == (pytest.approx(2.0), 41 - np.sum(np.abs(draws[:, 1]) < 0.5))
    assert np.isfinite(se).all()


def test_simulation_takes_the_covariance_of_the_first_error_type() -> None:
    panel = small_panel(40, 8, seed=3)
    for errors in (("hessian", "information"), ("cluster:unit", "information"), ("information", "cluster:unit")):
        got = SpatialPanel("sdm", errors=errors, simulate=DRAWS)(panel, Streams(3))
        ratio = errors_of(got, "simulation") / errors_of(got, errors[0])
        np.testing.assert_allclose(ratio[: got.terms.index("sigma2")], 1.0, atol=5 / np.sqrt(2 * DRAWS))


CLASSIC = ("sar", "sem", "sdm")
SPREG = covering_rows({"model": CLASSIC, "weights": ["knn", "inverse-distance", "contiguity"], "rho": [-0.3, 0.0, 0.6]})
SPREG += [{"model": model, "weights": "spectral"} for model in ("sar", "sdm")]


@pytest.mark.parametrize("case", SPREG, ids=lambda case: "-".join(map(str, case.values())))
def test_spatial_panel_equals_spreg(case: dict[str, Any]) -> None:
    """Where W is not row-stochastic time effects pass through G, which the information matrix has to know."""
    panel = small_panel(30, 6, seed=2, **case)
    ours, theirs = SpatialPanel(model=case["model"])(panel), pysal.spatial_panel(panel, case["model"])
    np.testing.assert_allclose(theirs.ours(ours), theirs.estimate, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(theirs.our_se(ours, "information"), theirs.se["information"], rtol=1e-6)
    assert ours.statistics["loglik"][0] == pytest.approx(theirs.statistics["loglik"], rel=1e-9)


COEFFICIENTS = {  # rho or lambda, ln price, ln income, their spatial lags, sigma2, log-likelihood
    ("sdm", "direct"): (0.229200, -1.00245, 0.60065, 0.05646, -0.29500, 0.004975, 1691.5383),
    ("sdm", "lee-yu"): (0.271178, -0.99974, 0.59923, 0.10709, -0.30897, 0.005237, 1571.2485),
    ("sar", "direct"): (0.191177, -0.99387, 0.46196, 0.005055, 1683.5865),
    ("sar", "lee-yu"): (0.221025, -0.98747, 0.45156, 0.005332, 1562.1541),
    ("sem", "direct"): (0.240668, -1.00411, 0.55389, 0.0049993, 1687.2182),
    ("sem", "lee-yu"): (0.282759, -0.99935, 0.55800, 0.0052607, 1567.5887),
}
T_OF_RHO = {  # information matrix with demeaned GZb
    ("sdm", "direct"): 6.9804, ("sdm", "lee-yu"): 7.8361, ("sar", "direct"): 6.6783, ("sar", "lee-yu"): 7.369,
    ("sem", "direct"): 7.369, ("sem", "lee-yu"): 8.215,
}  # fmt: skip
IMPACTS = {  # direct, indirect, total of price, then of income
    "direct": (-1.0133, -0.2140, -1.2273, 0.5908, -0.1943, 0.3965),
    "lee-yu": (-1.0122, -0.2126, -1.2248, 0.5881, -0.1899, 0.3983),
}
EFFECT_ERRORS = {
    "direct": (0.03999, 0.08850, 0.09870, 0.05514, 0.08515, 0.07880),
    "lee-yu": (0.04122, 0.09521, 0.10711, 0.05636, 0.09019, 0.08551),
}


def whole_fit(panel: Panel, model: str, transform: str) -> Estimates:
    return SpatialPanel(model=model, transform=transform, full_fit=True)(panel)


@pytest.fixture(scope="module")
def cigarettes(shared_data: Path) -> Panel:
    return cigarette_panel(shared_data)


@pytest.mark.parametrize(("model", "transform"), COEFFICIENTS)
def test_cigarettes_coefficients(cigarettes: Panel, model: str, transform: str) -> None:
    got = whole_fit(cigarettes, model, transform)
    spatial = "lambda" if model == "sem" else "rho"
    slopes = ("logp", "logy", *(("w_logp", "w_logy") if model == "sdm" else ()))
    values = [got.params[name] for name in (spatial, *slopes)]
    *expected, sigma2, loglik = COEFFICIENTS[model, transform]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5)
    assert got.params["sigma2"] == pytest.approx(sigma2, abs=1e-6)
    assert got.statistics["loglik"][0] == pytest.approx(loglik, abs=1e-4)
    assert got.params[spatial] / got.std_errors[spatial] == pytest.approx(T_OF_RHO[model, transform], abs=6e-4)


@pytest.mark.parametrize("transform", ["direct", "lee-yu"])
def test_cigarettes_effects_and_their_errors(cigarettes: Panel, transform: str) -> None:
    got = whole_fit(cigarettes, "sdm", transform)
    names = [f"{kind}:{name}" for name in ("logp", "logy") for kind in ("direct", "indirect", "total")]
    np.testing.assert_allclose([got.params[name] for name in names], IMPACTS[transform], rtol=0, atol=6e-5)
    np.testing.assert_allclose([got.std_errors[name] for name in names], EFFECT_ERRORS[transform], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("transform", "expected"), [("direct", (15.9035, 8.6402)), ("lee-yu", (18.1887, 7.3195))])
def test_cigarettes_likelihood_ratios(cigarettes: Panel, transform: str, expected: tuple[float, float]) -> None:
    loglik = {model: whole_fit(cigarettes, model, transform).statistics["loglik"][0] for model in ("sdm", "sar", "sem")}
    ratios = [2 * (loglik["sdm"] - loglik[smaller]) for smaller in ("sar", "sem")]
    np.testing.assert_allclose(ratios, expected, rtol=0, atol=1e-4)


def test_cigarettes_goodness_of_fit(cigarettes: Panel) -> None:
    statistics = whole_fit(cigarettes, "sdm", "direct").statistics
    got = [statistics[name][0] for name in ("r2", "r2_corr", "r2_within")]
    np.testing.assert_allclose(got, [0.90130, 0.40006, 0.42804], rtol=0, atol=1e-5)


@covered(transform=TRANSFORMS, model=CLASSIC, weights=["knn", "inverse-distance", "contiguity"],
         rho=[-0.6, 0.0, 0.4, 0.8])  # fmt: skip
def test_spatial_panel_equals_its_twin(model: str, transform: str, weights: str, rho: float) -> None:
    panel = small_panel(30, 6, seed=3, weights=weights, rho=rho, model=model)
    ours = SpatialPanel(model=model, transform=transform)(panel)
    twin = brute_force.spatial_panel(panel, model, transform)
    assert (ours.status.tolist(), set(twin.terms)) == ([Status.OK], set(ours.terms))
    np.testing.assert_allclose(twin.ours(ours), twin.estimate, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(twin.our_se(ours, "information"), twin.se["information"], rtol=1e-8)
    assert ours.statistics["loglik"][0] == pytest.approx(twin.statistics["loglik"], rel=1e-11)


@pytest.mark.parametrize(("model", "transform"), [*itertools.product(CLASSIC, ("direct", "lee-yu")), ("sac", "direct")])
def test_the_search_finds_the_global_maximum(model: str, transform: str) -> None:
    sac = model == "sac"
    for seed in range(0, 12, 2) if sac else range(CLASSIC.index(model), 10, 3):
        panel = small_panel(15, 4, seed=100 + seed, rho=-0.8 + 0.19 * seed, model="sar" if sac else model, sigma=2.0)
        ours = SpatialPanel(model=model, transform=transform)(panel)
        grid = np.linspace(-0.98, 0.98, 15) if sac else np.linspace(-0.995, 0.995, 399)
        best = brute_force.profile(panel, model, transform, grid).max()
        if ours.status[0] == Status.OK:
            assert ours.statistics["loglik"][0] >= best - 1e-9


def squared_correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1] ** 2)


@covered(weights=["knn", "uneven"], model=CLASSIC, effects=["two-way", "unit"])
def test_goodness_of_fit_is_that_of_predictions_unit_by_unit(model: str, weights: str, effects: PanelEffects) -> None:
    panel = small_panel(30, 6, seed=8, weights=weights, model=model, rho=0.5)
    got = SpatialPanel(model=model, full_fit=True, effects=effects)(panel)
    value = dict(zip(got.terms, got.estimate[0], strict=True))
    w, y = panel.weights[weights].dense, panel.variables["y"][0]
    x = {name: panel.variables[name][0] for name in panel.roles.regressors}
    lagged = {name: value.get(f"w_{name}", 0.0) for name in x}
    signal = sum(value[name] * v + lagged[name] * v @ w.T for name, v in x.items())
    rho = value.get("rho", 0.0)
    s = np.linalg.inv(np.eye(30) - rho * w)
    predictions = {"reduced": signal @ s.T, "naive": signal + rho * y @ w.T}
    y_within, within = (one - one.mean(axis=0) for one in (y, signal))
    if effects == "two-way":
        y_within, within = (one - one.mean(axis=1, keepdims=True) for one in (y_within, within))
    wanted = {"r2_corr": squared_correlation(y_within, within @ s.T)}
    for name, prediction in predictions.items():
        by_unit = (y - y.mean(axis=0), prediction - prediction.mean(axis=0))
        wanted[f"r2_{name}_within"] = squared_correlation(*by_unit)
        wanted[f"r2_{name}_between"] = squared_correlation(y.mean(axis=0), prediction.mean(axis=0))
        wanted[f"r2_{name}_overall"] = squared_correlation(y, prediction)
    assert {name: got.statistics[name][0] for name in wanted} == pytest.approx(wanted, rel=1e-9)


ESTIMATORS: dict[str, Estimator] = {
    "did": TwoWayDID(errors=("iid", "hc1", "cluster:unit", "cluster:province")),
    **{f"{model}-{how}": SpatialPanel(model, how) for model in CLASSIC for how in ("direct", "lee-yu")},
}


@pytest.fixture(params=ESTIMATORS)
def estimator(request: pytest.FixtureRequest) -> Estimator:
    return ESTIMATORS[request.param]


@pytest.mark.parametrize("redrawn", [False, True])
def test_order_of_periods_does_not_matter(estimator: Estimator, redrawn: bool) -> None:
    panel = small_panel(24, 7, seed=6, replications=5, redrawn=redrawn)
    order = np.random.default_rng(2).permutation(7)
    moved = panel.with_variables({name: values[:, order] for name, values in panel.variables.items()})
    assert_agree(estimator(moved), estimator(panel))


@pytest.mark.parametrize("fixed", [("y", "inv", "road"), ("y", "did", "inv", "road")], ids=["a placebo", "all"])
def test_one_outcome_of_several_replications_is_a_batch(estimator: Estimator, fixed: tuple[str, ...]) -> None:
    """Under a redrawn treatment, and where only a variable that nobody asks for is redrawn."""
    panel = small_panel(24, 7, seed=6, replications=5, redrawn=True)
    panel = panel.with_variables({"other": panel.variables["y"], **{name: panel.variables[name][:1] for name in fixed}})
    together = assert_batch_is_its_panels(estimator, panel, atol=1e-10)
    assert {len(values) for values in (together.estimate, *together.statistics.values())} == {5}


def test_masks_that_differ_between_replications_are_refused() -> None:
    panel = small_panel(24, 7, seed=6, replications=2)
    observed = np.ones((2, 7, 24), dtype=bool)
    observed[1, 3, 3] = False
    refuses("differ in which unit-periods", lambda: TwoWayDID()(replace(panel, observed=observed)))
