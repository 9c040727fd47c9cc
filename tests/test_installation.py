"""What an installed panelproof needs is in its package, and who has no Python for it is told how to get one."""

from __future__ import annotations

import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

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
