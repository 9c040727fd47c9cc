"""Mediation: separate regressions, reference programs, resampling by hand, derivatives by hand, truth by simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from agreement import of_units
from covering import covered
from mediation_panels import ALL, SEED, panel_of, paths_by_hand, stacked, term
from numpy.typing import NDArray
from refusals import refuses

from estimators import Estimates, Mediation, PanelIV, Status, Tile, TwoWayDID
from estimators.core.estimator import critical_values
from estimators.mediation import TERMS, MediatedEffects, indirect_at, root_of, weighted_paths
from references.small_panels import small_panel, uneven, unseen
from sim import Draw, Panel, Streams, Wanted
from sim.presets import MEDIATION, Paper

Floats = NDArray[np.float64]


def equations(panel: Panel, cluster: str = "unit", **settings: object) -> tuple[Estimates, Estimates, Estimates]:
    """The mediator's, the outcome's and the reduced regression, each on its own."""
    mediator = panel.roles.mediators[0]
    errors = (f"cluster:{cluster}",)
    return (
        TwoWayDID(mediator, errors=errors, **settings)(panel),
        TwoWayDID(regressors=(*panel.roles.regressors, mediator), errors=errors, **settings)(panel),
        TwoWayDID(errors=errors, **settings)(panel),
    )


@covered(missing=[0, 25], cluster=["unit", "province"], cluster_k=["slopes", "nonnested", "all"])
def test_paths_and_their_errors_are_those_of_separate_regressions(missing: int, cluster: str, cluster_k: str) -> None:
    panel = panel_of(missing=missing)
    if missing:  # and a unit that is seen once
        seen = panel.observed & ~((np.arange(len(panel.periods)) > 0)[:, None] & (np.arange(len(panel.units)) == 3))
        panel = replace(panel, observed=seen)
    got = Mediation(cluster=cluster, cluster_k=cluster_k)(panel)
    mediator, outcome, reduced = equations(panel, cluster, cluster_k=cluster_k)
    for name, one, column in (("a", mediator, 0), ("b", outcome, -1), ("nde", outcome, 0), ("total", reduced, 0)):
        np.testing.assert_allclose(term(got, name), one.estimate[:, column], rtol=1e-11, err_msg=name)
        for error in ("delta", "sobel"):
            np.testing.assert_allclose(term(got, name, error), one.se[:, 0, column], rtol=1e-10, err_msg=name)
    assert (got.dof[:, 0] == mediator.dof[0, 0, 0]).all()


def test_the_papers_arithmetic() -> None:
    """Table 5: .0925 x .0072 = .00067, 4% of .0157, on a panel built to give these coefficients without error."""
    panel = panel_of()
    tile = Tile(panel)
    did = tile.within("did")
    own = tile.within("m")
    own = own - did * np.vdot(did, own) / np.vdot(did, did)  # so that a is not estimated with error
    a, b, *_ = MEDIATION["gpat"]
    m = a * panel.variables["did"] + own + 3.0
    y = 0.44 + (0.0157 - a * b) * panel.variables["did"] + b * m
    got = Mediation(regressors=("did",))(panel.with_variables({"m": m, "y": y}))
    np.testing.assert_allclose(got.estimate[0, :5], [a, b, 0.0157 - a * b, a * b, 0.0157], rtol=1e-10)
    assert term(got, "nie")[0] == pytest.approx(0.00067, abs=5e-6)
    assert term(got, "proportion")[0] == pytest.approx(0.0424, abs=1e-4)


@pytest.mark.parametrize("missing", [0, 25])
def test_joint_covariance_is_that_of_linearmodels_system(missing: int) -> None:
    """Both equations as one system with clustered errors, no small-sample factor, on data without effects."""
    from linearmodels.system import SUR

    panel = panel_of(missing=missing)
    tile = Tile(panel)
    seen = np.ones((6, 24), dtype=bool) if panel.observed is None else panel.observed[0]
    frame = pd.DataFrame({name: tile.within(name)[0][seen] for name in ("did", "inv", "road", "m", "y")})
    unit = pd.DataFrame({"unit": np.tile(np.arange(24), (6, 1))[seen]})
    both = {
        "first": {"dependent": frame["m"], "exog": frame[["did", "inv", "road"]]},
        "second": {"dependent": frame["y"], "exog": frame[["did", "inv", "road", "m"]]},
    }
    fit = SUR(both).fit(method="ols", cov_type="clustered", clusters=unit, group_debias=False, debiased=False)
    names = ["first_did", "second_m", "second_did"]
    a, b, nde = fit.params[names]
    cov = fit.cov.loc[names, names].to_numpy()
    roots = Mediation().fitted(panel)[1].roots[:3]
    cov = cov * np.outer(roots, roots)
    got = Mediation()(panel)
    np.testing.assert_allclose(got.estimate[0, :3], [a, b, nde], rtol=1e-10)
    np.testing.assert_allclose(got.statistics["corr_ab"][0], cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]), rtol=1e-8)
    delta = np.sqrt(b**2 * cov[0, 0] + a**2 * cov[1, 1] + 2 * a * b * cov[0, 1])
    sobel = np.sqrt(b**2 * cov[0, 0] + a**2 * cov[1, 1])
    np.testing.assert_allclose(term(got, "nie", "delta")[0], delta, rtol=1e-8)
    np.testing.assert_allclose(term(got, "nie", "sobel")[0], sobel, rtol=1e-8)


def by_weights(panel: Panel, of: Callable[[float, float, float, Floats], float]) -> float:
    """sqrt of the sum over units of squared derivatives of a function of (a, b, nde, (uu, vv, uv)) in their weights."""
    x, m, y, dummies = stacked(panel)
    unit = dummies[:, : len(panel.units)].argmax(axis=1)

    def at(weights: Floats) -> float:
        root = np.sqrt(weights[unit])
        nuisance = np.column_stack([x, dummies]) * root[:, None]
        first, second = (np.linalg.lstsq(nuisance, z * root)[0] for z in (m, y))
        u, v = m * root - nuisance @ first, y * root - nuisance @ second
        b = u @ v / (u @ u)
        return of(first[0], b, second[0] - b * first[0], np.array([u @ u, v @ v, u @ v]))

    step, slopes = 1e-5, []
    for i in range(len(panel.units)):
        move = step * (np.arange(len(panel.units)) == i)
        slopes.append((at(1 + move) - at(1 - move)) / (2 * step))
    return float(np.sqrt(np.square(slopes).sum()))


@pytest.mark.parametrize("missing", [0, 12])
def test_delta_errors_are_the_infinitesimal_jackknife(missing: int) -> None:
    panel = panel_of(12, 5, missing=missing)
    paths = replace(Mediation().fitted(panel)[1], roots=np.ones(4))
    got = MediatedEffects.analytic(paths, paths.covariance, sobel=False).se[0]
    assert got[TERMS.index("nie")] == pytest.approx(by_weights(panel, lambda a, b, nde, _: a * b), rel=1e-6)
    share = by_weights(panel, lambda a, b, nde, _: a * b / (nde + a * b))
    assert got[TERMS.index("proportion")] == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize("rho", [-0.8, -0.1, 0.3, 0.9])
def test_sensitivity_errors_are_the_infinitesimal_jackknife(rho: float) -> None:
    panel = panel_of(12, 5)

    def nie(a: float, b: float, nde: float, sums: Floats) -> float:
        uu, vv, uv = sums
        return float(indirect_at(np.array(rho), np.array(a), uv / np.sqrt(uu * vv), np.sqrt(vv / uu)))

    _, paths = Mediation().fitted(panel)
    effect, error = replace(paths, roots=np.ones(4)).indirect(np.array([rho]))
    assert error[0, 0] == pytest.approx(by_weights(panel, nie), rel=1e-6)
    statistics = paths.sensitivity()
    expected = indirect_at(np.array(rho), paths.values[:, 0], statistics["rho_at_zero"], statistics["sd_ratio"])
    np.testing.assert_allclose(effect[:, 0], expected, rtol=1e-11)


def test_without_correlation_the_sensitivity_error_is_that_of_the_indirect_effect() -> None:
    """With the factors of both equations, which differ from one."""
    paths = Mediation().fitted(panel_of(12, 5))[1]
    assert paths.roots[0] > 1.01
    wanted = MediatedEffects.analytic(paths, paths.covariance, sobel=False).se[0][TERMS.index("nie")]
    assert paths.indirect(np.zeros(1))[1][0, 0] == pytest.approx(wanted, rel=1e-10)


def test_units_that_are_never_observed_count_for_nothing() -> None:
    panel = panel_of(24, 6)
    few, gone = of_units(panel, np.arange(24) < 20), unseen(panel, (slice(None), slice(20, None)))
    errors = ("delta", "bootstrap:unit")
    one, two = (Mediation(errors=errors)(each, Streams(1)) for each in (few, gone))
    np.testing.assert_allclose(two.estimate, one.estimate, rtol=1e-10)
    np.testing.assert_allclose(two.se, one.se, rtol=1e-9)
    np.testing.assert_array_equal(two.dof, one.dof)


def test_rho_at_zero_is_the_partial_correlation_and_the_r2_are_those_of_the_equations() -> None:
    panel = panel_of()
    x, m, y, dummies = stacked(panel)
    both = np.column_stack([x, dummies])
    u, v = (z - both @ np.linalg.lstsq(both, z)[0] for z in (m, y))
    got = Mediation()(panel).statistics
    assert got["rho_at_zero"][0] == pytest.approx(np.corrcoef(u, v)[0, 1], rel=1e-10)
    first, second, _ = equations(panel)
    unexplained = (1 - first.statistics["r2_within"]) * (1 - second.statistics["r2_within"])
    np.testing.assert_allclose(got["r2_total_product_at_zero"], got["r2_product_at_zero"] * unexplained, rtol=1e-10)


@pytest.mark.parametrize(("settings", "message"), [
    ({"errors": ("cluster:unit",)}, "unknown error type 'cluster:unit'"),
    ({"errors": ()}, "one or more distinct error types"), ({"draws": 10}, "draws = 10"),
    ({"cluster": "county"}, "cluster = 'county'"), ({"mediator": "z"}, "no variable 'z'"),
    ({"mediator": "inv"}, "used twice"), ({"regressors": ("inv", "road")}, "'did' is not among the regressors"),
])  # fmt: skip
def test_settings_that_cannot_serve_are_one_line(settings: dict[str, object], message: str) -> None:
    refuses(message, lambda: Mediation(**settings)(panel_of()))


def test_panels_that_cannot_serve_are_one_line(instrumented: Panel) -> None:
    refuses("has instruments", by_instruments().sensitivity, instrumented, np.zeros(1))
    panel = panel_of()
    none_named, untreated = (replace(panel, roles=replace(panel.roles, **roles))
                             for roles in ({"mediators": ()}, {"treatment": None}))  # fmt: skip
    refuses("no mediator is named", lambda: Mediation()(none_named))
    refuses("the panel has no treatment", lambda: Mediation()(untreated))
    refuses("'m' is collinear", lambda: Mediation()(panel.with_variables({"m": 2.0 * panel.variables["did"] + 1.0})))
    whole = replace(panel, attributes={"province": np.full(24, "one")})
    refuses("province has 1 cluster", lambda: Mediation(cluster="province")(whole))


@pytest.mark.parametrize(("name", "missing", "collinear"), [("m", 0, False), ("inv", 14, False), ("m", 14, True)])
def test_a_variable_that_cannot_serve_in_one_draw_is_singular_there(name: str, missing: int, collinear: bool) -> None:
    panel = panel_of(replications=4, missing=missing)
    values = np.array(np.broadcast_to(panel.variables[name], (4, 6, 24)))
    did, inv = (panel.variables[one][0] for one in ("did", "inv"))
    values[2] = 3.0 * did - inv if collinear else values[2, :1] + values[2, :, :1]
    got = Mediation(errors=ALL, draws=99)(panel.with_variables({name: values}), Streams(1))
    assert got.status.tolist() == [Status.OK, Status.OK, Status.SINGULAR, Status.OK]
    kept = np.isin(TERMS, ["total"] * (name == "m") + ["a"] * collinear)  # the regressions without m, and of it
    np.testing.assert_array_equal(np.isfinite(got.estimate[2]), kept)
    assert np.isnan(got.se[2][:, ~np.isin(TERMS, ["a", "total"])]).all()


@pytest.mark.parametrize("missing", [0, 14])
def test_weighted_paths_are_regressions_on_relabelled_copies(missing: int) -> None:
    panel = panel_of(12, 5, missing=missing)
    system, _ = Mediation().fitted(panel)
    rng = np.random.default_rng(7)
    counts = np.stack([np.bincount(rng.integers(0, 12, 12), minlength=12) for _ in range(12)])
    counts[0] = 1
    counts[1] *= 2  # more units than there are
    got = weighted_paths(system.replication(0), counts.astype(float), system.mask)
    wanted = np.array([paths_by_hand(panel, count) for count in counts])
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(got[0], Mediation()(panel).estimate[0, :3], rtol=1e-10)


def test_bootstrap_of_whole_provinces_by_hand() -> None:
    """The estimator's own draws again, province by province, through regressions on relabelled copies."""
    panel = panel_of(14, 5)
    streams = Streams(5)
    got = Mediation(errors=("bootstrap:province",), draws=99)(panel, streams)
    provinces = np.unique(panel.attributes["province"], return_inverse=True)[1]
    picks = next(streams.each("bootstrap")).integers(0, 7, size=(99, 7))
    counts = np.stack([np.bincount(row, minlength=7) for row in picks])[:, provinces]
    a, b, nde = np.array([paths_by_hand(panel, count) for count in counts]).T
    np.testing.assert_allclose(term(got, "nie", "bootstrap:province")[0], (a * b).std(ddof=1), rtol=1e-9)
    share = TERMS.index("proportion")
    ordered = np.sort(a * b / (nde + a * b))  # of 99 draws the second from either end, for .025 (B + 1) = 2.5
    np.testing.assert_allclose([got.lower[0, 0, share], got.upper[0, 0, share]], ordered[[1, -2]], rtol=1e-9)


def test_samples_without_a_treated_unit_are_left_out() -> None:
    panel = panel_of(8, 5)
    did = np.zeros((1, 5, 8))
    did[:, 2:, 3] = 1.0
    got = Mediation(errors=("bootstrap:unit",))(panel.with_variables({"did": did}), Streams(1))
    assert got.status[0] == Status.OK
    assert np.isfinite(got.se).all()
    assert np.isfinite(got.lower).all()


def test_intervals_and_p_values_of_draws_agree() -> None:
    """The 95% interval excludes zero exactly where p <= .05, and its ends are the 25th draws of 999 from both sides."""
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((400, 999, 3)) + 4.0 * rng.random((400, 1, 3))
    got = MediatedEffects.from_draws(draws)
    ordered = np.sort(draws, axis=1)
    np.testing.assert_array_equal(got.lower[:, :3], ordered[:, 24])
    np.testing.assert_array_equal(got.upper[:, :3], ordered[:, -25])
    excludes = (got.lower > 0) | (got.upper < 0)
    np.testing.assert_array_equal(got.pvalue <= 0.05, excludes)
    assert 0.2 < excludes.mean() < 0.9
    draws[0, :500] = np.nan
    kept = MediatedEffects.from_draws(draws[:1, 500:])
    np.testing.assert_allclose(MediatedEffects.from_draws(draws).se[0], kept.se[0], rtol=1e-12)


@pytest.mark.parametrize("count", [1, 38, 39, 40, 99, 998, 1999])
def test_intervals_and_p_values_agree_however_many_draws_are_kept(count: int) -> None:
    """Ends lie outward where .025 (B + 1) is not whole; too few draws to reject leave the interval endless."""
    rng = np.random.default_rng(2)
    draws = np.full((150, 1999, 3), np.nan)
    draws[:, :count] = rng.standard_normal((150, count, 3)) + 4.0 * rng.random((150, 1, 3))
    with np.errstate(invalid="ignore"):  # one draw has no standard deviation
        got = MediatedEffects.from_draws(draws)
    np.testing.assert_array_equal(got.pvalue <= 0.05, (got.lower > 0) | (got.upper < 0))
    assert np.isinf(got.lower).all() == np.isinf(got.upper).all() == (count < 39)
    assert (got.pvalue <= 0.05).any() == (count >= 39)


def test_draws_of_zero_count_on_both_sides() -> None:
    got = MediatedEffects.from_draws(np.stack([np.zeros((1, 199)), np.ones((1, 199)), np.ones((1, 199))], axis=2))
    assert (got.pvalue[0, TERMS.index("nie")], got.pvalue[0, TERMS.index("nde")]) == (1.0, 0.01)
    with np.errstate(invalid="ignore", divide="ignore"):
        none = MediatedEffects.from_draws(np.full((2, 99, 3), np.nan))
    assert np.isnan([none.se, none.lower, none.upper, none.pvalue]).all()


def test_monte_carlo_draws_have_the_covariance_asked_for() -> None:
    rng = np.random.default_rng(2)
    factors = rng.standard_normal((50, 3, 3)) * np.array([1.0, 1e-4, 1e5])[:, None]
    covariance = factors @ factors.transpose(0, 2, 1)
    covariance[1, 1] = covariance[1, :, 1] = 0.0
    covariance[2] = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    root = root_of(covariance)
    got = root.transpose(0, 2, 1) @ root
    scale = np.sqrt(np.einsum("rii->ri", covariance))
    assert (np.abs(got - covariance) <= 1e-12 * scale[:, :, None] * scale[:, None]).all()
    panel = panel_of(60, 8)
    got = Mediation(errors=("delta", "monte-carlo"), draws=20000)(panel, Streams(3))
    for name in ("a", "b", "nde"):
        assert term(got, name, "monte-carlo")[0] == pytest.approx(term(got, name, "delta")[0], rel=0.03)


def drawn(design: Paper, replications: int) -> Draw:
    streams = Streams(SEED, "mediation")
    wanted = Wanted(frozenset(design.schema.variables), ("att", "nde", "nie"))
    return design.settle(streams).draw(streams.tile(0, replications), wanted)


def assert_share(hits: NDArray[np.bool_], share: float, slack: float = 0.0) -> None:
    """Within 4 Monte Carlo errors and some slack for an interval that is only asymptotically right."""
    assert abs(hits.mean() - share) <= slack + 4 * np.sqrt(share * (1 - share) / hits.size), hits.mean()


@pytest.mark.long
@pytest.mark.parametrize("effect", [0.0157, 0.0628])
def test_every_interval_covers_the_indirect_effect(effect: float) -> None:
    draw = drawn(Paper(effect=effect), 400)
    got = Mediation(errors=ALL, draws=199)(draw.panel, Streams(SEED))
    assert (got.status == Status.OK).all()
    errors = got.estimate[:, 2:5] - np.stack([draw.truth[name] for name in ("nde", "nie", "att")], axis=1)
    assert (np.abs(errors.mean(axis=0)) <= 4 * errors.std(axis=0) / np.sqrt(400)).all()
    column, truth = TERMS.index("nie"), draw.truth["nie"]
    for row in range(len(ALL)):
        margin = critical_values(got.dof[:, row, column], 0.05) * got.se[:, row, column]
        lower, upper = got.estimate[:, column] - margin, got.estimate[:, column] + margin
        if row > 1:
            lower, upper = got.lower[:, row, column], got.upper[:, row, column]
        assert_share((lower <= truth) & (truth <= upper), 0.95)


@pytest.mark.long
@pytest.mark.parametrize("confounding", [0.3])
def test_the_true_correlation_undoes_confounding(confounding: float) -> None:
    """Least squares is off; the indirect effect at the world's own correlation of errors is right, and its interval."""
    draw = drawn(Paper(confounding=confounding), 1000)
    effect, error = Mediation().sensitivity(draw.panel, np.array([0.0, confounding]))
    miss = effect - draw.truth["nie"][:, None]
    mcse = miss.std(axis=0) / np.sqrt(1000)
    assert abs(miss[:, 0].mean()) > 20 * mcse[0]
    assert abs(miss[:, 1].mean()) <= 4 * mcse[1]
    assert_share(np.abs(miss[:, 1]) <= critical_values(np.full(1000, 284.0), 0.05) * error[:, 1], 0.95)


A, B, DIRECT = 0.8, 0.6, 0.5


def instrumented_panel(n: int = 40, t: int = 6, *, seed: int = 1, missing: int = 0, replications: int = 1) -> Panel:
    """A mediator that the treatment moves, with an error in common with the outcome, and two instruments, of which one
    is correlated with the treatment."""
    base = small_panel(n, t, seed=seed, missing=missing, model="none")
    rng = np.random.default_rng(seed + 500)
    shape = (replications, t, n)
    did, inv = base.variables["did"], base.variables["inv"]
    z1 = rng.standard_normal(shape) + 0.5 * did
    z2 = rng.standard_normal(shape)
    u = rng.standard_normal(shape)
    m = A * did + 0.9 * z1 + 0.4 * z2 + 0.3 * inv + u
    y = DIRECT * did + B * m + 0.5 * inv + 0.8 * u + rng.standard_normal(shape)
    y = y + rng.standard_normal(n) + rng.standard_normal(t)[:, None]
    variables = {**base.variables, "y": y, "m": m, "z1": z1, "z2": z2}
    return replace(base, variables=variables, roles=replace(base.roles, mediators=("m",)), weights={})


def by_instruments(**settings: Any) -> Mediation:
    return Mediation(**{"errors": ("delta",), "instruments": ("z1", "z2"), **settings})


INSTRUMENTED = {"balanced": (0, False), "gaps": (15, False), "weights": (0, True), "weights and gaps": (15, True)}


@pytest.fixture(scope="module", params=INSTRUMENTED.values(), ids=INSTRUMENTED)
def instrumented(request: pytest.FixtureRequest) -> Panel:
    missing, by_weight = request.param
    found = instrumented_panel(missing=missing)
    return uneven(found) if by_weight else found


@pytest.mark.parametrize("instruments", [("z1",), ("z1", "z2")])
def test_both_equations_are_those_of_the_regressions(instrumented: Panel, instruments: tuple[str, ...]) -> None:
    found = by_instruments(instruments=instruments)(instrumented)
    two_stages = PanelIV(endogenous=("m",), instruments=instruments, errors=("cluster:unit",), singletons="keep")
    second = two_stages(instrumented)
    first = TwoWayDID(outcome="m", regressors=("did", "inv", "road", *instruments), errors=("cluster:unit",),
                      singletons="keep")(instrumented)  # fmt: skip
    at = {term: i for i, term in enumerate(found.terms)}
    assert found.estimate[0, at["a"]] == pytest.approx(first.estimate[0, 0], rel=1e-10)
    assert found.se[0, 0, at["a"]] == pytest.approx(first.se[0, 0, 0], rel=1e-10)
    for path, name in (("b", "m"), ("nde", "did")):
        column = second.terms.index(name)
        assert found.estimate[0, at[path]] == pytest.approx(second.estimate[0, column], rel=1e-10)
        assert found.se[0, 0, at[path]] == pytest.approx(second.se[0, 0, column], rel=1e-10)
    a, b, nde = (found.estimate[0, at[term]] for term in ("a", "b", "nde"))
    assert found.estimate[0, at["nie"]] == pytest.approx(a * b, rel=1e-12)
    assert found.estimate[0, at["total"]] == pytest.approx(nde + a * b, rel=1e-12)
    for name in ("kp_f", "effective_f", "effective_f_critical"):
        assert found.statistics[name][0] == pytest.approx(second.statistics[name][0], rel=1e-10)


def weighted(instrumented: Panel, weights: np.ndarray, estimator: Mediation) -> np.ndarray:
    """(a, b, nde) where units have weights (B, N)."""
    system, _ = estimator.fitted(instrumented)
    return weighted_paths(system.replication(0), weights, system.mask, len(estimator.instruments))


def test_delta_errors_are_derivatives_with_respect_to_units_weights(instrumented: Panel) -> None:
    """The clustered variance of a x b is the sum of squares of its derivatives, with one instrument; with more of them
    errors of 2SLS take the first stage as given."""
    n, step, estimator = len(instrumented.units), 1e-5, by_instruments(instruments=("z1",))
    paths = [weighted(instrumented, np.ones((n, n)) + sign * step * np.eye(n), estimator) for sign in (1.0, -1.0)]
    slopes = (paths[0] - paths[1]) / (2 * step)
    a, b, _ = weighted(instrumented, np.ones((1, n)), estimator)[0]
    _, fitted = estimator.fitted(instrumented)
    np.testing.assert_allclose(fitted.influence[0, :3].T, slopes, rtol=1e-5, atol=1e-8)
    roots = fitted.roots
    through = b * slopes[:, 0] * roots[0] + a * slopes[:, 1] * roots[1]
    found = estimator(instrumented)
    assert found.se[0, 0, found.terms.index("nie")] == pytest.approx(np.sqrt(np.square(through).sum()), rel=1e-5)
    nde = np.sqrt(np.square(slopes[:, 2]).sum()) * roots[2]
    assert found.se[0, 0, found.terms.index("nde")] == pytest.approx(nde, rel=1e-5)


def test_a_bootstrap_sample_is_the_panel_with_copied_units(instrumented: Panel) -> None:
    n = len(instrumented.units)
    picks = np.sort(np.random.default_rng(4).integers(0, n, n))
    copied = replace(
        instrumented, units=tuple(f"copy {i}" for i in range(n)),
        variables={name: values[:, :, picks] for name, values in instrumented.variables.items()},
        attributes={name: values[picks] for name, values in instrumented.attributes.items()},
        observed=None if instrumented.observed is None else instrumented.observed[:, :, picks],
    )  # fmt: skip
    again = by_instruments()(of_units(copied, np.ones(n, dtype=bool)))
    counts, whole = np.bincount(picks, minlength=n)[None].astype(float), np.ones((1, n))
    np.testing.assert_allclose(weighted(instrumented, counts, by_instruments())[0], again.estimate[0, :3], rtol=1e-9)
    point = by_instruments()(instrumented).estimate[0, :3]
    np.testing.assert_allclose(weighted(instrumented, whole, by_instruments())[0], point, rtol=1e-10)


def test_the_indirect_effect_is_right_where_mediator_and_outcome_are_confounded() -> None:
    """Bias within 4 Monte Carlo errors, coverage of delta in [.93, .97] over 2,000 panels; least squares is off."""
    instrumented = instrumented_panel(50, 5, replications=2000)
    truth = {"a": A, "b": B, "nie": A * B, "nde": DIRECT, "total": DIRECT + A * B}
    found, plain = by_instruments()(instrumented), Mediation(errors=("delta",))(instrumented)
    assert (found.status == Status.OK).all()
    for path, value in truth.items():
        k = found.terms.index(path)
        error = found.estimate[:, k] - value
        assert abs(error.mean()) <= 4 * error.std(ddof=1) / np.sqrt(len(error)), path
        half = critical_values(found.dof, 0.05)[:, 0, k] * found.se[:, 0, k]
        assert 0.93 <= (np.abs(error) <= half).mean() <= 0.97, path
    assert abs(plain.estimate[:, plain.terms.index("b")].mean() - B) > 0.2


@pytest.mark.parametrize(("settings", "words"), [
    ({"instruments": ("m",)}, "the instrument 'm' is the endogenous regressor itself"),
    ({"instruments": ("did",)}, "the instrument 'did' is among the regressors"),
    ({"instruments": ("z9",)}, "no variable 'z9'"), ({"instruments": ("place",)}, "instrument 'place' is absorbed"),
    ({"instruments": ("inv",)}, "the instrument 'inv' is among the regressors"),
])  # fmt: skip
def test_careless_uses_are_one_line(settings: dict[str, Any], words: str) -> None:
    instrumented = instrumented_panel()
    shape = (1, len(instrumented.periods), len(instrumented.units))
    instrumented = instrumented.with_variables({"place": np.broadcast_to(np.arange(40.0), shape)})
    (problem,) = refuses(".", lambda: by_instruments(**settings)(instrumented)).problems
    assert words in problem.what
