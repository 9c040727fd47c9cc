"""A twin of a twin returns its parameters; statistics of twins by plain loops; bands that real values are held to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_cities
import made_twins
import made_worlds
import numpy as np
import pytest
from made_twins import TRUTH

from estimators.linear.did import TwoWayDID
from experiments.panel_spec.spec import RealPanel
from experiments.settings import build
from experiments.twins import statistics
from experiments.twins.laws import ErrorsLaw, calibrated, coefficients, few_of, neighbourhood
from experiments.twins.methods import MethodFit, Parameter, fit_by
from experiments.twins.methods.factor import Interactive, factors_of, unbiased_autoregression
from experiments.twins.methods.residual import restored
from experiments.twins.real import Real
from experiments.twins.statistics import CohortRegression, split
from experiments.twins.twin import (
    _row,
    held_panel,
    joint_test,
    largest_deviation,
    normal_covariate,
    study_table,
    study_with,
    twin,
)
from sim import Streams, Wanted
from sim.arrays import arma_correlations, is_stationary
from sim.panel_sidecars import panel_text
from sim.weights import Weights
from sim.world.panel_design import PanelDesign

PANELS = 20
SPREAD = {"levels.unit_spatial": 0.16}  # most that the standard error of the mean may be, as a share; others .12


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Parameter]]:
    """Every parameter of twins of 20 panels of one design, by dial."""
    folder = tmp_path_factory.mktemp("recovery")
    return by_dial(made_twins.drawn_panel(folder, number) for number in range(PANELS))


def by_dial(panels: Iterable[RealPanel]) -> dict[str, list[Parameter]]:
    """Every parameter of parametric twins, by dial."""
    found: dict[str, list[Parameter]] = {}
    for panel in panels:
        for item in fit_by("parametric", Real.of(panel)).parameters:
            found.setdefault(item.dial, []).append(item)
    return found


@pytest.mark.long
@pytest.mark.parametrize("dial", TRUTH)
def test_parameters_are_found_again(found: Mapping[str, list[Parameter]], dial: str) -> None:
    """On average, up to 4 standard errors of the mean over panels, which must be small beside the parameter."""
    values = np.array([item.value for item in found[dial]])
    error = values.std(ddof=1) / np.sqrt(PANELS)
    assert error < SPREAD.get(dial, 0.12) * TRUTH[dial]
    assert abs(values.mean() - TRUTH[dial]) < 4 * error


def test_means_of_thirds_share_the_unit_effects_and_little_else() -> None:
    rng = np.random.default_rng(20261126)
    weights = Weights.of(tuple(map(str, range(400))), made_worlds.ring(400))
    levels = 3.0 * np.linalg.solve(np.eye(400) - 0.6 * weights.dense, rng.standard_normal((400, 200))).T
    noise = 6.0 * rng.standard_normal((200, 12, 400))
    pure, both = (split(levels[:, None] + share * noise) for share in (1e-9, 1.0))
    gap = statistics.moran_of_thirds(both, weights) - statistics.moran_of_thirds(pure, weights)
    assert abs(gap.mean()) < 4 * gap.std(ddof=1) / np.sqrt(200)
    plain = statistics.moran_by_period(both.units[:, None], weights)[:, 0] - statistics.moran_of_thirds(pure, weights)
    assert plain.mean() < -0.05


def test_newton_finds_a_root_and_stops_within_the_monte_carlo_error() -> None:
    def moments(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([at[0] + 0.2 * at[1] ** 2, np.exp(at[1])]), np.array([1e-4, 1e-4])

    end = calibrated(moments, np.array([1.2, np.e]), np.zeros(2), np.full(2, -3.0), np.full(2, 3.0))
    assert end.matched
    np.testing.assert_allclose(end.values, [1.0, 1.0], atol=1e-3)
    assert (np.abs(end.statistics - [1.2, np.e]) <= 1e-4).all()


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_a_parameter_does_not_matter(unit: float) -> None:
    def moments(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([at[0] * (1 + at[1] / 3), at[1] + 0.1 * at[0] / unit]), np.array([1e-5 * unit, 1e-5])

    target = np.array([1.2 * unit, 0.5])
    end = calibrated(moments, target, np.array([unit, 0.0]), np.array([0.0, -1.0]), np.array([10 * unit, 1.0]))
    assert end.matched
    np.testing.assert_allclose(moments(end.values)[0] / target, 1.0, atol=1e-4)


def test_a_parameter_stays_at_its_end_and_the_others_match() -> None:
    def moments(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([at[0] + 0.5 * at[1], at[1]]), np.full(2, 1e-6)

    end = calibrated(moments, np.array([1.0, -2.0]), np.array([0.5, 0.5]), np.zeros(2), np.full(2, 3.0))
    assert end.edge.tolist() == [False, True]
    np.testing.assert_allclose(end.values, [1.0, 0.0], atol=1e-5)


@pytest.mark.parametrize("partial", [[0.99, -0.9], [0.5], [-0.3, 0.8, 0.6]])
def test_partial_autocorrelations_give_stationary_processes(partial: list[float]) -> None:
    """An AR(2) with partial autocorrelations a, b has the coefficients a (1 - b), b."""
    assert is_stationary(tuple(coefficients(partial)))
    if len(partial) == 2:
        np.testing.assert_allclose(coefficients(partial), [partial[0] * (1 - partial[1]), partial[1]])


def test_a_random_walk_is_named(tmp_path: Path) -> None:
    dials = made_twins.KNOWN | {"errors": {"sd": 1.0, "serial": 0.999}, "units": 200}
    fit = fit_by("parametric", Real.of(made_twins.drawn_panel(tmp_path, 0, dials)))
    assert any("cannot be told from a random walk" in note for note in fit.notes)
    calm = fit_by("parametric", Real.of(made_twins.drawn_panel(tmp_path, 0)))
    assert not any("random walk" in note for note in calm.notes)


def test_units_stay_as_near_as_they_are_when_errors_nearly_add_up(tmp_path: Path) -> None:
    dials = made_twins.KNOWN | {"errors": {"sd": 1.0, "serial": 0.995, "unit_means": 0.0}, "units": 200}
    real = Real.of(made_twins.drawn_panel(tmp_path, 0, dials | {"levels": {"unit_sd": 0.3}}))
    fit = fit_by("parametric", real)
    assert fit.errors["unit_means"] == 0.0
    assert any("deviations from units' means" in note for note in fit.notes)
    assert fit.levels["unit_sd"] == pytest.approx(0.3, rel=0.15)
    assert "unit_means" not in fit_by("parametric", Real.of(made_twins.drawn_panel(tmp_path, 0))).errors


@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_the_error_of_a_standard_deviation_of_levels_is_that_of_so_many_units(tmp_path: Path, rho: float) -> None:
    """About sd / sqrt(2 N), whether neighbours are alike or not: nothing jumps where they begin to be."""
    levels = {"unit_sd": 1.0, "period_sd": 0.2} | ({"unit_spatial": rho} if rho else {})
    for number in range(2):
        real = Real.of(
            made_twins.drawn_panel(tmp_path, number, made_twins.KNOWN | {"levels": levels, "errors": {"sd": 0.2}})
        )
        fit = fit_by("parametric", real)
        item = next(one for one in fit.parameters if one.dial == "levels.unit_sd")
        assert item.se == pytest.approx(item.value / np.sqrt(2 * 100), rel=0.4)
        assert not any("fit of levels did not reach" in note for note in fit.notes)


@pytest.mark.parametrize(("serial", "order"), [([1.1, -0.4], 2), (0.6, 1)])
def test_the_order_is_that_which_residuals_need(tmp_path: Path, serial: Any, order: int) -> None:
    dials = made_twins.KNOWN | {"errors": {"sd": 1.0, "serial": serial}}
    law = ErrorsLaw.of(Real.of(made_twins.drawn_panel(tmp_path, 1, dials)))
    assert law.with_order(law.fitted()).order == order


NOISE_PANELS = 40
NULL_WORLD: dict[str, Any] = {
    "units": 100, "periods": 14, "levels": {"unit_sd": 1.0, "period_sd": 0.5}, "errors": {"sd": 1.0, "serial": 0.3},
    "adoption": {"kind": "staggered", "cohorts": (2006, 2009), "never": 0.5}, "effect": {"size": 0.0},
    "weights": {"kind": "none"},
}  # fmt: skip
SIZES = {"treated_scale": 1.5, "post_scale": 1.4, "growth": 0.04}
WORLD = NULL_WORLD | {"errors": NULL_WORLD["errors"] | SIZES, "effect": {"size": 0.5}}
NOISE_TRUTH = {"errors.sd": 1.0} | {f"errors.{dial}": value for dial, value in SIZES.items()}
SPEC = made_twins.ALONE + "ar = 1\n"


@pytest.fixture(scope="module")
def noise_found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Parameter]]:
    """Every parameter of twins of 40 panels of one design, by dial."""
    folder = tmp_path_factory.mktemp("noise")
    return by_dial(made_twins.drawn_panel(folder, number, WORLD, SPEC) for number in range(NOISE_PANELS))


@pytest.mark.long
@pytest.mark.parametrize("dial", NOISE_TRUTH)
def test_sizes_by_treatment_and_period_are_found_again(noise_found: Mapping[str, list[Parameter]], dial: str) -> None:
    """On average, up to 4 standard errors of the mean over panels; one size for all would be 8 or more away."""
    values = np.array([item.value for item in noise_found[dial]])
    error = values.std(ddof=1) / np.sqrt(NOISE_PANELS)
    assert abs(values.mean() - NOISE_TRUTH[dial]) < 4 * error
    if dial != "errors.sd":
        neutral = 0.0 if dial == "errors.growth" else 1.0
        assert abs(values.mean() - neutral) > 8 * error


@pytest.mark.long
@pytest.mark.parametrize("dial", [*NOISE_TRUTH, "errors.serial"])
def test_standard_errors_are_the_spread_over_panels(noise_found: Mapping[str, list[Parameter]], dial: str) -> None:
    """The mean of the reported ones within 25% of the standard deviation of the estimates, whose own error is 11%."""
    spread = np.std([item.value for item in noise_found[dial]], ddof=1)
    assert np.mean([item.se for item in noise_found[dial]]) == pytest.approx(spread, rel=0.25)


def ramped(real: RealPanel, slope: float, cohort: float = 0.0) -> RealPanel:
    """The panel with an effect that grows by `slope` a period, and is larger by `cohort` for units that adopt early."""
    values = dict(real.panel.variables)
    since = np.cumsum(values["did"], axis=1)
    values["y"] = values["y"] + slope * since + cohort * values["did"] * values["did"].sum(axis=1, keepdims=True)
    return replace(real, panel=replace(real.panel, variables=values))


@pytest.mark.parametrize("method", ["parametric", "factor", "residual"])
def test_effects_that_grow_or_differ_by_cohort_leave_the_noise_as_it_is(tmp_path: Path, method: str) -> None:
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

    # a standard deviation stays as it is above half of its mean, and falls in proportion below
    draws[:, 2] = np.clip(1.0 + draws[:, 2] / draws[:, 2].std(), 1e-3, 10.0)
    line, middle = few_of(draws, 20, low, high)[:, 2], draws[:, 2].mean()
    assert line.min() < 0.1 * middle < 0.6 * middle < np.median(line)
    low[2] = 1e-3
    sizes = few_of(draws, 20, low, high)[:, 2]
    falls = np.where(line < middle / 2, middle / 2 * np.exp(2 * line / middle - 1), line)
    np.testing.assert_allclose(sizes, falls, rtol=1e-12)
    assert sizes.min() > 0.2 * middle


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


# Twins as worlds without an effect: factors, paths with random signs, and the joint test of what they miss.


FACTOR = NULL_WORLD | {"errors": {"sd": 1.0, "serial": 0.3, "factors": 1, "factor_share": 0.4}}
NULL_SPEC = made_twins.ALONE + "effect = 0.0\n"


def fitted(real: RealPanel, method: str) -> PanelDesign:
    """The design of a twin, without the report of its likeness."""
    panel = Real.of(real)
    fit = fit_by(method, panel)
    held = held_panel(panel, {method: fit})
    design = study_with(study_table(panel, method, fit, held), held).design
    assert isinstance(design, PanelDesign)
    return design


def rejections(design: PanelDesign, count: int) -> float:
    """Share of twins without an effect in which the clustered 5% test rejects."""
    design = replace(design, effect=replace(design.effect, size=0.0))
    world = design.settle(Streams(5))
    panel = world.draw(Streams(5).tile(0, count), Wanted(frozenset(design.schema.variables), ())).panel
    fits = TwoWayDID(errors=("cluster:unit",))(panel, Streams(1))
    return float((np.abs(fits.estimate[:, 0] / fits.se[:, 0, 0]) > 1.984).mean())


@pytest.mark.long
@pytest.mark.parametrize("method", ["factor", "residual"])
def test_the_clustered_test_has_its_size_on_twins(tmp_path: Path, method: str) -> None:
    """30 panels without an effect, 500 twins of each: 4 to 6% on average, and no panel's twin far from it."""
    reals = (made_twins.drawn_panel(tmp_path, number, FACTOR, NULL_SPEC) for number in range(30))
    sizes = np.array([rejections(fitted(real, method), 500) for real in reals])
    assert 0.04 < sizes.mean() < 0.06
    assert sizes.max() < 0.14


@pytest.mark.parametrize(("dials", "rank"), [(NULL_WORLD, 0), (FACTOR, 1)], ids=["two-way", "factor"])
def test_the_number_of_factors_is_found(tmp_path: Path, dials: dict[str, Any], rank: int) -> None:
    """By the ratio of eigenvalues in at least 8 of 10 panels, and the twin takes it; the spec may say another."""
    found = [
        factors_of(Real.of(made_twins.drawn_panel(tmp_path, k, dials, NULL_SPEC)).parts.residuals[0]) for k in range(10)
    ]
    assert sum(by_ratio == rank for by_ratio, _ in found) >= 8
    fit = fit_by("factor", Real.of(made_twins.drawn_panel(tmp_path, 0, dials, NULL_SPEC)))
    assert (fit.parameters[0].value, fit.parameters[0].raw) == found[0]
    assert len(fit.errors.get("common_paths", ())) == rank
    for asked in (0, 2):
        other = made_twins.drawn_panel(tmp_path, 0, dials, f"{NULL_SPEC}rank = {asked}\n")
        assert fit_by("factor", Real.of(other)).parameters[0].value == asked


@pytest.mark.parametrize(("strength", "ratio"), [(3.0, 2), (0.0, 0)])
def test_both_numbers_of_factors_by_hand(strength: float, ratio: int) -> None:
    """Two factors above noise, or noise alone; ratios and the criterion written out over eigenvalues of 20 x 60
    residuals."""
    rng = np.random.default_rng(6)
    t, n = 20, 60
    e = rng.standard_normal((t, 2)) @ rng.standard_normal((2, n)) * strength + rng.standard_normal((t, n))
    e = e - e.mean(axis=0) - e.mean(axis=1)[:, None] + e.mean()
    mu = np.sort(np.linalg.eigvalsh(e @ e.T / (t * n)))[::-1]
    ladder = [mu.sum() / np.log(t), *mu]
    most = min(int((mu > mu.sum() / t).sum()), 9)
    ratios = [ladder[k] / ladder[k + 1] for k in range(most + 1)]
    criterion = [np.log(mu[k:].sum()) + k * (n + t) / (n * t) * np.log(n * t / (n + t)) for k in range(most + 1)]
    by_ratio, by_criterion = factors_of(e)
    assert by_ratio == int(np.argmax(ratios)) == ratio
    assert by_criterion == int(np.argmin(criterion))
    assert strength > 0 or by_criterion < most  # the penalty decides
    assert factors_of(np.zeros((t, n)))[0] == 0


@pytest.mark.parametrize("serial", [(0.6,), (0.5, -0.3)])
def test_autoregressions_without_the_bias_of_short_panels(serial: tuple[float, ...]) -> None:
    t, order = 10, len(serial)
    keep = np.eye(t) - 1 / t
    lags = np.arange(t)
    moments = keep @ arma_correlations(serial, (), t)[np.abs(lags[:, None] - lags)] @ keep
    sums = [[sum(moments[s - j, s - k] for s in range(order, t)) for k in range(order + 1)] for j in range(order + 1)]
    table = np.array(sums)
    raw = np.linalg.solve(table[1:, 1:], table[1:, 0])
    assert np.abs(raw - serial).max() > 0.05
    np.testing.assert_allclose(unbiased_autoregression(raw, keep), serial, atol=1e-6)


def test_a_factor_law_is_found_again() -> None:
    """4,000 units with loadings of variance 4 on one path beside AR(1) errors of variance 1: both within 3%."""
    rng = np.random.default_rng(12)
    t, n = 12, 4000
    path = rng.standard_normal(t)
    path = (path - path.mean()) / np.linalg.norm(path - path.mean()) * 3
    e = rng.standard_normal((t, n))
    for k in range(1, t):
        e[k] = 0.4 * e[k - 1] + np.sqrt(1 - 0.16) * e[k]
    e += 2 * np.outer(path, rng.standard_normal(n))
    e = e - e.mean(axis=0) - e.mean(axis=1)[:, None] + e.mean()
    law = Interactive.of(e, 1, 1, n - 1.0, None)
    assert law.sd == pytest.approx(1.0, rel=0.03)
    assert law.serial[0] == pytest.approx(0.4, abs=0.03)
    np.testing.assert_allclose(np.outer(law.paths[0], law.paths[0]), 4 * np.outer(path, path), atol=0.03 * 36)


def test_loadings_are_drawn_anew_whoever_is_treated(tmp_path: Path) -> None:
    real = made_twins.drawn_panel(tmp_path, 0, FACTOR, NULL_SPEC)
    one = twin(real, "factor")
    errors = one.design.errors
    drawn = one.design.draw(Streams(3).tile(0, 600)).panel.variables["y"]
    apart = drawn - drawn.mean(axis=0)
    lags = np.arange(14)
    wanted = errors.sd**2 * arma_correlations(errors.ar, (), 14)[np.abs(lags[:, None] - lags)]  # type: ignore[attr-defined]
    paths = np.array(errors.common_paths)  # type: ignore[attr-defined]
    got = np.einsum("rtn,rsn->ts", apart, apart) / (599 * 100)
    np.testing.assert_allclose(got, wanted + paths.T @ paths, atol=0.06)
    assert len(one.nearby) == 30
    assert one.covariance is not None
    assert one.parameters[1].se > 0


def test_paths_with_signs_have_no_bias_by_symmetry(tmp_path: Path) -> None:
    """All 2^8 signs of 8 units: the mean of DID is 0 exactly, and each unit-period has its own variance."""
    small = {"units": 8, "periods": 6, "weights": {"kind": "none"}, "effect": {"size": 0.0},
             "adoption": {"kind": "staggered", "cohorts": (2004,), "never": 0.5}}  # fmt: skip
    real = Real.of(made_twins.drawn_panel(tmp_path, 2, small, NULL_SPEC))
    fit = fit_by("residual", real)
    assert fit.errors["draw"] == "flipped"
    paths = fit.variables["residual.residual"]
    signs = np.array([*itertools.product([-1.0, 1.0], repeat=8)])
    slopes = split(signs[:, None, :] * paths, [real.policy]).slopes[:, 0]  # type: ignore[list-item]
    assert abs(slopes.mean()) < 1e-12
    assert slopes.std() > 0.1
    other = made_twins.drawn_panel(tmp_path, 2, small, NULL_SPEC + 'paths = "resampled"\n')
    assert fit_by("residual", Real.of(other)).errors["draw"] == "resampled"


@pytest.mark.parametrize("treated", [1, 2, 3, 4, 27])
def test_residual_twins_of_few_that_are_treated_otherwise_have_no_vote(tmp_path: Path, treated: int) -> None:
    """A treated unit's noise is in its effect alone: its path moves no DID. Dates that are redrawn, and paths of other
    units, need no signs of its own."""
    dials = {"units": 30, "periods": 8, "weights": {"kind": "none"}, "effect": {"size": 0.0},
             "adoption": {"kind": "random", "treated": treated}}  # fmt: skip
    real = Real.of(made_twins.drawn_panel(tmp_path, 3, dials, NULL_SPEC))
    fit = fit_by("residual", real)
    assert fit.null == (treated == 4)
    assert any("units but 3 are treated alike" in note for note in fit.notes) == (treated in (3, 27))
    d = ~real.policy_off
    alone = fit.variables["residual.residual"] * d.any(axis=0)
    own = split(alone[None], [real.policy]).slopes[0, 0]  # type: ignore[list-item]
    assert abs(own) < 1e-9, "the regression leaves nothing of treated paths that all keep their sign"
    for changed in ('paths = "resampled"\n', 'keep = ["covariates", "missing"]\n'):
        assert fit_by("residual", Real.of(made_twins.drawn_panel(tmp_path, 3, dials, NULL_SPEC + changed))).null


def test_residual_twins_are_centred_where_neighbours_are_drawn_together(tmp_path: Path) -> None:
    """Blocks of 8 neighbours with a spatial law: the mean DID of 2,000 twins is 0 within 4 Monte Carlo errors (drawn
    with replacement, it lies 19 away on this panel)."""
    dials = NULL_WORLD | {"weights": {"kind": "knn", "k": 6}, "errors": {"sd": 1.0, "serial": 0.3, "spatial": 0.6},
                     "geography": {"groups": 10}}  # fmt: skip
    one = twin(made_twins.drawn_panel(tmp_path, 10, dials, made_twins.SPEC + "effect = 0.0\n"), "residual")
    panel = one.design.draw(Streams(9).tile(0, 2000)).panel
    found = split(panel.variables["y"], [panel.variables["did"]]).slopes[:, 0]
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(2000)


def test_residuals_are_brought_to_size_by_status(tmp_path: Path) -> None:
    """The mean share of variance that least squares with dummies keeps, by status, times the squared factor is 1 -
    1/T."""
    small = {"units": 14, "periods": 6, "weights": {"kind": "none"},
             "adoption": {"kind": "staggered", "cohorts": (2003, 2005), "never": 0.4}}  # fmt: skip
    real = Real.of(made_twins.drawn_panel(tmp_path, 2, small, NULL_SPEC))
    treated = ~real.policy_off
    first = treated.sum(axis=0)
    cells = [np.outer(np.arange(6) == t, first == g) for g in np.unique(first) for t in range(6 - g, 6)]
    z = np.column_stack(
        [*(cell.ravel() for cell in cells), np.tile(np.eye(14), (6, 1)), np.repeat(np.eye(6), 14, axis=0)]
    )
    left = np.diag(np.eye(84) - z @ np.linalg.pinv(z, rcond=1e-10)).reshape(6, 14)
    ever = np.broadcast_to(treated.any(axis=0), treated.shape)
    for group in (~ever, ever & ~treated, treated):
        assert left[group].mean() * restored(real)[group][0] ** 2 == pytest.approx(1 - 1 / 6)


def test_the_joint_test_sees_noise_of_another_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise 1.5 times as large under treatment: in most panels where the twin has one size, in few where it has two."""
    dials = NULL_WORLD | {"errors": {"sd": 1.0, "serial": 0.3, "post_scale": 1.5}}
    reals = [made_twins.drawn_panel(tmp_path, number, dials, NULL_SPEC + "ar = 1\n") for number in range(5)]
    honest = [twin(real).joint for real in reals]
    monkeypatch.setattr(ErrorsLaw, "compared", property(lambda law: []))
    blind = [twin(real).joint for real in reals]
    assert sum(p < 0.05 for p in blind) >= 4
    assert sum(p < 0.05 for p in honest) <= 1


# Normal covariates of twins have the law of the covariate whose moments they take; prosperity is what is named.


def drawn(periods: int, units: int, *, seed: int, **x: Any) -> np.ndarray:
    """A covariate alone, (1, T, N)."""
    settings = {
        "units": units, "periods": periods, "covariates": [{"name": "x", **x}], "adoption": {"kind": "never"},
        "weights": {"kind": "none"},
    }  # fmt: skip
    streams = Streams(seed)
    wanted = Wanted(frozenset({"x"}), ())
    world = build(PanelDesign, settings, "[design]").settle(streams)
    return np.asarray(world.draw(streams.tile(0, 1), wanted).panel.variables["x"])


@pytest.mark.parametrize(
    ("periods", "serial", "between"), [(5, 0.7, 0.6), (5, 0.0, 0.0), (9, 0.7, 0.0), (9, -0.4, 0.5), (18, 0.5, 0.4)]
)
def test_a_covariate_of_a_known_law_gives_back_its_dials(periods: int, serial: float, between: float) -> None:
    """Up to 3,000 units' noise: in 5 periods an AR(1) of .7 shows .2 within units, and half its variance between."""
    x = drawn(periods, 3000, seed=periods, mean=-2.0, sd=1.5, serial=serial, between=between)
    found = normal_covariate(x)
    assert found["mean"] == pytest.approx(-2.0, abs=0.12)
    assert found["sd"] == pytest.approx(1.5, abs=0.06)
    assert found["serial"] == pytest.approx(serial, abs=0.03)
    assert found["between"] == pytest.approx(between, abs=0.05)


def test_a_covariate_that_does_not_change_is_all_units() -> None:
    x = np.broadcast_to(np.arange(30.0), (1, 6, 30))
    assert normal_covariate(x) == {"mean": 14.5, "sd": pytest.approx(np.arange(30).std()), "between": 1.0}


@pytest.mark.parametrize("name", ["road", "gdp"])
def test_a_kept_variable_is_the_prosperity_of_its_units(name: str) -> None:
    panel = made_cities.panel()
    fact = np.random.default_rng(4).lognormal(size=len(panel.units))
    held = type(panel)(panel.units, panel.periods, panel.variables, attributes={"gdp": fact})
    design = build(
        PanelDesign,
        {
            "periods": made_cities.PERIODS, "weights": {"kind": "none"}, "treatment": "d", "redraw": ["adoption"],
            "geography": {"kind": "kept", "panel": panel_text(held), "prosperity": name},
            "adoption": {"kind": "calendar", "dates": [[2005, 9]], "on_prosperity": 3.0},
        },
        "[design]",
    )  # fmt: skip
    streams = Streams(5)
    world: Any = design.settle(streams)
    units = range(len(panel.units))
    values = [float(fact[i]) for i in units]
    if name == "road":
        values = [sum(float(panel.variables["road"][0, t, i]) for t in range(made_cities.PERIODS)) for i in units]
    mean = sum(values) / len(values)
    sd = np.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    expected = [(value - mean) / sd for value in values]
    np.testing.assert_allclose(world.settled.context.places.prosperity, expected, atol=1e-12)
    did = world.draw(streams.tile(0, 300), Wanted(frozenset({"d"}), ())).panel.variables["d"]
    likely = did.any(axis=1).mean(axis=0)
    assert np.corrcoef(likely, expected)[0, 1] > 0.7


# The statistics of twins against plain loops, and the bands that real values are held to.


R, T, N = 4, 7, 12


@pytest.fixture
def y() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((R, T, N)).cumsum(axis=1)


def calendar(rows: int = 1) -> np.ndarray:
    """Units of which some adopt in the fourth or fifth period, others in each row."""
    out = np.zeros((rows, T, N))
    for r in range(rows):
        out[r, 4:, r : r + 3] = 1
        out[r, 5:, r + 3 : r + 5] = 1
    return out


def dummies(regressors: list[np.ndarray]) -> np.ndarray:
    """Regressors (T, N) beside dummies of units and periods, (T N, K)."""
    units = np.tile(np.eye(N), (T, 1))
    periods = np.repeat(np.eye(T), N, axis=0)[:, 1:]
    return np.column_stack([*(x.ravel() for x in regressors), units, periods])


@pytest.mark.parametrize("rows", [1, R])
def test_a_two_way_regression_is_that_with_dummies(y: np.ndarray, rows: int) -> None:
    x = np.random.default_rng(5).standard_normal((1, T, N))
    d = calendar(rows)
    found, part = split(y, [d, x]), split(y, [d, x], removed=1)
    for r in range(R):
        own = [d[r % rows], x[0]]
        z = dummies(own)
        b = np.linalg.lstsq(z, y[r].ravel(), rcond=None)[0]
        np.testing.assert_allclose(found.slopes[r], b[:2], atol=1e-10)
        np.testing.assert_allclose(found.residuals[r].ravel(), y[r].ravel() - z @ b, atol=1e-10)
        for one, left in ((found, y[r] - b[0] * own[0] - b[1] * own[1]), (part, y[r] - b[0] * own[0])):
            np.testing.assert_allclose(one.units[r], left.mean(axis=0) - left.mean(), atol=1e-10)
            np.testing.assert_allclose(one.periods[r], left.mean(axis=1) - left.mean(), atol=1e-10)


def test_a_regressor_that_effects_absorb_has_no_slope(y: np.ndarray) -> None:
    constant = np.broadcast_to(np.arange(N, dtype=float), (1, T, N))
    found = split(y, [calendar(), constant])
    np.testing.assert_allclose(found.slopes[:, 1], 0, atol=1e-8)
    np.testing.assert_allclose(found.residuals, split(y, [calendar()]).residuals, atol=1e-8)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_pooled_autoregressions(y: np.ndarray, order: int) -> None:
    for r, got in enumerate(statistics.autoregression(y, order)):
        x = np.array([[y[r, t - k, i] for k in range(1, order + 1)] for t in range(order, T) for i in range(N)])
        target = np.array([y[r, t, i] for t in range(order, T) for i in range(N)])
        np.testing.assert_allclose(got, np.linalg.lstsq(x, target, rcond=None)[0], atol=1e-10)


def test_moran_is_its_double_sum() -> None:
    w = made_cities.neighbours()
    e = np.random.default_rng(4).standard_normal((2, 3, 36))
    for r in range(2):
        for t in range(3):
            z = e[r, t] - e[r, t].mean()
            sums = sum(w.dense[i, j] * z[i] * z[j] for i in range(36) for j in range(36))
            assert statistics.moran_by_period(e, w)[r, t] == pytest.approx(36 / w.dense.sum() * sums / (z**2).sum())


def test_the_curve_of_moran_is_what_spatial_maps_have() -> None:
    """Ratios of means of 4,000 maps (I - rho W)^-1 e, within 4 Monte Carlo errors and some; it grows, 0 is near 0."""
    w = made_cities.neighbours()
    rho, means = statistics.moran_curve(w)
    assert (np.diff(means) >= 0).all()
    assert means[len(rho) // 2] == pytest.approx(0, abs=1e-12)
    at = int(np.argmin(np.abs(rho - 0.5)))
    e = np.random.default_rng(9).standard_normal((4000, 36))
    maps = np.linalg.solve(np.eye(36) - rho[at] * w.dense, e.T).T
    products, squares = (maps * (maps @ w.dense.T)).sum(axis=1), np.square(maps).sum(axis=1)
    error = (products - means[at] * squares).std() / squares.mean() / np.sqrt(4000)
    assert abs(products.mean() / squares.mean() - means[at]) < 4 * error


def test_group_correlations_are_means_over_pairs(y: np.ndarray) -> None:
    group = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 4])
    pairs = [(i, j) for i in range(N) for j in range(N) if i != j and group[i] == group[j]]
    for r, got in enumerate(statistics.group_correlation(y, group)):
        products = np.mean([y[r, t, i] * y[r, t, j] for i, j in pairs for t in range(T)])
        assert got == pytest.approx(products / np.square(y[r]).mean())


def test_moments(y: np.ndarray) -> None:
    for r in range(R):
        z = y[r] - y[r].mean()
        assert statistics.kurtosis(y)[r] == pytest.approx((y[r] ** 4).mean() / (y[r] ** 2).mean() ** 2)
        assert statistics.unequal_variances(y)[r] == pytest.approx(np.var(np.log((y[r] ** 2).mean(axis=0))))
        shares = [z.mean(axis=0).var() / z.var(), z.mean(axis=1).var() / z.var()]
        np.testing.assert_allclose(statistics.variance_shares(y)[r], [*shares, 1 - sum(shares)])
    a, b = y[:, 0], y[:1, 1]
    np.testing.assert_allclose(statistics.correlation(a, b), [np.corrcoef(a[r], b[0])[0, 1] for r in range(R)])


def of_cohorts(treatment: np.ndarray) -> list[np.ndarray]:
    """A dummy (T, N) of each cohort in each of its treated periods."""
    first = T - treatment.sum(axis=0).astype(int)
    cells = [(g, t) for g in np.unique(first) for t in range(g, T)]
    return [np.outer(np.arange(T) == t, first == g).astype(float) for g, t in cells]


@pytest.mark.parametrize("rows", [1, R])
def test_effects_of_cohorts_and_periods_are_dummies(y: np.ndarray, rows: int) -> None:
    x = np.random.default_rng(5).standard_normal((1, T, N))
    d = calendar(rows)
    d[:, :, 10:] = 1  # units that always are treated, and a period in which all are
    d[:, -1] = 1
    regression = CohortRegression.of(d, [x], controls_out=True)
    found = regression(y)
    assert regression.cohorts is not None
    for r in range(R):
        own = of_cohorts(d[r % rows])
        z = dummies([x[0], *own])
        b = np.linalg.lstsq(z, y[r].ravel(), rcond=None)[0]
        np.testing.assert_allclose(found.slopes[r], b[:1], atol=1e-10)
        np.testing.assert_allclose(found.residuals[r].ravel(), y[r].ravel() - z @ b, atol=1e-10)
        assert regression.count[r % rows] == np.linalg.matrix_rank(z) - T - N + 1
        if r + rows == 1:
            left = np.eye(T * N) - z[:, 1:] @ np.linalg.pinv(z[:, 1:], rcond=1e-10)
            np.testing.assert_allclose(regression.cohorts.freedom[0].ravel(), np.diag(left), atol=1e-10)


def test_unit_and_period_effects_are_those_of_imputation(y: np.ndarray) -> None:
    d = calendar()
    found = CohortRegression.of(d, [], controls_out=True)(y)
    moved = y + d * np.linspace(1.0, 9.0, T)[:, None] * (1 + d[0, 4])
    again = CohortRegression.of(d, [], controls_out=True)(moved)
    for name in ("residuals", "units", "periods"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), atol=1e-9)
    single = np.zeros((1, T, N))
    single[0, 3:, 0] = single[0, 5:, 1] = single[0, 6:, 2] = 1
    free = single[0].ravel() == 0
    effects = statistics.CohortMeans(np.eye(N)[None], (1 - single).transpose(0, 2, 1)).effects(y)
    for r in range(R):
        units, periods = np.tile(np.eye(N), (T, 1)), np.repeat(np.eye(T), N, axis=0)
        z = np.column_stack([units, periods[:, 1:]])[free]
        b = np.linalg.lstsq(z, y[r].ravel()[free], rcond=None)[0]
        unit, period = b[:N], np.r_[0.0, b[N:]]
        np.testing.assert_allclose(effects[0][r], unit - unit.mean(), atol=1e-9)
        np.testing.assert_allclose(effects[1][r], period - period.mean(), atol=1e-9)


def test_one_effect_is_taken_where_there_are_no_cohorts_to_tell() -> None:
    switching, single = calendar(), np.zeros((1, T, N))
    switching[0, 6, 0] = 0
    single[0, 4:, 0] = 1
    for treatment in (switching, single, 0.5 * calendar()):
        assert statistics.CohortMeans.of(treatment) is None
        assert len(CohortRegression.of(treatment, [], controls_out=True).regressors) == 1
    assert statistics.CohortMeans.of(calendar()) is not None


@pytest.mark.parametrize("rows", [1, R])
def test_leads_have_the_f_of_two_regressions(y: np.ndarray, rows: int) -> None:
    d = calendar(rows)
    for r, got in enumerate(statistics.pretrend_f(y, CohortRegression.of(d, [], controls_out=True), d, 2)):
        own = d[r % rows]
        first = np.where(own.any(axis=0), own.argmax(axis=0), 99)
        leads = [np.array([[float(t == first[i] - k) for i in range(N)] for t in range(T)]) for k in (2, 3)]
        cells = of_cohorts(own)
        rss = [np.square(y[r].ravel() - z @ np.linalg.lstsq(z, y[r].ravel(), rcond=None)[0]).sum()
               for z in (dummies(cells), dummies([*cells, *leads]))]  # fmt: skip
        free = T * N - T - N + 1 - 2 - len(cells)
        assert got == pytest.approx((rss[0] - rss[1]) / 2 / (rss[1] / free))
    assert [x.sum() for x in statistics.lead_dummies(calendar(), 3)] == [5, 5, 5]
    early = np.zeros((1, T, N))  # no period before
    early[:, 1:, :4] = 1
    assert np.isnan(statistics.pretrend_f(y, CohortRegression.of(early, [], controls_out=True), early, 2)).all()


@pytest.mark.parametrize("rows", [1, R])
def test_variances_by_status_are_means_of_squares(y: np.ndarray, rows: int) -> None:
    d = calendar(rows) > 0
    status = statistics.TreatmentStatus.of(d, np.ones((T, N)))
    found, groups, by_period = status.ratios(y), status.by_group(y), status.by_period(y)
    for r in range(R):
        own = d[r % rows]
        ever = np.broadcast_to(own.any(axis=0), own.shape)
        means = [np.log(np.square(y[r][mask]).mean()) for mask in (~ever, ever & ~own, own)]
        periods = [np.log(np.square(y[r][t][~own[t]]).mean()) for t in range(T)]
        np.testing.assert_allclose(groups[r], means)
        np.testing.assert_allclose(by_period[r], periods)
        slope = np.polyfit(np.arange(T), periods, 1)[0]
        np.testing.assert_allclose(found[r], [means[1] - means[0], means[2] - means[1], slope], atol=1e-10)


def test_rounding_of_a_period_with_one_untreated_unit_is_no_variance(y: np.ndarray) -> None:
    d = np.zeros((1, T, N), dtype=bool)
    d[0, 4:, 1:] = True
    found = []
    for size in (0.0, 1e-17):
        e = y.copy()
        e[:, 4:, 0] = size
        found.append(statistics.TreatmentStatus.of(d, np.ones((T, N))).by_period(e))
    np.testing.assert_array_equal(*found)


def test_what_is_too_little_to_compare_is_not() -> None:
    few = np.zeros((1, T, N), dtype=bool)
    few[0, 5:, :2] = True
    status = statistics.TreatmentStatus.of(few, np.ones((T, N)))
    assert (status.compares_units, status.compares_cells, status.compares_periods) == (False, False, True)
    most = np.zeros((1, T, N), dtype=bool)
    most[0, 3:] = True
    status = statistics.TreatmentStatus.of(most, np.ones((T, N)))
    assert (status.compares_units, status.compares_cells, status.compares_periods) == (False, True, False)


def test_unequal_variances_within_groups(y: np.ndarray) -> None:
    group = np.repeat([0, 1], [5, 7])
    for r, got in enumerate(statistics.unequal_variances(y, group)):
        logs = np.log(np.square(y[r]).mean(axis=0))
        assert got == pytest.approx((5 * logs[:5].var() + 7 * logs[5:].var()) / 12)


def test_a_unit_without_residuals_is_no_unit_with_tiny_ones(y: np.ndarray) -> None:
    group, told = np.arange(y.shape[2]) % 2, np.arange(y.shape[2]) != 3
    alone = np.where(told, y, 1e-16 * y)
    expected = statistics.unequal_variances(y[:, :, told], group[told])
    np.testing.assert_array_equal(statistics.unequal_variances(alone, group), expected)


def test_eigenvalues_and_quantiles(y: np.ndarray) -> None:
    for r in range(R):
        sizes = np.square(np.linalg.svd(y[r], compute_uv=False))
        np.testing.assert_allclose(statistics.eigenvalue_shares(y, 3)[r], sizes[:3] / sizes.sum())
        np.testing.assert_allclose(
            statistics.tails(y, 0.1)[r], np.quantile(y[r], [0.1, 0.9]) / np.sqrt((y[r] ** 2).mean())
        )


def test_the_largest_deviation_is_that_from_the_other_twins() -> None:
    rng = np.random.default_rng(8)
    twins = rng.standard_normal((30, 4)) * [1, 5, 0.1, 2] + 3
    twins[2, 1] = np.nan
    real = np.array([[3.5, 20.0, 3.0, 3.0]])
    own, among = largest_deviation(real, twins)

    def far(value: np.ndarray, others: np.ndarray) -> float:
        return float(np.nanmax(np.abs(value - np.nanmean(others, axis=0)) / np.nanstd(others, axis=0, ddof=1)))

    assert own[0] == pytest.approx(far(real[0], twins))
    np.testing.assert_allclose(among, [far(twins[k], np.delete(twins, k, axis=0)) for k in range(30)])
    assert joint_test(real[0], twins) == pytest.approx((1 + (among >= own[0]).sum()) / 31)


def test_the_joint_test_has_its_size() -> None:
    """Panels that are twins themselves are rejected at 5%, up to 3 Monte Carlo errors, with features that are skewed
    and correlated; and p values do not depend on units of features."""
    rng = np.random.default_rng(17)
    mix = rng.standard_normal((5, 5))
    draw = lambda rows: np.exp(0.5 * rng.standard_normal((rows, 5)) @ mix)  # noqa: E731
    p = np.array([joint_test(draw(1)[0], draw(99)) for _ in range(1000)])
    assert abs((p <= 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 1000)
    real, twins = draw(1)[0], draw(99)
    units = np.array([1.0, 1e6, 1e-3, 5.0, -2.0])
    assert joint_test(real * units, twins * units) == joint_test(real, twins)


@pytest.mark.parametrize(("real", "inside"), [(0.5, True), (-0.1, False), (1.1, False), (0.025, True)])
def test_bands_hold_95_percent_on_both_sides(real: float, inside: bool) -> None:
    row = _row("factor", "kurtosis of residuals", real, np.linspace(0, 1, 1001))
    assert (row.lower, row.upper) == (pytest.approx(0.025), pytest.approx(0.975))
    assert row.inside == inside
    assert _row("factor", "AR(1) of residuals", 0.3 + 1e-13, np.full(100, 0.3)).inside, "up to rounding"
