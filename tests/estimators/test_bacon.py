"""Goodman-Bacon: the comparisons add up to the coefficient, by published numbers and by regressions on subsamples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from agreement import in_another_order, with_effects

from estimators import TwoWayDID
from estimators.staggered.bacon import (
    ALWAYS,
    DATES,
    EARLIER,
    KINDS,
    LATER,
    NEVER,
    WITHIN,
    decompose,
    decompose_with_controls,
)
from references.small_panels import names, small_panel
from sim import BadInput, Panel, Roles


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
    got = decompose(on)
    assert got.weights.min() > 0
    assert abs(got.weights.sum() - 1) < 1e-13
    np.testing.assert_allclose(got.estimates @ got.weights, coefficient(on), rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.twfe, coefficient(on), rtol=0, atol=1e-12)
    assert len(got.comparisons) == 4 * 3 + 4 * bool(always) + 4 * bool(never)
    shares = {kind: got.share(kind) for kind in KINDS}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-13)
    averages = {kind: got.average(kind) for kind in KINDS if shares[kind]}
    total = sum(shares[kind] * averages[kind] for kind in averages)
    np.testing.assert_allclose(total, got.twfe, rtol=0, atol=1e-12)
    assert np.isnan(got.average(NEVER)).all() == (not never)


def test_each_comparison_is_a_regression_on_its_units_and_window() -> None:
    on = panel(always=6)
    got = decompose(on)
    did = on.variables["did"][0]
    first = np.where(did.any(axis=0), did.argmax(axis=0), 9)
    for c, estimate in zip(got.comparisons, got.estimates.T, strict=True):
        group = {NEVER: 9, ALWAYS: 0}.get(c.kind, (c.control or 0) - 2001)
        start, stop = {EARLIER: (0, group), LATER: (group, 9)}.get(c.kind, (0, 9))
        units = np.isin(first, (c.treated - 2001, group))
        part = {name: values[:, start:stop, units] for name, values in on.variables.items()}
        sub = Panel(names(int(units.sum())), on.periods[start:stop], part, on.roles)
        np.testing.assert_allclose(estimate, coefficient(sub), rtol=0, atol=1e-12)
        assert (sum(c.units), sum(c.window)) == (units.sum(), stop - start)


def test_castle_doctrine_laws() -> None:
    """What the R package bacondecomp prints for log homicides, where a law counts from the year it takes effect.

    The data set at hand counts it from the year after.
    """
    from causaldata import castle

    frame = castle.load_pandas().data[["sid", "year", "l_homicide", "post"]].astype({"year": int})
    frame["first"] = frame["sid"].map(frame[frame["post"] == 1].groupby("sid")["year"].min()) - 1
    frame["post"] = (frame["year"] >= frame["first"]).astype(float)
    got = decompose(Panel.from_frame(frame.drop(columns="first"), unit="sid", period="year",
                                     roles=Roles("l_homicide", "post")))  # fmt: skip
    assert got.twfe[0] == pytest.approx(0.08181162, abs=5e-9)
    shown = {EARLIER: (0.05976, -0.00554), LATER: (0.03190, 0.07032), NEVER: (0.90834, 0.08796)}
    for kind, (weight, average) in shown.items():
        assert got.share(kind) == pytest.approx(weight, abs=5.1e-6), kind
        assert got.average(kind)[0] == pytest.approx(average, abs=5.1e-6), kind


def test_teen_employment(shared_data: Path) -> None:
    """Callaway and Sant'Anna's counties: the pooled coefficient is -.0365."""
    frame = pd.read_csv(shared_data / "mpdta.csv")
    first = frame.columns[frame.columns.str.contains("first")][0]
    frame["did"] = ((frame[first] > 0) & (frame["year"] >= frame[first])).astype(float)
    got = decompose(Panel.from_frame(frame[["countyreal", "year", "lemp", "did"]], unit="countyreal", period="year",
                                     roles=Roles("lemp", "did")))  # fmt: skip
    assert got.twfe[0] == pytest.approx(-0.0365, abs=5e-5)
    assert got.estimates[0] @ got.weights == pytest.approx(got.twfe[0], abs=1e-13)


def test_order_scale_and_effects_do_not_matter() -> None:
    on = panel(always=3)
    got = decompose(on)
    for other, factor in ((in_another_order(on, 2)[0], 1.0), (with_effects(on, 3.0), 3.0)):
        again = decompose(other)
        np.testing.assert_allclose(again.estimates, factor * got.estimates, rtol=0, atol=1e-11)
        np.testing.assert_allclose(again.weights, got.weights, rtol=1e-13)
        assert [c.treated for c in again.comparisons] == [c.treated for c in got.comparisons]
    one = decompose(on.replication(1))
    np.testing.assert_allclose(one.estimates[0], got.estimates[1], rtol=0, atol=1e-14)


def test_bad_input_is_said_in_one_line() -> None:
    single = panel()
    did = np.array(single.variables["did"])
    did[:] = np.arange(9)[:, None] >= 4
    with pytest.raises(BadInput, match="all units become treated at the same time"):
        decompose(single.with_variables({"did": did}))
    with pytest.raises(BadInput, match="4 unit-periods are missing"):
        decompose(small_panel(missing=4))
    with pytest.raises(BadInput, match="no variable 'yy'"):
        decompose(replace(single, roles=Roles("yy", "did")))
    with pytest.raises(BadInput, match="no comparisons of kind 'late'"):
        decompose(single).share("late")


# With controls.


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
    got = decompose_with_controls(on)
    assert got.weights.min() > 0
    assert got.weights.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(got.estimates @ got.weights, coefficient(on), rtol=0, atol=1e-11)
    np.testing.assert_allclose(got.twfe, coefficient(on), rtol=0, atol=1e-11)
    groups, kinds = 4 + bool(always) + bool(never), [comparison.kind for comparison in got.comparisons]
    assert kinds.count(NEVER) == (groups - 1) * bool(never)
    assert kinds.count(NEVER) + kinds.count(DATES) == groups * (groups - 1) // 2
    several = np.unique(on.variables["did"][0].sum(axis=0), return_counts=True)[1] > 1
    assert kinds.count(WITHIN) == several.sum() * (not by_cohort)  # units of a cohort whose controls differ


def test_a_pair_with_controls_is_a_regression_on_its_cohorts() -> None:
    """Of y on D - X b, b of the whole panel, on the means of two cohorts by unit and period effects."""
    on = with_controls(panel())
    got = decompose_with_controls(on)
    did = on.variables["did"][0]
    first, t = np.where(did.any(axis=0), did.argmax(axis=0), 9), 9
    dummies = np.hstack([np.tile(np.eye(did.shape[1]), (t, 1)), np.repeat(np.eye(t), did.shape[1], axis=0)])
    x = np.column_stack([on.variables[name][0].ravel() for name in ("x", "z")])
    d = did.ravel() - (np.column_stack([x, dummies])
                       @ np.linalg.lstsq(np.column_stack([x, dummies]), did.ravel())[0])  # fmt: skip
    for pair, estimate in zip(got.comparisons, got.estimates.T, strict=True):
        ends = [9 if year is None else year - 2001 for year in (pair.treated, pair.control)]
        assert pair.units == tuple(int((first == end).sum()) for end in ends)
        if pair.kind == WITHIN:
            part = first == ends[0]
            own, *outcomes = ((values - values.mean(axis=1, keepdims=True)).ravel()
                              for values in (d.reshape(t, -1)[:, part], *on.variables["y"][:, :, part]))  # fmt: skip
            np.testing.assert_allclose(estimate, [own @ y / (own @ own) for y in outcomes], rtol=1e-8)
            continue
        means = [[values.reshape(t, -1)[:, first == end].mean(axis=1) for end in ends]
                 for values in (d, *(y.ravel() for y in on.variables["y"]))]  # fmt: skip
        own, *outcomes = (np.subtract(*pairs) - np.subtract(*pairs).mean() for pairs in means)
        np.testing.assert_allclose(estimate, [own @ y / (own @ own) for y in outcomes], rtol=1e-8)


def test_careless_decompositions_with_controls_are_one_line() -> None:
    on = panel()
    with pytest.raises(BadInput, match="no controls"):
        decompose_with_controls(on)
    ready = with_controls(on)
    redrawn = ready.with_variables({"x": np.repeat(ready.variables["x"], 3, axis=0)})
    with pytest.raises(BadInput, match="'x' differs between replications"):
        decompose_with_controls(redrawn)
    constant = ready.with_variables({"x": np.ones_like(ready.variables["x"])})
    with pytest.raises(BadInput, match="'x' is constant"):
        decompose_with_controls(constant)
    weighted = replace(ready, roles=replace(ready.roles, weight="z"))
    with pytest.raises(BadInput, match="weight"):
        decompose_with_controls(weighted)
    with pytest.raises(BadInput, match="no variable 'w'"):
        decompose_with_controls(ready, controls=("w",))
