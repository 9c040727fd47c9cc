"""Weighted two-way regressions: dummies, copies of units, the unweighted estimator, pyfixest."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from estimators import Estimates, Status
from estimators.core.tile import WeightedWithin
from estimators.matching import weighted_two_way
from references.regressions import panel_ols
from references.small_panels import small_panel
from sim import Panel

Floats = NDArray[np.float64]
ERRORS = ("iid", "hc1", "cluster:unit", "cluster:province")
MORE_ERRORS = (*ERRORS, "cluster:period", "cluster:province+period", "driscoll-kraay")
NAMES = ("did", "inv", "road")


def weighted(panel: Panel, weights: Floats, errors: tuple[str, ...] = MORE_ERRORS) -> Estimates:
    return weighted_two_way(panel, "y", NAMES, errors, weights)


@pytest.mark.parametrize("missing", [0, 40])
def test_weighted_within_equals_dummies(missing: int) -> None:
    panel = small_panel(25, 7, seed=2, missing=missing)
    rng = np.random.default_rng(1)
    cells = rng.random((7, 25)) * (rng.random(25) > 0.2)
    if panel.observed is not None:
        cells = cells * panel.observed[0]
    within = WeightedWithin.of(cells)
    seen = cells > 0
    x = rng.standard_normal((2, 7, 25))
    t, i = np.nonzero(seen)
    dummies = np.column_stack([np.eye(25)[i], np.eye(7)[t]])
    root = np.sqrt(cells[seen])[:, None]
    for row in range(2):
        values = x[row][seen]
        fitted = dummies @ np.linalg.lstsq(root * dummies, root[:, 0] * values)[0]
        np.testing.assert_allclose(within(x)[row][seen], values - fitted, atol=1e-12)
    assert within.effects == np.linalg.matrix_rank(dummies)
    assert (within(x)[:, ~seen] == 0).all()


@pytest.mark.parametrize("missing", [0, 23])
def test_weights_of_one_and_zero_leave_units_out(missing: int) -> None:
    panel = small_panel(40, 8, seed=5, missing=missing)
    kept = np.arange(40) % 3 > 0
    ours = weighted(panel, kept.astype(float))
    plain = panel_ols(errors=MORE_ERRORS)(
        Panel(
            units=tuple(unit for unit, keep in zip(panel.units, kept, strict=True) if keep),
            periods=panel.periods,
            variables={name: array[:, :, kept] for name, array in panel.variables.items()},
            roles=panel.roles,
            attributes={"province": panel.attributes["province"][kept]},
            observed=None if panel.observed is None else panel.observed[:, :, kept],
        )
    )
    np.testing.assert_allclose(ours.estimate, plain.estimate, rtol=1e-10)
    np.testing.assert_allclose(ours.se, plain.se, rtol=1e-10)
    np.testing.assert_array_equal(ours.dof, plain.dof)


@pytest.mark.parametrize("level", [0.0, 1e6])
def test_scores_that_cancel_give_no_error(level: float) -> None:
    """Of two units: their residuals are opposite, what is left of their regressors too, and each score sums to zero."""
    panel = small_panel(30, 8, seed=4, replications=2)
    panel = panel.with_variables({"y": panel.variables["y"] + level})
    treated = panel.variables["did"][0].any(axis=0)
    pair = np.zeros(30)
    pair[[np.flatnonzero(treated)[0], np.flatnonzero(~treated)[0]]] = 1.0
    got = weighted_two_way(panel, "y", ("did", "inv"), ("iid", "hc1", "cluster:unit"), pair)
    assert got.status.tolist() == [Status.OK] * 2
    assert np.isnan(got.se[:, 2]).all()
    assert (got.se[:, :2] > 1e-6).all()
    whole = weighted(panel, np.ones(30))
    assert (whole.se > 1e-6).all()


def test_a_fit_without_error_is_singular() -> None:
    panel = small_panel(30, 6, seed=4)
    x = panel.variables
    exact = 1e3 + 2.0 * x["did"] - x["inv"] + 3.0 * x["road"] + np.arange(30) + np.arange(6)[:, None]
    got = weighted(panel.with_variables({"y": exact}), np.random.default_rng(6).random(30) + 0.2)
    assert got.status.tolist() == [Status.SINGULAR]
    assert np.isnan(got.se).all()
