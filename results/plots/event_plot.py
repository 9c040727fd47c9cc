"""The event-study picture: effects by periods since adoption, pointwise and uniform intervals, of one or more fits.

Thick whiskers are pointwise intervals, thin ones uniform intervals, which hold for all event times together; every fit
has a marker of its own, and hollow ones are reference periods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Estimates, critical_values
from estimators.staggered.adoption_effects import event_of
from results.plots.paper import INK, SERIES, SOFT, figure, frame, handle, mark, span
from results.tables.records import Figure
from results.text import number, p_value
from sim.arrays import Floats
from sim.errors import bad, closest, one_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

NAME = "event-study"
WIDTH, HEIGHT, LEGEND_LINE = 518.4, 260.0, 13.0  # points


@dataclass(frozen=True, eq=False, slots=True)
class EventPath:
    """One fit's effects by event time.

    events (P,): periods since adoption, ascending; estimate, se (P,): NaN where not identified; critical: of pointwise
    intervals (P,); uniform: critical value of intervals that hold together, NaN for none. pretrend_p: of Hotelling's
    joint test of the event times before adoption, NaN for none. reference: event time that is zero by construction, if
    any.
    """

    name: str
    events: NDArray[np.int_]
    estimate: Floats
    se: Floats
    critical: Floats
    uniform: float
    pretrend_p: float
    reference: int | None = None

    @property
    def known(self) -> list[int]:
        """Places of the event times that have an estimate."""
        return [int(place) for place in np.flatnonzero(np.isfinite(self.estimate))]

    def ends(self, place: int, *, uniform: bool) -> tuple[float, float]:
        """Ends of an event time's interval."""
        half = (self.uniform if uniform else self.critical[place]) * self.se[place]
        return float(self.estimate[place] - half), float(self.estimate[place] + half)


def event_path(fit: Estimates, name: str, *, error: str | None = None, level: float = 0.95) -> EventPath:
    """The event terms of one panel's fit; raises BadInput for R > 1, for no event terms and for unknown error types.

    error: of the intervals, by default the first, which the uniform critical value belongs to as well: for another
    there is no uniform interval, nor at another level than 95%.
    """
    if len(fit.estimate) != 1:
        raise bad(f"{len(fit.estimate)} fits", where="figure of event times", allowed="one",
                  remedy="take one: fit.take(slice(0, 1))")  # fmt: skip
    found = sorted((event, column) for column, term in enumerate(fit.terms) if (event := event_of(term)) is not None)
    if not found:
        raise bad(f"{name} has no terms event(K)", where="figure of event times", allowed="an estimator of event times",
                  remedy="name another")  # fmt: skip
    error = error or fit.errors[0]
    if error not in fit.errors:
        raise bad(f"no error type {error!r}", where="figure of event times", allowed=one_of(fit.errors, error),
                  remedy=closest(error, fit.errors, "choose one of them"))  # fmt: skip
    row, columns = fit.errors.index(error), [column for _, column in found]
    events = np.array([event for event, _ in found])
    has_reference = events[0] < -1 < events[-1] and -1 not in events
    together = row == 0 and level == 0.95
    return EventPath(
        name=name,
        events=events,
        estimate=fit.estimate[0, columns],
        se=fit.se[0, row, columns],
        critical=critical_values(fit.dof[0, row, columns], 1 - level),
        uniform=float(fit.statistics["uniform"][0]) if together and "uniform" in fit.statistics else math.nan,
        pretrend_p=float(fit.statistics.get("pretrend_hotelling_p", [math.nan])[0]),
        reference=-1 if has_reference else None,
    )


def event_figure(paths: Sequence[EventPath], outcome: str, *, level: float = 0.95) -> Figure:
    """The figure of one to four fits, the same bytes for the same numbers; raises BadInput for another number."""
    if not 1 <= len(paths) <= len(SERIES):
        raise bad(f"{len(paths)} fits", where="figure of event times", allowed=f"1 to {len(SERIES)}",
                  remedy="draw fewer together")  # fmt: skip
    title = f"Effect on {outcome} by periods since adoption"
    caption = f"Effects on {outcome}; thick whiskers are pointwise {level:.0%} intervals"
    if any(math.isfinite(path.uniform) for path in paths):
        caption += ", thin ones uniform intervals that hold for all event times together"
    if any(path.reference is not None for path in paths):
        caption += "; hollow: the reference period, zero by construction"
    caption += "."
    size = WIDTH, HEIGHT + LEGEND_LINE * len(paths)
    paint = partial(_paint, paths=paths, title=title)
    read_out = [f"{path.name}: {', '.join(_words(path, place) for place in path.known)}." for path in paths]
    return figure(NAME, size, title, caption, paint, " ".join([caption, *read_out]))


def _paint(canvas: Canvas, paths: Sequence[EventPath], title: str) -> dict[str, str]:
    foot = (36.0 + LEGEND_LINE * len(paths)) / (HEIGHT + LEGEND_LINE * len(paths))
    axes = frame(canvas, (0.09, foot, 0.89, 0.92 - foot), title)
    # both scales, the line of no effect and that between the last period before adoption and the first after it
    from matplotlib.ticker import MaxNLocator

    ends = [end for path in paths for place in path.known for uniform in (False, True)
            for end in path.ends(place, uniform=uniform)]  # fmt: skip
    first, last = min(int(path.events[0]) for path in paths), max(int(path.events[-1]) for path in paths)
    axes.set(xlim=(first - 0.5, last + 0.5), xlabel="periods since adoption")
    axes.set_ylim(*span([*ends, *(float(path.estimate[place]) for path in paths for place in path.known)], [0.0]))
    axes.xaxis.set_major_locator(MaxNLocator(16, integer=True))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: number(value, 3))
    axes.grid(axis="y")
    axes.axhline(0.0, color=INK, linewidth=0.9, zorder=2)
    if first < 0 <= last:
        axes.axvline(-0.5, color=SOFT, linewidth=0.8, linestyle=(0, (4, 4)), zorder=1)
    said = {}
    for index, path in enumerate(paths):
        shift = (index - (len(paths) - 1) / 2) * min(0.18, 0.7 / len(paths))
        if path.reference is not None:
            mark(axes, path.reference + shift, 0.0, index, SERIES[index], hollow=True)
        for place in path.known:
            gid = f"fit-{index}-at-{int(path.events[place])}"
            x = float(path.events[place]) + shift
            for uniform, width in ((True, 0.8), (False, 2.0)):
                low, high = path.ends(place, uniform=uniform)
                if math.isfinite(low + high):
                    axes.plot([x, x], [low, high], color=SERIES[index], linewidth=width, zorder=3,
                              gid=f"{gid}-whisker-{width}")  # fmt: skip
            mark(axes, x, float(path.estimate[place]), index, SERIES[index], gid=gid)
            said[gid] = f"{path.name}, {_words(path, place)}"
    keys = []
    for index, path in enumerate(paths):
        test = f" (no effect before adoption: {p_value(path.pretrend_p)})" if math.isfinite(path.pretrend_p) else ""
        keys.append(handle(index, SERIES[index], f"{path.name}{test}", line=True))
    canvas.legend(handles=keys, loc="lower left", bbox_to_anchor=(0.08, 0.0), borderaxespad=0.2)
    return said


def _words(path: EventPath, place: int) -> str:
    low, high = path.ends(place, uniform=False)
    interval = f" [{number(low, 3)}, {number(high, 3)}]" if math.isfinite(low + high) else ""
    return f"{number(path.events[place], 3)}: {number(float(path.estimate[place]), 3)}{interval}"
