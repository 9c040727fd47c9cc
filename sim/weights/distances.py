"""Distances on the globe."""

from __future__ import annotations

import numpy as np

from sim.arrays import Flags, Floats

EARTH_RADIUS_KM = 6371.0088  # mean radius, IUGG
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
