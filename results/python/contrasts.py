"""Paired contrasts of two estimators in every cell of a grid."""

from __future__ import annotations

from typing import Any

import pandas as pd

from estimators.core.inference import usual_error
from results.diagnosis.contrast import Target, contrast
from results.diagnosis.diagnose import Diagnosis
from results.report.bias_table import key_terms
from results.store.block import Records
from results.store.labelled import label
from sim.errors import bad, closest, one_of


def contrasts(
    diagnosis: Diagnosis, records: Records, a: str | Target, b: str | Target, cell: int | None = None
) -> pd.DataFrame:
    """A minus B of `results.diagnosis.contrast` in every cell or in one, a row a cell and measure under its dials.

    a, b: (estimator, term, error type), or an estimator for its key term and usual errors. Raises BadInput.
    """
    one, other = (_target(records, each, name) for name, each in (("a", a), ("b", b)))
    if cell is not None and cell not in range(len(records.cells)):
        raise bad(f"no cell {cell}", where="contrast", allowed=f"0 to {len(records.cells) - 1}",
                  remedy="choose one of them, or leave cell out")  # fmt: skip
    frames = []
    for number in range(len(records.cells)) if cell is None else [cell]:
        found = contrast(records, one, other, number, diagnosis.alpha)
        labels = [_shown(value) for value in records.cells[number].values()]
        levels: list[Any] = [pd.Index([value] * len(found), name=name)
                             for name, value in zip(diagnosis.parameters, labels, strict=True)]  # fmt: skip
        frames.append(found.set_index([*levels, "measure"]))
    return pd.concat(frames)


def _shown(value: object) -> object:
    """A dial's value as an index has it: numbers and texts as they are."""
    return value if isinstance(value, int | float | str) else label(value)


def _target(records: Records, given: str | Target, argument: str) -> Target:
    """A triple as it is; of an estimator its key term and its usual error type."""
    if not isinstance(given, str):
        if len(given) != 3:
            raise bad(f"{given!r}", where=f"contrast {argument}", remedy="give one of the two",
                      allowed="an estimator, or (estimator, term, error type)")  # fmt: skip
        return given
    if given not in records.layouts:
        raise bad(f"no estimator {given!r}", where=f"contrast {argument}", allowed=one_of(records.layouts),
                  remedy=closest(given, records.layouts))  # fmt: skip
    layout = records.layouts[given]
    return given, key_terms(layout)[0], usual_error(layout.errors)
