"""The tables of a document as one RTF file, which every word processor opens: three-line tables and their notes."""

from __future__ import annotations

from collections.abc import Sequence

from results.tables.chinese import notes_of, wording
from results.tables.journal_table import JournalTable, TableFormat
from results.tables.records import Document
from results.tables.typography import split_stars, with_minus

FONT, POINTS = "Times New Roman", 9
LETTER, MARGIN = 92, 200  # twentieths of a point: mean width of a letter, what a column keeps free
PAGE, TURNED, EDGE = 11906, 16838, 1134  # twentieths of a point: short and long side of A4, its margins
RULE = r"\clbrdr{side}\brdrs\brdrw{width}"
HEAD = (
    rf"{{\rtf1\ansi\ansicpg1252\deff0\uc1{{\fonttbl{{\f0\froman {FONT};}}}}"
    rf"\paperw{PAGE}\paperh{TURNED}\margl{EDGE}\margr{EDGE}\margt{EDGE}\margb{EDGE}\f0\fs{2 * POINTS}"
)


def rtf_tables(document: Document, tables: Sequence[JournalTable]) -> str:
    """The file: tables with more columns than a page holds in parts, then the document's notes."""
    parts = [part for table in tables for part in table.blocks(lambda part: sum(_widths(part)) <= TURNED - 2 * EDGE)]
    body = "\n".join(_table(part, first=number == 0) for number, part in enumerate(parts))
    if document.notes:
        said = wording(document)("Notes")
        body += rf"\sect\sectd\pgwsxn{PAGE}\pghsxn{TURNED}" + "\n"
        body += "\n".join(
            rf"\pard {text}\par" for text in (rf"{{\b {escape(said)}}}", *map(escape, notes_of(document)))
        )
    return f"{HEAD}\n{body}\n}}\n"


def escape(text: str) -> str:
    """Text with special characters made harmless, and every letter beyond ASCII as the numbers of its 16-bit units."""
    plain = with_minus(text).replace("\\", "\\\\").replace("{", r"\{").replace("}", r"\}")
    units = plain.encode("utf-16-le")
    numbers = (int.from_bytes(units[at : at + 2], "little", signed=True) for at in range(0, len(units), 2))
    return "".join(chr(number) if 0 <= number < 128 else rf"\u{number}?" for number in numbers)


def _widths(table: JournalTable) -> list[int]:
    return [LETTER * length + MARGIN for length in table.lengths]


def _table(table: JournalTable, *, first: bool) -> str:
    """Caption, rows and notes, in a section that lies as wide as the table needs."""
    widths = _widths(table)
    wide = sum(widths) > PAGE - 2 * EDGE
    turned = rf"\lndscpsxn\pgwsxn{TURNED}\pghsxn{PAGE}" if wide else rf"\pgwsxn{PAGE}\pghsxn{TURNED}"
    section = rf"{'' if first else chr(92) + 'sect'}\sectd{'' if wide or first else chr(92) + 'sbknone'}{turned}"
    ends = [sum(widths[: j + 1]) for j in range(len(widths))]
    rows: list[tuple[list[str], list[int]]] = []  # of heads, repeated on every page: groups, numbers and headings
    if table.groups:
        spans, at = [0], 0
        for _, span in table.groups:
            at += span
            spans.append(at)
        rows.append((["", *(group for group, _ in table.groups)], [ends[j] for j in spans]))
    rows += [(["", *texts], ends) for texts in table.heads]
    heads = [_line([escape(text) for text in texts], own, top=18 * (j == 0), bottom=8 * (j == len(rows) - 1), head=True)
             for j, (texts, own) in enumerate(rows)]  # fmt: skip
    lines = [section, rf"\pard\keepn\sb240\outlinelevel1{{\b {escape(table.caption)}}}\par", *heads]
    last = len(table.rows) - 1
    for number, row in enumerate(table.rows):
        top, below = 6 * (row.rule or row.kind == "head"), 18 * (number == last)
        if row.kind == "head":
            lines.append(_line([rf"{{\i {escape(row.label)}}}"], [ends[-1]], top=top, bottom=below))
            continue
        label = rf"\~\~{escape(row.label.strip())}" if row.label.startswith("  ") else escape(row.label.strip())
        cells = [
            escape(body) + (rf"{{\super {stars}}}" if stars else "") for body, stars in map(split_stars, row.cells)
        ]
        lines.append(_line([label, *cells], ends, top=top, bottom=below))
    lines += [rf"\pard\sb60\fs{2 * POINTS - 2} {escape(note)}\par" for note in table.notes]
    return "\n".join([*lines, rf"\pard\fs{2 * POINTS}"])


def _line(cells: Sequence[str], ends: Sequence[int], *, top: int = 0, bottom: int = 0, head: bool = False) -> str:
    """A row: its cells with their right edges, and the width of the rules above and below it."""
    rules = "".join(RULE.format(side=side, width=width) for side, width in (("t", top), ("b", bottom)) if width)
    edges = "".join(rf"{rules}\cellx{end}" for end in ends)
    texts = "".join(rf"\pard\intbl{r'\ql' if j == 0 else r'\qc'} {text}\cell" for j, text in enumerate(cells))
    return rf"\trowd\trqc\trgaph70\trkeep{r'\trhdr' * head}{edges}{texts}\row"


FORMATS = (TableFormat("rtf", "tables.rtf", lambda document, tables, *_: rtf_tables(document, tables).encode("ascii")),)
