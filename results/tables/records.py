"""Estimates on a real panel as records: every number that the tables show, with its table and column.

A printed number goes one way: `Estimates` of an estimator -> `Record` (records_of, statistics_of; a ledger keeps them)
-> `FitColumn` (columns.fit_columns: the records of one fit) -> `Row` of a `JournalTable` -> a format. `Fit` says what
was estimated and where it stands; `Record` and `FitColumn` are fits with more fields, so that each of these facts is
declared once. Statistics are records too: a name and a number without uncertainty. estimates.json lists them apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from estimators.core.estimator import Estimates
from estimators.core.inference import critical_values, p_values
from results.tables.checks import Check, Specification
from results.tables.places import Place
from sim.arrays import Floats

LEVEL = 0.05  # of the intervals
AGREE = 1e-5  # relative difference up to which two programs give the same number
EFFECTS = ("direct", "indirect", "total")
NO_HYPOTHESIS = (("sigma2", "statistic"), ("sigma2", "pvalue"))  # sigma2 = 0 is none


@dataclass(frozen=True, slots=True)
class Fit:
    """What was estimated: where it stands, the model, and all that distinguishes it from the same model elsewhere.

    place: table and column (results.tables.places).
    """

    place: Place
    model: str
    transform: str | None = None
    sample: str = "all"
    weights: str | None = None
    year: int | None = None
    mediator: str | None = None

    @property
    def table(self) -> str:
        """The table's number."""
        return self.place[0]

    @property
    def column(self) -> int:
        """The column's number."""
        return self.place[1]

    @property
    def where(self) -> str:
        """Its place and sample, in words."""
        return f"Table {self.table}, column {self.column} ({self.sample})"

    @property
    def identity(self) -> dict[str, Any]:
        """Its fields as a fit alone, by name: equal for all numbers of one fit."""
        return {each.name: getattr(self, each.name) for each in fields(Fit)}

    @property
    def plain(self) -> dict[str, Any]:
        """All its fields as estimates.json names them."""
        rest = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "place"}
        return {"table": self.table, "column": self.column, **rest}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Fit):
    """One number of a fit: the estimate of a term with its uncertainty, or, where it has a name, a statistic.

    term: None for a statistic of the whole fit. se_type: an estimate has one record an error type.
    """

    term: str | None = None
    name: str = ""
    estimate: float | None
    se: float | None = None
    se_type: str = ""
    statistic: float | None = None
    pvalue: float | None = None
    lower: float | None = None
    upper: float | None = None
    nobs: int = 0
    units: int = 0
    periods: int = 0
    effects_method: str | None = None

    @property
    def value(self) -> float | None:
        """The number itself, of an estimate or a statistic."""
        return self.estimate


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture: the name of its file without ending, a title, what it shows in a sentence, and the SVG itself."""

    name: str
    title: str
    caption: str
    svg: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far another program's numbers are from ours: the largest relative difference among `compared` numbers."""

    table: str
    program: str
    what: str
    compared: int
    largest: float


@dataclass(frozen=True, slots=True)
class Document:
    """All estimates on one panel: facts of the panel, records, fit statistics, notes for the reader, figures.

    warnings: every check of the estimates, silent ones too; specifications: the ways in which the effect was estimated.
    """

    panel: Mapping[str, Any]
    records: tuple[Record, ...]
    statistics: tuple[Record, ...] = ()
    notes: tuple[str, ...] = field(default=())
    failed: int = 0  # fits that gave no column; the notes say which and why
    figures: tuple[Figure, ...] = ()
    cross_check: tuple[Agreement, ...] = ()
    warnings: tuple[Check, ...] = ()
    specifications: tuple[Specification, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 when another program gives other numbers, else 3 when a fit failed, else 0."""
        if any(agreement.largest > AGREE for agreement in self.cross_check):
            return 1
        return 3 if self.failed else 0

    @property
    def frame(self) -> pd.DataFrame:
        """The estimates as a table, a row each, with the names of estimates.json."""
        return pd.DataFrame([_estimate_in_json(record) for record in self.records])

    def to_json(self) -> str:
        """The document as JSON (NaN as null)."""
        plain: dict[str, Any] = {
            "panel": dict(self.panel),
            "warnings": [warning.plain for warning in self.warnings],
            "specifications": [one.plain for one in self.specifications],
            "records": [_estimate_in_json(record) for record in self.records],
            "statistics": [_statistic_in_json(record) for record in self.statistics],
            "notes": list(self.notes),
        }
        if self.cross_check:
            plain["cross_check"] = [asdict(agreement) for agreement in self.cross_check]
        return json.dumps(plain, ensure_ascii=False, indent=1, allow_nan=False)


def _estimate_in_json(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.plain.items() if name != "name"}


def _statistic_in_json(record: Record) -> dict[str, Any]:
    fit = Fit(**record.identity).plain
    return {**fit, "name": record.name, "value": record.value, "term": record.term}


def records_of(fit: Fit, estimates: Estimates, nobs: int, units: int, periods: int) -> list[Record]:
    """One record a term and error type of the first panel of `estimates`."""
    estimate, se, dof = estimates.estimate[0], estimates.se[0], estimates.dof[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = estimate / se
    margin = critical_values(dof, LEVEL) * se
    inference: dict[str, Floats] = {
        "se": se,
        "statistic": statistic,
        "pvalue": _stored(estimates.pvalue, p_values(statistic, dof)),
        "lower": _stored(estimates.lower, estimate - margin),
        "upper": _stored(estimates.upper, estimate + margin),
    }
    return [
        Record(
            **fit.identity,
            term=term,
            estimate=float(estimate[k]),
            se_type=error,
            **_inference(inference, term, e, k),
            nobs=nobs,
            units=units,
            periods=periods,
            effects_method="delta" if term.split(":")[0] in EFFECTS else None,
        )
        for e, error in enumerate(estimates.errors)
        for k, term in enumerate(estimates.terms)
    ]


def _inference(values: Mapping[str, Floats], term: str, e: int, k: int) -> dict[str, Any]:
    """What is known of an estimate under an error type, by name."""
    return {name: _number(found[e, k]) for name, found in values.items() if (term, name) not in NO_HYPOTHESIS}


def statistics_of(fit: Fit, estimates: Estimates) -> list[Record]:
    """The fit statistics of the first panel of `estimates`."""
    return [statistic_of(fit, name, float(values[0])) for name, values in estimates.statistics.items()]


def statistic_of(fit: Fit, name: str, value: float | None, term: str | None = None) -> Record:
    """A statistic of a fit, or of one of its terms; None or a value that is not finite: there is none."""
    return Record(**fit.identity, term=term, name=name, estimate=None if value is None else _number(value))


def clusters_of(error: str) -> str:
    """Name of the statistic that counts the clusters of an error type, of two groupings the fewer."""
    return f"clusters:{error.removeprefix('cluster:')}"


def _stored(kept: Floats | None, computed: Floats) -> Floats:
    """What an estimator gave itself, (E, K) of its first panel, and what follows from se and dof where it gave none."""
    return computed if kept is None else np.where(np.isnan(kept[0]), computed, kept[0])


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
