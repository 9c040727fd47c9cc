"""The noise of twins: free of effects that differ, of another size by treatment and period, with its standard
errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_twins
import numpy as np
import pytest

from experiments.panel_spec.spec import RealPanel
from experiments.twins.calibrate import calibrated, few_of, neighbourhood
from experiments.twins.laws import ErrorsLaw
from experiments.twins.methods import MethodFit, Parameter, fit_by
from experiments.twins.real import Real
from experiments.twins.twin import twin

PANELS = 40
WORLD: dict[str, Any] = {
    "units": 100,
    "periods": 14,
    "levels": {"unit_sd": 1.0, "period_sd": 0.5},
    "errors": {"sd": 1.0, "serial": 0.3, "treated_scale": 1.5, "post_scale": 1.4, "growth": 0.04},
    "adoption": {"kind": "staggered", "cohorts": (2006, 2009), "never": 0.5},
    "effect": {"size": 0.5},
    "weights": {"kind": "none"},
}
TRUTH = {"errors.sd": 1.0, "errors.treated_scale": 1.5, "errors.post_scale": 1.4, "errors.growth": 0.04}
SPEC = made_twins.ALONE + "ar = 1\n"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Parameter]]:
    """Every parameter of twins of 40 panels of one design, by dial."""
    folder = tmp_path_factory.mktemp("noise")
    by_dial: dict[str, list[Parameter]] = {}
    for number in range(PANELS):
        real = made_twins.drawn_panel(folder, number, WORLD, SPEC)
        for item in fit_by("parametric", Real.of(real)).parameters:
            by_dial.setdefault(item.dial, []).append(item)
    return by_dial


@pytest.mark.long
@pytest.mark.parametrize("dial", TRUTH)
def test_sizes_by_treatment_and_period_are_found_again(found: Mapping[str, list[Parameter]], dial: str) -> None:
    """On average, up to 4 standard errors of the mean over panels; one size for all would be 8 or more away."""
    values = np.array([item.value for item in found[dial]])
    error = values.std(ddof=1) / np.sqrt(PANELS)
    assert abs(values.mean() - TRUTH[dial]) < 4 * error
    if dial != "errors.sd":
        neutral = 0.0 if dial == "errors.growth" else 1.0
        assert abs(values.mean() - neutral) > 8 * error


@pytest.mark.long
@pytest.mark.parametrize("dial", [*TRUTH, "errors.serial"])
def test_standard_errors_are_the_spread_over_panels(found: Mapping[str, list[Parameter]], dial: str) -> None:
    """The mean of the reported ones within 25% of the standard deviation of the estimates, whose own error is 11%."""
    spread = np.std([item.value for item in found[dial]], ddof=1)
    assert np.mean([item.se for item in found[dial]]) == pytest.approx(spread, rel=0.25)


def ramped(real: RealPanel, slope: float, cohort: float = 0.0) -> RealPanel:
    """The panel with an effect that grows by `slope` a period, and is larger by `cohort` for units that adopt early."""
    values = dict(real.panel.variables)
    since = np.cumsum(values["did"], axis=1)
    values["y"] = values["y"] + slope * since + cohort * values["did"] * values["did"].sum(axis=1, keepdims=True)
    return replace(real, panel=replace(real.panel, variables=values))


@pytest.mark.parametrize("method", ["parametric", "factor", "residual"])
def test_effects_that_grow_or_differ_by_cohort_leave_the_noise_as_it_is(tmp_path: Path, method: str) -> None:
    """Every fitted number of the errors is the same, up to the rounding of the fit; the effect of the twin follows."""
    real = made_twins.drawn_panel(tmp_path, 1, WORLD | {"units": 60}, SPEC)
    plain, *others = (
        (Real.of(one), fit_by(method, Real.of(one))) for one in (real, ramped(real, 2.0), ramped(real, 4.0, 1.0))
    )
    for held, fit in others:
        for own, same in zip(fit.parameters, plain[1].parameters, strict=True):
            if own.dial.startswith("errors."):
                assert own.value == pytest.approx(same.value, rel=1e-5, abs=1e-5), own.dial
                assert own.raw == pytest.approx(same.raw, rel=1e-8, abs=1e-8), own.dial
        assert held.effect > plain[0].effect + 3


def test_a_treatment_that_does_not_last_has_one_effect_and_says_so(tmp_path: Path) -> None:
    real = made_twins.drawn_panel(tmp_path, 1, WORLD | {"adoption": {"kind": "switching"}}, SPEC)
    held = Real.of(real)
    assert held.regression.cohorts is None
    assert len(held.regression.regressors) == 1
    fit = fit_by("parametric", held)
    assert any("one constant effect" in note for note in fit.notes)
    lasting = fit_by("parametric", Real.of(made_twins.drawn_panel(tmp_path, 1, WORLD, SPEC)))
    assert not any("one constant effect" in note for note in lasting.notes)


def test_nearby_worlds_are_spread_as_the_covariance_says(tmp_path: Path) -> None:
    """30 designs that draw, around the fit; their dials have the reported standard errors, however few they are."""
    real = made_twins.drawn_panel(tmp_path, 2, WORLD, SPEC)
    one = twin(real)
    assert len(one.nearby) == 30
    assert one.covariance is not None
    assert one.covariance.shape == (len(one.parameters), len(one.parameters))
    by_dial = {item.dial: item for item in one.parameters}
    for dial in ("sd", "serial", "treated_scale", "post_scale", "growth"):
        values = np.array([getattr(world.errors, dial) for world in one.nearby])
        item = by_dial[f"errors.{dial}"]
        assert values.std(ddof=1) == pytest.approx(item.se, rel=0.06)  # as dials; exact as parameters
        assert abs(values.mean() - item.value) < 0.25 * item.se
        at = one.parameters.index(item)
        assert one.covariance[at, at] == pytest.approx(item.se**2)
    assert len({world.levels.unit_sd for world in one.nearby}) == 30  # type: ignore[attr-defined]
    assert all(world.adoption == one.design.adoption for world in one.nearby)


def test_few_draws_have_the_means_and_the_covariance_of_all() -> None:
    rng = np.random.default_rng(5)
    draws = np.column_stack([rng.standard_normal((300, 3)) @ rng.standard_normal((3, 3)) * [1.0, 1e-3, 50.0],
                             np.full(300, 7.0)])  # fmt: skip
    low, high = np.full(4, -np.inf), np.full(4, np.inf)
    few = few_of(draws, 20, low, high)
    assert few.shape == (20, 4)
    np.testing.assert_allclose(few.mean(axis=0), draws.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.cov(few, rowvar=False), np.cov(draws, rowvar=False), rtol=1e-9, atol=1e-12)
    assert np.corrcoef(few[:, 0], draws[:20, 0])[0, 1] > 0.8  # moved, not drawn anew
    assert (few_of(draws, 20, low, np.array([np.inf, 0.0, np.inf, np.inf]))[:, 1] <= 0).all()
    np.testing.assert_array_equal(few_of(draws, 4, low, high), draws[:4])


def test_one_newton_step_is_that_of_a_linear_world() -> None:
    """theta + A^-1 (s - mean s) where statistics are A theta; a parameter at its end stays, with its statistic left
    out."""
    slopes = np.array([[2.0, 0.5], [0.0, 4.0]])

    def moments(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return slopes @ at, np.full(2, 1e-6)

    low, high = np.array([-10.0, 0.0]), np.array([10.0, 40.0])
    drawn = np.random.default_rng(3).standard_normal((50, 2))
    apart = drawn - drawn.mean(axis=0)
    found = calibrated(moments, slopes @ [1.0, 20.0], np.array([0.0, 5.0]), low, high)
    np.testing.assert_allclose(
        neighbourhood(found, drawn, low, high), [1.0, 20.0] + apart @ np.linalg.inv(slopes).T, atol=1e-4
    )
    ended = calibrated(moments, np.array([2.0, -8.0]), np.array([0.0, 5.0]), low, high)
    assert ended.edge.tolist() == [False, True]
    near = neighbourhood(ended, drawn, low, high)
    assert (near[:, 1] == 0).all()
    np.testing.assert_allclose(near[:, 0], 1.0 + apart[:, 0] / 2, atol=1e-4)


def test_sizes_enter_where_there_is_enough_to_compare(tmp_path: Path) -> None:
    few = made_twins.drawn_panel(tmp_path, 1, WORLD | {"adoption": {"kind": "random", "treated": 2}}, SPEC)
    assert [dial for _, dial, _ in ErrorsLaw.of(Real.of(few)).compared] == ["growth"]
    every = made_twins.drawn_panel(tmp_path, 1, WORLD | {"adoption": {"kind": "staggered", "never": 0.0}}, SPEC)
    assert [dial for _, dial, _ in ErrorsLaw.of(Real.of(every)).compared] == ["post_scale", "growth"]
    fit: MethodFit = fit_by("parametric", Real.of(few))
    assert "treated_scale" not in fit.errors
