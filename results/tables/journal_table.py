"""A table as a journal prints it, in text alone: columns, rows and notes that every renderer shows alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

BETWEEN = 3  # letters' worth of space between columns on paper


@dataclass(frozen=True, slots=True)
class Heading:
    """A column of numbers. number: as printed above it, "(5)" or "". group: what neighbours with the same one share."""

    label: str
    number: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: one cell a column, or none for a heading inside the table; `rule` draws a line above it.

    kind: "value" for a number with a label, "error" for what belongs to the number above, "head" for a heading.
    Cells are text; a coefficient ends in its stars.
    """

    label: str
    cells: tuple[str, ...] = ()
    kind: Literal["value", "error", "head"] = "value"
    rule: bool = False


@dataclass(frozen=True, slots=True)
class JournalTable:
    """One table. name: "2", "7", "R", "A1"; appendix: whether it stands behind the others and not in the terminal."""

    name: str
    title: str
    columns: tuple[Heading, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    appendix: bool = False

    @property
    def caption(self) -> str:
        """Name and title; the title alone without a name."""
        return f"Table {self.name}. {self.title}" if self.name else self.title

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """Headings above neighbouring columns and how many each spans; empty when no column has one."""
        runs = tuple((group, len(list(run))) for group, run in groupby(column.group for column in self.columns))
        return runs if any(group for group, _ in runs) else ()

    @property
    def numbered(self) -> bool:
        """Whether a column has a number."""
        return any(column.number for column in self.columns)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Letters of the longest label, then of each column's longest cell or word of its heading."""
        labels = (len(row.label) for row in self.rows if row.kind != "head")
        return (max(labels, default=0), *(self._longest(j) for j in range(len(self.columns))))

    @property
    def width(self) -> int:
        """About how many letters it is wide on paper, with the space between columns."""
        columns, start, beyond = self.lengths[1:], 0, 0
        for group, span in self.groups:
            beyond += max(0, len(group) - sum(columns[start : start + span]) - BETWEEN * (span - 1))
            start += span
        return sum(self.lengths) + BETWEEN * len(columns) + beyond

    def _longest(self, j: int) -> int:
        words = (len(word) for word in (*self.columns[j].label.split(), self.columns[j].number))
        return max((*words, *(len(row.cells[j]) for row in self.rows if row.cells)), default=0)

    def select(self, wanted: Sequence[int]) -> JournalTable:
        """The same table with some of its columns; rows that are empty in all of them are left out."""
        rows = (row if row.kind == "head" else replace(row, cells=tuple(row.cells[j] for j in wanted))
                for row in self.rows)  # fmt: skip
        return replace(
            self,
            columns=tuple(self.columns[j] for j in wanted),
            rows=without_empty(row for row in rows if row.kind == "head" or any(row.cells)),
        )

    def blocks(self, fits: Callable[[JournalTable], bool]) -> tuple[JournalTable, ...]:
        """The table in parts with as many columns as fit, groups kept together where they can be."""
        pieces: list[list[int]] = []
        for _, run in groupby(range(len(self.columns)), lambda j: self.columns[j].group or j):
            wanted = list(run)
            pieces += [wanted] if fits(self.select(wanted)) else [[j] for j in wanted]
        parts: list[list[int]] = []
        for piece in pieces:
            if parts and fits(self.select(parts[-1] + piece)):
                parts[-1] += piece
            else:
                parts.append(piece)
        even = self._even(len(parts))
        parts = parts if self.groups or not all(fits(self.select(part)) for part in even) else even
        return (self,) if len(parts) < 2 else _continued(self, [self.select(part) for part in parts])

    def _even(self, parts: int) -> list[list[int]]:
        """Columns in `parts` runs of about the same length."""
        size = -(-len(self.columns) // parts)
        return [list(range(first, min(first + size, len(self.columns)))) for first in range(0, len(self.columns), size)]

    def pages(self, length: int) -> tuple[JournalTable, ...]:
        """The table in parts of `length` rows at most where headings allow it."""
        parts: list[list[Row]] = [[]]
        for block in _blocks(self.rows):
            if parts[-1] and len(parts[-1]) + len(block) > length:
                parts.append([])
            parts[-1] += block
        return _continued(self, [replace(self, rows=tuple(part)) for part in parts])


def _continued(whole: JournalTable, parts: Sequence[JournalTable]) -> tuple[JournalTable, ...]:
    """Parts that say that they go on, with the notes under the last."""
    titles = [whole.title, *(f"{whole.title} (continued)" for _ in parts[1:])]
    notes = [*(() for _ in parts[1:]), whole.notes]
    return tuple(replace(part, title=title, notes=said)
                 for part, title, said in zip(parts, titles, notes, strict=True))  # fmt: skip


def without_empty(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows without headings that nothing stands under."""
    return tuple(row for block in _blocks(tuple(rows)) for row in block if block[0].kind != "head" or len(block) > 1)


def _blocks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows from one heading to the next."""
    block: list[Row] = []
    for row in rows:
        if row.kind == "head" and block:
            yield block
            block = []
        block.append(row)
    if block:
        yield block
