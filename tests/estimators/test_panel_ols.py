"""Least squares on panels against linearmodels, Stata's printed numbers, dummies, and itself turned around."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from agreement import assert_agree, assert_batch_is_its_panels, in_another_order
from published_panels import grunfeld

from estimators import Estimator, Status, TwoWayDID
from experiments.references.reference import long_frame
from references.regressions import panel_ols
from references.small_panels import small_panel
from sim import BadInput, Panel

EFFECTS: dict[str, tuple[str, ...]] = {
    "pooled": (),
    "unit": ("unit",),
    "period": ("period",),
    "two-way": ("unit", "period"),
    "province-by-period": ("unit", "province-by-period"),
    "province-by-period alone": ("province-by-period",),
    "trend": ("unit", "unit-trend"),
    "two-way with trend": ("unit", "period", "unit-trend"),
    "province-by-period with trend": ("unit", "unit-trend", "province-by-period"),
}
NAMES = ("did", "inv", "road")


@pytest.fixture(params=EFFECTS)
def effects(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return EFFECTS[request.param]


@pytest.fixture(params=[0, 37], ids=["balanced", "unbalanced"])
def panel(request: pytest.FixtureRequest) -> Panel:
    return small_panel(40, 8, seed=5, missing=request.param)


def dummies_of(frame: pd.DataFrame, effects: tuple[str, ...]) -> np.ndarray:
    """A column for every level of every effect, and a constant, which is redundant beside them."""
    unit = pd.get_dummies(frame["unit"]).to_numpy(float)
    columns = [np.ones((len(frame), 1))]
    for effect in effects:
        if effect == "unit":
            columns.append(unit)
        elif effect == "period":
            columns.append(pd.get_dummies(frame["period"]).to_numpy(float))
        elif effect == "unit-trend":
            columns.append(unit * (frame["period"].to_numpy(float) - 2004.0)[:, None])
        else:
            cell = frame["province"].astype(str) + frame["period"].astype(str)
            columns.append(pd.get_dummies(cell).to_numpy(float))
    return np.hstack(columns)


def test_it_equals_a_regression_with_dummies(panel: Panel, effects: tuple[str, ...]) -> None:
    panel = replace(panel, periods=(2001, 2002, 2003, 2005, 2006, 2008, 2009, 2014))  # trends are lines in years
    ours = panel_ols(effects=effects, cluster_k="all")(panel)
    frame = long_frame(panel, ("y", *NAMES))
    x = np.hstack([frame[list(NAMES)].to_numpy(), dummies_of(frame, effects)])
    y = frame["y"].to_numpy()
    coefficients, _, rank, _ = np.linalg.lstsq(x, y)
    e = y - x @ coefficients
    free, n = len(y) - rank, len(y)
    bread = np.linalg.pinv(x.T @ x, hermitian=True)[:3]
    scores = x * e[:, None]
    by_unit = np.zeros((40, x.shape[1]))
    np.add.at(by_unit, frame["unit"].to_numpy(), scores)
    meats = {
        "iid": x.T @ x * (e @ e) / free,
        "hc1": scores.T @ scores * n / free,
        "cluster:unit": by_unit.T @ by_unit * 40 / 39 * (n - 1) / free,
    }
    np.testing.assert_allclose(ours.estimate[0, :3], coefficients[:3], rtol=1e-9)
    assert ours.dof[0, 0, 0] == free
    for row, meat in enumerate(meats.values()):
        se = np.sqrt(np.diag(bread @ meat @ bread.T))
        np.testing.assert_allclose(ours.se[0, row, :3], se, rtol=1e-8, err_msg=ours.errors[row])
    r2 = 1 - e @ e / np.square(y - y.mean()).sum()
    assert ours.statistics["r2"][0] == pytest.approx(r2, abs=1e-12)
    assert ours.statistics["r2_adjusted"][0] == pytest.approx(1 - (1 - r2) * (n - 1) / free, abs=1e-12)
    assert ours.statistics["sigma2"][0] == pytest.approx(e @ e / free, rel=1e-10)
    assert ("r2_within" in ours.statistics) == bool(effects)


def linearmodels_of(panel: Panel, effects: tuple[str, ...]) -> tuple[object, pd.DataFrame]:
    from linearmodels.panel import PanelOLS as Theirs
    from linearmodels.panel import PooledOLS

    frame = long_frame(panel, ("y", *NAMES)).assign(constant=1.0).set_index(["unit", "period"], drop=False)
    x = frame[[*NAMES, "constant"]]
    if not effects:
        return PooledOLS(frame["y"], x), frame
    return Theirs(frame["y"], x, entity_effects="unit" in effects, time_effects="period" in effects), frame


@pytest.mark.parametrize("name", ["pooled", "unit", "period", "two-way"])
def test_slopes_constant_and_errors_equal_linearmodels(panel: Panel, name: str) -> None:
    """Its PanelOLS with a constant adds grand means back, as Stata does; clusters count all effects in k."""
    ours = panel_ols(effects=EFFECTS[name], errors=("iid", "hc1", "cluster:unit", "cluster:province"), cluster_k="all")
    got = ours(panel)
    model, frame = linearmodels_of(panel, EFFECTS[name])
    groups = {"unit": frame["unit"], "province": frame["province"].astype("category").cat.codes}
    options: dict[str, dict[str, object]] = {
        "iid": {"cov_type": "unadjusted"},
        "hc1": {"cov_type": "robust"},
        **{
            f"cluster:{group}": {"cov_type": "clustered", "clusters": codes, "group_debias": True}
            for group, codes in groups.items()
        },
    }
    for row, (error, option) in enumerate(options.items()):
        counting = {"auto_df": False, "count_effects": True} if name != "pooled" and "cluster" in error else {}
        fit = model.fit(**option, **counting, debiased=True)  # type: ignore[attr-defined]
        np.testing.assert_allclose(got.estimate[0], fit.params, rtol=1e-9)
        np.testing.assert_allclose(got.se[0, row], fit.std_errors, rtol=1e-8, err_msg=error)
    within = "r2" if name == "pooled" else "r2_within"
    assert got.statistics[within][0] == pytest.approx(fit.rsquared, abs=1e-10)


@pytest.mark.parametrize("model", [TwoWayDID(), panel_ols()], ids=["did", "ols"])
@pytest.mark.parametrize("missing", [0, 37])
@pytest.mark.parametrize("axis", [0, 1], ids=["of the period", "of the unit"])
def test_a_draw_whose_effects_absorb_a_regressor_is_singular_there(model: Estimator, missing: int, axis: int) -> None:
    panel = small_panel(40, 8, seed=5, replications=4, redrawn=True, missing=missing)
    inv = np.array(panel.variables["inv"])
    inv[2] = np.take(inv[2], [0], axis=1 - axis)
    got, sound = model(panel.with_variables({"inv": inv})), model(panel)
    assert got.status.tolist() == [Status.OK, Status.OK, Status.SINGULAR, Status.OK]
    assert np.isnan(got.estimate[2]).all()
    assert np.isnan(got.se[2]).all()
    np.testing.assert_array_equal(got.se[[0, 1, 3]], sound.se[[0, 1, 3]])


def test_the_constant_is_the_grand_mean_less_what_regressors_explain(panel: Panel, effects: tuple[str, ...]) -> None:
    with_constant = panel_ols(effects=effects)(panel)
    seen = long_frame(panel, ("y", *NAMES))
    explained = seen[list(NAMES)].mean().to_numpy() @ with_constant.estimate[0, :3]
    assert with_constant.terms[-1] == "constant"
    assert with_constant.estimate[0, 3] == pytest.approx(seen["y"].mean() - explained, rel=1e-10)
    if effects:
        without = panel_ols(effects=effects, constant=False)(panel)
        np.testing.assert_allclose(with_constant.estimate[:, :3], without.estimate, rtol=1e-12)
        np.testing.assert_allclose(with_constant.se[:, :, :3], without.se, rtol=1e-12)


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


ALL_ERRORS = ("iid", "hc1", "cluster:unit", "cluster:province+period", "driscoll-kraay", "conley:900", "wild:province")


def placed(panel: Panel) -> Panel:
    rng = np.random.default_rng(4)
    places = {"longitude": rng.uniform(100, 120, len(panel.units)), "latitude": rng.uniform(25, 40, len(panel.units))}
    return replace(panel, attributes={**panel.attributes, **places})


def test_order_of_units_does_not_matter(effects: tuple[str, ...]) -> None:
    panel = placed(small_panel(24, 7, seed=6, missing=9))
    estimator = panel_ols(effects=effects, errors=ALL_ERRORS, draws=99)
    assert_agree(estimator(in_another_order(panel)[0]), estimator(panel), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("factor", [1e-4, 250.0])
def test_scales_of_variables_scale_their_own_terms_alone(effects: tuple[str, ...], factor: float) -> None:
    panel = placed(small_panel(24, 7, seed=6))
    estimator = panel_ols(effects=effects, errors=ALL_ERRORS, draws=99)
    for name, scale in (("y", factor), ("inv", np.array([1.0, 1 / factor, 1.0, 1.0]))):
        scaled = estimator(panel.with_variables({name: panel.variables[name] * factor}))
        assert_agree(scaled, estimator(panel), rtol=1e-8, atol=1e-10, scale=scale)


def test_what_effects_take_out_does_not_matter(effects: tuple[str, ...]) -> None:
    if not effects:
        pytest.skip("pooled")
    panel = small_panel(24, 7, seed=6, missing=9)
    rng = np.random.default_rng(3)
    provinces = np.unique(panel.attributes["province"], return_inverse=True)[1]
    added = np.zeros((1, 7, 24))
    for effect in effects:
        unit, steps = rng.standard_normal((1, 1, 24)), np.arange(7.0)[None, :, None]
        by_province = rng.standard_normal((1, 7, 7))[:, :, provinces]
        added = added + {"unit": unit, "unit-trend": unit * steps, "period": np.sin(steps)}.get(effect, by_province)
    moved = panel.with_variables({"y": panel.variables["y"] + 3 * added, "inv": panel.variables["inv"] - 2 * added})
    got, wanted = (panel_ols(effects=effects)(each) for each in (moved, panel))
    np.testing.assert_allclose(got.estimate[:, :3], wanted.estimate[:, :3], rtol=1e-9)
    np.testing.assert_allclose(got.se[:, :, :3], wanted.se[:, :, :3], rtol=1e-9)


@pytest.mark.parametrize("redrawn", [False, True])
def test_a_batch_is_its_panels_one_by_one(effects: tuple[str, ...], redrawn: bool) -> None:
    panel = placed(small_panel(24, 7, seed=6, replications=4, redrawn=redrawn))
    assert_batch_is_its_panels(panel_ols(effects=effects, errors=ALL_ERRORS[:-1]), panel, rtol=1e-10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"effects": ("unit", "region-by-period")}, "are unknown"),
        ({"effects": ("unit", "unit")}, "repeat"),
        ({"effects": ("unit-trend",)}, "unit-trend without unit"),
        ({"effects": ("unit", "province-by-period", "half-by-period")}, "more than one attribute by period"),
        ({"errors": ()}, "one or more distinct"),
        ({"errors": ("hc2",)}, "unknown error type 'hc2'"),
        ({"draws": 0}, "draws = 0"),
        ({"regressors": ("did", "trend"), "effects": ("unit", "unit-trend")}, "'trend' is absorbed by the effects"),
        ({"regressors": ("did", "trend", "inv"), "effects": ("period",)}, "'trend' is absorbed by the effects"),
        ({"regressors": ("did", "one"), "effects": ()}, "'one' is constant"),
        ({"regressors": ("inv", "twice"), "effects": ()}, "'twice' is collinear with inv"),
    ],
)
def test_bad_settings_and_useless_regressors_are_named(settings: dict[str, object], message: str) -> None:
    panel = small_panel(24, 7, seed=6)
    shape = (1, 7, 24)
    panel = panel.with_variables(
        {
            "trend": np.broadcast_to(np.arange(7.0)[None, :, None], shape).copy(),
            "one": np.ones(shape),
            "twice": 2 * panel.variables["inv"] + 1,
        }
    )
    panel = replace(panel, attributes={**panel.attributes, "half": np.arange(24) % 2})
    with pytest.raises(BadInput, match=message):
        panel_ols(**settings)(panel)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "effects"),
    [("fixed", ("unit", "period")), ("common", ("period",)), ("trend", ("unit", "unit-trend")), ("one", ())],
)
def test_an_outcome_that_effects_absorb_is_named(outcome: str, effects: tuple[str, ...]) -> None:
    panel = small_panel(24, 7, seed=6)
    rng, shape = np.random.default_rng(3), (1, 7, 24)
    by_unit, by_period = rng.uniform(73.0, 135.0, 24), rng.normal(size=(7, 1))
    values = {"fixed": by_unit, "common": by_period, "trend": by_unit * np.arange(7.0)[:, None], "one": np.ones(1)}
    panel = panel.with_variables({outcome: np.broadcast_to(values[outcome], shape).copy()})
    with pytest.raises(BadInput, match=f"the outcome '{outcome}' is constant or absorbed"):
        panel_ols(outcome, effects=effects)(panel)


def test_no_residual_degrees_of_freedom_is_bad_input() -> None:
    """Six units with an intercept and a trend each over three years, one year's effect, five regressors: 18."""
    rng = np.random.default_rng(1)
    names = ("y", "a", "b", "c", "d", "e")
    panel = Panel(tuple("uvwxyz"), (1, 2, 3), {name: rng.standard_normal((1, 3, 6)) for name in names})
    with pytest.raises(BadInput, match="18 observations for 18 parameters"):
        panel_ols("y", names[1:], ("unit", "period", "unit-trend"))(panel)
