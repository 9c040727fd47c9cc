"""Jobs on Dask: a local cluster of this machine's processes, or the scheduler at an address."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, wait

from cluster.executor import ClusterLost, Outcome
from cluster.process import VARIABLES, pin_environment

WINDOW = 4  # tasks a worker: enough that none waits for the client
POLL_SECONDS = 1.0
NO_WORKERS_SECONDS = 60.0
STARTUP_SECONDS = 60.0


class DaskPool:
    """An executor on a Dask client; `owned` is the cluster that it started, if it did."""

    def __init__(self, client: Client, owned: LocalCluster | None = None) -> None:
        self._client = client
        self._owned = owned

    @property
    def workers(self) -> int:
        """Threads of all workers now."""
        return max(1, sum(self._client.nthreads().values()))

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return str(self._client.scheduler.address)

    def run(self, function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Outcome]:
        """Outcomes as they come, with a sliding window of tasks. Raises ClusterLost."""
        queue = iter(jobs)
        waiting: dict[Future, Any] = {}
        numbers = itertools.count()
        stamp = f"{time.time_ns():x}"
        last_seen = time.monotonic()
        try:
            while True:
                for job in itertools.islice(queue, max(0, WINDOW * self.workers - len(waiting))):
                    key = f"panelproof-{stamp}-{next(numbers)}"
                    waiting[self._client.submit(function, job, key=key, pure=False)] = job
                if not waiting:
                    return
                with contextlib.suppress(TimeoutError):
                    wait(list(waiting), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
                last_seen = self._watch(last_seen)
                for future in [future for future in waiting if future.done()]:
                    yield self._outcome(future, waiting.pop(future))
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
        if future.status in {"cancelled", "lost"}:
            raise ClusterLost(f"the scheduler at {self.address} dropped a task")
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


def start_local(workers: int) -> DaskPool:
    """Worker processes on this machine, one thread each, listening on the loopback address alone."""
    pin_environment()
    logging.getLogger("distributed").setLevel(logging.ERROR)
    quiet = {
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(VARIABLES, 1),
        "distributed.worker.memory.terminate": 0.95,
        "distributed.admin.system-monitor.gil.enabled": False,
        "distributed.worker.profile.enabled": False,
    }
    with dask.config.set(quiet):
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )
    client = Client(cluster)
    client.wait_for_workers(workers, timeout=STARTUP_SECONDS)
    return DaskPool(client, cluster)


def connect(address: str) -> DaskPool:
    """The running scheduler at an address; raises ClusterLost when it does not answer."""
    try:
        client = Client(address, timeout=10)
        client.wait_for_workers(1, timeout=STARTUP_SECONDS)
    except (OSError, TimeoutError) as error:
        raise ClusterLost(f"no scheduler with workers answers at {address}") from error
    return DaskPool(client)
