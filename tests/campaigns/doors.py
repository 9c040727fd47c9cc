"""Odd workers are refused with the difference in words, and crafted stores run nothing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from odd_workers import SAID, refused
from real_parts import ROOT, by_command_line

from studies import SHORT

CRAFTED = "tests/results/test_links.py"


def main() -> bool:
    """Each worker is refused for what is odd, the run ends with exit code 2, and no crafted store ran anything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.toml").write_text(SHORT + '[[estimators]]\nkind = "did"\n')
        with by_command_line(folder, workers=0) as cluster:
            found = refused(folder, cluster, "study.toml")
    holds = found.code == 2
    for what, said in SAID.items():
        good = said in found.why[what]
        holds &= good
        print(f"  {what}: {found.why[what]}{'' if good else '  !'}")
    print(f"  a run on these three: exit {found.code}")
    tested = subprocess.run([sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", CRAFTED], cwd=ROOT,
                            capture_output=True, text=True)  # fmt: skip
    print(f"  crafted stores ({CRAFTED}): {tested.stdout.strip().splitlines()[-1]}")
    return holds and tested.returncode == 0
