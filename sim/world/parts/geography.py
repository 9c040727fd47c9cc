"""Where units are and how they group."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Codes, Floats
from sim.errors import TABLES, BadInput, Problem, closest, listed, one_of
from sim.panel import Panel
from sim.panel_sidecars import as_file, file_text, panel_from
from sim.streams import Streams
from sim.weights import DEGREES
from sim.world.context import POSITIVE, DesignSummary, Part, Places, Range, cities, fault, standard, whole_from

if TYPE_CHECKING:
    import pandas as pd


class Geography(Part):
    """Where units are and how they group."""

    default: ClassVar[str] = "uniform"
    draws: ClassVar[bool] = True  # whether places are drawn, so that they differ between worlds

    @property
    @abstractmethod
    def attributes(self) -> tuple[str, ...]:
        """Names of the facts that its places have."""

    @property
    def group_count(self) -> int:
        """How many groups there are."""
        return 1

    @property
    def fixed_units(self) -> int | None:
        """N where the geography decides it, None where any number is possible."""
        return None

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Places with the W that follows from them, where they are drawn."""
        return ("places and W",) if self.draws else ()

    @abstractmethod
    def places(self, streams: Streams, units: int) -> Places:
        """Places of N units."""


# The real 285 Chinese cities.


RICHES = {"east": 1.0, "central": 0.2, "west": 0.0}
FACTS = ("province", "region", "capital", "longitude", "latitude")


@dataclass(frozen=True, slots=True)
class Cities(Geography):
    """The 285 Chinese cities of the embedded table; groups are provinces; eastern cities and capitals are richer."""

    kind: ClassVar[str] = "cities"
    draws: ClassVar[bool] = False  # but for prosperity
    attributes: ClassVar[tuple[str, ...]] = FACTS

    @property
    def group_count(self) -> int:
        """Provinces."""
        return int(_province_codes().max()) + 1

    @property
    def fixed_units(self) -> int:
        """285."""
        return len(cities().names)

    def places(self, streams: Streams, units: int) -> Places:
        """The table, with a prosperity of facts and a draw."""
        table = cities()
        noise = streams.fixed("cities").standard_normal(units)
        riches = np.vectorize(RICHES.get)(table.region) + 1.0 * table.capital + 0.5 * noise
        group = _province_codes()
        facts = {name: getattr(table, name) for name in FACTS}
        return Places(table.names, table.longitude, table.latitude, group, standard(riches), facts)


@cache
def _province_codes() -> Codes:
    """The codes 0, 1, ... of the cities' provinces, (N,)."""
    return np.unique(cities().province, return_inverse=True)[1].astype(np.intp)


# Units of a table: their names, places, groups and facts.


TABLES_OF_UNITS = tuple(end for end in TABLES if end != ".sav")  # what reads SPSS is an extra that workers may lack


@dataclass(frozen=True, slots=True)
class UnitsOfFile(Geography):
    """The units of a table with one row a unit, in the order of its rows.

    path: a csv, Parquet, Stata or Excel file beside the study file; a store holds the file itself, as a text. unit: the
    column of their names. longitude, latitude: columns of degrees. group: the column whose values group units; "" is
    one group. prosperity: a column of numbers that says how developed units are; "" draws it. columns: further columns
    that become attributes of the units.
    """

    kind: ClassVar[str] = "file"
    draws: ClassVar[bool] = False  # but for prosperity, unless a column says it
    paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str = ""
    unit: str = "unit"
    longitude: str = "longitude"
    latitude: str = "latitude"
    group: str = ""
    prosperity: str = ""
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", file_text(self.path, TABLES_OF_UNITS))

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Columns that lack, names that repeat, numbers that are none."""
        try:
            table = table_of(self.path)
        except BadInput as error:
            yield from error.problems
            return
        named = [self.unit, self.longitude, self.latitude, *filter(None, (self.group, self.prosperity)), *self.columns]
        lacking = [name for name in dict.fromkeys(named) if name not in table.columns]
        for name in lacking:
            yield fault(f"the table has no column {name!r}", one_of(table.columns, name),
                        closest(name, map(str, table.columns)))  # fmt: skip
        if self.unit not in lacking and len(set(names := self._names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            yield fault(f"units repeat in column {self.unit!r}: {listed(twice)}", "one row a unit", "remove rows")
        for name in (name for name in dict.fromkeys((self.unit, self.group, *self.columns)) if name in table.columns):
            words = name in (self.unit, self.group) or table[name].dtype.kind not in "fiub"  # a number may be missing
            if words and (table[name].isna() | (table[name].astype(str).str.strip() == "")).any():
                yield fault(f"column {name!r} has empty cells", "a value for every unit", "fill them")
        limits: dict[str, float] = {getattr(self, name): limit for name, limit in DEGREES.items()}
        limits |= {self.prosperity: np.inf} if self.prosperity else {}
        for name, limit in limits.items():
            if name not in lacking and not (np.isfinite(x := self._numbers(name)) & (np.abs(x) <= limit)).all():
                allowed = "a number for every unit" if limit == np.inf else f"degrees between -{limit:g} and {limit:g}"
                yield fault(f"column {name!r} holds what is no such number", allowed, "correct the column")

    @property
    def attributes(self) -> tuple[str, ...]:
        """The group, where the unit is, and the columns that are named."""
        grouped = (self.group,) if self.group else ()
        return tuple(dict.fromkeys((*grouped, "longitude", "latitude", *self.columns)))

    @property
    def group_count(self) -> int:
        """Different values of the column."""
        return len(set(table_of(self.path)[self.group])) if self.group in table_of(self.path).columns else 1

    @property
    def fixed_units(self) -> int:
        """Rows of the table."""
        return len(table_of(self.path))

    def places(self, streams: Streams, units: int) -> Places:
        """The table."""
        longitude, latitude = self._numbers(self.longitude), self._numbers(self.latitude)
        facts: dict[str, NDArray[Any]] = {}
        for name in self.attributes:
            if name not in PLACE:  # numbers, or text
                values = table_of(self.path)[name].to_numpy()
                facts[name] = values if values.dtype.kind in "fiub" else values.astype(str)
        facts |= {"longitude": longitude, "latitude": latitude}
        noise = streams.fixed("places").standard_normal(units)
        prosperity = self._numbers(self.prosperity) if self.prosperity else noise
        group = np.zeros(units, dtype=np.intp)
        if self.group:
            group = np.unique(facts[self.group].astype(str), return_inverse=True)[1].astype(np.intp)
        return Places(self._names, longitude, latitude, group, standard(prosperity), facts)

    @property
    def _names(self) -> tuple[str, ...]:
        from sim.panel_files import unit_labels  # pandas is slow to import

        return tuple(unit_labels(table_of(self.path)[self.unit]).tolist())

    def _numbers(self, name: str) -> NDArray[np.float64]:
        """A column's numbers, NaN where it holds none."""
        import pandas as pd

        return pd.to_numeric(table_of(self.path)[name], errors="coerce").to_numpy(dtype=np.float64)


PLACE = ("longitude", "latitude")


@lru_cache(maxsize=8)
def table_of(text: str) -> pd.DataFrame:
    """The table that the text of a file holds; raises BadInput."""
    from sim.panel_files import read_frame

    with as_file(text) as path:
        return read_frame(path)


# Places drawn uniformly over a square of the globe.


CENTRE = (110.0, 32.0)  # longitude and latitude of the square's middle, degrees


@dataclass(frozen=True, slots=True)
class InGroups(Geography):
    """Places in compact groups, as many as dialled."""

    attributes: ClassVar[tuple[str, ...]] = ("group", "longitude", "latitude")

    groups: int = 8

    @property
    def group_count(self) -> int:
        """As dialled."""
        return self.groups


@dataclass(frozen=True, slots=True)
class Uniform(InGroups):
    """Units at random places of a square; groups are compact: a grid of blocks over the square.

    groups: how many groups, such as provinces. width: of the square in degrees.
    """

    kind: ClassVar[str] = "uniform"
    ranges: ClassVar = {"groups": whole_from(1), "width": Range(0.0, 60.0, "more than 0, less than 60", open=True)}

    width: float = 20.0

    def places(self, streams: Streams, units: int) -> Places:
        """Uniform coordinates around the centre."""
        rng = streams.fixed("places")
        longitude, latitude = rng.uniform(-0.5, 0.5, (2, units)) * self.width + np.array(CENTRE)[:, None]
        return placed(longitude, latitude, self.groups, rng)


def placed(longitude: Floats, latitude: Floats, groups: int, rng: np.random.Generator) -> Places:
    """Places with compact groups of nearly equal size and a random prosperity."""
    group = compact_groups(longitude, latitude, groups)
    names = tuple(f"unit {i + 1:0{len(str(len(group)))}d}" for i in range(len(group)))
    facts = {"group": np.array([f"group {g + 1}" for g in group]), "longitude": longitude, "latitude": latitude}
    return Places(names, longitude, latitude, group, standard(rng.standard_normal(len(group))), facts)


def compact_groups(longitude: Floats, latitude: Floats, groups: int) -> NDArray[np.intp]:
    """Codes of G groups of neighbours, as equal in size as can be: columns of about sqrt(G) blocks each, (N,)."""
    columns = max(round(np.sqrt(groups)), 1)
    blocks = np.diff(np.linspace(0, groups, columns + 1).astype(int))  # blocks a column
    cuts = np.cumsum(blocks)[:-1] * len(longitude) // groups
    group = np.empty(len(longitude), dtype=np.intp)
    first = 0
    for column, count in zip(np.split(np.argsort(longitude, kind="stable"), cuts), blocks, strict=True):
        upwards = column[np.argsort(latitude[column], kind="stable")]
        for block in np.array_split(upwards, count):
            group[block] = first
            first += 1
    return group


# Places on a square lattice.


@dataclass(frozen=True, slots=True)
class Grid(InGroups):
    """Units on a square lattice, row by row, the last row perhaps not full.

    groups: how many compact groups. step: degrees between neighbours.
    """

    kind: ClassVar[str] = "grid"
    ranges: ClassVar = {"groups": whole_from(1), "step": POSITIVE}

    step: float = 0.5

    def places(self, streams: Streams, units: int) -> Places:
        """Rows of ceil(sqrt(N)) units around the centre."""
        side = int(np.ceil(np.sqrt(units)))
        row, column = np.divmod(np.arange(units), side)
        middle = (side - 1) / 2
        longitude, latitude = CENTRE[0] + self.step * (column - middle), CENTRE[1] + self.step * (row - middle)
        places = placed(longitude, latitude, self.groups, streams.fixed("places"))
        return replace(places, lattice=np.stack([row, column], axis=1))


# The units of a panel that is kept, with all else that other parts keep of it.


@dataclass(frozen=True, slots=True, repr=False)
class UnitsOfPanel(Geography):
    """The units of a real panel; parts of the kinds kept, fitted and residuals take their numbers from it too.

    panel: a Parquet file beside the study file, as `panelproof twin` writes it; a store holds the panel itself, as a
    text. groups: an attribute of the units whose values group them; "" is one group. prosperity: a variable or a
    numeric attribute whose mean of each unit is its prosperity; "" is none.
    """

    kind: ClassVar[str] = "kept"
    draws: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ("panel",)

    panel: str = ""
    groups: str = ""
    prosperity: str = ""

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """No panel, other periods, names that the panel lacks."""
        if not self.panel:
            yield fault("panel is missing", "a file panel.parquet beside the study file", "write one with: panelproof "
                        "twin PANEL")  # fmt: skip
            return
        held = self.held
        if len(held.periods) != len(summary.periods):
            what = f"periods = {len(summary.periods)}, but the panel that is kept has {len(held.periods)}"
            yield fault(what, f"{len(held.periods)}", "correct periods")
        if not held.balanced:
            yield fault("the panel that is kept has gaps", "every unit in every period", "keep its balanced part")
        if self.groups and self.groups not in held.attributes:
            yield fault(f"groups = {self.groups!r}", one_of(held.attributes), "name an attribute of the units")
        known = [*held.variables, *(name for name, x in held.attributes.items() if x.dtype.kind in "fiub")]
        if self.prosperity and self.prosperity not in known:
            yield fault(f"prosperity = {self.prosperity!r}", one_of(known), "name a variable of the panel")

    def __repr__(self) -> str:
        held = self.held if self.panel else None
        return f"Kept(panel={held!r}, groups={self.groups!r}, prosperity={self.prosperity!r})"

    @property
    def held(self) -> Panel:
        """The panel; raises BadInput where the text is none."""
        return panel_from(self.panel, "[design.geography] panel", "name a file beside the study file")

    @property
    def attributes(self) -> tuple[str, ...]:
        """Those of the panel."""
        return tuple(self.held.attributes) if self.panel else ()

    @property
    def group_count(self) -> int:
        """Different values of the attribute."""
        named = self.held.attributes.get(self.groups) if self.panel else None
        return 1 if named is None else len(np.unique(named))

    @property
    def fixed_units(self) -> int | None:
        """N of the panel."""
        return len(self.held.units) if self.panel else None

    def places(self, streams: Streams, units: int) -> Places:
        """The units with their facts; those without coordinates lie at the origin."""
        held = self.held
        origin = np.zeros(units)
        longitude, latitude = (
            np.asarray(held.attributes.get(name, origin), dtype=np.float64) for name in ("longitude", "latitude")
        )
        group = np.zeros(units, dtype=np.intp)
        if self.groups:
            group = np.unique(held.attributes[self.groups], return_inverse=True)[1].astype(np.intp)
        prosperity = origin
        if self.prosperity in held.variables:
            prosperity = standard(held.variables[self.prosperity][0].mean(axis=0))
        elif self.prosperity:
            prosperity = standard(np.asarray(held.attributes[self.prosperity], dtype=np.float64))
        return Places(held.units, longitude, latitude, group, prosperity, dict(held.attributes), kept=held)


# Units without places.


@dataclass(frozen=True, slots=True)
class Nowhere(Geography):
    """Units that are nowhere, for worlds without W; with groups, they are consecutive units, as equal as can be.

    groups: how many groups; with more than one, the attribute `group` holds their numbers.
    """

    kind: ClassVar[str] = "nowhere"
    draws: ClassVar[bool] = False  # but for prosperity
    ranges: ClassVar = {"groups": whole_from(1)}

    groups: int = 1

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """More groups than units."""
        if self.groups > summary.units:
            yield fault(f"groups = {self.groups} of {summary.units} units", f"1 to {summary.units}", "correct groups")

    @property
    def attributes(self) -> tuple[str, ...]:
        """The group, if there are several."""
        return ("group",) if self.groups > 1 else ()

    @property
    def group_count(self) -> int:
        """As dialled."""
        return self.groups

    def places(self, streams: Streams, units: int) -> Places:
        """All units at the origin."""
        group = np.arange(units) * self.groups // units
        names = tuple(f"unit {i + 1:0{len(str(units))}d}" for i in range(units))
        prosperity = standard(streams.fixed("places").standard_normal(units))
        facts = {"group": group} if self.groups > 1 else {}
        return Places(names, np.zeros(units), np.zeros(units), group.astype(np.intp), prosperity, facts)
