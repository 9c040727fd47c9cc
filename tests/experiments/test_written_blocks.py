"""Blocks that workers write themselves or the client behind the computation, and what a run says of its progress."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import Mock

import psutil
import pytest
from commands import refusal
from real_parts import wait_until
from refusals import refuses
from rich.console import Console

from cluster import Executor, Outcome, Serial
from estimators import TwoWayDID
from experiments.run import progress
from experiments.run.progress import Lines, line
from experiments.run.resume import read_log
from experiments.run.runner import Progress, one_behind, run
from results.store import ZarrStore
from results.store import chunks as chunks_of_workers
from results.store.block import block_arrays
from results.store.chunks import Shared, write_chunks
from results.store.repair import verified
from sim.errors import BadInput
from studies import quick_study, small_study

SCRIPT = Path(__file__).resolve().parent.parent / "support" / "run_small_study.py"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("reference") / "serial.zarr"
    run(small_study(), store=path)
    return ZarrStore.open(path).content_hash()


@pytest.fixture
def pool(local_workers: Callable[[int], Executor]) -> Executor:
    return local_workers(2)


@pytest.mark.parametrize("writes", ["workers", None])
def test_the_store_is_the_same_and_the_client_writes_marks_alone(
    reference: str, tmp_path: Path, pool: Executor, monkeypatch: pytest.MonkeyPatch, writes: str | None
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the client wrote a block")

    monkeypatch.setattr(ZarrStore, "_put", never)
    run(small_study(), store=tmp_path / "x.zarr", executor=pool, shuffle=3, writes=writes)
    store = ZarrStore.open(tmp_path / "x.zarr")
    assert (store.content_hash(), store.unfinished()) == (reference, [])
    assert [origin.blocks for origin in store.environments] == [8]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.zarr", "x.zarr.log.jsonl"], "the token is gone"


def test_elsewhere_the_client_writes(tmp_path: Path, pool: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the client marked what a worker wrote")

    monkeypatch.setattr(ZarrStore, "commit", never)
    run(quick_study(128), store=tmp_path / "asked.zarr", executor=pool, writes="client")
    run(quick_study(128), store=tmp_path / "client.zarr", client=pool.client)  # type: ignore[attr-defined]
    found = {ZarrStore.open(tmp_path / name).content_hash() for name in ("asked.zarr", "client.zarr")}
    assert len(found) == 1


def test_more_replications_and_estimators_join_what_workers_wrote(tmp_path: Path, pool: Executor) -> None:
    path, few = tmp_path / "x.zarr", small_study(estimators=small_study().estimators[:2])
    run(few, store=path, executor=pool, writes="workers")
    run(small_study(300), store=path, executor=pool, writes="workers")
    run(small_study(300), store=tmp_path / "whole.zarr")
    assert ZarrStore.open(path).content_hash() == ZarrStore.open(tmp_path / "whole.zarr").content_hash()


def test_a_worker_that_does_not_see_the_store_ends_the_run_in_one_line(
    tmp_path: Path, pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks_of_workers, "token_file", lambda real: tmp_path / f"elsewhere-{os.getpid()}")
    with pytest.raises(BadInput, match=r"a worker does not see the store.*a file system that all workers share"):
        run(quick_study(128), store=tmp_path / "x.zarr", executor=pool, writes="workers")
    assert ZarrStore.open(tmp_path / "x.zarr").done() == []


def test_the_token_of_a_run_that_has_taken_the_store_over_stays(tmp_path: Path) -> None:
    run(quick_study(64), store=tmp_path / "x.zarr")
    with chunks_of_workers.shared(tmp_path / "x.zarr") as place:
        token = chunks_of_workers.token_file(place.path)
        token.write_text("another run's")
    assert token.read_text() == "another run's"


def test_a_block_that_the_client_does_not_see_is_no_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_of_workers, "SEEN_SECONDS", 0.2)
    run(quick_study(128), store=tmp_path / "x.zarr")
    store = ZarrStore(tmp_path / "x.zarr", "a")
    with chunks_of_workers.shared(tmp_path / "x.zarr") as place:
        written = write_chunks(place, 0, 0, store.sound(0, 0))
    (tmp_path / "x.zarr" / "did" / "fit" / "c.0.0.0").unlink()
    refuses("block 0 of cell 0, which a worker wrote, is not seen here", lambda: store.commit(0, 0, written))
    with pytest.raises(BadInput, match="a worker does not see the store"):
        write_chunks(Shared(tmp_path / "x.zarr", "another run"), 0, 0, store.sound(1, 1))


def test_a_disk_that_is_full_for_a_worker_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(quick_study(64), store=tmp_path / "x.zarr")
    block = ZarrStore(tmp_path / "x.zarr", "a").sound(0, 0)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(chunks_of_workers, "block_arrays", Mock(side_effect=full))
    with chunks_of_workers.shared(tmp_path / "x.zarr") as place, pytest.raises(OSError, match="No space left"):
        write_chunks(place, 0, 0, block)


def test_bad_requests_are_one_line(tmp_path: Path) -> None:
    refuses("workers cannot write into memory", lambda: run(quick_study(128), writes="workers"))
    ask = {"store": tmp_path / "x.zarr", "writes": "worker"}
    refuses(r"writes = 'worker'.*did you mean 'workers'", lambda: run(quick_study(128), **ask))
    refusal("run", "bias", "--writes", "nobody", "--store", tmp_path / "x.zarr")


def marks(store: Path) -> int:
    return len([path for path in store.glob("block_mark/c.*.0") if path.is_file()])


@pytest.mark.long
def test_kills_lose_nothing(reference: str, tmp_path: Path) -> None:
    """Of a worker, without which the run goes on, and then of the client."""
    path = tmp_path / "x.zarr"
    command = [sys.executable, str(SCRIPT), str(path), "2", "workers"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: marks(path) or process.poll() is not None, 60, "the first block")
    workers = [child for child in psutil.Process(process.pid).children(recursive=True)
               if "spawn_main" in " ".join(child.cmdline())]  # fmt: skip
    workers[0].kill()
    there = marks(path)
    wait_until(lambda: marks(path) > there + 2 or process.poll() is not None, 60, "blocks after a worker was killed")
    assert process.poll() is None, "the run ended before it was killed"
    process.kill()
    process.wait()
    found = verified(path)
    assert not [line for line in found.lines if "does not match" in line], "what is marked is whole"
    assert len(ZarrStore.open(path).done()) < 8
    run(small_study(), store=path)
    assert ZarrStore.open(path).content_hash() == reference


# A block is written while the next one is computed.


SECONDS = 30.0  # within which a thread must have come so far


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


@pytest.mark.parametrize(("at", "of"), [(0, 5), (1, 5), (2, 3)], ids=["first", "second", "last"])
def test_an_error_of_the_work_is_raised_and_ends_it(at: int, of: int) -> None:
    """At most one item more is made."""
    made: list[int] = []
    done: list[int] = []

    def items() -> Iterator[int]:
        for item in range(of):
            made.append(item)
            yield item

    def work(item: int) -> None:
        if item == at:
            raise OSError(28, "No space left on device")
        done.append(item)

    with pytest.raises(OSError, match="No space left"):
        one_behind(work, items())
    assert done == list(range(at))
    assert made == list(range(min(at + 2, of)))


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


# Progress where there is no terminal: lines with rate, time left, failures and bytes, also while no block ends.


HALF = Progress(8, 16, 512, 1024, poisoned=0, failed=0, bytes=64_000)


def test_a_line_says_rate_time_left_failures_and_bytes() -> None:
    assert line(HALF, 256.0) == "512 of 1,024 panels, 256/s, 2 s left, 0 fits failed, 64 KB of results"
    worse = Progress(16, 16, 1024, 1024, poisoned=2, failed=1_300, bytes=2_000_000_000)
    assert line(worse, 0.0) == "1,024 of 1,024 panels, 0/s, 1,300 fits failed, 2 blocks failed, 2 GB of results"
    assert [progress.duration(seconds) for seconds in (0.094, 9.96, 99.6)] == ["0.094 s", "10 s", "100 s"]
    assert [progress.duration(seconds) for seconds in (5990, 6120)] == ["100 minutes", "1.7 hours"]


def test_lines_come_while_no_block_ends_and_none_after_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.05)
    said = io.StringIO()
    with Lines(Console(file=said, width=40)) as watch:
        watch.step(HALF)
        deadline = time.monotonic() + 20
        while said.getvalue().count("\n") < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    found = said.getvalue().splitlines()
    assert len(found) >= 4
    assert all(text.startswith("512 of 1,024 panels, 0/s, 0 fits failed") for text in found), "one line each"
    assert "timer" not in {thread.name for thread in threading.enumerate()}
    time.sleep(0.15)
    assert said.getvalue().splitlines() == found


@dataclass(frozen=True, slots=True)
class Unlucky(TwoWayDID):
    """Two-way DID that raises when it solves replication 70."""

    kind: ClassVar[str] = "unlucky"

    def solve(self, plan: Any, moments: Any, schema: Any, streams: Any) -> Any:
        if 70 in range(streams.start, streams.stop):
            raise ArithmeticError("70")
        return TwoWayDID.solve(self, plan, moments, schema, streams)


def test_a_run_counts_its_failed_fits_and_the_bytes_of_its_numbers(tmp_path: Path) -> None:
    seen = list[Progress]()
    study = quick_study(128, grid=(), estimators=(TwoWayDID(), Unlucky(label="unlucky")))
    store = run(study, store=tmp_path / "x.zarr", executor=Serial(), listen=seen.append)
    assert [(step.blocks, step.failed) for step in seen] == [(0, 0), (1, 0), (2, 1)]
    stored = [block_arrays(block, store.layouts, tuple(block.truth)) for block in store.blocks(0)]
    sizes = [sum(values.nbytes for values in arrays.values()) for arrays in stored]
    assert [step.bytes for step in seen] == [0, sizes[0], sum(sizes)]


class Healed(Serial):
    """One worker went before the second job, which was computed again."""

    def run(self, *arguments: Any) -> Iterator[Outcome]:
        for number, outcome in enumerate(super().run(*arguments)):
            yield replace(outcome, again="its worker ended", left=("tcp://gone",)) if number == 1 else outcome


def test_a_death_that_was_healed_is_in_the_log(tmp_path: Path) -> None:
    run(quick_study(128), store=tmp_path / "x.zarr", executor=Healed())
    events = [{key: event[key] for key in event if key in ("event", "cell", "block", "why", "worker")}
              for event in read_log(tmp_path / "x.zarr")]  # fmt: skip
    assert [event for event in events if event["event"] not in ("start", "end")] == [
        {"event": "left", "worker": "tcp://gone"},
        {"event": "again", "cell": 1, "block": 0, "why": "its worker ended"},
        *({"event": "commit", "cell": cell, "block": index} for index in (0, 1) for cell in (0, 1)),
    ], "blocks are committed when they are on the disk"
