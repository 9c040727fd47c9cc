"""What decides the bits that a process computes: versions, BLAS kernels and the code itself."""

from __future__ import annotations

import ast
import hashlib
import importlib
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from cluster.numbers import PORTABLE, numbers_of_process, portable_settings, probe
from cluster.process import prepare_process

CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
DIGITS = 16  # of a digest: enough to tell two versions apart
OTHER_NUMBERS = "use the same C library and the same builds of numpy and scipy on all machines"
NOT_PORTABLE = (
    "use processors of one kind with the same settings of numpy and the C library, say --numbers portable, or say "
    "--accept-other-numbers"
)


@dataclass(frozen=True, slots=True)
class Environment:
    """Two processes without differences compute equal bits.

    packages: (name, version). blas: library, version, kernel and threads of each. code: (module, digest of its files).
    numbers: "portable" or "default". probe: (kind of operation, digest of its results) as `cluster.numbers.probe` says;
    without both, as in stores of earlier versions, numbers are not compared.
    """

    python: str
    machine: str
    packages: tuple[tuple[str, str], ...]
    blas: tuple[str, ...]
    code: tuple[tuple[str, str], ...] = ()
    numbers: str = ""
    probe: tuple[tuple[str, str], ...] = ()

    def differences(self, other: Environment) -> tuple[str, ...]:
        """How this environment differs from another, in words. A module that only one of them names is left out."""
        return (*self.differences_in_code(other), *self.differences_in_numbers(other))

    def differences_in_numbers(self, other: Environment) -> tuple[str, ...]:
        """How the numbers of the two differ, in words: what they are made for, and operations with other results."""
        found = []
        if self.numbers and other.numbers and self.numbers != other.numbers:
            found.append(f"numbers {self.numbers} instead of {other.numbers}")
        digests = dict(other.probe)
        if apart := [name for name, digest in self.probe if digests.get(name, digest) != digest]:
            equal = " although versions are equal" if self._versions == other._versions else ""
            found.append(f"numbers differ in the last digits{equal}: {', '.join(apart)}")
        return tuple(found)

    def differences_in_code(self, other: Environment) -> tuple[str, ...]:
        """How versions, kernels and code of the two differ, in words."""
        pairs = [
            ("python", self.python, other.python),
            ("machine", self.machine, other.machine),
            ("BLAS", ", ".join(self.blas), ", ".join(other.blas)),
        ]
        versions, others = dict(self.packages), dict(other.packages)
        names = dict.fromkeys((*versions, *others))
        pairs += [(name, versions.get(name, "missing"), others.get(name, "missing")) for name in names]
        digests = dict(other.code)
        return (
            *(f"{name} {ours} instead of {theirs}" for name, ours, theirs in pairs if ours != theirs),
            *(f"other code of {name}" for name, digest in self.code if digests.get(name, digest) != digest),
        )

    def remedy(self, client: Environment) -> str:
        """What to do about the differences of this environment, a worker's, from the client's."""
        remedies = []
        if self.python != client.python:
            remedies.append(f"use python {client.python} on the worker")
        wanted = [f"{name}=={version}" for name, version in client.packages
                  if dict(self.packages).get(name, version) != version]  # fmt: skip
        if wanted:
            remedies.append(f"install {', '.join(wanted)} on the worker")
        if self.numbers != client.numbers == PORTABLE:
            settings = " ".join(f"{name}={value}" for name, value in portable_settings().items())
            remedies.append(f"start the worker with the settings that `panelproof cluster numbers` prints: {settings}")
        elif self.blas != client.blas and not wanted:
            remedies.append(_blas_remedy(client.blas))
        elif self.differences_in_numbers(client) and not wanted:
            remedies.append(OTHER_NUMBERS if client.numbers == PORTABLE else NOT_PORTABLE)
        if self.machine != client.machine:
            remedies.append("use machines of one kind")
        others = dict(self.code)
        if any(others.get(name, digest) != digest for name, digest in client.code):
            remedies.append("say --ship-code to send this code to the workers, or install it there")
        return "; ".join(remedies)

    def differs_in_code_alone(self, other: Environment) -> bool:
        """Whether versions, kernels, machine and numbers are those of another environment."""
        return self._versions == other._versions and not self.differences_in_numbers(other)

    @property
    def _versions(self) -> tuple[Any, ...]:
        return self.python, self.machine, self.packages, self.blas

    @property
    def of_any_numbers(self) -> Environment:
        """The same, without its numbers: from which one with other numbers does not differ."""
        return replace(self, numbers="", probe=())

    @property
    def plain(self) -> dict[str, Any]:
        """The same as plain data, which JSON can hold."""
        return {
            "python": self.python,
            "machine": self.machine,
            "packages": dict(self.packages),
            "blas": list(self.blas),
            "code": dict(self.code),
            "numbers": self.numbers,
            "probe": dict(self.probe),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Environment:
        """The environment that `plain` describes."""
        return cls(plain["python"], plain["machine"], tuple(plain["packages"].items()), tuple(plain["blas"]),
                   tuple(plain["code"].items()), plain.get("numbers", ""),
                   tuple(plain.get("probe", {}).items()))  # fmt: skip

    def __str__(self) -> str:
        parts = [f"python {self.python}", self.machine, *(" ".join(pair) for pair in self.packages), *self.blas]
        if self.probe:
            parts.append(f"{self.numbers} numbers {hashlib.sha256(repr(self.probe).encode()).hexdigest()[:DIGITS]}")
        if self.code:
            parts.append(f"code {hashlib.sha256(repr(self.code).encode()).hexdigest()[:DIGITS]}")
        return "; ".join(parts)


def environment(packages: Iterable[str] = ("numpy", "scipy"), modules: Iterable[str] = ()) -> Environment:
    """The environment of this process, with the versions of `packages` and digests of the sources of `modules`."""
    python, machine, blas = _interpreter()
    versions = tuple((name, _version(name)) for name in packages)
    code = tuple((name, source_digest(name)) for name in modules)
    return Environment(python, machine, versions, blas, code, numbers_of_process(), probe())


def _blas_remedy(wanted: tuple[str, ...]) -> str:
    """How to make a worker's BLAS compute as the client's does."""
    parts = [words.replace(",", "").split() for words in wanted if words.startswith("openblas")]
    cores = {words[2] for words in parts if len(words) > 2}
    sizes = {words[words.index("L2") + 1] for words in parts if "L2" in words}
    settings = [f"{name}={values.pop()}" for name, values in (("OPENBLAS_CORETYPE", cores), ("OPENBLAS_L2_SIZE", sizes))
                if len(values) == 1]  # fmt: skip
    return (
        f"set {', '.join([*settings, 'OPENBLAS_NUM_THREADS=1'])} in the environment of all machines, this one included"
    )


@cache
def _interpreter() -> tuple[str, str, tuple[str, ...]]:
    from threadpoolctl import threadpool_info

    prepare_process()
    try:  # the second-level cache in KB as OpenBLAS takes it: it cuts products by it, and so the bits depend on it
        found = CACHE.read_text().strip().rstrip("K")
    except OSError:
        found = ""
    size = os.environ.get("OPENBLAS_L2_SIZE") or found
    cache = f", L2 {size} KB" if size else ""
    kernels = {
        f"{pool['internal_api']} {pool.get('version')} {pool.get('architecture')}{cache}, threads {pool['num_threads']}"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    return ".".join(map(str, sys.version_info[:3])), platform.machine(), tuple(sorted(kernels))


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


_digests: dict[str, tuple[object, str]] = {}  # by module: the import that was digested, and its digest


def source_digest(module: str) -> str:
    """A digest of a module's sources, which depends on neither where they are installed nor on compiled files.

    It covers the whole package that holds the module; of a module in no package, the file and the files beside it that
    it imports. Kept for as long as the module stays loaded, so that it is the digest of the code that runs, not of a
    later edit. A module without readable sources has the digest "".
    """
    package = module.partition(".")[0]
    try:
        loaded = importlib.import_module(package)
    except ImportError:
        return ""
    kept = _digests.get(package)
    if kept is not None and kept[0] is loaded.__spec__:  # a module that is loaded anew has another spec
        return kept[1]
    sha, files = hashlib.sha256(), source_files(loaded)
    for name, path in sorted(files.items()):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        sha.update(f"{name} {len(content)}\n".encode())
        sha.update(content)
    digest = sha.hexdigest()[:DIGITS] if files else ""
    _digests[package] = loaded.__spec__, digest
    return digest


def source_files(module: ModuleType) -> dict[str, Path]:
    """The files of a package or module, by their names from its own folder."""
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    if folders:
        return {path.relative_to(folder).as_posix(): path for folder in folders for path in _files(folder)}
    file = getattr(module, "__file__", None)
    return _with_imported(Path(file), {}) if file else {}


def _files(folder: Path) -> Iterator[Path]:
    found = (path for path in folder.rglob("*.py") if path.is_file())
    return (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _with_imported(file: Path, found: dict[str, Path]) -> dict[str, Path]:
    """A file, and the files beside it that it imports, directly or through others."""
    if file.name in found or not file.is_file():
        return found
    found[file.name] = file
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:  # nobody imports it then, and its bytes count as they are
        return found
    for node in ast.walk(tree):
        names = [item.name for item in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        for name in names:
            _with_imported(file.with_name(f"{name.partition('.')[0]}.py"), found)
    return found
