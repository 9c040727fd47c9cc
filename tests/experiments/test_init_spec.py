"""Specs proposed from a look at a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from estimators.linear.did import TwoWayDID
from experiments.example_panel import example_frame
from experiments.specs.first_spec import look_at, propose_spec
from experiments.specs.spec import load_panel, read_spec
from sim.errors import BadInput
from sim.files import read_frame
from sim.panel import Panel
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


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (pd.DataFrame({"city": ["a", "b"], "y2006": [1.0, 2.0], "y2007": [1.0, 3.0]}), "no two columns identify"),
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
