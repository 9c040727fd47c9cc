"""Forms of one redrawn absorbing treatment by its dates: against dense algebra, and against those of its values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from estimators import LMTests, SpatialPanel, Tile
from estimators.core.estimator import ROWS_AT_ONCE
from estimators.core.tile import UNDATED, balanced_split, dates_of
from estimators.spatial.cross_products import AbsorbingForms, FixedSide
from estimators.spatial.spectrum import Spectrum, Transform
from references.small_panels import small_panel, small_weights
from sim import Panel, Streams

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


@pytest.mark.parametrize("weights", ["knn", "contiguity"])
@pytest.mark.parametrize("kind", ["many", "few"])
@pytest.mark.parametrize("durbin", [False, True])
@pytest.mark.parametrize("controls", [0, 2])
def test_forms_equal_dense_algebra(weights: Any, kind: str, durbin: bool, controls: int) -> None:
    w, rng = small_weights(N, weights), np.random.default_rng(3)
    x = balanced_split(rng.standard_normal((controls, T, N)))[0]
    spectrum, dates = Spectrum(w), drawn_dates(RHO.size, kind)
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


@pytest.mark.parametrize("weights", ["knn", "contiguity"])
@pytest.mark.parametrize("transform", ["direct", "lee-yu"])
@pytest.mark.parametrize("model", ["sar", "sdm", "sac", "sem"])
@pytest.mark.parametrize("switching", [(), (0, 3, 21), tuple(range(ROWS))])
def test_dates_give_the_errors_that_values_give(
    weights: Any, transform: Transform, model: Any, switching: tuple[int, ...]
) -> None:
    """Where arrays are kept, for statistics of fit, values and no dates serve."""
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
    side = FixedSide.of(np.zeros((2, T, units)), Spectrum(small_weights(units, kind)))
    assert (side is not None) == able


def test_many_worlds_do_without_tables() -> None:
    """Each of them has few replications: values serve, and the errors are the same."""
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
    """Dates are small; the values of treatments that are not absorbing are not."""
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
