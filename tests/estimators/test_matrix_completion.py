"""Matrix completion: a slow program, conditions of the minimum, published numbers, simulation, invariances."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import full_sizes
import numpy as np
import pytest
from agreement import of_units
from covering import covered
from published_panels import california_packs
from refusals import refuses

from estimators import Imputation, InteractiveEffects, MatrixCompletion, Status, TwoWayDID
from estimators.core.estimator import Estimator
from estimators.synthetic import imputed_effects as imputed
from estimators.synthetic import interactive_effects as interactive
from references import completion_programs as slow
from references.small_panels import bare, changed, unseen
from references.staggered_panels import staggered_panel
from sim import Panel, Roles, Streams

FORMS: tuple[interactive.FactorForm, ...] = ("imputation", "regression")
FAST = MatrixCompletion(errors=("jackknife:unit",), folds=2, penalties=8)


@pytest.mark.parametrize(("staggered", "tolerance"), [(False, 1e-5), (True, 1e-3)])
def test_it_is_the_slow_program(staggered: bool, tolerance: float) -> None:
    panel = slow.factor_panel(replications=3, units=13, periods=11, treated=3, last=3, staggered=staggered)
    streams = Streams(4).tile(0, 3)
    got = MatrixCompletion(folds=3, tolerance=tolerance)(panel, streams)
    folds = [generator.random((3, 11, 13)) < 0.8 for generator in streams.each("folds")]
    for row, kept in enumerate(folds):
        y, did = panel.variables["y"][row], panel.variables["did"][0]
        effect, penalty = slow.plain_matrix_completion(y, did, kept, tolerance)
        assert got.estimate[row, 0] == pytest.approx(effect, abs=1e-9)
        assert got.statistics["penalty"][row] == pytest.approx(penalty, rel=1e-9)


def test_the_largest_penalty_leaves_two_way_effects() -> None:
    panel = staggered_panel(replications=3)
    got = MatrixCompletion(penalty=1e6)(panel)
    wanted = Imputation()(panel)
    np.testing.assert_allclose(got.estimate[:, 0], wanted.estimate[:, wanted.terms.index("overall")], rtol=1e-9)
    np.testing.assert_array_equal(got.statistics["rank"], 0)


def test_slopes_are_those_of_the_regression_on_untreated_cells() -> None:
    panel = staggered_panel(replications=2)
    x = np.stack([panel.variables[name] for name in ("inv", "road")], axis=1)
    did = panel.variables["did"][0]
    first = np.where(did.any(axis=0), did.argmax(axis=0), len(did))
    panels = imputed.UnitPanels(panel.variables["y"], x, np.broadcast_to(first, (2, len(first))))
    got = imputed.untreated_slopes(panels, imputed.CellEffects.of(panels.untreated))
    t, n = did.shape
    seen = did.ravel() == 0
    units, periods = np.tile(np.eye(n), (t, 1)), np.repeat(np.eye(t), n, axis=0)
    design = np.column_stack([x[0].reshape(2, -1).T, units, periods])[seen]
    for row in range(2):
        wanted = np.linalg.lstsq(design, panel.variables["y"][row].ravel()[seen], rcond=None)[0][:2]
        np.testing.assert_allclose(got[row], wanted, rtol=1e-9)


def test_covariates_are_taken_out() -> None:
    panel = slow.factor_panel(replications=2, covariate=0.8, units=16, periods=12, treated=4, last=3)
    did = panel.variables["did"][0]
    first = np.broadcast_to(np.where(did.any(axis=0), did.argmax(axis=0), 12), (2, 16))
    panels = imputed.UnitPanels(panel.variables["y"], panel.variables["x"][:, None], first)
    b = imputed.untreated_slopes(panels, imputed.CellEffects.of(panels.untreated))
    without = panel.with_variables({"y": panel.variables["y"] - b[:, :, None] * panel.variables["x"]})
    bare = replace(without, roles=Roles("y", "did", ()))
    np.testing.assert_allclose(FAST(panel).estimate, FAST(bare).estimate, rtol=1e-9)
    moved = panel.with_variables({"y": panel.variables["y"] + 3 * panel.variables["x"]})
    np.testing.assert_allclose(FAST(moved).estimate, FAST(panel).estimate, rtol=1e-7)


def test_levels_do_not_choose_the_penalty_where_a_fold_holds_out_all_cells_of_a_unit() -> None:
    """Units that are untreated in two periods alone: a fold without both has no effect of theirs to tell cells from."""
    rng = np.random.default_rng(16)
    first = np.where(np.arange(24) < 6, 2, np.where(np.arange(24) < 10, 4, 99))
    y = rng.standard_normal((8, 1)) @ rng.standard_normal((1, 24)) + rng.standard_normal((8, 24))
    did = (np.arange(8)[:, None] >= first) * 1.0
    panel = bare({"y": y, "did": did})
    drawn = [generator.random((4, 8, 24)) < 0.8 for generator in Streams(0).tile(0, 1).each("folds")]
    assert any((kept & (did == 0)).sum(axis=1).min() == 0 for kept in drawn)
    plain, moved = (replace(FAST, folds=4)(panel.with_variables({"y": y[None] + level})) for level in (0.0, 1000.0))
    assert moved.statistics["penalty"][0] == pytest.approx(plain.statistics["penalty"][0], abs=1e-9)
    assert moved.estimate[0, 0] == pytest.approx(plain.estimate[0, 0], rel=1e-7)


@pytest.mark.parametrize("estimator", [replace(FAST, penalty=0.05), *(InteractiveEffects(form=f) for f in FORMS)],
                         ids=["completion", *FORMS])  # fmt: skip
def test_units_that_are_treated_all_the_time_take_no_part(estimator: Estimator) -> None:
    panel = slow.factor_panel(units=16, periods=12, treated=4, last=3, covariate=0.5)
    never = int(np.flatnonzero(~panel.variables["did"][0].any(axis=0))[0])
    whole = changed(panel, "did", np.s_[:, :, never], 1.0)
    without = of_units(whole, np.arange(16) != never)
    np.testing.assert_allclose(estimator(whole).estimate, estimator(without).estimate, rtol=1e-9)


def test_replications_stand_alone_bit_for_bit() -> None:
    panel = slow.factor_panel(replications=3, units=14, periods=11, treated=3, last=3, covariate=0.5)
    estimator = replace(FAST, errors=("placebo:unit", "bootstrap:unit", "jackknife:unit"), draws=20, reselect=True)
    whole = estimator(panel, Streams(1).tile(5, 8))
    for row in range(3):
        alone = estimator(panel.replication(row), Streams(1).tile(5 + row, 6 + row))
        for name in ("estimate", "se", "status"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(whole, name)[row], err_msg=name)
    assert np.isfinite(whole.se).all()


def test_the_jackknife_holds_the_penalty_of_each_panel() -> None:
    """A loop that leaves out a unit and fits with the penalty that the whole panel chose."""
    panel = slow.factor_panel(replications=2, units=10, periods=9, treated=3, last=3)
    whole = FAST(panel)
    for row in range(2):
        held = MatrixCompletion(penalty=float(whole.statistics["penalty"][row]), penalties=8)
        left = [held(of_units(panel.replication(row), np.arange(10) != i)).estimate[0, 0] for i in range(10)]
        spread = np.array(left) - np.mean(left)
        assert whole.se[row, 0, 0] == pytest.approx(np.sqrt(0.9 * (spread**2).sum()), rel=1e-9)


def test_samples_choose_their_own_penalty_and_endless_sweeps_are_said() -> None:
    panel = slow.factor_panel(replications=1, units=14, periods=11, treated=3, last=3)
    held = replace(FAST, errors=("placebo:unit",), draws=20)(panel)
    own = replace(FAST, errors=("placebo:unit",), draws=20, reselect=True)(panel)
    assert own.estimate == held.estimate
    assert own.se != held.se
    panel = slow.factor_panel(units=14, periods=11, treated=3, last=3)
    assert MatrixCompletion(penalty=1e-4, tolerance=1e-12, sweeps=2)(panel).status.tolist() == [Status.NOT_CONVERGED]


def test_the_completed_panel_is_what_the_effect_is_measured_from() -> None:
    panel = slow.factor_panel(replications=2, units=16, periods=12, treated=4, last=3)
    completed = FAST.completed(panel)
    did = panel.variables["did"]
    gap = (did * (panel.variables["y"] - completed)).sum(axis=(1, 2)) / did.sum()
    np.testing.assert_allclose(gap, FAST(panel).estimate[:, 0], rtol=1e-12)


@pytest.mark.parametrize(("settings", "text"), [
    ({"penalty": -1.0}, "penalty = -1.0; allowed: 0 or more"), ({"folds": 0}, "folds = 0"),
    ({"kept": 1.0}, "kept = 1.0; allowed: a share"), ({"penalties": 2}, "penalties = 2"),
    ({"tolerance": 0.0}, "tolerance = 0.0"), ({"sweeps": 0}, "sweeps = 0"),
])  # fmt: skip
def test_settings_that_cannot_be(settings: dict[str, float], text: str) -> None:
    refuses(text, lambda: MatrixCompletion(**settings))


def test_panels_that_cannot_serve() -> None:
    panel = slow.factor_panel(units=10, periods=8, treated=3, last=3)
    holed = unseen(panel, (0, 0))
    refuses("1 unit-period is missing", lambda: FAST(holed))
    everybody = changed(panel, "did", np.s_[:, -1], 1.0)
    refuses("no unit is untreated in 2008", lambda: FAST(everybody))
    refuses("absorbing", lambda: FAST(panel.with_variables({"did": panel.variables["did"][:, ::-1]})))
    refuses("unknown error type 'cluster:unit'", lambda: MatrixCompletion(errors=("cluster:unit",))(panel))
    refuses("draws = 19", lambda: MatrixCompletion(draws=19)(panel))
    imputed.check_draws(20, "it")


def test_california(shared_data: Path) -> None:
    """Published -20.2; the folds are random, ours other ones. Placebo error 11.5, of 200 draws from 38 states."""
    panel = california_packs(shared_data)
    for seed in range(3):
        found = MatrixCompletion(errors=("placebo:unit",), draws=100)(panel, Streams(seed))
        assert abs(found.estimate[0, 0] + 20.2) < 0.3
        assert abs(found.se[0, 0, 0] - 11.5) < 3 * 11.5 * np.hypot(1 / np.sqrt(2 * 200), 1 / np.sqrt(2 * 100))


def test_covers_the_truth_where_factors_are_weak() -> None:
    """Bias and coverage of jackknife errors on 200 panels of two-way effects, within 4 Monte Carlo errors."""
    panel = slow.factor_panel(seed=8, replications=200, units=20, periods=10, treated=7, last=4, strength=0.0)
    found = FAST(panel)
    miss = found.estimate[:, 0] - 1.0
    assert abs(miss.mean()) < 4 * miss.std() / np.sqrt(200)
    covered = np.abs(miss) < 1.96 * found.se[:, 0, 0]
    assert abs(covered.mean() - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 200)


def regressors(panel: Panel, row: int) -> list[np.ndarray]:
    return [panel.variables[name][min(row, len(panel.variables[name]) - 1)] for name in panel.roles.controls]


@covered(covariate=[None, 0.8], staggered=[False, True], rank=[0, 1, 2])
def test_imputation_is_the_slow_program(covariate: float | None, staggered: bool, rank: int) -> None:
    panel = slow.factor_panel(replications=2, covariate=covariate, staggered=staggered, units=18, periods=14, treated=5)
    got = InteractiveEffects(factors=rank)(panel)
    for row in range(2):
        y, did = panel.variables["y"][row], panel.variables["did"][0]
        wanted = slow.plain_generalised_synthetic(y, did, regressors(panel, row), rank)
        assert got.estimate[row, 0] == pytest.approx(wanted, abs=1e-7)
    np.testing.assert_array_equal(got.statistics["factors"], rank)


@covered(rank=[0, 1, 2], covariate=[None, 0.8])
def test_regression_is_the_slow_program(covariate: float | None, rank: int) -> None:
    panel = slow.factor_panel(replications=2, covariate=covariate, staggered=True, units=18, periods=14, treated=5)
    got = InteractiveEffects(form="regression", factors=rank)(panel)
    for row in range(2):
        x = [panel.variables["did"][0], *regressors(panel, row)]
        b, _, _ = slow.plain_interactive(panel.variables["y"][row], x, rank)
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
        moments = interactive.PeriodMoments.of(np.stack([y, d, x])[None], np.ones((1, 20), dtype=bool))
        starts = [None, *rng.normal(scale=3.0, size=(8, 1, 2))]
        for k, start in enumerate(starts):
            b = interactive.fitted(moments, 1, start)[0]
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
    panel = bare({"y": y, "did": d, "x": x}, Roles("y", "did", ("x",)))
    found = InteractiveEffects(factors=1, errors=("jackknife:unit",))(panel)
    assert np.isfinite(found.estimate[0, 0])
    assert np.isnan(found.se).all()


def test_factors_without_noise_are_found_exactly() -> None:
    panel = slow.factor_panel(noise=0.0, effect=0.7, staggered=True, covariate=0.4)
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
    moments = interactive.PeriodMoments.of(x[:, None], np.ones((8, units), dtype=bool))
    np.testing.assert_array_equal(interactive.chosen_ranks(moments, "ic1", np.full(8, 8)), rank)
    np.testing.assert_array_equal(interactive.chosen_ranks(moments, "ic2", np.full(8, 8)), rank)


def test_criteria_by_hand() -> None:
    """Scores of each number of factors from a decomposition of the demeaned panel, with a covariate taken out."""
    panel = slow.factor_panel(replications=3, covariate=0.5, units=26, periods=15, strength=0.6)
    y, x = panel.variables["y"], panel.variables["x"][0]
    variables = np.stack([y, np.broadcast_to(x, y.shape)], axis=1)
    moments = interactive.PeriodMoments.of(variables, np.ones((3, 26), dtype=bool))
    both, least = (26 + 15) / (26 * 15), 15
    prices = {"ic1": both * np.log(1 / both), "ic2": both * np.log(least), "ic3": np.log(least) / least}
    found = {name: interactive.chosen_ranks(moments, name, np.full(3, 3)) for name in interactive.CRITERIA}
    for row in range(3):
        left = []
        for k in range(4):
            b, _, common = slow.plain_interactive(y[row], [x], k)
            rest = y[row] - b[0] * x
            rest = rest - rest.mean(axis=0) - rest.mean(axis=1, keepdims=True) + rest.mean()
            left.append(np.log(np.square(rest - common).mean()))
            if k == 0:
                values = np.square(np.linalg.svd(rest, compute_uv=False))
                most = int((values >= values.sum() / least).sum())
        for name, got in found.items():
            scores = np.array(left) + np.arange(4) * prices[name]
            assert got[row] == int(np.argmin(scores[: most + 1])), name
    assert len({int(one) for got in found.values() for one in got}) > 1


def test_factors_are_no_more_than_the_eigenvalues_above_their_mean() -> None:
    """In small panels of nothing but noise a criterion alone takes more of them in some."""
    y = np.random.default_rng(7).standard_normal((40, 8, 11))
    moments = interactive.PeriodMoments.of(y[:, None], np.ones((40, 11), dtype=bool))
    got = interactive.chosen_ranks(moments, "ic3", np.full(40, 6))
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
    panel = slow.factor_panel(units=40, periods=20, last=17, treated=6, noise=0.01, strength=4.0)
    assert InteractiveEffects(most_factors=8)(panel).statistics["factors"][0] == 1
    assert InteractiveEffects(most_factors=8, form="regression")(panel).statistics["factors"][0] == 2
    assert InteractiveEffects(most_factors=1)(panel).statistics["factors"][0] == 1


def test_first_vectors_are_orthonormal_and_signed() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 7, 20))
    found = interactive.first_vectors(x @ x.transpose(0, 2, 1), 3)
    for k in range(3):
        np.testing.assert_allclose(found[k].T @ found[k], np.eye(3), atol=1e-12)
        left = np.linalg.svd(x[k])[0][:, :3]
        np.testing.assert_allclose(np.abs(left.T @ found[k]), np.eye(3), atol=1e-10)
        assert (found[k].sum(axis=0) >= 0).all()


def strong_factors(replications: int) -> Panel:
    """Two strong factors, adoption by loadings: two-way DID is biased."""
    return slow.factor_panel(
        seed=12, replications=replications, units=80, periods=20, treated=20, last=6, strength=12.0
    )


def test_it_is_unbiased_under_factors_where_two_way_did_is_not() -> None:
    panel = strong_factors(300)
    assert TwoWayDID()(panel).estimate[:, 0].mean() - 1.0 > 2.0
    panels, _ = InteractiveEffects()._panels(panel)
    for form in FORMS:
        whole = InteractiveEffects(form=form).complete(panels, Streams(0))
        np.testing.assert_array_equal(whole.tuning, 2)
        miss = panels.effect(whole.outcome) - 1.0
        assert abs(miss.mean()) < 4 * miss.std() / np.sqrt(300)


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
def test_its_errors_cover(form: interactive.FactorForm) -> None:
    """Bias and coverage of 95% intervals of the defaults, number of factors chosen; 400 replications in full."""
    replications = full_sizes.size(200, 400)
    found = InteractiveEffects(form=form)(strong_factors(replications))
    miss = found.estimate[:, 0] - 1.0
    assert (found.status == Status.OK).all()
    assert abs(miss.mean()) < 4 * miss.std() / np.sqrt(replications)
    assert 0.93 <= (np.abs(miss) < 1.96 * found.se[:, 0, 0]).mean() <= 0.97


def test_completed_outcomes_of_never_treated_units_are_their_fit() -> None:
    """What is left of them is orthogonal to the factors, and the effect is measured from what is completed."""
    panel = slow.factor_panel(replications=2)
    estimator = InteractiveEffects(factors=2)
    did = panel.variables["did"]
    rest = panel.variables["y"] - estimator.completed(panel)
    gap = (did * rest).sum(axis=(1, 2)) / did.sum()
    np.testing.assert_allclose(gap, estimator(panel).estimate[:, 0], rtol=1e-12)
    never = ~did[0].any(axis=0)
    for row in range(2):
        _, factors, _ = slow.plain_interactive(panel.variables["y"][row][:, never], [], 2)
        np.testing.assert_allclose(factors.T @ rest[row][:, never], 0, atol=1e-8)


def test_panels_that_interactive_effects_cannot_serve() -> None:
    panel = slow.factor_panel(units=10, periods=8, treated=3, last=6)
    refuses("after too few periods for 2 factors; allowed: 3 or more periods",
            lambda: InteractiveEffects(factors=2)(panel))  # fmt: skip
    nearly = changed(panel, "did", np.s_[:, -1, :-1], 1.0)
    refuses("1 never treated units and 8 periods", lambda: InteractiveEffects()(nearly))
    assert InteractiveEffects(form="regression", factors=0)(nearly).status[0] == 1
    for wrong in ("ic4", 1.5, -1):
        refuses(f"factors = {wrong!r}; allowed: a number, 0 or more, or ic1, ic2, ic3",
                lambda wrong=wrong: InteractiveEffects(factors=wrong))  # fmt: skip
    refuses("most_factors = -1", lambda: InteractiveEffects(most_factors=-1))


def test_a_redrawn_calendar_with_too_few_periods_is_singular() -> None:
    panel = slow.factor_panel(replications=2, units=14, periods=10, treated=3, last=4)
    did = np.repeat(panel.variables["did"], 2, axis=0)
    did[1, 1:, int(did[1, -1].argmax())] = 1.0  # one unit adopts in the second period
    found = InteractiveEffects(factors=2)(panel.with_variables({"did": did}))
    assert found.status.tolist() == [Status.OK, Status.SINGULAR]


RESAMPLED = ("placebo:unit", "jackknife:unit", "bootstrap:unit")
PERIODS = 6
Y = np.random.default_rng(1).standard_normal((3, PERIODS, 10))
FIRST = np.array([[4, 4, 3, 6, 6, 6, 6, 6, 6, 6], [6, 6, 6, 6, 6, 6, 4, 4, 6, 6], [6, 5, 6, 6, 3, 6, 6, 6, 4, 0]])


def gap(y: np.ndarray, first: np.ndarray) -> float:
    """Treated cells' mean less that of the never treated's cells."""
    adopts, never = (first < PERIODS) & (first > 0), first == PERIODS
    cells = np.concatenate([y[first[i] :, i] for i in np.flatnonzero(adopts)]) if adopts.any() else np.array([np.nan])
    return float(cells.mean() - y[:, never].mean())


def takes_part(row: int) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and dates of the units that are not treated all the time."""
    kept = FIRST[row] > 0
    return Y[row][:, kept], FIRST[row][kept]


@covered(rows=[1, 3], error=RESAMPLED)
def test_units_that_are_treated_all_the_time_move_no_error(error: str, rows: int) -> None:
    """Errors of panels with six of them are those of the panels without."""
    first, streams = np.broadcast_to(FIRST[:1], (rows, 10)), Streams(2).tile(4, 4 + rows)
    alone = imputed.standard_error(error, first, PERIODS, statistic, streams, 25)
    y = np.concatenate([np.full((3, PERIODS, 6), 99.0), Y], axis=2)
    beside = np.concatenate([np.zeros((rows, 6), dtype=first.dtype), first], axis=1)

    def of_both(samples: imputed.UnitSamples) -> np.ndarray:
        return np.array([gap(*pair) for pair in zip(samples.of(y), samples.first, strict=True)])

    np.testing.assert_array_equal(imputed.standard_error(error, beside, PERIODS, of_both, streams, 25), alone)
    assert np.isfinite(alone).all()


def statistic(samples: imputed.UnitSamples) -> np.ndarray:
    return np.array([gap(y, first) for y, first in zip(samples.of(Y), samples.first, strict=True)])


def test_jackknife_by_loops() -> None:
    got = imputed.standard_error("jackknife:unit", FIRST, PERIODS, statistic, Streams(2).tile(0, 3), 20)
    for row in range(3):
        y, first = takes_part(row)
        n = len(first)
        found = np.array([gap(np.delete(y, i, axis=1), np.delete(first, i)) for i in range(n)])
        assert got[row] == pytest.approx(np.sqrt((n - 1) / n * ((found - found.mean()) ** 2).sum()))


def test_placebos_by_loops() -> None:
    """The same draws: a random order of never treated units, of which the first have the treated units' dates."""
    streams = Streams(2).tile(4, 7)
    got = imputed.standard_error("placebo:unit", FIRST, PERIODS, statistic, streams, 30)
    for row, generator in enumerate(streams.each("placebo:unit")):
        never = np.flatnonzero(FIRST[row] == PERIODS)
        dates = [date for date in FIRST[row] if 0 < date < PERIODS]
        orders = np.argsort(generator.random((30, len(never))), axis=1)
        first = np.r_[dates, np.full(len(never) - len(dates), PERIODS)]
        found = np.array([gap(Y[row][:, never[order]], first) for order in orders])
        assert got[row] == pytest.approx(found.std())


def test_bootstraps_by_loops() -> None:
    streams = Streams(2).tile(4, 7)
    got = imputed.standard_error("bootstrap:unit", FIRST, PERIODS, statistic, streams, 30)
    for row, generator in enumerate(streams.each("bootstrap:unit")):
        y, own = takes_part(row)
        n = len(own)
        chosen = generator.integers(0, n, (30, n))
        while True:
            first = own[chosen]
            earliest = np.where((first > 0) & (first < PERIODS), first, PERIODS).min(axis=1, keepdims=True)
            lacking = np.flatnonzero(~(first > earliest).any(axis=1))
            if not lacking.size:
                break
            chosen[lacking] = generator.integers(0, n, (len(lacking), n))
        found = np.array([gap(y[:, some], own[some]) for some in chosen])
        assert got[row] == pytest.approx(found.std())


@pytest.mark.parametrize("error", RESAMPLED)
def test_chunks_and_batches_do_not_matter(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = imputed.standard_error(error, FIRST, PERIODS, statistic, Streams(3).tile(0, 3), 25)
    monkeypatch.setattr("estimators.synthetic.imputed_effects.AT_ONCE", 200)
    got = imputed.standard_error(error, FIRST, PERIODS, statistic, Streams(3).tile(0, 3), 25)
    np.testing.assert_array_equal(got, wanted)


def test_where_a_type_cannot_serve_there_is_no_error() -> None:
    one, many = np.array([[4, 6, 6, 6]]), np.array([[4, 4, 6, 6]])
    rows = Streams(1).tile(0, 1)

    def zero(samples: imputed.UnitSamples) -> np.ndarray:
        return samples.of(np.arange(24.0).reshape(1, 6, 4))[:, 0].sum(axis=1)

    for error, first, known in (
        ("jackknife:unit", one, False), ("bootstrap:unit", one, False), ("placebo:unit", one, True),
        ("placebo:unit", many, False), ("jackknife:unit", many, True),
    ):  # fmt: skip
        found = imputed.standard_error(error, first, 6, zero, rows, 20)
        assert np.isfinite(found).all() if known else np.isnan(found).all(), (error, known)


def test_samples_take_units_of_their_own_panel() -> None:
    samples = imputed.UnitSamples(np.array([1, 0]), np.array([[2, 2], [9, 0]]), np.array([[6, 6], [6, 6]]))
    np.testing.assert_array_equal(samples.of(Y), np.stack([Y[1][:, [2, 2]], Y[0][:, [9, 0]]]))
    x = np.arange(20.0).reshape(1, 2, 1, 10)
    np.testing.assert_array_equal(samples.of(x)[1], x[0][:, :, [9, 0]])


def test_draws_without_a_value_do_not_count() -> None:
    first = np.array([[1, 1, 2, 2, 2, 2, 2, 2]])
    y = np.arange(16.0).reshape(1, 2, 8) ** 1.5

    def sometimes(samples: imputed.UnitSamples) -> np.ndarray:
        found = samples.of(y)[:, 1, 0]
        return np.where(samples.chosen[:, 0] == 3, np.nan, found)

    got = imputed.standard_error("placebo:unit", first, 2, sometimes, Streams(4).tile(0, 1), 40)
    (generator,) = Streams(4).tile(0, 1).each("placebo:unit")
    chosen = np.arange(2, 8)[np.argsort(generator.random((40, 6)), axis=1)[:, 0]]
    assert got[0] == pytest.approx(y[0, 1, chosen[chosen != 3]].std())
