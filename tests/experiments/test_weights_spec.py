"""[panel] weight and [collapse]: a weighted panel read, its tables, individuals as cells, and what goes wrong."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import here, refusal
from ledgers import by_term, fact, one
from refusals import refuses, refuses_all

from estimators import Estimator, Mediation, Moderation, PanelIV, TripleDifference, TwoWayDID
from experiments.estimation import estimate
from experiments.panel_spec.first_spec import propose_spec
from experiments.panel_spec.spec import RealPanel, real_panel_of, spec_of
from experiments.tables.ledger import journal_tables

CITIES = Path(__file__).parents[1] / "data" / "cities.csv"
PANEL: dict[str, Any] = {"unit": "city", "period": "year", "outcome": "y", "treatment": "d",
                         "controls": ["second", "road"], "weight": "population"}  # fmt: skip


def cities() -> pd.DataFrame:
    """The made-up cities with a population that grows."""
    frame = pd.read_csv(CITIES)
    rng = np.random.default_rng(4)
    first = dict(zip(frame["city"].unique(), rng.gamma(1.5, 80.0, frame["city"].nunique()) + 10, strict=True))
    frame["population"] = frame["city"].map(first) * 1.01 ** (frame["year"] - 2010)
    frame.attrs = {"file": "cities.csv", "first_row": 2}
    return frame


def read(frame: pd.DataFrame, panel: dict[str, Any] | None = None, **tables: Any) -> RealPanel:
    return real_panel_of(frame, spec_of({"panel": PANEL | (panel or {}), **tables}))


def test_a_weight_is_a_variable_of_the_panel_and_of_its_parts() -> None:
    real = read(cities())
    assert real.panel.roles.weight == "population"
    assert real.panel.variables["population"].shape == real.panel.variables["y"].shape
    part = real.subset(np.arange(len(real.panel.units)) < 12)
    assert part.roles.weight == "population"
    assert np.isfinite(TwoWayDID()(part).se).all()
    both = read(cities(), {"controls": ["second", "population"]}).panel.roles  # a control may be the weight
    assert (both.controls, both.weight) == (("second", "population"), "population")
    without = read(cities(), {"weight": None})
    assert "population" not in without.panel.variables
    assert without.panel.digest != real.panel.digest


def test_tables_are_weighted_and_say_so_and_spatial_ones_are_not() -> None:
    tables: dict[str, Any] = {"weights": [{"kind": "knn", "k": 4}], "inference": {"draws": 99}}
    places = {"longitude": "lon", "latitude": "lat", "mediators": ["patents"], "controls": []}
    by = estimate(read(cities(), places, **tables))
    plain = estimate(read(cities(), places | {"weight": None}, **tables))
    assert by.panel["weight"] == "population"
    assert "weight" not in plain.panel
    assert "random" in {record.model for record in plain.records}
    assert "random" not in {record.model for record in by.records}
    own, others = ({(r.table, r.column, r.model, r.transform, r.sample, r.term, r.se_type): r.estimate
                    for r in document.records} for document in (by, plain))  # fmt: skip
    for key, value in own.items():
        if key[0] == "7":
            assert value == others[key]
        elif key[5] == "did" and key[0] in ("2", "5"):
            assert value != others[key], key
    notes = {table.name: table.notes for table in journal_tables(by)}
    weighted, not_weighted = "Weighted by population.", "Not weighted."
    assert all(weighted in notes[name] for name in ("2", "5"))
    assert not_weighted in next(found for name, found in notes.items() if name.startswith("7"))
    said = [note for table in journal_tables(plain) for note in table.notes]
    assert not {not_weighted, weighted} & set(said)
    assert any(note.startswith("Least squares, 2SLS, mediation, matching and staggered") for note in by.notes)
    assert {check.name for check in by.warnings} >= {"residual-ar1", "robustness-value", "not-checked:influence"}


def test_robustness_and_staggered_tables_are_weighted_or_say_why_not() -> None:
    checks = {"staggered": True, "lag": 1, "psm": {"methods": ["nearest"], "caliper": 0.5}}
    real = read(cities(), {"controls": ["second"]}, robustness=checks, inference={"draws": 99})
    found = estimate(real, cross_check=True)
    assert {item.program for item in found.cross_check} == {"linearmodels"}
    assert max(item.largest for item in found.cross_check) < 1e-8
    notes = {table.name: table.notes for table in journal_tables(found)}
    assert all("Weighted by population." in notes[name] for name in ("R", "S"))
    lacking = ("Goodman-Bacon decomposition", "weights of the two-way coefficient", "DID_M")
    for what in lacking:
        assert any(f"has no {what}: " in note and "cannot take weights" in note for note in found.notes)
    models = {record.model for record in found.records if record.table == "S"}
    assert {"imputation", "two-stage", "sun-abraham", "callaway-santanna"} <= models


def test_tables_of_instruments_moderators_and_groups_are_weighted() -> None:
    asked: dict[str, Any] = {
        "moderation": {"by": ["road"]}, "ddd": {"group": "side"}, "inference": {"draws": 99},
        "iv": {"endogenous": "second", "instruments": ["z"], "mediator": ["z"]},
    }  # fmt: skip
    frame, rng = cities(), np.random.default_rng(0)
    frame["z"] = rng.standard_normal(len(frame))
    frame["second"] += frame["z"]
    frame["patents"] += 5 * frame["z"]
    frame["side"] = np.where(frame["city"].astype("category").cat.codes % 2, "left", "right")
    real = read(frame, {"groups": ["side"], "mediators": ["patents"]}, **asked)
    found = estimate(real, cross_check=True)
    whole = real.panel.with_variables(real.further)
    own: dict[tuple[str, int], Estimator] = {
        ("M", 1): Moderation("road"), ("D", 1): TripleDifference("side", ("left", "right")),
        ("I", 2): PanelIV(endogenous=("second",), instruments=("z",)),
        ("I2", 2): Mediation("patents", errors=("delta",), instruments=("z",)),
    }  # fmt: skip
    for place, estimator in own.items():
        fit, error = estimator(whole), "delta" if place[0] == "I2" else "cluster:unit"
        shown = by_term(found, place=place, se_type=error)
        for k, term in enumerate(fit.terms):
            wanted = (fit.estimate[0, k], fit.se[0, fit.errors.index(error), k])
            assert (shown[term].estimate, shown[term].se) == pytest.approx(wanted, rel=1e-9), (place, term)
    road, pop = whole.variables["road"], whole.variables["population"]
    mean = fact(found, place=("M", 1), name="moderator_mean", term="road")
    assert mean == pytest.approx(np.average(road, weights=pop), rel=1e-12)
    high = one(found, place=("M", 1), se_type="cluster:unit", term="did at p90")
    at = Moderation("road", at=float(np.percentile(road, 90)))(whole)
    assert (high.estimate, high.se) == pytest.approx((at.params["did"], at.std_errors["did"]), rel=1e-8)
    notes = {table.name: table.notes for table in journal_tables(found)}
    assert all("Weighted by population." in notes[name] for name in ("M", "D", "I", "I2"))
    assert "The mean of a moderator is by weight; its quantiles count unit-periods alike." in notes["M"]
    assert {"2", "I"} <= {item.table for item in found.cross_check}
    assert max(item.largest for item in found.cross_check) < 1e-8
    assert not [note for note in found.notes if "table-" in note]


def test_robustness_values_are_those_of_the_weighted_regression() -> None:
    """Cinelli and Hazlett's value follows from t and the degrees of freedom of the weighted coefficient."""
    real = read(cities())
    check = next(one for one in estimate(real).warnings if one.name == "robustness-value")
    found = TwoWayDID(errors=("iid",))(real.panel)
    t, dof = float(found.estimate[0, 0] / found.se[0, 0, 0]), float(found.dof[0, 0, 0])
    assert check.numbers["t"] == pytest.approx(t, rel=1e-8)
    assert check.numbers["partial_r2"] == pytest.approx(t**2 / (t**2 + dof), rel=1e-8)


@pytest.mark.parametrize(("change", "said"), [
    ({"weight": "y"}, "weight = 'y' is outcome"),
    ({"weight": "d"}, "weight = 'd' is treatment"),
    ({"weight": "year"}, "weight = 'year' is period"),
    ({"weight": "popluation"}, "there is no column 'popluation'; *weight*did you mean 'population'"),
    ({"weight": 3}, "weight"),
    ({"weight": ""}, "weight"),
    ({"weight": "province"}, "holds 'P0'"),
])  # fmt: skip
def test_weights_that_are_none_are_one_line_each(change: dict[str, Any], said: str) -> None:
    refuses_all(said.replace("; *", "*").split("*"), read, cities(), change, count=1)


@pytest.mark.parametrize(("value", "said"), [
    (0.0, "the weight is 0; "), (-1.5, "the weight is -1.5"), (np.inf, "is infinite in 1 row"),
    (np.nan, "is missing in 1 row"),
])  # fmt: skip
def test_cells_that_are_no_weights_are_bad_input(value: float, said: str) -> None:
    frame = cities()
    frame.loc[5, "population"] = value
    refuses_all([said.removesuffix("; "), "column 'population'", "row 7"], read, frame)
    if np.isnan(value):
        real = read(frame, {"missing": "drop"})
        assert real.panel.nobs == len(frame) - 1
        assert np.isfinite(TwoWayDID()(real.panel).se).all()


def test_equal_and_very_uneven_weights_are_said() -> None:
    frame = cities()
    frame["population"] = 7.0
    alike = read(frame)
    assert any("is the same in all rows" in note for note in alike.notes)
    plain = TwoWayDID()(replace(alike.panel, roles=replace(alike.panel.roles, weight=None)))
    np.testing.assert_allclose(TwoWayDID()(alike.panel).se, plain.se, rtol=1e-10)
    frame["population"] = np.where(frame["city"] == "C01", 1e6, 1.0)
    assert any("is very uneven: 324 rows weigh as much as 9 equal ones" in note for note in read(frame).notes)


@pytest.mark.parametrize("command", ["twin", "trust", "race"])
def test_twins_refuse_weights(command: str, tmp_path: Path) -> None:
    cities().to_csv(tmp_path / "p.csv", index=False)
    (tmp_path / "s.toml").write_text(
        '[panel]\nunit = "city"\nperiod = "year"\noutcome = "y"\ntreatment = "d"\nweight = "population"\n'
    )
    out = tmp_path / ("out.json" if command == "race" else "out")
    told = refusal(command, tmp_path / "p.csv", "--spec", tmp_path / "s.toml", "--out", out)
    assert "twins cannot take weights: the panel is weighted by 'population'" in told


# Individuals within units.


PEOPLE: dict[str, Any] = {"unit": "city", "period": "year", "outcome": "wage", "treatment": "policy"}


def people(seed: int = 3) -> pd.DataFrame:
    """Repeated cross-sections: 4 to 40 people a city and year, other people each time."""
    rng, rows = np.random.default_rng(seed), []
    adoption = {i: [2012, 2014, 9999][i % 3] for i in range(15)}
    for i in range(15):
        for year in range(2010, 2017):
            for _ in range(int(rng.integers(4, 41))):
                rows.append((f"city {i:02d}", year, int(year >= adoption[i]), np.sin(i * year), f"p{i % 4}"))
    frame = pd.DataFrame(rows, columns=["city", "year", "policy", "rain", "province"])
    effects = frame["city"].str[-2:].astype(int) * 0.2 + frame["year"] * 0.05
    log = effects - 100 + 0.3 * frame["policy"] + 0.1 * frame["rain"] + rng.standard_normal(len(frame))
    frame["wage"] = np.exp(log)
    frame["survey"] = rng.gamma(2.0, 1.0, len(frame))
    frame.attrs = {"file": "people.csv", "first_row": 2}
    return frame


def by_dummies(frame: pd.DataFrame, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of policy and rain, and their clustered variances without a factor, from the people themselves."""
    dummies = pd.get_dummies(frame[["city", "year"]].astype(str), dtype=float).to_numpy()[:, 1:]
    x = np.column_stack([frame[["policy", "rain"]], np.ones(len(frame)), dummies])
    root = np.sqrt(np.asarray(weights))[:, None]
    y = np.log(frame["wage"].to_numpy())
    inverse = np.linalg.pinv((root * x).T @ (root * x), hermitian=True)
    beta = inverse @ ((root * x).T @ (root[:, 0] * y))
    scores = pd.DataFrame(x * (root[:, 0] ** 2 * (y - x @ beta))[:, None]).groupby(frame["city"].to_numpy()).sum()
    return beta[:2], np.diag(inverse @ scores.T.to_numpy() @ scores.to_numpy() @ inverse)[:2]


@pytest.mark.parametrize("weight", [None, "survey"])
def test_means_have_the_coefficients_and_clustered_errors_of_the_rows(weight: str | None) -> None:
    frame = people()
    panel = PEOPLE | {"outcome": "ln_wage", "controls": ["rain"]}
    collapse = {} if weight is None else {"weight": weight, "name": "mass"}
    spec = spec_of({"panel": panel, "transform": {"ln_wage": {"log": "wage"}}, "collapse": collapse})
    real = real_panel_of(frame, spec)
    found = TwoWayDID(errors=("cluster:unit",))(real.panel)
    each = np.ones(len(frame)) if weight is None else frame["survey"]
    beta, variance = by_dummies(frame, each)
    np.testing.assert_allclose(found.estimate[0], beta, rtol=1e-10)
    n, k, g = real.panel.nobs, 2 + 7, 15
    factor = g / (g - 1) * (n - 1) / (n - k)
    np.testing.assert_allclose(found.se[0, 0] ** 2, variance * factor, rtol=1e-9)
    name = real.panel.roles.weight
    assert name == ("rows" if weight is None else "mass")
    assert real.panel.variables[name].sum() == pytest.approx(each.sum())
    assert f"{len(frame):,} rows are collapsed to 105 unit-periods" in real.notes[0]


def test_lags_are_of_means_and_logs_of_rows() -> None:
    panel = PEOPLE | {"outcome": "ln_wage", "controls": ["before"]}
    spec = spec_of({"panel": panel, "collapse": {},
                    "transform": {"ln_wage": {"log": "wage"}, "before": {"lag": "ln_wage"}}})  # fmt: skip
    real = real_panel_of(people(), spec)
    means = np.log(people()["wage"]).groupby([people()["year"], people()["city"]]).mean().unstack().to_numpy()
    np.testing.assert_allclose(real.panel.variables["ln_wage"][0], means[1:], rtol=1e-12)
    np.testing.assert_allclose(real.panel.variables["before"][0], means[:-1], rtol=1e-12)


def test_rows_that_miss_a_value_are_left_out_before() -> None:
    frame = people()
    frame.loc[:9, "wage"] = np.nan
    refuses("is missing in 10 rows", lambda: real_panel_of(frame, spec_of({"panel": PEOPLE, "collapse": {}})))
    real = real_panel_of(frame, spec_of({"panel": PEOPLE | {"missing": "drop"}, "collapse": {"weight": "survey"}}))
    kept = frame.iloc[10:].assign(wage=lambda rows: rows["wage"] * rows["survey"])
    sums = kept.groupby(["year", "city"])[["wage", "survey"]].sum().unstack()
    np.testing.assert_allclose(real.panel.variables["wage"][0], sums["wage"] / sums["survey"], rtol=1e-12)
    assert any("10 rows with missing values left out before" in note for note in real.notes)


@pytest.mark.parametrize(("change", "tables", "said"), [
    ({}, {}, "if rows are individuals, add a table [collapse]"),
    ({}, {"collapse": {"weight": "surve"}}, "there is no column 'surve'"),
    ({}, {"collapse": {"name": "rain"}}, "the column 'rain' exists already"),
    ({}, {"collapse": {"nmae": "n"}}, "nmae"),
    ({"treatment": "own"}, {"collapse": {}}, "varies within the unit city 00 in 2010"),
    ({"groups": ["sex"]}, {"collapse": {}}, "varies within the unit city 00 in 2010"),
    ({}, {"collapse": {"weight": "minus"}}, "the weight is -1"),
    ({"outcome": "sex"}, {"collapse": {}}, "holds "),
])  # fmt: skip
def test_careless_collapses_are_one_line_each(change: Any, tables: Any, said: str) -> None:
    frame = people().assign(minus=-1.0)
    rng = np.random.default_rng(1)
    frame["own"], frame["sex"] = rng.integers(0, 2, len(frame)), rng.choice(["f", "m"], len(frame))
    frame.attrs = {"file": "people.csv", "first_row": 2}
    refuses(re.escape(said), lambda: real_panel_of(frame, spec_of({"panel": PEOPLE | change, **tables})), count=1)


def test_controls_that_differ_between_rows_are_said() -> None:
    real = real_panel_of(people(), spec_of({"panel": PEOPLE | {"controls": ["survey"]}, "collapse": {}}))
    assert any(note.startswith("survey differs between rows of a unit-period") for note in real.notes)


def test_init_proposes_to_collapse_individuals_and_a_weight_as_a_comment(tmp_path: Path) -> None:
    text, file = propose_spec(people(), "people.csv"), tmp_path / "people.csv"
    for line in ("[collapse]", 'unit = "city"', 'treatment = "policy"'):
        assert line in text
    assert "weight = " not in "".join(line for line in text.splitlines() if not line.startswith("#"))
    people().to_csv(file, index=False)
    (tmp_path / "s.toml").write_text(text)
    here("estimate", file, "--spec", tmp_path / "s.toml", "--out", tmp_path)
    assert json.loads((tmp_path / "estimates.json").read_text())["panel"]["weight"] == "rows"
    proposed = propose_spec(cities(), "cities.csv")
    assert '# weight = "population"' in proposed
    assert "collapse" not in tomllib.loads(proposed)
