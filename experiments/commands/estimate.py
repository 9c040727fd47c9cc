"""`panelproof estimate`: the paper's tables on a real panel."""

from __future__ import annotations

from pathlib import Path

import click

from experiments.commands.options import Command, as_json_option


@click.command("estimate", cls=Command)
@click.argument("panel", type=click.Path(path_type=Path))
@click.option("--spec", required=True, type=click.Path(path_type=Path), help="The SPEC.toml of this panel.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files and figures.")
@click.option(
    "--format",
    "formats",
    default="json",
    show_default=True,
    metavar="LIST",
    help="Files for --out, comma-separated: json (every number, always written), html, tex, docx (the tables).",
)
@click.option(
    "--errors",
    metavar="TYPE",
    help="Error type of the printed standard errors, where a model has it, e.g. hc1, cluster:unit, qmle. Default: the "
    "main cluster. The files hold all error types.",
)
@click.option(
    "--estimator", "estimators", multiple=True, metavar="KIND",
    help="Any kind of estimator, with its default settings, as a further column of table 2; may be given repeatedly.",
)  # fmt: skip
@click.option("--cross-check", is_flag=True, help="Recompute with linearmodels, spreg and esda; exit 1 if they differ.")
@as_json_option
def command(
    panel: Path,
    spec: Path,
    out: Path | None,
    formats: str,
    errors: str | None,
    estimators: tuple[str, ...],
    cross_check: bool,
    as_json: bool,
) -> int:
    """Estimate the paper's tables 1 to 7 and figure 2 on PANEL as SPEC says, and print them.

    What the spec does not name is left out: no table 3 without capitals or another policy, no table 5 without
    mediators, none of tables 6 and 7 without weights. The warnings come first: what in these estimates disagrees, and
    what speaks against the effect. The file estimates.json holds all of them. The figure specification-curve shows the
    effect in every way it was estimated. A column that the panel cannot have, such as that of a group without treated
    units, is left out with a note. Exit code 3 means that an estimation failed; a note says which one and why. Exit
    code 1 means that another program gives other numbers.
    """
    from rich.console import Console

    from experiments.estimation import check_formats, estimate, write_files
    from experiments.panel_spec.spec import read_real_panel, read_spec
    from results.tables.terminal import print_estimates

    chosen = check_formats(formats, out)
    found = estimate(read_real_panel(panel, read_spec(spec)), cross_check=cross_check, estimators=estimators)
    if out is not None:
        written = write_files(found, out, chosen, errors)
    if as_json:
        click.echo(found.to_json())
        return found.exit_code
    console = Console(highlight=False)
    print_estimates(found, console, errors)
    if out is not None:
        console.print(f"\nwrote {', '.join(map(str, written))}", markup=False)
    return found.exit_code
