"""[read] and [recode] of a SPEC.toml: where a table stands, how text becomes numbers, and what `init` proposes."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, override

import numpy as np
import pandas as pd
from pydantic import Field

from experiments.settings import Flag, Name, Names, Number, Table, Value, in_toml
from sim.arrays import Floats
from sim.errors import BadInput, Problem, amount, bad, closest, listed, number_in, one_of, refuse
from sim.panel_files import (
    NOT_AVAILABLE,
    WESTERN,
    TablePlace,
    cell_text,
    coded,
    missing_columns,
    numbers,
    plain,
    read_frame,
    unit_label,
    unit_labels,
)
from sim.schema import NEVER_WORDS, NO, YES, absent_periods, serial_years

Text = Annotated[str, Field(strict=True)]
YEAR = re.compile(r"(?<!\d)(1[89]\d\d|20\d\d|21\d\d)(?!\d)")
PLAIN_YEAR = re.compile(r"\d+ ?(?:年度?)?")
GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(?:[, ]\d{3})+(?:\.\d+)?")  # 1,234.5
MANY_GROUPS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:,\d{3}|\.\d+)")  # no decimal comma: 1,234,567 or 1,234.5
BY_COMMA = re.compile(r"[-+]?(?:\d+|[1-9]\d{0,2}(?:[. ]\d{3})+)(?:,\d+)?")  # 1.234,5 with a decimal comma
CHINESE = "\u2e80"  # the first of the signs whose words no blanks part
PERCENT = re.compile(r"[-+]?[\d., ]+%")
MOST_TITLES = 6  # rows above a header that `init` leaves out by itself
MOST_MARKS = 3  # texts of a column of numbers that may mean missing
MOSTLY = 0.8  # share of numbers from which a column of text is meant as one
PERIOD_WORDS = ("year", "period", "time", "date", "yr", "jahr", "annee", "année", "ano", "año", "anno", "年份",
                "年度", "年")  # fmt: skip
UNITS_ROW = 2  # columns of numbers at the least under whose names another text stands


class ReadSection(Table):
    """[read]: where the table stands in its file, and how cells that are no plain numbers are read.

    skip: rows above the header, such as a title (csv, xlsx). skip_below: rows below the table, such as notes.
    skip_under: rows under the header, such as units of measurement. header: rows of the header, whose texts are joined:
    2 where names of groups stand above those of columns. fill: columns whose empty cells take the value above them,
    such as names in merged cells. exclude: values of a column whose rows are left out, such as totals. missing: texts
    that mean missing in columns other than the unit's, such as "-", and "NA" where it would be a name. thousands:
    whether "1,234" is 1234. decimal: "," reads "1,234" as 1.234 (and, with thousands, "1.234,5" as 1234.5). percent:
    "points" reads "12%" as 12, "share" as 0.12. years: whether a period, or a first treated period, is the one year
    that its text or date holds, such as "2006年".
    """

    place: ClassVar[str] = "[read]"
    partial: ClassVar[bool] = True

    skip: Annotated[int, Field(ge=0, le=100, strict=True)] = 0
    skip_below: Annotated[int, Field(ge=0, le=1000, strict=True)] = 0
    skip_under: Annotated[int, Field(ge=0, le=10, strict=True)] = 0
    header: Annotated[int, Field(ge=1, le=3, strict=True)] = 1
    fill: Names = ()
    exclude: dict[Name, tuple[Value, ...]] = Field(
        default_factory=dict, description='lists of values by column, such as { city = ["Total"] }'
    )
    missing: tuple[Text, ...] = ()
    thousands: Flag = False
    decimal: Literal[".", ","] = "."
    percent: Literal["points", "share"] | None = None
    years: Flag = False

    @property
    def table_place(self) -> TablePlace:
        """Where the table begins and ends."""
        return TablePlace(self.skip, self.skip_below, self.header, self.skip_under)

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        for text in self.missing:
            if numbers(pd.Series([text]))[1].size == 0 and text.strip():
                yield Problem(f"missing names the number {text!r}", where, 'texts such as "-"',
                              "name numbers in [panel] missing_codes")  # fmt: skip


Recoding = dict[Name, dict[Text, Number]]


def as_read(
    frame: pd.DataFrame, asked: ReadSection | None, recode: Mapping[str, Mapping[str, float]], keys: tuple[str, str],
    file: str, dates: tuple[str, ...] = (), *, pooled: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """The table without excluded rows, with numbers for the texts that [read] and [recode] name, the keys' as they are.

    keys: the columns of units and periods. dates: further columns that hold a year. pooled: whether a unit and period
    may have several rows. `attrs["read"]` says which texts and dates were read as years. Raises BadInput for columns
    and values that lack, for values of a recoded column that have no number, and for periods without one year, or of
    which a unit has several in one year.
    """
    read, attributes = asked or ReadSection(), frame.attrs
    refuse(missing_columns(frame, dict.fromkeys(read.fill, f"{file} [read] fill")))
    frame = frame.assign(**{name: frame[name].where(unit_labels(frame[name]) != "").ffill() for name in read.fill})
    frame.attrs = attributes
    frame = without_rows(frame, read.exclude, file)
    made: dict[str, pd.Series[Any]] = {}
    problems, said = list[Problem](), list[str]()
    if read.missing or read.thousands or read.percent or read.decimal == ",":
        for name in (name for name in frame.columns if name != keys[0] and _is_text(frame[name])):
            if coded(frame[name]):
                continue
            made[name] = frame[name].map(lambda value: _number(value, read)).infer_objects()
            if read.percent:
                problems += _percents(frame[name], made[name], file)
    if read.years:
        for name in (name for name in (keys[1], *dates) if name in frame.columns):
            made[name] = _years(frame.assign(**{name: made.get(name, frame[name])}), name, gaps=name != keys[1])
            said += [f"{name}: {example}." for example in (year_read(frame[name]),) if example]
        if not pooled and set(keys) <= set(frame.columns):
            problems += _several_a_year(frame, made[keys[1]], keys)
    for name, table in recode.items():
        if name not in frame.columns:
            problems.append(Problem(f"there is no column {name!r}", f"{file}, [recode]", one_of(frame.columns, name),
                                    closest(name, frame.columns)))  # fmt: skip
            continue
        labels = pd.Series(unit_labels(frame[name]), index=frame.index)
        given = sorted({label for label in labels if label and label not in table and label not in read.missing})
        if given:
            problems.append(Problem(f"{name!r} holds {listed(map(repr, given), 4)}", f"{file}, [recode] {name}",
                                    "a number for every value", f"add {given[0]!r} = ..."))  # fmt: skip
        made[name] = labels.map(lambda label, table=table: table.get(label, np.nan)).astype(float)
    refuse(problems)
    changed = frame.assign(**made) if made else frame
    changed.attrs = frame.attrs | {"read": tuple(said)}
    return changed


def without_rows(frame: pd.DataFrame, exclude: Mapping[str, tuple[Any, ...]], file: str) -> pd.DataFrame:
    """A table without the rows that hold these values; columns whose other cells are all numbers become such.

    Raises BadInput for values that the table does not hold.
    """
    problems, gone = [], np.zeros(len(frame), dtype=bool)
    for name, values in exclude.items():
        if name not in frame.columns:
            problems.append(Problem(f"there is no column {name!r}", f"{file}, [read] exclude",
                                    listed(frame.columns, 12), closest(name, frame.columns)))  # fmt: skip
            continue
        labels, wanted = unit_labels(frame[name]), list(unit_labels(pd.Series(values, dtype=object)))
        if absent := [value for value in wanted if value not in set(labels)]:
            problems.append(Problem(f"{name!r} does not hold {listed(map(repr, absent), 4)}",
                                    f"{file}, [read] exclude", "values of the column",
                                    "correct or remove it"))  # fmt: skip
        gone |= np.isin(labels.astype(str), wanted)
    refuse(problems)
    if not gone.any():
        return frame
    kept = frame.loc[~gone].infer_objects().reset_index(drop=True)
    for name in (name for name in kept.columns if _is_text(kept[name])):
        read, wrong = numbers(kept[name])
        if not wrong.size and numbers(frame[name])[1].size and not coded(kept[name]):
            kept[name] = read.astype(np.int64) if np.all(read % 1 == 0) else read
    before = frame.attrs.get("positions", range(len(frame)))
    kept.attrs = {**frame.attrs, "positions": tuple(before[i] for i in np.flatnonzero(~gone).tolist())}
    return kept


def _is_text(column: pd.Series[Any]) -> bool:
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column))


def _number(value: object, read: ReadSection) -> object:
    """A cell by the rules: NaN where its text means missing, a number where it is one, else as it is."""
    if not isinstance(value, str):
        return value
    if value.strip() in read.missing:
        return np.nan
    text, share = plain(value), 1.0
    if read.percent and PERCENT.fullmatch(text):
        text, share = text.rstrip("% "), 0.01 if read.percent == "share" else 1.0
    if read.decimal == ",":
        grouped = re.search(r"[. ]", text) is not None
        if not BY_COMMA.fullmatch(text) or (grouped and not read.thousands):
            return value
        text = re.sub(r"[. ]", "", text).replace(",", ".")
    elif read.thousands and GROUPED.fullmatch(text):
        text = re.sub(r"[, ]", "", text)
    try:
        return value if "_" in text or np.isnan(float(text)) else float(text) * share
    except ValueError:
        return value


def _percents(column: pd.Series[Any], made: pd.Series[Any], file: str) -> list[Problem]:
    """A problem for a column in which some numbers end in % and others, which are not 0, do not."""
    signed = np.array([isinstance(value, str) and PERCENT.fullmatch(plain(value)) is not None for value in column])
    values = numbers(made)[0]
    bare = np.isfinite(values) & (values != 0) & ~signed
    if not (signed.any() and bare.any()):
        return []
    at = int(np.argmax(bare))
    return [Problem(f"{int(signed.sum())} cells end in % and {int(bare.sum())} do not, such as {column.iloc[at]}",
                    f"{file}, column {column.name!r}", "% in all cells that are not 0, or in none",
                    "write all cells alike")]  # fmt: skip


def _years(frame: pd.DataFrame, name: str, *, gaps: bool = False) -> pd.Series[Any]:
    """The year of each period; raises BadInput for a text that has none, or two. gaps: whether cells may be empty."""
    column = frame[name]
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.dt.year
    if pd.api.types.is_numeric_dtype(column):
        days = serial_years(numbers(column)[0])
        return column if days is None else pd.Series(days, index=column.index)
    found = pd.Series([_year_of(value) for value in column], index=column.index, dtype=object)
    wrong = np.flatnonzero([len(years) != 1 and not (gaps and not years and not unit_label(value))
                            for years, value in zip(found, column, strict=True)])  # fmt: skip
    if wrong.size:
        at, many = int(wrong[0]), "several years" if found.iloc[wrong[0]] else "no year"
        place = frame.attrs.get("positions", range(len(frame)))[at]
        row = int(frame.attrs.get("first_row", 1)) + place
        raise bad(f"the period {column.iloc[at]!r} holds {many}",
                  where=f"{frame.attrs.get('file', 'table')}, column {name!r}, row {row}",
                  allowed='one year, such as "2006年"', remedy="correct it, or leave years out of [read]")  # fmt: skip
    return found.map(lambda years: next(iter(years)) if years else np.nan).astype(float)


def _several_a_year(frame: pd.DataFrame, years: pd.Series[Any], keys: tuple[str, str]) -> Iterator[Problem]:
    """A problem where a unit has several periods that are read as one year."""
    periods = pd.Series(unit_labels(frame[keys[1]]), frame.index)
    units = unit_labels(frame[keys[0]])
    several = periods.groupby([units, years]).nunique()
    if (several > 1).any():
        unit, year = several.index[several > 1][0]
        held = listed(dict.fromkeys(map(_period_text, frame[keys[1]][(units == unit) & (years == year)])), 3)
        more = int((several > 1).sum()) - 1
        yield Problem(f"{held} of {unit} are all read as {year:g}{f' ({more} more such)' if more else ''}",
                      f"{frame.attrs.get('file', 'table')}, column {keys[1]!r}", "one period a year",
                      "number the periods 1, 2, 3 and so on, and remove years from [read]")  # fmt: skip


def year_read(column: pd.Series[Any]) -> str:
    """How the first cell that is more than a plain year is read, "" where there is none."""
    days = serial_years(numbers(column)[0]) if pd.api.types.is_numeric_dtype(column) else None
    for at, value in enumerate(column.tolist()):
        years = _year_of(value) if days is None else {int(days[at])} if np.isfinite(days[at]) else set()
        if len(years) == 1 and (days is not None or not PLAIN_YEAR.fullmatch(unit_label(value))):
            return f"{_period_text(value)} is read as {next(iter(years))}"
    return ""


def _period_text(value: object) -> str:
    """A period as messages show it: a date without its hours, a text in quotes."""
    return f"{value:%Y-%m-%d}" if isinstance(value, datetime.date) else cell_text(value)


def _year_of(value: object) -> set[int]:
    """The years that a cell holds: of a date, of a text, or a number (0 and 9999 too, which mean never)."""
    if isinstance(value, datetime.date):  # a pandas Timestamp and a datetime are such
        return {value.year}
    label = unit_label(value)
    return {int(label)} if label.isdecimal() else {int(year) for year in YEAR.findall(label)}


# Numbers that mean missing.


CODES = (-9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0)  # that data files write for a missing value
ENOUGH = 10  # other values, without which no value is far from them


def codes_in(values: Floats) -> dict[float, int]:
    """Values that look like codes of a missing one, and how often each stands in a column, (rows,).

    They lie beyond all others by more than these spread, or are negative where no other is.
    """
    seen = values[np.isfinite(values)]
    rest = seen[~np.isin(seen, CODES)]
    if len(rest) < ENOUGH or len(rest) == len(seen):
        return {}
    low, high = rest.min(), rest.max()
    spread = max(high - low, np.finfo(float).tiny)
    return {code: int((seen == code).sum()) for code in CODES
            if (seen == code).any() and (not low - spread <= code <= high + spread or code < 0 <= low)}  # fmt: skip


def without_codes(frame: pd.DataFrame, codes: Sequence[float], keys: Sequence[str]) -> pd.DataFrame:
    """The table with empty cells where columns other than the keys hold numbers that mean missing."""
    numeric = [name for name in frame.columns if name not in keys and pd.api.types.is_numeric_dtype(frame[name])]
    made = frame.assign(**{name: frame[name].mask(frame[name].isin(codes)) for name in numeric})
    made.attrs = frame.attrs
    return made


# Wide tables: a row a unit, a column for every variable and year.


WIDE = re.compile(r"(?P<name>.*?)[ _.:,\-]*[(\[（]?(?P<year>1[89]\d\d|20\d\d|21\d\d)年?[)\]）]?")
WIDE_FIRST = re.compile(r"(?P<year>1[89]\d\d|20\d\d|21\d\d)年?[ _.:,\-]*(?P<name>\D.*)")
FEWEST_YEARS = 2  # of a variable of a wide table


def wide_columns(frame: pd.DataFrame) -> dict[str, dict[int, str]]:
    """The columns of each variable of a wide table by their years: gdp2006, gdp (2006), 2006_gdp or, as variable "",
    2006."""
    found: dict[str, dict[int, str]] = {}
    for name in map(str, frame.columns):
        if match := WIDE.fullmatch(name.strip()) or WIDE_FIRST.fullmatch(name.strip()):
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
    if kept and (twice := frame[frame[kept].duplicated()]).shape[0]:
        said = ", ".join(map(str, twice[kept].iloc[0]))
        raise bad(f"two rows are of {said}", where=file, allowed="one row a unit",
                  remedy="delete one, or name the units apart")  # fmt: skip
    every = sorted({year for years in variables.values() for year in years})
    parts = [frame[kept].assign(**{period: year}, **{
        names[name]: frame[years[year]] if year in years else np.nan for name, years in variables.items()
    }) for year in every]  # fmt: skip
    long = pd.concat(parts, ignore_index=True)
    return long.iloc[np.argsort(np.tile(np.arange(len(frame)), len(every)), kind="stable")].reset_index(drop=True)


def empty_years(frame: pd.DataFrame, value: str) -> list[str]:
    """What a wide table has no column for, in sentences: years of one variable that others have, and years of none."""
    variables = wide_columns(frame)
    every = sorted({year for years in variables.values() for year in years})
    found = [f"no column is of {listed(absent)}" for absent in (absent_periods(every),) if absent]
    for name, years in variables.items():
        if lacking := [str(year) for year in every if year not in years]:
            found.append(f"{name or value} has no column of {listed(lacking)} and is empty there")
    return found


# What `init` proposes for a table as it was read.


@dataclass(slots=True)
class Proposal:
    """Rules that make numbers of a table's text, what to ask about them, in words, and where the table stands."""

    place: TablePlace = field(default_factory=TablePlace)
    fill: tuple[str, ...] = ()
    exclude: dict[str, tuple[bool | int | float | str, ...]] = field(default_factory=dict)
    missing: dict[str, None] = field(default_factory=dict)
    thousands: str = ""  # a number with groups of three digits
    decimal: str = ""  # one with a decimal comma
    percent: bool = False
    recode: dict[str, dict[str, float]] = field(default_factory=dict)
    period: str = ""  # the column of texts or dates with one year each
    dates: dict[str, None] = field(default_factory=dict)  # further such columns, of units' first years
    years: dict[str, str] = field(default_factory=dict)  # how a cell that is more than a year is read, by column
    named: dict[str, None] = field(default_factory=dict)  # columns of words, one of which is NA
    pointed: str = ""  # a number whose point may part thousands
    western: str = ""  # names of columns, or else a cell, of a file that seems to be in Windows-1252

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The table as these rules read it."""
        file = str(frame.attrs.get("file", "[read]"))
        read = ReadSection(skip=self.place.skip, skip_below=self.place.below, header=self.place.header,
                           skip_under=self.place.under, fill=self.fill, exclude=self.exclude,
                           missing=tuple(self.missing), thousands=bool(self.thousands),
                           decimal="," if self.decimal else ".", percent="points" if self.percent else None,
                           years=bool(self.period or self.dates))  # fmt: skip
        return as_read(frame, read, self.recode, ("", self.period), file, tuple(self.dates))

    @property
    def lines(self) -> list[str]:
        """The tables as a SPEC.toml has them, with a remark where something is a choice."""
        place = self.place
        totals = [f"{in_toml(name)} = [{', '.join(in_toml(str(value)) for value in values)}]"
                  for name, values in self.exclude.items()]  # fmt: skip
        rules = [
            f"skip = {place.skip}  # rows above the header" if place.skip else "",
            f"skip_below = {place.below}  # rows below the table, such as notes" if place.below else "",
            f"header = {place.header}  # rows of the header, joined" if place.header > 1 else "",
            f"skip_under = {place.under}  # rows under the header, such as units" if place.under else "",
            f"fill = [{', '.join(map(in_toml, self.fill))}]  # merged cells" if self.fill else "",
            f"exclude = {{ {', '.join(totals)} }}  # rows of totals" if totals else "",
            f"missing = [{', '.join(map(in_toml, self.missing))}]  # texts among numbers" if self.missing else "",
            f'decimal = ","  # "{self.decimal}" has a decimal comma' if self.decimal else "",
            f'thousands = true  # "{self.thousands}" is one number' if self.thousands else "",
            'percent = "points"  # "12%" is 12; or "share": 0.12' if self.percent else "",
            "years = true  # a period is the year in its text" if self.period or self.dates else "",
        ]
        tables = ["[read]", *filter(None, rules), ""] if any(rules) else []
        if self.recode:
            tables.append("[recode]  # check which value is 1")
            for name, table in self.recode.items():
                held = ", ".join(f"{in_toml(label)} = {value:g}" for label, value in table.items())
                tables.append(f"{in_toml(name)} = {{ {held} }}")
            tables.append("")
        return tables

    @property
    def questions(self) -> Iterator[str]:
        """What a user should look at, one line each."""
        place = self.place
        for count, key, where in ((place.skip, "skip", "above the header"), (place.below, "skip_below", "at the end")):
            if count:
                yield f"[read] {key}: {amount(count, 'row')} {where} left out: no row of the table?"
        if place.under:
            yield f"[read] skip_under: {place.under} row under the header left out: does it hold units?"
        if place.header > 1:
            yield f"[read] header: {place.header} rows joined to names: is each column what its name says?"
        if self.fill:
            yield f"[read] fill: do empty cells of {listed(self.fill)} have the value above them?"
        for name, values in self.exclude.items():
            what = "is it the header once more" if values == (name,) else "are they totals"
            yield f"[read] exclude: rows of {name} {listed(map(repr, values))} left out: {what}?"
        if self.missing:
            do = "does" if len(self.missing) == 1 else "do"
            yield f"[read] missing: {do} {listed(map(repr, self.missing))} mean missing?"
        if self.named:
            yield (f'[read] missing: is "{NOT_AVAILABLE}" in {listed(self.named)} a name? If it means missing, say '
                   f'missing = ["{NOT_AVAILABLE}"]')  # fmt: skip
        for name, example in self.years.items():
            if name in (self.period, *self.dates):
                yield f"[read] years: {example} in {name}: is that right?"
        if self.western:
            yield f"encoding: the file is read as Western text (Windows-1252): {self.western}; or save it as UTF-8"
        if self.decimal:
            yield f'[read] decimal: "{self.decimal}" is read as {_read_as(self.decimal, ",")}: is that right?'
        elif self.thousands:
            value, part = _read_as(self.thousands, "."), _read_as(self.thousands, ",")
            other = f'; or, by decimal = ",", as {part}' if part else ""
            yield f'[read] thousands: "{self.thousands}" is read as {value}{other}: is that right?'
        if self.pointed:
            yield (f'decimals: "{self.pointed}" is read as {float(self.pointed):g}: is that right? If points part '
                   "thousands, write the numbers without them")  # fmt: skip
        if self.percent:
            yield '[read] percent: "12%" is read as 12; or "share", as 0.12?'
        for name, table in self.recode.items():
            one = next(label for label, value in table.items() if value == 1)
            yield f"[recode] {name}: is {one!r} the value of the treated, or of yes?"


def _read_as(number: str, mark: Literal[".", ","]) -> str:
    """A number as it is read with groups and a decimal mark; "" where it is none."""
    value = _number(number, ReadSection(thousands=True, decimal=mark))
    return f"{value:.10g}" if isinstance(value, float) else ""


def proposed(frame: pd.DataFrame, place: TablePlace | None = None) -> Proposal:
    """Rules for columns of text that are mostly numbers, periods that are texts or dates with one year, and columns of
    two words that say yes and no."""
    found = Proposal(place or TablePlace())
    dated = [str(name) for name in frame.columns if _holds_years(frame[name])]
    counted = [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name]) and str(name) not in dated]
    if not any(rank(str(name), PERIOD_WORDS) < len(PERIOD_WORDS) for name in counted):
        whole = [name for name in dated if not any(not unit_label(value) or never(value) for value in frame[name])]
        whole.sort(key=lambda name: rank(name, PERIOD_WORDS))
        found.period = whole[0] if whole else ""
    found.dates = dict.fromkeys(name for name in dated if name != found.period)
    found.years = {name: example for name in dated if (example := year_read(frame[name]))}
    found.pointed = frame.attrs.get("pointed", "")
    found.decimal = found.thousands = frame.attrs.get("grouped", "")
    found.decimal = found.decimal or _decimal_comma(frame)
    if frame.attrs.get("encoding") == WESTERN:
        texts = [*frame.columns, *(text for name in frame if _is_text(frame[name]) for text in frame[name])]
        found.western = listed(dict.fromkeys(str(text) for text in texts if not str(text).isascii()), 3)
    for name in frame.columns:
        column = frame[name]
        if str(name) in dated:
            found.missing |= dict.fromkeys(sorted({str(value).strip() for value in column if never(value)}))
            continue
        labels = [label for label in (unit_labels(column) if _is_text(column) else ()) if label]
        if not labels:
            continue
        if NOT_AVAILABLE in labels:
            found.named[str(name)] = None
        words = {label.lower() for label in labels}
        if len(words) == 2 and all(len(words.intersection(side)) == 1 for side in (YES, NO)):
            each = sorted(dict.fromkeys(labels), key=lambda label: label.lower() not in YES)
            found.recode[str(name)] = {label: float(label.lower() in YES) for label in each}
            continue
        _propose_numbers(labels, found)
    return found


def rank(name: str, words: tuple[str, ...]) -> int:
    """Rank of the first word that a column's name has among its parts; len(words) when there is none.

    Parts are what stands between blanks, dashes, brackets and the like, and words of cityName.
    """
    parts = {part.lower() for part in re.split(r"[\W_]+", name)}
    parts |= {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
    hits = (at for at, word in enumerate(words) if word in parts or (word > CHINESE and word in name))
    return next(hits, len(words))


def _holds_years(column: pd.Series[Any]) -> bool:
    """Whether a column of dates or text holds one year in each cell that is not empty, and different ones."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return 1 < column.dt.year.nunique() == column.nunique()
    if pd.api.types.is_numeric_dtype(column) and serial_years(numbers(column)[0]) is not None:
        return True
    if not _is_text(column):
        return False
    given = [value for value in column.tolist() if unit_label(value) and not never(value)]
    labels = {str(value): _year_of(value) for value in given}
    if not labels or all(str(value).strip().isdecimal() for value in given):
        return False
    each = {next(iter(years)) for years in labels.values() if len(years) == 1}
    plausible = all(1800 <= year < 2200 or year in (0, 9999) for year in each)
    return plausible and 1 < len(each) == len(labels)


def never(value: object) -> bool:
    """Whether a cell is a text that says never, or missing."""
    return isinstance(value, str) and value.strip().lower() in NEVER_WORDS


def _propose_numbers(labels: list[str], found: Proposal) -> None:
    """Rules for a column of text that is mostly numbers."""
    tried = ReadSection(thousands=True, percent="points", decimal="," if found.decimal else ".")
    marks = {label for label in labels if isinstance(_number(label, tried), str)}
    numeric = sum(label not in marks for label in labels)
    if marks and all(map(never, marks)) and all(YEAR.fullmatch(label) for label in labels if label not in marks):
        found.missing |= dict.fromkeys(sorted(marks))
        return
    if numeric < MOSTLY * len(labels) or len(marks) > MOST_MARKS or any(mark[:1].isdigit() for mark in marks):
        return
    found.missing |= dict.fromkeys(sorted(marks))
    texts = [plain(label).rstrip("% ") for label in labels]
    pattern = re.compile(rf"(?=.*[. ]\d{{3}}){BY_COMMA.pattern}") if found.decimal else GROUPED
    grouped = (text for text in texts if pattern.fullmatch(text))
    found.thousands = found.thousands or next(grouped, "")
    found.percent |= any(PERCENT.fullmatch(plain(label)) is not None for label in labels)


def _decimal_comma(frame: pd.DataFrame) -> str:
    """A number that only a decimal comma explains, such as 0,315 or 7,31, where none speaks against it; else ""."""
    found = ""
    for name in (name for name in frame.columns if _is_text(frame[name])):
        texts = [plain(label).rstrip("% ") for label in unit_labels(frame[name]) if label]
        held = [text for text in texts if "," in text and BY_COMMA.fullmatch(text)]
        if len(held) < MOSTLY * len(texts):
            continue
        if any(map(MANY_GROUPS.fullmatch, texts)):
            return ""
        found = found or next((text for text in held if not GROUPED.fullmatch(text)), "")
    return found


def first_read(path: str | Path, sheet: str | None = None) -> tuple[TablePlace, pd.DataFrame]:
    """Where the table of a file stands, and the table: the first whose columns all have names, without notes below it.

    Raises BadInput for a file that is no table with any of the first rows left out.
    """
    found, refusal = [], None
    several = str(path).lower().endswith((".csv", ".xlsx"))
    for skip in range(MOST_TITLES + 1):
        for below in (0, *(range(1, MOST_TITLES + 1) if skip < 3 and several else ())):
            try:
                frame = read_frame(path, sheet, place=TablePlace(skip, below))
                break
            except BadInput as error:
                if skip == 0 and (not several or "sheet" in error.problems[0].what):
                    raise
                refusal = refusal or error
        else:
            continue
        place = TablePlace(skip, below)
        if len(frame.columns) > 2 and _has_header(frame):
            return _without_notes(path, sheet, *_without_units(path, sheet, place, frame))
        if several and (joined := _with_groups(path, sheet, place, frame)) is not None:
            return _without_notes(path, sheet, *_without_units(path, sheet, *joined))
        found.append((place, frame))
    # A row of data stands for a header where a row before it is longer than the header.
    if refusal is not None and (not found or "repeat" in refusal.problems[0].what or not _named_mostly(found[0][1])):
        raise refusal
    return _without_notes(path, sheet, *found[0])


def _without_units(
    path: str | Path, sheet: str | None, place: TablePlace, frame: pd.DataFrame
) -> tuple[TablePlace, pd.DataFrame]:
    """The table without a first row in which columns of numbers hold words, such as their units of measurement."""
    if len(frame) < 3 or not str(path).lower().endswith((".csv", ".xlsx")):
        return place, frame
    tried, words = ReadSection(thousands=True, percent="points"), 0
    for name in (name for name in frame.columns if _is_text(frame[name])):
        labels = [label for label in unit_labels(frame[name].iloc[1:]) if label]
        counted = sum(not isinstance(_number(label, tried), str) for label in labels)
        if labels and counted >= MOSTLY * len(labels):
            first = unit_label(frame[name].iloc[0])
            if first and not (isinstance(_number(first, tried), str) and not never(first)):
                return place, frame
            words += bool(first)
    plain_numbers = any(pd.api.types.is_numeric_dtype(frame[name]) and pd.notna(frame[name].iloc[0]) for name in frame)
    if words < UNITS_ROW or plain_numbers:
        return place, frame
    place = replace(place, under=1)
    return place, read_frame(path, sheet, place=place)


def _has_header(frame: pd.DataFrame) -> bool:
    """Whether all columns have names that are no data; a first one without a name may number the rows."""
    names = [str(name) for name in frame.columns]
    values, wrong = numbers(frame.iloc[:, 0])
    if unnamed(names[0]) and not wrong.size and np.array_equal(np.diff(values), np.ones(len(values) - 1)):
        names = names[1:]
    return not any(map(unnamed, names)) and _named_mostly(names)


def _named_mostly(names: Iterable[object]) -> bool:
    """Whether more than half of the headings, of columns or of a table, are no data: numbers that are no years."""
    values = np.array([number_in(str(name)) for name in names])  # NaN of words
    return bool(((values < 1800) | (values >= 2200)).sum() < len(values) / 2)


def unnamed(name: object) -> bool:
    """Whether a column has no name of its own."""
    return str(name).startswith("Unnamed: ")


def _with_groups(
    path: str | Path, sheet: str | None, place: TablePlace, frame: pd.DataFrame
) -> tuple[TablePlace, pd.DataFrame] | None:
    """The table with a second row of its header, where that names columns which the first leaves without a name."""
    blank = [unnamed(name) for name in frame.columns]
    under = frame.iloc[0]
    fills = all(isinstance(cell, str) or not without for cell, without in zip(under, blank, strict=True))
    # Of a wide table years stand there.
    years = all(len(_year_of(cell)) == 1 for cell, without in zip(under, blank, strict=True) if without)
    if unnamed(frame.columns[0]) or not pd.isna(under.iloc[0]) or not (fills or years):
        return None
    place = TablePlace(place.skip, place.below, 2)
    joined = read_frame(path, sheet, place=place)
    return (place, joined) if _has_header(joined) else None


def _without_notes(
    path: str | Path, sheet: str | None, place: TablePlace, frame: pd.DataFrame
) -> tuple[TablePlace, pd.DataFrame]:
    """The table without rows at its end in which one or two of several cells hold something."""
    if len(frame.columns) < 3 or not str(path).lower().endswith((".csv", ".xlsx")):
        return place, frame
    few = 1 if len(frame.columns) < 5 else 2
    while True:
        filled = frame.notna().sum(axis=1).to_numpy()
        notes = int(np.argmax((filled > few)[::-1])) if (filled > few).any() else 0
        if not notes:
            return place, frame
        place = replace(place, below=place.below + notes)
        frame = read_frame(path, sheet, place=place)
