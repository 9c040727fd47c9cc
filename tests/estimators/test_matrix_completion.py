"""Matrix completion: a slow program, conditions of the minimum, published numbers, simulation, invariances."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from estimators import Imputation, MatrixCompletion, Status
from estimators.synthetic.imputed_effects import CellEffects, UnitPanels, untreated_slopes
from estimators.synthetic.matrix_completion import Masked
from references.completion_programs import factor_panel, plain_matrix_completion
from references.staggered_panels import staggered_panel
from sim import BadInput, Panel, Roles, Streams

FAST = MatrixCompletion(errors=("jackknife:unit",), folds=2, penalties=8)


@pytest.mark.parametrize(("staggered", "tolerance"), [(False, 1e-5), (True, 1e-3)])
def test_it_is_the_slow_program(staggered: bool, tolerance: float) -> None:
    panel = factor_panel(replications=3, units=13, periods=11, treated=3, last=3, staggered=staggered)
    streams = Streams(4).tile(0, 3)
    got = MatrixCompletion(folds=3, tolerance=tolerance)(panel, streams)
    folds = [generator.random((3, 11, 13)) < 0.8 for generator in streams.each("folds")]
    for row, kept in enumerate(folds):
        effect, penalty = plain_matrix_completion(panel.variables["y"][row], panel.variables["did"][0], kept, tolerance)
        assert got.estimate[row, 0] == pytest.approx(effect, abs=1e-9)
        assert got.statistics["penalty"][row] == pytest.approx(penalty, rel=1e-9)


def masked(seed: int = 3) -> tuple[Masked, CellEffects, Masked]:
    rng = np.random.default_rng(seed)
    mask = (rng.random((4, 9, 14)) < 0.8) * 1.0
    y = rng.standard_normal((4, 9, 2)) @ rng.standard_normal((4, 2, 14)) + 0.3 * rng.standard_normal((4, 9, 14))
    effects = CellEffects.of(mask)
    return Masked.of(y, effects)[0], effects, Masked.of(y, effects)  # type: ignore[return-value]


def test_the_largest_penalty_leaves_two_way_effects() -> None:
    panel = staggered_panel(replications=3)
    got = MatrixCompletion(penalty=1e6)(panel)
    wanted = Imputation()(panel)
    np.testing.assert_allclose(got.estimate[:, 0], wanted.estimate[:, wanted.terms.index("overall")], rtol=1e-9)
    np.testing.assert_array_equal(got.statistics["rank"], 0)


def test_the_largest_penalty_of_a_path_is_the_least_that_leaves_nothing() -> None:
    problem, _, (_, state, largest) = masked()
    just, _ = MatrixCompletion(tolerance=1e-12, sweeps=100).descend(problem, state, largest * (1 + 1e-9))
    below, _ = MatrixCompletion(tolerance=1e-12, sweeps=100).descend(problem, state, largest * 0.99)
    np.testing.assert_array_equal(just.norm, 0)
    assert (below.norm > 0).all()


def test_slopes_are_those_of_the_regression_on_untreated_cells() -> None:
    panel = staggered_panel(replications=2)
    x = np.stack([panel.variables[name] for name in ("inv", "road")], axis=1)
    did = panel.variables["did"][0]
    first = np.where(did.any(axis=0), did.argmax(axis=0), len(did))
    panels = UnitPanels(panel.variables["y"], x, np.broadcast_to(first, (2, len(first))))
    got = untreated_slopes(panels, CellEffects.of(panels.untreated))
    t, n = did.shape
    seen = did.ravel() == 0
    units, periods = np.tile(np.eye(n), (t, 1)), np.repeat(np.eye(t), n, axis=0)
    design = np.column_stack([x[0].reshape(2, -1).T, units, periods])[seen]
    for row in range(2):
        wanted = np.linalg.lstsq(design, panel.variables["y"][row].ravel()[seen], rcond=None)[0][:2]
        np.testing.assert_allclose(got[row], wanted, rtol=1e-9)


def test_covariates_are_taken_out() -> None:
    panel = factor_panel(replications=2, covariate=0.8, units=16, periods=12, treated=4, last=3)
    panels = UnitPanels(panel.variables["y"], panel.variables["x"][:, None], np.repeat([[12]], 16, axis=1).repeat(2, 0))
    did = panel.variables["did"][0]
    first = np.where(did.any(axis=0), did.argmax(axis=0), 12)
    panels = replace(panels, first=np.broadcast_to(first, (2, 16)))
    b = untreated_slopes(panels, CellEffects.of(panels.untreated))
    without = panel.with_variables({"y": panel.variables["y"] - b[:, :, None] * panel.variables["x"]})
    bare = replace(without, roles=Roles("y", "did", ()))
    np.testing.assert_allclose(FAST(panel).estimate, FAST(bare).estimate, rtol=1e-9)
    moved = panel.with_variables({"y": panel.variables["y"] + 3 * panel.variables["x"]})
    np.testing.assert_allclose(FAST(moved).estimate, FAST(panel).estimate, rtol=1e-7)


@pytest.mark.parametrize("error", ["jackknife:unit", "placebo:unit", "bootstrap:unit"])
def test_levels_and_scale(error: str) -> None:
    panel = factor_panel(replications=2, units=16, periods=12, treated=4, last=3)
    estimator = replace(FAST, errors=(error,), draws=20)
    rng = np.random.default_rng(3)
    y = panel.variables["y"]
    wanted = estimator(panel)
    shifted = estimator(panel.with_variables({"y": y + rng.normal(0, 5, 16) + rng.normal(0, 5, 12)[:, None]}))
    scaled = estimator(panel.with_variables({"y": 1000 * y}))
    for got, factor in ((shifted, 1.0), (scaled, 1000.0)):
        np.testing.assert_allclose(got.estimate, factor * wanted.estimate, rtol=1e-7)
        np.testing.assert_allclose(got.se, factor * wanted.se, rtol=1e-7)


def test_levels_do_not_choose_the_penalty_where_a_fold_holds_out_all_cells_of_a_unit() -> None:
    """Units that are untreated in two periods alone: a fold without both has no effect of theirs to tell cells from."""
    rng = np.random.default_rng(16)
    first = np.where(np.arange(24) < 6, 2, np.where(np.arange(24) < 10, 4, 99))
    y = rng.standard_normal((8, 1)) @ rng.standard_normal((1, 24)) + rng.standard_normal((8, 24))
    did = (np.arange(8)[:, None] >= first) * 1.0
    panel = Panel(tuple(f"{k:02d}" for k in range(24)), tuple(range(8)), {"y": y[None], "did": did[None]},
                  Roles("y", "did", ()))  # fmt: skip
    drawn = [generator.random((4, 8, 24)) < 0.8 for generator in Streams(0).tile(0, 1).each("folds")]
    assert any((kept & (did == 0)).sum(axis=1).min() == 0 for kept in drawn)
    plain, moved = (replace(FAST, folds=4)(panel.with_variables({"y": y[None] + level})) for level in (0.0, 1000.0))
    assert moved.statistics["penalty"][0] == pytest.approx(plain.statistics["penalty"][0], abs=1e-9)
    assert moved.estimate[0, 0] == pytest.approx(plain.estimate[0, 0], rel=1e-7)


def test_order_of_units() -> None:
    panel = factor_panel(replications=2, units=16, periods=12, treated=4, last=3, staggered=True)
    estimator = replace(FAST, penalty=0.05)
    order = np.random.default_rng(1).permutation(16)
    shuffled = replace(
        panel, units=tuple(panel.units[i] for i in order),
        variables={name: values[:, :, order] for name, values in panel.variables.items()},
    )  # fmt: skip
    one, other = estimator(panel), estimator(shuffled)
    np.testing.assert_allclose(one.estimate, other.estimate, rtol=1e-8)
    np.testing.assert_allclose(one.se, other.se, rtol=1e-7)


def test_units_that_are_treated_all_the_time_take_no_part() -> None:
    panel = factor_panel(units=16, periods=12, treated=4, last=3)
    did = np.array(panel.variables["did"])
    never = int(np.flatnonzero(~did[0].any(axis=0))[0])
    did[:, :, never] = 1.0
    whole = panel.with_variables({"did": did})
    kept = np.arange(16) != never
    without = replace(
        panel, units=tuple(np.array(panel.units)[kept]),
        variables={name: values[:, :, kept] for name, values in panel.variables.items()},
    )  # fmt: skip
    estimator = replace(FAST, penalty=0.05)
    np.testing.assert_allclose(estimator(whole).estimate, estimator(without).estimate, rtol=1e-9)


def test_replications_stand_alone_bit_for_bit() -> None:
    panel = factor_panel(replications=3, units=14, periods=11, treated=3, last=3, covariate=0.5)
    estimator = replace(FAST, errors=("placebo:unit", "bootstrap:unit", "jackknife:unit"), draws=20, reselect=True)
    whole = estimator(panel, Streams(1).tile(5, 8))
    for row in range(3):
        alone = estimator(panel.replication(row), Streams(1).tile(5 + row, 6 + row))
        for name in ("estimate", "se", "status"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(whole, name)[row], err_msg=name)
    assert np.isfinite(whole.se).all()


def test_the_jackknife_holds_the_penalty_of_each_panel() -> None:
    """A loop that leaves out a unit and fits with the penalty that the whole panel chose."""
    panel = factor_panel(replications=2, units=10, periods=9, treated=3, last=3)
    whole = FAST(panel)
    for row in range(2):
        held = MatrixCompletion(penalty=float(whole.statistics["penalty"][row]), penalties=8)
        left = []
        for i in range(10):
            kept = np.arange(10) != i
            part = replace(
                panel, units=tuple(np.array(panel.units)[kept]),
                variables={name: x[min(row, len(x) - 1)][None][:, :, kept] for name, x in panel.variables.items()},
            )  # fmt: skip
            left.append(float(held(part).estimate[0, 0]))
        spread = np.array(left) - np.mean(left)
        assert whole.se[row, 0, 0] == pytest.approx(np.sqrt(0.9 * (spread**2).sum()), rel=1e-9)


def test_samples_may_choose_their_own_penalty() -> None:
    panel = factor_panel(replications=1, units=14, periods=11, treated=3, last=3)
    held = replace(FAST, errors=("placebo:unit",), draws=20)(panel)
    own = replace(FAST, errors=("placebo:unit",), draws=20, reselect=True)(panel)
    assert own.estimate == held.estimate
    assert own.se != held.se


def test_sweeps_that_do_not_end_are_said() -> None:
    panel = factor_panel(units=14, periods=11, treated=3, last=3)
    assert MatrixCompletion(penalty=1e-4, tolerance=1e-12, sweeps=2)(panel).status.tolist() == [Status.NOT_CONVERGED]


def test_the_completed_panel_is_what_the_effect_is_measured_from() -> None:
    panel = factor_panel(replications=2, units=16, periods=12, treated=4, last=3)
    completed = FAST.completed(panel)
    did = panel.variables["did"]
    gap = (did * (panel.variables["y"] - completed)).sum(axis=(1, 2)) / did.sum()
    np.testing.assert_allclose(gap, FAST(panel).estimate[:, 0], rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"penalty": -1.0}, "penalty = -1.0; allowed: 0 or more"),
        ({"folds": 0}, "folds = 0"),
        ({"kept": 1.0}, "kept = 1.0; allowed: a share"),
        ({"penalties": 2}, "penalties = 2"),
        ({"tolerance": 0.0}, "tolerance = 0.0"),
        ({"sweeps": 0}, "sweeps = 0"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, float], text: str) -> None:
    with pytest.raises(BadInput, match=text):
        MatrixCompletion(**settings)  # type: ignore[arg-type]


def test_panels_that_cannot_serve() -> None:
    panel = factor_panel(units=10, periods=8, treated=3, last=3)
    gaps = np.ones((1, 8, 10), dtype=bool)
    gaps[0, 0, 0] = False
    y = np.where(gaps, panel.variables["y"], np.nan)
    with pytest.raises(BadInput, match="1 unit-periods are missing"):
        FAST(replace(panel, observed=gaps, variables={**panel.variables, "y": y}))
    everybody = np.array(panel.variables["did"])
    everybody[:, -1] = 1.0
    with pytest.raises(BadInput, match="no unit is untreated in 2008"):
        FAST(panel.with_variables({"did": everybody}))
    with pytest.raises(BadInput, match="absorbing"):
        FAST(panel.with_variables({"did": panel.variables["did"][:, ::-1]}))
    with pytest.raises(BadInput, match="unknown error type 'cluster:unit'"):
        MatrixCompletion(errors=("cluster:unit",))(panel)
    with pytest.raises(BadInput, match="draws = 5"):
        MatrixCompletion(draws=5)(panel)


def california(shared_data: Path) -> Panel:
    """Cigarette packs a head in 39 states, California treated from 1989 on."""
    table = pd.read_csv(shared_data / "california_prop99.csv", sep=";")
    wide = {
        name: table.pivot(index="Year", columns="State", values=column).to_numpy(float)[None]
        for name, column in (("y", "PacksPerCapita"), ("did", "treated"))
    }
    years = tuple(int(year) for year in sorted(table["Year"].unique()))
    return Panel(tuple(sorted(table["State"].unique())), years, wide, Roles("y", "did", ()))


def test_california(shared_data: Path) -> None:
    """Published -20.2; the folds are random, ours other ones. Placebo error 11.5, of 200 draws from 38 states."""
    panel = california(shared_data)
    for seed in range(3):
        found = MatrixCompletion(errors=("placebo:unit",), draws=100)(panel, Streams(seed))
        assert abs(found.estimate[0, 0] + 20.2) < 0.3
        assert abs(found.se[0, 0, 0] - 11.5) < 3 * 11.5 * np.hypot(1 / np.sqrt(2 * 200), 1 / np.sqrt(2 * 100))
