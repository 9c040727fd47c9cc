"""[index] in a SPEC.toml: the outcome as an entropy-weight index, from the file to the JSON document."""

from __future__ import annotations

import json
from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest
from long_tables import load_panel

from experiments.estimation import estimate
from experiments.panel_spec.sections import Spec
from experiments.panel_spec.spec import RealPanel, read_real_panel, read_spec
from sim.errors import BadInput
from sim.index import entropy_index

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


def spec_of(folder: Path, text: str) -> Spec:
    (folder / "spec.toml").write_text(text, encoding="utf-8")
    return read_spec(folder / "spec.toml")


def read(folder: Path, text: str, table: pd.DataFrame | None = None) -> RealPanel:
    (frame() if table is None else table).to_csv(folder / "panel.csv", index=False)
    return read_real_panel(folder / "panel.csv", spec_of(folder, text))


def test_the_index_is_the_outcome(tmp_path: Path) -> None:
    real = read(tmp_path, TREATED + 'controls = ["x"]\n' + INDEX + 'name = "icr"\n')
    panel, table = real.panel, frame()
    assert panel.roles.outcome == real.spec.panel.outcome == "icr"
    assert tuple(panel.variables) == ("icr", "did", "x", "a", "b", "c")
    columns = {name: table[name].to_numpy().reshape(1, 8, 5).transpose(0, 2, 1) for name in "abc"}
    alone = entropy_index({"a": columns["a"], "b": columns["b"]}, {"c": columns["c"]})
    assert real.index is not None
    np.testing.assert_allclose(real.index.weights, alone.weights, rtol=1e-12)
    np.testing.assert_allclose(panel.variables["icr"], alone.score, rtol=1e-12)
    assert load_panel(tmp_path / "panel.csv", real.spec).digest == panel.digest


@pytest.mark.parametrize(
    ("outcome", "name", "expected"),
    [("", "", "index"), ('outcome = "icr"\n', "", "icr"), ("", 'name = "icr"\n', "icr"),
     ('outcome = "icr"\n', 'name = "icr"\n', "icr")],
)  # fmt: skip
def test_names_of_the_index(tmp_path: Path, outcome: str, name: str, expected: str) -> None:
    assert read(tmp_path, PANEL + outcome + INDEX + name).panel.roles.outcome == expected


def test_without_an_index_nothing_is_said_of_one(tmp_path: Path) -> None:
    real = read(tmp_path, TREATED + 'outcome = "a"\n')
    assert real.index is None
    assert "index" not in estimate(real).panel


def test_diversification_and_transforms_make_indicators(tmp_path: Path) -> None:
    text = (
        PANEL
        + """
        controls = ["ln_x"]
        [transform]
        ln_x = { log = "x" }
        third = { scale = ["s3", 0.01] }
        [index]
        positive = ["div", "third"]
        diversification = { div = ["s1", "s2", "s3"], other = ["s1", "s2"] }
    """
    )
    panel, shares = read(tmp_path, text).panel, frame()[["s1", "s2", "s3"]].to_numpy()
    assert tuple(panel.variables) == ("index", "ln_x", "div", "third")
    expected = shares.sum(axis=1) ** 2 / (shares**2).sum(axis=1)
    np.testing.assert_allclose(panel.variables["div"][0].T.ravel(), expected, rtol=1e-12)


def test_a_diversification_of_lags_has_no_first_period(tmp_path: Path) -> None:
    text = PANEL + '[transform]\nl1 = { lag = "s1" }\nl2 = { lag = "s2" }\n[index]\npositive = ["a", "div"]\n'
    real = read(tmp_path, text + 'diversification = { div = ["l1", "l2"] }\n')
    assert real.panel.periods == (2006, 2007, 2008, 2009)
    assert real.index is not None
    assert real.index.observations.tolist() == [32]


def test_rows_left_out_are_not_pooled(tmp_path: Path) -> None:
    table = frame()
    table.loc[7, "b"] = np.nan
    table.loc[11, "x"] = np.nan  # a control: the index is made of the rows it is regressed on
    table.loc[11, "a"] = 1e6
    text = TREATED + 'controls = ["x"]\nmissing = "drop"\nbalance = "drop-units"\n' + INDEX
    real = read(tmp_path, text, table)
    assert real.index is not None
    assert real.index.observations.tolist() == [38]
    assert np.isnan(real.panel.variables["index"][0, 2, 1])
    scores = real.panel.variables["index"]
    assert np.nanmax(scores) <= 1
    kept = real.balanced()
    assert len(kept.units) == 6
    np.testing.assert_array_equal(kept.variables["index"], scores[:, :, [0, 3, 4, 5, 6, 7]])
    with pytest.raises(BadInput, match=r"column 'b', unit 城1, 2007.*is missing in 1 row"):
        read(tmp_path, TREATED + INDEX, table)


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
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_SPECS)
def test_a_wrong_index_is_refused_in_the_users_words(tmp_path: Path, case: str) -> None:
    text, expected = WRONG_SPECS[case]
    with pytest.raises(BadInput) as caught:
        spec_of(tmp_path, text)
    message = str(caught.value)
    assert all(part in message for part in expected), message
    assert all(p.what and p.where.startswith("spec.toml") and p.allowed and p.remedy for p in caught.value.problems)
    assert len(message.splitlines()) == len(caught.value.problems)


def test_all_errors_of_an_index_come_at_once(tmp_path: Path) -> None:
    text = PANEL + 'mising = "drop"\n[index]\npositive = ["a"]\nnegative = ["a"]\ndimensions = { r = ["z"] }\n'
    with pytest.raises(BadInput) as caught:
        spec_of(tmp_path, text + 'diversification = { d = ["s1"] }\n[robustness]\nlag = 0\n')
    assert len(caught.value.problems) == 5


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


@pytest.mark.parametrize("case", WRONG_PANELS)
def test_a_panel_that_does_not_fit_its_index_is_refused(tmp_path: Path, case: str) -> None:
    text, columns, expected = WRONG_PANELS[case]
    with pytest.raises(BadInput) as caught:
        read(tmp_path, PANEL + text, frame().assign(**columns))
    message = str(caught.value)
    assert all(part in message for part in expected), message
    assert all(p.what and p.where and p.allowed and p.remedy for p in caught.value.problems)


def test_the_committed_cities_from_file_to_estimates(tmp_path: Path) -> None:
    """Weights, scores and dimensions by arithmetic on the file's columns, one of them falling; table 2 by dummies."""
    real = made_cities.real_panel(tmp_path, """
        [panel]
        unit = "city"
        period = "year"
        first_treated = "first_year"
        controls = ["ln_gdp"]
        [transform]
        ln_gdp = { log = "gdp" }
        [index]
        name = "icr"
        positive = ["income", "output"]
        negative = ["debt"]
        [index.dimensions]
        growth = ["income", "output"]
        burden = ["debt"]
    """, made_cities.frame().assign(first_year=lambda table: table["first_year"].replace(0, np.nan)))  # fmt: skip
    said = estimate(real)
    assert (len(real.panel.units), said.panel["outcome"], said.panel["index"]["nobs"]) == (36, "icr", 324)
    table = made_cities.frame()
    x = table[["income", "output", "debt"]].to_numpy()
    a = (x - x.min(axis=0)) / np.ptp(x, axis=0)
    a[:, 2] = 1 - a[:, 2]
    p = a / a.sum(axis=0)
    g = 1 + np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(axis=0) / np.log(len(x))
    weights = g / g.sum()
    assert real.index is not None
    np.testing.assert_allclose(real.index.weights[0], weights, rtol=1e-9)
    np.testing.assert_allclose(real.panel.variables["icr"][0].T.ravel(), a @ weights, rtol=1e-9)
    totals = {name: dimension["weight"] for name, dimension in said.panel["index"]["dimensions"].items()}
    assert totals == pytest.approx({"growth": weights[:2].sum(), "burden": weights[2]}, rel=1e-9)
    dummies = [pd.get_dummies(table[name]).to_numpy(float) for name in ("city", "year")]
    regressors = np.column_stack([table["d"], np.log(table["gdp"]), dummies[0], dummies[1][:, 1:]])
    did = next(record for record in said.records if (record.table, record.column, record.term) == ("2", 5, "did"))
    assert did.estimate == pytest.approx(np.linalg.lstsq(regressors, a @ weights)[0][0], rel=1e-8)
