"""What a table must print, as plain text, and how what was printed is held against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

Head = tuple[str, str, str]  # group, number, label
Line = tuple[str, tuple[str, ...] | None]  # label and cells; None: a heading inside the table


@dataclass(frozen=True)
class Sheet:
    """A table: says are parts that its notes must have, in this order; errors are the error types that they name."""

    caption: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    says: tuple[str, ...] = ()
    errors: tuple[str, ...] | None = None
    appendix: bool = False


@dataclass(frozen=True)
class Printed:
    """A table, or a part of one, as it was read back from a file."""

    caption: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    notes: str


CONTINUED = " (continued)"


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


def check(sheet: Sheet, parts: Sequence[Printed], widest_label: int | None = None) -> None:
    """Assert that the parts of a table together hold its heads, every cell of it, and its notes.

    widest_label: letters after which the format cuts labels of rows off, with an ellipsis in the last place.
    """
    first = 0
    blocks = joined(parts)
    for block in blocks:
        columns = range(first, first + len(block.heads))
        assert block.heads == sheet.heads[columns.start : columns.stop], sheet.caption
        expected = sheet.lines if len(blocks) == 1 else _selected(sheet.lines, columns)
        wanted = [(_cut(label, widest_label if cells is not None else None), cells) for label, cells in expected]
        for line, printed in zip(wanted, block.lines, strict=False):
            assert printed == line, f"{sheet.caption}\nmust be  {line}\nprinted  {printed}"
        assert len(block.lines) == len(wanted), sheet.caption
        first = columns.stop
    assert first == len(sheet.heads), f"{sheet.caption}: columns are missing"
    _check_notes(sheet, blocks[-1].notes)


def _selected(lines: Sequence[Line], columns: range) -> list[Line]:
    """Lines of some columns, without those of which all cells are empty and headings that nothing stands under."""
    kept = [(label, None if cells is None else tuple(cells[j] for j in columns)) for label, cells in lines]
    kept = [(label, cells) for label, cells in kept if cells is None or any(cells)]
    return [line for j, line in enumerate(kept)
            if line[1] is not None or (j + 1 < len(kept) and kept[j + 1][1] is not None)]  # fmt: skip


def _cut(label: str, widest: int | None) -> str:
    label = label.rstrip()
    text = label if widest is None or len(label) <= widest else f"{label[: widest - 1]}…"
    return plain(text)


def _check_notes(sheet: Sheet, notes: str) -> None:
    at = 0
    for said in sheet.says:
        found = notes.find(said, at)
        assert found >= 0, f"{sheet.caption}\nmust say {said!r}\nsays     {notes!r}"
        at = found + len(said)
    if sheet.errors is None:
        return
    named = [part.replace(";", ",").partition(":")[0] for part in _after(notes.replace("B", "b"), "brackets, ")]
    assert len(named) == len(sheet.errors), (sheet.caption, notes)
    assert all(name.startswith(error) for name, error in zip(named, sheet.errors, strict=True)), (sheet.caption, named)


def _after(text: str, words: str) -> list[str]:
    return text.split(f"tandard errors in {words}")[1:]
