"""A Dask scheduler and a worker in processes of their own, with modules and settings of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from real_parts import PATH, by_command_line


@dataclass
class Machines:
    """A running scheduler with one worker."""

    address: str
    scheduler: subprocess.Popen[bytes]


@contextmanager
def started(folder: Path, *python_path: Path, **settings: str) -> Iterator[Machines]:
    """Start them in a folder; the worker looks for modules in `python_path` first. settings: of their environment."""
    path = os.pathsep.join([*map(str, python_path), PATH])
    with by_command_line(folder, workers=1, path=path, **settings) as cluster:
        yield Machines(cluster.where, cluster.processes["scheduler"])
