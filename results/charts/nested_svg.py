"""The steps under a nested-loop picture: which value each dial has in each cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from markupsafe import Markup

from results.charts.chart import Axis, Chart, Loop

HEIGHT, TALL = 34.0, 14.0  # of a dial's row, and of its steps within it
SAID = 70  # letters of a dial's name and values


class Box(Protocol):
    """Where a panel draws."""

    @property
    def left(self) -> float:
        """Left edge of the plot."""
        ...

    @property
    def bottom(self) -> float:
        """Lower edge of the plot."""
        ...

    def across(self, axis: Axis, value: float) -> float:
        """Horizontal position of a value."""
        ...


def loops(chart: Chart, plot: Box) -> Iterator[Markup]:
    """One row of steps a dial: higher steps are later values."""
    for row, loop in enumerate(chart.loops):
        foot = plot.bottom + HEIGHT * (row + 1)
        yield Markup('<text class="axis" x="{:.1f}" y="{:.1f}">{}</text>').format(
            plot.left, foot - TALL - 4, said(loop))  # fmt: skip
        most = max(len(loop.names) - 1, 1)
        parts = []
        for k, level in enumerate(loop.levels):
            y = foot - TALL * level / most
            start, end = (plot.across(chart.places, k + side) for side in (-0.5, 0.5))
            parts.append(f"M{start:.1f} {y:.1f}H{end:.1f}" if not k else f"V{y:.1f}H{end:.1f}")
        yield Markup('<path class="loop" d="{}"/>').format("".join(parts))


def said(loop: Loop) -> str:
    """A dial's name and its values from the lowest step to the highest."""
    text = f"{loop.name}: {', '.join(loop.names)}"
    return text if len(text) <= SAID else f"{loop.name}: {loop.names[0]} to {loop.names[-1]}"
