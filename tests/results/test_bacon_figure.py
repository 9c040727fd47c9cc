"""The Goodman-Bacon picture as a document: well-formed, deterministic, everything in it that it must show."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from svg_text import SVG, places, said, texts

from estimators.staggered.bacon import KINDS, decompose
from references.small_panels import names
from results.plots.bacon_plot import BOX, COLOURS, SIZE, WORDS, bacon_figure
from sim import BadInput, Panel, Roles


def panel(replications: int = 1) -> Panel:
    first = np.repeat([0, 2, 4, 5, 7], [2, 3, 4, 2, 5])
    did = (np.arange(7)[:, None] >= first).astype(float)[None]
    y = np.random.default_rng(3).standard_normal((replications, 7, len(first))) + did
    return Panel(names(len(first)), tuple(range(2010, 2017)), {"y": y, "did": did}, Roles("y", "did"))


def test_every_comparison_is_a_marker_with_its_numbers() -> None:
    found = decompose(panel())
    svg = bacon_figure(found, "y").svg
    points = said(svg)
    assert len(points) == len(found.comparisons)
    one = found.comparisons[0]
    assert points["comparison-0"].startswith(f"{one.treated}")
    assert points["comparison-0"].endswith(f"weight {one.weight:.4f}")
    for kind in KINDS:
        assert svg.count(COLOURS[kind]) >= sum(each.kind == kind for each in found.comparisons) > 0


def test_it_is_one_svg_element_with_title_and_description() -> None:
    figure = bacon_figure(decompose(panel()), "y")
    root = ET.fromstring(figure.svg)
    assert (root.tag, root.get("role")) == (f"{SVG}svg", "img")
    labels = {item.get("id"): item.text for item in root if item.tag in {f"{SVG}title", f"{SVG}desc"}}
    assert set((root.get("aria-labelledby") or "").split()) == set(labels)
    assert labels["goodman-bacon-t"] == figure.title
    assert labels["goodman-bacon-d"] == figure.caption
    assert figure.svg.startswith("<svg ")  # it may stand inside another document


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert bacon_figure(decompose(panel()), "y").svg == bacon_figure(decompose(panel()), "y").svg


def test_points_stand_at_their_weights_and_estimates() -> None:
    found = decompose(panel())
    svg = bacon_figure(found, "y").svg
    where = np.array([places(svg, f"comparison-{i}")[0] for i in range(len(found.comparisons))])
    share = np.sqrt(found.weights / (1.06 * found.weights.max()))
    np.testing.assert_allclose((where[:, 0] / SIZE[0] - BOX[0]) / BOX[2], share, atol=2e-4)
    slope, start = np.polyfit(found.estimates[0], where[:, 1], 1)
    assert slope < 0
    np.testing.assert_allclose(start + slope * found.estimates[0], where[:, 1], atol=1e-3)


def test_caption_and_legend_say_shares_and_means() -> None:
    found = decompose(panel())
    figure = bacon_figure(found, "a<b & c")
    shown = texts(figure.svg)
    for kind in KINDS:
        assert f"{WORDS[kind]} ({found.share(kind):.1%})" in shown
        assert f"{WORDS[kind]}: weight {found.share(kind):.1%}" in figure.caption
    assert any("a<b & c" in text for text in shown)
    assert any(text.startswith("two-way coefficient") for text in shown)


def test_several_outcomes_are_bad_input() -> None:
    with pytest.raises(BadInput, match="2 outcomes"):
        bacon_figure(decompose(panel(2)), "y")
