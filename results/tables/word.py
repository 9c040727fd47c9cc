"""The tables and figures of a document as a Word file: three-line tables whose headings repeat on every page.

Written by hand on python-docx, for the table libraries cannot carry it (tried on 80 rows and 24 columns with Chinese
names): great_tables 1.1 writes no Word file; maketables 0.2 sets all columns on one upright page, repeats no heading,
names no East Asian font, does not raise stars, gives other bytes every time and takes three seconds.
"""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Mapping, Sequence
from html import escape
from importlib.util import find_spec
from typing import Any, Literal

from results.tables.chinese import notes_of, wording
from results.tables.journal_table import JournalTable, TableFormat
from results.tables.records import Document
from results.tables.typography import split_stars, with_minus
from sim.errors import bad

UPRIGHT, TURNED = 105, 160  # widest table on an upright page and on one that lies on its side, in letters
FONT, EAST_ASIAN, POINTS = "Times New Roman", "SimSun", 9
LETTER, MARGIN = 4.6, 12.0  # points: mean width of a letter, and what a cell keeps free at its sides
TEXT_WIDTH, TEXT_HEIGHT = 170, 235  # millimetres that a figure may take on an upright page
TWENTIETHS = 20  # of a point, in which the format measures widths
YEARS = range(1980, 2108)  # that a zip can name
CELL = "TableCell"  # style of the paragraphs in tables
WORDS = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def check_office(library: str = "docx") -> None:
    """Raise BadInput where the library that writes Word files is not installed, or today is a day that no zip can name.

    library: the one that writes the file; that of xlsx is always there.
    """
    if find_spec(library) is None:
        raise bad("docx needs the package python-docx, which is not installed", where="--format",
                  allowed="json, html, tex without it", remedy='install "panelproof[tables]"')  # fmt: skip
    if (year := time.localtime().tm_year) not in YEARS:
        raise bad(f"the clock of this machine says {year}", where="--format", remedy="set the clock, or leave them out",
                  allowed=f"docx and xlsx from {YEARS[0]} to {YEARS[-1]}, which their libraries can date")  # fmt: skip


def word_tables(document: Document, tables: Sequence[JournalTable]) -> bytes:
    """The file's bytes: contents, tables with more columns than a page holds in parts, figures, notes."""
    check_office()
    import docx
    from docx.oxml import parse_xml
    from docx.shared import Mm, Pt

    file = docx.Document()
    said = wording(document)
    _set_up(file, f"{document.panel.get('outcome') or ''}: {said('tables')}")
    titles = [*(table.caption for table in tables), *(each.title for each in document.figures)]
    if len(titles) > 1:
        # a table of contents is a field of the headings, which Word fills with page numbers when it updates its fields
        file.add_paragraph(said("Contents"), style="Title")
        opens = ('<w:fldChar w:fldCharType="begin" w:dirty="true"/>',
                 r'<w:instrText xml:space="preserve"> TOC \o "1-2" \h \z \u </w:instrText>',
                 '<w:fldChar w:fldCharType="separate"/>')  # fmt: skip
        entries = [file.add_paragraph() for _ in titles]
        for mark in opens:
            entries[0]._p.append(parse_xml(f'<w:r xmlns:w="{WORDS}">{mark}</w:r>'))
        for entry, title in zip(entries, titles, strict=True):
            entry.add_run(with_minus(title))
        entries[-1]._p.append(parse_xml(f'<w:r xmlns:w="{WORDS}"><w:fldChar w:fldCharType="end"/></w:r>'))
    turned = False
    for part in (part for table in tables for part in table.blocks(lambda part: part.width <= TURNED)):
        turned = _turn(file, turned, part.width > UPRIGHT)
        caption = file.add_paragraph(with_minus(part.caption), style="Heading 2")
        caption.paragraph_format.keep_with_next = True
        caption.paragraph_format.space_before = Pt(14)
        caption._p.addnext(parse_xml(_grid(part)))
        notes = file.add_paragraph(" ".join(part.notes))
        for run in notes.runs:
            run.font.size = Pt(POINTS - 1)
    turned = _turn(file, turned, False)
    for figure in document.figures:  # of 300 dots an inch, as wide as the text at most
        file.add_paragraph(with_minus(figure.title), style="Heading 2")
        shape = file.add_picture(io.BytesIO(figure.drawn("png")))
        scale = min(1.0, Mm(TEXT_WIDTH) / shape.width, Mm(TEXT_HEIGHT) / shape.height)
        shape.width, shape.height = round(shape.width * scale), round(shape.height * scale)
        shape._inline.docPr.set("descr", figure.caption)
        file.paragraphs[-1].paragraph_format.keep_with_next = True
        for run in file.add_paragraph(with_minus(figure.caption)).runs:
            run.font.size = Pt(POINTS - 1)
    if document.notes:
        file.add_paragraph(said("Notes"), style="Heading 1")
    for note in notes_of(document):
        file.add_paragraph(note, style="List Bullet")
    out = io.BytesIO()
    file.save(out)
    return undated(out.getvalue())


def undated(package: bytes, *, dated: Sequence[str] = ()) -> bytes:
    """The same package with no day in its directory: the same tables are the same bytes.

    dated: elements of its properties that hold a day, which are left out.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(package)) as given, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as kept:
        for name in given.namelist():
            content = given.read(name)
            for element in dated if name == "docProps/core.xml" else ():
                content = re.sub(rf"<{element}\b.*?</{element}>".encode(), b"", content)
            kept.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _set_up(file: Any, title: str) -> None:
    """Fonts for Latin and East Asian letters, A4, the document's properties."""
    from docx.enum.style import WD_STYLE_TYPE
    from docx.oxml.ns import qn
    from docx.shared import Mm, Pt, RGBColor

    for name, size in (("Normal", POINTS), ("Heading 2", POINTS + 1), ("Heading 1", POINTS + 3), ("Title", POINTS + 5)):
        style = file.styles[name]
        style.font.name, style.font.size, style.font.color.rgb = FONT, Pt(size), RGBColor(0, 0, 0)
        fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
        for theme in ("asciiTheme", "hAnsiTheme", "eastAsiaTheme", "cstheme"):
            fonts.attrib.pop(qn(f"w:{theme}"), None)  # a theme's font would win
        fonts.set(qn("w:eastAsia"), EAST_ASIAN)
        style.paragraph_format.space_after = Pt(2)
    cell = file.styles.add_style(CELL, WD_STYLE_TYPE.PARAGRAPH)
    cell.base_style = file.styles["Normal"]
    cell.paragraph_format.space_after = cell.paragraph_format.space_before = Pt(0)
    cell.paragraph_format.line_spacing = Pt(POINTS + 0.5)
    section = file.sections[0]
    section.page_width, section.page_height = Mm(210), Mm(297)
    section.left_margin = section.right_margin = section.top_margin = section.bottom_margin = Mm(16)
    properties = file.core_properties
    for element in list(properties._element):  # author, comment and dates of the library's template
        properties._element.remove(element)
    properties.title = title


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


def _grid(table: JournalTable) -> str:
    """The table in the file's own language: through the library's objects every cell takes a millisecond."""
    label, *columns = table.lengths
    widths = [round(TWENTIETHS * (LETTER * length + MARGIN)) for length in (label, *columns)]
    heads = len(table.heads) + bool(table.groups)
    edges: list[dict[str, int]] = [{} for _ in range(heads + len(table.rows))]
    if heads:
        edges[0]["top"], edges[heads - 1]["bottom"] = 12, 6
    edges[-1]["bottom"] = 12
    lines = []
    if table.groups:  # one cell for every heading that spans several columns
        cells, first = [_cell("", widths[0], edges[0])], 1
        for group, span in table.groups:
            own = {**edges[0], "bottom": 4} if group else edges[0]
            cells.append(_cell(_run(group), sum(widths[first : first + span]), own, span, "center"))
            first += span
        lines.append("".join(cells))
    lines += [_text_line(["", *texts], widths, edge)
              for texts, edge in zip(table.heads, edges[heads - len(table.heads) : heads], strict=True)]  # fmt: skip
    for row, edge in zip(table.rows, edges[heads:], strict=True):
        if row.rule or row.kind == "head":
            edge["top"] = 4
        if row.kind == "head":
            lines.append(_cell(_run(row.label, "<w:i/>"), sum(widths), edge, len(widths)))
        else:
            lines.append(_text_line([row.label.replace("  ", "\N{EM SPACE}"), *row.cells], widths, edge))
    repeated = "<w:trPr><w:tblHeader/></w:trPr>"  # on every page that the table runs to
    rows = [f"<w:tr>{repeated * (number < heads)}{line}</w:tr>" for number, line in enumerate(lines)]
    return (
        f'<w:tbl xmlns:w="{WORDS}"><w:tblPr><w:jc w:val="center"/></w:tblPr><w:tblGrid>'
        + "".join(f'<w:gridCol w:w="{width}"/>' for width in widths)
        + "</w:tblGrid>"
        + "".join(rows)
        + "</w:tbl>"
    )


def _cell(
    runs: str, width: int, edges: Mapping[str, int], span: int = 1, side: Literal["left", "center"] = "left"
) -> str:  # fmt: skip
    """A cell of a row: its text as runs, its width, how many columns it spans, and the lines along its edges."""
    spanned = f'<w:gridSpan w:val="{span}"/>' if span > 1 else ""
    lines = "".join(f'<w:{edge} w:val="single" w:sz="{edges[edge]}" w:space="0" w:color="000000"/>'
                    for edge in ("top", "bottom") if edge in edges)  # fmt: skip
    borders = f"<w:tcBorders>{lines}</w:tcBorders>" if lines else ""
    return (
        f'<w:tc><w:tcPr><w:tcW w:w="{width}" w:type="dxa"/>{spanned}{borders}</w:tcPr>'
        f'<w:p><w:pPr><w:pStyle w:val="{CELL}"/><w:jc w:val="{side}"/></w:pPr>{runs}</w:p></w:tc>'
    )


def _run(text: str, look: str = "") -> str:
    properties = f"<w:rPr>{look}</w:rPr>" if look else ""
    return f'<w:r>{properties}<w:t xml:space="preserve">{escape(text)}</w:t></w:r>' if text else ""


def _text_line(texts: Sequence[str], widths: Sequence[int], edges: Mapping[str, int]) -> str:
    """Label to the left, numbers in the middle, stars raised."""
    cells = [_cell(_run(texts[0]), widths[0], edges)]
    for text, width in zip(texts[1:], widths[1:], strict=True):
        body, stars = split_stars(text)
        raised = _run(stars, '<w:vertAlign w:val="superscript"/>')
        cells.append(_cell(_run(with_minus(body)) + raised, width, edges, side="center"))
    return "".join(cells)


FORMATS = (
    TableFormat("docx", "tables.docx", lambda document, tables, *_: word_tables(document, tables), check_office),
)
