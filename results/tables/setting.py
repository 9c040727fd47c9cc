"""What every table of a document needs to know: how its variables are called, which errors are shown, its notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from estimators.core.error_types import error_label
from results.tables.columns import UNBOUNDED, FitColumn, unbounded
from results.tables.journal_table import Row
from results.tables.records import EFFECTS, Document, Record, clusters_of
from results.tables.typography import STARS_NOTE, error_note, model_label, stars, term_label

UNBOUNDED_NOTE = (
    f"{UNBOUNDED}: the interval has no bound on one or both sides, because the test rejects no value there; the stars "
    "follow the p value."
)
BESIDE = "Where the column's error type gives no error of a term, brackets hold the standard error"
FRAGILE = "The stars of"
FLOORED = "In a column, negative eigenvalues of the covariance were set to zero for standard errors"


@dataclass(frozen=True, slots=True)
class TableSetting:
    """A document, and the error type that the reader asked for where a fit has it (None: each table's usual one)."""

    document: Document
    asked: str | None = None

    @property
    def outcome(self) -> str:
        """The outcome's name."""
        return str(self.document.panel.get("outcome") or "outcome")

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
        """The treatment as the panel's file calls it."""
        return str(self.document.panel.get("treatment_column") or self.treatment or "")

    @property
    def treatment_note(self) -> str:
        """What DID is in the panel's file: the treatment, or 1 from the period on that a column holds."""
        if not self.treatment or self.treatment_name in ("", "DID"):
            return ""
        dated = self.document.panel.get("first_treated") == self.treatment_name
        return f"DID is 1 from {self.treatment_name} on." if dated else f"DID is {self.treatment_name}."

    @property
    def about(self) -> str:
        """What is regressed on what, for titles."""
        return f"{self.outcome} on {self.treatment_name or 'its regressors'}"

    @property
    def units(self) -> str:
        """Label of the number of units."""
        return _counted("Units", self.document.panel.get("unit"))

    @property
    def periods(self) -> str:
        """Label of the number of periods."""
        return _counted("Periods", self.document.panel.get("period"))

    def label(self, term: str) -> str:
        """A term as a row's label."""
        return term_label(term, self.treatment, self.controls)

    def full_label(self, term: str) -> str:
        """The same, where no heading says that it is an effect."""
        effect, _, name = term.partition(":")
        return f"{effect} effect of {self.label(name)}" if name and effect in EFFECTS else self.label(term)

    def shown(self, column: FitColumn, term: str) -> Record | None:
        """A term of a fit under the error type that is shown."""
        return column.record(term, column.shown_error(self.asked))

    def error_row(self, columns: Sequence[FitColumn]) -> list[Row]:
        """The error type of every column, where they differ."""
        kinds = tuple(column.shown_error(self.asked) for column in columns)
        return [Row("Standard errors", kinds)] if len(set(filter(None, kinds))) > 1 else []

    def notes(self, columns: Sequence[FitColumn], *more: str, factor: str = "") -> tuple[str, ...]:
        """Notes under a table of fits: brackets and errors, what else is given, stars, where the data come from.

        factor: how these fits correct errors for small samples, where they do not as the regressions do.
        """
        kinds = self.error_kinds(columns)
        counted = str(self.document.panel.get("cluster_k", "nonnested"))
        errors = [of_columns(error_note(kind, likelihood=likelihood, factor=factor, cluster_k=counted), found, columns,
                             len(kinds) > 1)
                  for (kind, likelihood), found in kinds.items()]  # fmt: skip
        errors += self._beside(columns)
        floored = dict.fromkeys(kind for kind, _ in kinds for column in columns
                                if column.statistics.get(f"floored:{kind}"))  # fmt: skip
        errors += [f"{FLOORED} {error_label(kind)}." for kind in floored]
        errors += self.cluster_counts(columns)
        return tuple(
            filter(None, (self.treatment_note, *errors, *more, *self._fragile(columns), STARS_NOTE, self.data))
        )

    def error_kinds(self, columns: Sequence[FitColumn]) -> dict[tuple[str, bool], list[FitColumn]]:
        """The columns by the error type that they show, and whether they are likelihoods."""
        found: dict[tuple[str, bool], list[FitColumn]] = {}
        for column in columns:
            if column.records:
                found.setdefault((column.shown_error(self.asked), column.likelihood), []).append(column)
        return found

    def _beside(self, columns: Sequence[FitColumn]) -> list[str]:
        """What brackets hold where they are not of the column's own error type, or not bounded."""
        shown = [(column, record) for column in columns for term in column.terms
                 if (record := self.shown(column, term)) is not None]  # fmt: skip
        others = {record.se_type: None for column, record in shown
                  if record.se is not None and record.se_type != column.shown_error(self.asked)}  # fmt: skip
        notes = [f"{BESIDE} {error_label(kind)}." for kind in others]
        return notes + [UNBOUNDED_NOTE] * any(unbounded(record) for _, record in shown)

    def _fragile(self, columns: Sequence[FitColumn]) -> list[str]:
        """A sentence if the treatment's stars depend on the error type, and one for each of its effects in an SDM."""
        notes: list[str] = []
        for term in (str(self.treatment), *(f"{effect}:{self.treatment}" for effect in EFFECTS)):
            fits = [column for column in columns if ":" not in term or column.model == "sdm"]
            found = [(column, marks) for column in fits if len(marks := _stars_by_error(column, term)) > 1]
            said = "; ".join(f"{_own_name(column, columns)} {_named_stars(marks)}" for column, marks in found)
            name = f"the {term.partition(':')[0]} effect of DID" if ":" in term else "DID"
            notes += [f"{FRAGILE} {name} depend on the error type: {said}."] if said else []
        return notes

    def cluster_counts(self, columns: Sequence[FitColumn]) -> list[str]:
        """A sentence with the number of clusters for every clustering but that by unit that is shown."""
        counts: dict[str, list[float]] = {}
        for column in columns:
            kind = column.shown_error(self.asked)
            if (count := column.statistics.get(clusters_of(kind))) is not None:
                counts.setdefault(kind, []).append(count)
        return [f"{error_label(kind).capitalize()}: G = {_span(found)}." for kind, found in counts.items()]

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
    """Whether columns share numbers, as pooled and random effects do."""
    return len({column.column for column in columns}) < len(columns)


def _own_name(column: FitColumn, every: Sequence[FitColumn]) -> str:
    return _named([column], column.model if _repeated(every) else None)


def _named(columns: Sequence[FitColumn], model: str | None) -> str:
    """Columns by their numbers, those of one model by its name too."""
    if model == "interaction":
        return "test of equal effects"
    numbers = [column.column for column in columns if model in (None, column.model)]
    words = f"column{'s' * (len(numbers) > 1)}" if model is None else model_label(model)
    return f"{words} {', '.join(_runs(numbers))}"


def _runs(numbers: Sequence[int]) -> list[str]:
    """Numbers in brackets, three or more neighbours as a span."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return [text for run in runs for text in ([f"({run[0]}) to ({run[-1]})"] if len(run) > 2 else
                                              [f"({number})" for number in run])]  # fmt: skip


def _stars_by_error(column: FitColumn, term: str) -> dict[str, list[str]]:
    """The error types under which a term has a p value, by the stars that they give it."""
    found: dict[str, list[str]] = {}
    for record in column.records:
        if record.term == term and record.pvalue is not None:
            found.setdefault(stars(record.pvalue), []).append(record.se_type)
    return found


def _named_stars(marks: Mapping[str, Sequence[str]]) -> str:
    """Error types by stars, most stars first."""
    return " ".join(f"{mark or 'none'} ({', '.join(marks[mark])})" for mark in sorted(marks, reverse=True))


def error_types(document: Document) -> tuple[str, ...]:
    """All error types of the document's regressions, in order."""
    fits = (record for record in document.records if record.table != "6" and record.model != "mediation")
    return tuple(dict.fromkeys(record.se_type for record in fits))


def _span(counts: Sequence[float]) -> str:
    """A number, or the lowest and the highest of several."""
    lowest, highest = min(counts), max(counts)
    return f"{lowest:,.0f}" if lowest == highest else f"{lowest:,.0f} to {highest:,.0f}, by column"


def _counted(word: str, name: object) -> str:
    return f"{word} ({name})" if name else word
