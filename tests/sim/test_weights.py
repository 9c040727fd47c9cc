"""Spatial weights: standardisation, eigenvalues, lags, relabelling, and what is refused."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import geopandas
import made_cities
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from libpysal.graph import Graph
from refusals import refuses

from references.small_panels import names, small_weights
from sim import BadInput, Weights
from sim import weights as sw
from sim.filters import SpatialFilter
from sim.weights_files import FileLayout, from_file, keys_of_file
from sim.world.context import Places, WorldContext, cities, city_weights
from sim.world.parts.spillover import Neighbours
from sim.world.parts.weights import Knn

KINDS = ("knn", "inverse-distance", "contiguity", "spectral")


def random_raw(n: int = 9, density: float = 0.5, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    raw = rng.random((n, n)) * (rng.random((n, n)) < density)
    np.fill_diagonal(raw, 0.0)
    raw[np.arange(n), (np.arange(n) + 1) % n] = 0.5
    return raw


def test_rows_sum_to_one_unless_standardised_otherwise() -> None:
    weights = Weights.of(names(9), random_raw())
    np.testing.assert_allclose(weights.dense.sum(axis=1), 1.0, rtol=1e-15)
    assert weights.row_stochastic
    np.testing.assert_array_equal(Weights.of(names(9), random_raw(), "none").dense, random_raw())
    weights = Weights.of(names(9), random_raw(), "spectral")
    assert np.abs(np.linalg.eigvals(weights.dense)).max() == pytest.approx(1.0, abs=1e-12)
    assert not weights.row_stochastic
    np.testing.assert_allclose(weights.dense / weights.dense.max(), random_raw() / random_raw().max(), rtol=1e-12)
    # thirds written with five digits: Lee and Yu's transformation would be off by as much
    raw = np.where(np.eye(4) == 1, 0.0, 0.33333)
    assert not Weights.of(names(4), raw, "none").row_stochastic
    assert Weights.of(names(4), raw).row_stochastic
    rounded = np.where(np.eye(4) == 1, 0.0, 1 / 3)
    assert Weights.of(names(4), rounded, "none").row_stochastic


@pytest.mark.parametrize("kind", KINDS)
def test_eigenvalues_are_those_of_the_dense_matrix(kind: str) -> None:
    weights = small_weights(30, kind)
    ours = weights.eigenvalues
    for power in range(1, 7):  # tr W^k: single eigenvalues of nearest neighbours are ill-conditioned, their sums not
        trace = np.trace(np.linalg.matrix_power(weights.dense, power))
        assert (ours**power).sum().real == pytest.approx(trace, abs=1e-11)
    assert weights.radius == pytest.approx(1.0, abs=1e-10)
    assert kind == "knn" or ours.dtype == np.float64, "it is similar to a symmetric matrix"


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


@pytest.mark.parametrize("count", [1, 2, sw.ROWS - 1, sw.ROWS, sw.ROWS + 1, sw.ROWS + 2, 2 * sw.ROWS + 1])
def test_products_are_of_all_rows_and_of_none_alone(count: int) -> None:
    """A row alone would be summed in another order than beside others."""
    parts = [range(*some.indices(count)) for some in sw.chunks(np.empty((count, 2)))]
    assert [row for part in parts for row in part] == list(range(count))
    assert min(map(len, parts)) > 1 or count == 1
    assert max(map(len, parts)) <= sw.ROWS + 1


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


def test_digest_covers_units_entries_and_where_rows_begin() -> None:
    weights = Weights.of(names(9), random_raw())
    assert Weights.of(names(9), sp.csr_array(random_raw())).digest == weights.digest
    assert Weights.of(names(9), random_raw(seed=2)).digest != weights.digest
    assert Weights.of(tuple("abcdefghi"), random_raw()).digest != weights.digest
    assert pickle.loads(pickle.dumps(weights)).digest == weights.digest
    first = np.array([[0, 1, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=float)  # columns b c, d, a, a
    other = np.array([[0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=float)  # columns b, c d, a, a
    digests = {Weights.of(names(4), raw, "none").digest for raw in (first, other)}
    assert len(digests) == 2


@pytest.mark.parametrize(("place", "value", "message"), [
    ((2, 2), 1.0, "own neighbours: unit 002"), ((1, 2), -0.1, "negative, infinite or missing"),
    ((1, 2), np.nan, "negative, infinite or missing"), (4, 0.0, "without neighbours: unit 004"),
])  # fmt: skip
def test_faulty_weights_are_refused_by_name(place: tuple[int, int] | int, value: float, message: str) -> None:
    raw = random_raw()
    raw[place] = value
    refuses(message, lambda: Weights.of(names(9), raw))
    refuses("W is 8 x 9", lambda: Weights.of(names(9), raw[:8]))


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
        refuses("allowed: between -1 and 1", SpatialFilter.of, weights, rho)
    assert SpatialFilter.of(weights, 1.0 - 1e-9).rho < 1.0


def test_an_edge_that_no_theorem_gives_is_decided_with_a_margin(rounding: int) -> None:
    """A ring as it is, two neighbours each: the radius is 2, computed some units away, and rho = .5 is refused."""
    weights = Weights.of(names(9), np.roll(np.eye(9), 1, axis=1) + np.roll(np.eye(9), -1, axis=1), "none")
    assert not weights.row_stochastic
    refuses(r"allowed: between -0\.5 and 0\.5", lambda: SpatialFilter.of(weights, 0.5))
    assert SpatialFilter.of(weights, 0.5 - 1e-9).rho < 0.5


def test_units_with_the_names_of_cities_have_the_neighbours_of_their_own_places() -> None:
    table = cities()
    moved = Places(table.names, table.longitude[::-1], table.latitude[::-1], np.zeros(285, np.intp), np.zeros(285))
    np.testing.assert_array_equal(Knn().build(moved).dense, city_weights().dense[::-1, ::-1])


def test_city_weights_are_six_nearest_cities() -> None:
    weights = city_weights()
    assert (weights.eigenvalues.dtype, len(weights.units)) == (np.complex128, 285)
    assert set(np.diff(weights.matrix.indptr).tolist()) == {6}
    assert set(np.round(weights.matrix.data, 12).tolist()) == {round(1 / 6, 12)}


# Weights from coordinates, maps, economic distance and files


# Four places on the equator, one degree (111.195 km) apart, the last ten degrees away.
UNITS = ("a", "b", "c", "d")
LONGITUDE = np.array([0.0, 1.0, 2.0, 12.0])
LATITUDE = np.zeros(4)
DEGREE = 6371.0088 * np.pi / 180


@pytest.mark.parametrize("seed", range(2))
def test_knn_are_those_of_libpysal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    longitude, latitude = rng.uniform(-179, 179, 80), rng.uniform(-89, 89, 80)
    units = tuple(f"u{i:02d}" for i in range(80))
    points = geopandas.GeoSeries.from_xy(longitude, latitude, crs="EPSG:4326")
    for k in (1, 5, 79):
        graph = Graph.build_knn(points, k=k, metric="haversine")
        np.testing.assert_array_equal(sw.knn(units, longitude, latitude, k=k).dense > 0, graph.sparse.toarray() > 0)


@pytest.mark.parametrize("east", [0.0, 1e-13])
def test_of_equally_near_units_the_first_are_neighbours_however_distances_are_rounded(east: float) -> None:
    """Places in a row: the inner ones have one on each side at one distance."""
    n = 12
    weights = sw.knn(tuple(f"u{i:02d}" for i in range(n)), 100 + np.arange(n) / 10 + east, np.zeros(n), k=1)
    np.testing.assert_array_equal(weights.matrix.indices, [1, *range(n - 1)])
    wide = sw.knn(tuple(f"u{i:02d}" for i in range(n)), 100 + np.arange(n) / 10 + east, np.zeros(n), k=3)
    np.testing.assert_array_equal(wide.matrix.indices.reshape(-1, 3)[4], [2, 3, 5])


def test_of_equal_distances_the_first_count_whatever_rounding_makes_of_them() -> None:
    rounded = 7.0 * (1 + np.array([3e-13, 0.0, -2e-13, -4e-13]))
    for order in itertools.permutations(range(4)):
        distance = np.array([[9.0, *rounded[list(order)], 1.0]])
        for k in range(1, 7):
            first = [5, 1, 2, 3, 4, 0][:k]
            assert set(np.flatnonzero(sw.among_nearest(distance, k)[0])) == set(first)


def test_inverse_distance_with_power_and_cutoff() -> None:
    raw = sw.inverse_distance(UNITS, LONGITUDE, LATITUDE, power=2, standardize="none").dense
    np.testing.assert_allclose(raw[0], [0, DEGREE**-2, (2 * DEGREE) ** -2, (12 * DEGREE) ** -2])
    near = sw.inverse_distance(
        UNITS, LONGITUDE, LATITUDE, cutoff_km=1.5 * DEGREE, standardize="none", islands="nearest"
    ).dense
    np.testing.assert_allclose(near[0], [0, 1 / DEGREE, 0, 0])
    np.testing.assert_allclose(near[3], [0, 0, 1 / (10 * DEGREE), 0])  # the island's link weighs as any other


def test_equal_distances_are_in_or_out_together() -> None:
    """Places a tenth of a degree apart on the equator: what reaches as far as that links all that stand in a row."""
    n = 40
    units, longitude = tuple(f"u{i}" for i in range(n)), 100 + np.arange(n) / 10
    in_a_row = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) == 1
    by_km = sw.band(units, longitude, np.zeros(n), km=DEGREE / 10)
    for weights in (by_km, sw.inverse_distance(units, longitude, np.zeros(n), cutoff_km=DEGREE / 10)):
        np.testing.assert_array_equal(weights.dense > 0, in_a_row)
    places = Places(units, longitude, np.zeros(n), np.zeros(n, dtype=np.intp), np.zeros(n))
    spillover = Neighbours(w_effect=1.0, radius=DEGREE / 10)
    np.testing.assert_array_equal(spillover.alone(WorldContext(places, (2001,), None)), in_a_row)


def test_bands_agree_with_libpysal_and_join_units_at_one_place() -> None:
    points = np.column_stack([LONGITUDE, LATITUDE]) * DEGREE  # on the equator the plane and the globe agree
    theirs = Graph.build_distance_band(points, 2.5 * DEGREE).sparse.toarray()
    ours = sw.band(UNITS, LONGITUDE, LATITUDE, km=2.5 * DEGREE, standardize="none", islands="nearest").dense
    np.testing.assert_array_equal(ours[:3], theirs[:3])
    np.testing.assert_array_equal(ours[3], [0, 0, 1, 0])
    assert ours[2, 3] == 0  # the island is nobody's neighbour
    weights = sw.band(("a", "b", "c"), np.array([0.0, 0.0, 0.5]), np.zeros(3), km=1.2 * DEGREE, standardize="none")
    np.testing.assert_array_equal(weights.dense, 1 - np.eye(3))


def test_economic_and_nested_weights() -> None:
    level = np.array([1.0, 3.0, 4.0, 8.0])
    np.testing.assert_allclose(sw.economic(UNITS, level, standardize="none").dense[0], [0, 1 / 2, 1 / 3, 1 / 7])
    nested = partial(sw.nested, UNITS, LONGITUDE, LATITUDE)
    for name, build in (("economic", partial(sw.economic, UNITS)), ("nested", nested)):
        assert [build(level, name=given).name for given in (None, "gdp")] == [name, "gdp"]
    expected = np.array([0, 1 / 2, 1 / 2 / 3, 1 / 12 / 7]) / DEGREE
    np.testing.assert_allclose(nested(level, standardize="none").dense[0], expected)


def grid(path: Path) -> Path:
    """A map of 2 x 2 squares a b / c d and a distant e."""
    from shapely import box

    squares = [box(x, y, x + 1, y + 1) for x, y in ((0, 1), (1, 1), (0, 0), (1, 0), (9, 9))]
    names = geopandas.GeoDataFrame({"名称": list("abcde")}, geometry=squares, crs="EPSG:4326")
    names.to_file(path / "map.geojson")
    return path / "map.geojson"


def test_contiguity_by_queen_and_rook(tmp_path: Path) -> None:
    path = grid(tmp_path)
    order = ("d", "c", "b", "a")  # not the map's order, and without e
    queen = sw.contiguity(order, path, unit="名称", standardize="none")
    rook = sw.contiguity(order, path, unit="名称", rule="rook", standardize="none")
    np.testing.assert_array_equal(queen.dense, 1 - np.eye(4))
    np.testing.assert_array_equal(rook.dense[0], [0, 1, 1, 0])
    assert (queen.name, rook.name) == ("queen", "rook")


@pytest.mark.parametrize("degrees", [0.0, 52.0])
def test_borders_may_have_other_vertices_on_either_side_and_overlap(tmp_path: Path, degrees: float) -> None:
    """d, a, b, c as bricks of a wall; e reaches into b and meets f in a corner. Turned, corners lie beside borders."""
    from shapely import box
    from shapely.affinity import rotate

    bricks = [box(0, 0, 1, 2), box(1, 0, 2, 1), box(1, 1, 2, 2), box(-1, 0.5, 0, 1.5), box(1.9, 0.2, 3, 0.7),
              box(3, 0.7, 4, 2)]  # fmt: skip
    turned = [rotate(brick, degrees, origin=(0.1, 0.2)) for brick in bricks]
    geopandas.GeoDataFrame({"name": list("abcdef")}, geometry=turned, crs="EPSG:4326").to_file(tmp_path / "w.geojson")
    borders = {"ab", "ac", "ad", "bc", "be"}
    for rule, pairs in (("queen", {*borders, "ef"}), ("rook", borders)):
        expected = np.array([[a + b in pairs or b + a in pairs for b in "abcdef"] for a in "abcdef"], dtype=float)
        units = tuple("abcdef"[: 6 if rule == "queen" else 5])  # by edges f has no neighbour
        found = sw.contiguity(units, tmp_path / "w.geojson", unit="name", rule=rule, standardize="none").dense
        np.testing.assert_array_equal(found, expected[: len(units), : len(units)])
    with pytest.raises(BadInput, match="units without neighbours: f"):
        sw.contiguity(tuple("abcdef"), tmp_path / "w.geojson", unit="name", rule="rook")


def test_cells_touch_on_a_plane_whose_degrees_have_one_length() -> None:
    """Rows of a wall from 20 to 60 degrees north: the next two in a row, and two in each row beside it."""
    row, place = (part.ravel() for part in np.indices((5, 5)))
    longitude, latitude = (part.astype(np.float64) for part in (place + 0.5 * (row % 2), 20.0 + 10.0 * row))
    found = sw.touching_cells(tuple(map(str, range(25))), longitude, latitude, rule="rook", standardize="none")
    assert (found.name, sw.touching_cells(found.units, longitude, latitude, name="near").name) == ("rook", "near")
    rows, along = (np.abs(values[:, None] - values) for values in (row, longitude))
    np.testing.assert_array_equal(found.dense, ((rows == 0) & (along == 1)) | ((rows == 1) & (along == 0.5)))


def test_an_island_of_a_map_gets_its_nearest_unit(tmp_path: Path) -> None:
    units = tuple("abcde")
    places = sw.Coordinates(units, np.array([0.5, 1.5, 0.5, 1.5, 9.5]), np.array([1.5, 1.5, 0.5, 0.5, 9.5]))
    weights = sw.contiguity(units, grid(tmp_path), unit="名称", islands="nearest", coordinates=places)
    np.testing.assert_array_equal(weights.dense[4], [0, 1, 0, 0, 0])
    assert weights.attached == (("e", "b"),)
    refuses("units without neighbours: e", lambda: sw.contiguity(units, tmp_path / "map.geojson", unit="名称"))
    with pytest.raises(BadInput, match=r"units without neighbours: e.*name the panel's longitude"):
        sw.contiguity(units, tmp_path / "map.geojson", unit="名称", islands="nearest")


RING = np.array([[0, 2, 0, 1], [1, 0, 1, 0], [0, 1, 0, 3], [1, 0, 1, 0]], dtype=float)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def ring(folder: Path, kind: str) -> Path:
    """RING as a file of links ("edges", "gwt") or of a matrix, with names ("matrix") or without ("npy", "mtx")."""
    file = folder / f"ring.{'csv' if kind in ('edges', 'matrix') else kind}"
    links = [(UNITS[i], UNITS[j], str(RING[i, j])) for i, j in np.argwhere(RING)]
    if kind == "edges":
        write(file, "\n".join(["focal,neighbor,weight", *map(",".join, links)]))
    elif kind == "gwt":
        write(file, "\n".join(["0 4 shape id", *map(" ".join, links), ""]))
    elif kind == "matrix":
        pd.DataFrame(RING, index=UNITS, columns=UNITS).to_csv(file)
    elif kind == "npy":
        np.save(file, RING)
    else:
        scipy.io.mmwrite(file, sp.coo_array(RING))
    return file


@pytest.mark.parametrize("kind", ["edges", "matrix", "npy", "mtx", "gwt"])
def test_every_kind_of_file_gives_the_same_weights(tmp_path: Path, kind: str) -> None:
    path = ring(tmp_path, kind)
    weights = from_file(path, UNITS)
    np.testing.assert_allclose(weights.dense, RING / RING.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(from_file(path, UNITS, standardize="none").dense, RING)
    assert (from_file(path, UNITS, standardize="spectral").radius, weights.name) == (pytest.approx(1.0), "ring")


RAW = np.array([[0, 2, 0, 1], [2, 0, 1, 0], [0, 1, 0, 3], [1, 0, 3, 0]], dtype=float)
LINKS = "focal,neighbor,weight\na,b,2\nb,c,1\nc,d,3\nd,a,1\n"  # of RAW, each one way
HALVES = ";a;b;c;;\na;0;0,5;1,5;;\nb;0,5;0;2;;\nc;1,5;2;0;;\n"
READ: dict[str, tuple[str, str, tuple[str, ...], FileLayout, object]] = {
    "gal is binary": ("w.gal", "0 4 shape id\na 2\nb d\nb 2\na c\nc 2\nb d\nd 2\na c\n", UNITS, FileLayout(), RING > 0),
    "edges without weights are binary": ("w.csv", "focal,neighbor\na,b\na,d\nb,a\nb,c\nc,b\nc,d\nd,a\nd,c\n", UNITS,
                                         FileLayout(), RING > 0),
    "semicolons, commas and empty columns": ("w.csv", HALVES, UNITS[:3], FileLayout(),
                                             [[0, 0.5, 1.5], [0.5, 0, 2], [1.5, 2, 0]]),
    "names that are numbers": ("w.csv", "focal,neighbor\n1,2\n2,1\n2,3\n3,2\n", ("3", "1", "2"), FileLayout(),
                               [[0, 0, 1], [0, 0, 1], [1, 1, 0]]),
    "the column called weight": ("w.csv", "focal,neighbor,distance,weight\na,b,5,2\nb,a,5,3\n", UNITS[:2], FileLayout(),
                                 [[0, 2], [3, 0]]),
    "a link that stands both ways counts once": ("w.csv", LINKS + "b,a,2\n", UNITS, FileLayout(symmetric=True), RAW),
    "three units are named without a count": ("w.csv", "0,1,2\n1,0,3\n2,3,0\n", UNITS[:3],
                                              FileLayout(order=UNITS[2::-1]), [[0, 3, 2], [3, 0, 1], [2, 1, 0]]),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_a_file_is_read_as_it_is_meant(tmp_path: Path, case: str) -> None:
    name, text, units, layout, expected = READ[case]
    found = from_file(write(tmp_path / name, text), units, standardize="none", layout=layout)
    np.testing.assert_array_equal(found.dense, expected)
    assert not layout.order or found.read == "w.csv names no units: its rows are taken for c, b, a."


def test_a_file_is_cut_down_to_the_units_kept_before_it_is_standardised(tmp_path: Path) -> None:
    expected = np.array([[0, 2 / 3, 1 / 3], [1, 0, 0], [1, 0, 0]])
    for kind in ("edges", "npy"):
        np.testing.assert_allclose(from_file(ring(tmp_path, kind), UNITS, keep=("a", "b", "d")).dense, expected)
    others = from_file(ring(tmp_path, "edges"), ("b", "a", "d"), others="drop", standardize="none")
    np.testing.assert_array_equal(others.dense, [[0, 1, 0], [2, 0, 1], [0, 1, 0]])


def test_an_island_of_a_file_gets_its_nearest_unit(tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", "focal,neighbor\na,b\nb,a\nc,b\n")
    refuses(r"w\.csv; has no row for d;.*islands", lambda: from_file(path, UNITS))
    weights = from_file(path, UNITS, islands="nearest", coordinates=sw.Coordinates(UNITS, LONGITUDE, LATITUDE))
    np.testing.assert_array_equal(weights.dense[3], [0, 0, 1, 0])
    assert (weights.attached, weights.reordered(UNITS[::-1]).attached) == ((("d", "c"),), (("d", "c"),))


def test_a_matrix_that_lacks_units_is_no_matrix_with_islands_and_no_other_size(tmp_path: Path) -> None:
    pd.DataFrame(RING[:3, :3], index=UNITS[:3], columns=UNITS[:3]).to_csv(tmp_path / "w.csv")
    refuses(r"w\.csv; has no row for d;", lambda: from_file(tmp_path / "w.csv", UNITS))
    assert from_file(tmp_path / "w.csv", UNITS, keep=UNITS[:3]).attached == ()
    pd.DataFrame(RING * [[0], [1], [1], [1]], index=UNITS, columns=UNITS).to_csv(tmp_path / "w.csv")
    refuses("weights w; units without neighbours: a;", lambda: from_file(tmp_path / "w.csv", UNITS))
    refuses(r"W is 4 x 4 .*allowed: 5 x 5", lambda: from_file(ring(tmp_path, "npy"), (*UNITS, "e")))
    np.save(tmp_path / "flat.npy", np.ones(16))
    refuses(r"W is 16 of float64", lambda: from_file(tmp_path / "flat.npy", UNITS))


def test_numbers_of_a_gwt_may_be_distances_and_are_asked_about(tmp_path: Path) -> None:
    path, said = (
        ring(tmp_path, "gwt"),
        "The numbers 1 to 3 of ring.gwt are taken for weights. GeoDa writes distances into",
    )
    assert from_file(path, UNITS).read.startswith(said)
    assert keys_of_file(path, UNITS)[1][0].startswith(f"kind: {said}")
    assert not from_file(path, UNITS, meant=True).read
    assert not from_file(path, UNITS, of_distance=np.reciprocal, layout=FileLayout(symmetric=False)).read


def test_libpysals_own_gal_of_48_states() -> None:
    import libpysal

    path = Path(libpysal.__file__).parent / "examples" / "us_income" / "states48.gal"
    states = pd.read_csv(path.with_name("usjoin.csv"))["Name"]
    weights = from_file(path, tuple(states))  # the file numbers its units from 0, in the order of the table
    assert weights.row_stochastic
    assert "in its order (Alabama, " in keys_of_file(path, tuple(states))[1][0]
    neighbours = {states[j] for j in weights.matrix[[list(states).index("Maine")]].indices}
    assert neighbours == {"New Hampshire"}


WRONG_FILES: dict[str, tuple[str, str, list[str]]] = {
    "unknown unit": ("w.csv", "focal,neighbor\na,b\nb,Z\n", ["1 unit not in the panel: Z", 'others = "drop"']),
    "no unit of the panel": ("w.csv", "focal,neighbor\nx,y\n", ["2 units not in the panel: x, y"]),
    "other columns": ("w.csv", "from,neighbour\na,b\n", ["no column 'focal'", "columns focal, neighbor, weight"]),
    "misspelt column": ("w.csv", "focal,neigbor\na,b\n", ["no column 'neighbor'", "did you mean 'neigbor'?"]),
    "link twice": ("w.csv", "focal,neighbor\na,b\na,b\n", ["links appear more than once: a to b"]),
    "text weight": ("w.csv", "focal,neighbor,weight\na,b,far\n", ["a weight is 'far'", "column 'weight', row 2"]),
    "gap": ("w.csv", "focal,neighbor,weight\na,b,1\nb,a,\n", ["a weight is nan", "row 3"]),
    "negative": ("w.csv", "focal,neighbor,weight\na,b,-1\nb,c,1\nc,d,1\nd,a,1\n", ["negative", "finite entries >= 0"]),
    "own neighbour": ("w.csv", "focal,neighbor\na,a\na,b\nc,d\n", ["their own neighbours: a"]),
    "islands": ("w.csv", "focal,neighbor\na,b\nb,a\nc,d\n", ["units without neighbours: d", "at least one neighbour"]),
    "units that lack": ("w.csv", "focal,neighbor\na,b\nb,a\n", ["w.csv", "has no row for c, d", "islands"]),
    "matrix without names": ("w.csv", "0.0,1,1,0\n1,0,1,0\n1,1,0,1\n1,0,1,0\n", [
        "no names in its first row", "a square matrix with names in the first row and column"]),
    "the same with semicolons": ("w.csv", "0;1,5;1\n1;0;1\n1;1;0\n", ["no names in its first row"]),
    "broken gal": ("w.gal", "nothing\n", ["cannot be read as gal"]),
    "spaces in names of a gal": ("w.gal", "2\nNew York 1\nd\n", ["as gal; allowed: UTF-8", "names without spaces"]),
    "broken gwt": ("w.gwt", "0 4 x y\n", ["cannot be read as gwt"]),
    "broken mtx": ("w.mtx", "nothing\n", ["cannot be read as mtx"]),
    "broken npy": ("w.npy", "nothing\n", ["cannot be read as npy"]),
    "other extension": ("w.txt", "a b\n", ["has the extension .txt", ".csv, .xlsx, .dta, .gal, .gwt, .npy, .mtx"]),
    "empty": ("w.csv", "", ["is empty"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_of_weights_is_refused(tmp_path: Path, case: str) -> None:
    name, text, expected = WRONG_FILES[case]
    raised = refuses(".", from_file, write(tmp_path / name, text), UNITS)
    assert all(part in str(raised) for part in expected), raised
    assert all(p.what and p.where and p.allowed and p.remedy for p in raised.problems)


@pytest.mark.parametrize(("header", "said"), [
    ("", "column 3, row 2"), ("1,2,3,4\n", "column 3, row 3"), ("p,q,r,s\n", "column 'r', row 3"),
])  # fmt: skip
def test_a_gap_in_a_matrix_without_names_is_told_by_its_place_in_the_file(
    tmp_path: Path, header: str, said: str
) -> None:
    path = write(tmp_path / "w.csv", f"{header}0,1,1,0\n1,0,,0\n1,1,0,1\n1,0,1,0\n")
    refuses(f"{said}; a weight is nan", lambda: from_file(path, UNITS, layout=FileLayout(order=UNITS)))


SAME = {"longitude": np.array([1.0, 2.0, 1.0]), "latitude": np.zeros(3)}
IMPOSSIBLE: dict[str, Callable[[], object]] = {
    "k = 4; allowed: 1 to 3": lambda: sw.knn(UNITS, LONGITUDE, LATITUDE, k=4),
    "km = -1": lambda: sw.band(UNITS, LONGITUDE, LATITUDE, km=-1),
    "power = 0": lambda: sw.inverse_distance(UNITS, LONGITUDE, LATITUDE, power=0),
    "cutoff_km = 0": lambda: sw.inverse_distance(UNITS, LONGITUDE, LATITUDE, cutoff_km=0),
    "units without neighbours: d": lambda: sw.band(UNITS, LONGITUDE, LATITUDE, km=200),
    "a and c have the same level": lambda: sw.economic(UNITS, np.array([1.0, 2.0, 1.0, 3.0])),
    "mean is missing for b": lambda: sw.economic(UNITS, np.array([1.0, np.nan, 2.0, 3.0])),
    "a and c are at the same place": lambda: sw.knn(UNITS[:3], **SAME, k=1),
    "a and c are at the same place;": lambda: sw.inverse_distance(UNITS[:3], **SAME),
    "a and b are at the same place": lambda: sw.inverse_distance(UNITS[:3], np.array([180.0, -180.0, 1.0]), np.ones(3)),
    "b and c are at the same place":
        lambda: sw.nested(UNITS[:3], np.array([1.0, 0.3, 0.1 + 0.2]), np.ones(3), np.arange(3.0)),
    r"latitude of 1 unit is not on the globe: b 116\.4.*exchanged":
        lambda: sw.knn(UNITS[:2], np.array([39.9, 39.9]), np.array([39.9, 116.4]), k=1),
    r"longitude of 1 unit is not on the globe: b 180\.5":
        lambda: sw.band(UNITS[:2], np.array([1.0, 180.5]), np.array([90.0, -90.0]), km=10),
    "longitude of 1 unit is not on the globe: b nan":
        lambda: sw.band(UNITS[:2], np.array([1.0, np.nan]), np.zeros(2), km=10),
    "row, spectral, none": lambda: Weights.of(names(9), random_raw(), "max"),  # type: ignore[arg-type]
    "missing from W elsewhere":
        lambda: Weights.of(names(3), np.ones((3, 3)) - np.eye(3)).reordered(("unit 000", "unit 001", "elsewhere")),
}  # fmt: skip


@pytest.mark.parametrize("words", IMPOSSIBLE)
def test_impossible_settings_are_refused(words: str) -> None:
    refuses(words, IMPOSSIBLE[words])


def test_the_two_ends_of_the_globe_are_one_meridian() -> None:
    assert sw.band(("a", "b"), np.array([180.0, -180.0]), np.array([60.0, 60.0]), km=1).matrix.nnz == 2


def test_means_of_the_same_values_in_another_order_are_the_same_level() -> None:
    """They differ by rounding, and 1 over that would be all of the weight."""
    first, second = (0.1 + 0.2 + 0.3) / 3, (0.3 + 0.2 + 0.1) / 3
    assert first != second
    for build in (sw.economic, lambda units, level: sw.nested(units, np.arange(4.0), np.arange(4.0), level)):
        refuses("have the same level", build, UNITS, np.array([first, second, 0.5, 0.7]))
    near = sw.economic(UNITS, np.array([0.2, 0.2 * (1 + 1e-9), 0.5, 0.7]), standardize="none").dense
    assert near[0, 1] == pytest.approx(5e9, rel=1e-6)


@pytest.mark.parametrize(("units", "file", "column", "words"), [
    (UNITS, "map", "name", "there is no column 'name'; allowed: 名称"),
    (("a", "f"), "map", "名称", "1 unit not on the map: f"), (UNITS, "bad", "名称", "cannot be read as a map"),
    (UNITS, "none", "名称", "there is no such file"),
])  # fmt: skip
def test_wrong_maps_are_refused(tmp_path: Path, units: tuple[str, ...], file: str, column: str, words: str) -> None:
    grid(tmp_path)
    write(tmp_path / "bad.geojson", "{")
    refuses(words, lambda: sw.contiguity(units, tmp_path / f"{file}.geojson", unit=column))


def test_the_island_of_the_committed_map_is_named() -> None:
    """Squares on a grid; the last is drawn too small to touch: the others' queen neighbours differ by one step."""
    path, names = made_cities.DATA / "cities_map.geojson", tuple(made_cities.frame()["city"].unique())
    assert len(names) == 36
    refuses(r"units without neighbours: C36;", lambda: sw.contiguity(names, path, unit="city"))
    weights = sw.contiguity(names[:-1], path, unit="city", standardize="none")
    row, column = np.divmod(np.arange(35), 6)
    apart = np.maximum(np.abs(row[:, None] - row), np.abs(column[:, None] - column))
    np.testing.assert_array_equal(weights.dense, apart == 1)


def test_links_that_stand_once_are_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", LINKS)
    refuses(r"each of 4 links goes one way alone, such as a to b.*symmetric = true", lambda: from_file(path, UNITS))
    both, one = (from_file(path, UNITS, standardize="none", layout=FileLayout(symmetric=how)) for how in (True, False))
    np.testing.assert_array_equal(both.dense, RAW)
    np.testing.assert_array_equal(one.dense, np.triu(RAW, 1) * (RAW[0, 3] != RAW) + [[0] * 4, [0, 0, 1, 0], [0] * 4,
                                                                                      [1, 0, 0, 0]])  # fmt: skip


def test_columns_of_any_name_can_be_named(tmp_path: Path) -> None:
    _, _, rows = LINKS.replace("\n", ",9\n").partition("\n")
    path = write(tmp_path / "w.csv", f"start,end,flow,minutes\n{rows}")
    refuses(r"no column 'focal' among start, end.*focal = ", lambda: from_file(path, UNITS))
    with pytest.raises(BadInput, match="which column holds the weights: flow, minutes"):
        from_file(path, UNITS, layout=FileLayout(focal="start", neighbor="end"))
    named = FileLayout(focal="start", neighbor="end", weight="flow", symmetric=True)
    found = from_file(path, UNITS, standardize="none", layout=named)
    np.testing.assert_array_equal(found.dense, RAW)
    assert found.read == "links of w.csv go from 'start' to 'end', by 'flow'."


@pytest.mark.parametrize("heads", [["v1", "v2", "v3", "v4"], list(UNITS)])
def test_a_stata_matrix_names_its_rows_and_may_number_its_columns(tmp_path: Path, heads: list[str]) -> None:
    pd.DataFrame(RAW, columns=heads).assign(id=UNITS)[["id", *heads]].to_stata(tmp_path / "w.dta", write_index=False)
    np.testing.assert_array_equal(from_file(tmp_path / "w.dta", UNITS[::-1], standardize="none").dense,
                                  RAW[::-1, ::-1])  # fmt: skip


def test_a_matrix_without_names_needs_an_order(tmp_path: Path) -> None:
    for text in ("", "0,1,2,3\n"):
        path = write(tmp_path / "w.csv", text + "\n".join(",".join(f"{x:g}" for x in row) for row in RAW))
        refuses(r'no names in its first row.*units = "file"', from_file, path, UNITS)
        found = from_file(path, UNITS, standardize="none", layout=FileLayout(order=UNITS[::-1]))
        np.testing.assert_array_equal(found.dense, RAW[::-1, ::-1])
        assert found.read == "w.csv names no units: its rows are taken for d, c, b and 1 more."


@pytest.mark.parametrize("name", ["w.csv", "w.xlsx"])
def test_ids_with_zeros_in_front_stay_as_they_are(tmp_path: Path, name: str) -> None:
    units = ("01001", "01003", "10001")
    square = pd.DataFrame([[0, 1, 2], [1, 0, 3], [2, 3, 0]], index=pd.Index(units, name="fips"), columns=[*units])
    links = square.reset_index().melt("fips", var_name="to", value_name="weight").rename(columns={"fips": "from"})
    for table in (square.reset_index(), links[links["weight"] > 0]):
        table.to_csv(tmp_path / name, index=False) if name == "w.csv" else table.to_excel(tmp_path / name, index=False)
        found = from_file(tmp_path / name, units, standardize="none", meant=True)
        np.testing.assert_array_equal(found.dense, square.to_numpy())
    pair = from_file(write(tmp_path / "w.gal", "2\n01001 1\n01003\n01003 1\n01001\n"), units[:2], standardize="none")
    np.testing.assert_array_equal(pair.dense, [[0, 1], [1, 0]])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize(("name", "text"), [
    ("w.gal", "0 3 w id\n朝阳市 2\n沈阳市 大连市\n沈阳市 1\n朝阳市\n大连市 1\n朝阳市\n"),
    ("w.gwt", "0 3 w id\n朝阳市 沈阳市 1\n朝阳市 大连市 1\n沈阳市 朝阳市 1\n大连市 朝阳市 1\n"),
])  # fmt: skip
def test_names_of_a_gal_or_gwt_file_may_be_chinese(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    found = from_file(tmp_path / name, ("朝阳市", "沈阳市", "大连市"), standardize="none", meant=True)
    np.testing.assert_array_equal(found.dense, [[0, 1, 1], [1, 0, 0], [1, 0, 0]])


FOUR = np.abs(np.subtract.outer([0.0, 1.0, 3.0, 12.0], [0.0, 1.0, 3.0, 12.0]))  # km between places on a road


@pytest.mark.parametrize("back", [1.0, 1.05])
def test_a_few_distances_are_asked_about_and_so_are_those_that_are_longer_on_the_way_back(
    tmp_path: Path, back: float
) -> None:
    np.save(tmp_path / "w.npy", np.triu(FOUR) + back * np.tril(FOUR))
    refuses("these look like distances", lambda: from_file(tmp_path / "w.npy", UNITS))


def test_a_distance_of_zero_is_no_missing_link(tmp_path: Path) -> None:
    distance = np.abs(np.subtract.outer(np.arange(8.0), np.arange(8.0)))
    distance[6, 7] = distance[7, 6] = 0.0
    np.save(tmp_path / "w.npy", distance)
    with pytest.raises(BadInput, match="the distance of g and h is 0"):
        from_file(tmp_path / "w.npy", tuple("abcdefgh"), of_distance=lambda d: 1 / d)


DOUBTFUL = {
    "two links": ("focal,neighbor\na,b\nb,c\n", FileLayout(), "each of 2 links goes one way alone"),
    "two numbers": ("focal,neighbor,weight\na,b,2\nb,a,1\n", FileLayout(symmetric=True),
                    "a to b is 2, and b to a is 1"),
    "one row more": ("0,2,1\n0,1,1\n1,0,1\n1,1,0\n", FileLayout(order=UNITS[:3]), "is 4 x 3 numbers without names"),
    "text in a cell": ("0,2,1\n2,0,x\n1,1,0\n", FileLayout(), "w.csv, column 3, row 2; a weight is 'x'"),
    "other numbers": (",v2,v1,v3\na,0,1,2\nb,1,0,3\nc,2,3,0\n", FileLayout(), "numbered out of order: v2, v1, v3"),
}  # fmt: skip


@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_could_be_read_in_two_ways_is_asked_about(tmp_path: Path, case: str) -> None:
    text, layout, words = DOUBTFUL[case]
    refuses(words, lambda: from_file(write(tmp_path / "w.csv", text), UNITS[:3], layout=layout))
