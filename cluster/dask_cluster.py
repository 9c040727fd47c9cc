"""What all clusters that are started here share: how Dask is set, how a client connects, and TLS with
certificates that are given, or temporary ones.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Security

from cluster.executor import ClusterLost, WorkerRefused
from cluster.numbers import member_environment
from cluster.options import Fault, Refused
from cluster.orphans import MODULE as ORPHANS
from cluster.process import pin_environment
from cluster.scratch import PREFIX, claim, own_folder, sweep
from cluster.steady_tls import MODULE as STEADY
from cluster.steady_tls import PRELOAD

STARTUP_SECONDS = 60.0
CONNECT_SECONDS = 10.0
RETRY_SECONDS = 0.2
LOOK_SECONDS = 2.0  # between two looks whether workers can still come
WORKER_TTL = "30s"  # after which a worker that says nothing is started again
SETTINGS = {
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.memory.monitor-interval": "250ms",
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",  # of what only its dashboard shows
    "distributed.admin.tick.interval": "500ms",  # 20 ms, in each of five loops, as a rule
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 0,  # a job runs in a child after a first death
    "distributed.scheduler.worker-ttl": WORKER_TTL,
    **PRELOAD,
    "distributed.worker.preload": [STEADY, ORPHANS],
}
WITHOUT_CLIENT = {f"distributed.{member}.preload": [STEADY, ORPHANS] for member in ("scheduler", "nanny")}


def _be_quiet() -> None:
    """Leave it to us to say that a scheduler is gone; some loggers of Dask have levels of their own."""
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if name.partition(".")[0] == "distributed" and isinstance(logger, logging.Logger):
            logger.setLevel(logging.CRITICAL)


@contextlib.contextmanager
def starting(scratch: str) -> Iterator[None]:
    """Dask as a cluster that starts now needs it: quiet, with one thread and short clocks.

    scratch: the folder of its members' scratch folders, one that `cluster.scratch` has made.
    """
    pin_environment()
    _be_quiet()
    members = {"distributed.nanny.pre-spawn-environ": member_environment(), "temporary-directory": scratch}
    with dask.config.set(SETTINGS | members):
        yield


def made_scratch() -> str:
    """A scratch folder of our own on this machine; raises Refused where there is no safe place for one."""
    try:
        return own_folder()
    except OSError as error:
        allowed = "a folder of your own, or of root with the sticky bit"
        raise Refused(Fault(str(error), "scratch folder", allowed, "set TMPDIR to a folder of your own")) from error


def removed_scratch(folder: str) -> None:
    """Remove a scratch folder whose members have ended, and look for no modules there any longer."""
    inside = [entry for entry in sys.path if entry.startswith(folder + os.sep)]
    sys.path[:] = [entry for entry in sys.path if entry not in inside]
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(eq=False)
class Owned:
    """A cluster that was started here, with what goes with it: the scratch folder of its members, the folder of its
    certificates, and the processes that jobs in its workers on this machine have started and left.
    """

    scratch: str
    certificates: Path | None = None
    cluster: Any = None

    def close(self, timeout: float | None = None) -> None:
        """Stop the cluster, then what its workers have left, and remove the folders."""
        import psutil

        left: list[psutil.Process] = []
        for member in getattr(self.cluster, "workers", {}).values():
            process = getattr(member, "pid", None)  # of a worker on this machine that runs
            if process is not None:  # psutil takes None for this process
                with contextlib.suppress(psutil.Error):
                    left += psutil.Process(process).children(recursive=True)
        try:
            if self.cluster is not None:
                with contextlib.suppress(Exception):
                    self.cluster.close(timeout=timeout)
        finally:
            for one in left:
                with contextlib.suppress(psutil.Error):  # psutil knows a process of the same number from this one
                    one.kill()
            if self.certificates is not None:
                shutil.rmtree(self.certificates, ignore_errors=True)
            removed_scratch(self.scratch)


@contextlib.contextmanager
def reaching(client: Client, scheduler: str) -> Iterator[None]:
    """What a scheduler raises that does not answer, and a client that has given it up, as ClusterLost.

    scheduler: its name in a message. A client that has closed has no scheduler to ask any longer, and Dask raises
    what that leads to: AttributeError, ValueError or another.
    """
    try:
        yield
    except (ClusterLost, WorkerRefused):
        raise
    except (OSError, TimeoutError) as error:
        raise ClusterLost(f"{scheduler} does not answer") from error
    except Exception as error:
        if client.status in {"running", "connecting"}:
            raise
        raise ClusterLost(f"{scheduler} is gone") from error  # as Dask has closed the client


def client_of(
    owned: Any,
    workers: int,
    what: str,
    seconds: float = STARTUP_SECONDS,
    cluster: Any = None,
    hopeless: Callable[[], str] = str,
) -> Client:
    """A client of a cluster that was started, when its first workers are there; raises ClusterLost, all closed.

    owned: what is closed then. cluster: the cluster, where it is not the same. hopeless: why no worker will come, ""
    while one may.
    """
    deadline = time.monotonic() + seconds
    client: Client | None = None
    while True:
        try:
            client = client or Client(cluster or owned, timeout=CONNECT_SECONDS)
            with reaching(client, "its scheduler"):
                client.wait_for_workers(workers, timeout=max(1.0, min(LOOK_SECONDS, deadline - time.monotonic())))
        except (OSError, TimeoutError, ClusterLost) as error:
            why = hopeless()
            if not why and time.monotonic() < deadline:
                if client is not None and client.status != "running":  # its connection broke while all was starting
                    client = None
                time.sleep(RETRY_SECONDS)
                continue
            with contextlib.suppress(Exception):
                owned.close(timeout=10)
            raise ClusterLost(f"{what}: {why or f'no worker answered within {seconds:.0f} s'}") from error
        return client


def connected(address: str, security: Security | None) -> Client:
    """A client of the running scheduler at an address; raises ClusterLost when it does not answer."""
    _be_quiet()
    try:
        client = Client(address, timeout=CONNECT_SECONDS, security=security)
    except (OSError, TimeoutError) as error:
        certificates = ", or not with these certificates" if security is not None else ""
        raise ClusterLost(f"no scheduler answers at {address}{certificates}; nothing was started") from error
    try:
        with reaching(client, "it"):
            client.wait_for_workers(1, timeout=STARTUP_SECONDS)
    except ClusterLost as error:
        with contextlib.suppress(Exception):
            client.close(timeout=5)
        raise ClusterLost(f"the scheduler at {address} has no workers; nothing was started") from error
    return client


def ignore_interrupts() -> None:
    """A worker leaves Ctrl-C, which a terminal sends to all, to the client; runs on the main thread of the worker."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)


KEYS_PREFIX = f".{PREFIX}"  # of folders that hold certificates
KEYS = ("ca", "cert", "key")
HOW = 'set [cluster] tls = {ca = "ca.pem", cert = "cert.pem", key = "key.pem"}'


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM: the authority that signed all members of the cluster, this member's certificate and its key."""

    ca: str
    cert: str
    key: str

    @classmethod
    def given(cls, tls: Mapping[str, Any] | None, where: str) -> Certificates | None:
        """From a table, else from Dask's own configuration; None without either. Raises Refused."""
        if tls is None:
            tls = {"ca": dask.config.get("distributed.comm.tls.ca-file"),
                   "cert": dask.config.get("distributed.comm.tls.client.cert"),
                   "key": dask.config.get("distributed.comm.tls.client.key")}  # fmt: skip
            if not (tls["ca"] and tls["cert"]):
                return None
            tls["key"] = tls["key"] or tls["cert"]
        allowed = "a table of files in PEM: ca, cert, key"
        wrong = [key for key in {*tls, *KEYS} if key not in KEYS or not isinstance(tls.get(key), str)]
        if wrong:
            raise Refused(Fault(f"tls has wrong or missing keys: {', '.join(sorted(wrong))}", where, allowed, HOW))
        found = cls(*(str(Path(tls[key]).expanduser()) for key in KEYS))
        missing = [path for path in (found.ca, found.cert, found.key) if not Path(path).is_file()]
        if missing:
            raise Refused(*(Fault(f"there is no file {path}", where, "files in PEM", HOW) for path in missing))
        try:
            found.security.get_connection_args("client")
        except (ssl.SSLError, OSError) as error:
            what = f"the certificates cannot be used: {error}"
            raise Refused(Fault(what, where, "an authority, a certificate and its key", "correct the files")) from error
        return found

    @property
    def security(self) -> Security:
        """The same for Dask: every member of the cluster shows this certificate."""
        roles = ("client", "scheduler", "worker")
        files = {
            f"tls_{role}_{part}": path for role in roles for part, path in (("cert", self.cert), ("key", self.key))
        }
        return Security(require_encryption=True, tls_ca_file=self.ca, **files)


def texts_of(security: Security) -> dict[str, str]:
    """The files that temporary certificates make, by name: what they hold."""
    return {"ca.pem": security.tls_ca_file, "cert.pem": security.tls_client_cert, "key.pem": security.tls_client_key}


def written(folder: Path) -> tuple[Certificates, Path]:
    """Temporary certificates as files of a new folder, which is returned too and which nobody else can read."""
    sweep(str(folder), KEYS_PREFIX)
    place = Path(tempfile.mkdtemp(prefix=KEYS_PREFIX, dir=folder))
    claim(str(place))
    for name, text in texts_of(Security.temporary()).items():
        (place / name).write_text(text, encoding="utf-8")
    return Certificates(*(str(place / f"{key}.pem") for key in KEYS)), place
