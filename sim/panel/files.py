"""Tables from files: csv, Parquet, Stata or Excel, with every failure said in one line."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import pandas as pd

from sim.errors import BadInput, bad, first_line, listed

TABLES = (".csv", ".parquet", ".dta", ".xlsx")
ENCODINGS = ("utf-8-sig", "gb18030")  # the second is what a Chinese spreadsheet program writes by default
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how "Unicode text" of a spreadsheet program begins
SEPARATORS = ",;\t"
DECIMAL_COMMA = re.compile(r"(?:^|[;\t])[ \"]*[-+]?\d+,\d+(?:[eE][-+]?\d+)?[ \"]*(?=[;\t\r\n]|$)", re.MULTILINE)
DECIMAL_POINT = re.compile(DECIMAL_COMMA.pattern.replace(r"\d+,", r"\d*\."), re.MULTILINE)
# What the readers raise on content that is not what the extension says.
UNREADABLE = (ValueError, OSError, KeyError, IndexError, TypeError, AttributeError, EOFError, SyntaxError,
              struct.error, BadZipFile, pd.errors.ParserWarning)  # fmt: skip


def read_frame(path: str | Path) -> pd.DataFrame:
    """The table in a .csv, .parquet, .dta or .xlsx (first sheet) file, one row an observation.

    `frame.attrs` remembers the file's name and the number of the first row, for messages. Raises BadInput for a file
    that is missing, empty, of another kind, unreadable, without rows, or with repeated column names.
    """
    path = Path(path)
    check_file(path, TABLES)
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": read_csv_text, ".parquet": pd.read_parquet, ".dta": _read_stata, ".xlsx": _read_excel,
    }  # fmt: skip
    extension = path.suffix.lower()
    try:
        frame = readers[extension](path)
    except BadInput:
        raise
    except UNREADABLE as error:
        raise bad(f"cannot be read as {extension[1:]} ({first_line(error)})",
                  where=path.name, allowed="a table with one header row and one row per unit and period",
                  remedy="open it in the program that wrote it and save it again") from error  # fmt: skip
    frame = frame.rename(columns={name: str(name).strip() for name in frame.columns})
    _check_table(frame, path)
    frame.attrs = {"file": path.name, "first_row": 2 if extension in (".csv", ".xlsx") else 1}
    return frame


def check_file(path: Path, extensions: tuple[str, ...]) -> None:
    """Raise BadInput unless `path` is a file with something in it and one of the extensions (lower case, dotted)."""
    allowed = "a file ending in " + ", ".join(extensions)
    if path.is_dir():
        raise bad("is a directory", where=str(path), allowed=allowed, remedy="name a file in it")
    if path.suffix.lower() not in extensions:
        raise bad(f"has the extension {path.suffix or '(none)'}", where=path.name, allowed=allowed,
                  remedy="save it as one of these")  # fmt: skip
    if not path.exists():
        raise bad("there is no such file", where=str(path), allowed=allowed, remedy=_nearby(path))
    if path.stat().st_size == 0:
        raise bad("is empty", where=path.name, allowed=f"{allowed}, with a header and rows", remedy="save it again")


def read_csv_text(path: Path) -> pd.DataFrame:
    """A csv file in UTF-8, UTF-16 or GB18030 as it stands, its columns separated by commas, semicolons or tabs.

    Where they are not commas and all decimal marks are, these are read as such. Raises BadInput for another encoding
    or repeated column names, and what pandas raises.
    """
    text = csv_text(path)
    separator = separator_of(text)
    points = separator == "," or DECIMAL_COMMA.search(text) is None or DECIMAL_POINT.search(text) is not None
    header = pd.read_csv(io.StringIO(text), sep=separator, header=None, nrows=1, dtype=str)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
        frame = pd.read_csv(io.StringIO(text), sep=separator, decimal="." if points else ",", index_col=False,
                            low_memory=False)  # fmt: skip
    _check_header([str(name).strip() for name in header.iloc[0].dropna()], path)
    return frame


def csv_text(path: Path) -> str:
    """What a csv file says; raises BadInput when it is neither UTF-8, UTF-16 with its mark, nor GB18030."""
    content = path.read_bytes()
    for encoding in ("utf-16",) if content.startswith(UTF_16) else ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise bad("is neither UTF-8 nor GB18030 text", where=path.name, allowed="csv in UTF-8 (or GB18030)",
              remedy='save it as "CSV UTF-8"')  # fmt: skip


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
    for name, dates in _stata_dates(path, frame).items():
        years = (frame[name] == dates.dt.year) | frame[name].isna()
        if not years.all():
            frame[name] = dates
    return frame


def _stata_dates(path: Path, frame: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    """Columns of a Stata file in a format of dates, converted; `frame`: the file with dates as numbers."""
    if frame.empty:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # %tC, with leap seconds, is left as objects
        with pd.read_stata(path, chunksize=1, convert_categoricals=False) as reader:
            first = next(reader)
    types = pd.api.types
    seconds = [
        str(name) for name in frame if types.is_object_dtype(first[name]) and types.is_numeric_dtype(frame[name])
    ]
    found = {name: pd.to_datetime(frame[name], unit="ms", origin="1960-01-01", errors="coerce") for name in seconds}
    named = [str(name) for name in frame if types.is_datetime64_any_dtype(first[name])]
    converted = pd.read_stata(path, columns=named, convert_categoricals=False) if named else frame[named]
    return found | {name: converted[name] for name in named}


def _read_excel(path: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # styles and validations that openpyxl does not know
        header = pd.read_excel(path, header=None, nrows=1, dtype=str)
        frame = pd.read_excel(path)
    if not header.empty:
        _check_header([str(name).strip() for name in header.iloc[0].dropna()], path)
    return frame


def _check_header(names: list[str], path: Path) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise bad(f"column names repeat: {listed(twice)}", where=f"{path.name}, header", allowed="each name once",
                  remedy="rename or delete the repeated columns")  # fmt: skip


def _check_table(frame: pd.DataFrame, path: Path) -> None:
    _check_header([str(name) for name in frame.columns], path)
    if frame.empty:
        raise bad("has no rows", where=path.name, allowed="a header and one row per unit and period",
                  remedy="save the file again with its rows")  # fmt: skip


def _nearby(path: Path) -> str:
    """A remedy: the tables that do lie in that folder."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}; correct the path"
    near = sorted(item.name for item in path.parent.iterdir() if item.suffix.lower() in TABLES)
    return f"correct the path; {path.parent} holds {listed(near, 6)}" if near else "correct the path"
