"""A task on a worker: some jobs, one after the other, each under the clock."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
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
class Answers:
    """What a worker says: how its jobs ended, or why it may not compute."""

    worker: str
    outcomes: tuple[tuple[Any, BaseException | None, bool, float], ...] = ()  # result, error, died, seconds
    refused: str = ""


def run_group(pickled: bytes, seconds: Sequence[float], memory: int | None, careful: bool) -> Answers:
    """Run some jobs on this worker.

    pickled: the function and the jobs. seconds: what each may take. careful: the function wants limits, because the
    jobs died before: it is called with a job, its seconds and its bytes of memory. The second part of a function in two
    runs in a thread, and is waited for at the end of the next job.
    """
    from distributed import get_worker

    worker = get_worker()
    try:
        function, jobs = cloudpickle.loads(pickled)
    except ImportError as error:
        return Answers(worker.address, refused=lacking(error))
    outcomes, took = list[Outcome](), list[float]()
    second: Future[Outcome] | None = None  # of the job before
    before: float | None = None  # seconds that it may take
    with ThreadPoolExecutor(1) as behind:
        for job, limit in zip(jobs, seconds, strict=True):
            with _one_at_a_time:
                begin = time.perf_counter()
                if careful:
                    most = worker.memory_manager.memory_limit
                    share = int(most * MEMORY_SHARE) if most else None
                    least = min(filter(None, [memory, share]), default=None)
                    outcome, following = outcome_of(within(function, limit, least), job), None
                else:
                    outcome, following = _run(worker, function, job, limit, behind)
                if isinstance(outcome.error, WorkerRefused):
                    return Answers(worker.address, refused=str(outcome.error))
                if second is not None:
                    outcomes[-1] = _ended(second, before)
                outcomes.append(outcome)
                second, before = following, limit if worker.nanny else None
                took.append(time.perf_counter() - begin)  # slow writing counts as well
        if second is not None:
            with _one_at_a_time:
                outcomes[-1] = _ended(second, before)
    return Answers(worker.address, tuple((found.result, found.error, found.died, spent)
                                         for found, spent in zip(outcomes, took, strict=True)))  # fmt: skip


def lacking(error: ImportError) -> str:
    """That a worker lacks a module, and what helps."""
    name = (error.name or str(error)).partition(".")[0]
    return f"it has no module {name!r}, which the study needs: install it there, or say --ship-code"


def _ended(second: Future[Outcome], limit: float | None) -> Outcome:
    """How a job ended, once its second part is over; this process ends when that takes longer than it may."""
    with ending_after(limit):
        wait([second])
    return second.result()


def _run(
    worker: Any, function: Any, job: Any, seconds: float, behind: ThreadPoolExecutor
) -> tuple[Outcome, Future[Outcome] | None]:
    """A job in this process, which ends when the job takes too long; its nanny starts another.

    Returns how the job, or its first part, ended, and the second part, where there is one, on its way.
    """
    own = os.getpid()
    if worker.nanny:  # the process is the worker's alone
        keep_output_free()
    first = function.first if isinstance(function, TwoPhaseTask) else function
    try:
        with ending_after(seconds if worker.nanny else None):
            outcome = outcome_of(first, job)
    except BaseException:  # it ends a child too, in which the job runs next, and is found there
        if worker.nanny:
            os._exit(1)
        raise
    if os.getpid() != own:  # a copy that the job made and did not end
        os._exit(0)
    if outcome.error is not None or not isinstance(function, TwoPhaseTask):
        return outcome, None
    return outcome, behind.submit(outcome_of, lambda one: function.second(one, outcome.result), job)


def in_child(function: Work, job: Any, seconds: float | None, memory: int | None) -> Any:
    """What a function returns for a job in a child of the worker, which ends in its place; raises JobDied then."""
    child = Child(fork=False)
    try:
        return child.call(function, job, seconds, memory)
    finally:
        child.close()
