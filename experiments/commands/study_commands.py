"""The commands of studies, from `studies` to `replay`, of searches (`solve`, `breakdown`), of stores and clusters
(`store`, `cluster`), and `completion`.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.commands.command_options import (
    CLUSTER_OPTIONS,
    QUIET,
    STORE,
    STUDY_PLACE,
    Command,
    accept_options,
    alpha_option,
    as_json_option,
    cluster_options,
    complete_study,
    load_code_option,
    print_json,
    say,
    say_fact,
    search_options,
)
from sim.errors import amount

if TYPE_CHECKING:
    from results.store.bucket import StorePath


# `panelproof studies`: what each built-in study asks, its cells and cost.


@click.command("studies", cls=Command)
@click.argument("name", required=False, shell_complete=complete_study)
@as_json_option
def studies(name: str | None, as_json: bool) -> None:
    """List the built-in studies; with NAME, show that study in full."""
    from rich.console import Console
    from rich.table import Table

    from experiments.listing import builtin_names, study_rows

    console = Console(highlight=False)
    if name is None and not as_json:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("study", "asks", "cells", "panels", "time"):
            table.add_column(heading, justify="left" if heading in {"study", "asks"} else "right", overflow="fold")
        for called, question, cells, panels, cost in study_rows():
            table.add_row(called, question, str(cells), f"{panels:,}", cost)
        console.print(table)
        console.print("\nTimes are those of two cores. Run one with: panelproof run NAME", markup=False)
        return
    from experiments.study import builtin_study  # which loads far more than the list needs

    if as_json:
        found = [builtin_study(item) for item in ([name] if name else builtin_names())]
        print_json([item.settings | {"fingerprint": item.fingerprint} for item in found])
        return
    assert name is not None
    study = builtin_study(name)
    console.print(f"{study.name}: {study.question}\n", markup=False, style="bold")
    if study.expected:
        console.print(f"Expected: {study.expected}\n", markup=False)
    for dial, values in study.grid:
        console.print(f"  {dial}: {', '.join(map(str, values))}", markup=False)
    console.print(f"  estimators: {', '.join(item.name for item in study.estimators)}", markup=False)
    if study.held_fixed:
        worlds = f"{study.world_count} worlds" if study.world_count > 1 else "one world"
        console.print(f"  drawn in {worlds}: {', '.join(study.held_fixed)}", markup=False)
    size = f"{amount(len(study.cells), 'cell')} x {amount(study.replications, 'replication')}"
    size += f", {study.cost} on two cores" if study.cost else ""
    console.print(f"  {size}, seed {study.seed}, fingerprint {study.fingerprint[:12]}", markup=False)


# `panelproof kinds`: what there is to choose from, and every dial of one kind.


@click.command("kinds", cls=Command)
@click.argument("kind", required=False)
@as_json_option
def kinds(kind: str | None, as_json: bool) -> None:
    """List designs, their parts, estimators, error types, schemes and measures; with KIND, every dial of that kind.

    KIND may also be a slot for parts (adoption), or one part of it (adoption.random).
    """
    if kind is None and not as_json:
        _list_kinds()
        return
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from experiments.kinds import catalogue, document, entries_called

    groups = catalogue() if kind is None else entries_called(kind)
    if as_json:
        print_json(document(groups))
        return
    console = Console(highlight=False)
    for group, entries in groups.items():
        of_kind = group.replace("_", " ").removesuffix("s")
        for entry in entries:
            source = f", {entry.source}" if entry.source else ""
            console.print(f"\n{entry.kind} ({of_kind}{source})", style="bold", markup=False)
            console.print(entry.summary, markup=False)
            for dial in entry.dials:
                allowed = f": {' | '.join(dial.allowed)}" if dial.allowed else ""
                console.print(Text(f"{dial.name}  ({dial.type}{allowed}; default {dial.default})"))
                console.print(Padding(Text(dial.meaning), (0, 0, 0, 4)))


def _list_kinds() -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from experiments.listing import kind_rows, offered_rows

    console = Console(highlight=False)
    try:
        own = kind_rows()
    except (SyntaxError, LookupError):  # a draft that its source does not explain: its import says what is wrong
        from experiments.kinds import catalogue

        own = {group: [(entry.kind, entry.summary) for entry in found] for group, found in catalogue().items()}
    others = {"offered by other packages": rows} if (rows := offered_rows()) else {}
    for group, rows in (own | others).items():
        console.print(f"\n{group.replace('_', ' ')}", style="bold")
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for _ in rows[0]:
            table.add_column(overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
    console.print("\nFor the dials of one kind: panelproof kinds KIND", markup=False)


# `panelproof run`: run or resume a study.


chart_option = click.option("--chart", is_flag=True, help="Draw the picture of the answer below it, in letters.")
open_option = click.option("--open", "opened", is_flag=True,
                           help="Open the page of --html in a browser, on a desktop that has one.")  # fmt: skip


def check_open(opened: bool, html: Path | None) -> None:
    """Raise BadInput where a page is to be opened that nobody asked for."""
    from sim.errors import bad

    if opened and html is None:
        raise bad("there is no page to open", where="--open", allowed="with --html FILE", remedy="add --html FILE")


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
@click.option(
    "--together",
    is_flag=True,
    help="Fill the store with other clients that say so too, on all machines that reach it; each takes free blocks.",
)
@click.option("--block", type=click.IntRange(64), help="Replications stored together (a block), a multiple of 64.")
@click.option("--seed", type=click.IntRange(0), help="The seed (default: the study's).")
@click.option(
    "--store", type=STORE, help="A folder or an address (s3://...) for the results (default: runs/NAME.zarr)."
)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write the HTML report here.")
@click.option("--full", is_flag=True, help="Print every measure of every cell instead of one screen.")
@chart_option
@open_option
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
@cluster_options(STUDY_PLACE, told=True)
@as_json_option
def run(
    study: str,
    until: str | None,
    shard: str | None,
    together: bool,
    store: StorePath | None,
    html: Path | None,
    full: bool,
    chart: bool,
    opened: bool,
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
    from experiments.run.launch import check_run, describe, forecast_run, launch, show, what_failed
    from experiments.run.places import named_place, table_of
    from experiments.run.resume import Resume, share_of
    from experiments.study import study_of
    from results.tables.terminal_tables import NamesConsole
    from sim.registry import aside

    console = NamesConsole(stderr=as_json)
    check_open(opened, html)
    where = {name: others.pop(name) for name in CLUSTER_OPTIONS}
    with aside() if as_json else nullcontext():
        place = named_place(where, table_of(study))
        chosen = study_of(study).resized(**others)
        share = share_of(shard, until)
        target = store or Path("runs") / f"{chosen.name}{share.suffix if share else ''}.zarr"
        plan = Resume(retry is not None, accept_code_change, accept_other_numbers, share, reread)
        check_run(chosen, study, target, html, plan, until, together=together)
    quiet = click.get_current_context().meta.get(QUIET, False)
    describe(chosen, target, place.where, plan, console, quiet=quiet)
    if dry_run:
        return forecast_run(chosen, target, console)
    records, poisoned = launch(chosen, target, place, console, plan, until, writes, together=together)
    if not quiet or html is not None:
        show(records, console, html, full=full, as_json=as_json, chart=chart, opened=opened)
    for line in (wrong := what_failed(records, poisoned)):
        console.print(line, style="red", markup=False, soft_wrap=not console.is_terminal)
    return 3 if wrong else 0


# `panelproof report`: the bias report of a store.


@click.command("report", cls=Command)
@click.argument("store", type=STORE)
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a self-contained HTML report here."
)
@click.option("--json", "as_json", is_flag=True, help="Print every measure as one JSON document and nothing else.")
@click.option("--full", is_flag=True, help="Print every measure of every cell instead of one screen.")
@chart_option
@open_option
@click.option("--all-terms", is_flag=True, help="Print everything, the controls too.")
@click.option("--by", default="", metavar="DIALS",
              help="Print one measure by these dials, comma-separated; the last one gives the columns.")  # fmt: skip
@click.option("--measure", "measures", multiple=True, metavar="NAME|FILE.py:NAME|TEST",
              help="The measure of the table (power, size, coverage, bias, rmse, ...), or a function of estimate, se, "
              "dof, pvalue, lower, upper, truth to show as well, or a test, null:did=0.02 or "
              "equivalence:-0.01<did<0.01; repeatable.")  # fmt: skip
@click.option("--normal", is_flag=True, help="Critical values of N(0,1) in place of those of t.")
@load_code_option("Load the measures that STORE names (only for a store of your own).")
@click.option("--figures", type=click.Path(path_type=Path, file_okay=False),
              help="Write pictures into this folder, as svg, pdf and png unless --format names some.")  # fmt: skip
@click.option("--figure", "names", multiple=True, metavar="NAME",
              help="A picture for --figures by the name of its file, or by its measure, such as power; repeatable. "
              "Default: every one.")  # fmt: skip
@click.option(
    "--term", metavar="TERM", help="The term that the pictures of --figures show (default: that of the answer)."
)
@click.option("--format", "formats", default="", metavar="LIST",
              help="Comma-separated: files of tables for --out, tex, docx, rtf, xlsx, csv (with all measures); of "
              "pictures for --figures, svg, pdf, png.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files of --format.")
@alpha_option
def report(
    store: StorePath, html: Path | None, as_json: bool, full: bool, chart: bool, opened: bool, all_terms: bool, by: str,
    measures: tuple[str, ...], figures: Path | None, names: tuple[str, ...], term: str | None, formats: str,
    out: Path | None, alpha: float, load_code: bool, normal: bool,
) -> None:  # fmt: skip
    """Print the answer to a study's question on one screen, from a store that `run` made; --full prints all of it."""

    from cluster import prepare_process
    from experiments.run.reporting import (
        open_page,
        pictures_asked,
        pivots_of,
        print_chart,
        print_json,
        print_pivots,
        print_report,
        report_options,
        write_exports,
        write_html,
    )
    from results.diagnosis.diagnose import diagnose
    from results.store.zarr_store import ZarrStore
    from results.tables.terminal_tables import NamesConsole
    from sim.errors import bad

    prepare_process()
    check_open(opened, html)
    records = ZarrStore.open(store)
    wanted, own = report_options(
        records, by, measures, figures, formats, out, html, load_code=load_code, names=names, term=term
    )
    if as_json and wanted.any_pivot:
        raise bad("--json beside a table by dials", where="--json", allowed="one of the two",
                  remedy="leave --by and the measure's name out: --json has every measure of every cell")  # fmt: skip
    diagnosis = diagnose(records, alpha, own, normal=normal)
    pivots = pivots_of(diagnosis, wanted) if wanted.any_pivot or wanted.formats else []
    charts = pictures_asked(records, diagnosis, wanted)
    console = NamesConsole()
    if as_json:
        print_json(records, diagnosis)
    elif wanted.any_pivot:
        print_pivots(pivots, console)
    else:
        print_report(records, console, diagnosis, all_terms=all_terms, full=full)
    if chart and not as_json:
        print_chart(diagnosis, console)
    written = write_exports(records, diagnosis, pivots, charts, wanted)
    if html is not None:
        write_html(records, diagnosis, html, pivots if wanted.any_pivot else ())
        written.append(html)
        if opened:
            open_page(html)
    if written and not as_json:
        console.print(f"wrote   {', '.join(map(str, written))}", markup=False, soft_wrap=True)


# `panelproof compare`: two stores side by side.


@click.command("compare", cls=Command)
@click.argument("a", type=STORE)
@click.argument("b", type=STORE)
@click.option("--all", "everything", is_flag=True, help="Show all terms and all rows.")
@click.option("--json", "as_json", is_flag=True, help="Print every number as one JSON document and nothing else.")
@alpha_option
def compare(a: StorePath, b: StorePath, everything: bool, as_json: bool, alpha: float) -> None:
    """Print what store B says minus what store A says: paired where both drew the same panels, unpaired elsewhere."""
    from results.diagnosis.comparison import compare
    from results.report.terminal import comparison_json, print_comparison
    from results.store.zarr_store import ZarrStore
    from results.tables.terminal_tables import NamesConsole
    from sim.errors import bad, visible_json

    one, other = ZarrStore.open(a), ZarrStore.open(b)
    found = compare(one, other, alpha)
    if found.frame.empty:
        lacking = "fits of one estimator and term" if found.cells else "a cell"
        raise bad(f"nothing can be compared: they lack {lacking} in common", where=f"{a} and {b}",
                  allowed="stores of equal dials with an estimator in common", remedy="name other stores")  # fmt: skip
    if as_json:
        click.echo(visible_json(comparison_json(found, one, other)))
    else:
        print_comparison(found, one, other, NamesConsole(), everything=everything)


# `panelproof replay`: one replication again, from its key alone.


@click.command("replay", cls=Command)
@click.argument("store", type=STORE)
@click.argument("cell", type=click.IntRange(0))
@click.argument("replication", type=click.IntRange(0))
@click.option(
    "--save", type=click.Path(path_type=Path, dir_okay=False), help="Save the drawn panel (.csv or .parquet)."
)
@load_code_option("Import the modules that STORE names (only for a store of your own).")
def replay(store: StorePath, cell: int, replication: int, save: Path | None, load_code: bool) -> int:
    """Draw and fit REPLICATION of CELL again, and compare with what STORE holds (exit 1 when it differs)."""

    from experiments.run.resume import compare, replay, save_panel
    from results.store.zarr_store import ZarrStore
    from results.tables.terminal_tables import NamesConsole

    console = NamesConsole()
    records = ZarrStore.open(store)
    again = replay(records, cell, replication, load_code=load_code)
    if save is not None:
        save_panel(again.panel, save)
        console.print(f"panel   {save}", markup=False)
    return compare(records, again, console)


# `panelproof solve`: the effect, number of units or replications at which a measure reaches a level.


@click.command("solve", cls=Command)
@click.argument("goal", metavar="GOAL")
@click.argument("study", metavar="STUDY|FILE.toml")
@click.option("--for", "name", required=True, metavar="DIAL",
              help="effect, units, periods, treated, any dial that holds a number, or replications.")  # fmt: skip
@search_options
def solve(
    goal: str, study: str, name: str, out: Path | None, estimator: str | None, term: str | None, error: str | None,
    seed: int | None, low: float | None, high: float | None, precision: float, budget: int,
    as_json: bool, **where: Any,
) -> int:  # fmt: skip
    """Find where a measure reaches a level, with an interval.

    GOAL is MEASURE:LEVEL, such as power:0.8 or coverage:0.9, or mcse:MEASURE=ERROR, such as mcse:coverage=0.003 --for
    replications. Every value that is tried is a store under --out: the same command resumes the search.
    """
    from experiments.search.searches import run_search, solving
    from experiments.search.solve import Search

    prepare = partial(solving, goal=goal, name=name, estimator=estimator, term=term, error=error)
    options = Search(low, high, precision, budget)
    return run_search("solve", prepare, study, out, options, where, seed=seed, as_json=as_json)


# `panelproof breakdown`: the departure at which coverage, size or bias is no longer acceptable.


@click.command("breakdown", cls=Command)
@click.argument("study", metavar="STUDY|FILE.toml")
@click.option("--dial", required=True, help="The departure: a dial such as trend_gap or errors.serial.")
@click.option("--dial2", "second", help="A second departure: the frontier along both, and a map of it.")
@click.option("--to2", "to_second", type=float, help="Where it ends (default: its own breakdown).")
@click.option("--measure", default="coverage:0.90", show_default=True, metavar="MEASURE:LEVEL",
              help="coverage:0.90, size:0.10, or bias:25% (of the effect).")  # fmt: skip
@search_options
def breakdown(
    study: str, dial: str, second: str | None, to_second: float | None, measure: str, out: Path | None,
    estimator: str | None, term: str | None, error: str | None, seed: int | None, low: float | None, high: float | None,
    precision: float, budget: int, as_json: bool, **where: Any,
) -> int:  # fmt: skip
    """Find the smallest departure at which a measure passes a level, with an interval.

    Every value that is tried is a store under --out: the same command resumes the search.
    """
    from experiments.search.searches import breaking, run_search
    from experiments.search.solve import Search

    prepare = partial(breaking, measure=measure, dial=dial, second=second, estimator=estimator, term=term, error=error)
    options = Search(low, high, precision, budget, to_second)
    return run_search("breakdown", prepare, study, out, options, where, seed=seed, as_json=as_json)


# `panelproof completion`: the script with which a shell completes commands, options and names of studies.


SHELLS = {
    "bash": 'eval "$(panelproof completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(panelproof completion zsh)"  in ~/.zshrc',
    "fish": "panelproof completion fish > ~/.config/fish/completions/panelproof.fish",
}


@click.command("completion", cls=Command, epilog="\b\n" + "\n".join(SHELLS.values()))
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL."""
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(ctx.find_root().command, {}, "panelproof", "_PANELPROOF_COMPLETE").source())


# `panelproof store`: what a store holds and whether it is sound.


@click.group("store")
def store() -> None:
    """Verify, hash, describe, merge or pack stores."""


@store.command("hash", cls=Command, short_help="SHA-256 of what a store holds: equal for equal runs.")
@click.argument("store", type=STORE)
def hash_(store: StorePath) -> None:
    """SHA-256 over decoded arrays, coordinates and fingerprint: equal for equal runs."""
    from results.store.zarr_store import ZarrStore

    say(ZarrStore.open(store).content_hash())


@store.command("verify", cls=Command, short_help="Compare everything in a store with its digests.")
@click.argument("store", type=STORE)
@as_json_option
def verify(store: StorePath, as_json: bool) -> int:
    """Compare everything in a store with its digests; exit 1 when anything is missing or damaged."""
    from results.store.repair import verified

    found = verified(store)
    if as_json:
        print_json({"sound": found.sound, "lines": list(found.lines)})
        return 0 if found.sound else 1
    for line in found.lines:
        say(line)
    return 0 if found.sound else 1


@store.command("info", cls=Command)
@click.argument("store", type=STORE)
@as_json_option
def info(store: StorePath, as_json: bool) -> None:
    """The study, its sizes and where it was made."""
    from estimators.core.estimator import Status
    from results.store.zarr_store import ZarrStore
    from sim.errors import amount

    records = ZarrStore.open(store)
    study, stopped = records.facts["study"], records.stopped
    if as_json:
        by_status = {name: {status.name.lower(): count for status, count in sorted(counts.items())}
                     for name, counts in records.status_counts().items()}  # fmt: skip
        print_json({
            "study": study, "fingerprint": records.fingerprint, "cells": list(records.cells),
            "replications": records.replications, "block": records.block, "estimators": list(records.layouts),
            "until": None if stopped is None else stopped.sentence, "fits": by_status,
            "environments": [asdict(origin) for origin in records.environments],
            "tracebacks": dict(records.tracebacks),
        })  # fmt: skip
        return
    say_fact("study", f"{study['name']}: {study['question']}")
    say_fact("cells", str(len(records.cells)))
    say_fact("replications", f"{records.replications} per cell, in blocks of {records.block}")
    if stopped is not None:
        say_fact("until", stopped.sentence)
    say_fact("estimators", ", ".join(records.layouts))
    say_fact("seed", str(study["seed"]))
    say_fact("fingerprint", records.fingerprint)
    for origin in records.environments:  # one line each, with what differs from the first
        differs = f"; differs from the first: {', '.join(origin.differs)}" if origin.differs else ""
        say_fact("made with", f"{origin.text} ({amount(origin.blocks, 'block')}{differs})")
    for name, counts in records.status_counts().items():  # last: it reads blocks, which may be damaged
        for status, count in sorted(counts.items()):
            if status is not Status.OK:
                say_fact("failed fits", f"{name}: {count} of {counts.total()}, {status.meaning}")
    for key, text in records.tracebacks.items():
        say_fact("traceback", f"{key}: {(text.strip().splitlines() or ['(empty)'])[-1]}")
    if records.tracebacks:
        say("`panelproof replay STORE CELL REPLICATION` prints the full traceback of a fit")


@store.command("merge", cls=Command, short_help="Join stores of one study, such as its shards.")
@click.argument("stores", type=STORE, nargs=-1, required=True)
@click.option("--out", type=STORE, required=True, help="The new store; nothing may be there yet.")
@accept_options
@as_json_option
def merge_(stores: tuple[StorePath, ...], out: StorePath, as_json: bool, **accepted: bool) -> int:
    """Join STORES of one study, such as its shards, into one; exit 3 when blocks are missing in it."""
    from results.store.merge import merge
    from sim.errors import amount

    merged = merge(stores, out, **accepted)
    if as_json:
        print_json({"store": str(out), **asdict(merged)})
        return 3 if merged.total > merged.done else 0
    say(f"merged {len(stores)} stores: {merged.sentence}")
    say(f"store   {out}")
    if missing := merged.total - merged.done:
        say(f"missing {amount(missing, 'block')}; run the study with --store {out} to compute what is missing")
    return 3 if missing else 0


@store.command("pack", cls=Command, short_help="Write a store into one zip that is read in place.")
@click.argument("store", type=STORE)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The zip (default: STORE.zip, of an address here); nothing may be there yet.",
)
def pack_(store: StorePath, out: Path | None) -> None:
    """Write STORE into one zip that is read in place; the store stays as it is."""
    from results.store.merge import pack

    target = out or (store.with_name(f"{store.name}.zip") if isinstance(store, Path) else Path(f"{store.name}.zip"))
    say(f"packed {pack(store, target):,} files")
    say(f"store   {target}")


# `panelproof cluster`: where studies can run, and whether a cluster is fit for one.


@click.group("cluster")
def cluster() -> None:
    """List back ends and their options, or check a cluster before a run."""


@cluster.command("kinds", cls=Command, short_help="Every back end with its options.")
@as_json_option
def cluster_kinds(as_json: bool) -> None:
    """Every back end with the options that [cluster] of a study file and --cluster-option take."""
    import dataclasses

    from cluster import back_ends
    from experiments.run.places import as_bad_input

    found = []
    with as_bad_input():
        kinds = back_ends()
    for kind in sorted(kinds.values(), key=lambda item: item.form):
        names = [item.name for item in dataclasses.fields(kind) if item.name not in {"address", "insecure"}]
        found.append({"form": kind.form, "meaning": " ".join((kind.__doc__ or "").split()), "options": names})
    if as_json:
        print_json(found)
        return
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    for item in found:
        console.print(Text(str(item["form"])))
        console.print(Padding(Text(f"{item['meaning']}\noptions: {', '.join(item['options'])}\n"), (0, 0, 0, 4)))


@cluster.command("numbers", cls=Command, short_help="What to set before a start for portable numbers.")
def cluster_numbers() -> None:
    """Lines of a shell that set what a process must start with to compute portable numbers.

    `eval "$(panelproof cluster numbers)"` sets them for Python, a notebook or `dask worker` in that shell.
    """
    from shlex import quote

    from cluster.numbers import check_machine
    from experiments.run.places import as_bad_input

    with as_bad_input():
        settings = check_machine()
    for name, value in settings.items():
        click.echo(f"export {name}={quote(value)}")


@cluster.command("check", cls=Command, short_help="Open a cluster and say what its workers are.")
@click.argument("where", metavar="WHERE")
@click.option("--study", metavar="STUDY|FILE.toml", default="bias", show_default=True,
              help="The study that is tried; its [cluster] table gives options.")  # fmt: skip
@cluster_options(STUDY_PLACE, place=False, told=True)
@as_json_option
def cluster_check(where: str, study: str, as_json: bool, **chosen: Any) -> int:
    """Open WHERE and say what its workers are, how fast, and which of them a run would leave out.

    Exit code 0: all workers may compute; 1: some or all may not, or nobody answers; 2: bad input.
    """
    from experiments.run.checking import check_cluster
    from experiments.run.places import named_place, table_of
    from experiments.study import study_of

    place = named_place({**chosen, "cluster": where}, table_of(study))
    return check_cluster(place, study_of(study), as_json=as_json)
