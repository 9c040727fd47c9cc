"""`pp.run`: a run that shows how far it is."""

from __future__ import annotations

from contextlib import nullcontext

from cluster import Executor
from experiments.running import runner
from experiments.running.progress import watch_of
from experiments.running.resume import Resume
from experiments.running.runner import Listener
from experiments.running.runner import Progress as Step
from experiments.study.study import Study
from results.store import Store
from results.store.bucket import StorePath


def run(
    study: Study,
    *,
    store: str | StorePath | None = None,
    executor: Executor | None = None,
    client: object = None,
    listen: Listener | None = None,
    shuffle: int | None = None,
    plan: Resume | None = None,
    until: str | None = None,
    writes: str | None = None,
    numbers: str | None = None,
    progress: bool | None = None,
) -> Store:
    """Run what is missing of a study and return its records, in a Zarr store at `store` or in memory.

    `client` is a running Dask Client, which is used and left open. `until`, as in "coverage:0.005,bias:1e-4", ends each
    cell once its Monte Carlo errors are that small; the study's replications are then the most. progress: a bar in a
    notebook unless it is False, and on a terminal if it is True. `listen`, `shuffle`, `plan`, `writes` and `numbers`
    are as in `experiments.running.runner.run`, which says what is raised.

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    >>> store = pp.run(study)
    >>> store.replications
    64
    """
    watch = watch_of(progress)
    with nullcontext() if watch is None else watch:
        listen = _all(listen, watch.step if watch else None)
        return runner.run(study, store=store, executor=executor, client=client, shuffle=shuffle, plan=plan, until=until,
                          writes=writes, numbers=numbers, listen=listen)  # fmt: skip


def _all(*listeners: Listener | None) -> Listener | None:
    """One listener that tells all that there are."""
    there = [listener for listener in listeners if listener is not None]

    def tell(step: Step) -> None:
        for listener in there:
            listener(step)

    return tell if there else None
