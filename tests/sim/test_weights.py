"""Spatial weights: standardisation, eigenvalues, lags, relabelling, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from references.small_panels import names, small_weights
from sim import BadInput, Weights
from sim.filters import SpatialFilter
from sim.weights import ROWS, chunks
from sim.world.context import city_weights

KINDS = ("knn", "inverse-distance", "contiguity", "spectral")


def random_raw(n: int = 9, density: float = 0.5, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    raw = rng.random((n, n)) * (rng.random((n, n)) < density)
    np.fill_diagonal(raw, 0.0)
    raw[np.arange(n), (np.arange(n) + 1) % n] = 0.5
    return raw


def test_rows_sum_to_one_by_default_and_entries_stay_where_nothing_is_standardised() -> None:
    weights = Weights.of(names(9), random_raw())
    np.testing.assert_allclose(weights.dense.sum(axis=1), 1.0, rtol=1e-15)
    assert weights.row_stochastic
    np.testing.assert_array_equal(Weights.of(names(9), random_raw(), "none").dense, random_raw())


def test_spectral_standardisation_gives_radius_one() -> None:
    weights = Weights.of(names(9), random_raw(), "spectral")
    assert np.abs(np.linalg.eigvals(weights.dense)).max() == pytest.approx(1.0, abs=1e-12)
    assert not weights.row_stochastic
    np.testing.assert_allclose(weights.dense / weights.dense.max(), random_raw() / random_raw().max(), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_eigenvalues_are_those_of_the_dense_matrix(kind: str) -> None:
    weights = small_weights(30, kind)
    ours = weights.eigenvalues
    for power in range(1, 7):  # tr W^k: single eigenvalues of nearest neighbours are ill-conditioned, their sums not
        trace = np.trace(np.linalg.matrix_power(weights.dense, power))
        assert (ours**power).sum().real == pytest.approx(trace, abs=1e-11)
    assert weights.radius == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("kind", ["inverse-distance", "contiguity", "spectral"])
def test_weights_similar_to_a_symmetric_matrix_have_real_eigenvalues(kind: str) -> None:
    assert small_weights(30, kind).eigenvalues.dtype == np.float64


@pytest.mark.parametrize("size", [1e-14, 1.0, 1e14])
def test_the_size_of_entries_does_not_make_a_matrix_symmetric(size: float) -> None:
    raw = np.random.default_rng(0).random((10, 10)) + 0.05
    np.fill_diagonal(raw, 0.0)
    weights = Weights.of(names(10), raw * size, "none")
    assert weights.eigenvalues.dtype == np.complex128
    assert weights.radius == pytest.approx(size * np.abs(np.linalg.eigvals(raw)).max(), rel=1e-12)


def test_eigenvalues_of_a_pattern_in_several_pieces() -> None:
    block = np.ones((3, 3)) - np.eye(3)
    weights = Weights.of(names(6), np.kron(np.diag([1.0, 5.0]), block))
    np.testing.assert_allclose(np.sort(weights.eigenvalues), [-0.5] * 4 + [1.0] * 2, atol=1e-12)


@pytest.mark.parametrize("density", [0.05, 0.9])
def test_lag_is_the_matrix_product(density: float) -> None:
    weights = Weights.of(names(40), random_raw(40, density))
    x = np.random.default_rng(2).standard_normal((3, 4, 40))
    np.testing.assert_allclose(weights.lag(x), np.einsum("ij,rtj->rti", weights.dense, x), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(weights.lag(x[0]), weights.lag(x)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("count", [1, 2, ROWS - 1, ROWS, ROWS + 1, ROWS + 2, 2 * ROWS + 1])
def test_products_are_of_all_rows_and_of_none_alone(count: int) -> None:
    """A row alone would be summed in another order than beside others."""
    parts = [range(*some.indices(count)) for some in chunks(np.empty((count, 2)))]
    assert [row for part in parts for row in part] == list(range(count))
    assert min(map(len, parts)) > 1 or count == 1
    assert max(map(len, parts)) <= ROWS + 1


def test_reordered_weights_join_the_same_units() -> None:
    weights = Weights.of(names(9), random_raw())
    units = tuple(np.random.default_rng(3).permutation(names(9)).tolist())
    other = weights.reordered(units)
    assert other.units == units
    for i, one in enumerate(units):
        for j, two in enumerate(units):
            assert other.dense[i, j] == weights.dense[weights.units.index(one), weights.units.index(two)]
    back = other.reordered(weights.units)
    np.testing.assert_array_equal(back.dense, weights.dense)
    assert back.digest == weights.digest != other.digest


def test_reordering_to_other_units_is_refused() -> None:
    with pytest.raises(BadInput, match="missing from W elsewhere"):
        Weights.of(names(3), np.ones((3, 3)) - np.eye(3)).reordered(("unit 000", "unit 001", "elsewhere"))


def test_digest_covers_units_and_entries() -> None:
    weights = Weights.of(names(9), random_raw())
    assert Weights.of(names(9), sp.csr_array(random_raw())).digest == weights.digest
    assert Weights.of(names(9), random_raw(seed=2)).digest != weights.digest
    assert Weights.of(tuple("abcdefghi"), random_raw()).digest != weights.digest
    assert pickle.loads(pickle.dumps(weights)).digest == weights.digest


def test_digest_covers_where_rows_begin() -> None:
    first = np.array([[0, 1, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=float)  # columns b c, d, a, a
    other = np.array([[0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=float)  # columns b, c d, a, a
    digests = {Weights.of(names(4), raw, "none").digest for raw in (first, other)}
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((2, 2), 1.0, "own neighbours: unit 002"),
        ((1, 2), -0.1, "negative, infinite or missing"),
        ((1, 2), np.nan, "negative, infinite or missing"),
        (4, 0.0, "without neighbours: unit 004"),
    ],
)
def test_faulty_weights_are_refused_by_name(place: tuple[int, int] | int, value: float, message: str) -> None:
    raw = random_raw()
    raw[place] = value
    with pytest.raises(BadInput, match=message):
        Weights.of(names(9), raw)
    with pytest.raises(BadInput, match="W is 8 x 9"):
        Weights.of(names(9), raw[:8])


def test_unknown_standardisation_is_refused() -> None:
    with pytest.raises(BadInput, match="row, spectral, none"):
        Weights.of(names(9), random_raw(), "max")  # type: ignore[arg-type]


@pytest.mark.parametrize("rho", [-0.7, 0.0, 0.6])
def test_spatial_filter_inverts_i_minus_rho_w(rho: float) -> None:
    weights = small_weights(30, "knn")
    x = np.random.default_rng(4).standard_normal((2, 3, 30))
    got = SpatialFilter.of(weights, rho).apply(x)
    np.testing.assert_allclose(got - rho * weights.lag(got), x, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_a_radius_that_is_one_by_theorem_is_one(rounding: int, kind: str) -> None:
    """Rows that sum to one, or entries over the radius: computed eigenvalues may miss 1 by some units, in both ways."""
    weights = small_weights(30, kind)
    assert weights.row_stochastic or weights.standardize == "spectral"
    assert weights.radius == 1.0
    assert abs(np.abs(weights.eigenvalues).max() - 1.0) < 1e-12
    for rho in (1.0, -1.0, np.nextafter(1.0, 0.0), 1.4, np.nan):
        with pytest.raises(BadInput, match="allowed: between -1 and 1"):
            SpatialFilter.of(weights, rho)
    assert SpatialFilter.of(weights, 1.0 - 1e-9).rho < 1.0


def test_an_edge_that_no_theorem_gives_is_decided_with_a_margin(rounding: int) -> None:
    """A ring as it is, two neighbours each: the radius is 2, computed some units away, and rho = .5 is refused."""
    ring = np.roll(np.eye(9), 1, axis=1) + np.roll(np.eye(9), -1, axis=1)
    weights = Weights.of(names(9), ring, "none")
    assert not weights.row_stochastic
    with pytest.raises(BadInput, match=r"allowed: between -0\.5 and 0\.5"):
        SpatialFilter.of(weights, 0.5)
    assert SpatialFilter.of(weights, 0.5 - 1e-9).rho < 0.5


def test_rows_that_nearly_sum_to_one_are_not_row_stochastic() -> None:
    """Thirds written with five digits: Lee and Yu's transformation would be off by as much."""
    raw = np.where(np.eye(4) == 1, 0.0, 0.33333)
    assert not Weights.of(names(4), raw, "none").row_stochastic
    assert Weights.of(names(4), raw).row_stochastic
    rounded = np.where(np.eye(4) == 1, 0.0, 1 / 3)
    assert Weights.of(names(4), rounded, "none").row_stochastic


def test_city_weights_are_six_nearest_cities() -> None:
    weights = city_weights()
    assert weights.eigenvalues.dtype == np.complex128
    assert len(weights.units) == 285
    assert set(np.diff(weights.matrix.indptr).tolist()) == {6}
    assert set(np.round(weights.matrix.data, 12).tolist()) == {round(1 / 6, 12)}
