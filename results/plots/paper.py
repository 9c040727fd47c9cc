"""What all figures share: a white ground and greys that are read on it, colours, markers, one way to an SVG.

No grey has a contrast of 4.5 to light and to dark pages, so that a figure brings its ground along. The palette is that
of Okabe and Ito, which colour-blind readers tell apart; every series has a marker of its own as well. Text stays text,
so that any viewer with a Chinese font shows Chinese names. The same numbers are the same bytes: ids come from the
figure's name, and the file holds no date. Matplotlib, which is slow to import, is imported when something is drawn.
"""

from __future__ import annotations

import io
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from html import escape
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from results.plots.chart import enough_digits, short_label
from results.tables.records import Figure
from results.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Canvas

INK, SOFT, FAINT = "#4a5563", "#5a6675", "#7d879355"  # of words and main lines, of scales, of grids
BLUE, RED, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
SERIES = (BLUE, RED, GREEN, PURPLE)
RUST = "#b34f00"  # of words on what is red, which is too light for letters
LINES = (*SERIES, ORANGE, SKY, INK)  # of pictures with more lines, which are named at their ends
MARKERS = ("o", "s", "D", "^", "v", "<", ">")
CHINESE = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "SimHei",
           "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Arial Unicode MS")  # fmt: skip
LATIN = "DejaVu Sans"
IDEOGRAPH = re.compile("[\u4e00-\u9fff]")
FAMILIES = ", ".join([f"'{name}'" for name in (LATIN, "Helvetica Neue", "Arial", *CHINESE)] + ["sans-serif"])
SIZE = 7.5  # of letters, in points
BOLD, SMALLEST = 0.64, 0.7  # width of a bold letter, and of the smallest title, over the size of letters
INCH = 72.0  # points
DOTS_PER_INCH = 300

type Paint = Callable[[Canvas], Mapping[str, str]]


def draw(name: str, size: tuple[float, float], title: str, description: str, paint: Paint) -> str:
    """An SVG of a width and height in points, whose title and description are read out.

    paint: draws on the canvas and returns what is said of artists, by the id (gid) that it has given them.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    with house_style(name):
        canvas = Canvas(figsize=(size[0] / INCH, size[1] / INCH), facecolor="white")
        FigureCanvasSVG(canvas)
        said = paint(canvas)
        if not isinstance(said, Mapping):
            raise TypeError(f"paint returned {said!r:.40}, no dict of what is said of artists by their ids")
        file = io.StringIO()
        canvas.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    # the svg element alone, with its title and description read out, and what is said of single artists
    svg = file.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r"font-family: [^;]*; ", "", body)
    opening = f'<svg role="img" aria-labelledby="{name}-t {name}-d" style="font-family: {FAMILIES}"'
    end = body.index(">") + 1
    texts = f'\n <title id="{name}-t">{escape(title)}</title>\n <desc id="{name}-d">{escape(description)}</desc>'
    told = {gid: f"<title>{escape(text)}</title>" for gid, text in said.items()}
    inside = re.sub(r'<g id="([^"]+)">', lambda found: f"{found[0]}{told.get(found[1], '')}", body[end:])
    inside = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", inside)  # several figures may stand in one page
    return opening + body[len("<svg") : end] + texts + inside


def figure(
    name: str, size: tuple[float, float], title: str, caption: str, paint: Paint, description: str = ""
) -> Figure:  # fmt: skip
    """A picture of a document, which can be drawn again as a pdf or a png; description: what is read out (default: the
    caption)."""
    return Figure(name, title, caption, partial(drawn, name, size, title, description or caption, paint))


def drawn(name: str, size: tuple[float, float], title: str, description: str, paint: Paint, form: str) -> bytes:
    """A picture as svg; a pdf, or a png of 300 dots an inch, on white. The same picture is the same bytes."""
    if form == "svg":
        return draw(name, size, title, description, paint).encode()
    from matplotlib.figure import Figure as Canvas

    with house_style(name):
        canvas = Canvas(figsize=(size[0] / INCH, size[1] / INCH), facecolor="white")
        paint(canvas)
        file = io.BytesIO()
        dated: dict[str, Any] = {"CreationDate": None} if form == "pdf" else {"Software": None}
        canvas.savefig(file, format=form, dpi=DOTS_PER_INCH, metadata=dated)
        check_letters(canvas)
    return file.getvalue()


def frame(canvas: Canvas, box: tuple[float, float, float, float], title: str = "") -> Axes:
    """Axes in a box (left, bottom, width, height, shares of the canvas) without lines above and on the right."""
    axes = canvas.add_axes(box, facecolor="none")
    text, size = fitted(title, SIZE + 1.5, INCH * canvas.get_figwidth() * box[2])
    axes.set_title(text, fontsize=size)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def fitted(title: str, size: float, room: float) -> tuple[str, float]:
    """A title in one line of so many points, and the size of its letters: smaller than `size` if need be, and where
    that does not do, its middle is left out."""
    text = short_label(" ".join(title.split()), int(room / (BOLD * SMALLEST * size)))
    return text, min(size, room / (BOLD * max(cell_len(text), 1)))


def mark(axes: Axes, x: float, y: float, kind: int, colour: str, *, hollow: bool = False, gid: str = "") -> None:
    """One marker of a series; gid: its id, under which something can be said of it."""
    axes.plot([x], [y], linestyle="", marker=MARKERS[kind], markersize=4.6, markeredgewidth=0.9, color=colour,
              markerfacecolor="none" if hollow else colour, zorder=4, gid=gid or None)  # fmt: skip


def handle(kind: int, colour: str, label: str, *, line: bool = False) -> Any:
    """A marker, on a line or not, with its label in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="-" if line else "", linewidth=1.8, marker=MARKERS[kind], markersize=4.6,
                  color=colour, label=label)  # fmt: skip


def span(values: Sequence[float], always: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis that holds all finite values, and those that must show, with a little room."""
    finite = [value for value in (*values, *always) if math.isfinite(value)]
    low, high = min(finite), max(finite)
    room = 0.04 * (high - low) or 0.01
    return low - room, high + room


def numbered(axis: Axis) -> None:
    """Marks of an axis as numbers of three digits, or as many as tell them apart."""
    axis.set_major_formatter(lambda value, _: number(value, enough_digits(axis.get_majorticklocs().tolist(), 3)))


def chinese_fonts() -> list[str]:
    """The installed fonts with Chinese letters, the best first."""
    return _known_fonts() or _found_fonts()


def _known_fonts() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [each for each in CHINESE if each in installed]


@cache
def _found_fonts() -> list[str]:
    """Those of files that matplotlib's list lacks, which is kept from run to run: a font may be newer."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    listed = {font.fname for font in fontManager.ttflist}
    for path in sorted(set(findSystemFonts()) - listed):
        with suppress(OSError, RuntimeError, ValueError):  # a broken file
            fontManager.addfont(path)
    return _known_fonts()


def check_letters(canvas: Canvas) -> None:
    """Say once where Chinese letters are drawn as empty boxes."""
    from matplotlib.text import Text

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
    import matplotlib

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
