"""The running scheduler at an address: of a cluster, of Kubernetes, of a cloud."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from cluster.backends.backend import BackEnd, Say, bytes_of, silent
from cluster.executor import Executor, Pace
from cluster.options import Fault, is_loopback


@dataclass(frozen=True)
class Plain(BackEnd):
    """A scheduler that speaks plain tcp: whoever reaches it can run code, so it is meant for this machine.

    address: tcp://HOST:PORT. insecure: allow another machine. memory: what a block that died before may take.
    """

    name: ClassVar[str] = "tcp"
    form: ClassVar[str] = "tcp://HOST:PORT"

    address: str
    insecure: bool = False
    memory: str | None = None

    def faults(self, where: str) -> Iterable[Fault]:
        """What is wrong with the options."""
        yield from _port_faults(self.address)
        yield from super().faults(where)
        if not is_loopback(self.address) and not self.insecure:
            yield Fault(f"{self.address} is another machine, by plain tcp", "--cluster",
                        "tls://, or tcp:// on this machine",
                        "use tls with certificates, or say --insecure on a network you trust")  # fmt: skip

    def open(self, limit: float | None = None, say: Say = silent) -> Executor:
        """Connect."""
        from cluster.dask_cluster import connected
        from cluster.dask_pool import DaskPool

        return DaskPool(connected(self.address, None), None, Pace(limit), bytes_of(self.memory), say)


@dataclass(frozen=True)
class Encrypted(BackEnd):
    """A scheduler that speaks TLS and knows its members by their certificates.

    address: tls://HOST:PORT. tls: files {ca, cert, key} in PEM; None = those of Dask's configuration. memory: what a
    block that died before may take.
    """

    name: ClassVar[str] = "tls"
    form: ClassVar[str] = "tls://HOST:PORT"

    address: str
    tls: dict[str, Any] | None = None
    memory: str | None = None

    def faults(self, where: str) -> Iterable[Fault]:
        """What is wrong with the options."""
        from cluster.dask_cluster import HOW, Certificates

        yield from _port_faults(self.address)
        yield from super().faults(where)
        if Certificates.given(self.tls, where) is None:
            yield Fault(f"{self.address} without certificates", where, "files in PEM: ca, cert, key", HOW)

    def open(self, limit: float | None = None, say: Say = silent) -> Executor:
        """Connect."""
        from cluster.dask_cluster import Certificates, connected
        from cluster.dask_pool import DaskPool

        certificates = Certificates.given(self.tls, "[cluster] tls")
        assert certificates is not None
        client = connected(self.address, certificates.security)
        return DaskPool(client, None, Pace(limit), bytes_of(self.memory), say)


def _port_faults(address: str) -> Iterable[Fault]:
    try:
        port = urlsplit(address).port
    except ValueError:
        port = None
    if not port:
        yield Fault(f"{address} names no port", "--cluster", "tcp://HOST:PORT, tls://HOST:PORT",
                    "add the scheduler's port")  # fmt: skip
