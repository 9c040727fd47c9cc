"""The placebo figure: what it holds, its density, and placebos that have none."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from results.report.placebo_figure import PlaceboPlot, placebo_figure


def plot(count: int = 500, estimate: float = 3.0) -> PlaceboPlot:
    rng = np.random.default_rng(3)
    return PlaceboPlot("did", "space", "did", estimate, rng.standard_normal(count), rng.random(count), 0.002)


def test_the_figure_holds_density_points_and_the_estimate() -> None:
    svg = placebo_figure(plot())
    root = ElementTree.fromstring(svg)
    kinds = [item.get("class") for item in root.iter()]
    assert kinds.count("p") == 501  # one in the legend
    assert kinds.count("real") == 2
    assert "permutation p = 0.0020" in svg
    assert placebo_figure(plot()) == svg


def test_what_is_no_test_has_a_share_and_no_p() -> None:
    svg = placebo_figure(dataclasses.replace(plot(), share=0.25))
    assert "share of placebos as large = 0.2500" in svg
    assert "the share of placebos as large is 0.25." in svg
    assert "permutation" not in svg


def test_the_density_integrates_to_one() -> None:
    svg = placebo_figure(plot(2000, 8.0))
    area = re.search(r'class="curve" d="M([^"]+)"', svg)
    assert area is not None
    points = np.array([[float(value) for value in pair.split()] for pair in area[1].split("L")])
    ends = re.findall(r'class="soft middle" x="([\d.]+)" y="368.0">([^<]+)<', svg)
    places, values = (
        np.array([float(v.replace("\N{MINUS SIGN}", "-")) for v in column]) for column in zip(*ends, strict=True)
    )
    per_pixel = float(np.polyfit(places, values, 1)[0])
    tick_y, tick = re.findall(r'class="soft end" x="56.0" y="([\d.]+)">([\d.]+)<', svg)[-1]
    per_height = float(tick) / (352 - (float(tick_y) - 4))
    density = (352 - points[:, 1]) * per_height
    assert np.trapezoid(density, points[:, 0] * per_pixel) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("values", [np.empty(0), np.array([1.0]), np.full(50, 2.0)])
def test_degenerate_placebos_have_a_figure(values: np.ndarray) -> None:
    one = dataclasses.replace(plot(), placebos=values, pvalues=np.full(len(values), np.nan))
    figure = placebo_figure(one)
    assert ElementTree.fromstring(figure).tag.endswith("svg")
    assert "nan" not in figure.lower()
    assert "inf" not in figure.lower().replace("information", "")


def test_many_points_are_thinned() -> None:
    assert placebo_figure(plot(20_000)).count('class="p"') <= 1501
