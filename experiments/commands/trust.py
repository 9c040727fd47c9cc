"""`panelproof trust`: is a result on a real panel safe?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from experiments.commands.options import CLUSTER_OPTIONS, Command, accept_options, cluster_options


@click.command("trust", cls=Command)
@click.argument("panel", type=click.Path(path_type=Path))
@click.option("--spec", required=True, type=click.Path(path_type=Path), help="The SPEC.toml of this panel.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False),
    help="Folder for trust.html, trust.json and the stores of the studies.",
)  # fmt: skip
@click.option(
    "--claim", default="did", show_default=True, metavar="CLAIM",
    help="did (table 2's two-way DID), indirect:did, sdm:did, or TABLE:COLUMN:TERM: 7:3:w_did, 'S:2:event(3)'.",
)  # fmt: skip
@click.option("--errors", metavar="TYPE", help="The error type that you print (default: that of the tables).")
@click.option("--effect", type=float, metavar="SIZE", help="The effect that matters: its power, and rates at it.")
@click.option(
    "--budget", default="50s", show_default=True, metavar="TIME",
    help="Time for the simulations, such as 50s, 2m or 1h; a pilot turns it into replications.",
)  # fmt: skip
@cluster_options("serial")
@accept_options
@click.option("--json", "as_json", is_flag=True, help="Print trust.json on stdout and nothing else.")
def command(panel: Path, spec: Path, out: Path, budget: str, as_json: bool, **choices: Any) -> int:
    """Say whether a result on PANEL is safe: its estimator on twins of the panel, placebos, and checks.

    Twins are fitted as [twin] of the spec says. Their studies are ordinary stores in DIR/stores; after an interruption
    the same command goes on. The page says supported, contradicted or not decided and why, names the error type to
    print, and gives every check with its error rates.
    """
    from rich.console import Console

    from experiments.panel_spec.spec import read_real_panel, read_spec
    from experiments.placebo import check_folder
    from experiments.run.code_policy import Resume
    from experiments.run.places import named_place
    from experiments.trust.document import document, print_trust, write_trust
    from experiments.trust.studies import opened, seconds_of
    from experiments.trust.trust import trust

    seconds = seconds_of(budget)
    where = {name: choices.pop(name) for name in CLUSTER_OPTIONS}
    place = named_place(where, default="serial")
    check_folder(out)
    console = Console(highlight=False, stderr=as_json)
    real = read_real_panel(panel, read_spec(spec))
    accepted = {name: choices.pop(name) for name in ("accept_code_change", "accept_other_numbers")}
    with opened(out, place, Resume(**accepted)) as means:
        found = trust(real, budget=seconds, means=means, say=lambda line: console.print(line, style="dim"), **choices)
    held = document(found)
    written = write_trust(held, out)
    if as_json:
        click.echo(json.dumps(held, ensure_ascii=False))
        return 3 if found.in_part else 0
    print_trust(held, console)
    for path in written:
        console.print(f"wrote {path}", markup=False)
    return 3 if found.in_part else 0
