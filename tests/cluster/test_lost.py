"""A scheduler or a worker that is gone is said in words by whoever asks, and never as an error of Dask's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import commands
import psutil
import pytest
from distributed import Client, LocalCluster
from real_parts import PATH, Cluster, NotHere, by_command_line, ended, needs, start, wait_until
from slow_jobs import double_slowly

from cluster import ClusterLost, back_end, dask_cluster, dask_pool, environment, is_loopback
from cluster import survey as survey_of
from cluster.backends import local
from cluster.dask_cluster import client_of, reaching
from cluster.dask_pool import DaskPool
from cluster.options import Refused
from cluster.survey import bandwidth, ship, survey
from experiments.run.resume import read_log
from results.store import ZarrStore
from studies import SHORT


@pytest.fixture(scope="module")
def scheduler() -> Iterator[LocalCluster]:
    """A scheduler in this process, with one worker."""
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster


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
    """Dask has closed the pool's client, as it does some seconds after its scheduler has gone."""
    pool = DaskPool(Client(scheduler))
    pool.client.close(timeout=5)
    assert pool.client.scheduler is None
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


def test_workers_are_told_in_order_with_what_they_have_and_why_they_cannot_say_it() -> None:
    said = iter([{"c": ValueError("odd"), "b": ImportError("no", name="sim.streams"), "a": environment().plain},
                 {"workers": {"a": {"nthreads": 2, "memory_limit": 10**9}}}])  # fmt: skip
    client = SimpleNamespace(_run=int, scheduler=SimpleNamespace(identity=int), sync=lambda *_, **__: next(said))
    pool: Any = SimpleNamespace(client=client, reaching=nullcontext)
    found = survey(pool, (), ())
    assert [(item.address, item.threads, item.memory) for item in found] == [("a", 2, 10**9), ("b", 0, 0), ("c", 0, 0)]
    assert [item.why.partition(",")[0] for item in found] == ["", "it has no module 'sim'", "it cannot answer: odd"]


def test_a_pool_of_a_client_that_has_closed_is_lost_and_closes_its_cluster(scheduler: LocalCluster) -> None:
    client = Client(scheduler)
    client.close(timeout=5)
    ended: list[float] = []
    with pytest.raises(ClusterLost, match=r"^the scheduler is gone$"):
        DaskPool(client, SimpleNamespace(close=lambda timeout: ended.append(timeout)))
    assert len(ended) == 1


def test_an_error_of_our_own_is_no_lost_scheduler(scheduler: LocalCluster) -> None:
    with Client(scheduler) as client, pytest.raises(AttributeError, match="nothing"), reaching(client, "it"):
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


def test_too_few_open_files_are_said_before_workers_start(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(local.resource, "getrlimit", lambda _: (20, 55))
    monkeypatch.setattr(local.resource, "setrlimit", lambda _, both: given.append(both))
    monkeypatch.setattr(dask_cluster, "made_scratch", lambda: 1 / 0)
    with pytest.raises(Refused, match="a process may open 55 files at once; allowed: 56 or more for 2 workers"):
        local.Local(workers=2).open()
    with pytest.raises(ZeroDivisionError):
        local.Local(workers=1).open()
    assert given == [(44, 55)], "the limit that a process may raise itself"


@pytest.mark.parametrize(("name", "told"), [("mine.py", True), ("panelproof", False)])
def test_the_program_itself_is_no_script_that_lacks_a_main(
    name: str, told: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__=str(tmp_path / name)))
    monkeypatch.setattr("distributed.LocalCluster", Mock(side_effect=RuntimeError("Status.starting")))
    with pytest.raises(ClusterLost, match=r"ended before it was ready: Status\.starting") as lost:
        local.Local()._started(1, None, str(tmp_path))
    assert ("must keep what it runs under" in str(lost.value)) is told


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


def test_what_a_worker_has_started_ends_with_it_and_what_that_has_started_too(tmp_path: Path) -> None:
    worker = subprocess.Popen(["sh", "-c", "sh -c 'sleep 60; :'; :"])
    wait_until(lambda: len(psutil.Process(worker.pid).children(recursive=True)) == 2, 20, "what it starts")
    started = psutil.Process(worker.pid).children(recursive=True)
    ended = SimpleNamespace(workers={0: worker}, close=lambda timeout: None)
    dask_cluster.Owned(str(tmp_path / "scratch"), cluster=ended).close()
    assert psutil.wait_procs(started, timeout=10)[1] == []
    worker.wait(10)


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
    loopback = [address for address in ("tcp://127.0.0.1:1", "tcp://[::1]:1", "tls://localhost:1", "tcp://192.0.2.1:1")
                if is_loopback(address)]  # fmt: skip
    assert loopback == ["tcp://127.0.0.1:1", "tcp://[::1]:1", "tls://localhost:1"]


# Clocks: what freezes, goes or says nothing is waited for only so long; the clocks are made short here


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


@pytest.mark.long
def test_a_frozen_worker_of_two_costs_its_jobs_only_a_while(short: None) -> None:
    with closing(back_end("local", {"workers": 2}).open()) as pool:
        outcomes = pool.run(double_slowly, range(40))
        found = [next(outcomes)]
        address, frozen = sorted(pool.client.run(os.getpid).items())[0]
        os.kill(frozen, signal.SIGSTOP)
        begin = time.monotonic()
        found += outcomes
        assert psutil.pid_exists(frozen) is False or psutil.Process(frozen).status() != psutil.STATUS_STOPPED
        assert time.monotonic() - begin < 40
    assert sorted(outcome.result for outcome in found) == [2 * job for job in range(40)]
    assert [worker for outcome in found for worker in outcome.left] == [address]
    assert {outcome.again for outcome in found} <= {"", dask_pool.DIED, dask_pool.LOST}
    assert any(outcome.again for outcome in found), "its jobs were computed again"


@pytest.mark.long
@pytest.mark.parametrize(("name", "sent", "said", "least", "most"), [
    ("scheduler", signal.SIGSTOP, "does not answer", 3, 15), ("worker 0", signal.SIGTERM, "no workers at", 2, 30),
], ids=["frozen scheduler", "no workers"])  # fmt: skip
def test_a_cluster_that_stands_still_is_reported_not_waited_for(
    short: None, machines: Cluster, name: str, sent: signal.Signals, said: str, least: int, most: int
) -> None:
    with closing(back_end(machines.where).open()) as pool:
        outcomes = pool.run(double_slowly, range(1000))
        assert next(outcomes).result is not None
        machines.processes[name].send_signal(sent)
        begin = time.monotonic()
        try:
            with pytest.raises(ClusterLost, match=said):
                list(outcomes)
            assert least <= time.monotonic() - begin < most
        finally:
            machines.processes[name].send_signal(signal.SIGCONT)


@pytest.mark.long
def test_a_client_that_loses_its_connection_gets_another_and_goes_on(machines: Cluster) -> None:
    with closing(back_end(machines.where).open()) as pool:
        outcomes = pool.run(double_slowly, range(30))
        found = [next(outcomes)]
        connection, connect = pool.client.scheduler_comm.comm, pool.client._ensure_connected

        async def connect_slowly(**options: Any) -> None:
            await asyncio.sleep(1.5)  # the run looks at its client once a second
            await connect(**options)

        pool.client._ensure_connected = connect_slowly
        pool.client.loop.add_callback(connection.abort)
        found += outcomes
        assert connection.closed()
    assert sorted(outcome.result for outcome in found) == [2 * job for job in range(30)]


# Two hosts, each with a worker: the link between them is cut in mid-run, and the run ends with the serial hash


NEAR, FAR = "10.213.0.1", "10.213.0.2"  # of the link alone: nothing leads out of the two namespaces


@dataclass(frozen=True, slots=True)
class Hosts:
    """Two namespaces, by name, and the end of their link in the first."""

    near: str
    far: str
    link: str

    def start(self, where: str, folder: Path, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """A program on one of them."""
        return start(folder, "ip", "netns", "exec", where, *command, **environment)

    def cut(self) -> None:
        """Take the link down: neither side hears of it."""
        _ip("-n", self.near, "link", "set", self.link, "down")


def _ip(*words: str) -> None:
    ran = subprocess.run(["ip", *words], capture_output=True, text=True)
    if ran.returncode:
        raise NotHere(f"ip {' '.join(words)}: {ran.stderr.strip()}")


SLOW = """
import os, time
from typing import ClassVar
from estimators import TwoWayDID

class Slow(TwoWayDID):
    kind: ClassVar[str] = "slow"

    def solve(self, plan, moments, schema, streams):
        time.sleep(float(os.environ.get("SECONDS_OF_A_BLOCK", "0.2")))
        return TwoWayDID.solve(self, plan, moments, schema, streams)
"""
STUDY = f"""{SHORT.replace("128", "2560")}[[estimators]]
kind = "slow_plug_in:Slow"
"""
CLOCKS = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
}


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Two joined network namespaces, where this user may make them."""
    mark = os.getpid()
    made = Hosts(f"near{mark}", f"far{mark}", f"pn{mark}")
    try:
        needs("ip")
        for name in (made.near, made.far):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", made.near, "link", "add", made.link, "type", "veth", "peer", "name", "pf", "netns", made.far)
        for name, link, address in ((made.near, made.link, NEAR), (made.far, "pf", FAR)):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", link)
            _ip("-n", name, "link", "set", link, "up")
        yield made
    except NotHere as reason:
        pytest.skip(f"TWO HOSTS ARE NOT TESTED HERE: {reason}")
    finally:
        for name in (made.near, made.far):
            with contextlib.suppress(NotHere, FileNotFoundError):
                _ip("netns", "delete", name)


@pytest.mark.long
def test_a_cut_link_costs_a_run_time_alone(hosts: Hosts, tmp_path: Path) -> None:
    (tmp_path / "slow_plug_in.py").write_text(SLOW)
    (tmp_path / "study.toml").write_text(STUDY)
    file, dask, path = tmp_path / "scheduler.json", (sys.executable, "-m", "dask"), {"PYTHONPATH": f"{tmp_path}:{PATH}"}
    alone = commands.run(tmp_path, "run", "study.toml", "--cluster", "serial", "--store", "alone.zarr",
                         env={**os.environ, **path, "SECONDS_OF_A_BLOCK": "0"})  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    processes = [hosts.start(hosts.near, tmp_path, *dask, "scheduler", "--host", NEAR, "--port", "0", "--no-dashboard",
                             "--scheduler-file", str(file), **CLOCKS)]  # fmt: skip
    try:
        wait_until(lambda: file.exists() and file.read_text(), 60, "the start of a scheduler")
        address = json.loads(file.read_text())["address"]
        for host, own in ((hosts.near, NEAR), (hosts.far, FAR)):
            processes.append(hosts.start(host, tmp_path, *dask, "worker", address, "--nthreads", "1", "--host", own,
                                         "--no-dashboard", "--name", own, **path))  # fmt: skip
        wait_until(lambda: (tmp_path / "output.txt").read_text().count("Registered to:") == 2, 60, "two workers")
        run = hosts.start(hosts.near, tmp_path, sys.executable, "-m", "experiments", "run", "study.toml", "--cluster",
                          address, "--insecure", "--store", "x.zarr", **path)  # fmt: skip
        processes.append(run)
        wait_until(lambda: sum(event["event"] == "commit" for event in read_log(tmp_path / "x.zarr")) >= 10, 60,
                   "ten blocks")  # fmt: skip
        assert run.poll() is None
        hosts.cut()
        assert run.wait(timeout=200) == 0, (tmp_path / "output.txt").read_text()
    finally:
        for process in reversed(processes):
            ended(process)
    one, two = (ZarrStore.open(tmp_path / name).content_hash() for name in ("x.zarr", "alone.zarr"))
    assert one == two
    went = [event["worker"] for event in read_log(tmp_path / "x.zarr") if event["event"] == "left"]
    assert [worker.partition("//")[2].rpartition(":")[0] for worker in went] == [FAR]
