"""Dot-and-whisker charts as elements of the report's page, styled by its CSS: they follow light, dark and print.

They are written by hand, unlike the figures (results.figures): drawn by matplotlib, their colours were fixed, and a
chart of 25 cells took eight times as long and twice the bytes, with one artist a mark twenty times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

# Left edges and widths of the columns: row name, kind, plot, numbers.
NAME, KIND, PLOT, NUMBERS, WIDTH = 0, 118, 214, 612, 800
PLOT_END = NUMBERS - 18
LINE, GROUP, TOP, BOTTOM = 19, 28, 26, 38
MARKERS = 4  # shapes and colours before they repeat


@dataclass(frozen=True, slots=True)
class Point:
    """One line of a chart: a value with its interval, a kind (its marker's shape and colour) and its number as text."""

    name: str  # shown where it changes
    kind: int
    kind_name: str
    value: float
    low: float
    high: float
    text: str
    clear: bool  # drawn filled: the departure is clear


@dataclass(frozen=True, slots=True)
class Group:
    """Lines under a heading."""

    title: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """A horizontal axis; values beyond its ends are drawn as arrows there."""

    low: float
    high: float
    label: str
    reference: float
    write: Callable[[float], str]
    left: float = PLOT  # where the plot begins

    def place(self, value: float) -> float:
        """Horizontal position of a value, held within the plot."""
        share = (value - self.low) / (self.high - self.low)
        return self.left + min(max(share, 0.0), 1.0) * (PLOT_END - self.left)


def dot_chart(groups: Sequence[Group], axis: Axis, *, title: str, description: str, key: str) -> Markup:
    """The chart as an SVG element whose title and description are read out; `key` makes its ids unique."""
    height = TOP + sum(LINE * len(group.points) + (GROUP if group.title else 8) for group in groups) + BOTTOM
    foot = height - BOTTOM
    parts = [
        Markup('<svg class="chart" role="img" viewBox="0 0 {} {}" aria-labelledby="{}-t {}-d">').format(
            WIDTH, height, key, key
        ),
        Markup('<title id="{}-t">{}</title><desc id="{}-d">{}</desc>').format(key, title, key, description),
        *_frame(axis, foot),
    ]
    y = float(TOP)
    for group in groups:
        y += GROUP if group.title else 8
        if group.title:
            parts.append(_text(NAME, y - 8, group.title, "group"))
        above = ""
        for point in group.points:
            parts += _line(point, axis, y + LINE / 2, show_name=point.name != above)
            above = point.name
            y += LINE
    parts.append(Markup("</svg>"))
    return Markup("\n").join(parts)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two ends, 1, 2 or 5 times a power of ten apart."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) + 0.0 for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _frame(axis: Axis, foot: float) -> list[Markup]:
    parts = []
    for tick in ticks(axis.low, axis.high):
        x = axis.place(tick)
        parts.append(Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(x, TOP, foot))
        parts.append(_text(x, foot + 15, axis.write(tick), "tick"))
    x = axis.place(axis.reference)
    parts.append(Markup('<line class="ref" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(x, TOP - 6, foot))
    parts.append(_text(x, TOP - 11, axis.write(axis.reference), "tick strong"))
    parts.append(_text((axis.left + PLOT_END) / 2, foot + 32, axis.label, "tick"))
    return parts


def _line(point: Point, axis: Axis, y: float, *, show_name: bool) -> list[Markup]:
    parts = [Markup('<g class="k{}{}">').format(point.kind % MARKERS, " clear" if point.clear else "")]
    parts.append(Markup("<title>{}</title>").format(f"{point.name} {point.kind_name}: {point.text}"))
    if show_name:
        parts.append(_text(NAME, y + 4, _short(point.name, 17), "name"))
    parts.append(_text(KIND, y + 4, _short(point.kind_name, 16), "kind"))
    if math.isfinite(point.value):
        parts += _mark(point, axis, y)
    parts.append(_text(NUMBERS, y + 4, point.text, "number"))
    parts.append(Markup("</g>"))
    return parts


def _mark(point: Point, axis: Axis, y: float) -> list[Markup]:
    x = axis.place(point.value)
    if point.value < axis.low or point.value > axis.high:
        side = -1 if point.value < axis.low else 1
        tip, back = x + side * 7, x - side * 2
        return [
            Markup('<path class="mark" d="M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}Z"/>').format(
                tip, y, back, y - 5, back, y + 5
            )
        ]
    parts = []
    if math.isfinite(point.low) and math.isfinite(point.high):
        ends = axis.place(point.low), axis.place(point.high)
        parts.append(Markup('<line class="whisker" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(*ends, y, y))
    return [*parts, _shape(point.kind % MARKERS, x, y)]


def _shape(kind: int, x: float, y: float) -> Markup:
    if kind == 0:
        return Markup('<circle class="mark" cx="{:.1f}" cy="{:.1f}" r="4.2"/>').format(x, y)
    outline = {
        1: ((-3.8, -3.8), (3.8, -3.8), (3.8, 3.8), (-3.8, 3.8)),
        2: ((0, -5.4), (5.4, 0), (0, 5.4), (-5.4, 0)),
        3: ((0, -5), (4.8, 3.8), (-4.8, 3.8)),
    }[kind]
    path = "L".join(f"{x + dx:.1f} {y + dy:.1f}" for dx, dy in outline)
    return Markup('<path class="mark" d="M{}Z"/>').format(path)


def _text(x: float, y: float, text: str, css: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(css, x, y, escape(text))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
