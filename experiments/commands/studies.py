"""`panelproof studies`: what each built-in study asks, its cells and cost."""

from __future__ import annotations

import click

from experiments.commands.options import Command, as_json_option, complete_study, print_json


@click.command("studies", cls=Command)
@click.argument("name", required=False, shell_complete=complete_study)
@as_json_option
def command(name: str | None, as_json: bool) -> None:
    """List the built-in studies; with NAME, show that study in full."""
    from rich.console import Console
    from rich.table import Table

    from experiments.study import builtin, names

    if as_json:
        found = [builtin(item) for item in ([name] if name else names())]
        print_json([item.settings | {"fingerprint": item.fingerprint} for item in found])
        return
    console = Console(highlight=False)
    if name is None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("study", "asks", "cells", "panels", "time"):
            table.add_column(heading, justify="left" if heading in {"study", "asks"} else "right", overflow="fold")
        for item in names():
            study = builtin(item)
            panels = len(study.cells) * study.replications
            table.add_row(item, study.question, str(len(study.cells)), f"{panels:,}", study.cost)
        console.print(table)
        console.print("\nTimes are those of two cores. Run one with: panelproof run NAME", markup=False)
        return
    study = builtin(name)
    console.print(f"{study.name}: {study.question}\n", markup=False, style="bold")
    if study.expected:
        console.print(f"Expected: {study.expected}\n", markup=False)
    for dial, values in study.grid:
        console.print(f"  {dial}: {', '.join(map(str, values))}", markup=False)
    console.print(f"  estimators: {', '.join(item.name for item in study.estimators)}", markup=False)
    if study.held_fixed:
        worlds = f"{study.world_count} worlds" if study.world_count > 1 else "one world"
        console.print(f"  drawn in {worlds}: {', '.join(study.held_fixed)}", markup=False)
    size = f"{len(study.cells)} cells x {study.replications:,} replications"
    size += f", {study.cost} on two cores" if study.cost else ""
    console.print(f"  {size}, seed {study.seed}, fingerprint {study.fingerprint[:12]}", markup=False)
