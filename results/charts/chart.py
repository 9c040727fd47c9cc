"""A picture as a record: what is drawn, in words and numbers, for every program that draws it.

`results.charts.svg` draws it into a page, `results.charts.paper` into the files of a paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Form = Literal["curves", "dots", "nested", "zip", "scatter"]
LONGEST = 60  # values that a text alternative lists; the table beside the picture holds all
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a place, with the ends of its interval (NaN: none). said: its value in words."""

    at: float
    value: float
    low: float
    high: float
    said: str
    clear: bool = False  # drawn filled, or in another colour: it departs, or its interval misses


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour and marker. kind: which ones, the same in every panel and picture of a page."""

    label: str
    kind: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the small multiples."""

    title: str
    series: tuple[Series, ...]

    @property
    def points(self) -> list[Point]:
        """All its points."""
        return [point for series in self.series for point in series.points]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis in words, its ends and its marks (place, text)."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A line at a value, such as the nominal level, named where it stands."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Loop:
    """A dial under a nested-loop picture: its level, from 0, at each place, and what each level is called."""

    name: str
    levels: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture. places: the axis of dials, rows or replications; values: the axis of what is measured.

    form: curves and nested have places from left to right and values upward; dots and zip have places downward and
    values from left to right; scatter as curves, without lines. key: letters and hyphens, unique in a page. subject:
    what all series have in common, such as the lone estimator. loops: of the nested-loop picture.
    """

    key: str
    form: Form
    title: str
    places: Axis
    values: Axis
    panels: tuple[Panel, ...]
    references: tuple[Reference, ...]
    caption: str
    subject: str = ""
    loops: tuple[Loop, ...] = ()

    @property
    def alt(self) -> str:
        """What is read out instead of the picture: what it shows, and its values as far as they are few."""
        return " ".join((self.caption, f"Values: {_listed(self._said())}."))

    def alt_of(self, panel: Panel) -> str:
        """The same for one of its panels."""
        return f"{self.values.label} by {self.places.label}. Values: {_listed(_values(panel, self.form))}."

    def _said(self) -> Iterator[str]:
        for panel in self.panels:
            head = f"{panel.title}: " if panel.title else ""
            yield from (f"{head}{text}" for text in _values(panel, self.form))


def _values(panel: Panel, form: Form) -> Iterator[str]:
    if form in {"zip", "scatter"}:
        clear = sum(point.clear for point in panel.points)
        yield f"{panel.title}; {len(panel.points)} replications, {clear} marked"
        return
    for series in panel.series:
        for point in series.points:
            yield f"{series.label} {point.said}".strip()


def _listed(items: Iterable[str]) -> str:
    every = list(items)
    rest = f"; {len(every) - LONGEST} more in the tables" if len(every) > LONGEST else ""
    return "; ".join(every[:LONGEST]) + rest


def key_of(*words: str) -> str:
    """Words as an id: letters, digits and hyphens."""
    return "-".join("".join(letter if letter.isalnum() else "-" for letter in word.lower()) for word in words if word)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two ends, 1, 2 or 5 times a power of ten apart."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) + 0.0 for index in range(first, math.floor(high / step + 1e-9) + 1)]


def plain(value: float) -> str:
    """A number of an axis, with a true minus sign."""
    return f"{value:.4g}".replace("-", MINUS)


def percent(value: float) -> str:
    """A share of an axis."""
    return f"{100 * value:.4g}%"


def span(values: Sequence[float], room: float = 0.04) -> tuple[float, float]:
    """Ends of an axis that holds all finite values, with a little room."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    wide = room * (high - low) or (abs(high) * 0.05 or 0.01)
    return low - wide, high + wide
