"""Thirty files of all kinds, each from the file to the right effect by `init`, `panel check` and `estimate`.

Each holds the same small panel. What `init` asks is answered where the answer is no; nothing else is edited. Ten odd
files follow, none of which may be misread without a word.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyreadstat
import pytest

import panelproof as pp
from estimators.linear.did import TwoWayDID
from experiments.cli import run_command
from experiments.panel_spec.spec import RealPanel
from sim.streams import Streams

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


def effect(rows: pd.DataFrame | None = None) -> float:
    """The two-way coefficient of d beside x, by least squares on dummies."""
    data = clean() if rows is None else rows
    dummies = pd.get_dummies(data[["city", "year"]].astype(str)).to_numpy(float)
    design = np.column_stack([data["d"], data["x"], dummies])
    return float(np.linalg.lstsq(design, data["y"].to_numpy(float))[0][0])


@dataclass(frozen=True)
class Door:
    """A kind of file: how it is written, what `init` asks of it, and what is answered where the answer is no.

    expected: the effect, by default that of the whole panel. w: the matrix that must come of `weights`, rows summing
    to one. warns: what `panel check` warns of.
    """

    write: Callable[[Path], Path]
    asks: tuple[str, ...] = ()
    answers: dict[str, str] = field(default_factory=dict)
    expected: Callable[[], float] = effect
    reshape: bool = False
    sheet: str = ""
    weights: str = ""
    w: np.ndarray | None = None
    warns: tuple[str, ...] = ()


DOORS: dict[str, Door] = {}


def door(name: str, **more: object) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    def keep(write: Callable[[Path], Path]) -> Callable[[Path], Path]:
        DOORS[name] = Door(write, **more)  # type: ignore[arg-type]
        return write

    return keep


def csv(folder: Path, data: pd.DataFrame, name: str = "panel.csv", **how: object) -> Path:
    data.to_csv(folder / name, index=False, **how)  # type: ignore[call-overload]
    return folder / name


def xlsx(folder: Path, data: pd.DataFrame, name: str = "panel.xlsx", **how: object) -> Path:
    data.to_excel(folder / name, index=False, **how)  # type: ignore[arg-type]
    return folder / name


# Plain files, sheets, titles, notes.


@door("plain csv")
def _(folder: Path) -> Path:
    return csv(folder, clean())


@door("workbook")
def _(folder: Path) -> Path:
    return xlsx(folder, clean())


@door("parquet")
def _(folder: Path) -> Path:
    clean().to_parquet(folder / "panel.parquet")
    return folder / "panel.parquet"


@door("workbook of two tables", sheet="all")
def _(folder: Path) -> Path:
    with pd.ExcelWriter(folder / "panel.xlsx") as book:
        clean().query("year < 2009").to_excel(book, sheet_name="old", index=False)
        clean().to_excel(book, sheet_name="all", index=False)
    return folder / "panel.xlsx"


@door("workbook with a title and notes", asks=("skip: 2 rows above", "skip_below: 3 rows at the end"))
def _(folder: Path) -> Path:
    book = openpyxl.Workbook()
    rows = [["Yearbook of cities"], [], [*clean()], *clean().values.tolist(), [], ["Source: yearbook"], ["Note: none"]]
    for row in rows:
        book.active.append(row)
    book.save(folder / "panel.xlsx")
    return folder / "panel.xlsx"


@door("csv with a title and notes that hold commas", asks=("skip: 1 row above", "skip_below: 2 rows at the end"))
def _(folder: Path) -> Path:
    notes = "Source: yearbook, statistical office, 2012, tables 1, 2, 3 and 4\nNote: preliminary\n"
    (folder / "panel.csv").write_text("Cities of the country\n" + clean().to_csv(index=False) + notes)
    return folder / "panel.csv"


@door("csv in GB18030, its columns separated by semicolons, decimal commas")
def _(folder: Path) -> Path:
    names = {"city": "城市", "year": "年份", "y": "韧性", "d": "试点", "x": "投资"}
    return csv(folder, clean().rename(columns=names), encoding="gb18030", sep=";", decimal=",")


# Wide tables.


def wide(name: str = "{}{}") -> pd.DataFrame:
    parts = [clean().pivot(index="city", columns="year", values=column).rename(columns=lambda year, column=column:
             name.format(column, year)) for column in ("y", "d", "x")]  # fmt: skip
    return pd.concat(parts, axis=1).reset_index()


@door("wide csv, y2006", reshape=True)
def _(folder: Path) -> Path:
    return csv(folder, wide())


@door("wide workbook, y (2006), with a title", reshape=True)
def _(folder: Path) -> Path:
    return xlsx(folder, wide("{} ({})"), startrow=2)


@door("wide workbook whose header has merged cells", reshape=True)
def _(folder: Path) -> Path:
    book = openpyxl.Workbook()
    sheet, table = book.active, wide()
    sheet.append(["city", *(name if t == 0 else None for name in ("y", "d", "x") for t in range(PERIODS))])
    sheet.append([None, *([FIRST + t for t in range(PERIODS)] * 3)])
    for row in table.values.tolist():
        sheet.append(row)
    sheet.merge_cells("A1:A2")
    for at in range(3):
        sheet.merge_cells(start_row=1, end_row=1, start_column=2 + at * PERIODS, end_column=1 + (at + 1) * PERIODS)
    book.save(folder / "panel.xlsx")
    return folder / "panel.xlsx"


@door("wide csv, 2006_y", reshape=True)
def _(folder: Path) -> Path:
    return csv(folder, wide("{1}_{0}"))


# Labelled values, codes, words.


@door("Stata file of pandas, 1 yes, 2 no", asks=("is 'yes' the value of the treated",))
def _(folder: Path) -> Path:
    data = clean().assign(d=lambda f: 2 - f["d"])
    data.to_stata(folder / "panel.dta", write_index=False, value_labels={"d": {1: "yes", 2: "no"}})
    return folder / "panel.dta"


@door("Stata file of pyreadstat, labels of another language", asks=("is 'Pilotstadt' the value of the treated",))
def _(folder: Path) -> Path:
    data = clean().assign(d=lambda f: 1 + f["d"])
    labels = {"d": {1: "keine", 2: "Pilotstadt"}}
    pyreadstat.write_dta(data, str(folder / "panel.dta"), variable_value_labels=labels)
    return folder / "panel.dta"


@door("SPSS file, 1 treated, 2 not", asks=("is 'treated' the value of the treated",))
def _(folder: Path) -> Path:
    data = clean().assign(d=lambda f: 2 - f["d"])
    labels = {"d": {1: "treated", 2: "not treated"}}
    pyreadstat.write_sav(data, str(folder / "panel.sav"), variable_value_labels=labels)
    return folder / "panel.sav"


@door("codes 1 and 2 without labels", asks=("is '2' the value of the treated",))
def _(folder: Path) -> Path:
    return csv(folder, clean().assign(d=lambda f: 1 + f["d"]))


@door("words of Chinese for yes and no", asks=("is '是' the value of the treated",))
def _(folder: Path) -> Path:
    return xlsx(folder, clean().assign(d=lambda f: f["d"].map({0: "否", 1: "是"})))


# Numbers as text.


def scaled() -> float:
    return 1000 * effect()


@door("1,234 and per cent", asks=('"12%" is read as 12',), expected=scaled)
def _(folder: Path) -> Path:
    data = clean()
    shown = data.assign(y=(1000 * data["y"]).map("{:,.1f}".format), x=data["x"].map("{:.3f}%".format))
    return csv(folder, shown)


def without(*rows: int) -> Callable[[], float]:
    return lambda: effect(clean().drop(index=list(rows)))


@door("- and ... among numbers", asks=("do '...', '-' mean missing", "2 of 72 unit-periods"), expected=without(7, 40),
      warns=("2 of 72 unit-periods are missing",))  # fmt: skip
def _(folder: Path) -> Path:
    data = clean().astype({"x": object, "y": object})
    data.loc[7, "x"], data.loc[40, "y"] = "-", "..."
    return xlsx(folder, data)


@door("-99 and 9999", asks=("does -99 in y mean missing", "does 9999 in x mean missing"), expected=without(7, 40),
      warns=("2 of 72 unit-periods are missing",))  # fmt: skip
def _(folder: Path) -> Path:
    data = clean()
    data.loc[7, "y"], data.loc[40, "x"] = -99, 9999
    return csv(folder, data)


# Periods.


@door("2006年")
def _(folder: Path) -> Path:
    return csv(folder, clean().assign(year=lambda f: f["year"].map("{}年".format)))


@door("dates in a workbook")
def _(folder: Path) -> Path:
    return xlsx(folder, clean().assign(year=lambda f: pd.to_datetime(f["year"].map("{}-12-31".format))))


@door("dates in a Stata file")
def _(folder: Path) -> Path:
    data = clean().assign(year=lambda f: pd.to_datetime(f["year"].map("{}-06-30".format)))
    data.to_stata(folder / "panel.dta", write_index=False, convert_dates={"year": "td"})
    return folder / "panel.dta"


@door("every second year", asks=("periods are 2 apart",))
def _(folder: Path) -> Path:
    return csv(folder, clean().assign(year=lambda f: 2000 + 2 * (f["year"] - FIRST)))


# Dates of adoption.


def dated(first: Callable[[int], object], name: str = "first_treat") -> pd.DataFrame:
    data = clean()
    return data.drop(columns="d").assign(**{name: [first(int(START[NAMES.index(c)])) for c in data["city"]]})


ADOPTION = ("is first_treat a unit's first treated period",)


@door("first treated period, 0 for never", asks=ADOPTION)
def _(folder: Path) -> Path:
    return csv(folder, dated(lambda year: 0 if year == 9999 else year))


@door("first treated period, 9999 for never", asks=ADOPTION)
def _(folder: Path) -> Path:
    data = dated(lambda year: year)
    data.to_stata(folder / "panel.dta", write_index=False)
    return folder / "panel.dta"


@door("first treated period as a date, empty for never, with Lat and Long", asks=ADOPTION)
def _(folder: Path) -> Path:
    data = dated(lambda year: pd.NaT if year == 9999 else pd.Timestamp(year, 7, 1))
    at = pd.DataFrame({"city": NAMES, "Lat": 30 + PLACES[:, 1] / 100, "Long": 100 + PLACES[:, 0] / 100})
    return xlsx(folder, data.merge(at, on="city"))


# W.


def rows_sum_to_one(raw: np.ndarray) -> np.ndarray:
    return np.asarray(raw / raw.sum(axis=1, keepdims=True))


def inverse() -> np.ndarray:
    with np.errstate(divide="ignore"):
        return rows_sum_to_one(np.where(KM > 0, 1 / KM, 0.0))


@door("W in a workbook", weights="w.xlsx", w=rows_sum_to_one(NEAR))
def _(folder: Path) -> Path:
    pd.DataFrame(NEAR, NAMES, NAMES).to_excel(folder / "w.xlsx")
    return csv(folder, clean())


@door("W in a Stata file, from and to", weights="w.dta", w=rows_sum_to_one(NEAR), asks=("go from 'from' to 'to'",))
def _(folder: Path) -> Path:
    i, j = np.nonzero(NEAR)
    links = pd.DataFrame({"from": np.array(NAMES)[i], "to": np.array(NAMES)[j]})
    links.to_stata(folder / "w.dta", write_index=False)
    return csv(folder, clean())


@door(
    "a matrix without names, in the order of a column of the panel", weights="w.csv", w=rows_sum_to_one(NEAR),
    asks=("are its rows in the order of the panel's file",), answers={'units = "file"': 'units = "id"'},
)  # fmt: skip
def _(folder: Path) -> Path:
    id_of = {name: 100 - i for i, name in enumerate(NAMES)}
    np.savetxt(folder / "w.csv", NEAR[::-1, ::-1], delimiter=",", fmt="%g")
    return csv(folder, clean().assign(id=lambda f: f["city"].map(id_of)))


@door("distances of each pair once, origin and destination", weights="km.xlsx", w=inverse(),
      asks=("look like distances", "does each link go both ways"))  # fmt: skip
def _(folder: Path) -> Path:
    i, j = np.triu_indices(UNITS, 1)
    links = pd.DataFrame({"origin": np.array(NAMES)[i], "destination": np.array(NAMES)[j], "km": KM[i, j]})
    links.to_excel(folder / "km.xlsx", index=False)
    return csv(folder, clean())


# From the file to the effect.


def said_by(*command: object) -> tuple[int, str]:
    """The exit code of a command, and all that it printed, blanks of any length as one."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = run_command([str(part) for part in command])
    return code, " ".join(out.getvalue().split())


def through(given: Door, folder: Path) -> tuple[Path, Path, str]:
    """The panel's file, its spec as `init` proposes it and as its questions are answered, and what `init` printed."""
    path, spec = given.write(folder), folder / "SPEC.toml"
    if given.reshape:
        code, said = said_by("init", path, "--out", spec)
        assert code == 2, said
        assert "panelproof panel reshape" in said
        code, said = said_by("panel", "reshape", path, "--out", folder / "long.csv")
        assert code == 0, said
        path = folder / "long.csv"
    sheet, weights = (("--sheet", given.sheet) if given.sheet else ()), (
        ("--weights", folder / given.weights) if given.weights else ())  # fmt: skip
    code, said = said_by("init", path, "--out", spec, *sheet, *weights)
    assert code == 0, said
    text = spec.read_text(encoding="utf-8")
    for old, new in given.answers.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    spec.write_text(text, encoding="utf-8")
    return path, spec, said


def coefficient(real: RealPanel) -> float:
    found = TwoWayDID(real.panel.roles.outcome, real.panel.roles.regressors)(real.panel, Streams(1))
    return float(found.estimate[0, found.terms.index("did")])


def test_there_are_thirty() -> None:
    assert len(DOORS) == 30


@pytest.mark.parametrize("name", DOORS)
def test_a_file_goes_from_init_to_the_right_effect(name: str, tmp_path: Path) -> None:
    given = DOORS[name]
    path, spec, said = through(given, tmp_path)
    for question in given.asks:
        assert question in said
    code, checked = said_by("panel", "check", path, "--spec", spec)
    assert code == 0, checked
    assert checked.count("warning:") == len(given.warns)
    assert all(part in checked for part in given.warns)
    real = pp.read_panel(path, spec)
    assert coefficient(real) == pytest.approx(given.expected(), rel=1e-6)
    if given.w is not None:
        (weights,) = real.panel.weights.values()
        np.testing.assert_allclose(weights.reordered(tuple(NAMES)).dense, given.w, rtol=1e-6)


@pytest.mark.parametrize("name", ["wide workbook whose header has merged cells", "distances of each pair once, origin "
                                  "and destination"])  # fmt: skip
def test_estimate_prints_that_effect(name: str, tmp_path: Path) -> None:
    path, spec, _ = through(DOORS[name], tmp_path)
    code, said = said_by("estimate", path, "--spec", spec, "--out", tmp_path / "out")
    assert code == 0, said
    records = json.loads((tmp_path / "out" / "estimates.json").read_text())["records"]
    (found,) = {r["estimate"] for r in records if (r["table"], r["column"], r["term"]) == ("2", 5, "did")}
    assert found == pytest.approx(effect(), rel=1e-6)
    assert any(record["table"].startswith("S") for record in records)  # dates differ, so init asked for these tables
