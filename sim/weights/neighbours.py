"""Weights from coordinates, maps and economic distance: who is whose neighbour, and how strongly.

Distances are great-circle distances in km. An economic distance is the gap between two units' levels of a variable:
economic weights are w_ij = 1/|l_i - l_j|, nested ones 1/(d_ij |l_i - l_j|). Files of weights: `weights_files`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from sim.arrays import Floats
from sim.errors import bad, closest, listed
from sim.panel.files import UNREADABLE, check_file
from sim.weights import Standardize, Weights
from sim.weights.distances import among_nearest, great_circle_km, within_km

Islands = Literal["error", "nearest"]
Strength = Callable[[Floats], Floats]
MAPS = (".geojson", ".json", ".shp", ".gpkg", ".zip", ".fgb", ".parquet")


@dataclass(frozen=True, eq=False, slots=True)
class Coordinates:
    """Where units are: longitude and latitude in degrees, (N,); raises BadInput for what cannot be on a globe."""

    units: tuple[str, ...]
    longitude: Floats
    latitude: Floats

    def __post_init__(self) -> None:
        for name, values, limit in (("longitude", self.longitude, 180), ("latitude", self.latitude, 90)):
            wrong = np.flatnonzero(~(np.abs(values) < limit))
            if wrong.size:
                named = listed((f"{self.units[i]} {values[i]:g}" for i in wrong), 3)
                raise bad(f"{name} of {wrong.size} units is not on the globe: {named}",
                          where="coordinates", allowed=f"degrees between -{limit} and {limit}",
                          remedy="give degrees; check that longitude and latitude are neither exchanged nor "
                                 "projected")  # fmt: skip

    def distances(self) -> Floats:
        """Great-circle km between all pairs, (N, N)."""
        return great_circle_km(self.longitude, self.latitude)

    def check_apart(self, where: str) -> None:
        """Raise BadInput for units at the same place."""
        distance = self.distances() + np.diag(np.full(len(self.units), np.inf))
        _check_gaps(self.units, distance, where, "are at the same place", "correct the coordinates")

    def nearest(self, i: int) -> int:
        """The unit nearest to unit i."""
        distance = self.distances()[i]
        distance[i] = np.inf
        return int(distance.argmin())


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

    Shared borders must have the same vertices on both sides. Polygons of other units are left aside.
    """
    from libpysal.graph import Graph

    name = name or rule
    shapes = _polygons(Path(path), unit, units)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # geopandas' remarks on invalid rings; what comes of them is checked below
        graph = Graph.build_contiguity(shapes, rook=rule == "rook")
    return connected(sp.csr_array(graph.sparse), units, islands, coordinates, standardize, name)


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
) -> Weights:
    """Weights from raw ones, (N, N), in which every unit without neighbours gets its nearest under islands = "nearest".

    The link goes from the island to its nearest unit only, with weight 1 or `strength` of the distance in km, and the
    weights remember it as `attached`. Raises BadInput for islands under islands = "error" and without coordinates.
    """
    raw = sp.csr_array(raw, copy=True)
    raw.eliminate_zeros()
    alone = np.flatnonzero(np.diff(raw.indptr) == 0)
    if islands == "error" or not alone.size:
        return Weights.of(units, raw, standardize, name)
    if coordinates is None:
        raise bad(f"units without neighbours: {listed((units[i] for i in alone), 12)}", where=f"weights {name}",
                  allowed='coordinates, to find the nearest unit (islands = "nearest")',
                  remedy="name the panel's longitude and latitude columns, or drop those units")  # fmt: skip
    near = np.array([coordinates.nearest(int(i)) for i in alone])
    km = coordinates.distances()[alone, near]
    links = np.ones(alone.size) if strength is None else strength(km)
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
    gaps = np.abs(level[:, None] - level) + np.diag(np.full(len(units), np.inf))
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

    from sim.panel.long_table import unit_labels

    check_file(path, MAPS)
    try:
        table = geopandas.read_parquet(path) if path.suffix.lower() == ".parquet" else geopandas.read_file(path)
    except (*UNREADABLE, RuntimeError) as error:
        raise bad(f"cannot be read as a map ({str(error).splitlines()[0]})", where=path.name,
                  allowed="polygons in " + ", ".join(MAPS), remedy="save it again")  from error  # fmt: skip
    columns = [str(name) for name in table.columns if name != "geometry"]
    if unit not in columns:
        raise bad(f"there is no column {unit!r}", where=path.name, allowed=listed(columns, 12),
                  remedy=closest(unit, columns))  # fmt: skip
    labels = unit_labels(table[unit])
    position = {label: i for i, label in enumerate(labels)}
    where = f"{path.name}, column {unit!r}"
    absent = [label for label in units if label not in position]
    if absent:
        raise bad(f"{len(absent)} units are not on the map: {listed(absent)}", where=where,
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
