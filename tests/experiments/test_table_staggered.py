"""Tables S to S4: the numbers of their estimators, the samples of stacks, and where they cannot be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ledgers import by_term, facts, filled
from refusals import refuses
from warned import dummies

import panelproof as pp
from estimators.core.estimator import Estimates, Status
from estimators.staggered.bacon import decompose
from estimators.staggered.callaway_santanna import CallawaySantAnna
from estimators.staggered.honest import BoundsQuestion, relative_magnitudes, smoothness
from estimators.staggered.stacked import Stacked
from estimators.staggered.trend_evidence import EventTimes, slope_found
from experiments.estimation import estimate, journal_tables
from experiments.panel_spec.spec import RealPanel
from experiments.tables import robustness_table, staggered_table
from experiments.tables.adoption_checks import _add_power
from experiments.tables.ledger import Ledger, known_terms
from results.tables.records import Record

DATES = {2004: 8, 2006: 6, 2008: 4, 0: 22}  # units by first treated year, 0 = never


def effect(first: int, since: int) -> float:
    """Effects grow with time since adoption and differ between cohorts."""
    return 1.0 + 0.25 * since + 0.5 * (first == 2006)


def frame(dates: Mapping[int, int] = DATES, years: int = 10) -> pd.DataFrame:
    """Cities in five provinces from 2001 on; `dates` as DATES."""
    rng = np.random.default_rng(5)
    first = rng.permutation(np.repeat(list(dates), list(dates.values())))
    n, t = len(first), years
    table = pd.DataFrame({"code": np.repeat(np.arange(n), t), "year": np.tile(np.arange(2001, 2001 + t), n)})
    table["city"] = [f"c{code:02d}" for code in table["code"]]
    table["province"] = [f"p{code % 5}" for code in table["code"]]
    table["first"] = first[table["code"]]
    table["d"] = ((table["first"] > 0) & (table["year"] >= table["first"])).astype(int)
    table["x"] = rng.standard_normal(n * t)
    gains = [effect(g, y - g) if d else 0.0 for g, y, d in zip(table["first"], table["year"], table["d"], strict=True)]
    table["y"] = np.array(gains) + rng.standard_normal(n)[table["code"]] + 0.3 * (table["year"] - 2001)
    table["y"] += rng.standard_normal(n * t)
    return table


def real_panel(
    table: pd.DataFrame, controls: Sequence[str] = (), *, honest: bool = False, staggered: bool = True,
    weights: Sequence[dict[str, Any]] = (), **keys: Any,
) -> RealPanel:  # fmt: skip
    """keys: others of [panel]; None leaves one out."""
    panel = {"unit": "city", "period": "year", "outcome": "y", "treatment": "d", "controls": [*controls],
             "groups": ["province"]} | keys  # fmt: skip
    kept = {key: value for key, value in panel.items() if value is not None}
    menu = {"staggered": staggered, "honest": honest}
    return pp.read_panel(table, {"panel": kept, "weights": [*weights], "robustness": menu})


fitted = partial(filled, staggered_table.add)


def found(ledger: Ledger, model: str, transform: str | None = None, table: str = "S") -> dict[str, Record]:
    """Records of a column by term."""
    return by_term(ledger, table=table, model=model, transform=transform)


def said(ledger: Ledger, model: str, term: str | None = None, **wanted: object) -> dict[str, Any]:
    """Statistics of a fit, or of one of its terms."""
    return facts(ledger, model=model, term=term, **wanted)


@pytest.fixture(scope="module")
def usual() -> tuple[RealPanel, Ledger]:
    real = real_panel(frame(), ["x"], honest=True)
    return real, fitted(real)


def test_reference_periods_alone_are_no_known_terms() -> None:
    one = np.ones((1, 2, 4))
    se = np.array([[[np.nan, np.nan, 0.1, np.nan], [np.nan, 0.2, np.nan, np.nan]]])
    made = Estimates(("reference", "zero", "whole", "alone"), ("iid", "hc1"), np.array([[0.0, 0.0, 2.0, 3.0]]), se, one,
                     np.array([Status.OK]))  # fmt: skip
    assert known_terms(made) == ("zero", "whole", "alone")


def test_columns_are_those_of_the_estimators_and_of_dummies(usual: tuple[RealPanel, Ledger]) -> None:
    real, ledger = usual
    column, own = found(ledger, "callaway-santanna", "never"), CallawaySantAnna(base="universal")(real.panel)
    assert column.keys() == {term for term in own.terms if not np.isnan(own.se[0, 0, own.terms.index(term)])}
    for term, record in column.items():
        at = own.terms.index(term)
        assert (record.estimate, record.se) == pytest.approx((own.estimate[0, at], own.se[0, 0, at]), rel=1e-12), term
    assert found(ledger, "did").keys() == {"did"}
    assert found(ledger, "did")["did"].estimate == pytest.approx(
        dummies(frame(), "city", "year", regressors=("d", "x")), abs=1e-10
    )


def test_table_s2_is_what_the_diagnostics_say(usual: tuple[RealPanel, Ledger]) -> None:
    real, ledger = usual
    bacon = decompose(real.panel)
    for controls, wanted in (
        (None, ["treated v never", "earlier v later", "later v earlier"]),
        ("controls", ["treated v never", "two dates", "one cohort"]),
    ):
        kinds = [one.term for one in ledger.statistics
                 if one.model == "goodman-bacon" and one.name == "weight" and one.transform == controls]  # fmt: skip
        shares = [said(ledger, "goodman-bacon", kind, transform=controls) for kind in kinds]
        weights = np.array([share["weight"] for share in shares], dtype=float)
        assert kinds == wanted
        assert weights.sum() == pytest.approx(1.0, abs=1e-12)
        total = said(ledger, "goodman-bacon", transform=controls)["twfe"]
        assert weights @ np.array([share["mean"] for share in shares], dtype=float) == pytest.approx(total, abs=1e-12)
    assert total == pytest.approx(found(ledger, "did")["did"].estimate, abs=1e-10)
    total = said(ledger, "goodman-bacon", transform=None)["twfe"]
    assert total == pytest.approx(dummies(frame(), "city", "year", regressors=("d",)), abs=1e-10)
    assert total == bacon.twfe[0]
    plain = said(ledger, "dcdh-weights", transform=None)
    assert plain["coefficient"] == pytest.approx(total, abs=1e-12)
    assert plain["cells"] == 8 * 7 + 6 * 5 + 4 * 3
    with_x = said(ledger, "dcdh-weights", transform="controls")
    assert with_x["coefficient"] == pytest.approx(found(ledger, "did")["did"].estimate, abs=1e-10)
    switch = found(ledger, "dcdh", table="S2")
    assert switch["event(0)"].estimate == pytest.approx(
        found(ledger, "callaway-santanna", "not-yet")["event(0)"].estimate, abs=1e-10
    )  # every switcher is compared with those untreated in the same two years


def test_the_mean_effect_is_that_from_adoption_on() -> None:
    ledger = Ledger(seed=1)
    _add_power(EventTimes(np.array([-3, -2, 0, 1]), np.array([0.1, 0.3, 2.0, 4.0]), np.eye(4) + 0.5, 20), ledger)
    assert said(ledger, "roth").items() >= {"before": 2.0, "after": 2.0, "mean_effect": 3.0}.items()
    found = said(ledger, "roth", "0.5")  # what passes lies above its falling leads, and the later estimates with it
    assert (found["bias_passed"] or 0) > (found["bias_untested"] or 0) > 0


def test_table_s3_and_power_are_of_the_clustered_covariance(usual: tuple[RealPanel, Ledger]) -> None:
    real, ledger = usual
    column = found(ledger, "callaway-santanna", "never")
    path = EventTimes.of(CallawaySantAnna(base="universal"), real.panel)
    assert (path.events.tolist(), path.fewest) == ([-5, -4, -3, -2, 0, 1, 2, 3, 4, 5], 18)
    for place, event in enumerate(path.events):
        assert path.estimate[place] == column[f"event({event})"].estimate
        assert np.sqrt(path.covariance[place, place]) == pytest.approx(column[f"event({event})"].se, abs=1e-14)
    wald = path.estimate[:4] @ np.linalg.inv(path.covariance[:4, :4]) @ path.estimate[:4]
    kept = said(ledger, "callaway-santanna", transform="never")
    assert kept["pretrend"] == pytest.approx(wald, rel=1e-10)
    assert 0 < (kept["pretrend_p"] or 0) < (kept["pretrend_hotelling_p"] or 0) < 1
    assert said(ledger, "roth", "0.5")["slope"] == pytest.approx(slope_found(path.covariance, 4, 0.5), abs=1e-12)
    question = BoundsQuestion(path.estimate, path.covariance, 4)
    for restriction, term, interval in (
        ("relative magnitudes", "1", relative_magnitudes(question, 1.0)),
        ("smoothness", "0.5", smoothness(question, 0.5 * float(column["event(0)"].se or 0))),
    ):
        ends = said(ledger, "honest", term, transform=restriction, sample="event(0)")
        assert (ends["lower"], ends["upper"]) == pytest.approx(interval, abs=1e-7)  # a flat minimum is searched
    assert [figure.name for figure in ledger.figures] == ["event-study", "goodman-bacon"]


def test_intervals_under_smoothness_of_few_clusters_say_that_they_are_short(usual: tuple[RealPanel, Ledger]) -> None:
    many = fitted(real_panel(frame({2004: 20, 0: 20}, years=6), honest=True))
    assert said(many, "honest", "0", transform="smoothness", sample="event(0)")
    few, none = ([note for note in ledger.notes if "under smoothness" in note] for ledger in (usual[1], many))
    assert not none
    assert [" is made of 18 clusters of treated units" in note for note in few] == [True]


def test_published_numbers_of_the_minimum_wage_panel(shared_data: Path) -> None:
    spec = {"panel": {"unit": "countyreal", "period": "year", "outcome": "lemp", "first_treated": "first.treat"},
            "robustness": {"staggered": True}}  # fmt: skip
    ledger = fitted(pp.read_panel(shared_data / "mpdta.csv", spec))
    column = found(ledger, "callaway-santanna", "never")
    assert round(column["overall:event"].estimate, 4) == -0.0772
    assert round(column["overall:cohort"].estimate, 4) == -0.0310
    assert round(found(ledger, "did")["did"].estimate, 4) == -0.0365
    assert said(ledger, "stacked")["cohorts"] == 3
    seen = "Stacked: cohorts enter with the part of the window that the panel covers"
    assert any(seen in note for note in ledger.notes)


EDGES: Mapping[str, tuple[Mapping[int, int], Sequence[str], Sequence[str]]] = {
    "nobody never treated": (
        {2003: 5, 2004: 12, 2007: 12},
        ["All units become treated", "Imputation: periods from 2007 on, in which all",
         "than coefficients (not yet treated: 11; not yet treated, doubly robust: 10)."],
        ["not-yet"]),
    "one date": (
        {2005: 15, 0: 21},
        ["adoption is not staggered", "(never treated, doubly robust: 19; not yet treated, doubly robust: 19)."],
        ["never", "not-yet"]),
    "everybody at once": ({2005: 20}, ["No table S: all units become treated in 2005"], []),
    "one period before": (
        {2002: 15, 0: 15},
        ["Only one period lies before adoption", "No power of the pre-trend test and no bounds"], ["never"]),
    "some treated throughout": (
        {2001: 5, 2006: 10, 0: 15}, ["5 units are treated from the first period on"], ["never"]),
    "one treated unit": ({2006: 1, 0: 15}, ["No power of the pre-trend test"], []),
    "nobody treated within": ({2001: 8, 0: 8}, ["No table S: no unit becomes treated"], []),
}  # fmt: skip


@pytest.mark.parametrize("case", list(EDGES))
def test_what_cannot_be_is_a_note(case: str) -> None:
    dates, notes, variants = EDGES[case]
    real = real_panel(frame(dates), ["x"], honest=any("No power" in note for note in notes))
    ledger = fitted(real)
    for words in notes:
        assert any(words in note for note in ledger.notes), (words, ledger.notes)
    for variant in variants:
        assert found(ledger, "callaway-santanna", variant)
    assert not ledger.failures
    assert all(np.isfinite(record.estimate) for record in ledger.records)


def test_what_the_balanced_part_lacks_is_not_said_of_the_file() -> None:
    table = frame()
    ledger = fitted(real_panel(table.drop(table.index[table["year"] == 2005][0]), balance="drop-periods"))
    (note,) = ledger.notes
    assert note == "No table S of the balanced part: periods are not evenly spaced: those used have no 2005."


def test_without_never_treated_units_the_periods_before_the_last_adoption_serve() -> None:
    ledger = fitted(real_panel(frame({2004: 12, 2007: 12})))
    compared = found(ledger, "callaway-santanna", "not-yet")
    for model in ("imputation", "two-stage", "event-study", "stacked", "sun-abraham"):
        column = found(ledger, model)
        assert column["overall"].estimate, model
    assert found(ledger, "imputation")["overall"].periods == 6
    assert said(ledger, "imputation")["treated_units"] == 12
    assert found(ledger, "sun-abraham")["overall"].estimate == pytest.approx(compared["overall"].estimate, abs=1e-10)
    assert not found(ledger, "callaway-santanna", "never")


def test_what_is_treated_throughout_is_counted_apart() -> None:
    ledger = fitted(real_panel(frame({2001: 5, 2006: 10, 0: 15})))
    assert (found(ledger, "did")["did"].units, found(ledger, "imputation")["overall"].units) == (30, 25)
    assert said(ledger, "imputation")["treated_units"] == 10
    assert said(ledger, "goodman-bacon", "treated v always")["comparisons"] == 1


def test_an_effect_seen_in_one_unit_has_no_error() -> None:
    ledger = fitted(real_panel(frame({2004: 1, 2007: 9, 0: 15})))
    for variant in ("never", "not-yet"):
        column = found(ledger, "callaway-santanna", variant)
        assert column["event(4)"].se is None
        assert column["event(3)"].se
    assert said(ledger, "roth")["after"] == 4
    assert found(ledger, "sun-abraham")["event(4)"].se is None
    (note,) = (note for note in ledger.notes if note.startswith("Table S, column 7 (all) has no cluster:unit error of"))
    assert "event(4)" in note


def test_effects_without_errors_have_no_band_and_the_reason_is_said() -> None:
    document = estimate(real_panel(frame({2006: 1, 0: 15}), honest=True))
    column = [r for r in document.records if (r.model, r.transform) == ("callaway-santanna", "never")]
    assert {"event(-2)", "event(0)"} <= {record.term for record in column}
    assert all(record.se is None for record in column)
    (note,) = (note for note in document.notes if note.startswith("No power of the pre-trend test and no bounds"))
    assert "there is no error of event(-2) and event(0): " in note
    assert "need event times" not in note
    (shown,) = (table for table in journal_tables(document) if table.name == "S")
    assert "Uniform critical value" not in [row.label for row in shown.rows]
    assert any("The panel has 1 treated unit: clustered errors" in note for note in document.notes)
    early = fitted(real_panel(frame({2002: 1, 0: 15}), honest=True))
    (note,) = (note for note in early.notes if note.startswith("No power of the pre-trend test and no bounds"))
    assert note.endswith("they need event times before and after adoption.")


def test_clusters_are_counted_under_the_tables() -> None:
    real = real_panel(frame(), cluster="province")
    document = estimate(real)
    count = len(np.unique(real.panel.attributes["province"]))
    for table in journal_tables(document):
        if table.name in ("2", "S"):
            assert f"Clustered by province: G = {count}." in table.notes


def test_unbalanced_panels_are_cut_or_refused_in_words() -> None:
    holes = frame().drop(index=[3, 50])
    refused = fitted(real_panel(holes))
    assert not refused.records
    assert any("which needs a balanced panel" in note for note in refused.notes)
    cut = fitted(real_panel(holes, balance="drop-units"))
    assert found(cut, "imputation")["overall"].units == 38
    assert any("are of the balanced part: 38 units" in note for note in cut.notes)
    document = estimate(real_panel(holes, balance="drop-units"))
    sizes = {table.name: table.notes[-1] for table in journal_tables(document) if table.name in {"2", "S", "S2a"}}
    assert [" 38 units " in sizes[name] for name in ("2", "S", "S2a")] == [False, True, True]


def test_off_by_default_and_wrong_keys() -> None:
    ledger = fitted(real_panel(frame(), staggered=False))
    assert (ledger.records, ledger.statistics, ledger.notes, ledger.figures) == ([], [], [], [])
    refuses(r"honest without staggered.*staggered = true", lambda: real_panel(frame(), staggered=False, honest=True))
    refuses("staggered: there is no treatment", lambda: real_panel(frame(), ["x"], treatment=None))


def test_local_spillovers_by_weights_and_by_distance() -> None:
    table = frame()
    rng = np.random.default_rng(3)
    longitude, latitude = rng.uniform(104, 120, 40), rng.uniform(24, 40, 40)
    table["lon"], table["lat"] = longitude[table["code"]], latitude[table["code"]]
    places = {"longitude": "lon", "latitude": "lat", "groups": None}
    ledger = fitted(real_panel(table, weights=[{"kind": "knn", "k": 4}], **places))
    for model in ("spatial-did", "rings"):
        column = found(ledger, model, table="S4")
        own = column["did"].estimate + column["did_bias"].estimate
        assert own == pytest.approx(found(ledger, "did")["did"].estimate, abs=1e-10)
        assert {"att", "spill:treated", "spill:untreated"} <= column.keys()


def test_terms_without_an_error_in_table_s4_and_rings_of_few_units_are_named() -> None:
    """Of treated units one alone lies 100 to 200 km from the next one, and one beyond."""
    table = frame({2004: 5, 0: 25})
    treated, others = (
        table.loc[table["d"].groupby(table["code"]).transform("max") == d, "code"].unique() for d in (1, 0)
    )
    places = dict(zip((*treated, *others), (0.0, 0.2, 0.5, 1.8, 10.0, 0.3, -1.5, *range(30, 53)), strict=True))
    keys = {"longitude": "lon", "latitude": "lat", "groups": None}
    ledger = fitted(real_panel(table.assign(lon=0.0, lat=table["code"].map(places)), **keys))
    assert [note for note in ledger.notes if note.startswith("Table S4")] == [
        "Table S4, column 1 (all) has no cluster:unit error of treated:100-200, att, spill:treated, did_bias: it is "
        "zero up to rounding.",
        "Table S4, Rings, units in rings with fewer than 10 (untreated:0-100: 1; untreated:100-200: 1; "
        "treated:0-100: 3; treated:100-200: 1; treated beyond: 1): clustered errors tend to be too small with so few.",
    ]


def of_stacks(ledger: Ledger) -> list[str]:
    return [note for note in ledger.notes if note.startswith("Table S, Stacked")]


def test_a_cohort_without_its_whole_window_stays_in_and_is_named() -> None:
    """The windows of 2008 and 2010 lie in the panel, that of 2004 begins before it."""
    real = real_panel(frame({2004: 8, 2008: 6, 2010: 4, 0: 12}, 16))
    ledger, place = fitted(real), Stacked().terms().index("overall")
    column, kept = found(ledger, "stacked")["overall"], said(ledger, "stacked")
    assert column.estimate == Stacked(complete=False)(real.panel).estimate[0, place]
    assert column.estimate != Stacked()(real.panel).estimate[0, place]
    assert (kept["cohorts"], kept["treated_units"]) == (3, 18)
    assert of_stacks(ledger) == ["Table S, Stacked: cohorts enter with the part of the window that the panel covers, "
                                 "2004 with a part only."]  # fmt: skip


def test_whole_windows_are_preferred_where_they_keep_the_same_cohorts() -> None:
    """Each stack has eleven years; 2010 adopts within the window of 2008, and the early years are in none."""
    real = real_panel(frame({2008: 6, 2010: 4, 0: 12}, 16))
    ledger = fitted(real)
    column = found(ledger, "stacked")["overall"]
    assert column.estimate == Stacked()(real.panel).estimate[0, Stacked().terms().index("overall")]
    assert of_stacks(ledger) == []
    assert column.nobs == 11 * (6 + 12) + 11 * (4 + 12)
    assert (column.units, column.periods) == (22, 13)


def test_a_cohort_without_clean_controls_is_named_and_not_counted() -> None:
    """Nobody is never treated: those of 2018 are the only controls, and their own stack would have none."""
    ledger = fitted(real_panel(frame({2006: 6, 2008: 5, 2018: 9}, 20)))
    kept = said(ledger, "stacked")
    assert (kept["cohorts"], kept["treated_units"]) == (2, 11)
    assert found(ledger, "stacked")["overall"].nobs == 11 * (6 + 9) + 11 * (5 + 9)
    assert of_stacks(ledger) == ["Table S, Stacked: cohort 2018 left out, because no unit is untreated to the end of "
                                 "the window."]  # fmt: skip


@pytest.mark.parametrize("complete", [True, False])
def test_what_stacks_hold(complete: bool) -> None:
    real = real_panel(frame({2004: 8, 2008: 6, 0: 12}, 16))
    sample = Stacked(complete=complete).sample(real.panel)
    assert (sample.cohorts, sample.cut) == ((2008,) if complete else (2004, 2008), (2004,))
    assert (int(sample.units.sum()), sample.treated) == ((18, 6) if complete else (26, 14))
    early = 9 * (8 + 12)
    assert sample.rows == 11 * (6 + 12) + (0 if complete else early)


def test_only_tables_that_exist_are_said_to_be_of_the_balanced_part() -> None:
    holes = frame({2004: 8, 2006: 6, 0: 12}).drop(index=[3, 50])
    for honest, names in ((False, "S and S2"), (True, "S, S2 and S3")):
        document = estimate(real_panel(holes, balance="drop-units", honest=honest))
        (note,) = (note for note in document.notes if "of the balanced part: 24 units" in note)
        assert note.startswith(f"Tables {names} are of")


def test_rows_without_a_lag_are_counted() -> None:
    """A gap of one year, and a unit that enters late: the row after each has no lag, and goes as 2001 does."""
    table = frame({2004: 8, 2006: 6, 0: 12})
    late, gap = (table["code"] == 7) & (table["year"] < 2005), (table["code"] == 9) & (table["year"] == 2008)
    ledger, panel = Ledger(seed=1), {"unit": "city", "period": "year", "outcome": "y", "treatment": "d"}
    spec = {"panel": panel | {"missing": "drop"}, "robustness": {"lag": 1}}
    robustness_table.add(pp.read_panel(table[~late & ~gap], spec), ledger)
    assert ledger.records[0].nobs == 26 * 9 - 3 - 1 - 2
    (note,) = ledger.notes
    assert note.endswith("2001 is left out, because the lags have no value there; 2 rows of later "
                         "periods are left out too, because their unit is not "
                         "observed 1 period before.")  # fmt: skip
