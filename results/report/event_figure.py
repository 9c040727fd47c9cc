"""The event-study picture: effects by periods since adoption, pointwise and uniform intervals, of one or more fits.

One SVG that needs no style sheet; text stays text. Thick whiskers are pointwise intervals, thin ones uniform intervals,
which hold for all event times together; every fit has a marker of its own, and hollow ones are reference periods.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from estimators.core.estimator import Estimates
from estimators.staggered.adoption_terms import event_of
from results.inference import critical_values
from results.report.svg import span, ticks
from results.tables.moran_figure import FAMILIES, INK, LINE, SOFT
from results.tables.records import Figure
from sim.errors import bad

Floats = NDArray[np.float64]

NAME = "event-study"
WIDTH, TOP, FOOT = 720, 40, 330
LEFT, RIGHT = 72, 704
LEGEND_LINE = 18
COLOURS = ("#1f5fa8", "#b45309", "#0f766e", "#7c3aad")
SHAPES = (  # outlines of radius about 5 around the point; the first fit's is a circle
    (),
    ((-3.8, -3.8), (3.8, -3.8), (3.8, 3.8), (-3.8, 3.8)),
    ((0.0, -5.4), (5.4, 0.0), (0.0, 5.4), (-5.4, 0.0)),
    ((0.0, -5.0), (4.8, 3.8), (-4.8, 3.8)),
)


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
        raise bad(f"no error type {error!r}", where="figure of event times", allowed=", ".join(fit.errors),
                  remedy="choose one of them")  # fmt: skip
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
    if not 1 <= len(paths) <= len(COLOURS):
        raise bad(f"{len(paths)} fits", where="figure of event times", allowed=f"1 to {len(COLOURS)}",
                  remedy="draw fewer together")  # fmt: skip
    frame = _Frame.of(paths)
    title = f"Effect on {outcome} by periods since adoption"
    caption = _caption(paths, outcome, level)
    height = FOOT + 58 + LEGEND_LINE * len(paths)
    opening = Markup(
        '<svg role="img" aria-labelledby="{0}-t {0}-d" xmlns="http://www.w3.org/2000/svg" '
        'viewBox="0 0 {1} {2}" width="{1}" height="{2}" style="font-family: {3}" font-size="12">'
    )
    parts = [
        opening.format(NAME, WIDTH, height, FAMILIES),
        Markup('<title id="{0}-t">{1}</title><desc id="{0}-d">{2}</desc>').format(
            NAME, title, f"{caption} {_numbers(paths)}"
        ),
        Markup('<rect width="{}" height="{}" fill="#ffffff"/>').format(WIDTH, height),
        _text(LEFT, 22, title, INK, weight=600),
        *frame.axes(),
    ]
    for index, path in enumerate(paths):
        parts += _points(path, index, len(paths), frame)
        parts += _legend(path, index)
    parts.append(Markup("</svg>\n"))
    return Figure(NAME, title, caption, str(Markup("\n").join(parts)))


@dataclass(frozen=True, slots=True)
class _Frame:
    """Event times from `first` to `last` across, effects from `low` to `high` upwards."""

    first: int
    last: int
    low: float
    high: float

    @classmethod
    def of(cls, paths: Sequence[EventPath]) -> _Frame:
        ends = [
            end
            for path in paths
            for place in path.known
            for uniform in (False, True)
            for end in path.ends(place, uniform=uniform)
        ]
        low, high = span([*ends, *(float(path.estimate[place]) for path in paths for place in path.known)], [0.0])
        return cls(
            min(int(path.events[0]) for path in paths), max(int(path.events[-1]) for path in paths), low, high
        )  # fmt: skip

    @property
    def step(self) -> float:
        """Width of one event time."""
        return (RIGHT - LEFT) / (self.last - self.first + 1)

    def x(self, event: float) -> float:
        return LEFT + (event - self.first + 0.5) * self.step

    def y(self, effect: float) -> float:
        return FOOT - (effect - self.low) / (self.high - self.low) * (FOOT - TOP)

    def axes(self) -> Iterator[Markup]:
        for tick in ticks(self.low, self.high):
            yield _line(LEFT, RIGHT, self.y(tick), self.y(tick), INK if tick == 0 else LINE, 1.2 if tick == 0 else 1.0)
            yield _text(LEFT - 8, self.y(tick) + 4, _number(tick), SOFT, anchor="end")
        between = self.x(-0.5)
        if LEFT < between < RIGHT:
            yield _line(between, between, TOP, FOOT, SOFT, 1.0, dash="4 4")
        every = max(1, math.ceil(34 / self.step))
        for event in range(self.first, self.last + 1):
            if event % every == 0:
                yield _text(self.x(event), FOOT + 18, _number(event), SOFT, anchor="middle")
        yield _text((LEFT + RIGHT) / 2, FOOT + 38, "periods since adoption", SOFT, anchor="middle")


def _points(path: EventPath, index: int, count: int, frame: _Frame) -> Iterator[Markup]:
    """Whiskers and markers of one fit, beside those of the others."""
    shift = (index - (count - 1) / 2) * min(0.18, 0.7 / count)
    colour = COLOURS[index]
    if path.reference is not None:
        yield _marker(index, frame.x(path.reference + shift), frame.y(0.0), "#ffffff")
    for place in path.known:
        event, value = int(path.events[place]), float(path.estimate[place])
        x = frame.x(event + shift)
        yield Markup("<g><title>{}</title>").format(f"{path.name}, {_words(path, place)}")
        for uniform, width in ((True, 1.0), (False, 2.6)):
            low, high = path.ends(place, uniform=uniform)
            if math.isfinite(low + high):
                yield _line(x, x, frame.y(low), frame.y(high), colour, width)
        yield _marker(index, x, frame.y(value), colour)
        yield Markup("</g>")


def _words(path: EventPath, place: int) -> str:
    low, high = path.ends(place, uniform=False)
    interval = f" [{_number(low)}, {_number(high)}]" if math.isfinite(low + high) else ""
    return f"{_number(path.events[place])}: {_number(path.estimate[place])}{interval}"


def _legend(path: EventPath, index: int) -> Iterator[Markup]:
    y = FOOT + 62 + LEGEND_LINE * index
    yield _line(LEFT, LEFT + 22, y - 4, y - 4, COLOURS[index], 2.6)
    yield _marker(index, LEFT + 11, y - 4, COLOURS[index])
    test = f" (no effect before adoption: p = {path.pretrend_p:.3f})" if math.isfinite(path.pretrend_p) else ""
    yield _text(LEFT + 30, y, f"{path.name}{test}", INK)


def _caption(paths: Sequence[EventPath], outcome: str, level: float) -> str:
    bands = ", thin ones uniform intervals that hold for all event times together" * any(
        math.isfinite(path.uniform) for path in paths
    )
    reference = "; hollow: the reference period, zero by construction" * any(
        path.reference is not None for path in paths
    )
    return f"Effects on {outcome}; thick whiskers are pointwise {level:.0%} intervals{bands}{reference}."


def _numbers(paths: Sequence[EventPath]) -> str:
    """What is drawn, for those who do not see it."""
    return " ".join(f"{path.name}: {', '.join(_words(path, place) for place in path.known)}." for path in paths)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def _marker(index: int, x: float, y: float, fill: str) -> Markup:
    if not SHAPES[index]:
        return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="4.2" fill="{}" stroke="{}" stroke-width="1.6"/>').format(
            x, y, fill, COLOURS[index]
        )
    outline = "L".join(f"{x + dx:.1f} {y + dy:.1f}" for dx, dy in SHAPES[index])
    return Markup('<path d="M{}Z" fill="{}" stroke="{}" stroke-width="1.6"/>').format(outline, fill, COLOURS[index])


def _line(x1: float, x2: float, y1: float, y2: float, stroke: str, width: float, dash: str = "none") -> Markup:
    return Markup('<line x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}" stroke="{}" stroke-width="{}" '
                  'stroke-dasharray="{}"/>').format(x1, x2, y1, y2, stroke, width, dash)  # fmt: skip


def _text(x: float, y: float, text: str, fill: str, *, anchor: str = "start", weight: int = 400) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" fill="{}" text-anchor="{}" font-weight="{}">{}</text>').format(
        x, y, fill, anchor, weight, text
    )
