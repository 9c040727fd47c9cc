"""Pictures as the files of a paper: the same records as on the page, drawn by matplotlib in the house style."""

from __future__ import annotations

import base64
import io
import logging
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import findSystemFonts, fontManager
from matplotlib.lines import Line2D
from matplotlib.text import Text

from results.plots.chart import Axis, Chart, Facet, Format, Series, apart
from results.tables.records import Figure

# What all figures share: greys that are read on light and on dark paper, colours, markers, one way to an SVG.
#
# The background is transparent and the palette is that of Okabe and Ito, which colour-blind readers tell apart;
# every series has a marker of its own as well. Text stays text, so that any viewer with a Chinese font shows
# Chinese names. The same numbers are the same bytes: ids come from the figure's name, and the file holds no date.


INK, SOFT, FAINT = "#727b87", "#7d8793", "#7d879355"  # of words and main lines, of scales, of grids
BLUE, RED, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
SERIES = (BLUE, RED, GREEN, PURPLE)
LINES = (*SERIES, ORANGE, SKY, INK)  # of pictures with more lines, which are named at their ends
MARKERS = ("o", "s", "D", "^", "v", "<", ">")
CHINESE = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "SimHei",
           "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Arial Unicode MS")  # fmt: skip
LATIN = "DejaVu Sans"
IDEOGRAPH = re.compile("[\u4e00-\u9fff]")
FAMILIES = ", ".join([f"'{name}'" for name in (LATIN, "Helvetica Neue", "Arial", *CHINESE)] + ["sans-serif"])
SIZE = 7.5  # of letters, in points
INCH = 72.0  # points

Paint = Callable[[Canvas], Mapping[str, str]]


def draw(name: str, size: tuple[float, float], title: str, description: str, paint: Paint) -> str:
    """An SVG of a width and height in points, whose title and description are read out.

    paint: draws on the canvas and returns what is said of artists, by the id (gid) that it has given them.
    """
    with house_style(name):
        canvas = Canvas(figsize=(size[0] / INCH, size[1] / INCH), facecolor="none")
        FigureCanvasSVG(canvas)
        said = paint(canvas)
        file = io.StringIO()
        canvas.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return _accessible(file.getvalue(), name, title, description, said)


def figure(
    name: str, size: tuple[float, float], title: str, caption: str, paint: Paint, description: str = ""
) -> Figure:  # fmt: skip
    """A picture of a document, which can be drawn again as a pdf or a png; description: what is read out (default: the
    caption)."""
    svg = draw(name, size, title, description or caption, paint)
    return Figure(name, title, caption, svg, partial(painted, name, size, paint))


def painted(name: str, size: tuple[float, float], paint: Paint, form: str) -> bytes:
    """A pdf, or a png of 300 dots an inch, on white; size: in points. The same picture is the same bytes."""
    with house_style(name):
        canvas = Canvas(figsize=(size[0] / INCH, size[1] / INCH), facecolor="white")
        paint(canvas)
        file = io.BytesIO()
        dated: dict[str, Any] = {"CreationDate": None} if form == "pdf" else {"Software": None}
        canvas.savefig(file, format=form, dpi=DOTS_PER_INCH, metadata=dated)
        _check_letters(canvas)
    return file.getvalue()


def frame(canvas: Canvas, box: tuple[float, float, float, float], title: str = "") -> Axes:
    """Axes in a box (left, bottom, width, height, shares of the canvas) without lines above and on the right."""
    axes = canvas.add_axes(box, facecolor="none")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def mark(axes: Axes, x: float, y: float, kind: int, colour: str, *, hollow: bool = False, gid: str = "") -> None:
    """One marker of a series; gid: its id, under which something can be said of it."""
    axes.plot([x], [y], linestyle="", marker=MARKERS[kind], markersize=4.6, markeredgewidth=0.9, color=colour,
              markerfacecolor="none" if hollow else colour, zorder=4, gid=gid or None)  # fmt: skip


def handle(kind: int, colour: str, label: str, *, line: bool = False) -> Any:
    """A marker, on a line or not, with its label in a legend."""
    return Line2D([], [], linestyle="-" if line else "", linewidth=1.8, marker=MARKERS[kind], markersize=4.6,
                  color=colour, label=label)  # fmt: skip


def span(values: Sequence[float], always: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis that holds all finite values, and those that must show, with a little room."""
    finite = [value for value in (*values, *always) if math.isfinite(value)]
    low, high = min(finite), max(finite)
    room = 0.04 * (high - low) or 0.01
    return low - room, high + room


def chinese_fonts() -> list[str]:
    """The installed fonts with Chinese letters, the best first."""
    return _known_fonts() or _found_fonts()


def _known_fonts() -> list[str]:
    installed = {font.name for font in fontManager.ttflist}
    return [each for each in CHINESE if each in installed]


@cache
def _found_fonts() -> list[str]:
    """Those of files that matplotlib's list lacks, which is kept from run to run: a font may be newer."""
    listed = {font.fname for font in fontManager.ttflist}
    for path in sorted(set(findSystemFonts()) - listed):
        with suppress(OSError, RuntimeError, ValueError):  # a broken file
            fontManager.addfont(path)
    return _known_fonts()


def _check_letters(canvas: Canvas) -> None:
    """Say once where Chinese letters are drawn as empty boxes."""
    texts = (text.get_text() for text in canvas.findobj(Text) if isinstance(text, Text))
    if not chinese_fonts() and any(IDEOGRAPH.search(text) for text in texts):
        _say_no_font()


@cache
def _say_no_font() -> None:
    logging.getLogger(__name__).warning(
        "warning: no installed font has Chinese letters, which pdf and png show as empty boxes; "
        "install one, such as %s", CHINESE[0],
    )  # fmt: skip


def _matters(record: logging.LogRecord) -> bool:
    """Whether a message on fonts is another than that a Chinese font has no such weight, as few have."""
    said = record.getMessage()
    return not (said.startswith("findfont: Failed to find font weight") and any(name in said for name in CHINESE))


@contextmanager
def house_style(name: str) -> Iterator[None]:
    """House fonts, lines and ids; in an SVG glyphs that no installed font has are left to the viewer's."""
    settings: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False, "axes.formatter.useoffset": False,
        "font.family": [LATIN, *chinese_fonts()],
        "font.size": SIZE, "axes.linewidth": 0.6, "axes.edgecolor": SOFT, "axes.labelcolor": INK, "text.color": INK,
        "xtick.color": SOFT, "ytick.color": SOFT, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
        "xtick.labelsize": SIZE - 0.5, "ytick.labelsize": SIZE - 0.5, "axes.titlesize": SIZE + 1.5,
        "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlepad": 6, "hatch.linewidth": 0.7,
        "grid.color": FAINT, "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False,
        "legend.fontsize": SIZE, "legend.title_fontsize": SIZE - 0.5,
    }  # fmt: skip
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        fonts = logging.getLogger("matplotlib.font_manager")
        fonts.addFilter(_matters)
        try:
            yield
        finally:
            fonts.removeFilter(_matters)


def _accessible(svg: str, name: str, title: str, description: str, said: Mapping[str, str]) -> str:
    """The svg element alone, with its title and description read out, and what is said of single artists."""
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r"font-family: [^;]*; ", "", body)
    opening = f'<svg role="img" aria-labelledby="{name}-t {name}-d" style="font-family: {FAMILIES}"'
    end = body.index(">") + 1
    texts = f'\n <title id="{name}-t">{escape(title)}</title>\n <desc id="{name}-d">{escape(description)}</desc>'
    inside = re.sub(r'<g id="([^"]+)">', lambda found: f"{found[0]}{_title(said.get(found[1]))}", body[end:])
    inside = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", inside)  # several figures may stand in one page
    return opening + body[len("<svg") : end] + texts + inside


def _title(text: str | None) -> str:
    return "" if text is None else f"<title>{escape(text)}</title>"


# A figure of matplotlib in the house style that notebooks show and that `savefig` writes.


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
                _check_letters(self)

    def _repr_html_(self) -> str:
        """An image without a background, so that it is read on light and dark pages."""
        file = io.BytesIO()
        self.savefig(file, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
        data = base64.b64encode(file.getvalue()).decode()
        return f'<img style="max-width:100%" alt="{escape(self.alt)}" src="data:image/svg+xml;base64,{data}">'


WIDE = 518.4  # points: the text width of a page
ROW, HEAD, FOOT = 11.0, 30.0, 34.0  # points of a row of dots, above a plot and below it
EDGE = 8.0  # points between the edge of a plot of dots and its labels
NARROW = 110.0  # points of a plot that has room for the words of its axis
DOTS_PER_INCH = 300


def figure_bytes(chart: Chart, form: Format) -> bytes:
    """The picture in one format, the same bytes for the same numbers."""
    size, paint = _size(chart), partial(_paint, chart=chart)
    if form == "svg":
        return draw(chart.key, size, chart.title, chart.alt, paint).encode()
    return painted(chart.key, size, paint, form)


def picture_of(chart: Chart) -> Picture:
    """The picture as a figure of matplotlib, to show, to change and to save."""

    size = _size(chart)
    with house_style(chart.key):
        picture = Picture(chart.key, chart.alt, figsize=(size[0] / 72, size[1] / 72), facecolor="white")
        _paint(picture, chart=chart)
    return picture


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
    canvas.text(0.01, 1 - 14 / height, title, fontsize=9.5, fontweight="bold", color=INK)
    left, right = _margins(chart)
    each, tall = width / columns, HEAD + _height(chart) + FOOT + 22 * len(chart.loops)
    for number, panel in enumerate(chart.panels):
        row, column = divmod(number, columns)
        top = height - 26 - row * tall - HEAD
        box = ((column * each + left) / width, (top - _height(chart)) / height,
               (each - left - right) / width, _height(chart) / height)  # fmt: skip
        axes = canvas.add_axes(box, facecolor="none")
        axes.spines[["top", "right"]].set_visible(False)
        _panel_title(axes, chart, panel, each, left)
        (_across if chart.form in {"dots", "zip"} else _upward)(axes, chart, panel)
    return {}


def _panel_title(axes: Axes, chart: Chart, panel: Facet, width: float, left: float) -> None:
    """Above a plot; above its labels too where these stand at its left. In lines that do not reach the next panel."""
    across = chart.form in {"dots", "zip"}
    start, above = (EDGE - left, 7.0) if across else (0.0, 15.0)
    room = width - 12 if across else width - left
    text = "\n".join(textwrap.wrap(panel.title, max(int(room / 4.6), 12)))
    axes.annotate(text, (0, 1), xycoords="axes fraction", xytext=(start, above), textcoords="offset points",
                  annotation_clip=False, color=INK, fontweight="bold", fontsize=7.5, linespacing=1.1)  # fmt: skip


def _margins(chart: Chart) -> tuple[float, float]:
    """Room for labels at the left and the right of a plot, in points."""
    if chart.form in {"dots", "zip"}:
        return EDGE + 4.1 * max((len(text) for _, text in chart.places.ticks), default=0), 10.0
    lines = [series.label for panel in chart.panels for series in panel.series]
    single = max((len(panel.series) for panel in chart.panels), default=0) < 2 or chart.form == "scatter"
    return 40.0, 12.0 if single else 16 + 4.1 * max(map(len, lines))


def _marks(axis: Axis, set_ticks: Any, set_limits: Any, *, turned: bool = False) -> None:
    set_ticks([at for at, _ in axis.ticks], [text for _, text in axis.ticks])
    set_limits(*((axis.high, axis.low) if turned else (axis.low, axis.high)))


def _upward(axes: Axes, chart: Chart, panel: Facet) -> None:
    """Values upward: curves, nested loops and scatters."""
    _marks(chart.places, axes.set_xticks, axes.set_xlim)
    _marks(chart.values, axes.set_yticks, axes.set_ylim)
    axes.text(0, 1 + 4 / _height(chart), chart.values.label, transform=axes.transAxes, color=SOFT, fontsize=7)
    axes.grid(axis="y", color=FAINT)
    for reference in chart.references:
        axes.axhline(reference.value, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    for series in panel.series:
        _line(axes, chart, series)
    if chart.form == "nested":
        _loops(axes, chart)
    else:
        axes.set_xlabel(chart.places.label)
    if len(panel.series) > 1 and chart.form != "scatter":
        _labels(axes, chart, panel)


def _look(kind: int) -> tuple[str, str]:
    return LINES[kind % len(LINES)], MARKERS[kind % len(MARKERS)]


def _line(axes: Axes, chart: Chart, series: Series) -> None:
    colour, marker = _look(series.kind)
    at, values = [point.at for point in series.points], [point.value for point in series.points]
    if chart.form == "nested":
        axes.step(at, values, where="mid", color=colour, linewidth=1.2)
        return
    if chart.form == "curves":
        axes.plot(at, values, color=colour, linewidth=1.3, zorder=2)
        for point in series.points:
            axes.plot([point.at] * 2, [point.low, point.high], color=colour, linewidth=1.0, alpha=0.75, zorder=2)
    for point in series.points:
        axes.plot([point.at], [point.value], marker=marker, markersize=3.8, markeredgewidth=0.9, color=colour,
                  markerfacecolor=colour if point.clear else "white", linestyle="", zorder=3)  # fmt: skip


def _labels(axes: Axes, chart: Chart, panel: Facet) -> None:
    """The name of each line at its end, moved apart where they would overlap."""
    height, span = _height(chart), chart.values.high - chart.values.low
    ends = sorted(((series.points[-1], series) for series in panel.series if series.points),
                  key=lambda end: -end[0].value)  # fmt: skip
    wanted = [(chart.values.high - point.value) / span * height for point, _ in ends]
    for (point, series), y in zip(ends, apart(wanted, 9.0, 0.0, height), strict=True):
        axes.annotate(series.label, (point.at, point.value), xytext=(1.0, 1 - y / height), textcoords="axes fraction",
                      va="center", fontsize=7, color=INK, annotation_clip=False,
                      arrowprops={"arrowstyle": "-", "color": _look(series.kind)[0], "linewidth": 0.7, "shrinkB": 3,
                                  "relpos": (0.0, 0.5)})  # fmt: skip


def _loops(axes: Axes, chart: Chart) -> None:
    """Under a nested-loop picture, the value that each dial has in each cell."""
    axes.set_xticks([])
    scale = 1 / _height(chart)
    for row, loop in enumerate(chart.loops):
        foot, most = -scale * 22 * (row + 1), max(len(loop.names) - 1, 1)
        steps = [foot + scale * 9 * level / most for level in loop.levels]
        axes.step(range(len(steps)), steps, where="mid", color=INK, linewidth=0.8, clip_on=False,
                  transform=axes.get_xaxis_transform())  # fmt: skip
        axes.text(0, foot + scale * 11, f"{loop.name}: {', '.join(loop.names)}", transform=axes.transAxes, fontsize=6.5,
                  color=SOFT)  # fmt: skip


def _across(axes: Axes, chart: Chart, panel: Facet) -> None:
    """Values from left to right, one row a place: dots and zips."""
    _marks(chart.values, axes.set_xticks, axes.set_xlim)
    _marks(chart.places, axes.set_yticks, axes.set_ylim, turned=True)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT)
    axes.set_xlabel(chart.values.label)
    for reference in chart.references:
        axes.axvline(reference.value, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    for series in panel.series:
        colour, marker = _look(series.kind)
        for point in series.points:
            missed = chart.form == "zip" and point.clear
            axes.plot([point.low, point.high], [point.at] * 2, color=RED if missed else colour, zorder=2,
                      linewidth=0.6 if chart.form == "zip" else 1.1)  # fmt: skip
            if chart.form == "dots":
                axes.plot([point.value], [point.at], marker=marker, markersize=4, markeredgewidth=0.9, color=colour,
                          markerfacecolor=colour if point.clear else "white", linestyle="", zorder=3)  # fmt: skip
