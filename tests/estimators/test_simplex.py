"""Least squares on the simplex: scipy's solvers, conditions of the optimum, hard cases, batches bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from estimators.synthetic import simplex
from estimators.synthetic.simplex import simplex_least_squares
from references.synthetic_twin import simplex_by_nnls

Floats = NDArray[np.float64]
SHAPES = {
    "wide": (12, 30, 1.5),
    "wide, hardly penalised": (12, 30, 1e-12),
    "tall": (40, 14, 1.5),
    "tall, hardly penalised": (40, 14, 1e-12),
    "very wide": (6, 150, 0.7),
    "very wide, hardly penalised": (9, 150, 1e-12),
    "one column": (5, 1, 1e-12),
    "two columns": (1, 2, 0.1),
}


def problems(
    m: int, n: int, penalty: float, count: int = 25, seed: int = 3
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Columns around a factor model, less a target that lies outside of them, some columns not eligible."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((count, m, 2)) @ rng.standard_normal((count, 2, n)) + rng.standard_normal((count, m, n))
    target = a[:, :, : max(n // 4, 1)].mean(axis=2) + 2.5 * rng.standard_normal((count, m))
    eligible = rng.random((count, n)) < 0.8
    eligible[:, -1] = True
    return a - target[:, :, None], np.full((count, n), penalty * m), eligible


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_are_those_of_nnls(shape: str) -> None:
    b, penalty, eligible = problems(*SHAPES[shape])
    found, optimal = simplex_least_squares(b, penalty, eligible)
    assert optimal.all()
    for row in range(len(b)):
        own = eligible[row]
        wanted = simplex_by_nnls(b[row][:, own], np.zeros(b.shape[1]), penalty[row, 0], intercept=False)
        np.testing.assert_allclose(found[row, own], wanted, atol=2e-7)
        assert not found[row, ~own].any()


def gap_of(b: Floats, penalty: Floats, w: Floats) -> float:
    """By how much the objective might fall at most (the gap of Frank and Wolfe), relative to a column's squares."""
    slope = 2 * (b.T @ (b @ w) + penalty * w)
    return float((slope @ w - slope.min()) / np.square(b).sum(axis=0).mean())


@pytest.mark.parametrize("shape", SHAPES)
def test_no_direction_goes_down(shape: str) -> None:
    b, penalty, eligible = problems(*SHAPES[shape], count=60, seed=8)
    found, _ = simplex_least_squares(b, penalty, eligible)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    assert (found >= 0).all()
    for row in range(len(b)):
        own = eligible[row]
        assert gap_of(b[row][:, own], penalty[row, own], found[row, own]) < 1e-10


def test_penalties_may_differ_between_columns() -> None:
    """Two copies of a column with penalty d each are one column with penalty d/2, and share its weight."""
    b, _, _ = problems(8, 12, 1.0, count=10)
    every = np.ones((10, 12), dtype=bool)
    penalty = np.full((10, 12), 3.0)
    penalty[:, 4] = 1.5
    one, _ = simplex_least_squares(b, penalty, every)
    twice = np.concatenate([b, b[:, :, 4:5]], axis=2)
    two, _ = simplex_least_squares(twice, np.full((10, 13), 3.0), np.ones((10, 13), dtype=bool))
    np.testing.assert_allclose(two[:, 4], two[:, 12], atol=1e-12)
    np.testing.assert_allclose(one[:, 4], two[:, 4] + two[:, 12], atol=1e-12)
    assert one[:, 4].max() > 0.05


def test_of_perfect_fits_the_shortest_is_chosen() -> None:
    """A target inside of many columns: the limit of weights as the penalty falls, by least norm on the support."""
    rng = np.random.default_rng(2)
    a = rng.standard_normal((5, 3, 40))
    b = a - a.mean(axis=2, keepdims=True) - 0.1 * rng.standard_normal((5, 3, 1))
    every = np.ones((5, 40), dtype=bool)
    found, optimal = simplex_least_squares(b, np.full((5, 40), 1e-12), every)
    assert optimal.all()
    for row in range(5):
        w = found[row]
        assert np.abs(b[row] @ w).max() < 1e-9
        on = w > 0
        assert on.sum() > 4  # more than a vertex has
        rows = np.vstack([b[row][:, on], np.ones(on.sum())])
        least = np.linalg.pinv(rows) @ np.array([0.0, 0.0, 0.0, 1.0])
        np.testing.assert_allclose(w[on], least, atol=1e-8)


@pytest.mark.parametrize(("rows", "columns"), [(3, 12), (6, 20), (11, 12)])
def test_rows_of_zeros_change_nothing(rows: int, columns: int) -> None:
    """A wide problem with as many of them as make it tall, from any start."""
    b, _, _ = problems(rows, columns, 1e-12, count=10)
    b = b - 0.95 * b.mean(axis=2, keepdims=True)  # of perfect fits, too
    penalty, every = np.full((10, columns), 1e-12), np.ones((10, columns), dtype=bool)
    padded = np.concatenate([b, np.zeros((10, 2 * columns, columns))], axis=1)
    wanted, optimal = simplex_least_squares(b, penalty, every)
    near = np.random.default_rng(4).random(every.shape) < 0.5
    assert optimal.all()
    for start in (None, near):
        found, _ = simplex_least_squares(padded, penalty, every, start)
        np.testing.assert_allclose(found, wanted, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_problem_is_the_same_alone_bit_for_bit(shape: str) -> None:
    b, penalty, eligible = problems(*SHAPES[shape], count=70)
    whole, _ = simplex_least_squares(b, penalty, eligible)
    for row in (0, 13, 69):
        some = slice(row, row + 1)
        alone, _ = simplex_least_squares(b[some], penalty[some], eligible[some])
        np.testing.assert_array_equal(alone[0], whole[row])


def test_scale_does_not_matter() -> None:
    b, penalty, eligible = problems(12, 30, 1.5)
    one, _ = simplex_least_squares(b, penalty, eligible)
    for factor in (1e-8, 1e9):
        other, _ = simplex_least_squares(factor * b, factor**2 * penalty, eligible)
        np.testing.assert_allclose(other, one, atol=1e-9)


def test_columns_one_at_a_time_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way that cannot cycle, where the quick ones do not arrive."""
    b, penalty, eligible = problems(20, 14, 0.4)
    quick, _ = simplex_least_squares(b, penalty, eligible)
    monkeypatch.setattr(simplex, "EXCHANGES", 1)
    slow, optimal = simplex_least_squares(b, penalty, eligible)
    assert optimal.all()
    np.testing.assert_allclose(slow, quick, atol=1e-10)


def test_what_cannot_be_weighted_is_nan_and_spoils_no_other() -> None:
    b, penalty, eligible = problems(12, 30, 1.5, count=6)
    sound, _ = simplex_least_squares(b, penalty, eligible)
    b, eligible = b.copy(), eligible.copy()
    eligible[1] = False
    b[4, 2, eligible[4].argmax()] = np.nan
    found, optimal = simplex_least_squares(b, penalty, eligible)
    assert optimal.tolist() == [True, False, True, True, False, True]
    assert np.isnan(found[[1, 4]]).all()
    np.testing.assert_array_equal(found[[0, 2, 3, 5]], sound[[0, 2, 3, 5]])


def test_nothing_to_fit_gives_equal_weights() -> None:
    found, _ = simplex_least_squares(np.zeros((2, 3, 7)), np.zeros((2, 7)), np.ones((2, 7), dtype=bool))
    np.testing.assert_allclose(found, 1 / 7, atol=1e-9)
