"""Running a study: what is missing is computed wherever the executor says, and written by this process alone."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster import Executor, Serial, environment, prepare_process
from experiments.running.tasks import EnvironmentMismatch, Job, Result, run_job, runner_of
from experiments.study.border import PluginRaised
from experiments.study.settings import to_settings
from experiments.study.study import Study
from results.store.block import Records, union_of_layouts
from results.store.lock import locked
from results.store.memory_store import MemoryStore
from results.store.skeleton import StoreSchema
from results.store.zarr_store import ZarrStore
from sim.errors import BadInput

PREPARED_BEFORE = 16  # cells whose panels are tried before anything is written
_repeatable: set[str] = set()  # fingerprints of studies whose first tile gave equal bits twice in this process


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: blocks done of all, replications done of all (over cells), and what just happened."""

    blocks: int
    of_blocks: int
    replications: int
    of_replications: int
    poisoned: int
    cell: int = -1
    block: int = -1


Listener = Callable[[Progress], None]


def schema_of(study: Study) -> StoreSchema:
    """What the study's store is created from."""
    return StoreSchema(
        study=study.settings,
        identity=study.identity,
        fingerprint=study.fingerprint,
        cells=tuple(to_settings(cell.parameters) for cell in study.cells),
        layouts=union_of_layouts([study.layouts(cell.design.schema) for cell in study.cells]),
        estimands=tuple(dict.fromkeys(name for cell in study.cells for name in study.wanted(cell).estimands)),
        replications=study.replications,
        block=study.block,
    )


def preflight(study: Study) -> None:
    """Settle the first cells, try their panels, and draw the first again; raises BadInput."""
    for cell in study.cells[:PREPARED_BEFORE]:
        runner_of(study, cell.index)
    if study.fingerprint not in _repeatable:
        runner_of(study, 0).check_repeatable()
        _repeatable.add(study.fingerprint)


def run(
    study: Study,
    *,
    store: Path | None = None,
    executor: Executor | None = None,
    listen: Listener | None = None,
    shuffle: int | None = None,
) -> Records:
    """Run what is missing of a study and return its records, in a Zarr store at `store` or in memory.

    `shuffle` seeds another order of blocks; the results do not depend on it. A block that kills its workers or whose
    design raises is poisoned: left out, its traceback noted, tried again by the next run. Raises BadInput (before
    anything is written for what the first sixteen cells show), StoreLocked when another run holds the store,
    ClusterLost when the cluster is gone (the store resumes).
    """
    prepare_process()
    schema = schema_of(study)
    preflight(study)
    if store is None:
        memory = MemoryStore(schema)
        _fill(study, memory, executor or Serial(), listen, shuffle)
        return memory
    with locked(store):
        target = ZarrStore.open_or_create(store, schema)
        _fill(study.resized(replications=target.replications), target, executor or Serial(), listen, shuffle)
        return target


def _fill(
    study: Study, store: ZarrStore | MemoryStore, executor: Executor, listen: Listener | None, shuffle: int | None
) -> None:
    todo = store.pending()
    if shuffle is not None:
        random.Random(shuffle).shuffle(todo)
    tally = _Tally(study, len(todo), listen)
    here = environment()
    if todo:
        _note_environment(store, here)

    def jobs() -> Iterator[Job]:
        for cell, index in todo:
            start = index * study.block
            yield Job(study, cell, index, start, min(start + study.block, study.replications), here)

    for outcome in executor.run(run_job, jobs()):
        job: Job = outcome.job
        if isinstance(outcome.error, BadInput | EnvironmentMismatch) and not isinstance(outcome.error, PluginRaised):
            raise outcome.error
        if outcome.error is not None:  # its workers died, or its design raised: the other blocks go on
            store.poison(job.cell, job.index)
            text = "".join(traceback.format_exception(outcome.error))
            _keep_tracebacks(store, {f"cell {job.cell} block {job.index}": text})
        else:
            result: Result = outcome.result
            store.write(job.cell, job.index, result.block)
            if result.block.tracebacks:
                _keep_tracebacks(store, result.block.tracebacks)
        tally.count(job, outcome.error is not None)


def _note_environment(store: ZarrStore | MemoryStore, here: str) -> None:
    """Every environment that wrote to the store; equal bits are promised for one alone."""
    before = store.noted("environments", [])
    if isinstance(before, list) and here not in before:
        store.note("environments", [*before, here])


def _keep_tracebacks(store: ZarrStore | MemoryStore, new: Mapping[str, str]) -> None:
    """The first hundred tracebacks of fits that failed."""
    kept = store.noted("tracebacks", {})
    if isinstance(kept, dict) and len(kept) < 100:
        store.note("tracebacks", {**kept, **dict(list(new.items())[: 100 - len(kept)])})


class _Tally:
    """Counts blocks for the listener, those that were there before included."""

    def __init__(self, study: Study, missing: int, listen: Listener | None) -> None:
        self._listen = listen
        self._of_blocks = len(study.cells) * -(-study.replications // study.block)
        self._of_replications = len(study.cells) * study.replications
        self._blocks = self._of_blocks - missing
        self._replications = min(self._blocks * study.block, self._of_replications)
        self._poisoned = 0
        if listen:
            listen(self._now(-1, -1))

    def count(self, job: Job, died: bool) -> None:
        """One more block."""
        self._blocks += 1
        self._poisoned += died
        self._replications = min(self._replications + job.stop - job.start, self._of_replications)
        if self._listen:
            self._listen(self._now(job.cell, job.index))

    def _now(self, cell: int, block: int) -> Progress:
        return Progress(
            self._blocks, self._of_blocks, self._replications, self._of_replications, self._poisoned, cell, block
        )
