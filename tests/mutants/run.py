"""Deliberate faults: each is put into a copy of the repository, and the tests named beside it must fail.

The lists beside this file hold one table `[[fault]]` a fault: file, the text `old` that occurs there exactly once, the
text `new` in its place, why (the fault in a few words), and tests (what pytest is given). A fault is killed when a test
fails, alive when all pass, and broken when it is no fault of numbers: `old` is not there exactly once, the module with
`new` cannot be imported, or pytest ends in any way but "passed" and "failed".
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
LISTS = Path(__file__).parent
ROOMS = ("sim", "estimators", "results", "experiments", "cluster")
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=short")
TIME_LIMIT = 900  # seconds of one pytest
PASSED, FAILED, BROKEN = 0, 1, 2  # exit codes of pytest, and of a child that cannot import its module

State = Literal["killed", "alive", "broken"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One deliberate fault: `old` becomes `new` in `file`, and one of `tests` must fail."""

    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]

    @property
    def room(self) -> str:
        """The top-level package that it is in."""
        return self.file.partition("/")[0]

    @property
    def module(self) -> str:
        """The module that it changes, by its dotted name; "" for a style sheet or a template."""
        if not self.file.endswith(".py"):
            return ""
        return self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a fault, the first line that says why, and the seconds that it took."""

    fault: Fault
    state: State
    said: str
    seconds: float


def read_faults(folder: Path = LISTS) -> list[Fault]:
    """The faults of all lists of a folder, in the order of their files' names."""
    found = []
    for path in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["fault"]:
            found.append(Fault(**{**entry, "tests": tuple(entry["tests"])}))
    return found


def mutated(fault: Fault, text: str) -> str:
    """The file's text with the fault; raises ValueError unless `old` occurs exactly once and `new` differs."""
    count = text.count(fault.old)
    if count != 1:
        raise ValueError(f"the old text occurs {count} times")
    if fault.old == fault.new:
        raise ValueError("the new text is the old one")
    return text.replace(fault.old, fault.new)


def copy_repository(target: Path) -> None:
    """The files that git tracks, as they are in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


@contextmanager
def changed(file: Path, text: str) -> Iterator[None]:
    """Hold another text in a file. Its old time is set again with its old text, so that compiled files stay valid."""
    old, times = file.read_bytes(), file.stat()
    file.write_text(text, encoding="utf-8", newline="")
    try:
        yield
    finally:
        file.write_bytes(old)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def run_pytest(copy: Path, arguments: Sequence[str], *, module: str = "", compiled: bool = False) -> tuple[int, str]:
    """Exit code and output of pytest on a copy, after an import of `module`, if any; compiled: keep compiled files."""
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if not compiled:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "tests/mutants/run.py", "--child", module, *OPTIONS, *arguments]
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        return BROKEN, f"E   more than {TIME_LIMIT} seconds"
    return done.returncode, done.stdout + done.stderr


def child(module: str, arguments: Sequence[str]) -> int:
    """In the copy: run pytest, which first imports the module that was changed."""
    sys.path[0] = str(Path.cwd())
    import pytest

    return int(pytest.main(list(arguments), plugins=[_ImportFirst(module)]))


@dataclass(frozen=True, slots=True)
class _ImportFirst:
    """A plugin of pytest that ends it as broken unless the module, and all rooms, are those of the copy.

    pytest must be set up by then: modules that it has plugins of warn when they are imported earlier, and a warning
    would pass for a test that sees the fault.
    """

    module: str

    def pytest_sessionstart(self) -> None:
        """Called by pytest before it collects tests."""
        import pytest

        try:
            for name in filter(None, (self.module, *ROOMS)):
                spec = importlib.util.find_spec(name)
                if spec is None or not str(spec.origin).startswith(str(Path.cwd())):
                    raise ImportError(f"{name} is not that of the copy")
            if self.module:
                importlib.import_module(self.module)
        except Exception as error:  # noqa: BLE001  (whatever an import raises, the fault is broken)
            pytest.exit(f"{self.module}: {type(error).__name__}: {error}", returncode=BROKEN)


def judge(fault: Fault, copy: Path) -> Verdict:
    """Put one fault into a copy, run its tests, take it out again."""
    begin = time.monotonic()
    file = copy / fault.file
    try:
        text = mutated(fault, file.read_bytes().decode("utf-8"))
    except (ValueError, OSError) as error:
        return Verdict(fault, "broken", str(error), 0.0)
    with changed(file, text):
        code, output = run_pytest(copy, fault.tests, module=fault.module)
    states: dict[int, State] = {PASSED: "alive", FAILED: "killed"}
    state = states.get(code, "broken")
    return Verdict(fault, state, _reason(output, state), time.monotonic() - begin)


def _reason(output: str, state: State) -> str:
    """The test that failed and what it said, an error, or else the last line."""
    lines = [line for line in output.splitlines() if line.strip()]
    for start in ("FAILED ", "E  ") if state != "alive" else ():
        if told := next((line for line in lines if line.startswith(start)), ""):
            return told.removeprefix(start).strip()
    return lines[-1] if lines else ""


def check_sound(faults: Sequence[Fault], copy: Path) -> None:
    """Stop with pytest's output unless all tests that are named pass without a fault."""
    named = list(dict.fromkeys(test for fault in faults for test in fault.tests))
    begin = time.monotonic()
    code, output = run_pytest(copy, named, compiled=True)
    if code != PASSED:
        raise SystemExit(f"{output}\nwithout a fault, pytest ends with {code}: correct the tests or their names")
    print(f"{len(named)} tests and files pass without a fault ({time.monotonic() - begin:.0f} s)", flush=True)


def judge_all(faults: Sequence[Fault], folder: Path, jobs: int) -> Iterator[Verdict]:
    """Verdicts in the faults' order. Every job has its own copy; the first is checked before the others are made."""
    first = folder / "copy-0"
    copy_repository(first)
    check_sound(faults, first)
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    free.put(first)
    for number in range(1, jobs):
        free.put(shutil.copytree(first, folder / f"copy-{number}"))

    def one(fault: Fault) -> Verdict:
        copy = free.get()
        try:
            return judge(fault, copy)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(one, faults)


def report(verdict: Verdict) -> str:
    """One line of a verdict; of a fault that is not killed, with what was changed."""
    fault = verdict.fault
    line = f"{verdict.state:7}{verdict.seconds:4.0f} s  {fault.file}: {fault.why}"
    if verdict.state == "killed":
        return f"{line} | {verdict.said[:160]}"
    return f"{line}\n    {fault.old!r}\n    -> {fault.new!r}\n    {verdict.said[:300]}"


def counted(verdicts: Sequence[Verdict]) -> str:
    """How many faults of each room ended how, and of all."""
    lines = []
    for room in (*ROOMS, "panelproof.py", ""):
        states = Counter(one.state for one in verdicts if room in ("", one.fault.room))
        if total := states.total():
            said = ", ".join(f"{states[state]} {state}" for state in ("killed", "alive", "broken"))
            lines.append(f"{room or 'all':12}{total:4} faults: {said}")
    return "\n".join(lines)


def chosen(faults: Sequence[Fault], room: str, only: str) -> list[Fault]:
    """The faults of a room or of a folder in it whose file or words hold a text."""
    inside = [fault for fault in faults if fault.file.startswith(f"{room.rstrip('/')}/") or not room]
    return [fault for fault in inside if only in f"{fault.file}: {fault.why}"]


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 when every chosen fault is killed."""
    if arguments[:1] == ["--child"]:
        return child(arguments[1], arguments[2:])
    parser = argparse.ArgumentParser(description="Put deliberate faults into a copy and see the tests fail.")
    parser.add_argument("--room", default="", help="faults of one room, or of a folder such as results/tables")
    parser.add_argument("--only", default="", metavar="TEXT", help="faults whose file or description holds TEXT")
    parser.add_argument("--jobs", type=int, default=2, help="how many run at once (default 2)")
    asked = parser.parse_args(arguments)
    faults = chosen(read_faults(), asked.room, asked.only)
    if not faults:
        parser.error("no fault is chosen")
    begin, verdicts = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for verdict in judge_all(faults, Path(folder).resolve(), asked.jobs):
            verdicts.append(verdict)
            print(report(verdict), flush=True)
    print(f"{counted(verdicts)}\n{(time.monotonic() - begin) / 60:.1f} minutes")
    return int(any(verdict.state != "killed" for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
