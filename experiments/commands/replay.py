"""`panelproof replay`: one replication again, from its key alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.commands.options import STORE, Command

if TYPE_CHECKING:
    from results.store.bucket import StorePath


@click.command("replay", cls=Command)
@click.argument("store", type=STORE)
@click.argument("cell", type=click.IntRange(0))
@click.argument("replication", type=click.IntRange(0))
@click.option(
    "--save", type=click.Path(path_type=Path, dir_okay=False), help="Save the drawn panel (.csv or .parquet)."
)
@click.option("--trust", is_flag=True, help="Import the modules that STORE names (only for a store of your own).")
def command(store: StorePath, cell: int, replication: int, save: Path | None, trust: bool) -> int:
    """Draw and fit REPLICATION of CELL again, and compare with what STORE holds (exit 1 when it differs)."""

    from experiments.run.replay import compare, replay, save_panel
    from results.report.terminal import NamesConsole
    from results.store.zarr_store import ZarrStore

    console = NamesConsole(highlight=False)
    records = ZarrStore.open(store)
    again = replay(records, cell, replication, trust=trust)
    if save is not None:
        save_panel(again.panel, save)
        console.print(f"panel   {save}", markup=False)
    return compare(records, again, console)
