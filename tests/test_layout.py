"""The five rooms are this repository's own, and importing them stays cheap."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = ("sim", "estimators", "results", "cluster", "experiments")
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("room", ROOMS)
def test_room_resolves_to_this_repository(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve() == REPOSITORY / room / "__init__.py"


RUN = ["run", "size", "--cluster", "serial", "--replications", "64", "--block", "64", "--store", "x.zarr"]
TABLES = ["estimate", "made/panel.csv", "--spec", "made/spec.toml"]
WITHOUT: dict[str, tuple[str, set[str]]] = {  # what runs, and what it takes longer to load than to run
    "one name": ("import panelproof", {"numpy", "pandas", "scipy", "dask", "zarr", *ROOMS}),
    "the command line": ("import experiments.cli", {"numpy", "pandas", "scipy", "dask", "zarr"}),
    "trust and placebos": ("import experiments.trust.trust, experiments.placebo", {"matplotlib"}),
    "a worker": ("import experiments.run.tasks, sim.world.context as context; context.cities()", {"pandas"}),
    "a run without workers": (f"import experiments.cli as cli; cli.run_command({RUN})",
                              {"distributed", "libpysal", "geopandas", "sklearn", "scipy.stats", "matplotlib"}),
    "tables": (f"from experiments.cli import run_command as run; run(['panel', 'example', 'made']); run({TABLES})",
               {"matplotlib", "zarr", "xarray", "dask"}),
}  # fmt: skip


@pytest.mark.parametrize("what", WITHOUT)
def test_what_needs_no_slow_library_does_without_it(what: str, tmp_path: Path) -> None:
    code, slow = WITHOUT[what]
    own = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", f"import sys; {code}; print('loaded', sorted({slow} & set(sys.modules)))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=own)
    assert done.stdout.splitlines()[-1] == "loaded []"
    assert what != "tables" or "Table 2" in done.stdout
    assert what != "a run without workers" or (tmp_path / "x.zarr").exists()


def test_no_package_imports_the_one_name_for_users():
    files = [file for room in ROOMS for file in (REPOSITORY / room).rglob("*.py")]
    assert [str(file) for file in files if re.search(r"^\s*(import|from) panelproof", file.read_text(), re.M)] == []


def test_no_registry_host_is_named() -> None:
    hosts = ("pypi" + ".org", "python" + "hosted", "debian" + ".org", "npm" + "js")
    tracked = [REPOSITORY / name for name in ("constraints.txt", "pyproject.toml", "Makefile", ".ci/run", "README.md")]
    named = [(file.name, host) for file in tracked for host in hosts if host in file.read_text(encoding="utf-8")]
    assert named == []


def _functions(file: Path) -> list[tuple[str, int]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [(f"{file.relative_to(REPOSITORY)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1) for node in found]


def test_functions_fit_on_a_screen_and_files_in_a_sitting() -> None:
    files = [file for room in ROOMS for file in (REPOSITORY / room).rglob("*.py")]
    assert [name for file in files for name, lines in _functions(file) if lines > 60] == []
    assert [file.name for file in files if len(file.read_text(encoding="utf-8").splitlines()) > 800] == []
