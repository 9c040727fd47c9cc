"""The numbers that a paper prints, with the rounding they stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import bad

HALF = 0.5e-4  # of the last digit of tables 1-5 and 7, which have four decimals
HALF_OF_TESTS = 0.5e-3  # of table 6, which has three
SHAPE = (
    'JSON: {"1": {variable: {n, mean, sd, min, max}}, "2": {column: {terms: {name: {estimate, se, stars}}, r2}}, ..., '
    '"6": {year: {moran_i, moran_z, geary_c, geary_z}}, "7": ... with loglik}'
)


@dataclass(frozen=True, slots=True)
class Term:
    """A coefficient, the figure in brackets below it, and its stars."""

    estimate: float
    bracket: float
    stars: int


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a regression table; `constant` stands among the terms."""

    table: str
    heading: str
    terms: Mapping[str, Term]
    r2: float | None
    loglik: float | None

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"table {self.table}, column {self.heading}"


@dataclass(frozen=True, slots=True)
class Moments:
    """A row of the descriptive statistics."""

    n: int
    mean: float
    sd: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Year:
    """A row of the spatial autocorrelation table."""

    moran: float
    moran_z: float
    geary: float
    geary_z: float


@dataclass(frozen=True, slots=True)
class PrintedTables:
    """All tables: descriptive statistics by variable, regressions by table, spatial autocorrelation by year."""

    descriptive: Mapping[str, Moments]
    regressions: Mapping[str, tuple[Column, ...]]
    years: Mapping[int, Year]

    def column(self, table: str, number: int) -> Column:
        """Column `number`, from 1."""
        return self.regressions[table][number - 1]


def read_printed(path: Path) -> PrintedTables:
    """Tables "1" to "7" of a JSON file; raises BadInput when it is not one or lacks a part."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        tables = PrintedTables(
            descriptive={name: _moments(row) for name, row in data["1"].items()},
            regressions={table: tuple(_columns(table, data[table])) for table in ("2", "3", "4", "5", "7")},
            years={
                int(year): Year(row["moran_i"], row["moran_z"], row["geary_c"], row["geary_z"])
                for year, row in data["6"].items()
            },
        )
        _check_complete(tables)
    except OSError as error:
        raise bad(f"cannot be read: {error.strerror}", where=str(path), allowed="a JSON file of printed tables",
                  remedy="check the path") from error  # fmt: skip
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise bad(f"is not a file of printed tables ({type(error).__name__}: {error})", where=str(path),
                  allowed=SHAPE, remedy="complete it") from error  # fmt: skip
    return tables


def _check_complete(tables: PrintedTables) -> None:
    """Raise KeyError for a part that the checks need."""
    for name in ("eip", "icr"):
        tables.descriptive[name]
    for table, columns, term in (("2", 5, "did"), ("4", 2, "did"), ("5", 2, "did"), ("7", 3, "sigma2")):
        found = tables.regressions[table]
        if len(found) < columns or any(term not in column.terms for column in found):
            raise KeyError(f"table {table} needs {columns} columns with {term}")
    if not tables.years:
        raise KeyError("table 6 has no years")


def _moments(row: Mapping[str, Any]) -> Moments:
    return Moments(int(row["n"]), float(row["mean"]), float(row["sd"]), float(row["min"]), float(row["max"]))


def _columns(table: str, columns: Mapping[str, Any]) -> list[Column]:
    return [
        Column(
            table,
            heading,
            {
                name: Term(float(term["estimate"]), float(term["se"]), int(term["stars"]))
                for name, term in column["terms"].items()
            },
            column.get("r2"),
            column.get("loglik"),
        )
        for heading, column in columns.items()
    ]
