"""Interaction-weighted and stacked estimators: means of four cells, dense stacks, pyfixest, published numbers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from agreement import assert_agree, assert_batch_is_its_panels, in_another_order, of_units, with_effects
from covering import covered
from numpy.typing import NDArray
from refusals import refuses
from scipy.stats import chi2, norm
from scipy.stats import f as f_distribution

from estimators import Estimates, Status
from estimators.staggered.adoption_effects import AdoptionEffects
from estimators.staggered.dummy_regression import EventStudy, SunAbraham
from estimators.staggered.imputation import Imputation, TwoStage
from estimators.staggered.stacked import Stacked
from references.pyfixest_reference import feols
from references.staggered_panels import adoption_of, county_employment, dummies, frame_of, staggered_panel
from sim import BadInput, Panel, Streams, Wanted
from sim.presets import Paper

Floats = NDArray[np.float64]
CELLS: dict[str, Any] = {"window": (-4, 5), "cohorts": (2003, 2005, 2006), "years": tuple(range(2001, 2009))}
PUBLISHED = {  # Callaway and Sant'Anna, never treated controls; after adoption any base period gives these
    "att(2004,2004)": -0.0105, "att(2004,2005)": -0.0704, "att(2004,2006)": -0.1373, "att(2004,2007)": -0.1008,
    "att(2006,2006)": -0.0046, "att(2006,2007)": -0.0412, "att(2007,2007)": -0.0261,
    "overall:event": -0.0772, "overall:cohort": -0.0310,
}  # fmt: skip


def term(fit: Estimates, name: str) -> int:
    return fit.terms.index(name)


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
            got = fit.estimate[0, term(fit, f"att({cohort},{period})")]
            assert got == pytest.approx(four_means(panel, cohort, period), abs=1e-11), (cohort, period)
    for k in (-4, -2, 0, 3):
        seen = [four_means(panel, g, g + k) for g in CELLS["cohorts"] if g + k in panel.periods]
        assert fit.estimate[0, term(fit, f"event({k})")] == pytest.approx(np.mean(seen), abs=1e-11)


def test_county_employment_has_the_published_effects(shared_data: Path) -> None:
    panel = county_employment(shared_data)
    fit = SunAbraham(window=(-3, 3), cohorts=(2004, 2006, 2007), years=(2004, 2005, 2006, 2007))(panel)
    for name, value in PUBLISHED.items():
        assert round(fit.estimate[0, term(fit, name)], 4) == pytest.approx(value), name


def test_saturated_event_study_of_pyfixest() -> None:
    estimation = pytest.importorskip("pyfixest.did.estimation")
    panel = staggered_panel(controls=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what pandas has deprecated
        model = estimation.event_study(data=frame_of(panel), yname="y", idname="unit", tname="period", gname="first",
                                       estimator="saturated", cluster="unit")  # fmt: skip
        table = model.aggregate()
    fit = SunAbraham(**CELLS, estimated_shares=False)(panel)
    compared = 0
    for k, row in table.iterrows():
        name = f"event({int(float(str(k)))})"
        if name in fit.terms:
            column = term(fit, name)
            assert fit.estimate[0, column] == pytest.approx(float(row["Estimate"]), abs=1e-7), name
            assert fit.se[0, 0, column] == pytest.approx(float(row["Std. Error"]), rel=1e-6), name
            compared += 1
    assert compared == 9


def dense_saturated(panel: Panel) -> tuple[list[tuple[int, int]], Floats, Floats, pd.DataFrame, Floats]:
    """Cells, slopes, bread and regressors of the regression with every dummy, and its residuals."""
    frame = frame_of(panel)
    cells = [(g, t) for g in CELLS["cohorts"] for t in panel.periods if t != g - 1]
    x = np.column_stack(
        [*((frame["first"] == g) & (frame["period"] == t) for g, t in cells), frame[list(panel.roles.controls)],
         dummies(frame["unit"].to_numpy()), dummies(frame["period"].to_numpy())]
    ).astype(float)  # fmt: skip
    slopes = np.linalg.lstsq(x, frame["y"].to_numpy())[0]
    bread = np.linalg.pinv(x.T @ x, rcond=1e-11, hermitian=True)
    return cells, slopes, bread, frame, x


@pytest.mark.parametrize("estimated", [False, True])
def test_averages_and_errors_are_those_of_the_dense_regression(estimated: bool) -> None:
    panel = staggered_panel()
    cells, slopes, bread, frame, x = dense_saturated(panel)
    e = frame["y"].to_numpy() - x @ slopes
    scores = pd.DataFrame(x * e[:, None]).groupby(frame["unit"]).sum().to_numpy() @ bread  # (N, all)
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
        assert fit.estimate[0, term(fit, name)] == pytest.approx(theta, abs=1e-10)
        assert fit.se[0, 0, term(fit, name)] == pytest.approx(np.sqrt(factor * contributions @ contributions), rel=1e-9)
    assert (fit.dof == units - 1).all()


def test_the_last_cohort_is_the_control_group_without_never_treated() -> None:
    panel = staggered_panel(never=0, controls=False)
    fit = SunAbraham(**CELLS)(panel)
    y, first = panel.variables["y"][0], adoption_of(panel)
    change = y[4] - y[1]  # 2005 on 2002
    wanted = change[first == 2003].mean() - change[first == 2006].mean()
    assert fit.estimate[0, term(fit, "att(2003,2005)")] == pytest.approx(wanted, abs=1e-11)
    assert np.isnan(fit.estimate[0, term(fit, "att(2003,2006)")])
    assert np.isnan(fit.estimate[0, term(fit, "cohort(2006)")])
    assert fit.status[0] == Status.OK
    did = np.zeros_like(panel.variables["did"])
    did[:, 4:] = 1.0
    refuses("all units adopt at once", lambda: SunAbraham()(panel.with_variables({"did": did})))


def test_periods_without_controls_are_as_if_they_were_not_there() -> None:
    """From 2006 on all are treated: 2001-2005 alone have the same effects and errors, and the same period effects."""
    panel = staggered_panel(never=0, controls=False)
    until = Panel(
        units=panel.units,
        periods=panel.periods[:5],
        variables={name: array[:, :5] for name, array in panel.variables.items()},
        roles=panel.roles,
    )
    fit, alone = SunAbraham(**CELLS)(panel), SunAbraham(**CELLS)(until)
    column = term(fit, "att(2003,2005)")
    assert fit.estimate[0, column] == pytest.approx(alone.estimate[0, column], rel=1e-10)
    assert fit.se[0, 0, column] == pytest.approx(alone.se[0, 0, column], rel=1e-10)


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
        x = np.column_stack([*(rows["at"] == k for k in times), rows[list(panel.roles.controls)], *effects])
        x = x.astype(float)
        y, w = rows["y"].to_numpy(), rows["w"].to_numpy()
        bread = np.linalg.pinv(x.T @ (w[:, None] * x), rcond=1e-11, hermitian=True)
        slopes = bread @ (x.T @ (w * y))
        sums = pd.DataFrame(x * (w * (y - x @ slopes))[:, None]).groupby(rows["unit"]).sum().to_numpy()
        n, units = len(rows), rows["unit"].nunique()
        k = len(times) + 2 * controls + len(rows.groupby(["stack", "period"]))
        covariance = bread @ sums.T @ sums @ bread * units / (units - 1) * (n - 1) / (n - k)
        fit = Stacked(window=ends, weighting=weighting, complete=complete)(panel)
        for place, event in enumerate(times):
            column = term(fit, f"event({event})")
            assert fit.estimate[0, column] == pytest.approx(slopes[place], abs=1e-9)
            assert fit.se[0, 0, column] == pytest.approx(np.sqrt(covariance[place, place]), rel=1e-7)
        late = np.array([event >= 0 for event in times])
        average = slopes[: len(times)][late].mean()
        assert fit.estimate[0, term(fit, "overall:event")] == pytest.approx(average, abs=1e-9)


def test_stacked_regression_of_pyfixest() -> None:
    panel = staggered_panel(controls=False)
    data, events = dense_stacks(panel, (-2, 2), "variance", complete=True)
    data = data.assign(
        unit_stack=data["unit"] + 1000 * data["stack"], period_stack=data["period"] + 9999 * data["stack"]
    )
    model = feols("y ~ i(at, ref=-1) | unit_stack + period_stack", data, {"CRV1": "unit"})
    fit = Stacked(window=(-2, 2))(panel)
    columns = [term(fit, f"event({event})") for event in events]
    np.testing.assert_allclose(fit.estimate[0, columns], model.coef(), atol=1e-7)
    np.testing.assert_allclose(fit.se[0, 0, columns], model.se(), rtol=1e-6)


def test_stacks_that_cannot_be_are_bad_input() -> None:
    panel = staggered_panel()
    refuses("no cohort has clean controls over the window", lambda: Stacked(window=(-9, 9))(panel))
    at_once = staggered_panel(never=0)
    did = np.zeros_like(at_once.variables["did"])
    did[:, 4:] = 1.0
    with pytest.raises(BadInput, match="no cohort has clean controls"):
        Stacked(window=(-2, 2), complete=False)(at_once.with_variables({"did": did}))
    refuses("weighting", lambda: Stacked(weighting="equal")(panel))


# The two-way event study: pyfixest, dense dummies, the joint test, uniform intervals, truth under simulation.


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
    x = np.column_stack([*(frame["at"] == k for k in events), frame[["inv", "road"]],
                         dummies(frame["unit"].to_numpy()), dummies(frame["period"].to_numpy())])  # fmt: skip
    x = x.astype(float)
    y = frame["y"].to_numpy()
    bread = np.linalg.pinv(x.T @ x, rcond=1e-11, hermitian=True)
    slopes = bread @ x.T @ y
    n, units, k = len(frame), len(panel.units), 7 + 8
    provinces = frame["unit"].map(dict(enumerate(panel.attributes["province"])))
    covariances = []
    for cluster in (frame["unit"], provinces):
        sums = pd.DataFrame(x * (y - x @ slopes)[:, None]).groupby(cluster).sum().to_numpy()
        groups = cluster.nunique()
        covariances.append(bread @ sums.T @ sums @ bread * groups / (groups - 1) * (n - 1) / (n - k))
    fit = EventStudy(window=(-3, 2), errors=("cluster:unit", "cluster:province"))(panel)
    counts = np.array([(frame["at"] == event).sum() for event in events])
    late = np.array(events) >= 0
    for name, weights in (("overall", counts * late / (counts * late).sum()), ("overall:event", late / late.sum())):
        assert fit.estimate[0, term(fit, name)] == pytest.approx(weights @ slopes[:5], abs=1e-11)
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
    assert np.isnan(fit.estimate[0, term(fit, "event(7)")])
    assert np.isnan(fit.se[0, 0, term(fit, "event(7)")])
    assert np.isfinite(fit.estimate[0, term(fit, "event(5)")])
    assert fit.status[0] == Status.OK
    assert np.isfinite(fit.statistics["pretrend"][0])


def test_collinear_event_times_are_bad_input() -> None:
    panel = staggered_panel(never=0, controls=False)
    refuses("event times are collinear with the effects", lambda: EventStudy(window=(-9, 9))(panel))
    assert EventStudy(window=(-2, 2))(panel).status[0] == Status.OK
    did = np.ones_like(panel.variables["did"])
    refuses("no unit becomes treated", lambda: EventStudy()(panel.with_variables({"did": did})))


EVERY = (EventStudy(), SunAbraham(), Stacked(window=(-2, 2)), Imputation(), TwoStage())


def test_redrawn_calendars_are_fitted_one_by_one() -> None:
    """Of stacks, which the worlds of the conformance suite cannot serve."""
    estimator = Stacked(window=(-2, 2))
    one, other = staggered_panel(seed=1), staggered_panel(seed=2)
    both = one.with_variables(
        {name: np.concatenate([one.variables[name], other.variables[name]]) for name in one.variables}
    )
    got = estimator(both)
    for row, panel in enumerate((one, other)):
        alone = estimator(panel)
        np.testing.assert_allclose(got.estimate[row], alone.estimate[0], atol=1e-12)
        np.testing.assert_allclose(got.se[row], alone.se[0], atol=1e-12)
        np.testing.assert_allclose(got.statistics["pretrend_p"][row], alone.statistics["pretrend_p"][0], atol=1e-9)


@pytest.mark.parametrize(
    "estimator", [*EVERY, Stacked(window=(-2, 2), weighting="corrective")], ids=lambda estimator: estimator.kind
)
def test_batches_order_added_effects_and_scale(estimator: AdoptionEffects) -> None:
    panel = staggered_panel(replications=5)
    wanted = assert_batch_is_its_panels(estimator, panel, rtol=1e-8)
    for other, factor in ((with_effects(in_another_order(panel, 2)[0]), 1.0), (with_effects(panel, 3.0), 3.0)):
        got = estimator(other)
        assert_agree(got, wanted, rtol=1e-8, atol=1e-10, scale=factor)
        np.testing.assert_allclose(got.statistics["pretrend"], wanted.statistics["pretrend"], rtol=1e-7)


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


# Imputation and two-stage estimators: dense least squares, pyfixest's did2s, truth under simulation, invariances.


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
    events = np.column_stack([(frame["since"] == k) & (frame["first"] > 0) for k in (-3, -2, -1)]).astype(float)
    x = np.column_stack([events, z0])[untreated]
    y = frame["y"].to_numpy()[untreated]
    slopes = np.linalg.lstsq(x, y)[0]
    scores = pd.DataFrame(x * (y - x @ slopes)[:, None]).groupby(frame["unit"].to_numpy()[untreated]).sum().to_numpy()
    bread = np.linalg.pinv(x.T @ x)
    covariance = (bread @ scores.T @ scores @ bread)[:3, :3]
    fit = Imputation(window=(-3, 1))(panel)
    np.testing.assert_allclose(fit.estimate[0, :3], slopes[:3], atol=1e-11)
    np.testing.assert_allclose(fit.se[0, 0, :3], np.sqrt(np.diag(covariance)), atol=1e-11)
    wald = slopes[:3] @ np.linalg.solve(covariance, slopes[:3])
    assert fit.statistics["pretrend"][0] == pytest.approx(wald, rel=1e-9)
    assert fit.statistics["pretrend_p"][0] == pytest.approx(chi2.sf(wald, 3), rel=1e-9)
    hotelling = f_distribution.sf(wald * (15 - 3) / (3 * (15 - 1)), 3, 15 - 3)
    assert fit.statistics["pretrend_hotelling_p"][0] == pytest.approx(hotelling, rel=1e-9)


def test_earliest_event_time_is_the_reference_of_a_window_that_holds_all() -> None:
    fit = Imputation(window=(-9, 1))(staggered_panel(controls=False))
    earliest = [np.isfinite(fit.estimate[0, term(fit, f"event({k})")]) for k in (-6, -5, -4, -1)]
    assert earliest == [False, False, True, True]
    assert np.isfinite(fit.statistics["pretrend"]).all()


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
    provinces = frame["unit"].map(dict(enumerate(panel.attributes["province"])))
    for name, w in weights.items():
        v = np.where(treated, w, -z0 @ np.linalg.pinv(z0.T @ z0, rcond=1e-10, hermitian=True) @ z.T @ w)
        assert v @ frame["y"] == pytest.approx(fit.estimate[0, term(fit, name)], abs=1e-10)
        for row, cluster in enumerate((frame["unit"], provinces)):
            se = np.sqrt(np.square(pd.Series(v * e).groupby(cluster).sum()).sum())
            assert fit.se[0, row, term(fit, name)] == pytest.approx(se, rel=1e-9), (name, row)
    assert np.isinf(fit.dof).all()


def test_a_term_of_one_unit_has_no_error_where_groups_are_single() -> None:
    panel = staggered_panel(size=1, controls=False)
    fit = Imputation(**CALENDAR, averages="cohort-period")(panel)
    assert np.isnan(fit.se[0, 0, term(fit, "att(2005,2006)")])
    assert np.isfinite(fit.estimate[0, term(fit, "att(2005,2006)")])
    assert np.isnan(fit.se[0, 0, term(fit, "event(0)")]), "three units, each alone in its group"
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
                assert fit.se[0, 0, term(fit, name)] == pytest.approx(se, rel=1e-9), name
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
    fit = TwoStage(window=(-5, 5))(panel)
    compared = 0
    for index, row in table.iterrows():
        text = str(index)
        name = "overall" if "treated" in text else f"event({text.split('::')[-1].split(']')[0].split('T.')[-1]})"
        if name not in fit.terms:
            continue
        assert fit.estimate[0, term(fit, name)] == pytest.approx(row["Estimate"], abs=1e-7), name
        assert fit.se[0, 0, term(fit, name)] == pytest.approx(row["Std. Error"], rel=1e-6), name
        compared += 1
    assert compared == (1 if "treated" in second else 10)


def test_units_treated_throughout_take_no_part() -> None:
    panel = staggered_panel()
    did = np.array(panel.variables["did"])
    did[0, :, 0] = 1.0
    always = panel.with_variables({"did": did})
    left_out = of_units(always, np.arange(len(panel.units)) > 0)
    for estimator in (Imputation(), TwoStage()):
        one, other = estimator(always), estimator(left_out)
        np.testing.assert_allclose(one.estimate, other.estimate, atol=1e-12)
        np.testing.assert_allclose(one.se, other.se, atol=1e-12)


@pytest.mark.parametrize("estimator", [Imputation(), TwoStage()], ids=["imputation", "two-stage"])
def test_bad_input_names_the_periods_without_untreated_units(estimator: Imputation | TwoStage) -> None:
    panel = staggered_panel(never=0)
    refuses("no unit is untreated in 2006, 2007, 2008", lambda: estimator(panel))
    everyone = panel.with_variables({"did": np.ones_like(panel.variables["did"])})
    refuses("no unit becomes treated", lambda: estimator(everyone))
    nobody = panel.with_variables({"did": np.zeros_like(panel.variables["did"])})
    refuses("no unit becomes treated", lambda: estimator(nobody))


def test_bad_settings_are_bad_input() -> None:
    panel = staggered_panel()
    refuses("window", lambda: Imputation(window=(2, 1))(panel))
    refuses("averages", lambda: Imputation(averages="unit")(panel))
    refuses("errors", lambda: Imputation(errors=("hc1",))(panel))
    refuses("cohorts", lambda: TwoStage(cohorts=(2003, 2003))(panel))
