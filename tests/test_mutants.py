"""The runner of deliberate faults: what it calls killed, alive and broken, on a repository of one module."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiers
from scripts import module_of

RUNNER = Path(__file__).parent / "mutants" / "run.py"
MODULE = "def double(x):\n    return 2 * x\n"
TESTS = """
from sim.arithmetic import double

def test_it_doubles():
    assert double(3) == 6

def test_it_is_there():
    assert double
"""


@pytest.fixture(scope="module")
def runner() -> Any:
    return module_of(RUNNER, "mutant_runner")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, runner: Any) -> Iterator[Any]:
    copy = tmp_path_factory.mktemp("copy")
    for room in runner.ROOMS:
        (copy / room).mkdir()
        (copy / room / "__init__.py").write_text("")
    (copy / "sim" / "arithmetic.py").write_text(MODULE)
    (copy / "tests" / "mutants").mkdir(parents=True)
    (copy / "tests" / "mutants" / "run.py").write_bytes(RUNNER.read_bytes())
    (copy / "tests" / "test_arithmetic.py").write_text(TESTS)
    with runner.Loaded(copy) as process:
        yield process


@pytest.mark.parametrize(
    ("old", "new", "test", "state"),
    [
        pytest.param("2 * x", "3 * x", "", "killed", id="a test fails"),
        pytest.param("2 * x", "x + x", "", "alive", id="the same numbers"),
        pytest.param("2 * x", "3 * x", "::test_it_is_there", "alive", id="the test looks elsewhere"),
        pytest.param("def double", "import nowhere\ndef double", "", "broken", id="cannot be imported"),
        pytest.param("3 * x", "4 * x", "", "broken", id="nowhere in the file"),
        pytest.param("x", "y", "", "broken", id="in several places"),
        pytest.param("2 * x", "3 * x", "::test_of_another_name", "broken", id="no such test"),
        pytest.param("double", "triple", "", "broken", id="what the tests import is gone"),
        pytest.param("return 2 * x", "import os; os.abort()", "", "broken", id="the process dies"),
        pytest.param("2 * x", "3 * x", "", "killed", id="the next one after it"),
    ],
)
def test_what_becomes_of_a_fault(runner: Any, loaded: Any, old: str, new: str, test: str, state: str) -> None:
    fault = runner.Fault("sim/arithmetic.py", old, new, "a fault", (f"tests/test_arithmetic.py{test}",))
    assert runner.judge(fault, loaded).state == state
    assert (loaded.copy / "sim" / "arithmetic.py").read_text() == MODULE


def test_the_lists_name_files_tests_and_faults_once(runner: Any) -> None:
    faults = runner.read_faults()
    assert {fault.room for fault in faults} == {*runner.ROOMS, "panelproof.py"}
    assert len({(fault.file, fault.old, fault.new) for fault in faults}) == len(faults)
    for fault in faults:
        assert fault.why
        assert fault.tests
        text = (RUNNER.parents[2] / fault.file).read_text(encoding="utf-8")
        assert text.count(fault.old) == 1, f"{fault.file}: {fault.why}"
        for test in fault.tests:
            assert (RUNNER.parents[2] / test.partition("::")[0]).is_file(), test


def test_no_fault_is_seen_by_a_name_that_is_not_there(runner: Any, tmp_path: Path) -> None:
    """A NameError fails every test, and so proves nothing of the numbers."""
    for number, fault in enumerate(runner.read_faults()):
        if fault.file.endswith(".py"):
            text = (RUNNER.parents[2] / fault.file).read_text(encoding="utf-8").replace(fault.old, fault.new)
            file = tmp_path / str(number) / Path(fault.file).name  # `__path__` is a name of packages alone
            file.parent.mkdir()
            file.write_text(f"# {fault.file}: {fault.why}\n{text}", encoding="utf-8")
    command = [Path(sys.executable).parent / "ruff", "check", "--isolated", "--no-cache", "--select", "F821,F823",
               "--target-version", "py312", "--output-format", "concise", tmp_path]  # fmt: skip
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    files = {line.partition(":")[0] for line in found.stdout.splitlines() if line.startswith(str(tmp_path))}
    assert {Path(file).read_text(encoding="utf-8").partition("\n")[0]: found.stdout for file in files} == {}
    assert "All checks passed" in found.stdout


def test_make_test_sees_nearly_all_faults(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    """Of the faults at least 95% have all their tests in `make test`; the others are seen by `make check`."""
    if [Path(name).resolve() for name in request.config.args] != [tiers.TESTS]:
        pytest.skip("only some tests were collected")
    faults, unseen = tiers.fault_tests(), tiers.unseen(collected := request.config.stash[tiers.QUICKLY])
    known = {name for test in collected for name in (test, tiers.function_of(test), test.partition("::")[0])}
    assert {name for names in faults for name in names} <= known, "a test that is named is not there"
    share = 1 - len(unseen) / len(faults)
    record_property("faults", f"make test sees {len(faults) - len(unseen)} of {len(faults)} ({share:.1%})")
    assert share >= 0.95, unseen
