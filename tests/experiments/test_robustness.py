"""The referee's menu against the same regressions by hand: dummies on tables cut and shifted by pandas."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest
from ledgers import facts, filled, one

from estimators.matching import PsmDID
from experiments import estimation as paper
from experiments.panel_spec.sections import RobustnessSection, value_label
from experiments.panel_spec.spec import RealPanel
from experiments.tables import robustness_table
from experiments.tables.ledger import Ledger, journal_tables
from references.dense import Dense
from results.tables.records import Record
from sim.errors import BadInput

PANEL = """
[panel]
unit = "city"
period = "year"
outcome = "y"
treatment = "eip"
controls = ["x"]
missing = "drop"
"""
MENU = """
[robustness]
region_by_period = "province"
unit_trends = true
lag = 2
winsorize = [0.05, 0.9]
windows = [[2004, 2010], [2003, 2008]]
exclude = { region = [1, 3], city = ["c05", "c11"] }
policies = ["pilot", "data"]
outcomes = ["second"]
[robustness.psm]
covariates = ["x", "size"]
caliper = 0.1
"""
FIRST, LAST = 2003, 2012


def table(missing: int = 0) -> pd.DataFrame:
    """Sixty cities in twelve provinces and four regions, ten years; half of the cities treated from 2007 on."""
    rng = np.random.default_rng(11)
    years = np.arange(FIRST, LAST + 1)
    start = np.where(np.arange(60) % 2 == 0, rng.integers(2007, 2010, 60), 9999)
    frame = pd.DataFrame({"code": np.repeat(np.arange(60), 10), "year": np.tile(years, 60)})
    frame["city"] = [f"c{code:02d}" for code in frame["code"]]
    frame["province"] = [f"p{code // 5}" for code in frame["code"]]
    frame["region"] = frame["code"] // 15
    frame["eip"] = (frame["year"] >= start[frame["code"]]).astype(int)
    frame["pilot"] = ((frame["code"] % 3 == 0) & (frame["year"] >= 2006)).astype(int)
    frame["data"] = ((frame["code"] % 7 == 0) & (frame["year"] >= 2009)).astype(int)
    noise = rng.standard_normal((600, 4))
    frame["x"] = noise[:, 0] + rng.standard_normal(60)[frame["code"]]
    frame["size"] = rng.standard_normal(60)[frame["code"]] + 0.3 * frame["eip"] + 0.05 * noise[:, 3]
    frame["y"] = 0.8 * frame["eip"] + 0.5 * frame["x"] + noise[:, 1] + frame["code"] / 20 + 0.1 * frame["year"]
    frame["second"] = -0.4 * frame["eip"] + noise[:, 2]
    frame.loc[[3, 77, 301], "second"] = np.nan
    gone = rng.choice(600, missing, replace=False)
    return frame.drop(index=gone).reset_index(drop=True)


def real_panel(folder: Path, frame: pd.DataFrame, menu: str = MENU) -> RealPanel:
    return made_cities.real_panel(folder, PANEL + menu, frame)


fitted = partial(filled, robustness_table.add)


def dummies(
    frame: pd.DataFrame, outcome: str, regressors: Sequence[str], effects: Sequence[str]
) -> tuple[float, float]:
    """Coefficient and iid standard error of the first regressor, by least squares with a dummy for every level."""
    blocks = [pd.get_dummies(frame["city"]).mul(frame["year"] - FIRST, axis=0) if effect == "trend"
              else pd.get_dummies(frame[effect]) for effect in effects]  # fmt: skip
    fit = Dense(frame[outcome], frame[list(regressors)], *blocks)
    return float(fit.slopes[0]), float(fit.errors("iid")[0])


def by_hand(frame: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Every regression of the menu, on tables made by pandas."""
    both = ("city", "year")
    frame = frame.assign(pair=frame["province"] + frame["year"].astype(str))
    before = frame[["city", "year", "eip", "x"]].assign(year=frame["year"] + 2)
    lagged = frame.drop(columns=["eip", "x"]).merge(before, on=["city", "year"])
    cut = frame.assign(y=frame["y"].clip(*frame["y"].quantile([0.05, 0.9])))
    whole = frame[frame["second"].notna()]
    x = ("eip", "x")
    return {
        "province-by-year effects": dummies(frame, "y", x, ("city", "pair")),
        "city-specific linear trends": dummies(frame, "y", x, (*both, "trend")),
        "treatment and controls lagged by 2 periods": dummies(lagged, "y", x, both),
        "outcome winsorised at 0.05 and 0.9": dummies(cut, "y", x, both),
        "2004-2010": dummies(frame[frame["year"].between(2004, 2010)], "y", x, both),
        "2003-2008": dummies(frame[frame["year"].between(2003, 2008)], "y", x, both),
        "without region 1, 3": dummies(frame[~frame["region"].isin([1, 3])], "y", x, both),
        "without city c05, c11": dummies(frame[~frame["city"].isin(["c05", "c11"])], "y", x, both),
        "with pilot": dummies(frame, "y", ("eip", "pilot", "x"), both),
        "with data": dummies(frame, "y", ("eip", "data", "x"), both),
        "with all other policies": dummies(frame, "y", ("eip", "pilot", "data", "x"), both),
        "outcome second": dummies(whole, "second", x, both),
    }


def effect(ledger: Ledger, sample: str, error: str = "iid") -> Record:
    return one(ledger, sample=sample, term="did", se_type=error, model="did")


@pytest.mark.parametrize("missing", [0, 45])
def test_every_column_equals_the_regression_with_dummies(tmp_path: Path, missing: int) -> None:
    frame = table(missing)
    ledger = fitted(real_panel(tmp_path, frame))
    expected = by_hand(frame)
    for sample, (estimate, se) in expected.items():
        ours = effect(ledger, sample)
        assert (ours.estimate, ours.se) == (pytest.approx(estimate, rel=1e-9), pytest.approx(se, rel=1e-8)), sample
    order = list(dict.fromkeys((r.column, r.sample) for r in ledger.records))
    assert [sample for _, sample in order][: len(expected)] == list(expected)
    assert [column for column, _ in order] == list(range(1, len(order) + 1))
    assert {r.table for r in ledger.records} == {"R"}
    assert len(order) == len(expected) + 3
    assert not ledger.failures


def test_sizes_and_notes(tmp_path: Path) -> None:
    ledger = fitted(real_panel(tmp_path, table()))
    lag, short = effect(ledger, "treatment and controls lagged by 2 periods"), effect(ledger, "2004-2010")
    assert (lag.nobs, lag.units, lag.periods) == (480, 60, 8)
    assert (short.nobs, short.units, short.periods) == (420, 60, 7)
    assert (effect(ledger, "without region 1, 3").units, effect(ledger, "outcome second").nobs) == (30, 597)
    notes = "\n".join(ledger.notes)
    assert "lagged by 2 periods): 2003, 2004 are left out" in notes
    assert "3 rows with a missing value are left out" in notes
    assert "y is cut at" in notes
    assert "covariates' means over 2003-2006" in notes


def test_lags_of_a_biennial_panel_are_its_periods(tmp_path: Path) -> None:
    frame = table()
    real = real_panel(tmp_path, frame.assign(year=2 * frame["year"]), "[robustness]\nlag = 2\n")
    ours = effect(fitted(real), "treatment and controls lagged by 2 periods")
    estimate, _ = by_hand(frame)["treatment and controls lagged by 2 periods"]
    assert ours.estimate == pytest.approx(estimate, rel=1e-9)


def test_what_only_a_check_reads_does_not_touch_the_panel(tmp_path: Path) -> None:
    frame = table()
    plain = real_panel(tmp_path, frame, "")
    asked = real_panel(tmp_path, frame)
    assert asked.panel.observed is None
    assert asked.panel.units == plain.panel.units
    assert tuple(asked.panel.variables) == tuple(plain.panel.variables)
    assert set(asked.panel.attributes) - set(plain.panel.attributes) == {"province", "region"}
    assert fitted(plain).records == []


def test_psm_columns_and_their_balance(tmp_path: Path) -> None:
    frame = table()
    frame["size"] += 0.9 * (frame["code"] % 2 == 0)
    real = real_panel(tmp_path, frame)
    ledger = fitted(real)
    size = frame[frame["year"] <= 2006].groupby("code")["size"].mean().to_numpy()
    panel = real.panel.with_variables({"size": np.broadcast_to(size, (1, 10, 60)).copy()})
    samples = {"nearest": "PSM, 1 nearest neighbour, caliper 0.1", "radius": "PSM, radius 0.1",
               "kernel": "PSM, kernel, bandwidth 0.06"}  # fmt: skip
    for method, sample in samples.items():
        settings = PsmDID(covariates=("x", "size"), method=method, caliper=0.1, errors=("iid",))
        direct, found, ours = settings(panel), settings.match(panel), effect(ledger, sample)
        assert (ours.estimate, ours.se) == pytest.approx((direct.estimate[0, 0], direct.se[0, 0, 0]), rel=1e-12)
        assert ours.units == found.units.sum()
        of = {(s.name, s.term): s.value for s in ledger.statistics if s.model == "psm" and s.sample == sample}
        assert of["treated", None] == 30
        assert of["treated_matched", None] == (found.weights[found.treated] > 0).sum()
        treated = found.treated
        before = size[treated].mean() - size[~treated].mean()
        scale = np.sqrt((size[treated].var(ddof=1) + size[~treated].var(ddof=1)) / 2)
        assert of["bias_before", "size"] == pytest.approx(100 * before / scale, rel=1e-10)
        assert abs(of["mean_bias_after", None] or 0) < (of["mean_bias_before", None] or 0)
        assert {"variance_ratio_after", "t_after", "p_after"} <= {name for name, term in of if term == "x"}
        assert of["logit_coefficient", "size"] == pytest.approx(found.logit.coefficient[2], rel=1e-12)


def test_units_without_covariates_are_left_out_by_name(tmp_path: Path) -> None:
    frame = table()
    frame.loc[(frame["code"] == 7) & (frame["year"] <= 2006), "size"] = np.nan
    frame.loc[(frame["code"] == 9) & (frame["year"] == 2004), "size"] = np.nan  # the mean of the other years serves
    frame.loc[(frame["code"] == 11) & (frame["year"] == 2011), "size"] = np.nan  # not a year of matching
    ledger = fitted(real_panel(tmp_path, frame, MENU))
    psm = facts(ledger, model="psm")
    assert (psm["treated"], psm["controls"]) == (30, 29)
    assert "PSM leaves out units without covariates in the years of matching: c07." in ledger.notes


@pytest.mark.parametrize(("menu", "edit", "words"), [
    ('covariates = ["size"]\ncaliper = 1e-9\nmethods = ["nearest", "radius"]\n', {},
     ["no treated unit has a control within the caliper", "PSM, radius 1e-09"]),
    ('covariates = ["apart"]\n', {"apart": lambda f: f["code"] % 2 + 0.001 * f["code"]},
     ["the propensity score cannot be estimated"]),
    ('covariates = ["ahead"]\nmethods = ["nearest"]\n',
     {"ahead": lambda f: np.where(f["code"] % 2, 0.1, 1.0) * (f["code"] % 4 - 1.4)},
     ["column 2 (PSM, 1 nearest neighbour, caliper 0.05) is empty: there is no common support", "other cov"]),
    ('neighbours = 31\nmethods = ["nearest"]\n', {}, ["there are 30 control units; ask for 1 to 30"]),
])  # fmt: skip
def test_no_matched_sample_is_a_note(tmp_path: Path, menu: str, edit: dict[str, object], words: list[str]) -> None:
    real = real_panel(tmp_path, table().assign(**edit), "[robustness]\nlag = 1\n[robustness.psm]\n" + menu)
    ledger = fitted(real)
    for word in words:
        assert any(word in note for note in ledger.notes)
    assert {record.column for record in ledger.records} == {1}
    assert not any("matching weights" in note for note in ledger.notes)
    assert not ledger.failures


def test_a_check_that_cannot_be_fitted_is_a_note(tmp_path: Path) -> None:
    frame = table().assign(twin=lambda f: f["eip"] + 1)
    frame.loc[frame["year"] <= 2008, "x"] = 0.0
    two = table()[table()["year"].isin([2005, 2010])].reset_index(drop=True)
    of_two = fitted(real_panel(tmp_path, two, "[robustness]\nunit_trends = true\n"))
    assert not of_two.records
    assert any("city-specific linear trends) is empty" in note for note in of_two.notes), of_two.notes
    real = real_panel(tmp_path, frame, '[robustness]\nwindows = [[2003, 2008]]\npolicies = ["twin"]\n')
    ledger = fitted(real)
    assert not ledger.records
    assert any("2003-2008) is empty: variable 'x' is constant" in note for note in ledger.notes)
    assert any("with twin) is empty: variable 'twin' is collinear" in note for note in ledger.notes)


def test_clusters_and_further_error_types(tmp_path: Path) -> None:
    menu = 'cluster = "province"\n' + MENU.replace("unit_trends = true\n", "")
    menu += '[inference]\nerrors = ["driscoll-kraay", "wild:unit"]\ndraws = 99\n'
    ledger = fitted(real_panel(tmp_path, table(), menu))
    wanted = {"iid", "hc1", "cluster:province", "driscoll-kraay", "wild:unit"}
    for column in range(1, 12):
        assert {r.se_type for r in ledger.records if r.column == column} == wanted
    assert {r.se_type for r in ledger.records if r.column > 11} == wanted - {"wild:unit"}
    assert any("PSM columns have no wild:unit errors" in note for note in ledger.notes)


@pytest.mark.parametrize("whose", ["all", "of the treated"])
def test_matching_without_covariates_in_its_years_is_a_note(tmp_path: Path, whose: str) -> None:
    frame = table()
    gone = (frame["year"] <= 2006) & ((frame["code"] % 2 == 0) | (whose == "all"))
    ledger = fitted(real_panel(tmp_path, frame.assign(size=frame["size"].mask(gone)), MENU))
    words = {
        "all": "Table R has no PSM columns: no unit has its covariates in the years of matching",
        "of the treated": "matching needs treated and control units, and there are 0 and 30",
    }[whose]
    assert any(words in note for note in ledger.notes)
    assert {record.column for record in ledger.records} == set(range(1, 13))


PAIR = '[robustness.psm]\nmethods = ["nearest"]\ncaliper = 1.0\n'


def few_treated(count: int) -> pd.DataFrame:
    """The first cities, of one province, treated from 2008 on, and nobody else."""
    frame = table()
    return frame.assign(eip=((frame["code"] < count) & (frame["year"] >= 2008)).astype(int))


def test_one_matched_pair_has_no_clustered_error(tmp_path: Path) -> None:
    real = real_panel(tmp_path, few_treated(1), PAIR)
    document = paper.estimate(real)
    sample = "PSM, 1 nearest neighbour, caliper 1"
    found = {(r.se_type, r.term): r for r in document.records if (r.table, r.sample) == ("R", sample)}
    for term in ("did", "x", "constant"):
        one = found["cluster:unit", term]
        assert (one.se, one.pvalue, one.lower, one.upper) == (None,) * 4
        assert found["iid", term].se
    (note,) = (note for note in document.notes if "has no cluster:unit error of eip, x, constant" in note)
    assert note.endswith("of matched treated units and as many of matched controls, and there are 1 and 1.")
    (shown,) = (one for one in journal_tables(document) if one.name == "R" and not one.appendix)
    assert not any(row.kind == "error" for row in shown.rows)
    assert not any("*" in cell for row in shown.rows for cell in row.cells)
    bias = [s.value for s in document.statistics if s.name in ("mean_bias_before", "mean_bias_after")]
    assert bias == [None, None]
    assert json.loads(document.to_json())["records"]


def test_treated_units_of_one_cluster_have_no_error_of_it(tmp_path: Path) -> None:
    menu = 'cluster = "province"\n' + PAIR + '[inference]\nerrors = ["cluster:unit"]\ndraws = 99\n'
    ledger = fitted(real_panel(tmp_path, few_treated(3), menu))
    found = {(r.se_type, r.term): r.se for r in ledger.records}
    assert found["cluster:province", "did"] is None
    assert found["cluster:province", "x"]
    assert found["cluster:unit", "did"]
    assert any("has no cluster:province error of did: " in note for note in ledger.notes)


def test_treated_units_without_a_match_are_counted(tmp_path: Path) -> None:
    menu = '[robustness.psm]\nmethods = ["nearest"]\nneighbours = 5\nreplacement = false\ncaliper = 1.0\n'
    apart = table().assign(x=lambda f: f["x"] + 9 * (f["code"] == f.loc[f["eip"] == 1, "code"].min()))
    ledger = fitted(real_panel(tmp_path, apart, menu))
    psm = facts(ledger, model="psm")
    assert psm["treated_on_support"] == psm["treated"] - 1
    alone = int(psm["treated_on_support"] - psm["treated_matched"])
    assert alone > 0
    (note,) = (note for note in ledger.notes if "near enough" in note)
    assert f"without replacement: {alone} treated units on the common support are left out" in note
    assert "because no unused control is near enough" in note


# Every wrong key of [robustness]: one line a problem, all at once, exit code 2.


SHORT_PANEL = """
[panel]
unit = "city"
period = "year"
outcome = "y"
treatment = "eip"
controls = ["x"]
"""
Edit = Callable[[pd.DataFrame], pd.DataFrame]


def problems(folder: Path, menu: str, panel: str = SHORT_PANEL, edit: Edit = lambda frame: frame) -> list[str]:
    """What is said of a menu, by line, for eight cities and six years; three are treated, from 2004 or 2005 on."""
    rng = np.random.default_rng(5)
    start = np.array([2004, 2004, 2005, 9999, 9999, 9999, 9999, 9999])
    frame = pd.DataFrame({"code": np.repeat(np.arange(8), 6), "year": np.tile(np.arange(2001, 2007), 8)})
    frame["city"] = [f"c{code}" for code in frame["code"]]
    frame["province"] = [f"p{code // 2}" for code in frame["code"]]
    frame["region"] = np.where(frame["code"] < 3, "east", "west")
    frame["eip"] = (frame["year"] >= start[frame["code"]]).astype(int)
    frame[["y", "x", "other", "policy"]] = rng.standard_normal((48, 4))
    frame["country"], frame["lon"] = "c", 3.0
    frame["height"], frame["double"] = 20.0 + frame["code"] ** 2, 2.0 * frame["eip"] + frame["x"]
    try:
        made_cities.real_panel(folder, panel + menu, edit(frame))
    except BadInput as error:
        return str(error).splitlines()
    return []


SPEC: dict[str, tuple[str, list[str]]] = {
    "unknown key": ("[robustness]\nlags = 1\n", ["unknown key 'lags'", "did you mean 'lag'?"]),
    "a text for the menu of psm": ("[robustness]\npsm = 3\n", ["[robustness.psm]; is 3; allowed: a table"]),
    "unknown key of psm": ("[robustness.psm]\ncalliper = 1\n", ["[robustness.psm]", "did you mean 'caliper'?"]),
    "lag of nothing": ("[robustness]\nlag = 0\n", ["lag = 0", "1 or more"]),
    "quantiles out of order": ("[robustness]\nwinsorize = [0.99, 0.01]\n", ["winsorize = [0.99, 0.01]", "order"]),
    "quantiles out of range": ("[robustness]\nwinsorize = [1, 99]\n", ["winsorize[1] = 99"]),
    "quantiles that do nothing": ("[robustness]\nwinsorize = [0, 1]\n", ["changes nothing"]),
    "window out of order": ("[robustness]\nwindows = [[2005, 2005]]\n", ["windows: [2005, 2005]", "order"]),
    "window twice": ("[robustness]\nwindows = [[2001, 2005], [2001, 2005]]\n", ["windows names [2001, 2005] twice"]),
    "nothing to exclude": ("[robustness]\nexclude = { city = [] }\n", ["exclude.city is empty"]),
    "excluded twice": ('[robustness]\nexclude = { city = ["c1", "c1"] }\n', ["exclude.city names 'c1' twice"]),
    "policy is the treatment": ('[robustness]\npolicies = ["eip"]\n', ["policies names 'eip', which is the treatment"]),
    "policy is a control": ('[robustness]\npolicies = ["x"]\n', ["'x', which is a control"]),
    "outcome is the outcome": ('[robustness]\noutcomes = ["y"]\n', ["outcomes names 'y', which is the outcome"]),
    "outcome is the year": ('[robustness]\noutcomes = ["year"]\n', ["'year', which is the period"]),
    "groups are units": ('[robustness]\nregion_by_period = "city"\n', ["region_by_period = 'city' is the unit"]),
    "no method": ("[robustness.psm]\nmethods = []\n", ["methods = []", "nearest, radius, kernel"]),
    "unknown method": ('[robustness.psm]\nmethods = ["nearst"]\n', ["methods[0] = 'nearst'", "nearest"]),
    "method twice": ('[robustness.psm]\nmethods = ["radius", "radius"]\n',
                     ["[robustness.psm]; methods names 'radius' twice"]),
    "caliper of zero": ("[robustness.psm]\ncaliper = 0\n", ["caliper = 0", "above 0"]),
    "neighbours of zero": ("[robustness.psm]\nneighbours = 0\n", ["neighbours = 0", "1 or more"]),
    "years out of order": ("[robustness.psm]\nyears = [2003, 2001]\n", ["years = [2003, 2001]", "order"]),
    "no covariate": ("[robustness.psm]\ncovariates = []\n", ["there is no covariate to match on"]),
    "treatment as covariate": ('[robustness.psm]\ncovariates = ["eip"]\n', ["psm.covariates names 'eip'"]),
}  # fmt: skip


FILE: dict[str, tuple[str, list[str]]] = {
    "unknown column": ('[robustness]\noutcomes = ["othr"]\n', ["no column 'othr'", "[robustness] outcomes", "'other'"]),
    "unknown policy": ('[robustness]\npolicies = ["z"]\n', ["no column 'z'", "[robustness] policies"]),
    "unknown group": ('[robustness]\nregion_by_period = "z"\n', ["no column 'z'", "region_by_period"]),
    "unknown column to exclude by": ('[robustness]\nexclude = { regio = ["east"] }\n', ["'regio'", "'region'"]),
    "unknown covariate": ('[robustness.psm]\ncovariates = ["z"]\n', ["no column 'z'", "psm.covariates"]),
    "unknown value": ('[robustness]\nexclude = { region = ["eastt"] }\n', ["names 'eastt'", "east, west", "'east'"]),
    "unknown city": ('[robustness]\nexclude = { city = ["c9"] }\n', ["exclude.city names 'c9'"]),
    "everyone excluded": ('[robustness]\nexclude = { region = ["east", "west"] }\n', ["exclude.region leaves 0 units"]),
    "the treated excluded": ('[robustness]\nexclude = { region = ["east"] }\n', ["leaves no treated observation"]),
    "window outside": ("[robustness]\nwindows = [[1999, 2004]]\n", ["[1999, 2004] is outside", "within 2001-2006"]),
    "window before treatment": ("[robustness]\nwindows = [[2001, 2003]]\n",
                                ["[2001, 2003] leaves no treated observation"]),
    "lag too long": ("[robustness]\nlag = 5\n", ["lag = 5 leaves 1 of 6 periods"]),
    "one group": ('[robustness]\nregion_by_period = "country"\n', ["'country' is the same for all units"]),
    "groups of one": ('[robustness]\nregion_by_period = "code"\n', ["'code' differs between all units"]),
    "group that varies": ('[robustness]\nregion_by_period = "other"\n', ["varies within the unit c0"]),
    "outcome as text": ('[robustness]\noutcomes = ["province"]\n', ["holds 'p0'", "column 'province'"]),
    "outcome of the units": ('[robustness]\noutcomes = ["height"]\n',
                             ["column 'height', [robustness] outcomes; is absorbed by the unit and time effects",
                              "name another outcome"]),
    "constant outcome": ('[robustness]\noutcomes = ["lon"]\n', ["column 'lon', [robustness] outcomes; is constant"]),
    "outcome of the treatment": ('[robustness]\noutcomes = ["double"]\n',
                                 ["column 'double'", "is collinear with eip, x and the effects"]),
    "years outside": ("[robustness.psm]\nyears = [1990, 1995]\n", ["years = [1990, 1995]", "within 2001-2006"]),
}  # fmt: skip


@pytest.mark.parametrize("name", [*SPEC, *FILE])
def test_wrong_in_the_spec_or_for_this_panel(name: str, tmp_path: Path) -> None:
    menu, words = (SPEC | FILE)[name]
    found = problems(tmp_path, menu)
    assert len(found) == 1, found
    for word in words:
        assert word in found[0]


def test_all_problems_at_once(tmp_path: Path) -> None:
    spec = "[robustness]\nlag = 0\nwindows = [[2005, 2003]]\n[robustness.psm]\nmethods = []\ncaliper = -1\n"
    assert len(problems(tmp_path, spec)) == 4  # also of the keys beside one of the wrong kind
    panel = '[robustness]\nwindows = [[1999, 2003], [2001, 2003]]\nlag = 9\nexclude = { city = ["c9", "z"] }\n'
    assert len(problems(tmp_path, panel + "[robustness.psm]\nyears = [1990, 1991]\n")) == 6


def test_gaps_of_further_columns_follow_missing(tmp_path: Path) -> None:
    def gap(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(other=frame["other"].mask(frame.index == 9))

    menu = '[robustness]\noutcomes = ["other"]\n'
    found = problems(tmp_path, menu, edit=gap)
    assert len(found) == 1
    assert "column 'other', unit c1, 2004" in found[0]
    assert "[robustness] outcomes; is missing in 1 row" in found[0]
    assert problems(tmp_path, menu, SHORT_PANEL + 'missing = "drop"\n', gap) == []
    lagged = '[robustness]\noutcomes = ["before"]\n[transform]\nbefore = { lag = "other" }\n'
    assert problems(tmp_path, lagged) == []


def test_other_outcomes_are_judged_where_they_are_there(tmp_path: Path) -> None:
    def once(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(other=frame["other"].where(frame["year"] == 2003 + frame["code"] % 2))

    menu, panel = '[robustness]\noutcomes = ["other"]\n', SHORT_PANEL + 'missing = "drop"\n'
    (line,) = problems(tmp_path, menu, panel, once)
    assert "column 'other', [robustness] outcomes; is absorbed" in line
    assert problems(tmp_path, menu, panel, lambda frame: frame.assign(other=np.nan)) == []


def test_psm_needs_a_treatment_and_a_time_before(tmp_path: Path) -> None:
    without = SHORT_PANEL.replace('treatment = "eip"\n', "")
    assert "there is no treatment to match on" in problems(tmp_path, "[robustness.psm]\n", without)[0]

    def early(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(eip=frame["eip"].mask(frame["city"] == "c0", 1))

    assert "some units are treated in 2001" in problems(tmp_path, "[robustness.psm]\n", edit=early)[0]
    assert problems(tmp_path, "[robustness.psm]\nyears = [2001, 2050]\n", edit=early) == []

    def all_treated(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(eip=frame["eip"].mask(frame["year"] == 2006, 1))

    assert "every unit is treated at some time" in problems(tmp_path, "[robustness.psm]\n", edit=all_treated)[0]


def test_names_that_belong_to_something_else(tmp_path: Path) -> None:
    named = problems(tmp_path, '[robustness]\npolicies = ["did"]\n', edit=lambda f: f.assign(did=f["policy"]))
    assert "[robustness] policies; the column 'did' has the name of a term" in named[0]
    found = problems(tmp_path, "[robustness]\nexclude = { capital = [1] }\n", SHORT_PANEL + 'capital = "code"\n')
    assert "not the one that [panel] names for capital" in found[0]


def test_an_empty_menu_and_its_defaults(tmp_path: Path) -> None:
    assert problems(tmp_path, "[robustness]\n") == []
    assert RobustnessSection().further == {}
    assert [value_label(value) for value in (1, 1.0, True, "east ", 2.5)] == ["1", "1", "1", "east", "2.5"]


def test_a_sample_of_what_is_excluded_has_no_such_column(tmp_path: Path) -> None:
    real = real_panel(tmp_path, table(), "[robustness]\nexclude = { region = [1] }\nunit_trends = true\n")
    inside = real.panel.attributes["region"] == 1
    sample = replace(real, panel=real.subset(inside, weights=False))
    assert [check.sample for check in robustness_table.checks(sample)] == ["city-specific linear trends"]
    assert {record.units for record in fitted(sample).records} == {15}
    assert len(list(robustness_table.checks(real))) == 2
