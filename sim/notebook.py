"""What objects show of themselves in a notebook: a small table of HTML that is read on light and on dark pages.

It holds no script, no colour of letters and no other file, and all that it shows is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

MOST_ROWS = 20  # of a table; the rest is counted
MOST_LETTERS, MOST_SAID = 200, 800  # of a fact or a cell, and of a note
MINUS = "\N{MINUS SIGN}"
LINE = "1px solid rgba(128,128,128,.35)"
CELL = 'style="text-align:{};padding:1px 8px"'


def card(title: str, facts: Iterable[tuple[str, object]] = (), heads: Sequence[str] = (),
         rows: Iterable[Sequence[object]] = (), notes: Iterable[str] = (),
         answer: Iterable[str] = ()) -> str:  # fmt: skip
    """A title, the answer in sentences, facts (name, value; None and "" are left out), a table, and notes, as HTML.

    rows: as many values as heads; numbers stand at the right. Of many rows the first ones are shown.
    """
    parts = [f"<div><strong>{escape(title)}</strong></div>"]
    parts += [f"<div>{_text(sentence, MOST_SAID)}</div>" for sentence in answer]
    parts += [_facts(facts), _table(heads, list(rows))]
    parts += [f'<div style="opacity:.8">{_text(note, MOST_SAID)}</div>' for note in notes]
    return f'<div style="font-size:90%;line-height:1.4">{"".join(parts)}</div>'


def shown(value: object) -> str:
    """A number with four significant digits and a true minus sign, a lone dash where there is none; else the text."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, float):
        text = f"{value:.4g}" if math.isfinite(value) else "\N{EN DASH}"
        return text.replace("-", MINUS)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def preformatted(text: str) -> str:
    """Text whose columns stand under one another, as HTML."""
    return f'<pre style="line-height:1.3;white-space:pre;overflow-x:auto">{escape(text)}</pre>'


class Text(str):
    """Text that a notebook and a Python prompt show as it is printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return preformatted(self)


def _text(value: object, most: int = MOST_LETTERS) -> str:
    text = shown(value)
    return escape(text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}")


def _facts(facts: Iterable[tuple[str, object]]) -> str:
    found = [(name, value) for name, value in facts if value is not None and value != ""]
    return "".join(
        f'<div><span style="opacity:.7">{escape(name)}:</span> {_text(value)}</div>' for name, value in found
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return ""
    sides = ["right" if isinstance(value, int | float) else "left" for value in rows[0]]
    head = "".join(f"<th {CELL.format(side)}>{escape(name)}</th>" for side, name in zip(sides, heads, strict=True))
    lines = [f'<tr style="border-bottom:{LINE}">{head}</tr>']
    for row in rows[:MOST_ROWS]:
        cells = "".join(f"<td {CELL.format(side)}>{_text(value)}</td>" for side, value in zip(sides, row, strict=True))
        lines.append(f"<tr>{cells}</tr>")
    more = len(rows) - MOST_ROWS
    rest = f'<div style="opacity:.7">and {more:,} more</div>' if more > 0 else ""
    return f'<table style="border-collapse:collapse;margin:.3em 0">{"".join(lines)}</table>{rest}'
