"""Machines: where tasks run; knows nothing of the science."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from cluster.environment import Environment, environment
from cluster.executor import ClusterLost, Executor, Outcome, Serial
from cluster.process import pin_environment, prepare_process

__all__ = [
    "ClusterLost",
    "Environment",
    "Executor",
    "Outcome",
    "Serial",
    "available_cores",
    "environment",
    "executor_of",
    "has_port",
    "is_address",
    "is_loopback",
    "open_executor",
    "pin_environment",
    "prepare_process",
]


def available_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_address(where: str) -> bool:
    """Whether the text names a running scheduler."""
    return where.startswith(("tcp://", "tls://"))


def has_port(address: str) -> bool:
    """Whether an address ends in a valid port."""
    try:
        return bool(urlsplit(address).port)
    except ValueError:
        return False


def is_loopback(address: str) -> bool:
    """Whether a scheduler's address stays on this machine."""
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_executor(where: str, workers: int | None = None) -> Executor:
    """ "serial", "local" (Dask on this machine, by default one worker a core) or a scheduler's address."""
    prepare_process()
    if where == "serial":
        return Serial()
    from cluster.dask_pool import connect, start_local

    return connect(where) if is_address(where) else start_local(workers or available_cores())


def executor_of(client: object) -> Executor | None:
    """An executor on a running Dask Client, which is left open; None for anything else."""
    from cluster.dask_pool import on_client

    return on_client(client)
