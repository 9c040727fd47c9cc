"""Jobs for tests of clusters, importable by workers in other processes."""

from __future__ import annotations

import ctypes
import os
import signal
import time

DIES, RAISES, HANGS, EXITS, FILLS = 99, 13, 77, 55, 66  # jobs that do not end well


def double_slowly(x: int) -> int:
    """Twice x, after a while."""
    time.sleep(0.2)
    return 2 * x


def double(x: int) -> int:
    """Twice x, unless x is one of the jobs that do not end well."""
    if x == RAISES:
        raise ValueError("unlucky")
    if x == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    if x == EXITS:
        os._exit(7)
    if x == HANGS:
        while True:
            time.sleep(0.01)
    if x == FILLS:
        kept = []
        while True:
            kept.append(bytearray(os.urandom(1 << 10)) * (16 << 10))
    return 2 * x


def hold(x: int) -> int:
    """Nothing, for a minute, in a call of C that lets no other thread of the process run."""
    ctypes.PyDLL(None).sleep(60)
    return x
