"""Clocks: what freezes, goes or says nothing is waited for only so long; the clocks are made short here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from real_parts import Cluster, by_command_line
from slow_jobs import double_slowly

from cluster import ClusterLost, back_end, dask_cluster, dask_pool

pytestmark = pytest.mark.long


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dask_cluster.SETTINGS, "distributed.scheduler.worker-ttl", "3s")
    monkeypatch.setattr(dask_pool, "ASK_SECONDS", 0.2)
    monkeypatch.setattr(dask_pool, "ANSWER_SECONDS", 3.0)
    monkeypatch.setattr(dask_pool, "NO_WORKERS_SECONDS", 2.0)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Cluster]:
    with by_command_line(tmp_path, workers=1) as cluster:
        yield cluster


def test_a_frozen_worker_of_two_costs_its_jobs_only_a_while(short: None) -> None:
    pool: Any = back_end("local", {"workers": 2}).open()
    try:
        outcomes = pool.run(double_slowly, range(40))
        found = [next(outcomes)]
        address, frozen = sorted(pool.client.run(os.getpid).items())[0]
        os.kill(frozen, signal.SIGSTOP)
        begin = time.monotonic()
        found += outcomes
        assert psutil.pid_exists(frozen) is False or psutil.Process(frozen).status() != psutil.STATUS_STOPPED
        assert time.monotonic() - begin < 40
    finally:
        pool.close()
    assert sorted(outcome.result for outcome in found) == [2 * job for job in range(40)]
    assert [worker for outcome in found for worker in outcome.left] == [address]
    assert {outcome.again for outcome in found} <= {"", dask_pool.DIED, dask_pool.LOST}
    assert any(outcome.again for outcome in found), "its jobs were computed again"


def test_a_frozen_scheduler_is_reported_not_waited_for(short: None, machines: Cluster) -> None:
    pool: Any = back_end(machines.where).open()
    outcomes = pool.run(double_slowly, range(1000))
    assert next(outcomes).result is not None
    scheduler = machines.processes["scheduler"]
    scheduler.send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    try:
        with pytest.raises(ClusterLost, match="does not answer"):
            list(outcomes)
        assert 3 <= time.monotonic() - begin < 15
    finally:
        scheduler.send_signal(signal.SIGCONT)
        pool.close()


def test_a_cluster_without_workers_is_reported(short: None, machines: Cluster) -> None:
    pool: Any = back_end(machines.where).open()
    outcomes = pool.run(double_slowly, range(1000))
    assert next(outcomes).result is not None
    machines.processes["worker 0"].terminate()
    begin = time.monotonic()
    try:
        with pytest.raises(ClusterLost, match="no workers at"):
            list(outcomes)
        assert 2 <= time.monotonic() - begin < 30
    finally:
        pool.close()


def test_a_client_that_loses_its_connection_gets_another_and_goes_on(machines: Cluster) -> None:
    pool: Any = back_end(machines.where).open()
    try:
        outcomes = pool.run(double_slowly, range(30))
        found = [next(outcomes)]
        connection = pool.client.scheduler_comm.comm
        pool.client.loop.add_callback(connection.abort)
        found += outcomes
        assert connection.closed()
    finally:
        pool.close()
    assert sorted(outcome.result for outcome in found) == [2 * job for job in range(30)]
