"""Figure 2 as a document: well-formed, the same bytes each time, readable without seeing it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from svg_text import SVG, texts

from results.plots.moran_map import COLOURS, MoranPlot, moran_figure


def plot() -> MoranPlot:
    """Sixteen cities on a grid, the first two significant, the third only before adjustment."""
    rng = np.random.default_rng(2)
    z = rng.standard_normal(16)
    lag = 0.5 * z + 0.5 * rng.standard_normal(16)
    z[:3], lag[:3] = (2.0, -2.0, 1.5), (1.8, -1.7, -1.0)
    return MoranPlot(
        units=tuple(f"城市{i}" for i in range(16)),
        outcome="icr",
        year=2023,
        weights="knn-6",
        row_stochastic=True,
        index=0.512,
        pvalue=0.0123,
        z=z,
        lag=lag,
        quadrant=np.where(z > 0, np.where(lag > 0, 1, 4), np.where(lag > 0, 2, 3)),
        pvalues=np.r_[0.001, 0.001, 0.03, np.full(13, 0.5)],
        adjusted=np.r_[0.008, 0.008, 0.16, np.full(13, 0.6)],
        draws=9999,
        places=np.column_stack([100 + np.arange(16) % 4, 30 + np.arange(16) // 4]).astype(float),
    )


def test_it_is_one_svg_element_with_title_and_description() -> None:
    figure = moran_figure(plot())
    root = ET.fromstring(figure.svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    labels = {item.get("id"): item.text for item in root if item.tag in {f"{SVG}title", f"{SVG}desc"}}
    assert set((root.get("aria-labelledby") or "").split()) == set(labels)
    assert labels["figure-2-t"] == figure.title
    description = labels["figure-2-d"] or ""
    assert description.startswith(figure.caption)
    assert "High-high: 城市0. Low-low: 城市1. High-low before adjustment: 城市2." in description


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert moran_figure(plot()).svg == moran_figure(plot()).svg
    assert "<metadata>" not in moran_figure(plot()).svg


def test_the_caption_says_what_is_what() -> None:
    caption = moran_figure(plot()).caption
    assert "Moran's I = 0.512 (p = .012, randomisation)" in caption
    assert "1 + 0 high-high, 1 + 0 low-low, 0 + 1 high-low, 0 + 0 low-high; 16 units in all" in caption
    assert "W knn-6, row-standardised" in caption


def test_text_is_text_and_names_are_written() -> None:
    found = texts(moran_figure(plot()).svg)
    assert {"城市0", "城市1", "城市2"} <= set(found)
    assert "icr 2023, standardised (z)" in found
    assert "High-high (1 + 0)" in found
    assert "Not significant (13)" in found


def test_every_cluster_has_its_colour() -> None:
    svg = moran_figure(plot()).svg
    assert all(colour in svg for colour in COLOURS.values())


def test_without_places_the_map_is_left_out() -> None:
    figure = moran_figure(replace(plot(), places=None))
    assert not any(text.startswith("(b)") for text in texts(figure.svg))
    assert figure.title == "Moran scatter plot of icr, 2023"


def test_other_weights_are_scaled_and_it_is_said() -> None:
    figure = moran_figure(replace(plot(), row_stochastic=False, pvalue=1e-9))
    assert "spatial lag times N/S0 (W knn-6)" in figure.caption
    assert "(p < .001" in figure.caption
    assert "N/S0 times the spatial lag of z (W knn-6)" in texts(figure.svg)


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_outlines_in_degrees_or_metres(shift: float) -> None:
    square = np.array([[0, 0], [0.9, 0], [0.9, 0.9], [0, 0.9], [0, 0]])
    outlines = tuple((square + np.array([i % 4 + shift, i // 4]),) for i in range(16))
    figure = moran_figure(replace(plot(), outlines=outlines, surroundings=((square + np.array([5 + shift, 0]),),)))
    assert any("on the map hatched" in text for text in texts(figure.svg))


def test_names_are_taken_as_they_are() -> None:
    units = ("<A & B>", "$a_1$ $", *plot().units[2:])
    found = texts(moran_figure(replace(plot(), units=units, outcome="a<b $x^$")).svg)
    assert {*units[:2], "a<b $x^$ 2023, standardised (z)"} <= set(found)
