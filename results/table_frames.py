"""Estimates on a panel as pandas objects, under the names of statsmodels and linearmodels.

Every number is the one that the tables print. The index has the levels table and column, unless they are chosen, then
whatever else tells the fits of one column apart (model, transform, sample, ...), and last the term.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pandas as pd

from estimators.core.error_types import error_label
from results.tables.journal_table import FitColumn, fit_columns
from results.tables.records import Document, Record
from sim.errors import bad, closest, one_of
from sim.panel import Text, card

PLACES = ("table", "column")
TELLING = ("model", "transform", "sample", "weights", "year", "mediator")
HEADS = {"estimate": "estimate", "se": "std. error", "statistic": "t", "pvalue": "p", "lower": "lower",
         "upper": "upper"}  # fmt: skip
Found = tuple[FitColumn, Record]

type Selection = str | int | tuple[str | int, int]  # of a document: a table, or a table and its column


@dataclass(frozen=True, slots=True)
class Shown:
    """A document, which of table and column it is one of, and the error type that is shown (None: the usual one)."""

    document: Document
    place: tuple[str, ...] = ()
    errors: str | None = None


def chosen(document: Document, key: Selection) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields of a document that is one table of another, or one column of it, and which of the two.

    key: "2", ("2", 5). Raises BadInput where there is none.
    """
    table, column = (str(key[0]), int(key[1])) if isinstance(key, tuple) else (str(key), None)
    where = "tables[...]"
    known = sorted(
        {item.table for item in (*document.records, *document.statistics)}, key=lambda name: (len(name), name)
    )
    if table not in known:
        raise bad(f"no table {table!r}", where=where, allowed=one_of(known), remedy=closest(table, known))
    columns = sorted({item.column for item in document.records if item.table == table})
    if column is not None and column not in columns:
        raise bad(f"table {table} has no column {column}", where=where, allowed=one_of(map(str, columns)),
                  remedy="choose one of them")  # fmt: skip

    def kept(items: Iterable[Record]) -> tuple[Record, ...]:
        return tuple(item for item in items if item.table == table and column in (None, item.column))

    empty: tuple[()] = ()
    fields = {"records": kept(document.records), "statistics": kept(document.statistics), "figures": empty,
              "cross_check": empty, "warnings": empty, "specifications": empty, "notes": empty}  # fmt: skip
    return fields, PLACES[:1] if column is None else PLACES


def checked_errors(document: Document, kind: str) -> str:
    """An error type that some fit has. Raises BadInput for another."""
    known = list(dict.fromkeys(record.se_type for record in document.records))
    if kind not in known:
        raise bad(f"no error type {kind!r}", where="with_errors", allowed=one_of(known), remedy=closest(kind, known))
    return kind


def series(part: Shown, name: str, called: str) -> pd.Series:
    """One number of each estimate: estimate, se, statistic or pvalue; NaN where there is none."""
    shown = list(_shown(part))
    return pd.Series([_number(getattr(record, name)) for _, record in shown], _index(part, shown), float,
                     called)  # fmt: skip


def intervals(part: Shown) -> pd.DataFrame:
    """The 95% intervals, in columns lower and upper."""
    return series(part, "lower", "lower").to_frame().assign(upper=series(part, "upper", "upper"))


def coefficients(part: Shown) -> pd.DataFrame:
    """Estimates, standard errors, t, p values and intervals side by side."""
    return pd.concat([series(part, name, head) for name, head in HEADS.items()], axis=1)


def summary(part: Shown) -> Text:
    """One column as a table of coefficients; a whole table, or all of them, as `show` prints them."""
    if part.place == PLACES:
        table = coefficients(part)
        return Text(f"{_heading(part)}\n{table.to_string(float_format='{:.4g}'.format, na_rep='')}")
    import io

    from rich.console import Console

    from results.tables.terminal_tables import print_estimates

    file = io.StringIO()
    print_estimates(part.document, Console(file=file, width=100, highlight=False, color_system=None), part.errors)
    return Text(file.getvalue().rstrip())


def document_card(part: Shown) -> str:
    """A column's coefficients, or what each regression of the document says of the treatment, for a notebook."""
    document, facts = part.document, part.document.panel
    treatment = str(facts.get("treatment"))
    whole = part.place != PLACES
    shown = [each for each in _shown(part) if not whole or each[1].term == treatment]
    levels = _levels(part, shown)
    heads = (*levels, "term", "estimate", "std. error", "p", "errors")
    rows = [(*(_level(fit, name) for name in levels), str(record.term), _number(record.estimate), _number(record.se),
             _number(record.pvalue), error_label(record.se_type)) for fit, record in shown]  # fmt: skip
    title = _heading(part) if not whole else f"Estimates of {facts.get('outcome')}"
    said: list[tuple[str, object]] = [("panel", _size(document)), ("treatment", facts.get("treatment"))]
    notes = [f"{document.failed} fits failed."] if document.failed else []
    return card(title, said, heads, rows, [*notes, *document.notes[:3]] if whole else notes)


def _shown(part: Shown) -> Iterator[Found]:
    """Every estimate with the error type that the tables print, fit by fit."""
    tables = dict.fromkeys(record.table for record in part.document.records)
    for fit in (each for table in tables for each in fit_columns(part.document, table)):
        kind = fit.shown_error(part.errors)
        for term in fit.terms:
            record = fit.record(term, kind)
            if record is not None:
                yield fit, record


def _levels(part: Shown, shown: Sequence[Found]) -> tuple[str, ...]:
    """What tells the fits apart besides their terms."""
    found: dict[str, dict[tuple[str, int], set[Any]]] = {name: defaultdict(set) for name in TELLING}
    for fit, _ in shown:
        for name in TELLING:
            found[name][fit.place].add(_level(fit, name))
    telling = [name for name, at in found.items() if any(len(values) > 1 for values in at.values())]
    return (*(name for name in PLACES if name not in part.place), *telling)


def _level(fit: FitColumn, name: str) -> Any:
    value = getattr(fit, name)
    return "" if value is None else value


def _index(part: Shown, shown: Sequence[Found]) -> pd.Index:
    levels = _levels(part, shown)
    terms = [str(record.term) for _, record in shown]
    if not levels:
        return pd.Index(terms, name="term")
    columns = [[_level(fit, name) for fit, _ in shown] for name in levels]
    return pd.MultiIndex.from_arrays([*columns, terms], names=[*levels, "term"])


def _heading(part: Shown) -> str:
    fits = list(dict.fromkeys((fit.where, fit.model) for fit, _ in _shown(part)))
    kinds = dict.fromkeys(error_label(record.se_type) for _, record in _shown(part) if record.se is not None)
    models = ", ".join(dict.fromkeys(model for _, model in fits))
    return f"{fits[0][0]}: {models}, {_size(part.document)}; errors: {', '.join(kinds) or 'none'}"


def _size(document: Document) -> str:
    facts = document.panel
    return f"{facts['units']:,} units in {facts['periods']:,} periods, {facts['nobs']:,} rows"


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


# The tables of a panel as users of Python hold them.


@dataclass(frozen=True, slots=True)
class Tables(Document):
    """All estimates on one panel, or a part of them, under the names of statsmodels and linearmodels.

    `tables["2"]` is one table, `tables["2", 5]` one column. Of all of them there are `.params`, `.std_errors`,
    `.tstats`, `.pvalues`, `.conf_int()` and `.summary()`, whose index says table, column and term.

    >>> import panelproof as pp
    >>> tables = pp.estimate(pp.example_panel())
    >>> print(tables["2", 5].params.round(3)["did"])
    0.03
    >>> tables["2", 5].conf_int().loc["did"].round(3).tolist()
    [0.022, 0.038]
    >>> print(tables["2", 5].with_errors("iid").std_errors.round(4)["did"])
    0.0062
    >>> print(tables["2", 5].summary().splitlines()[0])
    Table 2, column 5 (all): did, 57 units in 18 periods, 1,026 rows; errors: clustered by unit
    >>> tables["7", 3].params.index.names
    FrozenList(['transform', 'term'])

    place: of a part, which of table and column it is one of. errors: the error type that is shown, None = the usual
    one.
    """

    place: tuple[str, ...] = ()
    errors: str | None = None

    @classmethod
    def of(cls, document: Document) -> Tables:
        """The same that answers."""
        return cls(**{each.name: getattr(document, each.name) for each in fields(Document)})

    @property
    def shown(self) -> Shown:
        """What pandas objects are made of."""
        return Shown(self, self.place, self.errors)

    def _part(self, kept: Mapping[str, Any], place: tuple[str, ...]) -> Tables:
        return replace(self, **kept, place=place)

    def __getitem__(self, key: Selection) -> Tables:
        """One table, `tables["2"]`, or one column of it, `tables["2", 5]`. Raises BadInput where there is none."""
        return self._part(*chosen(self, key))

    @property
    def params(self) -> pd.Series:
        """The estimates, by table, column, what else tells the fits of a column apart, and term."""
        return series(self.shown, "estimate", "parameter")

    @property
    def std_errors(self) -> pd.Series:
        """Standard errors of the type that the tables print, indexed as `params`; see `with_errors`."""
        return series(self.shown, "se", "std_error")

    @property
    def tstats(self) -> pd.Series:
        """Estimates over their standard errors, indexed as `params`."""
        return series(self.shown, "statistic", "tstat")

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p values, indexed as `params`."""
        return series(self.shown, "pvalue", "pvalue")

    def conf_int(self) -> pd.DataFrame:
        """The 95% intervals, in columns lower and upper, indexed as `params`."""
        return intervals(self.shown)

    def with_errors(self, kind: str) -> Tables:
        """The same that shows errors of a type, such as "hc1", where a fit has them. Raises BadInput for another."""
        return replace(self, errors=checked_errors(self, kind))

    def summary(self) -> Text:
        """One column as a table of coefficients; a whole table, or all of them, as `show` prints them."""
        return summary(self.shown)

    def _repr_html_(self) -> str:
        return document_card(self.shown)
