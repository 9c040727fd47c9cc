"""Fits as columns of a table: the records of one, what is shown of them, and rows over several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from estimators.core.inference import usual_error
from estimators.spatial.lm_tests import CHI_SQUARE
from results.tables.journal_table import Row
from results.tables.records import Document, Fit, Record
from results.tables.typography import COUNTS, STATISTICS, count, decimals, digits, p_value, stars

LIKELIHOOD = ("sem", "sar", "sdm", "slx", "sdem", "sac")
SPECIAL = {"constant": 3, "rho": 5, "lambda": 6, "sigma2": 7}
UNBOUNDED = "[\N{EN DASH}]"  # in brackets, of a test that no interval belongs to


@dataclass(frozen=True, slots=True, kw_only=True)
class FitColumn(Fit):
    """All that a document holds of one fit.

    records: of every term and error type. statistics: by name. by_term: statistics of a term, by name and term.
    """

    records: list[Record] = field(default_factory=list)
    statistics: dict[str, float] = field(default_factory=dict)
    by_term: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def terms(self) -> tuple[str, ...]:
        """Its terms, in order."""
        return tuple(dict.fromkeys(str(record.term) for record in self.records))

    @property
    def errors(self) -> tuple[str, ...]:
        """Its error types, in order."""
        return tuple(dict.fromkeys(record.se_type for record in self.records))

    @property
    def likelihood(self) -> bool:
        """Whether it was fitted by maximum likelihood."""
        return self.model in LIKELIHOOD

    def shown_error(self, asked: str | None) -> str:
        """The error type asked for where there is one; else the first cluster, else information or the last."""
        return usual_error(self.errors, asked)

    def record(self, term: str, kind: str) -> Record | None:
        """A term under an error type; under the usual one where that type says nothing of the term, even if neither
        does that: never under a type that the table does not name."""
        found = {record.se_type: record for record in self.records if record.term == term}
        usual = self.shown_error(None)
        for wanted in (kind, usual):
            record = found.get(wanted)
            if record is not None and any(x is not None for x in (record.se, record.lower, record.pvalue)):
                return record
        return found.get(usual, next(iter(found.values()), None))


def fit_columns(document: Document, table: str, models: Iterable[str] | None = None) -> list[FitColumn]:
    """The fits of a table, by column and then by first appearance, `models` alone where given."""
    found: dict[Fit, FitColumn] = {}
    wanted = None if models is None else set(models)
    for item in (*document.records, *document.statistics):
        if item.table == table and (wanted is None or item.model in wanted):
            _add(found.setdefault(Fit(**item.identity), FitColumn(**item.identity)), item)
    return sorted(found.values(), key=lambda column: column.column)


def _add(column: FitColumn, item: Record) -> None:
    if not item.name:
        column.records.append(item)
    elif item.value is not None and item.term is None:
        column.statistics[item.name] = item.value
    elif item.value is not None:
        column.by_term[item.name, str(item.term)] = item.value


def shown_numbers(records: Iterable[Record | None]) -> list[float | None]:
    """Estimates with their errors, with their intervals where they have none: what is written alike."""
    found: list[float | None] = []
    for record in filter(None, records):
        found += (record.estimate, record.lower, record.upper) if record.se is None else (record.estimate, record.se)
    return found


def coefficient(record: Record | None, row: Sequence[float | None] = ()) -> str:
    """An estimate with its stars; a variance has none. row: numbers beside which it is written."""
    if record is None:
        return ""
    text = digits(record.estimate, shown_numbers([record]), row)
    return text + ("" if record.term == "sigma2" else stars(record.pvalue))


def bracket(record: Record | None, row: Sequence[float | None] = ()) -> str:
    """The standard error in brackets; the interval where there is none, and a dash where a test has no bounded one; of
    a test statistic its p value."""
    if record is None:
        return ""
    if record.se_type == CHI_SQUARE:
        return p_value(record.pvalue)
    if record.se is None:
        return interval(record, row) or UNBOUNDED * unbounded(record)
    return f"({digits(record.se, shown_numbers([record]), row)})"


def unbounded(record: Record) -> bool:
    """Whether a test has a p value alone: the interval that inverts it has no ends."""
    tested = record.se is None and record.pvalue is not None and record.se_type != CHI_SQUARE
    return tested and not interval(record)


def interval(record: Record | None, row: Sequence[float | None] = ()) -> str:
    """The interval in square brackets."""
    if record is None or record.lower is None or record.upper is None:
        return ""
    beside = (*shown_numbers([record]), record.lower, record.upper)
    return f"[{digits(record.lower, beside, row)}, {digits(record.upper, beside, row)}]"


def coefficient_rows(label: str, records: Sequence[Record | None]) -> list[Row]:
    """A row of estimates, and one of what stands in brackets below them."""
    row = shown_numbers(records)
    below = tuple(bracket(record, row) for record in records)
    rows = [Row(label, tuple(coefficient(record, row) for record in records))]
    return [*rows, Row("", below, "error")] if any(below) else rows


def value_rows(
    columns: Sequence[FitColumn], labels: Mapping[str, str], form: Callable[[float | None], str] | None = None
) -> list[Row]:
    """One row a statistic that a column has, as `form` writes it; without one, with the digits of its row."""
    rows = []
    for name, label in labels.items():
        values = [column.statistics.get(name) for column in columns]
        cells = tuple(digits(value, row=values) if form is None else form(value) for value in values)
        if any(cells):
            rows.append(Row(label, cells))
    return rows


def size_rows(columns: Sequence[FitColumn], units: str, periods: str) -> list[Row]:
    """N, units and periods."""
    firsts = [column.records[0] if column.records else None for column in columns]
    return [
        Row("N", tuple("" if first is None else f"{first.nobs:,}" for first in firsts), rule=True),
        Row(units, tuple("" if first is None else f"{first.units:,}" for first in firsts)),
        Row(periods, tuple("" if first is None else f"{first.periods:,}" for first in firsts)),
    ]


def fit_rows(columns: Sequence[FitColumn]) -> list[Row]:
    """The statistics of fit, likelihoods with the decimals that programs print."""
    likelihoods = ("loglik", "aic", "bic")
    plain = {name: label for name, label in STATISTICS.items() if name not in likelihoods}
    rest = {name: STATISTICS[name] for name in likelihoods}
    counts = value_rows(columns, COUNTS, count)
    return counts + value_rows(columns, plain) + value_rows(columns, rest, decimals)


def in_order(terms: Iterable[str], document: Document) -> list[str]:
    """Treatment, other policies and mediators, controls, constant, spatial lags, spatial parameters, variance."""
    treatment, controls = document.panel.get("treatment"), tuple(document.panel.get("controls", ()))

    def rank(term: str) -> int:
        if term == treatment:
            return 0
        if term in controls:
            return 2
        return SPECIAL.get(term, 4 if term.startswith("w_") else 1)

    return sorted(dict.fromkeys(terms), key=rank)
