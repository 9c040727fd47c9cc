"""A pivot table: one measure, some dials down and some across, every cell with its Monte Carlo error beneath."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup
from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from results.diagnosis.diagnose import PROPORTIONS, Diagnosis
from results.plots.chart import key_of
from results.plots.grid import ShownMeasure, Value, dial_text, dials, lead_terms, subject_of, values_of
from results.tables.journal_table import Heading, JournalTable, Row
from results.tables.word import undated
from results.text import BEGINNINGS, ERRORS, PLAIN_DIALS, dial_names, plain_dial, plain_error
from sim.errors import BadInput, Problem, closest, number_in, one_of

ESTIMATOR, TERM, ERROR = "estimator", "term", "error"
OTHERS = (ESTIMATOR, TERM, ERROR)  # what rows and columns may be besides dials
WIDEST = 8  # columns that a table has where the user does not say which
Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PivotCell:
    """A value at its place, and how it is printed: its number, its Monte Carlo error, whether it clearly departs."""

    value: Value
    number: str
    mcse: str
    clear: bool


@dataclass(frozen=True, slots=True)
class Pivot:
    """The table. down, across: names of what rows and columns are; rows, columns: their keys in order.

    cells: one row a row key, one cell a column key, None where the measure is not defined. fixed: what all cells have
    in common besides the measure, in words. note: how to read a cell.
    """

    measure: ShownMeasure
    title: str
    down: Keys
    across: Keys
    rows: tuple[Keys, ...]
    columns: tuple[Keys, ...]
    cells: tuple[tuple[PivotCell | None, ...], ...]
    fixed: str
    note: str

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the row keys, in words."""
        return tuple(plain_dial(name) for name in self.down)

    @property
    def column_heads(self) -> tuple[str, ...]:
        """What stands above each column, the name of a dial with its first value only."""
        if not self.across:
            return (self.measure.short,)
        # what is no dial says by itself what it is
        named = [[_shown(name, key) if name in OTHERS else f"{plain_dial(name)} {key}"
                  for name, key in zip(self.across, keys, strict=True)] for keys in self.columns]  # fmt: skip
        return tuple(map(", ".join, named))


def pivot(diagnosis: Diagnosis, measure: ShownMeasure, rows: Sequence[str] = (), columns: Sequence[str] = (), *,
          term: str | None = None, sample: str = "own") -> Pivot | None:  # fmt: skip
    """The table; None where the measure is defined nowhere.

    rows, columns: dials by name, "estimator", "term" or "error". Whatever else varies is added to the rows, so that no
    cell is an average over cells. Raises BadInput for names that are none, or that stand twice.
    """
    names = resolved_names(diagnosis.cells, (*rows, *columns), "rows and columns")
    down, across = names[: len(rows)], names[len(rows) :]
    values = values_of(diagnosis, measure, lead_terms(diagnosis, term), sample)
    if not values:
        return None
    keys = _keys(diagnosis, values)
    varying = [name for name, key in keys.items() if len({key(value) for value in values}) > 1]
    lines = {value.place[1:] for value in values}  # an estimator has one term here, and may have one error type
    told = {TERM} if len(lines) > len({name for name, *_ in lines}) else {TERM, ERROR}
    down = (*down, *(name for name in varying if name not in {*names, *told}))
    ordered_rows, ordered_columns = (_ordered(diagnosis, values, keys, part) for part in (down, across))
    found: dict[tuple[Keys, Keys], PivotCell] = {}
    for value in values:
        place = tuple(keys[name](value) for name in down), tuple(keys[name](value) for name in across)
        number, _, rest = value.text(measure).partition(" (")
        found[place] = PivotCell(value, number, rest.rstrip(")"), value.departs(measure, diagnosis.alpha))
    cells = tuple(tuple(found.get((row, column)) for column in ordered_columns) for row in ordered_rows)
    what = " or ".join(dict.fromkeys(value.place[2] for value in values))
    title = f"{measure.short} {'for' if measure.by_error else 'of'} {what}"
    unit = "Percent. " if measure.share else ""
    unit += "Where the truth is 0, power is the size. " if measure.name == "power" else ""
    whose = "Wilson's" if measure.column in PROPORTIONS else "Searle's" if measure.name == "between_worlds" else ""
    ends = f" At 0 and 100% it is the other end of {whose} 95% interval." if whose else ""
    error = "In brackets the Monte Carlo standard error."
    marked = " ! marks a clear departure." if measure.nominal is not None else ""
    note = f"{unit}{error}{ends}{marked}"
    return Pivot(measure, title, down, across, ordered_rows, ordered_columns, cells, subject_of(values), note)


def pivot_by(
    diagnosis: Diagnosis, measure: ShownMeasure, names: Sequence[str], term: str | None = None
) -> Pivot | None:
    """The table whose columns are the last of the names, and whose rows are all else; of one name alone its rows."""
    if len(names) > 1:
        return pivot(diagnosis, measure, names[:-1], names[-1:], term=term)
    lines = {value.place[1] for value in values_of(diagnosis, measure, lead_terms(diagnosis, term))}
    across = (ESTIMATOR,) if 1 < len(lines) <= WIDEST and ESTIMATOR not in names else ()
    return pivot(diagnosis, measure, names, across, term=term)


def default_pivot(diagnosis: Diagnosis, measure: ShownMeasure, term: str | None = None) -> Pivot | None:
    """The table whose columns are the dial with the most values that have room; all else stands down."""
    values = values_of(diagnosis, measure, lead_terms(diagnosis, term))
    grid = [dial for dial in dials(diagnosis.cells, sorted({value.place[0] for value in values}))
            if len(dial.values) <= WIDEST]  # fmt: skip
    across = (max(grid, key=lambda dial: len(dial.values)).name,) if grid else ()
    return pivot(diagnosis, measure, (), across, term=term)


def resolved_names(cells: Sequence[Mapping[str, object]], names: Sequence[str], where: str) -> tuple[str, ...]:
    """Full names of dials, estimator, term and error from full or short ones ("serial" for "errors.serial").

    Raises BadInput with all faults at once.
    """
    every = [*dial_names(cells), *OTHERS]
    found, problems = [], []
    for name in names:
        fits = [name] if name in every else [one for one in every if name in (one.split(".")[0], one.split(".")[-1])]
        if len(fits) != 1:
            what = "no dial of this study's grid" if not fits else f"may mean {one_of(fits)}"
            problems.append(Problem(f"{name!r} is {what}" if not fits else f"{name!r} {what}", where=where,
                                    allowed=one_of(every, name), remedy=closest(name, every)))  # fmt: skip
        elif fits[0] in found:
            problems.append(Problem(f"{name!r} stands twice", where=where, allowed="each name once",
                                    remedy="name it once"))  # fmt: skip
        found += fits[:1]
    if problems:
        raise BadInput(*problems)
    return tuple(found)


def measure_named(measures: Mapping[str, ShownMeasure], name: str, where: str) -> ShownMeasure:
    """The measure of a name. Raises BadInput for none."""
    if name not in measures:
        raise BadInput(unknown_measure(measures, name, where))
    return measures[name]


def unknown_measure(measures: Iterable[str], name: str, where: str) -> Problem:
    """That a name is no measure's, and which there are."""
    return Problem(f"{name!r} is no measure", where=where, allowed=one_of(measures, name, "`panelproof kinds`"),
                   remedy=closest(name, measures))  # fmt: skip


def _shown(name: str, key: str) -> str:
    """The key of a row or column as text: an error type in words."""
    return plain_error(key) if name == ERROR and key else key


def with_key(key: str) -> Markup:
    """The plain name of a dial or an error type, and beside it the key by which files and options call it."""
    of_error = key in ERRORS or key.startswith(tuple(BEGINNINGS))
    words = PLAIN_DIALS.get(key) or (plain_error(key) if of_error and plain_error(key) != key else plain_dial(key))
    beside = Markup(' <code class="key">{}</code>').format(key) if words.lower() != key.lower() else Markup("")
    return Markup("{}{}").format(words, beside)


def _keys(diagnosis: Diagnosis, values: Sequence[Value]) -> dict[str, Callable[[Value], str]]:
    """How to read from a value each thing that rows and columns may be, in the order in which rows have them."""

    found: dict[str, Callable[[Value], str]] = {}
    cells = sorted({value.place[0] for value in values})
    for dial in dials(diagnosis.cells, cells):
        found[dial.name] = lambda value, dial=dial: dial.names[dial.at[value.place[0]]]  # type: ignore[misc]
    for name in dial_names(diagnosis.cells):  # those with one value where the measure is defined come last
        text = dial_text(diagnosis.cells[cells[0]].get(name))
        found.setdefault(name, lambda _, text=text: text)  # type: ignore[misc]
    for k, name in enumerate(OTHERS, start=1):
        found[name] = lambda value, k=k: str(value.place[k])  # type: ignore[misc]
    return found


def _ordered(diagnosis: Diagnosis, values: Sequence[Value], keys: Mapping[str, Callable[[Value], str]],
             names: Sequence[str]) -> tuple[Keys, ...]:  # fmt: skip
    """The keys that occur, each thing in its own order: dials by value, the rest as it appears."""
    ranks: list[dict[str, int]] = []
    by_dial = {dial.name: dial.names for dial in dials(diagnosis.cells)}
    for name in names:
        order = by_dial.get(name) or tuple(dict.fromkeys(keys[name](value) for value in values))
        ranks.append({text: rank for rank, text in enumerate(order)})
    seen = dict.fromkeys(tuple(keys[name](value) for name in names) for value in values)
    return tuple(sorted(seen, key=lambda key: tuple(rank[text] for rank, text in zip(ranks, key, strict=True))))


# A pivot table as an element of a page; `results/page/tables.js` makes it sortable where scripts run.


def pivot_html(table: Pivot) -> Markup:
    """The table: a number with its Monte Carlo error beneath; data-v holds what its column is sorted by."""
    caption = Markup("<caption>{}{}</caption>").format(
        table.title, Markup(" <small>{}</small>").format(table.fixed) if table.fixed else "")  # fmt: skip
    body = []
    for keys, cells in zip(table.rows, table.cells, strict=True):
        named = (with_key(key) if name == ERROR and key else key for name, key in zip(table.down, keys, strict=True))
        places = Markup("").join(Markup('<th scope="row" class="left">{}</th>').format(key) for key in named)
        numbers = []
        for cell in cells:
            if cell is None:
                numbers.append(Markup("<td>-</td>"))
                continue
            mark = Markup('<span class="flag" title="clearly departs">!</span>') if cell.clear else Markup("")
            css = Markup(' class="off"') if cell.clear else Markup("")
            error = Markup("<small>({})</small>").format(cell.mcse) if cell.mcse else Markup("")
            value = cell.value.value
            numbers.append(Markup('<td{} data-v="{}">{}{}{}</td>').format(
                css, f"{value:.8g}" if math.isfinite(value) else "", cell.number, mark, error))  # fmt: skip
        body.append(Markup("<tr>{}{}</tr>").format(places, Markup("").join(numbers)))
    start = Markup('<div class="wide dense pivot" tabindex="0" role="region" aria-label="{}">\n<table id="{}" '
                   'class="sortable">').format(
        table.title, key_of("pivot", table.title, *table.down, *table.across))  # fmt: skip
    # one line of headings, of which a dial in the columns is named by a second one above
    names = [Markup('<th scope="col" class="left">{}</th>').format(with_key(name)) for name in table.down]
    one = len(table.across) == 1 and table.across[0] not in OTHERS
    columns = [column[0] for column in table.columns] if one else table.column_heads
    heads = [Markup('<th scope="col">{}</th>').format(key) for key in columns]
    above = Markup("")
    if one:
        blank = Markup('<td colspan="{}"></td>').format(len(names)) if names else Markup("")
        above = Markup('<tr class="over">{}<th scope="colgroup" colspan="{}" class="group"><span>{}</span></th></tr>'
                       ).format(blank, len(heads), with_key(table.across[0]))  # fmt: skip
    inner = Markup("{}\n<thead>{}<tr>{}{}</tr></thead>\n<tbody>\n{}\n</tbody></table></div>").format(
        caption, above, Markup("").join(names), Markup("").join(heads), Markup("\n").join(body))  # fmt: skip
    return start + inner + Markup('\n<p class="notes">{}</p>').format(table.note)


# Pivot tables as the formats print them: a terminal, journal tables for LaTeX and Word, a spreadsheet, a CSV file.


NUMBERS = ("value", "mcse", "lower", "upper", "n", "attempted")


def terminal_table(table: Pivot) -> Table:
    """For a terminal: a number with its Monte Carlo error in brackets; row keys that repeat are left blank."""
    title = f"{table.title}, {table.fixed}" if table.fixed else table.title
    title += f", by {plain_dial(table.across[0])} (columns)" if len(table.across) == 1 else ""
    out = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False, header_style="bold", title=title,
                title_justify="left", title_style="bold")  # fmt: skip
    for k, name in enumerate(table.heads):
        words = [word for keys in table.rows for word in _shown(table.down[k], keys[k]).split()]
        widest = max(map(cell_len, words), default=0)
        out.add_column(name, justify="left", overflow="fold", min_width=widest)
    one = len(table.across) == 1
    for j, name in enumerate([keys[0] for keys in table.columns] if one else table.column_heads):
        widest = max((_bracketed(cells[j]).cell_len for cells in table.cells), default=0)
        out.add_column(name, justify="right", overflow="fold", min_width=widest)  # a number is never cut
    above: tuple[str, ...] = ()
    for keys, cells in zip(table.rows, table.cells, strict=True):
        same = next((k for k, (one, other) in enumerate(zip(keys, above, strict=False)) if one != other), len(above))
        names = [Text("" if k < same and k < len(keys) - 1 else _shown(table.down[k], key))
                 for k, key in enumerate(keys)]  # fmt: skip
        out.add_row(*names, *map(_bracketed, cells))
        above = keys
    return out


def _bracketed(cell: PivotCell | None) -> Text:
    if cell is None:
        return Text("- ")
    text = f"{cell.number} ({cell.mcse})" if cell.mcse else cell.number
    return Text(f"{text}!", style="bold red") if cell.clear else Text(f"{text} ")


def journal_table(table: Pivot) -> JournalTable:
    """For LaTeX and Word: Monte Carlo errors in a row beneath; all row keys but the last are headings within."""
    columns = tuple(Heading(label) for label in table.column_heads)
    rows: list[Row] = []
    for outer, group in groupby(zip(table.rows, table.cells, strict=True), key=lambda row: row[0][:-1]):
        if outer:
            words = ", ".join(f"{plain_dial(name)} {_shown(name, key)}"
                              for name, key in zip(table.down[:-1], outer, strict=True))  # fmt: skip
            rows.append(Row(words, kind="head"))
        for keys, cells in group:
            label = _shown(table.down[-1], keys[-1]) if keys else table.measure.short
            numbers = tuple("-" if cell is None else f"{cell.number}{'!' if cell.clear else ''}" for cell in cells)
            rows.append(Row(f"  {label}" if outer else label, numbers))
            rows.append(Row("", tuple(f"({cell.mcse})" if cell and cell.mcse else "" for cell in cells), kind="error"))
    inner = f"Rows: {table.heads[-1]}. " if table.heads else ""
    fixed = f"{table.fixed[:1].upper()}{table.fixed[1:]}. " if table.fixed else ""
    return JournalTable("", table.title, columns, tuple(rows), (f"{fixed}{inner}{table.note}",))


def csv_file(tables: Iterable[Pivot]) -> str:
    """One line a cell of each table, all digits: measure, dials, estimator, term, error type and numbers."""
    tables = list(tables)
    names = list(dict.fromkeys(name for table in tables for name in (*table.down, *table.across)))
    further = [name for name in ("estimator", "term", "error") if name not in names]
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(["measure", *names, *further, *NUMBERS])
    for table in tables:
        for keys, cells in zip(table.rows, table.cells, strict=True):
            for column, cell in zip(table.columns, cells, strict=True):
                if cell is not None:
                    known = dict(zip((*table.down, *table.across), (*keys, *column), strict=True))
                    known |= dict(zip(("estimator", "term", "error"), cell.value.place[1:], strict=True))
                    numbers = [repr(getattr(cell.value, name)) for name in NUMBERS]
                    write.writerow(
                        [table.measure.name, *(known.get(name, "") for name in (*names, *further)), *numbers]
                    )
    return out.getvalue()


def xlsx_file(tables: Iterable[Pivot]) -> bytes:
    """A sheet a table, numbers as numbers with their Monte Carlo errors in the columns beside; no day is in it."""
    from openpyxl import Workbook
    from openpyxl.styles import Font

    book = Workbook()
    book.remove(book.active)
    bold = Font(bold=True)
    for number, table in enumerate(tables, start=1):
        sheet = book.create_sheet(f"{number} {table.measure.name}"[:31])
        sheet.append([f"{table.title}, {table.fixed}" if table.fixed else table.title])
        heads = [text for head in table.column_heads for text in (head, "MCSE")]
        sheet.append([*table.heads, *heads])
        for row in sheet.iter_rows(min_row=1, max_row=2):
            for cell in row:
                cell.font = bold
        for keys, cells in zip(table.rows, table.cells, strict=True):
            pairs = [(None, None) if one is None else (one.value.value, one.value.mcse) for one in cells]
            numbers = [value for pair in pairs for value in pair]  # empty where there is no Monte Carlo error
            labels = [text if math.isnan(said := number_in(text)) else said for text in keys]
            sheet.append([*labels, *(value if value == value else None for value in numbers)])
        sheet.append([])
        sheet.append([f"Shares between 0 and 1. {table.measure.words}" if table.measure.share else table.measure.words])
        sheet.freeze_panes = sheet.cell(row=3, column=len(table.heads) + 1)
    out = io.BytesIO()
    book.save(out)
    return undated(out.getvalue(), dated=("dcterms:created", "dcterms:modified"))
