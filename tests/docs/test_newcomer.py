"""The campaign `newcomer` types what README says, and measures what a terminal of 80 columns is shown."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import blocks
import pytest
from scripts import module_of

FILE = blocks.REPOSITORY / "tests" / "campaigns" / "newcomer.py"


@pytest.fixture(scope="module")
def newcomer() -> ModuleType:
    return module_of(FILE)


def test_the_path_of_readme_begins_with_the_demo_and_finds_every_command(newcomer: ModuleType) -> None:
    found = newcomer.commands(blocks.REPOSITORY / "README.md")
    assert found[:2] == [newcomer.DEMO, ". .venv/bin/activate"]
    assert found[2] == "make test"
    assert {line.split()[0] for line in found[3:]} == {"panelproof"}
    assert "panelproof panel example example" in found
    assert len(found) > 10


def test_a_command_is_timed_measured_and_leaves_its_environment(newcomer: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "clone").mkdir()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm"}
    text = "printf '\\033[1mover\\rit 是 holds\\033[0m\\n'; echo aaaaaaaaaaaaaaaaaaaa; OWN=1; export OWN"
    step, left = newcomer.walk(text, tmp_path / "clone", environment)
    assert (step.code, left["OWN"]) == (0, "1")
    assert step.widest == "a" * 20
    assert 0.0 < step.answered <= step.seconds
    seen, _ = newcomer.walk('test "$(stty size)" = "24 80"', tmp_path / "clone", left)
    assert seen.code == 0
    failed, _ = newcomer.walk("echo nothing; false", tmp_path / "clone", left)
    assert failed.code == 1
    assert failed.answered != failed.answered
    assert "ENDED WITH 1" in str(failed)


def test_a_fresh_machine_has_no_settings_of_this_process(
    newcomer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "COLUMNS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    made = newcomer.fresh(tmp_path)
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "COLUMNS", "OPENBLAS_NUM_THREADS"} & set(made)
    assert str(Path(sys.prefix) / "bin") not in made["PATH"].split(os.pathsep)
    assert made["PIP_NO_CACHE_DIR"] == "1"
