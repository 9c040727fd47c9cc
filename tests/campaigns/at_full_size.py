"""Tests that simulate less in the suite than they could, at their full size: those that import `full_sizes`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import full_sizes

TESTS = Path(__file__).resolve().parents[1]


def main() -> bool:
    files = [file for file in sorted(TESTS.rglob("test_*.py")) if "import full_sizes" in file.read_text("utf-8")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "0", *map(str, files)]
    return subprocess.run(command, cwd=TESTS.parent, env={**os.environ, full_sizes.VARIABLE: "1"}).returncode == 0
