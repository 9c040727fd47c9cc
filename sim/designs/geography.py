"""The 285 Chinese cities of the embedded geography, and their nearest neighbours.

`cities.csv` holds facts: name, adcode, province, region, whether a capital of a province, longitude and latitude
(degrees), taken from the administrative codes of the `cpca` package (MIT licence). They are the municipalities and the
cities at prefecture level without those raised to that level or abolished too late for a series from 2006 (Sansha,
Danzhou, Shigatse, Qamdo, Nyingchi, Shannan, Bijie, Tongren, Haidong, Turpan, Hami; Laiwu).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.weights import Weights
from sim.weights.neighbours import knn


@dataclass(frozen=True, slots=True, eq=False)
class Cities:
    """Attributes of the cities, each (N,)."""

    names: tuple[str, ...]
    adcode: NDArray[np.int64]
    province: NDArray[np.str_]
    region: NDArray[np.str_]
    capital: NDArray[np.bool_]
    longitude: NDArray[np.float64]
    latitude: NDArray[np.float64]


@cache
def cities() -> Cities:
    """The embedded table of cities, in the order of their codes."""
    with resources.files("sim.designs").joinpath("cities.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file)
    return Cities(
        names=tuple(table["city"]),
        adcode=table["adcode"].to_numpy(np.int64),
        province=table["province"].to_numpy(np.str_),
        region=table["region"].to_numpy(np.str_),
        capital=table["capital"].to_numpy(bool),
        longitude=table["longitude"].to_numpy(np.float64),
        latitude=table["latitude"].to_numpy(np.float64),
    )


@cache
def city_weights(k: int = 6) -> Weights:
    """Row-standardised weights of each city's k nearest cities, by great-circle distance."""
    table = cities()
    return knn(table.names, table.longitude, table.latitude, k=k)
