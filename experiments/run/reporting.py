"""Reports of a store: terminal, JSON, HTML."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
import textwrap
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import tomli_w
from rich.console import Console

from experiments.plugin_contracts import asking
from experiments.study import load_measures, resolved
from results.diagnosis.diagnose import Diagnosis, diagnose
from results.diagnosis.own_measures import is_test
from results.plots.chart import Chart, text_chart
from results.plots.grid import MEASURES, ShownMeasure, measures_of
from results.plots.replications import contrast_chart, replication_charts
from results.report.grids import ReportFacts, lead_of, opened_by
from results.report.html import FOLDED, every_cell, first_picture, html_report, pictures_of
from results.report.pivot import (
    Pivot,
    csv_file,
    default_pivot,
    journal_table,
    pivot_by,
    resolved_names,
    terminal_table,
    unknown_measure,
    xlsx_file,
)
from results.report.terminal import PLAIN_WIDTH, json_rows, print_bias_table
from results.store import ZarrStore
from results.store.disk import unwritable, write_whole
from results.tables.journal_table import table_formats
from results.tables.records import PICTURES, Document, Format
from results.verdict.answer import answer, verdict_records
from sim.errors import Problem, bad, closest, gathering, listed, one_of, refuse, visible_json
from sim.real_panels import Placebo, panel_of
from sim.world.parts.geography import UnitsOfPanel

MOST_OF_AN_ERROR = 160  # letters that a report shows of a text


def facts_of(store: ZarrStore) -> ReportFacts:
    """What a report says of the study besides its numbers."""
    study: Mapping[str, Any] = store.facts["study"]
    kind, panel = study["design"]["kind"], study["design"].get("panel")  # a real one, as it is or assigned anew
    done, blocks = blocks_of(store)
    environments = tuple(
        f"{origin.text} ({'; '.join(origin.differs)})" if origin.differs else origin.text
        for origin in store.environments
    )
    share = store.shard
    shard = "" if share is None else (
        f"a shard, {share.number} of {share.of}: {len([*store.done()]):,} of {store.states.size:,} blocks of the study "
        "are here; `panelproof store merge` joins all shards")  # fmt: skip
    errors = {name: store.usual_error(name) for name in store.layouts}
    where = f"`panelproof store info {shlex.quote(str(store.path))}` shows each"
    return ReportFacts(
        study=study["name"],
        question=study["question"],
        expected=study.get("expected", ""),
        seed=study["seed"],
        fingerprint=store.fingerprint,
        synthetic=not (kind == "observed" or (kind == Placebo.kind and panel)),
        provenance={"environment": " | ".join(environments or ["unknown"]), "store": store.path.name},
        toml=to_toml(study),
        done=done,
        blocks=blocks,
        environments=environments,
        stopped="" if store.stopped is None else store.stopped.sentence,
        shard=shard,
        raised=tuple(
            f"Of {name} most often: {textwrap.shorten(line, MOST_OF_AN_ERROR)} ({count} of {kept} reasons "
            f"kept; {where})."
            for name, (line, count, kept) in errors.items()
            if kept
        ),
    )


def blocks_of(store: ZarrStore) -> tuple[int, int]:
    """Blocks that are there, by their marks, and blocks in all; of a cell that stopped at a target those up to it."""
    wanted = store.wanted()
    return len({*store.done()}.intersection(wanted)), len(wanted)


def measures_asked(
    store: ZarrStore, further: Sequence[str] = (), *, load_code: bool = False
) -> dict[str, Callable[..., Any]]:
    """The measures of their own that the command line and the study name; those of files that are gone are left out.

    load_code: whether those that the store names are loaded, which runs their code; without it a line says that they
    are not.
    """
    noted = store.noted("measures", [])
    tests, held = [text for text in noted if is_test(text)], [text for text in noted if not is_test(text)]
    if held and not load_code:
        names = listed(text.rpartition("/")[2] for text in held)
        click.echo(f"panelproof: the store names measures of its own ({names}); --load-code loads them", err=True)
    own = [text for text in (held if load_code else []) if not text.rpartition(":")[0].endswith(".py")
           or Path(text.rpartition(":")[0]).is_file()]  # fmt: skip
    here = [resolved(text, Path()) for text in further]
    return load_measures(dict.fromkeys((*tests, *own, *here)), "--measure" if further else "measures of the study")


def read_diagnosis(store: ZarrStore, *, load_code: bool) -> Diagnosis:
    """The diagnosis of a store at 5%. load_code: whether measures that the store names are loaded for it."""
    return diagnose(store, measures=measures_asked(store, load_code=load_code))


def print_report(
    store: ZarrStore, console: Console, diagnosis: Diagnosis | None = None, *, all_terms: bool = False,
    full: bool = False, load_code: bool = False, titled: bool = True,
) -> Diagnosis:  # fmt: skip
    """Print the answer of a store's diagnosis on one screen, with `full` every cell; by default it is made at 5%.

    load_code: whether measures that the store names are loaded for it. titled: the study's name and question first.
    """
    diagnosis = diagnosis or read_diagnosis(store, load_code=load_code)
    command = f"panelproof report {shlex.quote(str(store.path))} --full"
    print_bias_table(diagnosis, console, facts_of(store), all_terms=all_terms, full=full, command=command,
                     titled=titled)  # fmt: skip
    return diagnosis


def print_chart(diagnosis: Diagnosis, console: Console) -> None:
    """Draw the picture with which the page opens in letters, or say that it has no form for that or no room."""
    charts = pictures_of(diagnosis, *opened_by(diagnosis, answer(diagnosis)))
    chart, plain = first_picture(charts), console.options.ascii_only
    lines = text_chart(chart, console.width, plain=plain) if chart is not None else []
    if not lines:
        wide = chart is not None and text_chart(chart, sys.maxsize, plain=plain)
        console.print(f"\nNo picture in letters: {'the terminal is too narrow' if wide else 'the answer has none'}; "
                      "--html draws the pictures.")  # fmt: skip
        return
    for line in ["", *lines]:
        console.print(line, markup=False, no_wrap=True, crop=True)


def open_page(page: Path) -> bool:
    """Open a page in the desktop's browser; False where there is none or nobody who looks at it.

    Nobody looks at it where the output is no terminal, in continuous integration, and on another machine over SSH.
    """
    away = {"CI", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"} & set(os.environ)
    desktop = sys.platform in ("darwin", "win32") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))
    if away or not desktop or not sys.stdout.isatty():
        return False
    try:
        return webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        return False


def print_json(store: ZarrStore, diagnosis: Diagnosis) -> None:
    """Print the verdict and every measure as one JSON document (NaN as null)."""
    study = {"name": store.facts["study"]["name"], "fingerprint": store.fingerprint, "alpha": diagnosis.alpha}
    study |= {"critical_values": "normal"} if diagnosis.normal else {}
    done, blocks = blocks_of(store)
    study |= {"blocks": blocks, "blocks_done": done, "complete": done == blocks}
    if store.stopped is not None:
        stopped = store.stopped
        study["until"] = {"rule": stopped.rule, "replications": list(stopped.replications), "met": list(stopped.met)}
    study |= {"worlds": diagnosis.worlds, "held_fixed": list(diagnosis.held_fixed)}
    found = answer(diagnosis)
    verdict = {"class": str(found.grade), "sentences": list(found.sentences), "notes": list(found.notes),
               "verdicts": list(verdict_records(found))}  # fmt: skip
    document = {"study": study, "verdict": verdict, "cells": list(diagnosis.cells),
                "measures": json_rows(diagnosis.frame)}  # fmt: skip
    click.echo(visible_json(json.dumps(document, ensure_ascii=False)))


def check_output(path: Path, option: str = "--html", endings: tuple[str, ...] = (".html", ".htm")) -> None:
    """Raise BadInput, before any work, for a file that could not be written or would replace one of another kind."""
    if path.suffix.lower() not in endings:
        raise bad(f"{path.name!r} does not end in {endings[0]}", where=option,
                  allowed=f"a file name that ends in {endings[0]}", remedy=f"add {endings[0]}")  # fmt: skip
    if unwritable(path.parent) or path.is_dir():
        raise bad("cannot be written", where=str(path), allowed="a file in a writable folder",
                  remedy=f"choose another {option}")  # fmt: skip


def write_html(store: ZarrStore, diagnosis: Diagnosis, path: Path, pivots: Sequence[Pivot] = ()) -> None:
    """Write the HTML report, whole or not at all; raises BadInput when the place cannot be written.

    pivots: tables that stand first.
    """
    lead = pivots[0].measure if pivots else None
    text = html_report(diagnosis, facts_of(store), lead=lead, pivots=pivots, further=further_charts(store, diagnosis))
    try:
        write_whole(path.parent, {path.name: text})
    except OSError as error:
        raise bad(f"cannot be written: {error.strerror}", where=str(path), allowed="a file in a writable folder",
                  remedy="choose another --html") from error  # fmt: skip


def further_charts(store: ZarrStore, diagnosis: Diagnosis) -> list[Chart]:
    """Pictures of single replications and of paired contrasts, which a diagnosis does not hold."""
    contrast = contrast_chart(store, diagnosis)
    return [*replication_charts(store, diagnosis), *([contrast] if contrast is not None else [])]


def to_toml(study: Mapping[str, Any]) -> str:
    """A study's settings as the TOML that makes it again; a real panel, which its store holds, by its digest."""
    design, held = study["design"], "sha256 {}, in the store"
    if design["kind"] == Placebo.kind and design["panel"]:
        digest = panel_of(design["panel"]).digest
        study = {**study, "design": {**design, "panel": held.format(digest)}}
    geography = design.get("geography")
    if isinstance(geography, Mapping) and geography.get("kind") == UnitsOfPanel.kind and geography["panel"]:
        named = {**geography, "panel": held.format(UnitsOfPanel(geography["panel"]).held.digest)}
        study = {**study, "design": {**design, "geography": named}}
    kept: dict[str, Any] = without_none(study)
    if not kept.get("grid"):
        kept.pop("grid", None)
    return tomli_w.dumps(kept)


def without_nan(value: Any) -> Any:
    """Nested plain data with None for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def without_none(value: Any) -> Any:
    """Plain data without what is None, which TOML cannot say: a dial that is left out is None."""
    if isinstance(value, Mapping):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list | tuple) else value


# What `report` gives besides its answer and page: pivots on a terminal and in files, and pictures.


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What a user asks of a report: pivots by dials (full names) of measures, pictures and files.

    names, term, pictures: which pictures, of which term, in which formats.
    """

    by: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    figures: Path | None = None
    formats: tuple[str, ...] = ()
    out: Path | None = None
    names: tuple[str, ...] = ()
    term: str | None = None
    pictures: tuple[Format, ...] = PICTURES

    @property
    def any_pivot(self) -> bool:
        """Whether a pivot was asked for."""
        return bool(self.by or self.measures)


def report_options(
    store: ZarrStore, by: str, measures: Sequence[str], figures: Path | None, formats: str, out: Path | None,
    html: Path | None, *, load_code: bool = False, names: Sequence[str] = (), term: str | None = None,
) -> tuple[ReportOptions, dict[str, Callable[..., Any]]]:  # fmt: skip
    """The options of a command line and the functions among its measures; raises BadInput with all faults at once.

    by, formats: comma-separated. measures: names and "FILE.py:NAME". load_code: load those that the store names too.
    """
    problems: list[Problem] = []
    dials: tuple[str, ...] = ()
    own: dict[str, Callable[..., Any]] = {}
    with gathering(problems):
        if html is not None:
            check_output(html)
    with gathering(problems):
        dials = resolved_names(store.cells, _list(by), "--by")
    with gathering(problems):
        own = measures_asked(store, [name for name in measures if ":" in name], load_code=load_code)
    named = list(dict.fromkeys(name for name in measures if ":" not in name)) or (list(own) if by and measures else [])
    problems += [unknown_measure([*MEASURES, *own], name, "--measure") for name in named if name not in MEASURES | own]
    chosen = _list(formats)
    drawn = tuple(form for form in PICTURES if form in chosen)
    chosen = [form for form in chosen if form not in PICTURES]
    problems += _faults_of_files(chosen, figures, out)
    asked = {"--figure": names, "--term": term, "--format": drawn}
    problems += [Problem("has no folder for pictures", where=option, allowed="with --figures DIR",
                         remedy="add --figures DIR") for option, given in asked.items()
                 if given and figures is None]  # fmt: skip
    refuse(problems)
    every = tuple(dict.fromkeys(chosen))
    return ReportOptions(dials, tuple(named), figures, every, out, tuple(names), term, drawn or PICTURES), own


def _faults_of_files(chosen: Sequence[str], figures: Path | None, out: Path | None) -> list[Problem]:
    """What is wrong with the formats and folders asked for."""
    own = ("json", "html")  # a report has these itself; its tables come in all others
    known = tuple(name for name in table_formats() if name not in own) if chosen or out is not None else ()
    problems = [Problem(f"{name!r} is no format", where="--format", allowed=one_of([*known, *PICTURES]),
                        remedy=closest(name, [*known, *PICTURES], "choose some of them"))
                for name in chosen if name not in known]  # fmt: skip
    if chosen and out is None:
        problems.append(Problem("has no folder to write to", where="--format", allowed="with --out DIR",
                                remedy="add --out DIR"))  # fmt: skip
    if out is not None and not chosen:
        problems.append(Problem("has no format to write", where="--out", allowed=f"with --format: {one_of(known)}",
                                remedy="add --format"))  # fmt: skip
    for name in (name for name in chosen if name in known):
        form = table_formats()[name]
        with gathering(problems), asking(form.write, "check"):
            form.check()
    for option, folder in (("--figures", figures), ("--out", out)):
        if folder is not None and (why := unwritable(folder)):
            problems.append(Problem(f"cannot be written: {why}", where=f"{option} {folder}",
                                    allowed="a writable folder", remedy="choose another folder"))  # fmt: skip
    return problems


def pivots_of(diagnosis: Diagnosis, wanted: ReportOptions) -> list[Pivot]:
    """The tables that were asked for, of the measure that answers the question where none was named.

    Raises BadInput for a measure that the study defines nowhere.
    """
    known = measures_of(diagnosis)
    lead, lead_term = lead_of(diagnosis)
    measures: list[ShownMeasure] = [known[name] for name in wanted.measures] or [lead]
    found: list[Pivot] = []
    problems: list[Problem] = []
    for measure in measures:
        term = lead_term if measure is lead else None
        table = pivot_by(diagnosis, measure, wanted.by, term) if wanted.by else default_pivot(diagnosis, measure, term)
        if table is None:
            problems.append(Problem(f"{measure.name} is not defined in any cell", where="--measure",
                                    allowed="one that the study has", remedy="choose another"))  # fmt: skip
        else:
            found.append(table)
    refuse(problems)
    return found


def print_pivots(pivots: Sequence[Pivot], console: Console) -> None:
    """Print the tables, each with how to read it."""
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    for number, table in enumerate(pivots):
        if number:
            console.print()
        console.print(terminal_table(table), crop=False, overflow="fold")
        console.print(table.note, style="dim", markup=False)


def charts_of(store: ZarrStore, diagnosis: Diagnosis, term: str | None = None) -> list[Chart]:
    """The picture that answers the question, then all cells of many dials, every measure, single replications; of a
    term those of measures alone."""
    measure, own = lead_of(diagnosis)
    found = [*pictures_of(diagnosis, measure, term or own), *every_cell(diagnosis, measure, term or own)]
    found += [chart for name in FOLDED for chart in pictures_of(diagnosis, MEASURES[name], term)]
    found += further_charts(store, diagnosis) if term is None else []
    return list({chart.key: chart for chart in found}.values())


def pictures_asked(store: ZarrStore, diagnosis: Diagnosis, wanted: ReportOptions) -> list[Chart]:
    """The pictures of the names and the term that were asked for; raises BadInput for those that there are not."""
    if wanted.figures is None:
        return []
    terms = [term for term in dict.fromkeys(map(str, diagnosis.frame["term"])) if term]
    if wanted.term is not None and wanted.term not in terms:
        raise bad(f"no term {wanted.term!r}", where="--term", allowed=one_of(terms), remedy=closest(wanted.term, terms))
    charts = charts_of(store, diagnosis, wanted.term)
    keys = [chart.key for chart in charts]
    # a picture is called by the name of its file, or by the measure with which this begins
    called = {name: [key for key in keys if key == name or key.startswith(f"{name}-")] for name in wanted.names}
    refuse(Problem(f"no picture {name!r}", where="--figure", allowed=one_of(keys), remedy=closest(name, keys))
           for name, found in called.items() if not found)  # fmt: skip
    return [chart for chart in charts if not called or any(chart.key in found for found in called.values())]


def write_exports(
    store: ZarrStore, diagnosis: Diagnosis, pivots: Sequence[Pivot], charts: Sequence[Chart], wanted: ReportOptions
) -> list[Path]:  # fmt: skip
    """Write the files that were asked for; their paths. Raises BadInput when a place cannot be written."""
    files: list[tuple[Path, dict[str, bytes]]] = []
    if wanted.figures is not None:
        from results.plots.picture import figure_bytes  # matplotlib is slow to import

        drawn = {f"{chart.key}.{form}": figure_bytes(chart, form) for chart in charts for form in wanted.pictures}
        files.append((wanted.figures, drawn))
    if wanted.out is not None:
        document = Document({"outcome": store.facts["study"]["name"]}, ())
        journal = [journal_table(table) for table in pivots]
        tables: dict[str, bytes] = {}
        for name in wanted.formats:
            if name == "xlsx":
                tables["tables.xlsx"] = xlsx_file(pivots)
            elif name == "csv":  # every measure of every cell too
                tables["tables.csv"] = csv_file(pivots).encode()
                tables["measures.csv"] = str(diagnosis.frame.to_csv(index=False)).encode()
            else:
                form = table_formats()[name]
                with asking(form.write, f"format {name}"):
                    tables |= form.files(document, journal, None, str, tables.keys())
        files.append((wanted.out, tables))
    try:
        return [path for folder, contents in files for path in write_whole(folder, contents)]
    except OSError as error:
        raise bad(f"cannot be written: {error.strerror}", where=str(error.filename), allowed="a writable folder",
                  remedy="choose another folder") from error  # fmt: skip


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
