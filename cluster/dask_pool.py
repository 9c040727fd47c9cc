"""Jobs on Dask: tasks of some jobs, a sliding window of them, and clocks on all that may hang."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import cloudpickle
from distributed import Client, Future, KilledWorker, wait

from cluster.dask_cluster import reaching
from cluster.executor import Careful, ClusterLost, Outcome, Pace, Work, WorkerRefused
from cluster.group import Answers, in_child, run_group

WINDOW = 4  # tasks a worker: enough that none waits for the client
POLL_SECONDS = 1.0
ASK_SECONDS = 2.0  # between two questions to the scheduler
ANSWER_SECONDS = 30.0  # in which a scheduler must answer, and a result arrive
NO_WORKERS_SECONDS = 60.0
MOST_DROPPED = 100  # tasks that a scheduler may drop before it counts as lost
DIED = "its worker ended while it computed this or what came with it"
LOST = "its result was lost with a worker, or on the way"
MOST_DEATHS = 3  # of a job that runs carefully and still loses its workers


@dataclass(eq=False, slots=True)
class _Task:
    """Jobs that are on their way; careful: they died before. workers: where they may run, None = anywhere.

    again: why they are on their way once more.
    """

    jobs: list[Any]
    careful: bool
    workers: frozenset[str] | None
    again: str = ""


@dataclass(eq=False, slots=True)
class _Work:
    """What a call of `run` still has to do."""

    function: Work
    careful: Careful
    queue: Iterator[Any]
    ahead: deque[Any] = field(default_factory=deque)  # of the queue
    again: deque[_Task] = field(default_factory=deque)  # that were lost on the way
    deaths: dict[int, int] = field(default_factory=dict)  # of jobs that run carefully, by identity
    patience: int = MOST_DROPPED

    def next_task(self, jobs: int, workers: int) -> _Task | None:
        """What was lost first; then so many jobs, and fewer near the end, so that workers end together."""
        if self.again:
            return self.again.popleft()
        self.ahead.extend(itertools.islice(self.queue, max(0, 2 * workers * jobs - len(self.ahead))))
        count = min(jobs, max(1, len(self.ahead) // (2 * workers)))
        taken = [self.ahead.popleft() for _ in range(min(count, len(self.ahead)))]
        return _Task(taken, careful=False, workers=None) if taken else None


class DaskPool:
    """An executor on a Dask client.

    owned: the cluster that was started for it, which `close` stops. pace: what jobs take. memory: bytes that a job
    which died before may take. say: is told which workers are left out, and why. on_this_machine: all workers see the
    folders that this process sees. logs: where the output of workers is, in words, for messages that workers are gone.
    absence: seconds that it goes on without workers; None = a minute.
    """

    def __init__(
        self,
        client: Client,
        owned: Any = None,
        pace: Pace | None = None,
        memory: int | None = None,
        say: Callable[[str], None] = lambda _: None,
        *,
        on_this_machine: bool = False,
        logs: str = "",
        absence: float | None = None,
    ) -> None:
        self.client = client
        self.address = str(getattr(client.scheduler, "address", ""))  # which a client that lost it knows no longer
        self.on_this_machine = on_this_machine
        self.refused: dict[str, str] = {}  # workers that may not compute, and why
        self.say = say
        self._owned = owned
        self._logs = f"; {logs}" if logs else ""
        self.absence = NO_WORKERS_SECONDS if absence is None else absence
        self.pace = pace or Pace()
        self._memory = memory
        self._stamp = f"{time.time_ns():x}"
        self._numbers = itertools.count()
        self._threads: dict[str, int] = {}
        self._left: list[str] = []  # workers that went and that no outcome has told of
        self._asked = self._seen = time.monotonic()
        try:
            self._ask()
        except BaseException:
            if owned is not None:
                self.close()
            raise

    @property
    def workers(self) -> int:
        """Threads of all workers that may compute, as last heard."""
        return max(1, sum(self._threads[name] for name in self._fit()))

    def reaching(self) -> AbstractContextManager[None]:
        """What the scheduler raises that does not answer, or is gone, as ClusterLost."""
        return reaching(self.client, f"the scheduler at {self.address}" if self.address else "the scheduler")

    def run(self, function: Work, jobs: Iterable[Any], careful: Careful | None = None) -> Iterator[Outcome]:
        """Outcomes as they come. Raises ClusterLost, and WorkerRefused when no worker may compute.

        A job whose worker died of it, or of its neighbour, runs again by `careful`, by default in a child of a worker:
        what ends the child is reported as `died`.
        """
        work = _Work(function, careful or partial(in_child, function), iter(jobs))
        waiting: dict[Future, _Task] = {}
        try:
            while True:
                with self.reaching():
                    self._fill(waiting, work)
                    if not waiting:
                        return
                    with contextlib.suppress(TimeoutError, CancelledError):
                        wait(list(waiting), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
                    self._watch(waiting, work)
                    ended = [self._ended(future, waiting.pop(future), work)
                             for future in list(waiting) if future.done()]  # fmt: skip
                for outcomes in ended:
                    with self.reaching():
                        found = list(outcomes)
                    yield from found
        finally:
            if self.client.status == "running":
                with contextlib.suppress(Exception):
                    self.client.sync(self.client._cancel, list(waiting), force=True, callback_timeout=5)

    def _fill(self, waiting: dict[Future, _Task], work: _Work) -> None:
        """Submit tasks while there is room."""
        while len(waiting) < WINDOW * self.workers:
            task = work.next_task(self.pace.jobs, self.workers)
            if task is None:
                return
            function = work.careful if task.careful else work.function
            request = (cloudpickle.dumps((function, task.jobs)), tuple(map(self.pace.seconds, task.jobs)),
                       self._memory, task.careful)  # fmt: skip
            task.workers = frozenset(self._fit()) if self.refused else None
            key = f"panelproof-{self._stamp}-{next(self._numbers)}"
            chosen = {"workers": sorted(task.workers)} if task.workers else {}
            waiting[self.client.submit(run_group, *request, key=key, pure=False, **chosen)] = task

    def _fit(self) -> list[str]:
        """Workers that may compute."""
        return [name for name in self._threads if name not in self.refused]

    def _ended(self, future: Future, task: _Task, work: _Work) -> Iterator[Outcome]:
        """What became of a task that is over; jobs whose fate is not known go back to the queue."""
        if future.status in {"cancelled", "lost"}:
            self._lost(task, work)
            return
        try:
            error = future.exception(timeout=ANSWER_SECONDS) if future.status == "error" else None
            answers: Answers | None = future.result(timeout=ANSWER_SECONDS) if error is None else None
        except (TimeoutError, CancelledError):  # its worker froze or left with it, or the connection is gone
            self._lost(task, work)
            return
        except KilledWorker as killed:  # its worker left with it, and the next one that ran it too
            error, answers = killed, None
        if answers is None:
            yield from self._failed(error, task, work)
            return
        if answers.refused:
            work.again.append(task)
            self.refuse(answers.worker, answers.refused)
            return
        for job, (result, error, died, seconds) in zip(task.jobs, answers.outcomes, strict=True):
            if not task.careful:
                self.pace.saw(job, seconds)
            yield Outcome(job, result, error, died, task.again, self._told_left())

    def _lost(self, task: _Task, work: _Work) -> None:
        """A result died with a worker, or the scheduler is going."""
        task.again = LOST
        work.again.append(task)
        work.patience -= 1
        if not work.patience:
            raise ClusterLost(f"the scheduler at {self.address} keeps dropping tasks{self._logs}")

    def _failed(self, error: BaseException | None, task: _Task, work: _Work) -> Iterator[Outcome]:
        """A task that did not answer: its worker died, or could not even load the function."""
        if isinstance(error, ImportError):
            raise WorkerRefused(f"no worker at {self.address} can load panelproof ({error}): install it there, or say "
                                "--ship-code")  # fmt: skip
        for job in task.jobs:
            deaths = work.deaths[id(job)] = work.deaths.get(id(job), 0) + task.careful
            if isinstance(error, KilledWorker) and deaths < MOST_DEATHS:
                work.again.append(_Task([job], careful=True, workers=None, again=DIED))
            else:
                yield Outcome(job, None, error, isinstance(error, KilledWorker), task.again, self._told_left())

    def refuse(self, worker: str, why: str) -> None:
        """Leave a worker out from now on, and say so once."""
        if worker not in self.refused:
            self.refused[worker] = why
            self._ask()
            self.say(f"worker {worker} is left out: {why}")

    def _watch(self, waiting: dict[Future, _Task], work: _Work) -> None:
        """Ask the scheduler for its workers now and then; raises ClusterLost when they or the scheduler are gone.

        A client that lost its connection tries for some seconds to get another before it closes.
        """
        if self.client.status == "connecting":
            return
        if self.client.status != "running":
            raise ClusterLost(f"the scheduler at {self.address} is gone")
        if time.monotonic() - self._asked < ASK_SECONDS:
            return
        self._ask()
        for future, task in list(waiting.items()):  # those that may run only where no worker is left are taken back
            if task.workers is not None and not task.workers & self._threads.keys() and not future.done():
                del waiting[future]
                self.client.sync(self.client._cancel, [future], force=True, callback_timeout=ANSWER_SECONDS)
                work.again.append(task)
        if self._threads:
            self._seen = self._asked
        elif self._asked - self._seen > self.absence:
            raise ClusterLost(f"no workers at {self.address} for {self.absence:.0f} s{self._logs}")

    def _ask(self) -> None:
        """Which workers there are; raises WorkerRefused when none of them may compute, ClusterLost without answer."""
        with self.reaching():
            ask = partial(self.client.scheduler.ncores, workers=None)
            before, self._threads = self._threads, dict(self.client.sync(ask, callback_timeout=ANSWER_SECONDS))
        self._left += sorted(before.keys() - self._threads.keys())
        self._asked = time.monotonic()
        if self._threads and not self._fit():
            raise WorkerRefused(worded({name: self.refused[name] for name in self._threads}) + self._logs)

    def _told_left(self) -> tuple[str, ...]:
        """Workers that went since this was asked before."""
        left, self._left = tuple(self._left), []
        return left

    def close(self) -> None:
        """Disconnect, and stop the cluster if it was started here."""
        with contextlib.suppress(Exception):
            self.client.close(timeout=5)
        if self._owned is not None:
            with contextlib.suppress(Exception):
                self._owned.close(timeout=10)


def worded(refused: dict[str, str]) -> str:
    """Why no worker may compute: each reason once, with its workers."""
    reasons: dict[str, list[str]] = {}
    for worker, why in refused.items():
        reasons.setdefault(why, []).append(worker)
    parts = [f"{', '.join(workers[:3])}{' and others' * (len(workers) > 3)}: {why}" for why, workers in reasons.items()]
    return f"no worker may compute; {'; '.join(parts)}"
