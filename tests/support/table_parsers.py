"""Tables read back from a terminal, a page, a LaTeX file, a Word file and an RTF file; a cell of a workbook."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

Head = tuple[str, str, str]  # group, number, label
Line = tuple[str, tuple[str, ...] | None]  # label and cells; None: a heading inside the table

NUMBER = re.compile(r"\(\d+\)")
CELL = re.compile(r"\S+(?: \S+)*")
WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


@dataclass(frozen=True)
class Printed:
    """A table, or a part of one, as it was read back from a file."""

    caption: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    notes: str


def plain(text: str) -> str:
    """Text with one kind of minus and of space, without spaces at its ends."""
    return text.replace("\N{MINUS SIGN}", "-").replace("\N{EM SPACE}", " ").replace("\N{NO-BREAK SPACE}", " ").strip()


def joined(parts: Sequence[Printed]) -> list[Printed]:
    """Parts with the same columns, as pages are, as one; parts with other columns stay apart."""
    found: list[Printed] = []
    for part in parts:
        if found and found[-1].heads == part.heads:
            whole = found.pop()
            part = replace(whole, lines=whole.lines + part.lines, notes=part.notes)
        found.append(part)
    return found


def heads_of(rows: Sequence[Sequence[str]]) -> tuple[Head, ...]:
    """Group, number and label of every column from the lines of a heading."""
    numbers = next((j for j, row in enumerate(rows) if any(row) and all(NUMBER.fullmatch(x) for x in row if x)), None)
    if numbers is None:
        groups, labels = (rows[0], rows[1]) if len(rows) > 1 else (None, rows[0])
        return tuple((groups[j] if groups else "", "", label) for j, label in enumerate(labels))
    above = rows[0] if numbers else [""] * len(rows[0])
    below = rows[numbers + 1] if len(rows) > numbers + 1 else [""] * len(rows[0])
    return tuple(zip(above, rows[numbers], below, strict=True))


def from_terminal(text: str) -> list[Printed]:
    """Tables of a terminal's text: every block of lines with rules."""
    blocks = re.split(r"\n\n", text)
    return [_terminal_table(lines) for lines in (block.splitlines() for block in blocks) if _is_table(lines)]


def _is_rule(line: str) -> bool:
    return bool(line) and set(line) == {"─"}


def _is_table(lines: Sequence[str]) -> bool:
    return any(_is_rule(line) for line in lines)


def _terminal_table(lines: Sequence[str]) -> Printed:
    rules = [j for j, line in enumerate(lines) if _is_rule(line)]
    top, middle, last = rules[0], rules[1], rules[-1]
    head, body = lines[top + 1 : middle], lines[middle + 1 : last]
    labels = _label_width(head, body)
    spanned = next((j for j, line in enumerate(head) if "─" in line), None)
    plain_head = list(head if spanned is None else head[spanned + 1 :])
    rows = [line for j, line in enumerate(body) if not _is_rule(line) and not _is_heading(body, j, middle, lines)]
    columns = _columns([line[labels:] for line in [*plain_head, *rows]])
    parsed: list[Line] = []
    for j, line in enumerate(body):
        if _is_heading(body, j, middle, lines):
            parsed.append((plain(line), None))
        elif not _is_rule(line):
            parsed.append((plain(line[:labels]), _in_columns(line[labels:], columns)))
    heads = _terminal_heads(head, spanned, plain_head, columns, labels)
    return Printed(" ".join(lines[:top]), heads, tuple(parsed), " ".join(" ".join(lines[last + 1 :]).split()))


def _is_heading(body: Sequence[str], j: int, middle: int, lines: Sequence[str]) -> bool:
    """Whether a line is a heading: a rule stands above it, and no cells behind it."""
    above = _is_rule(lines[middle + j])
    return above and not _is_rule(body[j]) and "  " not in body[j].strip()


def _label_width(head: Sequence[str], body: Sequence[str]) -> int:
    """Where labels end: before the first column of any line."""
    starts = [found.start() for line in head if (found := CELL.search(line))]
    for line in body:
        cells = [match.start() for match in CELL.finditer(line)]
        labelled = bool(line[:3].strip())
        starts += cells[labelled : labelled + 1] if not _is_rule(line) else []
    return min(starts) if starts else 0


def _columns(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Places of columns: what overlaps from line to line."""
    spans = sorted(match.span() for line in lines for match in CELL.finditer(line))
    columns: list[tuple[int, int]] = []
    for start, end in spans:
        if columns and start < columns[-1][1]:
            columns[-1] = columns[-1][0], max(end, columns[-1][1])
        else:
            columns.append((start, end))
    return columns


def _in_columns(line: str, columns: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    return tuple(plain(line[start:end]) for start, end in columns)


def _terminal_heads(head: Sequence[str], spanned: int | None, below: Sequence[str],
                    columns: Sequence[tuple[int, int]], labels: int) -> tuple[Head, ...]:  # fmt: skip
    lines = [_in_columns(line[labels:], columns) for line in below]
    numbered = bool(lines) and all(NUMBER.fullmatch(cell) for cell in lines[0] if cell) and any(lines[0])
    words = [" ".join(filter(None, (line[j] for line in lines[numbered:]))) for j in range(len(columns))]
    words = [word.replace("- ", "-") for word in words]  # lines break behind hyphens too
    numbers = lines[0] if numbered else ("",) * len(columns)
    groups = [""] * len(columns)
    if spanned is not None:
        for match in re.finditer("─+", head[spanned]):
            name = plain(head[spanned - 1][match.start() : match.end()])
            for j, (start, _) in enumerate(columns):
                if match.start() <= start + labels < match.end():
                    groups[j] = name
    return tuple(zip(groups, numbers, words, strict=True))


class _Page(HTMLParser):
    """Rows of a page's tables as (kind, text, span) cells, with captions and notes in between."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[dict[str, list[list[tuple[str, int]]]]] = []
        self.captions: list[str] = []
        self.notes: list[str] = []
        self._part, self._text, self._wanted, self._span, self._number = "", "", "", 1, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = dict(attrs)
        if tag == "table":
            self.tables.append({"thead": [], "tbody": []})
        if tag in ("thead", "tbody"):
            self._part = tag
        if tag == "tr":
            self.tables[-1][self._part].append([])
        if tag in ("td", "th", "h3") or (tag == "p" and about.get("class") == "notes"):
            self._wanted, self._text, self._span = tag, "", int(about.get("colspan") or 1)
        self._number = tag == "span" and about.get("class") == "number"

    def handle_data(self, data: str) -> None:
        self._text += f"{data}\n" if self._number else data

    def handle_endtag(self, tag: str) -> None:
        self._number = False
        if tag != self._wanted:
            return
        self._wanted = ""
        if tag == "h3":
            self.captions.append(self._text)
        elif tag == "p":
            self.notes.append(plain(self._text))
        else:
            self.tables[-1][self._part][-1].append((self._text, self._span))


def from_html(text: str) -> list[Printed]:
    """Tables of a page."""
    page = _Page()
    page.feed(text)
    assert len(page.captions) == len(page.tables) == len(page.notes)
    return [_html_table(*found) for found in zip(page.captions, page.tables, page.notes, strict=True)]


def _html_table(caption: str, table: dict[str, list[list[tuple[str, int]]]], notes: str) -> Printed:
    *above, last = [[text for text, span in row for _ in range(span)][1:] for row in table["thead"]]
    split = [text.partition("\n") if "\n" in text else ("", "", text) for text in last]
    groups = above[0] if above else [""] * len(last)
    heads = tuple((plain(group), number, label) for group, (number, _, label) in zip(groups, split, strict=True))
    return Printed(plain(caption), heads, _lines(table["tbody"]), notes)


def _lines(rows: Sequence[Sequence[tuple[str, int]]]) -> tuple[Line, ...]:
    """Lines from cells with spans: a heading is one cell over all columns."""
    return tuple((plain(row[0][0]), None) if len(row) == 1 else (plain(row[0][0]), tuple(plain(x) for x, _ in row[1:]))
                 for row in rows)  # fmt: skip


_LATEX = (
    (r"{[}", "["), (r"{]}", "]"), (r"$-$", "-"), (r"$\times$", "×"), (r"$^{2}$", "²"), (r"$\rho$", "ρ"),
    (r"$\lambda$", "λ"), (r"$\sigma$", "σ"), (r"$\theta$", "θ"), (r"$\chi$", "χ"), (r"$<$", "<"), (r"$>$", ">"),
    (r"$^{*}$", "*"), (r"\_", "_"), (r"\%", "%"), (r"\&", "&"), (r"\#", "#"), (r"\quad", " "),
)  # fmt: skip


def _latex_text(text: str) -> str:
    for sign, letter in _LATEX:
        text = text.replace(sign, letter)
    text = re.sub(r"\\stars\{(\**)\}", r"\1", text)
    text = re.sub(r"\\rlap\{([)\]])\}", r"\1", text)
    text = re.sub(r"\\parbox\[b\]\{[\d.]+em\}\{\\raggedleft (.*)\}", r"\1", text)
    text = re.sub(r"\\textit\{(.*)\}", r"\1", text)
    assert "\\" not in text, text
    return plain(text)


def from_latex(text: str) -> list[Printed]:
    """Tables of a LaTeX file, each float by itself."""
    return [_latex_table(part.partition(r"\end{table}")[0]) for part in re.split(r"\\begin\{table\}", text)[1:]]


def _latex_table(text: str) -> Printed:
    found = re.search(r"\\caption\*\{(.*)\}\n", text)
    assert found is not None
    tabular = text.partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    head, _, body = tabular.partition("\\midrule\n")
    heads = [[text for text, span in row for _ in range(span)][1:] for row in _latex_rows(head)]
    notes = re.search(r"\\item (.*)\n\\end\{tablenotes\}", text)
    lines = _lines(list(_latex_rows(body)))
    return Printed(_latex_text(found[1]), heads_of(heads), lines, _latex_text(notes[1]) if notes else "")


def _latex_rows(text: str) -> Iterator[list[tuple[str, int]]]:
    for line in text.splitlines():
        if line.endswith(r"\\"):
            yield [_latex_cell(cell) for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))]


def _latex_cell(text: str) -> tuple[str, int]:
    spanned = re.fullmatch(r"\s*\\multicolumn\{(\d+)\}\{[lc]\}\{(.*)\}\s*", text)
    return (_latex_text(spanned[2]), int(spanned[1])) if spanned else (_latex_text(text), 1)


def from_word(content: bytes) -> list[Printed]:
    """Tables of a Word file with the paragraphs before and behind each."""
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        body = ElementTree.fromstring(package.read("word/document.xml")).find(f"{WORD}body")
    assert body is not None
    parts = list(body)
    tables = [j for j, part in enumerate(parts) if part.tag == f"{WORD}tbl"]
    assert all(b - a > 1 for a, b in pairwise(tables))
    return [_word_table(_word_text(parts[j - 1]), parts[j], _word_text(parts[j + 1])) for j in tables]


def _word_text(element: ElementTree.Element) -> str:
    return plain("".join(text.text or "" for text in element.iter(f"{WORD}t")))


def _word_table(caption: str, table: ElementTree.Element, notes: str) -> Printed:
    head: list[list[tuple[str, int]]] = []
    body: list[list[tuple[str, int]]] = []
    for row in table.iter(f"{WORD}tr"):
        cells = []
        for cell in row.iter(f"{WORD}tc"):
            span = cell.find(f"{WORD}tcPr/{WORD}gridSpan")
            cells.append((_word_text(cell), 1 if span is None else int(span.attrib[f"{WORD}val"])))
        (head if row.find(f"{WORD}trPr/{WORD}tblHeader") is not None else body).append(cells)
    heads = [[text for text, span in row for _ in range(span)][1:] for row in head]
    return Printed(caption, heads_of(heads), _lines(body), notes)


def displayed(cell: Any) -> str:
    """A cell as a spreadsheet shows it: texts as they are, numbers by the format."""
    if not isinstance(cell.value, int | float):
        return str(cell.value or "")
    sections = cell.number_format.split(";")
    section = sections[1] if cell.value < 0 and len(sections) > 1 else sections[0]
    found = re.fullmatch(r'((?:"[^"]*")?)(-?)([#,0]*)(\.0+)?(E\+0)?((?:"[^"]*")?)', section)
    assert found is not None, section
    before, minus, whole, part, exponent, behind = (text or "" for text in found.groups())
    places, size = max(len(part) - 1, 0), abs(cell.value)
    body = "" if not whole else f"{size:.{places}e}" if exponent else f"{size:{',' * ('#' in whole)}.{places}f}"
    if exponent:
        mantissa, _, power = body.partition("e")
        body = f"{mantissa}e{int(power)}"
    return before.strip('"') + minus + body + behind.strip('"')


def from_rtf(text: str) -> list[Printed]:
    """Tables of an RTF file, each with its caption and notes."""
    captions = list(re.finditer(r"\\outlinelevel1\{\\b (.*)\}\\par", text))
    ends = [*(match.start() for match in captions[1:]), len(text)]
    return [_rtf_table(_rtf_text(match[1]), text[match.end() : end])
            for match, end in zip(captions, ends, strict=True)]  # fmt: skip


def _rtf_table(caption: str, text: str) -> Printed:
    rows = [line for line in text.splitlines() if line.startswith(r"\trowd")]
    edges = [[int(edge) for edge in re.findall(r"\\cellx(\d+)", row)] for row in rows]
    columns = max(edges, key=len)
    head, body = [], []
    for row, own in zip(rows, edges, strict=True):
        texts = [_rtf_text(cell) for cell in re.findall(r"\\intbl\\q[lc] (.*?)\\cell(?!x)", row)]
        spans = [columns.index(edge) - (columns.index(own[j - 1]) if j else -1) for j, edge in enumerate(own)]
        (head if r"\trhdr" in row else body).append(list(zip(texts, spans, strict=True)))
    heads = [[cell for cell, span in row for _ in range(span)][1:] for row in head]
    notes = " ".join(_rtf_text(note) for note in re.findall(r"\\pard\\sb60\\fs\d+ (.*)\\par", text))
    return Printed(caption, heads_of(heads), _lines(body), notes)


def _rtf_text(text: str) -> str:
    text = re.sub(r"\{\\(?:super|i|b) (.*?)\}", r"\1", text)
    text = re.sub(r"\\u(-?\d+)\?", lambda found: chr(int(found[1]) % 65536), text).replace(r"\~", " ")
    return plain(re.sub(r"\\([\\{}])", r"\1", text))
