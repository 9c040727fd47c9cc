"""Estimates on a panel as pandas objects, under the names of statsmodels and linearmodels.

Every number is the one that the tables print. The index has the levels table and column, unless they are chosen, then
whatever else tells the fits of one column apart (model, transform, sample, ...), and last the term.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from estimators.core.error_types import error_label
from results.tables.columns import FitColumn, fit_columns
from results.tables.records import Document, Record
from sim.errors import bad, closest, one_of
from sim.notebook import Text, card

if TYPE_CHECKING:
    from results.tables.records import Selection

PLACES = ("table", "column")
TELLING = ("model", "transform", "sample", "weights", "year", "mediator")
HEADS = {"estimate": "estimate", "se": "std. error", "statistic": "t", "pvalue": "p", "lower": "lower",
         "upper": "upper"}  # fmt: skip
Shown = tuple[FitColumn, Record]


def chosen(document: Document, key: Selection) -> Document:
    """The part of a document that one table is, or one column of it: "2", ("2", 5). Raises BadInput for none."""
    table, column = (str(key[0]), int(key[1])) if isinstance(key, tuple) else (str(key), None)
    where = "tables[...]"
    known = list(dict.fromkeys(item.table for item in (*document.records, *document.statistics)))
    if table not in known:
        raise bad(f"no table {table!r}", where=where, allowed=one_of(known), remedy=closest(table, known))
    columns = sorted({item.column for item in document.records if item.table == table})
    if column is not None and column not in columns:
        raise bad(f"table {table} has no column {column}", where=where, allowed=one_of(map(str, columns)),
                  remedy="choose one of them")  # fmt: skip

    def kept(items: Iterable[Record]) -> tuple[Record, ...]:
        return tuple(item for item in items if item.table == table and column in (None, item.column))

    return replace(document, records=kept(document.records), statistics=kept(document.statistics), figures=(),
                   cross_check=(), warnings=(), specifications=(), notes=(),
                   chosen=PLACES[:1] if column is None else PLACES)  # fmt: skip


def with_errors(document: Document, kind: str) -> Document:
    """The same that shows errors of a type where a fit has them. Raises BadInput where none has."""
    known = list(dict.fromkeys(record.se_type for record in document.records))
    if kind not in known:
        raise bad(f"no error type {kind!r}", where="with_errors", allowed=one_of(known), remedy=closest(kind, known))
    return replace(document, errors=kind)


def series(document: Document, name: str, called: str) -> pd.Series:
    """One number of each estimate: estimate, se, statistic or pvalue; NaN where there is none."""
    shown = list(_shown(document))
    return pd.Series([_number(getattr(record, name)) for _, record in shown], _index(document, shown), float,
                     called)  # fmt: skip


def intervals(document: Document) -> pd.DataFrame:
    """The 95% intervals, in columns lower and upper."""
    return series(document, "lower", "lower").to_frame().assign(upper=series(document, "upper", "upper"))


def coefficients(document: Document) -> pd.DataFrame:
    """Estimates, standard errors, t, p values and intervals side by side."""
    return pd.concat([series(document, name, head) for name, head in HEADS.items()], axis=1)


def summary(document: Document) -> Text:
    """One column as a table of coefficients; a whole table, or all of them, as `show` prints them."""
    if document.chosen == PLACES:
        table = coefficients(document)
        return Text(f"{_heading(document)}\n{table.to_string(float_format='{:.4g}'.format, na_rep='')}")
    import io

    from rich.console import Console

    from results.tables.terminal import print_estimates

    file = io.StringIO()
    print_estimates(document, Console(file=file, width=100, highlight=False, color_system=None), document.errors)
    return Text(file.getvalue().rstrip())


def document_card(document: Document) -> str:
    """A column's coefficients, or what each regression of the document says of the treatment, for a notebook."""
    facts = document.panel
    treatment = str(facts.get("treatment"))
    whole = document.chosen != PLACES
    shown = [each for each in _shown(document) if not whole or each[1].term == treatment]
    levels = _levels(document, shown)
    heads = (*levels, "term", "estimate", "std. error", "p", "errors")
    rows = [(*(_level(fit, name) for name in levels), str(record.term), _number(record.estimate), _number(record.se),
             _number(record.pvalue), error_label(record.se_type)) for fit, record in shown]  # fmt: skip
    title = _heading(document) if not whole else f"Estimates of {facts.get('outcome')}"
    said: list[tuple[str, object]] = [("panel", _size(document)), ("treatment", facts.get("treatment"))]
    notes = [f"{document.failed} fits failed."] if document.failed else []
    return card(title, said, heads, rows, [*notes, *document.notes[:3]] if whole else notes)


def _shown(document: Document) -> Iterator[Shown]:
    """Every estimate with the error type that the tables print, fit by fit."""
    tables = dict.fromkeys(record.table for record in document.records)
    for fit in (each for table in tables for each in fit_columns(document, table)):
        kind = fit.shown_error(document.errors)
        for term in fit.terms:
            record = fit.record(term, kind)
            if record is not None:
                yield fit, record


def _levels(document: Document, shown: Sequence[Shown]) -> tuple[str, ...]:
    """What tells the fits apart besides their terms."""
    found: dict[str, dict[tuple[str, int], set[Any]]] = {name: defaultdict(set) for name in TELLING}
    for fit, _ in shown:
        for name in TELLING:
            found[name][fit.place].add(_level(fit, name))
    telling = [name for name, at in found.items() if any(len(values) > 1 for values in at.values())]
    return (*(name for name in PLACES if name not in document.chosen), *telling)


def _level(fit: FitColumn, name: str) -> Any:
    value = getattr(fit, name)
    return "" if value is None else value


def _index(document: Document, shown: Sequence[Shown]) -> pd.Index:
    levels = _levels(document, shown)
    terms = [str(record.term) for _, record in shown]
    if not levels:
        return pd.Index(terms, name="term")
    keys = [(*(_level(fit, name) for name in levels), term) for (fit, _), term in zip(shown, terms, strict=True)]
    return pd.MultiIndex.from_tuples(keys, names=[*levels, "term"])


def _heading(document: Document) -> str:
    fits = list(dict.fromkeys((fit.where, fit.model) for fit, _ in _shown(document)))
    kinds = dict.fromkeys(error_label(record.se_type) for _, record in _shown(document) if record.se is not None)
    models = ", ".join(dict.fromkeys(model for _, model in fits))
    return f"{fits[0][0]}: {models}, {_size(document)}; errors: {', '.join(kinds) or 'none'}"


def _size(document: Document) -> str:
    facts = document.panel
    return f"{facts['units']:,} units in {facts['periods']:,} periods, {facts['nobs']:,} rows"


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
