"""Least squares on panels against linearmodels, Stata's printed numbers, dummies, and itself turned around."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import closed_forms as closed
import numpy as np
import pandas as pd
import pytest
from published_panels import grunfeld
from refusals import refuses

from estimators import TwoWayDID
from experiments.references.reference import long_frame
from experiments.run.runner import run
from experiments.study import Study
from references import pyfixest_reference
from references.dense import Dense
from references.regressions import EFFECTS, dummies_of, linearmodels_of, panel_ols
from references.small_panels import adopting, small_panel
from results.diagnosis.diagnose import diagnose
from sim import Panel, Roles, Streams, Wanted
from sim.presets import Paper
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.spillover import Neighbours

NAMES = ("did", "inv", "road")


@pytest.fixture(params=EFFECTS)
def effects(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return EFFECTS[request.param]


@pytest.fixture(params=[0, 37], ids=["balanced", "unbalanced"])
def panel(request: pytest.FixtureRequest) -> Panel:
    return small_panel(40, 8, seed=5, missing=request.param)


def test_it_equals_a_regression_with_dummies(panel: Panel, effects: tuple[str, ...]) -> None:
    panel = replace(panel, periods=(2001, 2002, 2003, 2005, 2006, 2008, 2009, 2014))  # trends are lines in years
    ours = panel_ols(effects=effects, cluster_k="all")(panel)
    frame = long_frame(panel, ("y", *NAMES))
    slow, y = Dense(frame["y"], frame[list(NAMES)], dummies_of(frame, effects)), frame["y"].to_numpy()
    coefficients, e, n, free = slow.slopes, slow.e, len(y), len(y) - slow.rank
    np.testing.assert_allclose(ours.estimate[0, :3], coefficients[:3], rtol=1e-9)
    assert ours.dof[0, 0, 0] == free
    for row, error in enumerate(ours.errors):
        np.testing.assert_allclose(ours.se[0, row, :3], slow.errors(error, frame["unit"])[:3], rtol=1e-8, err_msg=error)
    r2 = 1 - e @ e / np.square(y - y.mean()).sum()
    assert ours.statistics["r2"][0] == pytest.approx(r2, abs=1e-12)
    assert ours.statistics["r2_adjusted"][0] == pytest.approx(1 - (1 - r2) * (n - 1) / free, abs=1e-12)
    assert ours.statistics["sigma2"][0] == pytest.approx(e @ e / free, rel=1e-10)
    assert ("r2_within" in ours.statistics) == bool(effects)
    explained = frame[list(NAMES)].mean().to_numpy() @ coefficients[:3]
    assert ours.estimate[0, ours.terms.index("constant")] == pytest.approx(y.mean() - explained, rel=1e-10)
    if effects:
        without = panel_ols(effects=effects, constant=False, cluster_k="all")(panel)
        np.testing.assert_allclose(ours.estimate[:, :3], without.estimate, rtol=1e-12)
        np.testing.assert_allclose(ours.se[:, :, :3], without.se, rtol=1e-12)


@pytest.mark.parametrize("cluster_k", ["slopes", "nonnested", "all"])
@pytest.mark.parametrize("error", ["iid", "hc1", "cluster:province"])
def test_the_covariance_of_some_terms_is_that_of_their_errors(panel: Panel, error: str, cluster_k: Any) -> None:
    whole = panel_ols(errors=(error,), cluster_k=cluster_k)
    some = replace(whole, terms=("road", "did")).covariance(panel, error)
    at = [whole.layout(panel.schema).terms.index(term) for term in some.terms]
    np.testing.assert_allclose(np.sqrt(np.diag(some.matrix[0])), whole(panel).se[0, 0, at], rtol=1e-9)
    np.testing.assert_allclose(some.matrix[0], whole.covariance(panel, error).matrix[0][np.ix_(at, at)], rtol=1e-12)


def test_a_pooled_regression_without_a_constant_has_no_mean_to_take_off(panel: Panel) -> None:
    ours = panel_ols(effects=(), constant=False)(panel)
    free = panel.nobs - len(NAMES)
    adjusted = 1 - (1 - ours.statistics["r2"][0]) * panel.nobs / free
    assert ours.statistics["r2_adjusted"][0] == pytest.approx(adjusted, abs=1e-12)


@pytest.mark.parametrize("name", ["pooled", "unit", "period", "two-way"])
def test_slopes_constant_and_errors_equal_linearmodels(panel: Panel, name: str) -> None:
    """Its PanelOLS with a constant adds grand means back, as Stata does; clusters count all effects in k."""
    ours = panel_ols(effects=EFFECTS[name], errors=("iid", "hc1", "cluster:unit", "cluster:province"), cluster_k="all")
    got = ours(panel)
    model, frame = linearmodels_of(panel, EFFECTS[name])
    groups = {"unit": frame["unit"], "province": frame["province"].astype("category").cat.codes}
    options: dict[str, dict[str, Any]] = {"iid": {"cov_type": "unadjusted"}, "hc1": {"cov_type": "robust"}}
    for group, codes in groups.items():
        options[f"cluster:{group}"] = {"cov_type": "clustered", "clusters": codes, "group_debias": True}
    for row, (error, option) in enumerate(options.items()):
        counting = {"auto_df": False, "count_effects": True} if name != "pooled" and "cluster" in error else {}
        fit = model.fit(**option, **counting, debiased=True)
        np.testing.assert_allclose(got.estimate[0], fit.params, rtol=1e-9)
        np.testing.assert_allclose(got.se[0, row], fit.std_errors, rtol=1e-8, err_msg=error)
    within = "r2" if name == "pooled" else "r2_within"
    assert got.statistics[within][0] == pytest.approx(fit.rsquared, abs=1e-10)


def test_without_constant_and_effects_r2_is_uncentred(panel: Panel) -> None:
    from linearmodels.panel import PooledOLS

    ours = panel_ols(effects=(), constant=False, errors=("iid",))(panel)
    frame = long_frame(panel, ("y", *NAMES)).set_index(["unit", "period"])
    fit = PooledOLS(frame["y"], frame[list(NAMES)]).fit()
    np.testing.assert_allclose(ours.estimate[0], fit.params, rtol=1e-10)
    np.testing.assert_allclose(ours.se[0, 0], fit.std_errors, rtol=1e-10)
    assert ours.statistics["r2"][0] == pytest.approx(fit.rsquared, abs=1e-12)


def test_stata_prints_these_numbers_of_grunfeld() -> None:
    """`regress` and `xtreg, fe` of invest on value and capital; the pooled errors also in plm's vignette."""
    panel = grunfeld()
    pooled = panel_ols(effects=(), errors=("iid",))(panel)
    np.testing.assert_allclose(pooled.estimate[0], [0.1155622, 0.2306785, -42.71437], atol=5e-6)
    np.testing.assert_allclose(pooled.se[0, 0], [0.0058357, 0.0254758, 9.511676], rtol=5e-6)
    fixed = panel_ols(effects=("unit",), errors=("iid",))(panel)
    np.testing.assert_allclose(fixed.estimate[0], [0.1101238, 0.3100653, -58.74393], atol=5e-6)
    np.testing.assert_allclose(fixed.se[0, 0], [0.0118567, 0.0173545, 12.45369], rtol=5e-6)
    assert fixed.statistics["r2_within"][0] == pytest.approx(0.7668, abs=5e-5)


@pytest.mark.parametrize(("settings", "message"), [
    ({"effects": ("unit", "region-by-period")}, "are unknown"), ({"effects": ("unit", "unit")}, "repeat"),
    ({"effects": ("unit-trend",)}, "unit-trend without unit"),
    ({"effects": ("unit", "province-by-period", "half-by-period")}, "more than one attribute by period"),
    ({"errors": ()}, "one or more distinct"), ({"errors": ("hc2",)}, "unknown error type 'hc2'"),
    ({"draws": 0}, "draws = 0"),
    ({"regressors": ("did", "trend"), "effects": ("unit", "unit-trend")}, "'trend' is absorbed by the effects"),
    ({"regressors": ("did", "trend", "inv"), "effects": ("period",)}, "'trend' is absorbed by the effects"),
    ({"regressors": ("did", "one"), "effects": ()}, "'one' is constant"),
    ({"regressors": ("inv", "twice"), "effects": ()}, "'twice' is collinear with inv"),
])  # fmt: skip
def test_bad_settings_and_useless_regressors_are_named(settings: dict[str, object], message: str) -> None:
    panel = small_panel(24, 7, seed=6)
    shape = (1, 7, 24)
    trend = np.broadcast_to(np.arange(7.0)[None, :, None], shape).copy()
    panel = panel.with_variables({"trend": trend, "one": np.ones(shape), "twice": 2 * panel.variables["inv"] + 1})
    panel = replace(panel, attributes={**panel.attributes, "half": np.arange(24) % 2})
    refuses(message, lambda: panel_ols(**settings)(panel))


@pytest.mark.parametrize(("outcome", "effects"), [
    ("fixed", ("unit", "period")), ("common", ("period",)), ("trend", ("unit", "unit-trend")), ("one", ()),
])  # fmt: skip
def test_an_outcome_that_effects_absorb_is_named(outcome: str, effects: tuple[str, ...]) -> None:
    panel = small_panel(24, 7, seed=6)
    rng, shape = np.random.default_rng(3), (1, 7, 24)
    by_unit, by_period = rng.uniform(73.0, 135.0, 24), rng.normal(size=(7, 1))
    values = {"fixed": by_unit, "common": by_period, "trend": by_unit * np.arange(7.0)[:, None], "one": np.ones(1)}
    panel = panel.with_variables({outcome: np.broadcast_to(values[outcome], shape).copy()})
    refuses(f"the outcome '{outcome}' is constant or absorbed", lambda: panel_ols(outcome, effects=effects)(panel))


def test_no_residual_degrees_of_freedom_is_bad_input() -> None:
    """Six units with an intercept and a trend each over three years, one year's effect, five regressors: 18."""
    rng = np.random.default_rng(1)
    names = ("y", "a", "b", "c", "d", "e")
    panel = Panel(tuple("uvwxyz"), (1, 2, 3), {name: rng.standard_normal((1, 3, 6)) for name in names})
    refuses("18 observations for 18 parameters", panel_ols("y", names[1:], ("unit", "period", "unit-trend")), panel)


ERRORS = ("iid", "hc1", "cluster:unit", "cluster:province")


@pytest.fixture(scope="module", params=["balanced", "unbalanced", "paper"])
def compared(request: pytest.FixtureRequest) -> Panel:
    if request.param != "paper":
        return small_panel(40, 8, seed=5, missing=23 * (request.param == "unbalanced"))
    design, streams = Paper(spillover="paper"), Streams(11, "reference")
    return design.settle(streams).draw(streams, Wanted(frozenset(design.schema.variables), ())).panel


@pytest.mark.parametrize("cluster_k", ["slopes", "nonnested", "all"])
def test_did_equals_pyfixest(compared: Panel, cluster_k: str) -> None:
    ours = TwoWayDID(errors=ERRORS, cluster_k=cluster_k)(compared)
    theirs = pyfixest_reference.twoway_did(compared, errors=ERRORS, cluster_k=cluster_k)
    np.testing.assert_allclose(theirs.ours(ours), theirs.estimate, rtol=1e-10, atol=1e-12)
    for error in ERRORS:
        np.testing.assert_allclose(theirs.our_se(ours, error), theirs.se[error], rtol=1e-8, err_msg=error)


def test_effects_of_disconnected_groups_are_counted_once_each() -> None:
    """Two sets of units seen in different years have a free level each, so one dummy fewer than usual is free."""
    seen = np.kron(np.eye(2), np.ones((4, 6))).astype(bool)[None]
    whole = adopting(small_panel(12, 8, seed=4), (2, slice(3)), (6, slice(6, 9)))
    compared = replace(whole, observed=seen, weights={})
    ours, frame = TwoWayDID(errors=("iid",))(compared), long_frame(compared, ("y", *NAMES))
    slow = Dense(frame["y"], frame[list(NAMES)], dummies_of(frame, EFFECTS["two-way"]))
    np.testing.assert_allclose(ours.estimate[0], slow.slopes[:3], rtol=1e-10)
    np.testing.assert_allclose(ours.se[0, 0] ** 2, slow.errors("iid")[:3] ** 2, rtol=2e-10)
    assert ours.dof[0, 0, 0] == 48 - 3 - (12 + 8 - 2)


PUBLISHED = {  # coefficient and standard error clustered by city, all dummies counted
    "did": (0.017066, 0.028785),
    "ln_pgdp": (-0.437537, 0.117795),
    "ln_pop_density": (-0.196178, 0.140160),
    "industrial_advanced": (-0.081052, 0.033505),
    "ln_road_area": (0.068689, 0.035767),
    "financial_development": (0.031561, 0.013687),
}


def test_low_carbon_pilots_as_published(shared_data: Path) -> None:
    roles = Roles("ln_carbon_intensity", "did", tuple(PUBLISHED)[1:])
    frame = pd.read_csv(shared_data / "lowcarbon_did.csv")
    compared = Panel.from_frame(frame, unit="city_name", period="year", roles=roles)
    assert (compared.nobs, len(compared.units), compared.balanced) == (3623, 215, False)
    fit = TwoWayDID(errors=("cluster:unit",), cluster_k="all")(compared)
    np.testing.assert_array_equal(np.round(fit.estimate[0], 6), [b for b, _ in PUBLISHED.values()])
    np.testing.assert_array_equal(np.round(fit.se[0, 0], 6), [se for _, se in PUBLISHED.values()])
    assert round(fit.statistics["r2"][0], 4) == 0.9712


UNITS, TREATED, PRE, POST = 160, 60, 7, 4


def did_study(effect: float, errors: Process, estimators: tuple[Any, ...], **parts: Any) -> Study:
    adoption = Random(treated=TREATED, last_periods=POST)
    design = PanelDesign(units=UNITS, periods=PRE + POST, errors=errors, effect=Effect(size=effect), adoption=adoption,
                         redraw=("adoption",), **parts)  # fmt: skip
    return Study("closed", design, estimators, replications=4096, block=2048, seed=20240621)


def measures(study: Study) -> dict[tuple[str, str, str], tuple[float, float]]:
    """(estimator, measure, error type) -> value and Monte Carlo error, of the term did."""
    frame = diagnose(run(study)).frame
    rows = frame[frame["term"] == "did"].to_dict("records")
    return {(row["estimator"], row["measure"], row["error"]): (row["value"], row["mcse"]) for row in rows}


def test_the_variance_is_exact_for_any_covariance_matrix() -> None:
    root = np.random.default_rng(3).standard_normal((9, 9))
    matrix = root @ root.T
    weights = np.concatenate([np.full(6, -1 / 6), np.full(3, 1 / 3)])
    found = closed.did_variance(3, 4, 6, 3, closed.Covariances.of(matrix, 6))
    assert found == pytest.approx(weights @ matrix @ weights * (1 / 3 + 1 / 4), rel=1e-12)


@pytest.mark.parametrize("serial", [0.0, 0.6])
def test_standard_errors_are_those_of_burlig_preonas_and_woerman(serial: float) -> None:
    """Equation 2 with serial correlation, McKenzie's formula without; iid errors are right in the second case alone."""
    errors = Process(sd=1.3, serial=serial)
    found = measures(did_study(0.0, errors, (TwoWayDID(errors=("iid", "cluster:unit")),)))
    variance = closed.did_variance(
        TREATED, UNITS - TREATED, PRE, POST, closed.Covariances.autoregressive(1.69, serial, PRE, POST)
    )
    value, mcse = found["did", "empirical_se", ""]
    assert abs(value - np.sqrt(variance)) < 4 * mcse
    n, k, controls = UNITS * (PRE + POST), PRE + POST + 1, UNITS - TREATED
    within = sum((1 - 1 / size) / size for size in (TREATED, controls)) / (1 / TREATED + 1 / controls)
    factor = within * UNITS / (UNITS - 1) * (n - 1) / (n - k)  # its own, and 1 - 1/n in each group
    value, mcse = found["did", "model_se", "cluster:unit"]
    assert abs(value - np.sqrt(variance * factor)) < 4 * mcse
    value, mcse = found["did", "model_se", "iid"]
    if serial:
        assert value < 0.85 * np.sqrt(variance)
    else:
        assert abs(value - np.sqrt(variance)) < 4 * mcse


@pytest.mark.parametrize(("serial", "power"), [(0.0, 0.5), (0.6, 0.8)])
def test_an_effect_of_the_size_of_the_mde_is_found_that_often(serial: float, power: float) -> None:
    variance = closed.did_variance(
        TREATED, UNITS - TREATED, PRE, POST, closed.Covariances.autoregressive(1.0, serial, PRE, POST)
    )
    effect = closed.minimum_detectable_effect(variance, power=power, dof=UNITS - 1)
    found = measures(did_study(effect, Process(serial=serial), (TwoWayDID(errors=("cluster:unit",)),)))
    value, mcse = found["did", "rejection", "cluster:unit"]
    assert abs(value - power) < 4 * mcse


def held_to(target: str) -> TwoWayDID:
    return TwoWayDID(errors=("cluster:unit",), target=target, label=target)


@pytest.mark.parametrize("on", ["controls", "treated"])
def test_bias_under_spillovers_is_that_of_butts(on: Any) -> None:
    """Proposition 2.1, with the total and with the own effect as the estimand."""
    size = 3.0  # of a neighbourhood that is treated as a whole
    study = did_study(0.5, Process(), (held_to("att"), held_to("att_own")), spillover=Neighbours(w_effect=size, on=on))
    treated, controls = closed.exposure_of_random_adopters(UNITS, TREATED)
    bias = closed.spillover_bias(size * treated * (on != "controls"), size * controls * (on != "treated"))
    found = measures(study)
    for target, wanted in (("att", bias.total), ("att_own", bias.own)):
        value, mcse = found[target, "bias", ""]
        assert abs(value - wanted) < 4 * mcse
    if on != "treated":
        assert bias.total < -1.0
