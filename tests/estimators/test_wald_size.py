"""Wald tests of the SDM under clustered errors keep their size: the statistic is compared with Hotelling's law."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import SpatialPanel, Status, TwoWayDID
from estimators.spatial.spatial_panel import wald_names
from experiments.tables.spatial_models import conclusion
from references.small_panels import small_panel, small_weights
from results.diagnosis.measures import RunningMoments, empirical_se
from sim import Panel, Roles

UNITS, PERIODS, PANELS = 40, 18, 300


def panels(slopes: int, groups: int) -> Panel:
    """A true spatial lag model with rho = .3: no regressor has a spatial lag."""
    rng = np.random.default_rng(1)
    weights = small_weights(UNITS, "knn")
    names = tuple(f"x{j}" for j in range(slopes))
    values = {name: rng.standard_normal((1, PERIODS, UNITS)) for name in names}
    u = 0.5 * sum(values.values()) + rng.standard_normal((PANELS, PERIODS, UNITS))
    y = np.einsum("ij,rtj->rti", np.linalg.inv(np.eye(UNITS) - 0.3 * weights.dense), u)
    codes = np.array([f"c{i * groups // UNITS}" for i in range(UNITS)])
    roles = Roles(outcome="y", treatment=names[0], controls=names[1:])
    return Panel(weights.units, tuple(range(PERIODS)), values | {"y": y}, roles, {"g": codes}, None, {"w": weights})


@pytest.mark.parametrize(("slopes", "groups"), [(2, 4), (2, 10), (5, 10)])
def test_a_true_lag_model_is_rejected_as_often_as_it_should_be(slopes: int, groups: int) -> None:
    """By chi-square the rates were .38, .14 and .49."""
    found = SpatialPanel("sdm", "lee-yu", errors=("information", "cluster:g"), full_fit=True)(panels(slopes, groups))
    rate = float(np.mean(found.statistics[f"{wald_names('cluster:g')['sar']}_p"] <= 0.05))
    assert 0.02 < rate < 0.05 + 4 * np.sqrt(0.05 * 0.95 / PANELS)


def test_fewer_clusters_than_restrictions_test_nothing_and_choose_nothing() -> None:
    found = SpatialPanel("sdm", "lee-yu", errors=("information", "cluster:g"), full_fit=True)(panels(5, 4))
    names = wald_names("cluster:g")
    assert all(np.isnan(found.statistics[f"{name}{end}"]).all() for name in names.values() for end in ("", "_p"))
    nothing = {f"{name}{end}": float("nan") for name in names.values() for end in ("", "_p")}
    lagrange = {"lm_lag": 0.1, "lm_lag_p": 0.7, "lm_err": 0.2, "lm_err_p": 0.6}
    said = conclusion(nothing, lagrange, names, "Wald tests with g")
    assert said == "Wald tests with g choose no model: a restriction has no test under these standard errors."


@pytest.mark.parametrize("level", [0.0, 1e6, 1e9])
def test_the_level_of_a_redrawn_treatment_does_not_matter(level: float) -> None:
    panel = small_panel(20, 6, seed=3)
    dose = np.random.default_rng(2).standard_normal((5, 6, 20))
    redrawn = panel.with_variables({"did": level + dose})
    kernel = TwoWayDID(errors=("iid", "cluster:unit"), terms=("did",))(redrawn)
    whole = TwoWayDID(errors=("iid", "cluster:unit"))(redrawn)
    assert (kernel.status == Status.OK).all()
    np.testing.assert_allclose(kernel.estimate[:, 0], whole.estimate[:, 0], rtol=1e-5)
    np.testing.assert_allclose(kernel.se[:, :, 0], whole.se[:, :, 0], rtol=1e-5)


def test_two_fits_have_no_error_of_their_spread() -> None:
    moments = RunningMoments((1,), 4)
    moments.add(np.array([[0.0], [3.0]]), np.ones((2, 1), dtype=bool))
    assert np.isnan(empirical_se(moments).mcse).all()
