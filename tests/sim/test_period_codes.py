"""Periods that code months, quarters or days, and those that only look a little like it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sim.errors import BadInput
from sim.panel_files import Rows
from sim.schema import absent_periods, uneven_code

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
    with pytest.raises(BadInput, match=r"column 'month'; the periods 201901 to 202012 look like years and months") as e:
        Rows.of(frame, "city", "month")
    assert "\n" not in str(e.value)
    assert Rows.of(frame[frame["month"] <= 201906], "city", "month").years.max() == 201906
