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
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
LISTS = Path(__file__).parent
ROOMS = ("sim", "estimators", "results", "experiments", "cluster")
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=short")
TIME_LIMIT = 900  # seconds of one pytest
PASSED, FAILED, BROKEN = 0, 1, 2  # exit codes of pytest, and of a child that cannot import its module
# what most modules and tests need; zarr is missing, for it has a plugin of pytest, which must come first
LIBRARIES = (
    "numpy", "pandas", "scipy.linalg", "scipy.optimize", "scipy.sparse.linalg", "scipy.special", "scipy.stats",
    "xarray", "dask.array", "distributed", "jinja2", "linearmodels", "libpysal", "pyfixest", "pytest",
)  # fmt: skip

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


class Loaded:
    """A process in a copy of the repository that holds the libraries and forks into one pytest after another.

    The copy's own modules are imported after the fork, by pytest: each run sees the files as they are then.
    """

    def __init__(self, copy: Path, *, compiled: bool = False) -> None:
        """compiled: keep what Python compiles, which is right while no file holds a fault."""
        self.copy = copy
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if not compiled:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        command = [sys.executable, str(copy / "tests" / "mutants" / "run.py"), "--serve"]
        self.process = subprocess.Popen(command, cwd=copy, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)  # fmt: skip

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *told: object) -> None:
        self.process.communicate()

    def pytest(self, arguments: Sequence[str], module: str = "") -> tuple[int, str]:
        """Exit code and output of pytest, after an import of `module`, if any."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with tempfile.NamedTemporaryFile(prefix="pytest-") as said:
            print(json.dumps([said.name, module, *OPTIONS, *arguments]), file=self.process.stdin, flush=True)
            code = int(self.process.stdout.readline() or BROKEN)
            return code, Path(said.name).read_text(encoding="utf-8", errors="replace")


def serve() -> int:
    """In the copy: import the libraries, then fork into a pytest for each line of stdin and print its exit code."""
    sys.path[0] = str(Path.cwd())
    for name in LIBRARIES:
        importlib.import_module(name)
    warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside the threads of BLAS, which knows of forks
    for line in sys.stdin:
        said, module, *arguments = json.loads(line)
        if not (pid := os.fork()):
            return _pytest_into(Path(said), module, arguments)
        print(_ended(pid, Path(said)), flush=True)
    return 0


def _pytest_into(said: Path, module: str, arguments: list[str]) -> int:
    """In a process of its own, without the pipes of the one that it comes from."""
    import pytest

    os.setsid()
    with said.open("w") as file, open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    return int(pytest.main(arguments, plugins=[_ImportFirst(module)]))


def _ended(pid: int, said: Path) -> int:
    """Its exit code; broken where a signal ended it, or the time did, which also ends what it has started."""
    limit = time.monotonic() + TIME_LIMIT
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return code if (code := os.waitstatus_to_exitcode(status)) >= 0 else BROKEN
        if time.monotonic() > limit:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            said.write_text(f"E   more than {TIME_LIMIT} seconds")
            return BROKEN
        time.sleep(0.01)


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


def judge(fault: Fault, loaded: Loaded) -> Verdict:
    """Put one fault into a copy, run its tests, take it out again."""
    begin = time.monotonic()
    file = loaded.copy / fault.file
    try:
        text = mutated(fault, file.read_bytes().decode("utf-8"))
    except (ValueError, OSError) as error:
        return Verdict(fault, "broken", str(error), 0.0)
    with changed(file, text):
        code, output = loaded.pytest(fault.tests, fault.module)
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
    with Loaded(copy, compiled=True) as loaded:
        code, output = loaded.pytest(named)
    if code != PASSED:
        raise SystemExit(f"{output}\nwithout a fault, pytest ends with {code}: correct the tests or their names")
    print(f"{len(named)} tests and files pass without a fault ({time.monotonic() - begin:.0f} s)", flush=True)


def judge_all(faults: Sequence[Fault], folder: Path, jobs: int) -> Iterator[Verdict]:
    """Verdicts in the faults' order. Every job has its own copy; the first is checked before the others are made."""
    first = folder / "copy-0"
    copy_repository(first)
    check_sound(faults, first)
    free: queue.SimpleQueue[Loaded] = queue.SimpleQueue()

    def one(fault: Fault) -> Verdict:
        loaded = free.get()
        try:
            return judge(fault, loaded)
        finally:
            free.put(loaded)

    with ExitStack() as held, ThreadPoolExecutor(jobs) as pool:
        for copy in (first, *(shutil.copytree(first, folder / f"copy-{number}") for number in range(1, jobs))):
            free.put(held.enter_context(Loaded(copy)))
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
    if arguments[:1] == ["--serve"]:
        return serve()
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
