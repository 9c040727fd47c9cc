"""A breakdown frontier: the departures along two dials up to which a result holds, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure as Canvas

from results.plots.paper import BLUE, FAINT, draw, frame, span
from results.text import number

WIDTH, HEIGHT = 380.0, 260.0  # points


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A crossing: at `second` of the one dial, the other crosses at `value`, with its 95% interval.

    along_second: the crossing is that of the second dial itself, the first being where the design has it: `second` is
    then the crossing, and the interval is of the second dial.
    """

    second: float
    value: float
    lower: float
    upper: float
    along_second: bool = False


def frontier_svg(points: Sequence[FrontierPoint], first: str, second: str, words: str) -> str:
    """The map: the second dial across, the first one up; below the line the result holds."""
    along = sorted((point for point in points if not point.along_second), key=lambda point: point.second)
    ends = [point for point in points if point.along_second]
    said = "; ".join(
        f"{first} {number(point.value)} ({number(point.lower)} to {number(point.upper)}) at {second} "
        f"{number(point.second)}" for point in along
    )  # fmt: skip

    def paint(canvas: Canvas) -> Mapping[str, str]:
        axes = frame(canvas, (0.16, 0.17, 0.8, 0.72))
        axes.grid(True)
        across = [*(point.second for point in along), *(point.second for point in ends)]
        up = [*(point.value for point in along), *(0.0 for _ in ends)]
        axes.fill_between(across, up, color=FAINT, linewidth=0)
        axes.plot(across, up, color=BLUE, linewidth=1.2)
        for point in along:
            axes.plot([point.second] * 2, [point.lower, point.upper], color=BLUE, linewidth=1.0)
            axes.plot([point.second], [point.value], "o", color=BLUE, markersize=4.0)
        for point in ends:
            axes.plot([point.lower, point.upper], [0.0, 0.0], color=BLUE, linewidth=1.0)
            axes.plot([point.second], [0.0], "s", color=BLUE, markersize=4.0)
        axes.set_xlim(*span([*across, *(point.upper for point in ends)], [0.0]))
        axes.set_ylim(*span([*up, *(point.upper for point in along)], [0.0]))
        axes.set_xlabel(second)
        axes.set_ylabel(first)
        return {}

    title = f"Where {words}"
    about = f"Within the shaded part the result holds; bars are 95% intervals. {said}."
    return draw("frontier", (WIDTH, HEIGHT), title, about, paint)
