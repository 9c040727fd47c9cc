"""Clocks: what freezes, goes or says nothing is waited for only so long; the clocks are made short here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from distributed import KilledWorker
from real_parts import Cluster, by_command_line
from slow_jobs import double_slowly

from cluster import ClusterLost, back_end, dask_cluster, dask_pool
from cluster.dask_pool import DaskPool
from cluster.executor import FACTOR, FIRST_LIMIT, LEAST_LIMIT, PILOT_FACTOR, Pace

pytestmark = pytest.mark.long
IN_CHILD = partial(dask_pool.in_child, double_slowly)


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


def test_the_time_of_a_job_follows_what_was_seen_of_its_kind() -> None:
    class OfKind(int):
        kind = "dear"

    pace = Pace()
    assert pace.seconds(1) == pace.seconds(OfKind(1)) == FIRST_LIMIT
    pace.saw(1, 0.1)
    assert pace.seconds(1) == LEAST_LIMIT
    assert pace.seconds(OfKind(1)) == LEAST_LIMIT, "a first job of another kind, by the pilot"
    pace.saw(1, 4.0)
    assert pace.seconds(OfKind(1)) == PILOT_FACTOR * 4
    pace.saw(OfKind(1), 50.0)
    pace.saw(OfKind(1), 10.0)
    assert pace.seconds(OfKind(2)) == FACTOR * 50
    assert Pace(3.0).seconds(1) == 3


def test_the_first_limit_of_a_cell_follows_from_the_pilot_and_its_size() -> None:
    @dataclass(frozen=True)
    class Sized:
        kind: str
        size: int
        timed: bool = True

    pace = Pace()
    pace.saw(Sized("trial", 1, timed=False), 1e-6)
    assert pace.seconds(Sized("pilot", 10)) == FIRST_LIMIT, "nothing is known before the pilot"
    pace.saw(Sized("pilot", 10), 0.1)
    assert pace.seconds(Sized("as large", 10)) == LEAST_LIMIT
    assert pace.seconds(Sized("larger", 11)) == FIRST_LIMIT, "costs may grow faster than sizes"
    pace.saw(Sized("pilot", 10), 20.0)
    assert pace.seconds(Sized("smaller", 5)) == PILOT_FACTOR * 10
    assert pace.seconds(Sized("larger", 20)) == PILOT_FACTOR * 40


class Ended:
    """A future that was done, and whose worker and the next one are gone when its result is asked for."""

    status = "finished"

    def result(self, timeout: float) -> None:
        raise KilledWorker("task", None, 0)


def test_a_result_that_left_with_its_worker_and_killed_another_runs_carefully(machines: Cluster) -> None:
    pool: Any = back_end(machines.where).open()
    try:
        work = dask_pool._Work(double_slowly, IN_CHILD, iter(()))
        assert list(pool._ended(Ended(), dask_pool._Task([3, 4], careful=False, workers=None), work)) == []
        assert [(task.jobs, task.careful) for task in work.again] == [([3], True), ([4], True)]
    finally:
        pool.close()


def test_a_death_beside_others_is_none_of_a_job_s_own() -> None:
    """The job is given up at the third death of its careful runs."""
    pool: Any = SimpleNamespace(_told_left=tuple)
    work, job, given_up = dask_pool._Work(double_slowly, IN_CHILD, iter(())), object(), []
    for careful in (False, True, True, True):
        task = dask_pool._Task([job], careful=careful, workers=None)
        given_up.append(bool([*DaskPool._failed(pool, KilledWorker("task", None, 0), task, work)]))
    assert given_up == [False, False, False, True]
