"""Tables 1 to 5 on small panels: against pandas, linearmodels and dummies, and what they say when they cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import made_cities
import numpy as np
import pandas as pd
import pytest
from ledgers import by_term, fact, filled, one, records
from linearmodels.panel import PanelOLS, PooledOLS, RandomEffects

import panelproof as pp
from estimators.core.estimator import Estimates
from estimators.mediation import Mediation, indirect_at
from experiments.panel_spec.first_spec import description
from experiments.panel_spec.spec import RealPanel
from experiments.tables import descriptives, mediation_table, regressions
from experiments.tables.ledger import Ledger
from results.tables.records import Document
from sim.presets import Paper
from sim.schema import Roles
from sim.streams import Streams

CITIES, YEARS = 40, tuple(range(2010, 2017))
CONTROLS = ["inv", "road"]
WHOLE: dict[str, Any] = {
    "unit": "city", "period": "year", "outcome": "icr", "treatment": "eip", "controls": CONTROLS, "mediators": ["gpat"],
    "other_policy": "pilot", "capital": "is_capital", "groups": ["zone", "grade"], "cluster": "city",
}  # fmt: skip


def frame(missing: int = 0) -> pd.DataFrame:
    """40 cities, 7 years; 16 are treated from four different years on, four others and four of them by the pilot."""
    rng = np.random.default_rng(6)
    first = np.r_[np.repeat([2011, 2012, 2013, 2015], 4), np.full(24, 9999)]
    pilot = np.r_[np.full(12, 9999), np.repeat([2012, 2014], 4), np.full(20, 9999)]
    table = pd.DataFrame({"city": np.repeat([f"城{i:02d}" for i in range(CITIES)], 7), "year": np.tile(YEARS, CITIES)})
    own = np.repeat(np.arange(CITIES), 7)
    table["eip"] = (table["year"] >= first[own]).astype(int)
    table["pilot"] = (table["year"] >= pilot[own]).astype(int)
    for name in (*CONTROLS, "gpat"):
        table[name] = rng.normal(size=len(table)) + rng.normal(size=CITIES)[own]
    noise = rng.normal(size=len(table)) + rng.normal(size=CITIES)[own]
    table["icr"] = 5.0 + 0.5 * table["eip"] + 0.3 * table["inv"] - 0.2 * table["road"] + 0.1 * table["year"] + noise
    table["is_capital"] = (own % 9 == 0).astype(int)
    table["zone"] = np.array(["east", "middle", "west"])[own % 3]
    table["grade"] = 1.0 + own % 2
    table["lot"] = own // 4
    return table.drop(index=rng.choice(len(table), missing, replace=False)) if missing else table


def real_panel(table: pd.DataFrame, *without: str, errors: Sequence[str] = (), **keys: Any) -> RealPanel:
    """With other keys of [panel], or without some of WHOLE."""
    panel = {key: value for key, value in (WHOLE | keys).items() if key not in without}
    return pp.read_panel(table, {"panel": panel, "inference": {"draws": 99, "errors": [*errors]}})


def tables_of(real: RealPanel) -> Ledger:
    ledger = Ledger(seed=1)
    for table in (descriptives, regressions):
        table.add(real, ledger)
    return ledger


def column(ledger: Ledger, table: str, number: int, model: str, se_type: str, sample: str = "all") -> dict[str, Any]:
    """Estimate and standard error by term."""
    found = records(ledger, table=table, column=number, model=model, se_type=se_type, sample=sample)
    return {record.term: (record.estimate, record.se) for record in found}


def statistic(ledger: Ledger, table: str, number: int, name: str, term: str | None = None, sample: str = "all") -> Any:
    return fact(ledger, table=table, column=number, term=term, sample=sample, name=name)


@pytest.fixture(scope="module", params=[0, 21], ids=["balanced", "unbalanced"])
def made(request: pytest.FixtureRequest) -> tuple[pd.DataFrame, Ledger]:
    table = frame(request.param)
    real = real_panel(table)
    return table.set_index(["city", "year"], drop=False), tables_of(real)


def test_table_1_is_what_xtsum_says(made: tuple[pd.DataFrame, Ledger]) -> None:
    table, ledger = made
    for term, name in {"icr": "icr", "did": "eip", "inv": "inv", "gpat": "gpat", "pilot": "pilot"}.items():
        x = table[name].astype(float)
        means = x.groupby(level=0).mean()
        within = x - x.groupby(level=0).transform("mean") + x.mean()
        wanted = {"mean": x.mean(), "nobs": len(x)}
        for part, values in {"": x, "_between": means, "_within": within}.items():
            wanted |= {f"{how}{part}": getattr(values, {"sd": "std"}.get(how, how))() for how in ("sd", "min", "max")}
        for what, value in wanted.items():
            got = statistic(ledger, "1", 1, what, term)
            np.testing.assert_allclose(got, value, rtol=1e-11, err_msg=f"{name} {what}")
    assert {item.model for item in ledger.statistics if item.table == "1"} == {"descriptive"}


def test_what_does_not_vary_has_no_spread_of_rounding() -> None:
    """Of levels within units, of common paths between, of a constant all over; where panels are shown too."""
    rng, seen = np.random.default_rng(1), np.ones((1, 24, 30), dtype=bool)
    seen[0, 3:7, ::4] = False
    levels, path = np.tile(3.3 * rng.random(30), (24, 1)), np.tile(rng.random((24, 1)), (1, 30))
    for scale in (1e-6, 1.0, 1e6):
        for x, part, observed in ((levels, "_within", seen), (path, "_between", None), (0 * path + 0.1, "", seen)):
            found = descriptives.describe(scale * x, observed)
            assert (found[f"sd{part}"], found["sd"] == 0) == (0.0, part == ""), (scale, part)
    panel = pp.read_panel(frame().assign(same=0.1), {"panel": WHOLE | {"other_policy": "same"}}).panel
    assert [row["sd"] for row in description(panel)["variables"] if row["variable"] == "same"] == [0.0]
    assert "e\N{MINUS SIGN}1" not in panel._repr_html_()


def reference(table: pd.DataFrame, number: int, model: str) -> Any:
    """Another program's column of table 2, fitted with iid errors."""
    names = ["eip"] if number == 1 else ["eip", *CONTROLS]
    x = table[names].assign(constant=1.0).astype(float)
    if number == 3 and model == "random":
        x = x.join(pd.get_dummies(table["year"], drop_first=True, dtype=float).rename(columns=str))
    if model == "pooled" and number < 3:
        return PooledOLS(table["icr"], x).fit(cov_type="unadjusted")
    if model == "random":
        return RandomEffects(table["icr"], x).fit(cov_type="unadjusted", small_sample=False)
    return PanelOLS(table["icr"], x, entity_effects=number > 3, time_effects=number != 4).fit(cov_type="unadjusted")


@pytest.mark.parametrize(("number", "model"), [*((n, m) for n in (1, 2, 3) for m in ("pooled", "random")), (4, "did"),
                                               (5, "did")])  # fmt: skip
def test_table_2_is_what_linearmodels_says(made: tuple[pd.DataFrame, Ledger], number: int, model: str) -> None:
    table, ledger = made
    found = column(ledger, "2", number, model, "iid")
    wanted = reference(table, number, model)
    assert list(found) == ["did", *([] if number == 1 else CONTROLS), "constant"]
    for term, (estimate, se) in found.items():
        name = "eip" if term == "did" else term
        np.testing.assert_allclose([estimate, se], [wanted.params[name], wanted.std_errors[name]], rtol=1e-8)


def two_way(table: pd.DataFrame, names: list[str]) -> Any:
    model = PanelOLS(table["icr"], table[names].astype(float), entity_effects=True, time_effects=True)
    return model.fit(cov_type="clustered", cluster_entity=True, group_debias=True, auto_df=False, count_effects=False)


def assert_slopes(found: dict[str, Any], wanted: Any, names: list[str]) -> None:
    ours = [found["did" if name == "eip" else name][0] for name in names]
    np.testing.assert_allclose(ours, wanted.params[names], rtol=1e-8)


def test_table_3(made: tuple[pd.DataFrame, Ledger]) -> None:
    table, ledger = made
    names = ["eip", *CONTROLS]
    found = column(ledger, "3", 1, "did", "cluster:unit", "without capitals")
    assert_slopes(found, two_way(table[table["is_capital"] == 0], names), names)
    assert statistic(ledger, "3", 1, "units_left_out", sample="without capitals") == 5
    found = column(ledger, "3", 2, "did", "cluster:unit")
    assert list(found) == ["did", "pilot", *CONTROLS, "constant"]
    assert_slopes(found, two_way(table, ["eip", "pilot", *CONTROLS]), ["eip", "pilot", *CONTROLS])
    correlation = np.corrcoef(table["eip"], table["pilot"])[0, 1]
    np.testing.assert_allclose(statistic(ledger, "3", 2, "correlation", "pilot"), correlation, rtol=1e-11)
    x = np.column_stack([pd.get_dummies(table[key], dtype=float) for key in ("city", "year")])
    both = table[["eip", "pilot"]].to_numpy(dtype=float)
    left = (both - x @ np.linalg.lstsq(x, both, rcond=None)[0]).T
    within = statistic(ledger, "3", 2, "correlation_within", "pilot")
    np.testing.assert_allclose(within, np.corrcoef(*left)[0, 1], rtol=1e-9)


def test_table_4_columns_and_their_differences(made: tuple[pd.DataFrame, Ledger]) -> None:
    table, ledger = made
    names = ["eip", *CONTROLS]
    for group, first, values in (("zone", 1, ["east", "middle", "west"]), ("grade", 4, [1, 2])):
        effects = []
        for position, value in enumerate(values):
            sample = f"{group} = {value}"
            found = column(ledger, "4", first + position, "did", "cluster:unit", sample)
            assert_slopes(found, two_way(table[table[group] == value], names), names)
            effects.append(found["did"][0])
            treated = table.loc[(table[group] == value) & (table["eip"] == 1), "city"].nunique()
            assert statistic(ledger, "4", first + position, "treated_units", sample=sample) == treated
        found = column(ledger, "4", 0, "interaction", "cluster:unit", group)
        assert list(found) == ["did", *(f"did x {value}" for value in values[1:])]
        differences = [found[f"did x {value}"][0] for value in values[1:]]
        np.testing.assert_allclose(differences, np.array(effects[1:]) - effects[0], rtol=1e-10)
        p, mcse = (statistic(ledger, "4", 0, name, sample=group) for name in ("permutation_p", "permutation_p_mcse"))
        assert 0.01 <= p <= 1
        np.testing.assert_allclose(mcse, np.sqrt(p * (1 - p) / 99))
        assert 0 < statistic(ledger, "4", 0, "wald_p", sample=group) <= 1
        assert statistic(ledger, "4", 0, "wald", sample=group) >= 0


def test_the_error_types_of_every_column() -> None:
    ledger = tables_of(real_panel(frame(), errors=("driscoll-kraay", "cluster:unit+period", "wild:unit")))
    whole = ["iid", "hc1", "cluster:unit", "driscoll-kraay", "cluster:unit+period", "wild:unit"]
    kinds: dict[tuple[str, int, str], list[str]] = {}
    for record in ledger.records:
        kinds.setdefault((record.table, record.column, record.model), []).append(record.se_type)
    for (_, _, model), found in kinds.items():
        assert list(dict.fromkeys(found)) == (whole[:-1] if model in ("random", "interaction") else whole)
    assert len(kinds) == 8 + 2 + 5 + 1
    assert any("Random effects have no wild:unit errors" in note for note in ledger.notes)
    assert not ledger.failures


def test_a_panel_without_treatment_has_columns_of_controls() -> None:
    ledger = tables_of(real_panel(frame(), "treatment"))
    places = {(record.table, record.column, record.model) for record in ledger.records}
    assert places == {("2", 2, "pooled"), ("2", 2, "random"), ("2", 3, "pooled"), ("2", 3, "random"), ("2", 4, "did"),
                      ("2", 5, "did"), ("3", 1, "did")}  # fmt: skip
    assert {record.term for record in ledger.records} == {*CONTROLS, "constant"}
    for words in ("There is no table 4", "pilot is added to a treatment"):
        assert any(words in note for note in ledger.notes)


def test_a_panel_without_controls_has_no_column_2() -> None:
    ledger = tables_of(real_panel(frame(), "controls"))
    assert {record.column for record in ledger.records if record.table == "2"} == {1, 3, 4, 5}
    assert not ledger.failures


def test_a_panel_without_regressors_has_table_1_alone() -> None:
    real = real_panel(frame(), "controls", "mediators", "other_policy", "groups", "cluster")
    ledger = tables_of(replace(real, panel=replace(real.panel, roles=Roles("icr", None))))
    assert not ledger.records
    assert {item.table for item in ledger.statistics} == {"1"}
    assert ledger.notes == ["No table 2: the spec names neither a treatment nor controls."]


def changed(column: str, value: object, of: str = "zone", where: object = None) -> pd.DataFrame:
    """The panel with another value of a column, in a group or everywhere."""
    table = frame()
    rows = table[of].notna() if where is None else table[of] == where
    return table.assign(**{column: table[column].mask(rows, table["year"] * 1.0 if value == "year" else value)})


NO_COLUMN = {
    "a group without treatment": (
        changed("eip", 0, where="east"), "Table 4 has no column 1 (zone = east): variable 'did' is constant."),
    "a group whose effects absorb a control": (
        changed("road", "year", "grade", 2),
        "Table 4 has no column 5 (grade = 2): variable 'road' is absorbed by the unit and time effects."),
    "a group with a constant outcome": (
        changed("icr", 3.0, where="west"), "Table 4 has no column 3 (zone = west): variable 'icr' is constant."),
    "no capital": (changed("is_capital", 0), "Table 3 has no column 1: no unit is a capital (is_capital)."),
    "capitals alone": (changed("is_capital", 1), "Table 3 has no column 1: every unit is a capital (is_capital)."),
    "the same policy twice": (
        frame().assign(pilot=lambda rows: rows["eip"]),
        "Table 3 has no column 2 (all): variable 'pilot' is collinear with did and the effects."),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_COLUMN)
def test_a_column_that_cannot_be_fitted_is_a_note(case: str) -> None:
    table, note = NO_COLUMN[case]
    ledger = tables_of(real_panel(table))
    assert note in ledger.notes
    assert not ledger.failures
    if case == "a group without treatment":
        assert {record.column for record in ledger.records if record.table == "4"} == {0, 2, 3, 4, 5}
        assert list(column(ledger, "4", 0, "interaction", "iid", "zone")) == ["did", "did x west"]
    few = "No test of equal effects by grade: it needs two values with an estimate."
    assert (few in ledger.notes) == ("grade" in note)


def test_many_values_have_the_test_alone() -> None:
    table = frame()
    table["lot"] = table["city"].str[1:].astype(int) % 10
    table.loc[table["lot"] == 3, "eip"] = 0
    ledger = tables_of(real_panel(table, groups=["lot"]))
    (note,) = (note for note in ledger.notes if "by lot" in note)
    assert note.startswith("Table 4 has no columns by lot, which has 10 values; the test of equal effects leaves ")
    left = note.removesuffix(".").partition("leaves out those without an estimate or a clustered error: ")[2]
    terms = {record.term for record in ledger.records if record.table == "4"}
    assert "3" in left.split(", ")
    assert len(terms) == 10 - len(left.split(", "))
    assert not terms & {f"did x {value}" for value in left.split(", ")}
    assert {(record.table, record.column) for record in ledger.records if record.table == "4"} <= {("4", 0)}


def test_eight_values_have_columns_and_three_units_enter_the_test() -> None:
    """Of lot 7 cities 7, 15 and 23."""
    table = frame().assign(lot=lambda rows: rows["city"].str[1:].astype(int).map(lambda i: i % 8 if i < 24 else i % 7))
    ledger = filled(regressions.add_subsamples, real_panel(table, groups=["lot"]))
    assert {record.column for record in ledger.records} == set(range(9))
    assert list(column(ledger, "4", 0, "interaction", "iid", "lot"))[-1] == "did x 7"


FEW = "clustered errors tend to be too small with so few"


@pytest.mark.parametrize(("treated", "said"), [(1, "1 treated unit"), (9, "9 treated units"), (10, "")])
def test_few_treated_units_are_a_note_once(treated: int, said: str) -> None:
    table = frame()
    table["eip"] *= table["city"].isin(table["city"].unique()[:treated])
    ledger = tables_of(real_panel(table, "groups"))
    found = [note.partition(": ")[0] for note in ledger.notes if FEW in note]
    assert found == ([f"The panel has {said}"] if said else [])


def test_few_treated_clusters_are_a_note() -> None:
    ledger = tables_of(real_panel(frame(), "groups", cluster="lot"))
    said = f"The panel has 16 treated units in 4 clusters by lot: {FEW}"
    assert any(note.startswith(said) for note in ledger.notes)
    (note,) = (note for note in ledger.notes if note.startswith("Errors clustered by lot rest on 10 clusters"))
    assert 'the remedy (errors = ["wild:lot"] in [inference]); below about 6 clusters even this is not reliable' in note
    assert statistic(ledger, "2", 4, "clusters:lot") == 10


def test_few_clusters_all_of_them_treated_are_one_note() -> None:
    ledger = tables_of(real_panel(frame(), "groups", cluster="zone", errors=("wild:zone", "cluster:unit+period")))
    assert not [note for note in ledger.notes if FEW in note]
    (note,) = (note for note in ledger.notes if note.startswith("Errors clustered by zone rest on 3 clusters"))
    assert "The wild cluster bootstrap is among the errors" in note
    (period,) = (note for note in ledger.notes if note.startswith("Errors clustered by unit and period rest on 7"))
    assert "wild" not in period
    assert statistic(ledger, "2", 5, "clusters:unit+period") == 7


def test_clusters_that_a_value_lacks() -> None:
    ledger = tables_of(real_panel(frame(), cluster="zone"))
    note = "The test of equal effects by zone clusters by unit: cluster:zone has one cluster for some value."
    assert note in ledger.notes
    noted = [note for note in ledger.notes if "they need 2 clusters" in note]
    columns = "columns 1 (zone = east), 2 (zone = middle) and 3 (zone = west)"
    assert noted == [f"Table 4, {columns} have no cluster:zone errors: they need 2 clusters."]
    assert {r.se_type for r in ledger.records if r.sample == "zone = east"} == {"iid", "hc1"}
    assert not ledger.failures


def test_many_values_without_two_estimates_are_one_note() -> None:
    table = frame()
    table["alone"] = table["city"]
    ledger = tables_of(real_panel(table, groups=["alone"]))
    (note,) = (note for note in ledger.notes if "alone" in note)
    assert note == (
        "Table 4 has no columns by alone, which has 40 values; there is no test of equal effects: none of them has an "
        "estimate with a clustered error, and the test needs two."
    )


# Table 5: effects made of its columns, a world with known paths, its statistics and notes.


SPEC: dict[str, Any] = {
    "panel": {"unit": "city", "period": "year", "outcome": "icr", "treatment": "eip", "controls": ["inv", "road"],
              "mediators": ["gpat"]},
    "inference": {"draws": 199, "seed": 7},
}  # fmt: skip
MADE = {
    "panel": {"unit": "city", "period": "year", "outcome": "y", "treatment": "d", "controls": ["road", "book"],
              "mediators": ["patents", "jobs"], "cluster": "province"},
    "inference": {"draws": 199},
}  # fmt: skip


def table(real: RealPanel) -> Ledger:
    return filled(mediation_table.add, real, real.spec.inference.seed)


def mediation_statistic(ledger: Ledger, name: str, mediator: str, term: str | None = None) -> float:
    return fact(ledger, model="mediation", mediator=mediator, term=term, name=name)


def paper_frame(design: Paper) -> pd.DataFrame:
    panel = design.draw(Streams(20060101)).panel
    years, cities = len(panel.periods), len(panel.units)
    table = {"city": np.repeat(np.array(panel.units, dtype=object), years), "year": np.tile(panel.periods, cities)}
    columns = {"icr": "icr", "eip": "did", "inv": "inv", "road": "road", "gpat": "gpat"}
    return pd.DataFrame(table | {name: panel.variables[own][0].T.ravel() for name, own in columns.items()})


@pytest.fixture(scope="module")
def paper() -> RealPanel:
    return pp.read_panel(paper_frame(Paper()), SPEC)


@pytest.fixture(scope="module")
def of_paper(paper: RealPanel) -> Ledger:
    return table(paper)


@pytest.fixture(scope="module")
def cities() -> RealPanel:
    return pp.read_panel(made_cities.frame(), MADE)


@pytest.fixture(scope="module")
def of_cities(cities: RealPanel) -> Ledger:
    return table(cities)


def test_columns_are_where_the_paper_has_them(cities: RealPanel, of_cities: Ledger) -> None:
    assert not of_cities.failures
    one_of_them, other = cities.panel.roles.mediators
    assert {(r.table, r.column, r.model, r.mediator) for r in of_cities.records} == {
        ("5", first + at, model, mediator) for first, mediator in ((1, one_of_them), (3, other))
        for at, model in ((0, "mediator"), (1, "outcome"), (1, "mediation"))
    }  # fmt: skip
    types = ["delta", "sobel", "monte-carlo", "bootstrap:province"]
    for name in ("nie", "nde", "total", "proportion"):
        own = records(of_cities, model="mediation", mediator=one_of_them, term=name)
        assert [record.se_type for record in own] == types
    assert {r.se_type for r in records(of_cities, model="outcome")} == {"iid", "hc1", "cluster:province"}


@pytest.mark.parametrize("position", [0, 1])
def test_effects_are_made_of_the_two_columns(cities: RealPanel, of_cities: Ledger, position: int) -> None:
    mediator = cities.panel.roles.mediators[position]
    own, clustered = {"mediator": mediator}, "cluster:province"
    a = one(of_cities, model="mediator", term="did", se_type=clustered, **own)
    b = one(of_cities, model="outcome", term=mediator, se_type=clustered, **own)
    nde = one(of_cities, model="outcome", term="did", se_type=clustered, **own)
    effects = by_term(of_cities, model="mediation", se_type="sobel", **own)
    nie, direct, total = (effects[name] for name in ("nie", "nde", "total"))
    assert nie.estimate == pytest.approx(a.estimate * b.estimate, rel=1e-9)
    assert direct.estimate == pytest.approx(nde.estimate, rel=1e-9)
    assert direct.se == pytest.approx(nde.se, rel=1e-8)
    assert total.estimate == pytest.approx(nie.estimate + direct.estimate, rel=1e-9)
    assert nie.se == pytest.approx(np.hypot(a.estimate * b.se, b.estimate * a.se), rel=1e-8)
    assert effects["proportion"].se is None


def test_intervals_of_draws_are_kept(of_paper: Ledger) -> None:
    for error in ("monte-carlo", "bootstrap:unit"):
        nie = one(of_paper, model="mediation", term="nie", se_type=error)
        assert nie.upper is not None
        assert nie.lower < 0.000666 < nie.upper
        assert (nie.lower > 0) == (nie.pvalue <= 0.05)
        assert abs(nie.upper + nie.lower - 2 * nie.estimate) > 1e-8
        direct = one(of_paper, model="mediation", term="nde", se_type=error)
        assert direct.pvalue == 2 / 200  # of 199 draws none is below 0


def test_sensitivity_stands_beside_the_effect(paper: RealPanel, of_paper: Ledger) -> None:
    a = one(of_paper, model="mediation", term="a", se_type="delta").estimate
    nie = one(of_paper, model="mediation", term="nie", se_type="delta")
    rho, ratio = (mediation_statistic(of_paper, name, "gpat") for name in ("rho_at_zero", "sd_ratio"))
    assert mediation_statistic(of_paper, "r2_product_at_zero", "gpat") == pytest.approx(rho**2, rel=1e-12)
    grid = [mediation_statistic(of_paper, "nie_at_rho", "gpat", f"rho = {step / 10:g}") for step in range(-9, 10)]
    expected = indirect_at(np.arange(-9, 10) / 10, np.array(a), np.array(rho), np.array(ratio))
    np.testing.assert_allclose(grid, expected, rtol=1e-9, atol=1e-14)
    assert (np.diff(grid) < 0).all()
    assert mediation_statistic(of_paper, "nie_at_rho_lower", "gpat", "rho = 0") == pytest.approx(nie.lower, rel=1e-9)
    assert mediation_statistic(of_paper, "nie_at_rho_upper", "gpat", "rho = 0") == pytest.approx(nie.upper, rel=1e-9)
    at_zero, _ = Mediation().sensitivity(paper.panel, np.array([rho]))
    assert abs(at_zero[0, 0]) < 1e-15
    assert any("rho_at_zero" in note for note in of_paper.notes)
    assert any("ρ at which a × b is 0" in note for note in of_paper.notes)  # as the table calls it
    assert not any("not meaningful" in note for note in of_paper.notes)


def test_a_total_effect_whose_interval_holds_no_zero_is_distinguishable() -> None:
    """t = 1.99 with 200 degrees of freedom is significant at 5%; with 30 it is not."""
    for dof, said in ((200.0, False), (30.0, True)):
        found = Estimates(("total",), ("delta",), np.array([[1.99]]), np.ones((1, 1, 1)), np.full((1, 1, 1), dof),
                          np.array([1], dtype=np.uint8))  # fmt: skip
        ledger = Ledger(seed=1)
        mediation_table._add_note(ledger, "gpat", found)
        assert any("not distinguishable from zero (t = 1.99)" in note for note in ledger.notes) is said


@pytest.mark.parametrize("left_out", ["treatment", "mediators"])
def test_nothing_without_treatment_or_mediator(left_out: str) -> None:
    kept = {key: value for key, value in SPEC["panel"].items() if key != left_out}
    ledger = table(pp.read_panel(paper_frame(Paper()), SPEC | {"panel": kept}))
    assert not ledger.records
    assert len(ledger.notes) == ("treatment" in left_out)


def test_a_mediator_that_says_nothing_new_is_a_note() -> None:
    frame = paper_frame(Paper())
    frame["gpat"] = 2.0 * frame["eip"] + 1.0
    ledger = table(pp.read_panel(frame, SPEC))
    assert not ledger.records
    assert any("no columns for gpat" in note and "collinear" in note for note in ledger.notes)


def test_unbalanced_panels_have_all_of_it() -> None:
    frame = paper_frame(Paper()).sample(frac=0.9, random_state=1)
    ledger = table(pp.read_panel(frame, SPEC))
    assert not ledger.failures
    assert len(records(ledger, model="mediation")) == 24
    json = Document({}, tuple(ledger.records), tuple(ledger.statistics), tuple(ledger.notes)).to_json()
    assert "NaN" not in json


def test_effects_whose_errors_cancel_are_said_to_have_none() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame([(f"c{i}", year) for i in range(8) for year in range(2001, 2007)], columns=["city", "year"])
    frame["province"] = np.where(frame["city"] < "c4", "north", "south")
    frame["d"] = ((frame["province"] == "south") & (frame["year"] >= 2004)).astype(float)
    for name in ("patents", "y"):
        frame[name] = frame["d"] + rng.standard_normal(len(frame))
    ledger = table(pp.read_panel(frame, MADE | {"panel": {**MADE["panel"], "controls": [], "mediators": ["patents"]}}))
    for kind in ("delta", "sobel", "monte-carlo", "bootstrap:province"):
        for name in ("nie", "total"):
            found = one(ledger, model="mediation", term=name, se_type=kind)
            assert (found.se, found.pvalue, found.lower) == (None, None, None), (name, kind)
    assert "Table 5, column 2 (all) has no delta error of nie, total: it is zero up to rounding." in ledger.notes
    assert any(note.startswith("Table 5, column 1 (all) has no cluster:province error of d") for note in ledger.notes)
    assert not [s for s in ledger.statistics if s.name == "nie_at_rho_lower" and s.value is not None]
