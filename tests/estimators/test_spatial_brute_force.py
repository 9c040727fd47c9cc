"""SAR, SEM and SDM against a slow program: dummies or Lee and Yu's transformed data, dense matrices, a root search."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import SpatialPanel, Status
from references import brute_force
from references.small_panels import small_panel
from sim import Panel

MODELS = ("sar", "sem", "sdm")
RHOS = (-0.6, 0.0, 0.4, 0.8)


def assert_agrees(panel: Panel, model: str, transform: str) -> None:
    ours = SpatialPanel(model=model, transform=transform)(panel)
    twin = brute_force.twoway_spatial(panel, model, transform)
    assert ours.status.tolist() == [Status.OK]
    assert set(twin.terms) == set(ours.terms)
    np.testing.assert_allclose(twin.ours(ours), twin.estimate, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(twin.our_se(ours, "information"), twin.se["information"], rtol=1e-8)
    assert ours.statistics["loglik"][0] == pytest.approx(twin.statistics["loglik"], rel=1e-11)


@pytest.mark.parametrize("transform", ["direct", "lee-yu"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("weights", ["knn", "inverse-distance", "contiguity"])
@pytest.mark.parametrize("rho", RHOS)
def test_spatial_panel_equals_its_twin(model: str, transform: str, weights: str, rho: float) -> None:
    assert_agrees(small_panel(30, 6, seed=3, weights=weights, rho=rho, model=model), model, transform)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("weights", ["spectral", "uneven"])
@pytest.mark.parametrize("rho", RHOS)
def test_direct_equals_its_twin_when_w_is_not_row_stochastic(model: str, weights: str, rho: float) -> None:
    assert_agrees(small_panel(30, 6, seed=3, weights=weights, rho=rho, model=model), model, "direct")


@pytest.mark.parametrize("weights", ["knn", "uneven"])
@pytest.mark.parametrize("model", MODELS)
def test_redrawn_regressors_equal_the_twin_panel_by_panel(model: str, weights: str) -> None:
    """The other path of the information matrix: regressors of each replication."""
    batch = small_panel(30, 6, seed=9, weights=weights, replications=4, redrawn=True, model=model, rho=0.5)
    ours = SpatialPanel(model=model)(batch)
    for row in range(4):
        twin = brute_force.twoway_spatial(batch.replication(row), model, "direct")
        mine = ours.take(np.array([row]))
        np.testing.assert_allclose(twin.ours(mine), twin.estimate, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(twin.our_se(mine, "information"), twin.se["information"], rtol=1e-8)


@pytest.mark.parametrize("transform", ["direct", "lee-yu"])
@pytest.mark.parametrize("model", MODELS)
def test_the_search_finds_the_global_maximum(model: str, transform: str) -> None:
    """Ten hard panels: few cities, few years, spatial coefficients from -.8 to .9."""
    for seed in range(10):
        panel = small_panel(15, 4, seed=100 + seed, rho=-0.8 + 0.19 * seed, model=model, sigma=2.0)
        ours = SpatialPanel(model=model, transform=transform)(panel)
        best = brute_force.profile(panel, model, transform, np.linspace(-0.995, 0.995, 399)).max()
        if ours.status[0] == Status.OK:
            assert ours.statistics["loglik"][0] >= best - 1e-9


def squared_correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1] ** 2)


def within(values: np.ndarray) -> np.ndarray:
    return values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("weights", ["knn", "uneven"])
def test_goodness_of_fit_is_that_of_predictions_unit_by_unit(model: str, weights: str) -> None:
    panel = small_panel(30, 6, seed=8, weights=weights, model=model, rho=0.5)
    got = SpatialPanel(model=model, full_fit=True)(panel)
    value = dict(zip(got.terms, got.estimate[0], strict=True))
    w, y = panel.weights[weights].dense, panel.variables["y"][0]
    x = {name: panel.variables[name][0] for name in panel.roles.regressors}
    lagged = {name: value.get(f"w_{name}", 0.0) for name in x}
    signal = sum(value[name] * v + lagged[name] * v @ w.T for name, v in x.items())
    rho = value.get("rho", 0.0)
    s = np.linalg.inv(np.eye(30) - rho * w)
    predictions = {"reduced": signal @ s.T, "naive": signal + rho * y @ w.T}
    wanted = {"r2_corr": squared_correlation(within(y), within(signal) @ s.T)}
    for name, prediction in predictions.items():
        by_unit = (y - y.mean(axis=0), prediction - prediction.mean(axis=0))
        wanted[f"r2_{name}_within"] = squared_correlation(*by_unit)
        wanted[f"r2_{name}_between"] = squared_correlation(y.mean(axis=0), prediction.mean(axis=0))
        wanted[f"r2_{name}_overall"] = squared_correlation(y, prediction)
    assert {name: got.statistics[name][0] for name in wanted} == pytest.approx(wanted, rel=1e-9)
