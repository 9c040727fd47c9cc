"""Closed forms of two-way DID against their definitions and against simulated panels, within 4 Monte Carlo errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from closed_forms import (
    Covariances,
    did_variance,
    exposure_of_random_adopters,
    minimum_detectable_effect,
    spillover_bias,
)

from estimators import TwoWayDID
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.spillover import Neighbours

UNITS, TREATED, PRE, POST = 160, 60, 7, 4
SEED = 20240621


def did_study(effect: float, errors: Process, estimators: tuple[Any, ...], **parts: Any) -> Study:
    adoption = Random(treated=TREATED, last_periods=POST)
    design = PanelDesign(units=UNITS, periods=PRE + POST, errors=errors, effect=Effect(size=effect), adoption=adoption,
                         redraw=("adoption",), **parts)  # fmt: skip
    return Study("closed", design, estimators, replications=4096, block=2048, seed=SEED)


def measures(study: Study) -> dict[tuple[str, str, str], tuple[float, float]]:
    """(estimator, measure, error type) -> value and Monte Carlo error, of the term did."""
    frame = diagnose(run(study)).frame
    rows = frame[frame["term"] == "did"].to_dict("records")
    return {(row["estimator"], row["measure"], row["error"]): (row["value"], row["mcse"]) for row in rows}


def clustered_factor() -> float:
    """The mean of the clustered variance as a multiple of the true one: its factor, and 1 - 1/n in each group."""
    n, k, controls = UNITS * (PRE + POST), PRE + POST + 1, UNITS - TREATED
    within = sum((1 - 1 / size) / size for size in (TREATED, controls)) / (1 / TREATED + 1 / controls)
    return within * UNITS / (UNITS - 1) * (n - 1) / (n - k)


def test_the_variance_is_exact_for_any_covariance_matrix() -> None:
    root = np.random.default_rng(3).standard_normal((9, 9))
    matrix = root @ root.T
    weights = np.concatenate([np.full(6, -1 / 6), np.full(3, 1 / 3)])
    found = did_variance(3, 4, 6, 3, Covariances.of(matrix, 6))
    assert found == pytest.approx(weights @ matrix @ weights * (1 / 3 + 1 / 4), rel=1e-12)


@pytest.mark.parametrize("serial", [0.0, 0.6])
def test_standard_errors_are_those_of_burlig_preonas_and_woerman(serial: float) -> None:
    """Equation 2 with serial correlation, McKenzie's formula without; iid errors are right in the second case alone."""
    errors = Process(sd=1.3, serial=serial)
    found = measures(did_study(0.0, errors, (TwoWayDID(errors=("iid", "cluster:unit")),)))
    variance = did_variance(TREATED, UNITS - TREATED, PRE, POST, Covariances.autoregressive(1.69, serial, PRE, POST))
    value, mcse = found["did", "empirical_se", ""]
    assert abs(value - np.sqrt(variance)) < 4 * mcse
    value, mcse = found["did", "model_se", "cluster:unit"]
    assert abs(value - np.sqrt(variance * clustered_factor())) < 4 * mcse
    value, mcse = found["did", "model_se", "iid"]
    if serial:
        assert value < 0.85 * np.sqrt(variance)
    else:
        assert abs(value - np.sqrt(variance)) < 4 * mcse


@pytest.mark.parametrize("serial", [0.0, 0.6])
@pytest.mark.parametrize("power", [0.5, 0.8])
def test_an_effect_of_the_size_of_the_mde_is_found_that_often(serial: float, power: float) -> None:
    variance = did_variance(TREATED, UNITS - TREATED, PRE, POST, Covariances.autoregressive(1.0, serial, PRE, POST))
    effect = minimum_detectable_effect(variance, power=power, dof=UNITS - 1)
    found = measures(did_study(effect, Process(serial=serial), (TwoWayDID(errors=("cluster:unit",)),)))
    value, mcse = found["did", "rejection", "cluster:unit"]
    assert abs(value - power) < 4 * mcse


def held_to(target: str) -> TwoWayDID:
    return TwoWayDID(errors=("cluster:unit",), target=target, label=target)


@pytest.mark.parametrize("on", ["all", "controls", "treated"])
def test_bias_under_spillovers_is_that_of_butts(on: Any) -> None:
    """Proposition 2.1, with the total and with the own effect as the estimand."""
    size = 3.0  # of a neighbourhood that is treated as a whole
    study = did_study(0.5, Process(), (held_to("att"), held_to("att_own")), spillover=Neighbours(w_effect=size, on=on))
    treated, controls = exposure_of_random_adopters(UNITS, TREATED)
    bias = spillover_bias(size * treated * (on != "controls"), size * controls * (on != "treated"))
    found = measures(study)
    for target, wanted in (("att", bias.total), ("att_own", bias.own)):
        value, mcse = found[target, "bias", ""]
        assert abs(value - wanted) < 4 * mcse
    if on != "treated":
        assert bias.total < -1.0
