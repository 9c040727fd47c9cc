"""What an installed panelproof needs is in its package, and who has no Python for it is told how to get one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd
import pytest
from commands import here

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("sim", "estimators", "results", "cluster", "experiments")
SETTINGS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def data_files() -> list[Path]:
    """Every file of the packages that is no module."""
    files = [path for room in ROOMS for path in (REPOSITORY / room).rglob("*") if path.is_file()]
    return [path.relative_to(REPOSITORY) for path in files if path.suffix != ".py" and "__pycache__" not in path.parts]


def is_packaged(file: Path) -> bool:
    """Whether package-data of some package above a file has a pattern for it."""
    patterns: dict[str, list[str]] = SETTINGS["tool"]["setuptools"]["package-data"]
    for parent in file.parents:
        for pattern in patterns.get(".".join(parent.parts), ()):
            if fnmatch(file.relative_to(parent).as_posix(), pattern):
                return True
    return False


def test_every_data_file_is_part_of_the_package() -> None:
    files = data_files()
    assert len(files) > 20
    assert [str(file) for file in files if not is_packaged(file)] == []


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for room in ROOMS for path in (REPOSITORY / room).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_a_machine_without_python_is_told_how_to_get_one(tmp_path: Path) -> None:
    done = subprocess.run(["/bin/sh", str(REPOSITORY / "find-python.sh")], env={"PATH": str(tmp_path)}, text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert all(
        program in done.stderr for program in ("uv python install", "conda create", "brew install", "apt install")
    )


def test_documents_give_the_same_commands() -> None:
    for page in ("README.md", "docs/install.md"):
        text = " ".join((REPOSITORY / page).read_text(encoding="utf-8").split())
        for command in ("uv python install 3.13", "conda create -n panelproof python=3.13", "brew install python@3.13",
                        "apt install python3 python3-venv"):  # fmt: skip
            assert command in text, (page, command)


@pytest.mark.long
@pytest.mark.parametrize("versions", [("--constraints", "constraints.txt"), ("--resolution", "lowest-direct")])
def test_uv_installs_a_program_that_runs_a_study(versions: tuple[str, str], tmp_path: Path) -> None:
    """With the libraries of the constraints, and with the oldest Python that is here and the oldest libraries that are
    allowed: estimates are the same."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if uv is None:
        pytest.skip("there is no uv on the PATH; pip install uv")
    source = tmp_path / "source"  # an installation leaves a folder in what it installs
    left_out = shutil.ignore_patterns(".*", "build", "runs", "*.egg-info", "__pycache__")
    shutil.copytree(REPOSITORY, source, ignore=left_out)
    found = subprocess.run(["/bin/sh", "find-python.sh"], cwd=source, text=True, capture_output=True, check=True)
    own = {"UV_TOOL_DIR": tmp_path / "tools", "UV_TOOL_BIN_DIR": tmp_path / "bin", "UV_PYTHON_DOWNLOADS": "never"}
    inherited = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    there = inherited | {name: str(value) for name, value in own.items()}
    oldest = subprocess.run([uv, "python", "find", "3.12"], env=there, text=True, capture_output=True, check=False)
    python = oldest.stdout.strip() if "lowest-direct" in versions and oldest.returncode == 0 else found.stdout.strip()
    command = [uv, "tool", "install", "--python", python, *versions, "."]
    installed = subprocess.run(command, cwd=source, env=there, text=True, capture_output=True, check=False)
    if "Failed to fetch" in installed.stderr:
        pytest.skip("no package registry answers")
    assert installed.returncode == 0, installed.stderr
    program = str(tmp_path / "bin" / "panelproof")

    def said(*arguments: str) -> str:
        return subprocess.run([program, *arguments], cwd=tmp_path, env=there, text=True, capture_output=True,
                              check=True).stdout  # fmt: skip

    assert said("--version").startswith("panelproof, version ")
    said("panel", "example", "example")
    said("panel", "check", "example/panel.csv", "--spec", "example/spec.toml")
    said("run", "size", "--replications", "64", "--cluster", "serial", "--html", "size.html")
    assert (tmp_path / "size.html").stat().st_size > 0
    assert said("report", "runs/size.zarr").startswith("size: ")
    said("estimate", "example/panel.csv", "--spec", "example/spec.toml", "--format", "json,html,xlsx", "--out", "out")
    here("estimate", tmp_path / "example/panel.csv", "--spec", tmp_path / "example/spec.toml", "--format", "json",
         "--out", tmp_path / "own")  # fmt: skip
    theirs, ours = (pd.DataFrame(json.loads((tmp_path / out / "estimates.json").read_text())["records"])
                    for out in ("out", "own"))  # fmt: skip
    assert len(ours) > 1000
    pd.testing.assert_frame_equal(theirs, ours, rtol=1e-6, atol=1e-12)


def test_make_says_at_once_what_is_installed_and_shows_that_it_goes_on(tmp_path: Path) -> None:
    """With stand-ins for Python and pip, which is silent for two seconds; its failure is that of make."""
    (tmp_path / "Makefile").write_bytes((REPOSITORY / "Makefile").read_bytes())
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$2" = venv ] && mkdir -p .venv/bin && cp "$0" .venv/bin/python && exit 0\n'
                      'echo "$*" >> asked\n[ -e quick ] || sleep 2.5\n[ ! -e fails ]\n')  # fmt: skip
    python.chmod(0o755)
    (tmp_path / "find-python.sh").write_text(f"echo {python}\n")
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    made = subprocess.run(["make", "venv"], cwd=tmp_path, env=alone, capture_output=True, text=True, check=True,
                          timeout=60)  # fmt: skip
    using, said, where, dots, *_ = made.stdout.splitlines()
    assert using.startswith("using ")
    assert said.startswith("installing panelproof and its libraries")
    assert where.startswith("into .venv: half a minute")
    assert max(map(len, (said, where, dots))) <= 80
    assert set(dots) == {"."}
    *_, first, then = (tmp_path / "asked").read_text().splitlines()  # there is no uv, so that pip does all of it
    assert (first.split()[-1], then.split()[-2:]) == ("uv", ["-e", ".[dev]"])
    (tmp_path / "quick").touch()
    python.write_text(python.read_text().replace("exit 0", 'cp "$0" .venv/bin/uv && exit 0'))
    (tmp_path / ".venv" / ".installed").unlink()
    subprocess.run(["make", "venv"], cwd=tmp_path, env=alone, capture_output=True, check=True, timeout=60)
    assert (tmp_path / "asked").read_text().splitlines()[-1].startswith("pip install --quiet --python .venv/bin/python")
    (tmp_path / "fails").touch()
    (tmp_path / ".venv" / ".installed").unlink()
    assert subprocess.run(["make", "venv"], cwd=tmp_path, capture_output=True, check=False, timeout=60).returncode != 0
    assert not (tmp_path / ".venv" / ".installed").exists()
