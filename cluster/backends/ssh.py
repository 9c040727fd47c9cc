"""Workers on machines that are reached by SSH."""

from __future__ import annotations

import contextlib
import os
import posixpath
import secrets
import shlex
import stat
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cluster.backends.backend import BackEnd, Say, bytes_of, silent
from cluster.executor import ClusterLost, Executor, Pace
from cluster.numbers import member_environment
from cluster.options import Fault, checked_numbers, is_loopback
from cluster.scratch import MOST_BYTES, OWNER, PREFIX, is_gone, not_private, open_above, record_of


@dataclass(frozen=True)
class Ssh(BackEnd):
    """Workers on machines that SSH reaches without a password; the scheduler runs on the first. They speak TLS.

    hosts: names or addresses. workers: on each host; None = one. user, port, key: of the SSH connection; None = as
    your SSH configuration says. known_hosts: the file of known hosts; None = yours. python: the interpreter there;
    None = the path of this one. memory: what each worker may take, such as 4GB; None = its share of the host. tls:
    files {ca, cert, key} in PEM, at the same place on all hosts; None = temporary certificates. folder: where on the
    hosts a folder is made that only you can read, for these and for scratch files; None = where this machine keeps
    temporary files.
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
    folder: str | None = None

    def faults(self, where: str) -> Iterable[Fault]:
        """What is wrong with the options."""
        yield from checked_numbers(self, {"workers": 1, "port": 1}, where)
        yield from super().faults(where)
        if not self.hosts:
            yield Fault("no hosts are named", where, 'hosts = ["node1", "node2"]',
                        "add hosts to [cluster], or say --cluster-option hosts=node1,node2")  # fmt: skip
        for name in ("key", "known_hosts"):
            path = getattr(self, name)
            if path is not None and not Path(path).expanduser().is_file():
                yield Fault(f"{name} = {path!r} is no file", where, "a file", f"correct {name}")

    def open(self, limit: float | None = None, say: Say = silent) -> Executor:
        """Start a scheduler on the first host and workers on all."""
        import asyncssh
        import dask
        from distributed import SSHCluster

        from cluster.dask_cluster import WITHOUT_CLIENT, client_of, starting
        from cluster.dask_pool import DaskPool

        hosts = [host for host in self.hosts for _ in range(self.workers or 1)]
        folder = _Folder(self)
        try:
            security, certificates = folder.filled()
            with starting(folder.path), dask.config.set(certificates | WITHOUT_CLIENT):
                cluster = SSHCluster(
                    [self.hosts[0], *hosts],
                    connect_options=self._connection,
                    worker_options={"nthreads": 1, "memory_limit": self.memory or "auto", **self._listening},
                    scheduler_options={"port": 0, "protocol": "tls", **self._listening},
                    remote_python=self._remote_python,
                    security=security,
                )
                folder.cluster = cluster
                client = client_of(folder, len(hosts), f"hosts {', '.join(self.hosts)}", cluster=cluster)
        except ClusterLost:
            raise
        except (asyncssh.Error, OSError) as error:
            folder.close()
            raise ClusterLost(f"SSH to {', '.join(self.hosts)} failed: {str(error) or type(error).__name__}") from error
        except Exception as error:  # Dask raises a plain Exception
            folder.close()
            raise ClusterLost(f"no worker started on {', '.join(self.hosts)}: {error}; is panelproof installed there "
                              "at the same path? the option python names the interpreter") from error  # fmt: skip
        return DaskPool(client, folder, Pace(limit), bytes_of(self.memory), say)

    @property
    def _listening(self) -> dict[str, str]:
        """Where members listen: dashboards on the loopback address, and all when no other machine takes part."""
        alone = all(is_loopback(f"ssh://{host}") for host in self.hosts)
        return {"dashboard_address": "127.0.0.1:0"} | ({"host": "127.0.0.1"} if alone else {})

    @property
    def _remote_python(self) -> str:
        """The interpreter there, with what a member must start with: SSH takes no environment along."""
        settings = (shlex.quote(f"{name}={value}") for name, value in member_environment().items())
        return f"env {' '.join(settings)} {self.python or shlex.quote(sys.executable)}"

    @property
    def _connection(self) -> dict[str, Any]:
        """What SSH connects by."""
        given = {"username": self.user, "port": self.port}
        files = {"known_hosts": self.known_hosts, "client_keys": self.key}
        named = {name: str(Path(path).expanduser()) for name, path in files.items() if path is not None}
        return {name: value for name, value in given.items() if value is not None} | named


@dataclass(eq=False)
class _Folder:
    """The scratch folder on the hosts with their certificates, and the cluster that needs them for as long as it runs.

    Keys never stand in a command line, which every user of a host can read; a worker that starts anew reads the files.
    """

    back: Ssh
    cluster: Any = None
    path: str = ""

    def filled(self) -> tuple[Any, dict[str, Any]]:
        """Security of this client, and Dask's configuration of certificates for every member."""
        from distributed import Security

        from cluster.dask_cluster import Certificates, texts_of

        given = Certificates.given(self.back.tls, "[cluster] tls") if self.back.tls is not None else None
        security = Security.temporary() if given is None else given.security
        texts = texts_of(security) if given is None else {}
        self.path = f"{self.back.folder or tempfile.gettempdir()}/{PREFIX}{secrets.token_hex(8)}"
        self._on_hosts(_write, self.path, texts)
        files = given or Certificates(*(f"{self.path}/{name}" for name in texts))
        pairs = {
            f"distributed.comm.tls.{role}.{part}": path
            for role in ("client", "scheduler", "worker")
            for part, path in (("cert", files.cert), ("key", files.key))
        }
        needed = {"distributed.comm.require-encryption": True, "distributed.comm.tls.ca-file": files.ca}
        return security, needed | pairs

    def close(self, timeout: float | None = None) -> None:
        """Stop the cluster and remove the files."""
        if self.cluster is not None:
            with contextlib.suppress(Exception):
                self.cluster.close(timeout=timeout)
        if self.path:
            with contextlib.suppress(Exception):
                self._on_hosts(_remove, self.path)

    def _on_hosts(self, action: Any, *arguments: Any) -> None:
        """Do something on every host, by SFTP."""
        import asyncio

        asyncio.run(_on_all(dict.fromkeys(self.back.hosts), self.back._connection, action, *arguments))


async def _on_all(hosts: Iterable[str], options: dict[str, Any], action: Any, *arguments: Any) -> None:
    import asyncssh

    for host in hosts:
        async with asyncssh.connect(host, **options) as connection, connection.start_sftp_client() as sftp:
            await action(sftp, *arguments)


async def _write(sftp: Any, folder: str, texts: dict[str, str]) -> None:
    """A new folder of files that nobody else can read or swap; raises OSError where another user could."""
    import asyncssh

    await sftp.mkdir(folder, asyncssh.SFTPAttrs(permissions=0o700))
    made = await sftp.lstat(folder)
    reason = not_private(folder, made.permissions, made.uid, made.uid)  # it is ours, because it was not there
    above = await sftp.realpath(posixpath.dirname(folder))
    above = above.decode() if isinstance(above, bytes) else above
    while not reason:
        found = await sftp.stat(above)
        reason = open_above(above, found.permissions, found.uid, made.uid)
        if above == (above := posixpath.dirname(above)):
            break
    if reason:
        await sftp.rmdir(folder)
        raise OSError(f"no safe place for a scratch folder ({reason}); the option folder names another")
    for name, text in {OWNER: record_of(os.getpid()), **texts}.items():
        async with sftp.open(f"{folder}/{name}", "w", asyncssh.SFTPAttrs(permissions=0o600)) as file:
            await file.write(text)
    await _sweep(sftp, posixpath.dirname(folder), made.uid)


async def _sweep(sftp: Any, place: str, user: int) -> None:
    """Remove the folders of runs that this machine has started there and that are gone; none of another user."""
    import asyncssh

    for name in await sftp.listdir(place):
        path = f"{place}/{name}"
        if not str(name).startswith(PREFIX):
            continue
        with contextlib.suppress(asyncssh.SFTPError):
            found, record = await sftp.lstat(path), await sftp.lstat(f"{path}/{OWNER}")
            if not_private(path, found.permissions, found.uid, user) or not stat.S_ISREG(record.permissions):
                continue
            async with sftp.open(f"{path}/{OWNER}") as file:
                if is_gone(await file.read(MOST_BYTES)):
                    await sftp.rmtree(path)


async def _remove(sftp: Any, folder: str) -> None:
    await sftp.rmtree(folder)
