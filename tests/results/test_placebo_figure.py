"""The placebo figure: what it holds, its density, and placebos that have none."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest
from svg_text import SVG, path, places, said, texts

from results.plots.placebo_plot import BOX, SIZE, PlaceboPlot, _spread, placebo_figure


def plot(count: int = 500, estimate: float = 3.0) -> PlaceboPlot:
    rng = np.random.default_rng(3)
    return PlaceboPlot("did", "space", "did", estimate, rng.standard_normal(count), rng.random(count), 0.002)


def test_the_figure_holds_density_points_and_the_estimate() -> None:
    svg = placebo_figure(plot())
    assert len(places(svg, "p-values")) == 500
    assert set(said(svg)) == {"density", "p-values", "real"}
    assert "real estimate 3, permutation p = 0.0020" in texts(svg)
    assert placebo_figure(plot()) == svg


def test_points_and_the_estimate_stand_on_one_scale() -> None:
    shown = plot()
    svg = placebo_figure(shown)
    where = places(svg, "p-values")
    slope, start = np.polyfit(shown.placebos, where[:, 0], 1)
    np.testing.assert_allclose(start + slope * shown.placebos, where[:, 0], atol=1e-3)
    np.testing.assert_allclose(path(svg, "real")[:, 0], start + slope * shown.estimate, atol=1e-3)
    box = SIZE[1] * np.array([1 - BOX[1] - BOX[3], 1 - BOX[1]])
    np.testing.assert_allclose(where[:, 1], box[1] - shown.pvalues * (box[1] - box[0]), atol=1e-3)


def test_what_is_no_test_has_a_share_and_no_p() -> None:
    svg = placebo_figure(dataclasses.replace(plot(), share=0.25))
    assert "share of placebos as large = 0.2500" in svg
    assert "the share of placebos as large is 0.25." in svg
    assert "permutation" not in svg


def test_the_density_integrates_to_one() -> None:
    shown = plot(2000, 8.0)
    svg = placebo_figure(shown)
    where = places(svg, "p-values")
    per_point = float(np.polyfit(where[:, 0], shown.placebos[_spread(2000)], 1)[0])
    foot, tick = ticks_of_density(svg)
    curve = path(svg, "density")
    density = (foot - curve[:, 1]) * tick
    assert np.trapezoid(density, curve[:, 0] * per_point) == pytest.approx(1.0, abs=0.01)


def ticks_of_density(svg: str) -> tuple[float, float]:
    """Where zero stands on the left scale, in points from above, and density a point."""
    groups = ElementTree.fromstring(svg).iter(f"{SVG}g")
    left = next(group for group in groups if group.get("id") == "placebo-matplotlib.axis_2")
    found = []
    for group in left.iter(f"{SVG}g"):
        if (group.get("id") or "").startswith("placebo-ytick"):
            (text,) = ("".join(item.itertext()) for item in group.iter(f"{SVG}text"))
            (use,) = group.iter(f"{SVG}use")
            found.append((float(text), float(use.get("y", "nan"))))
    slope, foot = np.polyfit([value for value, _ in found], [y for _, y in found], 1)
    return float(foot), float(-1 / slope)


@pytest.mark.parametrize("values", [np.empty(0), np.array([1.0]), np.full(50, 2.0)])
def test_degenerate_placebos_have_a_figure(values: np.ndarray) -> None:
    one = dataclasses.replace(plot(), placebos=values, pvalues=np.full(len(values), np.nan))
    figure = placebo_figure(one)
    assert ElementTree.fromstring(figure).tag.endswith("svg")
    assert "nan" not in figure.lower()
    assert "inf" not in figure.lower().replace("information", "")


def test_many_points_are_thinned() -> None:
    assert len(places(placebo_figure(plot(20_000)), "p-values")) == 1500
