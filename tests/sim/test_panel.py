"""Panels: valid or not constructed, read-only, and told apart by a digest."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from refusals import refuses

from estimators import DCDH, TwoWayDID
from references.small_panels import names, small_panel, small_weights
from sim import Panel, Roles
from sim.panel_files import Rows, kind_of_treatment, read_table
from sim.schema import absent_periods, uneven_code


def test_sizes_roles_and_observed_cells() -> None:
    panel = small_panel(24, 7, replications=3)
    assert (panel.replications, panel.nobs, panel.balanced) == (3, 168, True)
    assert panel.roles.regressors == ("did", "inv", "road")
    schema = panel.schema
    assert (schema.units, schema.periods, schema.weights) == (24, 7, ("knn",))
    assert schema.require("inv", "test") == "inv"
    refuses("did you mean 'road'", lambda: schema.require("roda", "test"))
    seen = np.ones((3, 7, 24), dtype=bool)
    seen[0, 2, 5:8] = seen[1, 0, 0] = False
    assert replace(small_panel(24, 7, replications=3), observed=seen).nobs == 165
    x = np.zeros((1, 2, 3))
    x[0, 1, 2] = np.nan
    panel = Panel(("a", "b", "c"), (2001, 2002), {"x": x}, observed=np.isfinite(x))
    assert panel.nobs == 5


def test_a_card_shows_the_spread_over_n_less_one() -> None:
    panel = Panel(("a", "b"), (1, 2), {"y": np.array([[[1.0, 2.0], [3.0, 4.0]]])})
    assert ">1.291<" in panel._repr_html_()  # the root of 5/3


def test_arrays_are_read_only() -> None:
    panel = small_panel()
    with pytest.raises(ValueError, match="read-only"):
        panel.variables["y"][0, 0, 0] = 1.0
    seen = small_panel(missing=2).observed
    assert seen is not None
    with pytest.raises(ValueError, match="read-only"):
        seen[0, 0, 0] = False
    with pytest.raises(TypeError):
        panel.variables["y"] = np.zeros(1)  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        panel.units = ()  # type: ignore[misc]


def test_one_replication_and_more_variables_or_weights_touch_nothing_else() -> None:
    panel = small_panel(replications=4)
    one = panel.replication(2)
    assert one.replications == 1
    np.testing.assert_array_equal(one.variables["y"][0], panel.variables["y"][2])
    assert one.variables["did"] is panel.variables["did"]
    assert one.weights is panel.weights
    panel = small_panel()
    more = panel.with_variables({"z": np.zeros((1, 6, 30))})
    assert {"z"} == set(more.schema.variables) - set(panel.schema.variables)
    assert more.digest != panel.digest
    assert more.schema.roles == panel.schema.roles
    assert tuple(panel.with_weights("again", small_weights(30, "contiguity")).weights) == ("knn", "again")


OTHER_ROLES: list[dict[str, Any]] = [
    {"weight": "inv"}, {"instruments": ("inv",)}, {"instruments": ("road",)}, {"continuous": True},
]  # that a Roles does not show  # fmt: skip


def test_digest_covers_labels_roles_numbers_mask_and_weights() -> None:
    panel = small_panel()
    y = np.array(panel.variables["y"])
    y[0, 3, 3] = np.nextafter(y[0, 3, 3], 9.0)
    mask = np.ones((1, 6, 30), dtype=bool)
    mask[0, 2, 2] = False
    others = [
        replace(panel, periods=tuple(range(2002, 2008))),
        replace(panel, roles=Roles("y", "did", ("inv",))),
        *(replace(panel, roles=replace(panel.roles, **role)) for role in OTHER_ROLES),
        replace(panel, attributes={"province": np.array(["x"] * 30)}),
        replace(panel, weights={}),
        replace(panel, observed=mask),
        panel.with_variables({"y": y}),
    ]
    digests = {panel.digest, *(other.digest for other in others)}
    assert len(digests) == 7 + len(OTHER_ROLES)
    assert small_panel().digest == panel.digest == pickle.loads(pickle.dumps(panel)).digest
    assert panel.digest[:12] in repr(panel)


UNITS, PERIODS = ("a", "b", "c"), (2001, 2002)
FAULTY: dict[str, Callable[[], object]] = {
    r"'x' has shape \(2, 3\)": lambda: Panel(UNITS, PERIODS, {"x": np.zeros((2, 3))}),
    r"allowed: \(R, 2, 3\)": lambda: Panel(UNITS, PERIODS, {"x": np.zeros((1, 3, 2))}),
    "'x' is inf": lambda: Panel(UNITS, PERIODS, {"x": np.full((1, 2, 3), np.inf)}),
    "unit b, period 2002; variable 'x' is nan":
        lambda: Panel(UNITS, PERIODS, {"x": np.array([[[0.0, 0, 0], [0, np.nan, 0]]])}),
    "numbers of replications differ":
        lambda: Panel(UNITS, PERIODS, {"x": np.zeros((2, 2, 3)), "z": np.zeros((3, 2, 3))}),
    r"'observed' has shape \(1, 3, 2\)": lambda: Panel(UNITS, PERIODS, {}, observed=np.ones((1, 3, 2), dtype=bool)),
    "variable 'x' holds object; allowed: numbers": lambda: Panel(UNITS, PERIODS, {"x": np.full((1, 2, 3), None)}),
    "unit c, period 2002; variable 'x' is nan":
        lambda: Panel(UNITS, PERIODS, {"x": np.ma.masked_greater(np.arange(6).reshape(1, 2, 3), 4)}),
    "units are empty or repeat": lambda: Panel(("a", "b", "a"), PERIODS, {}),
    "periods are empty or repeat": lambda: Panel(UNITS, (2001, 2001), {}),
    "attribute 'region' has shape": lambda: Panel(UNITS, PERIODS, {}, attributes={"region": np.array(["e"])}),
    "another order": lambda: small_panel().with_weights("shuffled", small_weights(30).reordered(names(30)[::-1])),
}  # fmt: skip


@pytest.mark.parametrize("words", FAULTY)
def test_faulty_panels_are_refused(words: str) -> None:
    refuses(words, FAULTY[words])


@pytest.mark.parametrize("kind", ["u1", "i4", "f4", "?"])
def test_numbers_of_every_type_are_told_as_they_are(kind: str) -> None:
    """Differences of unsigned numbers wrap around, and numpy refuses to take means out of whole ones."""
    did = np.outer(np.arange(6) > 2, np.arange(9) < 4)[None]
    y = np.random.default_rng(1).integers(0, 2 if kind == "?" else 99, (1, 6, 9))
    given = ({"y": y.astype(kind), "did": did.astype(kind)}, {"y": y.astype(float), "did": did.astype(float)})
    panels = [Panel(tuple("abcdefghi"), tuple(range(6)), each, Roles("y", "did")) for each in given]
    for estimator in (DCDH(), TwoWayDID()):
        typed, plain = (estimator(panel).estimate for panel in panels)
        np.testing.assert_array_equal(typed, plain)
    seen = np.arange(6).reshape(1, 2, 3)
    assert Panel(UNITS, PERIODS, {"x": seen}, observed=seen.astype(kind)).nobs == 5


# Panels from long tables


CITIES = ("北京市", "上海市", "广州市")
YEARS = (2006, 2007, 2008)
ROLES = Roles("y", "eip", ("x",))


def table() -> pd.DataFrame:
    """Three cities, three years; the second is treated from 2007 on."""
    rows = [(city, year) for city in CITIES for year in YEARS]
    frame = pd.DataFrame(rows, columns=["city", "year"])
    frame["y"] = np.arange(9.0)
    frame["x"] = np.arange(9.0) ** 2
    frame["eip"] = [int(city == "上海市" and year >= 2007) for city, year in rows]
    frame["region"] = frame["city"].map({"北京市": "north", "上海市": "east", "广州市": "south"})
    frame["lon"] = frame["city"].map({"北京市": 116.4, "上海市": 121.5, "广州市": 113.3})
    frame.attrs = {"file": "panel.csv", "first_row": 2}
    return frame


def read(frame: pd.DataFrame, **more: Any) -> Panel:
    return Panel(**read_table(frame, **({"unit": "city", "period": "year", "roles": ROLES} | more)).parts)


def test_arrays_are_time_major_with_units_in_the_tables_order() -> None:
    panel = read(table(), attributes={"longitude": "lon", "region": "region"})
    assert (panel.units, panel.periods, panel.roles) == (CITIES, YEARS, Roles("y", "did", ("x",)))
    assert panel.variables["y"].shape == (1, 3, 3)
    np.testing.assert_array_equal(panel.variables["y"][0], np.arange(9.0).reshape(3, 3).T)
    np.testing.assert_array_equal(panel.variables["did"][0, :, 1], [0, 1, 1])
    assert panel.attributes["region"].tolist() == ["north", "east", "south"]
    assert panel.attributes["longitude"].tolist() == [116.4, 121.5, 113.3]
    assert panel.balanced
    assert panel.observed is None


def test_absent_rows_are_unobserved_whatever_the_order_of_rows() -> None:
    frame = table()
    assert read(frame.sort_values("year", ascending=False, kind="stable")).digest == read(frame).digest
    panel = read(frame.drop(index=4))
    assert panel.observed is not None
    assert not panel.observed[0, 1, 1]
    assert panel.nobs == 8
    assert np.isnan(panel.variables["y"][0, 1, 1])


def test_rows_with_missing_values_can_be_left_out_with_a_count_and_units_and_periods_with_them() -> None:
    frame = table()
    frame.loc[0, "x"] = np.nan
    frame.loc[[0, 5], "y"] = np.nan
    found = read_table(frame, unit="city", period="year", roles=ROLES, missing="drop")
    assert (dict(found.dropped), found.absent, Panel(**found.parts).nobs) == ({"y": 2}, 2, 7)
    frame = table()
    frame.loc[frame["city"] == "北京市", "x"] = np.nan
    frame.loc[frame["year"] == 2006, "y"] = np.nan
    found = read_table(frame, unit="city", period="year", roles=ROLES, missing="drop")
    panel = Panel(**found.parts)
    assert (panel.units, panel.periods, found.order) == (CITIES[1:], (2007, 2008), CITIES)
    assert panel.balanced


def test_without_roles_every_numeric_column_is_a_variable() -> None:
    panel = Panel.from_frame(table(), unit="city", period="year")
    assert tuple(panel.variables) == ("y", "x", "eip", "lon")


def test_numbers_come_as_texts_booleans_and_nullable_integers_too_and_codes_are_labels() -> None:
    frame = table()
    frame["eip"] = frame["eip"].astype(bool)
    frame["x"] = frame["x"].astype("Int64")
    frame["y"] = frame["y"].map(lambda value: f" {value} ")
    assert read(frame).digest == read(table()).digest
    frame["city"] = frame["city"].map({"北京市": 110000.0, "上海市": 310000.0, "广州市": 440100.0})
    assert read(frame).units == ("110000", "310000", "440100")
    for values, wanted in (([True, "partly", False], ["True", "partly", "False"]), ([True] * 3, [True] * 3)):
        frame = table().assign(coastal=np.repeat(np.array(values, dtype=object), 3))
        assert read(frame, attributes=["coastal"]).attributes["coastal"].tolist() == wanted


def set_cell(row: int, column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return change


def repeat(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.loc[[*frame.index, 4]].reset_index(drop=True)


def constant(column: str, value: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.assign(**{column: value})


MALFORMED: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], dict[str, Any], list[str]]] = {
    "misspelt column": (lambda f: f, {"roles": Roles("y", "epi", ("x",))},
                        ["no column 'epi'", "panel.csv, variable 'did'", "did you mean 'eip'?"]),
    "two missing columns": (lambda f: f, {"unit": "town", "period": "yaer"}, ["'town'", "'yaer'", "mean 'year'?"]),
    "repeated unit-period": (repeat, {},
                             ["1 unit-period has more than one row: 上海市 in 2007", "one row per unit and period"]),
    "text in a control": (set_cell(4, "x", "n/a?"), {}, ["holds 'n/a?'", "column 'x', unit 上海市, 2007 (row 6)"]),
    "thousands separator": (set_cell(2, "y", "1,234"), {}, ["holds '1,234'", "unit 北京市, 2008 (row 4)", "numbers"]),
    "infinity": (set_cell(1, "x", np.inf), {}, ["is infinite in 1 row", "北京市, 2007", "finite numbers"]),
    "no square": (set_cell(1, "x", -1e300), {},
                  ["is as large as 1e+300", "北京市, 2007", "numbers up to 1e+100 in size"]),
    "squares of nothing": (lambda f: f.assign(y=f["y"] * 1e-200), {}, ["is as small as", "in another unit"]),
    "texts alone": (lambda f: f.assign(eip="no"), {}, ["holds 'no' and 8 more such cells", "a number in [recode]"]),
    "gap in a control": (set_cell(8, "x", None), {}, ["missing in 1 row", "广州市, 2008", 'missing = "drop"']),
    "gap in the outcome": (set_cell(0, "y", " "), {}, ["column 'y'", "missing in 1 row", "北京市, 2006"]),
    "fractional period": (set_cell(3, "year", 2006.5), {}, ["the period is 2006.5", "row 5", "whole numbers"]),
    "period in words": (set_cell(3, "year", "2006年"), {},
                        ["the period is '2006年'", "unit 上海市", "years = true in [read]"]),
    "period as a date": (lambda f: f.assign(year=pd.to_datetime("2006-01-01")), {}, ["the period is 2006-01-01"]),
    "no unit": (set_cell(5, "city", None), {}, ["the unit is missing in 1 row", "row 7"]),
    "treatment of two": (set_cell(8, "eip", 2), {}, ["the treatment is 2", "广州市, 2008", "0 or 1"]),
    "treatment switches off": (set_cell(5, "eip", 0), {}, ["switches off", "上海市, 2008", "absorbing"]),
    "treatment switches off in a gap": (lambda f: set_cell(3, "eip", 1)(set_cell(5, "eip", 0)(f)).drop(4), {},
                                        ["switches off", "上海市, 2008", "absorbing"]),
    "nobody treated": (constant("eip", 0), {}, ["nobody is treated", "column 'eip'"]),
    "everybody treated": (constant("eip", 1), {}, ["everybody is always treated"]),
    "one period": (lambda f: f[f["year"] == 2007], {}, ["3 units and 1 period", "two or more of each"]),
    "one unit": (lambda f: f[f["city"] == "上海市"], {}, ["1 unit and 3 periods"]),
    "each row a unit": (lambda f: f.assign(city=[f"c{i}" for i in range(9)]), {}, ["seen in one period only"]),
    "attribute varies": (set_cell(1, "region", "south"), {"attributes": ["region"]},
                         ["varies within the unit 北京市: north, south", "column 'region'"]),
    "attribute missing": (lambda f: f.assign(lon=f["lon"].where(f["city"] != "广州市")), {"attributes": ["lon"]},
                          ["missing for units 广州市", "a value for every unit"]),
    "column used twice": (lambda f: f, {"roles": Roles("y", "eip", ("x", "y"))}, ["column 'y' is used twice"]),
    "unit is a control": (lambda f: f, {"roles": Roles("y", "eip", ("year",))}, ["column 'year' is used twice"]),
    "another column called did": (lambda f: f.assign(did=f["x"]), {"roles": Roles("y", "eip", ("did",))},
                                  ["column 'did' is not the treatment"]),
    "nothing complete": (lambda f: f.assign(x=np.nan), {"missing": "drop"}, ["no row is complete"]),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_panel_is_refused_with_the_place_and_the_remedy(case: str) -> None:
    change, settings, texts = MALFORMED[case]
    frame = change(table())
    frame.attrs = {"file": "panel.csv", "first_row": 2}
    raised = refuses(".", read, frame, **settings)
    assert all(text in str(raised) for text in texts), raised
    for problem in raised.problems:
        assert problem.where.startswith("panel.csv")
        assert "" not in (problem.what, problem.allowed, problem.remedy)


def test_four_values_beside_0_and_1_are_slips_and_five_are_none() -> None:
    did = np.zeros((3, 10))
    did[2] = 1.0
    did[1, :4] = 0.5
    assert kind_of_treatment(did) == "absorbing"
    did[1, 4] = 0.5
    assert kind_of_treatment(did) == "continuous"


def test_all_bad_columns_are_named_at_once() -> None:
    frame = set_cell(1, "x", "?")(set_cell(0, "y", "?")(table()))
    refuses(".", read, frame, count=2)


def test_every_role_is_kept() -> None:
    frame = table().assign(m=1.0 + np.arange(9.0), z=np.arange(9.0) % 4, people=2.0)
    roles = Roles("y", "eip", ("x",), ("m",), instruments=("z",), weight="people")
    panel = Panel.from_frame(frame, unit="city", period="year", roles=roles)
    assert panel.roles == Roles("y", "did", ("x",), ("m",), instruments=("z",), weight="people")
    assert set(panel.variables) == {"y", "did", "x", "m", "z", "people"}
    np.testing.assert_array_equal(panel.variables["z"][0].T.ravel(), frame["z"])


def test_annual_periods_of_pandas_are_their_years() -> None:
    frame = table()
    frame["year"] = pd.PeriodIndex(frame["year"].astype(str), freq="Y")
    assert read(frame).periods == YEARS
    frame["year"] = pd.PeriodIndex(frame["year"].astype(str) + "Q1", freq="Q")
    refuses("2006Q1", lambda: read(frame))


# Periods that code months, quarters or days, and those that only look a little like it


MONTHS = [year * 100 + month for year in (2019, 2020) for month in range(1, 13)]
TWO_DIGITS = "years of two digits on both sides of a century"
UNEVEN = {
    "months": (MONTHS, "years and months", "201901 is 24229"),
    "months with gaps": ([201911, 201912, 202002], "years and months", "201911 is 24239"),
    "quarters": ([20191, 20192, 20193, 20194, 20201], "years and quarters", "20191 is 8077"),
    "quarters in two digits": ([201902, 201903, 201904, 202001], "years and quarters", "201902 is 8078"),
    "half-years": ([20191, 20192, 20201, 20202], "years and half-years", "20191 is 4039"),
    "years of two digits": ([95, 96, 97, 98, 99, 0, 1, 2, 3, 4, 5, 6], TWO_DIGITS, "1999 and 2000"),
    "years of two digits, one of them absent": ([96, 98, 99, 0, 1], TWO_DIGITS, "1999 and 2000"),
    "two years of two digits": ([99, 0], TWO_DIGITS, "1999 and 2000"),
    "first days of months": ([20190101, 20190201, 20190301], "years, months and days", "1, 2, 3"),
}
EVEN = {
    "years": list(range(2005, 2020)),
    "years with gaps": [1980, 1985, 2000],
    "numbers": list(range(1, 25)),
    "months of one year": [201901, 201902, 201903, 201906],
    "the same month of several years": [200012, 200112, 200312],
    "months thirteen apart": [201901, 202002, 202103],
    "two months": [201901, 202006],
    "quarters of one year": [20191, 20192, 20193],
    "days of one month": [20190105, 20190106, 20190109],
    "the last days of years": [20181231, 20191231, 20201231],
    "months since 1960": list(range(708, 732)),
    "numbers across a hundred": [201911, 201912, 201913, 202001],
    "no year": [990101, 990212, 990301],
    "years of two digits in one century": list(range(95, 100)),
    "months of a trial": [0, 12, 24, 36, 48, 60, 72, 84, 96],
    "days before and after": [0, 90],
    "numbers up to a hundred": list(range(100)),
    "one": [201901],
    "one that could be a day": [43830],
    "none": [],
    "below zero": [-201912, -201911, 0],
}


@pytest.mark.parametrize("name", UNEVEN)
def test_codes_that_run_unevenly_are_named_with_a_numbering(name: str) -> None:
    periods, looks, example = UNEVEN[name]
    code = uneven_code(np.array(periods, dtype=np.int64))
    assert code is not None
    assert code[0] == looks
    assert example in code[1]


@pytest.mark.parametrize("name", EVEN)
def test_numbers_that_run_evenly_are_no_code(name: str) -> None:
    assert uneven_code(np.array(EVEN[name], dtype=np.int64)) is None


def test_periods_that_lack_are_told_in_the_panels_own_steps() -> None:
    assert absent_periods([2000, 2001, 2003, 2006]) == ["2002", "2004-2005"]
    assert absent_periods([2000, 2002, 2006, 2008, 2014]) == ["2004", "2010-2012"]


def test_a_table_of_months_is_refused_in_one_line() -> None:
    frame = pd.DataFrame({"city": np.repeat(["a", "b"], len(MONTHS)), "month": MONTHS * 2})
    words = "column 'month'; the periods 201901 to 202012 look like years and months"
    refuses(words, Rows.of, frame, "city", "month")
    assert Rows.of(frame[frame["month"] <= 201906], "city", "month").years.max() == 201906
