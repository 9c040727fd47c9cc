"""What must not change an answer, or must change it in a known way: other panels of a batch, order, names, scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from agreement import assert_agree, assert_batch_is_its_panels, in_another_order
from mediation_panels import ALL, panel_of

import estimators as est
from estimators.linear.formula import formula
from estimators.spatial.lm_tests import FORMS
from references.completion_programs import factor_panel
from references.iv_twin import made_panel
from references.regressions import EFFECTS, panel_ols
from references.small_panels import Kind, located, small_panel
from references.staggered_panels import staggered_panel
from sim import Panel, Streams, Weights

ERRORS = ("iid", "hc1", "cluster:unit", "cluster:province+period", "driscoll-kraay", "conley:900", "cv3:province",
          "cr2:province", "cr2:unit")  # fmt: skip
SPATIAL_ERRORS = ("information", "hessian", "qmle", "cluster:unit", "cluster:province", "driscoll-kraay",
                  "conley:900:bartlett")  # fmt: skip
UNSCALED = {"rho", "lambda", "gamma", "eta", "a", "proportion", "lm_lag", "lm_err", "rlm_lag", "rlm_err"}  # fmt: skip
SQUARED = {"sigma2", "sigma2_unit"}
FACTOR = 3.0
SCALE_FREE = ("pretrend", "r2_within", "wald", "permutation_p", "phi", "theta", "kp_f", "factors", "corr_ab")


def small(redrawn: bool = False, t: int = 7, **more: Any) -> Panel:
    """With coordinates and a zone."""
    panel = located(small_panel(24, t, seed=6, replications=3, redrawn=redrawn, **more))
    zone = np.where(np.arange(24) % 5 < 3, "a", "b")
    return replace(panel, attributes={**panel.attributes, "zone": zone})


def mapped(redrawn: bool) -> Panel:
    return located(small_panel(60, 7, seed=3, replications=3, redrawn=redrawn), 7, (8.0, 8.0))


def staggered(_: bool) -> Panel:
    return staggered_panel(replications=3)


def dated(_: bool) -> Panel:
    """A third of the units treated at one date."""
    did = (np.arange(40) % 3 == 0) & (np.arange(8)[:, None] >= 4)
    return small_panel(40, 8, seed=5, replications=3).with_variables({"did": did[None] * 1.0})


def factors(_: bool, covariate: float | None = 0.5) -> Panel:
    return factor_panel(replications=2, units=16, periods=12, treated=4, last=3, covariate=covariate, staggered=True)


@dataclass(frozen=True)
class Case:
    """An estimator, its panels with fixed and with redrawn regressors, the effects that it takes out, a tolerance."""

    estimator: est.Estimator
    panel: Callable[[bool], Panel] = small
    effects: tuple[str, ...] = ("unit", "period")
    rtol: float = 1e-9
    free_of: tuple[str, ...] = ("order", "names")  # others draw units by their place


def spatial(model: str, how: str, effects: str = "two-way", weights: Kind = "knn") -> Case:
    out = {"two-way": ("unit", "period"), "none": ()}.get(effects, (effects,))
    kept = out if weights == "knn" else tuple(name for name in out if name == "unit")  # others pass through such a W
    errors = SPATIAL_ERRORS if effects == "two-way" and weights == "knn" else ("information",)
    estimator = est.SpatialPanel(model, how, full_fit=True, effects=effects, errors=errors)
    return Case(estimator, partial(small, weights=weights), kept, 1e-8)


CLUSTERED = ("cluster:unit", "cluster:province")
MODELS = ("sar", "sem", "sdm", "slx", "sdem", "sac")
DID = est.TwoWayDID(errors=("cluster:unit",))
COMPLETION = est.MatrixCompletion(folds=2, penalties=8, draws=20)
CASES: dict[str, Case] = {
    **{f"did {name}": Case(panel_ols(effects=effects, constant=not effects, errors=ERRORS),
                            effects=tuple({one.rpartition("-")[2] for one in effects}))
       for name, effects in EFFECTS.items()},
    "wild": Case(panel_ols(errors=("cluster:unit", "wild:province"), draws=99), rtol=1e-8),
    "wild by unit": Case(panel_ols(errors=("wild:unit",), draws=99), rtol=1e-7, free_of=()),
    "did gaps": Case(est.TwoWayDID(errors=ERRORS), partial(small, missing=13)),
    "random gaps": Case(est.RandomEffects(), partial(small, missing=13), effects=()),
    "random": Case(est.RandomEffects(errors=("iid", "hc1", "cluster:unit")), effects=()),
    "random periods": Case(est.RandomEffects(periods=True), effects=()),
    **{f"{model} {how}": spatial(model, how) for model in MODELS for how in ("direct", "lee-yu")},
    **{f"sdm {effects}": spatial("sdm", "lee-yu", effects) for effects in ("unit", "period")},
    **{f"{model} uneven": spatial(model, "direct", weights="uneven") for model in MODELS},
    **{f"sac {effects} uneven": spatial("sac", "direct", effects, "uneven") for effects in ("unit", "period", "none")},
    "simulated": Case(est.SpatialPanel("sdm", simulate=50), rtol=1e-8),
    **{f"{model} random": Case(est.SpatialRandomEffects(model), effects=(), rtol=1e-6) for model in MODELS[:3]},
    **{f"dynamic {how}": Case(est.DynamicSpatialPanel("sdm", how), partial(small, t=10), rtol=1e-6)
       for how in ("score", "analytic", "jackknife", "none")},
    **{f"lm {form} {effects}": Case(est.LMTests(form, effects, keep_arrays=True), effects=effects)
       for form in FORMS for effects in ((), ("unit",), ("period",), ("unit", "period"))},
    "spatial-did": Case(est.SpatialDID(lag_controls=True), mapped),
    "rings": Case(est.Rings(ends=(80.0, 160.0)), mapped),
    **{f"callaway-santanna {how}": Case(est.CallawaySantAnna(method=how, covariates=names, errors=CLUSTERED), staggered)
       for how, names in (("unconditional", ()), *((one, ("inv", "road")) for one in ("regression", "ipw", "dr")))},
    **{f"{one.kind} {getattr(one, 'weighting', '')}": Case(one, staggered, rtol=1e-8)
       for one in (est.EventStudy(), est.SunAbraham(), est.Imputation(), est.TwoStage(), est.DCDH(),
                   *(est.Stacked(window=(-2, 2), weighting=how) for how in ("variance", "corrective")))},
    **{f"psm-did {back}": Case(est.PsmDID(covariates=("inv",), caliper=9.0, neighbours=2, replacement=back), dated, ())
       for back in (True, False)},
    "iv": Case(est.PanelIV(errors=("iid", "hc1", "cluster:province", "driscoll-kraay"), test="hc1"),
               lambda _: made_panel(replications=3), rtol=1e-8),
    "mediation": Case(est.Mediation(cluster="province"), lambda _: panel_of(replications=3)),
    "mediation by draws": Case(est.Mediation(errors=ALL, draws=99), lambda _: panel_of(replications=3), free_of=()),
    "formula": Case(formula("y ~ did + inv:road + road | unit + period")),
    "interaction": Case(est.InteractionTest("zone", ("a", "b"), errors=("iid", "cluster:unit"), draws=40),
                        free_of=("order",)),
    "moderation": Case(est.Moderation("inv")),
    "triple-difference": Case(est.TripleDifference("zone", ("a", "b"))),
    "completion": Case(est.MatrixCompletion(penalty=0.05), factors, rtol=1e-7),
    **{f"completion {error}": Case(replace(COMPLETION, errors=(f"{error}:unit",)), factors, rtol=1e-7, free_of=())
       for error in ("jackknife", "placebo", "bootstrap")},
    **{f"{form} {error}": Case(est.InteractiveEffects(form=form, errors=(f"{error}:unit",), draws=20), factors,
                               rtol=1e-6, free_of=())
       for form, error in (("imputation", "jackknife"), ("regression", "placebo"), ("imputation", "bootstrap"))},
    **{f"{one.name} {getattr(one, 'regularised', '')}": Case(one, partial(factors, covariate=None), (), 1e-7)
       for one in (est.SyntheticDID(), *(kind(regularised=how) for how in (False, True)
                                         for kind in (est.SyntheticControl, est.DemeanedSyntheticControl)))},
    "equally-weighted-did": Case(est.EquallyWeightedDID(), partial(factors, covariate=None)),
    **{f"permutation {statistic} {common}":
       Case(est.PermutationTest.of(DID, draws=99, statistic=statistic, common=common), free_of=())
       for statistic in ("raw", "studentised") for common in (True, False)},
}  # fmt: skip
SMALL = [name for name, case in CASES.items() if getattr(case.panel, "func", case.panel) is small]
STREAMS = Streams(2, "a", 0, 3)


@pytest.mark.parametrize("name", CASES)
def test_a_batch_is_its_panels_one_by_one(name: str) -> None:
    case = CASES[name]
    assert_batch_is_its_panels(case.estimator, case.panel(False), STREAMS, rtol=case.rtol)


@pytest.mark.parametrize("name", SMALL)
def test_a_batch_of_redrawn_regressors_is_its_panels_one_by_one(name: str) -> None:
    case = CASES[name]
    assert_batch_is_its_panels(case.estimator, case.panel(True), STREAMS, rtol=case.rtol, atol=1e-9)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.free_of])
def test_order_and_names_of_units_do_not_matter(name: str) -> None:
    case = CASES[name]
    panel = case.panel(False)
    moved = in_another_order(panel)[0]
    called = {name: Weights.of(moved.units, w.dense, "none", name) for name, w in panel.weights.items()}
    wanted = case.estimator(panel, STREAMS)
    changed = {"order": moved, "names": replace(panel, units=moved.units, weights=called)}
    for other in map(changed.get, case.free_of):
        got = case.estimator(other, STREAMS)
        assert_agree(got, wanted, rtol=case.rtol, atol=1e-10)
        for name, values in wanted.statistics.items():
            np.testing.assert_allclose(got.statistics[name], values, rtol=case.rtol, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("name", [name for name in CASES if name != "completion"])  # whose penalty has a scale
def test_scale_and_added_effects_of_the_outcome_do_not_matter(name: str) -> None:
    case = CASES[name]
    panel, rng = case.panel(False), np.random.default_rng(3)
    y = panel.roles.outcome
    effects = 5 * rng.standard_normal(len(panel.units)) * ("unit" in case.effects)
    effects = effects + 7 * rng.standard_normal((len(panel.periods), 1)) * ("period" in case.effects)
    effects = effects - effects.mean()
    wanted = case.estimator(panel, STREAMS)
    got = case.estimator(panel.with_variables({y: FACTOR * (panel.variables[y] + effects)}), STREAMS)
    scale = np.array([1.0 if term in UNSCALED else FACTOR ** (2 if term in SQUARED else 1) for term in wanted.terms])
    assert_agree(got, wanted, rtol=10 * case.rtol, atol=1e-9, scale=scale)
    for name in wanted.statistics.keys() & SCALE_FREE:
        np.testing.assert_allclose(got.statistics[name], wanted.statistics[name], rtol=10 * case.rtol, err_msg=name)


@pytest.mark.parametrize("name", [name for name in SMALL if "uneven" not in name])
def test_the_scale_of_a_regressor_scales_its_own_terms_alone(name: str) -> None:
    case = CASES[name]
    panel = case.panel(False)
    got = case.estimator(panel.with_variables({"inv": 250.0 * panel.variables["inv"]}), STREAMS)
    wanted = case.estimator(panel, STREAMS)
    scale = np.array([1 / 250.0 if "inv" in term else 1.0 for term in wanted.terms])
    assert_agree(got, wanted, rtol=10 * case.rtol, scale=scale)
