"""The five rooms are this repository's own, and importing them stays cheap."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import named

ROOMS = ("sim", "estimators", "results", "cluster", "experiments")
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("room", ROOMS)
def test_room_resolves_to_this_repository(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve() == REPOSITORY / room / "__init__.py"


def test_command_line_starts_without_the_numerical_packages() -> None:
    code = "import sys, experiments.cli; print(sorted({'numpy', 'pandas', 'scipy', 'dask', 'zarr'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("code", "slow"),
    [
        ("import experiments.trust.trust, experiments.placebo", "matplotlib"),  # figures of tables: where asked for
        ("import experiments.run.tasks, sim.world.context as context; context.cities()", "pandas"),  # as a worker does
    ],
)
def test_what_needs_no_slow_library_does_without_it(code: str, slow: str) -> None:
    """Each takes as long to load as a table to fit, or a worker to start."""
    done = subprocess.run([sys.executable, "-c", f"import sys; {code}; print({slow!r} in sys.modules)"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == "False"


def test_tables_are_printed_without_what_stores_and_pictures_need(tmp_path: Path) -> None:
    """A figure is drawn where it is written, a store is opened where there is one."""
    code = (
        "import sys, experiments.cli as cli; cli.run_command(['panel', 'example', 'made']);"
        "cli.run_command(['estimate', 'made/panel.csv', '--spec', 'made/spec.toml']);"
        "print('loaded', sorted({'matplotlib', 'zarr', 'xarray', 'dask'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "Table 2" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_no_package_imports_the_one_name_for_users():
    files = [file for room in ROOMS for file in (REPOSITORY / room).rglob("*.py")]
    assert [str(file) for file in files if re.search(r"^\s*(import|from) panelproof", file.read_text(), re.M)] == []


def test_no_registry_host_is_named() -> None:
    hosts = ("pypi" + ".org", "python" + "hosted", "debian" + ".org", "npm" + "js")
    tracked = [REPOSITORY / name for name in ("constraints.txt", "pyproject.toml", "Makefile", ".ci/run", "README.md")]
    named = [(file.name, host) for file in tracked for host in hosts if host in file.read_text(encoding="utf-8")]
    assert named == []


def test_a_script_of_the_tests_refuses_a_name_that_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert named(("one", "two"), [], None) == ["one", "two"]
    assert named(("one", "two"), ["two"], None) == ["two"]
    with pytest.raises(SystemExit, match="2"):
        named(("one", "two"), ["two", "three"], None)
    assert "error: no three; there are one, two" in capsys.readouterr().err


def _functions(file: Path) -> list[tuple[str, int]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [(f"{file.relative_to(REPOSITORY)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1) for node in found]


def test_functions_fit_on_a_screen_and_files_in_a_sitting() -> None:
    files = [file for room in ROOMS for file in (REPOSITORY / room).rglob("*.py")]
    assert [name for file in files for name, lines in _functions(file) if lines > 60] == []
    assert [file.name for file in files if len(file.read_text(encoding="utf-8").splitlines()) > 800] == []
