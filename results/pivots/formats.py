"""Pivot tables as the formats print them: a terminal, journal tables for LaTeX and Word, a spreadsheet, a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import groupby

from rich import box
from rich.table import Table
from rich.text import Text

from results.pivots.pivot import Pivot, PivotCell
from results.tables.journal_table import Heading, JournalTable, Row
from results.tables.latex import latex_tables
from results.tables.records import Document
from results.tables.word import word_tables

NUMBERS = ("value", "mcse", "lower", "upper", "n", "attempted")
FORMATS = ("tex", "docx", "xlsx", "csv")


def terminal_table(table: Pivot) -> Table:
    """For a terminal: a number with its Monte Carlo error in brackets; row keys that repeat are left blank."""
    title = f"{table.title}, {table.fixed}" if table.fixed else table.title
    title += f", by {table.across_words} (columns)" if len(table.across) == 1 else ""
    out = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False, header_style="bold", title=title,
                title_justify="left", title_style="bold")  # fmt: skip
    for name in table.heads:
        out.add_column(name, justify="left", no_wrap=True)
    one = len(table.across) == 1
    for name in [keys[0] for keys in table.columns] if one else table.column_heads:
        out.add_column(name, justify="right", no_wrap=one)
    above: tuple[str, ...] = ()
    for keys, cells in zip(table.rows, table.cells, strict=True):
        same = next((k for k, (one, other) in enumerate(zip(keys, above, strict=False)) if one != other), len(above))
        names = [Text("" if k < same and k < len(keys) - 1 else key) for k, key in enumerate(keys)]
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
            words = ", ".join(f"{name} {key}" for name, key in zip(table.heads[:-1], outer, strict=True))
            rows.append(Row(words, kind="head"))
        for keys, cells in group:
            label = keys[-1] if keys else table.measure.short
            rows.append(Row(f"  {label}" if outer else label, tuple(_number(cell) for cell in cells)))
            rows.append(Row("", tuple(f"({cell.mcse})" if cell and cell.mcse else "" for cell in cells), kind="error"))
    inner = f"Rows: {table.heads[-1]}. " if table.heads else ""
    fixed = f"{table.fixed[:1].upper()}{table.fixed[1:]}. " if table.fixed else ""
    return JournalTable("", table.title, columns, tuple(rows), (f"{fixed}{inner}{table.note}",))


def _number(cell: PivotCell | None) -> str:
    if cell is None:
        return "-"
    return f"{cell.number}!" if cell.clear else cell.number


def latex_file(tables: Sequence[Pivot], document: Document) -> str:
    """The tables as a LaTeX file that compiles by itself (booktabs)."""
    return latex_tables(document, [journal_table(table) for table in tables])


def word_file(tables: Sequence[Pivot], document: Document) -> bytes:
    """The tables as a Word file; raises BadInput where python-docx is not installed."""
    return word_tables(document, [journal_table(table) for table in tables])


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
                    write.writerow(_line(table, (*keys, *column), cell, names, further))
    return out.getvalue()


def _line(
    table: Pivot, keys: tuple[str, ...], cell: PivotCell, names: Sequence[str], further: Sequence[str]
) -> list[object]:
    known = dict(zip((*table.down, *table.across), keys, strict=True))
    known |= dict(zip(("estimator", "term", "error"), cell.value.place[1:], strict=True))
    numbers = [repr(getattr(cell.value, name)) for name in NUMBERS]
    return [table.measure.name, *(known.get(name, "") for name in (*names, *further)), *numbers]


def xlsx_file(tables: Iterable[Pivot]) -> bytes:
    """A sheet a table, numbers as numbers with their Monte Carlo errors in the columns beside."""
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
            numbers = [number for one in cells for number in _pair(one)]
            sheet.append([*map(_as_number, keys), *numbers])
        sheet.append([])
        sheet.append([f"Shares between 0 and 1. {table.measure.words}" if table.measure.share else table.measure.words])
        sheet.freeze_panes = sheet.cell(row=3, column=len(table.heads) + 1)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _pair(cell: PivotCell | None) -> tuple[float | None, float | None]:
    """A value and its Monte Carlo error, empty where there is none."""
    if cell is None:
        return None, None
    value, mcse = cell.value.value, cell.value.mcse
    return value, mcse if mcse == mcse else None


def _as_number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
