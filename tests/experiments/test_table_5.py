"""Table 5: effects made of its columns, a world with known paths, its statistics and notes."""

from __future__ import annotations

from typing import Any

import made_cities
import numpy as np
import pandas as pd
import pytest

import panelproof as pp
from estimators.core.estimator import Estimates
from estimators.mediation import Mediation, indirect_at
from experiments.panel_spec.spec import RealPanel
from experiments.tables import mediation_table
from experiments.tables.ledger import Ledger
from results.tables.records import Document, Record
from sim.presets import Paper
from sim.streams import Streams

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
    ledger = Ledger(seed=real.spec.inference.seed)
    mediation_table.add(real, ledger)
    return ledger


def records(ledger: Ledger, **fields: object) -> list[Record]:
    return [record for record in ledger.records if all(getattr(record, key) == value for key, value in fields.items())]


def one(ledger: Ledger, **fields: object) -> Record:
    (found,) = records(ledger, **fields)
    return found


def statistic(ledger: Ledger, name: str, mediator: str, term: str | None = None) -> float:
    wanted = ("mediation", name, mediator, term)
    (found,) = [s.value for s in ledger.statistics if (s.model, s.name, s.mediator, s.term) == wanted]
    assert found is not None
    return found


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
        ("5", 1, "mediator", one_of_them),
        ("5", 2, "outcome", one_of_them),
        ("5", 2, "mediation", one_of_them),
        ("5", 3, "mediator", other),
        ("5", 4, "outcome", other),
        ("5", 4, "mediation", other),
    }
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
    effects = {r.term: r for r in records(of_cities, model="mediation", se_type="sobel", **own)}
    assert effects["nie"].estimate == pytest.approx(a.estimate * b.estimate, rel=1e-9)
    assert effects["nde"].estimate == pytest.approx(nde.estimate, rel=1e-9)
    assert effects["nde"].se == pytest.approx(nde.se, rel=1e-8)
    assert effects["total"].estimate == pytest.approx(effects["nie"].estimate + effects["nde"].estimate, rel=1e-9)
    assert b.se is not None
    sobel = np.hypot(a.estimate * b.se, b.estimate * a.se)
    assert effects["nie"].se == pytest.approx(sobel, rel=1e-8)
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
    rho, ratio = (statistic(of_paper, name, "gpat") for name in ("rho_at_zero", "sd_ratio"))
    assert statistic(of_paper, "r2_product_at_zero", "gpat") == pytest.approx(rho**2, rel=1e-12)
    grid = [statistic(of_paper, "nie_at_rho", "gpat", f"rho = {step / 10:g}") for step in range(-9, 10)]
    expected = indirect_at(np.arange(-9, 10) / 10, np.array(a), np.array(rho), np.array(ratio))
    np.testing.assert_allclose(grid, expected, rtol=1e-9, atol=1e-14)
    assert (np.diff(grid) < 0).all()
    assert statistic(of_paper, "nie_at_rho_lower", "gpat", "rho = 0") == pytest.approx(nie.lower, rel=1e-9)
    assert statistic(of_paper, "nie_at_rho_upper", "gpat", "rho = 0") == pytest.approx(nie.upper, rel=1e-9)
    at_zero, _ = Mediation().sensitivity(paper.panel, np.array([rho]))
    assert abs(at_zero[0, 0]) < 1e-15
    assert any("rho_at_zero" in note for note in of_paper.notes)
    assert any("ρ at which a × b is 0" in note for note in of_paper.notes)  # as the table calls it
    assert not any("not meaningful" in note for note in of_paper.notes)


def test_a_share_of_no_effect_is_said_to_mean_nothing() -> None:
    ledger = table(pp.read_panel(paper_frame(Paper(effect=0.0)), SPEC))
    assert any("gpat: the total effect is not distinguishable from zero" in note for note in ledger.notes)


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
