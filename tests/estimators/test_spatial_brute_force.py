"""SAR, SEM and SDM against a slow program: dummies or Lee and Yu's transformed data, dense matrices, a root search."""

from __future__ import annotations

import numpy as np
import pytest
from references import brute_force
from references.small_panels import small_panel

from estimators import SpatialPanel, Status
from sim import Panel

MODELS = ("sar", "sem", "sdm")
RHOS = (-0.6, 0.0, 0.4, 0.8)


def agrees(panel: Panel, model: str, transform: str) -> None:
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
    agrees(small_panel(30, 6, seed=3, weights=weights, rho=rho, model=model), model, transform)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("rho", RHOS)
def test_direct_equals_its_twin_when_w_is_not_row_stochastic(model: str, rho: float) -> None:
    agrees(small_panel(30, 6, seed=3, weights="spectral", rho=rho, model=model), model, "direct")


@pytest.mark.parametrize("weights", ["knn", "spectral"])
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
