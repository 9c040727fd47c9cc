"""Run the quick study to its target in a process of its own, each block slowed down: STORE WORKERS."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cluster import open_executor
from experiments.run.runner import run
from studies import UNTIL, quick_study

if __name__ == "__main__":
    pool = open_executor("local", int(sys.argv[2]))
    run(quick_study(), store=Path(sys.argv[1]), executor=pool, until=UNTIL, listen=lambda _: time.sleep(0.1))
    pool.close()
