"""How long jobs take: how many make a task, and when one counts as hung."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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
