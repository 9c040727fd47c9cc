"""rho and direct, indirect and total effects over distance cut-offs, with 95% intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from results.plots.paper import BLUE, INK, figure, frame, span
from results.tables.records import Figure
from results.text import number
from sim.arrays import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

WIDTH, HEIGHT = 518.4, 300.0  # points
PLACES = ((0.09, 0.58, 0.38, 0.32), (0.60, 0.58, 0.38, 0.32), (0.09, 0.11, 0.38, 0.32), (0.60, 0.11, 0.38, 0.32))
NAMES = {"rho": "ρ", "direct": "direct effect", "indirect": "indirect effect", "total": "total effect"}


@dataclass(frozen=True, eq=False, slots=True)
class CutoffPlot:
    """What the figure shows.

    outcome, treatment: their names. cutoffs (C,): in km. series: rho, direct, indirect, total, each (C, 3) of estimate
    and interval. errors: the error type, in words.
    """

    outcome: str
    treatment: str
    cutoffs: tuple[float, ...]
    series: Mapping[str, Floats]
    errors: str

    @property
    def title(self) -> str:
        """What the figure is called."""
        return f"SDM of {self.outcome} on {self.treatment} by distance cut-off"

    @property
    def caption(self) -> str:
        """What is drawn, in sentences."""
        return (f"ρ and the effects of {self.treatment} on {self.outcome} under W of all units within a distance; bars "
                f"are 95% intervals, errors {self.errors}.")  # fmt: skip

    @property
    def alt(self) -> str:
        """The same with numbers, for those who do not see it."""
        said = (f"{NAMES[name]} {', '.join(f'{km:g} km {number(float(row[0]), 3)}' for km, row in pairs)}"
                for name, values in self.series.items()
                for pairs in [list(zip(self.cutoffs, values, strict=True))])  # fmt: skip
        return f"{self.caption} {'; '.join(said)}."


def cutoff_figure(plot: CutoffPlot) -> Figure:
    """The figure, the same bytes for the same numbers."""
    return figure("cutoffs", (WIDTH, HEIGHT), plot.title, plot.caption, partial(_paint, plot=plot), plot.alt)


def _paint(canvas: Canvas, plot: CutoffPlot) -> dict[str, str]:
    for place, (name, values) in zip(PLACES, plot.series.items(), strict=True):
        axes = frame(canvas, place, NAMES[name])
        axes.errorbar(plot.cutoffs, values[:, 0], yerr=abs(values[:, 1:] - values[:, :1]).T, color=BLUE, marker="o",
                      markersize=3.5, linewidth=1.4, capsize=2.5)  # fmt: skip
        axes.axhline(0.0, color=INK, linewidth=0.9, zorder=1)
        axes.set_xlabel("cut-off (km)")
        axes.set_ylim(*span(values.ravel().tolist(), [0.0]))
        axes.yaxis.set_major_formatter(lambda value, _: number(value, 3))
        axes.grid(axis="y")
    return {}
