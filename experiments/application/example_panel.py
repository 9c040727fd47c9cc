"""A synthetic example panel as a researcher's table, with the spec that goes with it."""

from __future__ import annotations

import tomllib
from functools import cache

import numpy as np
import pandas as pd

from experiments.application.spec.spec import RealPanel, real_panel_of, spec_of
from sim.errors import bad
from sim.presets import Paper
from sim.streams import Streams

SEED = 20060101
DIGITS = 6
COLUMNS = {"icr": "icr", "did": "eip", "inv": "inv", "road": "road", "book": "book", "tech": "tech", "gpat": "gpat"}

EXAMPLE_SPEC = """\
# The example panel: 285 Chinese cities, 2006-2023. The geography is real, every other number is synthetic, drawn from
# the design "paper" with the published effect (0.0128 in the city, 0.0124 x its neighbours) and rho = 0.1492.

[panel]
unit = "city"
period = "year"
outcome = "icr"                            # industrial-chain resilience, 0 to 1
treatment = "eip"                          # 1 from the year of a city's first eco-industrial park on
controls = ["inv", "road", "book", "tech"]
mediators = ["gpat"]                       # log of 1 + green patents
capital = "is_capital"
groups = ["region"]
cluster = "city"
longitude = "lon"
latitude = "lat"
synthetic = true                           # every table says so

[[weights]]                                # the six nearest cities
kind = "knn"
k = 6
"""


@cache
def example_panel(cities: int = 57) -> RealPanel:
    """Some of the example panel's 285 cities, spread over the country, as a panel that all commands take.

    >>> import panelproof as pp
    >>> pp.example_panel().panel.nobs
    1026
    """
    frame = example_frame()
    names = frame["city"].unique()
    if not 20 <= cities <= names.size:
        raise bad(f"cities = {cities}", where="example_panel", allowed=f"a whole number from 20 to {names.size}",
                  remedy="leave it out for 57")  # fmt: skip
    kept = names[np.arange(cities) * names.size // cities]
    return real_panel_of(frame[frame["city"].isin(kept)].reset_index(drop=True), spec_of(tomllib.loads(EXAMPLE_SPEC)))


def example_frame(seed: int = SEED) -> pd.DataFrame:
    """One draw of the `paper` design with its spillover, a row a city and year (285 x 18), sorted by city and year."""
    panel = Paper(spillover="paper").draw(Streams(seed)).panel
    cities, years = len(panel.units), len(panel.periods)
    table = {"city": np.repeat(np.array(panel.units, dtype=object), years), "year": np.tile(panel.periods, cities)}
    for name, column in COLUMNS.items():
        table[column] = panel.variables[name][0].T.ravel().round(DIGITS)
    table["eip"] = table["eip"].astype(np.int64)
    for name, column in {"region": "region", "capital": "is_capital", "longitude": "lon", "latitude": "lat"}.items():
        table[column] = np.repeat(panel.attributes[name], years)
    table["is_capital"] = table["is_capital"].astype(np.int64)
    return pd.DataFrame(table)
