"""Workers that are not like the client, each in one way, and what is said of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import commands
from distributed import Client
from real_parts import PATH, ROOT, SUPPORT, Cluster, start

ROOMS = ("sim", "estimators", "results", "cluster", "experiments")
HERE = ("--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard")
THREADS = """
from cluster.process import prepare_process
from threadpoolctl import threadpool_limits
prepare_process()
threadpool_limits(limits=2)
"""
SAID = {
    "modified code": "other code of estimators",
    "other threads": "threads 2 instead of",
    "other numpy": "numpy 9.9.9 instead of",
}  # by what is odd: how the difference is worded


@dataclass(frozen=True, slots=True)
class Refused:
    """What a check says of odd workers, by what is odd, and how a run on them ends."""

    why: dict[str, str]
    code: int
    errors: str


def panelproof(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run(folder, *arguments, timeout=120.0)


def edited_copy(folder: Path) -> str:
    """A search path whose first entry is our code with a line more."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "estimators" / "linear" / "did.py").open("a") as file:
        file.write("\n# a line more\n")
    return os.pathsep.join([str(folder), str(SUPPORT)])


def refused(folder: Path, cluster: Cluster, study: str) -> Refused:
    """Start one worker of each kind, check them, and run a study on them."""
    command = (sys.executable, "-m", "dask", "worker", cluster.where, *HERE)
    copy, other = folder / "copy", folder / "other"
    copy.mkdir()
    (other / "numpy-9.9.9.dist-info").mkdir(parents=True)
    (other / "numpy-9.9.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9.9\n")
    (folder / "two_threads.py").write_text(THREADS)
    settings = {
        "modified code": (command, edited_copy(copy)),
        "other threads": ((*command, "--preload", str(folder / "two_threads.py")), PATH),
        "other numpy": (command, os.pathsep.join([str(other), PATH])),
    }
    for name, (words, path) in settings.items():
        cluster.processes[name] = start(folder, *words, "--name", name, PYTHONPATH=path)
    with Client(cluster.where) as client:
        client.wait_for_workers(len(settings), timeout=60)
        names = {address: facts["name"] for address, facts in client.scheduler_info(n_workers=-1)["workers"].items()}
    checked = panelproof(folder, "cluster", "check", cluster.where, "--study", study, "--json")
    why = {names[item["address"]]: item["why"] for item in json.loads(checked.stdout)["workers"]}
    ran = panelproof(folder, "run", study, "--cluster", cluster.where, "--store", "refused.zarr")
    return Refused(why, ran.returncode, ran.stderr)
