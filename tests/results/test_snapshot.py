"""One who reads a store while a run writes it sees the blocks that were there when it was opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from estimators import TwoWayDID
from experiments.cli import run_command
from experiments.run.runner import run, schema_of
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from results.store import Block, BlockState, MemoryStore, ZarrStore
from sim.presets import Paper

STUDY = Study("did", Paper(controls="none"), (TwoWayDID(),), seed=3, grid=(("effect", (0.0, 0.0157)),),
              replications=192, block=64)  # fmt: skip


@pytest.fixture(scope="module")
def blocks() -> dict[tuple[int, int], Block]:
    """Every block of the study."""
    memory = run(STUDY)
    assert isinstance(memory, MemoryStore)
    return memory.kept


@pytest.fixture
def writer(tmp_path: Path, blocks: dict[tuple[int, int], Block]) -> ZarrStore:
    """A store with the first block of each cell."""
    store = ZarrStore.create(tmp_path / "x.zarr", schema_of(STUDY))
    for cell in range(2):
        store.write(cell, 0, blocks[cell, 0])
    return store


def test_blocks_that_arrive_between_two_passes_wait_for_the_next_reader(
    writer: ZarrStore, blocks: dict[tuple[int, int], Block]
) -> None:
    reader = ZarrStore.open(writer.path)
    first = [len(list(reader.blocks(cell))) for cell in range(2)]
    for place in [(0, 1), (1, 1)]:
        writer.write(*place, blocks[place])
    assert [len(list(reader.blocks(cell))) for cell in range(2)] == first == [1, 1]
    assert reader.done() == [(0, 0), (1, 0)]
    assert reader.content_hash() != writer.content_hash()
    assert ZarrStore.open(writer.path).content_hash() == writer.content_hash()


def interrupted_by(monkeypatch: pytest.MonkeyPatch, write: Callable[[], None]) -> None:
    """Every pass over a cell's blocks is followed by a write."""
    whole = ZarrStore.blocks

    def blocks(self: ZarrStore, cell: int) -> Iterator[Block]:
        yield from whole(self, cell)
        write()

    monkeypatch.setattr(ZarrStore, "blocks", blocks)


def test_a_diagnosis_is_of_one_snapshot(
    writer: ZarrStore, blocks: dict[tuple[int, int], Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = diagnose(ZarrStore.open(writer.path)).frame
    waiting = [(0, 1), (1, 1), (0, 2), (1, 2)]

    def write() -> None:
        if waiting:
            place = waiting.pop(0)
            writer.write(*place, blocks[place])

    interrupted_by(monkeypatch, write)
    monkeypatch.setattr("results.diagnosis.fits.BUDGET", 0)  # blocks that are kept are not read between passes
    found = diagnose(ZarrStore.open(writer.path)).frame
    assert not waiting, "blocks were to arrive between the passes"
    assert found.equals(expected)


def test_a_reader_keeps_its_size_while_the_store_grows(writer: ZarrStore) -> None:
    reader = ZarrStore.open(writer.path)
    grown = ZarrStore.open_or_create(writer.path, schema_of(STUDY.resized(replications=320)))
    assert grown.done() == reader.done()
    assert (grown.block_count, reader.block_count, len(reader.pending())) == (5, 3, 4)


def test_verify_during_a_run_finds_no_damage(
    writer: ZarrStore,
    blocks: dict[tuple[int, int], Block],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A block that is finished after `verify` looked for it, and before it says why it is missing, is not run yet."""
    whole = ZarrStore.pending

    def pending(self: ZarrStore) -> Any:
        found = whole(self)
        writer.write(0, 1, blocks[0, 1])
        return found

    monkeypatch.setattr(ZarrStore, "pending", pending)
    assert run_command(["store", "verify", str(writer.path)]) == 1
    said = capsys.readouterr().out
    assert "digest" not in said
    assert "2 of 6 blocks sound, 4 not run, 0 poisoned, 0 damaged" in said
    assert writer.state(0, 1) is BlockState.DONE
