"""Every back end keeps its contract on the real thing: a newcomer is tested by being in the folder."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import closing
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

LIMIT = 1.0  # seconds of a job
FEWER = {name: {"workers": 1} for name in ("pbs", "sge", "lsf")}  # two of them prove what two of Slurm prove
JOBS = (1, 2, RAISES, *range(100, 116))  # more than are on their way at once
ENDS = {DIES: "SIGKILL", HANGS: "longer than", EXITS: "exited with code 7"}  # jobs that end their process, and why


@dataclass
class Opened:
    """A back end that runs, and what its cluster is."""

    back: BackEnd
    cluster: Cluster
    executor: Any


def settled(executor: Any, workers: int) -> None:
    """Wait for all workers, and until their nannies know them: one whose first worker ends before that ends too."""
    client = getattr(executor, "client", None)
    if client is not None:
        client.wait_for_workers(workers, timeout=60)
        time.sleep(1.0)


@pytest.fixture(scope="module", params=sorted(back_ends()))
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    assert request.param in PARTS, f"say in tests/support/real_parts.py how the parts of {request.param} are started"
    try:
        with PARTS[request.param](tmp_path_factory.mktemp(request.param)) as cluster:
            back = back_end(cluster.where, cluster.options | FEWER.get(request.param, {}))
            with closing(back.open(LIMIT)) as executor:
                settled(executor, 2 if request.param in {"local", "slurm"} else 1)
                yield Opened(back, cluster, executor)
    except NotHere as reason:
        pytest.skip(f"THE BACK END {request.param} IS NOT TESTED HERE: {reason}")


@pytest.fixture(scope="module")
def outcomes(opened: Opened) -> dict[int, list[Outcome]]:
    found: dict[int, list[Outcome]] = {}
    ends = () if type(opened.back).name in FEWER else ENDS  # by the same code as on Slurm
    for outcome in opened.executor.run(double, [*JOBS[:2], *ends, *JOBS[2:]]):
        found.setdefault(outcome.job, []).append(outcome)
    return found


def test_every_job_has_one_outcome_whatever_the_others_did(opened: Opened, outcomes: dict[int, list[Outcome]]) -> None:
    """What a job raises is its outcome, what ends its process is said to have done so, and why."""
    assert set(outcomes) - set(ENDS) == set(JOBS)
    for job, (outcome,) in outcomes.items():
        assert outcome.died == (job in ENDS)
        if job in ENDS:
            assert ENDS[job] in str(outcome.error)
        elif job == RAISES:
            assert isinstance(outcome.error, ValueError)
        else:
            assert outcome.result == 2 * job
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
