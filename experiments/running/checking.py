"""Checking a cluster before a run: its workers, its network, and a timed pilot."""

from __future__ import annotations

import json
import time
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cluster import ClusterLost, Executor
from experiments.running.admission import ask, send
from experiments.running.careful import run_carefully
from experiments.running.places import Place
from experiments.running.tasks import Job, Result, environment_of, run_job
from experiments.study.study import BLOCK_UNIT, Study


def check_cluster(place: Place, study: Study, *, as_json: bool) -> int:
    """Print what a cluster is for a study; 0 when all workers may compute, else 1. Raises BadInput."""
    begin = time.perf_counter()
    try:
        executor = place.open()
    except ClusterLost as error:
        return _said({"where": place.where, "answers": False, "why": str(error), "workers": []}, as_json)
    opened = time.perf_counter() - begin
    try:
        facts = {"where": place.where, "answers": True, "address": executor.address, "seconds_to_open": opened,
                 **_facts(executor, study, ship=place.ship)}  # fmt: skip
    except (ClusterLost, OSError, TimeoutError) as error:
        facts = {"where": place.where, "answers": False, "why": str(error) or "no answer in time", "workers": []}
    finally:
        executor.close()
    return _said(facts, as_json)


def _facts(executor: Executor, study: Study, *, ship: bool) -> dict[str, Any]:
    """What is asked of an executor that is open."""
    from cluster.dask_pool import DaskPool

    here = environment_of(study)
    facts: dict[str, Any] = {"client": str(here), "workers": []}
    if isinstance(executor, DaskPool):
        from cluster.survey import bandwidth

        found = ask(executor, here)
        if ship and any(item.why and item.code_alone for item in found):
            send(executor, here)
            found = ask(executor, here)
        facts["workers"] = [_row(item) for item in found]
        fit = [item.worker.address for item in found if not item.why]
        if not fit:
            return facts
        facts["seconds_of_a_task"], facts["bytes_a_second"] = bandwidth(executor, fit[0])
        for item in found:
            if item.why:
                executor.refuse(item.worker.address, item.why)
    return facts | _pilot(executor, study, here)


def _row(item: Any) -> dict[str, Any]:
    worker = item.worker
    return {"address": worker.address, "fit": not item.why, "why": item.why, "threads": worker.threads,
            "memory": worker.memory, "environment": str(worker.environment or "")}  # fmt: skip


def _pilot(executor: Executor, study: Study, here: Any) -> dict[str, Any]:
    """Seconds of one block of 64 replications, the second time: worlds are then settled."""
    jobs = [Job(study, 0, 0, 0, min(BLOCK_UNIT, study.replications), here)]
    seconds, error = [0.0], ""
    for _ in range(2):
        for outcome in executor.run(run_job, jobs, run_carefully):
            result: Result | None = outcome.result
            error = str(outcome.error) if outcome.error else error
            seconds.append(result.seconds if result is not None else 0.0)
    rows = jobs[0].stop
    return {"pilot_replications": rows, "pilot_seconds": seconds[-1], "pilot_error": error}


def _said(facts: dict[str, Any], as_json: bool) -> int:
    """Print the facts; the exit code."""
    good = facts["answers"] and all(item["fit"] for item in facts["workers"]) and not facts.get("pilot_error")
    if as_json:
        click.echo(json.dumps({**facts, "fit": bool(good)}, ensure_ascii=False))
    else:
        _print(facts, Console(highlight=False))
    return 0 if good else 1


def _print(facts: dict[str, Any], console: Console) -> None:
    """The same for people."""

    def line(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, soft_wrap=True)

    if not facts["answers"]:
        line(facts["why"], "red")
        return
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
