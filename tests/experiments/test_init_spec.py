"""Specs proposed from a look at a table; and [index] in a SPEC.toml, the outcome as an entropy-weight index, from the
file to the JSON document."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest
import warned
from long_tables import load_panel
from refusals import refuses, refuses_all

from estimators.linear.did import TwoWayDID
from experiments.estimation import estimate
from experiments.panel_spec.first_spec import example_frame, propose_spec, questions_in
from experiments.panel_spec.look import look_at
from experiments.panel_spec.spec import RealPanel, read_spec
from sim.index import entropy_index
from sim.panel import Panel
from sim.panel_files import read_frame
from sim.streams import Streams


def proposed(folder: Path, frame: pd.DataFrame) -> tuple[str, Panel]:
    """The proposal for a table and the panel that it reads."""
    frame.to_csv(folder / "panel.csv", index=False)
    text = propose_spec(read_frame(folder / "panel.csv"), "panel.csv")
    (folder / "spec.toml").write_text(text, encoding="utf-8")
    return text, load_panel(folder / "panel.csv", read_spec(folder / "spec.toml"))


def test_the_example_is_recognised_whole(tmp_path: Path) -> None:
    text, panel = proposed(tmp_path, example_frame())
    assert (panel.roles.outcome, panel.roles.treatment) == ("icr", "did")
    assert panel.roles.controls == ("inv", "road", "book", "tech")
    assert set(panel.attributes) == {"capital", "longitude", "latitude", "region"}
    assert tuple(panel.weights) == ("knn-6",)
    assert 'treatment = "eip"' in text
    assert TwoWayDID()(panel, Streams(1)).status[0] == 1
    assert "\nk = 3\n" in propose_spec(example_frame().iloc[: 4 * 18], "panel.csv")


def test_chinese_names_and_quotes_in_them(tmp_path: Path) -> None:
    names = {"city": "城市", "year": "年份", "y": '韧性"指数"', "d": "试点", "gdp": "投资\\GDP", "lon": "经度",
             "lat": "纬度"}  # fmt: skip
    text, panel = proposed(tmp_path, made_cities.frame()[[*names, "road"]].rename(columns=names))
    assert 'unit = "城市"' in text
    assert (panel.roles.outcome, panel.roles.controls[0]) == ('韧性"指数"', "投资\\GDP")
    assert panel.roles.treatment == "did"
    assert tuple(panel.weights) == ("knn-6",)


def absorbed(frame: pd.DataFrame) -> pd.DataFrame:
    age = frame["year"] - frame.groupby("city")["lon"].transform("first").round()
    return frame[["city", "year", "y", "d"]].assign(
        age=age, double=2 * frame["y"], gdp=frame["gdp"], road=frame["road"], sum=frame["gdp"] + frame["road"],
        lat=frame["lat"])  # fmt: skip


def shares(frame: pd.DataFrame) -> pd.DataFrame:
    drawn = np.random.default_rng(3).dirichlet((3, 3, 3), len(frame)).round(4)
    return frame[["city", "year", "y", "d"]].assign(a=drawn[:, 0], b=drawn[:, 1], c=drawn[:, 2], gdp=frame["gdp"])


@pytest.mark.parametrize(("made", "controls"), [(absorbed, ("gdp", "road")), (shares, ("a", "b", "gdp"))])
def test_absorbed_and_collinear_columns_are_no_controls(
    made: Callable[[pd.DataFrame], pd.DataFrame], controls: tuple[str, ...]
) -> None:
    look = look_at(made(made_cities.frame()), "panel.csv")
    assert look.controls == controls
    assert look.coordinates is None


def test_what_makes_up_the_outcome_is_no_control(tmp_path: Path) -> None:
    """Rounded parts of a sum, and a column that is the outcome but for noise."""
    frame = example_frame().head(18 * 60)
    rng = np.random.default_rng(2)
    first, second = rng.uniform(1, 9, (2, len(frame)))
    y, noisy = (first + second).round(2), frame["icr"] + rng.normal(0, 1e-4, len(frame))
    for name, columns, parts in (
        ("y", {"y": y, "first": first.round(2), "inv": frame["inv"], "second": second.round(2)}, ["first", "second"]),
        ("icr", {"icr": frame["icr"], "noisy": noisy, "inv": frame["inv"]}, ["noisy"]),
    ):
        text, panel = proposed(tmp_path, frame[["city", "year", "eip"]].assign(**columns))
        assert (panel.roles.outcome, panel.roles.controls) == (name, ("inv",))
        listed = ", ".join(f'"{part}"' for part in parts)
        assert f'# "{name}" is a combination of {listed}: do not use them as controls' in text


@pytest.mark.parametrize(("value", "words"), [
    (0.0, 'the treatment of 1 unit switches off (column "law", unit one city, 2014): code it 1'),
    (0.5, 'the treatment is 0.5 (column "law", unit one city, 2014): code it 1'),
])  # fmt: skip
def test_what_only_looks_like_a_treatment_is_said_to_be_none(tmp_path: Path, value: float, words: str) -> None:
    frame = made_cities.frame().drop(columns=["code", "pilot", "data", "first_year"])
    frame["city"] = [f"市{number}" for number in frame.groupby("city", sort=False).ngroup()]
    frame["city"] = frame["city"].replace({"市1": "one\ncity"})  # of two lines, which breaks no comment
    law = (frame["city"].isin(["one\ncity", "市2"]) & (frame["year"] >= 2012)).astype(float)
    frame["law"] = law.where((frame["city"] != "one\ncity") | (frame["year"] != 2014), value)
    text, panel = proposed(tmp_path, frame.drop(columns="d"))
    assert panel.roles.treatment is None
    assert "law" not in panel.roles.controls
    assert f'# "law" looks like a treatment, but {words}' in text
    (asked,) = [line for line in questions_in(text) if line.startswith("treatment: ")]
    assert asked.startswith(f"treatment: is it law? Then {words}")
    assert "treatment_kind = " in asked
    text, panel = proposed(tmp_path, frame)
    assert panel.roles.treatment == "did"
    assert "looks like a treatment" not in text  # beside a treatment, other columns may go on and off
    assert '# "other_policy" looks like a treatment, but' in proposed(
        tmp_path, frame.rename(columns={"law": "other_policy"}))[0]  # fmt: skip


def with_cell(name: str, value: object, rows: slice = slice(10, 11)) -> pd.DataFrame:
    """The committed panel with another value in some rows of a column."""
    frame = made_cities.frame()
    frame[name] = frame[name].astype(object)
    frame.loc[frame.index[rows], name] = value
    return frame.infer_objects()


def monthly(periods: list[object]) -> pd.DataFrame:
    frame = pd.DataFrame({"city": np.repeat(["a", "b", "c"], 24), "year": periods * 3})
    return frame.assign(y=np.random.default_rng(4).normal(size=72))


def wide(first: int) -> pd.DataFrame:
    frame = made_cities.frame().pivot(index=["code", "region"], columns="year", values="y")
    frame = frame.rename(columns="y{}".format).reset_index()
    return frame.assign(code=frame["code"] + first - 1001)


def repeated() -> pd.DataFrame:
    frame = made_cities.frame()[["city", "year", "y"]].rename(columns={"city": "place", "year": "t"})
    return pd.concat([frame, frame[:2]])


def ranked() -> pd.DataFrame:
    """A column that only tells rows apart."""
    frame = with_cell("city", None).drop(columns=["code", "pilot", "data"])
    return frame.assign(place=frame.groupby("year")["gdp"].rank(method="first").astype(int))


MONTHS = [f"{year}-{month:02d}-01" for year in (2019, 2020) for month in range(1, 13)]
NO_PANELS: dict[str, tuple[pd.DataFrame, str]] = {
    "dates": (monthly(MONTHS), "panel.csv, column 'year', row 2, unit a; the period is '2019-01-01'; allowed: whole "
                               "numbers such as 2006; number the periods 1, 2, 3 and so on"),
    "months": (monthly([text[:7].replace("-", "") for text in MONTHS]),
               "column 'year'; the periods 201901 to 202012 look like"),
    "two rows of a period": (monthly([2001, 2002, *range(2002, 2024)]),
                             "panel.csv; no two columns identify the rows as unit and period: by 'city' and 'year', 3 "
                             "unit-periods have more than one row: a in 2002, b in 2002, c in 2002"),
    "a missing period": (monthly([2001, "", *range(2003, 2025)]),
                         "column 'year', row 3, unit a; the period is missing"),
    "rows of any names": (repeated(), "identify the rows as unit and period: by 'place' and 't', 2 unit-periods have"),
    "periods in words": (monthly([f"wave {at}" for at in range(24)]).rename(columns={"year": "when"}),
                         "panel.csv; 'city' and 'when' tell the rows apart, and neither looks like a period; allowed: "
                         "years"),
    "periods under a name of no period": (monthly([*range(500, 524)]).rename(columns={"year": "q"}),
                                          "'city' and 'q' tell the rows apart"),
    "wide": (pd.DataFrame({"city": ["a", "b"], "y2006": [1.0, 2.0], "y2007": [1.0, 3.0]}), "is a wide table"),
    "wide with numbers of units": (wide(1001), "reshape it: panelproof panel reshape panel.csv"),
    "wide with numbers like years": (wide(1810), "reshape it: panelproof panel reshape panel.csv"),
    "nothing to explain": (made_cities.frame()[["city", "year", "lon"]], "no column of numbers varies"),
    "a unit without its name": (ranked().drop(columns=["place", "province", "region"]), "the unit is missing in 1 row"),
    "a unit without its name, and a rank": (ranked(), "column 'city', row 12; the unit is missing in 1 row"),
    "a unit without its number": (with_cell("code", None).drop(columns=["city", "province", "region"]),
                                  "column 'code', row 12"),
    "a period without its year": (with_cell("year", None).assign(t=made_cities.frame()["year"] - 2000),
                                  "the period is missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_PANELS)
def test_a_table_that_is_no_panel_is_refused(case: str, tmp_path: Path) -> None:
    frame, what = NO_PANELS[case]
    frame.to_csv(tmp_path / "panel.csv", index=False)
    table = read_frame(tmp_path / "panel.csv")
    refuses_all([what], propose_spec, table, "panel.csv", where="panel.csv", count=1)


@pytest.mark.parametrize(("name", "unit", "treatment"), [
    ("city_panel.csv", "city", "lowcarbon_did"),
    ("lowcarbon_did.csv", "city_name", "did"),
    ("mpdta.csv", "countyreal", None),
    ("cigarettes.csv", "name", None),
])  # fmt: skip
def test_real_panels(tmp_path: Path, shared_data: Path, name: str, unit: str, treatment: str | None) -> None:
    frame = read_frame(shared_data / name)
    look = look_at(frame, name)
    assert (look.unit, look.period, look.treatment) == (unit, "year", treatment)
    (tmp_path / "spec.toml").write_text(propose_spec(frame, name), encoding="utf-8")
    panel = load_panel(shared_data / name, read_spec(tmp_path / "spec.toml"))
    assert panel.roles.treatment == ("did" if treatment or name == "mpdta.csv" else None)


def test_the_committed_panel(tmp_path: Path) -> None:
    look = look_at(read_frame(made_cities.DATA / "cities.csv"), "cities.csv")
    assert (look.unit, look.period, look.treatment) == ("city", "year", "d")
    text, panel = proposed(tmp_path, made_cities.frame())
    assert 'treatment = "d"' in text
    assert panel.roles.treatment == "did"
    assert (len(panel.units), len(panel.periods)) == (made_cities.UNITS, made_cities.PERIODS)
    assert set(panel.attributes) >= {"longitude", "latitude"}
    frame = made_cities.frame()
    text, panel = proposed(tmp_path, frame.drop(columns=["d", "pilot", "data"]))
    assert 'first_treated = "first_year"' in text  # which stands in for the treatment
    assert panel.variables["did"].sum() == frame["d"].sum()


def test_the_outcome_in_the_opposite_order_is_there_again_and_units_treated_throughout_are_no_cohort() -> None:
    frame = made_cities.frame()
    assert look_at(frame.assign(turned=np.exp(-frame["y"])), "panel.csv").again == ("turned",)
    never = frame.loc[frame.groupby("city")["d"].transform("max") == 0, "city"].iloc[0]
    always = frame.assign(d=np.where(frame["city"] == never, 1, frame["d"]))
    assert look_at(always, "panel.csv").cohorts == look_at(frame, "panel.csv").cohorts > 0


def test_the_committed_panel_with_gaps(tmp_path: Path) -> None:
    frame = made_cities.frame_with_gaps()
    look = look_at(frame, "panel.csv")
    assert (look.unit, look.period, look.treatment) == ("city", "year", "d")
    text, panel = proposed(tmp_path, frame)
    assert 'missing = "drop"' in text
    assert 'balance = "drop-units"' in text
    assert not panel.balanced
    assert panel.roles.treatment == "did"


@pytest.mark.parametrize("name", ["id", "person_id", "row"])
def test_numbers_of_individuals_are_no_control(name: str) -> None:
    alone = made_cities.frame()[["city", "year", "y", "d", "road"]]
    people = pd.concat([alone.assign(age=30.0), alone.assign(age=50.0)]).sort_values(["city", "year"])
    people["age"] += np.random.default_rng(1).normal(size=len(people))
    for frame in (people, alone):
        text = propose_spec(frame.assign(**{name: np.arange(len(frame))}), "panel.csv")
        (controls,) = [line for line in text.splitlines() if line.startswith("controls")]
        assert f'"{name}"' not in controls
        assert "[collapse]" in text or frame is alone


@pytest.mark.parametrize(("first", "period", "asked"), [
    (1001, "yr", False), (1001, "when", False), (1810, "jahr", False), (1810, "when", True), (1001, "t", False),
])  # fmt: skip
def test_numbers_of_units_that_look_like_years_are_no_periods(first: int, period: str, asked: bool) -> None:
    frame = made_cities.frame().drop(columns=["city", "province", "region"])
    frame["code"] += first - 1001
    if period == "t":
        frame["year"] -= 2009
    text = propose_spec(frame.rename(columns={"code": "place", "year": period}), "panel.csv")
    assert f'unit = "place"\nperiod = "{period}"' in text
    question = f"# ? unit, period: is place the unit and {period} the period, and not the other way round?"
    assert (question in text) is asked


@pytest.mark.parametrize(
    ("slip", "said"), [(2, "the treatment is 2 (column"), (0, "the treatment of 1 unit switches off")]
)
def test_a_treatment_with_one_slip_is_no_control(slip: int, said: str) -> None:
    """Beside dates alone, and beside a clean treatment too, whatever it is called."""
    frame = made_cities.frame().rename(columns={"d": "zone", "first_year": "began"})
    at = frame.index[(frame["zone"] == 1) & (frame["year"] == 2018)][0]
    frame.loc[at, "zone"] = slip
    for table in (frame.drop(columns=["pilot", "data"]), frame):
        text = propose_spec(table, "panel.csv")
        assert f'# "zone" looks like a treatment, but {said}' in text
        assert '"zone"' not in text.partition("controls = [")[2].partition("]")[0]
    city = frame["city"][at]
    words = f"# ? treatment: began disagrees with zone in 1 row, such as {city} in 2018: which of the two is right?"
    assert words in propose_spec(frame.drop(columns=["pilot", "data"]), "panel.csv")
    frame.loc[frame.index[frame["zone"] == 1][::5], "zone"] = slip  # a fifth of them are no slips
    assert "disagrees" not in propose_spec(frame.drop(columns=["pilot", "data"]), "panel.csv")


def test_numbers_beyond_whole_ones_are_no_codes() -> None:
    """A cast of them warns, which is an error here."""
    frame = made_cities.frame()
    assert 'unit = "city"' in propose_spec(frame.assign(y=1e80 * frame["y"].round()), "table")


def test_what_cannot_be_used_is_said_to_be_what_it_is() -> None:
    frame = made_cities.frame()
    ones = propose_spec(frame[["city", "year", "y"]].assign(d=frame["d"].where(frame["d"] == 1)), "panel.csv")
    assert any(line.startswith("treatment: d is 1 or empty") for line in questions_in(ones))
    frame["lists"] = [[1, 2], np.array([3])] * (len(frame) // 2)
    frame.loc[5, "road"] = np.inf
    text = propose_spec(frame, "panel.csv")
    assert '# not used: "lists" holds lists, not one value a row' in text
    assert '# not used: "road" is infinite in 1 row' in text


PLACES = ("lon", "lat")
ODD: dict[str, tuple[pd.DataFrame, tuple[str, str] | None, int, tuple[str, ...]]] = {  # coordinates, questions
    "an infinite outcome": (with_cell("y", np.inf), PLACES, 1, ("column 'y'", "is infinite in 1 row")),
    "an infinite treatment": (with_cell("d", np.inf), PLACES, 1, ("column 'd'", "is infinite in 1 row")),
    "no degree in a row": (with_cell("lat", None), PLACES, 0, ("column 'lat'",)),
    "an infinite degree": (with_cell("lat", np.inf), PLACES, 1, ("column 'lat'", "is infinite in 1 row")),
    "two degrees": (with_cell("lat", 1.5), None, 1, ("longitude, latitude: lat holds several degrees for C02",)),
    "no degrees of a unit": (with_cell("lat", None, slice(0, 9)), None, 1,
                             ("longitude, latitude: lat holds no degrees for C01",)),
    "degrees with signs": (made_cities.frame().assign(lat=lambda t: t["lat"].map("{}°N".format)), None, 1,
                           ("longitude, latitude: lat holds text", "no degrees")),
    "names exchanged": (made_cities.frame().rename(columns={"lon": "lat", "lat": "lon"}), None, 1,
                        ('if longitude and latitude are exchanged, say longitude = "lat"',)),
    "a name of a unit": (with_cell("city", None), PLACES, 1,
                         ("unit: is it code? city names units as code does, and is empty in 1 row: fill it to name "
                          "them so",)),
    "one mark": (with_cell("road", "."), PLACES, 1, ("does '.' mean missing?",)),
    "a column of 1 or nothing beside a treatment": (
        made_cities.frame().assign(law=lambda t: t["d"].where(t["d"] == 1)), PLACES, 0, ("law",)),
    "nothing odd": (made_cities.frame(), PLACES, 0, ("unit",)),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_one_odd_cell_takes_no_role_away_and_is_asked_about(case: str) -> None:
    frame, coordinates, times, words = ODD[case]
    look = look_at(frame, "panel.csv")
    assert (look.outcome, look.treatment, look.coordinates) == ("y", "d", coordinates)
    assert "lat" not in look.controls
    text = propose_spec(frame, "panel.csv")
    assert ('unit = "code"' in text) == (case == "a name of a unit")
    assert sum(all(word in line for word in words) for line in questions_in(text)) == times


@pytest.mark.parametrize(("name", "value"), [("y", "7..3"), ("d", "l")])
def test_a_slip_of_one_cell_takes_no_role_away_and_is_asked_about(name: str, value: str) -> None:
    look = look_at(with_cell(name, value), "panel.csv")
    assert (look.outcome, look.treatment) == ("y", "d")
    (problem,) = look.faulty
    assert problem.what == f"holds '{value}'"
    assert f"column '{name}'" in problem.where


def marked(shown: str) -> pd.DataFrame:
    """The outcome with a sign in two of three cells."""
    frame = made_cities.frame()
    return frame.assign(y=[(shown if row % 3 or shown == "{}万" else "{}").format(f"{abs(y):.3f}")
                           for row, y in enumerate(frame["y"])])  # fmt: skip


def grouped(mark: str, separator: str = ",") -> pd.DataFrame:
    frame = made_cities.frame()
    written = (1000 * frame["gdp"].abs() + 1000).map("{:,.2f}".format).str.replace(",", separator)
    return frame.assign(y=written.where(frame.index != 8, mark))


@pytest.mark.parametrize(
    ("frame", "example"),
    [(marked("{}***"), "***"), (marked("({})"), "("), (marked("${}"), "$"), (marked("{}万"), "万"),
     (grouped("1,234.56*"), "such as '1,234.56*'"), (grouped("1'234.56", "'"), "'"), (grouped("1’234.56", "’"), "’")],
)  # fmt: skip
def test_a_column_of_numbers_beside_signs_is_asked_about(frame: pd.DataFrame, example: str) -> None:
    (asked,) = [line for line in questions_in(propose_spec(frame, "panel.csv")) if line.startswith("y holds text")]
    assert example in asked
    assert "and is not used: if it holds numbers, write them without other signs" in asked
    words = made_cities.frame().assign(note=lambda t: "n" + t["road"].round(2).astype(str),
                                       day=lambda t: t["year"].map("{}-03-".format) + "01")  # fmt: skip
    assert not [line for line in questions_in(propose_spec(words, "panel.csv")) if "holds text" in line]


def test_means_of_rows_are_asked_about_and_variables_in_rows_are_told_from_individuals() -> None:
    frame = made_cities.frame()[["city", "year", "y", "road", "book"]]
    long = frame.melt(["city", "year"], var_name="series")
    asked = questions_in(propose_spec(long, "panel.csv"))
    assert f"[collapse]: are the {len(long)} rows individuals, of which {len(frame)} means are taken?" in asked
    assert any("one row of 'y', 'road', 'book' in series: if these are variables, make a column of each" in line
               for line in asked)  # fmt: skip
    halves = pd.concat([frame.assign(half=1), frame.assign(half=2, y=frame["y"] + 1)])
    assert any(line.endswith("make one column of both: year * 2 + half") for line in
               questions_in(propose_spec(halves, "panel.csv")))  # fmt: skip
    people = pd.concat([frame, frame.assign(y=frame["y"] + 1)]).assign(note=lambda t: t["y"].map("{:.4f}!".format))
    assert not [line for line in questions_in(propose_spec(people, "panel.csv")) if "make a column of each" in line]


# [index]

PANEL = '[panel]\nunit = "city"\nperiod = "year"\n'
TREATED = PANEL + 'treatment = "eip"\n'
INDEX = '[index]\npositive = ["a", "b"]\nnegative = ["c"]\n'


def frame() -> pd.DataFrame:
    """Eight cities, five years: three indicators, a control, three sector shares in percent, two treated cities."""
    rows = [(f"城{i}", year) for i in range(8) for year in range(2005, 2010)]
    table = pd.DataFrame(rows, columns=["city", "year"])
    rng = np.random.default_rng(1)
    for name in "abcx":
        table[name] = rng.lognormal(size=40)
    for name, share in zip(("s1", "s2", "s3"), rng.dirichlet((2, 3, 4), size=40).T, strict=True):
        table[name] = (100 * share).round(2)
    table["eip"] = [int((city, year) >= (city, {"城1": 2007, "城2": 2008}.get(city, 9999))) for city, year in rows]
    return table


def read(folder: Path, text: str, table: pd.DataFrame | None = None) -> RealPanel:
    return made_cities.real_panel(folder, text, frame() if table is None else table)


@pytest.mark.parametrize(
    ("outcome", "name", "expected"),
    [("", "", "index"), ('outcome = "icr"\n', "", "icr"), ("", 'name = "icr"\n', "icr"),
     ('outcome = "icr"\n', 'name = "icr"\n', "icr")],
)  # fmt: skip
def test_the_index_is_the_outcome(tmp_path: Path, outcome: str, name: str, expected: str) -> None:
    real = read(tmp_path, TREATED + outcome + 'controls = ["x"]\n' + INDEX + name)
    panel = real.panel
    assert panel.roles.outcome == real.spec.panel.outcome == expected
    assert tuple(panel.variables) == (expected, "did", "x", "a", "b", "c")
    columns = {key: frame()[key].to_numpy().reshape(1, 8, 5).transpose(0, 2, 1) for key in "abc"}
    alone = entropy_index({"a": columns["a"], "b": columns["b"]}, {"c": columns["c"]})
    np.testing.assert_allclose(real.index.weights, alone.weights, rtol=1e-12)
    np.testing.assert_allclose(panel.variables[expected], alone.score, rtol=1e-12)


def test_diversification_and_transforms_make_indicators(tmp_path: Path) -> None:
    text = PANEL + """
        controls = ["ln_x"]
        [transform]
        ln_x = { log = "x" }
        third = { scale = ["s3", 0.01] }
        l1 = { lag = "s1" }
        l2 = { lag = "s2" }
        [index]
        positive = ["div", "third", "of_lags"]
        diversification = { div = ["s1", "s2", "s3"], other = ["s1", "s2"], of_lags = ["l1", "l2"] }
    """  # fmt: skip
    real, shares = read(tmp_path, text), frame().query("year > 2005")[["s1", "s2", "s3"]].to_numpy()
    assert tuple(real.panel.variables) == ("index", "ln_x", "div", "third", "of_lags")
    assert real.panel.periods == (2006, 2007, 2008, 2009)  # a diversification of lags has no first period
    assert real.index.observations.tolist() == [32]
    expected = shares.sum(axis=1) ** 2 / (shares**2).sum(axis=1)
    np.testing.assert_allclose(real.panel.variables["div"][0].T.ravel(), expected, rtol=1e-12)


def test_rows_left_out_are_not_pooled(tmp_path: Path) -> None:
    table = frame()
    table.loc[7, "b"] = np.nan
    table.loc[11, "x"] = np.nan  # a control: the index is made of the rows it is regressed on
    table.loc[11, "a"] = 1e6
    text = TREATED + 'controls = ["x"]\nmissing = "drop"\nbalance = "drop-units"\n' + INDEX
    real = read(tmp_path, text, table)
    assert real.index.observations.tolist() == [38]
    assert np.isnan(real.panel.variables["index"][0, 2, 1])
    scores = real.panel.variables["index"]
    assert np.nanmax(scores) <= 1
    kept = real.balanced()
    assert len(kept.units) == 6
    np.testing.assert_array_equal(kept.variables["index"], scores[:, :, [0, 3, 4, 5, 6, 7]])
    refuses(r"column 'b', unit 城1, 2007.*is missing in 1 row", lambda: read(tmp_path, TREATED + INDEX, table))


def test_the_document_tells_weights_entropies_and_subtotals(tmp_path: Path) -> None:
    real = read(tmp_path, TREATED + INDEX + '[index.dimensions]\nresistance = ["a", "c"]\ngrowth = ["b"]\n')
    document = estimate(real)
    said = json.loads(document.to_json())["panel"]["index"]
    assert (said["name"], said["nobs"], list(said["indicators"])) == ("index", 40, ["a", "b", "c"])
    parts = said["indicators"]
    assert [parts[name]["direction"] for name in "abc"] == ["positive", "positive", "negative"]
    assert sum(part["weight"] for part in parts.values()) == pytest.approx(1)
    assert all(part["entropy"] + part["divergence"] == pytest.approx(1) for part in parts.values())
    assert said["dimensions"]["resistance"]["indicators"] == ["a", "c"]
    assert said["dimensions"]["resistance"]["weight"] == pytest.approx(parts["a"]["weight"] + parts["c"]["weight"])
    assert sum(dimension["weight"] for dimension in said["dimensions"].values()) == pytest.approx(1)
    weights = ", ".join(f"{name} {parts[name]['weight']:.4f}" for name in "abc")
    assert any("over 40 unit-periods" in note and weights in note for note in document.notes)
    assert any(note.startswith("Weights of its dimensions: resistance 0.") for note in document.notes)
    assert {record.term for record in document.records} == {"did", "constant"}


WRONG_SPECS: dict[str, tuple[str, list[str]]] = {
    "no indicator": (PANEL + "[index]\n", ["spec.toml, [index]", "there is no indicator"]),
    "not a table": ("index = 3\n" + PANEL, ["spec.toml, [index]", "is 3", "a table with the keys name, positive"]),
    "unknown key": (PANEL + INDEX + "postive = 1\n", ["unknown key 'postive'", "did you mean 'positive'?"]),
    "text for a list": (PANEL + '[index]\npositive = "a"\n', ["positive = 'a'", "a list in brackets"]),
    "both sides": (PANEL + '[index]\npositive = ["a"]\nnegative = ["a"]\n', ["'a' is both positive and negative"]),
    "repeated": (PANEL + '[index]\npositive = ["a", "a"]\n', ["positive names 'a' twice"]),
    "no outcome, no index": (PANEL, ["the key 'outcome' is missing", "or [index]"]),
    "another outcome": (PANEL + 'outcome = "y"\n' + INDEX + 'name = "icr"\n', ["outcome = 'y' is not the index 'icr'"]),
    "also a control": (PANEL + 'controls = ["a"]\n' + INDEX, ["the column 'a' is used twice"]),
    "also itself": (PANEL + INDEX + 'name = "a"\n', ["the column 'a' is used twice"]),
    "name of the treatment": (TREATED + INDEX + 'name = "did"\n', ["name = 'did'", "for the treatment only"]),
    "name of the unit": (PANEL + INDEX + 'name = "city"\n', ["'city' is the unit"]),
    "name of a transform": (PANEL + '[transform]\nz = { log = "a" }\n' + INDEX + 'name = "z"\n',
                            ["'z' is made in [transform] already"]),
    "name of a diversification": (PANEL + INDEX + 'name = "d"\ndiversification = { d = ["s1", "s2"] }\n',
                                  ["'d' is the index and a diversification"]),
    "empty dimension": (PANEL + INDEX + "dimensions = { r = [] }\n", ["the dimension 'r' has no indicator"]),
    "no such indicator": (PANEL + '[index]\npositive = ["inv"]\ndimensions = { r = ["inw"] }\n',
                          ["r names 'inw', which is no indicator", "did you mean 'inv'?"]),
    "two dimensions": (PANEL + INDEX + 'dimensions = { r = ["a"], q = ["b", "a"] }\n',
                       ["'a' is in several dimensions: r, q"]),
    "dimension of text": (PANEL + INDEX + 'dimensions = { r = "a" }\n', ["dimensions.r = 'a'", "a list in brackets"]),
    "one share": (PANEL + INDEX + 'diversification = { d = ["s1"] }\n', ["d = ['s1']", "two or more shares"]),
    "same shares": (PANEL + INDEX + 'diversification = { d = ["s1", "s1"] }\n', ["d names 's1' twice"]),
    "shares of shares": (PANEL + INDEX + 'diversification = { d = ["s1", "d"] }\n', ["d takes 'd'"]),
    "all at once": (PANEL + 'mising = "drop"\n[index]\npositive = ["a"]\nnegative = ["a"]\ndimensions = { r = ["z"] }\n'
                    'diversification = { d = ["s1"] }\n[robustness]\nlag = 0\n',
                    ["'mising'", "'a' is both", "'z'", "d = ['s1']", "lag = 0"]),
}  # fmt: skip


WRONG_PANELS: dict[str, tuple[str, dict[str, object], list[str]]] = {
    "columns that lack": ('[index]\npositive = ["aa", "d"]\ndiversification = { d = ["s1", "s9"] }\n', {},
                          ["no column 'aa'", "spec.toml [index]", "no column 's9'", "[index] diversification"]),
    "column exists": (INDEX + 'name = "x"\n', {}, ["the column 'x' exists already", "remove [index]"]),
    "diversification exists": (INDEX + 'diversification = { x = ["s1", "s2"] }\n', {}, ["column 'x' exists already"]),
    "constant": ('[index]\npositive = ["a", "b", "c"]\n', {"a": 1.5, "c": 0.0},
                 ["'a' is 1.5 in every row", "'c' is 0 in every row", "panel.csv, spec.toml [index]"]),
    "text": (INDEX, {"b": "-"}, ["holds '-'", "column 'b'"]),
    "negative share": ('[index]\npositive = ["d"]\ndiversification = { d = ["s1", "s2"] }\n', {"s2": -1.0},
                       ["shares of", "-1 (40 such rows)", "column 's1', unit 城0, 2005", "for 'd'", "0 or more"]),
    "share as text": ('[index]\npositive = ["d"]\ndiversification = { d = ["s1", "s2"] }\n', {"s2": "-"},
                      ["holds '-' and 39 more", "column 's2', unit 城0, 2005"]),
}  # fmt: skip


@pytest.mark.parametrize("case", [*WRONG_SPECS, *WRONG_PANELS])
def test_a_wrong_index_is_refused_in_the_users_words(tmp_path: Path, case: str) -> None:
    text, columns, expected = WRONG_PANELS.get(case) or (WRONG_SPECS[case][0], {}, WRONG_SPECS[case][1])
    table, of_spec = frame().assign(**columns), case in WRONG_SPECS
    refuses_all(expected, read, tmp_path, text if of_spec else PANEL + text, table,
                where="spec.toml" if of_spec else "", count=5 if case == "all at once" else None)  # fmt: skip


def test_the_committed_cities_from_file_to_estimates(tmp_path: Path) -> None:
    """Weights, scores and dimensions by arithmetic on the file's columns, one of them falling; table 2 by dummies."""
    text = made_cities.PANEL.replace('outcome = "y"\n', "").replace('"road", "book"', '"ln_gdp"') + """
        [transform]
        ln_gdp = { log = "gdp" }
        [index]
        name = "icr"
        positive = ["income", "output"]
        negative = ["debt"]
        [index.dimensions]
        growth = ["income", "output"]
        burden = ["debt"]
    """  # fmt: skip
    real = made_cities.real_panel(tmp_path, text)
    said = estimate(real)
    assert (len(real.panel.units), said.panel["outcome"], said.panel["index"]["nobs"]) == (36, "icr", 324)
    table = made_cities.frame()
    x = table[["income", "output", "debt"]].to_numpy()
    a = (x - x.min(axis=0)) / np.ptp(x, axis=0)
    a[:, 2] = 1 - a[:, 2]
    p = a / a.sum(axis=0)
    g = 1 + np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(axis=0) / np.log(len(x))
    weights = g / g.sum()
    np.testing.assert_allclose(real.index.weights[0], weights, rtol=1e-9)
    np.testing.assert_allclose(real.panel.variables["icr"][0].T.ravel(), a @ weights, rtol=1e-9)
    totals = {name: dimension["weight"] for name, dimension in said.panel["index"]["dimensions"].items()}
    assert totals == pytest.approx({"growth": weights[:2].sum(), "burden": weights[2]}, rel=1e-9)
    by_hand = warned.dummies(table.assign(y=a @ weights, ln_gdp=np.log(table["gdp"])), "city", "year",
                             regressors=("d", "ln_gdp"))  # fmt: skip
    did = next(record for record in said.records if (record.table, record.column, record.term) == ("2", 5, "did"))
    assert did.estimate == pytest.approx(by_hand, rel=1e-8)
