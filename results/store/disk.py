"""Files on a disk: opened safely, and flushed so that a power cut leaves them.

Files that are files: no link is followed, no pipe or device is opened, and what a run writes to is its user's own.

In a folder that others may write, a link could lead a run to any file that it may overwrite, and a pipe would make a
reader wait for ever. Folders are entered one by one from the root of a store, each without following a link.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results.store.bucket import ObjectPath, StorePath
from sim.errors import BadInput, bad

PLAIN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe is opened without waiting, and then seen
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
LINK, PIPE = "is a link, which is not followed", "is no file"
READ = 1 << 20  # bytes at once; a plain file gives fewer only at its end
STALE = 3600.0  # seconds after which what a killed process left beside its files is removed
TRIES = 8  # to enter a folder that another writer makes at the same time


class NotPlain(OSError):
    """A link, a pipe, a device or a folder in the place of a file; or a name that leads out of a store."""


def is_inside(name: object) -> bool:
    """Whether a name of parts with "/" between stays below the folder that it is taken from."""
    if not isinstance(name, str) or "\\" in name or not name.isprintable():
        return False
    return all(part not in {"", ".", ".."} for part in name.split("/"))


def read_plain(path: str | Path, most: int = -1) -> bytes:
    """What a file holds, or its first bytes; raises NotPlain for all that is no plain file."""
    descriptor = open_plain(path, os.O_RDONLY)
    try:  # four calls of the system a file: a store has many
        held = os.read(descriptor, READ if most < 0 else most)
        while len(held) >= READ and most < 0 and (more := os.read(descriptor, len(held))):
            held += more
        return held
    finally:
        os.close(descriptor)


def open_plain(path: str | Path, flags: int, at: int | None = None) -> int:
    """The descriptor of a plain file, of an open folder where `at` is one; raises NotPlain for all that is none.

    One that is made can be read by others, and written by its owner alone.
    """
    try:
        descriptor = os.open(path, flags | PLAIN, 0o644, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a pipe or socket without a reader
            raise NotPlain(error.errno, LINK if error.errno == errno.ELOOP else PIPE, str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPlain(errno.EINVAL, PIPE, str(path))
    return descriptor


def open_beside(path: Path, flags: int) -> int:
    """The descriptor of a file that a run keeps beside its store; raises BadInput where a link or a pipe is there."""
    try:
        return open_plain(path, flags)
    except NotPlain as error:
        raise not_ours(path, str(error.strerror)) from error


def check_own(descriptor: int, path: Path) -> None:
    """Raise BadInput for a file of another user, and for one that has another name too: it may be any file."""
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        raise not_ours(path, f"belongs to user {found.st_uid}")
    if found.st_nlink > 1:
        raise not_ours(path, "has another name too")


def check_own_folder(path: Path) -> None:
    """Raise BadInput for what is no folder of this user, FileNotFoundError where there is none."""
    found = os.lstat(path)
    what = LINK if stat.S_ISLNK(found.st_mode) else "" if stat.S_ISDIR(found.st_mode) else "is no folder"
    if what or found.st_uid != os.geteuid():
        raise not_ours(path, what or f"belongs to user {found.st_uid}")


def not_ours(path: Path, what: str) -> BadInput:
    """Bad input: what a file beside a store is that a run would write to."""
    return bad(f"{what}, and a run writes into it", where=str(path), allowed="a plain file of your own",
               remedy="find out who put it there, and remove it")  # fmt: skip


def write_beside(path: Path, data: bytes) -> None:
    """Write and flush a new file of its owner alone in the place of whatever has this name; no link is followed."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def unwritable(folder: Path) -> str:
    """Why a folder, which need not exist yet, could not be written; "" where it could."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        return f"{there.name} is a file"
    return "" if os.access(there, os.W_OK | os.X_OK) else "permission denied, or a read-only disk"


def check_folder(folder: Path, remedy: str = "choose another --out") -> None:
    """Raise BadInput, before any work and without making it, for a folder that could not be written."""
    if reason := unwritable(folder):
        raise bad(f"cannot be written: {reason}", where=str(folder), allowed="a writable folder",
                  remedy=remedy)  # fmt: skip


def write_whole(folder: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    """Write files by their names into a folder, and return where they are.

    All are beside their places before the first is put into its own, and nothing is left behind when one fails: what is
    raised then, an OSError, names the file. What a killed process left beside them long ago goes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("*.partial"):
        with contextlib.suppress(OSError):  # another may be first, or own it
            if re.fullmatch("[0-9a-f]{16}", left.stem) and time.time() - left.lstat().st_mtime > STALE:
                left.unlink()
    waiting: dict[str, str] = {}
    if taken := [name for name in files if (folder / name).is_dir()]:
        raise IsADirectoryError(errno.EISDIR, f"{taken[0]} is a folder", str(folder / taken[0]))
    try:
        for name, content in files.items():
            waiting[name] = str(folder / f"{secrets.token_hex(8)}.partial")
            with open(waiting[name], "xb") as file:  # others may read it as umask says
                file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        for name in list(waiting):
            os.replace(waiting[name], folder / name)
            del waiting[name]
    except OSError as error:
        error.filename, error.filename2 = str(folder / next(reversed(waiting), "")), None
        raise
    finally:
        for path in waiting.values():
            Path(path).unlink(missing_ok=True)
    return [folder / name for name in files]


@contextmanager
def folder_inside(root: Path | int, parts: Sequence[str], *, make: bool) -> Iterator[int]:
    """The descriptor of a folder below another, entered without following a link.

    root: a path, or a folder that is held open. make: a folder below root is made where there is none, and in the place
    of a link or a file; root never is. Without it raises FileNotFoundError and NotADirectoryError.
    """
    descriptor = os.dup(root) if isinstance(root, int) else os.open(root, FOLDER)
    try:
        for part in parts:
            inner = _entered(part, descriptor, make=make)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _entered(part: str, at: int, *, make: bool) -> int:
    for _ in range(TRIES if make else 1):
        try:
            return os.open(part, FOLDER | os.O_NOFOLLOW, dir_fd=at)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP) or not make:
                raise
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(part, dir_fd=at)
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, dir_fd=at)
    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), part)


def replace_inside(fresh: str, name: str, at: int) -> None:
    """Rename a file of a folder to a name there, also where a folder has that name."""
    try:
        os.replace(fresh, name, src_dir_fd=at, dst_dir_fd=at)
    except IsADirectoryError:
        shutil.rmtree(name, dir_fd=at)
        os.replace(fresh, name, src_dir_fd=at, dst_dir_fd=at)


def walked(
    root: Path, under: str = "", instead: Callable[[str], Sequence[str] | None] = lambda _: None
) -> Iterator[tuple[str, str]]:
    """(name, what is wrong with it) of all below a folder but plain folders; "" of a plain file.

    instead: the files that are named of a folder without looking into it; None where it is looked into.
    """
    try:
        found = sorted(os.scandir(os.path.join(root, under)), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        name = f"{under}/{entry.name}" if under else entry.name
        if entry.is_dir(follow_symlinks=False):
            known = instead(name)
            yield from walked(root, name, instead) if known is None else ((file, "") for file in known)
        elif entry.is_file(follow_symlinks=False):
            yield name, ""
        else:
            yield name, LINK if entry.is_symlink() else PIPE


# What is on the disk, and not in the memory of the system alone: the rest is gone after a power cut.
#
# A system keeps what is written in memory for some seconds, and brings it to the disk in an order of its own. A
# file that was written, renamed and never flushed can be absent after a power cut, or be there with some of its
# bytes or none, although others that were written after it are whole. So a file that another one relies on is
# flushed before that one is written, and a block is acknowledged after it is flushed.
#
# `syncfs` of Linux flushes all of a file system at once, what other programs wrote included; it takes some
# milliseconds where one `fsync` a file takes as long for each. Elsewhere files and folders are flushed one by one.


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
