"""Rounding is no variation: constants among random variables, and variables whose level is large."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import SpatialPanel, Status, TwoWayDID
from estimators.core.tile import balanced_split
from references.small_panels import small_panel
from sim import Panel

LEVELS = (1.1, 0.37, 1.1e-6, 3.7e5)


def with_constant(name: str, level: float, *, n: int = 50, t: int = 7, missing: int = 0) -> Panel:
    """Eight replications, in the fourth of which a variable is constant."""
    panel = small_panel(n, t, replications=8, redrawn=True, missing=missing)
    values = panel.variables[name].copy()
    values[3] = level
    return panel.with_variables({name: values})


@pytest.mark.parametrize("missing", [0, 60])
@pytest.mark.parametrize("level", LEVELS)
def test_a_regressor_that_is_constant_in_one_replication_has_no_coefficient_there(level: float, missing: int) -> None:
    got = TwoWayDID()(with_constant("inv", level, missing=missing))
    assert got.status.tolist() == [Status.OK] * 3 + [Status.SINGULAR] + [Status.OK] * 4
    assert np.isnan(got.estimate[3]).all()
    assert np.isnan(got.se[3]).all()


@pytest.mark.parametrize("model", ["sar", "sem", "sdm"])
@pytest.mark.parametrize("level", LEVELS)
def test_a_constant_outcome_has_no_spatial_parameter(model: str, level: float) -> None:
    got = SpatialPanel(model, "direct")(with_constant("y", level))
    assert got.status[3] != Status.OK
    assert np.isnan(got.estimate[3]).all()


@pytest.mark.parametrize(("level", "sd"), [(0.0, 1.0), (1e6, 1.0), (1e9, 1e-2)])
def test_a_level_costs_the_sums_of_squares_no_digits(level: float, sd: float) -> None:
    """Held to sums of integers, which are exact: the variable is a whole multiple of a power of two."""
    unit = 2.0 ** np.round(np.log2(sd / 1000))
    steps = np.rint(np.random.default_rng(4).standard_normal((5, 18, 285)) * sd / unit)
    within, between = balanced_split(level + steps * unit)
    centred = steps - steps.mean(axis=(1, 2), keepdims=True)
    total = np.square(centred).sum(axis=(1, 2)) * unit**2
    np.testing.assert_allclose(np.square(within).sum(axis=(1, 2)) + between, total, rtol=1e-13)
