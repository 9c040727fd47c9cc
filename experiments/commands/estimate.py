"""`panelproof estimate`: the paper's tables on a real panel."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("estimate")
@click.argument("panel", type=click.Path(path_type=Path))
@click.option("--spec", required=True, type=click.Path(path_type=Path), help="The SPEC.toml of this panel.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the output files.")
@click.option("--format", "formats", default="json", show_default=True, metavar="LIST", help="Comma-separated: json.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
def command(panel: Path, spec: Path, out: Path | None, formats: str, as_json: bool) -> int:
    """Estimate two-way DID, SEM, SAR and SDM (direct and Lee-Yu) on PANEL as SPEC says."""
    from rich.console import Console

    from experiments.estimate import check_formats, estimate, write_json
    from experiments.spec import read_real_panel, read_spec
    from results.tables.terminal import print_estimates

    check_formats(formats)
    found = estimate(read_real_panel(panel, read_spec(spec)))
    if out is not None:
        written = write_json(found, out)
    if as_json:
        click.echo(found.to_json())
        return 3 if found.failed else 0
    console = Console(highlight=False)
    print_estimates(found, console)
    if out is not None:
        console.print(f"\nnumbers {written}", markup=False)
    return 3 if found.failed else 0
