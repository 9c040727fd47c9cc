"""Callaway-Sant'Anna: published numbers, csdid, a twin by loops and derivatives, invariances, simulated truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import assert_batch_is_its_panels
from covering import covered
from refusals import refuses
from scipy.stats import norm

from estimators import Status
from estimators.staggered import adoption_effects as effects
from estimators.staggered.callaway_santanna import CallawaySantAnna
from references.cohort_effects_twin import Twin
from references.small_panels import bare
from references.staggered_panels import MINIMUM_WAGES, county_employment
from sim import Panel, Roles, Streams, Wanted
from sim.presets import Paper

METHODS = ("unconditional", "regression", "ipw", "dr")

# csdid 0.4.3 on mpdta, bootstrap off: estimate and standard error of overall, :event, :cohort, :calendar.
CSDID = {
    ("dr", "never", ""): ((-0.0399512752, 0.0120340128), (-0.0772398215, 0.0199649891),
                          (-0.0310182822, 0.0124460593), (-0.0417004321, 0.0159718519)),
    ("dr", "never", "lpop"): ((-0.0417517721, 0.0115028382), (-0.0803539497, 0.0189575572),
                              (-0.0328195972, 0.0118981787), (-0.0441773578, 0.0150381751)),
    ("dr", "not-yet", ""): ((-0.0397636256, 0.0120524248), (-0.077399314, 0.0195601769),
                            (-0.0304622281, 0.0125751201), (-0.0442670835, 0.0155709044)),
    ("dr", "not-yet", "lpop"): ((-0.0413516293, 0.0114278391), (-0.079992621, 0.0184940021),
                                (-0.0322640388, 0.0119834126), (-0.0456646329, 0.0146982568)),
    ("regression", "never", "lpop"): ((-0.0419686124, 0.0114448298), (-0.0807817453, 0.0187458547),
                                      (-0.0329292402, 0.0118603088), (-0.0445323314, 0.0148850278)),
    ("regression", "not-yet", "lpop"): ((-0.0413747698, 0.0113771614), (-0.0802485482, 0.0183190469),
                                        (-0.0322522727, 0.0119332406), (-0.0456773706, 0.0146082808)),
    ("ipw", "never", "lpop"): ((-0.0417770822, 0.0114997194), (-0.0803768866, 0.0189542504),
                               (-0.0328753687, 0.0118932002), (-0.044170101, 0.0150352236)),
    ("ipw", "not-yet", "lpop"): ((-0.0413894098, 0.0114192902), (-0.080016043, 0.0184897004),
                                 (-0.0323307179, 0.0119762957), (-0.0456656794, 0.0146961077)),
}  # fmt: skip


@pytest.fixture(scope="module")
def counties(shared_data: Path) -> Panel:
    return county_employment(shared_data, "lpop")


def made_up(
    first: list[int], periods: int = 6, replications: int = 1, seed: int = 3, covariates: int = 2
) -> tuple[Panel, Twin]:
    """Outcomes on adoption dates and covariates that matter to trends and to adoption."""
    rng = np.random.default_rng(seed)
    adopted, n = np.array(first), len(first)
    x = rng.standard_normal((periods, n, covariates)) + 0.3 * (adopted < periods)[:, None]
    time = np.arange(periods)[:, None]
    y = rng.standard_normal((replications, periods, n)) + time * x[0, :, 0] + 5 * rng.standard_normal(n)
    did = (time >= adopted).astype(float)
    names = {f"x{j}": x[None, :, :, j].copy() for j in range(covariates)}
    panel = Panel(
        units=tuple(f"u{i}" for i in range(n)), periods=tuple(range(periods)), roles=Roles("y", "did", tuple(names)),
        variables={"y": y, "did": did[None], **names}, attributes={"province": np.arange(n) // 3},
    )  # fmt: skip
    return panel, Twin(y[0], adopted, np.ones(n), x)


ADOPTION = [0, 0, *[2] * 9, *[3] * 8, *[5] * 7]
EVER = [*ADOPTION, *[6] * 16]
EVERYTHING: dict[str, Any] = {"window": (-5, 4), "cohorts": (2, 3, 5), "years": (1, 2, 3, 4, 5)}


def test_published_effects_of_minimum_wages(counties: Panel) -> None:
    got = CallawaySantAnna(cohorts=(2004, 2006, 2007), years=(2004, 2005, 2006, 2007))(counties).params
    for term, published in MINIMUM_WAGES.items():
        assert round(got[term], 4) == published, term


@pytest.mark.parametrize(("method", "controls", "covariate"), CSDID)
def test_overall_effects_and_errors_are_those_of_csdid(
    counties: Panel, method: Any, controls: Any, covariate: str
) -> None:
    names = (covariate,) if covariate else ()
    got = CallawaySantAnna(method=method, controls=controls, covariates=names)(counties)
    for term, (estimate, se) in zip(effects.OVERALL, CSDID[method, controls, covariate], strict=True):
        assert (got.params[term], got.std_errors[term]) == pytest.approx((estimate, se), abs=1e-10)


@pytest.mark.parametrize(("controls", "first"), [("never", EVER), ("not-yet", EVER), ("not-yet", ADOPTION)],
                         ids=["never", "not-yet", "not-yet-all-ever"])  # fmt: skip
@pytest.mark.parametrize("anticipation", [0, 1])
@pytest.mark.parametrize("base", ["varying", "universal"])
def test_comparisons_are_those_of_the_twin(first: list[int], controls: Any, base: Any, anticipation: int) -> None:
    panel, twin = made_up(first)
    twin = replace(twin, controls=controls, base=base, anticipation=anticipation)
    wanted = twin.terms()
    got = CallawaySantAnna(controls=controls, base=base, anticipation=anticipation, **EVERYTHING)(panel).params
    for term, value in got.items():
        assert np.isnan(value) if term not in wanted else value == pytest.approx(wanted[term], abs=1e-12), term
    assert {term for term in wanted if not term.startswith(("event", "att"))} >= set(effects.OVERALL)


@covered(method=METHODS, controls=["never", "not-yet"])
def test_influences_are_derivatives_with_respect_to_units_weights(method: Any, controls: Any) -> None:
    panel, twin = made_up(EVER)
    covariates = ("x0", "x1") if method != "unconditional" else ()
    estimator = CallawaySantAnna(method=method, controls=controls, covariates=covariates, **EVERYTHING)
    twin = replace(twin, method=method, controls=controls)
    (_, influence), got, wanted = estimator.influence(panel), estimator(panel), twin.terms()
    derivatives = twin.influence()
    for k, term in enumerate(got.terms):
        if term not in wanted:
            assert np.isnan(got.estimate[0, k])
            assert np.isnan(got.se[0, 0, k])
            continue
        assert got.estimate[0, k] == pytest.approx(wanted[term], abs=1e-10), term
        np.testing.assert_allclose(influence[0, k], derivatives[term], atol=2e-8, err_msg=term)
        assert got.se[0, 0, k] == pytest.approx(np.sqrt((influence[0, k] ** 2).sum()), rel=1e-12)


def test_clustered_errors_add_influences_within_clusters() -> None:
    panel, _ = made_up(EVER, replications=2)
    estimator = CallawaySantAnna(errors=("cluster:province",))
    _, influence = estimator.influence(panel)
    sums = np.stack([influence[:, :, panel.attributes["province"] == c].sum(axis=2) for c in range(14)], axis=2)
    wanted = np.sqrt((sums**2).sum(axis=2))
    got = estimator(panel).se[:, 0]
    np.testing.assert_allclose(got, np.where(wanted > 1e-14, wanted, np.nan), rtol=1e-10)
    reference = CallawaySantAnna(base="universal")(panel.replication(0))
    assert reference.params["event(-1)"] == 0.0
    assert np.isnan(reference.std_errors["event(-1)"])


def test_cells_that_covariates_separate_are_left_out_and_counted() -> None:
    panel, twin = made_up(EVER)
    x = twin.covariates[..., 0].copy()
    x[:, twin.first == 3] += 100.0
    panel = panel.with_variables({"x0": x[None]})
    got = CallawaySantAnna(method="dr", covariates=("x0",), **EVERYTHING)(panel)
    assert (got.statistics["left_out"][0], got.statistics["cells"][0]) == (3, 5)
    assert np.isnan(got.params["cohort(3)"])
    average = (9 * got.params["att(2,2)"] + 7 * got.params["att(5,5)"]) / 16
    assert got.params["event(0)"] == pytest.approx(average, abs=1e-12)


@pytest.mark.parametrize("method", ["regression", "dr"])
def test_as_many_covariates_as_controls_are_no_comparison(method: Any) -> None:
    """A regression fits three controls with two covariates exactly: nothing shows how much they move."""
    rng = np.random.default_rng(4)
    values = {"y": rng.standard_normal((1, 2, 12)), "did": np.outer([0, 1], np.arange(12) < 9)}
    panel = bare(values | {f"x{k}": np.repeat(rng.standard_normal((1, 1, 12)), 2, axis=1) for k in range(2)})
    refuses("no cohort can be compared given", lambda: CallawaySantAnna(method=method, covariates=("x0", "x1"))(panel))
    fewer = CallawaySantAnna(method="regression", covariates=("x0",))(panel)
    assert fewer.se[0, 0, fewer.terms.index("overall")] > 0
    found = CallawaySantAnna(method="dr", covariates=("x0", "x1"), outcome="y")
    assert found.spare_controls(made_up(EVER)[0]) == 16 - 3, "sixteen units are never treated"
    later = replace(found, controls="not-yet")  # in earlier periods there are more
    assert later.spare_controls(made_up(EVER)[0]) == 16 - 3


@pytest.mark.parametrize("method", METHODS[1:])
def test_without_covariates_one_control_is_enough_for_every_method(method: Any) -> None:
    panel, _ = made_up([*[2] * 6, 6])
    found, wanted = (CallawaySantAnna(method=one)(panel) for one in (method, "unconditional"))
    np.testing.assert_allclose(found.estimate, wanted.estimate, rtol=1e-12)
    assert np.isfinite(found.params["overall"])


def test_redrawn_covariates_and_calendars_are_those_of_each_replication() -> None:
    panel, _ = made_up(EVER, replications=3)
    x = np.random.default_rng(8).standard_normal((3, *panel.variables["x0"].shape[1:]))
    assert_batch_is_its_panels(CallawaySantAnna(method="regression", covariates=("x0",)),
                               panel.with_variables({"x0": x}), rtol=1e-11)  # fmt: skip
    did = np.repeat(panel.variables["did"], 3, axis=0)
    did[1, 2:] = 1.0  # nobody is never treated
    found = CallawaySantAnna()(panel.with_variables({"did": did}))
    assert found.status.tolist() == [Status.OK, Status.REFUSED, Status.OK]


def test_bands_are_wider_than_single_intervals_and_repeat_with_the_seed() -> None:
    (panel, _), first = made_up(EVER, replications=3), set[float]()
    for kind in ("rademacher", "mammen"):
        estimator = CallawaySantAnna(band=kind, window=(-3, 3), cohorts=(2, 3), years=(3, 4), draws=499)
        streams = Streams(5).tile(0, 3)
        got = estimator(panel, streams)
        families = {name.partition(":")[2] for name in got.statistics if name.startswith("critical")}
        assert families == {"event", "cohort", "calendar", "att"}
        assert (got.statistics["critical:event"] > 2.0).all()
        assert (got.statistics["critical:event"] > got.statistics["critical:cohort"]).all()
        again = estimator(panel.replication(1), streams.tile(1, 2))
        assert again.statistics["critical:event"][0] == pytest.approx(got.statistics["critical:event"][1], abs=1e-12)
        wider = replace(estimator, alpha=0.01)(panel, streams).statistics["critical:event"]
        assert (wider > got.statistics["critical:event"]).all()
        first.add(float(got.statistics["critical:event"][0]))
    assert len(first) == 2, "the multipliers are those asked for"


@pytest.mark.parametrize(("settings", "first", "message"), [
    ({}, [0, *[2] * 5, *[3] * 5], "no unit is never treated"),
    ({"controls": "not-yet"}, [2] * 8, "no unit is untreated when others are treated"),
    ({}, [*[0] * 8, *[6] * 8], "no unit becomes treated within the panel"),
    ({"anticipation": 3}, [*[2] * 8, *[3] * 4, *[6] * 8], "no period lies before an adoption"),
    ({"anticipation": 9}, EVER, "anticipation = 9"), ({"window": (3, -3)}, EVER, "window"),
    ({"cohorts": (2, 2)}, EVER, "repeat"), ({"covariates": ("x0",)}, EVER, "without a method"),
    ({"covariates": ("x9",), "method": "dr"}, EVER, "no variable 'x9'"),
    ({"covariates": ("x0", "x0"), "method": "dr"}, EVER, "repeat"), ({"errors": ("hc1",)}, EVER, "hc1"),
    ({"errors": ()}, EVER, "errors"), ({"band": "webb"}, EVER, "webb"), ({"treatment": "d"}, EVER, "no variable 'd'"),
])  # fmt: skip
def test_bad_input_is_one_line(settings: dict[str, Any], first: list[int], message: str) -> None:
    panel, _ = made_up(first)
    refuses(message, lambda: CallawaySantAnna(**settings)(panel))


def test_collinear_covariates_and_switching_treatments_are_bad_input() -> None:
    panel, _ = made_up(EVER)
    twice, both = panel.with_variables({"x1": 2 * panel.variables["x0"]}), ("x0", "x1")
    refuses("no cohort can be compared given x0, x1",
            lambda: CallawaySantAnna(method="regression", covariates=both)(twice))  # fmt: skip
    did = panel.variables["did"].copy()
    did[0, 5, 3] = 0.0
    refuses("not 0/1 and absorbing", lambda: CallawaySantAnna()(panel.with_variables({"did": did})))


@pytest.mark.long
@pytest.mark.parametrize("controls", ["never", "not-yet"])
def test_averages_hit_and_cover_each_draws_truth_under_heterogeneous_growing_effects(controls: Any) -> None:
    design = Paper(shape="growing", heterogeneity=0.5, effect=0.05, redraw=("controls",))
    estimator = CallawaySantAnna(controls=controls, cohorts=(2020,), years=(2015,))
    layout, streams = estimator.layout(design.schema), Streams(4, "growing")
    wanted = Wanted(estimator.variables(design.schema), tuple(layout.targets.values()))
    chosen = [layout.terms.index(term) for term in layout.targets]
    misses, margins = [], []
    for start in range(0, 2048, 64):  # each in a world of its own
        draw = design.settle(streams.within(f"world {start // 64}")).draw(streams.tile(start, start + 64), wanted)
        fit = estimator(draw.panel)
        truth = np.stack([draw.truth[target] for target in layout.targets.values()], axis=1)
        misses.append(fit.estimate[:, chosen] - truth)
        margins.append(1.96 * fit.se[:, 0, chosen])
    off = np.concatenate(misses)
    bias, mcse = off.mean(axis=0), off.std(axis=0, ddof=1) / np.sqrt(len(off))
    assert len(layout.targets) >= 12
    assert (np.abs(bias) < 4 * mcse).all(), dict(zip(layout.targets, bias / mcse, strict=True))
    covered = dict(zip(layout.targets, (np.abs(off) <= np.concatenate(margins)).mean(axis=0), strict=True))
    margin = 4 * np.sqrt(0.95 * 0.05 / len(off))
    for term in (*(f"event({k})" for k in range(6)), "overall", "overall:cohort"):
        # Errors count how effects differ between units as chance, the truth of a draw does not: they are cautious.
        assert 0.95 - margin < covered[term] < 0.985, (term, covered[term])
    assert covered["overall:event"] < 0.95 - margin  # rests on cohorts of one city, whose own noise the errors miss


PERIODS = (2000, 2001, 2002, 2003)
FIRST = np.array([1, 1, 1, 3, 2, 2, 4, 4, 0])  # cohorts of 3, 2 and 1 units; two never, one always treated
COHORTS = effects.Cohorts(PERIODS, FIRST, (1, 2, 3))
CELLS = effects.CohortPeriods(np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3))
GROUPS = np.where((FIRST > 0) & (FIRST < 4), FIRST - 1, -1)
TERMS = effects.staggered_terms((-2, 2), (2001, 2003, 2009), (2002, 2009))
ATT = np.random.default_rng(1).standard_normal((5, 12))


def att(g: int, t: int) -> np.ndarray:
    return ATT[:, 4 * (g - 2001) + t - 2000]


def test_terms_and_their_targets() -> None:
    assert effects.staggered_terms((-1, 0), (2001,), (2000, 2001)) == (
        "event(-1)", "event(0)", *effects.OVERALL, "cohort(2001)", "calendar(2000)", "calendar(2001)",
        "att(2001,2000)", "att(2001,2001)",
    )  # fmt: skip
    assert effects.staggered_targets(effects.staggered_terms((-1, 0), (2001,), (2000, 2001))) == {
        "event(0)": "event(0)", "overall": "att", "overall:event": "att_event", "overall:cohort": "att_cohort",
        "overall:calendar": "att_calendar", "cohort(2001)": "cohort(2001)", "calendar(2000)": "calendar(2000)",
        "calendar(2001)": "calendar(2001)", "att(2001,2001)": "att(2001,2001)",
    }  # fmt: skip


def test_averages_by_hand() -> None:
    found = effects.Aggregation.of(TERMS, CELLS, COHORTS)
    got = dict(zip(TERMS, found.estimate(ATT).T, strict=True))
    event = [(3 * att(2001, 2001) + 2 * att(2002, 2002) + att(2003, 2003)) / 6,
             (3 * att(2001, 2002) + 2 * att(2002, 2003)) / 5, att(2001, 2003)]  # fmt: skip
    cohort = [(att(2001, 2001) + att(2001, 2002) + att(2001, 2003)) / 3, (att(2002, 2002) + att(2002, 2003)) / 2,
              att(2003, 2003)]  # fmt: skip
    calendar = [att(2001, 2001), (3 * att(2001, 2002) + 2 * att(2002, 2002)) / 5,
                (3 * att(2001, 2003) + 2 * att(2002, 2003) + att(2003, 2003)) / 6]  # fmt: skip
    wanted = {
        **{f"event({k})": values for k, values in enumerate(event)},
        "event(-1)": (3 * att(2001, 2000) + 2 * att(2002, 2001) + att(2003, 2002)) / 6,
        "event(-2)": (2 * att(2002, 2000) + att(2003, 2001)) / 3,
        "cohort(2001)": cohort[0],
        "cohort(2003)": cohort[2],
        "calendar(2002)": calendar[1],
        "att(2003,2002)": att(2003, 2002),
        "overall": (9 * cohort[0] + 4 * cohort[1] + cohort[2]) / 14,
        "overall:event": sum(event) / 3,
        "overall:cohort": (3 * cohort[0] + 2 * cohort[1] + cohort[2]) / 6,
        "overall:calendar": sum(calendar) / 3,
    }
    for term, values in wanted.items():
        np.testing.assert_allclose(got[term], values, atol=1e-14, err_msg=term)


def test_terms_without_cells_are_missing_and_move_with_nobody() -> None:
    found = effects.Aggregation.of(TERMS, CELLS, COHORTS)
    missing = [term for term, known in zip(TERMS, found.identified, strict=True) if not known]
    assert missing == ["cohort(2009)", "calendar(2009)", "att(2001,2009)", "att(2003,2009)", "att(2009,2002)",
                       "att(2009,2009)"]  # fmt: skip
    assert np.isnan(found.estimate(ATT)[:, ~found.identified]).all()
    influence = found.weights @ np.ones((5, 12, 9)) + found.of_shares(ATT, GROUPS)
    np.testing.assert_array_equal(influence[:, ~found.identified], 0.0)


def test_what_is_not_identified_is_left_out_and_the_rest_weighted_up() -> None:
    kept = CELLS.take(~((CELLS.cohort == 0) & (CELLS.period == 1)))
    found = effects.Aggregation.of(("event(0)", "overall:cohort"), kept, COHORTS)
    got = found.estimate(np.delete(ATT, 1, axis=1))
    np.testing.assert_allclose(got[:, 0], (2 * att(2002, 2002) + att(2003, 2003)) / 3, atol=1e-14)
    cohort = (att(2001, 2002) + att(2001, 2003)) / 2
    wanted = (3 * cohort + att(2002, 2002) + att(2002, 2003) + att(2003, 2003)) / 6
    np.testing.assert_allclose(got[:, 1], wanted, atol=1e-14)


@pytest.mark.parametrize("g", [0, 1, 2])
def test_slopes_are_derivatives_with_respect_to_cohort_sizes(g: int) -> None:
    copies, step = 20000, 100
    moved = []
    for sign in (1, -1):
        counts = np.full(len(FIRST), copies)
        counts[GROUPS.tolist().index(g)] += sign * step
        cohorts = effects.Cohorts(PERIODS, np.repeat(FIRST, counts), (1, 2, 3))
        moved.append(effects.Aggregation.of(TERMS, CELLS, cohorts).estimate(ATT))
    derivative = (moved[0] - moved[1]) / (2 * step / copies)
    found = effects.Aggregation.of(TERMS, CELLS, COHORTS)
    member = GROUPS.tolist().index(g)
    got = found.of_shares(ATT, GROUPS)[:, found.identified, member]
    np.testing.assert_allclose(got, derivative[:, found.identified], atol=1e-5)


@pytest.mark.parametrize(("window", "cohorts", "years", "message"), [
    ((2, 1), (), (), "window"), ((0, 1), (2001, 2001), (), "cohorts"), ((0, 1), (), (2001, 2001), "years"),
])  # fmt: skip
def test_bad_terms(window: tuple[int, int], cohorts: tuple[int, ...], years: tuple[int, ...], message: str) -> None:
    refuses(message, lambda: effects.check_terms(window, cohorts, years, "test"))
    with pytest.raises(ValueError, match="not a term"):
        effects.Aggregation.of(("gap(3)",), CELLS, COHORTS)


def test_largest_t_by_loops() -> None:
    rng = np.random.default_rng(2)
    influence, drawn = rng.standard_normal((3, 4, 20)), effects.multipliers("mammen", 7, 20, rng)
    influence[1, 2] = 0.0
    got = effects.largest_t(influence, drawn)
    for r in range(3):
        for b in range(7):
            ts = [abs(drawn[b] @ psi) / np.sqrt(psi @ psi) for psi in influence[r] if psi.any()]
            assert got[r, b] == pytest.approx(max(ts), rel=1e-13)
    assert np.isnan(effects.largest_t(np.zeros((1, 2, 20)), drawn)).all()


@pytest.mark.parametrize("kind", ["rademacher", "mammen"])
def test_critical_values_of_independent_terms_are_those_of_the_largest_of_normals(kind: Any) -> None:
    """P(max |z_k| <= c) = (2 Phi(c) - 1)^K for K independent terms."""
    rng = np.random.default_rng(3)
    influence = np.zeros((1, 5, 2000))
    for k in range(5):
        influence[0, k, 400 * k : 400 * (k + 1)] = rng.standard_normal(400)
    drawn = effects.multipliers(kind, 8000, 2000, rng)
    for count in (1, 5):
        wanted = norm.ppf((1 + 0.95 ** (1 / count)) / 2)
        got = effects.simultaneous_critical_values(influence[:, :count], drawn, 0.05)[0]
        assert got == pytest.approx(wanted, abs=0.08)


def test_bands_cover_all_terms_at_once() -> None:
    rng = np.random.default_rng(5)
    mixing, reps = rng.standard_normal((6, 6)), 600
    x = rng.standard_normal((reps, 200, 6)) @ mixing
    mean = x.mean(axis=1)
    influence = (x - mean[:, None]).swapaxes(1, 2) / 200
    t = (np.abs(mean) / np.sqrt(np.vecdot(influence, influence))).max(axis=1)
    critical = effects.simultaneous_critical_values(influence, effects.multipliers("rademacher", 999, 200, rng), 0.05)
    assert abs((t <= critical).mean() - 0.95) < 4 * np.sqrt(0.95 * 0.05 / reps)
    assert (t <= 1.96).mean() < 0.87
