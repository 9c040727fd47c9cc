"""Placebos of never treated units: against loops and hand calculations, their size, and what cannot have them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from agreement import assert_batch_is_its_panels
from covering import covered
from refusals import refuses

from estimators import Estimates
from estimators.core.estimator import p_values
from estimators.linear.did import TwoWayDID
from estimators.linear.few_clusters import Placebos, variance_lines
from references.regressions import panel_ols
from references.small_panels import small_panel
from sim import BadInput, Panel, Roles, Streams
from sim.panel import seen_in


def placed(
    y: np.ndarray, dates: dict[int, int], size: np.ndarray | None = None, observed: np.ndarray | None = None
) -> Panel:
    """Outcomes (R, T, N) with units that are treated from a period (counted from 0) on."""
    periods, units = y.shape[1:]
    did = np.zeros((1, periods, units))
    for unit, date in dates.items():
        did[0, date:, unit] = 1.0
    return Panel(
        units=tuple(f"u{i:03d}" for i in range(units)),
        periods=tuple(range(periods)),
        variables={"y": y, "did": did},
        roles=Roles("y", "did"),
        attributes={"population": np.ones(units) if size is None else size},
        observed=observed,
    )


def slow_placebos(panel: Panel, treated: list[int], size: np.ndarray | None) -> tuple[float, np.ndarray]:
    """The estimate and all placebo sums, by loops over units and whole matrices of dummies."""
    seen = seen_in(panel)
    names = panel.roles.regressors
    cells = np.argwhere(seen)
    t, n = seen.shape
    dummies = np.hstack([np.equal.outer(cells[:, 1], np.arange(n)), np.equal.outer(cells[:, 0], np.arange(t))])
    x = np.column_stack([*(panel.variables[name][0][seen] for name in names), dummies.astype(float)])
    inverse = np.linalg.pinv(x, rcond=1e-10)
    annihilator = np.eye(len(x)) - x @ inverse
    y = panel.variables["y"][0][seen]
    e, d = annihilator @ y, panel.variables["did"][0]
    controls = [i for i in range(n) if not d[:, i][seen[:, i]].any() and seen[:, i].sum() > 1]

    def weights(j: int, unit: int) -> tuple[np.ndarray, float]:
        """g over g'g on the cells of a unit, and g'g."""
        common = seen[:, j] & seen[:, unit]
        g = np.where(common, d[:, j] - d[common, j].mean(), 0.0)
        return (g / (g @ g))[seen[:, unit]], float(g @ g)

    sums, own = [], []
    for j in treated:
        values, squares = [], []
        for unit in controls:
            here = np.flatnonzero(cells[:, 1] == unit)
            a, gg = weights(j, unit)
            kept = a @ annihilator[np.ix_(here, here)] @ a * gg
            values.append(a @ e[here] / np.sqrt(kept))
            squares.append(gg)
        own.append(weights(j, j)[1])
        if size is not None:
            q, mine = 1 / (np.array(squares) * size[controls]), 1 / (own[-1] * size[j])
            a, b = (float(part[0, 0]) for part in variance_lines(np.square(values)[None, None], q[None], q[None] > 0))
            values = list(np.array(values) * np.sqrt((a + b * mine) / (a + b * q)))
        sums.append(values)
    scale = np.sqrt(inverse[0] @ inverse[0] * sum(own))
    shares = np.array(own) / sum(own)
    placebos = np.array([scale * shares @ each for each in product(*sums)])
    return float(inverse[0] @ y), placebos


@covered(missing=[0, 21], dates=[((2, 4),), ((2, 4), (7, 3))], sized=[None, "alike", "sizes"])
def test_p_values_and_intervals_equal_those_of_loops(dates: Any, sized: str | None, missing: int) -> None:
    base = small_panel(24, 7, seed=8, missing=missing, sigma=2.0, model="none")
    did = np.zeros((1, 7, 24))
    for unit, date in dates:
        did[0, date:, unit] = 1.0
    size = np.random.default_rng(3).uniform(0.2, 3.0, 24)
    panel = replace(base.with_variables({"did": did}), attributes={"population": size})
    error = {None: "conley-taber", "alike": "ferman-pinto", "sizes": "ferman-pinto:population"}[sized]
    found = TwoWayDID(errors=("iid", error))(panel)
    chosen = {None: None, "alike": np.ones(24), "sizes": size}[sized]
    estimate, placebos = slow_placebos(panel, [unit for unit, _ in dates], chosen)
    assert found.estimate[0, 0] == pytest.approx(estimate)
    assert len(placebos) <= 999
    larger = int((np.abs(placebos) >= abs(estimate)).sum())
    assert found.pvalue[0, 1, 0] == pytest.approx((1 + larger) / (1 + len(placebos)))
    needed = int(0.05 * (1 + len(placebos)) + 1e-9)
    reach = np.sort(np.abs(placebos))[-needed] if needed else np.inf
    assert found.lower[0, 1, 0] == pytest.approx(estimate - reach, rel=1e-8)
    assert found.upper[0, 1, 0] == pytest.approx(estimate + reach, rel=1e-8)
    assert np.isnan(found.se[0, 1]).all()
    assert np.isnan(found.pvalue[0, 1, 1:]).all()  # controls have no such test
    assert np.isnan(found.pvalue[0, 0]).all()


def test_one_treated_unit_by_hand() -> None:
    """Two periods: changes 10 of the treated unit, 1, 2, 3, 6 of the others; placebos are these less their mean."""
    y = np.zeros((1, 2, 5))
    y[0, 1] = [10.0, 1.0, 2.0, 3.0, 6.0]
    found = TwoWayDID(errors=("conley-taber",))(placed(y, {0: 1}))
    assert found.estimate[0, 0] == pytest.approx(7.0)
    assert found.pvalue[0, 0, 0] == pytest.approx(1 / 5)
    assert found.dof[0, 0, 0] == 3
    near = placed(y - np.array([[0.0], [1.0]]) * np.array([3.4, 0, 0, 0, 0]), {0: 1})  # an estimate of 3.6
    again = TwoWayDID(errors=("conley-taber",))(near)
    # placebos -2, -1, 0, 3 times sqrt(1 + 1/4)/sqrt(1 - 1/4) = 1.29: 3.87 alone is beyond 3.6
    assert again.pvalue[0, 0, 0] == pytest.approx(2 / 5)


def test_assignments_are_of_all_units_that_can_serve_and_of_no_other() -> None:
    """Units 0 and 4 are treated, 1 and 2 always; of the others 7 is never observed with both of them."""
    did = np.zeros((6, 10))
    did[2:, 0] = did[4:, 4] = did[:, 1] = did[:, 2] = 1.0
    mask = np.ones((6, 10))
    mask[3:, 7] = 0.0
    found = Placebos.of(did, mask, np.empty((0, 6, 10)))
    every, drawn = found.assignments(30), next(found.drawn([np.random.default_rng(1)], 2000))
    assert every is not None
    assert found.assignments(29) is None
    for some in (every, drawn):
        assert np.unique(some[:, 0]).tolist() == [3, 5, 6, 7, 8, 9]
        assert np.unique(some[:, 1]).tolist() == [3, 5, 6, 8, 9]  # 7 is not seen after the date of 4
    assert len(every) == len(np.unique(every, axis=0)) == 30
    counts = np.bincount(drawn[:, 1], minlength=10)[[3, 5, 6, 8, 9]]
    assert np.abs(counts - 400).max() <= 4 * np.sqrt(400 * 0.8)


def test_several_dates_in_a_batch_and_one_by_one() -> None:
    """Assignments are drawn where they are more than the draws, one stream a replication."""
    panel = small_panel(30, 7, seed=2, replications=4, sigma=2.0)
    model = panel_ols(errors=("cluster:unit", "conley-taber", "ferman-pinto"), draws=199)
    whole = assert_batch_is_its_panels(model, panel, Streams(3, "", 0, 4))
    np.testing.assert_allclose(whole.pvalue[:, 1, 0], whole.pvalue[:, 2, 0])  # balanced and alike: nothing to rescale
    assert len(np.unique(whole.pvalue[:, 1, 0])) > 1


@covered(missing=[0, 17], constant=[False, True])
def test_redrawn_treatments_have_the_tests_of_fixed_ones(constant: bool, missing: int) -> None:
    panel = small_panel(20, 6, seed=2, replications=3, redrawn=True, missing=missing)
    model = panel_ols(constant=constant, errors=("wild:unit", "conley-taber", "ferman-pinto"), draws=99)
    whole = model(panel, Streams(3, "", 0, 3))
    for r in range(3):
        alone = model(panel.replication(r), Streams(3, "", r, r + 1))
        for name in ("pvalue", "lower", "upper", "dof"):
            np.testing.assert_allclose(getattr(whole, name)[r], getattr(alone, name)[0], rtol=1e-7)


def test_a_constant_effect_moves_the_interval_with_the_estimate() -> None:
    rng = np.random.default_rng(5)
    y = rng.standard_normal((6, 8, 40))
    plain = TwoWayDID(errors=("conley-taber",))(placed(y, {0: 4, 1: 5}))
    moved = placed(y, {0: 4, 1: 5})
    moved = moved.with_variables({"y": 3.0 * (y + 2.0 * moved.variables["did"] + np.arange(40.0))})
    again = TwoWayDID(errors=("conley-taber",))(moved)
    for name in ("lower", "upper"):
        np.testing.assert_allclose(getattr(again, name), 3.0 * (getattr(plain, name) + 2.0), rtol=1e-8)


def test_variance_lines() -> None:
    """Exact lines are found; one that falls is its weighted mean, one from below zero goes through the origin."""
    q = np.array([[1.0, 2.0, 4.0, 8.0]])
    usable = np.ones((1, 4), dtype=bool)
    for squares, constant, slope in (
        (2.0 + 3.0 * q, 2.0, 3.0),
        (np.full((1, 4), 5.0), 5.0, 0.0),
        (10.0 - q, 6.25, 0.0),
    ):
        a, b = variance_lines(squares[None], q, usable)
        assert a[0, 0] == pytest.approx(constant)
        assert b[0, 0] == pytest.approx(slope, abs=1e-12)
    a, b = variance_lines((q**2)[None], q, usable)
    assert a[0, 0] == 0
    assert b[0, 0] == pytest.approx(15 / 4)  # weights 1/q^2: the mean of q^2/q
    a, b = variance_lines(np.array([[[5.0, 8.0, 14.0, 1e9]]]), q, np.array([[True, True, True, False]]))
    assert (a[0, 0], b[0, 0]) == (pytest.approx(2.0), pytest.approx(3.0))


def rejected(found: Estimates, row: int) -> float:
    own = p_values(found.estimate[:, 0] / found.se[:, row, 0], found.dof[:, row, 0])
    stored = found.pvalue[:, row, 0] if found.pvalue is not None else own
    return float((np.where(np.isnan(own), stored, own) <= 0.05).mean())


BAND = 4 * np.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.parametrize(("dates", "serial"), [({0: 4}, 0.6), ({0: 4, 1: 5, 2: 6}, 0.0)])
def test_few_treated_units_keep_the_level_where_clustered_errors_reject_tens_of_percent(
    dates: dict[int, int], serial: float
) -> None:
    rng = np.random.default_rng(30)
    y = rng.standard_normal((4000, 9, 59 + len(dates)))
    for t in range(1, 9):
        y[:, t] = serial * y[:, t - 1] + np.sqrt(1 - serial**2) * y[:, t]
    errors = ("cluster:unit", "conley-taber", "ferman-pinto")
    found = TwoWayDID(errors=errors, draws=199)(placed(y, dates), Streams(1, "", 0, 4000))
    assert rejected(found, 0) > (0.6 if len(dates) == 1 else 0.15)
    assert abs(rejected(found, 1) - 0.05) <= BAND
    assert abs(rejected(found, 2) - 0.05) <= BAND


@pytest.mark.parametrize("own", [0.3, 3.0], ids=["a small unit", "a large unit"])
def test_sizes_bring_the_level_back_where_variances_depend_on_them(own: float) -> None:
    rng = np.random.default_rng(31)
    size = np.exp(0.8 * rng.standard_normal(120))
    size[0] = own
    y = rng.standard_normal((4000, 8, 120)) * np.sqrt(0.05 + 1 / size)
    found = TwoWayDID(errors=("conley-taber", "ferman-pinto:population"))(placed(y, {0: 4}, size))
    assert abs(rejected(found, 0) - 0.05) > 2 * BAND
    assert abs(rejected(found, 1) - 0.05) <= BAND


def short_of_cells(kept: int, units: np.ndarray, seed: int) -> np.ndarray:
    """Cells (1, 8, 120) with some of four before and of four from adoption on, for some units."""
    rng = np.random.default_rng(seed)
    observed = np.ones((1, 8, 120), dtype=bool)
    for unit in units:
        for start in (0, 4):
            observed[0, start + rng.permutation(4)[kept:], unit] = False
    return observed


def test_numbers_of_cells_bring_the_level_back_where_never_treated_units_lack_them() -> None:
    """Two thirds of them have one cell before and one from adoption on: their placebos are twice as large."""
    rng = np.random.default_rng(32)
    observed = short_of_cells(1, np.arange(1, 80), 2)
    panel = placed(rng.standard_normal((4000, 8, 120)), {0: 4}, observed=observed)
    found = TwoWayDID(errors=("conley-taber", "ferman-pinto"))(panel)
    assert rejected(found, 0) < 0.05 - BAND
    assert abs(rejected(found, 1) - 0.05) <= BAND


def test_power_and_coverage_with_one_treated_unit() -> None:
    panel = placed(np.random.default_rng(33).standard_normal((2000, 8, 60)), {0: 4})
    panel = panel.with_variables({"y": panel.variables["y"] + 3.0 * panel.variables["did"]})
    found = TwoWayDID(errors=("conley-taber",))(panel)
    inside = (found.lower[:, 0, 0] <= 3.0) & (found.upper[:, 0, 0] >= 3.0)
    assert abs(inside.mean() - 0.95) <= 4 * np.sqrt(0.05 * 0.95 / 2000)
    assert rejected(found, 0) > 0.95


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"errors": ("conley-taber:unit",)}, "unknown error type"),
        ({"errors": ("ferman-pinto:nowhere",)}, "unknown error type"),
        ({"errors": ("ferman-pinto:longitude",)}, "unknown error type"),
        ({"errors": ("conley-taber",), "effects": ("unit",)}, "without a treatment beside unit and period effects"),
        ({"errors": ("conley-taber",), "regressors": ("inv",)}, "without a treatment beside unit and period effects"),
        ({"errors": ("ferman-pinto:province",)}, "'province' is p0 for unit unit 000"),
    ],
)
def test_what_cannot_be_asked_is_bad_input(settings: dict[str, tuple[str, ...]], said: str) -> None:
    panel = small_panel(12, 5)
    panel = replace(panel, attributes={**panel.attributes, "longitude": np.zeros(12)})
    refuses(said, lambda: TwoWayDID(**settings)(panel))


def test_sizes_are_positive_numbers() -> None:
    y = np.random.default_rng(1).standard_normal((1, 5, 12))
    for wrong in (0.0, -1.0, np.nan, np.inf):
        size = np.ones(12)
        size[7] = wrong
        with pytest.raises(BadInput, match=r"ferman-pinto:population; .*for unit u007; allowed: a positive number"):
            TwoWayDID(errors=("ferman-pinto:population",))(placed(y, {0: 2}, size))


def test_too_few_never_treated_units() -> None:
    """With a fixed treatment bad input before any work; of redrawn ones no test, and a sound estimate."""
    y = np.random.default_rng(1).standard_normal((2, 5, 6))
    late = {i: 1 + i % 4 for i in range(5)}
    with pytest.raises(BadInput, match=r"conley-taber with 1 unit that is never treated; .*2 or more"):
        TwoWayDID(errors=("conley-taber",))(placed(y, late))
    two = TwoWayDID(errors=("conley-taber",))(placed(y, {i: late[i] for i in range(4)}))
    assert np.isfinite(two.pvalue[:, 0, 0]).all()
    assert (two.dof[:, 0, 0] == 1).all()
    enough = placed(y, {0: 2, 1: 3}).variables["did"]
    short = placed(y, late).variables["did"]
    found = TwoWayDID(errors=("conley-taber",))(
        placed(y, late).with_variables({"did": np.concatenate([enough, short])})
    )
    assert np.isfinite(found.estimate).all()
    assert np.isnan(found.pvalue[:, 0, 0]).tolist() == [False, True]
