"""Workers of Dask on this machine."""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cluster.backends.backend import BackEnd, Say, bytes_of, silent
from cluster.executor import ClusterLost, Executor, Pace
from cluster.options import Fault, Refused, checked_numbers
from cluster.process import available_cores

FILES_HERE, FILES_OF_A_WORKER = 32, 12  # that a client opens at once (found with 1, 2 and 4 workers)


@dataclass(frozen=True)
class Local(BackEnd):
    """Worker processes on this machine, which listen on the loopback address alone and speak TLS.

    workers: how many; None = one a core. memory: what each may take, such as 4GB; None = its share of the machine.
    tls: files {ca, cert, key} in PEM; None = temporary certificates, which no other user of the machine has.
    """

    name: ClassVar[str] = "local"
    form: ClassVar[str] = "local"

    workers: int | None = None
    memory: str | None = None
    tls: dict[str, Any] | None = None

    def faults(self, where: str) -> Iterable[Fault]:
        """What is wrong with the options."""
        yield from checked_numbers(self, {"workers": 1}, where)
        yield from super().faults(where)

    def open(self, limit: float | None = None, say: Say = silent) -> Executor:
        """Start the workers, one thread each."""
        from distributed import Security

        from cluster.dask_cluster import (
            Certificates,
            Owned,
            client_of,
            ignore_interrupts,
            made_scratch,
            reaching,
            removed_scratch,
        )
        from cluster.dask_pool import DaskPool

        count = self.workers or available_cores()
        files, (soft, hard) = FILES_HERE + FILES_OF_A_WORKER * count, resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < files:
            raise Refused(Fault(f"a process may open {hard} files at once", "local cluster",
                                f"{files} or more for {count} worker{'s' * (count > 1)}",
                                "raise it (`ulimit -n`), start fewer workers, or say --cluster serial"))  # fmt: skip
        if soft != resource.RLIM_INFINITY and soft < files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
        folder = made_scratch()
        try:
            given = Certificates.given(self.tls, "[cluster] tls") if self.tls is not None else None
            security = Security.temporary() if given is None else given.security
            owned = Owned(folder, cluster=self._started(count, security, folder))
        except BaseException:
            removed_scratch(folder)
            raise
        client = client_of(owned, count, "local cluster", cluster=owned.cluster)
        try:
            with reaching(client, "its scheduler"):
                client.run(ignore_interrupts)
            return DaskPool(client, owned, Pace(limit), bytes_of(self.memory), say, on_this_machine=True)
        except ClusterLost as error:
            owned.close(timeout=10)
            why = str(error.__cause__ or error)
            raise ClusterLost(f"local cluster: a worker ended as soon as it had started: {why}") from error

    def _started(self, count: int, security: Any, folder: str) -> Any:
        """Dask's cluster; raises ClusterLost when a worker ends before it is ready."""
        from distributed import LocalCluster

        from cluster.dask_cluster import starting

        try:
            with starting(folder):
                return LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    protocol="tls",
                    security=security,
                    dashboard_address="127.0.0.1:0",  # any free port of the loopback address
                    silence_logs=logging.CRITICAL,
                    memory_limit=self.memory or "auto",
                    local_directory=folder,
                )
        except (OSError, RuntimeError, TimeoutError) as error:  # Dask has closed what had started
            why = str(error.__cause__ or error).strip(" .") or type(error).__name__
            main = sys.modules["__main__"]
            script = Path(str(getattr(main, "__file__", None)))
            if getattr(main, "__spec__", None) is None and script.suffix == ".py":  # not the program itself
                why += f'; workers import {script.name}: it must keep what it runs under if __name__ == "__main__":'
            raise ClusterLost(f"local cluster: a worker ended before it was ready: {why}") from error
