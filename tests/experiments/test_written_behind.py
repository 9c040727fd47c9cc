"""A block is written while the next one is computed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.run.resume import read_log
from experiments.run.runner import Progress, one_behind, run
from results.store import ZarrStore
from studies import quick_study

SECONDS = 30.0  # within which a thread must have come so far


def test_work_is_done_in_order_and_all_of_it() -> None:
    done: list[int] = []
    one_behind(done.append, iter(range(5)))
    assert done == [0, 1, 2, 3, 4]
    one_behind(done.append, iter(()))
    assert len(done) == 5


def test_work_is_done_while_the_next_item_is_made() -> None:
    working, made, done = threading.Event(), threading.Event(), []

    def items() -> Iterator[int]:
        yield 0
        assert working.wait(SECONDS), "the work on the first item has not begun"
        made.set()
        yield 1

    def work(item: int) -> None:
        working.set()
        assert made.wait(SECONDS), "the second item waits for the work on the first"
        done.append(item)

    one_behind(work, items())
    assert done == [0, 1]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_error_of_the_work_is_raised_and_ends_it(at: int) -> None:
    """At most one item more is made."""
    made: list[int] = []
    done: list[int] = []

    def items() -> Iterator[int]:
        for item in range(5):
            made.append(item)
            yield item

    def work(item: int) -> None:
        if item == at:
            raise OSError(28, "No space left on device")
        done.append(item)

    with pytest.raises(OSError, match="No space left"):
        one_behind(work, items())
    assert done == list(range(at))
    assert made == list(range(at + 2))


def test_the_last_error_is_raised_too() -> None:
    def work(item: int) -> None:
        if item == 2:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        one_behind(work, iter(range(3)))


def test_a_block_counts_as_soon_as_it_is_written(tmp_path: Path) -> None:
    """Not when the next one has been computed; and never before it is in the store."""
    path, heard = tmp_path / "x.zarr", []

    def listen(progress: Progress) -> None:
        if progress.block >= 0:
            heard.append(progress.blocks)
            assert len(ZarrStore.open(path).done()) == progress.blocks

    run(quick_study(256), store=path, listen=listen)
    assert heard == list(range(1, 9))


def test_a_run_that_cannot_write_keeps_what_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third block finds no room: two are there, and the run goes on from them."""
    plain, written = ZarrStore.write, []

    def full(self: ZarrStore, *place_and_block: Any) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        plain(self, *place_and_block)
        written.append(place_and_block[:2])

    path, study = tmp_path / "x.zarr", quick_study(256)
    monkeypatch.setattr(ZarrStore, "write", full)
    with pytest.raises(OSError, match="No space left"):
        run(study, store=path)
    monkeypatch.undo()
    assert ZarrStore.open(path).done() == written
    run(study, store=path)
    run(study, store=tmp_path / "y.zarr")
    assert ZarrStore.open(path).content_hash() == ZarrStore.open(tmp_path / "y.zarr").content_hash()


def test_the_log_says_how_long_each_block_was_drawn_and_fitted(tmp_path: Path) -> None:
    run(quick_study(256), store=tmp_path / "x.zarr")
    commits = [event for event in read_log(tmp_path / "x.zarr") if event["event"] == "commit"]
    assert len(commits) == 8
    assert all(0 < event["computing"] <= event["seconds"] + 0.05 for event in commits)
