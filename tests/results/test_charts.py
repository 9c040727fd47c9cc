"""Pictures: every drawn mark maps back to its value, alternatives say the values, the files of papers are whole."""

from __future__ import annotations

import io
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_records import Sample, made_up
from matplotlib.text import Text
from PIL import Image
from rich.cells import cell_len

from estimators.core.estimator import Status
from experiments.run.reporting import ReportOptions, pivots_of
from results.diagnosis.claims import Claim
from results.diagnosis.comparison import contrast
from results.diagnosis.diagnose import Diagnosis, diagnose
from results.plots import grid
from results.plots.chart import (
    LETTER,
    Axis,
    Chart,
    Facet,
    Point,
    Series,
    apart,
    axis_of,
    panel_svgs,
    percent,
    short_label,
    span,
    text_chart,
    ticks,
    width_of,
)
from results.plots.paper import RED
from results.plots.picture import figure_bytes, picture_of
from results.plots.replications import contrast_chart, replication_charts, sampled
from results.report.grids import lead_of
from results.report.html import every_cell
from results.tables.records import PICTURES

DRAWS = 120
EFFECTS, UNITS, KINDS = (0.0, 0.2, 0.5, 1.0), (50, 100, 200), ("plain", "odd")


@pytest.fixture(scope="module")
def records() -> Any:
    """Twelve cells of two estimators with two error types; some fits failed, with absurd numbers."""
    rng = np.random.default_rng(31)
    cells = []
    for effect in EFFECTS:
        for units in UNITS:
            for kind in KINDS:
                theta = np.full((DRAWS, 1), effect)
                noise = rng.standard_normal((DRAWS, 1)) * 3 / math.sqrt(units)
                se = np.abs(rng.normal(3 / math.sqrt(units), 0.05, (DRAWS, 2, 1)))
                status = np.where(np.arange(DRAWS) < 5, Status.SINGULAR, Status.OK)
                shift = 0.4 * (kind == "odd")
                a = Sample(theta, np.where(status[:, None] == Status.OK, theta + noise, 1e6), se, status=status)
                b = Sample(theta, theta + noise * 1.5 + shift, se * 0.6)
                parameters = {"effect.size": effect, "units": units, "kind": kind}
                cells.append((parameters, {"exact": a, "biased": b}))
    made = made_up(cells)
    for name, layout in list(made.layouts.items()):  # one estimand for both, so that they can be compared
        made.layouts[name] = type(layout)(layout.terms, layout.errors, (), {"t0": "beta(exact0)"}, ())
    return made


@pytest.fixture(scope="module")
def diagnosis(records: Any) -> Any:
    return diagnose(records)


def numbers_of(marks: list[tuple[float, str]]) -> tuple[float, float]:
    """Slope and origin of an axis from its marks (position, text); all marks must lie on one line."""
    values = []
    for position, text in marks:
        number = float(text.rstrip("%").replace("\N{MINUS SIGN}", "-"))
        values.append((position, number / 100 if text.endswith("%") else number))
    (first, low), (last, high) = values[0], values[-1]
    slope = (high - low) / (last - first)
    for position, number in values:
        assert abs(low + slope * (position - first) - number) < abs(slope) * 0.11 + 1e-9
    return slope, low - slope * first


def marks_of(svg: str) -> list[tuple[float, float]]:
    """Centres of all markers of an SVG, in order: circles by centre, the others by the middle of their outline."""
    found = []
    for node in ET.fromstring(svg).iter():
        css = node.attrib.get("class", "").split()
        if "mark" not in css:
            continue
        if node.tag.endswith("circle"):
            found.append((float(node.attrib["cx"]), float(node.attrib["cy"])))
            continue
        points = [tuple(map(float, pair.split())) for pair in node.attrib["d"].strip("MZ").split("L")]
        spread = {3: 1 / 3}.get(len(points), 0.0)
        xs, ys = zip(*points, strict=True)
        middle = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
        found.append(middle if not spread else (sum(xs) * spread, sum(ys) * spread))
    return found


def texts_of(svg: str, css: str) -> list[tuple[float, float, str]]:
    return [(float(node.attrib["x"]), float(node.attrib["y"]), node.text or "") for node in ET.fromstring(svg).iter()
            if node.attrib.get("class") == css]  # fmt: skip


def along(chart: Chart, svg: str) -> tuple[tuple[float, float], bool]:
    """The axis of values, read from the marks that are printed beside it, and whether it goes from left to right."""
    if chart.form == "dots":
        return numbers_of([(x, text) for x, _, text in texts_of(svg, "tick mid")]), True
    return numbers_of([(y - 4, text) for _, y, text in texts_of(svg, "tick end")]), False


@pytest.mark.parametrize("name", ["power", "size", "coverage", "bias", "rmse"])
def test_every_mark_maps_back_to_its_value(diagnosis: Any, name: str) -> None:
    chart = grid.measure_chart(diagnosis, grid.MEASURES[name])
    frame = diagnosis.frame[diagnosis.frame["sample"] == "own"]
    frame = frame[frame["measure"] == grid.MEASURES[name].column]
    known = frame["value"].dropna().to_numpy()
    seen = 0
    for panel, svg in zip(chart.panels, panel_svgs(chart), strict=True):
        (slope, origin), across = along(chart, str(svg))
        marks = marks_of(str(svg))
        assert len(marks) == len(panel.points)
        for (x, y), point in zip(marks, panel.points, strict=True):
            value = origin + slope * (x if across else y)
            assert abs(value - point.value) <= abs(slope) * (0.8 if across else 1.6), (name, point)
            assert np.isclose(known, point.value).any()
            seen += 1
    cells = len(EFFECTS) * len(UNITS) * len(KINDS)
    expected = {"size": 2 * 2 * cells // 4, "power": 4 * cells, "coverage": 4 * cells}.get(name, 2 * cells)
    assert seen == expected


def test_roles_of_dials(diagnosis: Any) -> None:
    power = grid.measure_chart(diagnosis, grid.MEASURES["power"])
    assert (power.form, power.places.label) == ("curves", "size of the effect")
    assert {series.label for series in power.panels[0].series} == {
        "exact, one", "exact, two", "biased, one", "biased, two"}  # fmt: skip
    assert power.panels[0].title == "units 50, kind plain"
    names = {text.get_text(): text.get_position()[1] for text in picture_of(power).axes[0].texts}
    for one in power.panels[0].series:  # names stand beside the ends of their lines, on an axis from 0 to 1
        assert names[one.label] == pytest.approx(one.points[-1].value, abs=0.25)
    against_units = grid.measure_chart(diagnosis, grid.MEASURES["coverage"], axis="units", error="one")
    assert against_units.places.label == "units"
    assert grid.fits_one_picture(against_units)
    assert grid.measure_chart(diagnosis, grid.MEASURES["size_adjusted_power"], term="nothing") is None


def test_power_without_a_path_from_size_leaves_null_cells_out() -> None:
    rng = np.random.default_rng(6)
    cells = [({"effect": effect}, {name: Sample(np.full((40, 1), effect), effect + rng.normal(size=(40, 1)),
                                                   np.ones((40, 1, 1))) for name in ("a", "b")})
             for effect in (0.0, 1.0)]  # fmt: skip
    found = diagnose(made_up(cells))
    chart = grid.measure_chart(found, grid.MEASURES["power"])
    assert (chart.form, [panel.title for panel in chart.panels]) == ("dots", [""])
    size = grid.measure_chart(found, grid.MEASURES["size"])
    assert len(size.panels) == 1
    theta = np.resize([[1.0], [-1.0]], (40, 1))  # 0 on average, and in no draw
    varied = diagnose(made_up([({}, {"a": Sample(theta, theta, np.ones((40, 1, 1)))})]))
    assert grid.measure_chart(varied, grid.MEASURES["size"]) is None


def test_nested_loops_show_every_cell_in_the_order_of_the_dials(diagnosis: Any) -> None:
    chart = grid.nested_chart(diagnosis, grid.MEASURES["bias"])
    cells = len(EFFECTS) * len(UNITS) * len(KINDS)
    assert [len(series.points) for series in chart.panels[0].series] == [cells, cells]
    assert [loop.name for loop in chart.loops] == ["size of the effect", "units", "kind"]
    for loop, levels in zip(chart.loops, (EFFECTS, UNITS, KINDS), strict=True):
        assert sorted(set(loop.levels)) == list(range(len(levels)))
    (svg,) = panel_svgs(chart)
    (slope, origin), _ = along(chart, str(svg))
    lines = [node.attrib["d"] for node in ET.fromstring(str(svg)).iter() if node.attrib.get("class") == "line"]
    for path, series in zip(lines, chart.panels[0].series, strict=True):
        heights = [float(text) for text in re.findall(r"(?:^M[-\d.]+ |V)([-\d.]+)", path)]
        values = [origin + slope * height for height in heights]
        assert np.allclose(values, [point.value for point in series.points], atol=abs(slope) * 0.11)
        ends = np.array([float(text) for text in re.findall(r"[MH]([-\d.]+)", path)])
        assert np.allclose(np.diff(ends), np.diff(ends).mean(), atol=0.11)  # cells are equally wide, the first too
    one = chart.panels[0].series[0]
    holed = replace(chart, panels=(Facet("", (replace(one, points=one.points[:3] + one.points[4:]),)),))
    assert re.findall(r'class="line" d="([^"]+)"', str(panel_svgs(holed)[0]))[0].count("M") == 2
    drawn = picture_of(holed).axes[0].lines[-1].get_xydata()
    assert [tuple(drawn[[0, -1], 0]), np.isnan(drawn[:, 0]).sum()] == [(-0.5, cells - 0.5), 1]
    over = drawn[np.isfinite(drawn[:, 0])].reshape(-1, 2)
    assert not ((over[:, 0] > 2.5) & (over[:, 0] < 3.5)).any()  # nothing over the cell that has none


def test_the_zip_orders_intervals_and_counts_those_that_miss(records: Any, diagnosis: Any) -> None:
    zipped, scatter = replication_charts(records, diagnosis)
    assert (zipped.form, scatter.form) == ("zip", "scatter")
    for panel, svg in zip(zipped.panels, panel_svgs(zipped), strict=True):
        z = [abs(point.value) / (point.high - point.low) for point in panel.points]
        assert z == sorted(z, reverse=True)
        missed = [point for point in panel.points if point.low > 0 or point.high < 0]
        assert [point for point in panel.points if point.clear] == missed
        assert panel.title.endswith(f": {100 * len(missed) / len(panel.points):.0f}% miss")
        assert max(abs(point.value) for point in panel.points) < 1e3  # no failed fit
        assert f"{len(panel.points)} replications, {len(missed)} marked" in str(svg)
    assert zipped.places.ticks == ((5.0, "95%"), (25.0, "75%"), (50.0, "50%"), (75.0, "25%"))
    for alpha, marks in ((0.1, ["90%", "75%", "50%", "25%"]), (0.3, ["70%", "50%", "25%"])):
        other = replication_charts(records, replace(diagnosis, alpha=alpha))[0]
        assert [text for _, text in other.places.ticks] == marks
        assert f"those above the {marks[0]} mark." in other.caption
    cell = next(k for k, one in enumerate(records.cells) if all(dial.names[dial.at[k]] in scatter.subject
                                                                 for dial in grid.dials(records.cells)))  # fmt: skip
    fits = records.draws[cell].estimates["biased"]
    assert {float(value) for value in fits.estimate[:, 0]} >= {point.at for point in scatter.panels[-1].points}
    few = sampled(records, 0, {(0, "exact", "t0", "one"): "x"}, 0.05, most=7)
    assert len(few[0].replication) == 7
    assert few[0].replication.min() >= 5  # the first five failed


def test_a_zip_on_paper_colours_what_misses_and_has_the_farthest_on_top(records: Any, diagnosis: Any) -> None:
    zipped, _ = replication_charts(records, diagnosis)
    drawn = picture_of(zipped).axes
    for axes, panel in zip(drawn, zipped.panels, strict=True):
        red = [line.get_xdata() for line in axes.lines if line.get_color() == RED]
        assert [tuple(ends) for ends in red] == [(point.low, point.high) for point in panel.points
                                                 if not point.low <= zipped.references[0][0] <= point.high]  # fmt: skip
        assert axes.get_ylim() == (zipped.places.high, zipped.places.low)


def test_panels_stand_row_by_row() -> None:
    chart = grid.measure_chart(diagnosed_grid(shape=("constant", "growing", "fading"), serial=("a", "b")),
                               grid.MEASURES["bias"])  # fmt: skip
    boxes = [axes.get_position() for axes in picture_of(chart).axes]
    assert sorted(boxes, key=lambda box: (-round(box.y0, 6), box.x0)) == boxes
    assert all(0 < box.x0 < box.x1 < 1 and 0 < box.y0 < box.y1 < 1 for box in boxes)


def test_replications_are_numbered_as_in_their_cell(records: Any) -> None:
    place = {(0, "exact", "t0", "one"): "x"}
    block = next(iter(records.blocks(0)))
    later = SimpleNamespace(layouts=records.layouts, worlds=records.worlds,
                            blocks=lambda cell: iter([replace(block, start=640)]))  # fmt: skip
    first, other = (sampled(one, 0, place, 0.05, most=7)[0].replication for one in (records, later))
    np.testing.assert_array_equal(other, first + 640)


def test_too_few_usable_fits_are_marked_nowhere() -> None:
    values = [grid.Value((0, "a", "t", ""), 1.0, 0.01, 0.98, 1.02, n, 1000, 1, False) for n in (3, 29, 30)]
    marked = [value.departs(grid.MEASURES["bias"], 0.05) for value in values]
    assert marked == [False, False, True]


def test_contrasts_are_those_of_the_diagnosis(records: Any, diagnosis: Any) -> None:
    chart = contrast_chart(records, diagnosis)
    for cell, panel in enumerate(chart.panels):
        frame = contrast(records, ("biased", "t0", "one"), ("exact", "t0", "one"), cell).set_index("measure")
        (point,) = panel.points
        assert (point.value, point.low, point.high) == tuple(frame.loc["bias_difference", ["value", "lower", "upper"]])
    twice = SimpleNamespace(layouts=records.layouts, worlds=records.worlds, cells=records.cells[:1],
                            blocks=lambda cell: iter([*records.blocks(cell)] * 2))  # fmt: skip
    first = contrast_chart(twice, diagnosis, most=DRAWS)
    assert "the first 115 of each cell" in first.caption  # of 120 in its first block five failed


def test_no_contrast_is_drawn_where_no_truth_is_known(records: Any, diagnosis: Any) -> None:
    """Nor are estimators without an estimand taken for ones of the same estimand."""
    without = {name: replace(layout, targets={}) for name, layout in zip("ab", records.layouts.values(), strict=True)}
    layouts = without | records.layouts
    more = SimpleNamespace(layouts=layouts, worlds=1, cells=records.cells[:1], blocks=records.blocks)
    shown = contrast_chart(more, replace(diagnosis, layouts=layouts))
    assert shown.title == "Difference from exact, paired"
    blind = [replace(block, truth={}) for block in records.blocks(0)]
    none = SimpleNamespace(layouts=records.layouts, worlds=1, cells=records.cells[:1], blocks=lambda _: iter(blind))
    assert contrast_chart(none, diagnosis) is None


@pytest.mark.parametrize("form", PICTURES)
def test_files_of_papers_are_the_same_bytes_and_hold_every_value(form: Any) -> None:
    found = diagnosed_grid(kind=("a", "b"), n=(1, 2))
    chart = grid.measure_chart(found, grid.MEASURES["coverage"], error="one")
    content = figure_bytes(chart, form)
    assert content == figure_bytes(chart, form)
    assert content.startswith({"svg": b"<svg", "pdf": b"%PDF", "png": b"\x89PNG"}[form])
    if form == "svg":
        text = content.decode()
        labels = [panel.title for panel in chart.panels] + [series.label for series in chart.panels[0].series]
        assert [label for label in (chart.values.label, *labels) if label not in text] == []


def test_ticks_are_round_numbers_within() -> None:
    """Labels stand apart, dials in order."""
    assert ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(-0.0016, 0.0011) == [-0.001, 0.0, 0.001] or len(ticks(-0.0016, 0.0011)) >= 3
    assert all(0.88 <= tick <= 1.0 for tick in ticks(0.88, 1.0))
    assert [ticks(size * -1e-13, size * 1e-13) for size in (1.0, 1e26)] == [
        [size * at for at in (-1e-13, -5e-14, 0.0, 5e-14, 1e-13)] for size in (1.0, 1e26)]  # fmt: skip
    for low, high in ((1e4, 1e4 + 1.0), (99.9, 100.1), (-1e15 - 9, -1e15), (1e-13, 2e-13)):
        marks = axis_of("x", low, high).ticks
        assert [float(text.replace("\N{MINUS SIGN}", "-")) for _, text in marks] == [at for at, _ in marks]
    assert span([1.0, 1.0 + 1e-15]) == pytest.approx((0.95, 1.05))  # of one value but for its last digits
    assert percent(0.05) == "5%"
    assert grid.value_axis(grid.MEASURES["size"], [], alpha=0.2).high == pytest.approx(0.4)  # twice the level
    assert apart([10.0, 11.0, 50.0], 13.0, 0.0, 100.0) == [10.0, 23.0, 50.0]
    assert apart([95.0, 96.0, 97.0], 13.0, 0.0, 100.0) == [74.0, 87.0, 100.0]
    cells = [
        {"n": 1000, "kind": "b", "lags": [1, 2]},
        {"n": 1, "kind": "a", "lags": []},
        {"n": 2, "kind": "b", "lags": []},
    ]
    n, kind, lags = grid.dials(cells)
    assert (n.names, n.at, n.places) == (("1", "2", "1000"), (2, 0, 1), (0.0, 1.0, 2.0))
    assert (kind.names, kind.is_number, lags.names) == (("b", "a"), False, ("1 + 2", "none"))
    assert (grid.dials(cells, [1, 2])[0].places, Facet("", ()).points) == ((1.0, 2.0), [])


FEW_DRAWS = 60
LONG = ("callaway-santanna-not-yet", "two-way-difference")


def diagnosed_grid(**grid: tuple[object, ...]) -> Diagnosis:
    """Two estimators with long names, the first with a term `overall`, the second with `did`."""
    rng = np.random.default_rng(20260310)
    cells = []
    for values in product(*grid.values()):
        theta = np.full((FEW_DRAWS, 1), 0.5)
        samples = {name: Sample(theta, theta + rng.standard_normal((FEW_DRAWS, 1)), np.ones((FEW_DRAWS, 1, 1)))
                   for name in LONG}  # fmt: skip
        cells.append((dict(zip(grid, values, strict=True)), samples))
    made = made_up(cells)
    for name, term in zip(LONG, ("overall", "did"), strict=True):
        layout = made.layouts[name]
        made.layouts[name] = replace(layout, terms=(term,), targets={term: layout.targets["t0"]})
        for block in made.draws:
            block.estimates[name] = replace(block.estimates[name], terms=(term,))
    return diagnose(made)


@pytest.mark.parametrize(("terms", "wanted"), [
    (("did", "overall"), None), (("overall", "did", "rho"), None), (("did",), "did"), (("rho", "overall"), "overall"),
    ((), None),
])  # fmt: skip
def test_a_claim_about_every_first_term_is_shown_for_every_estimator(
    terms: tuple[str, ...], wanted: str | None
) -> None:
    diagnosis = replace(diagnosed_grid(kind=("a", "b")), claims=(Claim("bias", terms),))
    measure, term = lead_of(diagnosis)
    assert (measure.name, term) == ("bias", wanted)
    bias, coverage = pivots_of(diagnosis, ReportOptions(measures=("bias", "coverage")))
    shown = [{cell.value.place[2] for row in table.cells for cell in row if cell} for table in (bias, coverage)]
    assert shown == [{wanted} if wanted else {"did", "overall"}, {"did", "overall"}]
    chart = grid.measure_chart(diagnosis, measure, term=term)
    assert len(chart.panels[0].series) == (2 if wanted is None else 1)


def test_every_cell_is_one_picture_from_three_dials_on() -> None:
    many = diagnosed_grid(kind=("a", "b"), n=(1, 2, 3), shape=("flat", "steep"))
    (chart,) = every_cell(many, grid.MEASURES["bias"])
    assert (chart.form, len(chart.panels[0].series[0].points)) == ("nested", 12)
    assert every_cell(diagnosed_grid(kind=("a", "b"), n=(1, 2, 3)), grid.MEASURES["bias"]) == []


def test_dots_with_long_names_stand_within_the_width_of_a_page() -> None:
    shapes, serial = ("constant", "growing", "fading"), ("independent", "autocorrelated")
    chart = grid.measure_chart(diagnosed_grid(shape=shapes, serial=serial), grid.MEASURES["bias"])
    assert (chart.form, len(chart.panels)) == ("dots", 6)
    with Image.open(io.BytesIO(figure_bytes(chart, "png"))) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[1] == 2160
    assert (pixels < 128).any()
    assert (pixels[:, -20:] > 250).all()
    assert (pixels[:, :5] > 250).all()


def test_names_of_rows_in_wide_letters_have_room() -> None:
    """A Chinese letter is about as wide as two Latin ones."""

    def left(name: str) -> float:
        places = Axis("row", -0.5, 0.5, ((0.0, name),))
        chart = Chart("x", "dots", "x", places, Axis("y", 0.0, 1.0, ((0.0, "0"),)), (Facet("", ()),), (), "x")
        return next(x for x, _, text in texts_of(str(panel_svgs(chart)[0]), "name end") if text == name)

    assert left("控制变量、时间固定效应") == left("x" * 22)


def test_the_name_of_the_values_has_room_beside_long_names_and_a_nameless_axis_is_not_read_out() -> None:
    label = "share of tests that reject a true null"
    places = Axis("", -0.5, 0.5, ((0.0, "x" * 46),))
    chart = Chart("x", "dots", "x", places, Axis(label, 0.0, 1.0, ((0.0, "0"),)), (Facet("", ()),) * 3, (), "x")
    svg = str(panel_svgs(chart)[0])
    ((middle, _, _),) = [found for found in texts_of(svg, "axis mid") if found[2] == label]
    assert middle + 0.5 * LETTER * len(label) <= width_of(chart)
    assert f">{label}. Values: " in svg


@pytest.mark.parametrize("form", ["dots", "curves"])
def test_a_long_name_of_an_axis_stands_within_its_panel_and_is_read_out_whole(form: Any) -> None:
    label = f"bias minus the bias of {'estimator-' * 12}"
    chart = Chart("x", form, "x", Axis(label, -0.5, 1.5, ((0.0, "a"),)), Axis(label, 0.0, 1.0, ((0.0, "0"),)),
                  (Facet("", (Series("a", 0, (Point(0.0, 0.5, 0.4, 0.6, "0.5"),)),)),) * 3, (), "x")  # fmt: skip
    svg = str(panel_svgs(chart)[0])
    shown = [text for css in ("axis", "axis mid") for *_, text in texts_of(svg, css)]
    assert [text for text in shown if len(text) > width_of(chart) / 5.5 or "…" not in text] == []
    assert len(shown) == (1 if form == "dots" else 2)
    assert {x for x, *_ in texts_of(svg, "axis mid")} == {width_of(chart) / 2} or form == "curves"
    assert f">{label} by {label}. Values: " in svg


def test_a_line_is_parted_where_an_estimator_has_no_value() -> None:
    """On pages, in files and in terminals; nothing is read out of the gap."""
    theta, se, cells = np.zeros((64, 1)), np.ones((64, 1, 1)), []
    for effect in (0.0, 0.5, 1.0, 1.5):
        status = np.full(64, Status.SINGULAR if effect == 0.5 else Status.OK)
        estimate = theta + effect + np.random.default_rng(3).standard_normal((64, 1))
        samples = {name: Sample(theta + effect, estimate, se, status=own) for name, own in (("a", None), ("b", status))}
        cells.append(({"effect": effect}, samples))
    chart = grid.measure_chart(diagnose(made_up(cells)), grid.MEASURES["rmse"], term="t0")
    assert chart is not None
    svg = str(panel_svgs(chart)[0])
    assert [re.sub("[^ML]", "", line) for line in re.findall('class="line" d="([^"]*)"', svg)] == ["MLLL", "MML"]
    assert len(marks_of(svg)) == 7
    drawn = [line.get_ydata() for line in picture_of(chart).axes[0].lines if len(line.get_xdata()) == 4]  # type: ignore[arg-type]
    assert np.isnan(np.array(drawn, dtype=float)).tolist() == [[False] * 4, [False, True, False, False]]
    alone = replace(chart, panels=(Facet("", chart.panels[0].series[1:]),))
    known = tuple(point for point in alone.panels[0].points if math.isfinite(point.value))
    whole = replace(chart, panels=(Facet("", (replace(alone.panels[0].series[0], points=known),)),))
    dots = [sum(line.count(".") for line in text_chart(one, 80, plain=True)) for one in (alone, whole)]
    assert dots[0] < dots[1]
    assert (alone.alt, "effect 0.5" in alone.alt) == (whole.alt, False)


def lines_chart(form: Any, names: list[str]) -> Chart:
    """A line or a row a name, the later ones higher."""
    dots = form == "dots"
    series = [Series(name, k, tuple(Point(float(k if dots else at), k, k - 1, k, f"{k}")
                                    for at in range(1 if dots else 3))) for k, name in enumerate(names)]  # fmt: skip
    marks = tuple((float(k), name) for k, name in enumerate(names if dots else "abc"))
    return Chart("x", form, "题" * 30, Axis("x", -0.5, len(marks) - 0.5, marks), axis_of("y", -1.0, len(names)),
                 (Facet("题" * 99, tuple(series)),), (), "x")  # fmt: skip


@pytest.mark.parametrize("form", ["curves", "dots"])
@pytest.mark.parametrize("words", ["estimator-" * 6, "双" * 60])
def test_names_that_are_long_or_wide_stand_whole_in_the_width_and_differ(form: Any, words: str) -> None:
    chart = lines_chart(form, [f"{words}{k}" for k in range(14)])
    lines = text_chart(chart, 80)
    shown = [short_label(f"{words}{k}") for k in range(14)]
    assert [name for name in shown if "\n".join(lines).count(name) != 1] == []
    assert max(map(cell_len, lines)) <= 80
    (svg,) = panel_svgs(chart)
    assert [x for x, _ in marks_of(str(svg)) if not 0 < x < 520] == []
    picture = picture_of(chart)
    picture.draw_without_rendering()
    edges = [text.get_window_extent() for text in picture.findobj(Text) if text.get_text()]
    assert min(box.x0 for box in edges) > -4
    assert max(box.x1 for box in edges) < picture.bbox.x1
