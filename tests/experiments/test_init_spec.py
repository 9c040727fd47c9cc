"""Specs proposed from a look at a table."""

from __future__ import annotations

from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest
from long_tables import load_panel

from estimators.linear.did import TwoWayDID
from experiments.panel_spec.first_spec import example_frame, propose_spec, questions_in
from experiments.panel_spec.look import look_at
from experiments.panel_spec.spec import read_spec
from sim.errors import BadInput
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
    assert panel.roles.outcome == "icr"
    assert panel.roles.treatment == "did"
    assert panel.roles.controls == ("inv", "road", "book", "tech")
    assert set(panel.attributes) == {"capital", "longitude", "latitude", "region"}
    assert tuple(panel.weights) == ("knn-6",)
    assert 'treatment = "eip"' in text
    assert TwoWayDID()(panel, Streams(1)).status[0] == 1
    assert "\nk = 3\n" in propose_spec(example_frame().iloc[: 4 * 18], "panel.csv")


def test_chinese_names_and_quotes_in_them(tmp_path: Path) -> None:
    names = {"city": "城市", "year": "年份", "icr": '韧性"指数"', "eip": "试点", "inv": "投资\\GDP", "lon": "经度",
             "lat": "纬度"}  # fmt: skip
    text, panel = proposed(tmp_path, example_frame().rename(columns=names))
    assert 'unit = "城市"' in text
    assert panel.roles.outcome == '韧性"指数"'
    assert panel.roles.controls[0] == "投资\\GDP"
    assert panel.roles.treatment == "did"
    assert tuple(panel.weights) == ("knn-6",)


def test_a_column_of_first_years_stands_in_for_a_treatment(tmp_path: Path) -> None:
    frame = example_frame()
    start = frame.loc[frame["eip"] == 1].groupby("city")["year"].min()
    frame["first_park"] = frame["city"].map(start)
    text, panel = proposed(tmp_path, frame.drop(columns="eip"))
    assert 'first_treated = "first_park"' in text
    assert panel.variables["did"].sum() == frame["eip"].sum()


def test_gaps_lead_to_a_proposal_that_still_runs(tmp_path: Path) -> None:
    frame = example_frame().drop(index=3)
    frame.loc[10, "icr"] = np.nan
    text, panel = proposed(tmp_path, frame)
    assert 'missing = "drop"' in text
    assert 'balance = "drop-units"' in text
    assert panel.nobs == 5128


def test_absorbed_and_collinear_columns_are_no_controls() -> None:
    frame = example_frame()
    frame["age"] = frame["year"] - frame.groupby("city")["lon"].transform("first").round()
    frame["double"] = 2 * frame["icr"]
    frame["sum"] = frame["inv"] + frame["road"]
    frame = frame[["city", "year", "icr", "eip", "age", "double", "inv", "road", "sum", "lat"]]
    look = look_at(frame, "panel.csv")
    assert look.controls == ("inv", "road")
    assert look.coordinates is None


def test_what_makes_up_the_outcome_is_no_control(tmp_path: Path) -> None:
    """Rounded parts of a sum, and a column that is the outcome but for noise."""
    frame = example_frame()
    rng = np.random.default_rng(2)
    first, second = rng.uniform(1, 9, (2, len(frame)))
    y, noisy = (first + second).round(2), frame["icr"] + rng.normal(0, 1e-4, len(frame))
    for name, columns, parts in (
        ("y", {"y": y, "first": first.round(2), "inv": frame["inv"], "second": second.round(2)}, ["first", "second"]),
        ("icr", {"icr": frame["icr"], "noisy": noisy, "inv": frame["inv"]}, ["noisy"]),
    ):
        text, panel = proposed(tmp_path, frame[["city", "year", "eip"]].assign(**columns))
        assert panel.roles.outcome == name
        assert panel.roles.controls == ("inv",)
        listed = ", ".join(f'"{part}"' for part in parts)
        assert f'# "{name}" is a combination of {listed}: do not use them as controls' in text


def test_shares_of_a_whole_are_not_all_controls() -> None:
    frame = example_frame()
    shares = np.random.default_rng(3).dirichlet((3, 3, 3), len(frame)).T.round(4)
    frame[["a", "b", "c"]] = shares.T
    assert look_at(frame[["city", "year", "icr", "eip", "a", "b", "c", "inv"]], "panel.csv").controls == (
        "a", "b", "inv",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, 'the treatment of 1 unit switches off (column "law", unit 市1, 2012): code it 1'),
        (0.5, 'the treatment is 0.5 (column "law", unit 市1, 2012): code it 1'),
    ],
)
def test_what_only_looks_like_a_treatment_is_said_to_be_none(tmp_path: Path, value: float, words: str) -> None:
    frame = example_frame()
    frame["city"] = "市" + (frame.groupby("city", sort=False).ngroup()).astype(str)
    law = ((frame["city"].isin(["市1", "市2"])) & (frame["year"] >= 2010)).astype(float)
    frame["law"] = law.where((frame["city"] != "市1") | (frame["year"] != 2012), value)
    text, panel = proposed(tmp_path, frame.drop(columns="eip"))
    assert panel.roles.treatment is None
    assert "law" not in panel.roles.controls
    assert f'# "law" looks like a treatment, but {words}' in text
    text, panel = proposed(tmp_path, frame)
    assert panel.roles.treatment == "did"
    assert "looks like a treatment" not in text  # beside a treatment, other columns may go on and off
    named = frame.rename(columns={"law": "other_policy"})
    assert '# "other_policy" looks like a treatment, but' in proposed(tmp_path, named)[0]


def test_a_unit_of_two_lines_breaks_no_comment(tmp_path: Path) -> None:
    frame = example_frame()
    first = frame["city"].iloc[0]
    frame["law"] = ((frame["city"] == first) & (frame["year"] == 2010)).astype(int)
    frame["city"] = frame["city"].replace({first: "one\ncity"})
    text, panel = proposed(tmp_path, frame.drop(columns="eip"))
    assert "one city, 2011" in text
    assert panel.roles.treatment is None


MONTHS = [f"{year}-{month:02d}-01" for year in (2019, 2020) for month in range(1, 13)]


@pytest.mark.parametrize(
    ("periods", "what"),
    [
        (MONTHS, "panel.csv, column 'year', row 2, unit a; the period is '2019-01-01'"),
        ([text[:7].replace("-", "") for text in MONTHS], "column 'year'; the periods 201901 to 202012 look like"),
        ([2001, 2002, *range(2002, 2024)], "panel.csv; no two columns identify the rows as unit and period: by 'city' "
         "and 'year', 3 unit-periods have more than one row: a in 2002, b in 2002, c in 2002"),
        ([2001, "", *range(2003, 2025)], "column 'year', row 3, unit a; the period is missing"),
    ],
    ids=["dates", "months", "repeated", "missing"],
)  # fmt: skip
def test_a_period_that_is_none_is_named(tmp_path: Path, periods: list[object], what: str) -> None:
    frame = pd.DataFrame({"city": np.repeat(["a", "b", "c"], 24), "year": periods * 3})
    frame["y"] = np.random.default_rng(4).normal(size=72)
    frame.to_csv(tmp_path / "panel.csv", index=False)
    with pytest.raises(BadInput) as caught:
        propose_spec(read_frame(tmp_path / "panel.csv"), "panel.csv")
    assert what in str(caught.value)
    assert len(caught.value.problems) == 1


def test_a_few_repeated_rows_are_named_whatever_columns_are_called(tmp_path: Path) -> None:
    frame = example_frame()[["city", "year", "icr"]].rename(columns={"city": "place", "year": "t"})
    pd.concat([frame, frame[:2]]).to_csv(tmp_path / "panel.csv", index=False)
    with pytest.raises(BadInput, match="identify the rows as unit and period: by 'place' and 't', 2 unit-periods have"):
        propose_spec(read_frame(tmp_path / "panel.csv"), "panel.csv")


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (pd.DataFrame({"city": ["a", "b"], "y2006": [1.0, 2.0], "y2007": [1.0, 3.0]}), "is a wide table"),
        (example_frame().loc[[*range(40), 3]], "no two columns identify"),
        (example_frame()[["city", "year", "lon"]], "no column of numbers varies"),
    ],
    ids=["wide", "repeated", "nothing to explain"],
)
def test_a_table_that_is_no_panel_is_refused(frame: pd.DataFrame, what: str) -> None:
    with pytest.raises(BadInput, match=what) as caught:
        propose_spec(frame, "panel.csv")
    assert all(p.where == "panel.csv" and p.allowed and p.remedy for p in caught.value.problems)


@pytest.mark.parametrize(
    ("name", "unit", "treatment"),
    [
        ("city_panel.csv", "city", "lowcarbon_did"),
        ("lowcarbon_did.csv", "city_name", "did"),
        ("mpdta.csv", "countyreal", None),
        ("cigarettes.csv", "name", None),
    ],
)
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


def test_a_first_year_of_the_committed_panel_stands_in_for_the_treatment(tmp_path: Path) -> None:
    frame = made_cities.frame()
    text, panel = proposed(tmp_path, frame.drop(columns=["d", "pilot", "data"]))
    assert 'first_treated = "first_year"' in text
    assert panel.variables["did"].sum() == frame["d"].sum()


def test_the_outcome_in_the_opposite_order_is_the_outcome_again() -> None:
    frame = made_cities.frame()
    assert look_at(frame.assign(turned=np.exp(-frame["y"])), "panel.csv").again == ("turned",)


def test_units_that_are_treated_throughout_are_no_cohort() -> None:
    frame = made_cities.frame()
    never = frame.loc[frame.groupby("city")["d"].transform("max") == 0, "city"].iloc[0]
    always = frame.assign(d=np.where(frame["city"] == never, 1, frame["d"]))
    assert look_at(always, "panel.csv").cohorts == look_at(frame, "panel.csv").cohorts > 0


def test_the_committed_panel_with_gaps(tmp_path: Path) -> None:
    frame = made_cities.frame_with_gaps()
    look = look_at(frame, "panel.csv")
    assert (look.unit, look.period, look.treatment) == ("city", "year", "d")
    _, panel = proposed(tmp_path, frame)
    assert not panel.balanced
    assert panel.roles.treatment == "did"


def test_the_committed_panel_without_a_treatment(tmp_path: Path) -> None:
    frame = made_cities.frame()[["city", "year", "y", "road", "book"]]
    text, panel = proposed(tmp_path, frame)
    assert look_at(frame, "panel.csv").treatment is None
    assert panel.roles.treatment is None
    assert "[panel]" in text


@pytest.mark.parametrize("name", ["id", "person_id", "row"])
def test_numbers_of_individuals_are_no_control(tmp_path: Path, name: str) -> None:
    frame = example_frame().head(18 * 20)
    frame = pd.concat([frame.assign(age=30.0), frame.assign(age=50.0)]).sort_values(["city", "year"])
    frame["age"] += np.random.default_rng(1).normal(size=len(frame))
    frame[name] = np.arange(len(frame))
    text = propose_spec(frame, "people.csv")
    (controls,) = [line for line in text.splitlines() if line.startswith("controls")]
    assert f'"{name}"' not in controls
    assert "[collapse]" in text
    (alone,) = [line for line in propose_spec(example_frame().assign(**{name: range(285 * 18)}), "cities.csv")
                .splitlines() if line.startswith("controls")]  # fmt: skip
    assert f'"{name}"' not in alone


@pytest.mark.parametrize(
    ("first", "period", "asked"),
    [(1001, "yr", False), (1001, "when", False), (1810, "jahr", False), (1810, "when", True), (1001, "t", False)],
)
def test_numbers_of_units_that_look_like_years_are_no_periods(first: int, period: str, asked: bool) -> None:
    frame = made_cities.frame().drop(columns=["city", "province", "region"])
    frame["code"] += first - 1001
    if period == "t":
        frame["year"] -= 2009
    text = propose_spec(frame.rename(columns={"code": "place", "year": period}), "panel.csv")
    assert f'unit = "place"\nperiod = "{period}"' in text
    question = f"# ? unit, period: is place the unit and {period} the period, and not the other way round?"
    assert (question in text) is asked


@pytest.mark.parametrize("first", [1001, 1810])
def test_a_wide_table_whose_units_have_numbers_is_one(first: int) -> None:
    frame = made_cities.frame().pivot(index=["code", "region"], columns="year", values="y")
    frame = frame.rename(columns="y{}".format).reset_index()
    frame["code"] += first - 1001
    with pytest.raises(BadInput, match=r"is a wide table: .*; reshape it: panelproof panel reshape wide\.csv"):
        propose_spec(frame, "wide.csv")


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


def test_what_cannot_be_used_is_said_to_be_what_it_is() -> None:
    frame = made_cities.frame()
    frame["lists"] = [[1, 2], np.array([3])] * (len(frame) // 2)
    frame.loc[5, "road"] = np.inf
    text = propose_spec(frame, "panel.csv")
    assert '# not used: "lists" holds lists, not one value a row' in text
    assert '# not used: "road" is infinite in 1 row' in text


def with_cell(name: str, value: object, rows: slice = slice(10, 11)) -> pd.DataFrame:
    """The committed panel with another value in some rows of a column."""
    frame = made_cities.frame()
    frame[name] = frame[name].astype(object)
    frame.loc[frame.index[rows], name] = value
    return frame.infer_objects()


def test_a_unit_without_its_name_once_is_named_by_its_code_and_asked_about() -> None:
    text = propose_spec(with_cell("city", None), "panel.csv")
    assert 'unit = "code"' in text
    assert "unit: is it code? city names units as code does, and is empty in 1 row: fill it to name them so" in (
        questions_in(text)
    )
    assert not [asked for asked in questions_in(propose_spec(made_cities.frame(), "panel.csv")) if "unit" in asked]


def test_a_column_that_only_tells_rows_apart_does_not_become_the_unit() -> None:
    frame = with_cell("city", None).drop(columns=["code", "pilot", "data"])
    place = frame.groupby("year")["gdp"].rank(method="first").astype(int)
    with pytest.raises(BadInput, match="column 'city', row 11; the unit is missing in 1 row"):
        propose_spec(frame.assign(place=place), "panel.csv")
    with pytest.raises(BadInput, match="the unit is missing in 1 row"):
        propose_spec(frame.drop(columns=["province", "region"]), "panel.csv")


def test_units_of_numbers_with_one_empty_cell_are_still_the_units() -> None:
    frame = with_cell("code", None).drop(columns=["city", "province", "region"])
    with pytest.raises(BadInput, match="column 'code', row 11"):
        propose_spec(frame, "panel.csv")


def test_a_period_that_is_empty_once_does_not_give_way_to_a_number_of_periods() -> None:
    frame = with_cell("year", None)
    frame["t"] = made_cities.frame()["year"] - 2000
    with pytest.raises(BadInput, match="the period is missing"):
        propose_spec(frame, "panel.csv")


@pytest.mark.parametrize("value", [None, np.inf])
def test_one_cell_of_a_coordinate_takes_no_place_away(value: float | None) -> None:
    frame = with_cell("lat", value)
    text = propose_spec(frame, "panel.csv")
    assert look_at(frame, "panel.csv").coordinates == ("lon", "lat")
    asked = [line for line in questions_in(text) if "column 'lat'" in line and "is infinite in 1 row" in line]
    assert len(asked) == (value is not None)


@pytest.mark.parametrize(
    ("value", "rows", "said"),
    [(1.5, slice(10, 11), "holds several degrees for"), (None, slice(0, 9), "holds no degrees for")],
)
def test_a_coordinate_that_is_odd_in_one_unit_is_no_control_and_asked_about(
    value: float | None, rows: slice, said: str
) -> None:
    frame = with_cell("lat", value, rows)
    look = look_at(frame, "panel.csv")
    assert look.coordinates is None
    assert "lat" not in look.controls
    unit = frame["city"].iloc[rows.start]
    assert f"longitude, latitude: lat {said} {unit}" in questions_in(propose_spec(frame, "panel.csv"))


def test_exchanged_names_of_coordinates_are_asked_about() -> None:
    frame = made_cities.frame().rename(columns={"lon": "lat", "lat": "lon"})
    asked = questions_in(propose_spec(frame, "panel.csv"))
    assert any('if longitude and latitude are exchanged, say longitude = "lat"' in line for line in asked)


@pytest.mark.parametrize("name", ["y", "d"])
def test_what_is_infinite_once_keeps_its_place_and_is_asked_about(name: str) -> None:
    frame = with_cell(name, np.inf)
    look = look_at(frame, "panel.csv")
    assert (look.outcome, look.treatment) == ("y", "d")
    assert any(f"column '{name}'" in line and "is infinite in 1 row" in line
               for line in questions_in(propose_spec(frame, "panel.csv")))  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "rest", "example"),
    [("{}***", "{}", "***"), ("({})", "{}", "("), ("${}", "${}", "$"), ("{}万", "{}万", "万")],
)
def test_a_column_of_numbers_beside_signs_is_asked_about(shown: str, rest: str, example: str) -> None:
    frame = made_cities.frame()
    numbered = np.arange(len(frame))
    frame["y"] = [(shown if number % 3 else rest).format(f"{abs(value):.3f}")
                  for number, value in zip(numbered, frame["y"], strict=True)]  # fmt: skip
    asked = [line for line in questions_in(propose_spec(frame, "panel.csv")) if line.startswith("y holds text")]
    assert len(asked) == 1
    assert example in asked[0]
    assert "and is not used: if it holds numbers, write them without other signs" in asked[0]


def test_a_number_with_a_mark_among_groups_of_digits_is_the_example() -> None:
    frame = made_cities.frame()
    frame["gdp"] = (1000 * frame["gdp"].abs() + 1000).map("{:,.2f}".format)
    frame.loc[frame.index[8], "gdp"] = "1,234.56*"
    assert any("gdp holds text, such as '1,234.56*'" in line for line in questions_in(propose_spec(frame, "panel.csv")))


def test_names_and_dates_are_no_numbers_beside_signs() -> None:
    frame = made_cities.frame().assign(note=lambda t: "n" + t["road"].round(2).astype(str),
                                       day=lambda t: t["year"].map("{}-03-".format) + "01")  # fmt: skip
    assert not [line for line in questions_in(propose_spec(frame, "panel.csv")) if "holds text" in line]


@pytest.mark.parametrize(("name", "value"), [("y", "7..3"), ("d", "l")])
def test_a_slip_of_one_cell_takes_no_role_away_and_is_asked_about(name: str, value: str) -> None:
    frame = with_cell(name, value)
    look = look_at(frame, "panel.csv")
    assert (look.outcome, look.treatment) == ("y", "d")
    (problem,) = look.faulty
    assert problem.what == f"holds '{value}'"
    assert f"column '{name}'" in problem.where


def test_coordinates_with_signs_are_asked_about() -> None:
    frame = made_cities.frame().assign(lat=lambda t: t["lat"].map("{}°N".format))
    asked = questions_in(propose_spec(frame, "panel.csv"))
    assert sum("longitude, latitude: lat holds text" in line and "no degrees" in line for line in asked) == 1


def test_means_of_rows_are_asked_about_and_variables_in_rows_are_told_from_individuals() -> None:
    frame = made_cities.frame()[["city", "year", "y", "road", "book"]]
    long = frame.melt(["city", "year"], var_name="series")
    asked = questions_in(propose_spec(long, "panel.csv"))
    assert f"[collapse]: are the {len(long)} rows individuals, of which {len(frame)} means are taken?" in asked
    assert any("one row of 'y', 'road', 'book' in series: if these are variables, make a column of each" in line
               for line in asked)  # fmt: skip
    people = pd.concat([frame, frame.assign(y=frame["y"] + 1)]).assign(note=lambda t: t["y"].map("{:.4f}!".format))
    assert not [line for line in questions_in(propose_spec(people, "panel.csv")) if "make a column of each" in line]
