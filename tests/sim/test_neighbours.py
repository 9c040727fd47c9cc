"""Weights from coordinates, maps, economic distance and files."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import geopandas
import made_cities
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from libpysal.graph import Graph

from sim.errors import BadInput
from sim.weights import (
    Coordinates,
    among_nearest,
    band,
    contiguity,
    economic,
    inverse_distance,
    knn,
    nested,
    touching_cells,
)
from sim.weights_files import FileLayout, from_file, keys_of_file
from sim.world.context import Places, WorldContext
from sim.world.parts.spillover import Neighbours

# Four places on the equator, one degree (111.195 km) apart, the last ten degrees away.
UNITS = ("a", "b", "c", "d")
LONGITUDE = np.array([0.0, 1.0, 2.0, 12.0])
LATITUDE = np.zeros(4)
DEGREE = 6371.0088 * np.pi / 180
PLACES = Coordinates(UNITS, LONGITUDE, LATITUDE)


@pytest.mark.parametrize("seed", range(2))
def test_knn_are_those_of_libpysal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    longitude, latitude = rng.uniform(-179, 179, 80), rng.uniform(-89, 89, 80)
    units = tuple(f"u{i:02d}" for i in range(80))
    points = geopandas.GeoSeries.from_xy(longitude, latitude, crs="EPSG:4326")
    for k in (1, 5, 79):
        graph = Graph.build_knn(points, k=k, metric="haversine")
        np.testing.assert_array_equal(knn(units, longitude, latitude, k=k).dense > 0, graph.sparse.toarray() > 0)


@pytest.mark.parametrize("east", [0.0, 1e-13])
def test_of_equally_near_units_the_first_are_neighbours_however_distances_are_rounded(east: float) -> None:
    """Places in a row: the inner ones have one on each side at one distance."""
    n = 12
    weights = knn(tuple(f"u{i:02d}" for i in range(n)), 100 + np.arange(n) / 10 + east, np.zeros(n), k=1)
    np.testing.assert_array_equal(weights.matrix.indices, [1, *range(n - 1)])
    wide = knn(tuple(f"u{i:02d}" for i in range(n)), 100 + np.arange(n) / 10 + east, np.zeros(n), k=3)
    np.testing.assert_array_equal(wide.matrix.indices.reshape(-1, 3)[4], [2, 3, 5])


def test_of_equal_distances_the_first_count_whatever_rounding_makes_of_them() -> None:
    rounded = 7.0 * (1 + np.array([3e-13, 0.0, -2e-13, -4e-13]))
    for order in itertools.permutations(range(4)):
        distance = np.array([[9.0, *rounded[list(order)], 1.0]])
        for k in range(1, 7):
            first = [5, 1, 2, 3, 4, 0][:k]
            assert set(np.flatnonzero(among_nearest(distance, k)[0])) == set(first)


def test_inverse_distance_with_power_and_cutoff() -> None:
    raw = inverse_distance(UNITS, LONGITUDE, LATITUDE, power=2, standardize="none").dense
    np.testing.assert_allclose(raw[0], [0, DEGREE**-2, (2 * DEGREE) ** -2, (12 * DEGREE) ** -2])
    near = inverse_distance(
        UNITS, LONGITUDE, LATITUDE, cutoff_km=1.5 * DEGREE, standardize="none", islands="nearest"
    ).dense
    np.testing.assert_allclose(near[0], [0, 1 / DEGREE, 0, 0])
    np.testing.assert_allclose(near[3], [0, 0, 1 / (10 * DEGREE), 0])  # the island's link weighs as any other


def test_equal_distances_are_in_or_out_together() -> None:
    """Places a tenth of a degree apart on the equator: what reaches as far as that links all that stand in a row."""
    n = 40
    units, longitude = tuple(f"u{i}" for i in range(n)), 100 + np.arange(n) / 10
    in_a_row = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) == 1
    for weights in (
        band(units, longitude, np.zeros(n), km=DEGREE / 10),
        inverse_distance(units, longitude, np.zeros(n), cutoff_km=DEGREE / 10),
    ):
        np.testing.assert_array_equal(weights.dense > 0, in_a_row)
    places = Places(units, longitude, np.zeros(n), np.zeros(n, dtype=np.intp), np.zeros(n))
    spillover = Neighbours(w_effect=1.0, radius=DEGREE / 10)
    np.testing.assert_array_equal(spillover.alone(WorldContext(places, (2001,), None)), in_a_row)


def test_band_agrees_with_libpysal_on_projected_points() -> None:
    from libpysal.graph import Graph

    points = np.column_stack([LONGITUDE, LATITUDE]) * DEGREE  # on the equator the plane and the globe agree
    theirs = Graph.build_distance_band(points, 2.5 * DEGREE).sparse.toarray()
    ours = band(UNITS, LONGITUDE, LATITUDE, km=2.5 * DEGREE, standardize="none", islands="nearest").dense
    np.testing.assert_array_equal(ours[:3], theirs[:3])
    np.testing.assert_array_equal(ours[3], [0, 0, 1, 0])
    assert ours[2, 3] == 0  # the island is nobody's neighbour


def test_units_at_the_same_place_are_neighbours_in_a_band() -> None:
    weights = band(("a", "b", "c"), np.array([0.0, 0.0, 0.5]), np.zeros(3), km=1.2 * DEGREE, standardize="none")
    np.testing.assert_array_equal(weights.dense, 1 - np.eye(3))


def test_economic_and_nested_weights() -> None:
    level = np.array([1.0, 3.0, 4.0, 8.0])
    np.testing.assert_allclose(economic(UNITS, level, standardize="none").dense[0], [0, 1 / 2, 1 / 3, 1 / 7])
    expected = np.array([0, 1 / 2, 1 / 2 / 3, 1 / 12 / 7]) / DEGREE
    np.testing.assert_allclose(nested(UNITS, LONGITUDE, LATITUDE, level, standardize="none").dense[0], expected)


def grid(path: Path) -> Path:
    """A map of 2 x 2 squares a b / c d and a distant e."""
    import geopandas
    from shapely import box

    squares = [box(x, y, x + 1, y + 1) for x, y in ((0, 1), (1, 1), (0, 0), (1, 0), (9, 9))]
    names = geopandas.GeoDataFrame({"名称": list("abcde")}, geometry=squares, crs="EPSG:4326")
    names.to_file(path / "map.geojson")
    return path / "map.geojson"


def test_contiguity_by_queen_and_rook(tmp_path: Path) -> None:
    path = grid(tmp_path)
    order = ("d", "c", "b", "a")  # not the map's order, and without e
    queen = contiguity(order, path, unit="名称", standardize="none")
    rook = contiguity(order, path, unit="名称", rule="rook", standardize="none")
    np.testing.assert_array_equal(queen.dense, 1 - np.eye(4))
    np.testing.assert_array_equal(rook.dense[0], [0, 1, 1, 0])
    assert (queen.name, rook.name) == ("queen", "rook")


def test_cells_touch_on_a_plane_whose_degrees_have_one_length() -> None:
    """Rows of a wall from 20 to 60 degrees north: the next two in a row, and two in each row beside it."""
    row, place = (part.ravel() for part in np.indices((5, 5)))
    longitude, latitude = (part.astype(np.float64) for part in (place + 0.5 * (row % 2), 20.0 + 10.0 * row))
    found = touching_cells(tuple(map(str, range(25))), longitude, latitude, rule="rook", standardize="none")
    rows, along = (np.abs(values[:, None] - values) for values in (row, longitude))
    np.testing.assert_array_equal(found.dense, ((rows == 0) & (along == 1)) | ((rows == 1) & (along == 0.5)))


def test_an_island_of_a_map_gets_its_nearest_unit(tmp_path: Path) -> None:
    units = tuple("abcde")
    places = Coordinates(units, np.array([0.5, 1.5, 0.5, 1.5, 9.5]), np.array([1.5, 1.5, 0.5, 0.5, 9.5]))
    weights = contiguity(units, grid(tmp_path), unit="名称", islands="nearest", coordinates=places)
    np.testing.assert_array_equal(weights.dense[4], [0, 1, 0, 0, 0])
    assert weights.attached == (("e", "b"),)
    with pytest.raises(BadInput, match="units without neighbours: e"):
        contiguity(units, tmp_path / "map.geojson", unit="名称")
    with pytest.raises(BadInput, match=r"units without neighbours: e.*name the panel's longitude"):
        contiguity(units, tmp_path / "map.geojson", unit="名称", islands="nearest")


RING = np.array([[0, 2, 0, 1], [1, 0, 1, 0], [0, 1, 0, 3], [1, 0, 1, 0]], dtype=float)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def as_edges(path: Path) -> Path:
    rows = [f"{UNITS[i]},{UNITS[j]},{RING[i, j]}" for i, j in np.argwhere(RING)]
    return write(path / "ring.csv", "\n".join(["focal,neighbor,weight", *rows]))


def as_matrix(path: Path) -> Path:
    pd.DataFrame(RING, index=UNITS, columns=UNITS).to_csv(path / "ring.csv")
    return path / "ring.csv"


def as_npy(path: Path) -> Path:
    np.save(path / "ring.npy", RING)
    return path / "ring.npy"


def as_mtx(path: Path) -> Path:
    scipy.io.mmwrite(path / "ring.mtx", sp.coo_array(RING))
    return path / "ring.mtx"


def as_gwt(path: Path) -> Path:
    rows = [f"{UNITS[i]} {UNITS[j]} {RING[i, j]}" for i, j in np.argwhere(RING)]
    return write(path / "ring.gwt", "\n".join(["0 4 shape id", *rows, ""]))


@pytest.mark.parametrize("writer", [as_edges, as_matrix, as_npy, as_mtx, as_gwt])
def test_every_kind_of_file_gives_the_same_weights(tmp_path: Path, writer: Callable[[Path], Path]) -> None:
    path = writer(tmp_path)
    weights = from_file(path, UNITS)
    np.testing.assert_allclose(weights.dense, RING / RING.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(from_file(path, UNITS, standardize="none").dense, RING)
    assert from_file(path, UNITS, standardize="spectral").radius == pytest.approx(1.0)
    assert weights.name == "ring"


def test_gal_and_edges_without_weights_are_binary(tmp_path: Path) -> None:
    gal = write(tmp_path / "w.gal", "0 4 shape id\na 2\nb d\nb 2\na c\nc 2\nb d\nd 2\na c\n")
    edges = write(tmp_path / "e.csv", "focal,neighbor\na,b\na,d\nb,a\nb,c\nc,b\nc,d\nd,a\nd,c\n")
    np.testing.assert_array_equal(from_file(gal, UNITS, standardize="none").dense, RING > 0)
    np.testing.assert_array_equal(from_file(edges, UNITS, standardize="none").dense, RING > 0)


def test_a_file_is_cut_down_to_the_units_kept_before_it_is_standardised(tmp_path: Path) -> None:
    kept = ("a", "b", "d")
    expected = np.array([[0, 2 / 3, 1 / 3], [1, 0, 0], [1, 0, 0]])
    for writer in (as_edges, as_npy):
        np.testing.assert_allclose(from_file(writer(tmp_path), UNITS, keep=kept).dense, expected)


def test_other_units_of_a_file_can_be_left_out(tmp_path: Path) -> None:
    weights = from_file(as_edges(tmp_path), ("b", "a", "d"), others="drop", standardize="none")
    np.testing.assert_array_equal(weights.dense, [[0, 1, 0], [2, 0, 1], [0, 1, 0]])


def test_an_island_of_a_file_gets_its_nearest_unit(tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", "focal,neighbor\na,b\nb,a\nc,b\n")
    with pytest.raises(BadInput, match=r"w\.csv; has no row for d;.*islands"):
        from_file(path, UNITS)
    weights = from_file(path, UNITS, islands="nearest", coordinates=PLACES)
    np.testing.assert_array_equal(weights.dense[3], [0, 0, 1, 0])
    assert weights.attached == (("d", "c"),)
    assert weights.reordered(UNITS[::-1]).attached == (("d", "c"),)


def test_a_matrix_that_lacks_units_is_no_matrix_with_islands(tmp_path: Path) -> None:
    pd.DataFrame(RING[:3, :3], index=UNITS[:3], columns=UNITS[:3]).to_csv(tmp_path / "w.csv")
    with pytest.raises(BadInput, match=r"w\.csv; has no row for d;"):
        from_file(tmp_path / "w.csv", UNITS)
    assert from_file(tmp_path / "w.csv", UNITS, keep=UNITS[:3]).attached == ()
    pd.DataFrame(RING * [[0], [1], [1], [1]], index=UNITS, columns=UNITS).to_csv(tmp_path / "w.csv")
    with pytest.raises(BadInput, match="weights w; units without neighbours: a;"):
        from_file(tmp_path / "w.csv", UNITS)


def test_a_matrix_separated_by_semicolons(tmp_path: Path) -> None:
    pd.DataFrame(RING / 2, index=UNITS, columns=UNITS).to_csv(tmp_path / "w.csv", sep=";", decimal=",")
    np.testing.assert_array_equal(from_file(tmp_path / "w.csv", UNITS, standardize="none").dense, RING / 2)


def test_numbers_of_a_gwt_may_be_distances_and_are_asked_about(tmp_path: Path) -> None:
    path, said = as_gwt(tmp_path), "The numbers 1 to 3 of ring.gwt are taken for weights. GeoDa writes distances into"
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
    "matrix without names": (
        "w.csv",
        "0.0,1,1,0\n1,0,1,0\n1,1,0,1\n1,0,1,0\n",
        ["no names in its first row", "a square matrix with names in the first row and column"],
    ),
    "the same with semicolons": ("w.csv", "0;1,5;1\n1;0;1\n1;1;0\n", ["no names in its first row"]),
    "broken gal": ("w.gal", "nothing\n", ["cannot be read as gal"]),
    "spaces in names of a gal": ("w.gal", "2\nNew York 1\nd\n", ["as gal; allowed: names without spaces"]),
    "broken gwt": ("w.gwt", "0 4 x y\n", ["cannot be read as gwt"]),
    "broken mtx": ("w.mtx", "nothing\n", ["cannot be read as mtx"]),
    "broken npy": ("w.npy", "nothing\n", ["cannot be read as npy"]),
    "other extension": ("w.txt", "a b\n", ["has the extension .txt", ".csv, .xlsx, .dta, .gal, .gwt, .npy, .mtx"]),
    "empty": ("w.csv", "", ["is empty"]),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_of_weights_is_refused(tmp_path: Path, case: str) -> None:
    name, text, expected = WRONG_FILES[case]
    with pytest.raises(BadInput) as caught:
        from_file(write(tmp_path / name, text), UNITS)
    message = str(caught.value)
    assert all(part in message for part in expected), message
    assert all(p.what and p.where and p.allowed and p.remedy for p in caught.value.problems)


def test_a_matrix_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"W is 4 x 4 .*allowed: 5 x 5"):
        from_file(as_npy(tmp_path), (*UNITS, "e"))
    np.save(tmp_path / "flat.npy", np.ones(16))
    with pytest.raises(BadInput, match=r"W is 16 of float64"):
        from_file(tmp_path / "flat.npy", UNITS)


def test_coordinates_off_the_globe_are_named() -> None:
    with pytest.raises(BadInput, match=r"latitude of 1 unit is not on the globe: b 116\.4.*exchanged"):
        knn(("a", "b"), np.array([39.9, 39.9]), np.array([39.9, 116.4]), k=1)
    assert band(("a", "b"), np.array([180.0, -180.0]), np.array([60.0, 60.0]), km=1).matrix.nnz == 2  # one meridian
    with pytest.raises(BadInput, match=r"longitude of 1 unit is not on the globe: b 180\.5"):
        band(("a", "b"), np.array([1.0, 180.5]), np.array([90.0, -90.0]), km=10)
    with pytest.raises(BadInput, match="longitude of 1 unit is not on the globe: b nan"):
        band(("a", "b"), np.array([1.0, np.nan]), np.zeros(2), km=10)


@pytest.mark.parametrize("build", [knn, inverse_distance])
def test_units_at_the_same_place_are_named(build: Callable[..., object]) -> None:
    with pytest.raises(BadInput, match="a and c are at the same place"):
        build(("a", "b", "c"), np.array([1.0, 2.0, 1.0]), np.zeros(3), **({"k": 1} if build is knn else {}))


def test_impossible_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="k = 4; allowed: 1 to 3"):
        knn(UNITS, LONGITUDE, LATITUDE, k=4)
    with pytest.raises(BadInput, match="km = -1"):
        band(UNITS, LONGITUDE, LATITUDE, km=-1)
    with pytest.raises(BadInput, match="power = 0"):
        inverse_distance(UNITS, LONGITUDE, LATITUDE, power=0)
    with pytest.raises(BadInput, match="cutoff_km = 0"):
        inverse_distance(UNITS, LONGITUDE, LATITUDE, cutoff_km=0)
    with pytest.raises(BadInput, match="units without neighbours: d"):
        band(UNITS, LONGITUDE, LATITUDE, km=200)
    with pytest.raises(BadInput, match="a and c have the same level"):
        economic(UNITS, np.array([1.0, 2.0, 1.0, 3.0]))
    with pytest.raises(BadInput, match="mean is missing for b"):
        economic(UNITS, np.array([1.0, np.nan, 2.0, 3.0]))


def test_means_of_the_same_values_in_another_order_are_the_same_level() -> None:
    """They differ by rounding, and 1 over that would be all of the weight."""
    first, second = (0.1 + 0.2 + 0.3) / 3, (0.3 + 0.2 + 0.1) / 3
    assert first != second
    for build in (economic, lambda units, level: nested(units, np.arange(4.0), np.arange(4.0), level)):
        with pytest.raises(BadInput, match="have the same level"):
            build(UNITS, np.array([first, second, 0.5, 0.7]))
    near = economic(UNITS, np.array([0.2, 0.2 * (1 + 1e-9), 0.5, 0.7]), standardize="none").dense
    assert near[0, 1] == pytest.approx(5e9, rel=1e-6)


def test_wrong_maps_are_refused(tmp_path: Path) -> None:
    path = grid(tmp_path)
    with pytest.raises(BadInput, match="there is no column 'name'; allowed: 名称"):
        contiguity(UNITS, path, unit="name")
    with pytest.raises(BadInput, match="1 unit not on the map: f"):
        contiguity(("a", "f"), path, unit="名称")
    with pytest.raises(BadInput, match="cannot be read as a map"):
        contiguity(UNITS, write(tmp_path / "bad.geojson", "{"), unit="名称")
    with pytest.raises(BadInput, match="there is no such file"):
        contiguity(UNITS, tmp_path / "none.geojson", unit="名称")


def test_the_island_of_the_committed_map_is_named() -> None:
    """Squares on a grid; the last is drawn too small to touch: the others' queen neighbours differ by one step."""
    path, names = made_cities.DATA / "cities_map.geojson", tuple(made_cities.frame()["city"].unique())
    assert len(names) == 36
    with pytest.raises(BadInput, match=r"units without neighbours: C36;"):
        contiguity(names, path, unit="city")
    weights = contiguity(names[:-1], path, unit="city", standardize="none")
    row, column = np.divmod(np.arange(35), 6)
    apart = np.maximum(np.abs(row[:, None] - row), np.abs(column[:, None] - column))
    np.testing.assert_array_equal(weights.dense, apart == 1)


LINKS = "a,b,2\nb,c,1\nc,d,3\nd,a,1\n"
RAW = np.array([[0, 2, 0, 1], [2, 0, 1, 0], [0, 1, 0, 3], [1, 0, 3, 0]], dtype=float)


def test_links_that_stand_once_are_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", "focal,neighbor,weight\n" + LINKS)
    with pytest.raises(BadInput, match=r"each of 4 links goes one way alone, such as a to b.*symmetric = true"):
        from_file(path, UNITS)
    both, one = (from_file(path, UNITS, standardize="none", layout=FileLayout(symmetric=how)) for how in (True, False))
    np.testing.assert_array_equal(both.dense, RAW)
    np.testing.assert_array_equal(one.dense, np.triu(RAW, 1) * (RAW[0, 3] != RAW) + [[0] * 4, [0, 0, 1, 0], [0] * 4,
                                                                                      [1, 0, 0, 0]])  # fmt: skip


def test_a_link_that_stands_both_ways_counts_once(tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", "focal,neighbor,weight\n" + LINKS + "b,a,2\n")
    found = from_file(path, UNITS, standardize="none", layout=FileLayout(symmetric=True))
    np.testing.assert_array_equal(found.dense, RAW)


def test_columns_of_any_name_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", "start,end,flow,minutes\n" + LINKS.replace("\n", ",9\n"))
    with pytest.raises(BadInput, match=r"no column 'focal' among start, end.*focal = "):
        from_file(path, UNITS)
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
        with pytest.raises(BadInput, match=r'no names in its first row.*units = "file"'):
            from_file(path, UNITS)
        found = from_file(path, UNITS, standardize="none", layout=FileLayout(order=UNITS[::-1]))
        np.testing.assert_array_equal(found.dense, RAW[::-1, ::-1])
        assert found.read == "w.csv names no units: its rows are taken for d, c, b and 1 more."


def test_three_units_are_named_without_a_count_of_none(tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", "0,1,1\n1,0,1\n1,1,0\n")
    found = from_file(path, ("a", "b", "c"), layout=FileLayout(order=("c", "b", "a")))
    assert found.read == "w.csv names no units: its rows are taken for c, b, a."


@pytest.mark.parametrize("name", ["w.csv", "w.xlsx"])
def test_ids_with_zeros_in_front_stay_as_they_are(tmp_path: Path, name: str) -> None:
    units = ("01001", "01003", "10001")
    square = pd.DataFrame([[0, 1, 2], [1, 0, 3], [2, 3, 0]], index=pd.Index(units, name="fips"), columns=[*units])
    links = square.reset_index().melt("fips", var_name="to", value_name="weight").rename(columns={"fips": "from"})
    for table in (square.reset_index(), links[links["weight"] > 0]):
        table.to_csv(tmp_path / name, index=False) if name == "w.csv" else table.to_excel(tmp_path / name, index=False)
        found = from_file(tmp_path / name, units, standardize="none", meant=True)
        np.testing.assert_array_equal(found.dense, square.to_numpy())
    ring = from_file(write(tmp_path / "w.gal", "2\n01001 1\n01003\n01003 1\n01001\n"), units[:2], standardize="none")
    np.testing.assert_array_equal(ring.dense, [[0, 1], [1, 0]])


def test_empty_columns_beside_a_matrix_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", ";a;b;c;;\na;0;1;0;;\nb;1;0;2;;\nc;0;2;0;;\n")
    np.testing.assert_array_equal(from_file(path, ("a", "b", "c"), standardize="none").dense[2], [0, 2, 0])


FOUR = np.abs(np.subtract.outer([0.0, 1.0, 3.0, 12.0], [0.0, 1.0, 3.0, 12.0]))  # km between places on a road


@pytest.mark.parametrize("back", [1.0, 1.05])
def test_a_few_distances_are_asked_about_and_so_are_those_that_are_longer_on_the_way_back(
    tmp_path: Path, back: float
) -> None:
    np.save(tmp_path / "w.npy", np.triu(FOUR) + back * np.tril(FOUR))
    with pytest.raises(BadInput, match="these look like distances"):
        from_file(tmp_path / "w.npy", UNITS)


def test_a_distance_of_zero_is_no_missing_link(tmp_path: Path) -> None:
    distance = np.abs(np.subtract.outer(np.arange(8.0), np.arange(8.0)))
    distance[6, 7] = distance[7, 6] = 0.0
    np.save(tmp_path / "w.npy", distance)
    with pytest.raises(BadInput, match="the distance of g and h is 0"):
        from_file(tmp_path / "w.npy", tuple("abcdefgh"), of_distance=lambda d: 1 / d)


def test_names_that_are_numbers_are_names(tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", "focal,neighbor\n1,2\n2,1\n2,3\n3,2\n")
    found = from_file(path, ("3", "1", "2"), standardize="none")
    np.testing.assert_array_equal(found.dense, [[0, 0, 1], [0, 0, 1], [1, 1, 0]])


def test_the_column_called_weight_holds_the_weights(tmp_path: Path) -> None:
    path = write(tmp_path / "w.csv", "focal,neighbor,distance,weight\na,b,5,2\nb,a,5,3\n")
    np.testing.assert_array_equal(from_file(path, ("a", "b"), standardize="none").dense, [[0, 2], [3, 0]])


DOUBTFUL = {
    "two links": ("focal,neighbor\na,b\nb,c\n", FileLayout(), "each of 2 links goes one way alone"),
    "two numbers": (
        "focal,neighbor,weight\na,b,2\nb,a,1\n",
        FileLayout(symmetric=True),
        "a to b is 2, and b to a is 1",
    ),
    "one row more": ("0,2,1\n0,1,1\n1,0,1\n1,1,0\n", FileLayout(order=UNITS[:3]), "is 4 x 3 numbers without names"),
    "other numbers": (",v2,v1,v3\na,0,1,2\nb,1,0,3\nc,2,3,0\n", FileLayout(), "numbered out of order: v2, v1, v3"),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_could_be_read_in_two_ways_is_asked_about(tmp_path: Path, case: str) -> None:
    text, layout, words = DOUBTFUL[case]
    with pytest.raises(BadInput, match=words):
        from_file(write(tmp_path / "w.csv", text), UNITS[:3], layout=layout)
