"""Pivot tables as pandas tables, with the dials' own values as labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd

from results.charts.grid import shown
from results.charts.measure import measures_of
from results.charts.terms import checked_term
from results.diagnosis.diagnose import Diagnosis
from results.pivots.pivot import ERROR, ESTIMATOR, TERM, Keys, Pivot, PivotCell, default_pivot, measure_named, pivot
from results.report.lead import lead_of
from sim.errors import bad, one_of

Number = Literal["value", "mcse", "lower", "upper", "n"]
PLACES = {ESTIMATOR: 1, TERM: 2, ERROR: 3}  # of a value's place
NUMBERS: tuple[Number, ...] = ("value", "mcse", "lower", "upper", "n")
SAMPLES = ("own", "common", "passing")


def table(diagnosis: Diagnosis, rows: Sequence[str], columns: Sequence[str], measure: str, *, term: str | None,
          number: Number, sample: str) -> pd.DataFrame:  # fmt: skip
    """One measure by dials, estimators, terms or error types. Raises BadInput, see `Shown.table`."""
    for name, value, allowed in (("number", number, NUMBERS), ("sample", sample, SAMPLES)):
        if value not in allowed:
            raise bad(f"{name} = {value!r}", where="table", allowed=one_of(allowed), remedy="choose one of them")
    checked_term(diagnosis, term, "table")
    asked, lead_term = lead_of(diagnosis)
    if measure:
        asked, lead_term = measure_named(measures_of(diagnosis), measure, "table, measure"), None
    term = term or lead_term
    if rows or columns or sample != "own":
        found = pivot(diagnosis, asked, rows, columns, term=term, sample=sample)
    else:
        found = default_pivot(diagnosis, asked, term)
    if found is None:
        raise bad(f"{asked.name} has no value in any cell", where="table, measure", allowed=asked.words,
                  remedy="choose another measure, term or sample")  # fmt: skip
    return frame_of(found, diagnosis, number)


def frame_of(found: Pivot, diagnosis: Diagnosis, number: Number = "value") -> pd.DataFrame:
    """A pivot table of one number of its cells; NaN where the measure is not defined."""
    down = _labels(diagnosis, found.down, found.rows, found.cells)
    across = _labels(diagnosis, found.across, found.columns, zip(*found.cells, strict=True))
    values = [[float("nan") if cell is None else float(getattr(cell.value, number)) for cell in row]
              for row in found.cells]  # fmt: skip
    if not found.across:
        across = pd.Index([found.measure.name])
    return pd.DataFrame(values, pd.RangeIndex(1) if not found.down else down, across)


def _labels(diagnosis: Diagnosis, names: Keys, keys: Sequence[Keys],
            lines: Iterable[Sequence[PivotCell | None]]) -> pd.Index:  # fmt: skip
    """The keys of rows or columns with the dials' values in place of their text."""
    found = []
    for _, line in zip(keys, lines, strict=True):
        cell = next(each for each in line if each is not None)  # a key is there because a value has it
        found.append(tuple(_label(diagnosis, cell, name) for name in names))
    if len(names) == 1:
        return pd.Index([label for (label,) in found], name=names[0])
    return pd.MultiIndex.from_tuples(found, names=list(names)) if names else pd.Index([])


def _label(diagnosis: Diagnosis, cell: PivotCell, name: str) -> object:
    if name in PLACES:
        return cell.value.place[PLACES[name]]
    value = diagnosis.cells[cell.value.place[0]].get(name)
    return value if isinstance(value, int | float | str) else shown(value)
