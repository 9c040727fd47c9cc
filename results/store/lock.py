"""One run at a time on a store: a locked file beside a folder, a lease (`results.store.lease`) in an object store."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from results.store.bucket import ObjectPath, StorePath
from results.store.lease import StoreLocked, leased
from results.store.place import check_place
from results.store.plain_files import LINK, check_own, not_ours, open_beside, read_plain
from sim.errors import BadInput, bad

SUFFIX = ".lock"  # of its name
MOST_BYTES = 1 << 12  # that are read of its file


@contextmanager
def locked(path: StorePath) -> Iterator[Callable[[], None]]:
    """Hold the store's lock; raises StoreLocked when another run has it.

    Yields what raises StoreLocked as soon as another run has taken the lock over, as can happen in an object store.
    """
    check_place(path)
    if isinstance(path, ObjectPath):
        with leased(path, path.with_name(f"{path.name}{SUFFIX}")) as check:
            path.with_name(f".{path.name}.token").unlink()  # of a killed run whose workers wrote
            yield check
        return
    with _flocked(path):
        yield lambda: None


@contextmanager
def _flocked(path: Path) -> Iterator[None]:
    """Hold the lock of a store in a folder (flock: it dies with its holder).

    The lock belongs to the place that the path leads to, through whatever symbolic links. Its file stands beside the
    store and is removed at the end.
    """
    real = path.resolve()
    file = real.with_name(f"{real.name}{SUFFIX}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquired(file)
    except BlockingIOError as error:
        raise StoreLocked(
            f"{path} is in use by another run{_holder(file)}; wait for that run or stop it. If it no "
            f"longer runs, which a network file system may not notice, remove {file}"
        ) from error
    except OSError as error:
        raise bad(f"cannot be written: {error.strerror or error}", where=str(path),
                  allowed="a store in a writable folder", remedy="choose another --store") from error  # fmt: skip
    try:
        if os.path.lexists(set_aside(real)):
            _put_back(real)
        for leftover in real.parent.glob(f".{real.name}.*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        real.with_name(f".{real.name}.token").unlink(missing_ok=True)  # of a killed run whose workers wrote
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink()  # before the lock is released: who holds a lock owns its file
        os.close(descriptor)


def check_free(path: StorePath) -> None:
    """Raise StoreLocked when another run holds the store; writes nothing where there is no lock."""
    real = path.resolve()
    if isinstance(real, ObjectPath):
        held = real.with_name(f"{real.name}{SUFFIX}").is_file()
    else:
        held = os.path.lexists(real.with_name(f"{real.name}{SUFFIX}"))
    if held:
        with locked(path):
            return


def set_aside(real: Path) -> Path:
    """Where a store stands while another takes its place."""
    return real.with_name(f".{real.name}.replaced")


def _put_back(real: Path) -> None:
    """After a kill between two renames: the store that was set aside returns, or goes if the new one is in place."""
    if set_aside(real).is_symlink():
        raise not_ours(set_aside(real), LINK)
    if real.exists():
        shutil.rmtree(set_aside(real), ignore_errors=True)
    else:
        os.rename(set_aside(real), real)


def _acquired(file: Path) -> int:
    """The descriptor of a locked file that still has its name; raises BlockingIOError when another holds the lock.

    Between opening and locking, the holder before us may have removed the file: then the lock is on a file that nobody
    else can find, and it is made anew.
    """
    while True:
        descriptor = open_beside(file, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(descriptor, file):
                check_own(descriptor, file)
                _say_who(descriptor)
                return descriptor
        except (OSError, BadInput):
            os.close(descriptor)
            raise
        os.close(descriptor)


def _say_who(descriptor: int) -> None:
    """Write into a lock's file who holds it; a full disk must not keep a run from beginning to say so itself."""
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(
            descriptor, json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": since}).encode(), 0
        )


def _holder(file: Path) -> str:
    """Who holds a lock, in words; "" where its file does not say it (yet)."""
    try:
        held = json.loads(read_plain(file, MOST_BYTES).decode("utf-8"))
        return f" (process {int(held['pid'])} on {str(held['host'])[:80]!s}, since {str(held['since'])[:40]})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _same_file(descriptor: int, file: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(file))
    return False
