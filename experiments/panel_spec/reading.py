"""[read] and [recode] of a SPEC.toml: how cells that hold text become numbers, and what `init` proposes for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, override

import numpy as np
import pandas as pd
from pydantic import Field

from experiments.toml_files import Flag, Name, Number, Table
from sim.errors import BadInput, Problem, bad, listed, one_of, refuse
from sim.panel_files import numbers, read_frame, unit_labels

Text = Annotated[str, Field(strict=True)]
YEAR = re.compile(r"(?<!\d)(1[89]\d\d|20\d\d|21\d\d)(?!\d)")
GROUPED = re.compile(r"[-+]?\d{1,3}(?:[,\uff0c]\d{3})+(?:\.\d+)?%?")
PERCENT = re.compile(r"[-+]?[\d.,\uff0c]+\s*[%\uff05]")
MOST_TITLES = 6  # rows above a header that `init` leaves out by itself
MOST_MARKS = 3  # texts of a column of numbers that may mean missing
MOSTLY = 0.8  # share of numbers from which a column of text is meant as one
YES = ("yes", "y", "true", "treated", "是", "有", "1")
NO = ("no", "n", "false", "control", "untreated", "否", "无", "0")


class ReadSection(Table):
    """[read]: how cells that are no plain numbers are read.

    skip: rows above the header, such as a title (csv, xlsx). missing: texts that mean missing, such as "-" and "...".
    thousands: whether "1,234" is 1234. percent: "points" reads "12%" as 12, "share" as 0.12. years: whether a period is
    the one year that its text or date holds, such as "2006年".
    """

    place: ClassVar[str] = "[read]"
    partial: ClassVar[bool] = True

    skip: Annotated[int, Field(ge=0, le=100, strict=True)] = 0
    missing: tuple[Text, ...] = ()
    thousands: Flag = False
    percent: Literal["points", "share"] | None = None
    years: Flag = False

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        for text in self.missing:
            if numbers(pd.Series([text]))[1].size == 0 and text.strip():
                yield Problem(f"missing names the number {text!r}", where, 'texts such as "-"',
                              "name numbers in [panel] missing_codes")  # fmt: skip


Recoding = dict[Name, dict[Text, Number]]


def as_read(
    frame: pd.DataFrame, asked: ReadSection | None, recode: Mapping[str, Mapping[str, float]], keys: tuple[str, str],
    file: str,
) -> pd.DataFrame:  # fmt: skip
    """The table with numbers for the texts that [read] and [recode] name, the keys' as they are.

    keys: the columns of units and periods. Raises BadInput for columns that lack, for values of a recoded column that
    have no number, and for periods without one year.
    """
    made: dict[str, pd.Series[Any]] = {}
    read = asked or ReadSection()
    if read.missing or read.thousands or read.percent:
        for name in (name for name in frame.columns if name not in keys and _is_text(frame[name])):
            made[name] = frame[name].map(lambda value: _number(value, read))
    if read.years and keys[1] in frame.columns:
        made[keys[1]] = _years(frame, keys[1])
    problems = []
    for name, table in recode.items():
        if name not in frame.columns:
            problems.append(Problem(f"there is no column {name!r}", f"{file}, [recode]", one_of(frame.columns, name),
                                    "correct the name"))  # fmt: skip
            continue
        labels = pd.Series(unit_labels(frame[name]), index=frame.index)
        given = sorted({label for label in labels if label and label not in table})
        if given:
            problems.append(Problem(f"{name!r} holds {listed(map(repr, given), 4)}", f"{file}, [recode] {name}",
                                    "a number for every value", f"add {given[0]!r} = ..."))  # fmt: skip
        made[name] = labels.map(lambda label, table=table: table.get(label, np.nan)).astype(float)
    refuse(problems)
    changed = frame.assign(**made) if made else frame
    changed.attrs = frame.attrs
    return changed


def _is_text(column: pd.Series[Any]) -> bool:
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column))


def _number(value: object, read: ReadSection) -> object:
    """A cell by the rules: NaN where its text means missing, a number where it is one, else as it is."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text in read.missing:
        return np.nan
    share = 1.0
    if read.percent and PERCENT.fullmatch(text):
        text, share = text.rstrip("%\uff05 "), 0.01 if read.percent == "share" else 1.0
    if read.thousands and GROUPED.fullmatch(text):
        text = text.replace(",", "").replace("\uff0c", "")
    try:
        return float(text) * share
    except ValueError:
        return value


def _years(frame: pd.DataFrame, period: str) -> pd.Series[Any]:
    """The year of each period; raises BadInput for a text that has none, or two."""
    column = frame[period]
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.dt.year
    found = pd.Series([set(YEAR.findall(label)) for label in unit_labels(column)], index=column.index)
    wrong = np.flatnonzero(found.map(len).to_numpy() != 1)
    if wrong.size:
        at, many = int(wrong[0]), "several years" if found.iloc[wrong[0]] else "no year"
        row = int(frame.attrs.get("first_row", 1)) + at
        raise bad(f"the period {column.iloc[at]!r} holds {many}",
                  where=f"{frame.attrs.get('file', 'table')}, column {period!r}, row {row}",
                  allowed='one year, such as "2006年"', remedy="correct it, or leave years out of [read]")  # fmt: skip
    return found.map(lambda years: int(next(iter(years))))


# Wide tables: a row a unit, a column for every variable and year.


WIDE = re.compile(r"(?P<name>.*?)[ _.\-]?(?P<year>1[89]\d\d|20\d\d|21\d\d)年?")
FEWEST_YEARS = 2  # of a variable of a wide table


def wide_columns(frame: pd.DataFrame) -> dict[str, dict[int, str]]:
    """The columns of each variable of a wide table by their years: gdp2006, gdp_2006 or, as variable "", 2006."""
    found: dict[str, dict[int, str]] = {}
    for name in map(str, frame.columns):
        if match := WIDE.fullmatch(name.strip()):
            found.setdefault(match["name"].strip(), {})[int(match["year"])] = name
    return {name: years for name, years in found.items() if len(years) >= FEWEST_YEARS}


def to_long(frame: pd.DataFrame, *, value: str = "value", period: str = "year") -> pd.DataFrame:
    """The long table of a wide one: a row a unit and year, other columns repeated.

    value: the name of a variable whose columns are called by their years alone. period: the name of the years' column.
    Raises BadInput for a table that is not wide, and for names that are taken.
    """
    variables, file = wide_columns(frame), str(frame.attrs.get("file", "table"))
    if not variables:
        raise bad("no column is called by a name and a year", where=file, allowed="columns such as gdp2006 and gdp2007",
                  remedy="the table may be long already: panelproof init")  # fmt: skip
    names = {name: name or value for name in variables}
    moved = {column for years in variables.values() for column in years.values()}
    kept = [name for name in map(str, frame.columns) if name not in moved]
    taken = [name for name in (period, *names.values()) if name in kept]
    if taken or len(set(names.values())) < len(names):
        raise bad(f"the name {(taken or [value])[0]!r} is taken", where=file, allowed="new names",
                  remedy="rename that column, or say --value and --period")  # fmt: skip
    frame = frame.set_axis(list(map(str, frame.columns)), axis=1)
    every = sorted({year for years in variables.values() for year in years})
    parts = [frame[kept].assign(**{period: year}, **{
        names[name]: frame[years[year]] if year in years else np.nan for name, years in variables.items()
    }) for year in every]  # fmt: skip
    long = pd.concat(parts, ignore_index=True)
    return long.iloc[np.argsort(np.tile(np.arange(len(frame)), len(every)), kind="stable")].reset_index(drop=True)


# What `init` proposes for a table as it was read.


@dataclass(slots=True)
class Proposal:
    """Rules that make numbers of a table's text, and why, in words."""

    missing: dict[str, None] = field(default_factory=dict)
    thousands: bool = False
    percent: bool = False
    recode: dict[str, dict[str, float]] = field(default_factory=dict)
    skip: int = 0
    period: str = ""  # the column of texts or dates with one year each

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The table as these rules read it."""
        return as_read(frame, self.read, self.recode, ("", self.period), "[read]")

    @property
    def read(self) -> ReadSection:
        """The section."""
        return ReadSection(skip=self.skip, missing=tuple(self.missing), thousands=self.thousands,
                           percent="points" if self.percent else None, years=bool(self.period))  # fmt: skip

    @property
    def lines(self) -> list[str]:
        """The tables as a SPEC.toml has them, with a remark where something is a choice."""
        rules = [
            *([f"skip = {self.skip}  # rows above the header"] if self.skip else []),
            *([f"missing = [{', '.join(map(_quoted, self.missing))}]  # texts among numbers"] if self.missing else []),
            *(['thousands = true  # "1,234" is 1234'] if self.thousands else []),
            *(['percent = "points"  # "12%" is 12; or "share": 0.12'] if self.percent else []),
            *(['years = true  # a period is the year in its text'] if self.period else []),
        ]  # fmt: skip
        tables = ["[read]", *rules, ""] if rules else []
        if self.recode:
            tables.append("[recode]  # check which value is 1")
            for name, table in self.recode.items():
                held = ", ".join(f"{_quoted(label)} = {value:g}" for label, value in table.items())
                tables.append(f"{_quoted(name)} = {{ {held} }}")
            tables.append("")
        return tables


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def proposed(frame: pd.DataFrame, skip: int = 0) -> Proposal:
    """Rules for columns of text that are mostly numbers, periods that are texts or dates with one year, and columns of
    two words that say yes and no."""
    found = Proposal(skip=skip)
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_datetime64_any_dtype(column):
            one_each = 1 < column.dt.year.nunique() == column.nunique()
            found.period = found.period or str(name) * one_each
            continue
        labels = [label for label in (unit_labels(column) if _is_text(column) else ()) if label]
        if not labels:
            continue
        years = {label: set(YEAR.findall(label)) for label in labels}
        each = {next(iter(found_in)) for found_in in years.values() if len(found_in) == 1}
        if 1 < len(each) == len(years) and not all(map(str.isdecimal, labels)):
            found.period = found.period or str(name)
            continue
        words = {label.lower(): label for label in labels}
        yes, no = ([words[word] for word in words if word in side] for side in (YES, NO))
        if len(words) == 2 and len(yes) == len(no) == 1:
            found.recode[str(name)] = {yes[0]: 1.0, no[0]: 0.0}
            continue
        _propose_numbers(labels, found)
    return found


def _propose_numbers(labels: list[str], found: Proposal) -> None:
    """Rules for a column of text that is mostly numbers."""
    tried = ReadSection(thousands=True, percent="points")
    marks = {label for label in labels if isinstance(_number(label, tried), str)}
    numeric = sum(label not in marks for label in labels)
    if numeric < MOSTLY * len(labels) or len(marks) > MOST_MARKS or any(mark[:1].isdigit() for mark in marks):
        return
    found.missing |= dict.fromkeys(sorted(marks))
    found.thousands |= any(GROUPED.fullmatch(label.rstrip("%\uff05 ")) is not None for label in labels)
    found.percent |= any(PERCENT.fullmatch(label) is not None for label in labels)


def first_read(path: str | Path, sheet: str | None = None) -> tuple[int, pd.DataFrame]:
    """How many rows stand above the header of a file, and its table: the first whose columns all have names.

    Raises BadInput for a file that is no table with any of the first rows left out.
    """
    found, refusal = [], None
    for skip in range(MOST_TITLES + 1):
        try:
            frame = read_frame(path, sheet, skip)
        except BadInput as error:
            if skip == 0 and not str(path).lower().endswith((".csv", ".xlsx")):
                raise
            refusal = refusal or error
            continue
        if len(frame.columns) > 2 and not any(str(name).startswith("Unnamed") for name in frame.columns):
            return skip, frame
        found.append((skip, frame))
    if not found:
        assert refusal is not None
        raise refusal
    return found[0]
