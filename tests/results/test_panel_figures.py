"""Figures of real panels as documents: well-formed, the same bytes each time, every number where it belongs."""

from __future__ import annotations

import logging
import re
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text
from refusals import refuses
from scipy.stats import gaussian_kde
from svg_text import SVG, path, places, said, texts

import results.page
from estimators import DemeanedSyntheticControl, SyntheticControl, SyntheticDID, TwoWayDID
from estimators.staggered.bacon import decompose
from estimators.staggered.dummy_regression import EventStudy, SunAbraham
from estimators.staggered.imputation import Imputation
from estimators.synthetic.synthetic_did import SyntheticEstimator
from references.small_panels import names
from references.staggered_panels import staggered_panel
from results.plots import marginal_plot, moran_map, paper
from results.plots import synthetic_plot as synth
from results.plots.bacon_plot import BOX as BACON_BOX
from results.plots.bacon_plot import SIZE as BACON_SIZE
from results.plots.bacon_plot import bacon_figure
from results.plots.event_plot import EventPath, event_figure, event_path
from results.plots.marginal_plot import MarginalPlot, marginal_figure
from results.plots.moran_map import COLOURS, MoranPlot, moran_figure
from results.plots.picture import picture as whole_picture
from results.plots.placebo_plot import BOX, SIZE, PlaceboPlot, _density, placebo_figure
from results.plots.power_plot import FrontierPoint, frontier_svg, power_figure
from results.plots.specification_curve import curve_figure
from results.tables.records import Figure, Specification
from results.text import number
from sim import Panel, Roles


def staggered(replications: int = 1) -> Panel:
    first = np.repeat([0, 2, 4, 5, 7], [2, 3, 4, 2, 5])
    did = (np.arange(7)[:, None] >= first).astype(float)[None]
    y = np.random.default_rng(3).standard_normal((replications, 7, len(first))) + did
    return Panel(names(len(first)), tuple(range(2010, 2017)), {"y": y, "did": did}, Roles("y", "did"))


FIGURES: dict[str, Callable[[], str | Figure]] = {
    "goodman-bacon": lambda: bacon_figure(decompose(staggered()), "y"),
    "event-study": lambda: event_figure(event_paths(), "icr"),
    "figure-2": lambda: moran_figure(moran_plot()),
    "placebo": lambda: placebo_figure(placebo_plot()),
}


def test_whiskers_of_powers_are_95_percent_intervals() -> None:
    svg = power_figure([(1.0, 0.5, 0.1)], [(0.0, 0.0), (1.0, 1.0)], 1.0, 0.8, 0.8)
    whisker, whole = (np.ptp(path(svg, gid)[:, 1]) for gid in ("whisker-0", "fitted"))
    assert whisker / whole == pytest.approx(2 * 1.96 * 0.1, abs=1e-3)
    svg = power_figure([(1.0, 0.5, 0.1)], [(0.0, 0.0), (1.0, 1.0)], 1.0, 4.0, 0.8)  # extrapolated
    assert path(svg, "detectable")[0, 0] < 0.97 * 518.4


def test_a_frontier_goes_along_the_second_dial() -> None:
    points = [FrontierPoint(second, value, value - 0.1, value + 0.1) for second, value in ((0.8, 1.0), (0.2, 3.0))]
    alone = FrontierPoint(1.0, 0.6, 0.95, 1.05, along_second=True)
    svg = frontier_svg([*points, alone], "rho", "k", "it holds", begin=0.5, level=0.99)
    assert "bars are 99% intervals. rho 3 (2.9 to 3.1) at k 0.2; rho 1 (0.9 to 1.1) at k 0.8; " in svg
    assert "k 1 (0.95 to 1.05) at rho 0.6." in svg
    line = path(svg, "line")  # which ends where the first dial stands while the second is searched alone
    np.testing.assert_allclose(np.diff(line, axis=0) / (line[1] - line[0]), [[1, 1], [0.2 / 0.6, 0.2]], atol=1e-4)


def test_five_values_of_a_moderator_are_read_out() -> None:
    at = np.arange(9.0)
    svg = marginal_figure(MarginalPlot("m", "y", at, 2 * at, at, 3 * at, (1.0, 4.0, 7.0), "iid")).svg
    assert f"Effect {'; '.join(f'at {k}: {2 * k} [{k}, {3 * k}]' for k in (0, 2, 4, 6, 8))}.</desc>" in svg


def test_marks_of_a_scale_far_from_zero_differ() -> None:
    """Years, or incomes of some 10,000."""
    for low, step in ((2000.0, 20.0), (10_050.0, 140.0)):
        at, flat = np.linspace(low, low + step, 9), np.zeros(9)
        shown = texts(marginal_figure(MarginalPlot("x", "y", at, flat, flat - 1, flat + 1, (low,), "iid")).svg)
        marks = [float(text) for text in shown[: shown.index("x")]]
        assert [low <= mark <= low + step for mark in marks] == [True] * len(marks)
        np.testing.assert_allclose(np.diff(marks), marks[1] - marks[0], rtol=1e-9)


def test_arms_over_cut_offs_end_at_the_intervals() -> None:
    rows = np.array([[1.0, 0.5, 3.0], [2.0, 1.8, 2.5]])
    marginal_plot._paint_cutoffs(canvas := Canvas(), (100.0, 200.0), dict.fromkeys(marginal_plot.NAMES, rows))
    for axes in canvas.axes:
        np.testing.assert_allclose(np.array(axes.collections[0].get_segments())[:, :, 1], rows[:, 1:])  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_one_svg_element_with_a_title_and_a_description_and_the_same_bytes_each_time(name: str) -> None:
    figure = FIGURES[name]()
    svg = figure if isinstance(figure, str) else figure.svg
    assert svg.startswith("<svg ")  # it may stand inside another document
    labels = assert_sound(svg, name)
    assert set((ET.fromstring(svg).get("aria-labelledby") or "").split()) == set(labels)
    if not isinstance(figure, str):
        assert labels[f"{name}-t"] == figure.title
        assert labels[f"{name}-d"].startswith(figure.caption)
    assert "<metadata>" not in svg
    assert FIGURES[name]() == figure


def contrast(one: str, other: str) -> float:
    """Of two colours (WCAG 2.1, 1.4.3)."""
    light = []
    for letters in (text.lstrip("#") for text in (one, other)):
        whole = letters if len(letters) == 6 else "".join(2 * letter for letter in letters)
        parts = np.array([int(whole[k : k + 2], 16) for k in (0, 2, 4)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        light.append(0.05 + float(linear @ (0.2126, 0.7152, 0.0722)))
    return max(light) / min(light)


@pytest.mark.parametrize("name", [*FIGURES, "in a notebook"])
def test_every_word_of_a_figure_is_read_on_the_ground_that_it_brings(name: str) -> None:
    """On light and on dark pages alike."""
    figure = FIGURES[name]() if name in FIGURES else notebook("y")
    svg = figure.svg if isinstance(figure, Figure) else figure
    ground = re.search(r'id="[\w-]*patch_1">\s*<path [^>]*style="fill: (#\w+)', svg)
    words = set(re.findall(r"<text [^>]*fill: (#\w+)", svg))
    assert ground is not None
    assert words
    assert {word for word in words if contrast(word, ground[1]) < 4.5} == set()


def notebook(label: str) -> str:
    """The SVG that a notebook shows of a picture with such a title."""
    shown = whole_picture(
        "x", label, (120.0, 90.0), lambda canvas: {"": str(paper.frame(canvas, (0.2, 0.2, 0.7, 0.6)))}
    )
    return b64decode(shown._repr_html_().partition("base64,")[2].rstrip('">')).decode()


def test_every_word_of_a_page_is_read_on_light_on_dark_and_on_paper() -> None:
    css = Path(results.page.__file__).with_name("page.css").read_text(encoding="utf-8")
    light, dark, printed = (
        dict(re.findall(r"--(\w+): (#\w+)", part)) for part in re.findall(r":root {(.*?)}", css, re.S)
    )
    for colours in (light, light | dark, light | printed):
        pairs = product(("ink", "soft", "bad", "good", "k0"), ("page", "card"))
        assert [pair for pair in pairs if contrast(*(colours[key] for key in pair)) < 4.5] == []


@pytest.mark.parametrize(
    "name", ["Industrial chain resilience index (entropy)", "of a long name " * 20, "GDP\n(CNY)", "名" * 90]
)
def test_a_title_stands_in_one_line_within_its_figure(name: str) -> None:
    title = f"Two-by-two comparisons behind the two-way DID coefficient of {name}"
    with paper.house_style("x"):
        canvas = Canvas(figsize=(518.4 / paper.INCH, 4.0))
        paper.frame(canvas, (0.11, 0.14, 0.87, 0.76), title)
        canvas.draw_without_rendering()
        (shown,) = (text for text in canvas.findobj(Text) if "DID" in text.get_text() or "…" in text.get_text())
        assert shown.get_window_extent().x1 <= canvas.bbox.x1
    assert "\n" not in shown.get_text()
    assert shown.get_fontsize() >= 6.0


def test_words_beside_the_last_line_of_a_power_curve_stand_at_its_left() -> None:
    sides = dict.fromkeys(("the estimate", "power 80%"), "")
    svg = power_figure([(1.0, 0.5, 0.1)], [(0.0, 0.0), (1.0, 1.0)], 1.0, 4.0, 0.8)
    for style, words in re.findall(r'<text style="([^"]*)"[^>]*>([^<]*)</text>', svg):
        if words in sides:
            sides[words] = style
    assert ["anchor: end" in style for style in sides.values()] == [False, True]


def test_points_stand_at_their_weights_and_estimates() -> None:
    found = decompose(staggered())
    svg = bacon_figure(found, "y").svg
    where = np.array([places(svg, f"comparison-{i}")[0] for i in range(len(found.comparisons))])
    share = np.sqrt(found.weights / (1.06 * found.weights.max()))
    np.testing.assert_allclose((where[:, 0] / BACON_SIZE[0] - BACON_BOX[0]) / BACON_BOX[2], share, atol=2e-4)
    slope, start = np.polyfit(found.estimates[0], where[:, 1], 1)
    assert slope < 0
    np.testing.assert_allclose(start + slope * found.estimates[0], where[:, 1], atol=1e-3)
    drawn = found.weights[[int(i) for i in re.findall(r'id="goodman-bacon-comparison-(\d+)"', svg)]]
    assert drawn.tolist() == sorted(drawn, reverse=True)  # light ones are not hidden


def event_paths() -> list[EventPath]:
    panel = staggered_panel()
    return [event_path(model(panel), model.name) for model in (EventStudy(), Imputation(), SunAbraham())]


def test_paths_hold_the_fit() -> None:
    fit = EventStudy(errors=("cluster:unit", "cluster:province"))(staggered_panel())
    path = event_path(fit, "two-way")
    assert (path.events.tolist(), path.reference) == ([-5, -4, -3, -2, 0, 1, 2, 3, 4, 5], -1)
    low, high = path.ends(4, uniform=False)
    column = fit.terms.index("event(0)")
    assert (low + high) / 2 == pytest.approx(fit.estimate[0, column])
    assert (high - low) / 2 == pytest.approx(2.0639 * fit.se[0, 0, column], rel=1e-4)  # t of 25 - 1
    wide = path.ends(4, uniform=True)
    assert wide[1] - wide[0] == pytest.approx(2 * fit.statistics["uniform"][0] * fit.se[0, 0, column])
    other = event_path(fit, "two-way", error="cluster:province")
    assert np.isnan(other.uniform)
    narrow = event_path(fit, "two-way", level=0.9)
    assert np.isnan(narrow.uniform)
    assert narrow.critical[4] == pytest.approx(1.7109, rel=1e-4)  # t of 25 - 1
    assert event_path(Imputation()(staggered_panel()), "imputation").reference is None


def test_every_event_time_is_told_and_every_fit_named() -> None:
    figure = event_figure(event_paths(), "icr")
    assert figure.title == "Effect on icr by periods since adoption"
    described = ET.fromstring(figure.svg).findtext(f"{SVG}desc") or ""
    notes = said(figure.svg)
    for index, fit in enumerate(event_paths()):
        assert fit.name in described
        assert sum(text.startswith(f"{fit.name}, ") for text in notes.values()) == len(fit.known)
        assert f"fit-{index}-at-0" in notes
        assert any(text.startswith(fit.name) for text in texts(figure.svg))
    fit = event_paths()[0]
    estimate, se = fit.estimate.copy(), fit.se.copy()
    estimate[0] = se[0] = se[1] = np.nan  # missing ones are left out
    figure = event_figure([replace(fit, estimate=estimate, se=se, uniform=np.nan)], "a < b")
    assert len(said(figure.svg)) == len(fit.events) - 1
    assert "nan" not in figure.svg
    assert "uniform" not in figure.caption


def test_markers_stand_at_the_estimates_and_whiskers_end_at_the_intervals() -> None:
    fit = event_paths()[0]
    svg = event_figure([fit], "icr").svg
    where = np.array([places(svg, f"fit-0-at-{event}")[0] for event in fit.events])
    slope, start = np.polyfit(fit.estimate, where[:, 1], 1)
    assert slope < 0
    np.testing.assert_allclose(start + slope * fit.estimate, where[:, 1], atol=1e-3)
    steps = np.diff(where[:, 0]) / np.diff(fit.events)
    np.testing.assert_allclose(steps, steps[0], atol=1e-3)
    for place, event in enumerate(fit.events):
        for width, uniform in (("2.0", False), ("0.8", True)):
            ends = path(svg, f"fit-0-at-{event}-whisker-{width}")[:, 1]
            np.testing.assert_allclose(ends, start + slope * np.array(fit.ends(place, uniform=uniform)), atol=1e-3)


REFUSED: dict[str, Callable[[], object]] = {
    "2 outcomes": lambda: bacon_figure(decompose(staggered(2)), "y"),
    "2 fits": lambda: event_path(EventStudy()(staggered_panel(replications=2)), "event-study"),
    "no terms event": lambda: event_path(TwoWayDID()(staggered_panel()), "did"),
    "no error type 'hc1'": lambda: event_path(EventStudy()(staggered_panel()), "event-study", error="hc1"),
    "5 fits": lambda: event_figure([event_paths()[0]] * 5, "icr"),
    "no date of adoption": lambda: synth.paths_figure(replace(plot({20: 8}), paths=())),
    "no control unit": lambda: synth.weights_figure(synth.WeightsPlot({}, {}, "packs")),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_has_no_figure_is_bad_input(said: str) -> None:
    refuses(said, lambda: REFUSED[said]())


def moran_plot() -> MoranPlot:
    """Sixteen cities on a grid, the first two significant, the third only before adjustment."""
    rng = np.random.default_rng(2)
    z = rng.standard_normal(16)
    lag = 0.5 * z + 0.5 * rng.standard_normal(16)
    z[:3], lag[:3] = (2.0, -2.0, 1.5), (1.8, -1.7, -1.0)
    quadrant = np.where(z > 0, np.where(lag > 0, 1, 4), np.where(lag > 0, 2, 3))
    pvalues, adjusted = (np.r_[first, np.full(13, rest)] for first, rest in (((0.001, 0.001, 0.03), 0.5),
                                                                             ((0.008, 0.008, 0.16), 0.6)))  # fmt: skip
    places = np.column_stack([100 + np.arange(16) % 4, 30 + np.arange(16) // 4]).astype(float)
    return MoranPlot(units=tuple(f"城市{i}" for i in range(16)), outcome="icr", year=2023, weights="knn-6",
                     row_stochastic=True, index=0.512, pvalue=0.0123, z=z, lag=lag, quadrant=quadrant,
                     pvalues=pvalues, adjusted=adjusted, draws=9999, places=places)  # fmt: skip


def test_figure_2_names_its_units_and_says_what_is_what() -> None:
    figure = moran_figure(moran_plot())
    described = ET.fromstring(figure.svg).findtext(f"{SVG}desc") or ""
    assert "High-high: 城市0. Low-low: 城市1. High-low before adjustment: 城市2." in described
    for words in ("Moran's I = 0.512 (p = .012, randomisation)", "W knn-6, row-standardised",
                 "1 + 0 high-high, 1 + 0 low-low, 0 + 1 high-low, 0 + 0 low-high; 16 units in all"):  # fmt: skip
        assert words in figure.caption
    shown = {"城市0", "城市1", "城市2", "icr 2023, standardised (z)", "High-high (1 + 0)", "Not significant (13)"}
    assert shown <= set(texts(figure.svg))
    assert all(colour in figure.svg for colour in COLOURS.values())


def test_the_slope_of_the_line_is_i_and_a_degree_is_as_long_everywhere() -> None:
    moran_map._paint(canvas := Canvas(), plot := moran_plot())
    scatter, chart = canvas.axes
    np.testing.assert_allclose(np.polyfit(*scatter.lines[-1].get_data(), 1), [0.512, plot.lag.mean()])
    assert chart.get_aspect() == pytest.approx(1.17283, abs=1e-5)  # 1 / cos(31.5 degrees), the middle of the map


def test_labels_of_figure_2_are_those_of_significant_units_first_and_stand_beside_their_points() -> None:
    usual, far = moran_plot(), np.linspace(0.4, 2.0, 8)
    z, lag = np.r_[far, -far], np.r_[far[::-1] + far / 3, -far[::-1] - far / 3]
    adjusted, pvalues = np.full(16, 0.6), np.full(16, 0.5)
    adjusted[[0, 15]], pvalues[[0, 15]], pvalues[7] = 0.01, 0.001, 0.03  # 0 and 15 are clear, 7 weak
    plot = replace(usual, z=z, lag=lag, quadrant=np.repeat([1, 3], 8), adjusted=adjusted, pvalues=pvalues)
    assert np.argmax(np.abs(z * lag)[:8]) not in (0, 7)
    moran_map._paint(canvas := Canvas(figsize=(9, 5)), plot)
    labels = {text.get_text(): text for text in canvas.axes[0].texts if text.get_text() in plot.units}
    least = 8 + int(np.argmax(np.abs(z * lag)[8:15]))
    assert set(labels) == {plot.units[i] for i in (0, 7, 15, least)}
    for i in (0, 7, 15, least):
        text = labels[plot.units[i]]
        x, y = text.get_position()
        assert abs(y - lag[i]) < 0.2
        assert (x > z[i]) == (text.get_ha() == "left")
        assert abs(x - z[i]) < 0.2
    assert {labels[plot.units[i]].get_ha() for i in (7, 15)} == {"left", "right"}, "away from the edge"


def test_areas_of_the_map_are_filled_hatched_or_faint_and_points_have_their_degrees() -> None:
    usual, square = moran_plot(), np.array([[0, 0], [0.9, 0], [0.9, 0.9], [0, 0.9], [0, 0]])
    outlines = tuple((square + np.array([i % 4, i // 4]),) for i in range(16))
    moran_map._paint(canvas := Canvas(), replace(usual, outlines=outlines, surroundings=((square + 5,),)))
    around, *areas = canvas.axes[1].patches
    assert to_rgba(around.get_facecolor())[3] == 0
    for i, area in enumerate(areas):
        name = moran_map.QUADRANTS[int(usual.quadrant[i])]
        if i == 2:  # significant before adjustment alone
            assert (to_rgba(area.get_edgecolor()), area.get_hatch()) == (to_rgba(COLOURS[name]), "/" * 8)
            assert area.get_facecolor()[3] == 0
        else:
            fill = COLOURS[name] if i < 2 else moran_map.FAINT
            assert (area.get_facecolor(), area.get_hatch()) == (to_rgba(fill), None)
    corners = np.vstack([square + 5, *(ring for (ring,) in outlines)])
    room = 0.03 * np.ptp(corners, axis=0)
    ends = np.column_stack([corners.min(axis=0) - room, corners.max(axis=0) + room])
    np.testing.assert_allclose([canvas.axes[1].get_xlim(), canvas.axes[1].get_ylim()], ends)
    south_west = usual.places - np.array([101.5, 31.5])
    moran_map._paint(canvas := Canvas(), replace(usual, places=south_west))
    tick = {axis: getattr(canvas.axes[1], axis).get_major_formatter() for axis in ("xaxis", "yaxis")}
    assert [tick["xaxis"](degree, None) for degree in (-1.0, 0.0, 1.0)] == ["1°W", "0°E", "1°E"]
    assert [tick["yaxis"](degree, None) for degree in (-1.0, 0.0, 1.0)] == ["1°S", "0°N", "1°N"]


def test_moran_plots_without_places_of_other_weights_with_odd_names_and_outlines_in_degrees_or_metres() -> None:
    usual, square = moran_plot(), np.array([[0, 0], [0.9, 0], [0.9, 0.9], [0, 0.9], [0, 0]])
    figure = moran_figure(replace(usual, places=None))
    assert not any(text.startswith("(b)") for text in texts(figure.svg))
    assert figure.title == "Moran scatter plot of icr, 2023"
    figure = moran_figure(replace(usual, row_stochastic=False, pvalue=1e-9))
    assert "spatial lag times N/S0 (W knn-6)" in figure.caption
    assert "(p < .001" in figure.caption
    assert "N/S0 times the spatial lag of z (W knn-6)" in texts(figure.svg)
    units = ("<A & B>", "$a_1$ $", *usual.units[2:])
    found = texts(moran_figure(replace(usual, units=units, outcome="a<b $x^$")).svg)
    assert {*units[:2], "a<b $x^$ 2023, standardised (z)"} <= set(found), "names are taken as they are"
    for shift in (0.0, 1000.0):
        outlines = tuple((square + np.array([i % 4 + shift, i // 4]),) for i in range(16))
        around = ((square + np.array([5 + shift, 0]),),)
        figure = moran_figure(replace(usual, outlines=outlines, surroundings=around))
        assert any("on the map hatched" in text for text in texts(figure.svg)), shift


@pytest.mark.parametrize(("p", "said"), [(0.00004, "p < 0.001"), (0.0342, "p = 0.034"), (0.07, "p = 0.070")])
def test_small_p_values_of_pictures_are_never_zero(p: float, said: str) -> None:
    ways = [Specification("controls", f"way {number}", 0.1, "iid", p, 0.05, 0.15) for number in range(3)]
    curve = unescape(curve_figure(ways, 0.1, "y").svg)
    assert curve.count(f"0.1, {said} (iid)") == 3
    assert "stroke-width: 0.4" not in curve  # the edge of those that are not significant at 10%
    path = EventPath("fit", np.arange(-1, 1), np.ones(2), np.ones(2), np.ones(2), 2.0, p)
    events = unescape(event_figure([path], "y").svg)
    assert f"no effect before adoption: {said}" in events
    assert events.count("stroke-dasharray: 3.2,3.2") == 1  # the line before adoption


class Fonts:
    """The fonts that matplotlib knows, those of a list without Chinese ones; `added`: the files that it took in."""

    def __init__(self, *chinese: str) -> None:
        self.ttflist = [font for font in font_manager.fontManager.ttflist if font.name not in paper.CHINESE]
        self.chinese, self.added = chinese, []

    def addfont(self, path: str) -> None:
        self.added.append(path)
        if self.chinese:
            self.ttflist.append(replace(self.ttflist[0], fname=path, name=self.chinese[0]))


@pytest.fixture
def fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Fonts]]:
    """A list of fonts in the place of matplotlib's, beside one file that it lacks."""

    def install(*chinese: str) -> Fonts:
        known = Fonts(*chinese)
        monkeypatch.setattr(font_manager, "fontManager", known)
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda: ["new.ttf"])
        for once in (paper._found_fonts, paper._say_no_font):
            once.cache_clear()
        return known

    yield install
    for once in (paper._found_fonts, paper._say_no_font):
        once.cache_clear()


def picture(label: str) -> bytes:
    def paint(canvas: Any) -> dict[str, str]:
        paper.frame(canvas, (0.2, 0.2, 0.7, 0.6), label)
        return {}

    return paper.drawn("words", (120.0, 90.0), "", "", paint, "png")


def test_a_font_that_is_newer_than_the_list_of_fonts_is_found(fonts: Callable[..., Fonts]) -> None:
    known = fonts("SimHei")
    assert (paper.chinese_fonts(), paper.chinese_fonts(), known.added) == (["SimHei"], ["SimHei"], ["new.ttf"])


def test_chinese_letters_without_a_font_are_said_once(
    fonts: Callable[..., Fonts], caplog: pytest.LogCaptureFixture
) -> None:
    fonts()
    picture("Resilience")
    assert caplog.messages == []
    for _ in range(2):
        picture("产业链韧性")
    assert [message.partition(",")[0] for message in caplog.messages] == [
        "warning: no installed font has Chinese letters"]  # fmt: skip


def test_weights_that_a_chinese_font_lacks_are_not_said(caplog: pytest.LogCaptureFixture) -> None:
    said = logging.getLogger("matplotlib.font_manager").warning
    with paper.house_style("words"):
        said("findfont: Failed to find font weight %s for %s, now using %s.", "bold", "WenQuanYi Zen Hei", 500)
        said("findfont: Font family %s not found.", "Other")
    said("findfont: Failed to find font weight %s for %s, now using %s.", "bold", "WenQuanYi Zen Hei", 500)
    assert [message.startswith("findfont: Font family") for message in caplog.messages] == [True, False]


def placebo_plot(count: int = 500, estimate: float = 3.0) -> PlaceboPlot:
    rng = np.random.default_rng(3)
    return PlaceboPlot("did", "space", "did", estimate, rng.standard_normal(count), rng.random(count), 0.002)


def test_points_and_the_estimate_of_placebos_stand_on_one_scale() -> None:
    svg = placebo_figure(placebo_plot())
    assert (len(places(svg, "p-values")), set(said(svg))) == (500, {"density", "p-values", "real"})
    assert "real estimate 3, permutation p = 0.0020" in texts(svg)
    shown = placebo_plot()
    svg = placebo_figure(shown)
    where = places(svg, "p-values")
    slope, start = np.polyfit(shown.placebos, where[:, 0], 1)
    np.testing.assert_allclose(start + slope * shown.placebos, where[:, 0], atol=1e-3)
    np.testing.assert_allclose(path(svg, "real")[:, 0], start + slope * shown.estimate, atol=1e-3)
    box = SIZE[1] * np.array([1 - BOX[1] - BOX[3], 1 - BOX[1]])
    np.testing.assert_allclose(where[:, 1], box[1] - shown.pvalues * (box[1] - box[0]), atol=1e-3)


def test_placebos_that_are_no_test_have_a_share_and_no_p_and_many_are_thinned() -> None:
    svg = placebo_figure(replace(placebo_plot(), share=0.25))
    assert "share of placebos as large = 0.2500" in svg
    assert "the share of placebos as large is 0.25." in svg
    assert "permutation" not in svg
    many = placebo_figure(placebo_plot(20_000))
    assert len(places(many, "p-values")) == 1500
    assert "with the p values of 1,500 as points;" in many
    without = replace(placebo_plot(), pvalues=np.full(500, np.nan))
    for plot, told in ((placebo_plot(), " with the p value of each as a point; "), (without, "); the vertical line")):
        assert told in placebo_figure(plot)


def test_scales_of_degenerate_values_and_the_bandwidth_of_silverman() -> None:
    grid, density = _density(few := np.array([-1.0, -1.0, 1.0, 1.0]), -3.0, 3.0)
    np.testing.assert_allclose(density, gaussian_kde(few, 0.9 * 4**-0.2)(grid))
    values = np.append(np.random.default_rng(1).normal(size=500), 1e4)
    assert np.trapezoid(*_density(values, -4.0, 1.1e4)[::-1]) == pytest.approx(1.0, abs=0.1)  # with an outlier
    assert paper.span([2.0, np.nan], []) == pytest.approx((1.99, 2.01))


@pytest.mark.parametrize("values", [np.empty(0), np.array([1.0]), np.full(50, 2.0)])
def test_degenerate_placebos_have_a_figure(values: np.ndarray) -> None:
    one = replace(placebo_plot(), placebos=values, pvalues=np.full(len(values), np.nan))
    figure = placebo_figure(one)
    ET.fromstring(figure)
    assert "nan" not in figure.lower()
    assert "inf" not in figure.lower().replace("information", "")


PERIODS = tuple(range(1990, 2004))
ODD = "<b onload='x'>&\"y\""


def panel(dates: dict[int, int], *, units: int = 24, step: int = 1) -> Panel:
    """Random walks; `dates`: place of the first treated period by unit."""
    y = 50 + np.cumsum(np.random.default_rng(5).standard_normal((1, len(PERIODS), units)), axis=1)
    did = np.zeros_like(y)
    for unit, date in dates.items():
        did[0, date:, unit] = 1.0
    periods = tuple(1990 + step * k for k in range(len(PERIODS)))
    return Panel(names(units), periods, {"y": y, "did": did}, Roles("y", "did"))


def plot(
    dates: dict[int, int], estimator: SyntheticEstimator | None = None, outcome: str = "packs", step: int = 1
) -> synth.SyntheticPlot:
    data, own = panel(dates, step=step), estimator or SyntheticDID()
    return synth.SyntheticPlot(own.kind, own.paths(data), data.periods, outcome)


def assert_sound(svg: str, name: str) -> dict[str | None, str]:
    """One element with a title and a description, which are returned, and finite numbers alone."""
    root = ET.fromstring(svg)
    assert (root.tag, root.get("role")) == (f"{SVG}svg", "img")
    labels = {item.get("id"): item.text or "" for item in root if item.tag in {f"{SVG}title", f"{SVG}desc"}}
    assert set(labels) == {f"{name}-t", f"{name}-d"}
    assert not re.search(r"\b(nan|inf)\b", "".join(each.get("d", "") for each in root.iter(f"{SVG}path")), re.I)
    for use in root.iter(f"{SVG}use"):
        assert np.isfinite([float(use.get(side, "nan")) for side in "xy"]).all()
    return labels


@pytest.mark.parametrize("estimator", [SyntheticDID(), SyntheticControl(), DemeanedSyntheticControl()])
@pytest.mark.parametrize("dates", [{20: 8}, {20: 5, 21: 9, 22: 9}])
def test_lines_and_marks_stand_at_their_numbers(dates: dict[int, int], estimator: SyntheticEstimator) -> None:
    drawn = plot(dates, estimator)
    figure = synth.paths_figure(drawn)
    assert_sound(figure.svg, f"paths-{estimator.kind}")
    assert synth.paths_figure(plot(dates, estimator)) == figure
    assert len(drawn.paths) == len(set(dates.values()))
    for index, one in enumerate(drawn.paths):
        lines = {"observed": one.observed, "synthetic": one.synthetic}
        lines |= {"shifted": one.synthetic + one.shift} if drawn.weighted else {}
        corners = {name: path(figure.svg, f"{name}-{index}") for name in lines}
        slope, start = np.polyfit(one.observed, corners["observed"][:, 1], 1)
        assert slope < 0
        for name, values in lines.items():
            np.testing.assert_allclose(corners[name][:, 1], start + slope * values, atol=2e-3)
            np.testing.assert_allclose(np.diff(corners[name][:, 0]), np.diff(corners[name][:2, 0])[0], atol=2e-3)
        marks = np.array([places(figure.svg, f"synthetic-{index}-at-{at}")[0] for at in range(len(PERIODS))])
        np.testing.assert_allclose(marks, corners["synthetic"], atol=2e-3)
        before = PERIODS.index(one.adopted) - 1
        middle = corners["observed"][before : before + 2, 0].mean()
        np.testing.assert_allclose(path(figure.svg, f"adoption-{index}")[:, 0], middle, atol=2e-3)
    assert ("shifted-0" in figure.svg) == drawn.weighted == (estimator.kind != "synthetic-control")
    assert any(text.startswith("weights of periods") for text in texts(figure.svg)) == drawn.weighted


def test_bars_are_as_high_as_the_weights_of_the_periods() -> None:
    drawn = plot({20: 8})
    svg = synth.paths_figure(drawn).svg
    (one,) = drawn.paths
    known, heights = np.flatnonzero(one.periods > 0), []
    groups = {each.get("id") or "": each for each in ET.fromstring(svg).iter(f"{SVG}g")}
    for at in known:
        (group,) = (each for name, each in groups.items() if name.endswith(f"-weight-0-at-{at}"))
        bar = np.array(re.findall(r"-?[\d.]+", next(group.iter(f"{SVG}path")).get("d", "")), dtype=float).reshape(-1, 2)
        heights.append(np.ptp(bar[:, 1]))
        centre = path(svg, "observed-0")[at, 0]
        assert bar[:, 0].min() + bar[:, 0].max() == pytest.approx(2 * centre, abs=4e-3)
        assert said(svg)[f"weight-0-at-{at}"] == f"{PERIODS[at]}: weight {one.periods[at]:.3f}"
    np.testing.assert_allclose(np.array(heights) / max(heights), one.periods[known] / one.periods.max(), atol=2e-3)
    assert svg.count("-weight-0-at-") == len(known)
    assert f"{one.periods.max():.2f}" in texts(svg)


def test_paths_far_from_zero_have_marks_and_words_that_differ() -> None:
    drawn = plot({20: 8})
    (one,) = drawn.paths
    far = replace(one, observed=one.observed + 1e7, synthetic=one.synthetic + 1e7)
    svg = synth.paths_figure(replace(drawn, paths=(far,))).svg
    told = [float(said(svg)[f"observed-0-at-{at}"].partition(": ")[2]) for at in range(len(PERIODS))]
    np.testing.assert_allclose(told, far.observed, rtol=0.0, atol=0.02 * np.ptp(far.observed))
    marks = [text for text in texts(svg) if text.startswith("1") and len(text) > 4]
    assert len(marks) == len(set(marks)) > 3
    corners = path(svg, "observed-0")
    assert corners[0, 0] > 10 + 4.4 * max(map(len, marks))  # room for them at the left


def test_every_number_is_told() -> None:
    drawn = plot({20: 5, 21: 9, 22: 9})
    figure = synth.paths_figure(drawn)
    notes, described = said(figure.svg), ET.fromstring(figure.svg).findtext(f"{SVG}desc") or ""
    assert described.startswith(figure.caption)
    for index, one in enumerate(drawn.paths):
        for at, period in enumerate(PERIODS):
            assert notes[f"observed-{index}-at-{at}"] == f"{period}, observed: {number(float(one.observed[at]))}"
            assert notes[f"synthetic-{index}-at-{at}"] == f"{period}, synthetic: {number(float(one.synthetic[at]))}"
        assert f"Treated from {one.adopted}: effect {number(one.estimate)}, shift {number(one.shift)}" in described
        who = one.treated[0] if len(one.treated) == 1 else "2 units"
        assert f"{who} from {one.adopted}: effect {number(one.estimate)}" in texts(figure.svg)
    assert "of 3 treated units" in figure.caption
    assert "Bars: weights" not in synth.paths_figure(plot({20: 8}, SyntheticControl())).caption
    assert "less rain, soil;" in synth.paths_figure(replace(drawn, adjusted=("rain", "soil"))).caption
    assert synth.paths_picture(drawn).alt == drawn.alt, "pictures in Python have the same words"
    own = synth.WeightsPlot({"synthetic-did": {"a": 1.0}}, {"synthetic-did": 0.0}, "packs")
    assert synth.weights_picture(own).alt == own.alt
    assert 'alt="' in synth.weights_picture(own)._repr_html_()


def test_of_many_dates_those_with_the_most_cells_are_drawn_and_it_is_said() -> None:
    dates = {16: 3, 17: 4, 18: 5, 19: 6, 20: 7, 21: 8, 22: 12, 23: 12}
    drawn = plot(dates)
    assert len(drawn.paths) == 7
    assert [one.adopted for one in drawn.drawn] == [1993, 1994, 1995, 1996, 1997, 1998]  # 2002: 4 cells
    figure = synth.paths_figure(drawn)
    assert "6 of 7 dates of adoption are drawn" in figure.caption
    assert not any("from 2002" in text for text in texts(figure.svg))
    few = synth.paths_figure(plot({20: 5, 21: 9}))
    assert "dates of adoption are drawn" not in few.caption
    assert "observed" in texts(few.svg)  # and no mean: one unit a date


@pytest.mark.parametrize("level", [0.0, 1e7])
@pytest.mark.parametrize(("dates", "columns"), [({20: 8}, 1), ({20: 5, 21: 9}, 2), ({20: 5, 21: 7, 22: 9}, 2)])
def test_plots_of_dates_stand_side_by_side_each_with_its_words_in_its_own_place(
    dates: dict[int, int], columns: int, level: float
) -> None:
    drawn = plot(dates)
    paths = tuple(replace(one, observed=one.observed + level, synthetic=one.synthetic + level) for one in drawn.paths)
    drawn = replace(drawn, paths=paths)
    width, height = drawn.size
    with paper.house_style("paths"):
        synth._paint(canvas := Canvas(figsize=(width / 72, height / 72), dpi=72), drawn)
        charts = [axes for axes in canvas.axes if len(axes.lines) > 1]
        around = [axes.get_tightbbox() for axes in charts]
    assert len(charts) == len(dates)
    for index, (axes, words) in enumerate(zip(charts, around, strict=True)):
        row, column = divmod(index, columns)
        box = axes.get_window_extent()
        assert words is not None
        left, right = column * width / columns, (column + 1) * width / columns
        assert left - 0.5 <= words.x0 < box.x0 < box.x1 < right, "in its column, with the words of its axis"
        bottom = height - synth.TITLE - (row + 1) * drawn.block[1]
        assert bottom - 0.5 <= box.y0 < words.y1 <= bottom + drawn.block[1] + 0.5, "in its row"


def test_periods_that_are_apart_and_odd_names() -> None:
    figure = synth.paths_figure(plot({20: 8}, outcome=ODD, step=5))
    assert_sound(figure.svg, "paths-synthetic-did")
    assert ODD in figure.title
    assert "<b onload" not in figure.svg
    weights = {"synthetic-did": {ODD: 0.75, "u1": 0.0}, "synthetic-control": {ODD: 0.25, "u1": 0.5}}
    odd = synth.weights_figure(synth.WeightsPlot(weights, {"synthetic-did": 0.25, "synthetic-control": 0.25}, ODD))
    assert_sound(odd.svg, "synthetic-weights")
    assert "<b onload" not in odd.svg


def test_marks_stand_at_the_weights_and_zero_has_none() -> None:
    weights = {"synthetic-did": {"a": 0.4, "b": 0.3, "c": 0.1}, "synthetic-control": {"a": 0.0, "b": 0.9, "c": 0.05}}
    figure = synth.weights_figure(
        synth.WeightsPlot(weights, {"synthetic-did": 0.2, "synthetic-control": 0.05}, "packs")
    )
    notes = said(figure.svg)
    assert notes["unit-0-0"] == "a, Synthetic DID: 0.400"
    assert "unit-0-1" not in notes
    assert len(notes) == 5
    found = {gid: places(figure.svg, gid)[0] for gid in notes}
    values = np.array([list(own.values())[int(gid.split("-")[1])] for gid in found
                       for own in [list(weights.values())[int(gid.split("-")[2])]]])  # fmt: skip
    across = np.array([place[0] for place in found.values()])
    slope, start = np.polyfit(values, across, 1)
    assert slope > 0
    np.testing.assert_allclose(start + slope * values, across, atol=2e-3)
    assert found["unit-0-0"][1] < found["unit-1-0"][1] < found["unit-1-1"][1] < found["unit-2-0"][1]
    assert "Synthetic DID 0.200; Synthetic control 0.050" in figure.caption
    described = ET.fromstring(figure.svg).findtext(f"{SVG}desc") or ""
    assert "Synthetic control: b 0.900, c 0.050." in described
