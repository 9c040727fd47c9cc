"""What `panelproof trust` prints and writes."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from estimators.core.error_types import error_label
from results.report.trust import interval, marked, number, probability, share, trust_page

WIDTH, NAME = 80, 23  # columns of the terminal, and of the name of a check
LINES = 45
STYLES = {"supported": "bold green", "not decided": "bold yellow", "contradicted": "bold red", "no claim": "bold"}
LABEL = 33  # letters of an error type
MOST = 12  # lines of checks in the terminal


def write_trust(held: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Write trust.json and trust.html."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "trust.json": (json.dumps(held, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
        "trust.html": trust_page(held).encode(),
    }
    for name, content in files.items():
        waiting = folder / f".{name}.partial"
        waiting.write_bytes(content)
        os.replace(waiting, folder / name)
    return [folder / name for name in files]


def print_trust(held: Mapping[str, Any], console: Console) -> None:
    """The page in the terminal, at most 45 lines of 80 columns: the verdict, what to print, power, checks."""
    said = textwrap.wrap(held["verdict"]["line"], WIDTH)
    for line in said:
        console.print(Text(line, style=STYLES[held["verdict"]["answer"]]), soft_wrap=True)
    lines = [line for part in (_sentences(held), _errors(held), _power(held), _checks(held), _rest(held))
             for line in part]  # fmt: skip
    room = LINES - len(said)
    if len(lines) > room:
        lines = [*lines[: room - 1], "More: trust.html and trust.json."]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _wrapped(text: str, first: str = "- ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent="  ")


def _sentences(held: Mapping[str, Any]) -> Iterator[str]:
    for sentence in held["verdict"]["sentences"]:
        yield from _wrapped(sentence)


def _errors(held: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'standard errors':<36}{'size':>7}{'95% interval':>16}{'s.e.':>10}{'p':>9}"
    for row in held["errors"]:
        mark = " -" if not row["allowed"] else " *" if row["recommended"] else ""
        ends = interval(row["lower_size"], row["upper_size"], share)
        label = error_label(row["se_type"])
        label = label if len(label) <= LABEL else row["se_type"]  # as --errors takes it
        yield (f"{label + mark:<36}{share(row['size']):>7}{ends:>16}"
               f"{number(row['se']):>10}{probability(row['pvalue']):>9}")  # fmt: skip
    tests = "".join(f", by permutation ({one['scheme']}) {probability(one['pvalue'])}" for one in held["placebos"])
    yield from _wrapped(f"* to print, - not to be printed here. p calibrated on the twins "
                        f"{probability(held['calibrated']['pvalue'])}{tests}", "")  # fmt: skip


def _power(held: Mapping[str, Any]) -> Iterator[str]:
    mde = held["mde"]
    at = ", ".join(f"{share(row['power'])} at {words}" for words, row in marked(held))
    yield from _wrapped(f"Power {share(mde['power'])} at {number(mde['value'])} ({number(mde['lower'])} to "
                        f"{number(mde['upper'])}); {at}", "")  # fmt: skip


def _checks(held: Mapping[str, Any]) -> Iterator[str]:
    """Checks that re-estimate, the most serious first; no "needed" where no effect is claimed."""
    if held["verdict"]["answer"] == "no claim":
        return
    rows = [row for row in held["checks"] if row["difference"] is not None]
    if rows:
        yield f"{'the effect':<{NAME}} {'needs':>8} {'found':>9} {'95% jointly':>21}  answer"
    lines = [_check(row) for row in rows]
    shown = next((k for k in range(len(lines)) if sum(map(len, lines[: k + 1])) > MOST), len(lines))
    yield from (line for part in lines[:shown] for line in part)
    if shown < len(rows):
        yield f"{len(rows) - shown} more in trust.html"


def _check(row: Mapping[str, Any]) -> list[str]:
    """The lines of a check: its numbers, and what is left of a long name below."""
    first, *more = textwrap.wrap(row["alternative"] or row["name"], NAME, subsequent_indent="  ")
    ends = interval(row["lower"], row["upper"], number)
    numbers = f"{number(row['needed']):>8} {number(row['difference']):>9} {ends:>21}"
    return [f"{first:<{NAME}} {numbers}  {row['answer']}", *more]


def _rest(held: Mapping[str, Any]) -> Iterator[str]:
    for row in held["studies"]:
        vote = "" if row["votes"] else " (no vote)"
        yield from _wrapped(f"{row['method']}{vote}: {row['replications']:,} replications a cell, size "
                            f"{share(row['size'])}, calibrated p {probability(row['calibrated'])}", "")  # fmt: skip
