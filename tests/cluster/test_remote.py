"""A scheduler and a worker of their own, as on a real cluster: use, and death of the scheduler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from slow_jobs import double_slowly

from cluster import ClusterLost, open_executor

SUPPORT = Path(__file__).resolve().parent.parent / "support"


@dataclass
class Machines:
    """A running scheduler with one worker."""

    address: str
    scheduler: subprocess.Popen[bytes]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    file = tmp_path / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT), "OPENBLAS_NUM_THREADS": "1"}
    here = ("--host", "127.0.0.1", "--no-dashboard")

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *arguments, *here]
        return subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    scheduler = start("scheduler", "--port", "0", "--scheduler-file", str(file))
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    address = json.loads(file.read_text())["address"]
    worker = start("worker", address, "--nthreads", "1")
    try:
        yield Machines(address, scheduler)
    finally:
        for process in (worker, scheduler):
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.mark.slow
def test_a_running_scheduler_serves(machines: Machines) -> None:
    pool = open_executor(machines.address)
    try:
        assert sorted(outcome.result for outcome in pool.run(double_slowly, range(5))) == [0, 2, 4, 6, 8]
    finally:
        pool.close()


@pytest.mark.slow
def test_a_killed_scheduler_is_reported_not_waited_for(machines: Machines) -> None:
    pool = open_executor(machines.address)
    outcomes = pool.run(double_slowly, range(1000))
    assert next(outcomes).result is not None
    machines.scheduler.send_signal(signal.SIGKILL)
    begin = time.monotonic()
    with pytest.raises(ClusterLost, match=r"127\.0\.0\.1"):
        list(outcomes)
    assert time.monotonic() - begin < 60
    pool.close()
