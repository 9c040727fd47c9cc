"""Propensity scores, matching by hand, balance, and DID on the matched sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from agreement import of_units
from numpy.typing import NDArray
from refusals import refuses
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit

from estimators import Estimates, Status, TwoWayDID, matching
from estimators.core.regression import logit
from references.regressions import panel_ols
from references.small_panels import bare, small_panel, unseen
from sim import Panel, Roles

Floats = NDArray[np.float64]
ERRORS = ("iid", "hc1", "cluster:unit", "cluster:province")


def covariates(n: int = 200, seed: int = 3) -> tuple[Floats, NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 3)) * [1.0, 20.0, 0.01] + [0.0, 300.0, 5.0]
    index = x @ [0.8, -0.03, 40.0] - 191.0
    return x, rng.random(n) < 1 / (1 + np.exp(-index))


def test_logit_equals_a_general_optimiser_and_a_saturated_table() -> None:
    x, d = covariates()
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    design = np.column_stack([np.ones(len(z)), z])

    def loss(b: Floats) -> float:
        return float(np.logaddexp(0, design @ b).sum() - (design @ b)[d].sum())

    found = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8})
    ours = logit(z, d)
    np.testing.assert_allclose(ours.coefficient, found.x, atol=1e-6)
    assert ours.loglik == pytest.approx(-found.fun, abs=1e-9)
    share = d.mean()
    alone = len(d) * (share * np.log(share) + (1 - share) * np.log(1 - share))
    assert ours.ratio == pytest.approx(2 * (ours.loglik - alone), rel=1e-10)
    table, chosen = np.repeat([0.0, 1.0], [30, 50])[:, None], np.r_[np.arange(30) < 10, np.arange(50) < 35]
    binary = logit(table, chosen)
    np.testing.assert_allclose(binary.coefficient, [np.log(10 / 20), np.log(35 / 15) - np.log(10 / 20)], rtol=1e-12)
    np.testing.assert_allclose(binary.se[1], np.sqrt(1 / 10 + 1 / 20 + 1 / 35 + 1 / 15), rtol=1e-12)
    null = 80 * (45 / 80 * np.log(45 / 80) + 35 / 80 * np.log(35 / 80))
    assert binary.pseudo_r2 == pytest.approx(1 - binary.loglik / null, abs=1e-12)


@pytest.mark.parametrize("far", [20.0, 60.0, 400.0])
def test_a_unit_that_is_known_for_certain_separates_nothing(far: float) -> None:
    """One city ten times as large as the next: its probability is next to 0, and the others have a maximum."""
    rng = np.random.default_rng(4)
    size = np.exp(rng.normal(size=60))
    chosen = rng.random(60) < expit(1.0 - 0.9 * size)
    size[0], chosen[0] = far, False
    fit = logit(size[:, None], chosen)
    b = fit.coefficient
    away = chosen - expit(b[0] + b[1] * size)
    assert fit.converged
    np.testing.assert_allclose([away.sum(), (away * size).sum()], 0.0, atol=1e-9)  # the score is 0 at the maximum
    assert b[0] + b[1] * far < -15
    assert not logit(size[:, None], size < 2.0).converged


@pytest.mark.parametrize("apart", [False, True], ids=["overlapping", "separated"])
def test_a_penalised_logit_maximises_the_penalised_likelihood(apart: bool) -> None:
    """Firth (1993), where groups overlap and where covariates separate them, and its ratio to a constant alone."""
    x, d = covariates(40)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    d = z @ [1.0, 0.5, -0.5] > 0.4 if apart else d
    assert logit(z, d).converged != apart
    design = np.column_stack([np.ones(len(z)), z])

    def loss(b: Floats) -> float:
        p = expit(design @ b)
        information = design.T @ (design * (p * (1 - p))[:, None])
        loglik = -np.logaddexp(0, np.where(d, -1.0, 1.0) * (design @ b)).sum()
        return -float(loglik + np.linalg.slogdet(information)[1] / 2)

    ours = logit(z, d, penalised=True)
    found = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8})
    alone = minimize(lambda b: loss(np.r_[b, np.zeros(3)]), np.zeros(1), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(ours.coefficient, found.x, rtol=1e-4)
    assert ours.ratio == pytest.approx(2 * (alone.fun - found.fun), abs=1e-8)


@pytest.mark.parametrize("fault", ["separated", "collinear", "constant", "constant up to rounding", "one group"])
def test_a_logit_without_a_maximum_says_so(fault: str) -> None:
    x, d = covariates(60)
    x, d = {
        "separated": (x, x[:, 0] > 0),
        "collinear": (np.column_stack([x, 2 * x[:, 0] - 1]), d),
        "constant": (np.column_stack([x, np.ones(60)]), d),
        "constant up to rounding": (np.where(np.arange(60) % 3, 0.1, np.mean([0.1] * 3))[:, None], d),
        "one group": (x, np.ones(60, dtype=bool)),
    }[fault]
    fit = logit(x, d)
    assert not fit.converged
    assert np.isnan(fit.score).all()


OF = np.array([0.30, 0.50, 0.52, 0.90])
AMONG = np.array([0.28, 0.33, 0.49, 0.60, 0.75])


def test_links_by_hand() -> None:
    one = matching.nearest_links(OF, AMONG, 1, np.inf, replacement=True)
    assert one.argmax(axis=1).tolist() == [0, 2, 2, 4]
    two = matching.nearest_links(OF, AMONG, 2, 0.11, replacement=True)
    expected = np.zeros((4, 5))
    expected[[0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 2, 3]] = 0.5
    np.testing.assert_array_equal(two, expected)  # nobody within .11 of .90
    links = matching.nearest_links(OF, AMONG, 1, np.inf, replacement=False)
    assert links.argmax(axis=1).tolist() == [0, 3, 2, 4]  # .52 chooses .49 before .50 can, which takes .60
    assert (links.sum(axis=0) <= 1).all()
    narrow = matching.nearest_links(OF, AMONG, 1, 0.05, replacement=False)
    assert narrow.sum(axis=1).tolist() == [1, 0, 1, 0]
    radius = matching.radius_links(OF, AMONG, 0.1 + 1e-9)
    assert (radius[1] == [0, 0, 0.5, 0.5, 0]).all()
    assert not radius[3].any()
    kernel = matching.kernel_links(OF, AMONG, 0.2)
    raw = np.array([0.0, 1 - (0.17 / 0.2) ** 2, 1 - (0.01 / 0.2) ** 2, 1 - (0.1 / 0.2) ** 2, 0.0])
    np.testing.assert_allclose(kernel[1], raw / raw.sum(), atol=1e-15)
    np.testing.assert_allclose(kernel.sum(axis=1), [1, 1, 1, 1])


def test_weights_give_the_mean_of_matched_comparisons() -> None:
    """sum w y over treated less that over controls = the mean over matched treated of y less its own comparison."""
    treated = np.array([True, False, True, False, True, False, False, True, False])
    eligible = np.ones(9, dtype=bool)
    y = np.random.default_rng(4).standard_normal(9)
    nearest = matching.nearest_links(OF, AMONG, 2, 0.11, replacement=True)
    for links in (nearest, matching.kernel_links(OF, AMONG, 0.2), matching.radius_links(OF, AMONG, 0.06)):
        w = matching.matching_weights(links, treated, eligible)
        matched = links.sum(axis=1) > 0
        direct = (y[treated] - links @ y[~treated])[matched].mean()
        by_weights = (w * y)[treated].sum() / w[treated].sum() - (w * y)[~treated].sum() / w[~treated].sum()
        assert by_weights == pytest.approx(direct, abs=1e-14)


def test_common_support() -> None:
    score = np.array([0.1, 0.2, 0.5, 0.7, 0.05, 0.9])
    treated = np.array([False, True, False, True, True, True])
    assert matching.on_support(score, treated).tolist() == [False, True, False, False, False, False]


def test_scores_that_differ_by_rounding_are_equal() -> None:
    """A covariate that does not change is 0.1 over two years and a little more over three."""
    low, high = 0.1, float(np.mean([0.1] * 3))
    assert low < high
    treated = np.array([True, False, True, False])
    assert matching.on_support(np.array([low, high, 0.5, 0.4999]), treated).tolist() == [True, False, False, False]
    of, among = np.array([low, high]), np.array([high, low])
    for replacement, taken in ((True, [0, 0]), (False, [0, 1])):
        links = matching.nearest_links(of, among, 1, 0.05, replacement=replacement)
        assert links.argmax(axis=1).tolist() == taken  # of equal ones the first
    assert matching.radius_links(np.array([0.3]), np.array([0.1]), 0.2).all()


def test_balance_equals_known_tests() -> None:
    x, d = covariates(80)
    ones = np.ones(80, dtype=bool)
    weights = np.where(d, 1.0, np.random.default_rng(1).random(80))
    found = matching.balance(x, d, weights, before=ones)
    for k in range(3):
        test = stats.ttest_ind(x[d, k], x[~d, k])
        assert found["t_before"][k] == pytest.approx(test.statistic, rel=1e-10)
        assert found["p_before"][k] == pytest.approx(test.pvalue, rel=1e-9)
        s1, s0 = x[d, k].var(ddof=1), x[~d, k].var(ddof=1)
        gap = x[d, k].mean() - np.average(x[~d, k], weights=weights[~d])
        assert found["bias_after"][k] == pytest.approx(100 * gap / np.sqrt((s1 + s0) / 2), rel=1e-10)
        assert found["variance_ratio_before"][k] == pytest.approx(s1 / s0, rel=1e-12)
        design = np.column_stack([np.ones(80), d])
        root = np.sqrt(weights)[:, None]
        beta, ssr, *_ = np.linalg.lstsq(root * design, root[:, 0] * x[:, k])
        variance = ssr[0] / 78 * np.linalg.inv((root * design).T @ (root * design))[1, 1]
        assert found["t_after"][k] == pytest.approx(beta[1] / np.sqrt(variance), rel=1e-8)


def test_balance_of_what_all_matched_controls_share() -> None:
    """A port that one matched city has and no matched control: no variance to divide by, and no warning."""
    port, d = np.array([1.0, 0, 0, 0, 1, 0])[:, None], np.arange(6) < 3
    weights = np.array([1.0, 1, 1, 2, 0, 1])
    found = matching.balance(port, d, weights, before=np.ones(6, dtype=bool))
    assert found["variance_ratio_after"][0] == np.inf
    assert found["mean_control_after"][0] == 0.0
    same = matching.balance(port, d, np.array([0.0, 1, 1, 1, 0, 1]), before=np.ones(6, dtype=bool))
    assert np.isnan([same["variance_ratio_after"][0], same["t_after"][0]]).all()


def selected_panel(n: int = 300, replications: int = 1, seed: int = 1) -> Panel:
    """Units of a large x are treated more often and grow faster: plain DID is biased upwards, the true effect is 1."""
    rng = np.random.default_rng(seed)
    t = 8
    x = rng.standard_normal(n)
    treated = rng.random(n) < 1 / (1 + np.exp(-(x - 0.5)))
    start = np.where(treated, rng.integers(4, 7, n), 99)
    did = (np.arange(t)[:, None] >= start).astype(float)[None]
    trend = 0.5 * x * np.arange(t)[:, None]
    z = rng.standard_normal((1, t, n))
    y = did + trend + 0.3 * z + rng.standard_normal((replications, t, n)) + 3 * rng.standard_normal(n)
    size = np.broadcast_to(x, (1, t, n)).copy()
    province = np.array([f"p{i % 20}" for i in range(n)])
    values = {"y": y, "did": did, "z": z, "size": size}
    return bare(values, Roles("y", "did", ("z",)), attributes={"province": province})


@pytest.mark.parametrize("method", ["nearest", "radius", "kernel"])
def test_matching_removes_the_bias_of_selection_on_what_is_observed(method: str) -> None:
    panel = selected_panel(1200, replications=40)
    matched = matching.PsmDID(covariates=("size",), method=method, caliper=0.02, bandwidth=0.02)
    assert TwoWayDID()(panel).estimate[:, 0].mean() > 1.5
    assert abs(matched(panel).estimate[:, 0].mean() - 1.0) < 0.15
    found = matched.match(panel)
    after = matching.balance(found.x, found.treated, found.weights, before=found.candidates)
    assert abs(after["bias_before"][0]) > 50
    assert abs(after["bias_after"][0]) < 5


def test_treated_units_are_matched_whose_scores_controls_have_and_before_anybody_is_treated() -> None:
    panel = selected_panel(300)
    found = matching.PsmDID(covariates=("size",), method="kernel").match(panel)
    score = logit(found.x, found.treated).score
    inside = (score >= score[~found.treated].min()) & (score <= score[~found.treated].max())
    np.testing.assert_array_equal(found.supported, found.treated & inside)
    assert (found.treated & ~found.supported).any()
    did = panel.variables["did"].copy()
    did[:, 6:] = 0.0  # the treatment ends: what comes later is no time before it
    window = matching.PsmDID(covariates=("size",)).window(panel.with_variables({"did": did}))
    assert window.tolist() == [True] * 4 + [False] * 4


def test_covariates_are_means_over_the_first_to_the_last_year_of_matching() -> None:
    panel = selected_panel(100)
    found = matching.PsmDID(covariates=("z",), years=(2002, 2003)).match(panel)
    np.testing.assert_allclose(found.x[:, 0], panel.variables["z"][0, 1:3].mean(axis=0), rtol=1e-12)


def test_it_is_the_weighted_regression_on_its_matching() -> None:
    panel = selected_panel()
    settings = matching.PsmDID(covariates=("size", "z"), method="kernel", errors=ERRORS)
    found = settings.match(panel)
    assert panel.periods[3] == 2004  # the years before anybody is treated are 2001-2004
    np.testing.assert_allclose(found.x[:, 1], panel.variables["z"][0, :4].mean(axis=0), rtol=1e-14)
    direct = matching.weighted_two_way(panel, "y", ("did", "z"), ERRORS, found.weights)
    np.testing.assert_array_equal(settings(panel).se, direct.se)
    sevenfold = matching.weighted_two_way(panel, "y", ("did", "z"), ERRORS, 7 * found.weights)
    np.testing.assert_allclose(sevenfold.statistics["sigma2"], direct.statistics["sigma2"], rtol=1e-12)
    seen = np.ones((1, len(panel.periods), len(panel.units)), dtype=bool)
    seen[:, 1:, np.flatnonzero(found.weights * ~found.treated)[0]] = False  # a control that is seen once
    alone, rest = (replace(panel, observed=each) for each in (seen, seen & (seen.sum(axis=1, keepdims=True) > 1)))
    weights = np.maximum(found.weights, 0.01)
    one, other = (matching.weighted_two_way(each, "y", ("did", "z"), ERRORS, weights) for each in (alone, rest))
    np.testing.assert_allclose(one.se, other.se, rtol=1e-12)
    assert settings(panel).statistics["treated_matched"][0] == (found.weights[found.treated] == 1).sum()


def test_no_matched_sample_and_a_fit_without_one_of_its_errors_are_a_status() -> None:
    panel = selected_panel(100)
    apart = panel.with_variables({"size": panel.variables["did"].max(axis=1, keepdims=True) + np.zeros((1, 8, 1))})
    assert matching.PsmDID(covariates=("size",))(apart).status.tolist() == [Status.SINGULAR]
    assert matching.PsmDID(covariates=("size",), caliper=1e-12)(panel).status.tolist() == [Status.REFUSED]
    panel = selected_panel(120, replications=2)
    first = np.flatnonzero(panel.variables["did"][0].any(axis=0))[0]
    did = panel.variables["did"] * (np.arange(120) == first)
    one = panel.with_variables({"did": did})
    refused = matching.PsmDID(covariates=("size",), caliper=1.0)(one)
    assert refused.status.tolist() == [Status.REFUSED] * 2
    assert matching.PsmDID(covariates=("size",), caliper=1.0, errors=("iid",))(one).status.tolist() == [Status.OK] * 2
    assert matching.PsmDID(covariates=("size",), caliper=1.0)(panel).status.tolist() == [Status.OK] * 2


def matched_by_hand(treated: int, controls: int) -> tuple[Panel, matching.PsmDID, matching.Matched]:
    """A panel of which so many treated units (all of province p0) and controls are taken for matched."""
    panel = selected_panel(80, replications=2)
    settings = matching.PsmDID(covariates=("size",), errors=ERRORS)
    found = settings.match(panel)
    weights = np.zeros(80)
    weights[np.flatnonzero(found.treated)[:treated]] = 1.0
    weights[np.flatnonzero(~found.treated)[:controls]] = treated / controls
    province = np.where(found.treated, "p0", panel.attributes["province"])
    return replace(panel, attributes={"province": province}), settings, replace(found, weights=weights)


@pytest.mark.parametrize(("treated", "controls"), [(1, 1), (1, 9), (9, 1)])
def test_a_single_unit_on_either_side_leaves_no_clustered_error(treated: int, controls: int) -> None:
    panel, settings, found = matched_by_hand(treated, controls)
    got = settings.fit(panel, found)
    assert found.clusters("cluster:unit", panel) == (treated, controls)
    assert np.isnan(got.se[:, 2:, 0]).all()
    assert np.isfinite(got.se[:, :2]).all()
    assert got.status.tolist() == [Status.OK] * 2
    assert np.isfinite(got.se[:, 2, 1]).all() == (treated + controls > 2)


def test_clusters_are_counted_on_either_side() -> None:
    panel, settings, found = matched_by_hand(6, 6)
    got = settings.fit(panel, found)
    assert np.isfinite(got.se[:, :3, 0]).all()
    for error in ("cluster:province", "cluster:province+period", "cluster:unit+province"):
        assert found.clusters(error, panel) == (1, 6)
    assert found.clusters("cluster:period", panel) is found.clusters("hc1", panel) is None
    assert np.isnan(got.se[:, 3, 0]).all()


def test_a_regressor_absorbed_in_the_matched_sample_is_singular() -> None:
    """z is common to all matched units of a year: their effects absorb it, those of all units do not."""
    rng = np.random.default_rng(3)
    n, t = 30, 6
    did, common = np.outer(np.arange(t) >= 3, np.arange(n) < 10), np.repeat(rng.standard_normal((1, t, 1)), n, axis=2)
    values = {"y": rng.standard_normal((2, t, n)), "did": did, "x": rng.standard_normal((1, t, n)), "z": common}
    panel = bare(values, Roles("y", "did", ("x",)))
    model = matching.PsmDID(covariates=("x",), regressors=("did", "x", "z"))
    left_out = ~model.match(panel).units
    assert left_out.any()
    z = common.copy()
    z[:, :, left_out] = rng.standard_normal((1, t, left_out.sum()))
    got = model(panel.with_variables({"z": z}))
    assert got.status.tolist() == [Status.SINGULAR] * 2
    assert np.isnan(got.estimate).all()


@pytest.mark.parametrize("neighbours", [1, 2])
def test_a_matched_sample_as_large_as_its_parameters_is_singular(neighbours: int) -> None:
    """One treated and one to two matched units of two periods beside a control: nothing is left for errors."""
    rng = np.random.default_rng(0)
    values = {"did": np.outer([0, 1], np.eye(6)[0]), "x": rng.standard_normal((2, 6)), "y": rng.standard_normal((2, 6))}
    found = matching.PsmDID(caliper=np.inf, neighbours=neighbours)(bare(values, Roles("y", "did", ("x",))))
    assert found.status[0] != Status.OK


def test_a_unit_unseen_before_treatment_is_no_candidate() -> None:
    panel = selected_panel(100)
    found = matching.PsmDID(covariates=("size",)).match(unseen(panel, (slice(4), [5, 60])))
    assert not found.candidates[[5, 60]].any()
    assert not found.weights[[5, 60]].any()
    assert found.candidates.sum() == 98


@pytest.mark.parametrize(("settings", "words"), [
    (matching.PsmDID(covariates=("nothing",)), "no variable 'nothing'"),
    (matching.PsmDID(covariates=()), "covariates"),
    (matching.PsmDID(covariates=("size",), caliper=0.0), "caliper = 0.0"),
    (matching.PsmDID(covariates=("size",), neighbours=0), "neighbours = 0"),
    (matching.PsmDID(covariates=("size",), method="kernel", bandwidth=0.0), "bandwidth = 0.0"),
    (matching.PsmDID(covariates=("size",), years=(1990, 1995)), "no period lies in years"),
    (matching.PsmDID(covariates=("size",), errors=("wild:unit",)), "error type"),
])  # fmt: skip
def test_bad_settings(settings: matching.PsmDID, words: str) -> None:
    refuses(words, lambda: settings(selected_panel(60)))


def test_somebody_treated_from_the_start_needs_years() -> None:
    panel = selected_panel(100)
    did = panel.variables["did"].copy()
    did[0, :, np.flatnonzero(did[0].any(axis=0))[0]] = 1.0
    early = panel.with_variables({"did": did})
    refuses("some units are treated in 2001", lambda: matching.PsmDID(covariates=("size",))(early))
    assert matching.PsmDID(covariates=("size",), years=(2001, 2002))(early).status[0] == Status.OK


MORE_ERRORS = (*ERRORS, "cluster:period", "cluster:province+period", "driscoll-kraay")


def weighted(panel: Panel, weights: Floats, errors: tuple[str, ...] = MORE_ERRORS) -> Estimates:
    return matching.weighted_two_way(panel, "y", ("did", "inv", "road"), errors, weights)


@pytest.mark.parametrize("missing", [0, 23])
def test_weights_of_one_and_zero_leave_units_out(missing: int) -> None:
    panel = small_panel(40, 8, seed=5, missing=missing)
    kept = np.arange(40) % 3 > 0
    ours = weighted(panel, kept.astype(float))
    plain = panel_ols(errors=MORE_ERRORS)(of_units(panel, kept))
    np.testing.assert_allclose(ours.estimate, plain.estimate, rtol=1e-10)
    np.testing.assert_allclose(ours.se, plain.se, rtol=1e-10)
    np.testing.assert_array_equal(ours.dof, plain.dof)


@pytest.mark.parametrize("level", [0.0, 1e6])
def test_scores_that_cancel_give_no_error(level: float) -> None:
    """Of two units: their residuals are opposite, what is left of their regressors too, and each score sums to zero."""
    panel = small_panel(30, 8, seed=4, replications=2)
    panel = panel.with_variables({"y": panel.variables["y"] + level})
    treated = panel.variables["did"][0].any(axis=0)
    pair = np.zeros(30)
    pair[[np.flatnonzero(treated)[0], np.flatnonzero(~treated)[0]]] = 1.0
    got = matching.weighted_two_way(panel, "y", ("did", "inv"), ("iid", "hc1", "cluster:unit"), pair)
    assert got.status.tolist() == [Status.OK] * 2
    assert np.isnan(got.se[:, 2]).all()
    assert (got.se[:, :2] > 1e-6).all()
    whole = weighted(panel, np.ones(30))
    assert (whole.se > 1e-6).all()


def test_a_fit_without_error_is_singular() -> None:
    panel = small_panel(30, 6, seed=4)
    x = panel.variables
    exact = 1e3 + 2.0 * x["did"] - x["inv"] + 3.0 * x["road"] + np.arange(30) + np.arange(6)[:, None]
    got = weighted(panel.with_variables({"y": exact}), np.random.default_rng(6).random(30) + 0.2)
    assert got.status.tolist() == [Status.SINGULAR]
    assert np.isnan(got.se).all()
