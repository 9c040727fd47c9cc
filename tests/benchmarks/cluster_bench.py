"""What Dask and the store cost beside the bare loop, and a million panels with their report: memory and time.

`python tests/benchmarks/cluster_bench.py` measures in turns, on a machine with two idle cores: the bare loop that only
draws and fits, alone and in two processes at once; a serial run with its store; local clusters of one and of two
workers. `--million` runs a million panels of the full job on two workers, report included. `--flushes` measures what
it costs that blocks are flushed to the disk before they are committed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest import mock

from cluster import environment, open_executor, pin_environment, prepare_process

pin_environment()

import psutil  # noqa: E402

from estimators import SpatialPanel, TwoWayDID  # noqa: E402
from experiments.run.resume import read_log  # noqa: E402
from experiments.run.runner import run  # noqa: E402
from experiments.run.tasks import runner_of  # noqa: E402
from experiments.study import Study  # noqa: E402
from results.diagnosis.diagnose import diagnose  # noqa: E402
from results.report.grids import ReportFacts  # noqa: E402
from results.report.html import html_report  # noqa: E402
from results.store import ZarrStore, disk  # noqa: E402
from sim.presets import Paper  # noqa: E402

FULL = (TwoWayDID(errors=("iid", "hc1", "cluster:unit")),
        *(SpatialPanel(m, t) for m in ("sar", "sem", "sdm") for t in ("direct", "lee-yu")))  # fmt: skip
BLOCK = 2048
EVERY = 5.0  # seconds between two looks at the memory


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    said = "panels of each timed run: so many that its start counts little"
    options.add_argument("--panels", type=int, default=128 * BLOCK, help=said)
    options.add_argument("--pairs", type=int, default=3, help="how often all are timed, in turns")
    options.add_argument("--million", action="store_true", help="a million panels with their report instead")
    options.add_argument("--flushes", action="store_true", help="runs with and without flushes, in turns, instead")
    chosen = options.parse_args()
    prepare_process()
    print(environment(), flush=True)
    if chosen.million:
        million(1_000_000)
        return
    with tempfile.TemporaryDirectory() as folder:
        measured = with_and_without_flushes if chosen.flushes else in_turns
        measured(chosen.panels, chosen.pairs, Path(folder))


def study_of(panels: int) -> Study:
    """The full job in one world: DID, SAR, SEM and SDM, direct and Lee-Yu."""
    return Study("bench", Paper(spillover="paper"), FULL, replications=panels, block=BLOCK, worlds=1)


def bare(panels: int) -> None:
    """Draw and fit all blocks, and keep nothing."""
    runner = runner_of(study_of(panels), 0)
    for start in range(0, panels, BLOCK):
        runner.run(start, min(start + BLOCK, panels))


def waiting(panels: int, start: object, done: object) -> None:
    """The bare loop in a process of its own, between two barriers."""
    prepare_process()
    bare(BLOCK)
    start.wait()  # type: ignore[attr-defined]
    bare(panels)
    done.wait()  # type: ignore[attr-defined]


def bare_on(processes: int, panels: int) -> float:
    """Seconds of the bare loop over so many panels, shared by processes that have been started and warmed before."""
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(processes + 1), context.Barrier(processes + 1)
    share = panels // processes
    begun = [context.Process(target=waiting, args=(share, start, done)) for _ in range(processes)]
    for process in begun:
        process.start()
    start.wait()
    begin = time.perf_counter()
    done.wait()
    seconds = time.perf_counter() - begin
    for process in begun:
        process.join()
    return seconds


def run_on(workers: int, panels: int, folder: Path) -> tuple[float, float]:
    """Seconds of a run with its store on local workers that are there, 0 for none, and what it costs beside computing.

    That is the time of all workers over their processors' time of drawing and fitting. A small study comes first. The
    stores stay: ext4 passes over inodes that were deleted lately when it makes a file, which takes time.
    """
    place = Path(tempfile.mkdtemp(dir=folder))
    with closing(open_executor("local", workers)) if workers else nullcontext() as pool:
        run(study_of(2 * BLOCK).resized(seed=99), store=place / "first.zarr", executor=pool)
        begin = time.perf_counter()
        run(study_of(panels), store=place / "bench.zarr", executor=pool)
        seconds = time.perf_counter() - begin
        computing = sum(event.get("computing", 0.0) for event in read_log(place / "bench.zarr"))
        return seconds, seconds * max(workers, 1) / computing


def in_turns(panels: int, pairs: int, folder: Path) -> None:
    """Print seconds of each turn, and the medians of the ratios."""
    places = {"serial": 0, "local x 1": 1, "local x 2": 2}
    turns, costs = [], []
    for number in range(pairs):
        turn = {"bare": bare_on(1, panels), "bare x 2": bare_on(2, panels)}
        ran = {name: run_on(workers, panels, folder) for name, workers in places.items()}
        turns.append(turn | {name: seconds for name, (seconds, _) in ran.items()})
        costs.append({name: cost for name, (_, cost) in ran.items()})
        said = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in turns[-1].items())
        print(f"turn {number + 1}, {panels:,} panels each: {said}", flush=True)
    for above, below, words in (
        ("local x 1", "local x 2", "local x 2 against local x 1"), ("bare", "bare x 2", "bare loop, 2 cores against 1"),
        ("serial", "bare", "serial with store / bare loop"), ("local x 1", "bare", "local x 1 / bare loop"),
        ("local x 2", "bare x 2", "local x 2 / bare loop in two processes"),
    ):  # fmt: skip
        say(words, [turn[above] / turn[below] for turn in turns])
    for name in places:
        say(f"{name}, all of its time / its own drawing and fitting", [cost[name] for cost in costs])


def with_and_without_flushes(panels: int, pairs: int, folder: Path) -> None:
    """Print what flushes add to serial runs, and to runs of DID alone, whose blocks take the least time."""
    for name, estimators in (("the full job", FULL), ("DID alone", FULL[:1])):
        study = study_of(panels).resized(replications=panels if estimators is FULL else 4 * panels)
        study = replace(study, estimators=estimators)
        run(study.resized(replications=BLOCK, seed=99), store=folder / f"{name}.zarr")
        ratios = []
        for number in range(pairs):
            seconds = {}
            for flushed in (True, False) if number % 2 else (False, True):
                os.sync()
                with nullcontext() if flushed else not_flushed():
                    begin = time.perf_counter()
                    run(study, store=folder / f"{name}-{number}-{flushed}.zarr")
                    seconds[flushed] = time.perf_counter() - begin
            ratios.append(seconds[True] / seconds[False])
            print(f"{name}, pair {number + 1}: flushed {seconds[True]:.2f} s, not {seconds[False]:.2f} s", flush=True)
        say(f"{name}, serial run with flushes / without", ratios)


@contextmanager
def not_flushed() -> Iterator[None]:
    """No flush reaches the system meanwhile."""
    with mock.patch.object(disk, "SYNCFS", mock.Mock(return_value=0)), mock.patch.object(os, "fsync"):
        yield


def say(words: str, ratios: list[float]) -> None:
    """Print a median and what it is of."""
    print(f"{words}: median {statistics.median(ratios):.3f} of " + ", ".join(f"{ratio:.3f}" for ratio in ratios))


def million(panels: int) -> None:
    """Print the time of a run and its report on two workers, start of the cluster included, the memory curve, and the
    ratio to bare loops in two processes over as many panels: one half before the run, one half after it."""
    halves = [bare_on(2, panels // 2)]
    with tempfile.TemporaryDirectory() as folder, memory_curve() as curve:
        begin = time.perf_counter()
        path = Path(folder) / "million.zarr"
        with closing(open_executor("local", 2)) as pool:
            run(study_of(panels), store=path, executor=pool)
        ran = time.perf_counter()
        (Path(folder) / "page.html").write_text(html_report(diagnose(ZarrStore.open(path)), ReportFacts("million")),
                                                encoding="utf-8")  # fmt: skip
        ended = time.perf_counter()
    halves.append(bare_on(2, panels // 2))
    print(f"{panels:,} panels of the full job on two workers: run {ran - begin:.1f} s, report {ended - ran:.1f} s, "
          f"together {ended - begin:.1f} s")  # fmt: skip
    said = " and ".join(f"{seconds:.1f} s" for seconds in halves)
    print(f"bare loops in two processes, half of the panels before and half after: {said}; run and report / both: "
          f"{(ended - begin) / sum(halves):.3f}")  # fmt: skip
    print("memory in MB, this process / its children: "
          + "  ".join(f"{at:.0f} s {own:.0f}/{others:.0f}" for at, own, others in curve))  # fmt: skip


@contextmanager
def memory_curve() -> Iterator[list[tuple[float, float, float]]]:
    """(seconds, MB of this process, MB of its children) every few seconds, while the block runs."""
    curve: list[tuple[float, float, float]] = []
    stop, begin, own = threading.Event(), time.perf_counter(), psutil.Process()

    def watch() -> None:
        while not stop.wait(EVERY):
            curve.append((time.perf_counter() - begin, _megabytes(own),
                          sum(_megabytes(child) for child in own.children(recursive=True))))  # fmt: skip

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield curve
    finally:
        stop.set()
        thread.join()


def _megabytes(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 2**20
    except psutil.NoSuchProcess:  # it has ended meanwhile
        return 0.0


if __name__ == "__main__":
    main()
