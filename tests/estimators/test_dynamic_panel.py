"""Dynamic spatial panels: spreg and linearmodels, a dense twin, exact means of scores, truths, invariances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from refusals import refuses

from estimators import DynamicSpatialPanel, Estimates, Status
from estimators.spatial.dynamic_panel import DynamicLikelihood, DynamicPlan, dynamic_world
from estimators.spatial.spectrum import spectrum_of
from experiments.references import pysal
from references.dynamic_twin import DynamicTwin, impacts
from references.small_panels import changed, small_panel, small_weights
from sim import Panel, Roles, Streams, Wanted
from sim.filters import SpaceTimeFilter
from sim.world.parts.adoption import Calendar
from sim.world.parts.spillover import Neighbours

MODELS = ("sdm", "sar", "ar")
EFFECTS = ("two-way", "unit")


def made(n: int = 14, t: int = 8, *, seed: int = 1, rows: int = 1, rho: float = 0.3, gamma: float = 0.4,
         eta: float = -0.1, weights: str = "knn") -> Panel:  # fmt: skip
    """A small dynamic panel with unit and time effects, two regressors."""
    rng, w = np.random.default_rng(seed), small_weights(n, weights, seed)
    x = rng.standard_normal((2, 1, t, n))
    e = rng.standard_normal((rows, t, n)) + x[0] + 0.3 * w.lag(x[1]) + 2 * rng.standard_normal(n)
    y = SpaceTimeFilter.of(w, rho, gamma, eta).apply(e + rng.standard_normal((t, 1)))
    return Panel(w.units, tuple(range(2000, 2000 + t)), {"y": y, "did": x[0], "inv": x[1]},
                 Roles("y", "did", ("inv",)), weights={weights: w})  # fmt: skip


def with_lags(panel: Panel) -> Panel:
    """The panel without its first period, the lags of the outcome and those of regressors among the controls."""
    w, y = next(iter(panel.weights.values())), panel.variables["y"]
    own = {name: values[:, 1:] for name, values in panel.variables.items()}
    lags = {"w_did": w.lag(own["did"]), "w_inv": w.lag(own["inv"]), "past": y[:, :-1], "w_past": w.lag(y[:, :-1])}
    roles = Roles("y", "did", ("inv", *lags))
    return Panel(panel.units, panel.periods[1:], own | lags, roles, weights=dict(panel.weights))


@pytest.mark.parametrize("weights", ["knn", "contiguity", "inverse-distance"])
def test_the_uncorrected_maximum_with_unit_effects_is_spregs(weights: str) -> None:
    panel = made(weights=weights)
    got = DynamicSpatialPanel("sdm", "none", "unit")(panel)
    theirs = pysal.spatial_panel(with_lags(panel), "sar", effects="unit")
    names = ("did", "inv", "w_did", "w_inv", "gamma", "eta", "rho", "sigma2")
    np.testing.assert_allclose([got.params[name] for name in names], theirs.estimate, rtol=1e-6, atol=1e-7)
    assert got.statistics["loglik"][0] == pytest.approx(theirs.statistics["loglik"], rel=1e-9)


@pytest.mark.parametrize("effects", EFFECTS)
def test_without_spatial_terms_and_correction_it_is_linearmodels(effects: str) -> None:
    import pandas as pd
    from linearmodels.panel import PanelOLS

    panel = with_lags(made(rho=0.0, eta=0.0))
    index = pd.MultiIndex.from_product([panel.units, panel.periods])
    frame = pd.DataFrame({name: panel.variables[name][0].T.ravel() for name in ("y", "did", "inv", "past")}, index)
    theirs = PanelOLS(frame["y"], frame[["did", "inv", "past"]], entity_effects=True,
                      time_effects=effects == "two-way").fit()  # fmt: skip
    got = DynamicSpatialPanel("ar", "none", effects)(made(rho=0.0, eta=0.0))
    np.testing.assert_allclose([got.params[name] for name in ("did", "inv", "gamma")], theirs.params, rtol=1e-8)


def own_parameters(got: Estimates) -> np.ndarray:
    return got.estimate[0, : got.terms.index("sigma2") + 1]


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("correction", ["none", "analytic", "score"])
def test_every_correction_equals_the_dense_twin(model: Any, effects: Any, correction: Any) -> None:
    panel = made(seed=4)
    got, twin = DynamicSpatialPanel(model, correction, effects)(panel), DynamicTwin.of(panel, model, effects)
    p = twin.maximum()
    if correction == "analytic":
        values = twin.analytic()
    else:
        values = twin.whole(twin.root(p) if correction == "score" else p, corrected=correction == "score")
    assert got.status.tolist() == [Status.OK]
    np.testing.assert_allclose(own_parameters(got), values, rtol=2e-6, atol=1e-6)
    assert got.statistics["loglik"][0] == pytest.approx(twin.loglik(p), rel=1e-9)
    own = np.linalg.inv(twin.information(values, corrected=correction == "score"))
    np.testing.assert_allclose(got.se[0, 0, : len(values)], np.sqrt(np.diag(own)), rtol=1e-5)
    if model == "ar":
        return
    w = next(iter(panel.weights.values())).dense
    effects_of = [impacts(values, w, 2, model == "sdm", long) for long in (False, True)]
    np.testing.assert_allclose(got.estimate[0, len(values) :], np.concatenate(effects_of), rtol=1e-5, atol=1e-6)
    steps = 1e-6 * np.eye(len(values))
    moved = np.array([np.concatenate([(impacts(values + h, w, 2, model == "sdm", long)
                                       - impacts(values - h, w, 2, model == "sdm", long)) / 2e-6
                                      for long in (False, True)]) for h in steps])  # fmt: skip
    np.testing.assert_allclose(got.se[0, 0, len(values) :], np.sqrt(np.diag(moved.T @ own @ moved)), rtol=1e-4)


@pytest.mark.parametrize("n", [5, 8])
@pytest.mark.parametrize("effects", EFFECTS)
def test_means_of_scores_are_exact_for_any_number_of_periods(effects: Any, n: int) -> None:
    """E sum_t (Q lag_t)'e_t from the weights of every error in every outcome, four periods; of eight units W has the
    eigenvalue -1 too."""
    t, (rho, gamma, eta) = 4, (0.3, 0.5, -0.2)
    weights = small_weights(n, "contiguity")
    w = weights.dense
    s = np.linalg.inv(np.eye(n) - rho * w)
    a = s @ (gamma * np.eye(n) + eta * w)
    response = np.zeros((t + 1, n, t, n))  # of y_0 ... y_T to e_1 ... e_T; y_0 has none
    for at in range(t):
        response[at + 1] = np.tensordot(a, response[at], axes=1)
        response[at + 1, :, at] += s
    q = np.kron(np.eye(t) - 1 / t, np.eye(n) - (1 / n if effects == "two-way" else 0.0))
    lags = {"rho": np.einsum("ij,tjsk->tisk", w, response[1:]), "gamma": response[:-1],
            "eta": np.einsum("ij,tjsk->tisk", w, response[:-1])}  # fmt: skip
    exact = [np.trace(q @ lags[name].reshape(t * n, t * n)) for name in ("rho", "gamma", "eta")]
    plan = DynamicPlan(n, t, spectrum_of(weights))
    likelihood = DynamicLikelihood.of(plan, t, ("rho", "gamma", "eta"), effects)
    point = np.array([[rho, gamma, eta]])
    first, second = likelihood.means(point, corrected=True)
    np.testing.assert_allclose(first[0], exact, rtol=1e-12, atol=1e-12)
    steps = 1e-6 * np.eye(3)
    ends = [[likelihood.means(point + way * h, corrected=True)[0][0] for way in (1, -1)] for h in steps]
    slopes = [(high - low) / 2e-6 for high, low in ends]
    np.testing.assert_allclose(second[0], slopes, rtol=1e-6, atol=1e-7)


def part(panel: Panel, first: int, last: int) -> Panel:
    values = {name: x[:, first:last] for name, x in panel.variables.items()}
    return Panel(panel.units, panel.periods[first:last], values, panel.roles, weights=dict(panel.weights))


def test_r2_is_that_of_the_periods_that_are_explained() -> None:
    panel = made(t=8, seed=3)
    found = DynamicSpatialPanel("ar", "none", effects="unit")(panel)
    y = panel.variables["y"][0]
    e = y[1:] - found.params["gamma"] * y[:-1]
    e = e - sum(found.params[name] * panel.variables[name][0, 1:] for name in panel.roles.regressors)
    e = e - e.mean(axis=0)
    assert found.statistics["r2"][0] == pytest.approx(1 - (e**2).sum() / ((y[1:] - y[1:].mean()) ** 2).sum(), abs=1e-10)


@pytest.mark.parametrize("t", [9, 10])
def test_the_jackknife_is_twice_the_whole_less_the_halves(t: int) -> None:
    """Of nine explained periods both ways to halve them count."""
    panel = made(t=t, seed=3)
    whole = own_parameters(DynamicSpatialPanel("sdm", "none")(panel))
    cuts = {(t - 1) // 2, t - 1 - (t - 1) // 2}
    halves = [own_parameters(DynamicSpatialPanel("sdm", "none")(part(panel, *ends)))
              for cut in cuts for ends in ((0, cut + 1), (cut, t))]  # fmt: skip
    got = DynamicSpatialPanel("sdm", "jackknife")(panel)
    np.testing.assert_allclose(own_parameters(got), 2 * whole - np.mean(halves, axis=0), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 3])
def test_a_half_without_a_maximum_leaves_no_jackknife(seed: int) -> None:
    """The likelihood of the first panel's last periods is highest at the end of rho's interval."""
    panel, grid = made(13, 5, seed=seed, rho=-0.3, gamma=0.72, eta=0.0), np.linspace(-0.999, 0.999, 201)
    twins = [DynamicTwin.of(part(panel, *ends), "sar", "two-way") for ends in ((0, 5), (0, 3), (2, 5))]
    tops = [int(np.argmax([twin.loglik(twin.given(rho)) for rho in grid])) for twin in twins]
    at_end = [top in (0, len(grid) - 1) for top in tops]
    assert at_end == [False, False, seed == 0], tops
    got = DynamicSpatialPanel("sar", "jackknife")(panel)
    assert got.status.tolist() == [Status.NOT_CONVERGED if any(at_end) else Status.OK]


@pytest.mark.parametrize("seed", [2, 3])
def test_where_one_step_leaves_the_stable_the_root_is_found_from_the_maximum(seed: int) -> None:
    panel = made(13, 5, seed=seed, rho=-0.3, gamma=0.72, eta=0.0)
    got, twin = DynamicSpatialPanel("sar")(panel), DynamicTwin.of(panel, "sar", "two-way")
    assert DynamicSpatialPanel("sar", "analytic")(panel).status.tolist() == [Status.NOT_CONVERGED]
    assert got.status.tolist() == [Status.OK]
    np.testing.assert_allclose(own_parameters(got), twin.whole(twin.root(twin.maximum()), corrected=True), rtol=1e-6)


def test_corrections_take_the_bias_away_and_what_is_off_without() -> None:
    design = replace(dynamic_world("two-way", spatial=True), units=100,
                     adoption=Calendar(dates=((2005, 20), (2009, 20), (2014, 20))))  # fmt: skip
    streams, names, biased = Streams(5, "dynamic"), ("gamma", "sigma2", "did"), {}
    estimators = {kind: DynamicSpatialPanel(correction=kind) for kind in ("none", "analytic", "score")}
    targets = estimators["none"].layout(design.schema).targets
    wanted = Wanted(estimators["none"].variables(design.schema), tuple(dict.fromkeys(targets.values())))
    draw = design.settle(streams).draw(streams.tile(0, 192), wanted)
    for correction, estimator in estimators.items():
        got = estimator(draw.panel)
        assert (got.status == Status.OK).all()
        for name in names:
            errors = got.estimate[:, got.terms.index(name)] - draw.truth[targets[name]]
            biased[correction, name] = errors.mean() / (errors.std(ddof=1) / np.sqrt(len(errors)))
    assert biased["none", "gamma"] < -15
    assert biased["none", "sigma2"] < -10
    assert biased["none", "did"] > 4
    assert all(abs(biased["score", name]) < 4 for name in names)
    assert abs(biased["analytic", "gamma"]) < 0.25 * abs(biased["none", "gamma"])


def test_long_run_truths_are_what_lasting_changes_make() -> None:
    """A regressor raised for ever by one in one unit, and in all: 400 periods later."""
    design = replace(dynamic_world("unit", spatial=True), units=16, periods=5, adoption=Calendar(dates=((2003, 5),)))
    names = ("long_direct(did)", "long_indirect(did)", "long_total(did)", "gamma", "eta", "rho", "total(did)")
    streams = Streams(1, "truth")
    world = design.settle(streams)
    truth = world.draw(streams.tile(0, 2), Wanted(frozenset({"did"}), names)).truth
    w = world.settled.context.main_weights
    lags = SpaceTimeFilter.of(w, 0.3, 0.4, -0.15)
    single = np.repeat(np.eye(16)[:, None], 400, axis=1)
    made_of = lags.apply(single + 0.4 * w.lag(single), np.zeros((16, 16)))[:, -1]
    direct, total = np.trace(made_of) / 16, made_of.sum() / 16
    np.testing.assert_allclose([truth[name][0] for name in names[:3]], [direct, total - direct, total], rtol=1e-10)
    assert [truth[name][1] for name in names[3:6]] == [0.4, -0.15, 0.3]
    assert truth["total(did)"][0] == pytest.approx(1.4 / 0.7)


def test_the_world_follows_its_equation_and_starts_in_the_long_run() -> None:
    design = replace(dynamic_world("two-way", spatial=True), units=16, periods=6, adoption=Calendar(dates=((2004, 5),)))
    quiet = replace(design, errors=replace(design.errors, sd=0.0))
    streams = Streams(2, "world")
    world = quiet.settle(streams)
    draw = world.draw(streams.tile(0, 1), Wanted(frozenset({"did", "x"}), ("att",)))
    w = world.settled.context.main_weights
    x, did, y = (draw.panel.variables[name][0] for name in ("x", "did", quiet.outcome))
    m = y - world.settled.levels
    signal = x - 0.3 * w.lag(x) + did + 0.4 * w.lag(did)
    np.testing.assert_allclose(m[1:] - 0.3 * w.lag(m)[1:] - 0.4 * m[:-1] + 0.15 * w.lag(m)[:-1], signal[1:], atol=1e-10)
    np.testing.assert_allclose(0.6 * m[0] - 0.15 * w.lag(m)[0], signal[0], atol=1e-10)
    without = replace(quiet, effect=replace(quiet.effect, size=0.0), spillover=replace(quiet.spillover, w_effect=0.0))
    base = without.settle(streams).draw(streams.tile(0, 1), Wanted(frozenset({"did", "x"}), ()))
    gain = y - base.panel.variables[quiet.outcome][0]
    assert draw.truth["att"][0] == pytest.approx(gain[did > 0].mean(), rel=1e-9)
    assert (gain[:3] == 0).all()


def test_unstable_and_degenerate_panels_have_a_status() -> None:
    panel = made(rows=2, t=8)
    exploding = 1.7 ** np.arange(8.0)[:, None] * np.random.default_rng(1).random(14)
    got = DynamicSpatialPanel("ar", "none", "unit")(changed(panel, "y", 1, exploding))
    assert got.status.tolist() == [Status.OK, Status.NOT_CONVERGED]
    assert got.statistics["largest_root"][1] > 1
    got = DynamicSpatialPanel()(changed(panel, "y", 1, 2.0))
    assert got.status[0] == Status.OK
    assert got.status[1] != Status.OK


def test_stable_panels_have_long_run_effects_beyond_the_radius() -> None:
    """(rho + eta)/(1 - gamma) lies below -1, and (1 - gamma) I - (rho + eta) W may be inverted all the same."""
    panel = made(40, 20, rows=4, rho=-0.55, gamma=0.6, eta=0.0)
    got, w = DynamicSpatialPanel("sar")(panel), next(iter(panel.weights.values())).dense
    assert (got.status == Status.OK).all()
    assert np.isfinite(got.se).all()
    for row in range(4):
        rho, gamma, eta, slope = (got.params[row][name] for name in ("rho", "gamma", "eta", "did"))
        assert (rho + eta) / (1 - gamma) < -1
        inverse = np.linalg.inv((1 - gamma) * np.eye(40) - (rho + eta) * w)
        assert got.params[row]["long_total:did"] == pytest.approx(slope * inverse.sum() / 40, rel=1e-9)
        assert got.params[row]["long_direct:did"] == pytest.approx(slope * inverse.trace() / 40, rel=1e-9)


def test_careless_uses_are_one_line() -> None:
    panel = made()
    refuses("2 periods", lambda: DynamicSpatialPanel()(part(panel, 0, 2)))
    refuses("4 periods", lambda: DynamicSpatialPanel(correction="jackknife")(part(panel, 0, 4)))
    assert len(DynamicSpatialPanel(correction="jackknife")(part(panel, 0, 5)).status) == 1
    refuses("row-stochastic W", lambda: DynamicSpatialPanel()(made(weights="uneven")))
    assert DynamicSpatialPanel(effects="unit")(made(weights="uneven")).status.tolist() == [Status.OK]
    refuses("no spatial weights", lambda: DynamicSpatialPanel()(replace(panel, weights={})))
    assert DynamicSpatialPanel("ar")(replace(panel, weights={})).status.tolist() == [Status.OK]
    named = panel.with_variables({"gamma": panel.variables["did"]})
    refuses("names of terms", lambda: DynamicSpatialPanel(regressors=("gamma",))(named))
    refuses("unit-periods are missing", lambda: DynamicSpatialPanel()(small_panel(20, 6, missing=3)))
    gap = replace(panel, periods=(*panel.periods[:4], *(period + 1 for period in panel.periods[4:])))
    refuses(f"not evenly spaced: those used have no {panel.periods[4]};", lambda: DynamicSpatialPanel("ar")(gap))
    apart = replace(panel, periods=tuple(2000 + 5 * at for at in range(len(panel.periods))))
    np.testing.assert_array_equal(DynamicSpatialPanel()(apart).estimate, DynamicSpatialPanel()(panel).estimate)
    for wrong in ({"model": "sem"}, {"correction": "nickell"}, {"effects": "period"}):
        refuses(next(iter(wrong)), lambda wrong=wrong: DynamicSpatialPanel(**wrong))
    refuses("no term 'tau'", lambda: DynamicSpatialPanel(terms=("tau",))(panel))
    assert DynamicSpatialPanel(terms=("gamma",))(panel).terms == ("gamma",)
    assert "eta" not in DynamicSpatialPanel(space_time=False)(panel).terms

    design = replace(dynamic_world("unit", spatial=True), spillover=Neighbours(rho=0.5, gamma=0.4, eta=0.2))
    refuses(r"largest root is 1\.2", lambda: design.settle(Streams(1)))
    refuses("gamma = 1", lambda: replace(design, spillover=Neighbours(gamma=1.0)))


@pytest.mark.parametrize(("rho", "gamma", "eta", "stable"), [
    (0.3, 0.48, 0.2, True), (0.3, 0.52, 0.2, False), (1.5, 0.05, 0.0, False), (0.0, -0.7, 0.9, False),
])  # fmt: skip
def test_a_process_is_unstable_where_all_units_together_are(rho: float, gamma: float, eta: float, stable: bool) -> None:
    """Time effects take the mean over units out, whose root is (gamma + eta) / (1 - rho); beyond 1 rho has no place."""
    plan = DynamicPlan(40, 6, spectrum_of(small_weights(40, "contiguity")))
    likelihood = DynamicLikelihood.of(plan, 6, ("rho", "gamma", "eta"), "two-way")
    assert likelihood.inside(np.array([[rho, gamma, eta]])).tolist() == [stable]
    assert (likelihood.largest_root(np.array([[rho, gamma, eta]])) < 1).tolist() == [stable or rho > 1]


@pytest.mark.parametrize(("alike", "maximum"), [(0.0, True), (0.8, False)])
def test_a_root_that_is_no_maximum_is_none(alike: float, maximum: bool) -> None:
    """Cross products under which the scores vanish at a point; where Wy and y_-1 are much alike it is a saddle."""
    plan = DynamicPlan(14, 5, spectrum_of(small_weights(14)))
    likelihood = DynamicLikelihood.of(plan, 5, ("rho", "gamma"), "two-way")
    p, n = np.array([0.3, 0.4]), 13 * 4
    means = likelihood.means(p[None], corrected=True)[0][0]
    own = np.array([[1e3, alike * np.sqrt(30e3)], [alike * np.sqrt(30e3), 30.0]])
    across = means + own @ p
    k = np.block([[np.array([[n + 2 * p @ across - p @ own @ p]]), across[None]], [across[:, None], own]])
    assert np.linalg.eigvalsh(k).min() > 0

    def scores(at: np.ndarray) -> np.ndarray:
        c = np.r_[1.0, -at]
        return k[1:] @ c / (c @ k @ c / n) - likelihood.means(at[None], corrected=True)[0][0]

    falls = np.array([(scores(p - h) - scores(p + h)) / 2e-6 for h in 1e-6 * np.eye(2)])
    assert sorted(np.linalg.eigvals(falls) > 0) == [maximum, True]
    np.testing.assert_allclose(scores(p), 0.0, atol=1e-9)
    found, settled = likelihood.root(k[None], p[None])
    np.testing.assert_allclose(found[0], p, atol=1e-9)
    assert settled.tolist() == [maximum]
