"""With what the studies of a claim are run: where their stores are, and on which processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster import Executor, Serial, open_executor
from experiments.running.launch import check_store
from experiments.running.resume import Resume
from experiments.running.runner import run
from experiments.study.study import Study
from results.store import Store
from results.store.zarr_store import ZarrStore

GROWN = 1.5  # by how much more than a store holds must fit into the budget before it grows


@dataclass(frozen=True, eq=False, slots=True)
class Means:
    """folder: its folder `stores` has a store a study; None = in memory. plan: how a store that is there is resumed."""

    folder: Path | None = None
    executor: Executor = field(default_factory=Serial)
    plan: Resume = field(default_factory=Resume)

    def store(self, name: str) -> Path | None:
        """Where a study's store is."""
        return None if self.folder is None else self.folder / "stores" / f"{name}.zarr"

    def fitting(self, name: str, study: Study) -> Study:
        """The study with the replications of its store where it has one that the budget does not much exceed."""
        store = self.store(name)
        if store is None or not store.exists():
            return study
        held = ZarrStore.open(store).replications
        return study.resized(replications=held) if study.replications < GROWN * held else study

    def check(self, name: str, study: Study) -> None:
        """Raise BadInput for a store of another study, or one that cannot be written; StoreLocked for one in use."""
        store = self.store(name)
        if store is not None:
            check_store(study, store, self.plan)

    def run(self, name: str, study: Study) -> Store:
        """Run what is missing of a study."""
        return run(study, store=self.store(name), executor=self.executor, plan=self.plan)


@contextmanager
def opened(folder: Path | None, cluster: str = "serial", workers: int | None = None, *,
           accept: bool = False) -> Iterator[Means]:  # fmt: skip
    """Means on a cluster, which is closed in the end; accept: add to stores of other code."""
    executor = open_executor(cluster, workers)
    try:
        yield Means(folder, executor, Resume(accept_code_change=accept))
    finally:
        executor.close()
