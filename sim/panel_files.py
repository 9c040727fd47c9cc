"""Tables from files: csv, Parquet, Stata, SPSS or Excel, with every failure said in one line; panels from them."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.io.parsers import TextParser  # type: ignore[attr-defined]  # its stubs lack it

from sim.arrays import Codes, Flags, Floats
from sim.errors import (
    TABLES,
    UNREADABLE,
    BadInput,
    Problem,
    amount,
    bad,
    check_file,
    closest,
    first_line,
    listed,
    one_of,
    refuse,
)
from sim.schema import NEVER_WORDS, NO, TREATMENT, YES, Roles, uneven_code

WESTERN = "cp1252"  # what a Western spreadsheet program writes by default
ENCODINGS = ("utf-8-sig", WESTERN, "gb18030")  # the last is what a Chinese spreadsheet program writes by default
ACCENTS = re.compile(r"(?<=[A-Za-z])[^\x00-\x7f](?![^\x00-\x7f])|(?<![^\x00-\x7f])[^\x00-\x7f](?=[A-Za-z])"
                     r"|(?<=[A-Za-z])[ß-öø-ÿ]{2}(?![^\x00-\x7f])")  # inside a word of Latin letters  # fmt: skip
ACCENTED = 0.8  # share of runs of letters beyond ASCII that stand so in a Western file; Chinese ones are longer
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how "Unicode text" of a spreadsheet program begins
SEPARATORS = ",;\t"
DECIMAL_COMMA = re.compile(r"(?:^|[;\t])[ \"]*[-+]?\d+,\d+(?:[eE][-+]?\d+)?[ \"]*(?=[;\t\r\n]|$)", re.MULTILINE)
DECIMAL_POINT = re.compile(DECIMAL_COMMA.pattern.replace(r"\d+,", r"\d*\."), re.MULTILINE)
POINTS_OF_GROUPS = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}")  # 8.808, which is 8808 beside decimal commas
COMMAS_OF_GROUPS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")  # 8,808, which may be 8808
NOT_AVAILABLE = "NA"  # a missing number, and a name of Namibia or of North America
NOTES = ("<super>", "<sub>", "<circle>")  # signs that name a footnote: 3\u00b2 is not 32
UNWRITTEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # signs that no workbook, Word file or picture holds
MAYBE_NAMES = re.compile(r"(?:^|[,;\t])[ \"]*(?:0\d|\d{17}|NA[ \"]*(?:[,;\t\r\n]|$))", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TablePlace:
    """Where the table of a file begins and ends: rows above its header and below its last row, rows of the header.

    header: 0 = the table has none; 2 = groups of columns stand above their names, and both are joined. under: rows
    between the header and the first row, such as units of measurement.
    """

    skip: int = 0
    below: int = 0
    header: int = 1
    under: int = 0

    def rows_out(self, above: int) -> list[int]:
        """The rows that pandas leaves out: those above, a header of several rows, and those under it."""
        first = above + self.header
        return [*range(above), *(range(above, first) if self.header > 1 else ()), *range(first, first + self.under)]


def read_frame(path: str | Path, sheet: str | None = None, *, place: TablePlace | None = None) -> pd.DataFrame:
    """The table in a .csv, .parquet, .dta, .sav or .xlsx file, one row an observation.

    sheet: of a workbook; None = the only one that holds a table. place: where it begins and ends (csv, xlsx).
    `frame.attrs` remembers the file's name and the number of the first row, for messages. Raises BadInput for a file
    that is missing, empty, of another kind, unreadable, without rows, or with repeated column names, for a workbook
    with several tables, and for a sheet that is not there.
    """
    path, place = Path(path), place or TablePlace()
    check_file(path)
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".parquet": pd.read_parquet, ".dta": _read_stata, ".sav": _read_spss
    }  # fmt: skip
    extension = path.suffix.lower()
    if sheet is not None and extension != ".xlsx":
        raise bad(f"sheet = {sheet!r}", where=path.name, allowed="a sheet of a workbook (.xlsx)", remedy="remove it")
    if extension in readers and place != TablePlace():
        raise bad("rows above, below or of the header are left out", where=path.name, allowed="a csv or xlsx file",
                  remedy="remove skip, skip_below, skip_under and header from [read]")  # fmt: skip
    try:
        if extension == ".xlsx":
            frame = _read_excel(path, sheet, place)
        else:
            frame = read_csv_text(path, place) if extension == ".csv" else index_as_columns(readers[extension](path))
    except BadInput:
        raise
    except pd.errors.ParserWarning as error:
        raise bad("cannot be read as csv (rows have more cells than the header)", where=path.name,
                  allowed="a header with a name for each cell", remedy="correct the header; of rows above it, "
                  "such as a title, say how many: skip = 1 in [read], as init proposes") from error  # fmt: skip
    except UNREADABLE as error:
        raise bad(f"cannot be read as {extension[1:]} ({first_line(error)})",
                  where=path.name, allowed="a table with one header row and one row per unit and period",
                  remedy="open it in the program that wrote it and save it again") from error  # fmt: skip
    if place.header:
        frame = frame.rename(columns={name: str(name).strip() for name in frame.columns})
        check_table(frame.rename(columns=str), path.name)
    above = place.skip + place.header + place.under
    frame.attrs |= {"file": path.name, "first_row": 1 + above if extension in (".csv", ".xlsx") else 1}
    return frame


def read_csv_text(path: Path, place: TablePlace = TablePlace()) -> pd.DataFrame:
    """A csv file as `text_of` decodes it, its columns separated by commas, semicolons or tabs.

    Where they are not commas and all decimal marks are, these are read as such; numbers stay text where each comma may
    part thousands. `attrs` has an encoding that was guessed, and a number whose point may part thousands: "grouped",
    left as text beside decimal commas, else "pointed".
    Raises BadInput for another encoding or repeated column names, and what pandas raises.
    """
    text, encoding = text_of(path)
    if place.skip or place.below:
        lines = text.rstrip("\r\n,;\t ").splitlines()
        text = "\n".join(lines[place.skip : len(lines) - place.below])
    separator = separator_of(text)
    marked = (found[0].strip(' ";\t') for found in DECIMAL_COMMA.finditer(text) if separator != ",")
    commas = not all(map(COMMAS_OF_GROUPS.fullmatch, marked))
    pointed = (found[0].strip(' ";\t') for found in DECIMAL_POINT.finditer(text) if separator != ",")
    first = next(pointed, "")
    grouped = first if all(map(POINTS_OF_GROUPS.fullmatch, (first, *pointed))) else ""
    points = not commas or (first != "" and not grouped)
    header = pd.read_csv(io.StringIO(text), sep=separator, header=None, nrows=max(place.header, 1), dtype=str)
    names = _joined(header) if place.header > 1 else None
    how: dict[str, Any] = {"sep": separator, "index_col": False, "header": 0 if place.header == 1 else None,
                           "names": names, "low_memory": False,
                           "skiprows": place.rows_out(0) if names or place.under else 0}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
        frame = pd.read_csv(io.StringIO(text), decimal="." if points else ",", **how)
    if MAYBE_NAMES.search(text):
        _keep_names(frame, lambda at: pd.read_csv(io.StringIO(text), dtype=str, na_filter=False, usecols=at, **how))
    if place.header:
        _check_header(names or [str(name).strip() for name in header.iloc[0].dropna()], path.name)
    frame = _without_gaps(frame)
    frame.attrs |= {"encoding": encoding} if encoding == WESTERN else {}
    frame.attrs |= {"grouped" if commas else "pointed": grouped} if grouped else {}
    return frame


def grouped_problems(frame: pd.DataFrame, told: bool = False) -> list[Problem]:
    """The problem of a file in which points may part thousands, but where it was told that they do."""
    if told or not (example := frame.attrs.get("grouped")):
        return []
    whole = example.replace(".", "")
    return [Problem(f'"{example}" beside decimal commas may be {whole} or {example}', str(frame.attrs.get("file")),
                    'decimal = "," and thousands = true in [read], for '
                    f"{whole}", "say so, or write all numbers of the file with one decimal mark")]  # fmt: skip


def coded(column: pd.Series[Any]) -> bool:
    """Whether a column holds digits alone, in some cell a 0 before others, as ids such as 01001 have, or more digits
    than a number keeps."""
    texts = column.dropna().astype(str).str.strip()
    return bool(texts.str.match("0[0-9]|[0-9]{17}").any() and texts.str.fullmatch("[0-9]+").all())


def _keep_names(frame: pd.DataFrame, cells: Callable[[list[int]], pd.DataFrame]) -> None:
    """Write names that were read as numbers or as missing into a table: ids such as 01001, and NA among other words.

    cells: some of its columns as they stand in the file. NA stays missing among numbers, answers and dates.
    """
    at = [j for j, (_, column) in enumerate(frame.items())
          if column.dtype.kind != "f" or (column.dropna() % 1 == 0).all()]  # fmt: skip
    for j, (_, stands) in zip(at, cells(at).items(), strict=True):
        column = frame.iloc[:, j]
        held, lost = column.notna(), stands.astype(str).str.strip() == NOT_AVAILABLE
        others = {str(text).strip().lower() for text in stands[held].unique()} - {""}
        words = others and all(text[0].isalpha() for text in others) and not others & {*YES, *NO, *NEVER_WORDS}
        if coded(stands[held]):
            frame.isetitem(j, stands.where(held).array)
        elif lost.any() and words:
            frame.isetitem(j, column.astype(object).where(~lost, NOT_AVAILABLE).array)


def _joined(header: pd.DataFrame) -> list[str]:
    """Names of columns whose header has several rows: the name of a group, which may span columns, before a name."""
    rows = [["" if pd.isna(cell) else str(cell).strip() for cell in row] for row in header.to_numpy()]
    names: list[str] = []
    group = ""
    for top, *under in zip(*rows, strict=True):
        lower = " ".join(filter(None, under))
        group = top or group
        names.append((f"{group} {lower}".strip() if lower else top) or f"Unnamed: {len(names)}")
        group = group if lower else ""
    return names


def _without_gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """A table without rows in which no cell holds anything; `attrs` remembers where the others stood.

    Columns without a name go too where they hold nothing.
    """
    nameless = frame.columns.astype(str).str.match(r"Unnamed: |\s*$")
    frame = frame.loc[:, ~(nameless & frame.isna().all().to_numpy())]
    held = frame.notna().any(axis=1).to_numpy()
    last = int(np.flatnonzero(held)[-1]) if held.any() else len(frame) - 1
    if held[: last + 1].all() or not held.any():
        return frame.iloc[: last + 1]
    kept = frame.loc[held].infer_objects().reset_index(drop=True)
    kept.attrs = {"positions": tuple(np.flatnonzero(held).tolist())}
    return kept


def text_of(path: Path, kind: str = "csv") -> tuple[str, str]:
    """What a file says, and its encoding: UTF-8, UTF-16 with its mark, GB18030, or Windows-1252 where letters
    beyond ASCII stand one by one in Latin words. Raises BadInput when it is none of these."""
    content = path.read_bytes()
    for encoding in ("utf-16",) if content.startswith(UTF_16) else ENCODINGS:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            raise bad("holds NUL bytes, as UTF-16 without its mark does", where=path.name, allowed=f"{kind} in UTF-8",
                      remedy='save it as UTF-8 (a spreadsheet as "CSV UTF-8")')  # fmt: skip
        if encoding != WESTERN or len(ACCENTS.findall(text)) > ACCENTED * len(re.findall(r"[^\x00-\x7f]+", text)):
            return text, encoding
    raise bad("is neither UTF-8 nor GB18030 text", where=path.name, allowed=f"{kind} in UTF-8 (or GB18030)",
              remedy='save it as UTF-8 (a spreadsheet as "CSV UTF-8")')  # fmt: skip


def separator_of(text: str) -> str:
    """The comma, semicolon or tab that is most frequent in the first line, outside of quotes."""
    header = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").partition("\n")[0])
    return max(SEPARATORS, key=header.count)


def _read_stata(path: Path) -> pd.DataFrame:
    """A Stata file; days, weeks, months, quarters and half-years are dates, as other formats have them, years numbers.

    What a file counts from 1960 on would pass for a number otherwise, and a year converted be the first of January.
    """
    try:
        frame = pd.read_stata(path, convert_dates=False)
    except ValueError as error:
        if "Value labels" not in str(error):
            raise
        frame = pd.read_stata(path, convert_dates=False, convert_categoricals=False)
    if frame.empty:
        return frame

    # columns in a format of dates, converted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # %tC, with leap seconds, is left as objects
        with pd.read_stata(path, chunksize=1, convert_categoricals=False) as reader:
            first = next(reader)
    types = pd.api.types
    seconds = [
        str(name) for name in frame if types.is_object_dtype(first[name]) and types.is_numeric_dtype(frame[name])
    ]
    dated = {name: pd.to_datetime(frame[name], unit="ms", origin="1960-01-01", errors="coerce") for name in seconds}
    named = [str(name) for name in frame if types.is_datetime64_any_dtype(first[name])]
    converted = pd.read_stata(path, columns=named, convert_categoricals=False) if named else frame[named]
    for name, dates in (dated | {name: converted[name] for name in named}).items():
        years = (frame[name] == dates.dt.year) | frame[name].isna()
        if not years.all():
            frame[name] = dates
    return frame


def _read_spss(path: Path) -> pd.DataFrame:
    """A file of SPSS, labelled values as their labels; raises BadInput where what reads it is not installed."""
    try:
        from pyreadstat import ReadstatError

        try:
            return pd.read_spss(path)
        except ReadstatError as error:  # no ValueError, unlike what other readers raise
            raise ValueError(str(error)) from error
    except ImportError as error:
        raise bad("is a file of SPSS, and pyreadstat is not installed", where=path.name,
                  allowed="what this installation reads: " + ", ".join(name for name in TABLES if name != ".sav"),
                  remedy="pip install panelproof[spss], or save it as .dta") from error  # fmt: skip


def _read_excel(path: Path, sheet: str | None, place: TablePlace) -> pd.DataFrame:
    with warnings.catch_warnings(), pd.ExcelFile(path) as book:
        warnings.simplefilter("ignore", UserWarning)  # styles and validations that openpyxl does not know
        chosen = _sheet(book, path.name, sheet)
        header = pd.read_excel(book, sheet_name=chosen, header=None, nrows=max(place.header, 1), skiprows=place.skip,
                               dtype=str)  # fmt: skip
        several = place.header > 1
        cells = pd.read_excel(book, sheet_name=chosen, skiprows=place.rows_out(place.skip), dtype=object,
                              header=0 if place.header == 1 else None, na_filter=False)  # fmt: skip
        frame = cells if cells.empty else TextParser(cells.to_numpy().tolist(), names=list(cells.columns), header=None,
                                                     index_col=False, skip_blank_lines=False).read()  # fmt: skip
        _keep_names(frame, lambda at: cells.iloc[:, at])
    if several:
        frame.columns = pd.Index(_joined(header)[: len(frame.columns)])
    if not header.empty and place.header:
        names = frame.columns if several else header.iloc[0].dropna()
        _check_header([str(name).strip() for name in names], path.name)
    last = np.flatnonzero(frame.notna().any(axis=1).to_numpy())
    end = (int(last[-1]) + 1 if last.size else len(frame)) - place.below
    return _without_gaps(frame.iloc[:end].infer_objects())


def _sheet(book: pd.ExcelFile, file: str, sheet: str | None) -> str:
    """The sheet that is named, or the only one with two rows and two columns; raises BadInput for a doubt."""
    names = [str(name) for name in book.sheet_names]
    hidden = {page.title for page in getattr(book.book, "worksheets", ()) if page.sheet_state != "visible"}
    told = {name: f"{name} (hidden)" if name in hidden else name for name in names}
    if sheet is not None:
        if sheet not in names:
            raise bad(f"there is no sheet {sheet!r}", where=file, remedy=closest(sheet, names),
                      allowed=one_of(told.values(), sheet))  # fmt: skip
        return sheet
    tables = [name for name in names if min(pd.read_excel(book, sheet_name=name, header=None, nrows=9).shape) > 1]
    if len(tables) > 1:
        likeliest = next((name for name in tables if name not in hidden), tables[0])
        said = listed(told[name] for name in tables)
        raise bad(f"{len(tables)} sheets hold tables: {said}", where=file, allowed="one of them",
                  remedy=f'say sheet = "{likeliest}" in [panel] (--sheet of init)')  # fmt: skip
    return (tables or names)[0]


def _check_header(names: list[str], file: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise bad(f"column names repeat: {listed(twice)}", where=f"{file}, header", allowed="each name once",
                  remedy="rename or delete the repeated columns")  # fmt: skip


def index_as_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose index holds nothing that is not a column: levels of it that have names become columns."""
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    return frame.reset_index(level=named) if named else frame


def check_table(frame: pd.DataFrame, file: str) -> None:
    """Raise BadInput for a table of a panel without rows, and for names of columns that repeat or are no texts."""
    if wrong := [name for name in frame.columns if not isinstance(name, str)]:
        raise bad(f"column names are no texts: {listed(map(repr, wrong))}", where=file, allowed="texts",
                  remedy="rename them: table.columns = table.columns.map(str)")  # fmt: skip
    if odd := [name for name in frame.columns if UNWRITTEN.search(name)]:
        raise bad(f"column names hold control signs: {listed(map(repr, odd))}", where=file, allowed="letters and other "
                  "signs that are seen", remedy="rename them")  # fmt: skip
    _check_header(list(frame.columns), file)
    if frame.empty:
        raise bad("has no rows", where=file, allowed="a header and one row per unit and period",
                  remedy="save the file again with its rows")  # fmt: skip


# A panel from a long table of one row a unit and period, checked cell by cell.


Missing = Literal["error", "drop"]
LARGEST = 1e100  # size of a number, and 1 over that of the least largest one: squares and their sums stay finite
INDIVIDUALS = 2  # rows a unit and period, on average, from which they are taken for individuals


@dataclass(frozen=True, eq=False, slots=True)
class LongTable:
    """A long table spread over periods and units: the parts of a panel by name, and what was left out on the way.

    dropped: rows with a missing value, by the first column that misses one. order: all units of the table in its order,
    also those without a row left.
    """

    parts: Mapping[str, Any]
    dropped: Mapping[str, int]
    order: tuple[str, ...]

    @property
    def absent(self) -> int:
        """Unit-periods of the rectangle that are not observed, dropped rows included."""
        seen = self.parts["observed"]
        return 0 if seen is None else int((~seen).sum())


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Which unit and period each row of a table is about: labels and years, (rows,); names rows in messages."""

    file: str
    first: int
    labels: NDArray[np.object_]
    years: NDArray[np.int64]
    positions: Sequence[int] | None = None  # of the rows in the file, where some were left out

    @classmethod
    def of(cls, frame: pd.DataFrame, unit: str, period: str) -> Self:
        """Read the two columns; raises BadInput as `read`, and for repeated unit-periods."""
        rows = cls.read(frame, unit, period)
        pairs = pd.MultiIndex.from_arrays([rows.labels, rows.years])
        twice = pairs[pairs.duplicated()].unique()
        if len(twice):
            named = listed((f"{label} in {year}" for label, year in twice), 4)
            many = len(pairs) >= INDIVIDUALS * len(pairs.unique())
            have = "has" if len(twice) == 1 else "have"
            raise bad(f"{amount(len(twice), 'unit-period')} {have} more than one row: {named}",
                      where=f"{rows.file}, columns {unit!r} and {period!r}", allowed="one row per unit and period",
                      remedy="if rows are individuals, add a table [collapse]; or name another unit column" if many
                      else "remove the duplicates or name another unit column")  # fmt: skip
        return rows

    @classmethod
    def read(cls, frame: pd.DataFrame, unit: str, period: str) -> Self:
        """Read the two columns, of several rows a unit and period too; raises BadInput for gaps, and periods that are
        not integers or code months, quarters or days."""
        file, first = str(frame.attrs.get("file", "table")), int(frame.attrs.get("first_row", 1))
        places: Sequence[int] = frame.attrs.get("positions", ())
        places = places if len(places) == len(frame) else range(len(frame))
        labels = unit_labels(frame[unit])
        blank, problems = [i for i, label in enumerate(labels) if label == ""], list[Problem]()
        if blank:
            problems.append(Problem(f"the unit is missing in {amount(len(blank), "row")}",
                                    f"{file}, column {unit!r}, row {first + places[blank[0]]}",
                                    "a name or code in every row", "fill it or delete the rows"))  # fmt: skip

        values, texts = numbers(frame[period])
        fractional = np.flatnonzero(~np.isfinite(values) | (values != np.round(values)) | (np.abs(values) > 2**53))
        wrong = min((int(found[0]) for found in (texts, fractional) if found.size), default=None)
        years = values.astype(np.int64) if wrong is None else np.zeros(len(values), dtype=np.int64)
        if wrong is not None:
            at = f"{file}, column {period!r}, row {first + places[wrong]}, unit {labels[wrong]}"
            given = cell_text(frame[period].iloc[wrong]) if unit_label(frame[period].iloc[wrong]) else "missing"
            year = frame[period].astype(str).str.extract(r"((?:1[89]|20)\d\d)")[0]
            pairs = pd.MultiIndex.from_arrays([labels, year])[year.notna()]
            parts = 0 < pairs.nunique() <= 0.6 * len(pairs)  # most units have two periods a year or more
            remedy = "number the periods 1, 2, 3 and so on" if parts else (
                "give the year as a number, or number the periods 1, 2, 3 and so on; years = true in [read] takes the "
                "year from a text or a date that holds one")  # fmt: skip
            problems.append(Problem(f"the period is {given}", at, "whole numbers such as 2006", remedy))
        elif code := uneven_code(years):
            problems.append(Problem(f"the periods {years.min()} to {years.max()} look like {code[0]}, which are not "
                                    "one step apart as numbers", f"{file}, column {period!r}",
                                    "whole numbers one step apart", code[1]))  # fmt: skip
        refuse(problems)
        return cls(file, first, labels, years, places)

    def at(self, row: int, column: str) -> str:
        """Where a cell is: file, column, unit, year, row."""
        number = row if self.positions is None else self.positions[row]
        place = f"unit {self.labels[row]}, {self.years[row]} (row {self.first + number})"
        return f"{self.file}, column {column!r}, {place}"

    def those(self, keep: Flags) -> Rows:
        """Some of the rows, which keep no row numbers of their own."""
        return Rows(self.file, self.first, self.labels[keep], self.years[keep])


def read_table(
    frame: pd.DataFrame,
    unit: str,
    period: str,
    roles: Roles,
    attributes: Sequence[str] | Mapping[str, str] = (),
    missing: Missing = "error",
    variables: Sequence[str] | None = None,
    treatment: TreatmentKind | None = None,
) -> LongTable:
    """A panel's parts from the columns that `roles` and `variables` name, units in the table's order, periods sorted.

    The treatment becomes the variable `did`. `attributes` are columns that are constant within units, as a list or as
    attribute -> column. `variables` are columns without a role; None = none, or every numeric column when `roles` is
    empty. A row with a missing value is an error or, with missing = "drop", unobserved; a unit-period without a row is
    unobserved, and units or periods with no row at all are left out. treatment: of which kind it is; None = as its
    values say, where they leave no doubt. Raises BadInput for columns that lack or are used twice, repeated
    unit-periods, text, infinities, gaps, fewer than two units or periods, attributes that vary, and what
    `treatment_problems` finds; `frame.attrs["called"]` is what messages call columns.
    """
    frame = index_as_columns(frame)
    named = dict(attributes) if isinstance(attributes, Mapping) else {name: name for name in attributes}
    sources = _sources(frame, unit, period, roles, named, variables)
    rows = Rows.of(frame, unit, period)
    order = tuple(dict.fromkeys(rows.labels))
    values, problems = dict[str, Floats](), list[Problem]()
    for name, column in sources:
        values[name], wrong = numbers(frame[column])
        problems += number_problems(values[name], wrong, frame[column], rows)
    refuse(problems)
    if roles.weight is not None:
        refuse(weight_problems(values[roles.weight], roles.weight, rows))

    # rows without a missing value, and how many others there are by column
    kept, lost = np.ones(len(rows.labels), dtype=bool), dict[str, int]()
    for name, column in sources:
        gaps = np.isnan(values[name])
        if gaps.any():
            problems.append(gap_problem(gaps, column, rows))
            lost[column] = int((gaps & kept).sum())
            kept &= ~gaps
    if missing == "error":
        refuse(problems)
    dropped = {column: count for column, count in lost.items() if count}
    values = {name: column[kept] for name, column in values.items()}
    parts = _rectangle(frame.loc[kept], rows.those(kept), values, roles, named, (unit, period), treatment)
    return LongTable(parts, MappingProxyType(dropped), order)


def _rectangle(
    frame: pd.DataFrame,
    rows: Rows,
    values: Mapping[str, Floats],
    roles: Roles,
    named: Mapping[str, str],
    keys: tuple[str, str],
    kind: TreatmentKind | None = None,
) -> dict[str, Any]:
    """Complete rows spread over (1, T, N), NaN and unobserved where there is no row."""
    units = tuple(dict.fromkeys(rows.labels))
    periods = tuple(int(year) for year in np.unique(rows.years))
    where = f"{rows.file}, columns {keys[0]!r} and {keys[1]!r}"
    if not len(rows.labels):
        raise bad("no row is complete", where=rows.file, allowed="rows without missing values",
                  remedy="leave out the columns that are mostly missing")  # fmt: skip
    if len(units) < 2 or len(periods) < 2:
        raise bad(f"{amount(len(units), "unit")} and {amount(len(periods), "period")}", where=where,
                  allowed="two or more of each", remedy="a panel needs several units over several periods")  # fmt: skip
    if len(rows.labels) == len(units):
        raise bad(f"each of {len(units)} units is seen in one period only", where=where,
                  allowed="units seen repeatedly",
                  remedy="name the column that identifies a unit over time")  # fmt: skip

    i = pd.Index(units).get_indexer(pd.Index(rows.labels))
    t = np.searchsorted(np.asarray(periods), rows.years)
    observed = np.zeros((1, len(periods), len(units)), dtype=bool)
    observed[0, t, i] = True
    arrays = {name: np.full(observed.shape, np.nan) for name in values}
    for name, column in values.items():
        arrays[name][0, t, i] = column
    problems = _attribute_problems(frame, named, rows)
    names = {keys[0]: units, **{column: unit_labels(frame[column]) for column in named.values()}}
    problems += [Problem(f"holds control signs: {name!r}", f"{rows.file}, column {column!r}",
                         "letters and other signs that are seen", "correct the name")
                 for column, own in names.items() for name in dict.fromkeys(own) if UNWRITTEN.search(name)]  # fmt: skip
    own = replace(roles, treatment=None, continuous=False)  # as its values say
    if roles.treatment is not None:
        column = frame.attrs.get("called", {}).get(roles.treatment, roles.treatment)
        where, path = f"{rows.file}, column {column!r}", arrays[TREATMENT][0]
        problems += treatment_problems(path, units, periods, where, kind)
        own = replace(own, treatment=TREATMENT, continuous=(kind or kind_of_treatment(path)) != "absorbing")
    refuse(problems)
    return {
        "units": units,
        "periods": periods,
        "variables": arrays,
        "roles": own,
        "attributes": {name: _attribute(frame[column], i, len(units)) for name, column in named.items()},
        "observed": None if observed.all() else observed,
    }


def unit_label(value: object) -> str:
    """A unit as text without surrounding blanks: 110000.0 is "110000", a missing one is ""."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def plain(text: str) -> str:
    """A text without surrounding blanks, its wide digits, signs and blanks as those of ASCII; raised ones are notes."""
    if text.isascii() or any(unicodedata.decomposition(sign).startswith(NOTES) for sign in text):
        return text.strip()
    return unicodedata.normalize("NFKC", text).replace("\u2212", "-").strip()


def unit_labels(column: pd.Series[Any]) -> NDArray[np.object_]:
    """Units as text, (rows,), see `unit_label`."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    return np.array([unit_label(value) for value in column.tolist()], dtype=object)


def numbers(column: pd.Series[Any]) -> tuple[Floats, Codes]:
    """A column as floats with NaN where missing or blank, (rows,), and the rows that hold something else."""
    types = pd.api.types
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.astype(str)  # their numbers count from 1970
    if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column) or types.is_complex_dtype(column):
        return np.full(len(column), np.nan), np.flatnonzero(column.notna().to_numpy())
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan), np.empty(0, dtype=np.intp)
    column = column.astype(object)
    text = column.map(lambda value: plain(value) if isinstance(value, str) else value)
    given = (text.notna() & (text != "")).to_numpy(dtype=bool)
    parsed = pd.to_numeric(text.where(given, np.nan), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return parsed, np.flatnonzero(given & np.isnan(parsed))


def missing_columns(frame: pd.DataFrame, wanted: Mapping[str, str]) -> list[Problem]:
    """Problems for columns that a table lacks; `wanted` says of each what asks for it."""
    columns, file = [str(name) for name in frame.columns], str(frame.attrs.get("file", "table"))
    return [
        Problem(f"there is no column {name!r}", f"{file}, {asked_by}", one_of(columns, name), closest(name, columns))
        for name, asked_by in wanted.items()
        if name not in columns
    ]


def number_problems(values: Floats, wrong: Codes, column: pd.Series[Any], rows: Rows) -> list[Problem]:
    """Problems for text, for infinities and for sizes without a square in a column of numbers."""
    name, problems = str(column.name), list[Problem]()
    if wrong.size:
        more = f" and {wrong.size - 1} more such cells" if wrong.size > 1 else ""
        remedy = "correct the cell, or leave it empty when the value is missing"
        if wrong.size == column.notna().sum() and isinstance(column.iloc[wrong[0]], str):
            remedy = "name another column, or give every text of this one a number in [recode]"
        problems.append(Problem(f"holds {cell_text(column.iloc[wrong[0]])}{more}", rows.at(wrong[0], name), "numbers",
                                remedy))  # fmt: skip
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        problems.append(Problem(f"is infinite in {amount(infinite.size, "row")}", rows.at(infinite[0], name),
                                "finite numbers",
                                "correct the cell (common causes: division by zero, logarithm of zero)"))  # fmt: skip
        return problems
    sizes = np.abs(np.nan_to_num(values))
    largest = sizes.max(initial=0.0)
    if largest and not 1 / LARGEST <= largest <= LARGEST:
        problems.append(Problem(f"is as {'large' if largest > 1 else 'small'} as {largest:g}",
                                rows.at(int(sizes.argmax()), name),
                                f"numbers up to {LARGEST:g} in size, the largest from {1 / LARGEST:g} on",
                                "correct the cell, or give the column in another unit"))  # fmt: skip
    return problems


def gap_problem(gaps: Flags, column: str, rows: Rows) -> Problem:
    """That a column of numbers lacks some, in rows gaps (rows,)."""
    return Problem(f"is missing in {amount(int(gaps.sum()), "row")}", rows.at(int(np.argmax(gaps)), column),
                   "a number in every row", 'fill them, or leave these rows out with missing = "drop"')  # fmt: skip


def cell_text(value: object) -> str:
    """A cell as messages show it: text in quotes, numbers and dates plain."""
    return repr(value) if isinstance(value, str) else str(value)


def _sources(
    frame: pd.DataFrame, unit: str, period: str, roles: Roles, named: Mapping[str, str], extra: Sequence[str] | None
) -> list[tuple[str, str]]:
    """(variable, column) of everything numeric that is asked for, in order; raises BadInput for columns that lack or
    are used twice."""
    further = (*roles.controls, *roles.mediators, *roles.instruments)
    of_roles = [
        *([(roles.outcome, roles.outcome)] if roles.outcome else []),
        *([(TREATMENT, roles.treatment)] if roles.treatment else []),
        *((name, name) for name in further),
    ]
    if roles.weight is not None and roles.weight not in (*further, *(extra or ())):
        of_roles.append((roles.weight, roles.weight))  # a control may be the weight too
    if extra is None and not of_roles:
        left = frame.drop(columns=[unit, period, *named.values()], errors="ignore")
        extra = [str(name) for name in left.select_dtypes(["number", "bool"]).columns]
    sources = of_roles + [(name, name) for name in extra or ()]

    wanted = {unit: "unit", period: "period", **{column: f"variable {name!r}" for name, column in sources},
              **{column: f"attribute {name!r}" for name, column in named.items()}}  # fmt: skip
    problems = missing_columns(frame, wanted)
    used = [unit, period, *(column for _, column in sources)]
    names = [name for name, _ in sources]
    file = str(frame.attrs.get("file", "table"))
    problems += [
        Problem(f"column {column!r} is used twice", file, "one role per column", "name it in one place")
        for column in dict.fromkeys(used)
        if used.count(column) > 1
    ]
    if names.count(TREATMENT) > 1 and used.count(TREATMENT) <= 1:
        problems.append(Problem(f"the column {TREATMENT!r} is not the treatment", file,
                                f"the name {TREATMENT!r} for the treatment alone", "rename that column"))  # fmt: skip
    refuse(problems)
    return sources


def _attribute_problems(frame: pd.DataFrame, named: Mapping[str, str], rows: Rows) -> list[Problem]:
    problems, degrees = [], (named.get("longitude"), named.get("latitude"))
    for column in dict.fromkeys(named.values()):
        grouped = frame[column].groupby(rows.labels, sort=False)
        distinct = grouped.nunique()
        if (distinct > 1).any():
            label = distinct.index[distinct > 1][0]
            values = grouped.get_group(label).dropna().unique()
            problems.append(Problem(f"varies within the unit {label}: {listed(values, 3)}",
                                    f"{rows.file}, column {column!r}", "one value per unit in all periods",
                                    "make a column that is constant within units"))  # fmt: skip
        if (distinct == 0).any():
            labels = distinct.index[distinct == 0]
            problems.append(Problem(f"is missing for units {listed(labels)}", f"{rows.file}, column {column!r}",
                                    "a value for every unit", "fill it" if column in degrees else "fill it (a word "
                                    "such as none will do)"))  # fmt: skip
    return problems


def _attribute(column: pd.Series[Any], codes: Codes, units: int) -> NDArray[Any]:
    """One value a unit, (N,): numbers as they are, everything else as text."""
    firsts = column.groupby(codes).first().reindex(range(units))
    if pd.api.types.is_bool_dtype(firsts) or pd.api.types.is_numeric_dtype(firsts):
        return np.array(firsts.to_numpy())
    if all(isinstance(value, bool) for value in firsts):
        return np.array(firsts, dtype=bool)
    return np.array([unit_label(value) for value in firsts.tolist()], dtype=np.str_)


def weight_problems(values: Floats, column: str, rows: Rows) -> list[Problem]:
    """A problem for weights (rows,) that are 0 or negative; NaN = missing."""
    wrong = np.flatnonzero(values <= 0)
    if not wrong.size:
        return []
    more = f" (and {wrong.size - 1} more such rows)" if wrong.size > 1 else ""
    return [Problem(f"the weight is {values[wrong[0]]:g}{more}", rows.at(int(wrong[0]), column), "positive numbers",
                    'correct the cells, or empty them and leave these rows out with missing = "drop"')]  # fmt: skip


TreatmentKind = Literal["absorbing", "switching", "continuous"]
MANY, LEAST = 0.1, 5  # share and number of values that are neither 0 nor 1 beyond which they are no slips


def kind_of_treatment(did: Floats) -> TreatmentKind:
    """What the values of a treatment (T, N) are: 0 and 1 alone, or any strength; NaN = not observed."""
    values = did[~np.isnan(did)]
    other = (values != 0) & (values != 1)
    no_slips = other.sum() >= LEAST and other.mean() > MANY and len(np.unique(values)) > 2
    return "continuous" if no_slips else "absorbing"


def treatment_problems(
    did: Floats, units: tuple[str, ...], periods: tuple[int, ...], where: str, kind: TreatmentKind | None = None
) -> list[Problem]:
    """Problems of a treatment (T, N) that does not vary or is not of its kind; NaN = not observed.

    kind: absorbing, 0/1 and 1 from the first treated period on; switching, 0/1; continuous, any numbers; None =
    continuous where there are three or more values and more than a tenth of the panel is neither 0 nor 1, else
    absorbing.
    """
    seen, kind = ~np.isnan(did), kind or kind_of_treatment(did)
    if kind == "continuous":
        values = did[seen]
        if len(values) and values.min() < values.max():
            return []
        said = f"is {values[0]:g} everywhere" if len(values) else "is observed nowhere"
        return [Problem(f"the treatment {said}", where, "a treatment that varies", "check the column")]
    odd = np.argwhere(seen & (did != 0) & (did != 1))
    if odd.size:
        t, i = odd[0]
        return [Problem(f"the treatment is {did[t, i]:g}", f"{where}, unit {units[i]}, {periods[t]}", "0 or 1",
                        "code it 1 from the first treated period on, else 0; if it is a dose or an index, say "
                        'treatment_kind = "continuous" in [panel]')]  # fmt: skip
    with np.errstate(invalid="ignore"):
        off = np.argwhere((did < np.fmax.accumulate(did, axis=0)) & seen)
    if off.size and kind == "absorbing":
        t, i = off[0]
        count = len(np.unique(off[:, 1]))
        return [Problem(f"the treatment of {amount(count, "unit")} switches off",
                        f"{where}, unit {units[i]}, {periods[t]}", "a treatment that stays on (absorbing)",
                        "code it 1 from the first treated period on, leave those units out, or, if it does switch "
                        'off, say treatment_kind = "switching" in [panel]')]  # fmt: skip
    if not (did[seen] == 1).any():
        return [Problem("nobody is treated", where, "some units treated in some periods", "check the column")]
    if not (did[seen] == 0).any():
        return [Problem("everybody is always treated", where, "untreated units or periods to compare with",
                        "check the column, add earlier periods or untreated units")]  # fmt: skip
    return []
