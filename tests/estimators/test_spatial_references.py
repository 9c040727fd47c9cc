"""SAR, SEM and SDM against spreg (`direct`, information errors with demeaned GZb)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import in_another_order
from covering import covered
from published_panels import cigarette_panel
from refusals import refuses

from estimators import Estimates, Estimator, SpatialPanel, Status, TwoWayDID
from experiments.references import pysal as spreg_reference
from references import brute_force
from references.small_panels import small_panel
from sim import Panel

MODELS = ("sar", "sem", "sdm")


def assert_agrees(panel: Panel, model: str) -> None:
    ours, theirs = SpatialPanel(model=model)(panel), spreg_reference.spatial_panel(panel, model)
    np.testing.assert_allclose(theirs.ours(ours), theirs.estimate, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(theirs.our_se(ours, "information"), theirs.se["information"], rtol=1e-6)
    assert ours.statistics["loglik"][0] == pytest.approx(theirs.statistics["loglik"], rel=1e-9)


@covered(model=MODELS, weights=["knn", "inverse-distance", "contiguity"], rho=[-0.3, 0.0, 0.6])
def test_spatial_panel_equals_spreg(model: str, weights: str, rho: float) -> None:
    assert_agrees(small_panel(30, 6, seed=2, weights=weights, rho=rho, model=model), model)


@pytest.mark.parametrize("model", ["sar", "sdm"])
def test_lag_models_equal_spreg_when_w_is_not_row_stochastic(model: str) -> None:
    """Time effects then pass through G, which the information matrix has to know."""
    assert_agrees(small_panel(30, 6, seed=2, weights="spectral", model=model), model)


# Numbers that were computed elsewhere: Elhorst's cigarette panel.


COEFFICIENTS = {  # rho or lambda, ln price, ln income, their spatial lags, sigma2, log-likelihood
    ("sdm", "direct"): (0.229200, -1.00245, 0.60065, 0.05646, -0.29500, 0.004975, 1691.5383),
    ("sdm", "lee-yu"): (0.271178, -0.99974, 0.59923, 0.10709, -0.30897, 0.005237, 1571.2485),
    ("sar", "direct"): (0.191177, -0.99387, 0.46196, 0.005055, 1683.5865),
    ("sar", "lee-yu"): (0.221025, -0.98747, 0.45156, 0.005332, 1562.1541),
    ("sem", "direct"): (0.240668, -1.00411, 0.55389, 0.0049993, 1687.2182),
    ("sem", "lee-yu"): (0.282759, -0.99935, 0.55800, 0.0052607, 1567.5887),
}
T_OF_RHO = {  # information matrix with demeaned GZb
    ("sdm", "direct"): 6.9804, ("sdm", "lee-yu"): 7.8361, ("sar", "direct"): 6.6783, ("sar", "lee-yu"): 7.369,
    ("sem", "direct"): 7.369, ("sem", "lee-yu"): 8.215,
}  # fmt: skip
EFFECTS = {  # direct, indirect, total of price, then of income
    "direct": (-1.0133, -0.2140, -1.2273, 0.5908, -0.1943, 0.3965),
    "lee-yu": (-1.0122, -0.2126, -1.2248, 0.5881, -0.1899, 0.3983),
}
EFFECT_ERRORS = {
    "direct": (0.03999, 0.08850, 0.09870, 0.05514, 0.08515, 0.07880),
    "lee-yu": (0.04122, 0.09521, 0.10711, 0.05636, 0.09019, 0.08551),
}
LIKELIHOOD_RATIOS = {"direct": (15.9035, 8.6402), "lee-yu": (18.1887, 7.3195)}  # SDM against SAR, against SEM


def fit(panel: Panel, model: str, transform: str) -> Estimates:
    return SpatialPanel(model=model, transform=transform, full_fit=True)(panel)


def term(estimates: Estimates, name: str) -> float:
    return float(estimates.estimate[0, estimates.terms.index(name)])


def error(estimates: Estimates, name: str) -> float:
    return float(estimates.se[0, 0, estimates.terms.index(name)])


@pytest.fixture(scope="module")
def cigarettes(shared_data: Path) -> Panel:
    return cigarette_panel(shared_data)


@pytest.mark.parametrize(("model", "transform"), COEFFICIENTS)
def test_cigarettes_coefficients(cigarettes: Panel, model: str, transform: str) -> None:
    got = fit(cigarettes, model, transform)
    spatial = "lambda" if model == "sem" else "rho"
    slopes = ("logp", "logy", *(("w_logp", "w_logy") if model == "sdm" else ()))
    values = [term(got, name) for name in (spatial, *slopes)]
    *expected, sigma2, loglik = COEFFICIENTS[model, transform]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5)
    assert term(got, "sigma2") == pytest.approx(sigma2, abs=1e-6)
    assert got.statistics["loglik"][0] == pytest.approx(loglik, abs=1e-4)
    assert term(got, spatial) / error(got, spatial) == pytest.approx(T_OF_RHO[model, transform], abs=6e-4)


@pytest.mark.parametrize("transform", ["direct", "lee-yu"])
def test_cigarettes_effects_and_their_errors(cigarettes: Panel, transform: str) -> None:
    got = fit(cigarettes, "sdm", transform)
    names = [f"{kind}:{name}" for name in ("logp", "logy") for kind in ("direct", "indirect", "total")]
    np.testing.assert_allclose([term(got, name) for name in names], EFFECTS[transform], rtol=0, atol=6e-5)
    np.testing.assert_allclose([error(got, name) for name in names], EFFECT_ERRORS[transform], rtol=0, atol=1e-5)


@pytest.mark.parametrize("transform", ["direct", "lee-yu"])
def test_cigarettes_likelihood_ratios(cigarettes: Panel, transform: str) -> None:
    loglik = {model: fit(cigarettes, model, transform).statistics["loglik"][0] for model in ("sdm", "sar", "sem")}
    ratios = [2 * (loglik["sdm"] - loglik[smaller]) for smaller in ("sar", "sem")]
    np.testing.assert_allclose(ratios, LIKELIHOOD_RATIOS[transform], rtol=0, atol=1e-4)


def test_cigarettes_goodness_of_fit(cigarettes: Panel) -> None:
    statistics = fit(cigarettes, "sdm", "direct").statistics
    got = [statistics[name][0] for name in ("r2", "r2_corr", "r2_within")]
    np.testing.assert_allclose(got, [0.90130, 0.40006, 0.42804], rtol=0, atol=1e-5)


# SAR, SEM and SDM against a slow program: dummies or Lee and Yu's transformed data, dense matrices, a root search.


RHOS = (-0.6, 0.0, 0.4, 0.8)


@covered(transform=["direct", "lee-yu"], model=MODELS, weights=["knn", "inverse-distance", "contiguity"], rho=RHOS)
def test_spatial_panel_equals_its_twin(model: str, transform: str, weights: str, rho: float) -> None:
    panel = small_panel(30, 6, seed=3, weights=weights, rho=rho, model=model)
    ours = SpatialPanel(model=model, transform=transform)(panel)
    twin = brute_force.spatial_panel(panel, model, transform)
    assert ours.status.tolist() == [Status.OK]
    assert set(twin.terms) == set(ours.terms)
    np.testing.assert_allclose(twin.ours(ours), twin.estimate, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(twin.our_se(ours, "information"), twin.se["information"], rtol=1e-8)
    assert ours.statistics["loglik"][0] == pytest.approx(twin.statistics["loglik"], rel=1e-11)


@covered(model=MODELS, transform=["direct", "lee-yu"])
def test_the_search_finds_the_global_maximum(model: str, transform: str) -> None:
    """Hard panels: few cities, few years, spatial coefficients from -.8 to .9, other ones for each case."""
    for seed in range(MODELS.index(model), 10, 3):
        panel = small_panel(15, 4, seed=100 + seed, rho=-0.8 + 0.19 * seed, model=model, sigma=2.0)
        ours = SpatialPanel(model=model, transform=transform)(panel)
        best = brute_force.profile(panel, model, transform, np.linspace(-0.995, 0.995, 399)).max()
        if ours.status[0] == Status.OK:
            assert ours.statistics["loglik"][0] >= best - 1e-9


def squared_correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1] ** 2)


def within_twin(values: np.ndarray) -> np.ndarray:
    return values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()


@covered(weights=["knn", "uneven"], model=MODELS)
def test_goodness_of_fit_is_that_of_predictions_unit_by_unit(model: str, weights: str) -> None:
    panel = small_panel(30, 6, seed=8, weights=weights, model=model, rho=0.5)
    got = SpatialPanel(model=model, full_fit=True)(panel)
    value = dict(zip(got.terms, got.estimate[0], strict=True))
    w, y = panel.weights[weights].dense, panel.variables["y"][0]
    x = {name: panel.variables[name][0] for name in panel.roles.regressors}
    lagged = {name: value.get(f"w_{name}", 0.0) for name in x}
    signal = sum(value[name] * v + lagged[name] * v @ w.T for name, v in x.items())
    rho = value.get("rho", 0.0)
    s = np.linalg.inv(np.eye(30) - rho * w)
    predictions = {"reduced": signal @ s.T, "naive": signal + rho * y @ w.T}
    wanted = {"r2_corr": squared_correlation(within_twin(y), within_twin(signal) @ s.T)}
    for name, prediction in predictions.items():
        by_unit = (y - y.mean(axis=0), prediction - prediction.mean(axis=0))
        wanted[f"r2_{name}_within"] = squared_correlation(*by_unit)
        wanted[f"r2_{name}_between"] = squared_correlation(y.mean(axis=0), prediction.mean(axis=0))
        wanted[f"r2_{name}_overall"] = squared_correlation(y, prediction)
    assert {name: got.statistics[name][0] for name in wanted} == pytest.approx(wanted, rel=1e-9)


# What must not change an answer, or must change it in a known way: order, scale, added effects, batches, labels.


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


def test_scaling_the_outcome_scales_slopes_and_errors(estimator: Estimator, panel: Panel) -> None:
    factor = 1e-4
    got = estimator(mapped(panel, lambda name, values: values * factor if name == "y" else values))
    wanted = estimator(panel)
    scale = np.array([{"rho": 1.0, "lambda": 1.0, "sigma2": factor**2}.get(term, factor) for term in wanted.terms])
    np.testing.assert_allclose(got.estimate, wanted.estimate * scale, rtol=1e-8)
    np.testing.assert_allclose(got.se, wanted.se * scale, rtol=1e-8)


def test_scaling_a_regressor_scales_its_own_terms_alone(estimator: Estimator, panel: Panel) -> None:
    factor = 250.0
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
    refuses("differ in which unit-periods", lambda: TwoWayDID()(replace(panel, observed=observed)))
