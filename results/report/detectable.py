"""Power over the effects of a grid, and the smallest effect that 80% of panels find, for each setting of the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from results.diagnosis.claims import POWER
from results.diagnosis.power_curve import told_effect
from results.report.bias_table import setting_text
from results.report.numbers import is_null
from results.report.verdicts import Judged, Verdict
from sim.arrays import Floats

LEAST_CHANGE = 0.2  # of the largest truth: what changes less is chance of the draws


@dataclass(frozen=True, slots=True)
class Curve:
    """Powers of one test at several effects, in cells that differ in nothing else.

    dial: the one that moves the effect; "" where there is none. setting: the other dials. cells: by size of the effect,
    the one without an effect included. mde: the smallest effect that is found with power `POWER`, with the ends of its
    95% Monte Carlo interval; NaN where the simulated effects do not tell. beyond: the mde is larger than every
    simulated effect.
    """

    dial: str
    setting: str
    cells: tuple[Judged, ...]
    mde: float
    lower: float
    upper: float
    beyond: bool

    @property
    def largest(self) -> Judged:
        """The cell of the largest effect."""
        return self.cells[-1]


def effect_dial(truths: Mapping[int, float], cells: Sequence[Mapping[str, object]]) -> str:
    """The dial along which the truth changes most while the others stand still; "" where none changes it by a fifth.

    truths: by cell, where they are known.
    """
    largest = max((abs(value) for value in truths.values()), default=0.0)
    spans = {}
    for name in dict.fromkeys(name for cell in cells for name in cell):
        groups = [[truths[cell] for cell in group if cell in truths] for group in _groups(name, cells)]
        spans[name] = max((max(group) - min(group) for group in groups if group), default=0.0)
    dial = max(spans, key=lambda name: spans[name], default="")
    return dial if dial and spans[dial] > LEAST_CHANGE * largest else ""


def curves(verdict: Verdict, cells: Sequence[Mapping[str, object]]) -> Iterator[Curve]:
    """The curve of a verdict on power for each setting of the other dials, in the order of the grid."""
    known = {item.cell: item for item in verdict.cells}
    dial = verdict.claim.over or effect_dial({cell: item.row["truth"] for cell, item in known.items()}, cells)
    for group in _groups(dial, cells):
        own = sorted((known[cell] for cell in group if cell in known), key=lambda item: abs(item.row["truth"]))
        if any(not is_null(item.row) for item in own):
            setting = {name: value for name, value in cells[own[0].cell].items() if name != dial}
            yield _curve(dial, setting_text(setting, cells), tuple(own))


def _curve(dial: str, setting: str, cells: tuple[Judged, ...]) -> Curve:
    effects = np.array([abs(item.row["truth"]) for item in cells])
    shares = np.array([item.value for item in cells])
    counts = np.array([_independent(item) for item in cells])
    found = told_effect(effects, shares, counts, _start(cells, effects), POWER)
    if found is None or not np.isfinite(found.value):
        return Curve(dial, setting, cells, np.nan, np.nan, np.nan, beyond=found is not None)
    return Curve(dial, setting, cells, found.value, found.lower, found.upper, beyond=False)


def _start(cells: tuple[Judged, ...], effects: Floats) -> float:
    """Where the search for the curve's standard deviation begins: that of the estimates, or a third of the effects.

    A test that estimates nothing has none.
    """
    spread = [item.row["empirical_se"] for item in cells if item.row["empirical_se"] > 0]
    return float(np.median(spread)) if spread else float(effects.max()) / 3


def _independent(item: Judged) -> float:
    """The number of independent fits whose share has the Monte Carlo error of a cell, which worlds may widen."""
    n, p = float(item.row["n_error"]), item.value
    return min(n, p * (1 - p) / item.mcse**2) if 0 < p < 1 and item.mcse > 0 else n


def _groups(dial: str, cells: Sequence[Mapping[str, object]]) -> list[list[int]]:
    """Cells that differ in nothing but a dial."""
    found: dict[str, list[int]] = {}
    for index, cell in enumerate(cells):
        found.setdefault(repr({name: value for name, value in cell.items() if name != dial}), []).append(index)
    return list(found.values())
