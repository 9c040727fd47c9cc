"""A task on a worker: some jobs, one after the other, each under the clock."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import cloudpickle

from cluster.child import Child, ending_after
from cluster.executor import Outcome, TwoPhaseTask, Work, WorkerRefused, outcome_of, within
from cluster.process import keep_output_free

MEMORY_SHARE = 0.8  # of a worker's limit that a child of it may take
_one_at_a_time = threading.RLock()  # the clock belongs to the process, as do the BLAS and what jobs remember


@dataclass(frozen=True, slots=True)
class Request:
    """Jobs for a worker.

    pickled: the function and the jobs. seconds: what each may take. careful: the function wants limits, because the
    jobs died before: it is called with a job, its seconds and its bytes of memory.
    """

    pickled: bytes
    seconds: tuple[float, ...]
    memory: int | None
    careful: bool


@dataclass(frozen=True, slots=True)
class Answers:
    """What a worker says: how its jobs ended, or why it may not compute."""

    worker: str
    outcomes: tuple[tuple[Any, BaseException | None, bool, float], ...] = ()  # result, error, died, seconds
    refused: str = ""


def run_group(request: Request) -> Answers:
    """Run the jobs of a request on this worker."""
    from distributed import get_worker

    worker = get_worker()
    try:
        function, jobs = cloudpickle.loads(request.pickled)
    except ImportError as error:
        return Answers(worker.address, refused=lacking(error))
    limit = worker.memory_manager.memory_limit
    memory = min(filter(None, [request.memory, int(limit * MEMORY_SHARE) if limit else None]), default=None)
    ended: list[_Ended] = []
    took: list[float] = []
    with ThreadPoolExecutor(1) as behind:
        for job, seconds in zip(jobs, request.seconds, strict=True):
            with _one_at_a_time:
                begin = time.perf_counter()
                if request.careful:
                    one = _Ended(outcome_of(within(function, seconds, memory), job))
                else:
                    one = _run(worker, function, job, seconds, behind)
                if isinstance(one.outcome.error, WorkerRefused):
                    return Answers(worker.address, refused=str(one.outcome.error))
                ended.append(one)
                if len(ended) > 1:
                    ended[-2].wait()
                took.append(time.perf_counter() - begin)  # slow writing counts as well
        with _one_at_a_time:
            ended[-1].wait()
    outcomes = [one.settled for one in ended]
    return Answers(worker.address, tuple((found.result, found.error, found.died, seconds)
                                         for found, seconds in zip(outcomes, took, strict=True)))  # fmt: skip


def lacking(error: ImportError) -> str:
    """That a worker lacks a module, and what helps."""
    name = (error.name or str(error)).partition(".")[0]
    return f"it has no module {name!r}, which the study needs: install it there, or say --ship-code"


@dataclass(frozen=True, slots=True)
class _Ended:
    """A job whose first part, or all of it, is over.

    behind: the second part, where there is one. limit: seconds that it may take, None = any.
    """

    outcome: Outcome
    behind: Future[Outcome] | None = None
    limit: float | None = None

    def wait(self) -> None:
        """Until the second part is over too; this process ends when that takes too long."""
        if self.behind is not None:
            with ending_after(self.limit):
                wait([self.behind])

    @property
    def settled(self) -> Outcome:
        """How the job ended."""
        return self.outcome if self.behind is None else self.behind.result()


def _run(worker: Any, function: Any, job: Any, seconds: float, behind: ThreadPoolExecutor) -> _Ended:
    """A job in this process, which ends when the job takes too long; its nanny starts another.

    The second part of a function in two runs in a thread.
    """
    own = os.getpid()
    if worker.nanny:  # the process is the worker's alone
        keep_output_free()
    limit = seconds if worker.nanny else None
    first = function.first if isinstance(function, TwoPhaseTask) else function
    with ending_after(limit):
        outcome = outcome_of(first, job)
    if os.getpid() != own:  # a copy that the job made and did not end
        os._exit(0)
    if outcome.error is not None or not isinstance(function, TwoPhaseTask):
        return _Ended(outcome)
    second = behind.submit(outcome_of, lambda one: function.second(one, outcome.result), job)
    return _Ended(outcome, second, limit)


def in_child(function: Work, job: Any, seconds: float | None, memory: int | None) -> Any:
    """What a function returns for a job in a child of the worker, which ends in its place; raises JobDied then."""
    child = Child(fork=False)
    try:
        return child.call(function, job, seconds, memory)
    finally:
        child.close()
