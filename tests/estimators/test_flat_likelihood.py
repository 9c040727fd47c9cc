"""A W that links all units alike: under Lee and Yu the likelihood is the same for every rho, and no fit is OK."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import SpatialPanel, Status
from estimators.spatial.spectrum import FLAT, Spectrum
from sim import BadInput, Panel, Roles, Weights

WITH_PARAMETERS = ("sar", "sem", "sdm", "sdem", "sac")


def nearly_uniform(n: int, distance: float, seed: int = 0) -> Weights:
    """Row-stochastic, every entry within `distance` of 1/(N - 1), relatively."""
    noise = np.random.default_rng(seed).uniform(-1, 1, (n, n))
    raw = 1.0 + distance * noise
    np.fill_diagonal(raw, 0.0)
    return Weights.of(tuple(f"u{i:03d}" for i in range(n)), raw)


def inverse_distance(n: int, seed: int = 0) -> Weights:
    places = np.random.default_rng(seed).random((n, 2))
    apart = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    return Weights.of(tuple(f"u{i:03d}" for i in range(n)), 1 / apart)


def panel(weights: Weights, seed: int = 1) -> Panel:
    rng = np.random.default_rng(seed)
    n, t = len(weights.units), 8
    x = rng.standard_normal((1, t, n))
    variables = {"x": x, "y": x + rng.standard_normal((1, t, n))}
    return Panel(weights.units, tuple(range(t)), variables, Roles("y", None, ("x",)), weights={"w": weights})


@pytest.mark.parametrize("distance", [0.0, 1e-8, 1e-4])
@pytest.mark.parametrize("model", WITH_PARAMETERS)
def test_uniform_weights_are_refused_under_lee_yu(model: str, distance: float) -> None:
    with pytest.raises(BadInput, match=r"links all units equally|collinear"):
        SpatialPanel(model, "lee-yu")(panel(nearly_uniform(30, distance)))


@pytest.mark.parametrize("distance", [0.0, 1e-8, 1e-4])
@pytest.mark.parametrize("model", ["sar", "sem"])
def test_the_direct_likelihood_rises_to_its_edge_there(model: str, distance: float) -> None:
    got = SpatialPanel(model, "direct")(panel(nearly_uniform(30, distance)))
    assert got.status[0] == Status.NOT_CONVERGED


@pytest.mark.parametrize("distance", [0.0, 1e-8, 1e-4])
def test_the_likelihood_is_flat_where_weights_are_refused(distance: float) -> None:
    """By definition: the transformed log-likelihood, from orthonormal complements, over the interval of rho."""
    weights = nearly_uniform(30, distance)
    own = panel(weights)
    complement = np.linalg.qr(np.column_stack([np.ones(30), np.eye(30)[:, 1:]]))[0][:, 1:]
    over_time = np.linalg.qr(np.column_stack([np.ones(8), np.eye(8)[:, 1:]]))[0][:, 1:]
    y, x = (complement.T @ own.variables[name][0].T @ over_time for name in ("y", "x"))
    w = complement.T @ weights.dense @ complement

    def log_likelihood(rho: float) -> float:
        filtered = (y - rho * w @ y).ravel()
        residual = filtered - x.ravel() * (x.ravel() @ filtered) / (x.ravel() @ x.ravel())
        log_det = np.linalg.slogdet(np.eye(29) - rho * w)[1]
        return float(7 * log_det - residual.size / 2 * np.log(residual @ residual))

    heights = [log_likelihood(rho) for rho in np.linspace(-0.95, 0.95, 21)]
    assert np.ptp(heights) < 0.01


@pytest.mark.parametrize("n", [30, 285])
@pytest.mark.parametrize("model", WITH_PARAMETERS)
def test_ordinary_dense_weights_work(model: str, n: int) -> None:
    got = SpatialPanel(model, "lee-yu")(panel(inverse_distance(n)))
    assert got.status[0] == Status.OK
    spatial = [got.terms.index(name) for name in ("rho", "lambda") if name in got.terms]
    assert (got.se[0, 0, spatial] < 1).all()


def test_least_squares_with_lags_needs_no_information_about_rho() -> None:
    got = SpatialPanel("slx", "lee-yu")(panel(nearly_uniform(30, 0.05)))
    assert got.status[0] == Status.OK


@pytest.mark.parametrize("n", [12, 30, 285])
def test_share_of_information_is_that_of_the_information_matrix(n: int) -> None:
    """Rho's information net of sigma2's, over rho's, both from H = Q_N W."""
    for weights in (inverse_distance(n), nearly_uniform(n, 0.5)):
        h = weights.dense - weights.dense.mean(axis=0)
        own = np.trace(h @ h) + np.trace(h.T @ h)
        net = own - 2 * np.trace(h) ** 2 / (n - 1)  # I_rs^2 / I_ss = (T tr H / s2)^2 2 s2^2 / (T (N - 1)), over T
        share = Spectrum(weights).own_information
        assert share == pytest.approx(net / own, rel=1e-9)
        assert share > 100 * FLAT
    assert Spectrum(nearly_uniform(n, 1e-4)).own_information < FLAT / 100
