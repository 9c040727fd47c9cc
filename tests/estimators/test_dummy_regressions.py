"""Staggered adoption by regressions: means of four cells, dense programs, pyfixest, published numbers, edges."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from agreement import assert_agree, assert_batch_is_its_panels, of_units
from covering import covered
from numpy.typing import NDArray
from refusals import refuses
from scipy.stats import chi2, norm
from scipy.stats import f as f_distribution

from estimators import DCDH, CallawaySantAnna, Estimates, Estimator, PermutationTest, Status, SyntheticDID
from estimators.core import regression
from estimators.staggered.adoption_effects import Cohorts, event_of
from estimators.staggered.dummy_regression import EventStudy, SunAbraham, invert_partialled
from estimators.staggered.imputation import Imputation, TwoStage
from estimators.staggered.stacked import Stacked
from references.dense import Dense
from references.pyfixest_reference import feols
from references.small_panels import adopting, changed
from references.staggered_panels import (
    MINIMUM_WAGES,
    adoption_of,
    county_employment,
    dummies,
    frame_of,
    staggered_panel,
)
from sim import Panel, Roles, Streams, Wanted
from sim.design import Estimand
from sim.presets import Paper
from sim.world.draw import DrawnAdoption

Floats = NDArray[np.float64]
CELLS: dict[str, Any] = {"window": (-4, 5), "cohorts": (2003, 2005, 2006), "years": tuple(range(2001, 2009))}


def term(fit: Estimates, name: str) -> int:
    return fit.terms.index(name)


def assert_has(fit: Estimates, table: pd.DataFrame, names: list[str], count: int) -> None:
    """So many rows of a table of pyfixest are terms of the fit, and have its estimates and errors."""
    rows = [(name, row) for name, (_, row) in zip(names, table.iterrows(), strict=True) if name in fit.terms]
    assert len(rows) == count
    for name, row in rows:
        assert fit.params[name] == pytest.approx(row["Estimate"], abs=1e-7), name
        assert fit.std_errors[name] == pytest.approx(row["Std. Error"], rel=1e-6), name


def four_means(panel: Panel, cohort: int, period: int) -> float:
    """Change of a cohort since its last period before adoption less that of the never treated."""
    y, first = panel.variables["y"][0], adoption_of(panel)
    now, before = panel.periods.index(period), panel.periods.index(cohort - 1)
    change = y[now] - y[before]
    return float(change[first == cohort].mean() - change[np.isinf(first)].mean())


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_every_cell_is_a_difference_of_four_means(sigma: float) -> None:
    panel = staggered_panel(controls=False, sigma=sigma)
    fit = SunAbraham(**CELLS)(panel)
    for cohort in CELLS["cohorts"]:
        for period in panel.periods:
            got = fit.params[f"att({cohort},{period})"]
            assert got == pytest.approx(four_means(panel, cohort, period), abs=1e-11), (cohort, period)
    for k in (-4, -2, 0, 3):
        seen = [four_means(panel, g, g + k) for g in CELLS["cohorts"] if g + k in panel.periods]
        assert fit.params[f"event({k})"] == pytest.approx(np.mean(seen), abs=1e-11)


def test_county_employment_has_the_published_effects(shared_data: Path) -> None:
    panel = county_employment(shared_data)
    fit = SunAbraham(window=(-3, 3), cohorts=(2004, 2006, 2007), years=(2004, 2005, 2006, 2007))(panel)
    for name, value in MINIMUM_WAGES.items():  # after adoption any base period gives these
        before = name.startswith("att") and name[4:8] > name[9:13]
        assert before or round(fit.params[name], 4) == pytest.approx(value), name


def test_saturated_event_study_of_pyfixest() -> None:
    estimation = pytest.importorskip("pyfixest.did.estimation")
    panel = staggered_panel(controls=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what pandas has deprecated
        model = estimation.event_study(data=frame_of(panel), yname="y", idname="unit", tname="period", gname="first",
                                       estimator="saturated", cluster="unit")  # fmt: skip
        table = model.aggregate()
    names = [f"event({int(float(str(k)))})" for k in table.index]
    assert_has(SunAbraham(**CELLS, estimated_shares=False)(panel), table, names, 9)


@pytest.mark.parametrize("estimated", [False, True])
def test_averages_and_errors_are_those_of_the_dense_regression(estimated: bool) -> None:
    panel = staggered_panel()
    frame = frame_of(panel)
    cells = [(g, t) for g in CELLS["cohorts"] for t in panel.periods if t != g - 1]
    x = [*((frame["first"] == g) & (frame["period"] == t) for g, t in cells), frame[list(panel.roles.controls)],
         dummies(frame["unit"].to_numpy()), dummies(frame["period"].to_numpy())]  # fmt: skip
    fit = Dense(frame["y"], *x)
    slopes, scores = fit.slopes, fit.parts(frame["unit"])
    n, units = len(frame), len(panel.units)
    factor = units / (units - 1) * (n - 1) / (n - len(cells) - 2 - len(panel.periods))
    treated = np.array([t >= g for g, t in cells])
    at_two = np.array([t == g + 2 for g, t in cells])
    first = adoption_of(panel)
    fit = SunAbraham(**CELLS, estimated_shares=estimated)(panel)
    for name, chosen in (("overall", treated), ("event(2)", at_two)):
        weights = chosen / chosen.sum()  # cohorts are of one size
        theta = weights @ slopes[: len(cells)]
        contributions = scores[:, : len(cells)] @ weights
        if estimated:
            own = [sum(chosen[c] * (slopes[c] - theta) for c, (g, _) in enumerate(cells) if g == f) for f in first]
            contributions = contributions + np.array(own) / (chosen.sum() * 5)
        assert fit.params[name] == pytest.approx(theta, abs=1e-10)
        assert fit.std_errors[name] == pytest.approx(np.sqrt(factor * contributions @ contributions), rel=1e-9)
    assert (fit.dof == units - 1).all()


def test_the_last_cohort_is_the_control_group_without_never_treated() -> None:
    panel = staggered_panel(never=0, controls=False)
    fit = SunAbraham(**CELLS)(panel)
    y, first = panel.variables["y"][0], adoption_of(panel)
    change = y[4] - y[1]  # 2005 on 2002
    wanted = change[first == 2003].mean() - change[first == 2006].mean()
    assert fit.params["att(2003,2005)"] == pytest.approx(wanted, abs=1e-11)
    assert np.isnan(fit.params["att(2003,2006)"])
    assert np.isnan(fit.params["cohort(2006)"])
    assert fit.status[0] == Status.OK


def test_periods_without_controls_are_as_if_they_were_not_there() -> None:
    """From 2006 on all are treated: 2001-2005 alone have the same effects and errors, and the same period effects."""
    panel = staggered_panel(never=0, controls=False)
    until = {name: array[:, :5] for name, array in panel.variables.items()}
    alone = SunAbraham(**CELLS)(Panel(panel.units, panel.periods[:5], until, panel.roles))
    fit, name = SunAbraham(**CELLS)(panel), "att(2003,2005)"
    assert fit.params[name] == pytest.approx(alone.params[name], rel=1e-10)
    assert fit.std_errors[name] == pytest.approx(alone.std_errors[name], rel=1e-10)


def dense_stacks(
    panel: Panel, window: tuple[int, int], weighting: Literal["variance", "corrective"], complete: bool
) -> tuple[pd.DataFrame, list[int]]:
    """Stacked rows with their weights `w`, and the event times but the reference."""
    frame = frame_of(panel)
    last = max(panel.periods)
    parts = []
    for cohort in sorted(set(frame["first"]) - {0}):
        end = min(cohort + window[1], last)
        clean = (frame["first"] == 0) | (frame["first"] > end)
        rows = frame[(clean | (frame["first"] == cohort)) & frame["period"].between(cohort + window[0], end)]
        if complete and rows["period"].nunique() < window[1] - window[0] + 1:
            continue
        own = rows["first"] == cohort
        parts.append(rows.assign(stack=cohort, own=own, at=np.where(own, rows["period"] - cohort, -1)))
    stacked = pd.concat(parts, ignore_index=True)
    counts = stacked.groupby(["stack", "own"])["unit"].nunique().unstack()
    shares = counts / counts.sum()
    q = (shares[True] / shares[False])[stacked["stack"]].to_numpy()
    stacked["w"] = np.where(stacked["own"] | (weighting == "variance"), 1.0, q)
    return stacked, sorted(set(stacked["at"]) - {-1})


@covered(complete=[True, False], controls=[False, True], weighting=["variance", "corrective"])
def test_stacks_are_the_dense_stacked_regression(
    weighting: Literal["variance", "corrective"], controls: bool, complete: bool
) -> None:
    panel = staggered_panel(controls=controls)
    window = (-2, 2)
    data, events = dense_stacks(panel, window, weighting, complete)
    assert data["stack"].nunique() == 3
    long_window = (-2, 4)
    longer, _ = dense_stacks(panel, long_window, weighting, complete)
    assert longer["stack"].nunique() == (1 if complete else 3)
    for ends, rows, times in ((window, data, events), (long_window, longer, sorted({*longer["at"]} - {-1}))):
        effects = [dummies(rows["stack"].to_numpy() * 10_000 + rows[name].to_numpy()) for name in ("unit", "period")]
        x = [*(rows["at"] == k for k in times), rows[list(panel.roles.controls)], *effects]
        slow = Dense(rows["y"], *x, weights=rows["w"])
        counted = len(times) + 2 * controls + len(rows.groupby(["stack", "period"]))
        se = slow.errors("cluster", rows["unit"], counted)
        fit = Stacked(window=ends, weighting=weighting, complete=complete)(panel)
        for place, event in enumerate(times):
            assert fit.params[f"event({event})"] == pytest.approx(slow.slopes[place], abs=1e-9)
            assert fit.std_errors[f"event({event})"] == pytest.approx(se[place], rel=1e-7)
        late = slow.slopes[: len(times)][np.array(times) >= 0]
        assert fit.params["overall:event"] == pytest.approx(late.mean(), abs=1e-9)


def test_stacked_regression_of_pyfixest() -> None:
    panel = staggered_panel(controls=False)
    data, events = dense_stacks(panel, (-2, 2), "variance", complete=True)
    stack = data["stack"]
    data = data.assign(unit_stack=data["unit"] + 1000 * stack, period_stack=data["period"] + 9999 * stack)
    model = feols("y ~ i(at, ref=-1) | unit_stack + period_stack", data, {"CRV1": "unit"})
    fit = Stacked(window=(-2, 2))(panel)
    columns = [term(fit, f"event({event})") for event in events]
    np.testing.assert_allclose(fit.estimate[0, columns], model.coef(), atol=1e-7)
    np.testing.assert_allclose(fit.se[0, 0, columns], model.se(), rtol=1e-6)


def binned(panel: Panel, low: int, high: int) -> pd.DataFrame:
    frame = frame_of(panel)
    return frame.assign(at=np.where(frame["first"] > 0, frame["since"].clip(low, high), -1))


def test_event_study_of_pyfixest() -> None:
    panel = staggered_panel()
    model = feols("y ~ i(at, ref=-1) + inv + road | unit + period", binned(panel, -3, 2), {"CRV1": "unit"})
    fit = EventStudy(window=(-3, 2))(panel)
    np.testing.assert_allclose(fit.estimate[0, :5], model.coef().to_numpy()[:5], atol=1e-7)
    np.testing.assert_allclose(fit.se[0, 0, :5], model.se().to_numpy()[:5], rtol=1e-6)
    assert (fit.dof == len(panel.units) - 1).all()


def test_averages_errors_and_the_joint_test_are_those_of_the_dense_regression() -> None:
    panel = staggered_panel()
    frame = binned(panel, -3, 2)
    events = [-3, -2, 0, 1, 2]
    x = [*(frame["at"] == k for k in events), frame[["inv", "road"]], dummies(frame["unit"].to_numpy()),
         dummies(frame["period"].to_numpy())]  # fmt: skip
    provinces, units, slow = panel.attributes["province"][frame["unit"]], len(panel.units), Dense(frame["y"], *x)
    slopes, covariances = slow.slopes, [slow.covariance("cluster", by, 7 + 8) for by in (frame["unit"], provinces)]
    fit = EventStudy(window=(-3, 2), errors=("cluster:unit", "cluster:province"))(panel)
    counts = np.array([(frame["at"] == event).sum() for event in events])
    late = np.array(events) >= 0
    for name, weights in (("overall", counts * late / (counts * late).sum()), ("overall:event", late / late.sum())):
        assert fit.params[name] == pytest.approx(weights @ slopes[:5], abs=1e-11)
        for row, covariance in enumerate(covariances):
            wanted = np.sqrt(weights @ covariance[:5, :5] @ weights)
            assert fit.se[0, row, term(fit, name)] == pytest.approx(wanted, rel=1e-9)
    assert fit.dof[0, :, 0].tolist() == [units - 1, 8]
    uniform = EventStudy(window=(-3, 2), uniform_draws=20_000)(panel).statistics["uniform"][0]
    assert norm.ppf(0.975) < uniform < norm.ppf(1 - 0.025 / 5)  # between one term's and Bonferroni's
    sd = np.sqrt(np.diag(covariances[0])[:5])
    correlation = covariances[0][:5, :5] / np.outer(sd, sd)
    draws = np.random.default_rng(5).multivariate_normal(np.zeros(5), correlation, 200_000)
    assert uniform == pytest.approx(np.quantile(np.abs(draws).max(axis=1), 0.95), abs=0.04)
    assert "uniform" not in EventStudy(uniform_draws=0)(panel).statistics
    wald = slopes[:2] @ np.linalg.solve(covariances[0][:2, :2], slopes[:2])
    assert fit.statistics["pretrend"][0] == pytest.approx(wald, rel=1e-9)
    assert fit.statistics["pretrend_p"][0] == pytest.approx(f_distribution.sf(wald / 2, 2, units - 1), rel=1e-9)


def test_an_event_time_that_no_unit_reaches_is_missing() -> None:
    fit = EventStudy(window=(-9, 9))(staggered_panel())
    assert np.isnan(fit.params["event(7)"])
    assert np.isnan(fit.std_errors["event(7)"])
    assert np.isfinite(fit.params["event(5)"])
    assert fit.status[0] == Status.OK
    assert np.isfinite(fit.statistics["pretrend"][0])
    earliest = Imputation(window=(-9, 1))(staggered_panel(controls=False))  # the reference of a window that holds all
    known = [np.isfinite(earliest.params[f"event({k})"]) for k in (-6, -5, -4, -1)]
    assert known == [False, False, True, True]
    assert np.isfinite(earliest.statistics["pretrend"]).all()


def test_redrawn_calendars_are_fitted_one_by_one() -> None:
    """Of stacks, which the worlds of the conformance suite cannot serve."""
    estimator = Stacked(window=(-2, 2))
    one, other = staggered_panel(seed=1), staggered_panel(seed=2)
    both = {name: np.concatenate([one.variables[name], other.variables[name]]) for name in one.variables}
    assert_batch_is_its_panels(estimator, one.with_variables(both), atol=1e-12)


def rates(design: Paper) -> tuple[float, float, float]:
    """How often the usual and Hotelling's test reject, and the uniform intervals cover: 1,024 draws in 32 worlds."""
    estimator, streams, found = EventStudy(window=(-7, 2)), Streams(3, "event study"), []
    wanted = Wanted(estimator.variables(design.schema), ())
    for start in range(0, 1024, 32):
        world = design.settle(streams.within(f"world {start // 32}"))
        fit = estimator(world.draw(streams.tile(start, start + 32), wanted).panel)
        t = np.abs(fit.estimate[:, :9] / fit.se[:, 0, :9]).max(axis=1)
        p = [fit.statistics[name] < 0.05 for name in ("pretrend_p", "pretrend_hotelling_p")]
        found.append([*p, t <= fit.statistics["uniform"]])
    return tuple(np.mean(found, axis=(0, 2)))


def test_joint_test_has_its_size_and_uniform_intervals_their_level() -> None:
    """Within 4 Monte Carlo errors where 142 cities adopt at one date; with the published cohorts of 1 to 12 cities
    Hotelling's test keeps its size, while the usual test rejects too often and uniform intervals cover too seldom."""
    error = np.sqrt(0.05 * 0.95 / 1024)
    _, hotelling, uniform = rates(Paper(effect=0.0, treated=142, calendar="single"))
    assert abs(hotelling - 0.05) < 4 * error
    assert abs(uniform - 0.95) < 4 * error
    usual, hotelling, uniform = rates(Paper(effect=0.0))
    assert usual > 0.05 + 4 * error
    assert abs(hotelling - 0.05) < 4 * error
    assert 0.89 < uniform < 0.95


CALENDAR = {"window": (-3, 3), "cohorts": (2003, 2005, 2006), "years": (2004, 2006, 2008)}


def dense_first_stage(panel: Panel, controls: tuple[str, ...]) -> tuple[Floats, Floats, Floats, pd.DataFrame]:
    """Adjusted outcomes, all first-stage regressors, those of untreated rows, the frame; rows period by unit."""
    frame = frame_of(panel)
    z = np.column_stack([dummies(frame["unit"].to_numpy()), dummies(frame["period"].to_numpy()), frame[list(controls)]])
    untreated = (frame["did"] == 0).to_numpy()
    y, z0 = frame["y"].to_numpy(), z * untreated[:, None]
    slopes = np.linalg.pinv(z0.T @ z0, rcond=1e-10, hermitian=True) @ (z0.T @ y)
    return y - z @ slopes, z, z0, frame


def dense_terms(u: Floats, frame: pd.DataFrame) -> dict[str, float]:
    """Every average of imputed effects from its definition."""
    data = frame.assign(u=u)
    ever = data[data["first"] > 0]
    treated = ever[ever["since"] >= 0]
    found = {f"event({k})": group["u"].mean() for k, group in ever.groupby("since")}
    by_cohort = {g: group["u"].mean() for g, group in treated.groupby("first")}
    by_period = {t: group["u"].mean() for t, group in treated.groupby("period")}
    found |= {f"cohort({g})": value for g, value in by_cohort.items()}
    found |= {f"calendar({t})": value for t, value in by_period.items()}
    found |= {f"att({g},{t})": group["u"].mean() for (g, t), group in ever.groupby(["first", "period"])}
    sizes = ever.groupby("first")["unit"].nunique()
    found["overall"] = treated["u"].mean()
    found["overall:event"] = treated.groupby("since")["u"].mean().mean()
    found["overall:cohort"] = float(np.average(list(by_cohort.values()), weights=sizes))
    found["overall:calendar"] = float(np.mean(list(by_period.values())))
    return found


@covered(estimator=[Imputation(**CALENDAR), TwoStage(**CALENDAR)], controls=[False, True])
def test_estimates_are_averages_of_densely_imputed_effects(estimator: Imputation | TwoStage, controls: bool) -> None:
    panel = staggered_panel(controls=controls)
    u, _, _, frame = dense_first_stage(panel, panel.roles.controls)
    wanted = dense_terms(u, frame)
    fit = estimator(panel)
    for column, name in enumerate(fit.terms):
        before = name.startswith("event(-") or name == "att(2005,2004)" or name == "att(2006,2004)"
        if before and estimator.kind == "imputation":
            continue
        if name in wanted:
            assert fit.estimate[0, column] == pytest.approx(wanted[name], abs=1e-11), name
        else:
            assert np.isnan(fit.estimate[0, column]), name


def test_event_times_before_adoption_are_dense_slopes_on_untreated_rows() -> None:
    panel = staggered_panel()
    _, _, z0, frame = dense_first_stage(panel, panel.roles.controls)
    untreated = (frame["did"] == 0).to_numpy()
    events = np.column_stack([(frame["since"] == k) & (frame["first"] > 0) for k in (-3, -2, -1)])
    rows = frame[untreated]
    slow = Dense(rows["y"], events[untreated], z0[untreated])
    slopes, scores = slow.slopes, slow.parts(rows["unit"])
    covariance = (scores.T @ scores)[:3, :3]
    fit = Imputation(window=(-3, 1))(panel)
    np.testing.assert_allclose(fit.estimate[0, :3], slopes[:3], atol=1e-11)
    np.testing.assert_allclose(fit.se[0, 0, :3], np.sqrt(np.diag(covariance)), atol=1e-11)
    wald = slopes[:3] @ np.linalg.solve(covariance, slopes[:3])
    assert fit.statistics["pretrend"][0] == pytest.approx(wald, rel=1e-9)
    assert fit.statistics["pretrend_p"][0] == pytest.approx(chi2.sf(wald, 3), rel=1e-9)
    hotelling = f_distribution.sf(wald * (15 - 3) / (3 * (15 - 1)), 3, 15 - 3)
    assert fit.statistics["pretrend_hotelling_p"][0] == pytest.approx(hotelling, rel=1e-9)


def test_an_event_time_that_a_control_absorbs_has_no_estimate_and_spoils_no_other() -> None:
    panel = staggered_panel(controls=False)
    since = np.array(panel.periods)[:, None] - adoption_of(panel)
    announced = panel.with_variables({"announced": np.float64(since == -1)[None]})
    panel = dataclasses.replace(announced, roles=Roles("y", "did", ("announced",)))
    _, _, z0, frame = dense_first_stage(panel, panel.roles.controls)
    untreated = (frame["did"] == 0).to_numpy()
    events = np.column_stack([(frame["since"] == k) & (frame["first"] > 0) for k in (-3, -2)])
    slow = Dense(frame[untreated]["y"], events[untreated], z0[untreated])
    slopes, scores = slow.slopes, slow.parts(frame[untreated]["unit"])
    fit = Imputation(window=(-3, 1))(panel)
    np.testing.assert_allclose(fit.estimate[0, :3], [*slopes[:2], np.nan], atol=1e-9)
    np.testing.assert_allclose(fit.se[0, 0, :3], [*np.sqrt(np.diag(scores.T @ scores)[:2]), np.nan], atol=1e-9)
    assert fit.statistics["pretrend"][0] < 100


@covered(controls=[False, True], averages=["event", "cohort-period", "treated"])
def test_errors_are_those_of_theorem_three(averages: str, controls: bool) -> None:
    panel = staggered_panel(controls=controls)
    u, z, z0, frame = dense_first_stage(panel, panel.roles.controls)
    treated = (frame["did"] == 1).to_numpy()
    keys = {"event": ["since"], "cohort-period": ["first", "period"], "treated": ["did"]}[averages]
    e = np.where(treated, u - frame.assign(u=u).groupby(keys)["u"].transform("mean"), u)
    weights = {
        "overall": treated / treated.sum(),
        "event(1)": (w := treated & (frame["since"] == 1).to_numpy()) / w.sum(),
        "att(2005,2006)": (w := ((frame["first"] == 2005) & (frame["period"] == 2006)).to_numpy()) / w.sum(),
        "calendar(2006)": (w := treated & (frame["period"] == 2006).to_numpy()) / w.sum(),
    }
    fit = Imputation(**CALENDAR, averages=averages, errors=("cluster:unit", "cluster:province"))(panel)
    provinces = panel.attributes["province"][frame["unit"]]
    for name, w in weights.items():
        v = np.where(treated, w, -z0 @ np.linalg.pinv(z0.T @ z0, rcond=1e-10, hermitian=True) @ z.T @ w)
        assert v @ frame["y"] == pytest.approx(fit.params[name], abs=1e-10)
        for row, cluster in enumerate((frame["unit"], provinces)):
            se = np.sqrt(np.square(pd.Series(v * e).groupby(cluster).sum()).sum())
            assert fit.se[0, row, term(fit, name)] == pytest.approx(se, rel=1e-9), (name, row)
    assert np.isinf(fit.dof).all()


def test_a_term_of_one_unit_has_no_error_where_groups_are_single() -> None:
    panel = staggered_panel(size=1, controls=False)
    fit = Imputation(**CALENDAR, averages="cohort-period")(panel)
    assert np.isnan(fit.std_errors["att(2005,2006)"])
    assert np.isfinite(fit.params["att(2005,2006)"])
    assert np.isnan(fit.std_errors["event(0)"]), "three units, each alone in its group"
    assert np.isfinite(Imputation(**CALENDAR, averages="event")(panel).se[0, 0, term(fit, "event(0)")])
    assert fit.status[0] == Status.OK


def gmm_errors(panel: Panel, second: Floats) -> Floats:
    """Two-stage errors of the slopes on `second` (n, K) from dense moments of both stages."""
    u, z, z0, frame = dense_first_stage(panel, panel.roles.controls)
    bread = np.linalg.inv(second.T @ second)
    e = u - second @ (bread @ second.T @ u)
    owed = second.T @ z @ np.linalg.pinv(z0.T @ z0, rcond=1e-10, hermitian=True)
    rows = second * e[:, None] - (z0 * u[:, None]) @ owed.T
    w = pd.DataFrame(rows).groupby(frame["unit"]).sum().to_numpy()
    return np.asarray(np.sqrt(np.diag(bread @ w.T @ w @ bread)))


@pytest.mark.parametrize("controls", [False, True])
def test_two_stage_errors_are_those_of_the_dense_gmm(controls: bool) -> None:
    panel = staggered_panel(controls=controls)
    frame = frame_of(panel)
    ever, treated = (frame["first"] > 0).to_numpy(), (frame["did"] == 1).to_numpy()
    events = sorted(set(frame["since"][ever]))
    second = {
        "overall": (treated[:, None].astype(float), ["overall"]),
        "event": (np.column_stack([ever & (frame["since"] == k) for k in events]), [f"event({k})" for k in events]),
        "cohort": (np.column_stack([treated & (frame["first"] == g) for g in CALENDAR["cohorts"]]),
                   [f"cohort({g})" for g in CALENDAR["cohorts"]]),
        "calendar": (np.column_stack([treated & (frame["period"] == t) for t in range(2003, 2009)]),
                     [f"calendar({t})" for t in range(2003, 2009)]),
    }  # fmt: skip
    fit = TwoStage(**CALENDAR)(panel)
    compared = 0
    for x, names in second.values():
        for name, se in zip(names, gmm_errors(panel, x.astype(float)), strict=True):
            if name in fit.terms:
                assert fit.std_errors[name] == pytest.approx(se, rel=1e-9), name
                compared += 1
    assert compared == 1 + 7 + 3 + 3


@pytest.mark.parametrize("second", ["~ i(since, ref=-1)", "~ treated"])
def test_two_stage_is_did2s_of_pyfixest(second: str) -> None:
    did2s = pytest.importorskip("pyfixest.did.estimation").did2s
    panel = staggered_panel()
    frame = frame_of(panel).rename(columns={"did": "treated"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what pandas has deprecated
        reference = did2s(frame, yname="y", first_stage="~ inv + road | unit + period", second_stage=second,
                          treatment="treated", cluster="unit")  # fmt: skip
    table = reference.tidy()
    names = ["overall" if "treated" in text else f"event({text.split('::')[-1].split(']')[0].split('T.')[-1]})"
             for text in map(str, table.index)]  # fmt: skip
    assert_has(TwoStage(window=(-5, 5))(panel), table, names, 1 if "treated" in second else 10)


def test_units_treated_throughout_take_no_part() -> None:
    always = changed(staggered_panel(), "did", np.s_[0, :, 0], 1.0)
    left_out = of_units(always, np.arange(len(always.units)) > 0)
    for estimator in (Imputation(), TwoStage(), EventStudy(), SunAbraham(), SunAbraham(estimated_shares=False)):
        assert_agree(estimator(always), estimator(left_out), rtol=1e-11, atol=1e-12)


def test_bad_input_is_one_line() -> None:
    panel, ended, ever = staggered_panel(), staggered_panel(never=0), "no unit becomes treated"
    at_once, always, nobody = (adopting(ended, (first, slice(None))) for first in (4, 0, 99))
    for estimator, given, words in (
        (Stacked(window=(-9, 9)), panel, "no cohort has clean controls over the window"),
        (Stacked(window=(-2, 2), complete=False), at_once, "no cohort has clean controls"),
        (SunAbraham(), at_once, "all units adopt at once"), (EventStudy(), always, ever),
        *((one, other, ever) for one in (Imputation(), TwoStage()) for other in (always, nobody)),
        *((one, ended, "no unit is untreated in 2006, 2007, 2008") for one in (Imputation(), TwoStage())),
        *((EventStudy(window=(-9, 9)), staggered_panel(never=0, controls=controls),
           "event times are collinear with the effects") for controls in (False, True)),
    ):  # fmt: skip
        refuses(words, estimator, given)
    assert EventStudy(window=(-2, 2))(staggered_panel(never=0, controls=False)).status[0] == Status.OK
    refuses("weighting", lambda: Stacked(weighting="equal")(panel))
    refuses("window", lambda: Imputation(window=(2, 1))(panel))
    refuses("averages", lambda: Imputation(averages="unit")(panel))
    refuses("errors", lambda: Imputation(errors=("hc1",))(panel))
    refuses("cohorts", lambda: TwoStage(cohorts=(2003, 2003))(panel))


NEVER = -1
ESTIMATORS: tuple[Estimator, ...] = (
    EventStudy(window=(-2, 2), uniform_draws=0), Imputation(window=(-2, 2), uniform_draws=0),
    TwoStage(window=(-2, 2), uniform_draws=0), SunAbraham(window=(-2, 2), uniform_draws=0),
    Stacked(window=(-2, 2), uniform_draws=0), CallawaySantAnna(window=(-2, 2), base="universal"),
    CallawaySantAnna(controls="not-yet", window=(-2, 2), label="not-yet"),
)  # fmt: skip
every = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.name)


def panel_of(first: list[int], periods: tuple[int, ...], noise: float = 0.0, *, trend: float = 0.0) -> Panel:
    """Units that adopt at an index (NEVER: never), with an effect of 1 + periods since, and a trend all along."""
    n, t, rng = len(first), len(periods), np.random.default_rng(3)
    since = np.arange(t)[:, None] - np.where(np.array(first) == NEVER, 10**6, first)
    did = (since >= 0).astype(np.float64)
    ever = np.array(first) != NEVER
    effect = np.where(did > 0, 1.0 + since, 0.0) + trend * np.where(ever, since, 0)
    y = effect + rng.standard_normal(n) + rng.standard_normal((t, 1)) + noise * rng.standard_normal((t, n))
    units = tuple(f"u{i:02d}" for i in range(n))
    fifth = np.array([f"p{i % 5}" for i in range(n)])
    groups = {"fifth": fifth, "grouped": np.where(ever, "treated", fifth)}
    return Panel(units, periods, {"y": y[None], "did": did[None]}, Roles("y", "did"), groups)


STAGGERED = [3, 3, 3, 4, 4, 4, *[NEVER] * 8]


@every
def test_event_times_count_periods_whatever_their_labels(estimator: Estimator) -> None:
    annual, biennial = (panel_of(STAGGERED, tuple(range(2000, 2000 + 8 * step, step))) for step in (1, 2))
    one, other = estimator(annual), estimator(biennial)
    np.testing.assert_allclose(other.estimate, one.estimate, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(other.se, one.se, rtol=1e-9, atol=1e-12)
    gap = panel_of(STAGGERED, (2000, 2001, 2002, 2004, 2005, 2006, 2007))
    refuses("not evenly spaced: those used have no 2003; allowed: periods 1 apart", estimator, gap)
    for k in (0, 1) if not isinstance(estimator, EventStudy) else ():  # whose bins mix cohorts
        assert other.params[f"event({k})"] == pytest.approx(1.0 + k, abs=1e-9)


@every
@pytest.mark.parametrize("errors", [(), ("cluster:unit", "cluster:unit"), ("hc1",), ("cluster:nothing",)])
def test_error_types_are_clusterings_of_units_each_named_once(estimator: Estimator, errors: tuple[str, ...]) -> None:
    refuses("errors = .*allowed: distinct names among cluster:unit, cluster:fifth",
            lambda: dataclasses.replace(estimator, errors=errors)(panel_of(STAGGERED, tuple(range(8)))))  # fmt: skip


def test_a_cohort_without_clean_controls_is_not_cut() -> None:
    panel = panel_of([2, 2, 2, 6, 6, 6], tuple(range(8)))
    assert Stacked(window=(-2, 2)).sample(panel).cohorts == (2,)
    assert Stacked(window=(-2, 2)).sample(panel).cut == ()
    assert Stacked(window=(-2, 2)).sample(panel_of([2, 2, 2, 6, 6, NEVER], tuple(range(8)))).cut == (6,)


def test_a_stack_holds_its_reference_period_whatever_the_window() -> None:
    panel = panel_of(STAGGERED, tuple(range(8)), noise=1.0)
    late, early = Stacked(window=(0, 2))(panel), Stacked(window=(-1, 2))(panel)
    assert late.terms == early.terms
    assert_agree(late, early, rtol=0.0, atol=0.0)


def test_a_decomposition_does_not_mind_gaps() -> None:
    panel = panel_of(STAGGERED, (2000, 2001, 2002, 2004, 2005))
    assert Cohorts.of(panel, "did", "here", even=False).labels == (2004, 2005)


def test_truths_count_periods_too() -> None:
    panel = panel_of(STAGGERED, tuple(range(2000, 2016, 2)))
    did = panel.variables["did"]
    adoption = DrawnAdoption(did, np.array(panel.periods, dtype=np.float64))
    annual = DrawnAdoption(did, np.arange(2000.0, 2008.0))
    gain = did * np.random.default_rng(1).standard_normal(did.shape)
    for name in ("event(1)", "att_event", "att"):
        ask = Estimand.parse(name)
        np.testing.assert_allclose(adoption.mean_effect(gain, ask), annual.mean_effect(gain, ask), rtol=1e-12)


@every
def test_statistics_are_those_of_the_first_error_type(estimator: Estimator) -> None:
    panel, errors = panel_of(STAGGERED, tuple(range(8)), noise=1.0), ("cluster:unit", "cluster:fifth")
    bands = {"band": "mammen"} if isinstance(estimator, CallawaySantAnna) else {"uniform_draws": 99}
    one, both, other = (dict(dataclasses.replace(estimator, errors=some, **bands)(panel).statistics)
                        for some in (errors[:1], errors, errors[::-1]))  # fmt: skip
    np.testing.assert_equal(both, one)
    assert any(np.any(other[name] != values) for name, values in one.items())


@every
@pytest.mark.parametrize("alone", ["treated unit", "control unit"])
def test_a_unit_alone_on_one_side_has_an_estimate_and_no_error(estimator: Estimator, alone: str) -> None:
    first = [3, *[NEVER] * 20] if alone == "treated unit" else [*[3] * 20, NEVER]
    fit = estimator(panel_of(first, tuple(range(8)), noise=1.0))
    for term in ("overall", "event(0)", "event(-2)"):
        assert np.isfinite(fit.params[term])
        assert np.isnan(fit.std_errors[term])
    assert np.isnan([fit.statistics[name] for name in fit.statistics if name.startswith("pretrend")]).all()


@every
def test_a_cluster_alone_has_no_error_of_its_own(estimator: Estimator) -> None:
    """All treated units are one cluster of six: clustered errors would be rounding or a sixth of what they should."""
    panel = panel_of([*[3] * 8, *[NEVER] * 20], tuple(range(8)), noise=1.0)
    fit = dataclasses.replace(estimator, errors=("cluster:grouped", "cluster:unit"))(panel)
    k = fit.terms.index("overall")
    assert np.isnan(fit.se[0, 0, k])
    assert fit.se[0, 1, k] > 0
    assert np.isfinite(dataclasses.replace(estimator, errors=("cluster:fifth",))(panel).se[0, 0, k])


@pytest.mark.parametrize("window", [(0, 3), (-1, 3), (-3, 3)])
def test_a_window_from_adoption_on_compares_with_the_period_before_alone(window: tuple[int, int]) -> None:
    """Earlier periods do not slip into the reference: under a trend of 1 a period event(0) is the effect and 1."""
    fit = EventStudy(window=window, uniform_draws=0)(panel_of([4, 4, 4, *[NEVER] * 8], tuple(range(9)), trend=1.0))
    assert fit.params["event(0)"] == pytest.approx(2.0, abs=1e-9)
    reported = [event for term in fit.terms if (event := event_of(term)) is not None]
    assert reported[0] == (window[0] if window[0] < -1 else 0)


@pytest.mark.parametrize("estimator", ESTIMATORS[:5], ids=lambda estimator: estimator.name)
def test_a_fit_without_residuals_has_estimates_and_no_errors(estimator: Estimator) -> None:
    """An outcome that effects explain to the last digit: what is left is rounding, as in `did`."""
    panel = panel_of(STAGGERED, tuple(range(1, 9)))
    rng, did = np.random.default_rng(5), panel.variables["did"]
    exact = rng.standard_normal(did.shape[2]) + rng.standard_normal((8, 1)) + 2.0 * did
    for size in (1.0, 1000.0):
        found = estimator(panel.with_variables({"y": size * exact}))
        assert found.params["overall"] == pytest.approx(2.0 * size, rel=1e-10)
        assert np.isnan(found.se).all()
        assert np.isnan(found.statistics["pretrend_p"]).all()
    noisy = estimator(panel.with_variables({"y": exact + 1e-5 * rng.standard_normal(did.shape)}))
    assert 0.0 < noisy.std_errors["overall"] < 1e-5


def test_one_period_before_adoption_is_no_pretrend() -> None:
    """The first stage fits it exactly for every unit, whatever the level of the outcome."""
    panel = panel_of([1, 1, 1, *[NEVER] * 8], (1, 2, 3, 4), 1.0)
    for level in (0.0, 1e6):
        found = TwoStage(window=(-1, 2))(panel.with_variables({"y": panel.variables["y"] + level}))
        assert np.isnan(found.params["event(-1)"])
        assert np.isnan(found.statistics["pretrend_p"][0])
        assert found.std_errors["event(0)"] > 0.1


def test_a_control_that_is_the_trend_before_adoption_leaves_no_event_before_it() -> None:
    panel = panel_of(STAGGERED, tuple(range(8)), 1.0)
    trend = panel.variables["did"].any(axis=1, keepdims=True) * np.arange(8.0)[:, None]
    found = Imputation(window=(-4, 2), controls=("trend",))(panel.with_variables({"trend": trend}))
    assert found.params[np.isnan(found.params)].index.tolist() == [f"event({k})" for k in (-4, -3, -2, -1)]


def test_a_statistic_that_does_not_exist_has_no_p_value() -> None:
    inner = CallawaySantAnna(window=(0, 9))
    test = PermutationTest.of(inner, terms=("event(0)", "event(9)"), draws=99)
    fit = test(panel_of(STAGGERED, tuple(range(8)), noise=1.0))
    known = [bool(np.isfinite(fit.pvalue[0, 0, fit.terms.index(term)])) for term in ("event(0)", "event(9)")]
    assert known == [True, False]


def test_a_band_covers_the_terms_that_have_an_error() -> None:
    """event(2) averages one unit that adopts early: the band is that of the window without it."""
    first = [5, *[6] * 4, *[NEVER] * 10]
    panel = panel_of(first, tuple(range(8)), noise=1.0)
    wide, narrow = (CallawaySantAnna(window=(0, last), band="rademacher")(panel, Streams(1)) for last in (2, 1))
    assert np.isnan(wide.std_errors["event(2)"])
    assert wide.statistics["critical:event"][0] == narrow.statistics["critical:event"][0]


def test_a_term_that_is_compared_with_one_unit_alone_has_no_error() -> None:
    panel = panel_of([*[2] * 10, *[4] * 10, NEVER], tuple(range(2000, 2006)), noise=1.0)
    dates = (2002, 2004)
    for estimator in (
        Imputation(cohorts=dates, years=dates, uniform_draws=0),
        TwoStage(cohorts=dates, years=dates, uniform_draws=0),
        CallawaySantAnna(controls="not-yet", cohorts=dates, years=dates),
    ):
        fit = estimator(panel)
        alone = ("cohort(2004)", "calendar(2004)", "att(2004,2004)", "att(2002,2004)")
        assert np.isfinite([fit.params[term] for term in alone]).all()
        assert np.isnan([fit.std_errors[term] for term in alone]).all()
        assert np.isfinite([fit.std_errors[term] for term in ("calendar(2002)", "att(2002,2002)")]).all()
    one_date = panel_of([*[3] * 10, NEVER], tuple(range(2000, 2006)), noise=1.0)
    for fit in (DCDH()(one_date), SyntheticDID(errors=("bootstrap:unit",), draws=20)(panel)):
        assert np.isfinite(fit.estimate).all()
        assert np.isnan(fit.se).all()


def test_the_test_of_pretrends_keeps_its_level_against_few_units() -> None:
    few, rng = panel_of([*[4] * 30, *[NEVER] * 5], tuple(range(8))), np.random.default_rng(5)
    panel = dataclasses.replace(few, variables={**few.variables, "y": rng.standard_normal((2000, 8, 35))})
    fit = EventStudy(window=(-4, 3), uniform_draws=0)(panel)
    assert (fit.statistics["pretrend_p"] < 0.05).mean() == pytest.approx(0.26, abs=0.01)
    assert (fit.statistics["pretrend_hotelling_p"] < 0.05).mean() < 0.01


def test_cohorts_of_one_unit_each_show_no_error_of_their_mean() -> None:
    fit = TwoStage(uniform_draws=0)(panel_of([2, 3, 4, 5, *[NEVER] * 20], tuple(range(2000, 2008)), noise=1.0))
    assert np.isfinite(fit.params["overall:cohort"])
    assert np.isnan(fit.std_errors["overall:cohort"])
    assert np.isfinite(fit.std_errors["overall"])
    saturated = SunAbraham(uniform_draws=0)(panel_of([2, 3, *[4] * 6, *[NEVER] * 20], tuple(range(8)), noise=1.0))
    assert np.isfinite(saturated.params["event(4)"])  # of two cohorts of one unit
    assert np.isnan(saturated.std_errors["event(4)"])
    assert np.isfinite(saturated.std_errors["event(3)"])


def test_what_effects_leave_of_a_column_among_others_is_not_inverted() -> None:
    raw = np.random.default_rng(1).standard_normal((2, 30))
    left = raw * [[1.0], [1e-8]]
    bread, sound = invert_partialled(raw, left)
    assert not sound
    assert np.isnan(bread).all()
    assert invert_partialled(left, left)[1]


def test_cross_products_that_are_missing_or_too_near_singular_have_no_inverse() -> None:
    matrices = np.repeat(1.0 + np.eye(3)[None], 3, axis=0)
    matrices[1, 0, 0] = matrices[2, 0, 1] = matrices[2, 1, 0] = np.nan
    inverse, sound = regression.invert(matrices)
    assert sound.tolist() == [True, False, False]
    assert np.isnan(inverse).all(axis=(1, 2)).tolist() == [False, True, True]
    for least, missing in ((0.4, False), (0.6, True)):  # the smaller eigenvalue, in units of the diagonal, is 1/2
        assert np.isnan(regression.definite_inverse(matrices[:1], least)).all() == missing


def test_a_bin_of_all_later_periods_has_no_estimand() -> None:
    targets = EventStudy(window=(-3, 4)).targets()
    assert [name for name in targets if name.startswith("event(")] == [f"event({k})" for k in range(4)]
