"""How long jobs take: how many make a task, and when one counts as hung."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TASK_SECONDS = 0.75  # of a task of short jobs: a task costs 2 ms, and its workers should end together
MOST_JOBS = 64  # of a task
FACTOR = 20.0  # times the slowest of its kind a job may take
LEAST_LIMIT = 60.0  # seconds: a machine may be busy with other work
FIRST_LIMIT = 600.0  # seconds of a job whose kind has not been seen


@dataclass(eq=False, slots=True)
class Pace:
    """Seconds of the jobs so far. Jobs with equal `kind` take about equally long.

    limit: seconds that a job may take, whatever was seen; None = from what was seen.
    """

    limit: float | None = None
    _slowest: dict[Any, float] = field(default_factory=dict)
    _mean: float = 0.0

    def saw(self, job: Any, seconds: float) -> None:
        """One more job has ended."""
        kind = getattr(job, "kind", None)
        self._slowest[kind] = max(seconds, self._slowest.get(kind, 0.0))
        self._mean = seconds if not self._mean else 0.8 * self._mean + 0.2 * seconds

    def seconds(self, job: Any) -> float:
        """What a job may take."""
        if self.limit is not None:
            return self.limit
        slowest = self._slowest.get(getattr(job, "kind", None))
        return FIRST_LIMIT if slowest is None else max(LEAST_LIMIT, FACTOR * slowest)

    @property
    def jobs(self) -> int:
        """How many jobs make a task; one until the first has ended."""
        return min(MOST_JOBS, max(1, int(TASK_SECONDS / self._mean))) if self._mean else 1
