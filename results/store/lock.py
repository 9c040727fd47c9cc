"""One run at a time on a store: it holds a lease (`results.store.lease`), and of a folder a locked file beside it too.

The file (flock) dies with its holder, and refuses a second run on one machine at once. Other machines may not see it,
and some file systems have none; and a store that is mounted elsewhere has another folder beside it. The lease lies in
the store, so that whatever path leads to the store, its writer is seen.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from results.store.bucket import ObjectPath, StorePath
from results.store.disk import LINK, check_own, not_ours, open_beside, read_plain, walked
from results.store.files import check_place
from results.store.lease import InFolder, InObjects, Lease, StoreLocked, Tell, this_holder
from results.store.tree import META, Folder
from sim.errors import BadInput, bad

# Whether the store that a run writes into is still there and still the same one, looked at before each mark.
#
# A run keeps the folder of its store open. Its file system gives the number of an open folder to no other, so the
# place that the path leads to is the run's own as long as device and inode agree; the system also says where an
# open folder stands by now. Inside it, the root's metadata, which hold the study and a digest over it, must be
# those of the start.


ASKED_EVERY = 10.0  # seconds between two questions to an object store, which each cost a request
KEPT = "what was finished there is kept"


class StoreGone(RuntimeError):
    """A run's store was removed, moved or replaced while the run wrote into it."""


@contextmanager
def present(path: StorePath) -> Iterator[Callable[[], None]]:
    """Watch a store that is there; yields what raises StoreGone as soon as the path leads to it no longer."""
    if isinstance(path, ObjectPath):
        yield _watch_objects(path)
        return
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield _watch_folder(path, folder)
    finally:
        os.close(folder)


def _watch_folder(path: Path, folder: int) -> Callable[[], None]:
    """What raises StoreGone unless the folder of a store, which is held open, and its metadata are as now."""

    def look() -> tuple[int, int, int, int]:
        seen = os.stat(META, dir_fd=folder)
        return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns

    def read() -> bytes:
        with open(os.open(META, os.O_RDONLY, dir_fd=folder), "rb") as file:
            return file.read()

    known, first = look(), read()

    def check() -> None:
        nonlocal known
        try:
            there = os.stat(path)
        except OSError as error:
            fate = f"cannot be reached: {error.strerror}"
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                fate = _whereabouts(folder) or "was removed while this run wrote into it"
            raise StoreGone(f"{path} {fate}") from error
        if not os.path.samestat(there, os.fstat(folder)):
            raise StoreGone(f"{path} is another folder than the one that this run writes into, which "
                            f"{_whereabouts(folder) or 'was removed'}")  # fmt: skip
        try:
            if (seen := look()) == known:
                return
            held = read()
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            fate = f"was emptied: its {META} is gone" if gone else f"cannot be reached: {error.strerror}"
            raise StoreGone(f"{path} {fate}") from error
        if held != first:
            raise StoreGone(f"{path} was overwritten: its {META} is not the one that this run found")
        known = seen  # the same bytes, written again

    return check


def _whereabouts(folder: int) -> str:
    """Where an open folder stands by now; "" where it has no place any more, or the system does not say."""
    try:
        now = Path(os.readlink(f"/proc/self/fd/{folder}"))
        if os.path.samestat(os.stat(now), os.fstat(folder)):
            return f"was moved to {now} while this run wrote into it; {KEPT}, and --store {now} resumes it"
    except OSError:
        pass
    return ""


def _watch_objects(path: ObjectPath) -> Callable[[], None]:
    """What raises StoreGone unless the root's metadata in an object store, asked for now and then, are as now."""
    root = replace(path, key=f"{path.key}/{META}")
    first, asked = root.head(), time.monotonic()

    def check() -> None:
        nonlocal asked
        if time.monotonic() - asked < ASKED_EVERY:
            return
        seen = root.head()
        then, now = (found and (found.get("e_tag"), found.get("size")) for found in (first, seen))
        if now != then:
            raise StoreGone(f"{path} was {'removed' if seen is None else 'overwritten'} while this run wrote into it")
        asked = time.monotonic()

    return check


SUFFIX = ".lock"  # of its name
MOST_BYTES = 1 << 12  # that are read of its file
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}  # of file systems without flock
TAKEN = {errno.EEXIST, errno.ENOTEMPTY}  # where a folder is renamed to a name that another run has just given


class Hold:
    """A store that this run alone writes into; `locked` gives it.

    unclean: an earlier run did not end, and its machine is not known to have stayed up since. What was written last may
    then be missing on the disk, marks or numbers, and every block is to be read.
    """

    def __init__(self, path: StorePath, tell: Tell) -> None:
        self.unclean = False
        self._path, self._real, self._tell = path, path.resolve(), tell
        self._leases: list[Lease] = []  # the last one counts; that of a store that was replaced goes with it

    def enter(self) -> None:
        """Take the lease of a store if one is there by now; raises StoreLocked.

        A store that was set aside returns. Then what killed runs left beside the store goes.
        """
        if isinstance(self._real, ObjectPath):
            if not self._leases:
                self._take(_place_of(self._real))
                self._real.with_name(f".{self._real.name}.token").unlink()  # of a killed run whose workers wrote
        elif not self._leases:
            aside = set_aside(self._real)
            try:
                if os.path.lexists(aside) and not self._real.exists():
                    if aside.is_symlink():
                        raise not_ours(aside, LINK)
                    self._take_in(aside)
                    with taking_place(self._path):
                        os.rename(aside, self._real)  # after a kill between two renames; the lease goes with it
                elif self._real.exists():
                    self._take_in(self._real)
            except OSError as error:
                raise _unwritable(self._path, error) from error
            if self._real.exists():
                sweep(self._real)

    def _take_in(self, store: Path) -> None:
        """Take the lease of a folder; without marks it is no store, or one that is to be repaired."""
        try:
            place = InFolder(store)
        except (FileNotFoundError, NotADirectoryError):
            return
        self._take(place)
        self.unclean = self.unclean or bool(place.unread())

    def _take(self, place: InFolder | InObjects) -> None:
        lease = Lease(self._path, place)
        try:
            killed = lease.take(self._tell)
        except BaseException:
            lease.end()
            raise
        self._leases.append(lease)
        if killed and isinstance(self._real, Path):  # what it was writing
            for half in [name for name, _ in walked(self._real) if name.endswith(".partial")]:
                Folder(self._real).delete(half)

    def follow(self, made: Path) -> None:
        """Hold the store that was made in a folder too, before it takes its place; raises StoreLocked."""
        if isinstance(self._real, ObjectPath):
            self.check()
            return
        for lease in self._leases:
            lease.renew()
        self.check()
        self._take_in(made)

    def check(self) -> None:
        """Raise StoreLocked when the store is no longer this run's."""
        for lease in self._leases[-1:]:
            lease.check()

    def doubt(self) -> None:
        """The disk failed under what was written: the next run is to read every block, whatever it looks like."""
        for lease in self._leases[-1:]:
            if isinstance(lease.place, InFolder):
                lease.place.doubt()

    def settle(self) -> None:
        """Every block was read or computed, and all is on disk: what was unclean is forgotten."""
        for lease in self._leases[-1:]:
            if isinstance(lease.place, InFolder):
                lease.place.settle()

    def leave(self) -> None:
        """Give the store back."""
        if self._leases and isinstance(self._real, Path) and self._real.exists():
            with contextlib.suppress(StoreLocked, BadInput, OSError):
                self.check()
                sweep(self._real)
        for lease in reversed(self._leases):
            lease.end()


@contextmanager
def locked(path: StorePath, tell: Tell = lambda _: None) -> Iterator[Hold]:
    """Hold a store; raises StoreLocked when another run has it. Where nothing is there yet, `Hold.follow` holds it."""
    check_place(path)
    with contextlib.nullcontext() if isinstance(path, ObjectPath) else _flocked(path, tell):
        hold = Hold(path, tell)
        try:
            hold.enter()
            yield hold
        finally:
            hold.leave()


@contextmanager
def _flocked(path: Path, tell: Tell) -> Iterator[None]:
    """Hold the lock of a store in a folder (flock: it dies with its holder).

    The lock belongs to the place that the path leads to, through whatever symbolic links. Its file stands beside the
    store and is removed at the end. Where the file system has no such locks, it says so and goes on.
    """
    real = path.resolve()
    file = _lock_of(real)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquired(path, file, tell)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink()  # before the lock is released: who holds a lock owns its file
        os.close(descriptor)


def _unwritable(path: StorePath, error: OSError) -> BadInput:
    return bad(f"cannot be written: {error.strerror or error}", where=str(path), allowed="a store in a writable folder",
               remedy="choose another place")  # fmt: skip


def check_free(path: StorePath) -> None:
    """Raise StoreLocked when another run holds the store; takes nothing over, and writes nothing: it may be another
    user's."""
    real = path.resolve()
    if isinstance(real, Path) and isinstance(path, Path):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):  # the lease says it too
            descriptor = open_beside(file := _lock_of(real), os.O_RDONLY)
            try:
                _flock(path, descriptor, file, lambda _: None)
                if not real.exists() or real.stat().st_uid == os.geteuid():
                    check_own(descriptor, file)
            finally:
                os.close(descriptor)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        lease = Lease(path, _place_of(real))
        try:
            lease.check_free(lease.place.look())
        finally:
            lease.end()


def _place_of(real: StorePath) -> InFolder | InObjects:
    return InFolder(real) if isinstance(real, Path) else InObjects(real, _lock_of(real))


def _lock_of[P: (Path, ObjectPath)](real: P) -> P:
    """The file, or the object, beside a store by which it is locked."""
    return real.with_name(f"{real.name}{SUFFIX}")


def set_aside(real: Path) -> Path:
    """Where a store stands while another takes its place."""
    return real.with_name(f".{real.name}.replaced")


@contextmanager
def taking_place(path: StorePath) -> Iterator[None]:
    """Raise StoreLocked where another run has put a store in the place that a folder is renamed to."""
    try:
        yield
    except OSError as error:
        if error.errno not in TAKEN:
            raise
        raise StoreLocked(f"{path} was made by another run meanwhile; wait for that run or stop it") from error


def sweep(real: Path) -> None:
    """Remove what killed runs left beside a store that is this run's, or beside the place where one is made."""
    if set_aside(real).is_symlink():
        raise not_ours(set_aside(real), LINK)
    for leftover in (set_aside(real), *real.parent.glob(f".{glob.escape(real.name)}.*.partial")):
        shutil.rmtree(leftover, ignore_errors=True)
    real.with_name(f".{real.name}.token").unlink(missing_ok=True)  # of a killed run whose workers wrote


def _acquired(path: Path, file: Path, tell: Tell) -> int:
    """The descriptor of a store's locked file that still has its name; raises StoreLocked when another holds the lock.

    Between opening and locking, the holder before us may have removed the file: then the lock is on a file that nobody
    else can find, and it is made anew.
    """
    while True:
        descriptor = open_beside(file, os.O_RDWR | os.O_CREAT)
        try:
            _flock(path, descriptor, file, tell)
            if _same_file(descriptor, file):
                check_own(descriptor, file)
                with contextlib.suppress(OSError):  # a full disk must not keep a run from beginning to say so itself
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, json.dumps(this_holder()).encode(), 0)
                return descriptor
        except (OSError, BadInput, StoreLocked):
            os.close(descriptor)
            raise
        os.close(descriptor)


def _flock(path: Path, descriptor: int, file: Path, tell: Tell) -> None:
    """Lock a store's file; where its file system has no locks, the lease in the store is all. Raises StoreLocked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreLocked(
            f"{path} is in use by another run{_holder(file)}; wait for that run or stop it. If it no "
            f"longer runs, which a network file system may not notice, remove {file}"
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        tell(f"the file system of {file.parent} has no locks ({error.strerror}); the lease in the store is used alone")


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
