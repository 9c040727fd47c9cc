"""Which tests `make test` leaves out because they take long: measured in a whole run, written into `tests/long.txt`.

`make check` runs all tests. `make test` leaves out those of a marker that says why: `browser`, `server`, `documents`,
and `long`. A test file marks its own; `tests/conftest.py` marks as long what the list names, by test or by case.

    PYTEST_ADDOPTS="--durations=0 --durations-min=0.05" make check > durations.txt    # two quiet cores
    python tests/support/tiers.py durations.txt                                     # writes the list, says what is left

The list is chosen, longest first, until the rest fits into the budget. Tests that see a deliberate fault
(`tests/mutants/*.toml`) stay, but for those of many seconds.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
LIST = TESTS / "long.txt"
LEFT_OUT = ("long", "browser", "server", "documents")  # markers
QUICKLY = pytest.StashKey[dict[str, bool]]()  # of every test that was collected, whether `make test` runs it
QUICK = f"not ({' or '.join(LEFT_OUT)})"  # what `make test` runs
BUDGET = 460.0  # seconds of all tests together, three at a time; two at a time they take 5 minutes
KILLER = 5.0  # seconds from which on even a test that sees a fault is long
LINE = re.compile(r"^\s*([\d.]+)s (setup|call|teardown)\s+(\S.*?)\s*$")


def measured(report: str) -> dict[str, float]:
    """Seconds by test, of the lines that pytest's `--durations` printed."""
    seconds = Counter[str]()
    for line in report.splitlines():
        if found := LINE.match(line):
            seconds[found[3]] += float(found[1])
    return dict(seconds)


def function_of(test: str) -> str:
    """The test without its case."""
    return test.partition("[")[0]


def matching(name: str, tests: Iterable[str]) -> list[str]:
    """The tests that a name stands for: a file, a function or one case."""
    return [test for test in tests if name in (test, function_of(test), test.partition("::")[0])]


def fault_tests() -> list[list[str]]:
    """Of each deliberate fault the names of the tests that see it."""
    lists = sorted((TESTS / "mutants").glob("*.toml"))
    return [fault["tests"] for path in lists for fault in tomllib.loads(path.read_text("utf-8"))["fault"]]


def unseen(quickly: Mapping[str, bool]) -> list[list[str]]:
    """The faults, each by the names of its tests, of which `make test` leaves out a test or a case."""
    by_name = defaultdict[str, list[bool]](list)
    for test, quick in quickly.items():
        for name in {test, function_of(test), test.partition("::")[0]}:
            by_name[name].append(quick)
    return [names for names in fault_tests() if not all(by_name[name] and all(by_name[name]) for name in names)]


def chosen(
    seconds: Mapping[str, float], killers: set[str], budget: float = BUDGET, killer: float = KILLER
) -> list[str]:
    """The tests that are left out: the longest that see no fault, and those that take longer than a killer may."""
    rest = sum(seconds.values())
    found = [test for test in seconds if test in killers and seconds[test] > killer]
    rest -= sum(seconds[test] for test in found)
    for test in sorted(set(seconds) - killers, key=lambda test: (-seconds[test], test)):
        if rest <= budget:
            break
        found.append(test)
        rest -= seconds[test]
    return found


def shortened(left_out: Iterable[str], every: Iterable[str]) -> list[str]:
    """Names in order: a function stands for its cases where all of them are left out."""
    cases = Counter(map(function_of, every))
    gone = Counter(map(function_of, left_out))
    whole = {name for name, count in gone.items() if count == cases[name]}
    return sorted(whole | {test for test in left_out if function_of(test) not in whole})


def collected(expression: str) -> list[str]:
    """The tests that pytest would run of those of some marker."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", expression, "-p", "no:cacheprovider"]
    lines = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if "::" in line]


def main(arguments: Sequence[str]) -> int:
    """Write the list, and print what is left."""
    parser = argparse.ArgumentParser(description="Choose the tests that `make test` leaves out.")
    parser.add_argument("durations", type=Path, help="what pytest --durations=0 printed")
    parser.add_argument("--budget", type=float, default=BUDGET, help=f"seconds of all tests (default {BUDGET:g})")
    asked = parser.parse_args(arguments)
    LIST.write_text("", encoding="utf-8")
    unlisted = collected(QUICK)
    known = set(unlisted)
    seconds = {test: time for test, time in measured(asked.durations.read_text("utf-8")).items() if test in known}
    killers = {test for names in fault_tests() for name in names for test in matching(name, unlisted)}
    left_out = chosen(seconds, killers, asked.budget)
    LIST.write_text("".join(f"{name}\n" for name in shortened(left_out, unlisted)), encoding="utf-8")
    rest = sum(seconds.values()) - sum(seconds[test] for test in left_out)
    print(f"{len(left_out)} of {len(unlisted)} tests are left out by the list; the others take {rest:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
