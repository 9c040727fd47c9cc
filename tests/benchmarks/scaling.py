"""What a task, a block and a store cost here, and how far a cluster carries: `python tests/benchmarks/scaling.py`.

First measured costs; then real runs whose workers sleep the measured times; then a simulation of up to 10,000 workers
against the measured scheduler and client; then what commands cost on stores of up to 100,000 blocks, each in a process
of its own. `clients` and `blocks` print a part alone, `blocks 1000` one size. docs/scaling.md holds a printed run.
"""

from __future__ import annotations

import heapq
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

from cluster import Outcome, environment, open_executor, pin_environment, prepare_process

pin_environment()

import numpy as np  # noqa: E402
from many_blocks import BLOCK as SMALL  # noqa: E402
from many_blocks import fabricated, many_blocks  # noqa: E402

from estimators import SpatialPanel, TwoWayDID  # noqa: E402
from experiments.run.runner import run, schema_of  # noqa: E402
from experiments.run.tasks import Job, Result, runner_of  # noqa: E402
from experiments.study import Study  # noqa: E402
from results.diagnosis.diagnose import diagnose  # noqa: E402
from results.store import Block, ZarrStore  # noqa: E402
from results.store.block import block_arrays, part_digests  # noqa: E402
from results.store.chunks import Written, shared, write_chunks  # noqa: E402
from sim.presets import Paper  # noqa: E402

BLOCK = 2048
TASK_SECONDS = 0.75  # blocks are grouped until a task lasts about so long (`cluster.executor`)
WORKERS = (10, 100, 1_000, 10_000)
SLEEPERS = (1, 10, 20, 40, 80)
MEASURED = """
import sys, time
from experiments.cli import run_command
code = run_command(sys.argv[1:])
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.process_time(), peak, file=sys.stderr)
sys.exit(code)
"""  # the peak of a process that was started counts that of its parent; this is its own
SIZES = {"1000": (10, 100), "10000": (100, 100), "100000": (100, 1000), "600 cells x 50": (600, 50)}  # cells, blocks
QUICK = 0.18  # seconds of a block of DID on a core of its own


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds: of a block computed, written whole by one process, marked by the client, diagnosed; bytes and files."""

    name: str
    compute: float
    write: float
    mark: float
    diagnose: float
    bytes: float
    files: float


def study_of(name: str, cells: int = 12, replications: int = BLOCK, block: int = BLOCK) -> Study:
    """A cheap study (DID), one of three estimators (DID, SAR, SDM), and a dear one, whose SDM has clustered errors."""
    did, sar = TwoWayDID(errors=("iid", "hc1", "cluster:unit")), SpatialPanel("sar", "lee-yu")
    three = (did, sar, SpatialPanel("sdm", "direct"))
    dear = (did, sar, SpatialPanel("sdm", "direct", errors=("information", "cluster:unit")))
    grid = (("effect", tuple(1e-4 * number for number in range(cells))),)
    estimators = {"did": (did,), "three": three, "dear": dear}[name]
    return Study(name, Paper(), estimators, seed=1, grid=grid, replications=replications,
                 block=block)  # fmt: skip


def seconds_of(work: Callable[[int], Any], times: int) -> float:
    """The median of some calls."""
    found = []
    for number in range(times):
        begin = time.perf_counter()
        work(number)
        found.append(time.perf_counter() - begin)
    return float(np.median(found))


def weight_of(path: Path) -> tuple[int, int]:
    """Files and bytes in a folder."""
    sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    return len(sizes), sum(sizes)


def costs_of(name: str, folder: Path) -> tuple[Costs, Block]:
    """Measured costs of a study, and one of its blocks."""
    study = study_of(name)
    runner_of(study, 0).run(0, BLOCK)
    compute = seconds_of(lambda _: runner_of(study, 0).run(0, BLOCK), 3)
    block = runner_of(study, 0).run(0, BLOCK)
    store = ZarrStore.create(folder / f"{name}.zarr", schema_of(study))
    empty = weight_of(store.path)
    write = seconds_of(lambda cell: store.write(cell, 0, block), len(study.cells))
    full = weight_of(store.path)
    digests = part_digests(block_arrays(block, store.layouts, store.estimands))
    mark = seconds_of(lambda cell: store.commit(cell, 0, Written(digests, {})), len(study.cells))
    begin = time.perf_counter()
    diagnose(store)
    each = len(study.cells)
    diagnosed = (time.perf_counter() - begin) / each
    return Costs(name, compute, write, mark, diagnosed, (full[1] - empty[1]) / each, (full[0] - empty[0]) / each), block


def task_seconds() -> float:
    """Seconds of a task that does nothing, on a local cluster with one worker, there and back."""
    with closing(open_executor("local", 1)) as pool:
        list(pool.run(abs, range(50)))
        begin = time.perf_counter()
        list(pool.run(abs, range(400)))
        return (time.perf_counter() - begin) / 400


def print_store(folder: Path, block: Block) -> None:
    """The start with 50,000 empty blocks; the hash of a store, with the memory that it takes."""
    large = study_of("did", 10, 5000 * 64, 64)
    begin = time.perf_counter()
    ZarrStore.create(folder / "empty.zarr", schema_of(large))
    made = time.perf_counter() - begin
    begin = time.perf_counter()
    found = len(ZarrStore.open_or_create(folder / "empty.zarr", schema_of(large)).unfinished())
    print(f"start with {found:,} empty blocks: {time.perf_counter() - begin:.2f} s (made in {made:.2f} s)")
    many = study_of("did", 200)
    store = ZarrStore.create(folder / "many.zarr", schema_of(many))
    for cell in range(len(many.cells)):
        store.write(cell, 0, block)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    store.content_hash()
    spent = time.perf_counter() - begin
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    size = weight_of(store.path)[1] / 1e6
    print(f"hash of {size:.0f} MB in {len(many.cells)} blocks: {spent:.1f} s, {more:.0f} MB more memory at most")
    begin = time.perf_counter()
    ZarrStore.open_or_create(store.path, schema_of(many)).unfinished()
    print(
        f"start with {len(many.cells)} full blocks: {1e3 * (time.perf_counter() - begin) / len(many.cells):.2f} ms each"
    )


def print_costs(costs: Costs) -> None:
    """Costs of a block, and what 500 cells of one block weigh."""
    print(f"{costs.name}: a block of {BLOCK:,} computed {1e3 * costs.compute:.0f} ms, written {1e3 * costs.write:.1f}, "
          f"marked {1e3 * costs.mark:.1f}, diagnosed {1e3 * costs.diagnose:.1f}; one writing process carries "
          f"{costs.compute / costs.write:.0f} workers, one that marks {costs.compute / costs.mark:.0f}")  # fmt: skip
    print(f"  {costs.files:.0f} files, {costs.bytes / 1e6:.2f} MB; 500 such are {500 * costs.files:,.0f} files, "
          f"{500 * costs.bytes / 1e6:,.0f} MB")  # fmt: skip


@dataclass(eq=False, slots=True)
class Sleepers:
    """An executor whose workers sleep what a block takes; results are those of one block that was computed before.

    Each worker begins its next job when it has ended one, as with a window of tasks, whatever this process does.
    """

    workers: int
    seconds: float
    block: Block
    written: Written | None
    address: str = "sleeping workers"

    def run(self, function: object, jobs: Iterable[Job], careful: object = None) -> Iterator[Outcome]:
        """Outcomes when they are due."""
        queue, now = iter(jobs), time.perf_counter()
        due: list[tuple[float, int, Job]] = []
        for number, job in zip(range(self.workers), queue, strict=False):
            heapq.heappush(due, (now + self.seconds, number, job))
        while due:
            at, number, job = heapq.heappop(due)
            time.sleep(max(0.0, at - time.perf_counter()))
            follower = next(queue, None)
            if follower is not None:
                heapq.heappush(due, (at + self.seconds, number, follower))
            held = replace(self.block, start=job.start) if self.written is None else self.written
            yield Outcome(job, result=Result(held, self.seconds))

    def close(self) -> None:
        """Nothing was started."""


def print_sleepers(folder: Path, costs: Costs, block: Block) -> None:
    """Blocks a second of real runs into a store with workers that sleep, in both modes."""
    print(f"\n{costs.name}: blocks a second with sleeping workers (share of what as many workers alone would give)")
    for writes in ("client", "workers"):
        line = []
        for workers in SLEEPERS:
            blocks = max(24, min(6 * workers, 240))
            study = study_of(costs.name, blocks)
            path = folder / f"{costs.name}-{writes}-{workers}.zarr"
            store, written = ZarrStore.create(path, schema_of(study)), None
            seconds = costs.compute
            if writes == "workers":  # what the workers would have written lies there before
                seconds += costs.write - costs.mark
                with shared(path) as place:
                    for cell in range(blocks):
                        written = write_chunks(place, cell, 0, block)
            del store
            times: list[float] = []
            run(study, store=path, executor=Sleepers(workers, seconds, block, written), writes=writes,
                listen=lambda _, times=times: times.append(time.perf_counter()))  # fmt: skip
            rate = blocks / (times[-1] - times[0])
            line.append(f"{workers}: {rate:.1f} ({100 * rate * costs.compute / workers:.0f} %)")
        print(f"  {writes:8} write  " + "   ".join(line))


def simulated(workers: int, costs: Costs, task: float, writes: str) -> tuple[float, str]:
    """Blocks a second of so many workers, and what limits them: a closed network of workers, scheduler and client.

    A task holds the scheduler for `task` seconds, its blocks hold a worker, then each holds the client; each worker has
    four tasks in the window. Times are fixed; what is busy nearly always is the bottleneck.
    """
    group = max(1, int(TASK_SECONDS / costs.compute))
    at_worker = costs.compute + (costs.write - costs.mark if writes == "workers" else 0.0)
    at_client = costs.write if writes == "client" else costs.mark
    goal = 8 * workers
    free_scheduler = free_client = 0.0
    ready = [(0.0, number) for number in range(workers)]
    heapq.heapify(ready)
    waiting = [0.0] * (4 * workers)  # when a place in the window is free
    heapq.heapify(waiting)
    ended = 0.0
    for _ in range(goal):
        submitted = max(heapq.heappop(waiting), free_scheduler)
        free_scheduler = submitted + task
        begin, number = heapq.heappop(ready)
        end = max(begin, free_scheduler) + group * at_worker
        heapq.heappush(ready, (end, number))
        free_client = max(end, free_client) + group * at_client
        heapq.heappush(waiting, free_client)
        ended = max(ended, free_client)
    loads = {"workers": goal * group * at_worker / workers / ended, "scheduler": goal * task / ended,
             "client": goal * group * at_client / ended}  # fmt: skip
    return goal * group / ended, max(loads, key=lambda name: loads[name])


def print_blocks(folder: Path, name: str) -> None:
    """Seconds of processor time and peak memory of commands on a store of one estimator that lacks one block."""
    cells, blocks = SIZES[name]
    study, store, file = many_blocks(cells, blocks), folder / "many.zarr", folder / "many.toml"
    file.write_text(f'name = "many"\nreplications = {study.replications}\nblock = {SMALL}\n'
                    f'seed = {study.seed}\nworlds = 1\n'
                    f'[design]\nkind = "paper"\ncontrols = "none"\n[grid]\neffect = {list(study.grid[0][1])}\n'
                    '[[estimators]]\nkind = "did"\n', encoding="utf-8")  # fmt: skip
    fabricated(study, store, without=[(1, 3)])
    run_it = ["run", str(file), "--cluster", "serial", "--store", str(store), "-q"]
    commands = {"dry run": [*run_it, "--dry-run"], "quiet resume": run_it,
                **{word: ["store", word, str(store)] for word in ("info", "verify", "hash")},
                "report": ["report", str(store)]}  # fmt: skip
    said = [f"{word} {spent[0]:.1f} s {spent[1]:.0f} MB" for word, spent in
            ((word, _spent(words)) for word, words in commands.items())]  # fmt: skip
    print(f"{cells * blocks:,} blocks in {cells} cells: " + ", ".join(said), flush=True)


def _spent(words: list[str]) -> tuple[float, float]:
    """Seconds of processor time of a command in a process of its own, and its peak memory in MB; its exit code is 0."""
    found = subprocess.run([sys.executable, "-c", MEASURED, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                           text=True, check=False)  # fmt: skip
    assert found.returncode == 0, (words, found.stderr)
    seconds, kilobytes = found.stderr.split()[-2:]
    return float(seconds), float(kilobytes) / 1024


def main(what: str = "", *sizes: str) -> None:
    """Print all figures, or those of `blocks` or `clients` alone."""
    prepare_process()
    print(environment())
    if what != "clients":
        print("processor time and peak memory of commands; one block of each store is missing at first")
        for size in sizes or SIZES:
            with tempfile.TemporaryDirectory() as name:
                print_blocks(Path(name), size)
    if what != "blocks":
        print_clients()


def print_clients() -> None:
    """How many workers one process feeds."""
    task = task_seconds()
    print(f"a task: {1e3 * task:.2f} ms")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = [costs_of(name, folder) for name in ("did", "three", "dear")]
        for costs, _ in found:
            print_costs(costs)
        print_store(folder, found[0][1])
        print_sleepers(folder, *found[0])
        print_sleepers(folder / "three", *found[1])
        faster = replace(found[0][0], name="did", compute=QUICK)
        print(f"the same with blocks of {1e3 * QUICK:.0f} ms, as on a machine with nothing else to do")
        print_sleepers(folder / "quick", faster, found[0][1])
    print("\nsimulated blocks a second, and what is busiest")
    for costs, _ in found:
        for writes in ("client", "workers"):
            cells = [(count, *simulated(count, costs, task, writes)) for count in WORKERS]
            said = "   ".join(f"{count:,}: {rate:,.0f} ({what})" for count, rate, what in cells)
            print(f"  {costs.name:5} {writes:8} write  {said}")


if __name__ == "__main__":
    main(*sys.argv[1:])
