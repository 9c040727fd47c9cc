"""`panelproof placebo`: permutation and placebo tests on a real panel."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.commands.options import (
    CLUSTER_OPTIONS,
    STORE,
    Command,
    accept_options,
    as_json_option,
    cluster_options,
)

if TYPE_CHECKING:
    from results.store.bucket import StorePath

HELP = """Compare an estimate on PANEL with its placebos: the same estimator under assignments that are drawn anew.

The store keeps the panel and every placebo. After an interruption, the same command goes on from there.

\b
Schemes, and what the p value assumes:
  space             permutes who is treated and keeps the dates; assumes that
                    all units are exchangeable
  strata:ATTRIBUTE  permutes within groups of units; assumes that the units of
                    a group are exchangeable
  blocks:W:SIZE     permutes blocks of SIZE neighbours in W; assumes that the
                    blocks are exchangeable
  blocks:W          grows connected groups of treated units along W (blocks:
                    the first W of the spec); assumes that the real groups
                    grew in this way
  mixed             draws units at random, and dates evenly from all periods
                    but the first; assumes that the real ones were drawn so
  mixed:restricted  draws dates only from those that occur
  time              gives earlier dates to the treated units and uses only
                    untreated cells; no test and no p value; only with did
  relabel:W         exchanges units in W (relabel: the first W); assumes that
                    W has no influence
  mediator:NAME     exchanges a mediator's paths between units (mediator: all
                    mediators together); assumes that units are exchangeable

\b
Terms that they test:
  relabel           rho, lambda, w_NAME, indirect:NAME; default: rho or lambda
  mediator          terms of the mediator; default: the mediator
  all others        the treatment (default) and terms that are made of it:
                    w_NAME, direct:NAME, indirect:NAME, total:NAME
"""


@click.command("placebo", cls=Command, help=HELP)
@click.argument("panel", type=click.Path(path_type=Path))
@click.option("--spec", required=True, type=click.Path(path_type=Path), help="The SPEC.toml of this panel.")
@click.option(
    "--scheme",
    default="space",
    show_default=True,
    help="space, strata:ATTRIBUTE, blocks, blocks:WEIGHTS, blocks:WEIGHTS:SIZE, mixed, mixed:restricted, time, "
    "relabel, relabel:WEIGHTS, mediator, mediator:NAME.",
)
@click.option(
    "--draws",
    type=int,
    default=1000,
    show_default=True,
    help="Placebos, 99 or more, or every assignment when there are no more; more than a store holds extend it.",
)
@click.option(
    "--estimator", default="did", show_default=True, metavar="KIND",
    help="did, a spatial model (sdm, sar, sem, ...), or any kind of estimator with its default settings.",
)  # fmt: skip
@click.option("--term", help="The term that is tested, one that the scheme moves (default: see above).")
@click.option(
    "--statistic", type=click.Choice(["raw", "studentised"]), default="raw", show_default=True,
    help="What is compared: estimates, or t statistics.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), help="Another seed than the spec's.")
@click.option(
    "--store", type=STORE, help="A folder or an address (s3://...) for the draws (default: runs/placebo-SCHEME.zarr)."
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for placebo.svg and placebo.json."
)
@cluster_options("serial")
@accept_options
@as_json_option
def command(
    panel: Path,
    spec: Path,
    store: StorePath | None,
    out: Path | None,
    accept_code_change: bool,
    accept_other_numbers: bool,
    as_json: bool,
    **choices: Any,
) -> int:
    """Hold an estimate against its placebos; the help of the command says more."""
    from rich.console import Console

    from experiments.panel_spec.spec import read_real_panel, read_spec
    from experiments.placebo import answer, check_folder, prepared, print_placebo, write_placebo
    from experiments.run.code_policy import Resume
    from experiments.run.launch import launch
    from experiments.run.places import named_place

    where = {name: choices.pop(name) for name in CLUSTER_OPTIONS}
    place = named_place(where, default="serial")
    named = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{choices['estimator']}-{choices['scheme']}")
    target = store or Path("runs") / f"placebo-{named}.zarr"
    ask = prepared(read_real_panel(panel, read_spec(spec)), target, **choices)
    if out is not None:
        check_folder(out)
    console = Console(highlight=False, stderr=as_json)
    plan = Resume(accept_code_change=accept_code_change, accept_other_numbers=accept_other_numbers)
    records, poisoned = launch(ask.study, target, place, console, plan)
    found = answer(ask, records)
    written = write_placebo(found, out) if out is not None else []
    if as_json:
        click.echo(json.dumps(found.document, ensure_ascii=False))
    else:
        print_placebo(found, console)
        for path in [*written, target]:
            console.print(f"wrote {path}", markup=False)
    return 3 if poisoned else 0
