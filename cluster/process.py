"""How a process computes: one BLAS thread, memory that is kept, and what makes two processes give the same bits."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from importlib import metadata

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
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Tell glibc not to give memory back at once: arrays of a tile come and go many times a millisecond (some 10 %)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt(parameter, KEPT_BYTES)


@cache
def environment() -> str:
    """Python, numerical packages, BLAS kernels and their threads in this process: equal texts promise equal bits."""
    from threadpoolctl import threadpool_info

    prepare_process()
    versions = [f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "panelproof")]
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    kernels = {
        f"{pool['internal_api']} {pool.get('version')} {pool.get('architecture')}, threads {pool['num_threads']}"
        for pool in pools
    }
    python = f"python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    return "; ".join([python, platform.machine(), *versions, *sorted(kernels)])
