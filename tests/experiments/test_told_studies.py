"""A study travels with the first jobs of a run alone; a worker that does not know it is told."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster import Outcome
from experiments.run import tasks
from experiments.run.runner import TOLD_FIRST, run
from experiments.run.tasks import Job
from references.small_panels import small_panel
from results.store import ZarrStore
from sim.real_panels import Placebo
from studies import quick_study


class Recorder:
    """Runs jobs here as a worker would, from their bytes; forgets studies before some jobs."""

    workers = 1
    address = "here"

    def __init__(self, forgets: Callable[[int], bool] = lambda _: False) -> None:
        self.sizes: list[int] = []
        self.forgets = forgets

    def run(self, function: Callable[[Any], Any], jobs: Iterable[Job], *_: object) -> Iterator[Outcome]:
        for job in jobs:
            sent = pickle.dumps(job)
            if self.forgets(len(self.sizes)):
                tasks._studies.clear()
            self.sizes.append(len(sent))
            yield Outcome(job, result=function(pickle.loads(sent)))

    def close(self) -> None:
        return


def test_later_jobs_do_not_carry_the_panel_of_a_study(tmp_path: Path) -> None:
    placebo = Placebo.of(small_panel(60, 40, model="none"), "space")
    recorder = Recorder()
    run(quick_study(64 * 12, design=placebo, grid=()), store=tmp_path / "x.zarr", executor=recorder)
    assert len(recorder.sizes) == 12
    assert min(recorder.sizes[:TOLD_FIRST]) > 20_000
    assert max(recorder.sizes[TOLD_FIRST:]) < 5_000


@pytest.mark.parametrize("every", [1, 3])
def test_a_worker_that_does_not_know_the_study_is_told(tmp_path: Path, every: int) -> None:
    study = quick_study(64 * 10)
    run(study, store=tmp_path / "whole.zarr")
    recorder = Recorder(lambda number: number >= TOLD_FIRST and number % every == 0)
    steps: list[int] = []
    run(study, store=tmp_path / "x.zarr", executor=recorder, listen=lambda step: steps.append(step.blocks))
    assert len(recorder.sizes) > 20, "some were sent again"
    assert steps == list(range(21))
    hashes = {ZarrStore.open(tmp_path / name).content_hash() for name in ("whole.zarr", "x.zarr")}
    assert len(hashes) == 1


def test_a_later_run_is_never_mistaken_for_an_earlier_one(tmp_path: Path) -> None:
    """As when classes of a script were edited between two runs, which their fingerprint does not say."""
    first, second = Recorder(), Recorder()
    for recorder, name in ((first, "a"), (second, "b")):
        run(quick_study(64), store=tmp_path / f"{name}.zarr", executor=recorder)
    names = list(tasks._studies)[-2:]
    assert names[0] != names[1]
    assert tasks.cached_study(Job(None, 0, 0, 0, 64, None, run=names[1])) is tasks._studies[names[1]]
    assert tasks.cached_study(replace(Job(None, 0, 0, 0, 64, None), run="another")) is None
