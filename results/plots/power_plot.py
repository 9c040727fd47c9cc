"""The power curve: simulated powers with their Monte Carlo errors, the fitted curve, the detectable effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure as Canvas

from results.plots.paper import BLUE, INK, RED, SOFT, draw, frame, mark, span
from results.text import number

NAME = "power"
SIZE = 518.4, 230.0  # points
TWO = 1.96


@dataclass(frozen=True, slots=True)
class PowerPlot:
    """Simulated effects (D,) with powers and Monte Carlo errors, and what is marked.

    curve: points (effect, power) of the fitted curve. estimate: the claim's. detectable: the effect that is found with
    the power `wanted`.
    """

    effects: Sequence[float]
    powers: Sequence[float]
    mcse: Sequence[float]
    curve: Sequence[tuple[float, float]]
    estimate: float
    detectable: float
    wanted: float


def power_figure(plot: PowerPlot) -> str:
    """The figure as an SVG element, the same bytes for the same numbers."""
    title = "Power by the size of the true effect"
    told = "; ".join(f"effect {number(x, 3)}: power {y:.1%}" for x, y in zip(plot.effects, plot.powers, strict=True))
    said = f"{told}; effect detected with a power of {plot.wanted:.0%}: {number(plot.detectable, 3)}."
    return draw(NAME, SIZE, title, said, partial(_paint, plot=plot, title=title))


def _paint(canvas: Canvas, plot: PowerPlot, title: str) -> dict[str, str]:
    axes = frame(canvas, (0.09, 0.18, 0.88, 0.7), title)
    axes.set(
        xlim=span(plot.effects, [0.0]), ylim=(0.0, 1.05), xlabel="true effect", ylabel="share of tests that reject"
    )
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.xaxis.set_major_formatter(lambda value, _: number(value, 3))
    axes.grid(axis="y")
    axes.plot([x for x, _ in plot.curve], [y for _, y in plot.curve], color=BLUE, linewidth=1.4, zorder=2, gid="fitted")
    axes.axhline(plot.wanted, color=INK, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
    axes.axvline(plot.estimate, color=RED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1, gid="estimate")
    axes.axvline(plot.detectable, color=SOFT, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1, gid="detectable")
    for x, text in ((plot.estimate, "the estimate"), (plot.detectable, f"power {plot.wanted:.0%}")):
        low = text == "the estimate"
        axes.annotate(text, (x, 0.02 if low else 0.12), xytext=(3, 2), textcoords="offset points", color=INK)
    said = {}
    for k, (x, y, error) in enumerate(zip(plot.effects, plot.powers, plot.mcse, strict=True)):
        axes.plot([x, x], [y - TWO * error, y + TWO * error], color=BLUE, linewidth=1.6, zorder=3, gid=f"whisker-{k}")
        mark(axes, x, y, 0, BLUE, gid=f"point-{k}")
        said[f"point-{k}"] = f"effect {number(x, 3)}: power {y:.1%}"
    return said
