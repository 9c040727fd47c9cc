"""Moderation, triple differences, equal effects, ANCOVA: pyfixest, statsmodels, dummies, subsamples, truths."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from agreement import of_units
from covering import covered
from refusals import refuses
from scipy import stats

import estimators as est
from estimators.core.estimator import critical_values
from experiments.references.reference import long_frame
from experiments.run.runner import run
from experiments.study import Study
from references.dense import Dense
from references.pyfixest_reference import feols
from references.regressions import panel_ols
from references.small_panels import adopting, located, small_panel, uneven, unseen
from sim import Panel, Streams, Wanted
from sim.panel import group_labels
from sim.presets import Paper
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Dose, Random
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.levels import Effects
from sim.world.parts.mediators import Linear
from sim.world.parts.missing import Pattern

ERRORS = ("iid", "hc1", "cluster:unit", "cluster:province")


def panel_of(missing: int = 0) -> Panel:
    """With a group of two halves, one in which half of the provinces lie."""
    panel = small_panel(42, 8, seed=3, missing=missing)
    half = np.where(np.arange(42) % 7 < 3, "clean", "dirty")
    return replace(panel, attributes={**panel.attributes, "half": half})


def mean_of(panel: Panel, name: str) -> float:
    """Over observed unit-periods, by the panel's weights."""
    seen = np.ones(panel.variables[name].shape, bool) if panel.observed is None else panel.observed
    weights = panel.variables["pop"][seen] if panel.roles.weight else None
    return float(np.average(panel.variables[name][seen], weights=weights))


PANELS = {"balanced": panel_of(), "gaps": panel_of(30), "weights": uneven(panel_of())}


def pyfixest_of(panel: Panel, formula: str, error: str, products: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    own = panel.with_variables(products)
    frame = long_frame(own, tuple(own.variables))
    frame["half_period"] = frame["period"] + 1000 * (frame["half"] == "dirty")
    clustered = error.startswith("cluster:")
    by = {"weights": "pop", "weights_type": "aweights"} if panel.roles.weight else {}
    kind = {"CRV1": error.removeprefix("cluster:")} if clustered else {"iid": "iid", "hc1": "HC1"}[error]
    fit = feols(formula, frame, kind, "nonnested" if clustered else "full", **by)
    return fit.coef().to_numpy(), fit.se().to_numpy()


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_moderation_equals_pyfixest(panel: Panel) -> None:
    product = {"did_inv": panel.variables["did"] * (panel.variables["inv"] - mean_of(panel, "inv"))}
    ours = est.Moderation("inv", errors=ERRORS)(panel)
    assert ours.terms == ("did", "did x inv", "inv", "road")
    for error in ERRORS:
        beta, se = pyfixest_of(panel, "y ~ did + did_inv + inv + road | unit + period", error, product)
        np.testing.assert_allclose(ours.estimate[0], beta, rtol=1e-8)
        np.testing.assert_allclose(ours.se[0, ERRORS.index(error)], se, rtol=1e-8, err_msg=error)


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_a_triple_difference_equals_pyfixest(panel: Panel) -> None:
    """Unit and group-by-period effects number N + 2 T - 2, for the groups share no effect; pyfixest counts one more."""
    product = {"did_dirty": panel.variables["did"] * (panel.attributes["half"] == "dirty")}
    ours = est.TripleDifference("half", ("clean", "dirty"), errors=ERRORS)(panel)
    assert ours.terms == ("did", "did x dirty", "inv", "road")
    for error in ERRORS:
        beta, se = pyfixest_of(panel, "y ~ did + did_dirty + inv + road | unit + half_period", error, product)
        free = panel.nobs - 4 - (2 * 8 - 1 if error.startswith("cluster:") else 42 + 2 * 8 - 2)  # units are nested
        np.testing.assert_allclose(ours.estimate[0], beta, rtol=1e-8)
        counted = se * np.sqrt((free - 1) / free)
        np.testing.assert_allclose(ours.se[0, ERRORS.index(error)], counted, rtol=1e-8, err_msg=error)


def test_a_triple_difference_is_that_of_two_regressions_without_controls() -> None:
    panel = panel_of(25)
    ours = est.TripleDifference("half", ("clean", "dirty"), controls=())(panel)
    other = est.TripleDifference("half", ("dirty", "clean"), controls=())(panel)
    halves = [of_units(panel, panel.attributes["half"] == value) for value in ("clean", "dirty")]
    parts = [est.TwoWayDID(regressors=("did",))(half).estimate[0, 0] for half in halves]
    np.testing.assert_allclose(ours.estimate[0], [parts[0], parts[1] - parts[0]], rtol=1e-10)
    np.testing.assert_allclose(other.estimate[0], [parts[1], parts[0] - parts[1]], rtol=1e-10)
    small = panel.with_variables({"did": 1e-7 * panel.variables["did"]})
    tiny = est.TripleDifference("half", ("clean", "dirty"), controls=())(small)
    np.testing.assert_allclose(tiny.estimate * 1e-7, ours.estimate, rtol=1e-10)
    free = est.InteractionTest("half", ("clean", "dirty"), regressors=("did",))(panel)
    np.testing.assert_allclose(ours.estimate, free.estimate, rtol=1e-10)
    np.testing.assert_allclose(ours.se, free.se, rtol=1e-8)


def test_a_group_may_be_a_variable_and_units_of_other_groups_are_left_out() -> None:
    panel = panel_of()
    third = np.arange(42) % 7 == 6
    code = np.where(third, 2.0, panel.attributes["half"] == "dirty")
    as_variable = panel.with_variables({"code": np.tile(code, (1, 8, 1))})
    kept = replace(panel, attributes={**panel.attributes, "code": code})
    ours = est.TripleDifference("code", ("0", "1"))(as_variable)
    np.testing.assert_array_equal(ours.estimate, est.TripleDifference("code", ("0", "1"))(kept).estimate)
    without = est.TripleDifference("half", ("clean", "dirty"))(of_units(panel, ~third))
    np.testing.assert_allclose(ours.estimate, without.estimate, rtol=1e-12)


@pytest.mark.parametrize("kind", ["moderation", "triple-difference"])
def test_they_are_weighted_least_squares_on_dummies(kind: str) -> None:
    panel = uneven(panel_of(30))
    seen = panel.observed[0]
    y, did, inv, road, pop = (panel.variables[name][0][seen] for name in ("y", "did", "inv", "road", "pop"))
    period, unit = np.nonzero(seen)
    dirty = panel.attributes["half"][unit] == "dirty"
    units, periods = np.equal.outer(unit, np.arange(42)), np.equal.outer(period, np.arange(1, 8))
    if kind == "moderation":
        ours = est.Moderation("inv", errors=ERRORS[:3], cluster_k="all")(panel)
        columns = [did, did * (inv - mean_of(panel, "inv")), inv, road, units, periods]
    else:
        ours = est.TripleDifference("half", ("clean", "dirty"), errors=ERRORS[:3], cluster_k="all")(panel)
        columns = [did, did * dirty, inv, road, units, periods & dirty[:, None], periods & ~dirty[:, None]]
    slow = Dense(y, *columns, weights=pop)
    np.testing.assert_allclose(ours.estimate[0], slow.slopes[:4], rtol=1e-8)
    for own, error in zip(ours.se[0], ERRORS, strict=False):
        np.testing.assert_allclose(own, slow.errors(error, unit)[:4], rtol=1e-8)
    assert ours.statistics["sigma2"][0] == pytest.approx(slow.e @ slow.e / (len(y) - slow.rank), rel=1e-8)


@pytest.mark.parametrize("error", ["iid", "hc1", "cluster:unit", "cluster:province", "driscoll-kraay", "cv3:unit"])
def test_the_effect_at_another_value_is_a_combination_of_terms(error: str) -> None:
    panel = panel_of(20)
    whole = est.Moderation("inv", errors=(error,))
    first, covariance = whole(panel), whole.covariance(panel, error)
    mean = float(panel.variables["inv"][panel.observed].mean())
    np.testing.assert_allclose(np.sqrt(np.diagonal(covariance.matrix[0])), first.se[0, 0], rtol=1e-10)
    for value in (-1.0, 0.3, 2.0):
        weights = np.array([1.0, value - mean, 0.0, 0.0])
        moved = replace(whole, at=value)(panel)
        np.testing.assert_allclose(moved.estimate[0, 0], first.estimate[0] @ weights, rtol=1e-10)
        np.testing.assert_allclose(moved.se[0, 0, 0] ** 2, weights @ covariance.matrix[0] @ weights, rtol=1e-9)
        np.testing.assert_allclose(moved.estimate[0, 1:], first.estimate[0, 1:], rtol=1e-9)


def test_a_shifted_or_scaled_moderator_changes_what_it_must() -> None:
    panel = panel_of()
    ours = est.Moderation("inv")(panel)
    moved = est.Moderation("inv")(panel.with_variables({"inv": 5.0 + 10 * panel.variables["inv"]}))
    np.testing.assert_allclose(moved.estimate[0], ours.estimate[0] / [1, 10, 10, 1], rtol=1e-8)
    np.testing.assert_allclose(moved.se[0], ours.se[0] / [1, 10, 10, 1], rtol=1e-8)


def world(**changes: object) -> PanelDesign:
    """Effects that differ with a dirt of the units, which is 0 or 1, and with m, by .3 a unit of it."""
    settings: dict[str, object] = {
        "units": 60, "periods": 8, "adoption": Random(independent=True), "redraw": ("adoption",),
        "covariates": (Normal("dirt", effect=0.0, between=1.0, distribution="binary"),),
        "effect": Effect(size=0.5, by_covariate="dirt", covariate_slope=0.6),
    }  # fmt: skip
    return PanelDesign(**settings | changes)


MODERATED = {"effect": Effect(size=0.5), "mediators": (Linear("m", a=0.0, b=0.4, sd=1.0, interaction=0.3),)}
DDD = est.TripleDifference("dirt", ("0", "1"), controls=())
BY_M = est.Moderation("m", controls=())
EXACT = {"errors": Process(scale=0.0)}
DOSES = {**EXACT, "adoption": Dose(share=0.7, mean=3.0)}


@pytest.mark.parametrize(("design", "estimator"), [
    (world(**EXACT), DDD), (world(**EXACT, **MODERATED), BY_M), (world(**DOSES), DDD),
    (world(**DOSES, **MODERATED), BY_M),
], ids=["triple difference", "moderation", "triple difference of doses", "moderation of doses"])  # fmt: skip
def test_without_errors_every_draw_gives_its_truth(design: PanelDesign, estimator: est.Estimator) -> None:
    targets = estimator.layout(design.schema).targets
    terms = [term for term in targets if term.startswith("did")]
    rows = Streams(4).tile(0, 16)
    draw = design.settle(Streams(4)).draw(rows, Wanted(frozenset(design.schema.variables), tuple(targets.values())))
    found = estimator(draw.panel)
    truths = np.stack([draw.truth[targets[term]] for term in terms], axis=1)
    assert (np.abs(truths[:, 1]) > 0.1).all()
    assert np.ptp(truths[:, 0]) > 0 or estimator is DDD
    np.testing.assert_allclose(found.estimate[:, : len(terms)], truths, rtol=1e-7)


@pytest.mark.parametrize(("design", "estimator"), [(world(), DDD), (world(**MODERATED), BY_M)],
                         ids=["triple difference", "moderation"])  # fmt: skip
def test_2000_intervals_cover_the_truth(design: PanelDesign, estimator: est.Estimator) -> None:
    targets = [target for term, target in estimator.layout(design.schema).targets.items() if "did" in term]
    streams, found = Streams(5, "coverage"), []
    wanted = Wanted(frozenset(design.schema.variables), tuple(targets))
    for start in range(0, 2000, 100):
        draw = design.settle(streams.within(f"world {start}")).draw(streams.tile(start, start + 100), wanted)
        got = estimator(draw.panel)
        assert (got.status == est.Status.OK).all()
        own = got.estimate[:, :2] - np.stack([draw.truth[target] for target in targets], axis=1)
        found.append(np.stack([own, critical_values(got.dof, 0.05)[:, -1, :2] * got.se[:, -1, :2]]))
    errors, margins = np.concatenate(found, axis=1)
    assert (np.abs(errors.mean(axis=0)) <= 4 * errors.std(axis=0) / np.sqrt(2000)).all()
    coverage = (np.abs(errors) <= margins).mean(axis=0)
    assert ((coverage >= 0.93) & (coverage <= 0.97)).all(), coverage


@pytest.mark.parametrize(("estimator", "said"), [
    (est.Moderation("y"), "the moderator 'y' is the outcome"),
    (est.Moderation("did"), "the moderator 'did' is the treatment"),
    (est.Moderation("nope"), "no variable 'nope' in the panel"),
    (est.Moderation("inv", errors=("conley-taber",)), "conley-taber of a treatment beside its products"),
    (est.Moderation("inv", main=False, terms=("inv",)), "no term 'inv'"),
    (est.Moderation("still"), "variable 'still' is absorbed by the unit and time effects"),
    (est.Moderation("one", main=False), "'did x one' is constant|'did x one' is collinear"),
    (est.TripleDifference("nope", ("0", "1")), "group is 'nope'"),
    (est.TripleDifference("half", ("clean",)), "values = \\['clean'\\]; allowed: two distinct values"),
    (est.TripleDifference("half", ("clean", "clean")), "two distinct values"),
    (est.TripleDifference("half", ("clean", "dusty")), "no unit has half = dusty; allowed: clean, dirty"),
    (est.TripleDifference("inv", ("0", "1")), "the group 'inv' varies within units"),
    (est.TripleDifference("ever", ("0", "1")), "the treatment does not differ within ever = 0"),
    (est.TripleDifference("half", ("clean", "dirty"), errors=("ferman-pinto",)), "ferman-pinto of a treatment"),
])  # fmt: skip
def test_mistakes_are_one_line(estimator: est.Estimator, said: str) -> None:
    panel = panel_of()
    still = np.tile(np.arange(42.0), (1, 8, 1))
    panel = panel.with_variables({"still": still, "one": np.where(still > -1, 1.0, 0.0)})
    ever = panel.variables["did"][0].any(axis=0).astype(float)
    panel = replace(panel, attributes={**panel.attributes, "ever": ever})
    refuses(said, lambda: estimator(panel))

    panel = small_panel(20, 5, replications=2, redrawn=True)
    drawn = panel.with_variables({"code": np.random.default_rng(1).integers(0, 2, (2, 5, 20)).astype(float)})
    refuses("varies within units", lambda: est.TripleDifference("code", ("0", "1"))(drawn))


VALUES = ("a", "b", "c")
TEST = est.InteractionTest("zone", VALUES, errors=("iid", "hc1", "cluster:province", "cluster:unit"))


def grouped(n: int = 48, t: int = 6, *, missing: int = 0, seed: int = 3, replications: int = 1) -> Panel:
    """A small panel with zones a, b, c of unequal size that cut across its provinces."""
    panel = small_panel(n, t, seed=seed, missing=missing, replications=replications, model="none")
    zone = np.random.default_rng(seed).permutation(np.repeat(VALUES, [n // 2, n // 3, n - n // 2 - n // 3]))
    return replace(panel, attributes={**panel.attributes, "zone": zone}, weights={})


@pytest.mark.parametrize("missing", [0, 25])
def test_dummies_give_the_same_numbers(missing: int) -> None:
    panel = grouped(missing=missing)
    frame = long_frame(panel, ("y", "did", "inv", "road"))
    in_zone = frame["zone"].to_numpy()[:, None] == np.array(VALUES)
    slopes = np.concatenate([frame[[name]].to_numpy() * in_zone for name in ("did", "inv", "road")], axis=1)
    cells = (frame["zone"] + frame["period"].astype(str)).to_numpy()
    dummies = [(codes[:, None] == np.unique(codes)).astype(float) for codes in (frame["unit"].to_numpy(), cells)]
    slow = Dense(frame["y"], slopes, *dummies)
    contrast = np.zeros((3, len(slow.slopes)))
    contrast[[0, 1, 2, 1, 2], [0, 1, 2, 0, 0]] = [1, 1, 1, -1, -1]
    found = TEST(panel)
    np.testing.assert_allclose(found.estimate[0], contrast @ slow.slopes, rtol=1e-10)
    for row, error in enumerate(TEST.errors):  # clusters: not the effects of 48 units, but the constant
        codes = frame[error.removeprefix("cluster:")] if "cluster" in error else None
        covariance = contrast @ slow.covariance(error, codes, slow.rank - 47) @ contrast.T
        np.testing.assert_allclose(found.se[0, row], np.sqrt(np.diag(covariance)), rtol=1e-9, err_msg=error)
    d = (contrast @ slow.slopes)[1:]
    wald = d @ np.linalg.solve(covariance[1:, 1:], d)
    np.testing.assert_allclose(found.statistics["wald"], wald, rtol=1e-9)
    np.testing.assert_allclose(found.statistics["wald_p"], stats.f.sf(wald / 2, 2, 48 - 1), rtol=1e-9)


def test_pyfixest_agrees() -> None:
    panel = grouped()
    frame = long_frame(panel, ("y", "did", "inv", "road"))
    for value in VALUES:
        for name in ("did", "inv", "road"):
            frame[f"{name}_{value}"] = frame[name] * (frame["zone"] == value)
    frame["cell"] = frame["zone"] + frame["period"].astype(str)
    others = " + ".join(f"{name}_{value}" for name in ("inv", "road") for value in VALUES)
    fit = feols(f"y ~ did + did_b + did_c + {others} | unit + cell", frame, {"CRV1": "unit"})
    found = TEST(panel)
    terms = ["did", "did_b", "did_c"]
    np.testing.assert_allclose(found.estimate[0], fit.coef()[terms], rtol=1e-9)
    fewer = np.sqrt((288 - 9 - 18) / (288 - 9 - 16))  # it counts a redundant effect in two of three zones
    np.testing.assert_allclose(found.se[0, -1], fewer * fit.se()[terms], rtol=1e-9)


@pytest.mark.parametrize("missing", [0, 25])
def test_every_error_is_that_of_the_fully_interacted_regression(missing: int) -> None:
    panel = located(grouped(missing=missing), 5)
    errors = ("iid", "hc1", "cluster:unit", "cluster:province+period", "cluster:unit+period", "driscoll-kraay",
              "conley:300", "conley:900:bartlett", "conley:1500")  # fmt: skip
    names = ("did", "inv", "road")
    within = {f"{name} x {value}": panel.variables[name] * (panel.attributes["zone"] == value)
              for value in VALUES[1:] for name in names}  # fmt: skip
    wide = panel_ols(regressors=(*names, *within), effects=("unit", "zone-by-period"), errors=errors)
    whole = wide(panel.with_variables(within))
    found = replace(TEST, errors=errors)(panel)
    columns = [whole.terms.index(term) for term in found.terms]
    np.testing.assert_allclose(found.estimate, whole.estimate[:, columns], rtol=1e-10)
    np.testing.assert_allclose(found.se, whole.se[:, :, columns], rtol=1e-8)
    np.testing.assert_array_equal(found.dof, whole.dof[:, :, columns])
    flags = {name: values[0] for name, values in found.statistics.items() if name.startswith("floored:")}
    assert flags == {name: values[0] for name, values in whole.statistics.items() if name.startswith("floored:")}
    assert set(flags.values()) == {0.0, 1.0}


def test_singletons_are_left_out_as_in_the_regression_with_all_interactions() -> None:
    panel = unseen(grouped(), (slice(1, None), slice(None, None, 5)))  # these are seen once
    two = replace(TEST, values=("a", "b"), errors=("cluster:unit",))
    found = two(panel)
    zone = panel.attributes["zone"]
    kept = of_units(panel, np.isin(zone, ("a", "b")))
    names = panel.roles.regressors
    b = (kept.attributes["zone"] == "b") * 1.0
    whole = kept.with_variables({f"b_{name}": kept.variables[name] * b for name in names})
    wide = est.TwoWayDID(regressors=(*names, *(f"b_{name}" for name in names)), errors=("cluster:unit",),
                     effects=("unit", "zone-by-period"))(whole)  # fmt: skip
    at = wide.terms.index(f"b_{panel.roles.treatment}")
    assert found.estimate[0, 1] == pytest.approx(wide.estimate[0, at], rel=1e-8)
    assert found.se[0, 0, 1] == pytest.approx(wide.se[0, 0, at], rel=1e-8)
    assert found.dof[0, 0, 1] == wide.dof[0, 0, at]


def test_two_groups_have_the_p_value_of_their_term() -> None:
    found = replace(TEST, values=("a", "c"))(grouped())
    t = found.estimate[0, 1] / found.se[0, -1, 1]
    np.testing.assert_allclose(found.statistics["wald"], t**2, rtol=1e-12)
    np.testing.assert_allclose(found.statistics["wald_p"], 2 * stats.t.sf(abs(t), found.dof[0, -1, 1]), rtol=1e-10)


@pytest.mark.parametrize("missing", [0, 12])
def test_the_permutation_p_value_one_assignment_at_a_time(missing: int) -> None:
    panel, draws = grouped(missing=missing), 50
    found = replace(TEST, draws=draws)(panel, Streams(7))
    zone = panel.attributes["zone"]
    seen = panel.variables["did"][0] > 0
    treated = (seen if panel.observed is None else seen & panel.observed[0]).any(axis=0)
    rng = next(iter(Streams(7).each("permutation")))
    exceeded = 0
    for start in (0, 32):
        shuffled = np.tile(zone, (min(32, draws - start), 1))
        for stratum in (treated, ~treated):
            shuffled[:, stratum] = rng.permuted(shuffled[:, stratum], axis=1)
        for labels in shuffled:
            moved = replace(panel, attributes={**panel.attributes, "zone": labels})
            other = TEST(moved).statistics["wald"][0]
            exceeded += int(other >= found.statistics["wald"][0] * (1 - 1e-9))
    p = (1 + exceeded) / (draws + 1)
    assert 0.02 < p < 0.98
    np.testing.assert_allclose(found.statistics["permutation_p"], p, rtol=1e-14)
    np.testing.assert_allclose(found.statistics["permutation_p_mcse"], np.sqrt(p * (1 - p) / draws), rtol=1e-14)


@pytest.mark.parametrize("name", ["did", "inv"])
def test_a_group_without_treated_units_or_whose_period_effects_absorb_a_control_is_singular(name: str) -> None:
    panel = grouped()
    paths = np.arange(6.0)[:, None] + 1e-6 * np.random.default_rng(2).standard_normal((6, 48))  # 1e-13 of it is left
    own = np.where(panel.attributes["zone"] == "b", 0.0 if name == "did" else paths, panel.variables[name])
    assert TEST(panel.with_variables({name: own})).status[0] == est.Status.SINGULAR


def test_two_units_have_no_clustered_variance() -> None:
    panel = grouped()
    treated = panel.variables["did"][0].any(axis=0)
    pair = [np.flatnonzero(treated)[0], np.flatnonzero(~treated)[0]]
    zone = np.where(np.isin(np.arange(48), pair), "c", "a")
    panel = replace(panel, attributes={"zone": zone})
    found = replace(TEST, values=("a", "c"), errors=("iid",), draws=19)(panel)
    assert np.isfinite(found.estimate).all()
    assert found.status[0] == est.Status.SINGULAR
    assert np.isnan(found.statistics["permutation_p"][0])


def test_assignments_without_a_statistic_count_as_large() -> None:
    """Zone c has the one of its treated units that adopts later; six of eight that may take its place always were."""
    a, c = (np.flatnonzero(grouped().attributes["zone"] == name) for name in ("a", "c"))
    panel = adopting(grouped(), (0, a[:6]), (3, [a[6], c[0]]))
    found = replace(TEST, values=("a", "c"), errors=("iid",), draws=199)(panel, Streams(4))
    assert found.statistics["permutation_p"][0] > 0.6


@pytest.mark.parametrize(("settings", "message"), [
    ({"values": ("a",)}, "values = \\['a'\\]"), ({"values": ("a", "z")}, "no unit has zone = z"),
    ({"group": "planet"}, "group is 'planet'"), ({"errors": ("cluster:zone",)}, "1 cluster under cluster:zone"),
    ({"errors": ("hc7",)}, "unknown error type 'hc7'"), ({"regressors": ("inv",)}, "treatment is 'did'"),
])  # fmt: skip
def test_bad_input(settings: dict[str, object], message: str) -> None:
    refuses(message, lambda: replace(TEST, **settings)(grouped()))


def test_labels_of_numbers_and_words() -> None:
    assert group_labels(np.array([1.0, 2.0])).tolist() == ["1", "2"]
    assert group_labels(np.array([0.5, 2.0])).tolist() == ["0.5", "2.0"]
    assert group_labels(np.array([True, False])).tolist() == ["True", "False"]
    assert group_labels(np.array(["东部"])).tolist() == ["东部"]


def test_differences_are_unbiased_and_their_intervals_cover() -> None:
    size = 800
    panel = grouped(n=120, t=5, seed=21, replications=size)
    more = 1.5 * panel.variables["did"] * (panel.attributes["zone"] == "b")
    found = replace(TEST, errors=("iid",))(panel.with_variables({"y": panel.variables["y"] + more}))
    error = found.estimate[:, 1] - 1.5
    assert abs(error.mean()) <= 4 * error.std() / np.sqrt(size)
    covered = (np.abs(error) <= stats.t.ppf(0.975, found.dof[:, 0, 1]) * found.se[:, 0, 1]).mean()
    assert abs(covered - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / size)


@pytest.mark.long
def test_size_when_groups_differ_in_variance() -> None:
    size = 400
    panel = grouped(n=60, t=5, seed=11, replications=size)
    noise = np.random.default_rng(12).standard_normal((size, 5, 60)).cumsum(axis=1)
    test = replace(TEST, values=("a", "b"), errors=("cluster:unit",), draws=99)
    for y in (noise, noise * np.where(panel.attributes["zone"] == "b", 2.0, 1.0)):
        p = test(panel.with_variables({"y": y}), Streams(13).tile(0, size)).statistics["permutation_p"]
        assert abs((p <= 0.05).mean() - 0.05) <= 4 * np.sqrt(0.05 * 0.95 / size)


def one_date(missing: int = 0, first: int = 3) -> Panel:
    """Half of 40 units treated in the same period."""
    return adopting(small_panel(40, 8, seed=6, missing=missing), (first, slice(None, None, 2)))


@covered(by=[False, True], missing=[0, 40], controls=[(), ("inv", "road")], cls=[est.Ancova, est.PostOnly])
def test_they_equal_statsmodels_on_means(
    cls: type[est.Ancova | est.PostOnly], controls: tuple[str, ...], missing: int, by: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import statsmodels.api as sm
    panel = uneven(one_date(missing)) if by else one_date(missing)
    pop = panel.variables["pop"][0] if by else np.ones((8, 40))
    rows = []
    for i in range(40):  # the slow plain program
        seen = [t for t in range(8) if panel.observed is None or panel.observed[0, t, i]]
        values = {name: panel.variables[name][0, :, i] for name in ("y", "did", "inv", "road")}
        before, after = [t for t in seen if t < 3], [t for t in seen if t >= 3]
        if after and (before or (cls is est.PostOnly and not controls)):
            own = {name: np.average(values[name][before], weights=pop[before, i]) if before else np.nan
                   for name in ("y", "inv", "road")}  # fmt: skip
            rows.append({
                "after": np.average(values["y"][after], weights=pop[after, i]), "w": pop[after, i].mean(),
                "did": float(i % 2 == 0), "before": own["y"], "inv": own["inv"], "road": own["road"], "constant": 1.0,
            })  # fmt: skip
    frame = pd.DataFrame(rows)
    terms = ["did", *(["before"] if cls is est.Ancova else []), *controls, "constant"]
    ours = cls(controls=controls)(panel)
    assert ours.terms == tuple(terms)
    for e, kind in enumerate(("nonrobust", "HC1")):
        theirs = sm.WLS(frame["after"], frame[terms], frame["w"]).fit(cov_type=kind, use_t=True)
        np.testing.assert_allclose(ours.estimate[0], theirs.params, rtol=1e-9)
        np.testing.assert_allclose(ours.se[0, e], theirs.bse, rtol=1e-9)
        np.testing.assert_allclose(ours.pvalues if e else ours.with_errors("iid").pvalues, theirs.pvalues, rtol=1e-7,
                                   atol=1e-12)  # fmt: skip
    assert ours.statistics["nobs"][0] == len(frame)


def test_weights_of_post_only_are_those_of_the_rows_after_the_date() -> None:
    panel = uneven(one_date())
    y, did, pop = (panel.variables[name][0, 3:].ravel() for name in ("y", "did", "pop"))
    wanted = [np.average(y[did == value], weights=pop[did == value]) for value in (0, 1)]
    found = est.PostOnly()(panel)
    np.testing.assert_allclose(found.estimate[0], [wanted[1] - wanted[0], wanted[0]], rtol=1e-10)
    ahead = panel.with_variables({"pop": np.where(np.arange(8)[:, None] < 3, 9.0, 1.0) * panel.variables["pop"]})
    np.testing.assert_allclose(est.PostOnly()(ahead).estimate, found.estimate, rtol=1e-12)  # those before do not count


@pytest.mark.parametrize("cls", [est.Ancova, est.PostOnly])
def test_the_weight_may_be_a_control_as_well(cls: type[est.Ancova | est.PostOnly]) -> None:
    panel = uneven(one_date(40))
    copied = panel.with_variables({"people": panel.variables["pop"]})
    ours, twin = cls(controls=("pop",))(panel), cls(controls=("people",))(copied)
    np.testing.assert_array_equal(ours.estimate, twin.estimate)
    assert "pop" in ours.terms


def test_2000_draws_are_unbiased_covered_and_as_precise_as_the_literature_says() -> None:
    design = PanelDesign(
        units=60, periods=8, levels=Effects(unit_sd=1.0), errors=Process(sd=1.0), adoption=Random(treated=30, date=5),
        effect=Effect(size=0.4), first_period=1, redraw=("adoption",),
    )  # fmt: skip
    estimators, found = (est.Ancova(), est.PostOnly(), est.TwoWayDID(regressors=("did",))), []
    streams = Streams(8, "ancova")
    for start in range(0, 2000, 10):  # each in a world of its own
        rows = streams.tile(start, start + 10)
        made = design.settle(streams.within(f"world {start}")).draw(rows, Wanted(frozenset(("y", "did")), ("att",)))
        got = [one(made.panel) for one in estimators]
        assert all((one.status == est.Status.OK).all() for one in got)
        own = [one.estimate[:, 0] - made.truth["att"] for one in got]
        widths = [critical_values(one.dof, 0.05)[:, -1, 0] * one.se[:, -1, 0] for one in got]
        found.append(np.stack([np.stack(own, 1), np.stack(widths, 1)]))
    errors, margins = np.concatenate(found, axis=1)
    spread = errors.std(axis=0)
    assert (np.abs(errors.mean(axis=0)) <= 4 * spread / np.sqrt(2000)).all()
    coverage = (np.abs(errors) <= margins).mean(axis=0)
    assert ((coverage >= 0.93) & (coverage <= 0.97)).all(), coverage
    c, m, r = 0.5, 4, 4  # unit and error have variance one each
    post, did = (1 + (r - 1) * c) / r, (1 - c) / r + (1 - c) / m
    known = np.sqrt(np.array([post - m * c**2 / (1 + (m - 1) * c), post, did]) * 2 * (1 / 30 + 1 / 30))
    np.testing.assert_allclose(spread, known, rtol=4 / np.sqrt(2 * 2000) + 0.02)  # a slope is estimated in the first
    assert spread[0] < min(spread[1:])


@pytest.mark.parametrize(("panel", "estimator", "said"), [
    (small_panel(30, 6), est.Ancova(), "the treatment is not that of one date: units begin in"),
    (Paper().draw(Streams(1)).panel, est.Ancova(), "choose an estimator of staggered adoption"),
    (one_date(first=0), est.Ancova(), "the first period"),
    (one_date(first=0), est.PostOnly(), "one period before it, or more"),
    (one_date(), est.Ancova(errors=("driscoll-kraay",)), "driscoll-kraay with 1 period"),
    (one_date(), est.Ancova(controls=("did",)), "a variable is used twice"),
    (one_date(), est.Ancova(controls=("gdp",)), "no variable 'gdp'"),
    (one_date().with_variables({"did": np.ones((1, 8, 40))}), est.PostOnly(), "the first period"),
    (one_date().with_variables({"did": np.eye(8, 40)[None]}), est.PostOnly(), "units begin in"),
    (one_date().with_variables({"did": 0.5 * one_date().variables["did"]}), est.PostOnly(), "other than 0 and 1"),
    (one_date().with_variables({"did": np.zeros((1, 8, 40))}), est.PostOnly(), "'did' is constant"),
])  # fmt: skip
def test_what_they_cannot_serve_is_one_line(panel: Panel, estimator: est.Estimator, said: str) -> None:
    refuses(said, lambda: estimator(panel))


@covered(cls=[est.Ancova, est.PostOnly], pattern=["entry", "dropout"])
def test_units_that_one_date_leaves_out_are_there_under_another(
    cls: type[est.Ancova | est.PostOnly], pattern: Any
) -> None:
    design = PanelDesign(units=30, periods=8, adoption=Random(dates=(2003, 2007)), redraw=("adoption",),
                         missing=Pattern(share=0.3, pattern=pattern))  # fmt: skip
    estimator = cls(errors=("hc1",))
    drawn = design.draw(Streams(4).tile(0, 8)).panel
    alone = est.Estimates.join([estimator(drawn.replication(row)) for row in range(8)])
    np.testing.assert_array_equal(estimator(drawn).estimate, alone.estimate)
    np.testing.assert_array_equal(estimator(drawn).se, alone.se)
    nobs = alone.statistics["nobs"]
    assert len(np.unique(nobs)) > (cls is est.Ancova or pattern == "dropout")
    np.testing.assert_array_equal(estimator(drawn).statistics["nobs"], nobs)
    study = Study(name="dates", design=design, estimators=(estimator,), replications=8, block=64, seed=4, worlds=1)
    cell = study.cells[0]
    own = study.design.settle(cell.streams(4).of_world(0)).draw(cell.streams(4).tile(0, 8), study.wanted(cell)).panel
    (block,) = run(study).blocks(0)
    wanted = [estimator(own.replication(row)).estimate[0] for row in range(8)]
    np.testing.assert_allclose(block.estimates[estimator.name].estimate, wanted, rtol=1e-12)


@pytest.mark.parametrize("cls", [est.Ancova, est.PostOnly])
def test_replications_of_other_dates_have_their_own_weights_and_one_without_treated_rows_spoils_no_other(
    cls: type[est.Ancova | est.PostOnly],
) -> None:
    design = PanelDesign(units=30, periods=8, adoption=Random(dates=(2003, 2007), treated=2), redraw=("adoption",))
    drawn = design.draw(Streams(4).tile(0, 6)).panel
    w = np.random.default_rng(1).uniform(0.5, 2.0, (1, 8, 30))
    drawn = replace(drawn.with_variables({"w": w}), roles=replace(drawn.roles, weight="w"))
    alone = est.Estimates.join([cls()(drawn.replication(row)) for row in range(6)])
    np.testing.assert_array_equal(cls()(drawn).estimate, alone.estimate)
    seen = np.ones((1, 8, 30), dtype=bool)
    seen[0, 1:, drawn.variables["did"][2].any(axis=0)] = False
    found = cls()(replace(drawn, observed=seen))
    assert found.status[2] == est.Status.REFUSED
    assert (found.status[[0, 1, 3]] == est.Status.OK).all()
    late = drawn.variables["did"] * (np.arange(30) % 2 * np.arange(8)[:, None] != 7)
    refuses("not that of one date", lambda: cls()(replace(drawn.with_variables({"did": late}), observed=seen)))


def test_errors_by_draws_of_such_replications_are_refused() -> None:
    design = PanelDesign(units=30, periods=8, adoption=Random(dates=(2003, 2007)), redraw=("adoption",),
                         missing=Pattern(share=0.3, pattern="entry"))  # fmt: skip
    drawn = design.draw(Streams(4).tile(0, 8)).panel
    refuses("wild:group of replications that differ in the units that they can use",
            lambda: est.Ancova(errors=("wild:group",))(drawn))  # fmt: skip
    refuses("replications differ in the units that have periods before and after", lambda: est.Ancova().used(drawn))


def test_a_unit_without_rows_before_is_left_out_of_ancova_alone() -> None:
    panel = one_date()
    gaps = unseen(panel, (slice(3), 5))
    assert (est.Ancova()(gaps).statistics["nobs"][0], est.PostOnly()(gaps).statistics["nobs"][0]) == (39, 40)
    assert est.Ancova().used(gaps).nobs == 39
