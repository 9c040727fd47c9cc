"""The warnings of `estimate` on the committed panel, and on panels made of it."""

from __future__ import annotations

from pathlib import Path

import made_cities
import numpy as np
import pandas as pd

from experiments.estimation import estimate
from results.tables.records import Check, Document

GROUPS = 'groups = ["province"]\n'
SPEC = f"""{made_cities.PANEL}
mediators = ["patents"]
{GROUPS}{made_cities.PLACES}
[inference]
draws = 99
[robustness]
outcomes = ["second"]
[[weights]]
kind = "file"
path = "w.csv"
"""


def of(document: Document, code: str) -> Check:
    """The one warning of a code."""
    (found,) = (warning for warning in document.warnings if warning.name == code)
    return found


def made(folder: Path, spec: str, table: pd.DataFrame | None = None) -> Document:
    return estimate(made_cities.real_panel(folder, spec, table))


def dummies(frame: pd.DataFrame, *effects: str, regressors: tuple[str, ...] = ("d", "road", "book")) -> float:
    """Coefficient of the treatment by least squares with a dummy a level of every effect."""
    blocks = [pd.get_dummies(frame[effect]).to_numpy(float) for effect in effects if effect != "trend"]
    if "trend" in effects:
        blocks.append(pd.get_dummies(frame["city"]).mul(frame["year"] - 2014, axis=0).to_numpy(float))
    design = np.column_stack([frame[list(regressors)].to_numpy(float), *blocks])
    return float(np.linalg.lstsq(design, frame["y"].to_numpy(float))[0][0])
