"""What portable numbers cost: processor seconds of a block with them, over those of a block without, in turns.

Run as `python tests/benchmarks/numbers_bench.py`. Two processes, one started with the settings of portable numbers,
compute the same block of each study one after the other; the median of the ratios counts, and the spread is that of
their quarters. It also says what the probe takes in a process that has loaded what studies need.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

BLOCKS = {"did": 2048, "full-job": 256, "staggered": 256, "mediation": 64}  # replications of each study's block


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=9, help="pairs of blocks a study")
    options.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.worker:
        work()
        return
    import numpy as np
    from masked import masked

    from cluster.numbers import check_machine

    workers = {name: subprocess.Popen([sys.executable, __file__, "--worker"], env=masked(settings), text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
               for name, settings in (("default", {}), ("portable", check_machine()))}  # fmt: skip
    try:
        probes = [asked(worker, "probe") for worker in workers.values()]
        print(f"the probe takes {max(probes) * 1e3:.0f} ms of a process")
        for kind in BLOCKS:
            pairs = [[asked(worker, kind) for worker in workers.values()] for _ in range(chosen.rounds + 1)][1:]
            ratios = [portable / default for default, portable in pairs]
            low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
            print(f"{kind:10s} portable / default {middle:.2f} ({low:.2f} to {high:.2f})", flush=True)
    finally:
        for worker in workers.values():
            worker.stdin.close()
            worker.wait()


def asked(worker: subprocess.Popen[str], what: str) -> float:
    """Seconds that a worker says."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    print(what, file=worker.stdin, flush=True)
    return float(worker.stdout.readline())


def work() -> None:
    """Answer each line with the processor seconds of what it names."""
    from masked import STUDIES

    from cluster import prepare_process
    from cluster.numbers import probe
    from experiments.run.tasks import runner_of
    from experiments.study import Study

    prepare_process()
    with tempfile.TemporaryDirectory() as folder:
        studies = dict[str, Study]()
        for kind, text in STUDIES.items():
            file = Path(folder) / f"{kind}.toml"
            file.write_text(text)
            studies[kind] = Study.from_toml(file)
        for line in sys.stdin:
            kind = line.strip()
            runner = runner_of(studies[kind], 0) if kind in studies else None
            begin = time.process_time()
            if runner is None:
                probe()
            else:
                runner.run(0, BLOCKS[kind])
            print(time.process_time() - begin, flush=True)


if __name__ == "__main__":
    main()
