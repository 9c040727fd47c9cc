"""SPEC.toml and the panels that it describes."""

from __future__ import annotations

import shutil
from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest
from long_tables import load_panel
from six_cities import PANEL, W, frame, panel_file, spec_of

from estimators.linear.did import TwoWayDID
from estimators.spatial.spatial_panel import SpatialPanel
from experiments.panel_spec.first_spec import EXAMPLE_SPEC, example_frame
from experiments.panel_spec.spec import balanced, read_real_panel, read_spec
from sim.errors import BadInput
from sim.streams import Streams


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


def test_units_whose_adoption_falls_into_a_gap_are_said(tmp_path: Path) -> None:
    table = frame()
    year = int(table["eip_year"].dropna().min())
    city = table.loc[table["eip_year"] == year, "city"].iloc[0]
    whole = table.assign(eip=(table["year"] >= table["eip_year"]).astype(int))
    for missing, said in ((year - 1, True), (year, True), (year + 1, False)):
        holes = whole[(whole["city"] != city) | (whole["year"] != missing)]
        notes = read_real_panel(panel_file(tmp_path, holes), spec_of(tmp_path, PANEL + 'treatment = "eip"\n')).notes
        assert any(f"they may have adopted earlier: {city}." in note for note in notes) == said
        dated = spec_of(tmp_path, PANEL + 'first_treated = "eip_year"\n')
        assert not any("adopted earlier" in note for note in read_real_panel(panel_file(tmp_path, holes), dated).notes)


def test_units_that_are_always_treated_are_said(tmp_path: Path) -> None:
    always = frame().assign(eip_year=lambda table: table["eip_year"].where(table["city"] != "城3", 1990))
    always["eip"] = (always["year"] >= always["eip_year"]).astype(int)
    for key in ('first_treated = "eip_year"\n', 'treatment = "eip"\n'):
        reading = read_real_panel(panel_file(tmp_path, always), spec_of(tmp_path, PANEL + key))
        assert reading.notes == ("1 units are treated in every period: 城3.",)
    everybody = panel_file(tmp_path, frame().assign(eip_year=1990))
    with pytest.raises(BadInput, match=r"column 'eip_year'; everybody is always treated"):
        load_panel(everybody, spec_of(tmp_path, PANEL + 'first_treated = "eip_year"\n'))


def test_a_first_period_below_zero_where_periods_are(tmp_path: Path) -> None:
    table = frame().assign(year=lambda t: t["year"] - 2007, eip_year=lambda t: t["eip_year"] - 2008)
    panel = load_panel(panel_file(tmp_path, table), spec_of(tmp_path, PANEL + 'first_treated = "eip_year"\n'))
    assert panel.variables["did"][0, :, 1].tolist() == [0, 1, 1, 1]  # from -1 on
    table["eip_year"] -= 9
    with pytest.raises(
        BadInput, match=r"column 'eip_year', unit 城1, -2 .* is -10; allowed: a period, or empty for never"
    ):
        load_panel(panel_file(tmp_path, table), spec_of(tmp_path, PANEL + 'first_treated = "eip_year"\n'))


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


LAGS = (
    PANEL
    + """
controls = ["before", "change"]
[transform]
before = { lag = "x" }
change = { difference = "before" }
"""
)


def test_lags_count_by_the_calendar(tmp_path: Path) -> None:
    rows = [(f"城{i}", year) for i in range(4) for year in (2000, 2001, 2002, 2003, 2004, 2006, 2007, 2008)]
    table = pd.DataFrame(rows, columns=["city", "year"])
    table["y"], table["x"] = np.random.default_rng(2).normal(size=(2, 32))
    reading = read_real_panel(panel_file(tmp_path, table), spec_of(tmp_path, LAGS))
    assert reading.notes == (
        "No rows for 2005: lags and differences are not computed across this gap.",
        "2000, 2001, 2006, 2007 left out: lags and differences have no value there.",
    )
    assert reading.panel.periods == (2002, 2003, 2004, 2008)
    x = table.pivot(index="year", columns="city", values="x")
    before, change = (reading.panel.variables[name][0] for name in ("before", "change"))
    np.testing.assert_array_equal(before, x.loc[[2001, 2002, 2003, 2007]])
    np.testing.assert_array_equal(change, x.loc[[2001, 2002, 2003, 2007]].values - x.loc[[2000, 2001, 2002, 2006]])


def test_lags_of_a_biennial_panel_are_of_two_years(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, LAGS)
    annual = read_real_panel(panel_file(tmp_path), spec)
    biennial = read_real_panel(panel_file(tmp_path, frame().assign(year=lambda table: 2 * table["year"])), spec)
    assert biennial.panel.periods == (4014, 4016)
    assert biennial.notes == ("4010, 4012 left out: lags and differences have no value there.",)
    for name, values in annual.panel.variables.items():
        np.testing.assert_array_equal(biennial.panel.variables[name], values)
    uneven = frame().assign(year=lambda table: table["year"].map({2005: 1990, 2006: 1995, 2007: 1998, 2008: 2008}))
    with pytest.raises(BadInput, match="lags and differences have no value in any period"):
        read_real_panel(panel_file(tmp_path, uneven), spec)


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
    with pytest.raises(BadInput, match="the weights are of other units"):
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


def test_units_without_neighbours_are_attached_aloud(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("focal,neighbor\n城0,城1\n城1,城0\n城2,城1\n城3,城2\n", encoding="utf-8")
    text = PANEL + W + 'kind = "file"\npath = "w.csv"\n'
    with pytest.raises(BadInput, match=r"w\.csv; has no row for 城4, 城5;"):
        load_panel(panel_file(tmp_path), spec_of(tmp_path, text))
    reading = read_real_panel(panel_file(tmp_path), spec_of(tmp_path, text + 'islands = "nearest"\n'))
    assert reading.notes == (
        "Weights w: 2 units have no neighbours there and are linked to the nearest unit: 城4 to 城3, 城5 to 城4.",
    )


def test_a_missing_spec_and_other_encodings(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no such file"):
        read_spec(tmp_path / "none.toml")
    text = PANEL.replace("city", "城市")
    for encoding in ("utf-8-sig", "gb18030"):
        (tmp_path / "spec.toml").write_bytes(text.encode(encoding))
        assert read_spec(tmp_path / "spec.toml").panel.unit == "城市"


def test_the_committed_panel_with_a_map(tmp_path: Path) -> None:
    shutil.copy(made_cities.DATA / "cities_map.geojson", tmp_path / "map.geojson")
    real = made_cities.real_panel(tmp_path, """
        [panel]
        unit = "city"
        period = "year"
        outcome = "y"
        treatment = "d"
        controls = ["ln_gdp", "road"]
        groups = ["region"]
        longitude = "lon"
        latitude = "lat"
        [transform]
        ln_gdp = { log = "gdp" }
        [[weights]]
        kind = "contiguity"
        path = "map.geojson"
        unit = "city"
        islands = "nearest"
        [[weights]]
        kind = "nested"
        variable = "gdp"
    """)  # fmt: skip
    assert len(real.panel.units) == 36
    assert tuple(real.panel.weights) == ("queen", "nested")
    assert real.panel.weights["queen"].attached[0][0] == "C36"
    for weights in real.panel.weights:
        assert SpatialPanel("sar", "direct", weights=weights)(real.panel, Streams(1)).status[0] == 1
