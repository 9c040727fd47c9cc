"""Temporary folders in which a store is made before it takes its place: beside it, so that it can be renamed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from results.store.bucket import ObjectPath, StorePath
from sim.errors import bad


@contextmanager
def beside(path: StorePath) -> Iterator[Path]:
    """A temporary folder beside a store, which `locked` sweeps after a kill; raises BadInput where none can be.

    For a store in an object store it lies where this machine keeps temporary files.
    """
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    real = path.resolve()  # where a symbolic link leads to
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{real.name}.", suffix=".partial", dir=real.parent))
    except OSError as error:
        raise bad(f"cannot be written: {error.strerror}", where=str(path), allowed="a writable folder",
                  remedy="choose another --store") from error  # fmt: skip
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
