"""CPU and wall seconds that the report of a million panels takes, and its peak memory, measured on fewer.

The full job of bench.py in four cells and 32 worlds; one block a cell is computed, and the others are copies of it, so
that the store is made quickly. Run as `python tests/benchmarks/report_bench.py`, with `--panels 1000000` for all.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cluster import environment, pin_environment, prepare_process

pin_environment()

from estimators import SpatialPanel, TwoWayDID  # noqa: E402
from experiments.run.runner import run, schema_of  # noqa: E402
from experiments.study import Study  # noqa: E402
from results.diagnosis.diagnose import diagnose  # noqa: E402
from results.report.grids import ReportFacts  # noqa: E402
from results.report.html import html_report  # noqa: E402
from results.store import Block, ZarrStore  # noqa: E402
from sim.presets import Paper  # noqa: E402

FULL = (TwoWayDID(errors=("iid", "hc1", "cluster:unit")),
        *(SpatialPanel(m, t) for m in ("sar", "sem", "sdm") for t in ("direct", "lee-yu")))  # fmt: skip
BLOCK, WORLDS = 8192, 32
GRID = {"effect": (0.0, 0.0157), "spillover": ("none", "paper")}


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--panels", type=int, default=16 * BLOCK, help="panels of the store, in four cells")
    options.add_argument("--store", type=Path, help="a store of so many panels that is there already")
    chosen = options.parse_args()
    prepare_process()
    if chosen.store is not None:
        measured(chosen.store, chosen.panels)
        return
    print(environment(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.zarr"
        made(path, chosen.panels)
        command = [sys.executable, __file__, "--panels", str(chosen.panels), "--store", str(path)]
        subprocess.run(command, check=True)  # in a process of its own: its peak is that of the report alone


def measured(path: Path, panels: int) -> None:
    """Print what the report of a store takes."""
    works = {"diagnosis": lambda: diagnose(ZarrStore.open(path)), "and its page": lambda: page(path)}
    for label, work in works.items():
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{panels:,} panels x {len(FULL)} estimators, {label:14s}{cpu * 1e6 / panels:6.1f} s of CPU, "
              f"{wall * 1e6 / panels:6.1f} s a million panels; peak {peak:,.0f} MB", flush=True)  # fmt: skip


def made(path: Path, panels: int) -> None:
    """A store whose blocks are copies of the first one of each cell."""
    study = Study("report", Paper(), FULL, grid=GRID, replications=BLOCK, block=BLOCK, worlds=WORLDS)
    run(study, store=path)
    first = [next(iter(ZarrStore.open(path).blocks(cell))) for cell in range(len(study.cells))]
    larger = ZarrStore.open_or_create(path, schema_of(study.resized(replications=max(panels // len(first), BLOCK))))
    for cell, index in larger.pending():
        rows = larger.block_rows(index)
        larger.put(cell, index, cut(first[cell], rows), 1)


def cut(block: Block, rows: slice) -> Block:
    """A block's values at other replications."""
    some = slice(rows.stop - rows.start)
    return Block({name: values[some] for name, values in block.truth.items()},
                 {name: fits.take(some) for name, fits in block.estimates.items()}, {}, rows.start)  # fmt: skip


def page(path: Path) -> str:
    """The page of the store."""
    return html_report(diagnose(ZarrStore.open(path)), ReportFacts("report"))


if __name__ == "__main__":
    main()
