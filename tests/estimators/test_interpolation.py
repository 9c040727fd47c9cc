"""Interpolated functions of rho against direct evaluation over the whole interval, and the two forms of information."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from covering import covered
from numpy.typing import NDArray

from estimators import LMTests, SpatialPanel, Tile
from estimators.core.estimator import ROWS_AT_ONCE, Pieces
from estimators.core.tile import UNDATED, balanced_split, dates_of
from estimators.spatial import spectrum as spectra
from estimators.spatial.cross_products import AbsorbingForms, Columns, FixedForms, FixedSide, redrawn_forms
from references.small_panels import small_panel, small_weights
from sim import Panel, Streams
from sim.weights import Weights
from sim.world.context import city_weights

GRID = np.unique(np.concatenate([np.linspace(-0.999, 0.999, 81), [-0.99, 0.99]]))
KINDS = ("knn", "inverse-distance", "contiguity", "spectral", "uneven")


def near_weights(units: int) -> Weights:
    """Six nearest neighbours of random places."""
    places = np.random.default_rng(1).random((units, 2))
    distance = np.linalg.norm(places[:, None] - places, axis=2)
    nearest = np.argsort(distance, axis=1)[:, 1:7]
    links = sp.csr_array((np.ones(6 * units), (np.repeat(np.arange(units), 6), nearest.ravel())), (units, units))
    return Weights.of(tuple(f"u{i}" for i in range(units)), links)


def ring(units: int) -> Weights:
    """Each unit's one neighbour is the next: eigenvalues all around the unit circle."""
    return Weights.of(tuple(f"u{i}" for i in range(units)), np.roll(np.eye(units), 1, axis=1))


def directed(units: int) -> Weights:
    """A ring in which two units have one neighbour, and a unit is none's: powers of W serve better than polynomials."""
    raw = np.roll(np.eye(units), 1, axis=1)
    raw[3] = raw[9]
    return Weights.of(tuple(f"u{i}" for i in range(units)), raw)


@pytest.mark.parametrize("kind", KINDS)
def test_traces_equal_dense_evaluation(kind: str) -> None:
    weights = small_weights(30, kind)
    n, w = 30, weights.dense
    rho = GRID / weights.radius
    got = spectra.Spectrum(weights).traces(rho, "direct")
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
    got = spectra.Spectrum(weights).traces(GRID, "lee-yu")
    for i, value in enumerate(GRID):
        h = np.linalg.solve(np.eye(29) - value * w, w)
        log_det = np.linalg.slogdet(np.eye(29) - value * w)[1]
        wanted = {"log_det": log_det, "h": np.trace(h), "hh": np.trace(h @ h), "hth": np.trace(h.T @ h)}
        whole = {"log_det": 1.0, "h": 1 / (1 - value), "hh": 1 / (1 - value) ** 2, "hth": 1 / (1 - value) ** 2}
        for name, number in wanted.items():  # a pole at rho = 1 is taken out by subtraction: relative to the whole
            assert abs(getattr(got, name)[i] - number) <= 1e-10 * max(abs(number), whole[name]), (name, value)


def test_log_determinant_and_traces_at_the_edge() -> None:
    weights, edges = small_weights(30, "inverse-distance"), np.array([-0.9999, 0.9999, 0.999999])
    got = spectra.Spectrum(weights).traces(edges, "direct")
    a = np.eye(30) - edges[:, None, None] * weights.dense
    squares = np.square(np.linalg.solve(a, np.broadcast_to(weights.dense, a.shape))).sum(axis=(1, 2))
    np.testing.assert_allclose(got.log_det, np.linalg.slogdet(a)[1], rtol=1e-10)
    np.testing.assert_allclose(got.hth, squares, rtol=1e-9)  # the dense side loses digits here


def test_interpolant_is_nan_outside_and_for_nan() -> None:
    interpolant = spectra.PiecewiseChebyshev(lambda rho: np.array([np.log1p(-rho)]), radius=2.0)
    got = interpolant(np.array([0.5, -0.5, np.nan, 0.7, 0.25]))
    assert np.isnan(got[:4, 0]).all()
    assert got[4, 0] == pytest.approx(np.log(0.75), abs=1e-14)


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
    spectrum = spectra.Spectrum(weights)
    fixed = FixedForms(z, spectrum)(rho, b, drift)
    every = Columns(p, np.arange(p), z[:0])
    redrawn = redrawn_forms(Pieces((np.broadcast_to(z, (rho.size, *z.shape)),)), spectrum, every, rho, b, drift)
    for i, value in enumerate(rho):
        g = np.linalg.solve(np.eye(30) - value * weights.dense, weights.dense)
        fitted = np.einsum("p,ptn->tn", b[i], z) + (0.0 if drift is None else drift[i][:, None])
        moved = fitted @ g.T
        centred = moved - moved.mean(axis=1, keepdims=True)
        cross = np.einsum("ptn,tn->p", z, moved)
        for forms in (fixed, redrawn):
            np.testing.assert_allclose(forms[0][i], cross, rtol=1e-10, atol=1e-10 * np.abs(cross).max())
            np.testing.assert_allclose(forms[1][i], np.sum(centred**2), rtol=1e-10)


def test_slopes_of_a_fit_are_its_derivatives() -> None:
    """Of ln(1 - a rho): a / (1 - a rho) and its square, with both signs turned."""
    rho = np.linspace(-0.6, 0.6, 61)
    found = spectra.WithSlopes(lambda at: np.array([np.log1p(-1.5 * at)]), 1.5)(rho)
    ratio = 1.5 / (1 - 1.5 * rho)
    np.testing.assert_allclose(found, np.stack([np.log1p(-1.5 * rho), ratio, ratio**2], axis=1), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("units", [285, 520])
def test_sums_from_sparse_factors_equal_those_of_eigenvalues(units: int) -> None:
    """ln|I - rho W| to 1e-13, tr G to 1e-11 and tr G^2 to 1e-9 of their values, at 285 and 520 units."""
    weights = city_weights() if units == 285 else near_weights(units)
    spectrum, rho = spectra.Spectrum(weights), np.linspace(-0.95, 0.95, 201)
    factored = spectra.WithSlopes(lambda at: np.array([spectrum.multiplier.log_determinant(at)]), weights.radius)(rho)
    ratio = weights.eigenvalues / (1 - rho[:, None] * weights.eigenvalues)
    exact = np.stack([np.log(np.abs(1 - rho[:, None] * weights.eigenvalues)).sum(axis=1), ratio.real.sum(axis=1),
                      (ratio**2).real.sum(axis=1)], axis=1)  # fmt: skip
    assert (np.abs(factored - exact) <= np.array([1e-13, 1e-11, 1e-9]) * (1 + np.abs(exact))).all()
    assert spectrum.multiplier.sparse == (units == 520)
    if spectrum.multiplier.sparse:
        np.testing.assert_array_equal(np.stack(spectrum.slopes(rho, "direct"), axis=1), factored)


@pytest.mark.parametrize("weights", [*(small_weights(30, kind) for kind in KINDS), city_weights(), ring(40)],
                         ids=[*KINDS, "cities", "ring"])  # fmt: skip
def test_series_equal_solutions(weights: Weights) -> None:
    rng, n = np.random.default_rng(2), len(weights.units)
    rho = np.array([0.0, 0.3, -0.97, 0.31, 0.62, np.nan, 0.85, -0.4, 0.95, 0.995, 0.3]) / weights.radius
    x = rng.standard_normal((rho.size, 7, n))
    multiplier = spectra.Multiplier(weights)
    got = spectra.PowerSeries(multiplier).apply(rho, x)
    for row, value in enumerate(rho):
        alone = spectra.PowerSeries(multiplier).apply(rho[row : row + 1], x[row : row + 1])[0]
        np.testing.assert_array_equal(alone, got[row])
        if np.isnan(value):
            assert np.isnan(got[row]).all()
            continue
        exact = np.linalg.solve(np.eye(n) - value * weights.dense, weights.dense @ x[row].T).T
        assert np.abs(got[row] - exact).max() <= 1e-11 * max(np.abs(exact).max(), np.abs(x[row]).max())


def test_errors_of_large_panels_interpolate_the_multiplier() -> None:
    for n in (30, spectra.SPARSE_FROM):
        w = spectra.spectrum_of(small_weights(n))
        dense = w.weights.dense
        for rho in (-0.97, -0.3, 0.0, 0.42, 0.9, 0.999):
            wanted = np.linalg.solve(np.eye(n) - rho * dense, dense)
            scale = np.abs(wanted).max()
            for got in (w.multiplier(rho), w.near_multiplier(rho)):
                np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-11 * scale)
            x = np.random.default_rng(1).standard_normal((2, 3, n))
            np.testing.assert_allclose(w.multiplier.apply(rho, x), x @ wanted.T, rtol=0, atol=1e-10 * scale)
            sums = [np.vdot(wanted, wanted), *(np.square(wanted.sum(axis=0)).sum() / n,), wanted.sum() / n,
                    (wanted @ wanted).sum() / n]  # fmt: skip
            np.testing.assert_allclose(w.multiplier.norms(rho), sums, rtol=1e-10)
    assert w.multiplier.sparse


@pytest.mark.parametrize("model", ["sar", "sac"])
def test_a_large_panel_computes_without_nodes_what_a_small_one_interpolates(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = small_panel(40, 6, seed=4)
    estimator = SpatialPanel(model, errors=("information", "cluster:unit"))
    wanted = estimator(panel)
    spectra._KEPT.clear()
    monkeypatch.setattr(spectra, "INTERPOLATED_UP_TO", 30)
    monkeypatch.setattr(spectra, "SPARSE_FROM", 30)
    monkeypatch.setattr(spectra, "MOST_FILL", 1.0)
    got = estimator(panel)
    spectra._KEPT.clear()
    np.testing.assert_allclose(got.se, wanted.se, rtol=1e-9)


N, T, ROWS = 40, 9, 22
Floats = NDArray[np.float64]
RHO = np.array([0.0, 0.1, -0.2, 0.3, 0.31, 0.62, -0.5, 0.85, -0.97, np.nan, 0.15])


def drawn_dates(rows: int, kind: str = "many", units: int = N) -> NDArray[np.int16]:
    """First treated periods: any date, or one of three; some units are always treated, some never."""
    rng = np.random.default_rng(5)
    among = np.arange(T + 1) if kind == "many" else np.array([2, 5, 6, T])
    return rng.choice(among, (rows, units)).astype(np.int16)


def treatments(dates: NDArray[np.int16]) -> Floats:
    return (np.arange(T)[:, None] >= dates[:, None, :]).astype(float)


def drawn(*, switching: tuple[int, ...] = (), kind: str = "many", weights: Any = "knn") -> Panel:
    """A panel with redrawn outcomes and treatments, of which some rows are not absorbing."""
    panel = small_panel(N, T, seed=4, replications=ROWS, rho=0.2, weights=weights)
    did = treatments(drawn_dates(ROWS, kind))
    for row in switching:
        did[row] = np.random.default_rng(row).random((T, N)) < 0.4
    return panel.with_variables({"did": did})


@pytest.mark.parametrize("weights", ["knn", "contiguity", "directed"])
@pytest.mark.parametrize("kind", ["many", "few"])
@pytest.mark.parametrize("durbin", [False, True])
@pytest.mark.parametrize("controls", [0, 2])
def test_forms_equal_dense_algebra(weights: Any, kind: str, durbin: bool, controls: int) -> None:
    w, rng = directed(N) if weights == "directed" else small_weights(N, weights), np.random.default_rng(3)
    x = balanced_split(rng.standard_normal((controls, T, N)))[0]
    spectrum, dates = spectra.Spectrum(w), drawn_dates(RHO.size, kind)
    fixed = FixedSide.of(np.concatenate([x, w.lag(x, centred=True)]), spectrum)
    assert fixed is not None
    p = (1 + controls) * (1 + durbin)
    own = np.array([0, 1 + controls][: 1 + durbin])
    b, zgzb, squares = rng.standard_normal((RHO.size, p)), np.full((RHO.size, p), np.nan), np.full(RHO.size, np.nan)
    served = AbsorbingForms(dates, fixed, {})(RHO, b, own, zgzb, squares)
    assert served.sum() >= 5
    assert not served[[8, 9]].any()
    for i in np.flatnonzero(served):
        d = balanced_split(treatments(dates[i : i + 1]))[0]
        z = np.concatenate([d, x])
        z = np.concatenate([z, w.lag(z, centred=True)])[:p]
        g = np.linalg.solve(np.eye(N) - RHO[i] * w.dense, w.dense)
        moved = np.einsum("p,ptn->tn", b[i], z) @ g.T
        q = moved - moved.mean(axis=1, keepdims=True)
        wanted = np.einsum("ptn,tn->p", z, q)
        np.testing.assert_allclose(zgzb[i], wanted, rtol=1e-10, atol=1e-11 * np.abs(wanted).max())
        np.testing.assert_allclose(squares[i], np.sum(q**2), rtol=1e-11)
    assert np.isnan(squares[~served]).all()


@covered(
    weights=["knn", "contiguity"],
    transform=["direct", "lee-yu"],
    model=["sar", "sdm", "sac", "sem"],
    switching=[(), (0, 3, 21), tuple(range(ROWS))],
)
def test_dates_give_the_errors_that_values_give(
    weights: Any, transform: spectra.Transform, model: Any, switching: tuple[int, ...]
) -> None:
    panel = drawn(switching=switching, weights=weights)
    own = SpatialPanel(model, transform)
    whole = dataclasses.replace(own, full_fit=True)
    plans = [estimator.reduction(panel.schema).prepare(panel) for estimator in (own, whole)]
    assert [plan.beside is None for plan in plans] == [False, True]
    found, wanted = own(panel), whole(panel)
    np.testing.assert_array_equal(found.status, wanted.status)
    np.testing.assert_allclose(found.estimate, wanted.estimate, rtol=1e-11)
    np.testing.assert_allclose(found.se, wanted.se, rtol=1e-10)


@pytest.mark.parametrize(("kind", "units", "able"), [("knn", 60, True), ("knn", 500, False), ("spectral", 60, False),
                                                     ("inverse-distance", 60, False)])  # fmt: skip
def test_which_weights_have_tables(kind: Any, units: int, able: bool) -> None:
    """Sparse row-stochastic ones of fewer than 500 units."""
    side = FixedSide.of(np.zeros((2, T, units)), spectra.Spectrum(small_weights(units, kind)))
    assert (side is not None) == able


def test_sparse_weights_that_let_time_effects_through_have_no_tables() -> None:
    chain = Weights.of(tuple(f"u{i}" for i in range(60)), np.eye(60, k=1) + np.eye(60, k=-1), "spectral")
    spectrum = spectra.Spectrum(chain)
    assert not spectrum.series.dense
    assert FixedSide.of(np.zeros((2, T, 60)), spectrum) is None


def test_many_worlds_do_without_tables() -> None:
    panel, estimator = drawn(), SpatialPanel("sdm")
    reduction = estimator.reduction(panel.schema)
    plan = reduction.prepare(panel)
    assert reduction.for_worlds(plan, 1) is plan
    other = reduction.for_worlds(plan, 2)
    assert other.beside is None
    found, wanted = (estimator.solve(each, reduction.reduce(each, Tile(panel)), panel.schema, Streams(0))
                     for each in (other, plan))  # fmt: skip
    np.testing.assert_allclose(found.se, wanted.se, rtol=1e-11)


def test_whole_arrays_limit_how_many_rows_wait() -> None:
    wide = small_panel(400, 12, replications=2)
    did = (np.random.default_rng(1).random((2, 12, 400)) < 0.3).astype(float)
    reduction, waiting = SpatialPanel("sar").reduction(wide.schema), []
    for values in (did, np.maximum.accumulate(did, axis=1)):
        waiting.append(reduction.rows(reduction.prepare(wide.with_variables({"did": values}))))
    assert waiting[0] < waiting[1] == ROWS_AT_ONCE


def test_lm_tests_find_the_regressors_again() -> None:
    """The form whose lags come after the effects needs the values of regressors, which dates give."""
    panel = drawn(switching=(2,))
    own = LMTests(form="elhorst-wq")
    found = own(panel)
    doubled = panel.with_variables({"did": 2 * panel.variables["did"]})  # the same tests, of values
    np.testing.assert_allclose(found.estimate, own(doubled).estimate, rtol=1e-9)


def test_dates_of_what_is_not_absorbing() -> None:
    d = treatments(drawn_dates(4))
    d[1, 3, 2], d[2] = 0.5, np.flip(d[2], axis=0)
    found = dates_of(d)
    assert (found[[1, 2]] == UNDATED).all()
    np.testing.assert_array_equal(found[[0, 3]], drawn_dates(4)[[0, 3]])
