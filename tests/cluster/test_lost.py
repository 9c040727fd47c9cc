"""A scheduler or a worker that is gone is said in words by whoever asks, and never as an error of Dask's own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster

from cluster import ClusterLost, back_end, dask_cluster, dask_pool, is_loopback
from cluster import survey as survey_of
from cluster.backends import local
from cluster.dask_cluster import client_of, reaching
from cluster.dask_pool import DaskPool
from cluster.survey import bandwidth, ship, survey


@pytest.fixture(scope="module")
def scheduler() -> Iterator[LocalCluster]:
    """A scheduler in this process, with one worker."""
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster


def lost(scheduler: LocalCluster) -> DaskPool:
    """A pool whose client Dask has closed, as it does some seconds after its scheduler has gone."""
    pool = DaskPool(Client(scheduler))
    pool.client.close(timeout=5)
    assert pool.client.scheduler is None
    return pool


ASKED: dict[str, Callable[[DaskPool], Any]] = {
    "jobs": lambda pool: list(pool.run(abs, [1])),
    "workers": lambda pool: pool._ask(),
    "a worker is left out": lambda pool: pool.refuse("tcp://127.0.0.1:1", "another code"),
    "what workers are": lambda pool: survey(pool, (), ()),
    "how fast it is": lambda pool: bandwidth(pool, "tcp://127.0.0.1:1"),
    "code is sent": lambda pool: ship(pool, ["json"]),
}


@pytest.mark.parametrize("asks", ASKED)
def test_whoever_asks_a_scheduler_that_is_gone_says_so_in_words(asks: str, scheduler: LocalCluster) -> None:
    pool = lost(scheduler)
    with pytest.raises(ClusterLost, match=f"^the scheduler at {pool.address} is gone$"):
        ASKED[asks](pool)
    pool.close()


def test_bytes_go_to_a_worker_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty task takes 1 s, one with the bytes 3 s: twice as many bytes in 2 s."""
    future = SimpleNamespace(result=lambda timeout: b"")
    client = SimpleNamespace(submit=lambda *arguments, **named: future)
    times = iter([0.0, 1.0, 1.0, 4.0])
    monkeypatch.setattr(survey_of, "time", SimpleNamespace(perf_counter=times.__next__))
    pool: Any = SimpleNamespace(client=client, reaching=nullcontext)
    assert bandwidth(pool, "tcp://here:1") == (1.0, survey_of.SENT_BYTES)


def test_a_pool_of_a_client_that_has_closed_is_lost_and_closes_its_cluster(scheduler: LocalCluster) -> None:
    client = Client(scheduler)
    client.close(timeout=5)
    ended: list[float] = []
    with pytest.raises(ClusterLost, match=r"^the scheduler is gone$"):
        DaskPool(client, SimpleNamespace(close=lambda timeout: ended.append(timeout)))
    assert len(ended) == 1


def test_an_error_of_our_own_is_no_lost_scheduler(scheduler: LocalCluster) -> None:
    with (
        Client(scheduler) as client,
        pytest.raises(AttributeError, match="nothing"),
        reaching(client, "it"),
    ):
        raise AttributeError("nothing")


def test_a_scheduler_that_goes_before_its_workers_come_is_lost(scheduler: LocalCluster) -> None:
    """The client waits for workers, and its scheduler closes meanwhile."""
    client = Client(scheduler)
    client.close(timeout=5)
    closed: list[float] = []
    owned = SimpleNamespace(close=lambda timeout: closed.append(timeout))

    class Closed:
        """What a client becomes whose scheduler went: each call raises what Dask raises then."""

        status = "closed"

        def wait_for_workers(self, *_: object, **__: object) -> None:
            client.wait_for_workers(5, timeout=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dask_cluster, "Client", lambda *_, **__: Closed())
        with pytest.raises(ClusterLost, match=r"^local cluster: no worker answered within 0 s$"):
            dask_cluster.client_of(owned, 1, "local cluster", 0.3)
        with pytest.raises(ClusterLost, match="has no workers; nothing was started"):
            dask_cluster.connected("tcp://127.0.0.1:1", None)
    assert closed == [10]


@pytest.mark.parametrize("failure", [AttributeError("'NoneType' object has no attribute 'address'"),
                                     TimeoutError("no answer"), OSError("closed")])  # fmt: skip
def test_a_worker_that_ends_as_soon_as_it_has_started_is_one_line(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise failure

    closed: list[float] = []
    client = SimpleNamespace(run=fails, status="closed", scheduler=None)
    cluster = SimpleNamespace(workers={}, close=lambda timeout: closed.append(timeout))
    monkeypatch.setattr(local.Local, "_started", lambda *_: cluster)
    monkeypatch.setattr(dask_cluster, "client_of", lambda *_, **__: client)
    with pytest.raises(ClusterLost, match=r"^local cluster: a worker ended as soon as it had started: \S"):
        local.Local(workers=1).open()
    assert closed == [10]


def test_a_worker_whose_process_is_gone_has_left_nothing_of_this_process(tmp_path: Path) -> None:
    """psutil takes None for the process that asks, whose other children were ended then."""
    gone = SimpleNamespace(workers={0: SimpleNamespace(pid=None)}, close=lambda timeout: None)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        dask_cluster.Owned(str(tmp_path / "scratch"), cluster=gone).close()
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.5)
    finally:
        other.kill()
        other.wait()


def test_a_scheduler_that_does_not_answer_in_time_is_lost(
    scheduler: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_pool, "ANSWER_SECONDS", 0.2)
    with Client(scheduler) as client:
        pool = DaskPool(client)

        async def never(**_: object) -> None:
            await asyncio.sleep(5)

        monkeypatch.setattr(client, "scheduler", SimpleNamespace(ncores=never, address=pool.address))
        with pytest.raises(ClusterLost, match=f"^the scheduler at {pool.address} does not answer$"):
            pool._ask()
        monkeypatch.undo()


@pytest.mark.parametrize(("status", "clients"), [("closed", 2), ("running", 1)])
def test_a_client_whose_connection_broke_at_the_start_is_made_anew_and_one_that_waits_is_not(
    monkeypatch: pytest.MonkeyPatch, status: str, clients: int
) -> None:
    made: list[Any] = []

    class Waiting:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.status, self.asked = "running" if made else status, 0
            made.append(self)

        def wait_for_workers(self, count: int, timeout: float) -> None:
            self.asked += 1
            if self.status == "closed" or self.asked == 1 == clients:
                raise TimeoutError

    monkeypatch.setattr(dask_cluster, "Client", Waiting)
    assert client_of(SimpleNamespace(close=lambda timeout: None), 1, "a cluster", seconds=5.0) is made[-1]
    assert len(made) == clients


def test_an_address_where_nobody_listens_is_lost_not_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 1.0)
    with pytest.raises(ClusterLost, match=r"127\.0\.0\.1:9"):
        back_end("tcp://127.0.0.1:9").open()


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("tcp://127.0.0.1:1", True), ("tcp://[::1]:1", True), ("tls://localhost:1", True), ("tcp://192.0.2.1:1", False)],
)
def test_loopback(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback
