"""The committed panel of made-up cities (tests/data, written by its make_cities.py) and specs to estimate it with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.panel_spec.spec import RealPanel, read_real_panel, read_spec
from sim import Panel, Roles, Weights

DATA = Path(__file__).resolve().parents[1] / "data"
CONTROLS = ("road", "book")
UNITS, PERIODS = 36, 9


def spec(treatment: str, controls: Sequence[str] = ("x",), more: str = "") -> str:
    """A spec of y on a treatment and controls, cities in years; more: further keys of [panel], and tables."""
    names = ", ".join(f'"{name}"' for name in controls)
    panel = 'unit = "city"\nperiod = "year"\noutcome = "y"'
    return f'\n[panel]\n{panel}\ntreatment = "{treatment}"\ncontrols = [{names}]\n{more}'


PANEL = spec("d", CONTROLS)
PLACES = 'longitude = "lon"\nlatitude = "lat"\n'

WHOLE = f"""{PANEL}
mediators = ["patents", "jobs"]
other_policy = "pilot"
capital = "is_capital"
groups = ["region"]
synthetic = true
{PLACES}
[transform]
ln_gdp = {{ log = "gdp" }}

[inference]
errors = ["driscoll-kraay", "conley:300", "cluster:province", "cluster:province+period"]
draws = 99
seed = 3

[robustness]
region_by_period = "province"
unit_trends = true
lag = 1
winsorize = [0.05, 0.95]
windows = [[2011, 2018]]
exclude = {{ region = ["west"] }}
policies = ["pilot", "data"]
outcomes = ["second"]
staggered = true
honest = true

[robustness.psm]
methods = ["nearest", "kernel"]
covariates = ["road", "ln_gdp"]

[[weights]]
kind = "knn"
k = 4
"""


def frame() -> pd.DataFrame:
    """36 cities, 2010-2018, complete: a staggered policy `d` (first_year), `y` with spatial lags, all columns."""
    return pd.read_csv(DATA / "cities.csv")


def frame_with_gaps() -> pd.DataFrame:
    """Some columns of the same cities, 18 rows left out and 9 cells empty."""
    return pd.read_csv(DATA / "cities_with_gaps.csv")


def neighbours() -> Weights:
    """W of the square file, row-standardised: the neighbours on the grid."""
    table = pd.read_csv(DATA / "cities_w.csv", index_col=0)
    return Weights.of(tuple(table.columns), table.to_numpy(np.float64), name="grid")


def nearest(k: int, table: pd.DataFrame | None = None) -> Weights:
    """W of the k nearest cities (of a table) by great-circle distance, row-standardised, by loops of numpy's own."""
    places = (frame() if table is None else table).drop_duplicates("city")
    lon, lat = (np.radians(places[name].to_numpy()) for name in ("lon", "lat"))
    raw = np.zeros((len(places), len(places)))
    for i in range(len(places)):
        cosine = np.sin(lat[i]) * np.sin(lat) + np.cos(lat[i]) * np.cos(lat) * np.cos(lon - lon[i])
        cosine[i] = -1.0
        raw[i, np.argsort(cosine)[-k:]] = 1.0
    return Weights.of(tuple(places["city"]), raw, name=f"knn-{k}")


def edges() -> pd.DataFrame:
    """The same links as a list: focal, neighbor, weight."""
    table = pd.read_csv(DATA / "cities_w.csv", index_col=0).rename_axis("focal").reset_index()
    long = table.melt("focal", var_name="neighbor", value_name="weight")
    return long[long["weight"] > 0]


def panel(outcome: str = "y", controls: tuple[str, ...] = CONTROLS) -> Panel:
    """The complete panel with weights `grid`; the treatment is the variable `d`."""
    roles = Roles(outcome, "d", controls)
    return Panel.from_frame(frame(), unit="city", period="year", roles=roles).with_weights("grid", neighbours())


def real_panel(folder: Path, spec: str, table: pd.DataFrame | None = None) -> RealPanel:
    """The panel (or another table) as a file in a folder, read as a spec says; w.csv holds the list of links."""
    (frame() if table is None else table).to_csv(folder / "panel.csv", index=False)
    edges().to_csv(folder / "w.csv", index=False)
    (folder / "spec.toml").write_text(spec, encoding="utf-8")
    return read_real_panel(folder / "panel.csv", read_spec(folder / "spec.toml"))
