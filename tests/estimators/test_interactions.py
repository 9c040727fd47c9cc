"""Moderation and triple differences against pyfixest, dummies, subsamples and the truth of every draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from agreement import of_units
from refusals import refuses

from estimators import Estimator, InteractionTest, Moderation, Status, TripleDifference, TwoWayDID
from estimators.core.estimator import critical_values
from experiments.references.reference import long_frame
from references.pyfixest_reference import feols
from references.small_panels import small_panel, uneven
from sim import BadInput, Panel, Streams, Wanted
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Dose, Random
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.mediators import Linear

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
    ours = Moderation("inv", errors=ERRORS)(panel)
    assert ours.terms == ("did", "did x inv", "inv", "road")
    for error in ERRORS:
        beta, se = pyfixest_of(panel, "y ~ did + did_inv + inv + road | unit + period", error, product)
        np.testing.assert_allclose(ours.estimate[0], beta, rtol=1e-8)
        np.testing.assert_allclose(ours.se[0, ERRORS.index(error)], se, rtol=1e-8, err_msg=error)


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_a_triple_difference_equals_pyfixest(panel: Panel) -> None:
    """Unit and group-by-period effects number N + 2 T - 2, for the groups share no effect; pyfixest counts one more."""
    product = {"did_dirty": panel.variables["did"] * (panel.attributes["half"] == "dirty")}
    ours = TripleDifference("half", ("clean", "dirty"), errors=ERRORS)(panel)
    assert ours.terms == ("did", "did x dirty", "inv", "road")
    for error in ERRORS:
        beta, se = pyfixest_of(panel, "y ~ did + did_dirty + inv + road | unit + half_period", error, product)
        free = panel.nobs - 4 - (2 * 8 - 1 if error.startswith("cluster:") else 42 + 2 * 8 - 2)  # units are nested
        np.testing.assert_allclose(ours.estimate[0], beta, rtol=1e-8)
        np.testing.assert_allclose(
            ours.se[0, ERRORS.index(error)], se * np.sqrt((free - 1) / free), rtol=1e-8, err_msg=error
        )


def test_a_triple_difference_is_that_of_two_regressions_without_controls() -> None:
    panel = panel_of(25)
    ours = TripleDifference("half", ("clean", "dirty"), controls=())(panel)
    other = TripleDifference("half", ("dirty", "clean"), controls=())(panel)
    parts = [
        TwoWayDID(regressors=("did",))(of_units(panel, panel.attributes["half"] == value)).estimate[0, 0]
        for value in ("clean", "dirty")
    ]
    np.testing.assert_allclose(ours.estimate[0], [parts[0], parts[1] - parts[0]], rtol=1e-10)
    np.testing.assert_allclose(other.estimate[0], [parts[1], parts[0] - parts[1]], rtol=1e-10)
    free = InteractionTest("half", ("clean", "dirty"), regressors=("did",))(panel)
    np.testing.assert_allclose(ours.estimate, free.estimate, rtol=1e-10)
    np.testing.assert_allclose(ours.se, free.se, rtol=1e-8)


def test_a_group_may_be_a_variable_and_units_of_other_groups_are_left_out() -> None:
    panel = panel_of()
    third = np.arange(42) % 7 == 6
    code = np.where(third, 2.0, panel.attributes["half"] == "dirty")
    as_variable = panel.with_variables({"code": np.tile(code, (1, 8, 1))})
    kept = replace(panel, attributes={**panel.attributes, "code": code})
    ours = TripleDifference("code", ("0", "1"))(as_variable)
    np.testing.assert_array_equal(ours.estimate, TripleDifference("code", ("0", "1"))(kept).estimate)
    without = TripleDifference("half", ("clean", "dirty"))(of_units(panel, ~third))
    np.testing.assert_allclose(ours.estimate, without.estimate, rtol=1e-12)


@pytest.mark.parametrize("kind", ["moderation", "triple-difference"])
def test_they_are_weighted_least_squares_on_dummies(kind: str) -> None:
    """Of a panel with gaps, by columns times the root of weights; all effects count in factors."""
    panel = uneven(panel_of(30))
    seen = panel.observed[0]
    y, did, inv, road, pop = (panel.variables[name][0][seen] for name in ("y", "did", "inv", "road", "pop"))
    period, unit = np.nonzero(seen)
    dirty = panel.attributes["half"][unit] == "dirty"
    units, periods = np.equal.outer(unit, np.arange(42)), np.equal.outer(period, np.arange(1, 8))
    if kind == "moderation":
        ours = Moderation("inv", errors=ERRORS[:3], cluster_k="all")(panel)
        columns = [did, did * (inv - mean_of(panel, "inv")), inv, road, units, periods]
    else:
        ours = TripleDifference("half", ("clean", "dirty"), errors=ERRORS[:3], cluster_k="all")(panel)
        columns = [did, did * dirty, inv, road, units, periods & dirty[:, None], periods & ~dirty[:, None]]
    root = np.sqrt(pop / pop.mean())
    x, ry = np.column_stack(columns) * root[:, None], y * root
    bread = np.linalg.inv(x.T @ x)
    beta, n, k = bread @ x.T @ ry, len(y), x.shape[1]
    e = ry - x @ beta
    scores = x * e[:, None]
    sums = np.equal.outer(np.arange(42), unit) @ scores
    meats = [x.T @ x * (e @ e) / (n - k), scores.T @ scores * n / (n - k),
             sums.T @ sums * 42 / 41 * (n - 1) / (n - k)]  # fmt: skip
    np.testing.assert_allclose(ours.estimate[0], beta[:4], rtol=1e-8)
    for own, meat in zip(ours.se[0], meats, strict=True):
        np.testing.assert_allclose(own, np.sqrt(np.diagonal(bread @ meat @ bread)[:4]), rtol=1e-8)
    assert ours.statistics["sigma2"][0] == pytest.approx(e @ e / (n - k), rel=1e-8)


@pytest.mark.parametrize("error", ["iid", "hc1", "cluster:unit", "cluster:province", "driscoll-kraay", "cv3:unit"])
def test_the_effect_at_another_value_is_a_combination_of_terms(error: str) -> None:
    panel = panel_of(20)
    whole = Moderation("inv", errors=(error,))
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
    ours = Moderation("inv")(panel)
    moved = Moderation("inv")(panel.with_variables({"inv": 5.0 + 10 * panel.variables["inv"]}))
    np.testing.assert_allclose(moved.estimate[0], ours.estimate[0] / [1, 10, 10, 1], rtol=1e-8)
    np.testing.assert_allclose(moved.se[0], ours.se[0] / [1, 10, 10, 1], rtol=1e-8)


# The truth of every draw.


def world(**changes: object) -> PanelDesign:
    """Effects that differ with a dirt of the units, which is 0 or 1, and with m, by .3 a unit of it."""
    settings: dict[str, object] = {
        "units": 60, "periods": 8, "adoption": Random(independent=True), "redraw": ("adoption",),
        "covariates": (Normal("dirt", effect=0.0, between=1.0, distribution="binary"),),
        "effect": Effect(size=0.5, by_covariate="dirt", covariate_slope=0.6),
    }  # fmt: skip
    return PanelDesign(**settings | changes)


MODERATED = {"effect": Effect(size=0.5), "mediators": (Linear("m", a=0.0, b=0.4, sd=1.0, interaction=0.3),)}
DDD = TripleDifference("dirt", ("0", "1"), controls=())
BY_M = Moderation("m", controls=())


EXACT = {"errors": Process(scale=0.0)}
DOSES = {**EXACT, "adoption": Dose(share=0.7, mean=3.0)}


@pytest.mark.parametrize(("design", "estimator"), [
    (world(**EXACT), DDD), (world(**EXACT, **MODERATED), BY_M), (world(**DOSES), DDD),
    (world(**DOSES, **MODERATED), BY_M),
], ids=["triple difference", "moderation", "triple difference of doses", "moderation of doses"])  # fmt: skip
def test_without_errors_every_draw_gives_its_truth(design: PanelDesign, estimator: Estimator) -> None:
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
def test_2000_intervals_cover_the_truth(design: PanelDesign, estimator: Estimator) -> None:
    targets = [target for term, target in estimator.layout(design.schema).targets.items() if "did" in term]
    streams, found = Streams(5, "coverage"), []
    wanted = Wanted(frozenset(design.schema.variables), tuple(targets))
    for start in range(0, 2000, 100):
        draw = design.settle(streams.within(f"world {start}")).draw(streams.tile(start, start + 100), wanted)
        got = estimator(draw.panel)
        assert (got.status == Status.OK).all()
        own = got.estimate[:, :2] - np.stack([draw.truth[target] for target in targets], axis=1)
        found.append(np.stack([own, critical_values(got.dof, 0.05)[:, -1, :2] * got.se[:, -1, :2]]))
    errors, margins = np.concatenate(found, axis=1)
    assert (np.abs(errors.mean(axis=0)) <= 4 * errors.std(axis=0) / np.sqrt(2000)).all()
    coverage = (np.abs(errors) <= margins).mean(axis=0)
    assert ((coverage >= 0.93) & (coverage <= 0.97)).all(), coverage


# Mistakes.


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        (Moderation("y"), "the moderator 'y' is the outcome"),
        (Moderation("did"), "the moderator 'did' is the treatment"),
        (Moderation("nope"), "no variable 'nope' in the panel"),
        (Moderation("inv", errors=("conley-taber",)), "conley-taber of a treatment beside its products"),
        (Moderation("inv", main=False, terms=("inv",)), "no term 'inv'"),
        (Moderation("still"), "variable 'still' is absorbed by the unit and time effects"),
        (Moderation("one", main=False), "'did x one' is constant|'did x one' is collinear"),
        (TripleDifference("nope", ("0", "1")), "group is 'nope'"),
        (TripleDifference("half", ("clean",)), "values = \\['clean'\\]; allowed: two distinct values"),
        (TripleDifference("half", ("clean", "clean")), "two distinct values"),
        (TripleDifference("half", ("clean", "dusty")), "no unit has half = dusty; allowed: clean, dirty"),
        (TripleDifference("inv", ("0", "1")), "the group 'inv' varies within units"),
        (TripleDifference("ever", ("0", "1")), "the treatment does not differ within ever = 0"),
        (TripleDifference("half", ("clean", "dirty"), errors=("ferman-pinto",)), "ferman-pinto of a treatment"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(estimator: Estimator, said: str) -> None:
    panel = panel_of()
    still = np.tile(np.arange(42.0), (1, 8, 1))
    panel = panel.with_variables({"still": still, "one": np.where(still > -1, 1.0, 0.0)})
    ever = panel.variables["did"][0].any(axis=0).astype(float)
    panel = replace(panel, attributes={**panel.attributes, "ever": ever})
    with pytest.raises(BadInput, match=said) as caught:
        estimator(panel)
    assert len(str(caught.value).splitlines()) == 1


def test_a_group_that_is_drawn_anew_is_refused() -> None:
    panel = small_panel(20, 5, replications=2, redrawn=True)
    drawn = panel.with_variables({"code": np.random.default_rng(1).integers(0, 2, (2, 5, 20)).astype(float)})
    refuses("varies within units", lambda: TripleDifference("code", ("0", "1"))(drawn))
