"""The long campaign of faults: `make faults`, or `python tests/faults/run.py`. Exit 1 unless every recipe holds."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "support"))

from cluster import pin_environment

pin_environment()

import recipes  # noqa: E402
from recipes import Found  # noqa: E402


def main() -> int:
    """Run every recipe and print its count."""
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = recipes.serial_hash(folder)
        for recipe in (
            lambda: recipes.killed_clients(folder, reference, 20),
            lambda: recipes.killed_clients(folder, reference, 4, "workers"),
            lambda: recipes.killed_workers(folder, reference, 6),
            lambda: recipes.killed_workers(folder, reference, 2, "workers"),
            lambda: recipes.killed_schedulers(folder, reference, 2),
            lambda: recipes.full_disk(folder, reference),
            lambda: recipes.file_size_limit(folder, reference),
            lambda: recipes.damaged_files(folder, reference, 2),
            lambda: recipes.silent_damage(folder, reference),
        ):
            begin = time.monotonic()
            found: Found = recipe()
            failed += not found.holds
            print(f"{'holds' if found.holds else 'FAILS'}  {found.said} ({time.monotonic() - begin:.0f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
