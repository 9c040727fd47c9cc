"""Random streams: a replication's numbers depend on seed, scope, purpose and its own index, and on nothing else."""

from __future__ import annotations

import hashlib
import itertools
import pickle

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from sim import Design, Streams, Wanted
from sim.design import WORLDS, designs
from sim.presets import Paper
from sim.real_panels import Observed
from sim.streams import TILE, replications_from, world_of, worlds_reached
from sim.weights import one_thread
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Never
from sim.world.parts.covariates import Normal
from sim.world.parts.errors import Process
from sim.world.parts.geography import Cities
from sim.world.parts.levels import Effects

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


def test_fixed_differs_from_each_and_neither_disturbs_the_next() -> None:
    """Engines keep unused 32-bit halves: they may not leak into the next replication."""
    clean = [generator.standard_normal() for generator in STREAMS.tile(0, 4).each("errors")]
    dirty = []
    for index, generator in enumerate(STREAMS.tile(0, 4).each("errors")):
        dirty.append(generator.standard_normal())
        generator.integers(10, size=index + 1, dtype=np.int32)
    assert dirty == clean
    fixed = STREAMS.fixed("errors").standard_normal(15)
    np.testing.assert_array_equal(STREAMS.tile(30, 40).fixed("errors").standard_normal(15), fixed)
    for row in normals(STREAMS.tile(0, 50)):
        assert not np.isin(fixed, row).any()


@pytest.mark.parametrize("other", [
    Streams(8, "cell"), Streams(7, "cell2"), Streams(7, ""), STREAMS.within("sub"), STREAMS.within(""),
])  # fmt: skip
def test_seeds_and_scopes_are_independent(other: Streams) -> None:
    one, two = normals(STREAMS.tile(0, 400)).ravel(), normals(other.tile(0, 400)).ravel()
    assert not np.isin(one, two).any()
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / np.sqrt(one.size)


def test_streams_are_values_and_replications_independent_standard_normals() -> None:
    draws = STREAMS.tile(0, 2000).normals("errors", 25)
    assert abs(draws.mean()) < 4 / np.sqrt(draws.size)
    assert abs(draws.var() - 1) < 4 * np.sqrt(2 / draws.size)
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 4 / np.sqrt(draws.size)
    assert (pickle.loads(pickle.dumps(STREAMS)), STREAMS.tile(3, 9).replications) == (STREAMS, 6)
    assert STREAMS.tile(0, 0).normals("errors", 2).shape == (0, 2)


# Which world a replication lies in, streams that go through one world, and what designs say that a world holds


VARIANTS = {
    "paper redrawn": Paper(redraw=("calendar", "controls")),
    "paper redrawn at random": Paper(redraw=("calendar",), controls="none", assignment="random"),
    "panel redrawn": PanelDesign(covariates=(Normal("x", 0.5),), redraw=("adoption", "covariates")),
}


def every_design() -> dict[str, Design]:
    """All that draw, at their defaults, and variants of `paper`."""
    return {kind: cls() for kind, cls in designs().items() if cls is not Observed} | VARIANTS


def test_whole_tiles_go_round_the_worlds() -> None:
    """By hand, with three worlds of 32 replications at a time."""
    firsts = {0: 0, 31: 0, 32: 1, 63: 1, 64: 2, 95: 2, 96: 0, 127: 0, 128: 1, 3 * 32 * 1000 + 64: 2}
    assert {r: int(world_of(r, 3)) for r in firsts} == firsts
    np.testing.assert_array_equal(world_of(np.array(list(firsts)), 3), list(firsts.values()))
    assert (TILE, {int(world_of(r, 1)) for r in range(0, 10_000, 7)}) == (32, {0})
    assert [worlds_reached(r, 5) for r in (1, 32, 33, 160, 161, 10_000)] == [1, 1, 2, 5, 5, 5], "as many as tiles"


@pytest.mark.parametrize(
    ("start", "count", "worlds"), [(0, 200, 3), (40, 70, 3), (33, 5, 7), (64, 64, 1), (70, 100, 2)]
)
def test_replications_of_a_world_are_those_that_lie_in_it(start: int, count: int, worlds: int) -> None:
    every = np.arange(start, start + count * worlds + TILE * worlds)
    expected = every[world_of(every, worlds) == world_of(start, worlds)][:count]
    np.testing.assert_array_equal(replications_from(start, count, worlds), expected)


@pytest.mark.parametrize(("start", "count"), [(0, 100), (20, 60), (70, 40)])
def test_streams_of_a_world_are_those_of_its_replications(start: int, count: int) -> None:
    streams = Streams(3, "cell")
    got = streams.in_worlds(3).tile(start, start + count).normals("errors", 2)
    alone = [streams.tile(r, r + 1).normals("errors", 2)[0] for r in replications_from(start, count, 3).tolist()]
    np.testing.assert_array_equal(got, alone)


def drawn(design: Design, world: int) -> dict[str, np.ndarray]:
    """Variables of two replications in a world, with the cell's own streams."""
    streams = Streams(5, "cell")
    wanted = Wanted(frozenset(design.schema.variables), ())
    panel = design.settle(streams.within(f"world {world}")).draw(streams.tile(0, 2), wanted).panel
    return dict(panel.variables)


@pytest.mark.parametrize("name", every_design())
def test_a_design_says_whether_its_worlds_differ(name: str) -> None:
    """`held_fixed` is empty just where every world draws the same panels; only such a design has one by default."""
    design = every_design()[name]
    one, other = drawn(design, 0), drawn(design, 1)
    differ = any(not np.array_equal(one[key], other[key]) for key in one)
    assert (bool(design.held_fixed), design.default_worlds) == (differ, WORLDS if differ else 1)


def test_an_observed_panel_is_a_fact() -> None:
    panel = Paper().draw(Streams(1)).panel.replication(0)
    assert (Observed(panel).held_fixed, Observed(panel).default_worlds) == ((), 1)


LEVELS, PLACES = "levels of units and periods", "places and W"


@pytest.mark.parametrize(
    ("design", "held"),
    [
        (Paper(), ("calendar", "controls", "city levels")),
        (Paper(controls="none"), ("calendar", "city levels")),
        (Paper(redraw=("calendar",)), ("cities' chances of treatment", "controls", "city levels")),
        (Paper(redraw=("calendar",), assignment="random"), ("controls", "city levels")),
        (Paper(redraw=("controls",)), ("calendar", "city means of controls", "city levels")),
        (PanelDesign(), ("adoption", LEVELS, PLACES)),
        (PanelDesign(geography=Cities()), ("adoption", LEVELS)),
        (PanelDesign(adoption=Never(), covariates=(Normal("x"), Normal("z"))), ("covariates", LEVELS, PLACES)),
        *((PanelDesign(covariates=(Normal("x"), *more), redraw=("adoption", "covariates")),
           ("unit parts of covariates", LEVELS, PLACES)) for more in ((), (Normal("z", between=0.0),))),
        (PanelDesign(levels=Effects(unit_sd=0.0, period_sd=0.0, trends_sd=0.2)), ("adoption", LEVELS, PLACES)),
        (PanelDesign(levels=Effects(unit_sd=0.0, period_sd=0.0)), ("adoption", PLACES)),
        (PanelDesign(errors=Process(unit_heteroskedastic=0.3)),
         ("adoption", LEVELS, "units' sizes and loadings of errors", PLACES)),
    ],
)  # fmt: skip
def test_a_design_names_what_a_world_of_it_holds(design: Design, held: tuple[str, ...]) -> None:
    assert design.held_fixed == held


def test_worlds_of_the_paper_differ_in_what_they_hold_and_share_their_errors() -> None:
    """The same streams of the cell give the same errors in every world; calendar and controls are each world's own."""
    one, other = drawn(Paper(), 0), drawn(Paper(), 1)
    for name in ("did", "inv", "road", "book", "tech"):
        assert (one[name] != other[name]).any(), name
    silent = [drawn(Paper(sigma=0.0), world)["icr"] for world in (0, 1)]
    np.testing.assert_allclose(one["icr"] - silent[0], other["icr"] - silent[1], atol=1e-14)


# What is computed once and kept is computed by one thread of the BLAS, whatever the process has


def threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@one_thread
def within() -> list[int]:
    return threads()


@one_thread
def failing() -> None:
    raise ValueError("no root")


def test_the_blas_of_numpy_and_of_scipy_has_one_thread_inside_and_its_own_again_afterwards() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        if max(before) < 2:
            pytest.skip("this BLAS has one thread")
        assert (set(within()), threads()) == ({1}, before)
        with pytest.raises(ValueError, match="no root"):
            failing()
        assert threads() == before
