"""Fifty files of all kinds, odd ones too, each from file to the right effect by `init`, `panel check` and `estimate`.

Each holds the same small panel. What `init` asks is answered where the answer is no; nothing else is edited.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pyreadstat
import pytest
from commands import here, words
from openpyxl.utils import get_column_letter
from refusals import refuses
from warned import dummies

import panelproof as pp
from estimators.linear.did import TwoWayDID
from experiments.checks.inputs import checks_of_file
from experiments.panel_spec.look import alike

UNITS, PERIODS, FIRST = 12, 6, 2006
NAMES = [f"c{i:02d}" for i in range(UNITS)]
START = np.array([2008, 2008, 2009, 2009, 2010, 2010] + [9999] * 6)
PLACES = np.random.default_rng(8).uniform(0, 1000, (UNITS, 2))
KM = np.hypot(*(PLACES[:, None] - PLACES).transpose(2, 0, 1)).round(2)
NEAR = ((KM > 0) & (np.argsort(np.argsort(KM, axis=1), axis=1) <= 4)).astype(float)
NEAR = np.maximum(NEAR, NEAR.T)  # symmetric, so that half of its links say all


def clean() -> pd.DataFrame:
    """The panel as it should be read, a row a city and year."""
    rng = np.random.default_rng(3)
    city, year = (part.ravel() for part in np.meshgrid(np.arange(UNITS), np.arange(PERIODS), indexing="ij"))
    d = (FIRST + year >= START[city]).astype(int)
    x = rng.normal(5, 1, city.size).round(3)
    y = rng.normal(size=UNITS)[city] + 0.1 * year + 0.5 * d + 0.3 * x + rng.normal(0, 0.3, city.size)
    return pd.DataFrame({"city": np.array(NAMES)[city], "year": FIRST + year, "y": (y + 5).round(4), "d": d, "x": x})


@dataclass(frozen=True)
class Door:
    """A kind of file: how it is written, what `init` asks of it, and what is answered where the answer is no.

    scale, without: what the effect is multiplied with, and rows of the panel that are missing. w: the matrix that
    must come of `weights`, rows summing to one. warns: what `panel check` warns of.
    """

    write: Callable[[Path], Path]
    asks: tuple[str, ...] = ()
    answers: dict[str, str] = field(default_factory=dict)
    scale: float = 1.0
    without: tuple[int, ...] = ()
    near: float = 1e-6
    reshape: bool = False
    sheet: str = ""
    weights: str = ""
    w: np.ndarray | None = None
    warns: tuple[str, ...] = ()


def saved(path: Path, write: Callable[[str], object]) -> Path:
    write(str(path))
    return path


def csv(folder: Path, data: pd.DataFrame, **how: Any) -> Path:
    return saved(folder / "panel.csv", lambda path: data.to_csv(path, index=False, **how))


def xlsx(folder: Path, data: pd.DataFrame, name: str = "panel.xlsx", **how: Any) -> Path:
    return saved(folder / name, lambda path: data.to_excel(path, index=False, **how))


def stata(folder: Path, data: pd.DataFrame, name: str = "panel.dta", **how: Any) -> Path:
    return saved(folder / name, lambda path: data.to_stata(path, write_index=False, **how))


def sheets(folder: Path, second: str, *, hidden: bool = False) -> Path:
    """A workbook whose first sheet holds a part of the panel."""
    with pd.ExcelWriter(folder / "panel.xlsx") as book:
        clean().query("year < 2009").to_excel(book, sheet_name="old", index=False)
        clean().to_excel(book, sheet_name=second, index=False)
        book.book["old"].sheet_state = "hidden" if hidden else "visible"
    return folder / "panel.xlsx"


def workbook(folder: Path, rows: list[list[Any]], merged: Iterable[str] = ()) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for cells in merged:
        book.active.merge_cells(cells)
    book.save(folder / "panel.xlsx")
    return folder / "panel.xlsx"


def merged_names(first: int) -> list[str]:
    """The cells of each city's name, from a row on."""
    return [f"A{first + PERIODS * i}:A{first - 1 + PERIODS * (i + 1)}" for i in range(UNITS)]


TITLED = [["Yearbook of cities"], [], [*clean()], *clean().values.tolist(), [], ["Source: yearbook"], [],
          ["Note: none"]]  # fmt: skip
TWO_ROWS = [["Yearbook of cities"], ["City", "Year", "Index", None, None], [None, None, "y", "d", "x"],
            [None, None, "points", "0/1", "km"],
            *([None if number % PERIODS else row[0], *row[1:]] for number, row in enumerate(clean().values.tolist())),
            [], ["Source: yearbook"]]  # fmt: skip


def text_around(folder: Path) -> Path:
    notes = "Source: yearbook, statistical office, 2012, tables 1, 2, 3 and 4\nNote: preliminary\n"
    (folder / "panel.csv").write_text("Cities of the country\n" + clean().to_csv(index=False) + notes)
    return folder / "panel.csv"


def wide(name: str = "{}{}") -> pd.DataFrame:
    parts = [clean().pivot(index="city", columns="year", values=column).rename(columns=lambda year, column=column:
             name.format(column, year)) for column in ("y", "d", "x")]  # fmt: skip
    return pd.concat(parts, axis=1).reset_index()


def wide_with_merged_header(folder: Path) -> Path:
    first = ["city", *(name if t == 0 else None for name in ("y", "d", "x") for t in range(PERIODS))]
    years = [None, *([FIRST + t for t in range(PERIODS)] * 3)]
    letters = [get_column_letter(column) for column in range(2, 2 + 3 * PERIODS)]
    ends = [(letters[at * PERIODS], letters[(at + 1) * PERIODS - 1]) for at in range(3)]
    return workbook(folder, [first, years, *wide().values.tolist()], ["A1:A2", *(f"{a}1:{b}1" for a, b in ends)])


def spss(folder: Path) -> Path:
    coded, labels = clean().assign(d=lambda f: 2 - f["d"]), {"d": {1: "treated", 2: "not treated"}}
    return saved(folder / "panel.sav", lambda path: pyreadstat.write_sav(coded, path, variable_value_labels=labels))


def labelled_stata(folder: Path) -> Path:
    coded, labels = clean().assign(d=lambda f: 1 + f["d"]), {"d": {1: "keine", 2: "Pilotstadt"}}
    return saved(folder / "panel.dta", lambda path: pyreadstat.write_dta(coded, path, variable_value_labels=labels))


def with_cells(write: Callable[..., Path], cells: dict[tuple[int, str], Any]) -> Callable[[Path], Path]:
    """A file with other values in a few cells."""

    def written(folder: Path) -> Path:
        data = clean().astype({column: object for _, column in cells})
        for place, value in cells.items():
            data.loc[place] = value
        return write(folder, data)

    return written


def dated(first: Callable[[int], object], name: str = "first_treat") -> pd.DataFrame:
    data = clean()
    return data.drop(columns="d").assign(**{name: [first(int(START[NAMES.index(c)])) for c in data["city"]]})


def never(word: object, shown: str = "{}") -> Callable[[int], object]:
    """A first treated year as a file has it."""
    return lambda year: word if year == 9999 else int(year) if shown == "{}" else shown.format(year)


def dated_places(folder: Path) -> Path:
    at = pd.DataFrame({"city": NAMES, "Lat": 30 + PLACES[:, 1] / 100, "Long": 100 + PLACES[:, 0] / 100})
    return xlsx(folder, dated(lambda year: pd.NaT if year == 9999 else pd.Timestamp(year, 7, 1)).merge(at, on="city"))


def rows_sum_to_one(raw: np.ndarray) -> np.ndarray:
    return np.asarray(raw / raw.sum(axis=1, keepdims=True))


def inverse() -> np.ndarray:
    with np.errstate(divide="ignore"):
        return rows_sum_to_one(np.where(KM > 0, 1 / KM, 0.0))


NEIGHBOURS = rows_sum_to_one(NEAR)
FROM, TO = np.nonzero(NEAR)


def square(folder: Path) -> Path:
    pd.DataFrame(NEAR, NAMES, NAMES).to_excel(folder / "w.xlsx")
    return csv(folder, clean())


def links_in_stata(folder: Path) -> Path:
    stata(folder, pd.DataFrame({"from": np.array(NAMES)[FROM], "to": np.array(NAMES)[TO]}), "w.dta")
    return csv(folder, clean())


def by_number(folder: Path) -> Path:
    np.savetxt(folder / "w.csv", NEAR[::-1, ::-1], delimiter=",", fmt="%g")
    return csv(folder, clean().assign(id=lambda f: [100 - NAMES.index(name) for name in f["city"]]))


def pairs_once(folder: Path) -> Path:
    i, j = np.triu_indices(UNITS, 1)
    xlsx(folder, pd.DataFrame({"origin": np.array(NAMES)[i], "destination": np.array(NAMES)[j], "km": KM[i, j]}),
         "km.xlsx")  # fmt: skip
    return csv(folder, clean())


def blanks_in_names(folder: Path) -> Path:
    shown = pd.DataFrame(NEAR, [f"{name} " for name in NAMES], [f"\u3000{name}" for name in NAMES]).iloc[::-1]
    shown.to_excel(folder / "w.xlsx")
    return csv(folder, clean().assign(city=lambda f: f["city"] + "  "))


def codes_of_two_types(folder: Path) -> Path:
    xlsx(folder, pd.DataFrame({"id1": (FROM + 1).astype(str), "id2": (TO + 1).astype(str)}), "w.xlsx")
    return csv(folder, clean().assign(city=lambda f: [float(NAMES.index(name) + 1) for name in f["city"]]))


def total_row(folder: Path, name: str = "全国", how: str = "sum") -> Path:
    sums = clean().groupby("year", as_index=False)[["y", "x"]].agg(how).assign(city=name, d=0)
    return csv(folder, pd.concat([clean(), sums])[list(clean())])


def by_comma() -> pd.DataFrame:
    return clean().assign(x=lambda f: (f["x"] / 10).map("{:.3f}".format).str.replace(".", ","))


def units_row(folder: Path) -> Path:
    data = pd.concat([pd.DataFrame([{"city": "", "year": "年", "y": "指数", "d": "", "x": "万元"}]), clean()])
    return csv(folder, data[list(clean())].rename(columns={"city": "城市", "year": "年份"}))


def header_again(folder: Path) -> Path:
    again = pd.DataFrame([dict(zip(clean(), clean(), strict=True))])
    return csv(folder, pd.concat([clean()[:30], again, clean()[30:]]))


def subtotals(folder: Path) -> Path:
    sums = clean().groupby("city", as_index=False)[["y", "x"]].sum().assign(city=lambda f: f["city"] + " 合计")
    return csv(folder, pd.concat([clean(), sums])[list(clean())].sort_values("city", kind="stable"))


def wide_digits(folder: Path) -> Path:
    wide = str.maketrans("0123456789.-", "０１２３４５６７８９．－")
    return csv(folder, clean().astype({"year": str, "y": str}).assign(
        year=lambda f: f["year"].str.translate(wide), y=lambda f: f["y"].str.translate(wide)))  # fmt: skip


def words_of_any_case(folder: Path) -> Path:
    words = ["Yes", "YES ", "yes", "no", "No"]
    return csv(folder, clean().assign(d=lambda f: [words[at % 3] if d else words[3 + at % 2]
                                                   for at, d in enumerate(f["d"])]))  # fmt: skip


def of_years(shown: Callable[[int], object]) -> pd.DataFrame:
    return clean().assign(year=lambda f: [shown(year) for year in f["year"]])


CHINESE = {"city": "城市", "year": "年份", "y": "韧性", "d": "试点", "x": "投资"}
ADOPTION = ("is first_treat a unit's first treated period",)
PILOT = ("is pilot a unit's first treated period",)
MISSING = ("2 of 72 unit-periods are missing",)
DOORS: dict[str, Door] = {
    # plain files, sheets, titles, notes
    "plain csv": Door(lambda f: csv(f, clean())),
    "workbook": Door(lambda f: xlsx(f, clean())),
    "parquet": Door(lambda f: saved(f / "panel.parquet", clean().to_parquet)),
    "workbook of two tables": Door(lambda f: sheets(f, "all"), sheet="all"),
    "workbook with a title and notes": Door(
        lambda f: workbook(f, TITLED), asks=("skip: 2 rows above", "skip_below: 3 rows at the end")),
    "workbook with a header of two rows, merged cells, units of measurement and notes": Door(
        lambda f: workbook(f, TWO_ROWS, ["A1:E1", "A2:A3", "B2:B3", "C2:E2", *merged_names(5)]),
        asks=("skip: 1 row above", "skip_under: 1 row under", "header: 2 rows joined", "fill: do empty cells of City",
              "skip_below: 1 row at the end")),
    "csv with a title and notes that hold commas": Door(
        text_around, asks=("skip: 1 row above", "skip_below: 2 rows at the end")),
    "csv in GB18030, its columns separated by semicolons, decimal commas": Door(
        lambda f: csv(f, clean().rename(columns=CHINESE), encoding="gb18030", sep=";", decimal=",")),
    "a byte order mark and row numbers": Door(
        lambda f: csv(f, clean().reset_index(names=""), encoding="utf-8-sig")),
    "merged cells of names": Door(
        lambda f: workbook(f, [[*clean()], *clean().values.tolist()], merged_names(2)),
        asks=("do empty cells of city have the value above them?",)),
    "units under the header": Door(units_row, asks=("1 row under the header left out: does it hold units?",)),
    "the header once more": Door(
        header_again, asks=("rows of year 'year' left out: is it the header once more?",)),
    "subtotals without a year": Door(subtotals, asks=("rows of city 'c00 合计'",)),
    "a total row": Door(total_row, asks=("rows of city '全国' left out: are they totals?",)),
    "a mean that is called like a unit": Door(lambda f: total_row(f, "c12", "mean"), asks=("rows of city 'c12'",)),
    # wide tables
    "wide csv, y2006": Door(lambda f: csv(f, wide()), reshape=True),
    "wide workbook, y (2006), with a title": Door(lambda f: xlsx(f, wide("{} ({})"), startrow=2), reshape=True),
    "wide workbook whose header has merged cells": Door(wide_with_merged_header, reshape=True),
    "wide csv, 2006_y": Door(lambda f: csv(f, wide("{1}_{0}")), reshape=True),
    # labelled values, codes, words
    "Stata file of pandas, 1 yes, 2 no": Door(
        lambda f: stata(f, clean().assign(d=lambda f: 2 - f["d"]), value_labels={"d": {1: "yes", 2: "no"}}),
        asks=("is 'yes' the value of the treated",)),
    "Stata file of pyreadstat, labels of another language": Door(
        labelled_stata, asks=("is 'Pilotstadt' the value of the treated",)),
    "SPSS file, 1 treated, 2 not": Door(spss, asks=("is 'treated' the value of the treated",)),
    "codes 1 and 2 without labels": Door(
        lambda f: csv(f, clean().assign(d=lambda f: 1 + f["d"])), asks=("is '2' the value of the treated",)),
    "words of Chinese for yes and no": Door(
        lambda f: xlsx(f, clean().assign(d=lambda f: f["d"].map({0: "否", 1: "是"}))),
        asks=("is '是' the value of the treated",)),
    "yes and no in any case": Door(words_of_any_case, asks=("is 'yes' the value of the treated",)),
    # numbers as text
    "1,234 and per cent": Door(
        lambda f: csv(f, clean().assign(y=lambda f: (1000 * f["y"]).map("{:,.1f}".format),
                                        x=lambda f: f["x"].map("{:.3f}%".format))),
        asks=('"12%" is read as 12',), scale=1000),
    "- and ... among numbers": Door(
        with_cells(xlsx, {(7, "x"): "-", (40, "y"): "..."}), asks=("do '...', '-' mean missing", MISSING[0][:20]),
        without=(7, 40), warns=MISSING),
    "-99 and 9999": Door(
        with_cells(csv, {(7, "y"): -99, (40, "x"): 9999}),
        asks=("does -99 in y mean missing", "does 9999 in x mean missing"), without=(7, 40), warns=MISSING),
    "a cell without its treatment": Door(
        with_cells(csv, {(70, "d"): np.nan}), asks=("balance: 1 of 72",), without=(70,),
        warns=("1 of 72 unit-periods is missing",)),
    "decimal commas": Door(
        lambda f: xlsx(f, by_comma().assign(y=lambda f: f["y"].map("{:.3f}".format).str.replace(".", ","))),
        asks=('[read] decimal: "0,',), near=1e-3),
    "decimal commas beside points": Door(
        lambda f: csv(f, by_comma(), sep=";"), asks=('[read] decimal: "0,',), near=1e-3),
    "groups of three digits": Door(
        lambda f: csv(f, clean().assign(x=lambda f: [f"{10000 * x:,.0f}" for x in f["x"]])),
        asks=('by decimal = ",", as ',)),
    "wide digits": Door(wide_digits),
    "numbers as text": Door(lambda f: xlsx(f, clean().astype(str))),
    # periods
    "2006年": Door(lambda f: csv(f, of_years("{}年".format))),
    "dates in a workbook": Door(lambda f: xlsx(f, of_years(lambda year: pd.Timestamp(year, 12, 31)))),
    "dates in a Stata file": Door(
        lambda f: stata(f, of_years(lambda year: pd.Timestamp(year, 6, 30)), convert_dates={"year": "td"})),
    "dates as serial days": Door(
        lambda f: xlsx(f, of_years(lambda year: (pd.Timestamp(year, 12, 31) - pd.Timestamp(1899, 12, 30)).days))),
    "every second year": Door(
        lambda f: csv(f, of_years(lambda year: 2000 + 2 * (year - FIRST))), asks=("periods are 2 apart",)),
    # dates of adoption
    "first treated period, 0 for never": Door(lambda f: csv(f, dated(never(0))), asks=ADOPTION),
    "first treated period, -1 for never": Door(lambda f: csv(f, dated(never(-1))), asks=ADOPTION),
    "first treated period, 9999 for never": Door(lambda f: stata(f, dated(int)), asks=ADOPTION),
    "infinity for never": Door(lambda f: csv(f, dated(never(np.inf))), asks=ADOPTION),
    "first treated period as a date, empty for never, with Lat and Long": Door(dated_places, asks=ADOPTION),
    "never": Door(lambda f: xlsx(f, dated(never("never"), "pilot")), asks=PILOT),
    "- for never": Door(lambda f: xlsx(f, dated(never("-", "{}年"), "pilot")), asks=PILOT),
    "never in Chinese": Door(lambda f: xlsx(f, dated(never("未", "{}-07-01"), "pilot")), asks=PILOT),
    # W
    "W in a workbook": Door(square, weights="w.xlsx", w=NEIGHBOURS),
    "W in a Stata file, from and to": Door(
        links_in_stata, weights="w.dta", w=NEIGHBOURS, asks=("go from 'from' to 'to'",)),
    "a matrix without names, in the order of a column of the panel": Door(
        by_number, weights="w.csv", w=NEIGHBOURS, asks=("are its rows in the order of the panel's file",),
        answers={'units = "file"': 'units = "id"'}),
    "distances of each pair once, origin and destination": Door(
        pairs_once, weights="km.xlsx", w=inverse(), asks=("look like distances", "does each link go both ways")),
    "blanks around names": Door(blanks_in_names, weights="w.xlsx", w=NEIGHBOURS),
    "codes as numbers and as text": Door(
        codes_of_two_types, weights="w.xlsx", w=NEIGHBOURS, asks=("links of w.xlsx go from 'id1' to 'id2'",)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("longitude", "latitude"),
    [("Long", "LAT"), ("cityLon", "cityLat"), ("lng_wgs84", "lat_wgs84"), ("经度(°)", "纬度(°)"),
     ("Longitude (deg)", "Latitude (deg)")],
)  # fmt: skip
def test_places_are_found_under_any_usual_name(longitude: str, latitude: str) -> None:
    at = pd.DataFrame({"city": NAMES, latitude: 30 + PLACES[:, 1] / 100, longitude: 100 + PLACES[:, 0] / 100})
    text = pp.init(clean().merge(at, on="city"))
    assert f'longitude = "{longitude}"' in text
    assert f'latitude = "{latitude}"' in text


def said_by(*command: object, code: int = 0) -> str:
    """All that a command printed, blanks of any length as one."""
    return words(" ".join(here(*command, code=code)))


def through(given: Door, folder: Path) -> tuple[Path, Path, str]:
    """The panel's file, its spec as `init` proposes it and as its questions are answered, and what `init` printed."""
    path, spec = given.write(folder), folder / "SPEC.toml"
    if given.reshape:
        assert "panelproof panel reshape" in said_by("init", path, "--out", spec, code=2)
        said_by("panel", "reshape", path, "--out", folder / "long.csv")
        path = folder / "long.csv"
    more = (*(("--sheet", given.sheet) if given.sheet else ()),
            *(("--weights", folder / given.weights) if given.weights else ()))  # fmt: skip
    said = said_by("init", path, "--out", spec, *more)
    text = spec.read_text(encoding="utf-8")
    for old, new in given.answers.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    spec.write_text(text, encoding="utf-8")
    return path, spec, said


@pytest.mark.parametrize("name", DOORS)
def test_a_file_goes_from_init_to_the_right_effect(name: str, tmp_path: Path) -> None:
    given = DOORS[name]
    path, spec, said = through(given, tmp_path)
    assert [question for question in given.asks if question not in said] == []
    checked = said_by("panel", "check", path, "--spec", spec)
    assert checked.count("warning:") == len(given.warns)
    assert all(part in checked for part in given.warns)
    real = pp.read_panel(path, spec)
    assert real.panel.nobs == UNITS * PERIODS - len(given.without)
    expected = given.scale * dummies(clean().drop(index=[*given.without]), "city", "year", regressors=("d", "x"))
    fit = TwoWayDID(real.panel.roles.outcome, real.panel.roles.regressors)(real.panel)
    assert fit.params["did"] == pytest.approx(expected, rel=given.near)
    if given.w is not None:
        (weights,) = real.panel.weights.values()
        order = real.panel.units if name == "codes as numbers and as text" else tuple(NAMES)
        np.testing.assert_allclose(weights.reordered(order).dense, given.w, rtol=1e-6)


def test_estimate_prints_that_effect(tmp_path: Path) -> None:
    path, spec, _ = through(DOORS["distances of each pair once, origin and destination"], tmp_path)
    said_by("estimate", path, "--spec", spec, "--out", tmp_path / "out")
    records = json.loads((tmp_path / "out" / "estimates.json").read_text())["records"]
    (found,) = {r["estimate"] for r in records if (r["table"], r["column"], r["term"]) == ("2", 5, "did")}
    assert found == pytest.approx(dummies(clean(), "city", "year", regressors=("d", "x")), rel=1e-6)
    assert any(record["table"].startswith("S") for record in records)  # dates differ, so init asked for these tables


def names_twice(folder: Path) -> Path:
    data = clean().assign(z=1.0)
    data.columns = pd.Index([*clean(), "x"])
    return csv(folder, data)


def quarters(folder: Path) -> Path:
    said = {FIRST + at: f"{FIRST + at // 4}Q{1 + at % 4}" for at in range(PERIODS)}
    return csv(folder, clean().assign(quarter=lambda f: f["year"].map(said)).drop(columns="year"))


def damaged(folder: Path) -> Path:
    (folder / "panel.sav").write_text("no file of SPSS")
    return folder / "panel.sav"


def signs(folder: Path) -> Path:
    return csv(folder, clean().assign(x=lambda f: [f"{x}%" if at % 3 else f"{x}" for at, x in enumerate(f["x"])]))


REFUSED = {
    "rows twice": (lambda folder: csv(folder, pd.concat([clean(), clean().iloc[[3, 9]]])),
                   "2 unit-periods have more than one row: c00 in 2009, c01 in 2009"),
    "percent signs here and there": (
        signs, "48 cells end in % and 24 do not, such as 7.041; allowed: % in all cells"),
    "quarters": (quarters, "'quarter' holds parts of years, such as '2006Q1'"),
    "names of columns twice": (names_twice, "column names repeat: x"),
    "a damaged file of SPSS": (damaged, "cannot be read as sav"),
    "a hidden sheet": (lambda folder: sheets(folder, "data", hidden=True),
                       '2 sheets hold tables: old (hidden), data; allowed: one of them; say sheet = "data"'),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_odd_file_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    write, why = REFUSED[name]
    assert why in said_by("init", write(tmp_path), "--out", tmp_path / "SPEC.toml", code=2)
    assert not (tmp_path / "SPEC.toml").exists()


NO_NUMBERS = ("1_000", "nan", "1200¹", "3②")  # of which float, or wide digits, would make 1000, nothing, 12001 and 32


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("read", [{}, {"missing": ["-"]}])
def test_a_text_that_is_no_plain_number_is_none(text: str, read: dict[str, Any]) -> None:
    settings = {"panel": {"unit": "city", "period": "year", "outcome": "y"}, "read": read}
    data = clean().assign(y=lambda f: [text, *f["y"].map(str)[1:]])
    assert f"holds {text!r}" in refuses("y", lambda: pp.read_panel(data, settings)).problems[0].what


def test_names_that_no_file_can_hold_are_refused() -> None:
    settings = {"panel": {"unit": "city", "period": "year", "outcome": "y", "groups": ["g"]}}
    data = clean().assign(city=lambda f: f["city"] + "\x07x", g="a\x0bb")
    assert len(refuses("holds control signs", lambda: pp.read_panel(data, settings)).problems) > 1
    labelled = {**settings, "output": {"labels": {"y": "y\x07"}}}
    refuses("labels hold control signs", lambda: pp.read_panel(clean().assign(g="a"), labelled))


def by_year(folder: Path) -> Path:
    np.save(folder / "w.npy", NEAR)
    return csv(folder, clean().sort_values(["year", "city"], ascending=[True, False]))


def roads(change: float) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        km = KM.copy()
        km[0, 3] = change * km[0, 3]
        pd.DataFrame(km, NAMES, NAMES).to_csv(folder / "w.csv")
        return csv(folder, clean())

    return write


def test_a_matrix_without_names_says_in_which_order_it_is_read(tmp_path: Path) -> None:
    path, spec, said = through(Door(by_year, weights="w.npy"), tmp_path)
    order = "its rows are taken for those of the panel's file in its order (c11, c10, c09 and 9 more)"
    assert order in said
    assert order in said_by("panel", "check", path, "--spec", spec)
    text = spec.read_text().replace('kind = "file"\npath', 'kind = "file"\nunits = "city"\npath')
    spec.write_text(text)
    weights = pp.read_panel(path, spec).panel.weights["w"]
    np.testing.assert_allclose(weights.reordered(tuple(NAMES)).dense, rows_sum_to_one(NEAR), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "asked", "refused"),
    [(1.02, "symmetric: c00 to c03 is", "symmetric = false if both are meant"), (-1.0, "negative entries", "negative")],
)
def test_distances_that_differ_or_are_negative_are_asked_about(
    change: float, asked: str, refused: str, tmp_path: Path
) -> None:
    path, _, said = through(Door(roads(change), weights="w.csv"), tmp_path)
    assert asked in said
    settings = {"panel": {"unit": "city", "period": "year", "outcome": "y", "treatment": "d"},
                "weights": [{"kind": "distance", "path": str(tmp_path / "w.csv")}]}  # fmt: skip
    refuses(refused, lambda: pp.read_panel(path, settings))


# What used to be read without a word: a question of `init`, a line of `panel check`, a warning of `estimate`.


def codes_among_large_numbers(folder: Path) -> Path:
    data = clean().assign(x=lambda f: 1e6 * f["x"])
    data.loc[[7, 40], "x"] = -99
    return csv(folder, data)


def names_in_two_ways(folder: Path) -> Path:
    return csv(folder, clean().assign(city=lambda f: [
        name.upper() if year < 2008 else f"{name}市" for name, year in zip(f["city"], f["year"], strict=True)
    ]))  # fmt: skip


MISREAD = {
    "codes among large numbers": (
        codes_among_large_numbers, "missing_codes: does -99 in x mean missing?", "missing_codes = [-99]", "",
        "x is -99 in 2 rows"),
    "names in two ways": (
        names_in_two_ways, "unit: are C00 and c00市, C01 and c01市, C02 and c02市 and 9 more one unit each?", "", "",
        "names are nearly the same share no period: C00 and c00市"),
    "the outcome as a control": (
        lambda folder: csv(folder, clean().assign(ln_y=lambda f: np.log(f["y"]).round(6))),
        "controls: ln_y is y in another form", 'controls = ["x"]', 'controls = ["x", "ln_y"]',
        "The control ln_y is the outcome in another form"),
    "a total": (total_row, "are they totals?", 'exclude = { "city" = ["全国"] }', "", "全国 is called so"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISREAD)
def test_what_may_be_misread_is_asked_and_checked(name: str, tmp_path: Path) -> None:
    write, question, old, new, warning = MISREAD[name]
    path, spec, said = through(Door(write), tmp_path)
    assert question in said
    lines = spec.read_text(encoding="utf-8")
    assert old in lines
    kept = (new if old and line.startswith(old) else line for line in lines.splitlines())
    spec.write_text("\n".join(kept), encoding="utf-8")
    assert warning in said_by("panel", "check", path, "--spec", spec)


def test_names_are_alike_by_case_blanks_and_endings_in_different_periods_alone() -> None:
    def found(one: str, other: str, second: int = 2007) -> bool:
        return bool(alike(np.array([one, other], dtype=object), np.array([2006, second])))

    assert all(
        found(*pair)
        for pair in (
            ("Beijing", "BEIJING"),
            ("北京", "北京市"),
            ("San Juan", "Sanjuan"),
            ("01001", "1001"),
            ("Beijing", "\ufeffBei\u200bjing"),
        )
    )
    assert not found("Beijing", "BEIJING", 2006)
    assert not any(found(*pair) for pair in (("1-12", "11-2"), ("吉林省", "吉林市"), ("c1", "c10")))


def test_a_unit_that_stays_at_the_mean_is_no_total() -> None:
    lon = np.linspace(100, 110, UNITS)
    lon[5] = np.delete(lon, 5).mean()
    assert "exclude = { " not in pp.init(clean().assign(lon=np.repeat(lon, PERIODS)))


def test_estimate_warns_of_all_that_panel_check_finds(tmp_path: Path) -> None:
    data = pd.read_csv(total_row(tmp_path)).assign(year=lambda f: 2 * f["year"]).drop(index=[3, 20])
    settings = {"panel": {"unit": "city", "period": "year", "outcome": "y", "treatment": "d", "balance": "drop-units"},
                "robustness": {"staggered": True}}  # fmt: skip
    real = pp.read_panel(data.assign(y=lambda f: f["y"].where(f.index != 7, -999)), settings)
    found = {check.name: check.sentence for check in checks_of_file(real)}
    assert {*found} == {"missing-codes", "total-rows", "balanced-part"}
    tables = pp.estimate(real)
    assert found.items() <= {check.name: check.sentence for check in tables.warnings}.items()
    assert any("Periods are 2 apart" in note for note in tables.notes)


def test_what_is_not_used_is_said_and_every_key_is_there(tmp_path: Path) -> None:
    data = clean().assign(mayor="x", gdp=lambda f: np.where(f.index % 3, np.cos(f.index), np.nan),
                          first_treat=lambda f: [int(START[NAMES.index(name)]) for name in f["city"]],
                          Lat=100.0, Long=30.0)  # fmt: skip
    text = pp.init(data)
    for line in ('# not used: "gdp" is empty in 24 rows', '# not used: "first_treat" says the same as d',
                 '# not used: "mayor" holds text', '# not used: "Lat" holds 100 to 100, and no pair',
                 "staggered = true", "# treatment_kind = ...", '# standardize = "row"', "# draws = 999",
                 "# [robustness.psm]", '# kind = "distance"'):  # fmt: skip
        assert line in text
    wrong = data.assign(first_treat=lambda f: f["first_treat"].replace(2009, 2010))
    assert "# ? treatment: first_treat disagrees with d in 2 rows, such as c02 in 2009" in pp.init(wrong)
