"""A twin of a twin returns its parameters: 200 panels of one known design, a parametric twin of each."""

from __future__ import annotations

import tempfile
from pathlib import Path

import made_twins
import numpy as np
from made_twins import TRUTH

from experiments.twins.methods import fit_by
from experiments.twins.real import Real

PANELS = 200
SHARE, OF_SERIAL = 0.10, 0.02  # how far the mean of a parameter may lie from the truth


def main() -> bool:
    """The mean of each fitted parameter within 10% of the truth, the autoregression within .02."""
    found: dict[str, list[float]] = {dial: [] for dial in TRUTH}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(PANELS):
            fit = fit_by("parametric", Real.of(made_twins.drawn_panel(Path(folder), number)))
            values = {item.dial: item.value for item in fit.parameters}
            if "errors.serial 2" in values:  # one panel in twenty by chance: its first autocorrelation
                values["errors.serial"] = values["errors.serial 1"] / (1 - values["errors.serial 2"])
            for dial in TRUTH:
                found[dial].append(values[dial])
    holds = True
    for dial, truth in TRUTH.items():
        values = np.array(found[dial])
        within = OF_SERIAL if dial == "errors.serial" else SHARE * truth
        good = abs(values.mean() - truth) <= within
        holds &= bool(good)
        print(f"  {dial}: mean {values.mean():.4f} (standard error {values.std(ddof=1) / np.sqrt(len(values)):.4f}), "
              f"truth {truth:g}, allowed {within:g}{'' if good else '  !'}")  # fmt: skip
    return holds
