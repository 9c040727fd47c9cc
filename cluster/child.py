"""A child process that computes jobs for its parent, which outlives what a job does to its process."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

from cluster.executor import Careful, JobDied, Outcome, Pace, Work, outcome_of, within
from cluster.numbers import member_environment
from cluster.process import keep_output_free, keep_printing

POLL_SECONDS = 0.05  # between two looks at a child's memory
START_SECONDS = 120.0  # in which a child must have loaded what its job needs
BEGUN = b"begun"  # what a child says then
END_SECONDS = 10.0  # that a child which answers no more has to end
GRACE_SECONDS = 2.0  # that a child has to end itself with a traceback after its time is up
PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
SHOWN_LINES = 8  # of the traceback of what ran too long
MIB = 1 << 20


class Child:
    """One process at a time, started when needed and again after it died.

    fork: a copy of this process, which holds all that it has loaded; without it a new interpreter, for parents that run
    threads.
    """

    def __init__(self, *, fork: bool) -> None:
        self._fork = fork and hasattr(os, "fork") and sys.platform == "linux"
        self._pid = 0
        self._code: int | None = None
        self._pipe: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._notes: Any = None  # the file where a child that ran too long leaves its traceback

    def call(self, function: Work, job: Any, seconds: float | None = None, memory: int | None = None) -> Any:
        """The result of a job. Raises what the job raised, and JobDied when its process ended or passed a limit.

        seconds, memory: what it may take, in bytes the latter; None is no limit.
        """
        if self._pipe is None:
            self._start()
        assert self._pipe is not None
        try:
            self._pipe.send_bytes(cloudpickle.dumps((function, job, seconds)))
            self._wait(START_SECONDS, None)
            if (begun := self._pipe.recv_bytes()) != BEGUN:
                raised, answer = cloudpickle.loads(begun)
                raise answer
            self._wait(seconds, memory)
            raised, answer = cloudpickle.loads(self._pipe.recv_bytes())
        except (EOFError, ConnectionError):
            raise JobDied(self._ended()) from None
        except BaseException:
            self.close()
            raise
        if raised:
            raise answer
        return answer

    def _wait(self, seconds: float | None, memory: int | None) -> None:
        """Until the child answers; raises JobDied when it passes a limit, EOFError when it is gone."""
        assert self._pipe is not None
        begin = time.monotonic()
        while not self._pipe.poll(POLL_SECONDS):
            if self._exit_code() is not None and not self._pipe.poll(0):
                raise EOFError  # what it started and left may hold its end of the pipe
            if seconds is not None and time.monotonic() - begin > seconds + GRACE_SECONDS:
                raise JobDied(f"it ran longer than {seconds:g} s")
            if memory is not None:
                import psutil

                with contextlib.suppress(psutil.Error):  # where it cannot be known
                    used = int(psutil.Process(self._pid).memory_info().rss)
                    if used > memory:
                        raise JobDied(f"it took {used // MIB:,} MiB of memory, more than {memory // MIB:,} MiB")

    def _ended(self) -> str:
        """Why the child is gone, in words."""
        code = self._wait_for_end()
        self._notes.seek(0)
        lines = self._notes.read().decode(errors="replace").strip().splitlines()
        self._forget()
        if lines and lines[0].startswith("Timeout"):
            where = lines[2 : SHOWN_LINES + 2]  # after a heading: the innermost call first
            return "\n".join([f"it ran longer than it may, at {''.join(where[:1]).strip()}", *where[1:]])
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process exited with code {code}"

    def _wait_for_end(self) -> int:
        """The exit code; what the child has started and left ends too."""
        deadline = time.monotonic() + END_SECONDS
        while (code := self._exit_code()) is None and time.monotonic() < deadline:
            time.sleep(0.001)
        self._kill()
        return self._exit_code(wait=True) if code is None else code

    def _exit_code(self, *, wait: bool = False) -> Any:
        """The exit code of a child that has ended, None of one that has not."""
        if self._process is not None:
            return self._process.wait() if wait else self._process.poll()
        if self._code is None:
            pid, status = os.waitpid(self._pid, 0 if wait else os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def _kill(self) -> None:
        """End the child and all that it started, which is of its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)

    def close(self) -> None:
        """End the child at once."""
        if self._pipe is None:
            return
        self._kill()
        with contextlib.suppress(ChildProcessError):
            self._wait_for_end()
        self._forget()

    def _forget(self) -> None:
        assert self._pipe is not None
        self._pipe.close()
        self._notes.close()
        self._pipe = self._process = None

    def _start(self) -> None:
        ours, theirs = Pipe()
        self._code = None
        self._notes = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the child)
        if self._fork:
            with warnings.catch_warnings():  # other threads of this process sleep, and the child only computes
                warnings.simplefilter("ignore", DeprecationWarning)
                self._pid = os.fork()
            if self._pid == 0:
                ours.close()
                _as_copy(lambda: serve(theirs, self._notes.fileno()))
            with contextlib.suppress(OSError):  # whoever comes first
                os.setpgid(self._pid, self._pid)
        else:
            files = theirs.fileno(), self._notes.fileno()
            os.set_inheritable(files[0], True)
            path = os.pathsep.join(filter(None, sys.path))
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from cluster.child import main; main{files}"], pass_fds=files,
                env={**os.environ, **member_environment(), "PYTHONPATH": path}, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0,
            )  # fmt: skip
            self._pid = self._process.pid
        theirs.close()
        self._pipe = ours


def _as_copy(work: Callable[[], None]) -> None:
    """Run as a fork of the client, which must not end as the client would: no handler, no lock, no exit code of it.

    Standard output is the client's alone, for its report: what the copy prints goes to standard error.
    """
    code = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        keep_output_free()
        for name in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.SIG_DFL)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", buffering=1) for number in (1, 2))
        keep_printing()
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        os._exit(code)


def main(pipe: int, notes: int) -> None:
    """A child that is an interpreter of its own."""
    from cluster.process import prepare_process

    prepare_process()
    serve(Connection(pipe), notes)


def end_with_parent() -> None:
    """Have the kernel end this process when its parent is gone, whatever it is doing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def serve(pipe: Connection, notes: int) -> None:
    """Jobs until the parent closes the pipe. Ctrl-C, which a terminal sends to all, is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    own = os.getpid()
    with contextlib.suppress(EOFError, OSError):
        while True:
            request = pipe.recv_bytes()
            answer = _answer(request, notes, lambda: pipe.send_bytes(BEGUN))
            if os.getpid() != own:  # a copy that the job made and did not end
                os._exit(0)
            pipe.send_bytes(answer)


def _answer(request: bytes, notes: int, begun: Callable[[], None]) -> bytes:
    """(whether it raised, the result or the error) of one request."""
    try:
        function, job, seconds = cloudpickle.loads(request)
        begun()
        with ending_after(seconds, notes):
            answer = function(job)
    except Exception as error:  # noqa: BLE001  (the parent decides what an error means)
        try:
            cloudpickle.loads(cloudpickle.dumps(error))
        except Exception:  # noqa: BLE001  (it cannot travel; its text can)
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return cloudpickle.dumps((True, error))
    return cloudpickle.dumps((False, answer))


@contextlib.contextmanager
def ending_after(seconds: float | None, notes: int | None = None) -> Any:
    """End this process, with its traceback in the file `notes`, when what is inside takes longer.

    The clock is a thread of C, which runs whatever the code inside does; nothing else stops a loop in a library.
    """
    if seconds is None:
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere if notes is None else notes)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


# Jobs one after the other in a child of this process, which survives what they do to it.


@dataclass(eq=False, slots=True)
class Guarded:
    """Jobs in a copy of this process, made when the first is run.

    A copy starts in milliseconds and has all that this process has loaded. It has none of its other threads, which
    print and write: a lock that one of them held would be held for ever. A job takes none of those locks (400 copies
    beside two busy threads computed their jobs, none later than 0.3 s), and the clock of jobs ends a copy that waits.

    pace: what a job may take. memory: bytes that it may take, None = no limit.
    """

    pace: Pace
    memory: int | None = None
    workers: int = 1
    address: str = "this process"
    _child: Child = field(default_factory=lambda: Child(fork=True))

    def run(self, function: Work, jobs: Iterable[Any], careful: Careful | None = None) -> Iterator[Outcome]:
        """Outcomes in the jobs' order."""
        self._child.close()  # a copy of an earlier state
        for job in jobs:
            seconds, begin = self.pace.seconds(job), time.perf_counter()
            outcome = outcome_of(partial(self._child.call, function, seconds=seconds, memory=self.memory), job)
            if outcome.died and careful is not None:
                why = str(outcome.error).partition("\n")[0]
                outcome = replace(outcome_of(within(careful, seconds, self.memory), job), again=why)
            elif not outcome.died:
                self.pace.saw(job, time.perf_counter() - begin)
            yield outcome

    def close(self) -> None:
        """End the child."""
        self._child.close()
