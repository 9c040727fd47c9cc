"""Estimates on a real panel as records: every number that the tables show, with its table and column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from estimators.core.estimator import Estimates
from results.inference import critical_values, p_values
from results.tables.places import Place

Floats = NDArray[np.float64]
LEVEL = 0.05  # of the intervals
AGREE = 1e-5  # relative difference up to which two programs give the same number
EFFECTS = ("direct", "indirect", "total")


@dataclass(frozen=True, slots=True)
class Fit:
    """What was estimated: where it stands, the model, and all that distinguishes it from the same model elsewhere.

    place: table and column (results.tables.places). effects_method: of direct, indirect and total effects.
    """

    place: Place
    model: str
    transform: str | None = None
    sample: str = "all"
    weights: str | None = None
    year: int | None = None
    mediator: str | None = None
    effects_method: str = "delta"


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
    term: str | None = None
    year: int | None = None
    mediator: str | None = None


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
    """All estimates on one panel: facts of the panel, records, fit statistics, notes for the reader, figures."""

    panel: Mapping[str, Any]
    records: tuple[Record, ...]
    statistics: tuple[Statistic, ...]
    notes: tuple[str, ...] = field(default=())
    failed: int = 0  # fits that gave no column; the notes say which and why
    figures: tuple[Figure, ...] = ()
    cross_check: tuple[Agreement, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 when another program gives other numbers, else 3 when a fit failed, else 0."""
        if any(agreement.largest > AGREE for agreement in self.cross_check):
            return 1
        return 3 if self.failed else 0

    @property
    def frame(self) -> pd.DataFrame:
        """The records as a table, a row each."""
        return pd.DataFrame([asdict(record) for record in self.records])

    def to_json(self) -> str:
        """The document as JSON (NaN as null)."""
        plain: dict[str, Any] = {
            "panel": dict(self.panel),
            "records": [asdict(record) for record in self.records],
            "statistics": [asdict(statistic) for statistic in self.statistics],
            "notes": list(self.notes),
        }
        if self.cross_check:
            plain["cross_check"] = [asdict(agreement) for agreement in self.cross_check]
        return json.dumps(plain, ensure_ascii=False, indent=1, allow_nan=False)


def records_of(fit: Fit, estimates: Estimates, nobs: int, units: int, periods: int) -> list[Record]:
    """One record a term and error type of the first panel of `estimates`."""
    table, column = fit.place
    estimate, se, dof = estimates.estimate[0], estimates.se[0], estimates.dof[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = estimate / se
    margin = critical_values(dof, LEVEL) * se
    pvalue = _stored(estimates.pvalue, p_values(statistic, dof))
    lower = _stored(estimates.lower, estimate - margin)
    upper = _stored(estimates.upper, estimate + margin)
    return [
        Record(
            table, column, fit.model, fit.transform, fit.sample, fit.weights, fit.year, fit.mediator,
            term=term,
            estimate=float(estimate[k]),
            se=_number(se[e, k]),
            se_type=error,
            statistic=None if term == "sigma2" else _number(statistic[e, k]),  # sigma2 = 0 is no hypothesis
            pvalue=None if term == "sigma2" else _number(pvalue[e, k]),
            lower=_number(lower[e, k]),
            upper=_number(upper[e, k]),
            nobs=nobs,
            units=units,
            periods=periods,
            effects_method=fit.effects_method if term.split(":")[0] in EFFECTS else None,
        )
        for e, error in enumerate(estimates.errors)
        for k, term in enumerate(estimates.terms)
    ]  # fmt: skip


def statistics_of(fit: Fit, estimates: Estimates) -> list[Statistic]:
    """The fit statistics of the first panel of `estimates`."""
    table, column = fit.place
    return [
        Statistic(
            table, column, fit.model, fit.transform, fit.sample, fit.weights, name, _number(values[0]),
            year=fit.year, mediator=fit.mediator,
        )
        for name, values in estimates.statistics.items()
    ]  # fmt: skip


def clusters_of(error: str) -> str:
    """Name of the statistic that counts the clusters of an error type, of two groupings the fewer."""
    return f"clusters:{error.removeprefix('cluster:')}"


def _stored(kept: Floats | None, computed: Floats) -> Floats:
    """What an estimator gave itself, (E, K) of its first panel, and what follows from se and dof where it gave none."""
    return computed if kept is None else np.where(np.isnan(kept[0]), computed, kept[0])


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
