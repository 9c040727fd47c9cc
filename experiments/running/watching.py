"""Progress of a run: a bar on a terminal, and a line every ten seconds where there is none."""

from __future__ import annotations

import threading
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Columns

from experiments.running.runner import Progress

EVERY_SECONDS = 10.0  # between lines where there is no terminal


class Watch:
    """What both ways of showing progress share; `step` listens to a run."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.poisoned = 0
        self._begin = time.monotonic()
        self._had = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing more is shown."""

    def step(self, step: Progress) -> None:
        """Take note of a step."""
        self.poisoned = step.poisoned
        if self._had < 0:
            self._had, self._begin = step.replications, time.monotonic()
        self.shown(step)

    def rate(self, step: Progress) -> float:
        """Panels a second since the start."""
        return (step.replications - self._had) / max(time.monotonic() - self._begin, 1e-9)

    def shown(self, step: Progress) -> None:
        """Show it."""


class Bar(Watch):
    """A bar with rate and time left, for a terminal."""

    def __enter__(self) -> Self:
        columns = (TextColumn("panels"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
                   TimeRemainingColumn())  # fmt: skip
        self._progress = Columns(*columns, console=self.console)
        self._task = self._progress.add_task("", rate="", total=None)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def shown(self, step: Progress) -> None:
        """Move the bar."""
        self._progress.update(self._task, total=step.of_replications, completed=step.replications,
                              rate=f"{self.rate(step):,.0f}/s")  # fmt: skip


class Lines(Watch):
    """A plain line at the start, at the end, and every `EVERY_SECONDS` between, also while no block ends."""

    def __enter__(self) -> Self:
        self._last: Progress | None = None
        self._over = threading.Event()
        self._timer = threading.Thread(target=self._keep_saying, name="timer", daemon=True)
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._timer.join()

    def _keep_saying(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            if self._last is not None:
                self._say(self._last)

    def shown(self, step: Progress) -> None:
        """Say the first step and the last; the timer says those between."""
        first, self._last = self._last is None, step
        if first or step.blocks == step.of_blocks:
            self._say(step)

    def _say(self, step: Progress) -> None:
        self.console.print(line(step, self.rate(step)), markup=False, soft_wrap=True)


def line(step: Progress, rate: float) -> str:
    """How far a run is, in one line; rate: panels a second."""
    parts = [f"{step.replications:,} of {step.of_replications:,} panels", f"{rate:,.0f}/s"]
    left = step.of_replications - step.replications
    if left and rate > 0:
        parts.append(f"{duration(left / rate)} left")
    parts.append(f"{step.failed:,} fits failed")
    if step.poisoned:
        parts.append(f"{step.poisoned:,} blocks failed")
    parts.append(f"{size(step.bytes)} of results")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def size(count: float) -> str:
    """Bytes as a person says them."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count = count // 1000 if count >= 100_000 else count / 1000
    return f"{count:.3g} GB"
