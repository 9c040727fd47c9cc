"""A chart of a report as a figure of matplotlib: notebooks show it, `savefig` writes it, and papers take its files."""

from __future__ import annotations

import base64
import io
import math
from functools import partial
from html import escape
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from rich.cells import cell_len

from results.plots.chart import Axis, Chart, Facet, apart, short_label
from results.plots.paper import (
    FAINT,
    INCH,
    INK,
    LINES,
    MARKERS,
    RED,
    SOFT,
    Paint,
    check_letters,
    drawn,
    fitted,
    house_style,
)
from results.tables.records import Format
from results.text import in_columns

WIDE = 518.4  # points: the text width of a page
ROW, HEAD, FOOT = 11.0, 30.0, 34.0  # points of a row of dots, above a plot and below it
EDGE = 8.0  # points between the edge of a plot of dots and its labels
MOST = 50  # letters of a label that leave a plot its room
NARROW = 110.0  # points of a plot that has room for the words of its axis


class Picture(Canvas):
    """A figure with a name, which makes its ids, and a text alternative."""

    def __init__(self, name: str, alt: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.name, self.alt = name, alt

    def savefig(self, fname: Any, **settings: Any) -> None:
        """Write it to a file, whose ending says the format; settings: those of matplotlib."""
        with house_style(self.name):
            super().savefig(fname, **settings)
            if settings.get("format", str(fname).rpartition(".")[2]) != "svg":
                check_letters(self)

    def _repr_html_(self) -> str:
        """An image with a ground of its own, so that it is read on light and dark pages."""
        file = io.BytesIO()
        self.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        data = base64.b64encode(file.getvalue()).decode()
        return f'<img style="max-width:100%" alt="{escape(self.alt)}" src="data:image/svg+xml;base64,{data}">'


def figure_bytes(chart: Chart, form: Format) -> bytes:
    """The picture in one format, the same bytes for the same numbers."""
    size, paint = _size(chart), partial(_paint, chart=chart)
    return drawn(chart.key, size, chart.title, chart.alt, paint, form)


def picture_of(chart: Chart) -> Picture:
    """The picture as a figure of matplotlib, to show, to change and to save."""
    return picture(chart.key, chart.alt, _size(chart), partial(_paint, chart=chart))


def picture(name: str, alt: str, size: tuple[float, float], paint: Paint) -> Picture:
    """What `paint` draws, of a width and height in points, as a figure of matplotlib."""
    with house_style(name):
        made = Picture(name, alt, figsize=(size[0] / INCH, size[1] / INCH), facecolor="white")
        paint(made)
    return made


def _shape(chart: Chart) -> tuple[int, int]:
    """Rows and columns of small multiples; plots with long labels stand in fewer columns."""
    count = len(chart.panels)
    columns = {1: 1, 2: 2, 4: 2}.get(count, 3)
    columns = max(1, min(columns, int(WIDE / (sum(_margins(chart)) + NARROW))))
    return math.ceil(count / columns), columns


def _height(chart: Chart) -> float:
    """Height of a plot, in points."""
    if chart.form == "dots":
        return ROW * (chart.places.high - chart.places.low) + 6
    lines = max((len(panel.series) for panel in chart.panels), default=1)
    return max(200.0 if chart.form == "zip" else 130.0, 9.5 * lines)


def _size(chart: Chart) -> tuple[float, float]:
    rows, columns = _shape(chart)
    wide = WIDE if columns > 1 else 0.72 * WIDE
    return wide, 26 + rows * (HEAD + _height(chart) + FOOT + 22 * len(chart.loops))


def _paint(canvas: Canvas, chart: Chart) -> dict[str, str]:
    width, height = _size(chart)
    _, columns = _shape(chart)
    title = f"{chart.title} ({chart.subject})" if chart.subject else chart.title
    text, size = fitted(title, 9.5, 0.98 * width)
    canvas.text(0.01, 1 - 14 / height, text, fontsize=size, fontweight="bold", color=INK)
    left, right = _margins(chart)
    each, tall = width / columns, HEAD + _height(chart) + FOOT + 22 * len(chart.loops)
    for number, panel in enumerate(chart.panels):
        row, column = divmod(number, columns)
        top = height - 26 - row * tall - HEAD
        box = ((column * each + left) / width, (top - _height(chart)) / height,
               (each - left - right) / width, _height(chart) / height)  # fmt: skip
        axes = canvas.add_axes(box, facecolor="none")
        axes.spines[["top", "right"]].set_visible(False)
        # above a plot; above its labels too where these stand at its left, in lines that do not reach the next panel
        across = chart.form in {"dots", "zip"}
        start, above = (EDGE - left, 7.0) if across else (0.0, 15.0)
        room = each - 12 if across else each - left
        text = "\n".join(in_columns(panel.title, max(int(room / 4.6), 12), rest="", at_hyphens=True))
        axes.annotate(text, (0, 1), xycoords="axes fraction", xytext=(start, above), textcoords="offset points",
                      annotation_clip=False, color=INK, fontweight="bold", fontsize=7.5, linespacing=1.1)  # fmt: skip
        (_across if across else _upward)(axes, chart, panel)
    return {}


def _margins(chart: Chart) -> tuple[float, float]:
    """Room for labels at the left and the right of a plot, in points."""
    if chart.form in {"dots", "zip"}:
        return EDGE + 4.1 * max((cell_len(short_label(text, MOST)) for _, text in chart.places.ticks), default=0), 10.0
    lines = [short_label(series.label, MOST) for panel in chart.panels for series in panel.series]
    single = max((len(panel.series) for panel in chart.panels), default=0) < 2 or chart.form == "scatter"
    return 40.0, 12.0 if single else 16 + 4.1 * max(map(cell_len, lines))


def _marks(axis: Axis, set_ticks: Any, set_limits: Any, *, turned: bool = False) -> None:
    set_ticks([at for at, _ in axis.ticks], [short_label(text, MOST) for _, text in axis.ticks])
    set_limits(*((axis.high, axis.low) if turned else (axis.low, axis.high)))


def _upward(axes: Axes, chart: Chart, panel: Facet) -> None:
    """Values upward: curves, nested loops and scatters."""
    _marks(chart.places, axes.set_xticks, axes.set_xlim)
    _marks(chart.values, axes.set_yticks, axes.set_ylim)
    axes.text(0, 1 + 4 / _height(chart), chart.values.label, transform=axes.transAxes, color=SOFT, fontsize=7)
    axes.grid(axis="y", color=FAINT)
    for value, _ in chart.references:
        axes.axhline(value, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)

    for series in panel.series:
        colour, marker = LINES[series.kind % len(LINES)], MARKERS[series.kind % len(MARKERS)]
        at, values = [point.at for point in series.points], [point.value for point in series.points]
        if chart.form == "nested":
            gaps = [math.nan if k and at[k] - at[k - 1] > 1 else 0.0 for k in range(len(at))]  # cells without a value
            corners = [[place - 0.5 + gap, place - 0.5, place + 0.5] for place, gap in zip(at, gaps, strict=True)]
            axes.plot(np.ravel(corners), np.repeat(values, 3), color=colour, linewidth=1.2)
            continue
        if chart.form == "curves":
            axes.plot(at, values, color=colour, linewidth=1.3, zorder=2)
            for point in series.points:
                axes.plot([point.at] * 2, [point.low, point.high], color=colour, linewidth=1.0, alpha=0.75, zorder=2)
        for point in series.points:
            axes.plot([point.at], [point.value], marker=marker, markersize=3.8, markeredgewidth=0.9, color=colour,
                      markerfacecolor=colour if point.clear else "white", linestyle="", zorder=3)  # fmt: skip

    if chart.form == "nested":
        axes.set_xticks([])  # below stands the value that each dial has in each cell
        scale = 1 / _height(chart)
        for row, loop in enumerate(chart.loops):
            foot, most = -scale * 22 * (row + 1), max(len(loop.names) - 1, 1)
            steps = [foot + scale * 9 * level / most for level in loop.levels]
            axes.stairs(steps, np.arange(len(steps) + 1) - 0.5, baseline=None, color=INK, linewidth=0.8, clip_on=False,
                        transform=axes.get_xaxis_transform())  # fmt: skip
            axes.text(0, foot + scale * 11, f"{loop.name}: {', '.join(loop.names)}", transform=axes.transAxes,
                      fontsize=6.5, color=SOFT)  # fmt: skip
    else:
        axes.set_xlabel(chart.places.label)

    if len(panel.series) > 1 and chart.form != "scatter":
        # the name of each line at its end, moved apart where they would overlap
        height, span = _height(chart), chart.values.high - chart.values.low
        ends = sorted(((series.points[-1], series) for series in panel.series if series.points),
                      key=lambda end: -end[0].value)  # fmt: skip
        wanted = [(chart.values.high - point.value) / span * height for point, _ in ends]
        for (point, series), y in zip(ends, apart(wanted, 9.0, 0.0, height), strict=True):
            arrow = {"arrowstyle": "-", "color": LINES[series.kind % len(LINES)], "linewidth": 0.7, "shrinkB": 3,
                     "relpos": (0.0, 0.5)}  # fmt: skip
            axes.annotate(short_label(series.label, MOST), (point.at, point.value), xytext=(1.0, 1 - y / height),
                          va="center", fontsize=7, textcoords="axes fraction", color=INK, annotation_clip=False,
                          arrowprops=arrow)  # fmt: skip


def _across(axes: Axes, chart: Chart, panel: Facet) -> None:
    """Values from left to right, one row a place: dots and zips."""
    _marks(chart.values, axes.set_xticks, axes.set_xlim)
    _marks(chart.places, axes.set_yticks, axes.set_ylim, turned=True)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT)
    axes.set_xlabel(chart.values.label)
    for value, _ in chart.references:
        axes.axvline(value, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    for series in panel.series:
        colour, marker = LINES[series.kind % len(LINES)], MARKERS[series.kind % len(MARKERS)]
        for point in series.points:
            missed = chart.form == "zip" and point.clear
            axes.plot([point.low, point.high], [point.at] * 2, color=RED if missed else colour, zorder=2,
                      linewidth=0.6 if chart.form == "zip" else 1.1)  # fmt: skip
            if chart.form == "dots":
                axes.plot([point.value], [point.at], marker=marker, markersize=4, markeredgewidth=0.9, color=colour,
                          markerfacecolor=colour if point.clear else "white", linestyle="", zorder=3)  # fmt: skip
