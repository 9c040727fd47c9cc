"""Placebo, jackknife and bootstrap over units: loops over the same draws, and sizes that are known."""

from __future__ import annotations

import numpy as np
import pytest

from estimators.synthetic.imputed_effects import UnitSamples, check_draws, standard_error
from sim import BadInput, Streams

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


@pytest.mark.parametrize("error", RESAMPLED)
@pytest.mark.parametrize("rows", [1, 3])
def test_units_that_are_treated_all_the_time_move_no_error(error: str, rows: int) -> None:
    """Errors of panels with six of them are those of the panels without."""
    first, streams = np.broadcast_to(FIRST[:1], (rows, 10)), Streams(2).tile(4, 4 + rows)
    alone = standard_error(error, first, PERIODS, statistic, streams, 25)
    y = np.concatenate([np.full((3, PERIODS, 6), 99.0), Y], axis=2)
    beside = np.concatenate([np.zeros((rows, 6), dtype=first.dtype), first], axis=1)

    def of_both(samples: UnitSamples) -> np.ndarray:
        return np.array([gap(*pair) for pair in zip(samples.of(y), samples.first, strict=True)])

    np.testing.assert_array_equal(standard_error(error, beside, PERIODS, of_both, streams, 25), alone)
    assert np.isfinite(alone).all()


def statistic(samples: UnitSamples) -> np.ndarray:
    return np.array([gap(y, first) for y, first in zip(samples.of(Y), samples.first, strict=True)])


def test_jackknife_by_loops() -> None:
    got = standard_error("jackknife:unit", FIRST, PERIODS, statistic, Streams(2).tile(0, 3), 20)
    for row in range(3):
        y, first = takes_part(row)
        n = len(first)
        found = np.array([gap(np.delete(y, i, axis=1), np.delete(first, i)) for i in range(n)])
        assert got[row] == pytest.approx(np.sqrt((n - 1) / n * ((found - found.mean()) ** 2).sum()))


def test_placebos_by_loops() -> None:
    """The same draws: a random order of never treated units, of which the first have the treated units' dates."""
    streams = Streams(2).tile(4, 7)
    got = standard_error("placebo:unit", FIRST, PERIODS, statistic, streams, 30)
    for row, generator in enumerate(streams.each("placebo:unit")):
        never = np.flatnonzero(FIRST[row] == PERIODS)
        dates = [date for date in FIRST[row] if 0 < date < PERIODS]
        orders = np.argsort(generator.random((30, len(never))), axis=1)
        first = np.r_[dates, np.full(len(never) - len(dates), PERIODS)]
        found = np.array([gap(Y[row][:, never[order]], first) for order in orders])
        assert got[row] == pytest.approx(found.std())


def test_bootstraps_by_loops() -> None:
    streams = Streams(2).tile(4, 7)
    got = standard_error("bootstrap:unit", FIRST, PERIODS, statistic, streams, 30)
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
    wanted = standard_error(error, FIRST, PERIODS, statistic, Streams(3).tile(0, 3), 25)
    monkeypatch.setattr("estimators.synthetic.imputed_effects.AT_ONCE", 200)
    np.testing.assert_array_equal(standard_error(error, FIRST, PERIODS, statistic, Streams(3).tile(0, 3), 25), wanted)


def test_where_a_type_cannot_serve_there_is_no_error() -> None:
    one = np.array([[4, 6, 6, 6]])
    rows = Streams(1).tile(0, 1)

    def zero(samples: UnitSamples) -> np.ndarray:
        return samples.of(np.arange(24.0).reshape(1, 6, 4))[:, 0].sum(axis=1)

    assert np.isnan(standard_error("jackknife:unit", one, 6, zero, rows, 20)).all()
    assert np.isnan(standard_error("bootstrap:unit", one, 6, zero, rows, 20)).all()
    assert np.isfinite(standard_error("placebo:unit", one, 6, zero, rows, 20)).all()
    many = np.array([[4, 4, 6, 6]])
    assert np.isnan(standard_error("placebo:unit", many, 6, zero, rows, 20)).all()
    assert np.isfinite(standard_error("jackknife:unit", many, 6, zero, rows, 20)).all()


def test_samples_take_units_of_their_own_panel() -> None:
    samples = UnitSamples(np.array([1, 0]), np.array([[2, 2], [9, 0]]), np.array([[6, 6], [6, 6]]))
    np.testing.assert_array_equal(samples.of(Y), np.stack([Y[1][:, [2, 2]], Y[0][:, [9, 0]]]))
    x = np.arange(20.0).reshape(1, 2, 1, 10)
    np.testing.assert_array_equal(samples.of(x)[1], x[0][:, :, [9, 0]])


def test_draws_without_a_value_do_not_count() -> None:
    first = np.array([[1, 1, 2, 2, 2, 2, 2, 2]])
    y = np.arange(16.0).reshape(1, 2, 8) ** 1.5

    def sometimes(samples: UnitSamples) -> np.ndarray:
        found = samples.of(y)[:, 1, 0]
        return np.where(samples.chosen[:, 0] == 3, np.nan, found)

    got = standard_error("placebo:unit", first, 2, sometimes, Streams(4).tile(0, 1), 40)
    (generator,) = Streams(4).tile(0, 1).each("placebo:unit")
    chosen = np.arange(2, 8)[np.argsort(generator.random((40, 6)), axis=1)[:, 0]]
    assert got[0] == pytest.approx(y[0, 1, chosen[chosen != 3]].std())


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(BadInput, match="draws = 19"):
        check_draws(19, "it")
    check_draws(20, "it")
