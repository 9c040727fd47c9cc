"""Columns that a spec makes: by [transform], in the order written; the treatment from its first period; unit means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, ValidationInfo

from experiments.settings import TomlReading, as_written
from sim.arrays import Floats
from sim.errors import BadInput, Problem, amount, bad, closest, gathering, listed, one_of, refuse
from sim.panel import Panel
from sim.panel_files import Rows, missing_columns, number_problems, numbers
from sim.schema import period_step

POINTWISE: dict[str, tuple[str, np.ufunc]] = {  # what a function takes, and the calculation
    "log": ("a column", np.log),
    "log1p": ("a column", np.log1p),
    "square": ("a column", np.square),
    "ratio": ("two columns", np.divide),
    "product": ("two columns", np.multiply),
    "scale": ("a column and a factor", np.multiply),
}
DOMAINS: dict[str, tuple[str, np.ufunc, float]] = {  # which values the last column may have, all where none stand here
    "log": ("values above 0", np.greater, 0.0),
    "log1p": ("values above -1", np.greater, -1.0),
    "ratio": ("a denominator other than 0", np.not_equal, 0.0),
}
OVER_TIME = ("lag", "difference")
CENTRE = "centre"  # a column less its mean over the rows that have a value
LINEAR = (CENTRE, "scale")  # functions of which a column is the same but for its origin and its unit
QUANTILES = "quantiles"  # units in groups of about one size, by their values of a column in a period
SHAPES = {name: takes for name, (takes, _) in POINTWISE.items()} | dict.fromkeys(
    (*OVER_TIME, CENTRE), "a column"
) | {QUANTILES: "a column, a number of groups and a period"}  # fmt: skip
COUNTS = {  # columns and numbers of each
    "a column": (1, 0), "two columns": (2, 0), "a column and a factor": (1, 1), SHAPES[QUANTILES]: (1, 2),
}  # fmt: skip
EXAMPLES = {"ratio": '["a", "b"]', "product": '["a", "b"]', "scale": '["a", 0.001]', QUANTILES: '["a", 2, 2006]'}
MOST_GROUPS = 20


@dataclass(frozen=True, slots=True)
class Transform:
    """The new column `name` = function(columns), columns[0] x factor, or `factor` groups by values in a period."""

    name: str
    function: str
    columns: tuple[str, ...]
    factor: float = 1.0
    period: int = 0


def read_transform(name: str, value: Any, where: str) -> Transform:
    """A [transform] entry, e.g. { log = "y" } or { ratio = ["a", "b"] }; raises BadInput."""
    where = f"{where} {name}"
    if not isinstance(value, Mapping) or len(value) != 1:
        raise BadInput(Problem(f"is {value!r}", where, f'one function, such as {{ log = "y" }}; {one_of(SHAPES)}',
                               "write a single function in braces"))  # fmt: skip
    function, given = next(iter(value.items()))
    if function not in SHAPES:
        raise BadInput(Problem(f"unknown function {function!r}", where, one_of(SHAPES), closest(function, SHAPES)))
    parts = given if isinstance(given, list) else [given]
    takes = SHAPES[function]
    columns = [part for part in parts if isinstance(part, str)]
    factors = [
        part for part in parts if isinstance(part, int | float) and not isinstance(part, bool) and isfinite(part)
    ]
    wanted = COUNTS[takes]
    if (len(columns), len(factors)) != wanted or len(parts) != sum(wanted):
        example = EXAMPLES.get(function, '"a"')
        raise BadInput(Problem(f"{function} = {given!r}", where, f"{function} of {takes}",
                               f"write {{ {function} = {example} }}"))  # fmt: skip
    if function == QUANTILES and not (isinstance(factors[0], int) and 2 <= factors[0] <= MOST_GROUPS
                                      and isinstance(factors[1], int)):  # fmt: skip
        raise BadInput(Problem(f"{function} = {given!r}", where, f"2 to {MOST_GROUPS} groups, and a period",
                               "write the column, the number of groups, the period"))  # fmt: skip
    period = int(factors[1]) if len(factors) > 1 else 0
    return Transform(name, function, tuple(columns), float(factors[0]) if factors else 1.0, period)


def _read_transforms(data: object, info: ValidationInfo) -> tuple[Transform, ...]:
    """The sound entries of a [transform] table; what is wrong with the others is noted."""
    reading = info.context
    assert isinstance(reading, TomlReading)
    where = f"{reading.file}, [transform]"
    if not isinstance(data, Mapping):
        reading.problems.append(
            Problem(f"is {as_written(data)}", where, 'a table such as ln_y = { log = "y" }', "write it as a table")
        )
        return ()
    found = []
    for name, value in data.items():
        with gathering(reading.problems):
            found.append(read_transform(name, value, where))
    made = {transform.name: transform.columns for transform in found}
    problems, before = [], set[str]()
    for name, columns in made.items():
        for column in (column for column in columns if column in made and column not in before):
            circle = _way(made, column, name)
            what = (
                f"a circle: {' takes '.join((name, *circle))}" if circle else f"takes {column!r}, which is made later"
            )
            remedy = "make one of them of other columns" if circle else f"write {column} above {name}"
            problems.append(Problem(what, f"{where} {name}", "columns of the file, and those made above", remedy))
        before.add(name)
    reading.problems.extend(problems)
    return tuple(found)


def _way(made: Mapping[str, Sequence[str]], start: str, end: str) -> tuple[str, ...]:
    """The columns from one that is made to another that it is made of; none where it is not."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while ways:
        way = ways.pop()
        if way[-1] == end:
            return way
        further = [column for column in made.get(way[-1], ()) if column not in seen]
        seen.update(further)
        ways += [(*way, column) for column in further]
    return ()


Transforms = Annotated[tuple[Transform, ...], BeforeValidator(_read_transforms)]


def apply_transforms(frame: pd.DataFrame, transforms: tuple[Transform, ...], rows: Rows) -> pd.DataFrame:
    """The table with its new columns; raises BadInput for lacking columns, text, and values out of a domain."""
    frame = frame.copy()
    notes: list[str] = []
    for transform in transforms:
        asked_by = f"[transform] {transform.name}"
        problems = missing_columns(frame, dict.fromkeys(transform.columns, asked_by))
        if transform.name in frame.columns:
            file = str(frame.attrs.get("file", "table"))
            problems.append(Problem(f"the column {transform.name!r} exists already", f"{file}, {asked_by}",
                                    "a new name", "choose another name"))  # fmt: skip
        refuse(problems)
        columns = number_columns(frame, transform.columns, rows)
        frame[transform.name] = _value(transform, columns, rows, notes)
    frame.attrs["made"] = tuple(notes)
    return frame


def number_columns(frame: pd.DataFrame, names: Sequence[str], rows: Rows) -> list[Floats]:
    """Columns of numbers, (rows,) each; raises BadInput with every text among them."""
    columns, problems = [], []
    for name in names:
        values, wrong = numbers(frame[name])
        problems += number_problems(values, wrong, frame[name], rows)
        columns.append(values)
    refuse(problems)
    return columns


def periods_without(transforms: tuple[Transform, ...], used: frozenset[str], rows: Rows) -> frozenset[int]:
    """The periods of a panel in which the lags and differences behind the `used` columns have no value for any unit."""
    every, step = frozenset(rows.years.tolist()), period_step(rows.years)
    lacking: dict[str, frozenset[int]] = {}
    for transform in transforms:
        behind = frozenset[int]().union(*(lacking.get(name, frozenset()) for name in transform.columns))
        if transform.function in OVER_TIME:
            lagged = frozenset(year for year in every if year - step not in every or year - step in behind)
            behind = lagged if transform.function == "lag" else lagged | behind
        lacking[transform.name] = behind
    return frozenset[int]().union(*(lacking.get(name, frozenset()) for name in used))


def _value(transform: Transform, columns: list[Floats], rows: Rows, notes: list[str]) -> Floats:
    """The new column, (rows,), and notes on what it is where its file does not say so."""
    if transform.function in OVER_TIME:  # each row's value one step of the panel before, NaN where there is none
        cells = pd.MultiIndex.from_arrays([rows.labels, rows.years])
        earlier = pd.MultiIndex.from_arrays([rows.labels, rows.years - period_step(rows.years)])
        at = cells.get_indexer(earlier)
        before = np.where(at >= 0, columns[0][at], np.nan)
        return before if transform.function == "lag" else columns[0] - before
    if transform.function == CENTRE:
        given = columns[0][~np.isnan(columns[0])]
        if not given.size:
            raise bad(f"{transform.columns[0]!r} has no value in any row",
                      where=f"{rows.file}, [transform] {transform.name}", allowed="a column with values",
                      remedy="name another column")  # fmt: skip
        notes.append(f"{transform.name} is {transform.columns[0]} less {given.mean():.6g}, its mean over the "
                     f"{given.size:,} rows of the file that have a value.")  # fmt: skip
        return np.asarray(columns[0] - given.mean())
    if transform.function == QUANTILES:  # 1, 2, ... by units' values in a period, the same in all rows of a unit
        name, groups, period = transform.columns[0], int(transform.factor), transform.period
        where = f"{rows.file}, [transform] {transform.name}"
        base = pd.Series(columns[0][rows.years == period], np.asarray(rows.labels)[rows.years == period]).dropna()
        lacking = [str(unit) for unit in dict.fromkeys(rows.labels) if unit not in base.index]
        if lacking:
            raise bad(f"{name} has no value in {period} for {amount(len(lacking), 'unit')}: {listed(lacking)}",
                      where=where, allowed="a value of every unit in that period",
                      remedy="choose another period, or fill them")  # fmt: skip
        ends = np.quantile(base, np.arange(1, groups) / groups)
        codes = pd.Series(np.searchsorted(ends, base.to_numpy(), side="left") + 1.0, base.index)
        sizes = [int((codes == group + 1).sum()) for group in range(groups)]
        if min(sizes) == 0:
            raise bad(f"{groups} groups by {name} in {period} have {listed(sizes)} units", where=where,
                      allowed="units in every group",
                      remedy="ask for fewer groups: many units have the same value")  # fmt: skip
        said = [f"{group + 1}{f' up to {end:.6g}' if end is not None else ''} ({amount(size, 'unit')})"
                for group, (end, size) in enumerate(zip((*ends.tolist(), None), sizes, strict=True))]  # fmt: skip
        notes.append(f"{transform.name} groups units by {name} in {period}: {', '.join(said)}.")
        return codes.reindex(rows.labels).to_numpy(dtype=np.float64)
    if transform.function in DOMAINS:
        allowed, inside, limit = DOMAINS[transform.function]
        seen = np.all([~np.isnan(values) for values in columns], axis=0)
        outside = np.flatnonzero(seen & ~inside(columns[-1], limit))
        if outside.size:
            value, where = columns[-1][outside[0]], rows.at(int(outside[0]), transform.columns[-1])
            other = ", or use log1p" if transform.function == "log" and columns[0][outside].min() > -1 else ""
            remedy = f"correct those cells or leave them empty{other}"
            raise BadInput(Problem(f"{transform.function} of {value:g} ({outside.size} such rows)",
                                   f"{where}, for {transform.name!r}", allowed, remedy))  # fmt: skip
    if transform.function == "scale":
        columns = [*columns, np.asarray(transform.factor)]
    return np.asarray(POINTWISE[transform.function][1](*columns))


def from_first_year(column: pd.Series[Any], rows: Rows) -> Floats:
    """1 from a unit's first treated period on, else 0, (rows,); empty, infinite, 0 or -1 before the first = never.

    Raises BadInput for text, fractions, several values within a unit, and values below 0 where no period is.
    """
    given, wrong = numbers(column)
    first = np.where(np.isinf(given), np.nan, given)
    if rows.years.min() > 0:
        first[np.isin(first, (0, -1))] = np.nan  # codes for "never" of several programs
    problems = number_problems(first, wrong, column, rows)
    outside = np.flatnonzero(~np.isnan(first) & ((first != np.round(first, 0)) | (first < min(0, rows.years.min()))))
    if outside.size:
        problems.append(Problem(f"is {first[outside[0]]:g}", rows.at(int(outside[0]), str(column.name)),
                                "a period, or empty for never", "correct the cell"))  # fmt: skip
    grouped = pd.Series(first).groupby(rows.labels)
    distinct = grouped.nunique()
    if (distinct > 1).any():
        unit = distinct.index[distinct > 1][0]
        problems.append(Problem(f"the unit {unit} has several first treated periods", f"{rows.file}, column "
                                f"{column.name!r}", "one a unit", "keep the first"))  # fmt: skip
    refuse(problems)
    return np.asarray(rows.years >= grouped.transform("min").fillna(np.inf).to_numpy(), dtype=np.float64)


def with_capital(panel: Panel, file: str, column: str | None) -> Panel:
    """The panel with the attribute `capital` as a bool; raises BadInput when the column is not 0/1."""
    if column is None:
        return panel
    values = panel.attributes["capital"]
    odd = [unit for unit, value in zip(panel.units, values, strict=True) if value not in (0, 1)]
    if odd:
        raise bad(f"is neither 0 nor 1 for {listed(odd)}", where=f"{file}, column {column!r}", allowed="0 or 1",
                  remedy="code capitals 1 and other units 0")  # fmt: skip
    return replace(panel, attributes={**panel.attributes, "capital": values.astype(bool)})
