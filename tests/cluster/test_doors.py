"""Doors: nobody but the owner gets into a local cluster, and a closed terminal leaves no child behind."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from commands import refusal
from distributed import Security
from real_parts import ENVIRONMENT, ROOT, wait_until
from slow_jobs import double

from cluster import Refused, back_end, dask_cluster, dask_pool
from cluster.backends.local import Local
from cluster.dask_cluster import starting
from cluster.options import some_of
from cluster.orphans import MODULE as ORPHANS
from cluster.steady_tls import MODULE

TRY = """
import socket, sys
from distributed import Client, Security
host, port = sys.argv[1].split("//")[1].rsplit(":", 1)
socket.create_connection((host, int(port)), timeout=5).close()
print("reached")
for address, security in ((sys.argv[1], Security.temporary()), (sys.argv[1].replace("tls", "tcp", 1), None)):
    try:
        client = Client(address, security=security, timeout=3)
        print("inside", client.submit(__import__("os").getuid).result(timeout=3))
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        print("refused", type(error).__name__)
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[Any]:
    with closing(back_end("local", {"workers": 1}).open()) as executor:
        yield executor


def as_nobody(*command: str) -> list[str]:
    if os.geteuid() != 0 or shutil.which("runuser") is None:
        pytest.skip("ANOTHER USER IS NOT TESTED HERE: only root can become one")
    whole = ["runuser", "-u", "nobody", "--", *command]
    if subprocess.run([*whole[:4], sys.executable, "-c", "import distributed"], capture_output=True).returncode:
        pytest.skip("ANOTHER USER IS NOT TESTED HERE: it cannot read this installation")
    return whole


@pytest.mark.parametrize("who", ["nobody", "this user"])
def test_without_the_certificate_nobody_gets_in(pool: Any, who: str) -> None:
    """Scheduler, worker and nanny each; the port itself is reached, so it is the certificate that keeps them out."""
    assert [outcome.result for outcome in pool.run(double, [4])] == [8], "the owner is inside"
    ((worker, facts),) = pool.client.scheduler_info()["workers"].items()
    for address in (pool.address, worker, facts["nanny"]):
        assert address.startswith("tls://127.0.0.1:")
        command = [sys.executable, "-c", TRY, address]
        ran = subprocess.run(as_nobody(*command) if who == "nobody" else command, capture_output=True, text=True,
                             cwd="/", timeout=60)  # fmt: skip
        assert "reached" in ran.stdout, ran.stderr
        assert "inside" not in ran.stdout
        assert ran.stdout.count("refused") == 2, ran.stdout + ran.stderr


def test_all_that_listens_listens_on_the_loopback_address(pool: Any) -> None:
    """Dashboards too."""
    me = psutil.Process()
    processes = [me, *me.children(recursive=True)]
    open_ports = {item.laddr.ip for process in processes for item in process.net_connections("tcp")
                  if item.status == psutil.CONN_LISTEN}  # fmt: skip
    assert open_ports == {"127.0.0.1"}


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGTERM])
def test_a_closed_terminal_leaves_no_child(how: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments", "run", "bias", "--workers", "2", "--store", str(tmp_path / "x")]
    process = subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(how, signal.SIG_DFL),
    )  # fmt: skip
    me = psutil.Process(process.pid)
    wait_until(lambda: len(me.children(recursive=True)) >= 3, 60, "the start of workers")
    children = me.children(recursive=True)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode in {143, 0}, said
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert len(gone) >= 3


def test_tls_without_certificates_is_one_line() -> None:
    line = refusal("run", "bias", "--cluster", "tls://127.0.0.1:8786")
    assert "without certificates" in line
    assert "[cluster] tls = {ca =" in line


@pytest.mark.parametrize(("where", "options", "words"), [
    ("nowhere", {}, "cluster 'nowhere'"),
    ("tcp://192.0.2.1:8786", {}, "another machine, by plain tcp"),
    ("tcp://127.0.0.1", {}, "names no port"),
    ("tcp://127.0.0.1:0", {}, "names no port"),
    ("tls://127.0.0.1", {}, "names no port"),
    ("tcp://192.0.2.1:8786", {"insecure": "false"}, "another machine, by plain tcp"),
    ("slurm://127.0.0.1", {}, "cluster 'slurm://127.0.0.1'"),
    ("local", {"wrokers": 2}, "unknown option 'wrokers'"),
    ("local", {"workers": "many"}, "workers = 'many'"),
    ("local", {"memory": "much"}, "memory = 'much'"),
    ("ssh", {}, "no hosts are named"),
    ("ssh", {"hosts": "a", "known_hosts": "/none"}, "known_hosts = '/none' is no file"),
    ("tls://127.0.0.1:1", {"tls": {"ca": "none.pem", "cert": "none.pem", "key": "none.pem"}}, "no file none.pem"),
])  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_starts(where: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match="allowed") as refused:
        back_end(where, options)
    assert any(words in fault.what for fault in refused.value.faults)


@pytest.mark.parametrize("where", ["tcp://127.0.0.1:1", "tls://127.0.0.1:1"])
def test_what_a_block_may_take_reaches_the_pool(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "connected", lambda address, security: address)
    monkeypatch.setattr(dask_pool, "DaskPool", lambda client, owned, pace, memory, say: (client, pace.limit, memory))
    tls = {"tls": asdict(dask_cluster.written(tmp_path)[0])} if where.startswith("tls") else {}
    assert back_end(where, {"memory": "1GB", **tls}).open(60.0) == (where, 60.0, 10**9)


def test_a_list_of_texts_on_the_command_line_holds_no_empty_one() -> None:
    assert vars(back_end("ssh", {"hosts": "a, b,"}))["hosts"] == ("a", "b")


def test_the_extra_is_named_that_brings_a_library() -> None:
    class Needy(Local):
        needs = ("no_such_library", "an-extra")

    assert (Needy().lacks, Local().lacks) == ("an-extra", None)


@pytest.mark.parametrize(("count", "rest"), [(1, ""), (8, ""), (9, " and 1 more (all: `panelproof cluster kinds`)")])
def test_a_message_counts_the_names_beyond_eight(count: int, rest: str) -> None:
    names = [f"option-{number}" for number in range(count)]
    assert some_of(names, "zzz") == ", ".join(names[:8]) + rest


# A TLS connection of Dask survives when another one of its thread ends without a farewell


Pair = tuple[ssl.SSLSocket, ssl.SSLSocket]  # the scheduler's end and the peer's


def connected(security: Security) -> Pair:
    """Two ends of a TLS connection, after a word in each direction."""
    server, client = (security.get_listen_args("scheduler")["ssl_context"],
                      security.get_connection_args("worker")["ssl_context"])  # fmt: skip
    ours, theirs = socket.socketpair()
    made: list[Any] = []
    peer = threading.Thread(target=lambda: made.append(client.wrap_socket(theirs)))
    peer.start()
    end = server.wrap_socket(ours, server_side=True)
    peer.join()
    end.sendall(b"hello")
    assert made[0].recv(5) == b"hello"
    made[0].sendall(b"close")
    return end, made[0]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    security = Security.temporary()
    found = [connected(security) for _ in range(2)]
    yield found
    for pair in found:
        for end in pair:
            end.close()


def test_the_end_of_one_connection_is_none_of_another(pairs: list[Pair]) -> None:
    (going, peer), (staying, friend) = pairs
    assert (going.recv(5), staying.recv(5)) == (b"close", b"close")
    peer.close()
    select.select([going], [], [], 10)
    assert going.recv(5) == b"", "an end, and no error"
    staying.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        staying.recv(5)
    staying.setblocking(True)
    friend.sendall(b"still")
    assert staying.recv(5) == b"still"


def test_all_members_of_clusters_that_start_here_load_it(tmp_path: Path) -> None:
    with starting(str(tmp_path)):
        assert [dask.config.get(f"distributed.{name}.preload") for name in ("scheduler", "nanny", "worker")] == [
            [MODULE],
            [MODULE],
            [MODULE, ORPHANS],
        ]
