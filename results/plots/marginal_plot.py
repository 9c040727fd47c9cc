"""Effects over the values of a moderator, a line with its pointwise 95% band, and over distance cut-offs of W."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from results.plots.chart import short_label
from results.plots.paper import BLUE, INK, SOFT, figure, frame, numbered, span
from results.tables.records import Figure
from results.text import number
from sim.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

WIDTH, HEIGHT = 518.4, 240.0  # points
SHOWN = 5  # values that are read out


@dataclass(frozen=True, eq=False, slots=True)
class MarginalPlot:
    """What the figure shows.

    moderator, outcome: their names. values (V,): of the moderator, ascending. effect, lower, upper (V,): with the ends
    of pointwise intervals. quantiles: the moderator's 10%, 50% and 90% quantiles. errors: the error type, in words.
    number: of the column.
    """

    moderator: str
    outcome: str
    values: Floats
    effect: Floats
    lower: Floats
    upper: Floats
    quantiles: tuple[float, ...]
    errors: str
    number: int = 1


def marginal_figure(plot: MarginalPlot) -> Figure:
    """The figure of one moderator, the same bytes for the same numbers."""
    title = f"Effect on {plot.outcome} by {short_label(plot.moderator)}"
    caption = (f"Effect of the treatment on {plot.outcome} over the observed values of {plot.moderator}; the band "
               f"holds pointwise 95% intervals, errors {plot.errors}. Dashed lines stand at the 10%, 50% and 90% "
               f"quantiles of {plot.moderator}.")  # fmt: skip
    step = max(1, (len(plot.values) - 1) // (SHOWN - 1))
    read_out = (f"at {number(float(plot.values[i]), 3)}: {number(float(plot.effect[i]), 3)} "
                f"[{number(float(plot.lower[i]), 3)}, {number(float(plot.upper[i]), 3)}]"
                for i in range(0, len(plot.values), step))  # fmt: skip
    alt = f"{caption} Effect {'; '.join(read_out)}."
    paint = partial(_paint, plot=plot, title=title, caption=caption)
    return figure(f"marginal-effect-{plot.number}", (WIDTH, HEIGHT), title, caption, paint, alt)


def _paint(canvas: Canvas, plot: MarginalPlot, title: str, caption: str) -> dict[str, str]:
    axes = frame(canvas, (0.09, 0.16, 0.89, 0.72), title)
    axes.fill_between(plot.values, plot.lower, plot.upper, color=BLUE, alpha=0.18, linewidth=0, zorder=2)
    axes.plot(plot.values, plot.effect, color=BLUE, linewidth=1.8, zorder=3, gid="effect")
    axes.axhline(0.0, color=INK, linewidth=0.9, zorder=1)
    for value in plot.quantiles:
        axes.axvline(value, color=SOFT, linewidth=0.8, linestyle=(0, (4, 4)), zorder=1)
    axes.set(xlim=(float(plot.values[0]), float(plot.values[-1])), xlabel=plot.moderator)
    axes.set_ylim(*span([*plot.lower.tolist(), *plot.upper.tolist()], [0.0]))
    numbered(axes.xaxis)
    numbered(axes.yaxis)
    axes.grid(axis="y")
    return {"effect": caption}


# rho and direct, indirect and total effects over distance cut-offs, with 95% intervals.


FOUR_SIZE = 518.4, 300.0  # points
PLACES = ((0.09, 0.58, 0.38, 0.32), (0.60, 0.58, 0.38, 0.32), (0.09, 0.11, 0.38, 0.32), (0.60, 0.11, 0.38, 0.32))
NAMES = {"rho": "ρ", "direct": "direct effect", "indirect": "indirect effect", "total": "total effect"}


def cutoff_figure(outcome: str, treatment: str, cutoffs: tuple[float, ...], series: Mapping[str, Floats],
                  errors: str) -> Figure:  # fmt: skip
    """The figure, the same bytes for the same numbers.

    outcome, treatment: their names. cutoffs (C,): in km. series: rho, direct, indirect, total, each (C, 3) of estimate
    and interval. errors: the error type, in words.
    """
    title = f"SDM of {outcome} on {treatment} by distance cut-off"
    caption = (f"ρ and the effects of {treatment} on {outcome} under W of all units within a distance; bars "
               f"are 95% intervals, errors {errors}.")  # fmt: skip
    read_out = (f"{NAMES[name]} {', '.join(f'{km:g} km {number(float(row[0]), 3)}' for km, row in pairs)}"
                for name, values in series.items()
                for pairs in [list(zip(cutoffs, values, strict=True))])  # fmt: skip
    alt = f"{caption} {'; '.join(read_out)}."
    paint = partial(_paint_cutoffs, cutoffs=cutoffs, series=series)
    return figure("cutoffs", FOUR_SIZE, title, caption, paint, alt)


def _paint_cutoffs(canvas: Canvas, cutoffs: tuple[float, ...], series: Mapping[str, Floats]) -> dict[str, str]:
    for place, (name, values) in zip(PLACES, series.items(), strict=True):
        axes = frame(canvas, place, NAMES[name])
        axes.errorbar(cutoffs, values[:, 0], yerr=abs(values[:, 1:] - values[:, :1]).T, color=BLUE, marker="o",
                      markersize=3.5, linewidth=1.4, capsize=2.5)  # fmt: skip
        axes.axhline(0.0, color=INK, linewidth=0.9, zorder=1)
        axes.set_xlabel("cut-off (km)")
        axes.set_ylim(*span(values.ravel().tolist(), [0.0]))
        axes.yaxis.set_major_formatter(lambda value, _: number(value, 3))
        axes.grid(axis="y")
    return {}
