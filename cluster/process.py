"""How a process computes: with one BLAS thread, and with memory that is kept."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import select
import sys
from functools import cache
from typing import Any

VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
KEPT_BYTES = 1 << 28


def pin_environment() -> None:
    """Ask for one thread before numpy is imported; also what child processes inherit."""
    os.environ.update(dict.fromkeys(VARIABLES, "1"))


@cache
def prepare_process() -> None:
    """Hold the BLAS of this process to one thread, whatever the environment said, and keep freed memory for reuse."""
    import scipy.linalg  # noqa: F401  (scipy and numpy each bring a BLAS; one loaded later would keep its threads)
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1)
    # glibc must not give memory back at once: arrays of a tile come and go many times a millisecond (some 10 %)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt(parameter, KEPT_BYTES)


def keep_output_free() -> None:
    """Send what this process prints, libraries of C included, to standard error, and let it read no terminal."""
    with contextlib.suppress(OSError):
        os.dup2(2, 1)
    with contextlib.suppress(OSError), open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    keep_printing()


class Output(io.RawIOBase):
    """What is printed, to an open file: a reader that has gone or a full disk stops nobody who prints.

    failed: the first error; what is printed after it is thrown away.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.failed: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, and wait where the reader is slow and said not to wait."""
        while self.failed is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failed = error
        return len(data)

    def writable(self) -> bool:
        """It is for nothing else."""
        return True

    def fileno(self) -> int:
        """The descriptor, which stays open when this is closed."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)


def keep_printing() -> None:
    """From now on no print of this process raises because of what it is printed to, or of letters that this lacks."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        given = getattr(sys, name)
        if isinstance(given, io.TextIOWrapper) and output_of(given) is None:
            with contextlib.suppress(OSError):
                given.flush()
            lines, below = given.line_buffering or name == "stderr", io.BufferedWriter(Output(descriptor))
            made = io.TextIOWrapper(below, encoding=given.encoding, errors="backslashreplace", line_buffering=lines)
            setattr(sys, name, made)


def output_of(stream: Any) -> Output | None:
    """What `keep_printing` put below a stream; None for another stream."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, Output) else None


def available_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
