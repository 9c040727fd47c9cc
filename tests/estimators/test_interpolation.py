"""Interpolated functions of rho against direct evaluation over the whole interval, and the two forms of information."""

from __future__ import annotations

import numpy as np
import pytest

from estimators.spatial.information import Columns, FixedForms, RedrawnForms
from estimators.spatial.interpolation import PiecewiseChebyshev
from estimators.spatial.spectrum import Spectrum, spectrum_of
from references.small_panels import small_weights
from sim.designs.geography import city_weights

GRID = np.unique(np.concatenate([np.linspace(-0.999, 0.999, 81), [-0.99, 0.99]]))
KINDS = ("knn", "inverse-distance", "contiguity", "spectral", "uneven")


@pytest.mark.parametrize("kind", KINDS)
def test_traces_equal_dense_evaluation(kind: str) -> None:
    weights = small_weights(30, kind)
    n, w = 30, weights.dense
    rho = GRID / weights.radius
    got = Spectrum(weights).traces(rho, "direct")
    for i, value in enumerate(rho):
        g = np.linalg.solve(np.eye(n) - value * w, w)
        expected = {
            "log_det": np.linalg.slogdet(np.eye(n) - value * w)[1],
            "g": np.trace(g), "gg": np.trace(g @ g), "h": np.trace(g), "hh": np.trace(g @ g),
            "hth": np.trace(g.T @ g), "sum_g": g.sum() / n, "sum_gg": (g @ g).sum() / n,
        }  # fmt: skip
        for name, wanted in expected.items():
            floor = 1.0 if name.startswith("sum") else 1e-2  # some cross zero; sums cancel terms of up to |G|^2
            scale = max(abs(wanted), floor)
            assert abs(getattr(got, name)[i] - wanted) <= 1e-10 * scale, (name, value)


@pytest.mark.parametrize("kind", ["knn", "inverse-distance", "contiguity"])
def test_lee_yu_traces_equal_those_of_the_transformed_matrix(kind: str) -> None:
    weights = small_weights(30, kind)
    complement = np.linalg.qr(np.column_stack([np.ones(30), np.eye(30)[:, 1:]]))[0][:, 1:]
    w = complement.T @ weights.dense @ complement
    got = Spectrum(weights).traces(GRID, "lee-yu")
    for i, value in enumerate(GRID):
        h = np.linalg.solve(np.eye(29) - value * w, w)
        log_det = np.linalg.slogdet(np.eye(29) - value * w)[1]
        wanted = {"log_det": log_det, "h": np.trace(h), "hh": np.trace(h @ h), "hth": np.trace(h.T @ h)}
        whole = {"log_det": 1.0, "h": 1 / (1 - value), "hh": 1 / (1 - value) ** 2, "hth": 1 / (1 - value) ** 2}
        for name, number in wanted.items():  # a pole at rho = 1 is taken out by subtraction: relative to the whole
            assert abs(getattr(got, name)[i] - number) <= 1e-10 * max(abs(number), whole[name]), (name, value)


@pytest.mark.parametrize("edge", [-0.9999, 0.9999, 0.999999])
def test_log_determinant_and_traces_at_the_edge(edge: float) -> None:
    weights = small_weights(30, "inverse-distance")
    got = Spectrum(weights).traces(np.array([edge]), "direct")
    g = np.linalg.solve(np.eye(30) - edge * weights.dense, weights.dense)
    assert got.log_det[0] == pytest.approx(np.linalg.slogdet(np.eye(30) - edge * weights.dense)[1], rel=1e-10)
    assert got.hth[0] == pytest.approx(np.vdot(g, g), rel=1e-9)  # the dense side loses digits here


def test_traces_of_285_cities() -> None:
    weights = city_weights()
    rho = np.array([-0.95, -0.3, 0.0, 0.1492, 0.9, 0.99])
    got = spectrum_of(weights).traces(rho, "direct")
    for i, value in enumerate(rho):
        inverse = np.eye(285) - value * weights.dense
        g = np.linalg.solve(inverse, weights.dense)
        np.testing.assert_allclose(got.log_det[i], np.linalg.slogdet(inverse)[1], rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(got.hth[i], np.vdot(g, g), rtol=1e-10)


def test_interpolant_is_nan_outside_and_for_nan() -> None:
    interpolant = PiecewiseChebyshev(lambda rho: np.array([np.log1p(-rho)]), radius=2.0)
    got = interpolant(np.array([0.5, -0.5, np.nan, 0.7, 0.25]))
    assert np.isnan(got[:4, 0]).all()
    assert got[4, 0] == pytest.approx(np.log(0.75), abs=1e-14)


def test_interpolant_does_not_depend_on_the_batch() -> None:
    spectrum = Spectrum(small_weights(30))
    rho = np.random.default_rng(1).uniform(-0.999, 0.999, 101)
    together = spectrum.traces(rho, "direct")
    for i in (0, 1, 50, 100):
        alone = spectrum.traces(rho[i : i + 1], "direct")
        assert alone.log_det[0] == together.log_det[i]
        assert alone.hth[0] == together.hth[i]


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_and_redrawn_forms_equal_dense_algebra(kind: str) -> None:
    weights = small_weights(30, kind)
    rng = np.random.default_rng(3)
    t, p = 6, 3
    z = rng.standard_normal((p, t, 30))
    z -= z.mean(axis=1, keepdims=True)
    z -= z.mean(axis=2, keepdims=True)
    rho = np.array([-0.97, -0.4, 0.0, 0.3, 0.85, 0.95, 0.995]) / weights.radius
    b = rng.standard_normal((rho.size, p))
    drift = None if weights.row_stochastic else rng.standard_normal((rho.size, t))
    spectrum = Spectrum(weights)
    fixed = FixedForms(z, spectrum)(rho, b, drift)
    every = Columns(p, np.arange(p), z[:0], lagged=True)
    redrawn = RedrawnForms(np.broadcast_to(z, (rho.size, *z.shape)), spectrum, every)(rho, b, drift)
    for i, value in enumerate(rho):
        g = np.linalg.solve(np.eye(30) - value * weights.dense, weights.dense)
        fitted = np.einsum("p,ptn->tn", b[i], z) + (0.0 if drift is None else drift[i][:, None])
        moved = fitted @ g.T
        centred = moved - moved.mean(axis=1, keepdims=True)
        cross = np.einsum("ptn,tn->p", z, moved)
        for forms in (fixed, redrawn):
            np.testing.assert_allclose(forms[0][i], cross, rtol=1e-10, atol=1e-10 * np.abs(cross).max())
            np.testing.assert_allclose(forms[1][i], np.sum(centred**2), rtol=1e-10)
