"""A report of a store that a run is writing reads the blocks of one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from estimators import TwoWayDID
from experiments.running.runner import run, schema_of
from experiments.study.study import Study
from results.diagnosis import contrast, diagnose
from results.store.block import Block, Records
from results.store.memory_store import MemoryStore
from results.store.zarr_store import ZarrStore
from sim.designs.paper import Paper

STUDY = Study("growing", Paper(controls="none"), (TwoWayDID(),), grid={"effect": [0.0, 0.0157]}, replications=256,
              block=64)  # fmt: skip
DID = ("did", "did", "iid")


@pytest.fixture(scope="module")
def whole() -> MemoryStore:
    records = run(STUDY)
    assert isinstance(records, MemoryStore)
    return records


def in_memory(folder: Path) -> MemoryStore:
    return MemoryStore(schema_of(STUDY))


def on_disk(folder: Path) -> ZarrStore:
    return ZarrStore.create(folder / "s.zarr", schema_of(STUDY))


@pytest.fixture(params=[in_memory, on_disk])
def half(request: Any, tmp_path: Path, whole: MemoryStore) -> Any:
    """The first and third of four blocks a cell."""
    store = request.param(tmp_path)
    for (cell, index), block in whole.kept.items():
        if index in {0, 2}:
            store.write(cell, index, block)
    return store


def growing(store: Any, whole: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has read a cell of the store finds the missing blocks there on the next pass."""
    read = type(store).blocks

    def blocks(self: Any, cell: int) -> Iterator[Block]:
        yield from read(self, cell)
        for (at, index), block in whole.kept.items():
            if index in {1, 3}:
                store.write(at, index, block)

    monkeypatch.setattr(type(store), "blocks", blocks)


def differences(records: Records) -> pd.DataFrame:
    return contrast(records, DID, ("did", "did", "hc1"), 1)


@pytest.mark.parametrize("judge", [lambda records: diagnose(records).frame, differences], ids=["diagnose", "contrast"])
def test_blocks_that_arrive_between_passes_are_left_out(
    half: Any, whole: MemoryStore, monkeypatch: pytest.MonkeyPatch, judge: Callable[[Records], pd.DataFrame]
) -> None:
    before = judge(half)
    growing(half, whole, monkeypatch)
    pd.testing.assert_frame_equal(judge(half), before)
    monkeypatch.undo()
    assert not judge(half).equals(before)  # the blocks did arrive
    pd.testing.assert_frame_equal(judge(half), judge(whole))


def test_a_snapshot_counts_the_blocks_of_its_moment(tmp_path: Path, whole: MemoryStore) -> None:
    from experiments.running.reporting import facts_of

    store = on_disk(tmp_path)
    store.write(0, 0, whole.kept[0, 0])
    held = ZarrStore.open(store.path).snapshot()
    store.write(1, 3, whole.kept[1, 3])
    assert (facts_of(held).done, facts_of(store).done) == (1, 2)
