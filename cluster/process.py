"""How a process computes: with one BLAS thread, and with memory that is kept."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from functools import cache

VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS")
KERNELS = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
)  # which kernels OpenBLAS uses, and how it cuts products: they decide bits
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
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Tell glibc not to give memory back at once: arrays of a tile come and go many times a millisecond (some 10 %)."""
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


def available_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
