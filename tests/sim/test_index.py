"""The entropy index: worked by hand, against loops, and left alone by what must not matter."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from refusals import refuses

from references.small_panels import small_panel
from sim.index import CellNames, EntropyIndex, entropy, entropy_index, hhi_diversification, panel_index

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
POSITIVE, NEGATIVE = ("a", "b"), ("c",)


def drawn(replications: int = 1, *, shape: tuple[int, int] = (4, 7), seed: int = 1) -> dict[str, Floats]:
    """Three skewed indicators, (R, T, N) each, on different scales."""
    rng = np.random.default_rng(seed)
    size = (replications, *shape)
    return {"a": rng.lognormal(size=size), "b": 1000 * rng.normal(size=size), "c": rng.uniform(-3, -2, size=size)}


def index_of(values: dict[str, Floats], observed: Mask | None = None) -> EntropyIndex:
    return entropy_index(
        {name: values[name] for name in POSITIVE}, {name: values[name] for name in NEGATIVE}, observed=observed
    )


def by_loops(values: dict[str, Floats], negative: tuple[str, ...], seen: Mask) -> tuple[list[float], list[float]]:
    """Weights, and scores of the observed cells in order, of one replication: equations 1-7 as they are printed."""
    cells = [(t, i) for t in range(seen.shape[0]) for i in range(seen.shape[1]) if seen[t, i]]
    scaled, divergences = [], []
    for name, x in values.items():
        column = [float(x[t, i]) for t, i in cells]
        low, high = min(column), max(column)
        a = [(high - v) / (high - low) if name in negative else (v - low) / (high - low) for v in column]
        total = 0.0
        for v in a:
            p = v / sum(a)
            total += p * math.log(p) if p > 0 else 0.0
        scaled.append(a)
        divergences.append(1 + total / math.log(len(cells)))
    weights = [g / sum(divergences) for g in divergences]
    return weights, [sum(w * a[row] for w, a in zip(weights, scaled, strict=True)) for row in range(len(cells))]


def test_two_indicators_by_hand() -> None:
    # a: scaled 0, 1/2, 1/2, 1; p 0, 1/4, 1/4, 1/2; e = 1.5 ln 2 / ln 4.  c: scaled 0, 1, 1, 0; e = ln 2 / ln 4.
    index = entropy_index({"a": np.array([[[0.0, 1], [1, 2]]])}, {"c": np.array([[[5.0, 1], [1, 5]]])})
    assert (index.indicators, index.negative, index.observations.tolist()) == (("a", "c"), ("c",), [4])
    np.testing.assert_allclose(index.entropies, [[0.75, 0.5]], rtol=1e-15)
    np.testing.assert_allclose(index.divergences, [[0.25, 0.5]], rtol=1e-15)
    np.testing.assert_allclose(index.weights, [[1 / 3, 2 / 3]], rtol=1e-15)
    np.testing.assert_allclose(index.score, [[[0, 5 / 6], [5 / 6, 1 / 3]]], rtol=1e-15)
    assert index.subtotals({"all": ("a", "c"), "one": ("c",), "none": ()})["all"].tolist() == [1.0]
    assert index.subtotals({"one": ("c",)})["one"].tolist() == index.weights[:, 1].tolist()


def test_a_single_row_above_all_others_has_entropy_zero_and_equal_rows_entropy_one() -> None:
    seen = np.ones((1, 2, 3), dtype=bool)
    spike = np.array([[[0.0, 0, 1], [0, 0, 0]]])
    assert entropy(spike, seen).tolist() == [0.0]
    assert entropy(np.ones((1, 2, 3)), seen).tolist() == pytest.approx([1.0], abs=1e-15)


@pytest.mark.parametrize("gaps", [0, 5])
def test_loops_give_the_same(gaps: int) -> None:
    values = drawn(3)
    seen = np.ones((3, 4, 7), dtype=bool)
    seen.reshape(3, -1)[:, 2 : 2 + gaps] = False
    seen[1, 3, :gaps] = False  # of one replication alone
    index = index_of(values, seen)
    for r in range(3):
        weights, scores = by_loops({name: x[r] for name, x in values.items()}, NEGATIVE, seen[r])
        np.testing.assert_allclose(index.weights[r], weights, rtol=1e-11)
        np.testing.assert_allclose(index.score[r][seen[r]], scores, rtol=1e-11, atol=1e-15)
    assert np.isnan(index.score[~seen]).all()


def test_a_batch_is_its_replications_to_the_bit() -> None:
    values = drawn(5)
    values["b"] = values["b"][:1]  # the same in every replication
    seen = np.random.default_rng(2).uniform(size=(1, 4, 7)) < 0.8
    batch = index_of(values, seen)
    assert (batch.weights.shape, batch.score.shape, batch.observations.shape) == ((5, 3), (5, 4, 7), (1,))
    for r in range(5):
        one = index_of({name: x[min(r, len(x) - 1)][None] for name, x in values.items()}, seen)
        np.testing.assert_array_equal(one.weights[0], batch.weights[r])
        np.testing.assert_array_equal(one.entropies[0], batch.entropies[r])
        np.testing.assert_array_equal(one.score[0], batch.score[r])


def test_the_unit_of_an_indicator_does_not_matter_and_its_sign_is_its_side() -> None:
    values = drawn()
    index = index_of(values)
    rescaled = index_of(values | {"a": 40 + 0.001 * values["a"], "c": 7 * values["c"]})
    np.testing.assert_allclose(rescaled.weights, index.weights, rtol=1e-9)
    np.testing.assert_allclose(rescaled.score, index.score, rtol=1e-9, atol=1e-12)
    turned = entropy_index({"a": values["a"], "b": values["b"], "c": -values["c"]})
    np.testing.assert_allclose(turned.score, index.score, rtol=1e-12)


def test_cells_that_are_not_observed_do_not_count_whatever_they_hold() -> None:
    values = drawn()
    seen = np.ones((1, 4, 7), dtype=bool)
    seen[0, 1, :] = False
    index = index_of(values, seen)
    for hidden in (np.nan, np.inf, 1e9):
        other = index_of({name: np.where(seen, x, hidden) for name, x in values.items()}, seen)
        np.testing.assert_array_equal(other.score, index.score)
    without = index_of({name: x[:, [0, 2, 3]] for name, x in values.items()})
    np.testing.assert_allclose(without.weights, index.weights, rtol=1e-12)


X = np.arange(6.0).reshape(1, 2, 3)
HOLE = np.where(X == 4, np.nan, X)
CELLS = CellNames("spec.toml [index]", ("甲", "乙", "丙"), (2006, 2007))
REFUSED: dict[str, tuple[Callable[[], EntropyIndex], list[str]]] = {
    "nothing": (lambda: entropy_index({}), ["there is no indicator"]),
    "both sides": (lambda: entropy_index({"a": X}, {"a": X}), ["'a' is positive and negative"]),
    "constant": (lambda: entropy_index({"a": X, "b": X * 0 + 3}), ["'b' is 3 in every row"]),
    "zeros": (lambda: entropy_index({"a": X, "b": X * 0}), ["'b' is 0 in every row"]),
    "rounding": (lambda: entropy_index({"a": 0.1 + X * 1e-17, "b": X}), ["'a' is 0.1 in every row"]),
    "constant once": (lambda: entropy_index({"a": np.stack([X[0], X[0] * 0])}), ["of replication 1"]),
    "constant where observed": (lambda: entropy_index({"a": X}, observed=X * 0 + [[[1, 0, 0], [0, 0, 0]]] > 0),
                                ["fewer than two unit-periods"]),
    "observed in one replication": (lambda: entropy_index({"a": X}, observed=np.concatenate([X, X * 0]) > 0),
                                    ["fewer than two unit-periods"]),
    "missing": (lambda: entropy_index({"a": X}, {"b": HOLE}, cells=CELLS),
                ["spec.toml [index], unit 乙, 2007", "'b' is nan", 'missing = "drop"']),
    "missing in one replication": (lambda: entropy_index({"a": np.concatenate([X, HOLE])}), ["period 1", "'a' is nan"]),
    "infinite": (lambda: entropy_index({"a": np.where(X > 3, np.inf, X)}),
                 ["unit 1, period 1", "'a' is inf and 1 more"]),
    "all at once": (lambda: entropy_index({"a": HOLE, "b": X * 0, "c": X}), ["'a' is nan", "\n", "'b' is 0"]),
    "shapes": (lambda: entropy_index({"a": X, "b": X[:, :1]}), ["shapes differ"]),
    "no panel among others": (lambda: entropy_index({"a": X, "b": X[0]}), ["shapes differ"]),
    "replications": (lambda: entropy_index({"a": np.tile(X, (2, 1, 1)), "b": np.tile(X, (3, 1, 1))}), ["shapes"]),
    "no panel": (lambda: entropy_index({"a": X[0]}), ["shapes differ"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_an_index_is_refused(case: str) -> None:
    call, expected = REFUSED[case]
    raised = refuses(".", call)
    assert all(part in str(raised) for part in expected), raised
    assert all(p.what and p.where and p.allowed and p.remedy for p in raised.problems)


def test_an_index_of_a_panels_variables() -> None:
    panel = small_panel(24, 7, replications=3, missing=11)
    index = panel_index(panel, ("y", "inv"), ("road",))
    assert (index.weights.shape, index.observations.tolist()) == ((3, 3), [157])
    scored = panel.with_variables({"icr": index.score})
    np.testing.assert_array_equal(scored.replication(1).variables["icr"][0], index.score[1])
    refuses("did you mean 'road'", lambda: panel_index(panel, ("y", "raod")))


def test_diversification_by_hand_and_with_missing_or_impossible_shares() -> None:
    shares = np.array([[0.5, 1, 0.25], [0.25, 0, 0.25], [0.25, 0, 0.25], [0, 0, 0.25]])
    np.testing.assert_allclose(hhi_diversification(shares), [1 / 0.375, 1, 4], rtol=1e-15)
    np.testing.assert_allclose(hhi_diversification(100 * shares), [1 / 0.375, 1, 4], rtol=1e-15)
    np.testing.assert_allclose(hhi_diversification([row[:1] for row in 1e-200 * shares]), [1 / 0.375], rtol=1e-15)
    assert np.isnan(hhi_diversification([np.array([0.5, 1.0]), np.array([np.nan, 1.0])])).tolist() == [True, False]
    for wrong in (-0.1, np.inf):
        refuses(r"position \(0, 1\)", lambda wrong=wrong: hhi_diversification(np.array([[[0.5, wrong]], [[0.5, 1]]])))
    refuses(r"shares are \[0\.0, 0\.0\]", lambda: hhi_diversification(np.zeros((2, 3))))
