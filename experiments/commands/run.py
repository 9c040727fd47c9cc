"""`panelproof run`: run or resume a study."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.commands.options import (
    CLUSTER_OPTIONS,
    QUIET,
    STORE,
    Command,
    accept_options,
    as_json_option,
    cluster_options,
    complete_study,
)

if TYPE_CHECKING:
    from results.store.bucket import StorePath


@click.command("run", cls=Command)
@click.argument("study", metavar="STUDY|FILE.toml", shell_complete=complete_study)
@click.option(
    "--replications",
    type=click.IntRange(1),
    help="Replications per cell (with --until, at most); a larger number extends the store.",
)
@click.option(
    "--until", metavar="TARGETS", help='Stop each cell at Monte Carlo errors such as "coverage:0.005,bias:did:1e-4".'
)
@click.option(
    "--shard", metavar="I/N", help="Compute every N-th block alone; `panelproof store merge` joins the N stores."
)
@click.option("--block", type=click.IntRange(64), help="Replications stored together (a block), a multiple of 64.")
@click.option("--seed", type=click.IntRange(0), help="The seed (default: the study's).")
@click.option(
    "--store", type=STORE, help="A folder or an address (s3://...) for the results (default: runs/NAME.zarr)."
)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write the HTML report here.")
@click.option("--full", is_flag=True, help="Print every measure of every cell instead of one screen.")
@click.option(
    "--dry-run", is_flag=True, help="Check everything, run a pilot, print what the run would take and give, and stop."
)
@click.option("--retry", type=click.Choice(["failed"]), help="Compute blocks with failed fits again.")
@click.option(
    "--writes",
    type=click.Choice(["client", "workers"]),
    help="Who writes blocks: this process, or workers, which must then all reach the store. Default: workers with "
    "--cluster local, else this process.",
)
@click.option("--reread", is_flag=True, help="Read every block of the store; else only those whose files have changed.")
@accept_options
@cluster_options("local")
@as_json_option
def command(
    study: str,
    until: str | None,
    shard: str | None,
    store: StorePath | None,
    html: Path | None,
    full: bool,
    dry_run: bool,
    retry: str | None,
    writes: str | None,
    reread: bool,
    accept_code_change: bool,
    accept_other_numbers: bool,
    as_json: bool,
    **others: Any,
) -> int:
    """Run a built-in study or one of your own. After a kill or an interruption, the same command resumes the study."""
    from experiments.run.code_policy import Resume, share_of
    from experiments.run.launch import check_run, describe, foretell, launch, show, what_failed
    from experiments.run.places import named_place, table_of
    from experiments.study import study_of
    from results.report.terminal import NamesConsole

    console = NamesConsole(highlight=False, stderr=as_json)
    where = {name: others.pop(name) for name in CLUSTER_OPTIONS}
    with redirect_stdout(sys.stderr if as_json else sys.stdout):  # plug-ins may print
        place = named_place(where, table_of(study))
        chosen = study_of(study).resized(**others)
        share = share_of(shard, until)
        target = store or Path("runs") / f"{chosen.name}{share.suffix if share else ''}.zarr"
        plan = Resume(retry is not None, accept_code_change, accept_other_numbers, share, reread)
        check_run(chosen, study, target, html, plan, until)
    quiet = click.get_current_context().meta.get(QUIET, False)
    if not quiet:
        describe(chosen, target, place.where, plan, console)
    if dry_run:
        return foretell(chosen, target, console)
    records, poisoned = launch(chosen, target, place, console, plan, until, writes)
    if not quiet or html is not None:
        show(records, console, html, full=full, as_json=as_json)
    for line in (wrong := what_failed(records, poisoned)):
        console.print(line, style="red", markup=False, soft_wrap=True)
    return 3 if wrong else 0
