"""The effect of a treatment over the values of a moderator: a line with its pointwise 95% band."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from results.plots.chart import short_label
from results.plots.paper import BLUE, INK, SOFT, figure, frame, span
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

    @property
    def name(self) -> str:
        """Of its file."""
        return f"marginal-effect-{self.number}"

    @property
    def title(self) -> str:
        """What the figure is called."""
        return f"Effect on {self.outcome} by {short_label(self.moderator)}"

    @property
    def caption(self) -> str:
        """What is drawn, in sentences."""
        return (f"Effect of the treatment on {self.outcome} over the observed values of {self.moderator}; the band "
                f"holds pointwise 95% intervals, errors {self.errors}. Dashed lines stand at the 10%, 50% and 90% "
                f"quantiles of {self.moderator}.")  # fmt: skip

    @property
    def alt(self) -> str:
        """The same with numbers, for those who do not see it."""
        step = max(1, (len(self.values) - 1) // (SHOWN - 1))
        said = (f"at {number(float(self.values[i]), 3)}: {number(float(self.effect[i]), 3)} "
                f"[{number(float(self.lower[i]), 3)}, {number(float(self.upper[i]), 3)}]"
                for i in range(0, len(self.values), step))  # fmt: skip
        return f"{self.caption} Effect {'; '.join(said)}."


def marginal_figure(plot: MarginalPlot) -> Figure:
    """The figure of one moderator, the same bytes for the same numbers."""
    return figure(plot.name, (WIDTH, HEIGHT), plot.title, plot.caption, partial(_paint, plot=plot), plot.alt)


def _paint(canvas: Canvas, plot: MarginalPlot) -> dict[str, str]:
    axes = frame(canvas, (0.09, 0.16, 0.89, 0.72), plot.title)
    axes.fill_between(plot.values, plot.lower, plot.upper, color=BLUE, alpha=0.18, linewidth=0, zorder=2)
    axes.plot(plot.values, plot.effect, color=BLUE, linewidth=1.8, zorder=3, gid="effect")
    axes.axhline(0.0, color=INK, linewidth=0.9, zorder=1)
    for value in plot.quantiles:
        axes.axvline(value, color=SOFT, linewidth=0.8, linestyle=(0, (4, 4)), zorder=1)
    axes.set(xlim=(float(plot.values[0]), float(plot.values[-1])), xlabel=plot.moderator)
    axes.set_ylim(*span([*plot.lower.tolist(), *plot.upper.tolist()], [0.0]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: number(value, 3))
    axes.grid(axis="y")
    return {"effect": plot.caption}
