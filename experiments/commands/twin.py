"""`panelproof twin`: a `panel` design that is fitted to a real panel."""

from __future__ import annotations

import json
from pathlib import Path

import click

from experiments.commands.options import Command, as_json_option


@click.command("twin", cls=Command)
@click.argument("panel", type=click.Path(path_type=Path))
@click.option("--spec", required=True, type=click.Path(path_type=Path), help="The SPEC.toml of this panel.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for design.toml (a study that runs), panel.parquet, fidelity.json and fidelity.html.",
)  # fmt: skip
@click.option(
    "--method", "methods", multiple=True, type=click.Choice(["parametric", "factor", "residual"]),
    help="In place of the spec's methods; may be given repeatedly.",
)  # fmt: skip
@as_json_option
def command(panel: Path, spec: Path, out: Path | None, methods: tuple[str, ...], as_json: bool) -> int:
    """Fit a `panel` design to PANEL as SPEC says, and hold the panel to twins that are drawn from it.

    The table [twin] of the spec says how; every key has a default. DIR/design.toml is a study of the first method that
    `panelproof run` takes; design-METHOD.toml are those of the others. Each feature of the panel is compared with the
    band of 95% of its twins, and what lies outside is said in words.
    """
    from rich.console import Console

    from experiments.panel_spec.spec import read_real_panel, read_spec
    from experiments.placebo import check_folder
    from experiments.twins.twin import document, print_twin, twin, write_twin

    if out is not None:
        check_folder(out)
    found = twin(read_real_panel(panel, read_spec(spec)), methods or None)
    written = [] if out is None else write_twin(found, out)
    if as_json:
        click.echo(json.dumps(document(found), ensure_ascii=False))
        return 0
    console = Console(highlight=False)
    print_twin(found, console)
    for path in written:
        console.print(f"wrote {path}", markup=False)
    return 0
