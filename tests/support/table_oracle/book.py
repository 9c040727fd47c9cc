"""Known numbers, each of which occurs once; the one module of the oracle that knows the program's record types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from results.tables.records import Agreement, Document, Record

STAR_CLASSES = ((1, 99), (101, 499), (501, 999), (1001, 1499))  # p values in 1/10,000: ***, **, *, none


@dataclass(frozen=True)
class Where:
    """A fit: what tells it from every other one."""

    table: str
    column: int
    model: str
    transform: str | None = None
    sample: str = "all"
    weights: str | None = None
    year: int | None = None
    mediator: str | None = None
    method: str = "delta"


@dataclass(frozen=True)
class Known:
    """A number of a fit with its uncertainty: all its values occur once in the whole book."""

    where: Where
    term: str
    error: str
    estimate: float
    se: float | None
    statistic: float | None
    p: float | None
    lower: float | None
    upper: float | None
    nobs: int
    units: int
    periods: int


@dataclass(frozen=True)
class Said:
    """A statistic of a fit, or of one of its terms."""

    where: Where
    name: str
    value: float | None
    term: str | None


@dataclass(frozen=True)
class Compared:
    """How far another program's numbers are away."""

    table: str
    program: str
    what: str
    count: int
    largest: float


@dataclass
class Book:
    """All known numbers, in the order in which they were added."""

    known: list[Known] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    _numbers: int = 0
    _hundreds: int = 0
    _counts: int = 0
    _tests: int = 0
    _shares: int = 0
    _places: dict[tuple[Where, str, str], Known] = field(default_factory=dict)
    _values: dict[tuple[Where, str, str | None], float | None] = field(default_factory=dict)
    _unused: list[Iterator[int]] = field(default_factory=lambda: [iter(()) for _ in STAR_CLASSES])

    def number(self) -> float:
        """A number with four decimals between .1 and 10."""
        self._numbers += 1
        return (1001 + self._numbers * 7919 % 98993) / 10_000

    def hundred(self) -> float:
        """A number with four decimals above 100, where no other is."""
        self._hundreds += 1
        return (1_000_003 + 7 * self._hundreds) / 10_000

    def count(self) -> int:
        """A whole number above 1,000."""
        self._counts += 1
        return 1000 + self._counts

    def test(self) -> float:
        """A test statistic with three decimals."""
        self._tests += 1
        return (1001 + self._tests * 797 % 98993) / 1000

    def share(self) -> float:
        """A p value above .15."""
        self._shares += 1
        return (1501 + self._shares * 101 % 8387) / 10_000

    def p_value(self, stars: int) -> float:
        """A p value that gives so many stars; from 0 stars on it is below .15."""
        at = 3 - stars
        value = next(self._unused[at], None)
        if value is None:
            low, high = STAR_CLASSES[at]
            self._unused[at] = iter(range(high, low - 1, -1))
            value = next(self._unused[at])
        return value / 10_000

    def fit(self, where: Where, terms: Iterable[str], errors: Iterable[str], **fixed: Any) -> None:
        """Add every term under every error type; `fixed` replaces values. Error types of a term differ in stars."""
        size = {"nobs": self.count(), "units": self.count(), "periods": self.count()}
        found: dict[str, float] = {}
        for e, error in enumerate(errors):
            for k, term in enumerate(terms):
                estimate = found.setdefault(term, self.number() * (-1.0 if k % 3 == 2 else 1.0))
                values = {
                    "estimate": estimate, "se": self.number(), "statistic": self.test(),
                    "p": self.p_value((e + k + where.column) % 4), "lower": -self.number(), "upper": self.number(),
                }  # fmt: skip
                item = Known(where, term, error, **{**values, **size, **fixed})  # type: ignore[arg-type]
                assert (where, term, error) not in self._places
                self._places[where, term, error] = item
                self.known.append(item)

    def say(self, where: Where, /, term: str | None = None, **values: float | None) -> None:
        """Add statistics of a fit, or of a term of it."""
        for name, value in values.items():
            assert (where, name, term) not in self._values
            self._values[where, name, term] = value
            self.said.append(Said(where, name, value, term))

    def get(self, where: Where, term: str, error: str) -> Known | None:
        """The number of a term under an error type; None where there is none."""
        return self._places.get((where, term, error))

    def value(self, where: Where, name: str, term: str | None = None) -> float | None:
        """A statistic; None where there is none."""
        return self._values.get((where, name, term))

    def size(self, where: Where) -> tuple[int, int, int] | None:
        """N, units and periods of a fit; None where it has no numbers."""
        found = next((item for item in self.known if item.where == where), None)
        return None if found is None else (found.nobs, found.units, found.periods)


def document_of(book: Book, facts: Mapping[str, Any], notes: tuple[str, ...] = ()) -> Document:
    """The book as the document that the program prints."""
    return Document(
        facts,
        tuple(_record(item) for item in book.known),
        tuple(_statistic(item) for item in book.said),
        notes,
        cross_check=tuple(Agreement(x.table, x.program, x.what, x.count, x.largest) for x in book.compared),
    )


def _record(item: Known) -> Record:
    where = item.where
    return Record(
        place=(where.table, where.column), model=where.model, transform=where.transform, sample=where.sample,
        weights=where.weights, year=where.year, mediator=where.mediator, term=item.term, estimate=item.estimate,
        se=item.se, se_type=item.error, statistic=item.statistic, pvalue=item.p, lower=item.lower, upper=item.upper,
        nobs=item.nobs, units=item.units, periods=item.periods,
        effects_method=where.method if item.term.split(":")[0] in ("direct", "indirect", "total") else None,
    )  # fmt: skip


def _statistic(item: Said) -> Record:
    where = item.where
    return Record(
        place=(where.table, where.column), model=where.model, transform=where.transform, sample=where.sample,
        weights=where.weights, name=item.name, estimate=item.value, term=item.term, year=where.year,
        mediator=where.mediator,
    )  # fmt: skip


def plain_records(book: Book) -> list[dict[str, Any]]:
    """The numbers under the names that estimates.json gives them."""
    return [
        {
            "table": item.where.table, "column": item.where.column, "model": item.where.model,
            "transform": item.where.transform, "sample": item.where.sample, "weights": item.where.weights,
            "year": item.where.year, "mediator": item.where.mediator, "term": item.term, "estimate": item.estimate,
            "se": item.se, "se_type": item.error, "statistic": item.statistic, "pvalue": item.p, "lower": item.lower,
            "upper": item.upper, "nobs": item.nobs, "units": item.units, "periods": item.periods,
            "effects_method": item.where.method if item.term.split(":")[0] in ("direct", "indirect", "total") else None,
        }
        for item in book.known
    ]  # fmt: skip
