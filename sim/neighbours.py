"""Weights from coordinates by libpysal: nearest neighbours, inverse distance, distance band."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sim.errors import bad
from sim.weights import Standardize, Weights

Floats = NDArray[np.float64]


def knn(
    units: tuple[str, ...],
    longitude: Floats,
    latitude: Floats,
    *,
    k: int = 6,
    standardize: Standardize = "row",
) -> Weights:
    """The k nearest units by great-circle distance (degrees in); raises BadInput unless 1 <= k < N."""
    from libpysal.graph import Graph

    if not 1 <= k < len(units):
        raise bad(f"k = {k}", where="weights knn", allowed=f"1 to {len(units) - 1}", remedy="choose fewer neighbours")
    points = np.column_stack([longitude, latitude])
    graph = Graph.build_knn(_as_points(points), k=k, metric="haversine")
    return Weights.of(units, sp.csr_array(graph.sparse), standardize, f"knn-{k}")


def _as_points(points: Floats) -> object:
    import geopandas

    return geopandas.GeoSeries.from_xy(points[:, 0], points[:, 1], crs="EPSG:4326")
