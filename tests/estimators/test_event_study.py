"""The two-way event study: pyfixest, dense dummies, the joint test, uniform intervals, truth under simulation."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from agreement import assert_agree, assert_batch_is_its_panels, in_another_order, with_effects
from scipy.stats import f as f_distribution
from scipy.stats import norm

from estimators import Estimates, Status
from estimators.staggered.adoption_effects import AdoptionEffects
from estimators.staggered.dummy_regression import EventStudy, SunAbraham
from estimators.staggered.imputation import Imputation, TwoStage
from estimators.staggered.stacked import Stacked
from references.staggered_panels import dummies, frame_of, staggered_panel
from sim import BadInput, Panel


def term(fit: Estimates, name: str) -> int:
    return fit.terms.index(name)


def binned(panel: Panel, low: int, high: int) -> pd.DataFrame:
    frame = frame_of(panel)
    return frame.assign(at=np.where(frame["first"] > 0, frame["since"].clip(low, high), -1))


def test_event_study_of_pyfixest() -> None:
    pyfixest = pytest.importorskip("pyfixest")
    panel = staggered_panel()
    frame = binned(panel, -3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what pandas has deprecated
        model = pyfixest.feols("y ~ i(at, ref=-1) + inv + road | unit + period", data=frame, vcov={"CRV1": "unit"},
                               ssc=pyfixest.ssc(k_adj=True, k_fixef="nonnested", G_adj=True))  # fmt: skip
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
    wald = slopes[:2] @ np.linalg.solve(covariances[0][:2, :2], slopes[:2])
    assert fit.statistics["pretrend"][0] == pytest.approx(wald, rel=1e-9)
    assert fit.statistics["pretrend_p"][0] == pytest.approx(f_distribution.sf(wald / 2, 2, units - 1), rel=1e-9)


def test_uniform_critical_value_is_that_of_its_normal_vectors() -> None:
    """Between one term's and Bonferroni's, and the quantile of many independent draws of the largest |t|."""
    panel = staggered_panel(replications=1)
    fit = EventStudy(window=(-3, 2), uniform_draws=20_000)(panel)
    value = fit.statistics["uniform"][0]
    assert norm.ppf(0.975) < value < norm.ppf(1 - 0.025 / 5)
    frame = binned(panel, -3, 2)
    x = np.column_stack([*(frame["at"] == k for k in (-3, -2, 0, 1, 2)), frame[["inv", "road"]],
                         dummies(frame["unit"].to_numpy()), dummies(frame["period"].to_numpy())])  # fmt: skip
    x = x.astype(float)
    bread = np.linalg.pinv(x.T @ x, rcond=1e-11, hermitian=True)
    y = frame["y"].to_numpy()
    sums = pd.DataFrame(x * (y - x @ (bread @ x.T @ y))[:, None]).groupby(frame["unit"]).sum().to_numpy()
    covariance = (bread @ sums.T @ sums @ bread)[:5, :5]
    sd = np.sqrt(np.diag(covariance))
    draws = np.random.default_rng(5).multivariate_normal(np.zeros(5), covariance / np.outer(sd, sd), 200_000)
    assert value == pytest.approx(np.quantile(np.abs(draws).max(axis=1), 0.95), abs=0.04)
    assert "uniform" not in EventStudy(uniform_draws=0)(panel).statistics


def test_an_event_time_that_no_unit_reaches_is_missing() -> None:
    fit = EventStudy(window=(-9, 9))(staggered_panel())
    assert np.isnan(fit.estimate[0, term(fit, "event(7)")])
    assert np.isnan(fit.se[0, 0, term(fit, "event(7)")])
    assert np.isfinite(fit.estimate[0, term(fit, "event(5)")])
    assert fit.status[0] == Status.OK
    assert np.isfinite(fit.statistics["pretrend"][0])


def test_collinear_event_times_are_bad_input() -> None:
    panel = staggered_panel(never=0, controls=False)
    with pytest.raises(BadInput, match="event times are collinear with the effects"):
        EventStudy(window=(-9, 9))(panel)
    assert EventStudy(window=(-2, 2))(panel).status[0] == Status.OK
    did = np.ones_like(panel.variables["did"])
    with pytest.raises(BadInput, match="no unit becomes treated"):
        EventStudy()(panel.with_variables({"did": did}))


EVERY = (EventStudy(), SunAbraham(), Stacked(window=(-2, 2)), Imputation(), TwoStage())


@pytest.mark.parametrize("estimator", EVERY, ids=lambda estimator: estimator.kind)
def test_redrawn_calendars_are_fitted_one_by_one(estimator: AdoptionEffects) -> None:
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
