"""Distances on the globe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
MARGIN = 1e-9  # relative; two distances that differ by less are equal: degrees carry some 1e-9 of a kilometre


def great_circle_km(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Great-circle distances in km between all pairs of points in degrees, (N, N), by the haversine formula."""
    lon, lat = np.radians(longitude), np.radians(latitude)
    half_lat = np.sin((lat[:, None] - lat) / 2) ** 2
    half_lon = np.sin((lon[:, None] - lon) / 2) ** 2
    haversine = half_lat + np.cos(lat)[:, None] * np.cos(lat) * half_lon
    distance: NDArray[np.float64] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(haversine, 0.0, 1.0)))
    return distance


def within_km(distance: NDArray[np.float64], km: float) -> NDArray[np.bool_]:
    """Which distances in km are at most `km`, equal ones included however they are rounded; of distance's shape."""
    near: NDArray[np.bool_] = distance <= km * (1 + MARGIN)
    return near
