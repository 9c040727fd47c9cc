"""Jobs in a child of this process: what counts as their time, and what is learnt of jobs that died."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from cluster import JobDied, child
from cluster.child import Child, Guarded
from cluster.executor import FIRST_LIMIT, MOST_JOBS, TASK_SECONDS, Pace


def rested(seconds: float) -> str:
    """A result that takes a while to load."""
    time.sleep(seconds)
    return "loaded"


class SlowToLoad:
    """A job that takes 0.3 s to load in a child, and none to run."""

    def __reduce__(self) -> tuple[Callable[[float], str], tuple[float]]:
        return rested, (0.3,)


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    monkeypatch.setattr(child, "GRACE_SECONDS", 0.0)
    made = Child(fork=True)
    yield made
    made.close()


def test_what_a_child_loads_is_no_time_of_its_job(one: Child) -> None:
    assert one.call(str, SlowToLoad(), seconds=0.1) == "loaded"
    with pytest.raises(JobDied, match="longer than"):
        one.call(time.sleep, 5.0, seconds=0.1)


def test_a_job_that_died_says_nothing_of_the_time_of_others() -> None:
    guarded = Guarded(Pace())
    try:
        (died,) = guarded.run(os._exit, [7])
        assert (died.died, str(died.error)) == (True, "its process exited with code 7")
        assert guarded.pace.seconds(8) == FIRST_LIMIT
        (done,) = guarded.run(abs, [-8])
        assert done.result == 8
        assert guarded.pace.seconds(8) < FIRST_LIMIT
    finally:
        guarded.close()


def test_a_task_holds_as_many_jobs_as_fill_its_time_and_no_more_than_so_many() -> None:
    pace = Pace()
    assert pace.jobs == 1, "nothing is known before the first has ended"
    pace.saw(1, TASK_SECONDS / 3)
    assert pace.jobs == 3
    for seconds, jobs in ((1e-9, MOST_JOBS), (10 * TASK_SECONDS, 1)):
        pace = Pace()
        pace.saw(1, seconds)
        assert pace.jobs == jobs
