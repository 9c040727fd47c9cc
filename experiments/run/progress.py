"""Progress of a run: a bar on a terminal, a bar in a notebook, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cluster import Executor
from experiments.run import runner
from experiments.run.places import place_of
from experiments.run.runner import Progress as Step
from experiments.run.runner import ProgressListener
from experiments.study import Study, study_of
from results.store import Store
from results.store.bucket import StorePath
from sim.errors import amount, bad, refuse, type_problems

PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal
SHOWN_EVERY = 0.5  # seconds between pictures of a notebook's bar


class Watch:
    """What all ways of showing progress share; a context around a run that calls `step`."""

    def __init__(self) -> None:
        self.poisoned = 0
        self._begin = time.monotonic()
        self._had = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def step(self, step: Step) -> None:
        """Take note of a step."""
        self.poisoned = step.poisoned
        if self._had < 0:
            self._had, self._begin = step.replications, time.monotonic()
        self.show(step)

    def rate(self, step: Step) -> float:
        """Panels a second since the start."""
        return (step.replications - self._had) / max(time.monotonic() - self._begin, 1e-9)

    def show(self, step: Step) -> None:
        """Show it."""


class Bar(Watch):
    """A bar with rate and time left, for a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        columns = (TextColumn("panels"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
                   TimeRemainingColumn())  # fmt: skip
        self._progress = Progress(*columns, console=console)

    def __enter__(self) -> Self:
        self._task = self._progress.add_task("", rate="", total=None)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, step: Step) -> None:
        """Move the bar."""
        self._progress.update(self._task, total=step.of_replications, completed=step.replications,
                              rate=f"{self.rate(step):,.0f}/s")  # fmt: skip


class Lines(Watch):
    """A plain line at the start, at the end, and every `PLAIN_EVERY` between, also while no block ends."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._newest: Step | None = None
        self._over = threading.Event()
        self._timer = threading.Thread(target=self._keep_saying, name="timer", daemon=True)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._timer.join()

    def _keep_saying(self) -> None:
        while not self._over.wait(PLAIN_EVERY):
            if self._newest is not None:
                self._console.print(line(self._newest, self.rate(self._newest)), markup=False, soft_wrap=True)

    def show(self, step: Step) -> None:
        """Print the first step and the last; the timer prints those between."""
        first, self._newest = self._newest is None, step
        if first or step.blocks == step.of_blocks:
            self._console.print(line(step, self.rate(step)), markup=False, soft_wrap=True)


class Notebook(Watch):
    """A bar of HTML that a notebook draws anew in place; it needs no widgets."""

    _handle: Any = None
    _drawn = 0.0  # when it was drawn last

    def show(self, step: Step) -> None:
        """Draw the bar anew, not too often before all is done."""
        if time.monotonic() - self._drawn < SHOWN_EVERY and step.blocks < step.of_blocks:
            return
        self._drawn = time.monotonic()
        from IPython.display import display  # there is one where there is a notebook

        said = line(step, self.rate(step))
        bar = f'<progress value="{step.replications}" max="{max(step.of_replications, 1)}"></progress> {said}'
        now = {"text/plain": said, "text/html": bar}
        if self._handle is None:
            self._handle = display(now, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(now, raw=True)


def watch_of(progress: bool | None, console: Console | None = None) -> Watch | None:
    """How a run in Python shows its progress: True wherever it is, None in a notebook alone, False nowhere."""
    where = console or Console(stderr=True, highlight=False)
    if progress is False or (progress is None and not where.is_jupyter):
        return None
    if where.is_jupyter:
        return Notebook()
    return Bar(where) if where.is_terminal else Lines(where)


def line(step: Step, rate: float) -> str:
    """How far a run is, in one line; rate: panels a second."""
    parts = [f"{step.replications:,} of {step.of_replications:,} panels", f"{rate:,.0f}/s"]
    left = step.of_replications - step.replications
    if left and rate > 0:
        parts.append(f"{duration(left / rate)} left")
    parts.append(f"{amount(step.failed, 'fit')} failed")
    if step.poisoned:
        parts.append(f"{step.poisoned:,} blocks failed")
    parts.append(f"{size(step.bytes)} of results")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def size(count: float) -> str:
    """Bytes as a person says them."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count = count // 1000 if count >= 100_000 else count / 1000
    return f"{count:.3g} GB"


# `pp.run`: a run that shows how far it is.


def run(
    study: str | Study,
    *,
    store: str | StorePath | None = None,
    client: object = None,
    cluster: str | None = None,
    workers: int | None = None,
    until: str | None = None,
    progress: bool | None = None,
    listen: ProgressListener | None = None,
    **others: Any,
) -> Store:
    """Run what is missing of a study and return its records, in a Zarr store at `store` or in memory.

    study: one of yours, a built-in one by name, or a file.
    `client` is a running Dask Client, which is used and left open. `cluster` starts one with so many `workers`, or
    connects to one, as `panelproof run --cluster` does ("local", "tcp://HOST:PORT"); it is closed at the end.
    `until`, as in "coverage:0.005,bias:1e-4", ends each cell once its Monte Carlo errors are that small; the study's
    replications are then the most. progress: a bar in a
    notebook unless it is False, and on a terminal if it is True. `listen` and
    others (`executor`, `shuffle`, `plan`, `writes`, `numbers`) are as in `experiments.run.runner.run`, which says what
    is raised.

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    >>> store = pp.run(study)
    >>> store.replications
    64
    """
    study, watch = study_of(study), watch_of(progress)
    with nullcontext() if watch is None else watch:
        listeners = [listener for listener in (listen, watch.step if watch else None) if listener is not None]

        def tell(step: Step) -> None:
            for listener in listeners:
                listener(step)

        with opened(cluster, workers, others.pop("executor", None)) as others["executor"]:
            return runner.run(study, store=store, client=client, until=until,
                              listen=tell if listeners else None, **others)  # fmt: skip


@contextmanager
def opened(cluster: str | None, workers: int | None, executor: Executor | None = None) -> Iterator[Executor | None]:
    """The executor that is given, or that of a cluster, which is closed at the end; None where neither is named.

    Raises BadInput for both, for a cluster that there is not, and for workers without one.
    """
    if cluster is None:
        if workers is not None:
            raise bad(f"workers = {workers} without a cluster", where="pp.run", allowed='cluster = "local" beside it',
                      remedy="name the cluster, or leave workers out")  # fmt: skip
        yield executor
        return
    if executor is not None:
        raise bad("cluster and executor are both given", where="pp.run", allowed="one of them", remedy="leave one out")
    refuse(type_problems(cluster, str, "cluster", where="pp.run", allowed='a text, such as "local"'))
    made = place_of(cluster, workers).open()
    try:
        yield made
    finally:
        made.close()
