"""A Dask scheduler and a worker in processes of their own, as on a real cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent


@dataclass
class Machines:
    """A running scheduler with one worker."""

    address: str
    scheduler: subprocess.Popen[bytes]


@contextmanager
def started(folder: Path, *python_path: Path, **settings: str) -> Iterator[Machines]:
    """Start them in a folder, on the loopback address; they look for modules in `python_path` first.

    settings: further variables of their environment.
    """
    file = folder / "scheduler.json"
    path = os.pathsep.join(
        map(str, [*python_path, SUPPORT.parents[1], SUPPORT, *filter(None, [os.environ.get("PYTHONPATH")])])
    )
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", **settings}
    here = ("--host", "127.0.0.1", "--no-dashboard")

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *arguments, *here]
        return subprocess.Popen(
            command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    scheduler = start("scheduler", "--port", "0", "--scheduler-file", str(file))
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    address = json.loads(file.read_text())["address"]
    worker = start("worker", address, "--nthreads", "1")
    try:
        yield Machines(address, scheduler)
    finally:
        for process in (worker, scheduler):
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
