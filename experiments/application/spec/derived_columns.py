"""Columns that a spec derives from others: the treatment from its first period, unit means, whether a capital."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.errors import BadInput, Problem, bad, listed
from sim.panel import Panel
from sim.panel.frames import Rows, number_problems, numbers


def from_first_year(column: pd.Series[Any], rows: Rows) -> NDArray[np.float64]:
    """1 from a unit's first treated period on, else 0, (rows,); empty, infinite, or 0 before the first = never.

    Raises BadInput for text, fractions, several values within a unit, and values below 0 where no period is.
    """
    given, wrong = numbers(column)
    first = np.where(np.isinf(given), np.nan, given)
    if rows.years.min() > 0:
        first[first == 0] = np.nan  # the code for "never" of several programs
    problems = number_problems(first, wrong, column, rows)
    outside = np.flatnonzero(~np.isnan(first) & ((first != np.round(first, 0)) | (first < min(0, rows.years.min()))))
    if outside.size:
        problems.append(Problem(f"is {first[outside[0]]:g}", rows.at(int(outside[0]), str(column.name)),
                                "a period, or empty for never", "correct the cell"))  # fmt: skip
    grouped = pd.Series(first).groupby(rows.labels)
    distinct = grouped.nunique()
    if (distinct > 1).any():
        unit = distinct.index[distinct > 1][0]
        problems.append(Problem(f"the unit {unit} has several first treated periods", f"{rows.file}, column "
                                f"{column.name!r}", "one a unit", "keep the first"))  # fmt: skip
    if problems:
        raise BadInput(*problems)
    return np.asarray(rows.years >= grouped.transform("min").fillna(np.inf).to_numpy(), dtype=np.float64)


def unit_mean(column: pd.Series[Any], rows: Rows) -> NDArray[np.float64]:
    """Each row's mean of its unit, (rows,); raises BadInput for text."""
    values, wrong = numbers(column)
    problems = number_problems(values, wrong, column, rows)
    if problems:
        raise BadInput(*problems)
    return np.asarray(pd.Series(values).groupby(rows.labels).transform("mean"), dtype=np.float64)


def with_capital(panel: Panel, file: str, column: str | None) -> Panel:
    """The panel with the attribute `capital` as a bool; raises BadInput when the column is not 0/1."""
    if column is None:
        return panel
    values = panel.attributes["capital"]
    odd = [unit for unit, value in zip(panel.units, values, strict=True) if value not in (0, 1)]
    if odd:
        raise bad(f"is neither 0 nor 1 for {listed(odd)}", where=f"{file}, column {column!r}", allowed="0 or 1",
                  remedy="code capitals 1 and other units 0")  # fmt: skip
    return replace(panel, attributes={**panel.attributes, "capital": values.astype(bool)})
