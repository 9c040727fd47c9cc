"""The tables of a document as a Word file: three-line tables whose headings repeat on every page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from results.tables.journal_table import JournalTable, Row
from results.tables.records import Document
from results.tables.typography import split_stars, with_minus
from sim.errors import bad

UPRIGHT, TURNED = 105, 160  # widest table on an upright page and on one that lies on its side, in letters
FONT, EAST_ASIAN, POINTS = "Times New Roman", "SimSun", 9
LETTER, MARGIN = 4.6, 12.0  # points: mean width of a letter, and what a cell keeps free at its sides


def check_word() -> None:
    """Raise BadInput when the library that writes Word files is not installed."""
    if find_spec("docx") is None:
        raise bad("docx needs the package python-docx, which is not installed", where="--format",
                  allowed="json, html, tex without it", remedy='install "panelproof[tables]"')  # fmt: skip


def word_tables(document: Document, tables: Sequence[JournalTable]) -> bytes:
    """The file's bytes: tables with more columns than a page holds in parts, then the document's notes."""
    check_word()
    import docx

    file = docx.Document()
    _set_up(file, str(document.panel.get("outcome") or ""))
    turned = False
    for part in (part for table in tables for part in table.blocks(lambda part: part.width <= TURNED)):
        turned = _turn(file, turned, part.width > UPRIGHT)
        _write(file, part)
    for note in document.notes:
        file.add_paragraph(note, style="List Bullet")
    out = io.BytesIO()
    file.save(out)
    return out.getvalue()


def _set_up(file: Any, title: str) -> None:
    """Fonts for Latin and East Asian letters, A4, the document's properties."""
    from docx.oxml.ns import qn
    from docx.shared import Mm, Pt

    for name in ("Normal", "Caption"):
        style = file.styles[name]
        style.font.name, style.font.size = FONT, Pt(POINTS + (name == "Caption"))
        style.element.get_or_add_rPr().get_or_add_rFonts().set(qn("w:eastAsia"), EAST_ASIAN)
        style.paragraph_format.space_after = Pt(2)
    section = file.sections[0]
    section.page_width, section.page_height = Mm(210), Mm(297)
    section.left_margin = section.right_margin = section.top_margin = section.bottom_margin = Mm(20)
    file.core_properties.title, file.core_properties.author = f"{title}: tables", "panelproof"


def _turn(file: Any, turned: bool, wanted: bool) -> bool:
    """A new section where the next table lies otherwise than the last."""
    from docx.enum.section import WD_ORIENT, WD_SECTION

    if turned == wanted:
        return turned
    untouched = not file.tables
    section = file.sections[-1] if untouched else file.add_section(WD_SECTION.NEW_PAGE)
    section.orientation = WD_ORIENT.LANDSCAPE if wanted else WD_ORIENT.PORTRAIT
    section.page_width, section.page_height = section.page_height, section.page_width
    return wanted


def _write(file: Any, table: JournalTable) -> None:
    from docx.enum.table import WD_TABLE_ALIGNMENT
    from docx.shared import Pt, RGBColor

    caption = file.add_paragraph(with_minus(table.caption), style="Caption")
    caption.paragraph_format.keep_with_next = True
    caption.paragraph_format.space_before = Pt(14)
    caption.runs[0].font.color.rgb = RGBColor(0, 0, 0)
    heads = _heads(table)
    grid = file.add_table(rows=len(heads) + len(table.rows), cols=len(table.columns) + 1)
    grid.alignment = WD_TABLE_ALIGNMENT.CENTER
    lines = list(grid.rows)  # indexing the table would read it anew for every cell
    for line, texts in zip(lines, heads, strict=False):
        _fill(line.cells, texts)
        _repeat(line)
    _set_widths(grid, lines, table)
    _span(lines[0].cells, table)
    for line, row in zip(lines[len(heads) :], table.rows, strict=True):
        _fill_row(line.cells, row)
    _rule(lines[0], "top", 12)
    _rule(lines[len(heads) - 1], "bottom", 6)
    for line, row in zip(lines[len(heads) :], table.rows, strict=True):
        if row.rule or row.kind == "head":
            _rule(line, "top", 4)
    _rule(lines[-1], "bottom", 12)
    notes = file.add_paragraph(" ".join(table.notes))
    for run in notes.runs:
        run.font.size = Pt(POINTS - 1)


def _set_widths(grid: Any, lines: Sequence[Any], table: JournalTable) -> None:
    """Columns as wide as their longest text, not all alike."""
    from docx.shared import Pt

    label, *columns = table.lengths
    widths = [Pt(LETTER * label + MARGIN), *(Pt(LETTER * length + MARGIN) for length in columns)]
    for column, width in zip(grid.columns, widths, strict=True):
        column.width = width
    for line in lines:
        for cell, width in zip(line.cells, widths, strict=True):
            cell.width = width


def _heads(table: JournalTable) -> list[list[str]]:
    heads = [["", *(group for group, span in table.groups for _ in range(span))]] if table.groups else []
    heads += [["", *(column.number for column in table.columns)]] if table.numbered else []
    labelled = any(column.label for column in table.columns)
    return heads + ([["", *(column.label for column in table.columns)]] if labelled else [])


def _span(cells: Sequence[Any], table: JournalTable) -> None:
    """One cell for every heading that spans several columns."""
    from docx.enum.text import WD_ALIGN_PARAGRAPH

    first = 1
    for group, span in table.groups:
        for cell in cells[first : first + span]:
            cell.text = ""
        merged = cells[first].merge(cells[first + span - 1])
        merged.text = group
        merged.paragraphs[0].alignment = WD_ALIGN_PARAGRAPH.CENTER
        if group:
            _border(merged, "bottom", 4)
        first += span


def _fill_row(cells: Sequence[Any], row: Row) -> None:
    if row.kind == "head":
        label = cells[0].merge(cells[-1])
        label.text = ""
        label.paragraphs[0].add_run(row.label).italic = True
        _close_up(label.paragraphs[0])
        return
    _fill(cells, [row.label.replace("  ", "\N{EM SPACE}"), *row.cells])


def _fill(cells: Sequence[Any], texts: Sequence[str]) -> None:
    """Label to the left, numbers in the middle, stars raised."""
    from docx.enum.text import WD_ALIGN_PARAGRAPH

    for j, (cell, text) in enumerate(zip(cells, texts, strict=True)):
        paragraph = cell.paragraphs[0]
        _close_up(paragraph)
        paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER if j else WD_ALIGN_PARAGRAPH.LEFT
        body, stars = split_stars(text)
        paragraph.add_run(with_minus(body) if j else body)
        if stars:
            paragraph.add_run(stars).font.superscript = True


def _close_up(paragraph: Any) -> None:
    from docx.shared import Pt

    paragraph.paragraph_format.space_after = paragraph.paragraph_format.space_before = Pt(0)


def _repeat(line: Any) -> None:
    """Repeat a heading on every page that the table runs to."""
    from docx.oxml import OxmlElement

    line._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))


def _rule(line: Any, edge: str, eighths: int) -> None:
    seen = set()
    for cell in line.cells:
        if cell._tc not in seen:
            seen.add(cell._tc)
            _border(cell, edge, eighths)


def _border(cell: Any, edge: str, eighths: int) -> None:
    """A line of `eighths` of a point along one edge of a cell."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    properties = cell._tc.get_or_add_tcPr()
    borders = properties.find(qn("w:tcBorders"))
    if borders is None:
        borders = OxmlElement("w:tcBorders")
        properties.append(borders)
    line = OxmlElement(f"w:{edge}")
    for name, value in {"val": "single", "sz": str(eighths), "space": "0", "color": "000000"}.items():
        line.set(qn(f"w:{name}"), value)
    borders.insert(0 if edge == "top" else len(borders), line)  # the order that the format asks for
