"""Progress where there is no terminal: lines with rate, time left, failures and bytes, also while no block ends."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console

from cluster import Outcome, Serial
from estimators import TwoWayDID
from experiments.run import progress
from experiments.run.progress import Lines, line
from experiments.run.resume import read_log
from experiments.run.runner import Progress, run
from results.store.block import block_arrays
from studies import quick_study

HALF = Progress(8, 16, 512, 1024, poisoned=0, failed=0, bytes=64_000)


def test_a_line_says_rate_time_left_failures_and_bytes() -> None:
    assert line(HALF, 256.0) == "512 of 1,024 panels, 256/s, 2 s left, 0 fits failed, 64 KB of results"
    worse = Progress(16, 16, 1024, 1024, poisoned=2, failed=1_300, bytes=2_000_000_000)
    assert line(worse, 0.0) == "1,024 of 1,024 panels, 0/s, 1,300 fits failed, 2 blocks failed, 2 GB of results"
    assert [progress.duration(seconds) for seconds in (0.094, 9.96, 99.6)] == ["0.094 s", "10 s", "100 s"]


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
