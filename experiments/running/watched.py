"""`pp.run`: a run that shows how far it is."""

from __future__ import annotations

from pathlib import Path

from cluster import Executor
from experiments.running import runner
from experiments.running.progress import watch_of
from experiments.running.resume import Resume
from experiments.running.runner import Listener
from experiments.running.runner import Progress as Step
from experiments.study.study import Study
from results.store import Store


def run(
    study: Study,
    *,
    store: str | Path | None = None,
    executor: Executor | None = None,
    client: object = None,
    listen: Listener | None = None,
    shuffle: int | None = None,
    plan: Resume | None = None,
    until: str | None = None,
    progress: bool | None = None,
) -> Store:
    """Run what is missing of a study and return its records, in a Zarr store at `store` or in memory.

    `client` is a running Dask Client, which is used and left open. `until`, as in "coverage:0.005,bias:1e-4", ends each
    cell once its Monte Carlo errors are that small; the study's replications are then the most. progress: a bar in a
    notebook unless it is False, and on a terminal if it is True. `listen`, `shuffle` and `plan` are as in
    `experiments.running.runner.run`, which says what is raised.

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    >>> store = pp.run(study)
    >>> store.replications
    64
    """
    watch = watch_of(progress)
    settings = {
        "store": store,
        "executor": executor,
        "client": client,
        "shuffle": shuffle,
        "plan": plan,
        "until": until,
    }
    if watch is None:
        return runner.run(study, listen=listen, **settings)  # type: ignore[arg-type]

    def step(now: Step) -> None:
        watch.step(now)
        if listen:
            listen(now)

    with watch:
        return runner.run(study, listen=step, **settings)  # type: ignore[arg-type]
