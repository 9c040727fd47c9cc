"""`panelproof init`: a SPEC.toml proposed from a panel file."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from experiments.commands.options import Command


@click.command("init", cls=Command)
@click.argument("panel", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="SPEC.toml",
    show_default=True,
    help="The file to write.",
)
def command(panel: Path, out: Path) -> None:
    """Read PANEL (csv, parquet, dta, xlsx) and write a SPEC.toml to edit."""
    from experiments.panel_spec.first_spec import propose_spec
    from sim.errors import bad
    from sim.panel_files import read_frame

    if out.exists():
        raise bad("exists already", where=str(out), allowed="a new file", remedy="remove it or choose another --out")
    text = propose_spec(read_frame(panel), panel.name)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    click.echo(
        f"wrote {out}: edit the names, then: panelproof estimate {quote(str(panel))} --spec {quote(str(out))} "
        f"--out {quote(f'results-of-{panel.stem}')}"
    )
