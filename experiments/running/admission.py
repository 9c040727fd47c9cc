"""Which workers may compute a study: those that are like the client. The others are named, with what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cluster import Environment, Executor, Serial
from cluster.guarded import Guarded
from experiments.running.tasks import BY_VALUE, environment_of
from experiments.study.study import Study


@dataclass(frozen=True, slots=True)
class Asked:
    """A worker, and why it may not compute; "" where it may. code_alone: its code is all that differs."""

    worker: Any
    why: str
    code_alone: bool


def ask(pool: Any, here: Environment) -> list[Asked]:
    """Every worker of a pool of Dask, held against this process."""
    from cluster.survey import survey

    packages, modules = [name for name, _ in here.packages], [name for name, _ in here.code if name != BY_VALUE]
    return [_judged(worker, here) for worker in survey(pool, packages, modules)]


def _judged(worker: Any, here: Environment) -> Asked:
    found = worker.environment
    if found is None:
        return Asked(worker, worker.why, code_alone="no module" in worker.why)
    missing = [name for name, digest in found.code if not digest and dict(here.code).get(name)]
    if missing and found.differs_in_code_alone(here):
        names = ", ".join(missing)
        return Asked(
            worker, f"it has no module {names}, which the study needs: install it there, or say --ship-code", True
        )
    differences = found.differences(here)
    why = f"a worker differs from the client: {', '.join(differences)}; {found.remedy(here)}" if differences else ""
    return Asked(worker, why, found.differs_in_code_alone(here))


def admit(executor: Executor, study: Study, *, ship: bool, any_numbers: bool = False) -> None:
    """Leave workers out that are not like this process; ship: send them the code first, where only that differs.

    any_numbers: their numbers may differ from those of this process in the last digits. Raises WorkerRefused when none
    is left. An executor that is this machine's own processes has nothing to ask.
    """
    if isinstance(executor, Serial | Guarded):  # without Dask, which takes long to load
        return
    from cluster.dask_pool import DaskPool

    if not isinstance(executor, DaskPool):
        return
    here = environment_of(study)
    here = here.of_any_numbers if any_numbers else here
    found = ask(executor, here)
    if ship and any(item.why and item.code_alone for item in found):
        send(executor, here)
        found = ask(executor, here)
    for item in found:
        if item.why:
            executor.refuse(item.worker.address, item.why)


def send(pool: Any, here: Environment) -> None:
    """Send the code of this process to all workers."""
    from cluster.shipping import ship

    size = ship(pool.client, [name for name, _ in here.code if name != BY_VALUE])
    pool.say(f"sent {size / 1e6:.1f} MB of code to the workers")
