"""What `panelproof trust` prints and writes."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from estimators.core.error_types import error_label
from results.report.trust import GRADES, marked, number, probability, share, trust_page, trust_word

LINES, WIDTH = 45, 100
STYLES = {"holds": "bold green", "fragile": "bold yellow", "fails": "bold red"}


def write_trust(held: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Write trust.json, trust.html and, where the library for Word files is installed, trust.docx."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "trust.json": (json.dumps(held, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
        "trust.html": trust_page(held).encode(),
    }
    if find_spec("docx") is not None:
        files["trust.docx"] = trust_word(held)
    for name, content in files.items():
        waiting = folder / f".{name}.partial"
        waiting.write_bytes(content)
        os.replace(waiting, folder / name)
    return [folder / name for name in files]


def print_trust(held: Mapping[str, Any], console: Console) -> None:
    """The page in the terminal, at most 45 lines: the verdict, error types, power, threats."""
    console.print(Text(GRADES[held["verdict"]["grade"]], style=STYLES[held["verdict"]["grade"]]))
    lines = [line for part in (_verdict(held), _errors(held), _power(held), _threats(held), _rest(held))
             for line in part]  # fmt: skip
    if len(lines) > LINES - 1:
        lines = [*lines[: LINES - 2], "More: trust.html and trust.json."]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="- ", subsequent_indent=indent)


def _verdict(held: Mapping[str, Any]) -> Iterator[str]:
    for sentence in held["verdict"]["sentences"]:
        yield from _wrapped(sentence)


def _errors(held: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'standard errors':<46}{'size':>7}{'MC err.':>9}{'s.e.':>10}{'p':>9}"
    for row in held["errors"]:
        mark = " *" if row["recommended"] else ""
        yield (f"{error_label(row['se_type'])[:43] + mark:<46}{share(row['size']):>7}{share(row['mcse']):>9}"
               f"{number(row['se']):>10}{probability(row['pvalue']):>9}")  # fmt: skip
    tests = "".join(f", by permutation ({one['scheme']}) {probability(one['pvalue'])}" for one in held["placebos"])
    yield f"* recommended. p calibrated on the twins {probability(held['calibrated']['pvalue'])}{tests}"


def _power(held: Mapping[str, Any]) -> Iterator[str]:
    mde = held["mde"]
    at = ", ".join(f"{share(row['power'])} at {words}" for words, row in marked(held))
    yield f"Power {at}; {share(mde['power'])} at {number(mde['value'])}"


def _threats(held: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'threat':<36}{'needed':>10}{'found':>10}  overturns"
    for row in held["threats"]:
        yield (f"{row['name']:<36}{number(row['needed']):>10}{number(row['found']):>10}  "
               f"{'yes' if row['overturns'] else 'no'}")  # fmt: skip


def _rest(held: Mapping[str, Any]) -> Iterator[str]:
    for row in held["studies"]:
        yield (f"{row['method']}: {row['replications']:,} replications a cell, size {share(row['size'])}, power "
               f"{share(row['power'])}, calibrated p {probability(row['calibrated'])}")  # fmt: skip
