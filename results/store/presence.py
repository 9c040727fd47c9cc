"""Whether the store that a run writes into is still there and still the same one, looked at before each mark.

A run keeps the folder of its store open. Its file system gives the number of an open folder to no other, so the place
that the path leads to is the run's own as long as device and inode agree; the system also says where an open folder
stands by now. Inside it, the root's metadata, which hold the study and a digest over it, must be those of the start.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from results.store.bucket import ObjectPath, StorePath
from results.store.tree import META

ASKED_EVERY = 10.0  # seconds between two questions to an object store, which each cost a request
KEPT = "what was finished there is kept"


class StoreGone(RuntimeError):
    """A run's store was removed, moved or replaced while the run wrote into it."""


@contextmanager
def present(path: StorePath) -> Iterator[Callable[[], None]]:
    """Watch a store that is there; yields what raises StoreGone as soon as the path leads to it no longer."""
    if isinstance(path, ObjectPath):
        yield _Objects(path).check
        return
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield _Folder(path, folder).check
    finally:
        os.close(folder)


class _Folder:
    """A store in a folder, which is held open."""

    def __init__(self, path: Path, folder: int) -> None:
        self._path, self._folder = path, folder
        self._seen = self._look()
        self._held = self._read()

    def check(self) -> None:
        """Raise StoreGone unless folder and metadata are those of the start."""
        try:
            there = os.stat(self._path)
        except OSError as error:
            raise StoreGone(f"{self._path} {self._fate(error)}") from error
        if not os.path.samestat(there, os.fstat(self._folder)):
            raise StoreGone(f"{self._path} is another folder than the one that this run writes into, which "
                            f"{self._whereabouts() or 'was removed'}")  # fmt: skip
        try:
            if (seen := self._look()) == self._seen:
                return
            held = self._read()
        except OSError as error:
            raise StoreGone(f"{self._path} was emptied: its {META} is gone") from error
        if held != self._held:
            raise StoreGone(f"{self._path} was overwritten: its {META} is not the one that this run found")
        self._seen = seen  # the same bytes, written again

    def _look(self) -> tuple[int, int, int, int]:
        seen = os.stat(META, dir_fd=self._folder)
        return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns

    def _read(self) -> bytes:
        with open(os.open(META, os.O_RDONLY, dir_fd=self._folder), "rb") as file:
            return file.read()

    def _fate(self, error: OSError) -> str:
        """What became of a store that the path does not lead to."""
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            return f"cannot be reached: {error.strerror}"
        return self._whereabouts() or "was removed while this run wrote into it"

    def _whereabouts(self) -> str:
        """Where the folder stands by now; "" where it has no place any more, or the system does not say."""
        try:
            now = Path(os.readlink(f"/proc/self/fd/{self._folder}"))
            if os.path.samestat(os.stat(now), os.fstat(self._folder)):
                return f"was moved to {now} while this run wrote into it; {KEPT}, and --store {now} resumes it"
        except OSError:
            pass
        return ""


class _Objects:
    """A store in an object store, asked for now and then."""

    def __init__(self, path: ObjectPath) -> None:
        self._path, self._root = path, replace(path, key=f"{path.key}/{META}")
        self._seen, self._asked = self._look(), time.monotonic()

    def check(self) -> None:
        """Raise StoreGone unless the root's metadata are those of the start."""
        if time.monotonic() - self._asked < ASKED_EVERY:
            return
        seen = self._look()
        if seen != self._seen:
            raise StoreGone(f"{self._path} was {'removed' if seen is None else 'overwritten'} while this run wrote "
                            "into it")  # fmt: skip
        self._asked = time.monotonic()

    def _look(self) -> Any:
        found = self._root.head()
        return None if found is None else (found.get("e_tag"), found.get("size"))
