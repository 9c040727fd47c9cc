"""Estimates on a real panel as records: every number that the tables show, with its table and column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from estimators.estimator import Estimates
from results.inference import critical_values, p_values

LEVEL = 0.05  # of the intervals

# Where a model stands in the paper: (table, column). Lee-Yu stands beside the direct transform.
PLACES: Mapping[str, tuple[str, int]] = {"did": ("2", 5), "sem": ("7", 1), "sar": ("7", 2), "sdm": ("7", 3)}


@dataclass(frozen=True, slots=True)
class Fit:
    """What was estimated: the model and all that distinguishes it from the same model elsewhere."""

    model: str
    transform: str | None = None
    sample: str = "all"
    weights: str | None = None
    year: int | None = None
    mediator: str | None = None

    @property
    def place(self) -> tuple[str, int]:
        """Table and column in the paper."""
        return PLACES[self.model]


@dataclass(frozen=True, slots=True)
class Record:
    """One number with its uncertainty."""

    table: str
    column: int
    model: str
    transform: str | None
    sample: str
    weights: str | None
    year: int | None
    mediator: str | None
    term: str
    estimate: float
    se: float | None
    se_type: str
    statistic: float | None
    pvalue: float | None
    lower: float | None
    upper: float | None
    nobs: int
    units: int
    periods: int
    effects_method: str | None = None


@dataclass(frozen=True, slots=True)
class Statistic:
    """One fit statistic."""

    table: str
    column: int
    model: str
    transform: str | None
    sample: str
    weights: str | None
    name: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Document:
    """All estimates on one panel: facts of the panel, records, fit statistics, and notes for the reader."""

    panel: Mapping[str, Any]
    records: tuple[Record, ...]
    statistics: tuple[Statistic, ...]
    notes: tuple[str, ...] = field(default=())
    failed: int = 0  # fits that gave no column; the notes say which and why

    def to_json(self) -> str:
        """The document as JSON (NaN as null)."""
        plain = {
            "panel": dict(self.panel),
            "records": [asdict(record) for record in self.records],
            "statistics": [asdict(statistic) for statistic in self.statistics],
            "notes": list(self.notes),
        }
        return json.dumps(plain, ensure_ascii=False, indent=1, allow_nan=False)


def records_of(fit: Fit, estimates: Estimates, nobs: int, units: int, periods: int) -> list[Record]:
    """One record a term and error type of the first panel of `estimates`."""
    table, column = fit.place
    estimate, se, dof = estimates.estimate[0], estimates.se[0], estimates.dof[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = estimate / se
    pvalue = p_values(statistic, dof)
    margin = critical_values(dof, LEVEL) * se
    return [
        Record(
            table, column, fit.model, fit.transform, fit.sample, fit.weights, fit.year, fit.mediator,
            term=term,
            estimate=float(estimate[k]),
            se=_number(se[e, k]),
            se_type=error,
            statistic=None if term == "sigma2" else _number(statistic[e, k]),  # sigma2 = 0 is no hypothesis
            pvalue=None if term == "sigma2" else _number(pvalue[e, k]),
            lower=_number(estimate[k] - margin[e, k]),
            upper=_number(estimate[k] + margin[e, k]),
            nobs=nobs,
            units=units,
            periods=periods,
            effects_method="delta" if ":" in term else None,
        )
        for e, error in enumerate(estimates.errors)
        for k, term in enumerate(estimates.terms)
    ]  # fmt: skip


def statistics_of(fit: Fit, estimates: Estimates) -> list[Statistic]:
    """The fit statistics of the first panel of `estimates`."""
    table, column = fit.place
    return [
        Statistic(table, column, fit.model, fit.transform, fit.sample, fit.weights, name, _number(values[0]))
        for name, values in estimates.statistics.items()
    ]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
