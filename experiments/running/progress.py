"""Progress of a run: a bar on a terminal, a bar in a notebook, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.running.runner import Progress as Step

PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal
SHOWN_EVERY = 0.5  # seconds between pictures of a notebook's bar


class Watch:
    """What all ways of showing progress share; a context around a run that calls `step`."""

    def __init__(self) -> None:
        self.poisoned = 0
        self._begin = time.monotonic()
        self._had = -1
        self._last = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def step(self, step: Step) -> None:
        """Take note of a step."""
        self.poisoned = step.poisoned
        if self._had < 0:
            self._had, self._begin = step.replications, time.monotonic()
        self.shown(step)

    def rate(self, step: Step) -> float:
        """Panels a second since the start."""
        return (step.replications - self._had) / max(time.monotonic() - self._begin, 1e-9)

    def said(self, step: Step) -> str:
        """How far it is, in words."""
        return f"{step.replications:,} of {step.of_replications:,} panels, {self.rate(step):,.0f}/s"

    def due(self, step: Step, seconds: float) -> bool:
        """Whether so many seconds have passed since it was last due, or all is done."""
        now = time.monotonic()
        if now - self._last < seconds and step.blocks < step.of_blocks:
            return False
        self._last = now
        return True

    def shown(self, step: Step) -> None:
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

    def shown(self, step: Step) -> None:
        """Move the bar."""
        self._progress.update(self._task, total=step.of_replications, completed=step.replications,
                              rate=f"{self.rate(step):,.0f}/s")  # fmt: skip


class Lines(Watch):
    """A plain line now and then, for logs."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def shown(self, step: Step) -> None:
        """Print a line when one is due."""
        if self.due(step, PLAIN_EVERY):
            self._console.print(self.said(step), markup=False)


class Notebook(Watch):
    """A bar of HTML that a notebook draws anew in place; it needs no widgets."""

    _handle: Any = None

    def shown(self, step: Step) -> None:
        """Draw the bar anew when it is due."""
        if not self.due(step, SHOWN_EVERY):
            return
        from IPython.display import display  # there is one where there is a notebook

        now = Drawn(step.replications, step.of_replications, self.said(step))
        if self._handle is None:
            self._handle = display(now, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(now)


class Drawn:
    """One state of a notebook's bar."""

    def __init__(self, done: int, wanted: int, said: str) -> None:
        self.done, self.wanted, self.said = done, wanted, said

    def __repr__(self) -> str:
        return self.said

    def _repr_html_(self) -> str:
        return f'<progress value="{self.done}" max="{max(self.wanted, 1)}"></progress> {self.said}'


def watch_of(progress: bool | None, console: Console | None = None) -> Watch | None:
    """How a run in Python shows its progress: True wherever it is, None in a notebook alone, False nowhere."""
    where = console or Console(stderr=True, highlight=False)
    if progress is False or (progress is None and not where.is_jupyter):
        return None
    if where.is_jupyter:
        return Notebook()
    return Bar(where) if where.is_terminal else Lines(where)
