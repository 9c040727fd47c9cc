"""A twin of a twin returns its parameters; raw statistics are the biased ones of short panels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import made_twins
import made_worlds
import numpy as np
import pytest
from made_twins import TRUTH

from experiments.twins.calibrate import calibrated
from experiments.twins.laws import ErrorsLaw, coefficients
from experiments.twins.methods import Parameter, fit_by
from experiments.twins.real import Real
from experiments.twins.statistics import moran_by_period, moran_of_thirds, split
from sim.arrays import is_stationary
from sim.weights import Weights

PANELS = 20
SPREAD = {"levels.unit_spatial": 0.16}  # most that the standard error of the mean may be, as a share; others .12


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Parameter]]:
    """Every parameter of twins of 20 panels of one design, by dial."""
    folder = tmp_path_factory.mktemp("recovery")
    fits = [fit_by("parametric", Real.of(made_twins.drawn_panel(folder, number))) for number in range(PANELS)]
    by_dial: dict[str, list[Parameter]] = {}
    for item in (item for fit in fits for item in fit.parameters):
        by_dial.setdefault(item.dial, []).append(item)
    return by_dial


@pytest.mark.long
@pytest.mark.parametrize("dial", TRUTH)
def test_parameters_are_found_again(found: Mapping[str, list[Parameter]], dial: str) -> None:
    """On average, up to 4 standard errors of the mean over panels, which must be small beside the parameter."""
    values = np.array([item.value for item in found[dial]])
    error = values.std(ddof=1) / np.sqrt(PANELS)
    assert error < SPREAD.get(dial, 0.12) * TRUTH[dial]
    assert abs(values.mean() - TRUTH[dial]) < 4 * error


@pytest.mark.long
def test_the_raw_autoregression_is_biased_as_nickell_says(found: Mapping[str, list[Parameter]]) -> None:
    raw = np.array([item.raw for item in found["errors.serial"]])
    bias = -(1 + 0.7) / 12
    assert 0.9 * bias > raw.mean() - 0.7 > 1.5 * bias  # year effects and shared shocks add to it


def test_means_of_thirds_share_the_unit_effects_and_little_else() -> None:
    """White noise: the statistic of levels and noise is that of the levels, where the Moran's I of means is not."""
    rng = np.random.default_rng(20261126)
    weights = Weights.of(tuple(map(str, range(400))), made_worlds.ring(400))
    levels = 3.0 * np.linalg.solve(np.eye(400) - 0.6 * weights.dense, rng.standard_normal((400, 200))).T
    noise = 6.0 * rng.standard_normal((200, 12, 400))
    pure, both = (split(levels[:, None] + share * noise) for share in (1e-9, 1.0))
    gap = moran_of_thirds(both, weights) - moran_of_thirds(pure, weights)
    assert abs(gap.mean()) < 4 * gap.std(ddof=1) / np.sqrt(200)
    plain = moran_by_period(both.units[:, None], weights)[:, 0] - moran_of_thirds(pure, weights)
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
    """y in another unit: standard deviations in millions, autocorrelations as they are."""

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
    """Errors that add up: no stationary process has such residuals, and the twin says so."""
    dials = made_twins.KNOWN | {"errors": {"sd": 1.0, "serial": 0.999}, "units": 200}
    fit = fit_by("parametric", Real.of(made_twins.drawn_panel(tmp_path, 0, dials)))
    assert any("cannot be told from a random walk" in note for note in fit.notes)
    calm = fit_by("parametric", Real.of(made_twins.drawn_panel(tmp_path, 0)))
    assert not any("random walk" in note for note in calm.notes)


def test_units_stay_as_near_as_they_are_when_errors_nearly_add_up(tmp_path: Path) -> None:
    """A stationary law so near a random walk would spread units; the twin keeps errors around units' means instead."""
    dials = made_twins.KNOWN | {"errors": {"sd": 1.0, "serial": 0.995, "unit_means": 0.0}, "units": 200}
    real = Real.of(made_twins.drawn_panel(tmp_path, 0, dials | {"levels": {"unit_sd": 0.3}}))
    fit = fit_by("parametric", real)
    assert fit.errors["unit_means"] == 0.0
    assert any("deviations from units' means" in note for note in fit.notes)
    assert fit.levels["unit_sd"] == pytest.approx(0.3, rel=0.15)
    assert "unit_means" not in fit_by("parametric", Real.of(made_twins.drawn_panel(tmp_path, 0))).errors


@pytest.mark.parametrize(("serial", "order"), [([1.1, -0.4], 2), (0.6, 1)])
def test_the_order_is_that_which_residuals_need(tmp_path: Path, serial: Any, order: int) -> None:
    """Where the spec names none."""
    dials = made_twins.KNOWN | {"errors": {"sd": 1.0, "serial": serial}}
    law = ErrorsLaw.of(Real.of(made_twins.drawn_panel(tmp_path, 1, dials)))
    assert law.with_order(law.fitted()).order == order
