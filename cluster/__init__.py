"""Machines: where tasks run; knows nothing of the science."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.backends import BackEnd, back_end, back_ends, forms
from cluster.environment import Environment, environment
from cluster.executor import Careful, ClusterLost, Executor, JobDied, Outcome, Serial, TwoPhaseTask, WorkerRefused
from cluster.options import Fault, Refused, is_loopback
from cluster.process import available_cores, pin_environment, prepare_process

__all__ = [
    "BackEnd",
    "Careful",
    "ClusterLost",
    "Environment",
    "Executor",
    "Fault",
    "JobDied",
    "Outcome",
    "Refused",
    "Serial",
    "TwoPhaseTask",
    "WorkerRefused",
    "available_cores",
    "back_end",
    "back_ends",
    "environment",
    "executor_of",
    "forms",
    "is_loopback",
    "open_executor",
    "pin_environment",
    "prepare_process",
]


def open_executor(where: str, workers: int | None = None, **options: Any) -> Executor:
    """An executor on "serial", "local", "tcp://HOST:PORT" and the like; raises Refused and ClusterLost.

    workers: of a cluster that is started, None = its default. options: further ones of the back end.
    """
    given: Mapping[str, Any] = options if workers is None else {**options, "workers": workers}
    prepare_process()
    return back_end(where, given).open()


def executor_of(client: object) -> Executor | None:
    """An executor on a running Dask Client, which is left open; None for anything else."""
    from distributed import Client

    from cluster.dask_pool import DaskPool

    usable = isinstance(client, Client) and client.status == "running" and not client.asynchronous
    return DaskPool(client) if usable else None
