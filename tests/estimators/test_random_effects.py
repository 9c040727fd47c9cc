"""Random effects against linearmodels, plm's printed numbers, dense generalised least squares, and simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from published_panels import grunfeld
from refusals import refuses
from scipy.stats import chi2
from scipy.stats import f as f_law

from estimators import Status
from estimators.core.estimator import critical_values
from estimators.linear.random_effects import ErrorComponents, RandomEffects
from experiments.references.reference import long_frame
from references.regressions import panel_ols
from references.small_panels import small_panel, unseen
from sim import Draw, Panel, Streams, Wanted
from sim.panel import part

NAMES = ("did", "inv", "road")


@pytest.fixture(params=[0, 37], ids=["balanced", "unbalanced"])
def panel(request: pytest.FixtureRequest) -> Panel:
    return small_panel(40, 8, seed=5, missing=request.param)


def theirs_of(panel: Panel, periods: bool) -> tuple[Any, pd.DataFrame, list[str]]:
    """linearmodels' random effects, with dummies of years or without, its rows and all regressors but the constant."""
    from linearmodels.panel import RandomEffects as Theirs

    frame = long_frame(panel, ("y", *NAMES)).assign(constant=1.0)
    dummies = [f"d{year}" for year in range(2002, 2009)] if periods else []
    frame = frame.assign(**{name: (frame["period"] == int(name[1:])).astype(float) for name in dummies})
    frame = frame.set_index(["unit", "period"], drop=False)
    return Theirs(frame["y"], frame[[*NAMES, *dummies, "constant"]]), frame, [*NAMES, *dummies]


@pytest.mark.parametrize("periods", [False, True])
def test_it_equals_linearmodels(panel: Panel, periods: bool) -> None:
    ours = RandomEffects(periods=periods, errors=("iid", "hc1", "cluster:unit", "cluster:province"))(panel)
    model, frame, _ = theirs_of(panel, periods)
    provinces = frame["province"].astype("category").cat.codes
    options: list[dict[str, object]] = [
        {"cov_type": "unadjusted"},
        {"cov_type": "robust"},
        {"cov_type": "clustered", "cluster_entity": True, "group_debias": True},
        {"cov_type": "clustered", "clusters": provinces, "group_debias": True},
    ]
    terms = [*NAMES, "constant"]
    for row, option in enumerate(options):
        fit = model.fit(debiased=True, **option)
        np.testing.assert_allclose(ours.estimate[0], fit.params[terms], rtol=1e-9)
        np.testing.assert_allclose(ours.se[0, row], fit.std_errors[terms], rtol=1e-8, err_msg=ours.errors[row])
    assert ours.dof[0, 0, 0] == fit.df_resid
    components = fit.variance_decomposition
    assert ours.statistics["sigma_u"][0] ** 2 == pytest.approx(components["Effects"], rel=1e-9)
    assert ours.statistics["sigma_e"][0] ** 2 == pytest.approx(components["Residual"], rel=1e-9)
    assert ours.statistics["theta"][0] == pytest.approx(float(fit.theta.to_numpy().mean()), rel=1e-9)
    for name in ("overall", "within", "between"):
        theirs = getattr(fit, f"corr_squared_{name}")
        assert ours.statistics[f"r2_{name}"][0] == pytest.approx(float(theirs), abs=1e-10), name


@pytest.mark.parametrize("periods", [False, True])
def test_it_is_generalised_least_squares_at_its_components(panel: Panel, periods: bool) -> None:
    """(X'V^-1 X)^-1 X'V^-1 y with V = sigma_e^2 I + sigma_u^2 1 1' of each unit, dense."""
    ours = RandomEffects(periods=periods)(panel)
    frame = long_frame(panel, ("y", *NAMES))
    years = np.equal.outer(frame["period"].to_numpy(), np.arange(2002, 2009)).astype(float)
    x = np.hstack([frame[list(NAMES)].to_numpy(), years if periods else years[:, :0], np.ones((len(frame), 1))])
    same = np.equal.outer(frame["unit"].to_numpy(), frame["unit"].to_numpy())
    v = ours.statistics["sigma_e"][0] ** 2 * np.eye(len(frame)) + ours.statistics["sigma_u"][0] ** 2 * same
    weighted = np.linalg.solve(v, x)
    beta = np.linalg.solve(weighted.T @ x, weighted.T @ frame["y"].to_numpy())
    np.testing.assert_allclose(ours.estimate[0], beta[[0, 1, 2, -1]], rtol=1e-9)


def test_plm_and_stata_print_these_numbers_of_grunfeld() -> None:
    """Croissant and Millo (2008), section 5, and `xtreg, re`: ten firms, 1935-1954."""
    ours = RandomEffects(errors=("iid",))(grunfeld())
    np.testing.assert_allclose(ours.estimate[0], [0.109781, 0.308113, -57.834415], atol=6e-7)
    np.testing.assert_allclose(ours.se[0, 0], [0.010493, 0.017180, 28.898935], atol=6e-7)
    assert ours.statistics["sigma_u"][0] == pytest.approx(84.20, abs=5e-3)
    assert ours.statistics["sigma_e"][0] == pytest.approx(52.77, abs=5e-3)
    assert ours.statistics["theta"][0] == pytest.approx(0.8612, abs=5e-5)
    printed = {"r2_within": 0.7668, "r2_between": 0.8196, "r2_overall": 0.8061}
    for name, value in printed.items():
        assert ours.statistics[name][0] == pytest.approx(value, abs=5e-5), name


def test_without_unit_effects_it_is_pooled_least_squares() -> None:
    """Unit means that vary less than chance makes sigma_u zero."""
    panel = small_panel(40, 8, seed=5)
    panel = panel.with_variables({name: panel.variables[name] - panel.variables[name].mean(axis=1, keepdims=True)
                                  for name in ("y", *NAMES)})  # fmt: skip
    ours, pooled = RandomEffects()(panel), panel_ols(effects=(), errors=("iid", "cluster:unit"))(panel)
    assert ours.statistics["sigma_u"][0] == ours.statistics["theta"][0] == 0.0
    np.testing.assert_allclose(ours.estimate, pooled.estimate, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours.se, pooled.se, rtol=1e-10, atol=1e-14)


def test_what_cannot_be_estimated_is_bad_input() -> None:
    panel = small_panel(24, 7, seed=6)
    refuses("unknown error type 'wild:unit'", lambda: RandomEffects(errors=("wild:unit",))(panel))
    rng = np.random.default_rng(1)
    few = Panel(tuple("abc"), (1, 2, 3, 4), {name: rng.standard_normal((1, 4, 3)) for name in ("y", "u", "v")})
    refuses("more units, and more periods, than coefficients", lambda: RandomEffects("y", ("u", "v"))(few))
    gaps = small_panel(24, 7, seed=6, missing=9)
    assert gaps.observed is not None
    level = np.where(gaps.observed, np.arange(24.0), np.nan)  # whatever cells that are not observed hold
    refuses("variable 'inv' is absorbed", lambda: RandomEffects()(gaps.with_variables({"inv": level})))


@pytest.mark.parametrize("fault", ["unit", "period", "collinear"])
def test_a_draw_whose_regressor_does_not_vary_is_singular_there(fault: str) -> None:
    panel = small_panel(40, 8, seed=5, replications=4, redrawn=True)
    inv = np.array(panel.variables["inv"])
    noise = np.random.default_rng(1).standard_normal((8, 40))
    inv[2] = {
        "unit": np.tile(noise[:1], (8, 1)),
        "period": np.tile(noise[:, :1], (1, 40)),
        "collinear": 2.0 * panel.variables["road"][2] + noise[:1],
    }[fault]
    sound = RandomEffects()(panel)
    got = RandomEffects()(panel.with_variables({"inv": inv}))
    assert got.status.tolist() == [Status.OK, Status.OK, Status.SINGULAR, Status.OK]
    for values in (got.estimate, got.se, *got.statistics.values()):
        assert np.isnan(values[2]).all()
    np.testing.assert_allclose(got.se[[0, 1, 3]], sound.se[[0, 1, 3]], rtol=1e-12)


@pytest.mark.parametrize("year", [0, 4])
def test_a_year_that_is_never_observed_has_no_dummy(year: int) -> None:
    panel = small_panel(40, 8, seed=5)
    kept = np.arange(8) != year
    others = part(panel, np.ones(40, dtype=bool), kept)
    one, two = (RandomEffects(periods=True)(each) for each in (others, unseen(panel, (year, slice(None)))))
    np.testing.assert_allclose(two.estimate, one.estimate, rtol=1e-10)
    np.testing.assert_allclose(two.se, one.se, rtol=1e-10)


def drawn(seed: int, replications: int, name: str) -> Draw:
    design, streams = ErrorComponents(units=60, periods=8), Streams(seed, name)
    wanted = Wanted(frozenset(design.schema.variables), ("att", "beta(x)"))
    return design.settle(streams).draw(streams.tile(0, replications), wanted)


def test_components_and_coverage_in_its_own_world() -> None:
    draw = drawn(4, 2000, "components")
    got = RandomEffects()(draw.panel)
    truth = np.array([draw.truth["att"][0], draw.truth["beta(x)"][0], 0.0])
    missed = np.abs(got.estimate - truth)[:, None] > critical_values(got.dof, 0.05) * got.se
    assert np.abs(missed[:, 0].mean(axis=0) - 0.05).max() < 4 * np.sqrt(0.05 * 0.95 / 2000)
    for name in ("sigma_u", "sigma_e"):
        squares = got.statistics[name] ** 2
        value = getattr(ErrorComponents(), name)
        assert abs(squares.mean() - value**2) < 4 * squares.std() / np.sqrt(2000), name
    assert (got.statistics["theta"] > 0).all()


@pytest.mark.parametrize("periods", [False, True])
def test_hausman_by_arithmetic_from_linearmodels(panel: Panel, periods: bool) -> None:
    from linearmodels.panel import PanelOLS

    ours = RandomEffects(periods=periods, tests=True)(panel)
    model, frame, regressors = theirs_of(panel, periods)
    random, fixed = (one.fit(debiased=True) for one in (model, PanelOLS(frame["y"], frame[regressors],
                                                                        entity_effects=True)))  # fmt: skip
    names = list(NAMES)
    gap = (fixed.params - random.params)[names].to_numpy()
    difference = (fixed.cov - random.cov).loc[names, names].to_numpy()
    definite = np.linalg.eigvalsh(difference)[0] > 0
    statistic = gap @ np.linalg.solve(difference, gap) if definite else np.nan
    np.testing.assert_allclose(ours.statistics["hausman"][0], statistic, rtol=1e-6)
    np.testing.assert_allclose(ours.statistics["hausman_p"][0], chi2.sf(statistic, 3), rtol=1e-6)


@pytest.mark.parametrize("cluster", ["unit", "province"])
def test_mundlak_is_a_clustered_wald_test_of_unit_means(panel: Panel, cluster: str) -> None:
    """linearmodels' pooled regression of variables less theta_i times their means, unit means beside them."""
    from linearmodels.panel import PooledOLS

    ours = RandomEffects(errors=(f"cluster:{cluster}",), tests=True)(panel)
    model, frame, _ = theirs_of(panel, False)
    means = frame.groupby(level=0)[list(NAMES)].transform("mean").add_prefix("mean_")
    frame = frame.join(means)
    theta = model.fit().theta["theta"]
    numbers = frame[["y", *NAMES, *means, "constant"]]
    share = frame["unit"].map(theta).to_numpy()[:, None]
    moved = numbers - share * numbers.groupby(level=0).transform("mean")
    codes = frame[cluster].astype("category").cat.codes
    fit = PooledOLS(moved["y"], moved[[*NAMES, *means, "constant"]]).fit(
        cov_type="clustered", clusters=codes, group_debias=True, debiased=True
    )
    b, v = fit.params[list(means)].to_numpy(), fit.cov.loc[list(means), list(means)].to_numpy()
    statistic = b @ np.linalg.solve(v, b)
    assert ours.statistics["mundlak"][0] == pytest.approx(statistic, rel=1e-8)
    groups = codes.nunique()
    assert ours.statistics["mundlak_p"][0] == pytest.approx(f_law.sf(statistic / 3, 3, groups - 1), rel=1e-8)


def test_both_tests_have_their_size_and_see_effects_that_regressors_know_of() -> None:
    panel = drawn(3, 1000, "tests").panel
    tied = {"y": panel.variables["y"] + panel.variables["x"].mean(axis=1, keepdims=True)}
    found = [RandomEffects(tests=True)(each).statistics for each in (panel, panel.with_variables(tied))]
    for name in ("hausman", "mundlak"):
        one, other = (each[f"{name}_p"][np.isfinite(each[f"{name}_p"])] for each in found)
        assert min(len(one), len(other)) > 700
        assert abs((one < 0.05).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / len(one)) + 0.01
        assert (other < 0.05).mean() > 0.95


def test_a_unit_that_is_never_observed_changes_no_test_and_none_is_there_unasked(panel: Panel) -> None:
    panel, kept = small_panel(40, 8, seed=5), np.arange(40) != 3
    late = (slice(4, None), slice(5, 15))  # unit means then do not average to the mean of all cells
    with_it = unseen(panel, (slice(None), 3), late)
    without = part(unseen(panel, late), kept, np.ones(8, dtype=bool))
    one, other = (RandomEffects(tests=True)(each) for each in (with_it, without))
    for name, values in other.statistics.items():
        np.testing.assert_allclose(one.statistics[name], values, rtol=1e-9, err_msg=name)
    plain, tested = RandomEffects()(panel), RandomEffects(tests=True)(panel)
    np.testing.assert_array_equal(plain.estimate, tested.estimate)
    np.testing.assert_array_equal(plain.se, tested.se)
    assert repr(RandomEffects()) == repr(RandomEffects(tests=False))
    assert "tests" not in repr(RandomEffects())
