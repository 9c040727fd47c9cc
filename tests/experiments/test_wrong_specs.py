"""Specs that are wrong, and panels that do not fit theirs: every problem at once, in the user's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from long_tables import load_panel
from six_cities import PANEL, W, frame, panel_file, spec_of

from sim.errors import BadInput

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
    "control named like the intercept": (PANEL + 'controls = ["constant"]\n',
                                         ["[panel] controls", "'constant' has the name of a term", "[transform]"]),
    "mediator named rho": (PANEL + 'mediators = ["rho"]\n', ["[panel] mediators", "'rho'"]),
    "policy named lambda": (PANEL + 'other_policy = "lambda"\n', ["[panel] other_policy", "'lambda'"]),
    "control named did": (PANEL + 'controls = ["did"]\n', ["[panel] controls", "'did'"]),
    "outcome named did": (PANEL.replace('"y"', '"did"'), ["[panel] outcome", "'did'"]),
    "lag of another control": (PANEL + 'controls = ["x", "w_x"]\n', ["[panel] controls", "'w_x'", "w_NAME"]),
    "lag of the treatment": (PANEL + 'controls = ["w_did"]\n', ["'w_did'"]),
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
    "infinite factor": (PANEL + '[transform]\nz = { scale = ["y", inf] }\n', ["scale of a column and a factor"]),
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
    with pytest.raises(BadInput) as caught:
        spec_of(tmp_path, f"{text}[inference]\nerrors = {[*sound, *WRONG_ERRORS]}\n")
    lines = str(caught.value).splitlines()
    assert len(lines) == len(WRONG_ERRORS)
    for line, error in zip(lines, WRONG_ERRORS, strict=True):
        assert line.startswith(f"spec.toml, [inference] errors; unknown error type {error!r}; allowed: iid, hc1, ")
        assert "cluster:region, cluster:north+south, cluster:COLUMN" in line
        assert "longitude" not in line


def test_no_words_of_the_reader_that_checks_types(tmp_path: Path) -> None:
    text = "".join(f"[{table}]\n" + "".join(f"{key} = VALUE\n" for key in keys) for table, keys in TYPES.items())
    for value in ("3.5", '"a"', "true", "[]", "[[1]]", "{ a = 1 }", "2006-01-01", "nan"):
        with pytest.raises(BadInput) as caught:
            spec_of(tmp_path, text.replace("VALUE", value))
        message = str(caught.value).lower()
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
    "first_treated below zero": ('first_treated = "eip_year"\n', {"eip_year": -1.0}, ["is -1", "empty for never"]),
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


def test_a_fault_hides_no_fault_of_another_key(tmp_path: Path) -> None:
    """Unknown keys, wrong weights and wrong keys of [inference] are left out, and the rest is checked further."""
    text = PANEL + 'treatmnt = "eip"\nlongitude = "lon"\n[inference]\ndraws = 1\nerrors = ["hc9"]\n'
    text += '[[weights]]\nkind = "knn"\nk = 0\n' + '[[weights]]\nkind = "nested"\nvariable = "x"\n' * 2
    with pytest.raises(BadInput) as caught:
        spec_of(tmp_path, text)
    expected = ["unknown key 'treatmnt'", "draws = 1;", "[[weights]] 1 (knn); k = 0", "unknown error type 'hc9'",
                "longitude and latitude are not both given", "two weights are called 'nested'"]  # fmt: skip
    message = str(caught.value)
    assert [words for words in expected if words not in message] == [], message
