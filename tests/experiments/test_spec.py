"""SPEC.toml and the panels that it describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from long_tables import load_panel
from refusals import refuses, refuses_all
from six_cities import PANEL, W, frame, panel_file, spec_of

from experiments.panel_spec.spec import balanced, read_real_panel, read_spec
from sim.errors import MOST_NAMES, BadInput


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
    assert (panel.roles.outcome, panel.roles.treatment, panel.roles.mediators) == ("y", "did", ("ln_gdp",))
    assert tuple(panel.variables) == ("y", "did", "x", "ln_gdp", "second")
    assert panel.attributes["capital"].tolist() == [True] + [False] * 5
    assert set(panel.attributes) == {"capital", "longitude", "latitude", "region"}
    assert tuple(panel.weights) == ("knn-2", "band-300")
    assert panel.weights["band-300"].standardize == "spectral"
    np.testing.assert_allclose(np.exp(panel.variables["ln_gdp"][0].T.ravel()), frame()["gdp"])


def test_a_single_weights_table_and_a_file_beside_the_spec(tmp_path: Path) -> None:
    links = [f"城{i},城{(i + step) % 6}" for i in range(6) for step in (1, 5)]
    (tmp_path / "ring.csv").write_text("focal,neighbor\n" + "\n".join(links), encoding="utf-8")
    spec = spec_of(tmp_path, PANEL + '[weights]\nkind = "file"\npath = "ring.csv"\n')
    panel = load_panel(panel_file(tmp_path), spec)
    assert panel.weights["ring"].dense[0].tolist() == [0, 0.5, 0, 0, 0, 0.5]
    assert panel.roles.treatment is None
    assert panel.roles.controls == ()


@pytest.mark.parametrize(("table", "name"), [
    ('kind = "knn"\nk = 3', "knn-3"),
    ('kind = "inverse-distance"\npower = 2', "inverse-distance"),
    ('kind = "band"\nkm = 150.5', "band-150.5"),
    ('kind = "economic"\nvariable = "gdp"', "economic"),
    ('kind = "nested"\nvariable = "gdp"\nname = "both"', "both"),
])  # fmt: skip
def test_kinds_of_weights(tmp_path: Path, table: str, name: str) -> None:
    text = PANEL + f'longitude = "lon"\nlatitude = "lat"\n[[weights]]\n{table}\n'
    panel = load_panel(panel_file(tmp_path), spec_of(tmp_path, text))
    assert tuple(panel.weights) == (name,)
    assert panel.weights[name].row_stochastic
    raw = load_panel(panel_file(tmp_path), spec_of(tmp_path, text + 'standardize = "none"\n')).weights[name].dense
    assert not np.allclose(raw.sum(axis=1), 1.0)
    np.testing.assert_allclose(panel.weights[name].dense, raw / raw.sum(axis=1, keepdims=True))


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
        told = " ".join(read_real_panel(panel_file(tmp_path, holes), dated).notes)
        assert "adopted earlier" not in told
        assert (f"in which they are seen treated: {city} ({year})." in told) == (missing == year)
        holes = whole.assign(y=whole["y"].mask((whole["city"] == city) & (whole["year"] == missing)))
        dropped = spec_of(tmp_path, PANEL + 'treatment = "eip"\nmissing = "drop"\n')
        notes = read_real_panel(panel_file(tmp_path, holes), dropped).notes
        assert not any("adopted earlier" in note for note in notes)
        assert any(f"seen treated: {city} ({year})." in note for note in notes) == (missing == year)


def test_units_that_are_always_treated_are_said(tmp_path: Path) -> None:
    always = frame().assign(eip_year=lambda table: table["eip_year"].where(table["city"] != "城3", 1990))
    always["eip"] = (always["year"] >= always["eip_year"]).astype(int)
    for key in ('first_treated = "eip_year"\n', 'treatment = "eip"\n'):
        reading = read_real_panel(panel_file(tmp_path, always), spec_of(tmp_path, PANEL + key))
        assert reading.notes == ("1 unit treated in every period: 城3.",)
    everybody, dated = panel_file(tmp_path, frame().assign(eip_year=1990)), PANEL + 'first_treated = "eip_year"\n'
    refuses("column 'eip_year'; everybody is always treated", lambda: load_panel(everybody, spec_of(tmp_path, dated)))


def test_a_first_period_below_zero_where_periods_are(tmp_path: Path) -> None:
    table = frame().assign(year=lambda t: t["year"] - 2007, eip_year=lambda t: t["eip_year"] - 2008)
    panel = load_panel(panel_file(tmp_path, table), spec_of(tmp_path, PANEL + 'first_treated = "eip_year"\n'))
    assert panel.variables["did"][0, :, 1].tolist() == [0, 1, 1, 1]  # from -1 on
    table["eip_year"] -= 9
    path, spec = panel_file(tmp_path, table), spec_of(tmp_path, PANEL + 'first_treated = "eip_year"\n')
    refuses("column 'eip_year', unit 城1, -2 .* is -10; allowed: a period, or empty for never",
            lambda: load_panel(path, spec))  # fmt: skip


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


def test_products_and_centred_columns_are_chained(tmp_path: Path) -> None:
    text = 'missing = "drop"\ncontrols = ["x_c", "both"]\n[transform]\nx_c = { centre = "x" }\n'
    table = frame()
    table.loc[3, "x"] = np.nan
    spec = spec_of(tmp_path, PANEL + text + 'both = { product = ["x_c", "gdp"] }\n')
    reading = read_real_panel(panel_file(tmp_path, table), spec)
    seen = table.dropna(subset="x")
    mean = seen["x"].mean()  # of all rows with a value, whatever else they lack
    said = f"x_c is x less {mean:.6g}, its mean over the {len(seen)} rows of the file that have a value."
    assert reading.notes[-1] == said
    got = reading.panel.replication(0).variables["both"][0].T[reading.panel.observed[0].T]
    np.testing.assert_allclose(got, (seen["x"] - mean) * seen["gdp"], rtol=1e-12)
    table["x"] = np.nan
    with pytest.raises(BadInput, match="'x' has no value in any row"):
        read_real_panel(panel_file(tmp_path, table), spec_of(tmp_path, PANEL + text + 'both = { log = "gdp" }\n'))


def test_groups_by_quantiles_of_a_base_period(tmp_path: Path) -> None:
    text = PANEL + 'groups = ["half"]\n[transform]\nsquared = { square = "gdp" }\n'
    spec = spec_of(tmp_path, text + 'half = { quantiles = ["squared", 3, 2006] }\n')
    reading = read_real_panel(panel_file(tmp_path), spec)
    base = frame().query("year == 2006").set_index("city")["gdp"]
    wanted = base.rank(method="first").sub(1).floordiv(2).add(1)  # 6 cities in threes of two
    assert reading.panel.attributes["half"].tolist() == wanted.reindex(reading.panel.units).tolist()
    assert reading.notes[-1].startswith("half groups units by squared in 2006: 1 up to ")
    assert reading.notes[-1].endswith("3 (2 units).")
    file = panel_file(tmp_path, frame().assign(same=1.0))
    for said, given in (("gdp has no value in 1999 for 6 units", ["gdp", 3, 1999]),
                        ("2 groups by same in 2006 have 6, 0 units", ["same", 2, 2006]),
                        ("20 groups by gdp in 2006 have", ["gdp", 20, 2006])):  # fmt: skip
        spec = spec_of(tmp_path, f"{PANEL}groups = ['half']\n[transform]\nhalf = {{ quantiles = {given} }}")
        refuses(said, lambda spec=spec: read_real_panel(file, spec))


def test_a_lag_never_crosses_units_or_gaps(tmp_path: Path) -> None:
    table = frame().drop(index=[5])  # city 1 in 2006
    spec = spec_of(tmp_path, PANEL + 'missing = "drop"\ncontrols = ["before"]\n[transform]\nbefore = { lag = "x" }\n')
    reading = read_real_panel(panel_file(tmp_path, table), spec)
    panel = reading.panel
    gone = [(panel.units[i], panel.periods[t]) for t, i in np.argwhere(~panel.observed[0])]
    assert gone == [("城1", 2006), ("城1", 2007)]
    assert panel.variables["before"][0, 0, 0] == table["x"][0]


LAGS = f"""{PANEL}
controls = ["before", "change"]
[transform]
before = {{ lag = "x" }}
change = {{ difference = "before" }}
"""


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
    assert biennial.notes == (
        "Periods are 2 apart: a lag or a difference of one period is one of 2.",
        "4010, 4012 left out: lags and differences have no value there.",
    )
    for name, values in annual.panel.variables.items():
        np.testing.assert_array_equal(biennial.panel.variables[name], values)
    uneven = frame().assign(year=lambda table: table["year"].map({2005: 1990, 2006: 1995, 2007: 1998, 2008: 2008}))
    with pytest.raises(BadInput, match="lags and differences have no value in any period"):
        read_real_panel(panel_file(tmp_path, uneven), spec)


GAPS = f'{PANEL}controls = ["x"]\nmissing = "drop"\n{W}kind = "knn"\nk = 2\n'


def test_rows_left_out_are_counted_and_named(tmp_path: Path) -> None:
    table = frame()
    table.loc[table["city"] == "城5", "x"] = np.nan
    table.loc[0, "y"] = np.nan
    reading = read_real_panel(panel_file(tmp_path, table), spec_of(tmp_path, GAPS))
    assert reading.notes == (
        "5 rows with missing values left out (by column: y 1, x 4).",
        "1 unit without a complete row left out: 城5.",
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
    refuses(r"1 unit-period is missing: 城1 in 2007.*drop-units", reading.balanced)
    refuses("the weights are of other units", lambda: balanced(reading.panel, "drop-units"))
    few = read_real_panel(panel_file(tmp_path, frame().drop(index=range(0, 20, 4))), spec)
    refuses("leaves 1 unit and 4 periods", lambda: few.balanced("drop-units"))


def test_a_matrix_in_the_files_order_survives_the_loss_of_units(tmp_path: Path) -> None:
    table = frame()
    table.loc[table["city"] == "城1", "x"] = np.nan
    table.loc[23, "x"] = np.nan
    w = np.arange(36.0).reshape(6, 6)
    np.fill_diagonal(w, 0)
    np.save(tmp_path / "w.npy", w)
    weights = '[[weights]]\nkind = "file"\npath = "w.npy"\nstandardize = "none"\n'
    text = f'{PANEL}controls = ["x"]\nmissing = "drop"\n{weights}'
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
    refuses(r"w\.csv; has no row for 城4, 城5;", lambda: load_panel(panel_file(tmp_path), spec_of(tmp_path, text)))
    reading = read_real_panel(panel_file(tmp_path), spec_of(tmp_path, text + 'islands = "nearest"\n'))
    assert reading.notes == (
        "Weights w: 2 units have no neighbours there and are linked to the nearest unit: 城4 to 城3, 城5 to 城4.",
    )
    (tmp_path / "w.csv").write_text("focal,neighbor\n城0,城1\n城1,城0\n城2,城1\n城3,城2\n城4,城3\n", encoding="utf-8")
    (note,) = read_real_panel(panel_file(tmp_path), spec_of(tmp_path, text + 'islands = "nearest"\n')).notes
    assert note == "Weights w: 1 unit has no neighbours there and is linked to the nearest unit: 城5 to 城4."


def test_a_missing_spec_and_other_encodings(tmp_path: Path) -> None:
    refuses("there is no such file", lambda: read_spec(tmp_path / "none.toml"))
    text = PANEL.replace("city", "城市")
    for encoding in ("utf-8-sig", "gb18030"):
        (tmp_path / "spec.toml").write_bytes(text.encode(encoding))
        assert read_spec(tmp_path / "spec.toml").panel.unit == "城市"


# Specs that are wrong, and panels that do not fit theirs: every problem at once, in the user's words.


WRONG_SPECS: dict[str, tuple[str, list[str]]] = {
    "not TOML": ("[panel\nunit = city", ["spec.toml", "allowed: TOML"]),
    "value without quotes": ("[panel]\nunit = city", ["spec.toml", "line 2", "put texts in quotes"]),
    "empty": ("", ["the key 'unit' is missing", "the key 'period' is missing", "the key 'outcome' is missing"]),
    "unknown key": (PANEL + 'treatmnt = "eip"\n', ["unknown key 'treatmnt'", "did you mean 'treatment'?"]),
    "unknown section": (PANEL + "[wieghts]\n", ["unknown key 'wieghts'", "did you mean 'weights'?"]),
    "list as text": (PANEL + 'controls = "x"\n',
                     ["controls = 'x'", 'a list in brackets, such as ["x"]', 'write controls = ["x"]']),
    "number in a list": (PANEL + 'controls = ["x", 3]\n', ["controls[1] = 3", "a text in quotes"]),
    "unit as a number": (PANEL.replace('"city"', "3"), ["unit = 3", "a text in quotes"]),
    "empty name": (PANEL + 'treatment = ""\n', ["treatment = ''", "a text in quotes"]),
    "unknown choice": (PANEL + 'missing = "fill"\n', ["missing = 'fill'", 'allowed: "error" or "drop"']),
    "unknown balance": (PANEL + 'balance = "drop"\n', ["balance = 'drop'", '"drop-units"']),
    "two treatments": (PANEL + 'treatment = "eip"\nfirst_treated = "eip_year"\n', ["are both given"]),
    "half a coordinate": (PANEL + 'longitude = "lon"\n', ["longitude and latitude are not both given"]),
    "one coordinate twice": (PANEL + 'longitude = "lat"\nlatitude = "lat"\n', ["latitude are both 'lat'"]),
    "twice": (PANEL + 'controls = ["x", "y"]\n', ["the column 'y' is used twice"]),
    "mediator and control": (PANEL + 'controls = ["x"]\nmediators = ["x"]\n', ["the column 'x' is used twice"]),
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
    "control named like the intercept": (PANEL + 'controls = ["constant"]\n',
                                         ["[panel] controls", "'constant' has the name of a term", "[transform]"]),
    "mediator named rho": (PANEL + 'mediators = ["rho"]\n', ["[panel] mediators", "'rho'"]),
    "policy named lambda": (PANEL + 'other_policy = "lambda"\n', ["[panel] other_policy", "'lambda'"]),
    "control named did": (PANEL + 'controls = ["did"]\n', ["[panel] controls", "'did'"]),
    "outcome named did": (PANEL.replace('"y"', '"did"'), ["[panel] outcome", "'did'"]),
    "lag of another control": (PANEL + 'controls = ["x", "w_x"]\n', ["[panel] controls", "'w_x'", "w_NAME"]),
    "control named like an effect": (PANEL + 'controls = ["total:x"]\n', ["'total:x'", "total:NAME"]),
    "covariate named sigma2": (PANEL + '[robustness.psm]\ncovariates = ["sigma2"]\n',
                               ["[robustness.psm] covariates", "'sigma2'"]),
    "text for a flag": (PANEL + 'synthetic = "yes"\n', ["synthetic = 'yes'", "true or false"]),
    "a flag for text": (PANEL + "capital = true\n", ["capital = true", "a text in quotes"]),
    "date for text": (PANEL + "capital = 2006-01-01\n", ["capital = 2006-01-01", "a text in quotes"]),
    "texts for numbers": (PANEL + '[robustness]\nwinsorize = ["0.01", "0.99"]\n',
                          ["winsorize[0] = '0.01'", "allowed: a number"]),
    "one number of two": (PANEL + "[robustness]\nwinsorize = [0.01]\n",
                          ["winsorize = [0.01]", "two quantiles, such as [0.01, 0.99]"]),
    "three numbers of two": (PANEL + "[robustness]\nwindows = [[1, 2, 3]]\n", ["windows[0] = [1, 2, 3]", "[[2003,"]),
    "years in a row": (PANEL + "[robustness]\nwindows = [2002, 2008]\n", ["windows[0] = 2002", "[[2003, 2008]]"]),
    "list for a table": (PANEL + '[robustness]\nexclude = ["south"]\n', ["exclude = ['south']", "{ region = "]),
    "list as an item": (PANEL + "[robustness]\nexclude = { r = [[1]] }\n", ["exclude.r[0] = [1]", "a number"]),
    "flag as a number": (PANEL + "[robustness]\nunit_trends = 1\n", ["unit_trends = 1", "true or false"]),
    "too many draws": (PANEL + "[inference]\ndraws = 1000000\n", ["draws = 1000000", "up to 100,000"]),
    "conley without coordinates": (PANEL + '[inference]\nerrors = ["conley:200"]\n',
                                   ["[inference] errors", "'conley:200' needs coordinates"]),
    "cluster by the unit's column": (PANEL + '[inference]\nerrors = ["cluster:city", "cluster:unit+year"]\n',
                                     ["'city' is the unit", "'year' is the period", "cluster:unit"]),
    "error type twice": (PANEL + '[inference]\nerrors = ["hc1", "hc1"]\n', ["names 'hc1' twice"]),
    "product of one": (PANEL + '[transform]\nz = { product = ["y"] }\n', ["product of two columns", '["a", "b"]']),
    "centre of two": (PANEL + '[transform]\nz = { centre = ["x", "y"] }\n', ["centre of a column", '{ centre = "a" }']),
    "one group": (PANEL + '[transform]\nz = { quantiles = ["x", 1, 2006] }\n', ["2 to 20 groups, and a period"]),
    "half a group": (PANEL + '[transform]\nz = { quantiles = ["x", 2.5, 2006] }\n', ["2 to 20 groups, and a period"]),
    "groups of no period": (PANEL + '[transform]\nz = { quantiles = ["x", 2] }\n', ['{ quantiles = ["a", 2, 2006] }']),
    "made later": (PANEL + '[transform]\nz = { log = "u" }\nu = { square = "x" }\n',
                   ["[transform] z", "takes 'u', which is made later", "write u above z"]),
    "made of itself": (PANEL + '[transform]\nz = { log = "z" }\n', ["a circle: z takes z"]),
    "made in a circle": (PANEL + '[transform]\nz = { log = "u" }\nu = { product = ["x", "z"] }\n',
                         ["a circle: z takes u takes z", "make one of them of other columns"]),
    "infinite factor": (PANEL + '[transform]\nz = { scale = ["y", inf] }\n', ["scale of a column and a factor"]),
    "groups are units": (PANEL + 'groups = ["city"]\n',
                         ["[panel]; groups names 'city', which is the unit", "province"]),
    "group twice": (PANEL + 'groups = ["region", "region"]\n', ["groups names 'region' twice"]),
    "group that is another's name": (PANEL + 'groups = ["capital"]\ncapital = "seat"\n',
                                     ["'capital'", "is not the one that [panel] names for capital"]),
    "cluster that is another's name": (PANEL + 'capital = "seat"\n[inference]\nerrors = ["cluster:capital"]\n',
                                       ["'capital'", "is not the one that [panel] names for capital"]),
    "transform is the period": (PANEL + '[transform]\nyear = { log = "y" }\n', ["'year' is the unit or the period"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_SPECS)
def test_a_wrong_spec_is_refused_in_the_users_words(tmp_path: Path, case: str) -> None:
    text, expected = WRONG_SPECS[case]
    refuses_all(expected, spec_of, tmp_path, text, where="spec.toml")


def test_all_errors_of_a_spec_come_at_once(tmp_path: Path) -> None:
    text = 'unit = 1\n[panel]\nperiod = 3\nmissing = "x"\n[transform]\nz = 1\n[[weights]]\nkind = "knm"\n'
    text += '[[weights]]\nkind = "band"\n[[weights]]\nkind = "knn"\n[robustness]\nlag = 0\n'
    refuses("", spec_of, tmp_path, text, count=9)


TYPES = {
    "panel": ("unit", "period", "outcome", "treatment", "controls", "groups", "capital", "missing", "balance",
              "synthetic"),
    "index": ("name", "positive", "dimensions"),
    "inference": ("errors", "draws", "seed"),
    "robustness": ("region_by_period", "unit_trends", "lag", "winsorize", "windows", "exclude", "policies"),
    "robustness.psm": ("methods", "covariates", "years", "neighbours", "caliper", "replacement", "bandwidth"),
}  # fmt: skip
WRONG_ERRORS = ["newey-west", "cluster:", "wild:", "conley", "conley:-5", "conley:abc", "driscoll-kraay:3",
                "cluster:unit+unit", "wild:period", "hc3"]  # fmt: skip


def test_all_error_types_are_checked_before_the_panel_is_read(tmp_path: Path) -> None:
    sound = ["cluster:unit+period", "cluster:region", "wild:region", "conley:200:bartlett", "cluster:north+south"]
    text = PANEL + W.removesuffix("[[weights]]\n") + 'groups = ["region", "north+south"]\n'
    spec = spec_of(tmp_path, f"{text}[inference]\nerrors = {sound}\n")
    assert spec.clusters == ("region", "north+south")
    lines = str(refuses("", spec_of, tmp_path, f"{text}[inference]\nerrors = {[*sound, *WRONG_ERRORS]}\n"))
    for line, error in zip(lines.splitlines(), WRONG_ERRORS, strict=True):
        assert line.startswith(f"spec.toml, [inference] errors; unknown error type {error!r}; ")
        assert " more (all: `panelproof kinds`)" in line
        assert line.partition("allowed: ")[2].count(", ") == MOST_NAMES - 1
        assert "longitude" not in line


def test_no_words_of_the_reader_that_checks_types(tmp_path: Path) -> None:
    text = "".join(f"[{table}]\n" + "".join(f"{key} = VALUE\n" for key in keys) for table, keys in TYPES.items())
    for value in ("3.5", '"a"', "true", "[]", "[[1]]", "{ a = 1 }", "2006-01-01", "nan"):
        message = str(refuses("", spec_of, tmp_path, text.replace("VALUE", value))).lower()
        assert not any(word in message for word in ("input should", "valid", "tuple", "dictionary", "none", "datetime"))


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
    "first_treated below zero": ('first_treated = "eip_year"\n', {"eip_year": -3.0}, ["is -3", "empty for never"]),
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
    refuses_all(expected, lambda: load_panel(panel_file(tmp_path, table), spec_of(tmp_path, PANEL + text)))


def test_a_fault_hides_no_fault_of_another_key(tmp_path: Path) -> None:
    text = PANEL + 'treatmnt = "eip"\nlongitude = "lon"\n[inference]\ndraws = 1\nerrors = ["hc9"]\n'
    text += '[[weights]]\nkind = "knn"\nk = 0\n' + '[[weights]]\nkind = "nested"\nvariable = "x"\n' * 2
    expected = ["unknown key 'treatmnt'", "draws = 1;", "[[weights]] 1 (knn); k = 0", "unknown error type 'hc9'",
                "longitude and latitude are not both given", "two weights are called 'nested'"]  # fmt: skip
    refuses_all(expected, spec_of, tmp_path, text)


FAULTY = PANEL.replace('"y"', '"yy"') + """
treatment_kind = "absorb"
controls = ["xx", "ln_gdp", "ln_z"]
[transform]
ln_gdp = { lgo = "gdp" }
ln_z = { log = "z" }
[robustness]
outcomes = ["second", "third"]
lagg = 1
"""  # fmt: skip


def test_faults_of_a_spec_and_of_its_columns_are_listed_together(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(FAULTY, encoding="utf-8")
    caught = refuses("", read_real_panel, panel_file(tmp_path), tmp_path / "spec.toml")
    said = sorted(problem.what for problem in caught.problems)
    assert said == ["there is no column 'third'", "there is no column 'xx'", "there is no column 'yy'",
                    "there is no column 'z'", "treatment_kind = 'absorb'", "unknown function 'lgo'",
                    "unknown key 'lagg'"]  # fmt: skip


def test_a_spec_and_a_panel_that_are_not_there_are_both_said(tmp_path: Path) -> None:
    table, text = tmp_path / "none.csv", tmp_path / "none.toml"
    assert [problem.where for problem in refuses("", read_real_panel, table, text).problems] == [str(text), str(table)]


@pytest.mark.parametrize("faulty", ["[read]\nskipp = 3", "[index]\nname = 3"])
def test_columns_are_not_missed_where_the_table_is_read_in_another_way(tmp_path: Path, faulty: str) -> None:
    (tmp_path / "spec.toml").write_text(PANEL.replace('"y"', '"yy"') + faulty, encoding="utf-8")
    caught = refuses("", read_real_panel, panel_file(tmp_path), tmp_path / "spec.toml")
    assert not [problem for problem in caught.problems if "no column" in problem.what]
