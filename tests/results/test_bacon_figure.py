"""The Goodman-Bacon picture as a document: well-formed, deterministic, everything in it that it must show."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from estimators.staggered.bacon import KINDS, decompose
from references.small_panels import names
from results.report.bacon_figure import COLOURS, LEFT, RIGHT, WORDS, bacon_figure
from sim import BadInput, Panel, Roles

SVG = "{http://www.w3.org/2000/svg}"


def panel(replications: int = 1) -> Panel:
    first = np.repeat([0, 2, 4, 5, 7], [2, 3, 4, 2, 5])
    did = (np.arange(7)[:, None] >= first).astype(float)[None]
    y = np.random.default_rng(3).standard_normal((replications, 7, len(first))) + did
    return Panel(names(len(first)), tuple(range(2010, 2017)), {"y": y, "did": did}, Roles("y", "did"))


def test_every_comparison_is_a_point_with_its_numbers() -> None:
    found = decompose(panel())
    figure = bacon_figure(found, "y")
    root = ET.fromstring(figure.svg)
    said = [item.text or "" for shape in ("circle", "path") for mark in root.iter(f"{SVG}{shape}") for item in mark]
    points = [text for text in said if "weight" in text]
    assert len(points) == len(found.comparisons)
    assert len(said) == len(points) + len(KINDS)
    one = found.comparisons[0]
    assert any(text.startswith(f"{one.treated}") and f"weight {one.weight:.4f}" in text for text in points)
    assert {mark.get("fill") for mark in root.iter(f"{SVG}path")} == {COLOURS[kind] for kind in KINDS[1:]}


def test_it_is_one_svg_element_with_title_and_description() -> None:
    figure = bacon_figure(decompose(panel()), "y")
    root = ET.fromstring(figure.svg)
    assert (root.tag, root.get("role")) == (f"{SVG}svg", "img")
    labels = {item.get("id"): item.text for item in root if item.tag in {f"{SVG}title", f"{SVG}desc"}}
    assert set((root.get("aria-labelledby") or "").split()) == set(labels)
    assert labels["goodman-bacon-t"] == figure.title
    assert labels["goodman-bacon-d"] == figure.caption
    assert "<style" not in figure.svg  # it may stand inside another document


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert bacon_figure(decompose(panel()), "y").svg == bacon_figure(decompose(panel()), "y").svg


def test_points_stand_at_their_weights_within_the_frame() -> None:
    found = decompose(panel())
    root = ET.fromstring(bacon_figure(found, "y").svg)
    circles = [mark for mark in root.iter(f"{SVG}circle") if mark[0].text and "weight" in mark[0].text]
    own = sorted((c.weight for c in found.comparisons if c.kind == KINDS[0]), reverse=True)
    across = np.array([float(mark.get("cx", "nan")) for mark in circles])
    share = np.sqrt(np.array(own) / (1.06 * found.weights.max()))
    np.testing.assert_allclose((across - LEFT) / (RIGHT - LEFT), share, atol=2e-4)


def test_caption_and_legend_say_shares_and_means() -> None:
    found = decompose(panel())
    figure = bacon_figure(found, "a<b & c")
    texts = ["".join(item.itertext()) for item in ET.fromstring(figure.svg).iter(f"{SVG}text")]
    for kind in KINDS:
        assert f"{WORDS[kind]} ({found.share(kind):.1%})" in texts
        assert f"{WORDS[kind]}: weight {found.share(kind):.1%}" in figure.caption
    assert any("a<b & c" in text for text in texts)
    assert any(text.startswith("two-way coefficient") for text in texts)


def test_several_outcomes_are_bad_input() -> None:
    with pytest.raises(BadInput, match="2 outcomes"):
        bacon_figure(decompose(panel(2)), "y")
