"""Every back end keeps its contract on the real thing: a newcomer is tested by being in the folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from real_parts import PARTS, Cluster, NotHere
from slow_jobs import DIES, EXITS, HANGS, RAISES, double

from cluster import BackEnd, Outcome, back_end, back_ends
from experiments.run.runner import run
from results.store import ZarrStore
from studies import small_study

pytestmark = pytest.mark.server

LIMIT = 2.0  # seconds of a job
FEWER = {name: {"workers": 1} for name in ("pbs", "sge", "lsf")}  # two of them prove what two of Slurm prove
JOBS = (1, 2, DIES, RAISES, HANGS, EXITS, *range(100, 116))  # more than are on their way at once


@dataclass
class Opened:
    """A back end that runs, and what its cluster is."""

    back: BackEnd
    cluster: Cluster
    executor: Any


@pytest.fixture(scope="module", params=sorted(back_ends()))
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    assert request.param in PARTS, f"say in tests/support/real_parts.py how the parts of {request.param} are started"
    try:
        with PARTS[request.param](tmp_path_factory.mktemp(request.param)) as cluster:
            back = back_end(cluster.where, cluster.options | FEWER.get(request.param, {}))
            executor = back.open(LIMIT)
            try:
                yield Opened(back, cluster, executor)
            finally:
                executor.close()
    except NotHere as reason:
        pytest.skip(f"THE BACK END {request.param} IS NOT TESTED HERE: {reason}")


@pytest.fixture(scope="module")
def outcomes(opened: Opened) -> dict[int, list[Outcome]]:
    found: dict[int, list[Outcome]] = {}
    for outcome in opened.executor.run(double, JOBS):
        found.setdefault(outcome.job, []).append(outcome)
    return found


def test_every_job_has_one_outcome_whatever_the_others_did(outcomes: dict[int, list[Outcome]]) -> None:
    assert {job: len(found) for job, found in outcomes.items()} == dict.fromkeys(JOBS, 1)
    good = [job for job in JOBS if job not in {DIES, RAISES, HANGS, EXITS}]
    assert {job: outcomes[job][0].result for job in good} == {job: 2 * job for job in good}


def test_an_error_of_a_job_is_its_outcome(outcomes: dict[int, list[Outcome]]) -> None:
    (outcome,) = outcomes[RAISES]
    assert isinstance(outcome.error, ValueError)
    assert not outcome.died


@pytest.mark.parametrize(("job", "words"), [(DIES, "SIGKILL"), (HANGS, "longer than"), (EXITS, "exited with code 7")])
def test_a_job_that_ends_its_process_is_said_to_have_died_and_why(
    outcomes: dict[int, list[Outcome]], job: int, words: str
) -> None:
    (outcome,) = outcomes[job]
    assert outcome.died
    assert words in str(outcome.error)


def test_the_executor_says_how_many_work_and_where(opened: Opened, outcomes: Any) -> None:
    assert 1 <= opened.executor.workers <= 2
    assert opened.executor.address


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the study in one process."""
    path = tmp_path_factory.mktemp("alone") / "x.zarr"
    run(small_study(128), store=path)
    return ZarrStore.open(path).content_hash()


def test_a_study_has_the_bits_of_one_process(opened: Opened, alone: str, tmp_path: Path) -> None:
    opened.executor.pace.limit = None  # of a busy machine
    run(small_study(128), store=tmp_path / "here.zarr", executor=opened.executor, shuffle=3)
    assert ZarrStore.open(tmp_path / "here.zarr").content_hash() == alone


def test_every_option_has_a_meaning_in_the_help(opened: Opened) -> None:
    text = type(opened.back).__doc__ or ""
    names = [item.name for item in dataclasses.fields(opened.back)]
    assert [name for name in names if f"{name}:" not in text and f"{name}," not in text] == []
