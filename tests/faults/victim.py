"""A run that is there to be killed: STORE WHERE WRITES PAUSE, in a process of its own; WHERE may be "together"."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from cluster import open_executor
from experiments.run.runner import run
from results.store import disk
from studies import quick_study

REPLICATIONS = 960

if __name__ == "__main__":
    path, where, writes, pause = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
    disk.LEAST_PAUSE, disk.COST = 0.01, 1.0  # blocks are committed as they come: kills come between them
    together = where == "together"
    with closing(open_executor("serial" if together else where, 2 if where == "local" else None)) as pool:
        run(quick_study(REPLICATIONS), store=path, executor=pool, listen=lambda _: time.sleep(pause), writes=writes,
            together=together)  # fmt: skip
