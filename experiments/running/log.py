"""The log of runs into a store: a file of JSON lines beside it, outside the promise of equal bytes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import IO, Any

from results.store.bucket import StorePath
from results.store.plain_files import check_own, open_beside, read_plain

SUFFIX = ".log.jsonl"


class RunLog:
    """Appends one line an event: start, commit, again, left, poisoned, end; threads take turns.

    commit: a block is on the disk. again: a block was computed once more, and why. left: a worker went.

    A line is handed to the system before the run goes on, so that it survives a kill. A full disk ends the log, not the
    run.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream
        self._turn = Lock()

    def say(self, event: str, **facts: Any) -> None:
        """One event with what belongs to it."""
        if self._stream is None:
            return
        line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        with self._turn:
            try:
                self._stream.write(json.dumps(line) + "\n")
                self._stream.flush()
            except OSError:
                self._stream = None


@contextmanager
def logged(store: StorePath, **facts: Any) -> Iterator[RunLog]:
    """The log of a run into a store, with its start and how it ended."""
    stream = None
    if isinstance(store, Path):  # object stores cannot append
        with contextlib.suppress(OSError):
            stream = _opened(log_of(store))
    log = RunLog(stream)
    log.say("start", pid=os.getpid(), **facts)
    try:
        yield log
    except BaseException as error:
        log.say("end", how=type(error).__name__, why=str(error))
        raise
    else:
        log.say("end", how="done")
    finally:
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _opened(file: Path) -> IO[str]:
    """A log, to append to; raises BadInput where it is a link, a pipe or another user's.

    A power cut can leave a part of a line, or zeros, at its end.
    """
    descriptor = open_beside(file, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        check_own(descriptor, file)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")
    except BaseException:
        os.close(descriptor)
        raise
    return open(descriptor, "a", encoding="utf-8")


def log_of(store: Path) -> Path:
    """Where the log of a store is."""
    real = store.resolve()
    return real.with_name(f"{real.name}{SUFFIX}")


def read_log(store: Path) -> list[dict[str, Any]]:
    """The events of all runs into a store, in order; what a kill or a power cut left of a line is left out."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for line in read_plain(log_of(store)).decode("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
    return found
