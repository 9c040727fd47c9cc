"""Interactive effects: slow programs, an optimiser, numbers of factors, truth under simulation, invariances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from estimators import InteractiveEffects, Status, TwoWayDID
from estimators.core.estimator import Estimator
from estimators.synthetic.interactive_effects import (
    CRITERIA,
    FactorForm,
    PeriodMoments,
    chosen_ranks,
    first_vectors,
    fitted,
)
from references.completion_programs import factor_panel, plain_generalised_synthetic, plain_interactive
from sim import BadInput, Panel, Roles

FORMS: tuple[FactorForm, ...] = ("imputation", "regression")


def regressors(panel: Panel, row: int) -> list[np.ndarray]:
    return [panel.variables[name][min(row, len(panel.variables[name]) - 1)] for name in panel.roles.controls]


@pytest.mark.parametrize("covariate", [None, 0.8])
@pytest.mark.parametrize("staggered", [False, True])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_imputation_is_the_slow_program(covariate: float | None, staggered: bool, rank: int) -> None:
    panel = factor_panel(replications=2, covariate=covariate, staggered=staggered, units=18, periods=14, treated=5)
    got = InteractiveEffects(factors=rank)(panel)
    for row in range(2):
        y, did = panel.variables["y"][row], panel.variables["did"][0]
        wanted = plain_generalised_synthetic(y, did, regressors(panel, row), rank)
        assert got.estimate[row, 0] == pytest.approx(wanted, abs=1e-7)
    np.testing.assert_array_equal(got.statistics["factors"], rank)


@pytest.mark.parametrize("covariate", [None, 0.8])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_regression_is_the_slow_program(covariate: float | None, rank: int) -> None:
    panel = factor_panel(replications=2, covariate=covariate, staggered=True, units=18, periods=14, treated=5)
    got = InteractiveEffects(form="regression", factors=rank)(panel)
    for row in range(2):
        x = [panel.variables["did"][0], *regressors(panel, row)]
        b, _, _ = plain_interactive(panel.variables["y"][row], x, rank)
        assert got.estimate[row, 0] == pytest.approx(b[0], abs=1e-7)


def test_of_several_minima_it_is_the_lowest() -> None:
    """Against eight other starts each, on panels that are small for their factors: a fit from the slopes without
    factors alone ends elsewhere on some of them."""
    ends = np.empty((30, 9))
    for seed in range(30):
        rng = np.random.default_rng(seed)
        factors, loadings = rng.normal(size=(10, 2)), rng.normal(size=(2, 20))
        common = factors @ loadings
        x = rng.normal(size=(10, 20)) + common
        d = ((loadings[0] > 0.3) & (np.arange(10)[:, None] >= 5)) * 1.0
        y = rng.normal(size=(10, 20)) + 2 * common + d + x
        moments = PeriodMoments.of(np.stack([y, d, x])[None], np.ones((1, 20), dtype=bool))
        starts = [None, *rng.normal(scale=3.0, size=(8, 1, 2))]
        for k, start in enumerate(starts):
            b = fitted(moments, 1, start)[0]
            ends[seed, k] = np.linalg.eigvalsh(moments.of_rest(b))[0, :-1].sum()
    assert (ends[:, 0] <= ends.min(axis=1) * (1 + 1e-6)).all()
    assert (ends.max(axis=1) > ends.min(axis=1) * (1 + 1e-3)).any()


def test_a_jackknife_without_enough_units_has_no_error() -> None:
    """With a unit less two never treated ones are left, whose outcomes every slope fits beside one factor."""
    rng = np.random.default_rng(1)
    first = np.array([3, 4, 4, 7, 7, 7])
    d = (np.arange(7)[:, None] >= first) * 1.0
    x = rng.normal(size=(7, 6))
    y = 0.5 * rng.normal(size=(7, 6)) + rng.normal(size=(7, 1)) @ rng.normal(size=(1, 6)) + d + x
    panel = Panel(tuple("abcdef"), tuple(range(7)), {"y": y[None], "did": d[None], "x": x[None]},
                  roles=Roles("y", "did", ("x",)))  # fmt: skip
    found = InteractiveEffects(factors=1, errors=("jackknife:unit",))(panel)
    assert np.isfinite(found.estimate[0, 0])
    assert np.isnan(found.se).all()


@pytest.mark.parametrize("form", FORMS)
def test_without_factors_it_is_two_way_did(form: FactorForm) -> None:
    panel = factor_panel(replications=3)
    got = InteractiveEffects(form=form, factors=0)(panel)
    np.testing.assert_allclose(got.estimate, TwoWayDID()(panel).estimate, rtol=1e-9)


def test_factors_without_noise_are_found_exactly() -> None:
    panel = factor_panel(noise=0.0, effect=0.7, staggered=True, covariate=0.4)
    for form in FORMS:
        found = InteractiveEffects(form=form, factors=2)(panel)
        assert found.estimate[0, 0] == pytest.approx(0.7, abs=1e-8)
        assert abs(InteractiveEffects(form=form, factors=0)(panel).estimate[0, 0] - 0.7) > 0.3


@pytest.mark.parametrize(("units", "periods", "rank"), [(100, 40, 1), (100, 60, 3), (50, 60, 1), (200, 60, 5)])
def test_numbers_of_factors_in_the_worlds_of_bai_and_ng(units: int, periods: int, rank: int) -> None:
    """Their section 5: standard normal factors and loadings, independent errors with the variance r of the common part;
    kmax = 8. IC_p1 and IC_p2 find r."""
    rng = np.random.default_rng(units + rank)
    x = rng.standard_normal((8, periods, rank)) @ rng.standard_normal((8, rank, units))
    x = x + np.sqrt(rank) * rng.standard_normal(x.shape)
    moments = PeriodMoments.of(x[:, None], np.ones((8, units), dtype=bool))
    np.testing.assert_array_equal(chosen_ranks(moments, "ic1", np.full(8, 8)), rank)
    np.testing.assert_array_equal(chosen_ranks(moments, "ic2", np.full(8, 8)), rank)


def test_criteria_by_hand() -> None:
    """Scores of each number of factors from a decomposition of the demeaned panel, with a covariate taken out."""
    panel = factor_panel(replications=3, covariate=0.5, units=26, periods=15, strength=0.6)
    y, x = panel.variables["y"], panel.variables["x"][0]
    variables = np.stack([y, np.broadcast_to(x, y.shape)], axis=1)
    moments = PeriodMoments.of(variables, np.ones((3, 26), dtype=bool))
    both, least = (26 + 15) / (26 * 15), 15
    prices = {"ic1": both * np.log(1 / both), "ic2": both * np.log(least), "ic3": np.log(least) / least}
    seen = set()
    for criterion in CRITERIA:
        got = chosen_ranks(moments, criterion, np.full(3, 3))
        for row in range(3):
            scores = []
            for k in range(4):
                b, _, common = plain_interactive(y[row], [x], k)
                rest = y[row] - b[0] * x
                rest = rest - rest.mean(axis=0) - rest.mean(axis=1, keepdims=True) + rest.mean()
                scores.append(np.log(np.square(rest - common).mean()) + k * prices[criterion])
                if k == 0:
                    values = np.square(np.linalg.svd(rest, compute_uv=False))
                    most = int((values >= values.sum() / least).sum())
            assert got[row] == int(np.argmin(scores[: most + 1]))
            seen.add(int(got[row]))
    assert len(seen) > 1


def test_factors_are_no_more_than_the_eigenvalues_above_their_mean() -> None:
    """In small panels of nothing but noise a criterion alone takes more of them in some."""
    y = np.random.default_rng(7).standard_normal((40, 8, 11))
    got = chosen_ranks(PeriodMoments.of(y[:, None], np.ones((40, 11), dtype=bool)), "ic3", np.full(40, 6))
    rest = y - y.mean(axis=1, keepdims=True) - y.mean(axis=2, keepdims=True) + y.mean(axis=(1, 2), keepdims=True)
    values = np.square(np.linalg.svd(rest, compute_uv=False))
    left = values.sum(axis=1)[:, None] - np.column_stack([np.zeros(40), np.cumsum(values, axis=1)[:, :6]])
    scores = np.log(left) + np.arange(7) * np.log(8) / 8
    large = (values >= values.sum(axis=1)[:, None] / 8).sum(axis=1)
    wanted = np.where(np.arange(7) <= large[:, None], scores, np.inf).argmin(axis=1)
    np.testing.assert_array_equal(got, wanted)
    assert (scores.argmin(axis=1) > large).any()


def test_numbers_of_factors_leave_room_for_loadings() -> None:
    """With three periods before adoption one factor of two is tried: a unit effect and a loading leave one."""
    panel = factor_panel(units=40, periods=20, last=17, treated=6, noise=0.01, strength=4.0)
    assert InteractiveEffects(most_factors=8)(panel).statistics["factors"][0] == 1
    assert InteractiveEffects(most_factors=8, form="regression")(panel).statistics["factors"][0] == 2
    assert InteractiveEffects(most_factors=1)(panel).statistics["factors"][0] == 1


def test_first_vectors_are_orthonormal_and_signed() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 7, 20))
    found = first_vectors(x @ x.transpose(0, 2, 1), 3)
    for k in range(3):
        np.testing.assert_allclose(found[k].T @ found[k], np.eye(3), atol=1e-12)
        left = np.linalg.svd(x[k])[0][:, :3]
        np.testing.assert_allclose(np.abs(left.T @ found[k]), np.eye(3), atol=1e-10)
        assert (found[k].sum(axis=0) >= 0).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("error", ["jackknife:unit", "placebo:unit", "bootstrap:unit"])
def test_levels_scale_and_covariates(form: FactorForm, error: str) -> None:
    panel = factor_panel(replications=1, covariate=0.5, staggered=True)
    estimator = InteractiveEffects(form=form, errors=(error,), draws=20)
    rng, y = np.random.default_rng(3), panel.variables["y"]
    wanted = estimator(panel)
    levels = panel.with_variables({"y": y + rng.normal(0, 5, 24) + rng.normal(0, 5, 16)[:, None]})
    moved = panel.with_variables({"y": y + 2 * panel.variables["x"]})
    scaled = panel.with_variables({"y": 1000 * y})
    for changed, factor in ((levels, 1.0), (moved, 1.0), (scaled, 1000.0)):
        got = estimator(changed)
        np.testing.assert_allclose(got.estimate, factor * wanted.estimate, rtol=1e-6)
        np.testing.assert_allclose(got.se, factor * wanted.se, rtol=1e-5)
        np.testing.assert_array_equal(got.statistics["factors"], wanted.statistics["factors"])


@pytest.mark.parametrize("form", FORMS)
def test_order_of_units(form: FactorForm) -> None:
    panel = factor_panel(replications=2, covariate=0.5, staggered=True)
    order = np.random.default_rng(1).permutation(24)
    shuffled = replace(
        panel, units=tuple(panel.units[i] for i in order),
        variables={name: values[:, :, order] for name, values in panel.variables.items()},
    )  # fmt: skip
    one, other = (InteractiveEffects(form=form)(each) for each in (panel, shuffled))
    np.testing.assert_allclose(one.estimate, other.estimate, rtol=1e-7)
    np.testing.assert_allclose(one.se, other.se, rtol=1e-6)


def test_units_that_are_treated_all_the_time_take_no_part() -> None:
    panel = factor_panel(covariate=0.5)
    did = np.array(panel.variables["did"])
    never = int(np.flatnonzero(~did[0].any(axis=0))[0])
    did[:, :, never] = 1.0
    kept = np.arange(24) != never
    whole = panel.with_variables({"did": did})
    without = replace(
        panel, units=tuple(np.array(panel.units)[kept]),
        variables={name: values[:, :, kept] for name, values in panel.variables.items()},
    )  # fmt: skip
    for form in FORMS:
        estimator: Estimator = InteractiveEffects(form=form, factors=2)
        np.testing.assert_allclose(estimator(whole).estimate, estimator(without).estimate, rtol=1e-9)


def test_completed_outcomes_of_never_treated_units_are_their_fit() -> None:
    """What is left of them is orthogonal to the factors, and the effect is measured from what is completed."""
    panel = factor_panel(replications=2)
    estimator = InteractiveEffects(factors=2)
    did = panel.variables["did"]
    rest = panel.variables["y"] - estimator.completed(panel)
    gap = (did * rest).sum(axis=(1, 2)) / did.sum()
    np.testing.assert_allclose(gap, estimator(panel).estimate[:, 0], rtol=1e-12)
    never = ~did[0].any(axis=0)
    for row in range(2):
        _, factors, _ = plain_interactive(panel.variables["y"][row][:, never], [], 2)
        np.testing.assert_allclose(factors.T @ rest[row][:, never], 0, atol=1e-8)


def test_panels_that_cannot_serve() -> None:
    panel = factor_panel(units=10, periods=8, treated=3, last=6)
    with pytest.raises(BadInput, match="after too few periods for 2 factors; allowed: 3 or more periods"):
        InteractiveEffects(factors=2)(panel)
    everybody = np.array(panel.variables["did"])
    everybody[:, -1, :-1] = 1.0
    with pytest.raises(BadInput, match="1 never treated units and 8 periods"):
        InteractiveEffects()(panel.with_variables({"did": everybody}))
    assert InteractiveEffects(form="regression", factors=0)(panel.with_variables({"did": everybody})).status[0] == 1
    with pytest.raises(BadInput, match="factors = 'ic4'; allowed: a number, 0 or more, or ic1, ic2, ic3"):
        InteractiveEffects(factors="ic4")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"factors = 1\.5; allowed: a number, 0 or more, or ic1, ic2, ic3"):
        InteractiveEffects(factors=1.5)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="factors = -1"):
        InteractiveEffects(factors=-1)
    with pytest.raises(BadInput, match="most_factors = -1"):
        InteractiveEffects(most_factors=-1)


def test_a_redrawn_calendar_with_too_few_periods_is_singular() -> None:
    panel = factor_panel(replications=2, units=14, periods=10, treated=3, last=4)
    did = np.repeat(panel.variables["did"], 2, axis=0)
    did[1, 1:, int(did[1, -1].argmax())] = 1.0  # one unit adopts in the second period
    found = InteractiveEffects(factors=2)(panel.with_variables({"did": did}))
    assert found.status.tolist() == [Status.OK, Status.SINGULAR]
