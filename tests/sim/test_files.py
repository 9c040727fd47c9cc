"""Tables from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from refusals import refuses

from sim.errors import near_file
from sim.panel import Panel
from sim.panel_files import Rows, TablePlace, index_as_columns, read_frame

TABLE = pd.DataFrame({"城市": ["北京市", "上海市", "北京市"], "year": [2006, 2006, 2007], "y": [1.5, np.nan, 2.0]})


def _same(frame: pd.DataFrame) -> bool:
    return frame["城市"].tolist() == TABLE["城市"].tolist() and np.array_equal(frame["y"], TABLE["y"], equal_nan=True)


@pytest.mark.parametrize("written", [
    *({"encoding": name} for name in ("utf-8", "utf-8-sig", "utf-16", "gb18030", "gbk")),
    *({"sep": sep, "decimal": mark} for sep, mark in ((";", ","), (";", "."), ("\t", ","), ("\t", "."))),
], ids=str)  # fmt: skip
def test_csv_in_the_encodings_and_with_the_marks_that_spreadsheets_write(
    tmp_path: Path, written: dict[str, str]
) -> None:
    TABLE.to_csv(tmp_path / "a.csv", index=False, **written)  # type: ignore[call-overload]
    frame = read_frame(tmp_path / "a.csv")
    assert list(frame.columns) == ["城市", "year", "y"]
    assert _same(frame)
    assert (frame["y"].dtype, frame.attrs) == (np.float64, {"file": "a.csv", "first_row": 2})


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_rows_are_numbered_as_in_the_file(tmp_path: Path, ending: str) -> None:
    rows = [["Cities", None], ["city", "y"], [None, "kg"], ["a", 1.5]]
    table, path = pd.DataFrame(rows), tmp_path / f"a.{ending}"
    write = table.to_csv if ending == "csv" else table.to_excel
    write(path, index=False, header=False)
    frame = read_frame(path, place=TablePlace(skip=1, under=1))
    assert (frame.to_dict("records"), frame.attrs["first_row"]) == ([{"city": "a", "y": 1.5}], 4)


def test_parquet_excel_and_stata(tmp_path: Path) -> None:
    TABLE.to_parquet(tmp_path / "a.parquet")
    TABLE.to_excel(tmp_path / "a.XLSX", index=False)
    TABLE.rename(columns={"城市": "city"}).to_stata(tmp_path / "a.dta", write_index=False, version=118)
    assert _same(read_frame(tmp_path / "a.parquet"))
    assert _same(read_frame(tmp_path / "a.XLSX"))
    assert _same(read_frame(tmp_path / "a.dta").rename(columns={"city": "城市"}))


@pytest.mark.parametrize("kind", ["tc", "td", "tw", "tm", "tq", "th", "tC"])
def test_other_stata_dates_are_dates_as_in_other_formats(tmp_path: Path, kind: str) -> None:
    days = pd.to_datetime(["2019-01-01", "2019-07-01", None])
    years = pd.to_datetime(["2019-01-01", "2020-01-01", None])
    table = pd.DataFrame({"when": days, "year": years, "y": [1.0, 2.0, 3.0], "name": ["a", "", "b"]})
    written = {"when": "tc" if kind == "tC" else kind, "year": "ty"}
    table.to_stata(tmp_path / "a.dta", write_index=False, convert_dates=written)
    if kind == "tC":  # with leap seconds, which pandas does not write
        (tmp_path / "a.dta").write_bytes((tmp_path / "a.dta").read_bytes().replace(b"%tc", b"%tC"))
    frame = read_frame(tmp_path / "a.dta")
    near = pd.Timedelta(days=8)  # a week of Stata may be nine days long
    assert (abs(frame["when"][:2] - days[:2]) < near).all()
    assert (frame["when"].isna().tolist(), frame["year"][:2].tolist()) == ([False, False, True], [2019, 2020])
    assert (frame["y"].tolist(), frame["name"].tolist()) == ([1.0, 2.0, 3.0], ["a", "", "b"])
    refuses("column 'when', row 1, unit a; the period is 2019-0", Rows.of, frame.assign(name="a")[:2], "name", "when")


def test_headings_span_their_columns_and_columns_without_a_name_or_a_value_are_left_out(tmp_path: Path) -> None:
    rows = [["city", "Income", None, "Note", None], [None, "mean", "sd", None, "x"], ["a", 1, 2, "n", 3]]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False, header=False)
    found = read_frame(tmp_path / "a.csv", place=TablePlace(header=2))
    assert list(found.columns) == ["city", "Income mean", "Income sd", "Note", "x"]
    (tmp_path / "a.csv").write_text("city;year ; y;;;\na;2006;1;;;\nb;2006;2;;;\n")
    assert list(read_frame(tmp_path / "a.csv").columns) == ["city", "year", "y"]
    (tmp_path / "a.csv").write_text("city,year,\na,2006,1\n")
    assert len(read_frame(tmp_path / "a.csv").columns) == 3
    (tmp_path / "a.csv").write_text("city,gdp,,,\n,2006,2007,,\na,1,2,,\n")
    assert list(read_frame(tmp_path / "a.csv", place=TablePlace(header=2)).columns) == ["city", "gdp 2006", "gdp 2007"]


def test_commas_in_names_and_texts_are_no_separators_or_decimal_marks(tmp_path: Path) -> None:
    text = '"GDP, in yuan, real";city;code\n1.5;"Xi\'an, old";1,2\n-2.5e-3;b;3,4\n'
    (tmp_path / "a.csv").write_text(text)
    frame = read_frame(tmp_path / "a.csv")
    assert list(frame.columns) == ["GDP, in yuan, real", "city", "code"]
    assert frame["GDP, in yuan, real"].tolist() == [1.5, -0.0025]
    assert frame["code"].tolist() == ["1,2", "3,4"]  # both marks appear: a comma is not the decimal one


BROKEN = {
    "a.csv": [
        (b"", "is empty"),
        (b"city,year,y\n", "has no rows"),
        (b"\n\n", "cannot be read as csv"),
        (b"city;y\na;1\nb;1;2\n", "cannot be read as csv"),
        (b"city,y,y\na,1,2\n", "column names repeat: y"),
        (b"city,y\na,1,2,3\n", "cannot be read as csv (rows have more cells than the header)"),
        (b"city,y\na,1\nb,1,2,3\n", "cannot be read as csv"),
        (b"\xff\xfe\x81\x20\xff", "neither UTF-8 nor GB18030"),
        ("city,y\na,1\n".encode("utf-16-le"), "holds NUL bytes, as UTF-16 without its mark does"),
        (b"city\x07,y\na,1\n", r"column names hold control signs: 'city\x07'"),
    ],
    "a.xlsx": [(b"not a zip", "cannot be read as xlsx"), (b"PK\x03\x04 torn", "cannot be read as xlsx")],
    "a.parquet": [(b"PAR1 torn", "cannot be read as parquet")],
    "a.dta": [(b"<stata_dta> torn", "cannot be read as dta"), (b"\x71", "cannot be read as dta")],
    "a.xls": [(b"x", "has the extension .xls")],
    "a": [(b"x", "has the extension (none)")],
}


@pytest.mark.parametrize(("name", "content", "what"), [(name, *one) for name, cases in BROKEN.items() for one in cases])
def test_a_file_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (problem,) = refuses(".", read_frame, tmp_path / name).problems
    assert what in problem.what
    assert problem.where.startswith(name)
    assert "" not in (problem.allowed, problem.remedy)
    assert "\n" not in str(problem)


def test_missing_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "panel.csv").write_text("a,b\n1,2\n")
    (tmp_path / "folder.csv").mkdir()
    for file, words in {
        "cities.csv": r"there is no such file.*holds.*panel\.csv", "none/panel.csv": "there is no folder",
        "pannel.csv": r"there is no such file; did you mean '.*/panel\.csv'\?", "folder.csv": "is a directory",
    }.items():  # fmt: skip
        refuses(words, lambda file=file: read_frame(tmp_path / file))


# Names that look like numbers or like a missing value, letters of Western files, indices and empty columns.


def _written(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A table as it is read from a file with the extension of `path`."""
    table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_excel(path, index=False)
    return read_frame(path)


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_ids_keep_their_zeros(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"fips": ["01001", "10001"], "code": ["11", "12"], "year": ["2006", "2007"], "y": [0.5, 1.0],
                          "gap": ["007", None], "share": ["00.0", "1"]})  # fmt: skip
    frame = _written(table, tmp_path / name)
    assert (frame["fips"].tolist(), frame["gap"].tolist()[0]) == (["01001", "10001"], "007")
    assert frame["gap"].isna().tolist() == [False, True]
    assert frame[["code", "year", "share"]].values.tolist() == [[11, 2006, 0], [12, 2007, 1]]
    assert Rows.of(frame, "fips", "year").labels.tolist() == ["01001", "10001"]
    assert Rows.of(frame.assign(year=["01", "02"]), "fips", "year").years.tolist() == [1, 2]
    long = pd.DataFrame({"id": ["91440300000000001", None, "91440300000000003"], "y": [1.0, None, 2.0]})
    assert _written(long, tmp_path / name)["id"].tolist() == ["91440300000000001", "91440300000000003"]


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_na_is_a_name_among_words_and_missing_elsewhere(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({"iso": ["NA", "DE"], "y": ["NA", "1.5"], "first": ["never", "NA"], "treated": ["yes", "NA"],
                          "on": ["NA", "TRUE"], "when": ["NA", "2006-01"], "none": ["NA", "NA"]})  # fmt: skip
    frame = _written(table, tmp_path / name)
    assert frame["iso"].tolist() == ["NA", "DE"]
    assert frame.drop(columns="iso").isna().sum().tolist() == [1, 1, 1, 1, 1, 2]
    assert frame["y"].dtype == np.float64


@pytest.mark.parametrize("lines", [2, 3, 4])
def test_letters_of_western_files_are_no_chinese_ones(tmp_path: Path, lines: int) -> None:
    western = "Größe;Beschäftigung;Ort;Landesfläche\n1;2;Zürich;3\n4;5;Île d’Yeu;6\n7;8;Cité;9\n"
    text = "".join(western.splitlines(keepends=True)[:lines])
    (tmp_path / "a.csv").write_bytes(text.encode("cp1252"))
    frame = read_frame(tmp_path / "a.csv")
    assert (frame.attrs["encoding"], frame.to_csv(index=False, sep=";")) == ("cp1252", text)


@pytest.mark.parametrize(
    "text", ["城市,GDP总量,log值\n北京,1,2\n", "A股,y\n1,2\n", "name,y\n朱镕基,1\n", "city,r率\n堃a,1\n"]
)
def test_chinese_letters_beside_latin_ones_stay(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode("gb18030"))
    frame = read_frame(tmp_path / "a.csv")
    assert frame.to_csv(index=False) == text
    assert "encoding" not in frame.attrs


def test_levels_of_an_index_are_columns(tmp_path: Path) -> None:
    table = TABLE.set_index(["城市", "year"])
    table.to_parquet(tmp_path / "a.parquet")
    assert list(read_frame(tmp_path / "a.parquet").columns) == ["城市", "year", "y"]
    assert list(index_as_columns(TABLE.set_index("year", drop=False)).columns) == ["城市", "year", "y"]
    filled = TABLE.fillna(0).assign(year=[1, 2, 2], 城市=["a", "a", "b"])
    panel = Panel.from_frame(filled.set_index(["城市", "year"]), unit="城市", period="year")
    assert panel.units == ("a", "b")


def test_a_misspelt_file_is_told_the_nearest_of_its_kind_that_lies_there(tmp_path: Path) -> None:
    for name in ("study.toml", "study.csv", "other.toml", "Notes.TOML"):
        (tmp_path / name).touch()
    assert near_file(tmp_path / "stdy.toml", [".toml"]) == f"did you mean {str(tmp_path / 'study.toml')!r}?"
    assert near_file(tmp_path / "notes", [".toml"]) == f"did you mean {str(tmp_path / 'Notes.TOML')!r}?"
    for name in ("study.toml", "size.toml", "none/study.toml", "no\0ne/study.toml"):  # itself, nothing near, no folder
        assert near_file(tmp_path / name, [".toml"]) == "check the path"
    for name in ("weights", "study.zarr"):
        (tmp_path / name).mkdir()
    assert near_file(tmp_path / "weight", [""]) == "check the path"
    found = near_file(tmp_path / "studi.zarr", [".zarr"], folders=True)
    assert found == f"did you mean {str(tmp_path / 'study.zarr')!r}?"
