"""A panel of six cities and specs for it, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from experiments.panel_spec.sections import Spec
from experiments.panel_spec.spec import read_spec

PANEL = '[panel]\nunit = "city"\nperiod = "year"\noutcome = "y"\n'
W = 'longitude = "lon"\nlatitude = "lat"\n[[weights]]\n'


def frame() -> pd.DataFrame:
    """Six cities on the equator, four years; two are treated, from 2007 and 2008 on."""
    start = {"城1": 2007, "城2": 2008}
    rows = [(f"城{i}", year) for i in range(6) for year in range(2005, 2009)]
    table = pd.DataFrame(rows, columns=["city", "year"])
    draws = np.random.default_rng(1).normal(size=(24, 3))
    table["y"], table["x"], table["gdp"] = draws[:, 0], draws[:, 1], np.exp(draws[:, 2])
    table["eip"] = [int(year >= start.get(city, 9999)) for city, year in rows]
    table["eip_year"] = [start.get(city) for city, _ in rows]
    table["second"] = [int(city == "城4" and year >= 2006) for city, year in rows]
    table["lon"] = [float(city[1]) for city, _ in rows]
    table["lat"] = 0.0
    table["region"] = ["east" if city < "城3" else "west" for city, _ in rows]
    table["is_capital"] = [int(city == "城0") for city, _ in rows]
    return table


def spec_of(folder: Path, text: str) -> Spec:
    (folder / "spec.toml").write_text(text, encoding="utf-8")
    return read_spec(folder / "spec.toml")


def panel_file(folder: Path, table: pd.DataFrame | None = None) -> Path:
    (frame() if table is None else table).to_csv(folder / "panel.csv", index=False)
    return folder / "panel.csv"
