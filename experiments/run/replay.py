"""Drawing and fitting one replication again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from estimators.core.estimator import Status
from experiments.run.resume import check_trusted
from experiments.run.tasks import runner_of
from experiments.study import Study
from results.store import BlockState, Store, ZarrStore
from results.store.block import Block
from sim.errors import bad
from sim.panel import Panel, long_table
from sim.streams import TILE


@dataclass(frozen=True, slots=True)
class Replay:
    """One replication: the panel (R = 1) and its fits (R = 1)."""

    cell: int
    replication: int
    panel: Panel
    block: Block


def replay(store: Store, cell: int, replication: int, *, load_code: bool = False) -> Replay:
    """Replication `replication` of cell `cell`; raises BadInput when the study has no such one.

    load_code: import the modules that the store names; without it a store that names any is refused. Those of a run in
    memory are imported already.
    """
    where = str(store.path) if isinstance(store, ZarrStore) else "the run in memory"
    for name, value, count in (("cell", cell, len(store.cells)), ("replication", replication, store.replications)):
        if not 0 <= value < count:
            raise bad(f"no {name} {value}", where=where, allowed=f"0 to {count - 1}", remedy="choose another")
    if isinstance(store, ZarrStore) and not load_code:
        check_trusted(store.schema.study, where)
    runner = runner_of(Study.from_settings(store.schema.study, where), cell)
    first = replication - replication % TILE
    whole = runner.run(first, first + TILE, tracebacks=TILE)
    row = slice(replication - first, replication - first + 1)
    block = Block(
        truth={name: values[row] for name, values in whole.truth.items()},
        estimates={name: estimates.take(row) for name, estimates in whole.estimates.items()},
        tracebacks={key: text for key, text in whole.tracebacks.items() if key[0] == replication},
        start=replication,
    )
    panel = runner.draw(first).panel
    return Replay(cell, replication, panel.replication(replication - first), block)


def compare(store: ZarrStore, again: Replay, console: Console) -> int:
    """Print the fits beside what the store holds; 1 when any number differs, else 0."""
    index = again.replication // store.block
    if store.state(again.cell, index) is not BlockState.DONE:
        console.print("the store does not hold this replication yet")
        kept = None
    else:
        kept = store.read(again.cell, index)
    row = again.replication - index * store.block
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("estimator", "term", "truth", "estimate", "se", "store"):
        table.add_column(heading, justify="left" if heading in {"estimator", "term"} else "right")
    differing = 0
    for name, estimates in again.block.estimates.items():
        targets = store.layouts[name].targets
        stored_terms = store.layouts[name].terms
        for k, term in enumerate(estimates.terms):
            truth = float(again.block.truth.get(targets.get(term, ""), np.array([np.nan]))[0])
            verdict = "-"
            if kept is not None:
                there = kept.estimates[name].estimate[row, stored_terms.index(term)]
                same = np.array_equal(estimates.estimate[0, k], there, equal_nan=True)
                differing += not same
                verdict = "same" if same else "differs"
            table.add_row(
                name, term, f"{truth:.6f}", f"{estimates.estimate[0, k]:.6f}", f"{estimates.se[0, 0, k]:.6f}", verdict
            )
    console.print(table)
    _print_failures(again, console)
    return 1 if differing else 0


def _print_failures(again: Replay, console: Console) -> None:
    """How each fit that is not OK ended, with its traceback if it raised."""
    for name, estimates in again.block.estimates.items():
        status = Status(int(estimates.status[0]))
        if status is not Status.OK:
            console.print(f"{name}: {status.meaning}", markup=False)
        if text := again.block.tracebacks.get((again.replication, name)):
            console.print(text.rstrip(), markup=False, soft_wrap=True)


def save_panel(panel: Panel, path: Path) -> None:
    """Write a panel as a long table, .csv or .parquet; raises BadInput for another ending."""
    if path.suffix not in {".csv", ".parquet"}:
        raise bad(f"cannot save as {path.suffix or 'a file without an ending'}", where=str(path),
                  allowed=".csv, .parquet", remedy="choose one of them")  # fmt: skip
    frame = long_table(panel)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
