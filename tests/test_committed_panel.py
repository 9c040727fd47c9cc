"""The committed panel is what its program writes, small, and as rich as `estimate` can use."""

from __future__ import annotations

from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest
from scripts import module_of

from sim.panel_files import read_frame

FILES = ("cities.csv", "cities_with_gaps.csv", "cities_w.csv", "cities_map.geojson")
LAST_DIGIT = 1.01e-4  # of four decimals: other processors may round the last one otherwise


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four files, written anew."""
    folder = tmp_path_factory.mktemp("written")
    module_of(made_cities.DATA / "make_cities.py").main(folder)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_the_program_writes_the_committed_files(written: Path, name: str) -> None:
    if name.endswith(".geojson"):
        assert (written / name).read_text(encoding="utf-8") == (made_cities.DATA / name).read_text(encoding="utf-8")
        return
    again, kept = pd.read_csv(written / name), pd.read_csv(made_cities.DATA / name)
    pd.testing.assert_frame_equal(again, kept, rtol=0, atol=LAST_DIGIT)


def test_it_is_small() -> None:
    assert sum((made_cities.DATA / name).stat().st_size for name in FILES) < 100_000


def test_adoption_is_staggered_with_controls_in_every_region() -> None:
    table = read_frame(made_cities.DATA / "cities.csv")
    first = table.groupby("city")["first_year"].first()
    assert first.value_counts().to_dict() == {0: 21, 2012: 6, 2014: 5, 2016: 4}
    expected = (table["first_year"] > 0) & (table["year"] >= table["first_year"])
    np.testing.assert_array_equal(table["d"], expected)
    by_region = table.groupby("region")["first_year"].agg(["min", "max"])
    assert (by_region["min"] == 0).all()
    assert (by_region["max"] > 0).all()
    assert table.groupby("region")["is_capital"].max().eq(1).all()


def test_the_outcome_is_correlated_in_space() -> None:
    w, panel = made_cities.neighbours(), made_cities.panel()
    y = panel.variables["y"][0] - panel.variables["y"][0].mean(axis=1, keepdims=True)
    moran = (y * w.lag(y)).sum(axis=1) / np.square(y).sum(axis=1)
    assert moran.min() > 0
    assert moran.mean() > 0.15  # of single years; -1/35 is expected without correlation
