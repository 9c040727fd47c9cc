"""Two-way DID against linearmodels, pyfixest and a regression with dummies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from estimators import TwoWayDID
from references import brute_force, pyfixest_reference
from references.small_panels import small_panel
from sim import Panel, Roles, Streams, Wanted
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


@pytest.mark.parametrize("cluster_k", ["slopes", "nonnested", "all"])
def test_did_equals_pyfixest(panel: Panel, cluster_k: str) -> None:
    ours = TwoWayDID(errors=ERRORS, cluster_k=cluster_k)(panel)
    theirs = pyfixest_reference.twoway_did(panel, errors=ERRORS, cluster_k=cluster_k)
    np.testing.assert_allclose(theirs.ours(ours), theirs.estimate, rtol=1e-10, atol=1e-12)
    for error in ERRORS:
        np.testing.assert_allclose(theirs.our_se(ours, error), theirs.se[error], rtol=1e-8, err_msg=error)


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


# Two-way DID: a published table to its printed digits, linearmodels and pyfixest on real and made-up cities.


PUBLISHED = {  # coefficient and standard error clustered by city, all dummies counted
    "did": (0.017066, 0.028785),
    "ln_pgdp": (-0.437537, 0.117795),
    "ln_pop_density": (-0.196178, 0.140160),
    "industrial_advanced": (-0.081052, 0.033505),
    "ln_road_area": (0.068689, 0.035767),
    "financial_development": (0.031561, 0.013687),
}


def low_carbon(folder: Path) -> Panel:
    frame = pd.read_csv(folder / "lowcarbon_did.csv")
    controls = tuple(PUBLISHED)[1:]
    return Panel.from_frame(frame, unit="city_name", period="year", roles=Roles("ln_carbon_intensity", "did", controls))


def test_low_carbon_pilots_as_published(shared_data: Path) -> None:
    panel = low_carbon(shared_data)
    assert (panel.nobs, len(panel.units), panel.balanced) == (3623, 215, False)
    fit = TwoWayDID(errors=("cluster:unit",), cluster_k="all")(panel)
    np.testing.assert_array_equal(np.round(fit.estimate[0], 6), [b for b, _ in PUBLISHED.values()])
    np.testing.assert_array_equal(np.round(fit.se[0, 0], 6), [se for _, se in PUBLISHED.values()])
    assert round(fit.statistics["r2"][0], 4) == 0.9712
