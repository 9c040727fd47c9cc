"""Members of clusters end when their client is killed, which says no farewell to anybody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from real_parts import ENVIRONMENT, PARTS, NotHere, by_command_line, marked, start, wait_until

from cluster import back_end, orphans

GONE_SECONDS = 30.0  # in which all members must be gone
CLIENT = """
import json, sys, time
sys.path.append({support!r})
from cluster import back_end
from slow_jobs import {job}

if __name__ == "__main__":
    executor = back_end(sys.argv[1], json.loads(sys.argv[2])).open()
    print("open", flush=True)
    for outcome in executor.run({job}, range(1000)):
        pass
"""


def members(mark: str) -> list[psutil.Process]:
    """Processes of a cluster."""
    return marked("MARK_OF_A_TEST", mark)


def client_of(folder: Path, where: str, options: dict[str, Any], job: str = "double_slowly") -> subprocess.Popen[bytes]:
    """A client in a process of its own, once its cluster is open."""
    script = folder / "client.py"
    script.write_text(CLIENT.format(support=str(Path(__file__).resolve().parents[1] / "support"), job=job))
    settings = ENVIRONMENT | {"MARK_OF_A_TEST": str(folder)}
    process = subprocess.Popen([sys.executable, str(script), where, json.dumps(options)], env=settings, cwd=folder,
                               stdout=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    return process


def killed(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """What marks the processes of a test; none is left behind, whatever the test found."""
    yield str(tmp_path)
    for process in members(str(tmp_path)):
        with contextlib.suppress(psutil.Error):
            process.kill()


@pytest.mark.long
def test_a_killed_client_of_a_local_cluster_leaves_nobody(tmp_path: Path, mark: str) -> None:
    """Not even a worker that is in a call of C which lets no other thread run."""
    process = client_of(tmp_path, "local", {"workers": 2}, "hold")
    wait_until(lambda: len(members(mark)) >= 3, 20, "the start of workers")
    time.sleep(1.0)
    killed(process)
    wait_until(lambda: not members(mark), GONE_SECONDS, "the end of all members")
    assert members(mark) == []


@pytest.mark.server
def test_a_killed_client_of_ssh_leaves_nobody(tmp_path: Path, mark: str) -> None:
    try:
        with PARTS["ssh"](tmp_path) as cluster:
            python = cluster.options["python"].replace("env ", f"env MARK_OF_A_TEST={mark} ", 1)
            process = client_of(tmp_path, "ssh", {**cluster.options, "python": python})
            assert len(members(mark)) >= 6, "the client, a scheduler, two nannies and two workers"
            killed(process)
            wait_until(lambda: not members(mark), GONE_SECONDS, "the end of scheduler, nannies and workers")
    except NotHere as reason:
        pytest.skip(f"SSH IS NOT TESTED HERE: {reason}")


@pytest.mark.long
def test_a_nanny_without_its_scheduler_ends_with_its_worker(tmp_path: Path, mark: str) -> None:
    """As a job of Slurm, which nothing connects with its client but the scheduler."""
    preloads = ("--preload", orphans.MODULE, "--preload-nanny", orphans.MODULE)
    with by_command_line(tmp_path, workers=0) as cluster:
        command = (sys.executable, "-m", "dask", "worker", cluster.where, "--nthreads", "1", "--no-dashboard")
        cluster.processes["nanny"] = start(tmp_path, *command, *preloads, MARK_OF_A_TEST=mark)
        back_end(cluster.where).open().close()  # a worker is there
        workers = [one for one in members(mark) if "spawn_main" in " ".join(one.cmdline())]
        assert workers, "a nanny and its worker"
        cluster.processes["scheduler"].kill()
        for worker in workers:
            worker.kill()  # the nanny starts another, which finds no scheduler
        wait_until(lambda: not members(mark), GONE_SECONDS, "the end of nanny and worker")


class Ended(Exception):
    """In place of the end of this process."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Short clocks; what would end this process raises, and says why."""
    said: list[str] = []

    def end(why: str) -> None:
        said.append(why)
        raise Ended

    monkeypatch.setattr(orphans, "end", end)
    for name, seconds in {"LOOK": 0.02, "GRACE": 0.2, "FIRST": 0.6, "SILENT": 1.2, "ANSWER": 0.1}.items():
        monkeypatch.setattr(orphans, f"{name}_SECONDS", seconds)
    return said


def seconds_of(work: Any) -> float:
    begin = time.monotonic()
    with pytest.raises(Ended):
        asyncio.run(asyncio.wait_for(work, 20))
    return time.monotonic() - begin


def test_a_scheduler_waits_for_its_first_client_and_less_for_a_next(quick: list[str]) -> None:
    nobody = SimpleNamespace(clients={"fire-and-forget": SimpleNamespace(last_seen=1e12)})
    assert seconds_of(orphans.without_client(nobody)) >= 0.6
    scheduler = SimpleNamespace(clients={"a": SimpleNamespace(last_seen=time.time() + 100)})

    async def leaving() -> None:
        watch = asyncio.ensure_future(orphans.without_client(scheduler))
        await asyncio.sleep(1.0)
        assert not watch.done(), "it has a client"
        scheduler.clients.clear()
        await asyncio.wait_for(watch, 20)

    assert 1.1 <= seconds_of(leaving()) < 1.6
    assert quick == ["its client is gone"] * 2


def test_a_client_that_says_nothing_for_long_is_gone(quick: list[str]) -> None:
    """As when its machine lost its power: nobody closes the connection."""
    silent = SimpleNamespace(clients={"a": SimpleNamespace(last_seen=time.time())})
    assert seconds_of(orphans.without_client(silent)) >= 1.2


def nanny_of(address: str, answers: bool) -> Any:
    async def echo(data: int) -> int:
        if not answers:
            raise OSError("no answer")
        return data

    return SimpleNamespace(scheduler=SimpleNamespace(echo=echo), scheduler_addr=address)


def test_a_busy_scheduler_is_waited_for_and_one_that_is_gone_is_not(quick: list[str]) -> None:
    async def busy() -> float:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        begin = time.monotonic()
        with pytest.raises(Ended):
            await orphans.without_scheduler(nanny_of(address, answers=False))
        waited = time.monotonic() - begin
        server.close()
        await server.wait_closed()
        begin = time.monotonic()
        with pytest.raises(Ended):
            await orphans.without_scheduler(nanny_of(address, answers=False))
        assert time.monotonic() - begin < 1.0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(orphans.without_scheduler(nanny_of(address, answers=True)), 1.5)
        return waited

    assert asyncio.run(busy()) >= 1.2
    assert quick == ["its scheduler is gone"] * 2


@pytest.mark.parametrize(("error", "gone"), [(ConnectionRefusedError, True), (OSError, False), (TimeoutError, False)])
def test_a_machine_that_does_not_answer_may_only_be_slow(
    error: type[Exception], gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(asyncio, "open_connection", refuse)
    assert asyncio.run(orphans.is_gone("tcp://127.0.0.1:9")) is gone


def test_a_worker_ends_with_its_nanny(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for name in ("end_with_parent", "watch_input"):
        monkeypatch.setattr(orphans, name, lambda name=name: said.append(name))
    orphans.dask_setup(SimpleNamespace())
    assert said == ["end_with_parent"], "its input is its nanny's"


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_an_input_that_is_closed_ends_a_member_and_a_file_does_not(kind: str, tmp_path: Path, mark: str) -> None:
    code = ("import subprocess, sys, time; from cluster.orphans import watch_input; "
            "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], stderr=-3, stdout=-3); "
            "watch_input(); print('up', flush=True); time.sleep(3)")  # fmt: skip
    (tmp_path / "input").write_bytes(b"")
    with (tmp_path / "input").open("rb") as file:
        process = subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT | {"MARK_OF_A_TEST": str(tmp_path)},
                                   stdin=subprocess.PIPE if kind == "pipe" else file, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    _, said = process.communicate()  # which closes the input
    assert process.returncode == (1 if kind == "pipe" else 0)
    assert (b"who started it is gone" in said) == (kind == "pipe")
    if kind == "pipe":
        wait_until(lambda: not members(mark), 5, "the end of what a member started")
    assert bool(members(mark)) == (kind == "file")


@pytest.mark.long
def test_a_scheduler_that_is_killed_under_a_run_is_one_line(tmp_path: Path) -> None:
    """What Dask logs about it meanwhile is not printed; a lost connection is tried again for 3 s here."""
    store, log = tmp_path / "x.zarr", tmp_path / "x.zarr.log.jsonl"
    code = ("import sys; from cluster import dask_cluster; from experiments.cli import run_command; "
            "dask_cluster.CONNECT_SECONDS = 3.0; sys.exit(run_command(sys.argv[1:]))")  # fmt: skip
    with by_command_line(tmp_path, workers=1) as cluster:
        command = [sys.executable, "-c", code, "run", "bias", "--cluster", cluster.where, "--replications", "20000",
                   "--block", "64", "--store", str(store), "-q"]  # fmt: skip
        process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: log.exists() and '"commit"' in log.read_text(), 120, "the first block")
        cluster.processes["scheduler"].kill()
        _, said = process.communicate(timeout=120)
        assert process.returncode == 3, said
        (line,) = said.strip().splitlines()
        assert line.startswith(f"panelproof: the scheduler at {cluster.where} ")
        assert "the same command resumes it" in line


@pytest.mark.long
def test_a_worker_that_dies_at_the_start_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments", "run", "bias", "--workers", "2", "--replications", "64", "-q",
               "--store", str(tmp_path / "x.zarr")]  # fmt: skip
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    me = psutil.Process(process.pid)

    def workers() -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return [child for child in me.children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
        return []

    wait_until(workers, 60, "the start of a worker")
    workers()[0].kill()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 3, said
    (line,) = said.strip().splitlines()
    assert "panelproof: local cluster: a worker ended" in line
    assert "the same command resumes it" in line
