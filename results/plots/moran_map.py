"""Figure 2: the Moran scatter plot of one year and the map of its local Moran clusters.

Warm colours are high values, cold ones low values, dark where the neighbours are alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from estimators.spatial.lm_tests import QUADRANTS
from results.plots.chart import short_label
from results.plots.paper import BLUE, FAINT, INK, MARKERS, ORANGE, RED, SIZE, SKY, SOFT, figure, frame, handle
from results.tables.records import LEVEL, Figure
from results.tables.typography import short_p
from sim.arrays import Flags, Floats
from sim.errors import listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Outline = tuple[Floats, ...]  # the rings of a unit's polygons, (M, 2) each

NAME = "figure-2"
COLOURS = {"HH": RED, "LL": BLUE, "HL": ORANGE, "LH": SKY}
KINDS = {name: kind for kind, name in enumerate(COLOURS)}  # of markers
WORDS = {"HH": "high-high", "LL": "low-low", "HL": "high-low", "LH": "low-high"}
LABELS_A_QUADRANT = 2


@dataclass(frozen=True, eq=False, slots=True)
class MoranPlot:
    """What the figure shows of N units in one year.

    z: the outcome, standardised, (N,); lag: N/S0 times its spatial lag, (N,), so that the slope of lag on z is I, with
    its p-value `pvalue`. quadrant: codes of QUADRANTS, (N,); pvalues: of local Moran, (N,), and adjusted for the false
    discovery rate; draws: conditional permutations behind them. places: longitude and latitude, (N, 2). outlines: one a
    unit, with those of other units in `surroundings`; degrees or map units.
    """

    units: tuple[str, ...]
    outcome: str
    year: int
    weights: str
    row_stochastic: bool
    index: float
    pvalue: float
    z: Floats
    lag: Floats
    quadrant: NDArray[np.int64]
    pvalues: Floats
    adjusted: Floats
    draws: int
    places: Floats | None = None
    outlines: tuple[Outline, ...] | None = None
    surroundings: tuple[Outline, ...] = ()

    @property
    def clear(self) -> Flags:
        """Units that stand out at the false discovery rate, (N,)."""
        return self.adjusted <= LEVEL

    @property
    def weak(self) -> Flags:
        """Units that stand out only while nobody counts how many were looked at, (N,)."""
        return (self.pvalues <= LEVEL) & ~self.clear

    def of_cluster(self, name: str) -> Flags:
        """The units of a quadrant, HH, LL, HL or LH, significant or not, (N,)."""
        return self.quadrant == next(code for code, own in QUADRANTS.items() if own == name)

    def counts(self, name: str) -> tuple[int, int]:
        """How many units of a quadrant are clear, and how many weak."""
        own = self.of_cluster(name)
        return int((own & self.clear).sum()), int((own & self.weak).sum())

    @property
    def has_map(self) -> bool:
        """Whether there is something to draw a map from."""
        return self.outlines is not None or self.places is not None


def moran_figure(plot: MoranPlot) -> Figure:
    """The figure, the same bytes for the same numbers and fonts."""
    lag = "the mean of its neighbours" if plot.row_stochastic else "its spatial lag times N/S0"
    scatter = (
        f"{plot.outcome} of {plot.year}, standardised, against {lag} (W {plot.weights}"
        f"{', row-standardised' if plot.row_stochastic else ''}); the slope is Moran's I = {plot.index:.3f} "
        f"(p {short_p(plot.pvalue)}, randomisation)."
    )
    counts = ", ".join(f"{plot.counts(name)[0]} + {plot.counts(name)[1]} {WORDS[name]}" for name in COLOURS)
    clusters = (
        f"Local Moran, {plot.draws:,} conditional permutations, units significant at a false discovery rate of "
        f"{LEVEL:.0%} + others with p < .05 before adjustment: {counts}; {len(plot.units)} units in all."
    )
    caption = f"(a) {scatter} (b) {clusters}" if plot.has_map else f"{scatter} {clusters}"
    title = f"Moran scatter plot{' and local Moran clusters' if plot.has_map else ''} of {plot.outcome}, {plot.year}"
    size = (518.4, 280.8) if plot.has_map else (273.6, 302.4)
    named = []  # the units of each cluster, for those who do not see the map
    for tier, chosen in (("", plot.clear), (" before adjustment", plot.weak)):
        for name in COLOURS:
            own = chosen & plot.of_cluster(name)
            units = [unit for unit, inside in zip(plot.units, own, strict=True) if inside]
            named += [f"{WORDS[name].capitalize()}{tier}: {listed(units, 40)}."] if units else []
    return figure(NAME, size, title, caption, partial(_paint, plot=plot), f"{caption} {' '.join(named)}")


def _paint(canvas: Canvas, plot: MoranPlot) -> dict[str, str]:
    if plot.has_map:
        _scatter(frame(canvas, (0.078, 0.225, 0.39, 0.71)), plot)
        _map(frame(canvas, (0.525, 0.165, 0.465, 0.77)), plot)
    else:
        _scatter(frame(canvas, (0.15, 0.28, 0.83, 0.665)), plot)
    clusters = {name: plot.counts(name) for name in COLOURS}
    handles = [handle(KINDS[name], COLOURS[name], f"{WORDS[name].capitalize()} ({clear} + {weak})")
               for name, (clear, weak) in clusters.items()]  # fmt: skip
    rest = handle(0, SOFT, f"Not significant ({int((~plot.clear & ~plot.weak).sum())})")
    rest.set_markersize(3.2)
    hollow = "hollow, on the map hatched" if plot.outlines is not None else "hollow"
    break_line = " " if plot.has_map else "\n"
    key = f"filled: at a false discovery rate of {LEVEL:.0%}{break_line}+ {hollow}: only p < .05 before adjustment"
    canvas.legend(handles=[*handles, rest], loc="lower center", ncols=5 if plot.has_map else 3, title=key,
                  handletextpad=0.2, columnspacing=1.5, borderaxespad=0.2)  # fmt: skip
    return {}


def _points(axes: Axes, plot: MoranPlot, x: Floats, y: Floats) -> None:
    rest = ~plot.clear & ~plot.weak
    axes.scatter(x[rest], y[rest], s=8, color=SOFT, linewidths=0, zorder=3)
    for name, colour in COLOURS.items():
        own = plot.of_cluster(name)
        for chosen, fill in ((own & plot.weak, "none"), (own & plot.clear, colour)):
            axes.scatter(x[chosen], y[chosen], s=15, marker=MARKERS[KINDS[name]], facecolors=fill, edgecolors=colour,
                         linewidths=0.9, zorder=4)  # fmt: skip


def _scatter(axes: Axes, plot: MoranPlot) -> None:
    from matplotlib.patches import Rectangle

    ends = [(float(v.min()) - 0.09 * np.ptp(v), float(v.max()) + 0.09 * np.ptp(v)) for v in (plot.z, plot.lag)]
    (left, right), (low, high) = ends
    axes.set(xlim=(left, right), ylim=(low, high))
    corners = {"HH": (0.985, 0.98), "LH": (0.015, 0.98), "LL": (0.015, 0.02), "HL": (0.985, 0.02)}
    for name, (x, y) in corners.items():
        edge = (right if x > 0.5 else left, high if y > 0.5 else low)
        axes.add_patch(Rectangle((0, 0), *edge, facecolor=COLOURS[name], alpha=0.07, linewidth=0, zorder=0))
        axes.text(x, y, WORDS[name].capitalize(), transform=axes.transAxes, ha="right" if x > 0.5 else "left",
                  va="top" if y > 0.5 else "bottom", color=SOFT, fontsize=SIZE - 0.5, zorder=1)  # fmt: skip
    axes.axhline(0, color=SOFT, linewidth=0.6, zorder=1)
    axes.axvline(0, color=SOFT, linewidth=0.6, zorder=1)
    _points(axes, plot, plot.z, plot.lag)
    line = np.array([left, right])
    axes.plot(line, plot.lag.mean() + plot.index * line, color=INK, linewidth=1.1, zorder=5)
    for text, x, y, side in _labels(axes, plot):
        axes.text(x, y, text, ha=side, va="center", fontsize=SIZE - 1, zorder=6)
    axes.set_xlabel(f"{short_label(plot.outcome)} {plot.year}, standardised (z)")
    scale = "" if plot.row_stochastic else "N/S0 times the "
    axes.set_ylabel(f"{scale}spatial lag of z (W {plot.weights}{', row-standardised' if plot.row_stochastic else ''})")
    axes.set_title(f"{'(a) ' if plot.has_map else ''}Moran scatter plot, slope I = {plot.index:.3f}")


def _labels(axes: Axes, plot: MoranPlot) -> Iterator[tuple[str, float, float, str]]:
    """Text, place and side of the labels of the most notable units of each quadrant, where they cover no other."""
    box = axes.get_window_extent()
    scale = np.array([box.width, box.height]) / axes.get_figure().dpi * 72  # type: ignore[union-attr]
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    points = (np.column_stack([plot.z, plot.lag]) - low) / (high - low) * scale
    corner = np.array([6.0 * SIZE, 1.8 * SIZE])
    starts = np.array([(x, y) for x in (0.0, scale[0] - corner[0]) for y in (0.0, scale[1] - corner[1])])
    taken = np.vstack([np.column_stack([points - 1.6, points + 1.6]), np.column_stack([starts, starts + corner])])
    # the units of each quadrant that weigh most in I, significant ones first
    weight = np.abs(plot.z * plot.lag) + 1e6 * plot.clear + 1e3 * plot.weak
    chosen = [np.flatnonzero(plot.quadrant == code) for code in QUADRANTS]
    for i in [i for own in chosen for i in own[np.argsort(-weight[own], kind="stable")][:LABELS_A_QUADRANT].tolist()]:
        wide = (SIZE - 1) * sum(1.0 if ord(letter) > 0x2E7F else 0.6 for letter in plot.units[i])
        x, y = points[i]
        for right, rise in [(True, 0), (False, 0), (True, 5), (False, 5), (True, -5), (False, -5)]:
            start = x + 3.5 if right else x - 3.5 - wide
            area = np.array([start, y + rise - 3.3, start + wide, y + rise + 3.3])
            inside = (area[:2] >= 0).all() and (area[2:] <= scale).all()
            meets = (taken[:, :2] < area[2:]) & (taken[:, 2:] > area[:2])
            if inside and not meets.all(axis=1).any():
                taken = np.vstack([taken, area])
                at = low + np.array([start if right else start + wide, y + rise]) / scale * (high - low)
                yield plot.units[i], float(at[0]), float(at[1]), "left" if right else "right"
                break


def _map(axes: Axes, plot: MoranPlot) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.ticker import MaxNLocator

    if plot.outlines is not None:
        around = {"facecolor": "none", "edgecolor": FAINT, "linewidth": 0.2, "zorder": 1}
        drawn: list[tuple[Outline, dict[str, Any]]] = [(rings, around) for rings in plot.surroundings]
        for i, rings in enumerate(plot.outlines):
            colour = COLOURS[QUADRANTS[int(plot.quadrant[i])]]
            hatched = {"facecolor": "none", "edgecolor": colour, "hatch": "/" * 8, "zorder": 3}
            solid = {"facecolor": colour if plot.clear[i] else FAINT, "edgecolor": SOFT, "zorder": 2}
            drawn.append((rings, {"linewidth": 0.3} | (hatched if plot.weak[i] else solid)))
        for rings, style in drawn:
            path = Path.make_compound_path(*(Path(ring, closed=True) for ring in rings))
            axes.add_patch(PathPatch(path, **style))
        corners = np.vstack([ring for rings in (*plot.outlines, *plot.surroundings) for ring in rings])
    else:
        assert plot.places is not None
        _points(axes, plot, plot.places[:, 0], plot.places[:, 1])
        corners = plot.places
    low, high = corners.min(axis=0), corners.max(axis=0)
    room = 0.03 * (high - low)
    axes.set(xlim=(low[0] - room[0], high[0] + room[0]), ylim=(low[1] - room[1], high[1] + room[1]))
    degrees = np.abs(corners).max() <= 180 and np.abs(corners[:, 1]).max() < 90
    axes.set_aspect(1 / np.cos(np.radians((low[1] + high[1]) / 2)) if degrees else 1.0)
    axes.set_title(f"(b) Local Moran clusters, {plot.year}")
    axes.spines[:].set_visible(False)
    if plot.outlines is None:
        axes.tick_params(length=0, pad=1)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(lambda degree, _: f"{abs(degree):g}°{'E' if degree >= 0 else 'W'}")
        axes.yaxis.set_major_formatter(lambda degree, _: f"{abs(degree):g}°{'N' if degree >= 0 else 'S'}")
        axes.grid()
    else:
        axes.set(xticks=[], yticks=[])
