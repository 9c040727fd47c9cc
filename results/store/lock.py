"""One run at a time on a store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sim.errors import bad


class StoreLocked(RuntimeError):
    """Another run holds the store."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the store's lock (flock: it dies with its holder); raises StoreLocked when another run has it."""
    lock = FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreLocked(f"{path} is in use by another run; wait for it or stop it") from error
    except OSError as error:
        raise bad(f"cannot be written: {error.strerror or error}", where=str(path),
                  allowed="a store in a writable folder", remedy="choose another --store") from error  # fmt: skip
    try:
        for leftover in path.parent.glob(f".{path.name}.*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        lock.release()
