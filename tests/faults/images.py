"""Power cuts of real file systems: one in a file is shut down in the middle of work, and mounted again.

The system call that its own developers use shuts a file system down as it is: what is in memory alone is gone, names
that were journalled and bytes that were written are there. Half of the cuts come after a flush of an unrelated file,
which brings the journal to the disk without the bytes of other files.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import random
import shutil
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import cuts
from cuts import Counted

from experiments.run.resume import RunLog
from results.store import disk

KINDS = ("ext4", "xfs")
SHUT_DOWN = 0x8004587D  # _IOR('X', 125, uint32), of XFS and of ext4
WITHOUT_THE_LOG = struct.pack("I", 2)
CUT = 9  # how a process ends that cut the power
MEGABYTES = 320  # XFS is made no smaller
STEPS = ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "fsync")  # of `os`, which may be the last


class NotHere(Exception):
    """This machine does not let file systems be made and mounted."""


class Image:
    """A file system in a file, mounted."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._file, self.place = folder / f"{kind}.image", folder / kind
        self.place.mkdir()
        with self._file.open("wb") as file:
            file.truncate(MEGABYTES << 20)
        make = shutil.which(f"mkfs.{kind}", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if make is None:
            raise NotHere(f"no mkfs.{kind}")
        try:
            subprocess.run([make, "-q", *(["-F"] if kind == "ext4" else []), self._file], check=True)
            self.mount()
        except subprocess.CalledProcessError as error:
            raise NotHere(str(error)) from error

    def mount(self) -> None:
        """Mount it, which replays its journal."""
        subprocess.run(["mount", "-o", "loop", self._file, self.place], check=True)

    def unmount(self) -> None:
        """Unmount it, which frees its loop device; zips that were read in place are closed before."""
        gc.collect()
        subprocess.run(["umount", self.place], check=True)


@contextmanager
def image(kind: str, folder: Path) -> Iterator[Image]:
    """A new file system; raises NotHere where none can be mounted."""
    made = Image(kind, folder)
    try:
        yield made
    finally:
        made.unmount()


class _Cutter:
    """Counts what is done to files, and cuts the power after so many steps."""

    def __init__(self, place: Path, at: int | None, flushes: bool, said: int) -> None:
        self.count = 0
        self._at, self._flushes, self._said = at, flushes, said
        self._turn = threading.RLock()
        self._other = os.open(place / "other", os.O_RDWR | os.O_CREAT)

    @contextmanager
    def working(self) -> Iterator[None]:
        with ExitStack() as stack:
            for name in STEPS:
                stack.enter_context(mock.patch.object(os, name, self._counted(getattr(os, name))))
            stack.enter_context(mock.patch.object(RunLog, "say", self._says(RunLog.say)))
            stack.enter_context(mock.patch.object(disk, "LEAST_PAUSE", 0.002))
            yield

    def tell(self, fact: Any) -> None:
        os.write(self._said, json.dumps(fact).encode() + b"\n")

    def _counted(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            with self._turn:
                result = plain(*args, **kwargs)
                self.count += 1
                if self.count == self._at:
                    self._cut()
            return result

        return counted

    def _says(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def says(log: RunLog, event: str, **facts: Any) -> None:
            plain(log, event, **facts)
            if event == "commit":
                with self._turn:
                    self.tell([facts["cell"], facts["block"]])

        return says

    def _cut(self) -> NoReturn:
        if self._flushes:
            os.pwrite(self._other, b"x", 0)
            os.fdatasync(self._other)
        fcntl.ioctl(self._other, SHUT_DOWN, WITHOUT_THE_LOG)
        os._exit(CUT)


def _worked(work: str, made: Image, at: int | None, flushes: bool) -> tuple[list[Any], int]:
    """Work in a process of its own, up to a cut; returns what it said was done, and how many steps it took."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            cutter = _Cutter(made.place, at, flushes, writes)
            with cutter.working():
                cuts.act(work, made.place / work)
                cutter.tell(cuts.DONE)
                cutter.tell(cutter.count)
            code = 0
        finally:
            os._exit(code)
    os.close(writes)
    with open(reads, encoding="utf-8") as said:
        facts = [json.loads(line) for line in said]
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, CUT), f"the work ended with {code}"
    steps = facts.pop() if code == 0 else -1
    return [tuple(fact) if isinstance(fact, list) else fact for fact in facts], steps


def cut_on_disk(kind: str, work: str, count: int, folder: Path, reference: str, seed: int = 1) -> Counted:
    """Cut a piece of work at so many points on a real file system; raises NotHere where none can be mounted."""
    chance, gone, said, happened = random.Random(f"{seed} {kind} {work}"), list[str](), 0, 0
    begin = folder / f"{work}-begin"
    if not begin.exists():
        begin.mkdir()
        cuts.prepare(work, begin)
    with image(kind, folder) as made, mock.patch.object(disk, "LEAST_PAUSE", 0.002):
        _laid(begin, made.place / work)
        steps = _worked(work, made, None, flushes=False)[1]
        for _ in range(count):
            at = chance.randint(1, steps)
            _laid(begin, made.place / work)
            facts, left = _worked(work, made, at, flushes=chance.random() < 0.5)
            if left < 0:
                happened += 1
                made.unmount()
                made.mount()
            said += len([fact for fact in facts if fact != cuts.DONE])
            gone += [f"{kind}, step {at}: {what}" for what in cuts.tried(work, made.place / work, facts, reference)]
    assert happened > count // 2, f"{happened} of {count} cuts happened"
    return Counted(work, happened, said, tuple(gone))


def _laid(begin: Path, place: Path) -> None:
    """Lay what is there before the work, with its times, and flush it."""
    if place.exists():
        shutil.rmtree(place)
    shutil.copytree(begin, place)
    disk.flush(place)
