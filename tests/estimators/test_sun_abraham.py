"""Interaction-weighted and stacked estimators: means of four cells, dense stacks, pyfixest, published numbers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from estimators import Estimates, Status
from estimators.staggered.dummy_regression import SunAbraham
from estimators.staggered.stacked import Stacked
from references.staggered_panels import adoption_of, county_employment, dummies, frame_of, staggered_panel
from sim import BadInput, Panel

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
    with pytest.raises(BadInput, match="all units adopt at once"):
        SunAbraham()(panel.with_variables({"did": did}))


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


def test_a_cohort_of_one_unit_has_effects_without_errors() -> None:
    fit = SunAbraham(**CELLS)(staggered_panel(size=1, controls=False))
    column = term(fit, "cohort(2005)")
    assert np.isfinite(fit.estimate[0, column])
    assert np.isnan(fit.se[0, 0, column])


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


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("controls", [False, True])
@pytest.mark.parametrize("weighting", ["variance", "corrective"])
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
    pyfixest = pytest.importorskip("pyfixest")
    panel = staggered_panel(controls=False)
    data, events = dense_stacks(panel, (-2, 2), "variance", complete=True)
    data = data.assign(
        unit_stack=data["unit"] + 1000 * data["stack"], period_stack=data["period"] + 9999 * data["stack"]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = pyfixest.feols("y ~ i(at, ref=-1) | unit_stack + period_stack", data=data, vcov={"CRV1": "unit"},
                               ssc=pyfixest.ssc(k_adj=True, k_fixef="nonnested", G_adj=True))  # fmt: skip
    fit = Stacked(window=(-2, 2))(panel)
    columns = [term(fit, f"event({event})") for event in events]
    np.testing.assert_allclose(fit.estimate[0, columns], model.coef(), atol=1e-7)
    np.testing.assert_allclose(fit.se[0, 0, columns], model.se(), rtol=1e-6)


def test_stacks_that_cannot_be_are_bad_input() -> None:
    panel = staggered_panel()
    with pytest.raises(BadInput, match="no cohort has clean controls over the window"):
        Stacked(window=(-9, 9))(panel)
    at_once = staggered_panel(never=0)
    did = np.zeros_like(at_once.variables["did"])
    did[:, 4:] = 1.0
    with pytest.raises(BadInput, match="no cohort has clean controls"):
        Stacked(window=(-2, 2), complete=False)(at_once.with_variables({"did": did}))
    with pytest.raises(BadInput, match="weighting"):
        Stacked(weighting="equal")(panel)  # type: ignore[arg-type]
