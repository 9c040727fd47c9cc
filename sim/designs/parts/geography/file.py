"""Units of a table: their names, places, groups and facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sim.designs.parts.geography import Geography
from sim.designs.parts.ground import Places, standard
from sim.designs.parts.part import Outline, fault
from sim.errors import BadInput, Problem, closest, listed, one_of
from sim.panel.file_text import as_file, file_text
from sim.streams import Streams

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".parquet", ".dta", ".xlsx")


@dataclass(frozen=True, slots=True)
class File(Geography):
    """The units of a table with one row a unit, in the order of its rows.

    path: a csv, Parquet, Stata or Excel file beside the study file; a store holds the file itself, as a text. unit: the
    column of their names. longitude, latitude: columns of degrees. group: the column whose values group units; "" is
    one group. prosperity: a column of numbers that says how developed units are; "" draws it. columns: further columns
    that become attributes of the units.
    """

    kind: ClassVar[str] = "file"
    paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str = ""
    unit: str = "unit"
    longitude: str = "longitude"
    latitude: str = "latitude"
    group: str = ""
    prosperity: str = ""
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", file_text(self.path, TABLES))

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Columns that lack, names that repeat, numbers that are none."""
        try:
            table = table_of(self.path)
        except BadInput as error:
            yield from error.problems
            return
        named = [self.unit, self.longitude, self.latitude, *filter(None, (self.group, self.prosperity)), *self.columns]
        lacking = [name for name in dict.fromkeys(named) if name not in table.columns]
        for name in lacking:
            yield fault(f"the table has no column {name!r}", one_of(map(str, table.columns)),
                        closest(name, map(str, table.columns)))  # fmt: skip
        if self.unit not in lacking and len(set(names := self._names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            yield fault(f"units repeat in column {self.unit!r}: {listed(twice)}", "one row a unit", "remove rows")
        limits = {self.longitude: 180.0, self.latitude: 90.0} | ({self.prosperity: np.inf} if self.prosperity else {})
        for name, limit in limits.items():
            if name not in lacking and not (np.abs(self._numbers(name)) < limit).all():
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

    @property
    def draws(self) -> bool:
        """Only prosperity is, unless a column says it."""
        return False

    def places(self, streams: Streams, units: int) -> Places:
        """The table."""
        longitude, latitude = self._numbers(self.longitude), self._numbers(self.latitude)
        facts = {name: plain(table_of(self.path)[name]) for name in self.attributes if name not in PLACE}
        facts |= {"longitude": longitude, "latitude": latitude}
        noise = streams.fixed("places").standard_normal(units)
        prosperity = self._numbers(self.prosperity) if self.prosperity else noise
        group = np.zeros(units, dtype=np.intp)
        if self.group:
            group = np.unique(facts[self.group].astype(str), return_inverse=True)[1].astype(np.intp)
        return Places(self._names, longitude, latitude, group, standard(prosperity), facts)

    @property
    def _names(self) -> tuple[str, ...]:
        from sim.panel.long_table import unit_labels  # pandas is slow to import

        return tuple(unit_labels(table_of(self.path)[self.unit]).tolist())

    def _numbers(self, name: str) -> NDArray[np.float64]:
        """A column's numbers, NaN where it holds none."""
        import pandas as pd

        return pd.to_numeric(table_of(self.path)[name], errors="coerce").to_numpy(dtype=np.float64)


PLACE = ("longitude", "latitude")


@lru_cache(maxsize=8)
def table_of(text: str) -> pd.DataFrame:
    """The table that the text of a file holds; raises BadInput."""
    from sim.panel.files import read_frame

    with as_file(text) as path:
        return read_frame(path)


def plain(column: pd.Series[Any]) -> NDArray[Any]:
    """A column as numbers, or as text."""
    values = column.to_numpy()
    return values if values.dtype.kind in "fiub" else values.astype(str)
