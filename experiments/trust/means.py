"""With what the studies of a claim are run: where their stores are, and on which processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster import Executor, Serial
from experiments.running.launch import check_store
from experiments.running.places import Place
from experiments.running.resume import Resume
from experiments.running.runner import run, schema_of
from experiments.study.study import Study
from results.store import Store
from results.store.zarr_store import ZarrStore
from sim.errors import BadInput, bad

BUDGET = "budget.json"  # beside the stores: the seconds of the largest budget so far, and what they were turned into


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
        """The study with the replications of its store where it has one that holds more."""
        store = self.store(name)
        if store is None or not store.exists():
            return study
        return study.resized(replications=max(ZarrStore.open(store).replications, study.replications))

    def remembered(self, seconds: float) -> dict[str, int] | None:
        """Replications a cell by study, of an earlier run whose budget was as large; None where there was none.

        A pilot is never timed alike twice, so without this the same command would add replications each time.
        """
        file = None if self.folder is None else self.folder / "stores" / BUDGET
        if file is None or not file.is_file():
            return None
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
            return dict(held["replications"]) if held["seconds"] >= seconds else None
        except (ValueError, KeyError, TypeError):  # a damaged note costs no more than another pilot
            return None

    def remember(self, seconds: float, replications: Mapping[str, int]) -> None:
        """Keep what a budget was turned into, unless an earlier one was as large."""
        if self.folder is None or self.remembered(seconds) is not None:
            return
        file = self.folder / "stores" / BUDGET
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"seconds": seconds, "replications": dict(replications)})
        file.write_text(text, encoding="utf-8")

    def check(self, name: str, study: Study) -> None:
        """Raise BadInput for a store of another study, or one that cannot be written; StoreLocked for one in use."""
        store = self.store(name)
        if store is None:
            return
        try:
            check_store(study, store, self.plan)
        except BadInput as fault:
            if not store.exists() or ZarrStore.open(store).fingerprint == schema_of(study).fingerprint:
                raise
            raise bad("holds the page of another panel, spec or claim", where=str(self.folder),
                      allowed="a folder a page", remedy="choose another --out, or delete it") from fault  # fmt: skip

    def run(self, name: str, study: Study) -> Store:
        """Run what is missing of a study."""
        return run(study, store=self.store(name), executor=self.executor, plan=self.plan)


@contextmanager
def opened(folder: Path | None, place: Place, plan: Resume) -> Iterator[Means]:
    """Means on a cluster, which is closed in the end."""
    executor = place.open()
    try:
        yield Means(folder, executor, plan)
    finally:
        executor.close()
