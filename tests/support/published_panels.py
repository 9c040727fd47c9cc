"""Published panels that several files of tests hold their numbers to."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sim import Panel, Roles, Weights


def cigarette_panel(folder: Path) -> Panel:
    """Demand for cigarettes in 46 states with Elhorst's W, from a folder of data that is no part of the repository."""
    frame = pd.read_csv(folder / "cigarettes.csv")
    w = pd.read_csv(folder / "cigarettes_w46.csv", index_col=0)
    panel = Panel.from_frame(frame, unit="name", period="year", roles=Roles("logc", None, ("logp", "logy")))
    return panel.with_weights("w46", Weights.of(tuple(w.columns), w.to_numpy(float)).reordered(panel.units))


def grunfeld() -> Panel:
    """Ten firms, 1935-1954 (Grunfeld 1958; Kleiber and Zeileis 2010 on its versions)."""
    data = pytest.importorskip("statsmodels.datasets").grunfeld.load_pandas().data
    data = data[data["firm"] != "American Steel"]
    return Panel.from_frame(data, unit="firm", period="year", roles=Roles("invest", None, ("value", "capital")))


def california_packs(folder: Path) -> Panel:
    """Cigarette packs a head in 39 states, California treated from 1989 on."""
    table = pd.read_csv(folder / "california_prop99.csv", sep=";")
    wide = {name: table.pivot(index="Year", columns="State", values=column).to_numpy(float)[None]
            for name, column in (("y", "PacksPerCapita"), ("did", "treated"))}  # fmt: skip
    years = tuple(sorted(table["Year"].unique().tolist()))
    return Panel(tuple(sorted(table["State"].unique())), years, wide, Roles("y", "did", ()))
