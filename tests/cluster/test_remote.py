"""A scheduler and a worker of their own, as on a real cluster: use, and death of the scheduler."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from schedulers import Machines, started
from slow_jobs import double_slowly

from cluster import ClusterLost, dask_cluster, open_executor


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with started(tmp_path) as machines:
        yield machines


@pytest.mark.long
def test_a_running_scheduler_serves(machines: Machines) -> None:
    pool = open_executor(machines.address)
    try:
        assert sorted(outcome.result for outcome in pool.run(double_slowly, range(5))) == [0, 2, 4, 6, 8]
    finally:
        pool.close()


@pytest.mark.long
def test_a_killed_scheduler_is_reported_not_waited_for(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 3.0)
    pool = open_executor(machines.address)
    outcomes = pool.run(double_slowly, range(1000))
    assert next(outcomes).result is not None
    machines.scheduler.send_signal(signal.SIGKILL)
    begin = time.monotonic()
    with pytest.raises(ClusterLost, match=r"127\.0\.0\.1"):
        list(outcomes)
    assert 3 <= time.monotonic() - begin < 20
    pool.close()
