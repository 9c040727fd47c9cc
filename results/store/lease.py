"""The lease of a store, which its one writer renews: a file inside a folder, an object beside a store of objects.

A lease says who made it, and a thread renews it. One that was not renewed for a while may be taken over, and so may one
whose process was on this machine and is gone. Of two runs one alone succeeds with that. Who was taken over sees it
before its next mark. Time is told by what holds the store, because the clocks of machines need not agree.

In a folder the lease is made exclusively and renewed by setting its time, which cannot harm the lease of another run.
To take it over it is renamed; what was renamed is looked at again, because its holder may have woken up meanwhile.
Where the machine of an earlier holder may have lost power, the renamed file stays: the blocks are to be read again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.store.bucket import ObjectPath, StorePath, StoreUnreachable, obstore
from results.store.disk import NotPlain, folder_inside, not_ours, open_plain
from results.store.tree import MARKS
from sim.errors import bad

RENEWED = 15.0  # seconds between two renewals
EXPIRES = 60.0  # seconds without one after which another run may take a lease over
WATCHED = 1 / 3  # of that, for which such a lease in a folder is watched: the clock of its holder may differ
ATTEMPTS = 5  # at a lease that changes hands meanwhile
MOST_BYTES = 1 << 12  # that are read of one
FILE = "lease"  # in the folder of the marks, where zarr looks for no groups
UNREAD = ".unread"  # ends the name of a lease whose holder's machine may have lost power
GONE = (errno.ENOENT, errno.ESTALE)

type Tell = Callable[[str], None]  # is told, in one line, what users should know


class StoreLocked(RuntimeError):
    """Another run holds the store."""


def is_lease(name: str) -> bool:
    """Whether a file of a store, by its name there, is a lease or what is left of one: no part of the study."""
    return name.startswith(f"{MARKS}/{FILE}")


def this_holder() -> dict[str, Any]:
    """What a lock or a lease says of who takes it now: host, process and time."""
    since = time.strftime("%Y-%m-%d %H:%M:%S%z")  # of whatever TZ: a datetime takes no offset of a day
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": since}


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as it is: what it says, its version, and when it was last renewed, by the clock of its place.

    copied: it is another file than the one that its holder made, as in a copy of a store.
    """

    said: dict[str, Any]
    version: Any
    renewed: float
    copied: bool = False

    @property
    def holder(self) -> str:
        """Who holds it, in words."""
        pid, host, since = (str(self.said.get(key, "?"))[:80] for key in ("pid", "host", "since"))
        return f"process {pid} on {host}, since {since}"

    @property
    def expires(self) -> float:
        """Seconds after which it may be taken over, as its holder promised."""
        kept = self.said.get("expires")
        return float(kept) if isinstance(kept, int | float) and math.isfinite(kept) else EXPIRES

    @property
    def is_dead(self) -> bool:
        """Whether its holder ran on this machine and runs no longer."""
        pid = self.said.get("pid")
        if self.said.get("machine") != _machine() or not isinstance(pid, int) or not 0 < pid < 1 << 31:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    @property
    def is_unclean(self) -> bool:
        """Whether the machine of its holder is not known to have stayed up since."""
        boot = _boot()
        return not boot or self.said.get("boot") != boot


class Lease:
    """The lease of a store that this process holds, or wants."""

    def __init__(self, store: StorePath, place: InFolder | InObjects) -> None:
        self.place = place
        self._store = store
        self._mine = secrets.token_hex(8)
        self._holder = this_holder()
        self._count, self._version, self._renewed, self._lost = 0, None, _clocks(), ""
        self._one_at_a_time = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_always, name="lease of a store", daemon=True)

    def take(self, tell: Tell) -> bool:
        """Make the lease, or take over one whose holder is gone, and renew it from now on; returns whether it was taken
        over.

        Raises StoreLocked when another run has it, StoreUnreachable, BadInput where nothing could be trusted.
        """
        for _ in range(ATTEMPTS):
            held = self.place.look()
            if held is not None and not self._is_gone(held, tell):
                continue
            begun = _clocks()
            data = self._data()
            version = self.place.make(data) if held is None else self.place.take_over(held, data)
            if version is not None:
                self._version, self._renewed = version, begun
                self._thread.start()
                return held is not None
        raise StoreLocked(f"{self._store} is in use: its lease changes hands; try again")

    def check_free(self, held: Held | None) -> None:
        """Raise StoreLocked when another run has the lease, as it was seen, and may still run."""
        if held is None:
            return
        left = 0.0 if held.is_dead or held.copied else held.expires - (self.place.now() - held.renewed)
        if left > 0:
            raise StoreLocked(
                f"{self._store} is in use by another run ({held.holder}); wait for that run or stop it. If it no "
                f"longer runs, this command takes over in {left:.0f} seconds, or at once if you delete "
                f"{self.place.name}"
            )

    def _is_gone(self, held: Held, tell: Tell) -> bool:
        """Whether the holder of a lease is gone; False where it changes. Raises StoreLocked where it may still run."""
        self.check_free(held)
        if held.is_dead or not self.place.watched:
            return True
        seconds = held.expires * WATCHED
        tell(f"a run left {self._store} unfinished ({held.holder}); it is watched for {seconds:.0f} s before this run "
             "takes over")  # fmt: skip
        deadline = time.monotonic() + seconds
        while (wait := deadline - time.monotonic()) > 0:
            time.sleep(min(wait, 1.0))
            seen = self.place.look()
            if seen is None:
                return False
            if seen.version != held.version:
                raise StoreLocked(f"{self._store} is in use by another run ({seen.holder}), which renews "
                                  f"{self.place.name}; wait for that run or stop it")  # fmt: skip
        return True

    def _data(self) -> bytes:
        self._count += 1  # another content, so that its ETag is another
        said = self._holder | {"machine": _machine(), "boot": _boot(), "expires": EXPIRES, "run": self._mine,
                               "count": self._count}  # fmt: skip
        return json.dumps(said).encode()

    def _renew_always(self) -> None:
        """Renew until the run ends or the lease is lost."""
        while not self._ended.wait(RENEWED) and not self._lost:
            with contextlib.suppress(StoreUnreachable, OSError):  # the next time it may answer again
                self.renew()

    def renew(self) -> None:
        """Renew the lease, and see whether it is lost."""
        with self._one_at_a_time:
            if self._lost:
                return
            begun = _clocks()
            version = self.place.renew(self._version, self._data())
            if version is None:
                self._lose()
            else:
                self._version, self._renewed = version, begun

    def _lose(self) -> None:
        held = self.place.look()
        self._lost = "nobody: its lease was deleted" if held is None else held.holder

    def check(self) -> None:
        """Raise StoreLocked when another run has taken the lease over; after a long sleep it is renewed first."""
        if max(abs(now - then) for now, then in zip(_clocks(), self._renewed, strict=True)) > EXPIRES / 2:
            self.renew()
        elif not self._lost and not self.place.is_own():
            self._lose()
        if self._lost:
            raise StoreLocked(f"{self._store} was taken over while this run did not answer; held by {self._lost}")

    def end(self) -> bool:
        """Give the lease back, and return whether it was still this run's."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
            with contextlib.suppress(StoreUnreachable, OSError):
                self.renew()  # nobody takes it in the seconds after
                if not self._lost:
                    self.place.drop()
        self.place.close()
        return not self._lost


class InObjects:
    """The lease of a store of objects: an object beside it, written on conditions."""

    watched = False  # its time is that of the object store

    def __init__(self, store: ObjectPath, lock: ObjectPath) -> None:
        self.name = str(lock)
        self._store, self._lock = store, lock

    def look(self) -> Held | None:
        """The lease that is there."""
        try:
            data, seen = self._lock.get()
        except FileNotFoundError:
            return None
        version = {key: seen[key] for key in ("e_tag", "version") if seen.get(key) is not None}
        return Held(_parsed(data), version, seen["last_modified"].timestamp())

    def make(self, data: bytes) -> Any:
        """A lease where there is none; raises BadInput where two could be made."""
        version = self.renew("create", data)
        if version is not None:
            with contextlib.suppress(obstore().exceptions.AlreadyExistsError):
                self._lock.write_bytes(b"{}", "create")
                self._lock.unlink()
                raise bad("does not support conditional writes, by which runs lock a store", where=str(self._store),
                          allowed="an object store that knows If-None-Match", remedy="use another --store")  # fmt: skip
        return version

    def take_over(self, held: Held, data: bytes) -> Any:
        """A lease in the place of another."""
        return self.renew(held.version, data)

    def renew(self, version: Any, data: bytes) -> Any:
        """The new version of a lease, by a conditional write, also where its answer was lost; None where it failed."""
        failures = obstore().exceptions
        try:
            return self._lock.write_bytes(data, version)
        except (failures.AlreadyExistsError, failures.PreconditionError, FileNotFoundError):
            held = self.look()
            return held.version if held is not None and held.said == _parsed(data) else None

    def is_own(self) -> bool:
        """Not asked: each question is a request."""
        return True

    def now(self) -> float:
        """The time there."""
        probe = self._lock.with_name(f"{self._lock.name}.{secrets.token_hex(8)}")
        probe.write_bytes(b"")
        seen = probe.head()
        probe.unlink()
        return time.time() if seen is None else float(seen["last_modified"].timestamp())

    def drop(self) -> None:
        """Remove the lease."""
        self._lock.unlink()

    def close(self) -> None:
        """Nothing is open."""


class InFolder:
    """The lease of a store in a folder: a file in it, so that every path that leads to the store leads to the lease.

    The folder is held open: it may be renamed. Raises FileNotFoundError or NotADirectoryError where it is no store's.
    """

    watched = True  # the time that it tells may be that of its holder's machine

    def __init__(self, store: Path) -> None:
        self.name = str(store / MARKS / FILE)
        with folder_inside(store, [], make=False) as root, folder_inside(store, [MARKS], make=False) as folder:
            self._root, self._folder = os.dup(root), os.dup(folder)
        self._file = -1  # as long as it is open, its number is given to no other file

    def look(self) -> Held | None:
        """The lease that is there, which is renewed now where its time is yet to come; raises BadInput for what is no
        plain file."""
        try:
            descriptor = open_plain(FILE, os.O_RDONLY, at=self._folder)
        except FileNotFoundError:
            return None
        except NotPlain as error:
            raise not_ours(Path(self.name), str(error.strerror)) from error
        with open(descriptor, "rb") as file:
            seen = os.fstat(descriptor)
            if time.time() < seen.st_mtime - EXPIRES > self.now():  # a probe only where it may be so
                with contextlib.suppress(OSError):  # the clock was set back since: its age counts from now on
                    os.utime(descriptor)
                seen = os.fstat(descriptor)
            said = _parsed(file.read(MOST_BYTES))
            return Held(said, _version(seen), seen.st_mtime, said.get("file", seen.st_ino) != seen.st_ino)

    def make(self, data: bytes) -> Any:
        """A lease where there is none. On a full disk it may say nothing, and holds all the same."""
        try:
            self._file = open_plain(FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, at=self._folder)
        except FileExistsError:
            return None
        with contextlib.suppress(OSError):
            os.write(self._file, json.dumps({**_parsed(data), "file": os.fstat(self._file).st_ino}).encode())
            os.fsync(self._file)
            os.fsync(self._folder)
        for name in os.listdir(self._folder):  # what runs left that were killed while they took a lease
            if name.startswith(f"{FILE}.") and not name.endswith(UNREAD):
                self._remove(name)
        return _version(os.fstat(self._file))

    def take_over(self, held: Held, data: bytes) -> Any:
        """A lease in the place of another; of one whose machine may have lost power the file stays."""
        left = f"{FILE}.{secrets.token_hex(8)}{UNREAD if held.is_unclean else '.left'}"
        try:
            os.rename(FILE, left, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            seen = os.stat(left, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:  # another was sooner, or has it by now and swept what this one set aside
            return None
        if _version(seen) != held.version:
            with contextlib.suppress(OSError):  # its holder woke up, or it is another run's: it goes back
                os.link(left, FILE, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=False)
            self._remove(left)
            return None
        return self.make(data)

    def renew(self, version: Any, data: bytes) -> Any:
        """The new version of a lease. Its time is set first: who takes it over at this moment sees that."""
        try:
            os.utime(self._file)
        except OSError as error:
            if error.errno not in GONE:
                raise
            return None
        return _version(os.fstat(self._file)) if self.is_own() else None

    def is_own(self) -> bool:
        """Whether the file that was made is there under its name, in whatever is the folder of the marks by now."""
        try:
            there = os.stat(f"{MARKS}/{FILE}", dir_fd=self._root, follow_symlinks=False)
            return os.path.samestat(there, os.fstat(self._file))
        except OSError as error:
            if error.errno not in GONE:
                raise
            return False

    def now(self) -> float:
        """The time of the file system, by a new file; that of this machine where none can be made."""
        probe = f"{FILE}.{secrets.token_hex(8)}.now"
        try:
            descriptor = open_plain(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, at=self._folder)
        except OSError:
            return time.time()
        try:
            return os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)
            self._remove(probe)

    def unread(self) -> list[str]:
        """What is left of leases whose holders' machines may have lost power."""
        return [name for name in os.listdir(self._folder) if name.startswith(FILE) and name.endswith(UNREAD)]

    def doubt(self) -> None:
        """Have the next run read every block: what the disk did not take is not known."""
        with contextlib.suppress(OSError):
            os.close(os.open(f"{FILE}.{secrets.token_hex(4)}{UNREAD}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644,
                             dir_fd=self._folder))  # fmt: skip

    def settle(self) -> None:
        """All blocks are sound: nothing need be read again."""
        for name in self.unread():
            self._remove(name)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._folder)

    def drop(self) -> None:
        """Remove the lease."""
        self._remove(FILE)

    def close(self) -> None:
        """Give back what is open."""
        for descriptor in {self._file, self._folder, self._root} - {-1}:
            os.close(descriptor)
        self._file = self._folder = self._root = -1


def _parsed(data: bytes) -> dict[str, Any]:
    """What a lease says; nothing where that cannot be read."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _version(seen: os.stat_result) -> tuple[int, int, int]:
    return seen.st_dev, seen.st_ino, seen.st_mtime_ns


def _clocks() -> tuple[float, ...]:
    """Clocks of which one shows that this process slept: wall time may be set, and others stop with the machine."""
    boottime = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.time(), time.clock_gettime(boottime)


def _boot() -> str:
    """What names this start of the machine; "" where it is not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _machine() -> str:
    """What machines on which process numbers mean the same have in common."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    known = (boot := _boot()) and space
    return f"{socket.gethostname()} {boot} {space}" if known else f"{socket.gethostname()} {secrets.token_hex(8)}"
