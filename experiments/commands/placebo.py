"""`panelproof placebo`: permutation and placebo tests on a real panel."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("placebo")
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
@click.option("--estimator", default="did", show_default=True, help="did, sdm, sar or sem.")
@click.option("--term", help="The term that is tested, one that the scheme moves (default: see above).")
@click.option(
    "--statistic", type=click.Choice(["raw", "studentised"]), default="raw", show_default=True,
    help="What is compared: estimates, or t statistics.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), help="Another seed than the spec's.")
@click.option(
    "--store", type=click.Path(path_type=Path), help="Where the draws go (default: runs/placebo-SCHEME.zarr)."
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for placebo.svg and placebo.json."
)
@click.option(
    "--cluster", default="serial", show_default=True, metavar="WHERE", help="serial, local or tcp://HOST:PORT."
)
@click.option("--workers", type=click.IntRange(1), help="Worker processes of a local cluster (default: one per core).")
@click.option(
    "--accept-code-change", is_flag=True, help="Add to a store whose blocks come from other code or other versions."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
def command(
    panel: Path,
    spec: Path,
    scheme: str,
    draws: int,
    estimator: str,
    term: str | None,
    statistic: str,
    seed: int | None,
    store: Path | None,
    out: Path | None,
    cluster: str,
    workers: int | None,
    accept_code_change: bool,
    as_json: bool,
) -> int:
    """Hold an estimate on PANEL against its placebos: the same estimator under assignments drawn anew.

    The store keeps the panel and every placebo; killed or interrupted, the same command resumes it.

    \b
    Schemes, and what makes their p values right:
      space             who is treated is permuted, dates stay: all units are
                        exchangeable
      strata:ATTRIBUTE  the same within groups of units: those of a group are
      blocks:W:SIZE     blocks of SIZE neighbours in W change places: blocks are
      blocks:W          connected groups of treated units grow anew along W
                        (blocks: the first of the spec): the real ones grew so
      mixed             random units, dates drawn evenly from all periods but
                        the first: the real ones were drawn so
      mixed:restricted  the same from the dates that occur
      time              dates before the real ones, on untreated cells: a look
                        at the time before, no test; did alone
      relabel:W         units change places in W (relabel: the first): W matters
                        to nothing
      mediator:NAME     units exchange a mediator's path (mediator: all of them
                        together): units are exchangeable

    \b
    What they test:
      relabel           rho, lambda, w_NAME, indirect:NAME; by default rho or lambda
      mediator          its own terms; by default the mediator
      all others        the treatment (the default) and what is made of it:
                        w_NAME, direct:NAME, indirect:NAME, total:NAME
    """
    import json
    import re

    from rich.console import Console

    from experiments.application.spec.spec import read_real_panel, read_spec
    from experiments.placebo.output import check_folder, print_placebo, write_placebo
    from experiments.placebo.placebo import answer, check_fits, question
    from experiments.placebo.stored import resumable
    from experiments.running.launch import check_cluster, launch
    from experiments.running.resume import Resume

    check_cluster(cluster, workers, insecure=False)
    ask = question(
        read_real_panel(panel, read_spec(spec)), scheme=scheme, estimator=estimator, term=term, draws=draws,
        statistic="raw" if statistic == "raw" else "studentised", seed=seed,
    )  # fmt: skip
    target = store or Path("runs") / f"placebo-{estimator}-{re.sub(r'[^A-Za-z0-9_-]+', '-', scheme)}.zarr"
    ask = resumable(ask, target)
    check_fits(ask)
    if out is not None:
        check_folder(out)
    console = Console(highlight=False, stderr=as_json)
    records, poisoned = launch(
        ask.study, target, cluster, workers, console, Resume(accept_code_change=accept_code_change)
    )
    found = answer(ask, records)
    written = write_placebo(found, out) if out is not None else []
    if as_json:
        click.echo(json.dumps(found.document, ensure_ascii=False))
    else:
        print_placebo(found, console)
        for path in [*written, target]:
            console.print(f"wrote {path}", markup=False)
    return 3 if poisoned else 0
