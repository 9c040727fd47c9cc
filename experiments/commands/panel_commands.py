"""The commands of real panels: `init`, `panel`, `estimate`, `placebo`, `twin`, `trust`, `replicate`."""

from __future__ import annotations

import json
import re
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from experiments.commands.command_options import (
    CLUSTER_OPTIONS,
    STORE,
    Command,
    accept_options,
    as_json_option,
    budget_option,
    cluster_options,
    in_place_of_budget,
    load_code_option,
    panel_and_spec,
    print_json,
    say,
)

if TYPE_CHECKING:
    from results.store.bucket import StorePath


# `panelproof init`: a SPEC.toml proposed from a panel file.


@click.command("init", cls=Command)
@click.argument("panel", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="SPEC.toml",
    show_default=True,
    help="The file to write.",
)
@click.option("--sheet", metavar="NAME", help="The sheet of a workbook that holds several tables.")
@click.option("--weights", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="A file of W or of distances; may be given repeatedly.")  # fmt: skip
def init(panel: Path, out: Path, sheet: str | None, weights: tuple[Path, ...]) -> None:
    """Read PANEL (csv, parquet, dta, sav, xlsx) and write a SPEC.toml to edit.

    What the file leaves open is asked about, one line each: correct the line of the spec where the answer is no.
    """
    from experiments.panel_spec.first_spec import first_spec, questions_in, write_first_spec

    text = write_first_spec(lambda: first_spec(panel, sheet, weights, out.parent), out)
    for question in questions_in(text):
        say(f"? {question}")
    click.echo(
        f"wrote {out}: edit the names, then: panelproof estimate {quote(str(panel))} --spec {quote(str(out))} "
        f"--out {quote(f'results-of-{panel.stem}')}"
    )


# `panelproof panel`: check a panel file, or write an example to start from.


@click.group("panel")
def panel() -> None:
    """Check a panel file, make a long one of a wide one, or write an example."""


@panel.command("check", cls=Command)
@panel_and_spec
@as_json_option
def panel_check(panel: Path, spec: Path, as_json: bool) -> None:
    """Read PANEL as SPEC says and describe it. All errors, also those of `estimate`, are listed at once (exit 2)."""
    from experiments.checks.inputs import checks_of_file
    from experiments.estimation import check_estimable
    from experiments.panel_spec.first_spec import description, print_description
    from experiments.panel_spec.spec import read_real_panel
    from results.tables.terminal_tables import NamesConsole

    real, console = read_real_panel(panel, spec), NamesConsole()
    found = description(real.panel)
    if as_json:
        check_estimable(real)
        print_json(found | {"notes": list(real.notes), "warnings": [check.sentence for check in checks_of_file(real)]})
        return
    print_description(found, console)
    for note in real.notes:
        console.print(note, markup=False)
    check_estimable(real)
    for check in checks_of_file(real):
        console.print(f"warning: {check.sentence} {check.remedy[:1].upper()}{check.remedy[1:]}.", markup=False)


@panel.command("example", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def panel_example(folder: Path) -> None:
    """Write a synthetic panel.csv and its spec.toml into FOLDER."""
    from experiments.panel_spec.first_spec import EXAMPLE_SPEC, example_frame
    from results.store.disk import check_folder, write_whole
    from sim.errors import bad

    for name in ("panel.csv", "spec.toml"):
        if (folder / name).exists():
            raise bad(f"{name} exists already", where=str(folder), allowed="a folder without it",
                      remedy="choose another folder")  # fmt: skip
    check_folder(folder, "choose another folder")
    write_whole(folder, {"panel.csv": str(example_frame().to_csv(index=False)), "spec.toml": EXAMPLE_SPEC})
    click.echo(f"wrote {folder / 'panel.csv'} and {folder / 'spec.toml'} (synthetic data)")
    panel, spec, out = (quote(str(folder / name)) for name in ("panel.csv", "spec.toml", "out"))
    click.echo(f"next: panelproof estimate {panel} --spec {spec} --out {out}")


@panel.command("reshape", cls=Command, short_help="Write the long table of a wide one, a row a unit and year.")
@click.argument("wide", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The csv file to write.")
@click.option("--value", default="value", show_default=True, metavar="NAME",
              help="The variable whose columns are called by their years alone.")  # fmt: skip
@click.option("--period", default="year", show_default=True, metavar="NAME", help="The column of years.")
@click.option("--sheet", metavar="NAME", help="The sheet of a workbook that holds several tables.")
def panel_reshape(wide: Path, out: Path, value: str, period: str, sheet: str | None) -> None:
    """Write the long table of WIDE, whose columns are called by a name and a year, such as gdp2006."""
    from experiments.panel_spec.reading import empty_years, first_read, to_long
    from results.store.disk import check_folder, write_whole
    from sim.errors import amount, bad, refuse
    from sim.panel_files import grouped_problems

    if out.exists():
        raise bad("exists already", where=str(out), allowed="a new file", remedy="choose another --out")
    if out.suffix.lower() != ".csv":
        raise bad(f"has the extension {out.suffix or '(none)'}", where=str(out), allowed="a file ending in .csv",
                  remedy="choose another --out")  # fmt: skip
    check_folder(out.parent)
    place, table = first_read(wide, sheet)
    refuse(grouped_problems(table))
    long = to_long(table, value=value, period=period)
    gone = ((place.skip, "above the header"), (place.under, "under the header"), (place.below, "at the end"))
    left = [f"{amount(rows, 'row')} {where} left out: no row of the table?" for rows, where in gone if rows]
    for line in (*left, *empty_years(table, value)):
        click.echo(f"note: {line}", err=True)
    write_whole(out.parent, {out.name: str(long.to_csv(index=False))})
    click.echo(f"wrote {out}: {amount(len(long), 'row')}\nnext: panelproof init {quote(str(out))}")


# `panelproof estimate`: the paper's tables on a real panel.


@click.command("estimate", cls=Command)
@panel_and_spec
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files and figures.")
@click.option(
    "--format",
    "formats",
    default="json",
    show_default=True,
    metavar="LIST",
    help="Files for --out, comma-separated: json (every number, always written), html, tex, docx, xlsx, csv, rtf (the "
    "tables), pdf, png (the figures, beside svg).",
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
@click.option(
    "--test", "tests", multiple=True, metavar="HYPOTHESIS",
    help='A test for table T, e.g. "2.5: did = 0.02", "2.5: did - inv", "2.5: did = 0, inv = 0" or, of equivalence, '
    '"2.5: -0.01 < did < 0.01"; may be given repeatedly.',
)  # fmt: skip
@click.option(
    "--tables", metavar="LIST",
    help="Tables to print, comma-separated, e.g. 2,7 or all. Default: table 2, and table T where tests are asked for. "
    "The files hold all tables.",
)  # fmt: skip
@click.option("--cross-check", is_flag=True, help="Recompute with linearmodels, spreg and esda; exit 1 if they differ.")
@as_json_option
def estimate(
    panel: Path,
    spec: Path,
    out: Path | None,
    formats: str,
    errors: str | None,
    estimators: tuple[str, ...],
    tests: tuple[str, ...],
    tables: str | None,
    cross_check: bool,
    as_json: bool,
) -> int:
    """Estimate the paper's tables 1 to 7 and figure 2 on PANEL as SPEC says; print the effect and the tables asked for.

    What the spec does not name is left out: no table 3 without capitals or another policy, no table 5 without
    mediators, none of tables 6 and 7 without weights. The effect of the treatment comes first, then the warnings: what
    in these estimates disagrees, and what speaks against the effect. The file estimates.json holds all of them. The
    figure specification-curve shows the effect in every way it was estimated. A column that the panel cannot have, such
    as that of a group without treated units, is left out with a note. Exit code 3 means that an estimation failed; a
    note says which one and why. Exit code 1 means that another program gives other numbers.
    """
    from experiments.estimation import check_formats, check_tables, estimate, write_files
    from experiments.panel_spec.spec import read_real_panel
    from experiments.tables.ledger import journal_tables
    from experiments.twins.real import check_twins
    from results.tables.journal_table import TableSetting
    from results.tables.terminal_tables import NamesConsole, print_estimates
    from sim.errors import BadInput, listed
    from sim.registry import aside, join_search

    join_search(spec.parent)  # of "module:Object"
    chosen, shown = check_formats(formats, out), check_tables(tables)
    real = read_real_panel(panel, spec)
    inference = real.spec.inference
    inference = inference.model_copy(update={"tests": tuple(dict.fromkeys((*inference.tests, *tests)))})
    real = replace(real, spec=real.spec.model_copy(update={"inference": inference}))
    with aside() if as_json else nullcontext():
        found = estimate(real, cross_check=cross_check, estimators=estimators)
    if out is not None:
        written = write_files(found, out, chosen, errors)
    if as_json:
        click.echo(found.to_json())
        return found.exit_code
    console = NamesConsole()
    made = journal_tables(found, errors)
    print_estimates(found, made, console, errors, shown)
    if out is not None:
        console.print(f"\nwrote {', '.join(map(str, written))}", markup=False)
        kinds = ("tables.*", "table-*.csv", "*.svg", "*.pdf", "*.png", "warnings.md")
        if earlier := sorted(
            {file.name for kind in kinds for file in out.glob(kind)} - {file.name for file in written}
        ):
            console.print(f"left from an earlier run: {listed(earlier)}", markup=False)
    with suppress(BadInput):  # where there are no twins, `trust` is no next step
        check_twins(real)
        words = ["trust", str(panel), "--spec", str(spec), *(["--errors", errors] if errors else []), "--out",
                 f"trust-of-{panel.stem}"]  # fmt: skip
        if TableSetting(found).headline:
            console.print(f"next: panelproof {' '.join(map(quote, words))}", markup=False, soft_wrap=True)
    return found.exit_code


# `panelproof placebo`: permutation and placebo tests on a real panel.


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
@panel_and_spec
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
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for placebo.html, placebo.svg and placebo.json.",
)
@cluster_options("serial")
@accept_options
@as_json_option
def placebo(
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

    from experiments.panel_spec.spec import read_real_panel
    from experiments.placebo import answer, prepared, print_placebo, write_placebo
    from experiments.run.launch import launch
    from experiments.run.places import named_place
    from experiments.run.resume import Resume
    from results.store.disk import check_folder
    from results.tables.terminal_tables import NamesConsole
    from sim.registry import join_search

    join_search(spec.parent)  # of "module:Object"
    where = {name: choices.pop(name) for name in CLUSTER_OPTIONS}
    place = named_place(where, default="serial")
    named = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{choices['estimator']}-{choices['scheme']}")
    target = store or Path("runs") / f"placebo-{named}.zarr"
    ask = prepared(read_real_panel(panel, spec), target, **choices)
    if out is not None:
        check_folder(out)
    console = NamesConsole(stderr=as_json)
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


# `panelproof twin`: a `panel` design that is fitted to a real panel.


@click.command("twin", cls=Command)
@panel_and_spec
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for design.toml (a study that runs), panel.parquet, fidelity.json and fidelity.html.",
)  # fmt: skip
@click.option(
    "--method", "methods", multiple=True, type=click.Choice(["parametric", "factor", "residual"]),
    help="In place of the spec's methods; may be given repeatedly.",
)  # fmt: skip
@as_json_option
def twin(panel: Path, spec: Path, out: Path | None, methods: tuple[str, ...], as_json: bool) -> int:
    """Fit a `panel` design to PANEL as SPEC says, and hold the panel to twins that are drawn from it.

    The table [twin] of the spec says how; every key has a default. DIR/design.toml is a study of the first method that
    `panelproof run` takes; design-METHOD.toml are those of the others. Each feature of the panel is compared with the
    band of 95% of its twins, and what lies outside is said in words.
    """

    from experiments.panel_spec.spec import read_real_panel
    from experiments.twins.twin import document, print_twin, twin, write_twin
    from results.store.disk import check_folder
    from results.tables.terminal_tables import NamesConsole

    if out is not None:
        check_folder(out)
    found = twin(read_real_panel(panel, spec), methods or None)
    written = [] if out is None else write_twin(found, out)
    if as_json:
        click.echo(json.dumps(document(found), ensure_ascii=False))
        return 0
    console = NamesConsole()
    print_twin(found, console)
    for path in written:
        console.print(f"wrote {path}", markup=False)
    return 0


# `panelproof trust`: is a result on a real panel safe?


@click.command("trust", cls=Command)
@panel_and_spec
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
@budget_option("50s")
@in_place_of_budget
@cluster_options("serial")
@accept_options
@click.option("--json", "as_json", is_flag=True, help="Print trust.json on stdout and nothing else.")
def trust(panel: Path, spec: Path, out: Path, budget: str, as_json: bool, **choices: Any) -> int:
    """Say whether a result on PANEL is safe: its estimator on twins of the panel, placebos, and checks.

    Twins are fitted as [twin] of the spec says. Their studies are ordinary stores in DIR/stores; after an interruption
    the same command goes on. The page says supported, contradicted or not decided and why, names the error type to
    print, and gives every check with its error rates.
    """

    from experiments.panel_spec.spec import read_real_panel
    from experiments.run.places import named_place
    from experiments.run.resume import Resume
    from experiments.trust.document import document, print_trust, write_trust
    from experiments.trust.evidence import RunContext, seconds_of
    from experiments.trust.trust import trust
    from results.store.disk import check_folder
    from results.tables.terminal_tables import NamesConsole

    seconds = seconds_of(budget)
    where = {name: choices.pop(name) for name in CLUSTER_OPTIONS}
    place = named_place(where, default="serial")
    check_folder(out)
    console = NamesConsole(stderr=as_json)
    real = read_real_panel(panel, spec)
    accepted = {name: choices.pop(name) for name in ("accept_code_change", "accept_other_numbers")}
    with closing(place.open()) as executor:
        found = trust(real, budget=seconds, context=RunContext(out, executor, Resume(**accepted)),
                      say=lambda line: console.print(line, style="dim"), **choices)  # fmt: skip
    held = document(found)
    written = write_trust(held, out)
    if as_json:
        click.echo(json.dumps(held, ensure_ascii=False))
        return 3 if found.in_part else 0
    print_trust(held, console)
    for path in written:
        console.print(f"wrote {path}", markup=False)
    return 3 if found.in_part else 0


# `panelproof race`: which estimator misses an effect least on panels like this one?


@click.command("race", cls=Command)
@panel_and_spec
@click.option("--claim", default="did", show_default=True, metavar="CLAIM", help="The claim, as of `trust`.")
@click.option("--effect", type=float, metavar="SIZE", help="The effect in the twins (default: as estimated).")
@click.option(
    "--estimator", "kinds", multiple=True, metavar="KIND",
    help="An estimator that races beside the claim's own; may be given repeatedly (default: all that can serve).",
)  # fmt: skip
@budget_option("2m")
@in_place_of_budget
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file for every number, as JSON.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write the answer as a page here.")
@cluster_options("serial")
@as_json_option
def race(
    panel: Path,
    spec: Path,
    budget: str,
    kinds: tuple[str, ...],
    out: Path | None,
    html: Path | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Race estimators of the effect on twins of PANEL, and say which one to use.

    Each estimator is fitted to the same twins: by the methods of [twin], and factor twins in which who adopts hangs on
    the factors where it does in the panel. What the panel shows beside one effect under parallel trends is in them.
    Bias, root mean squared error, coverage, width and power have Monte Carlo errors. An estimator whose bias or
    coverage is bad is not recommended; among the others the model confidence set (Hansen, Lunde and Nason 2011) tells
    which ones miss least.
    """

    from experiments.panel_spec.spec import read_real_panel
    from experiments.run.places import named_place
    from experiments.run.reporting import check_output
    from experiments.trust.evidence import RunContext, seconds_of
    from experiments.trust.race import document, print_race, race
    from results.report.panel_pages import race_page
    from results.store.disk import write_whole
    from results.tables.terminal_tables import NamesConsole
    from sim.registry import aside, join_search

    join_search(spec.parent)  # of "module:Object"
    seconds = seconds_of(budget)
    place = named_place({name: choices.pop(name) for name in CLUSTER_OPTIONS}, default="serial")
    if html is not None:
        check_output(html)
    if out is not None:
        check_output(out, "--out", (".json",))
    console = NamesConsole(stderr=as_json)
    real = read_real_panel(panel, spec)
    with aside() if as_json else nullcontext(), closing(place.open()) as executor:
        found = race(real, kinds=kinds, budget=seconds, context=RunContext(executor=executor),
                     say=lambda line: console.print(line, style="dim"), **choices)  # fmt: skip
    text = json.dumps(document(found), ensure_ascii=False, indent=1)
    if as_json:
        click.echo(text)
    else:
        print_race(found, console)
    written = [] if out is None else write_whole(out.parent, {out.name: text})
    if html is not None:
        written += write_whole(html.parent, {html.name: race_page(document(found), found.decisive)})
    for path in () if as_json else written:
        console.print(f"wrote {path}", markup=False)


# `panelproof replicate`: a bundle for a journal's archive, made or run again.


CODES = {"differs": 1, "not checked": 3}


@click.command("replicate", cls=Command)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--from", "stores", multiple=True, metavar="STORE", type=STORE,
              help="Make a bundle with the study of this store; may be given repeatedly.")  # fmt: skip
@click.option("--panel", type=click.Path(path_type=Path), help="Make a bundle with the estimates of this panel.")
@click.option("--spec", type=click.Path(path_type=Path), help="The SPEC.toml of that panel.")
@click.option("--with-data", is_flag=True, help="Put the panel, and files that its spec names, into the bundle.")
@load_code_option("Import the code that a store or a bundle names, because you trust it.")
@cluster_options("local")
@as_json_option
def replicate(
    folder: Path,
    stores: tuple[StorePath, ...],
    panel: Path | None,
    spec: Path | None,
    with_data: bool,
    load_code: bool,
    as_json: bool,
    **where: Any,
) -> int:
    """Make a replication bundle in the new folder DIR, or run the bundle in DIR again and compare.

    A bundle holds study files, the spec, the numbers that were found, versions, hashes, checksums and a README with the
    commands. It never holds the panel unless --with-data says so. Run again, it exits with 0 when all is the same, with
    1 when something differs, and with 3 when the panel is not there. Nothing is run when a file is not as deposited;
    code that the bundle holds is run with --load-code alone.
    """
    if stores or panel or spec:
        from experiments.replication import read_manifest, write_bundle

        files = write_bundle(folder, stores, panel, spec, with_data=with_data, load_code=load_code)
        if as_json:
            print_json({"folder": str(folder), "files": files})
        else:
            flags = f"{read_manifest(folder)['options']}{' --load-code' * load_code}"
            again = f"panelproof replicate {quote(str(folder))}{flags}"
            say(f"wrote {folder}: {', '.join(files)}\nrun it again: {again}")
        return 0
    from experiments.replication import rerun
    from experiments.run.places import named_place

    findings = []
    for finding in rerun(folder, named_place(where).open, load_code=load_code):
        findings.append(finding)
        if not as_json:
            say(f"{finding.part}: {finding.verdict}; {finding.reason}")
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    verdicts = {finding.verdict for finding in findings}
    return next((code for verdict, code in CODES.items() if verdict in verdicts), 0)
