"""What holds for stores on disk and in memory alike: one suite, which each of them goes through."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from estimators import TwoWayDID
from estimators.core.estimator import Status
from experiments.run.runner import schema_of
from experiments.run.tasks import runner_of
from experiments.study import Study
from results.diagnosis.fits import fits_of
from results.store import Block, BlockState, MemoryStore, Origin, Store, ZarrStore
from results.store.block import check_draws
from results.store.files import files_of
from results.store.store import Stopped
from results.store.zarr_store import copy_block
from sim.errors import BadInput
from sim.presets import Paper

STUDY = Study("did", Paper(controls="none"), (TwoWayDID(), TwoWayDID(errors=("iid",), label="short")), seed=3,
              grid=(("effect", (0.0, 0.0157)),), replications=160, block=64)  # fmt: skip
PLACES = [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]


def block_of(cell: int, index: int, raised: tuple[int, ...] = ()) -> Block:
    """A block of the study, some of whose fits of `short` (by row) raised."""
    start = 64 * index
    block = runner_of(STUDY, cell).run(start, min(start + 64, STUDY.replications))
    short = block.estimates["short"]
    status = short.status.copy()
    status[list(raised)] = Status.ERROR
    texts = {(start + row, "short"): f"Traceback:\nValueError: row {row} of {cell} {index}\n" for row in raised}
    return Block(block.truth, {**block.estimates, "short": replace(short, status=status)}, texts, start)


def new_store(kind: str, folder: Path, study: Study = STUDY) -> Store:
    schema = schema_of(study)
    return MemoryStore(schema) if kind == "memory" else ZarrStore.create(folder / "x.zarr", schema)


@pytest.fixture(params=["memory", "zarr"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return new_store(request.param, tmp_path)


@pytest.fixture
def again(store: Store) -> Callable[[], Store]:
    """The store as one who opens it now finds it; one in memory is what it is."""
    return lambda: ZarrStore.open(store.path) if isinstance(store, ZarrStore) else store


def test_a_new_store_is_empty_and_knows_its_study(store: Store) -> None:
    assert (store.replications, store.block, store.block_count) == (160, 64, 3)
    assert (store.cells, store.layouts) == (({"effect": 0.0}, {"effect": 0.0157}), schema_of(STUDY).layouts)
    assert (store.estimands, store.fingerprint) == (("att",), STUDY.fingerprint)
    assert store.places() == store.pending() == PLACES
    assert (store.done(), list(store.blocks(0)), store.environments) == ([], [], ())
    assert store.block_rows(2) == slice(128, 160)


def test_blocks_come_back_in_order_whatever_the_order_of_writing(store: Store, again: Callable[[], Store]) -> None:
    written = {place: block_of(*place) for place in [(1, 2), (0, 1), (1, 0)]}
    for place, block in written.items():
        store.write(*place, block)
    read = again()
    assert (read.done(), read.pending()) == ([(1, 0), (0, 1), (1, 2)], [(0, 0), (1, 1), (0, 2)])
    assert [(block.start, block.replications) for block in read.blocks(1)] == [(0, 64), (128, 32)]
    for ours, theirs in zip(read.blocks(1), (written[1, 0], written[1, 2]), strict=True):
        np.testing.assert_array_equal(ours.truth["att"], theirs.truth["att"])
        for name, field in product(("did", "short"), ("estimate", "se", "status")):
            pair = (getattr(block.estimates[name], field) for block in (ours, theirs))
            np.testing.assert_array_equal(*pair, err_msg=f"{name} {field}")


@pytest.mark.parametrize("kind", ["memory", "zarr"])
def test_cells_with_fewer_terms_keep_each_number_under_its_name(kind: str, tmp_path: Path) -> None:
    study = replace(STUDY, estimators=(TwoWayDID(constant=True),), grid=(("controls", ("paper", "none")),))
    store = new_store(kind, tmp_path, study)
    written = runner_of(study, 1).run(0, 64)
    store.write(1, 0, written)
    (read,) = store.blocks(1)
    terms, own = store.layouts["did"].terms, written.estimates["did"]
    assert (own.terms, terms[-1]) == (("did", "constant"), "constant")
    assert len(terms) > len(own.terms)
    fits = fits_of(read, "did", store.layouts["did"], 0.05)
    for place, term in enumerate(terms):
        for found, held in ((fits.estimate, own.estimate), (fits.se[:, 0], own.se[:, 0])):
            expected = held[:, own.terms.index(term)] if term in own.terms else np.full(64, np.nan)
            np.testing.assert_array_equal(found[:, place], expected, err_msg=term)


def test_poisoned_blocks_are_left_out_until_they_are_written(store: Store, again: Callable[[], Store]) -> None:
    store.write(0, 0, block_of(0, 0))
    store.poison(0, 0, "killed\n")
    assert again().state(0, 0) is BlockState.POISONED
    assert (0, 0) in again().pending()
    assert list(again().blocks(0)) == []
    assert again().tracebacks == {"cell 0 block 0": "killed\n"}
    store.write(0, 0, block_of(0, 0))
    assert again().state(0, 0) is BlockState.DONE
    assert again().tracebacks == {}


def test_fits_that_raised_are_counted_and_keep_their_tracebacks(store: Store, again: Callable[[], Store]) -> None:
    store.write(0, 0, block_of(0, 0))
    store.write(0, 1, block_of(0, 1, raised=(3, 5)))
    store.write(1, 2, block_of(1, 2, raised=(0,)))
    read = again()
    assert read.status_counts() == {"did": Counter({Status.OK: 160}),
                                    "short": Counter({Status.OK: 157, Status.ERROR: 3})}  # fmt: skip
    assert (read.raised(), read.raised(except_for={(0, 1)})) == ([(0, 1), (1, 2)], [(1, 2)])
    assert list(read.tracebacks) == ["cell 0 block 1 replication 67 short", "cell 0 block 1 replication 69 short",
                                     "cell 1 block 2 replication 128 short"]  # fmt: skip
    copy_block(read, (1, 2), copy := MemoryStore(schema_of(STUDY)), (1, 2), ("short",), {0: 0})
    assert copy.tracebacks == {key: text for key, text in read.tracebacks.items() if key.startswith("cell 1 block 2")}
    assert read.usual_error("short") == ("ValueError: row 3 of 0 1", 1, 3)
    assert read.usual_error("did") == ("", 0, 0)
    of_most = {f"cell 0 block 0 replication {k} a": f"in:\n  fit\n{text}\n" for k, text in enumerate(("x", "y", "y"))}
    some = SimpleNamespace(tracebacks={**of_most, "cell 0 block 0 replication 9 b": "z", "cell 1 block 0": "killed"})
    assert Store.usual_error(some, "a") == ("y", 2, 3)  # type: ignore[arg-type]
    store.write(0, 1, block_of(0, 1))
    assert (list(again().tracebacks), again().raised()) == (["cell 1 block 2 replication 128 short"], [(1, 2)])


def test_tracebacks_of_one_estimator_leave_room_for_those_of_another(store: Store) -> None:
    store.write(0, 0, block_of(0, 0, raised=tuple(range(30))))
    store.poison(1, 0, "no panel")
    assert (len(store.tracebacks), store.tracebacks["cell 1 block 0"]) == (21, "no panel")


def test_tracebacks_of_a_block_are_not_those_of_another_whose_number_begins_alike(
    store: Store, again: Callable[[], Store]
) -> None:
    for index in (1, 12):
        store.keep_tracebacks(0, index, {(64 * index + 3, "short"): f"of {index}\n"}, ["short"])
    store.keep_tracebacks(0, 1, {}, ["short"])
    assert again().tracebacks == {"cell 0 block 12 replication 771 short": "of 12\n"}
    assert (again().tracebacks_in(0, 12), again().tracebacks_in(0, 1)) == ({(771, "short"): "of 12\n"}, {})


def test_a_block_counts_for_every_environment_that_computed_a_part_of_it(store: Store) -> None:
    one, other, block = Origin("one", {"python": "1"}), Origin("other", {"python": "2"}), block_of(0, 0)

    def write(name: str, origin: Origin) -> tuple[Origin | None, ...]:
        store.computed_in(origin)
        store.write(0, 0, replace(block, estimates={name: block.estimates[name]}))
        return store.origins_of(0, 0)

    assert write("did", one) == (one,)
    assert [(each.text, each.blocks) for each in store.partial_environments] == [("one", 1)]
    assert write("short", other) == (other, one)
    assert [(each.text, each.blocks) for each in store.environments] == [("one", 1), ("other", 1)]
    assert write("did", one) == (one,), "a whole block that is written anew in part keeps nothing"


def test_what_is_there_of_a_poisoned_block_is_not_computed_again(tmp_path: Path) -> None:
    """In memory nothing of it is there."""
    on_disk, memory = (new_store(kind, tmp_path) for kind in ("zarr", "memory"))
    block = block_of(0, 0)
    for store in (on_disk, memory):
        store.write(0, 0, replace(block, estimates={"did": block.estimates["did"]}))
        assert (store.state(0, 0), store.lacking(0, 0)) == (BlockState.PARTIAL, ("short",))
        store.poison(0, 0, "killed\n")
    assert (on_disk.lacking(0, 0), memory.lacking(0, 0)) == (("short",), ("did", "short"))


def test_what_is_not_as_it_was_written_of_a_poisoned_block_is_computed(tmp_path: Path) -> None:
    """The numbers of another block, which read well, have another digest."""
    store = ZarrStore.create(tmp_path / "x.zarr", schema_of(STUDY))
    for index in (0, 1):
        store.write(0, index, block_of(0, index))
    store.poison(0, 0, "killed\n")
    assert store.lacking(0, 0) == ()
    for here, there in zip(files_of(0, 1, ["short"]), files_of(0, 0, ["short"]), strict=True):
        shutil.copyfile(tmp_path / "x.zarr" / here, tmp_path / "x.zarr" / there)
    assert ZarrStore.open(tmp_path / "x.zarr").lacking(0, 0) == ("short",)


@pytest.mark.parametrize(("other", "compared"), [([np.nan, 1.0, 3.0], True), ([np.nan] * 3, False)])
def test_draws_are_compared_where_some_truths_are_missing(other: list[float], compared: bool) -> None:
    """An estimand that a store has from its growth alone is missing throughout, and says nothing."""
    fits = block_of(0, 0).estimates
    held, drawn = (Block({"att": np.array(truth)}, fits, {}, 0) for truth in (other, [np.nan, 1.0, 2.0]))
    with pytest.raises(BadInput, match="other panels") if compared else nullcontext():
        check_draws(held, drawn, "it", "here")
    check_draws(replace(held, estimates={}), drawn, "it", "here")


def test_blocks_are_wanted_up_to_where_a_cell_stopped(store: Store, again: Callable[[], Store]) -> None:
    """The first stopped after one block, the other at its end, whose last block is half of one."""
    stopped = Stopped("coverage:0.1", (64, 160), (True, False), STUDY.world_count)
    store.stop(stopped)
    assert (again().stopped, again().wanted()) == (stopped, [(0, 0), (1, 0), (1, 1), (1, 2)])
    store.note("until", {**store.noted("until"), "room": 96})
    assert again().stopped is None, "it has grown since"
    assert again().wanted() == PLACES
    store.stop(None)
    assert (again().stopped, again().noted("until")) == (None, None)


def test_every_block_keeps_the_environment_that_computed_it(store: Store, again: Callable[[], Store]) -> None:
    first, second = Origin("old", {"code": "a"}), Origin("new", {"code": "b"}, ("other code of mine",))
    for origin, places in ((None, [(0, 0)]), (first, [(0, 1), (1, 1)]), (second, [(1, 1)]), (first, [(1, 0)])):
        if origin:
            store.computed_in(origin)
        for place in places:
            store.write(*place, block_of(*place))
    read = again()
    assert read.environments == (Origin("unknown", blocks=1), replace(first, blocks=2), replace(second, blocks=1))
    origins = [read.origins_of(*place) for place in [(0, 0), (0, 1), (1, 1), (1, 0)]]
    assert origins == [(None,), (first,), (second,), (first,)]
