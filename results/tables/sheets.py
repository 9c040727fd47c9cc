"""The tables of a document for spreadsheets: an xlsx with a sheet a table, and a csv file a table.

Both hold every number in full, as a number. A cell of the xlsx shows it as the table prints it, with its stars and
brackets, by the format of the cell; a csv file says at the row what it holds, without stars.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from results.tables.chinese import wording
from results.tables.journal_table import JournalTable, TableFormat
from results.tables.records import Document
from results.tables.typography import IN_BRACKETS, number_of
from results.tables.word import check_office, undated

NUMBER = re.compile(r"-?[\d,]*\d(?:\.\d+)?(?:e-?\d+)?")
WIDEST = 60  # letters of a column


def xlsx_tables(document: Document, tables: Sequence[JournalTable]) -> bytes:
    """The workbook's bytes, a sheet a table in their order; the same tables are the same bytes."""
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    for table in tables:
        # a sheet is called by the table's number, or by its title as far as a sheet's name may hold it
        taken = [sheet.title for sheet in book]
        name = re.sub(r"[\[\]:*?/\\]", " ", table.caption.partition(".")[0] if table.name else table.title)[:28]
        _fill(book.create_sheet(name if name not in taken else f"{name} {len(taken)}"), table)
    if not tables:
        book.create_sheet("1")
    book.properties.creator = "panelproof"
    out = io.BytesIO()
    book.save(out)
    return undated(out.getvalue(), dated=("dcterms:created", "dcterms:modified"))


def _fill(sheet: Any, table: JournalTable) -> None:
    """Caption, headings, rows, notes; what a heading spans is one cell."""
    from openpyxl.styles import Alignment, Border, Font, Side
    from openpyxl.utils import get_column_letter

    bold, thin = Font(bold=True), Side(style="thin")
    sheet.append([table.caption])
    sheet["A1"].font = bold
    groups = [text for group, span in table.groups for text in (group, *[""] * (span - 1))]
    heads = [groups, *table.heads] if groups else table.heads
    for line in heads:
        sheet.append(["", *line])
    first, columns = 2 + len(heads), len(table.columns)
    start = 2
    for group, span in table.groups:
        if group and span > 1:
            sheet.merge_cells(start_row=2, start_column=start, end_row=2, end_column=start + span - 1)
        start += span
    for row in sheet.iter_rows(min_row=2, max_row=first - 1, min_col=2, max_col=1 + columns):
        for cell in row:
            cell.font, cell.alignment = bold, Alignment(horizontal="center", wrap_text=True)
    for at, row in enumerate(table.rows, start=first):
        sheet.cell(at, 1, row.label).font = Font(italic=row.kind == "head")
        for j, text in enumerate(row.cells, start=2):
            place, value = sheet.cell(at, j), number_of(text)
            place.alignment = Alignment(horizontal="right")
            if value is None or NUMBER.search(text) is None:
                place.value, place.number_format = str(text) or None, "@"
            else:
                place.value, place.number_format = repr(value).removesuffix(".0"), number_format(text)
                place.data_type = "n"  # of a number the library writes 16 digits, which are not always it
        if row.rule or row.kind == "head" or at == first:
            for j in range(1, columns + 2):
                sheet.cell(at, j).border = Border(top=thin)
    for note in table.notes:
        sheet.append([note])
    label, *widths = table.lengths
    for j, width in enumerate((label, *widths), start=1):
        sheet.column_dimensions[get_column_letter(j)].width = min(max(width, 6) + 4, WIDEST)
    sheet.freeze_panes = f"B{first}"
    for cell in (cell for row in sheet for cell in row if cell.data_type in "fe"):
        cell.data_type = "s"  # a label such as "=1+1" or "#N/A", and no formula or error


def number_format(cell: str) -> str:
    """The format under which a spreadsheet shows a number as a cell of a table does."""
    found = NUMBER.search(cell)
    assert found is not None
    before, body, behind = cell[: found.start()], found[0].lstrip("-"), cell[found.end() :]
    if before.rstrip().endswith("<"):
        return f'"{cell}"'  # below what four decimals show
    whole, _, part = body.partition("e")[0].partition(".")
    form = ("#,##0" if "," in whole or not part else "0") + ("." + "0" * len(part) if part else "")
    form += "E+0" if "e" in body else ""
    quoted = [f'"{text}"' if text else "" for text in (before, behind)]
    plus, minus = (f"{quoted[0]}{sign}{form}{quoted[1]}" for sign in ("", "-"))
    return f"{plus};{minus}"


def csv_tables(document: Document, tables: Sequence[JournalTable]) -> dict[str, bytes]:
    """Content by the name of the file, table-2.csv, in UTF-8 with a mark by which spreadsheets see that; a table
    without a name is called by its title."""
    said = wording(document)
    found = {}
    for number, table in enumerate(tables, start=1):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["", *(" ".join(filter(None, (one.group, one.number, one.label))) for one in table.columns)])
        above = ""
        for row in table.rows:
            held = dict.fromkeys("p value" if cell.startswith("[p") else "95% interval" if cell.startswith("[")
                                 else IN_BRACKETS[document.style.brackets] for cell in row.cells if cell)  # fmt: skip
            label = row.label.strip() or f"{above} ({' / '.join(map(said, held))})"
            above = row.label.strip() or above
            full = [cell if (value := number_of(cell)) is None or not cell else  # a number in full, a text as it is
                    repr(int(value) if value == int(value) else value)
                    for cell in row.cells or ("",) * len(table.columns)]  # fmt: skip
            writer.writerow([label, *full])
        name = table.name or re.sub(r"\W+", "-", table.title.lower())[:WIDEST].strip("-")
        file = f"table-{name}.csv"
        found[file if file not in found else f"table-{name}-{number}.csv"] = text.getvalue().encode("utf-8-sig")
    return found


FORMATS = (
    TableFormat(
        "xlsx",
        "tables.xlsx",
        lambda document, tables, *_: xlsx_tables(document, tables),
        partial(check_office, "openpyxl"),
    ),
    TableFormat("csv", "table-*.csv", lambda document, tables, *_: csv_tables(document, tables)),
)
