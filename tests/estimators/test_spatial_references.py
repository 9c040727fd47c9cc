"""SAR, SEM and SDM against spreg (`direct`, information errors with demeaned GZb)."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import SpatialPanel
from experiments.references import pysal as spreg_reference
from references.small_panels import small_panel
from sim import Panel, Streams, Wanted
from sim.presets import Paper

MODELS = ("sar", "sem", "sdm")


def assert_agrees(panel: Panel, model: str) -> None:
    ours, theirs = SpatialPanel(model=model)(panel), spreg_reference.twoway_spatial(panel, model)
    np.testing.assert_allclose(theirs.ours(ours), theirs.estimate, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(theirs.our_se(ours, "information"), theirs.se["information"], rtol=1e-6)
    assert ours.statistics["loglik"][0] == pytest.approx(theirs.statistics["loglik"], rel=1e-9)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("weights", ["knn", "inverse-distance", "contiguity"])
@pytest.mark.parametrize("rho", [-0.3, 0.0, 0.6])
def test_spatial_panel_equals_spreg(model: str, weights: str, rho: float) -> None:
    assert_agrees(small_panel(30, 6, seed=2, weights=weights, rho=rho, model=model), model)


@pytest.mark.parametrize("model", ["sar", "sdm"])
def test_lag_models_equal_spreg_when_w_is_not_row_stochastic(model: str) -> None:
    """Time effects then pass through G, which the information matrix has to know."""
    assert_agrees(small_panel(30, 6, seed=2, weights="spectral", model=model), model)


@pytest.mark.parametrize("model", MODELS)
def test_spatial_panel_equals_spreg_on_285_cities(model: str) -> None:
    design, streams = Paper(spillover="paper"), Streams(11, "reference")
    assert_agrees(design.settle(streams).draw(streams, Wanted(frozenset(design.schema.variables), ())).panel, model)
