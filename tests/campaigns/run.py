"""Long campaigns of evidence, too slow for the tests: `make campaigns`, or `python tests/campaigns/run.py NAME ...`.

Each prints what it found and whether it holds; the exit code is 1 unless all hold.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

from scripts import named  # noqa: E402

CAMPAIGNS = {
    "twins": "recovered_twins",
    "synthetic": "published_synthetic",
    "searches": "searches",
    "verdicts": "verdicts",
    "races": "races",
    "plugins": "plug_ins",
    "places": "places",
    "doors": "doors",
    "another-user": "another_user",
    "numbers": "other_numbers",
    "newcomer": "newcomer",
    "full": "at_full_size",
}


def main(names: list[str]) -> int:
    wanted = named(CAMPAIGNS, names, __doc__)
    importlib.import_module("cluster").prepare_process()
    failed = []
    for name in wanted:
        begin = time.process_time()
        print(f"== {name}", flush=True)
        holds = importlib.import_module(CAMPAIGNS[name]).main()
        said, spent = "holds" if holds else "DOES NOT HOLD", time.process_time() - begin
        print(f"{name}: {said} ({spent:.0f} s of CPU)", flush=True)
        failed += [] if holds else [name]
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
