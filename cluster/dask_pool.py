"""Jobs on Dask: a local cluster of this machine's processes, or the scheduler at an address."""

from __future__ import annotations

import contextlib
import itertools
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, wait

from cluster.executor import ClusterLost, Outcome
from cluster.process import VARIABLES, pin_environment

WINDOW = 4  # tasks a worker: enough that none waits for the client
POLL_SECONDS = 1.0
NO_WORKERS_SECONDS = 60.0
STARTUP_SECONDS = 60.0
MOST_DROPPED = 100  # tasks that a scheduler may drop before it counts as lost


class DaskPool:
    """An executor on a Dask client; `owned` is the cluster that it started, if it did."""

    def __init__(self, client: Client, owned: LocalCluster | None = None) -> None:
        self._client = client
        self._owned = owned
        self._stamp = f"{time.time_ns():x}"
        self._numbers = itertools.count()

    @property
    def workers(self) -> int:
        """Threads of all workers now."""
        return max(1, sum(self._client.nthreads().values()))

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return str(self._client.scheduler.address)

    def run(self, function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Outcome]:
        """Outcomes as they come, with a sliding window of tasks. Raises ClusterLost.

        A job that was on a worker when it died is a suspect; Dask blames neighbours too. Suspects run again at the end,
        one at a time with nothing beside them: who then kills its workers is reported as `died`.
        """
        suspects: list[Any] = []
        for outcome in self._stream(function, jobs, WINDOW):
            if outcome.died:
                suspects.append(outcome.job)
            else:
                yield outcome
        for job in suspects:
            yield from self._stream(function, [job], WINDOW)

    def _stream(self, function: Callable[[Any], Any], jobs: Iterable[Any], window: int) -> Iterator[Outcome]:
        queue, dropped = iter(jobs), deque[Any]()
        waiting: dict[Future, Any] = {}
        patience = MOST_DROPPED
        last_seen = time.monotonic()
        try:
            while True:
                room = max(0, window * self.workers - len(waiting))
                for job in itertools.islice(itertools.chain(_drained(dropped), queue), room):
                    key = f"panelproof-{self._stamp}-{next(self._numbers)}"
                    waiting[self._client.submit(function, job, key=key, pure=False)] = job
                if not waiting:
                    return
                with contextlib.suppress(TimeoutError, CancelledError):
                    wait(list(waiting), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
                last_seen = self._watch(last_seen)
                for future in [future for future in waiting if future.done()]:
                    job = waiting.pop(future)
                    if future.status not in {"cancelled", "lost"}:
                        yield self._outcome(future, job)
                        continue
                    dropped.append(job)  # its result died with a worker, or the scheduler is going
                    patience -= 1
                    if not patience:
                        raise ClusterLost(f"the scheduler at {self.address} keeps dropping tasks")
        except (OSError, TimeoutError) as error:
            raise ClusterLost(f"the scheduler at {self.address} does not answer") from error
        finally:
            with contextlib.suppress(Exception):
                self._client.cancel(list(waiting), force=True)

    def _watch(self, last_seen: float) -> float:
        """The time at which workers were last there; raises ClusterLost when they or the scheduler are gone."""
        now = time.monotonic()
        if self._client.status != "running":
            raise ClusterLost(f"the scheduler at {self.address} is gone")
        if self._client.nthreads():
            return now
        if now - last_seen > NO_WORKERS_SECONDS:
            raise ClusterLost(f"no workers at {self.address} for {NO_WORKERS_SECONDS:.0f} s")
        return last_seen

    def _outcome(self, future: Future, job: Any) -> Outcome:
        if future.status == "finished":
            return Outcome(job, result=future.result())
        error = future.exception()
        return Outcome(job, error=error, died=isinstance(error, KilledWorker))

    def close(self) -> None:
        """Disconnect, and stop the cluster if it was started here."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=5)
        if self._owned is not None:
            with contextlib.suppress(Exception):
                self._owned.close(timeout=10)


def _drained(jobs: deque[Any]) -> Iterator[Any]:
    while jobs:
        yield jobs.popleft()


def _ignore_interrupts() -> None:
    """A worker leaves Ctrl-C, which a terminal sends to all, to the client; runs on the main thread of the worker."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def start_local(workers: int) -> DaskPool:
    """Worker processes on this machine, one thread each, listening on the loopback address alone."""
    pin_environment()
    logging.getLogger("distributed").setLevel(logging.ERROR)
    quiet = {
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(VARIABLES, 1),
        "distributed.worker.memory.terminate": 0.95,
        "distributed.admin.system-monitor.gil.enabled": False,
        "distributed.worker.profile.enabled": False,
        "distributed.scheduler.worker-saturation": 1.0,
    }
    with dask.config.set(quiet):
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # any free port of the loopback address
            silence_logs=logging.CRITICAL,
        )
    client = Client(cluster)
    client.wait_for_workers(workers, timeout=STARTUP_SECONDS)
    client.run(_ignore_interrupts)
    return DaskPool(client, cluster)


def connect(address: str) -> DaskPool:
    """The running scheduler at an address; raises ClusterLost when it does not answer."""
    try:
        client = Client(address, timeout=10)
        client.wait_for_workers(1, timeout=STARTUP_SECONDS)
    except (OSError, TimeoutError) as error:
        raise ClusterLost(f"no scheduler with workers answers at {address}; nothing was started") from error
    return DaskPool(client)


def on_client(client: object) -> DaskPool | None:
    """An executor on a Dask client that is running and not asynchronous, which stays open; None for anything else."""
    usable = isinstance(client, Client) and client.status == "running" and not client.asynchronous
    return DaskPool(client) if usable else None
