"""Panels from data frames: a long table of one row a unit and period; `long_table` says what its columns may hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from sim.panel.long_table import (
    TREATMENT,
    Missing,
    Rows,
    missing_columns,
    number_problems,
    numbers,
    read_table,
    shown,
    treatment_problems,
    unit_labels,
)
from sim.panel.panel import Panel
from sim.panel.schema import Roles

__all__ = [
    "TREATMENT",
    "Missing",
    "Reading",
    "Rows",
    "missing_columns",
    "number_problems",
    "numbers",
    "read_long",
    "shown",
    "treatment_problems",
    "unit_labels",
]


@dataclass(frozen=True, slots=True)
class Reading:
    """A panel and what was left out on the way.

    dropped: rows with a missing value, by the first column that misses one. absent: unit-periods of the rectangle that
    are not observed, dropped rows included. order: all units of the table in its order, also those without a row left.
    """

    panel: Panel
    dropped: Mapping[str, int]
    absent: int
    order: tuple[str, ...]


def read_long(
    frame: pd.DataFrame,
    *,
    unit: str,
    period: str,
    roles: Roles,
    attributes: Sequence[str] | Mapping[str, str] = (),
    missing: Missing = "error",
    variables: Sequence[str] | None = None,
) -> Reading:
    """A panel of the columns that `roles` and `variables` name, units in the table's order, periods sorted.

    The treatment becomes the variable `did`. `attributes` are columns that are constant within units, as a list or as
    attribute -> column. `variables` are columns without a role; None = none, or every numeric column when `roles` is
    empty. A row with a missing value is an error or, with missing = "drop", unobserved; a unit-period without a row is
    unobserved, and units or periods with no row at all are left out. Raises BadInput for columns that lack or are used
    twice, repeated unit-periods, text, infinities, gaps, fewer than two units or periods, attributes that vary, and a
    treatment that is not 0/1, switches off, or does not vary; `frame.attrs["called"]` is what messages call columns.
    """
    table = read_table(frame, unit, period, roles, attributes, missing, variables)
    panel = Panel(**table.parts)
    absent = len(panel.units) * len(panel.periods) - panel.nobs
    return Reading(panel, table.dropped, absent, table.order)
