"""A picture as a record: what is drawn, in words and numbers, for every program that draws it.

`figure` draws it into a page, `text_chart` in letters into a terminal (curves against a dial, or a row a name with its
interval), `results.plots.picture` into the files of a paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from markupsafe import Markup, escape
from rich.cells import cell_len, set_cell_size

from results.text import in_columns, number

ChartForm = Literal["curves", "dots", "nested", "zip", "scatter"]
MOST_VALUES = 60  # values that a text alternative lists; the table beside the picture holds all


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a place, with the ends of its interval (NaN: none). said: its value in words."""

    at: float
    value: float
    low: float
    high: float
    said: str
    clear: bool = False  # drawn filled, or in another colour: it departs, or its interval misses


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour and marker. kind: which ones, the same in every panel and picture of a page."""

    label: str
    kind: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Facet:
    """One of the small multiples."""

    title: str
    series: tuple[Series, ...]

    @property
    def points(self) -> list[Point]:
        """All its points."""
        return [point for series in self.series for point in series.points]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis in words, its ends and its marks (place, text)."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """A dial under a nested-loop picture: its level, from 0, at each place, and what each level is called."""

    name: str
    levels: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture. places: the axis of dials, rows or replications; values: the axis of what is measured.

    form: curves and nested have places from left to right and values upward; dots and zip have places downward and
    values from left to right; scatter as curves, without lines. key: letters and hyphens, unique in a page. subject:
    what all series have in common, such as the lone estimator. references: lines at values, such as the nominal level,
    each with what it is called where it stands. loops: of the nested-loop picture.
    """

    key: str
    form: ChartForm
    title: str
    places: Axis
    values: Axis
    panels: tuple[Facet, ...]
    references: tuple[tuple[float, str], ...]
    caption: str
    subject: str = ""
    loops: tuple[Loop, ...] = ()

    @property
    def alt(self) -> str:
        """What is read out instead of the picture: what it shows, and its values as far as they are few."""
        said = [f"{panel.title}: {text}" if panel.title else text
                for panel in self.panels for text in _values(panel, self.form)]  # fmt: skip
        return f"{self.caption} Values: {_listed(said)}."


def _values(panel: Facet, form: ChartForm) -> Iterator[str]:
    if form in {"zip", "scatter"}:
        clear = sum(point.clear for point in panel.points)
        yield f"{panel.title}; {len(panel.points)} replications, {clear} marked"
        return
    for series in panel.series:
        for point in _known(series.points):
            yield f"{series.label} {point.said}".strip()


def _listed(items: Sequence[str]) -> str:
    rest = f"; {len(items) - MOST_VALUES} more in the tables" if len(items) > MOST_VALUES else ""
    return "; ".join(items[:MOST_VALUES]) + rest


def key_of(*words: str) -> str:
    """Words as an id: letters, digits and hyphens."""
    return "-".join("".join(letter if letter.isalnum() else "-" for letter in word.lower()) for word in words if word)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two ends, 1, 2 or 5 times a power of ten apart."""
    raw = high / about - low / about
    size = math.floor(math.log10(raw))
    step = next(factor * 10.0**size for factor in (1, 2, 5, 10) if factor * 10.0**size >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 2 - size) + 0.0 for index in range(first, math.floor(high / step + 1e-9) + 1)]


def enough_digits(marks: Iterable[float], least: int = 4) -> int:
    """Significant digits, so many or more, that tell the marks of an axis apart."""
    places = sorted(marks)
    gap = min((high - low for low, high in pairwise(places) if high > low), default=math.inf)
    exact = (
        digits for digits in range(least, 17) if all(abs(float(f"{at:.{digits}g}") - at) < gap / 99 for at in places)
    )
    return next(exact, 17)


def axis_of(label: str, low: float, high: float, write: Callable[[float, int], str] = number, about: int = 5) -> Axis:
    """An axis with about so many round marks, each written by `write` with as many digits as tell them apart."""
    marks = ticks(low, high, about)
    digits = enough_digits(marks)
    return Axis(label, low, high, tuple((tick, write(tick, digits)) for tick in marks))


def percent(value: float, digits: int = 4) -> str:
    """A share of an axis."""
    return f"{100 * value:.{digits}g}%"


def span(values: Sequence[float], room: float = 0.04) -> tuple[float, float]:
    """Ends of an axis that holds all finite values, with a little room."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    size = max(abs(low), abs(high))  # values that differ in their last digits alone are equal
    wide = room * (high - low) if high - low > 1e-12 * size else 0.05 * size or 0.01
    return low - wide, high + wide


# The steps under a nested-loop picture: which value each dial has in each cell.


HEIGHT, TALL = 34.0, 14.0  # of a dial's row, and of its steps within it
SAID = 70  # letters of a dial's name and values


def loops(chart: Chart, plot: Plot) -> Iterator[Markup]:
    """One row of steps a dial: higher steps are later values."""
    for row, loop in enumerate(chart.loops):
        foot = plot.bottom + HEIGHT * (row + 1)
        text = f"{loop.name}: {', '.join(loop.names)}"  # from the lowest step to the highest
        text = text if len(text) <= SAID else f"{loop.name}: {loop.names[0]} to {loop.names[-1]}"
        yield _text(plot.left, foot - TALL - 4, text, "axis")
        most = max(len(loop.names) - 1, 1)
        parts = []
        for k, level in enumerate(loop.levels):
            y = foot - TALL * level / most
            start, end = (plot.across(chart.places, k + side) for side in (-0.5, 0.5))
            parts.append(f"M{start:.1f} {y:.1f}H{end:.1f}" if not k else f"V{y:.1f}H{end:.1f}")
        yield Markup('<path class="loop" d="{}"/>').format("".join(parts))


# Pictures as elements of a page, styled by its CSS: they follow light, dark, phone and print.
#
# They are written by hand, unlike the files of `results.plots.picture`: drawn by matplotlib, their colours were
# fixed, and a chart of 25 cells took eight times as long and twice the bytes, with one artist a mark twenty times
# as long.


KINDS = 7  # colours and markers before they repeat
LETTER, LETTER_OF_AXIS = 6.2, 5.6  # mean width of a letter of a label, and of the name of an axis
LARGE = 1.22  # by how much letters of a lone panel grow on a phone (results/page/page.css)
LINE = 13.0  # height of a line of labels
TOLD = 600  # points of a picture that tell their value under the pointer
LONGEST = 34  # letters of a label
LONGEST_ROW = 46  # letters of the name of a row


@dataclass(frozen=True, slots=True)
class Plot:
    """Where a panel draws: its size, and the box of the plot within it, in pixels of the page."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float

    def across(self, axis: Axis, value: float) -> float:
        """Horizontal position of a value, held within the plot."""
        return self.left + _part_of_axis(axis, value) * (self.right - self.left)

    def up(self, axis: Axis, value: float) -> float:
        """Vertical position of a value, held within the plot."""
        return self.bottom - _part_of_axis(axis, value) * (self.bottom - self.top)

    def down(self, axis: Axis, value: float) -> float:
        """Vertical position of a row, the first on top."""
        return self.top + _part_of_axis(axis, value) * (self.bottom - self.top)


def width_of(chart: Chart) -> int:
    """Width of a panel, so that letters have about the same size however many panels stand beside each other."""
    return {1: 520, 2: 440, 4: 440}.get(len(chart.panels), 360)


def panel_svgs(chart: Chart) -> list[Markup]:
    """One SVG element a panel, with a title and a description that are read out."""
    if not chart.panels:
        return []
    told = sum(len(panel.points) for panel in chart.panels) <= TOLD
    plot, draw = _plot(chart), _across if chart.form in {"dots", "zip"} else _upward
    svgs = []
    for place, panel in enumerate(chart.panels):
        key = f"{chart.key}-{place}"
        said = chart.title + (f": {panel.title}" if panel.title else "")
        values = _listed(list(_values(panel, chart.form)))
        along = f" by {chart.places.label}" if chart.places.label else ""
        alt = f"{chart.values.label}{along}. Values: {values}."
        svgs.append(Markup("\n").join((
            Markup('<svg class="chart" role="img" viewBox="0 0 {:.0f} {:.0f}" aria-labelledby="{}-t {}-d">').format(
                plot.width, plot.height, key, key),
            Markup('<title id="{}-t">{}</title><desc id="{}-d">{}</desc>').format(key, said, key, alt),
            *(_text(0, 13 + LINE * k, line, "group") for k, line in enumerate(_title_lines(chart, panel))),
            *draw(chart, panel, plot, told),
            Markup("</svg>"),
        )))  # fmt: skip
    return svgs


def _title_lines(chart: Chart, panel: Facet) -> list[str]:
    """The title of a panel in lines that its width holds; its bold letters are wider than those of labels."""
    return in_columns(panel.title, int(width_of(chart) / (1.25 * LETTER)), rest="")


def _plot(chart: Chart) -> Plot:
    """The box of the plot: room for labels of rows at the left, of lines at the right, of the axis below."""
    letter = LETTER * (LARGE if len(chart.panels) == 1 else 1.0)
    lines = max((len(_title_lines(chart, panel)) for panel in chart.panels), default=0)
    width, top = float(width_of(chart)), 20.0 + LINE * lines + bool(lines)
    if chart.form in {"dots", "zip"}:
        labels = max((cell_len(short_label(text, LONGEST_ROW)) for _, text in chart.places.ticks), default=0)
        rows = chart.places.high - chart.places.low
        height = 260.0 if chart.form == "zip" else 19.0 * rows + 6
        return Plot(width, top + height + 40, labels * letter + 16, width - 20, top, top + height)
    names = [short_label(series.label) for panel in chart.panels for series in panel.series]
    single = max((len(panel.series) for panel in chart.panels), default=0) < 2 or chart.form == "scatter"
    right = width - 14 if single else width - max(map(cell_len, names)) * letter - 20
    most = max(len(panel.series) for panel in chart.panels)
    height = max(170.0, LINE * most + 12)
    below = HEIGHT * len(chart.loops) + 6 if chart.loops else 40.0
    left = max((len(text) for _, text in chart.values.ticks), default=3) * letter + 16
    return Plot(width, top + height + below, left, right, top, top + height)


def _upward(chart: Chart, panel: Facet, plot: Plot, told: bool) -> Iterator[Markup]:
    """Values upward: curves, nested loops and scatters."""
    for value, text in chart.values.ticks:
        y = plot.up(chart.values, value)
        yield _line("grid", plot.left, plot.right, y, y)
        yield _text(plot.left - 5, y + 4, text, "tick end")
    for value, label in chart.references:
        y = plot.up(chart.values, value)
        yield _line("ref", plot.left, plot.right, y, y)
        if all(abs(plot.up(chart.values, tick) - y) >= LINE for tick, _ in chart.values.ticks):
            yield _text(plot.left - 5, y + 4, label, "tick end strong")
    for x, text in _with_room([(plot.across(chart.places, at), text) for at, text in chart.places.ticks]):
        yield _text(x, plot.bottom + 15, text, "tick mid")
    most = int(plot.width / LETTER_OF_AXIS)
    yield _text(plot.left, plot.top - 7, short_label(chart.values.label, most), "axis")
    if chart.form == "nested":
        yield from loops(chart, plot)
    else:
        yield _text((plot.left + plot.right) / 2, plot.bottom + 32, short_label(chart.places.label, most), "axis mid")
    for series in panel.series:
        yield from _series(chart, series, plot, told)
    if len(panel.series) > 1 and chart.form != "scatter":
        # the name of each line at its end, moved apart where they would overlap, with a leader to the line
        ends = [(series, series.points[-1]) for series in panel.series if series.points]
        ends.sort(key=lambda end: plot.up(chart.values, end[1].value))
        heights = [plot.up(chart.values, point.value) for _, point in ends]
        half = 0.5 * (plot.right - plot.left) / (chart.places.high - chart.places.low)
        step = half if chart.form == "nested" else 0.0
        for (series, point), wanted, y in zip(ends, heights, apart(heights, LINE, plot.top, plot.bottom), strict=True):
            x = plot.across(chart.places, point.at) + step + 4
            yield Markup('<path class="leader k{}" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(
                series.kind % KINDS, x, wanted, plot.right + 8, y)  # fmt: skip
            yield _text(plot.right + 11, y + 4, short_label(series.label), "name")


def _with_room(marks: Sequence[tuple[float, str]]) -> Iterator[tuple[float, str]]:
    """The texts of an axis, without those that would touch the one before."""
    free = -math.inf
    for x, text in marks:
        half = 0.5 * LETTER * LARGE * (cell_len(text) + 1)
        if x - half >= free:
            free = x + half
            yield x, text


def _series(chart: Chart, series: Series, plot: Plot, told: bool) -> Iterator[Markup]:
    """A line with its intervals and markers; a scatter has no line, a nested loop steps."""
    known = [point for point in series.points if math.isfinite(point.value)]
    spots = [(plot.across(chart.places, one.at), plot.up(chart.values, one.value)) for one in known]
    yield Markup('<g class="k{}">').format(series.kind % KINDS)
    if chart.form == "nested":
        step = (plot.right - plot.left) / (chart.places.high - chart.places.low) / 2
        path = " ".join(f"M{x - step:.1f} {y:.1f}H{x + step:.1f}" if k == 0 or known[k].at - known[k - 1].at > 1
                        else f"V{y:.1f}H{x + step:.1f}" for k, (x, y) in enumerate(spots))  # fmt: skip
        yield Markup('<path class="line" d="{}"/>').format(path)
    elif chart.form == "curves" and len(spots) > 1:
        path = "".join(f"{'L' if k and math.isfinite(series.points[k - 1].value) else 'M'}"
                       f"{plot.across(chart.places, one.at):.1f} {plot.up(chart.values, one.value):.1f}"
                       for k, one in enumerate(series.points) if math.isfinite(one.value))  # fmt: skip
        yield Markup('<path class="line" d="{}"/>').format(path)
    for point, (x, y) in zip(known, spots, strict=True):
        if chart.form == "curves" and math.isfinite(point.low) and math.isfinite(point.high):
            yield _line("whisker", x, x, plot.up(chart.values, point.low), plot.up(chart.values, point.high))
        if chart.form != "nested":
            yield _mark(series.kind, x, y, point, f"{series.label} {point.said}".strip() if told else "")
    yield Markup("</g>")


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places at least a gap apart, in order, near the wanted ones and within two ends where there is room."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + gap) if places else max(place, low))
    over = max(places[-1] - high, 0.0) if places else 0.0
    for k in range(len(places) - 1, -1, -1):
        ceiling = high if k == len(places) - 1 else places[k + 1] - gap
        places[k] = min(places[k], ceiling) if over else places[k]
    return places


def _across(chart: Chart, panel: Facet, plot: Plot, told: bool) -> Iterator[Markup]:
    """Values from left to right, one row a place: dots and zips."""
    marks = [(plot.across(chart.values, value), text) for value, text in chart.values.ticks]
    for x, _ in marks:
        yield _line("grid", x, x, plot.top, plot.bottom)
    for x, text in _with_room(marks):
        yield _text(x, plot.bottom + 15, text, "tick mid")
    for value, label in chart.references:
        x = plot.across(chart.values, value)
        yield _line("ref", x, x, plot.top - 3, plot.bottom)
        if chart.form == "dots":
            yield _text(x, plot.top - 6, label, "tick mid strong")
    label = short_label(chart.values.label, int(plot.width / LETTER_OF_AXIS))
    half = 0.5 * min(LETTER * LARGE * (cell_len(label) + 1), plot.width)  # beside long names the plot is narrower
    middle = max(min((plot.left + plot.right) / 2, plot.width - half), half)
    yield _text(middle, plot.bottom + 32, label, "axis mid")
    for at, text in chart.places.ticks:
        yield _text(plot.left - 8, plot.down(chart.places, at) + 4, short_label(text, LONGEST_ROW), "name end")
    for series in panel.series:
        yield Markup('<g class="k{}">').format(series.kind % KINDS)
        for point in series.points:
            y = plot.down(chart.places, point.at)
            if math.isfinite(point.low) and math.isfinite(point.high):
                ends = plot.across(chart.values, point.low), plot.across(chart.values, point.high)
                yield _line("whisker clear" if point.clear and chart.form == "zip" else "whisker", *ends, y, y)
            if chart.form == "dots" and math.isfinite(point.value):
                said = f"{series.label} {point.said}".strip() if told else ""
                yield _mark(series.kind, plot.across(chart.values, point.value), y, point, said)
        yield Markup("</g>")


def _mark(kind: int, x: float, y: float, point: Point, said: str) -> Markup:
    """A marker, filled where the value clearly departs; its value is told under the pointer."""
    css = "mark clear" if point.clear else "mark"
    title = Markup("<title>{}</title>").format(said) if said else Markup("")
    if kind % KINDS == 0:
        return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3.6">{}</circle>').format(css, x, y, title)
    outline = {
        1: ((-3.4, -3.4), (3.4, -3.4), (3.4, 3.4), (-3.4, 3.4)),
        2: ((0, -4.8), (4.8, 0), (0, 4.8), (-4.8, 0)),
        3: ((0, -4.6), (4.4, 3.4), (-4.4, 3.4)),
        4: ((0, 4.6), (4.4, -3.4), (-4.4, -3.4)),
        5: ((-4.6, 0), (3.4, -4.4), (3.4, 4.4)),
        6: ((4.6, 0), (-3.4, -4.4), (-3.4, 4.4)),
    }[kind % KINDS]
    path = "L".join(f"{x + dx:.1f} {y + dy:.1f}" for dx, dy in outline)
    return Markup('<path class="{}" d="M{}Z">{}</path>').format(css, path, title)


def _line(css: str, x1: float, x2: float, y1: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(css, x1, x2, y1, y2)


def _text(x: float, y: float, text: str, css: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(css, x, y, escape(text))


def short_label(text: str, most: int = LONGEST) -> str:
    """A label as wide as so many letters at most, cut in its middle: names often differ at their ends alone."""
    if cell_len(text) <= most:
        return text
    start, end = set_cell_size(text, most - 1 - most // 3), set_cell_size(text[::-1], most // 3)[::-1]
    return f"{start.rstrip()}…{end.lstrip()}"


# A picture as a figure of a page: small multiples that stand beside or, on a phone, below each other.


COLUMNS = {1: "one", 2: "two", 4: "two"}  # otherwise as many as there is room for


def figure(chart: Chart, heading: Literal["h2", "h3"] = "h3") -> Markup:
    """The figure element with its title, panels and caption; heading: of the title, one below that it stands under."""
    subject = Markup(" <small>{}</small>").format(chart.subject) if chart.subject else Markup("")
    css = COLUMNS.get(len(chart.panels), "many")
    panels = Markup("\n").join(panel_svgs(chart))
    return Markup('<figure class="picture" id="{0}"><{1}>{2}{3}</{1}>\n<div class="panels {4}">\n{5}\n</div>\n'
                  "<figcaption>{6}</figcaption></figure>").format(
        chart.key, heading, chart.title, subject, css, panels, chart.caption)  # fmt: skip


ROWS, WIDEST = 13, 92  # rows of curves, and letters of any picture
MARKS, PLAIN_MARKS = "●■◆▲▼◀▶", "oxd^v<>"  # by the kind of a series, as in pages
JOINT, PLAIN_JOINT = "·", "."
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
    return [*in_columns(title, width, rest="", at_hyphens=True), *(line.rstrip() for line in body)] if body else []


def _curves(chart: Chart, panel: Facet, width: int, plain: bool) -> list[str]:
    """Values upward, marks joined by dots, the name of each curve at its end."""
    marks, joint, along = (PLAIN_MARKS, PLAIN_JOINT, PLAIN_REFERENCE) if plain else (MARKS, JOINT, REFERENCE)
    named = [one for one in panel.series if _known(one.points)]
    tall = max(ROWS, len(named))
    down = replace(chart.values, low=chart.values.high, high=chart.values.low)  # rows are counted from the top
    rows = {_column(down, value, tall): text for value, text in (*chart.values.ticks, *chart.references)}
    left = max(map(len, rows.values()))
    names = [f" {marks[one.kind % len(marks)]} {short_label(one.label)}" for one in named] if len(named) > 1 else [""]
    across = width - left - 2 - max(map(cell_len, names), default=0)
    if across < LEAST or not named:
        return []
    cells = [[" "] * across for _ in range(tall)]
    for value, _ in chart.references:
        cells[_column(down, value, tall)] = [along] * across
    spots = [
        [(_column(chart.places, one.at, across), _column(down, one.value, tall)) for one in _known(series.points)]
        for series in named
    ]
    for series, places in zip(named, spots, strict=True):
        gaps = [one.at for one in series.points if not math.isfinite(one.value)]  # over which no line goes
        for (one, (x1, y1)), (other, (x2, y2)) in pairwise(zip(_known(series.points), places, strict=True)):
            for x in range(x1 + 1, 0 if any(one.at < at < other.at for at in gaps) else x2):
                cells[round(y1 + (y2 - y1) * (x - x1) / (x2 - x1))][x] = joint
    for series, places in zip(named, spots, strict=True):
        for column, row in places:
            cells[row][column] = marks[series.kind % len(marks)]
    order = sorted(range(len(named)), key=lambda k: spots[k][-1][1]) if len(named) > 1 else []
    ends = apart([float(spots[k][-1][1]) for k in order], 1.0, 0.0, tall - 1.0)
    beside = {round(row): names[k] for k, row in zip(order, ends, strict=True)}
    lines = [f"{rows.get(row, ''):>{left}} {'|' if plain else '│'}{''.join(own)}{beside.get(row, '')}"
             for row, own in enumerate(cells)]  # fmt: skip
    return [*lines, *_foot(chart.places, left + 2, across)]


def _dots(chart: Chart, panel: Facet, width: int, plain: bool) -> list[str]:
    """A row a name: the interval, the mark in it, and the value in words at the right."""
    marks, along = (PLAIN_MARKS, PLAIN_REFERENCE) if plain else (MARKS, "─")
    names = {at: short_label(text) for at, text in chart.places.ticks}
    left = max(map(cell_len, names.values()), default=0)
    said = max((len(one.said) for one in panel.points), default=0)
    across = width - left - said - 3
    if across < LEAST:
        return []
    lines = []
    for series in panel.series:
        for point in _known(series.points):
            cells = [" "] * across
            for value, _ in chart.references:
                cells[_column(chart.values, value, across)] = ":" if plain else "┊"
            if math.isfinite(point.low) and math.isfinite(point.high):
                ends = [_column(chart.values, end, across) for end in (point.low, point.high)]
                cells[ends[0] : ends[1] + 1] = [along] * (ends[1] - ends[0] + 1)
            cells[_column(chart.values, point.value, across)] = marks[series.kind % len(marks)]
            name = set_cell_size(names.get(point.at, ""), left)
            lines.append((point.at, f"{name}  {''.join(cells)} {point.said}"))
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


def _part_of_axis(axis: Axis, value: float) -> float:
    return min(max((value - axis.low) / (axis.high - axis.low), 0.0), 1.0)


def _column(axis: Axis, value: float, across: int) -> int:
    return round(_part_of_axis(axis, value) * (across - 1))
