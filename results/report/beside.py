"""Tests beside the terms, such as one of pre-trends: how often they reject, and what estimates are worth that pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from results.diagnosis.diagnose import Diagnosis
from results.report.bias_table import bias_table, key_terms
from results.report.numbers import bracketed, fixed, percent, share_text

REJECTION = "rejection:"
NOT_JUDGED = (
    "Rejections by tests beside the terms are never marked, because the report does not know where their "
    "null hypothesis is true."
)


@dataclass(frozen=True, slots=True)
class Beside:
    """How often a test beside an estimator's terms rejects in a cell, in percent with its Monte Carlo error."""

    cell: int
    estimator: str
    test: str
    rejects: str


@dataclass(frozen=True, slots=True)
class Passing:
    """One sentence on the fits of an estimator in a cell that pass its screen."""

    cell: int
    estimator: str
    sentence: str


def side_tests(diagnosis: Diagnosis) -> list[Beside]:
    """Every test that was made, in the order of cells, estimators and tests."""
    frame = diagnosis.frame[diagnosis.frame["measure"].str.startswith(REJECTION) & (diagnosis.frame["n"] > 0)]
    columns = ("cell", "estimator", "measure", "value", "mcse", "lower", "upper")
    return [
        Beside(cell, name, _name(measure.removeprefix(REJECTION)), share_text(*share))
        for cell, name, measure, *share in zip(*(frame[key] for key in columns), strict=True)
    ]


def passing_fits(diagnosis: Diagnosis) -> Iterator[Passing]:
    """Bias and coverage of each screened estimator's first term, over the fits that pass and over all."""
    passing, own = (_first_rows(bias_table(diagnosis, sample=sample)) for sample in ("passing", "own"))
    for cell in range(len(diagnosis.cells)):
        for name, layout in diagnosis.layouts.items():
            place = cell, name, key_terms(layout)[0]
            if layout.screen and place in own and place in passing and passing[place]["n"]:
                sentence = _sentence(passing[place], own[place], _name(layout.screen), diagnosis.alpha)
                yield Passing(cell, name, sentence)


def _name(statistic: str) -> str:
    return statistic.removesuffix("_p")


def _first_rows(table: pd.DataFrame) -> dict[tuple[int, str, str], dict[Any, Any]]:
    """The row of the first error type by cell, estimator and term."""
    rows: dict[tuple[int, str, str], dict[Any, Any]] = {}
    for row in table.to_dict("records"):
        rows.setdefault((row["cell"], row["estimator"], row["term"]), row)
    return rows


def _sentence(passing: dict[Any, Any], own: dict[Any, Any], test: str, alpha: float) -> str:
    form = fixed((own["truth"], own["mean_estimate"]), passing["bias_mcse"])
    fits, term, level = f"{int(passing['n']):,}", passing["term"], f"{100 * (1 - alpha):g}%"
    bias, of_all = (bracketed(row["bias"], row["bias_mcse"], form) for row in (passing, own))
    covered, by_all = (percent(row, "coverage") for row in (passing, own))
    return (f"in the {fits} fits that pass {test}, the bias of {term} is {bias} (all fits: {of_all}) and "
            f"{level} intervals cover {covered} (all fits: {by_all})")  # fmt: skip
