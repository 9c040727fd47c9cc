"""The placebo picture that papers print: density and p values of the placebo estimates, and the real estimate.

One SVG that needs nothing else; text stays text, and the colours are those of the report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from results.report.svg import span, ticks

Floats = NDArray[np.float64]
Place = Callable[[float], float]

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, FOOT = 64, 656, 40, 352
CURVE_POINTS = 241
MOST_POINTS = 1500  # p values drawn; more would hide one another
LEVEL = 0.05
STYLE = """
.paper { fill: #ffffff; } text { fill: #1b2430; font-size: 12px; font-family: system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; } .soft { fill: #5a6675; font-size: 11px; }
.middle { text-anchor: middle; }
.end { text-anchor: end; } .strong { font-weight: 600; } .grid { stroke: #d9dee5; stroke-width: 1; }
.axis { stroke: #1b2430; stroke-width: 1; } .area { fill: #1f5fa8; fill-opacity: .12; stroke: none; }
.curve { fill: none; stroke: #1f5fa8; stroke-width: 2; } .p { fill: none; stroke: #5a6675; stroke-opacity: .55; }
.real { stroke: #b45309; stroke-width: 2; stroke-dasharray: 7 4; } .realtext { fill: #b45309; font-weight: 600; }
.level { stroke: #5a6675; stroke-width: 1; stroke-dasharray: 2 3; }
"""


@dataclass(frozen=True, eq=False, slots=True)
class PlaceboPlot:
    """What the figure shows: the term's real estimate and B placebo estimates with their own p values, (B,) each.

    permutation_p: of the real estimate among its placebos. share: of placebos as large as the estimate, shown in its
    place where they make no test; None = there is a test.
    """

    term: str
    scheme: str
    estimator: str
    estimate: float
    placebos: Floats
    pvalues: Floats
    permutation_p: float
    share: float | None = None

    @property
    def standing(self) -> tuple[str, float]:
        """What is said of the estimate among its placebos, in words and as a number."""
        if self.share is None:
            return "permutation p", self.permutation_p
        return "share of placebos as large", self.share


def placebo_figure(plot: PlaceboPlot) -> str:
    """The figure as an SVG document, the same bytes for the same numbers."""
    low, high = span(plot.placebos.tolist(), [0.0, plot.estimate])
    where, density = _density(plot.placebos, low, high)
    top = 1.08 * float(density.max()) if density.max() > 0 else 1.0

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (RIGHT - LEFT)

    def y(share: float) -> float:
        return FOOT - share * (FOOT - TOP)

    title = f"Placebo estimates of {plot.term} ({plot.estimator}, scheme {plot.scheme})"
    parts = [
        Markup('<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {0} {1}" width="{0}" height="{1}" '
               'aria-labelledby="placebo-t placebo-d">').format(WIDTH, HEIGHT),
        Markup('<title id="placebo-t">{}</title><desc id="placebo-d">{}</desc>').format(title, _description(plot)),
        Markup("<style>{}</style>").format(Markup(STYLE)),
        Markup('<rect class="paper" width="{}" height="{}"/>').format(WIDTH, HEIGHT),
        _text(LEFT, 22, title, "strong"),
        *_axes(low, high, top, x, y),
    ]  # fmt: skip
    line = "L".join(f"{x(a):.2f} {y(b / top):.2f}" for a, b in zip(where, density, strict=True))
    parts.append(Markup('<path class="area" d="M{:.2f} {:.2f}L{}L{:.2f} {:.2f}Z"/>').format(
        x(where[0]), y(0.0), line, x(where[-1]), y(0.0)))  # fmt: skip
    chosen = _spread(len(plot.placebos))
    parts += [
        Markup('<circle class="p" cx="{:.1f}" cy="{:.1f}" r="2"/>').format(x(a), y(b))
        for a, b in zip(plot.placebos[chosen], plot.pvalues[chosen], strict=True)
        if np.isfinite(b)
    ]
    parts.append(Markup('<path class="curve" d="M{}"/>').format(line))
    parts += _real_line(plot, x(plot.estimate))
    parts += _legend()
    parts.append(Markup("</svg>\n"))
    return str(Markup("\n").join(parts))


def _density(values: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """A Gaussian kernel density on a grid; the bandwidth is Silverman's (1986, equation 3.31)."""
    grid = np.linspace(low, high, CURVE_POINTS)
    if len(values) < 2:
        return grid, np.zeros_like(grid)
    quarters = np.quantile(values, [0.25, 0.75])
    sizes = [size for size in (values.std(ddof=1), float(np.diff(quarters)[0]) / 1.34) if size > 0]
    if not sizes:
        return grid, np.zeros_like(grid)
    width = 0.9 * min(sizes) * len(values) ** -0.2
    kernels = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2)
    return grid, kernels.sum(axis=1) / (len(values) * width * np.sqrt(2 * np.pi))


def _axes(low: float, high: float, top: float, x: Place, y: Place) -> list[Markup]:
    parts = []
    for tick in ticks(low, high, 7):
        parts.append(_line("grid", x(tick), x(tick), TOP, FOOT))
        parts.append(_text(x(tick), FOOT + 16, _number(tick), "soft middle"))
    for tick in ticks(0.0, top, 4):
        parts.append(_text(LEFT - 8, y(tick / top) + 4, f"{tick:g}", "soft end"))
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(_text(RIGHT + 8, y(tick) + 4, f"{tick:g}", "soft"))
    parts.append(_line("level", LEFT, RIGHT, y(LEVEL), y(LEVEL)))
    parts.append(_line("axis", LEFT, RIGHT, FOOT, FOOT))
    parts.append(_text((LEFT + RIGHT) / 2, FOOT + 34, "placebo estimate", "soft middle"))
    parts.append(_turned(16, (TOP + FOOT) / 2, "density"))
    parts.append(_turned(WIDTH - 14, (TOP + FOOT) / 2, "p value of each placebo"))
    return parts


def _real_line(plot: PlaceboPlot, at: float) -> list[Markup]:
    right = at < (LEFT + RIGHT) / 2
    name, value = plot.standing
    text = f"estimate {_number(plot.estimate)}, {name} = {value:.4f}"
    return [
        _line("real", at, at, TOP - 4, FOOT),
        _text(at + (6 if right else -6), TOP + 8, text, "realtext" if right else "realtext end"),
    ]


def _legend() -> list[Markup]:
    y = HEIGHT - 14
    return [
        _line("curve", LEFT, LEFT + 22, y - 4, y - 4),
        _text(LEFT + 28, y, "density of placebo estimates", "soft"),
        Markup('<circle class="p" cx="{}" cy="{}" r="2.5"/>').format(LEFT + 210, y - 4),
        _text(LEFT + 218, y, "their p values (right)", "soft"),
        _line("level", LEFT + 342, LEFT + 364, y - 4, y - 4),
        _text(LEFT + 370, y, f"p = {LEVEL:g}", "soft"),
        _line("real", LEFT + 430, LEFT + 452, y - 4, y - 4),
        _text(LEFT + 458, y, "real estimate", "soft"),
    ]


def _description(plot: PlaceboPlot) -> str:
    if not len(plot.placebos):
        return "No placebo could be fitted."
    name, value = plot.standing
    whose = f"whose {name}" if plot.share is None else f"the {name}"
    quantiles = ", ".join(_number(value) for value in np.quantile(plot.placebos, [0.025, 0.5, 0.975]))
    return (
        f"Density of {len(plot.placebos):,} placebo estimates (2.5%, 50%, 97.5% quantiles {quantiles}) with the p "
        f"value of each as a point; the vertical line is the real estimate, {_number(plot.estimate)}, {whose} "
        f"is {value:.4g}."
    )


def _spread(count: int) -> NDArray[np.intp]:
    """Indices of the points to draw: all, or evenly spaced ones of many."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(np.intp)) if count else np.arange(0)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _line(css: str, x1: float, x2: float, y1: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(css, x1, x2, y1, y2)


def _text(x: float, y: float, text: str, css: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(css, x, y, text)


def _turned(x: float, y: float, text: str) -> Markup:
    return Markup('<text class="soft middle" transform="translate({:.1f} {:.1f}) rotate(-90)">{}</text>').format(
        x, y, text
    )
