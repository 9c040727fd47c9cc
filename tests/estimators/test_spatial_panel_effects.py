"""Spatial panels with unit effects, period effects or a constant: spreg, dummies, transformed data, printed numbers."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from agreement import assert_batch_is_its_panels
from published_panels import cigarette_panel

from estimators import Estimates, SpatialPanel, Status
from estimators.core.tile import TAKEN_OUT
from estimators.spatial.errors import SpatialScores
from estimators.spatial.likelihood import FORMS
from estimators.spatial.spectrum import spectrum_of
from experiments.references import pysal
from references import brute_force
from references.small_panels import small_panel
from sim import BadInput, Panel

MODELS = ("sar", "sem", "sdm", "slx", "sdem", "sac")
EFFECTS = ("unit", "period", "none")
CASES = [(model, transform, effects) for model in MODELS for effects in EFFECTS for transform in ("direct", "lee-yu")
         if effects != "none" or transform == "direct"]  # fmt: skip


def generated(model: str, effects: str, **options: object) -> Panel:
    """A small panel whose outcome has these effects and no others, and a constant."""
    panel = small_panel(18, 5, model={"slx": "sdm", "sdem": "sem", "sac": "sar"}.get(model, model), **options)
    rng, y = np.random.default_rng(4), panel.variables["y"]
    y = y - y.mean(axis=1, keepdims=True) - (y - y.mean(axis=1, keepdims=True)).mean(axis=2, keepdims=True) + 3.0
    y = y + 2.0 * rng.standard_normal(18) * ("unit" in TAKEN_OUT[effects])
    return panel.with_variables({"y": y + rng.standard_normal(5)[:, None] * ("period" in TAKEN_OUT[effects])})


def term(got: Estimates, name: str) -> float:
    return float(got.estimate[0, got.terms.index(name)])


def assert_agrees(got: Estimates, panel: Panel, model: str, transform: str, effects: str) -> None:
    twin = brute_force.spatial_panel(panel, model, transform, effects)
    assert got.status.tolist() == [Status.OK]
    np.testing.assert_allclose(twin.ours(got), twin.estimate, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(twin.our_se(got, "information"), twin.se["information"], rtol=1e-7)
    assert got.statistics["loglik"][0] == pytest.approx(twin.statistics["loglik"], rel=1e-11)


@pytest.mark.parametrize(("model", "transform", "effects"), CASES)
def test_every_model_equals_dummies_and_transformed_data(model: str, transform: str, effects: str) -> None:
    panel = generated(model, effects, seed=3, rho=0.4)
    assert_agrees(SpatialPanel(model, transform, effects=effects)(panel), panel, model, transform, effects)


@pytest.mark.parametrize(("model", "effects"), [(model, effects) for model in MODELS for effects in EFFECTS])
def test_what_a_w_that_is_not_row_stochastic_lets_through(model: str, effects: str) -> None:
    """Period effects and the constant pass through it; unit effects do not, so that Lee and Yu's form exists."""
    panel = generated(model, effects, seed=5, rho=0.4, weights="uneven")
    transform = "lee-yu" if effects == "unit" else "direct"
    assert_agrees(SpatialPanel(model, transform, effects=effects)(panel), panel, model, transform, effects)


@pytest.mark.parametrize("effects", EFFECTS)
def test_a_batch_is_its_panels_one_by_one(effects: str) -> None:
    batch = generated("sdm", effects, seed=6, replications=4, redrawn=True)
    estimator = SpatialPanel("sdm", "lee-yu", full_fit=True, effects=effects)
    assert_batch_is_its_panels(estimator, batch, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("effects", ["two-way", *EFFECTS])
def test_a_redrawn_treatment_with_dates_has_the_errors_of_its_panels(effects: str) -> None:
    batch = small_panel(60, 6, seed=4, replications=3, redrawn=True)
    first = np.random.default_rng(1).integers(1, 9, (3, 1, 60))
    fixed = {name: batch.variables[name][:1] for name in batch.roles.controls}
    batch = batch.with_variables({**fixed, "did": (np.arange(6)[:, None] >= first) * 1.0})
    assert_batch_is_its_panels(SpatialPanel("sdm", effects=effects), batch, rtol=1e-9, atol=1e-10)


def test_a_draw_whose_regressor_effects_absorb_has_no_estimates_whatever_its_lag_keeps() -> None:
    """A W whose rows differ in their sums makes of a period effect what the effects do not absorb."""
    panel = small_panel(20, 6, seed=4, replications=3, redrawn=True, weights="uneven")
    inv = np.array(panel.variables["inv"])
    inv[1] = np.arange(6.0)[:, None] ** 1.5
    found = SpatialPanel("sac", "direct")(panel.with_variables({"inv": inv}))
    assert found.status.tolist() == [Status.OK, Status.SINGULAR, Status.OK]
    assert np.isnan(found.estimate[1]).all()


def spreg_fit(name: str, panel: Panel) -> np.ndarray:
    """Coefficients, the spatial one last, of one of spreg's classes."""
    import spreg

    w = pysal.as_libpysal(next(iter(panel.weights.values())))
    columns = [panel.variables[name][0].reshape(-1, 1) for name in (panel.roles.outcome, *panel.roles.regressors)]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        fit = getattr(spreg, name)(columns[0], np.hstack(columns[1:]), w, epsilon=1e-12)
    return np.asarray(fit.betas, dtype=np.float64).ravel()


@pytest.mark.parametrize(("model", "name"), [("sar", "Panel_FE_Lag"), ("sem", "Panel_FE_Error")])
@pytest.mark.parametrize("weights", ["knn", "inverse-distance", "contiguity"])
def test_unit_effects_equal_spreg(model: str, name: str, weights: str) -> None:
    panel = small_panel(30, 6, seed=2, weights=weights, rho=0.4, model=model)
    got = SpatialPanel(model, effects="unit")(panel)
    spatial = "rho" if model == "sar" else "lambda"
    ours = [term(got, name) for name in (*panel.roles.regressors, spatial)]
    np.testing.assert_allclose(ours, spreg_fit(name, panel), rtol=1e-6, atol=1e-6)
    theirs = pysal.spatial_panel(panel, model, effects="unit")
    np.testing.assert_allclose(theirs.our_se(got, "information"), theirs.se["information"], rtol=1e-6)
    assert got.statistics["loglik"][0] == pytest.approx(theirs.statistics["loglik"], rel=1e-9)


def test_unit_effects_on_the_cigarette_panel(shared_data: Path) -> None:
    """SDPDmod prints .297576 from a grid of rho; the exact maximum is spreg's and that of dummies."""
    panel = cigarette_panel(shared_data)
    got = SpatialPanel("sar", effects="unit")(panel)
    printed = [0.297576, -0.5320053, -0.0007088]
    np.testing.assert_allclose([term(got, name) for name in ("rho", "logp", "logy")], printed, rtol=0, atol=0.012)
    ours = [term(got, name) for name in ("logp", "logy", "rho")]
    np.testing.assert_allclose(ours, spreg_fit("Panel_FE_Lag", panel), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("effects", ["two-way", "unit"])
def test_rho_under_unit_effects_needs_no_correction(effects: str) -> None:
    """Lee and Yu 2010: with unit effects alone the direct likelihood has the same maximum but for sigma2."""
    panel = generated("sdm", "unit", seed=8)
    one, other = (SpatialPanel("sdm", transform, effects=effects)(panel) for transform in ("direct", "lee-yu"))
    same = np.allclose(one.estimate[0, : one.terms.index("sigma2")], other.estimate[0, : one.terms.index("sigma2")],
                       rtol=1e-9)  # fmt: skip
    assert same is (effects == "unit")
    if same:
        assert term(other, "sigma2") == pytest.approx(term(one, "sigma2") * 5 / 4, rel=1e-9)


@pytest.mark.parametrize(("model", "transform", "effects"), CASES)
def test_scores_sum_to_zero_and_errors_exist(model: str, transform: str, effects: str) -> None:
    panel = generated(model, effects, seed=3, rho=0.3)
    errors = ("information", *(("hessian", "qmle") if model != "slx" else ("hc1",)), "cluster:unit", "cluster:province",
              "driscoll-kraay")  # fmt: skip
    got = SpatialPanel(model, transform, errors=errors, effects=effects)(panel)
    assert np.isfinite(got.se).all()
    w = next(iter(panel.weights.values()))
    x = np.stack([panel.variables[name][0] for name in panel.roles.regressors])
    z = np.concatenate([x, w.lag(x)]) if FORMS[model].durbin else x
    at = got.estimate[0, : got.terms.index("sigma2") + 1]
    scores = SpatialScores.at(panel.variables["y"][0], z, at, FORMS[model], spectrum_of(w), transform, effects)
    each = scores.by_observation(np.arange(18))
    assert np.abs(each.sum(axis=(1, 2))).max() < 1e-5 * np.abs(each).sum(axis=(1, 2)).max()
    bread = brute_force.covariance(panel, model, transform, effects)
    np.testing.assert_allclose(np.linalg.inv(scores.information()), bread, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("model", "transform", "effects"), [case for case in CASES if case[0] in {"sdm", "sem"}])
def test_hessian_errors_equal_numerical_derivatives(model: str, transform: str, effects: str) -> None:
    panel = generated(model, effects, seed=3, rho=0.3)
    got = SpatialPanel(model, transform, errors=("hessian",), effects=effects)(panel)
    at = got.estimate[0, : got.terms.index("sigma2") + 1]
    covariance = np.linalg.inv(brute_force.observed_hessian(panel, model, transform, at, effects))
    np.testing.assert_allclose(got.se[0, 0, : at.size], np.sqrt(np.diag(covariance)), rtol=1e-6)


@pytest.mark.parametrize("effects", ["period", "none"])
def test_qmle_errors_without_unit_effects_hold_the_third_moment(effects: str) -> None:
    """Skewed errors and regressors that meet diag(G): the scores' variance as simulated, mean by mean."""
    panel, rows = small_panel(12, 6, seed=2, rho=0.5, model="sar", weights="uneven"), 1500
    w, rng = next(iter(panel.weights.values())), np.random.default_rng(1)
    x = np.stack([panel.variables[name][0] for name in panel.roles.regressors])
    g = w.dense @ np.linalg.inv(np.eye(12) - 0.5 * w.dense)
    e = rng.exponential(size=(rows, 6, 12)) - 1.0
    slopes = np.array([1.0, 0.7, -0.4])
    at = np.array([*slopes, 0.5, 1.0])
    y = np.matmul(np.tensordot(slopes, x, axes=1) + e, np.linalg.inv(np.eye(12) - 0.5 * w.dense).T)
    z = x - x.mean(axis=(1, 2), keepdims=True) if effects == "none" else x - x.mean(axis=2, keepdims=True)
    drawn = np.einsum("ktn,rtn->rk", z, e)
    quadratic = np.einsum("rtn,nm,rtm->r", e, g, e)
    covariance = (drawn * (quadratic - quadratic.mean())[:, None]).mean(axis=0)
    skewness = np.mean([
        SpatialScores.at(y[row], x, at, FORMS["sar"], spectrum_of(w), "direct", effects)._skewness()[:3, 3]
        for row in range(rows)
    ], axis=0)  # fmt: skip
    spread = (drawn * (quadratic - quadratic.mean())[:, None]).std(axis=0) / np.sqrt(rows)
    assert (np.abs(covariance) > 4 * spread).any()
    assert (np.abs(skewness - covariance) < 4 * spread + 0.1 * np.abs(covariance)).all()


def test_careless_uses_are_one_line() -> None:
    panel = small_panel(18, 5)
    with pytest.raises(BadInput, match=r"effects"):
        SpatialPanel(effects="twoway")  # type: ignore[arg-type]
    rows = np.arange(5.0)[None, :, None] + np.zeros((1, 5, 18))
    trend = panel.with_variables({"road": rows})
    with pytest.raises(BadInput, match=r"'road' is absorbed by the effects"):
        SpatialPanel("sar", effects="period")(trend)
    assert SpatialPanel("sar", effects="unit")(trend).status.tolist() == [Status.OK]
    uneven = small_panel(18, 5, weights="uneven")
    with pytest.raises(BadInput, match=r"row-stochastic W"):
        SpatialPanel("sar", "lee-yu", effects="period")(uneven)
