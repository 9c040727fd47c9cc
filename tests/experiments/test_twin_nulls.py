"""Twins as worlds without an effect: factors, paths with random signs, and the joint test of what they miss."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_twins
import numpy as np
import pytest

from estimators.linear.did import TwoWayDID
from experiments.twins.laws import ErrorsLaw
from experiments.twins.methods import fit_by
from experiments.twins.methods.factor import Interactive, factors_of, unbiased_autoregression
from experiments.twins.methods.residual import restored
from experiments.twins.real import Real
from experiments.twins.statistics import split
from experiments.twins.twin import Twin, twin
from sim import Streams
from sim.arrays import arma_correlations
from sim.design import Wanted

WORLD: dict[str, Any] = {
    "units": 100,
    "periods": 14,
    "levels": {"unit_sd": 1.0, "period_sd": 0.5},
    "errors": {"sd": 1.0, "serial": 0.3},
    "adoption": {"kind": "staggered", "cohorts": (2006, 2009), "never": 0.5},
    "effect": {"size": 0.0},
    "weights": {"kind": "none"},
}
FACTOR = WORLD | {"errors": {"sd": 1.0, "serial": 0.3, "factors": 1, "factor_share": 0.4}}
SPEC = made_twins.ALONE + "effect = 0.0\n"


def rejections(one: Twin, count: int) -> float:
    """Share of twins without an effect in which the clustered 5% test rejects."""
    design = replace(one.design, effect=replace(one.design.effect, size=0.0))  # type: ignore[call-arg]
    world = design.settle(Streams(5))
    panel = world.draw(Streams(5).tile(0, count), Wanted(frozenset(design.schema.variables), ())).panel
    fits = TwoWayDID(errors=("cluster:unit",))(panel, Streams(1))
    return float((np.abs(fits.estimate[:, 0] / fits.se[:, 0, 0]) > 1.984).mean())


@pytest.mark.long
@pytest.mark.parametrize("dials", [WORLD, FACTOR], ids=["two-way", "factor"])
@pytest.mark.parametrize("method", ["factor", "residual"])
def test_the_clustered_test_has_its_size_on_twins(tmp_path: Path, dials: dict[str, Any], method: str) -> None:
    """100 panels without an effect: 4 to 6% on average, and no panel's twin far from it."""
    reals = (made_twins.drawn_panel(tmp_path, number, dials, SPEC) for number in range(100))
    sizes = np.array([rejections(twin(real, method), 200) for real in reals])
    assert 0.04 < sizes.mean() < 0.06
    assert sizes.max() < 0.14


@pytest.mark.parametrize(("dials", "rank"), [(WORLD, 0), (FACTOR, 1)], ids=["two-way", "factor"])
def test_the_number_of_factors_is_found(tmp_path: Path, dials: dict[str, Any], rank: int) -> None:
    """By the ratio of eigenvalues in at least 8 of 10 panels, and the twin takes it; the spec may say another."""
    found = [
        factors_of(Real.of(made_twins.drawn_panel(tmp_path, k, dials, SPEC)).parts.residuals[0]) for k in range(10)
    ]
    assert sum(by_ratio == rank for by_ratio, _ in found) >= 8
    fit = fit_by("factor", Real.of(made_twins.drawn_panel(tmp_path, 0, dials, SPEC)))
    assert (fit.parameters[0].value, fit.parameters[0].raw) == found[0]
    assert len(fit.errors.get("common_paths", ())) == rank
    for asked in (0, 2):
        other = made_twins.drawn_panel(tmp_path, 0, dials, f"{SPEC}rank = {asked}\n")
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
    """Expected moments of demeaned errors, written out, give back the coefficients that they were made of."""
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
    """The same unit has other loadings in another replication, with the fitted covariance over periods."""
    real = made_twins.drawn_panel(tmp_path, 0, FACTOR, SPEC)
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
    real = Real.of(made_twins.drawn_panel(tmp_path, 2, small, SPEC))
    fit = fit_by("residual", real)
    assert fit.errors["draw"] == "flipped"
    paths = fit.variables["residual.residual"]
    signs = np.array([*itertools.product([-1.0, 1.0], repeat=8)])
    slopes = split(signs[:, None, :] * paths, [real.policy]).slopes[:, 0]  # type: ignore[list-item]
    assert abs(slopes.mean()) < 1e-12
    assert slopes.std() > 0.1
    other = made_twins.drawn_panel(tmp_path, 2, small, SPEC + 'paths = "resampled"\n')
    assert fit_by("residual", Real.of(other)).errors["draw"] == "resampled"


def test_residual_twins_are_centred_where_neighbours_are_drawn_together(tmp_path: Path) -> None:
    """Blocks of 8 neighbours with a spatial law: the mean DID of 2,000 twins is 0 within 4 Monte Carlo errors (drawn
    with replacement, it lies 19 away on this panel)."""
    dials = WORLD | {"weights": {"kind": "knn", "k": 6}, "errors": {"sd": 1.0, "serial": 0.3, "spatial": 0.6},
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
    real = Real.of(made_twins.drawn_panel(tmp_path, 2, small, SPEC))
    treated = ~real.policy_off
    first = treated.sum(axis=0)
    cells = [np.outer(np.arange(6) == t, first == g) for g in np.unique(first) for t in range(6 - g, 6)]
    z = np.column_stack(
        [*(cell.ravel() for cell in cells), np.tile(np.eye(14), (6, 1)), np.repeat(np.eye(6), 14, axis=0)]
    )
    left = np.diag(np.eye(84) - z @ np.linalg.pinv(z)).reshape(6, 14)
    ever = np.broadcast_to(treated.any(axis=0), treated.shape)
    for group in (~ever, ever & ~treated, treated):
        assert left[group].mean() * restored(real)[group][0] ** 2 == pytest.approx(1 - 1 / 6)


@pytest.mark.parametrize("dial", ["post_scale", "treated_scale"])
def test_the_joint_test_sees_noise_of_another_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dial: str) -> None:
    """Noise 1.5 times as large under treatment, or of treated units: in most panels where the twin has one size, in few
    where it has its own."""
    dials = WORLD | {"errors": {"sd": 1.0, "serial": 0.3, dial: 1.5}}
    reals = [made_twins.drawn_panel(tmp_path, number, dials, SPEC + "ar = 1\n") for number in range(5)]
    honest = [twin(real).joint for real in reals]
    monkeypatch.setattr(ErrorsLaw, "compared", property(lambda law: []))
    blind = [twin(real).joint for real in reals]
    assert sum(p < 0.05 for p in blind) >= 4
    assert sum(p < 0.05 for p in honest) <= 1
