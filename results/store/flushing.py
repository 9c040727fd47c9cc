"""What is on the disk, and not in the memory of the system alone: the rest is gone after a power cut.

A system keeps what is written in memory for some seconds, and brings it to the disk in an order of its own. A file that
was written, renamed and never flushed can be absent after a power cut, or be there with some of its bytes or none,
although others that were written after it are whole. So a file that another one relies on is flushed before that one is
written, and a block is acknowledged after it is flushed.

`syncfs` of Linux flushes all of a file system at once, what other programs wrote included; it takes some milliseconds
where one `fsync` a file takes as long for each. Elsewhere files and folders are flushed one by one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results.store.bucket import ObjectPath, StorePath
from results.store.plain_files import FOLDER, PLAIN, walked

SYNCFS = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
LEAST_PAUSE, MOST_PAUSE = 0.5, 30.0  # seconds between two flushes of a run
COST = 1 / 50  # of a run's time that its flushes may take
CLOCK = 2.0  # seconds by which times of files may lag behind the clock
NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP)  # of file systems that keep no names to flush


def flush(place: Path) -> None:
    """Have all below a folder on the disk; raises OSError where the disk fails or is full."""
    descriptor = os.open(place, FOLDER)
    try:
        _flush(descriptor, place, 0.0)
    finally:
        os.close(descriptor)


def _flush(descriptor: int, place: Path, since: float) -> None:
    """Have what was written below an open folder since a time on the disk."""
    if SYNCFS is not None:
        if SYNCFS(descriptor) == 0:
            return
        if (failed := ctypes.get_errno()) != errno.ENOSYS:
            raise OSError(failed, os.strerror(failed), str(place))
    found = (name for name, what in walked(place) if not what)
    flush_files(place, [name for name in found if _changed(place / name) >= since - CLOCK])


def _changed(file: Path) -> float:
    """When a file was last written or renamed; 0 of one that is not there."""
    try:
        return os.lstat(file).st_ctime
    except FileNotFoundError:  # it was renamed meanwhile, and belongs to a later block
        return 0.0


def flush_files(root: Path, names: Iterable[str]) -> None:
    """Have some files below a folder on the disk, with the names of all folders on the way to them."""
    folders = {root}
    for file in [root / name for name in names]:
        with contextlib.suppress(FileNotFoundError):
            _flush_one(file, os.O_RDONLY | PLAIN)
        folders.update(folder for folder in file.parents if folder.is_relative_to(root))
    for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
        _flush_one(folder, FOLDER)


def flush_names(folder: Path) -> None:
    """Have the names in a folder on the disk, and those of the folders above it on the same file system."""
    device = os.stat(folder).st_dev
    for above in (folder, *folder.parents):
        if os.stat(above).st_dev != device:
            return
        with contextlib.suppress(PermissionError):  # its owner made it, not this run
            _flush_one(above, FOLDER)


def _flush_one(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        flush_open(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)


def flush_open(descriptor: int) -> None:
    """Have what was written to an open file, or the names in an open folder, on the disk."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDERS:
            raise


@contextmanager
def acknowledged(path: StorePath, tell: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """Tell of each block of a store once it is on the disk.

    Yields what takes the facts of a block that was written, and hands them to `tell` after the next flush, in a thread.
    At the end the rest is flushed. Both raise OSError when a flush failed: then nothing more is told. What was put into
    an object store is there.
    """
    if isinstance(path, ObjectPath):
        yield tell
        return
    folder = os.open(path, FOLDER)  # a failure to write is told to who held the file system open at that time
    flusher = _Flusher(path, folder, tell)
    try:
        yield flusher.written
    except BaseException:
        with contextlib.suppress(OSError):  # the run has another reason to end
            flusher.end()
        raise
    else:
        flusher.end()
    finally:
        os.close(folder)


class _Flusher:
    """A thread that flushes what was written, as seldom as keeps its share of a run's time small."""

    def __init__(self, path: Path, folder: int, tell: Callable[..., None]) -> None:
        self._path, self._folder, self._tell = path, folder, tell
        self._written: deque[dict[str, Any]] = deque()
        self._flushed = 0.0  # when the last flush began
        self._failed: OSError | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="flusher", daemon=True)
        self._thread.start()

    def written(self, **facts: Any) -> None:
        """Take what is told of a block after the next flush."""
        if self._failed is not None:
            raise self._failed
        self._written.append(facts)

    def end(self) -> None:
        """Flush and tell the rest."""
        self._ending.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed
        self._pass()

    def _work(self) -> None:
        pause = LEAST_PAUSE
        while not self._ending.wait(pause):
            try:
                pause = min(max(LEAST_PAUSE, self._pass() / COST), MOST_PAUSE)
            except OSError as error:
                self._failed = error
                return

    def _pass(self) -> float:
        """Flush and tell what was written before; returns the seconds of the flush."""
        count = len(self._written)  # what comes meanwhile is for the next one
        if not count:
            return 0.0
        begin, now = time.perf_counter(), time.time()
        _flush(self._folder, self._path, self._flushed)
        seconds, self._flushed = time.perf_counter() - begin, now
        for _ in range(count):
            self._tell(**self._written.popleft())
        return seconds
