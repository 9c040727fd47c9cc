"""The placebo picture that papers print: density and p values of the placebo estimates, and the real estimate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from results.plots.paper import BLUE, INK, RED, RUST, SOFT, draw, frame, span
from results.tables.records import LEVEL
from results.tables.typography import probability
from results.text import number
from sim.arrays import Codes, Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

NAME = "placebo"
SIZE = 518.4, 302.4  # points
BOX = 0.09, 0.14, 0.82, 0.77
CURVE_POINTS = 241
MOST_POINTS = 1500  # p values drawn; more would hide one another


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
    def standing(self) -> tuple[str, float, str]:
        """What is said of the estimate among its placebos: in words, as a number, and the number as it is printed."""
        if self.share is None:
            return "permutation p", self.permutation_p, probability(self.permutation_p)
        return "share of placebos as large", self.share, f"{self.share:.4f}"


def placebo_figure(plot: PlaceboPlot) -> str:
    """The figure as an SVG document, the same bytes for the same numbers."""
    title = f"Placebo estimates of {plot.term} ({plot.estimator}, scheme {plot.scheme})"
    said, count = "No placebo could be fitted.", len(plot.placebos)
    chosen = np.unique(np.linspace(0, max(count - 1, 0), min(count, MOST_POINTS)).astype(np.intp))  # evenly spaced ones
    known = chosen[np.isfinite(plot.pvalues[chosen])]
    if count:
        name, value, _ = plot.standing
        whose = f"whose {name}" if plot.share is None else f"the {name}"
        quantiles = ", ".join(number(value) for value in np.quantile(plot.placebos, [0.025, 0.5, 0.975]))
        some = f"s of {len(known):,} as points" if len(known) < count else " of each as a point"
        points = f" with the p value{some}" if len(known) else ""
        said = (
            f"Density of {count:,} placebo estimates (2.5%, 50%, 97.5% quantiles {quantiles}){points}; the "
            f"vertical line is the real estimate, {number(plot.estimate)}, {whose} is {value:.4g}."
        )
    return draw(NAME, SIZE, title, said, partial(_paint, plot=plot, known=known, title=title)) + "\n"


def _paint(canvas: Canvas, plot: PlaceboPlot, known: Codes, title: str) -> dict[str, str]:
    low, high = span(plot.placebos.tolist(), [0.0, plot.estimate])
    where, density = _density(plot.placebos, low, high)
    axes = frame(canvas, BOX, title)
    axes.set(xlim=(low, high), xlabel="placebo estimate", ylabel="density of placebo estimates")
    axes.set_ylim(0.0, 1.08 * float(density.max()) if density.max() > 0 else 1.0)
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    axes.grid(axis="x")
    axes.fill_between(where, density, color=BLUE, alpha=0.12, linewidth=0, zorder=1)
    axes.plot(where, density, color=BLUE, linewidth=1.5, zorder=4, gid="density")
    # a point a placebo on the right scale, and the level at which they are significant
    right = axes.twinx()
    right.spines[["top", "left"]].set_visible(False)
    right.set(ylim=(0.0, 1.0), ylabel="p value of each placebo")
    right.plot(plot.placebos[known], plot.pvalues[known], linestyle="", marker="o", markersize=2.6, color=SOFT,
               markerfacecolor="none", markeredgewidth=0.5, alpha=0.6, zorder=2, gid="p-values")  # fmt: skip
    right.axhline(LEVEL, color=INK, linewidth=0.8, linestyle=(0, (2, 3)), zorder=3)
    right.annotate(f"p = {LEVEL:g}", (0.0, LEVEL), xycoords=("axes fraction", "data"), xytext=(3, 2),
                   textcoords="offset points")  # fmt: skip
    # the line of the real estimate, its label on the side with more room
    (name, _, text), left_half = plot.standing, plot.estimate < (low + high) / 2
    axes.axvline(plot.estimate, color=RED, linewidth=1.5, linestyle=(0, (5, 3)), zorder=5, gid="real")
    stands = f"< {text[1:]}" if text.startswith("<") else f"= {text}"
    axes.annotate(f"real estimate {number(plot.estimate)}, {name} {stands}", (plot.estimate, 0.97),
                  xycoords=("data", "axes fraction"), xytext=(5 if left_half else -5, 0), textcoords="offset points",
                  ha="left" if left_half else "right", va="top", color=RUST, fontweight="bold", zorder=6)  # fmt: skip
    return {"density": "density of placebo estimates", "p-values": "p value of each placebo", "real": "real estimate"}


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
    if high - low > width * CURVE_POINTS:  # far outliers: points where the placebos are, too
        near = values[:, None] + width * np.linspace(-4.0, 4.0, 9)
        grid = np.union1d(grid, np.quantile(near, np.linspace(0.0, 1.0, CURVE_POINTS)).clip(low, high))
    kernels = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2)
    return grid, kernels.sum(axis=1) / (len(values) * width * np.sqrt(2 * np.pi))
