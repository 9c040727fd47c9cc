"""Spatial panels with unit effects, period effects or a constant: spreg, dummies, transformed data, printed numbers."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from agreement import assert_batch_is_its_panels
from covering import covered
from published_panels import cigarette_panel
from refusals import refuses
from scipy.stats import chi2

from estimators import SpatialPanel, SpatialRandomEffects, Status
from estimators.core.tile import TAKEN_OUT, Tile
from estimators.spatial.errors import SpatialScores
from estimators.spatial.likelihood import FORMS, Sizes, log_likelihood
from estimators.spatial.random_panel import RandomLikelihood, RandomMoments
from estimators.spatial.spectrum import spectrum_of
from experiments.references import pysal
from references import brute_force
from references.small_panels import small_panel, small_weights
from sim import Panel, Roles

MODELS = ("sar", "sem", "sdm", "slx", "sdem", "sac")
EFFECTS = ("unit", "period", "none", "two-way")
KNN = [(model, transform, effects, "knn") for model in MODELS for effects in EFFECTS
       for transform in ("direct", "lee-yu") if effects != "none" or transform == "direct"]  # fmt: skip
UNEVEN = [(model, "lee-yu" if effects == "unit" else "direct", effects, "uneven") for model in MODELS
          for effects in EFFECTS]  # fmt: skip


def generated(model: str, effects: str, **options: object) -> Panel:
    """A small panel whose outcome has these effects and no others, and a constant."""
    panel = small_panel(18, 5, model={"slx": "sdm", "sdem": "sem", "sac": "sar"}.get(model, model), **options)
    rng, y = np.random.default_rng(4), panel.variables["y"]
    y = y - y.mean(axis=1, keepdims=True) - (y - y.mean(axis=1, keepdims=True)).mean(axis=2, keepdims=True) + 3.0
    y = y + 2.0 * rng.standard_normal(18) * ("unit" in TAKEN_OUT[effects])
    return panel.with_variables({"y": y + rng.standard_normal(5)[:, None] * ("period" in TAKEN_OUT[effects])})


@pytest.mark.parametrize(("model", "transform", "effects", "weights"), [*KNN, *UNEVEN])
def test_every_model_equals_dummies_and_transformed_data(
    model: str, transform: str, effects: str, weights: str
) -> None:
    """Period effects and the constant pass through an uneven W; unit effects do not: Lee and Yu's form exists."""
    panel = generated(model, effects, seed=3 if weights == "knn" else 5, rho=0.4, weights=weights)
    got, twin = (
        SpatialPanel(model, transform, effects=effects)(panel),
        brute_force.spatial_panel(panel, model, transform, effects),
    )
    assert got.status.tolist() == [Status.OK]
    np.testing.assert_allclose(twin.ours(got), twin.estimate, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(twin.our_se(got, "information"), twin.se["information"], rtol=1e-7)
    assert got.statistics["loglik"][0] == pytest.approx(twin.statistics["loglik"], rel=1e-11)


@pytest.mark.parametrize("effects", EFFECTS)
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
    """Coefficients of one of spreg's classes: the spatial one last, or rho and phi where unit effects are random."""
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
    ours = [got.params[name] for name in (*panel.roles.regressors, spatial)]
    np.testing.assert_allclose(ours, spreg_fit(name, panel), rtol=1e-6, atol=1e-6)
    theirs = pysal.spatial_panel(panel, model, effects="unit")
    np.testing.assert_allclose(theirs.our_se(got, "information"), theirs.se["information"], rtol=1e-6)
    assert got.statistics["loglik"][0] == pytest.approx(theirs.statistics["loglik"], rel=1e-9)


def test_unit_effects_on_the_cigarette_panel(shared_data: Path) -> None:
    """SDPDmod prints .297576 from a grid of rho; the exact maximum is spreg's and that of dummies."""
    panel = cigarette_panel(shared_data)
    got = SpatialPanel("sar", effects="unit")(panel)
    printed = [0.297576, -0.5320053, -0.0007088]
    np.testing.assert_allclose([got.params[name] for name in ("rho", "logp", "logy")], printed, rtol=0, atol=0.012)
    ours = [got.params[name] for name in ("logp", "logy", "rho")]
    np.testing.assert_allclose(ours, spreg_fit("Panel_FE_Lag", panel), rtol=1e-6, atol=1e-6)


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


WITH_RANDOM_EFFECTS = ("sar", "sem", "sdm")
STEP = 1e-4  # of differences


def made(model: str, rows: int = 1, n: int = 30, t: int = 5, *, seed: int = 1, correlated: float = 0.0,
         unit_sd: float = 0.7, weights: str = "contiguity") -> Panel:  # fmt: skip
    """Random unit effects that pass through W as the errors do; correlated: with the first regressor's unit means."""
    rng, w = np.random.default_rng(seed), small_weights(n, weights)
    x = rng.standard_normal((2, rows, t, n)) + rng.standard_normal((2, rows, 1, n))
    effects = unit_sd * rng.standard_normal((rows, 1, n)) + correlated * x[0].mean(axis=1, keepdims=True)
    e = 0.8 * rng.standard_normal((rows, t, n)) + effects
    s = np.linalg.inv(np.eye(n) - 0.4 * w.dense)
    signal = x[0] + 0.5 * x[1] + (0.3 * w.lag(x[0]) if model == "sdm" else 0.0)
    y = signal + e @ s.T if model == "sem" else (signal + e) @ s.T
    variables = {"y": y + 1.0, "did": x[0], "inv": x[1]}
    return Panel(w.units, tuple(range(2000, 2000 + t)), variables, Roles("y", "did", ("inv",)), weights={"w": w})


def assert_lag_is_spregs(panel: Panel, rtol: float) -> None:
    """Panel_RE_Lag stops when phi moves by less than 1e-7; its betas are constant, slopes, rho, phi."""
    got = SpatialRandomEffects("sar")(panel)
    ours = [*(got.params[name] for name in (*panel.roles.regressors, "rho")), got.statistics["phi"][0]]
    np.testing.assert_allclose(ours, spreg_fit("Panel_RE_Lag", panel)[1:], rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_lag_model_is_spregs(seed: int) -> None:
    assert_lag_is_spregs(made("sar", seed=seed), 1e-6)


def test_the_lag_model_on_the_cigarette_panel(shared_data: Path) -> None:
    assert_lag_is_spregs(cigarette_panel(shared_data), 1e-5)


def whole_loglik(panel: Panel, model: str, values: np.ndarray) -> float:
    """The normal likelihood of all NT observations: slopes, r, sigma2, sigma2_unit, constant."""
    w = next(iter(panel.weights.values()))
    y = panel.variables["y"][0]
    t, n = y.shape
    x = [panel.variables[name][0] for name in ("did", "inv")]
    x += [w.lag(one) for one in x] if model == "sdm" else []
    r, sigma2, unit, constant = values[-4:]
    a = np.eye(n) - r * w.dense
    fitted = np.tensordot(values[:-4], np.stack(x), axes=1) + constant
    e = (y - fitted) @ a.T if model == "sem" else y @ a.T - fitted
    variance = sigma2 * np.eye(t) + unit  # of one unit's periods
    form = np.einsum("ti,ts,si->", e, np.linalg.inv(variance), e)
    log_det = t * np.linalg.slogdet(a)[1] - n / 2 * np.linalg.slogdet(variance)[1]
    return float(-n * t / 2 * np.log(2 * np.pi) + log_det - form / 2)


def whole_covariance(panel: Panel, model: str, point: np.ndarray) -> np.ndarray:
    """The inverse of minus its second differences."""
    steps = STEP * np.eye(len(point))
    hessian = np.array([[whole_loglik(panel, model, point + g + h) - whole_loglik(panel, model, point + g - h)
                         - whole_loglik(panel, model, point - g + h) + whole_loglik(panel, model, point - g - h)
                         for h in steps] for g in steps])  # fmt: skip
    return np.linalg.inv(-hessian / (4 * STEP**2))


def with_constant(panel: Panel, model: str, values: np.ndarray) -> np.ndarray:
    """The parameters and the constant at which the likelihood is highest."""
    found = scipy.optimize.minimize_scalar(lambda c: -whole_loglik(panel, model, np.r_[values, c]), bounds=(-20, 20),
                                           method="bounded", options={"xatol": 1e-10})  # fmt: skip
    return np.r_[values, found.x]


@covered(weights=["contiguity", "knn"], model=WITH_RANDOM_EFFECTS)
def test_it_is_the_maximum_of_the_whole_likelihood_and_its_curvature(model: Any, weights: str) -> None:
    panel = made(model, n=20, weights=weights, seed=3)
    got = SpatialRandomEffects(model)(panel)
    assert got.status.tolist() == [Status.OK]
    at = got.terms.index("sigma2_unit") + 1
    point = with_constant(panel, model, got.estimate[0, :at])
    assert got.statistics["loglik"][0] == pytest.approx(whole_loglik(panel, model, point), rel=1e-9)
    steps = STEP * np.eye(len(point))
    slopes = [whole_loglik(panel, model, point + h) - whole_loglik(panel, model, point - h) for h in steps]
    assert np.abs(slopes).max() < 2e-6
    errors = np.sqrt(np.diag(whole_covariance(panel, model, point)))[:at]
    np.testing.assert_allclose(got.se[0, 0, :at], errors, rtol=2e-3)


def test_of_several_maxima_it_is_the_highest() -> None:
    """Three draws of six units in two periods whose likelihood has two maxima, by a grid of phi^2."""
    many, estimator = small_panel(6, 2, seed=5, replications=20, model="sar"), SpatialRandomEffects(model="sem")
    panel = many.with_variables({"y": many.variables["y"][[7, 13, 17]]})
    reduction = estimator.reduction(panel.schema)
    plan = reduction.prepare(panel)
    sizes, spectrum, moments = Sizes(12, 2), plan[0].spectrum, reduction.reduce(plan, Tile(panel))
    assert isinstance(moments, RandomMoments)
    given = RandomLikelihood(estimator.form, moments, 3, spectrum, sizes, 6)
    heights = []
    for phi2 in np.geomspace(1e-3, 1.0, 12):
        _, r, e, _ = given.given(np.full(3, phi2))
        ssr = np.einsum("ra,rab,rb->r", e, given.gram(np.full(3, phi2)), e)
        heights.append(log_likelihood(ssr, spectrum.slopes(r, "direct")[0], sizes) + 3 * np.log(phi2))
    got = estimator(panel)
    assert (got.status == Status.OK).all()
    assert (got.statistics["loglik"] >= np.max(heights, axis=0) - 1e-6).all()


def test_without_unit_effects_phi_is_one_and_the_fit_is_that_of_a_constant() -> None:
    """Errors whose unit means vary less than those of independent ones do."""
    panel, rng = made("sar", seed=5, n=60), np.random.default_rng(2)
    e = rng.standard_normal((1, 5, 60))
    x, w = panel.variables, next(iter(panel.weights.values()))
    signal = x["did"] + 0.5 * x["inv"] + e - 0.7 * e.mean(axis=1, keepdims=True)
    panel = panel.with_variables({"y": signal @ np.linalg.inv(np.eye(60) - 0.4 * w.dense).T})
    got, plain = SpatialRandomEffects("sar")(panel), SpatialPanel("sar", effects="none", errors=("hessian",))(panel)
    assert (got.statistics["phi"][0], got.status[0]) == (1.0, Status.OK)
    assert np.isnan(got.se[0, 0, got.terms.index("sigma2_unit")])
    assert got.params["sigma2_unit"] == pytest.approx(0.0, abs=1e-12)
    for name in ("did", "inv", "rho", "sigma2", "total:did"):
        assert got.params[name] == pytest.approx(plain.params[name], rel=1e-9)
        errors = (one.se[0, 0, one.terms.index(name)] for one in (got, plain))
        assert next(errors) == pytest.approx(next(errors), rel=1e-6)
    assert got.statistics["loglik"][0] == pytest.approx(plain.statistics["loglik"][0], rel=1e-12)


@pytest.mark.parametrize("model", WITH_RANDOM_EFFECTS)
def test_hausman_by_arithmetic(model: Any) -> None:
    """From second differences of both likelihoods, at the sigma2 of the random effects."""
    panel = made(model, n=40, seed=6)
    got = SpatialRandomEffects(model)(panel)
    fixed = SpatialPanel(model, "lee-yu", errors=("hessian",), effects="unit")(panel)
    names = ("did", "inv", *(("w_did", "w_inv") if model == "sdm" else ()))
    gap = np.array([fixed.params[name] - got.params[name] for name in names])
    assert got.statistics["hausman_df"][0] == len(names)
    statistic = float(got.statistics["hausman"][0])
    assert got.statistics["hausman_p"][0] == pytest.approx(chi2.sf(statistic, len(names)), rel=1e-9)
    p, at = len(names), got.terms.index("sigma2_unit") + 1
    of_random = whole_covariance(panel, model, with_constant(panel, model, got.estimate[0, :at]))[:p, :p]
    at_fixed = np.r_[fixed.estimate[0, : p + 1], got.params["sigma2"]]
    of_fixed = np.linalg.inv(brute_force.observed_hessian(panel, model, "lee-yu", at_fixed, "unit"))[:p, :p]
    assert statistic == pytest.approx(gap @ np.linalg.solve(of_fixed - of_random, gap), rel=2e-3)


@pytest.mark.parametrize("model", ["sar", "sem"])
def test_hausman_has_its_size_and_power(model: Any) -> None:
    free, tied = made(model, 600, n=150, seed=7), made(model, 100, n=150, seed=8, correlated=0.4)
    size, power = ((SpatialRandomEffects(model)(one).statistics["hausman_p"] < 0.05).mean() for one in (free, tied))
    assert 0.025 < size < 0.075 + 4 * 0.0089 - 0.025
    assert power > 0.9


def test_careless_uses_are_one_line() -> None:
    panel = small_panel(18, 5)
    refuses(r"effects", lambda: SpatialPanel(effects="twoway"))
    rows = np.arange(5.0)[None, :, None] + np.zeros((1, 5, 18))
    trend = panel.with_variables({"road": rows})
    refuses(r"'road' is absorbed by the effects", lambda: SpatialPanel("sar", effects="period")(trend))
    assert SpatialPanel("sar", effects="unit")(trend).status.tolist() == [Status.OK]
    uneven = small_panel(18, 5, weights="uneven")
    refuses(r"row-stochastic W", lambda: SpatialPanel("sar", "lee-yu", effects="period")(uneven))
    panel = made("sar")
    refuses("model", lambda: SpatialRandomEffects("slx"))
    bare = Panel(panel.units, panel.periods, panel.variables, panel.roles)
    refuses("no spatial weights", lambda: SpatialRandomEffects()(bare))
    refuses("unit-periods are missing", lambda: SpatialRandomEffects()(small_panel(20, 6, missing=3)))
    constant = panel.with_variables({"inv": np.repeat(panel.variables["inv"][:, :1], 5, axis=1)})
    refuses("'inv' is absorbed by the effects", lambda: SpatialRandomEffects()(constant))
    named = panel.with_variables({"rho": panel.variables["did"]})
    refuses("names of terms", lambda: SpatialRandomEffects(regressors=("rho",))(named))
    refuses("no term 'phi'", lambda: SpatialRandomEffects(terms=("phi",))(panel))
