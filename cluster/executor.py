"""What an executor is: jobs in, outcomes out in any order. It knows nothing of what the jobs compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

# How long jobs take: how many make a task, and when one counts as hung.


TASK_SECONDS = 2.0  # of a task of short jobs: each wakes the client, on a core that could compute
MOST_JOBS = 64  # of a task
FACTOR = 20.0  # times the slowest of its kind a job may take
LEAST_LIMIT = 60.0  # seconds: a machine may be busy with other work
FIRST_LIMIT = 600.0  # seconds of the pilot, the first job of a run, and of jobs that are larger than all before
PILOT_FACTOR = 50.0  # times what was seen a first job of another kind may take: kinds differ in more than their size


@dataclass(eq=False, slots=True)
class Pace:
    """Seconds of the jobs so far. Jobs with equal `kind` take about equally long.

    A job's `size` says how it compares with jobs of other kinds. A job that is not `timed` says nothing of others.
    limit: seconds that a job may take, whatever was seen; None = from what was seen.
    """

    limit: float | None = None
    _slowest: dict[Any, float] = field(default_factory=dict)
    _mean: float = 0.0
    _dearest: float = 0.0  # seconds of a unit of size, at most so far
    _largest: float = 0.0  # size so far

    def saw(self, job: Any, seconds: float) -> None:
        """One more job has ended."""
        if not getattr(job, "timed", True):
            return
        kind, size = getattr(job, "kind", None), getattr(job, "size", 1)
        self._dearest, self._largest = max(self._dearest, seconds / size), max(self._largest, size)
        self._slowest[kind] = max(seconds, self._slowest.get(kind, 0.0))
        self._mean = seconds if not self._mean else 0.8 * self._mean + 0.2 * seconds

    def seconds(self, job: Any) -> float:
        """What a job may take."""
        if self.limit is not None:
            return self.limit
        slowest = self._slowest.get(getattr(job, "kind", None))
        if slowest is not None:
            return max(LEAST_LIMIT, FACTOR * slowest)
        size = getattr(job, "size", 1)
        least = LEAST_LIMIT if 0 < size <= self._largest else FIRST_LIMIT
        return max(least, PILOT_FACTOR * self._dearest * size)

    @property
    def jobs(self) -> int:
        """How many jobs make a task; one until the first has ended."""
        return min(MOST_JOBS, max(1, int(TASK_SECONDS / self._mean))) if self._mean else 1


Work = Callable[[Any], Any]
Careful = Callable[[Any, float | None, int | None], Any]  # of a job, its seconds and its bytes of memory


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: a result, or the error it raised, or `died` when it took its workers with it.

    again: why it was computed once more, "" where once was enough. left: workers that went since the outcome before.
    """

    job: Any
    result: Any = None
    error: BaseException | None = None
    died: bool = False
    again: str = ""
    left: tuple[str, ...] = ()


class ClusterLost(RuntimeError):
    """The scheduler or all workers are gone; what was not done is not lost and can be resumed."""


class WorkerRefused(RuntimeError):
    """A worker that must not compute: what differs, in words. Other workers go on."""


class JobDied(RuntimeError):
    """A job ended its process: it crashed, exited, ran longer than it may, or took more memory than it may."""


@dataclass(frozen=True, slots=True)
class TwoPhaseTask:
    """A function whose second part, such as writing, need not be over before the next job begins.

    Workers of a cluster do the second part of a job in a thread, while they do the first part of the next one.

    second: of a job and what the first part returned for it.
    """

    first: Work
    second: Callable[[Any, Any], Any]

    def __call__(self, job: Any) -> Any:
        """Both, one after the other."""
        return self.second(job, self.first(job))


@runtime_checkable
class Executor(Protocol):
    """Runs a function on jobs."""

    @property
    def workers(self) -> int:
        """How many jobs run at once."""
        ...

    @property
    def address(self) -> str:
        """Where it runs, for the user."""
        ...

    def run(self, function: Work, jobs: Iterable[Any], careful: Careful | None = None) -> Iterator[Outcome]:
        """Outcomes as they come; jobs are taken from the iterable as there is room. Raises ClusterLost.

        careful: runs a job whose process died of it, in place of `function`, within limits.
        """
        ...

    def close(self) -> None:
        """Stop what this executor started."""
        ...


class Serial:
    """Jobs one after the other in this process."""

    workers = 1
    address = "this process"

    def run(self, function: Work, jobs: Iterable[Any], careful: Careful | None = None) -> Iterator[Outcome]:
        """Outcomes in the jobs' order."""
        for job in jobs:
            yield outcome_of(function, job)

    def close(self) -> None:
        """Nothing was started."""


def within(careful: Careful, seconds: float | None, memory: int | None) -> Work:
    """A careful function as one of a job alone, with these limits."""
    return lambda job: careful(job, seconds, memory)


def outcome_of(function: Work, job: Any) -> Outcome:
    """What becomes of a job in this process."""
    try:
        return Outcome(job, result=function(job))
    except Exception as error:  # noqa: BLE001  (the caller decides what an error means)
        return Outcome(job, error=error, died=isinstance(error, JobDied))
