"""Run the small study in a process of its own, each block slowed down: STORE WORKERS (0 = serial) [WRITES]."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cluster import open_executor
from experiments.run.runner import run
from studies import small_study

if __name__ == "__main__":
    place, workers = sys.argv[1], int(sys.argv[2])
    writes = sys.argv[3] if len(sys.argv) > 3 else "client"
    pool = open_executor("local" if workers else "serial", workers or None)
    run(small_study(), store=place, executor=pool, listen=lambda _: time.sleep(0.4), writes=writes)
    pool.close()
