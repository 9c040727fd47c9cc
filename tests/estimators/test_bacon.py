"""Goodman-Bacon: the comparisons add up to the coefficient, by published numbers and by regressions on subsamples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import in_another_order, with_effects
from covering import covered
from numpy.typing import NDArray
from refusals import refuses
from scipy.optimize import minimize

from estimators import TwoWayDID
from estimators.staggered import bacon
from estimators.staggered.dcdh import DCDH, coefficient_weights
from references.small_panels import names, small_panel
from references.staggered_panels import county_employment
from sim import Panel, Roles


def panel(always: int = 0, never: int = 8, replications: int = 3, seed: int = 4) -> Panel:
    """Cohorts of unequal size in 9 periods, with units always and never treated."""
    rng = np.random.default_rng(seed)
    first = np.r_[np.zeros(always), np.repeat([2, 3, 6, 8], [5, 1, 7, 4]), np.full(never, 9)].astype(int)
    n, t = len(first), 9
    did = (np.arange(t)[:, None] >= first).astype(float)[None]
    y = rng.standard_normal((replications, t, n)) + did * rng.standard_normal((1, t, n)) + rng.standard_normal(n)
    return Panel(names(n), tuple(range(2001, 2001 + t)), {"y": y, "did": did}, Roles("y", "did"))


def coefficient(on: Panel) -> np.ndarray:
    return TwoWayDID(errors=("iid",))(on).estimate[:, 0]


@pytest.mark.parametrize(("always", "never"), [(0, 8), (0, 0), (6, 8), (6, 0)])
def test_weighted_comparisons_are_the_coefficient(always: int, never: int) -> None:
    on = panel(always, never)
    got = bacon.decompose(on)
    assert got.weights.min() > 0
    assert abs(got.weights.sum() - 1) < 1e-13
    np.testing.assert_allclose(got.estimates @ got.weights, coefficient(on), rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.twfe, coefficient(on), rtol=0, atol=1e-12)
    assert len(got.comparisons) == 4 * 3 + 4 * bool(always) + 4 * bool(never)
    shares = {kind: got.share(kind) for kind in bacon.KINDS}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-13)
    averages = {kind: got.average(kind) for kind in bacon.KINDS if shares[kind]}
    total = sum(shares[kind] * averages[kind] for kind in averages)
    np.testing.assert_allclose(total, got.twfe, rtol=0, atol=1e-12)
    assert np.isnan(got.average(bacon.NEVER)).all() == (not never)


def test_each_comparison_is_a_regression_on_its_units_and_window() -> None:
    on = panel(always=6)
    got = bacon.decompose(on)
    did = on.variables["did"][0]
    first = np.where(did.any(axis=0), did.argmax(axis=0), 9)
    for c, estimate in zip(got.comparisons, got.estimates.T, strict=True):
        group = {bacon.NEVER: 9, bacon.ALWAYS: 0}.get(c.kind, (c.control or 0) - 2001)
        start, stop = {bacon.EARLIER: (0, group), bacon.LATER: (group, 9)}.get(c.kind, (0, 9))
        units = np.isin(first, (c.treated - 2001, group))
        part = {name: values[:, start:stop, units] for name, values in on.variables.items()}
        sub = Panel(names(int(units.sum())), on.periods[start:stop], part, on.roles)
        np.testing.assert_allclose(estimate, coefficient(sub), rtol=0, atol=1e-12)
        assert c.units == ((first == c.treated - 2001).sum(), (first == group).sum())
        assert sum(c.window) == stop - start
        assert (c.control is None) == (c.kind in (bacon.NEVER, bacon.ALWAYS))


def test_castle_doctrine_laws() -> None:
    """What the R package bacondecomp prints for log homicides, where a law counts from the year it takes effect.

    The data set at hand counts it from the year after.
    """
    from causaldata import castle

    frame = castle.load_pandas().data[["sid", "year", "l_homicide", "post"]].astype({"year": int})
    frame["first"] = frame["sid"].map(frame[frame["post"] == 1].groupby("sid")["year"].min()) - 1
    frame["post"] = (frame["year"] >= frame["first"]).astype(float)
    got = bacon.decompose(Panel.from_frame(frame.drop(columns="first"), unit="sid", period="year",
                                     roles=Roles("l_homicide", "post")))  # fmt: skip
    assert got.twfe[0] == pytest.approx(0.08181162, abs=5e-9)
    shown = {bacon.EARLIER: (0.05976, -0.00554), bacon.LATER: (0.03190, 0.07032), bacon.NEVER: (0.90834, 0.08796)}
    for kind, (weight, average) in shown.items():
        assert got.share(kind) == pytest.approx(weight, abs=5.1e-6), kind
        assert got.average(kind)[0] == pytest.approx(average, abs=5.1e-6), kind


def test_teen_employment(shared_data: Path) -> None:
    """Callaway and Sant'Anna's counties: the pooled coefficient is -.0365."""
    got = bacon.decompose(county_employment(shared_data))
    assert got.twfe[0] == pytest.approx(-0.0365, abs=5e-5)
    assert got.estimates[0] @ got.weights == pytest.approx(got.twfe[0], abs=1e-13)


def test_order_scale_and_effects_do_not_matter() -> None:
    on = panel(always=3)
    got = bacon.decompose(on)
    for other, factor in ((in_another_order(on, 2)[0], 1.0), (with_effects(on, 3.0), 3.0)):
        again = bacon.decompose(other)
        np.testing.assert_allclose(again.estimates, factor * got.estimates, rtol=0, atol=1e-11)
        np.testing.assert_allclose(again.weights, got.weights, rtol=1e-13)
        assert [c.treated for c in again.comparisons] == [c.treated for c in got.comparisons]
    spaced = bacon.decompose(replace(on, periods=(2001, 2002, 2003, 2005, 2006, 2008, 2009, 2014, 2020)))
    np.testing.assert_array_equal(spaced.weights, got.weights)  # periods count, whatever their labels
    one = bacon.decompose(on.replication(1))
    np.testing.assert_allclose(one.estimates[0], got.estimates[1], rtol=0, atol=1e-14)


def test_bad_input_is_said_in_one_line() -> None:
    single = panel()
    did = np.array(single.variables["did"])
    did[:] = np.arange(9)[:, None] >= 4
    refuses("all units become treated at the same time", lambda: bacon.decompose(single.with_variables({"did": did})))
    refuses("4 unit-periods are missing", lambda: bacon.decompose(small_panel(missing=4)))
    refuses("no variable 'yy'", lambda: bacon.decompose(replace(single, roles=Roles("yy", "did"))))
    refuses("no comparisons of kind 'late'", lambda: bacon.decompose(single).share("late"))
    on = panel()
    refuses("no controls", lambda: bacon.decompose_with_controls(on))
    ready = with_controls(on)
    redrawn = ready.with_variables({"x": np.repeat(ready.variables["x"], 3, axis=0)})
    refuses("'x' differs between replications", lambda: bacon.decompose_with_controls(redrawn))
    constant = ready.with_variables({"x": np.ones_like(ready.variables["x"])})
    refuses("'x' is constant", lambda: bacon.decompose_with_controls(constant))
    weighted = replace(ready, roles=replace(ready.roles, weight="z"))
    refuses("weight", lambda: bacon.decompose_with_controls(weighted))
    refuses("no variable 'w'", lambda: bacon.decompose_with_controls(ready, controls=("w",)))
    given = staggered(replications=2)
    refuses(r"errors = \['iid'\]", lambda: DCDH(errors=("iid",))(given))
    refuses("3 unit-periods are missing", lambda: DCDH()(small_panel(missing=3)))
    refuses("'did' is not 0/1", lambda: DCDH()(given.with_variables({"did": 2 * given.variables["did"]})))
    refuses("'did' is not 0/1", lambda: coefficient_weights(given.with_variables({"did": 2 * given.variables["did"]})))
    redrawn = np.repeat(given.variables["did"], 2, axis=0)
    redrawn[1, 6, 13] = 1 - redrawn[1, 6, 13]
    refuses("differs between replications", lambda: coefficient_weights(given.with_variables({"did": redrawn})))
    refuses("no variable 'yy'", lambda: coefficient_weights(replace(given, roles=Roles("yy", "did"))))


def with_controls(on: Panel, by_cohort: bool = False) -> Panel:
    """Two controls; by_cohort: one that is the same in all units of a cohort."""
    rng, (_, t, n) = np.random.default_rng(2), on.variables["did"].shape
    first = on.variables["did"][0].sum(axis=0).astype(int)
    x = rng.standard_normal((10, t))[first].T if by_cohort else rng.standard_normal((t, n))
    z = rng.standard_normal((10, t))[first].T
    more = {"x": x[None] + 0.3 * on.variables["did"], "z": z[None]}
    return replace(on, roles=Roles("y", "did", ("x", "z"))).with_variables(more)


@pytest.mark.parametrize(("always", "never"), [(0, 8), (0, 0), (6, 8)])
@pytest.mark.parametrize("by_cohort", [False, True])
def test_with_controls_pairs_and_units_treated_alike_are_the_coefficient(
    always: int, never: int, by_cohort: bool
) -> None:
    on = with_controls(panel(always, never), by_cohort)
    got = bacon.decompose_with_controls(on)
    assert got.weights.min() > 0
    assert got.weights.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(got.estimates @ got.weights, coefficient(on), rtol=0, atol=1e-11)
    np.testing.assert_allclose(got.twfe, coefficient(on), rtol=0, atol=1e-11)
    groups, kinds = 4 + bool(always) + bool(never), [comparison.kind for comparison in got.comparisons]
    assert kinds.count(bacon.NEVER) == (groups - 1) * bool(never)
    assert kinds.count(bacon.NEVER) + kinds.count(bacon.DATES) == groups * (groups - 1) // 2
    several = np.unique(on.variables["did"][0].sum(axis=0), return_counts=True)[1] > 1
    assert kinds.count(bacon.WITHIN) == several.sum() * (not by_cohort)  # units of a cohort whose controls differ


def test_a_pair_with_controls_is_a_regression_on_its_cohorts() -> None:
    """Of y on D - X b, b of the whole panel, on the means of two cohorts by unit and period effects."""
    on = with_controls(panel())
    got = bacon.decompose_with_controls(on)
    did = on.variables["did"][0]
    first, t = np.where(did.any(axis=0), did.argmax(axis=0), 9), 9
    dummies = np.hstack([np.tile(np.eye(did.shape[1]), (t, 1)), np.repeat(np.eye(t), did.shape[1], axis=0)])
    x = np.column_stack([on.variables[name][0].ravel() for name in ("x", "z")])
    d = did.ravel() - (np.column_stack([x, dummies])
                       @ np.linalg.lstsq(np.column_stack([x, dummies]), did.ravel())[0])  # fmt: skip
    for pair, estimate in zip(got.comparisons, got.estimates.T, strict=True):
        ends = [9 if year is None else year - 2001 for year in (pair.treated, pair.control)]
        assert pair.units == tuple(int((first == end).sum()) for end in ends)
        if pair.kind == bacon.WITHIN:
            part = first == ends[0]
            own, *outcomes = ((values - values.mean(axis=1, keepdims=True)).ravel()
                              for values in (d.reshape(t, -1)[:, part], *on.variables["y"][:, :, part]))  # fmt: skip
            np.testing.assert_allclose(estimate, [own @ y / (own @ own) for y in outcomes], rtol=1e-8)
            continue
        means = [[values.reshape(t, -1)[:, first == end].mean(axis=1) for end in ends]
                 for values in (d, *(y.ravel() for y in on.variables["y"]))]  # fmt: skip
        own, *outcomes = (np.subtract(*pairs) - np.subtract(*pairs).mean() for pairs in means)
        np.testing.assert_allclose(estimate, [own @ y / (own @ own) for y in outcomes], rtol=1e-8)


Floats = NDArray[np.float64]


def staggered(n: int = 14, t: int = 7, replications: int = 1, seed: int = 3, reversals: bool = False) -> Panel:
    """Late cohorts, few never treated, so that early cohorts weigh negatively in late periods."""
    rng = np.random.default_rng(seed)
    first = np.r_[np.ones(5), np.full(3, 3), np.full(4, 5), np.full(n - 12, t)].astype(int)
    did = (np.arange(t)[:, None] >= first).astype(float)
    if reversals:
        did[4:, :2], did[6:, 6] = 0.0, 0.0
    y = rng.standard_normal((replications, t, n))
    x = rng.standard_normal((1, t, n))
    return Panel(names(n), tuple(range(2001, 2001 + t)), {"y": y, "did": did[None], "x": x}, Roles("y", "did", ("x",)),
                 attributes={"province": np.array([f"p{i % 5}" for i in range(n)])})  # fmt: skip


@covered(controls=[(), ("x",)], reversals=[False, True])
def test_weighted_effects_are_the_coefficient(controls: tuple[str, ...], reversals: bool) -> None:
    panel = staggered(reversals=reversals)
    rng = np.random.default_rng(6)
    shape = panel.variables["did"].shape[1:]
    effects = rng.standard_normal((4, *shape))
    level = rng.standard_normal(shape[1]) + rng.standard_normal(shape[0])[:, None]
    level = level + 0.7 * panel.variables["x"] * bool(controls)
    panel = panel.with_variables({"y": level + effects * panel.variables["did"]})
    got = coefficient_weights(panel, controls=controls)
    assert got.weights.sum() == pytest.approx(1, abs=1e-13)
    assert (got.weights[panel.variables["did"][0] == 0] == 0).all()
    fitted = TwoWayDID(regressors=("did", *controls), errors=("iid",))(panel).estimate[:, 0]
    np.testing.assert_allclose(got.coefficient, fitted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.tensordot(effects, got.weights, axes=2), fitted, rtol=0, atol=1e-12)


def test_unbalanced_panels_too() -> None:
    panel = small_panel(missing=20, model="none", sigma=0.0)
    effects = np.random.default_rng(1).standard_normal(panel.variables["did"].shape)
    panel = panel.with_variables({"y": effects * panel.variables["did"] + np.arange(30.0)})
    got = coefficient_weights(panel)
    assert got.weights.sum() == pytest.approx(1, abs=1e-13)
    assert (effects[0] * got.weights).sum() == pytest.approx(got.coefficient[0], abs=1e-12)
    assert got.coefficient[0] == pytest.approx(TwoWayDID(regressors=("did",))(panel).estimate[0, 0], abs=1e-12)


def test_weights_are_residuals_of_dummies() -> None:
    panel = staggered()
    t, n = panel.variables["did"].shape[1:]
    dummies = np.column_stack([np.kron(np.ones((t, 1)), np.eye(n)), np.kron(np.eye(t), np.ones((n, 1)))])
    d = panel.variables["did"][0].ravel()
    residual = d - dummies @ np.linalg.lstsq(dummies, d, rcond=None)[0]
    got = coefficient_weights(panel)
    np.testing.assert_allclose(got.weights.ravel(), d * residual / (d @ residual), atol=1e-13)
    assert got.negative.any()
    assert got.negative_share == pytest.approx(((d * residual) < -1e-12).sum() / d.sum())
    assert got.negative_sum == pytest.approx(np.minimum(d * residual, 0).sum() / (d @ residual))
    assert got.weights.sum() == pytest.approx(1, abs=1e-13)
    early = panel.variables["did"][0].argmax(axis=0) == 1
    assert got.weights[6, early].sum() == pytest.approx(5 * got.weights[6, 0], abs=1e-14)
    assert (got.weights[0] == 0).all()


def test_the_ratios_are_the_smallest_spreads_of_effects() -> None:
    """Corollary 1 against a general optimiser: effects of mean zero, and effects of the other sign."""
    panel = staggered()
    got = coefficient_weights(panel)
    weights = got.weights[got.treated]
    beta = got.coefficient[0]
    m = len(weights)

    def smallest(
        extra: list[dict[str, object]], bounds: list[tuple[float | None, float | None]], start: Floats
    ) -> float:
        hit = {"type": "eq", "fun": lambda e: weights @ e - beta, "jac": lambda e: weights}
        found = minimize(lambda e: 1e2 * np.square(e - e.mean()).mean(), start, jac=lambda e: 2e2 * (e - e.mean()) / m,
                         bounds=bounds, constraints=[hit, *extra], method="SLSQP",
                         options={"maxiter": 1000, "ftol": 1e-14})  # fmt: skip
        assert found.success
        return float(np.sqrt(found.fun / 1e2))

    mean = {"type": "eq", "fun": lambda e: e.mean(), "jac": lambda e: np.full(m, 1 / m)}
    zero_mean = smallest([mean], [(None, None)] * m, beta * weights)
    assert got.sensitivity[0] == pytest.approx(zero_mean, rel=1e-6)
    sign = np.sign(beta)
    other = [(None, 0.0) if sign > 0 else (0.0, None)] * m
    start = np.where(weights < 0, -sign * 5.0, -sign * 0.01)
    assert got.reversal[0] == pytest.approx(smallest([], other, start), rel=1e-4)
    assert got.reversal[0] > got.sensitivity[0]


def test_one_date_has_no_negative_weights() -> None:
    panel = staggered()
    did = np.zeros_like(panel.variables["did"])
    did[0, 3:, :6] = 1.0
    got = coefficient_weights(panel.with_variables({"did": did}))
    np.testing.assert_allclose(got.weights[got.treated], 1 / got.treated.sum(), atol=1e-14)
    assert (got.negative_share, got.negative_sum) == (0.0, 0.0)
    assert np.isinf(got.reversal).all()
    assert (got.sensitivity > 1e6 * np.abs(got.coefficient)).all()


def by_hand(y: Floats, did: Floats, lag: int) -> float:
    """Theorem 3's definition, cell by cell; lag 1 is the placebo."""
    total, count = 0.0, 0
    for t in range(1 + lag, len(did)):
        steady = did[t - 1] == did[t - 1 - lag]
        for before, sign in ((0.0, 1.0), (1.0, -1.0)):
            was = steady & (did[t - 1] == before)
            move, stay = was & (did[t] != before), was & (did[t] == before)
            if move.any() and stay.any():
                change = y[t - lag] - y[t - 1 - lag]
                total += sign * move.sum() * (change[move].mean() - change[stay].mean())
                count += move.sum()
    return total / count


@covered(reversals=[False, True], successive=[False, True])
def test_did_m_is_its_definition(reversals: bool, successive: bool) -> None:
    panel = staggered(replications=3, reversals=reversals)
    if successive:  # dates of adoption in periods one after the other
        panel = panel.with_variables({"did": np.maximum(panel.variables["did"], np.eye(7)[2][:, None] * np.eye(14)[5])})
    got = DCDH()(panel)
    did = panel.variables["did"][0]
    for r, y in enumerate(panel.variables["y"]):
        expected = [by_hand(y, did, 0), by_hand(y, did, 1)]
        np.testing.assert_allclose(got.estimate[r], expected, rtol=0, atol=1e-13)
    assert (got.statistics["switchers"] == (15 if reversals else 12)).all()


def test_periods_in_which_nobody_stays_and_changes_across_a_lacking_year_are_left_out() -> None:
    """Unit a switches beside b and c, which then switch together: 5 - (1 + 2)/2, of one switcher."""
    did = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 1]])
    y = np.array([[0.0, 0, 0], [5, 1, 2], [7, 9, 9]])
    found = DCDH()(Panel(names(3), (1, 2, 3), {"y": y[None], "did": did[None]}, Roles("y", "did")))
    assert (found.estimate[0, 0], found.statistics["switchers"][0]) == (pytest.approx(3.5), 1)
    whole = staggered()
    gap = DCDH()(replace(whole, periods=(2000, 2001, 2002, 2004, 2005, 2006, 2007))).estimate
    y, d = whole.variables["y"][0], whole.variables["did"][0]
    for placebo, found in enumerate(gap[0]):
        numbers, means = [], []
        for t in (t for t in range(1 + placebo, 7) if t - 3 not in (0, placebo)):
            move, stay, change = d[t] > d[t - 1], d[t] == 0, y[t - placebo] - y[t - 1 - placebo]
            numbers.append(move.sum())
            means.append((change[move].mean() if move.any() else 0.0) - change[stay].mean())
        assert found == pytest.approx(np.average(means, weights=numbers))


def test_errors_are_those_of_deviations_by_hand() -> None:
    panel = staggered()
    y, did = panel.variables["y"][0], panel.variables["did"][0]
    got = DCDH(errors=("cluster:unit", "cluster:province"))(panel)
    score = np.zeros(14)
    for t in range(1, 7):
        move, stay = (did[t] > did[t - 1]), (did[t] == 0)
        if move.any():
            change = y[t] - y[t - 1] - (y[t] - y[t - 1])[stay].mean()
            score += np.where(move, change - got.estimate[0, 0], 0) / 12
            score -= np.where(stay, change, 0) * move.sum() / 12 / stay.sum()
    provinces = np.array([score[np.arange(14) % 5 == g].sum() for g in range(5)])
    expected = [np.sqrt(12 / 11 * np.square(score).sum()), np.sqrt(5 / 4 * np.square(provinces).sum())]
    np.testing.assert_allclose(got.se[0, :, 0], expected, rtol=1e-12)
    np.testing.assert_array_equal(got.dof[0, :, 0], [11, 4])
