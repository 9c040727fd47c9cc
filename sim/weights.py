"""Spatial weights: W on named units, standardised, with its eigenvalues computed once."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property, wraps
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from sim.arrays import Flags, Floats
from sim.errors import UNREADABLE, amount, bad, check_file, closest, listed, one_of

# One BLAS thread around what is computed once of a W and kept: its bits must not depend on who asked first.


def one_thread[**P, T](function: Callable[P, T]) -> Callable[P, T]:
    """The same function with the BLAS held to one thread while it runs."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        with _controller().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited


@cache
def _controller() -> ThreadpoolController:
    """That of the BLAS of numpy and of scipy; to find them in a process takes long."""
    import scipy.linalg  # noqa: F401  (it brings the second one)

    return ThreadpoolController()


# Spatial weights: what they hold, how they are built, and the spatial filter that they define.


try:  # the kernel behind scipy's own products, which always start from a new array of zeros
    from scipy.sparse._sparsetools import csr_matvecs
except ImportError:  # pragma: no cover  (a scipy that keeps it elsewhere: the same sums, through one array more)
    csr_matvecs = None

Standardize = Literal["row", "spectral", "none"]
ONE = 1e-10  # distance from one up to which a row sum counts as one: rounding is some 1e-16 a link
ROWS = 296  # of a product at a time: few, and 37 cache lines, an odd number, so that units do not evict another
SPARSE_BELOW = 0.15  # share of non-zero entries up to which a sparse product is the faster one


@dataclass(frozen=True, eq=False)
class Weights:
    """A spatial weights matrix with a zero diagonal, already standardised; build it with `Weights.of`.

    `matrix` is CSR, (N, N); row i holds the weights of i's neighbours. attached: units that had no neighbour of their
    own, each with the one that it was given. read: in words, what was found out about the file that it is from.
    """

    units: tuple[str, ...]
    matrix: sp.csr_array
    standardize: Standardize = "row"
    name: str = "w"
    attached: tuple[tuple[str, str], ...] = ()
    read: str = ""

    @classmethod
    def of(
        cls, units: tuple[str, ...], raw: Floats | sp.sparray, standardize: Standardize = "row", name: str = "w"
    ) -> Weights:
        """Weights from raw non-negative entries, (N, N), standardised by row sums, spectral radius or not at all.

        Raises BadInput for another shape, negative or non-finite entries, a non-zero diagonal, and units without
        neighbours (a zero row).
        """
        matrix: sp.csr_array[Any, tuple[int, int]] = sp.csr_array(raw, dtype=np.float64)
        matrix.eliminate_zeros()
        matrix.sort_indices()
        where, n = f"weights {name}", len(units)
        if matrix.shape != (n, n):
            raise bad(f"W is {matrix.shape[0]} x {matrix.shape[1]}", where=where,
                      allowed=f"{n} x {n}, one row per unit",
                      remedy="give W for exactly the panel's units")  # fmt: skip
        if not np.isfinite(matrix.data).all() or (matrix.data < 0).any():
            raise bad("W has negative, infinite or missing entries", where=where, allowed="finite entries >= 0",
                      remedy="correct those entries")  # fmt: skip
        on_diagonal = np.flatnonzero(matrix.diagonal())
        if on_diagonal.size:
            raise bad(f"units are their own neighbours: {listed(units[i] for i in on_diagonal)}", where=where,
                      allowed="a zero diagonal", remedy="set the diagonal to zero")  # fmt: skip
        islands = np.flatnonzero(np.diff(matrix.indptr) == 0)
        if islands.size:
            raise bad(f"units without neighbours: {listed((units[i] for i in islands), 12)}", where=where,
                      allowed="at least one neighbour per unit",
                      remedy='drop those units or set islands = "nearest"')  # fmt: skip

        if standardize not in get_args(Standardize):
            raise bad(f"standardize = {standardize!r}", where=f"weights {name}",
                      allowed=one_of(get_args(Standardize)),
                      remedy=closest(str(standardize), get_args(Standardize), "choose one of them"))  # fmt: skip
        if standardize == "row":
            matrix = sp.csr_array(sp.diags_array(1.0 / matrix.sum(axis=1)) @ matrix)
        elif standardize == "spectral":
            matrix = sp.csr_array(matrix / np.abs(_eigenvalues(matrix.toarray())).max())
        matrix.sort_indices()
        return cls(tuple(units), matrix, standardize, name)

    @cached_property
    def dense(self) -> Floats:
        """W as a dense array, (N, N), read-only."""
        dense = self.matrix.toarray()
        dense.flags.writeable = False
        return dense

    @cached_property
    def eigenvalues(self) -> NDArray[np.complex128] | Floats:
        """The N eigenvalues of W; real when W is similar to a symmetric matrix (contiguity, distance), else complex."""
        return _eigenvalues(self.dense)

    @cached_property
    def radius(self) -> float:
        """The spectral radius; rho is looked for in (-1/radius, 1/radius).

        It is 1 by theorem where rows sum to one (Perron and Frobenius: it lies between the smallest and the largest
        row sum) and where W was divided by it, whatever rounding makes of the eigenvalues.
        """
        if self.standardize == "spectral" or self.row_stochastic:
            return 1.0
        return float(np.abs(self.eigenvalues).max())

    @cached_property
    def row_stochastic(self) -> bool:
        """Whether every row sums to one, as Lee and Yu's transformation requires."""
        return bool(np.abs(self.matrix.sum(axis=1) - 1.0).max() <= ONE)

    @cached_property
    def operator(self) -> sp.csr_array | Floats:
        """W in the form, sparse or dense, whose products are the faster ones: `operator @ x` for x (N, M)."""
        n = len(self.units)
        return self.matrix if self.matrix.nnz <= SPARSE_BELOW * n * n else self.dense

    def lag(self, array: Floats, *, centred: bool = False) -> Floats:
        """W applied over the last axis: (..., N) -> (..., N): each period's spatial lag; `centred` around its mean."""
        flat = array.reshape(-1, array.shape[-1])
        out = np.empty_like(flat)
        for rows in chunks(flat):
            lagged = self.operator @ np.ascontiguousarray(flat[rows].T)
            if centred:
                lagged -= lagged.sum(axis=0) / len(lagged)
            out[rows] = lagged.T
        return out.reshape(array.shape)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over units and entries."""
        sha = hashlib.sha256(repr(self.units).encode())
        for part in (self.matrix.indptr.astype("<i8"), self.matrix.indices.astype("<i8"), self.matrix.data):
            sha.update(part.tobytes())
        return sha.hexdigest()

    def reordered(self, units: tuple[str, ...]) -> Weights:
        """The same weights with units in another order; raises BadInput when the sets of units differ."""
        position = {unit: i for i, unit in enumerate(self.units)}
        if set(units) != set(position) or len(units) != len(position):
            missing = [unit for unit in units if unit not in position]
            extra = [unit for unit in position if unit not in set(units)]
            raise bad(
                f"units differ: missing from W {listed(missing) or 'none'}; not in the panel {listed(extra) or 'none'}",
                where=f"weights {self.name}",
                allowed=f"the panel's {len(units)} units",
                remedy="give W for exactly the panel's units",
            )
        order = [position[unit] for unit in units]
        matrix = sp.csr_array(self.matrix[order][:, order])
        matrix.sort_indices()
        return replace(self, units=tuple(units), matrix=matrix)

    def __repr__(self) -> str:
        return f"Weights({self.name}, {len(self.units)} units, {self.matrix.nnz} links, {self.standardize})"


@one_thread
def _eigenvalues(w: Floats) -> NDArray[np.complex128] | Floats:
    """Eigenvalues of W, through a symmetric similar matrix where there is one (Ord 1975): W = D^-1 C, C = C'.

    That is D^1/2 W D^-1/2 where a diagonal D makes it symmetric: d_i w_ij = d_j w_ji along a spanning forest.
    """
    if np.array_equal(w != 0, w.T != 0):
        pattern = sp.csr_array(w)
        scale = np.full(w.shape[0], np.nan)
        for root in range(w.shape[0]):
            if np.isnan(scale[root]):
                scale[root] = 1.0
                order, parents = sp.csgraph.breadth_first_order(pattern, root, directed=False)
                for node in order[1:]:
                    scale[node] = scale[parents[node]] * w[parents[node], node] / w[node, parents[node]]
        root_scale = np.sqrt(scale)
        similar = root_scale[:, None] * w / root_scale
        if np.allclose(similar, similar.T, rtol=1e-9, atol=1e-13 * float(np.abs(similar).max(initial=0.0))):
            return np.asarray(scipy.linalg.eigvalsh((similar + similar.T) / 2), dtype=np.float64)
    return np.asarray(scipy.linalg.eigvals(w), dtype=np.complex128)


def chunks(flat: Floats) -> Iterator[slice]:
    """The rows of (M, N), some hundreds at a time and never one alone, whose sums would be made in another order."""
    starts = range(0, max(len(flat) - 1, 1), ROWS)
    return (slice(start, len(flat) if start == starts[-1] else start + ROWS) for start in starts)


def add_product(matrix: sp.csr_array, x: Floats, out: Floats) -> None:
    """out += matrix @ x for (N, N) and C-contiguous (N, M); `out` may be x when no row that is written is also read."""
    if csr_matvecs is None:
        out += matrix @ x
        return
    rows, columns = matrix.shape
    csr_matvecs(rows, columns, x.shape[1], matrix.indptr, matrix.indices, matrix.data, x.reshape(-1), out.reshape(-1))


# Distances on the globe.


EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
ROUNDED = 1e-13  # share of two levels up to which their gap is that of rounding: means of the same values in any order
ONE_PLACE = 1e-6  # km below which two places are one, such as those on both ends of the globe, at 180 and -180 degrees
MARGIN = 1e-9  # relative; two distances that differ by less are equal: degrees carry some 1e-9 of a kilometre


def great_circle_km(longitude: Floats, latitude: Floats) -> Floats:
    """Great-circle distances in km between all pairs of points in degrees, (N, N), by the haversine formula."""
    lon, lat = np.radians(longitude), np.radians(latitude)
    half_lat = np.sin((lat[:, None] - lat) / 2) ** 2
    half_lon = np.sin((lon[:, None] - lon) / 2) ** 2
    haversine = half_lat + np.cos(lat)[:, None] * np.cos(lat) * half_lon
    distance: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(haversine, 0.0, 1.0)))
    return distance


def within_km(distance: Floats, km: float | Floats) -> Flags:
    """Which distances in km are at most `km`, equal ones included however they are rounded; of distance's shape."""
    near: Flags = distance <= km * (1 + MARGIN)
    return near


def among_nearest(distance: Floats, k: int) -> Flags:
    """Which columns are the k nearest of each row, (N, M); of equal distances, however rounded, the first count."""
    farthest = np.partition(distance, k - 1, axis=1)[:, k - 1 : k]
    nearer = distance < farthest * (1 - MARGIN)
    equal = within_km(distance, farthest) & ~nearer
    places = k - np.count_nonzero(nearer, axis=1, keepdims=True)
    near: Flags = nearer | (equal & (np.cumsum(equal, axis=1) <= places))
    return near


# Weights from coordinates, maps and economic distance: who is whose neighbour, and how strongly.
#
# Distances are great-circle distances in km. An economic distance is the gap between two units' levels of a
# variable: economic weights are w_ij = 1/|l_i - l_j|, nested ones 1/(d_ij |l_i - l_j|). Files of weights:
# `weights_files`.


CALLED = {
    "band": "band-{w.km:g}", "contiguity": "{w.rule}", "distance": "{w.path.stem}", "economic": "economic",
    "file": "{w.path.stem}",
    "inverse-distance": "inverse-distance", "knn": "knn-{w.k}", "nested": "nested",
}  # what a W without a name is called, by the kind of its settings  # fmt: skip
Islands = Literal["error", "nearest"]
Strength = Callable[[Floats], Floats]
TOUCHING = 1e-9  # share of a map's extent up to which a gap between borders is rounding: millimetres on a continent
CORNER = 100.0  # such gaps along a border that polygons which meet in a corner have within them, at most
MAPS = (".geojson", ".json", ".shp", ".gpkg", ".zip", ".fgb", ".parquet")


DEGREES = {"longitude": 180, "latitude": 90}  # the farthest from zero that a place may be


@dataclass(frozen=True, eq=False, slots=True)
class Coordinates:
    """Where units are: longitude and latitude in degrees, (N,); raises BadInput for what cannot be on a globe."""

    units: tuple[str, ...]
    longitude: Floats
    latitude: Floats

    def __post_init__(self) -> None:
        for name, limit in DEGREES.items():
            values: Floats = getattr(self, name)
            wrong = np.flatnonzero(~(np.abs(values) <= limit))
            if wrong.size:
                named = listed((f"{self.units[i]} {values[i]:g}" for i in wrong), 3)
                raise bad(f"{name} of {amount(wrong.size, "unit")} is not on the globe: {named}",
                          where="coordinates", allowed=f"degrees between -{limit} and {limit}",
                          remedy="give degrees; check that longitude and latitude are neither exchanged nor "
                                 "projected")  # fmt: skip

    def distances(self) -> Floats:
        """Great-circle km between all pairs, (N, N)."""
        return great_circle_km(self.longitude, self.latitude)

    def check_apart(self, where: str) -> None:
        """Raise BadInput for units at the same place."""
        distance = self.distances() + np.diag(np.full(len(self.units), np.inf))
        distance[distance < ONE_PLACE] = 0.0  # 1 over rounding would be a weight
        _check_gaps(self.units, distance, where, "are at the same place", "correct the coordinates")


def knn(
    units: tuple[str, ...],
    longitude: Floats,
    latitude: Floats,
    *,
    k: int = 6,
    standardize: Standardize = "row",
    name: str | None = None,
) -> Weights:
    """The k nearest units by great-circle distance (degrees in), the first of equally near ones.

    By hand, because every process would have to load libpysal for it. Raises BadInput unless 1 <= k < N.
    """
    name = name or f"knn-{k}"
    if not 1 <= k < len(units):
        raise bad(f"k = {k}", where=f"weights {name}", allowed=f"1 to {len(units) - 1}",
                  remedy="choose fewer neighbours")  # fmt: skip
    places = Coordinates(units, longitude, latitude)
    places.check_apart(f"weights {name}")
    near = among_nearest(places.distances() + np.diag(np.full(len(units), np.inf)), k)
    return Weights.of(units, sp.csr_array(near.astype(np.float64)), standardize, name)


def inverse_distance(
    units: tuple[str, ...],
    longitude: Floats,
    latitude: Floats,
    *,
    power: float = 1.0,
    cutoff_km: float | None = None,
    standardize: Standardize = "row",
    islands: Islands = "error",
    name: str | None = None,
) -> Weights:
    """w_ij = d_ij^-power with d in km, zero beyond the cutoff; raises BadInput for units at the same place."""
    name = name or "inverse-distance"
    where = f"weights {name}"
    places = Coordinates(units, longitude, latitude)
    places.check_apart(where)
    _check_positive(where, power=power, cutoff_km=np.inf if cutoff_km is None else cutoff_km)
    limit = np.inf if cutoff_km is None else cutoff_km

    def decay(d: Floats) -> Floats:
        return np.asarray(d**-power)

    raw = _by_distance(places, lambda d: np.where(within_km(d, limit), decay(d), 0.0))
    return connected(raw, units, islands, places, standardize, name, decay)


def band(
    units: tuple[str, ...],
    longitude: Floats,
    latitude: Floats,
    *,
    km: float,
    standardize: Standardize = "row",
    islands: Islands = "error",
    name: str | None = None,
) -> Weights:
    """Neighbours are all units within `km` kilometres, with equal weights."""
    name = name or f"band-{km:g}"
    _check_positive(f"weights {name}", km=km)
    places = Coordinates(units, longitude, latitude)
    raw = _by_distance(places, lambda d: within_km(d, km).astype(np.float64))
    return connected(raw, units, islands, places, standardize, name)


def contiguity(
    units: tuple[str, ...],
    path: str | Path,
    *,
    unit: str,
    rule: Literal["queen", "rook"] = "queen",
    standardize: Standardize = "row",
    islands: Islands = "error",
    coordinates: Coordinates | None = None,
    name: str | None = None,
) -> Weights:
    """Neighbours share a corner (queen) or an edge (rook) on a map of polygons, whose column `unit` names the units.

    Borders touch up to rounding, and may overlap or have other vertices on either side, as in simplified maps; libpysal
    compares vertices, or leaves out polygons that overlap. Polygons of other units are left aside.
    """
    name = name or rule
    shapes = _polygons(Path(path), unit, units)
    west, south, east, north = shapes.total_bounds
    near = TOUCHING * max(east - west, north - south)
    first, second = shapes.sindex.query(shapes, predicate="dwithin", distance=near)
    first, second = first[first != second], second[first != second]
    if rule == "rook":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # geopandas' remarks on lengths in degrees
            borders, reached = shapes.boundary.iloc[first], shapes.buffer(near).iloc[second]
            edge = borders.intersection(reached, align=False).length.to_numpy() > CORNER * near
        first, second = first[edge], second[edge]
    raw = sp.csr_array((np.ones(len(first)), (first, second)), shape=(len(units), len(units)))
    return connected(raw.maximum(raw.T), units, islands, coordinates, standardize, name)


def touching_cells(
    units: tuple[str, ...],
    longitude: Floats,
    latitude: Floats,
    *,
    rule: Literal["queen", "rook"] = "queen",
    standardize: Standardize = "row",
    name: str | None = None,
) -> Weights:
    """Neighbours are units whose Voronoi cells touch within the rectangle around all units.

    Cells are those of a plane in which a degree of longitude has the length it has at the mean latitude.
    """
    from libpysal.graph import Graph

    name = name or rule
    Coordinates(units, longitude, latitude).check_apart(f"weights {name}")
    points = np.column_stack([longitude * np.cos(np.radians(latitude.mean())), latitude])
    if np.linalg.matrix_rank(points - points.mean(axis=0), tol=1e-9) < 2:
        raise bad("the units lie on one line, or are too few", where=f"weights {name}",
                  allowed="units of which regions can be drawn", remedy='use kind = "knn"')  # fmt: skip
    graph = Graph.build_triangulation(points, method="voronoi", clip="bounding_box", rook=rule == "rook")
    return Weights.of(units, sp.csr_array(graph.sparse), standardize, name)


def economic(
    units: tuple[str, ...], level: Floats, *, standardize: Standardize = "row", name: str | None = None
) -> Weights:
    """w_ij = 1/|l_i - l_j| for a variable's unit means l, (N,); raises BadInput for two units at the same level."""
    name = name or "economic"
    return Weights.of(units, _inverse_gaps(units, level, f"weights {name}"), standardize, name)


def nested(
    units: tuple[str, ...],
    longitude: Floats,
    latitude: Floats,
    level: Floats,
    *,
    standardize: Standardize = "row",
    name: str | None = None,
) -> Weights:
    """Economic-geographic weights, w_ij = 1/(d_ij |l_i - l_j|) with d in km and unit means l, (N,)."""
    name = name or "nested"
    places = Coordinates(units, longitude, latitude)
    places.check_apart(f"weights {name}")
    raw = _by_distance(places, lambda d: 1.0 / d).toarray() * _inverse_gaps(units, level, f"weights {name}")
    return Weights.of(units, raw, standardize, name)


def connected(
    raw: sp.csr_array,
    units: tuple[str, ...],
    islands: Islands,
    coordinates: Coordinates | None,
    standardize: Standardize,
    name: str,
    strength: Strength | None = None,
    distances: sp.csr_array | None = None,
) -> Weights:
    """Weights from raw ones, (N, N), in which every unit without neighbours gets its nearest under islands = "nearest".

    The link goes from the island to its nearest unit only, with weight 1 or `strength` of the distance, and the weights
    remember it as `attached`. distances: (N, N), 0 where unknown; None = those between the coordinates, in km. Raises
    BadInput for islands under islands = "error", and for those of which no distance is known.
    """
    raw = sp.csr_array(raw, copy=True)
    raw.eliminate_zeros()
    alone = np.flatnonzero(np.diff(raw.indptr) == 0)
    if islands == "error" or not alone.size:
        return Weights.of(units, raw, standardize, name)
    if distances is not None:
        apart, allowed, remedy = distances.toarray(), "its distance to another unit in the file", "add it"
        apart[apart == 0.0] = np.inf
    else:
        apart, allowed, remedy = np.full(raw.shape, np.inf), "coordinates", "name the panel's longitude and latitude"
        if coordinates is not None:
            apart = coordinates.distances() + np.diag(np.full(len(units), np.inf))
    if (lost := alone[np.isinf(apart[alone].min(axis=1))]).size:
        raise bad(f"units without neighbours: {listed((units[i] for i in lost), 12)}", where=f"weights {name}",
                  allowed=f'{allowed}, to find the nearest unit (islands = "nearest")',
                  remedy=f"{remedy}, or drop those units")  # fmt: skip
    near = apart[alone].argmin(axis=1)
    links = np.ones(alone.size) if strength is None else strength(apart[alone, near])
    whole = raw + sp.csr_array((links, (alone, near)), shape=raw.shape)
    attached = tuple((units[i], units[j]) for i, j in zip(alone, near, strict=True))
    return replace(Weights.of(units, whole, standardize, name), attached=attached)


def _by_distance(places: Coordinates, kernel: Strength) -> sp.csr_array:
    """A kernel of all great-circle distances without the diagonal, (N, N).

    By hand, because libpysal's bands are planar and its kernels lose pairs at distance zero.
    """
    apart = ~np.eye(len(places.units), dtype=bool)
    raw = np.zeros(apart.shape)
    raw[apart] = kernel(places.distances()[apart])
    return sp.csr_array(raw)


def _inverse_gaps(units: tuple[str, ...], level: Floats, where: str) -> Floats:
    unknown = np.flatnonzero(~np.isfinite(level))
    if unknown.size:
        raise bad(f"the variable's mean is missing for {listed(units[i] for i in unknown)}", where=where,
                  allowed="a finite mean for every unit", remedy="choose a variable without such gaps")  # fmt: skip
    gaps = np.abs(level[:, None] - level)
    gaps[gaps <= ROUNDED * np.maximum(np.abs(level)[:, None], np.abs(level))] = 0.0  # 1 over rounding would be a weight
    np.fill_diagonal(gaps, np.inf)
    _check_gaps(units, gaps, where, "have the same level", "choose a variable that differs between all units")
    return np.asarray(1.0 / gaps)


def _check_gaps(units: tuple[str, ...], gaps: Floats, where: str, what: str, remedy: str) -> None:
    """Raise BadInput for pairs of units at distance zero."""
    pairs = np.argwhere(np.triu(gaps == 0.0))
    if pairs.size:
        named = listed((f"{units[i]} and {units[j]}" for i, j in pairs), 3)
        raise bad(f"{named} {what}", where=where, allowed="units at different places", remedy=remedy)


def _check_positive(where: str, **settings: float) -> None:
    for name, value in settings.items():
        if not value > 0:
            raise bad(f"{name} = {value}", where=where, allowed="a number above 0", remedy="correct it")


def _polygons(path: Path, unit: str, units: tuple[str, ...]) -> Any:
    """The units' polygons in the order of the units, a GeoSeries with index 0 to N - 1."""
    import geopandas

    from sim.panel_files import unit_labels

    check_file(path, MAPS)
    try:
        table = geopandas.read_parquet(path) if path.suffix.lower() == ".parquet" else geopandas.read_file(path)
    except (*UNREADABLE, RuntimeError) as error:
        raise bad(f"cannot be read as a map ({str(error).splitlines()[0]})", where=path.name,
                  allowed="polygons in " + ", ".join(MAPS), remedy="save it again")  from error  # fmt: skip
    columns = [str(name) for name in table.columns if name != "geometry"]
    if unit not in columns:
        raise bad(f"there is no column {unit!r}", where=path.name, allowed=one_of(columns, unit),
                  remedy=closest(unit, columns))  # fmt: skip
    labels = unit_labels(table[unit])
    position = {label: i for i, label in enumerate(labels)}
    where = f"{path.name}, column {unit!r}"
    absent = [label for label in units if label not in position]
    if absent:
        raise bad(f"{amount(len(absent), "unit")} not on the map: {listed(absent)}", where=where,
                  allowed=f"the panel's units; the map has {listed(labels, 3)}",
                  remedy="name the column with the panel's unit names")  # fmt: skip
    twice = [label for label in units if int((labels == label).sum()) > 1]
    if twice:
        raise bad(f"units are on the map more than once: {listed(twice)}", where=where, allowed="one polygon per unit",
                  remedy="dissolve the map by unit")  # fmt: skip
    shapes = table.geometry.iloc[[position[label] for label in units]].reset_index(drop=True)
    flat = [
        label for label, kind in zip(units, shapes.geom_type, strict=True) if kind not in ("Polygon", "MultiPolygon")
    ]
    if flat:
        raise bad(f"units are not polygons: {listed(flat)}", where=where, allowed="polygons",
                  remedy='use another map, or kind = "knn"')  # fmt: skip
    return shapes
