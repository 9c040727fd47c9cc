"""What all clusters that are started here share: how Dask is set, and how a client connects to them."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import dask
from distributed import Client, Security

from cluster.executor import ClusterLost, WorkerRefused
from cluster.numbers import member_environment
from cluster.options import Fault, Refused
from cluster.orphans import MODULE as ORPHANS
from cluster.process import pin_environment
from cluster.scratch import NoSafePlace, own_folder
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
    except NoSafePlace as error:
        allowed = "a folder of your own, or of root with the sticky bit"
        raise Refused(Fault(str(error), "scratch folder", allowed, "set TMPDIR to a folder of your own")) from error


@contextlib.contextmanager
def removing_on_error(folder: str) -> Iterator[None]:
    """Remove a scratch folder when what is inside raises."""
    try:
        yield
    except BaseException:
        removed_scratch(folder)
        raise


def removed_scratch(folder: str) -> None:
    """Remove a scratch folder whose members have ended, and look for no modules there any longer."""
    inside = [entry for entry in sys.path if entry.startswith(folder + os.sep)]
    sys.path[:] = [entry for entry in sys.path if entry not in inside]
    shutil.rmtree(folder, ignore_errors=True)


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
