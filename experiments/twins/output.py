"""What `panelproof twin` prints and writes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.placebo.output import check_folder
from experiments.twins.fidelity import misses
from experiments.twins.twin import Twin
from experiments.twins.worlds import FILE
from results.report.trust import fidelity_page
from sim.panel_sidecars import write_beside

CAUTION = (
    "A twin shows how estimators perform in the world that was fitted. Its adoption is as good as the fitted one. Its "
    "trends are parallel unless a trend gap is set. Rankings of estimators can mislead where the fitted "
    "model is wrong, so compare methods and read what each twin misses."
)


def document(found: Twin) -> dict[str, Any]:
    """Every number that is shown, as plain data."""
    return {
        "twins": [
            {
                "method": twin.method,
                "parameters": [
                    {
                        "dial": item.dial,
                        "value": item.value,
                        "se": item.se if np.isfinite(item.se) else None,
                        "statistic": item.what,
                        "raw": item.raw,
                    }
                    for item in twin.parameters
                ],
                "effect": twin.tables["design"]["effect"]["size"],
                "joint": twin.joint,
                "null": twin.null,
                "notes": list(twin.notes),
                "misses": list(misses(twin.fidelity)),
            }
            for twin in found.all
        ],
        "fidelity": [row.record for twin in found.all for row in twin.fidelity],
    }


def print_twin(found: Twin, console: Console) -> None:
    """Fitted parameters beside the panel's own statistics, and what each twin misses."""
    for twin in found.all:
        console.print(Text(f"Twin by the method {twin.method}", style="bold"))
        table = Table("dial", "fitted", "standard error", "panel's own", "statistic", box=None, pad_edge=False)
        for item in twin.parameters:
            error = f"{item.se:.2g}" if np.isfinite(item.se) else ""
            table.add_row(item.dial, f"{item.value:.4g}", error, f"{item.raw:.4g}", item.what)
        console.print(table)
        console.print(Text(f"effect in the twin: {twin.tables['design']['effect']['size']:.4g}"))
        inside = sum(row.inside for row in twin.fidelity)
        console.print(Text(f"{inside} of {len(twin.fidelity)} features of the panel lie within the band of its twins."))
        console.print(Text(f"Joint test of the residuals' features: p = {twin.joint:.3g}."))
        for sentence in misses(twin.fidelity):
            console.print(Text(f"It misses: {sentence}", style="yellow"))
        for note in twin.notes:
            console.print(Text(note, style="yellow"))
        console.print()
    console.print(Text(CAUTION))


def write_twin(found: Twin, folder: str | Path) -> list[Path]:
    """Write design.toml (design-METHOD.toml for further methods), panel.parquet, fidelity.json and fidelity.html.

    Raises BadInput, before anything is written, where the folder cannot be.
    """
    folder = Path(folder)
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    held = document(found)
    files: dict[str, Callable[[Path], object]] = {FILE: lambda path: write_beside(found.held, path)}
    for twin in found.all:
        name = "design.toml" if twin is found.all[0] else f"design-{twin.method}.toml"
        files[name] = _text(tomli_w.dumps(twin.tables))
    files["fidelity.json"] = _text(json.dumps(held["fidelity"], indent=1, ensure_ascii=False) + "\n")
    files["fidelity.html"] = _text(fidelity_page(held, CAUTION))
    for name, write in files.items():
        waiting = folder / f".{name}.partial"
        write(waiting)
        os.replace(waiting, folder / name)
    return [folder / name for name in files]


def _text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text, encoding="utf-8")
