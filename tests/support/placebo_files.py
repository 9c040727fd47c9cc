"""A panel as a researcher's file with its spec, and the command that holds it against placebos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sim import Panel

SPEC = """
[panel]
unit = "unit"
period = "year"
outcome = "y"
treatment = "park"
controls = ["inv", "road"]
groups = ["province"]
longitude = "lon"
latitude = "lat"

[[weights]]
kind = "knn"
k = 4
"""


def write(folder: Path, panel: Panel, spec: str = SPEC) -> tuple[str, str]:
    """A panel as a researcher's file with its spec."""
    rng = np.random.default_rng(1)
    places = rng.uniform([100, 20], [120, 40], (len(panel.units), 2))
    lines = ["unit,year,y,park,inv,road,province,lon,lat"]
    for i, unit in enumerate(panel.units):
        for t, year in enumerate(panel.periods):
            values = [repr(float(panel.variables[name][0, t, i])) for name in ("y", "did", "inv", "road")]
            place = [f"{value:.5f}" for value in places[i]]
            lines.append(",".join([unit, str(year), *values, str(panel.attributes["province"][i]), *place]))
    (folder / "panel.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "spec.toml").write_text(spec, encoding="utf-8")
    return str(folder / "panel.csv"), str(folder / "spec.toml")


def command(files: tuple[str, str], *options: object) -> list[object]:
    return ["placebo", files[0], "--spec", files[1], *options]
