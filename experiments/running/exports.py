"""What `report` gives besides its answer and page: pivots on a terminal and in files, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.running.reporting import check_html, further_charts, unwritable
from experiments.running.reporting import measures_of as functions_of
from results.diagnosis.diagnose import Diagnosis
from results.plots.chart import Chart
from results.plots.grid import MEASURES, Measure, grid_names, measures_of
from results.plots.paper import FORMATS as PICTURES
from results.plots.paper import figure_bytes
from results.report.facts import lead_of
from results.report.html import FOLDED, every_cell, pictures_of
from results.report.pivot import (
    FORMATS,
    Pivot,
    csv_file,
    default_pivot,
    latex_file,
    pivot_by,
    resolved_names,
    terminal_table,
    unknown_measure,
    word_file,
    xlsx_file,
)
from results.report.terminal import PLAIN_WIDTH
from results.store import ZarrStore
from results.tables.records import Document
from results.tables.word import check_word
from sim.errors import Problem, bad, gathering, one_of, refuse


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a user asks of a report: pivots by dials (full names) of measures, pictures and files."""

    by: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    figures: Path | None = None
    formats: tuple[str, ...] = ()
    out: Path | None = None

    @property
    def any_pivot(self) -> bool:
        """Whether a pivot was asked for."""
        return bool(self.by or self.measures)


def wishes(store: ZarrStore, by: str, measures: Sequence[str], figures: Path | None, formats: str, out: Path | None,
           html: Path | None, *, trust: bool = False) -> tuple[Wishes, dict[str, Callable[..., Any]]]:  # fmt: skip
    """The wishes of a command line and the functions among its measures; raises BadInput with all faults at once.

    by, formats: comma-separated. measures: names and "FILE.py:NAME". trust: load those that the store names too.
    """
    problems: list[Problem] = []
    names: tuple[str, ...] = ()
    own: dict[str, Callable[..., Any]] = {}
    with gathering(problems):
        if html is not None:
            check_html(html)
    with gathering(problems):
        names = resolved_names(grid_names(store.cells), _list(by), "--by")
    with gathering(problems):
        own = functions_of(store, [name for name in measures if ":" in name], trust=trust)
    named = [name for name in measures if ":" not in name]
    problems += [unknown_measure([*MEASURES, *own], name, "--measure") for name in named if name not in MEASURES | own]
    chosen = _list(formats)
    problems += _faults_of_files(chosen, figures, out)
    refuse(problems)
    return Wishes(names, tuple(named), figures, tuple(dict.fromkeys(chosen)), out), own


def _faults_of_files(chosen: Sequence[str], figures: Path | None, out: Path | None) -> list[Problem]:
    """What is wrong with the formats and folders asked for."""
    problems = [Problem(f"{name!r} is no format", where="--format", allowed=one_of(FORMATS),
                        remedy="choose some of them") for name in chosen if name not in FORMATS]  # fmt: skip
    if chosen and out is None:
        problems.append(Problem("has no folder to write to", where="--format", allowed="with --out DIR",
                                remedy="add --out DIR"))  # fmt: skip
    if out is not None and not chosen:
        problems.append(Problem("has no format to write", where="--out", allowed=f"with --format: {one_of(FORMATS)}",
                                remedy="add --format"))  # fmt: skip
    if "docx" in chosen:
        with gathering(problems):
            check_word()
    for option, folder in (("--figures", figures), ("--out", out)):
        if folder is not None and (why := unwritable(folder)):
            problems.append(Problem(f"cannot be written: {why}", where=f"{option} {folder}",
                                    allowed="a writable folder", remedy="choose another folder"))  # fmt: skip
    return problems


def pivots_of(diagnosis: Diagnosis, wanted: Wishes) -> list[Pivot]:
    """The tables that were asked for, of the measure that answers the question where none was named.

    Raises BadInput for a measure that the study defines nowhere.
    """
    known = measures_of(diagnosis)
    lead, lead_term = lead_of(diagnosis)
    measures: list[Measure] = [known[name] for name in wanted.measures] or [lead]
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


def charts_of(store: ZarrStore, diagnosis: Diagnosis) -> list[Chart]:
    """The picture that answers the question, then all cells of many dials, every measure, single replications."""
    found = [*pictures_of(diagnosis, *lead_of(diagnosis)), *every_cell(diagnosis, *lead_of(diagnosis))]
    found += [chart for name in FOLDED for chart in pictures_of(diagnosis, MEASURES[name])]
    return list({chart.key: chart for chart in (*found, *further_charts(store, diagnosis))}.values())


def write_exports(store: ZarrStore, diagnosis: Diagnosis, pivots: Sequence[Pivot], wanted: Wishes) -> list[Path]:
    """Write the files that were asked for; their paths. Raises BadInput when a place cannot be written."""
    files: dict[Path, bytes] = {}
    if wanted.figures is not None:
        for chart in charts_of(store, diagnosis):
            files |= {wanted.figures / f"{chart.key}.{form}": figure_bytes(chart, form) for form in PICTURES}
    if wanted.out is not None:
        files |= {wanted.out / name: content for name, content in _tables(store, diagnosis, pivots, wanted.formats)}
    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise bad(f"cannot be written: {error.strerror}", where=str(path), allowed="a writable folder",
                      remedy="choose another folder") from error  # fmt: skip
    return list(files)


def _tables(
    store: ZarrStore, diagnosis: Diagnosis, pivots: Sequence[Pivot], formats: Sequence[str]
) -> list[tuple[str, bytes]]:
    """Files of tables by name; csv also has every measure of every cell, in measures.csv."""
    document = Document({"outcome": store.facts["study"]["name"]}, ())
    made: dict[str, Callable[[], dict[str, bytes]]] = {
        "tex": lambda: {"tables.tex": latex_file(pivots, document).encode()},
        "docx": lambda: {"tables.docx": word_file(pivots, document)},
        "xlsx": lambda: {"tables.xlsx": xlsx_file(pivots)},
        "csv": lambda: {"tables.csv": csv_file(pivots).encode(), "measures.csv": _measures(diagnosis)},
    }
    return [file for name in formats for file in made[name]().items()]


def _measures(diagnosis: Diagnosis) -> bytes:
    return str(diagnosis.frame.to_csv(index=False)).encode()


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
