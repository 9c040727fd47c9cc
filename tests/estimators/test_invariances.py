"""What must not change an answer, or must change it in a known way: order, scale, added effects, batches, labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from agreement import in_another_order

from estimators import Estimates, Estimator, SpatialPanel, TwoWayDID
from references.small_panels import small_panel
from sim import BadInput, Panel

ESTIMATORS: dict[str, Estimator] = {
    "did": TwoWayDID(errors=("iid", "hc1", "cluster:unit", "cluster:province")),
    **{
        f"{model}-{transform}": SpatialPanel(model=model, transform=transform)
        for model in ("sar", "sem", "sdm")
        for transform in ("direct", "lee-yu")
    },
}


@pytest.fixture(params=ESTIMATORS)
def estimator(request: pytest.FixtureRequest) -> Estimator:
    return ESTIMATORS[request.param]


@pytest.fixture(params=["fixed regressors", "redrawn regressors"])
def panel(request: pytest.FixtureRequest) -> Panel:
    return small_panel(24, 7, seed=6, replications=5, redrawn=request.param.startswith("redrawn"))


def assert_same(got: Estimates, wanted: Estimates, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(got.estimate, wanted.estimate, rtol=rtol, atol=1e-11)
    np.testing.assert_allclose(got.se, wanted.se, rtol=rtol, atol=1e-11)
    np.testing.assert_array_equal(got.status, wanted.status)
    assert got.statistics.keys() == wanted.statistics.keys()


def mapped(panel: Panel, change: Callable[[str, np.ndarray], np.ndarray]) -> Panel:
    return panel.with_variables({name: change(name, values) for name, values in panel.variables.items()})


def test_order_of_units_does_not_matter(estimator: Estimator, panel: Panel) -> None:
    assert_same(estimator(in_another_order(panel)[0]), estimator(panel))


def test_order_of_periods_does_not_matter(estimator: Estimator, panel: Panel) -> None:
    order = np.random.default_rng(2).permutation(7)
    assert_same(estimator(mapped(panel, lambda _, values: values[:, order])), estimator(panel))


def test_added_unit_and_time_effects_do_not_matter(estimator: Estimator, panel: Panel) -> None:
    rng = np.random.default_rng(3)
    effects = 5 * rng.standard_normal((1, 1, 24)) + 7 * rng.standard_normal((1, 7, 1))
    moved = mapped(panel, lambda name, values: values + (1 if name == "y" else -2) * effects)
    got, wanted = estimator(moved), estimator(panel)
    assert_same(got, wanted)
    np.testing.assert_allclose(got.statistics["r2_within"], wanted.statistics["r2_within"], rtol=1e-9)


@pytest.mark.parametrize("factor", [1e-4, 250.0])
def test_scaling_the_outcome_scales_slopes_and_errors(estimator: Estimator, panel: Panel, factor: float) -> None:
    got = estimator(mapped(panel, lambda name, values: values * factor if name == "y" else values))
    wanted = estimator(panel)
    scale = np.array([{"rho": 1.0, "lambda": 1.0, "sigma2": factor**2}.get(term, factor) for term in wanted.terms])
    np.testing.assert_allclose(got.estimate, wanted.estimate * scale, rtol=1e-8)
    np.testing.assert_allclose(got.se, wanted.se * scale, rtol=1e-8)


@pytest.mark.parametrize("factor", [1e-4, 250.0])
def test_scaling_a_regressor_scales_its_own_terms_alone(estimator: Estimator, panel: Panel, factor: float) -> None:
    got = estimator(mapped(panel, lambda name, values: values * factor if name == "inv" else values))
    wanted = estimator(panel)
    scale = np.array([1 / factor if "inv" in term else 1.0 for term in wanted.terms])
    np.testing.assert_allclose(got.estimate, wanted.estimate * scale, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(got.se, wanted.se * scale, rtol=1e-8)


def test_a_batch_is_its_panels_one_by_one(estimator: Estimator, panel: Panel) -> None:
    together = estimator(panel)
    alone = Estimates.join([estimator(panel.replication(row)) for row in range(5)])
    tight = 1e-13 if panel.variables["did"].shape[0] == 1 else 1e-10  # alone, regressors count as fixed
    np.testing.assert_allclose(together.estimate, alone.estimate, rtol=tight * 10, atol=tight)
    np.testing.assert_allclose(together.se, alone.se, rtol=max(tight * 10, 1e-12), atol=tight)
    for name, values in together.statistics.items():
        np.testing.assert_allclose(values, alone.statistics[name], rtol=1e-10, err_msg=name)


def test_one_outcome_under_many_treatments_is_a_batch(estimator: Estimator) -> None:
    """A placebo: the outcome is the same in every replication, the treatment is redrawn."""
    panel = small_panel(24, 7, seed=6, replications=5, redrawn=True)
    placebo = panel.with_variables({name: panel.variables[name][:1] for name in ("y", "inv", "road")})
    together = estimator(placebo)
    alone = Estimates.join([estimator(placebo.replication(row)) for row in range(5)])
    assert together.estimate.shape[0] == len(together.status) == 5
    assert {len(values) for values in together.statistics.values()} == {5}
    np.testing.assert_allclose(together.estimate, alone.estimate, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(together.se, alone.se, rtol=1e-9, atol=1e-10)


def test_a_fully_fixed_panel_in_a_batch_is_repeated(estimator: Estimator) -> None:
    """Only a variable that nobody asks for is redrawn."""
    panel = small_panel(24, 7, seed=6)
    other = np.random.default_rng(1).standard_normal((3, 7, 24))
    got = estimator(panel.with_variables({"other": other}))
    assert got.estimate.shape[0] == 3
    np.testing.assert_allclose(got.estimate, np.repeat(estimator(panel).estimate, 3, axis=0), rtol=1e-10)


def test_masks_that_differ_between_replications_are_refused() -> None:
    panel = small_panel(24, 7, seed=6, replications=2)
    observed = np.ones((2, 7, 24), dtype=bool)
    observed[1, 3, 3] = False
    with pytest.raises(BadInput, match="differ in which unit-periods"):
        TwoWayDID()(replace(panel, observed=observed))
