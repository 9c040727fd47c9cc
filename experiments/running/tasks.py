"""The task that workers run: one block of one cell of a study."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from cluster.process import environment, prepare_process
from experiments.running.blocks import CellRunner
from experiments.study.study import Study
from results.store.block import Block

KEPT_CELLS = 8  # settled cells a worker remembers


class EnvironmentMismatch(RuntimeError):
    """A worker whose numbers could differ in their bits from the client's."""


@dataclass(frozen=True, slots=True)
class Job:
    """Replications `start` to `stop - 1` of a cell, to be run in an environment like the client's."""

    study: Study
    cell: int
    index: int
    start: int
    stop: int
    environment: str


@dataclass(frozen=True, slots=True)
class Result:
    """A block and the seconds it took."""

    block: Block
    seconds: float


_runners: OrderedDict[tuple[str, int], CellRunner] = OrderedDict()


def runner_of(study: Study, cell: int) -> CellRunner:
    """The (cached) settled cell of a study in this process."""
    key = (study.fingerprint, cell)
    if key not in _runners:
        _runners[key] = CellRunner.prepare(study, study.cells[cell])
        while len(_runners) > KEPT_CELLS:
            _runners.popitem(last=False)
    _runners.move_to_end(key)
    return _runners[key]


def run_job(job: Job) -> Result:
    """Run one job; raises EnvironmentMismatch when this process is not like the client's."""
    prepare_process()
    if job.environment != environment():
        raise EnvironmentMismatch(f"worker has {environment()}; client has {job.environment}")
    begin = time.perf_counter()
    block = runner_of(job.study, job.cell).run(job.start, job.stop)
    return Result(block, time.perf_counter() - begin)
