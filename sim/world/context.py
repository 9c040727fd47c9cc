"""The 285 Chinese cities of the embedded geography, and their nearest neighbours.

`cities.csv` holds facts: name, adcode, province, region, whether a capital of a province, longitude and latitude
(degrees), taken from the administrative codes of the `cpca` package (MIT licence). They are the municipalities and the
cities at prefecture level without those raised to that level or abolished too late for a series from 2006 (Sansha,
Danzhou, Shigatse, Qamdo, Nyingchi, Shannan, Bijie, Tongren, Haidong, Turpan, Hami; Laiwu).
"""

from __future__ import annotations

import csv
import math
from abc import ABC
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Flags, Floats
from sim.errors import Problem, bad, choice_problems, closest, one_of
from sim.filters import SpatialFilter
from sim.panel import Panel
from sim.panel_sidecars import is_text
from sim.registry import discover, find
from sim.schema import period_step
from sim.weights import Weights, great_circle_km, knn


@dataclass(frozen=True, slots=True, eq=False)
class CityTable:
    """Attributes of the cities, each (N,)."""

    names: tuple[str, ...]
    adcode: NDArray[np.int64]
    province: NDArray[np.str_]
    region: NDArray[np.str_]
    capital: NDArray[np.bool_]
    longitude: NDArray[np.float64]
    latitude: NDArray[np.float64]


@cache
def cities() -> CityTable:
    """The embedded table of cities, in the order of their codes."""
    with resources.files("sim.world").joinpath("cities.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return CityTable(
        names=tuple(row["city"] for row in rows),
        adcode=table["adcode"].astype(np.int64),
        province=table["province"],
        region=table["region"],
        capital=table["capital"] == "1",
        longitude=table["longitude"].astype(np.float64),
        latitude=table["latitude"].astype(np.float64),
    )


@cache
def city_weights(k: int = 6) -> Weights:
    """Row-standardised weights of each city's k nearest cities, by great-circle distance."""
    table = cities()
    return knn(table.names, table.longitude, table.latitude, k=k)


# What every part of a `panel` design is: a frozen dataclass with a `kind`, found by existing.
#
# A slot of the design (geography, weights, levels, ...) is a package here; its base class says what its parts do.


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
LARGEST = 1e30  # of a number in any unit of measurement: its fourth power is finite
MOST = 1e9  # of what is counted
FINITE = Range(-LARGEST, LARGEST, "a finite number")
NOT_NEGATIVE = Range(0.0, LARGEST, "0 or more")
POSITIVE = Range(0.0, LARGEST, "more than 0", open=True)
SHARE = Range(0.0, 1.0, "0 to 1")
INSIDE = Range(-1.0, 1.0, "more than -1, less than 1", open=True)
SPATIAL = Range(-LARGEST, LARGEST, "in size less than 1 / spectral radius of W")  # which settling a world looks at


def whole_from(low: int) -> Range:
    """Whole numbers from `low`."""
    return Range(low, MOST, f"a whole number from {low}")


@dataclass(frozen=True, slots=True)
class DesignSummary:
    """What the parts of one design must agree on, known before anything is drawn.

    covariates, moved: names of all covariates, and of those that the treatment moves. groups: how many the geography
    has. absorbing: whether units stay treated. indicators: names of what the outcome is made of, if it is an index.
    placed: whether units have coordinates.
    """

    units: int
    periods: tuple[int, ...]
    groups: int
    covariates: tuple[str, ...]
    moved: tuple[str, ...]
    mediators: tuple[str, ...]
    absorbing: bool
    indicators: tuple[str, ...] = ()
    placed: bool = True


class Part(ABC):
    """A building block of a world. Subclasses are frozen dataclasses with a `kind`.

    ranges: the numbers that a dial may take, by name. default: the kind that a slot's table without one is of. files:
    dials that hold a panel as a text, for which a study file names a Parquet file beside it. paths: dials that name any
    other file, relative to the study file. on_places: whether it needs coordinates of the units.
    """

    kind: ClassVar[str]
    default: ClassVar[str]
    ranges: ClassVar[Mapping[str, Range]] = {}
    files: ClassVar[tuple[str, ...]] = ()
    paths: ClassVar[tuple[str, ...]] = ()
    on_places: ClassVar[bool] = False

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """In words, what it draws once in a world; () where it draws nothing or all anew in every replication."""
        return ()

    def problems(self, summary: DesignSummary) -> Iterator[Problem]:
        """What is wrong with its dials, alone and beside the other parts; `where` is left to the design."""
        yield from choice_problems(self, "")
        wrong: list[str] = []
        for name, allowed in self.ranges.items():
            given = getattr(self, name)
            for value in given if isinstance(given, tuple) else (given,):
                if value is not None and not (math.isfinite(value) and allowed.holds(value)):
                    wrong.append(f"{name} = ")
                    yield fault(f"{name} = {value:g}", allowed.words, f"correct {name}")
        yield from (problem for problem in self.faults(summary) if not problem.what.startswith(tuple(wrong)))
        if self.on_places and not summary.placed:
            yield fault("distances among units without coordinates", *PLACED)

    @property
    def follows(self) -> tuple[str, ...]:
        """Covariates whose values it takes as the world holds them fixed, so that they cannot be drawn anew."""
        return ()

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """What is wrong besides numbers out of range."""
        return iter(())


PLACED = "a geography with longitude and latitude", "choose another [design.geography] kind"  # allowed, and the remedy


def fault(what: str, allowed: str, remedy: str) -> Problem:
    """A problem of a part; the design says where."""
    return Problem(what, "", allowed, remedy)


def unknown_covariate(dial: str, name: str, summary: DesignSummary) -> Problem:
    """A dial that names a covariate which the design lacks."""
    return fault(f"{dial} names no covariate: {name!r}", one_of(summary.covariates), "add it to [[design.covariates]]")


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


# What parts see of the world that is being made: places, periods, W, and what was settled before them.


@dataclass(frozen=True, eq=False, slots=True)
class Places:
    """Where the units are.

    longitude, latitude: degrees, (N,). attributes: facts of units by name, (N,). group: the codes 0, 1, ... of the
    groups that share shocks or adopt together, (N,). prosperity: a standardised score of how developed units are, (N,);
    levels, covariates and adoption may follow it. kept: the real panel that other parts keep things of.
    lattice: row and column of each unit on a square lattice, (N, 2), None elsewhere.
    """

    names: tuple[str, ...]
    longitude: Floats
    latitude: Floats
    group: NDArray[np.intp]
    prosperity: Floats
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    kept: Panel | None = None
    lattice: NDArray[np.intp] | None = None

    def held(self, where: str) -> Panel:
        """The panel that is kept; raises BadInput, for what stands at `where`, in a world without one."""
        if self.kept is None:
            raise bad("no panel is kept", where=where, allowed='[design.geography] kind = "kept" with a panel',
                      remedy="name a panel there")  # fmt: skip
        return self.kept

    def variable(self, name: str, where: str) -> Floats:
        """A variable of the panel that is kept, (T, N); raises BadInput where it has none of this name."""
        held = self.held(where).variables
        if name not in held:
            raise bad(f"the panel that is kept has no variable {name!r}", where=where, allowed=one_of(held, name),
                      remedy=closest(name, held))  # fmt: skip
        return held[name][0]


@dataclass(frozen=True, eq=False, slots=True)
class LevelParts:
    """What units and periods bring along: unit (N,), period (T,), trend (N,) a period, factors (N, r), paths (T, r).

    `total` (T, N) is the sum of all, the interactive part included.
    """

    unit: Floats
    period: Floats
    trend: Floats
    loadings: Floats
    total: Floats


@dataclass(frozen=True, eq=False)
class WorldContext:
    """A world in the making; levels and covariates (name -> fixed values (T, N)) are there for the parts after them."""

    places: Places
    periods: tuple[int, ...]
    weights: Weights | None
    levels: LevelParts | None = None
    covariates: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """N."""
        return len(self.places.names)

    @property
    def shape(self) -> tuple[int, int]:
        """T and N."""
        return len(self.periods), self.units

    @cached_property
    def years(self) -> Floats:
        """The periods' labels as numbers, (T,)."""
        return np.array(self.periods, dtype=np.float64)

    @cached_property
    def time(self) -> Floats:
        """Periods since the middle of the panel, (T,); where one is left out, the step across it is of two."""
        return (self.years - self.years.mean()) / period_step(self.periods)

    @cached_property
    def distances(self) -> Floats:
        """Great-circle km between all pairs of units, (N, N)."""
        return great_circle_km(self.places.longitude, self.places.latitude)

    def spatial(self, rho: float) -> SpatialFilter | None:
        """(I - rho W)^-1, None at rho = 0; raises BadInput for a rho outside its range."""
        return SpatialFilter.of(self.main_weights, rho) if rho else None

    @property
    def main_weights(self) -> Weights:
        """The true W; raises BadInput where the world has none."""
        if self.weights is None:
            raise bad("the world has no weights", where="[design.weights]", allowed="a table [design.weights]",
                      remedy="add it")  # fmt: skip
        return self.weights


def first_treated(years: Floats, treated: Floats | Flags) -> Floats:
    """The label of the first treated period, (..., N), inf = never, of an absorbing treatment (..., T, N)."""
    return np.where(treated.any(axis=-2), years[treated.argmax(axis=-2)], np.inf)


def standard(values: Floats) -> Floats:
    """Values with mean 0 and variance 1; zeros where they do not vary."""
    centred = values - values.mean()
    spread = np.sqrt(np.square(centred).mean())
    return np.asarray(centred / spread if spread > 0 else np.zeros_like(centred))


def smooth(context: WorldContext, values: Floats, rho: float) -> Floats:
    """Standardised values (N,) spread over neighbours by (I - rho W)^-1; values themselves at rho = 0."""
    if not rho:
        return values
    return standard(SpatialFilter.of(context.main_weights, rho).apply(values[None, None].copy())[0, 0])
