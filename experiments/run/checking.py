"""Checking a cluster before a run: its workers, its network, and a timed pilot."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from rich.table import Table

from cluster import ClusterLost, Executor
from experiments.run.places import ClusterPlace
from experiments.run.runner import run, schema_of
from experiments.run.tasks import Job, Result, ask, environment_of, run_carefully, run_job, runner_of
from experiments.study import BLOCK_UNIT, Study
from results.diagnosis.diagnose import PROPORTIONS, diagnose
from results.store import ZarrStore
from results.tables.terminal_tables import NamesConsole
from results.verdict.verdicts import key_terms
from sim.streams import TILE, worlds_reached

# A pilot before a run: a few tiles of each cell, and from them the time, bytes and Monte Carlo errors of all of it.


TILES = 8  # of each cell: its Monte Carlo errors are then known up to a tenth
SHOWN = ("bias", "coverage", "rejection")


def pilot(study: Study, replications: int) -> tuple[float, int, pd.DataFrame, int]:
    """Run a few tiles of each cell and say what `replications` of them will take and give.

    Returns the seconds of one worker for all cells, the bytes of the store, one row a cell and measure with the largest
    Monte Carlo error of any estimator's key term after all replications (columns cell, measure, estimator, term, error,
    mcse), and the replications a cell that this rests on.
    """
    rows = min(TILES * TILE, replications)
    block = -(-rows // BLOCK_UNIT) * BLOCK_UNIT
    small = study.resized(replications=rows, block=block)
    begin = time.perf_counter()
    for cell in small.cells:  # settles worlds, which the runs below find settled
        runner_of(small, cell.index).run(0, rows)
    settling = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as folder:
        empty = _bytes(Path(folder) / "empty.zarr", small, filled=False)
        begin = time.perf_counter()
        used = _bytes(Path(folder) / "pilot.zarr", small, filled=True)
        drawing = time.perf_counter() - begin
        frame = diagnose(ZarrStore.open(Path(folder) / "pilot.zarr")).frame
    reached = worlds_reached(rows, study.world_count)
    a_world = max(settling - drawing, 0.0) / reached
    seconds = drawing * replications / rows + a_world * worlds_reached(replications, study.world_count)
    size = empty + (used - empty) * replications / rows
    layouts = small.layouts(small.cells[0].design.schema)
    key = {(name, term) for name, layout in layouts.items() for term in key_terms(layout)}
    errors = pd.DataFrame(list(_errors(frame, key, study.world_count, replications / rows)),
                          columns=["cell", "measure", "estimator", "term", "error", "mcse"])  # fmt: skip
    return seconds, int(size), errors, rows


def _bytes(path: Path, study: Study, *, filled: bool) -> int:
    """Bytes of a study's store, with its results or without."""
    if filled:
        run(study, store=path)
    else:
        ZarrStore.create(path, schema_of(study))
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _errors(frame: pd.DataFrame, key: set[tuple[str, str]], worlds: int, factor: float) -> Iterator[tuple[object, ...]]:
    """The largest Monte Carlo error of each cell and measure after `factor` times as many replications."""
    own = frame[(frame["sample"] == "own") & frame["measure"].isin(SHOWN) & np.isfinite(frame["mcse"])]
    spread = frame[(frame["sample"] == "own") & (frame["measure"] == "empirical_se")]
    sd = {(row["cell"], row["estimator"], row["term"]): row["value"] for row in spread.to_dict("records")}
    largest: dict[tuple[object, object], tuple[object, ...]] = {}
    for row in own.to_dict("records"):
        if (row["estimator"], row["term"]) not in key:
            continue
        n = float(row["n"])
        share = row["measure"] in PROPORTIONS and 0 < row["value"] < 1
        alone = (row["value"] * (1 - row["value"]) / n if share
                 else sd.get((row["cell"], row["estimator"], row["term"]), math.nan) ** 2 / n)  # fmt: skip
        mcse = projected(row["mcse"], alone if row["measure"] == "bias" or share else math.nan, n, worlds, factor)
        place = row["cell"], row["measure"]
        if place not in largest or mcse > float(str(largest[place][-1])):
            largest[place] = (*place, row["estimator"], row["term"], row["error"], mcse)
    yield from largest.values()


def projected(mcse: float, alone: float, n: float, worlds: int, factor: float) -> float:
    """The Monte Carlo error after `factor` times as many replications.

    alone: the variance that independent fits would have (NaN where that is not known: the error then falls as the root
    of the replications; 0 of a share of none or all, whose error with fewer of them rises as their number falls). With
    worlds the excess over it, the design effect 1 + (m - 1) r of m fits a world, gives the correlation r of fits of one
    world (Kish 1965), and the later number of fits a world the later design effect.
    """
    if worlds == 1 or not alone > 0:
        return mcse / (factor if alone == 0 and factor < 1 else math.sqrt(factor))
    a_world, later = (count / worlds_reached(int(count), worlds) for count in (n, n * factor))
    excess = max(mcse**2 / alone - 1, 0.0)
    correlation = min(excess / max(a_world - 1, 1.0), 1.0)
    return math.sqrt(alone / factor * (1 + (later - 1) * correlation))


def check_cluster(place: ClusterPlace, study: Study, *, as_json: bool) -> int:
    """Print what a cluster is for a study; 0 when all workers may compute, else 1. Raises BadInput."""
    begin = time.perf_counter()
    try:
        executor = place.open()
    except ClusterLost as error:
        return _emit({"where": place.where, "answers": False, "why": str(error), "workers": []}, as_json)
    opened = time.perf_counter() - begin
    try:
        facts = {"where": place.where, "answers": True, "address": executor.address, "seconds_to_open": opened,
                 **_facts(executor, study, ship=place.ship)}  # fmt: skip
    except (ClusterLost, OSError, TimeoutError) as error:
        facts = {"where": place.where, "answers": False, "why": str(error) or "no answer in time", "workers": []}
    finally:
        executor.close()
    return _emit(facts, as_json)


def _facts(executor: Executor, study: Study, *, ship: bool) -> dict[str, Any]:
    """What is asked of an executor that is open."""
    from cluster.dask_pool import DaskPool

    here = environment_of(study)
    facts: dict[str, Any] = {"client": str(here), "workers": []}
    if isinstance(executor, DaskPool):
        from cluster.survey import bandwidth

        found = ask(executor, here, ship=ship)
        facts["workers"] = [
            {"address": item.address, "fit": not item.why, "why": item.why, "threads": item.threads,
             "memory": item.memory, "environment": str(item.environment or "")} for item in found
        ]  # fmt: skip
        fit = [item.address for item in found if not item.why]
        if not fit:
            return facts
        facts["seconds_of_a_task"], facts["bytes_a_second"] = bandwidth(executor, fit[0])
        for item in found:
            if item.why:
                executor.refuse(item.address, item.why)

    # one block of 64 replications, twice: the second time worlds are settled
    jobs = [Job(study, 0, 0, 0, min(BLOCK_UNIT, study.replications), here)]
    seconds, error = [0.0], ""
    for _ in range(2):
        for outcome in executor.run(run_job, jobs, run_carefully):
            result: Result | None = outcome.result
            error = str(outcome.error) if outcome.error else error
            seconds.append(result.seconds if result is not None else 0.0)
    return facts | {"pilot_replications": jobs[0].stop, "pilot_seconds": seconds[-1], "pilot_error": error}


def _emit(facts: dict[str, Any], as_json: bool) -> int:
    """Print the facts; the exit code."""
    good = facts["answers"] and all(item["fit"] for item in facts["workers"]) and not facts.get("pilot_error")
    code = 0 if good else 1
    if as_json:
        click.echo(json.dumps({**facts, "fit": bool(good)}, ensure_ascii=False))
        return code
    console = NamesConsole()

    def line(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, soft_wrap=True)

    if not facts["answers"]:
        line(facts["why"], "red")
        return code
    line(f"{facts['where']}: {facts['address']}, opened in {facts['seconds_to_open']:.1f} s")
    line(f"this process: {facts['client']}")
    if facts["workers"]:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("worker", "threads", "memory", "may compute"):
            table.add_column(heading, overflow="fold")
        for item in facts["workers"]:
            table.add_row(item["address"], str(item["threads"]), f"{item['memory'] / 1e9:.1f} GB",
                          "yes" if item["fit"] else f"no: {item['why']}")  # fmt: skip
        console.print(table)
    if "bytes_a_second" in facts:
        line(f"a task takes {1000 * facts['seconds_of_a_task']:.1f} ms, the network carries "
             f"{facts['bytes_a_second'] / 1e6:.0f} MB/s")  # fmt: skip
    if facts.get("pilot_error"):
        line(f"the pilot failed: {facts['pilot_error']}", "red")
    elif "pilot_seconds" in facts:
        line(f"a pilot of {facts['pilot_replications']} replications took {facts['pilot_seconds']:.3f} s on one worker")
    return code
