"""Panels from long tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from long_tables import panel_from_frame

from sim.errors import BadInput
from sim.panel import Panel
from sim.panel_files import kind_of_treatment, read_table
from sim.schema import Roles

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
    return panel_from_frame(frame, **({"unit": "city", "period": "year", "roles": ROLES} | more))


def test_arrays_are_time_major_with_units_in_the_tables_order() -> None:
    panel = read(table(), attributes={"longitude": "lon", "region": "region"})
    assert panel.units == CITIES
    assert panel.periods == YEARS
    assert panel.roles == Roles("y", "did", ("x",))
    assert panel.variables["y"].shape == (1, 3, 3)
    np.testing.assert_array_equal(panel.variables["y"][0], np.arange(9.0).reshape(3, 3).T)
    np.testing.assert_array_equal(panel.variables["did"][0, :, 1], [0, 1, 1])
    assert panel.attributes["region"].tolist() == ["north", "east", "south"]
    assert panel.attributes["longitude"].tolist() == [116.4, 121.5, 113.3]
    assert panel.balanced
    assert panel.observed is None


def test_the_order_of_rows_within_units_does_not_matter() -> None:
    frame = table()
    shuffled = frame.sort_values("year", ascending=False, kind="stable")
    assert read(shuffled).digest == read(frame).digest


def test_absent_rows_are_unobserved_and_hold_nan() -> None:
    frame = table().drop(index=4)
    panel = read(frame)
    assert panel.observed is not None
    assert not panel.observed[0, 1, 1]
    assert panel.nobs == 8
    assert np.isnan(panel.variables["y"][0, 1, 1])


def test_rows_with_missing_values_can_be_left_out_with_a_count() -> None:
    frame = table()
    frame.loc[0, "x"] = np.nan
    frame.loc[[0, 5], "y"] = np.nan
    found = read_table(frame, unit="city", period="year", roles=ROLES, missing="drop")
    assert dict(found.dropped) == {"y": 2}
    assert found.absent == 2
    assert Panel(**found.parts).nobs == 7


def test_units_and_periods_without_a_complete_row_go() -> None:
    frame = table()
    frame.loc[frame["city"] == "北京市", "x"] = np.nan
    frame.loc[frame["year"] == 2006, "y"] = np.nan
    found = read_table(frame, unit="city", period="year", roles=ROLES, missing="drop")
    panel = Panel(**found.parts)
    assert panel.units == CITIES[1:]
    assert panel.periods == (2007, 2008)
    assert panel.balanced
    assert found.order == CITIES


def test_without_roles_every_numeric_column_is_a_variable() -> None:
    panel = Panel.from_frame(table(), unit="city", period="year")
    assert tuple(panel.variables) == ("y", "x", "eip", "lon")


def test_numbers_come_as_texts_booleans_and_nullable_integers_too() -> None:
    frame = table()
    frame["eip"] = frame["eip"].astype(bool)
    frame["x"] = frame["x"].astype("Int64")
    frame["y"] = frame["y"].map(lambda value: f" {value} ")
    assert read(frame).digest == read(table()).digest


def test_codes_are_labels_without_a_decimal_point() -> None:
    frame = table()
    frame["city"] = frame["city"].map({"北京市": 110000.0, "上海市": 310000.0, "广州市": 440100.0})
    assert read(frame).units == ("110000", "310000", "440100")


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
    "repeated unit-period": (repeat, {}, ["上海市 in 2007", "more than one row", "one row per unit and period"]),
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
    with pytest.raises(BadInput) as caught:
        read(frame, **settings)
    message = str(caught.value)
    assert all(text in message for text in texts), message
    for problem in caught.value.problems:
        assert problem.where.startswith("panel.csv")
        assert problem.what
        assert problem.allowed
        assert problem.remedy


def test_four_values_beside_0_and_1_are_slips_and_five_are_none() -> None:
    did = np.zeros((3, 10))
    did[2] = 1.0
    did[1, :4] = 0.5
    assert kind_of_treatment(did) == "absorbing"
    did[1, 4] = 0.5
    assert kind_of_treatment(did) == "continuous"


def test_all_bad_columns_are_named_at_once() -> None:
    frame = set_cell(1, "x", "?")(set_cell(0, "y", "?")(table()))
    with pytest.raises(BadInput) as caught:
        read(frame)
    assert len(caught.value.problems) == 2


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
    with pytest.raises(BadInput, match="2006Q1"):
        read(frame)
