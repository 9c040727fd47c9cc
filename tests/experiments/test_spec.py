"""SPEC.toml and the panels that it describes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from estimators.did import TwoWayDID
from estimators.spatial import SpatialPanel
from experiments.example_panel import EXAMPLE_SPEC, example_frame
from experiments.spec import Spec, balanced, load_panel, read_real_panel, read_spec
from sim.errors import BadInput
from sim.streams import Streams

PANEL = '[panel]\nunit = "city"\nperiod = "year"\noutcome = "y"\n'


def frame() -> pd.DataFrame:
    """Six cities on the equator, four years; two are treated, from 2007 and 2008 on."""
    start = {"城1": 2007, "城2": 2008}
    rows = [(f"城{i}", year) for i in range(6) for year in range(2005, 2009)]
    table = pd.DataFrame(rows, columns=["city", "year"])
    draws = np.random.default_rng(1).normal(size=(24, 3))
    table["y"], table["x"], table["gdp"] = draws[:, 0], draws[:, 1], np.exp(draws[:, 2])
    table["eip"] = [int(year >= start.get(city, 9999)) for city, year in rows]
    table["eip_year"] = [start.get(city) for city, _ in rows]
    table["second"] = [int(city == "城4" and year >= 2006) for city, year in rows]
    table["lon"] = [float(city[1]) for city, _ in rows]
    table["lat"] = 0.0
    table["region"] = ["east" if city < "城3" else "west" for city, _ in rows]
    table["is_capital"] = [int(city == "城0") for city, _ in rows]
    return table


def spec_of(folder: Path, text: str) -> Spec:
    (folder / "spec.toml").write_text(text, encoding="utf-8")
    return read_spec(folder / "spec.toml")


def panel_file(folder: Path, table: pd.DataFrame | None = None) -> Path:
    (frame() if table is None else table).to_csv(folder / "panel.csv", index=False)
    return folder / "panel.csv"


def test_everything_that_a_spec_names(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, PANEL + """
        treatment = "eip"
        controls = ["x"]
        mediators = ["ln_gdp"]
        other_policy = "second"
        capital = "is_capital"
        groups = ["region"]
        cluster = "city"
        longitude = "lon"
        latitude = "lat"
        [transform]
        ln_gdp = { log = "gdp" }
        [[weights]]
        kind = "knn"
        k = 2
        [[weights]]
        kind = "band"
        km = 300
        standardize = "spectral"
    """)  # fmt: skip
    panel = load_panel(panel_file(tmp_path), spec)
    assert panel.roles.outcome == "y"
    assert panel.roles.treatment == "did"
    assert panel.roles.mediators == ("ln_gdp",)
    assert tuple(panel.variables) == ("y", "did", "x", "ln_gdp", "second")
    assert panel.attributes["capital"].tolist() == [True] + [False] * 5
    assert set(panel.attributes) == {"capital", "longitude", "latitude", "region"}
    assert tuple(panel.weights) == ("knn-2", "band-300")
    assert panel.weights["band-300"].standardize == "spectral"
    np.testing.assert_allclose(np.exp(panel.variables["ln_gdp"][0].T.ravel()), frame()["gdp"])


def test_the_example_runs_through_the_estimators(tmp_path: Path) -> None:
    panel = load_panel(panel_file(tmp_path, example_frame()), spec_of(tmp_path, EXAMPLE_SPEC))
    assert (len(panel.units), len(panel.periods)) == (285, 18)
    assert panel.balanced
    for estimator in (TwoWayDID(errors=("cluster:unit", "cluster:region")), SpatialPanel("sdm", "direct")):
        found = estimator(panel, Streams(1))
        assert found.status[0] == 1
        assert abs(found.estimate[0, 0] - 0.0128) < 0.01


def test_a_single_weights_table_and_a_file_beside_the_spec(tmp_path: Path) -> None:
    links = [f"城{i},城{(i + step) % 6}" for i in range(6) for step in (1, 5)]
    (tmp_path / "ring.csv").write_text("focal,neighbor\n" + "\n".join(links), encoding="utf-8")
    spec = spec_of(tmp_path, PANEL + '[weights]\nkind = "file"\npath = "ring.csv"\n')
    panel = load_panel(panel_file(tmp_path), spec)
    assert panel.weights["ring"].dense[0].tolist() == [0, 0.5, 0, 0, 0, 0.5]
    assert panel.roles.treatment is None
    assert panel.roles.controls == ()


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ('kind = "knn"\nk = 3', "knn-3"),
        ('kind = "inverse-distance"\npower = 2', "inverse-distance"),
        ('kind = "band"\nkm = 150.5', "band-150.5"),
        ('kind = "economic"\nvariable = "gdp"', "economic"),
        ('kind = "nested"\nvariable = "gdp"\nname = "both"', "both"),
    ],
)
def test_kinds_of_weights(tmp_path: Path, table: str, name: str) -> None:
    spec = spec_of(tmp_path, PANEL + f'longitude = "lon"\nlatitude = "lat"\n[[weights]]\n{table}\n')
    panel = load_panel(panel_file(tmp_path), spec)
    assert tuple(panel.weights) == (name,)
    assert panel.weights[name].row_stochastic


def test_first_treated_equals_the_treatment(tmp_path: Path) -> None:
    path = panel_file(tmp_path)
    dummy = load_panel(path, spec_of(tmp_path, PANEL + 'treatment = "eip"\n'))
    first = load_panel(path, spec_of(tmp_path, PANEL + 'first_treated = "eip_year"\n'))
    assert first.digest == dummy.digest
    zero = panel_file(tmp_path, frame().fillna({"eip_year": 0}))  # 0 is how several programs write "never"
    assert load_panel(zero, spec_of(tmp_path, PANEL + 'first_treated = "eip_year"\n')).digest == dummy.digest


def test_functions_of_columns(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, PANEL + """
        controls = ["a", "b", "c", "d", "e"]
        [transform]
        a = { log1p = "gdp" }
        b = { ratio = ["x", "gdp"] }
        c = { square = "x" }
        d = { scale = ["a", 100] }
        e = { difference = "x" }
    """)  # fmt: skip
    reading = read_real_panel(panel_file(tmp_path), spec)
    panel, table = reading.panel, frame().query("year > 2005")
    assert panel.periods == (2006, 2007, 2008)  # a difference has no first period
    assert reading.notes == ("2005 left out: lags and differences have no value there.",)
    values = {name: panel.variables[name][0].T.ravel() for name in "abcde"}
    np.testing.assert_allclose(values["a"], np.log1p(table["gdp"]))
    np.testing.assert_allclose(values["b"], table["x"] / table["gdp"])
    np.testing.assert_allclose(values["c"], table["x"] ** 2)
    np.testing.assert_allclose(values["d"], 100 * values["a"])
    np.testing.assert_allclose(values["e"], frame().groupby("city")["x"].diff().dropna())


def test_a_lag_never_crosses_units_or_gaps(tmp_path: Path) -> None:
    table = frame().drop(index=[5])  # city 1 in 2006
    spec = spec_of(tmp_path, PANEL + 'missing = "drop"\ncontrols = ["before"]\n[transform]\nbefore = { lag = "x" }\n')
    reading = read_real_panel(panel_file(tmp_path, table), spec)
    panel = reading.panel
    assert panel.observed is not None
    gone = [(panel.units[i], panel.periods[t]) for t, i in np.argwhere(~panel.observed[0])]
    assert gone == [("城1", 2006), ("城1", 2007)]
    assert panel.variables["before"][0, 0, 0] == table["x"][0]


GAPS = (
    PANEL
    + 'controls = ["x"]\nmissing = "drop"\nlongitude = "lon"\nlatitude = "lat"\n[[weights]]\nkind = "knn"\nk = 2\n'
)


def test_rows_left_out_are_counted_and_named(tmp_path: Path) -> None:
    table = frame()
    table.loc[table["city"] == "城5", "x"] = np.nan
    table.loc[0, "y"] = np.nan
    reading = read_real_panel(panel_file(tmp_path, table), spec_of(tmp_path, GAPS))
    assert reading.notes == (
        "5 rows with missing values left out (by column: y 1, x 4).",
        "1 units without a complete row left out: 城5.",
        "Unbalanced: 1 of 20 unit-periods are not observed.",
    )
    assert reading.panel.weights["knn-2"].units == reading.panel.units
    assert len(reading.order) == 6


def test_balance_drops_units_with_a_new_w_or_periods_or_says_what_is_missing(tmp_path: Path) -> None:
    table = frame().drop(index=[6])  # city 1 in 2007
    spec = spec_of(tmp_path, GAPS)
    reading = read_real_panel(panel_file(tmp_path, table), spec)
    by_unit = balanced(reading.panel, "drop-units", spec)
    assert by_unit.units == ("城0", "城2", "城3", "城4", "城5")
    assert by_unit.balanced
    assert by_unit.weights["knn-2"].dense[0].tolist() == [0, 0.5, 0.5, 0, 0]
    assert reading.balanced("drop-units").digest == by_unit.digest
    by_period = reading.balanced("drop-periods")
    assert by_period.periods == (2005, 2006, 2008)
    assert by_period.weights["knn-2"].digest == reading.panel.weights["knn-2"].digest
    with pytest.raises(BadInput, match=r"1 unit-periods are missing: 城1 in 2007.*drop-units"):
        reading.balanced()
    with pytest.raises(BadInput, match="W is for other units"):
        balanced(reading.panel, "drop-units")


def test_a_matrix_in_the_files_order_survives_the_loss_of_units(tmp_path: Path) -> None:
    table = frame()
    table.loc[table["city"] == "城1", "x"] = np.nan
    table.loc[23, "x"] = np.nan
    w = np.arange(36.0).reshape(6, 6)
    np.fill_diagonal(w, 0)
    np.save(tmp_path / "w.npy", w)
    text = (
        PANEL + 'controls = ["x"]\nmissing = "drop"\n[[weights]]\nkind = "file"\npath = "w.npy"\nstandardize = "none"\n'
    )
    reading = read_real_panel(panel_file(tmp_path, table), spec_of(tmp_path, text))
    kept = [0, 2, 3, 4, 5]
    np.testing.assert_array_equal(reading.panel.weights["w"].dense, w[np.ix_(kept, kept)])
    np.testing.assert_array_equal(reading.balanced("drop-units").weights["w"].dense, w[np.ix_(kept[:-1], kept[:-1])])


def test_subsamples_have_their_own_w(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, GAPS.replace("[[weights]]", 'groups = ["region"]\n[[weights]]'))
    reading = read_real_panel(panel_file(tmp_path), spec)
    east = reading.subset(reading.panel.attributes["region"] == "east")
    assert east.units == ("城0", "城1", "城2")
    np.testing.assert_array_equal(east.weights["knn-2"].dense, (1 - np.eye(3)) / 2)
    assert not reading.subset(np.arange(6) < 2, weights=False).weights


W = 'longitude = "lon"\nlatitude = "lat"\n[[weights]]\n'
WRONG_SPECS: dict[str, tuple[str, list[str]]] = {
    "not TOML": ("[panel\nunit = city", ["spec.toml", "allowed: TOML"]),
    "value without quotes": ("[panel]\nunit = city", ["spec.toml", "line 2", "texts stand in quotes"]),
    "empty": ("", ["the key 'unit' is missing", "the key 'period' is missing", "the key 'outcome' is missing"]),
    "unknown key": (PANEL + 'treatmnt = "eip"\n', ["unknown key 'treatmnt'", "did you mean 'treatment'?"]),
    "unknown section": (PANEL + "[wieghts]\n", ["unknown key 'wieghts'", "did you mean 'weights'?"]),
    "list as text": (PANEL + 'controls = "x"\n', ["controls = 'x'", 'a list in brackets, such as ["a", "b"]']),
    "number in a list": (PANEL + 'controls = ["x", 3]\n', ["controls[1] = 3", "a text in quotes"]),
    "unit as a number": (PANEL.replace('"city"', "3"), ["unit = 3", "a text in quotes"]),
    "empty name": (PANEL + 'treatment = ""\n', ["treatment = ''", "a text in quotes"]),
    "unknown choice": (PANEL + 'missing = "fill"\n', ["missing = 'fill'", 'allowed: "error" or "drop"']),
    "unknown balance": (PANEL + 'balance = "drop"\n', ["balance = 'drop'", '"drop-units"']),
    "two treatments": (PANEL + 'treatment = "eip"\nfirst_treated = "eip_year"\n', ["are both given"]),
    "half a coordinate": (PANEL + 'longitude = "lon"\n', ["longitude and latitude are not both given"]),
    "twice": (PANEL + 'controls = ["x", "y"]\n', ["the column 'y' is used twice"]),
    "weights without kind": (PANEL + "[weights]\nk = 6\n", ["[[weights]] 1", "'kind' is missing", "knn, inverse"]),
    "unknown kind": (PANEL + '[weights]\nkind = "nearest"\n', ["kind = 'nearest'", "economic, nested, file"]),
    "key of another kind": (PANEL + W + 'kind = "knn"\nkm = 6\n', ["[[weights]] 1 (knn)", "unknown key 'km'", "k"]),
    "k as text": (PANEL + W + 'kind = "knn"\nk = "6"\n', ["k = '6'", "a whole number"]),
    "k of zero": (PANEL + W + 'kind = "knn"\nk = 0\n', ["k = 0", "1 or more"]),
    "negative band": (PANEL + W + 'kind = "band"\nkm = -5\n', ["km = -5", "above 0"]),
    "band without km": (PANEL + W + 'kind = "band"\n', ["the key 'km' is missing"]),
    "no coordinates": (PANEL + '[weights]\nkind = "knn"\n', ["knn-6 needs coordinates", "longitude and latitude"]),
    "no such file": (PANEL + '[weights]\nkind = "file"\npath = "w.csv"\n', ["there is no such file", "w.csv"]),
    "same name": (PANEL + W + 'kind = "knn"\n[[weights]]\nkind = "knn"\n', ["two weights are called 'knn-6'"]),
    "transform of nothing": (PANEL + '[transform]\nz = "log y"\n', ["[transform] z", "is 'log y'", '{ log = "y" }']),
    "unknown function": (PANEL + '[transform]\nz = { lg = "y" }\n', ["unknown function 'lg'", "did you mean 'log'?"]),
    "ratio of one": (PANEL + '[transform]\nz = { ratio = ["y"] }\n', ["ratio of two columns", '["a", "b"]']),
    "scale without factor": (PANEL + '[transform]\nz = { scale = "y" }\n', ["scale of a column and a factor"]),
    "transform is the period": (PANEL + '[transform]\nyear = { log = "y" }\n', ["'year' is the unit or the period"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_SPECS)
def test_a_wrong_spec_is_refused_in_the_users_words(tmp_path: Path, case: str) -> None:
    text, expected = WRONG_SPECS[case]
    with pytest.raises(BadInput) as caught:
        spec_of(tmp_path, text)
    message = str(caught.value)
    assert all(part in message for part in expected), message
    assert all(p.what and p.where.startswith("spec.toml") and p.allowed and p.remedy for p in caught.value.problems)
    assert len(message.splitlines()) == len(caught.value.problems)


def test_all_errors_of_a_spec_come_at_once(tmp_path: Path) -> None:
    text = 'unit = 1\n[panel]\nperiod = 3\nmissing = "x"\n[transform]\nz = 1\n[[weights]]\nkind = "knm"\n'
    text += "[robustness]\nlag = 0\n"
    with pytest.raises(BadInput) as caught:
        spec_of(tmp_path, text)
    assert len(caught.value.problems) == 8


def test_a_missing_spec_and_other_encodings(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no such file"):
        read_spec(tmp_path / "none.toml")
    text = PANEL.replace("city", "城市")
    for encoding in ("utf-8-sig", "gb18030"):
        (tmp_path / "spec.toml").write_bytes(text.encode(encoding))
        assert read_spec(tmp_path / "spec.toml").panel.unit == "城市"


WRONG_PANELS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "columns that lack": ('controls = ["xx", "z"]\ncluster = "town"\n', {},
                          ["no column 'xx'", "[panel] controls", "no column 'town'", "[panel] cluster"]),
    "log of zero": ('controls = ["l"]\n[transform]\nl = { log = "gdp" }\n', {"gdp": 0.0},
                    ["log of 0", "column 'gdp', unit 城1, 2006 (row 7)", "values above 0", "log1p"]),
    "ratio to zero": ('[transform]\nl = { ratio = ["y", "x"] }\n', {"x": 0.0}, ["ratio of 0", "城1, 2006"]),
    "transform of text": ('[transform]\nl = { square = "x" }\n', {"x": "-"}, ["holds '-'", "城1, 2006"]),
    "transform of nothing": ('[transform]\nl = { square = "w" }\n', {}, ["no column 'w'", "[transform] l"]),
    "transform over a column": ('[transform]\nx = { square = "y" }\n', {}, ["column 'x' exists already"]),
    "first_treated varies": ('first_treated = "eip_year"\n', {"eip_year": 2006.0}, ["unit 城1 has several"]),
    "first_treated fractional": ('first_treated = "eip_year"\n', {"eip_year": 2006.5}, ["is 2006.5", "城1, 2006"]),
    "capital is a word": ('capital = "region"\n', {}, ["column 'region'", "neither 0 nor 1 for 城0", "0 or 1"]),
    "projected coordinates": (W + 'kind = "knn"\n', {"lon": 500000.0}, ["varies within the unit 城1"]),
    "k too large": (W + 'kind = "knn"\nk = 6\n', {}, ["weights knn-6", "k = 6", "1 to 5"]),
    "islands": (W + 'kind = "band"\nkm = 100\n', {}, ["weights band-100", "units without neighbours: 城0"]),
    "two wrong weights": (W + 'kind = "band"\nkm = 100\n[[weights]]\nkind = "knn"\nk = 9\n', {}, ["band-100", "knn-9"]),
    "wide": ('controls = ["x"]\n', {"city": "城0"}, ["城0 in 2006", "more than one row"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_PANELS)
def test_a_panel_that_does_not_fit_its_spec_is_refused(tmp_path: Path, case: str) -> None:
    text, cells, expected = WRONG_PANELS[case]
    table = frame()
    for column, value in cells.items():
        table[column] = table[column].astype(object)
        table.loc[5, column] = value
    with pytest.raises(BadInput) as caught:
        load_panel(panel_file(tmp_path, table), spec_of(tmp_path, PANEL + text))
    message = str(caught.value)
    assert all(part in message for part in expected), message
    assert all(p.what and p.where and p.allowed and p.remedy for p in caught.value.problems)


def test_the_real_city_panel_with_a_map(tmp_path: Path, shared_data: Path) -> None:
    shutil.copy(shared_data / "prefectures.geojson", tmp_path / "map.geojson")
    places = pd.read_csv(shared_data / "prefectures.csv")[["adcode", "lon_centroid", "lat_centroid"]]
    table = pd.read_csv(shared_data / "city_panel.csv").merge(places, left_on="city_code", right_on="adcode")
    table = table.dropna(subset=["lon_centroid"])
    spec = spec_of(tmp_path, """
        [panel]
        unit = "city_code"
        period = "year"
        outcome = "fiscal_self_suff"
        first_treated = "lowcarbon_year"
        controls = ["ln_gdp", "deposit_gdp"]
        groups = ["region"]
        longitude = "lon_centroid"
        latitude = "lat_centroid"
        [transform]
        ln_gdp = { log = "gdp_100m" }
        [[weights]]
        kind = "contiguity"
        path = "map.geojson"
        unit = "adcode"
        islands = "nearest"
        [[weights]]
        kind = "nested"
        variable = "gdp_100m"
    """)  # fmt: skip
    panel = load_panel(panel_file(tmp_path, table), spec)
    assert len(panel.units) >= 280
    assert tuple(panel.weights) == ("queen", "nested")
    for weights in panel.weights:
        assert SpatialPanel("sar", "direct", weights=weights)(panel, Streams(1)).status[0] == 1
