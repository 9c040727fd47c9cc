"""Launching a study from the command line: checks, progress, and what is shown at the end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from experiments.run.places import ClusterPlace
from experiments.run.progress import Bar, Lines, duration, size
from experiments.run.resume import Resume, describe_stale_blocks, retried
from experiments.run.runner import Until, check_together, preflight, run, schema_of
from experiments.run.tasks import LOST, LOST_DRAW, admit, environment_of
from experiments.study import Study
from sim.errors import amount, bad, naming, visible
from sim.streams import TILE, worlds_reached

if TYPE_CHECKING:
    from results.store import Store, ZarrStore
    from results.store.bucket import StorePath

RESUME = Resume()
PLACE = re.compile(r"cell (?P<cell>\d+) block \d+ replication (?P<at>\d+) (?P<name>.+)")  # of a traceback
MOST_DAMAGES = 5  # that are named before a run rebuilds them


def check_run(
    study: Study, source: str, store: StorePath, html: Path | None, plan: Resume, until: str | None = None, *,
    together: bool = False,
) -> None:  # fmt: skip
    """All that can be known before the first block, nothing written: whether files can be, whether panels serve.

    source: the study as the user named it. plan: how a store that is there is resumed. until: the target at which cells
    stop. together: other clients may fill the store too. Raises BadInput, and StoreLocked when another run holds it.
    """
    from experiments.run.reporting import check_output

    if html is not None:
        check_output(html)
    with naming(source):
        preflight(study)
    if until is not None:
        Until.read(until, schema_of(study).layouts)
    if together:
        check_together(store, plan, until)
    check_store(study, store, plan, together=together)


def check_store(study: Study, store: StorePath, plan: Resume, *, together: bool = False) -> None:
    """Raise BadInput for a store that is another study's or cannot be written, StoreLocked for one that is in use."""
    from results.store.disk import unwritable
    from results.store.files import check_place
    from results.store.lock import check_free
    from results.store.merge import Crew
    from results.store.repair import check_repairable
    from results.store.zarr_store import ZarrStore

    check_place(store)
    if store.exists() and not check_repairable(store, schema_of(study)):
        plan.check(ZarrStore.open(store), schema_of(study), environment_of(study))
    if isinstance(store, Path) and (reason := unwritable(store.parent) or unwritable(store)):
        raise bad(f"cannot be written: {reason}", where=str(store), allowed="a store in a writable folder",
                  remedy="choose another --store")  # fmt: skip
    crew = Crew(store) if isinstance(store, Path) else None
    if together and crew:  # which waits
        crew.parts()
        return
    check_free(store)
    if crew:
        crew.check_free()


def describe(
    study: Study, store: StorePath, where: str, plan: Resume, console: Console, *, quiet: bool = False
) -> None:  # fmt: skip
    """Say what is about to run, after `check_run`; when quiet, only which numbers are of other code, on stderr."""
    from experiments.run.reporting import blocks_of
    from results.store.files import damages
    from results.store.repair import rebuilt

    held = _held(store)
    if quiet:
        for line in _resumed(held, study, plan, quiet=True) if held is not None else ():
            click.echo(visible(f"panelproof: {store}; {line}"), err=True)
        return
    replications = study.replications if held is None else max(held.replications, study.replications)
    console.print(Text(study.name, style="bold"), f": {study.question}" if study.question else "", sep="", markup=False)
    sizes = {"cell": len(study.cells), "replication": replications, "estimator": len(study.estimators)}
    size = " x ".join(amount(count, word) for word, count in sizes.items())
    worlds = f" in {study.world_count} worlds" if study.world_count > 1 else ""
    console.print(f"{size}{worlds}, seed {study.seed}, on {where}, into {store}", markup=False)
    for damage in damages(store)[:MOST_DAMAGES] if store.exists() else ():
        console.print(Text(rebuilt(store, damage), style="yellow"))
    for line in unreached(study, replications):
        console.print(Text(line, style="yellow"))
    if held is not None and replications > study.replications:
        done, blocks = blocks_of(held)
        what = f"the store holds {replications:,} replications per cell, more than the {study.replications:,} asked for"
        goes_on = f"the run goes on to all of them, of which {done:,} of {blocks:,} blocks are done"
        kept = "all of them are kept" if done == blocks else goes_on
        console.print(Text(f"{what}; {kept}", style="yellow"))
    for line in _resumed(held, study, plan) if held is not None else ():
        console.print(Text(line, style="yellow"))


def unreached(study: Study, replications: int) -> Iterator[str]:
    """That replications are too few for the study's worlds, in one line."""
    reached = worlds_reached(replications, study.world_count)
    if reached < study.world_count:
        reach = f"{amount(replications, 'replication')} reach{'es' * (replications == 1)}"
        yield (f"{reach} {reached} of {study.world_count} worlds, because each {TILE} in turn lie in the next world; "
               f"{study.world_count * TILE:,} reach all")  # fmt: skip


def _resumed(held: ZarrStore, study: Study, plan: Resume, *, quiet: bool = False) -> list[str]:
    """What is computed again, and which blocks of other code stay beside new ones; when quiet, only of what code the
    numbers are, where no option accepts that.
    """
    here, schema = environment_of(study), schema_of(study)
    growth = held.check_study(schema)
    lines = [growth.sentence] if growth is not None else []
    if growth is not None and growth.computes:
        stale = describe_stale_blocks(held, here, ()) if growth.kept else []
    else:
        first = held.replications - held.replications % held.block
        anew = schema.replications > held.replications > first  # the last block of each cell grows
        more = f"; with more replications those from {first:,} on are all computed anew" if anew else ""
        stale = [f"{line}{more}" for line in describe_stale_blocks(held, here, plan.expected(held, schema))]
        lines = [retried(held, here, held.raised()), *lines] if plan.retry_failed and not quiet else lines
    if quiet:
        return [] if plan.accepted else stale
    return [*lines, *stale]


def _held(store: StorePath) -> ZarrStore | None:
    """The study's store, when there is one already and nothing of it must be rebuilt first."""
    from results.store.files import damages
    from results.store.zarr_store import ZarrStore

    return ZarrStore.open(store) if store.exists() and not damages(store) else None


def forecast_run(study: Study, store: StorePath, console: Console) -> int:
    """Run a pilot and say what all replications of the store will take and give; returns the exit code."""
    import numpy as np

    from experiments.run.checking import pilot
    from results.diagnosis.claims import DEFAULTS, about, fits_needed
    from results.diagnosis.fits import bound_factor

    held = _held(store)
    replications = study.replications if held is None else max(held.replications, study.replications)
    seconds, used, largest, rows = pilot(study, replications)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=not console.is_terminal)

    say(f"A pilot of {rows:,} replications per cell says: about {duration(seconds)} on one worker, {size(used)} in the "
        "store.")  # fmt: skip
    seen = worlds_reached(rows, study.world_count)
    known = f"; from {seen} worlds, and may be {bound_factor(np.array(float(seen))):.2g} times that" if seen > 1 else ""
    errors: list[dict[str, Any]] = largest.to_dict("records")  # type: ignore[assignment]
    for measure in dict.fromkeys(row["measure"] for row in errors):
        worst = max((row for row in errors if row["measure"] == measure), key=lambda row: float(row["mcse"]))
        who = " ".join(part for part in (worst["estimator"], worst["term"], worst["error"]) if part)
        cells = f", cell {worst['cell']}" if len(study.cells) > 1 else ""
        say(f"Monte Carlo error of {measure} after {replications:,} replications: at most {worst['mcse']:.2g} "
            f"({who}{cells}{known})")  # fmt: skip

    # what each judged claim takes, once where claims differ in their terms alone; the level of tests is a report's, 5%
    takes: dict[str, None] = {}
    worlds, count_of_cells = worlds_reached(replications, study.world_count), len(study.cells)
    for claim in study.claims or DEFAULTS:
        if not claim.is_judged:
            continue
        lone, every = (fits_needed(claim.nominal(0.05), claim.limit(0.05), share=claim.measure != "bias", cells=count,
                                   worlds=worlds) for count in (1, count_of_cells))  # fmt: skip
        every_cell = f", about {about(every):,.0f} a cell for all {count_of_cells} cells" if count_of_cells > 1 else ""
        takes[f'To tell that {claim.measure} holds takes about {about(lone):,.0f} replications in one cell{every_cell} '
              f"(chance 80%, tolerance {claim.limit(0.05):g}), and more where worlds differ."] = None  # fmt: skip
    for line in takes:
        say(line)
    return 0


def launch(
    study: Study,
    store: StorePath,
    place: ClusterPlace,
    console: Console,
    plan: Resume = RESUME,
    until: str | None = None,
    writes: str | None = None,
    *,
    together: bool = False,
) -> tuple[ZarrStore, int]:
    """Run or resume into a Zarr store with progress; returns it and the number of blocks that could not be computed."""
    from results.store import BlockState
    from results.store.zarr_store import ZarrStore

    watch = Bar(console) if console.is_terminal else Lines(console)

    def tell(line: str) -> None:
        console.print(line, style="yellow", markup=False, soft_wrap=not console.is_terminal)

    executor = place.open(tell)
    try:
        admit(executor, study, ship=place.ship, any_numbers=plan.accept_other_numbers)
        with watch:
            records = run(study, store=store, executor=executor, listen=watch.step, plan=plan, until=until,
                          writes=writes, together=together, tell=tell)  # fmt: skip
    finally:
        executor.close()
    assert isinstance(records, ZarrStore)
    return records, int((records.states == BlockState.POISONED).sum())


def what_failed(store: Store, poisoned: int) -> list[str]:
    """A line for each estimator whose every fit raised, fit that ended its process, and block that is missing."""
    never = [f"{name}: every fit failed: {store.usual_error(name)[0] or 'its traceback was not kept'}"
             for name in store.never_fitted()]  # fmt: skip
    again = "blocks killed their workers or could not be drawn; the same command computes them again"
    return [*never, *lost_fits(store), *([f"{poisoned} {again}"] if poisoned else [])]


def lost_fits(store: Store) -> list[str]:
    """A line for each fit that ended its process, with the command that draws and fits it again."""
    path = getattr(store, "path", None)
    lines = []
    for key, text in store.tracebacks.items():
        found = PLACE.fullmatch(key)
        if found and text.startswith((LOST, LOST_DRAW)):
            place = f"{found['cell']} {found['at']}"
            again = f"; `panelproof replay {quote(str(path))} {place}` fits it again" if path else ""
            lines.append(
                f"cell {found['cell']} replication {found['at']} {found['name']}: {text.splitlines()[0]}{again}"
            )
    return lines


def show(store: ZarrStore, console: Console, html: Path | None, *, full: bool = False, as_json: bool = False,
         chart: bool = False, opened: bool = False) -> None:  # fmt: skip
    """The answer, with `full` every cell, or one JSON document; the HTML report if wanted, and where the files are.

    chart: whether the answer's picture is drawn below it. opened: whether a browser shows the page. The
    study's name and question stand above, where `describe` has printed them.
    """
    from experiments.run.reporting import open_page, print_chart, print_json, print_report, read_diagnosis, write_html

    if as_json:
        diagnosis = read_diagnosis(store, load_code=True)
        print_json(store, diagnosis)
    else:
        diagnosis = print_report(store, console, full=full, load_code=True, titled=False)
        if chart:
            print_chart(diagnosis, console)
    console.print(f"store   {store.path}", markup=False)
    if html is not None:
        write_html(store, diagnosis, html)
        console.print(f"report  {html}{' (opened in the browser)' if opened and open_page(html) else ''}", markup=False)
