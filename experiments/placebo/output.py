"""What `panelproof placebo` prints and writes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.placebo.placebo import Answer
from experiments.running.reporting import unwritable
from results.plots.placebo_plot import placebo_figure
from sim.errors import bad


def print_placebo(found: Answer, console: Console) -> None:
    """Failed placebos, the real estimate, its p value (or share) with its Monte Carlo error, interval and placebos."""
    ask = found.question
    console.print(Text(f"Placebo test of {ask.term}: {ask.estimator.name}, scheme {ask.scheme}", style="bold"))
    if found.failure_note:
        console.print(Text(found.failure_note, style="yellow"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, text in _lines(found):
        table.add_row(name, text)
    console.print(table)
    for note in found.notes:
        if note != found.failure_note:
            console.print(Text(note, style="yellow"))


def check_folder(folder: Path) -> None:
    """Raise BadInput, before any work and without making it, for a folder that could not be written."""
    if reason := unwritable(folder):
        raise bad(f"cannot be written: {reason}", where=str(folder), allowed="a writable folder",
                  remedy="choose another --out")  # fmt: skip


def write_placebo(found: Answer, folder: Path) -> list[Path]:
    """Write placebo.svg and placebo.json into a folder; raises BadInput when it cannot be written."""
    files = {
        "placebo.svg": placebo_figure(found.plot),
        "placebo.json": json.dumps(found.document, indent=1, ensure_ascii=False) + "\n",
    }
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        waiting = folder / f".{name}.partial"
        waiting.write_text(text, encoding="utf-8")
        os.replace(waiting, folder / name)
    return [folder / name for name in files]


def _lines(found: Answer) -> list[tuple[str, str]]:
    usable = found.usable
    kind = "estimate" if found.question.statistic == "raw" else "t statistic"
    if found.question.statistic == "studentised" and found.error != found.own_error:
        kind += f" with {found.error} errors, as for the placebos"
    name, value = found.plot.standing
    precision = "every assignment used" if found.question.exact else f"Monte Carlo error {found.mcse:.4f}"
    lines = [
        ("real estimate", f"{found.estimate:.6g}"),
        ("its own test", f"se {found.se:.4g} ({found.own_error}), p = {found.pvalue:.4g}"),
        (name, f"{value:.4f} ({precision}), two-sided on the {kind}"),
    ]
    if np.isfinite(found.lower) or np.isinf(found.lower):
        lines.append(("95% interval", f"{found.lower:.6g} to {found.upper:.6g}, by inversion of the test"))
    lines.append(("placebos", f"{usable.size:,} of {len(found.placebos):,} fitted"))
    if usable.size > 1:
        lines.append(("their mean, sd", f"{usable.mean():.4g}, {usable.std(ddof=1):.4g}"))
    lines += [(f"{100 * q:g}% quantile", f"{value:.4g}") for q, value in found.quantiles.items()]
    return lines
