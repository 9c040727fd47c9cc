"""Estimates on a real panel as records: every number that the tables show, with its table and column.

A printed number goes one way: `Estimates` of an estimator -> `Record` (records_of, statistics_of; a ledger keeps them)
-> `FitColumn` (columns.fit_columns: the records of one fit) -> `Row` of a `JournalTable` -> a format. `Fit` says what
was estimated and where it stands; `Record` and `FitColumn` are fits with more fields, so that each of these facts is
declared once. Statistics are records too: a name and a number without uncertainty. estimates.json lists them apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from estimators.core.estimator import Estimates, critical_values, p_values
from sim.arrays import Floats
from sim.errors import amount

Place = tuple[str, int]  # a table's number, a column

# Places that more than their own table asks for.

BASELINE: dict[str, Place] = {  # table 2, by what beside the treatment is in the regression
    "alone": ("2", 1),
    "controls": ("2", 2),
    "controls, periods": ("2", 3),
    "controls, units": ("2", 4),
    "controls, units, periods": ("2", 5),
}
EQUAL_EFFECTS: Place = ("4", 0)  # beside the columns of table 4
SPATIAL: dict[str, Place] = {
    "sem": ("7", 1), "sar": ("7", 2), "sdm": ("7", 3), "slx": ("7", 4), "sdem": ("7", 5), "sac": ("7", 6),
}  # fmt: skip
STAGGERED = "S"  # of staggered adoption, not in the paper
SYNTHETIC_TABLE = "C"  # synthetic control and its relatives, not in the paper
INSTRUMENTS, INSTRUMENTED_MEDIATOR = "I", "I2"  # instrumental variables, not in the paper
CROSS_CHECK = ""  # other programs' numbers
ROBUSTNESS = "R"  # the referee's menu, which the paper does not number
CUTOFFS = "K"  # the SDM by distance cut-off, not in the paper
MODERATION = "M"  # the effect by moderators, not in the paper
TRIPLE_DIFFERENCE = "D"  # not in the paper
HYPOTHESES = "T"  # tests that the user writes


# What speaks for and against an estimate of a panel: one record a check, most serious first.
#
# A check that estimates in another way tests the difference to the claim; one that looks at a fact says whether
# anything is wrong. Both have one of four answers. "consistent": nothing differs, and what would take the claim's
# support away is excluded, or a fact is as it should be. "cannot tell": the difference's interval holds both
# nothing and what would take the support away, or a fact weakens the claim. "differs": there is a difference, and
# the claim stands. "contradicts": there is a difference towards zero, and the other estimate does not support the
# claim.


Answer = Literal["consistent", "cannot tell", "differs", "contradicts"]  # the less serious first
ANSWERS: tuple[Answer, ...] = get_args(Answer)
MOST_LINES, LEAST_SHOWN = 14, 3  # of a terminal, and sentences whatever their length; the files hold all
OVERTURNS, WEAKENS, INFORMS, SILENT = 3, 2, 1, 0


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a claim, or of a panel.

    name: its stable code. sentence: what was found, in words. answer: see the module. weight: how serious it is where
    it differs or cannot tell, 2 it weakens the claim, 1 a reader should know. numbers: what the sentence rests on, by
    name, None where there is none. alternative: how else the claim is estimated, in words, "" for a fact. difference,
    se, lower, upper: that estimate less the claim, its error and interval, in `unit`. needed: the difference that takes
    the claim's support away (of the other sign than the claim), None without a claim. benchmark: what the number is
    held against by convention or on panels without a fault. false_alarm, power: how often it gives an alarm where
    nothing is wrong, and where the difference is `needed`; None until they are simulated. remedy: what to do.
    alternatives: of the estimator `Differences`, those that the check looks at.
    """

    name: str
    sentence: str
    answer: Answer = "consistent"
    weight: int = INFORMS
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    alternative: str = ""
    difference: float | None = None
    se: float | None = None
    lower: float | None = None
    upper: float | None = None
    needed: float | None = None
    unit: str = ""
    benchmark: float | None = None
    false_alarm: float | None = None
    power: float | None = None
    remedy: str = ""
    alternatives: tuple[str, ...] = ()

    @classmethod
    def fact(
        cls, name: str, severity: int, said: str, quiet: str = "", numbers: Mapping[str, float | None] | None = None,
        **more: Any,
    ) -> Check:  # fmt: skip
        """One that says `said` where something is wrong, and `quiet` where nothing is; by its severity, 0 to 3."""
        answer: Answer = "contradicts" if severity == OVERTURNS else "cannot tell" if severity else "consistent"
        sentence = said if severity or not quiet else quiet
        return cls(name, sentence, answer, min(max(severity, INFORMS), WEAKENS), numbers or {}, **more)

    @property
    def severity(self) -> int:
        """3 it speaks against the effect, 2 it weakens it, 1 a reader should know, 0 nothing is wrong."""
        return {"contradicts": OVERTURNS, "consistent": SILENT}.get(self.answer, self.weight)

    @property
    def record(self) -> dict[str, Any]:
        """The check's own fields as trust.json holds them, without the sentence and its numbers."""
        names = ("name", "alternative", "difference", "se", "lower", "upper", "needed", "unit", "benchmark", "answer",
                 "false_alarm", "power", "remedy")  # fmt: skip
        return {name: _plain(getattr(self, name)) for name in names}

    @property
    def plain(self) -> dict[str, Any]:
        """As estimates.json holds it."""
        own = self.record
        numbers = {name: _plain(value) for name, value in self.numbers.items()}
        first = {"code": own.pop("name"), "severity": self.severity, "sentence": self.sentence, "numbers": numbers}
        return first | own


def _plain(value: Any) -> Any:
    """None for a number that is not finite."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


@dataclass(frozen=True, slots=True)
class Specification:
    """One way to estimate the effect: a group of ways, its name, the estimate with its test and 95% interval."""

    kind: str
    label: str
    estimate: float
    se_type: str
    pvalue: float
    lower: float
    upper: float

    @property
    def plain(self) -> dict[str, Any]:
        """As estimates.json holds it."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def spoken(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Those that have something to say, most serious first, in their own order where they are alike."""
    said = [check for check in checks if check.severity > SILENT]
    return tuple(sorted(said, key=lambda check: -check.severity))


def heading(checks: Sequence[Check]) -> str:
    """How many there are, and how many checks found nothing."""
    said = len(spoken(checks))
    silent = len(checks) - said
    counted = f"{said or 'no'} warning{'s' * (said != 1)}"
    order = ", the most serious first" if said > 1 else ""
    return f"Before the tables: {counted}{order} ({amount(silent, 'check')} found nothing)"


def sentences(checks: Sequence[Check], most: int | None = None) -> tuple[str, ...]:
    """The sentences, at most so many, and then how many more the files hold."""
    said = spoken(checks)
    shown = [check.sentence for check in said[:most]]
    more = len(said) - len(shown)
    return (*shown, f"{more} more: see warnings.md, which --out writes.") if more else tuple(shown)


LEVEL = 0.05  # of the intervals
ROUNDING = 1e-10  # share of its smallest standard error up to which an estimate is rounding
AGREE = 1e-5  # relative difference up to which two programs give the same number
EFFECTS = ("direct", "indirect", "total")
LONG_RUN = "long_"  # before the name of an effect: in the long run
NO_HYPOTHESIS = (("sigma2", "statistic"), ("sigma2", "pvalue"))  # sigma2 = 0 is none


@dataclass(frozen=True, slots=True)
class Fit:
    """What was estimated: where it stands, the model, and all that distinguishes it from the same model elsewhere.

    place: table and column (results.tables.records).
    """

    place: Place
    model: str
    transform: str | None = None
    sample: str = "all"
    weights: str | None = None
    year: int | None = None
    mediator: str | None = None

    @property
    def table(self) -> str:
        """The table's number."""
        return self.place[0]

    @property
    def column(self) -> int:
        """The column's number."""
        return self.place[1]

    @property
    def where(self) -> str:
        """Its place and sample, in words."""
        return f"Table {self.table}, column {self.column} ({self.sample})"

    @property
    def identity(self) -> dict[str, Any]:
        """Its fields as a fit alone, by name: equal for all numbers of one fit."""
        return {each.name: getattr(self, each.name) for each in fields(Fit)}

    @property
    def plain(self) -> dict[str, Any]:
        """All its fields as estimates.json names them; an estimate has no name."""
        rest = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("place", "name")}
        return {"table": self.table, "column": self.column, **rest}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Fit):
    """One number of a fit: the estimate of a term with its uncertainty, or, where it has a name, a statistic.

    term: None for a statistic of the whole fit. se_type: an estimate has one record an error type.
    """

    term: str | None = None
    name: str = ""
    estimate: float | None
    se: float | None = None
    se_type: str = ""
    statistic: float | None = None
    pvalue: float | None = None
    lower: float | None = None
    upper: float | None = None
    nobs: int = 0
    units: int = 0
    periods: int = 0
    effects_method: str | None = None

    @property
    def value(self) -> float | None:
        """The number itself, of an estimate or a statistic."""
        return self.estimate


Format = Literal["svg", "pdf", "png"]  # of a picture in a file of its own
PICTURES: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True)
class Figure:
    """A picture: the name of its file without ending, a title, what it shows in a sentence, and what draws it.

    drawn: its content as "svg", "pdf" or a "png" of 300 dots an inch; nothing is drawn before it is asked for.
    """

    name: str
    title: str
    caption: str
    drawn: Callable[[str], bytes] = field(repr=False, compare=False)

    @cached_property
    def svg(self) -> str:
        """The picture for a page."""
        return self.drawn("svg").decode()


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far another program's numbers are from ours: the largest relative difference among `compared` numbers."""

    table: str
    program: str
    what: str
    compared: int
    largest: float


Brackets = Literal["se", "t", "p", "ci"]
Language = Literal["en", "zh"]
BRACKETS: tuple[Brackets, ...] = get_args(Brackets)
STAR_LEVELS = (0.1, 0.05, 0.01)


@dataclass(frozen=True, slots=True)
class Style:
    """How a user wants tables to look ([output] of a SPEC.toml).

    tables: names of those that are printed and written, empty for the usual ones. labels: of variables, by their names.
    stars: levels of one, two, ... stars, empty for none. brackets: what stands below an estimate: standard error, t, p
    or the 95% interval. digits: decimals of estimates, as far as `figures` of typography keeps them: it shows two
    significant digits of small ones, one decimal of large ones. language: of labels, titles and notes.
    """

    tables: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    stars: tuple[float, ...] = STAR_LEVELS
    brackets: Brackets = "se"
    digits: int = 4
    language: Language = "en"

    def name(self, variable: object) -> str:
        """A variable's label, its own name where it has none; in one line, whatever a spreadsheet's head had."""
        return re.sub(r"\s*[\r\n\t]\s*", " ", self.labels.get(str(variable), str(variable)))


PLAIN = Style()


@dataclass(frozen=True, slots=True)
class Document:
    """All estimates on one panel: facts of the panel, records, fit statistics, notes for the reader, figures.

    warnings: every check of the estimates, silent ones too; specifications: the ways in which the effect was estimated.
    fitted: the fits themselves, for tests of several terms. style: how the user wants the tables to look.
    """

    panel: Mapping[str, Any]
    records: tuple[Record, ...]
    statistics: tuple[Record, ...] = ()
    notes: tuple[str, ...] = field(default=())
    failed: int = 0  # fits that gave no column; the notes say which and why
    figures: tuple[Figure, ...] = ()
    cross_check: tuple[Agreement, ...] = ()
    warnings: tuple[Check, ...] = ()
    specifications: tuple[Specification, ...] = ()
    fitted: tuple[Any, ...] = field(default=(), repr=False, compare=False)
    style: Style = PLAIN

    @property
    def exit_code(self) -> int:
        """1 when another program gives other numbers, else 3 when a fit failed, else 0."""
        if any(agreement.largest > AGREE for agreement in self.cross_check):
            return 1
        return 3 if self.failed else 0

    @property
    def frame(self) -> pd.DataFrame:
        """The estimates as a table, a row each, with the names of estimates.json."""
        return pd.DataFrame([record.plain for record in self.records])

    def to_json(self) -> str:
        """The document as JSON (NaN as null)."""
        plain: dict[str, Any] = {
            "panel": dict(self.panel),
            "warnings": [warning.plain for warning in self.warnings],
            "specifications": [one.plain for one in self.specifications],
            "records": [record.plain for record in self.records],
            "statistics": [
                {**Fit(**record.identity).plain, "name": record.name, "value": record.estimate, "term": record.term}
                for record in self.statistics
            ],
            "notes": list(self.notes),
        }
        if self.cross_check:
            plain["cross_check"] = [asdict(agreement) for agreement in self.cross_check]
        return json.dumps(plain, ensure_ascii=False, indent=1, allow_nan=False)


def records_of(fit: Fit, estimates: Estimates, nobs: int, units: int, periods: int) -> list[Record]:
    """One record a term and error type of the first panel of `estimates`; an estimate that is rounding is 0."""
    estimate, se, dof = estimates.estimate[0], estimates.se[0], estimates.dof[0]
    nothing = ROUNDING * np.where(se > 0, se, np.inf).min(axis=0, initial=np.inf)
    estimate = np.where(np.isfinite(nothing) & (np.abs(estimate) <= nothing), 0.0, estimate)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = estimate / se
    margin = critical_values(dof, LEVEL) * se
    inference: dict[str, Floats] = {
        "se": se,
        "statistic": statistic,
        "pvalue": _stored(estimates.pvalue, p_values(statistic, dof)),
        "lower": _stored(estimates.lower, estimate - margin),
        "upper": _stored(estimates.upper, estimate + margin),
    }
    records = []
    for e, error in enumerate(estimates.errors):
        for k, term in enumerate(estimates.terms):
            known: dict[str, Any] = {name: _plain(float(values[e, k])) for name, values in inference.items()
                                     if (term, name) not in NO_HYPOTHESIS}  # fmt: skip
            method = "delta" if term.split(":")[0].removeprefix(LONG_RUN) in EFFECTS else None
            records.append(Record(**fit.identity, term=term, estimate=float(estimate[k]), se_type=error, **known,
                                  nobs=nobs, units=units, periods=periods, effects_method=method))  # fmt: skip
    return records


def statistics_of(fit: Fit, estimates: Estimates) -> list[Record]:
    """The fit statistics of the first panel of `estimates`."""
    return [statistic_of(fit, name, float(values[0])) for name, values in estimates.statistics.items()]


def statistic_of(fit: Fit, name: str, value: float | None, term: str | None = None) -> Record:
    """A statistic of a fit, or of one of its terms; None or a value that is not finite: there is none."""
    return Record(**fit.identity, term=term, name=name, estimate=_plain(None if value is None else float(value)))


def clusters_of(error: str) -> str:
    """Name of the statistic that counts the clusters of an error type, of two groupings the fewer."""
    return f"clusters:{error.removeprefix('cluster:')}"


def _stored(kept: Floats | None, computed: Floats) -> Floats:
    """What an estimator gave itself, (E, K) of its first panel, and what follows from se and dof where it gave none."""
    return computed if kept is None else np.where(np.isnan(kept[0]), computed, kept[0])
