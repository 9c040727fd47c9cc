"""What every part of a `panel` design is: a frozen dataclass with a `kind`, found by existing.

A slot of the design (geography, weights, levels, ...) is a package here; its base class says what its parts do.
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from sim.discovery import discover, find
from sim.errors import Problem, choice_problems, one_of
from sim.panel.file_text import is_text


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that a dial may take; `words` is the range as messages say it."""

    low: float
    high: float
    words: str
    open: bool = False  # whether both ends are left out

    def holds(self, value: float) -> bool:
        """Whether a number is allowed."""
        return self.low < value < self.high if self.open else self.low <= value <= self.high


KEPT_CLASSES = 512  # whose types are remembered: to read them from their texts takes long
LATER = "later"  # metadata of a dial that is no part of a study's settings while it has its default
LARGEST = 1e30  # of a number in any unit of measurement: its fourth power is finite
MOST = 1e9  # of what is counted
FINITE = Range(-LARGEST, LARGEST, "a finite number")
NOT_NEGATIVE = Range(0.0, LARGEST, "0 or more")
POSITIVE = Range(0.0, LARGEST, "more than 0", open=True)
SHARE = Range(0.0, 1.0, "0 to 1")
INSIDE = Range(-1.0, 1.0, "more than -1, less than 1", open=True)


def whole_from(low: int) -> Range:
    """Whole numbers from `low`."""
    return Range(low, MOST, f"a whole number from {low}")


@dataclass(frozen=True, slots=True)
class Outline:
    """What the parts of one design must agree on, known before anything is drawn.

    covariates, moved: names of all covariates, and of those that the treatment moves. groups: how many the geography
    has. absorbing: whether units stay treated. indicators: names of what the outcome is made of, if it is an index.
    """

    units: int
    periods: tuple[int, ...]
    groups: int
    covariates: tuple[str, ...]
    moved: tuple[str, ...]
    mediators: tuple[str, ...]
    absorbing: bool
    indicators: tuple[str, ...] = ()


class Part(ABC):
    """A building block of a world. Subclasses are frozen dataclasses with a `kind`.

    ranges: the numbers that a dial may take, by name. default: the kind that a slot's table without one is of. files:
    dials that hold a panel as a text, for which a study file names a Parquet file beside it. paths: dials that name any
    other file, relative to the study file.
    """

    kind: ClassVar[str]
    default: ClassVar[str]
    ranges: ClassVar[Mapping[str, Range]] = {}
    files: ClassVar[tuple[str, ...]] = ()
    paths: ClassVar[tuple[str, ...]] = ()

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """In words, what it draws once in a world; () where it draws nothing or all anew in every replication."""
        return ()

    def problems(self, outline: Outline) -> Iterator[Problem]:
        """What is wrong with its dials, alone and beside the other parts; `where` is left to the design."""
        yield from choice_problems(self, "")
        wrong: list[str] = []
        for name, allowed in self.ranges.items():
            given = getattr(self, name)
            for value in given if isinstance(given, tuple) else (given,):
                if value is not None and not (math.isfinite(value) and allowed.holds(value)):
                    wrong.append(f"{name} = ")
                    yield fault(f"{name} = {value:g}", allowed.words, f"correct {name}")
        yield from (problem for problem in self.faults(outline) if not problem.what.startswith(tuple(wrong)))

    @property
    def follows(self) -> tuple[str, ...]:
        """Covariates whose values it takes as the world holds them fixed, so that they cannot be drawn anew."""
        return ()

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """What is wrong besides numbers out of range."""
        return iter(())


def fault(what: str, allowed: str, remedy: str) -> Problem:
    """A problem of a part; the design says where."""
    return Problem(what, "", allowed, remedy)


def unknown_covariate(dial: str, name: str, outline: Outline) -> Problem:
    """A dial that names a covariate which the design lacks."""
    return fault(f"{dial} names no covariate: {name!r}", one_of(outline.covariates), "add it to [[design.covariates]]")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for parts in a design: their base class, and whether it takes a list of them."""

    base: type[Part]
    many: bool

    @property
    def kinds(self) -> dict[str, type[Part]]:
        """Every part that the slot's package holds, by kind."""
        return discover(self.base.__module__, self.base)

    def find(self, kind: str, where: str) -> type[Part]:
        """The part called `kind` or named "module:Object"; raises BadInput."""
        return find(self.base.__module__, self.base, kind, where)

    def with_paths(self, table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Settings of a part of a file in this folder, whose dials of `paths` are relative to it."""
        cls = self.kinds.get(str(table.get("kind", self.base.default)))
        given = {} if cls is None else {dial: table[dial] for dial in cls.paths if isinstance(table.get(dial), str)}
        return dict(table) | {dial: str(folder / path) for dial, path in given.items() if path and not is_text(path)}


@lru_cache(maxsize=KEPT_CLASSES)
def slots_of(cls: type) -> Mapping[str, Slot]:
    """The slots of a design by the name of their field; none for a design that is not made of parts."""
    found = {}
    for name, hint in get_type_hints(cls).items():
        inner = get_args(hint)[0] if get_origin(hint) is tuple and get_args(hint) else hint
        if isinstance(inner, type) and issubclass(inner, Part):
            found[name] = Slot(inner, inner is not hint)
    return MappingProxyType(found)
