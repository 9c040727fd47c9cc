"""Table T: hypotheses that the user writes on the terms of other tables' columns, with their tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from estimators.core.error_types import error_label
from estimators.core.estimator import usual_error
from estimators.core.hypotheses import HypothesisTest
from experiments.panel_spec.spec import RealPanel
from experiments.tables.ledger import FittedColumn, Ledger
from results.tables.journal_table import Heading, JournalTable, Row, TableSetting, bracket, fit_columns, interval
from results.tables.records import HYPOTHESES, Fit, Record
from results.tables.typography import decimals, digits, errors_in_brackets, starred_probability, stars_note
from sim.errors import Problem, bad, gathering, listed, one_of, refuse

ADDRESS = re.compile(r"\s*(?P<table>\w+)\.(?P<column>\d+)(?P<words>[^:]*):(?P<hypothesis>.*)", re.DOTALL)
TELLING = ("model", "transform", "sample", "weights", "year", "mediator")


def add(real: RealPanel, ledger: Ledger) -> None:
    """A row a hypothesis of [inference] tests; raises BadInput for columns and terms that there are not."""
    problems: list[Problem] = []
    called = real.spec.panel.treatment or real.spec.panel.first_treated or ""
    for position, text in enumerate(real.spec.inference.tests, start=1):
        where = f"test {text!r}"
        with gathering(problems):
            found = ADDRESS.fullmatch(text)
            if found is None:
                raise bad("it does not say of which column", where=where,
                          allowed='TABLE.COLUMN: HYPOTHESIS, "2.5: did = 0.02"',
                          remedy="write the table, a dot, the column, a colon")  # fmt: skip
            fitted = chosen(ledger.fitted, found["table"], int(found["column"]), found["words"].split(), where)
            test = fitted.test(found["hypothesis"], None, where, called)
            fit = Fit((HYPOTHESES, position), test.kind, sample=text.partition(":")[0].strip())
            size = next(record for record in ledger.records if Fit(**record.identity) == fitted.fit)
            ledger.records.append(record_of(fit, test, usual_error(fitted.estimates.errors), size))
            ledger.values(fit, {"dof": test.dof, "restrictions": float(test.restrictions)})
    refuse(problems)


def chosen(
    fitted: Sequence[FittedColumn], table: str, column: int, words: Sequence[str], where: str = ""
) -> FittedColumn:
    """The fit of a column that has all the words (model, transform, weights, ...), some of which are several words as
    in "direct, unit effects"; raises BadInput for none or several. where: the text that holds the words; without it
    they are arguments of `test`."""
    written, where = where != "", where or "test"
    tables = {one.fit.table: None for one in fitted}
    here = [one for one in fitted if one.fit.place == (table, column)]
    if not here:
        columns = sorted({one.fit.column for one in fitted if one.fit.table == table})
        known = f"columns {', '.join(map(str, columns))}" if columns else one_of(tables)
        raise bad(f"there is no fit in table {table}, column {column}", where=where, allowed=known,
                  remedy="name a column of regressions")  # fmt: skip
    left = []
    for one in here:
        rest = f" {' '.join(words)} "
        for own in sorted(_words(one.fit), key=len, reverse=True):
            rest = rest.replace(f" {own} ", " ")
        left += [] if rest.strip() else [one]
    if len(left) == 1:
        return left[0]
    shared = _words(here[0].fit)
    for one in here[1:]:
        shared &= _words(one.fit)
    telling = [" ".join(sorted(_words(one.fit) - shared)) for one in here]
    if len(here) == 1:
        raise bad(f"the fit of table {table}, column {column} is not {' '.join(words)}", where=where,
                  allowed=one_of(sorted(_words(here[0].fit))), remedy="leave the word out")  # fmt: skip
    what = f"table {table}, column {column} has {len(left)} fits" + (f" with {' '.join(words)}" if words else "")
    named = [
        f'{name}="{value}"'
        for name in TELLING
        if str(value := getattr(here[0].fit, name)) in _words(here[0].fit) - shared
    ]
    raise bad(what, where=where, allowed=f"one of {listed(telling, 12)}",
              remedy=f'add the word, such as "{table}.{column} {telling[0]}: ..."' if written
              else f"say which, such as {', '.join(named)}")  # fmt: skip


def _words(fit: Fit) -> set[str]:
    """What tells a fit from others in its column."""
    return {str(value) for name in TELLING if (value := getattr(fit, name)) not in (None, "all")}


def record_of(fit: Fit, test: HypothesisTest, error: str, size: Record) -> Record:
    """A test as a record; size: a record of the fit that it is of."""
    numbers: dict[str, Any] = {name: getattr(test, name) for name in ("estimate", "se", "statistic", "pvalue", "lower",
                                                                      "upper")}  # fmt: skip
    return Record(**fit.identity, term=test.hypothesis, se_type=error, **numbers, nobs=size.nobs, units=size.units,
                  periods=size.periods)  # fmt: skip


# How they are arranged: the records of a document as a table.


_HEADS = ("estimate", "t or F", "p", "interval")
_KINDS = {
    "combination": "Tests are two-sided, of the estimate against the number at the right of =, 0 where there is none; "
    "intervals are of 95%.",
    "joint": "Hypotheses with a comma are tested together, by Wald's F.",
    "equivalence": "Of hypotheses with bounds p is the larger of two one-sided tests (Schuirmann 1987), and intervals "
    "are of 90%: where they lie within the bounds, p is below 5%.",
}


def hypotheses(setting: TableSetting) -> list[JournalTable]:
    """Table T: a row a hypothesis."""
    found = [column.records[0] for column in fit_columns(setting.document, HYPOTHESES) if column.records]
    if not found:
        return []
    rows: list[Row] = []
    for record in found:
        estimate = digits(record.estimate, [record.se])
        cells = (estimate, decimals(record.statistic), starred_probability(record.pvalue), interval(record))
        rows.append(Row(f"{record.sample}: {record.term}", cells))
        if record.se is not None:
            rows.append(Row("", (bracket(record), "", "", ""), "error"))
    kinds = listed(dict.fromkeys(error_label(record.se_type) for record in found))
    errors = f"{errors_in_brackets(setting.style.brackets)} {kinds}, and degrees of freedom are those of the columns."
    notes = [text for kind, text in _KINDS.items() if any(record.model == kind for record in found)]
    heads = tuple(Heading(label) for label in _HEADS)
    said = tuple(filter(None, (*notes, errors, stars_note(setting.style.stars), setting.data)))
    return [JournalTable(HYPOTHESES, f"Tests: {setting.about}", heads, tuple(rows), said)]


TABLES = (HYPOTHESES,)
LAYOUTS = {40: hypotheses}
