"""A table as a journal prints it, in text alone: columns, rows and notes that every renderer shows alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from inspect import isfunction
from itertools import groupby
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal

from rich.cells import cell_len

from estimators.core.error_types import error_label
from estimators.core.estimator import usual_error
from estimators.spatial.lm_tests import CHI_SQUARE
from results.tables.records import (
    BASELINE,
    EFFECTS,
    LONG_RUN,
    PICTURES,
    PLAIN,
    Document,
    Fit,
    Record,
    Style,
    clusters_of,
)
from results.tables.typography import (
    COUNTS,
    IN_BRACKETS,
    STATISTICS,
    NumberCell,
    count,
    decimals,
    digits,
    error_note,
    figures,
    in_style,
    model_label,
    p_value,
    probability,
    stars,
    stars_note,
    term_label,
)
from sim.errors import amount, bad, one_of
from sim.registry import modules_in

BETWEEN = 3  # letters' worth of space between columns on paper


@dataclass(frozen=True, slots=True)
class Heading:
    """A column of numbers. number: as printed above it, "(5)" or "". group: what neighbours with the same one share."""

    label: str
    number: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: one cell a column, or none for a heading inside the table; `rule` draws a line above it.

    kind: "value" for a number with a label, "error" for what belongs to the number above, "head" for a heading.
    Cells are text; a coefficient ends in its stars.
    """

    label: str
    cells: tuple[str, ...] = ()
    kind: Literal["value", "error", "head"] = "value"
    rule: bool = False


@dataclass(frozen=True, slots=True)
class JournalTable:
    """One table. name: "2", "7", "R", "A1"; appendix: whether it stands behind the others and not in the terminal.

    word: what stands before its name in the caption. more: what stands behind the title where it goes on. Raises
    TypeError for a row with cells that are no texts, one a column.
    """

    name: str
    title: str
    columns: tuple[Heading, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    appendix: bool = False
    word: str = "Table "
    more: str = " (continued)"

    def __post_init__(self) -> None:
        for row in self.rows:
            if row.cells and not (isinstance(row.cells, tuple) and len(row.cells) == len(self.columns)
                                  and all(isinstance(cell, str) for cell in row.cells)):  # fmt: skip
                raise TypeError(f"the cells of row {row.label!r} are {row.cells!r:.60}, no tuple of "
                                f"{amount(len(self.columns), 'text')}, one a column")  # fmt: skip

    @property
    def caption(self) -> str:
        """Name and title; the title alone without a name."""
        return f"{self.word}{self.name}. {self.title}" if self.name else self.title

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """Headings above neighbouring columns and how many each spans; empty when no column has one."""
        runs = tuple((group, len(list(run))) for group, run in groupby(column.group for column in self.columns))
        return runs if any(group for group, _ in runs) else ()

    @property
    def heads(self) -> list[list[str]]:
        """Lines above the numbers, but for groups: the columns' numbers and their labels, those that there are."""
        lines = [[column.number for column in self.columns], [column.label for column in self.columns]]
        return [line for line in lines if any(line)]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Letters of the longest label, then of each column's longest cell or word of its heading."""
        labels = (cell_len(row.label) for row in self.rows if row.kind != "head")
        longest = [max(cell_len(text) for text in (*column.label.split(), column.number,
                                                   *(row.cells[j] for row in self.rows if row.cells)))
                   for j, column in enumerate(self.columns)]  # fmt: skip
        return (max(labels, default=0), *longest)

    @property
    def width(self) -> int:
        """About how many letters it is wide on paper, with the space between columns."""
        columns, start, beyond = self.lengths[1:], 0, 0
        for group, span in self.groups:
            beyond += max(0, cell_len(group) - sum(columns[start : start + span]) - BETWEEN * (span - 1))
            start += span
        return sum(self.lengths) + BETWEEN * len(columns) + beyond

    def select(self, wanted: Sequence[int]) -> JournalTable:
        """The same table with some of its columns; rows that are empty in all of them are left out."""
        rows = (row if row.kind == "head" else replace(row, cells=tuple(row.cells[j] for j in wanted))
                for row in self.rows)  # fmt: skip
        return replace(
            self,
            columns=tuple(self.columns[j] for j in wanted),
            rows=without_empty(row for row in rows if row.kind == "head" or any(row.cells)),
        )

    def styled(self, style: Style) -> JournalTable:
        """The same table with its numbers written in another style."""
        rows = tuple(replace(row, cells=tuple(in_style(cell, style) for cell in row.cells)) for row in self.rows)
        return replace(self, rows=tuple(row for row in rows if row.kind != "error" or row.label or any(row.cells)))

    def blocks(self, fits: Callable[[JournalTable], bool]) -> tuple[JournalTable, ...]:
        """The table in parts with as many columns as fit, groups kept together where they can be."""
        pieces: list[list[int]] = []
        for _, run in groupby(range(len(self.columns)), lambda j: self.columns[j].group or j):
            wanted = list(run)
            pieces += [wanted] if fits(self.select(wanted)) else [[j] for j in wanted]
        parts: list[list[int]] = []
        for piece in pieces:
            if parts and fits(self.select(parts[-1] + piece)):
                parts[-1] += piece
            else:
                parts.append(piece)
        size = -(-len(self.columns) // len(parts))
        even = [list(range(first, min(first + size, len(self.columns)))) for first in range(0, len(self.columns), size)]
        parts = parts if self.groups or not all(fits(self.select(part)) for part in even) else even
        return (self,) if len(parts) < 2 else _continued(self, [self.select(part) for part in parts])

    def pages(self, length: int) -> tuple[JournalTable, ...]:
        """The table in parts of `length` rows at most where headings allow it."""
        parts: list[list[Row]] = [[]]
        for block in _blocks(self.rows):
            if parts[-1] and len(parts[-1]) + len(block) > length:
                parts.append([])
            parts[-1] += block
        return _continued(self, [replace(self, rows=tuple(part)) for part in parts])


def _continued(whole: JournalTable, parts: Sequence[JournalTable]) -> tuple[JournalTable, ...]:
    """Parts that say that they go on, with the notes under the last."""
    titles = [whole.title, *(f"{whole.title}{whole.more}" for _ in parts[1:])]
    notes = [*(() for _ in parts[1:]), whole.notes]
    return tuple(replace(part, title=title, notes=said)
                 for part, title, said in zip(parts, titles, notes, strict=True))  # fmt: skip


EVERY = "all"  # in a list of tables


def named_tables(tables: Sequence[JournalTable], names: Sequence[str]) -> tuple[JournalTable, ...]:
    """The tables of some names: "7c" alone, "7" with all of its letters, "all" but for the appendix."""
    asked = {name.casefold() for name in names}
    return tuple(table for table in tables
                 if not asked.isdisjoint((table.name.casefold(), table.name.rstrip(ascii_lowercase).casefold()))
                 or (EVERY in asked and not table.appendix))  # fmt: skip


def without_empty(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows without headings that nothing stands under."""
    return tuple(row for block in _blocks(tuple(rows)) for row in block if block[0].kind != "head" or len(block) > 1)


def _blocks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows from one heading to the next."""
    block: list[Row] = []
    for row in rows:
        if row.kind == "head" and block:
            yield block
            block = []
        block.append(row)
    if block:
        yield block


# Fits as columns of a table: the records of one, what is shown of them, and rows over several.


LIKELIHOOD = ("sem", "sar", "sdm", "slx", "sdem", "sac")  # models that are fitted by maximum likelihood
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
        if item.table != table or (wanted is not None and item.model not in wanted):
            continue
        column = found.setdefault(Fit(**item.identity), FitColumn(**item.identity))
        if not item.name:
            column.records.append(item)
        elif item.estimate is not None and item.term is None:
            column.statistics[item.name] = item.estimate
        elif item.estimate is not None:
            column.by_term[item.name, str(item.term)] = item.estimate
    return sorted(found.values(), key=lambda column: column.column)


def grouped(columns: Iterable[FitColumn], *names: str) -> dict[tuple[Any, ...], list[FitColumn]]:
    """Fits by some of their fields, such as weights and transform, in the order of first appearance."""
    found: dict[tuple[Any, ...], list[FitColumn]] = {}
    for column in columns:
        found.setdefault(tuple(getattr(column, name) for name in names), []).append(column)
    return found


def shown_numbers(records: Iterable[Record | None]) -> list[float | None]:
    """Estimates with their errors, with their intervals where they have none: what is written alike."""
    found: list[float | None] = []
    for record in filter(None, records):
        found += (record.estimate, record.lower, record.upper) if record.se is None else (record.estimate, record.se)
    return found


def coefficient(record: Record | None, row: Sequence[float | None] = (), *, style: Style = PLAIN) -> str:
    """An estimate with its stars; a variance has none. row: numbers beside which it is written."""
    if record is None:
        return ""
    text = figures(record.estimate, shown_numbers([record]), row, style.digits)
    marks = "" if record.term == "sigma2" else stars(record.pvalue, style.stars)
    return NumberCell(text + marks, record.estimate, partial(coefficient, record, tuple(row)))


def bracket(record: Record | None, row: Sequence[float | None] = (), *, style: Style = PLAIN) -> str:
    """The standard error in brackets; the interval where there is none, and a dash where a test has no bounded one; of
    a test statistic its p value. Other styles put t, p or the interval there."""
    if record is None:
        return ""
    number: float | None
    if record.se_type == CHI_SQUARE:
        text, number = p_value(record.pvalue), record.pvalue
    elif style.brackets == "p":
        said, number = probability(record.pvalue), record.pvalue
        text = f"({said})" if said else ""
    elif style.brackets == "ci" or record.se is None:
        text, number = interval(record, row, style=style) or UNBOUNDED * unbounded(record), None
    elif style.brackets == "t":
        said, number = decimals(record.statistic), record.statistic
        text = f"({said})" if said else ""
    else:
        text, number = f"({figures(record.se, shown_numbers([record]), row, style.digits)})", record.se
    return NumberCell(text, number, partial(bracket, record, tuple(row)))


def unbounded(record: Record) -> bool:
    """Whether a test has a p value alone: the interval that inverts it has no ends."""
    tested = record.se is None and record.pvalue is not None and record.se_type != CHI_SQUARE
    return tested and (record.lower is None or record.upper is None)


def interval(record: Record | None, row: Sequence[float | None] = (), *, style: Style = PLAIN) -> str:
    """The interval in square brackets, "" where it has no ends."""
    if record is None or record.lower is None or record.upper is None:
        return ""
    beside = (*shown_numbers([record]), record.lower, record.upper)
    low, high = (figures(end, beside, row, style.digits) for end in (record.lower, record.upper))
    return NumberCell(f"[{low}, {high}]", None, partial(interval, record, tuple(row)))


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
        cells: tuple[str, ...] = tuple(digits(value, row=values) if form is None else form(value) for value in values)
        if any(cells):
            rows.append(Row(label, cells))
    return rows


def number_rows(values: Mapping[str, Sequence[float | None]]) -> tuple[Row, ...]:
    """A row of numbers a label, with the digits of its row."""
    return tuple(Row(label, tuple(digits(value, row=found) for value in found)) for label, found in values.items())


def size_rows(columns: Sequence[FitColumn], units: str, periods: str) -> list[Row]:
    """N, units and periods."""
    firsts = [column.records[0] if column.records else None for column in columns]
    return [
        Row("N", tuple("" if first is None else count(first.nobs) for first in firsts), rule=True),
        Row(units, tuple("" if first is None else count(first.units) for first in firsts)),
        Row(periods, tuple("" if first is None else count(first.periods) for first in firsts)),
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


# What every table of a document needs to know: how its variables are called, which errors are shown, its notes.


UNBOUNDED_NOTE = (
    f"{UNBOUNDED}: the interval has no bound on one or both sides, because the test rejects no value there; the stars "
    "follow the p value."
)
BESIDE = "Where the column's error type gives no error of a term, brackets hold"
FRAGILE = "The stars of"
FLOORED = "In a column, negative eigenvalues of the covariance were set to zero for standard errors"


@dataclass(frozen=True, slots=True)
class TableSetting:
    """A document, and the error type that the reader asked for where a fit has it (None: each table's usual one)."""

    document: Document
    asked: str | None = None

    @property
    def style(self) -> Style:
        """How the user wants the tables to look."""
        return self.document.style

    @property
    def outcome(self) -> str:
        """The outcome's label."""
        return self.name(self.document.panel.get("outcome") or "outcome")

    @property
    def treatment(self) -> str | None:
        """The treatment's term."""
        return self.document.panel.get("treatment")

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls' names."""
        return tuple(self.document.panel.get("controls", ()))

    @property
    def treatment_name(self) -> str:
        """What the tables call the treatment: its label, or the name that the panel's file has for it."""
        own = str(self.document.panel.get("treatment_column") or self.treatment or "")
        return self.style.labels.get(own) or self.style.labels.get(str(self.treatment)) or own

    def name(self, variable: object) -> str:
        """A variable's label, its own name where it has none; the treatment as all tables call it."""
        return self.treatment_name if self.treatment and variable == self.treatment else self.style.name(variable)

    @property
    def about(self) -> str:
        """What is regressed on what, for titles."""
        return f"{self.outcome} on {self.treatment_name or 'its regressors'}"

    @property
    def main(self) -> Record | None:
        """The effect of the treatment with unit and period effects and all controls, as table 2 shows it."""
        place = BASELINE["controls, units, periods"]
        found = (column for column in fit_columns(self.document, place[0], ["did"]) if column.column == place[1])
        column = next(found, None)
        return None if column is None or self.treatment is None else self.shown_record(column, self.treatment)

    @property
    def headline(self) -> str:
        """The main effect in a sentence, with its interval and its error type; "" where there is none."""
        record = self.main
        if record is None or record.estimate is None:
            return ""
        dose = "one unit of " * (self.document.panel.get("treatment_kind") == "continuous")
        value, ends = (in_style(cell, self.style).strip("[]*") for cell in (coefficient(record), interval(record)))
        ends = ends.replace(", ", " to ")
        said = f"95% interval {ends}" if ends else "95% interval without bounds"
        p = p_value(record.pvalue).strip("[]")
        return (f"Effect of {dose}{self.treatment_name} on {self.outcome}: {value}, {said}"
                f"{f', {p}' if p else ''} (two-way fixed effects{' with controls' * bool(self.controls)}; errors: "
                f"{error_label(record.se_type)}).")  # fmt: skip

    @property
    def units(self) -> str:
        """Label of the number of units."""
        name = self.document.panel.get("unit")
        return f"Units ({name})" if name else "Units"

    @property
    def periods(self) -> str:
        """Label of the number of periods."""
        name = self.document.panel.get("period")
        return f"Periods ({name})" if name else "Periods"

    def label(self, term: str) -> str:
        """A term as a row's label."""
        return term_label(term, self.controls, self.name)

    def full_label(self, term: str) -> str:
        """The same, where no heading says that it is an effect."""
        effect, _, name = term.partition(":")
        kind = effect.removeprefix(LONG_RUN)
        if not name or kind not in EFFECTS:
            return self.label(term)
        return f"{'long-run ' * (kind != effect)}{kind} effect of {self.label(name)}"

    def shown_record(self, column: FitColumn, term: str) -> Record | None:
        """A term of a fit under the error type that is shown."""
        return column.record(term, column.shown_error(self.asked))

    def shown_records(self, columns: Iterable[FitColumn], term: str) -> list[Record | None]:
        """The same of every column."""
        return [self.shown_record(column, term) for column in columns]

    def error_row(self, columns: Sequence[FitColumn]) -> list[Row]:
        """The error type of every column, where they differ."""
        kinds = tuple(column.shown_error(self.asked) for column in columns)
        return [Row("Standard errors", kinds)] if len(set(filter(None, kinds))) > 1 else []

    def notes(self, columns: Sequence[FitColumn], *more: str, factor: str = "") -> tuple[str, ...]:
        """Notes under a table of fits: brackets and errors, what else is given, stars, where the data come from.

        factor: how these fits correct errors for small samples, where they do not as the regressions do.
        """
        kinds: dict[tuple[str, bool], list[FitColumn]] = {}  # columns by the error type that they show, and likelihood
        for column in columns:
            if column.records:
                kinds.setdefault((column.shown_error(self.asked), column.model in LIKELIHOOD), []).append(column)
        counted = str(self.document.panel.get("cluster_k", "nonnested"))
        errors = [of_columns(error_note(kind, likelihood=likelihood, slx=any(one.model == "slx" for one in found),
                                        factor=factor, cluster_k=counted, brackets=self.style.brackets),
                             found, columns, len(kinds) > 1)
                  for (kind, likelihood), found in kinds.items()]  # fmt: skip

        # what brackets hold where they are not of the column's own error type, or not bounded
        shown = [(column, record) for column in columns for term in column.terms
                 if (record := self.shown_record(column, term)) is not None]  # fmt: skip
        others = {record.se_type: None for column, record in shown
                  if record.se is not None and record.se_type != column.shown_error(self.asked)}  # fmt: skip
        brackets = self.style.brackets
        held = f"the {IN_BRACKETS[brackets]}{' by errors' * (brackets != 'se')}"
        errors += [f"{BESIDE} {held} {error_label(kind)}." for kind in others]
        errors += [UNBOUNDED_NOTE] * any(unbounded(record) for _, record in shown)

        floored = dict.fromkeys(kind for kind, _ in kinds for column in columns
                                if column.statistics.get(f"floored:{kind}"))  # fmt: skip
        errors += [f"{FLOORED} {error_label(kind)}." for kind in floored]

        clusters: dict[str, list[float]] = {}  # of every clustering but that by unit that is shown, by column
        for column in columns:
            kind = column.shown_error(self.asked)
            if (number := column.statistics.get(clusters_of(kind))) is not None:
                clusters.setdefault(kind, []).append(number)
        for kind, found in clusters.items():
            lowest, highest = f"{min(found):,.0f}", f"{max(found):,.0f}"
            span = lowest if min(found) == max(found) else f"{lowest} to {highest}, by column"
            said = error_label(kind)
            errors.append(f"{said[:1].upper()}{said[1:]}: G = {span}.")

        weight, weighted = self.document.panel.get("weight"), ""
        if weight is not None:  # fits with a W are spatial, and are not weighted
            weighted = "Not weighted." if all(one.weights for one in columns) else f"Weighted by {self.name(weight)}."
        since = self.document.panel.get("first_treated")  # the column of the panel's file that holds the period
        treated = f"{self.treatment_name} is 1 from the period in column {since} on." if since else ""
        notes = (treated, weighted, *errors, *more, *self._fragile(columns), stars_note(self.style.stars))
        return tuple(filter(None, (*notes, self.data)))

    def _fragile(self, columns: Sequence[FitColumn]) -> list[str]:
        """A sentence if the treatment's stars depend on the error type, and one for each of its effects in an SDM.

        Of the fit behind a test of equal effects the table shows no effect of the treatment.
        """
        notes: list[str] = []
        for term in (str(self.treatment), *(f"{effect}:{self.treatment}" for effect in EFFECTS)):
            fits = [column for column in columns
                    if column.model != "interaction" and (":" not in term or column.model == "sdm")]  # fmt: skip
            said = []
            for column in fits:
                marks: dict[str, list[str]] = {}  # error types under which the term has a p value, by their stars
                for record in column.records:
                    if record.term == term and record.pvalue is not None:
                        marks.setdefault(stars(record.pvalue, self.style.stars), []).append(record.se_type)
                if len(marks) > 1:
                    given = [f"{mark or 'none'} ({' / '.join(map(error_label, marks[mark]))})"
                             for mark in sorted(marks, reverse=True)]  # fmt: skip
                    said.append(" ".join([_named([column], column.model if _repeated(columns) else None), *given]))
            name = f"the {term.partition(':')[0]} effect of " * (":" in term) + self.treatment_name
            notes += [f"{FRAGILE} {name} depend on the error type: {'; '.join(said)}."] if said else []
        return notes

    @property
    def balanced_part(self) -> TableSetting:
        """The same for the tables of the panel's balanced part."""
        part = self.document.panel.get("balanced_part")
        facts = {**self.document.panel, **part, "part": True} if part else self.document.panel
        return replace(self, document=replace(self.document, panel=facts))

    @property
    def data(self) -> str:
        """One sentence on the sample, and whether it is real."""
        facts = self.document.panel
        kind = "Synthetic data" if facts.get("synthetic") else "Data: the user's panel"
        shape = (
            "its balanced part" if facts.get("part") else "balanced" if facts.get("balanced", True) else "unbalanced"
        )
        span = f"{facts.get('first_period')}-{facts.get('last_period')}"
        size = f"{facts.get('units')} units × {facts.get('periods')} periods, {span}, {shape}"
        return f"{kind}, {size}."


def of_columns(note: str, columns: Sequence[FitColumn], every: Sequence[FitColumn], several: bool) -> str:
    """A note, with the columns that it is of where the table has several such notes."""
    if not several:
        return note
    models = dict.fromkeys(column.model for column in columns) if _repeated(every) else (None,)
    named = ", ".join(filter(None, (_named(columns, model) for model in models)))
    return f"{named[0].upper()}{named[1:]}: {note[0].lower()}{note[1:]}"


def _repeated(columns: Sequence[FitColumn]) -> bool:
    """Whether columns share numbers, as pooled and random effects do; tests of equal effects have none."""
    numbers = [column.column for column in columns if column.model != "interaction"]
    return len(set(numbers)) < len(numbers)


def _named(columns: Sequence[FitColumn], model: str | None) -> str:
    """Columns by their numbers, those of one model by its name too; tests of equal effects have no column."""
    chosen = [column for column in columns if model in (None, column.model)]
    numbers = [column.column for column in chosen if column.model != "interaction"]
    words = f"column{'s' * (len(numbers) > 1)}" if model is None else model_label(model)
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    texts = [text for run in runs for text in ([f"({run[0]}) to ({run[-1]})"] if len(run) > 2 else  # neighbours
                                               [f"({number})" for number in run])]  # fmt: skip
    named = [f"{words} {', '.join(texts)}"] if numbers else []
    return ", ".join(named + ["test of equal effects"] * (len(numbers) < len(chosen)))


def shown_errors(document: Document) -> tuple[str, ...]:
    """All error types of the document's regressions, in order."""
    fits = (record for record in document.records if record.table != "6" and record.model != "mediation")
    return tuple(dict.fromkeys(record.se_type for record in fits))


# A table of regressions, which most tables are.


_EFFECT_LABELS = {"controls": "Controls", "units": "Unit effects", "periods": "Period effects"}


def regressions(
    setting: TableSetting, name: str, title: str, columns: Sequence[FitColumn], heads: Sequence[Heading],
    effects: Sequence[str] | None, *notes: str, rows: Sequence[Row] = (), tests: Sequence[FitColumn] = (),
) -> list[JournalTable]:  # fmt: skip
    """A table of fits, if any: coefficients, effects and controls, sizes, fit, then `rows`, which `tests` gave.

    effects: what is in each column (as in `BASELINE`); None: everything in all; empty: rows left out.
    """
    if not columns:
        return []
    terms = in_order((term for column in columns for term in column.terms if column.model != "interaction"),
                     setting.document)  # fmt: skip
    body: list[Row] = []
    for term in terms:
        body += coefficient_rows(setting.full_label(term), setting.shown_records(columns, term))
    everything = ["controls, units, periods" if column.records else "-" for column in columns]
    given = everything if effects is None else effects
    parts = [part for part in _EFFECT_LABELS if part != "controls" or setting.controls] if given else []
    for part in parts:
        cells = tuple("" if names == "-" else "yes" if part in names else
                      "random" if part == "units" and "random" in names else "no" for names in given)  # fmt: skip
        body.append(Row(_EFFECT_LABELS[part], cells, rule=part == parts[0]))
    body += size_rows(columns, setting.units, setting.periods)
    body += fit_rows(columns) + setting.error_row(columns) + list(rows)
    return [JournalTable(name, title, tuple(heads), tuple(body), setting.notes([*columns, *tests], *notes))]


# Formats of tables: what the modules beside this one have as FORMATS, found by being there.


Contents = bytes | dict[str, bytes]  # of one file, or of several by their names


@dataclass(frozen=True, slots=True)
class TableFormat:
    """A format in which `estimate` writes tables.

    name: the word after --format. file: its name, a pattern where there are several. write: the contents of (document,
    tables, errors, picture); errors: the error type of the tables, picture(): the element of a page that shows the
    effect. check: raises BadInput where a library is missing.
    """

    name: str
    file: str
    write: Callable[[Document, Sequence[JournalTable], str | None, Callable[[], str]], Contents]
    check: Callable[[], None] = lambda: None

    def files(
        self, document: Document, tables: Sequence[JournalTable], errors: str | None, picture: Callable[[], str],
        taken: Collection[str] = (),
    ) -> dict[str, bytes]:  # fmt: skip
        """What it writes, by names of files; raises TypeError for what is no file of one folder, or is taken there."""
        content = self.write(document, tables, errors, picture)
        made = content if isinstance(content, dict) else {self.file: content}
        for name, part in made.items():
            if not isinstance(part, bytes | str) or Path(name).name != name:
                raise TypeError(f"it returned {part!r:.20} for the file {name!r}, no bytes of a file in the folder")
            if name in taken:
                raise TypeError(f"it writes {name!r}, a file of another format, of the warnings or of a figure")
        return made


JSON = TableFormat("json", "estimates.json", lambda document, *_: document.to_json().encode())
FORMATS = (JSON,)


@cache
def table_formats() -> Mapping[str, TableFormat]:
    """Every format by its name: json, which is always written, and then the others in alphabetical order.

    Raises BadInput for what is no format, a name that cannot be asked for or that two have, and a file that two write.
    """
    every: list[TableFormat] = []
    for module in modules_in(__name__.rpartition(".")[0]):
        given = getattr(module, "FORMATS", ())
        for one in given if isinstance(given, tuple | list) else (given,):
            if (not isinstance(one, TableFormat) or not re.fullmatch("[a-z0-9_-]+", one.name)
                    or one.name in PICTURES or not isfunction(one.write) or given is one):  # fmt: skip
                raise bad(f"FORMATS holds {one!r:.50}", where=str(module.__file__),
                          allowed="a tuple of TableFormats that functions write, named by small letters and digits, "
                                  f"not {one_of(PICTURES)}", remedy="correct it")  # fmt: skip
            every.append(one)
    found = {one.name: one for one in every}
    if len(found) < len(every):
        raise bad("two formats have one name", where="results/tables, FORMATS", allowed="a name of its own for each",
                  remedy=f"rename one of {', '.join(sorted(one.name for one in every))}")  # fmt: skip
    files = [one.file for one in every]
    if twice := [name for name in files if files.count(name) > 1]:
        raise bad(f"two formats write {twice[0]!r}", where="results/tables, FORMATS",
                  allowed="a file of its own for each", remedy="rename one")  # fmt: skip
    return {name: found[name] for name in sorted(found, key=lambda name: (name != JSON.name, name))}
