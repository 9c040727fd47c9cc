"""Jobs in two parts: a worker does the second part of one while it does the first part of the next."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import distributed
import pytest

from cluster import Serial, TwoPhaseTask, WorkerRefused, group, open_executor
from cluster.group import Answers, run_group

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


def test_a_second_part_is_done_while_the_next_job_begins(tmp_path: Path, alone: None) -> None:
    parts = Parts(tmp_path, last=4)
    answers = ran(TwoPhaseTask(parts.first, parts.second), list(range(5)))
    assert [result for result, *_ in answers.outcomes] == [1, 11, 21, 31, 41]


@pytest.mark.parametrize("wrong", [0, 2, 4])
def test_an_error_of_a_second_part_is_that_job_s_alone(tmp_path: Path, alone: None, wrong: int) -> None:
    parts = Parts(tmp_path, last=4, wrong=wrong)
    answers = ran(TwoPhaseTask(parts.first, parts.second), list(range(5)))
    assert [job for job, (_, error, *_) in enumerate(answers.outcomes) if isinstance(error, OSError)] == [wrong]
    assert [result for result, *_ in answers.outcomes] == [None if job == wrong else 10 * job + 1 for job in range(5)]


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
    pool = open_executor("local", 1)
    pool.pace.limit = 2.0  # type: ignore[attr-defined]
    try:
        outcomes = {found.job: found for found in pool.run(TwoPhaseTask(same, endless), range(8))}
    finally:
        pool.close()
    assert outcomes.pop(3).died
    assert [found.result for found in outcomes.values() if found.result != found.job] == []
    assert len(outcomes) == 7


def memory_of(job: int, seconds: float | None, memory: int | None) -> int | None:
    return memory


@pytest.mark.parametrize(
    ("asked", "own", "given"), [(400, 1000, 400), (4000, 1000, 900), (None, 1000, 900), (400, None, 400)]
)
def test_a_careful_job_may_take_no_more_than_its_worker_has(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, own: int | None, given: int
) -> None:
    monkeypatch.setattr(group, "MEMORY_SHARE", 0.9)
    here = SimpleNamespace(address="here", nanny=None, memory_manager=SimpleNamespace(memory_limit=own))
    monkeypatch.setattr(distributed, "get_worker", lambda: here)
    answers = run_group(cloudpickle.dumps((memory_of, [1])), (60.0,), asked, careful=True)
    assert [result for result, *_ in answers.outcomes] == [given]


@pytest.mark.parametrize(("nanny", "limit"), [("tls://here", 60.0), (None, None)])
def test_a_process_that_no_nanny_starts_again_is_not_ended(
    monkeypatch: pytest.MonkeyPatch, nanny: str | None, limit: float | None
) -> None:
    limits: list[float | None] = []
    monkeypatch.setattr(group, "ending_after", lambda seconds: limits.append(seconds) or contextlib.nullcontext())
    monkeypatch.setattr(group, "keep_output_free", lambda: None)
    monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(address="here", nanny=nanny))
    answers = run_group(cloudpickle.dumps((abs, [-1])), (60.0,), None, careful=False)
    assert [result for result, *_ in answers.outcomes] == [1]
    assert limits == [limit]
