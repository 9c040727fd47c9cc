"""Jobs in a child of this process: what counts as their time, and what is learnt of jobs that died."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import distributed
import pytest
from distributed import KilledWorker
from slow_jobs import RAISES, double

from cluster import ClusterLost, JobDied, Serial, TwoPhaseTask, WorkerRefused, child, group, open_executor
from cluster.child import SHOWN_LINES, Child, Guarded
from cluster.dask_pool import LOST, DaskPool, _Task, _Work, worded
from cluster.executor import FACTOR, FIRST_LIMIT, LEAST_LIMIT, MOST_JOBS, PILOT_FACTOR, TASK_SECONDS, Pace
from cluster.group import Answers, run_group
from cluster.process import Output


def rested(seconds: float) -> str:
    """A result that takes a while to load."""
    time.sleep(seconds)
    return "loaded"


class SlowToLoad:
    """A job that takes 0.3 s to load in a child, and none to run."""

    def __reduce__(self) -> tuple[Callable[[float], str], tuple[float]]:
        return rested, (0.3,)


def process_of(_: object) -> int:
    return os.getpid()


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
    before = one.call(process_of, None, seconds=0.3)
    time.sleep(0.5)
    assert one.call(process_of, None) == before, "the clock stops with its job"


def test_a_job_that_died_says_nothing_of_the_time_of_others() -> None:
    with contextlib.closing(Guarded(Pace())) as guarded:
        (died,) = guarded.run(os._exit, [7])
        assert (died.died, str(died.error)) == (True, "its process exited with code 7")
        (again,) = guarded.run(os._exit, [7], careful=lambda job, *_: job)
        assert (again.result, again.again) == (7, "its process exited with code 7")
        assert guarded.pace.seconds(8) == FIRST_LIMIT
        (done,) = guarded.run(abs, [-8])
        assert done.result == 8
        assert guarded.pace.seconds(8) < FIRST_LIMIT


def test_a_task_holds_as_many_jobs_as_fill_its_time_and_no_more_than_so_many() -> None:
    pace = Pace()
    assert pace.jobs == 1, "nothing is known before the first has ended"
    pace.saw(1, TASK_SECONDS / 3)
    assert pace.jobs == 3
    pace.saw(1, 4 * TASK_SECONDS / 3)
    assert pace.jobs == 1, "a fifth of four thirds and four of a third: 8 of 15 parts"
    pace.saw(1, 0.0)
    assert pace.jobs == 2, "32 of 75"
    for seconds, jobs in ((1e-9, MOST_JOBS), (10 * TASK_SECONDS, 1)):
        pace = Pace()
        pace.saw(1, seconds)
        assert pace.jobs == jobs


def test_a_child_that_cannot_end_itself_is_ended_when_its_time_is_up(
    one: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "START_SECONDS", 16.0)
    begin = time.monotonic()
    with pytest.raises(JobDied, match=r"it ran longer than 0\.2 s"):
        one.call(lambda _: os.kill(os.getpid(), signal.SIGSTOP), None, seconds=0.2)
    assert one.call(abs, -3) == 3, "another takes its place"
    assert time.monotonic() - begin < 15


def slowly(seconds: float) -> None:
    time.sleep(seconds)


def test_a_child_that_ran_too_long_says_where_it_was() -> None:
    with contextlib.closing(Child(fork=True)) as made, pytest.raises(JobDied) as died:
        made.call(slowly, 60.0, seconds=0.2)
    first = str(died.value).splitlines()[0]
    assert first.startswith('it ran longer than it may, at File "')
    assert "in slowly" in first
    assert len(str(died.value).splitlines()) == SHOWN_LINES


class OfTwoWords(Exception):
    """It is written with one argument and cannot be read again."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


def raised(words: tuple[str, str]) -> None:
    raise OfTwoWords(*words)


def test_how_a_job_failed_is_said_in_words(one: Child) -> None:
    with pytest.raises(RuntimeError, match=r"^OfTwoWords: no sense$"):  # which cannot be read again
        one.call(raised, ("no", "sense"))
    with pytest.raises(JobDied, match=r"exited with code 1$"):
        one.call(sys.exit, "words")


STATE = [0]


def state_of(_: object) -> int:
    return STATE[0]


def test_each_run_computes_with_what_the_process_is_then() -> None:
    guarded, found = Guarded(Pace()), []
    try:
        for STATE[0] in (1, 2):
            found += [outcome.result for outcome in guarded.run(state_of, [None])]
    finally:
        guarded.close()
    assert found == [1, 2]


def test_serial_reports_errors_as_outcomes() -> None:
    outcomes = list(Serial().run(double, [1, RAISES, 2]))
    assert [outcome.result for outcome in outcomes] == [2, None, 4]
    assert isinstance(outcomes[1].error, ValueError)


def test_the_time_of_a_job_follows_what_was_seen_of_its_kind() -> None:
    class OfKind(int):
        kind = "dear"

    pace = Pace()
    assert pace.seconds(1) == pace.seconds(OfKind(1)) == FIRST_LIMIT
    pace.saw(1, 0.1)
    assert pace.seconds(1) == LEAST_LIMIT
    assert pace.seconds(OfKind(1)) == LEAST_LIMIT, "a first job of another kind, by the pilot"
    pace.saw(1, 4.0)
    assert pace.seconds(OfKind(1)) == PILOT_FACTOR * 4
    pace.saw(OfKind(1), 50.0)
    pace.saw(OfKind(1), 10.0)
    assert pace.seconds(OfKind(2)) == FACTOR * 50
    assert Pace(3.0).seconds(1) == 3


def test_the_first_limit_of_a_cell_follows_from_the_pilot_and_its_size() -> None:
    @dataclass(frozen=True)
    class Sized:
        kind: str
        size: int
        timed: bool = True

    pace = Pace()
    pace.saw(Sized("trial", 1, timed=False), 1e-6)
    assert (pace.jobs, pace.seconds(Sized("pilot", 10))) == (1, FIRST_LIMIT), "nothing is known before the pilot"
    pace.saw(Sized("pilot", 10), 0.1)
    assert pace.seconds(Sized("as large", 10)) == LEAST_LIMIT
    assert pace.seconds(Sized("larger", 11)) == FIRST_LIMIT, "costs may grow faster than sizes"
    pace.saw(Sized("pilot", 10), 20.0)
    assert pace.seconds(Sized("smaller", 5)) == PILOT_FACTOR * 10
    assert pace.seconds(Sized("larger", 20)) == PILOT_FACTOR * 40


def test_a_slow_reader_of_what_does_not_wait_gets_all_that_is_printed() -> None:
    (read, write), got = os.pipe(), list[bytes]()
    os.set_blocking(write, False)
    reader = threading.Thread(target=lambda: got.extend(iter(lambda: os.read(read, 1 << 16), b"")))
    output, data = Output(write), memoryview(bytes(1 << 18))
    threading.Timer(0.2, reader.start).start()
    while data:
        data = data[output.write(data) :]
    os.close(write)
    reader.join()
    os.close(read)
    assert (sum(map(len, got)), output.failed) == (1 << 18, None)


# What a pool of Dask does with tasks, without a cluster


def pool_of(*workers: str, refused: dict[str, str] | None = None) -> tuple[DaskPool, list[Any]]:
    """A pool that was never opened, and the workers of each task that it submits."""
    asked: list[Any] = []

    def submit(*_: Any, workers: Any = None, **__: Any) -> object:
        asked.append(workers)
        return object()

    pool = DaskPool.__new__(DaskPool)
    pool.client, pool.pace, pool.address, pool.refused = SimpleNamespace(submit=submit), Pace(), "here", refused or {}
    pool._memory, pool._stamp, pool._numbers, pool._logs = None, "0", itertools.count(), ""
    pool._threads, pool._left = dict.fromkeys(workers, 1), []
    return pool, asked


def work_of(jobs: int) -> _Work:
    return _Work(abs, lambda *_: None, iter(range(jobs)))


def test_tasks_grow_smaller_near_the_end_and_little_is_taken_ahead() -> None:
    taken: list[int] = []
    work, sizes = _Work(abs, lambda *_: None, (taken.append(job) or job for job in range(100))), list[int]()
    while (task := work.next_task(8, 2)) is not None:
        assert len(taken) - sum(sizes) <= 32, "twice what two workers have at once"
        sizes.append(len(task.jobs))
    assert sum(sizes) == 100
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-4:]) == (8, [1] * 4)


def test_a_worker_that_may_not_compute_gets_no_task_and_its_reason_is_said_once() -> None:
    pool, asked = pool_of("a", "b", refused={"a": "another code"})
    pool._fill({}, work_of(3))
    assert (asked, pool.workers) == ([["b"]] * 3, 1)
    pool._ask, pool.say = lambda: None, asked.append  # type: ignore[method-assign]
    future: Any = SimpleNamespace(status="finished", result=lambda timeout: Answers("b", refused="it is odd"))
    work, task = work_of(0), _Task([5], careful=False, workers=None)
    assert list(pool._ended(future, task, work)) == []
    assert ([*work.again], asked[3:]) == ([task], ["worker b is left out: it is odd"])
    for names, said in (("abc", "a, b, c"), ("abcd", "a, b, c and others")):
        assert worded(dict.fromkeys(names, "why")) == f"no worker may compute; {said}: why"


@pytest.mark.parametrize("careful", [False, True])
def test_jobs_that_run_carefully_say_nothing_of_the_time_of_others(careful: bool) -> None:
    pool, _ = pool_of("a")
    answers = Answers("a", ((1, None, False, TASK_SECONDS / 4),))
    future: Any = SimpleNamespace(status="finished", result=lambda timeout: answers)
    (outcome,) = pool._ended(future, _Task([-1], careful, None), work_of(0))
    assert (outcome.result, pool.pace.jobs) == (1, 1 if careful else 4)


def test_a_scheduler_that_drops_task_after_task_is_lost() -> None:
    (pool, _), work = pool_of("a"), work_of(0)
    work.patience = 3
    for _ in range(2):
        pool._lost(_Task([1], careful=False, workers=None), work)
    assert {task.again for task in work.again} == {LOST}
    with pytest.raises(ClusterLost, match="here keeps dropping tasks"):
        pool._lost(_Task([1], careful=False, workers=None), work)


def killed(timeout: float) -> None:
    """As where a future was done, and its worker and the next one are gone when its result is asked for."""
    raise KilledWorker("task", None, 0)


def frozen(timeout: float) -> None:
    """As where the worker that holds a result does not answer."""
    raise TimeoutError


def test_a_result_that_left_with_its_worker_and_killed_another_runs_carefully() -> None:
    (pool, _), work = pool_of("a"), work_of(0)
    future: Any = SimpleNamespace(status="finished", result=killed)
    assert list(pool._ended(future, _Task([3, 4], careful=False, workers=None), work)) == []
    assert [(task.jobs, task.careful) for task in work.again] == [([3], True), ([4], True)]
    (pool, _), work, task = pool_of("a"), work_of(0), _Task([3, 4], careful=False, workers=None)
    late: Any = SimpleNamespace(status="finished", result=frozen)
    assert list(pool._ended(late, task, work)) == []
    assert [*work.again] == [task], "a result that does not come is computed once more"


def gone(timeout: float) -> None:
    """As where the client has lost its connection, and with it what it knew of its futures."""
    raise CancelledError


@pytest.mark.parametrize("asked", [lambda timeout: None, frozen])
def test_an_error_that_is_no_longer_known_is_no_answer(asked: Callable[[float], None]) -> None:
    """Between the look at a future and the question for its error, the connection may be lost."""
    (pool, _), work, task = pool_of("a"), work_of(0), _Task([3, 4], careful=False, workers=None)
    future: Any = SimpleNamespace(status="error", exception=asked, result=gone)
    assert list(pool._ended(future, task, work)) == []
    assert [*work.again] == [task]


def test_workers_that_went_are_told_of_once_and_none_is_refused_before_one_is_there() -> None:
    pool, _ = pool_of("a", "b", refused={"b": "it is odd", "gone": "it was odder"})
    there = {"c": 1}
    pool.client = SimpleNamespace(scheduler=SimpleNamespace(ncores=int), sync=lambda *_, **__: there, status="running")
    pool._ask()
    assert (pool._told_left(), pool._told_left(), pool.workers) == (("a", "b"), (), 1)
    there = {}
    pool._ask()
    there = {"b": 1}
    with pytest.raises(WorkerRefused, match=r"^no worker may compute; b: it is odd$"):
        pool._ask()


def test_a_death_beside_others_is_none_of_a_job_s_own() -> None:
    """The job is given up at the third death of its careful runs."""
    (pool, _), work, job, given_up = pool_of("a"), work_of(0), object(), []
    for careful in (False, True, True, True):
        task = _Task([job], careful=careful, workers=None)
        given_up.append(bool([*pool._failed(KilledWorker("task", None, 0), task, work)]))
    assert given_up == [False, False, False, True]


# Jobs in two parts: a worker does the second part of one while it does the first part of the next


SECONDS = 10.0  # within which a part must have begun


@dataclass(frozen=True)
class Parts:
    """Two parts that leave a file when they begin; each second part waits for the first part of the next job."""

    folder: Path
    last: int
    wrong: int = -1

    def first(self, job: int) -> int:
        (self.folder / f"first {job}").touch()
        return 10 * job

    def second(self, job: int, found: int) -> int:
        until = time.monotonic() + SECONDS
        while job < self.last and not (self.folder / f"first {job + 1}").exists():
            assert time.monotonic() < until, "the next job waits for this one"
            time.sleep(0.001)
        if job == self.wrong:
            raise OSError(28, "No space left on device")
        return found + 1


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as a worker without a nanny."""
    here = SimpleNamespace(address="here", nanny=None, memory_manager=SimpleNamespace(memory_limit=None))
    monkeypatch.setattr(distributed, "get_worker", lambda: here)


def ran(function: Any, jobs: list[int]) -> Answers:
    return run_group(cloudpickle.dumps((function, jobs)), (60.0,) * len(jobs), None, careful=False)


@pytest.mark.parametrize("wrong", [-1, 0, 2, 4])
def test_a_second_part_is_done_while_the_next_job_begins_and_its_error_is_that_job_s_alone(
    tmp_path: Path, alone: None, wrong: int
) -> None:
    parts = Parts(tmp_path, last=4, wrong=wrong)
    found = ran(TwoPhaseTask(parts.first, parts.second), list(range(5))).outcomes
    assert [job for job, (_, error, *_) in enumerate(found) if isinstance(error, OSError)] == [wrong] * (wrong >= 0)
    assert [result for result, *_ in found] == [None if job == wrong else 10 * job + 1 for job in range(5)]


def refusing(job: int) -> int:
    if job == 1:
        raise WorkerRefused("it has other code")
    return job


def test_a_job_whose_first_part_is_refused_has_no_second(tmp_path: Path, alone: None) -> None:
    seen = tmp_path / "seen"

    def second(job: int, found: int) -> int:
        with seen.open("a") as file:
            file.write(f"{job} ")
        return found

    answers = ran(TwoPhaseTask(refusing, second), [0, 1, 2])
    assert answers.refused == "it has other code"
    assert seen.read_text() == "0 "


def test_other_executors_do_both_parts_of_a_job_before_the_next(tmp_path: Path) -> None:
    parts = Parts(tmp_path, last=0)
    assert [found.result for found in Serial().run(TwoPhaseTask(parts.first, parts.second), [0, 0])] == [1, 1]


def endless(job: int, found: int) -> int:
    time.sleep(60.0 if job == 3 else 0.0)
    return found


def same(job: int) -> int:
    return job


def slow(job: int, found: int) -> int:
    time.sleep(0.2)
    return found


def test_slow_second_parts_count_for_how_long_jobs_take(alone: None) -> None:
    """Else a store that takes long would get tasks that last many times as long as they should."""
    answers = ran(TwoPhaseTask(same, slow), [0, 1, 2])
    assert all(seconds > 0.1 for *_, seconds in answers.outcomes[1:])


@pytest.mark.long
def test_a_second_part_that_does_not_end_costs_its_job_alone() -> None:
    with contextlib.closing(open_executor("local", 1)) as pool:
        pool.pace.limit = 2.0  # type: ignore[attr-defined]
        outcomes = {found.job: found for found in pool.run(TwoPhaseTask(same, endless), range(8))}
    assert outcomes.pop(3).died
    assert [found.result for found in outcomes.values() if found.result != found.job] == []
    assert len(outcomes) == 7


class Panic(BaseException):
    """As libraries in Rust raise it; `asyncio.CancelledError` is no Exception either."""


def panics(job: int) -> int:
    if job == 3:
        raise Panic
    return job


@pytest.mark.long
def test_what_is_raised_and_is_no_exception_ends_a_worker_as_it_ends_a_child() -> None:
    """It was the answer of its job: a block that holds such a fit was lost on workers, and kept in a run without."""
    with contextlib.closing(open_executor("local", 1)) as pool:
        outcomes = {found.job: found for found in pool.run(panics, range(5))}
    lost = outcomes.pop(3)
    assert lost.died
    assert "exited with code 1" in str(lost.error)
    assert [found.result for found in outcomes.values()] == list(outcomes)


@pytest.mark.parametrize(
    ("asked", "own", "given"), [(400, 1000, 400), (4000, 1000, 900), (None, 1000, 900), (400, None, 400)]
)
def test_a_careful_job_may_take_no_more_than_its_worker_has(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, own: int | None, given: int
) -> None:
    monkeypatch.setattr(group, "MEMORY_SHARE", 0.9)
    here = SimpleNamespace(address="here", nanny=None, memory_manager=SimpleNamespace(memory_limit=own))
    monkeypatch.setattr(distributed, "get_worker", lambda: here)
    answers = run_group(cloudpickle.dumps((lambda job, seconds, memory: memory, [1])), (60.0,), asked, careful=True)
    assert [result for result, *_ in answers.outcomes] == [given]


@pytest.mark.parametrize(("nanny", "limit"), [("tls://here", 60.0), (None, None)])
def test_a_process_that_no_nanny_starts_again_is_not_ended(
    monkeypatch: pytest.MonkeyPatch, nanny: str | None, limit: float | None
) -> None:
    limits: list[float | None] = []
    freed: list[bool] = []
    monkeypatch.setattr(group, "ending_after", lambda seconds: limits.append(seconds) or contextlib.nullcontext())
    monkeypatch.setattr(group, "keep_output_free", lambda: freed.append(True))
    monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(address="here", nanny=nanny))
    answers = run_group(cloudpickle.dumps((TwoPhaseTask(abs, max), [-1])), (60.0,), None, careful=False)
    assert [result for result, *_ in answers.outcomes] == [1]
    assert (limits, bool(freed)) == ([limit] * 2, nanny is not None)
