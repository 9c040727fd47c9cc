"""One BLAS thread in every process, and what makes two environments give the same bits."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from importlib import metadata

VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def pin_environment() -> None:
    """Ask for one thread before numpy is imported; also what child processes inherit."""
    os.environ.update(dict.fromkeys(VARIABLES, "1"))


@cache
def pin_threads() -> None:
    """Hold the BLAS of this process to one thread, whatever the environment said when it was loaded."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1)


@cache
def environment() -> str:
    """Python, the numerical packages and the BLAS kernel of this process: equal texts promise equal bits."""
    import scipy.linalg  # noqa: F401  (each brings its own BLAS, which must be loaded to be seen)
    from threadpoolctl import threadpool_info

    versions = [f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "panelproof")]
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    kernels = {f"{pool['internal_api']} {pool.get('version')} {pool.get('architecture')}" for pool in pools}
    python = f"python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    return "; ".join([python, platform.machine(), *versions, *sorted(kernels)])
