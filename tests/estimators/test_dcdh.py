"""The weights of two-way DID and DID_M: exact identities, optimisers, loops over the paper's definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from agreement import assert_agree, assert_batch_is_its_panels, in_another_order, with_effects
from numpy.typing import NDArray
from scipy.optimize import minimize

from estimators import TwoWayDID
from estimators.staggered.dcdh import DCDH, coefficient_weights
from references.small_panels import names, small_panel
from sim import BadInput, Panel, Roles

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


@pytest.mark.parametrize("controls", [(), ("x",)])
@pytest.mark.parametrize("reversals", [False, True])
def test_weighted_effects_are_the_coefficient(controls: tuple[str, ...], reversals: bool) -> None:
    """Noise-free outcomes with any effects: the coefficient is the weighted sum of effects, to rounding."""
    panel = staggered(reversals=reversals)
    rng = np.random.default_rng(6)
    shape = panel.variables["did"].shape[1:]
    effects = rng.standard_normal((4, *shape))
    level = (
        rng.standard_normal(shape[1])
        + rng.standard_normal(shape[0])[:, None]
        + 0.7 * panel.variables["x"] * bool(controls)
    )
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
    assert got.weights[6, panel.variables["did"][0].argmax(axis=0) == 1].sum() == pytest.approx(
        5 * got.weights[6, 0], abs=1e-14
    )
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


# DID_M


LATER = (np.arange(14) == 5) * 1.0  # a unit that adopts in the third period after the first


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


@pytest.mark.parametrize("reversals", [False, True])
@pytest.mark.parametrize("successive", [False, True])
def test_did_m_is_its_definition(reversals: bool, successive: bool) -> None:
    panel = staggered(replications=3, reversals=reversals)
    if successive:  # dates of adoption in periods one after the other
        panel = panel.with_variables({"did": np.maximum(panel.variables["did"], np.eye(7)[2][:, None] * LATER)})
    got = DCDH()(panel)
    did = panel.variables["did"][0]
    for r, y in enumerate(panel.variables["y"]):
        expected = [by_hand(y, did, 0), by_hand(y, did, 1)]
        np.testing.assert_allclose(got.estimate[r], expected, rtol=0, atol=1e-13)
    assert (got.statistics["switchers"] == (15 if reversals else 12)).all()


def test_a_period_in_which_nobody_stays_is_left_out() -> None:
    """Unit a switches beside b and c, which then switch together: 5 - (1 + 2)/2, of one switcher."""
    did = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 1]])
    y = np.array([[0.0, 0, 0], [5, 1, 2], [7, 9, 9]])
    found = DCDH()(Panel(names(3), (1, 2, 3), {"y": y[None], "did": did[None]}, Roles("y", "did")))
    assert found.estimate[0, 0] == pytest.approx(3.5)
    assert found.statistics["switchers"][0] == 1


def test_errors_are_those_of_deviations_by_hand() -> None:
    """Each switcher's change less the stayers' mean less the estimate, and what each stayer adds, summed by cluster."""
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


def test_batches_order_and_scale() -> None:
    panel = staggered(replications=4)
    got = assert_batch_is_its_panels(DCDH(), panel, rtol=1e-12, atol=0.0)
    assert_agree(DCDH()(in_another_order(panel)[0]), got, atol=1e-12)
    assert_agree(DCDH()(with_effects(panel, 2.0)), got, atol=1e-12, scale=2.0)


def test_bad_input_is_said_in_one_line() -> None:
    panel = staggered(replications=2)
    with pytest.raises(BadInput, match=r"errors = \['iid'\]"):
        DCDH(errors=("iid",))(panel)
    with pytest.raises(BadInput, match="3 unit-periods are missing"):
        DCDH()(small_panel(missing=3))
    with pytest.raises(BadInput, match="'did' is not 0/1"):
        DCDH()(panel.with_variables({"did": 2 * panel.variables["did"]}))
    with pytest.raises(BadInput, match="'did' is not 0/1"):
        coefficient_weights(panel.with_variables({"did": 2 * panel.variables["did"]}))
    redrawn = np.repeat(panel.variables["did"], 2, axis=0)
    redrawn[1, 6, 13] = 1 - redrawn[1, 6, 13]
    with pytest.raises(BadInput, match="differs between replications"):
        coefficient_weights(panel.with_variables({"did": redrawn}))
    with pytest.raises(BadInput, match="no variable 'yy'"):
        coefficient_weights(replace(panel, roles=Roles("yy", "did")))
