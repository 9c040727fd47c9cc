"""One run at a time on a store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


class StoreLocked(RuntimeError):
    """Another run holds the store."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the store's lock (flock: it dies with its holder); raises StoreLocked when another run has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreLocked(f"{path} is in use by another run; wait for it or stop it") from error
    try:
        for leftover in path.parent.glob(f".{path.name}.*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        lock.release()
