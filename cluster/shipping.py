"""Sending code to workers: packages and modules as one archive, which every worker unpacks and prefers."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cluster.environment import _files, source_files

DATA = (".csv", ".toml", ".html", ".css")  # files beside the code that it reads


def archive(modules: Iterable[str]) -> bytes:
    """The sources of modules and packages, and the data beside them, as a zip with equal bytes for equal files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, path in sorted(_all_files(modules).items()):
            made.writestr(zipfile.ZipInfo(name), path.read_bytes())
    return out.getvalue()


def _all_files(modules: Iterable[str]) -> dict[str, Path]:
    found = dict[str, Path]()
    for name in modules:
        module = importlib.import_module(name)
        folders = [Path(folder) for folder in getattr(module, "__path__", ())]
        for folder in folders:
            data = (path for path in folder.rglob("*") if path.suffix in DATA)
            found |= {f"{name}/{path.relative_to(folder).as_posix()}": path for path in (*_files(folder), *data)}
        if not folders:
            found |= source_files(module)
    return found


def ship(client: Any, modules: Iterable[str]) -> int:
    """Send the code of modules to all workers of a Dask client, those that come later too; the bytes that it takes."""
    modules = tuple(modules)
    content = archive(modules)
    client.register_plugin(_plugin(content, modules), name=f"panelproof-{hashlib.sha256(content).hexdigest()[:16]}")
    return len(content)


def _plugin(content: bytes, modules: tuple[str, ...]) -> Any:
    """A plug-in of workers whose class travels as it is, because a worker may lack our modules."""
    from distributed import WorkerPlugin

    from cluster import scratch

    source = inspect.getsource(scratch)

    class Shipped(WorkerPlugin):  # type: ignore[misc]
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

    return Shipped()
