"""Executors here and on a scheduler of its own: outcomes, deaths, and what is refused."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from schedulers import Machines, started
from slow_jobs import double_slowly

from cluster import ClusterLost, Serial, dask_cluster, dask_pool, environment, is_loopback, open_executor


def double(x: int) -> int:
    if x == 13:
        raise ValueError("unlucky")
    if x == 99:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * x


def test_serial_reports_errors_as_outcomes() -> None:
    outcomes = list(Serial().run(double, [1, 13, 2]))
    assert [outcome.result for outcome in outcomes] == [2, None, 4]
    assert isinstance(outcomes[1].error, ValueError)


def test_local_survives_a_job_that_kills_its_workers() -> None:
    pool = open_executor("local", 2)
    try:
        assert pool.workers == 2
        assert is_loopback(pool.address)
        outcomes = {outcome.job: outcome for outcome in pool.run(double, [1, 2, 99, 13, *range(100, 120)])}
    finally:
        pool.close()
    assert outcomes[99].died
    assert outcomes[99].again == dask_pool.DIED
    assert isinstance(outcomes[13].error, ValueError)
    assert not outcomes[13].died
    assert all(outcomes[x].result == 2 * x for x in (1, 2, *range(100, 120)))


def test_an_address_where_nobody_listens_is_lost_not_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 1.0)
    with pytest.raises(ClusterLost, match=r"127\.0\.0\.1:9"):
        open_executor("tcp://127.0.0.1:9")


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("tcp://127.0.0.1:1", True), ("tcp://[::1]:1", True), ("tls://localhost:1", True), ("tcp://192.0.2.1:1", False)],
)
def test_loopback(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


def test_environment_names_the_blas_kernel() -> None:
    assert "numpy" in str(environment())
    assert "blas" in str(environment())


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
