"""[index] in a SPEC.toml: the outcome as an entropy-weight index, from the file to the JSON document."""

from __future__ import annotations

import json
from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest
import warned

from experiments.estimation import estimate
from experiments.panel_spec.spec import RealPanel
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
    text = (
        PANEL
        + """
        controls = ["ln_x"]
        [transform]
        ln_x = { log = "x" }
        third = { scale = ["s3", 0.01] }
        l1 = { lag = "s1" }
        l2 = { lag = "s2" }
        [index]
        positive = ["div", "third", "of_lags"]
        diversification = { div = ["s1", "s2", "s3"], other = ["s1", "s2"], of_lags = ["l1", "l2"] }
    """
    )
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
    with pytest.raises(BadInput) as caught:
        read(tmp_path, PANEL * (case in WRONG_PANELS) + text, frame().assign(**columns))
    lines, problems = str(caught.value).splitlines(), caught.value.problems
    assert [part for part in expected if part not in str(caught.value)] == []
    assert all(p.what and p.where and p.allowed and p.remedy for p in problems)
    assert len(lines) == len(problems)
    if case in WRONG_SPECS:
        assert all(p.where.startswith("spec.toml") for p in problems)
        assert len(problems) == 5 or case != "all at once"


def test_the_committed_cities_from_file_to_estimates(tmp_path: Path) -> None:
    """Weights, scores and dimensions by arithmetic on the file's columns, one of them falling; table 2 by dummies."""
    text = (
        made_cities.PANEL.replace('outcome = "y"\n', "").replace('"road", "book"', '"ln_gdp"')
        + """
        [transform]
        ln_gdp = { log = "gdp" }
        [index]
        name = "icr"
        positive = ["income", "output"]
        negative = ["debt"]
        [index.dimensions]
        growth = ["income", "output"]
        burden = ["debt"]
    """
    )
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
