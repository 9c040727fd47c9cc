"""Two-way DID against linearmodels, pyfixest and a regression with dummies."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import TwoWayDID
from experiments.references import linearmodels as linearmodels_reference
from references import brute_force, pyfixest_reference
from references.small_panels import small_panel
from sim import Panel, Streams, Wanted
from sim.presets import Paper

ERRORS = ("iid", "hc1", "cluster:unit", "cluster:province")


def panels() -> dict[str, Panel]:
    return {
        "balanced": small_panel(40, 8, seed=5),
        "unbalanced": small_panel(40, 8, seed=5, missing=23),
        "paper": paper_panel(),
    }


def paper_panel() -> Panel:
    design, streams = Paper(spillover="paper"), Streams(11, "reference")
    return design.settle(streams).draw(streams, Wanted(frozenset(design.schema.variables), ())).panel


@pytest.fixture(scope="module", params=["balanced", "unbalanced", "paper"])
def panel(request: pytest.FixtureRequest) -> Panel:
    return panels()[request.param]


@pytest.mark.parametrize("cluster_k", ["slopes", "all"])
def test_did_equals_linearmodels(panel: Panel, cluster_k: str) -> None:
    ours = TwoWayDID(errors=ERRORS, cluster_k=cluster_k)(panel)
    theirs = linearmodels_reference.least_squares(panel, errors=ERRORS, cluster_k=cluster_k)
    np.testing.assert_allclose(theirs.ours(ours), theirs.estimate, rtol=1e-10, atol=1e-12)
    for error in ERRORS:
        np.testing.assert_allclose(theirs.our_se(ours, error), theirs.se[error], rtol=1e-8, err_msg=error)
    assert ours.statistics["r2_within"][0] == pytest.approx(theirs.statistics["r2_within"], abs=1e-10)


@pytest.mark.parametrize("cluster_k", ["slopes", "nonnested", "all"])
def test_did_equals_pyfixest(panel: Panel, cluster_k: str) -> None:
    ours = TwoWayDID(errors=ERRORS, cluster_k=cluster_k)(panel)
    theirs = pyfixest_reference.twoway_did(panel, errors=ERRORS, cluster_k=cluster_k)
    np.testing.assert_allclose(theirs.ours(ours), theirs.estimate, rtol=1e-10, atol=1e-12)
    for error in ERRORS:
        np.testing.assert_allclose(theirs.our_se(ours, error), theirs.se[error], rtol=1e-8, err_msg=error)


@pytest.mark.parametrize("missing", [0, 23, 60])
def test_within_regression_equals_one_with_dummies(missing: int) -> None:
    panel = small_panel(40, 8, seed=missing + 1, missing=missing)
    ours, dummies = TwoWayDID(cluster_k="all")(panel), brute_force.twoway_did(panel)
    np.testing.assert_allclose(dummies.ours(ours), dummies.estimate, rtol=1e-10)
    for error, se in dummies.se.items():
        np.testing.assert_allclose(dummies.our_se(ours, error), se, rtol=1e-10, err_msg=error)
    assert ours.statistics["r2"][0] == pytest.approx(dummies.statistics["r2"], abs=1e-12)
    assert ours.statistics["sigma2"][0] == pytest.approx(dummies.statistics["sigma2"], rel=1e-12)


def test_effects_of_disconnected_groups_are_counted_once_each() -> None:
    """Two sets of units seen in different years have a free level each, so one dummy fewer than usual is free."""
    whole = small_panel(12, 8, seed=4)
    seen = np.zeros((1, 8, 12), dtype=bool)
    seen[0, :4, :6] = seen[0, 4:, 6:] = True
    did = np.zeros((1, 8, 12))
    did[0, 2:, :3] = did[0, 6:, 6:9] = 1.0
    panel = Panel(whole.units, whole.periods, {**whole.variables, "did": did}, whole.roles, observed=seen)
    ours, dummies = TwoWayDID(errors=("iid",))(panel), brute_force.twoway_did(panel)
    np.testing.assert_allclose(ours.estimate[0], dummies.estimate, rtol=1e-10)
    np.testing.assert_allclose(ours.se[0, 0], dummies.se["iid"], rtol=1e-10)
    assert ours.dof[0, 0, 0] == 48 - 3 - (12 + 8 - 2)


def test_degrees_of_freedom_are_residual_ones_and_clusters_less_one() -> None:
    ours = TwoWayDID(errors=ERRORS)(small_panel(40, 8))
    residual = 320 - 3 - 47
    assert ours.dof[0, :, 0].tolist() == [residual, residual, 39, 6]
