"""Weights of a panel: pyfixest, linearmodels, regressions on scaled columns and on copies, truth, invariances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from agreement import assert_agree, assert_batch_is_its_panels, in_another_order, of_units
from covering import covered
from mediation_panels import panel_of
from numpy.typing import NDArray
from refusals import refuses

import estimators as est
from estimators.core.estimator import Estimator, estimators
from estimators.core.tile import weight_root
from estimators.matching import weighted_two_way
from estimators.mediation import weighted_paths
from estimators.permutation import Draws
from estimators.sensitivity.differences import Differences
from experiments.references.reference import long_frame
from references.cohort_effects_twin import Twin
from references.pyfixest_reference import feols
from references.regressions import EFFECTS, dummies_of, panel_ols
from references.small_panels import adopting, changed, small_panel, uneven, weighted
from references.staggered_panels import adoption_of, staggered_panel
from sim import Panel, Roles, Streams
from sim.panel_sidecars import panel_from, panel_text

Floats = NDArray[np.float64]
NAMES = ("did", "inv", "road")
ERRORS = ("iid", "hc1", "cluster:unit", "cluster:province")
EVERY_ERROR = (*ERRORS, "cluster:period", "cluster:province+period", "driscoll-kraay", "cv3:unit", "cv3:province",
               "cr2:unit", "cr2:province", "wild:province")  # fmt: skip
STAGGERED = (
    est.EventStudy(window=(-3, 4)), est.SunAbraham(window=(-3, 4)), est.SunAbraham(estimated_shares=False),
    est.Stacked(window=(-2, 2)), est.Stacked(window=(-2, 2), weighting="corrective"), est.Imputation(),
    est.Imputation(averages="event"), est.TwoStage(), est.CallawaySantAnna(),
    est.CallawaySantAnna(method="dr", covariates=("inv",), controls="not-yet"),
    est.CallawaySantAnna(method="ipw", covariates=("inv",), base="universal"),
    est.CallawaySantAnna(method="regression", covariates=("inv",)),
)  # fmt: skip


def copied(panel: Panel, copies: NDArray[np.int_]) -> Panel:
    """Every unit as often as counted, with a unit effect for each copy and the unit that it is of as `own`."""
    places = np.repeat(np.arange(len(panel.units)), copies)
    return replace(
        panel, units=tuple(f"{panel.units[i]}, {k}" for k, i in enumerate(places)), weights={},
        variables={name: values[:, :, places] for name, values in panel.variables.items()},
        attributes={name: values[places] for name, values in panel.attributes.items()} | {"own": places},
        observed=None if panel.observed is None else panel.observed[:, :, places],
    )  # fmt: skip


def scaled_columns(panel: Panel, effects: tuple[str, ...]) -> Panel:
    """A panel of y, regressors and independent columns of effects, each times the root of its weights, without any."""
    mask = panel.observed[0]
    columns = np.zeros((*mask.shape, dummies_of(long_frame(panel, ("y",)), effects).shape[1]))
    columns[mask] = dummies_of(long_frame(panel, ("y",)), effects)
    columns = np.moveaxis(columns, 2, 0)
    root = np.sqrt(np.where(mask, panel.variables["pop"][0], 0.0))
    kept: list[Floats] = []
    for column in columns:
        rank = np.linalg.matrix_rank(np.array([*kept, column * root]).reshape(len(kept) + 1, -1), rtol=1e-9)
        kept += [column * root] if rank > len(kept) else []
    made = {f"e{k}": values[None] for k, values in enumerate(kept)}
    own = {name: np.where(mask, panel.variables[name], 0.0) * root for name in ("y", *NAMES)}
    return replace(panel, variables=own | made, roles=Roles("y", "did", (*NAMES[1:], *made)))


@pytest.mark.parametrize("name", ["pooled", "unit", "period", "two-way", "province-by-period", "two-way with trend"])
def test_every_error_is_that_of_scaled_columns_without_weights(name: str) -> None:
    effects = EFFECTS[name]
    panel = uneven(small_panel(21, 5, seed=8, missing=9))
    apart = "cluster:province+period" if effects else ""  # floored in the matrix of all columns, dummies among them
    errors = tuple(error for error in EVERY_ERROR if error != apart)
    settings: dict[str, Any] = {"errors": errors, "draws": 99, "singletons": "keep", "cluster_k": "all"}
    ours = est.TwoWayDID(effects=effects, constant=not effects, **settings)(panel, Streams(4))
    plain = est.TwoWayDID(effects=(), **settings)(scaled_columns(panel, effects), Streams(4)).only(NAMES)
    assert_agree(ours.only(NAMES), plain, rtol=1e-8, atol=1e-9)
    assert ours.statistics["nobs"] == [96]


@pytest.mark.parametrize("missing", [0, 20])
def test_a_constant_is_the_difference_of_weighted_means(missing: int) -> None:
    panel = uneven(small_panel(30, 6, seed=4, missing=missing))
    ours, bare = panel_ols(errors=ERRORS)(panel), est.TwoWayDID(errors=ERRORS)(panel)
    seen = np.ones((6, 30), bool) if panel.observed is None else panel.observed[0]
    values = {name: panel.variables[name][0][seen] for name in ("y", *NAMES, "pop")}
    mean = {name: np.average(values[name], weights=values["pop"]) for name in ("y", *NAMES)}
    assert ours.estimate[0, 3] == pytest.approx(mean["y"] - bare.estimate[0] @ [mean[name] for name in NAMES])
    np.testing.assert_allclose(ours.estimate[0, :3], bare.estimate[0], rtol=1e-11)
    np.testing.assert_allclose(ours.se[0, :, :3], bare.se[0], rtol=1e-11)
    one = np.linspace(0.2, 3.0, 30)  # of units alone, by the regression of matched samples
    fixed = weighted(panel, one)
    twin = weighted_two_way(panel, "y", NAMES, (*ERRORS, "cluster:province+period", "driscoll-kraay"), one)
    again = panel_ols(errors=(*ERRORS, "cluster:province+period", "driscoll-kraay"))(fixed)
    np.testing.assert_allclose(again.estimate, twin.estimate, rtol=1e-10)
    np.testing.assert_allclose(again.se, twin.se, rtol=1e-9)


def takers(panel: Panel) -> list[Estimator]:
    """Estimators of a staggered panel that take weights."""
    return [
        est.TwoWayDID(errors=("iid", "hc1", "cluster:unit", "cv3:unit", "cr2:unit", "wild:province"), draws=99),
        est.TwoWayDID(effects=("unit", "period", "unit-trend")), panel_ols(effects=()),
        est.InteractionTest("region", ("a", "b"), draws=19), est.PsmDID(), Differences(),
        est.Mediation(mediator="inv", regressors=("did", "road"), errors=("delta", "bootstrap:unit"), draws=99),
        est.Mediation(mediator="inv", regressors=("did",), instruments=("road",)),
        est.PanelIV(regressors=("did",), endogenous=("inv",), instruments=("road",)), est.Moderation("inv"),
        est.TripleDifference("region", ("a", "b")),
        est.PermutationTest(draws=99), *STAGGERED,
    ]  # fmt: skip


def by_region(panel: Panel) -> Panel:
    """With every other unit in another region."""
    region = np.where(np.arange(len(panel.units)) % 2 == 0, "a", "b")
    return replace(panel, attributes={**panel.attributes, "region": region}, weights={})


def test_equal_weights_are_no_weights() -> None:
    """Up to the last digits, which differ so that nothing is equal by construction."""
    panel = by_region(staggered_panel(seed=2, replications=2))
    rng = np.random.default_rng(1)
    alike = weighted(panel, 37.0 * (1 + 1e-14 * rng.random((8, 25))))
    for estimator in takers(panel):
        plain, same = estimator(panel, Streams(3).tile(0, 2)), estimator(alike, Streams(3).tile(0, 2))
        assert_agree(same, plain, rtol=1e-10, atol=1e-10)


def test_the_scale_of_weights_and_the_order_of_units_do_not_matter() -> None:
    panel = uneven(by_region(staggered_panel(seed=2)))
    moved = in_another_order(weighted(panel, 1e9 * panel.variables["pop"]))[0]
    drawn = {"permutation", "mediation", "interaction"}  # what they draw hangs on the order
    for estimator in takers(panel):
        found = estimator(moved, Streams(3))
        wanted = estimator(panel, Streams(3))
        if estimator.kind in drawn:
            np.testing.assert_allclose(found.estimate, wanted.estimate, rtol=1e-9, atol=1e-10)
        elif estimator.kind != "did":
            assert_agree(found, wanted, rtol=1e-9, atol=1e-10)
        else:
            np.testing.assert_allclose(found.se, wanted.se, rtol=1e-9)


@pytest.mark.parametrize("estimator", STAGGERED, ids=lambda one: f"{one.kind}-{getattr(one, 'method', '')}")
def test_staggered_estimators_are_those_of_copies(estimator: Any) -> None:
    panel = staggered_panel(replications=2)
    copies = np.random.default_rng(2).integers(1, 5, len(panel.units))
    ours = estimator(weighted(panel, 0.37 * copies))
    many = replace(estimator, errors=("cluster:own",))(copied(panel, copies))
    np.testing.assert_allclose(ours.estimate, many.estimate, rtol=1e-9, atol=1e-10)
    known = np.isfinite(ours.se)
    np.testing.assert_array_equal(known, np.isfinite(many.se))
    ratio = (ours.se / many.se)[known]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)
    if estimator.kind in ("imputation", "two-stage", "callaway-santanna"):  # without a factor
        assert ratio[0] == pytest.approx(1.0, rel=1e-9)
    assert_batch_is_its_panels(estimator, weighted(panel, 0.37 * copies))


def one_date(missing: int = 0) -> Panel:
    """Half of 24 units treated from the fourth of 8 periods on, with a region and each unit as an attribute."""
    panel = adopting(small_panel(24, 8, seed=6, missing=missing), (3, slice(None, None, 2)))
    attributes = {"own": np.arange(24), "region": np.array(["a", "a", "b", "b"] * 6)}
    return replace(panel, attributes=attributes, weights={})


LINEAR = (
    est.PanelIV(regressors=("did",), endogenous=("inv",), instruments=("road",), errors=("cluster:own",)),
    est.Moderation("inv", errors=("cluster:own",)),
    est.TripleDifference("region", ("a", "b"), errors=("cluster:own",)),
    est.Ancova(controls=("inv",), errors=("cluster:own",)), est.PostOnly(errors=("cluster:own",)),
)  # fmt: skip


@pytest.mark.parametrize("missing", [0, 30])
@pytest.mark.parametrize("estimator", LINEAR, ids=lambda one: one.kind)
def test_linear_estimators_are_those_of_copies(estimator: Any, missing: int) -> None:
    panel = one_date(missing)
    copies = np.random.default_rng(2).integers(1, 5, 24)
    ours, many = estimator(weighted(panel, 0.37 * copies)), estimator(copied(panel, copies))
    np.testing.assert_allclose(ours.estimate, many.estimate, rtol=1e-9, atol=1e-10)
    ratio = ours.se / many.se
    np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-9)
    assert ours.statistics["nobs"] < many.statistics["nobs"]
    assert_agree(estimator(weighted(panel, np.full(24, 5.0))), estimator(panel), rtol=1e-10, atol=1e-11)
    assert_agree(estimator(weighted(panel, 1e9 * copies)), ours, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("estimator", LINEAR, ids=lambda one: one.kind)
def test_a_batch_of_weighted_panels_is_its_panels(estimator: Any) -> None:
    panel, rng = one_date(30), np.random.default_rng(7)
    y = panel.variables["y"] + rng.standard_normal((3, 8, 24))
    fixed = uneven(panel.with_variables({"y": y}))
    assert_batch_is_its_panels(estimator, fixed)
    names = {name: fixed.variables[name] + rng.standard_normal((3, 8, 24)) for name in ("inv", "road")}
    did = np.stack([fixed.variables["did"][0][:, rng.permutation(24)] for _ in range(3)])
    assert_batch_is_its_panels(estimator, fixed.with_variables({**names, "did": did}))


@pytest.mark.parametrize("missing", [0, 30])
def test_an_absorbed_instrument_of_a_weighted_panel_is_refused(missing: int) -> None:
    panel = uneven(one_date(missing))
    shape = panel.variables["did"].shape
    levels = np.broadcast_to(np.random.default_rng(1).standard_normal(24), shape).copy()
    panel = panel.with_variables({"place": levels, "made": 3 * panel.variables["road"] + levels})
    for name, words in (("place", "absorbed by the unit and time effects"), ("made", "collinear with")):
        estimator = est.PanelIV(regressors=("did", "road"), endogenous=("inv",), instruments=(name,))
        refuses(f"instrument '{name}' is {words}", lambda estimator=estimator: estimator(panel))


def test_the_weights_of_the_first_period_are_those_of_cohorts() -> None:
    """But for the event study, a regression, which takes the weight of each unit-period."""
    panel = uneven(staggered_panel(seed=6))
    first = weighted(panel, panel.variables["pop"][:, :1])
    for estimator in STAGGERED:
        found, fixed = estimator(panel), estimator(first)
        if estimator.kind == "event-study":
            assert (np.abs(found.estimate - fixed.estimate) > 1e-3).any()
        else:
            assert_agree(found, fixed)


@covered(controls=["never", "not-yet"], method=["unconditional", "regression", "ipw", "dr"])
def test_cohort_effects_are_those_of_loops_and_derivatives(method: Any, controls: Any) -> None:
    panel = uneven(staggered_panel(seed=3, size=6, never=12), fixed=True)
    covariates = () if method == "unconditional" else ("inv",)
    years = panel.periods
    found = est.CallawaySantAnna(method=method, covariates=covariates, controls=controls, window=(-3, 4),
                             cohorts=(2003, 2005), years=(2006,))  # fmt: skip
    adoption = adoption_of(panel)
    first = np.where(np.isinf(adoption), len(years), np.nan_to_num(adoption, posinf=0) - years[0]).astype(int)
    x = np.stack([panel.variables[name][0] for name in covariates], axis=-1) if covariates else np.empty((8, 30, 0))
    weights = panel.variables["pop"][0, 0] / panel.variables["pop"][0, 0].mean()
    twin = Twin(panel.variables["y"][0], first, weights, x, controls, method)
    terms = twin.terms()
    influence = twin.influence()
    named = {"cohort(2003)": "cohort(2)", "cohort(2005)": "cohort(4)", "calendar(2006)": "calendar(5)",
             "att(2003,2006)": "att(2,5)", "att(2005,2006)": "att(4,5)"}  # fmt: skip
    got = found(panel)
    for k, term in enumerate(got.terms):
        name = named.get(term, term)
        if np.isfinite(got.estimate[0, k]):
            assert got.estimate[0, k] == pytest.approx(terms[name], rel=1e-8)
        if np.isfinite(got.se[0, 0, k]):
            score = influence[name] * weights  # a unit's own weight is as it was drawn
            assert got.se[0, 0, k] == pytest.approx(np.sqrt(score @ score), rel=1e-5)


@pytest.mark.parametrize("missing", [0, 14])
def test_mediation_is_two_weighted_regressions(missing: int) -> None:
    panel = uneven(panel_of(24, 6, missing=missing))
    found = est.Mediation(errors=("delta",), cluster_k="slopes")(panel)
    settings: dict[str, Any] = {"errors": ("cluster:unit",), "cluster_k": "slopes"}
    first = est.TwoWayDID("m", NAMES, **settings)(panel)
    second = est.TwoWayDID("y", (*NAMES, "m"), **settings)(panel)
    total = est.TwoWayDID("y", NAMES, **settings)(panel)
    wanted = {"a": first, "b": second, "nde": second, "total": total}
    for term, fit in wanted.items():
        at = fit.terms.index("m" if term == "b" else "did")
        assert found.params[term] == pytest.approx(fit.estimate[0, at], rel=1e-10)
        assert found.std_errors[term] == pytest.approx(fit.se[0, 0, at], rel=1e-9)
    system, _ = est.Mediation().fitted(panel)
    counts = np.random.default_rng(1).integers(0, 3, 24)
    got = weighted_paths(system.replication(0), counts[None].astype(float), system.mask)[0]
    again = est.Mediation(errors=("delta",))(copied(panel, counts))
    np.testing.assert_allclose(got, again.estimate[0, :3], rtol=1e-9)


def test_groups_of_the_interaction_test_are_weighted_regressions_of_their_own() -> None:
    panel = uneven(by_region(small_panel(40, 8, seed=5, missing=23)))
    found = est.InteractionTest("region", ("a", "b"), errors=("hc1", "cluster:unit"), cluster_k="slopes")(panel)
    parts = [of_units(panel, panel.attributes["region"] == value) for value in ("a", "b")]
    own = [est.TwoWayDID(errors=("hc1",))(part) for part in parts]
    assert found.estimate[0, 0] == pytest.approx(own[0].estimate[0, 0], rel=1e-10)
    assert found.estimate[0, 1] == pytest.approx(own[1].estimate[0, 0] - own[0].estimate[0, 0], rel=1e-10)
    together = of_units(panel, np.ones(40, bool))
    doubled = {f"{name}_{value}": values * (panel.attributes["region"] == value)
               for value in ("a", "b") for name, values in panel.variables.items() if name in NAMES}  # fmt: skip
    names = tuple(doubled)
    wide = est.TwoWayDID("y", names, ("hc1", "cluster:unit"), "slopes", effects=("unit", "region-by-period"))
    whole = wide(together.with_variables(doubled))
    np.testing.assert_allclose(found.se[0, :, 0], whole.se[0, :, names.index("did_a")], rtol=1e-9)


def test_matched_samples_are_weighted_by_the_product() -> None:
    panel = uneven(small_panel(40, 8, seed=5))
    found = est.PsmDID(caliper=0.3)
    cells = found.match(panel).weights * panel.variables["pop"][0]
    wanted = weighted_two_way(replace(panel, roles=replace(panel.roles, weight=None)), "y", NAMES, found.errors, cells)
    np.testing.assert_allclose(found(panel).estimate, wanted.estimate, rtol=1e-10)


def test_differences_are_those_of_weighted_regressions() -> None:
    panel = uneven(small_panel(40, 8, seed=5, missing=9))
    asked = ("effects:unit-trend", "controls:none", "without:province=p1")
    found = Differences(alternatives=asked)(panel)
    fits = (est.TwoWayDID(effects=("unit", "period", "unit-trend")), est.TwoWayDID(regressors=("did",)))
    wanted = [fit(panel).estimate[0, 0] for fit in fits]
    wanted += [est.TwoWayDID()(of_units(panel, panel.attributes["province"] != "p1")).estimate[0, 0]]
    own = [found.params[f"alternative:{text}"] for text in asked]
    np.testing.assert_allclose(own, wanted, rtol=1e-9)
    claim = est.TwoWayDID(errors=("cluster:unit",))(panel)
    assert found.params["did"] == pytest.approx(claim.estimate[0, 0], rel=1e-10)
    assert found.std_errors["did"] == pytest.approx(claim.se[0, 0, 0], rel=1e-9)


def test_other_alternatives_are_those_of_weighted_estimators() -> None:
    panel = uneven(staggered_panel(seed=2), fixed=True)
    found = Differences(alternatives=("trend", "lead:1", "cohort-wise", "imputed"))(panel)
    first, years = adoption_of(panel), np.array(panel.periods, dtype=np.float64)[:, None]
    slope = (years - years.mean()) * np.isfinite(first)
    variables = {"slope": slope[None], "moved": (years >= first - 1)[None] * 1.0}
    more, untreated = panel.with_variables(variables), (years < first)[None]
    settings: dict[str, Any] = {"errors": ("iid",), "singletons": "keep"}
    before = replace(more, observed=untreated)
    claim = est.TwoWayDID(**settings)(panel).estimate[0, 0]
    kappa = est.TwoWayDID(outcome="slope", **settings)(more).estimate[0, 0]
    g = est.TwoWayDID(regressors=("slope", "inv", "road"), **settings)(before).estimate[0, 0]
    early = est.TwoWayDID(regressors=("moved", "inv", "road"), **settings)(before).estimate[0, 0]
    bare = est.TwoWayDID(regressors=("did",), **settings)(panel).estimate[0, 0]
    cohorts = est.CallawaySantAnna(window=(0, 0))(panel).params["overall"]
    wanted = {"trend": claim - kappa * g, "lead:1": claim - early, "cohort-wise": claim + cohorts - bare,
              "imputed": est.Imputation(window=(0, 0))(panel).params["overall"]}  # fmt: skip
    for text, value in wanted.items():
        assert found.params[f"alternative:{text}"] == pytest.approx(value, rel=1e-9), text


def test_weights_stay_with_their_units_when_treatments_are_drawn() -> None:
    panel = uneven(small_panel(20, 6, seed=2))
    test = est.PermutationTest.of(est.TwoWayDID(regressors=("did",)), draws=99)
    found = test(panel, Streams(1))
    draws = Draws.of(panel, "space", 99, 0)
    assigned = draws.randomisation.variables(draws.codes)["did"]
    paths = [panel.with_variables({"did": one[None].copy()}) for one in assigned]
    drawn = np.array([est.TwoWayDID(regressors=("did",))(one).estimate[0, 0] for one in paths])
    real = est.TwoWayDID(regressors=("did",))(panel).estimate[0, 0]
    share = (1 + (np.abs(drawn) >= abs(real) * (1 - 1e-9)).sum()) / (1 + len(drawn))
    assert found.params["did"] == pytest.approx(real, rel=1e-12)
    assert found.pvalue[0, 0, 0] == pytest.approx(share)


def test_estimators_of_a_weighted_panel_take_weights_or_say_so() -> None:
    panel = small_panel(30, 14, seed=2)
    panel = replace(panel, attributes={**panel.attributes, "region": np.array(["a", "b"] * 15)})
    together = np.arange(14)[:, None] >= np.array([14, 14, 14, 7, 7])[np.arange(30) % 5]
    settings: dict[str, dict[str, Any]] = {
        "interaction": {"group": "region", "values": ("a", "b")},
        "triple-difference": {"group": "region", "values": ("a", "b")}, "moderation": {"moderator": "inv"},
        "iv": {"regressors": ("did",), "endogenous": ("inv",), "instruments": ("road",)},
        "mediation": {"mediator": "inv", "regressors": ("did",)},
    }  # fmt: skip
    moved = set()
    for kind, cls in estimators().items():
        estimator = cls(**settings.get(kind, {}))
        one = panel.with_variables({"did": together[None] * 1.0}) if kind in ("ancova", "post-only") else panel
        by = uneven(one)
        if cls.weight_use == "refused":
            renamed = replace(estimator, label="table-M-column-1") if hasattr(estimator, "label") else estimator
            (problem,) = refuses("cannot take weights", renamed.layout, by.schema).problems
            assert problem.what == f"the estimator {kind} cannot take weights: the panel is weighted by 'pop'"
            assert {"did", "iv", "moderation"} <= set(problem.allowed.replace(",", "").split())
            continue
        plain, own = estimator(one, Streams(1)), estimator(by, Streams(1))
        same = np.array_equal(own.estimate, plain.estimate, equal_nan=True)
        assert same == (cls.weight_use == "ignored"), kind
        assert ("pop" in estimator.variables(by.schema)) == (cls.weight_use == "used"), kind
        moved |= {kind} if not same else set()
    assert {"did", "mediation", "psm-did", "imputation", "stacked", "callaway-santanna", "iv", "moderation",
            "triple-difference", "ancova", "post-only"} <= moved  # fmt: skip


@pytest.mark.parametrize("error", ["conley-taber", "ferman-pinto"])
def test_placebos_of_few_treated_units_refuse_weights(error: str) -> None:
    refuses(f"{error} cannot take weights", lambda: est.TwoWayDID(errors=(error,))(uneven(small_panel())))


def test_weights_that_are_missing_not_positive_or_differ_between_replications_are_bad_input() -> None:
    for value in (0.0, -2.0):
        other = changed(uneven(small_panel()), "pop", (0, 2, 3), value)
        refuses(f"the weight 'pop' is {value:g} for unit unit 003 in 2003", est.TwoWayDID(), other)
    panel = uneven(small_panel(replications=2))
    other = replace(panel, roles=replace(panel.roles, weight="people"))
    redrawn = panel.with_variables({"pop": panel.variables["pop"] + np.arange(2.0)[:, None, None]})
    refuses("no variable 'people' in the panel", lambda: est.TwoWayDID()(other))
    refuses("replications differ in the weight 'pop'", lambda: est.TwoWayDID()(redrawn))


def test_panels_keep_their_weights() -> None:
    panel = uneven(small_panel(12, 5, seed=1))
    bare = replace(panel, roles=replace(panel.roles, weight=None))
    again = panel_from(panel_text(panel), "here", "write it again")
    assert again.roles == panel.roles
    assert again.digest == panel.digest != bare.digest
    assert "weighted by" in panel._repr_html_()
    root = weight_root(panel)
    assert root is not None
    np.testing.assert_allclose(np.square(root).sum(), 60.0)
    assert weight_root(bare) is None


def test_castle_doctrine_laws_raise_homicide_by_population_alone() -> None:
    """Cheng and Hoekstra (2013): weighted by population the effect is significant at 5%, unweighted not at 10%."""
    castle = pytest.importorskip("causaldata").castle
    frame = castle.load_pandas().data[["sid", "year", "l_homicide", "post", "popwt"]].astype(float)
    frame = frame.astype({"sid": int, "year": int})  # the others are floats of 4 bytes in the file
    by = Panel.from_frame(frame, unit="sid", period="year", roles=Roles("l_homicide", "post", weight="popwt"))
    plain = replace(by, roles=replace(by.roles, weight=None))
    found, other = (est.TwoWayDID(errors=("cluster:unit",))(panel) for panel in (by, plain))
    assert found.pvalues["did"] < 0.05
    assert other.pvalues["did"] > 0.10
    fit = feols("l_homicide ~ post | sid + year", frame, {"CRV1": "sid"}, weights="popwt", weights_type="aweights")
    assert found.params["did"] == pytest.approx(fit.coef()["post"], rel=1e-8)
    assert found.std_errors["did"] == pytest.approx(fit.se()["post"], rel=1e-8)
