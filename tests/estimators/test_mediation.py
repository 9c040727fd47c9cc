"""Mediation: separate regressions, reference programs, resampling by hand, derivatives by hand, truth by simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from mediation_panels import ALL, SEED, panel_of, stacked, term
from numpy.typing import NDArray

from estimators import Estimates, Status, Tile, TwoWayDID
from estimators.mediation.mediation import TERMS, MediatedEffects, Mediation, indirect_at
from references.regressions import panel_ols
from sim import BadInput, Panel, Streams, Wanted
from sim.presets import MEDIATION, Paper

Floats = NDArray[np.float64]


def equations(panel: Panel, cluster: str = "unit", **settings: object) -> tuple[Estimates, Estimates, Estimates]:
    """The mediator's, the outcome's and the reduced regression, each on its own."""
    mediator = panel.roles.mediators[0]
    errors = (f"cluster:{cluster}",)
    return (
        TwoWayDID(mediator, errors=errors, **settings)(panel),  # type: ignore[arg-type]
        TwoWayDID(regressors=(*panel.roles.regressors, mediator), errors=errors, **settings)(panel),  # type: ignore[arg-type]
        TwoWayDID(errors=errors, **settings)(panel),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("missing", [0, 25])
@pytest.mark.parametrize("cluster", ["unit", "province"])
@pytest.mark.parametrize("cluster_k", ["slopes", "nonnested", "all"])
def test_paths_and_their_errors_are_those_of_separate_regressions(missing: int, cluster: str, cluster_k: str) -> None:
    panel = panel_of(missing=missing)
    got = Mediation(cluster=cluster, cluster_k=cluster_k)(panel)  # type: ignore[arg-type]
    mediator, outcome, reduced = equations(panel, cluster, cluster_k=cluster_k)
    for name, one, column in (("a", mediator, 0), ("b", outcome, -1), ("nde", outcome, 0), ("total", reduced, 0)):
        np.testing.assert_allclose(term(got, name), one.estimate[:, column], rtol=1e-11, err_msg=name)
        for error in ("delta", "sobel"):
            np.testing.assert_allclose(term(got, name, error), one.se[:, 0, column], rtol=1e-10, err_msg=name)
    assert (got.dof[:, 0] == (23 if cluster == "unit" else 6)).all()


@pytest.mark.parametrize("missing", [0, 25])
def test_direct_and_indirect_effect_add_up_to_the_total(missing: int) -> None:
    panel = panel_of(missing=missing, replications=4)
    mediator, outcome, reduced = equations(panel)
    nie = mediator.estimate[:, 0] * outcome.estimate[:, -1]
    np.testing.assert_allclose(nie + outcome.estimate[:, 0], reduced.estimate[:, 0], rtol=1e-12)
    got = Mediation()(panel)
    np.testing.assert_allclose(term(got, "nie"), nie, rtol=1e-11)
    np.testing.assert_allclose(term(got, "nie") + term(got, "nde"), term(got, "total"), rtol=1e-12)
    np.testing.assert_allclose(term(got, "proportion"), nie / reduced.estimate[:, 0], rtol=1e-11)


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


# reference programs


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
    roots = Mediation().fitted(panel).roots[:3]
    cov = cov * np.outer(roots, roots)
    got = Mediation()(panel)
    np.testing.assert_allclose(got.estimate[0, :3], [a, b, nde], rtol=1e-10)
    np.testing.assert_allclose(got.statistics["corr_ab"][0], cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]), rtol=1e-8)
    delta = np.sqrt(b**2 * cov[0, 0] + a**2 * cov[1, 1] + 2 * a * b * cov[0, 1])
    sobel = np.sqrt(b**2 * cov[0, 0] + a**2 * cov[1, 1])
    np.testing.assert_allclose(term(got, "nie", "delta")[0], delta, rtol=1e-8)
    np.testing.assert_allclose(term(got, "nie", "sobel")[0], sobel, rtol=1e-8)


def test_both_equations_are_those_of_linearmodels_panel_ols() -> None:
    from experiments.references import linearmodels as reference

    panel = panel_of(missing=25)
    got = Mediation(cluster_k="all")(panel)
    first = reference.least_squares(panel, outcome="m", regressors=panel.roles.regressors, errors=("cluster:unit",))
    second = reference.least_squares(panel, regressors=(*panel.roles.regressors, "m"), errors=("cluster:unit",))
    for name, one, column in (("a", first, 0), ("b", second, -1), ("nde", second, 0)):
        np.testing.assert_allclose(term(got, name)[0], one.estimate[column], rtol=1e-8)
        np.testing.assert_allclose(term(got, name, "delta")[0], one.se["cluster:unit"][column], rtol=1e-8)


# derivatives by hand: the weight of one unit is moved


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
    fit = Mediation().fitted(panel)
    covariance = fit.paths.covariance(fit.clusters, np.ones(4))
    got = MediatedEffects.analytic(fit.paths, covariance, 11.0, sobel=False).se[0]
    assert got[TERMS.index("nie")] == pytest.approx(by_weights(panel, lambda a, b, nde, _: a * b), rel=1e-6)
    share = by_weights(panel, lambda a, b, nde, _: a * b / (nde + a * b))
    assert got[TERMS.index("proportion")] == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize("rho", [-0.8, -0.1, 0.3, 0.9])
def test_sensitivity_errors_are_the_infinitesimal_jackknife(rho: float) -> None:
    panel = panel_of(12, 5)

    def nie(a: float, b: float, nde: float, sums: Floats) -> float:
        uu, vv, uv = sums
        return float(indirect_at(np.array(rho), np.array(a), uv / np.sqrt(uu * vv), np.sqrt(vv / uu)))

    fit = Mediation().fitted(panel)
    effect, error = fit.paths.indirect(np.array([rho]), fit.clusters, np.ones(4))
    assert error[0, 0] == pytest.approx(by_weights(panel, nie), rel=1e-6)
    statistics = fit.paths.sensitivity()
    expected = indirect_at(np.array(rho), fit.paths.values[:, 0], statistics["rho_at_zero"], statistics["sd_ratio"])
    np.testing.assert_allclose(effect[:, 0], expected, rtol=1e-11)


# the bootstrap


def test_a_batch_is_its_panels_one_by_one() -> None:
    """Draws included: a replication's numbers are its own wherever it stands."""
    panel = panel_of(replications=5)
    estimator = Mediation(errors=ALL, draws=199)
    whole = estimator(panel, Streams(9))
    for row in range(5):
        alone = estimator(panel.replication(row), Streams(9).tile(row, row + 1))
        for name in ("estimate", "se", "lower", "upper", "pvalue"):
            np.testing.assert_allclose(getattr(alone, name)[0], getattr(whole, name)[row], rtol=1e-9, atol=1e-12)


def test_redrawn_regressors_are_fitted_each_on_its_own() -> None:
    design = Paper(redraw=("calendar", "controls"))
    streams = Streams(SEED, "redraw")
    panel = design.settle(streams).draw(streams.tile(0, 3), Wanted(frozenset(design.schema.variables), ())).panel
    estimator = Mediation(errors=ALL, draws=99)
    whole = estimator(panel, streams.tile(0, 3))
    for row in range(3):
        alone = estimator(panel.replication(row), streams.tile(row, row + 1))
        np.testing.assert_allclose(alone.estimate[0], whole.estimate[row], rtol=1e-9)
        np.testing.assert_allclose(alone.se[0], whole.se[row], rtol=1e-9)


def test_units_of_measurement_and_effects_do_not_matter() -> None:
    panel = panel_of()
    rng = np.random.default_rng(4)
    effects = 9 * rng.standard_normal((1, 1, 24)) + 5 * rng.standard_normal((1, 6, 1))
    other = panel.with_variables(
        {"m": 1e3 * panel.variables["m"] - effects, "y": 1e-4 * panel.variables["y"] + 2 * effects}
    )
    one, two = (Mediation(errors=ALL)(each, Streams(1)) for each in (panel, other))
    scale = np.array([1e3, 1e-7, 1e-4, 1e-4, 1e-4, 1.0])
    np.testing.assert_allclose(two.estimate, one.estimate * scale, rtol=1e-8)
    np.testing.assert_allclose(two.se, one.se * scale, rtol=1e-7)
    for name in ("rho_at_zero", "r2_product_at_zero", "r2_total_product_at_zero", "corr_ab"):
        np.testing.assert_allclose(two.statistics[name], one.statistics[name], rtol=1e-8)


def test_the_order_of_units_does_not_matter() -> None:
    panel = panel_of()
    order = np.random.default_rng(5).permutation(24)
    shuffled = replace(
        panel,
        units=tuple(panel.units[i] for i in order),
        variables={name: values[:, :, order] for name, values in panel.variables.items()},
        attributes={name: values[order] for name, values in panel.attributes.items()},
        weights={},
    )
    one, two = Mediation(cluster="province")(panel), Mediation(cluster="province")(shuffled)
    np.testing.assert_allclose(two.estimate, one.estimate, rtol=1e-10)
    np.testing.assert_allclose(two.se, one.se, rtol=1e-9)


def test_units_that_are_never_observed_count_for_nothing() -> None:
    panel = panel_of(24, 6)
    seen = np.ones((1, 6, 24), dtype=bool)
    seen[:, :, 20:] = False
    part = replace(
        panel,
        units=panel.units[:20],
        variables={name: values[:, :, :20].copy() for name, values in panel.variables.items()},
        attributes={name: values[:20] for name, values in panel.attributes.items()},
        weights={},
    )
    errors = ("delta", "bootstrap:unit")
    one, two = (Mediation(errors=errors)(each, Streams(1)) for each in (part, replace(panel, observed=seen)))
    np.testing.assert_allclose(two.estimate, one.estimate, rtol=1e-10)
    np.testing.assert_allclose(two.se, one.se, rtol=1e-9)
    np.testing.assert_array_equal(two.dof, one.dof)


def test_a_period_that_is_never_observed_counts_for_nothing() -> None:
    """The factors of a panel with an empty year are those of the panel without it, and of PanelOLS."""
    panel = panel_of(24, 6)
    seen = np.ones((1, 6, 24), dtype=bool)
    seen[:, 3] = False
    kept = seen[0].any(axis=1)
    part = replace(
        panel,
        periods=tuple(np.array(panel.periods)[kept].tolist()),
        variables={name: values[:, kept].copy() for name, values in panel.variables.items()},
    )
    empty = replace(panel, observed=seen)
    one, two = Mediation(errors=("delta",))(part), Mediation(errors=("delta",))(empty)
    np.testing.assert_allclose(two.se, one.se, rtol=1e-11)
    alone = panel_ols(outcome="m", errors=("cluster:unit",), constant=False)(empty)
    np.testing.assert_allclose(two.se[0, 0, 0], alone.se[0, 0, 0], rtol=1e-11)


# sensitivity


def test_the_indirect_effect_at_its_correlations() -> None:
    panel = panel_of(replications=3)
    got = Mediation()(panel)
    rho = got.statistics["rho_at_zero"]
    assert np.abs(indirect_at(rho, term(got, "a"), rho, got.statistics["sd_ratio"])).max() < 1e-15
    effect, error = Mediation().sensitivity(panel, np.array([0.0, 0.5]))
    np.testing.assert_allclose(effect[:, 0], term(got, "nie"), rtol=1e-11)
    np.testing.assert_allclose(error[:, 0], term(got, "nie", "delta"), rtol=1e-10)
    np.testing.assert_allclose(got.statistics["r2_product_at_zero"], rho**2, rtol=1e-14)


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


def test_rho_at_zero_follows_from_the_mediators_t() -> None:
    """r = t / sqrt(t^2 + free) with the iid t of b: what a reader can do with a printed table."""
    panel = panel_of(missing=25)
    fit = TwoWayDID(regressors=(*panel.roles.regressors, "m"), errors=("iid",))(panel)
    t = fit.estimate[0, -1] / fit.se[0, 0, -1]
    assert Mediation()(panel).statistics["rho_at_zero"][0] == pytest.approx(t / np.hypot(t, fit.dof[0, 0, -1] ** 0.5))


# truth by simulation


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"errors": ("cluster:unit",)}, "unknown error type 'cluster:unit'"),
        ({"errors": ()}, "one or more distinct error types"),
        ({"draws": 10}, "draws = 10"),
        ({"cluster": "county"}, "cluster = 'county'"),
        ({"mediator": "z"}, "no variable 'z'"),
        ({"mediator": "inv"}, "used twice"),
        ({"regressors": ("inv", "road")}, "'did' is not among the regressors"),
    ],
)
def test_settings_that_cannot_serve_are_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        Mediation(**settings)(panel_of())  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1


def test_panels_that_cannot_serve_are_one_line() -> None:
    panel = panel_of()
    for roles, message in (
        (replace(panel.roles, mediators=()), "no mediator is named"),
        (replace(panel.roles, treatment=None), "the panel has no treatment"),
    ):
        with pytest.raises(BadInput, match=message):
            Mediation()(replace(panel, roles=roles))
    with pytest.raises(BadInput, match="'m' is collinear"):
        Mediation()(panel.with_variables({"m": 2.0 * panel.variables["did"] + 1.0}))
    with pytest.raises(BadInput, match="province has 1 cluster"):
        Mediation(cluster="province")(replace(panel, attributes={"province": np.full(24, "one")}))


def test_a_mediator_that_is_collinear_in_one_draw_is_singular_there() -> None:
    panel = panel_of(replications=4)
    m = np.array(panel.variables["m"])
    m[2] = 3.0 * panel.variables["did"][0] - panel.variables["inv"][0]
    got = Mediation(errors=ALL, draws=99)(panel.with_variables({"m": m}), Streams(1))
    assert got.status.tolist() == [Status.OK, Status.OK, Status.SINGULAR, Status.OK]


@pytest.mark.parametrize("missing", [0, 14])
@pytest.mark.parametrize("name", ["m", "inv"])
def test_a_variable_that_effects_absorb_in_one_draw_is_singular_there(name: str, missing: int) -> None:
    panel = panel_of(replications=4, missing=missing)
    values = np.array(np.broadcast_to(panel.variables[name], (4, 6, 24)))
    values[2] = values[2, :1] + values[2, :, :1]
    got = Mediation(errors=ALL, draws=99)(panel.with_variables({name: values}), Streams(1))
    assert got.status.tolist() == [Status.OK, Status.OK, Status.SINGULAR, Status.OK]
    kept = [term == "total" and name == "m" for term in TERMS]  # the regression without m
    np.testing.assert_array_equal(np.isfinite(got.estimate[2]), kept)
    assert np.isnan(got.se[2][:, [term != "total" for term in TERMS]]).all()
