"""The same tables in a terminal, as a page, as LaTeX and as a Word file."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import docx
import numpy as np
import openpyxl
import pytest
from documents import FACTS, full_document
from refusals import refuses
from reports import outline
from rich.cells import cell_len
from rich.console import Console
from table_parsers import displayed

from estimators.spatial.lm_tests import CHI_SQUARE
from experiments.estimation import check_formats, journal_tables, warnings_text, write_files
from results.plots.paper import draw, figure, frame
from results.tables import rtf, word
from results.tables.html_tables import html_tables
from results.tables.journal_table import Heading, JournalTable, Row, bracket, coefficient, table_formats
from results.tables.latex import escape, latex_tables
from results.tables.records import Check, Document, Record, Style
from results.tables.sheets import csv_tables, xlsx_tables
from results.tables.terminal_tables import print_estimates, print_table
from results.tables.typography import count, decimals, digits
from results.tables.word import CELL, word_tables

CHINESE = {**FACTS, "outcome": "产业链韧性"}


def printed(width: int, document: Document | None = None, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    document = document or full_document()
    console = Console(file=file, width=width, color_system=None, highlight=False)
    print_estimates(document, journal_tables(document), console, shown=("all",))
    file.flush()
    return raw.getvalue().decode(encoding)


def lines_of(table: JournalTable, width: int) -> list[str]:
    print_table(table, Console(file=(out := io.StringIO()), width=width, color_system=None))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_is_never_overrun_and_nothing_is_dropped(width: int) -> None:
    document, text = full_document(), printed(width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    for table in (table for table in journal_tables(document) if not table.appendix):
        for column in table.columns:
            assert column.number in text
            assert all(word in text for word in re.split("[ -]", column.label))
    assert document.notes[0] in text.replace("\n", " ")
    without_greek = printed(width, encoding="ascii")
    assert [words for words in ("rho ", "W x eip", "sigma2") if words not in without_greek] == []


def test_brackets_of_either_kind_stand_behind_the_digits() -> None:
    rows = tuple(Row("x", (cell,)) for cell in ("0.25***", "(0.25)", "[0.10, 0.25]"))
    lines = lines_of(JournalTable("1", "T", (Heading("y"),), rows), 60)
    assert len({line.rindex("25") for line in lines if "25" in line}) == 1


@pytest.mark.parametrize(("letters", "upright", "parts"), [(50, True, 1), (55, False, 1), (90, False, 2)])
def test_wide_tables_lie_on_their_side_where_fewer_rows_have_room(letters: int, upright: bool, parts: int) -> None:
    """RTF: 92 a letter and 200 a column on 11,906 - 2 x 1,134 twentieths of a point. LaTeX: 34 rows, 58 upright."""
    rows = (Row("a", kind="head"), *[Row("x" * 50, ("1" * letters,))] * 20) * 2
    document, table = Document(FACTS, ()), JournalTable("1", "T", (Heading(""),), rows)
    assert ("lndscpsxn" not in rtf.rtf_tables(document, [table])) is upright
    assert latex_tables(document, [table]).count(r"\begin{tabular}") == parts


def test_chinese_lines_break_between_signs_and_inside_no_latin_word() -> None:
    notes = ("表" * 40 + "。", "残差莫兰指数（单期：simulation of projected normal errors）；" * 3, "自由度G - 1。")
    words = {"simulation", "of", "projected", "normal", "errors", "G", "Table"}
    for width in (60, 77, 80, 99, 100):
        lines = lines_of(JournalTable("1", "描述性统计", (Heading("均值"),), (Row("icr", ("0.5",)),), notes), width)
        assert "".join(notes).replace(" ", "") in "".join(lines).replace(" ", "")
        assert max(map(cell_len, lines)) <= width
        assert not [line for line in lines if line.startswith(tuple("。，；：、）")) or line.endswith("（")]
        beside = (line.strip() for line in lines if re.search("[\u4e00-\u9fff]", line))
        ends = (re.findall("^[A-Za-z]+|[A-Za-z]+$", line) for line in beside)
        assert {word for found in ends for word in found} <= words


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    document = full_document()
    tables = journal_tables(document)
    text = html_tables(document, tables)
    page = outline(text)
    assert len(set(page.ids)) == len(page.ids)
    assert {value.removeprefix("#") for name, value in page.attributes if name == "href"} <= set(page.ids)
    assert not [name for name, _ in page.attributes if name == "src"]
    assert "<script" not in text
    for table in tables:
        assert text.count(f">{table.caption.replace(chr(39), '&#39;')}</h3>") >= 1
    for said in ("&lt;b&gt;caution&lt;/b&gt;", "<circle", "Estimates on the user&#39;s own panel."):
        assert said in text
    assert re.search(r'\d\.\d{4}<span class="stars">\*\*\*</span>', text)
    assert re.search(r"\[−\d\.\d{4}, \d\.\d{4}\]", text)
    assert "synthetic: drawn by computer" in html_tables(full_document({**FACTS, "synthetic": True}), ())


def test_pictures_of_the_program_keep_their_labels_in_a_page_and_two_do_not_share_ids() -> None:
    def paint(canvas: Any) -> dict[str, str]:
        frame(canvas, (0, 0, 1, 1))
        return {}

    svg = draw("figure-2", (100, 80), "A title", "What is seen.", paint)
    figure = replace(full_document().figures[0], drawn=lambda _: svg.encode())
    text = html_tables(Document(FACTS, (), (), figures=(figure,)), ())
    labels = re.search(r'aria-labelledby="(figure-2-t figure-2-d)"', text)
    assert all(text.count(f'id="{label}"') == 1 for label in labels[1].split())
    clip = '<?xml version="1.0"?><svg xmlns="u"><defs><clipPath id="c"/></defs><g clip-path="url(#c)"/></svg>'
    first = replace(figure, drawn=lambda _: clip.encode())
    text = html_tables(Document(FACTS, (), (), figures=(first, replace(first, name="figure 3"))), ())
    assert 'id="figure-2-c"' in text
    assert "url(#figure-3-c)" in text
    assert "<?xml" not in text


def test_latex_and_rtf_have_fonts_and_signs_of_the_letters_that_they_hold() -> None:
    """And LaTeX escapes signs."""
    assert rtf.escape("面ρ 😀") == r"\u-26782?\u961? \u-10179?\u-8704?"  # 0x9762 - 0x10000; two of 16 bits each
    assert escape("50% of a_b & c#1 $2 {x} ~ ^ \\") == (
        r"50\% of a\_b \& c\#1 \$2 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert escape("W × ρ, R² < -0.5") == r"W $\times$ $\rho$, R$^{2}$ $<$ $-$0.5"
    latin, chinese, cyrillic = (latex_tables(document, journal_tables(document)) for document in (
        full_document(), full_document(CHINESE), full_document({**FACTS, "outcome": "д"})))  # fmt: skip
    assert not re.search("[^\x00-\x7f]|ctex", latin)
    assert r"\usepackage[scheme=plain]{ctex}" in chinese
    assert r"\usepackage{fontspec}" in cyrillic


@pytest.mark.parametrize("letter", "ĦħĸĿŀŉŦŧſ\u2017\u201b\u201f\u2023\u2024\u2025")
def test_latex_asks_for_an_engine_that_has_the_letter(letter: str) -> None:
    """pdfLaTeX stops at these, though they lie among Latin letters and punctuation; "é", "ł" and dashes it has."""
    for text, lacking in ((letter, True), ("éł\N{EN DASH}\N{HORIZONTAL ELLIPSIS}", False)):
        table = JournalTable("1", text, (Heading("y"),), (Row("x", ("1",)),))
        found = latex_tables(Document(FACTS, ()), [table])
        assert (r"\usepackage{fontspec}" in found, "pdfLaTeX" in found) == (lacking, not lacking)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.long
def test_latex_compiles(tmp_path: Path) -> None:
    document = full_document()
    (tmp_path / "tables.tex").write_text(latex_tables(document, journal_tables(document)), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_the_word_file_has_headings_borders_in_the_order_of_word_and_escaped_names() -> None:
    document = full_document({**CHINESE, "controls": ["a<b & c"]})
    found = [replace(item, term="a<b & c") if item.term == "rain" else item for item in document.records]
    document = replace(document, records=tuple(found))
    tables = [table for table in journal_tables(document) if table.name in {"2", "7a"}]
    file = docx.Document(io.BytesIO(word_tables(document, tables)))
    captions = [paragraph.text for paragraph in file.paragraphs if paragraph.style.name == "Heading 2"]
    assert captions[0] == "Table 2. Regressions of 产业链韧性 on eip"
    assert document.notes[0] in [paragraph.text for paragraph in file.paragraphs]
    borders = [[edge.tag.rpartition("}")[2] for edge in found] for found in file.element.iter(
        "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}tcBorders")]  # fmt: skip
    assert {tuple(edges) for edges in borders} <= {("top",), ("bottom",), ("top", "bottom")}  # Word asks for this order
    rows = {row.cells[0].text: row.cells for grid in file.tables for row in grid.rows}
    assert "a<b & c" in rows
    assert {paragraph.style.name for cell in rows["Direct effects"] for paragraph in cell.paragraphs} == {"TableCell"}


def test_a_heading_in_word_is_as_wide_as_the_columns_that_it_spans() -> None:
    heads = (Heading("a", group="both"), Heading("treatment", group="both"), Heading("b"))
    grid = word._grid(JournalTable("1", "T", heads, (Row("x", ("1", "2", "3")),)))
    label, *widths = map(int, re.findall(r'gridCol w:w="(\d+)"', grid))
    first = [int(width) for width in re.findall(r'tcW w:w="(\d+)"', grid.partition("</w:tr>")[0])]
    assert first == [label, widths[0] + widths[1], widths[2]]


PAINTED = figure("lines", (300.0, 200.0), "Two lines", "A line and another.", lambda canvas: {})


def test_all_files_or_none(tmp_path: Path) -> None:
    document = replace(full_document(), figures=(PAINTED,), warnings=(Check.fact("a", 2, "It is weak."),))
    formats = check_formats("html, tex,docx,xlsx,csv,rtf,pdf,png", tmp_path)
    written, out = write_files(document, tmp_path / "out", formats), tmp_path / "out"
    names = {f"table-{table.name}.csv" for table in journal_tables(document)} | {"estimates.json", "warnings.md"}
    names |= {f"tables.{form}" for form in ("html", "tex", "docx", "xlsx", "rtf")}
    names |= {f"lines.{form}" for form in ("svg", "pdf", "png")}
    assert {path.name for path in written} == {path.name for path in out.iterdir()} == names
    assert "It is weak." in (out / "warnings.md").read_text(encoding="utf-8")
    assert (out / "lines.png").read_bytes()[:4] == b"\x89PNG"
    assert (out / "lines.pdf").read_bytes()[:4] == b"%PDF"
    (tmp_path / "file").write_text("here first")
    refuses("cannot be written", lambda: write_files(document, tmp_path / "file", ("json",)))
    (tmp_path / "taken" / "tables.tex").mkdir(parents=True)
    refuses("cannot be written", lambda: write_files(document, tmp_path / "taken", ("json", "tex")))
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["tables.tex"]
    refuses("hc9", lambda: write_files(document, tmp_path / "none", ("json",), "hc9"))
    assert not (tmp_path / "none").exists()


def test_figures_stand_inside_the_word_file_with_300_dots_an_inch_and_it_names_nobody_and_no_day() -> None:
    document = replace(full_document(), figures=(PAINTED,))
    content = word_tables(document, journal_tables(document))
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        assert {part.date_time for part in package.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    file = docx.Document(io.BytesIO(content))
    (shape,) = file.inline_shapes
    assert (shape.width.pt, shape.height.pt) == (pytest.approx(300, abs=1), pytest.approx(200, abs=1))
    (part,) = [part for part in file.part.package.iter_parts() if "media" in part.partname]
    assert (part.image.px_width, part.image.px_height) == (1250, 833)
    heads = [paragraph.text for paragraph in file.paragraphs if paragraph.style.name == "Heading 2"]
    assert heads[-1] == "Two lines"
    assert [head.partition(".")[0] for head in heads[:3]] == ["Table 1", "Table 2", "Table 3"]
    listed = [paragraph.text for paragraph in file.paragraphs if paragraph.style.name == "Normal"]
    assert [table.caption for table in journal_tables(document)] == listed[: len(journal_tables(document))]
    assert ' TOC \\o "1-2"' in file.element.xml
    sizes = [file.styles[name].font.size.pt for name in ("Normal", "Heading 2", "Heading 1", "Title")]
    assert (sorted(set(sizes)), file.styles[CELL].paragraph_format.line_spacing.pt) == (sizes, sizes[0] + 0.5)
    said = file.core_properties
    assert (said.title, said.author, said.comments, said.last_modified_by) == ("icr: tables", "", "", "")
    assert (said.created, said.modified) == (None, None)


def exact() -> Document:
    document = full_document()
    names = ("estimate", "se", "statistic", "pvalue", "lower", "upper")

    def longer(record: Record) -> Record:
        return replace(record, **{name: None if (value := getattr(record, name)) is None else value * (1 + 1e-7 * j)
                                  for j, name in enumerate(names, start=1)})  # fmt: skip

    return replace(document, records=tuple(map(longer, document.records)))


def numbers_of(document: Document) -> np.ndarray:
    names = ("estimate", "se", "statistic", "pvalue", "lower", "upper", "nobs", "units", "periods")
    held = {getattr(record, name) for record in document.records for name in names}
    held |= {one.estimate for one in document.statistics}
    return np.array([float(value) for value in held if value is not None])


def test_a_workbook_and_csv_files_hold_numbers_in_full_beside_what_tables_print() -> None:
    document = exact()
    tables, known = journal_tables(document), numbers_of(document)
    book = openpyxl.load_workbook(io.BytesIO(xlsx_tables(document, tables)))
    files = csv_tables(document, tables)
    assert [sheet.title for sheet in book] == [f"Table {table.name}" for table in tables]
    seen = 0
    for table, sheet, content in zip(tables, book.worksheets, files.values(), strict=True):
        first = int(sheet.freeze_panes.removeprefix("B"))
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))[1:]
        assert len(lines) == len(table.rows)
        for row, cells, line in zip(table.rows, sheet.iter_rows(min_row=first), lines, strict=False):
            for text, cell, written in zip(row.cells or [""] * (len(line) - 1), cells[1:], line[1:], strict=True):
                assert displayed(cell) == text
                if isinstance(cell.value, int | float):
                    seen += 1
                    derived = table.name.startswith(("S", "C"))  # sums and quotients
                    assert derived or np.abs(known - cell.value).min() <= 1e-14 * abs(cell.value)
                    assert float(written) == cell.value
                else:
                    assert written == text
    assert seen > 800
    assert list(csv.reader(io.StringIO(files["table-1.csv"].decode("utf-8-sig"))))[1][-1] == "1001"
    assert book["Table 1"].cell(3, 6).value == 1001


def test_a_csv_file_says_what_a_row_holds() -> None:
    document = exact()
    for brackets, said in (("se", "standard error"), ("t", "t statistic"), ("p", "p value"), ("ci", "95% interval")):
        styled = replace(document, style=Style(brackets=brackets))
        text = csv_tables(styled, journal_tables(styled))["table-2.csv"].decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text)))
        assert (rows[0][1], rows[2][0]) == ("Pooled OLS (1)", f"eip ({said})")
    mixed = JournalTable(
        "2", "T", (Heading("a"), Heading("b")), (Row("x", ("1", "2")), Row("", ("[0, 1]", "(3)"), "error"))
    )
    lines = csv_tables(document, [mixed])["table-2.csv"].decode().splitlines()
    assert lines[-1] == 'x (95% interval / standard error),"[0, 1]",(3)'


def test_a_csv_file_of_a_table_without_a_name_is_called_by_its_title_and_none_is_lost() -> None:
    tables = [JournalTable(name, title, (Heading("a"),), (Row("x", ("1",)),))
              for name, title in (("", "Agreement with a/b: 5%"), ("Q", "One"), ("Q", "Two"))]  # fmt: skip
    assert list(csv_tables(full_document(), tables)) == [
        "table-agreement-with-a-b-5.csv", "table-Q.csv", "table-Q-3.csv"
    ]  # fmt: skip


def test_warnings_show_names_as_they_are_where_markdown_has_marks() -> None:
    said = "<b>a*</b> & 5% of x_y, _z_, `c`, \\ and &lt; (p < .001) in [inference](1)"
    text = warnings_text(replace(full_document(), warnings=(Check.fact("a", 2, said),)))
    assert "- \\<b>a\\*\\</b> & 5% of x_y, \\_z\\_, \\`c\\`, \\\\ and \\&lt; (p < .001) in [inference]\\(1)\n" in text


def test_a_heading_in_latex_is_as_wide_as_what_stands_below_it() -> None:
    """A table of ten columns such as that of staggered adoption ran to the edge of the page."""
    labels = ("not yet treated, doubly robust", "Two-way DID", "Holm p", "Sun-Abraham")
    table = JournalTable("S", "T", tuple(map(Heading, labels)), (Row("x", ("0.0160***",) * 4),))
    boxes = re.findall(r"parbox\[b\]\{([\d.]+)em\}\{\\raggedleft (.*?)\}", latex_tables(Document(FACTS, ()), [table]))
    assert [words for _, words in boxes] == list(labels[:2])
    assert all(4 < float(width) < 6 for width, _ in boxes)


def test_formats_are_checked_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert check_formats("json") == ("json",)
    assert check_formats("docx,html", tmp_path) == ("json", "docx", "html")
    assert check_formats("HTML", tmp_path) == ("json", "html")
    assert check_formats("xlsx,csv,rtf,pdf,png", tmp_path) == ("json", "xlsx", "csv", "rtf", "pdf", "png")
    for text, words in (("odt", "odt.*json"), ("", "format"), ("html", "--out")):
        refuses(words, check_formats, text)
    monkeypatch.setattr("results.tables.word.find_spec", lambda name: None)
    refuses(r"python-docx.*panelproof\[tables\]", lambda: check_formats("docx", tmp_path))


def test_a_zero_has_no_sign_in_tables_and_workbooks() -> None:
    """As the largest value of a control that is minus a 0/1 variable."""
    cells = (digits(-0.0), decimals(-0.0), count(-0.0), coefficient(replace(full_document().records[0], estimate=-0.0)))
    table = JournalTable("1", "T", (Heading("a"), Heading("b"), Heading("c"), Heading("d")), (Row("x", cells),))
    sheet = openpyxl.load_workbook(io.BytesIO(xlsx_tables(full_document(), [table]))).active
    assert [cell.rstrip("*") for cell in cells] == ["0.0000", "0.000", "0", "0.0000"]
    assert [displayed(sheet.cell(3, j)) for j in range(2, 6)] == list(cells)


@pytest.mark.parametrize("p", [1e-9, 0.00005, 0.0213])
@pytest.mark.parametrize("styled", [False, True])
def test_a_workbook_shows_p_values_in_brackets_as_the_table_does(p: float, styled: bool) -> None:
    """Of a test statistic, and of a coefficient where brackets hold p values."""
    record = replace(full_document().records[0], se_type="estimate" if styled else CHI_SQUARE, pvalue=p)
    text = bracket(record, style=Style(brackets="p" if styled else "se"))
    table = JournalTable("1", "T", (Heading("1"),), (Row("LM", ("9.000",)), Row("", (text,), "error")))
    sheet = openpyxl.load_workbook(io.BytesIO(xlsx_tables(full_document(), [table]))).active
    assert (displayed(sheet.cell(4, 2)), sheet.cell(4, 2).value) == (text, p)


def test_a_label_that_begins_as_a_formula_is_a_text() -> None:
    texts = ["=1+1", "#N/A", "=A1"]
    table = JournalTable("1", "T", (Heading("1", texts[2]),), (Row(texts[0], ("0.5",)), Row(texts[1], (texts[2],))))
    sheet = openpyxl.load_workbook(io.BytesIO(xlsx_tables(full_document(), [table]))).active
    cells = [cell for row in sheet for cell in row if cell.value in texts]
    assert (len(cells), {cell.data_type for cell in cells}) == (4, {"s"})


@pytest.mark.parametrize("year", [1970, 2108])
def test_a_day_that_no_zip_can_name_is_said_before_any_work(year: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", lambda *_: time.struct_time((year, 1, 1, 0, 0, 0, 3, 1, 0)))
    for form in ("docx", "xlsx"):
        refuses(f"the clock of this machine says {year}", table_formats()[form].check)
    table_formats()["csv"].check()


@pytest.mark.parametrize(("name", "line"), [("GDP\r\n(CNY)", "GDP (CNY)"), ("d\tt \n", "d t "), ("  x", "  x")])
def test_a_name_of_several_lines_is_one_line_in_a_table(name: str, line: str) -> None:
    """As heads of spreadsheets have it."""
    assert Style().name(name) == Style(labels={"y": name}).name("y") == line


def test_hyphens_and_grave_accents_of_names_are_no_signs_of_latex() -> None:
    assert escape("a--b---c `d") == r"a-{}-b-{}-{}-c \textasciigrave{}d"
