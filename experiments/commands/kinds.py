"""`panelproof kinds`: what there is to choose from, and every dial of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from experiments.commands.options import Command, as_json_option, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.kinds import Entry


@click.command("kinds", cls=Command)
@click.argument("kind", required=False)
@as_json_option
def command(kind: str | None, as_json: bool) -> None:
    """List designs, their parts, estimators, error types, schemes and measures; with KIND, every dial of that kind.

    KIND may also be a slot for parts (adoption), or one part of it (adoption.random).
    """
    from rich.console import Console

    from experiments.kinds import catalogue, document, entries_called

    groups = catalogue() if kind is None else entries_called(kind)
    if as_json:
        print_json(document(groups))
        return
    console = Console(highlight=False)
    for group, entries in groups.items():
        title = group.replace("_", " ")
        if kind is None:
            console.print(f"\n{title}", style="bold")
            _print_rows(console, [(entry.kind, entry.summary) for entry in entries])
        else:
            for entry in entries:
                _print_entry(console, title.removesuffix("s"), entry)
    if kind is None:
        console.print("\nFor the dials of one kind: panelproof kinds KIND", markup=False)


def _print_entry(console: Console, group: str, entry: Entry) -> None:
    """A kind with its dials: type, allowed values and default, and the meaning below."""
    from rich.padding import Padding
    from rich.text import Text

    console.print(f"\n{entry.kind} ({group}{f', {entry.source}' if entry.source else ''})", style="bold", markup=False)
    console.print(entry.summary, markup=False)
    for dial in entry.dials:
        allowed = f": {' | '.join(dial.allowed)}" if dial.allowed else ""
        console.print(Text(f"{dial.name}  ({dial.type}{allowed}; default {dial.default})"))
        console.print(Padding(Text(dial.meaning), (0, 0, 0, 4)))


def _print_rows(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for _ in rows[0]:
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
