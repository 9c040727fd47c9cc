"""What an executor is: jobs in, outcomes out in any order. It knows nothing of what the jobs compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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
class InTwo:
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


def outcome_of(function: Work, job: Any) -> Outcome:
    """What becomes of a job in this process."""
    try:
        return Outcome(job, result=function(job))
    except Exception as error:  # noqa: BLE001  (the caller decides what an error means)
        return Outcome(job, error=error, died=isinstance(error, JobDied))
