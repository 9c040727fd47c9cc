"""A run as on a host of its own: another name, locks that no other host sees, starts of its own.

As a program it runs `quick_study` into a store, says each block on standard output, and how it ended.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import commands

SUPPORT = Path(__file__).resolve().parent
PAUSED = "paused"
WAIT = 60.0  # seconds for an answer


class Host:
    """Such a run, as another process started it."""

    def __init__(self, process: subprocess.Popen[str] | commands.Copy, entry: TextIO, out: TextIO) -> None:
        self.process, self._entry, self._out = process, entry, out
        self._lines = queue.SimpleQueue[str]()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        for line in self._out:
            self._lines.put(line.rstrip("\n"))
        self._lines.put("")

    def until(self, *what: str) -> list[str]:
        """The lines that it says up to one that begins in such a way; fails when none comes."""
        said: list[str] = []
        while not said or not said[-1].startswith(what):
            try:
                said.append(self._lines.get(timeout=WAIT))
            except queue.Empty:
                said.append("")
            assert said[-1], f"{what} was never said; {said}"
        return said

    def end(self) -> str:
        """How it ended: "done", or the name of an error and its text."""
        return self.until("end ")[-1].removeprefix("end ")

    def go_on(self) -> None:
        """Let a paused run go on."""
        self._entry.write("\n")
        self._entry.flush()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the run alone."""
        os.kill(self.process.pid, number)


@contextmanager
def host(store: Path, *options: str, mounts: Sequence[str] = ()) -> Iterator[Host]:
    """A run into a store on a host of its own, in a mount namespace of its own where it mounts something."""
    words = [str(Path(__file__).resolve()), str(store), *options]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT.parent.parent), str(SUPPORT)])}
    (read_in, write_in), (read_out, write_out) = os.pipe(), os.pipe()
    process: subprocess.Popen[str] | commands.Copy
    if mounts:
        script = " && ".join([*mounts, 'exec "$@"'])
        command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", sys.executable, *words]
        process = subprocess.Popen(command, stdin=read_in, stdout=write_out, text=True, env=env)
    else:
        process = commands.Copy(Path.cwd(), words, env, write_out, 2, read_in)
    for number in (read_in, write_out):
        os.close(number)
    with os.fdopen(write_in, "w") as entry, os.fdopen(read_out) as out:
        found = Host(process, entry, out)
        try:
            yield found
        finally:
            process.kill()
            found.reader.join()
            process.wait()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("--name", default="")
    parser.add_argument("--flock", choices=("seen", "local", "none"), default="local")
    parser.add_argument("--expires", type=float, default=60.0)
    parser.add_argument("--pause", type=int, default=0, help="blocks after which it waits for a line")
    ask = parser.parse_args()
    put_elsewhere(ask)
    from experiments.run.runner import Progress, run
    from results.store import StoreGone, StoreLocked
    from sim.errors import BadInput
    from studies import quick_study

    study = quick_study(640)

    def listen(step: Progress) -> None:
        say(f"blocks {step.blocks}")
        if step.blocks == ask.pause and step.cell >= 0:
            say(PAUSED)
            sys.stdin.readline()

    try:
        run(study, store=ask.store, listen=listen, tell=lambda line: say(f"told {line}"))
        say("end done")
    except (StoreLocked, StoreGone, BadInput, OSError) as error:
        say(f"end {type(error).__name__}: {error}")


def put_elsewhere(ask: Any) -> None:
    """Make of this process one on another host."""
    from results.store import lease, lock

    lease.EXPIRES, lease.RENEWED = ask.expires, ask.expires / 4
    if ask.name:
        socket.gethostname = lambda: ask.name

    def flock(descriptor: int, how: int) -> None:
        if ask.flock == "none":
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if ask.flock != "seen":
        lock.fcntl = type("fcntl", (), {**vars(fcntl), "flock": staticmethod(flock)})


if __name__ == "__main__":
    main()
