"""Tables in a terminal: ruled as in a journal, wide ones in blocks of columns, digits under digits."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from results.tables.chinese import notes_of, wording
from results.tables.journal_table import EVERY, JournalTable, TableSetting, named_tables
from results.tables.records import LEAST_SHOWN, MOST_LINES, Document, heading, sentences
from results.tables.typography import ascii_only, split_stars
from sim.errors import amount, visible

GAP = "  "
LABEL_WIDTH, HEAD_WIDTH = 30, 14  # of row labels, and of the lines into which a column's heading is broken
FEW, WIDER = 2, 46  # columns beside which there is room for longer labels
WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"  # signs of Chinese, its punctuation among them
OPENS, CLOSES = "（“《", "，。；：、？！）”》"  # punctuation that ends no line, and that begins none
WORD = rf"[^\s{WIDE}{OPENS}{CLOSES}]+"
PIECES = re.compile(rf"[{OPENS}]*(?:{WORD}(?: [-<=×/] {WORD})*|[{WIDE}])?[{CLOSES}]*\s*")  # that stay together
ROOM = 3  # behind the last digit, for stars or a bracket


class NamesConsole(Console):
    """A terminal on which names are text, those of a table's columns or in a store: "price [/kg]" is no markup, and
    what they hold moves no cursor and changes no colour."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False} | options)

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        """What is printed, in pieces, without control characters but those of rich."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


MAIN = ("2", "T")  # tables that are printed where nobody asks for others


def print_estimates(
    document: Document, tables: Sequence[JournalTable], console: Console, errors: str | None = None,
    shown: Sequence[str] = (),
) -> None:  # fmt: skip
    """The main effect, what must be known of it, the tables that are asked for, then the notes of the document.

    errors: the error type of the tables. shown: names of tables (`named_tables`), none = the main ones, or all
    where none of these is there; tables that are not shown are named in a line. One without a name, the agreement with
    other programs, is there because it was asked for, and is shown.
    """
    lacking = [name for name in shown if not named_tables(tables, [name])]
    shown = shown or (MAIN if named_tables(tables, MAIN) else (EVERY,))
    if headline := TableSetting(document, errors).headline:
        _say(console, wording(document)(headline), "bold")
        console.print()
    if document.warnings:
        _say(console, wording(document)(heading(document.warnings)), "bold")
        lengths = [len(textwrap.wrap(f"- {sentence}", console.width)) for sentence in sentences(document.warnings)]
        most = sum(total <= MOST_LINES for total in accumulate(lengths))
        for sentence in sentences(document.warnings, max(most, LEAST_SHOWN)):
            _say(console, f"- {sentence}", "yellow")
        console.print()
    named = named_tables(tables, shown)
    chosen = [table for table in tables if not table.name or table in named]
    for table in chosen:
        print_table(table, console)
    if lacking:
        _say(console, wording(document)(f"Neither panel nor spec gives a table {', '.join(lacking)}."))
    if EVERY not in shown and (rest := [table.name for table in tables if table not in chosen]):
        more = (
            f"{amount(len(rest), 'more table')}: {', '.join(rest)}. Name them after --tables, or write all with --out."
        )
        _say(console, wording(document)(more))
    for note, said in zip(document.notes, notes_of(document), strict=True):
        of_table = re.match(r"Table (\w+): ", note)
        if EVERY in shown or of_table is None or named_tables(chosen, [of_table[1]]):
            _say(console, said)


def print_table(table: JournalTable, console: Console) -> None:
    """A table within the console's width, in several blocks where it is wider."""
    for block in table.blocks(
        lambda part: _label_width(part) + sum(width + len(GAP) for width in _widths(part)) <= console.width
    ):
        _say(console, block.caption, "bold")
        for line, style in _lines(block):
            _say(console, line, style, wrap=False)
        for note in block.notes:
            _say(console, note, "dim")
        console.print()


def _say(console: Console, text: str, style: str = "", *, wrap: bool = True) -> None:
    shown = text if console.encoding.lower().startswith("utf") else ascii_only(text).replace("─", "-")
    wide = wrap and re.search(f"[{WIDE}]", shown) is not None
    lines = [""] if wide else [shown]
    for piece in PIECES.findall(shown) if wide else ():  # Chinese is broken between its signs, but before no stop
        if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > console.width:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        lines[-1] += piece.lstrip() if not lines[-1] else piece
    console.print(Text("\n".join(lines), style=style), soft_wrap=wide or not wrap)


def _label_width(table: JournalTable) -> int:
    longest = max((cell_len(row.label) for row in table.rows if row.kind != "head"), default=0)
    return min(longest, LABEL_WIDTH if len(table.columns) > FEW else WIDER)


def _widths(table: JournalTable) -> list[int]:
    """The width of every column: its cells, its heading in lines, and its share of a heading that spans several."""
    padded = _padded(table)
    widths = [
        max([cell_len(cells[j]) for cells in padded if cells] + [cell_len(line) for line in _heading(column.label)]
            + [len(column.number)])
        for j, column in enumerate(table.columns)
    ]  # fmt: skip
    first = 0
    for group, span in table.groups:
        short = cell_len(group) - sum(widths[first : first + span]) - len(GAP) * (span - 1)
        for step in range(max(short, 0)):
            widths[first + step % span] += 1
        first += span
    return widths


def _padded(table: JournalTable) -> list[tuple[str, ...]]:
    """Cells with room behind the last digit, where a cell of the table needs any."""
    if not any(cell.endswith(("*", ")")) for row in table.rows for cell in row.cells):
        return [row.cells for row in table.rows]
    padded = []
    for row in table.rows:
        cells = []
        for cell in row.cells:
            body, marks = split_stars(cell)
            behind = len(marks) + cell.endswith((")", "]"))
            cells.append(cell + " " * (ROOM - behind) if body else "")
        padded.append(tuple(cells))
    return padded


def _heading(label: str) -> list[str]:
    return textwrap.wrap(label, HEAD_WIDTH, break_long_words=False) if label else []


def _lines(table: JournalTable) -> list[tuple[str, str]]:
    """Lines of text with their styles: spanning headings, numbers, the columns' own headings, then the rows."""
    widths, label_width = _widths(table), _label_width(table)
    rule = "─" * (label_width + sum(width + len(GAP) for width in widths))
    start, heads = " " * label_width, []
    if table.groups:
        above, below, first = start, start, 0
        for group, span in table.groups:
            room = sum(widths[first : first + span]) + len(GAP) * (span - 1)
            left = max(room - cell_len(group), 0) // 2
            above += GAP + " " * left + group + " " * max(room - left - cell_len(group), 0)
            below += GAP + ("─" * room if group else " " * room)
            first += span
        heads += [above.rstrip(), below.rstrip()]
    if any(numbers := [column.number for column in table.columns]):
        heads.append(start + _joined(numbers, widths))
    headings = [_heading(column.label) for column in table.columns]
    depth = max(map(len, headings), default=0)
    for level in range(depth):
        at = [heading[level - depth + len(heading)] if level >= depth - len(heading) else "" for heading in headings]
        heads.append(start + _joined(at, widths))

    lines = [(rule, ""), *((line, "bold") for line in heads), (rule, "")]
    for number, (row, cells) in enumerate(zip(table.rows, _padded(table), strict=True)):
        lines += [(rule, "dim")] if number and (row.rule or row.kind == "head") else []
        label = row.label
        if row.kind != "head":
            label = label if cell_len(label) <= label_width else f"{label[: label_width - 1]}…"
            label += " " * (label_width - cell_len(label))
        lines.append((label + _joined(cells, widths), "italic" if row.kind == "head" else ""))
    return [*lines, (rule, "")]


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(GAP + " " * (width - cell_len(cell)) + cell for cell, width in zip(cells, widths, strict=False))
