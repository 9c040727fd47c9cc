"""Jobs one after the other in a child of this process, which survives what they do to it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from cluster.child import Child
from cluster.executor import Careful, JobDied, Outcome, Work, outcome_of
from cluster.pace import Pace


@dataclass(eq=False, slots=True)
class Guarded:
    """Jobs in a copy of this process, made when the first is run.

    A copy starts in milliseconds and has all that this process has loaded. It has none of its other threads, which
    print and write: a lock that one of them held would be held for ever. A job takes none of those locks (400 copies
    beside two busy threads computed their jobs, none later than 0.3 s), and the clock of jobs ends a copy that waits.

    pace: what a job may take. memory: bytes that it may take, None = no limit.
    """

    pace: Pace
    memory: int | None = None
    workers: int = 1
    address: str = "this process"
    _child: Child = field(default_factory=lambda: Child(fork=True))

    def run(self, function: Work, jobs: Iterable[Any], careful: Careful | None = None) -> Iterator[Outcome]:
        """Outcomes in the jobs' order."""
        self._child.close()  # a copy of an earlier state
        for job in jobs:
            seconds, begin = self.pace.seconds(job), time.perf_counter()
            try:
                outcome = Outcome(job, result=self._child.call(function, job, seconds, self.memory))
            except JobDied as error:
                outcome = Outcome(job, error=error, died=True)
            except Exception as error:  # noqa: BLE001  (the caller decides what an error means)
                outcome = Outcome(job, error=error)
            if outcome.died and careful is not None:
                why = str(outcome.error).partition("\n")[0]
                outcome = replace(outcome_of(partial(_within, careful, seconds, self.memory), job), again=why)
            elif not outcome.died:
                self.pace.saw(job, time.perf_counter() - begin)
            yield outcome

    def close(self) -> None:
        """End the child."""
        self._child.close()


def _within(careful: Careful, seconds: float | None, memory: int | None, job: Any) -> Any:
    return careful(job, seconds, memory)
