"""Pictures of what simulated studies find: a power curve with its detectable effect, and a breakdown frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.diagnosis.measures import Z95
from results.plots.paper import BLUE, FAINT, INK, RED, SOFT, draw, frame, mark, span
from results.text import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

# The power curve: simulated powers with their Monte Carlo errors, the fitted curve, the detectable effect.


NAME = "power"
SIZE = 518.4, 230.0  # points


def power_figure(simulated: Sequence[tuple[float, float, float]], curve: Sequence[tuple[float, float]], estimate: float,
                 detectable: float, wanted: float) -> str:  # fmt: skip
    """The figure as an SVG element, the same bytes for the same numbers.

    simulated: effects with their powers and Monte Carlo errors. curve: points (effect, power) of the fitted curve.
    estimate: the claim's. detectable: the effect that is found with the power `wanted`.
    """
    title = "Power by the size of the true effect"
    told = [f"effect {number(x, 3)}: power {y:.1%}" for x, y, _ in simulated]
    about = f"{'; '.join(told)}; effect detected with a power of {wanted:.0%}: {number(detectable, 3)}."

    def paint(canvas: Canvas) -> Mapping[str, str]:
        axes = frame(canvas, (0.09, 0.18, 0.88, 0.7), title)
        axes.set(xlim=span([x for x, *_ in simulated], [0.0, estimate, detectable]), ylim=(0.0, 1.05))
        axes.set(xlabel="true effect", ylabel="share of tests that reject")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.xaxis.set_major_formatter(lambda value, _: number(value, 3))
        axes.grid(axis="y")
        axes.plot([x for x, _ in curve], [y for _, y in curve], color=BLUE, linewidth=1.4, zorder=2, gid="fitted")
        axes.axhline(wanted, color=INK, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
        axes.axvline(estimate, color=RED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1, gid="estimate")
        axes.axvline(detectable, color=SOFT, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1, gid="detectable")
        low, high = axes.get_xlim()
        for x, y, text in ((estimate, 0.02, "the estimate"), (detectable, 0.12, f"power {wanted:.0%}")):
            left = x > low + 0.85 * (high - low)  # of its line, where there is no room at the right
            axes.annotate(text, (x, y), xytext=(-3 if left else 3, 2), ha="right" if left else "left",
                          textcoords="offset points", color=INK)  # fmt: skip
        for k, (x, y, error) in enumerate(simulated):
            axes.plot([x, x], [y - Z95 * error, y + Z95 * error], color=BLUE, linewidth=1.6, zorder=3,
                      gid=f"whisker-{k}")  # fmt: skip
            mark(axes, x, y, 0, BLUE, gid=f"point-{k}")
        return {f"point-{k}": text for k, text in enumerate(told)}

    return draw(NAME, SIZE, title, about, paint)


# A breakdown frontier: the departures along two dials up to which a result holds, with intervals.


FRONTIER_SIZE = 380.0, 260.0  # points


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A crossing: where the second dial and the first (`value`) stand, with the interval of the first.

    along_second: the interval is of the second dial, which crosses there, the first being where the design has it.
    """

    second: float
    value: float
    lower: float
    upper: float
    along_second: bool = False


def frontier_svg(points: Sequence[FrontierPoint], first: str, second: str, words: str, *, begin: float,
                 level: float) -> str:  # fmt: skip
    """The map: the second dial across, the first one up; between the line and where the first begins the result holds.

    begin: where the first dial begins. level: of the intervals.
    """
    along = sorted((point for point in points if not point.along_second), key=lambda point: point.second)
    ends = [point for point in points if point.along_second]
    told = [(first, point.value, point, second, point.second) for point in along]
    told += [(second, point.second, point, first, point.value) for point in ends]
    said = "; ".join(
        f"{dial} {number(value)} ({number(point.lower)} to {number(point.upper)}) at {other} {number(at)}"
        for dial, value, point, other, at in told
    )

    def paint(canvas: Canvas) -> Mapping[str, str]:
        axes = frame(canvas, (0.16, 0.17, 0.8, 0.72))
        axes.grid(True)
        across, up = ([getattr(point, name) for point in (*along, *ends)] for name in ("second", "value"))
        axes.fill_between(across, up, begin, color=FAINT, linewidth=0)
        axes.plot(across, up, color=BLUE, linewidth=1.2, gid="line")
        for point in along:
            axes.plot([point.second] * 2, [point.lower, point.upper], color=BLUE, linewidth=1.0)
            axes.plot([point.second], [point.value], "o", color=BLUE, markersize=4.0)
        for point in ends:
            axes.plot([point.lower, point.upper], [point.value] * 2, color=BLUE, linewidth=1.0)
            axes.plot([point.second], [point.value], "s", color=BLUE, markersize=4.0)
        axes.set_xlim(*span([*across, *(point.upper for point in ends)], [0.0]))
        axes.set_ylim(*span([*up, *(point.upper for point in along)], [0.0]))
        axes.set_xlabel(second)
        axes.set_ylabel(first)
        return {}

    title = f"Where {words}"
    about = f"Within the shaded part the result holds; bars are {level:.0%} intervals. {said}."
    return draw("frontier", FRONTIER_SIZE, title, about, paint)
