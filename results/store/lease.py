"""The lock of a store in an object store: an object that its holder renews.

Nothing there dies with a process. So the lock says who made it, a thread renews it, and one that was not renewed for a
while may be taken over. Every step is a conditional write, which of two runs one alone succeeds with. The object store
tells the time, so that the clocks of machines need not agree. Of a holder on this machine its process is looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from results.store.bucket import ObjectPath, StoreUnreachable, obstore
from sim.errors import bad

RENEWED = 15.0  # seconds between two renewals
EXPIRES = 60.0  # seconds without one after which another run may take a lock
ATTEMPTS = 5  # at a lock that changes hands meanwhile


class StoreLocked(RuntimeError):
    """Another run holds the store."""


@contextmanager
def leased(store: ObjectPath, lock: ObjectPath) -> Iterator[Callable[[], None]]:
    """Hold the lock of a store; yields what raises StoreLocked as soon as another run has taken it over.

    Raises StoreLocked when another run has it, StoreUnreachable, and BadInput where writes cannot be conditional.
    """
    lease = _Lease(store, lock)
    lease.take()
    renewing = threading.Thread(target=lease.renew_always, name="lock of a store", daemon=True)
    renewing.start()
    try:
        yield lease.check
    finally:
        lease.ended.set()
        renewing.join()
        with contextlib.suppress(StoreUnreachable):
            lease.release()


@dataclass(frozen=True, slots=True)
class _Held:
    """A lock as it is: what it says, its version, and when it was last renewed by the clock of the object store."""

    said: dict[str, Any]
    version: dict[str, Any]
    renewed: datetime

    @classmethod
    def of(cls, lock: ObjectPath) -> _Held | None:
        """None where there is none."""
        try:
            data, seen = lock.get()
        except FileNotFoundError:
            return None
        try:
            said = json.loads(data)
        except ValueError:
            said = {}
        version = {key: seen[key] for key in ("e_tag", "version") if seen.get(key) is not None}
        return cls(said if isinstance(said, dict) else {}, version, seen["last_modified"])

    @property
    def holder(self) -> str:
        """Who holds it, in words."""
        pid, host, since = (str(self.said.get(key, "?"))[:80] for key in ("pid", "host", "since"))
        return f"process {pid} on {host}, since {since}"

    @property
    def expires(self) -> float:
        """Seconds after which it may be taken over, as its holder promised."""
        kept = self.said.get("expires")
        return float(kept) if isinstance(kept, int | float) else EXPIRES

    @property
    def dead(self) -> bool:
        """Whether its holder ran on this machine and runs no longer."""
        pid = self.said.get("pid")
        if self.said.get("machine") != _machine() or not isinstance(pid, int):
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


class _Lease:
    """A lock that this process holds or wants."""

    def __init__(self, store: ObjectPath, lock: ObjectPath) -> None:
        self._store, self._lock = store, lock
        self._mine = secrets.token_hex(8)
        self._since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        self._count, self._version, self._renewed, self._lost = 0, dict[str, Any](), 0.0, ""
        self._one_at_a_time = threading.Lock()
        self.ended = threading.Event()

    def take(self) -> None:
        """Make the lock, or take over one whose holder is gone."""
        mode: Any = "create"
        for _ in range(ATTEMPTS):
            if self._write(mode):
                if mode == "create":
                    self._check_conditions()
                return
            held = _Held.of(self._lock)
            if held is not None:
                self._check_gone(held)
            mode = "create" if held is None else held.version
        raise StoreLocked(f"{self._store} is in use: its lock changes hands; try again")

    def _check_gone(self, held: _Held) -> None:
        """Raise StoreLocked for a lock whose holder may still run."""
        if held.dead:
            return
        left = held.expires - self._age(held)
        if left > 0:
            raise StoreLocked(
                f"{self._store} is in use by another run ({held.holder}); wait for that run or stop it. If it no "
                f"longer runs, this command takes over in {left:.0f} seconds, or at once if you delete {self._lock}"
            )

    def _age(self, held: _Held) -> float:
        """Seconds since a lock was renewed, as the object store counts them."""
        probe = self._lock.with_name(f"{self._lock.name}.{self._mine}")
        probe.write_bytes(b"")
        now = probe.head()
        probe.unlink()
        return 0.0 if now is None else float((now["last_modified"] - held.renewed).total_seconds())

    def _check_conditions(self) -> None:
        """Raise BadInput where a second creation succeeds: such an object store would give two runs one lock."""
        with contextlib.suppress(obstore().exceptions.AlreadyExistsError):
            self._lock.write_bytes(b"{}", "create")
            self._lock.unlink()
            raise bad("does not support conditional writes, by which runs lock a store", where=str(self._store),
                      allowed="an object store that knows If-None-Match", remedy="use another --store")  # fmt: skip

    def _write(self, mode: Any) -> bool:
        """Whether the lock could be written on a condition; one that was, though its answer was lost, counts."""
        self._count += 1  # another content, so that its ETag is another
        said = {"host": socket.gethostname(), "pid": os.getpid(), "since": self._since, "machine": _machine(),
                "expires": EXPIRES, "run": self._mine, "count": self._count}  # fmt: skip
        begun = time.time()
        failures = obstore().exceptions
        try:
            self._version = self._lock.write_bytes(json.dumps(said).encode(), mode)
        except (failures.AlreadyExistsError, failures.PreconditionError, FileNotFoundError):
            held = _Held.of(self._lock)
            if held is None or (held.said.get("run"), held.said.get("count")) != (self._mine, self._count):
                return False
            self._version = held.version
        self._renewed = begun
        return True

    def renew_always(self) -> None:
        """Renew until the run ends or the lock is lost."""
        while not self.ended.wait(RENEWED) and not self._lost:
            with contextlib.suppress(StoreUnreachable):  # the next time it may answer again
                self._renew()

    def _renew(self) -> None:
        with self._one_at_a_time:
            if not self._lost and not self._write(self._version):
                held = _Held.of(self._lock)
                self._lost = "nobody: its lock was deleted" if held is None else held.holder

    def check(self) -> None:
        """Raise StoreLocked when another run has taken the lock, as after a long sleep of this process."""
        if abs(time.time() - self._renewed) > EXPIRES / 2:
            self._renew()
        if self._lost:
            raise StoreLocked(f"{self._store} was taken over while this run did not answer; held by {self._lost}")

    def release(self) -> None:
        """Delete the lock, if it is still this run's."""
        self._renew()  # nobody takes it in the seconds after
        if not self._lost:
            self._lock.unlink()


def _machine() -> str:
    """What machines on which process numbers mean the same have in common; "" where it is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {secrets.token_hex(8)}"  # like no other
