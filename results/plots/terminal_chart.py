"""A picture in letters, for a terminal: curves against a dial, or a row a name with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from textwrap import wrap

from results.plots.chart import Axis, Chart, Facet, Point, apart, short_label

HEIGHT, WIDEST = 13, 92  # rows of curves, and letters of any picture
MARKS, PLAIN_MARKS = "●■◆▲▼◀▶", "oxd^v<>"  # by the kind of a series, as in pages
LINE, PLAIN_LINE = "·", "."
REFERENCE, PLAIN_REFERENCE = "┄", "-"
LEAST = 16  # letters of the plot itself


def text_chart(chart: Chart, width: int, *, plain: bool = False) -> list[str]:
    """Lines of a picture of curves or dots with one panel; none of others, or where the width is too small.

    width: of the terminal. plain: with ASCII letters alone.
    """
    if chart.form not in ("curves", "dots") or len(chart.panels) != 1:
        return []
    title = f"{chart.title}: {chart.values.label}" if chart.form == "curves" else chart.title
    body = (_curves if chart.form == "curves" else _dots)(chart, chart.panels[0], min(width, WIDEST), plain)
    return [*wrap(title, width), *(line.rstrip() for line in body)] if body else []


def _curves(chart: Chart, panel: Facet, width: int, plain: bool) -> list[str]:
    """Values upward, marks joined by dots, the name of each curve at its end."""
    marks, joint, along = (PLAIN_MARKS, PLAIN_LINE, PLAIN_REFERENCE) if plain else (MARKS, LINE, REFERENCE)
    rows = {_row(chart.values, value): text for value, text in chart.values.ticks}
    rows |= {_row(chart.values, line.value): line.label for line in chart.references}
    left, named = max(map(len, rows.values())), [one for one in panel.series if _known(one.points)]
    names = [f" {marks[one.kind % len(marks)]} {short_label(one.label)}" for one in named] if len(named) > 1 else [""]
    across = width - left - 2 - max(map(len, names), default=0)
    if across < LEAST or not named:
        return []
    cells = [[" "] * across for _ in range(HEIGHT)]
    for reference in chart.references:
        cells[_row(chart.values, reference.value)] = [along] * across
    spots = [[(_column(chart.places, one.at, across), _row(chart.values, one.value)) for one in _known(series.points)]
             for series in named]  # fmt: skip
    for places in spots:
        for column, row in _between(places):
            cells[row][column] = joint
    for series, places in zip(named, spots, strict=True):
        for column, row in places:
            cells[row][column] = marks[series.kind % len(marks)]
    order = sorted(range(len(named)), key=lambda k: spots[k][-1][1]) if len(named) > 1 else []
    ends = apart([float(spots[k][-1][1]) for k in order], 1.0, 0.0, HEIGHT - 1.0)
    beside = {round(row): names[k] for k, row in zip(order, ends, strict=True)}
    lines = [f"{rows.get(row, ''):>{left}} {'|' if plain else '│'}{''.join(own)}{beside.get(row, '')}"
             for row, own in enumerate(cells)]  # fmt: skip
    return [*lines, *_foot(chart.places, left + 2, across)]


def _dots(chart: Chart, panel: Facet, width: int, plain: bool) -> list[str]:
    """A row a name: the interval, the mark in it, and the value in words at the right."""
    marks, along = (PLAIN_MARKS, PLAIN_REFERENCE) if plain else (MARKS, "─")
    names = {at: short_label(text) for at, text in chart.places.ticks}
    left, said = max(map(len, names.values()), default=0), max((len(one.said) for one in panel.points), default=0)
    across = width - left - said - 3
    if across < LEAST:
        return []
    lines = []
    for series in panel.series:
        for point in _known(series.points):
            cells = [" "] * across
            for reference in chart.references:
                cells[_column(chart.values, reference.value, across)] = ":" if plain else "┊"
            if math.isfinite(point.low) and math.isfinite(point.high):
                ends = [_column(chart.values, end, across) for end in (point.low, point.high)]
                cells[ends[0] : ends[1] + 1] = [along] * (ends[1] - ends[0] + 1)
            cells[_column(chart.values, point.value, across)] = marks[series.kind % len(marks)]
            lines.append((point.at, f"{names.get(point.at, ''):<{left}}  {''.join(cells)} {point.said}"))
    return [*(line for _, line in sorted(lines)), *_foot(chart.values, left + 2, across)]


def _foot(axis: Axis, left: int, across: int) -> list[str]:
    """The values of an axis where they stand, those without room left out, and its name."""
    line = [" "] * (left + across + 8)
    free = 0
    for value, text in axis.ticks:
        start = max(left + _column(axis, value, across) - len(text) // 2, 0)
        if start >= free:
            line[start : start + len(text)] = text
            free = start + len(text) + 1
    label = [axis.label.center(across)] if axis.label else []
    return ["".join(line), *(" " * left + text for text in label)]


def _known(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if math.isfinite(point.value)]


def _share(axis: Axis, value: float) -> float:
    return min(max((value - axis.low) / (axis.high - axis.low), 0.0), 1.0)


def _column(axis: Axis, value: float, across: int) -> int:
    return round(_share(axis, value) * (across - 1))


def _row(axis: Axis, value: float) -> int:
    """Rows are counted from the top."""
    return round((1.0 - _share(axis, value)) * (HEIGHT - 1))


def _between(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The letters between places, one a column."""
    found = []
    for (x1, y1), (x2, y2) in pairwise(places):
        found += [(x, round(y1 + (y2 - y1) * (x - x1) / (x2 - x1))) for x in range(x1 + 1, x2)]
    return found
