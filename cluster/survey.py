"""Which workers are like this process, and how our code is sent to those that are not."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import io
import os
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cluster.dask_pool import DaskPool
from cluster.environment import Environment, _files, source_files
from cluster.group import lacking

# What the workers of a cluster are, asked at once: their environments, and how fast they are reached.


ASK_SECONDS = 60.0
SENT_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker as it answers.

    environment: None where it cannot say. why: the reason for that, or why it may not compute. threads: that it runs
    jobs on. memory: its limit in bytes. code_alone: its code is all that keeps it from computing.
    """

    address: str
    environment: Environment | None
    why: str
    threads: int
    memory: int
    code_alone: bool = False


def survey(pool: DaskPool, packages: Iterable[str], modules: Iterable[str]) -> list[Worker]:
    """Every worker that answers within a minute, in the order of addresses; raises ClusterLost when some do not."""
    client = pool.client
    packages, modules = tuple(packages), tuple(modules)

    def answer() -> Any:  # travels as it is, because a worker may lack our modules
        try:
            from cluster.environment import environment

            return environment(packages, modules).plain
        except ImportError as error:
            return error

    ask = partial(client._run, answer, on_error="return")
    with pool.reaching():
        answers = client.sync(ask, callback_timeout=ASK_SECONDS)
        known = client.sync(client.scheduler.identity, callback_timeout=ASK_SECONDS)["workers"]
    found = []
    for address, answer in sorted(answers.items()):
        facts = known.get(address, {})
        here = Environment.from_plain(answer) if isinstance(answer, dict) else None
        why = "" if here else lacking(answer) if isinstance(answer, ImportError) else f"it cannot answer: {answer}"
        found.append(Worker(address, here, why, facts.get("nthreads", 0),
                            facts.get("memory_limit") or 0))  # fmt: skip
    return found


def bandwidth(pool: DaskPool, worker: str) -> tuple[float, float]:
    """(seconds of an empty task, bytes a second to a worker and back)."""
    seconds = []
    for size in (1, SENT_BYTES):
        begin = time.perf_counter()
        with pool.reaching():
            future = pool.client.submit(bytes, os.urandom(size), workers=[worker], pure=False)
            future.result(timeout=ASK_SECONDS)
        seconds.append(time.perf_counter() - begin)
    empty, full = seconds
    return empty, 2 * SENT_BYTES / max(full - empty, 1e-9)


# Sending code to workers: packages and modules as one archive, which every worker unpacks and prefers.


DATA = (".csv", ".toml", ".html", ".css", ".js")  # files beside the code that it reads


def archive(modules: Iterable[str]) -> bytes:
    """The sources of modules and packages, and the data beside them, as a zip with equal bytes for equal files."""
    found = dict[str, Path]()
    for name in modules:
        module = importlib.import_module(name)
        folders = [Path(folder) for folder in getattr(module, "__path__", ())]
        for folder in folders:
            data = (path for path in folder.rglob("*") if path.suffix in DATA)
            found |= {f"{name}/{path.relative_to(folder).as_posix()}": path for path in (*_files(folder), *data)}
        if not folders:
            found |= source_files(module)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, path in sorted(found.items()):
            made.writestr(zipfile.ZipInfo(name), path.read_bytes())
    return out.getvalue()


def ship(pool: DaskPool, modules: Iterable[str]) -> int:
    """Send the code of modules to all workers of a pool, those that come later too; the bytes that it takes.

    Raises ClusterLost.
    """
    from distributed import WorkerPlugin

    from cluster import scratch

    modules = tuple(modules)
    content = archive(modules)
    source = inspect.getsource(scratch)

    class Shipped(WorkerPlugin):  # type: ignore[misc]
        """It travels as it is, because a worker may lack our modules."""

        def setup(self, worker: Any) -> None:
            import importlib
            import io
            import sys
            import zipfile

            own: dict[str, Any] = {"__name__": "scratch"}
            exec(source, own)  # the worker's scratch folder may be Dask's shared one
            self.folder = own["own_folder"]()
            zipfile.ZipFile(io.BytesIO(content)).extractall(self.folder)
            sys.path.insert(0, self.folder)
            for name in [name for name in sys.modules if name.partition(".")[0] in modules]:
                del sys.modules[name]
            importlib.invalidate_caches()

        def teardown(self, worker: Any) -> None:
            import shutil

            shutil.rmtree(self.folder, ignore_errors=True)

    with pool.reaching():
        pool.client.register_plugin(Shipped(), name=f"panelproof-{hashlib.sha256(content).hexdigest()[:16]}")
    return len(content)
