"""Estimates on a panel as pandas objects, under the names of statsmodels and linearmodels.

Every number is the one that the tables print. The index has the levels table and column, unless they are chosen, then
whatever else tells the fits of one column apart (model, transform, sample, ...), and last the term.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pandas as pd

from estimators.core.error_types import error_label
from estimators.core.hypotheses import HypothesisTest
from results.tables.journal_table import EVERY, FitColumn, fit_columns
from results.tables.records import LEVEL, Document, Record
from sim.errors import bad, closest, naming, one_of
from sim.panel import Text, card

PLACES = ("table", "column")
TELLING = ("model", "transform", "sample", "weights", "year", "mediator")
HEADS = {"estimate": "estimate", "se": "std. error", "statistic": "t", "pvalue": "p", "lower": "lower",
         "upper": "upper"}  # fmt: skip
Found = tuple[FitColumn, Record]

type Selection = str | int | tuple[str | int, int]  # of a document: a table, or a table and its column


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

    def __repr__(self) -> str:
        tables = dict.fromkeys(record.table for record in self.records)
        column = f", column {self.records[0].column}" if self.place == PLACES and self.records else ""
        numbers = f"{len(self.records):,} numbers; pp.show prints them, .frame holds them"
        return f"Tables({', '.join(tables)}{column}: {numbers})"

    @classmethod
    def of(cls, document: Document) -> Tables:
        """The same that answers."""
        return cls(**{each.name: getattr(document, each.name) for each in fields(Document)})

    def __getitem__(self, key: Selection) -> Tables:
        """One table, `tables["2"]`, or one column of it, `tables["2", 5]`. Raises BadInput where there is none."""
        table, column = (str(key[0]), int(key[1])) if isinstance(key, tuple) else (str(key), None)
        where = "tables[...]"
        tables = {item.table for item in (*self.records, *self.statistics)}
        known = sorted(tables, key=lambda name: (len(name), name))
        if table not in known:
            raise bad(f"no table {table!r}", where=where, allowed=one_of(known, table), remedy=closest(table, known))
        columns = sorted({item.column for item in self.records if item.table == table})
        if column is not None and column not in columns:
            raise bad(f"table {table} has no column {column}", where=where, allowed=one_of(map(str, columns)),
                      remedy="choose one of them")  # fmt: skip

        def kept(items: Iterable[Record]) -> tuple[Record, ...]:
            return tuple(item for item in items if item.table == table and column in (None, item.column))

        return replace(
            self, records=kept(self.records), statistics=kept(self.statistics), figures=(), cross_check=(),
            warnings=(), specifications=(), notes=(), place=PLACES[:1] if column is None else PLACES,
        )  # fmt: skip

    @property
    def params(self) -> pd.Series:
        """The estimates, by table, column, what else tells the fits of a column apart, and term."""
        return self._series("estimate", "parameter")

    @property
    def std_errors(self) -> pd.Series:
        """Standard errors of the type that the tables print, indexed as `params`; see `with_errors`."""
        return self._series("se", "std_error")

    @property
    def tstats(self) -> pd.Series:
        """Estimates over their standard errors, indexed as `params`."""
        return self._series("statistic", "tstat")

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p values, indexed as `params`."""
        return self._series("pvalue", "pvalue")

    def conf_int(self, alpha: float = LEVEL) -> pd.DataFrame:
        """Ends of intervals at level 1 - alpha in columns lower and upper, indexed as `params`.

        Raises BadInput for another level than 95% where a table keeps intervals as they were estimated, such as those
        of mediation.
        """
        if alpha == LEVEL:
            return pd.concat([self._series(name, name) for name in ("lower", "upper")], axis=1)
        found = {tuple(one.fit.identity.items()): one.estimates for one in self.fitted}
        ends = []
        for _, record in self._shown():
            fit = found.get(tuple(record.identity.items()))
            if fit is None or record.term not in fit.terms or record.se_type not in fit.errors:
                raise bad(f"alpha = {alpha} of intervals that are kept as they were estimated",
                          where=f"table {record.table}, conf_int", allowed=f"{LEVEL}",
                          remedy='leave alpha out, or choose another table: tables["2"]')  # fmt: skip
            with naming(f"table {record.table}"):
                made = fit.with_errors(record.se_type).only((record.term,)).conf_int(alpha)
            ends.append([float("nan") if record.lower is None else float(end) for end in made.iloc[0]])
        return pd.DataFrame(ends, self.params.index, ["lower", "upper"], float)

    def with_errors(self, kind: str) -> Tables:
        """The same that shows errors of a type, such as "hc1", where a fit has them. Raises BadInput for another."""
        known = list(dict.fromkeys(record.se_type for record in self.records))
        if kind not in known:
            raise bad(f"no error type {kind!r}", where="with_errors", allowed=one_of(known, kind),
                      remedy=closest(kind, known))  # fmt: skip
        return replace(self, errors=kind)

    def lincom(self, combination: str, **which: Any) -> HypothesisTest:
        """A linear combination of the terms of one column, such as "did - 2 * inv", with its error, test and interval.

        which: of several fits of a column, one of model, transform, sample, weights. Raises BadInput for names that are
        no terms, and for more than one combination.

        >>> import panelproof as pp
        >>> found = pp.estimate(pp.example_panel())["2", 5].lincom("did + inv")
        >>> print(f"{found.estimate:.3f} ({found.se:.3f})")
        0.104 (0.027)
        """
        found = self.test(combination, **which)
        if found.kind != "combination":
            raise bad(f"{combination!r} is no single combination", where="lincom", allowed='one, such as "did - inv"',
                      remedy="for several hypotheses or bounds: test")  # fmt: skip
        return found

    def test(self, hypothesis: str, **which: Any) -> HypothesisTest:
        """The test of "did = 0.02", of several hypotheses, "did = 0, inv = 0", or of equivalence, "-0.01 < did < 0.01".

        It is of the terms of one column, `tables["2", 5]`, with the errors that are shown; which: as in `lincom`.
        """
        from experiments.tables.hypotheses_table import chosen

        if self.place != PLACES:
            raise bad("several columns", where="test", allowed="one column", remedy='choose it: tables["2", 5]')
        (place, *_) = dict.fromkeys((record.table, record.column) for record in self.records)
        fitted = chosen(self.fitted, *place, [str(word) for word in which.values()], "test")
        return fitted.test(hypothesis, self.errors, "test")

    def summary(self) -> Text:
        """One column as a table of coefficients; a whole table, or all of them, as `show` prints them."""
        if self.place == PLACES:
            table = pd.concat([self._series(name, head) for name, head in HEADS.items()], axis=1)
            return Text(f"{self._heading()}\n{table.to_string(float_format='{:.4g}'.format, na_rep='')}")
        from rich.console import Console

        from experiments.tables.ledger import journal_tables
        from results.tables.terminal_tables import print_estimates

        file = io.StringIO()
        console = Console(file=file, width=100, highlight=False, color_system=None)
        print_estimates(self, journal_tables(self, self.errors), console, shown=(EVERY,))
        return Text(file.getvalue().rstrip())

    def _repr_html_(self) -> str:
        """A column's coefficients, or what each regression of the document says of the treatment, for a notebook."""
        treatment, whole = self.panel.get("treatment"), self.place != PLACES
        shown = [each for each in self._shown() if not whole or each[1].term == str(treatment)]
        levels = self._levels(shown)
        heads = (*levels, "term", "estimate", "std. error", "p", "errors")
        rows = [(*(_level(fit, name) for name in levels), str(record.term), _number(record.estimate),
                 _number(record.se), _number(record.pvalue), error_label(record.se_type))
                for fit, record in shown]  # fmt: skip
        title = f"Estimates of {self.panel.get('outcome')}" if whole else self._heading()
        said: list[tuple[str, object]] = [("panel", self._size()), ("treatment", treatment)]
        notes = [f"{self.failed} fits failed."] if self.failed else []
        return card(title, said, heads, rows, [*notes, *self.notes[:3]] if whole else notes)

    def _shown(self) -> Iterator[Found]:
        """Every estimate with the error type that the tables print, fit by fit."""
        tables = dict.fromkeys(record.table for record in self.records)
        for fit in (each for table in tables for each in fit_columns(self, table)):
            kind = fit.shown_error(self.errors)
            for term in fit.terms:
                record = fit.record(term, kind)
                if record is not None:
                    yield fit, record

    def _series(self, name: str, called: str) -> pd.Series:
        """One number of each estimate: estimate, se, statistic, pvalue or an end; NaN where there is none."""
        shown = list(self._shown())
        levels, terms = self._levels(shown), [str(record.term) for _, record in shown]
        columns = [[_level(fit, level) for fit, _ in shown] for level in levels]
        index = (pd.MultiIndex.from_arrays([*columns, terms], names=[*levels, "term"]) if levels
                 else pd.Index(terms, name="term"))  # fmt: skip
        return pd.Series([_number(getattr(record, name)) for _, record in shown], index, float, called)

    def _levels(self, shown: Sequence[Found]) -> tuple[str, ...]:
        """What tells the fits apart besides their terms."""
        found: dict[str, dict[tuple[str, int], set[Any]]] = {name: defaultdict(set) for name in TELLING}
        for fit, _ in shown:
            for name in TELLING:
                found[name][fit.place].add(_level(fit, name))
        telling = [name for name, at in found.items() if any(len(values) > 1 for values in at.values())]
        return (*(name for name in PLACES if name not in self.place), *telling)

    def _heading(self) -> str:
        shown = list(self._shown())
        kinds = dict.fromkeys(error_label(record.se_type) for _, record in shown if record.se is not None)
        models = ", ".join(dict.fromkeys(fit.model for fit, _ in shown))
        return f"{shown[0][0].where}: {models}, {self._size()}; errors: {', '.join(kinds) or 'none'}"

    def _size(self) -> str:
        facts = self.panel
        return f"{facts['units']:,} units in {facts['periods']:,} periods, {facts['nobs']:,} rows"


def _level(fit: FitColumn, name: str) -> Any:
    value = getattr(fit, name)
    return "" if value is None else value


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
