"""Pictures of synthetic controls: observed and synthetic paths of each date of adoption, and weights of control units.

Paths stand over the periods, with the weights of periods as bars below them. Where an estimator has an intercept, a
dotted line is the synthetic path moved to the level that the treated had before adoption: the effect is the mean
distance of the observed path from that line after adoption.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from estimators.synthetic.synthetic_did import SyntheticPath
from results.plots.chart import axis_of, enough_digits, short_label
from results.plots.paper import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    RED,
    SERIES,
    SOFT,
    figure,
    fitted,
    frame,
    handle,
    mark,
    numbered,
    span,
)
from results.tables.records import Figure
from results.tables.typography import heading
from results.text import number
from sim.arrays import Floats
from sim.errors import bad, listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from results.plots.picture import Picture

MOST_DATES = 6
WIDTH, HEIGHT, SMALL_HEIGHT = 518.4, 190.0, 130.0  # points; of the plot of one date, and of one of several
TITLE, HEAD, AXIS, STRIP, LEGEND_LINE = 26.0, 20.0, 24.0, 22.0, 13.0  # points above, around and below the plots
LEFT, RIGHT = 42.0, 8.0  # points beside a plot
LEAST_DRAWN = 5e-5  # weights below have no mark
ROW, LETTER = 11.0, 4.4  # points of a row of weights, and of a letter of its label
WEIGHTS = "synthetic-weights"  # name of the figure of unit weights


@dataclass(frozen=True, eq=False, slots=True)
class SyntheticPlot:
    """What the figure shows of one estimator on one panel.

    kind: of the estimator. paths: one a date of adoption. periods (T,): as the panel names them. outcome: its name.
    adjusted: covariates that were taken out of the outcome.
    """

    kind: str
    paths: tuple[SyntheticPath, ...]
    periods: tuple[int, ...]
    outcome: str
    adjusted: tuple[str, ...] = ()

    @property
    def drawn(self) -> tuple[SyntheticPath, ...]:
        """The dates that are drawn, earliest first: those with the most treated cells where there are too many."""
        largest = sorted(self.paths, key=lambda path: -path.treated_cells)[:MOST_DATES]
        return tuple(path for path in self.paths if path in largest)

    @property
    def weighted(self) -> bool:
        """Whether periods before adoption have weights, and so the synthetic path a shift."""
        return any(path.periods.any() for path in self.paths)

    @property
    def title(self) -> str:
        """What the figure is called."""
        return f"{heading(self.kind, None)}: observed and synthetic {self.outcome}"

    @property
    def caption(self) -> str:
        """What is drawn, in sentences."""
        treated = sum(len(path.treated) for path in self.paths)
        many, less = "s" * (treated != 1), f", less {listed(self.adjusted)}" if self.adjusted else ""
        said = [f"Mean of {self.outcome} of {treated} treated unit{many} and of their synthetic controls{less}; the "
                "dashed line stands before the first treated period."]  # fmt: skip
        if self.weighted:
            said.append("Dotted: the synthetic path moved to the level of the treated before adoption, over the "
                        "weighted periods; the effect is the mean distance from it after adoption. Bars: weights of "
                        "the periods.")  # fmt: skip
        else:
            said.append("The effect is the mean distance of the two paths after adoption.")
        if len(self.drawn) < len(self.paths):
            said.append(f"{len(self.drawn)} of {len(self.paths)} dates of adoption are drawn, those with the most "
                        "treated unit-periods.")  # fmt: skip
        return " ".join(said)

    @property
    def alt(self) -> str:
        """The same with the numbers that are drawn, for those who do not see it."""
        told = [self.caption]
        for path in self.drawn:
            paths = zip(self.periods, path.observed.tolist(), path.synthetic.tolist(), strict=True)
            digits = enough_digits(span([*path.observed.tolist(), *path.synthetic.tolist()], []))
            said = "; ".join(f"{period}: {number(y, digits)} and {number(z, digits)}" for period, y, z in paths)
            shifted = f", shift {number(path.shift)}" if self.weighted else ""
            told.append(f"Treated from {path.adopted}: effect {number(path.estimate)}{shifted}; "
                        f"observed and synthetic {said}.")  # fmt: skip
        return " ".join(told)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of plots."""
        columns = 1 if len(self.drawn) == 1 else 2
        return math.ceil(len(self.drawn) / columns), columns

    @property
    def block(self) -> tuple[float, float]:
        """Height of the plot of paths and of all that belongs to one date, in points."""
        plot = HEIGHT if len(self.drawn) == 1 else SMALL_HEIGHT
        return plot, HEAD + plot + AXIS + STRIP * self.weighted

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, in points."""
        return WIDTH, TITLE + self.shape[0] * self.block[1] + LEGEND_LINE * (4 if self.weighted else 2) + 6


def paths_figure(plot: SyntheticPlot) -> Figure:
    """The figure of one estimator, the same bytes for the same numbers; raises BadInput without a date."""
    _check(plot.paths, "date of adoption")
    name = f"paths-{plot.kind}"
    return figure(name, plot.size, plot.title, plot.caption, partial(_paint, plot=plot), plot.alt)


def paths_picture(plot: SyntheticPlot) -> Picture:
    """The same as a figure of matplotlib, to show, to change and to save; raises BadInput without a date."""
    _check(plot.paths, "date of adoption")
    from results.plots.picture import picture  # matplotlib is slow to import

    return picture(f"paths-{plot.kind}", plot.alt, plot.size, partial(_paint, plot=plot))


def _check(shown: Sequence[object], what: str) -> None:
    if not shown:
        raise bad(f"no {what}", where="figure of synthetic controls", allowed="one or more",
                  remedy="draw what an estimator's `paths` returns")  # fmt: skip


def _paint(canvas: Canvas, plot: SyntheticPlot) -> dict[str, str]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    (width, height), (_, columns), (tall, block) = plot.size, plot.shape, plot.block
    text, size = fitted(plot.title, 9.5, 0.98 * width)
    canvas.text(0.01, 1 - 14 / height, text, fontsize=size, fontweight="bold", color=INK)
    said: dict[str, str] = {}
    for index, path in enumerate(plot.drawn):
        row, column = divmod(index, columns)
        top = height - TITLE - row * block - HEAD
        marks = axis_of("", *span([*path.observed.tolist(), *path.synthetic.tolist()], [])).ticks
        beside = max(LEFT, 10.0 + LETTER * max(len(text) for _, text in marks))
        left, wide = column * width / columns + beside, width / columns - beside - RIGHT
        who = short_label(path.treated[0]) if len(path.treated) == 1 else f"{len(path.treated)} units"
        title = f"{who} from {path.adopted}: effect {number(path.estimate)}"
        axes = frame(canvas, (left / width, (top - tall) / height, wide / width, tall / height), title)
        said |= _paths(axes, plot, path, index)
        if plot.weighted:
            below = (left / width, (top - tall - STRIP) / height, wide / width, (STRIP - 7) / height)
            said |= _weights(canvas.add_axes(below, facecolor="none", sharex=axes), plot, path, index)
            axes.tick_params(axis="x", length=0, labelbottom=False)
    # the legend: what each line is, and the bars
    several = max(len(path.treated) for path in plot.paths) > 1
    keys: list[Any] = [
        Line2D([], [], color=BLUE, linewidth=1.4, label=f"observed{', mean of the treated' * several}"),
        Line2D([], [], color=RED, linewidth=1.4, label="synthetic: weighted mean of controls"),
    ]
    if plot.weighted:
        keys += [
            Line2D([], [], color=RED, linewidth=1.1, linestyle=(0, (1, 1.6)),
                   label="synthetic, moved to the level of the treated before adoption"),
            Patch(facecolor=ORANGE, linewidth=0, label="weights of periods (below, the largest is named)"),
        ]  # fmt: skip
    canvas.legend(handles=keys, loc="lower left", bbox_to_anchor=(0.07, 0.0), borderaxespad=0.2)
    return said


def _paths(axes: Axes, plot: SyntheticPlot, path: SyntheticPath, index: int) -> dict[str, str]:
    """The lines of one date and a mark a period, which tells its value."""
    from matplotlib.ticker import MaxNLocator

    periods = np.array(plot.periods)
    lines: dict[str, tuple[Floats, str]] = {"observed": (path.observed, BLUE), "synthetic": (path.synthetic, RED)}
    said, digits = {}, enough_digits(span([*path.observed.tolist(), *path.synthetic.tolist()], []))
    for name, (values, colour) in lines.items():
        axes.plot(periods, values, color=colour, linewidth=1.4, zorder=3, gid=f"{name}-{index}")
        for at, (period, value) in enumerate(zip(plot.periods, values.tolist(), strict=True)):
            axes.plot([period], [value], linestyle="", marker="o", markersize=2.2, color=colour, zorder=4,
                      gid=f"{name}-{index}-at-{at}")  # fmt: skip
            said[f"{name}-{index}-at-{at}"] = f"{period}, {name}: {number(value, digits)}"
    shifted = path.synthetic + path.shift
    if plot.weighted:
        axes.plot(periods, shifted, color=RED, linewidth=1.1, linestyle=(0, (1, 1.6)), zorder=2, gid=f"shifted-{index}")
    start = int(np.searchsorted(periods, path.adopted))
    axes.axvline(float(periods[start - 1 : start + 1].mean()), color=SOFT, linewidth=0.8, linestyle=(0, (4, 4)),
                 zorder=1, gid=f"adoption-{index}")  # fmt: skip
    shown = [*path.observed.tolist(), *path.synthetic.tolist(), *(shifted.tolist() if plot.weighted else [])]
    room = 0.5 * float(np.diff(periods).min())
    axes.set(xlim=(periods[0] - room, periods[-1] + room), ylim=span(shown, shown[:1]))
    axes.xaxis.set_major_locator(MaxNLocator(10 if plot.shape[1] == 1 else 5, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    numbered(axes.yaxis)
    axes.grid(axis="y")
    return said


def _weights(axes: Axes, plot: SyntheticPlot, path: SyntheticPath, index: int) -> dict[str, str]:
    """Bars of the periods' weights below the paths."""
    top, said = float(path.periods.max()), {}
    width = 0.8 * float(np.diff(plot.periods).min())
    for at in np.flatnonzero(path.periods > 0):
        gid = f"weight-{index}-at-{at}"
        (bar,) = axes.bar([plot.periods[at]], [path.periods[at]], width=width, color=ORANGE, linewidth=0)
        bar.set_gid(gid)
        said[gid] = f"{plot.periods[at]}: weight {path.periods[at]:.3f}"
    axes.set(ylim=(0.0, 1.05 * top), yticks=[top])
    axes.set_yticklabels([f"{top:.2f}"])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    return said


# Weights of control units: a row a unit, a marker an estimator.


@dataclass(frozen=True, eq=False, slots=True)
class WeightsPlot:
    """What the figure of unit weights shows. weights: of some control units, by the kind of the estimator and by unit,
    the same units in each; rest: by kind, the weight of all others. outcome: its name."""

    weights: Mapping[str, Mapping[str, float]]
    rest: Mapping[str, float]
    outcome: str

    @property
    def units(self) -> tuple[str, ...]:
        """The rows, from above."""
        return tuple(next(iter(self.weights.values()), {}))

    @property
    def title(self) -> str:
        """What the figure is called."""
        return f"Weights of control units in the synthetic {self.outcome}"

    @property
    def caption(self) -> str:
        """What is drawn, in a sentence, and what the units that are left out have."""
        rest = "; ".join(f"{heading(kind, None)} {share:.3f}" for kind, share in self.rest.items())
        return f"A row a control unit, the heaviest first; no mark: no weight. Weight of all other units: {rest}."

    @property
    def alt(self) -> str:
        """The same with the weights, for those who do not see it."""
        said = (f"{heading(kind, None)}: "
                + ", ".join(f"{unit} {weight:.3f}" for unit, weight in own.items() if weight >= LEAST_DRAWN)
                for kind, own in self.weights.items())  # fmt: skip
        return f"{self.caption} {'; '.join(said)}."

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, in points."""
        return WIDTH, TITLE + ROW * len(self.units) + 36.0 + LEGEND_LINE * len(self.weights) + 6


def weights_figure(plot: WeightsPlot) -> Figure:
    """The figure, the same bytes for the same numbers; raises BadInput without a unit."""
    _check(plot.units, "control unit")
    return figure(WEIGHTS, plot.size, plot.title, plot.caption, partial(_paint_weights, plot=plot), plot.alt)


def weights_picture(plot: WeightsPlot) -> Picture:
    """The same as a figure of matplotlib; raises BadInput without a unit."""
    _check(plot.units, "control unit")
    from results.plots.picture import picture

    return picture(WEIGHTS, plot.alt, plot.size, partial(_paint_weights, plot=plot))


def _paint_weights(canvas: Canvas, plot: WeightsPlot) -> dict[str, str]:
    from matplotlib.ticker import MaxNLocator

    width, height = plot.size
    labels = [short_label(unit) for unit in plot.units]
    wide = [
        sum(1.8 if ord(letter) > 0x2E7F else 1.0 for letter in label) for label in labels
    ]  # Chinese ones nearly two
    left = 12.0 + LETTER * max(wide)
    rows = ROW * len(labels)
    box = (left / width, (height - TITLE - rows) / height, (width - left - RIGHT) / width, rows / height)
    axes, said = frame(canvas, box, plot.title), {}
    for index, (kind, own) in enumerate(plot.weights.items()):
        off = 0.18 * (index - (len(plot.weights) - 1) / 2)  # markers of equal weights stand above each other
        for at, (unit, weight) in enumerate(own.items()):
            if weight >= LEAST_DRAWN:
                gid = f"unit-{at}-{index}"
                mark(axes, weight, at + off, index, SERIES[index], gid=gid)
                said[gid] = f"{unit}, {heading(kind, None)}: {weight:.3f}"
    top = max((weight for own in plot.weights.values() for weight in own.values()), default=1.0)
    axes.set(xlim=(-0.02 * top, 1.05 * top), ylim=(len(labels) - 0.5, -0.5), xlabel="weight")
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: number(value, 3))
    axes.grid(axis="both")
    keys = [handle(index, SERIES[index], heading(kind, None)) for index, kind in enumerate(plot.weights)]
    canvas.legend(handles=keys, loc="lower left", bbox_to_anchor=(0.0, 0.0), borderaxespad=0.2)
    return said
