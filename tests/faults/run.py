"""The long campaign of faults: `make faults`, or `python tests/faults/run.py NAME ...`.

Each recipe prints its count and whether it holds; the exit code is 1 unless all hold. The code must not be edited
meanwhile: a run refuses blocks of other code.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "support"))

from cluster import pin_environment

pin_environment()

import recipes  # noqa: E402
from recipes import Found  # noqa: E402
from scripts import named  # noqa: E402

RECIPES: dict[str, Callable[[Path, str], Found]] = {
    "clients": lambda folder, reference: recipes.killed_clients(folder, reference, 20),
    "crew": lambda folder, reference: recipes.killed_crew(folder, reference, 12),
    "workers": lambda folder, reference: recipes.killed_workers(folder, reference, 6),
    "schedulers": lambda folder, reference: recipes.killed_schedulers(folder, reference, 2),
    "clients-of-writing-workers": lambda folder, reference: recipes.killed_clients(folder, reference, 4, "workers"),
    "writing-workers": lambda folder, reference: recipes.killed_workers(folder, reference, 2, "workers"),
    "disk": recipes.full_disk,
    "limit": recipes.file_size_limit,
    "files": lambda folder, reference: recipes.damaged_files(folder, reference, 2),
    "silent": recipes.silent_damage,
    "power": lambda folder, _: recipes.power_cuts(folder, 40),
    "power-of-disks": lambda folder, _: recipes.power_cuts_of_disks(folder, 20),
}


def main(names: list[str]) -> int:
    wanted, failed = named(RECIPES, names, __doc__), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = recipes.serial_hash(folder)
        for chosen in wanted:
            begin = time.monotonic()
            found = RECIPES[chosen](folder, reference)
            failed += not found.holds
            print(f"{'holds' if found.holds else 'FAILS'}  {found.said} ({time.monotonic() - begin:.0f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
