"""What tables call things and how they write known numbers, stated here and taken from nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from table_oracle.book import Book, Known, Where
from table_oracle.sheets import Line

FACTS: dict[str, Any] = {
    "digest": "ab12", "units": 31, "periods": 9, "first_period": 2001, "last_period": 2009, "nobs": 279,
    "balanced": True, "synthetic": False, "outcome": "growth", "treatment": "did", "treatment_column": "park",
    "unit": "county", "period": "year", "controls": ["rain", "soil"],
    "weights": {"ring": {"digest": "aa", "standardize": "row"}, "queue": {"digest": "bb", "standardize": "row"}},
}  # fmt: skip
PART = {"units": 29, "periods": 7, "first_period": 2003, "last_period": 2009, "nobs": 203}
DATA = "Data: the user's panel, 31 units × 9 periods, 2001-2009, balanced."
STARS = "*** p < 0.01, ** p < 0.05, * p < 0.1."
TREATMENT = "DID is park."
LABELS = {
    "did": "DID", "rain": "rain", "soil": "soil", "constant": "Constant", "rho": "ρ", "lambda": "λ", "sigma2": "σ²",
    "w_did": "W × DID", "w_rain": "W × rain", "w_soil": "W × soil", "low_carbon": "low_carbon", "growth": "growth",
    "fdi": "fdi", "patents": "patents", "direct:did": "DID", "direct:rain": "rain", "direct:soil": "soil",
    "indirect:did": "DID", "indirect:rain": "rain", "indirect:soil": "soil", "total:did": "DID", "total:rain": "rain",
    "total:soil": "soil",
}  # fmt: skip
ERRORS = {
    "iid": "homoskedastic", "hc1": "heteroskedasticity-robust (HC1)", "cluster:unit": "clustered by unit",
    "information": "from the information matrix", "hessian": "from the observed Hessian",
    "wild:unit": "wild cluster bootstrap by unit",
}  # fmt: skip
LINEAR = ("iid", "hc1", "cluster:unit")
SPATIAL = ("information", "hessian", "cluster:unit")
RESIDUALS = {
    "ar1_raw": "Residuals: AR(1)", "ar1": "  corrected for T", "pesaran_cd": "  Pesaran's CD",
    "residual_moran": "  Moran's I",
}  # fmt: skip
LIKELIHOODS = ("sem", "sar", "sdm", "slx", "sdem", "sac")


@dataclass(frozen=True)
class Asked:
    """How a document is printed: facts of its panel, the error type asked for, and how its data are called."""

    name: str
    error: str | None = None
    data: str = DATA
    square_data: str = DATA
    facts: tuple[tuple[str, Any], ...] = field(default=(), hash=False)

    def shown(self, where: Where) -> str:
        """The error type that a fit shows, all of whose usual ones were estimated."""
        spatial = where.model in LIKELIHOODS
        if self.error in (SPATIAL if spatial else LINEAR):
            return str(self.error)
        if self.error == "wild:unit" and where == Where("2", 5, "did"):
            return "wild:unit"
        return "cluster:unit"


def four(value: float | None) -> str:
    """A known number: four decimals."""
    return "" if value is None else f"{value:.4f}"


def three(value: float | None) -> str:
    """A known test statistic or likelihood: three decimals."""
    return "" if value is None else f"{value:,.3f}"


def whole(value: float | None) -> str:
    """A known count."""
    return "" if value is None else f"{value:,.0f}"


def stars(p: float | None) -> str:
    """Stars of a p value."""
    if p is None or p >= 0.10:
        return ""
    return "***" if p < 0.01 else "**" if p < 0.05 else "*"


def above(item: Known | None) -> str:
    """An estimate with its stars."""
    return "" if item is None else four(item.estimate) + ("" if item.term == "sigma2" else stars(item.p))


def below(item: Known | None) -> str:
    """What stands in brackets under it."""
    if item is None:
        return ""
    if item.se is not None:
        return f"({item.se:.4f})"
    return "[–]" if item.lower is None or item.upper is None else f"[{item.lower:.4f}, {item.upper:.4f}]"


def pair(label: str, items: Sequence[Known | None]) -> list[Line]:
    """A line of estimates and the line of brackets under it."""
    return [(label, tuple(above(item) for item in items)), ("", tuple(below(item) for item in items))]


def of_term(book: Book, asked: Asked, wheres: Iterable[Where], term: str, label: str | None = None) -> list[Line]:
    """The two lines of a term over fits, under the error type that each of them shows."""
    items = []
    for where in wheres:
        found = book.get(where, term, asked.shown(where))
        items.append(found or book.get(where, term, "cluster:unit"))  # the bootstrap is of the treatment alone
    return pair(LABELS[term] if label is None else label, items)


def sizes(book: Book, wheres: Iterable[Where | None]) -> list[Line]:
    """N, units and periods."""
    found = [None if where is None else book.size(where) for where in wheres]
    labels = ("N", "Units (county)", "Periods (year)")
    return [(label, tuple("" if size is None else f"{size[j]:,}" for size in found)) for j, label in enumerate(labels)]


def said(book: Book, wheres: Iterable[Where | None], name: str, label: str, form: Any = four) -> list[Line]:
    """One line of a statistic."""
    return [(label, tuple("" if where is None else form(book.value(where, name)) for where in wheres))]


def say_residuals(book: Book, where: Where) -> None:
    """Add what residuals still hold."""
    book.say(where, **{name: book.hundred() for name in RESIDUALS})


def residuals(book: Book, wheres: Sequence[Where | None]) -> list[Line]:
    """The lines of what residuals still hold."""
    return [line for name, label in RESIDUALS.items() for line in said(book, wheres, name, label)]


def kinds(asked: Asked, wheres: Sequence[Where | None]) -> list[Line]:
    """The line that names error types where columns differ."""
    found = tuple("" if where is None else asked.shown(where) for where in wheres)
    return [("Standard errors", found)] if len({kind for kind in found if kind}) > 1 else []
