"""Workers on machines that are reached by SSH."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cluster.backends.backend import NO_LIMITS, BackEnd, Clocks, Say, bytes_of, silent
from cluster.executor import ClusterLost, Executor
from cluster.options import Fault, checked_numbers
from cluster.process import VARIABLES

SECRETS = {"ca.pem": "ca", "cert.pem": "cert", "key.pem": "key"}


@dataclass(frozen=True)
class Ssh(BackEnd):
    """Workers on machines that SSH reaches without a password; the scheduler runs on the first. They speak TLS.

    hosts: names or addresses. workers: on each host; None = one. user, port, key: of the SSH connection; None = as
    your SSH configuration says. known_hosts: the file of known hosts; None = yours. python: the interpreter there;
    None = the path of this one. memory: what each worker may take, such as 4GB; None = its share of the host. tls:
    files {ca, cert, key} in PEM, at the same place on all hosts; None = temporary certificates, in a folder that only
    you can read.
    """

    name: ClassVar[str] = "ssh"
    form: ClassVar[str] = "ssh"
    needs: ClassVar[tuple[str, str] | None] = ("asyncssh", "ssh")

    hosts: tuple[str, ...] = ()
    workers: int | None = None
    user: str | None = None
    port: int | None = None
    key: str | None = None
    known_hosts: str | None = None
    python: str | None = None
    memory: str | None = None
    tls: dict[str, Any] | None = None

    def faults(self, where: str) -> Iterable[Fault]:
        """What is wrong with the options."""
        yield from checked_numbers(self, {"workers": 1, "port": 1}, where)
        yield from self._memory_faults(where)
        if not self.hosts:
            yield Fault("no hosts are named", where, 'hosts = ["node1", "node2"]',
                        "add hosts to [cluster], or say --cluster-option hosts=node1,node2")  # fmt: skip
        for name in ("key", "known_hosts"):
            path = getattr(self, name)
            if path is not None and not Path(path).expanduser().is_file():
                yield Fault(f"{name} = {path!r} is no file", where, "a file", f"correct {name}")

    def open(self, clocks: Clocks = NO_LIMITS, say: Say = silent) -> Executor:
        """Start a scheduler on the first host and workers on all."""
        import asyncssh
        import dask
        from distributed import SSHCluster

        from cluster.dask_cluster import client_of, starting
        from cluster.dask_pool import DaskPool

        count = (self.workers or 1) * len(self.hosts)
        try:
            with starting(), self._keys() as (security, files), dask.config.set(
                {"distributed.comm.tls": _roles(files), "distributed.comm.require-encryption": True}
            ):  # fmt: skip
                cluster = SSHCluster(
                    [self.hosts[0], *self.hosts],
                    connect_options=self._connection,
                    worker_options={"nthreads": 1, "n_workers": self.workers or 1,
                                    "memory_limit": self.memory or "auto"},
                    scheduler_options={"port": 0, "protocol": "tls", "dashboard_address": "127.0.0.1:0"},
                    remote_python=self._remote_python,
                    security=security,
                )  # fmt: skip
                client = client_of(cluster, count, f"hosts {', '.join(self.hosts)}")
        except (asyncssh.Error, OSError) as error:
            raise ClusterLost(f"SSH to {', '.join(self.hosts)} failed: {str(error) or type(error).__name__}") from error
        except ClusterLost:
            raise
        except Exception as error:  # Dask raises a plain Exception
            raise ClusterLost(f"no worker started on {', '.join(self.hosts)}: {error}; is panelproof installed there "
                              "at the same path? the option python names the interpreter") from error  # fmt: skip
        return DaskPool(client, cluster, clocks.pace, bytes_of(self.memory), say)

    @property
    def _remote_python(self) -> str:
        """The interpreter there, which starts with one thread."""
        import sys

        return f"env {' '.join(f'{name}=1' for name in VARIABLES)} {self.python or sys.executable}"

    @property
    def _connection(self) -> dict[str, Any]:
        """What SSH connects by."""
        given = {"username": self.user, "port": self.port}
        files = {"known_hosts": self.known_hosts, "client_keys": self.key}
        named = {name: str(Path(path).expanduser()) for name, path in files.items() if path is not None}
        return {name: value for name, value in given.items() if value is not None} | named

    @contextlib.contextmanager
    def _keys(self) -> Any:
        """Security of this client, and the files of the certificates on the hosts; temporary ones are there meanwhile.

        They are read when a scheduler or worker starts, and go then: keys never stand in a command line, which every
        user of a host can read.
        """
        from distributed import Security

        from cluster.certificates import Certificates

        given = Certificates.given(self.tls, "[cluster] tls") if self.tls is not None else None
        if given is not None:
            yield given.security, given
            return
        security = Security.temporary()
        folder = f"/tmp/panelproof-{secrets.token_hex(8)}"
        texts = {"ca": security.tls_ca_file, "cert": security.tls_client_cert, "key": security.tls_client_key}
        self._on_hosts(_write, folder, {name: texts[part] for name, part in SECRETS.items()})
        try:
            yield security, Certificates(*(f"{folder}/{name}" for name in SECRETS))
        finally:
            with contextlib.suppress(Exception):
                self._on_hosts(_remove, folder)

    def _on_hosts(self, action: Any, *arguments: Any) -> None:
        """Do something on every host, by SFTP."""
        import asyncio

        asyncio.run(_on_all(dict.fromkeys(self.hosts), self._connection, action, *arguments))


async def _on_all(hosts: Iterable[str], options: dict[str, Any], action: Any, *arguments: Any) -> None:
    import asyncssh

    for host in hosts:
        async with asyncssh.connect(host, **options) as connection, connection.start_sftp_client() as sftp:
            await action(sftp, *arguments)


async def _write(sftp: Any, folder: str, texts: dict[str, str]) -> None:
    """A folder of files that nobody else can read."""
    import asyncssh

    await sftp.mkdir(folder, asyncssh.SFTPAttrs(permissions=0o700))
    for name, text in texts.items():
        async with sftp.open(f"{folder}/{name}", "w", asyncssh.SFTPAttrs(permissions=0o600)) as file:
            await file.write(text)


async def _remove(sftp: Any, folder: str) -> None:
    await sftp.rmtree(folder)


def _roles(files: Any) -> dict[str, Any]:
    """Dask's configuration of certificates for every member."""
    pair = {"cert": files.cert, "key": files.key}
    return {"ca-file": files.ca, "client": pair, "scheduler": pair, "worker": pair}
