"""What the workers of a cluster are, asked at once: their environments, and how fast they are reached."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from cluster.dask_pool import DaskPool
from cluster.environment import Environment
from cluster.group import lacking

ASK_SECONDS = 60.0
SENT_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker as it answers.

    environment: None where it cannot say, and why. threads: that it runs jobs on. memory: its limit in bytes.
    """

    address: str
    environment: Environment | None
    why: str
    threads: int
    memory: int


def survey(pool: DaskPool, packages: Iterable[str], modules: Iterable[str]) -> list[Worker]:
    """Every worker that answers within a minute, in the order of addresses; raises ClusterLost when some do not."""
    client = pool.client
    ask = partial(client._run, _asking(tuple(packages), tuple(modules)), on_error="return")
    with pool.reaching():
        answers = client.sync(ask, callback_timeout=ASK_SECONDS)
        known = client.sync(client.scheduler.identity, callback_timeout=ASK_SECONDS)["workers"]
    found = []
    for address, answer in sorted(answers.items()):
        facts = known.get(address, {})
        here = Environment.from_plain(answer) if isinstance(answer, dict) else None
        found.append(Worker(address, here, "" if here else _words(answer), facts.get("nthreads", 0),
                            facts.get("memory_limit") or 0))  # fmt: skip
    return found


def _asking(packages: tuple[str, ...], modules: tuple[str, ...]) -> Callable[[], Any]:
    """A function that travels as it is, because a worker may lack our modules."""

    def ask() -> Any:
        try:
            from cluster.environment import environment

            return environment(packages, modules).plain
        except ImportError as error:
            return error

    return ask


def _words(answer: Any) -> str:
    return lacking(answer) if isinstance(answer, ImportError) else f"it cannot answer: {answer}"


def bandwidth(pool: DaskPool, worker: str) -> tuple[float, float]:
    """(seconds of an empty task, bytes a second to a worker and back)."""
    seconds = []
    for size in (1, SENT_BYTES):
        begin = time.perf_counter()
        future = pool.client.submit(bytes, os.urandom(size), workers=[worker], pure=False)
        future.result(timeout=ASK_SECONDS)
        seconds.append(time.perf_counter() - begin)
    empty, full = seconds
    return empty, 2 * SENT_BYTES / max(full - empty, 1e-9)
