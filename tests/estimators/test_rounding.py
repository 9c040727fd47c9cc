"""What rounding must not decide: errors of two units, whose scores cancel, and the digits that a level takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from estimators import TwoWayDID
from estimators.core.tile import without_singletons
from estimators.linear.covariances import cancelled
from estimators.linear.random_effects import ErrorComponents, RandomEffects
from references.regressions import panel_ols
from references.small_panels import small_panel
from sim import Panel, Streams, Wanted


def compared(panel: Panel) -> int:
    """Units left without singletons of units and periods."""
    left = without_singletons(panel, ("unit", "period"))
    return len(left.units) if left.observed is None else int(left.observed[0].any(axis=0).sum())


pytestmark = pytest.mark.usefixtures("rounding")
NAMES = ("did", "inv")
CLUSTERED = ("cluster:unit", "cluster:half")


def few(units: int = 2, *, periods: int = 10, replications: int = 1, redrawn: bool = False) -> Panel:
    """Two or three units, one of them treated, each a half of its own."""
    whole = small_panel(12, periods, seed=3, replications=replications, redrawn=redrawn)
    kept = [0, 11, 5][:units]
    variables = {name: values[:, :, kept].copy() for name, values in whole.variables.items()}
    did = np.zeros((1, periods, units))
    did[:, periods // 2 :, 0] = 1.0
    variables["did"] = did
    return Panel(
        tuple(whole.units[i] for i in kept),
        whole.periods,
        variables,
        whole.roles,
        attributes={"half": np.arange(units)},
    )


def with_a_loner(panel: Panel) -> Panel:
    """And a third unit that is observed once, in a period of the others: its effect fits it exactly."""
    variables = {
        name: np.concatenate([values, values[:, :, :1] + 1.0], axis=2) for name, values in panel.variables.items()
    }
    observed = np.ones((panel.replications, len(panel.periods), 3), dtype=bool)
    observed[:, 1:, 2] = False
    attributes = {"half": np.arange(3)}
    return Panel((*panel.units, "loner"), panel.periods, variables, panel.roles, attributes=attributes,
                 observed=observed)  # fmt: skip


@pytest.mark.parametrize("loner", [False, True])
@pytest.mark.parametrize("redrawn", [False, True])
def test_two_units_have_no_clustered_error_of_did(loner: bool, redrawn: bool) -> None:
    panel = few(replications=3, redrawn=redrawn)
    panel = with_a_loner(panel) if loner else panel
    assert compared(panel) == 2
    found = TwoWayDID(regressors=NAMES, errors=("iid", "hc1", *CLUSTERED))(panel)
    assert np.isfinite(found.estimate).all()
    assert (found.se[:, :2] > 1e-3).all()
    assert np.isnan(found.se[:, 2:]).all()


def test_three_units_have_one() -> None:
    panel = few(3)
    assert compared(panel) == 3
    for estimator in (TwoWayDID(regressors=NAMES), panel_ols(regressors=NAMES, constant=False)):
        assert (estimator(panel).se > 1e-6).all()


def test_units_that_meet_nobody_are_not_compared() -> None:
    """A chain of units that share one period each with the next, and two that share all."""
    observed = np.zeros((1, 6, 5), dtype=bool)
    observed[0, :, :2] = True
    for unit in (2, 3, 4):
        observed[0, unit : unit + 2, unit] = True
    assert compared(replace(small_panel(5, 6, seed=1), observed=observed)) == 5
    observed = observed & ~((np.arange(6)[:, None] >= 2) & (np.arange(5) < 2))  # 4 is alone at last, then 3, then 2
    assert compared(replace(small_panel(5, 6, seed=1), observed=observed)) == 2


@pytest.mark.parametrize("level", [0.0, 1e8])
@pytest.mark.parametrize("effects", [("unit", "period"), ("period",)])
@pytest.mark.parametrize("loner", [False, True])
def test_two_units_have_no_clustered_error_beside_period_effects(
    level: float, effects: tuple[str, ...], loner: bool
) -> None:
    panel = with_a_loner(few()) if loner and "unit" in effects else few()
    panel = replace(panel, variables={name: values + level * (name != "did") for name, values in
                                      panel.variables.items()})  # fmt: skip
    errors = ("iid", "hc1", "driscoll-kraay", *CLUSTERED, "wild:unit")
    found = panel_ols(regressors=NAMES, effects=effects, constant=False, errors=errors, draws=99)(panel)
    assert (found.se[0, :3] > 1e-3).all()
    assert np.isnan(found.se[0, 3:]).all()
    assert found.pvalue is not None
    assert found.lower is not None
    assert np.isnan(found.pvalue[0]).all()
    assert np.isnan(found.lower[0]).all()


@pytest.mark.parametrize("effects", [(), ("unit",)])
def test_two_units_keep_the_errors_that_exist(effects: tuple[str, ...]) -> None:
    errors = ("cluster:unit", "wild:unit")
    found = panel_ols(regressors=NAMES, effects=effects, errors=errors, draws=99)(few())
    assert (found.se[0, 0] > 1e-6).all()
    assert found.pvalue is not None
    assert (found.pvalue[0, 1] > 0).all()


def test_the_pooled_constant_of_two_units_keeps_its_error() -> None:
    """Period effects alone: the slopes' scores cancel, the constant's do not."""
    found = panel_ols(regressors=NAMES, effects=("period",), errors=("cluster:unit",))(few())
    assert np.isnan(found.se[0, 0, :2]).all()
    assert found.se[0, 0, 2] > 1e-3


def test_small_scores_are_not_rounding() -> None:
    u = np.array([[[1.0, -1.0 + 1e-5], [0.0, 0.0]]])
    assert not cancelled(np.square(u.sum(axis=(1, 2))), u)[0]
    u[0, 0, 1] = -1.0 + 1e-12
    assert cancelled(np.square(u.sum(axis=(1, 2))), u)[0]


@pytest.mark.parametrize("periods", [False, True])
def test_a_level_moves_the_constant_of_random_effects_alone(periods: bool) -> None:
    design = ErrorComponents(units=30, periods=6)
    wanted = Wanted(frozenset(design.schema.variables), ())
    streams = Streams(4, "levels", 0, 3)
    plain = design.settle(streams).draw(streams, wanted).panel
    raised = {name: values if name == "did" else np.round(values * 2**20) / 2**20 for name, values in
              plain.variables.items()}  # fmt: skip
    plain = replace(plain, variables=raised)
    moved = {name: values if name == "did" else values + 1e8 for name, values in raised.items()}
    estimator = RandomEffects(periods=periods, errors=("iid", "hc1", "cluster:unit"))
    near, far = estimator(plain), estimator(replace(plain, variables=moved))
    np.testing.assert_allclose(far.estimate[:, :2], near.estimate[:, :2], rtol=1e-6)
    np.testing.assert_allclose(far.se[:, :, :2], near.se[:, :, :2], rtol=1e-6)
    slope = near.estimate[:, 1]
    np.testing.assert_allclose(far.estimate[:, 2], near.estimate[:, 2] + 1e8 * (1 - slope), rtol=1e-6)
    np.testing.assert_allclose(far.se[:, 0, 2] / 1e8, near.se[:, 0, 1], rtol=1e-5)  # that of the slope at x = -1e8
    for name, values in near.statistics.items():
        np.testing.assert_allclose(far.statistics[name], values, rtol=1e-6, atol=1e-9)
