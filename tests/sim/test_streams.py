"""Random streams: a replication's numbers depend on seed, scope, purpose and its own index, and on nothing else."""

from __future__ import annotations

import hashlib
import itertools
import pickle

import numpy as np
import pytest
from numpy.typing import NDArray

from sim import Streams

STREAMS = Streams(7, "cell")


def normals(streams: Streams, purpose: str = "errors") -> NDArray[np.float64]:
    return streams.normals(purpose, 3, 5)


@pytest.mark.parametrize("cuts", [(0, 20), (0, 8, 16, 20), (0, 1, 2, 20), (0, 7, 13, 20)])
def test_numbers_do_not_depend_on_the_tile(cuts: tuple[int, ...]) -> None:
    whole = normals(STREAMS.tile(0, 20))
    parts = [normals(STREAMS.tile(a, b)) for a, b in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_each_draws_from_the_state_that_philox_gives_at_that_counter() -> None:
    key = np.frombuffer(hashlib.blake2b(b"7\x1fcell\x1ferrors", digest_size=16).digest(), dtype="<u8")
    for replication, generator in zip(range(40, 45), STREAMS.tile(40, 45).each("errors"), strict=True):
        words = np.random.Philox(key=key, counter=[replication, 0, 0, 0]).random_raw(4)
        engine = np.random.SFC64(0)
        state = engine.state
        state["state"]["state"][:] = (*words[:3], 1)
        engine.state = state
        fresh = np.random.Generator(engine)
        np.testing.assert_array_equal(generator.standard_normal(9), fresh.standard_normal(9))
        np.testing.assert_array_equal(generator.random(4), fresh.random(4))
        assert generator.integers(1 << 40) == fresh.integers(1 << 40)


def test_a_generator_left_in_the_middle_does_not_disturb_the_next() -> None:
    """Engines keep unused 32-bit halves: they may not leak into the next replication."""
    clean = [generator.standard_normal() for generator in STREAMS.tile(0, 4).each("errors")]
    dirty = []
    for index, generator in enumerate(STREAMS.tile(0, 4).each("errors")):
        dirty.append(generator.standard_normal())
        generator.integers(10, size=index + 1, dtype=np.int32)
    assert dirty == clean


def test_fixed_differs_from_each_and_does_not_depend_on_the_tile() -> None:
    fixed = STREAMS.fixed("errors").standard_normal(15)
    np.testing.assert_array_equal(STREAMS.tile(30, 40).fixed("errors").standard_normal(15), fixed)
    for row in normals(STREAMS.tile(0, 50)):
        assert not np.isin(fixed, row).any()


@pytest.mark.parametrize(
    "other",
    [Streams(8, "cell"), Streams(7, "cell2"), Streams(7, ""), STREAMS.within("sub"), STREAMS.within("")],
)
def test_seeds_and_scopes_are_independent(other: Streams) -> None:
    one, two = normals(STREAMS.tile(0, 400)).ravel(), normals(other.tile(0, 400)).ravel()
    assert not np.isin(one, two).any()
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / np.sqrt(one.size)


def test_replications_are_independent_standard_normals() -> None:
    draws = STREAMS.tile(0, 2000).normals("errors", 25)
    assert abs(draws.mean()) < 4 / np.sqrt(draws.size)
    assert abs(draws.var() - 1) < 4 * np.sqrt(2 / draws.size)
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 4 / np.sqrt(draws.size)


def test_scopes_do_not_collide_by_their_spelling() -> None:
    """A separator keeps (scope a, purpose bc) apart from (scope ab, purpose c)."""
    one, two = Streams(1, "a").fixed("bc"), Streams(1, "ab").fixed("c")
    assert one.random() != two.random()
    assert Streams(1, "1").fixed("x").random() != Streams(11, "").fixed("x").random()


def test_streams_are_values() -> None:
    assert pickle.loads(pickle.dumps(STREAMS)) == STREAMS
    assert STREAMS.tile(3, 9).replications == 6
    assert STREAMS.tile(0, 0).normals("errors", 2).shape == (0, 2)
