"""Imputation and two-stage estimators: dense least squares, pyfixest's did2s, truth under simulation, invariances."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import f as f_distribution

from estimators import Estimates, Status
from estimators.staggered.imputation import Imputation, TwoStage
from references.staggered_panels import dummies, frame_of, staggered_panel
from sim import BadInput, Panel

Floats = NDArray[np.float64]
CELLS = {"window": (-3, 3), "cohorts": (2003, 2005, 2006), "years": (2004, 2006, 2008)}


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


def term(fit: Estimates, name: str) -> int:
    return fit.terms.index(name)


@pytest.mark.parametrize("controls", [False, True])
@pytest.mark.parametrize("estimator", [Imputation(**CELLS), TwoStage(**CELLS)], ids=["imputation", "two-stage"])
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


@pytest.mark.parametrize("averages", ["event", "cohort-period", "treated"])
@pytest.mark.parametrize("controls", [False, True])
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
    fit = Imputation(**CELLS, averages=averages, errors=("cluster:unit", "cluster:province"))(panel)
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
    fit = Imputation(**CELLS, averages="cohort-period")(panel)
    assert np.isnan(fit.se[0, 0, term(fit, "att(2005,2006)")])
    assert np.isfinite(fit.estimate[0, term(fit, "att(2005,2006)")])
    assert np.isnan(fit.se[0, 0, term(fit, "event(0)")]), "three units, each alone in its group"
    assert np.isfinite(Imputation(**CELLS, averages="event")(panel).se[0, 0, term(fit, "event(0)")])
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
        "cohort": (np.column_stack([treated & (frame["first"] == g) for g in CELLS["cohorts"]]),
                   [f"cohort({g})" for g in CELLS["cohorts"]]),
        "calendar": (np.column_stack([treated & (frame["period"] == t) for t in range(2003, 2009)]),
                     [f"calendar({t})" for t in range(2003, 2009)]),
    }  # fmt: skip
    fit = TwoStage(**CELLS)(panel)
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
    left_out = dataclasses.replace(
        panel,
        units=panel.units[1:],
        variables={name: array[:, :, 1:] for name, array in always.variables.items()},
        attributes={name: values[1:] for name, values in panel.attributes.items()},
    )
    for estimator in (Imputation(), TwoStage()):
        one, other = estimator(always), estimator(left_out)
        np.testing.assert_allclose(one.estimate, other.estimate, atol=1e-12)
        np.testing.assert_allclose(one.se, other.se, atol=1e-12)


@pytest.mark.parametrize("estimator", [Imputation(), TwoStage()], ids=["imputation", "two-stage"])
def test_bad_input_names_the_periods_without_untreated_units(estimator: Imputation | TwoStage) -> None:
    panel = staggered_panel(never=0)
    with pytest.raises(BadInput, match="no unit is untreated in 2006, 2007, 2008"):
        estimator(panel)
    everyone = panel.with_variables({"did": np.ones_like(panel.variables["did"])})
    with pytest.raises(BadInput, match="no unit becomes treated"):
        estimator(everyone)
    nobody = panel.with_variables({"did": np.zeros_like(panel.variables["did"])})
    with pytest.raises(BadInput, match="no unit becomes treated"):
        estimator(nobody)


def test_bad_settings_are_bad_input() -> None:
    panel = staggered_panel()
    with pytest.raises(BadInput, match="window"):
        Imputation(window=(2, 1))(panel)
    with pytest.raises(BadInput, match="averages"):
        Imputation(averages="unit")(panel)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="errors"):
        Imputation(errors=("hc1",))(panel)
    with pytest.raises(BadInput, match="cohorts"):
        TwoStage(cohorts=(2003, 2003))(panel)
