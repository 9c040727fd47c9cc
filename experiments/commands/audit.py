"""`panelproof audit`: arithmetic on a paper's printed numbers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from experiments.commands.options import Command, as_json_option, print_json


@click.command("audit", cls=Command)
@click.argument("tables", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A Markdown file; default: the terminal.")
@as_json_option
def command(tables: Path, out: Path | None, as_json: bool) -> None:
    """Compare the printed numbers of TABLES (JSON) with what they imply for one another."""
    from experiments.application.audit.checks import audit, to_markdown
    from experiments.application.audit.printed import read_printed

    checks = audit(read_printed(tables))
    if as_json:
        print_json([asdict(check) for check in checks])
        return
    text = to_markdown(checks, tables.name)
    if out is None:
        click.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    missed = sum(check.missed for check in checks)
    click.echo(f"{sum(len(check.lines) for check in checks)} comparisons, {missed} do not agree: {out}")
