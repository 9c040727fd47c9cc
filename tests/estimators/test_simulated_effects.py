"""Effects by simulation: against the delta method where it is exact, draw by draw, and what is rejected."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from estimators import Estimates, SpatialPanel, Status, Tile
from estimators.spatial.cross_products import SpatialRegression
from estimators.spatial.fits import SpatialFit, fit_model, simulate
from estimators.spatial.likelihood import FORMS
from estimators.spatial.spectrum import spectrum_of
from references.small_panels import names, small_panel
from sim import BadInput, Streams, Weights

MODELS = ("sar", "sem", "sdm", "slx", "sdem", "sac")
DRAWS = 4000


def errors_of(got: Estimates, kind: str) -> np.ndarray:
    return got.se[0, got.errors.index(kind)]


@pytest.mark.parametrize("transform", ["direct", "lee-yu"])
@pytest.mark.parametrize("model", MODELS)
def test_parameters_have_the_errors_that_they_are_drawn_with(model: str, transform: str) -> None:
    panel = small_panel(60, 8, seed=3, rho=0.2)
    got = SpatialPanel(model=model, transform=transform, simulate=DRAWS)(panel, Streams(3))
    assert got.errors == ("information", "simulation")
    last = got.terms.index("sigma2") + 1
    ratio = errors_of(got, "simulation") / errors_of(got, "information")
    np.testing.assert_allclose(ratio[:last], 1.0, atol=5 / np.sqrt(2 * DRAWS))
    assert np.abs(ratio - 1.0).max() < (0.35 if model == "sac" else 0.1)
    assert (got.lower[0, 1] < got.estimate[0]).all()
    assert (got.estimate[0] < got.upper[0, 1]).all()
    assert np.isnan(got.lower[0, 0]).all()
    assert got.statistics["rejected_draws"][0] == 0


def test_effects_are_those_of_each_draw_from_dense_matrices() -> None:
    panel = small_panel(20, 6, seed=4)
    estimator = SpatialPanel("sdm", simulate=50)
    got, streams = estimator(panel, Streams(9)), Streams(9)
    whole = SpatialPanel("sdm", errors=("hessian", "information"))(panel)
    np.testing.assert_array_equal(got.estimate, whole.estimate)
    reduction = estimator.reduction(panel.schema)
    plan = reduction.prepare(panel)
    fit = fitted(estimator, plan, reduction.reduce(plan, Tile(panel)))
    normals = streams.fixed("simulated effects").standard_normal((50, 8))
    scale = np.sqrt(np.diag(fit.covariance()[0]))
    values, vectors = np.linalg.eigh(fit.covariance()[0] / np.outer(scale, scale))
    draws = fit.parameters[0] + normals @ (scale[:, None] * vectors * np.sqrt(values)).T
    w = panel.weights["knn"].dense
    totals = []
    for draw in draws:
        effect = np.linalg.solve(np.eye(20) - draw[6] * w, draw[0] * np.eye(20) + draw[3] * w)
        totals.append((np.trace(effect) / 20, effect.sum() / 20 - np.trace(effect) / 20, effect.sum() / 20))
    at = [got.terms.index(f"{kind}:did") for kind in ("direct", "indirect", "total")]
    np.testing.assert_allclose(errors_of(got, "simulation")[at], np.std(totals, axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(got.lower[0, 1, at], np.quantile(totals, 0.025, axis=0), rtol=1e-9)
    np.testing.assert_allclose(got.upper[0, 1, at], np.quantile(totals, 0.975, axis=0), rtol=1e-9)


def fitted(estimator: SpatialPanel, plan: object, moments: object) -> SpatialFit:
    return fit_model(SpatialRegression(estimator.form, estimator.transform, plan, moments))


def test_draws_outside_the_interval_are_rejected_and_counted() -> None:
    panel = small_panel(12, 4, seed=3, rho=0.8, sigma=2.0, model="sar")
    got = SpatialPanel("sar", "lee-yu", simulate=DRAWS)(panel, Streams(1))
    assert got.status[0] == Status.OK
    k = got.terms.index("rho")
    beyond = (1 - got.estimate[0, k]) / got.se[0, 0, k]
    expected = DRAWS * norm.sf(beyond)
    assert expected > 20
    assert abs(got.statistics["rejected_draws"][0] - expected) < 4 * np.sqrt(expected)
    assert got.upper[0, 1, k] < 1
    assert np.isfinite(got.se).all()


def test_draws_beyond_the_interval_of_a_w_of_another_radius_are_rejected() -> None:
    """A ring as it is has the radius 2: of draws of rho from -1 to 1 those between -.5 and .5 are kept."""
    ring = Weights.of(names(12), np.abs(np.subtract.outer(np.arange(12), np.arange(12))) % 10 == 1, "none")
    draws = np.column_stack([np.zeros(41), np.linspace(-1, 1, 41), np.zeros(41)])
    se, _, _, rejected = simulate(np.zeros((1, 3)), np.eye(3)[None], draws, FORMS["sar"], spectrum_of(ring))
    assert ring.radius == pytest.approx(2.0)
    assert rejected[0] == 41 - np.sum(np.abs(draws[:, 1]) < 0.5)
    assert np.isfinite(se).all()


def test_simulation_takes_the_covariance_of_the_first_error_type() -> None:
    panel = small_panel(40, 8, seed=3)
    for errors in (("hessian", "information"), ("cluster:unit", "information"), ("information", "cluster:unit")):
        got = SpatialPanel("sdm", errors=errors, simulate=DRAWS)(panel, Streams(3))
        ratio = errors_of(got, "simulation") / errors_of(got, errors[0])
        np.testing.assert_allclose(ratio[: got.terms.index("sigma2")], 1.0, atol=5 / np.sqrt(2 * DRAWS))


def test_the_same_streams_give_the_same_bits_whatever_the_batch() -> None:
    panel = small_panel(20, 6, seed=4, replications=5)
    estimator = SpatialPanel("sar", simulate=100)
    reduction = estimator.reduction(panel.schema)
    plan = reduction.prepare(panel)
    moments = reduction.reduce(plan, Tile(panel))
    whole = estimator.solve(plan, moments, panel.schema, Streams(1))
    part = estimator.solve(plan, moments.take(slice(3, 4)), panel.schema, Streams(1))
    other = estimator.solve(plan, moments, panel.schema, Streams(2))
    np.testing.assert_array_equal(whole.se[3:4], part.se)
    np.testing.assert_array_equal(whole.upper[3:4], part.upper)
    assert (whole.se[:, 1] != other.se[:, 1]).all()


def test_one_draw_has_no_spread() -> None:
    with pytest.raises(BadInput, match="simulate = 1"):
        SpatialPanel(simulate=1)
