"""Files that one program reads without a word and gets wrong, and mistakes of economists in a spec: each is asked
about, refused or warned of."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from commands import here, refusal
from refusals import refuses, refuses_all

import panelproof as pp
from experiments.panel_spec.reading import codes_in, first_read, to_long, without_codes, without_rows
from experiments.panel_spec.spec import RealPanel
from sim.errors import BadInput
from sim.panel_files import read_frame
from sim.weights_files import from_file, look_like_distances

UNITS, PERIODS = 24, 8
SPEC = {"panel": {"unit": "city", "period": "year", "outcome": "y", "treatment": "d", "controls": ["x"]}}


def frame(seed: int = 2, units: int = UNITS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    city, year = (part.ravel() for part in np.meshgrid(np.arange(units), np.arange(PERIODS), indexing="ij"))
    first = rng.choice([3, 5, 99], units)
    d = (year >= first[city]).astype(int)
    y = rng.normal(size=units)[city] + 0.1 * year + 0.5 * d + rng.normal(0, 0.3, city.size)
    return pd.DataFrame({"city": [f"c{i:02d}" for i in city], "year": 2000 + year, "y": y + 3, "d": d,
                         "x": rng.normal(size=city.size)})  # fmt: skip


def spec(**panel: object) -> dict[str, object]:
    return {**SPEC, "panel": {**SPEC["panel"], **panel}}


def checks(real: RealPanel) -> dict[str, str]:
    return {check.name: check.sentence for check in pp.estimate(real).warnings if check.severity}


Change = Callable[[pd.DataFrame], pd.DataFrame]


TABLES: dict[str, tuple[Change, dict[str, object], str]] = {  # the table, further tables of the spec, what is said
    "a number as a name": (lambda table: table.rename(columns={"x": 1}), {}, "names are no texts: 1; .*rename them"),
    "no rows": (lambda table: table.iloc[:0], {}, "has no rows"),
    "spans of time": (lambda table: table.assign(x=pd.to_timedelta(table["x"], unit="D")), {}, "allowed: numbers"),
    "a key that is no text": (lambda table: table, {"panel": {**SPEC["panel"], 3: "x"}}, "the key 3 is no text"),
    "two years in a period": (lambda table: table.assign(year=table["year"].map("{}/2001".format)),
                              {"read": {"years": True}}, "holds several years"),
    "marks that no rule names": (lambda _: odd(), {"recode": {"d": {"是": 1.0}}}, "'d' holds '否'"),
    "a rule for no column": (lambda _: odd(), {"recode": {"e": {"是": 1.0}}}, "there is no column 'e'"),
    "a number for a mark": (lambda _: odd(), {"read": {"missing": ["-99"]}}, "missing names the number '-99'"),
    "per cent of nothing": (lambda _: odd(), {"read": {"percent": "half"}}, "points"),
    "rows below zero": (lambda _: odd(), {"read": {"skip": -1}}, "skip"),
    "words in a period": (lambda _: odd(), {}, "the period is '2000年'"),
    "grouped digits": (lambda _: odd(), {"read": {"years": True}}, "holds '2,620.25'"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_what_cannot_be_read_is_one_line_each(case: str) -> None:
    change, tables, said = TABLES[case]
    refuses(said, lambda: pp.read_panel(change(frame()), {**SPEC, **tables}))
    if case == "no rows":
        refuses(said, lambda: pp.init(change(frame())))


def test_rows_keep_their_numbers_when_others_are_left_out_twice() -> None:
    table = pd.DataFrame({"city": ["a", "Total", "b"], "y": [1.0, 3.0, 2.0]})
    table.attrs = {"positions": (0, 3, 4)}  # two empty rows went before
    assert without_rows(table, {"city": ("Total",)}, "table").attrs["positions"] == (0, 4)


def test_a_wide_table_says_what_it_lacks_and_names_a_unit_once(tmp_path: Path) -> None:
    wide = pd.DataFrame(
        {"city": ["a", "b"], **{f"{name}{year}": [1.0, 2.0] for name in "yx" for year in range(2006, 2012)}}
    )
    misspelt = wide.rename(columns={"y2010": "y20100"}).rename(columns=lambda name: name.removeprefix("y"))
    misspelt.to_csv(tmp_path / "misspelt.csv", index=False)
    said = here("panel", "reshape", tmp_path / "misspelt.csv", "--value", "gdp", "--out", tmp_path / "a.csv").err
    assert "note: gdp has no column of 2010 and is empty there" in said
    pd.concat([wide, wide.iloc[:1]]).to_csv(tmp_path / "twice.csv", index=False)
    said = refusal("panel", "reshape", tmp_path / "twice.csv", "--out", tmp_path / "b.csv")
    assert "two rows are of a; allowed: one row a unit" in said
    assert not (tmp_path / "b.csv").exists()


def workbook(folder: Path, *names: str) -> Path:
    path = folder / "panel.xlsx"
    halves = [frame().query("year < 2004"), frame()]
    with pd.ExcelWriter(path) as book:
        pd.DataFrame({"note": ["about the data"]}).to_excel(book, sheet_name="about", index=False)
        for name, part in zip(names, halves, strict=False):
            part.to_excel(book, sheet_name=name, index=False)
    return path


def test_of_two_sheets_with_tables_none_is_taken_unasked_and_notes_are_no_doubt(tmp_path: Path) -> None:
    path, out = workbook(tmp_path, "old", "new"), tmp_path / "SPEC.toml"
    refuses(r'2 sheets hold tables: old, new.*sheet = "old" in \[panel\]', lambda: pp.read_panel(path, spec()))
    here("init", path, "--out", out, code=2)
    assert not out.exists()
    here("init", path, "--out", out, "--sheet", "new")
    assert pp.read_panel(path, out).panel.periods == tuple(range(2000, 2008))
    with pd.ExcelWriter(path, mode="a", engine="openpyxl") as book:
        book.book["old"].sheet_state = "hidden"
    assert len(pp.read_panel(path, spec(sheet="old")).panel.periods) == 4
    refuses(r"no sheet 'nope'; allowed: about, old \(hidden\), new; correct",
            lambda: pp.read_panel(path, spec(sheet="nope")))  # fmt: skip
    assert len(read_frame(workbook(tmp_path, "only"))) == UNITS * 4
    frame().to_csv(tmp_path / "panel.csv", index=False)
    refuses("a sheet of a workbook", lambda: read_frame(tmp_path / "panel.csv", "new"))


DRAWN = np.random.default_rng(1).uniform(-4, 4, 200)


@pytest.mark.parametrize(("values", "codes"), [
    ([*DRAWN, -99.0, -99.0], {-99.0: 2}),
    ([*DRAWN, 9999.0], {9999.0: 1}),
    ([*DRAWN, -9.0], {}),  # not far enough from values of -3 to 3
    (DRAWN, {}),
    ([*DRAWN, -999.0, 999.0], {-999.0: 1, 999.0: 1}),
    (np.arange(60.0, 140.0), {}),  # a count that happens to be 99
    ([99.0, 1.0], {}),
    ([*np.arange(30.0), -9.0], {-9.0: 1}),  # near, but nothing else is below 0
    ([*np.ones(50), 99.0], {99.0: 1}),
    ([*np.linspace(0, 50_000, 300), 9999.0], {}),
])  # fmt: skip
def test_codes_lie_far_from_all_other_values(values: list[float], codes: dict[float, int]) -> None:
    assert codes_in(np.array(values)) == codes


def test_a_code_is_a_warning_a_key_and_a_proposal(tmp_path: Path) -> None:
    data = frame()
    data.loc[[3, 40, 77], "y"] = -99.0
    assert "y is -99 in 3 rows" in checks(pp.read_panel(data, spec()))["missing-codes"]
    real = pp.read_panel(data, spec(missing_codes=[-99], missing="drop"))
    assert "missing-codes" not in checks(real)
    assert real.panel.nobs == len(data) - 3
    data.to_csv(tmp_path / "panel.csv", index=False)
    text = pp.init(tmp_path / "panel.csv", tmp_path / "SPEC.toml")
    assert 'missing_codes = [-99]  # unlike all other values: "y" -99 (3)' in text
    proposed = pp.read_panel(tmp_path / "panel.csv", tmp_path / "SPEC.toml").panel
    assert np.nanmin(proposed.variables["y"]) > -50
    assert not {"read", "recode", "missing_codes"} & {*(plain := tomllib.loads(pp.init(frame()))), *plain["panel"]}
    years = frame().assign(year=lambda d: d["year"].replace(2003, 9999))  # codes of keys stay
    pd.testing.assert_series_equal(without_codes(years, (9999.0,), ("city", "year"))["year"], years["year"])


def test_units_that_a_few_cells_cost_are_said_first() -> None:
    data = frame().drop(index=[5, 50, 100, 150])
    asked = {**spec(balance="drop-units"), "robustness": {"staggered": True}}
    said = checks(pp.read_panel(data, asked))["balanced-part"]
    assert said.startswith("4 of 192 unit-periods are missing")
    assert "4 of 24 units" in said
    assert "balanced-part" not in checks(pp.read_panel(frame(), asked))
    number = data["city"].str[1:].astype(float)
    data = data.assign(east=100 + number % 5, north=30 + number // 5)
    bands = {**spec(balance="drop-units", longitude="east", latitude="north"), "spatial": {"cutoffs": [150, 500]}}
    assert "balanced-part" in checks(pp.read_panel(data, bands)), "distance bands alone"


def places(n: int = UNITS) -> np.ndarray:
    at = np.random.default_rng(5).uniform(0, 1000, (n, 2))
    return np.asarray(np.hypot(*(at[:, None] - at).transpose(2, 0, 1)))


def with_w(folder: Path, values: np.ndarray, **table: object) -> RealPanel:
    names, path = [f"c{i:02d}" for i in range(len(values))], folder / "w.csv"
    pd.DataFrame(values, index=names, columns=names).to_csv(path)
    return pp.read_panel(frame(), {**spec(), "weights": [{"path": str(path), **table}]})


def test_distances_as_weights_are_asked_about(tmp_path: Path) -> None:
    refuses('farther units weigh more: these look like distances.*kind = "distance"',
            lambda: with_w(tmp_path, places(), kind="file"))  # fmt: skip
    meant = with_w(tmp_path, places(), kind="file", meant=True)
    np.testing.assert_allclose(meant.panel.weights["w"].dense[0, 1:], places()[0, 1:] / places()[0].sum(), rtol=1e-10)


def test_distances_become_weights_of_them_up_to_the_cutoff(tmp_path: Path) -> None:
    real = with_w(tmp_path, places(), kind="distance", power=2.0, cutoff=600.0)
    with np.errstate(divide="ignore"):
        expected = np.where((places() > 0) & (places() <= 600), places() ** -2.0, 0.0)
    np.testing.assert_allclose(real.panel.weights["w"].dense, expected / expected.sum(axis=1, keepdims=True), rtol=1e-9)
    together = places()
    together[2, 3] = together[3, 2] = 0.0
    refuses("the distance of c02 and c03 is 0", lambda: with_w(tmp_path, together, kind="distance"))
    refuses("cutoff", lambda: with_w(tmp_path, places(), kind="distance", cutoff=-1.0))
    whole = np.ceil(places())
    real = with_w(tmp_path, whole, kind="distance", cutoff=float(whole.max()))
    np.testing.assert_array_equal(real.panel.weights["w"].dense > 0, whole > 0)


def test_an_island_of_distances_weighs_as_the_file_says(tmp_path: Path) -> None:
    """In units of the file, without coordinates; its nearest unit is that of the file."""
    metres = 1000 * places()
    cutoff = np.sort(metres + np.diag(np.full(UNITS, np.inf)), axis=1)[:, 0].max() - 1.0  # one unit has none so near
    (alone,) = np.flatnonzero((metres + np.diag(np.full(UNITS, np.inf))).min(axis=1) > cutoff)
    near = int(np.argsort(metres[alone])[1])
    real = with_w(tmp_path, metres, kind="distance", cutoff=cutoff, islands="nearest", standardize="none")
    found = real.panel.weights["w"]
    with np.errstate(divide="ignore"):
        expected = np.where((metres > 0) & (metres <= cutoff), 1 / metres, 0.0)
    expected[alone, near] = 1 / metres[alone, near]
    np.testing.assert_allclose(found.dense, expected, rtol=1e-9)
    assert found.attached == ((f"c{alone:02d}", f"c{near:02d}"),)
    path = tmp_path / "links.csv"
    path.write_text("focal,neighbor,km\na,b,2\nb,a,2\n")
    with pytest.raises(BadInput, match=r"neighbours: c; .*allowed: its distance to another unit in the file"):
        from_file(path, tuple("abc"), of_distance=np.reciprocal, islands="nearest")


def test_weights_of_many_kinds_do_not_look_like_distances() -> None:
    rng, n = np.random.default_rng(3), UNITS
    level = rng.normal(size=n)
    with np.errstate(divide="ignore"):
        inverse = np.where(places() > 0, 1 / places(), 0)
        economic = np.where(np.eye(n) > 0, 0, 1 / np.abs(level[:, None] - level))
    even = (1 - np.eye(n)) / (n - 1)
    near = (places() < 300) * 1.0 - np.eye(n)
    uneven = np.triu(rng.uniform(0.5, 1.0, (n, n)), 1)
    for weights in (inverse, economic, even, near, uneven + uneven.T, np.exp(-places() / 200) - np.eye(n)):
        assert not look_like_distances(sp.csr_array(np.nan_to_num(weights)))
    assert look_like_distances(sp.csr_array(places()))


def test_links_of_distances_are_weights_of_those_links(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("focal,neighbor,weight\na,b,2\nb,a,2\nb,c,4\nc,b,4\n")
    found = from_file(tmp_path / "w.csv", tuple("abc"), standardize="none", of_distance=lambda d: 1 / d)
    np.testing.assert_allclose(found.dense, [[0, 0.5, 0], [0.5, 0, 0.25], [0, 0.25, 0]])


def odd() -> pd.DataFrame:
    """The panel as yearbooks have it: grouped digits, per cent, marks for missing values, words for yes and no."""
    data = frame()
    return pd.DataFrame({
        "city": data["city"], "year": data["year"].map("{}年".format), "y": (1000 * data["y"]).map("{:,.2f}".format),
        "d": data["d"].map({0: "否", 1: "是"}),
        "x": [f"{value:.3f}%" if i % 40 else "—" for i, value in enumerate(data["x"])],
    })  # fmt: skip


def test_an_odd_file_goes_from_init_to_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "panel.csv"
    path.write_text("Yearbook of cities,,,,\n(unit: million),,,,\n" + odd().to_csv(index=False), encoding="utf-8")
    text = pp.init(path, tmp_path / "SPEC.toml")
    for line in ("skip = 2", 'missing = ["—"]', "thousands = true", 'percent = "points"', "years = true",
                 '"d" = { "是" = 1, "否" = 0 }', 'treatment = "d"'):  # fmt: skip
        assert line in text
    more = text.replace("controls = []", 'controls = ["x"]').replace('missing = "error"', 'missing = "drop"')
    (tmp_path / "SPEC.toml").write_text(more, encoding="utf-8")
    real = pp.read_panel(path, tmp_path / "SPEC.toml")
    plain = frame()
    kept = np.arange(len(plain)) % 40 != 0
    assert real.panel.nobs == kept.sum()
    seen = real.panel.observed[0].T.ravel()  # type: ignore[index]
    np.testing.assert_array_equal(seen, kept)
    for name, scale, digits in (("y", 1000, 2), ("x", 1, 3), ("did", 1, 0)):
        expected = (plain["d" if name == "did" else name].to_numpy() * scale).round(digits)
        np.testing.assert_allclose(real.panel.variables[name][0].T.ravel()[seen], expected[kept], rtol=1e-12)


def test_marks_and_gaps_are_said_together_with_their_remedy() -> None:
    table = frame().assign(z=frame()["x"]).astype({"y": object, "x": object})
    table.loc[3, "y"], table.loc[5, "x"], table.loc[8, "x"], table.loc[9, "z"] = ".", "-", np.nan, np.nan
    caught = refuses("", pp.read_panel, table, spec(controls=["x", "z"]))
    assert [problem.what for problem in caught.problems] == ["holds '.'", "holds '-'", *2 * ["is missing in 1 row"]]
    assert str(caught).count('correct the cell, or say missing = [".", "-"] in [read] of spec') == 2
    with pytest.raises(BadInput, match="holds 'about 3'; allowed: numbers; correct the cell, or leave it empty"):
        pp.read_panel(table.replace(".", "about 3").replace("-", 1.0), spec())


@pytest.mark.parametrize(("shown", "said"), [
    ("FY{}/09".format, "'FY2000/09' is read as 2000"),
    ("{}Q4".format, "'2000Q4' is read as 2000"),
    ("31/12/{}".format, "'31/12/2000' is read as 2000"),
    ("{}年".format, ""),
    (lambda year: pd.Timestamp(f"{year}-12-31"), "2000-12-31 is read as 2000"),
    (lambda year: 36_891 + int((year - 2000) * 365.25), "36891 is read as 2000"),
])  # fmt: skip
def test_what_is_read_as_a_year_is_said(shown: Callable[[Any], object], said: str) -> None:
    data = frame().assign(year=lambda d: d["year"].map(shown))
    real = pp.read_panel(data, {**SPEC, "read": {"years": True}})
    assert (real.panel.periods, real.notes) == (tuple(range(2000, 2008)), (f"year: {said}.",) if said else ())
    if said.startswith("36891"):
        return
    text = pp.init(data)
    assert "years = true" in text
    assert [line for line in text.splitlines() if "is read as" in line] == (
        [f"# ? [read] years: {said} in year: is that right?"] if said else []
    )


@pytest.mark.parametrize("dates", [True, False])
def test_two_periods_of_a_unit_in_one_year_are_one_line(dates: bool) -> None:
    halves = frame()["year"].map(lambda year: f"{2000 + (year - 2000) // 2}-{'12-31' if year % 2 else '06-30'}")
    data = frame().assign(year=pd.to_datetime(halves) if dates else halves)
    first, last = ("2000-06-30", "2000-12-31") if dates else ("'2000-06-30'", "'2000-12-31'")
    said = [f"column 'year'; {first}, {last} of c00 are all read as 2000",
            "number the periods 1, 2, 3 and so on, and remove years from [read]"]  # fmt: skip
    refuses_all(said, pp.read_panel, data, {**SPEC, "read": {"years": True}}, count=1)
    pooled = {"panel": {"unit": "city", "period": "year", "outcome": "y"}, "collapse": {}, "read": {"years": True}}
    assert pp.read_panel(data, pooled).panel.periods == tuple(range(2000, 2004))


def test_a_share_is_a_hundredth_of_its_points() -> None:
    data = frame().assign(x=lambda d: (100 * d["x"]).map("{:.6f}%".format))
    data.loc[7, "x"] = "0"  # which needs no sign
    shares, points = (pp.read_panel(data, {**SPEC, "read": {"percent": how}}) for how in ("share", "points"))
    np.testing.assert_allclose(shares.panel.variables["x"] * 100, points.panel.variables["x"], rtol=1e-12)


def wide() -> pd.DataFrame:
    parts = [
        frame().pivot(index="city", columns="year", values=name).add_prefix(f"{name}_") for name in ("y", "d", "x")
    ]
    made = pd.concat(parts, axis=1).reset_index()
    return made.assign(region=lambda d: np.where(d["city"] < "c10", "north", "south"))


def test_a_wide_table_is_recognised_and_reshaped(tmp_path: Path) -> None:
    file, long_file = tmp_path / "wide.csv", tmp_path / "long.csv"
    wide().to_csv(file, index=False)
    said = refusal("init", file, "--out", tmp_path / "SPEC.toml")
    assert "panelproof panel reshape wide.csv --out long.csv" in said
    assert "allowed: a file ending in .csv" in refusal("panel", "reshape", file, "--out", tmp_path / "long.xlsx")
    assert not (tmp_path / "long.xlsx").exists()
    here("panel", "reshape", file, "--out", long_file)
    long = pd.read_csv(long_file)
    expected = frame().sort_values(["city", "year"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(long[list(expected)], expected, check_exact=False, rtol=1e-12)
    assert 'groups = ["region"]' in pp.init(long_file)


def test_wide_tables_in_long_form() -> None:
    gap = to_long(wide().drop(columns="x_2003"))
    assert gap.loc[gap["year"] == 2003, "x"].isna().all()
    assert gap.loc[gap["year"] == 2003, "y"].notna().all()
    years = to_long(frame().pivot(index="city", columns="year", values="y").reset_index(), value="gdp", period="t")
    assert list(years.columns) == ["city", "t", "gdp"]
    np.testing.assert_allclose(years["gdp"], frame().sort_values(["city", "year"])["y"])
    refuses("no column is called by a name and a year", lambda: to_long(frame().rename(columns={"year": "t"})))
    for name in ("year", "y"):
        refuses(f"the name '{name}' is taken", lambda name=name: to_long(wide().assign(**{name: 1})))


def european(folder: Path, *, commas: bool) -> Path:
    """A file of semicolons in which y is 1.234 for 1234, and x has decimal commas or is whole."""
    data = frame()
    data["y"] = (1000 * (data["y"].abs() + 1)).map("{:,.0f}".format).str.replace(",", ".")
    data["x"] = (
        (100 * data["x"]).map("{:.1f}".format).str.replace(".", ",") if commas else (9 * data["x"] // 1).astype(int)
    )
    data.to_csv(folder / "panel.csv", index=False, sep=";")
    return folder / "panel.csv"


def test_points_beside_decimal_commas_are_no_decimals_in_silence(tmp_path: Path) -> None:
    path = european(tmp_path, commas=True)
    thousands = {"decimal": ",", "thousands": True}
    real = pp.read_panel(path, {**SPEC, "read": thousands})
    np.testing.assert_allclose(real.panel.variables["y"][0].T.ravel(), (1000 * (frame()["y"].abs() + 1)).round())
    for asked in ({}, {"read": {"decimal": ","}}):
        refuses("beside decimal commas may be", pp.read_panel, path, {**SPEC, **asked}, count=1)
    text = pp.init(path, tmp_path / "SPEC.toml")
    assert 'decimal = ","' in text
    assert "thousands = true" in text
    (asked,) = [line for line in text.splitlines() if line.startswith("# ? [read] decimal: ")]
    shown = asked.split('"')[1]
    assert "." in shown
    assert f"is read as {shown.replace('.', '')}: is that right?" in asked
    assert pp.read_panel(path, tmp_path / "SPEC.toml").panel.variables["y"].min() >= 1000
    plain, whole = tmp_path / "plain.csv", european(tmp_path, commas=False)
    frame().to_csv(plain, index=False, sep=";")
    lines = [
        [line for line in pp.init(file).splitlines() if line.startswith("# ? decimals")] for file in (whole, plain)
    ]
    assert [len(found) for found in lines] == [1, 0]
    assert "If points part thousands, write the numbers without them" in lines[0][0]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_commas_that_may_all_part_thousands_are_no_decimals_in_silence(tmp_path: Path, separator: str) -> None:
    path, table = tmp_path / "panel.csv", frame()
    whole = 1000 + np.random.default_rng(3).permutation(len(table))
    table.assign(y=[f"{value:,}" for value in whole], x=whole % 7).to_csv(path, sep=separator, index=False)
    refuses("holds '1,", lambda: pp.read_panel(path, SPEC))
    for asked, scale in (({"thousands": True}, 1.0), ({"decimal": ","}, 1e-3)):
        real = pp.read_panel(path, {**SPEC, "read": asked})
        np.testing.assert_allclose(real.panel.variables["y"][0].T.ravel(), whole * scale)
    assert f'"{whole[0]:,}" is read as {whole[0]}; or, by decimal = ",", as {whole[0] / 1000}' in pp.init(path)


def test_reshape_says_what_it_left_out_and_refuses_points_of_thousands(tmp_path: Path) -> None:
    wide = frame().assign(city=lambda d: "0" + d["city"].str[1:])
    wide = wide.pivot(index="city", columns="year", values="x").add_prefix("x").reset_index()
    (tmp_path / "wide.csv").write_text(f"Yearbook\n{wide.to_csv(index=False)}Source: none\n", encoding="utf-8")
    said = here("panel", "reshape", tmp_path / "wide.csv", "--out", tmp_path / "long.csv").err
    for rows in ("1 row above the header", "1 row at the end"):
        assert f"note: {rows} left out: no row of the table?" in said
    assert (tmp_path / "long.csv").read_text().splitlines()[1].startswith("000,2000,")  # zeros of ids stay
    mixed = "city;x2000;x2001;y2000;y2001\na;1,5;2,5;1.200;1.300\nb;1,5;2,5;1.200;1.300\n"
    (tmp_path / "mixed.csv").write_text(mixed, encoding="utf-8")
    said = refusal("panel", "reshape", tmp_path / "mixed.csv", "--out", tmp_path / "m.csv")
    assert '"1.200" beside decimal commas may be 1200 or 1.200' in said
    assert not (tmp_path / "m.csv").exists()


def test_ids_with_zeros_go_from_init_to_the_tables(tmp_path: Path) -> None:
    data = frame()
    data["city"] = [f"0{1000 + i}" for i in pd.factorize(data["city"])[0]]
    data["state"] = data["city"].str[-1].map("0{}".format)
    data.assign(x=data["x"].map("{:.3f}%".format)).to_csv(tmp_path / "panel.csv", index=False)
    text = pp.init(tmp_path / "panel.csv", tmp_path / "SPEC.toml")
    assert 'unit = "city"' in text
    assert pp.read_panel(tmp_path / "panel.csv", tmp_path / "SPEC.toml").panel.units[0] == "01000"
    read = {"exclude": {"city": ["01000", "Total"]}, "thousands": True}
    last = data.iloc[:1].assign(city="Total")
    asked = spec(groups=["state"]) | {"read": read}
    real = pp.read_panel(pd.concat([data, last], ignore_index=True), asked)
    assert (real.panel.units[0], real.panel.attributes["state"][0]) == ("01001", "01")


def test_init_does_not_deny_a_treatment_of_all_units_at_once() -> None:
    at_once = pp.init(frame().assign(d=lambda table: (table["year"] > 2003).astype(int)))
    assert "no column is 0, then 1 other than in all units at once" in at_once


def test_init_asks_whether_na_is_a_name_and_a_key_says_no(tmp_path: Path) -> None:
    data = frame()
    codes = dict(zip(data["city"].unique(), ["NA", "DE", *(f"Q{i}" for i in range(UNITS))], strict=False))
    data["part"] = np.where(data["city"].isin(data["city"].unique()[::2]), "NA", "EU")
    data.assign(city=data["city"].map(codes)).to_csv(tmp_path / "panel.csv", index=False)
    text = pp.init(tmp_path / "panel.csv", tmp_path / "SPEC.toml")
    assert '# ? [read] missing: is "NA" in city, part a name?' in text
    panel = pp.read_panel(tmp_path / "panel.csv", tmp_path / "SPEC.toml").panel
    assert panel.units[0] == "NA"
    assert set(panel.attributes["part"]) == {"NA", "EU"}
    with pytest.raises(BadInput, match="is missing for units"):
        pp.read_panel(tmp_path / "panel.csv", spec(groups=["part"]) | {"read": {"missing": ["NA"]}})


def test_init_says_that_a_file_is_read_as_western_text(tmp_path: Path) -> None:
    path = tmp_path / "panel.csv"
    frame().rename(columns={"y": "Größe", "x": "Fläche"}).to_csv(path, index=False, sep=";", encoding="cp1252")
    text = pp.init(path, tmp_path / "SPEC.toml")
    assert "# ? encoding: the file is read as Western text (Windows-1252): Größe" in text
    frame().rename(columns={"y": "规模", "x": "面积"}).to_csv(path, index=False, encoding="gb18030")
    assert "encoding" not in pp.init(path)


def test_an_index_of_units_and_periods_is_read_as_columns() -> None:
    real, same = (pp.read_panel(table, spec()) for table in (frame(), frame().set_index(["city", "year"])))
    np.testing.assert_array_equal(real.panel.variables["y"], same.panel.variables["y"])
    assert 'unit = "city"' in pp.init(frame().set_index(["city", "year"]))


def test_a_row_longer_than_the_header_does_not_make_a_row_of_data_the_header(tmp_path: Path) -> None:
    lines = frame().to_csv(index=False).splitlines()
    (tmp_path / "p.csv").write_text("\n".join([*lines[:5], f"{lines[5]},a note", *lines[6:]]), encoding="utf-8")
    refuses("Expected 5 fields in line 6, saw 6", lambda: first_read(tmp_path / "p.csv"))


# Mistakes in a spec


def with_doses() -> pd.DataFrame:
    """A dose beside the policy, which moves with what moves the outcome; instruments, moderators, codes and places."""
    table, rng = frame(1, 30), np.random.default_rng(1)
    city, size = pd.factorize(table["city"])[0], len(table)
    z, u, weak = rng.normal(size=(3, size))
    fi = 2 + z + 0.5 * u + 0.3 * (table["year"] - 2000) + rng.normal(size=30)[city]
    y, x, places = table["y"] + 0.2 * fi + 0.4 * u, table["x"], rng.uniform(size=(2, 30)) * 10
    return table.assign(y=y, fi=fi, z=z, weak=weak, zero=0.0, fixed=rng.normal(size=30)[city], name="text",
                        coded=np.where(rng.random(size) < 0.02, -99.0, x), again=3 * y + rng.normal(size=size) / 9,
                        twice=2 * y + 1, about5=(fi - 5) ** 2, strong=z + rng.normal(size=size) / 3,
                        lon=100 + places[0][city], lat=30 + places[1][city], long=5 + places[0][city],
                        metres=1e5 * (100 + places[0][city]))  # fmt: skip


def asked(treatment: str = "fi", controls: tuple[str, ...] = ("x",), **tables: Any) -> dict[str, Any]:
    panel = {"unit": "city", "period": "year", "outcome": "y", "treatment": treatment, "controls": list(controls)}
    return {**tables, "panel": panel | tables.get("panel", {})}


PLACED = {"longitude": "lon", "latitude": "lat"}
REFUSED = {
    "dose that never changes": (asked("zero", panel={"treatment_kind": "continuous"}), "the treatment is 0 everywhere"),
    "product with a column that is not there": (
        asked(transform={"p": {"product": ["d", "q"]}}, controls=("p",)), "there is no column 'q'"),
    "effects of spatial models without W": (asked(spatial={"effects": ["unit"]}), "effects without spatial weights"),
    "effects that no model has": (asked(spatial={"effects": ["both"]}), "two-way"),
    "places exchanged, with errors by distance alone": (
        asked("d", panel={"longitude": "lat", "latitude": "lon"}, inference={"errors": ["conley:200"]}),
        'if they are exchanged, say longitude = "lon", latitude = "lat"'),
    "places of text": (asked("d", panel=PLACED | {"latitude": "name"}), "the latitude of 30 units is not on the globe"),
    "places in metres": (
        asked("d", panel=PLACED | {"longitude": "metres"}), "give degrees as numbers, such as 116.4 and 39.9"),
}  # fmt: skip
SAID = {
    "places whose names are exchanged": (
        asked("d", panel={"longitude": "lat", "latitude": "long"}), "their names say the opposite"),
    "instrument that does not move": (asked(iv={"instruments": ["fixed"]}), "absorbed by the unit and time effects"),
    "weak instrument": (asked(iv={"instruments": ["weak"]}), "may be weak"),
    "moderator that does not vary": (asked("d", moderation={"by": ["zero"]}), "zero does not vary"),
    "moderator without its own coefficient": (asked("d", moderation={"by": ["fixed"]}), "absorb its own coefficient"),
    "a code that is taken for a number": (asked("d", controls=("coded",)), "coded is -99"),
    "the outcome again as a control": (asked("d", controls=("again", "x")), "is the outcome in another form"),
    "tables that need dates, of a dose": (asked(robustness={"staggered": True}), "fi has no dates of adoption"),
    "the outcome again as an instrument": (asked(iv={"instruments": ["twice"]}), "is the outcome in another form"),
    "the outcome again as a mediator": (asked(panel={"mediators": ["twice"]}), "is the outcome in another form"),
    "the outcome again as a moderator": (asked(moderation={"by": ["twice"]}), "is the outcome in another form"),
    "the treatment again as an instrument": (
        asked(transform={"z2": {"square": "fi"}}, iv={"instruments": ["z2"]}), "regressor fi in another form"),
    "a product without a part": (
        asked(controls=("p",), transform={"p": {"product": ["fi", "x"]}}), "x is no regressor"),
    "a product of the treatment in its place": (
        asked("p", controls=("x",), transform={"p": {"product": ["fi", "x"]}}), "fi is no regressor"),
    "a square without its part": (asked(controls=("s",), transform={"s": {"square": "x"}}), "x is no regressor"),
    "the square of the treatment": (
        asked(controls=("x", "s"), transform={"s": {"square": "fi"}}), "slope of its effect where fi is 0"),
    "the square of a file about the mean of a dose": (
        asked(controls=("x", "about5")), "slope of its effect where fi is 5"),
    "OLS and 2SLS apart": (asked(iv={"instruments": ["strong"]}), "OLS and 2SLS disagree"),
    "a 0/1 policy as a dose": (asked("d", panel={"treatment_kind": "continuous"}), "declares it a dose"),
    "a 0/1 policy as a dose, and dates": (
        asked("d", panel={"treatment_kind": "continuous"}, robustness={"staggered": True}),
        'd has no dates of adoption, for it is declared a dose'),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_that_cannot_be_meant_is_one_line(mistake: str) -> None:
    settings, said = REFUSED[mistake]
    refuses_all([said], pp.estimate, with_doses(), settings)


@pytest.mark.parametrize("mistake", SAID)
def test_a_mistake_that_may_be_meant_is_said(mistake: str) -> None:
    settings, said = SAID[mistake]
    tables = pp.estimate(with_doses(), settings)
    sentences = [*tables.notes, *(check.sentence for check in tables.warnings if check.severity)]
    assert any(said in sentence for sentence in sentences), sentences


FINE = {
    "a product with all its parts": asked(controls=("x", "z", "p"), transform={"p": {"product": ["x", "z"]}}),
    "a product with what the effects absorb": asked(controls=("x", "p"), transform={"p": {"product": ["x", "fixed"]}}),
    "parts centred and in another unit": asked(
        controls=("x", "p"), transform={"c": {"centre": "x"}, "k": {"scale": ["c", 3]}, "p": {"square": "k"}}),
    "places by their names": asked("d", panel={"longitude": "long", "latitude": "lat"}),
    "an instrument of its own": asked(iv={"instruments": ["z"]}),
}  # fmt: skip
SPOKEN = ("interaction-parts:", "square-of-treatment:", "outcome-again:", "endogenous-again:", "exchanged-coordinates")


@pytest.mark.parametrize("case", FINE)
def test_what_is_no_mistake_is_not_warned_of(case: str) -> None:
    found = [check for check in pp.estimate(with_doses(), FINE[case]).warnings if check.name.startswith(SPOKEN)]
    assert found
    assert not [check.sentence for check in found if check.severity]


def test_a_dose_is_asked_nothing_that_needs_dates_and_its_range_has_ends() -> None:
    names = {check.name for check in pp.estimate(with_doses(), asked("d")).warnings}
    dose = pp.estimate(with_doses(), asked("d", panel={"treatment_kind": "continuous"})).warnings
    dated = {"cohort-wise", "placebo-in-time", "pre-trend", "leave-out:cohort"}
    assert dated <= names
    assert not dated & {check.name for check in dose}
    (why,) = [check.sentence for check in dose if check.name == "unequal-trends"]
    assert "declared a dose" in why
    (said,) = [note for note in pp.estimate(with_doses().assign(fi=lambda t: 1e6 + t["fi"] / 1e3), asked()).notes
               if "any strength" in note]  # fmt: skip
    low, _, high = said.partition("values, ")[2].partition(")")[0].partition(" to ")
    assert float(low) < float(high)


def test_a_regression_that_fits_exactly_has_no_errors() -> None:
    tables = pp.estimate(with_doses(), asked(iv={"instruments": ["twice"]})).frame
    reduced = tables[(tables["table"] == "I") & (tables["column"] == 4)]
    assert len(reduced)
    assert reduced["se"].isna().all()
    assert reduced["pvalue"].isna().all()


def test_a_test_of_a_term_that_is_not_there_names_those_that_are() -> None:
    column = pp.estimate(with_doses(), asked())["2", 5]
    refuses("no term 'foo'; allowed: did, x", lambda: column.lincom("foo - did"))
    refuses("", lambda: column.test("0.5 < did < 0.1"))
