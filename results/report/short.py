"""The short report of a terminal: the question, the answer, and of each claim the rows that matter, on one screen."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import pandas as pd
from rich.console import Console
from rich.text import Text

from results.diagnosis.diagnose import Diagnosis
from results.report.answer import Answer
from results.report.brief import brief_sentence
from results.report.facts import ReportFacts
from results.report.short_tables import ShortTable, own_tables, short_table

MOST_LINES = 58  # of a report; a command may add where its files are
MOST_SAID = 12  # lines of the answer and what is expected
LONG = 4  # lines of a sentence, of which a brief one takes two or three
BRIEF = frozenset({"bias", "coverage", "size"})  # measures that have such sentences
LEAST_ROWS = 2  # of a table; where fewer fit it is left out
AROUND = 3  # lines of a table besides its rows: a blank one, the title and the heads
MARKED = ("Marks: ! fails, ? cannot be told, ~ detectable but too small to matter. Monte Carlo errors are in the full "
          "report.")  # fmt: skip


def print_short(
    diagnosis: Diagnosis, table: pd.DataFrame, found: Answer, head: Sequence[Text], console: Console, command: str,
    facts: ReportFacts | None,
) -> None:  # fmt: skip
    """Print at most `MOST_LINES` lines.

    table: the bias table. head: the lines that name the study and its question. command: what prints the rest.
    """
    width = console.width
    lines = [*_wrapped(head, width), *_answer_lines(found, "" if facts is None else facts.expected, diagnosis, width)]
    tables = [short_table(part, diagnosis.cells) for part in found.claims]
    tables += own_tables(table, diagnosis.own)
    room = MOST_LINES - len(lines) - 1 - len(_wrapped([Text(MARKED), Text(_left_out(99, 99, command))], width))
    counts = shared_out([len(table.rows) for table in tables], room)
    for item, rows in zip(tables, counts, strict=True):
        if rows:
            lines += ["", *_table_lines(item, rows, width)]  # type: ignore[list-item]
    lines += ["", *_closing(tables, counts, command, width)]  # type: ignore[list-item]
    for line in lines[:MOST_LINES]:
        console.print(line, crop=True, no_wrap=True, overflow="crop")


def shared_out(rows: Sequence[int], room: int) -> list[int]:
    """How many rows of each table fit into so many lines: evenly, and none of a table that gets too few."""
    counts = [0] * len(rows)
    for place, many in enumerate(rows):
        least = min(many, LEAST_ROWS)
        if many and room >= least + AROUND:
            counts[place], room = least, room - least - AROUND
    while room > 0 and any(0 < count < many for count, many in zip(counts, rows, strict=True)):
        for place, many in enumerate(rows):
            if room > 0 and 0 < counts[place] < many:
                counts[place] += 1
                room -= 1
    return counts


def _wrapped(items: Sequence[Text], width: int) -> list[Text]:
    lines = []
    for item in items:
        parts = wrap(item.plain, width, subsequent_indent="  ", break_on_hyphens=False) or [""]
        lines += [Text(part, style=item.style) for part in parts]
    return lines


def _answer_lines(found: Answer, expected: str, diagnosis: Diagnosis, width: int) -> list[Text]:
    """Failures, then a sentence a claim, then what a reader must know beside them, and what the study expects.

    Where they are more than `MOST_SAID` lines, long sentences are told in brief, as the tables have their numbers, and
    what is expected gives way to the answer.
    """
    first = [Text(f"- {text}", style="yellow") for text in (found.failures, found.nothing) if text]
    last = [Text(f"- {note}", style="yellow" if place else "") for place, note in enumerate(found.notes)]
    beside = _wrapped([Text(f"Expected: {expected}", style="dim")], width) if expected else []
    said = [Text(f"- {part.sentence}", style="bold") for part in found.claims]
    lines = _wrapped([*first, *said, *last], width)
    if len(lines) + len(beside) <= MOST_SAID:
        return lines + beside
    for place, part in enumerate(found.claims):
        if part.claim.measure in BRIEF and len(_wrapped([said[place]], width)) > LONG:
            said[place] = Text(f"- {brief_sentence(part.claim, part.verdicts, diagnosis.alpha)}", style="bold")
    shorter = _wrapped([*first, *said, *last], width)
    return shorter if len(shorter) < len(lines) else lines + beside


def _table_lines(table: ShortTable, count: int, width: int) -> list[Text]:
    """The title, the heads and the first rows; names are shortened where the width asks for it."""
    rows = table.rows[:count]
    widths = [max(len(row[place]) for row in (table.heads, *rows)) for place in range(len(table.heads))]
    spare = sum(widths) + 2 * (len(widths) - 1) - width
    for place in sorted(range(table.names), key=lambda place: -widths[place]):
        cut = min(max(spare, 0), max(widths[place] - 12, 0))
        widths[place], spare = widths[place] - cut, spare - cut
    of = f" ({count} of {len(table.rows)} rows, {table.first} first)" if count < len(table.rows) else ""

    def line(row: Sequence[str]) -> str:
        cells = [_fitted(text, wide, left=place < table.names)
                 for place, (text, wide) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        return "  ".join(cells).rstrip()

    return [Text(f"{table.title}{of}", style="bold"), Text(line(table.heads), style="dim"),
            *(Text(line(row)) for row in rows)]  # fmt: skip


def _fitted(text: str, wide: int, *, left: bool) -> str:
    text = text if len(text) <= wide else f"{text[: wide - 2]}.."
    return text.ljust(wide) if left else text.rjust(wide)


def _closing(tables: Sequence[ShortTable], counts: Sequence[int], command: str, width: int) -> list[Text]:
    """What marks mean and what is left out, with the command that shows it."""
    rows = sum(len(table.rows) - count for table, count in zip(tables, counts, strict=True) if count)
    gone = sum(not count for count in counts)
    marks = [Text(MARKED, style="dim")] if any(counts) else []
    return _wrapped([*marks, Text(_left_out(rows, gone, command), style="dim")], width)


def _left_out(rows: int, tables: int, command: str) -> str:
    parts = [f"{count} {name}{'s' * (count != 1)}" for count, name in ((rows, "row"), (tables, "table")) if count]
    what = f"{' and '.join(parts)} of this page, and " if parts else ""
    return f"Left out: {what}all measures of every cell; `{command}` prints them."


def replications_of(table: pd.DataFrame) -> str:
    """How many replications the cells have, in words."""
    attempted = table["attempted"].dropna()
    count = "no" if attempted.empty else f"{int(attempted.min()):,}"
    if not attempted.empty and attempted.min() != attempted.max():
        count += f" to {int(attempted.max()):,}"
    return f"{count} replication{'s' * (count != '1')}"
