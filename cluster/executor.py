"""What an executor is: jobs in, outcomes out in any order. It knows nothing of what the jobs compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: a result, or the error it raised, or `died` when it took its workers with it."""

    job: Any
    result: Any = None
    error: BaseException | None = None
    died: bool = False


class ClusterLost(RuntimeError):
    """The scheduler or all workers are gone; what was not done is not lost and can be resumed."""


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

    def run(self, function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Outcome]:
        """Outcomes as they come; jobs are taken from the iterable as there is room. Raises ClusterLost."""
        ...

    def close(self) -> None:
        """Stop what this executor started."""
        ...


class Serial:
    """Jobs one after the other in this process."""

    workers = 1
    address = "this process"

    def run(self, function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Outcome]:
        """Outcomes in the jobs' order."""
        for job in jobs:
            try:
                outcome = Outcome(job, result=function(job))
            except Exception as error:  # noqa: BLE001  (the caller decides what an error means)
                outcome = Outcome(job, error=error)
            yield outcome

    def close(self) -> None:
        """Nothing was started."""
