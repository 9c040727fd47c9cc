"""What numbers a process computes: a probe of the last digits, and settings under which all processors agree.

Equal versions do not give equal bits. numpy, the C library and OpenBLAS each choose among variants of one function by
what the processor can do: fused multiplications and longer vectors round otherwise. So a probe computes a few thousand
results of the operations that studies use, and its digests are compared in place of the names of variants.

Portable numbers hold all three to what every processor of the class x86-64-v3 has (Intel since Haswell, AMD since
Excavator and Zen), by their own switches. A library reads its switches when it is loaded, so that they must stand in
the environment with which a process starts.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from cluster.options import Fault, Refused
from cluster.process import VARIABLES

PORTABLE, DEFAULT = "portable", "default"
MODES = (DEFAULT, PORTABLE)
MODE = "PANELPROOF_NUMBERS"  # the variable that says which numbers a process computes
RESTARTED = "PANELPROOF_RESTARTED"  # the process that was restarted with other settings: never twice
COMMAND = 'eval "$(panelproof cluster numbers)"'
DIGITS = 12  # of a digest
POINTS = 2048  # at which functions of one number are compared
FAMILIES = ("exp", "log", "pow", "sqrt", "sin", "sum", "sort", "product", "draw", "special functions", "decomposition")

FLAGS_V3 = ("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave")  # of x86-64-v3, as Linux names them
NUMPY_V3 = {"SSE", "SSE2", "SSE3", "SSSE3", "SSE41", "SSE42", "POPCNT", "AVX", "F16C", "FMA3", "AVX2", "LAHF", "CX16",
            "MOVBE", "BMI", "BMI2", "LZCNT", "X86_V2", "X86_V3"}  # fmt: skip
UMATH = "numpy._core._multiarray_umath"  # where numpy lists what it was built for
HWCAPS = "glibc.cpu.hwcaps"
WITHOUT_V4 = ",".join(f"-AVX512{part}" for part in ("F", "VL", "BW", "CD", "DQ"))
OPENBLAS = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_L2_SIZE": "512",  # KB of the cache: some kernels cut products by it
    "OPENBLAS_BLOCK_FACTOR": "0",
}
SWITCHES = (*OPENBLAS, "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "GLIBC_TUNABLES", MODE)


# Portable numbers


class OtherSettings(Refused):
    """This process was started without the settings of portable numbers; `restart` starts it with them."""


def portable_settings() -> dict[str, str]:
    """The variables with which a process must start that computes portable numbers; other tunables of yours stay."""
    beyond = ",".join(_beyond_v3("__cpu_dispatch__"))
    return {**OPENBLAS, "NPY_DISABLE_CPU_FEATURES": beyond, "NPY_ENABLE_CPU_FEATURES": "",
            "GLIBC_TUNABLES": _tunables(os.environ.get("GLIBC_TUNABLES", "")), MODE: PORTABLE}  # fmt: skip


def _beyond_v3(group: str) -> list[str]:
    """The features of processors beyond x86-64-v3 in a group of those that numpy was built for."""
    return [name for name in getattr(importlib.import_module(UMATH), group) if name not in NUMPY_V3]


def _tunables(given: str) -> str:
    kept = [part for part in given.split(":") if part and part.partition("=")[0] != HWCAPS]
    return ":".join([*kept, f"{HWCAPS}={WITHOUT_V4}"])


def numbers_of_process() -> str:
    """PORTABLE where this process was started with those settings, else DEFAULT: what its processor gives."""
    started = _started_with()
    if started.get(MODE) != PORTABLE:
        return DEFAULT
    wanted = portable_settings() | {"GLIBC_TUNABLES": _tunables(started.get("GLIBC_TUNABLES", ""))}
    return PORTABLE if all(started.get(name, "") == value for name, value in wanted.items()) else DEFAULT


@cache
def _started_with() -> dict[str, str]:
    """The environment with which this process started, which is what its libraries have read."""
    try:
        pairs = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return dict(os.environ)
    return {name: value for name, _, value in (os.fsdecode(pair).partition("=") for pair in pairs)}


def check_numbers(asked: str | None, where: str = "--numbers") -> None:
    """Raise Refused unless this process computes the numbers that were asked for; None and DEFAULT ask for nothing.

    Raises OtherSettings where a start with other settings is all that it takes.
    """
    if asked is not None and asked not in MODES:
        raise Refused(Fault(f"numbers = {asked!r}", where, ", ".join(MODES), "correct it or leave it out"))
    if asked != PORTABLE:
        return
    check_machine(where)
    if numbers_of_process() == PORTABLE:
        return
    if os.environ.get(RESTARTED) == str(os.getpid()):
        raise Refused(Fault("the settings of portable numbers do not stay", where, "an interpreter that keeps its "
                            "environment", "start Python itself, not a script that sets variables"))  # fmt: skip
    raise OtherSettings(Fault("this process was started without the settings of portable numbers", where,
                              "a process that starts with them", f"say {COMMAND} before you start Python"))  # fmt: skip


def check_machine(where: str = "--numbers") -> dict[str, str]:
    """The variables of portable numbers, with one thread; raises Refused where this machine cannot compute them."""
    if lacking := _lacking():
        allowed = "a processor of x86-64-v3, Linux, glibc and OpenBLAS"
        raise Refused(Fault(f"portable numbers: {lacking}", where, allowed, "leave it out, or run elsewhere"))
    return {**dict.fromkeys(VARIABLES, "1"), **portable_settings()}


@cache
def _lacking() -> str:
    """What this machine lacks for portable numbers, in words; "" where it lacks nothing."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"this is {sys.platform} on {platform.machine()}"
    try:
        library = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        library = ""
    if not library.startswith("glibc"):
        return "the C library is not glibc"
    flags = _flags()
    if lacking := [name for name in FLAGS_V3 if name not in flags]:
        return f"the processor is below x86-64-v3: it lacks {', '.join(lacking)}"
    from threadpoolctl import threadpool_info

    if beyond := _beyond_v3("__cpu_baseline__"):
        return f"numpy was built with {', '.join(beyond)}, which cannot be switched off"
    others = [pool["internal_api"] for pool in threadpool_info()
              if pool["user_api"] == "blas" and pool["internal_api"] != "openblas"]  # fmt: skip
    return f"numpy or scipy multiplies by {others[0]}" if others else ""


def _flags() -> set[str]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    return set(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def member_environment() -> dict[str, str]:
    """What every member of a cluster must start with, so that it computes as this process does.

    One thread a BLAS, and the switches by which libraries choose variants of their functions, as they stand here.
    """
    switches = {name: os.environ[name] for name in SWITCHES if name in os.environ}
    portable = portable_settings() if numbers_of_process() == PORTABLE else {}
    return {**dict.fromkeys(VARIABLES, "1"), **switches, **portable}


def restart() -> NoReturn:
    """Start this program anew with the settings of portable numbers: the same process, arguments and open files."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    settings = os.environ | portable_settings() | {RESTARTED: str(os.getpid())}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], settings)


# The probe


@cache
def probe() -> tuple[tuple[str, str], ...]:
    """(kind of operation, digest of its results): equal in two processes that compute equal bits.

    Its inputs are exact fractions, which every machine computes alike.
    """
    import numpy as np

    results = _of_numbers() | _of_arrays()
    digests = []
    for name in FAMILIES:
        sha = hashlib.sha256()
        for result in results[name]:
            sha.update(np.ascontiguousarray(result).tobytes())
        digests.append((name, sha.hexdigest()[:DIGITS]))
    return tuple(digests)


@cache
def _fractions() -> Any:
    """(POINTS,) numbers in (0, 1), exact multiples of 2^-32 without a pattern."""
    import numpy as np

    found = (np.arange(1, POINTS + 1, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(1 << 32)) / 4294967296.0
    found.flags.writeable = False
    return found


def _of_numbers() -> dict[str, list[Any]]:
    """Functions of one number."""
    import numpy as np
    from scipy import special

    x, some = _fractions(), _fractions()[:512]
    with np.errstate(all="ignore"):
        exponentials = [np.exp(x * 40 - 20), np.exp(-x), np.exp2(x * 8), np.expm1(x - 0.5), np.logaddexp(x, 1 - x),
                        np.tanh(x * 4 - 2), [math.exp(float(value)) for value in some]]  # fmt: skip
    return {
        "exp": exponentials,
        "log": [np.log(x), np.log(x * 1e4), np.log1p(x), np.log2(x), np.log10(x), [math.log(float(v)) for v in some]],
        "pow": [x**1.7, x**-0.3, x**3, np.power(10.0, x), np.cbrt(x), [float(value) ** 0.7 for value in some]],
        "sqrt": [np.sqrt(x), np.hypot(x, 1 - x), x**0.5, 1 / x, x / (x + 3), np.square(x) * x + x],
        "sin": [np.sin(x * 7), np.cos(x * 7), np.tan(x), np.arcsin(x), np.arctan2(x, x[::-1]),
                [math.sin(float(value)) for value in x[:256]]],
        "special functions": [
            special.ndtr(8 * some - 4), special.ndtri(some), special.log_ndtr(-9 * some), special.ndtri_exp(-5 * some),
            special.expit(9 * some), special.stdtr(9.5, 6 * some - 3), special.stdtrit(9.0, some),
            special.betainc(2.5, 1.3, some), special.betaincinv(3.0, 8.0, some[:128]), special.chdtrc(3.0, 9 * some),
            special.chdtri(3.0, some), special.fdtrc(3.0, 40.0, 4 * some), special.chndtr(4.0, 1.0, 5 * some[:64]),
            special.entr(some), special.erfc(2 * some), special.gammaln(9 * some), special.xlogy(some, some),
            special.gammainc(2.5, 5 * some)],
    }  # fmt: skip


def _of_arrays() -> dict[str, list[Any]]:
    """Sums, products, orders and decompositions of arrays, and draws."""
    import numpy as np
    import scipy.linalg

    x, batch = _fractions(), _fractions()[:2016].reshape(8, 9, 28)  # as a tile of panels is
    axes: tuple[Any, ...] = (0, 1, 2, (0, 1), (1, 2), (0, 2), None)
    sums: list[Any] = [
        [x[:length].sum() for length in (*range(1, 40), 127, 128, 129, 1000, POINTS)],
        x[::3].sum(),
        x.cumsum(),
    ]
    sums += [function(batch, axis=axis) for axis in axes for function in (np.sum, np.mean, np.std)]
    sums += [batch.cumsum(axis=1), np.add.reduceat(x, [0, 5, 130, 700]), np.cov(batch[0]), np.prod(batch[..., :9], 2),
             np.bincount(np.arange(POINTS) % 7, weights=x), batch.transpose(2, 1, 0).sum(axis=0)]  # fmt: skip

    tied = np.floor(x * 50)  # fast ways to sort choose an order of equal values each in their own way
    orders = [np.argsort(tied), np.argpartition(tied, 300), np.quantile(x, (0.1, 0.5)), np.unique_inverse(tied)[1]]

    products: list[Any] = [[x[:length] @ x[-length:] for length in (*range(1, 70), 513, POINTS)]]
    for rows, inner, columns in ((3, 9, 4), (17, 33, 5), (40, 50, 40)):
        a, b = x[: rows * inner].reshape(rows, inner), x[-inner * columns :].reshape(inner, columns)
        products += [a @ b, b.T @ a.T, a.T @ a, a @ b[:, 0], a.T.copy().T @ b]
    products += [batch @ batch.transpose(0, 2, 1), np.matvec(batch, batch[:, 0]), np.vecdot(batch, batch[::-1]),
                 np.einsum("rtn,rtn->r", batch, batch), np.einsum("rtn,n->rt", batch, x[:28]),
                 np.einsum("rtn,rtm->rnm", batch, batch), np.tensordot(batch, batch[0], axes=((1, 2), (0, 1))),
                 np.vdot(batch, batch), np.einsum("rtn,rtn->rn", batch, batch)]  # fmt: skip

    rng = np.random.Generator(np.random.Philox(12345))
    draws = [rng.standard_normal(2500), rng.random(100), rng.standard_t(5, 600), rng.standard_gamma(2.5, 300),
             rng.gumbel(size=900), rng.beta(2.0, 0.5, 900), rng.lognormal(size=900), rng.gamma(0.4, size=900),
             rng.permutation(200), rng.integers(99, size=100)]  # fmt: skip

    found: list[Any] = []
    for size in (3, 8, 28, 45):
        square = x[: size * size].reshape(size, size)
        positive = square @ square.T + np.eye(size)
        factor = scipy.linalg.cholesky(positive, lower=True)
        found += [*np.linalg.eigh(positive), np.linalg.eigvalsh(positive), np.linalg.solve(positive, square),
                  np.linalg.inv(positive), np.linalg.cholesky(positive), *np.linalg.slogdet(positive),
                  scipy.linalg.solve_triangular(factor, square, lower=True), *scipy.linalg.qr(square)]  # fmt: skip
    found += [*np.linalg.svd(batch[0]), *np.linalg.qr(batch[1].T), np.linalg.pinv(batch[2]),
              np.linalg.eigvals(square[:12, :12]), np.linalg.lstsq(batch[3].T, x[:28], rcond=None)[0],
              np.linalg.inv(batch @ batch.transpose(0, 2, 1))]  # fmt: skip
    return {"sum": sums, "sort": orders, "product": products, "draw": draws, "decomposition": found}
