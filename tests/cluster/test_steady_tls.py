"""A TLS connection of Dask survives when another one of its thread ends without a farewell."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Security

from cluster.dask_cluster import starting
from cluster.orphans import MODULE as ORPHANS
from cluster.steady_tls import MODULE

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
